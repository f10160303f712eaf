//! Where conditions are tested, and by which index a table is read.

use std::sync::Arc;

use crate::world::database::exec::catalog::{Index, IndexKey, Table};
use crate::world::database::exec::plan::{
    Access, Body, From, IndexAccess, JoinKind, KeySource, Layout, Leaf, Query, Source,
};
use crate::world::database::sql::bind::bind_expr;
use crate::world::database::sql::expr::{Comparison, Expr, SubqueryKind};
use crate::world::database::sql::scope::{Relation, Scope};

use super::estimate::is_narrow;
use super::{Planner, conjuncts};

/// Slots as a bit set; statements with more than 64 relations in one FROM are not planned well, but right.
type Slots = u64;

impl Planner<'_> {
    /// Pushes the conditions of WHERE down FROM as far as they go, chooses access paths, and returns the conditions on no column and
    /// those that are left for the whole row.
    pub(super) fn place(
        &mut self,
        from: &mut From,
        layout: &Layout,
        condition: Option<Expr>,
    ) -> (Vec<Expr>, Vec<Expr>) {
        let mut parts = Vec::new();
        condition.into_iter().for_each(|expr| conjuncts(expr, &mut parts));
        // Postgres tests cheap conditions first; sub-selects are never cheap.
        parts.sort_by_key(has_subquery);
        let (mut gate, mut filter) = (Vec::new(), Vec::new());
        for part in parts {
            self.note_join(&part);
            match self.slots(&part, layout) {
                Some(0) if !is_volatile_call(&part) => gate.push(part),
                Some(slots) => push_down(from, part, slots, &mut filter),
                None => match from {
                    From::Leaf(leaf) => leaf.filter.push(part),
                    _ => filter.push(part),
                },
            }
        }
        self.choose(from, layout);
        (gate, filter)
    }

    /// Notes a condition of WHERE that the server makes a join of: `[NOT] EXISTS` of a plain sub-select that looks at this level, and `IN` of one
    /// that looks at none (`convert_EXISTS_sublink_to_join`, `convert_ANY_sublink_to_join`).
    fn note_join(&mut self, part: &Expr) {
        let (inner, under_not) = match part {
            Expr::Not(inner) => (&**inner, true),
            other => (other, false),
        };
        let Expr::Subquery { id, kind } = inner else { return };
        let looks_here = |left: &[Expr]| {
            let mut found = false;
            let mut look = |part: &Expr| found |= matches!(part, Expr::Column { depth: 0, .. });
            left.iter().for_each(|expr| expr.walk(&mut look));
            found
        };
        if let Some(Some(subquery)) = self.subqueries.get_mut(*id as usize) {
            subquery.joined = match kind {
                SubqueryKind::Exists => subquery.correlated && is_plain(&subquery.query),
                SubqueryKind::In { left, negated, .. } => {
                    !negated && !under_not && !subquery.correlated && looks_here(left)
                }
                _ => false,
            };
        }
    }

    /// Splits an ON condition over the sides of a join.
    pub(super) fn place_on(
        &mut self,
        kind: JoinKind,
        left: &mut From,
        right: &mut From,
        layout: &Layout,
        condition: Option<Expr>,
    ) -> Vec<Expr> {
        let mut parts = Vec::new();
        condition.into_iter().for_each(|expr| conjuncts(expr, &mut parts));
        let (left_slots, right_slots) = (slots_of(left), slots_of(right));
        let mut on = Vec::new();
        for part in parts {
            match self.slots(&part, layout) {
                Some(slots) if slots != 0 && slots & !right_slots == 0 && kind != JoinKind::Full => {
                    push_down(right, part, slots, &mut on);
                }
                Some(slots) if slots != 0 && slots & !left_slots == 0 && kind == JoinKind::Inner => {
                    push_down(left, part, slots, &mut on);
                }
                _ => on.push(part),
            }
        }
        on
    }

    /// The slots whose columns a condition reads; `None` if a sub-select in it may read any.
    fn slots(&self, expr: &Expr, layout: &Layout) -> Option<Slots> {
        let mut slots = Some(0);
        expr.walk(&mut |part| match part {
            Expr::Column { depth: 0, index } => {
                let slot = layout
                    .places
                    .get(usize::from(*index))
                    .map_or(63, |(slot, _)| (*slot).min(63));
                slots = slots.map(|slots: Slots| slots | 1 << slot);
            }
            Expr::Subquery { id, .. } if self.is_correlated(*id) => slots = None,
            _ => {}
        });
        slots
    }

    /// Chooses how each table of FROM is read.
    fn choose(&mut self, from: &mut From, layout: &Layout) {
        match from {
            From::Nothing => {}
            From::Leaf(leaf) => self.choose_leaf(leaf, layout, 0),
            From::Join {
                left,
                right,
                on,
                kind,
                independent,
                ..
            } => {
                self.choose(left, layout);
                if *kind == JoinKind::Inner && self.turn(left, right, on, layout) {
                    std::mem::swap(left, right);
                    *independent = false;
                    return;
                }
                let small = is_small(left);
                match &mut **right {
                    From::Leaf(leaf)
                        if small && matches!(leaf.source, Source::Table { .. }) && *kind != JoinKind::Full =>
                    {
                        let before = leaf.filter.len();
                        let outer = slots_of(left);
                        leaf.filter.append(on);
                        self.choose_leaf(leaf, layout, outer);
                        if uses(&leaf.source, |expr| self.slots(expr, layout) != Some(0)) {
                            *independent = false;
                        } else {
                            *on = leaf.filter.split_off(before);
                        }
                    }
                    _ => self.choose(right, layout),
                }
            }
        }
    }

    /// Whether the right one of two joined tables is to be read first: an index gives few rows of it, and for each of them an index of the
    /// left one gives its partners. The left one's access path and conditions are then set.
    fn turn(&mut self, left: &mut From, right: &mut From, on: &mut Vec<Expr>, layout: &Layout) -> bool {
        let (From::Leaf(first), From::Leaf(second)) = (left, right) else {
            return false;
        };
        let is_table = |leaf: &Leaf| matches!(leaf.source, Source::Table { .. });
        let is_given = |leaf: &Leaf| match &leaf.source {
            Source::Table {
                access: Access::Index(access),
                ..
            } => !access.equal.is_empty(),
            _ => false,
        };
        if !is_table(first) || !is_table(second) || is_given(first) {
            return false;
        }
        self.choose_leaf(second, layout, 0);
        if !is_given(second) {
            return false;
        }
        let own = first.filter.len();
        first.filter.append(on);
        self.choose_leaf(first, layout, 1 << second.slot.min(63));
        let serves = is_given(first) && uses(&first.source, |expr| self.slots(expr, layout) != Some(0));
        if !serves {
            // As it was: the join's conditions are no business of this table.
            *on = first.filter.split_off(own);
            if let Source::Table { access, .. } = &mut first.source {
                *access = Access::Scan;
            }
            self.choose_leaf(first, layout, 0);
        }
        serves
    }

    fn choose_leaf(&mut self, leaf: &mut Leaf, layout: &Layout, outer: Slots) {
        let Source::Table { table, access } = &mut leaf.source else {
            return;
        };
        let offset = layout
            .places
            .iter()
            .position(|(slot, _)| usize::from(*slot) == leaf.slot)
            .unwrap_or(0) as u16;
        let table = Arc::clone(table);
        let mut best: Option<(usize, IndexAccess)> = None;
        for index in &table.indexes {
            let Some((score, found)) = self.index_access(&table, index, offset, &leaf.filter, layout, outer) else {
                continue;
            };
            if best.as_ref().is_none_or(|(known, _)| score > *known) {
                best = Some((score, found));
            }
        }
        if let Some((_, found)) = best {
            *access = Access::Index(found);
        }
    }

    /// How an index could serve some conditions; the score prefers unique indexes that are fully given, then more equalities, then ranges.
    fn index_access(
        &mut self,
        table: &Table,
        index: &Index,
        offset: u16,
        filter: &[Expr],
        layout: &Layout,
        outer: Slots,
    ) -> Option<(usize, IndexAccess)> {
        let mut relation = Relation::new(
            Arc::clone(&table.name),
            table
                .columns
                .iter()
                .map(|column| (Arc::clone(&column.name), column.ty.clone())),
            0,
        );
        relation.offset = offset;
        let scope = Scope {
            relations: vec![relation],
            ..Scope::default()
        };
        let mut narrow = false;
        if let Some(predicate) = &index.predicate {
            let bound = self
                .plain(
                    "index predicate",
                    |planner| Ok(bind_expr(predicate, &scope, planner)?.0),
                )
                .ok()?;
            let mut parts = Vec::new();
            conjuncts(bound, &mut parts);
            if !parts.iter().all(|part| filter.iter().any(|known| implies(known, part))) {
                return None;
            }
            narrow = parts.iter().any(|part| is_narrow(part, table));
        }
        let usable =
            |expr: &Expr| !is_volatile_call(expr) && self.slots(expr, layout).is_some_and(|slots| slots & !outer == 0);
        let mut equal = Vec::new();
        let mut bounds = Vec::new();
        for key in &index.keys {
            let key = match key {
                IndexKey::Column(column) => Expr::Column {
                    depth: 0,
                    index: offset + *column as u16,
                },
                // Binding needs the planner mutably; expression keys are few, so it is done on the spot.
                IndexKey::Expression(_) => match self.expression_key(key, &scope) {
                    Some(key) => key,
                    None => break,
                },
            };
            if let Some(source) = filter.iter().find_map(|part| equality(part, &key, &usable)) {
                equal.push(source);
                continue;
            }
            bounds = filter.iter().flat_map(|part| range(part, &key, &usable)).collect();
            break;
        }
        if equal.is_empty() && bounds.is_empty() && !narrow {
            return None;
        }
        let complete = index.unique && equal.len() == index.keys.len();
        let score =
            usize::from(complete) * 100 + equal.len() * 10 + usize::from(!bounds.is_empty()) * 5 + usize::from(narrow);
        Some((
            score,
            IndexAccess {
                index: index.id,
                equal,
                bounds,
            },
        ))
    }

    fn expression_key(&self, key: &IndexKey, scope: &Scope<'_>) -> Option<Expr> {
        let IndexKey::Expression(expr) = key else {
            return None;
        };
        let mut planner = Planner::bare(self.catalog);
        bind_expr(expr, scope, &mut planner).ok().map(|(expr, _)| expr)
    }
}

/// Whether `known` being true makes `wanted` true: they are the same, or `wanted` only asks that a compared value is not NULL.
fn implies(known: &Expr, wanted: &Expr) -> bool {
    if known == wanted {
        return true;
    }
    match (known, wanted) {
        (Expr::Compare { left, right, .. }, Expr::IsNull { expr, negated: true }) => left == expr || right == expr,
        (
            Expr::In {
                expr: left,
                negated: false,
                ..
            },
            Expr::IsNull { expr, negated: true },
        ) => left == expr,
        // x = 'a' implies x IN ('a', 'b')
        (
            Expr::Compare {
                op: Comparison::Eq,
                left,
                right,
            },
            Expr::In {
                expr,
                list,
                negated: false,
            },
        ) => left == expr && list.contains(right),
        (
            Expr::In {
                expr: left,
                list: few,
                negated: false,
            },
            Expr::In {
                expr,
                list: many,
                negated: false,
            },
        ) => left == expr && few.iter().all(|one| many.contains(one)),
        _ => false,
    }
}

fn equality(part: &Expr, key: &Expr, usable: &dyn Fn(&Expr) -> bool) -> Option<KeySource> {
    match part {
        Expr::Compare {
            op: Comparison::Eq,
            left,
            right,
        } => {
            if **left == *key && usable(right) {
                Some(KeySource::One((**right).clone()))
            } else if **right == *key && usable(left) {
                Some(KeySource::One((**left).clone()))
            } else {
                None
            }
        }
        Expr::In {
            expr,
            list,
            negated: false,
        } if **expr == *key && list.iter().all(usable) => Some(KeySource::Any(list.to_vec())),
        Expr::Quantified {
            op: Comparison::Eq,
            left,
            array,
            all: false,
        } if **left == *key && usable(array) => Some(KeySource::AnyOf((**array).clone())),
        Expr::IsNull { expr, negated: false } if **expr == *key => Some(KeySource::Null),
        _ => None,
    }
}

fn range(part: &Expr, key: &Expr, usable: &dyn Fn(&Expr) -> bool) -> Option<(Comparison, Expr)> {
    let Expr::Compare { op, left, right } = part else {
        return None;
    };
    if matches!(op, Comparison::Eq | Comparison::Ne) {
        return None;
    }
    if **left == *key && usable(right) {
        Some((*op, (**right).clone()))
    } else if **right == *key && usable(left) {
        Some((op.swapped(), (**left).clone()))
    } else {
        None
    }
}

fn push_down(from: &mut From, part: Expr, slots: Slots, rest: &mut Vec<Expr>) {
    match from {
        From::Nothing => rest.push(part),
        From::Leaf(leaf) => leaf.filter.push(part),
        From::Join {
            kind,
            left,
            right,
            on,
            filter,
            ..
        } => {
            if slots != 0 && slots & !slots_of(left) == 0 && *kind != JoinKind::Full {
                push_down(left, part, slots, rest);
            } else if slots != 0 && slots & !slots_of(right) == 0 && *kind == JoinKind::Inner {
                push_down(right, part, slots, rest);
            } else if *kind == JoinKind::Inner {
                on.push(part);
            } else {
                filter.push(part);
            }
        }
    }
}

pub(super) fn slots_of(from: &From) -> Slots {
    match from {
        From::Nothing => 0,
        From::Leaf(leaf) => 1 << leaf.slot.min(63),
        From::Join { left, right, .. } => slots_of(left) | slots_of(right),
    }
}

/// Whether Postgres would expect few rows: it then reads the other side of a join by index for each.
fn is_small(from: &From) -> bool {
    match from {
        From::Nothing => true,
        From::Leaf(leaf) => match &leaf.source {
            Source::Table {
                access: Access::Index(access),
                ..
            } => !access.equal.is_empty(),
            Source::Table { .. } => false,
            Source::Query(query) => {
                let constant = match &query.body {
                    super::Body::Values(rows) => rows.len() <= 10,
                    super::Body::Select(select) => matches!(select.from, From::Nothing),
                    _ => false,
                };
                constant || query.limit.is_some()
            }
            Source::Function { .. } | Source::Cte(_) | Source::Recursion(_) | Source::Rows(_) => false,
        },
        From::Join { left, right, .. } => is_small(left) && is_small(right),
    }
}

fn uses(source: &Source, test: impl Fn(&Expr) -> bool) -> bool {
    let Source::Table {
        access: Access::Index(access),
        ..
    } = source
    else {
        return false;
    };
    let keys = access.equal.iter().any(|key| match key {
        KeySource::One(expr) | KeySource::AnyOf(expr) => test(expr),
        KeySource::Any(list) => list.iter().any(&test),
        KeySource::Null => false,
    });
    keys || access.bounds.iter().any(|(_, expr)| test(expr))
}

/// Whether a sub-select is nothing but FROM and WHERE, as far as EXISTS looks.
fn is_plain(query: &Query) -> bool {
    let Body::Select(select) = &query.body else {
        return false;
    };
    let reads = !matches!(select.from, From::Nothing);
    let ends = query.limit.is_none() && query.offset.is_none() && query.modifying_ctes.is_empty();
    let shapes = select.group.is_some() || select.having.is_some() || !select.windows.is_empty();
    reads && ends && !shapes && select.set_calls.is_empty() && select.locks.is_empty()
}

fn has_subquery(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        found |= match part {
            Expr::Subquery { kind, .. } => !matches!(kind, SubqueryKind::Scalar),
            _ => false,
        };
    });
    found
}

/// Whether it has effects, waits or may differ from row to row by itself.
fn is_volatile_call(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| found |= matches!(part, Expr::Volatile { .. } | Expr::User { .. }));
    found
}
