//! Any other service: it records its calls, answers as it is told, and may send a webhook.
//!
//! What a scenario needs of a service that has no model of its own: a ledger, a bank, a partner's API. The call's number counts the calls of the
//! same operation with the same `key` argument (or, without one, of the same caller), so that an answer does not depend on the order
//! of unrelated calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::http::Fields;
use crate::machine::service::{Answer, Arguments, Call, Delivery};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::{Service, VirtualTable};

/// How a service behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Behaviour {
    /// What it answers, by name. `:argument` stands for the call's argument, `:n` for the number of the call, from 1.
    pub answer: Vec<(Arc<str>, Value)>,
    /// Calls with the same `key` argument take effect once and get the first one's answer.
    pub idempotent: bool,
    /// Numbers of the calls that take effect and whose answer never comes.
    pub fails_after: Vec<u32>,
    /// Numbers of the calls that can't reach it.
    pub fails_before: Vec<u32>,
    /// Numbers of the calls that it refuses.
    pub refuses: Vec<u32>,
    /// The code of a refusal.
    pub refusal: Arc<str>,
    /// The webhook that follows a call.
    pub webhook: Option<Webhook>,
}

/// A webhook that follows a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Webhook {
    /// Where it goes.
    pub endpoint: Arc<str>,
    /// The operations that send one; all when empty.
    pub on: Vec<Arc<str>>,
    /// Its body, with the same stand-ins as an answer.
    pub body: Vec<(Arc<str>, Value)>,
    /// How often it is tried.
    pub attempts: u8,
    /// How many copies are on their way at once.
    pub copies: u8,
}

/// Named values, in the order given.
pub type Values = Vec<(Arc<str>, Value)>;

/// What the name under which the calls of one process are counted begins with. No key does.
const BY_CALLER: &str = "by\n";

/// A service that is told how to behave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct External {
    name: Arc<str>,
    behaviour: Arc<Behaviour>,
    /// Calls that took effect: operation and arguments, with how often.
    calls: BTreeMap<(Arc<str>, Values), u8>,
    counts: BTreeMap<(Arc<str>, Arc<str>), u32>,
    answers: BTreeMap<Arc<str>, Values>,
    due: Vec<Delivery>,
}

impl External {
    /// A service under a name.
    pub fn new(name: impl Into<Arc<str>>, behaviour: Behaviour) -> Self {
        External {
            name: name.into(),
            behaviour: Arc::new(behaviour),
            calls: BTreeMap::new(),
            counts: BTreeMap::new(),
            answers: BTreeMap::new(),
            due: Vec::new(),
        }
    }

    /// Calls that took effect: operation, arguments, and how often.
    pub fn calls(&self) -> impl Iterator<Item = (&Arc<str>, &Values, u8)> {
        self.calls
            .iter()
            .map(|((operation, arguments), count)| (operation, arguments, *count))
    }

    fn number(&mut self, caller: Pid, call: &Call) -> u32 {
        let who = match call.arguments.get("key") {
            Some(key) => key.to_string(),
            None => format!("{BY_CALLER}{caller}"),
        };
        let count = self.counts.entry((call.operation.clone(), who.into())).or_default();
        *count += 1;
        *count
    }

    fn take_effect(&mut self, call: &Call, number: u32) -> Vec<(Arc<str>, Value)> {
        let place = (call.operation.clone(), call.arguments.0.clone());
        let count = self.calls.entry(place).or_default();
        *count = count.saturating_add(1);
        let behaviour = self.behaviour.clone();
        if let Some(webhook) = &behaviour.webhook
            && (webhook.on.is_empty() || webhook.on.contains(&call.operation))
        {
            let body = filled(&webhook.body, &call.arguments, number);
            let delivery = Delivery {
                label: format!("{} {} {number}", self.name, call.operation).into(),
                endpoint: webhook.endpoint.clone(),
                headers: Fields::default(),
                body: body
                    .into_iter()
                    .map(|(name, value)| (name, value.to_string()))
                    .collect(),
                attempts: webhook.attempts,
            };
            self.due.extend(std::iter::repeat_n(delivery, webhook.copies.into()));
        }
        filled(&behaviour.answer, &call.arguments, number)
    }
}

/// Values with their stand-ins replaced.
fn filled(values: &[(Arc<str>, Value)], arguments: &Arguments, number: u32) -> Vec<(Arc<str>, Value)> {
    let fill = |value: &Value| match value {
        Value::Text(text) if &**text == ":n" => Value::Int(number.into()),
        Value::Text(text) => match text.strip_prefix(':').and_then(|name| arguments.get(name)) {
            Some(argument) => argument.clone(),
            None => Value::text(text.replace(":n", &number.to_string())),
        },
        other => other.clone(),
    };
    values.iter().map(|(name, value)| (name.clone(), fill(value))).collect()
}

impl Service for External {
    fn call(&mut self, caller: Pid, call: &Call, _now: i64) -> Result<Answer, NoAnswer> {
        let number = self.number(caller, call);
        let behaviour = self.behaviour.clone();
        if behaviour.fails_before.contains(&number) {
            return Err(NoAnswer::Unavailable);
        }
        if behaviour.refuses.contains(&number) {
            return Ok(Answer::refused(402, behaviour.refusal.clone(), "refused"));
        }
        let key = match call.arguments.get("key") {
            Some(key) if behaviour.idempotent => Some(Arc::from(format!("{} {key}", call.operation))),
            _ => None,
        };
        let known = key.as_ref().and_then(|key| self.answers.get(key)).cloned();
        let answer = match known {
            Some(answer) => answer,
            None => {
                let answer = self.take_effect(call, number);
                if let Some(key) = key {
                    self.answers.insert(key, answer.clone());
                }
                answer
            }
        };
        if behaviour.fails_after.contains(&number) {
            return Err(NoAnswer::TimedOut);
        }
        Ok(Answer::Ok(answer))
    }

    /// Not once it counts somebody's calls.
    fn rename(&mut self, _names: &Renaming) -> bool {
        !self.counts.keys().any(|(_, who)| who.starts_with(BY_CALLER))
    }

    fn deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.due)
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let rows = self.calls().map(|(operation, arguments, count)| {
            let arguments: Vec<String> = arguments
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            vec![
                Value::Text(self.name.clone()),
                Value::Text(operation.clone()),
                Value::text(arguments.join(" ")),
                Value::Int(count.into()),
            ]
        });
        let columns = ["service", "operation", "arguments"].map(|name| (Arc::from(name), Arc::from("text")));
        vec![VirtualTable {
            name: "external_calls".into(),
            columns: columns.into_iter().chain([("calls".into(), "bigint".into())]).collect(),
            rows: rows.collect(),
        }]
    }
}
