//! One form for histories that look the same; aborted work leaves no trace.

use std::hash::{BuildHasher, RandomState};

use super::*;

/// Both stories end in equal stores, that also hash equally.
fn same(one: &str, other: &str) {
    let (one, other) = (after(one), after(other));
    assert_eq!(one, other);
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(&one), hasher.hash_one(&other));
}

#[test]
fn aborted_work_leaves_the_state_exactly_as_before() {
    for level in ["rc", "rr", "ser"] {
        same(
            "",
            &format!(
                "1 begin {level}
                 1 update 1 11
                 1 savepoint a
                 1 update 1 12
                 1 rekey 2 5
                 1 delete 3
                 1 insert 3 33
                 1 lock 1 update -> 12
                 1 advisory 4
                 1 table exclusive
                 1 rollback"
            ),
        );
    }
    same(
        "1 begin
         1 update 1 11",
        "1 begin
         1 update 1 11
         1 savepoint a
         1 update 1 12
         1 insert 4 40
         1 rollback a
         1 release a",
    );
    same(
        "1 begin
         1 update 1 11",
        "1 begin
         1 update 1 11
         2 begin
         2 update 1 12 -> waits 1
         2 disconnect",
    );
}

#[test]
fn histories_that_leave_the_same_rows_are_equal() {
    same(
        "1 update 1 12",
        "1 begin
         1 update 1 11
         1 update 1 12
         1 commit",
    );
    same(
        "1 update 1 11
         2 update 1 12",
        "2 update 1 12",
    );
    same(
        "1 insert 4 40
         1 delete 4",
        "2 get 1 -> 10",
    );
    same(
        "1 begin
         1 get 1 -> 10
         1 get 2 -> 20
         1 update 1 11",
        "1 begin
         1 update 1 11
         1 get 1 -> 11",
    );
}

#[test]
fn who_did_it_and_how_often_it_was_waited_for_does_not_show() {
    same(
        "1 begin
         1 update 1 11
         2 update 1 12 -> waits 1
         1 commit -> ok; 2 ok",
        "3 update 1 12",
    );
}

#[test]
fn a_row_that_moved_in_the_heap_is_a_difference() {
    let one = after("1 update 1 10");
    assert_ne!(one, after(""));
}

#[test]
fn an_old_snapshot_is_a_difference_only_while_something_changed_since() {
    let late = "2 begin rr
                2 get 3 -> 30";
    same(
        &format!(
            "1 update 1 11
             {late}"
        ),
        &format!(
            "{late}
             2 rollback
             1 update 1 11
             {late}"
        ),
    );
    let early = after(&format!(
        "{late}
         1 update 1 11"
    ));
    let late = after(&format!(
        "1 update 1 11
         {late}"
    ));
    assert_ne!(early, late);
}

#[test]
fn versions_between_two_that_can_be_seen_are_not_kept() {
    same(
        "2 begin rr
         2 get 1 -> 10
         1 update 1 11
         1 update 1 12",
        "2 begin rr
         2 get 1 -> 10
         1 update 1 12",
    );
    check(
        "2 begin rr
         2 get 1 -> 10
         1 update 1 11
         1 rekey 1 5
         2 get 1 -> 10
         2 lock 1 key-share -> 40001 update",
    );
}

#[test]
fn serializable_transactions_leave_nothing_when_nobody_overlaps_them() {
    same(
        "1 begin ser
         1 scan -> 10,20,30
         2 begin ser
         2 get 1 -> 10
         1 update 2 22
         1 commit
         2 update 1 11
         2 commit",
        "1 update 2 22
         1 update 1 11",
    );
}

#[test]
fn a_statement_that_waits_keeps_what_it_has_seen() {
    check(
        "1 begin
         1 insert 4 40
         2 begin
         2 rekey 1 4 -> waits 1
         3 update 2 22
         3 update 2 23
         3 insert 5 50
         1 rollback -> ok; 2 ok
         2 get 4 -> 10
         2 commit
         2 scan -> 30,10,23,50",
    );
}

#[test]
fn a_step_tells_what_it_touched() {
    let mut play = Play::new();
    let mut touched = |command: &str| {
        play.store.take_footprint();
        play.command(command);
        play.store.take_footprint()
    };
    let conflict =
        |one: &[Access], other: &[Access]| one.iter().any(|one| other.iter().any(|other| one.conflicts(other)));
    let read_one = touched("1 get 1");
    let write_one = touched("2 update 1 11");
    let begin = touched("3 begin");
    let change_two = touched("3 update 2 22");
    let advisory = touched("4 advisory 4 session");
    assert!(conflict(&read_one, &write_one));
    let read_again = touched("3 get 1");
    assert!(!conflict(&read_one, &read_again));
    assert!(!conflict(&begin, &write_one));
    assert!(!conflict(&change_two, &advisory));
    assert!(!conflict(&read_one, &change_two), "not before it commits");
    assert!(conflict(&touched("3 commit"), &read_one));
}
