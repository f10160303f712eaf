//! A race as a system: its code learned once, its processes, its promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ask::Code;
use super::promise::{Followed, Unstuck};
use super::race::{Kind, Race};
use crate::machine::http::Fields;
use crate::machine::{Effect, Machine, Program, Reply, Request};
use crate::system::{Endpoint, Fault, Invariant, Observation, Role, Root, Spec, System};
use crate::world::database::Database;
use crate::world::runtime::{RUNTIME, Runtime};
use crate::world::service::Provided;

/// 2026-01-01 00:00 UTC, in microseconds: when every race begins.
const START: i64 = 1_767_225_600_000_000;

/// What every system of a race has in common.
#[derive(Debug)]
pub(super) struct Built {
    database: Database,
    codes: Vec<Arc<Code>>,
}

impl Built {
    /// The database as it is at the start, and the code of each kind of request and process, not started yet.
    ///
    /// # Errors
    /// What is wrong with the test itself, in words.
    pub(super) fn of(race: &Race) -> Result<Built, String> {
        if let Some(mistake) = &race.mistake {
            return Err(mistake.clone());
        }
        let mut database = Database::new();
        for script in &race.scripts {
            database
                .run_script_at(script, START)
                .map_err(|error| format!("the schema, its migrations or its seed: {error}"))?;
        }
        asks_for_something(race)?;
        let shared = Arc::new(database.clone());
        let code =
            |label: &Arc<str>, make: &super::ask::Make| Code::new(label.clone(), make.clone(), shared.clone(), START);
        let codes = race.roots.iter().map(|(label, make, _)| code(label, &make.0)).collect();
        Ok(Built { database, codes })
    }

    /// The code of each kind of request and process.
    pub(super) fn codes(&self) -> &[Arc<Code>] {
        &self.codes
    }

    /// The race as a system, with the machines that `program` makes of the code.
    pub(super) fn system(&self, race: &Race, program: impl Fn(Arc<Code>) -> Program) -> System {
        let mut identity: Vec<String> = race.scripts.clone();
        let mut roots = Vec::new();
        let mut endpoints = BTreeMap::new();
        for ((label, _, kind), code) in race.roots.iter().zip(&self.codes) {
            identity.push(format!("{label} {kind:?}"));
            let program = program(code.clone());
            let count = if let Kind::Request(count) = kind { *count } else { 1 };
            let has_client =
                matches!(kind, Kind::Request(_)) && (race.retries > 0 || race.faults.left(Fault::Timeout) > 0);
            for number in 1..=count {
                let label: Arc<str> = match count {
                    1 => label.clone(),
                    _ => format!("{label} {number}").into(),
                };
                let (program, role) = match (has_client, kind) {
                    (true, _) => (Program::new(Client::new(code.label(), race.retries)), Role::Client),
                    (false, Kind::Worker) => (program.clone(), Role::Worker),
                    (false, _) => (program.clone(), Role::Handler),
                };
                roots.push(Root { label, program, role });
            }
            if has_client {
                let open = Arc::new(move |_: &Request| program.clone());
                let role = Role::Handler;
                endpoints.insert(label.clone(), Endpoint { open, role });
            }
        }
        identity.push(format!("{} {}", race.faults, race.retries));
        let mut invariants: Vec<Arc<dyn Invariant>> = vec![Arc::new(Followed)];
        invariants.extend(race.promises.iter().cloned());
        invariants.push(Arc::new(Unstuck));
        let mut world = crate::world::World {
            database: self.database.clone(),
            now: START,
            ..Default::default()
        };
        world.services.insert(RUNTIME.into(), Provided::new(Runtime::default()));
        let observe = |label: &str, query: &str| Observation {
            label: label.into(),
            query: query.into(),
        };
        System::new(Spec {
            name: race.name.clone(),
            roots,
            endpoints,
            world,
            faults: race.faults,
            invariants,
            observations: vec![
                observe("successes", "select count(*) from responses where status < 400"),
                observe("answers", "select status, body from responses"),
            ],
            vacuity: None,
            identity: identity.join("\n").into(),
        })
    }
}

/// A race that nothing could break is no test.
fn asks_for_something(race: &Race) -> Result<(), String> {
    let processes = race.roots.iter().map(|(_, _, kind)| match kind {
        Kind::Request(count) => usize::from(*count),
        Kind::Process | Kind::Worker => 1,
    });
    let processes: usize = processes.sum();
    if processes == 0 {
        return Err("nobody races: there is no request and no process".to_owned());
    }
    if race.promises.is_empty() {
        return Err("nothing is promised: add `always`, `finally` or `finally_that`".to_owned());
    }
    if processes > 250 {
        return Err(format!("{processes} requests and processes are too many"));
    }
    let own = [Followed.name(), Unstuck.name()];
    let promised = race.promises.iter().map(|promise| promise.name());
    let known: Vec<&str> = promised.chain(own).collect();
    match race.expected.iter().find(|name| !known.contains(&&***name)) {
        Some(unknown) => Err(format!("`{unknown}` is expected to be broken and promised nowhere")),
        None => Ok(()),
    }
}

/// Sends a request until it is answered, or its attempts are used up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    endpoint: Arc<str>,
    left: u8,
}

impl Client {
    fn new(endpoint: Arc<str>, retries: u8) -> Client {
        Client {
            endpoint,
            left: retries.saturating_add(1),
        }
    }
}

impl Machine for Client {
    fn step(&mut self, reply: Reply) -> Effect {
        match (reply, self.left) {
            (Reply::Response(Ok(response)), _) if response.status < 500 => Effect::Done,
            (_, 0) => Effect::Done,
            (_, left) => {
                self.left = left - 1;
                Effect::Send(Request {
                    endpoint: self.endpoint.clone(),
                    headers: Fields::default(),
                    body: Fields::default(),
                })
            }
        }
    }

    fn state(&self) -> &'static str {
        "waiting"
    }
}
