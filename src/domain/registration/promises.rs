//! What registration promises.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::promise::{
    self, EVERYONE_IS_ANSWERED, NO_DEADLOCK, NO_SERVER_ERROR, answers, everyone_is_answered, no_deadlock,
    no_server_error,
};
use super::ENDPOINT;
use crate::domain::Promise;
use crate::machine::{Request, Response};
use crate::system::{Invariant, View, When};

const NO_DUPLICATES: &str = "no customer_id has two rows in customers";
const SAME_KEY: &str = "requests with the same Idempotency-Key and payload get the same final answer";
const SAME_REQUEST: &str = "requests with the same payload get the same final answer, whatever their keys";
const ONE_PAYLOAD: &str = "of requests with one Idempotency-Key but different payloads at most one payload succeeds";
const SUCCESS: &str = "a customer whose registration was answered with success has its row in the end";

pub(super) const PROMISES: &[Promise] = &[
    Promise {
        name: "no-duplicate-customers",
        promise: NO_DUPLICATES,
    },
    Promise {
        name: "same-key-same-answer",
        promise: SAME_KEY,
    },
    Promise {
        name: "same-request-same-answer",
        promise: SAME_REQUEST,
    },
    Promise {
        name: "one-key-one-payload",
        promise: ONE_PAYLOAD,
    },
    Promise {
        name: "success-means-committed",
        promise: SUCCESS,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
    NO_DEADLOCK,
];

pub(super) fn all() -> Vec<Arc<dyn Invariant>> {
    vec![
        promise::always(
            "no-duplicate-customers",
            NO_DUPLICATES,
            "SELECT customer_id, count(*) FROM customers GROUP BY customer_id HAVING count(*) > 1",
        ),
        promise::check("same-key-same-answer", SAME_KEY, When::Always, |view| {
            same_answers(view, |request| {
                Some((request.headers.get("idempotency-key")?.clone(), payload(request)))
            })
        }),
        promise::check("same-request-same-answer", SAME_REQUEST, When::Always, |view| {
            same_answers(view, |request| Some(payload(request)))
        }),
        promise::check("one-key-one-payload", ONE_PAYLOAD, When::Always, one_payload),
        promise::check(
            "success-means-committed",
            SUCCESS,
            When::Finally,
            success_means_committed,
        ),
        no_server_error(),
        everyone_is_answered(),
        no_deadlock(),
    ]
}

fn payload(request: &Request) -> String {
    let fields: Vec<String> = request.body.iter().map(|(_, value)| value.to_string()).collect();
    fields.join(" ")
}

/// Final answers to requests that `group` puts together are the same. A 422 is about the key, not the request, and is left
/// out.
fn same_answers<G: Ord>(view: &View<'_>, group: impl Fn(&Request) -> Option<G>) -> Result<(), (String, Vec<String>)> {
    let mut first: BTreeMap<G, (&str, &Response)> = BTreeMap::new();
    for (label, request, response) in answers(view, ENDPOINT) {
        let settled = crate::domain::client::is_final(&Ok(response.clone())) && response.status != 422;
        let Some(group) = group(request).filter(|_| settled) else {
            continue;
        };
        let (known, answer) = *first.entry(group).or_insert((label, response));
        if answer != response {
            let rows = vec![format!("{known}: {answer}"), format!("{label}: {response}")];
            return Err((format!("{known} was answered {answer}, {label} {response}"), rows));
        }
    }
    Ok(())
}

fn one_payload(view: &View<'_>) -> Result<(), (String, Vec<String>)> {
    let mut first: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    for (label, request, response) in answers(view, ENDPOINT) {
        let Some(key) = request.headers.get("idempotency-key").filter(|_| response.is_success()) else {
            continue;
        };
        let payload = payload(request);
        let (known, other) = first.entry(key).or_insert_with(|| (label, payload.clone()));
        if *other != payload {
            let rows = vec![format!("{known}: {other}"), format!("{label}: {payload}")];
            return Err((format!("key {key} succeeded for {other:?} and for {payload:?}"), rows));
        }
    }
    Ok(())
}

fn success_means_committed(view: &View<'_>) -> Result<(), (String, Vec<String>)> {
    let customers = match view.query("SELECT customer_id FROM customers") {
        Ok(rows) => crate::domain::promise::texts(&rows),
        Err(error) => return Err((format!("customers can't be read: {error}"), Vec::new())),
    };
    for (label, request, response) in answers(view, ENDPOINT) {
        let Some(customer) = request.body.get("customer_id").filter(|_| response.is_success()) else {
            continue;
        };
        if !customers.contains(&**customer) {
            let sentence = format!("{label} was answered {response}, but {customer} has no row");
            return Err((sentence, vec![format!("{label}: {response}")]));
        }
    }
    Ok(())
}
