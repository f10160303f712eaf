//! Services beside the database, as pure data behind one trait.

use std::any::Any;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::machine::service::{Answer, Call, Delivery};
use crate::machine::{NoAnswer, Pid, Renaming};
pub use crate::world::database::VirtualTable;

/// A service of the world: the payment provider, the cache, a queue, ... A pure function of its state and the call.
///
/// Time is virtual: the world's clock is handed in, in microseconds, and only moves when the schedule moves it.
/// Implementors derive `Clone`, `Eq`, `Hash` and `Debug`.
pub trait Service: Debug + Send + Sync {
    /// Does what `call` asks, for the process `caller`.
    fn call(&mut self, caller: Pid, call: &Call, now: i64) -> Result<Answer, NoAnswer>;

    /// Whether the call can be taken now. A call that is not ready waits (a worker that takes a job from an empty queue).
    fn ready(&self, _call: &Call, _now: i64) -> bool {
        true
    }

    /// Whether it is a part of each process that calls it (its clock, its memory): its calls take no network and cannot be lost, and nobody else
    /// can tell when they took place, so they are no steps.
    fn is_own(&self) -> bool {
        false
    }

    /// Of a service that is the process's own: whether the answer depends on the world's clock.
    fn tells_time(&self, _call: &Call) -> bool {
        false
    }

    /// Of a call that wants what an earlier one may still hold (an idempotency key): whose it is, and what the call may be told as long as that one has no
    /// answer. Asked again after the call: what is then in use by the caller itself is held until its answer has arrived.
    fn in_use(&self, _call: &Call, _now: i64) -> Option<InUse> {
        None
    }

    /// Webhooks that the last call made due; they are delivered by processes of the environment. Taken once.
    fn deliveries(&mut self) -> Vec<Delivery> {
        Vec::new()
    }

    /// The next moment after `now` at which the service changes by itself (a TTL ends, a job becomes visible).
    fn next_deadline(&self, _now: i64) -> Option<i64> {
        None
    }

    /// Lets everything happen that is due at `now`.
    fn advance(&mut self, _now: i64) {}

    /// A process crashed or lost its connection to the world.
    fn disconnected(&mut self, _caller: Pid, _now: i64) {}

    /// What a call touches, for partial-order reduction: a key, and whether it is written. Two calls that have no key in
    /// common, or only read those they share, commute. The default is the whole service, written.
    fn touches(&self, _call: &Call) -> Vec<(Arc<str>, bool)> {
        vec![("*".into(), true)]
    }

    /// Calls every process by another name, wherever the state has one; false where it can't, because names of processes went into what it
    /// holds or gave out (an id made of the caller's, say). Then no symmetry between processes is used.
    fn rename(&mut self, _names: &Renaming) -> bool {
        false
    }

    /// The service's state as tables for invariants: name, columns, rows.
    fn tables(&self) -> Vec<VirtualTable> {
        Vec::new()
    }
}

/// What an earlier call may still hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InUse {
    /// The process that made the earlier call.
    pub by: Pid,
    /// What it holds.
    pub key: Arc<str>,
    /// What the later call may be told.
    pub answer: Answer,
}

trait Erased: Service {
    fn boxed(&self) -> Box<dyn Erased>;
    fn same(&self, other: &dyn Erased) -> bool;
    fn feed(&self, hasher: &mut dyn Hasher);
    fn as_any(&self) -> &dyn Any;
}

impl<S: Service + Clone + Eq + Hash + Any> Erased for S {
    fn boxed(&self) -> Box<dyn Erased> {
        Box::new(self.clone())
    }

    fn same(&self, other: &dyn Erased) -> bool {
        other.as_any().downcast_ref::<S>() == Some(self)
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Any service, as a value: cheap to clone, comparable, hashable, copied when it is changed.
#[derive(Clone, Debug)]
pub struct Provided(Arc<Shared>);

#[derive(Debug)]
struct Shared(Box<dyn Erased>);

impl Provided {
    /// Wraps a service.
    pub fn new<S: Service + Clone + Eq + Hash + Any>(service: S) -> Self {
        Provided(Arc::new(Shared(Box::new(service))))
    }

    /// The service, to look at.
    pub fn get(&self) -> &dyn Service {
        &*self.0.0
    }

    /// The service, if it is an `S`.
    pub fn downcast<S: Service + Any>(&self) -> Option<&S> {
        self.0.0.as_any().downcast_ref()
    }

    /// Changes a copy of the service and keeps the copy.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut dyn Service) -> T) -> T {
        let mut service = self.0.0.boxed();
        let result = change(&mut *service);
        self.0 = Arc::new(Shared(service));
        result
    }
}

impl PartialEq for Provided {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.0.same(&*other.0.0)
    }
}

impl Eq for Provided {}

impl Hash for Provided {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.0.feed(hasher);
    }
}
