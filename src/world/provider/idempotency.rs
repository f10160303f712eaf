//! Idempotency keys: the first execution's answer is kept and given again.

use std::sync::Arc;

use super::{Provider, refused};
use crate::machine::Pid;
use crate::machine::service::{Answer, Call};
use crate::value::Value;

/// How long a key is kept, in microseconds. The provider promises at least this; a retry after it may charge again.
pub const KEYS_LAST: i64 = 24 * 3600 * 1_000_000;

/// What is kept under a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kept {
    operation: Arc<str>,
    arguments: Vec<(Arc<str>, Value)>,
    answer: Answer,
    pub(super) since: i64,
}

impl Provider {
    /// Executes a call, or gives the kept answer of its key.
    pub(super) fn idempotent(&mut self, caller: Pid, call: &Call, now: i64) -> Answer {
        // On GET and DELETE a key has no effect.
        let reads = ["retrieve_intent", "list_intents", "list_events", "delete_customer"];
        let key = match call.arguments.get("idempotency_key") {
            Some(key) if !reads.contains(&&*call.operation) => Arc::from(key.to_string()),
            _ => return self.execute(caller, call, now),
        };
        if let Some(kept) = self.keys.get(&key).filter(|kept| now - kept.since < KEYS_LAST) {
            return match kept {
                Kept {
                    operation, arguments, ..
                } if *operation != call.operation || *arguments != call.arguments.0 => refused(
                    400,
                    "idempotency_error",
                    "Keys for idempotent requests can only be used with the same parameters they were first used with",
                ),
                Kept { since, .. } if now - since < self.settings.latency => refused(
                    409,
                    "idempotency_key_in_use",
                    "There is currently another in-progress request using this key",
                ),
                kept => kept.answer.clone(),
            };
        }
        let answer = self.execute(caller, call, now);
        if is_kept(&answer) {
            let kept = Kept {
                operation: call.operation.clone(),
                arguments: call.arguments.0.clone(),
                answer: answer.clone(),
                since: now,
            };
            self.keys.insert(key, kept);
        }
        answer
    }
}

/// Everything that was executed is kept, failures included; a request that failed validation was not.
fn is_kept(answer: &Answer) -> bool {
    !matches!(answer, Answer::Refused { code, .. } if matches!(&**code, "parameter_missing" | "parameter_invalid_integer" | "unknown_operation"))
}
