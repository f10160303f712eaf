//! What a spec file can run on.

use std::sync::Arc;

/// A server with a control connection and one connection for each session of a file. Sessions are named by their place.
pub trait Backend {
    /// Runs one message on the control connection to its end.
    ///
    /// # Errors
    /// When the backend itself fails, or does not know the SQL.
    fn control(&mut self, sql: &str) -> Result<Reply, BackendError>;

    /// Sends one message of a session, which is idle.
    ///
    /// # Errors
    /// As [`Backend::control`].
    fn launch(&mut self, session: usize, sql: &str) -> Result<(), BackendError>;

    /// How far a session's message is: waits until it is finished, or, with [`Patience::UntilBlocked`], until it is
    /// finished or blocked by another session.
    ///
    /// # Errors
    /// As [`Backend::control`]; and when the message would never finish.
    fn poll(&mut self, session: usize, patience: Patience) -> Result<Progress, BackendError>;

    /// What the session's finished message returned; the session is idle after this.
    ///
    /// # Errors
    /// When there is no finished message.
    fn reply(&mut self, session: usize) -> Result<Reply, BackendError>;

    /// The notices and warnings that the session received since they were last asked for.
    fn messages(&mut self, session: usize) -> Vec<Message>;

    /// The notifications that the session received since they were last asked for.
    fn notifications(&mut self, session: usize) -> Vec<Notify>;

    /// Lets a moment pass in which timers may fire; false when nothing can change any more, or it has taken too long.
    fn pass_time(&mut self) -> bool;
}

/// How long [`Backend::poll`] waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until the message is finished or blocked.
    UntilBlocked,
    /// Until it is finished.
    UntilDone,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for another session.
    Blocked,
    /// It is finished.
    Done,
}

/// What a message returned: the results of its statements, in order, up to the first error.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Reply {
    /// One entry for each statement; `None` for a statement that returns no rows.
    pub results: Vec<Option<Table>>,
    /// The error that ended it.
    pub failure: Option<Failure>,
}

/// A result set as text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Table {
    /// Column names.
    pub columns: Vec<Arc<str>>,
    /// Rows of values as the server prints them; `None` for NULL.
    pub rows: Vec<Vec<Option<Arc<str>>>>,
}

/// An error of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `ERROR` or `FATAL`.
    pub severity: Arc<str>,
    /// The primary message.
    pub message: Arc<str>,
}

/// A notice or warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `NOTICE`, `WARNING`, ...
    pub severity: Arc<str>,
    /// The primary message.
    pub text: Arc<str>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The channel.
    pub channel: Arc<str>,
    /// The payload.
    pub payload: Arc<str>,
    /// The session that sent it; `None` for the control connection.
    pub sender: Option<usize>,
}

/// Why a backend gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The model does not know this SQL.
    #[error("unsupported: {construct} (line {line}, column {column} of the SQL)")]
    Unsupported {
        /// The construct's name.
        construct: Arc<str>,
        /// The line in the message's text, from 1.
        line: u32,
        /// The column, from 1.
        column: u32,
    },
    /// A message that waits, and nothing that could end its wait.
    #[error("session {session} waits and nothing can end its wait")]
    Stuck {
        /// The session's place in the file.
        session: usize,
    },
    /// A message took too long.
    #[error("session {session} did not finish within {seconds} seconds")]
    TooLong {
        /// The session's place in the file.
        session: usize,
        /// The limit.
        seconds: u64,
    },
    /// The connection or the server is gone, or the backend was used out of order.
    #[error("{0}")]
    Broken(String),
}
