//! Our systems for stateright, in the bench and in the test that compares counts.

use std::sync::Arc;

use deadheat::system::{State, Step, System};
use stateright::{Model, Property};

/// A system as stateright sees it. A step and the state that it leads to are computed once, when the actions are asked for.
pub(crate) struct Peer(pub(crate) System);

#[derive(Clone, Debug)]
pub(crate) struct Taken(Step, Arc<State>);

impl PartialEq for Taken {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Model for Peer {
    type State = Arc<State>;
    type Action = Taken;

    fn init_states(&self) -> Vec<Arc<State>> {
        vec![Arc::new(self.0.initial())]
    }

    fn actions(&self, state: &Arc<State>, actions: &mut Vec<Taken>) {
        let successors = self.0.successors(state).into_iter();
        actions.extend(successors.map(|(step, after, _)| Taken(step, Arc::new(after))));
    }

    fn next_state(&self, _: &Arc<State>, action: Taken) -> Option<Arc<State>> {
        Some(action.1)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // All invariants, checked in every state as ours are. It is never found, so that the search goes on to its end.
        vec![Property::sometimes("never", |peer: &Peer, state: &Arc<State>| {
            let at_end = peer.0.is_final(state);
            peer.0.breaches(state, at_end).len() == usize::MAX
        })]
    }
}
