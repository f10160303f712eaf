//! Values that steps have given names to: scalars, results, rows.

use std::sync::Arc;

use crate::machine::http::Fields;
use crate::machine::{Column, Response, Rows};
use crate::value::{Json, Value};
use crate::world::database::sql::types::Type;

/// A value with its SQL type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Typed {
    pub(crate) value: Value,
    pub(crate) ty: Type,
}

impl Typed {
    /// NULL, of a type that its use will settle.
    pub(crate) const NULL: Typed = Typed {
        value: Value::Null,
        ty: Type::Unknown,
    };

    /// A value that carries its type with it; text counts as a literal, whose type its use settles.
    pub(crate) fn plain(value: Value) -> Typed {
        let ty = match &value {
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int8,
            Value::Numeric(_) => Type::Numeric(None),
            Value::Float(_) => Type::Float8,
            Value::Timestamp(_) => Type::Timestamptz(None),
            Value::Date(_) => Type::Date,
            Value::Interval(_) => Type::Interval,
            Value::Uuid(_) => Type::Uuid,
            Value::Json(_) => Type::Jsonb,
            Value::Array(values) => match values.first() {
                Some(first) => Type::Array(Arc::new(Typed::plain(first.clone()).ty)),
                None => Type::Unknown,
            },
            Value::Null | Value::Text(_) | Value::Record(_) => Type::Unknown,
        };
        Typed { value, ty }
    }

    /// Whether a condition that is nothing but this value holds.
    pub(crate) fn holds(&self) -> bool {
        match &self.value {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Text(text) => !matches!(&**text, "f" | "false" | "no" | "off" | "0" | ""),
            Value::Int(number) => *number != 0,
            _ => true,
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bound {
    /// One value.
    Scalar(Typed),
    /// A result; a field is a column of its first row.
    Rows(Arc<Table>),
    /// One row of a result.
    Row(Arc<Table>, u32),
}

/// A result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) affected: u64,
    /// It is one answer of a service or a request, not rows of the database.
    pub(crate) answer: bool,
}

impl Bound {
    /// What a statement returned.
    pub(crate) fn rows(rows: Rows) -> Bound {
        Bound::Rows(Arc::new(Table {
            columns: rows.columns,
            rows: rows.rows,
            affected: rows.affected,
            answer: false,
        }))
    }

    /// Named values.
    pub(crate) fn named(values: impl IntoIterator<Item = (Arc<str>, Value)>) -> Bound {
        let (columns, row): (Vec<Column>, Vec<Value>) = values
            .into_iter()
            .map(|(name, value)| {
                let type_name = Arc::from(Typed::plain(value.clone()).ty.name());
                (Column { name, type_name }, value)
            })
            .unzip();
        Bound::Rows(Arc::new(Table {
            columns,
            rows: vec![row],
            affected: 1,
            answer: true,
        }))
    }

    /// The fields of a request's body or headers; hyphens become underscores.
    pub(crate) fn fields(fields: &Fields) -> Bound {
        let named = |(name, value): (&Arc<str>, &Arc<str>)| {
            let name = name.replace('-', "_").to_ascii_lowercase();
            (Arc::from(name), Value::Text(value.clone()))
        };
        Bound::named(fields.iter().map(named))
    }

    /// A response: `status`, `body`, and the fields of a body that is an object.
    pub(crate) fn response(response: &Response) -> Bound {
        let mut values: Vec<(Arc<str>, Value)> = vec![
            ("status".into(), Value::Int(response.status.into())),
            ("body".into(), Value::Text(response.body.clone())),
        ];
        if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&response.body) {
            for (name, value) in fields {
                if name != "status" && name != "body" {
                    values.push((name.as_str().into(), from_json(&value)));
                }
            }
        }
        Bound::named(values)
    }

    fn table(&self) -> Option<(&Table, usize)> {
        match self {
            Bound::Scalar(_) => None,
            Bound::Rows(table) => Some((table, 0)),
            Bound::Row(table, row) => Some((table, *row as usize)),
        }
    }

    /// The value itself, or the first column of the (first) row.
    pub(crate) fn scalar(&self) -> Typed {
        match self.table() {
            None => match self {
                Bound::Scalar(typed) => typed.clone(),
                Bound::Rows(_) | Bound::Row(..) => Typed::NULL,
            },
            Some((table, row)) => table.cell(row, 0),
        }
    }

    /// A field: a column; else `count`, `rows`, `found`, `affected` of a result. `None` when there is no such field.
    pub(crate) fn field(&self, name: &str) -> Option<Typed> {
        let (table, row) = self.table()?;
        if let Some(column) = table.columns.iter().position(|column| &*column.name == name) {
            return Some(table.cell(row, column));
        }
        let count = match table.columns.is_empty() {
            true => table.affected as i64,
            false => table.rows.len() as i64,
        };
        Some(match name {
            "count" | "rows" => Typed::plain(Value::Int(count)),
            "affected" => Typed::plain(Value::Int(table.affected as i64)),
            "found" if table.answer => Typed::plain(Value::Bool(table.cell(row, 0).holds())),
            "found" => Typed::plain(Value::Bool(count > 0)),
            // The result has no rows whose shape could be known: as a missing row, NULL.
            _ if table.answer || table.columns.is_empty() => {
                return if table.answer { Some(Typed::NULL) } else { None };
            }
            _ => return None,
        })
    }

    /// A column of every row, as an array; the first column without a name.
    pub(crate) fn column(&self, name: Option<&str>) -> Option<Typed> {
        let (table, _) = self.table()?;
        let place = match name {
            Some(name) => table.columns.iter().position(|column| &*column.name == name)?,
            None => 0,
        };
        let ty = table
            .columns
            .get(place)
            .map_or(Type::Text, |column| named_type(&column.type_name));
        let values = table.rows.iter().map(|row| row.get(place).cloned().unwrap_or_default());
        Some(Typed {
            value: Value::Array(values.collect()),
            ty: Type::Array(Arc::new(ty)),
        })
    }

    /// How many rows there are to go through.
    pub(crate) fn len(&self) -> usize {
        self.table().map_or(0, |(table, _)| table.rows.len())
    }

    /// The names of the columns, for messages.
    pub(crate) fn columns(&self) -> Vec<&str> {
        let table = self.table().map(|(table, _)| table);
        table
            .iter()
            .flat_map(|table| table.columns.iter().map(|column| &*column.name))
            .collect()
    }
}

impl Table {
    fn cell(&self, row: usize, column: usize) -> Typed {
        let value = self
            .rows
            .get(row)
            .and_then(|row| row.get(column))
            .cloned()
            .unwrap_or_default();
        let ty = match self.columns.get(column) {
            Some(column) if !self.answer => named_type(&column.type_name),
            _ => Typed::plain(value.clone()).ty,
        };
        Typed { value, ty }
    }
}

fn named_type(name: &str) -> Type {
    // A type of the schema (an enum): its labels behave as literals do.
    Type::from_name(name).unwrap_or(Type::Unknown)
}

fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::text(number.to_string()),
        },
        serde_json::Value::String(text) => Value::text(text.as_str()),
        other => Value::text(other.to_string()),
    }
}

/// Named values as the text of a JSON object, in the order given.
pub(crate) fn to_json(values: &[(Arc<str>, Value)]) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let fields: Vec<String> = values
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Value::Null | Value::Json(Json::Null) => "null".to_owned(),
                Value::Bool(truth) => truth.to_string(),
                Value::Int(number) => number.to_string(),
                Value::Numeric(number) => number.to_string(),
                other => quoted(&other.to_string()),
            };
            format!("{}:{value}", quoted(name))
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}
