//! The SQL that a database was set up with, kept so that a real server can be set up alike.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The texts of [`Database::run_script`](super::facade::Database::run_script), in order. Not part of the state: databases
/// with equal tables and rows are equal however they came about.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    texts: Arc<Vec<Arc<str>>>,
    now: i64,
}

impl Script {
    /// Notes one more text, and the moment at which it ran.
    pub(super) fn ran(&mut self, sql: &str, now: i64) {
        Arc::make_mut(&mut self.texts).push(sql.into());
        self.now = now;
    }

    /// The moment at which the last one ran.
    pub(super) fn now(&self) -> i64 {
        self.now
    }

    /// Every text.
    pub(super) fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }
}

impl PartialEq for Script {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Script {}

impl Hash for Script {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}
