//! Scripts: processes written as SQL and effects inside a scenario file, compiled to a [`Machine`](crate::machine::Machine) like any other.

pub mod ast;
mod atomic;
mod bound;
mod catalog;
mod code;
mod compile;
mod dead;
pub mod error;
mod expr;
pub mod file;
mod lex;
mod load;
mod operations;
pub mod parse;
mod print;
mod promises;
mod raised;
mod reference;
mod run;
#[cfg(test)]
mod tests;
pub mod words;

use std::path::Path;

pub use catalog::{TableShape, world_tables};
pub use error::{Problem, Severity};
pub use file::ScriptSections;
pub use load::load;
pub use reference::reference;

use crate::system::{FaultBudget, Spec};

/// What a script is loaded from.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The scenario's name: `examples/lost-update`.
    pub name: &'a str,
    /// The whole text of the scenario file: what the sections' spans point into.
    pub text: &'a str,
    /// The folder of the scenario file, for `file = "schema.sql"`.
    pub folder: &'a Path,
    /// The script sections, those of a variant already put in.
    pub sections: &'a ScriptSections,
    /// Which faults a run may have.
    pub faults: FaultBudget,
    /// What `[expect]` says that the script has to know.
    pub expect: Expected,
}

/// What a scenario expects of its script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// SQLSTATEs and names of errors that are no mistake of the file although nothing catches them: a column that another process drops.
    pub errors: Vec<String>,
    /// The invariants that it names.
    pub invariants: Vec<String>,
}

/// A script made ready to run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The system.
    pub spec: Spec,
    /// Steps that are never reached, bindings that are never used.
    pub warnings: Vec<Problem>,
}
