//! Footprints: what a step touched, for partial-order reduction.

use std::sync::Arc;

use smallvec::SmallVec;

use super::step::Fault;
use crate::machine::Pid;

/// What a step read and wrote. Two steps with footprints that do not conflict commute: in either order they lead to the
/// same state, and neither enables or disables the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Footprint(SmallVec<[(Resource, bool); 6]>);

/// Something that steps share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// A process: what it waits for and what reaches it.
    Process(Pid),
    /// A row, key, predicate or lock of the database, as the database names it.
    Database(u64),
    /// A key of a service.
    Service(Arc<str>, Arc<str>),
    /// The clock.
    Clock,
    /// What is left of a fault's budget.
    Budget(Fault),
}

impl Resource {
    /// Every key of a service at once.
    pub const WHOLE: &'static str = "*";

    /// Whether the two have something in common.
    fn overlaps(&self, other: &Resource) -> bool {
        match (self, other) {
            (Resource::Service(service, key), Resource::Service(theirs, their_key)) => {
                service == theirs && (key == their_key || **key == *Self::WHOLE || **their_key == *Self::WHOLE)
            }
            _ => self == other,
        }
    }
}

impl Footprint {
    /// Notes an access.
    pub fn touch(&mut self, resource: Resource, write: bool) {
        match self.0.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, written)) => *written |= write,
            None => self.0.push((resource, write)),
        }
    }

    /// Whether the two have a resource in common that one of them writes.
    pub fn conflicts(&self, other: &Footprint) -> bool {
        self.0.iter().any(|(resource, write)| {
            other
                .0
                .iter()
                .any(|(theirs, written)| (*write || *written) && resource.overlaps(theirs))
        })
    }

    /// Every access, with whether it writes.
    pub fn iter(&self) -> impl Iterator<Item = &(Resource, bool)> {
        self.0.iter()
    }
}
