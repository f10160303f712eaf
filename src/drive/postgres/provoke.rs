//! Provoking: an order inside a statement that cannot be forced is asked for many times, and it is told how often it came.
//!
//! The statements of several sessions are sent at once on a fresh copy of the rows, each session's one after the other without waiting for
//! answers. Which order the server takes is its own affair. `seen on the server in 7 of 200 tries` confirms an order; none of 200
//! neither confirms nor refutes it.
//!
//! Two things help without a change of any text. From try to try another session is first, and the others follow after a few round trips more or
//! less. And a session may be [slowed](Volley::slow): its statements are compiled to machine code before they run, which happens after the
//! snapshot was taken and before the first row's functions and locks, and takes milliseconds instead of microseconds. And where all who meet a lock wait
//! for it, every other try has a *starter*: a session that holds every row until all of them wait, so that they set off at the same moment. It changes
//! nothing, so nobody can tell it from an order in which they came a little later; who skips locked rows or does not wait for them could, and has none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::stage::{Stage, StageError};
use super::translate::translate;
use super::wire::{Answer, Place, TextRows, WiresError};
use crate::machine::Pid;

/// What is sent in one try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volley {
    /// Sent one after the other, each awaited, to bring the sessions where the order begins.
    pub before: Vec<(Pid, String)>,
    /// Sent at once: each session's statements, in their order.
    pub at_once: Vec<(Pid, Vec<String>)>,
    /// Whose statements are slowed between their snapshot and their first row, where the server can do that.
    pub slow: Vec<Pid>,
}

impl Volley {
    /// Whether all who meet a lock wait for it, and nobody looks who holds one.
    fn waits(&self) -> bool {
        let all = self.before.iter().map(|(_, text)| text);
        let mut all = all.chain(self.at_once.iter().flat_map(|(_, texts)| texts));
        !all.any(|text| {
            let text = text.to_ascii_lowercase();
            ["skip locked", "nowait", "_try_", "timeout", "pg_locks"]
                .iter()
                .any(|word| text.contains(word))
        })
    }
}

/// What one try showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The answers to what was sent at once; a session without an answer waited for somebody who did not go on.
    pub answers: BTreeMap<Pid, Vec<Answer>>,
    /// The committed rows at the end.
    pub tables: Vec<(Arc<str>, Option<TextRows>)>,
}

/// How often an order was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Provoked {
    /// In so many.
    pub seen: u32,
    /// Of so many tries.
    pub tries: u32,
}

impl Provoked {
    /// Whether it was seen at all. If not, nothing is known.
    pub fn is_confirmed(self) -> bool {
        self.seen > 0
    }
}

impl fmt::Display for Provoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seen {
            0 => write!(
                f,
                "not seen on the server in {} tries, which neither confirms nor refutes it",
                self.tries
            ),
            seen => write!(f, "seen on the server in {seen} of {} tries", self.tries),
        }
    }
}

/// Fires a volley so many times, and counts how often it went as wanted.
///
/// # Errors
/// When the server is gone.
pub fn provoke(
    stage: &mut Stage,
    volley: &Volley,
    tries: u32,
    wanted: &mut dyn FnMut(&Seen) -> bool,
) -> Result<Provoked, StageError> {
    let mut seen = 0;
    for number in 0..tries {
        seen += u32::from(wanted(&fire(stage, volley, number)?));
    }
    Ok(Provoked { seen, tries })
}

/// How long a volley may take. Whoever waits longer waits for somebody who does not go on.
const PATIENCE: Duration = Duration::from_secs(3);

/// How many round trips lie between one session and the next, in turn.
const GAPS: [u32; 4] = [0, 1, 0, 2];

/// Fires a volley once, on a fresh copy of the rows. `number` decides who is first and by how much.
///
/// # Errors
/// When the server is gone, or refuses what is sent before.
pub fn fire(stage: &mut Stage, volley: &Volley, number: u32) -> Result<Seen, StageError> {
    stage.reset()?;
    for (pid, sql) in &volley.before {
        let place = enter(stage, *pid)?;
        let text = say(stage, sql);
        stage.wires().launch(place, &text);
        stage
            .wires()
            .answer(place)?
            .rows("sending what comes before a volley")?;
    }
    let mut messages = Vec::new();
    for (pid, statements) in &volley.at_once {
        let place = enter(stage, *pid)?;
        // Without the privilege a deadlock is only found later.
        let mut settings = "SET deadlock_timeout = '20ms'".to_owned();
        if volley.slow.contains(pid) {
            // A server without the compiler takes these as well, and is not slowed.
            // Nor is more done than it takes: the compiled code need not be good.
            settings.push_str("; SET jit = on; SET jit_above_cost = 0; SET jit_optimize_above_cost = -1; SET jit_inline_above_cost = -1");
        }
        for setting in settings.split("; ") {
            stage.wires().launch(place, setting);
            stage.wires().answer(place)?;
        }
        let texts = statements.iter().map(|sql| say(stage, sql)).collect();
        messages.push((place, texts));
    }
    let first = number as usize % messages.len().max(1);
    messages.rotate_left(first);
    let gap = GAPS[(number as usize / messages.len().max(1)) % GAPS.len()];
    let starter = match number % 2 == 1 && volley.waits() {
        true => start(stage)?,
        false => None,
    };
    let answers = stage.wires().volley(&messages, gap, starter, PATIENCE)?;
    let mut seen = Seen::default();
    for ((place, _), answers) in messages.into_iter().zip(answers) {
        let pid = stage.process(place);
        match (pid, answers) {
            (Some(pid), Some(answers)) => {
                seen.answers.insert(pid, answers);
            }
            (Some(pid), None) => stage.kill(pid)?,
            (None, _) => {}
        }
    }
    seen.tables = stage.rows();
    Ok(seen)
}

/// A session that holds every row that nobody else holds.
fn start(stage: &mut Stage) -> Result<Option<Place>, WiresError> {
    if stage.tables().is_empty() {
        return Ok(None);
    }
    let place = stage.keeper()?;
    let locks = stage
        .tables()
        .iter()
        .map(|table| format!("; SELECT 1 FROM {table} FOR UPDATE SKIP LOCKED"));
    let message = format!("BEGIN{}", locks.collect::<String>());
    stage.wires().launch(place, &message);
    let held = stage.wires().answer(place)?;
    if held.error.is_some() {
        // A table that somebody has locked: without a starter then.
        stage.wires().launch(place, "ROLLBACK");
        stage.wires().answer(place)?;
        return Ok(None);
    }
    Ok(Some(place))
}

/// The connection of a process, which knows the world's clock and has something to draw from.
fn enter(stage: &mut Stage, pid: Pid) -> Result<Place, WiresError> {
    let place = stage.place(pid)?;
    let now = stage.moment();
    let greeting = stage.greeting(pid, now)?;
    stage.wires().launch(place, &greeting);
    stage.wires().answer(place)?.rows("telling a session the time")?;
    Ok(place)
}

/// A statement with the world's clock and draws, noted for the next reset.
fn say(stage: &mut Stage, sql: &str) -> String {
    stage.note(&sql.into());
    translate(sql).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_of_so_many_tries_is_no_proof() {
        let told = |seen| Provoked { seen, tries: 200 }.to_string();
        assert_eq!(told(7), "seen on the server in 7 of 200 tries");
        assert_eq!(
            told(0),
            "not seen on the server in 200 tries, which neither confirms nor refutes it"
        );
        assert!(!Provoked { seen: 0, tries: 200 }.is_confirmed());
    }
}
