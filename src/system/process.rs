//! Processes: a program, what it waits for, and how it was started.

use std::sync::Arc;

use super::own::Next;
use crate::machine::{Effect, NoAnswer, Pid, Program, Renaming, Reply, Request, Response};

/// One process of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// What it runs, having said the effect that is pending.
    pub program: Program,
    /// What it does or waits for.
    pub status: Status,
    /// The request that started it, when it is a handler.
    pub request: Option<Arc<Request>>,
    /// Its response to that request, once given.
    pub response: Option<Response>,
    /// The last response it got to a request of its own.
    pub received: Option<Result<Response, NoAnswer>>,
    /// How many processes it has started.
    pub starts: u8,
    /// The name in lanes, unique in the run.
    pub label: Arc<str>,
    /// What the environment may do to it.
    pub role: Role,
    /// For each time that it read its own clock since its last step, what it was when it asked. The clock may have moved on before it
    /// looked: nobody could tell, so this is no step, but a branch of the clock's next move.
    pub(crate) reads: Vec<Program>,
}

/// What a process is, and so which faults can meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Outside the system under test: a customer's browser, a partner's client. Does not crash (a client that does is one that gives up).
    Client,
    /// Started by a request; a crash ends it.
    Handler,
    /// Runs by itself; after a crash it is started anew from its beginning.
    Worker,
    /// The network and other people's machines: delivers webhooks.
    Courier,
}

/// What a process does or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Its effect has not taken place yet.
    Ready(Effect),
    /// Its statement waits inside the database.
    Blocked {
        /// The connection breaks when the statement ends: its reply is lost.
        lose: bool,
    },
    /// Its statement was stopped at a point inside of it, and can go on.
    Stopped {
        /// The connection breaks when the statement ends: its reply is lost.
        lose: bool,
        /// The process has crashed meanwhile, which the database does not know yet.
        orphaned: bool,
    },
    /// It waits for the response of a handler, which may already be on its way.
    Awaiting {
        /// The handler.
        child: Pid,
        /// The response on its way.
        answer: Option<Result<Response, NoAnswer>>,
    },
    /// A reply is on its way.
    Arriving {
        /// The reply.
        reply: Reply,
        /// What the call holds at its service until then.
        holds: Option<Held>,
    },
    /// It sleeps until this moment of virtual time, in microseconds.
    Sleeping(i64),
    /// It crashed while its statement waits in the database, which does not know yet.
    Orphaned,
    /// It has ended.
    Finished,
    /// It has crashed, for good.
    Crashed,
}

impl Status {
    /// Whether it waits for the answer of a call that holds this.
    pub(super) fn holds(&self, held: &Held) -> bool {
        matches!(self, Status::Arriving { holds: Some(holds), .. } if holds == held)
    }
}

/// What a call holds at a service until its caller has the answer: an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Held {
    /// The service.
    pub service: Arc<str>,
    /// What is held, as the service names it.
    pub key: Arc<str>,
}

impl Process {
    /// Whether it neither ended nor crashed.
    pub fn is_alive(&self) -> bool {
        !matches!(
            self.status,
            Status::Finished | Status::Crashed | Status::Orphaned | Status::Stopped { orphaned: true, .. }
        )
    }

    /// Its pending effect.
    pub fn pending(&self) -> Option<&Effect> {
        match &self.status {
            Status::Ready(effect) => Some(effect),
            _ => None,
        }
    }
}

impl Process {
    /// The same process under another name, as is what it waits for. A label that begins with the old root's begins with the new one's.
    pub(crate) fn renamed(&self, names: &Renaming, old: &str, new: &str) -> Process {
        let mut process = self.clone();
        if let Status::Awaiting { child, .. } = &mut process.status {
            *child = names.pid(*child);
        }
        let rest = self.label.strip_prefix(old);
        if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            process.label = format!("{new}{rest}").into();
        }
        process
    }

    /// A process that has said its first effect.
    pub(super) fn ready(program: Program, next: Next, role: Role, label: Arc<str>) -> Self {
        let Next { effect, reads } = next;
        let status = if effect == Effect::Done && reads.is_empty() {
            Status::Finished
        } else {
            Status::Ready(effect)
        };
        Process {
            program,
            status,
            request: None,
            response: None,
            received: None,
            starts: 0,
            label,
            role,
            reads,
        }
    }
}
