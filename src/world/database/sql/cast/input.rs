//! Reading the text form of a value.

use std::sync::Arc;

use crate::machine::sql::SqlError;
use crate::value::{Float, Value};
use crate::world::database::sql::calendar::read;
use crate::world::database::sql::refuse::{not_modelled, sql_error};
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;
use crate::world::database::sql::{json, numeric};

/// Reads text as a value of a type, as the type's input function does; the modifier is not applied.
pub fn input(text: &str, ty: &Type, settings: &Settings) -> Result<Value, SqlError> {
    match ty {
        Type::Bool => boolean(text),
        Type::Int2 | Type::Int4 | Type::Int8 | Type::Oid | Type::Xid | Type::Regclass => integer(text, ty),
        Type::Numeric(_) => decimal(text),
        Type::Money => money(text),
        Type::Float4 | Type::Float8 => float(text, ty),
        Type::Timestamptz(_) => Ok(Value::Timestamp(read::timestamptz(text, &settings.time_zone)?)),
        Type::Timestamp(_) => Ok(Value::Timestamp(read::timestamp(text)?)),
        Type::Date => Ok(Value::Date(read::date(text)?)),
        Type::Interval => Ok(Value::Interval(read::interval(text)?)),
        Type::Uuid => uuid(text),
        Type::Json => json::parse(text).map(|_| Value::from(text)),
        Type::Jsonb => Ok(Value::Json(json::parse(text)?)),
        Type::Enum(of) => match of.labels.iter().find(|label| &***label == text) {
            Some(label) => Ok(Value::Text(label.clone())),
            None => Err(sql_error(
                b"22P02",
                format!("invalid input value for enum {}: \"{text}\"", of.name),
            )),
        },
        Type::Array(element) => array(text, element, settings),
        _ => Ok(Value::from(text)),
    }
}

fn invalid(text: &str, ty: &Type) -> SqlError {
    sql_error(
        b"22P02",
        format!("invalid input syntax for type {}: \"{text}\"", ty.plain_name()),
    )
}

/// `$1,234.50`, `-12`, `(3)`: signs of the currency and of thousands are passed over, cents rounded.
fn money(text: &str) -> Result<Value, SqlError> {
    let trimmed = text.trim();
    let inner = trimmed.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
    let digits: String = inner
        .unwrap_or(trimmed)
        .chars()
        .filter(|letter| !"$, ".contains(*letter))
        .collect();
    let plain = digits
        .chars()
        .all(|letter| letter.is_ascii_digit() || "+-.".contains(letter));
    match decimal(&digits) {
        Ok(Value::Numeric(number)) if plain => {
            let number = numeric::round(&number, 2);
            Ok(Value::Numeric(if inner.is_some() { -number } else { number }))
        }
        _ => Err(invalid(text, &Type::Money)),
    }
}

fn boolean(text: &str) -> Result<Value, SqlError> {
    let word = text.trim().to_ascii_lowercase();
    let prefix = |of: &str| !word.is_empty() && of.starts_with(&word);
    if prefix("true") || prefix("yes") || word == "on" || word == "1" {
        Ok(Value::Bool(true))
    } else if prefix("false") || prefix("no") || word == "of" || word == "off" || word == "0" {
        Ok(Value::Bool(false))
    } else {
        Err(invalid(text, &Type::Bool))
    }
}

fn integer(text: &str, ty: &Type) -> Result<Value, SqlError> {
    let trimmed = text.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid(text, ty));
    }
    let number: Option<i64> = trimmed.parse().ok();
    let fits = |number: &i64| match ty {
        Type::Int2 => i16::try_from(*number).is_ok(),
        Type::Int4 => i32::try_from(*number).is_ok(),
        Type::Oid | Type::Xid | Type::Regclass => u32::try_from(*number).is_ok(),
        _ => true,
    };
    match number.filter(fits) {
        Some(number) => Ok(Value::Int(number)),
        None => Err(sql_error(
            b"22003",
            format!("value \"{text}\" is out of range for type {}", ty.plain_name()),
        )),
    }
}

fn decimal(text: &str) -> Result<Value, SqlError> {
    match numeric::parse(text) {
        Some(number) => Ok(Value::Numeric(number)),
        None if matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "nan" | "inf" | "infinity" | "-inf" | "-infinity"
        ) =>
        {
            Err(not_modelled("numeric NaN and infinity"))
        }
        None => Err(invalid(text, &Type::Numeric(None))),
    }
}

fn float(text: &str, ty: &Type) -> Result<Value, SqlError> {
    let number = match text.trim().to_ascii_lowercase().as_str() {
        "nan" => f64::NAN,
        "inf" | "infinity" | "+infinity" => f64::INFINITY,
        "-inf" | "-infinity" => f64::NEG_INFINITY,
        word if word.bytes().any(|byte| byte.is_ascii_digit()) => match word.parse::<f64>() {
            Ok(number) if number.is_infinite() => {
                let message = format!("\"{}\" is out of range for type {}", text.trim(), ty.plain_name());
                return Err(sql_error(b"22003", message));
            }
            Ok(number) => number,
            Err(_) => return Err(invalid(text, ty)),
        },
        _ => return Err(invalid(text, ty)),
    };
    Ok(Value::Float(Float(match ty {
        Type::Float4 => f64::from(number as f32),
        _ => number,
    })))
}

fn uuid(text: &str) -> Result<Value, SqlError> {
    match uuid::Uuid::try_parse(text.trim_start_matches('{').trim_end_matches('}')) {
        Ok(uuid) => Ok(Value::Uuid(uuid)),
        Err(_) => Err(invalid(text, &Type::Uuid)),
    }
}

/// Reads `{a,"b c",NULL}`.
fn array(text: &str, element: &Type, settings: &Settings) -> Result<Value, SqlError> {
    let malformed = || sql_error(b"22P02", format!("malformed array literal: \"{text}\""));
    let body = text.trim().strip_prefix('{').ok_or_else(malformed)?;
    let body = body.strip_suffix('}').ok_or_else(malformed)?;
    if body.trim().is_empty() {
        return Ok(Value::Array(Arc::new([])));
    }
    let words = words(body).ok_or_else(malformed)?;
    let items: Result<Arc<[Value]>, SqlError> = words
        .into_iter()
        .map(|(word, quoted)| match !quoted && word.eq_ignore_ascii_case("null") {
            true => Ok(Value::Null),
            false => input(&word, element, settings),
        })
        .collect();
    Ok(Value::Array(items?))
}

/// The elements of an array's text, and whether each was quoted.
fn words(body: &str) -> Option<Vec<(String, bool)>> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut open, mut kept) = (String::new(), false, false, 0);
    let mut characters = body.chars();
    loop {
        let next = characters.next();
        match next {
            None if open => return None,
            None | Some(',') if !open => {
                word.truncate(kept);
                if word.is_empty() && !quoted {
                    return None;
                }
                words.push((std::mem::take(&mut word), quoted));
                (quoted, kept) = (false, 0);
                if next.is_none() {
                    return Some(words);
                }
            }
            Some('"') => {
                open = !open;
                quoted = true;
                kept = word.len();
            }
            Some('\\') => {
                word.push(characters.next()?);
                kept = word.len();
            }
            Some('{' | '}') if !open => return None,
            Some(blank) if !open && blank.is_whitespace() && word.is_empty() => {}
            Some(other) => {
                word.push(other);
                if open || !other.is_whitespace() {
                    kept = word.len();
                }
            }
            None => return None,
        }
    }
}
