//! [`Database`]: the model of the server as one value.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::machine::{self, Branch, Pid, Renaming, Rows, Sql, SqlError, Usual};
use crate::value::Value;
use crate::world::database::sql::parse::Kind;
use crate::world::database::sql::refuse::BindError;
use crate::world::database::sql::settings::Settings;
use crate::world::database::store::{Access, Release};

use super::engine::{Call, Engine};
use super::message::Message;
use super::pacer::Pacer;
use super::planner::Assumption;
use super::script::Script;
use super::session::{Block, Running, Session};

/// A connection is named by the process that holds it.
pub type SessionId = Pid;

/// How serious a message of the server is, as its client shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// `NOTICE`.
    Notice,
    /// `WARNING`.
    Warning,
    /// `INFO`.
    Info,
}

/// What ended a message early: the results of the statements before it, and the error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// Results of the statements that succeeded before.
    pub results: Vec<Rows>,
    /// The error.
    pub error: SqlError,
}

/// What happened, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DbEvent {
    /// The server sent a notice while it ran the session's message.
    Notice {
        /// Whose.
        session: SessionId,
        /// How serious.
        severity: Severity,
        /// The primary message.
        text: Arc<str>,
    },
    /// The session's message waits now.
    Blocked {
        /// Whose.
        session: SessionId,
        /// For whom, as `pg_blocking_pids` says; empty when it sleeps.
        by: Vec<SessionId>,
    },
    /// The session's statement was stopped at a point inside of it; [`Database::go_on`] lets it go on.
    Stopped {
        /// Whose.
        session: SessionId,
        /// What it did so far.
        done: Arc<[machine::Access]>,
        /// What it was about to take; `None` when it was about to commit.
        next: Option<machine::Access>,
    },
    /// The session's message, which waited, goes on (it may be blocked again or done in a later event).
    Woken {
        /// Whose.
        session: SessionId,
    },
    /// A result of the message under way is printed under these settings, which are not the defaults.
    Styled {
        /// Whose.
        session: SessionId,
        /// Its place among the results.
        result: usize,
        /// The settings.
        settings: Settings,
    },
    /// The session's message is finished: a result for each of its statements, or how far it came.
    Done {
        /// Whose.
        session: SessionId,
        /// What it returned.
        result: Result<Vec<Rows>, Failure>,
    },
    /// The session's message has SQL that the model does not know; nothing of its statement was done.
    Refused {
        /// Whose.
        session: SessionId,
        /// What, and where.
        refused: Refused,
    },
}

/// Rows from outside the database, offered to [`Database::query`] under a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualTable {
    /// Its name.
    pub name: Arc<str>,
    /// Names and SQL types (`bigint`, `text`, ...) of its columns.
    pub columns: Vec<(Arc<str>, Arc<str>)>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
}

/// What a statement that ran takes for granted of the server's plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanAssumption {
    /// The statement.
    pub statement: Arc<str>,
    /// How many parameters it has.
    pub parameters: usize,
    /// The table that is meant.
    pub table: Arc<str>,
    /// The indexes by which it is read, none for all of it; `None` when it is meant that a sub-select which locks its rows up to a LIMIT runs once.
    pub indexes: Option<Vec<Arc<str>>>,
}

/// SQL that the model does not know, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{construct} is not supported (line {line}, column {column})")]
pub struct Refused {
    /// The construct's name.
    pub construct: Arc<str>,
    /// Its line in the text, from 1.
    pub line: u32,
    /// Its column, from 1.
    pub column: u32,
}

/// Why [`Database::query`] or [`Database::run_script`] failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum QueryError {
    /// The SQL is not known to the model.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The server would answer with an error.
    #[error(transparent)]
    Sql(SqlError),
}

impl From<SqlError> for QueryError {
    fn from(error: SqlError) -> QueryError {
        match crate::world::database::sql::refuse::Refused::of_error(&error) {
            Some(refused) => QueryError::Refused(refused.into()),
            None => QueryError::Sql(error),
        }
    }
}

impl From<crate::world::database::sql::refuse::Refused> for Refused {
    fn from(refused: crate::world::database::sql::refuse::Refused) -> Self {
        let construct = match refused.help {
            Some(help) => format!("{} ({help})", refused.construct),
            None => refused.construct,
        };
        Refused {
            construct: construct.into(),
            line: refused.line,
            column: refused.column,
        }
    }
}

/// The model of a Postgres server: tables, rows, locks, transactions and sessions, as one value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Database {
    engine: Engine,
    script: Script,
    touched: Touched,
}

impl Database {
    /// An empty database.
    pub fn new() -> Self {
        Database::default()
    }

    /// An empty database of a release of the server; [`Database::new`] is the newest.
    pub fn of(release: Release) -> Self {
        let mut database = Database::default();
        database.set_release(release);
        database
    }

    /// From here on it behaves as this release does.
    pub fn set_release(&mut self, release: Release) {
        self.engine.store.set_release(release);
    }

    /// Which release of the server it behaves as.
    pub fn release(&self) -> Release {
        self.engine.store.behaves_as()
    }

    /// Runs schema and seed statements, each committed by itself, at the beginning of time. It must not wait.
    ///
    /// # Errors
    /// When the model does not know a statement, or a statement fails.
    pub fn run_script(&mut self, sql: &str) -> Result<Vec<Rows>, QueryError> {
        self.run_script_at(sql, 0)
    }

    /// [`Database::run_script`] in a world that starts at `now` (microseconds since 1970): what `now()` is to its statements.
    ///
    /// # Errors
    /// As [`Database::run_script`].
    pub fn run_script_at(&mut self, sql: &str, now: i64) -> Result<Vec<Rows>, QueryError> {
        self.script.ran(sql, now);
        let mut results = Vec::new();
        let statements = crate::world::database::sql::parse::parse(sql).map_err(Refused::from)?;
        for statement in statements {
            let events = self.execute(SCRIPT, &Sql::new(Arc::clone(&statement.text)), now, &mut Usual);
            for event in events {
                match event {
                    DbEvent::Done {
                        result: Ok(mut rows), ..
                    } => results.append(&mut rows),
                    DbEvent::Done {
                        result: Err(failure), ..
                    } => {
                        self.disconnect(SCRIPT, now, &mut Usual);
                        return Err(failure.error.into());
                    }
                    DbEvent::Refused { mut refused, .. } => {
                        self.disconnect(SCRIPT, now, &mut Usual);
                        // Places are those of the whole script.
                        if refused.line <= 1 {
                            refused.column += statement.place.1.saturating_sub(1);
                        }
                        refused.line = refused.line.max(1) + statement.place.0.saturating_sub(1);
                        return Err(refused.into());
                    }
                    _ => {}
                }
            }
        }
        self.disconnect(SCRIPT, now, &mut Usual);
        Ok(results)
    }

    /// When the scripts ran: the moment that [`Database::run_script_at`] was told last.
    pub fn started(&self) -> i64 {
        self.script.now()
    }

    /// Whether a value, as text, is one that this database made up: a random UUID or number, the number of a transaction or of a
    /// connection. The server makes up others.
    pub fn made_up(&self, text: &str) -> bool {
        self.engine.made.knows(text)
    }

    /// Whether a message may leave the tables other than they were defined: it has a statement that is neither a query nor about
    /// transactions or settings. Text that can't be read counts as such.
    pub fn changes_schema(sql: &str) -> bool {
        let Ok(statements) = crate::world::database::sql::parse::parse(sql) else {
            return true;
        };
        statements.iter().any(|statement| match &statement.kind {
            Kind::Sql(statement) => {
                !super::ddl::is_query(statement) && !matches!(**statement, sqlparser::ast::Statement::Truncate { .. })
            }
            Kind::Do { .. } => true,
            _ => false,
        })
    }

    /// The texts that [`Database::run_script`] ran, in order: what a real server is set up with.
    pub fn scripts(&self) -> &[Arc<str>] {
        self.script.texts()
    }

    /// Whether every statement of the text is known to the model, in this database.
    ///
    /// Statements that the server would refuse as well (an unknown column, say) are no matter of this: [`Database::prepare`] looks at those
    /// too. DDL is judged by trying it out on a copy.
    ///
    /// # Errors
    /// SQL that the model does not know, with its place.
    pub fn check(&self, sql: &str) -> Result<(), Refused> {
        match self.look_at(sql, false) {
            Err(QueryError::Refused(refused)) => Err(refused),
            _ => Ok(()),
        }
    }

    /// Whether the server could prepare every statement of the text, in this database: names, types, the number of values, conflict
    /// targets, functions. Utility statements and DDL are tried out on a copy.
    ///
    /// # Errors
    /// SQL that the model does not know; or what the server would answer before it looked at any row.
    pub fn prepare(&self, sql: &str) -> Result<(), QueryError> {
        self.look_at(sql, true)
    }

    fn look_at(&self, sql: &str, strict: bool) -> Result<(), QueryError> {
        let text: Arc<str> = sql.into();
        let parsed = self.engine.catalog.plans.get(&text, || Message::parse(&text));
        let message = parsed.map_err(Refused::from)?;
        let mut copy: Option<Database> = None;
        for planned in &message.statements {
            let catalog = copy.as_ref().map_or(&self.engine.catalog, |copy| &copy.engine.catalog);
            let outcome = match &planned.statement.kind {
                Kind::Sql(statement) if super::ddl::is_query(statement) => match &copy {
                    None => planned.plan(catalog, super::planner::Off::default()).map(|_| ()),
                    // A plan depends on the catalog; the one of the copy is not cached.
                    Some(_) => super::planner::plan_statement(
                        catalog,
                        statement,
                        Vec::new(),
                        &[],
                        super::planner::Off::default(),
                    )
                    .map(|_| ()),
                },
                Kind::Prepare { .. } if copy.is_none() => {
                    planned.plan(catalog, super::planner::Off::default()).map(|_| ())
                }
                // A DO block is DDL in a loop; what it can hold is found by doing it.
                Kind::Sql(_) | Kind::Do { .. } => {
                    let copy = copy.get_or_insert_with(|| self.clone());
                    copy.try_out(planned, strict)?;
                    Ok(())
                }
                Kind::Lock(lock) if strict => {
                    let known = |name: &&String| !catalog.has_relation(name);
                    match lock.tables.iter().find(known) {
                        Some(unknown) => Err(super::catalog::no_relation(unknown).into()),
                        None => Ok(()),
                    }
                }
                Kind::Notify { .. } => return Err(Refused::from(planned.refuse("NOTIFY")).into()),
                _ => Ok(()),
            };
            match outcome {
                Err(BindError::Refused(refused)) => return Err(refused_at(planned, refused).into()),
                Err(BindError::Sql(error)) if strict && is_of_preparing(&error) => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Its tables and plans.
    pub(super) fn catalog(&self) -> &super::catalog::Catalog {
        &self.engine.catalog
    }

    /// What the statements that ran in any copy of this database took for granted of the server's plans, one line each, sorted: which indexes serve a
    /// serializable transaction, and that a sub-select that locks rows up to a LIMIT runs once. Statements after a change of the schema are not counted.
    pub fn assumptions(&self) -> Vec<String> {
        let assumed = self.engine.catalog.plans.assumed();
        assumed.iter().map(Assumption::told).collect()
    }

    /// The same with the statements, for whoever asks a server: sorted by their text.
    pub fn plan_assumptions(&self) -> Vec<PlanAssumption> {
        self.engine.catalog.plans.plan_assumptions()
    }

    /// Why what a statement does hangs on the server's plan whatever the isolation level, if it does.
    pub fn hangs_on_plan(&self, sql: &str) -> Option<String> {
        let text: Arc<str> = sql.into();
        let message = self.engine.catalog.plans.get(&text, || Message::parse(&text)).ok()?;
        let mut plans = message
            .statements
            .iter()
            .filter_map(|planned| planned.plan(&self.engine.catalog, super::planner::Off::default()).ok());
        plans.find_map(|plan| {
            let mut assumed = plan.assumes.iter();
            let once = assumed.find(|assumption| matches!(assumption, Assumption::Once(_)))?;
            Some(once.told())
        })
    }

    /// Runs a utility statement or DDL on this copy, to see whether it is known.
    fn try_out(&mut self, planned: &super::message::Planned, strict: bool) -> Result<(), QueryError> {
        let text = Arc::clone(&planned.statement.text);
        for event in self.execute(SCRIPT, &Sql::new(text), 0, &mut Usual) {
            match event {
                DbEvent::Refused { mut refused, .. } => {
                    if refused.line <= 1 {
                        refused.column += planned.statement.place.1.saturating_sub(1);
                    }
                    refused.line = refused.line.max(1) + planned.statement.place.0.saturating_sub(1);
                    return Err(refused.into());
                }
                DbEvent::Done {
                    result: Err(failure), ..
                } if strict && is_of_preparing(&failure.error) => return Err(failure.error.into()),
                _ => {}
            }
        }
        self.disconnect(SCRIPT, 0, &mut Usual);
        Ok(())
    }

    /// Every table with the names of its columns, and every view without, in order.
    pub fn relations(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        let catalog = &self.engine.catalog;
        let tables = catalog.tables.iter().map(|(name, table)| {
            let columns = table.columns.iter().map(|column| column.name.clone());
            (name.clone(), columns.collect())
        });
        let views = catalog.views.keys().map(|name| (name.clone(), Vec::new()));
        tables.chain(views).collect()
    }

    /// Sends one message (it may hold several statements) of a session and lets everybody run who can, until each is done or blocked.
    ///
    /// `now` is virtual time in microseconds; `branch` decides what the server leaves open.
    pub fn execute(&mut self, session: SessionId, sql: &Sql, now: i64, branch: &mut dyn Branch) -> Vec<DbEvent> {
        self.call(now, branch, |call| call.send(session, sql))
    }

    /// A statement that was stopped goes on.
    pub fn go_on(&mut self, session: SessionId, now: i64, branch: &mut dyn Branch) -> Vec<DbEvent> {
        self.call(now, branch, |call| call.drive(session))
    }

    /// The connection is gone: its transaction is rolled back, its session locks are released.
    pub fn disconnect(&mut self, session: SessionId, now: i64, branch: &mut dyn Branch) -> Vec<DbEvent> {
        self.call(now, branch, |call| {
            call.rollback(session);
            call.engine.store.disconnect(session);
            call.engine.sessions.remove(&session);
        })
    }

    /// Time has come to `now`: sleeps and lock timeouts end.
    pub fn advance(&mut self, now: i64, branch: &mut dyn Branch) -> Vec<DbEvent> {
        self.call(now, branch, |call| call.pass_time())
    }

    /// From here on a deadlock lasts until [`Database::check_deadlocks`] looks for one, as it does on the server until a timer fires.
    pub fn be_patient(&mut self) {
        self.engine.patient = true;
    }

    /// Looks for a deadlock and ends it: by its victim, or by letting somebody go before his turn. Without events there was none.
    pub fn check_deadlocks(&mut self, now: i64, branch: &mut dyn Branch) -> Vec<DbEvent> {
        let mut call = Call {
            engine: &mut self.engine,
            now,
            branch,
            events: Vec::new(),
            pacer: Pacer::default(),
        };
        call.settle_with(true);
        let events = call.events;
        self.touched.0 = self.engine.store.take_footprint();
        events
    }

    fn call(&mut self, now: i64, branch: &mut dyn Branch, act: impl FnOnce(&mut Call<'_>)) -> Vec<DbEvent> {
        let mut call = Call {
            engine: &mut self.engine,
            now,
            branch,
            events: Vec::new(),
            pacer: Pacer::default(),
        };
        act(&mut call);
        call.settle();
        let events = call.events;
        self.touched.0 = self.engine.store.take_footprint();
        events
    }

    /// The next moment at which [`Database::advance`] would do something.
    pub fn next_wakeup(&self) -> Option<i64> {
        let moments = self.engine.sessions.values().flat_map(|session| {
            let deadline = session.running.as_ref().and_then(|running| running.deadline);
            session.sleep.into_iter().chain(deadline.map(|deadline| deadline.at))
        });
        moments.min()
    }

    /// Whether the session's message waits.
    pub fn is_blocked(&self, session: SessionId) -> bool {
        self.running(session).is_some_and(|running| !running.stopped)
    }

    /// Whether the session's statement was stopped at a point inside of it.
    pub fn is_stopped(&self, session: SessionId) -> bool {
        self.running(session).is_some_and(|running| running.stopped)
    }

    /// Whether the session's serializable transaction was chosen to fail with 40001 and has not been told. On the server it is told as well where a look-up
    /// meets a version that was rolled back and not yet pruned, which the model has no more.
    pub fn is_doomed(&self, session: SessionId) -> bool {
        self.engine.store.is_doomed(session)
    }

    fn running(&self, session: SessionId) -> Option<&Running> {
        self.engine.sessions.get(&session)?.running.as_deref()
    }

    /// What a statement that was stopped has done last, in words: `has locked a row of jobs`.
    pub fn tell(&self, done: &[machine::Access]) -> String {
        let after = done.iter().rev().copied().find(machine::Access::is_told);
        use machine::Access::{Advisory, Key, Row, Sequence, Table, Write};
        let catalog = &self.engine.catalog;
        let table = |number: u16| {
            let mut tables = catalog.tables.values();
            let known = tables.find(|table| table.id.0 == number);
            known.map_or_else(|| "a table".to_owned(), |table| table.name.to_string())
        };
        match after {
            Some(Row { table: of, .. }) => format!("has locked a row of {}", table(of)),
            Some(Write { table: of, .. }) => format!("has written a row of {}", table(of)),
            Some(Key { index, .. }) => {
                let mut indexes = catalog.tables.values().flat_map(|table| table.indexes.iter());
                let known = indexes.find(|known| known.id.0 == index);
                format!(
                    "has entered its key in {}",
                    known.map_or("an index", |index| &index.name)
                )
            }
            Some(Advisory { pair: false, key, .. }) => format!("has asked for the advisory lock {key}"),
            Some(Advisory { pair: true, key, .. }) => {
                format!("has asked for the advisory lock {}, {}", key >> 32, key as i32)
            }
            Some(Table { table: of, .. }) => format!("has locked {}", table(of)),
            Some(Sequence { .. }) => "has drawn its number".to_owned(),
            _ => "its snapshot is from here".to_owned(),
        }
    }

    /// Whether the session has ever sent anything since it was connected.
    pub fn is_connected(&self, session: SessionId) -> bool {
        self.engine.sessions.contains_key(&session)
    }

    /// Whether the session is inside a transaction block (also a failed one).
    pub fn in_transaction(&self, session: SessionId) -> bool {
        let block = self.engine.sessions.get(&session).map(|session| session.block);
        block.is_some_and(|block| block != Block::None)
    }

    /// What the last call of [`Database::execute`], [`Database::disconnect`] or [`Database::advance`] touched: keys of rows,
    /// index keys, predicates and locks, each with whether it was written. Not part of the state.
    pub fn footprint(&self) -> Vec<(u64, bool)> {
        super::footprint::keys(&self.touched.0)
    }

    /// Calls every session by another name. False where that can't be done: when a statement was told its session's number, which may be
    /// anywhere since, or when several could be woken by the clock, which happens in the order of the names.
    pub fn rename(&mut self, names: &Renaming) -> bool {
        let engine = &mut self.engine;
        let timed = |session: &Session| {
            let running = session.running.as_ref();
            session.sleep.is_some() || running.is_some_and(|running| running.deadline.is_some())
        };
        if engine.made.told_names() || engine.sessions.values().any(|session| timed(session)) {
            return false;
        }
        engine.store.rename(names);
        let sessions = std::mem::take(&mut engine.sessions).into_iter();
        engine.sessions = sessions.map(|(id, session)| (names.pid(id), session)).collect();
        true
    }

    /// For whom the session waits, as `pg_blocking_pids` says.
    pub fn blockers(&self, session: SessionId) -> Vec<SessionId> {
        self.engine.store.blockers(session)
    }

    /// Reads the committed state, and the extra tables, with one query, when the scripts ran.
    ///
    /// # Errors
    /// When the model does not know the query, or it fails.
    pub fn query(&self, sql: &Sql, extra: &[VirtualTable]) -> Result<Rows, QueryError> {
        self.query_at(sql, extra, self.started())
    }

    /// [`Database::query`] at a moment: what `now()` is to it.
    ///
    /// # Errors
    /// As [`Database::query`].
    pub fn query_at(&self, sql: &Sql, extra: &[VirtualTable], now: i64) -> Result<Rows, QueryError> {
        super::query::query(&self.engine, sql, extra, now)
    }
}

/// The session of scripts.
pub(super) const SCRIPT: SessionId = Pid::root(253);

/// What the last call touched. Equal to any other: no part of the state.
#[derive(Clone, Debug, Default)]
struct Touched(Vec<Access>);

impl PartialEq for Touched {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Touched {}

impl Hash for Touched {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

fn refused_at(planned: &super::message::Planned, refused: crate::world::database::sql::refuse::Refused) -> Refused {
    match planned.placed(refused.into()) {
        BindError::Refused(refused) => refused.into(),
        BindError::Sql(_) => planned.refuse("statement").into(),
    }
}

/// Whether the server answers so before it looks at any row: class 42 and 0A, and literals that their type can't read.
fn is_of_preparing(error: &SqlError) -> bool {
    let code = error.code.as_str();
    code.starts_with("42") || code.starts_with("0A") || matches!(code, "22P02" | "22007" | "22008")
}
