//! ON CONFLICT (RULES E).

use super::{story, story_on};
use crate::world::database::Release;

const SCHEMA: &str = "CREATE TABLE p (id int PRIMARY KEY, v int); CREATE TABLE x (id int PRIMARY KEY, v int);
    INSERT INTO p VALUES (1, 10); INSERT INTO x VALUES (1, 10)";

/// Two transactions, each of which misses what the other changes, when the conflict counts as a read.
fn cycle(insert: &str, end: &str) -> String {
    format!(
        "s1: BEGIN ISOLATION LEVEL SERIALIZABLE
         done
         s2: BEGIN ISOLATION LEVEL SERIALIZABLE
         done
         s1: {insert}
         done
         s2: SELECT v FROM x
         10
         s1: UPDATE x SET v = 11
         (1)
         s1: COMMIT
         done
         s2: UPDATE p SET v = 11
         {end}"
    )
}

#[test]
fn a_conflict_without_a_change_is_a_read_where_the_release_says_so() {
    let older = Release {
        conflicting_row_is_read: false,
        ..Release::default()
    };
    let failure = "ERROR 40001 could not serialize access due to read/write dependencies among transactions";
    for insert in [
        "INSERT INTO p VALUES (1, 0) ON CONFLICT DO NOTHING",
        "INSERT INTO p VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET v = 0 WHERE p.v > 100",
    ] {
        story(SCHEMA, &cycle(insert, failure));
        story_on(older, SCHEMA, &cycle(insert, "(1)"));
    }
}

#[test]
fn merge_is_no_upsert_and_tests_its_branches_on_the_newest_version() {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10)";
    for (change, merge, answer) in [
        (
            "INSERT INTO t VALUES (3, 30)",
            "MERGE INTO t USING (SELECT 3 AS id) x ON t.id = x.id
                WHEN MATCHED THEN UPDATE SET v = 0 WHEN NOT MATCHED THEN INSERT VALUES (3, 0)",
            "ERROR 23505 duplicate key value violates unique constraint \"t_pkey\"",
        ),
        (
            "UPDATE t SET v = 50 WHERE id = 1",
            "MERGE INTO t USING (SELECT 1 AS id) x ON t.id = x.id
                WHEN MATCHED AND v < 20 THEN DELETE WHEN MATCHED AND v = 50 THEN UPDATE SET v = 51
                WHEN MATCHED THEN DELETE",
            "(1)\n s2: SELECT v FROM t WHERE id = 1\n 51",
        ),
    ] {
        let merge = merge.split_whitespace().collect::<Vec<_>>().join(" ");
        story(
            schema,
            &format!(
                "s1: BEGIN
                 done
                 s1: {change}
                 (1)
                 s2: {merge}
                 waits
                 s1: COMMIT
                 done
                 s2 {answer}"
            ),
        );
    }
}
