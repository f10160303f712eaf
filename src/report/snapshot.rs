//! A scenario as a snapshot: what a reviewer reads to see what a change made reachable. Short, and the same on every machine.

use std::fmt::Write as _;

use super::paint::Paint;
use super::violation;
use crate::explore::Finding;
use crate::scenario::Scenario;

/// More outcomes than this are counted, not listed.
const MOST_OUTCOMES: usize = 12;

/// The snapshot of a scenario: its bounds, the verdict of each invariant, the outcomes that can be reached, and the lanes of the
/// shortest violation.
pub fn render(scenario: &Scenario, finding: &Finding) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}\n{}\n", scenario.name, scenario.title);
    let _ = writeln!(text, "bounds: {}", finding.bounds);
    let _ = writeln!(text, "evidence: {}", finding.evidence);
    if let Some(reason) = &finding.reason {
        let _ = writeln!(text, "reason: {reason}");
    }
    text.push_str("\ninvariants\n");
    let wide = finding
        .invariants
        .iter()
        .map(|judged| judged.invariant.chars().count())
        .max()
        .unwrap_or(0);
    for judged in &finding.invariants {
        let sentence = judged
            .counterexample
            .as_ref()
            .map_or(String::new(), |found| format!(": {}", found.breach.sentence));
        let _ = writeln!(text, "  {:wide$}  {}{sentence}", judged.invariant, judged.verdict);
    }
    outcomes(finding, &mut text);
    if let Some(counterexample) = finding.counterexample() {
        let steps = counterexample.schedule.steps.len();
        let _ = writeln!(text, "\n{}, {steps} steps", counterexample.breach.invariant);
        text.push_str(&violation::lanes(scenario, counterexample, Paint::PLAIN));
    }
    text
}

fn outcomes(finding: &Finding, text: &mut String) {
    let _ = writeln!(text, "\noutcomes: {}", finding.outcomes.len());
    for reached in finding.outcomes.iter().take(MOST_OUTCOMES) {
        let breaks = match reached.breaks.as_slice() {
            [] => String::new(),
            names => format!("  (breaks {})", names.join(", ")),
        };
        let _ = writeln!(text, "  {}× {}{breaks}", reached.count, reached.outcome);
    }
    if let Some(more) = finding
        .outcomes
        .len()
        .checked_sub(MOST_OUTCOMES)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(text, "  … and {more} more");
    }
}
