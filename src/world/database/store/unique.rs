//! Index entries and duplicate keys.
//!
//! Whoever meets a twin whose fate is open (inserted, deleted or changed by a transaction that still runs) waits for that
//! transaction. Visibility plays no part: what counts is what is committed when the key is entered.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::footprint::{AccessKind, Resource};
use super::hash::bucket;
use super::heap::{IndexId, SubId, TableId, Version, VersionId};
use super::ssi::{Page, Target};
use super::waiting::About;
use super::{SessionId, Stop, Store};
use crate::machine::sql::SqlError;
use crate::value::Value;

/// How a unique index treats NULLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// NULLs never equal each other.
    Distinct,
    /// NULLS NOT DISTINCT.
    NotDistinct,
}

/// The values of an index's columns. Ordered as a B-tree is by default: NULLs last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub Arc<[Value]>);

impl Key {
    /// A key of these values.
    pub fn new(values: impl Into<Arc<[Value]>>) -> Self {
        Key(values.into())
    }

    pub(super) fn compare(one: &[Value], other: &[Value]) -> Ordering {
        for (one, other) in one.iter().zip(other) {
            let order = match (one, other) {
                (Value::Null, Value::Null) => Ordering::Equal,
                (Value::Null, _) => Ordering::Greater,
                (_, Value::Null) => Ordering::Less,
                (one, other) => one.cmp(other),
            };
            if order.is_ne() {
                return order;
            }
        }
        one.len().cmp(&other.len())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        Key::compare(&self.0, &other.0)
    }
}

/// How a key is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyCheck {
    /// A new entry. A unique index waits for in-doubt twins and reports a duplicate.
    Enforce,
    /// A new entry of ON CONFLICT's arbiter: an in-doubt twin counts as a conflict (withdraw the row and probe again).
    Speculative,
    /// The update changed no column of any index of the table: Postgres makes no entry, the version is found through the
    /// one before. Nothing is checked.
    HeapOnly,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entered {
    /// It is in the index.
    Done,
    /// This version has the key.
    Conflict(VersionId),
}

/// No page has more entries than this: each takes 20 bytes of its 8168.
const ENTRIES_PER_PAGE: usize = 408;

/// An index: every version of its table that is in its predicate, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) table: TableId,
    pub(super) unique: Option<Nulls>,
    /// A hash index, whose look-ups mark the bucket.
    pub(super) hashed: bool,
    /// A GIN index of arrays without a list of pending entries: look-ups mark the pages of their keys.
    pub(super) parts: bool,
    pub(super) entries: BTreeMap<Key, SmallVec<[VersionId; 1]>>,
}

impl Index {
    pub(super) fn new(table: TableId, unique: Option<Nulls>) -> Self {
        Index {
            table,
            unique,
            hashed: false,
            parts: false,
            entries: BTreeMap::new(),
        }
    }

    /// Which page a key is on: a small B-tree has one, a new hash index two.
    pub(super) fn page(&self, key: &[Value]) -> Page {
        match key {
            [only] if self.hashed => bucket(only),
            _ => Page::Only,
        }
    }

    /// What of a GIN index may be on one page with one of these parts: entries that have fewer than a page full between them.
    pub(super) fn neighbours(&self, parts: &[Value]) -> Vec<(Value, Value)> {
        let arrays = self.entries.keys().filter_map(|key| match key.0.first() {
            Some(Value::Array(parts)) => Some(parts.iter().cloned()),
            _ => None,
        });
        let entries: BTreeSet<Value> = arrays.flatten().collect();
        let around = |part: &Value| {
            let before = entries.range(..part.clone()).rev().nth(ENTRIES_PER_PAGE);
            let after = entries
                .range(part.clone()..)
                .filter(|other| *other != part)
                .nth(ENTRIES_PER_PAGE);
            let low = before.or(entries.first()).unwrap_or(part);
            let high = after.or(entries.last()).unwrap_or(part);
            (low.min(part).clone(), high.max(part).clone())
        };
        parts.iter().map(around).collect()
    }

    pub(super) fn holds(&self, version: VersionId) -> bool {
        self.entries.values().any(|versions| versions.contains(&version))
    }

    pub(super) fn remove(&mut self, gone: &[VersionId]) {
        self.entries.retain(|_, versions| {
            versions.retain(|version| !gone.contains(version));
            !versions.is_empty()
        });
    }

    fn add(&mut self, key: Key, version: VersionId) {
        let versions = self.entries.entry(key).or_default();
        if let Err(place) = versions.binary_search(&version) {
            versions.insert(place, version);
        }
    }

    /// Whether the key can have a duplicate at all.
    fn guards(&self, key: &Key) -> bool {
        match self.unique {
            None => false,
            Some(Nulls::NotDistinct) => true,
            Some(Nulls::Distinct) => !key.0.iter().any(Value::is_null),
        }
    }
}

/// Another version with the same key, as a session meets it.
pub(super) enum Twin {
    None,
    /// It stands.
    Stands(VersionId),
    /// Its fate depends on a running transaction.
    InDoubt(VersionId, SessionId, SubId),
}

impl Store {
    /// Enters a version's key into an index: for every version, in every index in whose predicate it is.
    pub fn enter_key(
        &mut self,
        session: SessionId,
        index: IndexId,
        key: Key,
        version: VersionId,
        check: KeyCheck,
    ) -> Result<Entered, Stop> {
        self.note(Resource::Key(index, key.clone()), AccessKind::Lock);
        let result = self.try_enter(session, index, key, version, check);
        if result != Err(Stop::Wait) {
            self.drop_wait(session);
        }
        result
    }

    fn try_enter(
        &mut self,
        session: SessionId,
        index: IndexId,
        key: Key,
        version: VersionId,
        check: KeyCheck,
    ) -> Result<Entered, Stop> {
        if check == KeyCheck::HeapOnly {
            let table = self.index(index).table;
            let heap = self.heap(table);
            if !heap.get(version).heap_only {
                let leads_here = |before: &&Version| before.end.is_some_and(|end| end.next == Some(version));
                let root = heap.versions.iter().find(leads_here).map(|before| before.root);
                let version = self.heap_mut(table).get_mut(version);
                version.heap_only = true;
                version.root = root.unwrap_or(version.root);
            }
            self.index_mut(index).add(key, version);
            return Ok(Entered::Done);
        }
        match self.meet_twin(session, index, &key, Some(version)) {
            Twin::InDoubt(_, holder, sub) if check == KeyCheck::Enforce => {
                let about = About::Key {
                    index,
                    key,
                    probing: false,
                };
                return Err(self.wait_for(session, holder, sub, about));
            }
            Twin::InDoubt(twin, ..) => return Ok(Entered::Conflict(twin)),
            Twin::Stands(twin) => {
                // The duplicate may be the echo of a conflict that SERIALIZABLE reports by its own name.
                if check == KeyCheck::Enforce {
                    self.ssi_enter(session, index, &key)?;
                }
                return Ok(Entered::Conflict(twin));
            }
            Twin::None => {}
        }
        self.ssi_enter(session, index, &key)?;
        self.index_mut(index).add(key, version);
        Ok(Entered::Done)
    }

    /// A new entry is written: on the page where its key belongs, or where each of its parts does.
    fn ssi_enter(&mut self, session: SessionId, index: IndexId, key: &Key) -> Result<(), SqlError> {
        if !self.ssi_tracks(session) {
            return Ok(());
        }
        let known = self.index(index);
        match (known.parts, key.0.first()) {
            (true, Some(Value::Array(parts))) if !parts.is_empty() => {
                for (low, high) in known.neighbours(parts) {
                    self.ssi_write(session, Target::Parts(index, &low, &high))?;
                }
                Ok(())
            }
            _ => {
                let page = known.page(&key.0);
                self.ssi_write(session, Target::Index(index, page))
            }
        }
    }

    /// ON CONFLICT looks for a row that has the key, before it inserts. Waits for in-doubt twins.
    pub fn probe_key(
        &mut self,
        session: SessionId,
        index: IndexId,
        key: &Key,
        except: Option<VersionId>,
    ) -> Result<Option<VersionId>, Stop> {
        self.note(Resource::Key(index, key.clone()), AccessKind::Lock);
        let found = match self.meet_twin(session, index, key, except) {
            Twin::None => None,
            Twin::Stands(version) => Some(version),
            Twin::InDoubt(_, holder, sub) => {
                let about = About::Key {
                    index,
                    key: key.clone(),
                    probing: true,
                };
                return Err(self.wait_for(session, holder, sub, about));
            }
        };
        self.drop_wait(session);
        Ok(found)
    }

    /// Looks for a twin. Who changes or deletes the one that was met touches its row, not the key that it loses.
    fn meet_twin(&mut self, session: SessionId, index: IndexId, key: &Key, except: Option<VersionId>) -> Twin {
        let twin = self.twin(session, index, key, except);
        if let Twin::Stands(version) | Twin::InDoubt(version, ..) = twin {
            let table = self.index(index).table;
            self.note_row(table, version, AccessKind::Lock);
        }
        twin
    }

    pub(super) fn twin(&self, session: SessionId, index: IndexId, key: &Key, except: Option<VersionId>) -> Twin {
        let index = self.index(index);
        if !index.guards(key) {
            return Twin::None;
        }
        let heap = self.heap(index.table);
        for id in index.entries.get(key).into_iter().flatten() {
            if Some(*id) == except {
                continue;
            }
            let version = heap.get(*id);
            if let Some((holder, sub)) = version.created.other(session) {
                return Twin::InDoubt(*id, holder, sub);
            }
            match version.end.map(|end| end.stamp.other(session)) {
                None => return Twin::Stands(*id),
                Some(Some((holder, sub))) => return Twin::InDoubt(*id, holder, sub),
                Some(None) => {}
            }
        }
        Twin::None
    }
}
