//! Snapshots: what a statement sees, and the scans that use them.
//!
//! READ COMMITTED takes one for each statement, the other levels one for the transaction, at its first statement that
//! needs one. The caller holds a handle; the snapshot itself lives on the session, so that numbers can be rewritten.

use std::ops::Bound;

use super::footprint::{AccessKind, Resource};
use super::heap::{IndexId, Seq, Stamp, TableId, Version, VersionId};
use super::transaction::{Level, Transaction};
use super::unique::Key;
use super::waiting::WaitOn;
use super::{SessionId, Stop, Store, concurrent_update};
use crate::machine::sql::SqlError;
use crate::value::Value;

/// A snapshot of a session: valid until its statement (READ COMMITTED) or transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot(u8);

/// What a snapshot sees: commits up to `seq`, and the session's own commands before `command`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Snap {
    pub(super) seq: Seq,
    pub(super) command: u32,
}

impl Snap {
    fn includes(self, session: SessionId, stamp: Stamp) -> bool {
        match stamp {
            Stamp::Committed(seq) => seq <= self.seq,
            Stamp::Live {
                session: owner,
                command,
                ..
            } => owner == session && command < self.command,
        }
    }

    /// Whether a session that uses this snapshot sees the version.
    pub(super) fn sees(self, session: SessionId, version: &Version) -> bool {
        self.includes(session, version.created) && !version.end.is_some_and(|end| self.includes(session, end.stamp))
    }
}

/// Which keys of an index: equal to `prefix` on the leading columns, and within bounds on the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// Values of the leading columns.
    pub prefix: Vec<Value>,
    /// Lower bound of the column after them.
    pub low: Bound<Value>,
    /// Upper bound of the column after them.
    pub high: Bound<Value>,
    /// What is looked up in an index of the parts of values, which only a mark needs to know.
    pub parts: Vec<Value>,
}

impl KeyRange {
    /// All keys that begin with these values.
    pub fn equal(prefix: impl Into<Vec<Value>>) -> Self {
        KeyRange {
            prefix: prefix.into(),
            low: Bound::Unbounded,
            high: Bound::Unbounded,
            parts: Vec::new(),
        }
    }

    fn contains(&self, key: &Key) -> bool {
        let values = &key.0;
        if values.len() < self.prefix.len() || values[..self.prefix.len()] != self.prefix[..] {
            return false;
        }
        let bounded = !matches!((&self.low, &self.high), (Bound::Unbounded, Bound::Unbounded));
        match values.get(self.prefix.len()) {
            Some(Value::Null) => !bounded,
            Some(next) => (self.low.as_ref(), self.high.as_ref()).contains_value(next),
            None => !bounded,
        }
    }

    /// The least key that may be in the range, to start from.
    fn start(&self) -> Key {
        let mut values = self.prefix.clone();
        if let Bound::Included(low) | Bound::Excluded(low) = &self.low {
            values.push(low.clone());
        }
        Key(values.into())
    }

    /// Whether every key from this one on is beyond the range.
    fn is_past(&self, key: &Key) -> bool {
        let shared = self.prefix.len().min(key.0.len());
        Key::compare(&key.0[..shared], &self.prefix[..shared]).is_gt()
    }
}

trait ContainsValue {
    fn contains_value(&self, value: &Value) -> bool;
}

impl ContainsValue for (Bound<&Value>, Bound<&Value>) {
    fn contains_value(&self, value: &Value) -> bool {
        let above = match self.0 {
            Bound::Included(low) => value >= low,
            Bound::Excluded(low) => value > low,
            Bound::Unbounded => true,
        };
        let below = match self.1 {
            Bound::Included(high) => value <= high,
            Bound::Excluded(high) => value < high,
            Bound::Unbounded => true,
        };
        above && below
    }
}

impl Transaction {
    /// Drops the snapshots that a statement took for itself.
    pub(super) fn end_statement(&mut self) {
        self.in_statement = false;
        match self.level {
            Level::ReadCommitted => self.snapshots.clear(),
            _ => self.snapshots.truncate(1),
        }
    }
}

impl Store {
    /// The snapshot of a statement that begins: a new one (READ COMMITTED) or the transaction's, taken here when it is the
    /// first that needs it. SERIALIZABLE READ ONLY DEFERRABLE may have to wait for a safe one.
    pub fn start_statement(&mut self, session: SessionId) -> Result<Snapshot, Stop> {
        self.note_serializable(session);
        let last = self.last;
        let tx = self.tx_mut(session);
        let first = tx.snapshots.is_empty();
        let level = tx.level;
        tx.in_statement = true;
        if level == Level::ReadCommitted || first {
            tx.command += 1;
            let snap = Snap {
                seq: last,
                command: tx.command,
            };
            tx.snapshots.clear();
            tx.snapshots.push(snap);
            if level != Level::ReadCommitted {
                self.note(Resource::Everything, AccessKind::Read);
            }
            if level == Level::Serializable {
                self.ssi_begin(session, last);
            }
        } else {
            // A deferrable transaction that still waits for its first snapshot to be safe gets here again.
            if !self.ssi_awaits_safety(session) {
                let tx = self.tx_mut(session);
                tx.command += 1;
                let command = tx.command;
                tx.snapshots.truncate(1);
                tx.snapshots[0].command = command;
            }
        }
        match self.ssi_safe_snapshot(session) {
            true => {
                self.drop_wait(session);
                Ok(Snapshot(0))
            }
            false => Err(self.wait(session, WaitOn::SafeSnapshot)),
        }
    }

    /// The statement is done: snapshots that were its own go. Call it after every statement.
    pub fn finish_statement(&mut self, session: SessionId) {
        if let Some(tx) = &mut self.session_mut(session).tx {
            tx.end_statement();
        }
    }

    /// The latest committed state and everything the session did so far, whatever its level: what a foreign key check
    /// looks at. What the session writes afterwards belongs to a new command.
    pub fn fresh_snapshot(&mut self, session: SessionId) -> Snapshot {
        self.note(Resource::Everything, AccessKind::Read);
        let seq = self.last;
        let tx = self.tx_mut(session);
        tx.command += 1;
        let command = tx.command;
        tx.snapshots.push(Snap { seq, command });
        Snapshot((tx.snapshots.len() - 1) as u8)
    }

    /// Whether a version is in the snapshot.
    pub fn visible(&self, session: SessionId, snapshot: &Snapshot, table: TableId, version: VersionId) -> bool {
        self.snap(session, snapshot)
            .sees(session, self.heap(table).get(version))
    }

    /// Whether the session's running transaction made a version.
    pub fn is_own(&self, session: SessionId, table: TableId, version: VersionId) -> bool {
        self.heap(table).get(version).created.is_of(session)
    }

    /// ON CONFLICT met this version: at SERIALIZABLE that is a read of it (see [`Release`](super::Release)), and above
    /// READ COMMITTED it must be in the snapshot, or be the session's own.
    pub fn read_conflicting(
        &mut self,
        session: SessionId,
        snapshot: &Snapshot,
        table: TableId,
        version: VersionId,
    ) -> Result<(), SqlError> {
        let visible = self.visible(session, snapshot, table, version);
        if self.release.conflicting_row_is_read {
            self.ssi_read(session, table, version, visible)?;
            self.ssi_mark_row(session, table, version);
        }
        let strict = self.level(session).is_some_and(|level| level != Level::ReadCommitted);
        let own = self.is_own(session, table, version);
        match strict && !own && !visible {
            true => Err(concurrent_update()),
            false => Ok(()),
        }
    }

    /// Every visible version of a table, in heap order. At SERIALIZABLE this marks the whole table as read.
    pub fn scan(
        &mut self,
        session: SessionId,
        snapshot: &Snapshot,
        table: TableId,
    ) -> Result<Vec<VersionId>, SqlError> {
        self.note(Resource::Table(table), AccessKind::Read);
        let snap = self.snap(session, snapshot);
        if !self.ssi_tracks(session) {
            let heap = self.heap(table);
            let visible = heap.versions.iter().filter(|version| snap.sees(session, version));
            return Ok(visible.map(|version| version.id).collect());
        }
        self.ssi_mark_table(session, table);
        let mut found = Vec::new();
        for place in 0..self.heap(table).versions.len() {
            let version = &self.heap(table).versions[place];
            let (id, sees) = (version.id, snap.sees(session, version));
            self.ssi_read(session, table, id, sees)?;
            if sees {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// How many versions of a table a snapshot sees, read by nobody: what CREATE INDEX and ANALYZE count.
    pub fn count(&mut self, session: SessionId, snapshot: &Snapshot, table: TableId) -> u32 {
        self.note(Resource::Table(table), AccessKind::Read);
        let snap = self.snap(session, snapshot);
        let versions = self.heap(table).versions.iter();
        versions.filter(|version| snap.sees(session, version)).count() as u32
    }

    /// Whether the snapshot shows two rows with the same values in these columns, which are unique: one that was deleted meanwhile, and one
    /// that the session has made since. Only a look, without marks.
    pub fn shows_twins(&self, session: SessionId, snapshot: &Snapshot, table: TableId, columns: &[usize]) -> bool {
        let heap = self.heap(table);
        if !heap.touched_by(session) {
            return false;
        }
        let snap = self.snap(session, snapshot);
        let visible = heap.versions.iter().filter(|version| snap.sees(session, version));
        let keys: Vec<Vec<&Value>> = visible
            .map(|version| columns.iter().map(|column| &version.values[*column]).collect())
            .collect();
        let twins = |(place, key): (usize, &Vec<&Value>)| {
            !key.iter().any(|value| value.is_null()) && keys[..place].contains(key)
        };
        keys.iter().enumerate().any(twins)
    }

    /// The visible versions that an index finds, in the index's order (NULLs last, then heap order). At SERIALIZABLE this
    /// marks the index, whatever it finds, and each row it found.
    pub fn index_scan(
        &mut self,
        session: SessionId,
        snapshot: &Snapshot,
        index: IndexId,
        range: &KeyRange,
    ) -> Result<Vec<VersionId>, SqlError> {
        self.mark_range(session, index, range);
        let table = self.index(index).table;
        let roots = self.roots(index, range);
        self.fetch(session, snapshot, table, &roots, usize::MAX)
    }

    /// A look-up in an index is a read of the page where it looks, whatever it finds.
    pub fn mark_range(&mut self, session: SessionId, index: IndexId, range: &KeyRange) {
        if !self.ssi_tracks(session) {
            return;
        }
        if self.index(index).parts && !range.parts.is_empty() {
            for part in &range.parts {
                self.ssi_mark_part(session, index, part.clone());
            }
            return;
        }
        let page = self.index(index).page(&range.prefix);
        self.ssi_mark_index(session, index, page);
    }

    /// The versions that an index leads to, in its order, seen or not. Nothing is read yet.
    pub fn roots(&self, index: IndexId, range: &KeyRange) -> Vec<VersionId> {
        let heap = self.heap(self.index(index).table);
        let mut roots = Vec::new();
        for (key, versions) in self.index(index).entries.range(range.start()..) {
            if range.is_past(key) {
                break;
            }
            if range.contains(key) {
                roots.extend(versions.iter().filter(|version| !heap.get(**version).heap_only));
            }
        }
        roots
    }

    /// The visible ones of the versions to which an index led, up to so many. At SERIALIZABLE this reads each of them and what it meets on the way.
    pub fn fetch(
        &mut self,
        session: SessionId,
        snapshot: &Snapshot,
        table: TableId,
        roots: &[VersionId],
        enough: usize,
    ) -> Result<Vec<VersionId>, SqlError> {
        self.note(Resource::Table(table), AccessKind::Read);
        let snap = self.snap(session, snapshot);
        let tracked = self.ssi_tracks(session);
        let mut found = Vec::new();
        for root in roots {
            if found.len() >= enough {
                break;
            }
            let mut next = Some(*root);
            while let Some(id) = next {
                let version = self.heap(table).get(id);
                let sees = snap.sees(session, version);
                next = version
                    .end
                    .and_then(|end| end.next)
                    .filter(|later| !sees && self.heap(table).get(*later).heap_only);
                if tracked {
                    self.ssi_read(session, table, id, sees)?;
                }
                if sees {
                    if tracked {
                        self.ssi_mark_row(session, table, id);
                    }
                    found.push(id);
                }
            }
        }
        Ok(found)
    }

    /// Where in the heap an index leads to find a version: a scan by bitmap returns versions in this order.
    pub fn heap_place(&self, table: TableId, version: VersionId) -> u32 {
        self.heap(table).get(version).root
    }

    /// The newest version of the row as the session would meet it now: `None` when it was deleted, by a committed
    /// transaction or by the session itself. A version that another session is still writing does not count.
    pub fn newest(&self, session: SessionId, table: TableId, version: VersionId) -> Option<VersionId> {
        let heap = self.heap(table);
        let mut at = heap.get(version);
        loop {
            match at.end {
                None => return Some(at.id),
                Some(end) if end.stamp.other(session).is_some() => return Some(at.id),
                Some(end) => at = heap.get(end.next?),
            }
        }
    }

    pub(super) fn snap(&self, session: SessionId, snapshot: &Snapshot) -> Snap {
        let slot = usize::from(snapshot.0);
        self.tx(session)
            .and_then(|tx| tx.snapshots.get(slot).copied())
            .unwrap_or(Snap {
                seq: self.last,
                command: u32::MAX,
            })
    }
}
