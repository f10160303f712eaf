//! From a search to a finding: of the shortest counterexamples the one with the fewest switches, and its decisive step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};

use super::judge::Judge;
use super::moves::{Expansion, Moves, apply};
use super::options::{Deadline, Options};
use super::parts::{Parts, Row};
use super::search::Search;
use super::verdict::{Bounds, Counterexample, Driver, Evidence, Finding, Judged, Reached, Stats, Verdict, counted};
use crate::machine::Pid;
use crate::system::{Breach, Event, Schedule, Step, System};

/// Steps that are kept while looking for the best counterexample, at most; beyond, the first shortest one is told.
const MOST_EDGES: usize = 6_000_000;

/// So many steps are compared before the clock is looked at again.
const EDGES_BETWEEN_LOOKS: usize = 1 << 12;

/// States that are looked at for the decisive step, at most.
const MOST_FUTURES: usize = 2_000_000;

/// The finding of a search.
pub(super) fn conclude(search: Search<'_>, options: &Options, started: Instant) -> Finding {
    let spec = search.system.spec();
    let unbroken = if search.stopped.is_some() {
        Verdict::Unknown
    } else {
        Verdict::Held
    };
    let found = &search.breaks;
    let deadline = options.deadline(started);
    let best = best_of(&search, found, deadline);
    let mut futures = Futures::new(search.system, search.parts, deadline);
    let (mut judged, mut unshown) = (Vec::new(), None);
    for (place, invariant) in spec.invariants.iter().enumerate() {
        let found = found.iter().find(|(broken, _)| usize::from(*broken) == place);
        let counterexample = found.and_then(|(place, steps)| {
            let refined = best.get(place);
            let schedule = Schedule {
                fingerprint: spec.fingerprint(),
                steps: refined.unwrap_or(steps).clone(),
            };
            let breach = breach(search.system, &schedule, invariant.name())?;
            let decisive = if options.decisive {
                futures.decisive(&schedule, *place)
            } else {
                None
            };
            Some(Counterexample {
                schedule,
                breach,
                decisive,
                shortest: refined.is_some() || !options.reduction,
            })
        });
        // A broken state whose schedule does not show it is our mistake, not the scenario's.
        let otherwise = if found.is_some() { Verdict::Error } else { unbroken };
        let one = Judged::of(invariant.name(), counterexample, otherwise);
        if one.verdict == Verdict::Error && one.counterexample.is_none() {
            unshown.get_or_insert_with(|| UNSHOWN.replace("{}", invariant.name()));
        }
        judged.push(one);
    }
    let refused = search.refused.map(|_| refusal(&search));
    let verdict = judged.iter().fold(unbroken, |all, one| all.and(one.verdict));
    let names = |broken: &[u16]| -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = broken
            .iter()
            .map(|place| spec.invariants[usize::from(*place)].name().into())
            .collect();
        names.sort();
        names
    };
    let outcomes = search.outcomes.iter().map(|(outcome, shown)| Reached {
        outcome: (**outcome).clone(),
        count: shown.count,
        witness: Some(Schedule {
            fingerprint: spec.fingerprint(),
            steps: shown.witness.clone(),
        }),
        breaks: names(&shown.broken),
    });
    let states = counted(search.states(), "state");
    let stopped = || Some(format!("stopped at {} after {states}", search.stopped?));
    let reason = refused
        .clone()
        .or(unshown)
        .or_else(|| Finding::unjudged(&judged))
        .or_else(stopped)
        .or_else(|| unrefined(&judged, options, deadline));
    Finding {
        driver: Driver::Explore,
        assumptions: Vec::new(),
        verdict: if refused.is_some() { Verdict::Error } else { verdict },
        evidence: search
            .stopped
            .map_or(Evidence::Exhausted, |limit| Evidence::Truncated { limit }),
        outcomes: outcomes.collect(),
        invariants: judged,
        bounds: Bounds::of(spec),
        stats: Stats {
            states: search.states(),
            transitions: search.transitions,
            schedules: 0,
            finals: search.finals,
            depth: search.depth,
            inside: search.inside(),
            waits: search.learned.waits,
            seconds: started.elapsed().as_secs_f64(),
        },
        reason,
        warnings: Vec::new(),
        unforced: Vec::new(),
    }
}

/// Said of an invariant that a state breaks and no schedule.
const UNSHOWN: &str =
    "a state that breaks {} was reached, and no schedule shows it, which is a mistake in deadheat: please report it";

/// What the time did not suffice for, when the search itself came to its end.
fn unrefined(judged: &[Judged], options: &Options, deadline: Deadline) -> Option<String> {
    if !deadline.has_passed() {
        return None;
    }
    let mut found = judged.iter().filter_map(|judged| judged.counterexample.as_ref());
    let longer = found.clone().any(|found| !found.shortest);
    let undecided = options.decisive && found.any(|found| found.decisive.is_none());
    let what = match (longer, undecided) {
        (false, false) => return None,
        (true, false) => "the schedules are not known to be the shortest",
        (false, true) => "the decisive step was not computed",
        (true, true) => "the schedules are not known to be the shortest, and the decisive step was not computed",
    };
    let seconds = options.max_time.unwrap_or_default().as_secs();
    Some(format!("refining was stopped at {seconds} s: {what}"))
}

/// How the last state of a schedule breaks an invariant.
fn breach(system: &System, schedule: &Schedule, invariant: &str) -> Option<Breach> {
    let (_, state) = system.replay(schedule).ok()?;
    let breaches = system.breaches(&state, system.is_final(&state));
    breaches.into_iter().find(|breach| &*breach.invariant == invariant)
}

fn refusal(search: &Search<'_>) -> String {
    let schedule = Schedule {
        fingerprint: search.system.spec().fingerprint(),
        steps: search.refusal().unwrap_or_default(),
    };
    let reason = search.system.replay(&schedule).ok().and_then(|(trace, _)| {
        let events = trace.0.into_iter().flat_map(|(_, events)| events);
        events.into_iter().find_map(|event| match event {
            Event::Refused { reason, .. } => Some(reason.to_string()),
            _ => None,
        })
    });
    reason.unwrap_or_else(|| "a statement is not supported".to_owned())
}

/// How good a way to a state is: fewer switches between processes, then fewer faults.
type Cost = (u32, u32);

/// The best shortest ways to states that break the invariants; empty if there are too many ways to compare, or too little time.
fn best_of(search: &Search<'_>, found: &[(u16, Vec<Step>)], deadline: Deadline) -> BTreeMap<u16, Vec<Step>> {
    let mut best = BTreeMap::new();
    let Some(deepest) = found.iter().map(|(_, steps)| steps.len()).max() else {
        return best;
    };
    let Some(graph) = Graph::build(search, found, deepest, deadline) else {
        return best;
    };
    for (invariant, _) in found {
        if let Some(steps) = graph.best(*invariant, search, deadline) {
            best.insert(*invariant, steps);
        }
    }
    best
}

/// All shortest ways from the start, level by level.
struct Graph {
    /// For each level, the steps into the next one: from, to (places in their levels), number of the step.
    edges: Vec<Vec<(u32, u32, u32)>>,
    /// For each invariant the first level with states that break it, and those.
    broken: BTreeMap<u16, (usize, Vec<u32>)>,
}

impl Graph {
    fn build(search: &Search<'_>, found: &[(u16, Vec<Step>)], deepest: usize, deadline: Deadline) -> Option<Self> {
        let mut graph = Graph {
            edges: Vec::new(),
            broken: BTreeMap::new(),
        };
        let (system, parts) = (search.system, search.parts);
        let mut moves = Moves::new(system, parts);
        let mut judge = Judge::new(system, parts);
        let mut expansion = Expansion::default();
        let mut row = parts.row(&system.initial());
        let mut level: Vec<(Row, u128)> = vec![(row.clone(), parts.read().digest(&row))];
        let mut visited: FxHashSet<u128> = level.iter().map(|(_, digest)| *digest).collect();
        let mut total = 0;
        for depth in 0..=deepest {
            let mut next: Vec<(Row, u128)> = Vec::new();
            let mut places: FxHashMap<u128, u32> = FxHashMap::default();
            let mut edges = Vec::new();
            for (place, (from, digest)) in level.iter().enumerate() {
                if deadline.has_passed() {
                    return None;
                }
                moves.expand(from, &mut expansion);
                graph.note(&mut judge, from, expansion.is_final, depth, place as u32);
                if depth == deepest {
                    continue;
                }
                let remembered = expansion.moves.iter().map(|number| moves.get(*number));
                for made in remembered.chain(&expansion.ticks) {
                    let digest = digest.wrapping_add(made.digest);
                    let to = match places.get(&digest) {
                        Some(to) => *to,
                        None if visited.insert(digest) => {
                            apply(from, made, &mut row);
                            next.push((row.clone(), digest));
                            places.insert(digest, next.len() as u32 - 1);
                            next.len() as u32 - 1
                        }
                        None => continue,
                    };
                    edges.push((place as u32, to, made.step));
                }
            }
            total += edges.len();
            if total > MOST_EDGES {
                return None;
            }
            graph.edges.push(edges);
            let all_found = found.iter().all(|(invariant, _)| graph.broken.contains_key(invariant));
            if all_found {
                break;
            }
            level = next;
        }
        Some(graph)
    }

    fn note(&mut self, judge: &mut Judge<'_>, row: &[u32], is_final: bool, depth: usize, place: u32) {
        let mut broken = Vec::new();
        judge.broken(row, is_final, &mut broken);
        for invariant in broken {
            let entry = self.broken.entry(invariant).or_insert((depth, Vec::new()));
            if entry.0 == depth {
                entry.1.push(place);
            }
        }
    }

    /// The best of all shortest ways to break an invariant; of two equally good ones the one whose steps come first.
    fn best(&self, invariant: u16, search: &Search<'_>, deadline: Deadline) -> Option<Vec<Step>> {
        let (depth, targets) = self.broken.get(&invariant)?;
        let useful = self.useful(*depth, targets);
        let pools = search.parts.read();
        let step_of = |number: u32| pools.steps.get(number);
        // For each state of a level, by the process that stepped last: the cost, and the edge that it came by.
        type Ways = BTreeMap<(u32, Option<Pid>), (Cost, Option<(u32, Option<Pid>, u32)>)>;
        let mut ways: Vec<Ways> = vec![BTreeMap::from([((0, None), ((0, 0), None))])];
        for level in 0..*depth {
            let mut next: Ways = BTreeMap::new();
            let mut edges: Vec<&(u32, u32, u32)> = self.edges[level]
                .iter()
                .filter(|(_, to, _)| useful[level + 1].contains(to))
                .collect();
            edges.sort_by_key(|(from, _, _)| *from);
            for (place, (from, to, number)) in edges.into_iter().enumerate() {
                if place.is_multiple_of(EDGES_BETWEEN_LOOKS) && deadline.has_passed() {
                    return None;
                }
                let step = step_of(*number);
                for ((_, last), ((switches, faults), _)) in ways[level].range((*from, None)..=(*from, LAST)) {
                    let switch = u32::from(last.is_some() && *last != step.pid());
                    let cost = (switches + switch, faults + u32::from(step.fault().is_some()));
                    let entry = next
                        .entry((*to, step.pid()))
                        .or_insert((cost, Some((*from, *last, *number))));
                    if cost < entry.0 {
                        *entry = (cost, Some((*from, *last, *number)));
                    }
                }
            }
            ways.push(next);
        }
        let ends = ways[*depth].iter().filter(|((state, _), _)| targets.contains(state));
        let (mut at, _) = ends.min_by_key(|(_, (cost, _))| *cost)?;
        let mut steps = Vec::new();
        for level in (1..=*depth).rev() {
            let (_, Some((from, last, number))) = ways[level].get(at)? else {
                return None;
            };
            steps.push(step_of(*number).clone());
            at = ways[level - 1].get_key_value(&(*from, *last))?.0;
        }
        steps.reverse();
        Some(steps)
    }

    /// For each level the states that lead to a target.
    fn useful(&self, depth: usize, targets: &[u32]) -> Vec<FxHashSet<u32>> {
        let mut useful = vec![FxHashSet::default(); depth + 1];
        useful[depth] = targets.iter().copied().collect();
        for level in (0..depth).rev() {
            let (before, after) = useful.split_at_mut(level + 1);
            let edges = self.edges[level].iter().filter(|(_, to, _)| after[0].contains(to));
            before[level] = edges.map(|(from, _, _)| *from).collect();
        }
        useful
    }
}

/// Above every process.
const LAST: Option<Pid> = Some(Pid::root(254));

/// What can still come after a state: whether some run ends well.
struct Futures<'a> {
    system: &'a System,
    parts: &'a Parts,
    moves: Moves<'a>,
    judge: Judge<'a>,
    deadline: Deadline,
}

impl<'a> Futures<'a> {
    fn new(system: &'a System, parts: &'a Parts, deadline: Deadline) -> Self {
        Futures {
            deadline,
            system,
            parts,
            moves: Moves::new(system, parts),
            judge: Judge::new(system, parts),
        }
    }

    /// The number of steps of the schedule after which no run keeps the invariant.
    fn decisive(&mut self, schedule: &Schedule, invariant: u16) -> Option<usize> {
        let mut states = vec![self.parts.row(&self.system.initial())];
        let mut state = self.system.initial();
        for (place, step) in schedule.steps.iter().enumerate() {
            self.system.replay_step(&mut state, step, place + 1).ok()?;
            states.push(self.parts.row(&state));
        }
        let mut hopeless = FxHashSet::default();
        let mut budget = MOST_FUTURES;
        for (place, row) in states.iter().enumerate().rev() {
            if self.ends_well(row, invariant, &mut hopeless, &mut budget)? {
                return Some(place + 1);
            }
        }
        Some(0)
    }

    /// Whether some run from here ends without breaking the invariant. States from which none does are added to `hopeless`.
    fn ends_well(
        &mut self,
        row: &[u32],
        invariant: u16,
        hopeless: &mut FxHashSet<u128>,
        budget: &mut usize,
    ) -> Option<bool> {
        let digest = self.parts.read().digest(row);
        let mut stack = vec![(Row::from_slice(row), digest)];
        let mut next = Row::new();
        let mut expansion = Expansion::default();
        let mut broken = Vec::new();
        hopeless.insert(digest);
        while let Some((row, digest)) = stack.pop() {
            *budget = budget.checked_sub(1)?;
            if self.deadline.has_passed() {
                return None;
            }
            self.moves.expand(&row, &mut expansion);
            broken.clear();
            self.judge.broken(&row, expansion.is_final, &mut broken);
            if broken.contains(&invariant) {
                continue;
            }
            if expansion.is_final {
                return Some(true);
            }
            let remembered = expansion.moves.iter().map(|number| self.moves.get(*number));
            for made in remembered.chain(&expansion.ticks) {
                let digest = digest.wrapping_add(made.digest);
                if hopeless.insert(digest) {
                    apply(&row, made, &mut next);
                    stack.push((next.clone(), digest));
                }
            }
        }
        Some(false)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::explore::toy::lost_update;

    /// The search ends in time and refining does not.
    #[test]
    fn what_was_not_refined_is_told() {
        let system = lost_update(2);
        let parts = Parts::default();
        let options = Options::default();
        let search = Search::run(&system, &parts, None, None, &options, Instant::now());
        let late = Options {
            max_time: Some(Duration::ZERO),
            ..options
        };
        let finding = conclude(search, &late, Instant::now());
        assert_eq!(finding.evidence, Evidence::Exhausted);
        let found = finding.counterexample().expect("it is violated all the same");
        assert!(!found.shortest && found.decisive.is_none());
        assert_eq!(
            finding.reason.as_deref(),
            Some(
                "refining was stopped at 0 s: the schedules are not known to be the shortest, and the decisive step was not computed"
            )
        );
    }
}
