//! `deadheat list`: what there is.

use std::fmt::Write as _;
use std::path::Path;

use super::args::{Drawing, List};
use super::exit::Exit;
use super::output::Output;
use super::run::load;
use crate::domain::Handler;
use crate::explore::Driver;
use crate::report::{Diagrams, Ink};
use crate::scenario::{Library, Scenario};
use crate::script::world_tables;

/// How much of each scenario is looked at for the diagrams of machines.
const MOST_STATES: usize = 20_000;

pub(super) fn run(args: &List, library: &Library, output: &Output) -> Exit {
    if args.tables {
        let mut text = String::new();
        for (name, columns) in world_tables() {
            let columns: Vec<String> = columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
            // Writing to a String can't fail.
            let _ = writeln!(text, "{name} ({})", columns.join(", "));
        }
        output.result(&text);
        return Exit::AsExpected;
    }
    // Handlers and drivers can be listed where there are no scenarios yet.
    let default = args.paths.as_slice() == [Path::new("scenarios")] && !Path::new("scenarios").exists();
    let scenarios = match default {
        true => Vec::new(),
        false => match load(&args.paths, library, output) {
            Ok(scenarios) => scenarios,
            Err(exit) => return exit,
        },
    };
    if args.machines {
        let Drawing::Mermaid = args.format;
        let mut diagrams = Diagrams::default();
        for scenario in &scenarios {
            diagrams.look(&scenario.system, MOST_STATES);
        }
        output.result(&diagrams.mermaid());
        return Exit::AsExpected;
    }
    let heading = |words: &str| output.paint.ink(Ink::Bold, words);
    // Writing to a String can't fail.
    let mut text = format!("{}\n", heading("Scenarios"));
    scenarios.iter().for_each(|scenario| tell_scenario(scenario, &mut text));
    let _ = writeln!(text, "\n{}", heading("Handlers"));
    for handler in library.handlers() {
        tell_handler(&**handler, &mut text);
    }
    let _ = writeln!(text, "\n{}", heading("Drivers"));
    for (driver, doc) in Driver::ALL.into_iter().zip(DRIVER_DOCS) {
        let _ = writeln!(text, "  {:<9} {doc}", driver.name());
    }
    output.result(&text);
    Exit::AsExpected
}

const DRIVER_DOCS: [&str; Driver::ALL.len()] = [
    "every schedule within the bounds, in the model",
    "loom's threads and scheduler, in the model",
    "shuttle's random and PCT schedulers, in the model",
    "clients that retry, time out and give up, in virtual time, shrunk by proptest",
    "a real Postgres server, each statement released by the schedule and its reply compared with the model's",
];

fn tell_scenario(scenario: &Scenario, text: &mut String) {
    let drivers: Vec<&str> = scenario.drivers.iter().map(|driver| driver.name()).collect();
    let expected = match scenario.expect.violates.as_slice() {
        [] => "holds".to_owned(),
        violated => format!("violates {}", violated.join(", ")),
    };
    let _ = writeln!(text, "  {}\n    {}", scenario.name, scenario.title);
    let _ = writeln!(text, "    {expected}; {}", drivers.join(", "));
}

fn tell_handler(handler: &dyn Handler, text: &mut String) {
    let _ = writeln!(text, "  {}: {}", handler.name(), handler.doc());
    for choice in handler.choices() {
        let _ = writeln!(text, "    {}: {}", choice.name, choice.doc);
        for option in choice.options {
            let _ = writeln!(text, "      {:<20} {}", option.name, option.doc);
        }
    }
    text.push_str("    invariants\n");
    for promise in handler.invariants() {
        let _ = writeln!(text, "      {:<26} {}", promise.name, promise.promise);
    }
}
