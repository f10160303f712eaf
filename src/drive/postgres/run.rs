//! The driver: runs schedules on the server, and says what the invariants say of them.
//!
//! Invariants are judged on the model's states, which the conductor has just compared with the server's replies and rows: a
//! violation that is found here really happened on the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conductor::{Conducted, Divergence, perform, rehearse};
use super::source::Server;
use super::stage::Stage;
use crate::explore::{Bounds, Counterexample, Driver, Evidence, Finding, Judged, Limit, Reached, Stats, Verdict};
use crate::system::{Breach, Misfit, Outcome, Schedule, System};

/// When to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// After so many schedules.
    pub max_schedules: Option<u64>,
    /// After so much time.
    pub max_time: Option<Duration>,
    /// Whether the schedules, if none is left out, stand for every schedule within the bounds.
    pub complete: bool,
}

/// Runs the schedules one after another and compares each with the model.
///
/// A difference ends the run with the verdict `error`: then the model is not to be trusted, whatever the invariants say. Schedules that
/// pass a race which only the server decides are left out and counted: what they show would differ from run to run.
pub fn run(
    system: &System,
    server: &Server,
    schedules: &mut dyn Iterator<Item = Schedule>,
    options: &Options,
) -> Finding {
    let spec = system.spec();
    let start = Instant::now();
    let error = |reason: String| Finding::without_run(Driver::Postgres, spec, Verdict::Error, reason);
    let mut stage = match Stage::open(server, spec.world.database.scripts()) {
        Ok(stage) => stage,
        Err(reason) => return error(reason.to_string()),
    };
    let system = &system.on_release(stage.release);
    let mut tally = Tally::default();
    let mut limit = None;
    for schedule in schedules {
        if let Some(reached) = options.stops(tally.runs, start) {
            limit = Some(reached);
            break;
        }
        tally.runs += 1;
        let rehearsal = match rehearse(system, &schedule) {
            Ok(rehearsal) => rehearsal,
            Err(misfit) => return error(format!("{schedule}: {misfit}")),
        };
        if rehearsal.passes_a_race() {
            tally.left_out += 1;
            continue;
        }
        let conducted = match perform(&mut stage, system, &rehearsal) {
            Ok(conducted) => conducted,
            Err(reason) => return error(format!("{schedule}: {reason}")),
        };
        match conducted {
            Conducted::Agreed => {}
            Conducted::NotForced { place } => {
                return error(format!("{schedule}: no race was foreseen at step {place}"));
            }
            Conducted::Differs(divergence) => return tally.differs(system, &schedule, &divergence, start),
        }
        if let Err(misfit) = tally.judge(system, &schedule) {
            return error(format!("{schedule}: {misfit}"));
        }
    }
    tally.finding(system, options, limit, start)
}

impl Options {
    fn stops(&self, runs: u64, start: Instant) -> Option<Limit> {
        if let Some(most) = self.max_schedules
            && runs >= most
        {
            return Some(Limit::Schedules(most));
        }
        let most = self.max_time?;
        (start.elapsed() >= most).then_some(Limit::Seconds(most.as_secs()))
    }
}

#[derive(Default)]
struct Tally {
    runs: u64,
    left_out: u64,
    transitions: u64,
    finals: u64,
    depth: u64,
    broken: BTreeMap<Arc<str>, (Schedule, Breach)>,
    outcomes: BTreeMap<Outcome, (u64, Schedule, Vec<Arc<str>>)>,
}

impl Tally {
    /// Judges every state of a schedule that the server agreed to.
    fn judge(&mut self, system: &System, schedule: &Schedule) -> Result<(), Misfit> {
        let mut state = system.initial();
        let mut names: Vec<Arc<str>> = Vec::new();
        for place in 0..=schedule.steps.len() {
            if place > 0 {
                system.replay_step(&mut state, &schedule.steps[place - 1], place)?;
            }
            let at_end = place == schedule.steps.len() && system.is_final(&state);
            for breach in system.breaches(&state, at_end) {
                names.push(breach.invariant.clone());
                let shorter = |known: &(Schedule, Breach)| known.0.steps.len() > place;
                if self.broken.get(&breach.invariant).is_none_or(shorter) {
                    let prefix = Schedule {
                        fingerprint: schedule.fingerprint,
                        steps: schedule.steps[..place].to_vec(),
                    };
                    self.broken.insert(breach.invariant.clone(), (prefix, breach));
                }
            }
            if at_end {
                self.finals += 1;
                let fresh = || (0, schedule.clone(), Vec::new());
                let seen = self.outcomes.entry(system.outcome(&state)).or_insert_with(fresh);
                seen.0 += 1;
                if seen.1.steps.len() > schedule.steps.len() {
                    seen.1 = schedule.clone();
                }
                seen.2.extend(names.iter().cloned());
                seen.2.sort();
                seen.2.dedup();
            }
        }
        self.transitions += schedule.steps.len() as u64;
        self.depth = self.depth.max(schedule.steps.len() as u64);
        Ok(())
    }

    fn differs(self, system: &System, schedule: &Schedule, divergence: &Divergence, start: Instant) -> Finding {
        let reason = format!("the model and the server differ in schedule {schedule}, {divergence}");
        let mut finding = Finding::without_run(Driver::Postgres, system.spec(), Verdict::Error, reason);
        finding.stats = self.stats(start);
        finding
    }

    fn stats(&self, start: Instant) -> Stats {
        Stats {
            states: 0,
            transitions: self.transitions,
            schedules: self.runs,
            finals: self.finals,
            depth: self.depth,
            seconds: start.elapsed().as_secs_f64(),
        }
    }

    fn finding(self, system: &System, options: &Options, limit: Option<Limit>, start: Instant) -> Finding {
        let spec = system.spec();
        let stats = self.stats(start);
        let all = options.complete && self.left_out == 0;
        let evidence = match limit {
            Some(limit) => Evidence::Truncated { limit },
            None if all => Evidence::Exhausted,
            None => Evidence::Sampled {
                runs: self.runs - self.left_out,
                miss: None,
            },
        };
        // A limit stopped it: what was not broken so far is not known. A sample holds as far as samples go.
        let unbroken = if limit.is_some() && options.complete {
            Verdict::Unknown
        } else {
            Verdict::Held
        };
        let judged = spec.invariants.iter().map(|invariant| {
            let broken = self.broken.get(invariant.name());
            Judged {
                invariant: invariant.name().into(),
                verdict: broken.map_or(unbroken, |_| Verdict::Violated),
                counterexample: broken.map(|(schedule, breach)| Counterexample {
                    schedule: schedule.clone(),
                    breach: breach.clone(),
                    decisive: None,
                    shortest: false,
                }),
            }
        });
        let invariants: Vec<Judged> = judged.collect();
        let reason = match (limit, self.left_out) {
            (Some(limit), _) => Some(format!("stopped at {limit}")),
            (None, 0) => None,
            (None, 1) => Some("1 schedule was left out: it passes a race that only the server decides".to_owned()),
            (None, some) => Some(format!(
                "{some} schedules were left out: they pass a race that only the server decides"
            )),
        };
        let outcomes = self
            .outcomes
            .into_iter()
            .map(|(outcome, (count, witness, breaks))| Reached {
                outcome,
                count,
                witness: Some(witness),
                breaks,
            });
        Finding {
            driver: Driver::Postgres,
            assumptions: Vec::new(),
            verdict: invariants.iter().fold(unbroken, |all, one| all.and(one.verdict)),
            evidence,
            invariants,
            outcomes: outcomes.collect(),
            bounds: Bounds::of(spec),
            stats,
            reason,
        }
    }
}
