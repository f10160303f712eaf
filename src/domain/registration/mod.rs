//! Customer registration: partners send customers, and send them again when they get no answer.
//!
//! Bug report 1 of seed 000: PartnerCRM's client gave up waiting twice and so sent `CUST_7890` three times; each time the server was still at work on
//! the request before. The report's fixes (idempotency key, unique index, 409) are the choices of this handler's
//! design, so that each can be taken alone.
//!
//! **How it departs from life.** A customer has no surrogate id: the gaps that a sequence keeps of failed attempts would tell apart states
//! that no promise tells apart. The lock on an idempotency key is an advisory lock on the key's hash; two keys of one hash would
//! refuse each other with a 409 that passes, never more.

mod promises;
mod register;

use std::sync::Arc;

use super::client::{Client, request, seconds_of_day};
use super::{Choice, Conflict, Handler, Kind, Named, Parameter, Promise, Setup, flow, promise};
use crate::system::{Endpoint, FaultBudget, Observation, Role, Root, Spec};
use crate::world::World;
use crate::world::database::Database;

/// The endpoint that registers a customer.
pub const ENDPOINT: &str = "POST /customers";

/// The handler `registration`.
#[derive(Clone, Copy, Debug)]
pub struct Registration;

const CHOICES: &[Choice] = &[
    Choice {
        name: "idempotency_key",
        doc: "what the handler does with the Idempotency-Key header",
        options: &[
            Named {
                name: "claimed_first",
                doc: "locked without waiting, claimed and stored with its response in the registration's own transaction",
            },
            Named {
                name: "checked_then_stored",
                doc: "looked up before the registration and stored after it, each by itself",
            },
            Named {
                name: "ignored",
                doc: "not looked at",
            },
        ],
    },
    Choice {
        name: "duplicate_check",
        doc: "how the handler finds out that the customer is there already",
        options: &[
            Named {
                name: "insert_first",
                doc: "inserts with ON CONFLICT DO NOTHING and looks whether it did",
            },
            Named {
                name: "select_then_insert",
                doc: "selects, and inserts if nothing was found",
            },
            Named {
                name: "none",
                doc: "inserts",
            },
        ],
    },
    Choice {
        name: "unique_index",
        doc: "whether customers.customer_id has a unique index",
        options: &[
            Named {
                name: "on",
                doc: "it has",
            },
            Named {
                name: "off",
                doc: "it has not",
            },
        ],
    },
    Choice {
        name: "answer",
        doc: "when the handler responds",
        options: &[
            Named {
                name: "after_commit",
                doc: "when COMMIT has succeeded",
            },
            Named {
                name: "before_commit",
                doc: "before it sends COMMIT",
            },
        ],
    },
    Choice {
        name: "duplicate_answer",
        doc: "how a repeated registration of the same customer with the same details is answered",
        options: &[
            Named {
                name: "stored_response",
                doc: "as the first was: 201 with the customer",
            },
            Named {
                name: "conflict_409",
                doc: "409 Conflict",
            },
        ],
    },
];

const CLIENT: &[Parameter] = &[
    Parameter {
        name: "client",
        doc: "its name in lanes; numbered when empty",
        kind: Kind::Text { default: "" },
    },
    Parameter {
        name: "customer",
        doc: "the customer_id that it registers",
        kind: Kind::Text { default: "CUST_7890" },
    },
    Parameter {
        name: "details",
        doc: "the rest of the payload",
        kind: Kind::Text { default: "Ada" },
    },
    Parameter {
        name: "key",
        doc: "its Idempotency-Key; none when empty",
        kind: Kind::Text { default: "key-1" },
    },
    Parameter {
        name: "attempts",
        doc: "how often it sends the request at most",
        kind: Kind::Int {
            min: 1,
            max: 10,
            default: 3,
        },
    },
    Parameter {
        name: "first_sent",
        doc: "when its first attempt is made, for the sent-at header",
        kind: Kind::Text { default: "10:30:15" },
    },
    Parameter {
        name: "every",
        doc: "seconds from attempt to attempt, for the sent-at header",
        kind: Kind::Int {
            min: 0,
            max: 3600,
            default: 2,
        },
    },
    BACKOFF,
];

const BACKOFF: Parameter = Parameter {
    name: "backoff",
    doc: "seconds that it waits before its second attempt, doubled for each further one",
    kind: Kind::Int {
        min: 0,
        max: 3600,
        default: 0,
    },
};

impl Handler for Registration {
    fn name(&self) -> &str {
        "registration"
    }

    fn doc(&self) -> &str {
        "registers customers that partners send, and send again"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn clients(&self) -> &[Parameter] {
        CLIENT
    }

    fn invariants(&self) -> &[Promise] {
        promises::PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let mut endpoints = std::collections::BTreeMap::new();
        let design = register::Design::of(setup);
        let open = move |request: &_| flow::program(register::Register::new(request, design));
        endpoints.insert(
            ENDPOINT.into(),
            Endpoint {
                open: Arc::new(open),
                role: Role::Handler,
            },
        );
        Ok(Spec {
            name: "registration".into(),
            roots: clients(setup)?,
            endpoints,
            world: world(setup)?,
            faults: FaultBudget::NONE,
            invariants: promises::all(),
            observations: vec![
                Observation {
                    label: "customers".into(),
                    query: "SELECT customer_id, details FROM customers".into(),
                },
                Observation {
                    label: "answers".into(),
                    query: "SELECT sender, status, body FROM responses".into(),
                },
            ],
            vacuity: None,
            identity: "".into(),
        })
    }
}

fn clients(setup: &Setup) -> Result<Vec<Root>, Conflict> {
    let entries = setup.clients.iter().enumerate();
    entries
        .map(|(place, settings)| {
            let first_sent = settings.text("first_sent");
            let Some(first) = seconds_of_day(&first_sent) else {
                return Err(Conflict {
                    key: vec!["clients".to_owned(), place.to_string(), "first_sent".to_owned()],
                    message: format!("{first_sent:?} is not a time of day"),
                    help: Some("write it as \"10:30:15\"".to_owned()),
                });
            };
            let key = settings.text("key");
            let headers = (!key.is_empty()).then_some(("idempotency-key", key));
            let body = [
                ("customer_id", settings.text("customer")),
                ("details", settings.text("details")),
            ];
            let attempts = u8::try_from(settings.int("attempts")).unwrap_or(u8::MAX);
            let mut client = Client::new(request(ENDPOINT, headers, body), attempts);
            client.clock = Some((first, u32::try_from(settings.int("every")).unwrap_or(0)));
            client.backoff = settings.int("backoff") * 1_000_000;
            Ok(Root {
                label: promise::label(&settings.text("client"), "client", place, setup.clients.len()),
                program: flow::program(client),
                role: Role::Client,
            })
        })
        .collect()
}

fn world(setup: &Setup) -> Result<World, Conflict> {
    let mut schema = String::from(
        "CREATE TABLE customers (customer_id text NOT NULL, details text NOT NULL);\n\
         CREATE TABLE idempotency_keys (key text PRIMARY KEY, fingerprint text NOT NULL, status bigint, body text);\n",
    );
    if setup.is("unique_index", "on") {
        schema.push_str("CREATE UNIQUE INDEX customers_customer_id_key ON customers (customer_id);\n");
    }
    let mut database = Database::new();
    promise::set_up(&mut database, &schema)?;
    Ok(World {
        database,
        ..World::default()
    })
}
