//! The storage and concurrency engine of the model: row versions, transactions, locks, and who waits for whom.
//!
//! A [`Store`] is pure data: cheap to clone (heaps and indexes are shared until written), equal and hashing equally when
//! no session could tell two of them apart (after [`Store::canonicalize`]). It knows nothing of SQL text; the executor
//! asks it to scan, lock, insert, update and delete, and every operation either takes place, fails with an SQL error, or
//! answers [`Stop::Wait`] after it has noted on the session what it waits for.
//!
//! The semantics are those of PostgreSQL 15 at the granularity of such operations:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `heap` | row versions in heap order, who made and who ended each |
//! | `transaction` | begin to commit, savepoints, undoing |
//! | `snapshot` | what a statement sees; scans |
//! | `write` | inserting, updating, deleting a version |
//! | `rowlock` | the four row locks, the queue for a row, following update chains |
//! | `unique` | index entries, duplicate keys, waiting for in-doubt twins |
//! | `lock` | the lock manager behind table, advisory and tuple locks: modes, holders, first-in-first-out queues |
//! | `advisory`, `tablelock` | its two public faces |
//! | `waiting` | what a session waits for, who blocks it, whose turn it is |
//! | `deadlock` | cycles, queues that can be rearranged, the victim |
//! | `ssi` | serializable snapshot isolation: marks, edges, dangerous structures |
//! | `sequence` | numbers that are never given back |
//! | `release` | what differs between releases of the server |
//! | `rename` | other names for the sessions, for symmetry |
//! | `footprint` | what a step touched, for partial-order reduction |
//! | `canonical` | one form for all histories that look the same |
//!
//! Departures from Postgres, all of them: DDL is not transactional; a table's rows fit on one page and an index on one
//! leaf (this decides how coarse SERIALIZABLE's marks are); aborted work leaves no trace on disk; a transaction that waits
//! for several lock holders waits for them in the order in which they locked the row.

mod advisory;
mod canonical;
mod deadlock;
mod footprint;
mod hash;
mod heap;
mod lock;
mod release;
mod rename;
mod rowlock;
mod sequence;
mod snapshot;
mod ssi;
mod tablelock;
mod transaction;
mod unique;
mod waiting;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use advisory::{AdvisoryKey, Scope};
pub use canonical::Renumbering;
pub use footprint::{Access, AccessKind, Resource};
pub use heap::{IndexId, Row, TableId, VersionId};
pub use lock::TableMode;
pub use release::Release;
pub use rowlock::{Locked, Purpose, RowRequest, Strength, WaitPolicy};
pub use sequence::SequenceId;
pub use snapshot::{KeyRange, Snapshot};
pub use transaction::{Level, TxState};
pub use unique::{Entered, Key, KeyCheck, Nulls};
pub use waiting::{About, Wait, WaitOn, Wakeups};

use crate::machine::pid::Pid;
use crate::machine::sql::{SqlError, SqlState};
use footprint::Footprint;
use heap::{Heap, Seq};
use lock::Lock;
use rowlock::RowLock;
use sequence::Sequence;
use ssi::Ssi;
use transaction::Session;
use unique::Index;

/// A session of the database: the process that holds the connection.
pub type SessionId = Pid;

/// Why an operation did not take place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Stop {
    /// The session now waits; [`Store::waiting`] says for what. Attempt the operation again when it is its turn.
    #[error("the session waits")]
    Wait,
    /// It stands between two operations, so that other sessions can come between.
    #[error("the statement was stopped")]
    Between,
    /// It failed.
    #[error(transparent)]
    Error(#[from] SqlError),
}

/// Tables, transactions and locks. See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    tables: Vec<Option<Arc<Heap>>>,
    indexes: Vec<Option<Arc<Index>>>,
    sequences: Vec<Option<Sequence>>,
    /// Sorted by id.
    sessions: Vec<Session>,
    /// In order of table and row, within a row in order of acquisition.
    row_locks: Vec<RowLock>,
    /// Sorted by tag.
    locks: Vec<Lock>,
    ssi: Ssi,
    /// The number of the last commit.
    last: Seq,
    /// The order of the next wait to begin.
    next_wait: u32,
    release: Release,
    footprint: Footprint,
}

/// Indexes are left out: their entries follow from the heaps and the catalog. So are the release, which never changes during a run, and the footprint,
/// which is no part of the state.
impl std::hash::Hash for Store {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.tables.hash(state);
        self.sequences.hash(state);
        self.sessions.hash(state);
        self.row_locks.hash(state);
        self.locks.hash(state);
        self.ssi.hash(state);
        self.last.hash(state);
        self.next_wait.hash(state);
    }
}

impl Store {
    /// An empty database.
    pub fn new() -> Self {
        Store::default()
    }

    /// Whose behaviour it has.
    pub fn behaves_as(&self) -> Release {
        self.release
    }

    /// From here on it behaves as this release does.
    pub fn set_release(&mut self, release: Release) {
        self.release = release;
    }

    /// A new, empty table. Not transactional.
    pub fn create_table(&mut self) -> TableId {
        let (slot, id) = free_slot(&mut self.tables);
        *slot = Some(Arc::new(Heap::default()));
        TableId(id)
    }

    /// Removes a table and its indexes. Not transactional.
    pub fn drop_table(&mut self, table: TableId) {
        if let Some(slot) = self.tables.get_mut(usize::from(table.0)) {
            *slot = None;
        }
        for index in &mut self.indexes {
            if index.as_ref().is_some_and(|index| index.table == table) {
                *index = None;
            }
        }
        trim(&mut self.tables);
        trim(&mut self.indexes);
        self.row_locks.retain(|lock| lock.table != table);
        self.ssi.forget_table(table);
    }

    /// A new index of a table; it has no entries until the caller enters the versions that exist ([`Store::enter_key`]).
    /// `unique` says how NULLs compare; `None` allows duplicates.
    pub fn create_index(&mut self, table: TableId, unique: Option<Nulls>) -> IndexId {
        let (slot, id) = free_slot(&mut self.indexes);
        *slot = Some(Arc::new(Index::new(table, unique)));
        IndexId(id)
    }

    /// The same of a hash index on one column of numbers or text: a look-up marks the half of it where the key lies.
    pub fn create_hash_index(&mut self, table: TableId) -> IndexId {
        let id = self.create_index(table, None);
        self.index_mut(id).hashed = true;
        id
    }

    /// The same of a GIN index on arrays without a list of pending entries: a look-up marks the pages of the parts that it looks for.
    pub fn create_parts_index(&mut self, table: TableId) -> IndexId {
        let id = self.create_index(table, None);
        self.index_mut(id).parts = true;
        id
    }

    /// The same for another table, of the kind of one that there is.
    pub fn create_index_like(&mut self, index: IndexId, table: TableId) -> IndexId {
        let known = self.index(index);
        let (unique, hashed, parts) = (known.unique, known.hashed, known.parts);
        let id = self.create_index(table, unique);
        let new = self.index_mut(id);
        (new.hashed, new.parts) = (hashed, parts);
        id
    }

    /// Removes an index. Not transactional.
    pub fn drop_index(&mut self, index: IndexId) {
        if let Some(slot) = self.indexes.get_mut(usize::from(index.0)) {
            *slot = None;
        }
        trim(&mut self.indexes);
        self.ssi.forget_index(index);
    }

    /// The values of a version.
    ///
    /// # Panics
    /// When the version does not exist: ids come from this store and live as long as the statement that got them.
    pub fn row(&self, table: TableId, version: VersionId) -> &Row {
        &self.heap(table).get(version).values
    }

    fn heap(&self, table: TableId) -> &Heap {
        self.tables
            .get(usize::from(table.0))
            .and_then(|slot| slot.as_deref())
            .expect("a table that exists")
    }

    fn heap_mut(&mut self, table: TableId) -> &mut Heap {
        let heap = self
            .tables
            .get_mut(usize::from(table.0))
            .and_then(|slot| slot.as_mut())
            .expect("a table that exists");
        let heap = Arc::make_mut(heap);
        heap.settled = false;
        heap
    }

    fn index(&self, index: IndexId) -> &Index {
        self.indexes
            .get(usize::from(index.0))
            .and_then(|slot| slot.as_deref())
            .expect("an index that exists")
    }

    fn index_mut(&mut self, index: IndexId) -> &mut Index {
        let index = self
            .indexes
            .get_mut(usize::from(index.0))
            .and_then(|slot| slot.as_mut())
            .expect("an index that exists");
        Arc::make_mut(index)
    }

    /// Forgets versions in every index of their table.
    fn unindex(&mut self, table: TableId, gone: &[VersionId]) {
        for slot in self.indexes.iter_mut().flatten() {
            if slot.table == table && gone.iter().any(|version| slot.holds(*version)) {
                Arc::make_mut(slot).remove(gone);
            }
        }
    }
}

fn free_slot<T>(slots: &mut Vec<Option<T>>) -> (&mut Option<T>, u16) {
    let free = slots.iter().position(Option::is_none).unwrap_or_else(|| {
        slots.push(None);
        slots.len() - 1
    });
    let id = u16::try_from(free).expect("fewer than 65536 relations");
    (&mut slots[free], id)
}

/// Leaves no trace of what is gone at the end: a state is the same whether it was ever there.
fn trim<T>(slots: &mut Vec<Option<T>>) {
    while slots.last().is_some_and(Option::is_none) {
        slots.pop();
    }
}

fn serialization_failure(message: &'static str) -> SqlError {
    SqlError::new(SqlState::SERIALIZATION_FAILURE, message)
}

fn concurrent_update() -> SqlError {
    serialization_failure("could not serialize access due to concurrent update")
}

fn concurrent_delete() -> SqlError {
    serialization_failure("could not serialize access due to concurrent delete")
}
