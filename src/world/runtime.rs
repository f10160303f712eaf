//! What a program's own runtime gives it: the clock and values that nobody else gets.
//!
//! Reached under the service name `runtime`. A machine is pure, so it asks for them as it asks for anything else; but they are
//! its [own](crate::world::service::Service::is_own): asking is no step and cannot fail.
//!
//! **How it departs from life.** A fresh value is named after who asks and how often, not drawn at random: two schedules that do the same leave the same
//! values. Clocks of different processes agree; a skew between them is a parameter of the scenario.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use crate::machine::service::{Answer, Call};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::Service;

/// The service's name.
pub const RUNTIME: &str = "runtime";

/// Clock and fresh values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Runtime {
    given: BTreeMap<Pid, u32>,
}

impl Service for Runtime {
    fn call(&mut self, caller: Pid, call: &Call, now: i64) -> Result<Answer, NoAnswer> {
        if &*call.operation == "now" {
            return Ok(Answer::one("now", Value::Timestamp(now)));
        }
        let count = self.given.entry(caller).or_default();
        *count += 1;
        let value = match &*call.operation {
            "fresh_uuid" => {
                let path = caller
                    .path()
                    .fold(0_u128, |path, number| (path << 8) | (u128::from(number) + 1));
                // Version 4, variant 1, as any random one says of itself.
                Value::Uuid(Uuid::from_u128((path << 96) | (0x4000_8000 << 48) | u128::from(*count)))
            }
            _ => Value::text(format!("{caller}#{count}")),
        };
        Ok(Answer::one("value", value))
    }

    fn is_own(&self) -> bool {
        true
    }

    fn tells_time(&self, call: &Call) -> bool {
        &*call.operation == "now"
    }

    /// Not once a value was given, which is named after its owner.
    fn rename(&mut self, _names: &Renaming) -> bool {
        self.given.is_empty()
    }

    fn touches(&self, _call: &Call) -> Vec<(Arc<str>, bool)> {
        // What one process is given does not depend on what another was.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::Runtime;
    use crate::machine::Pid;
    use crate::machine::service::Call;
    use crate::world::service::Service;

    #[test]
    fn fresh_values_differ_and_do_not_depend_on_the_order_of_processes() {
        let ask = |runtime: &mut Runtime, pid: u8| {
            let call = Call::new("runtime", "fresh_uuid");
            runtime
                .call(Pid::root(pid), &call, 0)
                .ok()
                .and_then(|answer| answer.get("value").cloned())
        };
        let (mut one, mut other) = (Runtime::default(), Runtime::default());
        let ab = (ask(&mut one, 0), ask(&mut one, 1));
        let ba = (ask(&mut other, 1), ask(&mut other, 0));
        assert_eq!(ab, (ba.1, ba.0));
        assert_ne!(ab.0, ab.1);
        assert_ne!(ask(&mut one, 0), ab.0);
        assert_eq!(one.given[&Pid::root(0)], 2);
    }
}
