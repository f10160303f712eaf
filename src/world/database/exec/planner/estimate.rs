//! How many rows Postgres expects without statistics, as far as a choice of access path hangs on it.
//!
//! A table that was never analyzed counts as ten pages full of rows of its columns' typical width (`estimate_rel_size`); the fractions are
//! those of `selfuncs.h`.

use crate::value::Value;
use crate::world::database::exec::catalog::{Index, IndexKey, Table};
use crate::world::database::sql::expr::{Comparison, Expr, SubqueryKind};
use crate::world::database::sql::func::Func;
use crate::world::database::sql::types::Type;

use super::cost::{OPERATOR, Size};

/// Bytes of a page for rows, and what a row has beside its columns.
const PAGE: u32 = 8168;
const OVERHEAD: u32 = 28;
/// One in three, for `<` and its like.
const RANGE: f64 = 1.0 / 3.0;
/// Between two bounds.
const BETWEEN: f64 = 0.005;
/// IS NULL.
const UNKNOWN: f64 = 0.005;
/// Distinct values of a column.
const DISTINCT: f64 = 200.0;

/// The size that the planner takes a table to have.
pub(super) fn size(table: &Table) -> Size {
    let width: u32 = table.columns.iter().map(|column| width(&column.ty)).sum();
    let density = f64::from(PAGE / (width + OVERHEAD));
    match table.counted {
        None => Size {
            pages: 10.0,
            tuples: (density * 10.0).round_ties_even(),
        },
        Some(rows) => Size {
            pages: (f64::from(rows) / density).ceil().max(1.0),
            tuples: f64::from(rows),
        },
    }
}

/// The size of an index: a page of entries behind its first page.
pub(super) fn index_size(index: &Index, table: &Table) -> Size {
    let rows = size(table).tuples;
    let tuples = match index.predicate {
        None => rows,
        Some(_) => {
            let key = |key: &IndexKey| match key {
                IndexKey::Column(column) => table.columns.get(*column).map_or(32, |column| width(&column.ty)),
                IndexKey::Expression(_) => 32,
            };
            let width: u32 = index.keys.iter().map(key).sum();
            f64::from(PAGE / (width + OVERHEAD)).min(rows)
        }
    };
    Size { pages: 2.0, tuples }
}

/// What of a table's columns a condition on them needs to know.
pub(super) struct Columns<'t> {
    pub(super) table: &'t Table,
    /// Where the table's columns begin in the row that conditions are on.
    pub(super) offset: u16,
    /// Size of the table.
    pub(super) tuples: f64,
}

impl Columns<'_> {
    fn column(&self, expr: &Expr) -> Option<usize> {
        let Expr::Column { depth: 0, index } = expr else {
            return None;
        };
        let place = usize::from(index.checked_sub(self.offset)?);
        (place < self.table.columns.len()).then_some(place)
    }

    /// One value of so many.
    fn equal(&self, expr: &Expr) -> f64 {
        if let Some(place) = self.column(expr) {
            let alone = |index: &Index| {
                index.unique && index.predicate.is_none() && index.plain_columns().as_deref() == Some(&[place])
            };
            if self.table.indexes.iter().any(alone) {
                return 1.0 / self.tuples.max(1.0);
            }
            if self.table.columns[place].ty == Type::Bool {
                return 0.5;
            }
        }
        1.0 / DISTINCT.min(self.tuples.max(1.0))
    }

    /// The fraction of the rows for which a condition holds.
    pub(super) fn part(&self, condition: &Expr) -> f64 {
        match condition {
            Expr::Const(Value::Bool(true)) => 1.0,
            Expr::Const(_) => 0.0,
            Expr::Column { .. } => 0.5,
            Expr::Compare { op, left, right } => match op {
                Comparison::Eq => self.equal(self.variable(left, right)),
                Comparison::Ne => 1.0 - self.equal(self.variable(left, right)),
                _ => RANGE,
            },
            Expr::RowCompare { .. } => RANGE,
            Expr::And(list) => self.all(&list.iter().collect::<Vec<_>>()),
            Expr::Or(list) => list.iter().fold(0.0, |sum, one| {
                let one = self.part(one);
                sum + one - sum * one
            }),
            Expr::Not(inner) => 1.0 - self.part(inner),
            Expr::IsNull { negated, .. } => match negated {
                true => 1.0 - UNKNOWN,
                false => UNKNOWN,
            },
            Expr::In { expr, list, negated } => {
                let some = (self.equal(expr) * list.len() as f64).min(1.0);
                if *negated { 1.0 - some } else { some }
            }
            Expr::Quantified {
                op: Comparison::Eq,
                left,
                array,
                all: false,
            } => (self.equal(left) * list_length(array)).min(1.0),
            Expr::Subquery { .. } | Expr::Is { .. } => 0.5,
            Expr::Call { func, args } => match contained_keys(*func, args) {
                Some((true, _)) => 0.01,
                Some((false, keys)) => match is_overlap(*func) {
                    true => 1.0 - (1.0 - UNKNOWN).powi(keys as i32),
                    false => UNKNOWN.powi(keys.max(1) as i32),
                },
                None => RANGE,
            },
            _ => RANGE,
        }
    }

    fn variable<'e>(&self, left: &'e Expr, right: &'e Expr) -> &'e Expr {
        if left.columns().is_empty() { right } else { left }
    }

    /// The fraction for which all of them hold (`clauselist_selectivity`): two bounds of one thing are one range.
    pub(super) fn all(&self, conditions: &[&Expr]) -> f64 {
        let mut part = 1.0;
        let mut bounded: Vec<(&Expr, bool)> = Vec::new();
        for condition in conditions {
            if let Expr::Compare { op, left, right } = condition
                && !matches!(op, Comparison::Eq | Comparison::Ne)
            {
                let (what, op) = match left.columns().is_empty() {
                    true => (&**right, op.swapped()),
                    false => (&**left, *op),
                };
                let low = matches!(op, Comparison::Gt | Comparison::Ge);
                if bounded.contains(&(what, !low)) {
                    part = part / RANGE * BETWEEN;
                    continue;
                }
                if !bounded.contains(&(what, low)) {
                    bounded.push((what, low));
                } else {
                    continue;
                }
            }
            part *= self.part(condition);
        }
        part
    }
}

/// What a key is looked for in: the number of values in a list.
pub(super) fn list_length(array: &Expr) -> f64 {
    match array {
        Expr::Const(Value::Array(values)) => values.len() as f64,
        Expr::Array(list) => list.len() as f64,
        // `estimate_array_length`.
        _ => 10.0,
    }
}

/// The operators of a condition, each at its cost for one row (`cost_qual_eval`).
pub(super) fn operators(condition: &Expr) -> f64 {
    let mut count = 0.0;
    condition.walk(&mut |part| {
        count += match part {
            Expr::Compare { .. } | Expr::Distinct { .. } | Expr::Call { .. } | Expr::Cast { .. } => 1.0,
            Expr::RowCompare { left, .. } => left.len() as f64,
            Expr::In { list, .. } => list.len() as f64 * 0.5,
            Expr::Quantified { array, .. } => list_length(array) * 0.5,
            Expr::Subquery {
                kind: SubqueryKind::In { .. },
                ..
            } => 1.0,
            _ => 0.0,
        };
    });
    count * OPERATOR
}

fn is_overlap(func: Func) -> bool {
    func.is_overlap()
}

/// Whether a call asks what a GIN index can answer: whether its first operand is `jsonb`, and how many keys are looked up.
pub(super) fn contained_keys(func: Func, args: &[Expr]) -> Option<(bool, u32)> {
    let is_json = func.asks_for_keys()?;
    let keys = match args.get(1) {
        Some(Expr::Const(Value::Array(values))) => values.len() as u32,
        Some(Expr::Array(list)) => list.len() as u32,
        _ => 1,
    };
    Some((is_json, keys.max(1)))
}

/// `get_typavgwidth`, in bytes.
fn width(ty: &Type) -> u32 {
    match ty {
        Type::Bool => 1,
        Type::Int2 => 2,
        Type::Int4
        | Type::Float4
        | Type::Date
        | Type::Oid
        | Type::Xid
        | Type::Regclass
        | Type::Void
        | Type::Enum(_) => 4,
        Type::Tid => 6,
        Type::Int8 | Type::Money | Type::Float8 | Type::Timestamptz(_) | Type::Timestamp(_) => 8,
        Type::Uuid | Type::Interval => 16,
        Type::Name => 64,
        Type::Char(Some(length)) => length + 4,
        Type::Varchar(Some(length)) => match length + 4 {
            short @ ..=32 => short,
            long => 32 + (long.min(1000) - 32) / 2,
        },
        _ => 32,
    }
}
