//! The tables that every scenario can ask beside its own.

use std::sync::Arc;

use crate::system::system_tables;
use crate::world::cache::Cache;
use crate::world::external::{Behaviour, External};
use crate::world::locks::Locks;
use crate::world::mail::Mailer;
use crate::world::provider::Provider;
use crate::world::queue::Queues;
use crate::world::search::Index;
use crate::world::service::Service;

/// A table's name, and the names and SQL types of its columns.
pub type TableShape = (Arc<str>, Vec<(Arc<str>, Arc<str>)>);

/// The world's own tables: `requests`, `responses`, `processes`, and those of the services.
pub fn world_tables() -> Vec<TableShape> {
    let external = External::new("", Behaviour::default());
    let services: [&dyn Service; 7] = [
        &external,
        &Queues::default(),
        &Cache::default(),
        &Provider::default(),
        &Mailer::default(),
        &Index::default(),
        &Locks::default(),
    ];
    let tables = services.into_iter().flat_map(|service| service.tables());
    system_tables()
        .chain(tables)
        .map(|table| (table.name, table.columns))
        .collect()
}
