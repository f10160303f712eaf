//! Results for people and for machines.
//!
//! What a person sees of a failure is in [`violation`]; [`snapshot`] is what a reviewer reads in a diff; [`human`], [`json`],
//! [`junit`] and [`github`] tell a whole run, and [`shards`] joins parts of one; [`diagram`] draws machines. Nothing here depends on time, threads or the machine but the field `seconds`.

pub mod diagram;
pub mod explain;
pub mod github;
pub mod human;
pub mod json;
pub mod junit;
pub mod lanes;
pub mod paint;
pub mod shards;
pub mod snapshot;
#[cfg(test)]
mod tests;
pub mod told;
pub mod violation;
mod words;

pub use diagram::Diagrams;
pub use lanes::Lanes;
pub use paint::{Ink, Paint};
