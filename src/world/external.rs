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

#[cfg(test)]
mod tests {
    use super::{Behaviour, External, Webhook};
    use crate::machine::service::{Answer, Call};
    use crate::machine::{NoAnswer, Pid, Renaming};
    use crate::value::Value;
    use crate::world::service::Service;

    fn bank(behaviour: Behaviour) -> External {
        let answer = vec![("number".into(), Value::text(":n"))];
        External::new("bank", Behaviour { answer, ..behaviour })
    }

    fn call(operation: &'static str, key: &str) -> Call {
        Call::new("bank", operation).with("key", key)
    }

    fn ask(bank: &mut External, by: u8, call: &Call) -> Result<Value, NoAnswer> {
        let answer = bank.call(Pid::root(by), call, 0)?;
        Ok(answer.get("number").cloned().unwrap_or_default())
    }

    fn effects(bank: &External) -> Vec<(String, u8)> {
        bank.calls()
            .map(|(operation, _, count)| (operation.to_string(), count))
            .collect()
    }

    #[test]
    fn a_key_stands_for_one_effect_of_one_operation_where_the_service_says_so() {
        let mut plain = bank(Behaviour::default());
        let mut safe = bank(Behaviour {
            idempotent: true,
            ..Behaviour::default()
        });
        for bank in [&mut plain, &mut safe] {
            for operation in ["pay", "pay", "refund"] {
                ask(bank, 0, &call(operation, "k")).ok();
            }
        }
        let counted = |pay: u8| vec![("pay".to_owned(), pay), ("refund".to_owned(), 1)];
        assert_eq!(effects(&plain), counted(2));
        assert_eq!(effects(&safe), counted(1));
    }

    #[test]
    fn calls_are_numbered_by_key_or_by_who_calls() {
        let mut bank = bank(Behaviour::default());
        let mut number = |by, key: Option<&str>| {
            let asked = key.map_or_else(|| Call::new("bank", "pay"), |key| call("pay", key));
            ask(&mut bank, by, &asked)
        };
        assert_eq!(number(0, Some("a")), Ok(Value::Int(1)));
        assert_eq!(number(1, Some("b")), Ok(Value::Int(1)));
        assert_eq!(number(1, Some("a")), Ok(Value::Int(2)));
        assert_eq!(number(0, None), Ok(Value::Int(1)));
        assert_eq!(number(1, None), Ok(Value::Int(1)));
        // Once callers are counted they are known by their names.
        assert!(!bank.rename(&Renaming::identity(2)));
        let mut by_key = super::External::new("bank", Behaviour::default());
        ask(&mut by_key, 0, &call("pay", "a")).ok();
        assert!(by_key.rename(&Renaming::identity(2)));
    }

    #[test]
    fn what_is_refused_or_not_reached_has_no_effect() {
        let mut bank = bank(Behaviour {
            refuses: vec![1],
            fails_before: vec![2],
            fails_after: vec![3],
            refusal: "no_funds".into(),
            ..Behaviour::default()
        });
        let pay = call("pay", "k");
        let refused = bank.call(Pid::root(0), &pay, 0).expect("it answers");
        assert!(matches!(refused, Answer::Refused { status: 402, .. }), "{refused:?}");
        assert_eq!(ask(&mut bank, 0, &pay), Err(NoAnswer::Unavailable));
        assert_eq!(effects(&bank), []);
        assert_eq!(ask(&mut bank, 0, &pay), Err(NoAnswer::TimedOut));
        assert_eq!(effects(&bank), [("pay".to_owned(), 1)]);
    }

    #[test]
    fn a_webhook_follows_the_operations_that_it_is_for_in_so_many_copies() {
        let mut bank = bank(Behaviour {
            webhook: Some(Webhook {
                endpoint: "POST /paid".into(),
                on: vec!["pay".into()],
                body: vec![("payment".into(), Value::text(":key"))],
                attempts: 2,
                copies: 3,
            }),
            ..Behaviour::default()
        });
        ask(&mut bank, 0, &call("refund", "k")).ok();
        assert!(bank.deliveries().is_empty());
        ask(&mut bank, 0, &call("pay", "k")).ok();
        let due = bank.deliveries();
        let told: Vec<(u8, String)> = due
            .iter()
            .map(|delivery| (delivery.attempts, super::super::provider::payload(&delivery.body)))
            .collect();
        assert_eq!(told, vec![(2, r#"{"payment":"k"}"#.to_owned()); 3]);
        assert!(bank.deliveries().is_empty(), "they are taken once");
    }
}
