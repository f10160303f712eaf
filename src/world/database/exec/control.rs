//! Transaction control, settings, LOCK TABLE and prepared statements.

use std::sync::Arc;

use crate::machine::{Column, Rows, SqlError};
use crate::value::Value;
use crate::world::database::sql::parse::{Kind, LockMode, Modes, SettingValue};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::store::{Level, SessionId, Stop, TableMode};

use super::changes::Mark;
use super::engine::{Call, Halt};
use super::facade::Severity;
use super::journal::Entry;
use super::message::{Message, Planned};
use super::run::{self};
use super::session::{Block, Running, level_name};

impl Call<'_> {
    /// BEGIN, COMMIT and their like; `None` when it is another statement.
    pub(super) fn transaction_statement(
        &mut self,
        id: SessionId,
        kind: &Kind,
        _several: bool,
    ) -> Option<Result<(), Halt>> {
        Some(match kind {
            Kind::Begin(modes) => self.begin_block(id, modes),
            Kind::Commit { chain } => self.commit_block(id, *chain),
            Kind::Rollback { chain } => self.rollback_block(id, *chain),
            Kind::Savepoint(name) => self.savepoint(id, name),
            Kind::Release(name) => match self.in_block(id, "RELEASE SAVEPOINT") {
                Err(error) => Err(error.into()),
                Ok(()) => self.release(id, name),
            },
            Kind::RollbackTo(name) => match self.in_block(id, "ROLLBACK TO SAVEPOINT") {
                Err(error) => Err(error.into()),
                Ok(()) => self.rollback_to(id, name),
            },
            Kind::SetTransaction { modes, session } => self.set_transaction(id, modes, *session),
            _ => return None,
        })
    }

    fn begin_block(&mut self, id: SessionId, modes: &Modes) -> Result<(), Halt> {
        match self.session(id).block {
            Block::Explicit => {
                self.notice(id, Severity::Warning, "there is already a transaction in progress");
                if *modes != Modes::default() {
                    return self.set_transaction(id, modes, false);
                }
                Ok(())
            }
            Block::Implicit => {
                self.session_mut(id).block = Block::Explicit;
                if *modes != Modes::default() {
                    return self.set_transaction(id, modes, false);
                }
                Ok(())
            }
            Block::None => {
                let (level, read_only, deferrable) = self.session(id).modes(modes);
                self.begin(id, level, read_only, deferrable, Block::Explicit);
                Ok(())
            }
        }
    }

    fn commit_block(&mut self, id: SessionId, chain: bool) -> Result<(), Halt> {
        let modes = self.current_modes(id);
        if self.session(id).block != Block::Explicit {
            if chain {
                return Err(sql_error(b"25P01", "COMMIT AND CHAIN can only be used in transaction blocks").into());
            }
            self.notice(id, Severity::Warning, "there is no transaction in progress");
        }
        self.commit(id)?;
        if chain {
            self.begin(id, modes.0, modes.1, modes.2, Block::Explicit);
        }
        Ok(())
    }

    fn rollback_block(&mut self, id: SessionId, chain: bool) -> Result<(), Halt> {
        let modes = self.current_modes(id);
        if self.session(id).block != Block::Explicit {
            if chain {
                return Err(sql_error(b"25P01", "ROLLBACK AND CHAIN can only be used in transaction blocks").into());
            }
            self.notice(id, Severity::Warning, "there is no transaction in progress");
        }
        self.rollback(id);
        if chain {
            self.begin(id, modes.0, modes.1, modes.2, Block::Explicit);
        }
        Ok(())
    }

    fn current_modes(&self, id: SessionId) -> (Level, bool, bool) {
        let level = self.engine.store.level(id).unwrap_or(Level::ReadCommitted);
        (level, self.session(id).read_only, false)
    }

    fn savepoint(&mut self, id: SessionId, name: &str) -> Result<(), Halt> {
        self.in_block(id, "SAVEPOINT")?;
        self.engine.store.savepoint(id, name);
        let session = self.session_mut(id);
        let mark = Mark {
            name: name.into(),
            changed: session.changed.clone(),
            replaced: session.replaced.len(),
        };
        session.marks.push(mark);
        Ok(())
    }

    fn release(&mut self, id: SessionId, name: &str) -> Result<(), Halt> {
        self.engine.store.release(id, name)?;
        let marks = &mut self.session_mut(id).marks;
        let place = marks.iter().rposition(|mark| &*mark.name == name);
        marks.truncate(place.unwrap_or(marks.len()));
        Ok(())
    }

    fn rollback_to(&mut self, id: SessionId, name: &str) -> Result<(), Halt> {
        self.engine.store.rollback_to(id, name)?;
        let marks = &mut self.session_mut(id).marks;
        let Some(place) = marks.iter().rposition(|mark| &*mark.name == name) else {
            return Ok(());
        };
        marks.truncate(place + 1);
        let Mark { changed, replaced, .. } = marks[place].clone();
        self.rewind_ddl(id, changed);
        self.session_mut(id).rewind_settings(replaced);
        // The store waits as long as it was told.
        let micros = self.session(id).micros("deadlock_timeout");
        self.engine.store.set_deadlock_timeout(id, micros);
        Ok(())
    }

    fn in_block(&self, id: SessionId, what: &str) -> Result<(), SqlError> {
        match self.session(id).block {
            Block::Explicit => Ok(()),
            _ => Err(sql_error(
                b"25P01",
                format!("{what} can only be used in transaction blocks"),
            )),
        }
    }

    fn set_transaction(&mut self, id: SessionId, modes: &Modes, session: bool) -> Result<(), Halt> {
        if session {
            let (level, read_only, deferrable) = self.session(id).modes(modes);
            let flag = |on: bool| Some(if on { "on" } else { "off" }.to_owned());
            let session = self.session_mut(id);
            session.set(
                "default_transaction_isolation",
                Some(level_name(level).to_owned()),
                false,
            )?;
            session.set("default_transaction_read_only", flag(read_only), false)?;
            session.set("default_transaction_deferrable", flag(deferrable), false)?;
            return Ok(());
        }
        if self.session(id).block == Block::None {
            self.notice(
                id,
                Severity::Warning,
                "SET TRANSACTION can only be used in transaction blocks",
            );
            return Ok(());
        }
        let current = self.current_modes(id);
        let (queried, inside) = (self.session(id).queried, !self.session(id).marks.is_empty());
        let not = |code: &[u8; 5], message: &str| Err(Halt::from(sql_error(code, message)));
        if modes
            .level
            .is_some_and(|level| super::session::level_of(level) != current.0)
        {
            match (queried, inside) {
                (true, _) => {
                    return not(
                        b"25001",
                        "SET TRANSACTION ISOLATION LEVEL must be called before any query",
                    );
                }
                (_, true) => {
                    return not(
                        b"25001",
                        "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction",
                    );
                }
                _ => {}
            }
        }
        if modes.read_only == Some(false) && current.1 {
            match (inside, queried) {
                (true, _) => {
                    return not(
                        b"25001",
                        "cannot set transaction read-write mode inside a read-only transaction",
                    );
                }
                (_, true) => return not(b"25001", "transaction read-write mode must be set before any query"),
                _ => {}
            }
        }
        if modes.deferrable.is_some() {
            match (inside, queried) {
                (true, _) => {
                    return not(
                        b"25001",
                        "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction",
                    );
                }
                (_, true) => {
                    return not(
                        b"25001",
                        "SET TRANSACTION [NOT] DEFERRABLE must be called before any query",
                    );
                }
                _ => {}
            }
        }
        if inside && modes.read_only == Some(true) && !current.1 {
            // ROLLBACK TO would take it back.
            return Err(Halt::Refused(super::ddl::plain_refusal("READ ONLY after a savepoint")));
        }
        let level = modes.level.map_or(current.0, super::session::level_of);
        let read_only = modes.read_only.unwrap_or(current.1);
        self.engine
            .store
            .set_characteristics(id, level, read_only, modes.deferrable.unwrap_or(false));
        self.session_mut(id).read_only = read_only;
        Ok(())
    }

    /// The statements that concern the session rather than rows.
    pub(super) fn session_statement(
        &mut self,
        id: SessionId,
        running: &mut Running,
        planned: &Planned,
        several: bool,
    ) -> Result<Rows, Halt> {
        match &planned.statement.kind {
            Kind::Set { local, name, value } => {
                let value = match value {
                    SettingValue::Default => None,
                    SettingValue::Values(values) => Some(super::settings::list(name, values)),
                };
                self.set(id, name, value, *local)?;
            }
            Kind::ResetAll => {
                self.session_mut(id).reset_all();
                let micros = self.session(id).micros("deadlock_timeout");
                self.engine.store.set_deadlock_timeout(id, micros);
            }
            Kind::Show(name) => return self.show(id, name),
            Kind::Lock(lock) => {
                if self.session(id).block != Block::Explicit && !several {
                    return Err(sql_error(b"25P01", "LOCK TABLE can only be used in transaction blocks").into());
                }
                self.lock_tables(id, running, lock)?;
            }
            Kind::Prepare { name, .. } => {
                if self.session(id).prepared.contains_key(name) {
                    let message = format!("prepared statement \"{name}\" already exists");
                    return Err(sql_error(b"42P05", message).into());
                }
                planned.plan(self.catalog(id), self.session(id).off())?;
                let place = (Arc::clone(&running.text), running.next);
                self.session_mut(id).prepared.insert(Arc::clone(name), place);
            }
            Kind::Execute { name, args } => return self.execute_prepared(id, running, planned, name, args),
            Kind::Deallocate(Some(name)) => {
                if self.session_mut(id).prepared.remove(name).is_none() {
                    let message = format!("prepared statement \"{name}\" does not exist");
                    return Err(sql_error(b"26000", message).into());
                }
            }
            Kind::Deallocate(None) => self.session_mut(id).prepared.clear(),
            // Without deferrable constraints ALL is about none.
            Kind::SetConstraints { names: None, .. } => {}
            Kind::SetConstraints { .. } => {
                return Err(Halt::Refused(
                    planned
                        .refuse("SET CONSTRAINTS of a name")
                        .help("no constraint of the model is deferrable"),
                ));
            }
            Kind::Maintenance => self.count_rows(id, running, &planned.statement.text)?,
            Kind::Listen(_) | Kind::Unlisten(_) => {}
            Kind::Discard(what) => self.discard(id, planned, what)?,
            Kind::Notify { .. } => return Err(Halt::Refused(planned.refuse("NOTIFY"))),
            Kind::Do { language, body } => return self.do_block(id, planned, language, body),
            _ => return Err(Halt::Refused(planned.refuse("statement"))),
        }
        Ok(Rows::default())
    }

    fn discard(&mut self, id: SessionId, planned: &Planned, what: &str) -> Result<(), Halt> {
        match what {
            "plans" | "temp" | "temporary" => {}
            "sequences" => {
                let session = self.session_mut(id);
                session.sequences.clear();
                session.last_sequence = None;
            }
            "all" if self.session(id).block == Block::Explicit => {
                return Err(sql_error(b"25001", "DISCARD ALL cannot run inside a transaction block").into());
            }
            "all" => {
                let session = self.session_mut(id);
                session.reset_all();
                session.prepared.clear();
                session.sequences.clear();
                session.last_sequence = None;
                self.engine.store.advisory_unlock_all(id);
            }
            _ => return Err(Halt::Refused(planned.refuse("DISCARD"))),
        }
        Ok(())
    }

    fn set(&mut self, id: SessionId, name: &str, value: Option<String>, local: bool) -> Result<(), Halt> {
        if name == "transaction_isolation" || name == "transaction_read_only" || name == "transaction_deferrable" {
            let value = match (value, name) {
                (Some(value), "transaction_isolation") => value.to_ascii_lowercase(),
                (Some(value), _) => super::settings::normal(name, &value)?,
                (None, _) => return Err(Halt::Refused(super::ddl::plain_refusal(&format!("RESET {name}")))),
            };
            let on = value == "on";
            let mut modes = Modes::default();
            match name {
                "transaction_isolation" => modes.level = Some(written_level(&value)?),
                "transaction_read_only" => modes.read_only = Some(on),
                _ => modes.deferrable = Some(on),
            }
            return self.set_transaction(id, &modes, false);
        }
        if local && self.session(id).block != Block::Explicit {
            self.notice(
                id,
                Severity::Warning,
                "SET LOCAL can only be used in transaction blocks",
            );
        }
        self.session_mut(id).set(name, value, local)?;
        if name == "deadlock_timeout" {
            let micros = self.session(id).micros(name);
            self.engine.store.set_deadlock_timeout(id, micros);
        }
        Ok(())
    }

    fn show(&mut self, id: SessionId, name: &str) -> Result<Rows, Halt> {
        let value = match name {
            "transaction_isolation" => {
                let level = self
                    .engine
                    .store
                    .level(id)
                    .unwrap_or_else(|| self.session(id).default_level());
                Some(level_name(level).to_owned())
            }
            "transaction_deferrable" if self.session(id).block != Block::None => {
                return Err(Halt::Refused(super::ddl::plain_refusal(
                    "SHOW of transaction_deferrable",
                )));
            }
            "all" => return Err(Halt::Refused(super::ddl::plain_refusal("SHOW ALL"))),
            name => self.session(id).show(name)?,
        };
        let Some(value) = value else {
            return Err(super::settings::unrecognized(name).into());
        };
        let known = crate::world::database::sql::known::settings().get(name);
        let name = known.map_or(name, |setting| setting.name);
        Ok(Rows {
            columns: vec![Column {
                name: name.into(),
                type_name: "text".into(),
            }],
            rows: vec![vec![Value::text(value)]],
            affected: 1,
        })
    }

    fn lock_tables(
        &mut self,
        id: SessionId,
        running: &mut Running,
        lock: &crate::world::database::sql::parse::LockTable,
    ) -> Result<(), Halt> {
        let mode = match lock.mode {
            LockMode::AccessShare => TableMode::AccessShare,
            LockMode::RowShare => TableMode::RowShare,
            LockMode::RowExclusive => TableMode::RowExclusive,
            LockMode::ShareUpdateExclusive => TableMode::ShareUpdateExclusive,
            LockMode::Share => TableMode::Share,
            LockMode::ShareRowExclusive => TableMode::ShareRowExclusive,
            LockMode::Exclusive => TableMode::Exclusive,
            LockMode::AccessExclusive => TableMode::AccessExclusive,
        };
        for (place, name) in lock.tables.iter().enumerate() {
            if running.journal.get(place).is_some() {
                continue;
            }
            let table = self.catalog(id).table(name)?.id;
            if mode == TableMode::AccessExclusive {
                self.engine.store.number_early(id);
            }
            match self.engine.store.lock_table(id, table, mode, lock.nowait) {
                Ok(()) => running.journal.push(Entry::Unit),
                Err(Stop::Error(error)) if error.code.as_str() == "55P03" => {
                    return Err(sql_error(b"55P03", format!("could not obtain lock on relation \"{name}\"")).into());
                }
                Err(stop) => return Err(stop.into()),
            }
        }
        Ok(())
    }

    fn execute_prepared(
        &mut self,
        id: SessionId,
        running: &mut Running,
        planned: &Planned,
        name: &Arc<str>,
        args: &[sqlparser::ast::Expr],
    ) -> Result<Rows, Halt> {
        let Some((text, place)) = self.session(id).prepared.get(name).cloned() else {
            let message = format!("prepared statement \"{name}\" does not exist");
            return Err(sql_error(b"26000", message).into());
        };
        let message = self
            .catalog(id)
            .plans
            .get(&text, || Message::parse(&text))
            .map_err(Halt::Refused)?;
        let plan = match message.statements.get(place) {
            Some(statement) => {
                statement.note_run(self.engine.store.level(id) == Some(Level::Serializable));
                statement.plan(self.catalog(id), self.session(id).off())?
            }
            None => return Err(run::internal("prepared statement").into()),
        };
        if plan.params.len() != args.len() {
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(sql_error(b"42601", message).into());
        }
        let settings = self.session(id).settings.clone();
        let mut params = Vec::new();
        for (arg, (_, ty)) in args.iter().zip(&plan.params) {
            let value = super::planner::constant_of(self.catalog(id), arg, ty, &settings, self.session(id).began)
                .map_err(|error| planned.placed(error))?;
            params.push(value);
        }
        self.run(id, running, &plan, &params)
    }
}

fn written_level(value: &str) -> Result<crate::world::database::sql::parse::IsolationLevel, SqlError> {
    use crate::world::database::sql::parse::IsolationLevel;
    Ok(match value {
        "read committed" | "read uncommitted" => IsolationLevel::ReadCommitted,
        "repeatable read" => IsolationLevel::RepeatableRead,
        "serializable" => IsolationLevel::Serializable,
        _ => {
            let message = format!("invalid value for parameter \"transaction_isolation\": \"{value}\"");
            return Err(sql_error(b"22023", message));
        }
    })
}
