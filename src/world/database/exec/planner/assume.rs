//! What the model takes for granted of the plan that the server makes.
//!
//! Most plans of a statement do the same to rows and locks. Two things hang on the plan: what a serializable transaction marks, and how often a
//! sub-select runs that locks rows up to a LIMIT. The model takes the plan that the server's costs give for tables without statistics; a verdict
//! says so.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::world::database::exec::plan::{Access, Body, Cte, From, InsertSource, Leaf, Query, Source, Subquery};

/// Something that is taken for granted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assumption {
    /// A sub-select that locks rows of this table up to a LIMIT runs once.
    Once(Arc<str>),
    /// This table is read by these indexes; by none, as a whole. It matters to serializable transactions.
    Reads(Arc<str>, Vec<Arc<str>>),
}

impl Assumption {
    /// As it stands under a verdict.
    pub(crate) fn told(&self) -> String {
        match self {
            Assumption::Once(table) => format!(
                "assumes that the sub-select that locks rows of {table} up to a LIMIT runs once; a nested loop may run it again and lock more"
            ),
            Assumption::Reads(table, indexes) => match indexes.as_slice() {
                [] => format!("assumes that the planner reads the whole of {table}"),
                some => format!("assumes that the planner reads {table} by {}", some.join(" and ")),
            },
        }
    }
}

/// What a plan takes for granted, sorted.
pub(super) fn assumptions(root: &Query, ctes: &[Cte], subqueries: &[Subquery]) -> Vec<Assumption> {
    let mut found = BTreeSet::new();
    let terms = ctes.iter().flat_map(|cte| {
        let again = cte.recursive.as_ref().map(|(query, _)| query);
        std::iter::once(&cte.query).chain(again)
    });
    let inner = subqueries.iter().map(|subquery| &subquery.query);
    for query in std::iter::once(root).chain(terms).chain(inner) {
        of_query(query, &mut found);
    }
    for subquery in subqueries.iter().filter(|subquery| subquery.joined) {
        found.extend(locks_some(&subquery.query));
    }
    found.into_iter().collect()
}

/// The table of which a query locks rows up to a limit.
fn locks_some(query: &Query) -> Option<Assumption> {
    let Body::Select(select) = &query.body else { return None };
    let lock = select.locks.first()?;
    query.limit.as_ref()?;
    Some(Assumption::Once(Arc::clone(&lock.table.name)))
}

fn of_query(query: &Query, found: &mut BTreeSet<Assumption>) {
    match &query.body {
        Body::Select(select) => {
            let extremes = select.extremes.iter().map(|access| access.index).collect::<Vec<_>>();
            of_from(&select.from, &extremes, found);
        }
        Body::Values(_) => {}
        Body::Set { left, right, .. } => {
            of_query(&left.query, found);
            of_query(&right.query, found);
        }
        Body::Insert(insert) => {
            if let InsertSource::Query(query, _) = &insert.source {
                of_query(query, found);
            }
        }
        Body::Update(update) => of_from(&update.from, &[], found),
        Body::Delete(delete) => of_from(&delete.from, &[], found),
        Body::Merge(merge) => of_from(&merge.from, &[], found),
    }
}

fn of_from(from: &From, instead: &[crate::world::database::store::IndexId], found: &mut BTreeSet<Assumption>) {
    match from {
        From::Nothing => {}
        From::Leaf(leaf) => of_leaf(leaf, instead, found),
        From::Join { left, right, .. } => {
            for side in [left, right] {
                if let From::Leaf(Leaf {
                    source: Source::Query(query),
                    ..
                }) = &**side
                {
                    found.extend(locks_some(query));
                }
                of_from(side, &[], found);
            }
        }
    }
}

fn of_leaf(leaf: &Leaf, instead: &[crate::world::database::store::IndexId], found: &mut BTreeSet<Assumption>) {
    let (table, access) = match &leaf.source {
        Source::Query(query) => return of_query(query, found),
        Source::Table { table, access } => (table, access),
        _ => return,
    };
    // Where no index could serve there is nothing to choose.
    let could = !instead.is_empty() || !matches!(access, Access::Scan { by_choice: false });
    if !could {
        return;
    }
    let mut ids: Vec<_> = access.look_ups().iter().map(|access| access.index).collect();
    if !instead.is_empty() {
        ids = instead.to_vec();
    }
    let named = table.indexes.iter().filter(|index| ids.contains(&index.id));
    let names = named.map(|index| Arc::clone(&index.name)).collect();
    found.insert(Assumption::Reads(Arc::clone(&table.name), names));
}
