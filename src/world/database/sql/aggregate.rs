//! Aggregates.

use std::cmp::Ordering;
use std::sync::Arc;

use bigdecimal::BigDecimal;

use super::expr::AggregateCall;
use super::func::date;
use super::func::math::{Width, bounded};
use super::types::Type;
use super::{compare, json, numeric};
use crate::machine::sql::SqlError;
use crate::value::{Float, Interval, Json, Value};

/// An aggregate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// `count(*)`
    CountRows,
    /// `count(x)`
    Count,
    /// `sum`
    Sum,
    /// `avg`
    Avg,
    /// `min`
    Min,
    /// `max`
    Max,
    /// `bool_and`, `every`
    BoolAnd,
    /// `bool_or`
    BoolOr,
    /// `bit_and`
    BitAnd,
    /// `bit_or`
    BitOr,
    /// `string_agg`
    StringAgg,
    /// `array_agg`
    ArrayAgg,
    /// `jsonb_agg`
    JsonbAgg,
    /// `jsonb_object_agg`
    JsonbObjectAgg,
}

/// The running state of one aggregate over one group. The caller applies FILTER before [`Accumulator::add`].
#[derive(Clone, Debug)]
pub struct Accumulator {
    call: AggregateCall,
    /// Rows kept until the end, where order or DISTINCT ask for all of them.
    kept: Vec<Input>,
    state: State,
}

/// One row's input: the arguments and the values of the keys of the ORDER BY inside the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The arguments.
    pub args: Vec<Value>,
    /// The sort keys.
    pub keys: Vec<Value>,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Rows that counted.
    count: i64,
    /// The sum, the extreme value or the truth so far.
    value: Value,
    /// The text so far.
    text: String,
    /// The elements so far.
    items: Vec<Value>,
}

impl Accumulator {
    /// Nothing added yet.
    pub fn new(call: &AggregateCall) -> Accumulator {
        Accumulator {
            call: call.clone(),
            kept: Vec::new(),
            state: State::default(),
        }
    }

    /// Adds a row.
    pub fn add(&mut self, input: Input) -> Result<(), SqlError> {
        if self.call.distinct || !self.call.order_by.is_empty() {
            self.kept.push(input);
            return Ok(());
        }
        self.state.add(&self.call, input.args)
    }

    /// The result.
    pub fn finish(mut self) -> Result<Value, SqlError> {
        let mut kept = std::mem::take(&mut self.kept);
        if self.call.distinct {
            kept.sort_by(|left, right| by_arguments(&self.call, left, right));
            kept.dedup_by(|left, right| by_arguments(&self.call, left, right).is_eq());
        }
        kept.sort_by(|left, right| by_keys(&self.call, left, right));
        for input in kept {
            self.state.add(&self.call, input.args)?;
        }
        self.state.finish(&self.call)
    }
}

/// The order in which DISTINCT sorts.
fn by_arguments(call: &AggregateCall, left: &Input, right: &Input) -> Ordering {
    let pairs = left.args.iter().zip(&right.args).zip(call.arg_types.iter());
    let mut orders = pairs.map(|((left, right), ty)| sort_order(ty, left, right, false, false));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn by_keys(call: &AggregateCall, left: &Input, right: &Input) -> Ordering {
    let pairs = left.keys.iter().zip(&right.keys).zip(call.order_by.iter());
    let mut orders =
        pairs.map(|((left, right), key)| sort_order(&key.ty, left, right, key.descending, key.nulls_first));
    orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// How ORDER BY orders two values, NULLs included.
pub fn sort_order(ty: &Type, left: &Value, right: &Value, descending: bool, nulls_first: bool) -> Ordering {
    let null = if nulls_first { Ordering::Less } else { Ordering::Greater };
    match (left.is_null(), right.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => null,
        (false, true) => null.reverse(),
        (false, false) if descending => ty.compare(right, left),
        (false, false) => ty.compare(left, right),
    }
}

impl State {
    fn add(&mut self, call: &AggregateCall, args: Vec<Value>) -> Result<(), SqlError> {
        let mut args = args.into_iter();
        let first = args.next().unwrap_or_default();
        match call.aggregate {
            Aggregate::CountRows => {
                self.count += 1;
                return Ok(());
            }
            Aggregate::ArrayAgg | Aggregate::JsonbAgg => {
                self.count += 1;
                self.items.push(first);
                return Ok(());
            }
            Aggregate::JsonbObjectAgg => {
                self.count += 1;
                if first.is_null() {
                    let message = "field name must not be null";
                    return Err(super::refuse::sql_error(b"22023", message));
                }
                self.items.extend([first, args.next().unwrap_or_default()]);
                return Ok(());
            }
            _ if first.is_null() => return Ok(()),
            _ => {}
        }
        self.count += 1;
        match call.aggregate {
            Aggregate::Sum | Aggregate::Avg => self.value = sum(std::mem::take(&mut self.value), first)?,
            Aggregate::Min | Aggregate::Max => {
                let wanted = match call.aggregate {
                    Aggregate::Min => Ordering::Less,
                    _ => Ordering::Greater,
                };
                let ty = call.arg_types.first().unwrap_or(&Type::Text);
                if self.value.is_null() || ty.compare(&first, &self.value) == wanted {
                    self.value = first;
                }
            }
            Aggregate::BoolAnd | Aggregate::BoolOr => {
                let and = call.aggregate == Aggregate::BoolAnd;
                let decisive = Value::Bool(!and);
                if self.value.is_null() || first == decisive {
                    self.value = first;
                }
            }
            Aggregate::BitAnd | Aggregate::BitOr => {
                self.value = match (&self.value, &first) {
                    (Value::Int(left), Value::Int(right)) if call.aggregate == Aggregate::BitAnd => {
                        Value::Int(left & right)
                    }
                    (Value::Int(left), Value::Int(right)) => Value::Int(left | right),
                    _ => first,
                };
            }
            Aggregate::StringAgg => {
                let separator = args.next().unwrap_or_default();
                if let (true, Value::Text(separator)) = (self.count > 1, &separator) {
                    self.text.push_str(separator);
                }
                if let Value::Text(text) = &first {
                    self.text.push_str(text);
                }
            }
            Aggregate::CountRows
            | Aggregate::Count
            | Aggregate::ArrayAgg
            | Aggregate::JsonbAgg
            | Aggregate::JsonbObjectAgg => {}
        }
        Ok(())
    }

    fn finish(self, call: &AggregateCall) -> Result<Value, SqlError> {
        match call.aggregate {
            Aggregate::CountRows | Aggregate::Count => Ok(Value::Int(self.count)),
            _ if self.count == 0 => Ok(Value::Null),
            Aggregate::Sum => total(self.value, &call.result),
            Aggregate::Avg => average(self.value, self.count, &call.result),
            Aggregate::StringAgg => Ok(Value::text(self.text)),
            Aggregate::ArrayAgg => Ok(Value::Array(self.items.into())),
            Aggregate::JsonbAgg => Ok(Value::Json(Json::Array(self.items.into_iter().map(as_json).collect()))),
            Aggregate::JsonbObjectAgg => {
                let mut pairs: Vec<(Arc<str>, Json)> = Vec::new();
                let mut items = self.items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    if let Value::Text(key) = key {
                        pairs.push((key, as_json(value)));
                    }
                }
                Ok(Value::Json(json::object(pairs)))
            }
            _ => Ok(self.value),
        }
    }
}

fn as_json(value: Value) -> Json {
    match value {
        Value::Json(json) => json,
        _ => Json::Null,
    }
}

/// Integers are summed exactly (in 64 bits, then as numeric) and brought to the result's type at the end.
fn sum(total: Value, next: Value) -> Result<Value, SqlError> {
    Ok(match (total, next) {
        (Value::Null, next) => next,
        (Value::Int(left), Value::Int(right)) => match left.checked_add(right) {
            Some(sum) => Value::Int(sum),
            None => Value::Numeric(numeric::add(&BigDecimal::from(left), &BigDecimal::from(right))),
        },
        (Value::Numeric(left), Value::Int(right)) => Value::Numeric(numeric::add(&left, &BigDecimal::from(right))),
        (Value::Numeric(left), Value::Numeric(right)) => Value::Numeric(numeric::add(&left, &right)),
        (Value::Float(left), Value::Float(right)) => Value::Float(Float(left.0 + right.0)),
        (Value::Interval(left), Value::Interval(right)) => date::sum(left, right)?,
        (_, next) => next,
    })
}

fn total(value: Value, result: &Type) -> Result<Value, SqlError> {
    match (value, result) {
        (Value::Int(sum), Type::Numeric(_)) => Ok(Value::Numeric(sum.into())),
        (Value::Numeric(_), Type::Int8) => bounded(None, Width::W8),
        (Value::Float(Float(sum)), Type::Float4) => Ok(Value::Float(Float(f64::from(sum as f32)))),
        (value, _) => Ok(value),
    }
}

fn average(value: Value, count: i64, result: &Type) -> Result<Value, SqlError> {
    match (value, result) {
        (Value::Int(sum), _) => Ok(Value::Numeric(numeric::div(&sum.into(), &count.into())?)),
        (Value::Numeric(sum), _) => Ok(Value::Numeric(numeric::div(&sum, &count.into())?)),
        (Value::Float(Float(sum)), _) => Ok(Value::Float(Float(sum / count as f64))),
        (Value::Interval(sum), _) => date::divide(sum, count),
        (value, _) => Ok(value),
    }
}

/// Whether two values are the same for GROUP BY, DISTINCT and set operations: NULLs are, `1.0` and `1.00` are.
pub fn same(ty: &Type, left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Null, _) | (_, Value::Null) => false,
        (Value::Interval(left), Value::Interval(right)) => span(left) == span(right),
        _ => ty.compare(left, right).is_eq(),
    }
}

fn span(interval: &Interval) -> i128 {
    compare::interval_span(interval)
}
