//! The lock manager: eight modes, holders, and a first-in-first-out queue for each object.
//!
//! It serves table locks, advisory locks, and the *tuple* locks that order those who wait for a row. The rules are those of
//! Postgres' `LockAcquire`, `ProcSleep` and `ProcLockWakeup`: a request that conflicts with somebody who waits waits behind
//! him, unless he waits for the asker's own lock; locks are granted when they are released, in order of the queue.

use smallvec::SmallVec;

use super::advisory::AdvisoryKey;
use super::footprint::{AccessKind, Resource};
use super::heap::{SubId, TableId, VersionId};
use super::tablelock::table_access;
use super::waiting::WaitOn;
use super::{SessionId, Store};
use crate::machine::sql::{SqlError, SqlState};

/// The eight table lock modes, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TableMode {
    /// SELECT.
    AccessShare,
    /// SELECT FOR UPDATE and the like.
    RowShare,
    /// INSERT, UPDATE, DELETE.
    RowExclusive,
    /// VACUUM, CREATE INDEX CONCURRENTLY.
    ShareUpdateExclusive,
    /// CREATE INDEX.
    Share,
    /// CREATE TRIGGER, adding a foreign key.
    ShareRowExclusive,
    /// REFRESH MATERIALIZED VIEW CONCURRENTLY.
    Exclusive,
    /// DROP, TRUNCATE, most ALTER TABLE, LOCK TABLE without a mode.
    AccessExclusive,
}

impl TableMode {
    /// Whether two sessions cannot hold these two at once.
    pub fn conflicts(self, other: TableMode) -> bool {
        // Bit n: conflicts with the n-th mode.
        const TABLE: [u8; 8] = [
            0b1000_0000,
            0b1100_0000,
            0b1111_0000,
            0b1111_1000,
            0b1110_1100,
            0b1111_1100,
            0b1111_1110,
            0b1111_1111,
        ];
        TABLE[self as usize] & (1 << other as u8) != 0
    }
}

/// What is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LockTag {
    Table(TableId),
    /// The place of "next in line" for a version.
    Tuple(TableId, VersionId),
    Advisory(AdvisoryKey),
}

/// How long a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Hold {
    /// Until it is released by hand, as often as it was taken.
    Session,
    /// Until the (sub)transaction ends.
    Transaction(SubId),
}

/// One mode of one session on one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holder {
    pub(super) session: SessionId,
    pub(super) mode: TableMode,
    /// How often it was taken for the session.
    pub(super) count: u16,
    /// The outermost savepoint depth that took it for the transaction.
    pub(super) tx: Option<SubId>,
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub(super) session: SessionId,
    pub(super) mode: TableMode,
    pub(super) hold: Hold,
}

/// An object with holders or waiters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lock {
    pub(super) tag: LockTag,
    /// Sorted by session and mode.
    pub(super) holders: SmallVec<[Holder; 2]>,
    pub(super) queue: SmallVec<[Request; 1]>,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquired {
    Granted,
    /// Would have to wait, and was told not to.
    Busy,
    /// Waits in the queue now.
    Queued,
    /// Somebody in the queue waits for a lock of the asker, and holds one that the asker would wait for.
    Deadlock,
}

impl Lock {
    fn new(tag: LockTag) -> Self {
        Lock {
            tag,
            holders: SmallVec::new(),
            queue: SmallVec::new(),
        }
    }

    /// Whether somebody else holds a mode that conflicts.
    pub(super) fn held_against(&self, session: SessionId, mode: TableMode) -> bool {
        self.holders
            .iter()
            .any(|holder| holder.session != session && holder.mode.conflicts(mode))
    }

    /// Whether a session holds a mode that conflicts with this one.
    fn has_against(&self, session: SessionId, mode: TableMode) -> bool {
        self.holders
            .iter()
            .any(|holder| holder.session == session && holder.mode.conflicts(mode))
    }

    fn grant(&mut self, request: Request) {
        let key = (request.session, request.mode);
        let place = match self
            .holders
            .binary_search_by_key(&key, |holder| (holder.session, holder.mode))
        {
            Ok(place) => place,
            Err(place) => {
                let holder = Holder {
                    session: request.session,
                    mode: request.mode,
                    count: 0,
                    tx: None,
                };
                self.holders.insert(place, holder);
                place
            }
        };
        let holder = &mut self.holders[place];
        match request.hold {
            Hold::Session => holder.count += 1,
            Hold::Transaction(sub) => holder.tx = Some(holder.tx.map_or(sub, |known| known.min(sub))),
        }
    }

    /// Grants what can be granted, in order of the queue; returns who got it.
    fn serve(&mut self) -> SmallVec<[SessionId; 2]> {
        let mut served = SmallVec::new();
        let mut ahead: SmallVec<[TableMode; 4]> = SmallVec::new();
        let mut place = 0;
        while let Some(request) = self.queue.get(place).copied() {
            let free = !ahead.iter().any(|mode| mode.conflicts(request.mode))
                && !self.held_against(request.session, request.mode);
            if free {
                self.queue.remove(place);
                self.grant(request);
                served.push(request.session);
            } else {
                ahead.push(request.mode);
                place += 1;
            }
        }
        served
    }

    /// Where a request goes in the queue. A holder goes before the first who waits for his own lock.
    fn place(&self, request: Request) -> Result<Place, ()> {
        let holds = self.holders.iter().any(|holder| holder.session == request.session);
        let mut ahead: SmallVec<[TableMode; 4]> = SmallVec::new();
        for (place, waiter) in self.queue.iter().enumerate().filter(|_| holds) {
            if self.has_against(request.session, waiter.mode) {
                if self.has_against(waiter.session, request.mode) {
                    return Err(());
                }
                let free = !ahead.iter().any(|mode| mode.conflicts(request.mode))
                    && !self.held_against(request.session, request.mode);
                return Ok(if free { Place::AtOnce } else { Place::Queue(place) });
            }
            ahead.push(waiter.mode);
        }
        Ok(Place::Queue(self.queue.len()))
    }
}

enum Place {
    AtOnce,
    Queue(usize),
}

impl Store {
    /// Asks for a lock. The caller records the wait when the answer is [`Acquired::Queued`].
    pub(super) fn acquire(&mut self, tag: LockTag, request: Request, dont_wait: bool) -> Acquired {
        let lock = self.lock_entry(tag);
        let key = (request.session, request.mode);
        let held = lock.holders.iter().any(|holder| (holder.session, holder.mode) == key);
        let behind = lock.queue.iter().any(|waiter| waiter.mode.conflicts(request.mode));
        if held || !(behind || lock.held_against(request.session, request.mode)) {
            lock.grant(request);
            return Acquired::Granted;
        }
        if dont_wait {
            return Acquired::Busy;
        }
        match lock.place(request) {
            Err(()) => Acquired::Deadlock,
            Ok(Place::AtOnce) => {
                lock.grant(request);
                Acquired::Granted
            }
            Ok(Place::Queue(place)) => {
                lock.queue.insert(place, request);
                Acquired::Queued
            }
        }
    }

    pub(super) fn find_lock(&self, tag: LockTag) -> Option<&Lock> {
        let place = self.locks.binary_search_by_key(&tag, |lock| lock.tag).ok()?;
        Some(&self.locks[place])
    }

    fn lock_entry(&mut self, tag: LockTag) -> &mut Lock {
        let place = match self.locks.binary_search_by_key(&tag, |lock| lock.tag) {
            Ok(place) => place,
            Err(place) => {
                self.locks.insert(place, Lock::new(tag));
                place
            }
        };
        &mut self.locks[place]
    }

    /// Changes holders and queues where `change` says it did, and grants what that makes possible.
    pub(super) fn rearrange(&mut self, mut change: impl FnMut(&mut Lock) -> bool) {
        let mut served: SmallVec<[SessionId; 4]> = SmallVec::new();
        self.locks.retain_mut(|lock| {
            if change(lock) {
                served.extend(lock.serve());
            }
            !(lock.holders.is_empty() && lock.queue.is_empty())
        });
        for session in served {
            self.make_ready(session);
        }
    }

    /// Releases what a session took for its transaction at a savepoint depth or deeper: row locks and all others.
    pub(super) fn release_locks(&mut self, session: SessionId, depth: SubId) {
        // Who asks for one of these later waits no more: the order of the two matters.
        let mut released: SmallVec<[(Resource, AccessKind); 8]> = SmallVec::new();
        let mut unlocked: SmallVec<[(TableId, VersionId); 8]> = SmallVec::new();
        self.row_locks.retain(|lock| {
            let stays = lock.session != session || lock.sub < depth;
            if !stays {
                unlocked.push((lock.table, lock.from));
            }
            stays
        });
        for (table, version) in unlocked {
            self.note_row(table, version, AccessKind::Lock);
        }
        self.rearrange(|lock| {
            let mut changed = false;
            let tag = lock.tag;
            lock.holders.retain(|holder| {
                if holder.session != session || holder.tx.is_none_or(|sub| sub < depth) {
                    return true;
                }
                changed = true;
                match tag {
                    LockTag::Table(table) => released.push((Resource::TableLock(table), table_access(holder.mode))),
                    LockTag::Advisory(key) => released.push((Resource::Advisory(key), AccessKind::Lock)),
                    // Nobody holds a place in a row's line without a lock on the row, or waiting for one.
                    LockTag::Tuple(..) => {}
                }
                holder.tx = None;
                holder.count > 0
            });
            changed
        });
        for (resource, kind) in released {
            self.note(resource, kind);
        }
    }

    /// A savepoint was released: its locks belong to the depth above.
    pub(super) fn clamp_locks(&mut self, session: SessionId, depth: SubId) {
        let mut own = Vec::new();
        for lock in &mut self.row_locks {
            if lock.session == session && lock.sub > depth {
                lock.sub = depth;
                own.push((lock.table, lock.row));
            }
        }
        for (table, row) in own {
            self.simplify_row_locks(session, table, row);
        }
        for lock in &mut self.locks {
            for holder in &mut lock.holders {
                if holder.session == session {
                    holder.tx = holder.tx.map(|sub| sub.min(depth));
                }
            }
            for request in &mut lock.queue {
                if let Hold::Transaction(sub) = &mut request.hold
                    && request.session == session
                {
                    *sub = (*sub).min(depth);
                }
            }
        }
    }

    /// Takes a session out of the queue for an object.
    pub(super) fn leave_queue(&mut self, session: SessionId, tag: LockTag) {
        self.rearrange(|lock| {
            let before = lock.queue.len();
            if lock.tag == tag {
                lock.queue.retain(|request| request.session != session);
            }
            lock.queue.len() != before
        });
    }

    /// Gives up every tuple lock of a session: the operation that needed its place in line is over.
    pub(super) fn release_tuple_locks(&mut self, session: SessionId) {
        let any = self.locks.iter().any(|lock| {
            matches!(lock.tag, LockTag::Tuple(..)) && lock.holders.iter().any(|holder| holder.session == session)
        });
        if any {
            self.rearrange(|lock| {
                let before = lock.holders.len();
                if matches!(lock.tag, LockTag::Tuple(..)) {
                    lock.holders.retain(|holder| holder.session != session);
                }
                lock.holders.len() != before
            });
        }
    }

    /// Whether a session waits in the queue of an object.
    pub(super) fn is_queued(&self, session: SessionId, tag: LockTag) -> bool {
        self.find_lock(tag)
            .is_some_and(|lock| lock.queue.iter().any(|request| request.session == session))
    }

    /// Whether the wait of a session was for this request, and it was granted.
    pub(super) fn was_granted(&self, session: SessionId, tag: LockTag, mode: TableMode) -> bool {
        self.session(session)
            .and_then(|session| session.wait.as_ref())
            .is_some_and(|wait| wait.ready && wait.on == WaitOn::from_tag(tag, mode))
    }
}

pub(super) fn deadlock_detected() -> SqlError {
    SqlError::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")
}
