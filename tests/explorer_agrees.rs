//! On every scenario the explorer says the same with its reductions and without, with one thread and with two, and counts the states that
//! stateright counts; and the classes of schedules of the small ones reach the outcomes that it reaches.

#[path = "../benches/peers/model.rs"]
mod model;

use std::collections::BTreeSet;
use std::path::Path;

use deadheat::document::Source;
use deadheat::explore::{Evidence, Finding, Options, classes, explore, survey};
use deadheat::scenario::{Library, Scenario};
use deadheat::system::Outcome;
use model::Peer;
use stateright::{Checker, Model};

/// Larger scenarios than this are compared elsewhere (`cargo bench --bench peers`).
const MOST_STATES: u64 = 100_000;

/// Nor are larger ones than this counted by stateright, which takes longer.
const MOST_COUNTED: u64 = 30_000;

/// Scenarios with more classes than this are too large to run one of each here.
const MOST_CLASSES: usize = 500;

fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    Library::default().load(&folder).expect("every scenario is read")
}

fn limited(options: Options, states: u64) -> Options {
    Options {
        max_states: Some(states),
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
        let system = survey(&scenario.system, MOST_STATES, None);
        let plain = explore(&system, &limited(Options::plain(), MOST_STATES));
        if plain.evidence != Evidence::Exhausted {
            continue;
        }
        compared += 1;
        let reduced = explore(&system, &limited(Options::default(), MOST_STATES));
        assert_eq!(essence(&reduced), essence(&plain), "{}", scenario.name);
        let two = Options {
            threads: 2,
            ..Options::default()
        };
        assert_eq!(
            essence(&explore(&system, &limited(two, MOST_STATES))),
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
fn stateright_counts_the_same_states() {
    let mut compared = 0;
    for scenario in scenarios() {
        let system = survey(&scenario.system, MOST_COUNTED, None);
        let plain = explore(&system, &limited(Options::plain(), MOST_COUNTED));
        if plain.evidence != Evidence::Exhausted {
            continue;
        }
        compared += 1;
        let peer = Peer(system).checker().threads(1).spawn_bfs().join();
        let counted = (peer.unique_state_count() as u64, peer.state_count() as u64);
        // Its other count is of the first state and of every transition.
        assert_eq!(
            counted,
            (plain.stats.states, plain.stats.transitions + 1),
            "{}",
            scenario.name
        );
    }
    assert!(compared > 20, "{compared} scenarios are small enough");
}

#[test]
fn classes_reach_every_outcome() {
    let mut compared = 0;
    for scenario in scenarios() {
        let found = classes(&survey(&scenario.system, MOST_COUNTED, None), MOST_CLASSES);
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
