//! Reading FROM: scans, index look-ups and joins, row by row.

use std::ops::Bound;
use std::rc::Rc;

use crate::machine::{self, SqlError};
use crate::value::Value;
use crate::world::database::exec::catalog::Table;
use crate::world::database::exec::plan::{
    Access, Bitmap, From, IndexAccess, JoinKind, KeySource, Layout, Leaf, Source,
};
use crate::world::database::sql::expr::{Comparison, Expr};
use crate::world::database::sql::refuse::not_modelled;
use crate::world::database::store::{IndexId, KeyRange, Level, SessionId, Snapshot, Stop, Store, TableId, VersionId};

use super::{Cell, Cells, Exec, Flow, Frame, Row, Sink};

/// What all nodes of one FROM share.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) outer: Option<&'a Frame<'a>>,
    /// The row of a re-check: every relation gives only its cell of this row.
    pub(crate) recheck: Option<&'a [Cell]>,
}

/// Where look-ups in indexes looked, and the versions that they found.
type Roots = (Vec<(IndexId, KeyRange)>, Vec<VersionId>);

impl<'a> Reading<'a> {
    fn frame<'f>(&self, cells: &'f [Cell]) -> Frame<'f>
    where
        'a: 'f,
    {
        Frame::new(cells, self.layout, self.outer)
    }
}

impl<'p> Exec<'p> {
    /// Pushes every row of a FROM.
    pub(crate) fn read(
        &mut self,
        from: &'p From,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        match from {
            From::Nothing => sink(self, cells),
            From::Leaf(leaf) => self.read_leaf(leaf, reading, cells, sink),
            From::Join {
                kind,
                left,
                right,
                on,
                filter,
                independent,
            } => {
                self.refuse_twins(from, reading)?;
                let join = Join {
                    kind: *kind,
                    left,
                    right,
                    on,
                    filter,
                };
                if *kind == JoinKind::Full {
                    return self.read_full(&join, reading, cells, sink);
                }
                if *independent && reading.recheck.is_none() && !matches!(**right, From::Nothing) {
                    return self.read_stored(&join, reading, cells, sink);
                }
                self.read_nested(&join, reading, cells, sink)
            }
        }
    }

    /// A join whose one side is unique stops at the first partner on the server. Who sees two of one key gets one of them there, by a plan
    /// that the model does not make.
    fn refuse_twins(&mut self, from: &'p From, reading: Reading<'_>) -> Result<(), Stop> {
        if self.level == Level::ReadCommitted || reading.recheck.is_some() {
            return Ok(());
        }
        match from {
            From::Nothing => Ok(()),
            From::Join { left, right, .. } => {
                self.refuse_twins(left, reading)?;
                self.refuse_twins(right, reading)
            }
            From::Leaf(leaf) => {
                let Source::Table { table, .. } = &leaf.source else {
                    return Ok(());
                };
                let keys = table.indexes.iter().filter(|index| index.guards_key());
                for columns in keys.filter_map(|index| index.plain_columns()) {
                    if self.store.shows_twins(self.session, &self.snapshot, table.id, &columns) {
                        let construct = format!(
                            "a join of {} in a transaction whose snapshot shows two rows of one unique key",
                            table.name
                        );
                        return Err(Stop::Error(not_modelled(construct)));
                    }
                }
                Ok(())
            }
        }
    }

    /// A nested loop that reads the right side again for each row of the left.
    fn read_nested(
        &mut self,
        join: &Join<'p>,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        self.read(join.left, reading, cells, &mut |exec, cells| {
            let mut matched = false;
            let flow = exec.read(join.right, reading, cells, &mut |exec, cells| {
                if !exec.all_hold(join.on, &reading.frame(cells))? {
                    return Ok(Flow::More);
                }
                matched = true;
                exec.pass(join.filter, reading, cells, sink)
            })?;
            if flow == Flow::Enough {
                return Ok(flow);
            }
            if !matched && join.kind == JoinKind::Left {
                clear(join.right, cells);
                return exec.pass(join.filter, reading, cells, sink);
            }
            Ok(Flow::More)
        })
    }

    /// A nested loop over a right side that is read once.
    fn read_stored(
        &mut self,
        join: &Join<'p>,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let slots = slots(join.right);
        let mut stored: Option<Vec<Vec<Cell>>> = None;
        self.read(join.left, reading, cells, &mut |exec, cells| {
            let rows = match stored.take() {
                Some(rows) => rows,
                None => {
                    let mut rows = Vec::new();
                    let mut scratch = cells.clone();
                    exec.read(join.right, reading, &mut scratch, &mut |_, cells| {
                        rows.push(slots.iter().map(|slot| cells[*slot].clone()).collect());
                        Ok(Flow::More)
                    })?;
                    rows
                }
            };
            let mut matched = false;
            let mut flow = Flow::More;
            for row in &rows {
                for (slot, cell) in slots.iter().zip(row) {
                    cells[*slot] = cell.clone();
                }
                if !exec.all_hold(join.on, &reading.frame(cells))? {
                    continue;
                }
                matched = true;
                flow = exec.pass(join.filter, reading, cells, sink)?;
                if flow == Flow::Enough {
                    break;
                }
            }
            stored = Some(rows);
            if flow == Flow::More && !matched && join.kind == JoinKind::Left {
                clear(join.right, cells);
                return exec.pass(join.filter, reading, cells, sink);
            }
            Ok(flow)
        })
    }

    fn read_full(
        &mut self,
        join: &Join<'p>,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let slots = slots(join.right);
        let mut rows: Vec<(Vec<Cell>, bool)> = Vec::new();
        let mut scratch = cells.clone();
        self.read(join.right, reading, &mut scratch, &mut |_, cells| {
            rows.push((slots.iter().map(|slot| cells[*slot].clone()).collect(), false));
            Ok(Flow::More)
        })?;
        let flow = self.read(join.left, reading, cells, &mut |exec, cells| {
            let mut matched = false;
            for (row, used) in &mut rows {
                for (slot, cell) in slots.iter().zip(row.iter()) {
                    cells[*slot] = cell.clone();
                }
                if exec.all_hold(join.on, &reading.frame(cells))? {
                    matched = true;
                    *used = true;
                    if exec.pass(join.filter, reading, cells, sink)? == Flow::Enough {
                        return Ok(Flow::Enough);
                    }
                }
            }
            if !matched {
                clear(join.right, cells);
                return exec.pass(join.filter, reading, cells, sink);
            }
            Ok(Flow::More)
        })?;
        if flow == Flow::Enough {
            return Ok(flow);
        }
        clear(join.left, cells);
        for (row, used) in rows {
            if used {
                continue;
            }
            for (slot, cell) in slots.iter().zip(row) {
                cells[*slot] = cell;
            }
            if self.pass(join.filter, reading, cells, sink)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }

    fn pass(
        &mut self,
        filter: &[Expr],
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        if !self.all_hold(filter, &reading.frame(cells))? {
            return Ok(Flow::More);
        }
        sink(self, cells)
    }

    fn read_leaf(
        &mut self,
        leaf: &'p Leaf,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        if let Some(fixed) = reading.recheck {
            let Some(cell) = fixed.get(leaf.slot).filter(|cell| cell.row.is_some()) else {
                return Ok(Flow::More);
            };
            cells[leaf.slot] = cell.clone();
            return self.pass(&leaf.filter, reading, cells, sink);
        }
        match &leaf.source {
            Source::Table { table, access } => {
                if let Access::Index(access) = access
                    && self.level == Level::Serializable
                    && !self.is_whole
                {
                    return self.read_index(leaf, table, access, reading, cells, sink);
                }
                let versions = self.versions(leaf, table.id, access, reading, cells)?;
                for version in versions {
                    cells[leaf.slot] = self.whole_cell(table, version)?;
                    if self.pass(&leaf.filter, reading, cells, sink)? == Flow::Enough {
                        return Ok(Flow::Enough);
                    }
                }
                Ok(Flow::More)
            }
            Source::Query(query) => {
                let around = cells.clone();
                let frame = Frame::new(&around, reading.layout, reading.outer);
                // A sub-select that sees nothing of this level is planned against the level around it.
                let outer = Some(&frame);
                let mut flow = Flow::More;
                self.query(query, outer, &mut |exec, row| {
                    flow = exec.give(leaf, row, reading, cells, sink)?;
                    Ok(flow)
                })?;
                Ok(flow)
            }
            Source::Function { call, ordinality } => {
                let frame = cells.clone();
                let rows = self.set_rows(call, &reading.frame(&frame))?;
                for (place, mut row) in rows.into_iter().enumerate() {
                    if *ordinality {
                        row.push(Value::Int(place as i64 + 1));
                    }
                    if self.give(leaf, row.into(), reading, cells, sink)? == Flow::Enough {
                        return Ok(Flow::Enough);
                    }
                }
                Ok(Flow::More)
            }
            Source::Cte(number) => {
                let rows = self.cte(*number, reading.outer)?;
                self.give_all(leaf, &rows, reading, cells, sink)
            }
            Source::Recursion(number) => {
                let rows = self.rounds.get(number).cloned().unwrap_or_default();
                self.give_all(leaf, &rows, reading, cells, sink)
            }
            Source::Rows(place) => {
                let extra = self.extra;
                let rows = extra.get(*place).map_or(&[][..], |rows| &rows[..]);
                self.give_all(leaf, rows, reading, cells, sink)
            }
        }
    }

    fn give_all(
        &mut self,
        leaf: &'p Leaf,
        rows: &[Row],
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        for row in rows {
            if self.give(leaf, Row::clone(row), reading, cells, sink)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
        Ok(Flow::More)
    }

    fn give(
        &mut self,
        leaf: &'p Leaf,
        row: Row,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        cells[leaf.slot] = Cell {
            row: Some(row),
            version: None,
        };
        self.pass(&leaf.filter, reading, cells, sink)
    }

    /// The versions of a table that a statement sees, in heap order.
    fn versions(
        &mut self,
        leaf: &'p Leaf,
        table: TableId,
        access: &'p Access,
        reading: Reading<'_>,
        cells: &Cells,
    ) -> Result<Vec<VersionId>, Stop> {
        let (ranges, mut roots) = match access {
            Access::Scan { .. } => {
                return self.found(table, |store, session, snapshot| store.scan(session, snapshot, table));
            }
            Access::Index(access) => self.index_roots(leaf, table, access, reading, cells)?,
            Access::Bitmap(bitmap) => self.bitmap_roots(leaf, table, bitmap, reading, cells)?,
        };
        if roots.len() > 1 {
            roots.sort_unstable_by_key(|version| (self.store.heap_place(table, *version), *version));
            roots.dedup();
        }
        self.found(table, |store, session, snapshot| {
            for (index, range) in &ranges {
                store.mark_range(session, *index, range);
            }
            store.fetch(session, snapshot, table, &roots, usize::MAX)
        })
    }

    /// Where the entries of an index lead that a look-up finds, in its order, and where it looks.
    fn index_roots(
        &mut self,
        leaf: &'p Leaf,
        table: TableId,
        access: &'p IndexAccess,
        reading: Reading<'_>,
        cells: &Cells,
    ) -> Result<Roots, Stop> {
        let ranges = self.key_ranges(access, &reading.frame(cells))?;
        let mut roots = Vec::new();
        for range in &ranges {
            roots.append(&mut self.store.roots(access.index, range));
        }
        if !access.tests.is_empty() {
            let mut row = cells.clone();
            let mut kept = Vec::new();
            for root in roots {
                row[leaf.slot] = self.cell(table, root);
                if self.all_hold(&access.tests, &reading.frame(&row))? {
                    kept.push(root);
                }
            }
            roots = kept;
        }
        if access.backward {
            roots.reverse();
        }
        let ranges = ranges.into_iter().map(|range| (access.index, range)).collect();
        Ok((ranges, roots))
    }

    fn bitmap_roots(
        &mut self,
        leaf: &'p Leaf,
        table: TableId,
        bitmap: &'p Bitmap,
        reading: Reading<'_>,
        cells: &Cells,
    ) -> Result<Roots, Stop> {
        Ok(match bitmap {
            Bitmap::Index(access) => self.index_roots(leaf, table, access, reading, cells)?,
            Bitmap::And(both) => {
                let (mut ranges, mut roots) = self.bitmap_roots(leaf, table, &both[0], reading, cells)?;
                let (mut more, others) = self.bitmap_roots(leaf, table, &both[1], reading, cells)?;
                ranges.append(&mut more);
                let place = |exec: &Self, version: VersionId| exec.store.heap_place(table, version);
                let others: Vec<u32> = others.into_iter().map(|version| place(self, version)).collect();
                roots.retain(|version| others.contains(&place(self, *version)));
                (ranges, roots)
            }
            Bitmap::Or(some) => {
                let (mut ranges, mut roots) = (Vec::new(), Vec::new());
                for part in some {
                    let (mut more, mut others) = self.bitmap_roots(leaf, table, part, reading, cells)?;
                    ranges.append(&mut more);
                    roots.append(&mut others);
                }
                (ranges, roots)
            }
        })
    }

    /// A row that was found, as its table is now.
    fn whole_cell(&self, table: &Table, version: VersionId) -> Result<Cell, Stop> {
        let row = self.store.row(table.id, version);
        if row.len() < table.columns.len() {
            let construct = format!("{} as it was before ALTER TABLE added a column", table.name);
            return Err(Stop::Error(not_modelled(construct)));
        }
        Ok(Cell {
            row: Some(Row::clone(row)),
            version: Some(version),
        })
    }

    /// Reads an index entry by entry, in its order, as far as rows are asked for: what comes after is not read.
    fn read_index(
        &mut self,
        leaf: &'p Leaf,
        relation: &Table,
        access: &'p IndexAccess,
        reading: Reading<'_>,
        cells: &mut Cells,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let table = relation.id;
        let mut last: Option<VersionId> = None;
        loop {
            // The entries are looked up anew for each row: a statement that goes on after a wait has only the journal.
            let (ranges, mut roots) = self.index_roots(leaf, table, access, reading, cells)?;
            if let Some(last) = last {
                let reached = self.store.heap_place(table, last);
                let place = roots
                    .iter()
                    .position(|root| self.store.heap_place(table, *root) == reached);
                roots.drain(..place.map_or(roots.len(), |place| place + 1));
            }
            let found = self.found(table, |store, session, snapshot| {
                for (index, range) in &ranges {
                    store.mark_range(session, *index, range);
                }
                store.fetch(session, snapshot, table, &roots, 1)
            })?;
            let Some(version) = found.first().copied() else {
                return Ok(Flow::More);
            };
            last = Some(version);
            cells[leaf.slot] = self.whole_cell(relation, version)?;
            if self.pass(&leaf.filter, reading, cells, sink)? == Flow::Enough {
                return Ok(Flow::Enough);
            }
        }
    }

    /// The rows that `min` and `max` are answered with: the first that each look-up gives.
    pub(super) fn read_extremes(
        &mut self,
        from: &'p From,
        accesses: &'p [IndexAccess],
        values: &[&'p Expr],
        reading: Reading<'_>,
        sink: Sink<'_, 'p>,
    ) -> Result<Flow, Stop> {
        let From::Leaf(leaf) = from else {
            return Ok(Flow::More);
        };
        let Source::Table { table, .. } = &leaf.source else {
            return Ok(Flow::More);
        };
        for (access, value) in accesses.iter().zip(values) {
            let mut cells: Cells = smallvec::smallvec![Cell::default(); reading.layout.slots];
            self.read_index(leaf, table, access, reading, &mut cells, &mut |exec, cells| {
                if exec.eval(value, &reading.frame(cells))?.is_null() {
                    return Ok(Flow::More);
                }
                sink(exec, cells)?;
                Ok(Flow::Enough)
            })?;
        }
        Ok(Flow::More)
    }

    /// What a scan found. SERIALIZABLE remembers it: reading has effects there, which a statement that goes on after a wait must not
    /// have twice.
    fn found(
        &mut self,
        table: TableId,
        scan: impl FnOnce(&mut Store, SessionId, &Snapshot) -> Result<Vec<VersionId>, SqlError>,
    ) -> Result<Vec<VersionId>, Stop> {
        let (session, snapshot) = (self.session, self.snapshot);
        if self.level != Level::Serializable {
            return Ok(scan(self.store, session, &snapshot)?);
        }
        let mark = machine::Access::Mark { table: table.0 };
        let (_, versions) = self.take(mark, |store, _| Ok((table, scan(store, session, &snapshot)?)))?;
        Ok(versions)
    }

    fn key_ranges(&mut self, access: &'p IndexAccess, frame: &Frame<'_>) -> Result<Vec<KeyRange>, Stop> {
        let mut prefixes: Vec<Vec<Value>> = vec![Vec::with_capacity(access.equal.len())];
        for key in &access.equal {
            let values = match key {
                KeySource::Null => vec![Value::Null],
                KeySource::Rows(id) => self.listed(*id, frame)?,
                KeySource::One(expr) => not_null(self.eval(expr, frame)?),
                KeySource::Any(list) => {
                    let mut values = Vec::new();
                    for expr in list {
                        values.append(&mut not_null(self.eval(expr, frame)?));
                    }
                    values
                }
                KeySource::AnyOf(expr) => match self.eval(expr, frame)? {
                    Value::Array(values) => values.iter().filter(|value| !value.is_null()).cloned().collect(),
                    _ => Vec::new(),
                },
            };
            prefixes = match values.as_slice() {
                [only] => prefixes
                    .into_iter()
                    .map(|mut prefix| {
                        prefix.push(only.clone());
                        prefix
                    })
                    .collect(),
                several => prefixes
                    .iter()
                    .flat_map(|prefix| {
                        several.iter().map(|value| {
                            let mut prefix = prefix.clone();
                            prefix.push(value.clone());
                            prefix
                        })
                    })
                    .collect(),
            };
        }
        let (mut low, mut high) = (Bound::Unbounded, Bound::Unbounded);
        for (op, expr) in &access.bounds {
            let value = self.eval(expr, frame)?;
            if value.is_null() {
                return Ok(Vec::new());
            }
            match op {
                Comparison::Gt | Comparison::Ge => raise(&mut low, value, *op == Comparison::Ge),
                Comparison::Lt | Comparison::Le => lower(&mut high, value, *op == Comparison::Le),
                Comparison::Eq | Comparison::Ne => {}
            }
        }
        if crossed(&low, &high) {
            // Nothing can match, but the look-up still happens (and marks the index).
            high = low.clone();
        }
        let mut parts = Vec::new();
        for expr in &access.parts {
            match self.eval(expr, frame)? {
                Value::Array(values) => parts.extend(values.iter().cloned()),
                _ => return Ok(vec![KeyRange::equal(Vec::new())]),
            }
        }
        Ok(prefixes
            .into_iter()
            .map(|prefix| KeyRange {
                prefix,
                low: low.clone(),
                high: high.clone(),
                parts: parts.clone(),
            })
            .collect())
    }

    /// The rows of a CTE, run when they are first asked for.
    pub(crate) fn cte(&mut self, number: usize, outer: Option<&Frame<'_>>) -> Result<Rc<Vec<Row>>, Stop> {
        if let Some(Some(rows)) = self.ctes.get(number) {
            return Ok(Rc::clone(rows));
        }
        let plan = self.plan;
        let cte = &plan.ctes[number];
        let mut rows: Vec<Row> = Vec::new();
        // The command's tag counts what the statement itself did, not its WITH.
        let affected = self.affected;
        self.query(&cte.query, outer, &mut |_, row| {
            rows.push(row);
            Ok(Flow::More)
        })?;
        if let Some((term, distinct)) = &cte.recursive {
            if *distinct {
                dedup(&mut rows, &mut Default::default());
            }
            let mut seen = rows.iter().cloned().collect();
            let mut round = rows.clone();
            while !round.is_empty() {
                self.rounds.insert(number, Rc::new(std::mem::take(&mut round)));
                self.query(term, outer, &mut |_, row| {
                    round.push(row);
                    Ok(Flow::More)
                })?;
                if *distinct {
                    dedup(&mut round, &mut seen);
                }
                rows.extend(round.iter().cloned());
                if rows.len() > 1_000_000 {
                    return Err(Stop::Error(super::internal("recursive query without an end")));
                }
            }
        }
        self.affected = affected;
        let rows = Rc::new(rows);
        self.ctes[number] = Some(Rc::clone(&rows));
        Ok(rows)
    }
}

/// The parts of a join.
struct Join<'p> {
    kind: JoinKind,
    left: &'p From,
    right: &'p From,
    on: &'p [Expr],
    filter: &'p [Expr],
}

/// Keeps the first of equal rows, and only those that are not in `seen`.
fn dedup(rows: &mut Vec<Row>, seen: &mut rustc_hash::FxHashSet<Row>) {
    rows.retain(|row| seen.insert(Row::clone(row)));
}

fn not_null(value: Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        value => vec![value],
    }
}

fn raise(low: &mut Bound<Value>, value: Value, included: bool) {
    let tighter = match low {
        Bound::Unbounded => true,
        Bound::Included(known) => value > *known || (value == *known && !included),
        Bound::Excluded(known) => value > *known,
    };
    if tighter {
        *low = if included {
            Bound::Included(value)
        } else {
            Bound::Excluded(value)
        };
    }
}

fn lower(high: &mut Bound<Value>, value: Value, included: bool) {
    let tighter = match high {
        Bound::Unbounded => true,
        Bound::Included(known) => value < *known || (value == *known && !included),
        Bound::Excluded(known) => value < *known,
    };
    if tighter {
        *high = if included {
            Bound::Included(value)
        } else {
            Bound::Excluded(value)
        };
    }
}

fn crossed(low: &Bound<Value>, high: &Bound<Value>) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
        _ => false,
    }
}

/// The slots of a FROM.
fn slots(from: &From) -> Vec<usize> {
    match from {
        From::Nothing => Vec::new(),
        From::Leaf(leaf) => vec![leaf.slot],
        From::Join { left, right, .. } => {
            let mut all = slots(left);
            all.append(&mut slots(right));
            all
        }
    }
}

/// Empties the cells of one side of an outer join.
fn clear(from: &From, cells: &mut Cells) {
    for slot in slots(from) {
        cells[slot] = Cell::default();
    }
}
