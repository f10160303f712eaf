//! The points inside a statement: before each thing that it takes, others can come between.
//!
//! A statement is stopped as it is blocked: it keeps its snapshot and its journal, and runs again when it goes on. Whether it stops at a point is asked of
//! the [`Branch`]. What it did so far is told with the question, so that whoever is asked can leave out the points at which nobody could notice.
//!
//! Departure from Postgres: a statement that was woken attempts again, in the step that woke it, what it had waited for, before anybody else can. It can be stopped after that.

use crate::machine::{Access, Branch, Next, Point};
use crate::world::database::store::{AdvisoryKey, SessionId, Stop, Strength, TableId, TableMode, WaitPolicy};

/// Where a statement is among its points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pacer {
    /// What it did so far.
    pub(super) done: Vec<Access>,
    /// It goes on after a wait or a stop: the first thing that it attempts is the one that it waited for or was stopped at.
    pub(super) resumed: bool,
    /// Its waits are not limited in time.
    pub(super) patient: bool,
    /// What it was stopped before; `None` for its commit.
    pub(super) next: Option<Access>,
}

impl Pacer {
    /// Comes to a point. `known`: it was passed before the statement waited or was stopped.
    pub(crate) fn pass(
        &mut self,
        branch: &mut dyn Branch,
        session: SessionId,
        access: Access,
        known: bool,
    ) -> Result<(), Stop> {
        if !known && !std::mem::take(&mut self.resumed) && !self.done.is_empty() {
            let point = Point {
                before: &self.done,
                next: Next::Take(access),
            };
            if branch.stop(session, point) {
                self.next = Some(access);
                return Err(Stop::Between);
            }
        } else if !known && self.done.is_empty() {
            branch.note(session, access);
        }
        self.done.push(access);
        Ok(())
    }

    /// Notes what has no point before it.
    pub(crate) fn note(&mut self, branch: &mut dyn Branch, session: SessionId, access: Access) {
        branch.note(session, access);
        if !self.done.contains(&access) {
            self.done.push(access);
        }
    }

    /// Comes to the commit of a statement without BEGIN.
    pub(super) fn commit(
        &mut self,
        branch: &mut dyn Branch,
        session: SessionId,
        published: &[Access],
    ) -> Result<(), Stop> {
        if std::mem::take(&mut self.resumed) || self.done.is_empty() {
            return Ok(());
        }
        let point = Point {
            before: &self.done,
            next: Next::Commit(published),
        };
        match branch.stop(session, point) {
            true => {
                self.next = None;
                Err(Stop::Between)
            }
            false => Ok(()),
        }
    }

    /// Whether its waits are not limited in time.
    pub(crate) fn patient(&self) -> bool {
        self.patient
    }

    /// A row lock.
    pub(crate) fn row(&self, table: TableId, strength: Strength, wait: WaitPolicy) -> Access {
        Access::Row {
            table: table.0,
            strength: strength as u8,
            waits: self.patient && wait == WaitPolicy::Block,
        }
    }

    /// A table lock.
    pub(crate) fn table(&self, table: TableId, mode: TableMode, wait: bool) -> Access {
        const MODES: [TableMode; 8] = [
            TableMode::AccessShare,
            TableMode::RowShare,
            TableMode::RowExclusive,
            TableMode::ShareUpdateExclusive,
            TableMode::Share,
            TableMode::ShareRowExclusive,
            TableMode::Exclusive,
            TableMode::AccessExclusive,
        ];
        let against = MODES.into_iter().filter(|other| mode.conflicts(*other));
        Access::Table {
            table: table.0,
            mode: mode as u8,
            against: against.fold(0, |bits, other| bits | 1 << other as u8),
            waits: self.patient && wait,
        }
    }

    /// An advisory lock.
    pub(crate) fn advisory(&self, key: AdvisoryKey, shared: bool, wait: bool) -> Access {
        let (pair, key) = match key {
            AdvisoryKey::Big(key) => (false, key),
            AdvisoryKey::Pair(high, low) => (true, i64::from(high) << 32 | i64::from(low as u32)),
        };
        Access::Advisory {
            pair,
            key,
            shared,
            waits: self.patient && wait,
        }
    }
}
