//! Symmetry: processes that start alike are taken for one another.
//!
//! Roots with equal programs and roles can change places, each with everything that it started: no machine, no service and no invariant can tell. Of the
//! states that differ only in who is who, one is visited: the one in which such roots are sorted by what they and theirs look like. That
//! leaves out up to n! of n! states (Ip and Dill, "Better Verification Through Symmetry", 1993); two that look alike are not sorted, which
//! leaves out less and never too much.
//!
//! In the end all names come back: a final state is counted, and its outcome told, for each way to name it, and a schedule is turned into
//! one over the user's own names.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::digest::{digest, placed};
use super::moves::{Move, apply};
use super::parts::{CLOCK, DATABASE, FAULTS, PROCESSES, Parts, Row, SERVICES, Services};
use crate::machine::{Pid, Renaming};
use crate::system::{Action, Process, Step, System};

/// No more ways to name a state than this are told apart in the end.
const MOST_NAMINGS: usize = 720;

/// Which roots start alike.
#[derive(Clone, Debug)]
pub(super) struct Alike {
    groups: Vec<Vec<u8>>,
    labels: Vec<Arc<str>>,
    /// Every renaming within the groups, first the one that changes nothing.
    namings: Vec<Renaming>,
}

impl Alike {
    /// Whether a process is, or was started by, one of several roots that start alike.
    pub(super) fn has(&self, pid: Pid) -> bool {
        self.groups.iter().any(|group| group.contains(&pid.top()))
    }

    /// The roots of a system that can change places; `None` where there are none, or where something knows them by name.
    pub(super) fn of(system: &System) -> Option<Alike> {
        let spec = system.spec();
        let mut groups: Vec<Vec<u8>> = Vec::new();
        for (place, root) in spec.roots.iter().enumerate() {
            let is_like = |group: &&mut Vec<u8>| {
                let first = &spec.roots[usize::from(group[0])];
                first.role == root.role && first.program == root.program
            };
            match groups.iter_mut().find(is_like) {
                Some(group) => group.push(place as u8),
                None => groups.push(vec![place as u8]),
            }
        }
        groups.retain(|group| group.len() > 1);
        let labels: Vec<Arc<str>> = spec.roots.iter().map(|root| root.label.clone()).collect();
        let is_known = |root: &u8| {
            let label = &labels[usize::from(*root)];
            spec.invariants.iter().any(|invariant| invariant.tells_apart(label))
        };
        if groups.is_empty() || groups.iter().flatten().any(is_known) {
            return None;
        }
        let mut namings = vec![Renaming::identity(labels.len())];
        for group in &mut groups {
            group.truncate(longest(MOST_NAMINGS / namings.len()));
            namings = namings.iter().flat_map(|naming| permuted(naming, group)).collect();
        }
        groups.retain(|group| group.len() > 1);
        // What can't do without names says so at once, not only when it was asked for some.
        let mut world = system.initial().world;
        let can = namings.len() > 1 && world.database.rename(&namings[1]) && rename(&mut world.services, &namings[1]);
        can.then_some(Alike {
            groups,
            labels,
            namings,
        })
    }
}

/// How many can be permuted in so many ways.
fn longest(ways: usize) -> usize {
    (1..)
        .take_while(|count| (1..=*count).product::<usize>() <= ways)
        .last()
        .unwrap_or(1)
}

/// A renaming, and then each permutation of a group's names.
fn permuted(naming: &Renaming, group: &[u8]) -> Vec<Renaming> {
    let mut orders: Vec<Vec<u8>> = vec![Vec::new()];
    for _ in group {
        let longer = orders.iter().flat_map(|order| {
            let rest = group.iter().filter(|root| !order.contains(root));
            rest.map(|root| [order.as_slice(), &[*root]].concat())
                .collect::<Vec<_>>()
        });
        orders = longer.collect();
    }
    let renamed = orders.iter().map(|order| {
        let mut naming = naming.clone();
        for (root, name) in group.iter().zip(order) {
            naming.set(*root, *name);
        }
        naming
    });
    renamed.collect()
}

/// Brings rows into their one form. Each thread has its own.
pub(super) struct Symmetry<'a> {
    alike: &'a Alike,
    parts: &'a Parts,
    pids: Vec<Pid>,
    /// What is worth knowing of a process at a place.
    seen: FxHashMap<(u16, u32), Seen>,
    /// The looks of the roots of the row that was looked at last.
    looks: Looks,
    /// Renamings by number.
    namings: Vec<Naming>,
    numbers: FxHashMap<Renaming, u32>,
    /// Components by their number and the renaming's: what becomes of them, and what they then add to the state's digest.
    databases: FxHashMap<(u32, u32), (u32, u128)>,
    services: FxHashMap<(u32, u32), (u32, u128)>,
    processes: FxHashMap<(u16, u32, u32), (u32, u128)>,
    /// Something met names that can't be changed: nothing found with this is to be trusted.
    pub(super) failed: bool,
}

/// For each root, what it and everything that it started look like.
type Looks = SmallVec<[u128; 8]>;

/// A process at a place.
#[derive(Clone, Copy)]
struct Seen {
    root: u8,
    /// What it looks like, whoever its root is.
    look: u128,
    /// What it adds to the state's digest.
    share: u128,
}

/// A renaming, and the place that each place has in it.
struct Naming {
    names: Renaming,
    places: Vec<u16>,
}

impl<'a> Symmetry<'a> {
    pub(super) fn new(alike: &'a Alike, parts: &'a Parts) -> Self {
        Symmetry {
            alike,
            parts,
            pids: Vec::new(),
            seen: FxHashMap::default(),
            looks: Looks::new(),
            namings: Vec::new(),
            numbers: FxHashMap::default(),
            databases: FxHashMap::default(),
            services: FxHashMap::default(),
            processes: FxHashMap::default(),
            failed: false,
        }
    }

    /// What the memory takes, in bytes, roughly.
    pub(super) fn bytes(&self) -> u64 {
        let entries = self.seen.capacity() + self.databases.capacity() + self.services.capacity();
        ((entries + self.processes.capacity()) * 48) as u64
    }

    /// Looks at a row whose successors will be asked for.
    pub(super) fn look_at(&mut self, row: &[u32]) {
        let mut looks: Looks = smallvec::smallvec![0; self.alike.labels.len()];
        for (place, number) in processes(row) {
            let seen = self.seen(place, number);
            let root = &mut looks[usize::from(seen.root)];
            *root = root.wrapping_add(seen.look);
        }
        self.looks = looks;
    }

    /// The one form of the row that a move makes of the row that was looked at, with its digest; `None` when it is in that form.
    pub(super) fn sorted_after(&mut self, row: &[u32], made: &Move) -> Option<(Row, u128)> {
        let mut looks = self.looks.clone();
        for (place, number) in made
            .changes
            .iter()
            .map(|(place, number)| (usize::from(*place), *number))
        {
            if place < PROCESSES {
                continue;
            }
            let now = self.seen(place, number);
            let old = match row.get(place).copied().unwrap_or(0) {
                0 => 0,
                number => self.seen(place, number).look,
            };
            let root = &mut looks[usize::from(now.root)];
            *root = root.wrapping_add(now.look).wrapping_sub(old);
        }
        let names = self.order(&looks)?;
        let mut after = Row::new();
        apply(row, made, &mut after);
        self.renamed(&after, &names)
    }

    /// The one form of a row, and how its roots are called there; `None` when the row is in that form.
    fn sorted(&mut self, row: &[u32]) -> Option<(Row, Renaming)> {
        self.look_at(row);
        let names = self.order(&self.looks)?;
        let (sorted, _) = self.renamed(row, &names)?;
        Some((sorted, names))
    }

    /// How roots have to be called to be sorted; `None` when they are.
    fn order(&self, looks: &Looks) -> Option<Renaming> {
        let mut names: Option<Renaming> = None;
        for group in &self.alike.groups {
            let look = |root: &u8| looks[usize::from(*root)];
            if group.is_sorted_by_key(look) {
                continue;
            }
            let mut order: SmallVec<[u8; 8]> = group.as_slice().into();
            // Stable: those that look alike keep their order.
            order.sort_by_key(look);
            let names = names.get_or_insert_with(|| Renaming::identity(self.alike.labels.len()));
            for (root, name) in order.iter().zip(group) {
                names.set(*root, *name);
            }
        }
        names
    }

    /// Every row that differs only in who is who, with the renaming that leads there; first the row itself.
    pub(super) fn orbit(&mut self, row: &[u32]) -> Vec<(Row, Renaming)> {
        let alike = self.alike;
        let mut met = FxHashSet::default();
        let mut orbit = Vec::new();
        for names in &alike.namings {
            let Some((renamed, digest)) = self.renamed(row, names) else {
                return orbit;
            };
            if met.insert(digest) {
                orbit.push((renamed, names.clone()));
            }
        }
        orbit
    }

    fn seen(&mut self, place: usize, number: u32) -> Seen {
        let key = (place as u16, number);
        if let Some(seen) = self.seen.get(&key) {
            return *seen;
        }
        self.learn_places(place);
        let pid = self.pids[place - PROCESSES];
        let mut first = Renaming::identity(self.alike.labels.len());
        first.set(pid.top(), 0);
        let process = self.process(number);
        let nobody = process.renamed(&first, &self.alike.labels[usize::from(pid.top())], "");
        let seen = Seen {
            root: pid.top(),
            look: placed(digest(&first.pid(pid)) as u64, digest(&nobody)),
            share: self.parts.read().share(place, number),
        };
        self.seen.insert(key, seen);
        seen
    }

    fn process(&self, number: u32) -> Arc<Process> {
        self.parts.read().processes.get(number).process.clone()
    }

    fn learn_places(&mut self, place: usize) {
        if self.pids.len() + PROCESSES <= place {
            self.pids.clone_from(&self.parts.read().pids);
        }
    }

    /// A row in which everybody has another name, and its digest.
    pub(super) fn renamed(&mut self, row: &[u32], names: &Renaming) -> Option<(Row, u128)> {
        self.learn_places(row.len() - 1);
        let naming = self.number(names);
        self.learn_targets(naming);
        let (database, share) = self.database(row[DATABASE], naming)?;
        let (services, other) = self.service(row[SERVICES], naming)?;
        let mut renamed = Row::from_slice(&[database, services, row[CLOCK], row[FAULTS]]);
        renamed.resize(row.len(), 0);
        let mut digest = share.wrapping_add(other);
        {
            let pools = self.parts.read();
            digest = digest.wrapping_add(pools.share(CLOCK, row[CLOCK]));
            digest = digest.wrapping_add(pools.share(FAULTS, row[FAULTS]));
        }
        for (place, number) in processes(row) {
            let to = usize::from(self.namings[naming as usize].places[place - PROCESSES]);
            let (number, share) = match to == place {
                true => (number, self.seen(place, number).share),
                false => self.other(place, to, number, naming),
            };
            if renamed.len() <= to {
                renamed.resize(to + 1, 0);
            }
            renamed[to] = number;
            digest = digest.wrapping_add(share);
        }
        Some((renamed, digest))
    }

    fn number(&mut self, names: &Renaming) -> u32 {
        if let Some(number) = self.numbers.get(names) {
            return *number;
        }
        let number = self.namings.len() as u32;
        self.namings.push(Naming {
            names: names.clone(),
            places: Vec::new(),
        });
        self.numbers.insert(names.clone(), number);
        number
    }

    fn learn_targets(&mut self, naming: u32) {
        let Naming { names, places } = &mut self.namings[naming as usize];
        for pid in &self.pids[places.len()..] {
            places.push(self.parts.place(names.pid(*pid)) as u16);
        }
    }

    fn database(&mut self, number: u32, naming: u32) -> Option<(u32, u128)> {
        if let Some(known) = self.databases.get(&(number, naming)) {
            return Some(*known);
        }
        let mut database = self.parts.read().databases.get(number).clone();
        if !database.rename(&self.namings[naming as usize].names) {
            self.failed = true;
            return None;
        }
        let renamed = self.parts.database(&database);
        let known = (renamed, self.parts.read().share(DATABASE, renamed));
        self.databases.insert((number, naming), known);
        Some(known)
    }

    fn service(&mut self, number: u32, naming: u32) -> Option<(u32, u128)> {
        if let Some(known) = self.services.get(&(number, naming)) {
            return Some(*known);
        }
        let mut services = self.parts.read().services.get(number).clone();
        let names = &self.namings[naming as usize].names;
        if !rename(&mut services, names) {
            self.failed = true;
            return None;
        }
        let renamed = self.parts.services(&services);
        let known = (renamed, self.parts.read().share(SERVICES, renamed));
        self.services.insert((number, naming), known);
        Some(known)
    }

    /// The process at a place, as it is at another one, where its root has another name.
    fn other(&mut self, place: usize, to: usize, number: u32, naming: u32) -> (u32, u128) {
        let key = (place as u16, number, naming);
        if let Some(known) = self.processes.get(&key) {
            return *known;
        }
        let names = &self.namings[naming as usize].names;
        let root = self.pids[place - PROCESSES].top();
        let labels = &self.alike.labels;
        let (old, new) = (&labels[usize::from(root)], &labels[usize::from(names.top(root))]);
        let renamed = self.process(number).renamed(names, old, new);
        let renamed = self.parts.process(&Arc::new(renamed));
        let known = (renamed, self.parts.read().share(to, renamed));
        self.processes.insert(key, known);
        known
    }

    /// Turns steps from sorted state to sorted state into a schedule, in whose last state everybody is called as `end` says.
    ///
    /// The ways that the world can go may be numbered otherwise under other names, so each is found again by the state it leads to. `None` when there
    /// is no such way: then the system is not symmetric after all.
    pub(super) fn unfolded(&mut self, system: &System, steps: &[Step], end: &Renaming) -> Option<Vec<Step>> {
        let mut state = system.initial();
        let mut reached = Vec::new();
        let mut all = Renaming::identity(self.alike.labels.len());
        for (place, step) in steps.iter().enumerate() {
            system.replay_step(&mut state, step, place + 1).ok()?;
            let row = self.parts.row(&state);
            let names = match self.sorted(&row) {
                Some((sorted, names)) => {
                    state = self.parts.read().state(&sorted);
                    names
                }
                None => Renaming::identity(self.alike.labels.len()),
            };
            all = all.then(&names);
            reached.push((row, names));
        }
        let mut called = all.then(end);
        let mut real = system.initial();
        let mut unfolded = Vec::new();
        let mut ways = Vec::new();
        for (step, (row, names)) in steps.iter().zip(&reached) {
            let action = match step.action {
                Action::Run(pid) => Action::Run(called.pid(pid)),
                Action::Fault(pid, fault) => Action::Fault(called.pid(pid), fault),
                Action::Tick => Action::Tick,
            };
            let (_, target) = self.renamed(row, &called)?;
            if !system.is_enabled(&real, action) {
                return None;
            }
            ways.clear();
            system.outcomes(&real, action, &mut ways);
            let (step, after, _) = ways.drain(..).find(|(_, after, _)| {
                let row = self.parts.row(after);
                self.parts.read().digest(&row) == target
            })?;
            unfolded.push(step);
            real = after;
            called = names.inverse().then(&called);
        }
        Some(unfolded)
    }
}

/// Calls everybody by another name in every service; false when one of them can't.
fn rename(services: &mut Services, names: &Renaming) -> bool {
    let mut all = services.values_mut();
    all.all(|service| service.change(|service| service.rename(names)))
}

/// The processes of a row: places and numbers.
fn processes(row: &[u32]) -> impl Iterator<Item = (usize, u32)> {
    let all = row.iter().copied().enumerate().skip(PROCESSES);
    all.filter(|(_, number)| *number != 0)
}
