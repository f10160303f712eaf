//! A payment provider: customers, intents, charges, refunds, idempotency keys, an event log, and signed webhooks.
//!
//! Reached under the service name `provider` through the calls of [`Api`]. It acts at the moment of the call; its answer arrives in a later step, and the webhooks that a
//! call causes are couriers of their own: they may overtake the answer, arrive in any order, again, or never.
//!
//! Modelled on Stripe's API v1 and its public clients and fakes. **Departures**: an object is named after its idempotency key or, without one, after who asked for
//! it, not at random; the event log orders what happened within one moment by name; a key is `in use` for as long as [`Settings::latency`] says, and
//! after that may be until the answer has arrived at its first caller, or was lost on the way to it; keys go after exactly [`KEYS_LAST`] (the real floor); what an intent's method does is in the
//! [method's name](intent::Method).

mod event;
mod idempotency;
pub mod intent;
mod list;
mod object;
mod shape;
pub mod signature;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use event::{Event, payload};
use idempotency::Kept;
pub use idempotency::{KEY_IN_USE, KEYS_LAST};
pub use intent::{Charge, Intent, IntentStatus};
use object::Objects;

use crate::machine::service::{Answer, Call, Delivery};
use crate::machine::{NoAnswer, Pid};
use crate::value::Value;
use crate::world::service::{InUse, Service, VirtualTable};

/// The service's name.
pub const PROVIDER: &str = "provider";

/// The provider.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Provider {
    settings: Arc<Settings>,
    customers: BTreeMap<Arc<str>, Arc<str>>,
    intents: BTreeMap<Arc<str>, Intent>,
    charges: BTreeMap<Arc<str>, Charge>,
    refunds: BTreeMap<Arc<str>, (Arc<str>, i64)>,
    keys: BTreeMap<Arc<str>, Kept>,
    events: BTreeMap<(i64, Arc<str>), Event>,
    objects: Objects,
    due: Vec<Delivery>,
}

/// What a scenario sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Settings {
    /// Where webhooks go; none are sent without it.
    pub webhooks: Option<Webhooks>,
    /// How long a request with an idempotency key is executing, in microseconds.
    pub latency: i64,
    /// Whether answers and events have whole objects, as the HTTP API tells them: an answer's `object` is JSON, a list has `objects` and `has_more`. What clients say
    /// beside the arguments of [`Api`] is kept then (argument `details`, a JSON object), and there are operations to read, list and update all kinds of objects.
    pub objects: bool,
    /// The version that whole events say they are of; clients of some languages want their own.
    pub api_version: Option<Arc<str>>,
}

/// How webhooks are sent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Webhooks {
    /// The endpoint.
    pub endpoint: Arc<str>,
    /// The secrets that sign; several while one is rotated, unsigned with none.
    pub secrets: Vec<Arc<str>>,
    /// How often each delivery is tried.
    pub attempts: u8,
    /// How many deliveries are made of each event, all on their way at once.
    pub copies: u8,
    /// The types of event that are sent; `*` for all.
    pub types: Vec<Arc<str>>,
}

impl Webhooks {
    /// One unsigned delivery, tried once, for each intent that succeeds or fails.
    pub fn to(endpoint: impl Into<Arc<str>>) -> Self {
        Webhooks {
            endpoint: endpoint.into(),
            secrets: Vec::new(),
            attempts: 1,
            copies: 1,
            types: vec![event::SUCCEEDED.into(), event::FAILED.into()],
        }
    }
}

/// Calls. Each `POST` takes an idempotency key with [`keyed`].
#[derive(Clone, Copy, Debug)]
pub struct Api;

/// The call under an idempotency key.
#[must_use]
pub fn keyed(call: Call, key: &str) -> Call {
    call.with("idempotency_key", key)
}

impl Api {
    /// Creates a customer for a user of ours; answers `id`.
    pub fn create_customer(reference: &str) -> Call {
        Call::new(PROVIDER, "create_customer").with("reference", reference)
    }

    /// Deletes a customer.
    pub fn delete_customer(customer: &str) -> Call {
        Call::new(PROVIDER, "delete_customer").with("customer", customer)
    }

    /// Creates an intent; answers `id` and `status`.
    pub fn create_intent(reference: &str, amount: i64) -> Call {
        Call::new(PROVIDER, "create_intent")
            .with("reference", reference)
            .with("amount", amount)
    }

    /// Creates an intent with a method and confirms it: a charge in one request.
    pub fn pay(reference: &str, amount: i64, method: &str) -> Call {
        Api::create_intent(reference, amount)
            .with("method", method)
            .with("confirm", true)
    }

    /// Confirms an intent; answers `id` and `status`.
    pub fn confirm(intent: &str, method: &str) -> Call {
        Call::new(PROVIDER, "confirm_intent")
            .with("intent", intent)
            .with("method", method)
    }

    /// Captures an authorised intent.
    pub fn capture(intent: &str) -> Call {
        Call::new(PROVIDER, "capture_intent").with("intent", intent)
    }

    /// Cancels an intent.
    pub fn cancel(intent: &str) -> Call {
        Call::new(PROVIDER, "cancel_intent").with("intent", intent)
    }

    /// What the customer or the bank does later: authenticates, or a slow method settles.
    pub fn resolve(intent: &str, success: bool) -> Call {
        Call::new(PROVIDER, "resolve_intent")
            .with("intent", intent)
            .with("success", success)
    }

    /// Refunds an intent's charge in full; answers `id`.
    pub fn refund(intent: &str) -> Call {
        Call::new(PROVIDER, "refund").with("intent", intent)
    }

    /// Reads an intent; answers `id`, `status`, `reference`.
    pub fn retrieve(intent: &str) -> Call {
        Call::new(PROVIDER, "retrieve_intent").with("intent", intent)
    }

    /// Lists intents of a reference: `intents` is an array of (id, status).
    pub fn intents_of(reference: &str) -> Call {
        Call::new(PROVIDER, "list_intents").with("reference", reference)
    }

    /// Lists events of a type, newest first: `events` is an array of (id, type, intent, reference, status).
    pub fn events(kind: &str) -> Call {
        Call::new(PROVIDER, "list_events").with("type", kind)
    }
}

impl Provider {
    /// A provider with settings.
    pub fn new(settings: Settings) -> Self {
        Provider {
            settings: Arc::new(settings),
            ..Provider::default()
        }
    }

    /// The intents by id.
    pub fn intents(&self) -> impl Iterator<Item = (&Arc<str>, &Intent)> {
        self.intents.iter()
    }

    /// The charges by id.
    pub fn charges(&self) -> impl Iterator<Item = (&Arc<str>, &Charge)> {
        self.charges.iter()
    }

    /// The events in the order of the log, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.values()
    }

    fn execute(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        match self.settings.objects {
            true => self.execute_whole(caller, call, now),
            false => self.carry_out(caller, call, now),
        }
    }

    fn carry_out(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        match &*call.operation {
            "create_customer" => self.create_customer(caller, call, now),
            "delete_customer" => self.delete_customer(call, now),
            "create_intent" => self.create_intent(caller, call, now),
            "confirm_intent" => self.confirm(call, now),
            "capture_intent" => self.capture(call, now),
            "cancel_intent" => self.cancel(call, now),
            "resolve_intent" => self.resolve(call, now),
            "refund" => self.refund(call, now),
            "retrieve_intent" => self.told(&text(call, "intent")),
            "list_intents" => self.list_intents(&text(call, "reference")),
            "list_events" => self.list_events(call),
            _ => refused(404, "unknown_operation", "Unrecognized request URL"),
        }
    }

    fn create_customer(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        let id = self.name("cus", caller, call, |provider, id| provider.customers.contains_key(id));
        self.customers.insert(id.clone(), text(call, "reference"));
        self.made(&id, &text(call, "details"), now);
        self.log_whole("customer.created", &id, &"".into(), now);
        Answer::one("id", Value::Text(id))
    }

    fn delete_customer(&mut self, call: &Call, now: i64) -> Answer {
        let id = text(call, "customer");
        match self.customers.remove(&id) {
            Some(_) => {
                self.log_whole("customer.deleted", &id, &"".into(), now);
                Answer::Ok(Vec::new())
            }
            None => missing("customer"),
        }
    }

    fn list_intents(&self, reference: &str) -> Answer {
        let of = self
            .intents
            .iter()
            .filter(|(_, intent)| *intent.reference == *reference);
        let rows: Vec<Value> = of
            .map(|(id, intent)| {
                let status = Value::text(intent.status.name());
                Value::Record([Value::Text(id.clone()), status].into())
            })
            .collect();
        Answer::Ok(vec![("intents".into(), Value::Array(rows.into()))])
    }

    fn list_events(&self, call: &Call) -> Answer {
        let kind = text(call, "type");
        let newest_first = self.events.values().rev();
        let rows: Vec<Value> = newest_first
            .filter(|event| kind.is_empty() || event.kind == kind)
            .map(|event| {
                let fields = [&event.id, &event.kind, &event.intent, &event.reference, &event.status];
                Value::Record(fields.map(|field| Value::Text(field.clone())).into())
            })
            .collect();
        Answer::Ok(vec![("events".into(), Value::Array(rows.into()))])
    }

    /// A name for a new object: after its key, or after who asked for it; numbered if taken.
    fn name(&self, prefix: &str, caller: Pid, call: &Call, taken: impl Fn(&Provider, &str) -> bool) -> Arc<str> {
        let stem = match call.arguments.get("idempotency_key") {
            // An id of the HTTP API is a part of paths.
            Some(key) if self.settings.objects => format!("{prefix}_{}", object::plain(&key.to_string())),
            Some(key) => format!("{prefix}_{key}"),
            None => format!("{prefix}_{}", caller.to_string().replace('/', ".")),
        };
        let numbered = (2..).map(|number| format!("{stem}_{number}"));
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|id| !taken(self, id) && !self.is_known(id));
        free.unwrap_or(stem).into()
    }
}

impl Service for Provider {
    fn call(&mut self, caller: Pid, call: &Call, now: i64) -> Result<Answer, NoAnswer> {
        Ok(self.idempotent(caller, call, now))
    }

    fn in_use(&self, call: &Call, now: i64) -> Option<InUse> {
        self.holder(call, now)
    }

    fn deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.due)
    }

    fn next_deadline(&self, now: i64) -> Option<i64> {
        let latency = self.settings.latency;
        let ends = self.keys.values().map(|kept| kept.since.saturating_add(latency));
        ends.filter(|moment| latency > 0 && *moment > now).min()
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let customers = self
            .customers
            .iter()
            .map(|(id, reference)| vec![text_of(id), text_of(reference)]);
        let intents = self.intents.iter().map(|(id, intent)| {
            vec![
                text_of(id),
                text_of(&intent.reference),
                Value::text(intent.status.name()),
                Value::Int(intent.amount),
            ]
        });
        let charges = self.charges.iter().map(|(id, charge)| {
            vec![
                text_of(id),
                text_of(&charge.intent),
                text_of(&charge.reference),
                Value::Int(charge.amount),
                Value::Bool(charge.paid),
                Value::Bool(charge.captured),
                Value::Int(charge.refunded),
            ]
        });
        let events = self.events.values().map(|event| {
            let fields = [&event.id, &event.kind, &event.intent, &event.reference, &event.status];
            fields.map(text_of).to_vec()
        });
        vec![
            table("provider_customers", "id text, reference text", customers.collect()),
            table(
                "provider_intents",
                "id text, reference text, status text, amount bigint",
                intents.collect(),
            ),
            table(
                "provider_charges",
                "id text, intent text, reference text, amount bigint, paid boolean, captured boolean, refunded bigint",
                charges.collect(),
            ),
            table(
                "provider_events",
                "id text, type text, intent text, reference text, status text",
                events.collect(),
            ),
        ]
    }
}

fn table(name: &str, columns: &str, rows: Vec<Vec<Value>>) -> VirtualTable {
    let columns = columns.split(", ").filter_map(|column| column.split_once(' '));
    VirtualTable {
        name: name.into(),
        columns: columns.map(|(name, kind)| (name.into(), kind.into())).collect(),
        rows,
    }
}

fn text_of(text: &Arc<str>) -> Value {
    Value::Text(text.clone())
}

fn text(call: &Call, name: &str) -> Arc<str> {
    match call.arguments.get(name) {
        Some(Value::Text(text)) => text.clone(),
        Some(Value::Null) | None => "".into(),
        Some(other) => other.to_string().into(),
    }
}

/// A whole number, which may have come as a text: what came with a request is one, and the provider's API takes forms. `None` when there is none.
fn number(call: &Call, name: &str) -> Result<Option<i64>, Answer> {
    let whole = match call.arguments.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Int(number)) => Some(*number),
        Some(other) => other.to_string().trim().parse().ok(),
    };
    whole.map(Some).ok_or_else(|| {
        let message = format!("Invalid integer: {}: {name} must be a whole number", text(call, name));
        refused(400, "parameter_invalid_integer", &message)
    })
}

fn flag(call: &Call, name: &str) -> bool {
    match call.arguments.get(name) {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::Text(text)) => &**text == "true",
        _ => false,
    }
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    Answer::refused(status, code, message)
}

fn missing(what: &str) -> Answer {
    refused(404, "resource_missing", &format!("No such {what}"))
}

#[cfg(test)]
mod tests;
