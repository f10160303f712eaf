//! Evaluating bound expressions.

use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cast;
use super::compare;
use super::expr::{Casts, Comparison, Expr, SubqueryKind, Volatile};
use super::func::{self, Func, Special};
use super::refuse::sql_error;
use super::settings::Settings;
use crate::value::Value;
use crate::world::database::store::Stop;

/// What evaluation asks of the executor.
pub trait Env {
    /// A column of the current row of the query `depth` levels out.
    fn column(&self, depth: u16, index: u16) -> &Value;

    /// The value of `$number`, from 1, already of the type that binding settled ([`coerce_param`](super::cast::coerce_param)).
    fn param(&self, number: u16) -> &Value;

    /// The value of an aggregate for the current group.
    fn aggregate(&self, id: u32) -> &Value;

    /// The current value of a set-returning call of the select list.
    fn set_result(&self, id: u32) -> &Value {
        let _ = id;
        &Value::Null
    }

    /// The rows of a sub-select, each with all its columns. For `EXISTS` one row is enough, for a scalar two.
    fn subquery(&mut self, id: u32, kind: &SubqueryKind) -> Result<Arc<[Arc<[Value]>]>, Stop>;

    /// Runs a call that has effects, waits or sees session state.
    fn volatile(&mut self, call: Volatile, args: Vec<Value>) -> Result<Value, Stop>;

    /// Runs a function of the schema.
    fn user(&mut self, id: u32, args: Vec<Value>) -> Result<Value, Stop>;

    /// `now()`: when the transaction began, in microseconds since 1970.
    fn transaction_time(&self) -> i64;

    /// `statement_timestamp()`.
    fn statement_time(&self) -> i64;

    /// The session's settings.
    fn settings(&self) -> &Settings;
}

/// Evaluates an expression.
pub fn eval(expr: &Expr, env: &mut dyn Env) -> Result<Value, Stop> {
    match expr {
        Expr::Const(value) => Ok(value.clone()),
        Expr::Column { depth, index } => Ok(env.column(*depth, *index).clone()),
        Expr::Param(number) => Ok(env.param(*number).clone()),
        Expr::Aggregate(id) => Ok(env.aggregate(*id).clone()),
        Expr::SetResult(id) => Ok(env.set_result(*id).clone()),
        Expr::Compare { op, left, right } => Ok(truth_value(compare_operands(*op, left, right, env)?)),
        Expr::And(_)
        | Expr::Or(_)
        | Expr::Not(_)
        | Expr::IsNull { .. }
        | Expr::Is { .. }
        | Expr::Distinct { .. }
        | Expr::In { .. }
        | Expr::RowCompare { .. }
        | Expr::Quantified { .. } => Ok(truth_value(truth(expr, env)?)),
        Expr::Call { func, args } => call(*func, args, env),
        Expr::Cast {
            expr,
            from,
            to,
            context,
        } => {
            let value = eval(expr, env)?;
            Ok(cast::cast(value, from, to, *context, env.settings())?)
        }
        Expr::Case {
            operand,
            arms,
            otherwise,
        } => case(operand.as_deref(), arms, otherwise.as_deref(), env),
        Expr::Coalesce(list) => {
            for item in list.iter() {
                let value = eval(item, env)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Ok(Value::Null)
        }
        Expr::NullIf { value, equal } => match truth(equal, env)? {
            Some(true) => Ok(Value::Null),
            _ => eval(value, env),
        },
        Expr::Extreme { greatest, args } => extreme(*greatest, args, env),
        Expr::Volatile { call, args } => {
            let args = list(args, env)?;
            env.volatile(*call, args)
        }
        Expr::User { id, args } => {
            let args = list(args, env)?;
            env.user(*id, args)
        }
        Expr::Array(items) => Ok(Value::Array(list(items, env)?.into())),
        Expr::Row(items) => Ok(Value::Record(list(items, env)?.into())),
        Expr::Field { expr, index } => Ok(match eval(expr, env)? {
            Value::Record(fields) => fields.get(usize::from(*index)).cloned().unwrap_or_default(),
            _ => Value::Null,
        }),
        Expr::Subscript { array, subscript } => {
            let (array, place) = (eval(array, env)?, eval(subscript, env)?);
            Ok(match (array, place) {
                (Value::Array(items), Value::Int(place)) => usize::try_from(place - 1)
                    .ok()
                    .and_then(|place| items.get(place).cloned())
                    .unwrap_or_default(),
                _ => Value::Null,
            })
        }
        Expr::Subquery { id, kind } => subquery(*id, kind, env),
    }
}

/// Whether a condition holds: true, not false and not NULL.
pub fn holds(expr: &Expr, env: &mut dyn Env) -> Result<bool, Stop> {
    Ok(truth(expr, env)? == Some(true))
}

/// A condition in three-valued logic.
pub fn truth(expr: &Expr, env: &mut dyn Env) -> Result<Option<bool>, Stop> {
    match expr {
        Expr::Compare { op, left, right } => compare_operands(*op, left, right, env),
        Expr::And(parts) => connective(parts, false, env),
        Expr::Or(parts) => connective(parts, true, env),
        Expr::Not(inner) => Ok(truth(inner, env)?.map(|truth| !truth)),
        Expr::IsNull { expr, negated } => null_test(expr, *negated, env).map(Some),
        Expr::Is { expr, truth, negated } => {
            let found = self::truth(expr, env)?;
            Ok(Some((found == *truth) != *negated))
        }
        Expr::Distinct { left, right, negated } => {
            let (left, right) = (eval(left, env)?, eval(right, env)?);
            Ok(Some(compare::values(&left, &right).is_ne() != *negated))
        }
        Expr::In { expr, list, negated } => in_list(expr, list, *negated, env),
        Expr::RowCompare { op, left, right } => row_compare(*op, left, right, env),
        Expr::Quantified { op, left, array, all } => {
            let left = eval(left, env)?;
            match eval(array, env)? {
                Value::Array(items) => Ok(quantify(*op, &left, items.iter(), *all)),
                _ => Ok(None),
            }
        }
        other => Ok(match eval(other, env)? {
            Value::Bool(truth) => Some(truth),
            _ => None,
        }),
    }
}

fn truth_value(truth: Option<bool>) -> Value {
    truth.map_or(Value::Null, Value::Bool)
}

/// The value of an expression that can be looked at without computing it.
fn peek<'a>(expr: &'a Expr, env: &'a dyn Env) -> Option<&'a Value> {
    match expr {
        Expr::Const(value) => Some(value),
        Expr::Column { depth, index } => Some(env.column(*depth, *index)),
        Expr::Param(number) => Some(env.param(*number)),
        _ => None,
    }
}

fn compare_operands(op: Comparison, left: &Expr, right: &Expr, env: &mut dyn Env) -> Result<Option<bool>, Stop> {
    if let (Some(left), Some(right)) = (peek(left, env), peek(right, env)) {
        return Ok(compare_values(op, left, right));
    }
    let left = eval(left, env)?;
    if let Some(right) = peek(right, env) {
        return Ok(compare_values(op, &left, right));
    }
    let right = eval(right, env)?;
    Ok(compare_values(op, &left, &right))
}

fn compare_values(op: Comparison, left: &Value, right: &Value) -> Option<bool> {
    if left.is_null() || right.is_null() {
        return None;
    }
    Some(op.holds(compare::values(left, right)))
}

/// AND (`decisive` false) and OR (`decisive` true): stops at the first part that decides.
fn connective(parts: &[Expr], decisive: bool, env: &mut dyn Env) -> Result<Option<bool>, Stop> {
    let mut unknown = false;
    for part in parts {
        match truth(part, env)? {
            Some(truth) if truth == decisive => return Ok(Some(decisive)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { None } else { Some(!decisive) })
}

fn null_test(expr: &Expr, negated: bool, env: &mut dyn Env) -> Result<bool, Stop> {
    if let Some(value) = peek(expr, env) {
        return Ok(is_null(value, negated));
    }
    let value = eval(expr, env)?;
    Ok(is_null(&value, negated))
}

/// A row is null when all its fields are, and not null when none is.
fn is_null(value: &Value, negated: bool) -> bool {
    match value {
        Value::Record(fields) => fields.iter().all(|field| field.is_null() != negated),
        value => value.is_null() != negated,
    }
}

fn in_list(expr: &Expr, list: &[Expr], negated: bool, env: &mut dyn Env) -> Result<Option<bool>, Stop> {
    let left = eval(expr, env)?;
    let mut unknown = left.is_null() && !list.is_empty();
    if left.is_null() {
        return Ok(None);
    }
    for item in list {
        let found = match peek(item, env) {
            Some(item) => compare_values(Comparison::Eq, &left, item),
            None => {
                let item = eval(item, env)?;
                compare_values(Comparison::Eq, &left, &item)
            }
        };
        match found {
            Some(true) => return Ok(Some(!negated)),
            Some(false) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { None } else { Some(negated) })
}

fn row_compare(op: Comparison, left: &[Expr], right: &[Expr], env: &mut dyn Env) -> Result<Option<bool>, Stop> {
    let mut unknown = false;
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (eval(left, env)?, eval(right, env)?);
        let equal = compare_values(Comparison::Eq, &left, &right);
        match (op, equal) {
            (Comparison::Eq, Some(false)) => return Ok(Some(false)),
            (Comparison::Ne, Some(false)) => return Ok(Some(true)),
            (_, Some(true)) => {}
            (Comparison::Eq | Comparison::Ne, None) => unknown = true,
            (_, None) => return Ok(None),
            (_, Some(false)) => return Ok(compare_values(op, &left, &right)),
        }
    }
    Ok(match unknown {
        true => None,
        false => Some(op.holds(Ordering::Equal)),
    })
}

/// `left op ANY (items)` or `ALL`.
fn quantify<'a>(op: Comparison, left: &Value, items: impl Iterator<Item = &'a Value>, all: bool) -> Option<bool> {
    let mut unknown = false;
    for item in items {
        match compare_values(op, left, item) {
            Some(truth) if truth != all => return Some(!all),
            Some(_) => {}
            None => unknown = true,
        }
    }
    if unknown { None } else { Some(all) }
}

fn call(func: Func, args: &[Expr], env: &mut dyn Env) -> Result<Value, Stop> {
    match func {
        Func::Special(Special::Now) => return Ok(Value::Timestamp(env.transaction_time())),
        Func::Special(Special::StatementTime) => return Ok(Value::Timestamp(env.statement_time())),
        _ => {}
    }
    let mut values: SmallVec<[Value; 3]> = SmallVec::with_capacity(args.len());
    for arg in args {
        values.push(eval(arg, env)?);
    }
    Ok(func::apply(func, &values, env.settings())?)
}

fn list(items: &[Expr], env: &mut dyn Env) -> Result<Vec<Value>, Stop> {
    let mut values = Vec::with_capacity(items.len());
    for item in items {
        values.push(eval(item, env)?);
    }
    Ok(values)
}

fn case(
    operand: Option<&Expr>,
    arms: &[(Expr, Expr)],
    otherwise: Option<&Expr>,
    env: &mut dyn Env,
) -> Result<Value, Stop> {
    let operand = match operand {
        Some(operand) => Some(eval(operand, env)?),
        None => None,
    };
    for (when, then) in arms {
        let taken = match &operand {
            Some(operand) => {
                let when = eval(when, env)?;
                compare_values(Comparison::Eq, operand, &when)
            }
            None => truth(when, env)?,
        };
        if taken == Some(true) {
            return eval(then, env);
        }
    }
    otherwise.map_or(Ok(Value::Null), |otherwise| eval(otherwise, env))
}

fn extreme(greatest: bool, args: &[Expr], env: &mut dyn Env) -> Result<Value, Stop> {
    let mut best = Value::Null;
    for arg in args {
        let value = eval(arg, env)?;
        if value.is_null() {
            continue;
        }
        let wanted = if greatest { Ordering::Greater } else { Ordering::Less };
        if best.is_null() || compare::values(&value, &best) == wanted {
            best = value;
        }
    }
    Ok(best)
}

fn subquery(id: u32, kind: &SubqueryKind, env: &mut dyn Env) -> Result<Value, Stop> {
    let left = match kind {
        SubqueryKind::In { left, .. } => list(left, env)?,
        SubqueryKind::Quantified { left, .. } => vec![eval(left, env)?],
        SubqueryKind::Scalar | SubqueryKind::Exists | SubqueryKind::Array => Vec::new(),
    };
    let rows = env.subquery(id, kind)?;
    let first = |row: &Arc<[Value]>| row.first().cloned().unwrap_or_default();
    Ok(match kind {
        SubqueryKind::Exists => Value::Bool(!rows.is_empty()),
        SubqueryKind::Array => Value::Array(rows.iter().map(first).collect()),
        SubqueryKind::Scalar => match &*rows {
            [] => Value::Null,
            [only] => first(only),
            _ => {
                let message = "more than one row returned by a subquery used as an expression";
                return Err(sql_error(b"21000", message).into());
            }
        },
        SubqueryKind::In { casts, negated, .. } => {
            let found = in_rows(&left, &rows, casts, env.settings())?;
            truth_value(found.map(|found| found != *negated))
        }
        SubqueryKind::Quantified { casts, op, all, .. } => {
            let mut items = Vec::with_capacity(rows.len());
            for row in rows.iter() {
                items.push(converted(first(row), casts.first(), env.settings())?);
            }
            truth_value(quantify(*op, &left[0], items.iter(), *all))
        }
    })
}

fn converted(
    value: Value,
    how: Option<&Option<(super::types::Type, super::types::Type)>>,
    settings: &Settings,
) -> Result<Value, Stop> {
    match how {
        Some(Some((from, to))) => Ok(cast::cast(value, from, to, cast::Context::Implicit, settings)?),
        _ => Ok(value),
    }
}

/// Whether a row is among these, in three-valued logic.
pub(crate) fn in_rows(
    left: &[Value],
    rows: &[Arc<[Value]>],
    casts: &Casts,
    settings: &Settings,
) -> Result<Option<bool>, Stop> {
    let mut unknown = false;
    for row in rows {
        let mut equal = Some(true);
        for (place, (left, right)) in left.iter().zip(row.iter()).enumerate() {
            let right = converted(right.clone(), casts.get(place), settings)?;
            match compare_values(Comparison::Eq, left, &right) {
                Some(true) => {}
                Some(false) => {
                    equal = Some(false);
                    break;
                }
                None => equal = None,
            }
        }
        match equal {
            Some(true) => return Ok(Some(true)),
            Some(false) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { None } else { Some(false) })
}
