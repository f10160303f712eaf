//! [`Race`]: a test of real code, as one expression.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::ask::{Followed, Learned, Make, Tally, Together};
use super::build::Built;
use super::check::{self, Findings};
use super::promise::{End, Looked};
use super::{IntoOutcome, World, migrations, together};
use crate::explore::Options;
use crate::machine::Program;
use crate::system::{Fault, FaultBudget, Invariant, QueryInvariant, When};
use crate::value::Value;

/// Requests and processes of real code that race with each other, what may go wrong, and what is promised.
///
/// Built by its methods in any order; [`Race::check`] runs it and fails the test if a promise is broken.
#[derive(Debug)]
#[must_use = "a race is only run by `check`"]
pub struct Race {
    pub(super) name: Arc<str>,
    pub(super) scripts: Vec<String>,
    pub(super) roots: Vec<(Arc<str>, MakeIt, Kind)>,
    pub(super) promises: Vec<Arc<dyn Invariant>>,
    pub(super) faults: FaultBudget,
    pub(super) retries: u8,
    pub(super) expected: Vec<Arc<str>>,
    options: Options,
    /// The first thing that is wrong with the test itself.
    pub(super) mistake: Option<String>,
}

#[derive(Clone)]
pub(super) struct MakeIt(pub(super) Make);

impl std::fmt::Debug for MakeIt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("code")
    }
}

/// Who starts the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client, so many times.
    Request(u8),
    /// Nobody.
    Process,
    /// Nobody; and again after a crash.
    Worker,
}

impl Race {
    /// A race over a database with this schema, which may be empty if migrations follow. It is named after the test that runs it.
    pub fn new(schema: impl Into<String>) -> Race {
        let thread = std::thread::current();
        Race {
            name: thread.name().unwrap_or("race").into(),
            scripts: vec![schema.into()],
            roots: Vec::new(),
            promises: Vec::new(),
            faults: FaultBudget::NONE,
            retries: 0,
            expected: Vec::new(),
            options: Options {
                max_time: Some(Duration::from_secs(120)),
                ..Options::default()
            },
            mistake: None,
        }
    }

    /// Runs the migrations of a folder, as sqlx or diesel have them, relative to the package.
    pub fn migrations(mut self, folder: impl AsRef<Path>) -> Race {
        match migrations::read(folder.as_ref()) {
            Ok(texts) => self.scripts.extend(texts),
            Err(error) => self.wrong(error.to_string()),
        }
        self
    }

    /// Runs SQL before anything else happens: rows that are there from the start.
    pub fn seed(mut self, sql: impl Into<String>) -> Race {
        self.scripts.push(sql.into());
        self
    }

    /// So many requests at once, all alike. Each is a process with an execution of its own; what the future returns is its response.
    pub fn requests<F, T>(mut self, count: u8, code: F) -> Race
    where
        F: Fn(World) -> T + Send + Sync + 'static,
        T: Future<Output: IntoOutcome> + 'static,
    {
        let label = match self.roots.iter().any(|(label, ..)| &**label == "request") {
            true => format!("request {}", self.roots.len() + 1),
            false => "request".to_owned(),
        };
        self.roots.push((label.into(), make(code), Kind::Request(count)));
        self
    }

    /// One request of another kind, by a name for the lanes.
    pub fn request<F, T>(mut self, name: impl Into<Arc<str>>, code: F) -> Race
    where
        F: Fn(World) -> T + Send + Sync + 'static,
        T: Future<Output: IntoOutcome> + 'static,
    {
        self.roots.push((name.into(), make(code), Kind::Request(1)));
        self
    }

    /// A process that nobody asks for and nobody hears of: a job, a migration. A crash ends it.
    pub fn process<F, T>(mut self, name: impl Into<Arc<str>>, code: F) -> Race
    where
        F: Fn(World) -> T + Send + Sync + 'static,
        T: Future<Output: IntoOutcome> + 'static,
    {
        self.roots.push((name.into(), make(code), Kind::Process));
        self
    }

    /// A process that is started again after a crash.
    pub fn worker<F, T>(mut self, name: impl Into<Arc<str>>, code: F) -> Race
    where
        F: Fn(World) -> T + Send + Sync + 'static,
        T: Future<Output: IntoOutcome> + 'static,
    {
        self.roots.push((name.into(), make(code), Kind::Worker));
        self
    }

    /// Promises that the query finds no rows, whatever has happened so far. It sees what is committed, and `responses` (process, status, body).
    pub fn always(self, name: impl Into<Arc<str>>, query: impl Into<Arc<str>>) -> Race {
        self.query(name.into(), query.into(), When::Always)
    }

    /// Promises that the query finds no rows when nothing more can happen.
    pub fn finally(self, name: impl Into<Arc<str>>, query: impl Into<Arc<str>>) -> Race {
        self.query(name.into(), query.into(), When::Finally)
    }

    /// Promises what a closure says of the final rows and responses; an `Err` says how it is broken.
    pub fn finally_that<F>(mut self, name: impl Into<Arc<str>>, look: F) -> Race
    where
        F: Fn(&End<'_>) -> Result<(), String> + Send + Sync + 'static,
    {
        self.promises.push(Arc::new(Looked {
            name: name.into(),
            look: Box::new(look),
        }));
        self
    }

    /// Up to so many crashes of requests and processes, anywhere between two statements.
    pub fn crashes(self, count: u8) -> Race {
        self.fault(Fault::Crash, count)
    }

    /// Up to so many statements that take place and whose replies are lost with the connection: a COMMIT, or one without a transaction.
    pub fn lost_replies(self, count: u8) -> Race {
        self.fault(Fault::LostReply, count)
    }

    /// Up to so many connections that break before a statement reaches the server.
    pub fn disconnects(self, count: u8) -> Race {
        self.fault(Fault::Disconnect, count)
    }

    /// Up to so many clients that give up waiting while their request still runs. Their retries then overlap it.
    pub fn timeouts(self, count: u8) -> Race {
        self.fault(Fault::Timeout, count)
    }

    /// Clients send a request up to so many times again when it failed (5xx) or nothing came back.
    pub fn retries(mut self, count: u8) -> Race {
        self.retries = count;
        self
    }

    /// A bug that is kept: the check succeeds only if this promise is broken.
    pub fn expect_violation(mut self, name: impl Into<Arc<str>>) -> Race {
        self.expected.push(name.into());
        self
    }

    /// Stops after so many states or so much time; a race that was stopped fails. Without it, after two minutes.
    pub fn limits(mut self, states: Option<u64>, time: Option<Duration>) -> Race {
        self.options.max_states = states;
        self.options.max_time = time;
        self
    }

    /// Explores every schedule and judges every promise, or replays the one of `DEADHEAT_REPLAY`.
    ///
    /// # Panics
    /// When a promise is broken that was not expected to be, with the schedule as lanes, its decisive step and the line that replays it; when it can't be said; and
    /// when the test itself is wrong.
    pub fn check(self) {
        check::check(&self.findings());
    }

    /// The same without judging it: what was found, and what was asked of the code.
    pub fn run(self) -> Findings {
        self.findings()
    }

    fn findings(self) -> Findings {
        let built = match Built::of(&self) {
            Ok(built) => built,
            Err(mistake) => return Findings::mistaken(self.name, mistake),
        };
        let system = built.system(&self, |code| Program::new(Learned::new(code)));
        let mut findings = Findings::of(self.name.clone(), &system, &self.options, self.expected.clone());
        let mut tally = Tally::default();
        for code in built.codes() {
            let own = code.tally();
            tally.runs += own.runs;
            tally.histories += own.histories;
            tally.at_once = tally.at_once.max(own.at_once);
            code.rest();
        }
        if let Some(finding) = findings.finding() {
            let along = |together: &Together| {
                built.system(&self, |code| {
                    Program::new(Followed::new(Learned::new(code), together.clone()))
                })
            };
            let company = together::run(&system, finding, along);
            findings = findings.in_company(company);
        }
        findings.asked(tally)
    }

    fn query(mut self, name: Arc<str>, query: Arc<str>, when: When) -> Race {
        self.promises.push(Arc::new(QueryInvariant {
            promise: name.clone(),
            name,
            when,
            query,
        }));
        self
    }

    fn fault(mut self, fault: Fault, count: u8) -> Race {
        self.faults = self.faults.with(fault, count);
        self
    }

    fn wrong(&mut self, mistake: String) {
        self.mistake.get_or_insert(mistake);
    }
}

fn make<F, T>(code: F) -> MakeIt
where
    F: Fn(World) -> T + Send + Sync + 'static,
    T: Future<Output: IntoOutcome> + 'static,
{
    MakeIt(Arc::new(move |world| {
        let future = code(world);
        Box::pin(async move { Some(future.await.into_outcome().await) })
    }))
}

/// Whether anybody was answered with success in a final state.
pub(super) fn has_success(rows: &[String]) -> bool {
    rows.iter().any(|count| *count != Value::Int(0).to_string())
}
