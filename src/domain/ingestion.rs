//! Event ingestion per tenant: the same event sent again is one event; the same id of two tenants is two.
//!
//! Seed 004, fix 1: a check before the insert, and a partial unique index on (tenant, external id) over what is not deleted. The document leaves the
//! loser of the race with an error, and brings a deleted event back when its sender tries again.

use std::sync::Arc;

use super::client::{Asked, Client, request};
use super::flow::{self, Halt, Scene, Story, Told, caught, is_transient};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, text, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, answers, everyone_is_answered, no_deadlock,
    no_server_error,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::{Request, Rows, Sql};
use crate::system::{Role, Spec, View, When};
use crate::value::Value;

/// Takes an event.
pub const INGEST: &str = "POST /events";
/// Deletes an event, softly.
pub const DELETE: &str = "DELETE /events";

/// The handler `ingestion`.
#[derive(Clone, Copy, Debug)]
pub struct Ingestion;

const CHOICES: &[Choice] = &[
    choice(
        "duplicate_check",
        "how an event that is there already is found",
        &[
            named("insert_first", "inserted with ON CONFLICT DO NOTHING, then read"),
            named(
                "check_then_insert",
                "selected, and inserted if not found (the document's fix)",
            ),
            named("none", "inserted (as reported)"),
        ],
    ),
    choice(
        "unique_index",
        "what is unique",
        &[
            named("tenant_and_id", "tenant and external id, deleted events included"),
            named(
                "live_tenant_and_id",
                "tenant and external id of what is not deleted (the document's index)",
            ),
            named("id", "the external id, whosever it is"),
            named("none", "nothing (as reported)"),
        ],
    ),
    choice(
        "lookup",
        "whose events are looked at",
        &[
            named("own_tenant", "the tenant's own"),
            named("any_tenant", "any tenant's"),
        ],
    ),
];

const CLIENT: &[Parameter] = &[
    text("client", "its name in lanes; numbered when empty", ""),
    text("tenant", "the tenant", "acme"),
    text("event", "the event's external id", "ev-1"),
    text("payload", "what the event says", "opened"),
    text("then_delete", "yes: it deletes the event when it was taken", "no"),
    int("attempts", "how often it sends a request at most", 1, 5, 2),
];

const NO_DUPLICATES: &str = "no tenant has two live events with one external id";
const STORED: &str = "in the end an event that was answered with success is in its tenant's table";
const ISOLATED: &str = "no tenant is told about an event of another";
const DELETED: &str = "an event that was deleted is not brought back by its sender's retry";

const PROMISES: &[Promise] = &[
    Promise {
        name: "no-duplicate-events",
        promise: NO_DUPLICATES,
    },
    Promise {
        name: "success-means-stored",
        promise: STORED,
    },
    Promise {
        name: "tenant-isolation",
        promise: ISOLATED,
    },
    Promise {
        name: "deleted-stays-deleted",
        promise: DELETED,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

impl Handler for Ingestion {
    fn name(&self) -> &str {
        "ingestion"
    }

    fn doc(&self) -> &str {
        "takes events of tenants, each once"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn clients(&self) -> &[Parameter] {
        CLIENT
    }

    fn invariants(&self) -> &[Promise] {
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let design = Design {
            check: match setup.choice("duplicate_check") {
                "check_then_insert" => Check::SelectFirst,
                "none" => Check::None,
                _ => Check::InsertFirst,
            },
            own: setup.is("lookup", "own_tenant"),
        };
        let index = match setup.choice("unique_index") {
            "live_tenant_and_id" => {
                "CREATE UNIQUE INDEX idx_events_unique_external ON events (tenant_id, external_id) \
                 WHERE external_id IS NOT NULL AND is_deleted = false;"
            }
            "id" => "CREATE UNIQUE INDEX idx_events_unique_external ON events (external_id);",
            "none" => "",
            _ => "CREATE UNIQUE INDEX idx_events_unique_external ON events (tenant_id, external_id);",
        };
        let schema = format!(
            "CREATE TABLE events (tenant_id text NOT NULL, external_id text, payload text NOT NULL, is_deleted boolean NOT NULL);\n\
             {index}\n"
        );
        let count = setup.clients.len();
        let roots = setup.clients.iter().enumerate().map(|(place, client)| {
            let label = promise::label(&client.text("client"), "client", place, count);
            let body = ["tenant", "event", "payload"].map(|name| (name, client.text(name)));
            let sender = Sender {
                ingest: Client::new(request(INGEST, [], body), small(client, "attempts")),
                deletes: &*client.text("then_delete") == "yes",
            };
            root(label, Role::Client, flow::program(sender))
        });
        Ok(spec(
            world(&schema, [])?,
            roots.collect(),
            [
                (INGEST, endpoint(move |request: &Request| Ingest::new(request, design))),
                (
                    DELETE,
                    endpoint(move |request: &Request| Delete(Ingest::new(request, design))),
                ),
            ],
            invariants(),
            [
                ("events", "SELECT tenant_id, external_id, is_deleted FROM events"),
                ("answers", "SELECT sender, status, body FROM responses"),
            ],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    check: Check,
    own: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Check {
    InsertFirst,
    SelectFirst,
    None,
}

/// Sends an event until it is answered; may delete it then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sender {
    ingest: Client,
    deletes: bool,
}

impl Story for Sender {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        let Asked::Over(answer) = self.ingest.ask(scene)? else {
            return scene.again();
        };
        if self.deletes && answer.is_some_and(|response| response.is_success()) {
            scene.at("deleting");
            let mut delete = self.ingest.request.clone();
            delete.endpoint = DELETE.into();
            scene.send(delete)?.ok();
        }
        Ok(())
    }
}

/// An event being taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ingest {
    tenant: Arc<str>,
    event: Arc<str>,
    payload: Arc<str>,
    design: Design,
}

impl Story for Ingest {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        let taken = caught(self.take(scene))?;
        scene.at("answering");
        match taken {
            Ok(answer) => scene.respond(200, answer),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

impl Ingest {
    fn new(request: &Request, design: Design) -> Self {
        Ingest {
            tenant: field(request, "tenant"),
            event: field(request, "event"),
            payload: field(request, "payload"),
            design,
        }
    }

    fn take(&self, scene: &mut Scene<'_>) -> Result<String, Halt> {
        match self.design.check {
            Check::None => {
                self.insert(scene, "")?;
                Ok(self.told(&self.tenant))
            }
            Check::SelectFirst => {
                let found = self.find(scene, " AND is_deleted = false")?;
                match found.first() {
                    Some(tenant) => Ok(self.told(&tenant.to_string())),
                    None => {
                        self.insert(scene, "")?;
                        Ok(self.told(&self.tenant))
                    }
                }
            }
            Check::InsertFirst => {
                if self.insert(scene, " ON CONFLICT DO NOTHING")?.affected == 1 {
                    return Ok(self.told(&self.tenant));
                }
                let found = self.find(scene, "")?;
                let tenant = found.first().map_or_else(|| self.tenant.to_string(), Value::to_string);
                Ok(self.told(&tenant))
            }
        }
    }

    fn insert(&self, scene: &mut Scene<'_>, conflict: &str) -> Result<Rows, Halt> {
        scene.at("inserting");
        let insert = format!(
            "INSERT INTO events (tenant_id, external_id, payload, is_deleted) VALUES ($1, $2, $3, false){conflict}"
        );
        let values = [&self.tenant, &self.event, &self.payload];
        let insert = values.into_iter().fold(Sql::new(insert), |insert, value| {
            insert.bind(Value::Text(value.clone()))
        });
        Ok(scene.sql(insert)??)
    }

    fn find(&self, scene: &mut Scene<'_>, live: &str) -> Result<Rows, Halt> {
        scene.at("looking for the event");
        let select = match self.design.own {
            true => Sql::new(format!(
                "SELECT tenant_id FROM events WHERE external_id = $1 AND tenant_id = $2{live}"
            ))
            .bind(Value::Text(self.event.clone()))
            .bind(Value::Text(self.tenant.clone())),
            false => Sql::new(format!("SELECT tenant_id FROM events WHERE external_id = $1{live}"))
                .bind(Value::Text(self.event.clone())),
        };
        Ok(scene.sql(select)??)
    }

    fn told(&self, tenant: &str) -> String {
        format!("{tenant}/{}", self.event)
    }
}

/// An event being deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Delete(Ingest);

impl Story for Delete {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("deleting");
        let update =
            "UPDATE events SET is_deleted = true WHERE tenant_id = $1 AND external_id = $2 AND is_deleted = false";
        let update = Sql::new(update)
            .bind(Value::Text(self.0.tenant.clone()))
            .bind(Value::Text(self.0.event.clone()));
        let deleted = scene.sql(update)?;
        scene.at("answering");
        match deleted {
            Ok(_) => scene.respond(204, ""),
            Err(_) => scene.respond(503, "try again"),
        }
    }
}

fn invariants() -> Vec<Arc<dyn crate::system::Invariant>> {
    vec![
        promise::always(
            "no-duplicate-events",
            NO_DUPLICATES,
            "SELECT tenant_id, external_id, count(*) FROM events WHERE is_deleted = false \
             GROUP BY tenant_id, external_id HAVING count(*) > 1",
        ),
        promise::check("success-means-stored", STORED, When::Finally, |view| {
            let stored = match view.query("SELECT tenant_id, external_id FROM events") {
                Ok(rows) => rows.rows,
                Err(error) => return Err((format!("events can't be read: {error}"), Vec::new())),
            };
            for (label, request, response) in answers(view, INGEST).filter(|(_, _, response)| response.is_success()) {
                let own = ["tenant", "event"].map(|name| Value::Text(field(request, name)));
                if !stored.iter().any(|row| row[..] == own) {
                    let sentence = format!(
                        "{label} was answered {response}, and {}/{} is not stored",
                        own[0], own[1]
                    );
                    return Err((sentence, Vec::new()));
                }
            }
            Ok(())
        }),
        promise::check("tenant-isolation", ISOLATED, When::Always, isolated),
        promise::always(
            "deleted-stays-deleted",
            DELETED,
            "SELECT live.tenant_id, live.external_id FROM events live JOIN events gone ON gone.tenant_id = live.tenant_id \
             AND gone.external_id = live.external_id WHERE live.is_deleted = false AND gone.is_deleted = true",
        ),
        no_server_error(),
        everyone_is_answered(),
        no_deadlock(),
    ]
}

fn isolated(view: &View<'_>) -> Result<(), (String, Vec<String>)> {
    for (label, request, response) in answers(view, INGEST).filter(|(_, _, response)| response.is_success()) {
        let tenant = field(request, "tenant");
        if !response.body.starts_with(&format!("{tenant}/")) {
            return Err((
                format!("{label} of {tenant} was told about {}", response.body),
                Vec::new(),
            ));
        }
    }
    Ok(())
}
