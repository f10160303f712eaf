//! One form for all histories that look the same.
//!
//! What no session can see or wait for goes: dead versions, idle sessions. Every number whose size means nothing (versions,
//! rows, commits, commands, the order of waits) is replaced by its rank. Afterwards two stores are equal exactly when no
//! continuation can tell them apart, as far as the model goes; the exceptions are sequences, whose values show.

use std::sync::Arc;

use super::heap::{End, Heap, RowId, Seq, Stamp, TableId, VersionId};
use super::lock::LockTag;
use super::ssi::SxId;
use super::waiting::{About, WaitOn};
use super::{SessionId, Store};

/// Which versions got other ids.
#[derive(Clone, Debug, Default)]
pub struct Renumbering {
    /// Sorted by table.
    tables: Vec<(TableId, Ids)>,
}

/// Old ids, sorted, with the new ones.
type Ids = Vec<(VersionId, VersionId)>;

impl Renumbering {
    /// The id that a version has now. A version that is gone keeps its old one, which means nothing.
    pub fn version(&self, table: TableId, version: VersionId) -> VersionId {
        let Ok(place) = self.tables.binary_search_by_key(&table, |(table, _)| *table) else {
            return version;
        };
        let ids = &self.tables[place].1;
        match ids.binary_search_by_key(&version, |(old, _)| *old) {
            Ok(place) => ids[place].1,
            Err(_) => version,
        }
    }
}

/// Which commits the running transactions tell apart.
struct Ranks {
    /// A commit's rank is the number of these that are smaller.
    borders: Vec<Seq>,
}

impl Ranks {
    fn of(&self, seq: Seq) -> Seq {
        Seq(self.borders.partition_point(|border| *border < seq) as u32)
    }
}

impl Store {
    /// Brings the store into its one form. `held` are the versions that statements under way remember: they are kept, and
    /// the caller maps what it remembers through the result.
    pub fn canonicalize(&mut self, held: &[(TableId, VersionId)]) -> Renumbering {
        self.sessions.retain(|session| !session.is_blank());
        self.prune(held);
        self.anchor_row_locks();
        self.rank_commands();
        self.rank_commits();
        let renumbering = self.renumber_versions();
        self.rank_waits();
        self.rank_serializable();
        renumbering
    }

    /// Removes versions that no snapshot, wait or statement can reach.
    fn prune(&mut self, held: &[(TableId, VersionId)]) {
        if self.tables.iter().flatten().all(|heap| heap.settled) {
            return;
        }
        let snapshots: Vec<(SessionId, super::snapshot::Snap)> = self
            .sessions
            .iter()
            .filter_map(|session| Some((session.id, session.tx.as_ref()?)))
            .flat_map(|(id, tx)| tx.snapshots.iter().map(move |snap| (id, *snap)))
            .collect();
        let oldest = snapshots.iter().map(|(_, snap)| snap.seq).min().unwrap_or(self.last);
        // Serializable transactions look at every version that was written since their snapshot.
        let tracked = self
            .ssi
            .txs
            .iter()
            .filter(|tx| tx.session.is_some())
            .map(|tx| tx.snapshot)
            .min()
            .unwrap_or(self.last);
        let mut held = held.to_vec();
        held.extend(self.awaited_versions());
        for place in 0..self.tables.len() {
            let table = TableId(place as u16);
            let Some(heap) = self.tables[place].as_ref().filter(|heap| !heap.settled) else {
                continue;
            };
            let dead: Vec<VersionId> = heap
                .versions
                .iter()
                .filter(|version| match version.end.map(|end| end.stamp) {
                    Some(Stamp::Committed(end)) => {
                        let unseen = end <= oldest
                            || (end <= tracked && !snapshots.iter().any(|(id, snap)| snap.sees(*id, version)));
                        unseen && !held.contains(&(table, version.id))
                    }
                    _ => false,
                })
                .map(|version| version.id)
                .collect();
            if !dead.is_empty() {
                self.heap_mut(table).bury(&dead);
                self.unindex(table, &dead);
            }
        }
    }

    /// A row lock covers from the oldest version that is left of those it covered.
    fn anchor_row_locks(&mut self) {
        for place in 0..self.row_locks.len() {
            let lock = self.row_locks[place];
            let versions = &self.heap(lock.table).versions;
            let mut covered = versions[versions.partition_point(|version| version.id < lock.from)..].iter();
            let first = covered.find(|version| version.row == lock.row);
            self.row_locks[place].from = first.map_or(VersionId(0), |version| version.id);
        }
    }

    /// Versions that somebody waits for or stands in line for.
    fn awaited_versions(&self) -> Vec<(TableId, VersionId)> {
        let waits = self
            .sessions
            .iter()
            .filter_map(|session| session.wait.as_ref()?.on.version())
            .map(|(table, version, _)| (table, version));
        let lines = self.locks.iter().filter_map(|lock| match lock.tag {
            LockTag::Tuple(table, version) => Some((table, version)),
            _ => None,
        });
        waits.chain(lines).collect()
    }

    /// Commands of a session count only against the snapshots of its running statement.
    fn rank_commands(&mut self) {
        for place in 0..self.sessions.len() {
            let id = self.sessions[place].id;
            let Some(tx) = &mut self.sessions[place].tx else {
                continue;
            };
            let mut borders: Vec<u32> = match tx.in_statement {
                true => tx.snapshots.iter().map(|snap| snap.command).collect(),
                false => Vec::new(),
            };
            borders.sort_unstable();
            borders.dedup();
            let rank = |command: u32| borders.partition_point(|border| *border <= command) as u32;
            let changes = tx.command != rank(tx.command) || tx.snapshots.iter().any(|snap| snap.command != 0);
            tx.command = rank(tx.command);
            for snap in &mut tx.snapshots {
                snap.command = match tx.in_statement {
                    true => rank(snap.command),
                    false => 0,
                };
            }
            if !changes {
                continue;
            }
            for table in 0..self.tables.len() {
                if self.tables[table].as_ref().is_some_and(|heap| heap.touched_by(id)) {
                    for stamp in self.heap_mut(TableId(table as u16)).stamps() {
                        if let Stamp::Live { session, command, .. } = stamp
                            && *session == id
                        {
                            *command = rank(*command);
                        }
                    }
                }
            }
        }
    }

    /// Commits count only as far as a snapshot, or the record of a serializable transaction, tells them apart.
    fn rank_commits(&mut self) {
        let ranks = self.ranks();
        self.last = ranks.of(self.last);
        for session in &mut self.sessions {
            for snap in session.tx.iter_mut().flat_map(|tx| &mut tx.snapshots) {
                snap.seq = ranks.of(snap.seq);
            }
        }
        for tx in &mut self.ssi.txs {
            tx.snapshot = ranks.of(tx.snapshot);
            tx.commit = tx.commit.map(|seq| ranks.of(seq));
            tx.out_commit = tx.out_commit.map(|seq| ranks.of(seq));
        }
        for heap in self.tables.iter_mut().flatten().filter(|heap| !heap.settled) {
            let changes = |stamp: &Stamp| matches!(stamp, Stamp::Committed(seq) if ranks.of(*seq) != *seq);
            let any = heap
                .versions
                .iter()
                .any(|version| changes(&version.created) || version.end.is_some_and(|end| changes(&end.stamp)));
            if any {
                for stamp in Arc::make_mut(heap).stamps() {
                    if let Stamp::Committed(seq) = stamp {
                        *seq = ranks.of(*seq);
                    }
                }
            }
        }
    }

    fn ranks(&self) -> Ranks {
        let mut borders: Vec<Seq> = self
            .sessions
            .iter()
            .filter_map(|session| session.tx.as_ref())
            .flat_map(|tx| tx.snapshots.iter().map(|snap| snap.seq))
            .collect();
        let mut stamps: Vec<Seq> = Vec::new();
        for tx in &self.ssi.txs {
            borders.push(tx.snapshot);
            if let Some(commit) = tx.commit {
                borders.extend([Seq(commit.0.saturating_sub(1)), commit]);
                stamps.push(commit);
            }
            stamps.extend(tx.out_commit);
        }
        for heap in self.tables.iter().flatten().filter(|heap| !heap.settled) {
            for version in &heap.versions {
                let ends = version.end.map(|end| end.stamp);
                for stamp in std::iter::once(version.created).chain(ends) {
                    if let Stamp::Committed(seq) = stamp {
                        stamps.push(seq);
                    }
                }
            }
        }
        borders.sort_unstable();
        borders.dedup();
        stamps.sort_unstable();
        // A border with nothing between it and the next separates nothing.
        let separates = |place: usize| {
            let first = stamps.partition_point(|stamp| *stamp <= borders[place]);
            match (stamps.get(first), borders.get(place + 1)) {
                (Some(stamp), Some(next)) => stamp <= next,
                (stamp, _) => stamp.is_some(),
            }
        };
        let kept = (0..borders.len()).filter(|place| separates(*place));
        Ranks {
            borders: kept.map(|place| borders[place]).collect(),
        }
    }

    /// Versions and rows are numbered by their place in the heap.
    fn renumber_versions(&mut self) -> Renumbering {
        let mut renumbering = Renumbering::default();
        let mut rows = Vec::new();
        for place in 0..self.tables.len() {
            let table = TableId(place as u16);
            let Some(heap) = self.tables[place].as_ref().filter(|heap| !heap.settled) else {
                continue;
            };
            let ids = heap.new_ids();
            let row_ids = heap.new_rows();
            let moved = ids.iter().any(|(old, new)| old != new) || row_ids.iter().any(|(old, new)| old != new);
            let settled = heap.is_settled();
            let counts = (heap.versions.len() as u32, row_ids.len() as u32);
            if !moved && !settled && heap.ranks_roots() && counts == (heap.next_version, heap.next_row) {
                continue;
            }
            self.heap_mut(table).renumber(&ids, &row_ids, settled);
            for index in self.indexes.iter_mut().flatten().filter(|index| index.table == table) {
                if moved {
                    for version in Arc::make_mut(index).entries.values_mut().flatten() {
                        *version = new_id(&ids, *version);
                    }
                }
            }
            if moved {
                renumbering.tables.push((table, ids));
                rows.push((table, row_ids));
            }
        }
        if !renumbering.tables.is_empty() {
            self.follow_renumbering(&renumbering, &rows);
        }
        renumbering
    }

    /// Rewrites the ids outside the heaps.
    fn follow_renumbering(&mut self, renumbering: &Renumbering, rows: &[(TableId, Vec<(RowId, RowId)>)]) {
        for lock in &mut self.locks {
            if let LockTag::Tuple(table, version) = &mut lock.tag {
                *version = renumbering.version(*table, *version);
            }
        }
        for session in &mut self.sessions {
            if let Some(
                WaitOn::Tuple { table, version, .. }
                | WaitOn::Transaction {
                    about: About::Row { table, version, .. },
                    ..
                },
            ) = session.wait.as_mut().map(|wait| &mut wait.on)
            {
                *version = renumbering.version(*table, *version);
            }
        }
        for lock in &mut self.row_locks {
            if let Some((_, ids)) = rows.iter().find(|(table, _)| *table == lock.table)
                && let Ok(place) = ids.binary_search_by_key(&lock.row, |(old, _)| *old)
            {
                lock.row = ids[place].1;
            }
            lock.from = renumbering.version(lock.table, lock.from);
        }
        self.row_locks.sort_by_key(|lock| (lock.table, lock.row));
        for tx in &mut self.ssi.txs {
            for (table, version) in &mut tx.marks.rows {
                *version = renumbering.version(*table, *version);
            }
            tx.marks.rows.sort_unstable();
        }
    }

    /// Waits keep their order, not their numbers.
    fn rank_waits(&mut self) {
        let order = self.waiters();
        for (rank, session) in order.iter().enumerate() {
            if let Some(wait) = &mut self.session_mut(*session).wait {
                wait.order = rank as u32;
            }
        }
        self.next_wait = order.len() as u32;
    }

    /// Serializable transactions: the committed ones in order of commit, then the running ones by session.
    fn rank_serializable(&mut self) {
        // A mark on a version that can no longer be written says nothing.
        let mut txs = std::mem::take(&mut self.ssi.txs);
        for tx in &mut txs {
            tx.marks.rows.retain(|(table, version)| {
                let version = self.heap(*table).find(*version);
                version.is_some_and(|version| !version.end.is_some_and(|end| matches!(end.stamp, Stamp::Committed(_))))
            });
        }
        txs.sort_by_key(|tx| (tx.commit.is_none(), tx.commit, tx.session));
        let old: Vec<SxId> = txs.iter().map(|tx| tx.id).collect();
        let rank = |id: SxId| {
            let place = old.iter().position(|known| *known == id);
            SxId(place.unwrap_or(usize::from(u16::MAX)) as u16)
        };
        for tx in &mut txs {
            tx.id = rank(tx.id);
            tx.awaits = tx.awaits.iter().map(|id| rank(*id)).collect();
            tx.awaits.sort_unstable();
        }
        for (from, to) in &mut self.ssi.edges {
            (*from, *to) = (rank(*from), rank(*to));
        }
        // Which of a running writer's readers was first decides who is doomed when it commits.
        let running = |id: &SxId| txs.get(usize::from(id.0)).is_some_and(|tx| tx.commit.is_none());
        self.ssi
            .edges
            .sort_by_key(|(from, to)| (*to, (!running(to)).then_some(*from)));
        self.ssi.next = txs.len() as u16;
        self.ssi.txs = txs;
    }
}

impl Heap {
    /// Removes dead versions, given in heap order; what pointed at one points past it.
    fn bury(&mut self, dead: &[VersionId]) {
        let mut ends: Vec<(VersionId, End)> = Vec::with_capacity(dead.len());
        for id in dead {
            let version = self.get(*id);
            let Some(end) = version.end else { continue };
            let leads = !version.heap_only;
            // The first version that is left of a chain is the one that an index finds.
            if leads && let Some(next) = end.next {
                self.get_mut(next).heap_only = false;
            }
            ends.push((*id, end));
        }
        let buried = |id: VersionId| {
            let place = ends.binary_search_by_key(&id, |(id, _)| *id).ok()?;
            Some(ends[place].1)
        };
        self.versions.retain_mut(|version| {
            if buried(version.id).is_some() {
                return false;
            }
            if let Some(link) = &mut version.end {
                while let Some(end) = link.next.and_then(buried) {
                    link.next = end.next;
                    link.key_change |= end.key_change;
                }
            }
            true
        });
    }

    fn new_ids(&self) -> Ids {
        let old = self.versions.iter().map(|version| version.id);
        old.zip((0..).map(VersionId)).collect()
    }

    /// Rows by the first of their versions; sorted by the old number.
    fn new_rows(&self) -> Vec<(RowId, RowId)> {
        let mut firsts: Vec<(RowId, u32)> = self.versions.iter().map(|version| version.row).zip(0..).collect();
        firsts.sort_unstable();
        firsts.dedup_by_key(|(row, _)| *row);
        firsts.sort_unstable_by_key(|(_, first)| *first);
        let mut rows: Vec<(RowId, RowId)> = firsts.into_iter().map(|(row, _)| row).zip((0..).map(RowId)).collect();
        rows.sort_unstable();
        rows
    }

    /// The places from which indexes reach versions, in order.
    fn roots(&self) -> Vec<u32> {
        let mut roots: Vec<u32> = self.versions.iter().map(|version| version.root).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Whether those are numbered without gaps.
    fn ranks_roots(&self) -> bool {
        self.roots().into_iter().eq(0..self.roots().len() as u32)
    }

    fn is_settled(&self) -> bool {
        self.versions
            .iter()
            .all(|version| version.end.is_none() && version.created == Stamp::Committed(Seq(0)))
    }

    fn renumber(&mut self, ids: &Ids, rows: &[(RowId, RowId)], settled: bool) {
        let roots = self.roots();
        for version in &mut self.versions {
            version.id = new_id(ids, version.id);
            version.root = roots.partition_point(|root| *root < version.root) as u32;
            if let Ok(place) = rows.binary_search_by_key(&version.row, |(old, _)| *old) {
                version.row = rows[place].1;
            }
            if let Some(next) = version.end.as_mut().and_then(|end| end.next.as_mut()) {
                *next = new_id(ids, *next);
            }
        }
        self.next_version = ids.len() as u32;
        self.next_row = rows.len() as u32;
        self.settled = settled;
    }
}

fn new_id(ids: &Ids, old: VersionId) -> VersionId {
    match ids.binary_search_by_key(&old, |(old, _)| *old) {
        Ok(place) => ids[place].1,
        Err(_) => old,
    }
}
