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
//! Where the server itself may go several ways (several waiters race for a row, say) it cannot be made to go the model's
//! way. If it goes another one, the schedule is run again, a few times; then it counts as not forced, not as a difference.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::aliases::Aliases;
use super::compare::{Strictness, cells, difference, tell_row};
use super::gateway::GatewayError;
use super::literal::{literal, substitute};
use super::stage::{NEVER, Stage, StageError};
use super::translate::translate;
use super::wire::WiresError;
use crate::machine::service::{Answer, Call};
use crate::machine::{Effect, NoAnswer, Pid, Reply, Rows, Sql, SqlError, SqlState};
use crate::system::{Event, Fault, Misfit, Schedule, State, Status, Step, System};
use crate::value::Value;
use crate::world::provider::PROVIDER;
use crate::world::service::Provided;

/// How a schedule went on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conducted {
    /// Every reply, wait, wake-up and final row was the model's.
    Agreed,
    /// The server went one of the other ways that are open to it at that step, and did so again when asked again.
    NotForced {
        /// The step, counted from 1.
        place: usize,
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
}

/// How long the victim of a deadlock waits before it looks for one, and how long anything may take; one attempt each.
/// In the last one everybody looks, because the server may also end a wait by rearranging its queues.
const ATTEMPTS: [(&str, &str, Duration); 4] = [
    ("60ms", NEVER, Duration::from_secs(2)),
    ("300ms", NEVER, Duration::from_secs(4)),
    ("2s", NEVER, Duration::from_secs(10)),
    ("100ms", "100ms", Duration::from_secs(5)),
];

/// How long a step may take in which the server could go another way: it hangs when it did.
const RACE: Duration = Duration::from_millis(700);

/// Runs a schedule on the server and compares it with the model, which behaves as the server's release does.
///
/// # Errors
/// When the schedule does not fit the system, or the server is gone.
pub fn conduct(stage: &mut Stage, system: &System, schedule: &Schedule) -> Result<Conducted, ConductError> {
    let system = &system.on_release(stage.release);
    perform(stage, system, &rehearse(system, schedule)?)
}

/// Runs a schedule that was rehearsed.
///
/// # Errors
/// When the server is gone.
pub(super) fn perform(stage: &mut Stage, system: &System, rehearsal: &Rehearsal) -> Result<Conducted, ConductError> {
    let records = &rehearsal.0;
    let initial = system.initial();
    let mut last = Conducted::Agreed;
    for attempt in ATTEMPTS {
        stage.reset()?;
        stage.provide(initial.world.services.get(PROVIDER))?;
        let mut conductor = Conductor {
            stage: &mut *stage,
            attempt,
            victims: victims(records),
            clocks: BTreeMap::new(),
            aliases: Aliases::default(),
        };
        last = match conductor.run(system, records) {
            Ok(()) => return Ok(Conducted::Agreed),
            Err(Halt::Wires(error)) => return Err(error.into()),
            Err(Halt::Gateway(error)) => return Err(error.into()),
            Err(Halt::Refused { place, label, reason }) => {
                return Err(ConductError::Refused { place, label, reason });
            }
            Err(Halt::Differs {
                place,
                difference,
                hangs,
            }) => {
                let step = records.get(place - 1);
                if step.is_some_and(|record| record.open) {
                    Conducted::NotForced { place }
                } else {
                    let differs = Conducted::Differs(Divergence {
                        place,
                        step: step.map(|record| record.step.clone()),
                        difference,
                    });
                    if !hangs {
                        return Ok(differs);
                    }
                    differs
                }
            }
        };
    }
    Ok(last)
}

/// A step as the model took it.
struct Record {
    step: Step,
    events: Vec<Event>,
    before: State,
    after: State,
    /// Whether the server could go another way.
    open: bool,
}

impl Record {
    /// The world's moment in which it happens.
    fn moment(&self) -> i64 {
        let moved = self.events.iter().find_map(|event| match event {
            Event::Clock { now } => Some(*now),
            _ => None,
        });
        moved.unwrap_or(self.before.world.now)
    }

    /// What the model does not know of a message, all of it: also of a part that it has not come to in this step.
    fn refusal(&self, pid: Pid, sql: &Sql) -> Option<String> {
        if let Err(refused) = self.before.world.database.check(&sql.text) {
            return Some(refused.to_string());
        }
        self.events.iter().find_map(|event| match event {
            Event::Refused { pid: who, reason } if *who == pid => Some(reason.to_string()),
            _ => None,
        })
    }

    /// The statement that was sent in this step.
    fn sent(&self) -> Option<(Pid, &Sql)> {
        self.events.iter().find_map(|event| match event {
            Event::Did {
                pid,
                effect: Effect::Sql(sql),
                ..
            } => Some((*pid, sql)),
            _ => None,
        })
    }

    /// The call to the provider that was made in this step.
    fn called(&self) -> Option<(Pid, &Call)> {
        self.events.iter().find_map(|event| match event {
            Event::Did {
                pid,
                effect: Effect::Call(call),
                ..
            } if &*call.service == PROVIDER => Some((*pid, call)),
            _ => None,
        })
    }

    /// The answer that is on its way to a process; `None` where the schedule loses it.
    fn answer(&self, pid: Pid) -> Option<&Result<Answer, NoAnswer>> {
        let lost = |event: &Event| {
            matches!(
                event,
                Event::Faulted {
                    fault: Fault::LostReply,
                    ..
                }
            )
        };
        match self.status(pid) {
            Some(Status::Arriving(Reply::Service(answer))) if !self.events.iter().any(lost) => Some(answer),
            _ => None,
        }
    }

    /// The statements that ended in this step, with what the model says; `None` where nobody is left to hear it.
    fn ended(&self) -> BTreeMap<Pid, Option<&Result<Rows, SqlError>>> {
        let mut ended = BTreeMap::new();
        for event in &self.events {
            match event {
                Event::Did {
                    pid,
                    effect: Effect::Sql(_),
                    reply: Some(Reply::Sql(result)),
                }
                | Event::Woken {
                    pid,
                    reply: Reply::Sql(result),
                } => {
                    ended.insert(*pid, Some(result));
                }
                _ => {}
            }
        }
        for (pid, process) in &self.before.processes {
            if process.status == Status::Orphaned && self.status(*pid) == Some(&Status::Crashed) {
                ended.insert(*pid, None);
            }
        }
        ended
    }

    fn status(&self, pid: Pid) -> Option<&Status> {
        self.after.processes.get(&pid).map(|process| &process.status)
    }

    /// Whose connection the model closed, and whether by force.
    fn closed(&self) -> BTreeMap<Pid, bool> {
        let mut closed = BTreeMap::new();
        for event in &self.events {
            match event {
                Event::Ended { pid } => {
                    closed.entry(*pid).or_insert(false);
                }
                Event::Faulted {
                    pid,
                    fault: Fault::Disconnect,
                } => {
                    closed.insert(*pid, true);
                }
                Event::Faulted {
                    pid,
                    fault: Fault::Crash,
                } if self.status(*pid) != Some(&Status::Orphaned) => {
                    closed.insert(*pid, true);
                }
                _ => {}
            }
        }
        for (pid, result) in self.ended() {
            if result.is_none_or(is_lost) {
                closed.insert(pid, true);
            }
        }
        closed
    }

    /// Processes whose statement waits after this step.
    fn waiting(&self) -> impl Iterator<Item = Pid> {
        let waits = |status: &Status| matches!(status, Status::Blocked { .. } | Status::Orphaned);
        let processes = self.after.processes.iter();
        processes
            .filter(move |(_, process)| waits(&process.status))
            .map(|(pid, _)| *pid)
    }
}

fn is_lost(result: &Result<Rows, SqlError>) -> bool {
    matches!(result, Err(error) if error.code == SqlState::CONNECTION_FAILURE)
}

/// A schedule as the model went through it, which is on the server's release.
pub(super) struct Rehearsal(Vec<Record>);

impl Rehearsal {
    /// Whether it passes a step where the server could go another way. It cannot be made to go there, so that what comes of such a
    /// schedule may differ from run to run.
    pub(super) fn passes_a_race(&self) -> bool {
        self.0.iter().any(|record| record.open)
    }
}

/// Goes through a schedule in the model.
///
/// # Errors
/// When the schedule does not fit the system.
pub(super) fn rehearse(system: &System, schedule: &Schedule) -> Result<Rehearsal, Misfit> {
    // For the check of the fingerprint.
    system.replay(schedule)?;
    let mut state = system.initial();
    let mut records = Vec::new();
    for (place, step) in schedule.steps.iter().enumerate() {
        let before = state.clone();
        let events = system.replay_step(&mut state, step, place + 1)?;
        records.push(Record {
            step: step.clone(),
            events,
            open: is_open(system, &before, step),
            before,
            after: state.clone(),
        });
    }
    Ok(Rehearsal(records))
}

fn is_open(system: &System, before: &State, step: &Step) -> bool {
    let mut ways = Vec::new();
    system.outcomes(before, step.action, &mut ways);
    ways.len() > 1
}

/// The statements whose sessions are victims of deadlocks: the step that sends it, and the process.
fn victims(records: &[Record]) -> Vec<(usize, Pid)> {
    let mut sent = BTreeMap::new();
    let mut victims = Vec::new();
    for (place, record) in records.iter().enumerate() {
        if let Some((pid, _)) = record.sent() {
            sent.insert(pid, place);
        }
        for (pid, result) in record.ended() {
            if let Some(Err(error)) = result
                && error.code == SqlState::DEADLOCK_DETECTED
                && let Some(start) = sent.get(&pid)
            {
                victims.push((*start, pid));
            }
        }
    }
    victims
}

enum Halt {
    Differs {
        place: usize,
        difference: String,
        /// The server does not get there; it might with other timeouts.
        hangs: bool,
    },
    Refused {
        place: usize,
        label: String,
        reason: String,
    },
    Wires(WiresError),
    Gateway(GatewayError),
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

struct Conductor<'a> {
    stage: &'a mut Stage,
    attempt: (&'static str, &'static str, Duration),
    victims: Vec<(usize, Pid)>,
    /// The virtual time that each process's session knows.
    clocks: BTreeMap<Pid, i64>,
    /// What the server made up, as the model knows it.
    aliases: Aliases,
}

impl Conductor<'_> {
    fn run(&mut self, system: &System, records: &[Record]) -> Result<(), Halt> {
        for (index, record) in records.iter().enumerate() {
            self.step(index, record)?;
        }
        let state = match records.last() {
            Some(record) => record.after.clone(),
            None => system.initial(),
        };
        self.final_rows(records.len() + 1, &state)
    }

    fn step(&mut self, index: usize, record: &Record) -> Result<(), Halt> {
        self.stage.advance(record.moment())?;
        let mut closed = record.closed();
        let mut ended = record.ended();
        if let Some((pid, sql)) = record.sent() {
            self.send(index, record, pid, sql)?;
        }
        self.provider(index, record)?;
        // Those who close without a statement under way: nothing has to be awaited.
        let at_once: Vec<Pid> = closed.keys().filter(|pid| !ended.contains_key(pid)).copied().collect();
        for pid in at_once {
            self.close(pid, closed.remove(&pid).unwrap_or_default())?;
        }
        let start = Instant::now();
        while !ended.is_empty() {
            for pid in ended.keys().copied().collect::<Vec<_>>() {
                let place = self.stage.place(pid)?;
                if !self.stage.wires().finishes_within(place, Duration::from_millis(1))? {
                    continue;
                }
                let mut answer = self.stage.wires().answer(place)?;
                if let Some(Some(Ok(rows))) = ended.get(&pid)
                    && let Some(told) = answer.results.last_mut()
                {
                    let made_up = |text: &str| record.after.world.database.made_up(text);
                    self.aliases.read(&cells(rows), told, &made_up);
                }
                if let Some(Some(result)) = ended.remove(&pid)
                    && !is_lost(result)
                    && let Some(difference) = difference(result, &answer, self.strictness(record, pid))
                {
                    return Err(self.differs(index, pid, record, difference));
                }
                if let Some(by_force) = closed.remove(&pid) {
                    self.close(pid, by_force)?;
                }
            }
            let patience = if record.open {
                RACE.min(self.attempt.2)
            } else {
                self.attempt.2
            };
            if start.elapsed() > patience
                && let Some(pid) = ended.keys().next()
            {
                let label = label(record, *pid);
                return Err(Halt::Differs {
                    place: index + 1,
                    difference: format!(
                        "the model says that the statement of {label} ends; on the server it still runs or waits"
                    ),
                    hangs: true,
                });
            }
        }
        self.confirm_waits(index, record)
    }

    fn send(&mut self, index: usize, record: &Record, pid: Pid, sql: &Sql) -> Result<(), Halt> {
        if let Some(reason) = record.refusal(pid, sql) {
            let label = label(record, pid);
            return Err(Halt::Refused {
                place: index + 1,
                label,
                reason,
            });
        }
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
        let waits = record
            .events
            .iter()
            .any(|event| matches!(event, Event::Blocked { pid: who, .. } if *who == pid));
        if waits {
            let (victim, others, _) = self.attempt;
            let timeout = if self.victims.contains(&(index, pid)) {
                victim
            } else {
                others
            };
            self.set(place, &format!("SET deadlock_timeout = '{timeout}'"))?;
        }
        let text = self.aliases.write(translate(&substitute(sql)).into_owned());
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
        let said = gateway.call(pid, call, now)?;
        match record.answer(pid) {
            Some(expected) if *expected != said => {
                let difference =
                    format!("the model's provider says {expected:?}; the one behind the socket says {said:?}");
                Err(self.differs(index, pid, record, difference))
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
        for pid in record.waiting() {
            // Asleep rather than blocked: its own time will end it.
            if record.after.world.database.blockers(pid).is_empty() {
                continue;
            }
            let Some(place) = self.stage.known(pid) else {
                continue;
            };
            if self.stage.wires().finished_or_blocked(place)?.is_none() {
                let answer = self.stage.wires().answer(place)?;
                let said = match (&answer.error, answer.results.last()) {
                    (Some(error), _) => error.to_string(),
                    (None, Some(rows)) => format!("{} rows (count {})", rows.rows.len(), rows.affected),
                    (None, None) => "nothing".to_owned(),
                };
                return Err(self.differs(
                    index,
                    pid,
                    record,
                    format!("the model says it waits; the server says {said}"),
                ));
            }
        }
        Ok(())
    }

    fn strictness(&self, record: &Record, pid: Pid) -> Strictness {
        let sql = record
            .before
            .processes
            .get(&pid)
            .and_then(|process| match process.pending() {
                Some(Effect::Sql(sql)) => Some(sql.text.to_ascii_lowercase()),
                _ => None,
            });
        Strictness {
            messages: self.stage.major == 15,
            order: sql.is_some_and(|sql| sql.contains("order by")),
        }
    }

    fn differs(&self, index: usize, pid: Pid, record: &Record, difference: String) -> Halt {
        Halt::Differs {
            place: index + 1,
            difference: format!("{}: {difference}", label(record, pid)),
            hangs: false,
        }
    }

    fn final_rows(&mut self, place: usize, state: &State) -> Result<(), Halt> {
        if let Some(gateway) = self.stage.gateway()
            && let Some(model) = state.world.services.get(PROVIDER)
            && gateway.provider() != *model
        {
            let tables = |provider: &Provided| format!("{:?}", provider.get().tables());
            return Err(Halt::Differs {
                place,
                difference: format!(
                    "the model's provider has {}; the one behind the socket has {}",
                    tables(model),
                    tables(&gateway.provider())
                ),
                hangs: false,
            });
        }
        for (table, rows) in self.stage.rows() {
            let Some(mut rows) = rows else { continue };
            let query = Sql::new(format!("SELECT * FROM {table}"));
            let difference = match state.world.database.query(&query, &[]) {
                Ok(model) => {
                    let made_up = |text: &str| state.world.database.made_up(text);
                    self.aliases.read(&cells(&model), &mut rows, &made_up);
                    let (mut ours, mut theirs) = (cells(&model), rows.rows);
                    ours.sort();
                    theirs.sort();
                    let shown = |rows: &[Vec<_>]| rows.iter().map(|row| tell_row(row)).collect::<Vec<_>>().join(", ");
                    (ours != theirs).then(|| {
                        format!(
                            "{table}: the model has {}; the server has {}",
                            shown(&ours),
                            shown(&theirs)
                        )
                    })
                }
                Err(error) => Some(format!("{table}: the model says {error}")),
            };
            if let Some(difference) = difference {
                return Err(Halt::Differs {
                    place,
                    difference,
                    hangs: false,
                });
            }
        }
        Ok(())
    }
}

fn label(record: &Record, pid: Pid) -> String {
    let process = record.after.processes.get(&pid);
    process.map_or_else(|| pid.to_string(), |process| process.label.to_string())
}
