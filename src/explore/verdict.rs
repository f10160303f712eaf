//! What a driver found out, and how sure that is: the one result that every driver hands back.

use std::fmt;
use std::sync::Arc;

use crate::system::{Breach, Fault, FaultBudget, Outcome, Schedule, Spec, Warning};

/// Which way a scenario was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Driver {
    /// Our exhaustive explorer.
    Explore,
    /// loom's threads and scheduler.
    Loom,
    /// shuttle's random and PCT schedulers.
    Shuttle,
    /// proptest storms in virtual time.
    Storm,
    /// A real Postgres server.
    Postgres,
}

impl Driver {
    /// Every driver, in the order in which they are told.
    pub const ALL: [Driver; 5] = [
        Driver::Explore,
        Driver::Loom,
        Driver::Shuttle,
        Driver::Storm,
        Driver::Postgres,
    ];

    /// Its name in scenario files and output.
    pub const fn name(self) -> &'static str {
        match self {
            Driver::Explore => "explore",
            Driver::Loom => "loom",
            Driver::Shuttle => "shuttle",
            Driver::Storm => "storm",
            Driver::Postgres => "postgres",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing was broken in what the evidence covers.
    Held,
    /// A schedule breaks it.
    Violated,
    /// A limit stopped the search before anything was broken.
    Unknown,
    /// It was not tried; the reason says why.
    Skipped,
    /// deadheat, the scenario or the environment is at fault; the reason says what.
    Error,
}

impl Verdict {
    /// Its name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Held => "held",
            Verdict::Violated => "violated",
            Verdict::Unknown => "unknown",
            Verdict::Skipped => "skipped",
            Verdict::Error => "error",
        }
    }

    /// The verdict of the two together: error over violated over unknown over held; skipped only if both were.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        let weight = |verdict| match verdict {
            Verdict::Skipped => 0,
            Verdict::Held => 1,
            Verdict::Unknown => 2,
            Verdict::Violated => 3,
            Verdict::Error => 4,
        };
        if weight(other) > weight(self) { other } else { self }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a verdict was reached.
#[derive(Clone, Debug, PartialEq)]
pub enum Evidence {
    /// Every schedule within the bounds.
    Exhausted,
    /// So many schedules, chosen at random.
    Sampled {
        /// How many.
        runs: u64,
        /// For PCT: the chance that all of them miss a bug of the stated depth, if there is one.
        miss: Option<Miss>,
    },
    /// A limit stopped it.
    Truncated {
        /// Which.
        limit: Limit,
    },
    /// Nothing was run.
    Nothing,
}

/// What PCT promises about a bug that it did not find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Miss {
    /// The depth: how many ordering constraints the bug needs.
    pub depth: u32,
    /// At most this chance of having missed it in all the runs.
    pub chance: f64,
}

/// What stopped a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// So many states.
    States(u64),
    /// So many seconds.
    Seconds(u64),
    /// So many mebibytes.
    Memory(u64),
    /// So many schedules.
    Schedules(u64),
    /// So many steps in one schedule.
    Steps(u64),
    /// So many preemptions in one schedule.
    Preemptions(u64),
    /// So many threads in one schedule.
    Threads(u64),
    /// This part of all: the others run elsewhere.
    Shard(u32, u32),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::States(count) => write!(f, "{count} states"),
            Limit::Seconds(count) => write!(f, "{count} s"),
            Limit::Memory(count) => write!(f, "{count} MiB"),
            Limit::Schedules(count) => write!(f, "{count} schedules"),
            Limit::Steps(count) => write!(f, "{count} steps in a schedule"),
            Limit::Preemptions(count) => write!(f, "{count} preemptions in a schedule"),
            Limit::Threads(count) => write!(f, "{count} threads"),
            Limit::Shard(part, of) => write!(f, "shard {part} of {of}"),
        }
    }
}

impl Evidence {
    /// Its name in output: `exhausted`, `sampled`, `truncated` or `nothing`.
    pub const fn name(&self) -> &'static str {
        match self {
            Evidence::Exhausted => "exhausted",
            Evidence::Sampled { .. } => "sampled",
            Evidence::Truncated { .. } => "truncated",
            Evidence::Nothing => "nothing",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Evidence::Exhausted => f.write_str("exhausted"),
            Evidence::Sampled { runs, miss: None } => write!(f, "sampled, {runs} schedules"),
            Evidence::Sampled { runs, miss: Some(miss) } => {
                let Miss { depth, chance } = miss;
                write!(
                    f,
                    "sampled, {runs} schedules, a bug of depth {depth} missed with a chance of at most {chance:.3}"
                )
            }
            Evidence::Truncated { limit } => write!(f, "truncated at {limit}"),
            Evidence::Nothing => f.write_str("nothing run"),
        }
    }
}

/// What a driver found out about a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which driver.
    pub driver: Driver,
    /// All invariants together.
    pub verdict: Verdict,
    /// How it was reached.
    pub evidence: Evidence,
    /// Each invariant, in the scenario's order.
    pub invariants: Vec<Judged>,
    /// Final states as a user would tell them, in order; all that can be reached only if the evidence is exhausted.
    pub outcomes: Vec<Reached>,
    /// Within which bounds.
    pub bounds: Bounds,
    /// What it took.
    pub stats: Stats,
    /// Why it was skipped, is unknown, or what the error is.
    pub reason: Option<String>,
    /// What it takes for granted of the plans that the server makes, one line each, sorted; the suite fills it in.
    pub assumptions: Vec<String>,
    /// What no schedule showed, so that what holds may hold for want of trying. Only a search that exhausted every schedule knows.
    pub warnings: Vec<Warning>,
}

/// The verdict of one invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub invariant: Arc<str>,
    /// What came out.
    pub verdict: Verdict,
    /// If it is violated: how.
    pub counterexample: Option<Counterexample>,
}

/// A run that breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The run, up to the state that breaks it.
    pub schedule: Schedule,
    /// How that state breaks it.
    pub breach: Breach,
    /// The number of steps of the schedule after which every run breaks it (0: from the start); `None` where that was not computed.
    pub decisive: Option<usize>,
    /// Whether no shorter one exists.
    pub shortest: bool,
}

/// An outcome that can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// What it is.
    pub outcome: Outcome,
    /// How many final states show it (for a driver that samples: how many runs).
    pub count: u64,
    /// A run that ends in it, the shortest one that was found.
    pub witness: Option<Schedule>,
    /// The invariants that a final state with this outcome breaks.
    pub breaks: Vec<Arc<str>>,
}

/// What a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Processes that are there from the start.
    pub processes: usize,
    /// Faults that a run may have.
    pub faults: FaultBudget,
    /// Bounds of the driver's own, such as preemptions, by name.
    pub own: Vec<(&'static str, u64)>,
}

impl Bounds {
    /// The bounds that a scenario states.
    pub fn of(spec: &Spec) -> Self {
        Bounds {
            processes: spec.roots.len(),
            faults: spec.faults,
            own: Vec::new(),
        }
    }

    /// Every bound with its name, those of zero faults left out.
    pub fn list(&self) -> Vec<(&'static str, u64)> {
        let faults = self
            .faults
            .allowed()
            .map(|(fault, count)| (Fault::name(fault), u64::from(count)));
        let mut all = vec![("processes", self.processes as u64)];
        all.extend(faults);
        all.extend(self.own.iter().copied());
        all
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, count)) in self.list().into_iter().enumerate() {
            write!(f, "{}{name} {count}", if place == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// What it took. Only `seconds` may differ between two runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stats {
    /// Different states; of those that differ only in who is who among processes that start alike, one.
    pub states: u64,
    /// Steps taken from them.
    pub transitions: u64,
    /// Whole schedules run.
    pub schedules: u64,
    /// Final states, every one of them.
    pub finals: u64,
    /// The number of steps of the longest of the shortest ways to a state.
    pub depth: u64,
    /// Time, by the clock on the wall.
    pub seconds: f64,
}

impl Finding {
    /// A finding of nothing run: skipped, or an error, with its reason.
    pub fn without_run(driver: Driver, spec: &Spec, verdict: Verdict, reason: impl Into<String>) -> Self {
        Finding {
            driver,
            verdict,
            evidence: Evidence::Nothing,
            invariants: spec
                .invariants
                .iter()
                .map(|invariant| Judged {
                    invariant: invariant.name().into(),
                    verdict,
                    counterexample: None,
                })
                .collect(),
            outcomes: Vec::new(),
            bounds: Bounds::of(spec),
            stats: Stats::default(),
            reason: Some(reason.into()),
            assumptions: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The same finding, in which what could not be judged is an error, with its reason, and no violation.
    #[must_use]
    pub(crate) fn settled(mut self) -> Finding {
        for judged in &mut self.invariants {
            let Some(found) = judged.counterexample.as_ref().filter(|found| found.breach.is_error) else {
                continue;
            };
            judged.verdict = Verdict::Error;
            if self.verdict != Verdict::Error || self.reason.is_none() {
                self.reason = Some(format!("{}: {}", judged.invariant, found.breach.sentence));
            }
            self.verdict = Verdict::Error;
        }
        self
    }

    /// Whether it is the scenario that is at fault: what its processes ask for is not understood, or a query of an invariant can't be answered.
    pub fn is_scenarios_fault(&self) -> bool {
        let judged = self.invariants.iter().any(|judged| judged.verdict == Verdict::Error);
        self.verdict == Verdict::Error && self.evidence != Evidence::Nothing && (judged || self.reason.is_some())
    }

    /// Names of the invariants that are violated, in the scenario's order.
    pub fn violated(&self) -> Vec<Arc<str>> {
        let violated = self
            .invariants
            .iter()
            .filter(|judged| judged.verdict == Verdict::Violated);
        violated.map(|judged| judged.invariant.clone()).collect()
    }

    /// The shortest of all counterexamples; of two equally short ones the first in the scenario's order.
    pub fn counterexample(&self) -> Option<&Counterexample> {
        let all = self
            .invariants
            .iter()
            .filter_map(|judged| judged.counterexample.as_ref());
        all.min_by_key(|counterexample| counterexample.schedule.steps.len())
    }

    /// The counterexample of an invariant.
    pub fn of(&self, invariant: &str) -> Option<&Judged> {
        self.invariants.iter().find(|judged| &*judged.invariant == invariant)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Error, Held, Skipped, Unknown, Violated};

    #[test]
    fn verdicts_join_to_the_worse_one() {
        assert_eq!(Held.and(Unknown), Unknown);
        assert_eq!(Violated.and(Unknown), Violated);
        assert_eq!(Skipped.and(Held), Held);
        assert_eq!(Skipped.and(Skipped), Skipped);
        assert_eq!(Violated.and(Error), Error);
    }
}
