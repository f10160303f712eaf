//! Mutexes and flags: what processes of one program, or a lock service without leases, wait for each other by.
//!
//! Reached under the service name `locks`. A mutex is held until its holder releases it or crashes. It is not re-entrant: who acquires what it
//! holds waits for itself. A flag stays set.
//!
//! **How it departs from life.** Whoever comes first when a mutex is free gets it; nobody is promised a turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::machine::service::{Answer, Call};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::{Service, VirtualTable};

/// The service's name.
pub const LOCKS: &str = "locks";

/// Every mutex that is held and every flag that is set.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Locks {
    held: BTreeMap<Arc<str>, Pid>,
    flags: BTreeSet<Arc<str>>,
}

impl Service for Locks {
    fn call(&mut self, caller: Pid, call: &Call, _now: i64) -> Result<Answer, NoAnswer> {
        let key = key(call);
        Ok(match &*call.operation {
            "acquire" => {
                let free = !self.held.contains_key(&key);
                if free {
                    self.held.insert(key, caller);
                }
                Answer::one("acquired", free)
            }
            "release" => {
                if self.held.get(&key) == Some(&caller) {
                    self.held.remove(&key);
                }
                Answer::Ok(Vec::new())
            }
            "signal" => {
                self.flags.insert(key);
                Answer::Ok(Vec::new())
            }
            _ => Answer::Ok(Vec::new()),
        })
    }

    fn ready(&self, call: &Call, _now: i64) -> bool {
        match &*call.operation {
            "acquire" => call.arguments.get("nowait").is_some() || !self.held.contains_key(&key(call)),
            "wait" => self.flags.contains(&key(call)),
            _ => true,
        }
    }

    fn rename(&mut self, names: &Renaming) -> bool {
        for holder in self.held.values_mut() {
            *holder = names.pid(*holder);
        }
        true
    }

    fn disconnected(&mut self, caller: Pid, _now: i64) {
        self.held.retain(|_, holder| *holder != caller);
    }

    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        let flag = matches!(&*call.operation, "signal" | "wait");
        let key = format!("{} {}", if flag { "flag" } else { "mutex" }, key(call));
        vec![(key.into(), &*call.operation != "wait")]
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let rows = self.held.keys().map(|key| vec![Value::Text(key.clone())]);
        vec![VirtualTable {
            name: "mutexes".into(),
            columns: vec![("key".into(), "text".into())],
            rows: rows.collect(),
        }]
    }
}

fn key(call: &Call) -> Arc<str> {
    match call.arguments.get("key") {
        Some(Value::Text(text)) => text.clone(),
        Some(other) => other.to_string().into(),
        None => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Locks;
    use crate::machine::service::Call;
    use crate::machine::{Pid, Renaming};
    use crate::world::service::Service;

    #[test]
    fn a_mutex_is_waited_for_and_freed_by_a_crash() {
        let mut locks = Locks::default();
        let acquire = Call::new("locks", "acquire").with("key", "a");
        locks.call(Pid::root(0), &acquire, 0).ok();
        assert!(!locks.ready(&acquire, 0));
        locks
            .call(Pid::root(1), &Call::new("locks", "release").with("key", "a"), 0)
            .ok();
        assert!(!locks.ready(&acquire, 0), "only its holder releases it");
        locks.disconnected(Pid::root(0), 0);
        assert!(locks.ready(&acquire, 0));
    }

    #[test]
    fn who_does_not_want_to_wait_is_told_and_who_waits_for_a_flag_sees_it_set() {
        let mut locks = Locks::default();
        let call = |operation: &'static str| Call::new("locks", operation).with("key", "a");
        locks.call(Pid::root(0), &call("acquire"), 0).ok();
        let impatient = call("acquire").with("nowait", true);
        assert!(locks.ready(&impatient, 0));
        let answer = locks.call(Pid::root(1), &impatient, 0).expect("it answers");
        assert_eq!(answer.get("acquired"), Some(&false.into()));
        assert!(!locks.ready(&call("wait"), 0));
        locks.call(Pid::root(1), &call("signal"), 0).ok();
        assert!(locks.ready(&call("wait"), 0));
        // The two do not commute: one of them writes.
        assert!(locks.touches(&call("signal")).iter().all(|(_, writes)| *writes));
        assert_eq!(locks.touches(&call("signal"))[0].0, locks.touches(&call("wait"))[0].0);
    }

    #[test]
    fn a_mutex_is_held_by_who_is_called_so_now() {
        let mut locks = Locks::default();
        let acquire = Call::new("locks", "acquire").with("key", "a");
        locks.call(Pid::root(0), &acquire, 0).ok();
        assert!(locks.rename(&Renaming::of(&[1, 0])));
        locks.disconnected(Pid::root(0), 0);
        assert!(!locks.ready(&acquire, 0));
        locks.disconnected(Pid::root(1), 0);
        assert!(locks.ready(&acquire, 0));
    }
}
