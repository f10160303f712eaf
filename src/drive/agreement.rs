//! The drivers agree: what loom exhausts is what the explorer exhausts, and what shuttle finds replays.

use std::time::Duration;

use super::loom::{LoomOptions, loom};
use super::shuttle::{ShuttleOptions, shuttle};
use super::storm::{Storm, StormOptions, storm};
use crate::explore::statements;
use crate::explore::toy::{Op, ToySpec, lost_update};
use crate::explore::{Evidence, Finding, Limit, Options, Verdict, brute_force};
use crate::machine::Pid;
use crate::system::{Action, Fault, FaultBudget, Role, System};

fn unbounded() -> LoomOptions {
    LoomOptions {
        preemptions: vec![None],
        max_permutations: 400_000,
        ..LoomOptions::default()
    }
}

/// Everything that tells reachable states apart: which invariants are broken, and the outcomes.
fn shown(finding: &Finding) -> (Vec<String>, Vec<String>) {
    let broken = finding.violated().iter().map(|name| name.to_string()).collect();
    let outcomes = finding
        .outcomes
        .iter()
        .map(|reached| format!("{:?} {:?}", reached.outcome, reached.breaks));
    (broken, outcomes.collect())
}

fn check_replays(system: &System, finding: &Finding) {
    for judged in &finding.invariants {
        let Some(counterexample) = &judged.counterexample else {
            continue;
        };
        let (_, state) = system.replay(&counterexample.schedule).expect("it replays");
        let breaches = system.breaches(&state, system.is_final(&state));
        assert!(breaches.contains(&counterexample.breach), "{}", judged.invariant);
    }
}

#[track_caller]
fn check_agree(system: &System) {
    let explored = brute_force(system, &Options::plain());
    let loomed = loom(system, &unbounded());
    assert_eq!(loomed.evidence, Evidence::Exhausted, "{:?}", loomed.reason);
    assert!(loomed.bounds.own.is_empty(), "no preemption bound");
    assert_eq!(shown(&loomed), shown(&explored));
    check_replays(system, &loomed);
    check_replays(system, &explored);
    let shuttled = shuttle(system, &ShuttleOptions::default());
    check_replays(system, &shuttled);
    assert!(
        shuttled
            .violated()
            .iter()
            .all(|name| explored.violated().contains(name))
    );
}

#[test]
fn loom_reaches_what_the_explorer_reaches_in_a_lost_update() {
    check_agree(&lost_update(2));
}

#[test]
fn loom_runs_every_order_of_two_processes() {
    // Two processes of four steps each (a call and its answer, twice): 8! / (4! 4!) = 70 orders.
    assert_eq!(loom(&lost_update(2), &unbounded()).stats.schedules, 70);
}

#[test]
fn loom_reaches_what_the_explorer_reaches_with_requests_and_timeouts() {
    let spec = ToySpec {
        roots: vec![
            vec![Op::Send, Op::SkipUnlessZero(1), Op::Add("a", 1)],
            vec![Op::Get("a")],
        ],
        handler: vec![Op::Add("a", 1), Op::Respond],
        faults: FaultBudget::NONE.with(Fault::Timeout, 1),
        role: Role::Client,
        ..ToySpec::default()
    };
    check_agree(&spec.system());
}

#[test]
fn loom_reaches_what_the_explorer_reaches_with_a_crash_and_a_wait() {
    let spec = ToySpec {
        roots: vec![
            vec![Op::Add("b", 1), Op::Add("a", 1)],
            vec![Op::Take("b"), Op::Get("a"), Op::PutNext("a", 2)],
        ],
        faults: FaultBudget::NONE.with(Fault::Crash, 1),
        ..ToySpec::default()
    };
    check_agree(&spec.system());
}

#[test]
fn loom_reaches_what_the_explorer_reaches_when_the_clock_moves() {
    let spec = ToySpec {
        roots: vec![
            vec![Op::Sleep(5), Op::Get("a"), Op::PutNext("a", 1)],
            vec![Op::Get("a"), Op::Sleep(9), Op::PutNext("a", 2)],
        ],
        ..ToySpec::default()
    };
    check_agree(&spec.system());
}

#[test]
fn a_search_that_loom_cuts_off_never_counts_as_exhausted() {
    let system = lost_update(4);
    let options = LoomOptions {
        max_permutations: 50,
        preemptions: vec![None],
        ..LoomOptions::default()
    };
    let finding = loom(&system, &options);
    let limit = Limit::Schedules(50);
    assert_eq!(finding.evidence, Evidence::Truncated { limit });
    assert!(
        finding.invariants.iter().all(|judged| judged.verdict != Verdict::Held),
        "what was not broken so far is not known to hold"
    );
    let options = LoomOptions {
        max_permutations: 50,
        ..LoomOptions::default()
    };
    let finding = loom(&system, &options);
    assert!(
        !finding.bounds.own.is_empty(),
        "the preemption bound that was exhausted is stated"
    );
    assert!(!finding.is_proof(), "a bound of its own is no proof");
    assert!(
        finding
            .reason
            .is_some_and(|reason| reason.contains("stopped at 50 schedules"))
    );
}

/// No time at all stops every driver, and none of them says then that something holds.
#[test]
fn a_limit_of_time_holds_for_loom_shuttle_and_storms() {
    let max_time = Some(Duration::ZERO);
    let system = lost_update(3);
    let loomed = loom(
        &system,
        &LoomOptions {
            max_time,
            ..LoomOptions::default()
        },
    );
    let shuttled = shuttle(
        &system,
        &ShuttleOptions {
            max_time,
            ..ShuttleOptions::default()
        },
    );
    let family = |storm: &Storm| lost_update(storm.clients.into());
    let stormed = storm(
        &family,
        &StormOptions {
            max_time,
            ..StormOptions::default()
        },
    )
    .finding;
    for finding in [loomed, shuttled, stormed] {
        let limit = Limit::Seconds(0);
        assert_eq!(finding.evidence, Evidence::Truncated { limit }, "{}", finding.driver);
        assert!(
            finding.invariants.iter().all(|judged| judged.verdict != Verdict::Held),
            "{}",
            finding.driver
        );
        assert!(
            finding
                .reason
                .as_deref()
                .is_some_and(|reason| reason.starts_with("stopped at 0 s")),
            "{}: {:?}",
            finding.driver,
            finding.reason
        );
        assert!(
            finding.stats.finals <= 2,
            "{} went on: {:?}",
            finding.driver,
            finding.stats
        );
    }
}

#[test]
fn more_processes_than_loom_has_threads_share_them() {
    let roots = vec![vec![Op::Add("a", 1)]; 5];
    let system = ToySpec {
        roots,
        ..ToySpec::default()
    }
    .system();
    let finding = loom(
        &system,
        &LoomOptions {
            max_permutations: 3_000,
            ..LoomOptions::default()
        },
    );
    assert_eq!(
        finding.verdict,
        Verdict::Violated,
        "the sum is told by a violated `not-5`"
    );
    assert!(
        finding
            .of("a-Finally-not-5")
            .is_some_and(|judged| judged.verdict == Verdict::Violated)
    );
    assert_eq!(system.initial().processes.keys().last(), Some(&Pid::root(4)));
    assert!(system.is_enabled(&system.initial(), Action::Run(Pid::root(4))));
}

#[test]
fn shuttle_finds_the_lost_update_and_says_what_it_may_have_missed() {
    let system = lost_update(2);
    let finding = shuttle(&system, &ShuttleOptions::default());
    assert!(
        finding
            .of("a-Finally-not-1")
            .is_some_and(|judged| judged.verdict == Verdict::Violated)
    );
    let Evidence::Sampled {
        runs: 2_000,
        miss: Some(miss),
    } = finding.evidence
    else {
        panic!("{:?}", finding.evidence)
    };
    assert!(miss.depth == 2 && miss.chance > 0.0 && miss.chance < 1.0);
    let again = shuttle(&system, &ShuttleOptions::default());
    assert_eq!(shown(&finding), shown(&again));
    assert_eq!(finding.counterexample(), again.counterexample());
}

/// A run that was cut is no run to the end: its limit is told, and nothing is held.
#[test]
fn a_run_of_too_many_steps_is_no_end() {
    let system = lost_update(2);
    let options = LoomOptions {
        max_steps: 3,
        ..unbounded()
    };
    let finding = loom(&system, &options);
    let limit = Limit::Steps(3);
    assert_eq!(finding.evidence, Evidence::Truncated { limit });
    assert!(finding.outcomes.is_empty() && finding.stats.finals == 0);
    let options = ShuttleOptions {
        max_steps: 3,
        ..ShuttleOptions::default()
    };
    let finding = shuttle(&system, &options);
    assert_eq!((finding.outcomes.len(), finding.stats.finals), (0, 0));
}

/// shuttle throws the faults that the budget has; then the chance that PCT states is none.
#[test]
fn shuttle_throws_faults_and_promises_nothing_then() {
    let spec = ToySpec {
        roots: vec![vec![Op::Add("a", 1), Op::Add("b", 1)]; 2],
        faults: FaultBudget::NONE.with(Fault::Crash, 1),
        watched: vec!["a"],
        ..ToySpec::default()
    };
    let finding = shuttle(&spec.system(), &ShuttleOptions::default());
    assert!(
        matches!(finding.evidence, Evidence::Sampled { miss: None, .. }),
        "{:?}",
        finding.evidence
    );
    let witnesses = finding.outcomes.iter().filter_map(|reached| reached.witness.as_ref());
    let crashed = witnesses.filter(|schedule| schedule.steps.iter().any(|step| step.fault().is_some()));
    assert!(crashed.count() > 0, "nobody crashed in 2,000 runs");
}

/// Of all runs that break a promise the shortest is told, whichever loom met first.
#[test]
fn loom_tells_the_shortest_counterexample_that_it_met() {
    let spec = ToySpec {
        roots: vec![vec![Op::Add("b", 1), Op::Add("a", 1)], vec![Op::Add("a", 1)]],
        ..ToySpec::default()
    };
    let finding = loom(&spec.system(), &unbounded());
    let judged = finding.of("a-Always-not-1").expect("it is judged");
    let found = judged.counterexample.as_ref().expect("it is violated");
    assert_eq!(found.schedule.steps.len(), 1, "{}", found.schedule);
}

/// What the model does not know is an error with every driver, whatever else was seen.
#[test]
fn sql_that_is_not_known_is_an_error_of_every_driver() {
    let sends = |text: &str| vec![text.to_owned()];
    let system = statements::system(
        &[sends("select n from a"), sends("copy a to stdout")],
        FaultBudget::NONE,
    );
    let family = |_: &Storm| system.clone();
    let findings = [
        loom(&system, &unbounded()),
        shuttle(&system, &ShuttleOptions::default()),
        storm(&family, &StormOptions::default()).finding,
    ];
    for finding in findings {
        assert_eq!(finding.verdict, Verdict::Error, "{}", finding.driver);
        let reason = finding.reason.unwrap_or_default();
        assert!(reason.to_lowercase().contains("copy"), "{}: {reason}", finding.driver);
    }
}
