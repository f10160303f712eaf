//! Whole objects: what is known of customers, intents, charges, refunds and events beside the state that decides, and the calls that read or change it.
//!
//! The machines of the model need an id and a status; a client over HTTP reads fields. So a provider with [`Settings::objects`](super::Settings::objects) keeps, beside
//! the state that decides, what a client said (`details`), when, and in which order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{Provider, refused, text};
use crate::machine::Pid;
use crate::machine::service::{Answer, Call};
use crate::value::Value;

/// What is known of objects beside their state. Empty unless whole objects are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Objects {
    pub(super) known: BTreeMap<Arc<str>, Known>,
    /// The key of the request that is being carried out.
    pub(super) key: Option<Arc<str>>,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Known {
    /// Its place in the order in which objects were made.
    pub(super) place: usize,
    /// When, in seconds.
    pub(super) created: i64,
    /// What the client said of it, as a JSON object.
    pub(super) details: Arc<str>,
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

pub(super) fn details_of(text: &str) -> Map<String, Json> {
    serde_json::from_str(text).unwrap_or_default()
}
