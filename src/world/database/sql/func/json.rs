//! Functions and operators on JSON.

use std::sync::Arc;

use crate::machine::sql::SqlError;
use crate::value::{Json, Value};
use crate::world::database::sql::func::{Func, Special};
use crate::world::database::sql::json;
use crate::world::database::sql::overload::{Sig, sigs};
use crate::world::database::sql::refuse::sql_error;

/// A function on JSON. Those on `json` parse their text first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the SQL function of its name; see the table below")]
pub enum JsonFunc {
    Member { text: bool },
    Element { text: bool },
    Path { text: bool },
    Contains { swapped: bool },
    HasKey,
    HasAny,
    HasAll,
    Concat,
    DeleteKey,
    DeleteKeys,
    DeleteElement,
    DeletePath,
    BuildObject,
    BuildArray,
    Typeof,
    ArrayLength,
    Set,
    Insert,
    StripNulls,
    ExtractPath { text: bool },
    Pretty,
}

const fn f(function: JsonFunc) -> Func {
    Func::Json(function)
}
const UNSUPPORTED: Func = Func::Special(Special::Unsupported);

/// Operators.
pub(in crate::world::database::sql) const OPERATORS: &[&[Sig]] = &[sigs! {
    "->"(Jsonb, Text) -> Jsonb = f(JsonFunc::Member { text: false });
    "->"(Jsonb, Int4) -> Jsonb = f(JsonFunc::Element { text: false });
    "->>"(Jsonb, Text) -> Text = f(JsonFunc::Member { text: true });
    "->>"(Jsonb, Int4) -> Text = f(JsonFunc::Element { text: true });
    "#>"(Jsonb, TextArray) -> Jsonb = f(JsonFunc::Path { text: false });
    "#>>"(Jsonb, TextArray) -> Text = f(JsonFunc::Path { text: true });
    "->>"(Json, Text) -> Text = f(JsonFunc::Member { text: true });
    "->>"(Json, Int4) -> Text = f(JsonFunc::Element { text: true });
    "#>>"(Json, TextArray) -> Text = f(JsonFunc::Path { text: true });
    "->"(Json, Text) -> Json = UNSUPPORTED;
    "->"(Json, Int4) -> Json = UNSUPPORTED;
    "#>"(Json, TextArray) -> Json = UNSUPPORTED;
    "@>"(Jsonb, Jsonb) -> Bool = f(JsonFunc::Contains { swapped: false });
    "<@"(Jsonb, Jsonb) -> Bool = f(JsonFunc::Contains { swapped: true });
    "?"(Jsonb, Text) -> Bool = f(JsonFunc::HasKey);
    "?|"(Jsonb, TextArray) -> Bool = f(JsonFunc::HasAny);
    "?&"(Jsonb, TextArray) -> Bool = f(JsonFunc::HasAll);
    "||"(Jsonb, Jsonb) -> Jsonb = f(JsonFunc::Concat);
    "-"(Jsonb, Text) -> Jsonb = f(JsonFunc::DeleteKey);
    "-"(Jsonb, TextArray) -> Jsonb = f(JsonFunc::DeleteKeys);
    "-"(Jsonb, Int4) -> Jsonb = f(JsonFunc::DeleteElement);
    "#-"(Jsonb, TextArray) -> Jsonb = f(JsonFunc::DeletePath);
}];

/// Functions. Arguments of the builders arrive as jsonb (keys as text).
pub(in crate::world::database::sql) const FUNCTIONS: &[Sig] = sigs! {
    "jsonb_build_object"() -> Jsonb = f(JsonFunc::BuildObject);
    "jsonb_build_array"() -> Jsonb = f(JsonFunc::BuildArray);
    "jsonb_build_object"(Any) "..." -> Jsonb = f(JsonFunc::BuildObject);
    "jsonb_build_array"(Any) "..." -> Jsonb = f(JsonFunc::BuildArray);
    "jsonb_typeof"(Jsonb) -> Text = f(JsonFunc::Typeof);
    "json_typeof"(Json) -> Text = f(JsonFunc::Typeof);
    "jsonb_array_length"(Jsonb) -> Int4 = f(JsonFunc::ArrayLength);
    "json_array_length"(Json) -> Int4 = f(JsonFunc::ArrayLength);
    "jsonb_set"(Jsonb, TextArray, Jsonb) -> Jsonb = f(JsonFunc::Set);
    "jsonb_set"(Jsonb, TextArray, Jsonb, Bool) -> Jsonb = f(JsonFunc::Set);
    "jsonb_insert"(Jsonb, TextArray, Jsonb) -> Jsonb = f(JsonFunc::Insert);
    "jsonb_insert"(Jsonb, TextArray, Jsonb, Bool) -> Jsonb = f(JsonFunc::Insert);
    "jsonb_strip_nulls"(Jsonb) -> Jsonb = f(JsonFunc::StripNulls);
    "jsonb_extract_path"(Jsonb, Text) "..." -> Jsonb = f(JsonFunc::ExtractPath { text: false });
    "jsonb_extract_path_text"(Jsonb, Text) "..." -> Text = f(JsonFunc::ExtractPath { text: true });
    "jsonb_pretty"(Jsonb) -> Text = f(JsonFunc::Pretty);
    "json_build_object"(Any) "..." -> Json = UNSUPPORTED;
    "json_build_array"(Any) "..." -> Json = UNSUPPORTED;
};

impl JsonFunc {
    pub(super) fn strict(self) -> bool {
        !matches!(self, JsonFunc::BuildObject | JsonFunc::BuildArray)
    }
}

/// Evaluates one.
pub(super) fn apply(function: JsonFunc, args: &[Value]) -> Result<Value, SqlError> {
    if let JsonFunc::BuildObject = function {
        return build_object(args);
    }
    if let JsonFunc::BuildArray = function {
        return Ok(Value::Json(Json::Array(args.iter().map(json_or_null).collect())));
    }
    let parsed;
    let base = match args.first() {
        Some(Value::Json(json)) => json,
        Some(Value::Text(text)) => {
            parsed = json::parse(text)?;
            &parsed
        }
        _ => return Ok(Value::Null),
    };
    Ok(match function {
        JsonFunc::Member { text } => found(json::member(base, string(args, 1)), text),
        JsonFunc::Element { text } => found(json::element(base, int(args, 1)), text),
        JsonFunc::Path { text } => found(path(base, &strings(args, 1)), text),
        JsonFunc::ExtractPath { text } => {
            let steps: Vec<&str> = (1..args.len()).map(|place| string(args, place)).collect();
            found(path(base, &steps), text)
        }
        JsonFunc::Contains { swapped } => match &args[1] {
            Value::Json(other) if swapped => Value::Bool(contains(other, base, true)),
            Value::Json(other) => Value::Bool(contains(base, other, true)),
            _ => Value::Null,
        },
        JsonFunc::HasKey => Value::Bool(has(base, string(args, 1))),
        JsonFunc::HasAny => Value::Bool(strings(args, 1).iter().any(|key| has(base, key))),
        JsonFunc::HasAll => Value::Bool(strings(args, 1).iter().all(|key| has(base, key))),
        JsonFunc::Concat => concat(base, json_of(&args[1]))?,
        JsonFunc::DeleteKey => delete(base, &[string(args, 1)])?,
        JsonFunc::DeleteKeys => delete(base, &strings(args, 1))?,
        JsonFunc::DeleteElement => delete_element(base, int(args, 1))?,
        JsonFunc::DeletePath => Value::Json(edit(base, &strings(args, 1), &Edit::Delete)?),
        JsonFunc::Typeof => Value::from(kind(base)),
        JsonFunc::ArrayLength => match base {
            Json::Array(items) => Value::Int(items.len() as i64),
            Json::Object(_) => return Err(sql_error(b"22023", "cannot get array length of a non-array")),
            _ => return Err(sql_error(b"22023", "cannot get array length of a scalar")),
        },
        JsonFunc::Set => {
            let create = !matches!(args.get(3), Some(Value::Bool(false)));
            let value = json_of(&args[2]).clone();
            scalar_path(base)?;
            Value::Json(edit(base, &strings(args, 1), &Edit::Set { value, create })?)
        }
        JsonFunc::Insert => {
            let after = matches!(args.get(3), Some(Value::Bool(true)));
            let value = json_of(&args[2]).clone();
            scalar_path(base)?;
            Value::Json(edit(base, &strings(args, 1), &Edit::Insert { value, after })?)
        }
        JsonFunc::StripNulls => Value::Json(strip(base)),
        JsonFunc::Pretty => {
            let mut out = String::new();
            pretty(base, 0, &mut out);
            Value::text(out)
        }
        JsonFunc::BuildObject | JsonFunc::BuildArray => Value::Null,
    })
}

fn string(args: &[Value], place: usize) -> &str {
    match args.get(place) {
        Some(Value::Text(text)) => text,
        _ => "",
    }
}

fn int(args: &[Value], place: usize) -> i64 {
    match args.get(place) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}

fn strings(args: &[Value], place: usize) -> Vec<&str> {
    match args.get(place) {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(|item| match item {
                Value::Text(text) => Some(&**text),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn json_of(value: &Value) -> &Json {
    match value {
        Value::Json(json) => json,
        _ => &Json::Null,
    }
}

fn json_or_null(value: &Value) -> Json {
    json_of(value).clone()
}

/// A part of a document as `->` (false) or `->>` (true) returns it.
pub(in crate::world::database::sql) fn found(json: Option<&Json>, text: bool) -> Value {
    match (json, text) {
        (None, _) | (Some(Json::Null), true) => Value::Null,
        (Some(json), false) => Value::Json(json.clone()),
        (Some(Json::String(text)), true) => Value::Text(text.clone()),
        (Some(json), true) => Value::text(json::print(json)),
    }
}

fn path<'a>(base: &'a Json, steps: &[&str]) -> Option<&'a Json> {
    steps.iter().try_fold(base, |json, step| match json {
        Json::Object(_) => json::member(json, step),
        Json::Array(_) => json::element(json, step.trim().parse().ok()?),
        _ => None,
    })
}

/// Containment; at the top an array contains a scalar that is one of its elements.
fn contains(left: &Json, right: &Json, top: bool) -> bool {
    match (left, right) {
        (Json::Object(_), Json::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| json::member(left, key).is_some_and(|found| contains(found, value, false))),
        (Json::Array(items), Json::Array(wanted)) => wanted
            .iter()
            .all(|value| items.iter().any(|item| contains(item, value, false))),
        (Json::Array(items), scalar) if top && !matches!(scalar, Json::Object(_)) => items.contains(scalar),
        _ => left == right,
    }
}

fn has(base: &Json, key: &str) -> bool {
    let is_key = |json: &Json| matches!(json, Json::String(text) if &**text == key);
    match base {
        Json::Object(_) => json::member(base, key).is_some(),
        Json::Array(items) => items.iter().any(is_key),
        scalar => is_key(scalar),
    }
}

fn concat(left: &Json, right: &Json) -> Result<Value, SqlError> {
    let list = |json: &Json| match json {
        Json::Array(items) => items.to_vec(),
        other => vec![other.clone()],
    };
    Ok(Value::Json(match (left, right) {
        (Json::Object(left), Json::Object(right)) => json::object(left.iter().chain(right.iter()).cloned().collect()),
        _ => Json::Array(list(left).into_iter().chain(list(right)).collect()),
    }))
}

fn delete(base: &Json, keys: &[&str]) -> Result<Value, SqlError> {
    Ok(Value::Json(match base {
        Json::Object(pairs) => Json::Object(
            pairs
                .iter()
                .filter(|(key, _)| !keys.contains(&&**key))
                .cloned()
                .collect(),
        ),
        Json::Array(items) => {
            let keep = |item: &&Json| !matches!(item, Json::String(text) if keys.contains(&&**text));
            Json::Array(items.iter().filter(keep).cloned().collect())
        }
        _ => return Err(sql_error(b"22023", "cannot delete from scalar")),
    }))
}

fn delete_element(base: &Json, place: i64) -> Result<Value, SqlError> {
    match base {
        Json::Array(items) => {
            let place = if place < 0 { items.len() as i64 + place } else { place };
            let kept = items.iter().enumerate().filter(|(at, _)| *at as i64 != place);
            Ok(Value::Json(Json::Array(kept.map(|(_, item)| item.clone()).collect())))
        }
        Json::Object(_) => Err(sql_error(b"22023", "cannot delete from object using integer index")),
        _ => Err(sql_error(b"22023", "cannot delete from scalar")),
    }
}

fn build_object(args: &[Value]) -> Result<Value, SqlError> {
    if !args.len().is_multiple_of(2) {
        return Err(sql_error(b"22023", "argument list must have even number of elements"));
    }
    let mut pairs = Vec::new();
    for (place, pair) in args.chunks_exact(2).enumerate() {
        let Value::Text(key) = &pair[0] else {
            return Err(sql_error(
                b"22023",
                format!("argument {}: key must not be null", place * 2 + 1),
            ));
        };
        pairs.push((key.clone(), json_or_null(&pair[1])));
    }
    Ok(Value::Json(json::object(pairs)))
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

fn scalar_path(base: &Json) -> Result<(), SqlError> {
    match base {
        Json::Array(_) | Json::Object(_) => Ok(()),
        _ => Err(sql_error(b"22023", "cannot set path in scalar")),
    }
}

enum Edit {
    Set { value: Json, create: bool },
    Insert { value: Json, after: bool },
    Delete,
}

fn edit(base: &Json, steps: &[&str], change: &Edit) -> Result<Json, SqlError> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(base.clone());
    };
    match base {
        Json::Object(pairs) => {
            let mut pairs = pairs.to_vec();
            let place = pairs.iter().position(|(key, _)| &**key == *step);
            match (place, rest.is_empty(), change) {
                (Some(place), false, _) => pairs[place].1 = edit(&pairs[place].1, rest, change)?,
                (Some(place), true, Edit::Set { value, .. }) => pairs[place].1 = value.clone(),
                (Some(place), true, Edit::Delete) => {
                    pairs.remove(place);
                }
                (Some(_), true, Edit::Insert { .. }) => {
                    return Err(sql_error(b"22023", "cannot replace existing key"));
                }
                (None, true, Edit::Set { value, create: true } | Edit::Insert { value, .. }) => {
                    pairs.push(((*step).into(), value.clone()));
                }
                (None, ..) => {}
            }
            Ok(json::object(pairs))
        }
        Json::Array(items) => edit_array(items, step, rest, change, steps.len()),
        scalar => Ok(scalar.clone()),
    }
}

fn edit_array(items: &[Json], step: &str, rest: &[&str], change: &Edit, _: usize) -> Result<Json, SqlError> {
    let Ok(place) = step.trim().parse::<i64>() else {
        let message = format!("path element at position 1 is not an integer: \"{step}\"");
        return Err(sql_error(b"22P02", message));
    };
    let mut items = items.to_vec();
    let length = items.len() as i64;
    let from_start = if place < 0 { length + place } else { place };
    let inside = (0..length).contains(&from_start);
    let at = from_start.clamp(0, length) as usize;
    match (inside, rest.is_empty(), change) {
        (true, false, _) => items[at] = edit(&items[at], rest, change)?,
        (true, true, Edit::Set { value, .. }) => items[at] = value.clone(),
        (true, true, Edit::Delete) => {
            items.remove(at);
        }
        (true, true, Edit::Insert { value, after }) => items.insert(at + usize::from(*after), value.clone()),
        (false, true, Edit::Set { value, create: true } | Edit::Insert { value, .. }) => {
            items.insert(at, value.clone())
        }
        (false, ..) => {}
    }
    Ok(Json::Array(items.into()))
}

fn strip(json: &Json) -> Json {
    match json {
        Json::Object(pairs) => Json::Object(
            pairs
                .iter()
                .filter(|(_, value)| *value != Json::Null)
                .map(|(key, value)| (Arc::clone(key), strip(value)))
                .collect(),
        ),
        Json::Array(items) => Json::Array(items.iter().map(strip).collect()),
        other => other.clone(),
    }
}

fn pretty(json: &Json, depth: usize, out: &mut String) {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"    ".repeat(depth));
    };
    match json {
        Json::Object(pairs) => {
            out.push('{');
            for (place, (key, value)) in pairs.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                json::quote(key, out);
                out.push_str(": ");
                pretty(value, depth + 1, out);
            }
            indent(out, depth);
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                pretty(item, depth + 1, out);
            }
            indent(out, depth);
            out.push(']');
        }
        other => out.push_str(&json::print(other)),
    }
}
