//! A run as one JSON object: a contract. Its fields are never renamed or removed within a version.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::suite::{Record, Results};

/// The version of the format.
pub const VERSION: u32 = 1;

/// The whole run.
#[derive(Debug, Serialize)]
struct Run<'a> {
    version: u32,
    ok: bool,
    results: Vec<One<'a>>,
}

/// One scenario with one driver.
#[derive(Debug, Serialize)]
struct One<'a> {
    scenario: &'a str,
    driver: &'a str,
    verdict: &'a str,
    as_expected: bool,
    violated: Vec<String>,
    schedule: Option<String>,
    evidence: &'a str,
    bounds: Map<String, Value>,
    stats: Stats,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Stats {
    states: u64,
    transitions: u64,
    schedules: u64,
    seconds: f64,
}

/// The run as JSON text with a line break at its end. Two runs differ in `seconds` only.
pub fn report(results: &Results) -> String {
    let run = Run {
        version: VERSION,
        ok: results.is_ok(),
        results: results.records.iter().map(one).collect(),
    };
    match serde_json::to_string_pretty(&run) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("a run is always JSON: {error}"),
    }
}

fn one(record: &Record) -> One<'_> {
    let finding = &record.finding;
    let mut violated: Vec<String> = finding.violated().iter().map(|name| name.to_string()).collect();
    violated.sort();
    let bounds = finding
        .bounds
        .list()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), Value::from(count)));
    let surprise = record.judged.as_ref().err();
    One {
        scenario: &record.case.scenario.name,
        driver: finding.driver.name(),
        verdict: finding.verdict.name(),
        as_expected: record.is_expected(),
        violated,
        schedule: finding.counterexample().map(|found| found.schedule.to_string()),
        evidence: finding.evidence.name(),
        bounds: bounds.collect(),
        stats: Stats {
            states: finding.stats.states,
            transitions: finding.stats.transitions,
            schedules: finding.stats.schedules,
            seconds: (finding.stats.seconds * 1000.0).round() / 1000.0,
        },
        reason: finding.reason.clone().or_else(|| surprise.cloned()),
    }
}
