//! The order of values.

use std::cmp::Ordering;

use crate::value::{Interval, Json, Value};

/// How two values of one type compare; NULLs (inside arrays and rows) come last, as in Postgres' B-trees.
pub fn values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Interval(left), Value::Interval(right)) => interval_span(left).cmp(&interval_span(right)),
        (Value::Json(left), Value::Json(right)) => json(left, right),
        (Value::Array(left), Value::Array(right)) | (Value::Record(left), Value::Record(right)) => {
            for (left, right) in left.iter().zip(right.iter()) {
                let order = values(left, right);
                if order.is_ne() {
                    return order;
                }
            }
            left.len().cmp(&right.len())
        }
        _ => left.cmp(right),
    }
}

/// An interval as one number: a month counts 30 days, a day 24 hours. Two intervals with the same span are equal.
pub fn interval_span(interval: &Interval) -> i128 {
    const DAY: i128 = 86_400_000_000;
    i128::from(interval.micros) + (i128::from(interval.days) + 30 * i128::from(interval.months)) * DAY
}

/// The order of `jsonb`: Object > Array > Boolean > Number > String > Null; containers by size first.
pub fn json(left: &Json, right: &Json) -> Ordering {
    fn rank(json: &Json) -> u8 {
        match json {
            Json::Null => 0,
            Json::String(_) => 1,
            Json::Number(_) => 2,
            Json::Bool(_) => 3,
            Json::Array(_) => 4,
            Json::Object(_) => 5,
        }
    }
    match (left, right) {
        (Json::Array(left), Json::Array(right)) => left.len().cmp(&right.len()).then_with(|| {
            let mut orders = left.iter().zip(right.iter()).map(|(left, right)| json(left, right));
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Json::Object(left), Json::Object(right)) => left.len().cmp(&right.len()).then_with(|| {
            let pairs = left.iter().zip(right.iter());
            let mut orders = pairs.map(|((name, value), (other_name, other))| {
                name.len()
                    .cmp(&other_name.len())
                    .then_with(|| name.as_bytes().cmp(other_name.as_bytes()))
                    .then_with(|| json(value, other))
            });
            orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        }),
        (Json::String(left), Json::String(right)) => left.as_bytes().cmp(right.as_bytes()),
        (Json::Number(left), Json::Number(right)) => left.cmp(right),
        (Json::Bool(left), Json::Bool(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}
