//! A system on somebody else's threads: whoever holds the lock takes the next step.
//!
//! Each thread owns some processes. It takes the lock, takes one step of a process of its own, and gives the lock back; the
//! scheduler under test decides who gets it next. A thread none of whose processes can go on sleeps until a step of another thread
//! wakes one. What belongs to no process (faults, the clock) may be done by whoever holds the lock, before its own step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::explore::{Bounds, Counterexample, Driver, Evidence, Finding, Judged, Reached, Stats, Verdict};
use crate::machine::{Branch, Pid, Point};
use crate::system::{Action, Breach, Event, Outcome, Place, Schedule, State, Step, Stop, System, Taken};

/// Decides what the threads' scheduler leaves open.
pub(super) trait Chooser {
    /// One of `usual + odd` options, as a number below it; the `odd` ones, which come last, are faults.
    fn pick(&mut self, usual: usize, odd: usize) -> usize;
}

/// A run that several threads share.
#[derive(Clone, Debug)]
pub(super) struct Run {
    system: System,
    state: State,
    steps: Vec<Step>,
    over: Option<Over>,
    max_steps: usize,
    found: Local,
}

/// Why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing more happens in it.
    Ended,
    /// It had too many steps or choices.
    Cut,
}

/// What a thread does after its turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It took a step: it gives the lock back, wakes the threads of these processes, and takes the lock again.
    Again(Vec<Pid>),
    /// None of its processes can go on: it wakes the threads of these and sleeps.
    Sleep(Vec<Pid>),
    /// The run is over: it wakes everybody and ends.
    Over,
}

impl Run {
    pub(super) fn new(system: &System, max_steps: usize) -> Self {
        let state = system.initial();
        let mut run = Run {
            system: system.clone(),
            state,
            steps: Vec::new(),
            over: None,
            max_steps,
            found: Local::default(),
        };
        run.note_state();
        run
    }

    /// The system that is run.
    pub(super) fn system(&self) -> &System {
        &self.system
    }

    /// Ends the run before its time, because a limit was met.
    pub(super) fn cut(&mut self) {
        self.over.get_or_insert(Over::Cut);
    }

    /// Whether nothing more is to be done in it.
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// Every process that was ever started.
    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> + '_ {
        self.state.processes.keys().copied()
    }

    /// One turn of the thread that owns the processes for which `mine` says so.
    pub(super) fn turn(&mut self, mine: impl Fn(Pid) -> bool, chooser: &mut dyn Chooser) -> Turn {
        let before = self.steps.len();
        loop {
            if self.over.is_some() {
                return Turn::Over;
            }
            if self.steps.len() >= self.max_steps {
                self.cut();
                return Turn::Over;
            }
            let enabled = self.system.enabled(&self.state);
            let is_own = |action: &Action| matches!(action, Action::Run(pid) if mine(*pid));
            let is_fault = |action: &Action| matches!(action, Action::Fault(..));
            let own: Vec<Action> = enabled.iter().copied().filter(is_own).collect();
            let others: Vec<Pid> = enabled.iter().filter_map(|action| runs(*action)).collect();
            if own.is_empty() && !others.is_empty() {
                // Whoever took the step that woke the others has told them; only steps of this turn are news.
                let news = if self.steps.len() > before { others } else { Vec::new() };
                return Turn::Sleep(news);
            }
            let clock = enabled.iter().copied().filter(|action| *action == Action::Tick);
            let usual: Vec<Action> = own.iter().copied().chain(clock).collect();
            let faults: Vec<Action> = enabled.iter().copied().filter(is_fault).collect();
            let may_end = usize::from(usual.is_empty());
            let picked = match usual.len() + may_end + faults.len() {
                1 => 0,
                _ => {
                    self.found.chose = true;
                    chooser.pick(usual.len() + may_end, faults.len())
                }
            };
            let action = usual.iter().chain(&faults).nth(picked.wrapping_sub(may_end));
            let Some(action) = action.copied() else {
                self.over = Some(Over::Ended);
                return Turn::Over;
            };
            self.take(action, chooser);
            let next: Vec<Pid> = self.system.enabled(&self.state).into_iter().filter_map(runs).collect();
            if is_own(&action) && next.iter().any(|pid| mine(*pid)) {
                return Turn::Again(next);
            }
        }
    }

    fn take(&mut self, action: Action, chooser: &mut dyn Chooser) {
        let mut ways = Ways {
            system: &self.system,
            chooser,
            given: Vec::new(),
            stops: Vec::new(),
            place: Place::default(),
        };
        let taken = self.system.take(&mut self.state, action, &mut ways);
        let (mut given, stops) = (ways.given, ways.stops);
        self.found.chose |= !given.is_empty();
        while given.last() == Some(&0) {
            given.pop();
        }
        self.steps.push(Step {
            action,
            branch: given.into(),
            stops: stops.into(),
        });
        self.note_refusal(&taken);
        self.note_state();
    }

    fn note_refusal(&mut self, taken: &Taken) {
        for event in &taken.events {
            if let Event::Refused { reason, .. } = event {
                self.found.refused.get_or_insert_with(|| reason.clone());
            }
        }
    }

    fn note_state(&mut self) {
        let at_end = self.system.is_final(&self.state);
        for breach in self.system.breaches(&self.state, at_end) {
            let known = self
                .found
                .broken
                .iter()
                .any(|(_, known)| known.invariant == breach.invariant);
            if !known {
                self.found.broken.push((self.steps.len(), breach));
            }
        }
    }
}

fn runs(action: Action) -> Option<Pid> {
    match action {
        Action::Run(pid) => Some(pid),
        _ => None,
    }
}

/// A statement stops at every point that the system has, and its thread gives the lock back: the scheduler decides who goes on.
struct Ways<'a> {
    system: &'a System,
    chooser: &'a mut dyn Chooser,
    given: Vec<u8>,
    stops: Vec<Stop>,
    place: Place,
}

impl Branch for Ways<'_> {
    fn choose(&mut self, options: usize) -> usize {
        let way = match options {
            0 | 1 => 0,
            _ => self.chooser.pick(options.min(255), 0),
        };
        self.given.push(way as u8);
        way
    }

    fn begin(&mut self, _session: Pid) {
        self.place.begin();
    }

    fn stop(&mut self, session: Pid, point: Point<'_>) -> bool {
        let here = self.place.pass();
        let stops = self.system.points().allow(session, point);
        if stops {
            self.stops.push(here);
        }
        stops
    }
}

/// What one run has shown so far.
#[derive(Clone, Debug, Default)]
struct Local {
    broken: Vec<(usize, Breach)>,
    refused: Option<Arc<str>>,
    chose: bool,
}

/// What many runs have shown.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// Whole runs.
    pub(super) runs: u64,
    /// Runs that met a limit.
    pub(super) cut: u64,
    /// The most steps of a run.
    pub(super) longest: usize,
    /// Whether something else than the order of threads was chosen in some run.
    pub(super) chose: bool,
    steps: u64,
    schedules: BTreeSet<Vec<Step>>,
    broken: BTreeMap<Arc<str>, (Vec<Step>, Breach)>,
    outcomes: BTreeMap<Outcome, Shown>,
    refused: Option<Arc<str>>,
}

#[derive(Debug)]
struct Shown {
    count: u64,
    witness: Vec<Step>,
    breaks: Vec<Arc<str>>,
}

impl Shown {
    fn merge(&mut self, other: Shown) {
        self.count += other.count;
        if (other.witness.len(), &other.witness) < (self.witness.len(), &self.witness) {
            self.witness = other.witness;
        }
        self.breaks.extend(other.breaks);
        self.breaks.sort();
        self.breaks.dedup();
    }
}

/// So many different schedules are told apart; beyond that their number is not counted.
const MOST_SCHEDULES: usize = 200_000;

impl Collected {
    /// Adds a run that is over.
    pub(super) fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.steps += run.steps.len() as u64;
        self.longest = self.longest.max(run.steps.len());
        self.chose |= run.found.chose;
        if self.schedules.len() < MOST_SCHEDULES {
            self.schedules.insert(run.steps.clone());
        }
        if let Some(reason) = &run.found.refused {
            self.refused.get_or_insert_with(|| reason.clone());
        }
        for (length, breach) in &run.found.broken {
            let steps = &run.steps[..*length];
            let better = |(known, _): &(Vec<Step>, Breach)| (steps.len(), steps) < (known.len(), known);
            if self.broken.get(&breach.invariant).is_none_or(better) {
                let entry = (steps.to_vec(), breach.clone());
                self.broken.insert(breach.invariant.clone(), entry);
            }
        }
        match run.over {
            Some(Over::Ended) => self.add_outcome(run),
            _ => self.cut += 1,
        }
    }

    fn add_outcome(&mut self, run: &Run) {
        let outcome = run.system.outcome(&run.state);
        let shown = self.outcomes.entry(outcome).or_insert_with(|| Shown {
            count: 0,
            witness: run.steps.clone(),
            breaks: Vec::new(),
        });
        shown.count += 1;
        if (run.steps.len(), &run.steps) < (shown.witness.len(), &shown.witness) {
            shown.witness.clone_from(&run.steps);
        }
        for breach in run.system.breaches(&run.state, true) {
            if let Err(place) = shown.breaks.binary_search(&breach.invariant) {
                shown.breaks.insert(place, breach.invariant);
            }
        }
    }

    /// Adds what other runs have shown.
    pub(super) fn merge(&mut self, other: Collected) {
        self.runs += other.runs;
        self.cut += other.cut;
        self.steps += other.steps;
        self.longest = self.longest.max(other.longest);
        self.chose |= other.chose;
        self.schedules.extend(other.schedules);
        self.refused = self.refused.take().or(other.refused);
        for (name, entry) in other.broken {
            let better = |known: &(Vec<Step>, Breach)| (entry.0.len(), &entry.0) < (known.0.len(), &known.0);
            if self.broken.get(&name).is_none_or(better) {
                self.broken.insert(name, entry);
            }
        }
        for (outcome, shown) in other.outcomes {
            match self.outcomes.get_mut(&outcome) {
                Some(known) => known.merge(shown),
                None => {
                    self.outcomes.insert(outcome, shown);
                }
            }
        }
    }

    /// The finding of a driver whose runs these are. `unbroken` is the verdict of an invariant that no run broke.
    pub(super) fn finding(
        self,
        driver: Driver,
        system: &System,
        evidence: Evidence,
        unbroken: Verdict,
        bounds: Bounds,
    ) -> Finding {
        let spec = system.spec();
        let fingerprint = spec.fingerprint();
        let schedule = |steps: &[Step]| Schedule {
            fingerprint,
            steps: steps.to_vec(),
        };
        let judged = spec.invariants.iter().map(|invariant| {
            let broken = self.broken.get(invariant.name());
            let counterexample = broken.map(|(steps, breach)| Counterexample {
                schedule: schedule(steps),
                breach: breach.clone(),
                decisive: None,
                shortest: false,
            });
            Judged::of(invariant.name(), counterexample, unbroken)
        });
        let invariants: Vec<Judged> = judged.collect();
        let verdict = invariants.iter().fold(unbroken, |all, one| all.and(one.verdict));
        let outcomes = self.outcomes.iter().map(|(outcome, shown)| Reached {
            outcome: outcome.clone(),
            count: shown.count,
            witness: Some(schedule(&shown.witness)),
            breaks: shown.breaks.clone(),
        });
        Finding {
            driver,
            assumptions: Vec::new(),
            verdict: if self.refused.is_some() {
                Verdict::Error
            } else {
                verdict
            },
            evidence,
            reason: self
                .refused
                .as_ref()
                .map(|reason| reason.to_string())
                .or_else(|| Finding::unjudged(&invariants)),
            invariants,
            outcomes: outcomes.collect(),
            bounds,
            stats: Stats {
                transitions: self.steps,
                schedules: self.schedules.len() as u64,
                finals: self.runs - self.cut,
                depth: self.longest as u64,
                ..Stats::default()
            },
            warnings: Vec::new(),
            unforced: Vec::new(),
        }
    }
}
