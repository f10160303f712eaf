//! Deterministic concurrency testing for the backends that register customers, take payments and receive webhooks.
//!
//! A handler is written once, as a pure state machine that touches the outside only through effects. deadheat then runs it in every order in
//! which its statements, calls, retries, crashes and lost replies can happen: on an in-memory model of the world, exhaustively or
//! at random, and on a real Postgres, statement by statement.
//!
//! # The story on one page
//!
//! - A [`Machine`](machine::Machine) says its next [`Effect`](machine::Effect), given the reply to its last one. It never learns who drives it.
//! - A [`World`](world::World) is what processes share, as pure data: a [`Database`](world::database::Database) that behaves as Postgres does
//!   towards concurrent statements, services beside it, and a clock.
//! - A [`System`](system::System) is a world with processes in it and a budget of faults. It knows which steps are enabled in a state and what a step does.
//!   A [`Schedule`](system::Schedule) is a whole run as a short token.
//! - An [`Invariant`](system::Invariant) is what must hold, always or in the end.
//! - A driver decides which step is next: [`explore`](mod@explore) takes all of them, the modules of [`drive`] take others. Each hands back a
//!   [`Finding`](explore::Finding): verdict, evidence, bounds, and a schedule for each violation.
//! - A [`Scenario`](scenario::Scenario) is a file that names a system and says what is expected of it; a [`suite`] runs them and a [`report`]
//!   tells what came of it.
//!
//! # Where to start
//!
//! With the command: `deadheat new`, `deadheat run`, `deadheat explain`. With tests of your own crate: [`harness`]. With a handler of your
//! own: [`domain::Handler`], and `examples/vouchers`. With a service of your own: [`world::service::Service`].

pub mod cli;
pub mod document;
pub mod domain;
pub mod drive;
pub mod explore;
pub mod harness;
pub mod isolation;
pub mod live;
pub mod machine;
pub mod report;
pub mod scenario;
pub mod script;
pub mod suite;
pub mod system;
pub mod value;
pub mod world;
