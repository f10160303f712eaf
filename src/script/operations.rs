//! What the world's own services understand: their operations and the arguments of each. External services understand anything.

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    /// Its name.
    pub(crate) name: &'static str,
    /// Arguments that it can't do without.
    pub(crate) needs: &'static [&'static str],
    /// Others that it knows.
    pub(crate) takes: &'static [&'static str],
}

const fn operation(name: &'static str, needs: &'static [&'static str], takes: &'static [&'static str]) -> Operation {
    Operation { name, needs, takes }
}

/// The payment provider's. What says nothing to the model (a currency) is taken and ignored, as is the key of any of them.
const PROVIDER: &[Operation] = &[
    operation("create_customer", &[], &["reference", "email"]),
    operation("delete_customer", &["customer"], &[]),
    operation(
        "create_intent",
        &["amount"],
        &[
            "reference",
            "method",
            "confirm",
            "capture_method",
            "currency",
            "description",
        ],
    ),
    operation("confirm_intent", &["intent"], &["method"]),
    operation("capture_intent", &["intent"], &[]),
    operation("cancel_intent", &["intent"], &[]),
    operation("resolve_intent", &["intent"], &["success"]),
    operation("refund", &["intent"], &[]),
    operation("retrieve_intent", &["intent"], &[]),
    operation("list_intents", &["reference"], &[]),
    operation("list_events", &[], &["type"]),
];

const SEARCH: &[Operation] = &[
    operation("put", &["id", "text"], &["version"]),
    operation("remove", &["id"], &["version"]),
    operation("find", &["id"], &[]),
];

const MAIL: &[Operation] = &[operation("send", &["to"], &["subject", "text"])];

const CACHE: &[Operation] = &[
    operation("get", &["key"], &[]),
    operation("set", &["key", "value"], &["nx", "xx", "ex", "px"]),
    operation("del", &["key"], &[]),
    operation("del_if", &["key", "value"], &[]),
    operation("incr", &["key"], &["by"]),
    operation("decr", &["key"], &["by"]),
    operation("incr_expire", &["key"], &["ex", "px"]),
    operation("expire", &["key"], &["ex", "px"]),
    operation("ttl", &["key"], &[]),
    operation("evict", &["key"], &[]),
    operation("slide", &["key", "px", "limit", "value"], &[]),
];

const LOCKS: &[Operation] = &[
    operation("acquire", &["key"], &["nowait"]),
    operation("release", &["key"], &[]),
    operation("signal", &["key"], &[]),
    operation("wait", &["key"], &[]),
];

/// The operations of a service; `None` of one that the scenario tells. Only names are known of a queue's jobs.
pub(crate) fn operations(service: &str) -> Option<&'static [Operation]> {
    match service {
        "provider" => Some(PROVIDER),
        "search" => Some(SEARCH),
        "mail" => Some(MAIL),
        "cache" => Some(CACHE),
        "locks" => Some(LOCKS),
        _ => None,
    }
}

/// Arguments that any operation takes: what a call is known by when it is sent again.
pub(crate) const KEYS: [&str; 2] = ["key", "idempotency_key"];

#[cfg(test)]
mod tests {
    use super::{KEYS, operations};
    use crate::machine::Pid;
    use crate::machine::service::{Answer, Call};
    use crate::value::Value;
    use crate::world::cache::Cache;
    use crate::world::provider::{Provider, Settings};
    use crate::world::service::Service;

    /// Whether a service says that it does not know the operation.
    fn is_unknown(service: &mut dyn Service, name: &str, operation: &str) -> bool {
        let call = Call::new(name, operation).with("key", Value::text("k"));
        let answer = service.call(Pid::root(0), &call, 0).expect("it answers");
        match answer {
            Answer::Refused { code, message, .. } => {
                &*code == "unknown_operation" || message.contains("unknown command")
            }
            _ => false,
        }
    }

    #[test]
    fn every_operation_that_is_listed_is_one_of_the_service() {
        let mut provider = Provider::new(Settings::default());
        for operation in operations("provider").expect("known") {
            assert!(!is_unknown(&mut provider, "provider", operation.name), "{operation:?}");
        }
        assert!(is_unknown(&mut provider, "provider", "charge_the_card"));
        for operation in operations("cache").expect("known") {
            assert!(
                !is_unknown(&mut Cache::default(), "cache", operation.name),
                "{operation:?}"
            );
        }
        assert!(is_unknown(&mut Cache::default(), "cache", "gett"));
        assert!(KEYS.contains(&"idempotency_key"));
    }
}
