//! `deadheat check`: scenario files are read and checked, nothing is run.

use std::fmt::Write as _;

use super::args::Check;
use super::exit::Exit;
use super::output::Output;
use super::run::load;
use crate::document::Problems;
use crate::scenario::Library;

pub(super) fn run(args: &Check, library: &Library, output: &Output) -> Exit {
    let scenarios = match load(&args.paths, library, output) {
        Ok(scenarios) => scenarios,
        Err(exit) => return exit,
    };
    let mut text = String::new();
    for scenario in &scenarios {
        if !scenario.warnings.is_empty() {
            let problems = Problems::new(scenario.source.clone(), scenario.warnings.clone());
            output.message(problems.render(false).trim_end());
        }
        // Writing to a String can't fail.
        let _ = writeln!(text, "{} is right", scenario.name);
    }
    output.result(&text);
    Exit::AsExpected
}
