//! PostgreSQL's own isolation tests: their files, how they are run, and what is printed.
//!
//! A spec file has sessions of named steps and permutations of those steps. [`Spec::parse`] reads one, [`run()`] runs it on
//! any [`Backend`] (the model or the real server) and writes byte for byte what PostgreSQL's `isolationtester` writes, and
//! [`run_files`] does that for many files and compares with their expected outputs.
//!
//! Follows `src/test/isolation` (README, specparse.y, specscanner.l, isolationtester.c) and libpq's fe-print.c of
//! PostgreSQL 15. Departures: an error in a file says its line and column; a step that does not finish ends the run
//! instead of being cancelled.

pub mod backend;
pub mod files;
pub mod on_model;
pub mod print;
pub mod run;
pub mod spec;

mod parse;
mod scan;

pub use backend::{Backend, BackendError, Failure, Message, Notify, Patience, Progress, Reply, Table};
pub use files::{Expected, FileReport, Level, On, Options, Outcome, Report, run_files};
pub use on_model::OnModel;
pub use parse::{Problem, SpecError};
pub use run::{RunError, run};
pub use scan::ScanError;
pub use spec::{Entry, Marker, Permutation, Session, Spec, Step, StepRef};
