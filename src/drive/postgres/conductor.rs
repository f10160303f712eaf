//! The conductor: releases a schedule on the real server statement by statement, and compares everything with the model.
//!
//! The model runs the schedule first, so it is known of each statement whether it returns or waits, whom it wakes, and who
//! is the victim of a deadlock. A statement that returns is awaited; one that waits is confirmed in the server's own view.
//! No step is taken before the server has shown all that the last one should have caused.
//!
//! Deadlocks: on the server the victim is whose `deadlock_timeout` ends first once the cycle is closed. The designated
//! victim has a short one and all others a long one. When the cycle was closed too late for it, the schedule is run again
//! with a longer one.
//!
//! Where the server itself may go several ways (who wins a row, the victim of a deadlock) it cannot be made to go the
//! schedule's. The conductor *follows*: it keeps every way of the model that agrees with what the server answered and goes on from there,
//! with the rest of the schedule as far as it can be taken and then by a fixed rule to the end. What was followed is a schedule of its
//! own, and replays. The schedule as it was asked for is tried a few times.
//!
//! A machine goes on with the model's reply. It is the server's in all but the order of rows that SQL leaves open: where a machine uses
//! "the first row" of such a result, it uses the model's first.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use super::aliases::Aliases;
use super::compare::{Strictness, cells, difference};
use super::ends::{provider_differs, rows_differ};
use super::gates::{Gates, Reached};
use super::gateway::GatewayError;
use super::literal::{literal, substitute};
use super::order::{Asked, ties};
use super::record::{Record, go_on, is_lost, rehearse, victims, ways};
use super::stage::{NEVER, Stage, StageError};
use super::stops;
use super::translate::translate;
use super::wire::{Answer, WiresError};
use crate::machine::{Pid, Rows, Sql, SqlError};
use crate::system::{Event, Fault, Misfit, Schedule, State, Step, System};
use crate::value::Value;
use crate::world::provider::PROVIDER;

/// How a schedule went on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conducted {
    /// Every reply, wait, wake-up and final row was the model's.
    Agreed,
    /// The server went another of the ways that are open to it, each time that it was asked; every reply, wait, wake-up and final row was
    /// the model's on that way.
    Followed {
        /// The first step where it went another way, counted from 1.
        place: usize,
        /// The schedules that it was followed on, each once.
        schedules: Vec<Schedule>,
    },
    /// The model and the server differ: an error of deadheat.
    Differs(Divergence),
}

/// Where the model and the server differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The step, counted from 1; one more than there are for the final rows.
    pub place: usize,
    /// The step itself.
    pub step: Option<Step>,
    /// What each side says.
    pub difference: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "step {}, `{step}`: {}", self.place, self.difference),
            None => write!(f, "after the last step: {}", self.difference),
        }
    }
}

/// A schedule could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum ConductError {
    /// It is not one of this system's.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// It sends SQL that the model does not know. That never reaches the server: nobody knows what it would do there.
    #[error("step {place}: the statement of {label} is not sent: {reason}")]
    Refused {
        /// The step, counted from 1.
        place: usize,
        /// Whose statement.
        label: String,
        /// What the model does not know.
        reason: String,
    },
    /// The stage could not be put back.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The connections failed.
    #[error(transparent)]
    Wires(#[from] WiresError),
    /// The provider's HTTP server failed.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// It stops a statement in the middle.
    #[error(
        "step {place} stops a statement in the middle, where the server can't be made to stop it; `deadheat run` sends such statements at once, many times"
    )]
    Stops {
        /// The first such step, counted from 1.
        place: usize,
    },
}

/// How long the victim of a deadlock waits before it looks for one, and how long anything may take; one attempt each.
/// In the last one everybody looks, because the server may also end a wait by rearranging its queues.
const ATTEMPTS: [(&str, &str, Duration); 4] = [
    ("60ms", NEVER, Duration::from_secs(2)),
    ("300ms", NEVER, Duration::from_secs(4)),
    ("2s", NEVER, Duration::from_secs(10)),
    ("100ms", "100ms", Duration::from_secs(5)),
];

/// Runs a schedule on the server and compares it with the model, which behaves as the server's release does.
///
/// # Errors
/// When the schedule does not fit the system, or the server is gone.
pub fn conduct(stage: &mut Stage, system: &System, schedule: &Schedule) -> Result<Conducted, ConductError> {
    let system = &system.on_release(stage.release);
    let rehearsal = Rehearsal::of(system, schedule)?;
    match rehearsal.stops_at() {
        Some(place) if rehearsal.way(stage) == stops::Way::Provoked => Err(ConductError::Stops { place }),
        _ => perform(stage, system, &rehearsal),
    }
}

/// A schedule as the model went through it, which is on the server's release.
pub(super) struct Rehearsal(Vec<Record>);

impl Rehearsal {
    /// Goes through a schedule in the model.
    ///
    /// # Errors
    /// When the schedule does not fit the system.
    pub(super) fn of(system: &System, schedule: &Schedule) -> Result<Rehearsal, Misfit> {
        // For the check of the fingerprint.
        system.replay(schedule)?;
        Ok(Rehearsal(rehearse(system, system.initial(), &schedule.steps, 1)?))
    }

    /// The first step, counted from 1, that stops a statement in the middle.
    pub(super) fn stops_at(&self) -> Option<usize> {
        let stops = self.0.iter().position(|record| !record.step.stops.is_empty());
        stops.map(|place| place + 1)
    }

    /// How it can be brought about.
    pub(super) fn way(&self, stage: &Stage) -> stops::Way {
        stops::way(&self.0, stage.tables())
    }

    /// Its steps.
    pub(super) fn records(&self) -> &[Record] {
        &self.0
    }

    /// Whether nothing can happen after it.
    pub(super) fn ends(&self, system: &System) -> bool {
        match self.0.last() {
            Some(record) => system.is_final(&record.after),
            None => system.is_final(&system.initial()),
        }
    }

    /// Whether it passes a step where the server could go another way: what comes of it may differ from run to run.
    pub(super) fn passes_a_race(&self) -> bool {
        self.0.iter().any(|record| record.open)
    }
}

/// Runs a schedule that was rehearsed.
///
/// # Errors
/// When the server is gone.
pub(super) fn perform(stage: &mut Stage, system: &System, rehearsal: &Rehearsal) -> Result<Conducted, ConductError> {
    if rehearsal.stops_at().is_none() {
        return attempts(stage, system, rehearsal, None);
    }
    stage.reset()?;
    let mut gates = Gates::build(stage)?;
    let conducted = attempts(stage, system, rehearsal, Some(&mut gates));
    stage.reset()?;
    gates.take_away(stage)?;
    conducted
}

fn attempts(
    stage: &mut Stage,
    system: &System,
    rehearsal: &Rehearsal,
    mut gates: Option<&mut Gates>,
) -> Result<Conducted, ConductError> {
    let initial = system.initial();
    let mut followed: Option<(usize, Vec<Schedule>)> = None;
    let mut hung = None;
    for attempt in ATTEMPTS {
        if let Some(gates) = &gates {
            gates.open_all(stage.wires())?;
        }
        stage.reset()?;
        if let Some(gates) = &mut gates {
            gates.stand(stage)?;
        }
        stage.provide(initial.world.services.get(PROVIDER))?;
        let mut conductor = Conductor {
            stage: &mut *stage,
            system,
            attempt,
            plan: Plan::of(Cow::Borrowed(&rehearsal.0)),
            lines: vec![Line {
                steps: Vec::new(),
                state: initial.clone(),
                aliases: Aliases::default(),
            }],
            left_at: None,
            clocks: BTreeMap::new(),
            sent: BTreeMap::new(),
            gates: gates.as_deref(),
        };
        match conductor.run() {
            Ok(None) => return Ok(Conducted::Agreed),
            Ok(Some((place, steps))) => {
                let fingerprint = system.spec().fingerprint();
                let schedule = Schedule { fingerprint, steps };
                let (first, schedules) = followed.get_or_insert_with(|| (place, Vec::new()));
                *first = (*first).min(place);
                if !schedules.contains(&schedule) {
                    schedules.push(schedule);
                }
            }
            Err(Halt::Misfit(misfit)) => return Err(misfit.into()),
            Err(Halt::Wires(error)) => return Err(error.into()),
            Err(Halt::Gateway(error)) => return Err(error.into()),
            Err(Halt::Refused { place, label, reason }) => {
                return Err(ConductError::Refused { place, label, reason });
            }
            Err(Halt::Differs { divergence, hangs }) => {
                if !hangs {
                    return Ok(Conducted::Differs(divergence));
                }
                hung = Some(divergence);
            }
        }
    }
    Ok(match (followed, hung) {
        (Some((place, schedules)), _) => Conducted::Followed { place, schedules },
        (None, Some(divergence)) => Conducted::Differs(divergence),
        (None, None) => Conducted::Agreed,
    })
}

enum Halt {
    Differs {
        divergence: Divergence,
        /// The server does not get there; it might with other timeouts.
        hangs: bool,
    },
    Refused {
        place: usize,
        label: String,
        reason: String,
    },
    Misfit(Misfit),
    Wires(WiresError),
    Gateway(GatewayError),
}

impl From<Misfit> for Halt {
    fn from(misfit: Misfit) -> Self {
        Halt::Misfit(misfit)
    }
}

impl From<WiresError> for Halt {
    fn from(error: WiresError) -> Self {
        Halt::Wires(error)
    }
}

impl From<GatewayError> for Halt {
    fn from(error: GatewayError) -> Self {
        Halt::Gateway(error)
    }
}

/// What is still to come.
struct Plan<'a> {
    records: Cow<'a, [Record]>,
    next: usize,
    victims: Vec<(usize, Pid)>,
}

impl<'a> Plan<'a> {
    fn of(records: Cow<'a, [Record]>) -> Self {
        Plan {
            victims: victims(&records),
            records,
            next: 0,
        }
    }

    fn rest(&self) -> Vec<Step> {
        let rest = self.records.iter().skip(self.next + 1);
        rest.map(|record| record.step.clone()).collect()
    }
}

/// A run of the model that agrees with everything that the server has answered so far.
struct Line {
    steps: Vec<Step>,
    state: State,
    /// What the server made up, as this run knows it.
    aliases: Aliases,
}

struct Conductor<'a> {
    stage: &'a mut Stage,
    system: &'a System,
    attempt: (&'static str, &'static str, Duration),
    plan: Plan<'a>,
    /// Never empty. The plan goes on from the first.
    lines: Vec<Line>,
    /// The first step, counted from 1, where the server left the schedule.
    left_at: Option<usize>,
    /// The virtual time that each process's session knows.
    clocks: BTreeMap<Pid, i64>,
    /// The statement that each process sent last.
    sent: BTreeMap<Pid, Sql>,
    /// What stops statements in the middle, where the schedule does.
    gates: Option<&'a Gates>,
}

impl Conductor<'_> {
    /// Runs the plan. Where the server left it: at which step, and the steps as they were followed.
    fn run(&mut self) -> Result<Option<(usize, Vec<Step>)>, Halt> {
        while let Some(planned) = self.plan.records.get(self.plan.next).cloned() {
            let ways = self.ways(&planned);
            let index = self.lines.first().map_or(0, |line| line.steps.len());
            let mut agreeing = self.step(index, &ways)?;
            let as_planned = agreeing.contains_key(&0);
            let mut lines: Vec<Line> = Vec::new();
            for (place, (line, record)) in ways.into_iter().enumerate() {
                let Some(aliases) = agreeing.remove(&place) else {
                    continue;
                };
                if lines
                    .iter()
                    .all(|known| known.state != record.after || known.aliases != aliases)
                {
                    let mut steps = self.lines.get(line).map_or_else(Vec::new, |line| line.steps.clone());
                    steps.push(record.step);
                    lines.push(Line {
                        steps,
                        state: record.after,
                        aliases,
                    });
                }
            }
            self.lines = lines;
            match as_planned {
                true => self.plan.next += 1,
                false => self.leave(index + 1)?,
            }
        }
        self.final_rows()?;
        let steps = self.lines.first().map(|line| line.steps.clone()).unwrap_or_default();
        Ok(self.left_at.map(|place| (place, steps)))
    }

    /// Every way that this step can go, with its line: the plan's own first.
    fn ways(&self, planned: &Record) -> Vec<(usize, Record)> {
        if self.lines.len() == 1 && !planned.open {
            return vec![(0, planned.clone())];
        }
        let enabled = |line: &&(usize, &Line)| self.system.is_enabled(&line.1.state, planned.step.action);
        let lines = self.lines.iter().enumerate().filter(|line| enabled(&line));
        let ways = lines.flat_map(|(place, line)| {
            let ways = ways(self.system, &line.state, &planned.step);
            ways.into_iter().map(move |record| (place, record))
        });
        ways.collect()
    }

    /// The server went another way than the plan's: there is a new one from here.
    fn leave(&mut self, place: usize) -> Result<(), Halt> {
        self.left_at.get_or_insert(place);
        let Some(line) = self.lines.first() else { return Ok(()) };
        let steps = go_on(self.system, &line.state, &self.plan.rest());
        let records = rehearse(self.system, line.state.clone(), &steps, place + 1)?;
        self.plan = Plan::of(Cow::Owned(records));
        Ok(())
    }

    /// Takes a step that can go these ways, each of a line; which of them agree with the server, and what it made up there.
    fn step(&mut self, index: usize, ways: &[(usize, Record)]) -> Result<BTreeMap<usize, Aliases>, Halt> {
        let Some((_, first)) = ways.first() else {
            return Ok(BTreeMap::new());
        };
        let known = |line: &usize| self.lines.get(*line).map(|line| line.aliases.clone());
        let mut live: Vec<Way<'_>> = ways
            .iter()
            .enumerate()
            .map(|(place, (line, record))| Way::of(place, record, known(line).unwrap_or_default()))
            .collect();
        self.stage.advance(first.moment())?;
        if let Some((pid, sql)) = first.sent() {
            let waits = live.iter().any(|way| way.waits_at_first(pid)) || !first.step.stops.is_empty();
            refuse(index, first, pid, sql)?;
            self.close_gate(first)?;
            self.send(&live[0], waits, pid, sql)?;
        }
        if let (Some(gates), Some(pid)) = (self.gates, stops::goes_on(first)) {
            let place = self.stage.place(pid)?;
            gates.give_way(self.stage.wires(), place)?;
        }
        self.provider(index, first)?;
        // Those who close without a statement under way: nothing has to be awaited.
        let may_end: BTreeSet<Pid> = live.iter().flat_map(|way| way.ended.keys().copied()).collect();
        for (pid, by_force) in live[0].closed.clone() {
            if !may_end.contains(&pid) {
                self.close(pid, by_force)?;
            }
        }
        let start = Instant::now();
        let mut over: BTreeSet<Pid> = BTreeSet::new();
        let mut rests = 0;
        loop {
            let open: BTreeSet<Pid> = live.iter().flat_map(|way| way.ended.keys().copied()).collect();
            for pid in open.difference(&over.clone()) {
                let place = self.stage.place(*pid)?;
                if !self.stage.wires().finishes_within(place, Duration::from_millis(1))? {
                    continue;
                }
                let answer = self.stage.wires().answer(place)?;
                over.insert(*pid);
                rests = 0;
                self.hear(index, *pid, &answer, &mut live)?;
                if let Some(by_force) = live.first().and_then(|way| way.closed.get(pid).copied()) {
                    self.close(*pid, by_force)?;
                }
            }
            if live.iter().all(|way| way.ended.len() == over.len()) {
                break;
            }
            // In some ways that was all, in others more would end. It does not once everybody who is under way is blocked.
            let settled = live.iter().find(|way| way.ended.len() == over.len());
            if let Some(way) = settled {
                rests = if self.is_at_rest(way.record)? { rests + 1 } else { 0 };
                // Asked twice: the server looks at one session after the other.
                if rests == 2 {
                    live.retain(|way| way.ended.len() == over.len());
                    break;
                }
            }
            if start.elapsed() > self.attempt.2
                && let Some(pid) = live
                    .iter()
                    .flat_map(|way| way.ended.keys())
                    .find(|pid| !over.contains(pid))
            {
                let label = label(first, *pid);
                let difference =
                    format!("the model says that the statement of {label} ends; on the server it still runs or waits");
                return Err(told(index, first, difference, true));
            }
        }
        for way in &live {
            self.confirm_waits(index, way.record)?;
        }
        self.confirm_gate(index, first)?;
        Ok(live.into_iter().map(|way| (way.place, way.aliases)).collect())
    }

    /// Sees to it that the statement that is sent next stops where the step stops it.
    fn close_gate(&mut self, record: &Record) -> Result<(), Halt> {
        let Some((pid, gate)) = stops::gate(record, self.stage.tables()) else {
            return Ok(());
        };
        if let Some(gates) = self.gates {
            let place = self.stage.place(pid)?;
            gates.close(self.stage.wires(), place, &gate)?;
        }
        Ok(())
    }

    /// Waits until the statement has come to its gate.
    fn confirm_gate(&mut self, index: usize, record: &Record) -> Result<(), Halt> {
        let (Some(gates), Some((pid, _))) = (self.gates, stops::gate(record, self.stage.tables())) else {
            return Ok(());
        };
        let place = self.stage.place(pid)?;
        let difference = match gates.reached(self.stage.wires(), place)? {
            Reached::Gate => return Ok(()),
            Reached::Blocked(_) => "waits before it",
            Reached::End => "has ended",
        };
        let label = label(record, pid);
        let difference =
            format!("the model says that the statement of {label} stops in the middle; on the server it {difference}");
        Err(told(index, record, difference, true))
    }

    /// Keeps the ways that agree with an answer.
    fn hear(&mut self, index: usize, pid: Pid, answer: &Answer, live: &mut Vec<Way<'_>>) -> Result<(), Halt> {
        let mut differences = Vec::new();
        live.retain_mut(|way| {
            let difference = match way.ended.get(&pid).copied() {
                None => Some(waits_but(answer)),
                Some(Some(result)) if !is_lost(result) => {
                    let answer = way.read(result, answer);
                    difference(result, &answer, &self.strictness(way.record, pid, result))
                }
                Some(_) => None,
            };
            if let Some(difference) = &difference {
                differences.push((way.record, difference.clone()));
            }
            difference.is_none()
        });
        match differences.into_iter().next() {
            Some((record, difference)) if live.is_empty() => Err(told(
                index,
                record,
                format!("{}: {difference}", label(record, pid)),
                false,
            )),
            _ => Ok(()),
        }
    }

    /// Whether everybody who waits in the model is blocked on the server.
    fn is_at_rest(&mut self, record: &Record) -> Result<bool, Halt> {
        let mut places = Vec::new();
        for pid in record.blocked() {
            places.extend(self.stage.known(pid));
        }
        Ok(self.stage.wires().all_blocked(&places)?)
    }

    fn send(&mut self, way: &Way<'_>, waits: bool, pid: Pid, sql: &Sql) -> Result<(), Halt> {
        let record = way.record;
        self.stage.note(&sql.text);
        let place = self.stage.place(pid)?;
        let now = record.before.world.now;
        // now() is the time at which the transaction started.
        if self.clocks.get(&pid) != Some(&now) {
            if record.before.world.database.in_transaction(pid) {
                let statement = literal(&Value::Timestamp(now));
                self.set(place, &format!("SET deadheat.statement = {statement}"))?;
            } else {
                self.clocks.insert(pid, now);
                let greeting = self.stage.greeting(pid, now)?;
                self.set(place, &greeting)?;
            }
        }
        if waits {
            let (victim, others, _) = self.attempt;
            let timeout = if self.plan.victims.contains(&(self.plan.next, pid)) {
                victim
            } else {
                others
            };
            self.set(place, &format!("SET deadlock_timeout = '{timeout}'"))?;
        }
        self.sent.insert(pid, sql.clone());
        let text = way.aliases.write(translate(&substitute(sql)).into_owned());
        self.stage.wires().launch(place, &text);
        Ok(())
    }

    /// Sends the step's call to the provider over its socket, and tells it what it learns in other ways.
    fn provider(&mut self, index: usize, record: &Record) -> Result<(), Halt> {
        let Some(gateway) = self.stage.gateway() else {
            return Ok(());
        };
        let now = record.before.world.now;
        for event in &record.events {
            match event {
                Event::Clock { now } => gateway.advance(*now),
                Event::Faulted {
                    pid,
                    fault: Fault::Crash,
                } => gateway.disconnected(*pid, now),
                _ => {}
            }
        }
        let Some((pid, call)) = record.called() else {
            return Ok(());
        };
        let said = gateway.call(pid, call, record.is_in_use(pid), now)?;
        match record.answer(pid) {
            Some(expected) if *expected != said => {
                let difference =
                    format!("the model's provider says {expected:?}; the one behind the socket says {said:?}");
                Err(told(
                    index,
                    record,
                    format!("{}: {difference}", label(record, pid)),
                    false,
                ))
            }
            _ => Ok(()),
        }
    }

    fn set(&mut self, place: usize, sql: &str) -> Result<(), Halt> {
        self.stage.wires().launch(place, sql);
        // Without the privilege to set it, the server's own choice of a victim stands.
        self.stage.wires().answer(place)?;
        Ok(())
    }

    fn close(&mut self, pid: Pid, by_force: bool) -> Result<(), Halt> {
        self.clocks.remove(&pid);
        if by_force {
            self.stage.kill(pid)?
        } else {
            self.stage.leave(pid)?
        }
        Ok(())
    }

    fn confirm_waits(&mut self, index: usize, record: &Record) -> Result<(), Halt> {
        for pid in record.blocked() {
            let Some(place) = self.stage.known(pid) else {
                continue;
            };
            if self.stage.wires().finished_or_blocked(place)?.is_none() {
                let difference = waits_but(&self.stage.wires().answer(place)?);
                return Err(told(
                    index,
                    record,
                    format!("{}: {difference}", label(record, pid)),
                    false,
                ));
            }
        }
        Ok(())
    }

    fn strictness(&self, record: &Record, pid: Pid, result: &Result<Rows, SqlError>) -> Strictness {
        let ties = match (result, self.sent.get(&pid)) {
            (Ok(rows), Some(sql)) => {
                let just_sent = record.sent().is_some_and(|(who, _)| who == pid);
                let waited = record
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Woken { pid: who, .. } if *who == pid));
                let asked = Asked {
                    before: Some(&record.before.world.database).filter(|_| just_sent && !waited),
                    pid,
                    sql,
                    now: record.before.world.now,
                };
                ties(&asked, rows)
            }
            _ => Vec::new(),
        };
        Strictness {
            messages: self.stage.major == 15,
            ties,
        }
    }

    /// Compares the final rows with each line and keeps those that agree.
    fn final_rows(&mut self) -> Result<(), Halt> {
        let tables = self.stage.rows();
        let differs = |line: &Line| {
            provider_differs(self.stage, &line.state).or_else(|| rows_differ(&tables, &line.state, &line.aliases))
        };
        let differences: Vec<Option<String>> = self.lines.iter().map(differs).collect();
        let place = self.lines.first().map_or(0, |line| line.steps.len());
        let Some(agreeing) = differences.iter().position(Option::is_none) else {
            let divergence = Divergence {
                place: place + 1,
                step: None,
                difference: differences.into_iter().flatten().next().unwrap_or_default(),
            };
            return Err(Halt::Differs {
                divergence,
                hangs: false,
            });
        };
        if agreeing > 0 {
            self.left_at.get_or_insert(place);
            self.lines.drain(..agreeing);
        }
        Ok(())
    }
}

/// One way that a step can go, with what it should show.
struct Way<'a> {
    place: usize,
    record: &'a Record,
    ended: BTreeMap<Pid, Option<&'a Result<Rows, SqlError>>>,
    closed: BTreeMap<Pid, bool>,
    /// What the server made up, as this way knows it.
    aliases: Aliases,
}

impl<'a> Way<'a> {
    fn of(place: usize, record: &'a Record, aliases: Aliases) -> Self {
        Way {
            place,
            record,
            ended: record.ended(),
            closed: record.closed(),
            aliases,
        }
    }

    /// The server's answer with the model's values for what the server made up.
    fn read(&mut self, result: &Result<Rows, SqlError>, answer: &Answer) -> Answer {
        let mut answer = answer.clone();
        if let (Ok(rows), Some(told)) = (result, answer.results.last_mut()) {
            let database = &self.record.after.world.database;
            self.aliases.read(&cells(rows), told, &|text| database.made_up(text));
        }
        answer
    }

    /// Whether the statement that was just sent waits, if only for a time.
    fn waits_at_first(&self, pid: Pid) -> bool {
        let mut events = self.record.events.iter();
        events.any(|event| matches!(event, Event::Blocked { pid: who, .. } if *who == pid))
    }
}

/// What the model does not know is never sent, nor is anything prepared for it.
fn refuse(index: usize, record: &Record, pid: Pid, sql: &Sql) -> Result<(), Halt> {
    match record.refusal(pid, sql) {
        None => Ok(()),
        Some(reason) => Err(Halt::Refused {
            place: index + 1,
            label: label(record, pid),
            reason,
        }),
    }
}

fn told(index: usize, record: &Record, difference: String, hangs: bool) -> Halt {
    let divergence = Divergence {
        place: index + 1,
        step: Some(record.step.clone()),
        difference,
    };
    Halt::Differs { divergence, hangs }
}

fn waits_but(answer: &Answer) -> String {
    let said = match (&answer.error, answer.results.last()) {
        (Some(error), _) => error.to_string(),
        (None, Some(rows)) => format!("{} rows (count {})", rows.rows.len(), rows.affected),
        (None, None) => "nothing".to_owned(),
    };
    format!("the model says it waits; the server says {said}")
}

fn label(record: &Record, pid: Pid) -> String {
    let process = record.after.processes.get(&pid);
    process.map_or_else(|| pid.to_string(), |process| process.label.to_string())
}
