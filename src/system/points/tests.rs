//! Who could notice: each clause of the argument by itself, on accesses that are written down. Random systems are tried elsewhere.

use super::*;

const ME: Pid = Pid::root(0);
const YOU: Pid = Pid::root(1);
const THIRD: Pid = Pid::root(2);

const READ: Access = Access::Read { table: 1 };
const PUBLISH: Access = Access::Publish { table: 1 };
const TICKET: Access = Access::Sequence { sequence: 1 };

fn lock(key: i64) -> Access {
    Access::Advisory {
        pair: false,
        key,
        shared: false,
        waits: true,
    }
}

fn attempt(key: i64) -> Access {
    Access::Advisory {
        pair: false,
        key,
        shared: false,
        waits: false,
    }
}

/// What somebody touches, one after the other within a statement.
fn seen(all: &[(Pid, &[Access])]) -> Seen {
    let mut seen = Seen::default();
    for (who, accesses) in all {
        for (place, access) in accesses.iter().enumerate() {
            seen.touch(*who, *access);
            seen.follow(*who, &accesses[..place], *access);
        }
    }
    seen
}

fn stops(seen: &Seen, before: &[Access], next: Access) -> bool {
    let next = Next::Take(next);
    seen.matters(ME, Point { before, next })
}

fn stops_before_commit(seen: &Seen, before: &[Access]) -> bool {
    let next = Next::Commit(&[PUBLISH]);
    seen.matters(ME, Point { before, next })
}

#[test]
fn somebody_else_must_meet_both_what_was_done_and_what_comes_next() {
    let both = seen(&[(YOU, &[PUBLISH, TICKET])]);
    assert!(stops(&both, &[READ], TICKET));
    assert!(
        !stops(&both, &[READ], Access::Numbering),
        "nobody wants what comes next"
    );
    assert!(
        !stops(&both, &[Access::Numbering], TICKET),
        "nobody meets what was done"
    );
    let mine = seen(&[(ME, &[PUBLISH, TICKET])]);
    assert!(!stops(&mine, &[READ], TICKET), "its own accesses are nobody's");
    let apart = seen(&[(YOU, &[PUBLISH]), (THIRD, &[TICKET])]);
    assert!(stops(&apart, &[READ], TICKET), "a chain may go through several");
}

#[test]
fn who_waits_for_a_lock_does_nothing_unless_a_deadlock_ends_the_wait() {
    let waits = seen(&[(YOU, &[lock(1)]), (THIRD, &[TICKET])]);
    assert!(!stops(&waits, &[lock(1)], TICKET));
    let tries = seen(&[(YOU, &[attempt(1)]), (THIRD, &[TICKET])]);
    assert!(stops(&tries, &[lock(1)], TICKET), "who tries in vain goes on");
    let victims = seen(&[(YOU, &[lock(1)]), (THIRD, &[TICKET]), (YOU, &[Access::Deadlock])]);
    assert!(stops(&victims, &[lock(1)], TICKET), "a victim goes on");
}

#[test]
fn a_circle_of_locks_is_a_reason_to_stop_where_its_order_goes_down() {
    let crossed = seen(&[(YOU, &[lock(1), lock(2)])]);
    assert!(stops(&crossed, &[lock(2)], lock(1)));
    let alike = seen(&[(YOU, &[lock(2), lock(1)])]);
    assert!(!stops(&alike, &[lock(2)], lock(1)), "in one order there is no circle");
    let through_two = seen(&[(YOU, &[lock(1), lock(2)]), (THIRD, &[lock(2), lock(3)])]);
    assert!(stops(&through_two, &[lock(3)], lock(1)), "a circle of three");
    // What was taken long before counts as well as what was taken last.
    let longer = seen(&[(YOU, &[lock(1), TICKET, lock(2)])]);
    assert!(stops(&longer, &[lock(2)], lock(1)));
}

#[test]
fn the_end_of_a_statement_is_a_step_where_its_rows_or_its_locks_are_looked_at() {
    let reader = seen(&[(YOU, &[READ]), (THIRD, &[attempt(1)])]);
    assert!(stops_before_commit(&reader, &[lock(1)]));
    let impatient = seen(&[(YOU, &[attempt(1)])]);
    assert!(
        stops_before_commit(&impatient, &[lock(1)]),
        "who tries the lock sees when it goes"
    );
    let patient = seen(&[(YOU, &[lock(1)])]);
    assert!(!stops_before_commit(&patient, &[lock(1)]), "as if it had come later");
}

#[test]
fn who_stands_for_several_is_somebody_else_too() {
    let mut mine = seen(&[(ME, &[PUBLISH, TICKET])]);
    mine.widen(|pid| pid == YOU);
    assert!(!stops(&mine, &[READ], TICKET));
    mine.widen(|pid| pid == ME);
    assert!(stops(&mine, &[READ], TICKET));
}

#[test]
fn what_two_have_learned_of_different_processes_is_of_several() {
    let mut one = seen(&[(ME, &[PUBLISH, TICKET])]);
    one.merge(&seen(&[(YOU, &[PUBLISH])]));
    assert!(!stops(&one, &[READ], Access::Numbering));
    one.merge(&seen(&[(YOU, &[TICKET])]));
    // Owned by both now: whoever asks, it is also somebody else's.
    for who in [ME, YOU] {
        let next = Next::Take(TICKET);
        assert!(one.matters(who, Point { before: &[READ], next }), "{who}");
    }
}

#[test]
fn a_point_that_was_passed_and_matters_now_was_missed() {
    let next = Next::Take(TICKET);
    let mut learned = Learned::default();
    let passed = Log {
        noted: vec![(ME, READ)],
        passed: vec![Passed::at(ME, Point { before: &[READ], next })],
    };
    assert!(learned.add(&passed), "it is new");
    assert!(!learned.add(&passed), "and then it is not");
    let known = Seen::default();
    assert!(!learned.has_missed(&known));
    learned.add(&Log {
        noted: vec![(YOU, PUBLISH), (YOU, TICKET)],
        passed: Vec::new(),
    });
    assert!(learned.has_missed(&known));
    let all = learned.seen.clone();
    assert!(!learned.has_missed(&all), "who knows all has stopped there");
    assert_eq!((learned.stops(&known), learned.stops(&all)), (0, 1));
}
