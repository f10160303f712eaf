//! Foreign keys: checks and actions at the end of a statement, as Postgres' RI triggers do them.
//!
//! A child's check sees a fresh snapshot in READ COMMITTED and the transaction's own above; a parent's actions always look at
//! what is committed now, and fail above READ COMMITTED when that differs from what the transaction sees (RULES 24, 25).
//! Departure from Postgres: deferred constraints are not modelled; all of them are checked at the end of the statement.

use std::sync::Arc;

use crate::machine::{Access, SqlError, SqlState};
use crate::value::Value;
use crate::world::database::exec::catalog::{Action, ForeignKey, Method, Table};
use crate::world::database::exec::plan::Target;
use crate::world::database::store::{
    KeyRange, Locked, Purpose, RowRequest, Snapshot, Stop, Strength, TableMode, VersionId, WaitPolicy,
};

use super::{Cell, Exec, Row, internal};

/// Something to look after when the statement has done its own work.
#[derive(Debug)]
pub(super) enum Trigger {
    /// A row with a reference was inserted or got another one.
    Child {
        table: Arc<Table>,
        key: usize,
        row: Row,
        version: VersionId,
    },
    /// A row that may be referenced was deleted or got another key.
    Parent {
        parent: Arc<Table>,
        child: Arc<Table>,
        key: usize,
        old: Vec<Value>,
        new: Option<Vec<Value>>,
    },
}

impl<'p> Exec<'p> {
    /// A row was inserted.
    pub(super) fn inserted_child(&mut self, target: &Target, row: &Row, version: VersionId) {
        if !target.has_foreign_keys {
            return;
        }
        for key in 0..target.table.foreign_keys.len() {
            self.triggers.push(Trigger::Child {
                table: Arc::clone(&target.table),
                key,
                row: Row::clone(row),
                version,
            });
        }
    }

    /// A row was updated.
    pub(super) fn updated(&mut self, target: &Target, before: &Row, after: &Row, old: VersionId, version: VersionId) {
        if !target.has_foreign_keys {
            return;
        }
        let changed = |columns: &[usize]| columns.iter().any(|column| before[*column] != after[*column]);
        self.parent_changed(target, before, Some(after), &changed);
        // Postgres can't know whether the check of a row that this transaction made is still to come, and checks again.
        let unchecked = self.store.is_own(self.session, target.table.id, old);
        for (place, key) in target.table.foreign_keys.iter().enumerate() {
            if changed(&key.columns) || unchecked {
                self.triggers.push(Trigger::Child {
                    table: Arc::clone(&target.table),
                    key: place,
                    row: Row::clone(after),
                    version,
                });
            }
        }
    }

    /// A row was deleted.
    pub(super) fn deleted(&mut self, target: &Target, row: &Row, _version: VersionId) {
        if target.has_foreign_keys {
            self.parent_changed(target, row, None, &|_| true);
        }
    }

    fn parent_changed(
        &mut self,
        target: &Target,
        before: &Row,
        after: Option<&Row>,
        changed: &dyn Fn(&[usize]) -> bool,
    ) {
        for (child, key) in self.catalog.references_to(&target.table.name) {
            if !changed(&key.parent_columns) {
                continue;
            }
            let values = |row: &Row| key.parent_columns.iter().map(|column| row[*column].clone()).collect();
            let place = child
                .foreign_keys
                .iter()
                .position(|known| std::ptr::eq(known, key))
                .unwrap_or(0);
            self.triggers.push(Trigger::Parent {
                parent: Arc::clone(&target.table),
                child: Arc::clone(child),
                key: place,
                old: values(before),
                new: after.map(values),
            });
        }
    }

    /// Runs what the statement left to look after, and what that leaves in turn.
    pub(super) fn run_triggers(&mut self) -> Result<(), Stop> {
        let triggers = std::mem::take(&mut self.triggers);
        for trigger in triggers {
            match trigger {
                Trigger::Child {
                    table,
                    key,
                    row,
                    version,
                } => self.check_child(&table, &table.foreign_keys[key], &row, version)?,
                Trigger::Parent {
                    parent,
                    child,
                    key,
                    old,
                    new,
                } => {
                    self.check_parent(&parent, &child, &child.foreign_keys[key], old, new)?;
                }
            }
            self.run_triggers()?;
        }
        Ok(())
    }

    fn check_child(&mut self, table: &Arc<Table>, key: &ForeignKey, row: &Row, version: VersionId) -> Result<(), Stop> {
        let values: Vec<Value> = key.columns.iter().map(|column| row[*column].clone()).collect();
        if values.iter().any(Value::is_null) {
            return Ok(());
        }
        let (session, id) = (self.session, table.id);
        let alive = self.op(|store, _| Ok(store.newest(session, id, version) == Some(version)))?;
        if !alive {
            return Ok(());
        }
        let parent = Arc::clone(self.catalog.table(&key.parent)?);
        if self.parent_row(&parent, key, &values)? {
            return Ok(());
        }
        let message = format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            table.name, key.name
        );
        Err(Stop::Error(
            SqlError::new(SqlState::FOREIGN_KEY_VIOLATION, message).on(Arc::clone(&key.name)),
        ))
    }

    /// Looks for the referenced row and takes KEY SHARE on it.
    fn parent_row(&mut self, parent: &Arc<Table>, key: &ForeignKey, values: &[Value]) -> Result<bool, Stop> {
        let (session, table) = (self.session, parent.id);
        let access = self.pacer.table(table, TableMode::RowShare, true);
        self.take(access, |store, _| {
            store.lock_table(session, table, TableMode::RowShare, false)
        })?;
        let mut looked = vec![];
        if !self.is_read_committed() {
            let snapshot = self.snapshot;
            looked.push((snapshot, self.find(parent, &key.parent_columns, values, snapshot)?));
        }
        if looked.iter().all(|(_, found)| found.is_empty()) {
            let snapshot = self.op(|store, _| Ok(store.fresh_snapshot(session)))?;
            let mut found = self.find(parent, &key.parent_columns, values, snapshot)?;
            if !self.is_read_committed() {
                found.retain(|version| self.made.contains(&(table, *version)));
            }
            looked = vec![(snapshot, found)];
        }
        for (snapshot, found) in looked {
            for version in found {
                if self.made.contains(&(table, version)) {
                    return Ok(true);
                }
                if self.claim_reference(parent, &key.parent_columns, values, version, snapshot)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes KEY SHARE on a row; `false` when it is gone or has got another key.
    fn claim_reference(
        &mut self,
        table: &Arc<Table>,
        columns: &[usize],
        values: &[Value],
        version: VersionId,
        snapshot: Snapshot,
    ) -> Result<bool, Stop> {
        let (session, id) = (self.session, table.id);
        let request = RowRequest {
            strength: Strength::KeyShare,
            wait: WaitPolicy::Block,
            purpose: Purpose::Select,
        };
        let access = self.pacer.row(id, Strength::KeyShare, WaitPolicy::Block);
        let (_, locked) = self.take(access, |store, _| {
            Ok((id, store.lock_row(session, id, version, &request, &snapshot)?))
        })?;
        Ok(match locked {
            Locked::Same | Locked::SelfModified => true,
            Locked::Moved(newest) => {
                let row = self.store.row(id, newest);
                columns.iter().zip(values).all(|(column, value)| row[*column] == *value)
            }
            Locked::Gone | Locked::Skipped => false,
        })
    }

    /// The versions whose columns have these values, by index if there is one.
    fn find(
        &mut self,
        table: &Arc<Table>,
        columns: &[usize],
        values: &[Value],
        snapshot: Snapshot,
    ) -> Result<Vec<VersionId>, Stop> {
        let usable = table.indexes.iter().find_map(|index| {
            if index.predicate.is_some() || index.method != Method::Btree {
                return None;
            }
            let keys = index.plain_columns()?;
            let prefix = keys.get(..columns.len())?;
            prefix
                .iter()
                .map(|column| {
                    columns
                        .iter()
                        .position(|known| known == column)
                        .map(|place| values[place].clone())
                })
                .collect::<Option<Vec<Value>>>()
                .map(|prefix| (index.id, prefix))
        });
        let (session, id) = (self.session, table.id);
        // What is found depends on the moment, not only on the snapshot's number: it goes into the journal.
        let (_, mut found) = self.op(|store, _| {
            let mut found = match &usable {
                Some((index, prefix)) => {
                    store.index_scan(session, &snapshot, *index, &KeyRange::equal(prefix.clone()))?
                }
                None => store.scan(session, &snapshot, id)?,
            };
            found.retain(|version| {
                let row = store.row(id, *version);
                columns.iter().zip(values).all(|(column, value)| row[*column] == *value)
            });
            Ok((id, found))
        })?;
        found.sort_unstable();
        Ok(found)
    }

    fn check_parent(
        &mut self,
        parent: &Arc<Table>,
        child: &Arc<Table>,
        key: &ForeignKey,
        old: Vec<Value>,
        new: Option<Vec<Value>>,
    ) -> Result<(), Stop> {
        if old.iter().any(Value::is_null) {
            return Ok(());
        }
        let action = if new.is_some() { key.on_update } else { key.on_delete };
        let (session, table) = (self.session, child.id);
        if action == Action::Nothing && self.parent_row_again(parent, key, &old)? {
            return Ok(());
        }
        let mode = match action {
            Action::Nothing | Action::Restrict => TableMode::RowShare,
            _ => TableMode::RowExclusive,
        };
        let access = self.pacer.table(table, mode, true);
        self.take(access, |store, _| store.lock_table(session, table, mode, false))?;
        let snapshot = self.op(|store, _| Ok(store.fresh_snapshot(session)))?;
        let read = Access::Read { table: table.0 };
        self.pacer.note(self.branch, session, read);
        let found = self.find(child, &key.columns, &old, snapshot)?;
        if matches!(action, Action::Nothing | Action::Restrict) {
            for version in found {
                if self.made.contains(&(table, version))
                    || self.claim_reference(child, &key.columns, &old, version, snapshot)?
                {
                    let message = format!(
                        "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
                        parent.name, key.name, child.name
                    );
                    let error = SqlError::new(SqlState::FOREIGN_KEY_VIOLATION, message).on(Arc::clone(&key.name));
                    return Err(Stop::Error(error));
                }
            }
            return Ok(());
        }
        let plan = self.plan;
        let Some(target) = plan.related.iter().find(|target| target.table.id == table) else {
            return Err(Stop::Error(internal("a referencing table that was not planned")));
        };
        for version in found {
            self.cascade(target, key, action, &old, new.as_deref(), version, snapshot)?;
        }
        Ok(())
    }

    /// Whether another row has the key that this one gave up.
    fn parent_row_again(&mut self, parent: &Arc<Table>, key: &ForeignKey, values: &[Value]) -> Result<bool, Stop> {
        let session = self.session;
        let snapshot = self.op(|store, _| Ok(store.fresh_snapshot(session)))?;
        let found = self.find(parent, &key.parent_columns, values, snapshot)?;
        for version in found {
            if self.made.contains(&(parent.id, version))
                || self.claim_reference(parent, &key.parent_columns, values, version, snapshot)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// One row of CASCADE, SET NULL or SET DEFAULT.
    #[expect(clippy::too_many_arguments, reason = "the parts of one referential action")]
    fn cascade(
        &mut self,
        target: &'p Target,
        key: &ForeignKey,
        action: Action,
        old: &[Value],
        new: Option<&[Value]>,
        version: VersionId,
        snapshot: Snapshot,
    ) -> Result<(), Stop> {
        let (session, table) = (self.session, target.table.id);
        if !self.is_read_committed() && !self.made.contains(&(table, version)) {
            let own = self.snapshot;
            let seen = self.op(|store, _| Ok(store.visible(session, &own, table, version)))?;
            if !seen {
                let message = "could not serialize access due to concurrent update";
                return Err(Stop::Error(SqlError::new(SqlState::SERIALIZATION_FAILURE, message)));
            }
        }
        let mut version = version;
        let (mut strength, mut row);
        loop {
            let cell = self.cell(table, version);
            row = self.cascaded(target, key, action, new, &cell)?;
            strength = match &row {
                None => Strength::Update,
                Some(row) => match &cell.row {
                    Some(before) if target.key_columns.iter().any(|column| before[*column] != row[*column]) => {
                        Strength::Update
                    }
                    _ => Strength::NoKeyUpdate,
                },
            };
            let request = RowRequest {
                strength,
                wait: WaitPolicy::Block,
                purpose: Purpose::Write,
            };
            let access = self.pacer.row(table, strength, WaitPolicy::Block);
            let (_, locked) = self.take(access, |store, _| {
                Ok((table, store.lock_row(session, table, version, &request, &snapshot)?))
            })?;
            match locked {
                Locked::Same => break,
                Locked::Moved(newest) => {
                    version = newest;
                    let still = {
                        let row = self.store.row(table, newest);
                        key.columns
                            .iter()
                            .zip(old)
                            .all(|(column, value)| row[*column] == *value)
                    };
                    if !still {
                        return Ok(());
                    }
                }
                Locked::Gone | Locked::Skipped | Locked::SelfModified => return Ok(()),
            }
        }
        let before = self.cell(table, version);
        match row {
            None => self.remove(target, version, &before),
            Some(row) => {
                let row = self.finished(target, row, None)?;
                self.write_update(target, version, &before, row).map(|_| ())
            }
        }
    }

    /// The child row after the action; `None` when it is deleted.
    fn cascaded(
        &mut self,
        target: &'p Target,
        key: &ForeignKey,
        action: Action,
        new: Option<&[Value]>,
        cell: &Cell,
    ) -> Result<Option<Row>, Stop> {
        let Some(row) = &cell.row else {
            return Err(Stop::Error(internal("no row to change")));
        };
        let mut values = row.to_vec();
        for (place, column) in key.columns.iter().enumerate() {
            values[*column] = match (action, new) {
                (Action::Cascade, None) => return Ok(None),
                (Action::Cascade, Some(new)) => new[place].clone(),
                (Action::SetDefault, _) => {
                    let layout = Default::default();
                    self.eval(&target.defaults[*column], &super::Frame::new(&[], &layout, None))?
                }
                _ => Value::Null,
            };
        }
        Ok(Some(values.into()))
    }
}
