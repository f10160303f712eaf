//! Gates stop a statement of a real server where their documentation says, and what cannot be stopped can be provoked.

mod server;

use std::collections::BTreeSet;

use deadheat::drive::postgres::gates::{At, Deed, Gate, Gates, Reached};
use deadheat::drive::postgres::provoke::{Seen, Volley, provoke};
use deadheat::drive::postgres::source::Server;
use deadheat::drive::postgres::stage::Stage;
use deadheat::drive::postgres::wire::{Answer, Place};
use deadheat::machine::Pid;

/// Two sessions and gates in a database of their own.
struct Ring {
    stage: Stage,
    gates: Gates,
    one: Place,
    two: Place,
}

impl Ring {
    fn open(server: &Server, schema: &str) -> Ring {
        let mut stage = Stage::open(server, &[schema.into()]).expect("a stage");
        let gates = Gates::build(&mut stage).expect("gates");
        let [one, two] = [0, 1].map(|root| stage.place(Pid::root(root)).expect("a connection"));
        Ring { stage, gates, one, two }
    }

    /// Runs a statement to its end: the code of its error, or its cells.
    fn run(&mut self, place: Place, sql: &str) -> Result<Vec<String>, String> {
        self.stage.wires().launch(place, sql);
        self.end(place)
    }

    fn end(&mut self, place: Place) -> Result<Vec<String>, String> {
        told(&self.stage.wires().answer(place).expect("an answer"))
    }

    /// Starts a statement and stops it at a gate.
    fn stop(&mut self, place: Place, sql: &str, table: &str, deed: Deed, at: At) {
        let gate = Gate {
            table: table.to_owned(),
            deed,
            at,
        };
        self.gates
            .close(self.stage.wires(), place, &gate)
            .expect("the gate closes");
        self.stage.wires().launch(place, sql);
        let reached = self
            .gates
            .reached(self.stage.wires(), place)
            .expect("it comes somewhere");
        assert_eq!(reached, Reached::Gate, "{sql}");
    }

    fn give_way(&mut self, place: Place) {
        self.gates.give_way(self.stage.wires(), place).expect("the gate opens");
    }

    fn is_blocked_by(&mut self, place: Place, blocker: Place) -> bool {
        let blockers = self
            .stage
            .wires()
            .finished_or_blocked(place)
            .expect("the server answers");
        blockers == Some(vec![blocker])
    }
}

fn told(answer: &Answer) -> Result<Vec<String>, String> {
    if let Some(error) = &answer.error {
        return Err(error.code.to_string());
    }
    let rows = answer.results.iter().flat_map(|result| &result.rows);
    let cells = rows.flatten().map(|cell| cell.as_deref().unwrap_or("null").to_owned());
    Ok(cells.collect())
}

fn cells(texts: &[&str]) -> Result<Vec<String>, String> {
    Ok(texts.iter().map(|text| (*text).to_owned()).collect())
}

fn at_its_start_a_statement_has_its_snapshot_and_so_both_insert_where_nothing_is(server: &Server) {
    let mut ring = Ring::open(server, "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, k int)");
    let (one, two) = (ring.one, ring.two);
    let insert = "INSERT INTO t (k) SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM t WHERE k = 1)";
    ring.stop(one, insert, "t", Deed::Insert, At::Start);
    ring.run(two, insert).expect("nobody is in its way");
    assert_eq!(
        ring.run(two, "SELECT count(*) FROM t"),
        cells(&["1"]),
        "it is committed"
    );
    ring.give_way(one);
    ring.end(one).expect("it does not see the other's row");
    assert_eq!(ring.run(one, "SELECT count(*) FROM t"), cells(&["2"]));

    // The gate was for one statement.
    ring.run(one, insert).expect("no gate is closed");
    assert_eq!(ring.run(one, "SELECT count(*) FROM t"), cells(&["2"]));
}

fn at_a_row_an_update_has_locked_it_and_none_after_it(server: &Server) {
    let schema = "CREATE TABLE \"T\" (id int PRIMARY KEY, n int); INSERT INTO \"T\" VALUES (1, 0), (2, 0), (3, 0)";
    for (statement, deed) in [
        ("UPDATE \"T\" SET n = n + 1", Deed::Update),
        ("DELETE FROM \"T\"", Deed::Delete),
    ] {
        let mut ring = Ring::open(server, schema);
        let (one, two) = (ring.one, ring.two);
        ring.stop(one, statement, "\"T\"", deed, At::Row(2));
        for (id, locked) in [(1, true), (2, true), (3, false)] {
            let look = format!("SELECT id FROM \"T\" WHERE id = {id} FOR UPDATE NOWAIT");
            assert_eq!(ring.run(two, &look).is_err(), locked, "{statement}, row {id}");
        }
        assert_eq!(
            ring.run(two, "UPDATE \"T\" SET n = 10 WHERE id = 3 RETURNING n"),
            cells(&["10"])
        );
        ring.give_way(one);
        ring.end(one).expect("it ends");
        let wanted = match deed {
            Deed::Update => cells(&["1", "1", "11"]),
            _ => cells(&[]),
        };
        assert_eq!(
            ring.run(two, "SELECT n FROM \"T\" ORDER BY id"),
            wanted,
            "it met the newest version"
        );
    }
}

fn at_a_row_an_insert_has_not_entered_its_key(server: &Server) {
    let mut ring = Ring::open(server, "CREATE TABLE t (id int PRIMARY KEY, who text)");
    let (one, two) = (ring.one, ring.two);
    ring.stop(
        one,
        "INSERT INTO t VALUES (1, 'one'), (2, 'one')",
        "t",
        Deed::Insert,
        At::Row(2),
    );
    ring.run(two, "INSERT INTO t VALUES (2, 'two')")
        .expect("the key is free");
    ring.stage.wires().launch(two, "INSERT INTO t VALUES (1, 'two')");
    assert!(ring.is_blocked_by(two, one), "the first row's key is entered");
    ring.give_way(one);
    assert_eq!(ring.end(one), Err("23505".to_owned()));
    ring.end(two).expect("the other took its rows back");
    assert_eq!(ring.run(one, "SELECT who FROM t ORDER BY id"), cells(&["two", "two"]));
}

fn at_its_commit_a_statement_has_written_everything_and_nobody_sees_it(server: &Server) {
    let mut ring = Ring::open(server, "CREATE TABLE t (id int PRIMARY KEY, who text)");
    let (one, two) = (ring.one, ring.two);
    ring.stop(
        one,
        "INSERT INTO t VALUES (1, 'one'), (2, 'one')",
        "t",
        Deed::Insert,
        At::Commit,
    );
    assert_eq!(ring.run(two, "SELECT count(*) FROM t"), cells(&["0"]));
    ring.stage.wires().launch(two, "INSERT INTO t VALUES (2, 'two')");
    assert!(ring.is_blocked_by(two, one));
    ring.give_way(one);
    ring.end(one).expect("it commits");
    assert_eq!(ring.end(two), Err("23505".to_owned()));
}

fn two_upserts_of_the_same_rows_in_opposite_order_deadlock_and_the_keeper_is_no_part_of_it(server: &Server) {
    let schema = "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 0), (2, 0)";
    let mut ring = Ring::open(server, schema);
    let (one, two) = (ring.one, ring.two);
    for place in [one, two] {
        ring.run(place, "SET deadlock_timeout = '20ms'").expect("it may be set");
    }
    let upsert =
        |a: u8, b: u8| format!("INSERT INTO t VALUES ({a}, 1), ({b}, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1");
    ring.stop(one, &upsert(1, 2), "t", Deed::Insert, At::Row(2));
    ring.stage.wires().launch(two, &upsert(2, 1));
    assert!(ring.is_blocked_by(two, one), "one has the first row");
    ring.give_way(one);
    let ended = [ring.end(one), ring.end(two)];
    let deadlocks = ended.iter().filter(|end| **end == Err("40P01".to_owned())).count();
    assert_eq!(deadlocks, 1, "{ended:?}");
    assert_eq!(ring.run(one, "SELECT n FROM t ORDER BY id"), cells(&["1", "1"]));
}

fn a_statement_that_does_not_come_to_its_gate_is_told_and_gates_go_away(server: &Server) {
    let mut ring = Ring::open(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let (one, two) = (ring.one, ring.two);
    let gate = Gate {
        table: "t".to_owned(),
        deed: Deed::Delete,
        at: At::Row(2),
    };
    ring.gates
        .close(ring.stage.wires(), one, &gate)
        .expect("the gate closes");
    ring.stage.wires().launch(one, "DELETE FROM t");
    let reached = ring.gates.reached(ring.stage.wires(), one).expect("it comes somewhere");
    assert_eq!(reached, Reached::End);
    ring.end(one).expect("it ends");

    ring.run(two, "BEGIN; INSERT INTO t VALUES (1)").expect("it is free");
    ring.gates.open_all(ring.stage.wires()).expect("they open");
    ring.gates
        .close(ring.stage.wires(), one, &gate)
        .expect("the gate closes");
    ring.stage.wires().launch(one, "INSERT INTO t VALUES (1)");
    let reached = ring.gates.reached(ring.stage.wires(), one).expect("it comes somewhere");
    assert_eq!(reached, Reached::Blocked(vec![two]));
    ring.run(two, "ROLLBACK").expect("it may");
    ring.end(one).expect("the other is gone");

    let Ring { mut stage, gates, .. } = ring;
    gates.take_away(&mut stage).expect("they go");
    let left = stage
        .wires()
        .control("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal");
    assert_eq!(left.rows("a test").expect("the triggers"), Vec::<Vec<_>>::new());
}

fn gates_stand_again_where_the_schema_was_changed_and_have_one_keeper(server: &Server) {
    let mut ring = Ring::open(server, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let connections = ring.stage.wires().len();
    for _ in 0..3 {
        let migration = "ALTER TABLE t ADD COLUMN n int";
        ring.stage.note(&migration.into());
        ring.run(ring.one, migration).expect("a migration");
        ring.stage.reset().expect("the first schema again");
        ring.gates.stand(&mut ring.stage).expect("gates");
        [ring.one, ring.two] = [0, 1].map(|root| ring.stage.place(Pid::root(root)).expect("a connection"));
        ring.stop(ring.one, "UPDATE t SET id = 2", "t", Deed::Update, At::Row(1));
        ring.give_way(ring.one);
        ring.end(ring.one).expect("it goes on");
        ring.stage.reset().expect("the first rows again");
        // They go and come with each schedule.
        let Ring { mut stage, gates, .. } = ring;
        gates.take_away(&mut stage).expect("they go");
        let gates = Gates::build(&mut stage).expect("gates");
        let [one, two] = [0, 1].map(|root| stage.place(Pid::root(root)).expect("a connection"));
        ring = Ring { stage, gates, one, two };
    }
    assert_eq!(ring.stage.wires().len(), connections);
}

fn what_no_gate_stops_can_be_provoked(server: &Server) {
    const TRIES: u32 = 60;
    let schema = "CREATE TABLE jobs (id bigint PRIMARY KEY); INSERT INTO jobs VALUES (1)";
    let mut stage = Stage::open(server, &[schema.into()]).expect("a stage");
    let [one, two] = [0, 1].map(Pid::root);
    let take = "SELECT id, pg_try_advisory_lock(id) FROM jobs ORDER BY id LIMIT 1";
    // One has the job and is about to finish it. Two looks at that moment: its snapshot still has the job, and the lock is already free.
    let volley = Volley {
        before: vec![(one, take.to_owned())],
        at_once: vec![
            (two, vec![take.to_owned()]),
            (
                one,
                vec![
                    "DELETE FROM jobs WHERE id = 1".to_owned(),
                    "SELECT pg_advisory_unlock(1)".to_owned(),
                ],
            ),
        ],
        slow: vec![two],
    };
    let mut ways: BTreeSet<String> = BTreeSet::new();
    let mut both = |seen: &Seen| {
        let took = seen.answers.get(&two).and_then(|answers| answers.first()).map(told);
        ways.insert(format!("{took:?}"));
        took == Some(cells(&["1", "t"]))
    };
    let provoked = provoke(&mut stage, &volley, TRIES, &mut both).expect("the server is there");
    eprintln!("the lock after the snapshot: {provoked}; {ways:?}");
    assert_eq!(provoked.tries, TRIES);
    // The server may be too quick for it, but never takes a way that there is not.
    let known = ["Some(Ok([]))", "Some(Ok([\"1\", \"f\"]))", "Some(Ok([\"1\", \"t\"]))"];
    assert!(ways.iter().all(|way| known.contains(&way.as_str())), "{ways:?}");
    assert!(ways.len() > 1, "nothing was at once: {ways:?}");
}

fn two_inserts_that_are_sent_at_once_overlap(server: &Server) {
    let mut stage = Stage::open(server, &["CREATE TABLE t (k int)".into()]).expect("a stage");
    let insert = "INSERT INTO t SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM t)".to_owned();
    let pids = [0, 1].map(Pid::root);
    let volley = Volley {
        at_once: pids.iter().map(|pid| (*pid, vec![insert.clone()])).collect(),
        slow: pids.to_vec(),
        ..Volley::default()
    };
    let mut rows = |seen: &Seen| seen.tables[0].1.as_ref().is_some_and(|table| table.rows.len() == 2);
    let provoked = provoke(&mut stage, &volley, 60, &mut rows).expect("the server is there");
    eprintln!("two rows: {provoked}");
    assert!(provoked.is_confirmed(), "{provoked}");
}

/// One server for all of it: to start one takes longer than what is done there.
#[test]
fn gates_stop_statements_where_they_say_and_the_rest_can_be_provoked() {
    let Some(server) = server::server() else { return };
    at_its_start_a_statement_has_its_snapshot_and_so_both_insert_where_nothing_is(&server);
    at_a_row_an_update_has_locked_it_and_none_after_it(&server);
    at_a_row_an_insert_has_not_entered_its_key(&server);
    at_its_commit_a_statement_has_written_everything_and_nobody_sees_it(&server);
    two_upserts_of_the_same_rows_in_opposite_order_deadlock_and_the_keeper_is_no_part_of_it(&server);
    a_statement_that_does_not_come_to_its_gate_is_told_and_gates_go_away(&server);
    gates_stand_again_where_the_schema_was_changed_and_have_one_keeper(&server);
    what_no_gate_stops_can_be_provoked(&server);
    two_inserts_that_are_sent_at_once_overlap(&server);
}
