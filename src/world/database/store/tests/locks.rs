//! Table and advisory locks, queues and deadlocks (RULES G).

use super::check;

#[test]
fn table_locks_queue_first_come_first_served() {
    check(
        "1 begin
         1 table share
         2 begin
         2 table exclusive -> waits 1
         3 begin
         3 table share -> waits 2
         4 begin
         4 table share nowait -> 55P03
         1 commit -> ok; 2 ok
         2 commit -> ok; 3 ok",
    );
}

#[test]
fn a_weak_table_lock_passes_a_waiter_it_does_not_conflict_with() {
    check(
        "1 begin
         1 table row-exclusive
         2 begin
         2 table share -> waits 1
         3 begin
         3 table access-share
         3 table row-exclusive -> waits 2
         1 commit -> ok; 2 ok
         2 commit -> ok; 3 ok",
    );
}

#[test]
fn a_holder_passes_those_who_wait_for_it() {
    check(
        "1 begin
         1 table row-exclusive
         2 begin
         2 table access-exclusive -> waits 1
         1 table share
         1 commit -> ok; 2 ok",
    );
}

#[test]
fn two_upgrades_of_one_lock_fail_at_once() {
    check(
        "1 begin
         1 table share
         2 begin
         2 table share
         1 table exclusive -> waits 2
         2 table exclusive -> 40P01; 1 ok",
    );
    check(
        "1 begin
         1 advisory 1 shared
         2 begin
         2 advisory 1 shared
         1 advisory 1 -> waits 2
         2 advisory 1 -> 40P01; 1 ok",
    );
}

#[test]
fn locks_taken_after_a_savepoint_go_with_it() {
    check(
        "1 begin
         1 advisory 1
         1 savepoint a
         1 advisory 2
         1 advisory 3 session
         1 table share
         2 begin
         2 advisory 2 -> waits 1
         3 begin
         3 table exclusive -> waits 1
         1 rollback a -> ok; 2 ok; 3 ok
         2 advisory 1 try -> no
         2 advisory 3 try -> no",
    );
}

#[test]
fn session_locks_are_counted_and_survive_rollback() {
    check(
        "1 begin
         1 advisory 1 session
         1 advisory 1 session
         1 rollback
         2 advisory 1 try session -> no
         1 unlock 1
         2 advisory 1 try session -> no
         1 unlock 1
         1 unlock 1 -> no
         2 advisory 1 try session",
    );
}

#[test]
fn transaction_locks_cannot_be_unlocked_by_hand() {
    check(
        "1 begin
         1 advisory 1
         1 unlock 1 -> no
         1 unlock-all
         2 advisory 1 try session -> no
         1 commit
         2 advisory 1 try session",
    );
}

#[test]
fn the_two_key_spaces_are_apart() {
    check(
        "1 begin
         1 advisory 0,1
         2 begin
         2 advisory 1 try",
    );
}

#[test]
fn advisory_locks_queue_and_a_try_does_not_overtake() {
    check(
        "1 advisory 7 shared session
         2 advisory 7 session -> waits 1
         3 advisory 7 shared session try -> no
         3 advisory 7 shared session -> waits 2
         1 advisory 7 shared session
         1 unlock 7 shared
         1 unlock 7 shared -> ok; 2 ok
         2 unlock 7 -> ok; 3 ok",
    );
}

#[test]
fn the_earliest_waiter_of_a_cycle_is_the_victim() {
    check(
        "1 begin
         1 update 1 11
         2 begin
         2 update 2 22
         1 update 2 12 -> waits 2
         2 update 1 21 -> waits 1; 1 40P01; 2 ok
         1 get 1 -> 25P02
         2 commit
         1 rollback
         1 scan -> 30,22,21",
    );
}

#[test]
fn the_shortest_deadlock_timeout_makes_the_victim() {
    check(
        "1 timeout 1000
         2 timeout 10
         1 begin
         1 update 1 11
         2 begin
         2 update 2 22
         1 update 2 12 -> waits 2
         2 update 1 21 -> waits 1; 2 40P01; 1 ok
         1 commit",
    );
}

#[test]
fn a_deadlock_may_run_through_several_kinds_of_locks() {
    check(
        "1 begin
         1 insert 4 40
         2 begin
         2 lock 1 update -> 10
         3 begin
         3 advisory 6
         1 update 1 11 -> waits 2
         2 advisory 6 -> waits 3
         3 insert 4 41 -> waits 1; 1 40P01; 3 ok
         3 commit -> ok; 2 ok",
    );
}

#[test]
fn a_deadlock_that_only_the_queue_makes_is_dissolved() {
    check(
        "1 begin
         1 table share
         1 advisory 1
         2 begin
         2 table exclusive -> waits 1
         3 begin
         3 advisory 2
         3 table share -> waits 2
         1 advisory 2 -> waits 3; 3 ok
         3 commit -> ok; 1 ok
         1 commit -> ok; 2 ok",
    );
}

#[test]
fn strengthening_a_row_lock_against_another_who_does_the_same_is_a_deadlock() {
    check(
        "1 begin
         1 lock 1 share -> 10
         2 begin
         2 lock 1 share -> 10
         1 update 1 11 -> waits 2
         2 update 1 12 -> waits 1; 1 40P01; 2 ok",
    );
}

#[test]
fn a_savepoint_saves_the_work_before_a_deadlock() {
    check(
        "1 begin
         1 update 1 11
         1 savepoint a
         2 begin
         2 update 2 22
         1 update 3 13
         3 update 3 33 -> waits 1
         1 update 2 12 -> waits 2
         2 update 1 21 -> waits 1; 1 40P01; 3 ok
         1 rollback a
         1 commit -> ok; 2 ok
         2 get 1 -> 21",
    );
}
