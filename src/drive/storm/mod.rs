//! The storm driver: many clients in virtual time, drawn by proptest and shrunk to the smallest storm that breaks a promise.
//!
//! A [`Storm`] says how many clients there are, when each arrives, how long each waits before it gives up and before it tries
//! again, how long steps take, and which faults strike when. A discrete-event simulation decides the schedule from that: the step that is due first
//! happens first. So a storm is a schedule of the very system that the other drivers run, and its
//! token replays on them.
//!
//! **How it departs from life.** The clock of the world stands still between two of its own deadlines; the time of the storm, which moves with
//! every step, decides orders only. A storm stops no statement in the middle; the other drivers do.

mod regressions;
mod shape;
mod simulate;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

pub use shape::{BadStorm, Storm, Strike};
pub use simulate::{Simulated, simulate};

use crate::explore::{
    Bounds, Counterexample, Driver, Evidence, Finding, Judged, Limit, Reached, Stats, Verdict, counted,
};
use crate::system::{Outcome, Schedule, System};

/// Systems of one kind, for any storm: the scenario with as many clients as the storm has.
pub trait Family: Sync {
    /// The system that a storm is let loose on. Only a function of the storm.
    fn system(&self, storm: &Storm) -> System;
}

impl<F: Fn(&Storm) -> System + Sync> Family for F {
    fn system(&self, storm: &Storm) -> System {
        self(storm)
    }
}

/// How to storm.
#[derive(Clone, Debug)]
pub struct StormOptions {
    /// Storms to draw.
    pub cases: u32,
    /// The most clients of a storm.
    pub max_clients: u8,
    /// The most faults that strike in a storm; the fault budget of the system bounds them too.
    pub max_strikes: usize,
    /// The most steps of a storm.
    pub max_steps: usize,
    /// The most storms to try while shrinking.
    pub max_shrinks: u32,
    /// Mixed into the seed; 0 unless a user wants other storms.
    pub seed: u64,
    /// Where the smallest storms are kept: they are let loose first, before any is drawn.
    pub regressions: Option<PathBuf>,
    /// Whether a smallest storm that is not kept yet is added there.
    pub keep: bool,
    /// Stop after so much time.
    pub max_time: Option<Duration>,
}

impl Default for StormOptions {
    fn default() -> Self {
        StormOptions {
            cases: 256,
            max_clients: 6,
            max_strikes: 3,
            max_steps: 2_000,
            max_shrinks: 2_000,
            seed: 0,
            regressions: None,
            keep: false,
            max_time: None,
        }
    }
}

/// What storms found.
#[derive(Clone, Debug, PartialEq)]
pub struct StormFinding {
    /// In the words of all drivers. A counterexample's schedule is of the system of its storm.
    pub finding: Finding,
    /// For each violated invariant the smallest storm that breaks it.
    pub smallest: BTreeMap<Arc<str>, Storm>,
}

/// Lets storms loose on the systems of a family.
pub fn storm(family: &dyn Family, options: &StormOptions) -> StormFinding {
    let started = Instant::now();
    let calm = Storm::calm(options.max_clients);
    let largest = family.system(&calm);
    let mut season = Season {
        family,
        options,
        wanted: largest
            .spec()
            .invariants
            .iter()
            .map(|invariant| invariant.name().into())
            .collect(),
        broken: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        storms: 0,
        steps: 0,
        longest: 0,
        refused: None,
        started,
        late: None,
    };
    let kept = match season.kept() {
        Ok(kept) => kept,
        Err(reason) => {
            let finding = Finding::without_run(Driver::Storm, largest.spec(), Verdict::Error, reason);
            return StormFinding {
                finding,
                smallest: BTreeMap::new(),
            };
        }
    };
    for storm in &kept {
        if !season.is_late() {
            season.let_loose(storm, true);
        }
    }
    season.draw(seed(&largest, options));
    let unkept = season.broken.values().map(|(storm, _)| storm.clone());
    let reason = if options.keep {
        regressions::keep(options.regressions.as_deref(), &kept, unkept)
    } else {
        None
    };
    let mut result = season.conclude(&largest);
    result.finding.reason = result.finding.reason.or(reason);
    result.finding.stats.seconds = started.elapsed().as_secs_f64();
    result
}

/// Storms of one run of the driver.
struct Season<'a> {
    family: &'a dyn Family,
    options: &'a StormOptions,
    wanted: BTreeSet<Arc<str>>,
    broken: BTreeMap<Arc<str>, (Storm, Counterexample)>,
    outcomes: BTreeMap<Outcome, Reached>,
    storms: u64,
    steps: u64,
    longest: usize,
    refused: Option<Arc<str>>,
    started: Instant,
    /// The limit that stopped it.
    late: Option<Limit>,
}

impl Season<'_> {
    /// Whether the time is over. From then on no storm is let loose, and shrinking ends with the smallest so far.
    fn is_late(&mut self) -> bool {
        let over = self.options.max_time.filter(|most| self.started.elapsed() >= *most);
        self.late = self.late.or(over.map(|most| Limit::Seconds(most.as_secs())));
        self.late.is_some()
    }

    fn kept(&self) -> Result<Vec<Storm>, String> {
        match &self.options.regressions {
            Some(path) => regressions::read(path),
            None => Ok(Vec::new()),
        }
    }

    /// Draws storms until none breaks anything new; each time one does, it is shrunk.
    fn draw(&mut self, seed: [u8; 32]) {
        let strategy = shape::storms(self.options);
        let mut tell = true;
        while !self.wanted.is_empty() && self.refused.is_none() && !self.is_late() {
            let config = Config {
                cases: self.options.cases,
                failure_persistence: None,
                source_file: None,
                fork: false,
                timeout: 0,
                max_shrink_iters: self.options.max_shrinks,
                max_shrink_time: 0,
                verbose: 0,
                ..Config::default()
            };
            let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
            let shared = std::cell::RefCell::new(&mut *self);
            let outcome = runner.run(&strategy, |storm| {
                let mut season = shared.borrow_mut();
                let hit = season.try_storm(&storm, tell);
                if hit {
                    Err(TestCaseError::fail("broken"))
                } else {
                    Ok(())
                }
            });
            match outcome {
                Ok(()) => return,
                Err(TestError::Fail(_, smallest)) => self.let_loose(&smallest, false),
                Err(TestError::Abort(reason)) => {
                    self.refused.get_or_insert_with(|| reason.to_string().into());
                }
            }
            tell = false;
        }
    }

    /// Whether the storm breaks an invariant that is still wanted.
    fn try_storm(&mut self, storm: &Storm, tell: bool) -> bool {
        if self.is_late() {
            return false;
        }
        let system = self.family.system(storm);
        let simulated = simulate(&system, storm, self.options.max_steps);
        if tell {
            self.tell(&simulated);
        }
        if let Some(reason) = simulated.refused {
            self.refused.get_or_insert(reason);
        }
        simulated
            .broken
            .iter()
            .any(|(_, breach)| self.wanted.contains(&breach.invariant))
    }

    /// Records what the storm breaks.
    fn let_loose(&mut self, storm: &Storm, tell: bool) {
        let system = self.family.system(storm);
        let simulated = simulate(&system, storm, self.options.max_steps);
        if tell {
            self.tell(&simulated);
        }
        for (length, breach) in &simulated.broken {
            self.wanted.remove(&breach.invariant);
            let schedule = Schedule {
                fingerprint: simulated.schedule.fingerprint,
                steps: simulated.schedule.steps[..*length].to_vec(),
            };
            let counterexample = Counterexample {
                schedule,
                breach: breach.clone(),
                decisive: None,
                shortest: false,
            };
            let entry = (storm.clone(), counterexample);
            self.broken.entry(breach.invariant.clone()).or_insert(entry);
        }
    }

    fn tell(&mut self, simulated: &Simulated) {
        self.storms += 1;
        self.steps += simulated.schedule.steps.len() as u64;
        self.longest = self.longest.max(simulated.schedule.steps.len());
        let Some(outcome) = &simulated.outcome else { return };
        let reached = self.outcomes.entry(outcome.clone()).or_insert_with(|| Reached {
            outcome: outcome.clone(),
            count: 0,
            witness: Some(simulated.schedule.clone()),
            breaks: Vec::new(),
        });
        reached.count += 1;
        let broken = simulated.broken.iter().map(|(_, breach)| breach.invariant.clone());
        reached.breaks.extend(broken);
        reached.breaks.sort();
        reached.breaks.dedup();
    }

    fn conclude(self, largest: &System) -> StormFinding {
        let spec = largest.spec();
        let mut bounds = Bounds::of(spec);
        bounds.own.push(("clients", self.options.max_clients.into()));
        let (evidence, unbroken) = match self.late {
            Some(limit) => (Evidence::Truncated { limit }, Verdict::Unknown),
            None => {
                let (runs, miss) = (self.storms, None);
                (Evidence::Sampled { runs, miss }, Verdict::Held)
            }
        };
        let stopped = self
            .late
            .map(|limit| format!("stopped at {limit} after {}", counted(self.storms, "storm")));
        let judged = spec.invariants.iter().map(|invariant| {
            let broken = self.broken.get(invariant.name());
            Judged::of(
                invariant.name(),
                broken.map(|(_, counterexample)| counterexample.clone()),
                unbroken,
            )
        });
        let invariants: Vec<Judged> = judged.collect();
        let verdict = invariants.iter().fold(unbroken, |all, one| all.and(one.verdict));
        let reason = self.refused.as_ref().map(|reason| reason.to_string());
        let finding = Finding {
            driver: Driver::Storm,
            reason: reason.or_else(|| Finding::unjudged(&invariants)).or(stopped),
            assumptions: Vec::new(),
            verdict: if self.refused.is_some() {
                Verdict::Error
            } else {
                verdict
            },
            evidence,
            invariants,
            outcomes: self.outcomes.into_values().collect(),
            bounds,
            stats: Stats {
                transitions: self.steps,
                schedules: self.storms,
                depth: self.longest as u64,
                ..Stats::default()
            },
            warnings: Vec::new(),
            unforced: Vec::new(),
        };
        let smallest = self.broken.into_iter().map(|(name, (storm, _))| (name, storm));
        StormFinding {
            finding,
            smallest: smallest.collect(),
        }
    }
}

/// The same for every run of the same scenario.
fn seed(largest: &System, options: &StormOptions) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&largest.spec().fingerprint().to_le_bytes());
    seed[4..12].copy_from_slice(&options.seed.to_le_bytes());
    seed
}

#[cfg(test)]
mod tests;
