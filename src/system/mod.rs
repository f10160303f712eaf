//! The system: a world, the processes in it, and what may go wrong. Which steps are enabled, and what a step does.
//!
//! Everything here is a pure function of a [`State`]: drivers differ only in which step they take next. A [`State`] is canonical:
//! two runs that leave the same visible world and the same machines are equal and hash equally, whatever order they took.
//!
//! **Inside a statement.** A statement is no atom. Between its snapshot and the first thing that it takes, between two things that it takes (a row lock, also one with
//! SKIP LOCKED or NOWAIT; a key of a unique index; a foreign key's parent; an advisory or a table lock; a row written; a number of a sequence; at SERIALIZABLE also
//! a mark of what is read), between two statements of one message, and between a statement without BEGIN and its commit, others can come between, and the clock can move. A step says at
//! which points it stops statements ([`Step::stops`](Step)); a statement that was stopped goes on by a step of its own. Stops that nobody could notice are left out: by which argument, and
//! how that is checked, is told at [`Points`].
//!
//! **How it departs from life.** A statement and its reply are one step (nobody can see the difference until the process acts on it); a service's
//! call and its answer are two, because a webhook may overtake the answer. A statement that a commit wakes attempts at once, in that very step, what it had waited
//! for; it may be stopped behind that. The orders in which the real server lets several such waiters race are branches of the step
//! (see [`Branch`](crate::machine::Branch)). Not explored are points inside DDL, inside the checks of a foreign key between its look-up and its lock (whoever comes between is met
//! as if he had come later), and inside one look-up of a key. A worker whose process crashes while its statement is under way begins again when that has ended.

mod courier;
mod enabled;
mod footprint;
mod invariant;
mod outcome;
mod own;
mod points;
mod process;
mod schedule;
mod step;
mod take;
mod trace;
mod vacuity;
mod view;
mod ways;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use courier::Courier;
pub use footprint::{Footprint, Resource};
pub use invariant::{Breach, Invariant, QueryInvariant, When};
pub use outcome::{Observation, Outcome};
pub(crate) use points::Learned;
pub use points::{Log, Points, Seen};
pub use process::{Process, Role, Status};
pub use schedule::{Misfit, Schedule, ScheduleError};
pub use step::{Action, Fault, FaultBudget, Step, Stop};
pub use take::Taken;
pub use trace::{Event, Trace};
pub use vacuity::{Kind as WarningKind, Vacuity, Warning};
pub(crate) use view::Reads;
pub(crate) use view::system_tables;
pub use view::{Exchange, Standing, View};

use crate::machine::{Notebook, Notes, Pid, Program, Reply, Request, Scripted};
use crate::world::World;
use crate::world::database::Release;
pub(crate) use ways::Place;
use ways::Ways;

/// What a system is built from. Does not change during a run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The scenario's name: `registration/partnercrm-as-reported`.
    pub name: Arc<str>,
    /// The processes that are there from the start, at most 250.
    pub roots: Vec<Root>,
    /// What handles requests, by the endpoint's name.
    pub endpoints: BTreeMap<Arc<str>, Endpoint>,
    /// The world at the start.
    pub world: World,
    /// Which faults a run may have.
    pub faults: FaultBudget,
    /// What must hold.
    pub invariants: Vec<Arc<dyn Invariant>>,
    /// What of a final state is told.
    pub observations: Vec<Observation>,
    /// Who says what a search that saw every schedule never saw; `None` where nobody does.
    pub vacuity: Option<Arc<dyn Vacuity>>,
    /// Everything of the scenario that a schedule depends on, as canonical text: the world, the processes and their design, the
    /// faults. Not what is expected of them.
    pub identity: Arc<str>,
}

/// A process that is there from the start.
#[derive(Clone, Debug)]
pub struct Root {
    /// Its name in lanes.
    pub label: Arc<str>,
    /// What it runs, not yet stepped.
    pub program: Program,
    /// What it is.
    pub role: Role,
}

/// What handles the requests to an endpoint: for each request a new process.
#[derive(Clone)]
pub struct Endpoint {
    /// Makes the handler's program for a request.
    pub open: Arc<dyn Fn(&Request) -> Program + Send + Sync>,
    /// What its processes are; [`Role::Handler`] but for special cases.
    pub role: Role,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

/// One state of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// What the processes share.
    pub world: World,
    /// Every process that was ever started.
    pub processes: BTreeMap<Pid, Arc<Process>>,
    /// Which faults may still happen.
    pub faults: FaultBudget,
}

/// A scenario made ready to run: shared, immutable.
#[derive(Clone, Debug)]
pub struct System {
    spec: Arc<Spec>,
    points: Arc<Points>,
}

impl System {
    /// The system that `spec` describes.
    pub fn new(spec: Spec) -> Self {
        System {
            spec: Arc::new(spec),
            points: Arc::default(),
        }
    }

    /// The same system, its statements stopped at these points. A new system's may be stopped at all of them.
    #[must_use]
    pub fn with_points(&self, points: Points) -> System {
        System {
            spec: self.spec.clone(),
            points: Arc::new(points),
        }
    }

    /// Where its statements may be stopped.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// The same system over another release of the server.
    #[must_use]
    pub fn on_release(&self, release: Release) -> System {
        if self.spec.world.database.release() == release {
            return self.clone();
        }
        let mut spec = Spec::clone(&self.spec);
        spec.world.database.set_release(release);
        System {
            spec: Arc::new(spec),
            points: self.points.clone(),
        }
    }

    /// The same system, whose machines note what they pass; `None` where nobody asks for it. Its states are equal to this one's.
    pub(crate) fn noting(&self) -> Option<(System, Arc<Notes>)> {
        let notes = Arc::new(self.spec.vacuity.as_ref()?.notes());
        let book = Notebook(Some(notes.clone()));
        let mut spec = Spec::clone(&self.spec);
        for root in &mut spec.roots {
            root.program = root.program.noting(&book);
        }
        for endpoint in spec.endpoints.values_mut() {
            let (open, book) = (endpoint.open.clone(), book.clone());
            endpoint.open = Arc::new(move |request: &Request| open(request).noting(&book));
        }
        let system = System {
            spec: Arc::new(spec),
            points: self.points.clone(),
        };
        Some((system, notes))
    }

    /// What it was built from.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The state before the first step: every root process has said its first effect.
    pub fn initial(&self) -> State {
        let mut world = self.spec.world.clone();
        let processes = self.spec.roots.iter().enumerate().map(|(index, root)| {
            let pid = Pid::root(index as u8);
            let mut program = root.program.clone();
            let next = own::next(&mut world, pid, &mut program, Reply::Start);
            let process = Process::ready(program, next, root.role, root.label.clone());
            (pid, Arc::new(process))
        });
        State {
            processes: processes.collect(),
            world,
            faults: self.spec.faults,
        }
    }

    /// Every state that one step leads to, with the step, in a fixed order; where the world can go either way, each way.
    pub fn successors(&self, state: &State) -> Vec<(Step, State, Taken)> {
        let mut all = Vec::new();
        for action in self.enabled(state) {
            self.outcomes(state, action, &mut all);
        }
        all
    }

    /// What one action leads to: one state, or several where the world can go either way.
    pub fn outcomes(&self, state: &State, action: Action, all: &mut Vec<(Step, State, Taken)>) {
        let mut next = Some(Scripted::default());
        while let Some(script) = next {
            let mut after = state.clone();
            let mut ways = Ways::of(&self.points, script);
            let mut taken = self.take(&mut after, action, &mut ways);
            next = ways.next();
            let (branch, stops, log) = ways.taken();
            taken.log.noted.extend(log.noted);
            taken.log.passed = log.passed;
            let step = Step { action, branch, stops };
            all.push((step, after, taken));
        }
    }

    /// Whether nothing more can happen but faults.
    pub fn is_final(&self, state: &State) -> bool {
        !self
            .enabled(state)
            .iter()
            .any(|action| !matches!(action, Action::Fault(..)))
    }

    /// A state, to look at.
    pub fn view<'a>(&'a self, state: &'a State) -> View<'a> {
        View::new(&self.spec, state)
    }

    /// The invariants that a state breaks, in the scenario's order; those that only count at the end are checked when `at_end`.
    pub fn breaches(&self, state: &State, at_end: bool) -> Vec<Breach> {
        let view = self.view(state);
        let due = |when| when == When::Always || at_end;
        let invariants = self.spec.invariants.iter().filter(|invariant| due(invariant.when()));
        invariants
            .filter_map(|invariant| invariant.check(&view).err())
            .collect()
    }

    /// The outcome that a final state shows.
    pub fn outcome(&self, state: &State) -> Outcome {
        Outcome::of(&self.view(state))
    }
}
