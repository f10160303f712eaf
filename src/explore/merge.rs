//! Joining the shards of one exploration, run on different machines, into one finding.

use std::collections::BTreeMap;

use super::verdict::{Evidence, Finding, Judged, Limit, Reached, Verdict};
use crate::system::Outcome;

/// Why findings can't be joined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMerge {
    /// There is nothing to join.
    #[error("there is no finding to merge")]
    Nothing,
    /// They are not of the same scenario.
    #[error("the findings are not about the same invariants and bounds")]
    Different,
}

/// One finding for all shards. Nothing is held unless every shard is there and came to its end.
///
/// Shards overlap a little: states and final states that two of them met are counted twice.
pub fn merge(findings: &[Finding]) -> Result<Finding, BadMerge> {
    let [first, rest @ ..] = findings else {
        return Err(BadMerge::Nothing);
    };
    let names = |finding: &Finding| -> Vec<_> {
        finding
            .invariants
            .iter()
            .map(|judged| judged.invariant.clone())
            .collect()
    };
    if rest
        .iter()
        .any(|other| names(other) != names(first) || other.bounds != first.bounds)
    {
        return Err(BadMerge::Different);
    }
    let mut merged = first.clone();
    for other in rest {
        for (judged, more) in merged.invariants.iter_mut().zip(&other.invariants) {
            *judged = judged.and(more);
        }
        merged.verdict = merged.verdict.and(other.verdict);
        merged.stats.states += other.stats.states;
        merged.stats.transitions += other.stats.transitions;
        merged.stats.finals += other.stats.finals;
        merged.stats.depth = merged.stats.depth.max(other.stats.depth);
        merged.stats.seconds += other.stats.seconds;
    }
    merged.outcomes = outcomes(findings);
    merged.evidence = evidence(findings);
    if merged.evidence == Evidence::Exhausted {
        for judged in &mut merged.invariants {
            let found = judged.counterexample.take();
            *judged = Judged::of(judged.invariant.clone(), found, settled(judged.verdict));
        }
        merged.verdict = settled(merged.verdict);
    }
    merged.reason = match merged.evidence {
        Evidence::Exhausted if merged.verdict != Verdict::Error => None,
        // Why one of them is an error is what has to be told.
        _ => {
            let all = findings.iter().filter(|finding| finding.verdict == merged.verdict);
            all.chain(findings).find_map(|finding| finding.reason.clone())
        }
    };
    Ok(merged)
}

/// What no part has broken holds, now that all of them are there.
fn settled(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Unknown => Verdict::Held,
        verdict => verdict,
    }
}

/// Exhausted if one finding is of everything, or every shard is there.
fn evidence(findings: &[Finding]) -> Evidence {
    let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut other = None;
    for finding in findings {
        match &finding.evidence {
            Evidence::Exhausted => return Evidence::Exhausted,
            Evidence::Truncated {
                limit: Limit::Shard(part, of),
            } => parts.entry(*of).or_default().push(*part),
            evidence => other = Some(evidence.clone()),
        }
    }
    let whole = |of: u32, parts: &[u32]| (1..=of).all(|part| parts.contains(&part));
    if parts.iter().any(|(of, parts)| whole(*of, parts)) {
        return Evidence::Exhausted;
    }
    other.unwrap_or_else(|| findings[0].evidence.clone())
}

fn outcomes(findings: &[Finding]) -> Vec<Reached> {
    let mut all: BTreeMap<&Outcome, Reached> = BTreeMap::new();
    for reached in findings.iter().flat_map(|finding| &finding.outcomes) {
        let Some(known) = all.get_mut(&reached.outcome) else {
            all.insert(&reached.outcome, reached.clone());
            continue;
        };
        known.count += reached.count;
        let length = |reached: &Reached| {
            reached
                .witness
                .as_ref()
                .map_or(usize::MAX, |witness| witness.steps.len())
        };
        if length(reached) < length(known) {
            known.witness.clone_from(&reached.witness);
        }
        known.breaks.extend(reached.breaks.iter().cloned());
        known.breaks.sort();
        known.breaks.dedup();
    }
    all.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::toy::lost_update;
    use crate::explore::{Options, explore};

    #[test]
    fn all_shards_together_find_what_the_whole_finds() {
        let system = lost_update(3);
        let whole = explore(&system, &Options::plain());
        let part = |part| {
            let shard = Some((part, 3));
            explore(
                &system,
                &Options {
                    shard,
                    ..Options::plain()
                },
            )
        };
        let parts: Vec<Finding> = (1..=3).map(part).collect();
        assert!(
            parts
                .iter()
                .all(|part| matches!(part.evidence, Evidence::Truncated { .. }))
        );
        assert!(parts.iter().all(|part| part.stats.states < whole.stats.states));
        let merged = merge(&parts).expect("shards of one system");
        assert_eq!(merged.evidence, Evidence::Exhausted);
        assert_eq!(merged.verdict, whole.verdict);
        let verdicts =
            |finding: &Finding| -> Vec<_> { finding.invariants.iter().map(|judged| judged.verdict).collect() };
        assert_eq!(verdicts(&merged), verdicts(&whole));
        let outcomes = |finding: &Finding| -> Vec<_> {
            let all = finding.outcomes.iter();
            all.map(|reached| (reached.outcome.clone(), reached.breaks.clone()))
                .collect()
        };
        assert_eq!(outcomes(&merged), outcomes(&whole));
        let missing = merge(&parts[1..]).expect("shards of one system");
        assert!(matches!(missing.evidence, Evidence::Truncated { .. }));
        assert!(missing.invariants.iter().all(|judged| judged.verdict != Verdict::Held));
    }

    #[test]
    fn nothing_and_strangers_are_not_merged() {
        assert_eq!(merge(&[]), Err(BadMerge::Nothing));
        let (two, three) = (lost_update(2), lost_update(3));
        let findings = [explore(&two, &Options::plain()), explore(&three, &Options::plain())];
        assert_eq!(merge(&findings), Err(BadMerge::Different));
    }
}
