//! SQL at the seam: what a machine sends to its connection and what comes back.

use std::sync::Arc;

use crate::value::Value;

/// A statement as a machine sends it: the very text that Postgres gets, with `$1`, `$2`, ... for parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sql {
    /// The text. Parsed and planned once for each distinct text.
    pub text: Arc<str>,
    /// Values of `$1`, `$2`, ...
    pub params: Vec<Value>,
    /// On which of the process's connections, from 0; most processes have one.
    pub session: u8,
}

impl Sql {
    /// A statement without parameters.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Sql {
            text: text.into(),
            params: Vec::new(),
            session: 0,
        }
    }

    /// The same statement on another of the process's connections.
    #[must_use]
    pub fn on(mut self, session: u8) -> Self {
        self.session = session;
        self
    }

    /// The statement with one more parameter.
    #[must_use]
    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.params.push(value.into());
        self
    }
}

/// What a statement returned.
///
/// A message of several statements (only the isolation runner sends those) has one entry for each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Rows {
    /// Column names and type names, in order; empty for a statement that returns no result set.
    pub columns: Vec<Column>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// The number in the command tag: rows inserted, updated, deleted or returned.
    pub affected: u64,
}

impl Rows {
    /// The first column of the first row, if there is one.
    pub fn first(&self) -> Option<&Value> {
        self.rows.first().and_then(|row| row.first())
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// Its name in the result.
    pub name: Arc<str>,
    /// Its type's name, as `format_type` prints it (`bigint`, `text`, `timestamp with time zone`, ...).
    pub type_name: Arc<str>,
}

/// An error of the server, or of the connection to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
pub struct SqlError {
    /// The SQLSTATE.
    pub code: SqlState,
    /// The primary message, verbatim as Postgres 15 words it.
    pub message: Arc<str>,
    /// The constraint or index that was violated, where the server reports one.
    pub constraint: Option<Arc<str>>,
}

impl SqlError {
    /// An error with a message.
    pub fn new(code: SqlState, message: impl Into<Arc<str>>) -> Self {
        SqlError {
            code,
            message: message.into(),
            constraint: None,
        }
    }

    /// The same error, naming a constraint.
    #[must_use]
    pub fn on(mut self, constraint: impl Into<Arc<str>>) -> Self {
        self.constraint = Some(constraint.into());
        self
    }
}

/// A five-character SQLSTATE (Postgres documentation, Appendix A).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SqlState(pub [u8; 5]);

impl SqlState {
    /// `connection_failure`: the connection was lost; the outcome of the statement is unknown.
    pub const CONNECTION_FAILURE: SqlState = SqlState(*b"08006");
    /// `not_null_violation`.
    pub const NOT_NULL_VIOLATION: SqlState = SqlState(*b"23502");
    /// `foreign_key_violation`.
    pub const FOREIGN_KEY_VIOLATION: SqlState = SqlState(*b"23503");
    /// `unique_violation`.
    pub const UNIQUE_VIOLATION: SqlState = SqlState(*b"23505");
    /// `check_violation`.
    pub const CHECK_VIOLATION: SqlState = SqlState(*b"23514");
    /// `in_failed_sql_transaction`.
    pub const IN_FAILED_SQL_TRANSACTION: SqlState = SqlState(*b"25P02");
    /// `serialization_failure`.
    pub const SERIALIZATION_FAILURE: SqlState = SqlState(*b"40001");
    /// `deadlock_detected`.
    pub const DEADLOCK_DETECTED: SqlState = SqlState(*b"40P01");
    /// `lock_not_available`.
    pub const LOCK_NOT_AVAILABLE: SqlState = SqlState(*b"55P03");
    /// `admin_shutdown`: the backend was terminated.
    pub const ADMIN_SHUTDOWN: SqlState = SqlState(*b"57P01");

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("?????")
    }
}

impl std::fmt::Display for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for SqlState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
