//! A spec file as data.

use std::ops::Range;
use std::sync::Arc;

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Blocks that the control connection runs before each permutation.
    pub setups: Vec<Block>,
    /// The block that the control connection runs after each permutation.
    pub teardown: Option<Block>,
    /// The sessions, in the order of the file.
    pub sessions: Vec<Session>,
    /// The permutations as written; none means all of them (see [`Spec::permutations`]).
    pub written: Vec<Permutation>,
}

/// SQL in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The text, trimmed of blanks (not newlines) at both ends.
    pub text: Arc<str>,
    /// Where that text is in the file, in bytes.
    pub span: Range<usize>,
}

/// A session: a connection with its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub name: Arc<str>,
    /// Runs before each permutation.
    pub setup: Option<Block>,
    /// Its steps.
    pub steps: Vec<Step>,
    /// Runs after each permutation.
    pub teardown: Option<Block>,
}

/// A named step: one message of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name, unique in the file.
    pub name: Arc<str>,
    /// What it sends.
    pub sql: Block,
}

/// Which step: the place of its session, and its own place in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepRef {
    /// The session's place in the file.
    pub session: usize,
    /// The step's place in the session.
    pub step: usize,
}

/// An order of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutation {
    /// Its entries.
    pub entries: Vec<Entry>,
}

/// One launch of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The step.
    pub step: StepRef,
    /// What delays the report of its completion.
    pub markers: Vec<Marker>,
}

/// What delays the report of a step's completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// `*`: always reported as waiting first.
    Once,
    /// Not complete while that step is its session's active one.
    While(StepRef),
    /// Not complete until that step's session has sent so many more notices.
    Notices(StepRef, u64),
}

impl Spec {
    /// A step by its place.
    ///
    /// # Panics
    /// When the place is not one of this file's.
    pub fn step(&self, at: StepRef) -> &Step {
        &self.sessions[at.session].steps[at.step]
    }

    /// A step by its name.
    pub fn find(&self, name: &str) -> Option<StepRef> {
        self.sessions.iter().enumerate().find_map(|(session, found)| {
            let step = found.steps.iter().position(|step| &*step.name == name)?;
            Some(StepRef { session, step })
        })
    }

    /// The steps that no permutation uses, sorted by name.
    pub fn unused(&self) -> Vec<&str> {
        if self.written.is_empty() {
            return Vec::new();
        }
        let used = |at: StepRef| {
            let mut entries = self.written.iter().flat_map(|permutation| &permutation.entries);
            entries.any(|entry| entry.step == at)
        };
        let mut unused: Vec<&str> = (0..self.sessions.len())
            .flat_map(|session| (0..self.sessions[session].steps.len()).map(move |step| StepRef { session, step }))
            .filter(|at| !used(*at))
            .map(|at| &*self.step(at).name)
            .collect();
        unused.sort_unstable();
        unused
    }

    /// The permutations to run: the written ones, or all interleavings that keep each session's order, generated
    /// depth-first with the sessions tried in the order of the file.
    pub fn permutations(&self) -> Permutations<'_> {
        Permutations {
            spec: self,
            written: 0,
            chosen: Vec::new(),
            fresh: true,
        }
    }
}

/// Iterates over the permutations of a spec; see [`Spec::permutations`].
#[derive(Clone, Debug)]
pub struct Permutations<'a> {
    spec: &'a Spec,
    written: usize,
    // The session chosen at each place of the last interleaving.
    chosen: Vec<usize>,
    fresh: bool,
}

impl Iterator for Permutations<'_> {
    type Item = Permutation;

    fn next(&mut self) -> Option<Permutation> {
        if !self.spec.written.is_empty() {
            let next = self.spec.written.get(self.written)?.clone();
            self.written += 1;
            return Some(next);
        }
        let mut left: Vec<usize> = self.spec.sessions.iter().map(|session| session.steps.len()).collect();
        if std::mem::take(&mut self.fresh) {
            fill(&mut self.chosen, &mut left);
        } else {
            self.chosen.iter().for_each(|session| left[*session] -= 1);
            // Back to the last place where a later session could have gone first.
            loop {
                let last = self.chosen.pop()?;
                left[last] += 1;
                if let Some(next) = (last + 1..left.len()).find(|session| left[*session] > 0) {
                    left[next] -= 1;
                    self.chosen.push(next);
                    fill(&mut self.chosen, &mut left);
                    break;
                }
            }
        }
        let mut done = vec![0; left.len()];
        let entries = self.chosen.iter().map(|session| {
            let step = done[*session];
            done[*session] += 1;
            Entry {
                step: StepRef {
                    session: *session,
                    step,
                },
                markers: Vec::new(),
            }
        });
        Some(Permutation {
            entries: entries.collect(),
        })
    }
}

fn fill(chosen: &mut Vec<usize>, left: &mut [usize]) {
    while let Some(session) = left.iter().position(|left| *left > 0) {
        left[session] -= 1;
        chosen.push(session);
    }
}
