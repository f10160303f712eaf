//! Effects and replies: the only way out of a machine, and what comes back.

use std::sync::Arc;

use super::Program;
use super::http::{Request, Response};
use super::service::{Answer, Call};
use super::sql::{Rows, Sql, SqlError};

/// What a machine wants done next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// A SQL statement on the process's own connection. Reply: [`Reply::Sql`].
    Sql(Sql),
    /// A call to a service of the world. Reply: [`Reply::Service`]. The service acts in one step and the answer arrives
    /// in another, so that other things may happen between the two.
    Call(Call),
    /// A request to an endpoint of the system, which starts a handler process. Reply: [`Reply::Response`].
    Send(Request),
    /// The response to the request that started this process. Only the first counts. Reply: [`Reply::Went`].
    Respond(Response),
    /// Starts a process that outlives this one's request. Reply: [`Reply::Went`].
    Spawn {
        /// For lanes.
        label: Arc<str>,
        /// What it runs.
        program: Program,
    },
    /// Waits in virtual time, in microseconds; [`Effect::IDLE`] waits until nothing else can happen. Reply: [`Reply::Went`].
    Sleep(i64),
    /// Nothing more: the process has ended.
    Done,
}

impl Effect {
    /// The span of a sleep that ends when nothing but such sleeps is left: what runs every few minutes for ever (a sweep, a
    /// reconciliation), at the moment when it counts. The clock does not move.
    pub const IDLE: i64 = i64::MAX;
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The machine's first step: nothing was asked yet.
    Start,
    /// Of [`Effect::Sql`].
    Sql(Result<Rows, SqlError>),
    /// Of [`Effect::Call`].
    Service(Result<Answer, NoAnswer>),
    /// Of [`Effect::Send`].
    Response(Result<Response, NoAnswer>),
    /// Of an effect that returns nothing.
    Went,
}

/// Why there is no answer. In none of these cases does the asker know whether the work was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum NoAnswer {
    /// The asker gave up waiting; the work may still go on.
    #[error("timed out")]
    TimedOut,
    /// The connection broke: the other side crashed or the answer was lost.
    #[error("connection reset")]
    Reset,
    /// The service can't be reached; nothing was done.
    #[error("unavailable")]
    Unavailable,
}
