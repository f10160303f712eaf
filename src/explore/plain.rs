//! The explorer without any cleverness: breadth-first over whole states. What the real one is checked against.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::options::Options;
use super::verdict::{
    Bounds, Counterexample, Driver, Evidence, Finding, Inside, Judged, Limit, Reached, Stats, Verdict,
};
use crate::system::{Breach, Event, Outcome, Schedule, State, Step, System};

/// Visits every state by cloning and hashing it whole. Ignores all reductions of the options.
pub fn brute_force(system: &System, options: &Options) -> Finding {
    let started = Instant::now();
    let mut search = Search::new(system);
    let stopped = search.run(options, started);
    search.finding(stopped, started)
}

struct Search<'a> {
    system: &'a System,
    known: FxHashMap<Arc<State>, usize>,
    states: Vec<(Arc<State>, usize, Option<Step>, u32)>,
    queue: VecDeque<usize>,
    broken: BTreeMap<Arc<str>, (usize, Breach)>,
    outcomes: BTreeMap<Outcome, (u64, usize, Vec<Arc<str>>)>,
    transitions: u64,
    finals: u64,
    refused: Option<Arc<str>>,
}

impl<'a> Search<'a> {
    fn new(system: &'a System) -> Self {
        let mut search = Search {
            system,
            known: FxHashMap::default(),
            states: Vec::new(),
            queue: VecDeque::new(),
            broken: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            transitions: 0,
            finals: 0,
            refused: None,
        };
        search.add(system.initial(), 0, None, 0);
        search
    }

    fn run(&mut self, options: &Options, started: Instant) -> Option<Limit> {
        while let Some(place) = self.queue.pop_front() {
            if let Some(limit) = options.max_states
                && self.states.len() as u64 > limit
            {
                return Some(Limit::States(limit));
            }
            if let Some(limit) = options.max_time
                && started.elapsed() > limit
            {
                return Some(Limit::Seconds(limit.as_secs()));
            }
            let (state, _, _, depth) = self.states[place].clone();
            for (step, next, taken) in self.system.successors(&state) {
                self.transitions += 1;
                self.note_refusal(&taken.events);
                self.add(next, place, Some(step), depth + 1);
            }
        }
        None
    }

    fn note_refusal(&mut self, events: &[Event]) {
        for event in events {
            if let Event::Refused { reason, .. } = event {
                self.refused.get_or_insert_with(|| reason.clone());
            }
        }
    }

    fn add(&mut self, state: State, from: usize, step: Option<Step>, depth: u32) {
        if self.known.contains_key(&state) {
            return;
        }
        let place = self.states.len();
        let state = Arc::new(state);
        let is_final = self.system.is_final(&state);
        let breaches = self.system.breaches(&state, is_final);
        if is_final {
            self.finals += 1;
            let names: Vec<Arc<str>> = breaches.iter().map(|breach| breach.invariant.clone()).collect();
            let seen = self
                .outcomes
                .entry(self.system.outcome(&state))
                .or_insert((0, place, Vec::new()));
            seen.0 += 1;
            seen.2.extend(names);
        }
        for breach in breaches {
            self.broken.entry(breach.invariant.clone()).or_insert((place, breach));
        }
        self.known.insert(state.clone(), place);
        self.states.push((state, from, step, depth));
        self.queue.push_back(place);
    }

    fn schedule(&self, mut place: usize) -> Schedule {
        let mut steps = Vec::new();
        while let (_, from, Some(step), _) = &self.states[place] {
            steps.push(step.clone());
            place = *from;
        }
        steps.reverse();
        Schedule {
            fingerprint: self.system.spec().fingerprint(),
            steps,
        }
    }

    fn finding(&self, stopped: Option<Limit>, started: Instant) -> Finding {
        let spec = self.system.spec();
        let unbroken = if stopped.is_some() {
            Verdict::Unknown
        } else {
            Verdict::Held
        };
        let judged = spec.invariants.iter().map(|invariant| {
            let broken = self.broken.get(invariant.name());
            let counterexample = broken.map(|(place, breach)| Counterexample {
                schedule: self.schedule(*place),
                breach: breach.clone(),
                decisive: None,
                shortest: true,
            });
            Judged::of(invariant.name(), counterexample, unbroken)
        });
        let invariants: Vec<Judged> = judged.collect();
        let verdict = invariants.iter().fold(unbroken, |all, one| all.and(one.verdict));
        let outcomes = self.outcomes.iter().map(|(outcome, (count, place, breaks))| {
            let mut breaks = breaks.clone();
            breaks.sort();
            breaks.dedup();
            Reached {
                outcome: outcome.clone(),
                count: *count,
                witness: Some(self.schedule(*place)),
                breaks,
            }
        });
        let depth = self.states.last().map_or(0, |(_, _, _, depth)| u64::from(*depth));
        Finding {
            driver: Driver::Explore,
            assumptions: Vec::new(),
            verdict: if self.refused.is_some() {
                Verdict::Error
            } else {
                verdict
            },
            evidence: stopped.map_or(Evidence::Exhausted, |limit| Evidence::Truncated { limit }),
            reason: self
                .refused
                .as_ref()
                .map(|reason| reason.to_string())
                .or_else(|| Finding::unjudged(&invariants))
                .or_else(|| stopped.map(|limit| format!("stopped at {limit}"))),
            invariants,
            outcomes: outcomes.collect(),
            bounds: Bounds::of(spec),
            stats: Stats {
                states: self.states.len() as u64,
                transitions: self.transitions,
                schedules: 0,
                finals: self.finals,
                depth,
                inside: Inside::Untold,
                waits: false,
                seconds: started.elapsed().as_secs_f64(),
            },
            warnings: Vec::new(),
            unforced: Vec::new(),
        }
    }
}
