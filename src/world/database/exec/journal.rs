//! What an unfinished statement has done so far.
//!
//! A statement that waits is not kept as a suspended computation but as its journal: the results of its store operations, in
//! the order of evaluation. When the wait is over the statement runs again from the start with the same snapshot;
//! operations that are in the journal return what they returned, the one behind them is attempted anew.

use crate::value::Value;
use crate::world::database::store::{Entered, Locked, Renumbering, Snapshot, TableId, VersionId};

/// The results of a statement's store operations.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Journal {
    entries: Vec<Entry>,
}

/// The result of one operation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// Nothing to know.
    Unit,
    /// Yes or no.
    Bool(bool),
    /// A value of a volatile function.
    Value(Value),
    /// A version that was made or found.
    Version(TableId, VersionId),
    /// Versions that were found in the present state.
    Versions(TableId, Vec<VersionId>),
    /// No version.
    NoVersion,
    /// A lock attempt on a row.
    Locked(TableId, Locked),
    /// An index entry.
    Entered(TableId, Entered),
    /// A snapshot.
    Snapshot(Snapshot),
}

impl Journal {
    /// The result of the operation with this number, if it was done.
    pub(crate) fn get(&self, number: usize) -> Option<&Entry> {
        self.entries.get(number)
    }

    /// Adds a result.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// How many operations were done.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing done yet.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Calls `visit` on every version that the journal names.
    pub(crate) fn versions(&self, visit: &mut dyn FnMut(TableId, VersionId)) {
        for entry in &self.entries {
            match entry {
                Entry::Version(table, version) => visit(*table, *version),
                Entry::Versions(table, versions) => versions.iter().for_each(|version| visit(*table, *version)),
                Entry::Locked(table, Locked::Moved(version)) => visit(*table, *version),
                Entry::Entered(table, Entered::Conflict(version)) => visit(*table, *version),
                _ => {}
            }
        }
    }

    /// Versions have got other numbers.
    pub(crate) fn renumber(&mut self, numbers: &Renumbering) {
        for entry in &mut self.entries {
            match entry {
                Entry::Version(table, version) => *version = numbers.version(*table, *version),
                Entry::Versions(table, versions) => {
                    for version in versions {
                        *version = numbers.version(*table, *version);
                    }
                }
                Entry::Locked(table, Locked::Moved(version)) => *version = numbers.version(*table, *version),
                Entry::Entered(table, Entered::Conflict(version)) => *version = numbers.version(*table, *version),
                _ => {}
            }
        }
    }
}
