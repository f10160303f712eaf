//! What `deadheat run` prints for machines is a contract: five drivers, nothing skipped, evidence for each verdict, and the same bytes
//! every time; and what it prints to be pasted works when it is pasted.

mod server;
mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::{HARDENED, Project, Told};

const REPORTED: &str = include_str!("../scenarios/registration/partnercrm-as-reported.toml");

/// A bug and its cure, each with every driver; small, for loom's sake.
fn project() -> Project {
    let project = Project::empty();
    let small = REPORTED
        .replace("attempts = 3", "attempts = 2")
        .replace("timeouts = 2", "timeouts = 1");
    assert_ne!(small, REPORTED);
    project.write("scenarios/reported.toml", &small);
    let calm = HARDENED
        .replace("drivers = [\"explore\"]\n", "")
        .replace("timeouts = 1", "timeouts = 0");
    project.write("scenarios/cured.toml", &calm);
    project
}

/// The variables that say where a server is, as the test itself has them.
fn environment() -> Vec<(&'static str, String)> {
    const NAMES: [&str; 6] = [
        "PATH",
        "HOME",
        "DOCKER_HOST",
        "DEADHEAT_DATABASE_URL",
        "DEADHEAT_POSTGRES_IMAGE",
        "DEADHEAT_POSTGRES_SOURCE",
    ];
    let set = NAMES
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)));
    set.collect()
}

fn ask(project: &Project, arguments: &[&str]) -> Told {
    let environment = environment();
    let variables: Vec<(&str, &str)> = environment
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    project.deadheat_with(arguments, &variables)
}

/// The one object without what may differ between two runs.
fn timeless(told: &Told) -> Value {
    let mut object: Value = serde_json::from_str(&told.stdout).expect("one JSON object");
    for result in object["results"].as_array_mut().into_iter().flatten() {
        assert!(result["stats"]["seconds"].is_number(), "{result}");
        result["stats"]["seconds"] = Value::Null;
    }
    object
}

#[test]
fn the_json_has_every_driver_with_evidence_and_is_the_same_every_time() {
    if server::server().is_none() {
        return;
    }
    let project = project();
    let arguments = ["run", "--format", "json", "--require-postgres"];
    let first = timeless(&ask(&project, &arguments).exits(0));
    let second = timeless(&ask(&project, &arguments).exits(0));
    assert_eq!(first, second);

    assert_eq!((&first["version"], &first["ok"]), (&1.into(), &true.into()));
    let results = first["results"].as_array().expect("results");
    let runs: BTreeSet<(&str, &str)> = results
        .iter()
        .filter_map(|result| Some((result["scenario"].as_str()?, result["driver"].as_str()?)))
        .collect();
    for scenario in ["reported", "cured"] {
        for driver in ["explore", "loom", "shuttle", "storm", "postgres"] {
            assert!(
                runs.contains(&(scenario, driver)),
                "{scenario} with {driver} is missing"
            );
        }
    }
    for result in results {
        assert_eq!(result["as_expected"], true, "{result}");
        assert!(result["evidence"].is_string(), "{result}");
        assert!(result["bounds"]["processes"].is_number(), "{result}");
        match result["verdict"].as_str() {
            Some("violated") => assert!(
                result["schedule"]
                    .as_str()
                    .is_some_and(|token| token.starts_with("dh1.")),
                "{result}"
            ),
            verdict => assert_eq!(verdict, Some("held"), "{result}"),
        }
    }
}

#[test]
fn a_schedule_that_was_printed_replays_in_the_model_and_on_the_server() {
    if server::server().is_none() {
        return;
    }
    let project = project();
    let object = timeless(&ask(&project, &["run", "--format", "json"]).exits(0));
    let results = object["results"].as_array().into_iter().flatten();
    let violated: Vec<(&str, &str)> = results
        .filter(|result| result["verdict"] == "violated")
        .filter_map(|result| Some((result["driver"].as_str()?, result["schedule"].as_str()?)))
        .collect();
    assert_eq!(violated.len(), 5, "each driver has found the bug: {violated:?}");
    for (_, schedule) in &violated {
        for on in ["model", "postgres"] {
            let replayed = ask(&project, &["replay", "scenarios/reported.toml", schedule, "--on", on]);
            replayed
                .exits(0)
                .says("no-duplicate-customers")
                .says("INSERT INTO customers");
        }
    }
    let (_, schedule) = violated[0];
    ask(&project, &["replay", "scenarios/cured.toml", schedule])
        .exits(2)
        .complains("was recorded for scenario");
}

#[test]
fn a_mismatch_is_a_failure_in_every_format() {
    let project = Project::empty();
    let wrong = REPORTED.replace("violates = [\"no-duplicate-customers\"]", "violates = []");
    assert_ne!(wrong, REPORTED);
    project.write("scenarios/wrong.toml", &wrong);
    let run = |format: &str| {
        project
            .deadheat(&["run", "--driver", "explore", "--format", format])
            .exits(1)
    };
    run("human").says("no-duplicate-customers is violated");
    let object: Value = serde_json::from_str(&run("json").stdout).expect("JSON");
    assert_eq!(object["ok"], false);
    assert_eq!(object["results"][0]["as_expected"], false);
    run("junit")
        .says("<testsuite")
        .says("<failure")
        .says("no-duplicate-customers");
    run("github").says("::error file=scenarios/wrong.toml");
}

#[test]
fn the_causes_of_a_bug_are_told_by_name() {
    let project = project();
    ask(&project, &["explain", "scenarios/reported.toml"])
        .exits(0)
        .says("unique_index");
}

/// What the schema says of a file is what the reader says: every scenario of the project fits it, and a slip does not.
#[test]
fn every_scenario_fits_the_published_schema() {
    let printed = Project::empty().deadheat(&["schema"]).exits(0).stdout;
    let schema: Value = serde_json::from_str(&printed).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a JSON schema");
    let read = |text: &str| -> Value {
        let table: toml::Table = toml::from_str(text).expect("TOML");
        serde_json::to_value(table).expect("TOML is JSON but for times of day")
    };
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut count = 0;
    for file in deadheat::scenario::discover(&root).expect("scenarios") {
        let value = read(&std::fs::read_to_string(&file).expect("a file"));
        let said: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(said.is_empty(), "{}: {}", file.display(), said.join("; "));
        count += 1;
    }
    assert!(count > 40, "only {count} scenarios");
    for (right, slip) in [
        ("title =", "titel ="),
        ("[\"explore\"]", "\"explore\""),
        ("timeouts", "timeout"),
    ] {
        assert!(!validator.is_valid(&read(&HARDENED.replace(right, slip))), "{slip}");
    }
}
