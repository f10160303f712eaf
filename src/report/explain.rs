//! Causes in words.

use std::fmt::Write as _;
use std::sync::Arc;

use super::paint::{Ink, Paint};
use crate::explore::Verdict;
use crate::scenario::Scenario;
use crate::suite::causes::{Causes, Change, Flip, difference};

/// What each choice of a scenario's design has to do with its invariants.
pub fn tell(scenario: &Scenario, causes: &Causes, paint: Paint) -> String {
    let mut text = format!("{}: {}\n", paint.ink(Ink::Bold, &scenario.name), scenario.title);
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "as it is: {}",
        verdict(causes.base.verdict, &causes.base.violated())
    );
    let wide = causes
        .flips
        .iter()
        .map(|flip| words(flip.change).chars().count())
        .max()
        .unwrap_or(0);
    text.push_str("\none choice changed:\n");
    for flip in &causes.flips {
        let (line, ink) = effect(causes, flip);
        let _ = writeln!(text, "  {:wide$}  {}", words(flip.change), paint.ink(ink, &line));
    }
    if causes.base.verdict == Verdict::Violated {
        text.push('\n');
        match causes.cures.as_slice() {
            [] => text.push_str("no set of up to three changes mends it\n"),
            cures => {
                text.push_str("mended by the smallest sets of changes:\n");
                for cure in cures {
                    let set: Vec<String> = cure.iter().map(|change| words(*change)).collect();
                    let _ = writeln!(text, "  {}", set.join(" and "));
                }
            }
        }
    }
    text.push('\n');
    text
}

fn effect(causes: &Causes, flip: &Flip) -> (String, Ink) {
    let finding = match &flip.finding {
        Ok(finding) => finding,
        Err(conflict) => return (format!("not possible: {conflict}"), Ink::Dim),
    };
    if matches!(finding.verdict, Verdict::Unknown | Verdict::Error | Verdict::Skipped) {
        let reason = finding.reason.as_deref().unwrap_or_default();
        return (format!("{}: {reason}", finding.verdict), Ink::Yellow);
    }
    let (breaks, mends) = difference(&causes.base, finding);
    let mut parts = Vec::new();
    if !breaks.is_empty() {
        parts.push(format!("breaks {}", breaks.join(", ")));
    }
    if !mends.is_empty() {
        parts.push(format!("mends {}", mends.join(", ")));
    }
    match (breaks.is_empty(), mends.is_empty()) {
        (true, true) => ("changes nothing".to_owned(), Ink::Dim),
        (true, false) => (parts.join("; "), Ink::Green),
        (false, _) => (parts.join("; "), Ink::Red),
    }
}

fn words((choice, option): Change) -> String {
    format!("{choice} = {option}")
}

fn verdict(verdict: Verdict, violated: &[Arc<str>]) -> String {
    match violated {
        [] => verdict.to_string(),
        names => format!("{verdict}: {}", names.join(", ")),
    }
}
