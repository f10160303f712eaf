//! Many files at once: each is run, compared with its expected output when there is one, and counted.
//!
//! The expected output of `DIR/NAME.spec` is `DIR/NAME.out`, else `DIR/../expected/NAME.out`; for the other two default
//! isolation levels `DIR/../expected-rr/NAME.out` and `DIR/../expected-ser/NAME.out` come first, which need to be there
//! only where the output differs. `NAME_1.out`, `NAME_2.out`, ... beside it are variants; any of them may match.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, Report as Pretty};

use super::backend::{Backend, BackendError};
use super::parse::SpecError;
use super::run::{RunError, run};
use super::spec::Spec;

/// Where files are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// On the model.
    Model,
    /// On a real server.
    Postgres,
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            On::Model => "the model",
            On::Postgres => "PostgreSQL",
        })
    }
}

/// The isolation level of transactions that do not say one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Level {
    /// READ COMMITTED, the server's own default.
    #[default]
    ReadCommitted,
    /// REPEATABLE READ.
    RepeatableRead,
    /// SERIALIZABLE.
    Serializable,
}

impl Level {
    /// As SQL writes it.
    pub fn sql(self) -> &'static str {
        match self {
            Level::ReadCommitted => "read committed",
            Level::RepeatableRead => "repeatable read",
            Level::Serializable => "serializable",
        }
    }

    fn folder(self) -> Option<&'static str> {
        match self {
            Level::ReadCommitted => None,
            Level::RepeatableRead => Some("expected-rr"),
            Level::Serializable => Some("expected-ser"),
        }
    }
}

/// How files are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where. Two places are compared with each other, and the first one with the expected output.
    pub on: Vec<On>,
    /// The default isolation level of every session.
    pub level: Level,
}

/// Makes the backend for a file; called with the place, the file's name without its ending, and the spec.
pub type Open<'a> = dyn FnMut(On, &str, &Spec) -> Result<Box<dyn Backend>, BackendError> + 'a;

/// What came of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The output is an expected one, or, without any, the places agree.
    Passed,
    /// The output differs; the text says from what and how.
    Failed(String),
    /// The model does not know a construct; the text names it and its place.
    Unsupported(String),
    /// The file cannot be read, or the run could not go on.
    Broken(String),
    /// It ran, and there was nothing to compare with.
    Unchecked,
}

/// One file's part of a [`Report`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileReport {
    /// Its path, as given.
    pub path: PathBuf,
    /// What isolationtester would have printed, on the first place.
    pub output: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of all files.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Report {
    /// Each file, in the order given.
    pub files: Vec<FileReport>,
}

impl Report {
    /// How many files passed; a file without anything to compare with counts, because it ran.
    pub fn passed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Passed | Outcome::Unchecked))
    }

    /// How many failed or could not be run.
    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_) | Outcome::Broken(_)))
    }

    /// How many have SQL that the model does not know.
    pub fn unsupported(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Unsupported(_)))
    }

    /// Whether a file could not even be read or run: wrong usage rather than a difference.
    pub fn broken(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Broken(_)))
    }

    /// `N passed, N failed, N unsupported`, with a line for each file that did not pass in front.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for file in &self.files {
            let path = file.path.display();
            match &file.outcome {
                Outcome::Passed | Outcome::Unchecked => {}
                Outcome::Failed(difference) => text.push_str(&format!("{path}: FAILED\n{difference}\n")),
                Outcome::Unsupported(construct) => text.push_str(&format!("{path}: {construct}\n")),
                Outcome::Broken(reason) => text.push_str(&format!("{path}: {reason}\n")),
            }
        }
        let (passed, failed, unsupported) = (self.passed(), self.failed(), self.unsupported());
        text.push_str(&format!("{passed} passed, {failed} failed, {unsupported} unsupported"));
        let unchecked = self.count(|outcome| *outcome == Outcome::Unchecked);
        if unchecked > 0 {
            text.push_str(&format!(" ({unchecked} without an expected output)"));
        }
        text.push('\n');
        text
    }

    fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.files.iter().filter(|file| wanted(&file.outcome)).count()
    }
}

/// The expected outputs of a file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expected {
    /// Paths and contents; empty when there are none.
    pub variants: Vec<(PathBuf, String)>,
}

impl Expected {
    /// Finds them on disk.
    pub fn find(spec: &Path, level: Level) -> Expected {
        let name = spec.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let beside = spec.parent().unwrap_or(Path::new("")).to_path_buf();
        // `join` and not `parent`, which knows nothing above `specs` or `.`.
        let above = beside.join("..");
        let mut folders: Vec<PathBuf> = level.folder().map(|folder| above.join(folder)).into_iter().collect();
        folders.extend([beside, above.join("expected")]);
        for folder in folders {
            let mut variants = Vec::new();
            for number in 0..10 {
                let suffix = if number == 0 {
                    String::new()
                } else {
                    format!("_{number}")
                };
                let path = folder.join(format!("{name}{suffix}.out"));
                if let Ok(text) = fs::read_to_string(&path) {
                    variants.push((path, text));
                }
            }
            if !variants.is_empty() {
                return Expected { variants };
            }
        }
        Expected::default()
    }
}

/// Runs every file and compares. `progress` hears of each file when it is done.
pub fn run_files(
    paths: &[PathBuf],
    options: &Options,
    open: &mut Open<'_>,
    progress: &mut dyn FnMut(&FileReport),
) -> Report {
    let mut report = Report::default();
    for path in paths {
        let file = one(path, options, open);
        progress(&file);
        report.files.push(file);
    }
    report
}

fn one(path: &Path, options: &Options, open: &mut Open<'_>) -> FileReport {
    let report = |output: String, outcome: Outcome| FileReport {
        path: path.to_path_buf(),
        output,
        outcome,
    };
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => return report(String::new(), Outcome::Broken(format!("cannot read it: {error}"))),
    };
    let spec = match Spec::parse(&path.display().to_string(), &text) {
        Ok(spec) => spec,
        Err(error) => return report(String::new(), Outcome::Broken(pretty(*error))),
    };
    let mut outputs: Vec<(On, String)> = Vec::new();
    for on in &options.on {
        let mut output = String::new();
        let ended = match open(*on, &path.file_stem().unwrap_or_default().to_string_lossy(), &spec) {
            Ok(mut backend) => run(&spec, &mut *backend, &mut output),
            Err(error) => Err(RunError::Backend {
                place: on.to_string(),
                offset: 0,
                error,
            }),
        };
        outputs.push((*on, output));
        match ended {
            // A failing setup block ends isolationtester as well; what was printed may be what is expected.
            Ok(()) | Err(RunError::Setup { .. }) => {}
            Err(RunError::Backend {
                place,
                offset,
                error:
                    BackendError::Unsupported {
                        construct,
                        line,
                        column,
                    },
            }) => {
                let (line, column) = place_in_file(&text, offset, line, column);
                let construct = format!("unsupported: {construct} ({place}, line {line}, column {column})");
                return report(outputs.swap_remove(0).1, Outcome::Unsupported(construct));
            }
            Err(error) => return report(outputs.swap_remove(0).1, Outcome::Broken(format!("on {on}: {error}"))),
        }
    }
    let outcome = compare(&Expected::find(path, options.level), &outputs);
    let output = outputs.into_iter().next().map(|(_, output)| output).unwrap_or_default();
    report(output, outcome)
}

fn compare(expected: &Expected, outputs: &[(On, String)]) -> Outcome {
    let Some((on, output)) = outputs.first() else {
        return Outcome::Unchecked;
    };
    for (other, different) in &outputs[1..] {
        if output != different {
            return Outcome::Failed(difference(&on.to_string(), output, &other.to_string(), different));
        }
    }
    match expected.variants.first() {
        None if outputs.len() > 1 => Outcome::Passed,
        None => Outcome::Unchecked,
        Some(_) if expected.variants.iter().any(|(_, text)| text == output) => Outcome::Passed,
        Some((path, text)) => Outcome::Failed(difference(&path.display().to_string(), text, &on.to_string(), output)),
    }
}

/// The first lines that differ, with the permutation and a few lines of context.
fn difference(left: &str, expected: &str, right: &str, found: &str) -> String {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    let same = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    let mut text = format!("--- {left}\n+++ {right}\n@@ line {}", same + 1);
    let permutation = expected[..same]
        .iter()
        .rev()
        .find(|line| line.starts_with("starting permutation:"));
    if let Some(permutation) = permutation {
        text.push_str(&format!(", {permutation}"));
    }
    let context = expected[same.saturating_sub(3)..same].iter().map(|line| (' ', line));
    let removed = expected[same..].iter().take(6).map(|line| ('-', line));
    let added = found[same..].iter().take(6).map(|line| ('+', line));
    for (sign, line) in context.chain(removed).chain(added) {
        text.push_str(&format!("\n{sign}{line}"));
    }
    text
}

/// A place within a block as a place in the file.
fn place_in_file(text: &str, offset: usize, line: u32, column: u32) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let first = before.matches('\n').count() + 1;
    let indent = before.chars().rev().take_while(|character| *character != '\n').count();
    let (line, column) = (line.max(1) as usize, column.max(1) as usize);
    (first + line - 1, if line == 1 { indent + column } else { column })
}

/// The diagnostic with its caret, without colours: the caller may be a file.
fn pretty(error: SpecError) -> String {
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor());
    let report = Pretty::new(error);
    let mut text = String::new();
    let diagnostic: &dyn Diagnostic = report.as_ref();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => report.to_string(),
    }
}
