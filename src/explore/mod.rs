//! The explorer: every schedule of a system within its bounds.
//!
//! Two questions, two modes. *Is any bad state reachable?* is answered by [`explore()`], which visits every state once. *Which
//! schedules are really different?* is answered by [`classes()`], which runs one schedule of each equivalence class.

#[cfg(test)]
mod agreement;
mod classes;
mod digest;
mod judge;
mod merge;
mod moves;
mod options;
mod parts;
mod plain;
mod refine;
mod search;
#[cfg(test)]
pub(crate) mod toy;
mod verdict;
mod visited;

pub use classes::{Classes, classes};
pub use merge::{BadMerge, merge};
pub use options::{Options, Progress, Tell};
pub use plain::brute_force;
pub use verdict::{Bounds, Counterexample, Driver, Evidence, Finding, Judged, Limit, Miss, Reached, Stats, Verdict};

use std::time::Instant;

use crate::system::System;
use parts::Parts;
use search::Search;

/// Visits every reachable state and judges every invariant.
pub fn explore(system: &System, options: &Options) -> Finding {
    let started = Instant::now();
    let parts = Parts::default();
    let search = Search::run(system, &parts, options, started);
    refine::conclude(search, options, started)
}
