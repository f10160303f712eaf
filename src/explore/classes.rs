//! Which schedules are really different: one run of each equivalence class.
//!
//! Two runs are equivalent when one becomes the other by swapping neighbouring steps that do not conflict; all runs of a class
//! end in the same state. [`classes`] is optimal dynamic partial-order reduction (Abdulla, Aronsson, Jonsson, Sagonas: Source Sets: A
//! Foundation for Optimal Dynamic Partial Order Reduction, JACM 2017) over the footprints of steps: its wakeup trees lead only into runs
//! of classes that were not seen.
//!
//! It departs from the paper where a system is not a program whose threads never disable each other:
//!
//! - A process has alternatives: its own step, each way the world can go in it, the faults that can meet it. Each is an act of
//!   its own, and all acts of a process conflict.
//! - A step can make another impossible for good: it took the only job, it crashed a process, it spent the last fault. So a race is not
//!   looked for between two steps that happened, but between one that happened and everything that could have, had it not.
//! - Faults need not happen: the end of a run is an act too, which conflicts with all others.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::acts::{Act, Acts, Event};
use super::digest::digest;
use super::parts::{Parts, Row};
use super::wakeup::{Tree, begins};
use crate::system::{Schedule, Step, System};

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
    let parts = Parts::default();
    let mut search = Search::new(system, &parts, limit);
    let row = parts.row(&system.initial());
    let whole = search.explore(row, Vec::new(), Tree::default());
    search.found.complete = whole && !search.is_astray;
    search.found
}

/// A state on the current run.
struct Node {
    row: Row,
    /// What is yet to be tried here.
    tree: Tree,
    /// Acts that need not be tried here (any more): all that they can begin was tried from a state that differs only by acts that they do not
    /// conflict with.
    asleep: Vec<Rc<Act>>,
}

struct Search<'a> {
    acts: Acts<'a>,
    fingerprint: u32,
    limit: usize,
    nodes: Vec<Node>,
    events: Vec<Event>,
    known: BTreeSet<u128>,
    found: Classes,
    /// A step that should have been possible was not, because footprints did not tell all: classes may be missing.
    is_astray: bool,
}

impl<'a> Search<'a> {
    fn new(system: &'a System, parts: &'a Parts, limit: usize) -> Self {
        Search {
            acts: Acts::new(system, parts),
            fingerprint: system.spec().fingerprint(),
            limit,
            nodes: Vec::new(),
            events: Vec::new(),
            known: BTreeSet::new(),
            found: Classes::default(),
            is_astray: false,
        }
    }

    /// Explores what a tree leads to after the current run, and what is found to be missing on the way; false when the limit was met.
    fn explore(&mut self, row: Row, asleep: Vec<Rc<Act>>, mut tree: Tree) -> bool {
        let possible = self.acts.possible(&row);
        if tree.is_empty() {
            let is_awake = |act: &&Rc<Act>| !asleep.iter().any(|sleeper| sleeper.is(act));
            let mut due = possible.iter().map(|(act, _)| act).filter(|act| act.is_due);
            let Some(first) = due.find(is_awake) else {
                // Does not happen where footprints tell all that matters.
                self.found.redundant += 1;
                self.races();
                return true;
            };
            tree.insert(vec![first.clone()]);
        }
        let depth = self.nodes.len();
        self.nodes.push(Node { row, tree, asleep });
        let mut whole = true;
        while whole && let Some((act, below)) = self.nodes[depth].tree.pop() {
            let Some((act, after)) = possible.iter().find(|(known, _)| known.is(&act)) else {
                self.is_astray = true;
                continue;
            };
            let asleep = self.nodes[depth]
                .asleep
                .iter()
                .filter(|sleeper| !sleeper.conflicts(act));
            let asleep = asleep.cloned().collect();
            self.events.push(Event::after(&self.events, act.clone()));
            if !act.is_end() {
                whole = self.explore(after.clone(), asleep, below);
            } else if self.emit() {
                self.races();
            } else {
                whole = false;
            }
            self.events.pop();
            self.nodes[depth].asleep.push(act.clone());
        }
        self.nodes.pop();
        whole
    }

    /// Notes, for each event of the current run, what else could have been without it: what conflicts with it and is possible after those later
    /// events that do not need it.
    fn races(&mut self) {
        for place in 0..self.events.len() {
            let later = place + 1..self.events.len();
            let free: Vec<usize> = later.filter(|other| !self.events[*other].needs(place)).collect();
            let mut possible = self.acts.possible(&self.nodes[place].row);
            let mut rivals = self.rivals(place, &possible);
            let mut sequence = Vec::new();
            for (count, other) in free.iter().enumerate() {
                let act = self.events[*other].act.clone();
                let Some((_, after)) = possible.iter().find(|(known, _)| known.is(&act)) else {
                    continue;
                };
                possible = self.acts.possible(after);
                let still = self.rivals(place, &possible);
                for rival in rivals {
                    if !still.iter().any(|act| act.is(&rival)) {
                        self.demand_without(place, &free, count, rival);
                    }
                }
                rivals = still;
                sequence.push(act);
            }
            for rival in rivals {
                let sequence = sequence.iter().cloned().chain([rival]);
                self.demand(place, sequence.collect());
            }
        }
    }

    /// What of all that is possible could happen in place of the event at a place.
    fn rivals(&self, place: usize, possible: &[(Rc<Act>, Row)]) -> Vec<Rc<Act>> {
        let event = &self.events[place].act;
        let all = possible.iter().map(|(act, _)| act);
        all.filter(|act| !act.is(event) && act.conflicts(event))
            .cloned()
            .collect()
    }

    /// Notes a rival that one of the free events makes impossible: it is to be tried after those that leave it possible.
    fn demand_without(&mut self, place: usize, free: &[usize], but: usize, rival: Rc<Act>) {
        let mut row = self.nodes[place].row.clone();
        let mut sequence = Vec::new();
        let mut left_out: Vec<usize> = Vec::new();
        for (count, other) in free.iter().enumerate() {
            let event = &self.events[*other];
            let follows = left_out.iter().any(|before| event.needs(*before));
            let after = if count == but || follows {
                None
            } else {
                let after = self.acts.after(&row, &event.act);
                after.filter(|after| count < but || self.acts.after(after, &rival).is_some())
            };
            match after {
                Some(after) => {
                    row = after;
                    sequence.push(event.act.clone());
                }
                None => left_out.push(*other),
            }
        }
        sequence.push(rival);
        self.demand(place, sequence);
    }

    /// Has a sequence tried from the state before a place, if it begins no run that was made or will be.
    fn demand(&mut self, place: usize, sequence: Vec<Rc<Act>>) {
        let node = &mut self.nodes[place];
        if !node.asleep.iter().any(|sleeper| begins(sleeper, &sequence).is_some()) {
            node.tree.insert(sequence);
        }
    }

    /// Notes the current run; false when the limit is met.
    fn emit(&mut self) -> bool {
        self.found.executions += 1;
        let class = digest(&self.form());
        if !self.known.insert(class) {
            self.found.redundant += 1;
        } else if self.found.schedules.len() == self.limit {
            return false;
        } else {
            let steps = self.events.iter().filter_map(|event| self.acts.step(&event.act));
            self.found.schedules.push(Schedule {
                fingerprint: self.fingerprint,
                steps: steps.collect(),
            });
        }
        true
    }

    /// The current run as its class has it: each step with how many must come before it, one after the other (the Foata normal form).
    fn form(&self) -> Vec<(u32, Step)> {
        let steps = self.events.iter();
        let steps = steps.filter_map(|event| Some((event.level, self.acts.step(&event.act)?)));
        let mut form: Vec<(u32, Step)> = steps.collect();
        form.sort();
        form
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use proptest::strategy::Strategy;

    use super::*;
    use crate::explore::agreement::{draw, systems};
    use crate::explore::statements;
    use crate::explore::toy::{Op, ToySpec, lost_update};
    use crate::explore::{Options, explore};
    use crate::system::{Fault, FaultBudget, Outcome, Points};

    /// How many random systems of each kind are compared; thousands before a release.
    const SYSTEMS: u32 = 150;

    /// A run of each class, by running all runs; `None` if there are too many.
    fn by_brute_force(system: &System, most: usize) -> Option<Vec<Schedule>> {
        let parts = Parts::default();
        let mut search = Search::new(system, &parts, usize::MAX);
        let mut finals = BTreeMap::new();
        all_runs(&mut search, parts.row(&system.initial()), most, &mut finals).then_some(search.found.schedules)
    }

    /// All runs of a class must end in one state.
    fn all_runs(search: &mut Search<'_>, row: Row, most: usize, finals: &mut BTreeMap<Vec<(u32, Step)>, Row>) -> bool {
        for (act, after) in search.acts.possible(&row) {
            if search.found.executions > most as u64 {
                return false;
            }
            let is_end = act.is_end();
            search.events.push(Event::after(&search.events, act));
            let whole = if is_end {
                let form = search.form();
                let first = finals.entry(form.clone()).or_insert_with(|| after.clone());
                assert_eq!(*first, after, "{form:?} ends in two states");
                search.emit()
            } else {
                all_runs(search, after, most, finals)
            };
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
        assert_eq!(
            (found.executions, found.redundant),
            (brute.len() as u64, 0),
            "{}",
            system.spec().identity
        );
        let replayed = found.schedules.iter().map(|schedule| system.replay(schedule));
        let outcomes: BTreeSet<Outcome> = replayed
            .map(|replayed| {
                let (_, state) = replayed.expect("it replays");
                assert!(system.is_final(&state));
                system.outcome(&state)
            })
            .collect();
        let explored = explore(system, &Options::default()).outcomes.into_iter();
        let explored: BTreeSet<Outcome> = explored.map(|reached| reached.outcome).collect();
        assert_eq!(outcomes, explored, "{}", system.spec().identity);
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
    fn who_sleeps_until_nothing_else_can_happen_comes_after_everything() {
        // The first wakes when the others are done, which conflict with it, and only one of them with the other's last step.
        let system = ToySpec {
            roots: vec![
                vec![Op::Idle, Op::Get("a"), Op::PutNext("b", 1)],
                vec![Op::PutNext("a", 1), Op::Get("b")],
                vec![Op::PutNext("a", 2), Op::Idle, Op::PutNext("b", 2)],
            ],
            ..ToySpec::default()
        }
        .system();
        check(&system, 100_000).expect("a few thousand runs");
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

    /// Compares random systems with running all their runs; a good part of them must be small enough for that.
    fn compare(systems: impl Strategy<Value = System>, cases: u32, most: usize, least: u32) {
        let compared = Cell::new(0);
        draw(systems, cases, 1, |system| {
            let found = check(system, most);
            compared.set(compared.get() + u32::from(found.is_some_and(|found| found.schedules.len() > 1)));
        });
        assert!(compared.get() >= least, "{} were small enough", compared.get());
    }

    #[test]
    fn random_systems_have_the_classes_that_all_their_runs_have() {
        compare(systems(), SYSTEMS, 1_000, SYSTEMS / 5);
    }

    #[test]
    fn random_statements_have_the_classes_that_all_their_runs_have() {
        let atoms = statements::systems().prop_map(|system| system.with_points(Points::None));
        compare(atoms, SYSTEMS, 2_000, SYSTEMS / 10);
        // With stops everywhere few are small enough to run every order of.
        compare(statements::systems(), SYSTEMS, 2_000, 3);
    }
}
