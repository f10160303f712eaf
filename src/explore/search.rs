//! The stateful search: breadth-first, level by level, every state once.
//!
//! Threads expand the states of a batch; what they find is added in the order of the batch. So the numbers of states, and all that
//! follows from them, do not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::judge::Judge;
use super::moves::{Expansion, Move, Moves, apply};
use super::options::{Options, Progress};
use super::parts::{PROCESSES, Parts, Row};
use super::verdict::Limit;
use super::visited::Visited;
use crate::system::{Outcome, Reads, Schedule, Step, System};

/// States that are expanded together, at most. A constant: results must not depend on it being chosen.
const BATCH: usize = 1 << 15;

/// A level is split into shards when each gets so many states, which makes them about equally large.
const SHARD_STATES: usize = 16;

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
    /// Final states by what they show.
    pub(super) outcomes: BTreeMap<Arc<Outcome>, Final>,
    pub(super) transitions: u64,
    pub(super) finals: u64,
    pub(super) depth: u64,
    /// The first step that met SQL which the model does not know.
    pub(super) refused: Option<(u32, u32)>,
    /// What stopped it.
    pub(super) stopped: Option<Limit>,
    visited: Visited,
    looked_at: u8,
}

/// Final states that show the same.
#[derive(Clone, Debug)]
pub(super) struct Final {
    pub(super) count: u64,
    pub(super) first: u32,
    pub(super) broken: Vec<u16>,
}

/// States of one level.
#[derive(Debug, Default)]
struct Level {
    rows: Vec<u32>,
    ends: Vec<usize>,
    digests: Vec<u128>,
    /// The number of the first.
    first: u32,
    /// The numbers of all, where they do not follow each other.
    numbers: Vec<u32>,
}

impl Level {
    fn push(&mut self, row: &[u32], digest: u128) {
        self.rows.extend_from_slice(row);
        self.ends.push(self.rows.len());
        self.digests.push(digest);
    }

    fn row(&self, place: usize) -> &[u32] {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.rows[start..self.ends[place]]
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Every `of`-th state, beginning with the `part`-th. The numbers of the others are not used.
    fn part(&self, part: u32, of: u32) -> Level {
        let mut kept = Level {
            first: self.first,
            ..Level::default()
        };
        let first = part.saturating_sub(1) as usize;
        for place in (first..self.len()).step_by(of as usize) {
            kept.push(self.row(place), self.digests[place]);
            kept.numbers.push(self.number(place));
        }
        kept
    }

    /// The number of a state.
    fn number(&self, place: usize) -> u32 {
        self.numbers.get(place).copied().unwrap_or(self.first + place as u32)
    }

    /// The place of a state.
    fn place(&self, number: u32) -> usize {
        if self.numbers.is_empty() {
            (number - self.first) as usize
        } else {
            self.numbers.partition_point(|known| *known < number)
        }
    }

    fn bytes(&self) -> u64 {
        (self.rows.capacity() * 4 + self.ends.capacity() * 8 + self.digests.capacity() * 16) as u64
    }
}

/// One thread's tools.
struct Worker<'a> {
    moves: Moves<'a>,
    judge: Judge<'a>,
    expansion: Expansion,
    reduction: bool,
    looked_at: u8,
}

/// What a thread found in its share of a batch.
#[derive(Default)]
struct Share {
    found: Vec<Found>,
    ticks: Vec<Move>,
    transitions: u64,
    broken: Vec<(u32, u16)>,
    finals: Vec<(u32, Arc<Outcome>, Vec<u16>)>,
    refused: Option<(u32, u32)>,
}

/// A state that may be new.
struct Found {
    digest: u128,
    from: u32,
    /// A number of [`Moves`], or of the share's ticks.
    made: u32,
    is_tick: bool,
}

impl<'a> Search<'a> {
    /// Runs a whole search.
    pub(super) fn run(system: &'a System, parts: &'a Parts, options: &Options, started: Instant) -> Self {
        let mut looked_at = 0;
        loop {
            let mut search = Search::new(system, parts, looked_at);
            search.explore(options, started);
            // A step that an invariant was thought not to see must not have been left out.
            let grown = search.looked_at;
            if grown == looked_at || !options.reduction {
                return search;
            }
            looked_at = grown;
        }
    }

    fn new(system: &'a System, parts: &'a Parts, looked_at: u8) -> Self {
        Search {
            system,
            parts,
            origins: Vec::new(),
            broken: vec![None; system.spec().invariants.len()],
            outcomes: BTreeMap::new(),
            transitions: 0,
            finals: 0,
            depth: 0,
            refused: None,
            stopped: None,
            visited: Visited::new(),
            looked_at,
        }
    }

    fn explore(&mut self, options: &Options, started: Instant) {
        let threads = options.threads.max(1);
        let mut workers: Vec<Worker<'a>> = (0..threads)
            .map(|_| Worker::new(self.system, self.parts, options.reduction, self.looked_at))
            .collect();
        let mut level = Level::default();
        let initial = self.parts.row(&self.system.initial());
        let digest = self.parts.read().digest(&initial);
        self.visited.insert(digest);
        self.origins.push((u32::MAX, 0));
        level.push(&initial, digest);
        let mut depth = 0;
        let mut split = None;
        let mut shard = options.shard.filter(|(_, of)| *of > 1);
        while level.len() > 0 {
            self.depth = depth;
            let mut next = Level {
                first: self.origins.len() as u32,
                ..Level::default()
            };
            let mut start = 0;
            while start < level.len() {
                let end = (start + BATCH).min(level.len());
                self.batch(&mut workers, &level, start, end, &mut next);
                start = end;
                let memory = self.memory(&workers, &level, &next);
                if let Some(limit) = self.met(options, memory, started) {
                    self.stopped = Some(limit);
                    return;
                }
                if let Some(tell) = &options.progress {
                    tell(&Progress {
                        states: self.origins.len() as u64,
                        frontier: (level.len() - end + next.len()) as u64,
                        depth,
                        memory,
                        seconds: started.elapsed().as_secs_f64(),
                    });
                }
            }
            if options.stop_at_violation && self.broken.iter().any(Option::is_some) {
                self.stopped = Some(Limit::Steps(depth));
                return;
            }
            if let Some((part, of)) = shard
                && next.len() >= of as usize * SHARD_STATES
            {
                next = next.part(part, of);
                split = Some(Limit::Shard(part, of));
                shard = None;
            }
            level = next;
            depth += 1;
        }
        self.stopped = split;
        let seen = workers.iter().fold(0, |all, worker| all | worker.judge.looked_at());
        self.looked_at |= seen;
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
        let moves: u64 = workers.iter().map(|worker| worker.moves.bytes()).sum();
        let origins = self.origins.capacity() as u64 * 8;
        self.visited.bytes() + origins + level.bytes() + next.bytes() + moves + self.parts.read().bytes()
    }

    fn batch(&mut self, workers: &mut [Worker<'a>], level: &Level, start: usize, end: usize, next: &mut Level) {
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
        for (share, worker) in shares.into_iter().zip(workers.iter()) {
            self.add(share, worker, level, next);
        }
    }

    fn add(&mut self, share: Share, worker: &Worker<'_>, level: &Level, next: &mut Level) {
        let mut row = Row::new();
        for found in share.found {
            if !self.visited.insert(found.digest) {
                continue;
            }
            let made = match found.is_tick {
                true => &share.ticks[found.made as usize],
                false => worker.moves.get(found.made),
            };
            apply(level.row(level.place(found.from)), made, &mut row);
            self.origins.push((found.from, made.step));
            next.push(&row, found.digest);
        }
        self.transitions += share.transitions;
        for (state, invariant) in share.broken {
            let first = &mut self.broken[usize::from(invariant)];
            *first = Some(first.map_or(state, |first| first.min(state)));
        }
        for (state, outcome, broken) in share.finals {
            self.finals += 1;
            let entry = self.outcomes.entry(outcome).or_insert_with(|| Final {
                count: 0,
                first: state,
                broken: Vec::new(),
            });
            entry.count += 1;
            entry.first = entry.first.min(state);
            entry.broken.extend(broken);
            entry.broken.sort_unstable();
            entry.broken.dedup();
        }
        self.refused = self.refused.or(share.refused);
    }

    pub(super) fn states(&self) -> u64 {
        self.origins.len() as u64
    }

    /// The steps that led to a state first.
    pub(super) fn steps(&self, state: u32) -> Vec<Step> {
        let pools = self.parts.read();
        let mut steps = Vec::new();
        let mut at = state;
        while let Some((from, step)) = self.origins.get(at as usize).filter(|(from, _)| *from != u32::MAX) {
            steps.push(pools.steps.get(*step).clone());
            at = *from;
        }
        steps.reverse();
        steps
    }

    pub(super) fn schedule(&self, state: u32) -> Schedule {
        Schedule {
            fingerprint: self.system.spec().fingerprint(),
            steps: self.steps(state),
        }
    }
}

impl<'a> Worker<'a> {
    fn new(system: &'a System, parts: &'a Parts, reduction: bool, looked_at: u8) -> Self {
        Worker {
            moves: Moves::new(system, parts),
            judge: Judge::new(system, parts),
            expansion: Expansion::default(),
            reduction,
            looked_at,
        }
    }

    fn expand(&mut self, level: &Level, start: usize, end: usize, visited: &Visited) -> Share {
        let mut share = Share::default();
        let mut broken = Vec::new();
        for place in start..end {
            let row = level.row(place);
            let digest = level.digests[place];
            let state = level.number(place);
            self.moves.expand(row, &mut self.expansion);
            let is_final = self.expansion.is_final;
            broken.clear();
            self.judge.broken(row, is_final, &mut broken);
            share.broken.extend(broken.iter().map(|invariant| (state, *invariant)));
            if is_final {
                share.finals.push((state, self.judge.outcome(row), broken.clone()));
            }
            let only = if self.reduction {
                self.private(row, digest, visited)
            } else {
                None
            };
            let all = 0..self.expansion.moves.len();
            let chosen = only.clone().unwrap_or(all);
            share.transitions += chosen.len() as u64;
            for number in &self.expansion.moves[chosen] {
                let made = self.moves.get(*number);
                if made.refused {
                    share.refused.get_or_insert((state, made.step));
                }
                let digest = digest.wrapping_add(made.digest);
                if !visited.contains(digest) {
                    share.found.push(Found {
                        digest,
                        from: state,
                        made: *number,
                        is_tick: false,
                    });
                }
            }
            if only.is_none() {
                for made in self.expansion.ticks.drain(..) {
                    share.transitions += 1;
                    share.found.push(Found {
                        digest: digest.wrapping_add(made.digest),
                        from: state,
                        made: share.ticks.len() as u32,
                        is_tick: true,
                    });
                    share.ticks.push(made);
                }
            }
        }
        share
    }

    /// The one move that need not be put off: a process's only step, which nobody else can see, prevent or use.
    ///
    /// It commutes with every step of every other process, now and later, and no fault can meet the process before it. So every run to a final state has a
    /// twin that takes it first; and no invariant that must always hold can tell the states on the way apart, because it looks
    /// at nothing that the step changes. A state that is known already is no reason to put the others off (that could close a cycle).
    fn private(&self, row: &[u32], digest: u128, visited: &Visited) -> Option<std::ops::Range<usize>> {
        if self.looked_at & (Reads::PROCESSES | Reads::STATUSES) != 0 {
            return None;
        }
        let single = |group: &&super::moves::Group| !group.faulty && group.end == group.first + 1;
        let groups = self.expansion.groups.iter().filter(single);
        groups.map(|group| group.first..group.end).find(|range| {
            let made = self.moves.get(self.expansion.moves[range.start]);
            made.private
                && !made.refused
                && (self.looked_at & Reads::EXCHANGES == 0 || !self.changes_exchange(row, made))
                && !visited.contains(digest.wrapping_add(made.digest))
        })
    }

    fn changes_exchange(&self, row: &[u32], made: &Move) -> bool {
        let pools = self.moves.pools();
        made.changes.iter().any(|(place, number)| {
            let place = usize::from(*place);
            let old = row.get(place).copied().unwrap_or(0);
            let exchange = |number| pools.processes.get(number).exchange;
            place >= PROCESSES && (old == 0 || exchange(old) != exchange(*number))
        })
    }
}
