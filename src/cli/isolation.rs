//! `deadheat isolation`: PostgreSQL's own isolation tests, on the model, on a server, or on both.
//!
//! One file: standard output is what isolationtester prints, byte for byte, and what came of the comparison goes to
//! standard error. Several files: a line for each, the differences, and the summary on standard output.

use std::fs;
use std::path::PathBuf;

use super::args::{Isolation, IsolationLevel, On as Where};
use super::exit::Exit;
use super::output::Output;
use crate::drive::postgres::isolation::OnPostgres;
use crate::drive::postgres::source::{Options as SourceOptions, Server};
use crate::isolation::{Backend, BackendError, FileReport, Level, On, OnModel, Options, Outcome, Spec, run_files};
use crate::world::database::Release;

pub(super) fn run(args: &Isolation, output: &Output) -> Exit {
    let first = match args.on {
        Where::Model => On::Model,
        Where::Postgres => On::Postgres,
    };
    let on = match args.compare {
        true => vec![On::Model, On::Postgres],
        false => vec![first],
    };
    let level = match args.default_isolation {
        IsolationLevel::ReadCommitted => Level::ReadCommitted,
        IsolationLevel::RepeatableRead => Level::RepeatableRead,
        IsolationLevel::Serializable => Level::Serializable,
    };
    let server = match on.contains(&On::Postgres) {
        false => None,
        true => match SourceOptions::from_env().and_then(|options| Server::find(&options)) {
            Ok(server) => {
                output.message(&format!("postgres: {}", server.describe()));
                Some(server)
            }
            Err(reason) => {
                output.message(&format!("deadheat: {reason}"));
                return Exit::Environment;
            }
        },
    };
    let release = match server.as_ref().map(Server::release) {
        None => Release::default(),
        Some(Ok(release)) => release,
        Some(Err(reason)) => {
            output.message(&format!("deadheat: {reason}"));
            return Exit::Environment;
        }
    };
    let mut open = |on: On, name: &str, spec: &Spec| -> Result<Box<dyn Backend>, BackendError> {
        match (on, &server) {
            (On::Postgres, Some(server)) => Ok(Box::new(OnPostgres::open(server, name, spec, level)?)),
            (On::Postgres, None) => Err(BackendError::Broken("there is no server".to_owned())),
            (On::Model, _) => Ok(Box::new(OnModel::of_release(release, spec, level)?)),
        }
    };
    let files = files(&args.files);
    let several = files.len() > 1;
    let mut progress = |file: &FileReport| match several {
        true => output.result(&line(file)),
        false => output.result(&file.output),
    };
    let report = run_files(&files, &Options { on, level }, &mut open, &mut progress);
    match several {
        true => output.result(&report.summary()),
        false => output.message(report.summary().trim_end()),
    }
    match (report.broken(), report.failed() + report.unsupported()) {
        (0, 0) => Exit::AsExpected,
        (0, _) => Exit::NotAsExpected,
        _ => Exit::Usage,
    }
}

/// The files, with each folder's spec files in its place.
fn files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        let Ok(entries) = fs::read_dir(path) else {
            files.push(path.clone());
            continue;
        };
        let mut specs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        specs.retain(|path| path.extension().is_some_and(|extension| extension == "spec"));
        specs.sort();
        files.extend(specs);
    }
    files
}

fn line(file: &FileReport) -> String {
    let word = match file.outcome {
        Outcome::Passed => "ok",
        Outcome::Unchecked => "ran",
        Outcome::Failed(_) => "FAILED",
        Outcome::Unsupported(_) => "unsupported",
        Outcome::Broken(_) => "error",
    };
    format!("{word:<12}{}\n", file.path.display())
}
