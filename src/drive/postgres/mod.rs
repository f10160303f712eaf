//! The real server: where it comes from, how a schedule is released on it statement by statement, and how its answers are compared.
//!
//! Start at [`source`] (which server), then [`wire`] (one connection for each process), [`stage`] (a database set up for a
//! system), [`gateway`] (the payment provider behind a socket), [`conductor`] (one schedule) and [`run()`] (the driver). Orders inside of a statement are
//! forced by [`gates`] or asked for by [`provoke`].
//!
//! Clocks and random values are the world's there as well: `world.sql` has functions for them, `translate` puts them into a statement's text, and
//! `aliases` takes the server's own numbers for the model's. `tenant` makes the role that all of it runs as.

pub mod compare;
pub mod conductor;
pub mod conformance;
pub mod gates;
pub mod gateway;
pub mod isolation;
pub mod literal;
pub mod provoke;
pub mod source;
pub mod stage;
pub mod wire;

mod aliases;
mod docker;
mod ends;
mod keeper;
mod local;
mod order;
mod plans;
mod record;
mod release;
mod run;
mod stops;
mod tenant;
mod translate;
mod walks;

pub use plans::other_plans;
pub use run::{Options, run};
pub use walks::walks;
