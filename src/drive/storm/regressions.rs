//! Smallest storms, kept in a file: one a line, as text that can be edited and pasted.
//!
//! ```text
//! # Smallest storms that broke a promise. They are let loose first.
//! clients=2 arrivals=0,0 timeouts=1000,1000 backoffs=0,0 latencies=1 strikes=
//! ```

use std::fmt::Write as _;
use std::path::Path;

use super::shape::Storm;

const HEADER: &str =
    "# Smallest storms that broke a promise. They are let loose first; keep this file in version control.\n";

/// The storms that are kept. A file that is not there keeps none.
pub(super) fn read(path: &Path) -> Result<Vec<Storm>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let lines = text.lines().enumerate().map(|(place, line)| (place + 1, line.trim()));
    let storms = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    storms
        .map(|(place, line)| {
            line.parse()
                .map_err(|error| format!("{}:{place}: {error}", path.display()))
        })
        .collect()
}

/// Adds the storms that are not kept yet. Returns what went wrong.
pub(super) fn keep(path: Option<&Path>, kept: &[Storm], found: impl Iterator<Item = Storm>) -> Option<String> {
    let path = path?;
    let mut new: Vec<Storm> = found.filter(|storm| !kept.contains(storm)).collect();
    new.sort();
    new.dedup();
    if new.is_empty() {
        return None;
    }
    let mut text = String::from(HEADER);
    for storm in kept.iter().chain(&new) {
        let _ = writeln!(text, "{storm}");
    }
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder.and_then(|()| std::fs::write(path, text));
    written.err().map(|error| format!("{}: {error}", path.display()))
}
