//! Taking the keys of a table, and noticing those that nobody takes.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use super::node::{Content, Node, Table};
use super::problem::{Problem, Problems, Source, Span};

/// Where problems are collected while a file is read.
#[derive(Debug)]
pub struct Sink {
    source: Source,
    problems: RefCell<Vec<Problem>>,
}

impl Sink {
    /// An empty one for a file.
    pub fn new(source: Source) -> Self {
        Sink {
            source,
            problems: RefCell::default(),
        }
    }

    /// The file that is read.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Notes a problem.
    pub fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    /// Whether an error was noted.
    pub fn has_errors(&self) -> bool {
        let problems = self.problems.borrow();
        problems
            .iter()
            .any(|problem| problem.severity == super::Severity::Error)
    }

    /// What was noted.
    pub fn into_problems(self) -> Problems {
        Problems::new(self.source, self.problems.into_inner())
    }
}

/// The keys of a table, to be taken by name. [`Fields::finish`] reports what was not taken.
#[derive(Debug)]
pub struct Fields<'a> {
    table: &'a Table,
    place: Span,
    what: String,
    asked: Vec<String>,
    sink: &'a Sink,
}

impl<'a> Fields<'a> {
    /// The keys of `table`, which messages call `what` (`` `[faults]` ``); `place` is for what is missing.
    pub fn new(table: &'a Table, place: Span, what: impl Into<String>, sink: &'a Sink) -> Self {
        Fields {
            table,
            place,
            what: what.into(),
            asked: Vec::new(),
            sink,
        }
    }

    /// Where problems go.
    pub fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// Where the table stands.
    pub fn span(&self) -> Span {
        self.place.clone()
    }

    /// The table itself.
    pub fn table(&self) -> &'a Table {
        self.table
    }

    /// A key's value of any kind.
    pub fn node(&mut self, key: &str) -> Option<&'a Node> {
        self.asked.push(key.to_owned());
        self.table.get(key)
    }

    /// Reports that a key is missing.
    pub fn missing(&self, key: &str, expected: &str) {
        let problem = Problem::new(
            self.place.clone(),
            format!("{} has no `{key}`", self.what),
            format!("expected `{key} = {expected}`"),
        );
        self.sink.push(problem);
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Option<(&'a str, Span)> {
        let node = self.node(key)?;
        self.as_text(key, node)
    }

    /// A text that must be there.
    pub fn required_text(&mut self, key: &str) -> Option<(&'a str, Span)> {
        if self.table.get(key).is_none() {
            self.missing(key, "\"...\"");
        }
        self.text(key)
    }

    /// An integer within bounds.
    pub fn int(&mut self, key: &str, bounds: RangeInclusive<i64>) -> Option<i64> {
        let node = self.node(key)?;
        let expected = format!("an integer from {} to {}", bounds.start(), bounds.end());
        match node.content {
            Content::Int(number) if bounds.contains(&number) => Some(number),
            _ => {
                self.wrong(key, node, &expected);
                None
            }
        }
    }

    /// A boolean.
    pub fn truth(&mut self, key: &str) -> Option<bool> {
        let node = self.node(key)?;
        match node.content {
            Content::Bool(truth) => Some(truth),
            _ => {
                self.wrong(key, node, "`true` or `false`");
                None
            }
        }
    }

    /// One of the known words.
    pub fn word(&mut self, key: &str, what: &str, known: &[&'static str]) -> Option<&'static str> {
        let (word, span) = self.text(key)?;
        let found = known.iter().find(|candidate| **candidate == word);
        if found.is_none() {
            let problem = Problem::unknown(span, what, word, known.iter().copied());
            self.sink.push(problem);
        }
        found.copied()
    }

    /// A list of texts with their places; `None` when the key is not there.
    pub fn texts(&mut self, key: &str) -> Option<Vec<(&'a str, Span)>> {
        let node = self.node(key)?;
        let Some(items) = node.array() else {
            self.wrong(key, node, "a list of strings");
            return None;
        };
        let texts = items.iter().filter_map(|item| self.as_text(key, item));
        Some(texts.collect())
    }

    /// A table inside.
    pub fn fields(&mut self, key: &str) -> Option<Fields<'a>> {
        self.asked.push(key.to_owned());
        let (place, node) = self.table.entry(key)?;
        match &node.content {
            Content::Table(table) => Some(Fields::new(table, place.span.clone(), format!("`[{key}]`"), self.sink)),
            _ => {
                self.wrong(key, node, &format!("a table `[{key}]`"));
                None
            }
        }
    }

    /// A list of tables: `[[key]]`. Empty when there is none.
    pub fn list(&mut self, key: &str) -> Vec<Fields<'a>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let Some(items) = node.array() else {
            self.wrong(key, node, &format!("a list of tables, each under `[[{key}]]`"));
            return Vec::new();
        };
        let tables = items.iter().filter_map(|item| match &item.content {
            Content::Table(table) => Some(Fields::new(table, item.span.clone(), format!("`[[{key}]]`"), self.sink)),
            _ => {
                self.wrong(key, item, &format!("a table under `[[{key}]]`"));
                None
            }
        });
        tables.collect()
    }

    /// Reports a value that is not what was expected.
    pub fn wrong(&self, key: &str, node: &Node, expected: &str) {
        let found = match &node.content {
            Content::Int(number) => number.to_string(),
            _ => node.kind().to_owned(),
        };
        let problem = Problem::new(
            node.span.clone(),
            format!("`{key}` is {found}"),
            format!("expected {expected}"),
        );
        self.sink.push(problem);
    }

    /// Reports every key that was not asked for.
    pub fn finish(self) {
        for (key, place, _) in self.table.iter() {
            if !self.asked.iter().any(|asked| asked == key) {
                let known: Vec<&str> = self.asked.iter().map(String::as_str).collect();
                let what = format!("key in {}", self.what);
                let problem = Problem::unknown(place.span.clone(), &what, key, known);
                self.sink.push(problem);
            }
        }
    }

    fn as_text(&self, key: &str, node: &'a Node) -> Option<(&'a str, Span)> {
        match &node.content {
            Content::Text(text) => Some((text, node.span.clone())),
            _ => {
                self.wrong(key, node, "a string");
                None
            }
        }
    }
}
