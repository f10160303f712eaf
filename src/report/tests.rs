//! Each format with each verdict: none of them shows as passed what has not.

mod formats;
mod parts;

use std::sync::Arc;

use super::{github, human, json, junit, paint::Paint, told};
use crate::explore::{Bounds, Counterexample, Driver, Evidence, Finding, Judged, Limit, Stats, Verdict};
use crate::scenario::{Library, Scenario};
use crate::suite::{Case, Record, Results};
use crate::system::{Breach, Schedule};

const FILE: &str = r#"title = "A counter"
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
[expect]
violates = ["no-lost-update"]
"#;

fn scenario(text: &str) -> Scenario {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scenarios/counter.toml");
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, text).expect("a file");
    let loaded = Library::default().load_file(&path).expect("it is right");
    loaded.into_iter().next().expect("one scenario")
}

fn finding(scenario: &Scenario, driver: Driver, verdict: Verdict, evidence: Evidence) -> Finding {
    let spec = scenario.system.spec();
    let found = Counterexample {
        schedule: Schedule {
            fingerprint: spec.fingerprint(),
            steps: Vec::new(),
        },
        breach: Breach {
            invariant: "no-lost-update".into(),
            sentence: "a row breaks it: 1".into(),
            rows: Vec::new(),
            is_error: false,
        },
        decisive: Some(0),
        shortest: true,
    };
    let found = (verdict == Verdict::Violated).then_some(found);
    Finding {
        assumptions: Vec::new(),
        driver,
        verdict,
        evidence,
        invariants: vec![Judged::of("no-lost-update", found, verdict)],
        outcomes: Vec::new(),
        bounds: Bounds::of(spec),
        stats: Stats {
            states: 1_234,
            ..Stats::default()
        },
        reason: (!matches!(verdict, Verdict::Held | Verdict::Violated)).then(|| "stopped at 5 states".to_owned()),
        warnings: Vec::new(),
        unforced: Vec::new(),
    }
}

/// One scenario with what some drivers have found, judged and settled as a suite does.
fn results(text: &str, found: &[(Driver, Verdict, Evidence)], strict: bool) -> Results {
    let scenario = scenario(text);
    let case = Arc::new(Case::new(scenario));
    let record = |(driver, verdict, evidence): &(Driver, Verdict, Evidence)| {
        let finding = finding(&case.scenario, *driver, *verdict, evidence.clone());
        Record::new(case.clone(), finding, false, false)
    };
    let mut records: Vec<Record> = found.iter().map(record).collect();
    let seen: Vec<Arc<str>> = records.iter().flat_map(|record| record.finding.violated()).collect();
    records.iter_mut().for_each(|record| record.settle(&seen, strict));
    Results {
        records,
        postgres: None,
    }
}

const STOPPED: Evidence = Evidence::Truncated {
    limit: Limit::States(5),
};
const SAMPLED: Evidence = Evidence::Sampled { runs: 256, miss: None };

fn human(results: &Results) -> String {
    let detail = human::Detail {
        expected: true,
        paint: Paint::PLAIN,
    };
    human::report(results, detail)
}

fn one(results: &Results) -> serde_json::Value {
    serde_json::from_str(&json::report(results, None)).expect("JSON")
}

#[test]
fn unknown_is_a_failure_in_every_format() {
    let held = FILE.replace("violates", "holds");
    let results = results(&held, &[(Driver::Explore, Verdict::Unknown, STOPPED)], false);
    assert!(!results.is_ok());
    let told = human(&results);
    assert!(
        told.contains("✗ unknown") && told.contains("unknown: stopped at 5 states"),
        "{told}"
    );
    assert!(told.ends_with("1 scenario, 1 run: 1 not as expected\n"), "{told}");
    let object = one(&results);
    assert_eq!(object["ok"], false);
    assert_eq!(object["results"][0]["as_expected"], false);
    assert_eq!(object["results"][0]["reason"], "stopped at 5 states");
    let xml = junit::report(&results);
    assert!(
        xml.contains("tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\""),
        "{xml}"
    );
    assert!(
        xml.contains("<failure message=\"not decided: stopped at 5 states\" type=\"unknown\">"),
        "{xml}"
    );
    assert!(github::report(&results).starts_with("::error file="));
}

#[test]
fn an_error_is_an_error_and_what_was_skipped_is_counted() {
    let drivers = [
        (Driver::Explore, Verdict::Error, Evidence::Nothing),
        (Driver::Postgres, Verdict::Skipped, Evidence::Nothing),
    ];
    let results = results(FILE, &drivers, false);
    let xml = junit::report(&results);
    assert!(
        xml.contains("tests=\"2\" failures=\"0\" errors=\"1\" skipped=\"1\""),
        "{xml}"
    );
    assert!(
        xml.contains("<error message=") && xml.contains("<skipped message="),
        "{xml}"
    );
    let told = human(&results);
    assert!(
        told.ends_with("1 scenario, 2 runs, 1 skipped: 1 not as expected\n"),
        "{told}"
    );
    assert!(told.contains("postgres was skipped: stopped at 5 states"), "{told}");
    let object = one(&results);
    assert_eq!(object["results"][1]["verdict"], "skipped");
    assert_eq!(object["results"][1]["as_expected"], true);
    assert_eq!(object["ok"], false);
}

#[test]
fn what_holds_is_told_with_what_it_rests_on() {
    let held = FILE.replace("violates", "holds");
    let drivers = [
        (Driver::Explore, Verdict::Held, Evidence::Exhausted),
        (Driver::Storm, Verdict::Held, SAMPLED),
    ];
    let results = results(&held, &drivers, false);
    let told = human(&results);
    assert!(told.contains("explore   proved: 2 processes, 1,234 states\n"), "{told}");
    assert!(told.contains("storm     not found in 256 samples\n"), "{told}");
    assert!(told.contains("✓ proved") && told.contains("✓ not found"), "{told}");
    assert!(told.ends_with("1 scenario, 2 runs: all as expected\n"), "{told}");
    let object = one(&results);
    let promise = |place: usize| object["results"][place]["invariants"][0].clone();
    assert_eq!(promise(0)["verdict"], "held");
    assert_eq!(
        (&promise(0)["evidence"], &promise(1)["evidence"]),
        (&"exhausted".into(), &"sampled".into())
    );
    assert_eq!(object["results"][1]["told"], "not found in 256 samples");
    let xml = junit::report(&results);
    assert!(
        xml.contains("<system-out>proved: 2 processes, 1,234 states</system-out>"),
        "{xml}"
    );
}

#[test]
fn a_miss_is_no_failure_where_another_driver_has_a_schedule() {
    let drivers = [
        (Driver::Explore, Verdict::Violated, Evidence::Exhausted),
        (Driver::Storm, Verdict::Held, SAMPLED),
    ];
    let lenient = results(FILE, &drivers, false);
    let told = human(&lenient);
    assert!(
        told.contains("storm     not seen in 256 storms: no-lost-update\n"),
        "{told}"
    );
    assert!(
        !told.contains("held") && !told.contains("proved") && !told.contains("✗ not"),
        "{told}"
    );
    assert!(
        told.ends_with("1 scenario, 2 runs, 1 with a miss: all as expected\n"),
        "{told}"
    );
    let object = one(&lenient);
    assert_eq!(object["results"][1]["missed"][0], "no-lost-update");
    assert!(object["results"][0]["invariants"][0]["schedule"].is_string());
    let strict = results(FILE, &drivers, true);
    assert!(!strict.is_ok());
    let reason = strict.records[1].judged.clone().expect_err("a failure");
    assert_eq!(
        reason,
        "no-lost-update was not seen in 256 storms, which --strict makes a failure"
    );
    assert!(junit::report(&strict).contains("failures=\"1\""));
    // Nobody has seen it: then the expectation is not met.
    let alone = results(FILE, &drivers[1..], false);
    let reason = alone.records[0].judged.clone().expect_err("a failure");
    assert_eq!(
        reason,
        "no-lost-update should be violated and was not seen in 256 storms"
    );
    assert_eq!(alone.missed(), 1);
    // The explorer tries everything: it can't miss.
    let proof = [
        (Driver::Explore, Verdict::Held, Evidence::Exhausted),
        (Driver::Storm, Verdict::Violated, SAMPLED),
    ];
    assert!(results(FILE, &proof, false).records[0].judged.is_err());
}

#[test]
fn what_the_server_could_not_be_made_to_do_is_a_miss_of_it_and_the_rest_is_not() {
    let proven = (Driver::Explore, Verdict::Violated, Evidence::Exhausted);
    let settled = |unforced: &[&str]| {
        let mut all = results(FILE, std::slice::from_ref(&proven), false);
        let case = all.records[0].case.clone();
        let mut asked = finding(&case.scenario, Driver::Postgres, Verdict::Held, SAMPLED);
        asked.unforced = unforced.iter().map(|name| Arc::from(*name)).collect();
        let mut record = Record::new(case, asked, false, false);
        record.settle(&["no-lost-update".into()], false);
        all.records.push(record);
        all
    };
    let forced = settled(&[]);
    assert!(!forced.is_ok(), "the server took the schedule and nothing was broken");
    let unforced = settled(&["no-lost-update"]);
    assert!(unforced.is_ok(), "{}", human(&unforced));
    assert!(human(&unforced).contains("not seen"), "{}", human(&unforced));
}

#[test]
fn a_violation_from_the_start_has_no_decisive_step() {
    let results = results(
        FILE,
        &[(Driver::Explore, Verdict::Violated, Evidence::Exhausted)],
        false,
    );
    let told = human(&results);
    assert!(
        told.contains("decisive: none of them; every schedule breaks the promise"),
        "{told}"
    );
    assert!(!told.contains("step 0"), "{told}");
    let mut cut = results.clone();
    let judged = cut.records[0].finding.invariants[0].clone();
    let unrefined = judged.counterexample.map(|found| Counterexample {
        decisive: None,
        shortest: false,
        ..found
    });
    cut.records[0].finding.invariants[0] = Judged::of("no-lost-update", unrefined, Verdict::Held);
    let told = human(&cut);
    assert!(told.contains("decisive: not computed"), "{told}");
    assert!(told.contains("schedule: not known to be the shortest"), "{told}");
}

#[test]
fn loom_with_a_bound_proves_nothing() {
    let scenario = scenario(&FILE.replace("violates", "holds"));
    let mut finding = finding(&scenario, Driver::Loom, Verdict::Held, Evidence::Exhausted);
    finding.stats.schedules = 70;
    assert_eq!(
        told::finding(&finding),
        "proved: 2 processes, 1,234 states, 70 schedules"
    );
    finding.bounds.own.push((Bounds::PREEMPTIONS, 1));
    assert_eq!(told::finding(&finding), "not found within 1 preemption, 70 schedules");
}
