//! Stories: sessions, their statements, and what the server says.
//!
//! A line `name: SQL` sends a message; the lines below it, up to the next message, are what happened: rows with `|` between their
//! values, `ERROR code message`, `waits`, `NOTICE text`; what happens to another session is prefixed with its name.

mod basics;
mod ddl;
mod foreign;
mod known;
mod locks;
mod plans;
mod points;
mod queries;
mod transactions;
mod upsert;

use std::fmt::Write;

use crate::machine::{Pid, Rows, Sql, Usual};
use crate::value::Value;

use crate::world::database::Release;

use super::facade::{Database, DbEvent, Severity};

/// Runs a story over a schema and compares what happens with what it says.
#[track_caller]
fn story(schema: &str, script: &str) {
    story_on(Release::default(), schema, script);
}

/// Runs a story on a release of the server.
#[track_caller]
fn story_on(release: Release, schema: &str, script: &str) {
    let mut database = Database::of(release);
    if let Err(error) = database.run_script(schema) {
        panic!("schema: {error}");
    }
    let mut told = String::new();
    let mut names: Vec<String> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let Some((name, sql)) = line
            .split_once(": ")
            .filter(|(name, _)| name.starts_with('s') && name.len() <= 2)
        else {
            continue;
        };
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
            names.sort();
        }
        let session = |name: &str| Pid::root(name.as_bytes()[1] - b'0');
        let _ = writeln!(told, "{name}: {sql}");
        let events = match sql.strip_prefix("(sleep until ") {
            Some(moment) => database.advance(moment.trim_end_matches(')').parse().unwrap_or(0), &mut Usual),
            None if sql == "(disconnects)" => database.disconnect(session(name), 0, &mut Usual),
            None => database.execute(session(name), &Sql::new(sql), 0, &mut Usual),
        };
        for event in events {
            let (who, text) = tell(&event);
            let who = who.map(|pid| format!("s{}", pid.top()));
            for line in text.lines() {
                match &who {
                    Some(who) if who != name => {
                        let _ = writeln!(told, "{who} {line}");
                    }
                    _ => {
                        let _ = writeln!(told, "{line}");
                    }
                }
            }
        }
    }
    let wanted: String = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .fold(String::new(), |text, line| text + line + "\n");
    assert!(
        told == wanted,
        "the story goes otherwise.\n--- told\n{told}--- wanted\n{wanted}"
    );
}

fn tell(event: &DbEvent) -> (Option<Pid>, String) {
    match event {
        DbEvent::Styled { session, .. } => (Some(*session), String::new()),
        DbEvent::Notice {
            session,
            severity,
            text,
        } => {
            let word = match severity {
                Severity::Notice => "NOTICE",
                Severity::Warning => "WARNING",
                Severity::Info => "INFO",
            };
            (Some(*session), format!("{word} {text}"))
        }
        DbEvent::Blocked { session, .. } => (Some(*session), "waits".to_owned()),
        DbEvent::Stopped { session, .. } => (Some(*session), "stops".to_owned()),
        DbEvent::Woken { session } => (Some(*session), String::new()),
        DbEvent::Refused { session, refused } => (Some(*session), format!("REFUSED {refused}")),
        DbEvent::Done { session, result } => {
            let mut text = String::new();
            let results = match result {
                Ok(results) => results,
                Err(failure) => &failure.results,
            };
            for rows in results {
                show(rows, &mut text);
            }
            if let Err(failure) = result {
                let _ = writeln!(text, "ERROR {} {}", failure.error.code, failure.error.message);
            }
            if text.is_empty() {
                text = "done".to_owned();
            }
            (Some(*session), text)
        }
    }
}

fn show(rows: &Rows, text: &mut String) {
    for row in &rows.rows {
        let values: Vec<String> = row.iter().map(plain).collect();
        let _ = writeln!(text, "{}", values.join("|"));
    }
    if rows.rows.is_empty() && (rows.affected > 0 || !rows.columns.is_empty()) {
        let _ = writeln!(text, "({})", rows.affected);
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Bool(true) => "t".to_owned(),
        Value::Bool(false) => "f".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Numeric(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
