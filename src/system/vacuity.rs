//! Warnings of a search that saw every schedule: what it never saw, so that what holds may hold for want of trying.

use std::fmt;
use std::sync::Arc;

use crate::machine::Notes;

/// What was never seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Nothing is promised but what every script promises.
    NoInvariants,
    /// A process never starts, or never gets past its first effect.
    NeverStarts,
    /// A process ends in an error in every schedule.
    AlwaysFails,
    /// A process never answers with success, although it has a success answer.
    NeverSucceeds,
    /// A step that no schedule reaches.
    NeverReached,
    /// A condition that is never true.
    NeverTrue,
    /// The same of what only refuses: to look for what does not come is prudent, so it is told and fails nothing.
    NeverRefuses,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 7] = [
        Kind::NoInvariants,
        Kind::NeverStarts,
        Kind::AlwaysFails,
        Kind::NeverSucceeds,
        Kind::NeverReached,
        Kind::NeverTrue,
        Kind::NeverRefuses,
    ];

    /// Its name in scenario files and output.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::NoInvariants => "no-invariants",
            Kind::NeverStarts => "never-starts",
            Kind::AlwaysFails => "always-fails",
            Kind::NeverSucceeds => "never-succeeds",
            Kind::NeverReached => "never-reached",
            Kind::NeverTrue => "never-true",
            Kind::NeverRefuses => "never-refuses",
        }
    }

    /// Whether it fails a run unless the file declares it.
    pub const fn fails(self) -> bool {
        !matches!(self, Kind::NeverRefuses)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that no schedule showed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Warning {
    /// Where in the file, as a line from 1; 0 when it is about the whole.
    pub line: usize,
    /// What kind.
    pub kind: Kind,
    /// The process, as the file calls it; empty when it is about the whole.
    pub process: Arc<str>,
    /// One sentence, without a full stop.
    pub sentence: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.sentence)?;
        if self.line > 0 {
            write!(f, " (line {})", self.line)?;
        }
        Ok(())
    }
}

/// Knows what machines can pass, and what it means that they never did.
pub trait Vacuity: fmt::Debug + Send + Sync {
    /// Empty notes with room for all that the machines can pass.
    fn notes(&self) -> Notes;

    /// What is to be told when these are the notes of every schedule, in the order of the file.
    fn warnings(&self, notes: &Notes) -> Vec<Warning>;
}
