//! The event log and its webhooks.

use std::sync::Arc;

use super::{Provider, signature};
use crate::machine::http::Fields;
use crate::machine::service::Delivery;

pub(super) const SUCCEEDED: &str = "payment_intent.succeeded";
pub(super) const FAILED: &str = "payment_intent.payment_failed";

/// Something that happened to an intent: what it was like then, never changed later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Event {
    /// Unique; the same in every delivery.
    pub id: Arc<str>,
    /// For example `payment_intent.succeeded`.
    pub kind: Arc<str>,
    /// When, in seconds.
    pub created: i64,
    /// The intent.
    pub intent: Arc<str>,
    /// The intent's reference to an object of ours.
    pub reference: Arc<str>,
    /// The intent's status then.
    pub status: Arc<str>,
    /// The intent's amount.
    pub amount: i64,
    /// The whole event as the HTTP API tells it, where [`Settings::objects`](super::Settings::objects) says so.
    pub whole: Option<Arc<str>>,
}

impl Event {
    /// The body of its webhook.
    pub fn body(&self) -> Fields {
        let fields = [
            ("id", self.id.clone()),
            ("type", self.kind.clone()),
            ("intent", self.intent.clone()),
            ("reference", self.reference.clone()),
            ("status", self.status.clone()),
            ("amount", self.amount.to_string().into()),
            ("created", self.created.to_string().into()),
        ];
        fields.into_iter().collect()
    }
}

/// A webhook's body as the bytes that are signed: JSON with the names in order.
pub fn payload(body: &Fields) -> String {
    let mut text = String::from("{");
    for (place, (name, value)) in body.iter().enumerate() {
        let (name, value) = (serde_json::Value::from(&**name), serde_json::Value::from(&**value));
        text.push_str(&format!("{}{name}:{value}", if place == 0 { "" } else { "," }));
    }
    text.push('}');
    text
}

impl Provider {
    /// Logs an event about an intent, and sends it if its type is wanted.
    pub(super) fn log(&mut self, kind: &str, intent: &Arc<str>, now: i64) {
        let Some(object) = self.intents.get(intent) else { return };
        let count = self.events.values().filter(|event| event.intent == *intent).count();
        let stem = intent.strip_prefix("pi_").unwrap_or(intent);
        let event = Event {
            id: format!("evt_{stem}_{}", count + 1).into(),
            kind: kind.into(),
            created: now.div_euclid(1_000_000),
            intent: intent.clone(),
            reference: object.reference.clone(),
            status: object.status.name().into(),
            amount: object.amount,
            whole: None,
        };
        let about = match kind.starts_with("charge.") {
            true => self.latest_charge(intent).unwrap_or_else(|| intent.clone()),
            false => intent.clone(),
        };
        self.enter(event, &about, now);
    }

    /// Logs that a customer or a refund came to be or ended: only where whole objects are told, since the model's machines know events of intents alone.
    pub(super) fn log_whole(&mut self, kind: &str, id: &Arc<str>, intent: &Arc<str>, now: i64) {
        if !self.settings.objects {
            return;
        }
        let stem = format!("evt_{id}_");
        let count = self.events.values().filter(|event| event.id.starts_with(&stem)).count();
        let intent_of = self.intents.get(intent);
        let event = Event {
            id: format!("{stem}{}", count + 1).into(),
            kind: kind.into(),
            created: now.div_euclid(1_000_000),
            intent: intent.clone(),
            reference: intent_of.map(|intent| intent.reference.clone()).unwrap_or_default(),
            status: intent_of.map(|intent| intent.status.name().into()).unwrap_or_default(),
            amount: intent_of.map(|intent| intent.amount).unwrap_or_default(),
            whole: None,
        };
        self.enter(event, id, now);
    }

    fn enter(&mut self, mut event: Event, about: &Arc<str>, now: i64) {
        event.whole = self.whole_event(&event, about);
        self.made(&event.id, "", now);
        self.send(&event);
        self.events.insert((event.created, event.id.clone()), event);
    }

    /// Whether webhooks are sent of a type of event.
    pub(super) fn is_sent(&self, kind: &str) -> bool {
        let webhooks = self.settings.webhooks.as_ref();
        webhooks.is_some_and(|webhooks| {
            webhooks
                .types
                .iter()
                .any(|wanted| matches!(&**wanted, "*") || **wanted == *kind)
        })
    }

    fn send(&mut self, event: &Event) {
        let settings = self.settings.clone();
        let Some(webhooks) = settings.webhooks.as_ref().filter(|_| self.is_sent(&event.kind)) else {
            return;
        };
        let body = event.body();
        let secrets: Vec<&str> = webhooks.secrets.iter().map(|secret| &**secret).collect();
        let mut headers = Fields::default();
        if !secrets.is_empty() {
            let signed = signature::sign(&secrets, event.created, payload(&body).as_bytes());
            headers.set("stripe-signature", signed);
        }
        for copy in 0..webhooks.copies {
            let label = match copy {
                0 => event.id.clone(),
                copy => format!("{} copy {}", event.id, copy + 1).into(),
            };
            self.due.push(Delivery {
                label,
                endpoint: webhooks.endpoint.clone(),
                headers: headers.clone(),
                body: body.clone(),
                attempts: webhooks.attempts,
            });
        }
    }
}
