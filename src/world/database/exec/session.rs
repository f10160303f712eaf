//! Sessions: settings, transaction blocks, prepared statements, and the message that is under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::{Access, Rows, SqlError};
use crate::value::Value;
use crate::world::database::sql::parse::{IsolationLevel, Modes};
use crate::world::database::sql::settings::{DateStyle, Settings};
use crate::world::database::store::{Level, Snapshot};

use super::changes::{Changed, Mark};
use super::facade::Severity;
use super::journal::Journal;
use super::planner::Off;
use super::settings;

/// Whether the session is in a transaction block, beside what the store knows of its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) enum Block {
    /// No transaction.
    #[default]
    None,
    /// The transaction of one message: it ends with it.
    Implicit,
    /// Between BEGIN and COMMIT.
    Explicit,
}

/// What the server knows of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Session {
    /// Settings that differ from their defaults.
    pub(crate) values: BTreeMap<Arc<str>, Arc<str>>,
    /// The same, as expressions need it.
    pub(crate) settings: Settings,
    /// What SET replaced in this transaction: name, value before, and whether it was SET LOCAL.
    pub(crate) replaced: Vec<(Arc<str>, Option<Arc<str>>, bool)>,
    /// The transaction block.
    pub(crate) block: Block,
    /// READ ONLY.
    pub(crate) read_only: bool,
    /// The transaction has taken its first snapshot.
    pub(crate) queried: bool,
    /// When the transaction began.
    pub(crate) began: i64,
    /// The transaction's number, once a statement has asked for it.
    pub(crate) number: Option<i64>,
    /// Prepared statements: the message and the statement's place in it.
    pub(crate) prepared: BTreeMap<Arc<str>, (Arc<str>, usize)>,
    /// What `nextval` gave last, by sequence.
    pub(crate) sequences: BTreeMap<Arc<str>, i64>,
    /// The sequence that gave the last value of all.
    pub(crate) last_sequence: Option<Arc<str>>,
    /// What this transaction's DDL made of the catalog.
    pub(crate) changed: Option<Changed>,
    /// What its savepoints go back to, innermost last.
    pub(crate) marks: Vec<Mark>,
    /// The message under way.
    pub(crate) running: Option<Arc<Running>>,
    /// When `pg_sleep` ends.
    pub(crate) sleep: Option<i64>,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Running {
    /// Its text.
    pub(crate) text: Arc<str>,
    /// Its parameters.
    pub(crate) params: Vec<Value>,
    /// Its current statement.
    pub(crate) next: usize,
    /// Results of the statements before.
    pub(crate) results: Vec<Rows>,
    /// The snapshot of the current statement, once it is taken.
    pub(crate) snapshot: Option<Snapshot>,
    /// What the current statement did so far.
    pub(crate) journal: Journal,
    /// When the message came.
    pub(crate) since: i64,
    /// When the current wait is given up.
    pub(crate) deadline: Option<Deadline>,
    /// What the statements before the current one did.
    pub(crate) done: Vec<Access>,
    /// Whether the snapshot is the current statement's own.
    pub(crate) took_snapshot: bool,
    /// Whether the current statement waits.
    pub(crate) waited: bool,
    /// Whether it was stopped at a point inside, and waits for nothing.
    pub(crate) stopped: bool,
}

/// When a wait is given up, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Deadline {
    /// The moment.
    pub(crate) at: i64,
    /// `statement_timeout`, not `lock_timeout`.
    pub(crate) statement: bool,
}

impl Session {
    /// A setting's value as SHOW prints it; `None` when there is no such setting.
    ///
    /// # Errors
    /// A refusal when the value depends on the server.
    pub(crate) fn show(&self, name: &str) -> Result<Option<String>, SqlError> {
        if let Some(value) = self.values.get(name) {
            return Ok(Some(value.to_string()));
        }
        Ok(Some(match name {
            "timezone" => self.settings.time_zone.to_string(),
            "datestyle" => "Postgres, MDY".to_owned(),
            "transaction_read_only" => if self.read_only { "on" } else { "off" }.to_owned(),
            name => return settings::default(name),
        }))
    }

    /// Changes a setting; `None` is its default.
    pub(crate) fn set(&mut self, name: &str, value: Option<String>, local: bool) -> Result<(), SqlError> {
        let value = match value {
            Some(value) => Some(settings::normal(name, &value)?),
            None if settings::is_custom(name) || settings::default(name).map_or(true, |known| known.is_some()) => None,
            None => return Err(settings::unrecognized(name)),
        };
        let before = self.values.get(name).cloned();
        if self.block != Block::None {
            self.replaced.push((name.into(), before, local));
        }
        self.put(name, value.map(Into::into));
        Ok(())
    }

    /// RESET ALL.
    pub(crate) fn reset_all(&mut self) {
        let names: Vec<Arc<str>> = self.values.keys().cloned().collect();
        for name in names {
            if self.block != Block::None {
                self.replaced
                    .push((Arc::clone(&name), self.values.get(&name).cloned(), false));
            }
            self.put(&name, None);
        }
    }

    /// Whether unqualified names find the tables.
    pub(crate) fn finds_public(&self) -> bool {
        match self.values.get("search_path") {
            None => true,
            Some(path) => settings::search_path(path).unwrap_or(true),
        }
    }

    /// Ways of reading a table that its settings switch off.
    pub(crate) fn off(&self) -> Off {
        let off = |name: &str| self.values.get(name).is_some_and(|value| &**value == "off");
        Off {
            scan: off("enable_seqscan"),
            index: off("enable_indexscan"),
            bitmap: off("enable_bitmapscan"),
        }
    }

    /// Whether a message of this severity is sent to the client.
    pub(crate) fn hears(&self, severity: Severity) -> bool {
        match (self.values.get("client_min_messages").map(|value| &**value), severity) {
            (_, Severity::Info) | (None, _) => true,
            (Some("warning"), severity) => severity == Severity::Warning,
            (Some("error" | "fatal" | "panic"), _) => false,
            _ => true,
        }
    }

    /// ROLLBACK TO a savepoint: settings go back to what they were there.
    pub(crate) fn rewind_settings(&mut self, to: usize) {
        let later = self.replaced.split_off(to.min(self.replaced.len()));
        for (name, before, _) in later.into_iter().rev() {
            self.put(&name, before);
        }
    }

    fn put(&mut self, name: &str, value: Option<Arc<str>>) {
        match name {
            "timezone" => {
                self.settings.time_zone = value.clone().unwrap_or_else(|| Settings::default().time_zone);
            }
            "datestyle" => {
                let style = value.as_ref().map(|style| settings::date_style(style));
                self.settings.date_style = style.and_then(Result::ok).unwrap_or(DateStyle::Postgres);
            }
            _ => {}
        }
        match value {
            Some(value) => self.values.insert(name.into(), value),
            None => self.values.remove(name),
        };
    }

    /// The transaction is over: SET LOCAL ends, and after a rollback so does SET.
    pub(crate) fn end_transaction(&mut self, committed: bool) {
        let mut kept = Vec::new();
        for (name, before, local) in std::mem::take(&mut self.replaced).into_iter().rev() {
            match (committed, local) {
                // SET after SET LOCAL outlives the transaction.
                (true, true) if !kept.contains(&name) => self.put(&name, before),
                (true, true) => {}
                (true, false) => kept.push(name),
                (false, _) => self.put(&name, before),
            }
        }
        self.marks.clear();
        self.queried = false;
        self.block = Block::None;
        self.read_only = false;
        self.began = 0;
        self.number = None;
    }

    /// A time setting in microseconds.
    pub(crate) fn micros(&self, name: &str) -> i64 {
        let value = self.show(name).ok().flatten();
        value.and_then(|value| micros(&value)).unwrap_or(0)
    }

    /// The level of a transaction that says nothing about it.
    pub(crate) fn default_level(&self) -> Level {
        match self.values.get("default_transaction_isolation").map(|value| &**value) {
            Some("repeatable read") => Level::RepeatableRead,
            Some("serializable") => Level::Serializable,
            _ => Level::ReadCommitted,
        }
    }

    /// Whether transactions are read only or deferrable by default.
    pub(crate) fn default_flag(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| &**value == "on")
    }

    /// The modes of a transaction, with the session's defaults for what is not said.
    pub(crate) fn modes(&self, modes: &Modes) -> (Level, bool, bool) {
        let level = modes.level.map_or_else(|| self.default_level(), level_of);
        let read_only = modes
            .read_only
            .unwrap_or_else(|| self.default_flag("default_transaction_read_only"));
        let deferrable = modes
            .deferrable
            .unwrap_or_else(|| self.default_flag("default_transaction_deferrable"));
        (level, read_only, deferrable)
    }
}

/// The store's level for a written one.
pub(crate) fn level_of(level: IsolationLevel) -> Level {
    match level {
        IsolationLevel::ReadCommitted => Level::ReadCommitted,
        IsolationLevel::RepeatableRead => Level::RepeatableRead,
        IsolationLevel::Serializable => Level::Serializable,
    }
}

/// A level's name, as SHOW prints it.
pub(crate) fn level_name(level: Level) -> &'static str {
    match level {
        Level::ReadCommitted => "read committed",
        Level::RepeatableRead => "repeatable read",
        Level::Serializable => "serializable",
    }
}

/// A time setting: milliseconds, or a number with its unit.
fn micros(value: &str) -> Option<i64> {
    let value = value.trim();
    let digits = value
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(value.len());
    let number: f64 = value[..digits].parse().ok()?;
    let unit = match value[digits..].trim() {
        "" | "ms" => 1_000.0,
        "us" => 1.0,
        "s" => 1_000_000.0,
        "min" => 60_000_000.0,
        "h" => 3_600_000_000.0,
        "d" => 86_400_000_000.0,
        _ => return None,
    };
    Some((number * unit).round() as i64)
}
