//! A scenario that a test writes itself.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file compiles this anew and uses its own part"
)]

use std::path::Path;

use deadheat::document::Source;
use deadheat::scenario::{Library, Scenario};

/// The one scenario of a file's text.
pub fn scenario(text: &str) -> Scenario {
    let source = Source::new("case.toml", text);
    let read = Library::default().read("case", Path::new("case.toml"), source);
    let scenarios = read.unwrap_or_else(|problems| panic!("{problems:?}"));
    scenarios.into_iter().next().expect("one scenario")
}

/// The same of a text that has no title.
pub fn untitled(text: &str) -> Scenario {
    scenario(&format!("title = \"a case\"\n{text}\n"))
}
