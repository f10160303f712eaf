//! What came of a suite.

use std::sync::Arc;

use super::run::Case;
use crate::explore::{Finding, Verdict};

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
}

impl Record {
    /// Judges a finding by what its scenario expects. What was skipped is accepted: nobody required it.
    pub(super) fn new(case: Arc<Case>, finding: Finding, environment: bool, split: bool) -> Record {
        let judged = match finding.verdict {
            Verdict::Skipped => Ok(()),
            _ if split => case.scenario.expect.judge_part(&finding),
            _ => case.scenario.expect.judge(&finding),
        };
        Record {
            case,
            finding,
            judged,
            environment,
            split,
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

    /// Those that are not as expected.
    pub fn surprises(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| !record.is_expected())
    }
}
