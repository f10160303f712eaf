//! Postgres at statement granularity: the concurrency semantics that a handler can observe.
//!
//! Three layers: [`sql`] knows values, types and expressions; [`store`] knows row versions, snapshots, locks and conflicts;
//! [`exec`] knows tables, plans, statements and sessions, and offers all of it as one [`Database`].
//!
//! Start at [`Database::execute`]: a message of a session goes in, and what happened comes out as a list of [`DbEvent`]s.

pub mod exec;
pub mod sql;
pub mod store;

pub use exec::facade::{Database, DbEvent, Failure, QueryError, Refused, SessionId, Severity, VirtualTable};
pub use store::Release;
