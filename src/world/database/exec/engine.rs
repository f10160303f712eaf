//! The engine: runs messages statement by statement, and lets waiters go on until nobody can.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::{Access, Branch, Column, Rows, Sql, SqlError, SqlState};
use crate::value::Value;
use crate::world::database::sql::cast::coerce_param;
use crate::world::database::sql::parse::Kind;
use crate::world::database::sql::refuse::{BindError, Refused, sql_error};
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;
use crate::world::database::store::{AccessKind, Level, SessionId, Stop, Store, TxState, Wakeups};

use super::catalog::Catalog;
use super::facade::{DbEvent, Failure, Severity};
use super::journal::{Entry, Journal};
use super::made::Made;
use super::message::{Message, Planned};
use super::pacer::Pacer;
use super::plan::Plan;
use super::run::{self, Setting};
use super::services::Serving;
use super::session::{Block, Deadline, Running, Session};

/// Why a statement did not finish.
#[derive(Debug)]
pub(super) enum Halt {
    /// It waits.
    Wait,
    /// It was stopped at a point inside.
    Between,
    /// It failed.
    Error(SqlError),
    /// The model does not know it.
    Refused(Refused),
}

impl From<Stop> for Halt {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wait => Halt::Wait,
            Stop::Between => Halt::Between,
            Stop::Error(error) => error.into(),
        }
    }
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        match Refused::of_error(&error) {
            Some(refused) => Halt::Refused(refused),
            None => Halt::Error(error),
        }
    }
}

impl From<BindError> for Halt {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Refused(refused) => Halt::Refused(refused),
            BindError::Sql(error) => error.into(),
        }
    }
}

/// The state of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Engine {
    pub(super) store: Store,
    pub(super) catalog: Arc<Catalog>,
    /// Only sessions about which there is something to remember.
    pub(super) sessions: BTreeMap<SessionId, Arc<Session>>,
    /// What was made up (`gen_random_uuid`, `pg_backend_pid`, ...).
    pub(super) made: Made,
    /// Deadlocks are looked for when that is asked for, not in the moment in which they arise.
    pub(super) patient: bool,
}

/// One call from outside.
pub(super) struct Call<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) now: i64,
    pub(super) branch: &'a mut dyn Branch,
    pub(super) events: Vec<DbEvent>,
    /// Of the statement that runs at the moment.
    pub(super) pacer: Pacer,
}

impl Call<'_> {
    /// A message comes in.
    pub(super) fn send(&mut self, id: SessionId, sql: &Sql) {
        if self.session(id).running.is_some() {
            let error = sql_error(b"08P01", "the session is still busy with its last message");
            self.done(
                id,
                Err(Failure {
                    results: Vec::new(),
                    error,
                }),
            );
            return;
        }
        let running = Running {
            text: Arc::clone(&sql.text),
            params: sql.params.clone(),
            next: 0,
            results: Vec::new(),
            snapshot: None,
            journal: Journal::default(),
            since: self.now,
            deadline: None,
            done: Vec::new(),
            took_snapshot: false,
            waited: false,
            stopped: false,
        };
        self.session_mut(id).running = Some(Arc::new(running));
        self.drive(id);
    }

    /// Lets everybody go on who can, until all are done or blocked; deadlocks end here.
    pub(super) fn settle(&mut self) {
        let patient = self.engine.patient;
        self.settle_with(!patient);
    }

    /// The same; deadlocks end only where they are looked for.
    pub(super) fn settle_with(&mut self, mut checks: bool) {
        let again = !self.engine.patient;
        loop {
            match self.engine.store.wakeable() {
                Wakeups::InTurn(sessions) => {
                    if let Some(first) = sessions.first() {
                        self.wake(*first);
                    }
                }
                Wakeups::Race(sessions) => {
                    let winner = self.branch.choose(sessions.len());
                    self.wake(sessions[winner.min(sessions.len() - 1)]);
                }
                Wakeups::Nobody if !checks => break,
                Wakeups::Nobody => {
                    checks = again;
                    if let Some(members) = self.engine.store.deadlock() {
                        let victim = match members.len() {
                            0 => break,
                            1 => members[0],
                            several => members[self.branch.choose(several).min(several - 1)],
                        };
                        self.branch.note(victim, Access::Deadlock);
                        self.fail_waiting(victim, sql_error(b"40P01", "deadlock detected"));
                    } else if matches!(self.engine.store.wakeable(), Wakeups::Nobody) {
                        break;
                    }
                }
            }
        }
        self.tidy();
    }

    /// Brings the state into its one form.
    fn tidy(&mut self) {
        let mut held = Vec::new();
        for session in self.engine.sessions.values() {
            if let Some(running) = &session.running {
                running
                    .journal
                    .versions(&mut |table, version| held.push((table, version)));
            }
        }
        let numbers = self.engine.store.canonicalize(&held);
        if !held.is_empty() {
            for session in self.engine.sessions.values_mut() {
                if session.running.is_some()
                    && let Some(running) = &mut Arc::make_mut(session).running
                {
                    Arc::make_mut(running).journal.renumber(&numbers);
                }
            }
        }
        self.engine
            .sessions
            .retain(|_, session| **session != Session::default());
    }

    fn wake(&mut self, id: SessionId) {
        self.events.push(DbEvent::Woken { session: id });
        self.drive(id);
    }

    /// Time has come: sleeps end, waits are given up.
    pub(super) fn pass_time(&mut self) {
        let deadline = |session: &Session| session.running.as_ref().and_then(|running| running.deadline);
        let sessions: Vec<SessionId> = self.engine.sessions.keys().copied().collect();
        for id in sessions {
            let session = self.session(id);
            if session.sleep.is_some_and(|until| until <= self.now) {
                self.wake(id);
            } else if let Some(deadline) = deadline(session).filter(|deadline| deadline.at <= self.now) {
                let (code, what) = match deadline.statement {
                    true => (b"57014", "statement"),
                    false => (b"55P03", "lock"),
                };
                let message = format!("canceling statement due to {what} timeout");
                self.fail_waiting(id, sql_error(code, message));
            }
        }
    }

    /// Runs a session's message as far as it goes.
    pub(super) fn drive(&mut self, id: SessionId) {
        let Some(running) = self.session_mut(id).running.take() else {
            return;
        };
        let mut running = Arc::unwrap_or_clone(running);
        let session = self.session(id);
        self.pacer = Pacer {
            done: running.done.clone(),
            resumed: running.stopped || running.waited,
            patient: session.micros("lock_timeout") == 0 && session.micros("statement_timeout") == 0,
            next: None,
        };
        running.stopped = false;
        self.branch.begin(id);
        loop {
            let catalog = Arc::clone(self.catalog(id));
            let message = match catalog.plans.get(&running.text, || Message::parse(&running.text)) {
                Ok(message) => message,
                Err(refused) => return self.refuse(id, refused),
            };
            let Some(planned) = message.statements.get(running.next) else {
                return match self.pass_commit(id) {
                    true => self.finish(id, running),
                    false => self.stop(id, running),
                };
            };
            match self.step(id, &mut running, &message, planned) {
                Ok(rows) => {
                    let settings = &self.session(id).settings;
                    if !rows.columns.is_empty() && *settings != Settings::default() {
                        let settings = settings.clone();
                        self.events.push(DbEvent::Styled {
                            session: id,
                            result: running.results.len(),
                            settings,
                        });
                    }
                    running.results.push(rows);
                    self.next_statement(id, &mut running);
                }
                Err(Halt::Wait) => return self.block(id, running),
                Err(Halt::Between) => return self.stop(id, running),
                Err(Halt::Error(error)) => {
                    self.failed(id);
                    let results = running.results;
                    return self.done(id, Err(Failure { results, error }));
                }
                Err(Halt::Refused(refused)) => {
                    self.failed(id);
                    return self.refuse(id, planned.located(refused));
                }
            }
        }
    }

    fn next_statement(&mut self, id: SessionId, running: &mut Running) {
        running.next += 1;
        running.snapshot = None;
        running.deadline = None;
        running.took_snapshot = false;
        running.waited = false;
        // What an earlier statement of the same message did counts as well.
        running.done.clone_from(&self.pacer.done);
        running.journal.clear();
        self.engine.store.finish_statement(id);
    }

    /// Whether a message without BEGIN goes on to its commit, and does not stop before it.
    fn pass_commit(&mut self, id: SessionId) -> bool {
        if self.session(id).block != Block::Implicit {
            return true;
        }
        let published = self.published(id);
        self.pacer.commit(self.branch, id, &published).is_ok()
    }

    /// What the commit of a session's transaction makes visible.
    fn published(&self, id: SessionId) -> Vec<Access> {
        let tables = self.engine.store.written_tables(id);
        tables
            .into_iter()
            .map(|table| Access::Publish { table: table.0 })
            .collect()
    }

    /// The statement stops where it is, until it is told to go on.
    fn stop(&mut self, id: SessionId, mut running: Running) {
        running.stopped = true;
        let statement = self.session(id).micros("statement_timeout");
        running.deadline = (statement > 0).then_some(Deadline {
            at: running.since + statement,
            statement: true,
        });
        self.session_mut(id).running = Some(Arc::new(running));
        self.engine.store.outlive_step();
        self.events.push(DbEvent::Stopped {
            session: id,
            done: self.pacer.done.as_slice().into(),
            next: self.pacer.next,
        });
    }

    fn block(&mut self, id: SessionId, mut running: Running) {
        running.waited = true;
        let session = self.session(id);
        let lock = session.micros("lock_timeout");
        let statement = session.micros("statement_timeout");
        if running.deadline.is_none() {
            let lock = (session.sleep.is_none() && lock > 0).then_some(Deadline {
                at: self.now + lock,
                statement: false,
            });
            let statement = (statement > 0).then_some(Deadline {
                at: running.since + statement,
                statement: true,
            });
            running.deadline = lock.into_iter().chain(statement).min_by_key(|deadline| deadline.at);
        }
        self.session_mut(id).running = Some(Arc::new(running));
        let by = self.engine.store.blockers(id);
        self.events.push(DbEvent::Blocked { session: id, by });
    }

    /// The message is through: its implicit transaction commits.
    fn finish(&mut self, id: SessionId, running: Running) {
        let results = running.results;
        if self.session(id).block == Block::Implicit
            && let Err(error) = self.commit(id)
        {
            let mut results = results;
            results.pop();
            return self.done(id, Err(Failure { results, error }));
        }
        self.done(id, Ok(results));
    }

    pub(super) fn commit(&mut self, id: SessionId) -> Result<(), SqlError> {
        let failed = self.engine.store.tx_state(id) == TxState::Failed;
        for published in self.published(id) {
            self.branch.note(id, published);
        }
        let result = self.engine.store.commit(id);
        if result.is_err() || failed {
            self.undo_ddl(id);
        } else {
            self.publish_ddl(id);
        }
        let session = self.session_mut(id);
        session.end_transaction(result.is_ok() && !failed);
        result
    }

    pub(super) fn rollback(&mut self, id: SessionId) {
        self.engine.store.rollback(id);
        self.undo_ddl(id);
        self.session_mut(id).end_transaction(false);
    }

    /// A statement failed.
    fn failed(&mut self, id: SessionId) {
        self.session_mut(id).sleep = None;
        if self.session(id).block == Block::Explicit {
            self.engine.store.fail(id);
            // With a savepoint, ROLLBACK TO decides what is left.
            if self.session(id).marks.is_empty() {
                self.undo_ddl(id);
            }
        } else {
            self.engine.store.fail(id);
            self.rollback(id);
        }
    }

    /// A waiting message is ended by an error from outside.
    fn fail_waiting(&mut self, id: SessionId, error: SqlError) {
        let Some(running) = self.session_mut(id).running.take() else {
            self.engine.store.fail(id);
            return;
        };
        let results = Arc::unwrap_or_clone(running).results;
        self.failed(id);
        self.done(id, Err(Failure { results, error }));
    }

    fn refuse(&mut self, id: SessionId, refused: Refused) {
        self.events.push(DbEvent::Refused {
            session: id,
            refused: refused.into(),
        });
    }

    fn done(&mut self, id: SessionId, result: Result<Vec<Rows>, Failure>) {
        self.events.push(DbEvent::Done { session: id, result });
    }

    pub(super) fn notice(&mut self, id: SessionId, severity: Severity, text: impl Into<Arc<str>>) {
        if !self.session(id).hears(severity) {
            return;
        }
        self.events.push(DbEvent::Notice {
            session: id,
            severity,
            text: text.into(),
        });
    }

    pub(super) fn session(&self, id: SessionId) -> &Session {
        static NEW: std::sync::OnceLock<Session> = std::sync::OnceLock::new();
        match self.engine.sessions.get(&id) {
            Some(session) => session,
            None => NEW.get_or_init(Session::default),
        }
    }

    pub(super) fn session_mut(&mut self, id: SessionId) -> &mut Session {
        Arc::make_mut(self.engine.sessions.entry(id).or_default())
    }

    /// One statement.
    fn step(
        &mut self,
        id: SessionId,
        running: &mut Running,
        message: &Message,
        planned: &Planned,
    ) -> Result<Rows, Halt> {
        let state = self.engine.store.tx_state(id);
        let kind = &planned.statement.kind;
        self.refuse_hidden(id, planned)?;
        if state == TxState::Failed
            && !matches!(kind, Kind::Commit { .. } | Kind::Rollback { .. } | Kind::RollbackTo(_))
        {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(SqlError::new(SqlState::IN_FAILED_SQL_TRANSACTION, message).into());
        }
        let several = message.statements.len() > 1;
        if let Some(result) = self.transaction_statement(id, kind, several) {
            return result.map(|()| Rows::default());
        }
        self.open(id);
        self.engine.store.note_catalog(AccessKind::Read);
        if takes_snapshot(kind) {
            self.session_mut(id).queried = true;
        }
        match kind {
            Kind::Sql(statement) if super::ddl::is_query(statement) => {
                let plan = planned.plan(self.catalog(id), self.session(id).off())?;
                planned.note_run(self.engine.store.level(id) == Some(Level::Serializable));
                let params = std::mem::take(&mut running.params);
                let result = self.run(id, running, &plan, &params);
                running.params = params;
                result
            }
            Kind::Sql(statement) => self.utility(id, running, planned, statement),
            _ => self.session_statement(id, running, planned, several),
        }
    }

    /// Names without a schema find nothing of `public` when search_path leaves it out: that is refused where it matters.
    fn refuse_hidden(&self, id: SessionId, planned: &Planned) -> Result<(), Halt> {
        if self.session(id).finds_public() {
            return Ok(());
        }
        let refused = |what: &str| {
            let construct = format!("{what} while search_path is without public");
            Err(Halt::Refused(
                planned.refuse(&construct).help("write public. before it"),
            ))
        };
        match &planned.statement.kind {
            Kind::Sql(statement) => {
                let mut bare = None;
                let _ = sqlparser::ast::visit_relations(&**statement, |name| {
                    if name.0.len() == 1 {
                        bare = Some(name.to_string());
                    }
                    std::ops::ControlFlow::<()>::Continue(())
                });
                if let Some(name) = bare {
                    return refused(&format!("the name {name}"));
                }
                match planned.statement.text.to_ascii_lowercase().contains("current_schema") {
                    true => refused("current_schema"),
                    false => Ok(()),
                }
            }
            Kind::Lock(_) | Kind::Prepare { .. } | Kind::Execute { .. } => refused("this statement"),
            _ => Ok(()),
        }
    }

    /// Makes sure that there is a transaction.
    fn open(&mut self, id: SessionId) {
        if self.engine.store.tx_state(id) != TxState::Idle {
            return;
        }
        let (level, read_only, deferrable) = self.session(id).modes(&Default::default());
        self.begin(id, level, read_only, deferrable, Block::Implicit);
    }

    pub(super) fn begin(&mut self, id: SessionId, level: Level, read_only: bool, deferrable: bool, block: Block) {
        let now = self.now;
        self.engine.store.begin(id, level, read_only, deferrable);
        let session = self.session_mut(id);
        session.block = block;
        session.read_only = read_only;
        session.began = now;
    }

    /// Takes the table locks and the snapshot of a statement: READ COMMITTED takes the snapshot when it has the locks, the
    /// other levels have theirs from the start.
    fn prepare(&mut self, id: SessionId, running: &mut Running, plan: &Plan) -> Result<usize, Halt> {
        let early = self.engine.store.level(id) != Some(Level::ReadCommitted);
        if early && running.snapshot.is_none() {
            running.took_snapshot |= !self.engine.store.has_snapshot(id);
            running.snapshot = Some(self.engine.store.start_statement(id)?);
        }
        for (place, (table, mode)) in plan.locks.iter().enumerate() {
            let known = running.journal.get(place).is_some();
            let access = self.pacer.table(*table, *mode, true);
            self.pacer.pass(self.branch, id, access, known)?;
            if !known {
                self.engine.store.lock_table(id, *table, *mode, false)?;
                running.journal.push(Entry::Unit);
            }
        }
        if running.snapshot.is_none() {
            running.took_snapshot = true;
            running.snapshot = Some(self.engine.store.start_statement(id)?);
        }
        // A later snapshot would do the same where the statement looks for one row by its key: see `reads`.
        if running.took_snapshot && (early || !plan.reads.of_one_row) {
            for table in &plan.reads.tables {
                self.pacer.note(self.branch, id, Access::Read { table: table.0 });
            }
        }
        Ok(plan.locks.len())
    }

    /// Runs a planned statement.
    pub(super) fn run(
        &mut self,
        id: SessionId,
        running: &mut Running,
        plan: &Arc<Plan>,
        params: &[Value],
    ) -> Result<Rows, Halt> {
        let params = self.params(id, params, plan)?;
        let done = self.prepare(id, running, plan)?;
        if self.session(id).read_only && (plan.writes || plan.row_lock.is_some()) {
            return Err(read_only(super::ddl::verb(plan)).into());
        }
        let Some(snapshot) = running.snapshot else {
            return Err(run::internal("no snapshot").into());
        };
        let level = self.engine.store.level(id).unwrap_or(Level::ReadCommitted);
        let catalog = Arc::clone(self.catalog(id));
        let engine = &mut *self.engine;
        let session = Arc::make_mut(engine.sessions.entry(id).or_default());
        let mut serving = Serving {
            id,
            session,
            events: &mut self.events,
            now: self.now,
            statement_time: running.since,
            made: &mut engine.made,
            looked_at_clock: Default::default(),
        };
        let (rows, affected) = run::run(Setting {
            store: &mut engine.store,
            services: &mut serving,
            session: id,
            level,
            catalog: &catalog,
            plan,
            params: &params,
            snapshot,
            journal: &mut running.journal,
            done,
            branch: &mut *self.branch,
            pacer: &mut self.pacer,
            extra: &[],
        })?;
        Ok(Rows {
            columns: columns(plan),
            rows: rows.iter().map(|row| row.to_vec()).collect(),
            affected,
        })
    }

    fn params(&self, id: SessionId, params: &[Value], plan: &Plan) -> Result<Vec<Value>, Halt> {
        Ok(given_params(params, plan, &self.session(id).settings)?)
    }
}

/// The parameters that a plan needs, from the values that were sent.
pub(super) fn given_params(params: &[Value], plan: &Plan, settings: &Settings) -> Result<Vec<Value>, SqlError> {
    let mut typed = Vec::with_capacity(plan.params.len());
    for (number, ty) in &plan.params {
        let Some(value) = params.get(usize::from(*number).wrapping_sub(1)) else {
            return Err(sql_error(b"42P02", format!("there is no parameter ${number}")));
        };
        let ty = if *ty == Type::Unknown { &Type::Text } else { ty };
        typed.push(coerce_param(value, ty, settings)?);
    }
    Ok(typed)
}

/// Whether a statement takes the first snapshot of its transaction, after which SET TRANSACTION comes too late.
fn takes_snapshot(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Sql(_) | Kind::Prepare { .. } | Kind::Execute { .. } | Kind::Do { .. } | Kind::Maintenance
    )
}

/// A read-only transaction must not do this.
pub(crate) fn read_only(what: &str) -> SqlError {
    sql_error(b"25006", format!("cannot execute {what} in a read-only transaction"))
}

/// A result's columns.
pub(super) fn columns(plan: &Plan) -> Vec<Column> {
    let describe = |(name, ty): &(Arc<str>, Type)| Column {
        name: Arc::clone(name),
        type_name: ty.name().into(),
    };
    plan.root.columns.iter().map(describe).collect()
}
