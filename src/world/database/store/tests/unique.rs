//! Duplicate keys and ON CONFLICT (RULES E), and races for a key (RULES 34).

use super::*;

#[test]
fn an_insert_waits_for_an_uncommitted_twin() {
    check(
        "1 begin
         1 insert 4 40
         2 insert 4 41 -> waits 1
         1 commit -> ok; 2 23505",
    );
    check(
        "1 begin
         1 insert 4 40
         2 insert 4 41 -> waits 1
         1 rollback -> ok; 2 ok
         2 get 4 -> 41",
    );
}

#[test]
fn an_insert_waits_for_an_uncommitted_delete_or_key_change() {
    for change in ["delete 1", "rekey 1 5"] {
        check(&format!(
            "1 begin
             1 {change}
             2 insert 1 41 -> waits 1
             1 commit -> ok; 2 ok"
        ));
        check(&format!(
            "1 begin
             1 {change}
             2 insert 1 41 -> waits 1
             1 rollback -> ok; 2 23505"
        ));
    }
}

#[test]
fn a_key_change_waits_like_an_insert() {
    check(
        "1 begin
         1 insert 4 40
         2 rekey 1 4 -> waits 1
         1 commit -> ok; 2 23505
         2 get 1 -> 10",
    );
}

#[test]
fn an_uncommitted_change_of_another_column_is_waited_for_too() {
    check(
        "1 begin
         1 update 1 11
         2 insert 1 0 -> waits 1
         1 commit -> ok; 2 23505",
    );
}

#[test]
fn visibility_plays_no_part() {
    for level in ["rr", "ser"] {
        check(&format!(
            "1 begin {level}
             1 get 1 -> 10
             2 insert 4 40
             1 insert 4 41 -> 23505"
        ));
    }
}

#[test]
fn ones_own_deleted_key_is_free() {
    check(
        "1 begin
         1 delete 1
         1 insert 1 11
         1 savepoint a
         1 rekey 1 7
         1 insert 1 12
         1 rollback a
         1 insert 1 13 -> 23505
         1 rollback a
         1 commit
         1 get 1 -> 11",
    );
}

#[test]
fn a_twin_inserted_after_a_savepoint_is_waited_for_until_that_part_ends() {
    check(
        "1 begin
         1 savepoint a
         1 insert 4 40
         2 insert 4 41 -> waits 1
         1 rollback a -> ok; 2 ok
         1 insert 4 40 -> 23505",
    );
}

#[test]
fn nulls_are_distinct_unless_the_index_says_otherwise() {
    check(
        "1 insert null 1
         1 insert null 2",
    );
    let mut store = Store::new();
    let table = store.create_table();
    let index = store.create_index(table, Some(Nulls::NotDistinct));
    let me = session(1);
    store.begin(me, Level::ReadCommitted, false, false);
    let key = Key::new([Value::Null]);
    let mut entered = Vec::new();
    for _ in 0..2 {
        let version = store.insert(me, table, [Value::Null].into()).expect("an insert");
        entered.push(store.enter_key(me, index, key.clone(), version, KeyCheck::Enforce));
    }
    assert_eq!(entered[0], Ok(Entered::Done));
    assert!(matches!(entered[1], Ok(Entered::Conflict(_))));
}

#[test]
fn several_inserters_race_for_a_key_that_was_given_up() {
    check(
        "1 begin
         1 insert 4 40
         2 insert 4 42 -> waits 1
         3 insert 4 43 -> waits 1
         choose 3
         1 rollback -> ok; 3 ok; 2 23505",
    );
}

#[test]
fn do_nothing_waits_and_then_inserts_or_leaves_it() {
    check(
        "1 begin
         1 insert 4 40
         2 nothing 4 41 -> waits 1
         1 commit -> ok; 2 none",
    );
    check(
        "1 begin
         1 insert 4 40
         2 nothing 4 41 -> waits 1
         1 rollback -> ok; 2 ok",
    );
    check(
        "1 begin
         1 nothing 1 0 -> none
         2 lock 1 update nowait -> 10",
    );
}

#[test]
fn do_nothing_above_read_committed_fails_on_a_row_outside_the_snapshot() {
    check(
        "1 begin rr
         1 get 1 -> 10
         2 insert 4 40
         1 nothing 4 41 -> 40001 update",
    );
    check(
        "1 begin rr
         1 insert 4 41
         1 nothing 4 42 -> none
         1 nothing 1 0 -> none",
    );
}

#[test]
fn do_update_takes_the_newest_committed_version() {
    check(
        "1 begin
         1 insert 4 40
         2 upsert 4 41 -> waits 1
         1 commit -> ok; 2 updated
         2 get 4 -> 41",
    );
    check(
        "1 begin
         1 delete 1
         2 upsert 1 41 -> waits 1
         1 commit -> ok; 2 ok
         2 get 1 -> 41",
    );
    check(
        "1 begin
         1 lock 1 update -> 10
         2 upsert 1 41 -> waits 1
         1 commit -> ok; 2 updated",
    );
    check(
        "1 begin rr
         1 get 1 -> 10
         2 insert 4 40
         1 upsert 4 41 -> 40001 update",
    );
}

#[test]
fn do_update_above_read_committed_fails_when_the_row_it_waited_for_goes() {
    check(
        "1 begin
         1 lock 1 update -> 10
         2 begin rr
         2 upsert 1 41 -> waits 1
         1 delete 1
         1 commit -> ok; 2 40001 delete",
    );
}

#[test]
fn an_arbiter_that_finds_a_twin_withdraws_its_row() {
    let mut play = Play::new();
    let (table, index) = (play.table, play.key);
    let before = play.store.clone();
    let me = session(1);
    play.store.begin(me, Level::ReadCommitted, false, false);
    let version = play.store.insert(me, table, [value("1"), value("0")].into());
    let version = version.expect("an insert");
    let entered = play
        .store
        .enter_key(me, index, Key::new([value("1")]), version, KeyCheck::Speculative);
    assert!(matches!(entered, Ok(Entered::Conflict(_))));
    play.store.retract(me, table, version);
    assert_eq!(play.store.commit(me), Ok(()));
    play.store.canonicalize(&[]);
    assert_eq!(play.store, before);
}
