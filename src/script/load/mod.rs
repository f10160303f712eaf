//! From the sections of a file to a system: the world is built, steps are read and compiled, queries are tried.

mod place;
mod prepare;
mod process;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;

use toml::Spanned;

pub(super) use self::place::Place;
pub(super) use self::prepare::unknown_function;
use self::process::Processes;
use super::code::Op;
use super::error::{Problem, Severity};
use super::file::{InvariantSection, ObserveSection};
use super::{Loaded, Source, promises};
use crate::system::{Invariant, Observation, QueryInvariant, Spec, System, When};

/// Reads, checks and compiles the script of a scenario. An error says everything that is wrong, not only the first thing.
pub fn load(source: &Source<'_>) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut world = world::start(source, &mut problems);
    let processes = Processes::read(source, &world, &mut problems);
    let mut queries: Vec<&str> = Vec::new();
    queries.extend(
        source
            .sections
            .invariants
            .iter()
            .map(|invariant| invariant.query.get_ref().as_str()),
    );
    queries.extend(
        source
            .sections
            .observations
            .iter()
            .map(|observation| observation.query.get_ref().as_str()),
    );
    let used: BTreeSet<Arc<str>> = services_used(&processes);
    world::services(source, &processes, &used, &queries, &mut world);
    prepare::statements(source, &processes, &world.database, &mut problems);
    let mut invariants = invariants(source, &mut problems);
    invariants.extend(promises::of(source, &mut problems));
    let observations = observations(source, &world, &processes, &used);
    let spec = Spec {
        name: source.name.into(),
        roots: processes.roots(),
        endpoints: processes.endpoints(),
        identity: identity(source, &processes),
        world: world.into_world(),
        faults: source.faults,
        invariants,
        observations,
        vacuity: Some(Arc::new(processes.dead(source))),
    };
    let broken = |problems: &[Problem]| problems.iter().any(|problem| problem.severity == Severity::Error);
    if !broken(&problems) {
        try_queries(source, &spec, &mut problems);
    }
    problems.sort_by_key(|problem| (problem.span.start, problem.severity));
    problems.dedup();
    match broken(&problems) {
        true => Err(problems),
        false => Ok(Loaded {
            spec,
            warnings: problems,
        }),
    }
}

fn services_used(processes: &Processes<'_>) -> BTreeSet<Arc<str>> {
    let mut used = BTreeSet::new();
    for code in processes.codes() {
        for op in &code.0.ops {
            match op {
                Op::Call { service, .. } => drop(used.insert(service.clone())),
                Op::Atomic { .. } => drop(used.insert(super::atomic::SERVICE.into())),
                _ => {}
            }
        }
    }
    used
}

fn invariants(source: &Source<'_>, problems: &mut Vec<Problem>) -> Vec<Arc<dyn Invariant>> {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut invariants: Vec<Arc<dyn Invariant>> = Vec::new();
    for section in &source.sections.invariants {
        let name = section.name.get_ref();
        if !names.insert(name) {
            problems.push(Problem::new(
                format!("there are two invariants `{name}`"),
                section.name.span(),
            ));
        }
        let when = match section.when.as_ref().map(Spanned::get_ref).map(String::as_str) {
            Some("always") => When::Always,
            Some("finally") | None => When::Finally,
            Some(other) => {
                let span = section.when.as_ref().map(Spanned::span).unwrap_or_default();
                let problem = Problem::new(format!("unknown moment `{other}`"), span)
                    .label("expected `always` or `finally`")
                    .nearest(other, ["always", "finally"]);
                problems.push(problem);
                When::Finally
            }
        };
        invariants.push(Arc::new(QueryInvariant {
            name: name.as_str().into(),
            promise: section.promise.clone().unwrap_or_else(|| name.replace('-', " ")).into(),
            when,
            query: section.query.get_ref().trim().into(),
        }));
    }
    invariants
}

/// The observations of the file; else every table of the schema, the responses, and the calls of external services.
fn observations(
    source: &Source<'_>,
    world: &world::Start,
    processes: &Processes<'_>,
    used: &BTreeSet<Arc<str>>,
) -> Vec<Observation> {
    let stated = &source.sections.observations;
    if !stated.is_empty() {
        let observe = |section: &ObserveSection| Observation {
            label: section.label.as_str().into(),
            query: section.query.get_ref().trim().into(),
        };
        return stated.iter().map(observe).collect();
    }
    let mut all: Vec<Observation> = Vec::new();
    let mut tell = |label: &str, query: String| {
        all.push(Observation {
            label: label.into(),
            query: query.into(),
        });
    };
    for table in &world.tables {
        tell(table, format!("select * from {table}"));
    }
    if processes.respond() {
        tell("responses", "select process, status, body from responses".to_owned());
    }
    if world.externals.iter().any(|name| used.contains(name)) {
        tell(
            "calls",
            "select service, operation, arguments, calls from external_calls".to_owned(),
        );
    }
    all
}

/// Asks every query once of the state before the first step: what can't be answered there never can.
fn try_queries(source: &Source<'_>, spec: &Spec, problems: &mut Vec<Problem>) {
    let system = System::new(spec.clone());
    let state = system.initial();
    let view = system.view(&state);
    let mut ask = |query: &Spanned<String>| {
        if let Err(error) = view.query(query.get_ref().trim()) {
            let place = Place::of(source.text, query);
            let span = match &error {
                crate::world::database::QueryError::Refused(refused) => place.at(refused.line, refused.column),
                crate::world::database::QueryError::Sql(_) => query.span(),
            };
            problems.push(Problem::new(format!("the query can't be answered: {error}"), span));
        }
    };
    let of = |section: &InvariantSection| section.query.clone();
    source.sections.invariants.iter().map(of).for_each(|query| ask(&query));
    source
        .sections
        .observations
        .iter()
        .for_each(|section| ask(&section.query));
}

/// Everything that a schedule depends on, as text.
fn identity(source: &Source<'_>, processes: &Processes<'_>) -> Arc<str> {
    let mut text = String::new();
    if let Some(world) = &source.sections.world {
        for part in [
            &world.file,
            &world.schema,
            &world.add,
            &world.seed,
            &world.isolation,
            &world.now,
        ] {
            let part = part
                .as_ref()
                .map(Spanned::get_ref)
                .map(String::as_str)
                .unwrap_or_default();
            text.push_str(&format!("{part}\n--\n"));
        }
        text.push_str(&format!(
            "{:?} {:?} {:?} {:?}\n",
            world.cache,
            world.queue,
            world
                .provider
                .as_ref()
                .map(|provider| (&provider.attempts, &provider.copies, &provider.types)),
            world
                .external
                .iter()
                .map(|(name, section)| (
                    name,
                    &section.answer,
                    section.idempotent,
                    &section.fails_after,
                    &section.fails_before
                ))
                .collect::<Vec<_>>(),
        ));
    }
    for line in processes.identity() {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&format!("faults {:?}", source.faults));
    text.into()
}
