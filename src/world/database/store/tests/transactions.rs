//! Snapshots, savepoints, failed transactions (RULES A).

use super::check;

#[test]
fn read_committed_sees_each_commit_in_its_next_statement() {
    check(
        "1 begin
         1 get 1 -> 10
         2 begin
         2 update 1 11
         1 get 1 -> 10
         2 commit
         1 get 1 -> 11",
    );
}

#[test]
fn repeatable_read_takes_its_snapshot_at_the_first_statement_not_at_begin() {
    check(
        "1 begin rr
         2 update 1 11
         1 get 1 -> 11
         2 update 1 12
         1 get 1 -> 11
         1 commit
         1 get 1 -> 12",
    );
}

#[test]
fn a_transaction_sees_its_own_work_in_its_next_statement() {
    check(
        "1 begin rr
         1 scan -> 10,20,30
         1 update 2 21
         1 scan -> 10,30,21
         1 delete 1
         1 insert 4 40
         1 scan -> 30,21,40
         2 scan -> 10,20,30
         1 commit
         2 scan -> 30,21,40",
    );
}

#[test]
fn an_error_undoes_everything_and_only_rollback_goes_on() {
    check(
        "1 begin
         1 update 1 11
         1 insert 2 0 -> 23505
         1 get 1 -> 25P02
         2 get 1 -> 10
         1 commit
         1 get 1 -> 10",
    );
}

#[test]
fn an_error_after_a_savepoint_leaves_the_work_before_it() {
    check(
        "1 begin
         1 update 1 11
         1 savepoint a
         1 update 2 21
         1 insert 3 0 -> 23505
         1 get 1 -> 25P02
         1 rollback a
         1 scan -> 20,30,11
         1 commit
         1 scan -> 20,30,11",
    );
}

#[test]
fn the_newest_savepoint_of_a_name_is_meant() {
    check(
        "1 begin
         1 savepoint a
         1 update 1 11
         1 savepoint a
         1 update 1 12
         1 rollback a
         1 get 1 -> 11
         1 release a
         1 rollback a
         1 get 1 -> 10
         1 rollback b -> 3B001
         1 commit",
    );
}

#[test]
fn rolling_back_to_a_savepoint_wakes_who_waited_for_what_came_after() {
    check(
        "1 begin
         1 savepoint a
         1 update 1 11
         2 update 1 12 -> waits 1
         1 rollback a -> ok; 2 ok
         1 get 1 -> 12
         1 commit",
    );
}

#[test]
fn a_lock_from_before_the_savepoint_stays() {
    check(
        "1 begin
         1 update 1 11
         1 savepoint a
         1 update 1 12
         2 update 1 +100 -> waits 1
         1 rollback a
         1 commit -> ok; 2 ok
         2 get 1 -> 111",
    );
}

#[test]
fn rolling_back_undoes_the_upgrade_of_a_lock_not_the_lock() {
    check(
        "1 begin
         1 lock 1 share -> 10
         1 savepoint a
         1 lock 1 update -> 10
         2 begin
         2 lock 1 share -> waits 1
         1 rollback a -> ok; 2 10
         3 lock 1 update nowait -> 55P03
         2 commit
         3 lock 1 update nowait -> 55P03
         1 commit
         3 lock 1 update nowait -> 10",
    );
}

#[test]
fn releasing_a_savepoint_keeps_its_locks() {
    check(
        "1 begin
         1 savepoint a
         1 update 1 11
         2 update 1 +100 -> waits 1
         1 release a
         1 savepoint b
         1 rollback b
         1 commit -> ok; 2 ok
         2 get 1 -> 111",
    );
}

#[test]
fn sequences_are_not_rolled_back() {
    check(
        "1 begin
         1 nextval -> 1
         1 savepoint a
         1 nextval -> 2
         1 rollback a
         1 nextval -> 3
         1 rollback
         1 nextval -> 4",
    );
}

#[test]
fn a_lost_connection_rolls_back_and_frees_everything() {
    check(
        "1 begin
         1 update 1 11
         1 advisory 5 session
         2 begin
         2 advisory 5 -> waits 1
         3 update 1 12 -> waits 1
         1 disconnect -> ok; 2 ok; 3 ok
         3 get 1 -> 12",
    );
}

#[test]
fn a_deferrable_transaction_waits_for_a_safe_snapshot() {
    check(
        "1 begin ser
         1 get 1 -> 10
         2 begin ser ro deferrable
         2 get 1 -> waits 1
         1 update 1 11
         1 commit -> ok; 2 10
         2 get 1 -> 10
         2 commit",
    );
}
