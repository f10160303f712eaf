//! What a format leaves out or writes in another way, nobody gets to read.

use std::path::PathBuf;
use std::sync::Arc;

use super::*;
use crate::report::{snapshot, violation};
use crate::system::{Action, Outcome, Step, Warning, WarningKind};

const PART: Evidence = Evidence::Truncated {
    limit: Limit::Shard(1, 2),
};

/// The scenario without an expected violation, at another path.
fn case(path: &str) -> Arc<Case> {
    let mut scenario = scenario(&FILE.replace("violates", "holds"));
    scenario.path = PathBuf::from(path);
    Arc::new(Case::new(scenario))
}

fn record(case: &Arc<Case>, finding: Finding, split: bool) -> Results {
    Results {
        records: vec![Record::new(case.clone(), finding, false, split)],
        postgres: None,
    }
}

fn brief(results: &Results) -> String {
    let detail = human::Detail {
        expected: false,
        paint: Paint::PLAIN,
    };
    human::report(results, detail)
}

#[test]
fn an_annotation_stands_at_what_is_expected_whatever_the_path_and_the_reason_have_in_them() {
    let case = case("scenarios/50%, all.toml");
    let mut stopped = finding(&case.scenario, Driver::Storm, Verdict::Unknown, STOPPED);
    stopped.reason = Some("at 50% of\nit".to_owned());
    let told = github::report(&record(&case, stopped, false));
    let wanted =
        "::error file=scenarios/50%25%2C all.toml,line=16,title=counter%3A%3Astorm::not decided: at 50%25 of%0Ait";
    assert_eq!(told.lines().next(), Some(wanted));
}

#[test]
fn a_part_of_an_exploration_passes_nowhere_for_a_proof() {
    let case = case("scenarios/counter.toml");
    let of = |evidence| finding(&case.scenario, Driver::Explore, Verdict::Unknown, evidence);
    let part = record(&case, of(PART), true);
    let xml = junit::report(&part);
    assert!(
        xml.contains("tests=\"1\" failures=\"0\" errors=\"0\" skipped=\"1\""),
        "{xml}"
    );
    assert!(xml.contains("<skipped message=\"a part of an exploration"), "{xml}");
    assert!(!xml.contains("<system-out>"), "{xml}");
    let complete = |results: &Results| one(results)["results"][0]["split"]["complete"].clone();
    assert_eq!(complete(&part), true);
    let stopped = record(&case, of(STOPPED), true);
    assert_eq!(complete(&stopped), false, "it did not come to its end");
    assert!(!stopped.is_ok());
}

#[test]
fn every_violated_promise_has_its_schedule_and_the_shortest_is_the_results() {
    let case = case("scenarios/counter.toml");
    let mut broken = finding(&case.scenario, Driver::Storm, Verdict::Violated, SAMPLED);
    let found = |steps: usize| {
        let known = broken.counterexample().expect("it is violated").clone();
        Counterexample {
            schedule: Schedule {
                fingerprint: known.schedule.fingerprint,
                steps: vec![Step::new(Action::Tick); steps],
            },
            shortest: false,
            ..known
        }
    };
    let (long, short) = (found(5), found(2));
    let tokens = [long.schedule.to_string(), short.schedule.to_string()];
    broken.invariants = vec![
        Judged::of("first", Some(long), Verdict::Held),
        Judged::of("second", Some(short), Verdict::Held),
    ];
    let object = one(&record(&case, broken, false));
    let result = &object["results"][0];
    let promised = |place: usize| result["invariants"][place]["schedule"].as_str().map(str::to_owned);
    assert_eq!([promised(0), promised(1)], tokens.clone().map(Some));
    assert_eq!(result["schedule"], tokens[1].as_str());
}

#[test]
fn what_a_verdict_rests_on_is_told_briefly_too() {
    let case = case("scenarios/counter.toml");
    let mut held = finding(&case.scenario, Driver::Explore, Verdict::Held, Evidence::Exhausted);
    held.assumptions = vec!["assumes that the planner reads the whole of pages".to_owned()];
    held.warnings = vec![Warning {
        line: 9,
        kind: WarningKind::NeverRefuses,
        process: "view".into(),
        sentence: "view: the condition is never true".to_owned(),
    }];
    let mut results = record(&case, held.clone(), false);
    let mut stormed = finding(&case.scenario, Driver::Storm, Verdict::Held, SAMPLED);
    stormed.reason = Some("2 storms were left out".to_owned());
    stormed.assumptions.clone_from(&held.assumptions);
    results.records.push(Record::new(case.clone(), stormed, false, false));
    let mut loomed = finding(&case.scenario, Driver::Loom, Verdict::Held, Evidence::Exhausted);
    loomed.bounds.own.push((Bounds::PREEMPTIONS, 1));
    results.records.push(Record::new(case.clone(), loomed, false, false));
    let told = brief(&results);
    for line in [
        "warning: never-refuses: view: the condition is never true (line 9)\n",
        "storm     not found in 256 samples (2 storms were left out)\n",
        "loom      not found within 1 preemption, 0 schedules\n",
    ] {
        assert!(told.contains(line), "no `{line}` in {told}");
    }
    let assumed = "counter assumes that the planner reads the whole of pages\n";
    assert_eq!(told.matches(assumed).count(), 1, "{told}");
    let object = one(&results);
    let warned = &object["results"][0]["warnings"];
    assert_eq!(warned[0], "never-refuses: view: the condition is never true (line 9)");
    assert_eq!(object["results"][1]["assumptions"][0], held.assumptions[0].as_str());
}

#[test]
fn a_line_to_paste_is_quoted_where_a_shell_would_cut_it() {
    let told = |path: &str| {
        let case = case(path);
        let broken = finding(&case.scenario, Driver::Explore, Verdict::Violated, Evidence::Exhausted);
        violation::replay_line(&case.scenario, broken.counterexample().expect("it is violated"))
    };
    assert!(told("scenarios/a_b.toml").starts_with("deadheat replay scenarios/a_b.toml 'dh1."));
    assert!(told("my scenarios/a.toml").starts_with("deadheat replay 'my scenarios/a.toml' 'dh1."));
}

#[test]
fn a_snapshot_lists_twelve_outcomes_with_what_they_break_and_counts_the_rest() {
    let case = case("scenarios/counter.toml");
    let mut held = finding(&case.scenario, Driver::Explore, Verdict::Held, Evidence::Exhausted);
    let reached = |number: usize| crate::explore::Reached {
        outcome: Outcome(vec![("pages".into(), vec![number.to_string()])]),
        count: 1,
        witness: None,
        breaks: if number == 3 {
            vec!["no-lost-update".into()]
        } else {
            Vec::new()
        },
    };
    held.outcomes = (1..=12).map(reached).collect();
    let twelve = snapshot::render(&case.scenario, &held);
    assert!(
        twelve.contains("\noutcomes: 12\n") && twelve.contains("  1× pages: 12\n"),
        "{twelve}"
    );
    assert!(twelve.contains("  1× pages: 3  (breaks no-lost-update)\n"), "{twelve}");
    assert!(!twelve.contains("more"), "{twelve}");
    held.outcomes.push(reached(13));
    let thirteen = snapshot::render(&case.scenario, &held);
    assert!(thirteen.ends_with("  1× pages: 12\n  … and 1 more\n"), "{thirteen}");
}
