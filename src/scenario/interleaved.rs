//! PostgreSQL's isolation-test files as scenarios: every interleaving of their sessions, whatever permutations they write down.
//!
//! Each session is a process that sends its steps in order and takes every reply as it is, as `isolationtester` does; its own setup and
//! teardown are its first and last message. What must hold is that the tables end as if sessions had run one after another, those that were
//! aborted left out. What a SELECT showed is not judged. **Departure:** a file's own teardown does not run, since every schedule starts anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use sqlparser::ast;

use super::{Expect, Kind, Limits, Scenario, Storm};
use crate::document::{Problem, Problems, Source};
use crate::explore::Driver;
use crate::isolation::{self, spec::Block};
use crate::machine::{Effect, Machine, Pid, Program, Reply, Sql};
use crate::system::{
    Action, Breach, FaultBudget, Invariant, Observation, Outcome, Role, Root, Spec, System, View, When,
};
use crate::world::World;
use crate::world::database::sql::parse;
use crate::world::database::{Database, QueryError};

/// The extension of such files.
pub(super) const EXTENSION: &str = "spec";

/// More sessions than this have too many orders to be compared with.
const MOST_SESSIONS: usize = 6;

/// What must hold.
const PROMISE: &str = "the tables end as if the sessions had run one after another, those that were aborted left out";

/// 2026-01-01 00:00:00 UTC.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// Reads a spec file.
pub(super) fn read(name: &str, path: &Path, source: Source) -> Result<Vec<Scenario>, Problems> {
    let spec = isolation::Spec::parse(&source.name, &source.text).map_err(|error| {
        let problem = Problem::new(error.span(), error.problem.to_string(), "here");
        Problems::new(source.clone(), vec![problem])
    })?;
    let mut problems = Vec::new();
    if spec.sessions.len() > MOST_SESSIONS {
        let found = format!("{} sessions", spec.sessions.len());
        problems.push(Problem::new(
            0..0,
            found,
            format!("at most {MOST_SESSIONS} can be explored"),
        ));
    }
    let mut database = Database::default();
    let mut tables = Vec::new();
    for block in &spec.setups {
        tables.extend(created(&block.text));
        if let Err(error) = database.run_script_at(&block.text, NEW_YEAR) {
            problems.push(problem(block, &error));
        }
    }
    let mut roots = Vec::new();
    for session in &spec.sessions {
        let steps = session.steps.iter().map(|step| &step.sql);
        let blocks: Vec<&Block> = session.setup.iter().chain(steps).chain(&session.teardown).collect();
        for block in &blocks {
            if let Err(refused) = database.check(&block.text) {
                problems.push(problem(block, &QueryError::Refused(refused)));
            }
        }
        let messages = blocks.iter().map(|block| block.text.clone()).collect();
        roots.push(Root {
            label: session.name.clone(),
            program: Program::new(Session { messages, sent: 0 }),
            role: Role::Handler,
        });
    }
    if !problems.is_empty() {
        return Err(Problems::new(source, problems));
    }
    let observe = |table: String| Observation {
        query: format!("select * from {table}").into(),
        label: table.into(),
    };
    let mut parts = Spec {
        name: name.into(),
        roots,
        endpoints: Default::default(),
        world: World {
            database,
            now: NEW_YEAR,
            ..World::default()
        },
        faults: FaultBudget::default(),
        invariants: Vec::new(),
        observations: tables.into_iter().map(observe).collect(),
        vacuity: None,
        identity: source.text.clone(),
    };
    let serial = SerialOrders::of(&System::new(parts.clone()));
    parts.invariants.push(Arc::new(serial));
    Ok(vec![Scenario {
        name: name.into(),
        variant: None,
        path: path.to_owned(),
        title: format!("Every interleaving of {}", list(&spec)),
        origin: source.name.to_string(),
        source,
        story: String::new(),
        drivers: vec![Driver::Explore, Driver::Shuttle, Driver::Postgres],
        drivers_named: true,
        limits: Limits::default(),
        storm: Storm::default(),
        expect: Expect::default(),
        kind: Kind::Script,
        system: System::new(parts),
        warnings: Vec::new(),
    }])
}

fn list(spec: &isolation::Spec) -> String {
    let names: Vec<&str> = spec.sessions.iter().map(|session| &*session.name).collect();
    names.join(", ")
}

fn problem(block: &Block, error: &QueryError) -> Problem {
    let QueryError::Refused(refused) = error else {
        return Problem::new(block.span.clone(), error.to_string(), "here");
    };
    let lines = block
        .text
        .split_inclusive('\n')
        .take(refused.line.saturating_sub(1) as usize);
    let offset = lines.map(str::len).sum::<usize>() + refused.column.saturating_sub(1) as usize;
    let start = (block.span.start + offset).min(block.span.end.saturating_sub(1));
    Problem::new(
        start..block.span.end,
        format!("{} is not supported", refused.construct),
        "the model does not know this",
    )
}

/// The tables that a script creates.
fn created(script: &str) -> Vec<String> {
    let statements = parse::parse(script).unwrap_or_default();
    let tables = statements.into_iter().filter_map(|statement| match statement.kind {
        parse::Kind::Sql(statement) => match *statement {
            ast::Statement::CreateTable(table) => Some(table.name.to_string()),
            _ => None,
        },
        _ => None,
    });
    tables.collect()
}

/// A session: its messages, one after another, whatever becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    messages: Arc<[Arc<str>]>,
    sent: usize,
}

impl Machine for Session {
    fn step(&mut self, _: Reply) -> Effect {
        let Some(message) = self.messages.get(self.sent) else {
            return Effect::Done;
        };
        self.sent += 1;
        Effect::Sql(Sql::new(message.clone()))
    }

    /// None: it is a straight line.
    fn name(&self) -> String {
        String::new()
    }
}

/// The final tables of every serial order of every set of sessions.
#[derive(Debug)]
struct SerialOrders(BTreeSet<Outcome>);

impl SerialOrders {
    fn of(system: &System) -> SerialOrders {
        let sessions = system.spec().roots.len();
        let mut outcomes = BTreeSet::new();
        let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
        while let Some(order) = orders.pop() {
            if let Some(outcome) = alone(system, &order) {
                outcomes.insert(outcome);
            }
            let others = (0..sessions).filter(|session| !order.contains(session));
            orders.extend(others.map(|next| order.iter().copied().chain([next]).collect()));
        }
        SerialOrders(outcomes)
    }
}

/// What comes of these sessions, each run to its end before the next; `None` where one of them waits for another, which never ends.
fn alone(system: &System, order: &[usize]) -> Option<Outcome> {
    let mut state = system.initial();
    let mut ways = Vec::new();
    for session in order {
        let pid = Pid::root(u8::try_from(*session).ok()?);
        while state.processes.get(&pid).is_some_and(|process| process.is_alive()) {
            let enabled = system.enabled(&state);
            let mine = enabled.iter().find(|action| **action == Action::Run(pid));
            // Nobody else moves; so it can only be time that it waits for.
            let action = mine.or_else(|| enabled.iter().find(|action| **action == Action::Tick))?;
            system.outcomes(&state, *action, &mut ways);
            state = ways.drain(..).next()?.1;
        }
    }
    Some(system.outcome(&state))
}

impl Invariant for SerialOrders {
    fn name(&self) -> &str {
        "like-one-after-another"
    }

    fn promise(&self) -> &str {
        PROMISE
    }

    fn when(&self) -> When {
        When::Finally
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let outcome = Outcome::of(view);
        if self.0.contains(&outcome) {
            return Ok(());
        }
        let mut sentence = format!("no serial order ends with {outcome}");
        if let [only] = self.0.iter().collect::<Vec<_>>().as_slice() {
            // Writing to a String can't fail.
            let _ = write!(sentence, "; all end with {only}");
        }
        Err(Breach {
            invariant: self.name().into(),
            sentence,
            rows: Vec::new(),
            is_error: false,
        })
    }
}
