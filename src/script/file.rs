//! The sections of a scenario file that hold a script: `[world]`, `[[process]]`, `[[invariant]]`, `[[observe]]`, and what a variant replaces.
//!
//! Mirror types of the file only: [`load`](super::load()) turns them into a [`Spec`](crate::system::Spec). Text that can be wrong carries
//! its place, so that an error points into the file.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// What processes share. Every key is optional; in a variant a key that is given replaces the base's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorldSection {
    /// The schema as SQL statements.
    #[schemars(with = "Option<String>")]
    pub schema: Option<Spanned<String>>,
    /// A file of SQL statements, relative to the scenario: the project's own schema or migrations. Runs before `schema`.
    #[schemars(with = "Option<String>")]
    pub file: Option<Spanned<String>>,
    /// The rows at the start, as SQL statements.
    #[schemars(with = "Option<String>")]
    pub seed: Option<Spanned<String>>,
    /// SQL that runs after `schema` and before `seed`: an index that a variant adds.
    #[schemars(with = "Option<String>")]
    pub add: Option<Spanned<String>>,
    /// The isolation level of transactions that name none: `read committed` (the default), `repeatable read` or `serializable`.
    #[schemars(with = "Option<String>")]
    pub isolation: Option<Spanned<String>>,
    /// The clock at the start, as a timestamp; 2026-01-01 00:00:00 unless given.
    #[schemars(with = "Option<String>")]
    pub now: Option<Spanned<String>>,
    /// The promises that the script has beside its invariants: `no-server-error` (no request is answered 500) and `no-deadlock`. Both unless given.
    #[schemars(with = "Option<Vec<String>>")]
    pub promises: Option<Vec<Spanned<String>>>,
    /// The cache (Redis semantics), as scripts call it.
    pub cache: Option<CacheSection>,
    /// Queues, by name. A queue that only steps name has the defaults.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, QueueSection>")]
    pub queue: IndexMap<String, QueueSection>,
    /// The payment provider.
    pub provider: Option<ProviderSection>,
    /// External services, by name: what `call NAME(...)` meets.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, ExternalSection>")]
    pub external: IndexMap<String, ExternalSection>,
}

/// The cache.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSection {
    /// Keys that are set at the start.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub keys: IndexMap<String, String>,
}

/// A queue.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueueSection {
    /// How often a job is handed out before it is put aside as dead.
    pub attempts: Option<u8>,
    /// How long a taken job stays hidden from other workers, in seconds; without it a taken job is only handed out again when its worker
    /// fails it, crashes or loses its connection.
    pub visibility_timeout: Option<u32>,
    /// The pause before a failed job is handed out again, in seconds; it doubles with each attempt.
    pub backoff: Option<u32>,
}

/// The payment provider.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSection {
    /// The endpoint that gets its webhooks.
    #[schemars(with = "Option<String>")]
    pub webhook: Option<Spanned<String>>,
    /// How often it tries to deliver one webhook, 1 unless given.
    pub attempts: Option<u8>,
    /// How many copies of each webhook are on their way at once, 1 unless given.
    pub copies: Option<u8>,
    /// The types of event that are sent; `payment_intent.succeeded` and `payment_intent.payment_failed` unless given.
    #[serde(default)]
    pub types: Vec<String>,
}

/// An external service: every call is recorded in `external_calls`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalSection {
    /// What it answers, by name; `:argument` stands for the call's argument, `:n` for the number of the call (from 1).
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub answer: IndexMap<String, toml::Value>,
    /// Calls with the same `key` take effect once and get the first one's answer.
    #[serde(default)]
    pub idempotent: bool,
    /// Numbers of the calls (from 1) that take effect and then fail with `timed_out`: the caller cannot know.
    #[serde(default)]
    pub fails_after: Vec<u32>,
    /// Numbers of the calls (from 1) that fail with `unavailable` before they take effect.
    #[serde(default)]
    pub fails_before: Vec<u32>,
    /// Numbers of the calls (from 1) that are refused, with the error code `refusal`.
    #[serde(default)]
    pub refuses: Vec<u32>,
    /// The error code of a refusal, `refused` unless given.
    pub refusal: Option<String>,
    /// A webhook for each call that takes effect.
    pub webhook: Option<WebhookSection>,
}

/// A webhook of an external service.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookSection {
    /// The endpoint it goes to.
    #[schemars(with = "String")]
    pub endpoint: Spanned<String>,
    /// The operations that send one; all of them unless given.
    #[serde(default)]
    pub on: Vec<String>,
    /// The body; `:argument` stands for the call's argument, `:n` for the number of the call.
    #[serde(default)]
    #[schemars(with = "std::collections::BTreeMap<String, serde_json::Value>")]
    pub body: IndexMap<String, toml::Value>,
    /// How many copies are delivered, in any order; 1 unless given.
    pub copies: Option<u8>,
    /// How often each copy is tried, 1 unless given.
    pub attempts: Option<u8>,
}

/// A process, or several alike. In a variant the section of the same name replaces the keys that it gives.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessSection {
    /// Its name in lanes.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// How many of them there are, 1 unless given. Not for handlers that `on` names: each request starts one.
    pub count: Option<u8>,
    /// `client`, `handler`, `worker`, `scheduler` or `courier`: what the environment may do to it. `handler` unless given. A worker or
    /// scheduler starts anew after a crash; what a courier sends may be delivered twice.
    #[schemars(with = "Option<String>")]
    pub role: Option<Spanned<String>>,
    /// The endpoint whose requests it handles: `POST /orders`.
    #[schemars(with = "Option<String>")]
    pub on: Option<Spanned<String>>,
    /// Values for `:name` in the steps: a table for all instances, or an array of tables, one for each instance.
    #[schemars(with = "Option<serde_json::Value>")]
    pub params: Option<Spanned<toml::Value>>,
    /// The steps.
    #[schemars(with = "Option<String>")]
    pub steps: Option<Spanned<String>>,
}

/// What must hold: a query that must return no rows.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InvariantSection {
    /// Its name, in words joined by hyphens.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// One sentence that says what it promises.
    pub promise: Option<String>,
    /// `always` (every state) or `finally` (when nothing more can happen; the default).
    #[schemars(with = "Option<String>")]
    pub when: Option<Spanned<String>>,
    /// A SELECT over the scenario's tables and the world's own; each row it returns breaks the invariant.
    #[schemars(with = "String")]
    pub query: Spanned<String>,
}

/// What of a final state is told.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObserveSection {
    /// What it is called in outcomes.
    pub label: String,
    /// A SELECT over the scenario's tables and the world's own.
    #[schemars(with = "String")]
    pub query: Spanned<String>,
}

/// The script sections of one scenario.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptSections {
    /// What processes share.
    pub world: Option<WorldSection>,
    /// The processes.
    #[serde(default, rename = "process")]
    pub processes: Vec<ProcessSection>,
    /// What must hold.
    #[serde(default, rename = "invariant")]
    pub invariants: Vec<InvariantSection>,
    /// What of a final state is told; every table of the schema and the responses unless given.
    #[serde(default, rename = "observe")]
    pub observations: Vec<ObserveSection>,
}

impl ScriptSections {
    /// Whether there is no script at all.
    pub fn is_empty(&self) -> bool {
        self.world.is_none() && self.processes.is_empty()
    }

    /// The sections with the parts of `variant` in place of their own: a process or invariant of the same name replaces the keys it
    /// gives, a new one is added, a key of `[world]` replaces that key.
    #[must_use]
    pub fn with(&self, variant: &ScriptSections) -> ScriptSections {
        let mut merged = self.clone();
        if let Some(patch) = &variant.world {
            merged.world = Some(merged.world.take().unwrap_or_default().with(patch));
        }
        for patch in &variant.processes {
            let name = patch.name.get_ref();
            match merged
                .processes
                .iter_mut()
                .find(|process| process.name.get_ref() == name)
            {
                Some(process) => process.replace(patch),
                None => merged.processes.push(patch.clone()),
            }
        }
        for patch in &variant.invariants {
            let name = patch.name.get_ref();
            match merged
                .invariants
                .iter_mut()
                .find(|invariant| invariant.name.get_ref() == name)
            {
                Some(invariant) => *invariant = patch.clone(),
                None => merged.invariants.push(patch.clone()),
            }
        }
        if !variant.observations.is_empty() {
            merged.observations.clone_from(&variant.observations);
        }
        merged
    }
}

impl WorldSection {
    fn with(mut self, patch: &WorldSection) -> WorldSection {
        let replace = |own: &mut Option<Spanned<String>>, new: &Option<Spanned<String>>| {
            if new.is_some() {
                own.clone_from(new);
            }
        };
        replace(&mut self.schema, &patch.schema);
        replace(&mut self.file, &patch.file);
        replace(&mut self.seed, &patch.seed);
        replace(&mut self.add, &patch.add);
        replace(&mut self.isolation, &patch.isolation);
        replace(&mut self.now, &patch.now);
        if patch.promises.is_some() {
            self.promises.clone_from(&patch.promises);
        }
        if patch.cache.is_some() {
            self.cache.clone_from(&patch.cache);
        }
        if patch.provider.is_some() {
            self.provider.clone_from(&patch.provider);
        }
        self.queue.extend(patch.queue.clone());
        self.external.extend(patch.external.clone());
        self
    }
}

impl ProcessSection {
    fn replace(&mut self, patch: &ProcessSection) {
        if patch.count.is_some() {
            self.count = patch.count;
        }
        if patch.role.is_some() {
            self.role.clone_from(&patch.role);
        }
        if patch.on.is_some() {
            self.on.clone_from(&patch.on);
        }
        if patch.params.is_some() {
            self.params.clone_from(&patch.params);
        }
        if patch.steps.is_some() {
            self.steps.clone_from(&patch.steps);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ScriptSections;

    #[test]
    fn a_variant_replaces_the_keys_that_it_gives() {
        let base: ScriptSections = toml::from_str(
            "world.schema = 'create table t(id int)'\n[[process]]\nname = 'a'\ncount = 2\nsteps = 'select 1'\n",
        )
        .expect("base");
        let variant: ScriptSections =
            toml::from_str("world.isolation = 'serializable'\n[[process]]\nname = 'a'\nsteps = 'select 2'\n")
                .expect("variant");
        let merged = base.with(&variant);
        let world = merged.world.expect("a world");
        assert!(world.schema.is_some() && world.isolation.is_some());
        let [process] = merged.processes.as_slice() else {
            panic!("one process")
        };
        assert_eq!(process.count, Some(2));
        assert_eq!(
            process.steps.as_ref().map(|steps| steps.get_ref().as_str()),
            Some("select 2")
        );
    }
}
