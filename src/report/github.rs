//! A run as GitHub workflow annotations: an error at the scenario file for everything that is not as expected.

use std::fmt::Write as _;

use super::human;
use super::paint::Paint;
use super::violation;
use crate::suite::{Record, Results};

/// The annotations, then the table for the log.
pub fn report(results: &Results) -> String {
    let mut text = String::new();
    for record in results.surprises() {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}", annotation(record));
    }
    text.push_str(&human::table(results, Paint::PLAIN));
    text.push_str(&human::summary(results, Paint::PLAIN));
    text
}

fn annotation(record: &Record) -> String {
    let scenario = &record.case.scenario;
    let reason = record.judged.as_ref().err().map_or("", String::as_str);
    let surprising = record.finding.invariants.iter().find(|judged| {
        let expected = scenario.expect.violates.contains(&judged.invariant);
        judged.counterexample.is_some() && !expected
    });
    let message = match surprising.and_then(|judged| judged.counterexample.as_ref()) {
        Some(counterexample) => format!(
            "{reason}\n{}\n{}\n{}",
            violation::sentence(counterexample),
            violation::lanes(scenario, counterexample, Paint::PLAIN),
            violation::replay_line(scenario, counterexample)
        ),
        None => reason.to_owned(),
    };
    let line = expect_line(&scenario.source.text);
    format!(
        "::error file={},line={line},title={}::{}",
        property(&scenario.path.display().to_string()),
        property(&record.name()),
        data(&message)
    )
}

/// Where the file says what it expects; its first line otherwise.
fn expect_line(text: &str) -> usize {
    text.lines()
        .position(|line| line.trim_start().starts_with("[expect]"))
        .map_or(1, |place| place + 1)
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
