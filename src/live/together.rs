//! Schedules that were found with each request by itself, followed once more with all of them in one process.
//!
//! What the code keeps in memory (a static, a cache, a mutex, a pool) requests share in life, and not while they are learned one by one. Where that makes a
//! difference on one of these schedules, the race says so and nothing else: a verdict would be about other code.

use super::ask::{Over, Together};
use crate::drive::postgres::walks;
use crate::explore::{Evidence, Finding};
use crate::machine::{Effect, Machine, Program, Reply};
use crate::system::{Event, Fault, Schedule, System};

/// Outcomes whose schedules are followed, at most; the schedule of each broken promise is, too.
const OUTCOMES: usize = 16;

/// Schedules drawn at random that are followed.
const DRAWN: usize = 16;

/// The same ones every time.
const SEED: u64 = 11;

/// What came of following schedules together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Company {
    /// Schedules that were followed to their end.
    pub(super) followed: u64,
    /// How the code does something else in company, and the schedule.
    pub(super) parted: Option<(String, Schedule)>,
}

/// Follows the schedules of a finding, and some more. `along` makes the same system with code that runs together.
pub(super) fn run(system: &System, finding: &Finding, along: impl Fn(&Together) -> System) -> Company {
    let mut schedules = finding.schedules(OUTCOMES);
    if finding.evidence == Evidence::Exhausted {
        // Every history is known then, and nothing is asked anew.
        schedules.extend(walks(system, SEED).take(DRAWN));
    }
    let mut company = Company::default();
    for (place, schedule) in schedules.iter().enumerate() {
        if schedules[..place].contains(schedule) {
            continue;
        }
        let together = Together::default();
        follow(&along(&together), schedule, &together);
        match together.over() {
            None => company.followed += 1,
            Some(Over::LeftOut) => {}
            Some(Over::Parted(how)) => {
                company.parted = Some((how, schedule.clone()));
                return company;
            }
        }
    }
    company
}

fn follow(system: &System, schedule: &Schedule, together: &Together) {
    let mut state = system.initial();
    for (place, step) in schedule.steps.iter().enumerate() {
        together.step(place + 1);
        let Ok(events) = system.replay_step(&mut state, step, place + 1) else {
            return;
        };
        for event in events {
            // The code of a process that has crashed is dropped with its machine. One that was started again has another one by now.
            if let Event::Faulted {
                pid,
                fault: Fault::Crash,
            } = event
                && let Some(process) = state.processes.get_mut(&pid)
                && !process.is_alive()
            {
                std::sync::Arc::make_mut(process).program = Program::new(Gone);
            }
        }
        if together.over().is_some() {
            return;
        }
    }
}

/// The machine of a process that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Gone;

impl Machine for Gone {
    fn step(&mut self, _reply: Reply) -> Effect {
        Effect::Done
    }
}
