//! Acts: what can happen in a run, and which of it must keep its order.

use std::rc::Rc;

use smallvec::SmallVec;

use super::moves::{Expansion, Move, Moves, apply};
use super::parts::{CLOCK, Parts, Row};
use crate::machine::Pid;
use crate::system::{Action, Footprint, Step, System};

/// Something that happens in a run: a step, or the run's end, after which no fault can happen.
#[derive(Debug)]
pub(super) struct Act {
    /// The number of the step, by which acts are told apart; 0 is the end.
    number: u32,
    /// Whose step it is; `None` is the clock, or nobody.
    pid: Option<Pid>,
    footprint: Footprint,
    /// Whether it happens by itself, unlike a fault.
    pub(super) is_due: bool,
    /// Whether it is possible only when nothing else is but faults, so that it has its place among all others: the end, and the clock's step that
    /// wakes who is idle.
    is_alone: bool,
}

impl Act {
    fn end() -> Self {
        Act {
            number: 0,
            pid: None,
            footprint: Footprint::default(),
            is_due: true,
            is_alone: true,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.number == 0
    }

    /// Whether the two are the same step.
    pub(super) fn is(&self, other: &Act) -> bool {
        self.number == other.number
    }

    /// Whether the order of the two matters.
    pub(super) fn conflicts(&self, other: &Act) -> bool {
        self.pid == other.pid || self.is_alone || other.is_alone || self.footprint.conflicts(&other.footprint)
    }
}

/// An act on a run.
pub(super) struct Event {
    pub(super) act: Rc<Act>,
    /// How many of the events that must come before it do so one after the other.
    pub(super) level: u32,
    /// The events that must come before it, as bits.
    needed: SmallVec<[u64; 4]>,
}

impl Event {
    /// The act as an event at the end of a run.
    pub(super) fn after(run: &[Event], act: Rc<Act>) -> Self {
        let mut level = 0;
        let mut needed = SmallVec::from_elem(0, run.len().div_ceil(64));
        for (place, event) in run.iter().enumerate() {
            if event.act.conflicts(&act) {
                level = level.max(event.level + 1);
                needed[place / 64] |= 1 << (place % 64);
                for (word, more) in needed.iter_mut().zip(&event.needed) {
                    *word |= more;
                }
            }
        }
        Event { act, level, needed }
    }

    /// Whether the event at a place must come before this one.
    pub(super) fn needs(&self, place: usize) -> bool {
        let word = self.needed.get(place / 64);
        word.is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
}

/// The acts of a system, each made once.
pub(super) struct Acts<'a> {
    parts: &'a Parts,
    moves: Moves<'a>,
    /// By the number of the move.
    known: Vec<Option<Rc<Act>>>,
    end: Rc<Act>,
    expansion: Expansion,
}

impl<'a> Acts<'a> {
    pub(super) fn new(system: &'a System, parts: &'a Parts) -> Self {
        Acts {
            parts,
            moves: Moves::with_footprints(system, parts),
            known: Vec::new(),
            end: Rc::new(Act::end()),
            expansion: Expansion::default(),
        }
    }

    /// The step that an act is.
    pub(super) fn step(&self, act: &Act) -> Option<Step> {
        (!act.is_end()).then(|| self.parts.read().steps.get(act.number).clone())
    }

    /// Everything that can happen in a state, in a fixed order, and where it leads; the end of the run, which leads nowhere else, if nothing is due.
    pub(super) fn possible(&mut self, row: &[u32]) -> Vec<(Rc<Act>, Row)> {
        self.moves.expand(row, &mut self.expansion);
        let mut all = Vec::with_capacity(self.expansion.moves.len() + 1);
        let after = |made: &Move| {
            let mut after = Row::new();
            apply(row, made, &mut after);
            after
        };
        for number in &self.expansion.moves {
            let made = self.moves.get(*number);
            let at = *number as usize;
            if self.known.len() <= at {
                self.known.resize(at + 1, None);
            }
            let act = self.known[at].get_or_insert_with(|| Rc::new(act(made, self.parts)));
            all.push((act.clone(), after(made)));
        }
        let ticks = self.expansion.ticks.iter();
        all.extend(ticks.map(|made| (Rc::new(act(made, self.parts)), after(made))));
        if self.expansion.is_final {
            all.push((self.end.clone(), row.into()));
        }
        all
    }

    /// The state after an act, if it is possible.
    pub(super) fn after(&mut self, row: &[u32], act: &Act) -> Option<Row> {
        let mut all = self.possible(row).into_iter();
        all.find_map(|(possible, after)| possible.is(act).then_some(after))
    }
}

fn act(made: &Move, parts: &Parts) -> Act {
    let pools = parts.read();
    let step = pools.steps.get(made.step);
    let moves_the_clock = made.changes.iter().any(|(place, _)| usize::from(*place) == CLOCK);
    Act {
        number: made.step,
        pid: step.pid(),
        footprint: made.footprint.as_deref().cloned().unwrap_or_default(),
        is_due: step.fault().is_none(),
        is_alone: step.action == Action::Tick && !moves_the_clock,
    }
}
