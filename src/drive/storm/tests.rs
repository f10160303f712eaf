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

/// The weather of a storm decides the order: who arrives first is first, who backs off lets others go first, faults strike when they are due.
#[test]
fn arrivals_backoffs_and_strikes_decide_the_order() {
    let two = ToySpec {
        roots: vec![vec![Op::Add("a", 1)], vec![Op::Add("a", 2)]],
        faults: FaultBudget::NONE.with(Fault::Crash, 1),
        ..ToySpec::default()
    }
    .system();
    let mut weather = Storm::calm(2);
    weather.latencies = vec![10];
    weather.arrivals = vec![500, 0];
    let firsts = |storm: &Storm| simulate(&two, storm, 100).schedule.steps;
    let order: Vec<_> = firsts(&weather).iter().filter_map(crate::system::Step::pid).collect();
    assert_eq!(order.first(), Some(&crate::machine::Pid::root(1)));
    weather.arrivals = vec![0, 500];
    let order: Vec<_> = firsts(&weather).iter().filter_map(crate::system::Step::pid).collect();
    assert_eq!(order.first(), Some(&crate::machine::Pid::root(0)));
    for after in [0, 2] {
        weather.strikes = vec![Strike { after, which: 0 }];
        let struck = firsts(&weather).iter().position(|step| step.fault().is_some());
        assert_eq!(struck, Some(after.into()));
    }
}

#[test]
fn who_has_given_up_waits_before_it_goes_on() {
    let system = ToySpec {
        roots: vec![vec![Op::Send, Op::Add("a", 1)], vec![Op::Add("a", 2)]],
        handler: vec![Op::Add("b", 1), Op::Respond],
        faults: FaultBudget::NONE.with(Fault::Timeout, 1),
        role: Role::Client,
        ..ToySpec::default()
    }
    .system();
    let mut weather = Storm::calm(2);
    weather.latencies = vec![100];
    weather.timeouts = vec![150];
    weather.arrivals = vec![0, 400];
    // Where the first client's own call takes place, among the steps of the other.
    let place = |backoff: i64| {
        let storm = Storm {
            backoffs: vec![backoff, 0],
            ..weather.clone()
        };
        let steps = simulate(&system, &storm, 100).schedule.steps;
        let given_up = steps
            .iter()
            .position(|step| step.fault().is_some())
            .expect("it gives up");
        let after = steps[given_up + 1..].iter();
        let order: Vec<_> = after
            .filter_map(crate::system::Step::pid)
            .filter(|pid| pid.parent().is_none())
            .collect();
        order.first().copied()
    };
    assert_eq!(place(0), Some(crate::machine::Pid::root(0)));
    assert_eq!(place(10_000), Some(crate::machine::Pid::root(1)));
}
