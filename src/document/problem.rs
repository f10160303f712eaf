//! Problems with a file: what is wrong, where, what was expected, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// A place in a source: bytes from and to.
pub type Span = Range<usize>;

/// A file's text, with the name that messages give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The path as the user gave it.
    pub name: Arc<str>,
    /// The text.
    pub text: Arc<str>,
}

impl Source {
    /// A named text.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Source {
            name: name.into(),
            text: text.into(),
        }
    }

    /// The line, from 1, that a place is in.
    pub fn line(&self, place: usize) -> usize {
        let before = self.text.as_bytes().iter().take(place);
        before.filter(|byte| **byte == b'\n').count() + 1
    }
}

/// Whether a file can be used in spite of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It can't.
    Error,
    /// It can, but something in it is probably not meant so.
    Warning,
}

/// One problem, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it is an error.
    pub severity: Severity,
    /// What is wrong, in one lower-case sentence.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What to say right there: what was expected.
    pub label: String,
    /// What to write instead, or which words there are.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn new(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Error,
            message: message.into(),
            span,
            label: label.into(),
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Problem {
            severity: Severity::Warning,
            ..Problem::new(span, message, label)
        }
    }

    /// The problem, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A word that is not one of those that are known.
    pub fn unknown<'a>(span: Span, what: &str, word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Self {
        let near = super::nearest(word, known.clone());
        let label = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("not a known {what}"),
        };
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        let help = match known.as_slice() {
            [] => format!("there is no {what} to choose from"),
            known => format!("expected {}", super::or_list(known.iter().copied())),
        };
        Problem::new(span, format!("unknown {what} `{word}`"), label).help(help)
    }
}

/// All problems of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file.
    pub source: Source,
    /// What is wrong, in the order of the places.
    pub list: Vec<Problem>,
}

impl Problems {
    /// The problems of a file, put in order.
    pub fn new(source: Source, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| (problem.span.start, problem.span.end));
        list.dedup();
        Problems { source, list }
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// All problems as text: each with file, line, caret and advice; coloured if asked.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_context_lines(1)
            .without_syntax_highlighting()
            .with_urls(false);
        let mut text = String::new();
        for problem in &self.list {
            let shown = Shown {
                problem,
                source: NamedSource::new(&self.source.name, self.source.text.to_string()),
                length: self.source.text.len(),
            };
            if handler.render_report(&mut text, &shown).is_err() {
                text.push_str(&self.line(problem));
            }
            text.push('\n');
        }
        text
    }

    /// A problem in one line: `file:line: message (advice)`.
    pub fn line(&self, problem: &Problem) -> String {
        let line = self.source.line(problem.span.start);
        format!("{}:{line}: {}: {}", self.source.name, problem.message, problem.label)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.list.iter().enumerate() {
            let gap = if place == 0 { "" } else { "\n" };
            write!(f, "{gap}{}", self.line(problem))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A problem as miette wants it.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Problem,
    source: NamedSource<String>,
    length: usize,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        let help = self.problem.help.as_ref()?;
        Some(Box::new(help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let start = self.problem.span.start.min(self.length);
        let end = self.problem.span.end.clamp(start, self.length);
        let label = LabeledSpan::at(start..end, self.problem.label.clone());
        Some(Box::new(std::iter::once(label)))
    }
}
