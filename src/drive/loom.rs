//! The loom driver: loom's threads, Mutex and Condvar around the system, every order within a preemption bound.
//!
//! loom has at most five threads. Its main thread prepares the choices; up to four threads own the root processes, each with
//! everything its roots start, and share them when there are more. A choice that is not an order of threads (a fault, which of two
//! processes of one thread goes on, which way the world goes) is a relaxed load that races with a store: loom tries both values.
//!
//! loom tests its limit of permutations only at checkpoints, and returns as if it were done when it meets one. So it is
//! told to test at every iteration, runs are counted here, and only a search that ended below the limit counts as
//! exhausted. The preemption bound grows while searches end; the last that ended is the one that is stated.

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Condvar, Mutex};

use super::quiet;
use super::turns::{Chooser, Collected, Run, Turn};
use crate::explore::{Bounds, Driver, Evidence, Finding, Limit, Verdict, counted};
use crate::machine::Pid;
use crate::system::{FaultBudget, System};

/// How to run loom.
#[derive(Clone, Debug)]
pub struct LoomOptions {
    /// Permutations for each preemption bound, before that bound counts as out of reach.
    pub max_permutations: usize,
    /// Preemption bounds to try, in this order; `None` is no bound.
    pub preemptions: Vec<Option<usize>>,
    /// The most steps of a run.
    pub max_steps: usize,
    /// Stop after so much time.
    pub max_time: Option<Duration>,
    /// So much of it is over already.
    pub spent: Duration,
}

impl Default for LoomOptions {
    fn default() -> Self {
        LoomOptions {
            max_permutations: 20_000,
            preemptions: vec![Some(0), Some(1), Some(2), Some(3), None],
            max_steps: 1_000,
            max_time: None,
            spent: Duration::ZERO,
        }
    }
}

/// Runs the system on loom. What came to no end within even the first bound is `unknown`.
pub fn loom(system: &System, options: &LoomOptions) -> Finding {
    let now = Instant::now();
    let started = now.checked_sub(options.spent).unwrap_or(now);
    let mut best: Option<(Option<usize>, Collected)> = None;
    let mut cut = None;
    for bound in &options.preemptions {
        match quiet::run(|| search(system, *bound, options, started)) {
            Err(message) => {
                let reason = format!("loom panicked: {message}");
                return Finding::without_run(Driver::Loom, system.spec(), Verdict::Error, reason);
            }
            Ok((collected, None)) => best = Some((*bound, collected)),
            Ok((collected, Some(limit))) => {
                cut = Some((collected, limit));
                break;
            }
        }
    }
    let mut finding = conclude(system, best, cut);
    finding.stats.seconds = started.elapsed().as_secs_f64();
    finding
}

fn conclude(system: &System, best: Option<(Option<usize>, Collected)>, cut: Option<(Collected, Limit)>) -> Finding {
    let mut bounds = Bounds::of(system.spec());
    match (best, cut) {
        (Some((bound, mut collected)), cut) => {
            if let Some(bound) = bound {
                bounds.own.push((Bounds::PREEMPTIONS, bound as u64));
            }
            let more = cut.map(|(cut, limit)| {
                collected.merge(cut);
                format!("with more preemptions it was stopped at {limit}")
            });
            let mut finding = collected.finding(Driver::Loom, system, Evidence::Exhausted, Verdict::Held, bounds);
            finding.reason = finding.reason.or(more);
            finding
        }
        (None, cut) => {
            let (collected, limit) = cut.unwrap_or((Collected::default(), Limit::Schedules(0)));
            let (evidence, runs) = (Evidence::Truncated { limit }, collected.runs);
            let mut finding = collected.finding(Driver::Loom, system, evidence, Verdict::Unknown, bounds);
            finding.reason.get_or_insert_with(|| match limit {
                Limit::Schedules(_) => format!("stopped at {limit}"),
                limit => format!("stopped at {limit} after {}", counted(runs, "schedule")),
            });
            finding
        }
    }
}

/// One search within a bound: what it collected, and what stopped it before its end.
fn search(
    system: &System,
    bound: Option<usize>,
    options: &LoomOptions,
    started: Instant,
) -> (Collected, Option<Limit>) {
    let mut choices = if is_plain(system) { 4 } else { 96 };
    loop {
        let left = options.max_time.map(|most| most.saturating_sub(started.elapsed()));
        let collected = collected(Run::new(system, options.max_steps), |first, finished| {
            builder(bound, options, left).check(move || once(&first, choices, &finished));
        });
        // loom returns from a limit as from the end.
        let late = options.max_time.filter(|most| started.elapsed() >= *most);
        let ended = (collected.runs as usize) < options.max_permutations.saturating_sub(1);
        if let Some(most) = late {
            return (collected, Some(Limit::Seconds(most.as_secs())));
        }
        if collected.cut > 0 && choices < MOST_CHOICES {
            choices *= 2;
            continue;
        }
        let limit = match (ended, collected.cut) {
            (true, 0) => None,
            (false, _) => Some(Limit::Schedules(options.max_permutations as u64)),
            (true, _) => Some(Limit::Steps(options.max_steps as u64)),
        };
        return (collected, limit);
    }
}

/// Binary choices that are prepared for a run, at most.
const MOST_CHOICES: usize = 384;

/// Switching points of a run, at most: enough for every step, wake-up and choice of the longest run.
const MOST_BRANCHES: usize = 40_000;

/// In machine words. loom's own default of 32 KiB is too small to interpret SQL on.
const STACK_WORDS: usize = 128 << 10;

fn is_plain(system: &System) -> bool {
    system.spec().faults == FaultBudget::NONE && system.spec().roots.len() <= WORKERS
}

/// loom's five threads without its main one.
const WORKERS: usize = ::loom::MAX_THREADS - 1;

fn builder(bound: Option<usize>, options: &LoomOptions, left: Option<Duration>) -> ::loom::model::Builder {
    let mut builder = ::loom::model::Builder::new();
    builder.max_threads = ::loom::MAX_THREADS;
    builder.max_branches = MOST_BRANCHES;
    builder.max_permutations = Some(options.max_permutations);
    builder.max_duration = left;
    builder.preemption_bound = bound;
    builder.checkpoint_file = None;
    builder.checkpoint_interval = 1;
    builder.expect_explicit_explore = true;
    builder.location = false;
    builder.log = false;
    builder
}

/// Collects the runs of a check. loom's main thread has a stack of 32 KiB that can't be changed, too small to judge a state on; so the first
/// state is judged before, and the last ones on a thread beside.
fn collected(first: Run, check: impl FnOnce(Run, SyncSender<Option<Run>>)) -> Collected {
    let (finished, runs) = sync_channel::<Option<Run>>(64);
    let over = finished.clone();
    thread::scope(|scope| {
        let collector = scope.spawn(move || {
            let mut collected = Collected::default();
            while let Ok(Some(run)) = runs.recv() {
                collected.add(&run);
            }
            collected
        });
        let checked = panic::catch_unwind(AssertUnwindSafe(|| check(first, finished)));
        // A check that panicked may have left senders behind in its threads: the end is told, not concluded.
        let _ = over.send(None);
        let collected = collector.join();
        match (checked, collected) {
            (Ok(()), Ok(collected)) => collected,
            (Err(payload), _) | (_, Err(payload)) => panic::resume_unwind(payload),
        }
    })
}

fn once(first: &Run, choices: usize, finished: &SyncSender<Option<Run>>) {
    let workers = first.system().spec().roots.len().clamp(1, WORKERS);
    let table = Arc::new(Table {
        run: Mutex::new(Some(first.clone())),
        beds: (0..workers).map(|_| Condvar::new()).collect(),
        coins: (0..choices).map(|_| AtomicBool::new(false)).collect(),
        tossed: StdMutex::new(0),
        asleep: StdMutex::new(Vec::new()),
    });
    let threads = (0..workers).filter_map(|worker| {
        let table = table.clone();
        let thread = ::loom::thread::Builder::new().stack_size(STACK_WORDS);
        thread.spawn(move || table.work(worker)).ok()
    });
    let threads: Vec<_> = threads.collect();
    // Not ordered before anything that the workers do, so that each of their loads may see the old value or the new.
    for coin in &table.coins {
        coin.store(true, Ordering::Relaxed);
    }
    ::loom::explore();
    for thread in threads {
        let _ = thread.join();
    }
    let run = table.run.lock().ok().and_then(|mut run| run.take());
    if let Some(run) = run {
        // Nobody listens any more only after a panic, which is told anyway.
        let _ = finished.send(Some(run));
    }
}

struct Table {
    run: Mutex<Option<Run>>,
    beds: Vec<Condvar>,
    coins: Vec<AtomicBool>,
    tossed: StdMutex<usize>,
    asleep: StdMutex<Vec<usize>>,
}

impl Table {
    fn work(&self, worker: usize) {
        let owner = |pid: Pid| usize::from(pid.top()) % self.beds.len();
        loop {
            let Ok(mut guard) = self.run.lock() else { return };
            loop {
                let Some(run) = guard.as_mut() else { return };
                let mut coins = Coins {
                    table: self,
                    dry: false,
                };
                let turn = run.turn(|pid| owner(pid) == worker, &mut coins);
                if coins.dry {
                    run.cut();
                }
                let wake = match &turn {
                    Turn::Over => (0..self.beds.len()).collect(),
                    Turn::Again(pids) | Turn::Sleep(pids) => owners(pids, owner),
                };
                // A call to wake somebody who is awake would only add orders that differ in nothing.
                for bed in wake {
                    if self.rise(bed) {
                        self.beds[bed].notify_one();
                    }
                }
                match turn {
                    Turn::Over => return,
                    Turn::Again(_) => break,
                    Turn::Sleep(_) => {
                        self.lie_down(worker);
                        match self.beds[worker].wait(guard) {
                            Ok(woken) => guard = woken,
                            Err(_) => return,
                        }
                    }
                }
            }
            drop(guard);
        }
    }
}

impl Table {
    fn lie_down(&self, worker: usize) {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        asleep.push(worker);
    }

    /// Whether the worker slept, and so has to be woken.
    fn rise(&self, worker: usize) -> bool {
        let mut asleep = self.asleep.lock().unwrap_or_else(PoisonError::into_inner);
        let before = asleep.len();
        asleep.retain(|sleeper| *sleeper != worker);
        asleep.len() < before
    }
}

fn owners(pids: &[Pid], owner: impl Fn(Pid) -> usize) -> Vec<usize> {
    let mut owners: Vec<usize> = pids.iter().map(|pid| owner(*pid)).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// Coins that loom tosses both ways.
struct Coins<'a> {
    table: &'a Table,
    dry: bool,
}

impl Coins<'_> {
    fn toss(&mut self) -> bool {
        let place = {
            let mut tossed = self.table.tossed.lock().unwrap_or_else(PoisonError::into_inner);
            *tossed += 1;
            *tossed - 1
        };
        match self.table.coins.get(place) {
            Some(coin) => coin.load(Ordering::Relaxed),
            None => {
                self.dry = true;
                false
            }
        }
    }
}

impl Chooser for Coins<'_> {
    fn pick(&mut self, usual: usize, odd: usize) -> usize {
        let last = usual + odd - 1;
        (0..last).find(|_| !self.toss()).unwrap_or(last)
    }
}
