//! The machine of a script: compiled steps, a place in them, and the values so far.
//!
//! Everything between two effects happens silently in one step of the machine. Values that no later step reads are forgotten when an
//! effect is asked for, so that two ways to the same place with the same prospects are one state.

mod failing;

use std::sync::Arc;

use super::bound::{Bound, Typed, to_json};
use super::code::{Body, Cast, Code, Control, Mark, Op, Pc, Shared, bit};
use super::expr::{Expr, Operand};
use super::raised::Raised;
use crate::machine::http::Fields;
use crate::machine::service::{Answer, Arguments, Call};
use crate::machine::{Effect, Failure, Machine, Notebook, Program, Reply, Request, Response, Sql, SqlError, SqlState};
use crate::value::{Interval, Value};
use crate::world::database::sql::types::Type;

/// A process that runs a script.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Interpreter {
    code: Shared,
    pc: Pc,
    values: Vec<Option<Bound>>,
    frames: Vec<Frame>,
    errors: Vec<Raised>,
    hooks: Vec<Hook>,
    /// The savepoints of the open transaction: their names, and how many hooks there were. Kept only where there are hooks to lose.
    savepoints: Vec<(Arc<str>, usize)>,
    transaction: Transaction,
    /// The session's default isolation level has been set on the present connection.
    session: bool,
    /// The pending effect is the one that sets it.
    setting: bool,
    responded: bool,
    /// What an atomic block gives.
    pub(crate) given: Option<Typed>,
    state: &'static str,
    /// How it failed in its last step, or for good.
    failure: Option<Failure>,
    notes: Notebook,
    /// It was started by another one: its end is not the process's.
    apart: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Transaction {
    open: bool,
    failed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Frame {
    Loop {
        left: Option<i64>,
    },
    Each {
        rows: Bound,
        next: u32,
        left: Option<i64>,
    },
    Count {
        next: i64,
        last: i64,
    },
    Try {
        target: Pc,
        errors: u8,
    },
    Retry {
        again: Pc,
        at: Pc,
        left: i64,
        errors: u8,
        open: bool,
    },
    Hook {
        back: Pc,
        values: Vec<Option<Bound>>,
        rest: Vec<Hook>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Hook {
    entry: Pc,
    values: Vec<Option<Bound>>,
}

/// How many operations may follow each other without an effect: more is a loop that never ends.
const SILENT: usize = 100_000;

impl Interpreter {
    /// A process at the beginning of its steps, with these values.
    pub(crate) fn new(code: Shared, values: impl IntoIterator<Item = (u16, Bound)>) -> Self {
        let mut slots = vec![None; code.0.names.len()];
        for (slot, value) in values {
            if let Some(place) = slots.get_mut(usize::from(slot)) {
                *place = Some(value);
            }
        }
        Interpreter {
            code,
            pc: 0,
            values: slots,
            frames: Vec::new(),
            errors: Vec::new(),
            hooks: Vec::new(),
            savepoints: Vec::new(),
            transaction: Transaction::default(),
            session: false,
            setting: false,
            responded: false,
            given: None,
            state: "running",
            failure: None,
            notes: Notebook::default(),
            apart: false,
        }
    }

    /// Notes something about the present operation.
    fn note(&self, mark: Mark) {
        if let Some(notes) = &self.notes.0
            && self.pc < self.code.0.epilogue
        {
            notes.pass(self.code.0.number, Code::mark(self.pc, mark));
        }
    }

    /// The code and message of the error that ended it.
    pub(crate) fn failure(&self) -> Option<(Arc<str>, Arc<str>)> {
        if self.state != "failed" {
            return None;
        }
        let told = |raised: &Raised| (raised.code.clone(), raised.message.clone());
        let endless = || ("54001".into(), "the steps do not come to an end".into());
        Some(self.errors.first().map_or_else(endless, told))
    }

    fn op(&self) -> Option<&Op> {
        self.code.0.ops.get(self.pc as usize)
    }

    fn bind(&mut self, slot: Option<u16>, value: Bound) {
        if let Some(place) = slot.and_then(|slot| self.values.get_mut(usize::from(slot))) {
            *place = Some(value);
        }
    }

    // What a reply means for the operation that waited for it.

    fn take(&mut self, reply: Reply) {
        if std::mem::take(&mut self.setting) {
            match reply {
                Reply::Sql(Err(error)) => self.sql_failed(&error),
                _ => self.session = true,
            }
            return;
        }
        let answered = matches!(
            reply,
            Reply::Sql(Ok(_)) | Reply::Service(Ok(Answer::Ok(_))) | Reply::Response(Ok(_)) | Reply::Went
        );
        if answered {
            self.note(Mark::Answered);
        }
        match reply {
            Reply::Start => {}
            Reply::Sql(Ok(rows)) => {
                let (bind, control) = match self.op() {
                    Some(Op::Sql { bind, control, .. }) => (*bind, control.clone()),
                    _ => (None, Control::Rollback),
                };
                self.session = true;
                self.bind(bind, Bound::rows(rows));
                self.pc += 1;
                self.controlled(control);
            }
            Reply::Sql(Err(error)) => self.sql_failed(&error),
            Reply::Service(Ok(Answer::Ok(values))) => {
                if let Some(Op::Call { bind, .. } | Op::Atomic { bind, .. }) = self.op() {
                    let bind = *bind;
                    self.bind(bind, Bound::named(values));
                }
                self.pc += 1;
            }
            // An expression in an atomic block fails as it does outside.
            Reply::Service(Ok(Answer::Refused { code, message, .. }))
                if matches!(self.op(), Some(Op::Atomic { .. })) && is_sqlstate(&code) =>
            {
                self.raise(Raised::sql(code, message, None));
            }
            Reply::Service(Ok(Answer::Refused {
                status, code, message, ..
            })) => self.raise(Raised {
                name: code.clone(),
                code,
                message,
                constraint: None,
                status: Some(status),
                class: "refused",
            }),
            Reply::Response(Ok(response)) => {
                if let Some(Op::Send { bind, .. }) = self.op() {
                    let bind = *bind;
                    self.bind(bind, Bound::response(&response));
                }
                self.pc += 1;
            }
            Reply::Service(Err(reason)) | Reply::Response(Err(reason)) => self.raise(Raised::from(reason)),
            Reply::Went => self.pc += 1,
        }
    }

    fn controlled(&mut self, control: Control) {
        match control {
            // Inside of an open transaction `begin` is a warning and changes nothing, neither do its savepoints go.
            Control::Begin => self.transaction.open = true,
            Control::Commit => {
                let done = !self.transaction.failed;
                self.transaction = Transaction::default();
                self.savepoints.clear();
                let hooks = std::mem::take(&mut self.hooks);
                if done {
                    self.run_hooks(hooks);
                }
            }
            Control::Rollback => {
                self.transaction = Transaction::default();
                self.hooks.clear();
                self.savepoints.clear();
            }
            Control::Savepoint(name) => {
                if self.code.0.hooks {
                    self.savepoints.push((name, self.hooks.len()));
                }
            }
            Control::RollbackTo(name) => {
                self.transaction.failed = false;
                if let Some(place) = self.savepoint(&name) {
                    self.hooks.truncate(self.savepoints[place].1);
                    self.savepoints.truncate(place + 1);
                }
            }
            Control::Release(name) => {
                if let Some(place) = self.savepoint(&name) {
                    self.savepoints.truncate(place);
                }
            }
            Control::Plain => {}
        }
    }

    /// The innermost savepoint of that name.
    fn savepoint(&self, name: &str) -> Option<usize> {
        self.savepoints.iter().rposition(|(known, _)| **known == *name)
    }

    fn run_hooks(&mut self, mut hooks: Vec<Hook>) {
        if hooks.is_empty() {
            return;
        }
        let first = hooks.remove(0);
        let values = std::mem::replace(&mut self.values, first.values);
        self.frames.push(Frame::Hook {
            back: self.pc,
            values,
            rest: hooks,
        });
        self.pc = first.entry;
    }

    fn hook_ended(&mut self) {
        while let Some(frame) = self.frames.pop() {
            if let Frame::Hook { back, values, mut rest } = frame {
                if rest.is_empty() {
                    self.values = values;
                    self.pc = back;
                } else {
                    let next = rest.remove(0);
                    self.values = next.values;
                    self.pc = next.entry;
                    self.frames.push(Frame::Hook { back, values, rest });
                }
                return;
            }
        }
        self.pc = self.code.0.epilogue;
    }

    fn run(&mut self) -> Effect {
        for _ in 0..SILENT {
            match self.advance() {
                Ok(Some(effect)) => {
                    self.forget();
                    return effect;
                }
                Ok(None) => {}
                Err(error) => self.raise_sql(&error),
            }
        }
        self.state = "failed";
        Effect::Done
    }

    /// Drops the values that nothing reads any more.
    fn forget(&mut self) {
        if let Some(live) = self.code.0.live.get(self.pc as usize) {
            for (slot, value) in self.values.iter_mut().enumerate() {
                if live & bit(slot as u16) == 0 {
                    *value = None;
                }
            }
        }
    }

    /// One operation: an effect to wait for, or on to the next.
    fn advance(&mut self) -> Result<Option<Effect>, SqlError> {
        let code = self.code.0.clone();
        let Some(op) = code.ops.get(self.pc as usize) else {
            return Ok(Some(self.done()));
        };
        self.note(Mark::Reached);
        match op {
            Op::Sql { .. } => self.sql(op).map(Some),
            Op::RollbackIfOpen => Ok(self.roll_back()),
            Op::Call {
                service,
                operation,
                arguments,
                ..
            } => {
                let arguments = self.evaluate(arguments)?;
                Ok(Some(Effect::Call(Call {
                    service: service.clone(),
                    operation: operation.clone(),
                    arguments: Arguments(arguments.into_iter().filter(|(_, value)| !value.is_null()).collect()),
                })))
            }
            Op::Atomic { script, operands, .. } => self.atomic(script, operands).map(Some),
            Op::Send {
                endpoint,
                fields,
                headers,
                ..
            } => {
                let text = |values: Vec<(Arc<str>, Value)>| -> Fields {
                    let given = values.into_iter().filter(|(_, value)| !value.is_null());
                    given.map(|(name, value)| (name, value.to_string())).collect()
                };
                Ok(Some(Effect::Send(Request {
                    endpoint: endpoint.clone(),
                    headers: text(self.evaluate(headers)?),
                    body: text(self.evaluate(fields)?),
                })))
            }
            Op::Respond { status, body } => self.respond(status, body).map(Some),
            Op::RespondFailure => {
                if self.responded || !code.answers {
                    self.pc += 1;
                    return Ok(None);
                }
                self.responded = true;
                let message = self.errors.first().map_or("".into(), |raised| raised.message.clone());
                Ok(Some(Effect::Respond(Response::new(500, message))))
            }
            Op::Sleep { amount, unit } => self.sleep(amount, *unit).map(Some),
            Op::Spawn { label, entry } => {
                let mut spawned = Interpreter::new(self.code.clone(), []);
                spawned.values.clone_from(&self.values);
                spawned.pc = *entry;
                spawned.responded = true;
                spawned.notes.clone_from(&self.notes);
                spawned.apart = true;
                spawned.forget();
                Ok(Some(Effect::Spawn {
                    label: label.clone(),
                    program: Program::new(spawned),
                }))
            }
            Op::End => Ok(Some(self.done())),
            Op::Give(value) => {
                self.given = value.as_ref().map(|value| value.value(&self.values)).transpose()?;
                Ok(Some(self.done()))
            }
            silent => self.silent(silent).map(|()| None),
        }
    }

    fn done(&mut self) -> Effect {
        if self.state == "running" {
            self.state = "done";
            if let Some(notes) = self.notes.0.as_ref().filter(|_| !self.apart) {
                notes.pass(self.code.0.number, self.code.0.end_mark());
            }
        }
        Effect::Done
    }

    fn silent(&mut self, op: &Op) -> Result<(), SqlError> {
        let next = self.pc + 1;
        match op {
            Op::Let { slot, value } => {
                let value = match value {
                    // A result keeps its rows under its new name.
                    Expr::Operand(Operand {
                        slot,
                        field: None,
                        all: false,
                        ..
                    }) => self
                        .values
                        .get(usize::from(*slot))
                        .cloned()
                        .flatten()
                        .unwrap_or(Bound::Scalar(Typed::NULL)),
                    value => Bound::Scalar(value.value(&self.values)?),
                };
                self.bind(Some(*slot), value);
            }
            Op::Jump(target) => return self.go(*target),
            Op::Unless { condition, target } => {
                if !condition.holds(&self.values)? {
                    return self.go(*target);
                }
                self.note(Mark::True);
            }
            Op::Hook { entry } => {
                let hook = Hook {
                    entry: *entry,
                    values: self.values.clone(),
                };
                self.pc = next;
                match self.transaction.open {
                    true => self.hooks.push(hook),
                    false => self.run_hooks(vec![hook]),
                }
                return Ok(());
            }
            Op::HookEnd => {
                self.hook_ended();
                return Ok(());
            }
            other => return self.handle(other),
        }
        self.pc = next;
        Ok(())
    }

    /// The operations of errors.
    fn handle(&mut self, op: &Op) -> Result<(), SqlError> {
        match op {
            Op::Try { target } => self.frames.push(Frame::Try {
                target: *target,
                errors: self.errors.len() as u8,
            }),
            Op::Retry { times, again, .. } => {
                let left = times.number(&self.values)?;
                self.frames.push(Frame::Retry {
                    again: *again,
                    at: self.pc,
                    left,
                    errors: self.errors.len() as u8,
                    open: self.transaction.open,
                });
            }
            Op::Pop => drop(self.frames.pop()),
            Op::Catch { names, slot, next } => match self.errors.pop() {
                Some(raised) if raised.matches(names) => self.bind(*slot, raised.bound()),
                Some(raised) => {
                    self.errors.push(raised);
                    return self.go(*next);
                }
                None => return self.go(*next),
            },
            Op::Rethrow => {
                if let Some(raised) = self.errors.pop() {
                    self.raise(raised);
                }
                return Ok(());
            }
            Op::Raise { name, message } => {
                let message = match message {
                    Some(message) => message.value(&self.values)?.value.to_string(),
                    None => name.to_string(),
                };
                self.raise(Raised {
                    code: name.clone(),
                    name: name.clone(),
                    message: message.into(),
                    constraint: None,
                    status: None,
                    class: "raised",
                });
                return Ok(());
            }
            loops => return self.round(loops),
        }
        self.pc += 1;
        Ok(())
    }

    /// The operations of loops.
    fn round(&mut self, op: &Op) -> Result<(), SqlError> {
        let next = self.pc + 1;
        let bound = |most: &Option<Expr>| most.as_ref().map(|most| most.number(&self.values)).transpose();
        match op {
            Op::Loop { most } => {
                let left = bound(most)?;
                self.frames.push(Frame::Loop { left });
            }
            Op::Each { rows, most } => {
                let left = bound(most)?;
                let rows = self.values.get(usize::from(*rows)).cloned().flatten();
                self.frames.push(Frame::Each {
                    rows: rows.unwrap_or(Bound::Scalar(Typed::NULL)),
                    next: 0,
                    left,
                });
            }
            Op::Count { from, to } => {
                let (next, last) = (from.number(&self.values)?, to.number(&self.values)?);
                self.frames.push(Frame::Count { next, last });
            }
            Op::Next { exit } => match self.frames.last_mut() {
                Some(Frame::Loop { left: Some(0) }) => return self.go(*exit),
                Some(Frame::Loop { left: Some(left) }) => *left -= 1,
                _ => {}
            },
            Op::NextRow { row, exit } => {
                let Some(Frame::Each { rows, next, left }) = self.frames.last_mut() else {
                    return self.go(*exit);
                };
                if *next as usize >= rows.len() || *left == Some(0) {
                    return self.go(*exit);
                }
                if let Some(left) = left {
                    *left -= 1;
                }
                let value = match rows {
                    Bound::Rows(table) | Bound::Row(table, _) => Bound::Row(table.clone(), *next),
                    Bound::Scalar(typed) => Bound::Scalar(typed.clone()),
                };
                *next += 1;
                self.bind(Some(*row), value);
            }
            Op::NextNumber { slot, exit } => {
                let Some(Frame::Count { next, last }) = self.frames.last_mut() else {
                    return self.go(*exit);
                };
                if next > last {
                    return self.go(*exit);
                }
                let number = *next;
                *next += 1;
                self.bind(Some(*slot), Bound::Scalar(Typed::plain(Value::Int(number))));
            }
            _ => {}
        }
        self.pc = next;
        Ok(())
    }

    fn go(&mut self, target: Pc) -> Result<(), SqlError> {
        self.pc = target;
        Ok(())
    }

    // Effects.

    fn sql(&mut self, op: &Op) -> Result<Effect, SqlError> {
        let Op::Sql {
            text,
            params,
            casts,
            control,
            ..
        } = op
        else {
            return Ok(Effect::Done);
        };
        if let Some(level) = &self.code.0.isolation
            && !self.session
            && !self.transaction.open
            && *control == Control::Plain
        {
            self.setting = true;
            return Ok(Effect::Sql(Sql::new(format!(
                "set default_transaction_isolation = '{level}'"
            ))));
        }
        let typed: Result<Vec<Typed>, SqlError> = params.iter().map(|operand| operand.read(&self.values)).collect();
        let typed = typed?;
        let mut text = text.clone();
        for Cast { behind, param, always } in casts.iter().rev() {
            if let Some(Typed { ty, .. }) = typed.get(*param)
                && (*always && *ty != Type::Unknown || is_time(ty))
            {
                text = format!("{}::{}{}", &text[..*behind], ty.plain_name(), &text[*behind..]).into();
            }
        }
        Ok(Effect::Sql(Sql {
            text,
            params: typed.into_iter().map(|typed| typed.value).collect(),
            session: 0,
        }))
    }

    fn roll_back(&mut self) -> Option<Effect> {
        let kept = match self.frames.last() {
            Some(Frame::Retry { open, .. }) => *open,
            _ => false,
        };
        if self.transaction.open && !kept {
            return Some(Effect::Sql(Sql::new("rollback")));
        }
        self.pc += 1;
        None
    }

    fn respond(&mut self, status: &Expr, body: &Body) -> Result<Effect, SqlError> {
        let number = status.number(&self.values)?;
        let status = u16::try_from(number).map_err(|_| invalid(&format!("{number} is not an HTTP status")))?;
        let body = match body {
            Body::Empty => String::new(),
            Body::Value(value) => match value.value(&self.values)?.value {
                Value::Null => String::new(),
                value => value.to_string(),
            },
            Body::Fields(fields) => to_json(&self.evaluate(fields)?),
        };
        self.responded = true;
        Ok(Effect::Respond(Response::new(status, body)))
    }

    fn sleep(&self, amount: &Expr, unit: i64) -> Result<Effect, SqlError> {
        let micros = match (unit, amount.value(&self.values)?.value) {
            (0, Value::Interval(interval)) => micros(interval),
            (unit, Value::Int(number)) => number.saturating_mul(if unit == 0 { 1_000_000 } else { unit }),
            (unit, Value::Text(text)) => {
                let number: i64 = text
                    .trim()
                    .parse()
                    .map_err(|_| invalid(&format!("{text} is not a span of time")))?;
                number.saturating_mul(if unit == 0 { 1_000_000 } else { unit })
            }
            (_, other) => return Err(invalid(&format!("{other} is not a span of time"))),
        };
        Ok(Effect::Sleep(micros))
    }

    fn atomic(&self, script: &Arc<str>, operands: &[(Arc<str>, Operand)]) -> Result<Effect, SqlError> {
        let mut call =
            Call::new(super::atomic::SERVICE, super::atomic::OPERATION).with("script", Value::Text(script.clone()));
        for (name, operand) in operands {
            call = call.with(name.clone(), operand.read(&self.values)?.value);
        }
        Ok(Effect::Call(call))
    }

    fn evaluate(&self, fields: &[(Arc<str>, Expr)]) -> Result<Vec<(Arc<str>, Value)>, SqlError> {
        fields
            .iter()
            .map(|(name, expr)| Ok((name.clone(), expr.value(&self.values)?.value)))
            .collect()
    }
}

impl Machine for Interpreter {
    fn step(&mut self, reply: Reply) -> Effect {
        // A deadlock is told in the moment after it; a mistake stays.
        self.failure.take_if(|failure| *failure == Failure::DeadlockVictim);
        self.take(reply);
        self.run()
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }

    fn take_notes(&mut self, notes: &Notebook) {
        self.notes.clone_from(notes);
    }

    fn state(&self) -> &'static str {
        self.state
    }

    /// None: a script can be read as it is.
    fn name(&self) -> String {
        String::new()
    }
}

/// Whether values of a type are moments or spans of time.
fn is_time(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Timestamptz(_) | Type::Timestamp(_) | Type::Date | Type::Interval
    )
}

/// Whether a code is one of SQL's; those of services are written in small letters.
fn is_sqlstate(code: &str) -> bool {
    code.len() == 5
        && code
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

fn invalid(message: &str) -> SqlError {
    SqlError::new(SqlState(*b"22023"), message)
}

/// Months count 30 days, as Postgres counts them when it has to.
fn micros(interval: Interval) -> i64 {
    let days = i64::from(interval.months) * 30 + i64::from(interval.days);
    days.saturating_mul(86_400_000_000).saturating_add(interval.micros)
}
