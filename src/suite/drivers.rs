//! The drivers, set up from what a scenario and the user say.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::run::Case;
use crate::drive::loom::{LoomOptions, loom};
use crate::drive::postgres;
use crate::drive::postgres::source::{Options as PostgresOptions, Server, Unavailable};
use crate::drive::shuttle::{ShuttleOptions, shuttle};
use crate::drive::storm::{Storm, StormOptions, storm};
use crate::explore::{Driver, Evidence, Finding, Options, Progress, Verdict, explore};
use crate::scenario::{Limits, MOST_CLIENTS, Scenario};
use crate::system::{Points, System};
use crate::world::database::Database;

/// Runs scenarios with drivers; holds what runs share.
#[derive(Debug, Default)]
pub struct Drivers {
    /// The Postgres server.
    pub postgres: Postgres,
    /// How to explore; a scenario's own limits count as well.
    pub explore: Options,
}

/// The Postgres server of a run: looked for when the first scenario wants it.
#[derive(Debug, Default)]
pub struct Postgres {
    /// Whether it is an error that there is none.
    pub required: bool,
    found: OnceLock<Result<Server, Missing>>,
}

/// Why there is no server.
#[derive(Clone, Debug)]
struct Missing {
    reason: String,
    /// Somebody named a server, and it can't be used.
    named: bool,
}

impl Postgres {
    /// A server that may be missing, or must not be.
    pub fn new(required: bool) -> Self {
        Postgres {
            required,
            found: OnceLock::new(),
        }
    }

    /// The server, if one was looked for and found.
    pub fn describe(&self) -> Option<String> {
        let server = self.found.get()?.as_ref().ok()?;
        Some(server.describe().to_owned())
    }

    /// The server; started now if this is the first time.
    ///
    /// # Errors
    /// The verdict and the reason when there is none: `skipped`, or `error` when one is required or was named.
    pub fn server(&self) -> Result<&Server, (Verdict, String)> {
        let found = self.found.get_or_init(|| {
            let options = PostgresOptions::from_env();
            options
                .and_then(|options| Server::find(&options))
                .map_err(|error| Missing {
                    named: !matches!(error, Unavailable::Nowhere { .. }),
                    reason: error.to_string(),
                })
        });
        found.as_ref().map_err(|missing| {
            let verdict = match missing.named || self.required {
                true => Verdict::Error,
                false => Verdict::Skipped,
            };
            (verdict, missing.reason.clone())
        })
    }
}

/// Told now and then how far an exploration is.
pub(super) type Watch = Arc<dyn Fn(&Progress) + Send + Sync>;

impl Drivers {
    /// Runs one scenario with one driver. The second value says whether the environment is at fault.
    pub(super) fn drive(&self, case: &Case, driver: Driver, watch: Option<Watch>) -> (Finding, bool) {
        let scenario = &case.scenario;
        let finding = match driver {
            Driver::Explore => case.explored(self, watch).clone(),
            Driver::Loom => loomed(case, self.max_time(scenario)),
            Driver::Shuttle => {
                let max_time = self.max_time(scenario);
                let (system, spent) = surveyed(case, max_time);
                let options = ShuttleOptions {
                    max_time,
                    spent,
                    ..shuttle_options(&scenario.limits)
                };
                shuttle(system, &options)
            }
            Driver::Storm => storms(scenario, self.max_time(scenario)),
            Driver::Postgres => {
                return match self.postgres.server() {
                    Ok(server) => {
                        let explored = case.explored(self, watch);
                        (on_postgres(case, explored, server, self.max_time(scenario)), false)
                    }
                    Err((verdict, reason)) => {
                        let finding = Finding::without_run(driver, scenario.system.spec(), verdict, reason);
                        (finding, verdict == Verdict::Error)
                    }
                };
            }
        };
        (finding, false)
    }

    /// How long a driver may take with a scenario: the file and the user may both say, and the smaller of the two counts.
    fn max_time(&self, scenario: &Scenario) -> Option<Duration> {
        let own = scenario.limits.seconds.map(Duration::from_secs);
        own.into_iter().chain(self.explore.max_time).min()
    }

    /// What the server's plans do otherwise than a verdict assumes, or why that is not known.
    pub(super) fn other_plans(&self, database: &Database) -> Vec<String> {
        let Ok(server) = self.postgres.server() else {
            return Vec::new();
        };
        match postgres::other_plans(server, database) {
            Ok(lines) => lines,
            Err(reason) => vec![format!("the server could not be asked for its plans: {reason}")],
        }
    }

    /// Explores a scenario.
    pub(super) fn explore(&self, scenario: &Scenario, watch: Option<Watch>) -> Finding {
        let limits = &scenario.limits;
        let options = Options {
            max_states: limits.states.or(self.explore.max_states),
            max_time: self.max_time(scenario),
            max_memory: limits
                .memory
                .map_or(self.explore.max_memory, |mebibytes| Some(mebibytes << 20)),
            progress: watch,
            ..self.explore.clone()
        };
        explore(&scenario.system, &options)
    }
}

/// The system with its statements stopped where somebody could notice, and how long it took to find that out.
fn surveyed(case: &Case, max_time: Option<Duration>) -> (&System, Duration) {
    let started = Instant::now();
    let system = case.surveyed(max_time);
    (system, started.elapsed())
}

/// loom. Where nobody asked for it by name it is a second opinion that must not cost more than the first: it runs without a bound on preemptions, and
/// what it can't exhaust within [`LOOM_BUDGET`] schedules is skipped.
fn loomed(case: &Case, max_time: Option<Duration>) -> Finding {
    let scenario = &case.scenario;
    let limits = &scenario.limits;
    let asked = scenario.drivers_named || limits.preemptions.is_some() || limits.schedules.is_some();
    let mut options = loom_options(limits);
    let (system, spent) = surveyed(case, max_time);
    (options.max_time, options.spent) = (max_time, spent);
    if !asked {
        options.max_permutations = LOOM_BUDGET;
        options.preemptions = vec![None];
    }
    let finding = loom(system, &options);
    match finding.evidence {
        Evidence::Truncated { limit } if !asked && finding.verdict == Verdict::Unknown => {
            let reason =
                format!("it would run more than {limit}; name it under `drivers`, or with --driver, to run it");
            Finding {
                stats: finding.stats,
                ..Finding::without_run(Driver::Loom, scenario.system.spec(), Verdict::Skipped, reason)
            }
        }
        _ => finding,
    }
}

/// Storms over the scenario with any number of clients. Storms that broke a promise are kept beside the scenario's file and come first.
fn storms(scenario: &Scenario, max_time: Option<Duration>) -> Finding {
    let mut options = StormOptions {
        max_time,
        ..StormOptions::default()
    };
    let usual = scenario.clients().saturating_mul(2).clamp(2, 6) as u32;
    options.max_clients = scenario.storm.clients.unwrap_or(usual).min(MOST_CLIENTS as u32) as u8;
    if let Some(cases) = scenario.storm.cases {
        options.cases = cases;
    }
    options.regressions = Some(scenario.path.with_extension("storms")).filter(|path| path.exists());
    let family = |storm: &Storm| scenario.with_clients(storm.clients.into()).system;
    storm(&family, &options).finding
}

/// On the server: every counterexample of the explorer, a run to each outcome that it reached, and random runs.
fn on_postgres(case: &Case, explored: &Finding, server: &Server, max_time: Option<Duration>) -> Finding {
    let scenario = &case.scenario;
    let mut schedules = explored.schedules(usize::MAX);
    let most = scenario.limits.schedules.unwrap_or(MOST_ON_POSTGRES);
    schedules.truncate(usize::try_from(most).unwrap_or(usize::MAX));
    let room = most.saturating_sub(schedules.len() as u64).min(RANDOM_ON_POSTGRES);
    // A statement of a random run is not stopped.
    let atoms = scenario.system.with_points(Points::None);
    schedules.extend(postgres::walks(&atoms, WALKS_SEED).take(room as usize));
    let options = postgres::Options {
        max_schedules: None,
        max_time,
        complete: false,
    };
    postgres::run(&scenario.system, server, &mut schedules.into_iter(), &options)
}

/// Schedules that loom may run where nobody asked for it. A number of schedules, not of seconds, so that it is the same on every machine.
const LOOM_BUDGET: usize = 2_000;
/// Schedules of one scenario on the server, unless its limits say otherwise.
const MOST_ON_POSTGRES: u64 = 200;
/// How many of them are random, at most.
const RANDOM_ON_POSTGRES: u64 = 40;
/// The same walks every time.
const WALKS_SEED: u64 = 7_890;

fn loom_options(limits: &Limits) -> LoomOptions {
    let mut options = LoomOptions::default();
    if let Some(schedules) = limits.schedules {
        options.max_permutations = usize::try_from(schedules).unwrap_or(usize::MAX);
    }
    if let Some(most) = limits.preemptions {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        options.preemptions = (0..=most.min(10)).map(Some).collect();
    }
    options
}

fn shuttle_options(limits: &Limits) -> ShuttleOptions {
    let mut options = ShuttleOptions::default();
    if let Some(schedules) = limits.schedules {
        let half = usize::try_from(schedules / 2).unwrap_or(usize::MAX).max(1);
        options.random = half;
        options.pct = half;
    }
    options
}
