//! Storms over toy systems: what is found, how small it gets, what is kept.

use super::*;
use crate::explore::toy::{Op, ToySpec, lost_update};
use crate::system::{Fault, FaultBudget, Role};

fn lost(storm: &Storm) -> System {
    lost_update(storm.clients.into())
}

#[test]
fn a_lost_update_shrinks_to_two_clients_at_once() {
    // One client alone ends with 1 as well, so the family keeps to two.
    let spec = |storm: &Storm| {
        let system = lost_update(storm.clients.into());
        let mut spec = system.spec().clone();
        let clients = i64::from(storm.clients);
        spec.invariants
            .retain(|invariant| clients > 1 && invariant.name() == format!("a-Finally-not-{}", clients - 1));
        System::new(spec)
    };
    let calm = |storm: &Storm| {
        let mut storm = storm.clone();
        storm.clients = 2;
        spec(&storm)
    };
    let found = storm(
        &calm,
        &StormOptions {
            max_clients: 2,
            ..StormOptions::default()
        },
    );
    let smallest = &found.smallest["a-Finally-not-1"];
    assert!(smallest.strikes.is_empty(), "{smallest}");
    assert_eq!(smallest.arrivals.iter().sum::<i64>(), 0, "{smallest}");
    let schedule = found
        .finding
        .counterexample()
        .map(|counterexample| counterexample.schedule.clone());
    let system = calm(smallest);
    let (_, state) = system.replay(&schedule.expect("a counterexample")).expect("it replays");
    assert!(!system.breaches(&state, true).is_empty());
}

#[test]
fn two_seasons_are_the_same() {
    let one = storm(&lost, &StormOptions::default());
    let other = storm(&lost, &StormOptions::default());
    assert_eq!(one.smallest, other.smallest);
    assert_eq!(one.finding.outcomes, other.finding.outcomes);
    assert_eq!(one.finding.invariants, other.finding.invariants);
}

#[test]
fn a_client_gives_up_when_its_patience_ends_before_the_handler_does() {
    let system = ToySpec {
        roots: vec![vec![Op::Send, Op::SkipUnlessZero(1), Op::Add("a", 1)]],
        handler: vec![Op::Add("b", 1), Op::Respond],
        faults: FaultBudget::NONE.with(Fault::Timeout, 1),
        role: Role::Client,
        ..ToySpec::default()
    }
    .system();
    let mut weather = Storm::calm(1);
    weather.latencies = vec![100];
    weather.timeouts = vec![1_000];
    let steps = |storm: &Storm| simulate(&system, storm, 100).schedule.steps;
    assert!(steps(&weather).iter().all(|step| step.fault().is_none()));
    weather.timeouts = vec![150];
    assert_eq!(steps(&weather).iter().filter_map(crate::system::Step::fault).count(), 1);
}

#[test]
fn a_smallest_storm_is_kept_and_let_loose_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("storms/toy.txt");
    let options = StormOptions {
        regressions: Some(path.clone()),
        keep: true,
        ..StormOptions::default()
    };
    let found = storm(&lost, &options);
    let kept = regressions::read(&path).expect("it reads back");
    assert!(found.smallest.values().all(|storm| kept.contains(storm)));
    let options = StormOptions {
        cases: 1,
        max_clients: 1,
        ..options
    };
    let again = storm(&lost, &options);
    assert_eq!(
        again.finding.violated(),
        found.finding.violated().into_iter().collect::<Vec<_>>()
    );
    assert_eq!(regressions::read(&path).expect("it reads back"), kept, "nothing new");
    std::fs::write(&path, "clients=0").expect("it is written");
    let broken = storm(&lost, &options).finding;
    assert_eq!(broken.verdict, Verdict::Error);
    assert!(
        broken
            .reason
            .is_some_and(|reason| reason.contains("toy.txt:1: `0` is not a value of `clients`"))
    );
}

#[test]
fn a_storm_reads_back_as_it_was_written() {
    let storm = Storm {
        clients: 3,
        arrivals: vec![1, 2, 3],
        timeouts: Vec::new(),
        backoffs: vec![0],
        latencies: vec![7, 8],
        strikes: vec![Strike { after: 4, which: 1 }],
    };
    assert_eq!(storm.to_string().parse(), Ok(storm));
}
