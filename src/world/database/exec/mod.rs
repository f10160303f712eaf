//! Catalog, planning, execution and sessions: SQL statements as operations of the store.
//!
//! A message comes in at [`facade`]; `engine` runs it statement by statement; `message` parses and caches; `planner` turns syntax
//! into a `plan`; `run` executes a plan against the store. A statement that waits keeps its `journal` and runs again.

mod block;
mod catalog;
mod changes;
mod control;
mod ddl;
pub mod describe;
mod engine;
pub mod facade;
mod footprint;
mod journal;
mod made;
mod message;
mod pacer;
mod plan;
mod plan_cache;
mod planner;
mod query;
mod run;
mod script;
mod services;
mod session;
mod settings;

#[cfg(test)]
mod tests;
