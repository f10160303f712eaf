//! What an operation touched: the raw material of partial-order reduction.
//!
//! Two steps of different sessions commute when no access of one conflicts with an access of the other. Accesses are
//! recorded as they happen, also those of an operation that then waits or fails, and err on the side of conflict.

use std::hash::BuildHasher as _;

use rustc_hash::FxBuildHasher;

use super::advisory::AdvisoryKey;
use super::heap::{IndexId, TableId, VersionId};
use super::sequence::SequenceId;
use super::unique::Key;
use super::{SessionId, Store};

/// What was touched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Everything that commits: taking a snapshot that is used later.
    Everything,
    /// The contents of a table.
    Table(TableId),
    /// One row, named by the table and the values of one of its versions, because its numbers change when other rows come and go. Rows
    /// with the same values count as one.
    Row(TableId, u64),
    /// The end of a table, where versions are added: their order shows where nothing sorts.
    End(TableId),
    /// A key of an index.
    Key(IndexId, Key),
    /// Every key of an index.
    Keys(IndexId),
    /// A table-level lock.
    TableLock(TableId),
    /// An advisory lock.
    Advisory(AdvisoryKey),
    /// A sequence.
    Sequence(SequenceId),
    /// The serializable transactions as a whole: their conflicts are tracked across tables.
    Serializable,
    /// The numbers that transactions are given, in the order in which they ask.
    Numbering,
    /// The end of a session's transaction, which others wait for.
    Transaction(SessionId),
    /// What tables, columns, indexes, sequences and views there are.
    Catalog,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessKind {
    /// Read through a snapshot: only commits matter to it.
    Read,
    /// Current state was looked at or locked.
    Lock,
    /// Changed, not yet committed.
    Write,
    /// A commit made changes visible.
    Publish,
}

/// One access.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Access {
    /// What.
    pub resource: Resource,
    /// How.
    pub kind: AccessKind,
}

impl Access {
    /// Whether the order of the two may matter, when different sessions made them.
    pub fn conflicts(&self, other: &Access) -> bool {
        use AccessKind::{Publish, Read};
        if !self.resource.overlaps(&other.resource) {
            return false;
        }
        match (self.kind, other.kind) {
            (Read, Read) => false,
            (Read, kind) | (kind, Read) => kind == Publish,
            // Locks exclude each other or queue; a write looks at what another locks.
            _ => true,
        }
    }
}

impl Resource {
    fn overlaps(&self, other: &Resource) -> bool {
        use Resource::{Everything, Key, Keys, Row, Table};
        match (self, other) {
            (Everything, Table(_) | Row(..) | Key(..) | Everything) => true,
            (Table(_) | Row(..) | Key(..), Everything) => true,
            (Table(table), Row(of, _)) | (Row(of, _), Table(table)) => table == of,
            (Keys(index), Key(of, _)) | (Key(of, _), Keys(index)) => index == of,
            (one, two) => one == two,
        }
    }
}

/// Recorded accesses. No part of the state: equal to any other.
#[derive(Clone, Debug, Default)]
pub(super) struct Footprint(Vec<Access>);

impl PartialEq for Footprint {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Footprint {}

impl Store {
    /// The accesses since the last call, as they came; there may be repetitions.
    pub fn take_footprint(&mut self) -> Vec<Access> {
        std::mem::take(&mut self.footprint.0)
    }

    /// Notes a row by a version and all that followed it. So whoever has to do with a row has its newest version in common with all others, and a change
    /// has the old and the new one.
    pub(super) fn note_row(&mut self, table: TableId, version: VersionId, kind: AccessKind) {
        let mut next = Some(version);
        while let Some(version) = next.and_then(|version| self.heap(table).find(version)) {
            let name = FxBuildHasher.hash_one(&version.values);
            next = version.end.and_then(|end| end.next);
            self.note(Resource::Row(table, name), kind);
        }
    }

    /// Notes that the catalog, which is not the store's own, was asked or changed. A change that others see now matters to older snapshots as well: what
    /// they read was not written for it.
    pub fn note_catalog(&mut self, kind: AccessKind) {
        if kind == AccessKind::Publish {
            self.note(Resource::Everything, kind);
        }
        self.note(Resource::Catalog, kind);
    }

    /// A transaction asks for its number.
    pub fn note_numbering(&mut self) {
        self.note(Resource::Numbering, AccessKind::Write);
    }

    pub(super) fn note(&mut self, resource: Resource, kind: AccessKind) {
        self.footprint.0.push(Access { resource, kind });
    }
}
