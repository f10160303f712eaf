//! Serializable snapshot isolation, as `predicate.c` does it.
//!
//! Reads leave marks; a write that meets another's mark, or a read that meets another's change, makes an edge
//! reader -> writer. When edges form a structure that may be part of a cycle, one transaction fails: the one that makes the
//! edge when it is the writer or the writer has committed, otherwise the writer, which is *doomed* and fails at its next
//! step. Marks and edges outlive the commit while a transaction that overlapped still runs.
//!
//! Postgres keeps its own numbering of serializable commits; here every tracked commit has a place in the one order of
//! commits. Overlap is exact where Postgres compares the oldest running transaction numbers, which makes more edges, none
//! of which can be part of a dangerous structure. Memory limits (summarized transactions) are not modelled.

use super::heap::{IndexId, Seq, Stamp, TableId, VersionId};
use super::transaction::Level;
use super::waiting::WaitOn;
use super::{SessionId, Store, serialization_failure};
use crate::machine::sql::SqlError;
use crate::value::Value;

/// A serializable transaction, running or committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SxId(pub(super) u16);

/// What the machinery knows of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sx {
    pub(super) id: SxId,
    /// While it runs.
    pub(super) session: Option<SessionId>,
    pub(super) snapshot: Seq,
    /// Declared READ ONLY.
    pub(super) declared: bool,
    /// Declared so, or committed without a write.
    pub(super) read_only: bool,
    pub(super) wrote: bool,
    pub(super) doomed: bool,
    pub(super) commit: Option<Seq>,
    /// The earliest commit it had an edge to when it committed itself.
    pub(super) out_commit: Option<Seq>,
    /// Declared READ ONLY: writers that ran when the snapshot was taken; once they ended harmlessly it is safe.
    pub(super) awaits: Vec<SxId>,
    /// One of them did not end harmlessly.
    pub(super) is_unsafe: bool,
    /// Who meets its work does not know whose it is: its number came before its snapshot.
    pub(super) unnamed: bool,
    pub(super) marks: Marks,
}

/// What a transaction read. Each list is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Marks {
    pub(super) tables: Vec<TableId>,
    /// All rows that exist, but not those to come: a table's one page.
    pub(super) pages: Vec<TableId>,
    pub(super) rows: Vec<(TableId, VersionId)>,
    pub(super) indexes: Vec<(IndexId, Page)>,
    /// Parts of values that were looked up in an index of parts.
    pub(super) parts: Vec<(IndexId, Value)>,
}

/// A page of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Page {
    /// There is no other.
    Only,
    /// A bucket of a hash index.
    Bucket(u8),
}

impl Page {
    /// Whether what is marked of an index and what is written may be the same.
    fn meets(self, other: Page) -> bool {
        self == other || self == Page::Only || other == Page::Only
    }
}

/// All of them, with the edges reader -> writer, in the order in which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Ssi {
    pub(super) txs: Vec<Sx>,
    pub(super) edges: Vec<(SxId, SxId)>,
    pub(super) next: u16,
}

/// What a write touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'v> {
    /// A new row.
    Table(TableId),
    /// An existing version.
    Row(TableId, VersionId),
    /// A new entry of an index.
    Index(IndexId, Page),
    /// A new entry of an index of parts, which may be on a page with any from the one to the other.
    Parts(IndexId, &'v Value, &'v Value),
}

/// More marks than this on rows of one page become a mark on the page (`max_pred_locks_per_page`).
const ROWS_PER_PAGE_MARK: usize = 2;

fn insert<T: Ord>(list: &mut Vec<T>, item: T) {
    if let Err(place) = list.binary_search(&item) {
        list.insert(place, item);
    }
}

fn has<T: Ord>(list: &[T], item: &T) -> bool {
    list.binary_search(item).is_ok()
}

impl Marks {
    fn meets(&self, target: Target<'_>) -> bool {
        match target {
            Target::Table(table) => has(&self.tables, &table),
            Target::Row(table, version) => {
                has(&self.tables, &table) || has(&self.pages, &table) || has(&self.rows, &(table, version))
            }
            Target::Index(index, page) => {
                let mut marks = self.indexes.iter();
                let mut parts = self.parts.iter();
                marks.any(|(marked, on)| *marked == index && on.meets(page))
                    || parts.any(|(marked, _)| *marked == index)
            }
            Target::Parts(index, low, high) => {
                let mut parts = self.parts.iter();
                parts.any(|(marked, part)| *marked == index && low <= part && part <= high)
                    || self.indexes.iter().any(|(marked, _)| *marked == index)
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Marks::default();
    }
}

impl Ssi {
    fn running(&self, session: SessionId) -> Option<&Sx> {
        self.txs.iter().find(|tx| tx.session == Some(session))
    }

    fn running_mut(&mut self, session: SessionId) -> Option<&mut Sx> {
        self.txs.iter_mut().find(|tx| tx.session == Some(session))
    }

    fn get(&self, id: SxId) -> Option<&Sx> {
        self.txs.iter().find(|tx| tx.id == id)
    }

    /// Whose stamp it is, as far as a reader can tell.
    fn by_stamp(&self, stamp: Stamp) -> Option<&Sx> {
        let tx = match stamp {
            Stamp::Live { session, .. } => self.running(session),
            Stamp::Committed(seq) => self.txs.iter().find(|tx| tx.commit == Some(seq)),
        };
        tx.filter(|tx| !tx.unnamed)
    }

    fn has_edge(&self, reader: SxId, writer: SxId) -> bool {
        self.edges.contains(&(reader, writer))
    }

    fn readers_of(&self, writer: SxId) -> impl Iterator<Item = &Sx> {
        self.edges
            .iter()
            .filter(move |(_, to)| *to == writer)
            .filter_map(|(from, _)| self.get(*from))
    }

    fn writers_for(&self, reader: SxId) -> impl Iterator<Item = &Sx> {
        self.edges
            .iter()
            .filter(move |(from, _)| *from == reader)
            .filter_map(|(_, to)| self.get(*to))
    }

    fn remove(&mut self, id: SxId) {
        self.txs.retain(|tx| tx.id != id);
        self.edges.retain(|(from, to)| *from != id && *to != id);
    }

    /// Makes an edge. Fails when `me` must die for it.
    fn connect(&mut self, reader: SxId, writer: SxId, me: SxId) -> Result<(), SqlError> {
        if self.is_dangerous(reader, writer) {
            let committed = self.get(writer).is_some_and(|tx| tx.commit.is_some());
            if writer == me || committed {
                return Err(dependencies());
            }
            if let Some(tx) = self.txs.iter_mut().find(|tx| tx.id == writer) {
                tx.doomed = true;
            }
        }
        self.edges.push((reader, writer));
        Ok(())
    }

    /// `OnConflict_CheckForSerializationFailure`: whether the edge R -> W completes a dangerous structure.
    fn is_dangerous(&self, reader: SxId, writer: SxId) -> bool {
        let (Some(reader), Some(writer)) = (self.get(reader), self.get(writer)) else {
            return false;
        };
        // R -> W -> T2, W committed after T2.
        if writer.commit.is_some() && writer.out_commit.is_some() {
            return true;
        }
        // R -> W -> T2, T2 first of the three to commit.
        let first = |t2: &Sx| {
            t2.commit.is_some_and(|t2| {
                reader.commit.is_none_or(|reader| t2 <= reader)
                    && writer.commit.is_none_or(|writer| t2 <= writer)
                    && (!reader.read_only || t2 <= reader.snapshot)
            })
        };
        if self.writers_for(writer.id).any(first) {
            return true;
        }
        // T0 -> R -> W, W first of the three to commit.
        let Some(committed) = writer.commit.filter(|_| !reader.read_only) else {
            return false;
        };
        self.readers_of(reader.id).any(|t0| {
            !t0.doomed && t0.commit.is_none_or(|t0| t0 >= committed) && (!t0.read_only || t0.snapshot >= committed)
        })
    }
}

impl Store {
    /// Whether a session's transaction was chosen to fail and has not been told: it is, when it next meets a version of a row, writes or commits.
    pub fn is_doomed(&self, session: SessionId) -> bool {
        self.ssi.running(session).is_some_and(|me| me.doomed)
    }

    /// Whether a session's reads and writes are tracked.
    pub(super) fn ssi_tracks(&self, session: SessionId) -> bool {
        self.ssi.running(session).is_some()
    }

    /// A serializable transaction takes its snapshot. Declared READ ONLY with no writer about, it is not tracked at all.
    pub(super) fn ssi_begin(&mut self, session: SessionId, snapshot: Seq) {
        let (declared, unnamed) = self
            .tx(session)
            .map_or((false, false), |tx| (tx.read_only, tx.numbered_early));
        let awaits: Vec<SxId> = match declared {
            false => Vec::new(),
            true => self
                .ssi
                .txs
                .iter()
                .filter(|tx| tx.session.is_some() && !tx.doomed && !tx.read_only)
                .map(|tx| tx.id)
                .collect(),
        };
        if declared && awaits.is_empty() {
            return;
        }
        let id = SxId(self.ssi.next);
        self.ssi.next += 1;
        self.ssi.txs.push(Sx {
            id,
            session: Some(session),
            snapshot,
            declared,
            read_only: declared,
            wrote: false,
            doomed: false,
            commit: None,
            out_commit: None,
            awaits,
            is_unsafe: false,
            unnamed,
            marks: Marks::default(),
        });
    }

    /// LOCK TABLE in ACCESS EXCLUSIVE mode needs the transaction's number, and takes no snapshot. When it comes first in a serializable
    /// transaction, some releases do not enter the number where readers look for the writer of what they met (`AssignTransactionId` enters it
    /// for transactions that are tracked already, `GetSerializableTransactionSnapshotInt` did not): they make no edge to it.
    pub fn number_early(&mut self, session: SessionId) {
        if self.release.early_number_is_known {
            return;
        }
        let tx = self.tx_mut(session);
        if tx.level == Level::Serializable && tx.snapshots.is_empty() {
            tx.numbered_early = true;
        }
    }

    /// Whether a deferrable transaction has a snapshot that is not known to be safe.
    pub(super) fn ssi_awaits_safety(&self, session: SessionId) -> bool {
        let deferrable = self
            .tx(session)
            .is_some_and(|tx| tx.level == Level::Serializable && tx.read_only && tx.deferrable);
        deferrable && self.ssi_tracks(session)
    }

    /// Whether the statement may use its snapshot. A deferrable one that turned out unsafe is replaced by a new one here.
    pub(super) fn ssi_safe_snapshot(&mut self, session: SessionId) -> bool {
        if !self.ssi_awaits_safety(session) {
            return true;
        }
        if self.ssi.running(session).is_some_and(|me| me.is_unsafe) {
            self.ssi_rolled_back(session);
            let last = self.last;
            if let Some(snap) = self.tx_mut(session).snapshots.first_mut() {
                snap.seq = last;
            }
            self.ssi_begin(session, last);
        }
        !self.ssi_awaits_safety(session)
    }

    /// Whose end a session's snapshot needs to be safe.
    pub(super) fn ssi_unsafe_with(&self, session: SessionId) -> Vec<SessionId> {
        let awaits = self.ssi.running(session).map_or(&[][..], |me| &me.awaits);
        awaits.iter().filter_map(|id| self.ssi.get(*id)?.session).collect()
    }

    pub(super) fn ssi_mark_table(&mut self, session: SessionId, table: TableId) {
        if let Some(me) = self.ssi.running_mut(session) {
            insert(&mut me.marks.tables, table);
            me.marks.pages.retain(|marked| *marked != table);
            me.marks.rows.retain(|(marked, _)| *marked != table);
        }
    }

    pub(super) fn ssi_mark_index(&mut self, session: SessionId, index: IndexId, page: Page) {
        if let Some(me) = self.ssi.running_mut(session) {
            insert(&mut me.marks.indexes, (index, page));
        }
    }

    pub(super) fn ssi_mark_part(&mut self, session: SessionId, index: IndexId, part: Value) {
        if let Some(me) = self.ssi.running_mut(session) {
            insert(&mut me.marks.parts, (index, part));
        }
    }

    /// A row that an index found. Own rows need no mark; too many on a page become one on the page.
    pub(super) fn ssi_mark_row(&mut self, session: SessionId, table: TableId, version: VersionId) {
        if self.heap(table).get(version).created.is_of(session) {
            return;
        }
        let Some(me) = self.ssi.running_mut(session) else {
            return;
        };
        if has(&me.marks.tables, &table) || has(&me.marks.pages, &table) {
            return;
        }
        insert(&mut me.marks.rows, (table, version));
        let on_page = |(marked, _): &&(TableId, VersionId)| *marked == table;
        if me.marks.rows.iter().filter(on_page).count() > ROWS_PER_PAGE_MARK {
            me.marks.rows.retain(|(marked, _)| *marked != table);
            insert(&mut me.marks.pages, table);
        }
    }

    /// `CheckForSerializableConflictOut`: a scan met a version, visible or not.
    pub(super) fn ssi_read(
        &mut self,
        session: SessionId,
        table: TableId,
        version: VersionId,
        visible: bool,
    ) -> Result<(), SqlError> {
        let Some(me) = self.ssi.running(session) else {
            return Ok(());
        };
        if me.doomed {
            return Err(dependencies());
        }
        let version = self.heap(table).get(version);
        let stamp = match (visible, version.end) {
            (true, None) => return Ok(()),
            (true, Some(end)) => end.stamp,
            (false, _) => version.created,
        };
        if stamp.is_of(session) || matches!(stamp, Stamp::Committed(seq) if seq <= me.snapshot) {
            return Ok(());
        }
        let Some(writer) = self.ssi.by_stamp(stamp) else {
            return Ok(());
        };
        // A reader that writes nothing appears to run first, unless what it reads depends on something it saw.
        let harmless = writer.out_commit.is_none_or(|commit| me.snapshot < commit);
        if me.read_only && writer.commit.is_some() && harmless {
            return Ok(());
        }
        let (me, writer) = (me.id, writer.id);
        match self.ssi.has_edge(me, writer) {
            true => Ok(()),
            false => self.ssi.connect(me, writer, me),
        }
    }

    /// `CheckForSerializableConflictIn`: a write takes place.
    pub(super) fn ssi_write(&mut self, session: SessionId, target: Target<'_>) -> Result<(), SqlError> {
        let in_savepoint = self.tx(session).is_some_and(|tx| !tx.savepoints.is_empty());
        let Some(me) = self.ssi.running_mut(session) else {
            return Ok(());
        };
        if me.doomed {
            return Err(dependencies());
        }
        me.wrote = true;
        let (id, snapshot) = (me.id, me.snapshot);
        if let Target::Row(table, version) = target
            && !in_savepoint
        {
            me.marks.rows.retain(|marked| *marked != (table, version));
        }
        let readers: Vec<SxId> = self
            .ssi
            .txs
            .iter()
            .filter(|tx| tx.id != id && !tx.doomed && tx.marks.meets(target))
            .filter(|tx| tx.commit.is_none_or(|commit| commit > snapshot))
            .map(|tx| tx.id)
            .collect();
        for reader in readers {
            if !self.ssi.has_edge(reader, id) {
                self.ssi.connect(reader, id, id)?;
            }
        }
        Ok(())
    }

    /// `PreCommit_CheckForSerializationFailure`: fails when doomed, otherwise dooms the pivots before it.
    pub(super) fn ssi_before_commit(&mut self, session: SessionId) -> Result<(), SqlError> {
        let Some(me) = self.ssi.running(session) else {
            return Ok(());
        };
        if me.doomed {
            return Err(dependencies());
        }
        let me = me.id;
        let readers: Vec<SxId> = self.ssi.readers_of(me).map(|near| near.id).collect();
        for near in readers {
            // One that was doomed a moment ago no longer makes the next a pivot.
            let is_far = |far: &Sx| far.id == me || (far.commit.is_none() && !far.read_only && !far.doomed);
            let pivot = self.ssi.get(near).is_some_and(|tx| tx.commit.is_none() && !tx.doomed)
                && self.ssi.readers_of(near).any(is_far);
            if let Some(tx) = self.ssi.txs.iter_mut().find(|tx| tx.id == near && pivot) {
                tx.doomed = true;
            }
        }
        Ok(())
    }

    /// The transaction committed: edges that no longer matter go, read-only transactions learn whether they are safe.
    pub(super) fn ssi_committed(&mut self, session: SessionId, seq: Seq) {
        let Some(place) = self.ssi.txs.iter().position(|tx| tx.session == Some(session)) else {
            return;
        };
        let me = self.ssi.txs[place].id;
        let read_only = self.ssi.txs[place].read_only || !self.ssi.txs[place].wrote;
        let out_commit = match read_only {
            true => None,
            false => self.ssi.writers_for(me).filter_map(|tx| tx.commit).min(),
        };
        let over: Vec<(SxId, SxId)> = self
            .ssi
            .edges
            .iter()
            .copied()
            .filter(|(from, to)| {
                let gone = |id: &SxId| self.ssi.get(*id).is_none_or(|tx| tx.commit.is_some());
                let reads_only = |id: &SxId| self.ssi.get(*id).is_some_and(|tx| tx.read_only);
                (*from == me && gone(to)) || (*to == me && (gone(from) || reads_only(from)))
            })
            .collect();
        self.ssi.edges.retain(|edge| !over.contains(edge));
        let tx = &mut self.ssi.txs[place];
        tx.commit = Some(seq);
        tx.session = None;
        tx.read_only = read_only;
        tx.out_commit = out_commit;
        tx.awaits.clear();
        if !tx.declared {
            let harm = out_commit.filter(|_| tx.wrote);
            self.ssi_settle(me, harm);
        }
    }

    /// The transaction is gone without a trace.
    pub(super) fn ssi_rolled_back(&mut self, session: SessionId) {
        if let Some(me) = self.ssi.running(session).map(|me| me.id) {
            self.ssi.remove(me);
            self.ssi_settle(me, None);
        }
    }

    /// A writer ended: read-only transactions that awaited it are unsafe if it had an edge to a commit they saw; those that
    /// await nobody any more are safe, and not tracked from here on.
    fn ssi_settle(&mut self, ended: SxId, harm: Option<Seq>) {
        let mut safe = Vec::new();
        for tx in &mut self.ssi.txs {
            if !tx.awaits.contains(&ended) {
                continue;
            }
            if harm.is_some_and(|commit| commit <= tx.snapshot) {
                tx.is_unsafe = true;
                tx.awaits.clear();
            } else {
                tx.awaits.retain(|other| *other != ended);
                if tx.awaits.is_empty() {
                    safe.push(tx.id);
                }
            }
        }
        for id in safe {
            self.ssi.remove(id);
        }
        let waiting: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|session| {
                session
                    .wait
                    .as_ref()
                    .is_some_and(|wait| wait.on == WaitOn::SafeSnapshot)
            })
            .map(|session| session.id)
            .collect();
        for session in waiting {
            if self.ssi.running(session).is_none_or(|tx| tx.is_unsafe) {
                self.make_ready(session);
            }
        }
    }

    /// Forgets what no running transaction can meet: committed transactions that none overlaps, marks that none can write on.
    pub(super) fn ssi_clean(&mut self) {
        let oldest = |writers_only: bool| {
            self.ssi
                .txs
                .iter()
                .filter(|tx| tx.session.is_some() && !(writers_only && tx.read_only))
                .map(|tx| tx.snapshot)
                .min()
        };
        let (any, writer) = (oldest(false), oldest(true));
        let overlaps = |commit: Seq, oldest: Option<Seq>| oldest.is_some_and(|oldest| oldest < commit);
        let over: Vec<SxId> = self
            .ssi
            .txs
            .iter()
            .filter(|tx| {
                tx.commit
                    .is_some_and(|commit| !overlaps(commit, any) || (tx.read_only && !overlaps(commit, writer)))
            })
            .map(|tx| tx.id)
            .collect();
        for id in over {
            self.ssi.remove(id);
        }
        for tx in &mut self.ssi.txs {
            if tx.commit.is_some_and(|commit| !overlaps(commit, writer)) {
                tx.marks.clear();
            }
        }
    }
}

impl Ssi {
    pub(super) fn forget_table(&mut self, table: TableId) {
        for tx in &mut self.txs {
            tx.marks.tables.retain(|marked| *marked != table);
            tx.marks.pages.retain(|marked| *marked != table);
            tx.marks.rows.retain(|(marked, _)| *marked != table);
        }
    }

    pub(super) fn forget_index(&mut self, index: IndexId) {
        for tx in &mut self.txs {
            tx.marks.indexes.retain(|(marked, _)| *marked != index);
            tx.marks.parts.retain(|(marked, _)| *marked != index);
        }
    }
}

fn dependencies() -> SqlError {
    serialization_failure("could not serialize access due to read/write dependencies among transactions")
}
