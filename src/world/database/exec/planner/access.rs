//! Where conditions are tested.

use crate::world::database::exec::plan::{Body, From, JoinKind, Layout, Query};
use crate::world::database::sql::expr::{Comparison, Expr, SubqueryKind};

use super::{Planner, conjuncts};

/// Slots as a bit set; statements with more than 64 relations in one FROM are not planned well, but right.
pub(super) type Slots = u64;

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
        let (mut gate, mut filter, mut joins) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            joins.extend(self.note_join(&part));
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
        for (id, kind) in joins {
            self.choose_for_joined(id, &kind, from, layout);
        }
        (gate, filter)
    }

    /// Notes a condition of WHERE that the server makes a join of: `[NOT] EXISTS` of a plain sub-select that looks at this level, and `IN` of one
    /// that looks at none (`convert_EXISTS_sublink_to_join`, `convert_ANY_sublink_to_join`).
    fn note_join(&mut self, part: &Expr) -> Option<(u32, SubqueryKind)> {
        let (inner, under_not) = match part {
            Expr::Not(inner) => (&**inner, true),
            other => (other, false),
        };
        let Expr::Subquery { id, kind } = inner else {
            return None;
        };
        let looks_here = |left: &[Expr]| {
            let mut found = false;
            let mut look = |part: &Expr| found |= matches!(part, Expr::Column { depth: 0, .. });
            left.iter().for_each(|expr| expr.walk(&mut look));
            found
        };
        let subquery = self.subqueries.get_mut(*id as usize)?.as_mut()?;
        subquery.joined = match kind {
            SubqueryKind::Exists => subquery.correlated && is_plain(&subquery.query),
            SubqueryKind::In { left, negated, .. } => {
                !negated && !under_not && !subquery.correlated && looks_here(left)
            }
            _ => false,
        };
        subquery.joined.then(|| (*id, kind.clone()))
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
    pub(super) fn slots(&self, expr: &Expr, layout: &Layout) -> Option<Slots> {
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
}

/// Whether `known` being true makes `wanted` true: they are the same, or `wanted` only asks that a compared value is not NULL.
pub(super) fn implies(known: &Expr, wanted: &Expr) -> bool {
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
pub(super) fn is_volatile_call(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| found |= matches!(part, Expr::Volatile { .. } | Expr::User { .. }));
    found
}
