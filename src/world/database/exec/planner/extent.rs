//! Paths that hang on what is around a table: the other side of a join, a sub-select that becomes one, ORDER BY with LIMIT, `min` and `max`.
//!
//! Where these reckonings are coarser than the server's own they lean to reading a whole table: what that marks includes what any other way marks.

use crate::value::Value;
use crate::world::database::exec::plan::{
    Access, Bitmap, Body, Distinct, From, IndexAccess, JoinKind, KeySource, Layout, Leaf, Query, Select, Source,
};
use crate::world::database::sql::aggregate::Aggregate;
use crate::world::database::sql::expr::{Comparison, Expr, SortKey, SubqueryKind};

use super::Planner;
use super::access::{Slots, slots_of};
use super::cost::{Cost, look_up_join, whole_join};
use super::estimate::size;
use super::paths::{Look, Path, has_one_value};

impl Planner<'_> {
    /// Chooses how each table of FROM is read.
    pub(super) fn choose(&mut self, from: &mut From, layout: &Layout) -> Cost {
        match from {
            From::Nothing => Cost {
                startup: 0.0,
                total: 0.01,
                rows: 1.0,
            },
            From::Leaf(leaf) => self.choose_leaf(leaf, layout),
            From::Join {
                left,
                right,
                on,
                kind,
                independent,
                ..
            } => {
                let outer = self.choose(left, layout);
                let From::Leaf(second) = &mut **right else {
                    let inner = self.choose(right, layout);
                    return joined(outer, inner, inner.rows.max(1.0));
                };
                let inner = self.choose_leaf(second, layout);
                if !matches!(second.source, Source::Table { .. }) || *kind == JoinKind::Full {
                    return joined(outer, inner, inner.rows);
                }
                let whole = whole_join(outer, inner, true).min(whole_join(inner, outer, true));
                let forth = self.partners(second, on, layout, slots_of(left), outer);
                // The other way round: few rows of the right one, and an index of the left one gives their partners.
                if let (JoinKind::Inner, From::Leaf(first)) = (*kind, &mut **left)
                    && matches!(first.source, Source::Table { .. })
                    && let Some((back, path)) = self.partners(first, on, layout, 1 << second.slot.min(63), inner)
                    && back < whole
                    && forth.as_ref().is_none_or(|(forth, _)| back < *forth)
                {
                    let each = path.cost;
                    take(first, on, path);
                    std::mem::swap(left, right);
                    *independent = false;
                    return joined(inner, each, each.rows);
                }
                match forth {
                    Some((cost, path)) if cost < whole => {
                        let each = path.cost;
                        take(second, on, path);
                        *independent = false;
                        joined(outer, each, each.rows)
                    }
                    Some((_, path)) => joined(outer, inner, path.cost.rows),
                    None => joined(outer, inner, inner.rows),
                }
            }
        }
    }

    /// A join that looks up the rows of a table for each row of the other side: its cost and the path, where an index serves that.
    fn partners(
        &mut self,
        leaf: &mut Leaf,
        on: &[Expr],
        layout: &Layout,
        outer: Slots,
        other: Cost,
    ) -> Option<(f64, Path)> {
        let own = leaf.filter.len();
        leaf.filter.extend(on.iter().cloned());
        let path = self.leaf_path(leaf, layout, outer, other.rows.max(1.0), true);
        leaf.filter.truncate(own);
        let path = path?;
        let depends = uses(&path.access, |expr| self.slots(expr, layout) != Some(0));
        depends.then(|| (look_up_join(other, path.cost), path))
    }

    pub(super) fn choose_leaf(&mut self, leaf: &mut Leaf, layout: &Layout) -> Cost {
        let Some(path) = self.leaf_path(leaf, layout, 0, 1.0, true) else {
            return match &leaf.source {
                Source::Query(query) => self.query_cost(query),
                _ => Cost {
                    startup: 0.0,
                    total: 10.0,
                    rows: 100.0,
                },
            };
        };
        if let Source::Table { access, .. } = &mut leaf.source {
            *access = path.access;
        }
        path.cost
    }

    fn leaf_path(&mut self, leaf: &Leaf, layout: &Layout, outer: Slots, loops: f64, around: bool) -> Option<Path> {
        let Source::Table { table, .. } = &leaf.source else {
            return None;
        };
        Some(self.best_path(&Look {
            table,
            offset: offset_of(leaf, layout),
            layout,
            filter: &leaf.filter,
            outer,
            around,
            loops,
            order: &[],
            limit: None,
        }))
    }

    fn cost_of_from(&mut self, from: &From, layout: &Layout) -> Cost {
        match from {
            From::Nothing => Cost {
                startup: 0.0,
                total: 0.01,
                rows: 1.0,
            },
            From::Leaf(leaf) => match self.leaf_path(leaf, layout, 0, 1.0, true) {
                Some(path) => path.cost,
                None => match &leaf.source {
                    Source::Query(query) => self.query_cost(query),
                    _ => Cost {
                        startup: 0.0,
                        total: 10.0,
                        rows: 100.0,
                    },
                },
            },
            From::Join { left, right, .. } => {
                let (left, right) = (self.cost_of_from(left, layout), self.cost_of_from(right, layout));
                joined(left, right, right.rows)
            }
        }
    }

    /// What a query costs and how many rows it gives, roughly.
    pub(super) fn query_cost(&mut self, query: &Query) -> Cost {
        let mut cost = match &query.body {
            Body::Values(rows) => Cost {
                startup: 0.0,
                total: rows.len() as f64 * 0.0125,
                rows: rows.len() as f64,
            },
            Body::Select(select) => {
                let mut cost = self.cost_of_from(&select.from, &select.layout);
                match &select.group {
                    Some(keys) if keys.is_empty() => cost.rows = 1.0,
                    Some(_) => cost.rows = cost.rows.min(200.0),
                    None => {}
                }
                cost
            }
            _ => Cost {
                startup: 0.0,
                total: 100.0,
                rows: 1000.0,
            },
        };
        if let Some(limit) = self.wanted_rows(query, cost.rows) {
            cost.total = cost.limited(Some(limit));
            cost.rows = cost.rows.min(limit.max(1.0));
        }
        cost
    }

    fn wanted_rows(&self, query: &Query, rows: f64) -> Option<f64> {
        let number = |expr: &Expr| match expr {
            Expr::Const(Value::Int(number)) => *number as f64,
            // What is not known yet counts as a tenth.
            _ => rows * 0.1,
        };
        let limit = query.limit.as_ref().map(number)?;
        Some(limit + query.offset.as_ref().map_or(0.0, number))
    }

    /// A condition of WHERE that the server makes a join of: how its sub-select, or the table around it, is read then.
    pub(super) fn choose_for_joined(&mut self, id: u32, kind: &SubqueryKind, from: &mut From, layout: &Layout) {
        let Some(mut subquery) = self.subqueries.get_mut(id as usize).and_then(Option::take) else {
            return;
        };
        match kind {
            SubqueryKind::Exists => {
                let outer = self.cost_of_from(from, layout);
                subquery.whole = self.read_whole(&mut subquery.query, outer);
            }
            SubqueryKind::In { left, casts, .. } if matches!((&**left, &**casts), ([_], [None])) => {
                if let From::Leaf(leaf) = from {
                    let rows = self.query_cost(&subquery.query);
                    self.subqueries[id as usize] = Some(subquery);
                    self.look_up_rows(id, &left[0], leaf, layout, rows);
                    return;
                }
            }
            _ => {}
        }
        self.subqueries[id as usize] = Some(subquery);
    }

    /// Whether all of a sub-select's rows are read for a join, not those of each outer row.
    pub(super) fn read_whole(&mut self, query: &mut Query, outer: Cost) -> bool {
        let Body::Select(select) = &mut query.body else {
            return false;
        };
        let Select { from, layout, .. } = &mut **select;
        let From::Leaf(leaf) = from else {
            return false;
        };
        let (Some(each), Some(all)) = (
            self.leaf_path(leaf, layout, 0, outer.rows.max(1.0), true),
            self.leaf_path(leaf, layout, 0, 1.0, false),
        ) else {
            return false;
        };
        let whole = look_up_join(outer, each.cost) >= whole_join(outer, all.cost, true);
        let path = if whole { all } else { each };
        if let Source::Table { access, .. } = &mut leaf.source {
            *access = path.access;
        }
        whole
    }

    /// `column IN (SELECT ...)` of few rows: each is looked up by an index of the column.
    fn look_up_rows(&mut self, id: u32, column: &Expr, leaf: &mut Leaf, layout: &Layout, rows: Cost) {
        let Some(all) = self.leaf_path(leaf, layout, 0, 1.0, true) else {
            return;
        };
        leaf.filter.push(Expr::Compare {
            op: Comparison::Eq,
            left: Box::new(column.clone()),
            right: Box::new(Expr::Subquery {
                id,
                kind: SubqueryKind::Scalar,
            }),
        });
        let each = self.leaf_path(leaf, layout, 0, rows.rows.max(1.0), true);
        leaf.filter.pop();
        let Some(mut each) = each else { return };
        let is_row = |source: &KeySource| matches!(source, KeySource::One(Expr::Subquery { id: known, kind: SubqueryKind::Scalar }) if *known == id);
        let mut found = false;
        let mut replace = |access: &mut IndexAccess| {
            for source in access.equal.iter_mut().filter(|source| is_row(source)) {
                *source = KeySource::Rows(id);
                found = true;
            }
            access.tests.retain(|test| !has_scalar(test, id));
        };
        match &mut each.access {
            Access::Index(access) | Access::Bitmap(Bitmap::Index(access)) => replace(access),
            _ => return,
        }
        let cheaper = look_up_join(rows, each.cost) < whole_join(all.cost, rows, true);
        if found
            && cheaper
            && let Source::Table { access, .. } = &mut leaf.source
        {
            *access = each.access;
        }
    }

    /// What ORDER BY, LIMIT, `min` and `max` make of a query over one table.
    pub(super) fn order_by_index(&mut self, query: &mut Query) {
        let limited = query.limit.is_some();
        let wanted = |planner: &Self, rows: f64, query: &Query| planner.wanted_rows(query, rows);
        let limit = match &query.body {
            Body::Select(select) => match &select.from {
                From::Leaf(Leaf {
                    source: Source::Table { table, .. },
                    ..
                }) => wanted(self, size(table).tuples, query),
                _ => return,
            },
            _ => return,
        };
        let mut order = query.order.clone();
        let Body::Select(select) = &mut query.body else {
            return;
        };
        if !select.windows.is_empty() || !select.set_calls.is_empty() {
            return;
        }
        if select.group.is_some() {
            return self.extremes(select);
        }
        if !matches!(select.distinct, Distinct::No) || (order.is_empty() && !limited) {
            return;
        }
        if let From::Leaf(leaf) = &select.from {
            order.retain(|key| !has_one_value(&key.expr, &leaf.filter));
        }
        self.read_until(select, &order, limit);
        // Any way to read it gives an order of nothing.
        select.in_order |= order.is_empty() && limited;
    }

    /// Reads a table in an order, up to so many rows.
    pub(super) fn read_until(&mut self, select: &mut Select, order: &[SortKey], limit: Option<f64>) {
        let rest = !select.filter.is_empty();
        let From::Leaf(leaf) = &mut select.from else { return };
        let Source::Table { table, access } = &mut leaf.source else {
            return;
        };
        if access
            .look_ups()
            .iter()
            .any(|access| access.equal.iter().any(|key| matches!(key, KeySource::Rows(_))))
        {
            return;
        }
        let path = self.best_path(&Look {
            table,
            offset: offset_at(leaf.slot, &select.layout),
            layout: &select.layout,
            filter: &leaf.filter,
            outer: 0,
            around: true,
            loops: 1.0,
            order,
            // How many rows a condition leaves that no estimate is made for is not known.
            limit: limit.map(|limit| if rest { limit * 2.0 } else { limit }),
        });
        select.in_order = path.ordered;
        *access = path.access;
    }

    /// `min` and `max` over a table.
    fn extremes(&mut self, select: &mut Select) {
        let plain = select.group.as_ref().is_some_and(Vec::is_empty) && select.filter.is_empty();
        let From::Leaf(leaf) = &select.from else { return };
        let Source::Table { table, .. } = &leaf.source else {
            return;
        };
        if !plain || select.aggregates.is_empty() {
            return;
        }
        let mut reckoned = 0.0;
        let mut accesses = Vec::new();
        for call in &select.aggregates {
            let descending = match call.aggregate {
                Aggregate::Min => false,
                Aggregate::Max => true,
                _ => return,
            };
            let (Some(what), None) = (call.args.first(), &call.filter) else {
                return;
            };
            let key = SortKey {
                expr: what.clone(),
                ty: call.result.clone(),
                descending,
                nulls_first: descending,
            };
            let mut filter = leaf.filter.clone();
            filter.push(Expr::IsNull {
                expr: Box::new(what.clone()),
                negated: true,
            });
            let look = Look {
                table,
                offset: offset_of(leaf, &select.layout),
                layout: &select.layout,
                filter: &filter,
                outer: 0,
                around: true,
                loops: 1.0,
                order: std::slice::from_ref(&key),
                limit: Some(1.0),
            };
            let Some(path) = self.extreme(&look, what) else {
                return;
            };
            let Access::Index(access) = path.access else { return };
            reckoned += path.cost.limited(Some(1.0));
            accesses.push(access);
        }
        let all = self.cost_of_from(&select.from, &select.layout);
        if reckoned < all.total {
            select.extremes = accesses;
        }
    }
}

/// With the join's conditions, which the index looks up.
fn take(leaf: &mut Leaf, on: &mut Vec<Expr>, path: Path) {
    leaf.filter.append(on);
    if let Source::Table { access, .. } = &mut leaf.source {
        *access = path.access;
    }
}

fn joined(outer: Cost, inner: Cost, each: f64) -> Cost {
    Cost {
        startup: 0.0,
        total: outer.total + inner.total,
        rows: (outer.rows * each).max(1.0),
    }
}

fn has_scalar(expr: &Expr, wanted: u32) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        found |= matches!(part, Expr::Subquery { id, kind: SubqueryKind::Scalar } if *id == wanted);
    });
    found
}

fn offset_of(leaf: &Leaf, layout: &Layout) -> u16 {
    offset_at(leaf.slot, layout)
}

fn offset_at(wanted: usize, layout: &Layout) -> u16 {
    let place = layout.places.iter().position(|(slot, _)| usize::from(*slot) == wanted);
    place.unwrap_or(0) as u16
}

fn uses(access: &Access, test: impl Fn(&Expr) -> bool) -> bool {
    access.look_ups().iter().any(|access| {
        let keys = access.equal.iter().any(|key| match key {
            KeySource::One(expr) | KeySource::AnyOf(expr) => test(expr),
            KeySource::Any(list) => list.iter().any(&test),
            KeySource::Null | KeySource::Rows(_) => false,
        });
        keys || access.bounds.iter().any(|(_, expr)| test(expr))
    })
}
