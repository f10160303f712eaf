//! Traces: what each step of a schedule did and got back.

use std::sync::Arc;

use super::step::{Fault, Step};
use crate::machine::{Access, Effect, NoAnswer, Pid, Reply, Response};

/// A run: each step with what happened in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Trace(pub Vec<(Step, Vec<Event>)>);

/// Something that happened in a step. The first event of a step is what the step was; later ones are what followed from it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The process's effect took place. The reply is `None` when it waits, or when the reply arrives later.
    Did {
        /// Whose.
        pid: Pid,
        /// What.
        effect: Effect,
        /// What it got back.
        reply: Option<Reply>,
    },
    /// A response or an answer arrived.
    Received {
        /// At whom.
        pid: Pid,
        /// What.
        reply: Reply,
    },
    /// The process's statement waits for these.
    Blocked {
        /// Whose.
        pid: Pid,
        /// For whom.
        by: Vec<Pid>,
    },
    /// The process's statement was stopped at a point inside of it.
    Stopped {
        /// Whose.
        pid: Pid,
        /// What it had done so far.
        done: Arc<[Access]>,
        /// What it was about to take; `None` when it was about to commit.
        next: Option<Access>,
    },
    /// The process's statement, which was stopped, goes on.
    WentOn {
        /// Whose.
        pid: Pid,
    },
    /// The process's statement, which waited, has ended.
    Woken {
        /// Whose.
        pid: Pid,
        /// What it got back.
        reply: Reply,
    },
    /// The server sent a notice or a warning to the process.
    Notice {
        /// To whom.
        pid: Pid,
        /// The text.
        text: Arc<str>,
    },
    /// A fault met the process.
    Faulted {
        /// Whom.
        pid: Pid,
        /// Which.
        fault: Fault,
    },
    /// A process was started.
    Started {
        /// The new process.
        pid: Pid,
        /// Its name in lanes.
        label: Arc<str>,
    },
    /// A response was on its way to somebody who no longer waits.
    Dropped {
        /// To whom.
        pid: Pid,
        /// What.
        response: Result<Response, NoAnswer>,
    },
    /// The process ended.
    Ended {
        /// Which.
        pid: Pid,
    },
    /// The clock moved to this moment, in microseconds of virtual time.
    Clock {
        /// The new time.
        now: i64,
    },
    /// The process sent SQL that the model does not know: an error of the scenario.
    Refused {
        /// Whose.
        pid: Pid,
        /// What and where.
        reason: Arc<str>,
    },
}
