//! What a scenario expects, and whether a finding is that.

use std::sync::Arc;

use crate::document::{Fields, Problem, Span};
use crate::explore::{Driver, Evidence, Finding, Limit, Verdict};
use crate::script::Expected;
use crate::script::words::{SQLSTATES, sqlstate};
use crate::system::{Spec, Warning, WarningKind};

/// What is expected of the invariants. Every one that is not under `violates` is expected to hold.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Expect {
    /// Those that the scenario is about and that hold.
    pub holds: Vec<Arc<str>>,
    /// Those that can be violated: the scenario is the proof that the harness can see it.
    pub violates: Vec<Arc<str>>,
    /// Warnings that are meant so: a kind, or a kind and a process (`never-true sign up`).
    pub warnings: Vec<Arc<str>>,
}

impl Expect {
    /// Whether a finding is what was expected; otherwise the reason, in one sentence.
    ///
    /// A search that exhausted every schedule must have found exactly the expected violations. A driver that samples, or has a bound of its own, must
    /// have found at least one of them, and none that was not expected. `unknown` is never what was expected.
    pub fn judge(&self, finding: &Finding) -> Result<(), String> {
        let looked = Looked {
            everywhere: finding.is_proof(),
            scope: &finding.scope(),
        };
        self.judge_names(finding.verdict, &finding.violated(), looked, finding.reason.as_deref())?;
        self.judge_warnings(&finding.warnings)?;
        match finding.driver == Driver::Explore && finding.is_proof() {
            true => self.all_given(&finding.warnings),
            false => Ok(()),
        }
    }

    /// What is expected to be violated and was not seen to be by a driver that does not try everything.
    pub fn missed(&self, finding: &Finding) -> Vec<Arc<str>> {
        let ran = matches!(finding.verdict, Verdict::Held | Verdict::Violated);
        if !ran || finding.is_proof() {
            return Vec::new();
        }
        let found = finding.violated();
        let missed = self.violates.iter().filter(|name| !found.contains(name));
        missed.cloned().collect()
    }

    /// The same expectation without violations that somebody else has seen.
    #[must_use]
    pub fn but(&self, seen: &[Arc<str>]) -> Expect {
        let left = self.violates.iter().filter(|name| !seen.contains(name));
        Expect {
            violates: left.cloned().collect(),
            ..self.clone()
        }
    }

    /// Whether every warning is declared.
    fn judge_warnings(&self, warnings: &[Warning]) -> Result<(), String> {
        let undeclared: Vec<String> = warnings
            .iter()
            .filter(|warning| warning.kind.fails())
            .filter(|warning| !self.warnings.iter().any(|stated| declares(stated, warning)))
            .map(Warning::to_string)
            .collect();
        match undeclared.as_slice() {
            [] => Ok(()),
            all => Err(format!(
                "{} that `[expect] warnings` does not declare: {}",
                if all.len() == 1 { "a warning" } else { "warnings" },
                all.join("; ")
            )),
        }
    }

    /// Whether every warning that is declared was given: a declaration must not outlive its reason.
    fn all_given(&self, warnings: &[Warning]) -> Result<(), String> {
        let is_given = |stated: &&Arc<str>| warnings.iter().any(|warning| declares(stated, warning));
        match self.warnings.iter().find(|stated| !is_given(stated)) {
            None => Ok(()),
            Some(stated) => Err(format!(
                "`{stated}` is declared under `[expect] warnings` and is not so"
            )),
        }
    }

    /// The same of a part of an exploration, which can't say that something holds: whether nothing was found so far that was not expected.
    pub(crate) fn judge_part(&self, finding: &Finding) -> Result<(), String> {
        match finding.evidence {
            Evidence::Truncated {
                limit: Limit::Shard(..),
            } if finding.verdict != Verdict::Error => self.no_surprise(&finding.violated()),
            _ => self.judge(finding),
        }
    }

    fn no_surprise<N: AsRef<str>>(&self, found: &[N]) -> Result<(), String> {
        let surprise: Vec<&str> = found
            .iter()
            .map(AsRef::as_ref)
            .filter(|name| !self.violates.iter().any(|known| **known == **name))
            .collect();
        match surprise.is_empty() {
            true => Ok(()),
            false => Err(format!("{} should hold and can be violated", words(&surprise))),
        }
    }

    /// The same of a verdict and the names of what is violated.
    pub(crate) fn judge_names<N: AsRef<str>>(
        &self,
        verdict: Verdict,
        found: &[N],
        looked: Looked<'_>,
        reason: Option<&str>,
    ) -> Result<(), String> {
        if matches!(verdict, Verdict::Skipped | Verdict::Error) {
            return Err(format!("{verdict}: {}", reason.unwrap_or("no reason was given")));
        }
        self.no_surprise(found)?;
        let is_found = |name: &str| found.iter().any(|found| found.as_ref() == name);
        let missing: Vec<&str> = self
            .violates
            .iter()
            .map(|name| &**name)
            .filter(|name| !is_found(name))
            .collect();
        if !missing.is_empty() && (looked.everywhere || found.is_empty()) {
            let missing = words(&missing);
            return Err(match looked.everywhere {
                true => format!("{missing} should be violated and holds in every schedule"),
                false => format!("{missing} should be violated and was not seen {}", looked.scope),
            });
        }
        match verdict {
            Verdict::Unknown => Err(format!(
                "not decided: {}",
                reason.unwrap_or("a limit stopped the search")
            )),
            _ => Ok(()),
        }
    }

    /// Whether a violation is expected.
    pub fn is_violation(&self) -> bool {
        !self.violates.is_empty()
    }
}

/// Where a driver has looked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked<'a> {
    /// In every schedule.
    pub(crate) everywhere: bool,
    /// Otherwise where, as in `in 256 storms`.
    pub(crate) scope: &'a str,
}

/// Whether a declaration means a warning.
fn declares(stated: &str, warning: &Warning) -> bool {
    match stated.split_once(' ') {
        None => stated == warning.kind.name(),
        Some((kind, process)) => kind == warning.kind.name() && *process == *warning.process,
    }
}

fn words(names: &[&str]) -> String {
    names.join(" and ")
}

/// `[expect]` before its names are checked against the invariants that the system has.
pub(super) struct Stated<'a> {
    holds: Vec<(&'a str, Span)>,
    violates: Vec<(&'a str, Span)>,
    warnings: Vec<(&'a str, Span)>,
    errors: Vec<(&'a str, Span)>,
}

impl<'a> Stated<'a> {
    pub(super) fn read(mut fields: Fields<'a>) -> Stated<'a> {
        let stated = Stated {
            holds: fields.texts("holds").unwrap_or_default(),
            violates: fields.texts("violates").unwrap_or_default(),
            warnings: fields.texts("warnings").unwrap_or_default(),
            errors: fields.texts("errors").unwrap_or_default(),
        };
        for (name, span) in &stated.errors {
            let is_service = matches!(*name, "unknown_operation" | "parameter_missing");
            let is_code = name.len() == 5 && (name.starts_with("42") || name.starts_with("0A"));
            if sqlstate(name).is_none() && !is_service && !is_code {
                let known = SQLSTATES.iter().map(|(name, _)| *name);
                fields.sink().push(Problem::unknown(span.clone(), "error", name, known));
            }
        }
        for (stated, span) in &stated.warnings {
            let kind = stated.split(' ').next().unwrap_or_default();
            let known = WarningKind::ALL.map(WarningKind::name);
            if !known.contains(&kind) {
                fields
                    .sink()
                    .push(Problem::unknown(span.clone(), "warning", kind, known));
            }
        }
        fields.finish();
        stated
    }

    /// What the script has to know of it.
    pub(super) fn of_script(&self) -> Expected {
        let owned = |(name, _): &(&str, Span)| (*name).to_owned();
        Expected {
            errors: self.errors.iter().map(owned).collect(),
            invariants: self.holds.iter().chain(&self.violates).map(owned).collect(),
        }
    }

    /// The expectation, its names checked.
    pub(super) fn check(&self, spec: &Spec, mut report: impl FnMut(Problem)) -> Expect {
        let known: Vec<&str> = spec.invariants.iter().map(|invariant| invariant.name()).collect();
        let mut taken: Vec<&str> = Vec::new();
        let mut names = |stated: &[(&'a str, Span)]| -> Vec<Arc<str>> {
            let mut names = Vec::new();
            for (name, span) in stated {
                if !known.contains(name) {
                    report(Problem::unknown(span.clone(), "invariant", name, known.iter().copied()));
                } else if taken.contains(name) {
                    report(Problem::new(
                        span.clone(),
                        format!("`{name}` is stated twice"),
                        "an invariant either holds or is violated",
                    ));
                } else {
                    taken.push(name);
                    names.push(Arc::from(*name));
                }
            }
            names
        };
        Expect {
            holds: names(&self.holds),
            violates: names(&self.violates),
            warnings: self.warnings.iter().map(|(stated, _)| Arc::from(*stated)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::{Bounds, Counterexample, Judged, Stats};
    use crate::system::{Breach, FaultBudget, Schedule};

    fn finding(evidence: Evidence, verdicts: &[(&str, Verdict)]) -> Finding {
        let counterexample = |name: &str| Counterexample {
            schedule: Schedule {
                fingerprint: 0,
                steps: Vec::new(),
            },
            breach: Breach {
                invariant: name.into(),
                sentence: "it is broken".into(),
                rows: Vec::new(),
                is_error: false,
            },
            decisive: None,
            shortest: false,
        };
        let judged = verdicts.iter().map(|(name, verdict)| {
            let found = (*verdict == Verdict::Violated).then(|| counterexample(name));
            Judged::of(*name, found, *verdict)
        });
        let all = verdicts.iter().fold(Verdict::Held, |all, (_, one)| all.and(*one));
        Finding {
            driver: Driver::Explore,
            assumptions: Vec::new(),
            verdict: all,
            evidence,
            invariants: judged.collect(),
            outcomes: Vec::new(),
            bounds: Bounds {
                processes: 1,
                faults: FaultBudget::NONE,
                own: Vec::new(),
            },
            stats: Stats::default(),
            reason: None,
            warnings: Vec::new(),
            unforced: Vec::new(),
        }
    }

    fn expect(violates: &[&str]) -> Expect {
        Expect {
            holds: Vec::new(),
            violates: violates.iter().map(|name| Arc::from(*name)).collect(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn an_exhausted_search_must_find_exactly_what_is_expected() {
        let both = finding(
            Evidence::Exhausted,
            &[("a", Verdict::Violated), ("b", Verdict::Violated)],
        );
        let one = finding(Evidence::Exhausted, &[("a", Verdict::Violated), ("b", Verdict::Held)]);
        assert_eq!(expect(&["a", "b"]).judge(&both), Ok(()));
        assert_eq!(
            expect(&["a"]).judge(&both),
            Err("b should hold and can be violated".to_owned())
        );
        assert_eq!(
            expect(&["a", "b"]).judge(&one),
            Err("b should be violated and holds in every schedule".to_owned())
        );
    }

    #[test]
    fn a_sample_may_miss_some_of_the_violations_but_not_all() {
        let sampled = Evidence::Sampled { runs: 10, miss: None };
        let one = finding(sampled.clone(), &[("a", Verdict::Violated), ("b", Verdict::Held)]);
        let none = finding(sampled, &[("a", Verdict::Held), ("b", Verdict::Held)]);
        assert_eq!(expect(&["a", "b"]).judge(&one), Ok(()));
        assert_eq!(expect(&[]).judge(&none), Ok(()));
        assert!(expect(&["a"]).judge(&none).is_err());
    }

    #[test]
    fn a_bound_of_the_drivers_own_is_no_proof() {
        let mut bounded = finding(Evidence::Exhausted, &[("a", Verdict::Held)]);
        bounded.bounds.own.push((Bounds::PREEMPTIONS, 1));
        assert_eq!(
            expect(&["a"]).judge(&bounded),
            Err("a should be violated and was not seen within 1 preemption".to_owned())
        );
        assert_eq!(expect(&["a"]).missed(&bounded), [Arc::from("a")]);
        let proof = finding(Evidence::Exhausted, &[("a", Verdict::Held)]);
        assert!(expect(&["a"]).missed(&proof).is_empty(), "that is no miss, it holds");
    }

    #[test]
    fn a_search_that_was_stopped_never_passes_for_a_proof() {
        let limit = Limit::States(5);
        let stopped = finding(Evidence::Truncated { limit }, &[("a", Verdict::Unknown)]);
        assert!(expect(&[]).judge(&stopped).is_err());
        assert!(
            expect(&[]).judge_part(&stopped).is_err(),
            "a part that was stopped is no part"
        );
        assert!(
            expect(&["a"]).missed(&stopped).is_empty(),
            "it is not decided, which is more than a miss"
        );
        let shard = Limit::Shard(1, 2);
        let part = finding(Evidence::Truncated { limit: shard }, &[("a", Verdict::Unknown)]);
        assert_eq!(expect(&["a"]).judge_part(&part), Ok(()));
    }
}
