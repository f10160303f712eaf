//! Scenario text with places: TOML in which every key and value knows where it stands, and problems that point there.
//!
//! Reading goes in two steps. [`parse`] turns a [`Source`] into a tree of [`Node`]s. [`Fields`] then takes the keys of a table one by
//! one; what is missing, of the wrong kind or left over goes to a [`Sink`], so that one reading reports everything that is wrong
//! with a file, each with its place and, where one is near, the word that was probably meant.

mod fields;
mod nearest;
mod node;
mod problem;

pub use fields::{Fields, Sink};
pub use nearest::{nearest, or_list};
pub use node::{Content, Key, Node, Table, parse};
pub use problem::{Problem, Problems, Severity, Source, Span};
