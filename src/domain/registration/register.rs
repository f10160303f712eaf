//! The handler of a registration.

use std::sync::Arc;

use super::super::client::IN_PROGRESS;
use super::super::flow::{Halt, Scene, Story, Told, caught, is_lost, is_transient};
use crate::domain::Setup;
use crate::machine::{Request, Response, Rows, Sql};
use crate::value::Value;

/// The choices, as the handler branches on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Design {
    key: Key,
    check: Check,
    answers_early: bool,
    conflict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Ignored,
    CheckedThenStored,
    ClaimedFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Check {
    None,
    SelectThenInsert,
    InsertFirst,
}

impl Design {
    pub(super) fn of(setup: &Setup) -> Self {
        Design {
            key: match setup.choice("idempotency_key") {
                "ignored" => Key::Ignored,
                "checked_then_stored" => Key::CheckedThenStored,
                _ => Key::ClaimedFirst,
            },
            check: match setup.choice("duplicate_check") {
                "none" => Check::None,
                "select_then_insert" => Check::SelectThenInsert,
                _ => Check::InsertFirst,
            },
            answers_early: setup.is("answer", "before_commit"),
            conflict: setup.is("duplicate_answer", "conflict_409"),
        }
    }
}

/// One request being handled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Register {
    customer: Arc<str>,
    details: Arc<str>,
    key: Option<Arc<str>>,
    design: Design,
    in_transaction: bool,
    answered: bool,
}

impl Story for Register {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if self.key.is_none() && self.design.key != Key::Ignored {
            return scene.respond(400, "Idempotency-Key is required");
        }
        let answer = match caught(self.handle(scene))? {
            Ok(answer) => answer,
            Err(error) => {
                if self.in_transaction && !is_lost(&error) {
                    scene.at("rolling back");
                    scene.run("ROLLBACK")?.ok();
                }
                match is_transient(&error) {
                    true => Response::new(503, "try again"),
                    false => Response::new(500, format!("error {}", error.code)),
                }
            }
        };
        if self.answered {
            return Ok(());
        }
        scene.at("responding");
        scene.respond(answer.status, answer.body)
    }
}

impl Register {
    pub(super) fn new(request: &Request, design: Design) -> Self {
        let field = |name| request.body.get(name).cloned().unwrap_or_default();
        Register {
            customer: field("customer_id"),
            details: field("details"),
            key: request.headers.get("idempotency-key").cloned(),
            design,
            in_transaction: false,
            answered: false,
        }
    }

    /// The answer; it may have been given already.
    fn handle(&mut self, scene: &mut Scene<'_>) -> Result<Response, Halt> {
        if self.design.key == Key::CheckedThenStored
            && let Some(known) = self.known_answer(scene)?
        {
            return Ok(known);
        }
        scene.at("registering");
        scene.run("BEGIN")??;
        self.in_transaction = true;
        if self.design.key == Key::ClaimedFirst
            && let Some(known) = self.claim(scene)?
        {
            scene.run("ROLLBACK")??;
            return Ok(known);
        }
        let answer = self.register(scene)?;
        if self.design.key == Key::ClaimedFirst {
            scene.sql(
                Sql::new("UPDATE idempotency_keys SET status = $2, body = $3 WHERE key = $1")
                    .bind(self.key())
                    .bind(i64::from(answer.status))
                    .bind(Value::Text(answer.body.clone())),
            )??;
        }
        if self.design.answers_early {
            scene.respond(answer.status, answer.body.clone())?;
            self.answered = true;
        }
        scene.at("committing");
        scene.run("COMMIT")??;
        self.in_transaction = false;
        if self.design.key == Key::CheckedThenStored {
            self.store(scene, &answer)?;
        }
        Ok(answer)
    }

    /// Claims the key for this transaction; the answer instead, if the key is taken.
    fn claim(&self, scene: &mut Scene<'_>) -> Result<Option<Response>, Halt> {
        scene.at("claiming the key");
        let lock = Sql::new("SELECT pg_try_advisory_xact_lock($1)").bind(hash(&self.key()));
        if scene.sql(lock)??.first() != Some(&Value::Bool(true)) {
            return Ok(Some(Response::new(409, IN_PROGRESS)));
        }
        let claimed = scene.sql(
            Sql::new("INSERT INTO idempotency_keys (key, fingerprint) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING")
                .bind(self.key())
                .bind(self.fingerprint()),
        )??;
        match claimed.affected {
            0 => self.known_answer(scene),
            _ => Ok(None),
        }
    }

    /// What is stored under the key.
    fn known_answer(&self, scene: &mut Scene<'_>) -> Result<Option<Response>, Halt> {
        scene.at("looking the key up");
        let stored = scene.sql(
            Sql::new("SELECT fingerprint, status, body FROM idempotency_keys WHERE key = $1").bind(self.key()),
        )??;
        Ok(stored.rows.first().map(|row| match &row[..] {
            [Value::Text(fingerprint), ..] if **fingerprint != *self.fingerprint() => {
                Response::new(422, "Idempotency-Key was used for another request")
            }
            [_, Value::Int(status), Value::Text(body)] => {
                Response::new(u16::try_from(*status).unwrap_or(500), body.clone())
            }
            _ => Response::new(409, IN_PROGRESS),
        }))
    }

    fn store(&self, scene: &mut Scene<'_>, answer: &Response) -> Result<(), Halt> {
        scene.at("storing the answer");
        let insert = "INSERT INTO idempotency_keys (key, fingerprint, status, body) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (key) DO NOTHING";
        scene.sql(
            Sql::new(insert)
                .bind(self.key())
                .bind(self.fingerprint())
                .bind(i64::from(answer.status))
                .bind(Value::Text(answer.body.clone())),
        )??;
        Ok(())
    }

    /// Puts the customer into the table, unless it is found there.
    fn register(&self, scene: &mut Scene<'_>) -> Result<Response, Halt> {
        scene.at("registering");
        match self.design.check {
            Check::None => {
                self.insert(scene, "")?;
                Ok(self.registered())
            }
            Check::SelectThenInsert => {
                let found = self.find(scene)?;
                if found.rows.is_empty() {
                    self.insert(scene, "")?;
                    return Ok(self.registered());
                }
                Ok(self.duplicate(&found))
            }
            Check::InsertFirst => {
                if self.insert(scene, " ON CONFLICT DO NOTHING")?.affected > 0 {
                    return Ok(self.registered());
                }
                let found = self.find(scene)?;
                Ok(self.duplicate(&found))
            }
        }
    }

    fn insert(&self, scene: &mut Scene<'_>, on_conflict: &str) -> Result<Rows, Halt> {
        let text = format!("INSERT INTO customers (customer_id, details) VALUES ($1, $2){on_conflict}");
        let insert = Sql::new(text)
            .bind(Value::Text(self.customer.clone()))
            .bind(Value::Text(self.details.clone()));
        Ok(scene.sql(insert)??)
    }

    fn find(&self, scene: &mut Scene<'_>) -> Result<Rows, Halt> {
        let select = Sql::new("SELECT details FROM customers WHERE customer_id = $1");
        Ok(scene.sql(select.bind(Value::Text(self.customer.clone())))??)
    }

    fn duplicate(&self, found: &Rows) -> Response {
        let same = found.first() == Some(&Value::Text(self.details.clone()));
        if same && !self.design.conflict {
            return self.registered();
        }
        Response::new(409, format!("{} exists", self.customer))
    }

    fn registered(&self) -> Response {
        Response::new(201, format!("{} {}", self.customer, self.details))
    }

    fn key(&self) -> Value {
        Value::Text(self.key.clone().unwrap_or_default())
    }

    fn fingerprint(&self) -> String {
        format!("{}|{}", self.customer, self.details)
    }
}

/// The advisory lock's number for a key: FNV-1a, 64 bits, as any backend would take some stable hash.
fn hash(key: &Value) -> i64 {
    let Value::Text(text) = key else { return 0 };
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}
