//! Every statement of every step, prepared against the schema at that point as the server would.
//!
//! Which schema that is can depend on the schedule where steps change it. So a statement is only wrong when it is so in every schema that steps make of the one at the start: that one,
//! each that a process has made after one of its own statements, and the one after all of them; and when the name that is meant stands in none of those
//! statements. A statement whose error something around it catches by name, or that `[expect] errors` names, is meant to fail.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::place::Place;
use super::process::Processes;
use crate::machine::SqlError;
use crate::script::Source;
use crate::script::compile::Statement;
use crate::script::error::{Problem, Severity};
use crate::script::words;
use crate::world::database::sql::func::function_names;
use crate::world::database::sql::parse;
use crate::world::database::{Database, QueryError};

/// Tells what the server would refuse to prepare, and what the model does not know.
pub(super) fn statements(
    source: &Source<'_>,
    processes: &Processes<'_>,
    database: &Database,
    problems: &mut Vec<Problem>,
) {
    let schemas = Schemas::of(processes, database);
    for (place, statement) in processes.statements() {
        match schemas.prepare(&statement.text) {
            Ok(()) => {
                if let Some(assumption) = database.hangs_on_plan(&statement.text) {
                    problems.push(Problem::warning(
                        format!("what this does depends on the server's plan: the model {assumption}; `= (SELECT ... LIMIT 1 ...)` or a CTE runs once whatever the plan"),
                        place.map(statement.span.clone()),
                    ));
                }
            }
            Err(QueryError::Refused(refused)) => {
                let span = span_of(statement, refused.line, refused.column);
                let problem = Problem::new(format!("{} is not supported", refused.construct), place.map(span));
                problems.push(match unknown_function(&refused.construct) {
                    Some(name) => problem.nearest(name, function_names()),
                    None => problem,
                });
            }
            Err(QueryError::Sql(error)) => {
                if let Some(severity) = schemas.judge(source, statement, &error) {
                    let mut problem = problem(&schemas, place, statement, &error);
                    problem.severity = severity;
                    problems.push(problem);
                }
            }
        }
    }
}

/// The schemas that a statement may meet.
struct Schemas {
    all: Vec<Database>,
    /// The words of the statements that change it.
    changed: BTreeSet<String>,
}

impl Schemas {
    fn of(processes: &Processes<'_>, database: &Database) -> Schemas {
        let mut all = vec![database.clone()];
        let mut changed = BTreeSet::new();
        let mut last = database.clone();
        for statements in processes.statements_by_process() {
            let mut own = database.clone();
            for statement in statements.filter(|statement| changes_the_schema(&statement.text)) {
                changed.extend(words_of(&statement.text).map(|(_, word)| word.to_ascii_lowercase()));
                // What fails here is told where the statement itself is prepared.
                if own.run_script(&statement.text).is_ok() && all.len() < MOST_SCHEMAS {
                    all.push(own.clone());
                }
                let _ = last.run_script(&statement.text);
            }
        }
        if all.len() > 1 {
            all.push(last);
        }
        Schemas { all, changed }
    }

    /// Prepares the text in each schema. An error is the one of the first.
    fn prepare(&self, text: &str) -> Result<(), QueryError> {
        let mut first = Ok(());
        for schema in &self.all {
            match schema.prepare(text) {
                Ok(()) => return Ok(()),
                // What the model does not know it does not know in any schema.
                Err(error) if first.is_ok() => first = Err(error),
                Err(_) => {}
            }
        }
        first
    }

    /// How serious an error is; `None` where it is meant, or may not come.
    fn judge(&self, source: &Source<'_>, statement: &Statement, error: &SqlError) -> Option<Severity> {
        let code = error.code.as_str();
        // The values of the script bring types that are not known here.
        if statement.is_cast && !matches!(code, "42703" | "42P01") {
            return None;
        }
        if self.all.len() > 1
            && culprit(&error.message).is_some_and(|name| self.changed.contains(&name.to_ascii_lowercase()))
        {
            return None;
        }
        let is_named = |names: &[String]| {
            let name = words::sqlstate_name(code);
            names.iter().any(|known| known == code || Some(known.as_str()) == name)
        };
        if is_named(&source.expect.errors) || is_named(&statement.caught) {
            return None;
        }
        let is_general = |name: &String| name == "*" || name == "sql_error";
        match statement.caught.iter().any(is_general) {
            true => Some(Severity::Warning),
            false => Some(Severity::Error),
        }
    }

    /// Tables with their columns, of all schemas.
    fn relations(&self) -> Vec<(Arc<str>, Vec<Arc<str>>)> {
        self.all.iter().flat_map(Database::relations).collect()
    }
}

/// Beyond this many schemas a statement is only tried in the first ones and the last.
const MOST_SCHEMAS: usize = 64;

fn problem(schemas: &Schemas, place: &Place<'_>, statement: &Statement, error: &SqlError) -> Problem {
    let name = culprit(&error.message);
    let found = name.as_deref().and_then(|name| find(&statement.text, name));
    let span = match found {
        Some((start, end)) => {
            let (from, to) = (origin(statement, start), origin(statement, end.saturating_sub(1)));
            from..(to + 1).clamp(from + 1, statement.span.end.max(from + 1))
        }
        None => statement.span.clone(),
    };
    let code = error.code.as_str();
    let problem = Problem::new(format!("{} ({code})", error.message), place.map(span));
    let Some(name) = name else {
        return problem;
    };
    let relations = schemas.relations();
    match code {
        "42P01" => problem.nearest(&name, relations.iter().map(|(name, _)| &**name)),
        "42703" => {
            let used: BTreeSet<String> = words_of(&statement.text)
                .map(|(_, word)| word.to_ascii_lowercase())
                .collect();
            let named = relations.iter().filter(|(table, _)| used.contains(&**table));
            let columns: Vec<&str> = named
                .flat_map(|(_, columns)| columns.iter().map(|name| &**name))
                .collect();
            problem.nearest(&name, columns)
        }
        "42883" => problem.nearest(&name, function_names()),
        _ => problem,
    }
}

/// The name of a function that is none, of what was refused.
pub(in crate::script) fn unknown_function(construct: &str) -> Option<&str> {
    let name = construct.strip_prefix("function ")?.split('(').next()?;
    (!function_names().any(|known| known == name)).then_some(name)
}

/// The name that a message of the server is about.
fn culprit(message: &str) -> Option<String> {
    if let Some(quoted) = message.split('"').nth(1) {
        return Some(quoted.to_owned());
    }
    let rest = message
        .strip_prefix("column ")
        .or_else(|| message.strip_prefix("function "))?;
    let name = rest.split([' ', '(']).next()?;
    Some(name.rsplit('.').next().unwrap_or(name).to_owned())
}

/// Where a name stands in a statement, outside of strings.
fn find(text: &str, name: &str) -> Option<(usize, usize)> {
    let mut all = words_of(text).filter(|(_, word)| word.eq_ignore_ascii_case(name));
    let (start, word) = all.next()?;
    Some((start, start + word.len()))
}

/// The words of a statement with their places, those in strings and parameters left out.
fn words_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut words = Vec::new();
    let mut letters = text.char_indices().peekable();
    let mut in_string = false;
    while let Some((start, letter)) = letters.next() {
        if letter == '\'' {
            in_string = !in_string;
        }
        if in_string || !is_part(letter) {
            continue;
        }
        let mut end = start + letter.len_utf8();
        while let Some((at, next)) = letters.next_if(|(_, next)| is_part(*next)) {
            end = at + next.len_utf8();
        }
        if !text[..start].ends_with('$') {
            words.push((start, &text[start..end]));
        }
    }
    words.into_iter()
}

/// Whether a statement is DDL, or hides what it does.
fn changes_the_schema(text: &str) -> bool {
    let first = words_of(text).next().map(|(_, word)| word.to_ascii_lowercase());
    let is_ddl = matches!(
        first.as_deref(),
        Some("create" | "alter" | "drop" | "do" | "comment" | "execute" | "set")
    );
    is_ddl || parse::parse(text).is_ok_and(|statements| statements.len() > 1)
}

/// The place in the steps of an offset of the statement's text.
fn origin(statement: &Statement, offset: usize) -> usize {
    let origin = statement.origins.iter().rev().find(|(at, _)| *at <= offset);
    origin.map_or(statement.span.start, |(at, from)| {
        (from + (offset - at)).min(statement.span.end.saturating_sub(1))
    })
}

/// The place in the steps of a line and column of the statement's text, to the end of the statement.
fn span_of(statement: &Statement, line: u32, column: u32) -> Range<usize> {
    if line == 0 {
        return statement.span.clone();
    }
    let lines = statement.text.lines().take(line.saturating_sub(1) as usize);
    let offset = lines.map(|line| line.len() + 1).sum::<usize>() + column.saturating_sub(1) as usize;
    origin(statement, offset)..statement.span.end
}
