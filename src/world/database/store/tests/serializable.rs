//! Serializable snapshot isolation (RULES H).

use super::{Release, check, check_on};

#[test]
fn of_two_that_read_what_the_other_writes_the_first_committer_wins() {
    check(
        "1 begin ser
         2 begin ser
         1 get 2 -> 20
         2 get 1 -> 10
         1 update 1 11
         2 update 2 22
         1 commit
         2 commit -> 40001 dependencies
         2 scan -> 20,30,11",
    );
    check(
        "1 begin ser
         2 begin ser
         1 get 2 -> 20
         2 get 1 -> 10
         1 update 1 11
         1 commit
         2 update 2 22 -> 40001 dependencies",
    );
}

#[test]
fn one_edge_alone_is_no_failure() {
    check(
        "1 begin ser
         2 begin ser
         1 get 2 -> 20
         2 update 2 22
         2 commit
         1 commit",
    );
    check(
        "1 begin ser
         2 begin ser
         1 get 2 -> 20
         2 get 1 -> 10
         1 update 1 11
         2 update 2 22
         1 rollback
         2 commit",
    );
}

#[test]
fn transactions_that_do_not_overlap_never_conflict() {
    check(
        "1 begin ser
         1 get 2 -> 20
         1 update 1 11
         1 commit
         2 begin ser
         2 get 1 -> 11
         2 update 2 22
         2 commit",
    );
}

#[test]
fn other_levels_neither_set_nor_meet_marks() {
    check(
        "1 begin rr
         2 begin ser
         1 get 2 -> 20
         2 get 1 -> 10
         1 update 1 11
         2 update 2 22
         1 commit
         2 commit",
    );
}

#[test]
fn a_scan_marks_the_table_against_new_rows() {
    check(
        "1 begin ser
         2 begin ser
         2 scan -> 10,20,30
         1 get 2 -> 20
         1 insert 4 40
         2 update 2 22
         1 commit
         2 commit -> 40001 dependencies",
    );
}

#[test]
fn a_look_up_of_an_absent_key_marks_the_index() {
    check(
        "1 begin ser
         2 begin ser
         2 get 77 -> none
         1 get 2 -> 20
         1 insert 4 40
         2 update 2 22
         1 commit
         2 commit -> 40001 dependencies",
    );
}

#[test]
fn a_look_up_does_not_meet_updates_of_other_rows() {
    check(
        "1 begin ser
         2 begin ser
         2 get 3 -> 30
         1 get 2 -> 20
         1 update 1 11
         2 update 2 22
         1 commit
         2 commit",
    );
}

#[test]
fn ones_own_write_drops_the_mark_on_the_row_but_not_after_a_savepoint() {
    check(
        "1 begin ser
         2 begin ser
         1 get 1 -> 10
         1 update 1 11
         1 get 2 -> 20
         2 get 3 -> 30
         2 update 2 22
         1 commit
         2 commit",
    );
}

#[test]
fn a_mark_that_was_dropped_does_not_count_towards_the_page() {
    let run = |savepoint: &str, end: &str| {
        check(&format!(
            "1 insert 4 40
             1 begin ser
             2 begin ser
             1 get 1 -> 10
             {savepoint}
             1 update 1 11
             1 get 2 -> 20
             1 get 4 -> 40
             2 get 1 -> 10
             2 update 3 33
             1 commit
             2 commit{end}"
        ));
    };
    // Two marks are left, on rows 2 and 4: the update of row 3 meets none.
    run("", "");
    // After a savepoint the first one stays. Three rows of a page are marked as the page.
    run("1 savepoint a", " -> 40001 dependencies");
}

#[test]
fn who_wrote_nothing_is_taken_for_a_reader_that_came_before() {
    // 1 -> 2 -> 3 and 3 committed first, but after the snapshot of 1, which has written nothing: 1, 2, 3 is an order.
    check(
        "1 begin ser
         1 get 3 -> 30
         2 begin ser
         3 begin ser
         2 get 2 -> 20
         3 update 2 22
         3 commit
         1 get 1 -> 10
         1 commit
         2 update 1 11
         2 commit",
    );
}

#[test]
fn a_pivot_whose_target_committed_first_fails_at_its_next_statement() {
    check(
        "1 begin ser
         2 begin ser
         3 begin ser
         3 get 3 -> 30
         2 get 1 -> 10
         1 update 1 11
         1 commit
         3 get 2 -> 20
         2 update 2 22 -> 40001 dependencies
         3 commit",
    );
}

#[test]
fn a_reader_of_both_makes_two_writers_that_were_serializable_fail() {
    let before = "2 begin ser
         2 get 1 -> 10
         2 get 2 -> 20
         1 begin ser
         1 get 2 -> 20
         1 update 2 22
         1 commit";
    check(&format!(
        "{before}
         2 update 1 11
         2 commit"
    ));
    check(&format!(
        "{before}
         3 begin ser
         3 range 1 2 -> 10,22
         3 commit
         2 update 1 11 -> 40001 dependencies"
    ));
}

#[test]
fn declared_read_only_is_not_tracked_when_no_writer_runs() {
    check(
        "1 begin ser ro
         1 get 1 -> 10
         2 begin ser
         2 get 3 -> 30
         2 update 1 11
         2 commit
         1 get 2 -> 20
         1 commit",
    );
}

#[test]
fn a_doomed_transaction_fails_at_commit_when_it_has_done_everything() {
    check(
        "1 begin ser
         2 begin ser
         1 scan -> 10,20,30
         2 scan -> 10,20,30
         1 insert 4 40
         2 insert 5 50
         2 commit
         1 commit -> 40001 dependencies
         1 scan -> 10,20,30,50",
    );
}

#[test]
fn a_duplicate_that_both_looked_for_first_is_a_serialization_failure() {
    check(
        "1 begin ser
         2 begin ser
         1 get 4 -> none
         2 get 4 -> none
         1 insert 4 40
         2 insert 4 41 -> waits 1
         1 commit -> ok; 2 40001 dependencies",
    );
    check(
        "1 begin ser
         2 begin ser
         1 get 4 -> none
         2 get 2 -> 20
         1 insert 4 40
         2 insert 4 41 -> waits 1
         1 commit -> ok; 2 40001 dependencies",
    );
}

#[test]
fn a_deferrable_transaction_takes_a_new_snapshot_when_its_first_proves_unsafe() {
    check(
        "2 begin ser
         2 get 1 -> 10
         2 get 2 -> 20
         1 begin ser
         1 get 2 -> 20
         1 update 2 22
         1 commit
         3 begin ser ro deferrable
         3 range 1 2 -> waits 2
         2 update 1 11
         2 commit -> ok; 3 11,22",
    );
}

#[test]
fn a_pivot_that_dies_at_a_commit_saves_the_next() {
    check(
        "2 begin ser
         2 update 3 33
         1 begin ser
         3 begin ser
         1 update 2 22
         1 scan -> 10,30,22
         3 insert 4 40
         2 scan -> 10,20,33
         3 commit
         1 commit -> 40001 dependencies
         2 commit",
    );
}

/// A transaction that is doomed and then inserts a row that is there: where it learns of it.
const DOOMED: &str = "1 begin ser
     2 begin ser
     1 get 2 -> 20
     2 get 1 -> 10
     1 update 1 11
     2 update 2 22
     1 commit
     2 nothing 3 0 -> ";

#[test]
fn a_conflict_that_does_nothing_is_a_read_where_the_release_says_so() {
    check(&format!("{DOOMED}40001 dependencies"));
    check_on(
        Release {
            conflicting_row_is_read: false,
            ..Release::default()
        },
        &format!("{DOOMED}none\n2 commit -> 40001 dependencies"),
    );
}

/// A cycle through a row that an INSERT only met.
const MET: &str = "1 begin ser
     2 begin ser
     1 nothing 1 0 -> none
     2 get 2 -> 20
     1 update 2 22
     1 commit
     2 update 1 11 -> ";

#[test]
fn the_row_that_a_conflict_met_is_marked_where_the_release_says_so() {
    check(&format!("{MET}40001 dependencies"));
    check_on(
        Release {
            conflicting_row_is_read: false,
            ..Release::default()
        },
        &format!("{MET}ok\n2 commit"),
    );
}
