//! What the explorer is told: limits, threads, reductions, and whom to tell how far it is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::checkpoint::Checkpoint;

/// Somebody who is told how far a search is.
pub type Tell = dyn Fn(&Progress) + Send + Sync;

/// Somebody who keeps what a search has reached.
pub type Keep = dyn Fn(&Checkpoint) + Send + Sync;

/// How to explore.
#[derive(Clone)]
pub struct Options {
    /// Stop after so many states.
    pub max_states: Option<u64>,
    /// Stop after so much time.
    pub max_time: Option<Duration>,
    /// Stop when the explorer's own data take so many bytes.
    pub max_memory: Option<u64>,
    /// How many threads to use; the finding does not depend on it.
    pub threads: usize,
    /// Leave out orders of independent steps that lead to the same states.
    pub reduction: bool,
    /// Stop statements only where somebody could notice (see [`Points`](crate::system::Points)); otherwise wherever the system allows it.
    pub points: bool,
    /// Take processes that start alike for one another, where nothing knows them by name ([`Invariant::tells_apart`](crate::system::Invariant::tells_apart),
    /// [`Service::rename`](crate::world::service::Service::rename)).
    pub symmetry: bool,
    /// Stop after the first level of states that has one which breaks an invariant.
    pub stop_at_violation: bool,
    /// Explore only this part of so many (both from 1): the first levels whole, then every n-th state of one level and what follows
    /// from it. [`merge`](super::merge) joins the parts.
    pub shard: Option<(u32, u32)>,
    /// Go on from here, instead of from the start. [`Checkpoint::fits`] says whether that can be done.
    pub resume: Option<Arc<Checkpoint>>,
    /// Handed what was reached, every two minutes and when a limit stops the search.
    pub keep: Option<Arc<Keep>>,
    /// Compute the decisive step of counterexamples.
    pub decisive: bool,
    /// Told now and then how far the search is.
    pub progress: Option<Arc<Tell>>,
}

impl Default for Options {
    /// No limit but 4 GiB, all reductions, one thread.
    fn default() -> Self {
        Options {
            max_states: None,
            max_time: None,
            max_memory: Some(4 << 30),
            threads: 1,
            reduction: true,
            points: true,
            symmetry: true,
            stop_at_violation: false,
            shard: None,
            resume: None,
            keep: None,
            decisive: true,
            progress: None,
        }
    }
}

impl Options {
    /// Every state and every step, without any reduction.
    pub fn plain() -> Self {
        Options {
            reduction: false,
            points: false,
            symmetry: false,
            ..Options::default()
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("max_states", &self.max_states)
            .field("max_time", &self.max_time)
            .field("max_memory", &self.max_memory)
            .field("threads", &self.threads)
            .field("reduction", &self.reduction)
            .field("points", &self.points)
            .field("symmetry", &self.symmetry)
            .field("shard", &self.shard)
            .field("decisive", &self.decisive)
            .finish_non_exhaustive()
    }
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// Different states so far.
    pub states: u64,
    /// States that are not expanded yet.
    pub frontier: u64,
    /// About how many states there still are, if each level is smaller than the one before by as much as this one is; `None` while they grow.
    pub left: Option<u64>,
    /// Steps from the start to the states that are expanded now.
    pub depth: u64,
    /// What the explorer's own data take, in bytes.
    pub memory: u64,
    /// Time since the start.
    pub seconds: f64,
}

impl Progress {
    /// How many states are still to come, when `done` of a level of `size` have led to `found` new ones.
    pub(super) fn estimate(size: usize, done: usize, found: usize) -> Option<u64> {
        let ratio = found as f64 / done.max(1) as f64;
        let next = ratio * size as f64;
        // Each level has `ratio` times as many as the one before.
        (ratio < 0.95).then(|| (next / (1.0 - ratio) - found as f64).max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn what_is_left_is_only_guessed_where_levels_shrink() {
        assert_eq!(Progress::estimate(100, 100, 50), Some(50));
        assert_eq!(Progress::estimate(100, 50, 25), Some(75));
        assert_eq!(Progress::estimate(100, 100, 100), None);
    }
}
