//! Parsed and planned messages, kept beside the hashed state.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use super::facade::PlanAssumption;
use super::message::{Message, Planned};
use super::planner::Assumption;

/// Messages by text. Equal to every other cache, and hashes to nothing: what is cached never changes an answer.
///
/// Clones share the cache only through the catalog's `Arc`; a changed catalog starts with an empty one.
#[derive(Debug, Default)]
pub(crate) struct PlanCache {
    messages: Mutex<FxHashMap<Arc<str>, Arc<Message>>>,
}

impl PlanCache {
    /// The message of that text, made by `make` if it is new.
    pub(crate) fn get<E>(&self, text: &Arc<str>, make: impl FnOnce() -> Result<Message, E>) -> Result<Arc<Message>, E> {
        let mut messages = match self.messages.lock() {
            Ok(messages) => messages,
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(message) = messages.get(text) {
            return Ok(Arc::clone(message));
        }
        let message = Arc::new(make()?);
        messages.insert(Arc::clone(text), Arc::clone(&message));
        Ok(message)
    }

    /// What the statements that ran took for granted of the server's plans.
    pub(crate) fn assumed(&self) -> BTreeSet<Assumption> {
        let messages = match self.messages.lock() {
            Ok(messages) => messages,
            Err(poisoned) => poisoned.into_inner(),
        };
        let statements = messages.values().flat_map(|message| &message.statements);
        statements.flat_map(Planned::assumed).collect()
    }

    /// The same with the statements.
    pub(crate) fn plan_assumptions(&self) -> Vec<PlanAssumption> {
        let messages = match self.messages.lock() {
            Ok(messages) => messages,
            Err(poisoned) => poisoned.into_inner(),
        };
        let mut found = BTreeSet::new();
        for planned in messages.values().flat_map(|message| &message.statements) {
            for assumption in planned.assumed() {
                let (table, indexes) = match assumption {
                    Assumption::Once(table) => (table, None),
                    Assumption::Reads(table, indexes) => (table, Some(indexes)),
                };
                found.insert(PlanAssumption {
                    statement: Arc::clone(&planned.statement.text),
                    parameters: planned.parameters(),
                    table,
                    indexes,
                });
            }
        }
        found.into_iter().collect()
    }
}

impl Clone for PlanCache {
    fn clone(&self) -> Self {
        PlanCache::default()
    }
}
