//! Built-in functions and operators: the table of signatures and their evaluation.

pub(super) mod array;
pub(super) mod date;
pub(super) mod json;
pub(super) mod math;
pub(super) mod text;

use super::overload::Sig;
use super::settings::Settings;
use crate::machine::sql::SqlError;
use crate::value::Value;

/// A built-in function or operator whose result depends on its arguments and on settings only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Func {
    /// Arithmetic.
    Math(math::Math),
    /// On text.
    Text(text::Text),
    /// On dates and times.
    Date(date::DateFunc),
    /// On JSON.
    Json(json::JsonFunc),
    /// On arrays, enums and rows.
    Array(array::ArrayFunc),
    /// Not evaluated as a function: the binder turns it into a node of its own.
    Special(Special),
}

/// Functions that the binder turns into something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Special {
    /// `now()`, `transaction_timestamp()`, `current_timestamp`
    Now,
    /// `statement_timestamp()`
    StatementTime,
    /// A volatile call.
    Volatile(super::expr::Volatile),
    /// `pg_typeof`
    Typeof,
    /// `to_jsonb`, `to_json`
    ToJson,
    /// Known to Postgres, not to the model.
    Unsupported,
}

/// The overloads of a function name.
pub(super) fn functions(name: &str) -> Vec<&'static Sig> {
    tables().filter(|sig| sig.name == name).collect()
}

/// The names of functions that this knows of, for advice on a name that is unknown: those of the tables, and those that the binder reads itself.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    tables().map(|sig| sig.name).chain(OTHERS.iter().copied())
}

/// What the binder reads itself: aggregates, functions that return sets, forms with any number of arguments.
const OTHERS: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "array_agg",
    "string_agg",
    "bool_and",
    "bool_or",
    "every",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
    "row_number",
    "rank",
    "dense_rank",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "concat",
    "concat_ws",
    "format",
    "generate_series",
    "unnest",
    "json_build_object",
    "jsonb_build_object",
];

/// The overloads of an operator, by its symbol.
pub(super) fn operators(symbol: &str) -> Vec<&'static Sig> {
    let tables = [
        math::OPERATORS,
        text::OPERATORS,
        date::OPERATORS,
        json::OPERATORS,
        array::OPERATORS,
    ];
    tables
        .into_iter()
        .flatten()
        .copied()
        .flatten()
        .filter(|sig| sig.name == symbol)
        .collect()
}

fn tables() -> impl Iterator<Item = &'static Sig> {
    let tables = [
        math::FUNCTIONS,
        text::FUNCTIONS,
        date::FUNCTIONS,
        json::FUNCTIONS,
        array::FUNCTIONS,
        super::bind::special::FUNCTIONS,
    ];
    tables.into_iter().flatten()
}

/// Evaluates a call. A function that is strict is not asked when an argument is NULL.
pub(super) fn apply(func: Func, args: &[Value], settings: &Settings) -> Result<Value, SqlError> {
    if func.strict() && args.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    match func {
        Func::Math(func) => math::apply(func, args),
        Func::Text(func) => text::apply(func, args),
        Func::Date(func) => date::apply(func, args, settings),
        Func::Json(func) => json::apply(func, args),
        Func::Array(func) => array::apply(func, args),
        Func::Special(_) => Ok(Value::Null),
    }
}

impl Func {
    /// Whether it asks for parts of its first operand, as a GIN index can answer: then whether that is `jsonb`, not an array.
    pub(crate) fn asks_for_keys(self) -> Option<bool> {
        match self {
            Func::Json(
                json::JsonFunc::Contains { swapped: false }
                | json::JsonFunc::HasKey
                | json::JsonFunc::HasAny
                | json::JsonFunc::HasAll,
            ) => Some(true),
            Func::Array(array::ArrayFunc::Contains { swapped: false } | array::ArrayFunc::Overlap) => Some(false),
            _ => None,
        }
    }

    /// `&&` of arrays.
    pub(crate) fn is_overlap(self) -> bool {
        self == Func::Array(array::ArrayFunc::Overlap)
    }

    fn strict(self) -> bool {
        match self {
            Func::Text(func) => func.strict(),
            Func::Json(func) => func.strict(),
            Func::Array(func) => func.strict(),
            Func::Math(_) | Func::Date(_) | Func::Special(_) => true,
        }
    }
}
