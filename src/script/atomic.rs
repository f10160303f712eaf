//! Atomic blocks: the steps of a `atomic { }` run inside the cache, as one command of it, as a Lua script does in life.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::bound::{Bound, Typed};
use super::code::Shared;
use super::run::Interpreter;
use crate::machine::service::{Answer, Call};
use crate::machine::{Effect, Machine, NoAnswer, Pid, Renaming, Reply};
use crate::value::Value;
use crate::world::service::{Provided, Service, VirtualTable};

/// The service whose commands an atomic block may hold.
pub(crate) const SERVICE: &str = "cache";

/// The operation that runs a block.
pub(crate) const OPERATION: &str = "atomic";

/// A service that also runs blocks of its own commands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scripted {
    inner: Provided,
    /// The blocks, by their text. The same in every state of a run.
    blocks: Arc<BTreeMap<Arc<str>, Shared>>,
}

impl Scripted {
    pub(crate) fn new(inner: Provided, blocks: BTreeMap<Arc<str>, Shared>) -> Self {
        Scripted {
            inner,
            blocks: Arc::new(blocks),
        }
    }

    /// Runs a block; `each` does its commands.
    fn run(&self, call: &Call, each: &mut dyn FnMut(&Call) -> Result<Answer, NoAnswer>) -> Result<Answer, NoAnswer> {
        let code = match call.arguments.get("script") {
            Some(Value::Text(text)) => self.blocks.get(text),
            _ => None,
        };
        let Some(code) = code else {
            return Err(NoAnswer::Unavailable);
        };
        let given = call.arguments.0.iter().filter(|(name, _)| &**name != "script");
        let values = given.filter_map(|(name, value)| {
            let slot = code.0.names.iter().position(|known| known == name)?;
            Some((slot as u16, Bound::Scalar(Typed::plain(value.clone()))))
        });
        let mut interpreter = Interpreter::new(code.clone(), values);
        let mut reply = Reply::Start;
        loop {
            reply = match interpreter.step(reply) {
                Effect::Call(command) => Reply::Service(each(&command)),
                _ => break,
            };
        }
        if let Some((code, message)) = interpreter.failure() {
            // As with a script in life: what was written before stays written, and the caller is told.
            return Ok(Answer::refused(500, code, message));
        }
        let given = interpreter.given.map_or(Value::Null, |typed| typed.value);
        Ok(Answer::Ok(vec![("value".into(), given)]))
    }
}

impl Service for Scripted {
    fn call(&mut self, caller: Pid, call: &Call, now: i64) -> Result<Answer, NoAnswer> {
        if &*call.operation != OPERATION {
            return self.inner.change(|service| service.call(caller, call, now));
        }
        let mut inner = self.inner.clone();
        let answer = self.run(call, &mut |command| {
            inner.change(|service| service.call(caller, command, now))
        });
        self.inner = inner;
        answer
    }

    fn ready(&self, call: &Call, now: i64) -> bool {
        self.inner.get().ready(call, now)
    }

    fn deliveries(&mut self) -> Vec<crate::machine::service::Delivery> {
        self.inner.change(|service| service.deliveries())
    }

    fn next_deadline(&self, now: i64) -> Option<i64> {
        self.inner.get().next_deadline(now)
    }

    fn advance(&mut self, now: i64) {
        self.inner.change(|service| service.advance(now));
    }

    fn disconnected(&mut self, caller: Pid, now: i64) {
        self.inner.change(|service| service.disconnected(caller, now));
    }

    fn rename(&mut self, names: &Renaming) -> bool {
        self.inner.change(|service| service.rename(names))
    }

    /// What the commands of a block would touch now: found by running it on a copy.
    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        if &*call.operation != OPERATION {
            return self.inner.get().touches(call);
        }
        let mut inner = self.inner.clone();
        let mut touched = Vec::new();
        let _ = self.run(call, &mut |command| {
            touched.extend(inner.get().touches(command));
            inner.change(|service| service.call(Pid::root(0), command, 0))
        });
        touched
    }

    fn tables(&self) -> Vec<VirtualTable> {
        self.inner.get().tables()
    }
}
