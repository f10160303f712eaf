//! Set-returning functions.

use std::sync::Arc;

use super::calendar;
use super::compare::interval_span;
use super::eval::{Env, eval};
use super::expr::SetCall;
use super::func::json::found;
use super::func::{Func, Special};
use super::numeric;
use super::overload::{Sig, sigs};
use super::refuse::sql_error;
use super::settings::Settings;
use super::types::Type;
use crate::machine::sql::SqlError;
use crate::value::{Interval, Json, Value};
use crate::world::database::store::Stop;

/// A set-returning function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetFunction {
    /// `generate_series(from, to [, step])` of numbers and `timestamp`
    GenerateSeries,
    /// The same of `timestamptz`: days and months are steps in the session's zone
    GenerateMoments,
    /// `generate_subscripts(array, 1)`
    GenerateSubscripts,
    /// `unnest(array)`
    Unnest,
    /// `unnest(array, array, ...)`
    UnnestSeveral,
    /// `jsonb_array_elements`
    JsonElements,
    /// `jsonb_array_elements_text`
    JsonElementsText,
    /// `jsonb_each`
    JsonEach,
    /// `jsonb_each_text`
    JsonEachText,
    /// `jsonb_object_keys`
    JsonKeys,
    /// `string_to_table`
    StringToTable,
}

const NONE: Func = Func::Special(Special::Unsupported);

/// The overloads; the result is that of one column.
pub(super) const SIGNATURES: &[Sig] = sigs! {
    "generate_series"(Int4, Int4) -> Int4 = NONE;
    "generate_series"(Int4, Int4, Int4) -> Int4 = NONE;
    "generate_series"(Int8, Int8) -> Int8 = NONE;
    "generate_series"(Int8, Int8, Int8) -> Int8 = NONE;
    "generate_series"(Num, Num) -> Num = NONE;
    "generate_series"(Num, Num, Num) -> Num = NONE;
    "generate_series"(Ts, Ts, Interval) -> Ts = NONE;
    "generate_series"(Tstz, Tstz, Interval) -> Tstz = NONE;
    "generate_subscripts"(Array, Int4) -> Int4 = NONE;
    "unnest"(Array) -> Element = NONE;
    "jsonb_array_elements"(Jsonb) -> Jsonb = NONE;
    "jsonb_array_elements_text"(Jsonb) -> Text = NONE;
    "jsonb_each"(Jsonb) -> Jsonb = NONE;
    "jsonb_each_text"(Jsonb) -> Text = NONE;
    "jsonb_object_keys"(Jsonb) -> Text = NONE;
    "string_to_table"(Text, Text) -> Text = NONE;
};

/// Whether the name is one of a set-returning function.
pub(super) fn is_known(name: &str) -> bool {
    SIGNATURES.iter().any(|sig| sig.name == name)
}

/// The function of that name and its columns.
#[allow(clippy::type_complexity, reason = "the pair is what SetCall holds")]
pub(super) fn describe(name: &str, result: &Type) -> Option<(SetFunction, Arc<[(Arc<str>, Type)]>)> {
    let one = |column: &str| -> Arc<[(Arc<str>, Type)]> { [(column.into(), result.clone())].into() };
    let pair = || -> Arc<[(Arc<str>, Type)]> { [("key".into(), Type::Text), ("value".into(), result.clone())].into() };
    Some(match name {
        "generate_series" if matches!(result, Type::Timestamptz(_)) => (SetFunction::GenerateMoments, one(name)),
        "generate_series" => (SetFunction::GenerateSeries, one(name)),
        "generate_subscripts" => (SetFunction::GenerateSubscripts, one(name)),
        "unnest" => (SetFunction::Unnest, one(name)),
        "jsonb_array_elements" => (SetFunction::JsonElements, one("value")),
        "jsonb_array_elements_text" => (SetFunction::JsonElementsText, one("value")),
        "jsonb_each" => (SetFunction::JsonEach, pair()),
        "jsonb_each_text" => (SetFunction::JsonEachText, pair()),
        "jsonb_object_keys" => (SetFunction::JsonKeys, one(name)),
        "string_to_table" => (SetFunction::StringToTable, one(name)),
        _ => return None,
    })
}

/// All rows of a call, in order. Without arguments that are not NULL there is none.
pub fn rows(call: &SetCall, env: &mut dyn Env) -> Result<Vec<Vec<Value>>, Stop> {
    let mut args = Vec::with_capacity(call.args.len());
    for arg in call.args.iter() {
        args.push(eval(arg, env)?);
    }
    if call.function == SetFunction::UnnestSeveral {
        let items = |arg: &Value| match arg {
            Value::Array(items) => items.to_vec(),
            _ => Vec::new(),
        };
        let columns: Vec<Vec<Value>> = args.iter().map(items).collect();
        let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
        let rows = (0..longest).map(|at| {
            let cell = |column: &Vec<Value>| column.get(at).cloned().unwrap_or_default();
            columns.iter().map(cell).collect()
        });
        return Ok(rows.collect());
    }
    if args.iter().any(Value::is_null) {
        return Ok(Vec::new());
    }
    let single = |values: Vec<Value>| values.into_iter().map(|value| vec![value]).collect();
    Ok(match call.function {
        SetFunction::GenerateSeries => single(series(&args, None)?),
        SetFunction::GenerateMoments => single(series(&args, Some(env.settings()))?),
        SetFunction::GenerateSubscripts => match (&args[0], &args[1]) {
            (Value::Array(items), Value::Int(1)) => single((1..=items.len() as i64).map(Value::Int).collect()),
            _ => Vec::new(),
        },
        SetFunction::Unnest | SetFunction::UnnestSeveral => match &args[0] {
            Value::Array(items) => single(items.to_vec()),
            _ => Vec::new(),
        },
        SetFunction::JsonElements => single(elements(&args[0], false)?),
        SetFunction::JsonElementsText => single(elements(&args[0], true)?),
        SetFunction::JsonEach => members(&args[0], "jsonb_each", Some(false))?,
        SetFunction::JsonEachText => members(&args[0], "jsonb_each_text", Some(true))?,
        SetFunction::JsonKeys => members(&args[0], "jsonb_object_keys", None)?,
        SetFunction::StringToTable => match (&args[0], &args[1]) {
            (Value::Text(text), Value::Text(separator)) if !text.is_empty() && !separator.is_empty() => {
                single(text.split(&**separator).map(Value::from).collect())
            }
            (Value::Text(text), _) if !text.is_empty() => single(vec![args[0].clone()]),
            _ => Vec::new(),
        },
    })
}

fn elements(value: &Value, text: bool) -> Result<Vec<Value>, SqlError> {
    match value {
        Value::Json(Json::Array(items)) => Ok(items.iter().map(|item| found(Some(item), text)).collect()),
        Value::Json(Json::Object(_)) => Err(sql_error(b"22023", "cannot extract elements from an object")),
        _ => Err(sql_error(b"22023", "cannot extract elements from a scalar")),
    }
}

/// The members of an object: key alone, or key and value.
fn members(value: &Value, name: &str, text: Option<bool>) -> Result<Vec<Vec<Value>>, SqlError> {
    match value {
        Value::Json(Json::Object(pairs)) => Ok(pairs
            .iter()
            .map(|(key, value)| {
                let key = Value::Text(key.clone());
                match text {
                    Some(text) => vec![key, found(Some(value), text)],
                    None => vec![key],
                }
            })
            .collect()),
        Value::Json(Json::Array(_)) if text.is_none() => {
            Err(sql_error(b"22023", format!("cannot call {name} on an array")))
        }
        _ if text.is_none() => Err(sql_error(b"22023", format!("cannot call {name} on a scalar"))),
        _ => Err(sql_error(b"22023", format!("cannot call {name} on a non-object"))),
    }
}

/// More rows than this are taken for a mistake.
const LIMIT: usize = 1_000_000;

fn series(args: &[Value], zone: Option<&Settings>) -> Result<Vec<Value>, SqlError> {
    let zero = || sql_error(b"22023", "step size cannot equal zero");
    let mut out = Vec::new();
    match (&args[0], &args[1]) {
        (Value::Int(from), Value::Int(to)) => {
            let step = match args.get(2) {
                Some(Value::Int(step)) => *step,
                _ => 1,
            };
            if step == 0 {
                return Err(zero());
            }
            let mut next = Some(*from);
            while let Some(at) = next.filter(|at| if step > 0 { at <= to } else { at >= to }) {
                out.push(Value::Int(at));
                next = at.checked_add(step).filter(|_| out.len() < LIMIT);
            }
        }
        (Value::Numeric(from), Value::Numeric(to)) => {
            let step = match args.get(2) {
                Some(Value::Numeric(step)) => step.clone(),
                _ => 1.into(),
            };
            let sign = step.cmp(&0.into());
            if sign.is_eq() {
                return Err(zero());
            }
            let mut at = from.clone();
            while out.len() < LIMIT && (if sign.is_gt() { at <= *to } else { at >= *to }) {
                let next = numeric::add(&at, &step);
                out.push(Value::Numeric(at));
                at = next;
            }
        }
        (Value::Timestamp(from), Value::Timestamp(to)) => {
            let Some(Value::Interval(step)) = args.get(2) else {
                return Ok(out);
            };
            let span = interval_span(step);
            if span == 0 {
                return Err(zero());
            }
            let mut next = Some(*from);
            while let Some(at) = next.filter(|at| if span > 0 { at <= to } else { at >= to }) {
                out.push(Value::Timestamp(at));
                next = later(at, step, zone).filter(|_| out.len() < LIMIT);
            }
        }
        _ => {}
    }
    Ok(out)
}

fn later(at: i64, step: &Interval, zone: Option<&Settings>) -> Option<i64> {
    match zone {
        Some(settings) => {
            let local = calendar::to_local(&settings.time_zone, at);
            let local = calendar::shift_date(local, step.months, step.days)?;
            calendar::to_utc(&settings.time_zone, local).checked_add(step.micros)
        }
        None => calendar::shift(at, step),
    }
}
