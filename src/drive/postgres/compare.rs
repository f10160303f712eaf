//! What the model said beside what the server said.

use std::sync::Arc;

use super::wire::{Answer, TextRows, WireError};
use crate::isolation::on_model::text;
use crate::machine::{Rows, SqlError};
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;

/// What counts as a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// Whether the texts of errors have to be the same; the model words them as PostgreSQL 15 does.
    pub messages: bool,
    /// How many of the model's rows follow one another that may change places, through the whole result: those with equal sort keys. Rows
    /// beyond the last of these numbers may change places as well.
    pub ties: Vec<usize>,
}

/// How the server's answer differs from the model's; `None` when they agree.
pub fn difference(model: &Result<Rows, SqlError>, server: &Answer, strict: &Strictness) -> Option<String> {
    let rows = server.results.last();
    match (model, &server.error) {
        (Ok(model), None) => match rows {
            Some(rows) => rows_differ(model, rows, strict),
            None => Some("the server returned nothing".to_owned()),
        },
        (Err(model), Some(server)) => errors_differ(model, server, strict),
        (Ok(model), Some(server)) => Some(format!("the model says {}; the server says {server}", tell(model))),
        (Err(model), None) => Some(format!("the model says {model}; the server says {}", tell_text(rows))),
    }
}

/// A result's rows as the server would print them.
pub fn cells(rows: &Rows) -> Vec<Vec<Option<Arc<str>>>> {
    let settings = Settings::default();
    let types: Vec<Type> = rows
        .columns
        .iter()
        .map(|column| Type::from_name(&column.type_name).unwrap_or(Type::Text))
        .collect();
    let row = |row: &Vec<_>| {
        row.iter()
            .zip(&types)
            .map(|(value, ty)| text(value, ty, &settings))
            .collect()
    };
    rows.rows.iter().map(row).collect()
}

fn rows_differ(model: &Rows, server: &TextRows, strict: &Strictness) -> Option<String> {
    let names: Vec<&str> = model.columns.iter().map(|column| &*column.name).collect();
    let theirs: Vec<&str> = server.columns.iter().flatten().map(|name| &**name).collect();
    let (mut ours, mut found) = (cells(model), server.rows.clone());
    sort_ties(&mut ours, &strict.ties);
    sort_ties(&mut found, &strict.ties);
    if names == theirs && ours == found && model.affected == server.affected {
        return None;
    }
    Some(format!(
        "the model says {}; the server says {}",
        tell(model),
        tell_text(Some(server))
    ))
}

/// Sorts the rows that may change places.
fn sort_ties(mut rows: &mut [Vec<Option<Arc<str>>>], ties: &[usize]) {
    for count in ties {
        let (tied, rest) = rows.split_at_mut((*count).min(rows.len()));
        tied.sort();
        rows = rest;
    }
    rows.sort();
}

fn errors_differ(model: &SqlError, server: &WireError, strict: &Strictness) -> Option<String> {
    let same_code = model.code.as_str() == &*server.code;
    let same_constraint = model.constraint.is_none() || model.constraint == server.constraint;
    let same_message = !strict.messages || model.message == server.message;
    if same_code && same_constraint && same_message {
        return None;
    }
    let named = |constraint: &Option<Arc<str>>| match constraint {
        Some(name) => format!(", constraint {name}"),
        None => String::new(),
    };
    let (ours, theirs) = (named(&model.constraint), named(&server.constraint));
    Some(format!(
        "the model says {model}{ours}; the server says {server}{theirs}"
    ))
}

fn tell(rows: &Rows) -> String {
    let names = rows.columns.iter().map(|column| column.name.clone()).collect();
    tell_text(Some(&TextRows {
        columns: (!rows.columns.is_empty()).then_some(names),
        rows: cells(rows),
        affected: rows.affected,
    }))
}

fn tell_text(rows: Option<&TextRows>) -> String {
    let Some(rows) = rows else {
        return "nothing".to_owned();
    };
    let count = rows.affected;
    let Some(columns) = &rows.columns else {
        return format!("no rows (count {count})");
    };
    let shown: Vec<String> = rows.rows.iter().map(|row| tell_row(row)).collect();
    format!("{} of ({}) (count {count})", shown.join(", "), columns.join(", "))
}

/// A row for a person to read.
pub fn tell_row(row: &[Option<Arc<str>>]) -> String {
    let cells: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap_or("null")).collect();
    format!("({})", cells.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Column, SqlState};
    use crate::value::Value;

    fn model(ids: &[i64], affected: u64) -> Result<Rows, SqlError> {
        Ok(Rows {
            columns: vec![Column {
                name: "id".into(),
                type_name: "bigint".into(),
            }],
            rows: ids.iter().map(|id| vec![Value::Int(*id)]).collect(),
            affected,
        })
    }

    fn server(name: &str, ids: &[i64], affected: u64) -> Answer {
        Answer {
            results: vec![TextRows {
                columns: Some(vec![name.into()]),
                rows: ids.iter().map(|id| vec![Some(id.to_string().into())]).collect(),
                affected,
            }],
            error: None,
        }
    }

    fn failed(code: &str, message: &str, constraint: Option<&str>) -> Answer {
        Answer {
            results: Vec::new(),
            error: Some(WireError {
                severity: "ERROR".into(),
                code: code.into(),
                message: message.into(),
                constraint: constraint.map(Into::into),
            }),
        }
    }

    fn differs(model: &Result<Rows, SqlError>, server: &Answer, ties: &[usize]) -> bool {
        let strict = Strictness {
            messages: true,
            ties: ties.to_vec(),
        };
        difference(model, server, &strict).is_some()
    }

    #[test]
    fn a_row_count_that_differs_is_told() {
        assert!(!differs(&model(&[], 1), &server("id", &[], 1), &[]));
        assert!(differs(&model(&[], 1), &server("id", &[], 2), &[]));
        let strict = Strictness {
            messages: true,
            ties: Vec::new(),
        };
        let told = difference(&model(&[], 1), &server("id", &[], 0), &strict);
        let wanted = "the model says  of (id) (count 1); the server says  of (id) (count 0)";
        assert_eq!(told.as_deref(), Some(wanted));
    }

    #[test]
    fn rows_names_and_the_number_of_rows_count() {
        assert!(!differs(&model(&[1, 2], 2), &server("id", &[1, 2], 2), &[1, 1]));
        assert!(differs(&model(&[1, 2], 2), &server("id", &[1, 3], 2), &[1, 1]));
        assert!(differs(&model(&[1, 2], 2), &server("id", &[1], 2), &[2]));
        assert!(differs(&model(&[1], 1), &server("key", &[1], 1), &[1]));
        assert!(
            differs(&model(&[1], 1), &Answer::default(), &[1]),
            "nothing is no answer"
        );
    }

    #[test]
    fn only_rows_with_equal_sort_keys_may_change_places() {
        let (model, swapped) = (model(&[1, 2, 3], 3), server("id", &[2, 1, 3], 3));
        assert!(!differs(&model, &swapped, &[3]));
        assert!(!differs(&model, &swapped, &[2, 1]));
        assert!(!differs(&model, &swapped, &[]));
        assert!(differs(&model, &swapped, &[1, 2]));
        assert!(differs(&model, &swapped, &[1, 1, 1]));
    }

    #[test]
    fn errors_are_told_apart_by_code_constraint_and_message() {
        let model = Err(SqlError::new(SqlState(*b"23505"), "twice").on("t_pkey"));
        assert!(!differs(&model, &failed("23505", "twice", Some("t_pkey")), &[]));
        assert!(differs(&model, &failed("23503", "twice", Some("t_pkey")), &[]));
        assert!(differs(&model, &failed("23505", "twice", Some("t_k")), &[]));
        assert!(differs(&model, &failed("23505", "other", Some("t_pkey")), &[]));
        assert!(differs(&model, &server("id", &[], 0), &[]), "an error is no result");
        assert!(differs(&self::model(&[], 0), &failed("23505", "twice", None), &[]));
    }
}
