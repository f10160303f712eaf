//! The driver: runs schedules on the server, and says what the invariants say of them.
//!
//! Invariants are judged on the model's states, which the conductor has just compared with the server's replies and rows: a
//! violation that is found here really happened on the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::conductor::{ConductError, Conducted, Divergence, Rehearsal, perform};
use super::provoke::Provoked;
use super::source::Server;
use super::stage::Stage;
use super::stops::{Wanted, Way};
use crate::explore::{
    Bounds, Counterexample, Driver, Evidence, Finding, Inside, Judged, Limit, Reached, Stats, Verdict,
};
use crate::machine::Effect;
use crate::system::{Breach, Event, Misfit, Outcome, Schedule, System};

/// When to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// After so many schedules.
    pub max_schedules: Option<u64>,
    /// After so much time.
    pub max_time: Option<Duration>,
    /// Whether the schedules, if none passes a race, stand for every schedule within the bounds.
    pub complete: bool,
}

/// Runs the schedules one after another and compares each with the model.
///
/// A difference ends the run with the verdict `error`: then the model is not to be trusted, whatever the invariants say. Where only the
/// server decides (who wins a race), the run is followed the way that it went, and what it broke there counts. How often the server went
/// where is its own mood, so every number that is told is of the schedules as they were asked for.
pub fn run(
    system: &System,
    server: &Server,
    schedules: &mut dyn Iterator<Item = Schedule>,
    options: &Options,
) -> Finding {
    let spec = system.spec();
    let start = Instant::now();
    let error = |reason: String| Finding::without_run(Driver::Postgres, spec, Verdict::Error, reason);
    let mut stage = match Stage::of(server, &spec.world.database) {
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
        let rehearsal = match Rehearsal::of(system, &schedule) {
            Ok(rehearsal) => rehearsal,
            Err(misfit) => return error(format!("{schedule}: {misfit}")),
        };
        if rehearsal.stops_at().is_some() && rehearsal.way(&stage) == Way::Provoked {
            match tally.provoke(&mut stage, system, &schedule, &rehearsal) {
                Ok(()) => continue,
                Err(reason) => return error(format!("{schedule}: {reason}")),
            }
        }
        tally.count(&schedule, &rehearsal, system);
        let conducted = match perform(&mut stage, system, &rehearsal) {
            Ok(conducted) => conducted,
            Err(reason) => return error(format!("{schedule}: {reason}")),
        };
        let (went, followed) = match conducted {
            Conducted::Agreed => (vec![schedule.clone()], false),
            Conducted::Followed { schedules, .. } => (schedules, true),
            Conducted::Differs(divergence) => return tally.differs(system, &schedule, &divergence, start),
        };
        for went in went {
            if let Err(misfit) = tally.judge(system, &went, followed) {
                return error(format!("{schedule}, followed as {went}: {misfit}"));
            }
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
    /// Schedules that pass a race.
    races: u64,
    /// Schedules that were left out because they stop a statement where the server can't be made to stop it.
    stopped: u64,
    /// What those would break that were left out or provoked in vain.
    unforced: BTreeSet<Arc<str>>,
    /// Those of them that were provoked, with what came of it.
    provoked: Vec<(Vec<Arc<str>>, Provoked)>,
    transitions: u64,
    finals: u64,
    depth: u64,
    broken: BTreeMap<Arc<str>, Broken>,
    outcomes: BTreeMap<Outcome, (u64, Schedule, Vec<Arc<str>>)>,
}

/// So many schedules of a scenario are provoked, at most.
const MOST_PROVOKED: u64 = 4;

/// What a statement of a schedule takes for granted of the server's plan, whatever its isolation level.
fn plan_of(system: &System, schedule: &Schedule) -> Option<String> {
    let (trace, end) = system.replay(schedule).ok()?;
    let mut events = trace.0.iter().flat_map(|(_, events)| events);
    events.find_map(|event| match event {
        Event::Did {
            effect: Effect::Sql(sql),
            ..
        } => end.world.database.hangs_on_plan(&sql.text),
        _ => None,
    })
}

/// What a schedule breaks.
fn broken(system: &System, schedule: &Schedule) -> Result<Vec<Arc<str>>, Misfit> {
    let (_, state) = system.replay(schedule)?;
    let breaches = system.breaches(&state, system.is_final(&state));
    Ok(breaches.into_iter().map(|breach| breach.invariant).collect())
}

/// How an invariant was broken.
struct Broken {
    /// The server left the schedule that was asked for. One that went as it was asked for is told rather than one like this, which
    /// another run may not meet.
    followed: bool,
    schedule: Schedule,
    breach: Breach,
}

impl Tally {
    /// Counts a schedule as it was asked for.
    fn count(&mut self, schedule: &Schedule, rehearsal: &Rehearsal, system: &System) {
        self.runs += 1;
        self.races += u64::from(rehearsal.passes_a_race());
        self.finals += u64::from(rehearsal.ends(system));
        self.transitions += schedule.steps.len() as u64;
        self.depth = self.depth.max(schedule.steps.len() as u64);
    }

    /// Sends the statements of a schedule that can't be forced at once, many times, if it breaks something. What was seen counts.
    fn provoke(
        &mut self,
        stage: &mut Stage,
        system: &System,
        schedule: &Schedule,
        rehearsal: &Rehearsal,
    ) -> Result<(), ConductError> {
        let broken = broken(system, schedule)?;
        let known = self.provoked.len() as u64 >= MOST_PROVOKED;
        let Some(wanted) = Wanted::of(system, rehearsal).filter(|_| !broken.is_empty() && !known) else {
            self.stopped += 1;
            self.unforced.extend(broken);
            return Ok(());
        };
        let provoked = wanted.provoke(stage)?;
        if provoked.is_confirmed() {
            self.judge(system, schedule, true)?;
        } else {
            self.unforced.extend(broken.iter().cloned());
        }
        self.provoked.push((broken, provoked));
        Ok(())
    }

    /// Judges every state of a schedule that the server agreed to.
    fn judge(&mut self, system: &System, schedule: &Schedule, followed: bool) -> Result<(), Misfit> {
        let mut state = system.initial();
        let mut names: Vec<Arc<str>> = Vec::new();
        for place in 0..=schedule.steps.len() {
            if place > 0 {
                system.replay_step(&mut state, &schedule.steps[place - 1], place)?;
            }
            let at_end = place == schedule.steps.len() && system.is_final(&state);
            for breach in system.breaches(&state, at_end) {
                names.push(breach.invariant.clone());
                let better = |known: &Broken| (known.followed, known.schedule.steps.len()) > (followed, place);
                if self.broken.get(&breach.invariant).is_none_or(better) {
                    let schedule = Schedule {
                        fingerprint: schedule.fingerprint,
                        steps: schedule.steps[..place].to_vec(),
                    };
                    let broken = Broken {
                        followed,
                        schedule,
                        breach,
                    };
                    self.broken.insert(broken.breach.invariant.clone(), broken);
                }
            }
            if at_end {
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
        Ok(())
    }

    /// The model and the server differ. Where a statement does what the server's plan makes of it, that is no error of the model: the verdict is
    /// unknown, because the plan is not the one that was assumed.
    fn differs(self, system: &System, schedule: &Schedule, divergence: &Divergence, start: Instant) -> Finding {
        let (verdict, reason) = match plan_of(system, schedule) {
            Some(hangs) => (
                Verdict::Unknown,
                format!("{hangs}; the server's plan is another one, schedule {schedule}, {divergence}"),
            ),
            None => (
                Verdict::Error,
                format!("the model and the server differ in schedule {schedule}, {divergence}"),
            ),
        };
        let mut finding = Finding::without_run(Driver::Postgres, system.spec(), verdict, reason);
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
            inside: Inside::Untold,
            waits: false,
            seconds: start.elapsed().as_secs_f64(),
        }
    }

    fn finding(self, system: &System, options: &Options, limit: Option<Limit>, start: Instant) -> Finding {
        let spec = system.spec();
        let stats = self.stats(start);
        let all = options.complete && self.races + self.stopped == 0 && self.provoked.is_empty();
        let evidence = match limit {
            Some(limit) => Evidence::Truncated { limit },
            None if all => Evidence::Exhausted,
            None => Evidence::Sampled {
                runs: self.runs,
                miss: None,
            },
        };
        // A limit stopped it: what was not broken so far is not known. A sample of so many schedules holds as far as samples go; one that the time cut
        // short is none that was asked for.
        let late = matches!(limit, Some(Limit::Seconds(_)));
        let unbroken = if late || limit.is_some() && options.complete {
            Verdict::Unknown
        } else {
            Verdict::Held
        };
        let judged = spec.invariants.iter().map(|invariant| {
            let broken = self.broken.get(invariant.name());
            let counterexample = broken.map(|broken| Counterexample {
                schedule: broken.schedule.clone(),
                breach: broken.breach.clone(),
                decisive: None,
                shortest: false,
            });
            Judged::of(invariant.name(), counterexample, unbroken)
        });
        let invariants: Vec<Judged> = judged.collect();
        let mut reasons: Vec<String> = limit.iter().map(|limit| format!("stopped at {limit}")).collect();
        match self.races {
            0 => {}
            1 => reasons.push(
                "1 schedule passes a race that only the server decides: it was followed the way it went".to_owned(),
            ),
            some => reasons.push(format!(
                "{some} schedules pass a race that only the server decides: they were followed the way they went"
            )),
        }
        match self.stopped {
            0 => {}
            1 => reasons.push(
                "1 schedule stops a statement where the server can't be made to stop it, and was left out".to_owned(),
            ),
            some => reasons.push(format!(
                "{some} schedules stop a statement where the server can't be made to stop it, and were left out"
            )),
        }
        for (broken, provoked) in &self.provoked {
            reasons.push(format!("{}: {provoked}", broken.join(", ")));
        }
        let reason = Finding::unjudged(&invariants).or_else(|| (!reasons.is_empty()).then(|| reasons.join("; ")));
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
            warnings: Vec::new(),
            unforced: self.unforced.into_iter().collect(),
        }
    }
}
