//! What machines have passed in all the schedules of a search: the places of their programs that were reached, and how they failed.
//!
//! Not part of any state: a machine that takes notes is equal to one that does not. Notes only grow, so that they do not depend on the order in
//! which threads take them.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Notes of several programs.
#[derive(Debug, Default)]
pub struct Notes(Vec<Part>);

/// Notes of one program.
#[derive(Debug)]
struct Part {
    passed: Vec<AtomicU64>,
    failures: Mutex<BTreeSet<(Arc<str>, u32)>>,
}

impl Notes {
    /// Empty notes of programs that have so many places each.
    pub fn new(sizes: impl IntoIterator<Item = usize>) -> Notes {
        let part = |size: usize| Part {
            passed: (0..size.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            failures: Mutex::default(),
        };
        Notes(sizes.into_iter().map(part).collect())
    }

    /// The program passed the place.
    pub fn pass(&self, program: usize, place: usize) {
        let word = self.0.get(program).and_then(|part| part.passed.get(place / 64));
        if let Some(word) = word {
            let bit = 1 << (place % 64);
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Whether it ever passed the place.
    pub fn has_passed(&self, program: usize, place: usize) -> bool {
        let word = self.0.get(program).and_then(|part| part.passed.get(place / 64));
        word.is_some_and(|word| word.load(Ordering::Relaxed) & (1 << (place % 64)) != 0)
    }

    /// The program failed with an error of that name at the place.
    pub fn fail(&self, program: usize, error: &Arc<str>, place: u32) {
        if let Some(part) = self.0.get(program) {
            let mut failures = part.failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.insert((error.clone(), place));
        }
    }

    /// The errors that it failed with, and where.
    pub fn failures(&self, program: usize) -> BTreeSet<(Arc<str>, u32)> {
        self.0.get(program).map_or_else(BTreeSet::new, |part| {
            part.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
        })
    }

    /// Everything that was passed, as bits, for a search that is to be gone on with.
    pub fn passed(&self) -> Vec<Vec<u64>> {
        let words = |part: &Part| part.passed.iter().map(|word| word.load(Ordering::Relaxed)).collect();
        self.0.iter().map(words).collect()
    }

    /// Everything that was failed with.
    pub fn failed(&self) -> Vec<Vec<(String, u32)>> {
        let told = |program| {
            let failures = self.failures(program).into_iter();
            failures.map(|(error, place)| (error.to_string(), place)).collect()
        };
        (0..self.0.len()).map(told).collect()
    }

    /// Adds what [`Notes::passed`] and [`Notes::failed`] told before.
    pub fn add(&self, passed: &[Vec<u64>], failed: &[Vec<(String, u32)>]) {
        for (part, words) in self.0.iter().zip(passed) {
            for (word, bits) in part.passed.iter().zip(words) {
                word.fetch_or(*bits, Ordering::Relaxed);
            }
        }
        for (program, failures) in failed.iter().enumerate() {
            for (error, place) in failures {
                self.fail(program, &error.as_str().into(), *place);
            }
        }
    }
}

/// Where a machine takes its notes, if anywhere. Equal to any other: no part of the machine's state.
#[derive(Clone, Debug, Default)]
pub struct Notebook(pub Option<Arc<Notes>>);

impl PartialEq for Notebook {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Notebook {}

impl Hash for Notebook {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
