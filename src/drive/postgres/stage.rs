//! A database set up for one system, with connections for its processes, brought back to its first state between schedules.
//!
//! The reset is one message: DELETE everything, insert the first rows again, set the sequences back. TRUNCATE costs
//! milliseconds for each table, so it is used only now and then, before dead rows could change scans. After a schedule that
//! changed the schema, the schema is dropped and made anew.
//!
//! Virtual time reaches the server through functions that stand in the place of its own (`world.sql`, `translate.rs`). The world's moment is a
//! sequence, which every statement sees as it is now, whatever its snapshot; when a transaction and a statement began are settings of the
//! session. Random values are drawn as the model draws them, from a sequence for each process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gateway::{Gateway, GatewayError};
use super::literal::literal;
use super::source::{Database, DatabaseError, Server};
use super::translate::translate;
use super::wire::{Place, TextRows, Wires, WiresError};
use crate::machine::Pid;
use crate::value::Value;
use crate::world::database::sql::parse::parse;
use crate::world::database::{Database as Model, Release};
use crate::world::service::Provided;

/// After so many resets the tables are truncated instead.
const TRUNCATE_EVERY: u64 = 50;

/// The settings of every connection. The model prints values in these.
const SETTINGS: &[(&str, &str)] = &[
    ("TimeZone", "UTC"),
    ("DateStyle", "Postgres, MDY"),
    ("search_path", "public,deadheat,pg_catalog"),
];

/// Whom nothing tells to look for deadlocks does not find any within a test.
pub(super) const NEVER: &str = "100s";

/// The functions in the place of the server's clock and chance.
const WORLD: &str = include_str!("world.sql");

/// Empties the database for the scripts to run again. Only the clock and the draws stay.
const CLEAR: &str = "DO $$ DECLARE name text; BEGIN \
     FOR name IN SELECT nspname FROM pg_catalog.pg_namespace \
         WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'deadheat') \
     LOOP EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', name); END LOOP; END $$; \
     CREATE SCHEMA public; CREATE SCHEMA deadheat_seed; \
     SELECT pg_catalog.setval('deadheat.drawn_script', 1, false)";

/// See the module's documentation.
#[derive(Debug)]
pub struct Stage {
    wires: Wires,
    places: BTreeMap<Pid, Place>,
    free: Vec<Place>,
    tables: Vec<Arc<str>>,
    reset: String,
    truncate: String,
    resets: u64,
    scripts: Vec<Arc<str>>,
    /// When the world starts.
    start: i64,
    /// The world's moment as the server knows it.
    clock: i64,
    /// Processes that have a sequence to draw from.
    drawers: BTreeSet<Pid>,
    /// Messages that change no schema.
    harmless: BTreeSet<Arc<str>>,
    /// A message changed the schema since it was made.
    altered: bool,
    /// Sessions may be told their numbers: no two processes may have the same connection.
    numbered: bool,
    gateway: Option<Gateway>,
    /// The session that keeps gates: one for the stage's life, since a server has not many.
    keeper: Option<Place>,
    /// How often the schema was made.
    made: u64,
    /// The server's major version.
    pub major: u32,
    /// As which release the model must behave.
    pub release: Release,
    // Last, so that it goes when nobody is connected any more.
    _database: Database,
}

/// A stage could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// No database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The connections failed.
    #[error(transparent)]
    Wires(#[from] WiresError),
    /// The scenario's own SQL failed on the server.
    #[error("the server does not take the scenario's schema: {0}")]
    Schema(String),
}

impl Stage {
    /// Sets a database up as the model's was.
    ///
    /// # Errors
    /// When the server refuses any of it.
    pub fn of(server: &Server, model: &Model) -> Result<Stage, StageError> {
        Stage::set_up(server, model.scripts(), model.started())
    }

    /// Sets a database up with the scripts, in a world that starts in 1970.
    ///
    /// # Errors
    /// When the server refuses any of it.
    pub fn open(server: &Server, scripts: &[Arc<str>]) -> Result<Stage, StageError> {
        Stage::set_up(server, scripts, 0)
    }

    fn set_up(server: &Server, scripts: &[Arc<str>], start: i64) -> Result<Stage, StageError> {
        let database = server.database("stage")?;
        let mut wires = Wires::open(database.config().clone(), "deadheat conductor", SETTINGS)?;
        let major = server.version().split('.').next().and_then(|major| major.parse().ok());
        let major: u32 = major.unwrap_or_default();
        wires.control(&on_release(WORLD, major)).rows("setting up the clock")?;
        let mut stage = Stage {
            wires,
            places: BTreeMap::new(),
            free: Vec::new(),
            tables: Vec::new(),
            reset: String::new(),
            truncate: String::new(),
            resets: 0,
            scripts: scripts.to_vec(),
            start,
            clock: start,
            drawers: BTreeSet::new(),
            harmless: BTreeSet::new(),
            altered: false,
            numbered: scripts.iter().any(|script| asks_for_number(script)),
            gateway: None,
            keeper: None,
            made: 0,
            major,
            release: server.release()?,
            _database: database,
        };
        stage.fill()?;
        Ok(stage)
    }

    /// Runs the scripts in an empty database, at the start of the world, and keeps what they leave.
    fn fill(&mut self) -> Result<(), StageError> {
        self.clock = self.start;
        let start = format!(
            "SET lock_timeout = '5s'; {}; SET deadheat.process = ''; {}",
            began(self.start),
            set_clock(self.start)
        );
        self.wires.control(&start).rows("setting the clock")?;
        for script in &self.scripts {
            // Each statement by itself, as the model ran them: several in one message would be one transaction.
            let statements = match parse(script) {
                Ok(statements) => statements.into_iter().map(|statement| statement.text).collect(),
                Err(_) => vec![Arc::clone(script)],
            };
            for statement in statements {
                if let Some(error) = self.wires.control(&translate(&statement)).error {
                    return Err(StageError::Schema(error.to_string()));
                }
            }
        }
        // A script may leave settings behind, the search path for one.
        self.wires
            .control("RESET ALL; SET lock_timeout = '5s'")
            .rows("putting settings back")?;
        self.tables = tables(&mut self.wires)?;
        (self.reset, self.truncate) = reset(&mut self.wires, &self.tables)?;
        self.altered = false;
        self.made += 1;
        Ok(())
    }

    /// How often the schema was made: what was added to its tables is gone when this has changed.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// A session that belongs to no process.
    pub(super) fn keeper(&mut self) -> Result<Place, WiresError> {
        match self.keeper {
            Some(place) => Ok(place),
            None => {
                let place = self.wires.connect("deadheat keeper")?;
                self.keeper = Some(place);
                Ok(place)
            }
        }
    }

    /// Tells the server the world's moment.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn advance(&mut self, now: i64) -> Result<(), WiresError> {
        if self.clock != now {
            self.wires.control(&set_clock(now)).rows("setting the clock")?;
            self.clock = now;
        }
        Ok(())
    }

    /// The world's moment as the server knows it.
    pub fn moment(&self) -> i64 {
        self.clock
    }

    /// What a process's session has to be told when a transaction may begin there at that moment.
    ///
    /// # Errors
    /// When the server refuses the process something to draw from.
    pub fn greeting(&mut self, pid: Pid, now: i64) -> Result<String, WiresError> {
        // As the model names who draws.
        let parts: Vec<String> = pid.path().map(|part| part.to_string()).collect();
        let name = parts.join(".");
        if self.drawers.insert(pid) {
            let sequence = format!("CREATE SEQUENCE deadheat.\"drawn_{name}\"");
            self.wires
                .control(&on_release(&sequence, self.major))
                .rows("making a sequence")?;
        }
        Ok(format!("{}; SET deadheat.process = '{name}'", began(now)))
    }

    /// Notes what a message may change, so that the next reset puts it back.
    pub fn note(&mut self, sql: &Arc<str>) {
        if self.harmless.contains(sql) {
            return;
        }
        self.numbered |= asks_for_number(sql);
        if Model::changes_schema(sql) {
            self.altered = true;
        } else {
            self.harmless.insert(Arc::clone(sql));
        }
    }

    /// The names of the tables, quoted where they need it.
    pub fn tables(&self) -> &[Arc<str>] {
        &self.tables
    }

    /// The connections.
    pub fn wires(&mut self) -> &mut Wires {
        &mut self.wires
    }

    /// The connection of a process, made or taken from those that are free when it has none yet.
    ///
    /// # Errors
    /// When the server refuses one more.
    pub fn place(&mut self, pid: Pid) -> Result<Place, WiresError> {
        if let Some(place) = self.places.get(&pid) {
            return Ok(*place);
        }
        let place = match self.free.pop() {
            Some(place) => place,
            None => self.wires.connect("deadheat process")?,
        };
        self.places.insert(pid, place);
        Ok(place)
    }

    /// The connection of a process, if it has one.
    pub fn known(&self, pid: Pid) -> Option<Place> {
        self.places.get(&pid).copied()
    }

    /// The process of a connection.
    pub fn process(&self, place: Place) -> Option<Pid> {
        let mut pairs = self.places.iter();
        pairs.find(|(_, known)| **known == place).map(|(pid, _)| *pid)
    }

    /// Ends a process's session in an orderly way, as when it ends: its transaction is rolled back, its locks and settings go.
    /// The connection is kept for another process, unless one could tell it by its number.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn leave(&mut self, pid: Pid) -> Result<(), WiresError> {
        let Some(place) = self.places.get(&pid).copied() else {
            return Ok(());
        };
        if self.wires.busy(place) || self.numbered {
            return self.kill(pid);
        }
        for sql in ["ROLLBACK", "DISCARD ALL"] {
            self.wires.launch(place, sql);
            if self.wires.answer(place)?.error.is_some() {
                return self.kill(pid);
            }
        }
        self.wires.news(place);
        self.places.remove(&pid);
        self.free.push(place);
        Ok(())
    }

    /// Terminates a process's session on the server; a later statement of that process has a new connection.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn kill(&mut self, pid: Pid) -> Result<(), WiresError> {
        let Some(place) = self.places.remove(&pid) else {
            return Ok(());
        };
        self.wires.kill(place)?;
        self.wires.reconnect(place)?;
        self.free.push(place);
        Ok(())
    }

    /// Ends all sessions and brings back the first rows, and the first schema if it was changed.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn reset(&mut self) -> Result<(), StageError> {
        // Those that wait first: the others' ends would let them go on.
        let (waiting, idle): (Vec<Pid>, Vec<Pid>) = self
            .places
            .keys()
            .partition(|pid| self.known(**pid).is_some_and(|place| self.wires.busy(place)));
        for pid in waiting {
            self.kill(pid)?;
        }
        for pid in idle {
            self.leave(pid)?;
        }
        for pid in &self.drawers {
            let parts: Vec<String> = pid.path().map(|part| part.to_string()).collect();
            let anew = format!(
                "SELECT pg_catalog.setval('deadheat.\"drawn_{}\"', 1, false)",
                parts.join(".")
            );
            self.wires.control(&anew).rows("resetting the draws")?;
        }
        if self.altered {
            self.wires.control(CLEAR).rows("dropping the schema")?;
            return self.fill();
        }
        self.advance(self.start)?;
        self.resets += 1;
        let sql = if self.resets.is_multiple_of(TRUNCATE_EVERY) {
            &self.truncate
        } else {
            &self.reset
        };
        self.wires.control(sql).rows("resetting the rows")?;
        Ok(())
    }

    /// Puts a provider behind its HTTP server, which is started for the first one; `None` takes it away.
    ///
    /// # Errors
    /// When the server does not start.
    pub fn provide(&mut self, provider: Option<&Provided>) -> Result<(), GatewayError> {
        match (&self.gateway, provider) {
            (_, None) => self.gateway = None,
            (Some(gateway), Some(provider)) => gateway.reset(provider),
            (None, Some(provider)) => self.gateway = Some(Gateway::open(provider)?),
        }
        Ok(())
    }

    /// The provider behind its HTTP server, if the system has one.
    pub fn gateway(&self) -> Option<&Gateway> {
        self.gateway.as_ref()
    }

    /// The committed rows of every table; `None` for one that is locked.
    pub fn rows(&mut self) -> Vec<(Arc<str>, Option<TextRows>)> {
        // Those of the changed schema, where it was changed.
        let changed = match self.altered {
            true => tables(&mut self.wires).ok(),
            false => None,
        };
        let tables = changed.unwrap_or_else(|| self.tables.clone());
        let read = tables.into_iter().map(|table| {
            let answer = self.wires.control(&format!("SELECT * FROM {table}"));
            let rows = match answer.error {
                None => answer.results.into_iter().next_back(),
                Some(_) => None,
            };
            (table, rows)
        });
        read.collect()
    }
}

/// Whether a text asks for its connection's number.
fn asks_for_number(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("pg_backend_pid")
}

/// Sets the world's moment for every session.
fn set_clock(now: i64) -> String {
    format!("SELECT pg_catalog.setval('deadheat.clock', {now})")
}

/// Tells a session when its next transaction and statement begin.
fn began(now: i64) -> String {
    let now = literal(&Value::Timestamp(now));
    format!("SET deadheat.now = {now}; SET deadheat.statement = {now}")
}

/// Sequences that need no transaction number to go on, where the release has them: a number that the model knows nothing of would show.
fn on_release(sql: &str, major: u32) -> String {
    match major {
        ..15 => sql.to_owned(),
        _ => sql.replace("CREATE SEQUENCE", "CREATE UNLOGGED SEQUENCE"),
    }
}

/// The tables of the schema, each after those that its foreign keys point at.
fn tables(wires: &mut Wires) -> Result<Vec<Arc<str>>, WiresError> {
    let purpose = "listing the tables";
    let list = "SELECT pg_catalog.quote_ident(relname) FROM pg_catalog.pg_class \
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname";
    let names = wires.control(list).rows(purpose)?;
    let mut names: Vec<Arc<str>> = names.into_iter().filter_map(|row| row.into_iter().next()?).collect();
    let keys = "SELECT pg_catalog.quote_ident(c.relname), pg_catalog.quote_ident(p.relname) \
                FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
                JOIN pg_catalog.pg_class p ON p.oid = k.confrelid WHERE k.contype = 'f' AND c.oid <> p.oid";
    let keys: Vec<(Arc<str>, Arc<str>)> = wires
        .control(keys)
        .rows(purpose)?
        .into_iter()
        .filter_map(|row| {
            let mut cells = row.into_iter().flatten();
            Some((cells.next()?, cells.next()?))
        })
        .collect();
    let mut sorted: Vec<Arc<str>> = Vec::new();
    while !names.is_empty() {
        let free = |name: &Arc<str>| {
            keys.iter()
                .all(|(child, parent)| child != name || sorted.contains(parent))
        };
        // In a cycle there is no good order; the server will complain if it matters.
        let place = names.iter().position(free).unwrap_or(0);
        sorted.push(names.remove(place));
    }
    Ok(sorted)
}

/// The messages that bring the first state back: by DELETE, and by TRUNCATE.
fn reset(wires: &mut Wires, tables: &[Arc<str>]) -> Result<(String, String), WiresError> {
    let purpose = "keeping the first rows";
    let mut fill = String::new();
    for (number, table) in tables.iter().enumerate() {
        let seed = format!("deadheat_seed.t{number}");
        wires
            .control(&format!("CREATE TABLE {seed} AS TABLE {table}"))
            .rows(purpose)?;
        let empty = wires
            .control(&format!("SELECT 1 FROM {seed} LIMIT 1"))
            .rows(purpose)?
            .is_empty();
        let columns = format!(
            "SELECT string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum) FROM pg_catalog.pg_attribute \
             WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''",
            table.replace('\'', "''")
        );
        let columns = wires.control(&columns).rows(purpose)?;
        if let Some(columns) = columns.into_iter().next().and_then(|row| row.into_iter().next()?)
            && !empty
        {
            fill.push_str(&format!(
                "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {seed}; "
            ));
        }
    }
    let sequences = "SELECT pg_catalog.quote_ident(relname) FROM pg_catalog.pg_class \
                     WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' ORDER BY relname";
    for row in wires.control(sequences).rows(purpose)? {
        let Some(Some(name)) = row.into_iter().next() else {
            continue;
        };
        let state = wires
            .control(&format!("SELECT last_value, is_called FROM {name}"))
            .rows(purpose)?;
        if let Some([Some(last), Some(called)]) = state.first().map(Vec::as_slice) {
            let name = name.replace('\'', "''");
            fill.push_str(&format!("SELECT pg_catalog.setval('{name}', {last}, '{called}'); "));
        }
    }
    let deletes: String = tables
        .iter()
        .rev()
        .map(|table| format!("DELETE FROM {table}; "))
        .collect();
    let truncate = match tables {
        [] => String::new(),
        tables => format!("TRUNCATE {}; ", tables.join(", ")),
    };
    // A select at the end, so that the message is never empty.
    Ok((format!("{deletes}{fill}SELECT 1"), format!("{truncate}{fill}SELECT 1")))
}
