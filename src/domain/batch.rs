//! Batches: ten events in one request, of which one is bad.
//!
//! Seed 004, fix 4: as reported one invalid event rejects the batch; the document's loop tells item by item, but in one transaction the first 23505
//! makes every later statement fail (25P02), and the COMMIT rolls back what was told to be stored. Savepoints hold.

use std::sync::Arc;

use super::client::{Client, request};
use super::flow::{self, Halt, Scene, Story, Told, caught, is_lost, is_transient};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, text, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, answers, everyone_is_answered, no_deadlock,
    no_server_error, texts,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::{Request, Sql};
use crate::system::{Role, Spec, View, When};
use crate::value::Value;

/// Takes a batch.
pub const ENDPOINT: &str = "POST /events/batch";

/// The handler `batch`.
#[derive(Clone, Copy, Debug)]
pub struct Batch;

const CHOICES: &[Choice] = &[
    choice(
        "validation",
        "what one invalid event does",
        &[
            named("each_event", "it is told to be invalid; the others are stored"),
            named("whole_batch", "the batch is answered 422 (as reported)"),
        ],
    ),
    choice(
        "isolation",
        "what an event that is there already does to the others",
        &[
            named(
                "savepoints",
                "each event is inserted after a savepoint, to which its failure rolls back",
            ),
            named(
                "one_transaction",
                "its failure is caught, and the transaction goes on (the document's fix)",
            ),
        ],
    ),
    choice(
        "answer",
        "when the results are told",
        &[
            named("after_commit", "when COMMIT has succeeded"),
            named("before_commit", "before COMMIT is sent"),
        ],
    ),
];

const CLIENT: &[Parameter] = &[
    text("client", "its name in lanes; numbered when empty", ""),
    text(
        "events",
        "the events' ids, separated by blanks; one that ends in ! is invalid",
        "a b! c",
    ),
    int("attempts", "how often it sends the batch at most", 1, 5, 2),
];

const TRUE_RESULTS: &str = "in the end each event that was told to be stored is stored";
const VALID_STORED: &str = "in the end each valid event of a batch that was answered is stored";
const NO_DUPLICATES: &str = "no event is stored twice";

const PROMISES: &[Promise] = &[
    Promise {
        name: "told-means-stored",
        promise: TRUE_RESULTS,
    },
    Promise {
        name: "valid-events-stored",
        promise: VALID_STORED,
    },
    Promise {
        name: "no-duplicate-events",
        promise: NO_DUPLICATES,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

impl Handler for Batch {
    fn name(&self) -> &str {
        "batch"
    }

    fn doc(&self) -> &str {
        "takes batches of events and tells what became of each"
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
            each: setup.is("validation", "each_event"),
            savepoints: setup.is("isolation", "savepoints"),
            early: setup.is("answer", "before_commit"),
        };
        let count = setup.clients.len();
        let roots = setup.clients.iter().enumerate().map(|(place, client)| {
            let label = promise::label(&client.text("client"), "client", place, count);
            let request = request(ENDPOINT, [], [("events", client.text("events"))]);
            root(
                label,
                Role::Client,
                flow::program(Client::new(request, small(client, "attempts"))),
            )
        });
        Ok(spec(
            world("CREATE TABLE events (external_id text PRIMARY KEY);", [])?,
            roots.collect(),
            [(
                ENDPOINT,
                endpoint(move |request: &Request| Ingest::new(request, design)),
            )],
            vec![
                promise::check("told-means-stored", TRUE_RESULTS, When::Finally, |view| {
                    compare(view, |told| {
                        let told = told.split(' ').filter_map(|told| told.strip_suffix(":stored"));
                        told.map(str::to_owned).collect()
                    })
                }),
                promise::check("valid-events-stored", VALID_STORED, When::Finally, |view| {
                    compare_requests(view)
                }),
                promise::always(
                    "no-duplicate-events",
                    NO_DUPLICATES,
                    "SELECT external_id, count(*) FROM events GROUP BY external_id HAVING count(*) > 1",
                ),
                no_server_error(),
                everyone_is_answered(),
                no_deadlock(),
            ],
            [
                ("events", "SELECT external_id FROM events"),
                ("answers", "SELECT sender, status, body FROM responses"),
            ],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    each: bool,
    savepoints: bool,
    early: bool,
}

/// A batch being taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Ingest {
    events: Arc<str>,
    design: Design,
    in_transaction: bool,
    answered: bool,
}

impl Story for Ingest {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if !self.design.each && self.events.split(' ').any(is_invalid) {
            return scene.respond(422, "the batch is invalid");
        }
        let taken = caught(self.take(scene))?;
        if let Err(error) = &taken
            && self.in_transaction
            && !is_lost(error)
        {
            scene.at("rolling back");
            scene.run("ROLLBACK")?.ok();
        }
        if self.answered {
            return Ok(());
        }
        scene.at("answering");
        match taken {
            Ok(results) => scene.respond(200, results),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

fn is_invalid(event: &str) -> bool {
    event.ends_with('!')
}

impl Ingest {
    fn new(request: &Request, design: Design) -> Self {
        Ingest {
            events: field(request, "events"),
            design,
            in_transaction: false,
            answered: false,
        }
    }

    fn take(&mut self, scene: &mut Scene<'_>) -> Result<String, Halt> {
        scene.at("taking events");
        scene.run("BEGIN")??;
        self.in_transaction = true;
        let mut results = Vec::new();
        let events = self.events.clone();
        for event in events.split(' ') {
            let result = match is_invalid(event) {
                true => "invalid",
                false => self.insert(scene, event)?,
            };
            results.push(format!("{event}:{result}"));
        }
        let results = results.join(" ");
        if self.design.early {
            scene.respond(200, results.as_str())?;
            self.answered = true;
        }
        scene.at("committing");
        scene.run("COMMIT")??;
        self.in_transaction = false;
        Ok(results)
    }

    /// Inserts one event and says what became of it. Only an error that ends the whole batch is passed on.
    fn insert(&self, scene: &mut Scene<'_>, event: &str) -> Result<&'static str, Halt> {
        if self.design.savepoints {
            scene.run("SAVEPOINT item")??;
        }
        let insert = Sql::new("INSERT INTO events (external_id) VALUES ($1)").bind(event);
        match scene.sql(insert)? {
            Ok(_) => {
                if self.design.savepoints {
                    scene.run("RELEASE SAVEPOINT item")??;
                }
                Ok("stored")
            }
            Err(error) if is_transient(&error) => Err(error.into()),
            Err(_) if self.design.savepoints => {
                scene.run("ROLLBACK TO SAVEPOINT item")??;
                Ok("exists")
            }
            Err(_) => Ok("failed"),
        }
    }
}

/// What `wanted` reads from each successful answer is stored.
fn compare(view: &View<'_>, wanted: fn(&str) -> Vec<String>) -> Result<(), (String, Vec<String>)> {
    let stored = stored(view)?;
    for (label, _, response) in answers(view, ENDPOINT).filter(|(_, _, response)| response.is_success()) {
        if let Some(event) = wanted(&response.body)
            .iter()
            .find(|event| !stored.contains(event.as_str()))
        {
            return Err((
                format!("{label} was told {}, and {event} is not stored", response.body),
                Vec::new(),
            ));
        }
    }
    Ok(())
}

/// Each valid event of a batch with a final answer is stored.
fn compare_requests(view: &View<'_>) -> Result<(), (String, Vec<String>)> {
    let stored = stored(view)?;
    for (label, request, response) in answers(view, ENDPOINT).filter(|(_, _, response)| response.status < 500) {
        let events = field(request, "events");
        let missing = events
            .split(' ')
            .find(|event| !is_invalid(event) && !stored.contains(*event));
        if let Some(event) = missing {
            return Err((
                format!("{label} was answered {response}, and {event} is not stored"),
                Vec::new(),
            ));
        }
    }
    Ok(())
}

fn stored(view: &View<'_>) -> Result<std::collections::BTreeSet<Arc<str>>, (String, Vec<String>)> {
    match view.query("SELECT external_id FROM events") {
        Ok(rows) => Ok(texts(&rows)),
        Err(error) => Err((format!("events can't be read: {error}"), vec![Value::Null.to_string()])),
    }
}
