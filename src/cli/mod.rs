//! The command line: `deadheat run`, `replay`, `explain`, `check`, `list`, `new`, `schema`, `merge`, `isolation`, `provider`.
//!
//! Results go to stdout; progress and messages go to stderr; colour and progress bars only to a terminal, and `NO_COLOR` is
//! honoured. [`main`] takes a [`Library`], so that a crate with handlers of its own has the same command in one line.

mod args;
mod check;
mod exit;
mod explain;
mod isolation;
mod list;
mod merge;
mod new;
mod output;
mod progress;
mod provider;
mod replay;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Args, Command};
pub use exit::Exit;
use output::Output;

use crate::scenario::{Library, schema};

/// Runs the command with the arguments of the process.
pub fn main(library: Library) -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let exit = match error.use_stderr() {
                true => Exit::Usage,
                false => Exit::AsExpected,
            };
            // There is nobody left to tell when even this can't be printed.
            let _ = error.print();
            return exit.into();
        }
    };
    let output = Output::of_process();
    let exit = match &args.command {
        Command::Run(run) => run::run(run, &library, &output),
        Command::Replay(replay) => replay::run(replay, &library, &output),
        Command::Explain(explain) => explain::run(explain, &library, &output),
        Command::Check(check) => check::run(check, &library, &output),
        Command::List(list) => list::run(list, &library, &output),
        Command::New(new) => new::run(new, &library, &output),
        Command::Schema => {
            output.result(&format!("{:#}\n", schema::json(&library)));
            Exit::AsExpected
        }
        Command::Merge(merge) => merge::run(merge, &output),
        Command::Isolation(isolation) => isolation::run(isolation, &output),
        Command::Provider(provider) => provider::run(provider, &output),
    };
    exit.into()
}
