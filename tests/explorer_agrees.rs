//! On every scenario the explorer says the same with its reductions and without, with one thread and with two; and the classes of
//! schedules of the small ones reach the outcomes that it reaches.

use std::collections::BTreeSet;
use std::path::Path;

use deadheat::explore::{Evidence, Finding, Options, classes, explore};
use deadheat::scenario::{Library, Scenario};
use deadheat::system::Outcome;

/// Larger scenarios than this are compared elsewhere (`cargo bench --bench peers`).
const MOST_STATES: u64 = 4_000;

/// Scenarios with more classes than this are too large to run one of each here.
const MOST_CLASSES: usize = 60;

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    Library::default().load(&folder).expect("every scenario is read")
}

fn limited(options: Options) -> Options {
    Options {
        max_states: Some(MOST_STATES),
        decisive: false,
        ..options
    }
}

/// What must not depend on how it was explored.
fn essence(finding: &Finding) -> impl PartialEq + std::fmt::Debug + use<> {
    let judged: Vec<_> = finding
        .invariants
        .iter()
        .map(|judged| {
            let length = judged.counterexample.as_ref().map(|found| found.schedule.steps.len());
            (judged.invariant.clone(), judged.verdict, length)
        })
        .collect();
    let outcomes: Vec<_> = finding
        .outcomes
        .iter()
        .map(|reached| (reached.outcome.clone(), reached.count, reached.breaks.clone()))
        .collect();
    (finding.verdict, finding.stats.finals, judged, outcomes)
}

#[test]
fn reductions_and_threads_change_nothing() {
    let mut compared = 0;
    for scenario in scenarios() {
        let plain = explore(&scenario.system, &limited(Options::plain()));
        if plain.evidence != Evidence::Exhausted {
            continue;
        }
        compared += 1;
        let reduced = explore(&scenario.system, &limited(Options::default()));
        assert_eq!(essence(&reduced), essence(&plain), "{}", scenario.name);
        let two = Options {
            threads: 2,
            ..Options::default()
        };
        assert_eq!(
            essence(&explore(&scenario.system, &limited(two))),
            essence(&plain),
            "{}",
            scenario.name
        );
        eprintln!(
            "{}: {} states, reduced {}",
            scenario.name, plain.stats.states, reduced.stats.states
        );
    }
    assert!(compared > 0, "some scenario is small enough");
}

#[test]
fn classes_reach_every_outcome() {
    let mut compared = 0;
    for scenario in scenarios() {
        let found = classes(&scenario.system, MOST_CLASSES);
        if !found.complete {
            continue;
        }
        compared += 1;
        let reached: BTreeSet<Outcome> = found
            .schedules
            .iter()
            .map(|schedule| {
                let (_, state) = scenario.system.replay(schedule).expect("it replays");
                scenario.system.outcome(&state)
            })
            .collect();
        let explored = explore(
            &scenario.system,
            &Options {
                decisive: false,
                ..Options::default()
            },
        );
        let explored: BTreeSet<Outcome> = explored.outcomes.into_iter().map(|reached| reached.outcome).collect();
        assert_eq!(reached, explored, "{}", scenario.name);
        eprintln!(
            "{}: {} classes, {} executions, {} redundant",
            scenario.name,
            found.schedules.len(),
            found.executions,
            found.redundant
        );
    }
    assert!(compared > 0, "some scenario has few classes");
}
