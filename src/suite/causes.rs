//! Causes: what each choice of a design has to do with the invariants, found by changing it and exploring again.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Conflict;
use crate::explore::{Finding, Options, Verdict, explore};
use crate::scenario::{Kind, Scenario};

/// One choice with one value.
pub type Change = (&'static str, &'static str);

/// What a scenario's design has to do with its invariants.
#[derive(Clone, Debug)]
pub struct Causes {
    /// The scenario as it is.
    pub base: Finding,
    /// Each choice changed alone, in the handler's order.
    pub flips: Vec<Flip>,
    /// The smallest sets of changes after which everything holds, up to three changes; empty when the base holds.
    pub cures: Vec<Vec<Change>>,
}

/// The scenario with one choice changed.
#[derive(Clone, Debug)]
pub struct Flip {
    /// The change.
    pub change: Change,
    /// What came out; the reason when the choices don't go together.
    pub finding: Result<Finding, Conflict>,
}

/// Why causes can't be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CausesError {
    /// It is a script.
    #[error("only scenarios of the domain have a design to explain; this one is a script")]
    NoDesign,
}

/// The most changes that are tried together.
const MOST_CHANGES: usize = 3;

/// Explores the scenario with each choice changed alone, and looks for the smallest sets of changes that mend it.
///
/// # Errors
/// When the scenario has no design.
pub fn find(scenario: &Scenario) -> Result<Causes, CausesError> {
    let Kind::Domain(designed) = &scenario.kind else {
        return Err(CausesError::NoDesign);
    };
    let changes: Vec<Change> = designed
        .handler
        .choices()
        .iter()
        .flat_map(|choice| choice.options.iter().map(|option| (choice.name, option.name)))
        .filter(|(choice, option)| !designed.setup.is(choice, option))
        .collect();
    let base = look(scenario);
    let flips: Vec<Flip> = changes
        .iter()
        .map(|change| Flip {
            change: *change,
            finding: changed(scenario, &[*change]).map(|scenario| look(&scenario)),
        })
        .collect();
    let cures = match base.verdict {
        Verdict::Violated => cures(scenario, &changes, &flips),
        _ => Vec::new(),
    };
    Ok(Causes { base, flips, cures })
}

fn look(scenario: &Scenario) -> Finding {
    let limits = &scenario.limits;
    let options = Options {
        max_states: limits.states,
        max_time: limits.seconds.map(Duration::from_secs),
        decisive: false,
        ..Options::default()
    };
    explore(&scenario.system, &options)
}

fn changed(scenario: &Scenario, changes: &[Change]) -> Result<Scenario, Conflict> {
    changes.iter().try_fold(scenario.clone(), |scenario, (choice, option)| {
        scenario.with_choice(choice, option).unwrap_or(Ok(scenario))
    })
}

/// The smallest sets of changes after which everything holds.
fn cures(scenario: &Scenario, changes: &[Change], flips: &[Flip]) -> Vec<Vec<Change>> {
    let holds = |finding: &Finding| finding.verdict == Verdict::Held;
    let alone: Vec<Vec<Change>> = flips
        .iter()
        .filter(|flip| flip.finding.as_ref().is_ok_and(holds))
        .map(|flip| vec![flip.change])
        .collect();
    if !alone.is_empty() {
        return alone;
    }
    for size in 2..=MOST_CHANGES {
        let found: Vec<Vec<Change>> = sets(changes, size)
            .into_iter()
            .filter(|set| changed(scenario, set).is_ok_and(|scenario| holds(&look(&scenario))))
            .collect();
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

/// Every set of `size` changes, no two of the same choice.
fn sets(changes: &[Change], size: usize) -> Vec<Vec<Change>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (place, change) in changes.iter().enumerate() {
        for mut rest in sets(&changes[place + 1..], size - 1) {
            if rest.iter().all(|(choice, _)| *choice != change.0) {
                rest.insert(0, *change);
                all.push(rest);
            }
        }
    }
    all
}

/// The invariants that a change breaks and those that it mends.
pub fn difference(base: &Finding, flipped: &Finding) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
    let (before, after) = (base.violated(), flipped.violated());
    let only = |one: &[Arc<str>], other: &[Arc<str>]| -> Vec<Arc<str>> {
        one.iter().filter(|name| !other.contains(name)).cloned().collect()
    };
    (only(&after, &before), only(&before, &after))
}

#[cfg(test)]
mod tests {
    use super::{difference, sets};
    use crate::explore::toy::lost_update;
    use crate::explore::{Options, explore};
    use crate::system::System;

    #[test]
    fn a_set_changes_no_choice_twice() {
        let changes = [("a", "1"), ("a", "2"), ("b", "1")];
        assert_eq!(sets(&changes, 2), [[("a", "1"), ("b", "1")], [("a", "2"), ("b", "1")]]);
        assert_eq!(sets(&changes, 3).len(), 0);
    }

    #[test]
    fn a_change_breaks_what_was_not_broken_and_mends_what_was() {
        let all = explore(&lost_update(2), &Options::default());
        let mut spec = lost_update(2).spec().clone();
        spec.invariants
            .retain(|invariant| invariant.name() != "a-Finally-not-1");
        let fewer = explore(&System::new(spec), &Options::default());
        let only: Vec<std::sync::Arc<str>> = vec!["a-Finally-not-1".into()];
        assert_eq!(difference(&fewer, &all), (only.clone(), Vec::new()));
        assert_eq!(difference(&all, &fewer), (Vec::new(), only));
    }
}
