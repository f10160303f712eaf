//! The suite: every scenario with every driver that it names, compared with what is expected.
//!
//! [`run`] is the main job. Scenarios run in parallel and are told in the order in which they were given: nothing in the
//! [`Results`] but the seconds depends on threads.

pub mod causes;
mod drivers;
mod results;
mod run;
#[cfg(test)]
mod tests;

pub use drivers::{Drivers, Postgres};
pub use results::{Record, Results};
pub use run::{Case, News, Plan, Teller, run};
