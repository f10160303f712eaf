//! A verdict says what it is: proved within bounds, not found in so many samples, missed, cut off; and only what was asked for is run.

mod support;

use serde_json::Value;
use support::{HARDENED, Project, Told};

/// A lost update that one storm does not meet.
const COUNTER: &str = r#"title = "Two requests read a counter, add one, and write it back"
drivers = ["explore", "storm"]

[world]
schema = "create table pages (id bigint primary key, views bigint not null);"
seed = "insert into pages values (1, 0);"

[[process]]
name = "view"
count = 2
steps = '''
p := select views from pages where id = 1;
update pages set views = :p.views + 1 where id = 1;
respond 200;
'''

[[invariant]]
name = "no-lost-update"
query = "select views from pages where views <> (select count(*) from responses where status = 200)"

[[invariant]]
name = "no-gain"
query = "select views from pages where views > 2"

[storm]
cases = 1

[expect]
violates = ["no-lost-update"]
holds = ["no-gain"]

[[variant]]
name = "in-one-statement"
expect = { holds = ["no-lost-update"] }
[[variant.process]]
name = "view"
steps = '''
update pages set views = views + 1 where id = 1;
respond 200;
'''
"#;

fn parsed(told: &Told) -> Value {
    serde_json::from_str(&told.stdout).expect("one JSON object")
}

#[test]
fn a_storm_that_misses_what_is_proved_does_not_fail_the_run() {
    let project = Project::with(COUNTER);
    let told = project.deadheat(&["run", "scenarios/case.toml#base", "--driver", "explore,storm"]);
    told.complains("scenarios/case.toml has no variant `base`; it has `in-one-statement`");
    let told = project.deadheat(&["run"]).exits(0);
    told.says("storm     not seen in 1 storm: no-lost-update")
        .says("explore   proved: 2 processes,")
        .says("storm     not found in 1 sample")
        .says("2 scenarios, 4 runs, 1 with a miss: all as expected");
    assert!(!told.stdout.contains("held"), "{told}");
    project
        .deadheat(&["run", "--strict"])
        .exits(1)
        .says("no-lost-update was not seen in 1 storm, which --strict makes a failure");
    // Alone it has nothing to lean on.
    project
        .deadheat(&["run", "--driver", "storm"])
        .exits(1)
        .says("no-lost-update should be violated and was not seen in 1 storm");
}

#[test]
fn the_json_has_every_promise_with_its_evidence_and_a_schedule_for_each_violated_one() {
    let project = Project::with(COUNTER);
    let object = parsed(&project.deadheat(&["run", "--format", "json"]).exits(0));
    let [explored, stormed] = [0, 1].map(|place| object["results"][place].clone());
    let promise = |result: &Value, name: &str| -> Value {
        let all = result["invariants"].as_array().expect("a list");
        all.iter().find(|one| one["name"] == name).expect("it is there").clone()
    };
    let broken = promise(&explored, "no-lost-update");
    assert_eq!((&broken["verdict"], &broken["shortest"]), (&"violated".into(), &true.into()));
    let schedule = broken["schedule"].as_str().expect("a schedule");
    project
        .deadheat(&["replay", "scenarios/case.toml", schedule])
        .says("no-lost-update is violated");
    let kept = promise(&explored, "no-gain");
    assert_eq!((&kept["verdict"], &kept["evidence"]), (&"held".into(), &"exhausted".into()));
    assert!(kept["schedule"].is_null());
    assert_eq!(promise(&stormed, "no-gain")["evidence"], "sampled");
    assert_eq!(stormed["missed"][0], "no-lost-update");
}

#[test]
fn one_variant_and_several_drivers_can_be_asked_for() {
    let project = Project::with(COUNTER);
    let run = ["run", "scenarios/case.toml#in-one-statement", "--format", "json"];
    let names = |told: &Told| -> Vec<String> {
        let object = parsed(told);
        let results = object["results"].as_array().expect("results").iter();
        let name = |result: &Value| format!("{}::{}", result["scenario"], result["driver"]).replace('"', "");
        results.map(name).collect()
    };
    let explored = project.deadheat(&[&run[..], &["--driver", "explore"]].concat()).exits(0);
    assert_eq!(names(&explored), ["case#in-one-statement::explore"]);
    for list in [&["--driver", "explore,storm"][..], &["--driver", "explore", "--driver", "storm"]] {
        let told = project.deadheat(&[&run[..], list].concat()).exits(0);
        assert_eq!(names(&told), ["case#in-one-statement::explore", "case#in-one-statement::storm"]);
    }
    project.write("scenarios/plain.toml", HARDENED);
    project
        .deadheat(&["run", "scenarios/plain.toml#x"])
        .exits(2)
        .complains("has no variants, so none is called `x`");
}

#[test]
fn a_bounded_loom_says_how_far_it_looked() {
    let bounded = COUNTER
        .replace("drivers = [\"explore\", \"storm\"]", "drivers = [\"explore\", \"loom\"]")
        .replace("[storm]\ncases = 1", "[limits]\npreemptions = 0");
    let project = Project::with(&bounded);
    let told = project.deadheat(&["run"]).exits(0);
    told.says("loom      not seen within 0 preemptions: no-lost-update")
        .says("loom      not found within 0 preemptions,");
    assert!(!told.stdout.contains("every schedule"), "{told}");
}

/// Nobody asked for loom: it must not cost more than what it is a second opinion to.
#[test]
fn loom_is_skipped_by_default_where_a_small_budget_does_not_suffice() {
    let large = COUNTER
        .replace("drivers = [\"explore\", \"storm\"]\n", "")
        .replace("count = 2", "count = 4")
        .replace("violates = [\"no-lost-update\"]\nholds = [\"no-gain\"]", "violates = [\"no-gain\"]");
    let small = COUNTER.replace("drivers = [\"explore\", \"storm\"]\n", "");
    let project = Project::with(&small);
    let verdict = |project: &Project| {
        let run = ["run", "scenarios/case.toml#in-one-statement", "--format", "json"];
        let loomed = parsed(&project.deadheat(&[&run[..], &["--driver", "explore,loom"]].concat()));
        loomed["results"][1]["verdict"].clone()
    };
    assert_eq!(verdict(&project), "held");
    project.write("scenarios/case.toml", &large);
    let without = [("DEADHEAT_POSTGRES_SOURCE", "docker"), ("DOCKER_HOST", "unix:///nonexistent/docker.sock")];
    let run = ["run", "scenarios/case.toml#in-one-statement", "--format", "json"];
    let all = parsed(&project.deadheat_with(&run, &without));
    let loomed = all["results"].as_array().expect("results").iter().find(|one| one["driver"] == "loom");
    let loomed = loomed.expect("it is told");
    assert_eq!(loomed["verdict"], "skipped");
    let reason = loomed["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("it would run more than 2000 schedules"), "{reason}");
}

/// Both the file and the command may say how long a driver may take: the smaller counts, whichever it is.
#[test]
fn the_smaller_of_two_limits_of_time_counts() {
    let slow = COUNTER
        .replace("drivers = [\"explore\", \"storm\"]", "drivers = [\"shuttle\"]")
        .replace("[storm]\ncases = 1", "[limits]\nschedules = 1000000\nseconds = 600");
    let project = Project::with(&slow);
    let run = ["run", "--format", "json", "scenarios/case.toml#in-one-statement"];
    let object = parsed(&project.deadheat(&[&run[..], &["--max-time", "1"]].concat()).exits(1));
    let reason = object["results"][0]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.starts_with("stopped at 1 s after "), "{reason}");
    project.write("scenarios/case.toml", &slow.replace("seconds = 600", "seconds = 1"));
    let object = parsed(&project.deadheat(&[&run[..], &["--max-time", "600"]].concat()).exits(1));
    assert_eq!(object["results"][0]["verdict"], "unknown");
}

/// The states differ in the catalogue alone, and only one order of them fails.
#[test]
fn an_index_that_was_there_for_a_moment_breaks_nothing() {
    let migration = r#"title = "An index that comes and goes beside an update"
drivers = ["explore", "shuttle"]
[world]
schema = "create table t (id int primary key, v int not null default 0);"
seed = "insert into t (id) values (1), (2);"
[[process]]
name = "migration"
steps = '''
create unique index i on t (v, id);
drop index i;
respond 200;
'''
[[process]]
name = "other"
steps = '''
update t set v = v + 1 where id = 1;
respond 200;
'''
[[invariant]]
name = "no-server-error"
query = "select process, body from responses where status >= 500"
"#;
    let project = Project::with(migration);
    project.deadheat(&["run"]).exits(0).says("explore   proved: 2 processes,");
    let early = migration.replace("update t set", "update t set").replace(
        "update t set v = v + 1 where id = 1;",
        "insert into u values (1);",
    );
    let early = early.replace("drop index i;", "").replace("create unique index i on t (v, id);", "create table u (id int);");
    let project = Project::with(&early.replace("[[invariant]]", "[expect]\nviolates = [\"no-server-error\"]\n[[invariant]]"));
    // Whether the table is there is seen by whoever asks for it by name, though the statement touches no row.
    project.deadheat(&["run", "--driver", "explore"]).exits(0).says("final states");
}
