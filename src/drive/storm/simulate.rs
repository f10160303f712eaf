//! The discrete-event simulation: of everything that can happen, what is due first happens first.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::shape::{Storm, of};
use crate::machine::{Pid, Usual};
use crate::system::{Action, Breach, Event, Fault, Outcome, Schedule, State, Status, Step, System};

/// A storm that was let loose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// The run.
    pub schedule: Schedule,
    /// What it breaks, and after how many steps; each invariant once.
    pub broken: Vec<(usize, Breach)>,
    /// What it ends in; `None` if it had too many steps.
    pub outcome: Option<Outcome>,
    /// SQL that the model does not know.
    pub refused: Option<Arc<str>>,
}

/// Lets a storm loose on a system. A function of the two.
pub fn simulate(system: &System, storm: &Storm, max_steps: usize) -> Simulated {
    let mut weather = Weather {
        system,
        storm,
        state: system.initial(),
        now: 0,
        due: BTreeMap::new(),
        waits: BTreeMap::new(),
        taken: BTreeMap::new(),
        steps: Vec::new(),
        broken: Vec::new(),
        refused: None,
    };
    let ended = weather.pass(max_steps);
    Simulated {
        schedule: Schedule {
            fingerprint: system.spec().fingerprint(),
            steps: weather.steps,
        },
        broken: weather.broken,
        outcome: ended.then(|| system.outcome(&weather.state)),
        refused: weather.refused,
    }
}

struct Weather<'a> {
    system: &'a System,
    storm: &'a Storm,
    state: State,
    now: i64,
    /// When each process that can go on does.
    due: BTreeMap<Pid, i64>,
    /// Since when each process that awaits a response has.
    waits: BTreeMap<Pid, i64>,
    /// How many steps each process has taken.
    taken: BTreeMap<Pid, usize>,
    steps: Vec<Step>,
    broken: Vec<(usize, Breach)>,
    refused: Option<Arc<str>>,
}

impl Weather<'_> {
    /// Whether the run came to its end.
    fn pass(&mut self, max_steps: usize) -> bool {
        self.check();
        let mut strikes = self.storm.strikes.clone();
        strikes.sort();
        let mut strikes = strikes.into_iter().peekable();
        while self.steps.len() < max_steps {
            let enabled = self.system.enabled(&self.state);
            self.appoint(&enabled);
            let struck = strikes.next_if(|strike| usize::from(strike.after) <= self.steps.len());
            let possible = enabled
                .iter()
                .filter(|action| matches!(action, Action::Fault(_, fault) if *fault != Fault::Timeout));
            let possible: Vec<Action> = possible.copied().collect();
            if let Some(strike) = struck.filter(|_| !possible.is_empty()) {
                self.take(possible[usize::from(strike.which) % possible.len()]);
                continue;
            }
            let candidates = enabled.iter().filter_map(|action| Some((self.when(*action)?, *action)));
            match candidates.min() {
                Some((when, action)) => {
                    self.now = self.now.max(when);
                    self.take(action);
                }
                None => return true,
            }
        }
        false
    }

    /// Notes when what has just become possible will happen.
    fn appoint(&mut self, enabled: &[Action]) {
        let runnable = enabled.iter().filter_map(|action| match action {
            Action::Run(pid) => Some(*pid),
            _ => None,
        });
        let runnable: Vec<Pid> = runnable.collect();
        self.due.retain(|pid, _| runnable.contains(pid));
        for pid in runnable {
            if self.due.contains_key(&pid) {
                continue;
            }
            let taken = self.taken.get(&pid).copied().unwrap_or(0);
            let wait = match (pid.parent(), taken) {
                (None, 0) => of(&self.storm.arrivals, pid.top().into()),
                _ => 0,
            };
            // Neighbours in the tree of processes use neighbouring entries, so that one entry is not one statement's.
            let place = taken + pid.path().map(usize::from).sum::<usize>() * 5;
            self.due.insert(pid, self.now + wait + of(&self.storm.latencies, place));
        }
        let state = &self.state;
        let awaits = |pid: &Pid| {
            let process = state.processes.get(pid);
            process.is_some_and(|process| matches!(process.status, Status::Awaiting { .. }))
        };
        self.waits.retain(|pid, _| awaits(pid));
        for pid in state.processes.keys().filter(|pid| awaits(pid)) {
            self.waits.entry(*pid).or_insert(self.now);
        }
    }

    fn when(&self, action: Action) -> Option<i64> {
        match action {
            Action::Run(pid) => self.due.get(&pid).copied(),
            Action::Fault(pid, Fault::Timeout) => {
                let since = self.waits.get(&pid)?;
                Some(since + of(&self.storm.timeouts, pid.top().into()))
            }
            Action::Fault(..) => None,
            Action::Tick => {
                let start = self.system.spec().world.now;
                let deadline = self.system.next_deadline(&self.state);
                // Without a deadline the tick wakes those who sleep until nothing else can happen: now.
                Some(deadline.map_or(self.now, |deadline| deadline - start))
            }
        }
    }

    fn take(&mut self, action: Action) {
        let taken = self.system.take(&mut self.state, action, &mut Usual);
        let step = Step::new(action);
        if let Some(pid) = step.pid() {
            *self.taken.entry(pid).or_insert(0) += 1;
            self.due.remove(&pid);
            if let Action::Fault(pid, Fault::Timeout) = action {
                let backoff = of(&self.storm.backoffs, pid.top().into());
                self.waits.remove(&pid);
                self.due.insert(pid, self.now + backoff);
            }
        }
        self.steps.push(step);
        for event in taken.events {
            if let Event::Refused { reason, .. } = event {
                self.refused.get_or_insert(reason);
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let at_end = self.system.is_final(&self.state);
        for breach in self.system.breaches(&self.state, at_end) {
            if !self.broken.iter().any(|(_, known)| known.invariant == breach.invariant) {
                self.broken.push((self.steps.len(), breach));
            }
        }
    }
}
