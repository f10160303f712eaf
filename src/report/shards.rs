//! The results of shards, joined into one run: what `deadheat merge` does.
//!
//! Nothing is held unless every shard is there, and each part of an exploration came to its end.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::json::{One, Part, Run, VERSION};
use super::paint::{Ink, Paint};
use crate::explore::{Evidence, Verdict};
use crate::scenario::Expect;
use crate::system::Schedule;

/// Why results can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum BadShards {
    /// Not what a run prints.
    #[error("it is not what `deadheat run --shard I/N --format json` prints: {0}")]
    NotARun(String),
    /// A run of everything.
    #[error("it is no shard: there is nothing to join it with")]
    NoShard,
    /// Shards of different runs.
    #[error("shard {part} of {of} does not belong to the others, which are {others}")]
    Foreign {
        /// The shard.
        part: u32,
        /// How many it says there are.
        of: u32,
        /// How many the first says there are.
        others: u32,
    },
    /// One shard twice.
    #[error("shard {0} is there twice")]
    Twice(u32),
}

/// Reads what a shard printed.
///
/// # Errors
/// When it is something else.
pub fn read(text: &str) -> Result<Run, BadShards> {
    let run: Run = serde_json::from_str(text).map_err(|error| BadShards::NotARun(error.to_string()))?;
    match run.version {
        VERSION if run.shard.is_some() => Ok(run),
        VERSION => Err(BadShards::NoShard),
        other => Err(BadShards::NotARun(format!("it has the version {other}, not {VERSION}"))),
    }
}

/// Joins shards, in any order.
///
/// # Errors
/// When they are not shards of one run.
pub fn merge(mut shards: Vec<Run>) -> Result<Run, BadShards> {
    let part = |run: &Run| run.shard.unwrap_or(Part { part: 1, of: 1 });
    shards.sort_by_key(|run| part(run).part);
    let others = shards.first().map_or(1, |first| part(first).of);
    for pair in shards.windows(2) {
        if part(&pair[0]) == part(&pair[1]) {
            return Err(BadShards::Twice(part(&pair[0]).part));
        }
    }
    for Part { part, of } in shards.iter().map(part) {
        if of != others {
            return Err(BadShards::Foreign { part, of, others });
        }
    }
    let there: BTreeSet<u32> = shards.iter().map(|run| part(run).part).collect();
    let missing: Vec<String> = (1..=others)
        .filter(|part| !there.contains(part))
        .map(|part| part.to_string())
        .collect();
    let mut results: Vec<One> = Vec::new();
    for one in in_order(shards) {
        let same =
            |known: &&mut One| known.split.is_some() && known.scenario == one.scenario && known.driver == one.driver;
        match results.iter_mut().find(same) {
            Some(known) if one.split.is_some() => join(known, one),
            _ => results.push(one),
        }
    }
    for one in &mut results {
        settle(one, &missing);
    }
    Ok(Run {
        version: VERSION,
        ok: missing.is_empty() && results.iter().all(|one| one.as_expected),
        shard: None,
        results,
    })
}

/// The results in the order of the suite: its scenarios were dealt out one by one.
fn in_order(shards: Vec<Run>) -> Vec<One> {
    let mut hands: Vec<Vec<Vec<One>>> = Vec::new();
    for shard in shards {
        let mut hand: Vec<Vec<One>> = Vec::new();
        for one in shard.results {
            match hand.last_mut() {
                Some(group) if group[0].scenario == one.scenario => group.push(one),
                _ => hand.push(vec![one]),
            }
        }
        hand.reverse();
        hands.push(hand);
    }
    let mut results = Vec::new();
    while hands.iter().any(|hand| !hand.is_empty()) {
        results.extend(hands.iter_mut().filter_map(Vec::pop).flatten());
    }
    results
}

/// Adds a part of an exploration to another one.
fn join(known: &mut One, more: One) {
    let length = |one: &One| {
        let schedule = one.schedule.as_deref().and_then(|text| text.parse::<Schedule>().ok());
        schedule.map_or(usize::MAX, |schedule| schedule.steps.len())
    };
    known.verdict = verdict(known).and(verdict(&more)).name().to_owned();
    if length(&more) < length(known) {
        known.schedule.clone_from(&more.schedule);
    }
    known.violated.extend(more.violated);
    known.violated.sort();
    known.violated.dedup();
    known.stats.states += more.stats.states;
    known.stats.transitions += more.stats.transitions;
    known.stats.schedules += more.stats.schedules;
    known.stats.seconds += more.stats.seconds;
    let complete = more.split.is_some_and(|split| split.complete);
    if let Some(split) = &mut known.split
        && split.complete
        && !complete
    {
        // What stopped that part is what stopped the whole.
        split.complete = false;
        known.reason = more.reason;
    }
}

/// The verdict of that name; a name that is none is an error.
fn verdict(one: &One) -> Verdict {
    let all = [Verdict::Held, Verdict::Violated, Verdict::Unknown, Verdict::Skipped];
    let named = all.into_iter().find(|verdict| verdict.name() == one.verdict);
    named.unwrap_or(Verdict::Error)
}

/// Judges what was joined, as a run of everything would have been.
fn settle(one: &mut One, missing: &[String]) {
    let Some(split) = one.split.take() else { return };
    let whole = split.complete && missing.is_empty();
    if !missing.is_empty() && split.complete {
        one.reason = Some(format!("shard {} is missing", missing.join(" and ")));
    }
    let mut verdict = verdict(one);
    if whole && verdict != Verdict::Error {
        one.reason = None;
        one.evidence = Evidence::Exhausted.name().to_owned();
        if verdict == Verdict::Unknown {
            verdict = Verdict::Held;
            one.verdict = verdict.name().to_owned();
        }
    }
    let expect = Expect {
        holds: Vec::new(),
        warnings: Vec::new(),
        violates: split.violates.iter().map(|name| name.as_str().into()).collect(),
    };
    if verdict == Verdict::Held && !whole {
        verdict = Verdict::Unknown;
    }
    let judged = expect.judge_names(verdict, &one.violated, whole, one.reason.as_deref());
    one.as_expected = judged.is_ok();
    if let Err(reason) = judged {
        one.reason = Some(reason);
    }
}

/// A table for people, what is not as expected, and one line.
pub fn table(run: &Run, paint: Paint) -> String {
    let wide = run
        .results
        .iter()
        .map(|one| one.scenario.chars().count())
        .max()
        .unwrap_or(0)
        .max(8);
    let mut text = paint.ink(Ink::Bold, &format!("{:wide$}  driver    verdict", "scenario")) + "\n";
    for one in &run.results {
        let (mark, ink) = match one.as_expected {
            true => ("✓", Ink::Green),
            false => ("✗", Ink::Red),
        };
        let verdict = paint.ink(ink, &format!("{mark} {}", one.verdict));
        // Writing to a String can't fail.
        let _ = writeln!(text, "{:wide$}  {:8}  {verdict}", one.scenario, one.driver);
    }
    text.push('\n');
    let surprises: Vec<&One> = run.results.iter().filter(|one| !one.as_expected).collect();
    for one in &surprises {
        let reason = one.reason.as_deref().unwrap_or("not as expected");
        let _ = writeln!(text, "{}::{}: {reason}", one.scenario, one.driver);
    }
    let verdict = match (surprises.len(), run.ok) {
        (0, true) => paint.ink(Ink::Green, "all as expected"),
        (0, false) => paint.ink(Ink::Red, "a shard is missing"),
        (count, _) => paint.ink(Ink::Red, &format!("{count} not as expected")),
    };
    let _ = writeln!(text, "{} runs: {verdict}", run.results.len());
    text
}
