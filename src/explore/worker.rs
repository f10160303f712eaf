//! One thread of a search: expands states, judges them, and says what it found.

use std::sync::Arc;

use super::judge::Judge;
use super::level::Level;
use super::moves::{Expansion, Move, Moves, apply};
use super::options::Deadline;
use super::parts::{PROCESSES, Parts, Row};
use super::symmetry::{Alike, Symmetry};
use super::visited::Visited;
use crate::machine::Renaming;
use crate::system::{Outcome, Reads, System};

/// One thread's tools.
pub(super) struct Worker<'a> {
    pub(super) moves: Moves<'a>,
    pub(super) judge: Judge<'a>,
    pub(super) expansion: Expansion,
    pub(super) reduction: bool,
    pub(super) looked_at: u8,
    pub(super) symmetry: Option<Symmetry<'a>>,
    pub(super) deadline: Deadline,
}

/// What a thread found in its share of a batch.
#[derive(Default)]
pub(super) struct Share {
    pub(super) found: Vec<Found>,
    pub(super) ticks: Vec<Move>,
    pub(super) transitions: u64,
    pub(super) broken: Vec<(u32, u16)>,
    pub(super) finals: Vec<Ended>,
    /// New states that are not simply what a move made of an old one.
    pub(super) sorted: Vec<Row>,
    pub(super) refused: Option<(u32, u32)>,
    /// The time was over before its end.
    pub(super) is_cut: bool,
}

/// A final state.
pub(super) struct Ended {
    pub(super) state: u32,
    pub(super) names: Option<Renaming>,
    pub(super) outcome: Arc<Outcome>,
    pub(super) broken: Vec<u16>,
}

/// A state that may be new.
pub(super) struct Found {
    pub(super) digest: u128,
    pub(super) from: u32,
    /// A number of [`Moves`], or of the share's ticks.
    pub(super) made: u32,
    pub(super) is_tick: bool,
    /// Its place among those that were sorted.
    pub(super) sorted: Option<u32>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        system: &'a System,
        parts: &'a Parts,
        alike: Option<&'a Alike>,
        reduction: bool,
        looked_at: u8,
    ) -> Self {
        Worker {
            symmetry: alike.map(|alike| Symmetry::new(alike, parts)),
            moves: Moves::new(system, parts),
            judge: Judge::new(system, parts),
            expansion: Expansion::default(),
            reduction,
            looked_at,
            deadline: Deadline::default(),
        }
    }

    pub(super) fn failed(&self) -> bool {
        self.symmetry.as_ref().is_some_and(|symmetry| symmetry.failed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.moves.bytes() + self.symmetry.as_ref().map_or(0, Symmetry::bytes)
    }

    /// Where a step leads from a row that was just expanded.
    pub(super) fn taken(&mut self, row: &[u32], digest: u128, step: u32) -> Option<(Row, u128)> {
        let numbers = self.expansion.moves.iter();
        let mut moves = numbers
            .map(|number| self.moves.get(*number))
            .chain(&self.expansion.ticks);
        let made = moves.find(|made| made.step == step)?;
        let (digest, sorted) = target(&mut self.symmetry, row, digest, made);
        let after = sorted.unwrap_or_else(|| {
            let mut after = Row::new();
            apply(row, made, &mut after);
            after
        });
        Some((after, digest))
    }

    /// What a final state shows when its roots are called so.
    pub(super) fn outcome(&mut self, row: &[u32], names: Option<&Renaming>) -> Option<Arc<Outcome>> {
        match (names, &mut self.symmetry) {
            (Some(names), Some(symmetry)) => {
                let (row, _) = symmetry.renamed(row, names)?;
                Some(self.judge.outcome(&row))
            }
            (None, None) => Some(self.judge.outcome(row)),
            _ => None,
        }
    }

    pub(super) fn expand(&mut self, level: &Level, start: usize, end: usize, visited: &Visited) -> Share {
        let mut share = Share::default();
        let mut broken = Vec::new();
        for place in start..end {
            if self.deadline.has_passed() {
                share.is_cut = true;
                break;
            }
            let row = level.row(place);
            let digest = level.digests[place];
            let state = level.number(place);
            self.moves.expand(row, &mut self.expansion);
            if let Some(symmetry) = &mut self.symmetry {
                symmetry.look_at(row);
            }
            let is_final = self.expansion.is_final;
            broken.clear();
            self.judge.broken(row, is_final, &mut broken);
            share.broken.extend(broken.iter().map(|invariant| (state, *invariant)));
            if is_final {
                self.end(state, row, &broken, &mut share);
            }
            let only = if self.reduction {
                self.private(row, digest, visited)
            } else {
                None
            };
            let all = 0..self.expansion.moves.len();
            let chosen = only.clone().unwrap_or(all);
            share.transitions += chosen.len() as u64;
            for number in &self.expansion.moves[chosen] {
                let made = self.moves.get(*number);
                if made.refused {
                    share.refused.get_or_insert((state, made.step));
                }
                let (digest, sorted) = target(&mut self.symmetry, row, digest, made);
                if !visited.contains(digest) {
                    share.found.push(Found {
                        digest,
                        from: state,
                        made: *number,
                        is_tick: false,
                        sorted: sorted.map(|row| keep(&mut share.sorted, row)),
                    });
                }
            }
            if only.is_none() {
                for made in self.expansion.ticks.drain(..) {
                    share.transitions += 1;
                    let (digest, sorted) = target(&mut self.symmetry, row, digest, &made);
                    share.found.push(Found {
                        digest,
                        from: state,
                        made: share.ticks.len() as u32,
                        is_tick: true,
                        sorted: sorted.map(|row| keep(&mut share.sorted, row)),
                    });
                    share.ticks.push(made);
                }
            }
        }
        share
    }

    /// Notes a final state, and all that differ from it only in who is who.
    fn end(&mut self, state: u32, row: &[u32], broken: &[u16], share: &mut Share) {
        let mut note = |row: &[u32], names| {
            share.finals.push(Ended {
                state,
                names,
                outcome: self.judge.outcome(row),
                broken: broken.to_vec(),
            });
        };
        match &mut self.symmetry {
            None => note(row, None),
            Some(symmetry) => {
                for (row, names) in symmetry.orbit(row) {
                    note(&row, Some(names));
                }
            }
        }
    }

    /// The one move that need not be put off: a process's only step, which nobody else can see, prevent or use.
    ///
    /// It commutes with every step of every other process, now and later, and no fault can meet the process before it. So every run to a final state has a
    /// twin that takes it first; and no invariant that must always hold can tell the states on the way apart, because it looks
    /// at nothing that the step changes. A state that is known already is no reason to put the others off (that could close a cycle).
    fn private(&mut self, row: &[u32], digest: u128, visited: &Visited) -> Option<std::ops::Range<usize>> {
        if self.looked_at & (Reads::PROCESSES | Reads::STATUSES) != 0 {
            return None;
        }
        for place in 0..self.expansion.groups.len() {
            let group = self.expansion.groups[place];
            if group.faulty || group.end != group.first + 1 {
                continue;
            }
            let made = self.moves.get(self.expansion.moves[group.first]);
            let is_private = made.private
                && !made.refused
                && (self.looked_at & Reads::EXCHANGES == 0 || !self.changes_exchange(row, made));
            if is_private && !visited.contains(target(&mut self.symmetry, row, digest, made).0) {
                return Some(group.first..group.end);
            }
        }
        None
    }

    fn changes_exchange(&self, row: &[u32], made: &Move) -> bool {
        let pools = self.moves.pools();
        made.changes.iter().any(|(place, number)| {
            let place = usize::from(*place);
            let old = row.get(place).copied().unwrap_or(0);
            let exchange = |number| pools.processes.get(number).exchange;
            place >= PROCESSES && (old == 0 || exchange(old) != exchange(*number))
        })
    }
}

fn keep(rows: &mut Vec<Row>, row: Row) -> u32 {
    rows.push(row);
    rows.len() as u32 - 1
}

/// The digest of the state that a move leads to from the row that was looked at last, and its row where that is not simply what the move makes of this one.
fn target(symmetry: &mut Option<Symmetry<'_>>, row: &[u32], digest: u128, made: &Move) -> (u128, Option<Row>) {
    let plain = digest.wrapping_add(made.digest);
    let Some(symmetry) = symmetry else {
        return (plain, None);
    };
    match symmetry.sorted_after(row, made) {
        None => (plain, None),
        Some((sorted, digest)) => (digest, Some(sorted)),
    }
}
