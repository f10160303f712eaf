//! Ways to explore a system: ours, and peers behind adapters that use what they document for everybody.

use std::time::Duration;

use deadheat::drive::loom::{LoomOptions, loom};
use deadheat::drive::shuttle::shuttle_dfs;
use deadheat::explore::{Evidence, Finding, Options, brute_force, explore};
use deadheat::system::System;
use stateright::{Checker, Model};

use crate::model::Peer;

/// An explorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Explorer {
    /// Ours without any reduction: every state, as stateright counts them.
    Plain,
    /// Ours as it is used.
    Ours,
    /// The same on two threads.
    OursOnTwo,
    /// stateright's breadth-first checker on one thread.
    Stateright,
    /// A queue and a set of whole states: what no cleverness costs.
    BruteForce,
    /// loom without a preemption bound.
    Loom,
    /// shuttle's depth-first scheduler, which tries every order.
    Shuttle,
}

impl Explorer {
    pub(crate) const ALL: [Explorer; 7] = [
        Explorer::Plain,
        Explorer::Ours,
        Explorer::OursOnTwo,
        Explorer::Stateright,
        Explorer::BruteForce,
        Explorer::Loom,
        Explorer::Shuttle,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Explorer::Plain => "deadheat_plain",
            Explorer::Ours => "deadheat",
            Explorer::OursOnTwo => "deadheat_2_threads",
            Explorer::Stateright => "stateright",
            Explorer::BruteForce => "brute_force",
            Explorer::Loom => "loom",
            Explorer::Shuttle => "shuttle",
        }
    }

    /// Explores a system to its end, or until so much time has passed where the explorer can be told so.
    pub(crate) fn run(self, system: &System, patience: Duration) -> Took {
        let options = |options: Options| Options {
            max_time: Some(patience),
            max_memory: Some(4 << 30),
            decisive: false,
            ..options
        };
        match self {
            Explorer::Plain => Took::of(&explore(system, &options(Options::plain()))),
            Explorer::Ours => Took::of(&explore(system, &options(Options::default()))),
            Explorer::OursOnTwo => {
                let two = Options {
                    threads: 2,
                    ..Options::default()
                };
                Took::of(&explore(system, &options(two)))
            }
            Explorer::BruteForce => Took::of(&brute_force(system, &options(Options::plain()))),
            Explorer::Stateright => stateright(system, patience),
            Explorer::Loom => {
                let options = LoomOptions {
                    max_permutations: usize::MAX,
                    preemptions: vec![None],
                    max_steps: 10_000,
                    spent: Duration::ZERO,
                    max_time: None,
                };
                Took::of(&loom(system, &options))
            }
            Explorer::Shuttle => Took::of(&shuttle_dfs(system, 10_000)),
        }
    }
}

/// What an explorer did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    /// Different states, or whole schedules.
    pub(crate) count: u64,
    pub(crate) transitions: u64,
    pub(crate) whole: bool,
}

impl Took {
    fn of(finding: &Finding) -> Took {
        let stats = finding.stats;
        Took {
            count: if stats.states > 0 { stats.states } else { stats.finals },
            transitions: stats.transitions,
            whole: finding.evidence == Evidence::Exhausted,
        }
    }
}

fn stateright(system: &System, patience: Duration) -> Took {
    let started = std::time::Instant::now();
    let checker = Peer(system.clone()).checker().threads(1).spawn_bfs();
    // Its own timeout does not tell what was reached.
    while !checker.is_done() && started.elapsed() < patience {
        std::thread::sleep(Duration::from_micros(200));
    }
    Took {
        count: checker.unique_state_count() as u64,
        transitions: checker.state_count() as u64,
        whole: checker.is_done(),
    }
}
