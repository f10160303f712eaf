//! Scenarios as tests: each scenario with each of its drivers is a test of its own under `cargo test`.
//!
//! In `Cargo.toml`:
//!
//! ```toml
//! [[test]]
//! name = "scenarios"
//! harness = false
//! ```
//!
//! and in `tests/scenarios.rs`:
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     deadheat::harness::main("scenarios")
//! }
//! ```
//!
//! Then `cargo test` shows `registration/partnercrm-hardened::explore ... ok`, and `cargo test hardened::explore` runs just that. A crate with
//! handlers of its own hands them over: `Harness::new("scenarios").library(Library::default().with(Mine)).main()`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::explore::{Driver, Options, Verdict};
use crate::report::{Paint, snapshot, violation};
use crate::scenario::{Library, LoadError, Scenario, discover};
use crate::suite::{Case, Drivers, Postgres, Record};

/// Where this is set, a scenario that finds no server fails instead of being skipped.
const REQUIRE_POSTGRES: &str = "DEADHEAT_REQUIRE_POSTGRES";

/// Runs the scenarios below a folder, which is relative to the package, as tests.
pub fn main(folder: impl Into<PathBuf>) -> ExitCode {
    Harness::new(folder).main()
}

/// Asserts that a snapshot's text is what was reviewed; panics otherwise.
pub type AssertSnapshot = fn(name: &str, text: &str);

/// Scenarios as tests.
#[derive(Clone, Debug)]
pub struct Harness {
    folder: PathBuf,
    library: Library,
    assert_snapshot: Option<AssertSnapshot>,
}

impl Harness {
    /// The scenarios below a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Harness {
            folder: folder.into(),
            library: Library::default(),
            assert_snapshot: None,
        }
    }

    /// With the handlers of this library.
    #[must_use]
    pub fn library(mut self, library: Library) -> Self {
        self.library = library;
        self
    }

    /// With one more test for each scenario file: its snapshot. `assert` is a function around `insta::assert_snapshot!`, so
    /// that snapshots stand in your package and are reviewed with its tools.
    #[must_use]
    pub fn snapshots(mut self, assert: AssertSnapshot) -> Self {
        self.assert_snapshot = Some(assert);
        self
    }

    /// Runs the tests that the process's arguments ask for, as libtest does.
    pub fn main(self) -> ExitCode {
        let arguments = Arguments::from_args();
        let drivers = Arc::new(Drivers {
            explore: Options::default(),
            postgres: Postgres::new(std::env::var_os(REQUIRE_POSTGRES).is_some()),
        });
        let conclusion = libtest_mimic::run(&arguments, self.trials(&drivers));
        // Stops the server, if one was started.
        drop(drivers);
        conclusion.exit_code()
    }

    /// The tests. A file that can't be loaded is a test that fails with the reason.
    fn trials(&self, drivers: &Arc<Drivers>) -> Vec<Trial> {
        let files = match discover(&self.folder) {
            Ok(files) => files,
            Err(error) => return vec![broken(&self.folder, &error)],
        };
        let mut trials = Vec::new();
        for file in files {
            match self.library.load_file(&file) {
                Ok(scenarios) => self.file(scenarios, drivers, &mut trials),
                Err(error) => trials.push(broken(&file, &error)),
            }
        }
        trials
    }

    fn file(&self, scenarios: Vec<Scenario>, drivers: &Arc<Drivers>, trials: &mut Vec<Trial>) {
        let cases: Vec<Arc<Case>> = scenarios
            .into_iter()
            .map(|scenario| Arc::new(Case::new(scenario)))
            .collect();
        for case in &cases {
            for driver in &case.scenario.drivers {
                trials.push(trial(case, *driver, drivers));
            }
        }
        if let (Some(assert), Some(first)) = (self.assert_snapshot, cases.first()) {
            let name = first.scenario.name.to_string();
            let drivers = drivers.clone();
            trials.push(Trial::test(format!("{name}::snapshot"), move || {
                let parts: Vec<String> = cases
                    .iter()
                    .map(|case| {
                        let record = case.run(reviewed(&case.scenario), &drivers, None);
                        snapshot::render(&case.scenario, &record.finding)
                    })
                    .collect();
                assert(&name.replace('/', "__"), &parts.join("\n"));
                Ok(())
            }));
        }
    }
}

/// The driver whose finding is a scenario's snapshot: the explorer, unless the file says that it is too large for it.
fn reviewed(scenario: &Scenario) -> Driver {
    let named = &scenario.drivers;
    match named.contains(&Driver::Explore) {
        true => Driver::Explore,
        false => named.first().copied().unwrap_or(Driver::Explore),
    }
}

fn trial(case: &Arc<Case>, driver: Driver, drivers: &Arc<Drivers>) -> Trial {
    let name = format!("{}::{driver}", case.scenario.name);
    let (case, drivers) = (case.clone(), drivers.clone());
    Trial::ignorable_test(name, move || {
        let mut record = case.run(driver, &drivers, None);
        if !record.missed.is_empty() && case.scenario.drivers.contains(&Driver::Explore) {
            // Another test asserts what the explorer finds; it is explored once for both.
            record.settle(&case.run(Driver::Explore, &drivers, None).finding.violated(), false);
        }
        match (&record.judged, record.finding.verdict) {
            (_, Verdict::Skipped) => {
                let reason = record.finding.reason.as_deref().unwrap_or_default();
                Ok(Completion::ignored_with(reason.replace('\n', " ")))
            }
            (Ok(()), _) => Ok(Completion::Completed),
            (Err(reason), _) => Err(Failed::from(failure(&record, reason))),
        }
    })
}

/// What a developer reads: why it is not as expected, and the lanes of every violation that was not.
fn failure(record: &Record, reason: &str) -> String {
    let mut text = format!("{reason}\n");
    let scenario = &record.case.scenario;
    for judged in &record.finding.invariants {
        if let Some(counterexample) = &judged.counterexample
            && !scenario.expect.violates.contains(&judged.invariant)
        {
            text.push('\n');
            text.push_str(&violation::tell(
                scenario,
                &record.finding,
                counterexample,
                Paint::PLAIN,
            ));
        }
    }
    text
}

fn broken(path: &Path, error: &LoadError) -> Trial {
    let text = match error {
        LoadError::Wrong(problems) => problems.render(false),
        error => error.to_string(),
    };
    Trial::test(format!("{}::reads", path.display()), move || Err(Failed::from(text)))
}
