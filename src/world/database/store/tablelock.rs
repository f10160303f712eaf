//! Table locks: LOCK TABLE, and the mode that every statement takes on the tables it names.

use super::footprint::{AccessKind, Resource};
use super::heap::TableId;
use super::lock::{Acquired, Hold, LockTag, Request, TableMode, deadlock_detected};
use super::waiting::WaitOn;
use super::{SessionId, Stop, Store};
use crate::machine::sql::{SqlError, SqlState};

impl Store {
    /// Locks a table until the (sub)transaction ends. Two upgrades of one table that wait for each other fail at once.
    ///
    /// With `nowait` a lock that is not free is `55P03`; the caller puts the relation's name into the message.
    pub fn lock_table(
        &mut self,
        session: SessionId,
        table: TableId,
        mode: TableMode,
        nowait: bool,
    ) -> Result<(), Stop> {
        self.note(Resource::TableLock(table), table_access(mode));
        let tag = LockTag::Table(table);
        let sub = self.tx_mut(session).depth();
        let request = Request {
            session,
            mode,
            hold: Hold::Transaction(sub),
        };
        match self.ask(tag, request, nowait)? {
            true => Ok(()),
            false => Err(Stop::Error(SqlError::new(
                SqlState::LOCK_NOT_AVAILABLE,
                "could not obtain lock on relation \"?\"",
            ))),
        }
    }

    /// One attempt at a lock, with its wait: `false` when it is not free and the caller does not wait.
    pub(super) fn ask(&mut self, tag: LockTag, request: Request, dont_wait: bool) -> Result<bool, Stop> {
        let session = request.session;
        if self.was_granted(session, tag, request.mode) {
            self.drop_wait(session);
            return Ok(true);
        }
        if self.is_queued(session, tag) {
            return Err(Stop::Wait);
        }
        match self.acquire(tag, request, dont_wait) {
            Acquired::Granted => {
                self.drop_wait(session);
                Ok(true)
            }
            Acquired::Busy => Ok(false),
            Acquired::Deadlock => Err(Stop::Error(deadlock_detected())),
            Acquired::Queued => Err(self.wait(session, WaitOn::from_tag(tag, request.mode))),
        }
    }
}

/// The modes of reading and writing statements get along: their order matters only to stronger locks.
pub(super) fn table_access(mode: TableMode) -> AccessKind {
    match mode {
        TableMode::AccessShare | TableMode::RowShare | TableMode::RowExclusive => AccessKind::Read,
        _ => AccessKind::Publish,
    }
}
