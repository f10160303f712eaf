//! How many rows Postgres expects without statistics, as far as a choice of access path hangs on it.
//!
//! Which path is taken shows: a serializable transaction marks what its scan read, the whole table or a part of an index. A table that
//! was never analyzed counts as ten pages full of rows of its columns' typical width (`estimate_rel_size`); the fractions are those of
//! `selfuncs.h`. The costs themselves are not modelled: what is here was read off the server with EXPLAIN.

use crate::world::database::exec::catalog::Table;
use crate::world::database::sql::expr::{Comparison, Expr};
use crate::world::database::sql::types::Type;

/// Up to this many bytes of columns a row, ten pages hold so many rows that a third of them is cheaper by way of a partial index.
const SLIM: u32 = 40;

/// Whether a whole partial index is read where no condition restricts its keys, given a part of its predicate.
pub(super) fn is_narrow(part: &Expr, table: &Table) -> bool {
    match part {
        // One in 200, and half of the rows for a boolean.
        Expr::Compare { op: Comparison::Eq, .. }
        | Expr::In { negated: false, .. }
        | Expr::IsNull { negated: false, .. }
        | Expr::Column { .. } => true,
        // Nearly all.
        Expr::Compare { op: Comparison::Ne, .. } => false,
        // One in three.
        Expr::Compare { .. } => table.columns.iter().map(|column| width(&column.ty)).sum::<u32>() <= SLIM,
        _ => false,
    }
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
