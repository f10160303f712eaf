//! SQL values: the one data type that machines, the model of Postgres and the real server exchange.
//!
//! Every variant has a total order and a hash, so that a state that holds values can be deduplicated. How a value is written
//! as text is the database's business (`world::database::sql::cast`).

use std::sync::Arc;

use bigdecimal::BigDecimal;
use uuid::Uuid;

/// One SQL value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Value {
    /// SQL NULL, of any type.
    #[default]
    Null,
    /// `boolean`.
    Bool(bool),
    /// `smallint`, `integer` and `bigint`; the column's type bounds the range.
    Int(i64),
    /// `numeric`; the scale is part of the value, as in Postgres (`1.50` prints with two digits).
    Numeric(BigDecimal),
    /// `double precision` and `real`.
    Float(Float),
    /// `text`, `varchar` and `char(n)` (blank-padded by the cast).
    Text(Arc<str>),
    /// `timestamptz` and `timestamp`: microseconds since 1970-01-01 00:00 UTC.
    Timestamp(i64),
    /// `date`: days since 1970-01-01.
    Date(i32),
    /// `interval`.
    Interval(Interval),
    /// `uuid`.
    Uuid(Uuid),
    /// `jsonb`, in canonical form (keys sorted as Postgres sorts them, no duplicates).
    Json(Json),
    /// A one-dimensional array.
    Array(Arc<[Value]>),
    /// A composite value (a row).
    Record(Arc<[Value]>),
}

impl Value {
    /// A text value.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Value::Text(text.into())
    }

    /// Whether this is SQL NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

/// A float with the total order that Postgres gives it: NaN equals itself and is the greatest, `-0` equals `0`.
#[derive(Clone, Copy, Debug)]
pub struct Float(pub f64);

impl Float {
    fn key(self) -> u64 {
        let number = if self.0 == 0.0 { 0.0 } else { self.0 };
        let bits = if number.is_nan() {
            f64::NAN.abs().to_bits()
        } else {
            number.to_bits()
        };
        if bits >> 63 == 1 { !bits } else { bits | (1 << 63) }
    }
}

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Float {}

impl std::hash::Hash for Float {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialOrd for Float {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Float {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

/// `interval`: Postgres keeps months, days and microseconds apart, because none converts exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Interval {
    /// Whole months.
    pub months: i32,
    /// Whole days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// A `jsonb` value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number, kept exactly.
    Number(BigDecimal),
    /// A string.
    String(Arc<str>),
    /// An array.
    Array(Arc<[Json]>),
    /// An object, sorted by key length and then bytes (Postgres' own order).
    Object(Arc<[(Arc<str>, Json)]>),
}
