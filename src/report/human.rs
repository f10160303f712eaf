//! A whole run for people: what each violation looks like, then a table of scenarios and drivers, then one line.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use super::paint::{Ink, Paint};
use super::{told, violation};
use crate::explore::{Driver, Verdict, counted};
use crate::scenario::Scenario;
use crate::suite::{Record, Results};

/// How much is told.
#[derive(Clone, Copy, Debug)]
pub struct Detail {
    /// Also the lanes of violations that were expected.
    pub expected: bool,
    /// Colours.
    pub paint: Paint,
}

/// The report of a run.
pub fn report(results: &Results, detail: Detail) -> String {
    let mut text = String::new();
    for records in by_scenario(results) {
        tell_scenario(&records, detail, &mut text);
    }
    text.push_str(&table(results, detail.paint));
    text.push('\n');
    for reason in skipped(results).into_iter().chain(assumed(results)) {
        let _ = writeln!(text, "{reason}");
    }
    text.push_str(&summary(results, detail.paint));
    text
}

/// The last line: how many are as expected.
pub fn summary(results: &Results, paint: Paint) -> String {
    let scenarios: BTreeSet<&str> = results
        .records
        .iter()
        .map(|record| &*record.case.scenario.name)
        .collect();
    let surprises = results.surprises().count();
    let all = counted(results.records.len() as u64, "run");
    let mut line = format!("{}, {all}", counted(scenarios.len() as u64, "scenario"));
    for (count, word) in [(results.skipped(), "skipped"), (results.missed(), "with a miss")] {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    line.push_str(": ");
    let verdict = match surprises {
        0 => paint.ink(Ink::Green, "all as expected"),
        _ => paint.ink(Ink::Red, &format!("{surprises} not as expected")),
    };
    format!("{line}{verdict}\n")
}

/// What the table says of one driver: a text and its colour; `None` where the driver did not run.
type Cell = Option<(String, Ink)>;

/// Scenarios down, drivers across.
pub fn table(results: &Results, paint: Paint) -> String {
    let mut rows: Vec<(Arc<str>, Vec<Cell>)> = Vec::new();
    for records in by_scenario(results) {
        let Some(first) = records.first() else { continue };
        let cells = Driver::ALL.map(|driver| {
            let record = records.iter().find(|record| record.finding.driver == driver)?;
            Some(cell(record))
        });
        rows.push((first.case.scenario.name.clone(), cells.to_vec()));
    }
    let wide = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0)
        .max(8);
    let mut text = format!("{:wide$}", "scenario");
    for driver in Driver::ALL {
        let _ = write!(text, "  {:CELL$}", driver.name());
    }
    let mut lines = vec![paint.ink(Ink::Bold, text.trim_end())];
    for (name, cells) in rows {
        let mut line = format!("{name:wide$}");
        for cell in cells {
            let (word, ink) = cell.unwrap_or_else(|| ("-".to_owned(), Ink::Dim));
            let gap = " ".repeat(CELL.saturating_sub(word.chars().count()));
            let _ = write!(line, "  {}{gap}", paint.ink(ink, &word));
        }
        lines.push(line.trim_end().to_owned());
    }
    lines.join("\n") + "\n"
}

/// `✓ not found` is the widest that is usual.
const CELL: usize = 11;

fn cell(record: &Record) -> (String, Ink) {
    let word = told::word(record);
    let (mark, ink) = match (record.is_expected(), record.finding.verdict) {
        (_, Verdict::Skipped) => ("", Ink::Dim),
        // Neither a success nor a failure: somebody else has seen it.
        (true, Verdict::Held) if !record.missed.is_empty() => ("", Ink::Dim),
        // A part of an exploration, which proves nothing alone.
        (true, Verdict::Unknown) => ("", Ink::Dim),
        (true, _) => ("✓ ", Ink::Green),
        (false, _) => ("✗ ", Ink::Red),
    };
    (format!("{mark}{word}"), ink)
}

/// The records of each scenario, in the order of the suite.
fn by_scenario(results: &Results) -> Vec<Vec<&Record>> {
    let mut groups: Vec<Vec<&Record>> = Vec::new();
    for record in &results.records {
        match groups.last_mut() {
            Some(group) if Arc::ptr_eq(&group[0].case, &record.case) => group.push(record),
            _ => groups.push(vec![record]),
        }
    }
    groups
}

/// The violations of a scenario, each invariant once: as the first driver in the order of drivers saw it, so that the
/// explorer's shortest one is shown where there is one. What is not as expected is always told.
fn tell_scenario(records: &[&Record], detail: Detail, text: &mut String) {
    let mut told: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut body = String::new();
    for record in records {
        if let Err(reason) = &record.judged {
            let line = format!("{}: not as expected: {reason}", record.finding.driver);
            let _ = writeln!(body, "{}\n", detail.paint.ink(Ink::Red, &line));
        }
        for warning in &record.finding.warnings {
            let line = format!("warning: {warning}");
            let _ = writeln!(body, "{}\n", detail.paint.ink(Ink::Red, &line));
        }
        for judged in &record.finding.invariants {
            let Some(counterexample) = &judged.counterexample else {
                continue;
            };
            let expected = record.case.scenario.expect.violates.contains(&judged.invariant);
            if (expected && !detail.expected) || !told.insert(judged.invariant.clone()) {
                continue;
            }
            let _ = writeln!(body, "found by {}:", record.finding.driver);
            let shown = violation::tell(&record.case.scenario, &record.finding, counterexample, detail.paint);
            body.push_str(&shown);
            body.push('\n');
        }
    }
    for record in records.iter().filter(|record| detail.expected || is_remarkable(record)) {
        let driver = record.finding.driver.name();
        let _ = writeln!(body, "{driver:8}  {}", told::record(record));
    }
    let Some(first) = records.first().filter(|_| !body.is_empty()) else {
        return;
    };
    body.push('\n');
    text.push_str(&heading(&first.case.scenario, detail.paint));
    text.push_str(&body);
}

/// Whether a verdict says less than it seems to: something was missed, left out or cut off, or the driver had a bound of its own.
fn is_remarkable(record: &Record) -> bool {
    let finding = &record.finding;
    let is_skipped = finding.verdict == Verdict::Skipped;
    !record.missed.is_empty() || finding.preemptions().is_some() || finding.reason.is_some() && !is_skipped
}

fn heading(scenario: &Scenario, paint: Paint) -> String {
    let rule = "─".repeat(100usize.saturating_sub(scenario.name.chars().count() + 4));
    format!(
        "── {} {rule}\n{}\n\n",
        paint.ink(Ink::Bold, &scenario.name),
        scenario.title
    )
}

/// What the verdicts of a scenario take for granted of the server's plans, each once.
fn assumed(results: &Results) -> Vec<String> {
    let mut lines = Vec::new();
    for record in &results.records {
        for assumption in &record.finding.assumptions {
            let line = format!("{} {assumption}", record.case.scenario.name);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

/// Why something was skipped, each reason once.
fn skipped(results: &Results) -> Vec<String> {
    let mut reasons = Vec::new();
    for record in &results.records {
        if record.finding.verdict == Verdict::Skipped {
            let reason = record.finding.reason.as_deref().unwrap_or("no reason was given");
            let line = format!("{} was skipped: {reason}", record.finding.driver);
            if !reasons.contains(&line) {
                reasons.push(line);
            }
        }
    }
    reasons
}
