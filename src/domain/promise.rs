//! Invariants and small parts that many systems share.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::flow::DEADLOCK_VICTIM;
use super::{Conflict, Promise};
use crate::machine::{Request, Response, Rows};
use crate::system::{Breach, Invariant, QueryInvariant, Role, View, When};
use crate::value::Value;
use crate::world::database::Database;

/// An invariant as a query that must return no rows, in every state.
pub fn always(name: &'static str, promise: &'static str, query: impl Into<Arc<str>>) -> Arc<dyn Invariant> {
    query_invariant(name, promise, When::Always, query.into())
}

/// An invariant as a query that must return no rows when nothing more can happen.
pub fn finally(name: &'static str, promise: &'static str, query: impl Into<Arc<str>>) -> Arc<dyn Invariant> {
    query_invariant(name, promise, When::Finally, query.into())
}

fn query_invariant(name: &'static str, promise: &'static str, when: When, query: Arc<str>) -> Arc<dyn Invariant> {
    Arc::new(QueryInvariant {
        name: name.into(),
        promise: promise.into(),
        when,
        query,
    })
}

/// An invariant as a function.
pub fn check(
    name: &'static str,
    promise: &'static str,
    when: When,
    check: fn(&View<'_>) -> Verdict,
) -> Arc<dyn Invariant> {
    checked(name, promise, when, check)
}

/// What a function says of a state: well, or the sentence and the rows of a breach.
pub type Verdict = Result<(), (String, Vec<String>)>;

/// An invariant as a function with data of its own.
pub fn checked(
    name: &'static str,
    promise: &'static str,
    when: When,
    check: impl Fn(&View<'_>) -> Verdict + Send + Sync + 'static,
) -> Arc<dyn Invariant> {
    Arc::new(Check {
        name,
        promise,
        when,
        check: Box::new(check),
    })
}

/// `no-deadlock`: no statement is ended as a deadlock's victim.
pub fn no_deadlock() -> Arc<dyn Invariant> {
    check(NO_DEADLOCK.name, NO_DEADLOCK.promise, When::Always, |view| {
        let victims: Vec<String> = view
            .standings()
            .filter(|process| process.state == DEADLOCK_VICTIM)
            .map(|process| process.label.to_string())
            .collect();
        match victims.first() {
            None => Ok(()),
            Some(victim) => Err((format!("{victim} is the victim of a deadlock"), victims)),
        }
    })
}

/// The promise of [`no_deadlock`].
pub const NO_DEADLOCK: Promise = Promise {
    name: "no-deadlock",
    promise: "no statement is ended as the victim of a deadlock",
};

/// `everyone-is-answered`: in the end no client waits: each has its answer or gave up.
pub fn everyone_is_answered() -> Arc<dyn Invariant> {
    check(
        EVERYONE_IS_ANSWERED.name,
        EVERYONE_IS_ANSWERED.promise,
        When::Finally,
        |view| {
            let waiting: Vec<String> = view
                .standings()
                .filter(|process| {
                    let waits = matches!(process.status, "waiting" | "blocked");
                    let client = matches!(process.role, Role::Client | Role::Courier);
                    waits || client && process.status != "finished"
                })
                .map(|process| process.label.to_string())
                .collect();
            match waiting.first() {
                None => Ok(()),
                Some(first) => Err((format!("{first} waits for ever"), waiting)),
            }
        },
    )
}

/// The promise of [`everyone_is_answered`].
pub const EVERYONE_IS_ANSWERED: Promise = Promise {
    name: "everyone-is-answered",
    promise: "in the end every client has its answer or gave up, and no statement waits",
};

/// `no-server-error`: no request is answered 500.
pub fn no_server_error() -> Arc<dyn Invariant> {
    check(NO_SERVER_ERROR.name, NO_SERVER_ERROR.promise, When::Always, |view| {
        let failed: Vec<String> = view
            .exchanges()
            .filter_map(|exchange| Some((exchange.label, exchange.response?)))
            .filter(|(_, response)| response.status == 500)
            .map(|(label, response)| format!("{label}: {response}"))
            .collect();
        match failed.first() {
            None => Ok(()),
            Some(first) => Err((format!("a request is answered with a server error: {first}"), failed)),
        }
    })
}

/// The promise of [`no_server_error`].
pub const NO_SERVER_ERROR: Promise = Promise {
    name: "no-server-error",
    promise: "no request is answered 500: what can happen is handled (503 says that it may be tried again)",
};

/// `no-secrets-in-responses`: no response carries a payment method or a signing secret.
pub fn no_secrets() -> Arc<dyn Invariant> {
    check(NO_SECRETS.name, NO_SECRETS.promise, When::Always, |view| {
        let secrets = ["pm_", "whsec_", "sk_"];
        let leaks: Vec<String> = view
            .exchanges()
            .filter_map(|exchange| Some((exchange.label, exchange.response?)))
            .filter(|(_, response)| secrets.iter().any(|secret| response.body.contains(secret)))
            .map(|(label, response)| format!("{label}: {response}"))
            .collect();
        match leaks.first() {
            None => Ok(()),
            Some(first) => Err((format!("a response carries a secret: {first}"), leaks)),
        }
    })
}

/// The promise of [`no_secrets`].
pub const NO_SECRETS: Promise = Promise {
    name: "no-secrets-in-responses",
    promise: "no response carries a payment method, an API key or a signing secret",
};

/// Every response that handlers of an endpoint gave: the handler's label, the request, the response.
pub fn answers<'a>(view: &View<'a>, endpoint: &'a str) -> impl Iterator<Item = (&'a str, &'a Request, &'a Response)> {
    view.exchanges().filter_map(move |exchange| {
        let request = exchange.request.filter(|request| *request.endpoint == *endpoint)?;
        Some((&**exchange.label, request, exchange.response?))
    })
}

/// The first column of a result as a set of texts.
pub fn texts(rows: &Rows) -> BTreeSet<Arc<str>> {
    let firsts = rows.rows.iter().filter_map(|row| row.first());
    firsts
        .map(|value| match value {
            Value::Text(text) => text.clone(),
            other => other.to_string().into(),
        })
        .collect()
}

/// Runs a handler's schema and seed.
pub fn set_up(database: &mut Database, script: &str) -> Result<(), Conflict> {
    match database.run_script(script) {
        Ok(_) => Ok(()),
        Err(error) => Err(Conflict {
            key: vec!["domain".to_owned(), "handler".to_owned()],
            message: format!("the handler's schema can't be set up: {error}"),
            help: None,
        }),
    }
}

/// A process's name in lanes: as given, or `fallback`, numbered from 1 when there are several.
pub fn label(given: &str, fallback: &str, place: usize, count: usize) -> Arc<str> {
    match (given, count) {
        ("", 1) => fallback.into(),
        ("", _) => format!("{fallback} {}", place + 1).into(),
        (given, _) => given.into(),
    }
}

struct Check {
    name: &'static str,
    promise: &'static str,
    when: When,
    check: Box<dyn Fn(&View<'_>) -> Verdict + Send + Sync>,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Invariant for Check {
    fn name(&self) -> &str {
        self.name
    }

    fn promise(&self) -> &str {
        self.promise
    }

    fn when(&self) -> When {
        self.when
    }

    /// The functions here know no names.
    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        (self.check)(view).map_err(|(sentence, rows)| Breach {
            invariant: self.name.into(),
            sentence,
            rows,
            is_error: false,
        })
    }
}
