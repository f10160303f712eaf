//! Sessions: settings, transaction blocks, prepared statements, and the message that is under way.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::{Rows, SqlError};
use crate::value::Value;
use crate::world::database::sql::parse::{IsolationLevel, Modes};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::sql::settings::{DateStyle, Settings};
use crate::world::database::store::{Level, Snapshot};

use super::catalog::Catalog;
use super::journal::Journal;

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
    /// The catalog before this transaction's first DDL.
    pub(crate) undo: Option<Arc<Catalog>>,
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
}

/// When a wait is given up, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Deadline {
    /// The moment.
    pub(crate) at: i64,
    /// `statement_timeout`, not `lock_timeout`.
    pub(crate) statement: bool,
}

/// Settings that the model knows but does not act on.
const IGNORED: &[&str] = &[
    "application_name",
    "client_min_messages",
    "client_encoding",
    "constraint_exclusion",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "log_min_messages",
    "log_statement",
    "max_parallel_workers_per_gather",
    "min_parallel_table_scan_size",
    "parallel_setup_cost",
    "parallel_tuple_cost",
    "plan_cache_mode",
    "random_page_cost",
    "row_security",
    "search_path",
    "seq_page_cost",
    "standard_conforming_strings",
    "synchronous_commit",
    "work_mem",
];

impl Session {
    /// A setting's value as SHOW prints it.
    pub(crate) fn show(&self, name: &str) -> Option<String> {
        if let Some(value) = self.values.get(name) {
            return Some(value.to_string());
        }
        let value = match name {
            "timezone" => &*self.settings.time_zone,
            "datestyle" => "Postgres, MDY",
            "default_transaction_isolation" => "read committed",
            "default_transaction_read_only" | "default_transaction_deferrable" | "transaction_deferrable" => "off",
            "transaction_read_only" => return Some(if self.read_only { "on" } else { "off" }.to_owned()),
            "deadlock_timeout" => "1s",
            "lock_timeout" | "statement_timeout" => "0",
            "server_version" => "15.18",
            "server_version_num" => "150018",
            "search_path" => "\"$user\", public",
            "client_min_messages" => "notice",
            "application_name" => "",
            "server_encoding" | "client_encoding" => "UTF8",
            "standard_conforming_strings" => "on",
            "intervalstyle" => "postgres",
            "max_identifier_length" => "63",
            name if name.starts_with("enable_") => "on",
            name if name.starts_with("cpu_") || name.starts_with("autovacuum") => "",
            name if IGNORED.contains(&name) => "",
            _ => return None,
        };
        Some(value.to_owned())
    }

    /// Changes a setting; `None` is its default.
    pub(crate) fn set(&mut self, name: &str, value: Option<String>, local: bool) -> Result<(), SqlError> {
        let known = self.show(name).is_some() || name.contains('.');
        if !known {
            let message = format!("unrecognized configuration parameter \"{name}\"");
            return Err(sql_error(b"42704", message));
        }
        let value = match value {
            Some(value) => Some(normal(name, &value)?),
            None => None,
        };
        let before = self.values.get(name).cloned();
        if self.block != Block::None {
            self.replaced.push((name.into(), before, local));
        }
        self.put(name, value.map(Into::into));
        Ok(())
    }

    fn put(&mut self, name: &str, value: Option<Arc<str>>) {
        match name {
            "timezone" => {
                self.settings.time_zone = value.clone().unwrap_or_else(|| Settings::default().time_zone);
            }
            "datestyle" => {
                self.settings.date_style = match &value {
                    Some(style) if style.to_ascii_lowercase().contains("iso") => DateStyle::Iso,
                    _ => DateStyle::Postgres,
                };
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
        for (name, before, local) in std::mem::take(&mut self.replaced).into_iter().rev() {
            if local || !committed {
                self.put(&name, before);
            }
        }
        self.block = Block::None;
        self.read_only = false;
        self.began = 0;
        self.number = None;
    }

    /// A time setting in microseconds.
    pub(crate) fn micros(&self, name: &str) -> i64 {
        self.show(name).and_then(|value| micros(&value)).unwrap_or(0)
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

/// A setting's value in the form that SHOW prints, or an error when it is none.
fn normal(name: &str, value: &str) -> Result<String, SqlError> {
    let wrong = || sql_error(b"22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
    Ok(match name {
        "default_transaction_isolation" | "transaction_isolation" => {
            let value = value.to_ascii_lowercase();
            match value.as_str() {
                "read committed" | "repeatable read" | "serializable" => value,
                "read uncommitted" => value,
                _ => return Err(wrong()),
            }
        }
        "deadlock_timeout" | "lock_timeout" | "statement_timeout" => {
            micros(value).ok_or_else(wrong)?;
            value.to_owned()
        }
        "default_transaction_read_only" | "default_transaction_deferrable" => match value.to_ascii_lowercase().as_str()
        {
            "on" | "true" | "yes" | "1" | "t" => "on".to_owned(),
            "off" | "false" | "no" | "0" | "f" => "off".to_owned(),
            _ => {
                return Err(sql_error(
                    b"22023",
                    format!("parameter \"{name}\" requires a Boolean value"),
                ));
            }
        },
        _ => value.to_owned(),
    })
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
