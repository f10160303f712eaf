//! UPDATE, DELETE and MERGE: scan, lock, re-check, write, row by row.

use crate::machine::Access;
use crate::world::database::exec::plan::{Delete, From, Layout, Merge, MergeAction, MergeClause, Target, Update};
use crate::world::database::sql::expr::Expr;
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::store::{Locked, Purpose, RowRequest, Stop, Strength, VersionId, WaitPolicy};

use super::from::Reading;
use super::{Cell, Cells, Exec, Flow, Frame, Row, RowSink, Sink, internal};

/// The slot of the changed table.
const TARGET: usize = 0;

impl<'p> Exec<'p> {
    /// Runs an UPDATE and pushes what RETURNING says.
    pub(super) fn update(
        &mut self,
        update: &'p Update,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        let target = &update.target;
        let reading = Reading {
            layout: &update.layout,
            outer,
            recheck: None,
        };
        self.victims(
            &update.from,
            &update.gate,
            &update.filter,
            reading,
            &mut |exec, cells| {
                let mut first: Option<Cells> = None;
                loop {
                    let Some(version) = cells[TARGET].version else {
                        return Ok(Flow::More);
                    };
                    let old = cells[TARGET].clone();
                    let frame = Frame::new(cells, &update.layout, outer);
                    let new = exec.changed(target, &update.set, &old, &frame, outer)?;
                    let strength = strength_of(target, &old, &new);
                    match exec.lock_for_write(target, version, strength)? {
                        Locked::Same => {
                            let next = exec.write_update(target, version, &old, new)?;
                            exec.affected += 1;
                            cells[TARGET] = exec.cell(target.table.id, next);
                            break;
                        }
                        Locked::Moved(newest) => {
                            let first = first.get_or_insert_with(|| cells.clone());
                            cells[TARGET] = exec.cell(target.table.id, newest);
                            if !exec.recheck(&update.from, &update.filter, reading, first, cells)? {
                                return Ok(Flow::More);
                            }
                        }
                        Locked::Gone | Locked::Skipped | Locked::SelfModified => return Ok(Flow::More),
                    }
                }
                exec.returning(update.returning.as_deref(), cells, &update.layout, outer, sink)
            },
        )
    }

    /// Runs a DELETE and pushes what RETURNING says.
    pub(super) fn delete(
        &mut self,
        delete: &'p Delete,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        let target = &delete.target;
        let reading = Reading {
            layout: &delete.layout,
            outer,
            recheck: None,
        };
        self.victims(
            &delete.from,
            &delete.gate,
            &delete.filter,
            reading,
            &mut |exec, cells| {
                let mut first: Option<Cells> = None;
                loop {
                    let Some(version) = cells[TARGET].version else {
                        return Ok(Flow::More);
                    };
                    match exec.lock_for_write(target, version, Strength::Update)? {
                        Locked::Same => {
                            exec.remove(target, version, &cells[TARGET].clone())?;
                            exec.affected += 1;
                            break;
                        }
                        Locked::Moved(newest) => {
                            let first = first.get_or_insert_with(|| cells.clone());
                            cells[TARGET] = exec.cell(target.table.id, newest);
                            if !exec.recheck(&delete.from, &delete.filter, reading, first, cells)? {
                                return Ok(Flow::More);
                            }
                        }
                        Locked::Gone | Locked::Skipped | Locked::SelfModified => return Ok(Flow::More),
                    }
                }
                exec.returning(delete.returning.as_deref(), cells, &delete.layout, outer, sink)
            },
        )
    }

    /// The rows that WHERE finds.
    fn victims(
        &mut self,
        from: &'p From,
        gate: &'p [Expr],
        filter: &'p [Expr],
        reading: Reading<'_>,
        sink: Sink<'_, 'p>,
    ) -> Result<(), Stop> {
        let frame = Frame::new(&[], reading.layout, reading.outer);
        if !self.all_hold(gate, &frame)? {
            return Ok(());
        }
        let mut cells: Cells = smallvec::smallvec![Cell::default(); reading.layout.slots];
        self.read(from, reading, &mut cells, &mut |exec, cells| {
            if !exec.all_hold(filter, &Frame::new(cells, reading.layout, reading.outer))? {
                return Ok(Flow::More);
            }
            // The sink may put a newer version into the cells; the scan's own row stays as it was.
            let mut own = cells.clone();
            sink(exec, &mut own)
        })?;
        Ok(())
    }

    /// Locks a row that is going to be written. When the row moved, its newest version is locked; the caller tests WHERE again and
    /// asks once more.
    fn lock_for_write(&mut self, target: &Target, version: VersionId, strength: Strength) -> Result<Locked, Stop> {
        let (session, snapshot, table) = (self.session, self.snapshot, target.table.id);
        let request = RowRequest {
            strength,
            wait: WaitPolicy::Block,
            purpose: Purpose::Write,
        };
        let access = self.pacer.row(table, strength, WaitPolicy::Block);
        let (_, locked) = self.take(access, |store, _| {
            Ok((table, store.lock_row(session, table, version, &request, &snapshot)?))
        })?;
        Ok(locked)
    }

    /// Deletes a row that is locked.
    pub(super) fn remove(&mut self, target: &'p Target, version: VersionId, old: &Cell) -> Result<(), Stop> {
        let (session, table) = (self.session, target.table.id);
        self.take(
            Access::Write {
                table: table.0,
                fresh: false,
            },
            |store, _| store.delete(session, table, version),
        )?;
        if let Some(row) = &old.row {
            self.deleted(target, row, version);
        }
        Ok(())
    }

    fn returning(
        &mut self,
        list: Option<&'p [Expr]>,
        cells: &Cells,
        layout: &Layout,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        if let Some(list) = list {
            let row = self.project(list, &Frame::new(cells, layout, outer))?;
            sink(self, row)?;
        }
        Ok(Flow::More)
    }

    /// Runs a MERGE.
    pub(super) fn merge(&mut self, merge: &'p Merge, outer: Option<&Frame<'_>>) -> Result<(), Stop> {
        let reading = Reading {
            layout: &merge.layout,
            outer,
            recheck: None,
        };
        self.victims(&merge.from, &[], &[], reading, &mut |exec, cells| {
            let source = cells.clone();
            if cells[TARGET].row.is_some() && exec.merge_matched(merge, reading, cells)? {
                return Ok(Flow::More);
            }
            let mut cells = source;
            cells[TARGET] = Cell::default();
            exec.merge_unmatched(merge, reading, &cells)?;
            Ok(Flow::More)
        })
    }

    /// The MATCHED clauses for one pair of rows; `false` when the target is gone or no longer matches.
    fn merge_matched(&mut self, merge: &'p Merge, reading: Reading<'_>, cells: &mut Cells) -> Result<bool, Stop> {
        let target = &merge.target;
        let mut first: Option<Cells> = None;
        loop {
            let Some(version) = cells[TARGET].version else {
                return Ok(false);
            };
            let old = cells[TARGET].clone();
            let Some(clause) = self.clause(merge, true, reading, cells)? else {
                return Ok(true);
            };
            let frame = Frame::new(cells, reading.layout, reading.outer);
            let (new, strength, names_key) = match &clause.action {
                MergeAction::Nothing | MergeAction::Insert(_) => return Ok(true),
                MergeAction::Delete => (None, Strength::Update, false),
                MergeAction::Update(set) => {
                    let new = self.changed(target, set, &old, &frame, reading.outer)?;
                    let strength = strength_of(target, &old, &new);
                    (
                        Some(new),
                        strength,
                        set.iter().any(|(column, _)| target.key_columns.contains(column)),
                    )
                }
            };
            let mut locked = self.lock_for_write(target, version, strength)?;
            if names_key
                && strength != Strength::Update
                && let Locked::Moved(newest) = locked
            {
                // A MERGE whose SET list names a key column locks the newest version as for a change of the key, before it tests again.
                locked = match self.lock_for_write(target, newest, Strength::Update)? {
                    Locked::Same => Locked::Moved(newest),
                    other => other,
                };
            }
            match locked {
                Locked::Same => {
                    match new {
                        Some(new) => {
                            self.write_update(target, version, &old, new)?;
                        }
                        None => self.remove(target, version, &old)?,
                    }
                    self.affected += 1;
                    return Ok(true);
                }
                Locked::Moved(newest) => {
                    let first = first.get_or_insert_with(|| cells.clone());
                    cells[TARGET] = self.cell(target.table.id, newest);
                    // ON is a left join's condition: the pair still matches if the target is still there.
                    if !self.recheck(&merge.from, &[], reading, first, cells)? || cells[TARGET].row.is_none() {
                        return Ok(false);
                    }
                }
                Locked::Gone => return Ok(false),
                Locked::SelfModified => {
                    return Err(Stop::Error(sql_error(
                        b"21000",
                        "MERGE command cannot affect row a second time",
                    )));
                }
                Locked::Skipped => return Err(Stop::Error(internal("a skipped row in MERGE"))),
            }
        }
    }

    fn merge_unmatched(&mut self, merge: &'p Merge, reading: Reading<'_>, cells: &Cells) -> Result<(), Stop> {
        let Some(clause) = self.clause(merge, false, reading, cells)? else {
            return Ok(());
        };
        if let MergeAction::Insert(values) = &clause.action {
            let row: Row = self.project(values, &Frame::new(cells, reading.layout, reading.outer))?;
            let row = self.finished(&merge.target, row, reading.outer)?;
            if self.add_row(&merge.target, row, &[], &[])?.is_ok() {
                self.affected += 1;
            }
        }
        Ok(())
    }

    /// The first WHEN clause whose condition holds.
    fn clause(
        &mut self,
        merge: &'p Merge,
        matched: bool,
        reading: Reading<'_>,
        cells: &Cells,
    ) -> Result<Option<&'p MergeClause>, Stop> {
        for clause in merge.clauses.iter().filter(|clause| clause.matched == matched) {
            let frame = Frame::new(cells, reading.layout, reading.outer);
            let holds = match &clause.condition {
                Some(condition) => self.holds(condition, &frame)?,
                None => true,
            };
            if holds {
                return Ok(Some(clause));
            }
        }
        Ok(None)
    }
}

/// How strongly an UPDATE locks a row (RULES 7): by the values of key columns, not by their names.
fn strength_of(target: &Target, old: &Cell, new: &Row) -> Strength {
    let changes_key = old
        .row
        .as_ref()
        .is_some_and(|old| target.key_columns.iter().any(|column| old[*column] != new[*column]));
    match changes_key {
        true => Strength::Update,
        false => Strength::NoKeyUpdate,
    }
}
