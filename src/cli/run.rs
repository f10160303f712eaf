//! `deadheat run`: the main job.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::args::{DriverArg, Format, Run};
use super::exit::Exit;
use super::output::Output;
use super::progress;
use crate::explore::{BadCheckpoint, Checkpoint, Driver, Options, Verdict};
use crate::report::json::Part;
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
    let mut options = match exploring(args, &scenarios) {
        Ok(options) => options,
        Err(error) => return output.usage(error),
    };
    let scenarios = dealt(scenarios, args.shard);
    let plan = Plan {
        drivers: match options.shard {
            Some(_) => vec![Driver::Explore],
            None => args.drivers.iter().map(|driver| Driver::from(*driver)).collect(),
        },
        jobs: args.jobs,
    };
    let wanted = |driver: &&Driver| plan.drivers.is_empty() || plan.drivers.contains(driver);
    let runs: usize = scenarios
        .iter()
        .map(|scenario| scenario.drivers.iter().filter(wanted).count())
        .sum();
    if runs == 0 && args.shard.is_none() {
        return output.usage("no scenario here names a driver that was asked for");
    }
    if let Some(file) = &args.checkpoint
        && let Some(scenario) = scenarios.first()
        && let Err(error) = checkpoint(file, scenario, &mut options, *output)
    {
        return output.usage(format!("{}: {error}", file.display()));
    }
    let drivers = Drivers {
        postgres: Postgres::new(args.require_postgres),
        explore: options,
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
        Format::Json => json::report(&results, args.shard),
        Format::Junit => junit::report(&results),
        Format::Github => github::report(&results),
    });
    exit(&results, args.format, output)
}

/// How to explore, as far as the arguments say.
fn exploring(args: &Run, scenarios: &[Scenario]) -> Result<Options, &'static str> {
    let alone = scenarios.len() == 1;
    if args.checkpoint.is_some() && !alone {
        return Err("--checkpoint is for one scenario; name its file");
    }
    let explores = args.drivers.is_empty() || args.drivers.contains(&DriverArg::Explore);
    let named = scenarios
        .iter()
        .all(|scenario| scenario.drivers.contains(&Driver::Explore));
    if (args.checkpoint.is_some() || args.shard.is_some() && alone) && !(explores && named) {
        return Err("only what the driver explore does can be kept, or split into shards, and it does not run here");
    }
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    Ok(Options {
        // The finding does not depend on it.
        threads: if alone { cores } else { 1 },
        max_time: args.max_time.map(|seconds| Duration::from_secs(seconds.get())),
        shard: args.shard.filter(|_| alone).map(|Part { part, of }| (part, of)),
        ..Options::default()
    })
}

/// The scenarios of a shard: they are dealt out one by one. A single one is split by its exploration.
fn dealt(scenarios: Vec<Scenario>, shard: Option<Part>) -> Vec<Scenario> {
    match shard {
        Some(Part { part, of }) if scenarios.len() > 1 => {
            let mine = scenarios.into_iter().skip(part as usize - 1);
            mine.step_by(of as usize).collect()
        }
        _ => scenarios,
    }
}

/// Goes on from the file if it is there, and sees to it that it is written. A file is replaced as a whole or not at all.
fn checkpoint(file: &Path, scenario: &Scenario, options: &mut Options, output: Output) -> Result<(), BadCheckpoint> {
    if file.exists() {
        let read = Checkpoint::read(&mut BufReader::new(File::open(file)?))?;
        read.fits(&scenario.system, options)?;
        options.resume = Some(Arc::new(read));
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    // Said now, not after an hour.
    tempfile::tempfile_in(&folder)?;
    let file = file.to_owned();
    options.keep = Some(Arc::new(move |reached: &Checkpoint| {
        let written = tempfile::NamedTempFile::new_in(&folder).and_then(|temporary| {
            let mut to = BufWriter::new(temporary);
            reached.write(&mut to)?;
            let temporary = to.into_inner().map_err(io::IntoInnerError::into_error)?;
            temporary.persist(&file).map_err(|error| error.error)
        });
        if let Err(error) = written {
            output.message(&format!(
                "deadheat: the checkpoint {} can't be written: {error}",
                file.display()
            ));
        }
    }));
    Ok(())
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
    if results.surprises().any(|record| record.finding.is_scenarios_fault()) {
        return Exit::Usage;
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
