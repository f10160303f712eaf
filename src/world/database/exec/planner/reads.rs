//! Which tables a statement reads under its snapshot.

use crate::world::database::exec::plan::{Body, Cte, From, InsertSource, Layout, Query, Source, Subquery};
use crate::world::database::sql::expr::{Comparison, Expr};
use crate::world::database::store::TableId;

use super::visit_query;

/// What of a statement's result its snapshot decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// The tables that it reads, in order, each once.
    pub(crate) tables: Vec<TableId>,
    /// Whether it looks for one row by the whole of a unique key, with conditions on nothing but that row, and locks or changes it.
    ///
    /// In READ COMMITTED such a statement does at the moment of its lock what it would do if it had begun at that moment: it follows the row to its newest
    /// version and tests the same conditions again. (Where the row is gone and another one has its key, it had to wait for whoever did that.)
    pub(crate) of_one_row: bool,
}

/// Looks through a plan.
pub(super) fn reads(root: &Query, ctes: &[Cte], subqueries: &[Subquery]) -> Reads {
    let mut tables = Vec::new();
    of_query(root, &mut tables);
    for cte in ctes {
        of_query(&cte.query, &mut tables);
        if let Some((recursive, _)) = &cte.recursive {
            of_query(recursive, &mut tables);
        }
    }
    for subquery in subqueries {
        of_query(&subquery.query, &mut tables);
    }
    tables.sort_unstable();
    tables.dedup();
    Reads {
        tables,
        of_one_row: ctes.is_empty() && subqueries.is_empty() && is_of_one_row(root),
    }
}

/// The conditions say it, whichever way the server reads the table.
fn is_of_one_row(root: &Query) -> bool {
    let (from, layout) = match &root.body {
        Body::Update(update) => (&update.from, &update.layout),
        Body::Delete(delete) => (&delete.from, &delete.layout),
        Body::Select(select) if !select.locks.is_empty() => (&select.from, &select.layout),
        _ => return false,
    };
    let From::Leaf(leaf) = from else { return false };
    let Source::Table { table, .. } = &leaf.source else {
        return false;
    };
    let given: Vec<usize> = leaf
        .filter
        .iter()
        .filter_map(|part| given_column(part, layout))
        .collect();
    let by_key = table.indexes.iter().any(|index| {
        index.unique
            && index.predicate.is_none()
            && index
                .plain_columns()
                .is_some_and(|keys| keys.iter().all(|column| given.contains(column)))
    });
    let mut volatile = false;
    visit_query(root, 0, &mut |expr: &Expr, _| volatile |= expr.is_volatile());
    by_key && !volatile
}

/// The column of the only relation for which a condition gives the one value.
fn given_column(part: &Expr, layout: &Layout) -> Option<usize> {
    let Expr::Compare {
        op: Comparison::Eq,
        left,
        right,
    } = part
    else {
        return None;
    };
    let of_row = |expr: &Expr| {
        let mut found = false;
        expr.walk(&mut |part| found |= matches!(part, Expr::Column { depth: 0, .. }));
        found
    };
    let column = |expr: &Expr| match expr {
        Expr::Column { depth: 0, index } => layout.places.get(usize::from(*index)),
        _ => None,
    };
    let given = match (column(left), column(right)) {
        (Some(place), None) if !of_row(right) => place,
        (None, Some(place)) if !of_row(left) => place,
        _ => return None,
    };
    Some(usize::from(given.1))
}

fn of_query(query: &Query, tables: &mut Vec<TableId>) {
    match &query.body {
        Body::Select(select) => of_from(&select.from, tables),
        Body::Values(_) => {}
        Body::Set { left, right, .. } => {
            of_query(&left.query, tables);
            of_query(&right.query, tables);
        }
        Body::Insert(insert) => {
            if let InsertSource::Query(query, _) = &insert.source {
                of_query(query, tables);
            }
        }
        Body::Update(update) => of_from(&update.from, tables),
        Body::Delete(delete) => of_from(&delete.from, tables),
        Body::Merge(merge) => of_from(&merge.from, tables),
    }
}

fn of_from(from: &From, tables: &mut Vec<TableId>) {
    match from {
        From::Nothing => {}
        From::Leaf(leaf) => match &leaf.source {
            Source::Table { table, .. } => tables.push(table.id),
            Source::Query(query) => of_query(query, tables),
            Source::Function { .. } | Source::Cte(_) | Source::Recursion(_) | Source::Rows(_) => {}
        },
        From::Join { left, right, .. } => {
            of_from(left, tables);
            of_from(right, tables);
        }
    }
}
