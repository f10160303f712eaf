//! Every scenario of the domain is what it says: explored without a limit, it violates what it expects to violate and nothing else.

use std::path::Path;

use deadheat::explore::{Driver, Evidence, Options, explore};
use deadheat::scenario::{Kind, Library, Scenario};

fn scenarios(folder: &str) -> Vec<Scenario> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(folder);
    if !path.exists() {
        return Vec::new();
    }
    match Library::default().load(&path) {
        Ok(scenarios) => scenarios,
        Err(error) => panic!("{error}"),
    }
}

/// Explores every scenario of a folder; `DEADHEAT_ONLY` picks those whose names contain it.
fn check(folder: &str) {
    let only = std::env::var("DEADHEAT_ONLY").unwrap_or_default();
    let mut wrong = Vec::new();
    for scenario in scenarios(folder) {
        let explored = scenario.drivers.contains(&Driver::Explore) && matches!(scenario.kind, Kind::Domain(_));
        if !scenario.name.contains(&only) || !explored {
            continue;
        }
        let finding = explore(&scenario.system, &Options::default());
        let stats = finding.stats;
        eprintln!(
            "{}: {} ({}), {} states, {} finals, {:.1} s, violated {:?}",
            scenario.name,
            finding.verdict,
            finding.evidence,
            stats.states,
            stats.finals,
            stats.seconds,
            finding.violated()
        );
        if let Err(reason) = scenario.expect.judge(&finding) {
            wrong.push(format!("{}: {reason}", scenario.name));
        }
        if finding.evidence != Evidence::Exhausted {
            wrong.push(format!("{}: not exhausted", scenario.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn registration() {
    check("registration");
}

#[test]
fn payment() {
    check("payment");
}

#[test]
fn webhook() {
    check("webhook");
}

#[test]
fn ingestion() {
    check("ingestion");
}

#[test]
fn guard() {
    check("guard");
}
