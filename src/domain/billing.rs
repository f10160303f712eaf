//! Webhooks that we send: transaction updates to a downstream billing system, by several workers.
//!
//! Seed 002: duplicate webhook deliveries, 18 customers billed twice. Its three hypotheses are two choices and a fault: network retries (the sender
//! stops waiting, the delivery arrived), a consumer without an idempotency key, and concurrent acknowledgements (two workers
//! send what neither has marked as acknowledged).

use std::sync::Arc;

use super::flow::{self, Halt, Scene, Story, Told, caught, is_lost, is_transient};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, everyone_is_answered, no_deadlock, no_server_error,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup, client};
use crate::machine::{Request, Sql};
use crate::system::{Role, Spec, When};
use crate::value::Value;

/// The consumer's endpoint.
pub const ENDPOINT: &str = "POST /billing/transactions";

/// The handler `billing`.
#[derive(Clone, Copy, Debug)]
pub struct Billing;

const CHOICES: &[Choice] = &[
    choice(
        "consumer_key",
        "how the consumer recognises a transaction that it has billed",
        &[
            named("event_id", "by the event's id, which is unique in its table"),
            named("none", "it does not"),
        ],
    ),
    choice(
        "claim",
        "how a worker picks what it sends",
        &[
            named(
                "skip_locked",
                "it locks the row until it is acknowledged; others skip it",
            ),
            named("unlocked", "it selects what is not acknowledged"),
        ],
    ),
];

const PARAMETERS: &[Parameter] = &[
    int("events", "how many transactions there are to send", 1, 18, 1),
    int("workers", "how many workers send", 1, 4, 2),
];

const ONCE: &str = "no transaction is billed twice";
const ALL: &str = "in the end each transaction is billed";
const NEEDED: &str = "a transaction is sent again only after something failed";

const PROMISES: &[Promise] = &[
    Promise {
        name: "billed-once",
        promise: ONCE,
    },
    Promise {
        name: "every-transaction-billed",
        promise: ALL,
    },
    Promise {
        name: "no-needless-delivery",
        promise: NEEDED,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

impl Handler for Billing {
    fn name(&self) -> &str {
        "billing"
    }

    fn doc(&self) -> &str {
        "sends transactions to a billing system, which bills them"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn parameters(&self) -> &[Parameter] {
        PARAMETERS
    }

    fn invariants(&self) -> &[Promise] {
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let (keyed, locks) = (setup.is("consumer_key", "event_id"), setup.is("claim", "skip_locked"));
        let mut schema = String::from(
            "CREATE TABLE deliveries (event_id text PRIMARY KEY, acknowledged boolean NOT NULL);\n\
             CREATE TABLE bills (event_id text NOT NULL);\n",
        );
        if keyed {
            schema.push_str("CREATE UNIQUE INDEX bills_event_id_key ON bills (event_id);\n");
        }
        for number in 1..=setup.parameters.int("events") {
            schema.push_str(&format!(
                "INSERT INTO deliveries (event_id, acknowledged) VALUES ('txn-{number:02}', false);\n"
            ));
        }
        let workers = small(&setup.parameters, "workers");
        let roots = (0..workers).map(|number| {
            let label = promise::label("", "worker", number.into(), workers.into());
            root(label, Role::Worker, flow::program(Sender { locks }))
        });
        let open = move |request: &Request| Consumer {
            event: field(request, "event"),
            keyed,
        };
        Ok(spec(
            world(&schema, [])?,
            roots.collect(),
            [(ENDPOINT, endpoint(open))],
            vec![
                promise::always(
                    "billed-once",
                    ONCE,
                    "SELECT event_id, count(*) FROM bills GROUP BY event_id HAVING count(*) > 1",
                ),
                promise::finally(
                    "every-transaction-billed",
                    ALL,
                    "SELECT event_id FROM deliveries WHERE event_id NOT IN (SELECT event_id FROM bills)",
                ),
                promise::check("no-needless-delivery", NEEDED, When::Always, |view| {
                    let spent = view.state().faults.total() < view.spec().faults.total();
                    let mut sent: Vec<Arc<str>> = Vec::new();
                    for process in view.state().processes.values() {
                        let Some(request) = process.request.as_deref().filter(|_| !spent) else {
                            continue;
                        };
                        let event = field(request, "event");
                        if sent.contains(&event) {
                            return Err((format!("{event} is sent twice although nothing failed"), Vec::new()));
                        }
                        sent.push(event);
                    }
                    Ok(())
                }),
                no_server_error(),
                everyone_is_answered(),
                no_deadlock(),
            ],
            [("bills", "SELECT event_id FROM bills")],
        ))
    }
}

/// Sends what is not acknowledged, until everything is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sender {
    locks: bool,
}

impl Story for Sender {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        let sent = caught(self.send_one(scene))?;
        match sent {
            Ok(true) => scene.again(),
            Ok(false) => Ok(()),
            Err(error) => {
                if self.locks && !is_lost(&error) {
                    scene.at("rolling back");
                    scene.run("ROLLBACK")?.ok();
                }
                scene.again()
            }
        }
    }
}

impl Sender {
    /// Sends one event; false when there is none left to send.
    fn send_one(&self, scene: &mut Scene<'_>) -> Result<bool, Halt> {
        scene.at("picking");
        if self.locks {
            scene.run("BEGIN")??;
        }
        let lock = if self.locks { " FOR UPDATE SKIP LOCKED" } else { "" };
        let select =
            format!("SELECT event_id FROM deliveries WHERE acknowledged = false ORDER BY event_id LIMIT 1{lock}");
        let picked = scene.run(&select)??;
        let Some(Value::Text(event)) = picked.first().cloned() else {
            if self.locks {
                scene.run("COMMIT")??;
            }
            return Ok(false);
        };
        scene.at("sending");
        let request = client::request(ENDPOINT, [], [("event", event.clone())]);
        if scene.send(request)?.is_ok_and(|response| response.is_success()) {
            scene.at("acknowledging");
            let update = Sql::new("UPDATE deliveries SET acknowledged = true WHERE event_id = $1");
            scene.sql(update.bind(Value::Text(event)))??;
        }
        if self.locks {
            scene.run("COMMIT")??;
        }
        Ok(true)
    }
}

/// The consumer handling a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Consumer {
    event: Arc<str>,
    keyed: bool,
}

impl Story for Consumer {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("billing");
        let conflict = if self.keyed {
            " ON CONFLICT (event_id) DO NOTHING"
        } else {
            ""
        };
        let insert = format!("INSERT INTO bills (event_id) VALUES ($1){conflict}");
        let billed = scene.sql(Sql::new(insert).bind(Value::Text(self.event.clone())))?;
        scene.at("answering");
        match billed {
            Ok(_) => scene.respond(200, "billed"),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}
