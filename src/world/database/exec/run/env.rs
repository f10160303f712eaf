//! What evaluation asks of the executor: columns, parameters, sub-selects and calls with effects.

use std::sync::Arc;

use crate::machine::Access;
use crate::value::{Float, Value};
use crate::world::database::exec::engine::read_only;
use crate::world::database::exec::facade::Severity;
use crate::world::database::exec::made;
use crate::world::database::sql::eval::{self, Env};
use crate::world::database::sql::expr::{Expr, SubqueryKind, Volatile};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::sql::settings::Settings;
use crate::world::database::store::{AdvisoryKey, Scope, Stop, Store};

use super::{Exec, Frame, Row, Services, internal};

static NULL: Value = Value::Null;

/// The executor and the row that expressions are evaluated on.
pub(super) struct Here<'e, 'p, 'f> {
    pub(super) exec: &'e mut Exec<'p>,
    pub(super) frame: &'f Frame<'f>,
}

impl<'p> Exec<'p> {
    /// Evaluates an expression on a row.
    pub(crate) fn eval(&mut self, expr: &Expr, frame: &Frame<'_>) -> Result<Value, Stop> {
        eval::eval(expr, &mut Here { exec: self, frame })
    }

    /// The running transaction's number as the `xmax` of a row that it has just written. Nothing says which of two is greater, so
    /// that nobody need come between.
    pub(super) fn own_number(&mut self) -> Result<Value, Stop> {
        self.op(transaction_number)
    }

    /// Whether a condition holds on a row.
    pub(crate) fn holds(&mut self, expr: &Expr, frame: &Frame<'_>) -> Result<bool, Stop> {
        eval::holds(expr, &mut Here { exec: self, frame })
    }

    /// Whether all conditions hold on a row.
    pub(crate) fn all_hold(&mut self, conditions: &[Expr], frame: &Frame<'_>) -> Result<bool, Stop> {
        for condition in conditions {
            if !self.holds(condition, frame)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Evaluates a list of expressions into a row.
    pub(crate) fn project(&mut self, list: &[Expr], frame: &Frame<'_>) -> Result<Row, Stop> {
        let mut values = Vec::with_capacity(list.len());
        for expr in list {
            values.push(self.eval(expr, frame)?);
        }
        Ok(values.into())
    }

    /// The rows of a set-returning function.
    pub(crate) fn set_rows(
        &mut self,
        call: &crate::world::database::sql::expr::SetCall,
        frame: &Frame<'_>,
    ) -> Result<Vec<Vec<Value>>, Stop> {
        crate::world::database::sql::setof::rows(call, &mut Here { exec: self, frame })
    }

    fn advisory_key(args: &[Value]) -> Result<AdvisoryKey, Stop> {
        match args {
            [Value::Int(key)] => Ok(AdvisoryKey::Big(*key)),
            [Value::Int(high), Value::Int(low)] => Ok(AdvisoryKey::Pair(*high as i32, *low as i32)),
            _ => Err(Stop::Error(internal("advisory lock key"))),
        }
    }

    fn forbid_read_only(&self, what: &str) -> Result<(), Stop> {
        match self.services.setting("transaction_read_only")?.as_deref() {
            Some("on") => Err(read_only(what).into()),
            _ => Ok(()),
        }
    }

    fn sequence_name(&self, value: &Value) -> Result<Arc<str>, Stop> {
        match value {
            Value::Text(name) => {
                let name = name.trim_matches('"');
                Ok(name.strip_prefix("public.").unwrap_or(name).into())
            }
            Value::Int(oid) => self
                .catalog
                .name_of_oid(*oid as u32)
                .ok_or_else(|| Stop::Error(internal("no relation with that OID"))),
            _ => Err(Stop::Error(internal("sequence name"))),
        }
    }

    fn sequence(&self, name: &str) -> Result<crate::world::database::store::SequenceId, Stop> {
        match self.catalog.sequences.get(name) {
            Some(sequence) => Ok(sequence.id),
            None => Err(Stop::Error(super::super::catalog::no_relation(name))),
        }
    }

    fn call(&mut self, call: Volatile, args: Vec<Value>) -> Result<Value, Stop> {
        let session = self.session;
        if args.iter().any(Value::is_null) && call != Volatile::SetConfig {
            return Ok(Value::Null);
        }
        match call {
            Volatile::AdvisoryLock {
                shared,
                transaction,
                attempt,
            } => {
                let key = Self::advisory_key(&args)?;
                let scope = match transaction {
                    true => Scope::Transaction,
                    false => Scope::Session,
                };
                let access = self.pacer.advisory(key, shared, !attempt);
                let got = self.take(access, |store, _| {
                    store.advisory_lock(session, key, shared, scope, attempt)
                })?;
                Ok(match attempt {
                    true => Value::Bool(got),
                    false => Value::text(""),
                })
            }
            Volatile::AdvisoryUnlock { shared } => {
                let key = Self::advisory_key(&args)?;
                let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
                let done = self.op(|store, services| {
                    let done = store.advisory_unlock(session, key, shared);
                    if !done {
                        services.notice(Severity::Warning, format!("you don't own a lock of type {mode}"));
                    }
                    Ok(done)
                })?;
                Ok(Value::Bool(done))
            }
            Volatile::AdvisoryUnlockAll => {
                self.op(|store, _| {
                    store.advisory_unlock_all(session);
                    Ok(())
                })?;
                Ok(Value::text(""))
            }
            Volatile::Nextval => {
                self.forbid_read_only("nextval()")?;
                let name = self.sequence_name(&args[0])?;
                let sequence = self.sequence(&name)?;
                let by = self
                    .catalog
                    .sequences
                    .get(&*name)
                    .map_or(1, |sequence| sequence.increment);
                let access = Access::Sequence { sequence: sequence.0 };
                self.take(access, |store, services| {
                    let value = store.nextval(sequence, by);
                    services.used_sequence(&name, value, true);
                    Ok(Value::Int(value))
                })
            }
            Volatile::Setval => {
                self.forbid_read_only("setval()")?;
                let name = self.sequence_name(&args[0])?;
                let sequence = self.sequence(&name)?;
                let Value::Int(value) = args[1] else {
                    return Err(Stop::Error(internal("setval")));
                };
                let called = args.get(2) != Some(&Value::Bool(false));
                let access = Access::Sequence { sequence: sequence.0 };
                self.take(access, |store, services| {
                    store.setval(sequence, value, called);
                    if called {
                        services.used_sequence(&name, value, false);
                    }
                    Ok(Value::Int(value))
                })
            }
            Volatile::Currval => {
                let name = self.sequence_name(&args[0])?;
                self.sequence(&name)?;
                let value = self.services.last_sequence(Some(&name));
                value.map(Value::Int).ok_or_else(|| {
                    let message = format!("currval of sequence \"{name}\" is not yet defined in this session");
                    Stop::Error(sql_error(b"55000", message))
                })
            }
            Volatile::Lastval => {
                let value = self.services.last_sequence(None);
                value
                    .map(Value::Int)
                    .ok_or_else(|| Stop::Error(sql_error(b"55000", "lastval is not yet defined in this session")))
            }
            Volatile::Sleep => self.sleep(seconds(&args[0])),
            Volatile::SleepFor => match &args[0] {
                Value::Interval(interval) => {
                    let micros = crate::world::database::sql::compare::interval_span(interval);
                    self.sleep(i64::try_from(micros).unwrap_or(i64::MAX))
                }
                _ => Err(Stop::Error(internal("pg_sleep_for"))),
            },
            Volatile::SetConfig => self.set_config(args),
            Volatile::CurrentSetting => self.current_setting(&args),
            Volatile::TransactionId => self.take(Access::Numbering, transaction_number),
            Volatile::BackendPid => Ok(Value::Int(self.services.backend_pid(session))),
            Volatile::ClockTimestamp => {
                self.pacer.note(self.branch, session, Access::Clock);
                self.op(|_, services| Ok(Value::Timestamp(services.now())))
            }
            Volatile::RandomUuid => self.op(|_, services| Ok(Value::Uuid(made::uuid(&services.draw())))),
            Volatile::Random => self.op(|_, services| Ok(Value::Float(Float(made::fraction(&services.draw()))))),
            Volatile::SerialSequence => {
                let (Value::Text(table), Value::Text(column)) = (&args[0], &args[1]) else {
                    return Ok(Value::Null);
                };
                let table = table.strip_prefix("public.").unwrap_or(table);
                self.catalog.table(table)?.require_column(column)?;
                let owned = self.catalog.sequences.values().find(|sequence| {
                    let owner = sequence.owner.as_ref();
                    owner.is_some_and(|(owner, of)| **owner == *table && of == column)
                });
                Ok(owned.map_or(Value::Null, |sequence| Value::text(format!("public.{}", sequence.name))))
            }
            Volatile::ToRegclass => match &args[0] {
                Value::Text(name) => Ok(self
                    .catalog
                    .oid(name)
                    .map_or(Value::Null, |oid| Value::Int(i64::from(oid)))),
                other => Ok(other.clone()),
            },
            Volatile::RegclassName => match &args[0] {
                Value::Int(oid) => {
                    let name = self.catalog.name_of_oid(*oid as u32);
                    Ok(Value::text(name.unwrap_or_else(|| oid.to_string().into())))
                }
                other => Ok(other.clone()),
            },
        }
    }

    /// `pg_sleep`: a wait in virtual time.
    fn sleep(&mut self, micros: i64) -> Result<Value, Stop> {
        self.op(|_, services| {
            if micros <= 0 {
                return Ok(Value::text(""));
            }
            match services.sleeping_until() {
                Some(until) if services.now() >= until => {
                    services.sleep_until(i64::MIN);
                    Ok(Value::text(""))
                }
                Some(_) => Err(Stop::Wait),
                None => {
                    services.sleep_until(services.now().saturating_add(micros));
                    Err(Stop::Wait)
                }
            }
        })
    }

    fn set_config(&mut self, args: Vec<Value>) -> Result<Value, Stop> {
        let [Value::Text(name), value, local] = args.as_slice() else {
            return Err(Stop::Error(internal("set_config")));
        };
        let text = match value {
            Value::Text(text) => text.to_string(),
            _ => String::new(),
        };
        let local = *local == Value::Bool(true);
        self.op(|_, services| {
            services.set(name, text.clone(), local)?;
            Ok(Value::text(text))
        })
    }

    fn current_setting(&mut self, args: &[Value]) -> Result<Value, Stop> {
        let Value::Text(name) = &args[0] else {
            return Ok(Value::Null);
        };
        match (self.services.setting(name)?, args.get(1)) {
            (Some(value), _) => Ok(Value::text(value)),
            (None, Some(Value::Bool(true))) => Ok(Value::Null),
            (None, _) => {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                Err(Stop::Error(sql_error(b"42704", message)))
            }
        }
    }
}

impl Env for Here<'_, '_, '_> {
    fn column(&self, depth: u16, index: u16) -> &Value {
        let mut frame = self.frame;
        for _ in 0..depth {
            match frame.outer {
                Some(outer) => frame = outer,
                None => return &NULL,
            }
        }
        let Some((slot, column)) = frame.layout.places.get(usize::from(index)) else {
            return &NULL;
        };
        frame
            .cells
            .get(usize::from(*slot))
            .and_then(|cell| cell.row.as_ref())
            .and_then(|row| row.get(usize::from(*column)))
            .unwrap_or(&NULL)
    }

    fn param(&self, number: u16) -> &Value {
        self.exec
            .params
            .get(usize::from(number).wrapping_sub(1))
            .unwrap_or(&NULL)
    }

    fn aggregate(&self, id: u32) -> &Value {
        self.frame.aggregates.get(id as usize).unwrap_or(&NULL)
    }

    fn set_result(&self, id: u32) -> &Value {
        self.frame.set_results.get(id as usize).unwrap_or(&NULL)
    }

    fn subquery(&mut self, id: u32, kind: &SubqueryKind) -> Result<Arc<[Row]>, Stop> {
        let plan = self.exec.plan;
        let Some(subquery) = plan.subqueries.get(id as usize) else {
            return Err(Stop::Error(internal("sub-select")));
        };
        // What is inside of the sub-select is not what is tested again.
        let rechecked = self.exec.rechecked.take();
        let rows = match &rechecked {
            Some(first) if subquery.joined => self.joined_rows(id as usize, subquery, kind, first),
            _ => self.subquery_rows(id as usize, subquery, kind),
        };
        self.exec.rechecked = rechecked;
        rows
    }

    fn volatile(&mut self, call: Volatile, args: Vec<Value>) -> Result<Value, Stop> {
        self.exec.call(call, args)
    }

    fn user(&mut self, _id: u32, _args: Vec<Value>) -> Result<Value, Stop> {
        Err(Stop::Error(sql_error(b"42883", "function does not exist")))
    }

    fn transaction_time(&self) -> i64 {
        self.exec.services.transaction_time()
    }

    fn statement_time(&self) -> i64 {
        self.exec.services.statement_time()
    }

    fn settings(&self) -> &Settings {
        self.exec.services.settings()
    }
}

/// Seconds as microseconds.
fn seconds(seconds: &Value) -> i64 {
    match seconds {
        Value::Int(seconds) => seconds.saturating_mul(1_000_000),
        Value::Float(seconds) => (seconds.0 * 1e6) as i64,
        Value::Numeric(seconds) => {
            let micros = seconds * bigdecimal::BigDecimal::from(1_000_000);
            bigdecimal::ToPrimitive::to_i64(&micros).unwrap_or(i64::MAX)
        }
        _ => 0,
    }
}

/// The running transaction's number, which it has from the first time that it is asked for.
fn transaction_number(store: &mut Store, services: &mut dyn Services) -> Result<Value, Stop> {
    store.note_numbering();
    Ok(Value::Int(services.transaction_number()))
}
