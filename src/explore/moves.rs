//! Memoised steps: what a step does follows from the few components that it reads, so it is computed once for those.
//!
//! The first time, a whole state is built and the system takes the step. What it read is known: the process itself, the
//! database, services and clock by the kind of its effect, and the other processes that its footprint names (those it woke or
//! answered). From then on the step is a lookup and a few numbers to change.

use std::sync::RwLockReadGuard;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::parts::{CLOCK, DATABASE, FAULTS, Known, PROCESSES, Parts, Pending, Pools, Row, SERVICES};
use crate::machine::Pid;
use crate::system::{Action, Event, Fault, Footprint, Learned, Resource, State, Step, System, Taken};

/// A step from some state, as changes to its row.
#[derive(Clone, Debug)]
pub(super) struct Move {
    /// The number of the step.
    pub(super) step: u32,
    /// Places with their new numbers.
    pub(super) changes: SmallVec<[(u16, u32); 4]>,
    /// What it adds to the state's digest.
    pub(super) digest: u128,
    /// Whether it met SQL that the model does not know; then the reason can be had by replaying.
    pub(super) refused: bool,
    /// Whether it touched nothing but its own process (and processes that it started).
    pub(super) private: bool,
    /// What it touched, if that is asked for.
    pub(super) footprint: Option<Box<Footprint>>,
}

/// What a step was computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    place: u16,
    /// 0 for the process's own step, else 1 and the fault's number.
    kind: u8,
    process: u32,
    database: u32,
    services: u32,
    clock: u32,
    faults: u32,
}

/// Moves of one key that depend on other processes too.
#[derive(Clone, Debug)]
struct Case {
    /// Other processes that were read: their places and numbers.
    guard: SmallVec<[(u16, u32); 2]>,
    /// Which moves.
    first: u32,
    count: u32,
}

/// The steps of a system, remembered. Each thread has its own memory; numbers are shared through [`Parts`].
pub(super) struct Moves<'a> {
    system: &'a System,
    parts: &'a Parts,
    known: FxHashMap<Key, SmallVec<[Case; 1]>>,
    actions: FxHashMap<Key, u8>,
    infos: Vec<Option<Info>>,
    services_wake: FxHashMap<(u32, u32), bool>,
    database_wakes: FxHashMap<u32, bool>,
    moves: Vec<Move>,
    /// Places of processes, in the order of their identities.
    order: Vec<usize>,
    /// Identities by place.
    pids: Vec<Pid>,
    /// Steps that were computed, not remembered.
    pub(super) computed: u64,
    keeps_footprints: bool,
    /// What the steps that were computed taught.
    pub(super) learned: Learned,
    /// Whether it learned something since it was asked.
    pub(super) has_learned: bool,
    /// Any step may go on into services that are a process's own (its clock), and from there to its end.
    has_own: bool,
}

#[derive(Clone, Copy, Debug)]
struct Info {
    pending: Pending,
    run_ends: bool,
    fault_ends: u8,
    idle: bool,
    sleeps: bool,
    idles: bool,
}

/// Everything that can happen in a state.
#[derive(Clone, Debug, Default)]
pub(super) struct Expansion {
    /// Numbers of moves in [`Moves`], in the order of [`System::successors`].
    pub(super) moves: Vec<u32>,
    /// For each process that can take a step: the range of its moves, and whether a fault can meet it.
    pub(super) groups: Vec<Group>,
    /// Moves that are not remembered: the clock's.
    pub(super) ticks: Vec<Move>,
    /// Whether nothing more can happen but faults.
    pub(super) is_final: bool,
}

/// The moves of one process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Where its own step's moves begin in the list.
    pub(super) first: usize,
    /// Where they end.
    pub(super) end: usize,
    /// Whether some fault can meet the process now.
    pub(super) faulty: bool,
}

impl<'a> Moves<'a> {
    pub(super) fn new(system: &'a System, parts: &'a Parts) -> Self {
        Moves {
            system,
            parts,
            known: FxHashMap::default(),
            actions: FxHashMap::default(),
            infos: Vec::new(),
            services_wake: FxHashMap::default(),
            database_wakes: FxHashMap::default(),
            moves: Vec::new(),
            order: Vec::new(),
            pids: Vec::new(),
            computed: 0,
            keeps_footprints: false,
            learned: Learned::default(),
            has_learned: false,
            has_own: system
                .spec()
                .world
                .services
                .values()
                .any(|service| service.get().is_own()),
        }
    }

    /// Moves that tell what they touched.
    pub(super) fn with_footprints(system: &'a System, parts: &'a Parts) -> Self {
        Moves {
            keeps_footprints: true,
            ..Moves::new(system, parts)
        }
    }

    pub(super) fn get(&self, number: u32) -> &Move {
        &self.moves[number as usize]
    }

    /// What numbers stand for.
    pub(super) fn pools(&self) -> RwLockReadGuard<'a, Pools> {
        self.parts.read()
    }

    /// What the memory takes, in bytes, roughly.
    pub(super) fn bytes(&self) -> u64 {
        (self.known.capacity() * 96 + self.actions.capacity() * 32 + self.moves.len() * size_of::<Move>()) as u64
    }

    /// Everything that can happen in a state.
    pub(super) fn expand(&mut self, row: &[u32], into: &mut Expansion) {
        into.moves.clear();
        into.groups.clear();
        into.ticks.clear();
        into.is_final = true;
        if self.order.len() + PROCESSES < row.len() {
            self.learn_places();
        }
        let (mut sleeps, mut idles) = (false, false);
        for at in 0..self.order.len() {
            let place = self.order[at];
            let number = row.get(place).copied().unwrap_or(0);
            if number == 0 {
                continue;
            }
            let info = self.info(number);
            sleeps |= info.sleeps;
            idles |= info.idles;
            if info.idle {
                continue;
            }
            let actions = self.actions(row, place, info);
            let first = into.moves.len();
            if actions & 1 != 0 {
                into.is_final = false;
                self.take(row, place, 0, info, &mut into.moves);
            }
            let end = into.moves.len();
            for kind in 1..=Fault::ALL.len() as u8 {
                if actions & (1 << kind) != 0 {
                    self.take(row, place, kind, info, &mut into.moves);
                }
            }
            let faulty = actions & !1 != 0;
            into.groups.push(Group { first, end, faulty });
        }
        if sleeps || idles && into.is_final || self.world_wakes(row) {
            self.tick(row, into);
        }
    }

    fn learn_places(&mut self) {
        self.pids.clone_from(&self.parts.read().pids);
        self.order = (PROCESSES..PROCESSES + self.pids.len()).collect();
        let pids = &self.pids;
        self.order.sort_by_key(|place| pids[place - PROCESSES]);
    }

    fn info(&mut self, number: u32) -> Info {
        let at = number as usize;
        if let Some(Some(info)) = self.infos.get(at) {
            return *info;
        }
        let pools = self.parts.read();
        let known: &Known = pools.processes.get(number);
        let info = Info {
            pending: known.pending,
            run_ends: known.run_ends,
            fault_ends: known.fault_ends,
            idle: known.is_idle(),
            sleeps: known.sleeps,
            idles: known.idles,
        };
        drop(pools);
        if self.infos.len() <= at {
            self.infos.resize(at + 1, None);
        }
        self.infos[at] = Some(info);
        info
    }

    /// Which actions of a process are enabled, as bits: its own step, then the faults.
    fn actions(&mut self, row: &[u32], place: usize, info: Info) -> u8 {
        let key = Key {
            place: place as u16,
            kind: 0,
            process: row[place],
            database: if info.pending == Pending::Sql { row[DATABASE] } else { 0 },
            services: if info.pending == Pending::Call {
                row[SERVICES]
            } else {
                0
            },
            clock: if info.pending == Pending::Call { row[CLOCK] } else { 0 },
            faults: row[FAULTS],
        };
        if let Some(actions) = self.actions.get(&key) {
            return *actions;
        }
        let pid = self.pids[place - PROCESSES];
        let mut alone: Row = row[..PROCESSES].into();
        alone.resize(place + 1, 0);
        alone[place] = row[place];
        let state = self.parts.read().state(&alone);
        let mut actions = u8::from(self.system.is_enabled(&state, Action::Run(pid)));
        for fault in Fault::ALL {
            if self.system.is_enabled(&state, Action::Fault(pid, fault)) {
                actions |= 2 << fault as u8;
            }
        }
        self.actions.insert(key, actions);
        actions
    }

    fn key(&self, row: &[u32], place: usize, kind: u8, info: Info) -> Key {
        let fault = (kind > 0).then(|| Fault::ALL[usize::from(kind) - 1]);
        let (database, services) = match fault {
            None => {
                let sql = info.pending == Pending::Sql;
                (sql || info.run_ends, info.pending == Pending::Call)
            }
            Some(Fault::Crash) => (true, true),
            Some(Fault::LostReply) => (info.pending == Pending::Sql, info.pending == Pending::Call),
            Some(Fault::Disconnect) => (true, false),
            Some(fault) => (info.fault_ends & (1 << fault as u8) != 0, false),
        };
        let (database, services) = (database || self.has_own, services || self.has_own);
        let clock = database || services || info.pending == Pending::Sleep;
        let when = |needed: bool, place: usize| if needed { row[place] } else { 0 };
        Key {
            place: place as u16,
            kind,
            process: row[place],
            database: when(database, DATABASE),
            services: when(services, SERVICES),
            clock: when(clock, CLOCK),
            faults: when(kind > 0, FAULTS),
        }
    }

    fn take(&mut self, row: &[u32], place: usize, kind: u8, info: Info, into: &mut Vec<u32>) {
        let key = self.key(row, place, kind, info);
        if let Some(cases) = self.known.get(&key) {
            let fits = |case: &&Case| {
                let mut guard = case.guard.iter();
                guard.all(|(place, number)| row.get(usize::from(*place)).copied().unwrap_or(0) == *number)
            };
            if let Some(case) = cases.iter().find(fits) {
                into.extend(case.first..case.first + case.count);
                return;
            }
        }
        let pid = self.pids[place - PROCESSES];
        let action = match kind {
            0 => Action::Run(pid),
            kind => Action::Fault(pid, Fault::ALL[usize::from(kind) - 1]),
        };
        let before = self.parts.read().state(row);
        let mut ways = Vec::new();
        self.system.outcomes(&before, action, &mut ways);
        self.computed += 1;
        let first = self.moves.len() as u32;
        let mut guard: SmallVec<[(u16, u32); 2]> = SmallVec::new();
        for (step, after, taken) in &ways {
            self.learn(taken);
            for other in touched(&taken.footprint).chain(changed(&before, after)) {
                let entry = self.parts.place(other) as u16;
                let is_own = usize::from(entry) == place;
                if !is_own && before.processes.contains_key(&other) && !guard.iter().any(|(known, _)| *known == entry) {
                    guard.push((entry, row[usize::from(entry)]));
                }
            }
            let read = Read {
                database: key.database != 0,
                services: key.services != 0,
            };
            let made = self.make(row, &before, step, after, taken, read);
            self.moves.push(made);
        }
        let count = ways.len() as u32;
        self.known.entry(key).or_default().push(Case { guard, first, count });
        into.extend(first..first + count);
    }

    fn world_wakes(&mut self, row: &[u32]) -> bool {
        let parts = self.parts;
        let services = *self
            .services_wake
            .entry((row[SERVICES], row[CLOCK]))
            .or_insert_with(|| {
                let pools = parts.read();
                let now = *pools.clocks.get(row[CLOCK]);
                let services = pools.services.get(row[SERVICES]);
                services
                    .values()
                    .any(|service| service.get().next_deadline(now).is_some())
            });
        let database = *self
            .database_wakes
            .entry(row[DATABASE])
            .or_insert_with(|| parts.read().databases.get(row[DATABASE]).next_wakeup().is_some());
        services || database
    }

    fn learn(&mut self, taken: &Taken) {
        self.has_learned |= self.learned.add(&taken.log);
        self.learned.waits |= taken.events.iter().any(|event| matches!(event, Event::Blocked { .. }));
    }

    fn tick(&mut self, row: &[u32], into: &mut Expansion) {
        let before = self.parts.read().state(row);
        if !self.system.is_enabled(&before, Action::Tick) {
            return;
        }
        into.is_final = false;
        let mut ways = Vec::new();
        self.system.outcomes(&before, Action::Tick, &mut ways);
        self.computed += 1;
        for (step, after, taken) in &ways {
            self.learn(taken);
            let read = Read {
                database: true,
                services: true,
            };
            let made = self.make(row, &before, step, after, taken, read);
            into.ticks.push(made);
        }
    }

    fn make(&self, row: &[u32], before: &State, step: &Step, after: &State, taken: &Taken, read: Read) -> Move {
        let parts = self.parts;
        let mut changes: SmallVec<[(u16, u32); 4]> = SmallVec::new();
        let mut set = |place: usize, number: u32| {
            if row.get(place).copied().unwrap_or(0) != number {
                changes.push((place as u16, number));
            }
        };
        if read.database {
            set(DATABASE, parts.database(&after.world.database));
        }
        if read.services {
            set(SERVICES, parts.services(&after.world.services));
        }
        if after.world.now != before.world.now {
            set(CLOCK, parts.clock(after.world.now));
        }
        if after.faults != before.faults {
            set(FAULTS, parts.faults(after.faults));
        }
        for pid in changed(before, after) {
            if let Some(process) = after.processes.get(&pid) {
                set(parts.place(pid), parts.process(process));
            }
        }
        let number = parts.step(step);
        let pools = parts.read();
        let digest = changes.iter().fold(0_u128, |sum, (place, number)| {
            let place = usize::from(*place);
            let old = pools.share(place, row.get(place).copied().unwrap_or(0));
            sum.wrapping_add(pools.share(place, *number)).wrapping_sub(old)
        });
        let own = step.pid();
        let is_private = |resource: &Resource| match resource {
            Resource::Process(pid) => Some(*pid) == own || !before.processes.contains_key(pid),
            _ => false,
        };
        Move {
            step: number,
            changes,
            digest,
            refused: taken.events.iter().any(|event| matches!(event, Event::Refused { .. })),
            private: step.branch.is_empty() && taken.footprint.iter().all(|(resource, _)| is_private(resource)),
            footprint: self.keeps_footprints.then(|| Box::new(taken.footprint.clone())),
        }
    }
}

#[derive(Clone, Copy)]
struct Read {
    database: bool,
    services: bool,
}

fn touched(footprint: &Footprint) -> impl Iterator<Item = Pid> + '_ {
    footprint.iter().filter_map(|(resource, _)| match resource {
        Resource::Process(pid) => Some(*pid),
        _ => None,
    })
}

fn changed<'s>(before: &'s State, after: &'s State) -> impl Iterator<Item = Pid> + 's {
    let differs = |pid: &Pid, process: &std::sync::Arc<crate::system::Process>| {
        let old = before.processes.get(pid);
        old.is_none_or(|old| !std::sync::Arc::ptr_eq(old, process))
    };
    let all = after.processes.iter();
    all.filter(move |(pid, process)| differs(pid, process))
        .map(|(pid, _)| *pid)
}

/// Applies a move to a row.
pub(super) fn apply(row: &[u32], made: &Move, into: &mut Row) {
    into.clear();
    into.extend_from_slice(row);
    for (place, number) in &made.changes {
        let place = usize::from(*place);
        if into.len() <= place {
            into.resize(place + 1, 0);
        }
        into[place] = *number;
    }
}
