//! With and without cleverness the explorer says the same, on random small systems and on ones counted by hand.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::statements;
use super::toy::{Op, ToySpec, lost_update};
use super::{Evidence, Finding, Limit, Options, Verdict, brute_force, explore, survey};
use crate::machine::Pid;
use crate::system::{Action, Fault, FaultBudget, Points, Role, State, Step, Stop, System};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let name = prop_oneof![Just("a"), Just("b")];
    let op = prop_oneof![
        4 => name.clone().prop_map(Op::Get),
        4 => (name.clone(), 0..3_i64).prop_map(|(name, by)| Op::PutNext(name, by)),
        2 => (name.clone(), 1..3_i64).prop_map(|(name, by)| Op::Add(name, by)),
        2 => (name.clone(), 1..3_i64).prop_map(|(name, number)| Op::PutAbsent(name, number)),
        1 => name.prop_map(Op::Take),
        1 => Just(Op::SkipUnlessZero(1)),
        2 => Just(Op::Send),
        1 => Just(Op::Respond),
        1 => (1..3_i64).prop_map(Op::Sleep),
        1 => Just(Op::Idle),
    ];
    vec(op, 1..=3)
}

pub(super) fn systems() -> impl Strategy<Value = System> {
    let fault = prop_oneof![
        3 => Just(None),
        1 => (0..Fault::ALL.len()).prop_map(|number| Some(Fault::ALL[number])),
    ];
    let role = prop_oneof![Just(Role::Client), Just(Role::Handler), Just(Role::Worker)];
    let handler = vec(
        prop_oneof![Just(Op::Add("a", 1)), Just(Op::Get("b")), Just(Op::Respond)],
        0..=2,
    );
    (vec(ops(), 1..=3), any::<bool>(), handler, fault, role).prop_map(|(mut roots, alike, handler, fault, role)| {
        if alike && let [first, second, ..] = &mut roots[..] {
            second.clone_from(first);
        }
        let spec = ToySpec {
            roots,
            handler,
            faults: fault.map_or(FaultBudget::NONE, |fault| FaultBudget::NONE.with(fault, 1)),
            watched: vec!["a", "b"],
            role,
        };
        spec.system()
    })
}

/// What every way of exploring must agree on.
fn essence(finding: &Finding) -> impl PartialEq + std::fmt::Debug + use<> {
    let verdicts: Vec<(String, Verdict)> = finding
        .invariants
        .iter()
        .map(|judged| (judged.invariant.to_string(), judged.verdict))
        .collect();
    let lengths: Vec<Option<usize>> = finding
        .invariants
        .iter()
        .map(|judged| Some(judged.counterexample.as_ref()?.schedule.steps.len()))
        .collect();
    let outcomes: Vec<_> = finding
        .outcomes
        .iter()
        .map(|reached| (reached.outcome.clone(), reached.count, reached.breaks.clone()))
        .collect();
    (finding.verdict, verdicts, lengths, outcomes, finding.stats.finals)
}

fn check_replays(system: &System, finding: &Finding) {
    for judged in &finding.invariants {
        let Some(counterexample) = &judged.counterexample else {
            assert_ne!(
                judged.verdict,
                Verdict::Violated,
                "{} has no counterexample",
                judged.invariant
            );
            continue;
        };
        let (_, state) = system.replay(&counterexample.schedule).expect("it replays");
        let breaches = system.breaches(&state, system.is_final(&state));
        assert!(breaches.contains(&counterexample.breach), "{}", judged.invariant);
    }
    for reached in &finding.outcomes {
        let (_, state) = system
            .replay(reached.witness.as_ref().expect("a witness"))
            .expect("it replays");
        assert_eq!(system.outcome(&state), reached.outcome);
        assert!(system.is_final(&state));
    }
}

/// Explores a system every way there is.
fn check_agree(system: &System) {
    let brute = brute_force(system, &Options::plain());
    let plain = explore(system, &Options::plain());
    assert_eq!(essence(&plain), essence(&brute));
    assert_eq!(plain.stats.states, brute.stats.states);
    assert_eq!(plain.stats.transitions, brute.stats.transitions);
    check_replays(system, &plain);
    for (reduction, symmetry) in [(true, true), (true, false), (false, true)] {
        let options = Options {
            reduction,
            symmetry,
            points: false,
            ..Options::default()
        };
        let fewer = explore(system, &options);
        assert_eq!(
            essence(&fewer),
            essence(&brute),
            "reduction {reduction}, symmetry {symmetry}"
        );
        assert!(fewer.stats.states <= brute.stats.states);
        check_replays(system, &fewer);
    }
}

/// Stopping statements only where somebody could notice loses nothing that stopping them everywhere shows.
///
/// Final states are not counted: a process that crashes in the middle of its last statement has crashed, and one that does so behind it has ended.
fn check_points(system: &System) {
    let told = |finding: &Finding| {
        let outcomes: Vec<_> = finding
            .outcomes
            .iter()
            .map(|reached| reached.outcome.to_string())
            .collect();
        let verdicts: Vec<Verdict> = finding.invariants.iter().map(|judged| judged.verdict).collect();
        (outcomes, verdicts)
    };
    let everywhere = Options {
        points: false,
        decisive: false,
        max_states: Some(MOST_STATES),
        ..Options::default()
    };
    let everywhere = explore(system, &everywhere);
    if everywhere.evidence != Evidence::Exhausted {
        return;
    }
    for symmetry in [true, false] {
        let options = Options {
            symmetry,
            decisive: false,
            ..Options::default()
        };
        let fewer = explore(system, &options);
        assert_eq!(
            told(&fewer),
            told(&everywhere),
            "symmetry {symmetry}: {}",
            system.spec().identity
        );
        assert!(!symmetry || fewer.stats.states <= everywhere.stats.states);
        check_replays(system, &fewer);
    }
}

/// How many random systems are explored; ten thousand before a release.
const SYSTEMS: u32 = 3_000;

/// How many of them are SQL; as many as of the others before a release.
const STATEMENTS: u32 = 60;

/// How many of them change the schema: these are small.
const MIGRATIONS: u32 = 60;

/// How many random systems are explored with stops at every point and with stops where somebody could notice; ten thousand before a release.
const STOPPED: u32 = 60;

/// Systems with more states than this are left out there.
const MOST_STATES: u64 = 6_000;

/// Draws the same systems in every run.
pub(super) fn draw(systems: impl Strategy<Value = System>, cases: u32, seed: u8, check: impl Fn(&System)) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let drawn = TestRunner::new_with_rng(config, rng).run(&systems, |system| {
        check(&system);
        Ok(())
    });
    drawn.expect("all of them pass");
}

#[test]
fn reduction_symmetry_and_memory_change_nothing_on_random_systems() {
    std::thread::scope(|scope| {
        for half in 1..=2 {
            scope.spawn(move || draw(systems(), SYSTEMS / 2, half, check_agree));
        }
    });
}

#[test]
fn reduction_symmetry_and_memory_change_nothing_on_random_statements() {
    draw(statements::systems(), STATEMENTS, 1, check_agree);
}

#[test]
fn states_that_differ_in_the_schema_alone_are_told_apart() {
    draw(statements::migrations(), MIGRATIONS, 2, check_agree);
}

#[test]
fn stopping_where_somebody_could_notice_shows_what_stopping_everywhere_does() {
    std::thread::scope(|scope| {
        for half in 1..=2 {
            scope.spawn(move || draw(statements::systems(), STOPPED / 2, 10 + half, check_points));
        }
    });
}

#[test]
fn threads_change_nothing() {
    let system = ToySpec {
        roots: vec![vec![Op::Get("a"), Op::PutNext("a", 1), Op::Add("b", 1)]; 3],
        ..ToySpec::default()
    };
    let system = system.system();
    let one = explore(
        &system,
        &Options {
            threads: 1,
            ..Options::plain()
        },
    );
    for threads in [2, 3] {
        let mut other = explore(
            &system,
            &Options {
                threads,
                ..Options::plain()
            },
        );
        other.stats.seconds = one.stats.seconds;
        assert_eq!(other, one);
    }
    assert!(
        one.stats.states > 2_000,
        "large enough for a second thread: {}",
        one.stats.states
    );
}

#[test]
fn independent_processes_make_a_grid() {
    // Each of two processes takes a call and its answer, so it is in one of 3 states: 3 * 3 = 9 states. Each step of one process
    // can be taken in each of the other's 3 states: 2 steps * 3 * 2 processes = 12 transitions. One final state.
    let roots = vec![vec![Op::Add("a", 1)], vec![Op::Add("b", 1)]];
    let finding = explore(
        &ToySpec {
            roots,
            ..ToySpec::default()
        }
        .system(),
        &Options::plain(),
    );
    let stats = finding.stats;
    assert_eq!(
        (stats.states, stats.transitions, stats.finals, stats.depth),
        (9, 12, 1, 4)
    );
}

#[test]
fn a_lost_update_is_counted_by_hand() {
    // A process has called nothing (1 state), get (2: the answer on its way or there) or put (2 likewise). A state is that for both, with
    // what each of them read (v) and, from the put on, what it overwrote (o):
    //   nothing, nothing: 1          get, nothing: 2 sides * 2 = 4          get, get (both v = 0): 2 * 2 = 4
    //   put, nothing: 2 sides * 2 = 4          put, get (v = 0 before the put or 1 after it): 2 sides * 2 * 2 * 2 = 16
    //   put, put: 4 histories (one after the other, or both reading 0, and who puts first), all different by v, o or the
    //   shelf: 4 * 2 * 2 = 16
    // 1 + 4 + 4 + 4 + 16 + 16 = 45 states, of which 4, one for each history, are final.
    let stats = explore(&lost_update(2), &Options::plain()).stats;
    assert_eq!((stats.states, stats.finals), (45, 4));
    let finding = explore(&lost_update(2), &Options::default());
    assert!(
        finding
            .of("a-Finally-not-1")
            .is_some_and(|judged| judged.verdict == Verdict::Violated)
    );
}

#[test]
fn the_shortest_counterexample_switches_least() {
    let finding = explore(&lost_update(2), &Options::default());
    let judged = finding.of("a-Finally-not-1").expect("it is judged");
    let counterexample = judged.counterexample.as_ref().expect("it is violated");
    assert!(counterexample.shortest);
    // 0 reads, then 1 does everything, then 0 writes; or the same with 1 first: two switches are the least.
    let pids: Vec<_> = counterexample
        .schedule
        .steps
        .iter()
        .map(crate::system::Step::pid)
        .collect();
    let switches = pids.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((pids.len(), switches), (8, 2), "{}", counterexample.schedule);
    // Once the second has read 0 as well (its get was its first step), both write 1.
    let decisive = counterexample.decisive.expect("it is small");
    let (before, after) = counterexample.schedule.steps.split_at(decisive);
    assert!(!after.is_empty() && before.iter().any(|step| step.pid() != pids.first().copied().flatten()));
}

/// The time is over when the search is: what is found then is told, and that it was not refined.
#[test]
fn a_limit_of_time_covers_the_refining_too() {
    let options = Options {
        max_time: Some(std::time::Duration::ZERO),
        ..Options::default()
    };
    let system = lost_update(2);
    let finding = explore(&system, &options);
    assert_eq!(
        finding.evidence,
        Evidence::Truncated {
            limit: Limit::Seconds(0)
        }
    );
    assert_eq!(finding.reason.as_deref(), Some("stopped at 0 s after 1 state"));
    let unhurried = Options {
        max_time: Some(std::time::Duration::from_secs(600)),
        ..Options::default()
    };
    let (mut with, without) = (explore(&system, &unhurried), explore(&system, &Options::default()));
    with.stats.seconds = without.stats.seconds;
    assert_eq!(with, without, "a limit that does not strike changes nothing");
    assert!(
        without
            .counterexample()
            .is_some_and(|found| found.shortest && found.decisive.is_some())
    );
}

/// Drivers that run one schedule after the other find out first where statements need to be stopped: that is in their time, too.
#[test]
fn a_limit_of_time_covers_the_survey_too() {
    draw(statements::systems(), 3, 4, |system| {
        let survey = |time| survey(system, u64::MAX, time).points().clone();
        assert_eq!(survey(Some(std::time::Duration::ZERO)), Points::All);
        assert!(matches!(survey(None), Points::Seen(_)));
    });
}

#[test]
fn a_limit_is_told_and_nothing_is_held() {
    let options = Options {
        max_states: Some(10),
        ..Options::plain()
    };
    let finding = explore(&lost_update(3), &options);
    assert_eq!(
        finding.evidence,
        Evidence::Truncated {
            limit: Limit::States(10)
        }
    );
    assert!(finding.invariants.iter().all(|judged| judged.verdict != Verdict::Held));
    // The limit is looked at after each level. Until somebody puts, a level has those in which the processes have taken so many steps together: 1, 3, 6 (three
    // pairs have called, or one has its answer), 10 (all have called: 1; one has its answer and another has called: 6; one has put: 3). 1 + 3 + 6 = 10 is not more than 10; with 10
    // more it is 20.
    assert_eq!(finding.reason.as_deref(), Some("stopped at 10 states after 20 states"));
}

/// Both change every row, each in a statement of its own.
fn two_updates() -> System {
    let session = || vec!["update a set n = n + 1".to_owned()];
    statements::system(&[session(), session()], FaultBudget::NONE)
}

/// The state after a process was stopped at that point of its statement.
fn stopped(system: &System, pid: Pid, stop: Stop) -> (Step, State) {
    let ways = system.successors(&system.initial()).into_iter();
    let mut ways = ways.filter(|(step, ..)| step.action == Action::Run(pid) && step.stops[..] == [stop]);
    let (step, state, _) = ways.next().expect("it has that point");
    (step, state)
}

#[test]
fn a_recorded_stop_is_taken_where_it_was_and_is_a_misfit_where_there_is_no_such_point() {
    let system = two_updates();
    let stop = Stop { statement: 0, point: 1 };
    let (mut step, after) = stopped(&system, Pid::root(0), stop);
    let mut state = system.initial();
    system.replay_step(&mut state, &step, 1).expect("it replays");
    assert_eq!(state, after);
    step.stops[0].point = 99;
    assert!(system.replay_step(&mut system.initial(), &step, 1).is_err());
}

/// Each statement of a step counts its own points: `1!1-0` stops the one that was woken at its first.
#[test]
fn the_points_of_a_statement_that_was_woken_are_counted_from_its_own_first() {
    let system = two_updates();
    // The first holds its first row, the second waits for that; then the first goes on to its end, past points of its own.
    let (_, mut state) = stopped(&system, Pid::root(0), Stop { statement: 0, point: 1 });
    system
        .replay_step(&mut state, &Step::new(Action::Run(Pid::root(1))), 2)
        .expect("it waits");
    let mut ways = Vec::new();
    system.outcomes(&state, Action::Run(Pid::root(0)), &mut ways);
    let stops = ways.iter().flat_map(|(step, ..)| step.stops.iter());
    let woken = stops.filter(|stop| stop.statement == 1).map(|stop| stop.point);
    assert_eq!(woken.min(), Some(0));
}
