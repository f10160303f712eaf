//! Orders and card payments: pay an order, hear from the provider, ship it once.
//!
//! Seed 001: the payment race as reported, the document's own "fixed code", and our design. Each line of the fix that matters is a
//! choice, so that it can be taken alone: how a payment is admitted, under which key the provider is called, what an error
//! means, when the intent's id is stored, how a webhook finds its order, how it is processed, and how an order gets shipped.
//!
//! **How it departs from life.** One order, created before the story begins. Creating and confirming the intent is one call. A declined
//! card is the answer of that call and a webhook. The warehouse is a service that records what it was asked to ship.

mod pay;
mod promises;
mod ship;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::client::{Client, request};
use super::{Choice, Conflict, Handler, Kind, Named, Parameter, Promise, Setup, flow, promise};
use crate::system::{Endpoint, FaultBudget, Observation, Role, Root, Spec};
use crate::world::World;
use crate::world::database::Database;
use crate::world::external::{Behaviour, External};
use crate::world::provider::{PROVIDER, Provider, Settings, Webhooks};
use crate::world::queue::{self, QUEUE, Queues};
use crate::world::service::Provided;

/// Pays an order.
pub const PAY: &str = "POST /orders/pay";
/// The provider's webhooks.
pub const WEBHOOK: &str = "POST /stripe/webhook";
/// The service that ships.
pub const WAREHOUSE: &str = "warehouse";
/// The order.
pub const ORDER: &str = "order-1";
const AMOUNT: i64 = 4200;

/// The handler `payment`.
#[derive(Clone, Copy, Debug)]
pub struct Payment;

const fn named(name: &'static str, doc: &'static str) -> Named {
    Named { name, doc }
}

const CHOICES: &[Choice] = &[
    Choice {
        name: "admission",
        doc: "how a payment attempt is admitted to an order",
        options: &[
            named(
                "conditional_update",
                "one UPDATE that only an unpaid order meets; the same attempt again joins the one that runs",
            ),
            named(
                "check_then_update",
                "the status is selected and checked, then updated (the document's fix)",
            ),
            named(
                "none",
                "the order is read and nothing is written before the call (as reported)",
            ),
        ],
    },
    Choice {
        name: "provider_key",
        doc: "the idempotency key of the call to the provider",
        options: &[
            named(
                "per_order",
                "the order and the number of its attempt, which only a definite refusal raises",
            ),
            named("per_attempt", "new for each request, like the document's Date.now()"),
            named("none", "none"),
        ],
    },
    Choice {
        name: "on_unknown",
        doc: "what is done when the provider's answer does not come",
        options: &[
            named(
                "left_open",
                "nothing: the outcome is not known; the client is asked to try again",
            ),
            named(
                "marked_failed",
                "the order is set to payment_failed (the document's catch block)",
            ),
        ],
    },
    Choice {
        name: "intent_stored",
        doc: "when the intent's id is stored in the order",
        options: &[
            named(
                "by_whoever_comes_first",
                "by the request or the webhook, whatever the status",
            ),
            named(
                "if_still_processing",
                "by the request, if the status is still payment_processing (the document's optimistic lock)",
            ),
            named(
                "with_a_status",
                "by the request, which sets the status to processing (as reported)",
            ),
        ],
    },
    Choice {
        name: "webhook_finds",
        doc: "how a webhook finds its order",
        options: &[
            named("by_reference", "by the order's id in the intent's metadata"),
            named("by_intent", "by the intent's id in the order (as reported)"),
        ],
    },
    Choice {
        name: "webhook",
        doc: "when a webhook is processed",
        options: &[
            named(
                "in_transaction",
                "in the transaction that ends before it is acknowledged",
            ),
            named(
                "queued",
                "as a job, by a worker; acknowledged when the job is queued (the document's fix)",
            ),
        ],
    },
    Choice {
        name: "failed_event",
        doc: "what a payment_failed event does",
        options: &[
            named(
                "only_of_this_intent",
                "fails the order if it is about the intent that the order knows and waits for",
            ),
            named("applied", "fails any order that is not complete (the document's fix)"),
        ],
    },
    Choice {
        name: "fulfilment",
        doc: "how a paid order gets to be shipped",
        options: &[
            named(
                "outbox",
                "a row in an outbox in the same transaction, which a sweep ships",
            ),
            named(
                "queued_after_commit",
                "a job that is queued when the transaction has committed",
            ),
            named(
                "queued_in_transaction",
                "a job that is queued inside the transaction (the document's fix)",
            ),
        ],
    },
    Choice {
        name: "shipping_key",
        doc: "whether the warehouse is told to ship an order only once",
        options: &[
            named("per_order", "by the order's id as a key"),
            named("none", "it is not"),
        ],
    },
];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "deliveries",
        doc: "how many deliveries the provider makes of each webhook, all on their way at once",
        kind: Kind::Int {
            min: 1,
            max: 3,
            default: 1,
        },
    },
    Parameter {
        name: "delivery_attempts",
        doc: "how often each delivery is tried until it is answered with 2xx",
        kind: Kind::Int {
            min: 1,
            max: 10,
            default: 2,
        },
    },
    Parameter {
        name: "queue_attempts",
        doc: "how often a job is handed out before it is put aside",
        kind: Kind::Int {
            min: 1,
            max: 10,
            default: 3,
        },
    },
];

const CLIENT: &[Parameter] = &[
    Parameter {
        name: "client",
        doc: "its name in lanes; numbered when empty",
        kind: Kind::Text { default: "" },
    },
    Parameter {
        name: "method",
        doc: "the payment method; pm_declined is declined, any other approved",
        kind: Kind::Text { default: "pm_card" },
    },
    Parameter {
        name: "then",
        doc: "the payment method that it tries when the first is declined; none when empty",
        kind: Kind::Text { default: "" },
    },
    Parameter {
        name: "attempts",
        doc: "how often it sends a request at most",
        kind: Kind::Int {
            min: 1,
            max: 5,
            default: 2,
        },
    },
];

impl Handler for Payment {
    fn name(&self) -> &str {
        "payment"
    }

    fn doc(&self) -> &str {
        "takes card payments for orders, hears webhooks, ships what is paid"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn parameters(&self) -> &[Parameter] {
        PARAMETERS
    }

    fn clients(&self) -> &[Parameter] {
        CLIENT
    }

    fn invariants(&self) -> &[Promise] {
        promises::PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let design = Design::of(setup);
        let mut endpoints = BTreeMap::new();
        endpoints.insert(
            PAY.into(),
            handler(move |request| flow::program(pay::Pay::new(request, design))),
        );
        endpoints.insert(
            WEBHOOK.into(),
            handler(move |request| flow::program(webhook::Receive::new(request, design))),
        );
        let mut roots = clients(setup);
        roots.extend(workers(design));
        Ok(Spec {
            name: "payment".into(),
            roots,
            endpoints,
            world: world(setup)?,
            faults: FaultBudget::NONE,
            invariants: promises::all(),
            observations: vec![
                Observation {
                    label: "order".into(),
                    query: "SELECT status, intent FROM orders".into(),
                },
                Observation {
                    label: "charges".into(),
                    query: "SELECT intent, paid FROM provider_charges".into(),
                },
                Observation {
                    label: "shipped".into(),
                    query: "SELECT arguments, calls FROM external_calls".into(),
                },
            ],
            vacuity: None,
            identity: "".into(),
        })
    }
}

fn handler(open: impl Fn(&crate::machine::Request) -> crate::machine::Program + Send + Sync + 'static) -> Endpoint {
    Endpoint {
        open: Arc::new(open),
        role: Role::Handler,
    }
}

/// The choices, as the machines branch on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    admission: Admission,
    key: ProviderKey,
    fails_unknown: bool,
    stored: Stored,
    by_intent: bool,
    queued: bool,
    applies_failures: bool,
    fulfilment: Fulfilment,
    ships_by_key: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Admission {
    ConditionalUpdate,
    CheckThenUpdate,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ProviderKey {
    PerOrder,
    PerAttempt,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stored {
    ByWhoeverComesFirst,
    IfStillProcessing,
    WithAStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fulfilment {
    Outbox,
    QueuedAfterCommit,
    QueuedInTransaction,
}

impl Design {
    fn of(setup: &Setup) -> Self {
        Design {
            admission: match setup.choice("admission") {
                "check_then_update" => Admission::CheckThenUpdate,
                "none" => Admission::None,
                _ => Admission::ConditionalUpdate,
            },
            key: match setup.choice("provider_key") {
                "per_attempt" => ProviderKey::PerAttempt,
                "none" => ProviderKey::None,
                _ => ProviderKey::PerOrder,
            },
            fails_unknown: setup.is("on_unknown", "marked_failed"),
            stored: match setup.choice("intent_stored") {
                "if_still_processing" => Stored::IfStillProcessing,
                "with_a_status" => Stored::WithAStatus,
                _ => Stored::ByWhoeverComesFirst,
            },
            by_intent: setup.is("webhook_finds", "by_intent"),
            queued: setup.is("webhook", "queued"),
            applies_failures: setup.is("failed_event", "applied"),
            fulfilment: match setup.choice("fulfilment") {
                "queued_after_commit" => Fulfilment::QueuedAfterCommit,
                "queued_in_transaction" => Fulfilment::QueuedInTransaction,
                _ => Fulfilment::Outbox,
            },
            ships_by_key: setup.is("shipping_key", "per_order"),
        }
    }
}

fn clients(setup: &Setup) -> Vec<Root> {
    let entries = setup.clients.iter().enumerate();
    entries
        .map(|(place, settings)| {
            let label = promise::label(&settings.text("client"), "client", place, setup.clients.len());
            let attempts = u8::try_from(settings.int("attempts")).unwrap_or(u8::MAX);
            let body = [("order", Arc::from(ORDER)), ("method", settings.text("method"))];
            let mut client = Client::new(request(PAY, [("client", label.clone())], body), attempts);
            client.after_refusal = Some(("method".into(), settings.text("then"))).filter(|(_, then)| !then.is_empty());
            client.numbered = true;
            Root {
                label,
                program: flow::program(client),
                role: Role::Client,
            }
        })
        .collect()
}

fn workers(design: Design) -> Vec<Root> {
    let mut workers = Vec::new();
    if design.queued {
        workers.push(("webhook worker", flow::program(webhook::Worker { design })));
    }
    workers.push(match design.fulfilment {
        Fulfilment::Outbox => ("relay", flow::program(ship::Relay { design })),
        Fulfilment::QueuedAfterCommit | Fulfilment::QueuedInTransaction => {
            ("fulfilment worker", flow::program(ship::Worker { design }))
        }
    });
    workers
        .into_iter()
        .map(|(label, program)| Root {
            label: label.into(),
            program,
            role: Role::Worker,
        })
        .collect()
}

fn world(setup: &Setup) -> Result<World, Conflict> {
    let schema = format!(
        "CREATE TABLE orders (id text PRIMARY KEY, status text NOT NULL, attempt bigint NOT NULL, method text, intent text, \
         completed boolean NOT NULL);\n\
         CREATE TABLE outbox (order_id text PRIMARY KEY, sent boolean NOT NULL);\n\
         INSERT INTO orders (id, status, attempt, completed) VALUES ('{ORDER}', 'payment_pending', 0, false);\n"
    );
    let mut database = Database::new();
    promise::set_up(&mut database, &schema)?;
    let small = |name| u8::try_from(setup.parameters.int(name)).unwrap_or(u8::MAX);
    let provider = Provider::new(Settings {
        webhooks: Some(Webhooks {
            attempts: small("delivery_attempts"),
            copies: small("deliveries"),
            ..Webhooks::to(WEBHOOK)
        }),
        ..Settings::default()
    });
    let attempts = queue::Settings {
        attempts: small("queue_attempts"),
        ..queue::Settings::default()
    };
    let queues = Queues::default()
        .with(webhook::JOBS, attempts)
        .with(ship::JOBS, attempts);
    let warehouse = Behaviour {
        idempotent: true,
        ..Behaviour::default()
    };
    let services = [
        (Arc::from(PROVIDER), Provided::new(provider)),
        (QUEUE.into(), Provided::new(queues)),
        (WAREHOUSE.into(), Provided::new(External::new(WAREHOUSE, warehouse))),
    ];
    Ok(World {
        database,
        services: services.into_iter().collect(),
        ..World::default()
    })
}
