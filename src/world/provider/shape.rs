//! The shapes of whole objects: customers, intents, charges, refunds and events as the provider's HTTP API tells them, in JSON.
//!
//! Fields that say nothing here (fees, mandates, addresses of the bank) are null or absent.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::intent::{Charge, Intent, IntentStatus};
use super::object::details_of;
use super::{Event, Provider};

impl Provider {
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
