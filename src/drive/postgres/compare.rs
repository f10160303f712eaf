//! What the model said beside what the server said.

use std::sync::Arc;

use super::wire::{Answer, TextRows, WireError};
use crate::isolation::on_model::text;
use crate::machine::{Rows, SqlError};
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;

/// What counts as a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strictness {
    /// Whether the texts of errors have to be the same; the model words them as PostgreSQL 15 does.
    pub messages: bool,
    /// Whether the order of rows counts.
    pub order: bool,
}

/// How the server's answer differs from the model's; `None` when they agree.
pub fn difference(model: &Result<Rows, SqlError>, server: &Answer, strict: Strictness) -> Option<String> {
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

fn rows_differ(model: &Rows, server: &TextRows, strict: Strictness) -> Option<String> {
    let names: Vec<&str> = model.columns.iter().map(|column| &*column.name).collect();
    let theirs: Vec<&str> = server.columns.iter().flatten().map(|name| &**name).collect();
    let (mut ours, mut found) = (cells(model), server.rows.clone());
    if !strict.order {
        ours.sort();
        found.sort();
    }
    if names == theirs && ours == found && model.affected == server.affected {
        return None;
    }
    Some(format!(
        "the model says {}; the server says {}",
        tell(model),
        tell_text(Some(server))
    ))
}

fn errors_differ(model: &SqlError, server: &WireError, strict: Strictness) -> Option<String> {
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
mod tests;
