//! The `deadheat` command.

use std::process::ExitCode;

use deadheat::scenario::Library;

fn main() -> ExitCode {
    deadheat::cli::main(Library::default())
}
