//! One session, simple statements.

use super::story;

#[test]
fn rows_go_in_and_come_out() {
    story(
        "CREATE TABLE t (id bigint PRIMARY KEY, name text NOT NULL, n int DEFAULT 7);",
        "
        s1: INSERT INTO t (id, name) VALUES (1, 'one'), (2, 'two') RETURNING id, n
        1|7
        2|7
        s1: SELECT * FROM t WHERE id = 2
        2|two|7
        s1: UPDATE t SET n = n + 1 WHERE name = 'one' RETURNING *
        1|one|8
        s1: SELECT id FROM t
        2
        1
        s1: DELETE FROM t WHERE id = 2
        (1)
        s1: INSERT INTO t VALUES (1, 'again')
        ERROR 23505 duplicate key value violates unique constraint \"t_pkey\"
        s1: INSERT INTO t (id) VALUES (3)
        ERROR 23502 null value in column \"name\" of relation \"t\" violates not-null constraint
        s1: INSERT INTO t VALUES (1, 'again') ON CONFLICT DO NOTHING RETURNING id
        (0)
        s1: SELECT count(*), max(n) FROM t
        1|8
        ",
    );
}

#[test]
fn a_waiter_sees_what_was_committed() {
    story(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL); INSERT INTO t VALUES (1, 0), (2, 0);",
        "
        s1: BEGIN
        done
        s1: UPDATE t SET n = n + 1 WHERE id = 1
        (1)
        s2: UPDATE t SET n = n + 10 WHERE id = 1 RETURNING n
        waits
        s3: SELECT * FROM t ORDER BY id
        1|0
        2|0
        s1: COMMIT
        done
        s2 11
        s3: SELECT * FROM t
        2|0
        1|11
        ",
    );
}

#[test]
fn an_insert_waits_for_its_twin() {
    story(
        "CREATE TABLE t (id int PRIMARY KEY, who text);",
        "
        s1: BEGIN
        done
        s1: INSERT INTO t VALUES (1, 's1')
        (1)
        s2: INSERT INTO t VALUES (1, 's2')
        waits
        s3: INSERT INTO t VALUES (1, 's3') ON CONFLICT DO NOTHING RETURNING who
        waits
        s1: COMMIT
        done
        s2 ERROR 23505 duplicate key value violates unique constraint \"t_pkey\"
        s3 (0)
        ",
    );
}

#[test]
fn a_partial_unique_index_counts_only_its_rows() {
    story(
        "CREATE TABLE t (id int, live boolean); CREATE UNIQUE INDEX t_live ON t (id) WHERE live;",
        "
        s1: INSERT INTO t VALUES (1, true), (1, false), (1, false), (2, true)
        (4)
        s1: INSERT INTO t VALUES (1, true)
        ERROR 23505 duplicate key value violates unique constraint \"t_live\"
        s1: INSERT INTO t VALUES (1, true) ON CONFLICT (id) WHERE live DO NOTHING
        done
        s1: INSERT INTO t VALUES (1, true) ON CONFLICT (id) DO NOTHING
        ERROR 42P10 there is no unique or exclusion constraint matching the ON CONFLICT specification
        s1: UPDATE t SET live = true WHERE id = 1
        ERROR 23505 duplicate key value violates unique constraint \"t_live\"
        ",
    );
}

#[test]
fn a_deadlock_ends_its_first_waiter() {
    story(
        "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0);",
        "
        s1: BEGIN
        done
        s2: BEGIN
        done
        s1: UPDATE t SET n = 1 WHERE id = 1
        (1)
        s2: UPDATE t SET n = 2 WHERE id = 2
        (1)
        s1: UPDATE t SET n = 1 WHERE id = 2
        waits
        s2: UPDATE t SET n = 2 WHERE id = 1
        waits
        s1 ERROR 40P01 deadlock detected
        (1)
        s1: SELECT 1
        ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block
        s1: COMMIT
        done
        s2: COMMIT
        done
        s3: SELECT * FROM t ORDER BY id
        1|2
        2|2
        ",
    );
}
