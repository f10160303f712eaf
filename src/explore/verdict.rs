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
    /// Invariants that a schedule is known to break which the server could not be made to take: that it was not seen there says nothing.
    pub unforced: Vec<Arc<str>>,
}

/// The verdict of one invariant. It is made by [`Judged::of`] only, so that nothing is violated without a run that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub invariant: Arc<str>,
    /// What came out.
    pub verdict: Verdict,
    /// If it is violated: how.
    pub counterexample: Option<Counterexample>,
    made: Made,
}

/// Keeps others from writing a [`Judged`] down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Made;

impl Judged {
    /// Violated if there is a run that breaks it, or an error if that run ends in a state that could not be judged; else `unbroken`; and an error where
    /// that says "violated" all the same: then a driver has seen a bad state and no way to it.
    pub fn of(invariant: impl Into<Arc<str>>, counterexample: Option<Counterexample>, unbroken: Verdict) -> Judged {
        let verdict = match (&counterexample, unbroken) {
            (Some(found), _) if found.breach.is_error => Verdict::Error,
            (Some(_), _) => Verdict::Violated,
            (None, Verdict::Violated) => Verdict::Error,
            (None, unbroken) => unbroken,
        };
        Judged {
            invariant: invariant.into(),
            verdict,
            counterexample,
            made: Made,
        }
    }

    /// What two parts of a search say of it together: the shorter of their runs; without any, the worse of their verdicts.
    #[must_use]
    pub fn and(&self, other: &Judged) -> Judged {
        let runs = [self, other]
            .into_iter()
            .filter_map(|judged| judged.counterexample.as_ref());
        let verdict = self.verdict.and(other.verdict);
        let fitting = runs.filter(|found| found.breach.is_error == (verdict == Verdict::Error));
        let shortest = fitting.min_by_key(|found| found.schedule.steps.len());
        Judged::of(self.invariant.clone(), shortest.cloned(), verdict)
    }
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
    /// The name of the bound that loom has of its own.
    pub const PREEMPTIONS: &'static str = "preemptions";

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

/// Which orders inside of statements a search has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inside {
    /// It does not say.
    #[default]
    Untold,
    /// None: statements were atoms.
    Atoms,
    /// At so many points, which are all where another process can notice ([`crate::system::Points`]).
    Points(u64),
    /// At every point.
    Everywhere,
}

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inside::Untold => Ok(()),
            Inside::Atoms => f.write_str("no order inside of statements was tried"),
            Inside::Points(0) => f.write_str("no statement has a point inside where another process can notice"),
            Inside::Points(1) => {
                f.write_str("statements also stopped inside, at the one point where another process can notice")
            }
            Inside::Points(count) => write!(
                f,
                "statements also stopped inside, at the {} where another process can notice",
                counted(*count, "point")
            ),
            Inside::Everywhere => f.write_str("statements also stopped at every point inside"),
        }
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
    /// Which orders inside of statements it covers.
    pub inside: Inside,
    /// Whether a statement waited for another process. It went on in the step that ended its wait, and nobody came between, as on a server somebody may.
    pub waits: bool,
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
                .map(|invariant| Judged::of(invariant.name(), None, verdict))
                .collect(),
            outcomes: Vec::new(),
            bounds: Bounds::of(spec),
            stats: Stats::default(),
            reason: Some(reason.into()),
            assumptions: Vec::new(),
            warnings: Vec::new(),
            unforced: Vec::new(),
        }
    }

    /// Whether every schedule within the scenario's own bounds was tried: what was not broken then is proved.
    pub fn is_proof(&self) -> bool {
        self.evidence == Evidence::Exhausted && self.preemptions().is_none()
    }

    /// The bound on preemptions that a driver had beside the scenario's own bounds.
    pub fn preemptions(&self) -> Option<u64> {
        let own = self.bounds.own.iter();
        let mut named = own.filter(|(name, _)| *name == Bounds::PREEMPTIONS);
        named.next().map(|(_, count)| *count)
    }

    /// Where a driver has looked that does not try everything: `in 256 storms`, `within 1 preemption`.
    pub fn scope(&self) -> String {
        let noun = match self.driver {
            Driver::Storm => "storm",
            _ => "schedule",
        };
        match (&self.evidence, self.preemptions()) {
            (Evidence::Exhausted, Some(most)) => format!("within {}", counted(most, "preemption")),
            (Evidence::Exhausted, None) => "in every schedule".to_owned(),
            (Evidence::Sampled { runs, .. }, _) => format!("in {}", counted(*runs, noun)),
            (Evidence::Truncated { limit }, _) => format!("before it was stopped at {limit}"),
            (Evidence::Nothing, _) => "in no schedule".to_owned(),
        }
    }

    /// The first invariant that could not be judged, with the reason.
    pub(crate) fn unjudged(invariants: &[Judged]) -> Option<String> {
        let mut found = invariants.iter().filter_map(|judged| judged.counterexample.as_ref());
        let breach = &found.find(|found| found.breach.is_error)?.breach;
        Some(format!("{}: {}", breach.invariant, breach.sentence))
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

    /// Schedules worth running elsewhere, each once: those of the counterexamples, and a run to each outcome, up to so many.
    pub fn schedules(&self, most_outcomes: usize) -> Vec<Schedule> {
        let counterexamples = self
            .invariants
            .iter()
            .filter_map(|judged| judged.counterexample.as_ref());
        let broken = counterexamples.map(|found| &found.schedule);
        let reached = self.outcomes.iter().filter_map(|reached| reached.witness.as_ref());
        let mut schedules: Vec<Schedule> = Vec::new();
        for schedule in broken.chain(reached.take(most_outcomes)) {
            if !schedules.contains(schedule) {
                schedules.push(schedule.clone());
            }
        }
        schedules
    }

    /// The counterexample of an invariant.
    pub fn of(&self, invariant: &str) -> Option<&Judged> {
        self.invariants.iter().find(|judged| &*judged.invariant == invariant)
    }
}

/// A number of things, as in `1 crash` or `997,981 states`.
pub fn counted(count: u64, noun: &str) -> String {
    let plural = match noun {
        _ if count == 1 => noun.to_owned(),
        noun if noun.ends_with('y') => format!("{}ies", &noun[..noun.len() - 1]),
        noun if noun.ends_with("sh") || noun.ends_with("ss") => format!("{noun}es"),
        noun => format!("{noun}s"),
    };
    let digits = count.to_string();
    let mut number = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            number.push(',');
        }
        number.push(digit);
    }
    format!("{number} {plural}")
}

#[cfg(test)]
mod tests {
    use super::{Counterexample, Finding, Judged, counted};
    use crate::system::{Breach, Schedule};

    #[test]
    fn numbers_are_told_as_people_write_them() {
        assert_eq!(counted(1, "crash"), "1 crash");
        assert_eq!(counted(2, "lost reply"), "2 lost replies");
        assert_eq!(counted(997_981, "state"), "997,981 states");
        assert_eq!(counted(1_000, "process"), "1,000 processes");
        assert_eq!(counted(100, "storm"), "100 storms");
    }

    use super::Verdict::{Error, Held, Skipped, Unknown, Violated};

    #[test]
    fn nothing_is_violated_without_a_run_that_shows_it() {
        assert_eq!(Judged::of("a", None, Violated).verdict, Error);
        assert_eq!(Judged::of("a", None, Held).verdict, Held);
        let error = Judged::of("a", None, Error);
        assert_eq!(error.and(&Judged::of("a", None, Held)).verdict, Error);
    }

    #[test]
    fn what_could_not_be_judged_is_an_error_with_its_schedule_and_no_violation() {
        let found = |is_error| Counterexample {
            schedule: Schedule {
                fingerprint: 0,
                steps: Vec::new(),
            },
            breach: Breach {
                invariant: "a".into(),
                sentence: "no such table".into(),
                rows: Vec::new(),
                is_error,
            },
            decisive: None,
            shortest: true,
        };
        let unjudged = Judged::of("a", Some(found(true)), Held);
        assert_eq!(unjudged.verdict, Error);
        for joined in [Judged::of("a", Some(found(false)), Held), Judged::of("a", None, Held)] {
            let joined = joined.and(&unjudged);
            assert_eq!((joined.verdict, joined.counterexample), (Error, Some(found(true))));
        }
        assert_eq!(Finding::unjudged(&[Judged::of("a", Some(found(false)), Held)]), None);
        let reason = Finding::unjudged(&[Judged::of("b", None, Held), unjudged]);
        assert_eq!(reason.as_deref(), Some("a: no such table"));
    }

    #[test]
    fn verdicts_join_to_the_worse_one() {
        assert_eq!(Held.and(Unknown), Unknown);
        assert_eq!(Violated.and(Unknown), Violated);
        assert_eq!(Skipped.and(Held), Held);
        assert_eq!(Skipped.and(Skipped), Skipped);
        assert_eq!(Violated.and(Error), Error);
    }
}
