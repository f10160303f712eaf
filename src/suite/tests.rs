//! What a suite makes of what its drivers say.

use std::sync::Arc;
use std::time::Duration;

use super::{Case, Drivers, Plan, Teller, run};
use crate::explore::{Driver, Evidence, Limit, Options, Verdict};
use crate::scenario::{Library, Scenario};
use crate::system::{Breach, Invariant, System, View, When};

fn scenario(text: &str) -> Scenario {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("case.toml");
    std::fs::write(&path, text).expect("a file");
    let loaded = Library::default().load_file(&path).expect("it is right");
    loaded.into_iter().next().expect("one scenario")
}

/// Which drivers, on one statement that two processes send, with a promise.
fn text(drivers: &str, statement: &str, promise: &str) -> String {
    format!(
        r#"title = "A table of numbers"
drivers = [{drivers}]
[world]
schema = "create table t (id int primary key, n int not null);"
seed = "insert into t values (1, 0);"
[[process]]
name = "p"
count = 2
steps = '''
{statement}
respond 200;
'''
[[invariant]]
name = "small"
query = "{promise}"
"#
    )
}

#[derive(Debug)]
struct Panics;

impl Invariant for Panics {
    fn name(&self) -> &str {
        "panics"
    }

    fn promise(&self) -> &str {
        "nothing"
    }

    fn when(&self) -> When {
        When::Always
    }

    fn check(&self, _view: &View<'_>) -> Result<(), Breach> {
        panic!("it can't count")
    }
}

#[test]
fn a_driver_that_panics_is_an_error_and_no_skip() {
    let mut scenario = scenario(&text(
        "\"explore\"",
        "update t set n = n + 1;",
        "select id from t where n > 9",
    ));
    let mut spec = scenario.system.spec().clone();
    spec.invariants = vec![Arc::new(Panics)];
    scenario.system = System::new(spec);
    let record = Arc::new(Case::new(scenario)).run(Driver::Explore, &Drivers::default(), None);
    assert_eq!(record.finding.verdict, Verdict::Error);
    assert!(!record.is_expected());
    let reason = record.finding.reason.unwrap_or_default();
    assert!(reason.ends_with("a mistake in deadheat: it can't count"), "{reason}");
}

fn ran(scenario: Scenario) -> super::Results {
    let teller: Teller = Arc::new(|_| {});
    run(vec![scenario], &Plan::default(), &Drivers::default(), &teller)
}

/// The statement hangs on the server's plan whoever runs it.
#[test]
fn what_is_taken_for_granted_is_told_with_each_verdict() {
    let joined = "select t.id from t join (select id from t order by id limit 1 for update) x on x.id = t.id;";
    let results = ran(scenario(&text(
        "\"explore\", \"shuttle\"",
        joined,
        "select id from t where n > 9",
    )));
    let assumed: Vec<usize> = results
        .records
        .iter()
        .map(|record| record.finding.assumptions.len())
        .collect();
    assert_eq!(assumed, [1, 1], "{:?}", results.records[0].finding.assumptions);
}

/// An order that takes several switches: one storm does not meet it.
const ZIGZAG: &str = r#"title = "Two requests write two lines each into one log"
drivers = ["shuttle", "storm"]
[world]
schema = "create table log (id bigint primary key, line int not null); create table last (id bigint not null);"
seed = "insert into last values (0);"
[[process]]
name = "writer"
params = [{ me = 1 }, { me = 2 }]
steps = '''
a := update last set id = id + 1 returning id;
insert into log values (:a.id, :me);
b := update last set id = id + 1 returning id;
insert into log values (:b.id, :me);
respond 200;
'''
[[invariant]]
name = "no-zigzag"
query = "select 1 from log a, log b, log c, log d where a.id < b.id and b.id < c.id and c.id < d.id and a.line <> b.line and b.line <> c.line and c.line <> d.line"
[storm]
cases = 1
[expect]
violates = ["no-zigzag"]
"#;

/// What one driver has a schedule for is no failure of another one that samples, whichever of them that is.
#[test]
fn a_miss_is_no_failure_where_any_other_driver_has_a_schedule() {
    let results = ran(scenario(ZIGZAG));
    let told: Vec<(Driver, Verdict, bool)> = results
        .records
        .iter()
        .map(|record| (record.finding.driver, record.finding.verdict, record.is_expected()))
        .collect();
    let wanted = [
        (Driver::Shuttle, Verdict::Violated, true),
        (Driver::Storm, Verdict::Held, true),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_limit_of_memory_is_in_mebibytes() {
    let file = text("\"explore\"", "update t set n = n + 1;", "select id from t where n > 9");
    let results = ran(scenario(
        &file.replace("[[process]]", "[limits]\nmemory = 64\n[[process]]"),
    ));
    assert_eq!(
        results.records[0].finding.verdict,
        Verdict::Held,
        "64 MiB are enough for it"
    );
}

#[test]
fn storms_have_as_many_clients_as_the_file_says() {
    let file = text("\"storm\"", "update t set n = n + 1;", "select id from t where n > 9");
    let results = ran(scenario(
        &file.replace("[[process]]", "[storm]\nclients = 5\ncases = 1\n[[process]]"),
    ));
    assert_eq!(results.records[0].finding.bounds.own, [("clients", 5)]);
}

/// No time at all stops every driver of a suite, and none of them says then that something holds.
#[test]
fn a_limit_of_time_is_one_for_every_driver() {
    let all = "\"explore\", \"loom\", \"shuttle\", \"storm\"";
    let scenario = scenario(&text(all, "update t set n = n + 1;", "select id from t where n > 9"));
    let drivers = Drivers {
        explore: Options {
            max_time: Some(Duration::ZERO),
            ..Options::default()
        },
        ..Drivers::default()
    };
    let teller: Teller = Arc::new(|_| {});
    let results = run(vec![scenario], &Plan::default(), &drivers, &teller);
    assert_eq!(results.records.len(), 4);
    for record in &results.records {
        let limit = Limit::Seconds(0);
        assert_eq!(
            record.finding.evidence,
            Evidence::Truncated { limit },
            "{}",
            record.name()
        );
        assert!(!record.is_expected(), "{}", record.name());
    }
}
