//! `deadheat explain`: which choices of a design break it, and which mend it.

use super::args::Explain;
use super::exit::Exit;
use super::output::Output;
use crate::report::explain;
use crate::scenario::Library;
use crate::suite::causes;

pub(super) fn run(args: &Explain, library: &Library, output: &Output) -> Exit {
    let scenarios = match super::run::load(std::slice::from_ref(&args.file), library, output) {
        Ok(scenarios) => scenarios,
        Err(exit) => return exit,
    };
    let mut text = String::new();
    for scenario in &scenarios {
        match causes::find(scenario) {
            Ok(causes) => text.push_str(&explain::tell(scenario, &causes, output.paint)),
            Err(error) => return output.usage(format!("{}: {error}", scenario.name)),
        }
    }
    output.result(&text);
    Exit::AsExpected
}
