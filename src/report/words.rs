//! Effects and replies in words, as short as a lane needs them.

use std::fmt::Write as _;

use crate::machine::service::Call;
use crate::machine::{Effect, NoAnswer, Reply, Request, Response, Rows, Sql, SqlError};
use crate::value::Value;

/// SQL longer than this is shortened in the middle: its head says what it does and its tail to which rows.
const LONGEST_SQL: usize = 150;
const LONGEST_VALUE: usize = 60;

/// Signatures are long, and their ends say nothing to a reader.
const LONGEST_HEADER: usize = 24;

/// An effect, as its process does it.
pub(crate) fn effect(effect: &Effect) -> String {
    match effect {
        Effect::Sql(sql) => statement(sql),
        Effect::Call(call) => service_call(call),
        Effect::Send(request) => sent(request),
        Effect::Respond(response) => format!("responds {}", answer(response)),
        Effect::Spawn { label, .. } => format!("starts {label}"),
        Effect::Sleep(Effect::IDLE) => "sleeps until nothing else can happen".to_owned(),
        Effect::Sleep(micros) => format!("sleeps {}", span(*micros)),
        Effect::Done => "ends".to_owned(),
    }
}

/// What a process got back for its effect, with an arrow; empty when there is nothing to tell, as after BEGIN.
pub(crate) fn outcome(effect: &Effect, back: &Reply) -> String {
    match (effect, back) {
        (Effect::Sql(sql), Reply::Sql(Ok(rows))) if rows.columns.is_empty() && !counts_rows(sql) => String::new(),
        _ => reply(back),
    }
}

/// What a process got back, with an arrow.
pub(crate) fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Start | Reply::Went => String::new(),
        Reply::Sql(Ok(rows)) => format!("→ {}", result(rows)),
        Reply::Sql(Err(error)) => format!("✗ {}", sql_error(error)),
        Reply::Service(Ok(answer)) => format!("← {}", cut(&answer.to_string(), LONGEST_VALUE * 2)),
        Reply::Service(Err(error)) => format!("✗ {}", no_answer(*error)),
        Reply::Response(Ok(response)) => format!("← {}", answer(response)),
        Reply::Response(Err(error)) => format!("✗ {}", no_answer(*error)),
    }
}

/// A response in short.
pub(crate) fn answer(response: &Response) -> String {
    cut(&response.to_string(), LONGEST_VALUE * 2)
}

/// A span of virtual time.
pub(crate) fn span(micros: i64) -> String {
    match micros {
        _ if micros % 1_000_000 == 0 => format!("{} s", micros / 1_000_000),
        _ if micros % 1_000 == 0 => format!("{} ms", micros / 1_000),
        _ => format!("{micros} us"),
    }
}

/// A text in at most so many characters, its end cut off.
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{}…", kept.trim_end())
        }
        None => text.to_owned(),
    }
}

/// A statement on one line, its values in their places.
pub(crate) fn statement(sql: &Sql) -> String {
    let text = sql.text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.trim_end_matches(';');
    let shown = squeeze(&with_values(text, &sql.params));
    match sql.session {
        0 => shown,
        other => format!("(connection {}) {shown}", u16::from(other) + 1),
    }
}

fn with_values(text: &str, params: &[Value]) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(place) = rest.find('$') {
        let digits = rest[place + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let number: Option<usize> = rest[place + 1..place + 1 + digits].parse().ok();
        shown.push_str(&rest[..place]);
        match number.and_then(|number| params.get(number.checked_sub(1)?)) {
            Some(value) => shown.push_str(&literal(value)),
            None => shown.push_str(&rest[place..place + 1 + digits]),
        }
        rest = &rest[place + 1 + digits..];
    }
    shown + rest
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(_) | Value::Numeric(_) => value.to_string(),
        other => format!("'{}'", cut(&other.to_string(), LONGEST_VALUE)),
    }
}

fn squeeze(text: &str) -> String {
    let count = text.chars().count();
    if count <= LONGEST_SQL {
        return text.to_owned();
    }
    let head: String = text.chars().take(LONGEST_SQL * 2 / 3).collect();
    let tail: String = text.chars().skip(count - LONGEST_SQL / 3).collect();
    format!("{} … {}", head.trim_end(), tail.trim_start())
}

/// Whether the server's command tag has a number of rows.
fn counts_rows(sql: &Sql) -> bool {
    let control = [
        "begin",
        "start",
        "commit",
        "end",
        "rollback",
        "abort",
        "savepoint",
        "release",
        "set",
        "lock",
        "create",
        "alter",
        "drop",
        "truncate",
        "reset",
        "discard",
        "listen",
        "notify",
    ];
    let word = sql.text.split_whitespace().next().unwrap_or_default();
    let word = word.trim_end_matches(';');
    !control.iter().any(|control| word.eq_ignore_ascii_case(control))
}

fn result(rows: &Rows) -> String {
    if rows.columns.is_empty() {
        return match rows.affected {
            1 => "1 row".to_owned(),
            count => format!("{count} rows"),
        };
    }
    let shown: Vec<String> = rows.rows.iter().take(3).map(|row| row_text(row)).collect();
    match rows.rows.len() {
        0 => "no row".to_owned(),
        count if count > 3 => format!("{}, … ({count} rows)", shown.join(", ")),
        _ => shown.join(", "),
    }
}

fn row_text(row: &[Value]) -> String {
    let values: Vec<String> = row.iter().map(|value| cut(&value.to_string(), LONGEST_VALUE)).collect();
    match values.as_slice() {
        [value] => value.clone(),
        values => format!("({})", values.join(", ")),
    }
}

fn sql_error(error: &SqlError) -> String {
    match &error.constraint {
        Some(constraint) => format!("{} {} ({constraint})", error.code, condition(error)),
        None => format!("{} {}", error.code, condition(error)),
    }
}

/// The condition's name where it says more than the message, else the message.
fn condition(error: &SqlError) -> String {
    let known = match error.code.as_str() {
        "23505" => "unique violation",
        "23503" => "foreign key violation",
        "23502" => "not null violation",
        "23514" => "check violation",
        "25P02" => "transaction is aborted",
        "40001" => "serialization failure",
        "40P01" => "deadlock detected",
        "55P03" => "lock not available",
        _ => return cut(&error.message, LONGEST_VALUE * 2),
    };
    known.to_owned()
}

pub(super) fn no_answer(error: NoAnswer) -> String {
    error.to_string()
}

fn service_call(call: &Call) -> String {
    let mut text = format!("{}.{}(", call.service, call.operation);
    for (place, (name, value)) in call.arguments.0.iter().enumerate() {
        let gap = if place == 0 { "" } else { ", " };
        let value = cut(&value.to_string(), LONGEST_VALUE);
        // Writing to a String can't fail.
        let _ = write!(text, "{gap}{name} {value}");
    }
    text + ")"
}

fn sent(request: &Request) -> String {
    let mut text = request.endpoint.to_string();
    for (name, value) in request.body.iter() {
        let _ = write!(text, " {name}={}", cut(value, LONGEST_VALUE));
    }
    for (name, value) in request.headers.iter() {
        let _ = write!(text, " [{name}: {}]", cut(value, LONGEST_HEADER));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::statement;
    use crate::machine::Sql;

    #[test]
    fn values_stand_in_their_places() {
        let sql = Sql::new("INSERT INTO t (a, b)\n  VALUES ($1, $2);")
            .bind("x")
            .bind(7i64);
        assert_eq!(statement(&sql), "INSERT INTO t (a, b) VALUES ('x', 7)");
        assert_eq!(statement(&Sql::new("SELECT $1, $$, $")), "SELECT $1, $$, $");
    }

    #[test]
    fn a_long_statement_keeps_its_head_and_its_tail() {
        let sql = Sql::new(format!("SELECT {} FROM t WHERE id = 7", "column, ".repeat(50)));
        let shown = statement(&sql);
        assert!(
            shown.starts_with("SELECT column, ") && shown.ends_with("WHERE id = 7"),
            "{shown}"
        );
        assert!(shown.chars().count() < 160);
    }
}
