//! Scenarios that hold a script: the sections that [`script`](crate::script) loads, read from the same text with the same places.

use std::path::Path;

use serde::Deserialize;

use crate::document::{Problem, Severity, Sink, Table};
use crate::script::file::{InvariantSection, ObserveSection, ProcessSection, WorldSection};
use crate::script::{self, Expected, ScriptSections};
use crate::system::{FaultBudget, System};

/// Whether a file's processes are a script's.
pub(super) fn is_script(table: &Table) -> bool {
    table.get("world").is_some() || table.get("process").is_some()
}

/// The script sections of a file, and those of its variants.
#[derive(Debug, Default)]
pub(super) struct Sections {
    base: ScriptSections,
    variants: Vec<ScriptSections>,
}

impl Sections {
    /// Reads the sections; problems go to the sink.
    pub(super) fn read(sink: &Sink) -> Option<Sections> {
        match toml::from_str::<Whole>(&sink.source().text) {
            Ok(whole) => Some(Sections {
                base: whole.base(),
                variants: whole.variant.into_iter().map(Part::sections).collect(),
            }),
            Err(error) => {
                sink.push(problem(&error));
                None
            }
        }
    }

    /// The sections of the base, or of its variant with that number.
    fn of(&self, variant: Option<usize>) -> ScriptSections {
        match variant.and_then(|number| self.variants.get(number)) {
            Some(variant) => self.base.with(variant),
            None => self.base.clone(),
        }
    }

    /// Loads the script of the base, or of its variant with that number.
    pub(super) fn load(
        &self,
        name: &str,
        path: &Path,
        variant: Option<usize>,
        faults: FaultBudget,
        expect: Expected,
        sink: &Sink,
    ) -> Option<System> {
        let sections = self.of(variant);
        let source = script::Source {
            name,
            text: &sink.source().text,
            folder: path.parent().unwrap_or(Path::new("")),
            sections: &sections,
            faults,
            expect,
        };
        match script::load(&source) {
            Ok(loaded) => {
                loaded
                    .warnings
                    .into_iter()
                    .for_each(|warning| sink.push(convert(warning)));
                Some(System::new(loaded.spec))
            }
            Err(problems) => {
                problems.into_iter().for_each(|problem| sink.push(convert(problem)));
                None
            }
        }
    }
}

/// The file as the script's loader sees it: keys of other sections are read elsewhere.
#[derive(Debug, Deserialize)]
struct Whole {
    world: Option<WorldSection>,
    #[serde(default)]
    process: Vec<ProcessSection>,
    #[serde(default)]
    invariant: Vec<InvariantSection>,
    #[serde(default)]
    observe: Vec<ObserveSection>,
    #[serde(default)]
    variant: Vec<Part>,
}

#[derive(Debug, Deserialize)]
struct Part {
    world: Option<WorldSection>,
    #[serde(default)]
    process: Vec<ProcessSection>,
    #[serde(default)]
    invariant: Vec<InvariantSection>,
    #[serde(default)]
    observe: Vec<ObserveSection>,
}

impl Whole {
    fn base(&self) -> ScriptSections {
        ScriptSections {
            world: self.world.clone(),
            processes: self.process.clone(),
            invariants: self.invariant.clone(),
            observations: self.observe.clone(),
        }
    }
}

impl Part {
    fn sections(self) -> ScriptSections {
        ScriptSections {
            world: self.world,
            processes: self.process,
            invariants: self.invariant,
            observations: self.observe,
        }
    }
}

/// A message of serde with the nearest right word, which serde itself does not look for.
fn problem(error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or(0..0);
    let message = error.message().lines().next().unwrap_or("not readable").to_owned();
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match words.split_first() {
        Some((unknown, known)) if message.starts_with("unknown field") => {
            Problem::unknown(span, "key", unknown, known.iter().copied())
        }
        _ => Problem::new(span, message.clone(), "here"),
    }
}

fn convert(problem: script::Problem) -> Problem {
    Problem {
        severity: match problem.severity {
            script::Severity::Error => Severity::Error,
            script::Severity::Warning => Severity::Warning,
        },
        message: problem.message,
        span: problem.span,
        label: problem.label.unwrap_or_else(|| "here".to_owned()),
        help: problem.help,
    }
}
