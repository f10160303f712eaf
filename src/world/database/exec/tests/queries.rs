//! How queries read: what SERIALIZABLE sees of an access path.

use super::story;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE c (id int PRIMARY KEY, t_id int);
    INSERT INTO t VALUES (1, 10), (2, 20), (3, 30); INSERT INTO c VALUES (1, 1), (2, 2)";

/// A transaction misses a change of row 3, and is missed by who changed it if the statement counts as a read of that row.
fn beside(statement: &str, end: &str) -> String {
    format!(
        "s1: BEGIN ISOLATION LEVEL SERIALIZABLE
         done
         s2: BEGIN ISOLATION LEVEL SERIALIZABLE
         done
         s2: SELECT v FROM t WHERE id = 1
         10
         s1: SELECT count(*) FROM c
         2
         s2: UPDATE t SET v = 31 WHERE id = 3
         (1)
         s2: COMMIT
         done
         s1: {statement}
         {end}"
    )
}

#[test]
fn a_join_reads_first_the_table_of_which_an_index_gives_few_rows() {
    for statement in [
        "DELETE FROM t USING c WHERE c.t_id = t.id AND c.id = 1",
        "UPDATE t SET v = 0 FROM c WHERE c.t_id = t.id AND c.id = 1",
    ] {
        story(SCHEMA, &beside(statement, "(1)"));
    }
}

#[test]
fn a_join_without_such_a_table_reads_all_of_both() {
    let failure = "ERROR 40001 could not serialize access due to read/write dependencies among transactions";
    let statement = "UPDATE t SET v = 0 FROM c WHERE c.t_id = t.id AND t.v = 10";
    story(SCHEMA, &beside(statement, failure));
}
