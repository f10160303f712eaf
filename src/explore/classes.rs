//! Which schedules are really different: one run of each equivalence class.
//!
//! Two runs are equivalent when one becomes the other by swapping neighbouring steps that do not conflict; all runs of a class
//! end in the same state. [`classes`] is source-DPOR (Abdulla, Aronsson, Jonsson, Sagonas: Optimal dynamic partial order reduction,
//! POPL 2014) with sleep sets, over the footprints of steps.
//!
//! A process is what may be put off. Its own step, each way the world can go in it, and the faults that can meet it are alternatives: where it is its turn, all
//! are tried. Faults need not happen, so a process that only a fault can meet is never what a state must go on with; what
//! later touches the process (an answer, a wake-up) races with the fault and brings it back to where it was possible first.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::digest::digest;
use crate::machine::{Effect, Pid};
use crate::system::{Action, Footprint, Process, Resource, Schedule, State, Status, Step, System};

/// One run of each class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes {
    /// A run of each class, in the order in which they were found.
    pub schedules: Vec<Schedule>,
    /// Whole runs that were made, among them those of a class that was known.
    pub executions: u64,
    /// Runs that were made in vain: stopped half-way because all that could follow was known, or of a known class.
    pub redundant: u64,
    /// Whether these are all classes.
    pub complete: bool,
}

/// The first `limit` classes of a system, or all.
pub fn classes(system: &System, limit: usize) -> Classes {
    let mut search = Search {
        system,
        limit,
        nodes: Vec::new(),
        events: Vec::new(),
        known: BTreeSet::new(),
        found: Classes::default(),
    };
    search.found.complete = search.explore(system.initial(), Vec::new());
    search.found
}

/// Who takes a step; `None` is the clock.
type Unit = Option<Pid>;

/// Something that can happen next.
#[derive(Debug)]
struct Alternative {
    step: Step,
    after: State,
    footprint: Footprint,
}

/// A unit that is asleep: all that it can do was tried from a state that differs only by steps which do not matter to it.
#[derive(Clone, Debug)]
struct Sleeper {
    unit: Unit,
    footprints: Rc<[Footprint]>,
}

/// A state on the current run.
struct Node {
    state: State,
    /// Units to be tried here, tried or not.
    backtrack: Vec<Unit>,
    /// Units that need not be tried here (any more).
    asleep: Vec<Sleeper>,
    /// Units that can do something here.
    able: Vec<Unit>,
}

/// A step on the current run.
struct Event {
    step: Step,
    footprint: Footprint,
    /// The events before it that must stay before it, as bits.
    after: Bits,
    level: u32,
}

type Bits = SmallVec<[u64; 4]>;

fn has(bits: &Bits, place: usize) -> bool {
    bits.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
}

fn add(bits: &mut Bits, place: usize) {
    if bits.len() <= place / 64 {
        bits.resize(place / 64 + 1, 0);
    }
    bits[place / 64] |= 1 << (place % 64);
}

fn join(bits: &mut Bits, other: &Bits) {
    if bits.len() < other.len() {
        bits.resize(other.len(), 0);
    }
    for (word, more) in bits.iter_mut().zip(other) {
        *word |= more;
    }
}

struct Search<'a> {
    system: &'a System,
    limit: usize,
    nodes: Vec<Node>,
    events: Vec<Event>,
    known: BTreeSet<u128>,
    found: Classes,
}

impl Search<'_> {
    /// Explores everything after the current run; false when the limit was met.
    fn explore(&mut self, state: State, asleep: Vec<Sleeper>) -> bool {
        let alternatives = group(self.system, &state);
        let is_final = !alternatives.iter().any(|(_, list)| list.iter().any(is_due));
        if is_final && !self.emit() {
            return false;
        }
        self.races_of_the_waiting(&state);
        let sleeps = |unit: &Unit| asleep.iter().any(|sleeper| sleeper.unit == *unit);
        let awake = alternatives.iter().filter(|(unit, _)| !sleeps(unit));
        let backtrack: Vec<Unit> = if is_final {
            awake.map(|(unit, _)| *unit).collect()
        } else {
            let mut due = awake
                .clone()
                .filter(|(_, list)| list.iter().any(is_due))
                .map(|(unit, _)| *unit);
            match due.next() {
                Some(unit) => vec![unit],
                // All that is due was tried in other orders, but not after these faults.
                None => awake.map(|(unit, _)| *unit).collect(),
            }
        };
        if backtrack.is_empty() {
            self.found.redundant += u64::from(!is_final);
            return true;
        }
        let depth = self.nodes.len();
        self.nodes.push(Node {
            state,
            backtrack,
            asleep,
            able: alternatives.iter().map(|(unit, _)| *unit).collect(),
        });
        let mut alternatives: Vec<(Unit, Option<Vec<Alternative>>)> = alternatives
            .into_iter()
            .map(|(unit, list)| (unit, Some(list)))
            .collect();
        let mut whole = true;
        let mut next = 0;
        while let Some(unit) = self.nodes[depth].backtrack.get(next).copied() {
            next += 1;
            let entry = alternatives.iter_mut().find(|(able, _)| *able == unit);
            let sleeps = self.nodes[depth].asleep.iter().any(|sleeper| sleeper.unit == unit);
            let Some(list) = entry.and_then(|(_, list)| list.take()).filter(|_| !sleeps) else {
                continue;
            };
            let footprints: Rc<[Footprint]> = list.iter().map(|alternative| alternative.footprint.clone()).collect();
            for alternative in list {
                whole = self.descend(depth, unit, alternative);
                if !whole {
                    break;
                }
            }
            if !whole {
                break;
            }
            self.nodes[depth].asleep.push(Sleeper { unit, footprints });
        }
        self.nodes.pop();
        whole
    }

    fn descend(&mut self, depth: usize, unit: Unit, alternative: Alternative) -> bool {
        let Alternative { step, after, footprint } = alternative;
        let event = self.event(step, footprint);
        let caller = match event.step.action {
            Action::Run(pid) => self.nodes[depth].state.processes.get(&pid),
            _ => None,
        };
        let caller = caller.filter(|process| matches!(process.status, Status::Ready(Effect::Call(_))));
        self.races(unit, &event, caller.cloned().as_ref(), false);
        self.try_the_disabled(depth, unit, &after);
        let asleep = self.nodes[depth].asleep.iter();
        let independent = |sleeper: &&Sleeper| {
            sleeper.unit != unit
                && !sleeper
                    .footprints
                    .iter()
                    .any(|footprint| footprint.conflicts(&event.footprint))
        };
        let asleep = asleep.filter(independent).cloned().collect();
        self.events.push(event);
        let whole = self.explore(after, asleep);
        self.events.pop();
        whole
    }

    /// A step that leaves another unit unable (it took the only job) races with what that unit could have done, though that
    /// never becomes an event of this run: the other must be tried here as well.
    fn try_the_disabled(&mut self, depth: usize, unit: Unit, after: &State) {
        let still: Vec<Unit> = self
            .system
            .enabled(after)
            .into_iter()
            .map(|action| Step::new(action).pid())
            .collect();
        let node = &mut self.nodes[depth];
        for other in &node.able {
            if *other != unit && !still.contains(other) && !node.backtrack.contains(other) {
                node.backtrack.push(*other);
            }
        }
    }

    /// A call that has to wait (the queue is empty) is no step of this run, but may be one of another: it races with the steps before it
    /// that it has something in common with, because before one of those it may not have had to wait.
    fn races_of_the_waiting(&mut self, state: &State) {
        for (pid, process) in &state.processes {
            let Status::Ready(Effect::Call(call)) = &process.status else {
                continue;
            };
            let action = Action::Run(*pid);
            let service = state.world.services.get(&call.service);
            let Some(service) = service.filter(|_| !self.system.is_enabled(state, action)) else {
                continue;
            };
            let mut footprint = Footprint::default();
            for (key, write) in service.get().touches(call) {
                footprint.touch(Resource::Service(call.service.clone(), key), write);
            }
            let event = self.event(Step::new(action), footprint);
            self.races(Some(*pid), &event, Some(process), true);
        }
    }

    /// The step as an event after the current run.
    fn event(&self, step: Step, footprint: Footprint) -> Event {
        let mut after = Bits::new();
        let mut level = 0;
        for (place, event) in self.events.iter().enumerate() {
            if depends(event, &step, &footprint) {
                add(&mut after, place);
                join(&mut after, &event.after);
                level = level.max(event.level + 1);
            }
        }
        Event {
            step,
            footprint,
            after,
            level,
        }
    }

    /// Notes, for each event that the new one races with, that it should also be tried the other way round.
    ///
    /// Only neighbours race, in general: the order of others follows. But a call that would have to wait before its neighbour may go before
    /// an earlier event; `caller` is who makes the call, if it is one, and `waits` says that it waits now.
    fn races(&mut self, unit: Unit, new: &Event, caller: Option<&Arc<Process>>, waits: bool) {
        let mut waits = waits;
        for place in (0..self.events.len()).rev() {
            let old = &self.events[place];
            if old.step.pid() == unit || !depends(old, &new.step, &new.footprint) {
                continue;
            }
            let between = place + 1..self.events.len();
            let follows = between
                .clone()
                .any(|other| has(&new.after, other) && has(&self.events[other].after, place));
            if follows && !waits {
                continue;
            }
            let free: Vec<usize> = between
                .filter(|other| !has(&self.events[*other].after, place))
                .collect();
            let initials = self.initials(&free, unit, new);
            let node = &self.nodes[place];
            let is_known =
                |unit: &Unit| node.backtrack.contains(unit) || node.asleep.iter().any(|sleeper| sleeper.unit == *unit);
            let is_known = initials.iter().any(is_known);
            if is_known && caller.is_none() {
                continue;
            }
            match self.reversed(place, &free, new, caller) {
                Reversed::Can if !is_known => {}
                Reversed::Waits => {
                    waits = true;
                    continue;
                }
                _ => continue,
            }
            let able = initials.iter().copied().filter(|initial| node.able.contains(initial));
            let able: Vec<Unit> = able.collect();
            let chosen = able.iter().find(|initial| **initial == unit).or(able.first()).copied();
            if let Some(chosen) = chosen {
                self.nodes[place].backtrack.push(chosen);
            }
        }
    }

    /// The units whose first step in `free`, followed by the new event, need not come after any other of those.
    fn initials(&self, free: &[usize], unit: Unit, new: &Event) -> Vec<Unit> {
        let mut initials = Vec::new();
        let mut seen: Vec<Unit> = Vec::new();
        for (count, place) in free.iter().enumerate() {
            let event = &self.events[*place];
            let own = event.step.pid();
            if !seen.contains(&own) {
                seen.push(own);
                if !free[..count].iter().any(|before| has(&event.after, *before)) {
                    initials.push(own);
                }
            }
        }
        if !seen.contains(&unit) && !free.iter().any(|before| has(&new.after, *before)) {
            initials.push(unit);
        }
        initials
    }

    /// Whether the new step can be taken without the event at a place: an event that makes it possible does not race with it.
    fn reversed(&self, place: usize, free: &[usize], new: &Event, caller: Option<&Arc<Process>>) -> Reversed {
        let mut state = self.nodes[place].state.clone();
        for other in free {
            let step = &self.events[*other].step;
            if self.system.replay_step(&mut state, step, *other + 1).is_err() {
                return Reversed::Can;
            }
        }
        let is_there = |caller: &Arc<Process>| new.step.pid().and_then(|pid| state.processes.get(&pid)) == Some(caller);
        match (self.system.is_enabled(&state, new.step.action), caller) {
            // It has come to this call only because of the event.
            (_, Some(caller)) if !is_there(caller) => Reversed::Cannot,
            (true, _) => Reversed::Can,
            (false, Some(_)) => Reversed::Waits,
            (false, None) => Reversed::Cannot,
        }
    }

    /// Notes the current run as one that may end here; false when the limit is met.
    fn emit(&mut self) -> bool {
        self.found.executions += 1;
        let mut form: Vec<(u32, &Step)> = self.events.iter().map(|event| (event.level, &event.step)).collect();
        form.sort();
        if !self.known.insert(digest(&form)) {
            self.found.redundant += 1;
            return true;
        }
        if self.found.schedules.len() == self.limit {
            return false;
        }
        self.found.schedules.push(Schedule {
            fingerprint: self.system.spec().fingerprint(),
            steps: self.events.iter().map(|event| event.step.clone()).collect(),
        });
        true
    }
}

/// Whether a step can be taken before an event that was before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reversed {
    Can,
    Cannot,
    /// It is a call that has to wait there.
    Waits,
}

fn depends(old: &Event, step: &Step, footprint: &Footprint) -> bool {
    old.step.pid() == step.pid() || old.footprint.conflicts(footprint)
}

/// Whether it happens by itself, unlike a fault.
fn is_due(alternative: &Alternative) -> bool {
    !matches!(alternative.step.action, Action::Fault(..))
}

fn group(system: &System, state: &State) -> Vec<(Unit, Vec<Alternative>)> {
    let mut groups: Vec<(Unit, Vec<Alternative>)> = Vec::new();
    for (step, after, taken) in system.successors(state) {
        let unit = step.pid();
        let alternative = Alternative {
            step,
            after,
            footprint: taken.footprint,
        };
        match groups.iter_mut().find(|(known, _)| *known == unit) {
            Some((_, list)) => list.push(alternative),
            None => groups.push((unit, vec![alternative])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::test_runner::{Config, TestRunner};

    use super::*;
    use crate::explore::agreement::systems;
    use crate::explore::toy::{Op, ToySpec, lost_update};
    use crate::explore::{Options, explore};
    use crate::system::{Fault, FaultBudget};

    /// A run of each class, by running all runs; `None` if there are too many.
    fn by_brute_force(system: &System, most: usize) -> Option<Vec<Schedule>> {
        let mut search = Search {
            system,
            limit: usize::MAX,
            nodes: Vec::new(),
            events: Vec::new(),
            known: BTreeSet::new(),
            found: Classes::default(),
        };
        all_runs(&mut search, system.initial(), most).then_some(search.found.schedules)
    }

    fn all_runs(search: &mut Search<'_>, state: State, most: usize) -> bool {
        let groups = group(search.system, &state);
        if !groups.iter().any(|(_, list)| list.iter().any(is_due)) {
            search.emit();
        }
        if search.found.executions > most as u64 {
            return false;
        }
        for alternative in groups.into_iter().flat_map(|(_, list)| list) {
            let event = search.event(alternative.step, alternative.footprint);
            search.events.push(event);
            let whole = all_runs(search, alternative.after, most);
            search.events.pop();
            if !whole {
                return false;
            }
        }
        true
    }

    /// The classes themselves, and how many there are.
    fn check(system: &System, most: usize) -> Option<Classes> {
        let brute = by_brute_force(system, most)?;
        let found = classes(system, usize::MAX);
        assert!(found.complete);
        let shown = |schedules: &[Schedule]| -> Vec<String> { schedules.iter().map(Schedule::to_string).collect() };
        assert_eq!(
            found.schedules.len(),
            brute.len(),
            "{}: found {:?} of {:?}",
            system.spec().identity,
            shown(&found.schedules),
            shown(&brute)
        );
        let outcomes: BTreeSet<_> = found
            .schedules
            .iter()
            .map(|schedule| {
                let (_, state) = system.replay(schedule).expect("it replays");
                assert!(system.is_final(&state));
                (system.outcome(&state), system.breaches(&state, true))
            })
            .collect();
        let violated: BTreeSet<_> = outcomes
            .iter()
            .flat_map(|(_, breaches)| breaches.iter().map(|breach| breach.invariant.clone()))
            .filter(|name| name.contains("Finally"))
            .collect();
        let explored = explore(system, &Options::default()).violated().into_iter();
        let explored: BTreeSet<_> = explored.filter(|name| name.contains("Finally")).collect();
        assert_eq!(violated, explored, "{}", system.spec().identity);
        Some(found)
    }

    #[test]
    fn a_lost_update_has_four_classes() {
        // The two gets commute, and so do both calls with the other's answers. What does not: each put with the other's get, and the
        // puts. Serial either way, or both gets before both puts and then either put first: 2 + 2 = 4.
        let found = check(&lost_update(2), 100_000).expect("70 runs");
        assert_eq!((found.schedules.len(), found.executions, found.redundant), (4, 4, 0));
    }

    #[test]
    fn independent_processes_have_one_class() {
        let roots = vec![
            vec![Op::Add("a", 1), Op::Get("a")],
            vec![Op::Add("b", 1)],
            vec![Op::Get("c")],
        ];
        let system = ToySpec {
            roots,
            ..ToySpec::default()
        }
        .system();
        let found = classes(&system, usize::MAX);
        assert_eq!((found.schedules.len(), found.executions, found.redundant), (1, 1, 0));
    }

    #[test]
    fn writers_of_one_number_have_a_class_for_each_order() {
        // n writers of one number in one step: n! orders, and answers commute with everything.
        let roots = vec![vec![Op::Add("a", 1)]; 4];
        let system = ToySpec {
            roots,
            ..ToySpec::default()
        }
        .system();
        let found = classes(&system, usize::MAX);
        assert_eq!((found.schedules.len(), found.redundant), (24, 0));
    }

    #[test]
    fn who_waits_in_one_order_takes_in_another() {
        // Each puts one (it overwrites) and takes one. One after the other: 2 orders. Both puts first, in either order: then there is one to take,
        // and either takes it while the other waits for ever: 2 * 2. In all 6.
        let system = ToySpec {
            roots: vec![vec![Op::PutNext("a", 1), Op::Take("a")]; 2],
            ..ToySpec::default()
        }
        .system();
        let found = check(&system, 100_000).expect("a few runs");
        assert_eq!(found.schedules.len(), 6);
    }

    #[test]
    fn who_has_to_wait_for_the_last_step_may_go_before_an_earlier_one() {
        // The handler puts one on the shelf, which either takes; the first looks at the shelf after taking, so the look, not the take, is
        // the last step that the other's wait has to do with.
        let system = ToySpec {
            roots: vec![vec![Op::Take("a"), Op::Get("a")], vec![Op::Send, Op::Take("a")]],
            handler: vec![Op::Add("a", 1)],
            ..ToySpec::default()
        }
        .system();
        assert_eq!(check(&system, 100_000).map(|found| found.schedules.len()), Some(2));
    }

    #[test]
    fn a_fault_may_be_all_that_is_new() {
        // A crash touches what the others put and get, so its orders with them count. The last process can crash while it waits for an answer that
        // never comes, before either of the others, both of which have been put off for good by then.
        let system = ToySpec {
            roots: vec![vec![Op::PutNext("a", 0)], vec![Op::Get("a")], vec![Op::Send]],
            faults: FaultBudget::NONE.with(Fault::Crash, 1),
            ..ToySpec::default()
        }
        .system();
        check(&system, 100_000).expect("a few hundred runs");
    }

    #[test]
    fn a_limit_is_told() {
        let found = classes(&lost_update(3), 5);
        assert!(!found.complete && found.schedules.len() == 5);
    }

    #[test]
    fn random_systems_have_the_classes_that_all_their_runs_have() {
        let asked = std::env::var_os("PROPTEST_CASES").is_some();
        let config = Config {
            cases: if asked { Config::default().cases } else { 60 },
            failure_persistence: None,
            ..Config::default()
        };
        let (mut runs, mut useful) = (0, 0);
        let counts = std::cell::RefCell::new((&mut runs, &mut useful));
        TestRunner::new(config)
            .run(&systems(), |system| {
                if let Some(found) = check(&system, 1_000) {
                    let mut counts = counts.borrow_mut();
                    *counts.0 += found.executions + found.redundant;
                    *counts.1 += found.schedules.len() as u64;
                }
                Ok(())
            })
            .expect("every class is found");
        assert!(useful > 50, "{useful} classes in {runs} executions");
    }
}
