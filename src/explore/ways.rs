//! From states of a search back to schedules, over the user's own names.

use super::search::Search;
use super::symmetry::Symmetry;
use crate::machine::Renaming;
use crate::system::Step;

impl Search<'_> {
    /// Finds a schedule to each kind of final state, and to each invariant's first breach; false when there is none, which is so when the roots
    /// were not alike.
    pub(super) fn find_ways(&mut self) -> bool {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let mut symmetry = self.alike.map(|alike| Symmetry::new(alike, self.parts));
        let found = outcomes.values_mut().all(|shown| {
            let (state, names) = &shown.first;
            let way = self.way(&mut symmetry, self.steps(*state), names.as_ref());
            way.map(|way| shown.witness = way).is_some()
        });
        self.outcomes = outcomes;
        let broken = self.broken.iter().enumerate();
        let broken = broken.filter_map(|(place, state)| Some((place as u16, (*state)?)));
        let ways = broken.map(|(place, state)| Some((place, self.way(&mut symmetry, self.steps(state), None)?)));
        let ways: Option<Vec<(u16, Vec<Step>)>> = ways.collect();
        match ways {
            Some(ways) if found => {
                self.breaks = ways;
                true
            }
            _ => false,
        }
    }

    /// Steps from state to state of the search, as a schedule.
    fn way(
        &self,
        symmetry: &mut Option<Symmetry<'_>>,
        steps: Vec<Step>,
        names: Option<&Renaming>,
    ) -> Option<Vec<Step>> {
        let Some(symmetry) = symmetry else { return Some(steps) };
        let same = Renaming::identity(self.system.spec().roots.len());
        symmetry.unfolded(self.system, &steps, names.unwrap_or(&same))
    }

    /// A schedule to the first step that met SQL which the model does not know.
    pub(super) fn refusal(&self) -> Option<Vec<Step>> {
        let (state, step) = self.refused?;
        let mut steps = self.steps(state);
        steps.push(self.parts.read().steps.get(step).clone());
        let mut symmetry = self.alike.map(|alike| Symmetry::new(alike, self.parts));
        self.way(&mut symmetry, steps, None)
    }

    /// The steps that led to a state first, each over the names of the state before it.
    fn steps(&self, state: u32) -> Vec<Step> {
        let pools = self.parts.read();
        let mut steps = Vec::new();
        let mut at = state;
        while let Some((from, step)) = self.origins.get(at as usize).filter(|(from, _)| *from != u32::MAX) {
            steps.push(pools.steps.get(*step).clone());
            at = *from;
        }
        steps.reverse();
        steps
    }
}
