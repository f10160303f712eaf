//! Schedules as the model goes through them, step by step: what each one should show on the server.

use std::collections::BTreeMap;

use super::walks::LONGEST;
use crate::machine::service::{Answer, Call};
use crate::machine::{Effect, NoAnswer, Pid, Reply, Rows, Sql, SqlError, SqlState};
use crate::system::{Action, Event, Fault, Misfit, State, Status, Step, System};
use crate::world::provider::{KEY_IN_USE, PROVIDER};

/// A step as the model took it.
#[derive(Clone)]
pub(super) struct Record {
    pub(super) step: Step,
    pub(super) events: Vec<Event>,
    pub(super) before: State,
    pub(super) after: State,
    /// Whether the server could go another way.
    pub(super) open: bool,
}

impl Record {
    /// The world's moment in which it happens.
    pub(super) fn moment(&self) -> i64 {
        let moved = self.events.iter().find_map(|event| match event {
            Event::Clock { now } => Some(*now),
            _ => None,
        });
        moved.unwrap_or(self.before.world.now)
    }

    /// What the model does not know of a message, all of it: also of a part that it has not come to in this step.
    pub(super) fn refusal(&self, pid: Pid, sql: &Sql) -> Option<String> {
        if let Err(refused) = self.before.world.database.check(&sql.text) {
            return Some(refused.to_string());
        }
        self.events.iter().find_map(|event| match event {
            Event::Refused { pid: who, reason } if *who == pid => Some(reason.to_string()),
            _ => None,
        })
    }

    /// The statement that was sent in this step.
    pub(super) fn sent(&self) -> Option<(Pid, &Sql)> {
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
    pub(super) fn called(&self) -> Option<(Pid, &Call)> {
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
    pub(super) fn answer(&self, pid: Pid) -> Option<&Result<Answer, NoAnswer>> {
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
            Some(Status::Arriving {
                reply: Reply::Service(answer),
                ..
            }) if !self.events.iter().any(lost) => Some(answer),
            _ => None,
        }
    }

    /// Whether the provider answers that another request with the call's key is still being executed.
    pub(super) fn is_in_use(&self, pid: Pid) -> bool {
        matches!(self.answer(pid), Some(Ok(Answer::Refused { code, .. })) if &**code == KEY_IN_USE)
    }

    /// The statements that ended in this step, with what the model says; `None` where nobody is left to hear it.
    pub(super) fn ended(&self) -> BTreeMap<Pid, Option<&Result<Rows, SqlError>>> {
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

    pub(super) fn status(&self, pid: Pid) -> Option<&Status> {
        self.after.processes.get(&pid).map(|process| &process.status)
    }

    /// Whose connection the model closed, and whether by force.
    pub(super) fn closed(&self) -> BTreeMap<Pid, bool> {
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

    /// Processes whose statement waits for another process after this step. Who is asleep is woken by its own time.
    pub(super) fn blocked(&self) -> impl Iterator<Item = Pid> {
        let waits = |status: &Status| matches!(status, Status::Blocked { .. } | Status::Orphaned);
        let processes = self.after.processes.iter();
        processes
            .filter(move |(_, process)| waits(&process.status))
            .map(|(pid, _)| *pid)
            .filter(|pid| !self.after.world.database.blockers(*pid).is_empty())
    }
}

pub(super) fn is_lost(result: &Result<Rows, SqlError>) -> bool {
    matches!(result, Err(error) if error.code == SqlState::CONNECTION_FAILURE)
}

/// Goes through steps in the model, from a state.
///
/// # Errors
/// When a step does not fit; steps are counted from `first`.
pub(super) fn rehearse(system: &System, mut state: State, steps: &[Step], first: usize) -> Result<Vec<Record>, Misfit> {
    let mut records = Vec::new();
    for (place, step) in steps.iter().enumerate() {
        let before = state.clone();
        let events = system.replay_step(&mut state, step, first + place)?;
        records.push(Record {
            step: step.clone(),
            events,
            open: is_open(system, &before, step),
            before,
            after: state.clone(),
        });
    }
    Ok(records)
}

fn is_open(system: &System, before: &State, step: &Step) -> bool {
    ways(system, before, step).len() > 1
}

/// Every way in which the server can go in a step, the one that `step` says first. Where a statement is stopped, and what a service answers, is the
/// schedule's choice and not the server's: all of them have that in common.
pub(super) fn ways(system: &System, before: &State, step: &Step) -> Vec<Record> {
    let mut all = Vec::new();
    system.outcomes(before, step.action, &mut all);
    let process = step.pid().and_then(|pid| before.processes.get(&pid));
    let calls = process.is_some_and(|process| matches!(process.pending(), Some(Effect::Call(_))));
    all.retain(|(way, ..)| way.stops == step.stops && (!calls || way.branch == step.branch));
    let open = all.len() > 1;
    let records = all.into_iter().map(|(step, after, taken)| Record {
        step,
        events: taken.events,
        before: before.clone(),
        after,
        open,
    });
    let (mut planned, others): (Vec<Record>, Vec<Record>) = records.partition(|record| record.step == *step);
    planned.extend(others);
    planned
}

/// How a run goes on that was led off its schedule: the rest of the schedule as far as it can still be taken, then to the end by a fixed
/// rule: whoever comes first in the order of processes, and the clock when nobody can run.
pub(super) fn go_on(system: &System, state: &State, rest: &[Step]) -> Vec<Step> {
    let mut state = state.clone();
    let mut steps = Vec::new();
    for step in rest {
        if system.is_enabled(&state, step.action) {
            steps.push(take(system, &mut state, step));
        }
    }
    while steps.len() < LONGEST {
        let enabled = system.enabled(&state);
        let runs = enabled.iter().find(|action| matches!(action, Action::Run(_)));
        let Some(action) = runs.or_else(|| enabled.iter().find(|action| **action == Action::Tick)) else {
            break;
        };
        steps.push(take(system, &mut state, &Step::new(*action)));
    }
    steps
}

/// Takes a step; the usual way where the world can't go the one that it says, without a stop where there is no such point.
fn take(system: &System, state: &mut State, step: &Step) -> Step {
    let mut records = ways(system, state, step);
    if records.is_empty() {
        records = ways(system, state, &Step::new(step.action));
    }
    match records.into_iter().next() {
        Some(record) => {
            *state = record.after;
            record.step
        }
        None => step.clone(),
    }
}

/// The statements whose sessions are victims of deadlocks: the step that sends it, and the process.
pub(super) fn victims(records: &[Record]) -> Vec<(usize, Pid)> {
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
