//! FOR UPDATE of a view or a sub-select: the server merges a simple one into the query around it, so that only rows that all conditions
//! let through are locked. The same is done here, where the view or sub-select is the whole FROM.

use sqlparser::ast;

use crate::world::database::exec::plan::{Body, Distinct, From, Query, Select, Source};
use crate::world::database::sql::expr::{Expr, SortKey};
use crate::world::database::sql::refuse::{BindError, Refused};

use super::Planner;

impl Planner<'_> {
    /// Merges what FROM reads into the query, when it is locked and that can be done; else it is refused, unless nothing tells the difference.
    pub(super) fn merge_locked(
        &mut self,
        select: &mut Select,
        order: &mut [SortKey],
        written: &ast::Query,
    ) -> Result<(), BindError> {
        if !locks_inside(&select.from) {
            return Ok(());
        }
        let refused = |what: &str| {
            let construct = format!("FOR UPDATE or SHARE of {what}");
            Err(Refused::node(construct, written)
                .help("name the table itself, or put the clause into the sub-select")
                .into())
        };
        let From::Leaf(leaf) = &mut select.from else {
            return refused("a view or sub-select in a join");
        };
        let Source::Query(query) = &mut leaf.source else {
            return Ok(());
        };
        if !is_simple(query) || self.reach(query) > 0 {
            return refused("a view or sub-select that is more than a simple SELECT");
        }
        let inner = match std::mem::replace(&mut query.body, Body::Values(Vec::new())) {
            Body::Select(inner) => *inner,
            _ => return refused("a view or sub-select that is more than a simple SELECT"),
        };
        let mut conditions = std::mem::take(&mut leaf.filter);
        conditions.append(&mut select.filter);
        let exprs = conditions.iter().chain(&select.output);
        let keys = order.iter().map(|key| &key.expr);
        let calls = select.set_calls.iter().flat_map(|call| call.args.iter());
        if exprs.chain(keys).chain(calls).any(|expr| self.reads_level_inside(expr)) {
            return refused("a view or sub-select whose columns another sub-select reads");
        }
        let replace = |expr: &mut Expr| {
            expr.replace(&mut |part| {
                if let Expr::Column { depth: 0, index } = part
                    && let Some(output) = inner.output.get(usize::from(*index))
                {
                    *part = output.clone();
                }
            });
        };
        conditions.iter_mut().for_each(replace);
        select.output.iter_mut().for_each(replace);
        order.iter_mut().for_each(|key| replace(&mut key.expr));
        let calls = select.set_calls.iter_mut();
        calls.flat_map(|call| call.args.iter_mut()).for_each(replace);
        let Select {
            mut from,
            layout,
            mut gate,
            mut filter,
            locks,
            ..
        } = inner;
        let condition = (!conditions.is_empty()).then(|| Expr::And(conditions.into()));
        let (more, rest) = self.place(&mut from, &layout, condition);
        gate.extend(more);
        filter.extend(rest);
        select.gate.append(&mut gate);
        select.from = from;
        select.layout = layout;
        select.filter = filter;
        select.locks = locks;
        Ok(())
    }

    /// Whether a sub-select in the expression reads a column of the level that the expression stands in.
    fn reads_level_inside(&self, expr: &Expr) -> bool {
        let mut reads = false;
        expr.walk(&mut |part| {
            if let Expr::Subquery { id, .. } = part {
                reads |= self.is_correlated(*id);
            }
        });
        reads
    }
}

/// Whether a view or sub-select in FROM has rows to lock.
fn locks_inside(from: &From) -> bool {
    match from {
        From::Nothing => false,
        From::Leaf(leaf) => match &leaf.source {
            Source::Query(query) => {
                matches!(&query.body, Body::Select(select) if !select.locks.is_empty() || locks_inside(&select.from))
            }
            _ => false,
        },
        From::Join { left, right, .. } => locks_inside(left) || locks_inside(right),
    }
}

/// What `is_simple_subquery` of the server calls simple.
fn is_simple(query: &Query) -> bool {
    let Body::Select(select) = &query.body else {
        return false;
    };
    query.order.is_empty()
        && query.limit.is_none()
        && query.offset.is_none()
        && query.modifying_ctes.is_empty()
        && select.group.is_none()
        && select.aggregates.is_empty()
        && select.having.is_none()
        && select.set_calls.is_empty()
        && select.windows.is_empty()
        && matches!(select.distinct, Distinct::No)
        && !select.output.iter().any(Expr::is_volatile)
}

/// What keeps the rows of a sub-select from being locked.
pub(super) fn not_lockable(query: &Query) -> Option<&'static str> {
    match &query.body {
        Body::Select(select) if !matches!(select.distinct, Distinct::No) => Some("DISTINCT clause"),
        Body::Select(select) if select.group.as_ref().is_some_and(|keys| !keys.is_empty()) => Some("GROUP BY clause"),
        Body::Select(select) if select.having.is_some() => Some("HAVING clause"),
        Body::Select(select) if select.group.is_some() => Some("aggregate functions"),
        Body::Select(select) if !select.windows.is_empty() => Some("window functions"),
        Body::Select(select) if !select.set_calls.is_empty() => Some("set-returning functions in the target list"),
        Body::Set { .. } => Some("UNION/INTERSECT/EXCEPT"),
        _ => None,
    }
}
