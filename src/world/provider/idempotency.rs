//! Idempotency keys: the first execution's answer is kept and given again.

use std::sync::Arc;

use super::{Provider, refused};
use crate::machine::Pid;
use crate::machine::service::{Answer, Call};
use crate::value::Value;
use crate::world::service::InUse;

/// How long a key is kept, in microseconds. The provider promises at least this; a retry after it may charge again.
pub const KEYS_LAST: i64 = 24 * 3600 * 1_000_000;

/// The code of the refusal (409) while another request with the same key is executing: the caller may ask again, unchanged.
pub const KEY_IN_USE: &str = "idempotency_key_in_use";

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    by: Pid,
    operation: Arc<str>,
    arguments: Vec<(Arc<str>, Value)>,
    answer: Answer,
    pub(super) since: i64,
}

impl Provider {
    /// Executes a call, or gives the kept answer of its key.
    pub(super) fn idempotent(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        let Some(key) = key_of(call) else {
            return self.execute(caller, call, now);
        };
        if let Some(kept) = self.keys.get(&key).filter(|kept| kept.lasts(now)) {
            return match kept {
                Kept {
                    operation, arguments, ..
                } if *operation != call.operation || *arguments != call.arguments.0 => refused(
                    400,
                    "idempotency_error",
                    "Keys for idempotent requests can only be used with the same parameters they were first used with",
                ),
                Kept { since, .. } if now - since < self.settings.latency => in_progress(),
                kept => kept.answer.clone(),
            };
        }
        let answer = self.execute(caller, call, now);
        if is_kept(&answer) {
            let kept = Kept {
                by: caller,
                operation: call.operation.clone(),
                arguments: call.arguments.0.clone(),
                answer: answer.clone(),
                since: now,
            };
            self.keys.insert(key, kept);
        }
        answer
    }

    /// Whose request a call's key may still be executing for: whoever came first with it, until it has the answer.
    pub(super) fn holder(&self, call: &Call, now: i64) -> Option<InUse> {
        let key = key_of(call)?;
        let kept = self.keys.get(&key)?;
        let same = kept.operation == call.operation && kept.arguments == call.arguments.0;
        (same && kept.lasts(now) && now - kept.since >= self.settings.latency).then(|| InUse {
            by: kept.by,
            key,
            answer: in_progress(),
        })
    }

    /// Whether an answer is kept under the call's key, so that the call would get that one.
    pub fn keeps(&self, call: &Call, now: i64) -> bool {
        key_of(call).is_some_and(|key| self.keys.get(&key).is_some_and(|kept| kept.lasts(now)))
    }

    /// Puts another answer in the place of the one that is kept under the call's key: the provider did what was asked and then failed. The key gives the failure again
    /// from now on.
    pub fn keep_instead(&mut self, call: &Call, answer: &Answer) {
        if let Some(kept) = key_of(call).and_then(|key| self.keys.get_mut(&key)) {
            kept.answer = answer.clone();
        }
    }
}

impl Kept {
    fn lasts(&self, now: i64) -> bool {
        now - self.since < KEYS_LAST
    }
}

fn in_progress() -> Answer {
    refused(
        409,
        KEY_IN_USE,
        "There is currently another in-progress request using this key",
    )
}

/// The key of a call. On GET and DELETE a key has no effect.
fn key_of(call: &Call) -> Option<Arc<str>> {
    let operation = &*call.operation;
    let reads = operation.starts_with("retrieve_") || operation.starts_with("list_") || operation == "delete_customer";
    let key = call.arguments.get("idempotency_key").filter(|_| !reads)?;
    Some(key.to_string().into())
}

/// Everything that was executed is kept, failures included; a request that failed validation was not.
fn is_kept(answer: &Answer) -> bool {
    match answer {
        Answer::Ok(_) => true,
        Answer::Refused { status, code, .. } => match &**code {
            "parameter_missing" | "parameter_invalid_integer" | "unknown_operation" => false,
            // A parameter that names what is not there, not a path.
            "resource_missing" => *status != 400,
            _ => true,
        },
    }
}
