//! Bound expressions: a compact tree in which every name, type and overload has been resolved.

use std::sync::Arc;

use super::cast::Context;
use super::func::Func;
use super::types::Type;
use crate::value::Value;

/// A bound expression. Evaluate it with [`eval`](super::eval::eval).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    /// A constant, already of its final type.
    Const(Value),
    /// A column of a row of this query (`depth` 0) or of an enclosing one.
    Column {
        /// How many queries out.
        depth: u16,
        /// The place in that query's row, as its [`Scope`](super::scope::Scope) numbers it.
        index: u16,
    },
    /// `$n`, from 1.
    Param(u16),
    /// A comparison of two values of one type.
    Compare {
        /// Which.
        op: Comparison,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `(a, b) < (c, d)`: column by column.
    RowCompare {
        /// Which.
        op: Comparison,
        /// Left row.
        left: Box<[Expr]>,
        /// Right row.
        right: Box<[Expr]>,
    },
    /// `AND` of two or more.
    And(Box<[Expr]>),
    /// `OR` of two or more.
    Or(Box<[Expr]>),
    /// `NOT`.
    Not(Box<Expr>),
    /// `IS [NOT] NULL`; of a row: of all its columns.
    IsNull {
        /// What is tested.
        expr: Box<Expr>,
        /// `IS NOT NULL`.
        negated: bool,
    },
    /// `IS [NOT] TRUE | FALSE | UNKNOWN`.
    Is {
        /// What is tested.
        expr: Box<Expr>,
        /// The value; `None` is UNKNOWN.
        truth: Option<bool>,
        /// `IS NOT`.
        negated: bool,
    },
    /// `IS [NOT] DISTINCT FROM`.
    Distinct {
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
        /// `IS NOT DISTINCT FROM`.
        negated: bool,
    },
    /// `[NOT] IN (list)`.
    In {
        /// What is looked for.
        expr: Box<Expr>,
        /// Where.
        list: Box<[Expr]>,
        /// `NOT IN`.
        negated: bool,
    },
    /// `CASE`.
    Case {
        /// What each WHEN is compared with; without it each WHEN is a condition.
        operand: Option<Box<Expr>>,
        /// WHEN and THEN.
        arms: Box<[(Expr, Expr)]>,
        /// ELSE.
        otherwise: Option<Box<Expr>>,
    },
    /// `COALESCE`.
    Coalesce(Box<[Expr]>),
    /// `NULLIF(a, b)`; the two sides of the comparison may have been cast, the result is the first as it was.
    NullIf {
        /// The result, when the two differ.
        value: Box<Expr>,
        /// The comparison of the two.
        equal: Box<Expr>,
    },
    /// `GREATEST` and `LEAST`.
    Extreme {
        /// `GREATEST`.
        greatest: bool,
        /// The candidates; NULLs are left out.
        args: Box<[Expr]>,
    },
    /// A built-in function or operator that depends on its arguments (and on [`Env::settings`](super::eval::Env::settings)) only.
    Call {
        /// Which.
        func: Func,
        /// Its arguments.
        args: Box<[Expr]>,
    },
    /// A conversion that is not a no-op.
    Cast {
        /// What is converted.
        expr: Box<Expr>,
        /// From which type.
        from: Type,
        /// To which type.
        to: Type,
        /// Under which rules.
        context: Context,
    },
    /// A call that has effects, waits or sees session state.
    Volatile {
        /// Which.
        call: Volatile,
        /// Its arguments.
        args: Box<[Expr]>,
    },
    /// A function of the schema, by the number that [`Binder::function`](super::scope::Binder::function) gave it.
    User {
        /// Its number.
        id: u32,
        /// Its arguments.
        args: Box<[Expr]>,
    },
    /// `left op ANY (array)` or `ALL`.
    Quantified {
        /// The comparison.
        op: Comparison,
        /// Left operand.
        left: Box<Expr>,
        /// The array.
        array: Box<Expr>,
        /// `ALL`.
        all: bool,
    },
    /// `ARRAY[...]`.
    Array(Box<[Expr]>),
    /// `ROW(...)`.
    Row(Box<[Expr]>),
    /// A field of a row, from 0.
    Field {
        /// The row.
        expr: Box<Expr>,
        /// The field's place.
        index: u16,
    },
    /// `array[subscript]`.
    Subscript {
        /// The array.
        array: Box<Expr>,
        /// The subscript, from 1.
        subscript: Box<Expr>,
    },
    /// A sub-select, by the number that [`Binder::subquery`](super::scope::Binder::subquery) gave it.
    Subquery {
        /// Its number.
        id: u32,
        /// What is asked of its rows.
        kind: SubqueryKind,
    },
    /// An aggregate of this query, by the number that [`Binder::aggregate`](super::scope::Binder::aggregate) gave it.
    Aggregate(u32),
    /// The current value of a set-returning function of the select list, by the number that
    /// [`Binder::set_returning`](super::scope::Binder::set_returning) gave it.
    SetResult(u32),
}

impl Expr {
    /// The constant NULL.
    pub const NULL: Expr = Expr::Const(Value::Null);

    /// Whether this is a constant; its value if so.
    pub fn constant(&self) -> Option<&Value> {
        match self {
            Expr::Const(value) => Some(value),
            _ => None,
        }
    }

    /// Whether it has `random()` in it: its value may be stored and shown, but nothing may turn on it.
    pub fn is_by_chance(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| {
            let call = matches!(
                expr,
                Expr::Volatile {
                    call: Volatile::Random,
                    ..
                }
            );
            found |= call;
        });
        found
    }

    /// Calls `visit` on this expression and on every one below it, parents first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        self.for_each_child(&mut |child| child.walk(visit));
    }

    /// Calls `visit` on the expressions directly below this one.
    pub fn for_each_child<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        match self {
            Expr::Const(_) | Expr::Column { .. } | Expr::Param(_) | Expr::Aggregate(_) | Expr::SetResult(_) => {}
            Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Expr::RowCompare { left, right, .. } => left.iter().chain(right.iter()).for_each(visit),
            Expr::And(list) | Expr::Or(list) | Expr::Coalesce(list) | Expr::Array(list) | Expr::Row(list) => {
                list.iter().for_each(visit);
            }
            Expr::Extreme { args, .. }
            | Expr::Call { args, .. }
            | Expr::Volatile { args, .. }
            | Expr::User { args, .. } => args.iter().for_each(visit),
            Expr::Not(expr)
            | Expr::IsNull { expr, .. }
            | Expr::Is { expr, .. }
            | Expr::Cast { expr, .. }
            | Expr::Field { expr, .. } => visit(expr),
            Expr::In { expr, list, .. } => {
                visit(expr);
                list.iter().for_each(visit);
            }
            Expr::Case {
                operand,
                arms,
                otherwise,
            } => {
                operand.iter().for_each(|operand| visit(operand));
                for (when, then) in arms.iter() {
                    visit(when);
                    visit(then);
                }
                otherwise.iter().for_each(|otherwise| visit(otherwise));
            }
            Expr::NullIf { value, equal } => {
                visit(value);
                visit(equal);
            }
            Expr::Quantified { left, array, .. } => {
                visit(left);
                visit(array);
            }
            Expr::Subscript { array, subscript } => {
                visit(array);
                visit(subscript);
            }
            Expr::Subquery { kind, .. } => match kind {
                SubqueryKind::In { left, .. } => left.iter().for_each(visit),
                SubqueryKind::Quantified { left, .. } => visit(left),
                SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => {}
            },
        }
    }

    /// Calls `change` on this expression and on every one below it, children first.
    pub fn replace(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        self.for_each_child_mut(&mut |child| child.replace(change));
        change(self);
    }

    /// The same, to change them.
    fn for_each_child_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match self {
            Expr::Const(_) | Expr::Column { .. } | Expr::Param(_) | Expr::Aggregate(_) | Expr::SetResult(_) => {}
            Expr::Compare { left, right, .. } | Expr::Distinct { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Expr::RowCompare { left, right, .. } => left.iter_mut().chain(right.iter_mut()).for_each(visit),
            Expr::And(list) | Expr::Or(list) | Expr::Coalesce(list) | Expr::Array(list) | Expr::Row(list) => {
                list.iter_mut().for_each(visit);
            }
            Expr::Extreme { args, .. }
            | Expr::Call { args, .. }
            | Expr::Volatile { args, .. }
            | Expr::User { args, .. } => args.iter_mut().for_each(visit),
            Expr::Not(expr)
            | Expr::IsNull { expr, .. }
            | Expr::Is { expr, .. }
            | Expr::Cast { expr, .. }
            | Expr::Field { expr, .. } => visit(expr),
            Expr::In { expr, list, .. } => {
                visit(expr);
                list.iter_mut().for_each(visit);
            }
            Expr::Case {
                operand,
                arms,
                otherwise,
            } => {
                operand.iter_mut().for_each(|operand| visit(operand));
                for (when, then) in arms.iter_mut() {
                    visit(when);
                    visit(then);
                }
                otherwise.iter_mut().for_each(|otherwise| visit(otherwise));
            }
            Expr::NullIf { value, equal } => {
                visit(value);
                visit(equal);
            }
            Expr::Quantified { left, array, .. } => {
                visit(left);
                visit(array);
            }
            Expr::Subscript { array, subscript } => {
                visit(array);
                visit(subscript);
            }
            Expr::Subquery { kind, .. } => match kind {
                SubqueryKind::In { left, .. } => left.iter_mut().for_each(visit),
                SubqueryKind::Quantified { left, .. } => visit(left),
                SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => {}
            },
        }
    }

    /// Whether evaluating it may have effects or wait: it or something below it is [`Volatile`], a function of the
    /// schema or a sub-select.
    pub fn is_volatile(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| {
            found |= matches!(expr, Expr::Volatile { .. } | Expr::User { .. } | Expr::Subquery { .. });
        });
        found
    }

    /// The smallest set of columns (of `depth` 0) that it reads, sub-selects aside.
    pub fn columns(&self) -> Vec<u16> {
        let mut columns = Vec::new();
        self.walk(&mut |expr| {
            if let Expr::Column { depth: 0, index } = expr {
                columns.push(*index);
            }
        });
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// A comparison operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Eq,
    /// `<>`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

impl Comparison {
    /// Whether it holds for two values that compare so.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Comparison::Eq => order.is_eq(),
            Comparison::Ne => order.is_ne(),
            Comparison::Lt => order.is_lt(),
            Comparison::Le => order.is_le(),
            Comparison::Gt => order.is_gt(),
            Comparison::Ge => order.is_ge(),
        }
    }

    /// The operator that holds with the operands swapped.
    pub fn swapped(self) -> Comparison {
        match self {
            Comparison::Eq | Comparison::Ne => self,
            Comparison::Lt => Comparison::Gt,
            Comparison::Le => Comparison::Ge,
            Comparison::Gt => Comparison::Lt,
            Comparison::Ge => Comparison::Le,
        }
    }

    /// Its spelling.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Eq => "=",
            Comparison::Ne => "<>",
            Comparison::Lt => "<",
            Comparison::Le => "<=",
            Comparison::Gt => ">",
            Comparison::Ge => ">=",
        }
    }
}

/// What is asked of a sub-select's rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubqueryKind {
    /// `(SELECT x ...)`: the one row's column; NULL without a row; 21000 with several.
    Scalar,
    /// `EXISTS (...)`.
    Exists,
    /// `(a, ...) [NOT] IN (SELECT ...)`.
    In {
        /// The left side.
        left: Box<[Expr]>,
        /// How each column of the sub-select is converted before it is compared: from and to; evaluation does it.
        casts: Casts,
        /// `NOT IN`.
        negated: bool,
    },
    /// `a op ANY (SELECT ...)` or `ALL`.
    Quantified {
        /// The left side.
        left: Box<Expr>,
        /// How the sub-select's column is converted before it is compared.
        casts: Casts,
        /// The comparison.
        op: Comparison,
        /// `ALL`.
        all: bool,
    },
    /// `ARRAY(SELECT ...)`.
    Array,
}

/// For each column of a sub-select: the types it is converted from and to, if it must be.
pub type Casts = Box<[Option<(Type, Type)>]>;

/// Calls that have effects, wait, or see what is not a value: the store or the session answers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Volatile {
    /// `nextval(regclass)`; the argument is the sequence's name or OID.
    Nextval,
    /// `currval(regclass)`.
    Currval,
    /// `lastval()`.
    Lastval,
    /// `setval(regclass, bigint [, boolean])`.
    Setval,
    /// `pg_[try_]advisory_[xact_]lock[_shared](bigint | int, int)`.
    AdvisoryLock {
        /// `_shared`.
        shared: bool,
        /// `_xact`.
        transaction: bool,
        /// `try_`; the result is boolean, not void.
        attempt: bool,
    },
    /// `pg_advisory_unlock[_shared](bigint | int, int)`.
    AdvisoryUnlock {
        /// `_shared`.
        shared: bool,
    },
    /// `pg_advisory_unlock_all()`.
    AdvisoryUnlockAll,
    /// `pg_sleep(double precision)`.
    Sleep,
    /// `pg_sleep_for(interval)`.
    SleepFor,
    /// `set_config(text, text, boolean)`.
    SetConfig,
    /// `current_setting(text [, boolean])`.
    CurrentSetting,
    /// `txid_current()`, `pg_current_xact_id()`.
    TransactionId,
    /// `pg_backend_pid()`.
    BackendPid,
    /// `clock_timestamp()`.
    ClockTimestamp,
    /// `gen_random_uuid()`, `uuid_generate_v4()`: drawn from the world, not from chance.
    RandomUuid,
    /// `random()`, likewise.
    Random,
    /// `pg_get_serial_sequence(text, text)`.
    SerialSequence,
    /// `to_regclass(text)`, and the cast of a text that is not a constant to `regclass`.
    ToRegclass,
    /// The name of the relation with this OID: `regclass::text`.
    RegclassName,
}

/// A call of an aggregate, its arguments bound in the rows that are aggregated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AggregateCall {
    /// Which.
    pub aggregate: super::aggregate::Aggregate,
    /// `DISTINCT`.
    pub distinct: bool,
    /// Arguments; empty for `count(*)`.
    pub args: Box<[Expr]>,
    /// The arguments' types.
    pub arg_types: Box<[Type]>,
    /// `ORDER BY` inside the call.
    pub order_by: Box<[SortKey]>,
    /// `FILTER (WHERE ...)`.
    pub filter: Option<Expr>,
    /// The result's type.
    pub result: Type,
}

/// One key of an ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SortKey {
    /// What is sorted by.
    pub expr: Expr,
    /// Its type.
    pub ty: Type,
    /// `DESC`.
    pub descending: bool,
    /// `NULLS FIRST`; the default is false for ASC and true for DESC.
    pub nulls_first: bool,
}

/// A call of a set-returning function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SetCall {
    /// Which.
    pub function: super::setof::SetFunction,
    /// Its arguments.
    pub args: Box<[Expr]>,
    /// Its result's columns: name and type.
    pub columns: Arc<[(Arc<str>, Type)]>,
}
