//! Statements that change the schema.

use super::story;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); INSERT INTO t VALUES (1, 10)";

#[test]
fn a_change_of_the_schema_waits_for_readers_and_goes_with_its_transaction() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: SELECT v FROM t
         10
         s2: ALTER TABLE t ADD COLUMN w int DEFAULT 5
         waits
         s1: COMMIT
         done
         s2 done
         s1: SELECT w FROM t
         5
         s1: BEGIN
         done
         s1: ALTER TABLE t ADD COLUMN x int DEFAULT 6
         done
         s1: SELECT x FROM t
         6
         s1: ROLLBACK
         done
         s1: SELECT x FROM t
         ERROR 42703 column \"x\" does not exist",
    );
}

#[test]
fn a_unique_index_is_not_made_over_duplicates() {
    story(
        SCHEMA,
        "s1: INSERT INTO t VALUES (2, 10)
         (1)
         s1: CREATE UNIQUE INDEX t_v ON t (v)
         ERROR 23505 could not create unique index \"t_v\"
         s1: CREATE UNIQUE INDEX t_v ON t (v) WHERE id > 1
         done
         s1: INSERT INTO t VALUES (3, 10)
         ERROR 23505 duplicate key value violates unique constraint \"t_v\"",
    );
}

#[test]
fn what_truncate_takes_away_comes_back_with_a_rollback() {
    story(
        SCHEMA,
        "s1: BEGIN
         done
         s1: TRUNCATE t
         done
         s1: SELECT count(*) FROM t
         0
         s2: SELECT count(*) FROM t
         waits
         s1: ROLLBACK
         done
         s2 1",
    );
}
