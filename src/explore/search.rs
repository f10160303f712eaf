//! The stateful search: breadth-first, level by level, every state once.
//!
//! Threads expand the states of a batch; what they find is added in the order of the batch. So the numbers of states, and all that
//! follows from them, do not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Head, Kept, VERSION};
use super::judge::Judge;
use super::moves::{Expansion, Move, Moves, apply};
use super::options::{Options, Progress};
use super::parts::{PROCESSES, Parts, Row};
use super::symmetry::{Alike, Symmetry};
use super::verdict::Limit;
use super::visited::Visited;
use crate::machine::Renaming;
use crate::system::{Outcome, Reads, Schedule, Step, System};

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
    alike: Option<&'a Alike>,
    /// The roots that were thought alike are not.
    failed: bool,
    /// The level that was split into shards.
    split: Option<u64>,
    /// The checkpoint to go on from is not of this system.
    pub(super) is_foreign: bool,
}

/// Final states that show the same.
#[derive(Clone, Debug)]
pub(super) struct Final {
    pub(super) count: u64,
    /// The first that was met, and how its roots are called.
    first: (u32, Option<Renaming>),
    /// A schedule that leads there.
    pub(super) witness: Vec<Step>,
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

    /// The empty level that comes after one.
    fn after(level: &Level) -> Level {
        Level {
            first: level.first + level.len() as u32,
            ..Level::default()
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
    symmetry: Option<Symmetry<'a>>,
}

/// What a thread found in its share of a batch.
#[derive(Default)]
struct Share {
    found: Vec<Found>,
    ticks: Vec<Move>,
    transitions: u64,
    broken: Vec<(u32, u16)>,
    finals: Vec<Ended>,
    /// New states that are not simply what a move made of an old one.
    sorted: Vec<Row>,
    refused: Option<(u32, u32)>,
}

/// A final state.
struct Ended {
    state: u32,
    names: Option<Renaming>,
    outcome: Arc<Outcome>,
    broken: Vec<u16>,
}

/// A state that may be new.
struct Found {
    digest: u128,
    from: u32,
    /// A number of [`Moves`], or of the share's ticks.
    made: u32,
    is_tick: bool,
    /// Its place among those that were sorted.
    sorted: Option<u32>,
}

impl<'a> Search<'a> {
    /// Runs a whole search.
    pub(super) fn run(
        system: &'a System,
        parts: &'a Parts,
        alike: Option<&'a Alike>,
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
            search.explore(resume.take(), options, started);
            if search.is_foreign {
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
        }
    }

    fn explore(&mut self, resume: Option<&Checkpoint>, options: &Options, started: Instant) {
        let threads = options.threads.max(1);
        let mut workers: Vec<Worker<'a>> = (0..threads)
            .map(|_| Worker::new(self.system, self.parts, self.alike, options.reduction, self.looked_at))
            .collect();
        let mut level = self.begin();
        let mut next = Level::after(&level);
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
                self.batch(&mut workers, &level, start, end, &mut next);
                start = end;
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
            next = Level {
                first: self.origins.len() as u32,
                ..Level::default()
            };
            start = 0;
            if level.len() > 0 {
                self.depth += 1;
            }
        }
        let shard = options.shard.filter(|_| self.split.is_some());
        self.stopped = shard.map(|(part, of)| Limit::Shard(part, of));
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

    /// What was reached, `done` states of the level being expanded.
    fn checkpoint(&self, options: &Options, done: usize) -> Checkpoint {
        let pools = self.parts.read();
        let steps = Schedule {
            fingerprint: self.system.spec().fingerprint(),
            steps: (1..=pools.steps.len() as u32)
                .map(|number| pools.steps.get(number).clone())
                .collect(),
        };
        let roots = 0..self.system.spec().roots.len() as u8;
        let outcomes = self.outcomes.values().map(|shown| {
            let (state, names) = &shown.first;
            Kept {
                count: shown.count,
                state: *state,
                names: names
                    .as_ref()
                    .map(|names| roots.clone().map(|root| names.top(root)).collect()),
                broken: shown.broken.clone(),
            }
        });
        let origins = self.origins[1..].to_vec();
        Checkpoint {
            head: Head {
                checkpoint: VERSION,
                deadheat: env!("CARGO_PKG_VERSION").to_owned(),
                fingerprint: steps.fingerprint,
                reduction: options.reduction,
                symmetry: self.alike.is_some(),
                shard: options.shard,
                looked_at: self.looked_at,
                split: self.split,
                depth: self.depth,
                done: done as u64,
                states: origins.len() as u64,
                steps: steps.to_string(),
                transitions: self.transitions,
                finals: self.finals,
                broken: self.broken.clone(),
                outcomes: outcomes.collect(),
                refused: self.refused,
            },
            origins,
        }
    }

    /// Takes the steps of a checkpoint again, and hands back the level that was being expanded and the one after it. `None` when they
    /// do not lead to as many states.
    fn rebuild(&mut self, from: &Checkpoint, worker: &mut Worker<'a>, first: Level) -> Option<(Level, Level)> {
        let head = &from.head;
        let steps: Vec<u32> = head
            .steps
            .parse::<Schedule>()
            .ok()?
            .steps
            .iter()
            .map(|step| self.parts.step(step))
            .collect();
        let step_of = |place: u32| steps.get((place as usize).checked_sub(1)?).copied();
        let (mut level, mut next) = (first, Level::default());
        next.first = 1;
        let mut rows: BTreeMap<u32, Row> = head.outcomes.iter().map(|kept| (kept.state, Row::new())).collect();
        if let Some(row) = rows.get_mut(&0) {
            *row = level.row(0).into();
        }
        let mut depth = 0;
        let deeper = |level: &mut Level, next: &mut Level, depth: &mut u64, number: u32| {
            *depth += 1;
            let reached = std::mem::take(next);
            *level = match (head.split == Some(*depth), head.shard) {
                (true, Some((part, of))) => reached.part(part, of),
                _ => reached,
            };
            next.first = number;
        };
        let mut expanded = None;
        for (number, (parent, step)) in (1..).zip(&from.origins) {
            if *parent >= next.first {
                deeper(&mut level, &mut next, &mut depth, number);
            }
            if *parent < level.first || level.place(*parent) >= level.len() {
                return None;
            }
            let place = level.place(*parent);
            if expanded != Some(*parent) {
                worker.moves.expand(level.row(place), &mut worker.expansion);
                if let Some(symmetry) = &mut worker.symmetry {
                    symmetry.look_at(level.row(place));
                }
                expanded = Some(*parent);
            }
            let step = step_of(*step)?;
            let (row, digest) = worker.taken(level.row(place), level.digests[place], step)?;
            if !self.visited.insert(digest) {
                return None;
            }
            if let Some(wanted) = rows.get_mut(&number) {
                wanted.clone_from(&row);
            }
            next.push(&row, digest);
            self.origins.push((*parent, step));
        }
        while depth < head.depth {
            deeper(&mut level, &mut next, &mut depth, self.origins.len() as u32);
        }
        for kept in &head.outcomes {
            let names = kept.names.as_deref().map(Renaming::of);
            let row = rows.get(&kept.state).filter(|row| !row.is_empty())?;
            let outcome = worker.outcome(row, names.as_ref())?;
            let shown = Final {
                count: kept.count,
                first: (kept.state, names),
                witness: Vec::new(),
                broken: kept.broken.clone(),
            };
            self.outcomes.insert(outcome, shown);
        }
        self.refused = match head.refused {
            Some((state, step)) => Some((state, step_of(step)?)),
            None => None,
        };
        self.broken.clone_from(&head.broken);
        (self.transitions, self.finals) = (head.transitions, head.finals);
        (self.depth, self.split) = (head.depth, head.split);
        let is_whole = depth == head.depth && head.done as usize <= level.len();
        is_whole.then_some((level, next))
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
            match found.sorted {
                Some(place) => row.clone_from(&share.sorted[place as usize]),
                None => apply(level.row(level.place(found.from)), made, &mut row),
            }
            self.origins.push((found.from, made.step));
            next.push(&row, found.digest);
        }
        self.transitions += share.transitions;
        for (state, invariant) in share.broken {
            let first = &mut self.broken[usize::from(invariant)];
            *first = Some(first.map_or(state, |first| first.min(state)));
        }
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

    /// Finds a schedule to each kind of final state; false when there is none, which is so when the roots were not alike.
    fn find_ways(&mut self) -> bool {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let mut symmetry = self.alike.map(|alike| Symmetry::new(alike, self.parts));
        let found = outcomes.values_mut().all(|shown| {
            let (state, names) = &shown.first;
            let way = self.way(&mut symmetry, self.steps(*state), names.as_ref());
            way.map(|way| shown.witness = way).is_some()
        });
        self.outcomes = outcomes;
        found
            && self
                .broken
                .iter()
                .flatten()
                .all(|state| self.schedule(*state).is_some())
    }

    /// Steps from state to state of the search, as a schedule.
    fn way(
        &self,
        symmetry: &mut Option<Symmetry<'_>>,
        steps: Vec<Step>,
        names: Option<&Renaming>,
    ) -> Option<Vec<Step>> {
        let Some(symmetry) = symmetry else { return Some(steps) };
        let same = Renaming::identity(self.system.spec().roots.len());
        symmetry.unfolded(self.system, &steps, names.unwrap_or(&same))
    }

    /// A schedule to the state that a state stands for.
    pub(super) fn schedule(&self, state: u32) -> Option<Vec<Step>> {
        let mut symmetry = self.alike.map(|alike| Symmetry::new(alike, self.parts));
        self.way(&mut symmetry, self.steps(state), None)
    }

    /// A schedule to the first step that met SQL which the model does not know.
    pub(super) fn refusal(&self) -> Option<Vec<Step>> {
        let (state, step) = self.refused?;
        let mut steps = self.steps(state);
        steps.push(self.parts.read().steps.get(step).clone());
        let mut symmetry = self.alike.map(|alike| Symmetry::new(alike, self.parts));
        self.way(&mut symmetry, steps, None)
    }

    /// The steps that led to a state first, each over the names of the state before it.
    fn steps(&self, state: u32) -> Vec<Step> {
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
}

impl<'a> Worker<'a> {
    fn new(system: &'a System, parts: &'a Parts, alike: Option<&'a Alike>, reduction: bool, looked_at: u8) -> Self {
        Worker {
            symmetry: alike.map(|alike| Symmetry::new(alike, parts)),
            moves: Moves::new(system, parts),
            judge: Judge::new(system, parts),
            expansion: Expansion::default(),
            reduction,
            looked_at,
        }
    }

    fn failed(&self) -> bool {
        self.symmetry.as_ref().is_some_and(|symmetry| symmetry.failed)
    }

    fn bytes(&self) -> u64 {
        self.moves.bytes() + self.symmetry.as_ref().map_or(0, Symmetry::bytes)
    }

    /// Where a step leads from a row that was just expanded.
    fn taken(&mut self, row: &[u32], digest: u128, step: u32) -> Option<(Row, u128)> {
        let numbers = self.expansion.moves.iter();
        let mut moves = numbers
            .map(|number| self.moves.get(*number))
            .chain(&self.expansion.ticks);
        let made = moves.find(|made| made.step == step)?;
        let (digest, sorted) = target(&mut self.symmetry, row, digest, made);
        let after = sorted.unwrap_or_else(|| {
            let mut after = Row::new();
            apply(row, made, &mut after);
            after
        });
        Some((after, digest))
    }

    /// What a final state shows when its roots are called so.
    fn outcome(&mut self, row: &[u32], names: Option<&Renaming>) -> Option<Arc<Outcome>> {
        match (names, &mut self.symmetry) {
            (Some(names), Some(symmetry)) => {
                let (row, _) = symmetry.renamed(row, names)?;
                Some(self.judge.outcome(&row))
            }
            (None, None) => Some(self.judge.outcome(row)),
            _ => None,
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
            if let Some(symmetry) = &mut self.symmetry {
                symmetry.look_at(row);
            }
            let is_final = self.expansion.is_final;
            broken.clear();
            self.judge.broken(row, is_final, &mut broken);
            share.broken.extend(broken.iter().map(|invariant| (state, *invariant)));
            if is_final {
                self.end(state, row, &broken, &mut share);
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
                let (digest, sorted) = target(&mut self.symmetry, row, digest, made);
                if !visited.contains(digest) {
                    share.found.push(Found {
                        digest,
                        from: state,
                        made: *number,
                        is_tick: false,
                        sorted: sorted.map(|row| keep(&mut share.sorted, row)),
                    });
                }
            }
            if only.is_none() {
                for made in self.expansion.ticks.drain(..) {
                    share.transitions += 1;
                    let (digest, sorted) = target(&mut self.symmetry, row, digest, &made);
                    share.found.push(Found {
                        digest,
                        from: state,
                        made: share.ticks.len() as u32,
                        is_tick: true,
                        sorted: sorted.map(|row| keep(&mut share.sorted, row)),
                    });
                    share.ticks.push(made);
                }
            }
        }
        share
    }

    /// Notes a final state, and all that differ from it only in who is who.
    fn end(&mut self, state: u32, row: &[u32], broken: &[u16], share: &mut Share) {
        let mut note = |row: &[u32], names| {
            share.finals.push(Ended {
                state,
                names,
                outcome: self.judge.outcome(row),
                broken: broken.to_vec(),
            });
        };
        match &mut self.symmetry {
            None => note(row, None),
            Some(symmetry) => {
                for (row, names) in symmetry.orbit(row) {
                    note(&row, Some(names));
                }
            }
        }
    }

    /// The one move that need not be put off: a process's only step, which nobody else can see, prevent or use.
    ///
    /// It commutes with every step of every other process, now and later, and no fault can meet the process before it. So every run to a final state has a
    /// twin that takes it first; and no invariant that must always hold can tell the states on the way apart, because it looks
    /// at nothing that the step changes. A state that is known already is no reason to put the others off (that could close a cycle).
    fn private(&mut self, row: &[u32], digest: u128, visited: &Visited) -> Option<std::ops::Range<usize>> {
        if self.looked_at & (Reads::PROCESSES | Reads::STATUSES) != 0 {
            return None;
        }
        for place in 0..self.expansion.groups.len() {
            let group = self.expansion.groups[place];
            if group.faulty || group.end != group.first + 1 {
                continue;
            }
            let made = self.moves.get(self.expansion.moves[group.first]);
            let is_private = made.private
                && !made.refused
                && (self.looked_at & Reads::EXCHANGES == 0 || !self.changes_exchange(row, made));
            if is_private && !visited.contains(target(&mut self.symmetry, row, digest, made).0) {
                return Some(group.first..group.end);
            }
        }
        None
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

fn keep(rows: &mut Vec<Row>, row: Row) -> u32 {
    rows.push(row);
    rows.len() as u32 - 1
}

/// The digest of the state that a move leads to from the row that was looked at last, and its row where that is not simply what the move makes of this one.
fn target(symmetry: &mut Option<Symmetry<'_>>, row: &[u32], digest: u128, made: &Move) -> (u128, Option<Row>) {
    let plain = digest.wrapping_add(made.digest);
    let Some(symmetry) = symmetry else {
        return (plain, None);
    };
    let mut after = Row::new();
    apply(row, made, &mut after);
    match symmetry.sorted_after(row, made, &after) {
        None => (plain, None),
        Some((sorted, digest)) => (digest, Some(sorted)),
    }
}
