//! A request to pay an order.

use std::sync::Arc;

use super::super::client::IN_PROGRESS;
use super::super::flow::{Halt, Scene, Story, Told, caught, is_transient};
use super::{AMOUNT, Admission, Design, ProviderKey, Stored};
use crate::machine::service::{Answer, Call};
use crate::machine::{Request, Response, Sql};
use crate::value::Value;
use crate::world::provider::{Api, keyed};

/// One request being handled.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pay {
    order: Arc<str>,
    method: Arc<str>,
    /// What tells this request from every other, where the document takes the time.
    moment: Arc<str>,
    design: Design,
}

impl Story for Pay {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        let answer = match caught(self.handle(scene))? {
            Ok(answer) => answer,
            Err(error) if is_transient(&error) => Response::new(503, "try again"),
            Err(error) => Response::new(500, format!("error {}", error.code)),
        };
        scene.at("responding");
        scene.respond(answer.status, answer.body)
    }
}

/// What became of a request to be let in.
enum Let {
    /// In, as this attempt of the order.
    In(i64),
    /// Not in; the answer.
    Out(Response),
}

impl Pay {
    pub(super) fn new(request: &Request, design: Design) -> Self {
        let field = |name| request.body.get(name).cloned().unwrap_or_default();
        let header = |name| request.headers.get(name).cloned().unwrap_or_default();
        Pay {
            order: field("order"),
            method: field("method"),
            moment: format!("{} {}", header("client"), header("attempt")).into(),
            design,
        }
    }

    fn handle(&self, scene: &mut Scene<'_>) -> Result<Response, Halt> {
        scene.at("admitting");
        let attempt = match self.admit(scene)? {
            Let::In(attempt) => attempt,
            Let::Out(answer) => return Ok(answer),
        };
        scene.at("calling the provider");
        match scene.call(self.charge(attempt))? {
            Ok(answer @ Answer::Ok(_)) => {
                let intent = answer.get("id").cloned().unwrap_or_default();
                scene.at("storing the intent");
                self.store(scene, intent)?;
                Ok(Response::new(200, "paid"))
            }
            Ok(Answer::Refused { status: 402, .. }) => {
                scene.at("noting the refusal");
                self.refused(scene, attempt)?;
                Ok(Response::new(402, "card declined"))
            }
            Ok(Answer::Refused { .. }) => Ok(Response::new(409, IN_PROGRESS)),
            Err(_) => {
                if self.design.fails_unknown {
                    scene.at("marking as failed");
                    let mark = Sql::new("UPDATE orders SET status = 'payment_failed' WHERE id = $1");
                    scene.sql(mark.bind(self.order()))??;
                }
                Ok(Response::new(503, "payment not confirmed, try again"))
            }
        }
    }

    fn admit(&self, scene: &mut Scene<'_>) -> Result<Let, Halt> {
        match self.design.admission {
            Admission::ConditionalUpdate => self.admit_by_update(scene),
            Admission::CheckThenUpdate => {
                let select = Sql::new("SELECT status FROM orders WHERE id = $1");
                let found = scene.sql(select.bind(self.order()))??;
                if found.first() != Some(&Value::text("payment_pending")) {
                    return Ok(Let::Out(Response::new(409, "order not in a valid state for payment")));
                }
                let update = Sql::new("UPDATE orders SET status = 'payment_processing', method = $2 WHERE id = $1");
                scene.sql(update.bind(self.order()).bind(Value::Text(self.method.clone())))??;
                Ok(Let::In(1))
            }
            Admission::None => {
                scene.sql(Sql::new("SELECT status FROM orders WHERE id = $1").bind(self.order()))??;
                Ok(Let::In(1))
            }
        }
    }

    fn admit_by_update(&self, scene: &mut Scene<'_>) -> Result<Let, Halt> {
        let update = "UPDATE orders SET status = 'payment_processing', method = $2, attempt = attempt + 1 \
                      WHERE id = $1 AND status IN ('payment_pending', 'payment_failed') RETURNING attempt";
        let admitted = scene.sql(
            Sql::new(update)
                .bind(self.order())
                .bind(Value::Text(self.method.clone())),
        )??;
        if let Some(Value::Int(attempt)) = admitted.first() {
            return Ok(Let::In(*attempt));
        }
        scene.at("looking at the order");
        let select = Sql::new("SELECT status, method, attempt FROM orders WHERE id = $1");
        let found = scene.sql(select.bind(self.order()))??;
        Ok(match found.rows.first().map(Vec::as_slice) {
            Some([Value::Text(status), Value::Text(method), Value::Int(attempt)])
                if &**status == "payment_processing" && *method == self.method =>
            {
                Let::In(*attempt)
            }
            Some([Value::Text(status), Value::Text(method), _])
                if matches!(&**status, "payment_submitted" | "payment_complete") && *method == self.method =>
            {
                Let::Out(Response::new(200, "paid"))
            }
            Some([Value::Text(status), ..]) if &**status == "payment_complete" => {
                Let::Out(Response::new(409, "already paid"))
            }
            Some(_) => Let::Out(Response::new(409, IN_PROGRESS)),
            None => Let::Out(Response::new(404, "no such order")),
        })
    }

    fn charge(&self, attempt: i64) -> Call {
        let call = Api::pay(&self.order, AMOUNT, &self.method);
        match self.design.key {
            ProviderKey::PerOrder => keyed(call, &format!("{}-{attempt}", self.order)),
            ProviderKey::PerAttempt => keyed(call, &format!("{} {}", self.order, self.moment)),
            ProviderKey::None => call,
        }
    }

    fn store(&self, scene: &mut Scene<'_>, intent: Value) -> Result<(), Halt> {
        let text = match self.design.stored {
            Stored::ByWhoeverComesFirst => {
                "UPDATE orders SET intent = $2, status = CASE WHEN status = 'payment_processing' \
                 THEN 'payment_submitted' ELSE status END WHERE id = $1"
            }
            Stored::IfStillProcessing => {
                "UPDATE orders SET intent = $2, status = 'payment_submitted' \
                 WHERE id = $1 AND status = 'payment_processing'"
            }
            Stored::WithAStatus => "UPDATE orders SET intent = $2, status = 'processing' WHERE id = $1",
        };
        scene.sql(Sql::new(text).bind(self.order()).bind(intent))??;
        Ok(())
    }

    /// The provider has refused for good: the next attempt is a new one.
    fn refused(&self, scene: &mut Scene<'_>, attempt: i64) -> Result<(), Halt> {
        let update = match self.design.admission {
            Admission::ConditionalUpdate => Sql::new(
                "UPDATE orders SET status = 'payment_failed' \
                 WHERE id = $1 AND status = 'payment_processing' AND attempt = $2",
            )
            .bind(self.order())
            .bind(attempt),
            Admission::CheckThenUpdate | Admission::None => {
                Sql::new("UPDATE orders SET status = 'payment_failed' WHERE id = $1").bind(self.order())
            }
        };
        scene.sql(update)??;
        Ok(())
    }

    fn order(&self) -> Value {
        Value::Text(self.order.clone())
    }
}
