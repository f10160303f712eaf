//! The customer at the provider for a user of ours: created once, and known.
//!
//! Seed 003, issue 5: the customer is created at the provider, then the mapping is inserted. As reported the insert's failure loses the customer; the
//! document's fix retries the insert and adopts the winner's customer, and still leaves the loser's behind; a key for each user makes the loser's
//! create answer with the winner's customer.

use std::sync::Arc;

use super::client::{Client, request};
use super::flow::{self, Halt, Scene, Story, Told, caught, is_transient};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, text, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, answers, everyone_is_answered, no_deadlock,
    no_server_error,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::service::Answer;
use crate::machine::{Effect, Request, Sql};
use crate::system::{Role, Spec, When};
use crate::value::Value;
use crate::world::provider::{Api, KEY_IN_USE, PROVIDER, Provider, keyed};
use crate::world::service::Provided;

/// Asks for the user's customer.
pub const ENDPOINT: &str = "POST /payment-intents";

/// The handler `customer_mapping`.
#[derive(Clone, Copy, Debug)]
pub struct CustomerMapping;

const CHOICES: &[Choice] = &[
    choice(
        "provider_key",
        "the idempotency key of the call that creates the customer",
        &[
            named("per_user", "the user's id: the same user never gets a second customer"),
            named("none", "none"),
        ],
    ),
    choice(
        "key_in_use",
        "what is done when the provider still executes another request with the key (409)",
        &[
            named(
                "waits",
                "it asks again after a while, as the provider's own client does",
            ),
            named("fails", "it is answered 503, and the caller may try again"),
        ],
    ),
    choice(
        "lost_race",
        "what is done when the mapping is there already",
        &[
            named("adopts_the_winner", "the mapping is read again (the document's fix)"),
            named("fails", "the unique violation is answered 500 (as reported)"),
        ],
    ),
];

const PARAMETERS: &[Parameter] = &[int(
    "insert_attempts",
    "how often the insert is tried when the database is not reached (the document's retry)",
    1,
    5,
    1,
)];

const CLIENT: &[Parameter] = &[
    text("client", "its name in lanes; numbered when empty", ""),
    text("user", "the user", "user-1"),
    int("attempts", "how often it asks at most", 1, 5, 2),
];

const NO_ORPHAN: &str = "in the end each customer at the provider is the one that its user is mapped to";
const ONE_CUSTOMER: &str = "a user has at most one customer at the provider";
const SAME: &str = "the same user is always told the same customer";

const PROMISES: &[Promise] = &[
    Promise {
        name: "no-orphaned-customer",
        promise: NO_ORPHAN,
    },
    Promise {
        name: "one-customer-per-user",
        promise: ONE_CUSTOMER,
    },
    Promise {
        name: "same-user-same-customer",
        promise: SAME,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

impl Handler for CustomerMapping {
    fn name(&self) -> &str {
        "customer_mapping"
    }

    fn doc(&self) -> &str {
        "finds or creates the provider's customer for a user"
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
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let (keyed, waits, adopts) = (
            setup.is("provider_key", "per_user"),
            setup.is("key_in_use", "waits"),
            setup.is("lost_race", "adopts_the_winner"),
        );
        let inserts = small(&setup.parameters, "insert_attempts");
        let open = move |request: &Request| Find {
            user: field(request, "user"),
            keyed,
            waits,
            adopts,
            inserts,
        };
        let roots = setup.clients.iter().enumerate().map(|(place, client)| {
            let label = promise::label(&client.text("client"), "client", place, setup.clients.len());
            let request = request(ENDPOINT, [], [("user", client.text("user"))]);
            let program = flow::program(Client::new(request, small(client, "attempts")));
            root(label, Role::Client, program)
        });
        Ok(spec(
            world(
                "CREATE TABLE stripe_customers (user_id text PRIMARY KEY, stripe_customer_id text NOT NULL);",
                [(PROVIDER, Provided::new(Provider::default()))],
            )?,
            roots.collect(),
            [(ENDPOINT, endpoint(open))],
            vec![
                promise::finally(
                    "no-orphaned-customer",
                    NO_ORPHAN,
                    "SELECT p.id, p.reference FROM provider_customers p WHERE NOT EXISTS (SELECT 1 FROM stripe_customers s \
                     WHERE s.user_id = p.reference AND s.stripe_customer_id = p.id)",
                ),
                promise::always(
                    "one-customer-per-user",
                    ONE_CUSTOMER,
                    "SELECT reference, count(*) FROM provider_customers GROUP BY reference HAVING count(*) > 1",
                ),
                promise::check("same-user-same-customer", SAME, When::Always, |view| {
                    let mut told: Vec<(&str, &str, &str)> = Vec::new();
                    for (label, request, response) in
                        answers(view, ENDPOINT).filter(|(_, _, answer)| answer.is_success())
                    {
                        let user = request.body.get("user").map_or("", |user| &**user);
                        match told
                            .iter()
                            .find(|(of, customer, _)| *of == user && *customer != &*response.body)
                        {
                            Some((_, customer, other)) => {
                                let sentence = format!("{other} was told {customer}, {label} {}", response.body);
                                return Err((sentence, Vec::new()));
                            }
                            None => told.push((user, &response.body, label)),
                        }
                    }
                    Ok(())
                }),
                no_server_error(),
                everyone_is_answered(),
                no_deadlock(),
            ],
            [
                ("mapping", "SELECT user_id, stripe_customer_id FROM stripe_customers"),
                ("at the provider", "SELECT id, reference FROM provider_customers"),
            ],
        ))
    }
}

/// A request being handled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Find {
    user: Arc<str>,
    keyed: bool,
    waits: bool,
    adopts: bool,
    inserts: u8,
}

impl Story for Find {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        let found = caught(self.find(scene))?;
        scene.at("answering");
        match found {
            Ok(Some(Value::Text(customer))) => scene.respond(200, customer),
            Ok(_) => scene.respond(503, "try again"),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

impl Find {
    fn find(&self, scene: &mut Scene<'_>) -> Result<Option<Value>, Halt> {
        scene.at("looking for the mapping");
        if let Some(known) = self.mapped(scene)? {
            return Ok(Some(known));
        }
        scene.at("creating the customer");
        let create = Api::create_customer(&self.user);
        let create = if self.keyed { keyed(create, &self.user) } else { create };
        let customer = loop {
            match scene.call(create.clone())? {
                Ok(answer @ Answer::Ok(_)) => break answer.get("id").cloned().unwrap_or_default(),
                // The back-off is taken to be longer than the provider needs.
                Ok(Answer::Refused { code, .. }) if self.waits && &*code == KEY_IN_USE => scene.sleep(Effect::IDLE)?,
                Ok(Answer::Refused { .. }) | Err(_) => return Ok(None),
            }
        };
        scene.at("storing the mapping");
        if self.store(scene, &customer)? {
            return Ok(Some(customer));
        }
        scene.at("reading the winner's mapping");
        self.mapped(scene)
    }

    fn mapped(&self, scene: &mut Scene<'_>) -> Result<Option<Value>, Halt> {
        let select = Sql::new("SELECT stripe_customer_id FROM stripe_customers WHERE user_id = $1");
        let found = scene.sql(select.bind(Value::Text(self.user.clone())))??;
        Ok(found.first().cloned())
    }

    /// Inserts the mapping; false when there is one.
    fn store(&self, scene: &mut Scene<'_>, customer: &Value) -> Result<bool, Halt> {
        let conflict = if self.adopts {
            " ON CONFLICT (user_id) DO NOTHING"
        } else {
            ""
        };
        let insert = format!("INSERT INTO stripe_customers (user_id, stripe_customer_id) VALUES ($1, $2){conflict}");
        let mut left = self.inserts;
        loop {
            let insert = Sql::new(insert.as_str())
                .bind(Value::Text(self.user.clone()))
                .bind(customer.clone());
            left = left.saturating_sub(1);
            match scene.sql(insert)? {
                Ok(inserted) => return Ok(inserted.affected == 1),
                Err(error) if is_transient(&error) && left > 0 => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
