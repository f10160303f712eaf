//! The states of one level of a search, as rows with their digests.

/// States of one level.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) rows: Vec<u32>,
    pub(super) ends: Vec<usize>,
    pub(super) digests: Vec<u128>,
    /// The number of the first.
    pub(super) first: u32,
    /// The numbers of all, where they do not follow each other.
    pub(super) numbers: Vec<u32>,
}

impl Level {
    pub(super) fn push(&mut self, row: &[u32], digest: u128) {
        self.rows.extend_from_slice(row);
        self.ends.push(self.rows.len());
        self.digests.push(digest);
    }

    pub(super) fn row(&self, place: usize) -> &[u32] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.rows[start..self.ends[place]]
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Every `of`-th state, beginning with the `part`-th. The numbers of the others are not used.
    pub(super) fn part(&self, part: u32, of: u32) -> Level {
        let mut kept = Level {
            first: self.first,
            ..Level::default()
        };
        let first = part.saturating_sub(1) as usize;
        for place in (first..self.len()).step_by(of as usize) {
            kept.push(self.row(place), self.digests[place]);
            kept.numbers.push(self.number(place));
        }
        kept
    }

    /// The number of a state.
    pub(super) fn number(&self, place: usize) -> u32 {
        self.numbers.get(place).copied().unwrap_or(self.first + place as u32)
    }

    /// The place of a state.
    pub(super) fn place(&self, number: u32) -> usize {
        if self.numbers.is_empty() {
            (number - self.first) as usize
        } else {
            self.numbers.partition_point(|known| *known < number)
        }
    }

    /// An empty level; its first state will have this number.
    pub(super) fn beginning_at(first: usize) -> Level {
        Level {
            first: first as u32,
            ..Level::default()
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.rows.capacity() * 4 + self.ends.capacity() * 8 + self.digests.capacity() * 16) as u64
    }
}
