//! Writing: a version is appended, ended, or both. The row must have been locked ([`Store::lock_row`]) by the caller.

use super::footprint::{AccessKind, Resource};
use super::heap::{End, Row, TableId, VersionId};
use super::rowlock::Strength;
use super::ssi::Target;
use super::{SessionId, Stop, Store};

impl Store {
    /// Adds a row. Its keys are entered separately ([`Store::enter_key`]).
    pub fn insert(&mut self, session: SessionId, table: TableId, row: Row) -> Result<VersionId, Stop> {
        self.ssi_write(session, Target::Table(table))?;
        let stamp = self.stamp(session);
        let heap = self.heap_mut(table);
        let id = heap.append(None, row, stamp);
        self.note_row(table, id, AccessKind::Write);
        self.note(Resource::End(table), AccessKind::Write);
        Ok(id)
    }

    /// Ends a version and appends the next of its row. `key_change` when the value of a column of some unique index
    /// (not partial, not on an expression) differs.
    pub fn update(
        &mut self,
        session: SessionId,
        table: TableId,
        version: VersionId,
        row: Row,
        key_change: bool,
    ) -> Result<VersionId, Stop> {
        self.ssi_write(session, Target::Row(table, version))?;
        let stamp = self.stamp(session);
        let chain = self.heap(table).get(version).row;
        // A row that its updater had locked FOR UPDATE counts as one whose key changed.
        let key_change = key_change || self.own_strength(session, table, chain) == Some(Strength::Update);
        let heap = self.heap_mut(table);
        let next = heap.append(Some(chain), row, stamp);
        heap.get_mut(version).end = Some(End {
            stamp,
            updated: true,
            next: Some(next),
            key_change,
        });
        let strength = if key_change {
            Strength::Update
        } else {
            Strength::NoKeyUpdate
        };
        self.add_row_lock(session, table, version, strength);
        self.note_row(table, version, AccessKind::Write);
        self.note(Resource::End(table), AccessKind::Write);
        Ok(next)
    }

    /// Ends a version for good.
    pub fn delete(&mut self, session: SessionId, table: TableId, version: VersionId) -> Result<(), Stop> {
        self.ssi_write(session, Target::Row(table, version))?;
        let stamp = self.stamp(session);
        let heap = self.heap_mut(table);
        heap.get_mut(version).end = Some(End {
            stamp,
            updated: false,
            next: None,
            key_change: true,
        });
        self.add_row_lock(session, table, version, Strength::Update);
        self.note_row(table, version, AccessKind::Write);
        Ok(())
    }

    /// Withdraws a row that the running statement inserted: ON CONFLICT met a twin after all.
    pub fn retract(&mut self, session: SessionId, table: TableId, version: VersionId) {
        let heap = self.heap_mut(table);
        if heap
            .find(version)
            .is_some_and(|known| known.created.is_of(session) && known.end.is_none())
        {
            heap.versions.retain(|known| known.id != version);
            self.unindex(table, &[version]);
        }
    }
}
