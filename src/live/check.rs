//! What a race found, told as a failed test tells it.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::sync::Arc;

use super::ask::Tally;
use super::race::has_success;
use super::together::Company;
use crate::explore::{Counterexample, Evidence, Finding, Options, Verdict, counted, explore};
use crate::report::{Lanes, violation};
use crate::system::{Schedule, System};

/// The environment variable with a schedule that is to be replayed.
const REPLAY: &str = "DEADHEAT_REPLAY";

/// What a race found out.
#[derive(Debug)]
pub struct Findings {
    name: Arc<str>,
    found: Found,
    expected: Vec<Arc<str>>,
    tally: Tally,
    company: Company,
}

#[derive(Debug)]
enum Found {
    /// The test itself is wrong.
    Mistake(String),
    /// Every schedule was explored, or as many as the limits allow; with the counterexamples in words.
    Explored(Box<Finding>, Vec<(Arc<str>, String)>),
    /// One schedule was replayed.
    Replayed(Result<(), String>),
}

impl Findings {
    pub(super) fn mistaken(name: Arc<str>, mistake: String) -> Findings {
        Findings {
            name,
            found: Found::Mistake(mistake),
            expected: Vec::new(),
            tally: Tally::default(),
            company: Company::default(),
        }
    }

    pub(super) fn of(name: Arc<str>, system: &System, options: &Options, expected: Vec<Arc<str>>) -> Findings {
        let found = match std::env::var(REPLAY) {
            Ok(token) => Found::Replayed(replay(system, &token)),
            Err(_) => {
                let finding = explore(system, options);
                let mut told = Vec::new();
                for judged in &finding.invariants {
                    if let Some(counterexample) = &judged.counterexample {
                        told.push((judged.invariant.clone(), tell(&name, system, &finding, counterexample)));
                    }
                }
                Found::Explored(Box::new(finding), told)
            }
        };
        Findings {
            name,
            found,
            expected,
            tally: Tally::default(),
            company: Company::default(),
        }
    }

    pub(super) fn asked(mut self, tally: Tally) -> Findings {
        self.tally = tally;
        self
    }

    pub(super) fn in_company(mut self, company: Company) -> Findings {
        self.company = company;
        self
    }

    /// The verdict with its evidence, if every schedule was to be explored.
    pub fn finding(&self) -> Option<&Finding> {
        match &self.found {
            Found::Explored(finding, _) => Some(finding),
            Found::Mistake(_) | Found::Replayed(_) => None,
        }
    }

    /// How often the code was started. Each history is asked of two executions, which are compared.
    pub fn runs(&self) -> u64 {
        self.tally.runs
    }

    /// How many histories of replies there are.
    pub fn histories(&self) -> u64 {
        self.tally.histories
    }

    /// Why the test fails, if it does.
    pub fn failure(&self) -> Option<String> {
        match &self.found {
            Found::Mistake(mistake) => Some(format!("the race `{}` can't be run: {mistake}", self.name)),
            Found::Replayed(Ok(())) => None,
            Found::Replayed(Err(told)) => Some(told.clone()),
            Found::Explored(finding, told) => self.judge(finding, told),
        }
    }

    fn judge(&self, finding: &Finding, told: &[(Arc<str>, String)]) -> Option<String> {
        if let Some((how, schedule)) = &self.company.parted {
            return Some(format!(
                "no verdict: {how}. So the code keeps something outside of the database that requests share (a static, a cache, a mutex, a pool), and what was explored with each \
                 request by itself says nothing about it. Keep that in the database or in what each request is given.\n\nschedule: {schedule}\n{self}\n"
            ));
        }
        let violated = finding.violated();
        let error = finding.verdict == Verdict::Error;
        let unexpected: Vec<&str> = told
            .iter()
            .filter(|(name, _)| error || !self.expected.contains(name))
            .map(|(_, text)| text.as_str())
            .collect();
        if !unexpected.is_empty() {
            return Some(format!("{}{self}\n", unexpected.join("\n")));
        }
        if let Some(missing) = self.expected.iter().find(|name| !violated.contains(name)) {
            let scope = finding.scope();
            return Some(format!(
                "`{missing}` is expected to be broken, and is kept {scope}\n{self}\n"
            ));
        }
        match finding.verdict {
            Verdict::Held | Verdict::Violated if finding.evidence == Evidence::Exhausted => {
                let mut outcomes = finding.outcomes.iter().map(|reached| &reached.outcome.0);
                let succeeds = outcomes.any(|outcome| {
                    outcome
                        .iter()
                        .any(|(label, rows)| &**label == "successes" && has_success(rows))
                });
                (!succeeds).then(|| {
                    format!("no request and no process ever succeeds, so the promises hold for want of trying; outcomes:\n{}\n{self}\n", outcomes_of(finding))
                })
            }
            Verdict::Violated => None,
            verdict => {
                let reason = finding.reason.as_deref().unwrap_or("a limit stopped the search");
                Some(format!("{verdict}: {reason}\n{self}\n"))
            }
        }
    }
}

fn outcomes_of(finding: &Finding) -> String {
    let all: Vec<String> = finding
        .outcomes
        .iter()
        .map(|reached| format!("  {}", reached.outcome))
        .collect();
    all.join("\n")
}

/// What was explored, and what that took of the code: `asked 37 times, 212 histories`.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Found::Explored(finding, _) = &self.found {
            write!(
                f,
                "{}: {}; {}",
                finding.verdict,
                finding.bounds,
                violation::explored(finding)
            )?;
        }
        let (runs, histories) = (
            counted(self.tally.runs, "time"),
            counted(self.tally.histories, "history"),
        );
        write!(f, "; asked {runs}, {histories}")?;
        if self.company.followed > 0 {
            let followed = counted(self.company.followed, "schedule");
            write!(f, "; {followed} followed again with all requests in one process")?;
        }
        if self.tally.at_once > 1 {
            let most = self.tally.at_once;
            write!(
                f,
                "; up to {most} statements of one process at once, released in the order in which they were sent"
            )?;
        }
        Ok(())
    }
}

pub(super) fn check(findings: &Findings) {
    match findings.failure() {
        Some(failure) => panic!("\n{failure}"),
        None => tell_success(findings),
    }
}

#[expect(
    clippy::print_stdout,
    reason = "a test that succeeds says on what it rests, where somebody looks"
)]
fn tell_success(findings: &Findings) {
    println!("{}: {findings}", findings.name);
}

fn tell(name: &str, system: &System, finding: &Finding, counterexample: &Counterexample) -> String {
    let mut text = format!("{}\n\n", violation::sentence(counterexample));
    text.push_str(&lanes(system, &counterexample.schedule, counterexample.decisive));
    // Writing to a String can't fail.
    match counterexample.decisive {
        Some(0) => text.push_str("\ndecisive: none of them; every schedule breaks the promise\n"),
        Some(decisive) => {
            let _ = writeln!(
                text,
                "\ndecisive: step {decisive}; after it, no schedule keeps the promise"
            );
        }
        None => text.push_str("\ndecisive: not computed, which would have gone beyond a limit\n"),
    }
    let _ = writeln!(
        text,
        "replay:   {REPLAY}='{}' cargo test {name}",
        counterexample.schedule
    );
    let _ = writeln!(text, "bounds:   {}", finding.bounds);
    text
}

fn lanes(system: &System, schedule: &Schedule, decisive: Option<usize>) -> String {
    match system.replay(schedule) {
        Ok((trace, end)) => {
            let lanes = Lanes {
                decisive,
                ..Lanes::default()
            };
            lanes.draw(system, &trace, &end)
        }
        Err(misfit) => format!("its schedule does not replay, which is a mistake in deadheat: {misfit}\n"),
    }
}

/// Replays one schedule; an `Err` tells how it breaks a promise, or why it can't be replayed.
fn replay(system: &System, token: &str) -> Result<(), String> {
    let schedule = Schedule::from_str(token).map_err(|error| format!("{REPLAY}: {error}"))?;
    let (_, end) = system
        .replay(&schedule)
        .map_err(|misfit| format!("{REPLAY}: {misfit}"))?;
    let breaches = system.breaches(&end, system.is_final(&end));
    let Some(breach) = breaches.first() else { return Ok(()) };
    let told = lanes(system, &schedule, None);
    Err(format!(
        "{} is violated: {}\n\n{told}",
        breach.invariant, breach.sentence
    ))
}
