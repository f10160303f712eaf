//! Snapshots, failed transactions, savepoints (RULES A).

use super::{story, story_on};
use crate::world::database::Release;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10)";

#[test]
fn the_snapshot_of_a_transaction_is_taken_by_its_first_query() {
    for (first, seen) in [
        ("SAVEPOINT a", 11),
        ("LOCK TABLE t IN ROW SHARE MODE", 11),
        ("SET lock_timeout = 0", 11),
    ] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN ISOLATION LEVEL REPEATABLE READ
                 done
                 s1: {first}
                 done
                 s2: UPDATE t SET v = 11
                 (1)
                 s1: SELECT v FROM t
                 {seen}"
            ),
        );
    }
    story(
        SCHEMA,
        "s1: BEGIN ISOLATION LEVEL REPEATABLE READ
         done
         s1: SELECT 1
         1
         s2: UPDATE t SET v = 11
         (1)
         s1: SELECT v FROM t
         10
         s1: UPDATE t SET v = v + 1
         ERROR 40001 could not serialize access due to concurrent update",
    );
}

#[test]
fn a_failed_transaction_refuses_everything_until_its_end() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: UPDATE t SET v = 11
         (1)
         s1: SELECT 1 / 0
         ERROR 22012 division by zero
         s1: SELECT 1
         ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block
         s1: COMMIT
         done
         s1: SELECT v FROM t
         10",
    );
}

#[test]
fn a_savepoint_gives_back_the_locks_that_came_after_it() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: SAVEPOINT a
         done
         s1: SELECT v FROM t FOR UPDATE
         10
         s2: UPDATE t SET v = 12
         waits
         s1: ROLLBACK TO a
         done
         s2 (1)",
    );
}

/// Two who count the rows and add one; the first locks a table before it looks.
fn skew(mode: &str, end: &str) -> String {
    format!(
        "s1: BEGIN ISOLATION LEVEL SERIALIZABLE
         done
         s1: LOCK TABLE l IN {mode} MODE
         done
         s1: SELECT count(*) FROM t
         1
         s1: INSERT INTO t VALUES (2, 20)
         (1)
         s2: BEGIN ISOLATION LEVEL SERIALIZABLE
         done
         s2: SELECT count(*) FROM t
         1
         s2: INSERT INTO t VALUES (3, 30)
         (1)
         s2: COMMIT
         done
         s1: COMMIT
         {end}"
    )
}

#[test]
fn a_number_before_the_snapshot_hides_the_writer_where_the_release_says_so() {
    let schema = "CREATE TABLE t (id int, v int); INSERT INTO t VALUES (1, 10); CREATE TABLE l (id int)";
    let older = Release {
        early_number_is_known: false,
        ..Release::default()
    };
    let failure = "ERROR 40001 could not serialize access due to read/write dependencies among transactions";
    story(schema, &skew("ACCESS EXCLUSIVE", failure));
    story_on(older, schema, &skew("EXCLUSIVE", failure));
    story_on(older, schema, &skew("ACCESS EXCLUSIVE", "done"));
}
