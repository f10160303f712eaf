//! Statements that are sent at once end on the server in nothing that the model does not allow.

mod server;

use deadheat::drive::postgres::conformance::Coverage;
use deadheat::drive::postgres::conformance::overlap::{Meeting, OVERLAPS, Overlaps, Plan, SCHEMA, meet, overlaps};
use deadheat::drive::postgres::source::Server;
use deadheat::drive::postgres::stage::Stage;
use deadheat::explore::{Options, explore};

fn meeting(sessions: &[&[&str]]) -> Meeting {
    let owned = |statements: &&[&str]| statements.iter().map(|text| (*text).to_owned()).collect();
    Meeting {
        sessions: sessions.iter().map(owned).collect(),
        coverage: Coverage::default(),
    }
}

fn both_sides_tell_an_outcome_alike(server: &Server) {
    let mut stage = Stage::open(server, &[SCHEMA.into()]).expect("a stage");
    let mut found = Overlaps::default();
    for sessions in [
        [
            &["UPDATE t SET n = n + 1 WHERE id = 1 RETURNING n"][..],
            &[
                "UPDATE t SET n = n + 2 WHERE id = 1 RETURNING id, n",
                "SELECT k FROM t ORDER BY k",
            ],
        ],
        [
            &["BEGIN", "INSERT INTO t VALUES (3, 3, 0)", "COMMIT"],
            &["INSERT INTO t VALUES (4, 3, 0)"],
        ],
        [&["DELETE FROM t WHERE id = 2"], &["INSERT INTO c VALUES (1, 2)"]],
    ] {
        meet(&mut stage, meeting(&sessions), 20, &mut found).expect("the server is there");
    }
    for lacking in &found.lacking {
        eprintln!("{lacking}");
    }
    assert!(found.lacking.is_empty());
    assert_eq!((found.tries, found.unexplored), (60, 0));
    assert!(found.shown >= 3 && found.allowed >= 6, "{found:?}");
}

fn an_outcome_that_the_model_lacks_is_told(server: &Server) {
    // The planted mistake: the server's table has no key.
    let planted = "ALTER TABLE c DROP CONSTRAINT c_t_fkey; ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t DROP CONSTRAINT t_k_key";
    let mut stage = Stage::open(server, &[SCHEMA.into(), planted.into()]).expect("a stage");
    let mut found = Overlaps::default();
    let insert: &[&str] = &["INSERT INTO t VALUES (3, 3, 0)"];
    meet(&mut stage, meeting(&[insert, insert]), 5, &mut found).expect("the server is there");
    let told: Vec<String> = found.lacking.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("in 5 of 5 tries"), "{}", told[0]);
    assert!(told[0].contains("(3, 3, 0), (3, 3, 0)"), "{}", told[0]);
    assert!(told[0].contains("23505"), "what the model allows is told: {}", told[0]);
}

/// Who looks for a key waits for whoever is changing the row that has it, also where the change leaves the key alone. So an UPDATE whose snapshot misses the new
/// row must be able to stop before its first write.
#[test]
fn an_insert_that_meets_a_key_comes_between_a_snapshot_and_its_first_write() {
    let insert = "INSERT INTO t VALUES (3, 3, 0), (1, 4, 0) ON CONFLICT DO NOTHING RETURNING id";
    let sessions: [&[&str]; 2] = [
        &["UPDATE t SET n = n + 1 RETURNING id, n"],
        &[insert, "SELECT n FROM t WHERE id = 1"],
    ];
    let system = meeting(&sessions).system().expect("the model knows it");
    let reached = explore(&system, &Options::default()).outcomes;
    let allowed: Vec<String> = reached.iter().map(|reached| reached.outcome.to_string()).collect();
    let missed = "answers: (s0, 2 (1, 1) (2, 1)), (s1, 1 (3); 1 (0)); t: (1, 1, 1), (2, 2, 1), (3, 3, 0);";
    assert!(
        allowed.iter().any(|outcome| outcome.starts_with(missed)),
        "{allowed:#?}"
    );
}

#[test]
fn every_kind_of_overlap_is_generated() {
    let mut coverage = Coverage::default();
    for number in 0..200_u8 {
        let genes: Vec<Vec<u8>> = (0..2 + number % 2)
            .map(|session| {
                (0..12_u8)
                    .map(|place| number.wrapping_mul(31).wrapping_add(session * 7 + place * 13))
                    .collect()
            })
            .collect();
        coverage.merge(&Meeting::express(&genes).coverage);
    }
    let missed: Vec<&str> = OVERLAPS
        .iter()
        .copied()
        .filter(|name| coverage.hits(name) == 0)
        .collect();
    assert!(missed.is_empty(), "never generated: {missed:?}");
    let unlisted: Vec<&str> = coverage
        .iter()
        .map(|(name, _)| name)
        .filter(|name| !OVERLAPS.contains(name))
        .collect();
    assert!(unlisted.is_empty(), "not in the list: {unlisted:?}");
}

/// So many meetings; a thousand before a release, with `DEADHEAT_MEETINGS=1000`.
fn meetings() -> u32 {
    let asked = std::env::var("DEADHEAT_MEETINGS").ok();
    asked.map_or(40, |asked| asked.parse().expect("DEADHEAT_MEETINGS is a number"))
}

fn sessions_whose_statements_are_sent_at_once_meet(server: &Server) {
    let meetings = meetings();
    let plan = Plan {
        seed: 7_890,
        meetings,
        tries: 20,
    };
    let found = overlaps(server, plan).expect("the server is there");
    eprintln!(
        "{} tries: {} of {} outcomes shown, {} more that the model lacks",
        found.tries,
        found.shown,
        found.allowed,
        found.lacking.len()
    );
    for lacking in &found.lacking {
        eprintln!("{lacking}");
    }
    assert!(
        found.lacking.is_empty(),
        "the server does what the model does not allow"
    );
    assert_eq!((found.tries, found.unexplored), (20 * u64::from(meetings), 0));
    let ends = found.shown + found.lacking.len() as u64;
    assert!(ends > u64::from(plan.meetings), "each meeting ended in one way only");
}

/// One server for all of it: to start one takes longer than what is done there.
#[test]
fn statements_that_are_sent_at_once_are_compared() {
    let Some(server) = server::server() else { return };
    both_sides_tell_an_outcome_alike(&server);
    an_outcome_that_the_model_lacks_is_told(&server);
    sessions_whose_statements_are_sent_at_once_meet(&server);
}
