//! What a statement reads and takes, as far as another process could notice: the vocabulary of the points at which others can come between.
//!
//! Accesses are coarse on purpose: a table and not a row, an index and not a key. They decide only *where a statement may be stopped*, never what it
//! does; being coarse costs states, not answers.

/// Something that a statement reads, observes or takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// The statement's snapshot decides which rows of a table it sees.
    Read {
        /// The table.
        table: u16,
    },
    /// A commit makes what a transaction did to a table visible.
    Publish {
        /// The table.
        table: u16,
    },
    /// A row lock, also that of an UPDATE or DELETE.
    Row {
        /// The table.
        table: u16,
        /// The strength, from 0 (KEY SHARE) to 3 (UPDATE).
        strength: u8,
        /// Whether it waits for those in its way; otherwise it fails or skips.
        waits: bool,
    },
    /// An entry of a unique index.
    Key {
        /// The index.
        index: u16,
        /// Whether the key was drawn from a sequence or at random by the same statement, so that no other drawn key can equal it.
        drawn: bool,
        /// Whether ON CONFLICT has just looked for it. If somebody takes it meanwhile, the statement looks again: as if it had come later.
        probed: bool,
        /// Whether it waits without a limit of time.
        waits: bool,
    },
    /// An advisory lock.
    Advisory {
        /// Of the space of two four-byte keys.
        pair: bool,
        /// The key.
        key: i64,
        /// Shared.
        shared: bool,
        /// Whether it waits for those in its way; otherwise it returns false.
        waits: bool,
    },
    /// A table lock.
    Table {
        /// The table.
        table: u16,
        /// The mode, by its place among the eight.
        mode: u8,
        /// The modes that it conflicts with, as bits.
        against: u8,
        /// Whether it waits for those in its way; otherwise it fails.
        waits: bool,
    },
    /// A number drawn from a sequence.
    Sequence {
        /// The sequence.
        sequence: u16,
    },
    /// A transaction's number, given in the order in which they are asked for.
    Numbering,
    /// A serializable transaction marks what it read of a table.
    Mark {
        /// The table.
        table: u16,
    },
    /// A row of a table is written, which meets the marks of serializable readers.
    Write {
        /// The table.
        table: u16,
        /// A row that was not there before: nobody finds it by its keys until these are entered.
        fresh: bool,
    },
    /// A key was looked for among the rows of a table. Who is changing a row that has it is waited for, also where the key stays the same.
    Probe {
        /// The table.
        table: u16,
    },
    /// The statement looked at the clock.
    Clock,
    /// The clock moves on.
    Tick,
    /// A deadlock ended somebody's wait: so whoever waits may go on after all.
    Deadlock,
}

impl Access {
    /// Whether the order of the two can matter.
    pub fn conflicts(self, other: Access) -> bool {
        use Access::{Advisory, Clock, Key, Mark, Numbering, Probe, Publish, Read, Row, Sequence, Table, Tick, Write};
        match (self, other) {
            (Read { table: one }, Publish { table: two })
            | (Publish { table: one }, Read { table: two })
            | (Mark { table: one }, Write { table: two, .. })
            | (Write { table: one, .. }, Mark { table: two })
            | (
                Probe { table: one },
                Write {
                    table: two,
                    fresh: false,
                },
            )
            | (
                Write {
                    table: one,
                    fresh: false,
                },
                Probe { table: two },
            ) => one == two,
            (Sequence { sequence: one }, Sequence { sequence: two }) => one == two,
            (
                Row { table, strength, .. },
                Row {
                    table: of,
                    strength: other,
                    ..
                },
            ) => table == of && strength + other >= 3,
            (
                Key {
                    index, drawn, probed, ..
                },
                Key {
                    index: of,
                    drawn: other,
                    probed: also,
                    ..
                },
            ) => index == of && !(drawn && other) && !(probed || also),
            (
                Advisory { pair, key, shared, .. },
                Advisory {
                    pair: of,
                    key: other,
                    shared: also,
                    ..
                },
            ) => (pair, key) == (of, other) && !(shared && also),
            (
                Table { table, against, .. },
                Table {
                    table: of, mode: other, ..
                },
            ) => table == of && against & (1 << other) != 0,
            (Numbering, Numbering) | (Clock, Tick) | (Tick, Clock) => true,
            _ => false,
        }
    }

    /// Whether who meets it in its way waits until its transaction ends, and does nothing before: a lock, asked for with patience.
    pub fn waits(self) -> bool {
        match self {
            Access::Row { waits, .. }
            | Access::Key { waits, .. }
            | Access::Advisory { waits, .. }
            | Access::Table { waits, .. } => waits,
            _ => false,
        }
    }

    /// Whether it is worth telling of a statement that has been stopped after it: not what every statement does when it begins.
    pub fn is_told(&self) -> bool {
        match self {
            Access::Table { mode, .. } => *mode > 3,
            Access::Row { .. }
            | Access::Key { .. }
            | Access::Advisory { .. }
            | Access::Write { .. }
            | Access::Sequence { .. } => true,
            _ => false,
        }
    }

    /// Whether it is a lock, held until the transaction (or session) ends.
    pub fn is_lock(self) -> bool {
        matches!(
            self,
            Access::Row { .. } | Access::Key { .. } | Access::Advisory { .. } | Access::Table { .. }
        )
    }
}

/// A point inside a statement: others can come between what it did and what it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point<'a> {
    /// What the statement did so far, in order.
    pub before: &'a [Access],
    /// What it does next.
    pub next: Next<'a>,
}

/// What comes behind a [`Point`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// One thing is read or taken.
    Take(Access),
    /// The transaction of a statement without BEGIN commits, and makes this visible.
    Commit(&'a [Access]),
}

#[cfg(test)]
mod tests {
    use super::Access;

    #[test]
    fn row_locks_conflict_as_the_manual_says() {
        let row = |strength| Access::Row {
            table: 1,
            strength,
            waits: true,
        };
        let conflicts = |one| (0..4).filter(|two| row(one).conflicts(row(*two))).collect::<Vec<u8>>();
        assert_eq!(conflicts(0), [3]);
        assert_eq!(conflicts(1), [2, 3]);
        assert_eq!(conflicts(2), [1, 2, 3]);
        assert_eq!(conflicts(3), [0, 1, 2, 3]);
    }

    #[test]
    fn keys_that_were_drawn_meet_only_those_that_were_not() {
        let key = |drawn, probed| Access::Key {
            index: 1,
            drawn,
            probed,
            waits: true,
        };
        assert!(key(false, false).conflicts(key(false, false)));
        assert!(key(true, false).conflicts(key(false, false)));
        assert!(
            !key(true, false).conflicts(key(true, false)),
            "no two drawn keys are equal"
        );
        assert!(!key(false, true).conflicts(key(false, false)), "who probed looks again");
    }
}
