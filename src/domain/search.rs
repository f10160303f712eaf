//! Search after save: an event can be found if and only if it is saved.
//!
//! Seed 004, fix 3: saved events that the search does not return. The index is a second system: updated before the commit it finds what was
//! never saved; updated after it, it misses what was saved when the process crashes in between.

use std::sync::Arc;

use super::client::{Client, request};
use super::flow::{self, Halt, Scene, Story, Told, caught, is_lost, is_transient};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, text, world};
use super::promise::{self, EVERYONE_IS_ANSWERED, NO_SERVER_ERROR, everyone_is_answered, no_server_error};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::{Request, Sql};
use crate::system::{Role, Spec};
use crate::value::Value;
use crate::world::search::{Index, SEARCH, put, remove};
use crate::world::service::Provided;

/// Saves an event.
pub const SAVE: &str = "POST /events";
/// Deletes an event.
pub const DELETE: &str = "DELETE /events";

/// The handler `search`.
#[derive(Clone, Copy, Debug)]
pub struct Search;

const CHOICES: &[Choice] = &[
    choice(
        "indexing",
        "when the search index learns of a change",
        &[
            named(
                "outbox",
                "a row in the same transaction, which a sweep brings to the index",
            ),
            named("after_commit", "by a call after COMMIT"),
            named("before_commit", "by a call before COMMIT"),
        ],
    ),
    choice(
        "order",
        "how changes that arrive out of order are told apart",
        &[
            named("version", "each carries its number; an older one is not applied"),
            named("arrival", "they are not: the last to arrive wins"),
        ],
    ),
];

const PARAMETERS: &[Parameter] = &[int("sweeps", "how many sweeps run, each a process of its own", 1, 3, 2)];

const CLIENT: &[Parameter] = &[
    text("client", "its name in lanes; numbered when empty", ""),
    text("event", "the event", "consistency-203fde0a"),
    text("does", "save or delete", "save"),
    int("attempts", "how often it sends a request at most", 1, 5, 2),
];

const FOUND_IS_SAVED: &str = "in the end what can be found is saved";
const SAVED_IS_FOUND: &str = "in the end what is saved can be found";

const PROMISES: &[Promise] = &[
    Promise {
        name: "found-means-saved",
        promise: FOUND_IS_SAVED,
    },
    Promise {
        name: "saved-means-found",
        promise: SAVED_IS_FOUND,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
];

impl Handler for Search {
    fn name(&self) -> &str {
        "search"
    }

    fn doc(&self) -> &str {
        "saves events and lets them be found"
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
        let design = Design {
            indexing: match setup.choice("indexing") {
                "after_commit" => Indexing::AfterCommit,
                "before_commit" => Indexing::BeforeCommit,
                _ => Indexing::Outbox,
            },
            versions: setup.is("order", "version"),
        };
        let count = setup.clients.len();
        let mut schema = String::from(
            "CREATE TABLE events (id text PRIMARY KEY, saved boolean NOT NULL, version bigint NOT NULL, indexed bigint NOT NULL);\n",
        );
        let mut known: Vec<Arc<str>> = Vec::new();
        let mut roots = Vec::new();
        for (place, client) in setup.clients.iter().enumerate() {
            let event = client.text("event");
            if !known.contains(&event) {
                let id = event.replace('\'', "''");
                schema.push_str(&format!(
                    "INSERT INTO events (id, saved, version, indexed) VALUES ('{id}', false, 0, 0);\n"
                ));
                known.push(event.clone());
            }
            let label = promise::label(&client.text("client"), "client", place, count);
            let target = if &*client.text("does") == "delete" {
                DELETE
            } else {
                SAVE
            };
            let request = request(target, [], [("event", event)]);
            let program = flow::program(Client::new(request, small(client, "attempts")));
            roots.push(root(label, Role::Client, program));
        }
        if design.indexing == Indexing::Outbox {
            let sweeps = small(&setup.parameters, "sweeps");
            roots.extend((0..sweeps).map(|number| {
                let label = promise::label("", "sweep", number.into(), sweeps.into());
                root(label, Role::Worker, flow::program(Sweep { design }))
            }));
        }
        let change = move |saved: bool| {
            endpoint(move |request: &Request| Change {
                event: field(request, "event"),
                saved,
                design,
                in_transaction: false,
            })
        };
        Ok(spec(
            world(&schema, [(SEARCH, Provided::new(Index::default()))])?,
            roots,
            [(SAVE, change(true)), (DELETE, change(false))],
            vec![
                promise::finally(
                    "found-means-saved",
                    FOUND_IS_SAVED,
                    "SELECT id FROM search_documents WHERE id NOT IN (SELECT id FROM events WHERE saved)",
                ),
                promise::finally(
                    "saved-means-found",
                    SAVED_IS_FOUND,
                    "SELECT id FROM events WHERE saved AND id NOT IN (SELECT id FROM search_documents)",
                ),
                no_server_error(),
                everyone_is_answered(),
            ],
            [
                ("saved", "SELECT id FROM events WHERE saved"),
                ("found", "SELECT id FROM search_documents"),
            ],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    indexing: Indexing,
    versions: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Indexing {
    Outbox,
    AfterCommit,
    BeforeCommit,
}

impl Design {
    /// Tells the index of an event at a version.
    fn index(self, event: &str, saved: bool, version: i64) -> crate::machine::service::Call {
        let call = if saved { put(event, "saved") } else { remove(event) };
        if self.versions {
            call.with("version", version)
        } else {
            call
        }
    }
}

/// An event being saved or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Change {
    event: Arc<str>,
    saved: bool,
    design: Design,
    in_transaction: bool,
}

impl Story for Change {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        let changed = caught(self.change(scene))?;
        if let Err(error) = &changed
            && self.in_transaction
            && !is_lost(error)
        {
            scene.at("rolling back");
            scene.run("ROLLBACK")?.ok();
        }
        scene.at("answering");
        match changed {
            Ok(()) => scene.respond(200, "done"),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

impl Change {
    fn change(&mut self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        scene.at("saving");
        // The row is its own outbox: what is indexed lags behind what its version says.
        let update = Sql::new("UPDATE events SET saved = $2, version = version + 1 WHERE id = $1 RETURNING version")
            .bind(Value::Text(self.event.clone()))
            .bind(self.saved);
        if self.design.indexing == Indexing::Outbox {
            scene.sql(update)??;
            return Ok(());
        }
        scene.run("BEGIN")??;
        self.in_transaction = true;
        let version = match scene.sql(update)??.first() {
            Some(Value::Int(version)) => *version,
            _ => 0,
        };
        let call = self.design.index(&self.event, self.saved, version);
        if self.design.indexing == Indexing::BeforeCommit {
            scene.at("indexing");
            scene.call(call.clone())?.ok();
        }
        scene.at("committing");
        scene.run("COMMIT")??;
        self.in_transaction = false;
        if self.design.indexing == Indexing::AfterCommit {
            scene.at("indexing");
            scene.call(call)?.ok();
        }
        Ok(())
    }
}

/// Brings changes to the index: once at any moment, then whenever nothing else happens, until there is none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sweep {
    design: Design,
}

impl Story for Sweep {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("sweeping");
        match caught(self.sweep(scene))? {
            Ok(0) => {}
            Ok(_) | Err(_) => return scene.again(),
        }
        scene.at("resting");
        scene.rest()?;
        scene.at("sweeping");
        match caught(self.sweep(scene))? {
            Ok(0) => Ok(()),
            Ok(_) | Err(_) => scene.again(),
        }
    }
}

impl Sweep {
    fn sweep(&self, scene: &mut Scene<'_>) -> Result<usize, Halt> {
        let changed = scene.run("SELECT id, saved, version FROM events WHERE indexed < version ORDER BY id")??;
        for row in &changed.rows {
            let [Value::Text(id), Value::Bool(saved), Value::Int(version)] = &row[..] else {
                continue;
            };
            scene.at("indexing");
            if scene.call(self.design.index(id, *saved, *version))?.is_ok() {
                scene.at("noting");
                let update = Sql::new("UPDATE events SET indexed = $2 WHERE id = $1 AND indexed < $2");
                scene.sql(update.bind(Value::Text(id.clone())).bind(*version))??;
            }
        }
        Ok(changed.rows.len())
    }
}
