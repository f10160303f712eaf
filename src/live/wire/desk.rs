//! Where the held statements of one execution lie, between its connections and whoever releases them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::machine::{Rows, Sql, SqlError};

/// A statement that waits to be released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// On which of the process's sessions, from 0 in the order of their first statements.
    pub(crate) session: u8,
    /// The statement.
    pub(crate) sql: Sql,
}

/// The held statements of one execution.
#[derive(Debug, Default)]
pub(crate) struct Desk(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    lines: BTreeMap<i32, Line>,
    /// Counts everything that happened on a socket.
    stirs: u64,
    asked: u64,
    refusal: Option<String>,
}

#[derive(Debug, Default)]
struct Line {
    session: u8,
    /// What is held, and when it came.
    asks: Option<(u64, Sql)>,
    answer: Option<Result<Rows, SqlError>>,
    waker: Option<Waker>,
}

impl Desk {
    /// Something happened on a socket.
    pub(super) fn stir(&self) {
        self.inner().stirs += 1;
    }

    /// How much happened so far.
    pub(crate) fn stirs(&self) -> u64 {
        self.inner().stirs
    }

    /// A connection has a statement. Its session is the lowest that no other connection has.
    pub(super) fn ask(&self, connection: i32, sql: Sql) {
        let mut inner = self.inner();
        inner.stirs += 1;
        inner.asked += 1;
        let order = inner.asked;
        let taken: Vec<u8> = inner.lines.values().map(|line| line.session).collect();
        let free = (0..=u8::MAX)
            .find(|session| !taken.contains(session))
            .unwrap_or(u8::MAX);
        let line = inner.lines.entry(connection).or_insert_with(|| Line {
            session: free,
            ..Line::default()
        });
        line.asks = Some((order, sql));
    }

    /// Whether the connection has a statement that waits.
    pub(super) fn is_asking(&self, connection: i32) -> bool {
        let inner = self.inner();
        let line = inner.lines.get(&connection);
        line.is_some_and(|line| line.asks.is_some() || line.answer.is_some())
    }

    /// The connection's answer, once it is there.
    pub(super) async fn answer_for(&self, connection: i32) -> Result<Rows, SqlError> {
        poll_fn(|context| {
            let mut inner = self.inner();
            let Some(line) = inner.lines.get_mut(&connection) else {
                return Poll::Pending;
            };
            match line.answer.take() {
                Some(answer) => Poll::Ready(answer),
                None => {
                    line.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The connection is gone.
    pub(super) fn forget(&self, connection: i32) {
        let mut inner = self.inner();
        inner.stirs += 1;
        inner.lines.remove(&connection);
    }

    /// Something can't be answered truthfully: nothing that comes after counts.
    pub(super) fn refuse(&self, reason: String) {
        let mut inner = self.inner();
        inner.stirs += 1;
        inner.refusal.get_or_insert(reason);
    }

    /// Why nothing counts any more.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.inner().refusal.clone()
    }

    /// The statement that came first of those that wait, and how many wait.
    pub(crate) fn first(&self) -> Option<(Asked, usize)> {
        let inner = self.inner();
        let waiting = || {
            inner
                .lines
                .values()
                .filter_map(|line| Some((line, line.asks.as_ref()?)))
        };
        let (line, (_, sql)) = waiting().min_by_key(|(_, (order, _))| *order)?;
        let asked = Asked {
            session: line.session,
            sql: sql.clone(),
        };
        Some((asked, waiting().count()))
    }

    /// Releases the session's statement with what came of it.
    pub(crate) fn answer(&self, session: u8, answer: Result<Rows, SqlError>) {
        let mut inner = self.inner();
        inner.stirs += 1;
        let line = inner
            .lines
            .values_mut()
            .find(|line| line.session == session && line.asks.is_some());
        if let Some(line) = line {
            line.asks = None;
            line.answer = Some(answer);
            if let Some(waker) = line.waker.take() {
                waker.wake();
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
