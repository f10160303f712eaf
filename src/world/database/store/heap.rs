//! Row versions: a table is a list of them in the order in which they were written.
//!
//! A version says who created it and, when it was updated or deleted, who ended it. The versions of one row form a chain.
//! Where Postgres writes transaction numbers, a stamp names the session and savepoint depth while the transaction runs and
//! the commit's place in the order of commits afterwards; work that was rolled back is removed at once.

use std::sync::Arc;

use super::SessionId;
use crate::value::Value;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u16);

/// An index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexId(pub u16);

/// A version of a row, unique within its table and ascending in heap order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionId(pub u32);

/// The values of a version.
pub type Row = Arc<[Value]>;

/// A row: the chain of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct RowId(pub(super) u32);

/// A place in the order of commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Seq(pub(super) u32);

/// The depth of a savepoint; 0 is the transaction itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SubId(pub(super) u16);

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stamp {
    /// A transaction that still runs.
    Live {
        session: SessionId,
        sub: SubId,
        command: u32,
    },
    /// One that committed.
    Committed(Seq),
}

impl Stamp {
    /// Whether a running transaction of this session did it.
    pub(super) fn is_of(&self, owner: SessionId) -> bool {
        matches!(self, Stamp::Live { session, .. } if *session == owner)
    }

    /// Whether this session did it within the savepoint at this depth, or deeper.
    pub(super) fn is_within(&self, owner: SessionId, depth: SubId) -> bool {
        matches!(self, Stamp::Live { session, sub, .. } if *session == owner && *sub >= depth)
    }

    /// The running transaction that did it, when that is not `me`.
    pub(super) fn other(&self, me: SessionId) -> Option<(SessionId, SubId)> {
        match self {
            Stamp::Live { session, sub, .. } if *session != me => Some((*session, *sub)),
            _ => None,
        }
    }
}

/// How a version ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct End {
    pub(super) stamp: Stamp,
    /// By an update; otherwise by a delete.
    pub(super) updated: bool,
    /// The next version; `None` after a delete, and after an update whose later versions are gone as well.
    pub(super) next: Option<VersionId>,
    /// The key changed, or the row went: what a KEY SHARE lock protects against.
    pub(super) key_change: bool,
}

/// One version of a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version {
    pub(super) id: VersionId,
    pub(super) row: RowId,
    pub(super) values: Row,
    pub(super) created: Stamp,
    pub(super) end: Option<End>,
    /// Written by an update that changed no indexed column: an index reaches it through the version before (Postgres' HOT).
    pub(super) heap_only: bool,
    /// The place in the heap from which an index reaches it: its own, or that of the first of its heap-only chain, which
    /// stays when the versions before it are gone. Only the order of these numbers matters.
    pub(super) root: u32,
}

/// A table's versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Heap {
    /// Sorted by id.
    pub(super) versions: Vec<Version>,
    pub(super) next_version: u32,
    pub(super) next_row: u32,
    /// Nothing here can change by renumbering: every version is committed for everybody and none has ended.
    pub(super) settled: bool,
}

impl Default for Heap {
    fn default() -> Self {
        Heap {
            versions: Vec::new(),
            next_version: 0,
            next_row: 0,
            settled: true,
        }
    }
}

impl Heap {
    pub(super) fn find(&self, id: VersionId) -> Option<&Version> {
        let place = self.versions.binary_search_by_key(&id, |version| version.id).ok()?;
        Some(&self.versions[place])
    }

    pub(super) fn get(&self, id: VersionId) -> &Version {
        self.find(id).expect("a version that exists")
    }

    pub(super) fn get_mut(&mut self, id: VersionId) -> &mut Version {
        let place = self
            .versions
            .binary_search_by_key(&id, |version| version.id)
            .expect("a version that exists");
        &mut self.versions[place]
    }

    /// Appends a version; `row` is `None` for the first of a new row.
    pub(super) fn append(&mut self, row: Option<RowId>, values: Row, created: Stamp) -> VersionId {
        let id = VersionId(self.next_version);
        self.next_version += 1;
        let row = row.unwrap_or_else(|| {
            let row = RowId(self.next_row);
            self.next_row += 1;
            row
        });
        self.versions.push(Version {
            id,
            row,
            values,
            created,
            end: None,
            heap_only: false,
            root: id.0,
        });
        id
    }

    /// Undoes what a session did within a savepoint depth; returns the versions that are gone.
    pub(super) fn undo(&mut self, session: SessionId, depth: SubId) -> Vec<VersionId> {
        let mut gone = Vec::new();
        self.versions.retain_mut(|version| {
            if version.created.is_within(session, depth) {
                gone.push(version.id);
                return false;
            }
            if version.end.is_some_and(|end| end.stamp.is_within(session, depth)) {
                version.end = None;
            }
            true
        });
        gone
    }

    /// Every stamp, for rewriting.
    pub(super) fn stamps(&mut self) -> impl Iterator<Item = &mut Stamp> {
        self.versions.iter_mut().flat_map(|version| {
            std::iter::once(&mut version.created).chain(version.end.as_mut().map(|end| &mut end.stamp))
        })
    }

    /// Whether a session's running transaction wrote here.
    pub(super) fn touched_by(&self, session: SessionId) -> bool {
        !self.settled
            && self.versions.iter().any(|version| {
                version.created.is_of(session) || version.end.is_some_and(|end| end.stamp.is_of(session))
            })
    }
}
