//! The building blocks of the conductor do on a real server what it relies on.

mod server;

use std::sync::Arc;
use std::time::Duration;

use deadheat::drive::postgres::stage::Stage;
use deadheat::drive::postgres::wire::TextRows;
use deadheat::machine::Pid;

const SCHEMA: &str = "
    CREATE TABLE parent (id bigint PRIMARY KEY, name text);
    CREATE TABLE child (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        parent bigint NOT NULL REFERENCES parent,
        double bigint GENERATED ALWAYS AS (parent * 2) STORED,
        made timestamptz DEFAULT now()
    );
    INSERT INTO parent VALUES (1, 'one'), (2, NULL);
    INSERT INTO child (parent, made) VALUES (1, '2020-01-01');";

fn run(stage: &mut Stage, pid: Pid, sql: &str) -> TextRows {
    let place = stage.place(pid).expect("a connection");
    stage.wires().launch(place, sql);
    let answer = stage.wires().answer(place).expect("an answer");
    assert_eq!(answer.error, None, "{sql}");
    answer.results.into_iter().next_back().expect("a result")
}

fn first(rows: &TextRows) -> Option<Arc<str>> {
    rows.rows.first().and_then(|row| row.first()?.clone())
}

#[test]
fn a_stage_resets_confirms_waits_and_ends_sessions() {
    let Some(server) = server::server() else { return };
    let mut stage = Stage::open(&server, &[SCHEMA.into()]).expect("a stage");
    let [one, two, three] = [0, 1, 2].map(Pid::root);
    let at_first = stage.rows();
    assert_eq!(
        stage.tables().iter().map(|name| &**name).collect::<Vec<_>>(),
        ["parent", "child"]
    );

    // More often than resets go by DELETE, so that the one by TRUNCATE is seen too.
    for round in 0..60 {
        stage.reset().expect("it resets");
        assert_eq!(stage.rows(), at_first, "round {round}");
        let inserted = run(&mut stage, one, "INSERT INTO child (parent) VALUES (2) RETURNING id");
        assert_eq!(first(&inserted).as_deref(), Some("2"), "the sequence starts anew");
        run(&mut stage, one, "DELETE FROM child; DELETE FROM parent WHERE id = 2");
    }
    stage.reset().expect("it resets");

    // Virtual time is what the session was told.
    run(&mut stage, one, "SET deadheat.now = '2001-02-03 04:05:06Z'");
    let made = run(&mut stage, one, "INSERT INTO child (parent) VALUES (1) RETURNING made");
    assert_eq!(first(&made).as_deref(), Some("Sat Feb 03 04:05:06 2001 UTC"));

    // A wait is seen in the server's own view, with the one who is waited for.
    run(&mut stage, one, "BEGIN; UPDATE parent SET name = 'x' WHERE id = 1");
    let (first_place, place) = (
        stage.place(one).expect("known"),
        stage.place(two).expect("a connection"),
    );
    stage.wires().launch(place, "UPDATE parent SET name = 'y' WHERE id = 1");
    let blockers = stage.wires().finished_or_blocked(place).expect("the server answers");
    assert_eq!(blockers, Some(vec![first_place]));

    // A killed session lets go of its locks.
    stage.kill(one).expect("killed");
    assert!(
        stage
            .wires()
            .finishes_within(place, Duration::from_secs(10))
            .expect("under way")
    );
    let answer = stage.wires().answer(place).expect("an answer");
    assert_eq!((answer.error, answer.results[0].affected), (None, 1));

    // A session that leaves takes its locks and settings along, and its connection serves another process.
    run(
        &mut stage,
        two,
        "BEGIN; SELECT pg_advisory_lock(1); SET application_name = 'mine'",
    );
    stage.leave(two).expect("left");
    let free = run(
        &mut stage,
        three,
        "SELECT pg_try_advisory_lock(1), current_setting('application_name')",
    );
    assert_eq!(free.rows[0][0].as_deref(), Some("t"));
    assert_ne!(free.rows[0][1].as_deref(), Some("mine"));
}
