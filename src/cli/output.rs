//! Where results and messages go.

use std::env;
use std::io::{self, IsTerminal as _, Write as _};

use super::exit::Exit;
use crate::report::Paint;
use crate::scenario::LoadError;

/// The two streams, and whether each takes colour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// For results.
    pub(super) paint: Paint,
    /// For messages.
    messages: Paint,
    /// Whether messages go to a terminal.
    pub(super) interactive: bool,
}

impl Output {
    /// The streams of this process.
    pub(super) fn of_process() -> Output {
        let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        let colour = |terminal: bool| Paint::new(terminal && !plain);
        Output {
            paint: colour(io::stdout().is_terminal()),
            messages: colour(io::stderr().is_terminal()),
            interactive: io::stderr().is_terminal(),
        }
    }

    /// Prints a result. A reader that went away (`deadheat list | head`) is no error.
    pub(super) fn result(&self, text: &str) {
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }

    /// Prints a message for whoever is watching.
    pub(super) fn message(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Prints an error, and says how the command ends.
    pub(super) fn usage(&self, error: impl std::fmt::Display) -> Exit {
        self.message(&format!("deadheat: {error}"));
        Exit::Usage
    }

    /// Prints why files can't be loaded.
    pub(super) fn load_error(&self, error: &LoadError) -> Exit {
        match error {
            LoadError::Wrong(problems) => {
                let shown = problems.render(self.messages.is_on());
                self.message(shown.trim_end());
                Exit::Usage
            }
            error => self.usage(error),
        }
    }
}
