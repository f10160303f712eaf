//! The stateful search: breadth-first, level by level, every state once.
//!
//! Threads expand the states of a batch; what they find is added in the order of the batch. So the numbers of states, and all that
//! follows from them, do not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint::Checkpoint;
use super::level::Level;
use super::moves::apply;
use super::options::{Options, Progress};
use super::parts::{Parts, Row};
use super::symmetry::Alike;
use super::verdict::{Inside, Limit};
use super::visited::Visited;
use super::worker::{Share, Worker};
use crate::machine::{Notes, Renaming};
use crate::system::{Learned, Outcome, Points, Step, System};

/// States that are expanded together, at most. A constant: results must not depend on it being chosen.
const BATCH: usize = 1 << 15;

/// A level is split into shards when each gets so many states, which makes them about equally large.
const SHARD_STATES: usize = 16;

/// What was reached is kept so often, for those who ask for it.
const KEPT_EVERY: Duration = Duration::from_secs(120);

/// Fewer states than this are not worth a second thread.
const WORTH_A_THREAD: usize = 1 << 10;

/// What a search has found.
pub(super) struct Search<'a> {
    pub(super) system: &'a System,
    pub(super) parts: &'a Parts,
    /// For each state the one it was first reached from, and the number of the step.
    pub(super) origins: Vec<(u32, u32)>,
    /// For each invariant the first state that breaks it.
    pub(super) broken: Vec<Option<u32>>,
    /// For each of those that is broken, a schedule to that state.
    pub(super) breaks: Vec<(u16, Vec<Step>)>,
    /// Final states by what they show.
    pub(super) outcomes: BTreeMap<Arc<Outcome>, Final>,
    pub(super) transitions: u64,
    pub(super) finals: u64,
    pub(super) depth: u64,
    /// The first step that met SQL which the model does not know.
    pub(super) refused: Option<(u32, u32)>,
    /// What stopped it.
    pub(super) stopped: Option<Limit>,
    pub(super) visited: Visited,
    pub(super) looked_at: u8,
    pub(super) alike: Option<&'a Alike>,
    /// The roots that were thought alike are not.
    pub(super) failed: bool,
    /// The level that was split into shards.
    pub(super) split: Option<u64>,
    /// The checkpoint to go on from is not of this system.
    pub(super) is_foreign: bool,
    /// What its statements taught of each other.
    pub(super) learned: Learned,
    /// A statement was not stopped where somebody could notice, as is known now.
    pub(super) unforeseen: bool,
    /// Where the machines note what they pass.
    pub(super) notes: Option<Arc<Notes>>,
}

/// Final states that show the same.
#[derive(Clone, Debug)]
pub(super) struct Final {
    pub(super) count: u64,
    /// The first that was met, and how its roots are called.
    pub(super) first: (u32, Option<Renaming>),
    /// A schedule that leads there.
    pub(super) witness: Vec<Step>,
    pub(super) broken: Vec<u16>,
}

impl<'a> Search<'a> {
    /// Runs a whole search.
    pub(super) fn run(
        system: &'a System,
        parts: &'a Parts,
        alike: Option<&'a Alike>,
        notes: Option<&Arc<Notes>>,
        options: &Options,
        started: Instant,
    ) -> Self {
        let mut resume = options.resume.as_deref();
        let (mut looked_at, mut alike) = match resume {
            Some(from) => (from.head.looked_at, alike.filter(|_| from.head.symmetry)),
            None => (0, alike),
        };
        loop {
            let mut search = Search::new(system, parts, alike, looked_at);
            search.notes = notes.cloned();
            search.explore(resume.take(), options, started);
            if search.is_foreign || search.unforeseen {
                return search;
            }
            // A step that an invariant was thought not to see must not have been left out.
            let grown = search.looked_at;
            let is_whole = grown == looked_at || !options.reduction;
            if search.failed || is_whole && !search.find_ways() {
                alike = None;
            } else if is_whole {
                return search;
            }
            looked_at = grown;
        }
    }

    fn new(system: &'a System, parts: &'a Parts, alike: Option<&'a Alike>, looked_at: u8) -> Self {
        Search {
            system,
            parts,
            origins: Vec::new(),
            broken: vec![None; system.spec().invariants.len()],
            breaks: Vec::new(),
            outcomes: BTreeMap::new(),
            transitions: 0,
            finals: 0,
            depth: 0,
            refused: None,
            stopped: None,
            visited: Visited::new(),
            looked_at,
            alike,
            failed: false,
            split: None,
            is_foreign: false,
            learned: Learned::default(),
            unforeseen: false,
            notes: None,
        }
    }

    fn explore(&mut self, resume: Option<&Checkpoint>, options: &Options, started: Instant) {
        let threads = options.threads.max(1);
        let mut workers: Vec<Worker<'a>> = (0..threads)
            .map(|_| Worker::new(self.system, self.parts, self.alike, options.reduction, self.looked_at))
            .collect();
        for worker in &mut workers {
            worker.deadline = options.deadline(started);
        }
        let mut level = self.begin();
        let mut next = Level::beginning_at(self.origins.len());
        let (mut start, mut kept) = (0, started);
        if let Some(from) = resume {
            let Some((reached, after)) = self.rebuild(from, &mut workers[0], level) else {
                self.is_foreign = true;
                return;
            };
            (level, next) = (reached, after);
            start = from.head.done as usize;
        }
        while level.len() > 0 {
            while start < level.len() {
                let end = (start + BATCH).min(level.len());
                if self.batch(&mut workers, &level, start, end, &mut next) {
                    start = end;
                    self.unforeseen = self.learn(&mut workers);
                    if self.unforeseen {
                        return;
                    }
                }
                self.failed = workers.iter().any(Worker::failed);
                let seen = workers.iter().fold(0, |all, worker| all | worker.judge.looked_at());
                let has_grown = options.reduction && seen & !self.looked_at != 0;
                self.looked_at |= seen;
                if self.failed || has_grown {
                    return;
                }
                let memory = self.memory(&workers, &level, &next);
                self.stopped = self.met(options, memory, started);
                if let Some(keep) = &options.keep
                    && (self.stopped.is_some() || kept.elapsed() > KEPT_EVERY)
                {
                    keep(&self.checkpoint(options, start));
                    kept = Instant::now();
                }
                if self.stopped.is_some() {
                    return;
                }
                if let Some(tell) = &options.progress {
                    tell(&Progress {
                        states: self.origins.len() as u64,
                        frontier: (level.len() - end + next.len()) as u64,
                        left: Progress::estimate(level.len(), end, next.len()),
                        depth: self.depth,
                        memory,
                        seconds: started.elapsed().as_secs_f64(),
                    });
                }
            }
            if options.stop_at_violation && self.broken.iter().any(Option::is_some) {
                self.stopped = Some(Limit::Steps(self.depth));
                return;
            }
            if let Some((part, of)) = options.shard.filter(|(_, of)| *of > 1)
                && self.split.is_none()
                && next.len() >= of as usize * SHARD_STATES
            {
                next = next.part(part, of);
                self.split = Some(self.depth + 1);
            }
            level = next;
            next = Level::beginning_at(self.origins.len());
            start = 0;
            if level.len() > 0 {
                self.depth += 1;
            }
        }
        let shard = options.shard.filter(|_| self.split.is_some());
        self.stopped = shard.map(|(part, of)| Limit::Shard(part, of));
    }

    /// Adds what a batch has taught; true when a statement should have been stopped that was not.
    fn learn(&mut self, workers: &mut [Worker<'a>]) -> bool {
        let Points::Seen(known) = self.system.points() else {
            return false;
        };
        let mut is_new = false;
        for worker in workers {
            if std::mem::take(&mut worker.moves.has_learned) {
                self.learned.merge(&worker.moves.learned);
                is_new = true;
            }
        }
        // Who stands for others that start alike is several.
        if let Some(alike) = self.alike {
            self.learned.seen.widen(|pid| alike.has(pid));
        }
        is_new && self.learned.has_missed(known)
    }

    /// Which orders inside of statements it covers, once it is exhausted.
    pub(super) fn inside(&self) -> Inside {
        match self.system.points() {
            Points::None => Inside::Atoms,
            Points::All => Inside::Everywhere,
            Points::Seen(known) => Inside::Points(self.learned.stops(known)),
        }
    }

    /// The level of the first state.
    fn begin(&mut self) -> Level {
        let mut level = Level::default();
        let initial = self.parts.row(&self.system.initial());
        let digest = self.parts.read().digest(&initial);
        self.visited.insert(digest);
        self.origins.push((u32::MAX, 0));
        level.push(&initial, digest);
        level
    }

    fn met(&self, options: &Options, memory: u64, started: Instant) -> Option<Limit> {
        if let Some(limit) = options.max_states
            && self.origins.len() as u64 > limit
        {
            return Some(Limit::States(limit));
        }
        if let Some(limit) = options.max_memory
            && memory > limit
        {
            return Some(Limit::Memory(limit >> 20));
        }
        let limit = options.max_time.filter(|limit| started.elapsed() > *limit)?;
        Some(Limit::Seconds(limit.as_secs()))
    }

    fn memory(&self, workers: &[Worker<'_>], level: &Level, next: &Level) -> u64 {
        let moves: u64 = workers.iter().map(Worker::bytes).sum();
        let origins = self.origins.capacity() as u64 * 8;
        self.visited.bytes() + origins + level.bytes() + next.bytes() + moves + self.parts.read().bytes()
    }

    /// Expands some states; false when the time was over before all of them were. Then nothing of it is added but what it broke, so that a
    /// checkpoint goes on from where the batch began.
    fn batch(&mut self, workers: &mut [Worker<'a>], level: &Level, start: usize, end: usize, next: &mut Level) -> bool {
        let count = end - start;
        let threads = if count < WORTH_A_THREAD { 1 } else { workers.len() };
        let visited = &self.visited;
        let shares: Vec<Share> = if threads == 1 {
            vec![workers[0].expand(level, start, end, visited)]
        } else {
            std::thread::scope(|scope| {
                let size = count.div_ceil(threads);
                let running: Vec<_> = workers
                    .iter_mut()
                    .enumerate()
                    .map(|(place, worker)| {
                        let from = (start + place * size).min(end);
                        let to = (from + size).min(end);
                        scope.spawn(move || worker.expand(level, from, to, visited))
                    })
                    .collect();
                let ended = running.into_iter().map(|thread| match thread.join() {
                    Ok(share) => share,
                    Err(payload) => std::panic::resume_unwind(payload),
                });
                ended.collect()
            })
        };
        if shares.iter().any(|share| share.is_cut) {
            shares.iter().for_each(|share| self.note_broken(share));
            return false;
        }
        for (share, worker) in shares.into_iter().zip(workers.iter()) {
            self.add(share, worker, level, next);
        }
        true
    }

    fn note_broken(&mut self, share: &Share) {
        for (state, invariant) in &share.broken {
            let first = &mut self.broken[usize::from(*invariant)];
            *first = Some(first.map_or(*state, |first| first.min(*state)));
        }
    }

    fn add(&mut self, share: Share, worker: &Worker<'_>, level: &Level, next: &mut Level) {
        let mut row = Row::new();
        self.note_broken(&share);
        for found in share.found {
            if !self.visited.insert(found.digest) {
                continue;
            }
            let made = match found.is_tick {
                true => &share.ticks[found.made as usize],
                false => worker.moves.get(found.made),
            };
            match found.sorted {
                Some(place) => row.clone_from(&share.sorted[place as usize]),
                None => apply(level.row(level.place(found.from)), made, &mut row),
            }
            self.origins.push((found.from, made.step));
            next.push(&row, found.digest);
        }
        self.transitions += share.transitions;
        for ended in share.finals {
            self.finals += 1;
            let entry = self.outcomes.entry(ended.outcome).or_insert_with(|| Final {
                count: 0,
                first: (ended.state, ended.names.clone()),
                witness: Vec::new(),
                broken: Vec::new(),
            });
            entry.count += 1;
            if ended.state < entry.first.0 {
                entry.first = (ended.state, ended.names);
            }
            entry.broken.extend(ended.broken);
            entry.broken.sort_unstable();
            entry.broken.dedup();
        }
        self.refused = self.refused.or(share.refused);
    }

    pub(super) fn states(&self) -> u64 {
        self.origins.len() as u64
    }
}
