//! A verdict says what it is: proved within bounds, not found in so many samples, missed, cut off; and only what was asked for is run.

mod support;

use serde_json::Value;
use support::{HARDENED, Project, Told};

/// An order that takes several switches: one storm does not meet it.
const COUNTER: &str = r#"title = "Two requests write two lines each into one log"
drivers = ["explore", "storm"]

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

[[invariant]]
name = "no-third"
query = "select line from log where line > 2"

[storm]
cases = 1

[expect]
violates = ["no-zigzag"]
holds = ["no-third"]

[[variant]]
name = "at-once"
expect = { holds = ["no-zigzag"] }
[[variant.process]]
name = "writer"
steps = '''
insert into log values (:me * 2, :me), (:me * 2 + 1, :me);
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
    told.complains("scenarios/case.toml has no variant `base`; it has `at-once`");
    let told = project.deadheat(&["run"]).exits(0);
    told.says("storm     not seen in 1 storm: no-zigzag")
        .says("explore   proved: 2 processes,")
        .says("storm     not found in 1 sample")
        .says("2 scenarios, 4 runs, 1 with a miss: all as expected");
    assert!(!told.stdout.contains("held"), "{told}");
    project
        .deadheat(&["run", "--strict"])
        .exits(1)
        .says("no-zigzag was not seen in 1 storm, which --strict makes a failure");
    // Alone it has nothing to lean on.
    project
        .deadheat(&["run", "--driver", "storm"])
        .exits(1)
        .says("no-zigzag should be violated and was not seen in 1 storm");
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
    let broken = promise(&explored, "no-zigzag");
    assert_eq!(
        (&broken["verdict"], &broken["shortest"]),
        (&"violated".into(), &true.into())
    );
    let schedule = broken["schedule"].as_str().expect("a schedule");
    project
        .deadheat(&["replay", "scenarios/case.toml", schedule])
        .says("no-zigzag is violated");
    let kept = promise(&explored, "no-third");
    assert_eq!(
        (&kept["verdict"], &kept["evidence"]),
        (&"held".into(), &"exhausted".into())
    );
    assert!(kept["schedule"].is_null());
    assert_eq!(promise(&stormed, "no-third")["evidence"], "sampled");
    assert_eq!(stormed["missed"][0], "no-zigzag");
}

#[test]
fn one_variant_and_several_drivers_can_be_asked_for() {
    let project = Project::with(COUNTER);
    let run = ["run", "scenarios/case.toml#at-once", "--format", "json"];
    let names = |told: &Told| -> Vec<String> {
        let object = parsed(told);
        let results = object["results"].as_array().expect("results").iter();
        let name = |result: &Value| format!("{}::{}", result["scenario"], result["driver"]).replace('"', "");
        results.map(name).collect()
    };
    let explored = project
        .deadheat(&[&run[..], &["--driver", "explore"]].concat())
        .exits(0);
    assert_eq!(names(&explored), ["case#at-once::explore"]);
    for list in [
        &["--driver", "explore,storm"][..],
        &["--driver", "explore", "--driver", "storm"],
    ] {
        let told = project.deadheat(&[&run[..], list].concat()).exits(0);
        assert_eq!(names(&told), ["case#at-once::explore", "case#at-once::storm"]);
    }
    project.write("scenarios/plain.toml", HARDENED);
    project
        .deadheat(&["run", "scenarios/plain.toml#x"])
        .exits(2)
        .complains("has no variants, so none is called `x`");
}

/// Nobody waits here for a lock, where a switch would be none of loom's preemptions; so the answer to an answer takes two of them.
const TALK: &str = r#"title = "Two processes answer each other in one log"
drivers = ["explore", "loom"]

[world]
schema = "create table log (id int not null);"

[limits]
preemptions = 1

[[process]]
name = "first"
steps = '''
insert into log values (1);
insert into log select 3 from log where id = 2;
respond 200;
'''

[[process]]
name = "second"
steps = '''
insert into log select 2 from log where id = 1;
insert into log select 4 from log where id = 3;
respond 200;
'''

[[invariant]]
name = "no-fourth"
query = "select id from log where id = 4"

[expect]
violates = ["no-fourth"]

[[variant]]
name = "quiet"
expect = { holds = ["no-fourth"] }
[[variant.process]]
name = "second"
steps = '''
insert into log select 2 from log where id = 1;
respond 200;
'''
"#;

#[test]
fn a_bounded_loom_says_how_far_it_looked() {
    let project = Project::with(TALK);
    let told = project.deadheat(&["run"]).exits(0);
    told.says("loom      not seen within 1 preemption: no-fourth")
        .says("loom      not found within 1 preemption,");
    assert!(!told.stdout.contains("every schedule"), "{told}");
    let two = Project::with(&TALK.replace("preemptions = 1", "preemptions = 2"));
    two.deadheat(&["run"]).exits(0).says("loom      violated: no-fourth");
}

/// Nobody asked for loom: it must not cost more than what it is a second opinion to.
#[test]
fn loom_is_skipped_by_default_where_a_small_budget_does_not_suffice() {
    // Eight steps each: 16! / (8! 8!) = 12,870 orders.
    let more = format!(":me);\n{}respond 200;", "update last set id = 0;\n".repeat(6));
    let large = COUNTER
        .replace("drivers = [\"explore\", \"storm\"]\n", "")
        .replace(":me);\nrespond 200;", &more);
    let small = COUNTER.replace("drivers = [\"explore\", \"storm\"]\n", "");
    let project = Project::with(&small);
    let without = [
        ("DEADHEAT_POSTGRES_SOURCE", "docker"),
        ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
    ];
    let loomed = |variant: &str| -> Value {
        let file = format!("scenarios/case.toml{variant}");
        let all = parsed(&project.deadheat_with(&["run", &file, "--format", "json"], &without));
        let results = all["results"].as_array().expect("results");
        let loomed = results.iter().find(|one| one["driver"] == "loom");
        loomed.expect("it is told").clone()
    };
    assert_eq!(loomed("#at-once")["verdict"], "held");
    project.write("scenarios/case.toml", &large);
    let loomed = loomed("#at-once");
    assert_eq!(loomed["verdict"], "skipped");
    let reason = loomed["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("it would run more than 2000 schedules"), "{reason}");
    // Who asks for loom by name gets it, as far as the time goes.
    let file = "scenarios/case.toml#at-once";
    let named = ["run", file, "--driver", "loom", "--max-time", "1", "--format", "json"];
    let asked = parsed(&project.deadheat_with(&named, &without));
    assert_ne!(asked["results"][0]["verdict"], "skipped", "{asked}");
}

/// Both the file and the command may say how long a driver may take: the smaller counts, whichever it is.
#[test]
fn the_smaller_of_two_limits_of_time_counts() {
    let slow = COUNTER
        .replace("drivers = [\"explore\", \"storm\"]", "drivers = [\"shuttle\"]")
        .replace("[storm]\ncases = 1", "[limits]\nschedules = 1000000\nseconds = 600");
    let project = Project::with(&slow);
    let run = ["run", "--format", "json", "scenarios/case.toml#at-once"];
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
    project
        .deadheat(&["run"])
        .exits(0)
        .says("explore   proved: 2 processes,");
    let early = migration.replace("update t set v = v + 1 where id = 1;", "insert into u values (1);");
    let early = early
        .replace("drop index i;", "")
        .replace("create unique index i on t (v, id);", "create table u (id int);");
    let project = Project::with(&early.replace(
        "[[invariant]]",
        "[expect]\nviolates = [\"no-server-error\"]\nerrors = [\"42P01\"]\n[[invariant]]",
    ));
    // Whether the table is there is seen by whoever asks for it by name, though the statement touches no row.
    project
        .deadheat(&["run", "--driver", "explore"])
        .exits(0)
        .says("final states");
}
