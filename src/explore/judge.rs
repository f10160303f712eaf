//! Invariants and outcomes, asked once for each state of affairs that they look at.
//!
//! What an invariant looks at is noted while it looks. Two states that are equal in all that it ever looked at get the same answer, because an
//! invariant is a function of what it sees.

use std::collections::HashMap;
use std::sync::Arc;

use super::digest::{TakenState, placed};
use super::parts::{CLOCK, DATABASE, FAULTS, PROCESSES, Parts, Pools, SERVICES};
use crate::system::{Outcome, Reads, State, System, When};

/// Answers, by what was looked at.
#[derive(Debug)]
struct Memory<T> {
    looked_at: u8,
    answers: HashMap<u128, T, TakenState>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Memory {
            looked_at: 0,
            answers: HashMap::default(),
        }
    }
}

/// Judges states. Each thread has its own.
pub(super) struct Judge<'a> {
    system: &'a System,
    parts: &'a Parts,
    invariants: Vec<Memory<bool>>,
    outcomes: Memory<Arc<Outcome>>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(system: &'a System, parts: &'a Parts) -> Self {
        let invariants = system.spec().invariants.iter().map(|_| Memory::default());
        Judge {
            system,
            parts,
            invariants: invariants.collect(),
            outcomes: Memory::default(),
        }
    }

    /// The places of the invariants that a state breaks.
    pub(super) fn broken(&mut self, row: &[u32], at_end: bool, into: &mut Vec<u16>) {
        let mut built: Option<State> = None;
        let pools = self.parts.read();
        for (place, invariant) in self.system.spec().invariants.iter().enumerate() {
            if invariant.when() == When::Finally && !at_end {
                continue;
            }
            let memory = &mut self.invariants[place];
            let known = memory.looked_at != 0;
            let answer = known.then(|| memory.answers.get(&projection(&pools, row, memory.looked_at)).copied());
            let broken = answer.flatten().unwrap_or_else(|| {
                let state = built.get_or_insert_with(|| pools.state(row));
                let reads = Reads::default();
                let broken = invariant.check(&self.system.view(state).noting(&reads)).is_err();
                remember(memory, &pools, row, &reads, broken);
                broken
            });
            if broken {
                into.push(place as u16);
            }
        }
    }

    /// The outcome of a final state.
    pub(super) fn outcome(&mut self, row: &[u32]) -> Arc<Outcome> {
        let pools = self.parts.read();
        let memory = &mut self.outcomes;
        if let Some(outcome) = memory.answers.get(&projection(&pools, row, memory.looked_at)) {
            return outcome.clone();
        }
        let state = pools.state(row);
        let reads = Reads::default();
        let outcome = Arc::new(Outcome::of(&self.system.view(&state).noting(&reads)));
        remember(memory, &pools, row, &reads, outcome.clone());
        outcome
    }

    /// Everything that invariants which must always hold have looked at.
    pub(super) fn looked_at(&self) -> u8 {
        let all = self.system.spec().invariants.iter().zip(&self.invariants);
        let always = all.filter(|(invariant, _)| invariant.when() == When::Always);
        always.fold(0, |all, (_, memory)| all | memory.looked_at)
    }
}

fn remember<T>(memory: &mut Memory<T>, pools: &Pools, row: &[u32], reads: &Reads, answer: T) {
    let all = memory.looked_at | reads.all();
    if all != memory.looked_at {
        memory.looked_at = all;
        memory.answers.clear();
    }
    memory.answers.insert(projection(pools, row, all), answer);
}

/// The digest of the looked-at parts of a state.
fn projection(pools: &Pools, row: &[u32], looked_at: u8) -> u128 {
    let mut sum = 0_u128;
    let mut add = |place: u64, value: u128| sum = sum.wrapping_add(placed(place, value));
    if looked_at & Reads::DATABASE != 0 {
        add(0, row[DATABASE].into());
    }
    if looked_at & Reads::SERVICES != 0 {
        add(1, row[SERVICES].into());
    }
    if looked_at & Reads::REST != 0 {
        add(2, row[CLOCK].into());
        add(3, row[FAULTS].into());
    }
    let by_process = Reads::PROCESSES | Reads::EXCHANGES | Reads::STATUSES;
    if looked_at & by_process != 0 {
        for (place, number) in row
            .iter()
            .enumerate()
            .skip(PROCESSES)
            .filter(|(_, number)| **number != 0)
        {
            let place = place as u64;
            let known = pools.processes.get(*number);
            if looked_at & Reads::PROCESSES != 0 {
                add(place, (*number).into());
            }
            if looked_at & Reads::EXCHANGES != 0 {
                add((1 << 32) + place, known.exchange);
            }
            if looked_at & Reads::STATUSES != 0 {
                add((2 << 32) + place, known.status);
            }
        }
    }
    sum
}
