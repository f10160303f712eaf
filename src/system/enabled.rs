//! Which steps are enabled in a state.

use super::process::{Process, Role, Status};
use super::step::{Action, Fault};
use super::{State, System};
use crate::machine::{Effect, Pid, Sql};

impl System {
    /// Everything that can happen next, in a fixed order: processes by identity, each one's own step before its faults, then
    /// the clock.
    pub fn enabled(&self, state: &State) -> Vec<Action> {
        let mut actions = Vec::new();
        for (pid, process) in &state.processes {
            if self.can_run(state, process) {
                actions.push(Action::Run(*pid));
            }
            for (fault, _) in state.faults.allowed() {
                if can_fault(state, *pid, process, fault) {
                    actions.push(Action::Fault(*pid, fault));
                }
            }
        }
        if self.can_tick(state) {
            actions.push(Action::Tick);
        }
        actions
    }

    /// Whether an action is enabled.
    pub fn is_enabled(&self, state: &State, action: Action) -> bool {
        match action {
            Action::Run(pid) => state
                .processes
                .get(&pid)
                .is_some_and(|process| self.can_run(state, process)),
            Action::Fault(pid, fault) => {
                state.faults.left(fault) > 0
                    && state
                        .processes
                        .get(&pid)
                        .is_some_and(|process| can_fault(state, pid, process, fault))
            }
            Action::Tick => self.can_tick(state),
        }
    }

    /// The next moment at which something happens by itself, after now.
    pub fn next_deadline(&self, state: &State) -> Option<i64> {
        let now = state.world.now;
        let sleepers = state.processes.values().filter_map(|process| match process.status {
            Status::Sleeping(until) if until < Effect::IDLE => Some(until),
            _ => None,
        });
        let services = state
            .world
            .services
            .values()
            .filter_map(|service| service.get().next_deadline(now));
        sleepers
            .chain(services)
            .chain(state.world.database.next_wakeup())
            .filter(|moment| *moment > now)
            .min()
    }

    /// Whether the clock can move on; or, when nothing else can happen, those that slept until then can be woken.
    fn can_tick(&self, state: &State) -> bool {
        let idle = |process: &Process| process.status == Status::Sleeping(Effect::IDLE);
        self.next_deadline(state).is_some()
            || state.processes.values().any(|process| idle(process))
                && !state.processes.values().any(|process| self.can_run(state, process))
    }

    fn can_run(&self, state: &State, process: &Process) -> bool {
        match &process.status {
            Status::Ready(Effect::Call(call)) => state
                .world
                .services
                .get(&call.service)
                .is_none_or(|service| service.get().ready(call, state.world.now)),
            Status::Ready(_) | Status::Arriving { .. } | Status::Stopped { .. } => true,
            Status::Awaiting { answer, .. } => answer.is_some(),
            Status::Blocked { .. } | Status::Sleeping(_) | Status::Orphaned | Status::Finished | Status::Crashed => {
                false
            }
        }
    }
}

fn can_fault(state: &State, pid: Pid, process: &Process, fault: Fault) -> bool {
    match fault {
        Fault::Timeout => matches!(process.status, Status::Awaiting { .. }),
        Fault::Crash => process.is_alive() && matches!(process.role, Role::Handler | Role::Worker),
        Fault::LostReply => match process.pending() {
            Some(Effect::Sql(sql)) => {
                let session = pid.session(sql.session).unwrap_or(pid);
                outlives_connection(sql) || !state.world.database.in_transaction(session) && !opens(sql)
            }
            Some(Effect::Call(_)) => true,
            _ => false,
        },
        Fault::Disconnect => matches!(process.pending(), Some(Effect::Sql(_))),
        Fault::Duplicate => process.role == Role::Courier && matches!(process.pending(), Some(Effect::Send(_))),
        Fault::LostRequest => matches!(process.pending(), Some(Effect::Send(_))),
        Fault::Outage => matches!(process.pending(), Some(Effect::Call(_))),
    }
}

/// Whether the statement ends a transaction for good, so that losing its reply leaves the process in doubt.
fn outlives_connection(sql: &Sql) -> bool {
    first_word(sql).is_some_and(|word| word.eq_ignore_ascii_case("commit") || word.eq_ignore_ascii_case("end"))
}

/// Whether the statement changes nothing that outlives the connection, so that losing its reply is the same as losing the
/// connection before it.
fn opens(sql: &Sql) -> bool {
    const HARMLESS: [&str; 8] = [
        "begin",
        "start",
        "rollback",
        "abort",
        "savepoint",
        "release",
        "set",
        "show",
    ];
    first_word(sql).is_some_and(|word| HARMLESS.iter().any(|harmless| word.eq_ignore_ascii_case(harmless)))
        || is_plain_select(sql)
}

fn is_plain_select(sql: &Sql) -> bool {
    first_word(sql).is_some_and(|word| word.eq_ignore_ascii_case("select")) && !sql.text.contains('(')
}

fn first_word(sql: &Sql) -> Option<&str> {
    sql.text
        .split(|letter: char| !letter.is_ascii_alphabetic())
        .find(|word| !word.is_empty())
}
