//! The provider's webhooks: received, and processed there and then or by a worker.

use std::sync::Arc;

use super::super::flow::{Halt, Scene, Story, Told, caught, is_lost, is_transient};
use super::{Design, Fulfilment, ship};
use crate::machine::service::Answer;
use crate::machine::{Request, Sql};
use crate::value::Value;
use crate::world::queue::Jobs;

/// The queue of webhooks.
pub(super) const JOBS: &str = "webhooks";

/// What a webhook is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
struct Notice {
    event: Arc<str>,
    intent: Arc<str>,
    order: Arc<str>,
    succeeded: bool,
}

/// A webhook being received.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Receive {
    notice: Notice,
    design: Design,
}

impl Receive {
    pub(super) fn new(request: &Request, design: Design) -> Self {
        let field = |name| request.body.get(name).cloned().unwrap_or_default();
        Receive {
            notice: Notice {
                event: field("id"),
                intent: field("intent"),
                order: field("reference"),
                succeeded: &*field("type") == "payment_intent.succeeded",
            },
            design,
        }
    }
}

impl Story for Receive {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if self.design.queued {
            scene.at("queueing");
            let notice = &self.notice;
            let payload = [
                ("intent", notice.intent.clone()),
                ("order", notice.order.clone()),
                ("succeeded", if notice.succeeded { "yes" } else { "no" }.into()),
            ];
            return match scene.call(Jobs::add_once(JOBS, &notice.event, payload))? {
                Ok(_) => scene.respond(200, "received"),
                Err(_) => scene.respond(503, "try again"),
            };
        }
        let mut work = Work::new(&self.notice, self.design);
        match caught(work.process(scene))? {
            Ok(Done::Processed) => {
                work.after_commit(scene)?;
                scene.at("acknowledging");
                scene.respond(200, "processed")
            }
            Ok(Done::NotFound) => scene.respond(404, "no order for this intent"),
            Err(error) => {
                work.give_up(scene, is_lost(&error))?;
                scene.respond(if is_transient(&error) { 503 } else { 500 }, "try again")
            }
        }
    }
}

/// Processes queued webhooks, one after the other, for ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) design: Design,
}

impl Story for Worker {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("waiting for a job");
        let Ok(job @ Answer::Ok(_)) = scene.call(Jobs::take(JOBS))? else {
            return scene.again();
        };
        let field = |name: &str| match job.get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => "".into(),
        };
        let notice = Notice {
            event: field("job"),
            intent: field("intent"),
            order: field("order"),
            succeeded: &*field("succeeded") == "yes",
        };
        let mut work = Work::new(&notice, self.design);
        let done = caught(work.process(scene))?;
        match done {
            Ok(Done::Processed) => {
                work.after_commit(scene)?;
                scene.at("acknowledging the job");
                scene.call(Jobs::ack(JOBS, &notice.event))?.ok();
            }
            Ok(Done::NotFound) => drop(scene.call(Jobs::fail(JOBS, &notice.event))?),
            Err(error) => {
                work.give_up(scene, is_lost(&error))?;
                scene.call(Jobs::fail(JOBS, &notice.event))?.ok();
            }
        }
        scene.again()
    }
}

enum Done {
    Processed,
    NotFound,
}

/// The processing of one webhook.
struct Work<'a> {
    notice: &'a Notice,
    design: Design,
    in_transaction: bool,
    to_ship: bool,
}

impl<'a> Work<'a> {
    fn new(notice: &'a Notice, design: Design) -> Self {
        Work {
            notice,
            design,
            in_transaction: false,
            to_ship: false,
        }
    }

    fn process(&mut self, scene: &mut Scene<'_>) -> Result<Done, Halt> {
        scene.at("processing");
        scene.run("BEGIN")??;
        self.in_transaction = true;
        let column = if self.design.by_intent { "intent" } else { "id" };
        let value = if self.design.by_intent {
            &self.notice.intent
        } else {
            &self.notice.order
        };
        let select = Sql::new(format!(
            "SELECT status, intent FROM orders WHERE {column} = $1 FOR UPDATE"
        ));
        let found = scene.sql(select.bind(Value::Text(value.clone())))??;
        let Some([Value::Text(status), intent]) = found.rows.first().map(Vec::as_slice) else {
            self.end(scene, "ROLLBACK")?;
            return Ok(Done::NotFound);
        };
        if &**status == "payment_complete" {
            self.end(scene, "ROLLBACK")?;
            return Ok(Done::Processed);
        }
        match self.notice.succeeded {
            true => self.complete(scene)?,
            false => self.fail(scene, intent)?,
        }
        self.end(scene, "COMMIT")?;
        Ok(Done::Processed)
    }

    fn complete(&mut self, scene: &mut Scene<'_>) -> Result<(), Halt> {
        scene.at("completing");
        let update = match self.design.stored {
            super::Stored::ByWhoeverComesFirst => {
                Sql::new("UPDATE orders SET status = 'payment_complete', completed = true, intent = $2 WHERE id = $1")
                    .bind(self.order())
                    .bind(Value::Text(self.notice.intent.clone()))
            }
            _ => Sql::new("UPDATE orders SET status = 'payment_complete', completed = true WHERE id = $1")
                .bind(self.order()),
        };
        scene.sql(update)??;
        match self.design.fulfilment {
            Fulfilment::Outbox => {
                let insert = Sql::new("INSERT INTO outbox (order_id, sent) VALUES ($1, false) ON CONFLICT DO NOTHING");
                scene.sql(insert.bind(self.order()))??;
            }
            Fulfilment::QueuedInTransaction => {
                scene.at("queueing the shipment");
                scene.call(ship::job(&self.notice.order))?.ok();
            }
            Fulfilment::QueuedAfterCommit => self.to_ship = true,
        }
        Ok(())
    }

    fn fail(&self, scene: &mut Scene<'_>, intent: &Value) -> Result<(), Halt> {
        let current = *intent == Value::Text(self.notice.intent.clone());
        if self.design.applies_failures || current {
            scene.at("failing");
            let update = Sql::new("UPDATE orders SET status = 'payment_failed' WHERE id = $1");
            scene.sql(update.bind(self.order()))??;
        }
        Ok(())
    }

    fn end(&mut self, scene: &mut Scene<'_>, how: &str) -> Result<(), Halt> {
        scene.at("committing");
        scene.run(how)??;
        self.in_transaction = false;
        Ok(())
    }

    fn after_commit(&self, scene: &mut Scene<'_>) -> Told<()> {
        if self.to_ship {
            scene.at("queueing the shipment");
            scene.call(ship::job(&self.notice.order))?.ok();
        }
        Ok(())
    }

    fn give_up(&self, scene: &mut Scene<'_>, lost: bool) -> Told<()> {
        if self.in_transaction && !lost {
            scene.at("rolling back");
            scene.run("ROLLBACK")?.ok();
        }
        Ok(())
    }

    fn order(&self) -> Value {
        Value::Text(self.notice.order.clone())
    }
}
