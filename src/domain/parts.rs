//! Small parts from which handlers are declared and built.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::flow::{self, Story};
use super::{Choice, Conflict, Kind, Named, Parameter, Settings, promise};
use crate::machine::http::Fields;
use crate::machine::service::Delivery;
use crate::machine::{Program, Request};
use crate::system::{Courier, Endpoint, FaultBudget, Invariant, Observation, Role, Root, Spec};
use crate::world::World;
use crate::world::database::Database;
use crate::world::service::Provided;

/// A choice of a design; the first option is the strong one.
pub(super) const fn choice(name: &'static str, doc: &'static str, options: &'static [Named]) -> Choice {
    Choice { name, doc, options }
}

/// An option of a choice.
pub(super) const fn named(name: &'static str, doc: &'static str) -> Named {
    Named { name, doc }
}

/// A whole number between `min` and `max`.
pub(super) const fn int(name: &'static str, doc: &'static str, min: i64, max: i64, default: i64) -> Parameter {
    let kind = Kind::Int { min, max, default };
    Parameter { name, doc, kind }
}

/// A text.
pub(super) const fn text(name: &'static str, doc: &'static str, default: &'static str) -> Parameter {
    let kind = Kind::Text { default };
    Parameter { name, doc, kind }
}

/// An endpoint whose requests are handled by a story each.
pub(super) fn endpoint<S: Story>(open: impl Fn(&Request) -> S + Send + Sync + 'static) -> Endpoint {
    Endpoint {
        open: Arc::new(move |request| flow::program(open(request))),
        role: Role::Handler,
    }
}

/// A root process.
pub(super) fn root(label: impl Into<Arc<str>>, role: Role, program: Program) -> Root {
    Root {
        label: label.into(),
        program,
        role,
    }
}

/// A root process that delivers one webhook, up to `attempts` times.
pub(super) fn courier(label: Arc<str>, endpoint: &str, body: Fields, attempts: u8) -> Root {
    let delivery = Delivery {
        label: label.clone(),
        endpoint: endpoint.into(),
        headers: Fields::default(),
        body,
        attempts,
    };
    root(label, Role::Courier, Program::new(Courier::new(&delivery)))
}

/// A small number of a setup.
pub(super) fn small(settings: &Settings, name: &str) -> u8 {
    u8::try_from(settings.int(name)).unwrap_or(u8::MAX)
}

/// A field of a request's body; empty when it is not there.
pub(super) fn field(request: &Request, name: &str) -> Arc<str> {
    request.body.get(name).cloned().unwrap_or_default()
}

/// A header of a request; empty when it is not there.
pub(super) fn header(request: &Request, name: &str) -> Arc<str> {
    request.headers.get(name).cloned().unwrap_or_default()
}

/// A world with a schema and services.
pub(super) fn world<const N: usize>(schema: &str, services: [(&str, Provided); N]) -> Result<World, Conflict> {
    let mut database = Database::new();
    promise::set_up(&mut database, schema)?;
    let services = services.into_iter().map(|(name, service)| (Arc::from(name), service));
    Ok(World {
        database,
        services: services.collect(),
        ..World::default()
    })
}

/// What a handler builds; the scenario adds its name, its faults and its identity.
pub(super) fn spec<const E: usize, const O: usize>(
    world: World,
    roots: Vec<Root>,
    endpoints: [(&str, Endpoint); E],
    invariants: Vec<Arc<dyn Invariant>>,
    observations: [(&str, &str); O],
) -> Spec {
    let endpoints = endpoints
        .into_iter()
        .map(|(name, endpoint)| (Arc::from(name), endpoint));
    let observations = observations.into_iter().map(|(label, query)| Observation {
        label: label.into(),
        query: query.into(),
    });
    Spec {
        name: "".into(),
        roots,
        endpoints: endpoints.collect::<BTreeMap<_, _>>(),
        world,
        faults: FaultBudget::NONE,
        invariants,
        observations: observations.collect(),
        vacuity: None,
        identity: "".into(),
    }
}
