//! Printing values as the server's output functions do.

use std::sync::Arc;

use crate::machine::sql::SqlError;
use crate::value::{Float, Json, Value};
use crate::world::database::sql::settings::{DateStyle, Settings};
use crate::world::database::sql::types::Type;
use crate::world::database::sql::{calendar, json, numeric};

/// The text of a value as psql and libpq show it; NULL is the empty string.
pub fn render(value: &Value, ty: &Type, settings: &Settings) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(truth) => if *truth { "t" } else { "f" }.to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Numeric(number) if *ty == Type::Money => dollars(&numeric::render(number)),
        Value::Numeric(number) => numeric::render(number),
        Value::Float(Float(number)) => float(*number, matches!(ty, Type::Float4)),
        Value::Text(text) => text.to_string(),
        Value::Timestamp(micros) => match ty {
            Type::Timestamp(_) => calendar::print_timestamp(*micros, settings.date_style),
            _ => calendar::print_timestamptz(*micros, settings),
        },
        Value::Date(days) => calendar::print_date(*days, settings.date_style),
        Value::Interval(interval) => calendar::print_interval(interval),
        Value::Uuid(uuid) => uuid.to_string(),
        Value::Json(json) => json::print(json),
        Value::Array(items) => array(items, ty.element().unwrap_or(&Type::Text), settings),
        Value::Record(fields) => record(fields, ty, settings),
    }
}

/// For reports: as the server prints it with `DateStyle = ISO` and `TimeZone = UTC`, `null` for NULL. The value's own kind decides, so
/// a `timestamp` shows an offset and a `real` the digits of a double.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Text(text) => f.write_str(text),
            Value::Int(number) => write!(f, "{number}"),
            other => f.write_str(&render(other, &Type::Unknown, &Settings::reports())),
        }
    }
}

/// `-1234.50` as `-$1,234.50`.
fn dollars(digits: &str) -> String {
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", digits),
    };
    let (whole, cents) = digits.split_once('.').unwrap_or((digits, "00"));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}${grouped}.{cents}")
}

/// The shortest text that reads back as the same float; an exponent from 1e15 (1e6 for real) on and below 1e-4.
fn float(number: f64, single: bool) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = match single {
        true => format!("{:e}", number as f32),
        false => format!("{number:e}"),
    };
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let limit = if single { 6 } else { 15 };
    if number != 0.0 && (exponent < -4 || exponent >= limit) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    match single {
        true => format!("{}", number as f32),
        false => format!("{number}"),
    }
}

fn array(items: &[Value], element: &Type, settings: &Settings) -> String {
    let mut out = String::from("{");
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if item.is_null() {
            out.push_str("NULL");
            continue;
        }
        let text = render(item, element, settings);
        let special =
            |character: char| matches!(character, '{' | '}' | ',' | '"' | '\\') || character.is_ascii_whitespace();
        match text.is_empty() || text.eq_ignore_ascii_case("null") || text.contains(special) {
            true => quote(&text, &mut out),
            false => out.push_str(&text),
        }
    }
    out.push('}');
    out
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

fn field_type(ty: &Type, place: usize) -> &Type {
    match ty {
        Type::Record(fields) => fields.get(place).map_or(&Type::Text, |(_, ty)| ty),
        _ => &Type::Text,
    }
}

fn record(fields: &[Value], ty: &Type, settings: &Settings) -> String {
    let mut out = String::from("(");
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        if field.is_null() {
            continue;
        }
        let text = render(field, field_type(ty, place), settings);
        let special =
            |character: char| matches!(character, '(' | ')' | ',' | '"' | '\\') || character.is_ascii_whitespace();
        if !text.is_empty() && !text.contains(special) {
            out.push_str(&text);
            continue;
        }
        out.push('"');
        for character in text.chars() {
            if matches!(character, '"' | '\\') {
                out.push(character);
            }
            out.push(character);
        }
        out.push('"');
    }
    out.push(')');
    out
}

/// What `to_jsonb` makes of a value.
pub fn to_json(value: &Value, ty: &Type, settings: &Settings) -> Result<Json, SqlError> {
    convert(value, ty, settings, true)
}

/// The same with the fields of rows in their own order, for `json`.
pub(super) fn to_json_text(value: &Value, ty: &Type, settings: &Settings) -> Result<String, SqlError> {
    Ok(json_text(&convert(value, ty, settings, false)?))
}

fn convert(value: &Value, ty: &Type, settings: &Settings, sorted: bool) -> Result<Json, SqlError> {
    let iso = || Settings {
        date_style: DateStyle::Iso,
        ..settings.clone()
    };
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(number) if matches!(ty, Type::Int2 | Type::Int4 | Type::Int8) => Json::Number((*number).into()),
        Value::Numeric(number) => Json::Number(number.clone()),
        Value::Float(Float(number)) => match numeric::parse(&float(*number, matches!(ty, Type::Float4))) {
            Some(number) => Json::Number(number),
            None => Json::String(render(value, ty, settings).into()),
        },
        Value::Text(text) if *ty == Type::Json => json::parse(text)?,
        Value::Timestamp(micros) => {
            let settings = iso();
            let text = match ty {
                Type::Timestamp(_) => calendar::print_timestamp(*micros, settings.date_style),
                _ => {
                    let text = calendar::print_timestamptz(*micros, &settings);
                    // JSON writes the offset with its minutes
                    match calendar::infinite(*micros) {
                        None if !text[text.len() - 3..].starts_with(':') => format!("{text}:00"),
                        _ => text,
                    }
                }
            };
            Json::String(text.replacen(' ', "T", 1).into())
        }
        Value::Date(days) => Json::String(calendar::print_date(*days, DateStyle::Iso).into()),
        Value::Json(json) => json.clone(),
        Value::Array(items) => {
            let element = ty.element().unwrap_or(&Type::Text);
            let items: Result<Arc<[Json]>, SqlError> = items
                .iter()
                .map(|item| convert(item, element, settings, sorted))
                .collect();
            Json::Array(items?)
        }
        Value::Record(fields) => {
            let mut pairs: Vec<(Arc<str>, Json)> = Vec::new();
            for (place, field) in fields.iter().enumerate() {
                let name = match ty {
                    Type::Record(types) => types.get(place).map(|(name, _)| name.clone()),
                    _ => None,
                };
                let name = name.unwrap_or_else(|| format!("f{}", place + 1).into());
                pairs.push((name, convert(field, field_type(ty, place), settings, sorted)?));
            }
            match sorted {
                true => json::object(pairs),
                false => Json::Object(pairs.into()),
            }
        }
        other => Json::String(render(other, ty, settings).into()),
    })
}

/// The text of `json` built by the server: no blanks.
fn json_text(json: &Json) -> String {
    match json {
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(json_text).collect();
            format!("[{}]", items.join(","))
        }
        Json::Object(pairs) => {
            let pairs: Vec<String> = pairs
                .iter()
                .map(|(key, value)| {
                    let mut name = String::new();
                    json::quote(key, &mut name);
                    format!("{name}:{}", json_text(value))
                })
                .collect();
            format!("{{{}}}", pairs.join(","))
        }
        other => json::print(other),
    }
}
