//! Transactions and savepoints.
//!
//! A savepoint's depth takes the place of Postgres' subtransaction number: releasing it hands its work to the depth above,
//! rolling back to it undoes everything at its depth or deeper at once, and wakes who waited for that part.

use std::sync::Arc;

use smallvec::SmallVec;

use super::footprint::{AccessKind, Resource};
use super::heap::{IndexId, Seq, Stamp, SubId, TableId};
use super::snapshot::Snap;
use super::waiting::{Wait, WaitOn};
use super::{SessionId, Store};
use crate::machine::sql::{SqlError, SqlState};

/// An isolation level. READ UNCOMMITTED is READ COMMITTED, as in Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// A snapshot for each statement.
    #[default]
    ReadCommitted,
    /// A snapshot for the transaction; changing a row that changed since fails.
    RepeatableRead,
    /// The same, with serializable snapshot isolation.
    Serializable,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TxState {
    /// No transaction.
    Idle,
    /// In one.
    Active,
    /// In one that failed: only ROLLBACK, or ROLLBACK TO, goes on.
    Failed,
}

/// What the store keeps of a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) tx: Option<Transaction>,
    pub(super) wait: Option<Wait>,
    /// In microseconds.
    pub(super) deadlock_timeout: i64,
}

/// A running transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Transaction {
    pub(super) level: Level,
    pub(super) read_only: bool,
    pub(super) deferrable: bool,
    pub(super) failed: bool,
    /// Innermost last.
    pub(super) savepoints: Vec<Arc<str>>,
    /// The number of the current command.
    pub(super) command: u32,
    /// The first is the statement's (READ COMMITTED) or the transaction's; later ones are fresh.
    pub(super) snapshots: SmallVec<[Snap; 1]>,
    /// A statement is under way.
    pub(super) in_statement: bool,
    /// It had its number before its snapshot: see [`Store::number_early`].
    pub(super) numbered_early: bool,
}

impl Transaction {
    pub(super) fn depth(&self) -> SubId {
        SubId(self.savepoints.len() as u16)
    }
}

/// Postgres' default.
const DEADLOCK_TIMEOUT: i64 = 1_000_000;

impl Session {
    fn new(id: SessionId) -> Self {
        Session {
            id,
            tx: None,
            wait: None,
            deadlock_timeout: DEADLOCK_TIMEOUT,
        }
    }

    /// Nothing to remember it for.
    pub(super) fn is_blank(&self) -> bool {
        self.tx.is_none() && self.wait.is_none() && self.deadlock_timeout == DEADLOCK_TIMEOUT
    }
}

impl Store {
    /// Starts a transaction (an explicit one, or the implicit one of a single statement).
    pub fn begin(&mut self, session: SessionId, level: Level, read_only: bool, deferrable: bool) {
        self.session_mut(session).tx = Some(Transaction {
            level,
            read_only,
            deferrable,
            ..Transaction::default()
        });
    }

    /// SET TRANSACTION, before the first snapshot.
    pub fn set_characteristics(&mut self, session: SessionId, level: Level, read_only: bool, deferrable: bool) {
        let tx = self.tx_mut(session);
        tx.level = level;
        tx.read_only = read_only;
        tx.deferrable = deferrable;
    }

    /// Whether the session is in a transaction, and whether that failed.
    pub fn tx_state(&self, session: SessionId) -> TxState {
        match self.tx(session) {
            None => TxState::Idle,
            Some(tx) if tx.failed => TxState::Failed,
            Some(_) => TxState::Active,
        }
    }

    /// The isolation level of the running transaction.
    pub fn level(&self, session: SessionId) -> Option<Level> {
        self.tx(session).map(|tx| tx.level)
    }

    /// Everything that a SERIALIZABLE transaction does may make or break a conflict with any other such transaction: marks and
    /// edges are one resource, so that a reduction never puts such steps in another order unseen.
    pub(super) fn note_serializable(&mut self, session: SessionId) {
        if self.level(session) == Some(Level::Serializable) {
            self.note(Resource::Serializable, AccessKind::Lock);
        }
    }

    /// Whether the running transaction has taken a snapshot that it keeps.
    pub fn has_snapshot(&self, session: SessionId) -> bool {
        self.tx(session).is_some_and(|tx| !tx.snapshots.is_empty())
    }

    /// COMMIT. In a failed transaction this rolls back, silently; at SERIALIZABLE it may fail, and then has rolled back.
    pub fn commit(&mut self, session: SessionId) -> Result<(), SqlError> {
        self.note_serializable(session);
        match self.tx_state(session) {
            TxState::Idle => return Ok(()),
            TxState::Failed => {
                self.rollback(session);
                return Ok(());
            }
            TxState::Active => {}
        }
        if let Err(error) = self.ssi_before_commit(session) {
            self.rollback(session);
            return Err(error);
        }
        let seq = Seq(self.last.0 + 1);
        let mut counts = self.ssi_tracks(session);
        for place in 0..self.tables.len() {
            let table = TableId(place as u16);
            if !self.tables[place].as_ref().is_some_and(|heap| heap.touched_by(session)) {
                continue;
            }
            counts = true;
            self.publish(session, table, seq);
        }
        if counts {
            self.last = seq;
        }
        self.ssi_committed(session, seq);
        self.end_transaction(session);
        Ok(())
    }

    /// The tables that a session's running transaction has written.
    pub fn written_tables(&self, session: SessionId) -> Vec<TableId> {
        let tables = self.tables.iter().enumerate();
        let written = tables.filter(|(_, heap)| heap.as_ref().is_some_and(|heap| heap.touched_by(session)));
        written.map(|(place, _)| TableId(place as u16)).collect()
    }

    /// What is in a table's indexes is no longer in doubt.
    fn note_keys(&mut self, table: TableId) {
        for place in 0..self.indexes.len() {
            if self.indexes[place].as_ref().is_some_and(|index| index.table == table) {
                self.note(Resource::Keys(IndexId(place as u16)), AccessKind::Write);
            }
        }
    }

    /// Stamps a session's work in one table as committed.
    fn publish(&mut self, session: SessionId, table: TableId, seq: Seq) {
        self.note(Resource::Table(table), AccessKind::Publish);
        self.note_keys(table);
        for stamp in self.heap_mut(table).stamps() {
            if stamp.is_of(session) {
                *stamp = Stamp::Committed(seq);
            }
        }
    }

    /// ROLLBACK: everything the transaction did is undone, its locks go, who waited for it wakes.
    pub fn rollback(&mut self, session: SessionId) {
        self.note_serializable(session);
        if self.tx(session).is_none() {
            self.drop_wait(session);
            return;
        }
        self.undo(session, SubId(0));
        self.ssi_rolled_back(session);
        self.end_transaction(session);
    }

    /// A statement failed: the innermost savepoint's work, or the whole transaction's, is undone now (locks go, who waited
    /// wakes), and the transaction accepts nothing until ROLLBACK (TO).
    pub fn fail(&mut self, session: SessionId) {
        let Some(tx) = self.tx(session) else {
            self.drop_wait(session);
            return;
        };
        let depth = tx.depth();
        self.drop_wait(session);
        self.undo(session, depth);
        if depth == SubId(0) {
            self.ssi_rolled_back(session);
        }
        let tx = self.tx_mut(session);
        tx.failed = true;
        tx.in_statement = false;
        if depth == SubId(0) {
            tx.snapshots.clear();
        } else {
            tx.end_statement();
        }
    }

    /// SAVEPOINT.
    pub fn savepoint(&mut self, session: SessionId, name: &str) {
        self.tx_mut(session).savepoints.push(name.into());
    }

    /// ROLLBACK TO SAVEPOINT: the newest of that name. It stays; what came after it is undone, locks taken after it go.
    pub fn rollback_to(&mut self, session: SessionId, name: &str) -> Result<(), SqlError> {
        let place = self.find_savepoint(session, name)?;
        self.undo(session, SubId(place as u16 + 1));
        let tx = self.tx_mut(session);
        tx.savepoints.truncate(place + 1);
        tx.failed = false;
        Ok(())
    }

    /// RELEASE SAVEPOINT: the newest of that name and those inside go; their work and locks belong to the level above.
    pub fn release(&mut self, session: SessionId, name: &str) -> Result<(), SqlError> {
        let place = self.find_savepoint(session, name)?;
        let depth = SubId(place as u16);
        self.tx_mut(session).savepoints.truncate(place);
        for table in 0..self.tables.len() {
            let inside = self.tables[table].as_ref().is_some_and(|heap| heap.touched_by(session));
            if inside {
                for stamp in self.heap_mut(TableId(table as u16)).stamps() {
                    clamp(stamp, session, depth);
                }
            }
        }
        self.clamp_locks(session, depth);
        for waiter in &mut self.sessions {
            if let Some(Wait {
                on: WaitOn::Transaction { holder, sub, .. },
                ..
            }) = &mut waiter.wait
                && *holder == session
            {
                *sub = (*sub).min(depth.0);
            }
        }
        Ok(())
    }

    /// The connection is gone: its transaction is rolled back and its session locks are released.
    pub fn disconnect(&mut self, session: SessionId) {
        self.rollback(session);
        self.advisory_unlock_all(session);
        self.sessions.retain(|known| known.id != session);
    }

    /// `SET deadlock_timeout`, in microseconds.
    pub fn set_deadlock_timeout(&mut self, session: SessionId, micros: i64) {
        self.session_mut(session).deadlock_timeout = micros;
    }

    fn find_savepoint(&self, session: SessionId, name: &str) -> Result<usize, SqlError> {
        self.tx(session)
            .and_then(|tx| tx.savepoints.iter().rposition(|known| &**known == name))
            .ok_or_else(|| SqlError::new(SqlState(*b"3B001"), format!("savepoint \"{name}\" does not exist")))
    }

    /// Undoes a session's work at a savepoint depth and deeper, releases the locks taken there, wakes who waited for it.
    fn undo(&mut self, session: SessionId, depth: SubId) {
        for place in 0..self.tables.len() {
            if self.tables[place].as_ref().is_some_and(|heap| heap.touched_by(session)) {
                let table = TableId(place as u16);
                self.note(Resource::Table(table), AccessKind::Write);
                self.note_keys(table);
                let gone = self.heap_mut(table).undo(session, depth);
                self.unindex(table, &gone);
            }
        }
        self.release_locks(session, depth);
        self.wake_waiters_for(session, depth);
    }

    /// Common to commit and rollback, after the work was stamped or undone.
    fn end_transaction(&mut self, session: SessionId) {
        self.drop_wait(session);
        self.release_locks(session, SubId(0));
        self.wake_waiters_for(session, SubId(0));
        self.session_mut(session).tx = None;
        self.ssi_clean();
    }

    pub(super) fn session(&self, id: SessionId) -> Option<&Session> {
        let place = self.sessions.binary_search_by_key(&id, |session| session.id).ok()?;
        Some(&self.sessions[place])
    }

    pub(super) fn session_mut(&mut self, id: SessionId) -> &mut Session {
        let place = match self.sessions.binary_search_by_key(&id, |session| session.id) {
            Ok(place) => place,
            Err(place) => {
                self.sessions.insert(place, Session::new(id));
                place
            }
        };
        &mut self.sessions[place]
    }

    pub(super) fn tx(&self, session: SessionId) -> Option<&Transaction> {
        self.session(session).and_then(|session| session.tx.as_ref())
    }

    /// The running transaction; one is started (READ COMMITTED) when the caller did not.
    pub(super) fn tx_mut(&mut self, session: SessionId) -> &mut Transaction {
        self.session_mut(session).tx.get_or_insert_with(Transaction::default)
    }

    /// The stamp of what a session writes now.
    pub(super) fn stamp(&self, session: SessionId) -> Stamp {
        let (sub, command) = self.tx(session).map_or((SubId(0), 0), |tx| (tx.depth(), tx.command));
        Stamp::Live { session, sub, command }
    }
}

fn clamp(stamp: &mut Stamp, owner: SessionId, depth: SubId) {
    if let Stamp::Live { session, sub, .. } = stamp
        && *session == owner
    {
        *sub = (*sub).min(depth);
    }
}
