//! How far a run is, for whoever watches it on a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::Output;
use crate::suite::{News, Teller};

/// A bar on stderr that counts runs; nothing when stderr is no terminal.
pub(super) fn bar(output: &Output, runs: usize) -> (ProgressBar, Teller) {
    let bar = match output.interactive {
        true => ProgressBar::with_draw_target(Some(runs as u64), ProgressDrawTarget::stderr()),
        false => ProgressBar::hidden(),
    };
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    if output.interactive {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    let shown = bar.clone();
    let teller: Teller = Arc::new(move |news: News<'_>| match news {
        News::Starts(scenario, driver) => shown.set_message(format!("{}::{driver}", scenario.name)),
        News::Explores(name, progress) => shown.set_message(format!(
            "{name}::explore, {} states, {:.0}/s, {} to go on from{}, {} MiB",
            progress.states,
            progress.states as f64 / progress.seconds.max(0.001),
            progress.frontier,
            progress
                .left
                .map_or_else(String::new, |left| format!(", about {left} to come")),
            progress.memory >> 20
        )),
        News::Ends(_) => shown.inc(1),
    });
    (bar, teller)
}
