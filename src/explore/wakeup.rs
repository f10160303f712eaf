//! Wakeup trees: what is yet to be tried from a state of the current run, as sequences of acts that share their beginnings.

use std::rc::Rc;

use super::acts::Act;

/// Whether a sequence can begin with an act without another outcome: the act is in it and nothing before it conflicts, or nothing in it conflicts at
/// all (a weak initial). If so, where it is in the sequence.
pub(super) fn begins(act: &Act, sequence: &[Rc<Act>]) -> Option<Option<usize>> {
    for (place, other) in sequence.iter().enumerate() {
        if other.is(act) {
            return Some(Some(place));
        }
        if other.conflicts(act) {
            return None;
        }
    }
    Some(None)
}

/// Sequences that are yet to be tried, in the order in which they will be.
#[derive(Debug, Default)]
pub(super) struct Tree(Vec<(Rc<Act>, Tree)>);

impl Tree {
    /// Whether it leads nowhere in particular: everything after it is to be explored.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes out what is to be tried first, with what is to be tried after it.
    pub(super) fn pop(&mut self) -> Option<(Rc<Act>, Tree)> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Adds a sequence, unless trying what is in the tree already tries it.
    pub(super) fn insert(&mut self, mut sequence: Vec<Rc<Act>>) {
        let branch = self
            .0
            .iter_mut()
            .find_map(|(act, below)| Some((begins(act, &sequence)?, below)));
        match branch {
            Some((place, below)) => {
                if let Some(place) = place {
                    sequence.remove(place);
                }
                // A leaf stands for everything after it.
                if !below.is_empty() {
                    below.insert(sequence);
                }
            }
            None => {
                let chain = |below: Tree, act: Rc<Act>| Tree(vec![(act, below)]);
                let more = sequence.into_iter().rev().fold(Tree::default(), chain);
                self.0.extend(more.0);
            }
        }
    }
}
