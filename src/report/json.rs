//! A run as one JSON object: a contract. Its fields are never renamed or removed within a version.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::told;
use crate::explore::{Evidence, Finding, Judged, Limit};
use crate::suite::{Record, Results};

/// The version of the format.
pub const VERSION: u32 = 1;

/// The whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub(super) version: u32,
    /// Whether everything is as expected.
    pub ok: bool,
    /// The part of the suite that was run, if not all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shard: Option<Part>,
    pub(super) results: Vec<One>,
}

/// A part of so many, both from 1; on the command line `2/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Which.
    pub part: u32,
    /// Of how many.
    pub of: u32,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Part, String> {
        let numbers = text
            .split_once('/')
            .and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((part, of)) if (1..=of).contains(&part) => Ok(Part { part, of }),
            _ => Err("a shard is its number and how many there are, as in 2/4".to_owned()),
        }
    }
}

/// One scenario with one driver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct One {
    pub(super) scenario: String,
    pub(super) driver: String,
    pub(super) verdict: String,
    pub(super) as_expected: bool,
    pub(super) violated: Vec<String>,
    pub(super) schedule: Option<String>,
    pub(super) evidence: String,
    pub(super) bounds: Map<String, Value>,
    pub(super) stats: Stats,
    pub(super) reason: Option<String>,
    /// The verdict in words, with what it rests on.
    #[serde(default)]
    pub(super) told: String,
    /// What is expected to be violated, and a driver that does not try everything did not see.
    #[serde(default)]
    pub(super) missed: Vec<String>,
    /// Each promise by itself.
    #[serde(default)]
    pub(super) invariants: Vec<Promise>,
    /// What the verdict takes for granted of the server's plans.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) assumptions: Vec<String>,
    /// What no schedule showed, one sentence each: what holds may hold for want of trying.
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    /// For an exploration that is a part of one: what is needed to join it with the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) split: Option<Split>,
}

/// What came out for one promise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Promise {
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) evidence: String,
    /// If it is violated: how, in a sentence.
    pub(super) breach: Option<String>,
    /// If it is violated: a schedule that shows it.
    pub(super) schedule: Option<String>,
    /// Whether no shorter one exists; false also where that is not known.
    pub(super) shortest: bool,
    /// The number of the step after which nothing keeps the promise, 0 if nothing ever does; `null` where that was not computed.
    pub(super) decisive: Option<usize>,
}

/// A part of an exploration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Split {
    /// Whether nothing but its end stopped it.
    pub(super) complete: bool,
    /// What is expected to be violated in all parts together.
    pub(super) violates: Vec<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Stats {
    pub(super) states: u64,
    pub(super) transitions: u64,
    pub(super) schedules: u64,
    pub(super) seconds: f64,
}

/// The run as JSON text with a line break at its end. Two runs differ in `seconds` only.
pub fn report(results: &Results, shard: Option<Part>) -> String {
    let run = Run {
        version: VERSION,
        ok: results.is_ok(),
        shard,
        results: results.records.iter().map(one).collect(),
    };
    run.text()
}

impl Run {
    /// As JSON text with a line break at its end.
    pub fn text(&self) -> String {
        match serde_json::to_string_pretty(self) {
            Ok(text) => text + "\n",
            Err(error) => unreachable!("a run is always JSON: {error}"),
        }
    }
}

fn promise(judged: &Judged, finding: &Finding) -> Promise {
    let found = judged.counterexample.as_ref();
    Promise {
        name: judged.invariant.to_string(),
        verdict: judged.verdict.name().to_owned(),
        evidence: finding.evidence.name().to_owned(),
        breach: found.map(|found| found.breach.sentence.clone()),
        schedule: found.map(|found| found.schedule.to_string()),
        shortest: found.is_some_and(|found| found.shortest),
        decisive: found.and_then(|found| found.decisive),
    }
}

fn one(record: &Record) -> One {
    let finding = &record.finding;
    let mut violated: Vec<String> = finding.violated().iter().map(|name| name.to_string()).collect();
    violated.sort();
    let bounds = finding
        .bounds
        .list()
        .into_iter()
        .map(|(name, count)| (name.to_owned(), Value::from(count)));
    let surprise = record.judged.as_ref().err();
    let complete = match finding.evidence {
        Evidence::Exhausted => true,
        Evidence::Truncated { limit } => matches!(limit, Limit::Shard(..)),
        _ => false,
    };
    let violates = &record.case.scenario.expect.violates;
    One {
        scenario: record.case.scenario.name.to_string(),
        driver: finding.driver.name().to_owned(),
        verdict: finding.verdict.name().to_owned(),
        as_expected: record.is_expected(),
        violated,
        schedule: finding.counterexample().map(|found| found.schedule.to_string()),
        evidence: finding.evidence.name().to_owned(),
        bounds: bounds.collect(),
        stats: Stats {
            states: finding.stats.states,
            transitions: finding.stats.transitions,
            schedules: finding.stats.schedules,
            seconds: (finding.stats.seconds * 1000.0).round() / 1000.0,
        },
        reason: finding.reason.clone().or_else(|| surprise.cloned()),
        told: told::record(record),
        missed: record.missed.iter().map(|name| name.to_string()).collect(),
        invariants: finding
            .invariants
            .iter()
            .map(|judged| promise(judged, finding))
            .collect(),
        assumptions: finding.assumptions.clone(),
        warnings: finding.warnings.iter().map(ToString::to_string).collect(),
        split: record.split.then(|| Split {
            complete,
            violates: violates.iter().map(|name| name.to_string()).collect(),
        }),
    }
}
