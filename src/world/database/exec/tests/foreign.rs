//! Foreign keys (RULES F).

use super::story;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v int);
    CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t, x int DEFAULT 0);
    INSERT INTO t VALUES (1, 10), (2, 20); INSERT INTO c VALUES (1, 1)";

#[test]
fn a_child_that_was_changed_before_in_the_transaction_is_checked_again() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: SELECT v FROM t WHERE id = 1 FOR UPDATE
         10
         s2: BEGIN
         done
         s2: UPDATE c SET x = 1
         (1)
         s2: UPDATE c SET x = 2
         waits
         s1: COMMIT
         done
         s2 (1)",
    );
}

#[test]
fn a_parent_that_is_not_committed_is_a_violation_at_once() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: INSERT INTO t VALUES (3, 30)
         (1)
         s2: INSERT INTO c VALUES (2, 3)
         ERROR 23503 insert or update on table \"c\" violates foreign key constraint \"c_t_id_fkey\"
         s1: COMMIT
         done
         s2: INSERT INTO c VALUES (2, 3)
         (1)",
    );
}

#[test]
fn a_parent_that_is_being_deleted_or_rekeyed_is_waited_for_and_looked_for_again() {
    for change in ["DELETE FROM t WHERE id = 2", "UPDATE t SET id = 5 WHERE id = 2"] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s1: {change}
                 (1)
                 s2: INSERT INTO c VALUES (2, 2)
                 waits
                 s1: COMMIT
                 done
                 s2 ERROR 23503 insert or update on table \"c\" violates foreign key constraint \"c_t_id_fkey\""
            ),
        );
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN
                 done
                 s1: {change}
                 (1)
                 s2: INSERT INTO c VALUES (2, 2)
                 waits
                 s1: ROLLBACK
                 done
                 s2 (1)"
            ),
        );
    }
}

#[test]
fn a_change_of_the_parents_other_columns_disturbs_no_child() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: UPDATE t SET v = 21 WHERE id = 2
         (1)
         s2: INSERT INTO c VALUES (2, 2)
         (1)",
    );
}

#[test]
fn the_deletion_of_a_parent_waits_for_children_in_flight() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: INSERT INTO c VALUES (2, 2)
         (1)
         s2: DELETE FROM t WHERE id = 2
         waits
         s1: COMMIT
         done
         s2 ERROR 23503 update or delete on table \"t\" violates foreign key constraint \"c_t_id_fkey\" on table \"c\"",
    );
}

#[test]
fn above_read_committed_a_parent_of_later_is_none_and_one_that_went_later_is_a_conflict() {
    for (change, child, answer) in [
        (
            "INSERT INTO t VALUES (3, 30)",
            3,
            "ERROR 23503 insert or update on table \"c\" violates foreign key constraint \"c_t_id_fkey\"",
        ),
        (
            "DELETE FROM t WHERE id = 2",
            2,
            "ERROR 40001 could not serialize access due to concurrent update",
        ),
    ] {
        story(
            SCHEMA,
            &format!(
                "s1: BEGIN ISOLATION LEVEL REPEATABLE READ
                 done
                 s1: SELECT count(*) FROM c
                 1
                 s2: {change}
                 (1)
                 s1: INSERT INTO c VALUES (2, {child})
                 {answer}"
            ),
        );
    }
}
