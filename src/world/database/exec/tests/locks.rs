//! Row locks, the re-check after a wait, and what a statement sees (RULES A to C).

use super::story;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, k int UNIQUE, v int);
    INSERT INTO t VALUES (1, 1, 10), (2, 2, 20)";

#[test]
fn nowait_and_skip_locked_also_count_where_the_lock_follows_later_versions() {
    for (policy, answer) in [
        ("NOWAIT", "ERROR 55P03 could not obtain lock on row in relation \"t\""),
        ("SKIP LOCKED", "(0)"),
    ] {
        story(
            SCHEMA,
            &format!(
                "s1: SELECT pg_advisory_lock(1) IS NULL
                 f
                 s2: SELECT id FROM t WHERE pg_advisory_lock(1) IS NOT NULL AND id = 1 FOR UPDATE {policy}
                 waits
                 s3: UPDATE t SET v = 11 WHERE id = 1
                 (1)
                 s3: BEGIN
                 done
                 s3: UPDATE t SET v = 12 WHERE id = 1
                 (1)
                 s1: SELECT pg_advisory_unlock(1)
                 t
                 s2 {answer}"
            ),
        );
    }
}

#[test]
fn a_statement_does_not_see_what_it_writes() {
    story(
        SCHEMA,
        "s1: INSERT INTO t SELECT id + 10, k + 10, v FROM t
         (2)
         s1: WITH x AS (INSERT INTO t VALUES (99, 99, 99) RETURNING id) SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM x)
         4|1
         s1: WITH x AS (INSERT INTO t VALUES (98, 98, 98) RETURNING id) SELECT (SELECT count(*) FROM x), (SELECT count(*) FROM t)
         1|5
         s1: UPDATE t SET k = k + 1
         ERROR 23505 duplicate key value violates unique constraint \"t_k_key\"",
    );
}

#[test]
fn a_key_change_takes_the_strongest_lock_and_a_key_that_stays_does_not() {
    for (change, answer) in [
        ("UPDATE t SET k = 7 WHERE id = 1", "waits"),
        ("DELETE FROM t WHERE id = 1", "waits"),
        ("UPDATE t SET k = k, id = id WHERE id = 1", "(1)"),
        ("UPDATE t SET v = 7 WHERE id = 1", "(1)"),
    ] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s1: SELECT v FROM t WHERE id = 1 FOR KEY SHARE
                 10
                 s2: {change}
                 {answer}"
            ),
        );
    }
}

#[test]
fn a_key_sharer_waits_for_a_key_change_only() {
    for (change, answer) in [
        ("UPDATE t SET k = 7 WHERE id = 1", "waits"),
        ("UPDATE t SET v = 7 WHERE id = 1", "10"),
    ] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s1: {change}
                 (1)
                 s2: SELECT v FROM t WHERE id = 1 FOR KEY SHARE
                 {answer}"
            ),
        );
    }
}

#[test]
fn after_a_wait_the_condition_is_tested_on_the_newest_version() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: UPDATE t SET v = 11 WHERE id = 1
         (1)
         s2: UPDATE t SET v = v + 100 WHERE v = 10 RETURNING v
         waits
         s3: UPDATE t SET v = v + 100 WHERE v > 5 RETURNING v
         waits
         s1: COMMIT
         done
         s2 (0)
         s3 111
         s3 120",
    );
}

#[test]
fn nothing_but_the_row_itself_is_looked_at_again() {
    for (again, answer) in [("", "1"), (" AND v = 10", "(0)")] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s1: UPDATE t SET v = 11 WHERE id = 1
                 (1)
                 s2: UPDATE t SET v = 100 WHERE id = (SELECT min(id) FROM t WHERE v = 10){again} RETURNING id
                 waits
                 s1: COMMIT
                 done
                 s2 {answer}"
            ),
        );
    }
}

#[test]
fn rows_are_not_sorted_again_and_a_limit_counts_those_that_are_left() {
    for (query, answer) in [
        ("SELECT id FROM t ORDER BY v FOR UPDATE", "1\n s2 2"),
        ("SELECT id FROM t WHERE v < 25 ORDER BY v LIMIT 1 FOR UPDATE", "2"),
    ] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s1: UPDATE t SET v = 30 WHERE id = 1
                 (1)
                 s2: {query}
                 waits
                 s1: COMMIT
                 done
                 s2 {answer}"
            ),
        );
    }
}

#[test]
fn an_old_snapshot_waits_for_who_still_holds_the_version_that_it_sees() {
    let lock = "s1: SELECT v FROM t WHERE id = 1 FOR KEY SHARE";
    // Locked before the update committed, and after: then it is another version that is held.
    let (held, free) = (format!("{lock}\n10"), format!("{lock}\n11"));
    let waits = "waits\n s1: COMMIT\n done\n s3 ERROR";
    for (before, after, end) in [(&*held, "", waits), ("", &*free, "ERROR")] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s2: BEGIN
                 done
                 s2: UPDATE t SET v = 11 WHERE id = 1
                 (1)
                 {before}
                 s3: BEGIN ISOLATION LEVEL REPEATABLE READ
                 done
                 s3: SELECT count(*) FROM t
                 2
                 s2: COMMIT
                 done
                 {after}
                 s3: DELETE FROM t WHERE id = 1
                 {end} 40001 could not serialize access due to concurrent update"
            ),
        );
    }
}
