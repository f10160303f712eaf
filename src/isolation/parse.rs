//! The grammar of a spec file.

use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, NamedSource, SourceSpan};

use super::scan::{Keyword, Kind, ScanError, Token, scan};
use super::spec::{Block, Entry, Marker, Permutation, Session, Spec, Step, StepRef};

/// A spec file that cannot be read, with the place.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("{problem}")]
#[diagnostic(code(deadheat::isolation::spec))]
pub struct SpecError {
    /// What is wrong.
    pub problem: Problem,
    /// The line, from 1.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    #[source_code]
    file: NamedSource<Arc<str>>,
    #[label("here")]
    span: SourceSpan,
}

/// What is wrong with a spec file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not a word of the language.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Another word was expected.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What could stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// Two steps of that name.
    #[error("duplicate step name: {0}")]
    DuplicateStep(String),
    /// No step of that name.
    #[error("undefined step \"{0}\" specified in permutation")]
    UndefinedStep(String),
    /// A marker names a step that the permutation does not have.
    #[error("marker names step \"{0}\", which is not in this permutation")]
    StrangerInMarker(String),
    /// A marker names a step of the marked step's own session.
    #[error("marker names step \"{0}\" of the same session")]
    OwnSessionInMarker(String),
}

impl SpecError {
    /// Where it is in the file, in bytes.
    pub fn span(&self) -> Range<usize> {
        let start = self.span.offset();
        start..start + self.span.len()
    }
}

impl Spec {
    /// Reads a file; `name` is how messages call it.
    ///
    /// # Errors
    /// The first thing that is wrong with it, with its line and column.
    pub fn parse(name: &str, text: &str) -> Result<Spec, Box<SpecError>> {
        let located = |(problem, span): (Problem, Range<usize>)| {
            let before = &text[..span.start];
            Box::new(SpecError {
                problem,
                line: before.matches('\n').count() + 1,
                column: before.chars().rev().take_while(|character| *character != '\n').count() + 1,
                file: NamedSource::new(name, Arc::from(text)),
                span: span.into(),
            })
        };
        let tokens = scan(text).map_err(|(error, span)| located((Problem::Scan(error), span)))?;
        Parser { tokens, at: 0 }.spec().map_err(located)
    }
}

type Fault = (Problem, Range<usize>);

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

/// An entry whose names are not yet looked up.
struct Written {
    name: String,
    span: Range<usize>,
    markers: Vec<WrittenMarker>,
}

struct WrittenMarker {
    name: Option<String>,
    notices: Option<u64>,
    span: Range<usize>,
}

impl Parser {
    fn spec(mut self) -> Result<Spec, Fault> {
        let mut setups = Vec::new();
        while self.take(Keyword::Setup) {
            setups.push(self.sql()?);
        }
        let teardown = self.optional(Keyword::Teardown)?;
        let mut sessions = Vec::new();
        let mut names = Vec::new();
        while self.take(Keyword::Session) {
            sessions.push(self.session(&mut names)?);
        }
        if sessions.is_empty() {
            return Err(self.expected("`session`, or `setup` or `teardown` in front of the sessions"));
        }
        let mut spec = Spec {
            setups,
            teardown,
            sessions,
            written: Vec::new(),
        };
        while self.take(Keyword::Permutation) {
            let entries = self.entries()?;
            spec.written.push(resolve(&spec, &entries)?);
        }
        match self.peek() {
            Kind::End => Ok(spec),
            _ if spec.written.is_empty() => Err(self.expected("`step`, `teardown`, `session` or `permutation`")),
            _ => Err(self.expected("a step's name or `permutation`")),
        }
    }

    fn session(&mut self, names: &mut Vec<String>) -> Result<Session, Fault> {
        let name = self.name("the session's name")?.0.into();
        let setup = self.optional(Keyword::Setup)?;
        let mut steps = Vec::new();
        while self.take(Keyword::Step) {
            let (name, span) = self.name("the step's name")?;
            if names.contains(&name) {
                return Err((Problem::DuplicateStep(name), span));
            }
            names.push(name.clone());
            steps.push(Step {
                name: name.into(),
                sql: self.sql()?,
            });
        }
        if steps.is_empty() {
            return Err(self.expected("`step`"));
        }
        Ok(Session {
            name,
            setup,
            steps,
            teardown: self.optional(Keyword::Teardown)?,
        })
    }

    fn entries(&mut self) -> Result<Vec<Written>, Fault> {
        let mut entries = Vec::new();
        while let Kind::Name(_) = self.peek() {
            let (name, span) = self.name("a step's name")?;
            let mut markers = Vec::new();
            if *self.peek() == Kind::Open {
                self.at += 1;
                markers.push(self.marker()?);
                while *self.peek() == Kind::Comma {
                    self.at += 1;
                    markers.push(self.marker()?);
                }
                if *self.peek() != Kind::Close {
                    return Err(self.expected("`,` or `)`"));
                }
                self.at += 1;
            }
            entries.push(Written { name, span, markers });
        }
        if entries.is_empty() {
            return Err(self.expected("a step's name"));
        }
        Ok(entries)
    }

    fn marker(&mut self) -> Result<WrittenMarker, Fault> {
        let span = self.tokens[self.at].span.clone();
        if *self.peek() == Kind::Star {
            self.at += 1;
            return Ok(WrittenMarker {
                name: None,
                notices: None,
                span,
            });
        }
        let name = Some(self.name("`*` or a step's name")?.0);
        let mut notices = None;
        if self.take(Keyword::Notices) {
            match *self.peek() {
                Kind::Number(number) => notices = Some(number),
                _ => return Err(self.expected("a number of notices")),
            }
            self.at += 1;
        }
        Ok(WrittenMarker { name, notices, span })
    }

    fn peek(&self) -> &Kind {
        &self.tokens[self.at].kind
    }

    fn take(&mut self, keyword: Keyword) -> bool {
        let found = *self.peek() == Kind::Keyword(keyword);
        self.at += usize::from(found);
        found
    }

    fn optional(&mut self, keyword: Keyword) -> Result<Option<Block>, Fault> {
        if self.take(keyword) {
            self.sql().map(Some)
        } else {
            Ok(None)
        }
    }

    fn name(&mut self, expected: &'static str) -> Result<(String, Range<usize>), Fault> {
        match &self.tokens[self.at] {
            Token {
                kind: Kind::Name(name),
                span,
            } => {
                let found = (name.clone(), span.clone());
                self.at += 1;
                Ok(found)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn sql(&mut self) -> Result<Block, Fault> {
        match self.peek() {
            Kind::Sql(block) => {
                let block = block.clone();
                self.at += 1;
                Ok(block)
            }
            _ => Err(self.expected("SQL in braces")),
        }
    }

    fn expected(&self, expected: &'static str) -> Fault {
        let token = &self.tokens[self.at];
        let found = match &token.kind {
            Kind::Keyword(keyword) => format!("the keyword `{}`", format!("{keyword:?}").to_lowercase()),
            Kind::Name(name) => format!("\"{name}\""),
            Kind::Number(number) => number.to_string(),
            Kind::Sql(_) => "SQL in braces".to_owned(),
            Kind::Open => "`(`".to_owned(),
            Kind::Close => "`)`".to_owned(),
            Kind::Comma => "`,`".to_owned(),
            Kind::Star => "`*`".to_owned(),
            Kind::End => "the end of the file".to_owned(),
        };
        (Problem::Expected { expected, found }, token.span.clone())
    }
}

fn resolve(spec: &Spec, written: &[Written]) -> Result<Permutation, Fault> {
    let steps: Vec<StepRef> = written
        .iter()
        .map(|entry| {
            let missing = || (Problem::UndefinedStep(entry.name.clone()), entry.span.clone());
            spec.find(&entry.name).ok_or_else(missing)
        })
        .collect::<Result<_, _>>()?;
    let mut entries = Vec::new();
    for (entry, step) in written.iter().zip(&steps) {
        let mut markers = Vec::new();
        for marker in &entry.markers {
            let Some(name) = &marker.name else {
                markers.push(Marker::Once);
                continue;
            };
            let fault = |problem: fn(String) -> Problem| (problem(name.clone()), marker.span.clone());
            let other = spec.find(name).ok_or_else(|| fault(Problem::UndefinedStep))?;
            if !steps.contains(&other) {
                return Err(fault(Problem::StrangerInMarker));
            }
            if other.session == step.session {
                return Err(fault(Problem::OwnSessionInMarker));
            }
            markers.push(match marker.notices {
                None => Marker::While(other),
                Some(number) => Marker::Notices(other, number),
            });
        }
        entries.push(Entry { step: *step, markers });
    }
    Ok(Permutation { entries })
}

#[cfg(test)]
mod tests {
    use super::Spec;
    use crate::isolation::Marker;

    fn complaint(text: &str) -> String {
        let error = Spec::parse("x.spec", text).expect_err("wrong on purpose");
        format!("{}:{}: {error}", error.line, error.column)
    }

    #[test]
    fn names_blocks_and_markers_are_read() {
        let text = "# c {}\nsetup { A }\nsetup{\n B }\nsession s\nstep a1 {\tX \n}\nstep \"st\"\"ep\" {}\n\
                    session t$1é\nsetup { C }\nstep b {  }\nteardown { D }\npermutation a1 b(*, a1, \"st\"\"ep\" notices 2) \"st\"\"ep\"";
        let spec = Spec::parse("x.spec", text).expect("right");
        let texts: Vec<&str> = spec.setups.iter().map(|setup| &*setup.text).collect();
        assert_eq!(texts, ["A", "\n B"]);
        assert_eq!(&*spec.sessions[0].steps[0].sql.text, "X \n");
        assert_eq!(&*spec.sessions[0].steps[1].name, "st\"ep");
        assert_eq!(&*spec.sessions[1].name, "t$1é");
        assert_eq!(&*spec.sessions[1].steps[0].sql.text, "");
        let [a1, step] = ["a1", "st\"ep"].map(|name| spec.find(name).expect(name));
        let markers = &spec.written[0].entries[1].markers;
        assert_eq!(*markers, [Marker::Once, Marker::While(a1), Marker::Notices(step, 2)]);
    }

    #[test]
    fn without_permutations_every_interleaving_runs_in_the_order_of_the_file() {
        let spec = Spec::parse("x.spec", "session s step a {} step b {} session t step c {}").expect("right");
        let all: Vec<String> = spec
            .permutations()
            .map(|permutation| {
                permutation
                    .entries
                    .iter()
                    .map(|entry| &*spec.step(entry.step).name)
                    .collect()
            })
            .collect();
        assert_eq!(all, ["abc", "acb", "cab"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let two = "session s step a {} session t step b {}\n";
        for (text, expected) in [
            ("setup { x", "1:7: this SQL block has no closing brace"),
            (
                "session \"s\nstep a {}",
                "1:9: this quoted name has no closing quote on its line",
            ),
            ("session s\n  stop a {}", "2:3: expected `step`, found \"stop\""),
            (
                "session step",
                "1:9: expected the session's name, found the keyword `step`",
            ),
            ("session s step a {} step a {}", "1:26: duplicate step name: a"),
            (
                "setup {}",
                "1:9: expected `session`, or `setup` or `teardown` in front of the sessions, found the end of the file",
            ),
            ("session s step a {} ;", "1:21: unexpected character ';'"),
            (
                &format!("{two}permutation a c"),
                "2:15: undefined step \"c\" specified in permutation",
            ),
            (
                &format!("{two}permutation a(b)"),
                "2:15: marker names step \"b\", which is not in this permutation",
            ),
            (
                &format!("{two}permutation a(a) b"),
                "2:15: marker names step \"a\" of the same session",
            ),
            (
                &format!("{two}permutation a(b notices x) b"),
                "2:25: expected a number of notices, found \"x\"",
            ),
            (
                &format!("{two}permutation"),
                "2:12: expected a step's name, found the end of the file",
            ),
        ] {
            assert_eq!(complaint(text), expected);
        }
    }
}
