//! The explorer: every schedule of a system within its bounds.
//!
//! Two questions, two modes. *Is any bad state reachable?* is answered by [`explore()`], which visits every state once. *Which
//! schedules are really different?* is answered by [`classes()`], which runs one schedule of each equivalence class.

mod acts;
#[cfg(test)]
mod agreement;
mod checkpoint;
mod classes;
pub(crate) mod digest;
mod judge;
mod level;
mod merge;
mod moves;
mod options;
mod parts;
mod plain;
mod refine;
mod resume;
mod search;
#[cfg(test)]
pub(crate) mod statements;
mod symmetry;
#[cfg(test)]
pub(crate) mod toy;
mod verdict;
mod visited;
mod wakeup;
mod ways;
mod worker;

pub use checkpoint::{BadCheckpoint, Checkpoint};
pub use classes::{Classes, classes};
pub use merge::{BadMerge, merge};
pub use options::{Keep, Options, Progress, Tell};
pub use plain::brute_force;
pub use verdict::{
    Bounds, Counterexample, Driver, Evidence, Finding, Inside, Judged, Limit, Miss, Reached, Stats, Verdict, counted,
};

use std::time::{Duration, Instant};

use crate::system::{Points, Seen, System};
use parts::Parts;
use search::Search;
use symmetry::Alike;

/// The same system with its statements stopped only where somebody could notice, for drivers that take one run after the other. Where that takes more than so many states,
/// or longer, to find out, they are stopped everywhere.
pub fn survey(system: &System, most_states: u64, max_time: Option<Duration>) -> System {
    let started = Instant::now();
    if *system.points() != Points::All {
        return system.clone();
    }
    let options = Options {
        max_states: Some(most_states),
        max_time,
        ..Options::default()
    };
    let mut seen = Seen::default();
    loop {
        let surveyed = system.with_points(Points::Seen(seen.clone()));
        let parts = Parts::default();
        let alike = Alike::of(&surveyed);
        let search = Search::run(&surveyed, &parts, alike.as_ref(), None, &options, started);
        if search.unforeseen {
            seen.merge(&search.learned.seen);
            continue;
        }
        return match search.stopped {
            None => surveyed.clone(),
            Some(_) => system.clone(),
        };
    }
}

/// Visits every reachable state and judges every invariant.
pub fn explore(system: &System, options: &Options) -> Finding {
    let started = Instant::now();
    if let Some(Err(error)) = options.resume.as_ref().map(|from| from.fits(system, options)) {
        let reason = format!("the checkpoint can't be gone on from: {error}");
        return Finding::without_run(Driver::Explore, system.spec(), Verdict::Error, reason);
    }
    // A part of an exploration does not know what the other parts touch.
    let is_part = options.shard.is_some_and(|(_, of)| of > 1) || options.resume.is_some() || options.keep.is_some();
    let learns = options.points && *system.points() == Points::All && !is_part;
    let noting = system.noting();
    let (system, notes) = match &noting {
        Some((system, notes)) => (system, Some(notes)),
        None => (system, None),
    };
    let mut seen = Seen::default();
    loop {
        let system = match learns {
            true => system.with_points(Points::Seen(seen.clone())),
            false => system.clone(),
        };
        let parts = Parts::default();
        let alike = if options.symmetry { Alike::of(&system) } else { None };
        let search = Search::run(&system, &parts, alike.as_ref(), notes, options, started);
        if search.is_foreign {
            let reason = "the checkpoint's steps do not lead to its states: it is of another system";
            return Finding::without_run(Driver::Explore, system.spec(), Verdict::Error, reason);
        }
        if search.unforeseen {
            // What was learned would have stopped a statement where it was not: once more, with all that is known now.
            seen.merge(&search.learned.seen);
            continue;
        }
        let mut finding = refine::conclude(search, options, started);
        // Of a search that was stopped nobody knows what it would have passed.
        if let (Some(vacuity), Some(notes), Evidence::Exhausted) = (&system.spec().vacuity, notes, &finding.evidence) {
            finding.warnings = vacuity.warnings(notes);
        }
        return finding;
    }
}
