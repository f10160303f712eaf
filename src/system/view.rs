//! What invariants and outcomes see of a state.

use std::cell::Cell;
use std::sync::Arc;

use super::process::{Process, Role, Status};
use super::{Spec, State};
use crate::machine::{Failure, NoAnswer, Pid, Request, Response, Rows, Sql};
use crate::value::Value;
use crate::world::database::QueryError;
use crate::world::service::{Service, VirtualTable};

/// A state, to look at: committed rows, services, processes.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    spec: &'a Spec,
    state: &'a State,
    reads: Option<&'a Reads>,
}

/// What was looked at through a [`View`]: two states that are equal in these parts look the same.
#[derive(Debug, Default)]
pub(crate) struct Reads(Cell<u8>);

impl Reads {
    /// The database.
    pub(crate) const DATABASE: u8 = 1;
    /// The services.
    pub(crate) const SERVICES: u8 = 2;
    /// Labels, requests, responses and failures of processes.
    pub(crate) const EXCHANGES: u8 = 4;
    /// Labels, states and what they wait for of processes.
    pub(crate) const STATUSES: u8 = 8;
    /// Everything about processes.
    pub(crate) const PROCESSES: u8 = 16;
    /// The clock and the fault budget.
    pub(crate) const REST: u8 = 32;

    /// All that was looked at.
    pub(crate) fn all(&self) -> u8 {
        self.0.get()
    }

    fn note(&self, part: u8) {
        self.0.set(self.0.get() | part);
    }
}

/// What a process was asked, what it answered, and what it was answered itself.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The process.
    pub pid: Pid,
    /// Its name in lanes.
    pub label: &'a Arc<str>,
    /// The request that started it, when it is a handler.
    pub request: Option<&'a Request>,
    /// Its response to that request, once given.
    pub response: Option<&'a Response>,
    /// The last response it got to a request of its own.
    pub received: Option<&'a Result<Response, NoAnswer>>,
}

/// How a process stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its name in lanes.
    pub label: &'a Arc<str>,
    /// What it is.
    pub role: Role,
    /// `running`, `blocked` (in the database), `waiting` (for a response), `sleeping`, `finished` or `crashed`.
    pub status: &'static str,
    /// The name of its machine's state.
    pub state: &'static str,
}

impl<'a> View<'a> {
    /// A view of a state of the system that `spec` describes.
    pub fn new(spec: &'a Spec, state: &'a State) -> Self {
        View {
            spec,
            state,
            reads: None,
        }
    }

    /// The same view, noting in `reads` what is looked at.
    pub(crate) fn noting(self, reads: &'a Reads) -> Self {
        View {
            reads: Some(reads),
            ..self
        }
    }

    fn note(&self, part: u8) {
        if let Some(reads) = self.reads {
            reads.note(part);
        }
    }

    /// What the system was built from.
    pub fn spec(&self) -> &'a Spec {
        self.spec
    }

    /// The state itself. Prefer what says more closely what it looks at: the explorer does not ask again when only other parts
    /// of the state have changed.
    pub fn state(&self) -> &'a State {
        let everything = Reads::DATABASE | Reads::SERVICES | Reads::PROCESSES | Reads::REST;
        self.note(everything);
        self.state
    }

    /// The rows of a SELECT over committed data, the services' tables, and the system's own (`requests`, `responses`,
    /// `processes`), at the world's moment. Which tables a service has must not depend on its state.
    pub fn query(&self, sql: &str) -> Result<Rows, QueryError> {
        let database = &self.state.world.database;
        let mut tables = Vec::new();
        self.note(Reads::DATABASE);
        for (name, build) in SYSTEM_TABLES {
            if sql.contains(name) {
                let part = if name == "processes" {
                    Reads::STATUSES
                } else {
                    Reads::EXCHANGES
                };
                self.note(part);
                tables.push(build(self));
            }
        }
        for service in self.state.world.services.values() {
            let wanted = service.get().tables().into_iter();
            for table in wanted.filter(|table| sql.contains(&*table.name)) {
                self.note(Reads::SERVICES);
                // Several services may share a table, as told ones share `external_calls`.
                match tables
                    .iter_mut()
                    .find(|known: &&mut VirtualTable| known.name == table.name)
                {
                    Some(known) => known.rows.extend(table.rows),
                    None => tables.push(table),
                }
            }
        }
        // Of queries without any of these the answer does not change with the clock alone.
        let lower = sql.to_ascii_lowercase();
        if ["now", "current_", "localtime", "_timestamp", "age("]
            .iter()
            .any(|word| lower.contains(word))
        {
            self.note(Reads::REST);
        }
        database.query_at(&Sql::new(sql), &tables, self.state.world.now)
    }

    /// Every process, in the order of their identities.
    pub fn processes(&self) -> impl Iterator<Item = (Pid, &'a Process)> + use<'a> {
        self.note(Reads::PROCESSES);
        self.all()
    }

    /// What every process was asked, answered, and was answered, in the order of their identities.
    pub fn exchanges(&self) -> impl Iterator<Item = Exchange<'a>> + use<'a> {
        self.note(Reads::EXCHANGES);
        self.all().map(|(pid, process)| Exchange {
            pid,
            label: &process.label,
            request: process.request.as_deref(),
            response: process.response.as_ref(),
            received: process.received.as_ref(),
        })
    }

    /// The processes whose machines failed in their last step, with their names in lanes, in the order of their identities.
    pub fn failures(&self) -> impl Iterator<Item = (&'a Arc<str>, Failure)> + use<'a> {
        self.note(Reads::EXCHANGES);
        self.all()
            .filter_map(|(_, process)| Some((&process.label, process.program.failure()?)))
    }

    /// How every process stands, in the order of their identities.
    pub fn standings(&self) -> impl Iterator<Item = Standing<'a>> + use<'a> {
        self.note(Reads::STATUSES);
        self.all().map(|(_, process)| Standing {
            label: &process.label,
            role: process.role,
            status: process.status.word(),
            state: process.program.state(),
        })
    }

    fn all(&self) -> impl Iterator<Item = (Pid, &'a Process)> + use<'a> {
        self.state.processes.iter().map(|(pid, process)| (*pid, &**process))
    }

    /// The service of a name, if it is an `S`.
    pub fn service<S: Service + 'static>(&self, name: &str) -> Option<&'a S> {
        self.note(Reads::SERVICES);
        self.state
            .world
            .services
            .get(name)
            .and_then(|service| service.downcast())
    }
}

type Build = fn(&View<'_>) -> VirtualTable;

/// The tables that every system has, beside those of its database and services.
pub(crate) const SYSTEM_TABLES: [(&str, Build); 3] = [
    ("requests", requests),
    ("responses", responses),
    ("processes", processes),
];

/// The tables of [`SYSTEM_TABLES`], without rows.
pub(crate) fn system_tables() -> impl Iterator<Item = VirtualTable> {
    let system = super::System::new(Spec {
        name: "".into(),
        roots: Vec::new(),
        endpoints: std::collections::BTreeMap::new(),
        world: crate::world::World::default(),
        faults: super::FaultBudget::NONE,
        invariants: Vec::new(),
        observations: Vec::new(),
        vacuity: None,
        identity: "".into(),
    });
    SYSTEM_TABLES
        .into_iter()
        .map(move |(_, build)| build(&system.view(&system.initial())))
}

fn requests(view: &View<'_>) -> VirtualTable {
    let rows = view.all().filter_map(|(pid, process)| {
        let request = process.request.as_ref()?;
        let sender = pid.parent().and_then(|parent| view.state.processes.get(&parent));
        Some(vec![
            Value::Text(process.label.clone()),
            sender.map_or(Value::Null, |sender| Value::Text(sender.label.clone())),
            Value::Text(request.endpoint.clone()),
            request
                .headers
                .get("idempotency-key")
                .map_or(Value::Null, |key| Value::Text(key.clone())),
            Value::Bool(process.response.is_some()),
        ])
    });
    table(
        "requests",
        &[
            ("process", "text"),
            ("sender", "text"),
            ("endpoint", "text"),
            ("idempotency_key", "text"),
            ("answered", "boolean"),
        ],
        rows.collect(),
    )
}

fn responses(view: &View<'_>) -> VirtualTable {
    let rows = view.all().filter_map(|(pid, process)| {
        let response = process.response.as_ref()?;
        // A process that no request started can answer too: a script that leaves its client out.
        let request = process.request.as_ref();
        let sender = pid.parent().and_then(|parent| view.state.processes.get(&parent));
        Some(vec![
            Value::Text(process.label.clone()),
            sender.map_or(Value::Null, |sender| Value::Text(sender.label.clone())),
            request.map_or(Value::Null, |request| Value::Text(request.endpoint.clone())),
            request
                .and_then(|request| request.headers.get("idempotency-key"))
                .map_or(Value::Null, |key| Value::Text(key.clone())),
            Value::Int(response.status.into()),
            Value::Text(response.body.clone()),
        ])
    });
    table(
        "responses",
        &[
            ("process", "text"),
            ("sender", "text"),
            ("endpoint", "text"),
            ("idempotency_key", "text"),
            ("status", "bigint"),
            ("body", "text"),
        ],
        rows.collect(),
    )
}

fn processes(view: &View<'_>) -> VirtualTable {
    let rows = view.all().map(|(_, process)| {
        let status = process.status.word();
        vec![
            Value::Text(process.label.clone()),
            Value::text(status),
            Value::text(process.program.state()),
        ]
    });
    table(
        "processes",
        &[("process", "text"), ("status", "text"), ("state", "text")],
        rows.collect(),
    )
}

impl Status {
    /// What the table `processes` says of it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Status::Ready(_) | Status::Arriving { .. } => "running",
            Status::Stopped { orphaned: false, .. } => "running",
            Status::Blocked { .. } => "blocked",
            Status::Awaiting { .. } => "waiting",
            Status::Sleeping(_) => "sleeping",
            Status::Finished => "finished",
            Status::Crashed | Status::Orphaned | Status::Stopped { orphaned: true, .. } => "crashed",
        }
    }
}

fn table(name: &str, columns: &[(&str, &str)], rows: Vec<Vec<Value>>) -> VirtualTable {
    let columns = columns
        .iter()
        .map(|(name, kind)| (Arc::from(*name), Arc::from(*kind)))
        .collect();
    VirtualTable {
        name: name.into(),
        columns,
        rows,
    }
}
