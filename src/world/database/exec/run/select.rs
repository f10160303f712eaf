//! Queries: from FROM to the result, with grouping, sorting, row locks and limits in Postgres' order.

use std::cmp::Ordering;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::value::Value;
use crate::world::database::exec::plan::{Body, Distinct, Lock, Query, Select, SetOp, Side, WindowFunction};
use crate::world::database::sql::expr::{Expr, SortKey};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::sql::types::Type;
use crate::world::database::store::{Level, Locked, Purpose, RowRequest, Stop, WaitPolicy};

use super::from::Reading;
use super::{Cell, Cells, Exec, Flow, Frame, Row, RowSink, internal};

/// A row on its way to the result, with the values it is sorted by.
struct Sorted {
    keys: Vec<Value>,
    cells: Cells,
    aggregates: Arc<[Value]>,
    /// The results of set-returning functions; several rows come of one then.
    sets: Arc<[Value]>,
}

/// What became of the locks on a row.
enum Claimed {
    Kept,
    Dropped,
}

impl<'p> Exec<'p> {
    /// Runs a query and pushes its rows.
    pub(crate) fn query(
        &mut self,
        query: &'p Query,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        let (limit, offset) = self.limits(query, outer)?;
        let mut left = limit.unwrap_or(u64::MAX);
        let mut skip = offset;
        if left > 0 {
            let mut limited = |exec: &mut Exec<'p>, row: Row| {
                if skip > 0 {
                    skip -= 1;
                    return Ok(Flow::More);
                }
                left -= 1;
                let flow = sink(exec, row)?;
                Ok(if left == 0 { Flow::Enough } else { flow })
            };
            match &query.body {
                Body::Select(select) => self.select(query, select, outer, &mut limited)?,
                Body::Insert(insert) => self.insert(insert, outer, &mut limited)?,
                Body::Update(update) => self.update(update, outer, &mut limited)?,
                Body::Delete(delete) => self.delete(delete, outer, &mut limited)?,
                Body::Merge(merge) => self.merge(merge, outer)?,
                Body::Values(_) | Body::Set { .. } => self.plain_rows(query, outer, &mut limited)?,
            }
        }
        // CTEs that write run to their end, even when nobody read them.
        for cte in &query.modifying_ctes {
            self.cte(*cte, outer)?;
        }
        Ok(())
    }

    fn limits(&mut self, query: &'p Query, outer: Option<&Frame<'_>>) -> Result<(Option<u64>, u64), Stop> {
        if query.limit.is_none() && query.offset.is_none() {
            return Ok((None, 0));
        }
        let layout = Default::default();
        let frame = Frame::new(&[], &layout, outer);
        let mut number = |expr: &Option<Expr>, word: &str| -> Result<Option<u64>, Stop> {
            let Some(expr) = expr else { return Ok(None) };
            match self.eval(expr, &frame)? {
                Value::Null => Ok(None),
                Value::Int(number) => u64::try_from(number).map(Some).map_err(|_| {
                    let code = if word == "LIMIT" { b"2201W" } else { b"2201X" };
                    Stop::Error(sql_error(code, format!("{word} must not be negative")))
                }),
                _ => Err(Stop::Error(internal("limit"))),
            }
        };
        let offset = number(&query.offset, "OFFSET")?.unwrap_or(0);
        Ok((number(&query.limit, "LIMIT")?, offset))
    }

    /// `VALUES` and set operations, sorted by output columns.
    fn plain_rows(&mut self, query: &'p Query, outer: Option<&Frame<'_>>, sink: RowSink<'_, 'p>) -> Result<(), Stop> {
        let mut rows: Vec<Row> = Vec::new();
        match &query.body {
            Body::Values(lists) => {
                let layout = Default::default();
                let frame = Frame::new(&[], &layout, outer);
                for list in lists {
                    let row = self.project(list, &frame)?;
                    if query.order.is_empty() {
                        if sink(self, row)? == Flow::Enough {
                            return Ok(());
                        }
                    } else {
                        rows.push(row);
                    }
                }
            }
            Body::Set { op, all, left, right } => rows = self.set_operation(query, *op, *all, left, right, outer)?,
            _ => return Err(Stop::Error(internal("query body"))),
        }
        if !query.order.is_empty() {
            let layout = crate::world::database::exec::plan::Layout::single(query.columns.len());
            let mut keyed = Vec::new();
            for row in rows {
                let cells = [cell(Row::clone(&row))];
                let frame = Frame::new(&cells, &layout, outer);
                keyed.push((self.sort_values(&query.order, &frame)?, row));
            }
            keyed.sort_by(|left, right| compare_keys(&query.order, &left.0, &right.0));
            rows = keyed.into_iter().map(|(_, row)| row).collect();
        }
        for row in rows {
            if sink(self, row)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    fn set_operation(
        &mut self,
        query: &'p Query,
        op: SetOp,
        all: bool,
        left: &'p Side,
        right: &'p Side,
        outer: Option<&Frame<'_>>,
    ) -> Result<Vec<Row>, Stop> {
        let mut left = self.side(left, outer)?;
        let mut right = self.side(right, outer)?;
        let types: Vec<&Type> = query.columns.iter().map(|(_, ty)| ty).collect();
        Ok(match (op, all) {
            (SetOp::Union, true) => {
                left.append(&mut right);
                left
            }
            (SetOp::Union, false) => {
                left.append(&mut right);
                distinct_rows(left, &types)
            }
            (SetOp::Intersect | SetOp::Except, all) => {
                let keep = op == SetOp::Intersect;
                if !all {
                    left = distinct_rows(left, &types);
                }
                left.retain(|row| {
                    let twin = right.iter().position(|other| other == row);
                    if let (Some(place), true) = (twin, all) {
                        right.remove(place);
                    }
                    twin.is_some() == keep
                });
                left
            }
        })
    }

    fn side(&mut self, side: &'p Side, outer: Option<&Frame<'_>>) -> Result<Vec<Row>, Stop> {
        let layout = crate::world::database::exec::plan::Layout::single(side.casts.len());
        let mut rows = Vec::new();
        self.query(&side.query, outer, &mut |exec, row| {
            let cells = [cell(row)];
            rows.push(exec.project(&side.casts, &Frame::new(&cells, &layout, outer))?);
            Ok(Flow::More)
        })?;
        Ok(rows)
    }

    fn select(
        &mut self,
        query: &'p Query,
        select: &'p Select,
        outer: Option<&Frame<'_>>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        let reading = Reading {
            layout: &select.layout,
            outer,
            recheck: None,
        };
        // At the other levels nobody can tell whether rows were sorted or came in order.
        let in_order = select.in_order && self.level == Level::Serializable && !self.is_whole;
        let simple = select.group.is_none()
            && (query.order.is_empty() || in_order)
            && matches!(select.distinct, Distinct::No)
            && select.windows.is_empty();
        if simple {
            return self
                .source(
                    select,
                    reading,
                    &mut |exec, cells| match exec.claim(select, reading, cells)? {
                        Claimed::Dropped => Ok(Flow::More),
                        Claimed::Kept => exec.emit(select, outer, cells, &[], sink),
                    },
                )
                .map(|_| ());
        }
        let mut rows = match &select.group {
            Some(group) => self.grouped(select, group, &query.order, reading)?,
            None => {
                let mut rows = Vec::new();
                self.source(select, reading, &mut |exec, cells| {
                    let keys = match select.windows.is_empty() && select.set_calls.is_empty() {
                        true => exec.sort_values(&query.order, &Frame::new(cells, &select.layout, outer))?,
                        false => Vec::new(),
                    };
                    rows.push(Sorted {
                        keys,
                        cells: cells.clone(),
                        aggregates: Arc::new([]),
                        sets: Arc::new([]),
                    });
                    Ok(Flow::More)
                })?;
                rows
            }
        };
        if !select.windows.is_empty() {
            self.number_rows(query, select, outer, &mut rows)?;
        }
        if !select.set_calls.is_empty() {
            rows = self.unfold(query, select, outer, rows)?;
        }
        rows.sort_by(|left, right| compare_keys(&query.order, &left.keys, &right.keys));
        if !matches!(select.distinct, Distinct::No) {
            return self.distinct(query, select, outer, rows, sink);
        }
        for mut row in rows {
            if let Claimed::Dropped = self.claim(select, reading, &mut row.cells)? {
                continue;
            }
            if self.emit_sorted(select, outer, &row, sink)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    /// A row for each result of the set-returning functions, with the values it is sorted by.
    fn unfold(
        &mut self,
        query: &'p Query,
        select: &'p Select,
        outer: Option<&Frame<'_>>,
        rows: Vec<Sorted>,
    ) -> Result<Vec<Sorted>, Stop> {
        let mut unfolded = Vec::new();
        for row in rows {
            let mut frame = Frame::new(&row.cells, &select.layout, outer);
            frame.aggregates = &row.aggregates;
            for sets in self.sets(select, &frame)? {
                let mut frame = frame;
                frame.set_results = &sets;
                let keys = self.sort_values(&query.order, &frame)?;
                unfolded.push(Sorted {
                    keys,
                    cells: row.cells.clone(),
                    aggregates: Arc::clone(&row.aggregates),
                    sets: sets.into(),
                });
            }
        }
        Ok(unfolded)
    }

    /// The results of the set-returning functions side by side; a shorter one is filled up with NULLs.
    fn sets(&mut self, select: &'p Select, frame: &Frame<'_>) -> Result<Vec<Vec<Value>>, Stop> {
        let mut sets = Vec::new();
        for call in &select.set_calls {
            let rows = self.set_rows(call, frame)?;
            let values: Vec<Value> = rows
                .into_iter()
                .map(|mut row| match row.len() {
                    1 => row.remove(0),
                    _ => Value::Record(row.into()),
                })
                .collect();
            sets.push(values);
        }
        let longest = sets.iter().map(Vec::len).max().unwrap_or(0);
        let side = |place: usize| {
            sets.iter()
                .map(|set| set.get(place).cloned().unwrap_or_default())
                .collect()
        };
        Ok((0..longest).map(side).collect())
    }

    /// Projects a row whose set-returning functions are done and pushes it.
    fn emit_sorted(
        &mut self,
        select: &'p Select,
        outer: Option<&Frame<'_>>,
        row: &Sorted,
        sink: RowSink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let mut frame = Frame::new(&row.cells, &select.layout, outer);
        frame.aggregates = &row.aggregates;
        frame.set_results = &row.sets;
        let row = self.project(&select.output, &frame)?;
        sink(self, row)
    }

    /// The rows of FROM and WHERE.
    pub(super) fn source(
        &mut self,
        select: &'p Select,
        reading: Reading<'_>,
        sink: super::Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let mut cells: Cells = smallvec::smallvec![Cell::default(); select.layout.slots];
        let frame = Frame::new(&[], &select.layout, reading.outer);
        if !self.all_hold(&select.gate, &frame)? {
            return Ok(Flow::More);
        }
        if select.filter.is_empty() {
            return self.read(&select.from, reading, &mut cells, sink);
        }
        self.read(&select.from, reading, &mut cells, &mut |exec, cells| {
            if !exec.all_hold(&select.filter, &Frame::new(cells, &select.layout, reading.outer))? {
                return Ok(Flow::More);
            }
            sink(exec, cells)
        })
    }

    /// Projects a row and pushes it: once, or once for each row of the set-returning functions in the select list.
    fn emit(
        &mut self,
        select: &'p Select,
        outer: Option<&Frame<'_>>,
        cells: &Cells,
        aggregates: &[Value],
        sink: RowSink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let mut frame = Frame::new(cells, &select.layout, outer);
        frame.aggregates = aggregates;
        if select.set_calls.is_empty() {
            let row = self.project(&select.output, &frame)?;
            return sink(self, row);
        }
        for current in self.sets(select, &frame)? {
            let mut frame = frame;
            frame.set_results = &current;
            let row = self.project(&select.output, &frame)?;
            if sink(self, row)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }

    /// Locks a row as the query's locking clauses say, and tests WHERE again on what changed meanwhile.
    fn claim(&mut self, select: &'p Select, reading: Reading<'_>, cells: &mut Cells) -> Result<Claimed, Stop> {
        if select.locks.is_empty() {
            return Ok(Claimed::Kept);
        }
        let mut first: Option<Cells> = None;
        for lock in &select.locks {
            let Some(version) = cells[lock.slot].version else {
                continue;
            };
            let request = RowRequest {
                strength: lock.strength,
                wait: lock.policy,
                purpose: Purpose::Select,
            };
            match self.lock_row(lock, version, request)? {
                Locked::Same => {}
                Locked::Moved(newest) => {
                    first.get_or_insert_with(|| cells.clone());
                    cells[lock.slot] = self.cell(lock.table.id, newest);
                }
                Locked::Gone | Locked::Skipped | Locked::SelfModified => return Ok(Claimed::Dropped),
            }
        }
        if let Some(first) = first
            && !self.recheck(&select.from, &select.filter, reading, &first, cells)?
        {
            return Ok(Claimed::Dropped);
        }
        Ok(Claimed::Kept)
    }

    fn lock_row(
        &mut self,
        lock: &Lock,
        version: crate::world::database::store::VersionId,
        request: RowRequest,
    ) -> Result<Locked, Stop> {
        let (session, snapshot, table) = (self.session, self.snapshot, lock.table.id);
        let access = self.pacer.row(table, lock.strength, lock.policy);
        let result = self.take(access, |store, _| {
            Ok((table, store.lock_row(session, table, version, &request, &snapshot)?))
        });
        match result {
            Ok((_, locked)) => Ok(locked),
            Err(Stop::Error(error)) if lock.policy == WaitPolicy::NoWait && error.code.as_str() == "55P03" => {
                let message = format!("could not obtain lock on row in relation \"{}\"", lock.table.name);
                Err(Stop::Error(sql_error(b"55P03", message)))
            }
            Err(stop) => Err(stop),
        }
    }

    /// EvalPlanQual: runs FROM and WHERE again over these very rows, which were `first` before the wait; `false` when they no longer
    /// qualify.
    pub(crate) fn recheck(
        &mut self,
        from: &'p crate::world::database::exec::plan::From,
        filter: &'p [Expr],
        reading: Reading<'_>,
        first: &Cells,
        cells: &mut Cells,
    ) -> Result<bool, Stop> {
        let around = self.rechecked.replace(first.clone());
        let qualifies = self.qualifies(from, filter, reading, cells);
        self.rechecked = around;
        qualifies
    }

    fn qualifies(
        &mut self,
        from: &'p crate::world::database::exec::plan::From,
        filter: &'p [Expr],
        reading: Reading<'_>,
        cells: &mut Cells,
    ) -> Result<bool, Stop> {
        let fixed = cells.clone();
        let again = Reading {
            recheck: Some(&fixed),
            ..reading
        };
        let mut scratch: Cells = smallvec::smallvec![Cell::default(); fixed.len()];
        let mut found = None;
        self.read(from, again, &mut scratch, &mut |exec, cells| {
            if !exec.all_hold(filter, &Frame::new(cells, again.layout, again.outer))? {
                return Ok(Flow::More);
            }
            found = Some(cells.clone());
            Ok(Flow::Enough)
        })?;
        match found {
            Some(found) => {
                *cells = found;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// The cell of a version.
    pub(crate) fn cell(
        &self,
        table: crate::world::database::store::TableId,
        version: crate::world::database::store::VersionId,
    ) -> Cell {
        Cell {
            row: Some(Row::clone(self.store.row(table, version))),
            version: Some(version),
        }
    }

    fn grouped(
        &mut self,
        select: &'p Select,
        group: &'p [(Expr, Type)],
        order: &'p [SortKey],
        reading: Reading<'_>,
    ) -> Result<Vec<Sorted>, Stop> {
        let mut groups = super::aggregate::Groups::new(select, group);
        let mut add = |exec: &mut Exec<'p>, cells: &mut Cells| {
            groups.add(exec, cells, reading.outer)?;
            Ok(Flow::More)
        };
        if !select.extremes.is_empty() && self.level == Level::Serializable && reading.recheck.is_none() {
            let frame = Frame::new(&[], &select.layout, reading.outer);
            if self.all_hold(&select.gate, &frame)? {
                let values: Vec<&Expr> = select.aggregates.iter().filter_map(|call| call.args.first()).collect();
                self.read_extremes(&select.from, &select.extremes, &values, reading, &mut add)?;
            }
        } else {
            self.source(select, reading, &mut add)?;
        }
        let mut rows = Vec::new();
        for (cells, aggregates) in groups.finish(select)? {
            let mut frame = Frame::new(&cells, &select.layout, reading.outer);
            frame.aggregates = &aggregates;
            if let Some(having) = &select.having
                && !self.holds(having, &frame)?
            {
                continue;
            }
            let keys = match select.set_calls.is_empty() {
                true => self.sort_values(order, &frame)?,
                false => Vec::new(),
            };
            rows.push(Sorted {
                keys,
                cells,
                aggregates: aggregates.into(),
                sets: Arc::new([]),
            });
        }
        Ok(rows)
    }

    fn sort_values(&mut self, order: &[SortKey], frame: &Frame<'_>) -> Result<Vec<Value>, Stop> {
        order.iter().map(|key| self.eval(&key.expr, frame)).collect()
    }

    fn distinct(
        &mut self,
        query: &'p Query,
        select: &'p Select,
        outer: Option<&Frame<'_>>,
        rows: Vec<Sorted>,
        sink: RowSink<'_, 'p>,
    ) -> Result<(), Stop> {
        let mut seen: FxHashSet<Row> = FxHashSet::default();
        let mut kept = Vec::new();
        for row in &rows {
            if let Distinct::On(keys) = &select.distinct {
                let mut frame = Frame::new(&row.cells, &select.layout, outer);
                frame.aggregates = &row.aggregates;
                frame.set_results = &row.sets;
                let key: Result<Vec<Value>, Stop> = keys.iter().map(|(key, _)| self.eval(key, &frame)).collect();
                if !seen.insert(key?.into()) {
                    continue;
                }
                if self.emit_sorted(select, outer, row, sink)? == Flow::Enough {
                    return Ok(());
                }
                continue;
            }
            self.emit_sorted(select, outer, row, &mut |_, row| {
                if seen.insert(Row::clone(&row)) {
                    kept.push(row);
                }
                Ok(Flow::More)
            })?;
        }
        if query.order.is_empty() {
            let types: Vec<&Type> = query.columns.iter().map(|(_, ty)| ty).collect();
            kept = distinct_rows(kept, &types);
        }
        for row in kept {
            if sink(self, row)? == Flow::Enough {
                break;
            }
        }
        Ok(())
    }

    /// Window functions: a number for each row, in a slot of its own behind FROM.
    fn number_rows(
        &mut self,
        query: &'p Query,
        select: &'p Select,
        outer: Option<&Frame<'_>>,
        rows: &mut [Sorted],
    ) -> Result<(), Stop> {
        let mut numbers: Vec<Vec<Value>> = vec![Vec::new(); rows.len()];
        for window in &select.windows {
            let mut keyed = Vec::new();
            for (place, row) in rows.iter().enumerate() {
                let mut frame = Frame::new(&row.cells, &select.layout, outer);
                frame.aggregates = &row.aggregates;
                let mut partition = Vec::new();
                for (expr, _) in &window.partition {
                    partition.push(self.eval(expr, &frame)?);
                }
                keyed.push((partition, self.sort_values(&window.order, &frame)?, place));
            }
            keyed.sort_by(|left, right| {
                left.0
                    .cmp(&right.0)
                    .then_with(|| compare_keys(&window.order, &left.1, &right.1))
            });
            let (mut row_number, mut rank, mut dense) = (0, 0, 0);
            for current in 0..keyed.len() {
                let previous = current.checked_sub(1).map(|place| &keyed[place]);
                if previous.is_none_or(|previous| previous.0 != keyed[current].0) {
                    (row_number, rank, dense) = (0, 0, 0);
                }
                row_number += 1;
                if row_number == 1 || previous.is_some_and(|previous| previous.1 != keyed[current].1) {
                    rank = row_number;
                    dense += 1;
                }
                numbers[keyed[current].2].push(Value::Int(match window.function {
                    WindowFunction::RowNumber => row_number,
                    WindowFunction::Rank => rank,
                    WindowFunction::DenseRank => dense,
                }));
            }
        }
        for (row, numbers) in rows.iter_mut().zip(numbers) {
            if let Some(last) = row.cells.last_mut() {
                *last = cell(numbers.into());
            }
            let mut frame = Frame::new(&row.cells, &select.layout, outer);
            frame.aggregates = &row.aggregates;
            row.keys = self.sort_values(&query.order, &frame)?;
        }
        Ok(())
    }
}

/// A cell that is no version of a table.
pub(crate) fn cell(row: Row) -> Cell {
    Cell {
        row: Some(row),
        version: None,
    }
}

/// Rows without duplicates. Departure from Postgres: it hashes here and the order is arbitrary; the model sorts.
fn distinct_rows(mut rows: Vec<Row>, types: &[&Type]) -> Vec<Row> {
    rows.sort_by(|left, right| {
        let pairs = left.iter().zip(right.iter()).zip(types);
        let mut orders = pairs.map(|((left, right), ty)| compare_values(ty, left, right, false));
        orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    });
    rows.dedup();
    rows
}

fn compare_keys(order: &[SortKey], left: &[Value], right: &[Value]) -> Ordering {
    for ((key, left), right) in order.iter().zip(left).zip(right) {
        let result = match (left.is_null(), right.is_null()) {
            (false, false) => {
                let result = key.ty.compare(left, right);
                if key.descending { result.reverse() } else { result }
            }
            _ => compare_values(&key.ty, left, right, key.nulls_first),
        };
        if result.is_ne() {
            return result;
        }
    }
    Ordering::Equal
}

/// How two values sort, ascending, with NULLs at one end.
pub(crate) fn compare_values(ty: &Type, left: &Value, right: &Value, nulls_first: bool) -> Ordering {
    match (left.is_null(), right.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) if nulls_first => Ordering::Less,
        (true, false) => Ordering::Greater,
        (false, true) if nulls_first => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => ty.compare(left, right),
    }
}
