//! What a serializable read marks hangs on the plan that the server makes. The answers are PostgreSQL 15's.

use crate::machine::{Pid, Sql, Usual};
use crate::world::database::exec::facade::{Database, DbEvent};

const TABLES: &str =
    "create table t (id int primary key, k int, v int, s text); create table u (id int primary key, t_id int);
    create table l (x int);";
const ROWS: &str = "insert into u values (1, 1); insert into t values (1,10,1,'a'),(2,20,2,'b'),(3,30,1,'c');";

fn seeded(indexes: &str) -> Database {
    let mut database = Database::new();
    for script in [TABLES, indexes, ROWS] {
        if let Err(error) = database.run_script(script) {
            panic!("{script}: {error}");
        }
    }
    database
}

/// Whether the second of two transactions fails that writes what the first may have read, and has read what the first writes.
fn fails(database: &mut Database, read: &str, write: &str) -> bool {
    let begin = "begin isolation level serializable";
    let messages = [
        (0, begin),
        (1, begin),
        (1, "select count(*) from l"),
        (0, read),
        (1, write),
        (0, "insert into l values (1)"),
        (0, "commit"),
        (1, "commit"),
    ];
    let mut failed = false;
    for (session, sql) in messages {
        for event in database.execute(Pid::root(session), &Sql::new(sql), 0, &mut Usual) {
            if let DbEvent::Done {
                result: Err(failure), ..
            } = event
            {
                assert_eq!((failure.error.code.as_str(), sql), ("40001", "commit"));
                failed = true;
            }
        }
    }
    failed
}

#[test]
fn a_read_marks_what_the_servers_plan_reads() {
    let hash = "create index ti on t using hash (k);";
    let other = "update t set v = 0 where id = 3";
    for (indexes, read, write, wanted) in [
        ("", "select max(id) from t", "update t set v = 5 where id = 1", false),
        ("", "select max(id) from t", "update t set v = 5 where id = 3", true),
        ("", "select max(k) from t", "update t set v = 5 where id = 1", true),
        ("", "select * from t order by id limit 1", other, false),
        ("", "select * from t order by id desc limit 1", other, true),
        ("", "select * from t order by v, id limit 1", other, true),
        ("", "select * from t where id = 1 or id = 2", other, false),
        ("", "select * from t where id = 1 or v = 2", other, true),
        (
            "",
            "select * from u where exists (select 1 from t where t.id = u.t_id)",
            other,
            true,
        ),
        (
            "",
            "select * from u where u.id = 1 and exists (select 1 from t where t.id = u.t_id)",
            other,
            false,
        ),
        (
            "",
            "select * from t where id in (select t_id from u where u.id = 1)",
            other,
            false,
        ),
        (
            hash,
            "select * from t where k = 10",
            "insert into t values (9, 90, 1, 'i')",
            false,
        ),
        (
            hash,
            "select * from t where k = 10",
            "insert into t values (9, 10, 1, 'i')",
            true,
        ),
        (
            hash,
            "select * from t where k > 15",
            "update t set v = 5 where id = 1",
            true,
        ),
        (
            "create index tk on t (k, v);",
            "select * from t where (k, v) = (10, 1)",
            "update t set s = 'z' where id = 3",
            false,
        ),
        (
            "create index tk on t (k) where v = 1;",
            "select * from t where v = 1 and k > 25",
            "update t set s = 'z' where id = 1",
            false,
        ),
    ] {
        assert_eq!(
            fails(&mut seeded(indexes), read, write),
            wanted,
            "{indexes} {read}; {write}"
        );
    }
}

#[test]
fn what_was_counted_is_read_as_a_whole_when_it_is_small() {
    let (read, write) = ("select * from t where id = 1", "update t set v = 0 where id = 3");
    assert!(!fails(&mut seeded(""), read, write));
    let mut counted = seeded("");
    assert!(counted.run_script("analyze t").is_ok());
    assert!(fails(&mut counted, read, write));
    let mut indexed = seeded("");
    assert!(indexed.run_script("create index later on t (k)").is_ok());
    assert!(fails(&mut indexed, read, write));
}

#[test]
fn a_gin_index_that_enters_at_once_marks_the_keys_that_are_looked_up() {
    let mut database = Database::new();
    let schema =
        "create table g (id int, p int[]); insert into g select x, array[x, x*2] from generate_series(1, 1000) x;
        create index gi on g using gin (p) with (fastupdate = off); create table l (x int);";
    assert!(database.run_script(schema).is_ok());
    let read = "set enable_seqscan = off; select count(*) from g where p @> array[1]";
    let far = "insert into g values (5000, array[800])";
    assert!(!fails(&mut database.clone(), read, far));
    assert!(fails(&mut database, read, "insert into g values (5000, array[2])"));
}

#[test]
fn a_verdict_can_say_which_plan_it_assumes() {
    let mut database = seeded("create index t_k on t (k);");
    assert!(database.assumptions().is_empty(), "nothing has run at SERIALIZABLE");
    fails(
        &mut database,
        "select * from t where k = 10",
        "update t set v = 5 where id = 3",
    );
    assert_eq!(
        database.assumptions(),
        [
            "assumes that the planner reads t by t_k",
            "assumes that the planner reads t by t_pkey"
        ]
    );
}

#[test]
fn a_locking_sub_select_with_a_limit_hangs_on_the_plan() {
    let database = seeded("");
    let hangs = |sql: &str| database.hangs_on_plan(sql).is_some();
    let inner = "select id from t where v = 1 order by k limit 1 for update skip locked";
    assert!(hangs(&format!("update t set v = 2 where id in ({inner})")));
    assert!(hangs(&format!("delete from t where id in ({inner})")));
    assert!(
        !hangs(&format!("update t set v = 2 where id = ({inner})")),
        "it runs once"
    );
    assert!(!hangs(&format!(
        "with c as ({inner}) update t set v = 2 from c where t.id = c.id"
    )));
    assert!(!hangs(
        "update t set v = 2 where id in (select id from t where v = 1 for update)"
    ));
}

#[test]
fn what_a_session_switches_off_is_not_taken() {
    let write = "insert into t values (50, 50, 50)";
    let read = "select * from t where id = 1";
    // By the index, which has one page: the new key meets it, as it would meet a scan of the whole table.
    assert!(fails(&mut seeded(""), read, write));
    // A change of a row that the read does not look at meets a scan alone.
    let other = "update t set v = 7 where id = 2";
    assert!(!fails(&mut seeded(""), read, other));
    let scanned = format!("set enable_indexscan = off; set enable_bitmapscan = off; {read}");
    assert!(fails(&mut seeded(""), &scanned, other));
    let bitmap = format!("set enable_indexscan = off; {read}");
    assert!(!fails(&mut seeded(""), &bitmap, other));
}
