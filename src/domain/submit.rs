//! Form submissions de-duplicated in the cache, with the database behind it.
//!
//! Seed 003, issue 4: the cache times out, and "treat as a duplicate" tells people that they submitted twice. The document's fix lets everything through
//! then. Neither keeps the promise; a constraint in the database does, and then the cache is what it is: a short cut.

use std::sync::Arc;

use super::client::{Client, request};
use super::flow::{self, Halt, Scene, Story, Told, caught, is_transient};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, text, world};
use super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, answers, everyone_is_answered, no_deadlock,
    no_server_error, texts,
};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::{Request, Sql};
use crate::system::{Role, Spec, When};
use crate::value::Value;
use crate::world::cache::{CACHE, Cache, Command};
use crate::world::service::Provided;

/// Takes a submission.
pub const ENDPOINT: &str = "POST /quotes";
/// How long the cache remembers a request, in milliseconds.
const REMEMBERED: i64 = 300_000;

/// The handler `request_dedup`.
#[derive(Clone, Copy, Debug)]
pub struct RequestDedup;

const CHOICES: &[Choice] = &[
    choice(
        "constraint",
        "what the database does with a second row for the same request",
        &[
            named("unique", "it refuses it: the insert does nothing"),
            named("none", "it takes it"),
        ],
    ),
    choice(
        "on_outage",
        "what is done when the cache does not answer",
        &[
            named("fail_open", "the request is let through (the document's fix)"),
            named("fail_closed", "the request is answered as a duplicate (as reported)"),
        ],
    ),
    choice(
        "when_seen",
        "what is done when the cache has seen the request",
        &[
            named(
                "look",
                "the database is asked whether it is there; otherwise it goes on",
            ),
            named("trust", "it is answered as a duplicate"),
        ],
    ),
];

const CLIENT: &[Parameter] = &[
    text("client", "its name in lanes; numbered when empty", ""),
    text("request", "what is submitted", "quote-1"),
    int("attempts", "how often it is sent at most", 1, 5, 2),
];

const NO_DUPLICATES: &str = "no request is stored twice";
const GENUINE: &str = "in the end a request that was answered as a duplicate is stored: no genuine one is turned away";
const STORED: &str = "in the end a request that was answered with success is stored";

const PROMISES: &[Promise] = &[
    Promise {
        name: "no-duplicate-requests",
        promise: NO_DUPLICATES,
    },
    Promise {
        name: "no-genuine-request-refused",
        promise: GENUINE,
    },
    Promise {
        name: "success-means-stored",
        promise: STORED,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

impl Handler for RequestDedup {
    fn name(&self) -> &str {
        "request_dedup"
    }

    fn doc(&self) -> &str {
        "takes form submissions, each once"
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
        let unique = setup.is("constraint", "unique");
        let (open, looks) = (setup.is("on_outage", "fail_open"), setup.is("when_seen", "look"));
        let index = if unique {
            "CREATE UNIQUE INDEX quotes_request_key ON quotes (request);"
        } else {
            ""
        };
        let count = setup.clients.len();
        let roots = setup.clients.iter().enumerate().map(|(place, client)| {
            let label = promise::label(&client.text("client"), "client", place, count);
            let request = request(ENDPOINT, [], [("request", client.text("request"))]);
            root(
                label,
                Role::Client,
                flow::program(Client::new(request, small(client, "attempts"))),
            )
        });
        let handler = move |request: &Request| Submit {
            request: field(request, "request"),
            open,
            looks,
        };
        let told = |view: &crate::system::View<'_>, status: u16| -> Result<(), (String, Vec<String>)> {
            let stored = match view.query("SELECT request FROM quotes") {
                Ok(rows) => texts(&rows),
                Err(error) => return Err((format!("quotes can't be read: {error}"), Vec::new())),
            };
            for (label, request, response) in answers(view, ENDPOINT).filter(|(_, _, answer)| answer.status == status) {
                let submitted = field(request, "request");
                if !stored.contains(&submitted) {
                    return Err((
                        format!("{label} was answered {response}, and {submitted} is not stored"),
                        Vec::new(),
                    ));
                }
            }
            Ok(())
        };
        Ok(spec(
            world(
                &format!("CREATE TABLE quotes (request text NOT NULL);\n{index}\n"),
                [(CACHE, Provided::new(Cache::default()))],
            )?,
            roots.collect(),
            [(ENDPOINT, endpoint(handler))],
            vec![
                promise::always(
                    "no-duplicate-requests",
                    NO_DUPLICATES,
                    "SELECT request, count(*) FROM quotes GROUP BY request HAVING count(*) > 1",
                ),
                promise::checked("no-genuine-request-refused", GENUINE, When::Finally, move |view| {
                    told(view, 409)
                }),
                promise::checked("success-means-stored", STORED, When::Finally, move |view| {
                    told(view, 201)
                }),
                no_server_error(),
                everyone_is_answered(),
                no_deadlock(),
            ],
            [
                ("quotes", "SELECT request FROM quotes"),
                ("answers", "SELECT sender, status FROM responses"),
            ],
        ))
    }
}

/// A submission being taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Submit {
    request: Arc<str>,
    open: bool,
    looks: bool,
}

impl Story for Submit {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("asking the cache");
        let key = format!("dedup:{}", self.request);
        let new = match scene.call(Command::set_nx(&key, "seen", REMEMBERED))? {
            Ok(answer) => answer.get("set") == Some(&Value::Bool(true)),
            Err(_) => self.open,
        };
        if !new && !self.looks {
            return scene.respond(409, "duplicate submission detected");
        }
        let stored = caught(self.store(scene, new))?;
        scene.at("answering");
        match stored {
            Ok(true) => scene.respond(201, "stored"),
            Ok(false) => scene.respond(409, "duplicate submission detected"),
            Err(error) if is_transient(&error) => scene.respond(503, "try again"),
            Err(error) => scene.respond(500, format!("error {}", error.code)),
        }
    }
}

impl Submit {
    /// Stores the request; false when it is there.
    fn store(&self, scene: &mut Scene<'_>, new: bool) -> Result<bool, Halt> {
        if !new {
            scene.at("asking the database");
            let select = Sql::new("SELECT request FROM quotes WHERE request = $1");
            if !scene
                .sql(select.bind(Value::Text(self.request.clone())))??
                .rows
                .is_empty()
            {
                return Ok(false);
            }
        }
        scene.at("storing");
        let insert = Sql::new("INSERT INTO quotes (request) VALUES ($1) ON CONFLICT DO NOTHING");
        Ok(scene.sql(insert.bind(Value::Text(self.request.clone())))??.affected == 1)
    }
}
