//! Schedules: a whole run as a short token that can be pasted, and replayed on any driver.
//!
//! `dh1.5f3a9c01.0.0a_3.0+t.0b` reads: format 1; recorded for the scenario with fingerprint `5f3a9c01`; process 0 takes a step; the first process it
//! started (`0a`) takes three; the client times out (`+t`); its second handler (`0b`) takes one. `=1` after a step says that the world went the second of several
//! possible ways in it, and `T` is the clock moving to the next deadline.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use smallvec::SmallVec;

use super::step::Stop;
use super::step::{Action, Fault, Step};
use super::trace::Trace;
use super::ways::Ways;
use super::{Spec, State, System};
use crate::machine::Pid;

const VERSION: &str = "dh1";

/// A run as a list of steps, recorded for one scenario.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Schedule {
    /// The [fingerprint](Spec::fingerprint) of the scenario it was recorded for.
    pub fingerprint: u32,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// It was written by a release with another format.
    #[error("the schedule has format `{found}`, and this release reads `{VERSION}`; record it again with this release")]
    Version {
        /// Its first part.
        found: String,
    },
    /// The second part is not a fingerprint.
    #[error("`{found}` is not a scenario fingerprint (eight hexadecimal digits)")]
    Fingerprint {
        /// The part.
        found: String,
    },
    /// A part is not a step.
    #[error("part {place}, `{found}`, is not a step; a step looks like `0`, `0a`, `0a_3`, `0!1`, `0+t` or `T`")]
    Step {
        /// Which part, counted from 1.
        place: usize,
        /// The part.
        found: String,
    },
}

/// Why a schedule can't be replayed on a system.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It was recorded for another scenario, or for an earlier version of this one.
    #[error(
        "the schedule was recorded for scenario {recorded:08x}, and `{name}` is {actual:08x}: \
         it is of another scenario, or this one has changed since; run the scenario to get a schedule that fits"
    )]
    Scenario {
        /// The fingerprint in the schedule.
        recorded: u32,
        /// The fingerprint of the scenario.
        actual: u32,
        /// The scenario's name.
        name: String,
    },
    /// A step is not enabled where the schedule has it.
    #[error("step {place}, `{step}`, can't be taken there; these can: {enabled}")]
    NotEnabled {
        /// Which step, counted from 1.
        place: usize,
        /// The step.
        step: String,
        /// What can be taken instead.
        enabled: String,
    },
    /// A step says that the world went a way that is not open to it.
    #[error(
        "step {place}, `{step}`, has a way (`=`) that the world can't go there, or a point (`!`) that its statement does not have"
    )]
    NoSuchWay {
        /// Which step, counted from 1.
        place: usize,
        /// The step.
        step: String,
    },
}

impl Spec {
    /// A short check value of everything that a schedule depends on (FNV-1a over the name and the
    /// [identity](Spec::identity)), the same on every machine.
    pub fn fingerprint(&self) -> u32 {
        let bytes = self.name.bytes().chain([0]).chain(self.identity.bytes());
        bytes.fold(0x811c_9dc5, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }
}

impl System {
    /// Replays a schedule from the start. Returns each step's state after it, with what happened.
    pub fn replay(&self, schedule: &Schedule) -> Result<(Trace, State), Misfit> {
        let actual = self.spec.fingerprint();
        if schedule.fingerprint != actual {
            let name = self.spec.name.to_string();
            return Err(Misfit::Scenario {
                recorded: schedule.fingerprint,
                actual,
                name,
            });
        }
        let mut state = self.initial();
        let mut trace = Trace::default();
        for (place, step) in schedule.steps.iter().enumerate() {
            let events = self.replay_step(&mut state, step, place + 1)?;
            trace.0.push((step.clone(), events));
        }
        Ok((trace, state))
    }

    /// Takes one recorded step; `place` counts from 1 and is for the error.
    pub fn replay_step(&self, state: &mut State, step: &Step, place: usize) -> Result<Vec<super::Event>, Misfit> {
        if !self.is_enabled(state, step.action) {
            let enabled: Vec<String> = self
                .enabled(state)
                .into_iter()
                .map(|action| Step::new(action).to_string())
                .collect();
            let enabled = if enabled.is_empty() {
                "none, the run has ended".to_owned()
            } else {
                enabled.join(" ")
            };
            return Err(Misfit::NotEnabled {
                place,
                step: step.to_string(),
                enabled,
            });
        }
        let mut ways = Ways::recorded(step);
        let taken = self.take(state, step.action, &mut ways);
        if ways.misfit() {
            return Err(Misfit::NoSuchWay {
                place,
                step: step.to_string(),
            });
        }
        Ok(taken.events)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.action {
            Action::Tick => f.write_char('T')?,
            Action::Run(pid) => write_pid(f, pid)?,
            Action::Fault(pid, fault) => {
                write_pid(f, pid)?;
                write!(f, "+{}", fault.code())?;
            }
        }
        for way in &self.branch {
            write!(f, "={way}")?;
        }
        for stop in &self.stops {
            match stop.statement {
                0 => write!(f, "!{}", stop.point)?,
                woken => write!(f, "!{woken}-{}", stop.point)?,
            }
        }
        Ok(())
    }
}

/// `0`, `0a`, `0ab`: the root's number, then a letter for each further number of the path (`a`..`z`, then `(27)`).
fn write_pid(f: &mut fmt::Formatter<'_>, pid: Pid) -> fmt::Result {
    for (depth, number) in pid.path().enumerate() {
        match (depth, number) {
            (0, _) => write!(f, "{number}")?,
            (_, 0..26) => f.write_char(char::from(b'a' + number))?,
            (_, _) => write!(f, "({number})")?,
        }
    }
    Ok(())
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}.{:08x}", self.fingerprint)?;
        for run in self.steps.chunk_by(|one, next| one == next) {
            match run {
                [step] => write!(f, ".{step}")?,
                [step, ..] => write!(f, ".{step}_{}", run.len())?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let mut parts = text.trim().split('.');
        let version = parts.next().unwrap_or_default();
        if version != VERSION {
            return Err(ScheduleError::Version {
                found: version.to_owned(),
            });
        }
        let found = parts.next().unwrap_or_default();
        let fingerprint = match u32::from_str_radix(found, 16) {
            Ok(fingerprint) if found.len() == 8 => fingerprint,
            _ => {
                return Err(ScheduleError::Fingerprint {
                    found: found.to_owned(),
                });
            }
        };
        let mut steps = Vec::new();
        for (place, part) in parts.enumerate() {
            let (step, count) = read_run(part).ok_or_else(|| ScheduleError::Step {
                place: place + 1,
                found: part.to_owned(),
            })?;
            steps.extend(std::iter::repeat_n(step, count));
        }
        Ok(Schedule { fingerprint, steps })
    }
}

/// Longer runs than this are not written by any driver; the bound keeps a pasted token from filling the memory.
const LONGEST_RUN: usize = 10_000;

fn read_run(part: &str) -> Option<(Step, usize)> {
    let (step, count) = match part.split_once('_') {
        Some((step, count)) => (
            step,
            count.parse().ok().filter(|count| (1..=LONGEST_RUN).contains(count))?,
        ),
        None => (part, 1),
    };
    let mut parts = step.split('!');
    let mut pieces = parts.next()?.split('=');
    let action = read_action(pieces.next()?)?;
    let branch = pieces
        .map(|way| way.parse().ok())
        .collect::<Option<SmallVec<[u8; 4]>>>()?;
    let stops = parts.map(read_stop).collect::<Option<SmallVec<[Stop; 1]>>>()?;
    Some((Step { action, branch, stops }, count))
}

/// `2`, or `1-2` for the statement that was woken first.
fn read_stop(text: &str) -> Option<Stop> {
    let (statement, point) = text.split_once('-').unwrap_or(("0", text));
    Some(Stop {
        statement: statement.parse().ok()?,
        point: point.parse().ok()?,
    })
}

fn read_action(text: &str) -> Option<Action> {
    if text == "T" {
        return Some(Action::Tick);
    }
    match text.split_once('+') {
        None => Some(Action::Run(read_pid(text)?)),
        Some((pid, code)) => {
            let fault = Fault::ALL.into_iter().find(|fault| code.chars().eq([fault.code()]))?;
            Some(Action::Fault(read_pid(pid)?, fault))
        }
    }
}

fn read_pid(text: &str) -> Option<Pid> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let mut pid = Pid::root(text[..digits].parse::<u8>().ok().filter(|root| *root < 250)?);
    let mut rest = &text[digits..];
    while let Some(letter) = rest.chars().next() {
        let (number, used) = match letter {
            'a'..='z' => (letter as u8 - b'a', 1),
            '(' => {
                let end = rest.find(')')?;
                (rest[1..end].parse().ok().filter(|number| *number < 250)?, end + 1)
            }
            _ => return None,
        };
        pid = pid.child(number)?;
        rest = &rest[used..];
    }
    Some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) {
        let schedule: Schedule = text.parse().expect(text);
        assert_eq!(schedule.to_string(), text);
    }

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        round_trip("dh1.0000002a");
        round_trip("dh1.5f3a9c01.0.0a_3.0+t.0b.T.12z(26)+c.0a=1=0=2_2");
        round_trip("dh1.5f3a9c01.0!2.1a=1!0!1-3.0");
    }

    #[test]
    fn a_damaged_token_is_refused_with_its_part() {
        let error = |text: &str| text.parse::<Schedule>().expect_err(text).to_string();
        assert!(error("dh9.00000000.0").contains("format `dh9`"));
        assert!(error("dh1.xyz").contains("`xyz` is not a scenario fingerprint"));
        assert!(error("dh1.00000000.0.0A").contains("part 2, `0A`"));
        assert!(error("dh1.00000000.0a_0").contains("part 1, `0a_0`"));
        assert!(error("dh1.00000000.0a_99999999999").contains("part 1"));
        assert!(error("").contains("format ``"));
    }
}
