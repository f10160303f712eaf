//! Running a suite in parallel, told in order.

use std::any::Any;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use super::drivers::{Drivers, Watch};
use super::results::{Record, Results};
use crate::explore::{Driver, Finding, Progress, Verdict, survey};
use crate::scenario::Scenario;
use crate::system::System;

/// A scenario with what its drivers share: the exploration, which others start from.
#[derive(Debug)]
pub struct Case {
    /// The scenario.
    pub scenario: Scenario,
    explored: OnceLock<Finding>,
    surveyed: OnceLock<System>,
}

impl Case {
    /// A scenario that nothing has run yet.
    pub fn new(scenario: Scenario) -> Self {
        Case {
            scenario,
            explored: OnceLock::new(),
            surveyed: OnceLock::new(),
        }
    }

    /// What the explorer found; explored now if this is the first time.
    pub(super) fn explored(&self, drivers: &Drivers, watch: Option<Watch>) -> &Finding {
        self.explored.get_or_init(|| drivers.explore(&self.scenario, watch))
    }

    /// The system with its statements stopped only where somebody could notice.
    pub(super) fn surveyed(&self, max_time: Option<Duration>) -> &System {
        self.surveyed
            .get_or_init(|| survey(&self.scenario.system, MOST_SURVEYED, max_time))
    }

    /// Runs one driver. A driver that panics is an error of ours, and is told as one.
    pub(crate) fn run(self: &Arc<Self>, driver: Driver, drivers: &Drivers, watch: Option<Watch>) -> Record {
        let ran = panic::catch_unwind(AssertUnwindSafe(|| drivers.drive(self, driver, watch)));
        let (finding, environment) = ran.unwrap_or_else(|payload| {
            let reason = format!(
                "the driver panicked, which is a mistake in deadheat: {}",
                text(&*payload)
            );
            let spec = self.scenario.system.spec();
            (Finding::without_run(driver, spec, Verdict::Error, reason), false)
        });
        let split = driver == Driver::Explore && drivers.explore.shard.is_some();
        Record::new(self.clone(), finding, environment, split)
    }
}

fn text(payload: &(dyn Any + Send)) -> &str {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// States that are looked at to find out where statements need to be stopped, at most.
const MOST_SURVEYED: u64 = 30_000;

/// What to run.
#[derive(Debug, Default)]
pub struct Plan {
    /// Only these drivers; those that each scenario names when empty.
    pub drivers: Vec<Driver>,
    /// How many scenarios at a time; as many as there are cores when `None`.
    pub jobs: Option<NonZero<usize>>,
    /// Whether it is a failure that a driver which does not try everything misses what another has seen.
    pub strict: bool,
}

/// What happens while a suite runs, for a progress display.
#[derive(Debug)]
pub enum News<'a> {
    /// A driver starts on a scenario.
    Starts(&'a Scenario, Driver),
    /// An exploration goes on.
    Explores(&'a str, Progress),
    /// A driver has ended.
    Ends(&'a Record),
}

/// Whoever is told the news, from any thread.
pub type Teller = Arc<dyn Fn(News<'_>) + Send + Sync>;

/// Runs every scenario with every driver that it names (and the plan allows).
pub fn run(scenarios: Vec<Scenario>, plan: &Plan, drivers: &Drivers, tell: &Teller) -> Results {
    let cases: Vec<Arc<Case>> = scenarios
        .into_iter()
        .map(|scenario| Arc::new(Case::new(scenario)))
        .collect();
    let slots: Vec<RwLock<Vec<Record>>> = cases.iter().map(|_| RwLock::default()).collect();
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let jobs = plan.jobs.unwrap_or(cores).get().min(cases.len()).max(1);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let records = run_case(case, plan, drivers, tell);
                    let place = cases.iter().position(|other| Arc::ptr_eq(other, case));
                    if let Some(slot) = place.and_then(|place| slots.get(place)) {
                        *slot.write().unwrap_or_else(PoisonError::into_inner) = records;
                    }
                }
            });
        }
    });
    let records = slots
        .into_iter()
        .flat_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner));
    Results {
        records: records.collect(),
        postgres: drivers.postgres.describe(),
    }
}

fn run_case(case: &Arc<Case>, plan: &Plan, drivers: &Drivers, tell: &Teller) -> Vec<Record> {
    let wanted = |driver: &&Driver| plan.drivers.is_empty() || plan.drivers.contains(driver);
    let mut records = Vec::new();
    for driver in case.scenario.drivers.iter().filter(wanted) {
        tell(News::Starts(&case.scenario, *driver));
        let (name, ears) = (case.scenario.name.clone(), tell.clone());
        let watch: Watch = Arc::new(move |progress: &Progress| ears(News::Explores(&name, *progress)));
        let record = case.run(*driver, drivers, Some(watch));
        tell(News::Ends(&record));
        records.push(record);
    }
    let seen: Vec<Arc<str>> = records.iter().flat_map(|record| record.finding.violated()).collect();
    for record in &mut records {
        record.settle(&seen, plan.strict);
    }
    // All drivers first: what has run by then is the same whatever their threads did.
    let database = &case.scenario.system.spec().world.database;
    let assumptions = database.assumptions();
    for record in &mut records {
        if record.finding.verdict == Verdict::Skipped {
            continue;
        }
        record.finding.assumptions.clone_from(&assumptions);
        if record.finding.driver == Driver::Postgres && !assumptions.is_empty() {
            record.finding.assumptions.extend(drivers.other_plans(database));
        }
    }
    records
}
