//! A suite, or one exploration, done in parts on several machines or at several times, comes out as if it had been done at once.

mod support;

use serde_json::Value;
use support::{HARDENED, Project, Told};

/// Two clients who are taken for one another, and one who is not: large enough to be split.
const RACE: &str = r#"title = "Three who register one customer"
drivers = ["explore"]

[domain]
handler = "registration"

[[clients]]
attempts = 2

[[clients]]
attempts = 2

[[clients]]
attempts = 1
first_sent = "10:30:15"

[faults]
timeouts = 1
crashes = 1
"#;

/// The same with the bug that its first reporters had.
fn broken() -> String {
    let design = "handler = \"registration\"\n\n[domain.design]\nidempotency_key = \"ignored\"\n\
                  duplicate_check = \"select_then_insert\"\nunique_index = \"off\"\n";
    let expect = "\n[expect]\nviolates = [\"no-duplicate-customers\"]\n";
    RACE.replace("handler = \"registration\"\n", design) + expect
}

/// A run as JSON, without what differs between two runs.
fn parsed(told: &Told) -> Value {
    let mut run: Value = serde_json::from_str(&told.stdout).expect("JSON");
    for result in run["results"].as_array_mut().expect("results") {
        result["stats"]["seconds"] = Value::Null;
    }
    run
}

/// Runs every shard and keeps what it prints as `1.json` and so on.
fn run_shards(project: &Project, path: &str, of: u32) {
    for part in 1..=of {
        let shard = format!("{part}/{of}");
        let told = project
            .deadheat(&["run", path, "--shard", &shard, "--format", "json"])
            .exits(0);
        project.write(&format!("{part}.json"), &told.stdout);
    }
}

#[test]
fn a_suite_that_was_dealt_out_is_the_suite() {
    let project = Project::empty();
    for (number, scenario) in [HARDENED, RACE, &broken(), HARDENED, HARDENED].into_iter().enumerate() {
        project.write(&format!("scenarios/{number}.toml"), scenario);
    }
    let whole = parsed(&project.deadheat(&["run", "--format", "json"]).exits(0));
    run_shards(&project, "scenarios", 3);
    let merge = ["merge", "3.json", "1.json", "2.json"];
    let merged = project.deadheat(&[&merge[..], &["--format", "json"]].concat()).exits(0);
    assert_eq!(parsed(&merged), whole);
    project.deadheat(&merge).exits(0).says("5 runs: all as expected");
    let two = project.deadheat(&["merge", "1.json", "3.json"]).exits(1);
    two.says("a shard is missing");
}

#[test]
fn an_exploration_that_was_split_is_decided_when_all_parts_are_there() {
    let project = Project::with(RACE);
    run_shards(&project, "scenarios", 3);
    let part = std::fs::read_to_string(project.path().join("2.json")).expect("it was written");
    let part: Value = serde_json::from_str(&part).expect("JSON");
    assert_eq!(part["results"][0]["verdict"], "unknown");
    assert_eq!(part["results"][0]["evidence"], "truncated");
    let all = ["merge", "1.json", "2.json", "3.json", "--format", "json"];
    let merged = parsed(&project.deadheat(&all).exits(0));
    assert_eq!(merged["results"][0]["verdict"], "held");
    assert_eq!(merged["results"][0]["evidence"], "exhausted");
    let missing = project.deadheat(&["merge", "1.json", "3.json"]).exits(1);
    missing.says("not decided: shard 2 is missing");
}

#[test]
fn a_bug_in_one_part_is_a_bug_of_the_whole() {
    let project = Project::with(&broken());
    run_shards(&project, "scenarios", 2);
    let merged = project
        .deadheat(&["merge", "1.json", "2.json", "--format", "json"])
        .exits(0);
    let run = parsed(&merged);
    assert_eq!(run["results"][0]["violated"][0], "no-duplicate-customers");
    let schedule = run["results"][0]["schedule"].as_str().expect("a schedule");
    let replayed = project.deadheat(&["replay", "scenarios/case.toml", schedule]);
    replayed.says("no-duplicate-customers");
    // Where it is not expected, it is told by whichever part meets it.
    let project = Project::with(&broken().replace("violates", "holds"));
    let told = project
        .deadheat(&["run", "--shard", "1/2", "--format", "json"])
        .exits(1);
    project.write("1.json", &told.stdout);
    project.deadheat(&["merge", "1.json"]).exits(1).says("can be violated");
}

#[test]
fn what_is_no_shard_is_refused_by_name() {
    let project = Project::with(HARDENED);
    for shard in ["0/2", "3/2", "1", "a/b"] {
        project
            .deadheat(&["run", "--shard", shard])
            .exits(2)
            .complains("as in 2/4");
    }
    let whole = project.deadheat(&["run", "--format", "json"]).exits(0);
    project.write("whole.json", &whole.stdout);
    project.write("text.json", "{\n");
    project
        .deadheat(&["merge", "whole.json"])
        .exits(2)
        .complains("whole.json: it is no shard");
    project
        .deadheat(&["merge", "text.json"])
        .exits(2)
        .complains("text.json: it is not what");
    project
        .deadheat(&["merge", "nope.json"])
        .exits(2)
        .complains("nope.json");
    run_shards(&project, "scenarios", 2);
    project
        .deadheat(&["merge", "1.json", "1.json"])
        .exits(2)
        .complains("shard 1 is there twice");
    let of_three = project
        .deadheat(&["run", "--shard", "3/3", "--format", "json"])
        .exits(0);
    project.write("3.json", &of_three.stdout);
    project
        .deadheat(&["merge", "1.json", "3.json"])
        .exits(2)
        .complains("shard 3 of 3 does not belong to the others, which are 2");
}

#[test]
fn an_exploration_that_was_stopped_goes_on_from_its_file() {
    let project = Project::with(&format!("{RACE}\n[limits]\nstates = 300\n"));
    let run = ["run", "--checkpoint", "reached", "--format", "json"];
    let stopped = parsed(&project.deadheat(&run).exits(1));
    assert_eq!(stopped["results"][0]["verdict"], "unknown");
    project.write("scenarios/case.toml", RACE);
    let whole = parsed(&project.deadheat(&["run", "--format", "json"]).exits(0));
    let gone_on = parsed(&project.deadheat(&run).exits(0));
    // Parts do not know what the others touch, so they stop statements at every point: more states, the same answer.
    let states = |told: &serde_json::Value| told["results"][0]["stats"]["states"].as_u64();
    assert!(states(&gone_on) >= states(&whole));
    let answer = |mut told: serde_json::Value| {
        let result = told["results"][0].as_object_mut().expect("a result");
        result.remove("stats");
        result.remove("told");
        told
    };
    assert_eq!(answer(gone_on), answer(whole));
    // It is about this scenario, and whole.
    project.write("scenarios/case.toml", &broken());
    project
        .deadheat(&run)
        .exits(2)
        .complains("reached: it is about another scenario");
    project.write("reached", "something else\n");
    project
        .deadheat(&run)
        .exits(2)
        .complains("reached: it is not a whole checkpoint");
    project.write("scenarios/other.toml", HARDENED);
    project
        .deadheat(&run)
        .exits(2)
        .complains("--checkpoint is for one scenario");
    let folder = ["run", "scenarios/other.toml", "--checkpoint", "no/such/folder"];
    project.deadheat(&folder).exits(2).complains("no/such/folder");
}
