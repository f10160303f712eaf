//! Random runs, the same ones every time: a sample of schedules for the server beside those that the explorer points out.

use std::rc::Rc;

use crate::system::{Points, Schedule, Step, System};

/// A run that is longer than this is cut: a system that never ends must not hold the driver up.
pub(super) const LONGEST: usize = 400;

/// Runs of a system without end, chosen by the generator that starts from `seed`. None stops a statement in the middle, which is not forced on the
/// server.
pub fn walks(system: &System, seed: u64) -> impl Iterator<Item = Schedule> + use<> {
    let system = Rc::new(system.with_points(Points::None));
    let mut random = SplitMix(seed);
    std::iter::repeat_with(move || walk(&system, &mut random))
}

fn walk(system: &System, random: &mut SplitMix) -> Schedule {
    let mut state = system.initial();
    let mut steps: Vec<Step> = Vec::new();
    while steps.len() < LONGEST && !system.is_final(&state) {
        let actions = system.enabled(&state);
        let Some(action) = actions.get(random.below(actions.len())) else {
            break;
        };
        let mut ways = Vec::new();
        system.outcomes(&state, *action, &mut ways);
        let way = random.below(ways.len());
        let Some((step, after, _)) = ways.into_iter().nth(way) else {
            break;
        };
        steps.push(step);
        state = after;
    }
    Schedule {
        fingerprint: system.spec().fingerprint(),
        steps,
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and its numbers are the same on every machine and in every release.
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // A bias of 1 in 2^50 for the few alternatives that a state has.
        (mixed % bound.max(1) as u64) as usize
    }
}
