//! The shuttle driver: shuttle's threads, Mutex and Condvar around the system, orders chosen at random.
//!
//! Each process is a thread of its own, started when the process is. Faults and the ways of the world are chosen through shuttle's
//! own random numbers. Half of the runs use the random scheduler, half PCT; both start from a seed that is derived from
//! the scenario, so that two runs find the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use shuttle::rand::Rng;
use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Schedule as Order, Scheduler, Task, TaskId};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use super::quiet;
use super::turns::{Chooser, Collected, Run, Turn};
use crate::explore::{Bounds, Driver, Evidence, Finding, Limit, Miss, Verdict, counted};
use crate::machine::Pid;
use crate::system::{FaultBudget, System};

/// How to run shuttle.
#[derive(Clone, Debug)]
pub struct ShuttleOptions {
    /// Runs with the random scheduler.
    pub random: usize,
    /// Runs with the PCT scheduler.
    pub pct: usize,
    /// PCT's depth: how many ordering constraints a bug may need.
    pub depth: usize,
    /// The most steps of a run.
    pub max_steps: usize,
    /// Mixed into the seed; 0 unless a user wants other schedules.
    pub seed: u64,
    /// Stop after so much time.
    pub max_time: Option<Duration>,
    /// So much of it is over already.
    pub spent: Duration,
}

impl Default for ShuttleOptions {
    fn default() -> Self {
        ShuttleOptions {
            random: 1_000,
            pct: 1_000,
            depth: 2,
            max_steps: 1_000,
            seed: 0,
            max_time: None,
            spent: Duration::ZERO,
        }
    }
}

/// Runs the system on shuttle.
pub fn shuttle(system: &System, options: &ShuttleOptions) -> Finding {
    let now = Instant::now();
    let started = now.checked_sub(options.spent).unwrap_or(now);
    let seed = (u64::from(system.spec().fingerprint()) << 32) ^ options.seed;
    let outcome = quiet::run(|| {
        let mut collected = Collected::default();
        if options.random > 0 {
            let scheduler = RandomScheduler::new_from_seed(seed, options.random);
            collected.merge(search(system, scheduler, options, started).0);
        }
        // PCT measures the length of runs in its first one, and refuses a system in which nothing is concurrent.
        let concurrent = system.spec().roots.len() > 1;
        let miss = if options.pct > 0 && concurrent {
            let scheduler = PctScheduler::new_from_seed(!seed, options.depth, options.pct);
            let (found, switches) = search(system, scheduler, options, started);
            let miss = miss(system, options, &found, switches);
            collected.merge(found);
            miss
        } else {
            None
        };
        (collected, miss)
    });
    let (collected, miss) = match outcome {
        Ok(outcome) => outcome,
        Err(message) => {
            let reason = format!("shuttle panicked: {message}");
            return Finding::without_run(Driver::Shuttle, system.spec(), Verdict::Error, reason);
        }
    };
    let runs = collected.runs;
    let late = options.max_time.filter(|most| started.elapsed() >= *most);
    let late = late.map(|most| Limit::Seconds(most.as_secs()));
    let (evidence, unbroken) = match late {
        Some(limit) => (Evidence::Truncated { limit }, Verdict::Unknown),
        None => (Evidence::Sampled { runs, miss }, Verdict::Held),
    };
    let bounds = Bounds::of(system.spec());
    let mut finding = collected.finding(Driver::Shuttle, system, evidence, unbroken, bounds);
    let stopped = late.map(|limit| format!("stopped at {limit} after {}", counted(runs, "schedule")));
    finding.reason = finding.reason.or(stopped);
    finding.stats.seconds = started.elapsed().as_secs_f64();
    finding
}

/// Runs the system on shuttle's depth-first scheduler, which tries every order of threads: for comparisons, because it seldom comes to an end.
///
/// It can't try both ways of anything that is chosen at random. So a system in which something is (a fault, a way of the world) is an
/// error here.
pub fn shuttle_dfs(system: &System, max_steps: usize) -> Finding {
    let started = Instant::now();
    let options = ShuttleOptions {
        max_steps,
        ..ShuttleOptions::default()
    };
    let scheduler = || DfsScheduler::new(None, false);
    let collected = match quiet::run(|| search(system, scheduler(), &options, started).0) {
        Ok(collected) => collected,
        Err(message) => {
            let reason = format!("shuttle panicked: {message}");
            return Finding::without_run(Driver::Shuttle, system.spec(), Verdict::Error, reason);
        }
    };
    let evidence = match collected.cut {
        0 => Evidence::Exhausted,
        _ => Evidence::Truncated {
            limit: Limit::Steps(max_steps as u64),
        },
    };
    let bounds = Bounds::of(system.spec());
    let mut finding = collected.finding(Driver::Shuttle, system, evidence, Verdict::Held, bounds);
    finding.stats.seconds = started.elapsed().as_secs_f64();
    finding
}

/// The chance that every PCT run misses a bug that is there: each finds one of depth d among n threads and k switching points with
/// at least 1/(n k^(d-1)). Nothing is promised where something else than the order of threads is chosen at random.
fn miss(system: &System, options: &ShuttleOptions, found: &Collected, switches: Switches) -> Option<Miss> {
    let chosen = system.spec().faults != FaultBudget::NONE || found.cut > 0;
    if chosen || found.chose {
        return None;
    }
    let (threads, points) = (switches.threads.max(1) as f64, switches.points.max(1) as f64);
    let hit = 1.0 / (threads * points.powi(options.depth as i32 - 1));
    // shuttle's first PCT run only measures.
    let runs = found.runs.saturating_sub(1) as f64;
    Some(Miss {
        depth: options.depth as u32,
        chance: (runs * (-hit).ln_1p()).exp(),
    })
}

fn search<S: Scheduler + 'static>(
    system: &System,
    scheduler: S,
    options: &ShuttleOptions,
    started: Instant,
) -> (Collected, Switches) {
    let switches = Arc::new(StdMutex::new(Switches::default()));
    let shared = Arc::new(StdMutex::new(Collected::default()));
    let counting = Counting {
        inner: scheduler,
        points: 0,
        most: switches.clone(),
    };
    let (system, collect, max_steps) = (system.clone(), shared.clone(), options.max_steps);
    let left = options.max_time.map(|most| most.saturating_sub(started.elapsed()));
    Runner::new(counting, config(left)).run(move || once(&system, max_steps, &collect));
    let collected = std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner));
    let switches = *switches.lock().unwrap_or_else(PoisonError::into_inner);
    (collected, switches)
}

fn config(left: Option<Duration>) -> Config {
    let mut config = Config::new();
    // shuttle's own default of 60 KiB is too small to interpret SQL on.
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    config.max_time = left;
    config.silence_warnings = true;
    config
}

/// The most threads and switching points of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Switches {
    threads: usize,
    points: usize,
}

/// A scheduler that counts what another one decides.
struct Counting<S> {
    inner: S,
    points: usize,
    most: Arc<StdMutex<Switches>>,
}

impl<S: Scheduler> Scheduler for Counting<S> {
    fn new_execution(&mut self) -> Option<Order> {
        self.points = 0;
        self.inner.new_execution()
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        if runnable.len() > 1 {
            self.points += 1;
        }
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        most.points = most.points.max(self.points);
        most.threads = runnable
            .iter()
            .map(|task| usize::from(task.id()) + 1)
            .fold(most.threads, usize::max);
        drop(most);
        self.inner.next_task(runnable, current, is_yielding)
    }

    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }
}

fn once(system: &System, max_steps: usize, collect: &StdMutex<Collected>) {
    let table = Arc::new(Table {
        run: Mutex::new(Run::new(system, max_steps)),
        beds: StdMutex::new(BTreeMap::new()),
        finished: Condvar::new(),
    });
    let Ok(mut run) = table.run.lock() else { return };
    for pid in run.pids().collect::<Vec<_>>() {
        table.start(pid);
    }
    while !run.is_over() {
        match table.finished.wait(run) {
            Ok(guard) => run = guard,
            Err(_) => return,
        }
    }
    collect.lock().unwrap_or_else(PoisonError::into_inner).add(&run);
}

struct Table {
    run: Mutex<Run>,
    beds: StdMutex<BTreeMap<Pid, Arc<Condvar>>>,
    finished: Condvar,
}

impl Table {
    /// Starts the thread of a process, unless it has one.
    fn start(self: &Arc<Self>, pid: Pid) {
        let mut beds = self.beds.lock().unwrap_or_else(PoisonError::into_inner);
        if beds.contains_key(&pid) {
            return;
        }
        beds.insert(pid, Arc::new(Condvar::new()));
        drop(beds);
        let table = self.clone();
        shuttle::thread::spawn(move || table.work(pid));
    }

    fn bed(&self, pid: Pid) -> Option<Arc<Condvar>> {
        self.beds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&pid)
            .cloned()
    }

    fn work(self: &Arc<Self>, pid: Pid) {
        let Some(bed) = self.bed(pid) else { return };
        let Ok(mut run) = self.run.lock() else { return };
        loop {
            let turn = run.turn(|other| other == pid, &mut Dice);
            for pid in run.pids().collect::<Vec<_>>() {
                self.start(pid);
            }
            let wake = match &turn {
                Turn::Over => run.pids().collect(),
                Turn::Again(pids) | Turn::Sleep(pids) => pids.clone(),
            };
            for other in wake.into_iter().filter(|other| *other != pid) {
                if let Some(bed) = self.bed(other) {
                    bed.notify_one();
                }
            }
            let next = match turn {
                Turn::Over => {
                    self.finished.notify_one();
                    return;
                }
                Turn::Again(_) => {
                    drop(run);
                    self.run.lock()
                }
                Turn::Sleep(_) => bed.wait(run),
            };
            match next {
                Ok(guard) => run = guard,
                Err(_) => return,
            }
        }
    }
}

/// Faults are rare: one in so many steps at which one could happen.
const FAULT_ONE_IN: usize = 8;

struct Dice;

impl Chooser for Dice {
    fn pick(&mut self, usual: usize, odd: usize) -> usize {
        let mut dice = shuttle::rand::thread_rng();
        match odd {
            1.. if usual == 0 || dice.gen_range(0..FAULT_ONE_IN) == 0 => usual + dice.gen_range(0..odd),
            _ => dice.gen_range(0..usual),
        }
    }
}
