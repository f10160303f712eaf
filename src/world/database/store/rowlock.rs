//! Row locks: four strengths, held on the row (all its versions) until the (sub)transaction ends.
//!
//! This is `heap_lock_tuple` and `heapam_tuple_lock`. Who must wait first becomes *next in line* for the version (a tuple
//! lock: first in, first out, and the only queue there is), then waits for the holder's transaction. A compatible locker
//! never looks at the line, a holder that strengthens its lock does not join it, and who finds that the version was changed
//! leaves it and follows the chain of updates, where nobody queues for a version that somebody is changing.
//!
//! UPDATE and DELETE take the same way (their own waits in `heap_update` and `heap_delete` follow the same rules).

use super::footprint::AccessKind;
use super::heap::{RowId, Stamp, SubId, TableId, VersionId};
use super::lock::{Acquired, Hold, LockTag, Request, TableMode};
use super::snapshot::Snapshot;
use super::transaction::Level;
use super::waiting::{About, WaitOn};
use super::{SessionId, Stop, Store, concurrent_delete, concurrent_update};
use crate::machine::sql::{SqlError, SqlState};

/// The four strengths of a row lock, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strength {
    /// FOR KEY SHARE: the row's key stays. What a foreign key check takes.
    KeyShare,
    /// FOR SHARE: the row stays as it is.
    Share,
    /// FOR NO KEY UPDATE, and UPDATE of other columns than keys.
    NoKeyUpdate,
    /// FOR UPDATE, DELETE, and UPDATE of a key.
    Update,
}

impl Strength {
    /// Whether two sessions cannot hold these two at once.
    pub fn conflicts(self, other: Strength) -> bool {
        use Strength::{KeyShare, NoKeyUpdate, Share, Update};
        match self {
            KeyShare => other == Update,
            Share => other >= NoKeyUpdate,
            NoKeyUpdate => other >= Share,
            Update => true,
        }
    }

    /// The mode in which the place next in line is held.
    fn line_mode(self) -> TableMode {
        match self {
            Strength::KeyShare => TableMode::AccessShare,
            Strength::Share => TableMode::RowShare,
            Strength::NoKeyUpdate => TableMode::Exclusive,
            Strength::Update => TableMode::AccessExclusive,
        }
    }
}

/// What to do when a lock is not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WaitPolicy {
    /// Wait.
    #[default]
    Block,
    /// Fail with `55P03`.
    NoWait,
    /// Leave the row out.
    SkipLocked,
}

/// Who asks for a row lock: it decides the words of an error, and what "changed" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// SELECT FOR ...
    Select,
    /// UPDATE, DELETE, MERGE.
    Write,
    /// ON CONFLICT DO UPDATE, on the version that has the key.
    Upsert,
}

/// A request for a row lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RowRequest {
    /// How strong.
    pub strength: Strength,
    /// When it is not free.
    pub wait: WaitPolicy,
    /// For whom.
    pub purpose: Purpose,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Locked {
    /// That very version is locked; its values stand.
    Same,
    /// The row was changed meanwhile (READ COMMITTED): its newest version is locked. Test the condition again.
    Moved(VersionId),
    /// The row was deleted meanwhile (READ COMMITTED). For an upsert: changed or deleted, look for the key again.
    Gone,
    /// Somebody has it, and the request was to skip it.
    Skipped,
    /// The running statement itself changed it (for an upsert: wrote it).
    SelfModified,
}

/// One lock of one session on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowLock {
    pub(super) table: TableId,
    pub(super) row: RowId,
    pub(super) session: SessionId,
    pub(super) sub: SubId,
    pub(super) strength: Strength,
    /// The oldest version that it covers. Who comes with an old snapshot waits for the holders of the version it sees even
    /// when committed work ended that version; a lock that was only taken later does not hold it up.
    pub(super) from: VersionId,
}

/// One attempt at one version.
enum Attempt {
    Locked,
    /// Committed work ended it.
    Ended,
    Own,
    Busy,
}

enum Followed {
    At(VersionId),
    Gone,
    Own,
    Busy,
}

impl Store {
    /// Locks a row that the snapshot shows, waiting for others and following later changes as Postgres does.
    ///
    /// Above READ COMMITTED a row that a committed transaction changed after the snapshot is `40001`. With
    /// [`WaitPolicy::NoWait`] a row that is not free is `55P03`; the caller puts the relation's name into the message.
    pub fn lock_row(
        &mut self,
        session: SessionId,
        table: TableId,
        version: VersionId,
        request: &RowRequest,
        snapshot: &Snapshot,
    ) -> Result<Locked, Stop> {
        self.note_row(table, version, AccessKind::Lock);
        let result = self.lock_newest(session, table, version, request, snapshot);
        if result != Err(Stop::Wait) {
            self.drop_wait(session);
            self.release_tuple_locks(session);
        }
        result
    }

    fn lock_newest(
        &mut self,
        session: SessionId,
        table: TableId,
        version: VersionId,
        request: &RowRequest,
        snapshot: &Snapshot,
    ) -> Result<Locked, Stop> {
        let strict = self.level(session).is_some_and(|level| level != Level::ReadCommitted);
        let command = self.snap(session, snapshot).command;
        let mut at = version;
        loop {
            match self.lock_version(session, table, at, request, command)? {
                Attempt::Locked => {
                    if request.purpose == Purpose::Upsert {
                        self.read_conflicting(session, snapshot, table, at)?;
                    }
                    return Ok(if at == version { Locked::Same } else { Locked::Moved(at) });
                }
                Attempt::Own => return Ok(Locked::SelfModified),
                Attempt::Busy => return Ok(Locked::Skipped),
                Attempt::Ended => {}
            }
            let updated = self.heap(table).get(at).end.is_some_and(|end| end.updated);
            if strict {
                let delete = !updated && request.purpose != Purpose::Select;
                return Err(if delete {
                    concurrent_delete()
                } else {
                    concurrent_update()
                }
                .into());
            }
            if request.purpose == Purpose::Upsert {
                return Ok(Locked::Gone);
            }
            self.release_tuple_locks(session);
            match self.follow(session, table, at, request, command)? {
                Followed::At(newest) => at = newest,
                Followed::Gone => return Ok(Locked::Gone),
                Followed::Own => return Ok(Locked::SelfModified),
                Followed::Busy => return Ok(Locked::Skipped),
            }
        }
    }

    /// `heap_lock_tuple`: one version.
    fn lock_version(
        &mut self,
        session: SessionId,
        table: TableId,
        at: VersionId,
        request: &RowRequest,
        command: u32,
    ) -> Result<Attempt, Stop> {
        let version = self.heap(table).get(at);
        let (row, end) = (version.row, version.end);
        if is_by_command(version.created, session, command) || end.is_some_and(|end| end.stamp.is_of(session)) {
            return Ok(Attempt::Own);
        }
        // Changes of other columns do not disturb KEY SHARE on an older version; what matters is further down the chain.
        let past = request.strength == Strength::KeyShare && end.is_some_and(|end| !end.key_change);
        let over = match past {
            true => self.key_is_gone(table, at),
            false => end.is_some_and(|end| matches!(end.stamp, Stamp::Committed(_))),
        };
        let own = self.own_strength(session, table, row);
        if !over && own.is_some_and(|own| own >= request.strength) {
            return Ok(Attempt::Locked);
        }
        let rival = self
            .locks_of_row(table, row)
            .filter(|lock| !over || (!past && lock.from <= at))
            .find(|lock| lock.session != session && lock.strength.conflicts(request.strength))
            .copied();
        let Some(rival) = rival else {
            if over {
                return Ok(Attempt::Ended);
            }
            self.add_row_lock(session, table, at, request.strength);
            return Ok(Attempt::Locked);
        };
        // Who holds a weaker lock does not join the line: the first in it may be waiting for that very lock.
        if own.is_none() && !past && !self.next_in_line(session, table, at, request)? {
            return Ok(Attempt::Busy);
        }
        if request.wait != WaitPolicy::Block && !past {
            return not_free(request);
        }
        let about = About::Row {
            table,
            version: at,
            in_line: !past && own.is_none(),
        };
        Err(self.wait_for(session, rival.session, rival.sub, about))
    }

    /// Takes the place next in line for a version; `false` when it is not free and the request is to skip.
    fn next_in_line(
        &mut self,
        session: SessionId,
        table: TableId,
        at: VersionId,
        request: &RowRequest,
    ) -> Result<bool, Stop> {
        let tag = LockTag::Tuple(table, at);
        let holds = |holder: &super::lock::Holder| holder.session == session;
        if self.find_lock(tag).is_some_and(|lock| lock.holders.iter().any(holds)) {
            return Ok(true);
        }
        let sub = self.tx_mut(session).depth();
        let ask = Request {
            session,
            mode: request.strength.line_mode(),
            hold: Hold::Transaction(sub),
        };
        match request.wait {
            WaitPolicy::Block => self.ask(tag, ask, false),
            _ => match self.acquire(tag, ask, true) {
                Acquired::Granted => Ok(true),
                _ => not_free(request).map(|_| false),
            },
        }
    }

    /// Follows the chain from a version that committed work ended, to the newest. Who is changing that one is waited for,
    /// whatever the strength, and without a line.
    fn follow(
        &mut self,
        session: SessionId,
        table: TableId,
        from: VersionId,
        request: &RowRequest,
        command: u32,
    ) -> Result<Followed, Stop> {
        let mut next = self.heap(table).get(from).end.and_then(|end| end.next);
        while let Some(at) = next {
            let version = self.heap(table).get(at);
            let created = version.created;
            match version.end {
                None if is_by_command(created, session, command) => return Ok(Followed::Own),
                None => return Ok(Followed::At(at)),
                Some(end) => match end.stamp.other(session) {
                    None => next = end.next,
                    Some(_) if request.wait != WaitPolicy::Block => {
                        return not_free(request).map(|_| Followed::Busy);
                    }
                    Some((holder, sub)) => {
                        let about = About::Row {
                            table,
                            version: at,
                            in_line: false,
                        };
                        return Err(self.wait_for(session, holder, sub, about));
                    }
                },
            }
        }
        Ok(Followed::Gone)
    }

    pub(super) fn wait_for(&mut self, session: SessionId, holder: SessionId, sub: SubId, about: About) -> Stop {
        let sub = sub.0;
        self.wait(session, WaitOn::Transaction { holder, sub, about })
    }

    /// Whether committed work changed the key or deleted the row somewhere after this version.
    fn key_is_gone(&self, table: TableId, from: VersionId) -> bool {
        let heap = self.heap(table);
        let mut next = Some(from);
        while let Some(end) = next.and_then(|at| heap.get(at).end) {
            if end.key_change && matches!(end.stamp, Stamp::Committed(_)) {
                return true;
            }
            next = end.next;
        }
        false
    }

    fn locks_of_row(&self, table: TableId, row: RowId) -> impl Iterator<Item = &RowLock> {
        let start = self
            .row_locks
            .partition_point(|lock| (lock.table, lock.row) < (table, row));
        self.row_locks[start..]
            .iter()
            .take_while(move |lock| (lock.table, lock.row) == (table, row))
    }

    /// The strongest lock that a session holds on a row.
    pub(super) fn own_strength(&self, session: SessionId, table: TableId, row: RowId) -> Option<Strength> {
        self.locks_of_row(table, row)
            .filter(|lock| lock.session == session)
            .map(|lock| lock.strength)
            .max()
    }

    /// Adds a lock. What it covers goes: a session's lock at the same depth or deeper that is not stronger.
    pub(super) fn add_row_lock(&mut self, session: SessionId, table: TableId, from: VersionId, strength: Strength) {
        let row = self.heap(table).get(from).row;
        let sub = self.tx_mut(session).depth();
        let end = self
            .row_locks
            .partition_point(|lock| (lock.table, lock.row) <= (table, row));
        let lock = RowLock {
            table,
            row,
            session,
            sub,
            strength,
            from,
        };
        self.row_locks.insert(end, lock);
        self.simplify_row_locks(session, table, row);
    }

    /// Removes what another lock of the same session on the row makes redundant. The first keeps its place in the order.
    pub(super) fn simplify_row_locks(&mut self, session: SessionId, table: TableId, row: RowId) {
        let start = self
            .row_locks
            .partition_point(|lock| (lock.table, lock.row) < (table, row));
        let end = self
            .row_locks
            .partition_point(|lock| (lock.table, lock.row) <= (table, row));
        let mut own: Vec<RowLock> = Vec::new();
        for lock in self.row_locks[start..end].iter().filter(|lock| lock.session == session) {
            let covers = |one: &RowLock, other: &RowLock| {
                one.sub <= other.sub && one.strength >= other.strength && one.from <= other.from
            };
            if !own.iter().any(|known| covers(known, lock)) {
                own.retain(|known| !covers(lock, known));
                own.push(*lock);
            }
        }
        let mut place = start;
        let mut first = None;
        self.row_locks.retain(|lock| {
            let keep = lock.session != session || (lock.table, lock.row) != (table, row);
            if !keep {
                first.get_or_insert(place);
            }
            place += usize::from(keep && (lock.table, lock.row) == (table, row));
            keep
        });
        own.sort_by_key(|lock| lock.sub);
        let first = first.unwrap_or(start);
        self.row_locks.splice(first..first, own);
    }
}

/// Written by a running command of this session, so that the statement does not see it.
fn is_by_command(stamp: Stamp, owner: SessionId, since: u32) -> bool {
    matches!(stamp, Stamp::Live { session, command, .. } if session == owner && command >= since)
}

fn not_free(request: &RowRequest) -> Result<Attempt, Stop> {
    match request.wait {
        WaitPolicy::NoWait => Err(Stop::Error(SqlError::new(
            SqlState::LOCK_NOT_AVAILABLE,
            "could not obtain lock on row in relation \"?\"",
        ))),
        _ => Ok(Attempt::Busy),
    }
}
