//! The explorer: every schedule of a system within its bounds.
//!
//! Two questions, two modes. *Is any bad state reachable?* is answered by [`explore()`], which visits every state once. *Which
//! schedules are really different?* is answered by [`classes()`], which runs one schedule of each equivalence class.

mod acts;
#[cfg(test)]
mod agreement;
mod checkpoint;
mod classes;
mod digest;
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
mod statements;
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
    Bounds, Counterexample, Driver, Evidence, Finding, Judged, Limit, Miss, Reached, Stats, Verdict, counted,
};

use std::time::Instant;

use crate::system::System;
use parts::Parts;
use search::Search;
use symmetry::Alike;

/// Visits every reachable state and judges every invariant.
pub fn explore(system: &System, options: &Options) -> Finding {
    let started = Instant::now();
    if let Some(Err(error)) = options.resume.as_ref().map(|from| from.fits(system, options)) {
        let reason = format!("the checkpoint can't be gone on from: {error}");
        return Finding::without_run(Driver::Explore, system.spec(), Verdict::Error, reason);
    }
    let parts = Parts::default();
    let alike = if options.symmetry { Alike::of(system) } else { None };
    let search = Search::run(system, &parts, alike.as_ref(), options, started);
    if search.is_foreign {
        let reason = "the checkpoint's steps do not lead to its states: it is of another system";
        return Finding::without_run(Driver::Explore, system.spec(), Verdict::Error, reason);
    }
    refine::conclude(search, options, started)
}
