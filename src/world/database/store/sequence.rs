//! Sequences: numbers are handed out at once and never given back, whatever becomes of the transaction.

use super::Store;
use super::footprint::{AccessKind, Resource};
use super::free_slot;

/// A sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u16);

/// Its state, as `SELECT last_value, is_called` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sequence {
    last: i64,
    is_called: bool,
}

impl Store {
    /// A new sequence whose first value is `first`. Not transactional.
    pub fn create_sequence(&mut self, first: i64) -> SequenceId {
        let (slot, id) = free_slot(&mut self.sequences);
        *slot = Some(Sequence {
            last: first,
            is_called: false,
        });
        SequenceId(id)
    }

    /// Removes a sequence.
    pub fn drop_sequence(&mut self, sequence: SequenceId) {
        if let Some(slot) = self.sequences.get_mut(usize::from(sequence.0)) {
            *slot = None;
        }
        super::trim(&mut self.sequences);
    }

    /// The next value, `by` after the last. Bounds are not modelled: a sequence wraps at the ends of `bigint`.
    pub fn nextval(&mut self, sequence: SequenceId, by: i64) -> i64 {
        self.note(Resource::Sequence(sequence), AccessKind::Write);
        let Some(Some(state)) = self.sequences.get_mut(usize::from(sequence.0)) else {
            return 0;
        };
        if state.is_called {
            state.last = state.last.wrapping_add(by);
        }
        state.is_called = true;
        state.last
    }

    /// `setval`: with `is_called`, the next value comes after `value`; without, it is `value`.
    pub fn setval(&mut self, sequence: SequenceId, value: i64, is_called: bool) {
        self.note(Resource::Sequence(sequence), AccessKind::Write);
        if let Some(Some(state)) = self.sequences.get_mut(usize::from(sequence.0)) {
            *state = Sequence { last: value, is_called };
        }
    }

    /// The last value and whether it was handed out.
    pub fn sequence(&self, sequence: SequenceId) -> (i64, bool) {
        match self.sequences.get(usize::from(sequence.0)) {
            Some(Some(state)) => (state.last, state.is_called),
            _ => (0, false),
        }
    }
}
