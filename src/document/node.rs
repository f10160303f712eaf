//! TOML as a tree that knows its places.

use indexmap::IndexMap;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, Problems, Source, Span};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where.
    pub span: Span,
    /// What.
    pub content: Content,
}

/// A TOML value.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A string.
    Text(String),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A date or time, as written.
    Date(String),
    /// An array.
    Array(Vec<Node>),
    /// A table.
    Table(Table),
}

/// A table: keys in the order of the file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Table(IndexMap<String, (Key, Node)>);

/// Where a key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The place of the key itself.
    pub span: Span,
}

impl Node {
    /// The kind of value, in words, with an article.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Text(_) => "a string",
            Content::Int(_) => "an integer",
            Content::Float(_) => "a float",
            Content::Bool(_) => "a boolean",
            Content::Date(_) => "a date",
            Content::Array(_) => "an array",
            Content::Table(_) => "a table",
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The table, if it is one.
    pub fn table(&self) -> Option<&Table> {
        match &self.content {
            Content::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The array, if it is one.
    pub fn array(&self) -> Option<&[Node]> {
        match &self.content {
            Content::Array(nodes) => Some(nodes),
            _ => None,
        }
    }

    /// The place of a line and column (both from 1, columns in characters) of a text, in the file that the text stands in.
    ///
    /// Exact for texts without escapes, which is how SQL is written (`'''` or `"""`). With escapes it may be off by their length.
    pub fn place(&self, source: &Source, line: usize, column: usize) -> Span {
        let raw = source.text.get(self.span.clone()).unwrap_or_default();
        let opening = ["\"\"\"\r\n", "\"\"\"\n", "'''\r\n", "'''\n", "\"\"\"", "'''", "\"", "'"];
        let skipped = opening
            .iter()
            .find(|opening| raw.starts_with(**opening))
            .map_or(0, |opening| opening.len());
        let mut start = skipped;
        for _ in 1..line.max(1) {
            match raw[start..].find('\n') {
                Some(end) => start += end + 1,
                None => break,
            }
        }
        let text = raw[start..].split(['\n', '\r']).next().unwrap_or_default();
        let before: usize = text.chars().take(column.max(1) - 1).map(char::len_utf8).sum();
        let is_word = |letter: &char| letter.is_alphanumeric() || *letter == '_';
        let word: usize = text[before..].chars().take_while(is_word).map(char::len_utf8).sum();
        let first = self.span.start + start + before;
        let rest = raw.len().saturating_sub(start + before);
        first..first + word.max(1).min(rest)
    }
}

impl Table {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|(_, node)| node)
    }

    /// A key's own place and its value.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        self.0.get(key).map(|(place, node)| (place, node))
    }

    /// Every key with its place and value, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Key, &Node)> {
        self.0.iter().map(|(key, (place, node))| (key.as_str(), place, node))
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.0.shift_remove(key).map(|(_, node)| node)
    }

    /// Lays another table over this one: its tables are merged into those of the same key, all else replaces.
    pub fn overlay(&mut self, other: &Table) {
        for (key, (place, node)) in &other.0 {
            let below = self.0.get_mut(key).map(|(_, below)| &mut below.content);
            match (below, &node.content) {
                (Some(Content::Table(below)), Content::Table(above)) => below.overlay(above),
                _ => {
                    self.0.insert(key.clone(), (place.clone(), node.clone()));
                }
            }
        }
    }

    /// The value at a path of keys, list places as numbers from 0; the nearest one above it when the path does not exist.
    pub fn span_at(&self, path: &[String]) -> Option<Span> {
        let (first, rest) = path.split_first()?;
        let (key, node) = self.entry(first)?;
        let inner = descend(node, rest);
        Some(inner.unwrap_or_else(|| key.span.clone()))
    }
}

fn descend(node: &Node, path: &[String]) -> Option<Span> {
    let Some((first, rest)) = path.split_first() else {
        return Some(match &node.content {
            Content::Table(_) => return None,
            _ => node.span.clone(),
        });
    };
    match &node.content {
        Content::Table(table) => table.span_at(path),
        Content::Array(nodes) => {
            let node = nodes.get(first.parse::<usize>().ok()?)?;
            Some(descend(node, rest).unwrap_or_else(|| node.span.clone()))
        }
        _ => Some(node.span.clone()),
    }
}

/// Reads TOML. Everything that is not TOML is reported with its place.
pub fn parse(source: &Source) -> Result<Table, Problems> {
    let (tree, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        let problems = errors.iter().take(3).map(|error| {
            let end = source.text.len();
            let span = error.span().unwrap_or(end..end);
            Problem::new(span, format!("not valid TOML: {}", error.message()), "here")
        });
        return Err(Problems::new(source.clone(), problems.collect()));
    }
    let mut problems = Vec::new();
    let table = table(tree.get_ref(), &mut problems);
    match problems.is_empty() {
        true => Ok(table),
        false => Err(Problems::new(source.clone(), problems)),
    }
}

fn table(tree: &DeTable<'_>, problems: &mut Vec<Problem>) -> Table {
    let mut entries = IndexMap::new();
    for (key, value) in tree.iter() {
        let node = Node {
            span: value.span(),
            content: content(value.get_ref(), &value.span(), problems),
        };
        let key_span = Key { span: key.span() };
        entries.insert(key.get_ref().to_string(), (key_span, node));
    }
    Table(entries)
}

fn content(value: &DeValue<'_>, span: &Span, problems: &mut Vec<Problem>) -> Content {
    match value {
        DeValue::String(text) => Content::Text(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            Content::Int(parsed.unwrap_or_else(|_| {
                problems.push(Problem::new(
                    span.clone(),
                    "the integer is too large",
                    "expected at most 64 bits",
                ));
                0
            }))
        }
        DeValue::Float(number) => Content::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => Content::Bool(*truth),
        DeValue::Datetime(date) => Content::Date(date.to_string()),
        DeValue::Array(items) => Content::Array(
            items
                .iter()
                .map(|item| Node {
                    span: item.span(),
                    content: content(item.get_ref(), &item.span(), problems),
                })
                .collect(),
        ),
        DeValue::Table(inner) => Content::Table(table(inner, problems)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Source, parse};

    fn source(text: &str) -> Source {
        Source::new("test.toml", text)
    }

    #[test]
    fn a_place_inside_a_multi_line_text_is_a_place_in_the_file() {
        let source = source("schema = '''\nselect 1;\n  selekt 2;\n'''\n");
        let table = parse(&source).expect("TOML");
        let node = table.get("schema").expect("key");
        let span = node.place(&source, 2, 3);
        assert_eq!(&source.text[span], "selekt");
        assert!(node.place(&source, 99, 99).end <= source.text.len());
    }

    #[test]
    fn an_overlay_merges_tables_and_replaces_the_rest() {
        let mut below = parse(&source("a = 1\n[t]\nx = 1\ny = [1]\n")).expect("TOML");
        let above = parse(&source("[t]\ny = [2]\nz = 3\n")).expect("TOML");
        below.overlay(&above);
        let expected = parse(&source("a = 1\n[t]\nx = 1\ny = [2]\nz = 3\n")).expect("TOML");
        let plain = |table: &super::Table| format!("{:?}", strip(table));
        assert_eq!(plain(&below), plain(&expected));
    }

    fn strip(table: &super::Table) -> Vec<(String, String)> {
        let nodes = table.iter().map(|(key, _, node)| {
            let shown = match &node.content {
                super::Content::Table(inner) => format!("{:?}", strip(inner)),
                super::Content::Array(items) => {
                    format!("{:?}", items.iter().map(|item| &item.content).collect::<Vec<_>>())
                }
                content => format!("{content:?}"),
            };
            (key.to_owned(), shown)
        });
        nodes.collect()
    }

    #[test]
    fn what_is_not_toml_is_reported_with_its_line() {
        let problems = parse(&source("a = 1\nb = = 2\n")).expect_err("not TOML");
        assert!(
            problems.to_string().starts_with("test.toml:2: not valid TOML"),
            "{problems}"
        );
    }
}
