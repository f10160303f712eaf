//! Whole objects: customers, intents, charges, refunds and events as the provider's HTTP API tells them, in JSON.
//!
//! The machines of the model need an id and a status; a client over HTTP reads fields. So a provider with [`Settings::objects`](super::Settings::objects) keeps, beside
//! the state that decides, what a client said (`details`), when, and in which order. Fields that say nothing here (fees, mandates, addresses of the bank) are null or absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::intent::{Charge, Intent, IntentStatus};
use super::{Event, Provider, refused, text};
use crate::machine::Pid;
use crate::machine::service::{Answer, Call};
use crate::value::Value;

/// What is known of objects beside their state. Empty unless whole objects are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Objects {
    pub(super) known: BTreeMap<Arc<str>, Known>,
    /// The key of the request that is being carried out.
    key: Option<Arc<str>>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// Its place in the order in which objects were made.
    pub(super) place: usize,
    /// When, in seconds.
    created: i64,
    /// What the client said of it, as a JSON object.
    details: Arc<str>,
}

/// An id's letters of a key's: what can't stand in a path becomes `_`.
pub(super) fn plain(key: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
    key.chars()
        .map(|letter| if plain(letter) { letter } else { '_' })
        .collect()
}

impl Provider {
    /// Carries out a call, and has its answer tell whole objects.
    pub(super) fn execute_whole(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        let details = details_of(&text(call, "details"));
        if let Some(Json::String(customer)) = details.get("customer")
            && !self.customers.contains_key(&**customer)
        {
            return refused(400, "resource_missing", &format!("No such customer: '{customer}'"));
        }
        self.objects.key = call.arguments.get("idempotency_key").map(|key| key.to_string().into());
        let operation = &*call.operation;
        let answer = if let Some(kind) = operation.strip_prefix("list_") {
            self.page(kind, call)
        } else if let Some(kind) = operation.strip_prefix("retrieve_") {
            self.retrieve(kind, call)
        } else if operation == "update_customer" || operation == "update_intent" {
            self.update(call)
        } else {
            self.carry_out(caller, call, now)
        };
        self.objects.key = None;
        self.with_object(call, answer)
    }

    fn retrieve(&self, kind: &str, call: &Call) -> Answer {
        let id = text(call, kind);
        match self.objects.known.contains_key(&id) && id.starts_with(prefix(kind)) {
            true => Answer::one("id", Value::Text(id)),
            false => no_such(kind, &id),
        }
    }

    /// What a client says of an object later: new metadata join the old, an empty value takes one away, and any other field replaces the old one.
    fn update(&mut self, call: &Call) -> Answer {
        let kind = call.operation.strip_prefix("update_").unwrap_or_default();
        let id = text(call, kind);
        let open = match kind {
            "customer" => self.customers.contains_key(&id),
            _ => self.intents.contains_key(&id),
        };
        let Some(known) = self.objects.known.get_mut(&id).filter(|_| open) else {
            return no_such(kind, &id);
        };
        let mut details = details_of(&known.details);
        for (name, value) in details_of(&text(call, "details")) {
            match (details.get_mut(&name), value) {
                (Some(Json::Object(old)), Json::Object(new)) => {
                    old.extend(new);
                    old.retain(|_, value| value.as_str() != Some(""));
                }
                (_, value) => {
                    details.insert(name, value);
                }
            }
        }
        known.details = Json::Object(details).to_string().into();
        Answer::one("id", Value::Text(id))
    }

    /// The answer, with the object that it names or is about.
    fn with_object(&self, call: &Call, answer: Answer) -> Answer {
        match answer {
            Answer::Ok(mut values) => {
                let id = values
                    .iter()
                    .find(|(name, _)| &**name == "id")
                    .map(|(_, id)| id.to_string());
                let deleted = || match &*call.operation {
                    "delete_customer" => Some(text(call, "customer").to_string()),
                    _ => None,
                };
                if let Some(mut object) = id.or_else(deleted).and_then(|id| self.tell(&id)) {
                    self.expand(&mut object, &text(call, "expand"));
                    values.push(("object".into(), Value::text(object.to_string())));
                }
                Answer::Ok(values)
            }
            Answer::Refused {
                status, code, message, ..
            } => {
                let named = text(call, "intent");
                let about = match (status, &*call.operation) {
                    (402, "create_intent") => self.newest("pi_"),
                    (400 | 402, _) if self.intents.contains_key(&named) => Some(named),
                    _ => None,
                };
                let about = about
                    .and_then(|id| self.tell(&id))
                    .map(|object| object.to_string().into());
                Answer::Refused {
                    status,
                    code,
                    message,
                    about,
                }
            }
        }
    }

    /// Puts objects in the place of their ids, where a client asked for that: names of fields, with commas between them.
    pub(super) fn expand(&self, object: &mut Json, fields: &str) {
        for field in fields.split(',').filter(|field| !field.is_empty()) {
            let expanded = object.get(field).and_then(Json::as_str).and_then(|id| self.tell(id));
            if let (Some(expanded), Some(place)) = (expanded, object.get_mut(field)) {
                *place = expanded;
            }
        }
    }

    /// Notes that an object came to be.
    pub(super) fn made(&mut self, id: &Arc<str>, details: &str, now: i64) {
        if !self.settings.objects {
            return;
        }
        let known = Known {
            place: self.objects.known.len(),
            created: now.div_euclid(1_000_000),
            details: details.into(),
        };
        self.objects.known.insert(id.clone(), known);
    }

    /// Whether there is or was an object of this id, so that nothing else may have it.
    pub(super) fn is_known(&self, id: &str) -> bool {
        self.objects.known.contains_key(id)
    }

    fn newest(&self, prefix: &str) -> Option<Arc<str>> {
        let of_kind = self.objects.known.iter().filter(|(id, _)| id.starts_with(prefix));
        of_kind.max_by_key(|(_, known)| known.place).map(|(id, _)| id.clone())
    }

    /// The charge that was made last for an intent.
    pub(super) fn latest_charge(&self, intent: &str) -> Option<Arc<str>> {
        let place = |id: &Arc<str>| self.objects.known.get(id).map(|known| known.place);
        let of_intent = self.charges.iter().filter(|(_, charge)| *charge.intent == *intent);
        of_intent.map(|(id, _)| id).max_by_key(|id| place(id)).cloned()
    }

    /// An object as the API tells it now.
    pub(super) fn tell(&self, id: &str) -> Option<Json> {
        let known = self.objects.known.get(id)?;
        let details = details_of(&known.details);
        let mut object = if id.starts_with("cus_") {
            match self.customers.contains_key(id) {
                true => customer(&details),
                false => return Some(json!({ "id": id, "object": "customer", "deleted": true })),
            }
        } else if let Some(intent) = self.intents.get(id) {
            self.intent(id, intent, &details)
        } else if let Some(charge) = self.charges.get(id) {
            self.charge(charge)
        } else if let Some((intent, amount)) = self.refunds.get(id) {
            self.refund_of(intent, *amount, &details)
        } else {
            let event = self.events.get(&(known.created, id.into()))?;
            return serde_json::from_str(event.whole.as_deref()?).ok();
        };
        if let Some(fields) = object.as_object_mut() {
            fields.insert("id".into(), id.into());
            fields.insert("created".into(), known.created.into());
            fields.insert("livemode".into(), false.into());
            fields
                .entry("metadata")
                .or_insert_with(|| details.get("metadata").cloned().unwrap_or(json!({})));
        }
        Some(object)
    }

    fn intent(&self, id: &str, intent: &Intent, details: &Map<String, Json>) -> Json {
        let charges = || {
            self.charges
                .values()
                .filter(|charge| *charge.intent == *id && charge.paid)
        };
        let capturable = match intent.status {
            IntentStatus::RequiresCapture => intent.amount,
            _ => 0,
        };
        let received: i64 = charges()
            .filter(|charge| charge.captured)
            .map(|charge| charge.amount)
            .sum();
        let declined = intent.declines > 0 && intent.status == IntentStatus::RequiresPaymentMethod;
        let mut object = json!({
            "object": "payment_intent",
            "amount": intent.amount,
            "amount_capturable": capturable,
            "amount_received": received,
            "capture_method": if intent.manual_capture { "manual" } else { "automatic" },
            "client_secret": format!("{id}_secret_deadheat"),
            "confirmation_method": "automatic",
            "last_payment_error": declined.then(|| json!({
                "type": "card_error", "code": "card_declined", "decline_code": "generic_decline", "message": "Your card was declined.",
            })),
            "latest_charge": self.latest_charge(id).as_deref(),
            "next_action": (intent.status == IntentStatus::RequiresAction)
                .then(|| json!({ "type": "use_stripe_sdk", "use_stripe_sdk": {} })),
            "payment_method": intent.method.as_deref(),
            "payment_method_types": details.get("payment_method_types").cloned().unwrap_or(json!(["card"])),
            "status": intent.status.name(),
        });
        echo(
            &mut object,
            details,
            &[
                "currency",
                "customer",
                "description",
                "receipt_email",
                "setup_future_usage",
            ],
        );
        echo(
            &mut object,
            details,
            &[
                "shipping",
                "statement_descriptor",
                "cancellation_reason",
                "automatic_payment_methods",
            ],
        );
        object
    }

    fn charge(&self, charge: &Charge) -> Json {
        let details = self.details(&charge.intent);
        let method = self
            .intents
            .get(&charge.intent)
            .and_then(|intent| intent.method.clone());
        let failure = (!charge.paid).then_some("card_declined");
        let mut object = json!({
            "object": "charge",
            "amount": charge.amount,
            "amount_captured": if charge.captured { charge.amount } else { 0 },
            "amount_refunded": charge.refunded,
            "billing_details": { "address": null, "email": null, "name": null, "phone": null },
            "captured": charge.captured,
            "disputed": false,
            "failure_code": failure,
            "failure_message": failure.map(|_| "Your card was declined."),
            "metadata": details.get("metadata").cloned().unwrap_or(json!({})),
            "paid": charge.paid,
            "payment_intent": &*charge.intent,
            "payment_method": method.as_deref(),
            "refunded": charge.refunded >= charge.amount,
            "status": if charge.paid { "succeeded" } else { "failed" },
        });
        echo(
            &mut object,
            &details,
            &["currency", "customer", "description", "receipt_email"],
        );
        object
    }

    fn refund_of(&self, intent: &Arc<str>, amount: i64, details: &Map<String, Json>) -> Json {
        let captured = self
            .charges
            .iter()
            .find(|(_, charge)| charge.intent == *intent && charge.captured);
        let mut object = json!({
            "object": "refund",
            "amount": amount,
            "charge": captured.map(|(id, _)| &**id),
            "currency": self.details(intent).get("currency").cloned(),
            "payment_intent": &**intent,
            "status": "succeeded",
        });
        echo(&mut object, details, &["reason"]);
        object
    }

    /// An event as it is told and sent: the object that it is about is the one of now, and stays that.
    pub(super) fn whole_event(&self, event: &Event, about: &str) -> Option<Arc<str>> {
        if !self.settings.objects {
            return None;
        }
        let whole = json!({
            "id": &*event.id,
            "object": "event",
            "api_version": self.settings.api_version.as_deref(),
            "created": event.created,
            "data": { "object": self.tell(about) },
            "livemode": false,
            "pending_webhooks": i32::from(self.is_sent(&event.kind)),
            "request": { "id": null, "idempotency_key": self.objects.key.as_deref() },
            "type": &*event.kind,
        });
        Some(whole.to_string().into())
    }

    fn details(&self, id: &str) -> Map<String, Json> {
        let known = self.objects.known.get(id);
        known.map(|known| details_of(&known.details)).unwrap_or_default()
    }
}

fn customer(details: &Map<String, Json>) -> Json {
    let mut object = json!({
        "object": "customer",
        "balance": 0,
        "default_source": null,
        "delinquent": false,
    });
    echo(
        &mut object,
        details,
        &["address", "description", "email", "name", "phone", "shipping"],
    );
    object
}

/// Fields as the client gave them, null where it gave none.
fn echo(object: &mut Json, details: &Map<String, Json>, names: &[&str]) {
    for name in names {
        object[*name] = details.get(*name).cloned().unwrap_or_default();
    }
}

fn details_of(text: &str) -> Map<String, Json> {
    serde_json::from_str(text).unwrap_or_default()
}

/// How ids of a kind begin.
pub(super) fn prefix(kind: &str) -> &'static str {
    match kind.trim_end_matches('s') {
        "customer" => "cus_",
        "intent" => "pi_",
        "charge" => "ch_",
        "refund" => "re_",
        _ => "evt_",
    }
}

pub(super) fn no_such(kind: &str, id: &str) -> Answer {
    let kind = match kind.trim_end_matches('s') {
        "intent" => "payment_intent",
        kind => kind,
    };
    refused(404, "resource_missing", &format!("No such {kind}: '{id}'"))
}
