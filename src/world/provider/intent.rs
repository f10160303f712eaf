//! Intents, charges and refunds: the states of a payment.

use std::sync::Arc;

use super::event::{FAILED, SUCCEEDED};
use super::{Provider, flag, missing, number, refused, text};
use crate::machine::Pid;
use crate::machine::service::{Answer, Call};
use crate::value::Value;

/// How often an intent may be declined before it is cancelled. The provider does not publish its number.
const CONFIRMATION_LIMIT: u8 = 10;

/// An intent to pay.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intent {
    /// What of ours it is for: an order, a policy.
    pub reference: Arc<str>,
    /// In the smallest unit of the currency.
    pub amount: i64,
    /// Where it stands.
    pub status: IntentStatus,
    /// The payment method, once given.
    pub method: Option<Arc<str>>,
    /// Whether an approved amount is only authorised.
    pub manual_capture: bool,
    /// How often it was declined.
    pub declines: u8,
}

/// Where an intent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IntentStatus {
    /// No method, or the last one was declined.
    RequiresPaymentMethod,
    /// Has a method.
    RequiresConfirmation,
    /// The customer must authenticate.
    RequiresAction,
    /// A slow method was charged and is not settled.
    Processing,
    /// Authorised, not captured.
    RequiresCapture,
    /// Paid; final.
    Succeeded,
    /// Given up; final.
    Canceled,
}

impl IntentStatus {
    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            IntentStatus::RequiresPaymentMethod => "requires_payment_method",
            IntentStatus::RequiresConfirmation => "requires_confirmation",
            IntentStatus::RequiresAction => "requires_action",
            IntentStatus::Processing => "processing",
            IntentStatus::RequiresCapture => "requires_capture",
            IntentStatus::Succeeded => "succeeded",
            IntentStatus::Canceled => "canceled",
        }
    }
}

/// Money taken, or tried to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Charge {
    /// Its intent.
    pub intent: Arc<str>,
    /// The intent's reference.
    pub reference: Arc<str>,
    /// How much.
    pub amount: i64,
    /// Whether it was approved.
    pub paid: bool,
    /// Whether the money was taken, not only authorised.
    pub captured: bool,
    /// How much of it was given back.
    pub refunded: i64,
}

/// What a payment method does when it is confirmed, by its name, as the provider's test cards have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Any other name: approved.
    Approved,
    /// `pm_declined`, and what begins with `pm_card_chargeDeclined` or `pm_card_visa_chargeDeclined`.
    Declined,
    /// `pm_3ds`, `pm_card_authenticationRequired` and what begins with `pm_card_threeDSecure`: the customer must authenticate.
    Authenticated,
    /// `pm_slow`, and what begins with `pm_usBankAccount`: settles later.
    Slow,
}

impl Method {
    /// What a method of this name does.
    pub fn of(name: &str) -> Self {
        match name {
            "pm_declined" => Method::Declined,
            "pm_3ds" | "pm_card_authenticationRequired" => Method::Authenticated,
            "pm_slow" => Method::Slow,
            name if ["pm_card_chargeDeclined", "pm_card_visa_chargeDeclined"]
                .iter()
                .any(|start| name.starts_with(start)) =>
            {
                Method::Declined
            }
            name if name.starts_with("pm_card_threeDSecure") => Method::Authenticated,
            name if name.starts_with("pm_usBankAccount") => Method::Slow,
            _ => Method::Approved,
        }
    }
}

impl Provider {
    pub(super) fn create_intent(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        let amount = match number(call, "amount") {
            Ok(Some(amount)) if amount > 0 => amount,
            Ok(_) => return refused(400, "parameter_missing", "Missing required param: amount."),
            Err(answer) => return answer,
        };
        let id = self.name("pi", caller, call, |provider, id| provider.intents.contains_key(id));
        let method = Some(text(call, "method")).filter(|method| !method.is_empty());
        let intent = Intent {
            reference: text(call, "reference"),
            amount,
            status: match method {
                Some(_) => IntentStatus::RequiresConfirmation,
                None => IntentStatus::RequiresPaymentMethod,
            },
            method,
            manual_capture: &*text(call, "capture_method") == "manual",
            declines: 0,
        };
        self.intents.insert(id.clone(), intent);
        self.made(&id, &text(call, "details"), now);
        self.log("payment_intent.created", &id, now);
        match flag(call, "confirm") {
            true => self.confirm_with(&id, None, now),
            false => self.told(&id),
        }
    }

    pub(super) fn confirm(&mut self, call: &Call, now: i64) -> Answer {
        let method = Some(text(call, "method")).filter(|method| !method.is_empty());
        self.confirm_with(&text(call, "intent"), method, now)
    }

    fn confirm_with(&mut self, id: &Arc<str>, method: Option<Arc<str>>, now: i64) -> Answer {
        let Some(intent) = self.intents.get_mut(id) else {
            return missing("payment_intent");
        };
        if !matches!(
            intent.status,
            IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation
        ) {
            return unexpected("confirm", intent.status);
        }
        let Some(method) = method.or_else(|| intent.method.clone()) else {
            return unexpected("confirm", intent.status);
        };
        intent.method = Some(method.clone());
        match Method::of(&method) {
            Method::Approved => self.approve(id, now),
            Method::Declined => return self.decline(id, now),
            Method::Authenticated => {
                intent.status = IntentStatus::RequiresAction;
                self.log("payment_intent.requires_action", id, now);
            }
            Method::Slow => {
                intent.status = IntentStatus::Processing;
                self.log("payment_intent.processing", id, now);
            }
        }
        self.told(id)
    }

    fn approve(&mut self, id: &Arc<str>, now: i64) {
        let Some(intent) = self.intents.get_mut(id) else { return };
        let captured = !intent.manual_capture;
        intent.status = match captured {
            true => IntentStatus::Succeeded,
            false => IntentStatus::RequiresCapture,
        };
        let charge = intent.charge(id, true, captured);
        self.add_charge(id, charge, now);
        match captured {
            true => self.succeeded(id, now),
            false => self.log("payment_intent.amount_capturable_updated", id, now),
        }
    }

    fn succeeded(&mut self, id: &Arc<str>, now: i64) {
        self.log(SUCCEEDED, id, now);
        self.log("charge.succeeded", id, now);
    }

    fn decline(&mut self, id: &Arc<str>, now: i64) -> Answer {
        if let Some(intent) = self.intents.get_mut(id) {
            intent.declines += 1;
            intent.method = None;
            intent.status = match intent.declines {
                CONFIRMATION_LIMIT.. => IntentStatus::Canceled,
                _ => IntentStatus::RequiresPaymentMethod,
            };
            let canceled = intent.status == IntentStatus::Canceled;
            let charge = intent.charge(id, false, false);
            self.add_charge(id, charge, now);
            self.log(FAILED, id, now);
            if self.settings.objects {
                self.log("charge.failed", id, now);
            }
            if canceled {
                self.log("payment_intent.canceled", id, now);
            }
        }
        refused(402, "card_declined", "Your card was declined.")
    }

    fn add_charge(&mut self, intent: &Arc<str>, charge: Charge, now: i64) {
        let stem = intent.strip_prefix("pi_").unwrap_or(intent);
        let count = self.charges.values().filter(|charge| charge.intent == *intent).count();
        let id: Arc<str> = format!("ch_{stem}_{}", count + 1).into();
        self.charges.insert(id.clone(), charge);
        self.made(&id, "", now);
    }

    /// The customer authenticates or does not; a slow method settles or fails.
    pub(super) fn resolve(&mut self, call: &Call, now: i64) -> Answer {
        let id = text(call, "intent");
        let Some(intent) = self.intents.get(&id) else {
            return missing("payment_intent");
        };
        match (intent.status, flag(call, "success")) {
            (IntentStatus::RequiresAction | IntentStatus::Processing, true) => {
                self.approve(&id, now);
                self.told(&id)
            }
            (IntentStatus::RequiresAction | IntentStatus::Processing, false) => self.decline(&id, now),
            (status, _) => unexpected("resolve", status),
        }
    }

    pub(super) fn capture(&mut self, call: &Call, now: i64) -> Answer {
        let id = text(call, "intent");
        let Some(intent) = self.intents.get_mut(&id) else {
            return missing("payment_intent");
        };
        if intent.status != IntentStatus::RequiresCapture {
            return unexpected("capture", intent.status);
        }
        intent.status = IntentStatus::Succeeded;
        for charge in self.charges.values_mut().filter(|charge| charge.intent == id) {
            charge.captured |= charge.paid;
        }
        self.succeeded(&id, now);
        self.told(&id)
    }

    pub(super) fn cancel(&mut self, call: &Call, now: i64) -> Answer {
        let id = text(call, "intent");
        let Some(intent) = self.intents.get_mut(&id) else {
            return missing("payment_intent");
        };
        if matches!(intent.status, IntentStatus::Succeeded | IntentStatus::Canceled) {
            return unexpected("cancel", intent.status);
        }
        intent.status = IntentStatus::Canceled;
        for charge in self
            .charges
            .values_mut()
            .filter(|charge| charge.intent == id && charge.paid)
        {
            charge.refunded = charge.amount;
        }
        self.log("payment_intent.canceled", &id, now);
        self.told(&id)
    }

    /// Gives back a charge, named or of an intent: what is left of it, or an amount.
    pub(super) fn refund(&mut self, call: &Call, now: i64) -> Answer {
        let (intent, charge) = (text(call, "intent"), text(call, "charge"));
        let amount = match number(call, "amount") {
            Ok(amount) => amount,
            Err(answer) => return answer,
        };
        let asked = |(id, found): &(&Arc<str>, &mut Charge)| match charge.is_empty() {
            true => found.intent == intent && found.captured,
            false => **id == charge && found.captured,
        };
        let Some((_, charge)) = self.charges.iter_mut().find(asked) else {
            return missing("charge");
        };
        let left = charge.amount - charge.refunded;
        if left <= 0 {
            return refused(400, "charge_already_refunded", "The charge has already been refunded.");
        }
        let amount = amount.unwrap_or(left);
        if !(1..=left).contains(&amount) {
            let message = format!("Refund amount ({amount}) is not between 1 and what is left of the charge ({left}).");
            return refused(400, "parameter_invalid_integer", &message);
        }
        charge.refunded += amount;
        let id = charge.intent.clone();
        let stem = format!("re_{}", id.strip_prefix("pi_").unwrap_or(&id));
        let numbered = (2..).map(|number| format!("{stem}_{number}"));
        let free = std::iter::once(stem.clone())
            .chain(numbered)
            .find(|id| !self.refunds.contains_key(&**id));
        let refund: Arc<str> = free.unwrap_or(stem).into();
        self.refunds.insert(refund.clone(), (id.clone(), amount));
        self.made(&refund, &text(call, "details"), now);
        self.log_whole("refund.created", &refund, &id, now);
        self.log("charge.refunded", &id, now);
        Answer::one("id", Value::Text(refund))
    }

    /// An intent as the API tells it.
    pub(super) fn told(&self, id: &str) -> Answer {
        match self.intents.get(id) {
            Some(intent) => Answer::Ok(vec![
                ("id".into(), Value::text(id)),
                ("status".into(), Value::text(intent.status.name())),
                ("reference".into(), Value::Text(intent.reference.clone())),
            ]),
            None => missing("payment_intent"),
        }
    }
}

impl Intent {
    fn charge(&self, id: &Arc<str>, paid: bool, captured: bool) -> Charge {
        Charge {
            intent: id.clone(),
            reference: self.reference.clone(),
            amount: self.amount,
            paid,
            captured,
            refunded: 0,
        }
    }
}

fn unexpected(what: &str, status: IntentStatus) -> Answer {
    refused(
        400,
        "payment_intent_unexpected_state",
        &format!(
            "You cannot {what} this PaymentIntent because it has a status of {}.",
            status.name()
        ),
    )
}
