//! INSERT, with ON CONFLICT.

use std::sync::Arc;

use crate::machine::{Access, SqlError, SqlState};
use crate::value::Value;
use crate::world::database::exec::plan::{BoundIndex, Conflict, ConflictUpdate, Insert, InsertSource, Layout, Target};
use crate::world::database::sql::expr::{Expr, Volatile};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::store::{
    Entered, Key, KeyCheck, Level, Locked, Purpose, RowRequest, Stop, Store, Strength, TableId, VersionId, WaitPolicy,
};

use super::select::cell;
use super::{Cell, Exec, Flow, Frame, Journaled, Row, RowSink, Services, internal};

/// How an INSERT of one row ended.
enum Inserted {
    New(VersionId),
    Updated(VersionId),
    Nothing,
}

impl<'p> Exec<'p> {
    /// Runs an INSERT and pushes what RETURNING says.
    pub(super) fn insert(
        &mut self,
        insert: &'p Insert,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        match &insert.source {
            InsertSource::Rows(rows) => {
                let layout = Layout::default();
                for list in rows {
                    let row = self.project(list, &Frame::new(&[], &layout, outer))?;
                    self.insert_one(insert, list, row, outer, sink)?;
                }
                Ok(())
            }
            InsertSource::Query(query, map) => {
                let layout = Layout::single(query.columns.len());
                self.query(query, outer, &mut |exec, row| {
                    let cells = [cell(row)];
                    let row = exec.project(map, &Frame::new(&cells, &layout, outer))?;
                    exec.insert_one(insert, map, row, outer, sink)?;
                    Ok(Flow::More)
                })
            }
        }
    }

    fn insert_one(
        &mut self,
        insert: &'p Insert,
        source: &'p [Expr],
        row: Row,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        let target = &insert.target;
        let row = self.finished(target, row, outer)?;
        let inserted = match &insert.conflict {
            None => Inserted::New(
                self.add_row(target, row, source, &[])?
                    .map_err(|_| Stop::Error(internal("conflict")))?,
            ),
            Some(conflict) => self.insert_or(target, conflict, source, row, outer)?,
        };
        let (version, is_new) = match inserted {
            Inserted::Nothing => return Ok(()),
            Inserted::New(version) => (version, true),
            Inserted::Updated(version) => (version, false),
        };
        self.affected += 1;
        if let Some(returning) = &insert.returning {
            let mut cells = [self.cell(target.table.id, version)];
            if let (Some(_), Some(row)) = (&insert.xmax, &cells[0].row) {
                let xmax = match is_new {
                    true => Value::Int(0),
                    false => self.own_number()?,
                };
                cells[0].row = Some(row.iter().cloned().chain([xmax]).collect());
            }
            let layout = insert.xmax.as_ref().unwrap_or(&target.layout);
            let row = self.project(returning, &Frame::new(&cells, layout, outer))?;
            sink(self, row)?;
        }
        Ok(())
    }

    /// Computes generated columns and tests NOT NULL and CHECK.
    pub(super) fn finished(&mut self, target: &'p Target, row: Row, outer: Option<&Frame<'_>>) -> Result<Row, Stop> {
        let mut row = row;
        if !target.generated.is_empty() {
            let cells = [cell(Row::clone(&row))];
            let mut values = row.to_vec();
            for (column, expr) in &target.generated {
                values[*column] = self.eval(expr, &Frame::new(&cells, &target.layout, outer))?;
            }
            row = values.into();
        }
        check_not_null(target, &row)?;
        if !target.checks.is_empty() {
            let cells = [cell(Row::clone(&row))];
            for (name, check) in &target.checks {
                let truth = self.eval(check, &Frame::new(&cells, &target.layout, outer))?;
                if truth == Value::Bool(false) {
                    return Err(Stop::Error(check_violated(target, name)));
                }
            }
        }
        Ok(row)
    }

    /// Adds a row, whose columns were computed by `source`, and its index entries. `Err` of the inner result: an arbiter met a twin, and the row was withdrawn.
    pub(super) fn add_row(
        &mut self,
        target: &'p Target,
        row: Row,
        source: &[Expr],
        arbiters: &[usize],
    ) -> Result<Result<VersionId, ()>, Stop> {
        let (session, table) = (self.session, target.table.id);
        let stored = Row::clone(&row);
        let write = Access::Write {
            table: table.0,
            fresh: true,
        };
        let (_, version) = self.take(write, |store, _| Ok((table, store.insert(session, table, stored)?)))?;
        for (place, index) in target.indexes.iter().enumerate() {
            let Some(key) = self.key(target, index, &row)? else {
                continue;
            };
            let speculative = arbiters.contains(&place);
            let check = if speculative {
                KeyCheck::Speculative
            } else {
                KeyCheck::Enforce
            };
            let id = index.id;
            let drawn = index.keys.iter().any(|key| is_drawn(key, source));
            let (_, entered) = self.enter(table, index, drawn, speculative, |store, _| {
                Ok((table, store.enter_key(session, id, key, version, check)?))
            })?;
            if let Entered::Conflict(_) = entered {
                if speculative {
                    self.op(|store, _| {
                        store.retract(session, table, version);
                        Ok(())
                    })?;
                    return Ok(Err(()));
                }
                return Err(Stop::Error(duplicate(index)));
            }
        }
        self.made.insert((table, version));
        self.inserted_child(target, &row, version);
        Ok(Ok(version))
    }

    /// Enters or looks for a key: something that others may want, where the index is unique.
    fn enter<T: Journaled>(
        &mut self,
        table: TableId,
        index: &BoundIndex,
        drawn: bool,
        probed: bool,
        work: impl FnOnce(&mut Store, &mut dyn Services) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if !index.unique {
            return self.op(work);
        }
        let access = Access::Key {
            index: index.id.0,
            drawn,
            probed,
            waits: self.pacer.patient(),
        };
        let entered = self.take(access, work)?;
        if !drawn {
            // Only whoever changes such a row can notice: what this statement does next is the same before that change and after it.
            self.branch.note(self.session, Access::Probe { table: table.0 });
        }
        Ok(entered)
    }

    /// The key of a row in an index; `None` when the row is not in its predicate.
    pub(super) fn key(&mut self, target: &'p Target, index: &'p BoundIndex, row: &Row) -> Result<Option<Key>, Stop> {
        let plain = index.predicate.is_none() && index.keys.iter().all(|key| matches!(key, Expr::Column { .. }));
        if plain {
            let values: Arc<[Value]> = index
                .keys
                .iter()
                .map(|key| match key {
                    Expr::Column { index, .. } => row.get(usize::from(*index)).cloned().unwrap_or_default(),
                    _ => Value::Null,
                })
                .collect();
            return Ok(Some(Key(values)));
        }
        let cells = [cell(Row::clone(row))];
        let frame = Frame::new(&cells, &target.layout, None);
        if let Some(predicate) = &index.predicate
            && !self.holds(predicate, &frame)?
        {
            return Ok(None);
        }
        Ok(Some(Key(self.project(&index.keys, &frame)?)))
    }

    /// INSERT ... ON CONFLICT of one row.
    fn insert_or(
        &mut self,
        target: &'p Target,
        conflict: &'p Conflict,
        source: &'p [Expr],
        row: Row,
        outer: Option<&Frame<'_>>,
    ) -> Result<Inserted, Stop> {
        let (session, table, snapshot) = (self.session, target.table.id, self.snapshot);
        loop {
            let Some(version) = self.arbitrate(target, conflict, &row)? else {
                match self.add_row(target, Row::clone(&row), source, &conflict.arbiters)? {
                    Ok(version) => return Ok(Inserted::New(version)),
                    Err(()) => continue,
                }
            };
            let Some(update) = &conflict.update else {
                self.op(|store, _| {
                    store.read_conflicting(session, &snapshot, table, version)?;
                    Ok(())
                })?;
                return Ok(Inserted::Nothing);
            };
            if let Some(done) = self.update_conflicting(target, update, version, &row, outer)? {
                return Ok(done);
            }
        }
    }

    /// The version that has one of the arbiters' keys.
    fn arbitrate(&mut self, target: &'p Target, conflict: &Conflict, row: &Row) -> Result<Option<VersionId>, Stop> {
        let (session, table) = (self.session, target.table.id);
        for place in &conflict.arbiters {
            let index = &target.indexes[*place];
            let Some(key) = self.key(target, index, row)? else {
                continue;
            };
            let id = index.id;
            let (_, found) = self.enter(table, index, false, false, |store, _| {
                Ok((table, store.probe_key(session, id, &key, None)?))
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// DO UPDATE; `None` when the row is gone and the key must be looked for again.
    fn update_conflicting(
        &mut self,
        target: &'p Target,
        update: &'p ConflictUpdate,
        version: VersionId,
        row: &Row,
        outer: Option<&Frame<'_>>,
    ) -> Result<Option<Inserted>, Stop> {
        let (session, table, snapshot) = (self.session, target.table.id, self.snapshot);
        let names_key = update.set.iter().any(|(column, _)| target.key_columns.contains(column));
        let request = RowRequest {
            strength: if names_key {
                Strength::Update
            } else {
                Strength::NoKeyUpdate
            },
            wait: WaitPolicy::Block,
            purpose: Purpose::Upsert,
        };
        let access = self.pacer.row(table, request.strength, WaitPolicy::Block);
        let (_, locked) = self.take(access, |store, _| {
            Ok((table, store.lock_row(session, table, version, &request, &snapshot)?))
        })?;
        let version = match locked {
            Locked::Same => version,
            Locked::Moved(newest) => newest,
            Locked::Gone | Locked::Skipped => return Ok(None),
            Locked::SelfModified => {
                let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
                return Err(Stop::Error(sql_error(b"21000", message)));
            }
        };
        let old = self.cell(table, version);
        let cells = [old.clone(), cell(Row::clone(row))];
        let frame = Frame::new(&cells, &update.layout, outer);
        if let Some(filter) = &update.filter
            && !self.holds(filter, &frame)?
        {
            return Ok(Some(Inserted::Nothing));
        }
        let new = self.changed(target, &update.set, &old, &frame, outer)?;
        let version = self.write_update(target, version, &old, new)?;
        Ok(Some(Inserted::Updated(version)))
    }

    /// The row after SET.
    pub(super) fn changed(
        &mut self,
        target: &'p Target,
        set: &'p [(usize, Expr)],
        old: &Cell,
        frame: &Frame<'_>,
        outer: Option<&Frame<'_>>,
    ) -> Result<Row, Stop> {
        let Some(row) = &old.row else {
            return Err(Stop::Error(internal("no row to change")));
        };
        let mut values = row.to_vec();
        for (column, expr) in set {
            values[*column] = self.eval(expr, frame)?;
        }
        self.finished(target, values.into(), outer)
    }

    /// Writes the new version of a row that is locked, with its index entries.
    pub(super) fn write_update(
        &mut self,
        target: &'p Target,
        version: VersionId,
        old: &Cell,
        new: Row,
    ) -> Result<VersionId, Stop> {
        let (session, table) = (self.session, target.table.id);
        let Some(before) = old.row.clone() else {
            return Err(Stop::Error(internal("no row to change")));
        };
        let key_change = target.key_columns.iter().any(|column| before[*column] != new[*column]);
        let stored = Row::clone(&new);
        let write = Access::Write {
            table: table.0,
            fresh: false,
        };
        let (_, next) = self.take(write, |store, _| {
            Ok((table, store.update(session, table, version, stored, key_change)?))
        })?;
        let mut keys = Vec::with_capacity(target.indexes.len());
        let mut heap_only = true;
        for index in &target.indexes {
            let (was, is) = (self.key(target, index, &before)?, self.key(target, index, &new)?);
            heap_only &= was == is && !predicate_touched(index, &before, &new);
            keys.push(is);
        }
        for (index, key) in target.indexes.iter().zip(keys) {
            let Some(key) = key else { continue };
            let check = if heap_only {
                KeyCheck::HeapOnly
            } else {
                KeyCheck::Enforce
            };
            let id = index.id;
            let work =
                |store: &mut Store, _: &mut dyn Services| Ok((table, store.enter_key(session, id, key, next, check)?));
            // A version with the same keys takes none.
            let (_, entered) = match heap_only {
                true => self.op(work)?,
                false => self.enter(table, index, false, false, work)?,
            };
            if let Entered::Conflict(_) = entered {
                return Err(Stop::Error(duplicate(index)));
            }
        }
        self.made.insert((table, next));
        self.updated(target, &before, &new, version, next);
        Ok(next)
    }

    /// Whether the running transaction takes a snapshot for each statement.
    pub(super) fn is_read_committed(&self) -> bool {
        self.level == Level::ReadCommitted
    }
}

/// Whether a column of a key is drawn from a sequence or at random by the expressions that compute the row.
fn is_drawn(key: &Expr, source: &[Expr]) -> bool {
    let Expr::Column { index, .. } = key else { return false };
    let mut expr = source.get(usize::from(*index));
    while let Some(Expr::Cast { expr: inner, .. }) = expr {
        expr = Some(inner);
    }
    matches!(
        expr,
        Some(Expr::Volatile {
            call: Volatile::Nextval | Volatile::RandomUuid,
            ..
        })
    )
}

/// Whether an update changed a column that an index stores or its predicate reads: Postgres then makes new entries in all indexes.
fn predicate_touched(index: &BoundIndex, before: &Row, after: &Row) -> bool {
    let mut columns = index.predicate.as_ref().map(Expr::columns).unwrap_or_default();
    columns.extend(index.keys.iter().flat_map(Expr::columns));
    let mut stored = columns
        .iter()
        .map(|column| usize::from(*column))
        .chain(index.include.iter().copied());
    stored.any(|column| before.get(column) != after.get(column))
}

fn check_not_null(target: &Target, row: &Row) -> Result<(), SqlError> {
    for (column, value) in target.table.columns.iter().zip(row.iter()) {
        if column.not_null && value.is_null() {
            let message = format!(
                "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                column.name, target.table.name
            );
            return Err(SqlError::new(SqlState::NOT_NULL_VIOLATION, message));
        }
    }
    Ok(())
}

fn check_violated(target: &Target, name: &Arc<str>) -> SqlError {
    let message = format!(
        "new row for relation \"{}\" violates check constraint \"{name}\"",
        target.table.name
    );
    SqlError::new(SqlState::CHECK_VIOLATION, message).on(Arc::clone(name))
}

/// `duplicate key value violates unique constraint "x"`.
pub(super) fn duplicate(index: &BoundIndex) -> SqlError {
    let message = format!("duplicate key value violates unique constraint \"{}\"", index.name);
    SqlError::new(SqlState::UNIQUE_VIOLATION, message).on(Arc::clone(&index.name))
}

/// Tests NOT NULL of a row, for DDL that rewrites a table.
pub(crate) fn check_row(target: &Target, row: &Row) -> Result<(), SqlError> {
    check_not_null(target, row)
}
