//! What came of a suite.

use std::sync::Arc;

use super::run::Case;
use crate::explore::{Driver, Finding, Verdict};

/// One scenario with one driver.
#[derive(Clone, Debug)]
pub struct Record {
    /// The scenario.
    pub case: Arc<Case>,
    /// What the driver found.
    pub finding: Finding,
    /// Whether that was expected; otherwise why not.
    pub judged: Result<(), String>,
    /// Whether it could not be run because a part of the environment is missing.
    pub environment: bool,
    /// Whether it is a part of an exploration, to be joined with the others.
    pub split: bool,
    /// What is expected to be violated, and this driver, which does not try everything, did not see it.
    pub missed: Vec<Arc<str>>,
}

impl Record {
    /// Judges a finding by what its scenario expects. What was skipped is accepted: nobody required it.
    pub(crate) fn new(case: Arc<Case>, finding: Finding, environment: bool, split: bool) -> Record {
        let judged = match finding.verdict {
            Verdict::Skipped => Ok(()),
            _ if split => case.scenario.expect.judge_part(&finding),
            _ => case.scenario.expect.judge(&finding),
        };
        let missed = match finding.driver {
            Driver::Loom | Driver::Shuttle | Driver::Storm => case.scenario.expect.missed(&finding),
            // The server is asked to show what the explorer found, and can't always be made to.
            Driver::Postgres => {
                let mut missed = case.scenario.expect.missed(&finding);
                missed.retain(|name| finding.unforced.contains(name));
                missed
            }
            // It tries everything.
            Driver::Explore => Vec::new(),
        };
        Record {
            case,
            finding,
            judged,
            environment,
            split,
            missed,
        }
    }

    /// Judges it once more, now that it is known what other drivers have seen: what one of them has a schedule for was only missed here. A miss is a
    /// failure where that is asked for.
    pub(crate) fn settle(&mut self, seen: &[Arc<str>], strict: bool) {
        if self.missed.is_empty() {
            return;
        }
        let scope = self.finding.scope();
        let seen: Vec<Arc<str>> = self.missed.iter().filter(|name| seen.contains(name)).cloned().collect();
        self.judged = self.case.scenario.expect.but(&seen).judge(&self.finding);
        if strict && self.judged.is_ok() {
            let missed = self.missed.join(" and ");
            self.judged = Err(format!("{missed} was not seen {scope}, which --strict makes a failure"));
        }
    }

    /// Whether the finding is as expected.
    pub fn is_expected(&self) -> bool {
        self.judged.is_ok()
    }

    /// `registration/partnercrm-hardened::explore`.
    pub fn name(&self) -> String {
        format!("{}::{}", self.case.scenario.name, self.finding.driver)
    }
}

/// Every scenario with every driver, in the order of the suite.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// One for each scenario and driver.
    pub records: Vec<Record>,
    /// Which Postgres was used, if any was asked for and found.
    pub postgres: Option<String>,
}

impl Results {
    /// Whether everything is as expected.
    pub fn is_ok(&self) -> bool {
        self.records.iter().all(Record::is_expected)
    }

    /// How many were skipped.
    pub fn skipped(&self) -> usize {
        let skipped = |record: &&Record| record.finding.verdict == Verdict::Skipped;
        self.records.iter().filter(skipped).count()
    }

    /// How many have missed what another driver has seen.
    pub fn missed(&self) -> usize {
        self.records.iter().filter(|record| !record.missed.is_empty()).count()
    }

    /// Those that are not as expected.
    pub fn surprises(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| !record.is_expected())
    }
}
