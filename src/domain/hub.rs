//! PaymentHub: payments are made, webhooks tell, policies become active.
//!
//! Bug report 2 of seed 000: 15 payments initiated, 8 webhooks received, policy activation blocked. Each cause of the report is a
//! parameter of the world (wrong URL, rotated secret, clock, no retry at the sender; deliveries lost are a fault) or a
//! choice of the backend. The design: verified, stored first, processed apart, and reconciled by polling.
//!
//! **How it departs from life.** The payments have succeeded before the story begins: their webhooks are on their way. The receiver has no clock of
//! its own: it takes the moment of signing as now, plus the `clock_error` of the scenario.

use std::sync::Arc;

use super::flow::{self, Halt, Scene, Story, Told, caught, is_transient};
use super::parts::{choice, endpoint, field, header, int, named, root, small, spec, text, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_SERVER_ERROR, answers, everyone_is_answered, no_server_error, texts,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::http::Fields;
use crate::machine::service::{Answer, Delivery};
use crate::machine::{Pid, Program, Request, Sql};
use crate::system::{Courier, Role, Root, Spec, When};
use crate::value::Value;
use crate::world::provider::signature::{TOLERANCE, sign, verify};
use crate::world::provider::{Api, PROVIDER, Provider, Settings, Webhooks, keyed, payload};
use crate::world::service::{Provided, Service};

/// Where webhooks arrive.
pub const ENDPOINT: &str = "POST /payments/webhook";
const SECRET: &str = "whsec_hub_current";

/// The handler `payment_hub`.
#[derive(Clone, Copy, Debug)]
pub struct PaymentHub;

const CHOICES: &[Choice] = &[
    choice(
        "receive",
        "what happens when a webhook arrives",
        &[
            named(
                "stored_first",
                "it is stored in an inbox and acknowledged; a sweep processes the inbox",
            ),
            named(
                "processed_at_once",
                "the policy is activated, then the webhook is acknowledged",
            ),
            named("acknowledged_first", "it is acknowledged, then the policy is activated"),
        ],
    ),
    choice(
        "reconcile",
        "whether webhooks that never came are made up for",
        &[
            named(
                "polling",
                "the sweep lists the provider's events and stores what is missing",
            ),
            named("none", "they are not"),
        ],
    ),
    choice(
        "activation",
        "how a policy is activated",
        &[
            named("once", "by an UPDATE that only a pending policy meets"),
            named("each_time", "by an UPDATE that any policy meets"),
        ],
    ),
    choice(
        "verification",
        "whether the signature is verified",
        &[named("on", "it is"), named("off", "it is not")],
    ),
    choice(
        "errors",
        "how an error while a webhook is received is answered",
        &[
            named("answered", "with 503, so that the sender tries again"),
            named(
                "swallowed",
                "with 200, as if nothing had happened (silent error after receipt)",
            ),
        ],
    ),
    choice(
        "status",
        "the status when the work is done",
        &[
            named("200", "200"),
            named("500", "500: the work is done, and the sender does not know"),
        ],
    ),
];

const PARAMETERS: &[Parameter] = &[
    int("payments", "how many payments were made", 1, 15, 2),
    int(
        "sender_attempts",
        "how often PaymentHub tries a delivery; 1 is no retry",
        1,
        10,
        3,
    ),
    text("url", "where PaymentHub sends webhooks", ENDPOINT),
    text("secret", "the secret that PaymentHub signs with", SECRET),
    text(
        "known_secrets",
        "the secrets that the backend accepts, separated by blanks",
        SECRET,
    ),
    int(
        "clock_error",
        "how many seconds the backend's clock is ahead",
        -86_400,
        86_400,
        0,
    ),
    int(
        "forged",
        "how many unsigned webhooks somebody else sends, for a policy that is not paid",
        0,
        3,
        0,
    ),
    int(
        "early_sweeps",
        "how often the sweep runs beside the webhooks, before it runs last",
        0,
        3,
        0,
    ),
];

const ACTIVE: &str = "in the end each policy whose payment succeeded is active";
const ONCE: &str = "no policy is activated twice";
const PAID: &str = "no policy is active unless its payment succeeded";
const NOT_LOST: &str = "in the end a webhook that was acknowledged is in the inbox or its policy is active";

const PROMISES: &[Promise] = &[
    Promise {
        name: "every-paid-policy-active",
        promise: ACTIVE,
    },
    Promise {
        name: "activated-once",
        promise: ONCE,
    },
    Promise {
        name: "no-unpaid-policy-active",
        promise: PAID,
    },
    Promise {
        name: "no-acknowledged-webhook-lost",
        promise: NOT_LOST,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
];

impl Handler for PaymentHub {
    fn name(&self) -> &str {
        "payment_hub"
    }

    fn doc(&self) -> &str {
        "activates policies when PaymentHub says that they are paid"
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
        let design = Design::of(setup);
        let (provider, mut roots, policies) = payments(setup);
        roots.extend((0..setup.parameters.int("forged")).map(|number| forged(number, setup)));
        let sweeps = design.receive == Receive::StoredFirst || design.polls;
        if sweeps {
            let sweep = Sweep {
                design,
                early: small(&setup.parameters, "early_sweeps"),
            };
            roots.push(root("sweep", Role::Worker, flow::program(sweep)));
        }
        let known: Arc<str> = setup.parameters.text("known_secrets");
        let ahead = setup.parameters.int("clock_error");
        let open = move |request: &Request| Arrive::new(request, design, known.clone(), ahead);
        let mut schema = String::from(
            "CREATE TABLE policies (id text PRIMARY KEY, status text NOT NULL, activations bigint NOT NULL);\n\
             CREATE TABLE inbox (event_id text PRIMARY KEY, policy text NOT NULL, done boolean NOT NULL);\n\
             INSERT INTO policies (id, status, activations) VALUES ('unpaid', 'pending', 0);\n",
        );
        for policy in policies {
            schema.push_str(&format!(
                "INSERT INTO policies (id, status, activations) VALUES ('{policy}', 'pending', 0);\n"
            ));
        }
        Ok(spec(
            world(&schema, [(PROVIDER, Provided::new(provider))])?,
            roots,
            [(ENDPOINT, endpoint(open))],
            invariants(),
            [("policies", "SELECT id, status FROM policies WHERE id <> 'unpaid'")],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    receive: Receive,
    polls: bool,
    once: bool,
    verifies: bool,
    swallows: bool,
    says_500: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Receive {
    StoredFirst,
    ProcessedAtOnce,
    AcknowledgedFirst,
}

impl Design {
    fn of(setup: &Setup) -> Self {
        Design {
            receive: match setup.choice("receive") {
                "processed_at_once" => Receive::ProcessedAtOnce,
                "acknowledged_first" => Receive::AcknowledgedFirst,
                _ => Receive::StoredFirst,
            },
            polls: setup.is("reconcile", "polling"),
            once: setup.is("activation", "once"),
            verifies: setup.is("verification", "on"),
            swallows: setup.is("errors", "swallowed"),
            says_500: setup.is("status", "500"),
        }
    }
}

/// The provider after the payments, the couriers of its webhooks, and the policies.
fn payments(setup: &Setup) -> (Provider, Vec<Root>, Vec<String>) {
    let parameters = &setup.parameters;
    let mut provider = Provider::new(Settings {
        webhooks: Some(Webhooks {
            secrets: vec![parameters.text("secret")],
            attempts: small(parameters, "sender_attempts"),
            ..Webhooks::to(parameters.text("url"))
        }),
        ..Settings::default()
    });
    let mut policies = Vec::new();
    let mut couriers = Vec::new();
    for number in 1..=parameters.int("payments") {
        let policy = format!("policy-{number:02}");
        let pay = keyed(Api::pay(&policy, 1500, "mobile_money"), &policy);
        // The provider's only failures are faults of a run, and no run has begun.
        provider.call(Pid::root(0), &pay, 0).ok();
        for delivery in provider.deliveries() {
            let label = format!("webhook {number}");
            couriers.push(root(label, Role::Courier, Program::new(Courier::new(&delivery))));
        }
        policies.push(policy);
    }
    (provider, couriers, policies)
}

/// A webhook that somebody else makes up.
fn forged(number: i64, setup: &Setup) -> Root {
    let body: Fields = [
        ("id", format!("evt_forged_{number}")),
        ("type", "payment_intent.succeeded".to_owned()),
        ("reference", "unpaid".to_owned()),
    ]
    .into_iter()
    .collect();
    let mut headers = Fields::default();
    headers.set(
        "stripe-signature",
        sign(&["whsec_guessed"], 0, payload(&body).as_bytes()),
    );
    let label: Arc<str> = format!("forger {}", number + 1).into();
    let delivery = Delivery {
        label: label.clone(),
        endpoint: setup.parameters.text("url"),
        headers,
        body,
        attempts: 1,
    };
    root(label, Role::Courier, Program::new(Courier::new(&delivery)))
}

/// A webhook arriving.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Arrive {
    event: Arc<str>,
    policy: Arc<str>,
    genuine: bool,
    design: Design,
}

impl Arrive {
    fn new(request: &Request, design: Design, known: Arc<str>, ahead: i64) -> Self {
        let signature = header(request, "stripe-signature");
        let signed_at = signature
            .strip_prefix("t=")
            .and_then(|rest| rest.split(',').next()?.parse::<i64>().ok())
            .unwrap_or(0);
        let body = payload(&request.body);
        let genuine = known
            .split_whitespace()
            .any(|secret| verify(secret, &signature, body.as_bytes(), signed_at + ahead, TOLERANCE).is_ok());
        Arrive {
            event: field(request, "id"),
            policy: field(request, "reference"),
            genuine,
            design,
        }
    }

    fn work(&self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        match self.design.receive {
            Receive::StoredFirst => {
                scene.at("storing");
                store(scene, &self.event, &self.policy)
            }
            Receive::ProcessedAtOnce | Receive::AcknowledgedFirst => {
                scene.at("activating");
                activate(scene, &self.policy, self.design.once)
            }
        }
    }
}

impl Story for Arrive {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if self.design.verifies && !self.genuine {
            scene.at("refusing");
            return scene.respond(400, "invalid signature");
        }
        if self.design.receive == Receive::AcknowledgedFirst {
            scene.at("acknowledging");
            scene.respond(200, "received")?;
        }
        let done = caught(self.work(scene))?;
        scene.at("answering");
        match done {
            Ok(()) if self.design.says_500 => scene.respond(500, "error"),
            Ok(()) => scene.respond(200, "received"),
            Err(_) if self.design.swallows => scene.respond(200, "received"),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

/// Processes the inbox, and fills it with what never came, whenever nothing else happens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sweep {
    design: Design,
    early: u8,
}

impl Story for Sweep {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if self.early > 0 {
            self.early -= 1;
            caught(self.sweep(scene))?.ok();
            return scene.again();
        }
        scene.at("resting");
        scene.rest()?;
        match caught(self.sweep(scene))? {
            Ok(()) => Ok(()),
            Err(_) => scene.again(),
        }
    }
}

impl Sweep {
    fn sweep(&self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        if self.design.polls {
            scene.at("polling");
            self.poll(scene)?;
        }
        scene.at("reading the inbox");
        let waiting = scene.run("SELECT event_id, policy FROM inbox WHERE done = false ORDER BY event_id")??;
        for row in &waiting.rows {
            let [Value::Text(event), Value::Text(policy)] = &row[..] else {
                continue;
            };
            scene.at("processing");
            activate(scene, policy, self.design.once)?;
            let update = Sql::new("UPDATE inbox SET done = true WHERE event_id = $1");
            scene.sql(update.bind(Value::Text(event.clone())))??;
        }
        Ok(())
    }

    fn poll(&self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        let events = match scene.call(Api::events("payment_intent.succeeded"))? {
            Ok(Answer::Ok(values)) => values,
            // Not reached: as good as a failed statement, the sweep starts over.
            _ => return Err(unreachable_provider().into()),
        };
        let known = texts(&scene.run("SELECT event_id FROM inbox")??);
        for (_, value) in &events {
            let Value::Array(rows) = value else { continue };
            for row in rows.iter() {
                let Value::Record(fields) = row else { continue };
                if let [Value::Text(event), _, _, Value::Text(policy), _] = &fields[..]
                    && !known.contains(event)
                {
                    scene.at("storing what never came");
                    store(scene, event, policy)?;
                }
            }
        }
        Ok(())
    }
}

fn unreachable_provider() -> crate::machine::SqlError {
    crate::machine::SqlError::new(
        crate::machine::SqlState::CONNECTION_FAILURE,
        "the provider is not reached",
    )
}

fn store(scene: &mut Scene<'_>, event: &Arc<str>, policy: &Arc<str>) -> Result<(), Halt> {
    let insert = "INSERT INTO inbox (event_id, policy, done) VALUES ($1, $2, false) ON CONFLICT (event_id) DO NOTHING";
    scene.sql(
        Sql::new(insert)
            .bind(Value::Text(event.clone()))
            .bind(Value::Text(policy.clone())),
    )??;
    Ok(())
}

fn activate(scene: &mut Scene<'_>, policy: &Arc<str>, once: bool) -> Result<(), Halt> {
    let only = if once { " AND status = 'pending'" } else { "" };
    let update = format!("UPDATE policies SET status = 'active', activations = activations + 1 WHERE id = $1{only}");
    scene.sql(Sql::new(update).bind(Value::Text(policy.clone())))??;
    Ok(())
}

fn invariants() -> Vec<Arc<dyn crate::system::Invariant>> {
    vec![
        promise::finally(
            "every-paid-policy-active",
            ACTIVE,
            "SELECT p.id, p.status FROM policies p WHERE p.status <> 'active' AND EXISTS \
             (SELECT 1 FROM provider_intents i WHERE i.reference = p.id AND i.status = 'succeeded')",
        ),
        promise::always(
            "activated-once",
            ONCE,
            "SELECT id, activations FROM policies WHERE activations > 1",
        ),
        promise::always(
            "no-unpaid-policy-active",
            PAID,
            "SELECT p.id FROM policies p WHERE p.status = 'active' AND NOT EXISTS \
             (SELECT 1 FROM provider_intents i WHERE i.reference = p.id AND i.status = 'succeeded')",
        ),
        promise::check("no-acknowledged-webhook-lost", NOT_LOST, When::Finally, |view| {
            let kept = match (
                view.query("SELECT policy FROM inbox"),
                view.query("SELECT id FROM policies WHERE status = 'active'"),
            ) {
                (Ok(inbox), Ok(active)) => &texts(&inbox) | &texts(&active),
                (Err(error), _) | (_, Err(error)) => return Err((format!("can't be read: {error}"), Vec::new())),
            };
            for (label, request, _) in answers(view, ENDPOINT).filter(|(_, _, response)| response.is_success()) {
                let policy = field(request, "reference");
                if !kept.contains(&policy) {
                    return Err((
                        format!("{label} acknowledged the payment of {policy}, which is lost"),
                        Vec::new(),
                    ));
                }
            }
            Ok(())
        }),
        no_server_error(),
        everyone_is_answered(),
    ]
}
