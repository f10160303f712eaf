//! The seam that everything meets at: a machine says its next effect, given the reply to its last one.
//!
//! A [`Machine`] is a process's program as a pure state machine. It is written once and driven by the explorer, loom,
//! shuttle, storms and the conductor of a real Postgres; it can't tell which of them it is.

pub mod access;
pub mod branch;
pub mod effect;
pub mod http;
pub mod notes;
pub mod pid;
pub mod service;
pub mod sql;

use std::any::Any;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use access::{Access, Next, Point};
pub use branch::{Branch, Scripted, Usual};
pub use effect::{Effect, NoAnswer, Reply};
pub use http::{Request, Response};
pub use notes::{Notebook, Notes};
pub use pid::{Pid, Renaming};
pub use sql::{Column, Rows, Sql, SqlError, SqlState};

/// A process's program: a pure state machine.
///
/// `step` must be a function of the machine and the reply alone: no clock, no randomness, no I/O, no shared state.
/// Every driver relies on that, because it replays machines from recorded schedules. After [`Effect::Done`] a machine is not
/// stepped again.
///
/// Implementors also derive `Clone`, `PartialEq`, `Eq`, `Hash` and `Debug`: machines are part of the
/// explored state.
pub trait Machine: Debug + Send + Sync {
    /// The next effect, given the reply to the last one ([`Reply::Start`] at first).
    fn step(&mut self, reply: Reply) -> Effect;

    /// The name of the state the machine is in, for diagrams and traces.
    fn state(&self) -> &'static str {
        ""
    }

    /// How it failed in its last step, if that is more than an answer can tell.
    fn failure(&self) -> Option<Failure> {
        None
    }

    /// From here on it notes what it passes, and so do those that it starts; or no longer.
    fn take_notes(&mut self, _notes: &Notebook) {}

    /// The machine's name in diagrams: by default its type's path below the crate; empty for one that is not to be drawn.
    fn name(&self) -> String {
        short(std::any::type_name::<Self>())
    }
}

/// How a machine failed, for invariants to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Its statement was ended as the victim of a deadlock, and it does not say that it expects that.
    DeadlockVictim,
    /// What it asked for is not understood, by the database or a service: a mistake in the program itself. The text names the statement and says why.
    Mistake(Arc<str>),
    /// A fault of the environment ended it: a connection broke, an answer never came.
    FromOutside,
}

/// What the system needs of a machine beside [`Machine`]; implemented for every machine that derives the usual traits.
trait Erased: Machine {
    fn boxed(&self) -> Box<dyn Erased>;
    fn same(&self, other: &dyn Erased) -> bool;
    fn feed(&self, hasher: &mut dyn Hasher);
    fn as_any(&self) -> &dyn Any;
}

impl<M: Machine + Clone + Eq + Hash + Any> Erased for M {
    fn boxed(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn same(&self, other: &dyn Erased) -> bool {
        other.as_any().downcast_ref::<M>() == Some(self)
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Any machine, as a value: cheap to clone, comparable, hashable.
#[derive(Clone, Debug)]
pub struct Program(Arc<Shared>);

#[derive(Debug)]
struct Shared(Box<dyn Erased>);

impl Program {
    /// Wraps a machine.
    pub fn new<M: Machine + Clone + Eq + Hash + Any>(machine: M) -> Self {
        Program(Arc::new(Shared(Box::new(machine))))
    }

    /// Steps the machine. The value that was cloned from this one before is not touched.
    pub fn step(&mut self, reply: Reply) -> Effect {
        let mut machine = self.0.0.boxed();
        let effect = machine.step(reply);
        self.0 = Arc::new(Shared(machine));
        effect
    }

    /// The name of the state that the machine is in.
    pub fn state(&self) -> &'static str {
        self.0.0.state()
    }

    /// How the machine failed in its last step.
    pub fn failure(&self) -> Option<Failure> {
        self.0.0.failure()
    }

    /// The same program, taking notes there, or none. Equal to this one.
    #[must_use]
    pub fn noting(&self, notes: &Notebook) -> Program {
        let mut machine = self.0.0.boxed();
        machine.take_notes(notes);
        Program(Arc::new(Shared(machine)))
    }

    /// The machine's name in diagrams.
    pub fn name(&self) -> String {
        self.0.0.name()
    }

    /// The machine, if it is an `M`: for invariants that look into a machine.
    pub fn get<M: Machine + Clone + Eq + Hash + Any>(&self) -> Option<&M> {
        self.0.0.as_any().downcast_ref()
    }
}

/// `registration::handler::Register` of `deadheat::domain::flow::Teller<deadheat::domain::registration::handler::Register>`.
fn short(path: &str) -> String {
    let inner = path.rsplit('<').next().unwrap_or(path).trim_end_matches('>');
    let below = inner.split_once("::").map_or(inner, |(_, below)| below);
    below.strip_prefix("domain::").unwrap_or(below).to_owned()
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.0.same(&*other.0.0)
    }
}

impl Eq for Program {}

impl Hash for Program {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.0.feed(hasher);
    }
}
