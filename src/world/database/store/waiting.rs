//! Who waits for what, who is in the way, and whose turn it is.

use super::advisory::AdvisoryKey;
use super::footprint::{AccessKind, Resource};
use super::heap::{IndexId, RowId, Stamp, SubId, TableId, VersionId};
use super::lock::{LockTag, TableMode};
use super::unique::{Key, Twin};
use super::{SessionId, Stop, Store};

/// A session that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wait {
    /// For what.
    pub on: WaitOn,
    /// Its place among the waits, by when they began.
    pub(super) order: u32,
    /// What it waited for has come; the operation may be attempted again.
    pub(super) ready: bool,
}

/// What a session waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WaitOn {
    /// A table lock.
    Table {
        /// The table.
        table: TableId,
        /// The mode asked for.
        mode: TableMode,
    },
    /// An advisory lock.
    Advisory {
        /// Its key.
        key: AdvisoryKey,
        /// Shared, or exclusive.
        shared: bool,
    },
    /// To be next in line for a row.
    Tuple {
        /// The row's table.
        table: TableId,
        /// The version whose queue it is.
        version: VersionId,
        /// The mode in which the place is held.
        mode: TableMode,
    },
    /// The end of another session's transaction, or of its part since a savepoint.
    Transaction {
        /// Whose.
        holder: SessionId,
        /// The depth of the savepoint; 0 is the whole transaction.
        sub: u16,
        /// Why.
        about: About,
    },
    /// A snapshot that is safe (SERIALIZABLE READ ONLY DEFERRABLE).
    SafeSnapshot,
}

/// Why a session waits for a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// It locked or changed a row.
    Row {
        /// The row's table.
        table: TableId,
        /// The version that was met.
        version: VersionId,
        /// Whether the waiter is next in line for it; otherwise it follows the chain of updates, without a place.
        in_line: bool,
    },
    /// It wrote or removed a key that must be unique.
    Key {
        /// The index.
        index: IndexId,
        /// The key.
        key: Key,
        /// ON CONFLICT looks; otherwise the key is being entered.
        probing: bool,
    },
}

/// Who can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wakeups {
    /// Nobody.
    Nobody,
    /// These, the first of them next. Ask again when it has run.
    InTurn(Vec<SessionId>),
    /// Any one of these may be the next, as on the real server; the first is the usual one. Ask again when it has run.
    Race(Vec<SessionId>),
}

impl WaitOn {
    pub(super) fn from_tag(tag: LockTag, mode: TableMode) -> WaitOn {
        match tag {
            LockTag::Table(table) => WaitOn::Table { table, mode },
            LockTag::Tuple(table, version) => WaitOn::Tuple { table, version, mode },
            LockTag::Advisory(key) => WaitOn::Advisory {
                key,
                shared: mode == TableMode::Share,
            },
        }
    }

    pub(super) fn tag(&self) -> Option<(LockTag, TableMode)> {
        match self {
            WaitOn::Table { table, mode } => Some((LockTag::Table(*table), *mode)),
            WaitOn::Tuple { table, version, mode } => Some((LockTag::Tuple(*table, *version), *mode)),
            WaitOn::Advisory { key, shared: true } => Some((LockTag::Advisory(*key), TableMode::Share)),
            WaitOn::Advisory { key, shared: false } => Some((LockTag::Advisory(*key), TableMode::Exclusive)),
            WaitOn::Transaction { .. } | WaitOn::SafeSnapshot => None,
        }
    }

    /// The version that is waited for, and whether through its queue.
    pub(super) fn version(&self) -> Option<(TableId, VersionId, bool)> {
        match self {
            WaitOn::Tuple { table, version, .. } => Some((*table, *version, true)),
            WaitOn::Transaction {
                about:
                    About::Row {
                        table,
                        version,
                        in_line,
                    },
                ..
            } => Some((*table, *version, *in_line)),
            _ => None,
        }
    }
}

impl Store {
    /// What a session waits for, until its operation is attempted again.
    pub fn waiting(&self, session: SessionId) -> Option<&Wait> {
        self.session(session).and_then(|session| session.wait.as_ref())
    }

    /// Every waiting session, by when its wait began.
    pub fn waiters(&self) -> Vec<SessionId> {
        let mut waits: Vec<_> = self
            .sessions
            .iter()
            .filter_map(|session| Some((session.wait.as_ref()?.order, session.id)))
            .collect();
        waits.sort_unstable();
        waits.into_iter().map(|(_, session)| session).collect()
    }

    /// Who is in a session's way, as `pg_blocking_pids` tells it: holders of what it needs, then those ahead in the queue
    /// whose requests conflict with its own. Empty when it does not wait, or its turn has come.
    pub fn blockers(&self, session: SessionId) -> Vec<SessionId> {
        let (mut hard, soft) = self.obstacles(session);
        if self
            .waiting(session)
            .is_some_and(|wait| wait.on == WaitOn::SafeSnapshot && !wait.ready)
        {
            hard = self.ssi_unsafe_with(session);
        }
        hard.extend(soft);
        let mut seen = Vec::new();
        hard.retain(|blocker| !seen.contains(blocker) && (seen.push(*blocker), true).1);
        hard
    }

    /// Who can go on, now that something ended. See [`Wakeups`].
    pub fn wakeable(&self) -> Wakeups {
        let ready: Vec<SessionId> = self
            .waiters()
            .into_iter()
            .filter(|session| self.waiting(*session).is_some_and(|wait| wait.ready))
            .collect();
        let Some(first) = ready.first().and_then(|first| self.waiting(*first)) else {
            return Wakeups::Nobody;
        };
        let group = match &first.on {
            WaitOn::Tuple { .. }
            | WaitOn::Transaction {
                about: About::Row { .. },
                ..
            } => self.row_race(first),
            WaitOn::Transaction {
                about: About::Key { index, key, probing },
                ..
            } => self.key_race(&ready, *index, key, *probing),
            _ => Vec::new(),
        };
        let group = self.with_key_waiters(group, &ready);
        match group.len() {
            0 | 1 => Wakeups::InTurn(ready),
            _ => Wakeups::Race(group),
        }
    }

    /// A row that was given back is made for by those who wait to change it and by those who wait for its key alike.
    fn with_key_waiters(&self, group: Vec<SessionId>, ready: &[SessionId]) -> Vec<SessionId> {
        let Some((table, row)) = self.row_of(ready[0]) else {
            return group;
        };
        let alike: Vec<SessionId> = ready
            .iter()
            .copied()
            .filter(|session| group.contains(session) || self.row_of(*session) == Some((table, row)))
            .collect();
        let by_key = |session: &SessionId| {
            let wait = self.waiting(*session);
            matches!(
                wait.map(|wait| &wait.on),
                Some(WaitOn::Transaction {
                    about: About::Key { .. },
                    ..
                })
            )
        };
        let mixed = alike.iter().any(by_key) && !alike.iter().all(by_key);
        if !mixed {
            return group;
        }
        let late = group.iter().filter(|session| !alike.contains(session)).copied();
        alike.iter().copied().chain(late).collect()
    }

    /// The row that a ready session goes for, if it stands: directly, or as the one that has the key.
    fn row_of(&self, session: SessionId) -> Option<(TableId, RowId)> {
        let (table, version) = match &self.waiting(session)?.on {
            WaitOn::Transaction {
                about: About::Key { index, key, .. },
                ..
            } => match self.twin(session, *index, key, None) {
                Twin::Stands(version) => (self.index(*index).table, version),
                _ => return None,
            },
            on => on.version().map(|(table, version, _)| (table, version))?,
        };
        Some((table, self.heap(table).find(version)?.row))
    }

    /// Those who race for the row that a ready session waits for: when the version was changed, the line before it is over
    /// and everybody in it makes for the new version; who strengthens a lock, or follows the chain, stands in no line.
    fn row_race(&self, first: &Wait) -> Vec<SessionId> {
        let Some((table, version, _)) = first.on.version() else {
            return Vec::new();
        };
        let end = self.heap(table).find(version).and_then(|version| version.end);
        let changed = end.is_some_and(|end| end.updated && matches!(end.stamp, Stamp::Committed(_)));
        let runs = |session: &SessionId| {
            let wait = self.waiting(*session)?;
            let (of, at, in_line) = wait.on.version()?;
            let free = wait.ready || (changed && matches!(wait.on, WaitOn::Tuple { .. }));
            (free && (of, at) == (table, version)).then_some((*session, in_line))
        };
        let group: Vec<(SessionId, bool)> = self.waiters().iter().filter_map(runs).collect();
        if !changed && group.iter().all(|(_, in_line)| *in_line) {
            return Vec::new();
        }
        group.into_iter().map(|(session, _)| session).collect()
    }

    /// Those who race for a key: it is free now, or they are about to lock the row that has it.
    fn key_race(&self, ready: &[SessionId], index: IndexId, key: &Key, probing: bool) -> Vec<SessionId> {
        let first = ready[0];
        let free = matches!(self.twin(first, index, key, None), Twin::None);
        if !free && !probing {
            return Vec::new();
        }
        let same = |on: &WaitOn| {
            matches!(on, WaitOn::Transaction { about: About::Key { index: of, key: at, probing: other }, .. }
                if *of == index && at == key && (free || *other))
        };
        ready
            .iter()
            .copied()
            .filter(|session| self.waiting(*session).is_some_and(|wait| same(&wait.on)))
            .collect()
    }

    /// Who a session waits for: holders, and those ahead of it in a queue.
    pub(super) fn obstacles(&self, session: SessionId) -> (Vec<SessionId>, Vec<SessionId>) {
        let Some(wait) = self.waiting(session).filter(|wait| !wait.ready) else {
            return (Vec::new(), Vec::new());
        };
        if let WaitOn::Transaction { holder, .. } = wait.on {
            return (vec![holder], Vec::new());
        }
        let Some((lock, mode)) = wait.on.tag().and_then(|(tag, mode)| Some((self.find_lock(tag)?, mode))) else {
            return (Vec::new(), Vec::new());
        };
        let hard = lock
            .holders
            .iter()
            .filter(|holder| holder.session != session && holder.mode.conflicts(mode))
            .map(|holder| holder.session)
            .collect();
        let soft = lock
            .queue
            .iter()
            .take_while(|request| request.session != session)
            .filter(|request| request.mode.conflicts(mode))
            .map(|request| request.session)
            .collect();
        (hard, soft)
    }

    /// Notes that a session waits. A wait for the same thing that goes on keeps its place; any other begins now.
    pub(super) fn wait(&mut self, session: SessionId, on: WaitOn) -> Stop {
        let old = self.session_mut(session).wait.clone();
        if let Some(old) = old {
            if old.on == on && !old.ready {
                return Stop::Wait;
            }
            if let Some((tag, _)) = old.on.tag().filter(|_| !old.ready)
                && on.tag().is_none_or(|(new, _)| new != tag)
            {
                self.leave_queue(session, tag);
            }
        }
        // The snapshot outlives this step: what commits until the statement goes on is not in it.
        self.note(Resource::Everything, AccessKind::Read);
        let order = self.next_wait;
        self.next_wait += 1;
        self.session_mut(session).wait = Some(Wait {
            on,
            order,
            ready: false,
        });
        // Two waits that have a transaction in common may close a circle: who comes second finds the deadlock.
        let (hard, soft) = self.obstacles(session);
        for transaction in hard.into_iter().chain(soft).chain([session]) {
            self.note(Resource::Transaction(transaction), AccessKind::Lock);
        }
        Stop::Wait
    }

    /// A statement is stopped: its snapshot outlives this step, so what commits until it goes on is not in it.
    pub fn outlive_step(&mut self) {
        self.note(Resource::Everything, AccessKind::Read);
    }

    /// The wait is over, one way or the other: its place in a queue goes.
    pub(super) fn drop_wait(&mut self, session: SessionId) {
        let Some(wait) = self
            .sessions
            .binary_search_by_key(&session, |known| known.id)
            .ok()
            .and_then(|place| self.sessions[place].wait.take())
        else {
            return;
        };
        if let Some((tag, _)) = wait.on.tag().filter(|_| !wait.ready) {
            self.leave_queue(session, tag);
        }
    }

    pub(super) fn make_ready(&mut self, session: SessionId) {
        if let Some(wait) = &mut self.session_mut(session).wait {
            wait.ready = true;
        }
    }

    /// A session's transaction ended at a savepoint depth and deeper: who waited for that may go on.
    pub(super) fn wake_waiters_for(&mut self, session: SessionId, depth: SubId) {
        self.note(Resource::Transaction(session), AccessKind::Publish);
        for waiter in &mut self.sessions {
            if let Some(wait) = &mut waiter.wait
                && let WaitOn::Transaction { holder, sub, .. } = wait.on
                && holder == session
                && sub >= depth.0
            {
                wait.ready = true;
            }
        }
    }
}
