//! The provider behind its API, as pure data: a request and a moment in, a response, its fate and the webhooks out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};

use super::answer::response_of;
use super::faults::{Fates, Fault, Plan};
use super::request::{Asked, call_of};
use crate::machine::Pid;
use crate::machine::service::Answer;
use crate::world::provider::{Provider, Settings, Webhooks};
use crate::world::service::Service as _;

/// The provider, its fault plan, and how many requests it saw.
#[derive(Clone, Debug)]
pub struct Desk {
    provider: Provider,
    plan: Plan,
    requests: u64,
    counts: BTreeMap<Arc<str>, u32>,
    in_use: BTreeSet<String>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The call's operation and which of that operation it is; none of a request that was refused unread.
    pub call: Option<(Arc<str>, u32)>,
    /// The response, whatever its fate.
    pub response: Response<String>,
    /// Whether the response goes out.
    pub fate: Fate,
    /// What is to be sent, in this order.
    pub webhooks: Vec<Webhook>,
    /// Whether that comes before the response.
    pub webhook_first: bool,
    /// The key that is in use until the response goes out: see [`Desk::release`].
    pub holds: Option<String>,
    /// What the plan had for it.
    pub faults: Vec<Fault>,
}

/// Whether a response goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does.
    Answered,
    /// The connection closes instead.
    Lost,
    /// Nothing comes.
    Silence,
}

/// An event that is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The event's id, the same in every delivery.
    pub id: Arc<str>,
    /// Its type.
    pub kind: Arc<str>,
    /// The body: the event in JSON.
    pub body: Arc<str>,
}

impl Desk {
    /// A provider that knows nothing yet. Webhooks of these types are made (`*` for all).
    pub fn new(plan: Plan, webhooks: &[Arc<str>], api_version: Option<Arc<str>>) -> Desk {
        let webhooks = (!webhooks.is_empty()).then(|| Webhooks {
            types: webhooks.to_vec(),
            ..Webhooks::to("webhook")
        });
        Desk {
            provider: Provider::new(Settings {
                webhooks,
                objects: true,
                api_version,
                ..Settings::default()
            }),
            plan,
            requests: 0,
            counts: BTreeMap::new(),
            in_use: BTreeSet::new(),
        }
    }

    /// Takes a request at a moment, in microseconds since 1970, which must not go back.
    pub fn take(&mut self, request: &Request<Bytes>, now: i64) -> Taken {
        self.requests += 1;
        let mut taken = match call_of(request) {
            Ok(asked) => self.answer(&asked, now),
            Err(response) => Taken {
                call: None,
                response,
                fate: Fate::Answered,
                webhooks: Vec::new(),
                webhook_first: false,
                holds: None,
                faults: Vec::new(),
            },
        };
        let mut set = |name: &'static str, value: Option<HeaderValue>| {
            if let Some(value) = value {
                taken.response.headers_mut().insert(name, value);
            }
        };
        set("request-id", format!("req_{}", self.requests).parse().ok());
        for echoed in ["idempotency-key", "stripe-version"] {
            set(echoed, request.headers().get(echoed).cloned());
        }
        taken
    }

    /// The response to a request that holds this key goes out, or would if nobody had lost it: from now on the key gives what it gave.
    pub fn release(&mut self, key: &str) {
        self.in_use.remove(key);
    }

    fn answer(&mut self, asked: &Asked, now: i64) -> Taken {
        let operation = asked.call.operation.clone();
        let count = self.counts.entry(operation.clone()).or_default();
        *count += 1;
        let number = *count;
        let Fates { answer, webhooks } = self.plan.fates(&operation, number);
        let known = self.provider.keeps(&asked.call, now);
        let (answered, replayed, sent) = self.carry_out(asked, answer, now);
        let holds = asked
            .key
            .clone()
            .filter(|_| !known && self.provider.keeps(&asked.call, now));
        self.in_use.extend(holds.clone());
        let mut response = response_of(asked, &answered);
        let headers = response.headers_mut();
        if replayed {
            headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
        }
        // The key would give the failure again.
        if asked.key.is_some()
            && matches!(&answered, Answer::Refused { status: 500, .. })
            && answer != Some(Fault::FailsBefore)
        {
            headers.insert("stripe-should-retry", HeaderValue::from_static("false"));
        }
        Taken {
            call: Some((operation, number)),
            response,
            fate: match answer {
                Some(Fault::LostRequest | Fault::LostReply) => Fate::Lost,
                Some(Fault::Timeout) => Fate::Silence,
                _ => Fate::Answered,
            },
            webhooks: arranged(sent, webhooks),
            webhook_first: webhooks == Some(Fault::WebhookFirst),
            holds,
            faults: answer.into_iter().chain(webhooks).collect(),
        }
    }

    /// The answer, whether it is one that was kept, and the webhooks in their order.
    fn carry_out(&mut self, asked: &Asked, fault: Option<Fault>, now: i64) -> (Answer, bool, Vec<Webhook>) {
        let failed = |status, message: &str| Answer::refused(status, "api_error", message);
        match fault {
            Some(Fault::LostRequest) => return (failed(503, "The request was lost."), false, Vec::new()),
            Some(Fault::Outage) => return (failed(503, "The provider can't be reached."), false, Vec::new()),
            Some(Fault::FailsBefore) => {
                return (
                    failed(500, "An error occurred before the request began."),
                    false,
                    Vec::new(),
                );
            }
            _ => {}
        }
        let kept = self.provider.keeps(&asked.call, now);
        let answer = self.provider.call(Pid::root(0), &asked.call, now);
        let mut answer = answer.unwrap_or_else(|none| failed(503, &none.to_string()));
        let of_the_key = |answer: &Answer| {
            let codes = ["idempotency_error", "idempotency_key_in_use"];
            matches!(answer, Answer::Refused { code, .. } if codes.contains(&&**code))
        };
        let mut replayed = kept && !of_the_key(&answer);
        if replayed && asked.key.as_ref().is_some_and(|key| self.in_use.contains(key)) {
            replayed = false;
            let message = "There is currently another in-progress request using this key";
            answer = Answer::refused(409, "idempotency_key_in_use", message);
        }
        if fault == Some(Fault::FailsAfter) && !kept {
            answer = failed(500, "An error occurred after the request was carried out.");
            self.provider.keep_instead(&asked.call, &answer);
        }
        let due = self.provider.deliveries();
        let webhooks = due.iter().filter_map(|due| {
            let id = due.body.get("id")?;
            let event = self.provider.events().find(|event| event.id == *id)?;
            Some(Webhook {
                id: id.clone(),
                kind: event.kind.clone(),
                body: event.whole.clone()?,
            })
        });
        (answer, replayed, webhooks.collect())
    }
}

fn arranged(webhooks: Vec<Webhook>, fault: Option<Fault>) -> Vec<Webhook> {
    match fault {
        Some(Fault::LostWebhook) => Vec::new(),
        Some(Fault::DuplicateWebhook) => webhooks
            .iter()
            .flat_map(|webhook| [webhook.clone(), webhook.clone()])
            .collect(),
        Some(Fault::ReorderWebhooks) => webhooks.into_iter().rev().collect(),
        _ => webhooks,
    }
}
