//! On every scenario the explorer says the same with its reductions and without, with one thread and with two; and the classes of
//! schedules of the small ones reach the outcomes that it reaches.

use std::collections::BTreeSet;
use std::path::Path;

use deadheat::document::Source;
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

/// Three clients who start alike, with a real handler and its SQL, and one who does not.
const ALIKE: &str = r#"title = "Three of one kind"

[domain]
handler = "registration"

[[clients]]
attempts = 1

[[clients]]
attempts = 1

[[clients]]
attempts = 1

[[clients]]
customer = "CUST_2"
attempts = 1
"#;

#[test]
fn clients_who_start_alike_are_taken_for_one_another() {
    let source = Source::new("alike.toml", ALIKE.to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/alike.toml");
    let read = Library::default().read("alike", &path, source);
    let scenario = read.expect("it is right").remove(0);
    let all = Options {
        decisive: false,
        ..Options::default()
    };
    let each = explore(
        &scenario.system,
        &Options {
            symmetry: false,
            ..all.clone()
        },
    );
    let one = explore(&scenario.system, &all);
    assert_eq!(essence(&one), essence(&each));
    // Nearly every state has six names.
    assert!(one.stats.states * 5 < each.stats.states, "{one:?}");
    for reached in &one.outcomes {
        let witness = reached.witness.as_ref().expect("a witness");
        let (_, state) = scenario.system.replay(witness).expect("it replays");
        assert_eq!(scenario.system.outcome(&state), reached.outcome);
    }
}
