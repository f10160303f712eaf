//! `deadheat run`: the main job.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{Format, Run};
use super::exit::Exit;
use super::output::Output;
use super::progress;
use crate::explore::{Driver, Verdict};
use crate::report::{github, human, json, junit};
use crate::scenario::{Library, LoadError, Scenario};
use crate::suite::{self, Drivers, Plan, Postgres, Results};

pub(super) fn run(args: &Run, library: &Library, output: &Output) -> Exit {
    let scenarios = match load(&args.paths, library, output) {
        Ok(scenarios) => scenarios,
        Err(exit) => return exit,
    };
    if let Some((one, other)) = twins(&scenarios) {
        let message = format!(
            "`{}` and `{}` are both called `{}`: a scenario is named by its path below the folder `scenarios`",
            one.path.display(),
            other.path.display(),
            one.name
        );
        return output.usage(message);
    }
    let plan = Plan {
        drivers: args.drivers.iter().map(|driver| Driver::from(*driver)).collect(),
        jobs: args.jobs,
    };
    let wanted = |driver: &&Driver| plan.drivers.is_empty() || plan.drivers.contains(driver);
    let runs: usize = scenarios
        .iter()
        .map(|scenario| scenario.drivers.iter().filter(wanted).count())
        .sum();
    if runs == 0 {
        return output.usage("no scenario here names a driver that was asked for");
    }
    let drivers = Drivers {
        postgres: Postgres::new(args.require_postgres),
        threads: 1,
    };
    let (bar, teller) = progress::bar(output, runs);
    let results = suite::run(scenarios, &plan, &drivers, &teller);
    bar.finish_and_clear();
    if let Some(postgres) = &results.postgres {
        output.message(&format!("postgres: {postgres}"));
    }
    output.result(&match args.format {
        Format::Human => human::report(
            &results,
            human::Detail {
                expected: !args.brief,
                paint: output.paint,
            },
        ),
        Format::Json => json::report(&results),
        Format::Junit => junit::report(&results),
        Format::Github => github::report(&results),
    });
    exit(&results, args.format, output)
}

/// Loads every path, and shows every file that is wrong, not only the first.
pub(super) fn load(paths: &[PathBuf], library: &Library, output: &Output) -> Result<Vec<Scenario>, Exit> {
    let mut scenarios = Vec::new();
    let mut failed = None;
    for path in paths {
        let files = match crate::scenario::discover(path) {
            Ok(files) => files,
            Err(error) => {
                failed = Some(output.load_error(&explained(error, path)));
                continue;
            }
        };
        for file in files {
            match library.load_file(&file) {
                Ok(loaded) => scenarios.extend(loaded),
                Err(error) => failed = Some(output.load_error(&error)),
            }
        }
    }
    failed.map_or(Ok(scenarios), Err)
}

/// The default folder is not there: say so by its name.
fn explained(error: LoadError, path: &Path) -> LoadError {
    match error {
        LoadError::NotFound { .. } => LoadError::NotFound { path: path.to_owned() },
        error => error,
    }
}

fn twins(scenarios: &[Scenario]) -> Option<(&Scenario, &Scenario)> {
    let mut seen: BTreeMap<&Arc<str>, &Scenario> = BTreeMap::new();
    scenarios
        .iter()
        .find_map(|scenario| seen.insert(&scenario.name, scenario).map(|first| (first, scenario)))
}

/// A mismatch weighs more than a missing part of the environment: it is there whatever the environment.
fn exit(results: &Results, format: Format, output: &Output) -> Exit {
    if results.is_ok() {
        return Exit::AsExpected;
    }
    let missing = results
        .surprises()
        .find(|record| record.environment && record.finding.verdict == Verdict::Error);
    if results.surprises().any(|record| !record.environment) {
        return Exit::NotAsExpected;
    }
    if let Some(record) = missing
        && format != Format::Human
    {
        output.message(&format!(
            "deadheat: {}",
            record.finding.reason.as_deref().unwrap_or_default()
        ));
    }
    Exit::Environment
}
