//! Scenario files: read, checked, and turned into systems that are ready to run.
//!
//! A scenario is a TOML file. It takes its processes from the domain (`[domain] handler = "registration"` with a design of named choices) or
//! writes them as a script of SQL (`[world]` and `[[process]]`); it says which faults may happen and what is expected of the invariants.
//! A file with `[[variant]]`s holds several scenarios that differ in a few places. A file of PostgreSQL's isolation tests (`.spec`) is a
//! scenario too.
//!
//! Start at [`Library::load`]: a path goes in, and [`Scenario`]s come out, or [`Problems`](crate::document::Problems) with every mistake
//! in the file, each with its line, a caret and the nearest right word. `deadheat schema` prints [`schema::json`].

mod discover;
mod domain;
mod expect;
mod interleaved;
mod read;
pub mod schema;
mod script;
mod settings;
pub mod template;

use std::path::PathBuf;
use std::sync::Arc;

pub use discover::{LoadError, discover, name_of};
pub use expect::Expect;
pub(crate) use expect::Looked;
pub use read::Library;
pub use settings::{Limits, Storm};

use crate::document::{Problem, Source};
use crate::domain::{Conflict, Handler, Setup};
use crate::explore::Driver;
use crate::system::{Schedule, System};

/// A scenario, ready to run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name: the path below `scenarios/` without the extension, and `#variant` for a variant.
    pub name: Arc<str>,
    /// The variant's own name, if it is one.
    pub variant: Option<Arc<str>>,
    /// The file it was read from.
    pub path: PathBuf,
    /// The file's text.
    pub source: Source,
    /// One line that says what it shows.
    pub title: String,
    /// Where it comes from: a bug report, an issue thread.
    pub origin: String,
    /// What happens, in a few sentences.
    pub story: String,
    /// The drivers that run it, in the order in which they are told.
    pub drivers: Vec<Driver>,
    /// Whether the file names them, or whoever runs it. Where nobody does, loom runs only what a small budget suffices for.
    pub drivers_named: bool,
    /// What stops a search.
    pub limits: Limits,
    /// What a storm is made of.
    pub storm: Storm,
    /// What is expected.
    pub expect: Expect,
    /// Where its processes come from.
    pub kind: Kind,
    /// The system.
    pub system: System,
    /// What is probably not meant so.
    pub warnings: Vec<Problem>,
}

/// Where a scenario's processes come from.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A handler of the domain.
    Domain(Designed),
    /// A script in the file.
    Script,
}

/// A handler with what the scenario says about it.
#[derive(Clone, Debug)]
pub struct Designed {
    /// The handler.
    pub handler: Arc<dyn Handler>,
    /// Which of its systems.
    pub setup: Setup,
    /// What the scenario adds to the handler's own world.
    extras: domain::Extras,
}

impl Scenario {
    /// The same scenario with another system: one choice of the design changed.
    ///
    /// `None` when the scenario is not of the domain.
    pub fn with_choice(&self, choice: &'static str, option: &'static str) -> Option<Result<Scenario, Conflict>> {
        let Kind::Domain(designed) = &self.kind else {
            return None;
        };
        let mut designed = designed.clone();
        designed.setup.design.insert(choice, option);
        Some(
            designed
                .system(&self.name)
                .map_err(Conflict::from)
                .map(|system| Scenario {
                    kind: Kind::Domain(designed),
                    system,
                    ..self.clone()
                }),
        )
    }

    /// The same scenario with so many clients: the file's own, in turn and from the first again. A scenario that has no clients, or is a
    /// script, stays as it is.
    pub fn with_clients(&self, count: usize) -> Scenario {
        let Kind::Domain(designed) = &self.kind else {
            return self.clone();
        };
        let mut designed = designed.clone();
        let clients = designed.setup.clients.iter().cycle().take(count).cloned().collect();
        designed.setup.clients = clients;
        match designed.system(&self.name) {
            Ok(system) => Scenario {
                kind: Kind::Domain(designed),
                system,
                ..self.clone()
            },
            Err(_) => self.clone(),
        }
    }

    /// How many clients the file has.
    pub fn clients(&self) -> usize {
        match &self.kind {
            Kind::Domain(designed) => designed.setup.clients.len(),
            Kind::Script => 0,
        }
    }

    /// The scenario in the size that a schedule was recorded for: a storm may have had more or fewer clients than the file.
    ///
    /// `None` when it was recorded for none of them.
    pub fn sized_for(&self, schedule: &Schedule) -> Option<Scenario> {
        let fits = |scenario: &Scenario| scenario.system.spec().fingerprint() == schedule.fingerprint;
        if fits(self) {
            return Some(self.clone());
        }
        let sizes = if self.clients() == 0 { 0..0 } else { 1..MOST_CLIENTS + 1 };
        sizes.map(|count| self.with_clients(count)).find(fits)
    }
}

/// The most clients of a storm.
pub const MOST_CLIENTS: usize = 64;
