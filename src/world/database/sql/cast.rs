//! Conversions between types: reading text, printing, and everything between.

mod input;
mod output;

use std::sync::Arc;

use super::calendar::{self, DAY};
use super::func::math::{Width, bounded};
use super::numeric;
use super::refuse::{not_modelled, sql_error};
use super::settings::Settings;
use super::types::Type;
use crate::machine::sql::SqlError;
use crate::value::{Float, Json, Value};

pub use self::input::input;
pub use self::output::{render, to_json};

/// Under which rules a value is converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// By the expression around it.
    Implicit,
    /// On its way into a column.
    Assignment,
    /// `::type`, `CAST(... AS type)`.
    Explicit,
    /// To its output text, as `concat` and `format` see it; not a cast of SQL.
    Output,
    /// To `jsonb` as `to_jsonb` converts; not a cast of SQL.
    Json,
}

/// Converts a value; `from` and `to` must be convertible (see [`bind::coerce`](super::bind::coerce)).
pub fn cast(value: Value, from: &Type, to: &Type, context: Context, settings: &Settings) -> Result<Value, SqlError> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    match context {
        Context::Output => return Ok(output_text(value, from, settings)),
        Context::Json => {
            return Ok(match to {
                Type::Json => Value::text(output::to_json_text(&value, from, settings)?),
                _ => Value::Json(to_json(&value, from, settings)?),
            });
        }
        Context::Implicit | Context::Assignment | Context::Explicit => {}
    }
    let converted = convert(value, from, to, context, settings)?;
    fit(converted, to, context)
}

/// Brings a parameter as a machine bound it (an integer for `numeric`, text for `uuid`, ...) to the type that binding settled.
pub fn coerce_param(value: &Value, to: &Type, settings: &Settings) -> Result<Value, SqlError> {
    let from = match value {
        Value::Null => return Ok(Value::Null),
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int8,
        Value::Numeric(_) => Type::Numeric(None),
        Value::Float(_) => Type::Float8,
        Value::Text(_) => Type::Text,
        Value::Timestamp(_) if matches!(to, Type::Timestamp(_)) => return Ok(value.clone()),
        Value::Timestamp(_) => Type::Timestamptz(None),
        Value::Date(_) => Type::Date,
        Value::Interval(_) => Type::Interval,
        Value::Uuid(_) => Type::Uuid,
        Value::Json(_) => Type::Jsonb,
        Value::Array(_) | Value::Record(_) => return Ok(value.clone()),
    };
    match to {
        Type::Unknown => Ok(value.clone()),
        _ if from.same(to) => Ok(value.clone()),
        // text that is bound to another type is its text form, as in psql's variables
        _ if from == Type::Text => input(text_of(value), to, settings),
        _ => cast(value.clone(), &from, to, Context::Assignment, settings),
    }
}

fn text_of(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

fn output_text(value: Value, from: &Type, settings: &Settings) -> Value {
    match (value, from.element()) {
        (Value::Array(items), Some(element)) => {
            let text = |item: &Value| match item {
                Value::Null => Value::Null,
                item => Value::text(render(item, element, settings)),
            };
            Value::Array(items.iter().map(text).collect())
        }
        (Value::Text(text), _) => Value::Text(text),
        (value, _) => Value::text(render(&value, from, settings)),
    }
}

/// What a `money` has at most, its cents counted.
const DIGITS: u16 = 19;

fn convert(value: Value, from: &Type, to: &Type, context: Context, settings: &Settings) -> Result<Value, SqlError> {
    if let (Value::Text(text), true) = (&value, from.is_string() || *from == Type::Unknown) {
        return match to {
            to if to.is_string() => Ok(match from {
                // the blanks that pad a char(n) are not part of its text
                Type::Char(_) if !matches!(to, Type::Char(_)) => Value::from(text.trim_end_matches(' ')),
                _ => value,
            }),
            _ => input(text, to, settings),
        };
    }
    if to.is_string() && !from.is_string() {
        return Ok(to_text(&value, from, settings));
    }
    match (&value, to) {
        (Value::Array(items), Type::Array(element)) => {
            let inner = from.element().unwrap_or(element);
            let items: Result<Arc<[Value]>, SqlError> = items
                .iter()
                .map(|item| cast(item.clone(), inner, element, context, settings))
                .collect();
            Ok(Value::Array(items?))
        }
        (Value::Record(_), _) => Ok(value),
        (Value::Int(number), Type::Money) => Ok(Value::Numeric(numeric::fit(&(*number).into(), DIGITS, 2)?)),
        (Value::Numeric(number), Type::Money) => Ok(Value::Numeric(numeric::fit(number, DIGITS, 2)?)),
        _ if from.is_number() || matches!(from, Type::Bool | Type::Oid | Type::Regclass | Type::Xid) => {
            number(value, to)
        }
        _ if matches!(from, Type::Jsonb | Type::Json) => from_json(value, to),
        _ => moment(value, from, to, settings),
    }
}

/// What a cast to text makes of a value; it differs from the output form for booleans only.
fn to_text(value: &Value, from: &Type, settings: &Settings) -> Value {
    match (value, from) {
        (Value::Bool(truth), _) => Value::text(if *truth { "true" } else { "false" }),
        (value, from) => Value::text(render(value, from, settings)),
    }
}

fn out_of_range(to: &Type) -> SqlError {
    sql_error(b"22003", format!("{} out of range", to.plain_name()))
}

fn width(to: &Type) -> Option<Width> {
    match to {
        Type::Int2 => Some(Width::W2),
        Type::Int4 => Some(Width::W4),
        Type::Int8 => Some(Width::W8),
        _ => None,
    }
}

fn number(value: Value, to: &Type) -> Result<Value, SqlError> {
    match (value, to) {
        (Value::Bool(truth), Type::Int4) => Ok(Value::Int(i64::from(truth))),
        (Value::Int(number), Type::Bool) => Ok(Value::Bool(number != 0)),
        (Value::Int(number), Type::Numeric(_)) => Ok(Value::Numeric(number.into())),
        (Value::Int(number), Type::Float4) => Ok(Value::Float(Float(f64::from(number as f32)))),
        (Value::Int(number), Type::Float8) => Ok(Value::Float(Float(number as f64))),
        (Value::Int(number), Type::Oid | Type::Regclass) => match u32::try_from(number) {
            Ok(_) => Ok(Value::Int(number)),
            Err(_) => Err(sql_error(b"22003", "OID out of range")),
        },
        (Value::Int(number), to) => match width(to) {
            Some(width) => bounded(Some(number), width),
            None => Ok(Value::Int(number)),
        },
        (Value::Numeric(number), Type::Float4) => Ok(Value::Float(Float(f64::from(numeric::to_f64(&number) as f32)))),
        (Value::Numeric(number), Type::Float8) => Ok(Value::Float(Float(numeric::to_f64(&number)))),
        (Value::Numeric(number), to) => match width(to) {
            Some(width) => bounded(numeric::to_i64(&number), width),
            None => Ok(Value::Numeric(number)),
        },
        (Value::Float(Float(number)), Type::Numeric(_)) => match numeric::from_f64(number) {
            Some(number) => Ok(Value::Numeric(number)),
            None => Err(not_modelled("numeric NaN and infinity")),
        },
        (Value::Float(Float(number)), Type::Float4) => Ok(Value::Float(Float(f64::from(number as f32)))),
        (Value::Float(Float(number)), to) => match width(to) {
            Some(width) => {
                let rounded = number.round_ties_even();
                let fits = rounded >= i64::MIN as f64 && rounded < i64::MAX as f64;
                bounded(fits.then_some(rounded as i64), width).map_err(|_| out_of_range(to))
            }
            None => Ok(Value::Float(Float(number))),
        },
        (other, _) => Ok(other),
    }
}

fn from_json(value: Value, to: &Type) -> Result<Value, SqlError> {
    let json = match (value, to) {
        (Value::Text(text), Type::Jsonb) => return Ok(Value::Json(super::json::parse(&text)?)),
        (Value::Text(text), _) => return Ok(Value::Text(text)),
        (Value::Json(json), Type::Json) => return Ok(Value::text(super::json::print(&json))),
        (Value::Json(json), Type::Jsonb) => return Ok(Value::Json(json)),
        (Value::Json(json), _) => json,
        (other, _) => return Ok(other),
    };
    match (&json, to) {
        (Json::Bool(truth), Type::Bool) => Ok(Value::Bool(*truth)),
        (Json::Number(digits), to) if to.is_number() => number(Value::Numeric(digits.clone()), to),
        _ => {
            let kind = match json {
                Json::Null => "null",
                Json::Bool(_) => "boolean",
                Json::Number(_) => "numeric",
                Json::String(_) => "string",
                Json::Array(_) => "array",
                Json::Object(_) => "object",
            };
            let message = format!("cannot cast jsonb {kind} to type {}", to.plain_name());
            Err(sql_error(b"22023", message))
        }
    }
}

fn moment(value: Value, from: &Type, to: &Type, settings: &Settings) -> Result<Value, SqlError> {
    let zone = &*settings.time_zone;
    Ok(match (value, from, to) {
        (Value::Timestamp(micros), Type::Timestamptz(_), Type::Timestamp(_)) => {
            Value::Timestamp(calendar::to_local(zone, micros))
        }
        (Value::Timestamp(micros), Type::Timestamp(_), Type::Timestamptz(_)) => {
            Value::Timestamp(calendar::to_utc(zone, micros))
        }
        (Value::Timestamp(micros), _, Type::Date) => {
            let local = match from {
                Type::Timestamptz(_) => calendar::to_local(zone, micros),
                _ => micros,
            };
            Value::Date(match local {
                calendar::INFINITY => i32::MAX,
                calendar::MINUS_INFINITY => i32::MIN,
                local => local.div_euclid(DAY) as i32,
            })
        }
        (Value::Date(days), _, Type::Timestamp(_) | Type::Timestamptz(_)) => {
            let local = match days {
                i32::MAX => calendar::INFINITY,
                i32::MIN => calendar::MINUS_INFINITY,
                days => i64::from(days) * DAY,
            };
            match to {
                Type::Timestamptz(_) => Value::Timestamp(calendar::to_utc(zone, local)),
                _ => Value::Timestamp(local),
            }
        }
        (other, ..) => other,
    })
}

/// Applies the modifier of the target type.
fn fit(value: Value, to: &Type, context: Context) -> Result<Value, SqlError> {
    match (value, to) {
        (Value::Numeric(number), Type::Numeric(Some((precision, scale)))) => {
            Ok(Value::Numeric(numeric::fit(&number, *precision, *scale)?))
        }
        (Value::Text(text), Type::Varchar(Some(length))) => {
            characters(&text, *length, false, "character varying", context)
        }
        (Value::Text(text), Type::Char(Some(length))) => characters(&text, *length, true, "character", context),
        (Value::Timestamp(micros), Type::Timestamptz(digits) | Type::Timestamp(digits)) => {
            Ok(Value::Timestamp(calendar::round_to(micros, *digits)))
        }
        (value, _) => Ok(value),
    }
}

fn characters(text: &Arc<str>, length: u32, pad: bool, name: &str, context: Context) -> Result<Value, SqlError> {
    let length = length as usize;
    let count = text.chars().count();
    if count > length {
        let cut: String = text.chars().take(length).collect();
        let blank = text.chars().skip(length).all(|character| character == ' ');
        if context != Context::Explicit && !blank {
            return Err(sql_error(b"22001", format!("value too long for type {name}({length})")));
        }
        return Ok(Value::text(cut));
    }
    if pad && count < length {
        return Ok(Value::text(format!("{text}{}", " ".repeat(length - count))));
    }
    Ok(Value::Text(text.clone()))
}
