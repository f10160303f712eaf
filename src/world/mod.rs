//! What a process can touch, as pure data: the database, the services beside it, and the clock.

pub mod cache;
pub mod database;
pub mod external;
pub mod locks;
pub mod mail;
pub mod provider;
pub mod queue;
pub mod runtime;
pub mod search;
pub mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use database::Database;
use service::Provided;

/// What processes share.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct World {
    /// The database.
    pub database: Database,
    /// The services beside it, by name.
    pub services: BTreeMap<Arc<str>, Provided>,
    /// Virtual time, in microseconds since 1970-01-01 00:00 UTC. Moves only when a schedule moves it.
    pub now: i64,
}
