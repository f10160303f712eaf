//! What a statement tells of itself on its way: the points at which it can be stopped, with all that it did before, and what it reads or takes at no point.

use crate::machine::{Access, Branch, Next, Pid, Point, Sql};
use crate::world::database::exec::facade::Database;

const ONE: Pid = Pid::root(0);
const OTHER: Pid = Pid::root(1);

/// Writes down what it is told, and stops a statement at one of the points.
#[derive(Default)]
struct Watch {
    told: Vec<String>,
    points: usize,
    /// The point at which it stops, from 1.
    stop_at: usize,
}

/// A kind of access, without what every statement does when it begins.
fn words(accesses: &[Access]) -> String {
    let plain = |access: &&Access| !matches!(access, Access::Table { mode, .. } if *mode <= 3);
    let kind = |access: &Access| {
        let text = format!("{access:?}");
        text.split(' ').next().unwrap_or_default().to_lowercase()
    };
    accesses.iter().filter(plain).map(kind).collect::<Vec<_>>().join(" ")
}

impl Branch for Watch {
    fn choose(&mut self, _options: usize) -> usize {
        0
    }

    fn stop(&mut self, _session: Pid, point: Point<'_>) -> bool {
        let before = words(point.before);
        let line = match point.next {
            Next::Take(access) => format!("{before} | {}", words(&[access])),
            Next::Commit(published) => format!("{before} | commit: {}", words(published)),
        };
        self.points += 1;
        self.told.push(line);
        self.points == self.stop_at
    }

    fn note(&mut self, _session: Pid, access: Access) {
        let word = words(&[access]);
        if !word.is_empty() {
            self.told.push(word);
        }
    }
}

fn database(schema: &str) -> Database {
    let mut database = Database::default();
    database.run_script(schema).expect("a schema");
    database
}

/// What the last of these messages tells.
#[track_caller]
fn told(schema: &str, messages: &[(Pid, &str)]) -> Vec<String> {
    let mut database = database(schema);
    let mut watch = Watch::default();
    for (session, text) in messages {
        watch = Watch::default();
        database.execute(*session, &Sql::new(*text), 0, &mut watch);
    }
    watch.told
}

const ROWS: &str = "create table t (id int primary key, n int not null); insert into t values (1, 0), (2, 0);";

const LOG: &str = "create table l (id int primary key, at timestamptz);";

#[test]
fn there_is_a_point_before_each_thing_that_a_statement_takes_and_before_its_commit() {
    let all = told(ROWS, &[(ONE, "update t set n = n + 1")]);
    let wanted = [
        "read",
        "read | row",
        "read row | write",
        "read row write | row",
        "read row write row | write",
        "read row write row write | commit: publish",
        "publish",
    ];
    assert_eq!(all, wanted);
    // A row that is looked for by its key: a later snapshot would do the same.
    let by_key = told(ROWS, &[(ONE, "update t set n = n + 1 where id = 1")]);
    assert_eq!(
        by_key,
        [" | row", "row | write", "row write | commit: publish", "publish"]
    );
    assert_eq!(told(ROWS, &[(ONE, "select n from t")]), ["read", "read | commit: "]);
}

#[test]
fn what_the_statements_before_it_in_a_message_did_counts_for_a_statement_too() {
    let all = told(ROWS, &[(ONE, "select n from t; update t set n = 1 where id = 2")]);
    assert_eq!(all[2..4], ["read | row", "read row | write"]);
    // Also when it goes on.
    let mut database = database(ROWS);
    let mut watch = Watch {
        stop_at: 2,
        ..Watch::default()
    };
    let message = Sql::new("select n from t; update t set n = 1 where id = 2");
    database.execute(ONE, &message, 0, &mut watch);
    let mut rest = Watch::default();
    database.go_on(ONE, 0, &mut rest);
    assert_eq!(rest.told.first().map(String::as_str), Some("read row | write"));
}

#[test]
fn a_commit_that_is_sent_publishes_without_a_point() {
    let messages = [
        (ONE, "begin"),
        (ONE, "update t set n = 1 where id = 2"),
        (ONE, "commit"),
    ];
    assert_eq!(told(ROWS, &messages), ["publish"]);
}

#[test]
fn a_parent_that_goes_reads_its_children() {
    let schema = "create table p (id int primary key); \
                  create table c (id int, p int references p (id) on delete cascade); \
                  insert into p values (1); insert into c values (1, 1);";
    let all = told(schema, &[(ONE, "delete from p where id = 1")]);
    assert_eq!(all[3..5], ["read", "row write read | row"]);
}

#[test]
fn a_look_at_the_clock_comes_before_what_is_taken_after_it() {
    for clock in ["now()", "clock_timestamp()"] {
        let statement = format!("insert into l values (1, {clock})");
        let all = told(LOG, &[(ONE, &statement)]);
        assert_eq!(all[..2], ["clock", "clock | write"], "{clock}");
    }
}

#[test]
fn a_deadlock_is_noted() {
    let messages = [
        (ONE, "begin; update t set n = 1 where id = 1"),
        (OTHER, "begin; update t set n = 1 where id = 2"),
        (ONE, "update t set n = 1 where id = 2"),
        (OTHER, "update t set n = 1 where id = 1"),
    ];
    let all = told(ROWS, &messages);
    assert!(all.iter().any(|line| line == "deadlock"), "{all:?}");
}

/// It goes on with what it was stopped before, and comes to every point behind that.
#[test]
fn a_statement_that_was_stopped_can_be_stopped_again() {
    let points = |told: &[String]| -> Vec<String> { told.iter().filter(|line| line.contains('|')).cloned().collect() };
    let all = points(&told(ROWS, &[(ONE, "update t set n = n + 1")]));
    let mut database = database(ROWS);
    let mut watch = Watch {
        stop_at: 1,
        ..Watch::default()
    };
    database.execute(ONE, &Sql::new("update t set n = n + 1"), 0, &mut watch);
    assert!(database.is_stopped(ONE));
    assert_eq!(points(&watch.told), all[..1]);
    let mut again = Watch {
        stop_at: 2,
        ..Watch::default()
    };
    database.go_on(ONE, 0, &mut again);
    assert!(database.is_stopped(ONE));
    assert_eq!(points(&again.told), all[1..3]);
    let mut last = Watch::default();
    database.go_on(ONE, 0, &mut last);
    assert_eq!(points(&last.told), all[3..]);
}
