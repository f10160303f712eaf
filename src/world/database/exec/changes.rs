//! DDL inside of a transaction: a catalog of its own, which others see when it commits, as on the server.
//!
//! Others go on with the definitions that are committed, and wait for the table locks that the DDL holds as soon as they touch the
//! table. When it commits, what it changed is carried over, name by name. Savepoints bound it: [`Mark`] remembers where ROLLBACK TO
//! goes back to. Departure from Postgres: who makes a name that another transaction is just making would wait for it; that is refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::world::database::sql::refuse::Refused;
use crate::world::database::store::{SessionId, Store};

use super::catalog::{Catalog, Table};
use super::engine::{Call, Halt};

/// What a transaction's DDL made of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Changed {
    /// What is committed.
    base: Arc<Catalog>,
    /// What the transaction itself sees.
    now: Arc<Catalog>,
}

/// What ROLLBACK TO a savepoint goes back to, beside what the store knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    /// The savepoint.
    pub(crate) name: Arc<str>,
    /// DDL up to here.
    pub(crate) changed: Option<Changed>,
    /// How many settings the transaction had replaced.
    pub(crate) replaced: usize,
}

impl Call<'_> {
    /// The catalog as a session sees it.
    pub(super) fn catalog(&self, id: SessionId) -> &Arc<Catalog> {
        match &self.session(id).changed {
            Some(changed) => &changed.now,
            None => &self.engine.catalog,
        }
    }

    /// The session's catalog, to be changed.
    pub(super) fn change(&mut self, id: SessionId) -> &mut Catalog {
        self.engine.store.note_catalog(false);
        let base = Arc::clone(&self.engine.catalog);
        let changed = self.session_mut(id).changed.get_or_insert_with(|| Changed {
            now: Arc::clone(&base),
            base,
        });
        let mut now = (*changed.now).clone();
        now.plans = Default::default();
        changed.now = Arc::new(now);
        Arc::make_mut(&mut changed.now)
    }

    /// Whether another transaction that is still open makes this name: then the outcome depends on its end.
    pub(super) fn refuse_contended_name(&self, id: SessionId, name: &str) -> Result<(), Halt> {
        let contended = self.engine.sessions.iter().any(|(other, session)| {
            let making = |changed: &Changed| changed.now.has_relation(name) && !changed.base.has_relation(name);
            *other != id && session.changed.as_ref().is_some_and(making)
        });
        match contended {
            false => Ok(()),
            true => Err(Halt::Refused(Refused {
                construct: format!("creating \"{name}\" while another transaction that has not ended creates it"),
                line: 0,
                column: 0,
                text: String::new(),
                help: Some("create it before the processes start".to_owned()),
            })),
        }
    }

    /// The transaction committed: everybody sees its DDL.
    pub(super) fn publish_ddl(&mut self, id: SessionId) {
        let Some(Changed { base, now }) = self.session_mut(id).changed.take() else {
            return;
        };
        self.engine.store.note_catalog(true);
        drop_new(&mut self.engine.store, &now, &base);
        self.engine.catalog = match Arc::ptr_eq(&self.engine.catalog, &base) {
            true => Arc::clone(&now),
            false => Arc::new(self.engine.catalog.with(&base, &now)),
        };
        let catalog = Arc::clone(&self.engine.catalog);
        let rebase = |changed: &mut Changed| {
            changed.now = Arc::new(changed.now.with(&base, &now));
            changed.base = Arc::clone(&catalog);
        };
        for session in self.engine.sessions.values_mut() {
            if session.changed.is_none() && session.marks.iter().all(|mark| mark.changed.is_none()) {
                continue;
            }
            let session = Arc::make_mut(session);
            session.changed.iter_mut().for_each(rebase);
            let marks = session.marks.iter_mut();
            marks.filter_map(|mark| mark.changed.as_mut()).for_each(rebase);
        }
    }

    /// The transaction's DDL never was.
    pub(super) fn undo_ddl(&mut self, id: SessionId) {
        self.rewind_ddl(id, None);
    }

    /// The transaction's DDL goes back to what it was at a savepoint.
    pub(super) fn rewind_ddl(&mut self, id: SessionId, to: Option<Changed>) {
        let Some(changed) = std::mem::replace(&mut self.session_mut(id).changed, to) else {
            return;
        };
        let before = Arc::clone(self.catalog(id));
        drop_new(&mut self.engine.store, &before, &changed.now);
    }
}

/// Removes from the store what the catalog did not have before.
fn drop_new(store: &mut Store, before: &Catalog, now: &Catalog) {
    for table in now.tables.values() {
        match before.table_by_id(table.id) {
            None => store.drop_table(table.id),
            Some(old) => {
                for index in &table.indexes {
                    if !old.indexes.iter().any(|known| known.id == index.id) {
                        store.drop_index(index.id);
                    }
                }
            }
        }
    }
    for view in now.views.values() {
        if !before.views.values().any(|known| known.id == view.id) {
            store.drop_table(view.id);
        }
    }
    for sequence in now.sequences.values() {
        if !before.sequences.values().any(|known| known.id == sequence.id) {
            store.drop_sequence(sequence.id);
        }
    }
}

impl Catalog {
    /// This catalog with what changed from one to another.
    fn with(&self, from: &Catalog, to: &Catalog) -> Catalog {
        let mut changed = self.clone();
        carry(&mut changed.sequences, &from.sequences, &to.sequences, |_, _, to| {
            Arc::clone(to)
        });
        carry(&mut changed.views, &from.views, &to.views, |_, _, to| Arc::clone(to));
        carry(&mut changed.tables, &from.tables, &to.tables, merged);
        changed
    }
}

/// Two transactions may add indexes to one table side by side, as SHARE locks allow: both stay.
fn merged(current: &Arc<Table>, from: &Arc<Table>, to: &Arc<Table>) -> Arc<Table> {
    let mut table = (**to).clone();
    for index in &current.indexes {
        let known = |table: &Table| table.indexes.iter().any(|other| other.id == index.id);
        if !known(from) && !known(to) {
            table.indexes.push(index.clone());
        }
    }
    Arc::new(table)
}

type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

fn carry<T: PartialEq>(
    into: &mut Named<T>,
    from: &Named<T>,
    to: &Named<T>,
    merge: impl Fn(&Arc<T>, &Arc<T>, &Arc<T>) -> Arc<T>,
) {
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        into.remove(name);
    }
    for (name, new) in to {
        let old = from.get(name);
        if old.is_some_and(|old| Arc::ptr_eq(old, new) || old == new) {
            continue;
        }
        let value = match (into.get(name), old) {
            (Some(current), Some(old)) => merge(current, old, new),
            _ => Arc::clone(new),
        };
        into.insert(Arc::clone(name), value);
    }
}
