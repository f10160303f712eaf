//! Row locks, re-checks and first-updater-wins (RULES B, C, D), and races for a row (RULES 34).

use super::check;

#[test]
fn the_four_strengths_conflict_as_documented() {
    let strengths = ["key-share", "share", "no-key-update", "update"];
    let free = ["1110", "1100", "1000", "0000"];
    for (held, row) in strengths.iter().zip(free) {
        for (asked, free) in strengths.iter().zip(row.chars()) {
            let result = if free == '1' { "10" } else { "waits 1" };
            check(&format!(
                "1 begin
                 1 lock 1 {held} -> 10
                 2 begin
                 2 lock 1 {asked} -> {result}"
            ));
        }
    }
}

#[test]
fn an_update_of_other_columns_does_not_disturb_key_share_nor_the_other_way_round() {
    check(
        "1 begin
         1 update 1 11
         2 begin
         2 lock 1 key-share -> 10
         3 begin rr
         3 lock 1 key-share -> 10
         1 commit
         2 lock 1 key-share nowait -> 11",
    );
}

#[test]
fn key_share_returns_the_snapshots_version_even_after_a_committed_update() {
    check(
        "1 begin rr
         1 get 1 -> 10
         2 update 1 11
         1 lock 1 key-share -> 10
         2 rekey 1 5 -> waits 1
         1 commit -> ok; 2 ok",
    );
}

#[test]
fn an_update_of_a_row_locked_for_update_counts_as_a_key_change() {
    check(
        "1 begin
         1 lock 1 update -> 10
         1 update 1 11
         2 lock 1 key-share -> waits 1
         1 commit -> ok; 2 11",
    );
}

#[test]
fn key_share_protects_later_versions_from_delete_and_key_change() {
    check(
        "1 begin
         1 lock 1 key-share -> 10
         2 begin
         2 update 1 11
         2 delete 1 -> waits 1
         1 commit -> ok; 2 ok
         2 commit",
    );
    check(
        "1 begin
         1 lock 1 key-share -> 10
         2 update 1 11
         2 rekey 1 5 -> waits 1
         1 commit -> ok; 2 ok",
    );
}

#[test]
fn locks_of_others_survive_the_commit_and_the_abort_of_an_updater() {
    for end in ["commit", "rollback"] {
        check(&format!(
            "1 begin
             1 lock 1 key-share -> 10
             2 begin
             2 update 1 11
             2 {end}
             3 delete 1 -> waits 1
             1 commit -> ok; 3 ok"
        ));
    }
}

#[test]
fn key_share_waits_when_a_later_version_is_being_deleted() {
    check(
        "1 begin
         1 update 1 11
         1 delete 1
         2 lock 1 key-share -> waits 1
         1 rollback -> ok; 2 10",
    );
    check(
        "1 begin
         1 update 1 11
         1 delete 1
         2 lock 1 key-share -> waits 1
         1 commit -> ok; 2 none",
    );
    check(
        "1 begin
         1 update 1 11
         1 rekey 1 5
         2 lock 1 key-share -> waits 1
         1 commit -> ok; 2 none",
    );
}

#[test]
fn waiters_for_a_lock_are_served_in_order_of_arrival() {
    check(
        "1 begin
         1 lock 1 update -> 10
         2 begin
         2 lock 1 update -> waits 1
         3 begin
         3 lock 1 update -> waits 2
         1 commit -> ok; 2 10; 3 waits 2
         2 commit -> ok; 3 10",
    );
}

#[test]
fn waiters_for_a_change_that_is_rolled_back_are_served_in_order_of_arrival() {
    check(
        "1 begin
         1 update 1 11
         2 begin
         2 update 1 +100 -> waits 1
         3 update 1 +1000 -> waits 2
         1 rollback -> ok; 2 ok; 3 waits 2
         2 commit -> ok; 3 ok
         3 get 1 -> 1110",
    );
}

#[test]
fn a_compatible_lock_overtakes_a_waiting_exclusive_one() {
    check(
        "1 begin
         1 lock 1 share -> 10
         2 begin
         2 lock 1 update -> waits 1
         3 begin
         3 lock 1 share -> 10
         1 commit -> ok; 2 waits 3
         3 commit -> ok; 2 10",
    );
}

#[test]
fn a_conflicting_late_comer_queues_behind_the_first_waiter() {
    check(
        "1 begin
         1 lock 1 update -> 10
         2 begin
         2 lock 1 update -> waits 1
         3 lock 1 share -> waits 2
         1 commit -> ok; 2 10; 3 waits 2
         2 commit -> ok; 3 10",
    );
}

#[test]
fn nowait_and_skip_locked_count_the_next_in_line_as_a_lock() {
    check(
        "1 begin
         1 lock 1 key-share -> 10
         4 begin
         4 lock 1 share -> 10
         2 begin
         2 lock 1 update -> waits 1
         3 lock 1 update nowait -> 55P03
         3 lock 1 update skip -> none
         3 lock 1 share nowait -> 10
         3 lock 1 no-key-update nowait -> 55P03
         1 commit -> ok; 2 waits 4
         4 commit -> ok; 2 10",
    );
}

#[test]
fn a_holder_strengthens_its_lock_ahead_of_the_waiters() {
    check(
        "1 begin
         1 lock 1 key-share -> 10
         2 begin
         2 lock 1 share -> 10
         3 begin
         3 lock 1 update -> waits 1
         1 lock 1 no-key-update -> waits 2
         2 commit -> ok; 1 10
         1 commit -> ok; 3 10",
    );
}

#[test]
fn skip_locked_and_nowait_hold_along_the_chain_of_updates() {
    check(
        "1 begin
         1 advisory 9 session
         2 update 1 11
         3 begin
         3 lock 1 share -> 11
         1 lock 1 update skip -> none
         1 lock 1 update nowait -> 55P03",
    );
}

#[test]
fn after_waiting_for_a_change_the_condition_is_tested_on_the_newest_version() {
    check(
        "1 begin
         1 update 1 11
         2 update 1 +100 -> waits 1
         1 commit -> ok; 2 ok
         2 get 1 -> 111",
    );
    check(
        "1 begin
         1 rekey 1 5
         2 update 1 +100 -> waits 1
         1 commit -> ok; 2 none",
    );
    check(
        "1 begin
         1 delete 1
         2 update 1 +100 -> waits 1
         1 commit -> ok; 2 none",
    );
    check(
        "1 begin
         1 delete 1
         2 update 1 +100 -> waits 1
         1 rollback -> ok; 2 ok
         2 get 1 -> 110",
    );
}

#[test]
fn several_who_wait_for_a_changed_row_race_for_it() {
    check(
        "1 begin
         1 update 1 11
         2 begin
         2 update 1 +100 -> waits 1
         3 begin
         3 update 1 +1000 -> waits 2
         choose 3
         1 commit -> ok; 3 ok; 2 waits 3
         3 commit -> ok; 2 ok
         2 get 1 -> 1111",
    );
    check(
        "1 begin
         1 update 1 11
         2 begin
         2 update 1 +100 -> waits 1
         3 begin
         3 update 1 +1000 -> waits 2
         1 commit -> ok; 2 ok; 3 waits 2
         2 commit -> ok; 3 ok
         3 get 1 -> 1111",
    );
}

#[test]
fn the_first_updater_wins_above_read_committed() {
    for level in ["rr", "ser"] {
        check(&format!(
            "1 begin {level}
             1 get 1 -> 10
             2 update 1 11
             1 update 1 12 -> 40001 update
             1 rollback
             1 begin {level}
             1 get 2 -> 20
             2 delete 2
             1 update 2 12 -> 40001 delete
             1 rollback
             1 begin {level}
             1 get 3 -> 30
             2 delete 3
             1 lock 3 update -> 40001 update"
        ));
    }
}

#[test]
fn above_read_committed_a_waiter_fails_when_the_change_commits_and_goes_on_when_it_does_not() {
    check(
        "1 begin
         1 update 1 11
         2 begin rr
         2 get 1 -> 10
         2 update 1 12 -> waits 1
         1 commit -> ok; 2 40001 update",
    );
    check(
        "1 begin
         1 update 1 11
         2 begin rr
         2 get 1 -> 10
         2 update 1 12 -> waits 1
         1 rollback -> ok; 2 ok
         2 commit",
    );
    check(
        "1 begin
         1 lock 1 update -> 10
         2 begin rr
         2 update 1 12 -> waits 1
         1 commit -> ok; 2 ok",
    );
}

#[test]
fn nowait_reports_a_committed_change_as_such_and_an_uncommitted_one_as_a_lock() {
    check(
        "1 begin rr
         1 get 1 -> 10
         2 begin
         2 update 1 11
         1 savepoint a
         1 lock 1 update nowait -> 55P03
         1 rollback a
         1 lock 1 update skip -> none
         2 commit
         1 lock 1 update skip -> 40001 update",
    );
}

#[test]
fn key_share_above_read_committed_fails_only_on_a_key_change() {
    check(
        "1 begin rr
         1 get 1 -> 10
         2 rekey 1 5
         1 lock 1 key-share -> 40001 update",
    );
}

#[test]
fn a_row_changed_meanwhile_but_not_asked_for_is_no_error() {
    check(
        "1 begin rr
         1 get 1 -> 10
         2 update 1 11
         1 update 2 22
         1 commit",
    );
}

#[test]
fn who_waits_for_a_key_and_who_waits_for_its_row_race_for_it() {
    check(
        "1 begin
         1 update 1 11
         2 insert 1 0 -> waits 1
         3 begin
         3 update 1 13 -> waits 1
         choose 3
         1 rollback -> ok; 3 ok; 2 waits 3
         3 commit -> ok; 2 23505",
    );
}

#[test]
fn who_strengthens_a_lock_races_with_the_first_in_line() {
    check(
        "1 begin
         1 lock 1 no-key-update -> 10
         2 begin
         2 lock 1 key-share -> 10
         3 begin
         3 lock 1 no-key-update -> waits 1
         2 update 1 11 -> waits 1
         choose 2
         1 commit -> ok; 2 ok; 3 waits 2
         2 commit -> ok; 3 11",
    );
}
