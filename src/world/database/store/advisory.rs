//! Advisory locks: two key spaces, shared and exclusive, for the session (counted) or for the transaction.

use super::footprint::{AccessKind, Resource};
use super::lock::{Hold, LockTag, Request, TableMode};
use super::{SessionId, Stop, Store};

/// What an advisory lock is on. The two forms are separate spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AdvisoryKey {
    /// One `bigint`.
    Big(i64),
    /// Two `integer`s.
    Pair(i32, i32),
}

/// How long an advisory lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Until it is unlocked as often as it was locked; survives ROLLBACK.
    Session,
    /// Until the (sub)transaction ends; cannot be unlocked by hand.
    Transaction,
}

impl Store {
    /// `pg_advisory_lock` and its variants. `Ok(false)` only with `try_only`.
    pub fn advisory_lock(
        &mut self,
        session: SessionId,
        key: AdvisoryKey,
        shared: bool,
        scope: Scope,
        try_only: bool,
    ) -> Result<bool, Stop> {
        self.note(Resource::Advisory(key), AccessKind::Lock);
        let hold = match scope {
            Scope::Session => Hold::Session,
            Scope::Transaction => Hold::Transaction(self.tx_mut(session).depth()),
        };
        let request = Request {
            session,
            mode: mode(shared),
            hold,
        };
        self.ask(LockTag::Advisory(key), request, try_only)
    }

    /// `pg_advisory_unlock`: `false` (the caller warns) when the session holds no such lock of its own.
    pub fn advisory_unlock(&mut self, session: SessionId, key: AdvisoryKey, shared: bool) -> bool {
        self.note(Resource::Advisory(key), AccessKind::Lock);
        let mut unlocked = false;
        self.rearrange(|lock| {
            if lock.tag != LockTag::Advisory(key) {
                return false;
            }
            let mut freed = false;
            lock.holders.retain(|holder| {
                if holder.session == session && holder.mode == mode(shared) && holder.count > 0 {
                    unlocked = true;
                    holder.count -= 1;
                    freed = holder.count == 0 && holder.tx.is_none();
                    return !freed;
                }
                true
            });
            freed
        });
        unlocked
    }

    /// `pg_advisory_unlock_all`: every lock held for the session; those of the transaction stay.
    pub fn advisory_unlock_all(&mut self, session: SessionId) {
        let mut keys = Vec::new();
        self.rearrange(|lock| {
            let LockTag::Advisory(key) = lock.tag else {
                return false;
            };
            let mut freed = false;
            lock.holders.retain(|holder| {
                if holder.session != session || holder.count == 0 {
                    return true;
                }
                keys.push(key);
                holder.count = 0;
                freed |= holder.tx.is_none();
                holder.tx.is_some()
            });
            freed
        });
        for key in keys {
            self.note(Resource::Advisory(key), AccessKind::Lock);
        }
    }
}

fn mode(shared: bool) -> TableMode {
    match shared {
        true => TableMode::Share,
        false => TableMode::Exclusive,
    }
}
