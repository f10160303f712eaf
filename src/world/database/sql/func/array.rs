//! Functions and operators on arrays, enums and rows.

use std::sync::Arc;

use crate::machine::sql::SqlError;
use crate::value::Value;
use crate::world::database::sql::compare;
use crate::world::database::sql::func::Func;
use crate::world::database::sql::overload::{Sig, sigs};
use crate::world::database::sql::refuse::sql_error;

/// A function on arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the SQL function of its name; see the table below")]
pub enum ArrayFunc {
    Append,
    Prepend,
    Cat,
    Length,
    Upper,
    Lower,
    Cardinality,
    Position,
    Positions,
    Remove,
    Replace,
    ToString,
    FromString,
    Contains {
        swapped: bool,
    },
    Overlap,
    Ndims,
    Slice,
    /// The place of an enum's label among the labels given as an array.
    EnumRank,
    NumNonnulls {
        nulls: bool,
    },
}

const fn f(function: ArrayFunc) -> Func {
    Func::Array(function)
}

/// Operators.
pub(in crate::world::database::sql) const OPERATORS: &[&[Sig]] = &[sigs! {
    "||"(Array, Array) -> Array = f(ArrayFunc::Cat);
    "||"(Array, Element) -> Array = f(ArrayFunc::Append);
    "||"(Element, Array) -> Array = f(ArrayFunc::Prepend);
    "@>"(Array, Array) -> Bool = f(ArrayFunc::Contains { swapped: false });
    "<@"(Array, Array) -> Bool = f(ArrayFunc::Contains { swapped: true });
    "&&"(Array, Array) -> Bool = f(ArrayFunc::Overlap);
}];

/// Functions; `array_to_string` takes the elements' output text.
pub(in crate::world::database::sql) const FUNCTIONS: &[Sig] = sigs! {
    "array_append"(Array, Element) -> Array = f(ArrayFunc::Append);
    "array_prepend"(Element, Array) -> Array = f(ArrayFunc::Prepend);
    "array_cat"(Array, Array) -> Array = f(ArrayFunc::Cat);
    "array_length"(Array, Int4) -> Int4 = f(ArrayFunc::Length);
    "array_upper"(Array, Int4) -> Int4 = f(ArrayFunc::Upper);
    "array_lower"(Array, Int4) -> Int4 = f(ArrayFunc::Lower);
    "array_ndims"(Array) -> Int4 = f(ArrayFunc::Ndims);
    "cardinality"(Array) -> Int4 = f(ArrayFunc::Cardinality);
    "array_position"(Array, Element) -> Int4 = f(ArrayFunc::Position);
    "array_positions"(Array, Element) -> Int4Array = f(ArrayFunc::Positions);
    "array_remove"(Array, Element) -> Array = f(ArrayFunc::Remove);
    "array_replace"(Array, Element, Element) -> Array = f(ArrayFunc::Replace);
    "array_to_string"(Array, Text) -> Text = f(ArrayFunc::ToString);
    "array_to_string"(Array, Text, Text) -> Text = f(ArrayFunc::ToString);
    "string_to_array"(Text, Text) -> TextArray = f(ArrayFunc::FromString);
    "string_to_array"(Text, Text, Text) -> TextArray = f(ArrayFunc::FromString);
    "num_nonnulls"(Any) "..." -> Int4 = f(ArrayFunc::NumNonnulls { nulls: false });
    "num_nulls"(Any) "..." -> Int4 = f(ArrayFunc::NumNonnulls { nulls: true });
};

impl ArrayFunc {
    pub(super) fn strict(self) -> bool {
        matches!(
            self,
            ArrayFunc::Length
                | ArrayFunc::Upper
                | ArrayFunc::Lower
                | ArrayFunc::Ndims
                | ArrayFunc::Cardinality
                | ArrayFunc::Contains { .. }
                | ArrayFunc::Overlap
                | ArrayFunc::EnumRank
        )
    }
}

/// Evaluates one.
pub(super) fn apply(function: ArrayFunc, args: &[Value]) -> Result<Value, SqlError> {
    let items = list(&args[0]);
    Ok(match function {
        ArrayFunc::Append => array(items.iter().chain([&args[1]])),
        ArrayFunc::Prepend => array([&args[0]].into_iter().chain(list(&args[1]))),
        ArrayFunc::Cat => match (&args[0], &args[1]) {
            (Value::Null, other) | (other, Value::Null) => other.clone(),
            (_, right) => array(items.iter().chain(list(right))),
        },
        ArrayFunc::Length | ArrayFunc::Upper if items.is_empty() || int(args, 1) != 1 => Value::Null,
        ArrayFunc::Length | ArrayFunc::Upper => Value::Int(items.len() as i64),
        ArrayFunc::Lower if items.is_empty() || int(args, 1) != 1 => Value::Null,
        ArrayFunc::Lower => Value::Int(1),
        ArrayFunc::Ndims if items.is_empty() => Value::Null,
        ArrayFunc::Ndims => Value::Int(1),
        ArrayFunc::Cardinality => Value::Int(items.len() as i64),
        ArrayFunc::Position => match items.iter().position(|item| same(item, &args[1])) {
            Some(place) if !args[0].is_null() => Value::Int(place as i64 + 1),
            _ => Value::Null,
        },
        ArrayFunc::Positions if args[0].is_null() => Value::Null,
        ArrayFunc::Positions => {
            let places = items.iter().enumerate().filter(|(_, item)| same(item, &args[1]));
            Value::Array(places.map(|(place, _)| Value::Int(place as i64 + 1)).collect())
        }
        ArrayFunc::Remove if args[0].is_null() => Value::Null,
        ArrayFunc::Remove => array(items.iter().filter(|item| !same(item, &args[1]))),
        ArrayFunc::Replace if args[0].is_null() => Value::Null,
        ArrayFunc::Replace => array(
            items
                .iter()
                .map(|item| if same(item, &args[1]) { &args[2] } else { item }),
        ),
        ArrayFunc::ToString => to_string(args),
        ArrayFunc::FromString => from_string(args),
        ArrayFunc::Contains { swapped } => {
            let (outer, inner) = if swapped {
                (list(&args[1]), items)
            } else {
                (items, list(&args[1]))
            };
            Value::Bool(inner.iter().all(|item| has(outer, item)))
        }
        ArrayFunc::Overlap => Value::Bool(items.iter().any(|item| has(list(&args[1]), item))),
        ArrayFunc::Slice => slice(args),
        ArrayFunc::EnumRank => match list(&args[1]).iter().position(|label| *label == args[0]) {
            Some(rank) => Value::Int(rank as i64),
            None => return Err(sql_error(b"22P02", "invalid enum value")),
        },
        ArrayFunc::NumNonnulls { nulls } => Value::Int(args.iter().filter(|arg| arg.is_null() == nulls).count() as i64),
    })
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

fn array<'a>(items: impl Iterator<Item = &'a Value>) -> Value {
    Value::Array(items.cloned().collect::<Arc<[Value]>>())
}

fn int(args: &[Value], place: usize) -> i64 {
    match args.get(place) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}

/// `IS NOT DISTINCT FROM`.
fn same(left: &Value, right: &Value) -> bool {
    compare::values(left, right).is_eq()
}

/// Whether the item, not NULL, is among the items.
fn has(items: &[Value], item: &Value) -> bool {
    !item.is_null() && items.iter().any(|other| !other.is_null() && same(other, item))
}

fn to_string(args: &[Value]) -> Value {
    let (Value::Array(items), Value::Text(separator)) = (&args[0], &args[1]) else {
        return Value::Null;
    };
    let words: Vec<&str> = items
        .iter()
        .filter_map(|item| match (item, args.get(2)) {
            (Value::Text(text), _) => Some(&**text),
            (_, Some(Value::Text(null))) => Some(&**null),
            _ => None,
        })
        .collect();
    Value::text(words.join(separator))
}

fn from_string(args: &[Value]) -> Value {
    let Value::Text(text) = &args[0] else {
        return Value::Null;
    };
    let null = match args.get(2) {
        Some(Value::Text(null)) => Some(&**null),
        _ => None,
    };
    let word = |word: &str| match null == Some(word) {
        true => Value::Null,
        false => Value::from(word),
    };
    Value::Array(match &args[1] {
        _ if text.is_empty() => Arc::new([]),
        Value::Text(separator) if separator.is_empty() => [word(text)].into(),
        Value::Text(separator) => text.split(&**separator).map(word).collect(),
        _ => text.chars().map(|character| word(&character.to_string())).collect(),
    })
}

/// `array[from:to]`; a NULL bound that was written is NULL, one left out is the end.
fn slice(args: &[Value]) -> Value {
    let Value::Array(items) = &args[0] else {
        return Value::Null;
    };
    let (Value::Int(from), Value::Int(to)) = (&args[1], &args[2]) else {
        return Value::Null;
    };
    let from = (*from).max(1) - 1;
    let to = (*to).min(items.len() as i64);
    match from < to {
        true => Value::Array(items[from as usize..to as usize].into()),
        false => Value::Array(Arc::new([])),
    }
}
