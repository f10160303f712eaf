//! Plans: what a statement does, with every name resolved. Immutable, shared, independent of any state but the catalog.
//!
//! A plan is a tree that follows the text closely: the model reproduces what Postgres' executor does to rows and locks, not how its
//! planner saves work. Where the choice of an access path can be observed (SSI marks, order of rows), it follows the planner's own costs, for tables
//! without statistics. Rows come in heap order, as from a bitmap scan, but where a serializable transaction reads an index up to a limit.

use std::sync::Arc;

use crate::world::database::sql::expr::{AggregateCall, Comparison, Expr, SetCall, SortKey};
use crate::world::database::sql::scope::ParamPlace;
use crate::world::database::sql::types::Type;
use crate::world::database::store::{IndexId, Strength, TableId, TableMode, WaitPolicy};

use super::catalog::Table;
use super::planner::{Assumption, Reads};

/// Names and types of a result's columns.
pub(crate) type Columns = Arc<[(Arc<str>, Type)]>;

/// A planned statement.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The statement.
    pub(crate) root: Query,
    /// Its CTEs, of all levels, by number.
    pub(crate) ctes: Vec<Cte>,
    /// Its sub-selects, of all levels, by number.
    pub(crate) subqueries: Vec<Subquery>,
    /// What of its result the snapshot decides.
    pub(crate) reads: Reads,
    /// The types of its parameters.
    pub(crate) params: Vec<ParamPlace>,
    /// The table locks it takes before it begins.
    pub(crate) locks: Vec<(TableId, TableMode)>,
    /// Whether it changes rows.
    pub(crate) writes: bool,
    /// The first kind of row lock that its SELECTs take, which a read-only transaction must not.
    pub(crate) row_lock: Option<Strength>,
    /// Tables that foreign keys may change along with those it names.
    pub(crate) related: Vec<Target>,
    /// What it takes for granted of the server's plan.
    pub(crate) assumes: Vec<Assumption>,
}

/// A CTE.
#[derive(Debug)]
pub(crate) struct Cte {
    /// Its query.
    pub(crate) query: Query,
    /// `UNION [ALL]` with itself: the recursive term, and whether duplicates are dropped.
    pub(crate) recursive: Option<(Query, bool)>,
    /// Whether it changes rows: it then runs to its end, whether it is read or not.
    pub(crate) modifies: bool,
}

/// A sub-select of an expression.
#[derive(Debug)]
pub(crate) struct Subquery {
    /// Its query.
    pub(crate) query: Query,
    /// Whether it reads columns of a query around it.
    pub(crate) correlated: bool,
    /// Whether the server makes a join of it (`pull_up_sublinks`): a re-check then looks at the row that was found first, and at no other.
    pub(crate) joined: bool,
    /// Whether the server reads all of its rows for that join, once.
    pub(crate) whole: bool,
}

/// A query or a data-modifying statement, with what comes after its body.
#[derive(Debug)]
pub(crate) struct Query {
    /// Where the rows come from.
    pub(crate) body: Body,
    /// `ORDER BY`; over the FROM row for a select, over the output columns for everything else.
    pub(crate) order: Vec<SortKey>,
    /// `LIMIT`.
    pub(crate) limit: Option<Expr>,
    /// `OFFSET`.
    pub(crate) offset: Option<Expr>,
    /// The output.
    pub(crate) columns: Columns,
    /// CTEs declared here that change rows.
    pub(crate) modifying_ctes: Vec<usize>,
}

/// The body of a query.
#[derive(Debug)]
pub(crate) enum Body {
    /// `SELECT`.
    Select(Box<Select>),
    /// `VALUES`.
    Values(Vec<Vec<Expr>>),
    /// `UNION`, `INTERSECT`, `EXCEPT`; the casts bring each side to the common types.
    Set {
        /// Which.
        op: SetOp,
        /// `ALL`.
        all: bool,
        /// Left side.
        left: Box<Side>,
        /// Right side.
        right: Box<Side>,
    },
    /// `INSERT`.
    Insert(Box<Insert>),
    /// `UPDATE`.
    Update(Box<Update>),
    /// `DELETE`.
    Delete(Box<Delete>),
    /// `MERGE`.
    Merge(Box<Merge>),
}

/// One side of a set operation.
#[derive(Debug)]
pub(crate) struct Side {
    /// Its query.
    pub(crate) query: Query,
    /// Its output columns, cast to the common types (over a row with one slot).
    pub(crate) casts: Vec<Expr>,
}

/// A set operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOp {
    /// `UNION`
    Union,
    /// `INTERSECT`
    Intersect,
    /// `EXCEPT`
    Except,
}

/// `SELECT`.
#[derive(Debug)]
pub(crate) struct Select {
    /// `FROM`, with the conditions of WHERE that could be tested early.
    pub(crate) from: From,
    /// Where each column of the FROM row lies.
    pub(crate) layout: Layout,
    /// Conditions on no column of this level: tested once, before FROM is read.
    pub(crate) gate: Vec<Expr>,
    /// The rest of WHERE.
    pub(crate) filter: Vec<Expr>,
    /// `GROUP BY`, when rows are grouped at all.
    pub(crate) group: Option<Vec<(Expr, Type)>>,
    /// The aggregates, by number.
    pub(crate) aggregates: Vec<AggregateCall>,
    /// `HAVING`.
    pub(crate) having: Option<Expr>,
    /// Set-returning functions of the select list, by number.
    pub(crate) set_calls: Vec<SetCall>,
    /// Window functions, by number: each stands in the layout behind the FROM row.
    pub(crate) windows: Vec<Window>,
    /// The select list.
    pub(crate) output: Vec<Expr>,
    /// `DISTINCT`.
    pub(crate) distinct: Distinct,
    /// `FOR UPDATE` and the like: for each locked relation its slot and name.
    pub(crate) locks: Vec<Lock>,
    /// Rows come from an index in the order of ORDER BY, one by one.
    pub(crate) in_order: bool,
    /// Aggregates are `min` and `max`, each of which an index answers with its first row: how to read them.
    pub(crate) extremes: Vec<IndexAccess>,
}

/// `row_number()` and its like.
#[derive(Debug)]
pub(crate) struct Window {
    /// Which.
    pub(crate) function: WindowFunction,
    /// `PARTITION BY`.
    pub(crate) partition: Vec<(Expr, Type)>,
    /// `ORDER BY`.
    pub(crate) order: Vec<SortKey>,
}

/// The window functions that the model knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WindowFunction {
    /// `row_number()`
    RowNumber,
    /// `rank()`
    Rank,
    /// `dense_rank()`
    DenseRank,
}

/// `DISTINCT`.
#[derive(Debug)]
pub(crate) enum Distinct {
    /// None.
    No,
    /// Of the output.
    All,
    /// `ON`.
    On(Vec<(Expr, Type)>),
}

/// A relation that a SELECT locks.
#[derive(Debug)]
pub(crate) struct Lock {
    /// Its place in the FROM row.
    pub(crate) slot: usize,
    /// The table.
    pub(crate) table: Arc<Table>,
    /// How.
    pub(crate) strength: Strength,
    /// What to do when it is locked already.
    pub(crate) policy: WaitPolicy,
}

/// Where the columns of a level's row lie: slot and column for each index that expressions use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Slot and column.
    pub(crate) places: Vec<(u16, u16)>,
    /// How many slots there are.
    pub(crate) slots: usize,
}

impl Layout {
    /// Adds a slot of some width.
    pub(crate) fn push(&mut self, width: usize) -> usize {
        let slot = self.slots;
        self.places
            .extend((0..width).map(|column| (slot as u16, column as u16)));
        self.slots += 1;
        slot
    }

    /// A single slot.
    pub(crate) fn single(width: usize) -> Layout {
        let mut layout = Layout::default();
        layout.push(width);
        layout
    }
}

/// A FROM clause.
#[derive(Debug)]
pub(crate) enum From {
    /// No FROM: one row without columns.
    Nothing,
    /// One relation.
    Leaf(Leaf),
    /// A join.
    Join {
        /// Which.
        kind: JoinKind,
        /// Left side.
        left: Box<From>,
        /// Right side.
        right: Box<From>,
        /// `ON`, and conditions of WHERE that need both sides.
        on: Vec<Expr>,
        /// WHERE conditions that are tested on the joined row, after rows without a partner were added.
        filter: Vec<Expr>,
        /// Whether the right side does not look at the left: it can be read once.
        independent: bool,
    },
}

/// How rows without a partner are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    /// Dropped.
    Inner,
    /// Kept, of the left side. (A right join is planned with its sides exchanged.)
    Left,
    /// Kept, of both.
    Full,
}

/// A relation of FROM.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Its place in the level's row.
    pub(crate) slot: usize,
    /// What it is.
    pub(crate) source: Source,
    /// Conditions tested on each row.
    pub(crate) filter: Vec<Expr>,
}

/// What a relation of FROM is.
#[derive(Debug)]
pub(crate) enum Source {
    /// A table.
    Table {
        /// Which.
        table: Arc<Table>,
        /// How it is read.
        access: Access,
    },
    /// A sub-select.
    Query(Box<Query>),
    /// A set-returning function.
    Function {
        /// Which.
        call: SetCall,
        /// `WITH ORDINALITY`.
        ordinality: bool,
    },
    /// A CTE, by number.
    Cte(usize),
    /// The rows that the last round of a recursive CTE found, by the CTE's number.
    Recursion(usize),
    /// Rows given from outside, by place.
    Rows(usize),
}

/// How a table is read.
#[derive(Debug)]
pub(crate) enum Access {
    /// From the first row to the last.
    Scan {
        /// An index could have served, and costs more.
        by_choice: bool,
    },
    /// By an index, entry by entry in its order.
    Index(IndexAccess),
    /// By what indexes say of all its rows, then row by row.
    Bitmap(Bitmap),
}

impl Access {
    /// From the first row to the last, and there is no other way.
    pub(crate) const SCAN: Access = Access::Scan { by_choice: false };

    /// The look-ups that it consists of.
    pub(crate) fn look_ups(&self) -> Vec<&IndexAccess> {
        match self {
            Access::Scan { .. } => Vec::new(),
            Access::Index(access) => vec![access],
            Access::Bitmap(bitmap) => bitmap.look_ups(),
        }
    }
}

/// Rows that indexes find.
#[derive(Clone, Debug)]
pub(crate) enum Bitmap {
    /// Those of one.
    Index(IndexAccess),
    /// Those that both have.
    And(Box<[Bitmap; 2]>),
    /// Those that one of them has.
    Or(Box<[Bitmap]>),
}

impl Bitmap {
    fn look_ups(&self) -> Vec<&IndexAccess> {
        match self {
            Bitmap::Index(access) => vec![access],
            Bitmap::And(both) => both.iter().flat_map(Bitmap::look_ups).collect(),
            Bitmap::Or(some) => some.iter().flat_map(Bitmap::look_ups).collect(),
        }
    }
}

/// A look-up in an index.
#[derive(Clone, Debug)]
pub(crate) struct IndexAccess {
    /// Which.
    pub(crate) index: IndexId,
    /// Values of its first columns, in order.
    pub(crate) equal: Vec<KeySource>,
    /// Bounds of the column behind them.
    pub(crate) bounds: Vec<(Comparison, Expr)>,
    /// The arrays whose elements are looked up, in an index of the parts of values.
    pub(crate) parts: Vec<Expr>,
    /// Conditions that the index tests on each entry between them.
    pub(crate) tests: Vec<Expr>,
    /// From its end.
    pub(crate) backward: bool,
}

/// Where the value of a key column comes from.
#[derive(Clone, Debug)]
pub(crate) enum KeySource {
    /// `column = expr`
    One(Expr),
    /// `column IN (exprs)`
    Any(Vec<Expr>),
    /// `column = ANY (array)`
    AnyOf(Expr),
    /// `column IN (SELECT ...)`, by the sub-select's number.
    Rows(u32),
    /// `column IS NULL`
    Null,
}

/// What the executor needs to know of a table it changes, with its expressions bound (over a row with one slot).
#[derive(Debug)]
pub(crate) struct Target {
    /// The table.
    pub(crate) table: Arc<Table>,
    /// Its layout.
    pub(crate) layout: Layout,
    /// Default of each column.
    pub(crate) defaults: Vec<Expr>,
    /// Stored generated columns.
    pub(crate) generated: Vec<(usize, Expr)>,
    /// CHECK constraints.
    pub(crate) checks: Vec<(Arc<str>, Expr)>,
    /// Indexes, in order.
    pub(crate) indexes: Vec<BoundIndex>,
    /// Columns whose change is a key change for row locks.
    pub(crate) key_columns: Vec<usize>,
    /// Whether a foreign key references the table or starts from it.
    pub(crate) has_foreign_keys: bool,
}

/// An index with its expressions bound.
#[derive(Debug)]
pub(crate) struct BoundIndex {
    /// Which.
    pub(crate) id: IndexId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its keys.
    pub(crate) keys: Vec<Expr>,
    /// Its predicate.
    pub(crate) predicate: Option<Expr>,
    /// Whether it is unique.
    pub(crate) unique: bool,
    /// `INCLUDE`.
    pub(crate) include: Vec<usize>,
}

/// `INSERT`.
#[derive(Debug)]
pub(crate) struct Insert {
    /// Into what.
    pub(crate) target: Target,
    /// The rows.
    pub(crate) source: InsertSource,
    /// `ON CONFLICT`.
    pub(crate) conflict: Option<Conflict>,
    /// `RETURNING`, over the inserted row.
    pub(crate) returning: Option<Vec<Expr>>,
    /// RETURNING asks for `xmax`, which stands behind the row's own columns in this layout.
    pub(crate) xmax: Option<Layout>,
}

/// Where the rows of an INSERT come from; expressions for every column of the table but the generated ones.
#[derive(Debug)]
pub(crate) enum InsertSource {
    /// `VALUES`, `DEFAULT VALUES`.
    Rows(Vec<Vec<Expr>>),
    /// A query, and what becomes of each of its rows.
    Query(Box<Query>, Vec<Expr>),
}

/// `ON CONFLICT`.
#[derive(Debug)]
pub(crate) struct Conflict {
    /// Places of the arbiter indexes in [`Target::indexes`].
    pub(crate) arbiters: Vec<usize>,
    /// `DO UPDATE`; the row has two slots, the table's and `excluded`.
    pub(crate) update: Option<ConflictUpdate>,
}

/// `DO UPDATE SET ... WHERE ...`.
#[derive(Debug)]
pub(crate) struct ConflictUpdate {
    /// The two slots.
    pub(crate) layout: Layout,
    /// New values.
    pub(crate) set: Vec<(usize, Expr)>,
    /// `WHERE`.
    pub(crate) filter: Option<Expr>,
}

/// `UPDATE`. Slot 0 of the row is the target.
#[derive(Debug)]
pub(crate) struct Update {
    /// What is changed.
    pub(crate) target: Target,
    /// The target and `FROM`.
    pub(crate) from: From,
    /// Its layout.
    pub(crate) layout: Layout,
    /// Conditions on no column.
    pub(crate) gate: Vec<Expr>,
    /// The rest of WHERE.
    pub(crate) filter: Vec<Expr>,
    /// New values.
    pub(crate) set: Vec<(usize, Expr)>,
    /// `RETURNING`.
    pub(crate) returning: Option<Vec<Expr>>,
}

/// `DELETE`. Slot 0 of the row is the target.
#[derive(Debug)]
pub(crate) struct Delete {
    /// What is deleted from.
    pub(crate) target: Target,
    /// The target and `USING`.
    pub(crate) from: From,
    /// Its layout.
    pub(crate) layout: Layout,
    /// Conditions on no column.
    pub(crate) gate: Vec<Expr>,
    /// The rest of WHERE.
    pub(crate) filter: Vec<Expr>,
    /// `RETURNING`.
    pub(crate) returning: Option<Vec<Expr>>,
}

/// `MERGE`. Slot 0 of the row is the target, the others are the source.
#[derive(Debug)]
pub(crate) struct Merge {
    /// What is changed.
    pub(crate) target: Target,
    /// The source, left-joined with the target.
    pub(crate) from: From,
    /// Its layout.
    pub(crate) layout: Layout,
    /// `WHEN` clauses, in order.
    pub(crate) clauses: Vec<MergeClause>,
}

/// A WHEN clause.
#[derive(Debug)]
pub(crate) struct MergeClause {
    /// `MATCHED`, not `NOT MATCHED`.
    pub(crate) matched: bool,
    /// `AND condition`.
    pub(crate) condition: Option<Expr>,
    /// What is done.
    pub(crate) action: MergeAction,
}

/// What a WHEN clause does.
#[derive(Debug)]
pub(crate) enum MergeAction {
    /// `UPDATE SET`.
    Update(Vec<(usize, Expr)>),
    /// `DELETE`.
    Delete,
    /// `INSERT`: an expression for each column.
    Insert(Vec<Expr>),
    /// `DO NOTHING`.
    Nothing,
}
