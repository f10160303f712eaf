//! The executor: runs a [`Plan`] against the store.
//!
//! Rows are pushed: each node calls the next one for each row, so that locks are taken and volatile functions run in
//! the order in which the server would do it, row by row.

mod aggregate;
mod env;
mod foreign;
mod from;
mod insert;
mod modify;
mod select;
mod subselect;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::machine::{Access, Branch, SqlError};
use crate::value::Value;
use crate::world::database::sql::settings::Settings;
use crate::world::database::store::{Level, SessionId, Snapshot, Stop, Store, TableId, VersionId};

use super::catalog::Catalog;
use super::facade::Severity;
use super::journal::{Entry, Journal};
use super::pacer::Pacer;
use super::plan::{Layout, Plan};
use foreign::Trigger;

pub(crate) use insert::check_row;

/// A row of a table or of a result.
pub(crate) type Row = Arc<[Value]>;

/// What a statement of SQL has to do with its session, beside rows: everything that is not in the store.
pub(crate) trait Services {
    /// Sends a notice.
    fn notice(&mut self, severity: Severity, text: String);
    /// Virtual time, in microseconds since 1970.
    fn now(&self) -> i64;
    /// When the transaction began.
    fn transaction_time(&self) -> i64;
    /// When the statement began.
    fn statement_time(&self) -> i64;
    /// Whether the statement asked for a time that was fixed when it, or its transaction without BEGIN, began.
    fn looked_at_clock(&self) -> bool;
    /// The settings that expressions depend on.
    fn settings(&self) -> &Settings;
    /// Reads a setting.
    fn setting(&self, name: &str) -> Result<Option<String>, SqlError>;
    /// Changes a setting.
    fn set(&mut self, name: &str, value: String, local: bool) -> Result<(), SqlError>;
    /// Waits until a moment of virtual time.
    fn sleep_until(&mut self, until: i64);
    /// The value that `nextval` gave last, by sequence; `None` asks for the last of all.
    fn last_sequence(&mut self, sequence: Option<&str>) -> Option<i64>;
    /// Remembers what `nextval` gave, or what `setval` set (which `lastval` does not look at).
    fn used_sequence(&mut self, sequence: &str, value: i64, drawn: bool);
    /// The moment at which a sleep that already began ends.
    fn sleeping_until(&self) -> Option<i64>;
    /// Something fresh in 32 hexadecimal digits, for what the world draws (`gen_random_uuid`).
    fn draw(&mut self) -> String;
    /// The number of the running transaction, which has one from the first time that it is asked for.
    fn transaction_number(&mut self) -> i64;
    /// A number for a backend process.
    fn backend_pid(&mut self, session: SessionId) -> i64;
}

/// One cell of a row in flight: the row of one relation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// Its values; `None` on the empty side of an outer join.
    pub(crate) row: Option<Row>,
    /// Which version it is, for rows of tables.
    pub(crate) version: Option<VersionId>,
}

/// A row in flight: one cell for each relation of a query level.
pub(crate) type Cells = smallvec::SmallVec<[Cell; 2]>;

/// What expressions of one level see, and the levels around it.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) cells: &'a [Cell],
    pub(crate) layout: &'a Layout,
    pub(crate) aggregates: &'a [Value],
    pub(crate) set_results: &'a [Value],
    pub(crate) outer: Option<&'a Frame<'a>>,
}

impl<'a> Frame<'a> {
    /// A level with these cells.
    pub(crate) fn new(cells: &'a [Cell], layout: &'a Layout, outer: Option<&'a Frame<'a>>) -> Self {
        Frame {
            cells,
            layout,
            aggregates: &[],
            set_results: &[],
            outer,
        }
    }
}

/// Whether whoever receives rows wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Enough,
}

/// Receives rows.
pub(crate) type Sink<'s, 'p> = &'s mut dyn FnMut(&mut Exec<'p>, &mut Cells) -> Result<Flow, Stop>;

/// Receives result rows.
pub(crate) type RowSink<'s, 'p> = &'s mut dyn FnMut(&mut Exec<'p>, Row) -> Result<Flow, Stop>;

/// A running statement.
pub(crate) struct Exec<'p> {
    pub(crate) store: &'p mut Store,
    pub(crate) services: &'p mut dyn Services,
    pub(crate) session: SessionId,
    pub(crate) level: Level,
    pub(crate) catalog: &'p Catalog,
    pub(crate) plan: &'p Plan,
    pub(crate) params: &'p [Value],
    pub(crate) snapshot: Snapshot,
    journal: &'p mut Journal,
    branch: &'p mut dyn Branch,
    pub(crate) pacer: &'p mut Pacer,
    at: usize,
    /// Results of uncorrelated sub-selects, by number.
    initial: Vec<Option<Arc<[Row]>>>,
    /// Rows of CTEs, by number.
    ctes: Vec<Option<Rc<Vec<Row>>>>,
    /// Rows of the last round of recursive CTEs.
    rounds: BTreeMap<usize, Rc<Vec<Row>>>,
    /// Versions that this statement made.
    made: FxHashSet<(TableId, VersionId)>,
    /// Foreign keys to look after when the statement is done.
    triggers: Vec<Trigger>,
    /// In a re-check: the row as it was before the wait.
    rechecked: Option<Cells>,
    /// Rows from outside, by place.
    extra: &'p [Vec<Row>],
    /// Rows that the top-level statement inserted, changed, deleted.
    pub(crate) affected: u64,
}

/// What a statement needs to run.
pub(crate) struct Setting<'p> {
    pub(crate) store: &'p mut Store,
    pub(crate) services: &'p mut dyn Services,
    pub(crate) session: SessionId,
    pub(crate) level: Level,
    pub(crate) catalog: &'p Catalog,
    pub(crate) plan: &'p Plan,
    pub(crate) params: &'p [Value],
    pub(crate) snapshot: Snapshot,
    pub(crate) journal: &'p mut Journal,
    /// How many operations were done before (table locks).
    pub(crate) done: usize,
    /// Asked at each point inside the statement.
    pub(crate) branch: &'p mut dyn Branch,
    /// Where the statement is among its points.
    pub(crate) pacer: &'p mut Pacer,
    /// Rows from outside, for [`Source::Rows`](super::plan::Source::Rows).
    pub(crate) extra: &'p [Vec<Row>],
}

/// Runs a planned statement; returns its rows and the number in its command tag.
pub(crate) fn run(setting: Setting<'_>) -> Result<(Vec<Row>, u64), Stop> {
    let Setting {
        store,
        services,
        session,
        level,
        catalog,
        plan,
        params,
        snapshot,
        journal,
        done,
        branch,
        pacer,
        extra,
    } = setting;
    let mut exec = Exec {
        store,
        services,
        session,
        level,
        catalog,
        plan,
        params,
        snapshot,
        journal,
        branch,
        pacer,
        at: done,
        initial: vec![None; plan.subqueries.len()],
        ctes: vec![None; plan.ctes.len()],
        rounds: BTreeMap::new(),
        made: FxHashSet::default(),
        triggers: Vec::new(),
        rechecked: None,
        extra,
        affected: 0,
    };
    let mut rows = Vec::new();
    exec.query(&plan.root, None, &mut |_, row| {
        rows.push(row);
        Ok(Flow::More)
    })?;
    exec.run_triggers()?;
    let affected = match plan.root.body {
        super::plan::Body::Insert(_)
        | super::plan::Body::Update(_)
        | super::plan::Body::Delete(_)
        | super::plan::Body::Merge(_) => exec.affected,
        _ => rows.len() as u64,
    };
    Ok((rows, affected))
}

impl Exec<'_> {
    /// Takes something that others may want, or its result from the journal. Before it the statement may be stopped.
    pub(crate) fn take<T: Journaled>(
        &mut self,
        access: Access,
        work: impl FnOnce(&mut Store, &mut dyn Services) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if self.services.looked_at_clock() {
            self.pacer.note(self.branch, self.session, Access::Clock);
        }
        let known = self.journal.get(self.at).is_some();
        self.pacer.pass(self.branch, self.session, access, known)?;
        self.op(work)
    }

    /// Does a store operation, or takes its result from the journal.
    pub(crate) fn op<T: Journaled>(
        &mut self,
        work: impl FnOnce(&mut Store, &mut dyn Services) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let number = self.at;
        if let Some(entry) = self.journal.get(number) {
            self.at += 1;
            return T::read(entry).ok_or_else(|| Stop::Error(internal("journal out of step")));
        }
        self.pacer.resumed = false;
        let result = work(self.store, self.services)?;
        self.journal.push(result.write());
        self.at += 1;
        Ok(result)
    }
}

/// A result that a journal can hold.
pub(crate) trait Journaled: Sized {
    fn write(&self) -> Entry;
    fn read(entry: &Entry) -> Option<Self>;
}

impl Journaled for () {
    fn write(&self) -> Entry {
        Entry::Unit
    }

    fn read(entry: &Entry) -> Option<Self> {
        matches!(entry, Entry::Unit).then_some(())
    }
}

impl Journaled for bool {
    fn write(&self) -> Entry {
        Entry::Bool(*self)
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Bool(truth) => Some(*truth),
            _ => None,
        }
    }
}

impl Journaled for Value {
    fn write(&self) -> Entry {
        Entry::Value(self.clone())
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Value(value) => Some(value.clone()),
            _ => None,
        }
    }
}

impl Journaled for Snapshot {
    fn write(&self) -> Entry {
        Entry::Snapshot(*self)
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Snapshot(snapshot) => Some(*snapshot),
            _ => None,
        }
    }
}

/// A version, with its table.
impl Journaled for (TableId, VersionId) {
    fn write(&self) -> Entry {
        Entry::Version(self.0, self.1)
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Version(table, version) => Some((*table, *version)),
            _ => None,
        }
    }
}

impl Journaled for (TableId, Option<VersionId>) {
    fn write(&self) -> Entry {
        match self.1 {
            Some(version) => Entry::Version(self.0, version),
            None => Entry::NoVersion,
        }
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Version(table, version) => Some((*table, Some(*version))),
            Entry::NoVersion => Some((TableId(0), None)),
            _ => None,
        }
    }
}

impl Journaled for (TableId, Vec<VersionId>) {
    fn write(&self) -> Entry {
        Entry::Versions(self.0, self.1.clone())
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Versions(table, versions) => Some((*table, versions.clone())),
            _ => None,
        }
    }
}

impl Journaled for (TableId, crate::world::database::store::Locked) {
    fn write(&self) -> Entry {
        Entry::Locked(self.0, self.1)
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Locked(table, locked) => Some((*table, *locked)),
            _ => None,
        }
    }
}

impl Journaled for (TableId, crate::world::database::store::Entered) {
    fn write(&self) -> Entry {
        Entry::Entered(self.0, self.1)
    }

    fn read(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Entered(table, entered) => Some((*table, *entered)),
            _ => None,
        }
    }
}

/// An error of the model itself.
pub(crate) fn internal(message: &str) -> SqlError {
    crate::world::database::sql::refuse::sql_error(b"XX000", message)
}
