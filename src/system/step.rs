//! Steps and faults: everything that can happen next, one thing at a time.

use std::fmt;

use smallvec::SmallVec;

use crate::machine::Pid;

/// One step of a run: a process's pending effect taking place, one fault, or the clock moving on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Step {
    /// What happens.
    pub action: Action,
    /// Where the world could go either way, which way it went; empty where it did the usual thing throughout.
    pub branch: SmallVec<[u8; 4]>,
    /// Where statements were stopped; empty where each went on to its end, or until it waited.
    pub stops: SmallVec<[Stop; 1]>,
}

/// A statement was stopped at a point inside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stop {
    /// Which of the statements that ran in the step: 0 is the first (the process's own), later ones were woken.
    pub statement: u8,
    /// At which of the points that it came to in this step, from 0.
    pub point: u16,
}

impl Step {
    /// A step in which the world does the usual thing.
    pub fn new(action: Action) -> Self {
        Step {
            action,
            branch: SmallVec::new(),
            stops: SmallVec::new(),
        }
    }

    /// The process that the step belongs to; `None` when the clock moves.
    pub fn pid(&self) -> Option<Pid> {
        match self.action {
            Action::Run(pid) | Action::Fault(pid, _) => Some(pid),
            Action::Tick => None,
        }
    }

    /// The fault, if the step is one.
    pub fn fault(&self) -> Option<Fault> {
        match self.action {
            Action::Fault(_, fault) => Some(fault),
            Action::Run(_) | Action::Tick => None,
        }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The process's pending effect takes place, or the answer it awaits arrives.
    Run(Pid),
    /// The environment does something bad to the process.
    Fault(Pid, Fault),
    /// Nothing runs until the next deadline: the clock moves there.
    Tick,
}

/// What the environment may do, within its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// A client stops waiting for a response. The handler goes on.
    Timeout,
    /// A process dies between two effects. Its connection closes, so its transaction rolls back.
    Crash,
    /// The effect takes place, but its reply never comes: the connection broke after a COMMIT or an autocommitted
    /// statement was sent, or a service's answer was lost.
    LostReply,
    /// The connection to the database breaks before the statement reaches it.
    Disconnect,
    /// The network delivers a request a second time.
    Duplicate,
    /// The network loses a request: it never reaches a handler.
    LostRequest,
    /// A service can't be reached for one call.
    Outage,
}

impl Fault {
    /// All faults, in the order of their codes.
    pub const ALL: [Fault; 7] = [
        Fault::Timeout,
        Fault::Crash,
        Fault::LostReply,
        Fault::Disconnect,
        Fault::Duplicate,
        Fault::LostRequest,
        Fault::Outage,
    ];

    /// The name in scenario files and bounds.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Timeout => "timeouts",
            Fault::Crash => "crashes",
            Fault::LostReply => "lost_replies",
            Fault::Disconnect => "disconnects",
            Fault::Duplicate => "duplicates",
            Fault::LostRequest => "lost_requests",
            Fault::Outage => "outages",
        }
    }

    /// The letter in schedule tokens.
    pub const fn code(self) -> char {
        match self {
            Fault::Timeout => 't',
            Fault::Crash => 'c',
            Fault::LostReply => 'l',
            Fault::Disconnect => 'd',
            Fault::Duplicate => 'p',
            Fault::LostRequest => 'q',
            Fault::Outage => 'o',
        }
    }

    /// How a trace tells it, after the name of the process.
    pub const fn sentence(self) -> &'static str {
        match self {
            Fault::Timeout => "gives up waiting",
            Fault::Crash => "crashes",
            Fault::LostReply => "loses the reply",
            Fault::Disconnect => "loses its database connection",
            Fault::Duplicate => "is delivered twice",
            Fault::LostRequest => "is lost on the way",
            Fault::Outage => "finds the service unavailable",
        }
    }
}

/// How many of each fault a run may have. Part of the bounds of every proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct FaultBudget([u8; Fault::ALL.len()]);

impl FaultBudget {
    /// No faults.
    pub const NONE: FaultBudget = FaultBudget([0; Fault::ALL.len()]);

    /// How many of `fault` are left.
    pub fn left(&self, fault: Fault) -> u8 {
        self.0[fault as usize]
    }

    /// Allows `count` of `fault`.
    #[must_use]
    pub fn with(mut self, fault: Fault, count: u8) -> Self {
        self.0[fault as usize] = count;
        self
    }

    /// Takes one of `fault`; false when none is left.
    pub fn spend(&mut self, fault: Fault) -> bool {
        match self.0[fault as usize].checked_sub(1) {
            Some(left) => {
                self.0[fault as usize] = left;
                true
            }
            None => false,
        }
    }

    /// Each fault with its count, those that are not allowed left out.
    pub fn allowed(&self) -> impl Iterator<Item = (Fault, u8)> {
        Fault::ALL
            .into_iter()
            .map(|fault| (fault, self.left(fault)))
            .filter(|(_, count)| *count > 0)
    }

    /// How many faults are left in all.
    pub fn total(&self) -> u32 {
        self.0.iter().map(|count| u32::from(*count)).sum()
    }
}

impl fmt::Display for FaultBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (fault, count) in self.allowed() {
            write!(f, "{}{} {count}", if first { "" } else { ", " }, fault.name())?;
            first = false;
        }
        if first { f.write_str("no faults") } else { Ok(()) }
    }
}
