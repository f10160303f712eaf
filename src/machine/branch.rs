//! Where the world itself may go either way: a branch asks which way this run takes.

use super::access::{Access, Point};
use super::pid::Pid;

/// Decides what the real world leaves open: which of two waiters wins a lock, which member of a deadlock is the victim.
///
/// A driver that explores asks for every answer in turn; a driver that replays gives the recorded ones.
pub trait Branch {
    /// One of `options` (at least 1), as a number below it. 0 is what the real server usually does.
    fn choose(&mut self, options: usize) -> usize;

    /// A statement of this session begins, or goes on.
    fn begin(&mut self, _session: Pid) {}

    /// The session's statement is at a point inside of it: whether it stops here, so that others can come between.
    fn stop(&mut self, _session: Pid, _point: Point<'_>) -> bool {
        false
    }

    /// The session read or took something at no point: at the start of a statement, or at its COMMIT.
    fn note(&mut self, _session: Pid, _access: Access) {}
}

/// Always the usual answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usual;

impl Branch for Usual {
    fn choose(&mut self, _options: usize) -> usize {
        0
    }
}

/// Gives recorded answers, then the usual one, and remembers every question: the way to enumerate all runs of a step.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    answers: Vec<u8>,
    asked: Vec<(u8, u8)>,
}

impl Scripted {
    /// Replays `answers`.
    pub fn new(answers: &[u8]) -> Self {
        Scripted {
            answers: answers.to_vec(),
            asked: Vec::new(),
        }
    }

    /// The answers that were given, without the usual ones at the end.
    pub fn given(&self) -> Vec<u8> {
        let mut given: Vec<u8> = self.asked.iter().map(|(answer, _)| *answer).collect();
        while given.last() == Some(&0) {
            given.pop();
        }
        given
    }

    /// The answers of the next run in depth-first order; `None` after the last.
    pub fn next(&self) -> Option<Scripted> {
        let mut asked = self.asked.clone();
        while let Some((answer, options)) = asked.pop() {
            if answer + 1 < options {
                let mut answers: Vec<u8> = asked.iter().map(|(answer, _)| *answer).collect();
                answers.push(answer + 1);
                return Some(Scripted {
                    answers,
                    asked: Vec::new(),
                });
            }
        }
        None
    }

    /// Whether a recorded answer was out of range or never asked for.
    pub fn misfit(&self) -> bool {
        self.answers.len() > self.asked.len()
            || self
                .answers
                .iter()
                .zip(&self.asked)
                .any(|(answer, (given, _))| answer != given)
    }
}

impl Branch for Scripted {
    fn choose(&mut self, options: usize) -> usize {
        let options = options.clamp(1, 255) as u8;
        let wanted = self.answers.get(self.asked.len()).copied().unwrap_or(0);
        let answer = if wanted < options { wanted } else { 0 };
        self.asked.push((answer, options));
        answer.into()
    }
}

#[cfg(test)]
mod tests {
    use super::{Branch, Scripted};

    #[test]
    fn every_run_of_nested_choices_is_enumerated_once() {
        let mut seen = Vec::new();
        let mut next = Some(Scripted::default());
        while let Some(mut script) = next {
            let first = script.choose(2);
            let second = if first == 0 { script.choose(3) } else { 9 };
            seen.push((first, second));
            next = script.next();
        }
        assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 9)]);
    }
}
