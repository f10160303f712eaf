//! Webhook de-duplication: an event that is delivered more than once is processed once.
//!
//! Seed 003, issue 3: upsert then select, as reported; insert first, as fixed; and the insert in the transaction of the work, ours. The document's fix
//! says "check if recently processed": that look is an option of its own.

use std::sync::Arc;

use super::flow::{Halt, Scene, Story, Told, caught, is_lost, is_transient};
use super::parts::{choice, courier, endpoint, field, int, named, small, spec, text, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, answers, everyone_is_answered, no_deadlock,
    no_server_error,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::{Request, Sql};
use crate::system::{Invariant, Spec, View, When};
use crate::value::Value;

/// Where webhooks arrive.
pub const ENDPOINT: &str = "POST /stripe/webhook";

/// The handler `webhook`.
#[derive(Clone, Copy, Debug)]
pub struct Webhook;

const CHOICES: &[Choice] = &[
    choice(
        "dedup",
        "how an event that was seen before is recognised",
        &[
            named(
                "insert_in_transaction",
                "its id is inserted in the transaction that does the work; a conflict means that it is done",
            ),
            named(
                "insert_first",
                "its id is inserted and committed before the work; a conflict means that it is done (the document's fix)",
            ),
            named(
                "insert_first_and_look",
                "as insert_first, but on a conflict the event is processed unless it is marked as processed (the document's \
                 look at the existing record)",
            ),
            named(
                "upsert_then_select",
                "upserted, then selected: processed unless it is marked as processed (as reported)",
            ),
            named("none", "it is not"),
        ],
    ),
    choice(
        "acknowledge",
        "when the webhook is answered",
        &[
            named("after_work", "when the work is committed"),
            named("before_work", "when it is received"),
        ],
    ),
];

const DELIVERY: &[Parameter] = &[
    text("event", "the event's id", "evt_1"),
    text("order", "the order that it pays", "order-1"),
    int(
        "attempts",
        "how often it is delivered until it is answered with 2xx",
        1,
        10,
        3,
    ),
];

const AT_MOST_ONCE: &str = "no event is applied to its order twice";
const NOT_LOST: &str = "in the end each event that was acknowledged is applied";
const APPLIED: &str = "in the end each event is applied";

const PROMISES: &[Promise] = &[
    Promise {
        name: "applied-at-most-once",
        promise: AT_MOST_ONCE,
    },
    Promise {
        name: "no-acknowledged-webhook-lost",
        promise: NOT_LOST,
    },
    Promise {
        name: "every-event-applied",
        promise: APPLIED,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

impl Handler for Webhook {
    fn name(&self) -> &str {
        "webhook"
    }

    fn doc(&self) -> &str {
        "processes webhooks that are delivered more than once"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn clients(&self) -> &[Parameter] {
        DELIVERY
    }

    fn invariants(&self) -> &[Promise] {
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let design = Design {
            dedup: match setup.choice("dedup") {
                "insert_first" => Dedup::InsertFirst,
                "insert_first_and_look" => Dedup::InsertFirstAndLook,
                "upsert_then_select" => Dedup::UpsertThenSelect,
                "none" => Dedup::None,
                _ => Dedup::InsertInTransaction,
            },
            early: setup.is("acknowledge", "before_work"),
        };
        let mut schema = String::from(
            "CREATE TABLE webhook_events (event_id text PRIMARY KEY, processed boolean NOT NULL);\n\
             CREATE TABLE orders (id text PRIMARY KEY, paid bigint NOT NULL);\n",
        );
        let mut orders: Vec<Arc<str>> = Vec::new();
        let mut roots = Vec::new();
        for (place, delivery) in setup.clients.iter().enumerate() {
            let (event, order) = (delivery.text("event"), delivery.text("order"));
            if !orders.contains(&order) {
                schema.push_str(&format!(
                    "INSERT INTO orders (id, paid) VALUES ('{}', 0);\n",
                    order.replace('\'', "''")
                ));
                orders.push(order.clone());
            }
            let label = format!("delivery {} of {event}", place + 1);
            let body = [("event", event), ("order", order)].into_iter().collect();
            roots.push(courier(label.into(), ENDPOINT, body, small(delivery, "attempts")));
        }
        Ok(spec(
            world(&schema, [])?,
            roots,
            [(ENDPOINT, endpoint(move |request| Receive::new(request, design)))],
            invariants(),
            [("orders", "SELECT id, paid FROM orders")],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    dedup: Dedup,
    early: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Dedup {
    InsertInTransaction,
    InsertFirst,
    InsertFirstAndLook,
    UpsertThenSelect,
    None,
}

/// A webhook being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Receive {
    event: Arc<str>,
    order: Arc<str>,
    design: Design,
    in_transaction: bool,
}

impl Story for Receive {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if self.design.early {
            scene.at("acknowledging");
            scene.respond(200, "received")?;
        }
        let done = caught(self.process(scene))?;
        if let Err(error) = &done
            && self.in_transaction
            && !is_lost(error)
        {
            scene.at("rolling back");
            scene.run("ROLLBACK")?.ok();
        }
        if self.design.early {
            return Ok(());
        }
        scene.at("answering");
        match done {
            Ok(()) => scene.respond(200, "processed"),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

impl Receive {
    fn new(request: &Request, design: Design) -> Self {
        Receive {
            event: field(request, "event"),
            order: field(request, "order"),
            design,
            in_transaction: false,
        }
    }

    fn process(&mut self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        scene.at("looking for the event");
        match self.design.dedup {
            Dedup::InsertInTransaction => {
                scene.run("BEGIN")??;
                self.in_transaction = true;
                if self.insert(scene, true)? {
                    self.apply(scene)?;
                }
                scene.at("committing");
                scene.run("COMMIT")??;
                self.in_transaction = false;
                Ok(())
            }
            Dedup::InsertFirst => match self.insert(scene, true)? {
                true => self.apply(scene),
                false => Ok(()),
            },
            Dedup::InsertFirstAndLook => {
                if !self.insert(scene, false)? && self.is_processed(scene)? {
                    return Ok(());
                }
                self.apply(scene)?;
                self.mark(scene)
            }
            Dedup::UpsertThenSelect => {
                let upsert = "INSERT INTO webhook_events (event_id, processed) VALUES ($1, false) \
                              ON CONFLICT (event_id) DO UPDATE SET event_id = EXCLUDED.event_id";
                scene.sql(Sql::new(upsert).bind(self.event()))??;
                if self.is_processed(scene)? {
                    return Ok(());
                }
                self.apply(scene)?;
                self.mark(scene)
            }
            Dedup::None => self.apply(scene),
        }
    }

    /// Inserts the event; false when it was there.
    fn insert(&self, scene: &mut Scene<'_>, processed: bool) -> Result<bool, Halt> {
        let insert =
            "INSERT INTO webhook_events (event_id, processed) VALUES ($1, $2) ON CONFLICT (event_id) DO NOTHING";
        let inserted = scene.sql(Sql::new(insert).bind(self.event()).bind(processed))??;
        Ok(inserted.affected == 1)
    }

    fn is_processed(&self, scene: &mut Scene<'_>) -> Result<bool, Halt> {
        let select = Sql::new("SELECT processed FROM webhook_events WHERE event_id = $1");
        Ok(scene.sql(select.bind(self.event()))??.first() == Some(&Value::Bool(true)))
    }

    fn mark(&self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        scene.at("marking the event");
        let update = Sql::new("UPDATE webhook_events SET processed = true WHERE event_id = $1");
        scene.sql(update.bind(self.event()))??;
        Ok(())
    }

    fn apply(&self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        scene.at("applying");
        let update = Sql::new("UPDATE orders SET paid = paid + 1 WHERE id = $1");
        scene.sql(update.bind(Value::Text(self.order.clone())))??;
        Ok(())
    }

    fn event(&self) -> Value {
        Value::Text(self.event.clone())
    }
}

fn invariants() -> Vec<Arc<dyn Invariant>> {
    vec![
        promise::check("applied-at-most-once", AT_MOST_ONCE, When::Always, |view| {
            let expected = events(view, |_| true);
            compare(
                view,
                &expected,
                |paid, events| paid > events,
                "more often than it has events",
            )
        }),
        promise::check("no-acknowledged-webhook-lost", NOT_LOST, When::Finally, |view| {
            let acknowledged: Vec<&str> = answers(view, ENDPOINT)
                .filter(|(_, _, response)| response.is_success())
                .filter_map(|(_, request, _)| request.body.get("event").map(|event| &**event))
                .collect();
            let expected = events(view, |event| acknowledged.contains(&event));
            compare(
                view,
                &expected,
                |paid, events| paid < events,
                "less often than events were acknowledged",
            )
        }),
        promise::check("every-event-applied", APPLIED, When::Finally, |view| {
            let expected = events(view, |_| true);
            compare(
                view,
                &expected,
                |paid, events| paid < events,
                "less often than it has events",
            )
        }),
        no_server_error(),
        everyone_is_answered(),
        no_deadlock(),
    ]
}

/// The events that were sent, each with its order, once.
fn events<'a>(view: &View<'a>, wanted: impl Fn(&str) -> bool) -> Vec<(&'a str, &'a str)> {
    let requests = view
        .state()
        .processes
        .values()
        .filter_map(|process| process.request.as_deref());
    let mut events: Vec<(&str, &str)> = requests
        .filter_map(|request| Some((&**request.body.get("order")?, &**request.body.get("event")?)))
        .filter(|(_, event)| wanted(event))
        .collect();
    events.sort_unstable();
    events.dedup();
    events
}

fn compare(
    view: &View<'_>,
    events: &[(&str, &str)],
    wrong: fn(i64, i64) -> bool,
    how: &str,
) -> Result<(), (String, Vec<String>)> {
    let orders = match view.query("SELECT id, paid FROM orders") {
        Ok(rows) => rows,
        Err(error) => return Err((format!("orders can't be read: {error}"), Vec::new())),
    };
    for row in &orders.rows {
        let [Value::Text(order), Value::Int(paid)] = &row[..] else {
            continue;
        };
        let count = events.iter().filter(|(of, _)| **of == **order).count() as i64;
        if wrong(*paid, count) {
            let sentence = format!("{order} is paid {paid} times, {how}: {count}");
            return Err((sentence, vec![format!("({order}, {paid})")]));
        }
    }
    Ok(())
}
