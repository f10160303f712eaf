//! Isolation tests on the real server: with this backend deadheat is an isolationtester.

use std::time::{Duration, Instant};

use tokio_postgres::Config;

use super::source::{Database, Server};
use super::wire::{Answer, News, Wires, WiresError};
use crate::isolation::{
    Backend, BackendError, Failure, Level, Message, Notify, Patience, Progress, Reply, Spec, Table,
};

/// isolationtester asks for lock waits at this interval, and outputs depend on it: a step that a wake-up lets finish
/// within it is seen as finished.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long a step may take.
const LIMIT: Duration = Duration::from_secs(300);

/// A database of its own for a spec file, with a connection for each session.
#[derive(Debug)]
pub struct OnPostgres {
    wires: Wires,
    /// SQL that asks whether a session is blocked, without the session's process id.
    question: [String; 2],
    messages: Vec<Vec<Message>>,
    notifications: Vec<Vec<Notify>>,
    idle_since: Option<Instant>,
    interval: Duration,
    limit: Duration,
    // Last, so that it is dropped when nobody is connected any more.
    _database: Database,
}

impl OnPostgres {
    /// Connects to the server, as a role that may do nothing outside of the file's own database.
    ///
    /// # Errors
    /// When it cannot be reached or refuses a database.
    pub fn open(server: &Server, name: &str, spec: &Spec, level: Level) -> Result<OnPostgres, BackendError> {
        OnPostgres::connect(server, name, spec, level, |database| database.config().clone())
    }

    /// [`OnPostgres::open`] as the role that the server was found with, for a file that is trusted: of PostgreSQL's own, one writes to the system's tables.
    ///
    /// # Errors
    /// As [`OnPostgres::open`].
    pub fn trusting(server: &Server, name: &str, spec: &Spec, level: Level) -> Result<OnPostgres, BackendError> {
        OnPostgres::connect(server, name, spec, level, Database::administrator)
    }

    fn connect(
        server: &Server,
        name: &str,
        spec: &Spec,
        level: Level,
        role: fn(&Database) -> Config,
    ) -> Result<OnPostgres, BackendError> {
        let broken = |error: WiresError| BackendError::Broken(error.to_string());
        let database = server
            .database("isolation")
            .map_err(|error| BackendError::Broken(error.to_string()))?;
        // What PostgreSQL's own test runs set, and the level.
        let settings = [
            ("TimeZone", "America/Los_Angeles"),
            ("DateStyle", "Postgres, MDY"),
            ("default_transaction_isolation", level.sql()),
        ];
        let control = application(name, "control connection");
        let mut wires = Wires::open(role(&database), &control, &settings).map_err(broken)?;
        for session in &spec.sessions {
            wires.connect(&application(name, &session.name)).map_err(broken)?;
        }
        let pids: Vec<String> = (0..wires.len()).map(|place| wires.pid(place).to_string()).collect();
        Ok(OnPostgres {
            question: [
                "SELECT pg_catalog.pg_isolation_test_session_is_blocked(".to_owned(),
                format!(", '{{{}}}')", pids.join(",")),
            ],
            messages: vec![Vec::new(); wires.len()],
            notifications: vec![Vec::new(); wires.len()],
            wires,
            idle_since: None,
            interval: INTERVAL,
            limit: LIMIT,
            _database: database,
        })
    }

    /// Asks more often than isolationtester does, and gives up sooner: for many short tests, where a step that a
    /// wake-up releases is waited for anyway.
    #[must_use]
    pub fn with_patience(mut self, interval: Duration, limit: Duration) -> Self {
        self.interval = interval;
        self.limit = limit;
        self
    }

    fn is_blocked(&mut self, session: usize) -> Result<bool, BackendError> {
        let [before, after] = &self.question;
        let question = format!("{before}{}{after}", self.wires.pid(session));
        let rows = self
            .wires
            .control(&question)
            .rows("asking whether a session is blocked")
            .map_err(broken)?;
        Ok(rows.first().and_then(|row| row.first()?.as_deref()) == Some("t"))
    }

    /// Sorts what arrived for a session.
    fn receive(&mut self, session: usize) {
        for news in self.wires.news(session) {
            match news {
                News::Notice { severity, text } => self.messages[session].push(Message { severity, text }),
                News::Notification {
                    sender,
                    channel,
                    payload,
                } => self.notifications[session].push(Notify {
                    channel,
                    payload,
                    sender: self.wires.place(sender),
                }),
            }
        }
    }
}

/// What the connection calls itself, as isolationtester does. The server would cut a longer one, and say so to the session.
fn application(spec: &str, session: &str) -> String {
    let mut name = format!("isolation/{spec}/{session}");
    name.truncate(name.floor_char_boundary(63));
    name
}

impl Backend for OnPostgres {
    fn control(&mut self, sql: &str) -> Result<Reply, BackendError> {
        Ok(reply(self.wires.control(sql)))
    }

    fn launch(&mut self, session: usize, sql: &str) -> Result<(), BackendError> {
        self.idle_since = None;
        self.wires.launch(session, sql);
        // A head start over the next step, which with the marker `*` is launched without waiting for this one. isolationtester
        // has it by being slow.
        self.wires.finishes_within(session, self.interval / 5).map_err(broken)?;
        Ok(())
    }

    fn poll(&mut self, session: usize, patience: Patience) -> Result<Progress, BackendError> {
        let start = Instant::now();
        loop {
            if self.wires.finishes_within(session, self.interval).map_err(broken)? {
                return Ok(Progress::Done);
            }
            if patience == Patience::UntilBlocked && self.is_blocked(session)? {
                // It may have finished while the server was asked.
                let done = self.wires.finishes_within(session, Duration::ZERO).map_err(broken)?;
                return Ok(if done { Progress::Done } else { Progress::Blocked });
            }
            if start.elapsed() > self.limit {
                let seconds = self.limit.as_secs();
                return Err(BackendError::TooLong { session, seconds });
            }
        }
    }

    fn reply(&mut self, session: usize) -> Result<Reply, BackendError> {
        self.wires.answer(session).map(reply).map_err(broken)
    }

    fn messages(&mut self, session: usize) -> Vec<Message> {
        self.receive(session);
        std::mem::take(&mut self.messages[session])
    }

    fn notifications(&mut self, session: usize) -> Vec<Notify> {
        self.receive(session);
        std::mem::take(&mut self.notifications[session])
    }

    fn pass_time(&mut self) -> bool {
        std::thread::sleep(self.interval);
        self.idle_since.get_or_insert_with(Instant::now).elapsed() < self.limit
    }
}

fn broken(error: WiresError) -> BackendError {
    BackendError::Broken(error.to_string())
}

fn reply(answer: Answer) -> Reply {
    let results = answer.results.into_iter().map(|rows| {
        let columns = rows.columns?;
        Some(Table {
            columns,
            rows: rows.rows,
        })
    });
    Reply {
        results: results.collect(),
        failure: answer.error.map(|error| Failure {
            severity: error.severity,
            message: error.message,
        }),
    }
}
