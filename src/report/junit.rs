//! A run as JUnit XML: a test suite for each scenario, a test case for each driver.

use std::fmt::Write as _;
use std::sync::Arc;

use super::paint::Paint;
use super::{told, violation};
use crate::explore::Verdict;
use crate::suite::{Record, Results};

/// The run as an XML document.
pub fn report(results: &Results) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let seconds: f64 = results.records.iter().map(|record| record.finding.stats.seconds).sum();
    let (failures, errors, skipped) = counts(&results.records);
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "<testsuites name=\"deadheat\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        results.records.len()
    );
    for group in results.records.chunk_by(|one, next| Arc::ptr_eq(&one.case, &next.case)) {
        suite(group, &mut text);
    }
    text.push_str("</testsuites>\n");
    text
}

fn suite(group: &[Record], text: &mut String) {
    let Some(first) = group.first() else { return };
    let name = escape(&first.case.scenario.name);
    let seconds: f64 = group.iter().map(|record| record.finding.stats.seconds).sum();
    let (failures, errors, skipped) = counts(group);
    let _ = writeln!(
        text,
        "  <testsuite name=\"{name}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\">",
        group.len()
    );
    for record in group {
        case(record, &name, text);
    }
    text.push_str("  </testsuite>\n");
}

fn case(record: &Record, scenario: &str, text: &mut String) {
    let finding = &record.finding;
    let file = escape(&record.case.scenario.path.display().to_string());
    let _ = write!(
        text,
        "    <testcase classname=\"{scenario}\" name=\"{}\" file=\"{file}\" time=\"{:.3}\"",
        finding.driver, finding.stats.seconds
    );
    let reason = finding.reason.as_deref().unwrap_or_default();
    match (&record.judged, finding.verdict) {
        (_, Verdict::Skipped) => {
            let _ = writeln!(
                text,
                ">\n      <skipped message=\"{}\"/>\n    </testcase>",
                escape(reason)
            );
        }
        (Ok(()), Verdict::Unknown) => {
            let _ = writeln!(
                text,
                ">\n      <skipped message=\"a part of an exploration, which proves nothing alone: {}\"/>\n    </testcase>",
                escape(reason)
            );
        }
        (Ok(()), _) => {
            let told = escape(&told::record(record));
            let _ = writeln!(text, ">\n      <system-out>{told}</system-out>\n    </testcase>");
        }
        (Err(surprise), verdict) => {
            let element = if verdict == Verdict::Error { "error" } else { "failure" };
            let _ = writeln!(
                text,
                ">\n      <{element} message=\"{}\" type=\"{verdict}\">{}</{element}>\n    </testcase>",
                escape(surprise),
                escape(&detail(record))
            );
        }
    }
}

/// The violations in full, so that a CI page shows the lanes.
fn detail(record: &Record) -> String {
    let counterexamples = record
        .finding
        .invariants
        .iter()
        .filter_map(|judged| judged.counterexample.as_ref());
    counterexamples
        .map(|found| violation::tell(&record.case.scenario, &record.finding, found, Paint::PLAIN))
        .collect::<Vec<_>>()
        .join("\n")
}

fn counts(records: &[Record]) -> (usize, usize, usize) {
    let undecided = |record: &Record| record.is_expected() && record.finding.verdict == Verdict::Unknown;
    let skipped = |record: &&Record| record.finding.verdict == Verdict::Skipped || undecided(record);
    let failed = |record: &&Record| !record.is_expected();
    let error = |record: &&Record| record.finding.verdict == Verdict::Error;
    let errors = records.iter().filter(failed).filter(error).count();
    let failures = records.iter().filter(failed).count() - errors;
    (failures, errors, records.iter().filter(skipped).count())
}

/// Text for an attribute or an element; characters that XML 1.0 does not know are left out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            letter if letter.is_control() => {}
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn what_xml_can_not_say_is_left_out() {
        assert_eq!(escape("a<b>&\"c\"\u{1b}[1m\n"), "a&lt;b&gt;&amp;&quot;c&quot;[1m\n");
    }
}
