//! Parts that are joined come out as the whole, and never as more than is there.

use serde_json::{Value, json};

use crate::report::json::Run;
use crate::report::paint::Paint;
use crate::report::shards::{merge, read, table};
use crate::system::{Action, Schedule, Step};

fn token(steps: usize) -> String {
    let schedule = Schedule {
        fingerprint: 7,
        steps: vec![Step::new(Action::Tick); steps],
    };
    schedule.to_string()
}

fn shard(part: u32, of: u32, results: &[Value]) -> Run {
    let run = json!({"version": 1, "ok": true, "shard": {"part": part, "of": of}, "results": results});
    read(&run.to_string()).expect("a shard")
}

/// A whole scenario of a suite that was dealt out.
fn dealt(scenario: &str, verdict: &str) -> Value {
    json!({
        "scenario": scenario, "driver": "explore", "verdict": verdict, "as_expected": true, "violated": [],
        "schedule": null, "evidence": "exhausted", "bounds": {"processes": 2}, "reason": null,
        "stats": {"states": 10, "transitions": 20, "schedules": 0, "seconds": 0.5},
    })
}

/// A part of an exploration; `broken` has the promises that it violates, with the steps of their schedules.
fn part(complete: bool, broken: &[(&str, usize)]) -> Value {
    let mut one = dealt("split", if broken.is_empty() { "unknown" } else { "violated" });
    let promises = ["a", "b"].map(|name| {
        let found = broken.iter().find(|(known, _)| *known == name);
        json!({
            "name": name, "verdict": if found.is_some() { "violated" } else { "unknown" }, "evidence": "truncated",
            "breach": null, "schedule": found.map(|(_, steps)| token(*steps)), "shortest": false, "decisive": null,
        })
    });
    let names: Vec<&str> = broken.iter().map(|(name, _)| *name).collect();
    one["violated"] = json!(names);
    one["schedule"] = json!(broken.iter().map(|(_, steps)| *steps).min().map(token));
    one["evidence"] = json!("truncated");
    one["reason"] = json!(if complete {
        "stopped at shard 1 of 2"
    } else {
        "stopped at 5 states"
    });
    one["invariants"] = json!(promises);
    one["split"] = json!({"complete": complete, "violates": []});
    one
}

fn merged(shards: Vec<Run>) -> (bool, Value, String) {
    let run = merge(shards).expect("shards of one run");
    let object: Value = serde_json::from_str(&run.text()).expect("JSON");
    (run.ok, object["results"].clone(), table(&run, Paint::PLAIN))
}

#[test]
fn all_parts_of_an_exploration_prove_what_none_of_them_has_broken() {
    let (ok, results, told) = merged(vec![shard(2, 2, &[part(true, &[])]), shard(1, 2, &[part(true, &[])])]);
    assert!(ok);
    assert_eq!(results.as_array().map(Vec::len), Some(1));
    let one = &results[0];
    assert_eq!(
        (&one["verdict"], &one["evidence"]),
        (&"held".into(), &"exhausted".into())
    );
    let promise = &one["invariants"][1];
    assert_eq!(
        (&promise["verdict"], &promise["evidence"]),
        (&"held".into(), &"exhausted".into())
    );
    assert_eq!(
        (&one["stats"]["states"], &one["stats"]["seconds"]),
        (&20.into(), &1.0.into())
    );
    assert!(told.contains("✓ proved: 2 processes, 20 states"), "{told}");
}

#[test]
fn a_part_that_was_stopped_or_is_not_there_leaves_the_whole_undecided() {
    let whole = || part(true, &[]);
    for shards in [
        vec![shard(1, 2, &[whole()]), shard(2, 2, &[part(false, &[])])],
        vec![shard(1, 2, &[part(false, &[])]), shard(2, 2, &[whole()])],
    ] {
        let (ok, results, told) = merged(shards);
        assert!(!ok);
        assert_eq!(results[0]["verdict"], "unknown");
        assert_eq!(results[0]["invariants"][0]["verdict"], "unknown");
        assert!(told.contains("not decided: stopped at 5 states"), "{told}");
    }
    let (ok, results, told) = merged(vec![shard(2, 2, &[whole()])]);
    assert!(!ok);
    assert_eq!(results[0]["verdict"], "unknown");
    assert!(told.contains("not decided: shard 1 is missing"), "{told}");
}

#[test]
fn what_any_part_has_broken_is_broken_by_the_shorter_schedule() {
    let (ok, results, _) = merged(vec![
        shard(1, 2, &[part(true, &[("b", 9)])]),
        shard(2, 2, &[part(true, &[("a", 8), ("b", 4)])]),
    ]);
    assert!(!ok, "nobody expected it");
    let one = &results[0];
    assert_eq!(one["verdict"], "violated");
    assert_eq!(one["violated"], json!(["a", "b"]));
    assert_eq!(one["schedule"], token(4).as_str());
    assert_eq!(one["invariants"][0]["schedule"], token(8).as_str());
    assert_eq!(one["invariants"][1]["schedule"], token(4).as_str());
}

#[test]
fn a_suite_that_was_dealt_out_comes_back_in_its_order_and_whole() {
    let first = || shard(1, 2, &[dealt("a", "held"), dealt("c", "held")]);
    let second = || shard(2, 2, &[dealt("b", "skipped")]);
    let (ok, results, told) = merged(vec![second(), first()]);
    assert!(ok);
    let names: Vec<&str> = results
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["scenario"].as_str())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert!(told.ends_with("3 runs, 1 skipped: all as expected\n"), "{told}");
    let (ok, _, told) = merged(vec![first()]);
    assert!(!ok, "what is not there is not as expected");
    assert!(told.ends_with("2 runs: a shard is missing\n"), "{told}");
    let twice = merge(vec![first(), second(), first()]).expect_err("one is there twice");
    assert_eq!(twice.to_string(), "shard 1 is there twice");
    let foreign = merge(vec![first(), shard(3, 3, &[])]).expect_err("it is of another run");
    assert!(
        foreign.to_string().starts_with("shard 3 of 3 does not belong"),
        "{foreign}"
    );
}
