//! Quote mails: a job for each quote, some with a name that is missing or blank.
//!
//! Seed 003, issue 2: `customerName.split(' ')[0]` throws, and the worker is gone with everything that waited behind it. The document's fix returns null:
//! the worker lives, and the customer whose name is blank never gets the quote.

use std::sync::Arc;

use super::flow::{self, Scene, Story, Told};
use super::parts::{choice, int, named, root, spec, text, world};
use super::promise;
use super::{Choice, Conflict, Handler, Kind, Parameter, Promise, Setup};
use crate::machine::Pid;
use crate::machine::service::Answer;
use crate::system::{Role, Spec, When};
use crate::value::Value;
use crate::world::mail::{MAIL, Mailer, send, send_once};
use crate::world::queue::{Jobs, QUEUE, Queues, Settings};
use crate::world::service::{Provided, Service};

const JOBS: &str = "quotes";

/// The handler `quote_mail`.
#[derive(Clone, Copy, Debug)]
pub struct QuoteMail;

const CHOICES: &[Choice] = &[
    choice(
        "blank_name",
        "what a missing or blank name does",
        &[
            named("greeted_without_name", "the mail has a greeting without a name"),
            named(
                "not_sent",
                "the mail is not sent, and the job is done (the document's fix)",
            ),
            named("throws", "the worker ends (as reported)"),
        ],
    ),
    choice(
        "bad_address",
        "what an address does that is not one",
        &[
            named("set_aside", "the job fails, and is put aside after its attempts"),
            named("retried_at_once", "the worker tries again until it is sent"),
        ],
    ),
    choice(
        "acknowledge",
        "when the job is done",
        &[
            named("after_sending", "when the mail is sent: at least once"),
            named("before_sending", "when it is taken: at most once"),
        ],
    ),
    choice(
        "mail_key",
        "whether the mail service is told to send a quote only once",
        &[
            named("per_quote", "by the quote's number as a key"),
            named("none", "it is not"),
        ],
    ),
];

const PARAMETERS: &[Parameter] = &[
    int(
        "queue_attempts",
        "how often a job is handed out before it is put aside",
        1,
        10,
        4,
    ),
    int(
        "visibility_timeout",
        "how many seconds a job that was handed out stays hidden; until its worker crashes when 0",
        0,
        3600,
        0,
    ),
];

const QUOTE: &[Parameter] = &[
    text("quote", "the quote's number", "Q-1"),
    Parameter {
        name: "name",
        doc: "the customer's name; may be blank",
        kind: Kind::Text {
            default: "Ada Lovelace",
        },
    },
    text("address", "the customer's address", "ada@example.com"),
];

const EVERY: &str = "in the end each quote with a good address is mailed";
const ONCE: &str = "no quote is mailed twice";
const NOT_GIVEN_UP: &str = "in the end no worker has ended and no job waits";

const PROMISES: &[Promise] = &[
    Promise {
        name: "every-quote-mailed",
        promise: EVERY,
    },
    Promise {
        name: "mailed-at-most-once",
        promise: ONCE,
    },
    Promise {
        name: "worker-survives",
        promise: NOT_GIVEN_UP,
    },
];

impl Handler for QuoteMail {
    fn name(&self) -> &str {
        "quote_mail"
    }

    fn doc(&self) -> &str {
        "mails quotes to customers"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn parameters(&self) -> &[Parameter] {
        PARAMETERS
    }

    fn clients(&self) -> &[Parameter] {
        QUOTE
    }

    fn invariants(&self) -> &[Promise] {
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let hidden = setup.parameters.int("visibility_timeout") * 1_000_000;
        let settings = Settings {
            visibility: Some(hidden).filter(|hidden| *hidden > 0),
            attempts: super::parts::small(&setup.parameters, "queue_attempts"),
            ..Settings::default()
        };
        let mut queues = Queues::default().with(JOBS, settings);
        let mut schema = String::from("CREATE TABLE quotes (id text PRIMARY KEY, address text NOT NULL);\n");
        for quote in &setup.clients {
            let [id, name, address] = ["quote", "name", "address"].map(|key| quote.text(key));
            schema.push_str(&format!(
                "INSERT INTO quotes (id, address) VALUES ('{}', '{}');\n",
                id.replace('\'', "''"),
                address.replace('\'', "''")
            ));
            let job = Jobs::add_once(JOBS, &id, [("name", name), ("address", address)]);
            // A queue in memory does not fail.
            queues.call(Pid::root(0), &job, 0).ok();
        }
        let worker = Worker {
            blank: match setup.choice("blank_name") {
                "not_sent" => Blank::NotSent,
                "throws" => Blank::Throws,
                _ => Blank::Greeted,
            },
            sets_aside: setup.is("bad_address", "set_aside"),
            early: setup.is("acknowledge", "before_sending"),
            keyed: setup.is("mail_key", "per_quote"),
        };
        Ok(spec(
            world(
                &schema,
                [(QUEUE, Provided::new(queues)), (MAIL, Provided::new(Mailer::default()))],
            )?,
            vec![root("worker", Role::Worker, flow::program(worker))],
            [],
            vec![
                promise::finally(
                    "every-quote-mailed",
                    EVERY,
                    "SELECT id FROM quotes WHERE address LIKE '%@%' AND address NOT IN (SELECT recipient FROM mails)",
                ),
                promise::always(
                    "mailed-at-most-once",
                    ONCE,
                    "SELECT recipient, sum(copies) FROM mails GROUP BY recipient HAVING sum(copies) > 1",
                ),
                promise::check("worker-survives", NOT_GIVEN_UP, When::Finally, |view| {
                    let ended = view.state().processes.values().any(|process| !process.is_alive());
                    let waits = "SELECT job FROM queue_jobs WHERE status IN ('waiting', 'taken')";
                    match view.query(waits) {
                        Ok(rows) if ended || !rows.rows.is_empty() => {
                            let jobs: Vec<String> = promise::texts(&rows).iter().map(|job| job.to_string()).collect();
                            Err((format!("the worker is gone; {} jobs wait", jobs.len()), jobs))
                        }
                        Ok(_) => Ok(()),
                        Err(error) => Err((format!("jobs can't be read: {error}"), Vec::new())),
                    }
                }),
            ],
            [
                ("mails", "SELECT recipient, content, copies FROM mails"),
                ("jobs", "SELECT job, status FROM queue_jobs"),
            ],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Blank {
    Greeted,
    NotSent,
    Throws,
}

/// Takes quotes and mails them, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    blank: Blank,
    sets_aside: bool,
    early: bool,
    keyed: bool,
}

impl Story for Worker {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("waiting for a quote");
        let Ok(job @ Answer::Ok(_)) = scene.call(Jobs::take(JOBS))? else {
            return scene.again();
        };
        let [quote, name, address] = ["job", "name", "address"].map(|key| match job.get(key) {
            Some(Value::Text(text)) => text.clone(),
            _ => Arc::from(""),
        });
        if self.early {
            scene.at("acknowledging");
            scene.call(Jobs::ack(JOBS, &quote))?.ok();
        }
        let greeting = match (name.split_whitespace().next(), self.blank) {
            (Some(first), _) => format!("Dear {first}"),
            (None, Blank::Greeted) => "Good day".to_owned(),
            (None, Blank::NotSent) => {
                scene.call(Jobs::ack(JOBS, &quote))?.ok();
                return scene.again();
            }
            (None, Blank::Throws) => {
                scene.at("thrown");
                return Ok(());
            }
        };
        scene.at("sending");
        let mail = match self.keyed {
            true => send_once(&quote, &address, &format!("Your quote {quote}"), &greeting),
            false => send(&address, &format!("Your quote {quote}"), &greeting),
        };
        let sent = scene.call(mail)?;
        scene.at("acknowledging");
        match sent {
            Ok(Answer::Ok(_)) if !self.early => scene.call(Jobs::ack(JOBS, &quote))?.ok(),
            Ok(Answer::Ok(_)) => None,
            Ok(Answer::Refused { .. }) | Err(_) if self.early => None,
            Ok(Answer::Refused { .. }) if !self.sets_aside => return self.stuck(scene),
            Ok(Answer::Refused { .. }) | Err(_) => scene.call(Jobs::fail(JOBS, &quote))?.ok(),
        };
        scene.again()
    }
}

impl Worker {
    /// Tries the same mail for ever; everything behind it waits. Shown as a worker that is gone.
    fn stuck(&self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("stuck on one mail");
        Ok(())
    }
}
