//! What a running statement asks of its session.

use std::cell::Cell;
use std::sync::Arc;

use crate::machine::SqlError;
use crate::world::database::sql::settings::Settings;
use crate::world::database::store::SessionId;

use super::facade::{DbEvent, Severity};
use super::made::Made;
use super::run::Services;
use super::session::{Block, Session};

/// A session while one of its statements runs.
pub(super) struct Serving<'a> {
    pub(super) id: SessionId,
    pub(super) session: &'a mut Session,
    pub(super) events: &'a mut Vec<DbEvent>,
    pub(super) now: i64,
    pub(super) statement_time: i64,
    pub(super) made: &'a mut Made,
    /// Whether the statement asked for a time that was fixed when it began.
    pub(super) looked_at_clock: Cell<bool>,
}

impl Services for Serving<'_> {
    fn notice(&mut self, severity: Severity, text: String) {
        if !self.session.hears(severity) {
            return;
        }
        self.events.push(DbEvent::Notice {
            session: self.id,
            severity,
            text: text.into(),
        });
    }

    fn now(&self) -> i64 {
        self.now
    }

    fn transaction_time(&self) -> i64 {
        // The time of an explicit BEGIN was fixed in a step of its own.
        if self.session.block != Block::Explicit {
            self.looked_at_clock.set(true);
        }
        self.session.began
    }

    fn statement_time(&self) -> i64 {
        self.looked_at_clock.set(true);
        self.statement_time
    }

    fn looked_at_clock(&self) -> bool {
        self.looked_at_clock.get()
    }

    fn settings(&self) -> &Settings {
        &self.session.settings
    }

    fn setting(&self, name: &str) -> Result<Option<String>, SqlError> {
        self.session.show(&name.to_ascii_lowercase())
    }

    fn set(&mut self, name: &str, value: String, local: bool) -> Result<(), SqlError> {
        self.session.set(&name.to_ascii_lowercase(), Some(value), local)
    }

    fn sleep_until(&mut self, until: i64) {
        self.session.sleep = (until != i64::MIN).then_some(until);
    }

    fn sleeping_until(&self) -> Option<i64> {
        self.session.sleep
    }

    fn last_sequence(&mut self, sequence: Option<&str>) -> Option<i64> {
        let name = match sequence {
            Some(name) => name,
            None => self.session.last_sequence.as_deref()?,
        };
        self.session.sequences.get(name).copied()
    }

    fn used_sequence(&mut self, sequence: &str, value: i64, drawn: bool) {
        let name: Arc<str> = sequence.into();
        self.session.sequences.insert(Arc::clone(&name), value);
        if drawn {
            self.session.last_sequence = Some(name);
        }
    }

    fn draw(&mut self) -> String {
        self.made.draw(self.id)
    }

    fn transaction_number(&mut self) -> i64 {
        match self.session.number {
            Some(number) => number,
            None => {
                let number = self.made.transaction();
                self.session.number = Some(number);
                number
            }
        }
    }

    fn backend_pid(&mut self, session: SessionId) -> i64 {
        self.made.connection(session)
    }
}
