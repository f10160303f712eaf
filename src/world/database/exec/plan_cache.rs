//! Parsed and planned messages, kept beside the hashed state.

use std::sync::{Arc, Mutex};

use rustc_hash::FxHashMap;

use super::message::Message;

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
}

impl Clone for PlanCache {
    fn clone(&self) -> Self {
        PlanCache::default()
    }
}
