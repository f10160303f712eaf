//! The domain: the handlers of a backend that registers customers, takes payments and receives webhooks.
//!
//! A [`Handler`] is a family of systems: what its design leaves open is a named [`Choice`], so that one scenario file says "as reported" and
//! another "hardened" about the same machines. Scenario files name it (`handler = "registration"`); a crate of yours adds its own by
//! implementing the trait and handing it to the scenario reader.

pub mod batch;
pub mod billing;
pub mod client;
pub mod flow;
pub mod hub;
pub mod ingestion;
pub mod limit;
pub mod mapping;
mod parts;
pub mod payment;
pub mod promise;
pub mod quote;
pub mod registration;
pub mod search;
mod setup;
pub mod submit;
pub mod webhook;

use std::fmt::Debug;
use std::sync::Arc;

pub use setup::{Settings, Setup, Value};

use crate::system::Spec;

/// A family of systems under test, from which a scenario picks one by design choices, parameters and clients.
pub trait Handler: Debug + Send + Sync {
    /// Its name in scenario files: `registration`.
    fn name(&self) -> &str;

    /// One sentence: what it does.
    fn doc(&self) -> &str;

    /// The choices of its design.
    fn choices(&self) -> &[Choice];

    /// Parameters of the whole system: a key of `[domain]` each.
    fn parameters(&self) -> &[Parameter] {
        &[]
    }

    /// Parameters of each client: the keys of a `[[clients]]` entry.
    fn clients(&self) -> &[Parameter] {
        &[]
    }

    /// Its invariants, as name and promise. A system that it builds has some or all of them.
    fn invariants(&self) -> &[Promise];

    /// The system that a setup describes. Every choice and parameter is present and allowed; what can't be said of one value
    /// alone is a [`Conflict`]. The scenario sets the spec's name, faults and identity itself.
    fn build(&self, setup: &Setup) -> Result<Spec, Conflict>;
}

/// A choice of the design: one of a few named values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name: a key of `[domain.design]`.
    pub name: &'static str,
    /// What is chosen, in one sentence.
    pub doc: &'static str,
    /// The values; the first is taken when a scenario does not say.
    pub options: &'static [Named],
}

/// A value of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// As scenario files write it.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// An invariant by its name, with what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Its name: `no-duplicate-customers`.
    pub name: &'static str,
    /// One sentence that says what it promises.
    pub promise: &'static str,
}

/// A parameter: a key with a value of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The key.
    pub name: &'static str,
    /// What it sets, in one sentence.
    pub doc: &'static str,
    /// What it may be, and what it is when a scenario does not say.
    pub kind: Kind,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An integer within bounds.
    Int {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
        /// When not said.
        default: i64,
    },
    /// A text.
    Text {
        /// When not said.
        default: &'static str,
    },
    /// `true` or `false`.
    Bool {
        /// When not said.
        default: bool,
    },
    /// One of these; the first when not said.
    OneOf(&'static [Named]),
}

/// Why values that are allowed one by one don't go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Conflict {
    /// The key at fault, as a path from the top of the file: `["domain", "design", "answer"]` or `["clients", "1", "key"]`.
    pub key: Vec<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The handlers of this crate, in the order of their names.
pub fn builtin() -> Vec<Arc<dyn Handler>> {
    vec![
        Arc::new(batch::Batch),
        Arc::new(billing::Billing),
        Arc::new(mapping::CustomerMapping),
        Arc::new(ingestion::Ingestion),
        Arc::new(payment::Payment),
        Arc::new(hub::PaymentHub),
        Arc::new(quote::QuoteMail),
        Arc::new(limit::RateLimit),
        Arc::new(registration::Registration),
        Arc::new(submit::RequestDedup),
        Arc::new(search::Search),
        Arc::new(webhook::Webhook),
    ]
}
