//! A search as a checkpoint, and back.

use std::collections::BTreeMap;

use super::checkpoint::{Checkpoint, Head, Kept, VERSION};
use super::level::Level;
use super::options::Options;
use super::parts::Row;
use super::search::{Final, Search};
use super::worker::Worker;
use crate::machine::Renaming;
use crate::system::Schedule;

impl<'a> Search<'a> {
    /// What was reached, `done` states of the level being expanded.
    pub(super) fn checkpoint(&self, options: &Options, done: usize) -> Checkpoint {
        let pools = self.parts.read();
        let steps = Schedule {
            fingerprint: self.system.spec().fingerprint(),
            steps: (1..=pools.steps.len() as u32)
                .map(|number| pools.steps.get(number).clone())
                .collect(),
        };
        let roots = 0..self.system.spec().roots.len() as u8;
        let outcomes = self.outcomes.values().map(|shown| {
            let (state, names) = &shown.first;
            Kept {
                count: shown.count,
                state: *state,
                names: names
                    .as_ref()
                    .map(|names| roots.clone().map(|root| names.top(root)).collect()),
                broken: shown.broken.clone(),
            }
        });
        let origins = self.origins[1..].to_vec();
        Checkpoint {
            head: Head {
                checkpoint: VERSION,
                deadheat: env!("CARGO_PKG_VERSION").to_owned(),
                fingerprint: steps.fingerprint,
                reduction: options.reduction,
                symmetry: self.alike.is_some(),
                shard: options.shard,
                looked_at: self.looked_at,
                split: self.split,
                depth: self.depth,
                done: done as u64,
                states: origins.len() as u64,
                steps: steps.to_string(),
                transitions: self.transitions,
                finals: self.finals,
                broken: self.broken.clone(),
                outcomes: outcomes.collect(),
                refused: self.refused,
                passed: self.notes.as_ref().map_or_else(Vec::new, |notes| notes.passed()),
                failed: self.notes.as_ref().map_or_else(Vec::new, |notes| notes.failed()),
            },
            origins,
        }
    }

    /// Takes the steps of a checkpoint again, and hands back the level that was being expanded and the one after it. `None` when they
    /// do not lead to as many states.
    pub(super) fn rebuild(
        &mut self,
        from: &Checkpoint,
        worker: &mut Worker<'a>,
        first: Level,
    ) -> Option<(Level, Level)> {
        let head = &from.head;
        let steps: Vec<u32> = head
            .steps
            .parse::<Schedule>()
            .ok()?
            .steps
            .iter()
            .map(|step| self.parts.step(step))
            .collect();
        let step_of = |place: u32| steps.get((place as usize).checked_sub(1)?).copied();
        let (mut level, mut next) = (first, Level::beginning_at(self.origins.len()));
        let mut rows: BTreeMap<u32, Row> = head.outcomes.iter().map(|kept| (kept.state, Row::new())).collect();
        if let Some(row) = rows.get_mut(&0) {
            *row = level.row(0).into();
        }
        let mut depth = 0;
        let deeper = |level: &mut Level, next: &mut Level, depth: &mut u64, reached: usize| {
            *depth += 1;
            let reached = std::mem::replace(next, Level::beginning_at(reached));
            *level = match (head.split == Some(*depth), head.shard) {
                (true, Some((part, of))) => reached.part(part, of),
                _ => reached,
            };
        };
        let mut expanded = None;
        for (number, (parent, step)) in (1..).zip(&from.origins) {
            if *parent >= next.first {
                deeper(&mut level, &mut next, &mut depth, self.origins.len());
            }
            if *parent < level.first || level.place(*parent) >= level.len() {
                return None;
            }
            let place = level.place(*parent);
            if expanded != Some(*parent) {
                worker.moves.expand(level.row(place), &mut worker.expansion);
                if let Some(symmetry) = &mut worker.symmetry {
                    symmetry.look_at(level.row(place));
                }
                expanded = Some(*parent);
            }
            let step = step_of(*step)?;
            let (row, digest) = worker.taken(level.row(place), level.digests[place], step)?;
            if !self.visited.insert(digest) {
                return None;
            }
            if let Some(wanted) = rows.get_mut(&number) {
                wanted.clone_from(&row);
            }
            next.push(&row, digest);
            self.origins.push((*parent, step));
        }
        while depth < head.depth {
            deeper(&mut level, &mut next, &mut depth, self.origins.len());
        }
        for kept in &head.outcomes {
            let names = kept.names.as_deref().map(Renaming::of);
            let row = rows.get(&kept.state).filter(|row| !row.is_empty())?;
            let outcome = worker.outcome(row, names.as_ref())?;
            let shown = Final {
                count: kept.count,
                first: (kept.state, names),
                witness: Vec::new(),
                broken: kept.broken.clone(),
            };
            self.outcomes.insert(outcome, shown);
        }
        self.refused = match head.refused {
            Some((state, step)) => Some((state, step_of(step)?)),
            None => None,
        };
        self.broken.clone_from(&head.broken);
        if let Some(notes) = &self.notes {
            notes.add(&head.passed, &head.failed);
        }
        (self.transitions, self.finals) = (head.transitions, head.finals);
        (self.depth, self.split) = (head.depth, head.split);
        let is_whole = depth == head.depth && head.done as usize <= level.len();
        is_whole.then_some((level, next))
    }
}
