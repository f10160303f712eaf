//! A violation, as it is shown: the sentence, the lanes, the decisive step, the line that replays it, the bounds.

use std::fmt::Write as _;

use super::lanes::Lanes;
use super::paint::{Ink, Paint};
use crate::explore::{Counterexample, Evidence, Finding};
use crate::scenario::Scenario;

/// Everything that is told about one counterexample of a scenario.
pub fn tell(scenario: &Scenario, finding: &Finding, counterexample: &Counterexample, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}", paint.ink(Ink::Bold, &sentence(counterexample)));
    let promise = promise(scenario, &counterexample.breach.invariant);
    let _ = writeln!(text, "promised: {promise}\n");
    text.push_str(&lanes(scenario, counterexample, paint));
    text.push('\n');
    if let Some(decisive) = counterexample.decisive {
        let _ = writeln!(
            text,
            "decisive: step {decisive}; after it, no schedule keeps the promise"
        );
    }
    let _ = writeln!(text, "replay:   {}", replay_line(scenario, counterexample));
    let _ = writeln!(text, "bounds:   {}", finding.bounds);
    let _ = writeln!(text, "explored: {}", explored(finding));
    text
}

/// `no-duplicate-customers is violated: 2 rows in customers have customer_id CUST_7890`.
pub fn sentence(counterexample: &Counterexample) -> String {
    let breach = &counterexample.breach;
    if breach.is_error {
        return format!("{} can't be judged: {}", breach.invariant, breach.sentence);
    }
    format!("{} is violated: {}", breach.invariant, breach.sentence)
}

/// The command that replays it.
pub fn replay_line(scenario: &Scenario, counterexample: &Counterexample) -> String {
    let path = scenario.path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+".contains(letter);
    match path.chars().all(plain) {
        true => format!("deadheat replay {path} '{}'", counterexample.schedule),
        false => format!("deadheat replay '{path}' '{}'", counterexample.schedule),
    }
}

/// The trace of a counterexample as lanes.
pub fn lanes(scenario: &Scenario, counterexample: &Counterexample, paint: Paint) -> String {
    let sized = scenario.sized_for(&counterexample.schedule);
    let system = sized.as_ref().map_or(&scenario.system, |sized| &sized.system);
    match system.replay(&counterexample.schedule) {
        Ok((trace, end)) => {
            let lanes = Lanes {
                decisive: counterexample.decisive,
                paint,
                ..Lanes::default()
            };
            lanes.draw(system, &trace, &end)
        }
        Err(misfit) => format!("its schedule does not replay, which is a mistake in deadheat: {misfit}\n"),
    }
}

/// How a finding was reached, with the numbers that are the same in every run.
pub fn explored(finding: &Finding) -> String {
    let stats = &finding.stats;
    let numbers = [
        ("states", stats.states),
        ("transitions", stats.transitions),
        ("schedules", stats.schedules),
        ("final states", stats.finals),
    ];
    let mut text = finding.evidence.to_string();
    let sampled = matches!(finding.evidence, Evidence::Sampled { .. });
    for (name, number) in numbers {
        if number > 0 && !(sampled && name == "schedules") {
            let _ = write!(text, ", {number} {name}");
        }
    }
    text
}

fn promise<'a>(scenario: &'a Scenario, invariant: &str) -> &'a str {
    let invariants = &scenario.system.spec().invariants;
    let found = invariants.iter().find(|candidate| candidate.name() == invariant);
    found.map_or("", |invariant| invariant.promise())
}
