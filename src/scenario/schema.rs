//! The JSON schema of scenario files, for editors: `deadheat schema`.
//!
//! Mirror types of the file only. The reader itself does not go through them, because its errors say more than a deserializer's; `tests/contract.rs`
//! holds every scenario against both.

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Library;
use crate::domain::{Handler, Kind, Parameter};
use crate::script::file::{InvariantSection, ObserveSection, ProcessSection, WorldSection};

/// The schema as JSON, with the library's handlers, their choices and their parameters.
pub fn json(library: &Library) -> Value {
    let mut schema = schema_for!(ScenarioFile).to_value();
    let names: Vec<&str> = library.handlers().iter().map(|handler| handler.name()).collect();
    let rules: Vec<Value> = library.handlers().iter().map(|handler| rule(&**handler)).collect();
    if let Some(domain) = schema.pointer_mut("/$defs/DomainSection") {
        if let Some(handler) = domain.pointer_mut("/properties/handler").and_then(Value::as_object_mut) {
            handler.insert("enum".to_owned(), json!(names));
        }
        if let Some(domain) = domain.as_object_mut()
            && !rules.is_empty()
        {
            domain.insert("allOf".to_owned(), Value::Array(rules));
        }
    }
    schema
}

/// A scenario file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "deadheat scenario", extend("$id" = "https://docs.rs/deadheat/scenario.schema.json"))]
pub struct ScenarioFile {
    /// One line that says what the scenario shows.
    pub title: String,
    /// Where it comes from: a bug report, an issue thread.
    pub source: Option<String>,
    /// What happens, in a few sentences.
    pub story: Option<String>,
    /// The drivers that run it; all five unless given.
    pub drivers: Option<Vec<DriverName>>,
    /// The handler that the processes come from. Not together with `world` and `process`.
    pub domain: Option<DomainSection>,
    /// The clients of the handler: each entry is one of them, or `count` of them. The keys are the handler's own.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub clients: Vec<toml::Table>,
    /// How many of each fault a run may have; none unless given.
    pub faults: Option<FaultsSection>,
    /// What stops a search.
    pub limits: Option<LimitsSection>,
    /// What storms are made of.
    pub storm: Option<StormSection>,
    /// What is expected of the invariants.
    pub expect: Option<ExpectSection>,
    /// A script's world.
    pub world: Option<WorldSection>,
    /// A script's processes.
    #[serde(default)]
    pub process: Vec<ProcessSection>,
    /// Invariants of the scenario's own.
    #[serde(default)]
    pub invariant: Vec<InvariantSection>,
    /// What of a final state is told.
    #[serde(default)]
    pub observe: Vec<ObserveSection>,
    /// The same scenario with some parts replaced.
    #[serde(default)]
    pub variant: Vec<VariantSection>,
}

/// The same scenario with some parts replaced: tables are merged, all else replaces.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantSection {
    /// Its name: letters, digits and `-`. The scenario is then called `FILE#NAME`.
    pub name: String,
    /// What is expected of it.
    pub expect: ExpectSection,
    /// One line that says what it shows.
    pub title: Option<String>,
    /// Where it comes from.
    pub source: Option<String>,
    /// What happens.
    pub story: Option<String>,
    /// The drivers that run it.
    pub drivers: Option<Vec<DriverName>>,
    /// What differs in the handler's setup.
    #[schemars(with = "Option<BTreeMap<String, Value>>")]
    pub domain: Option<toml::Table>,
    /// Other clients.
    #[serde(default)]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    pub clients: Vec<toml::Table>,
    /// Other faults.
    pub faults: Option<FaultsSection>,
    /// Other limits.
    pub limits: Option<LimitsSection>,
    /// Other storms.
    pub storm: Option<StormSection>,
    /// What differs in a script's world.
    pub world: Option<WorldSection>,
    /// Processes that differ, by name.
    #[serde(default)]
    pub process: Vec<ProcessSection>,
    /// Invariants that differ, by name.
    #[serde(default)]
    pub invariant: Vec<InvariantSection>,
    /// What of a final state is told instead.
    #[serde(default)]
    pub observe: Vec<ObserveSection>,
}

/// A driver.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DriverName {
    /// The exhaustive explorer.
    Explore,
    /// loom.
    Loom,
    /// shuttle: random and PCT schedules.
    Shuttle,
    /// proptest storms in virtual time.
    Storm,
    /// A real Postgres server.
    Postgres,
}

/// A handler of the domain. The keys beside these are the handler's own parameters.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct DomainSection {
    /// The handler's name.
    pub handler: String,
    /// The choices of its design; the first option of each unless given.
    #[serde(default)]
    pub design: BTreeMap<String, String>,
    /// SQL that runs after the handler's own schema: an index to try, say.
    pub schema: Option<String>,
}

/// How many of each fault a run may have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FaultsSection {
    /// A client stops waiting for a response; the handler goes on.
    pub timeouts: Option<u8>,
    /// A process dies between two effects.
    pub crashes: Option<u8>,
    /// An effect takes place, but its reply never comes.
    pub lost_replies: Option<u8>,
    /// A database connection breaks before the statement reaches the server.
    pub disconnects: Option<u8>,
    /// The network delivers a request a second time.
    pub duplicates: Option<u8>,
    /// The network loses a request.
    pub lost_requests: Option<u8>,
    /// A service can't be reached for one call.
    pub outages: Option<u8>,
}

/// What stops a search: its verdict is `unknown` then.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsSection {
    /// So many states.
    pub states: Option<u64>,
    /// So many seconds.
    pub seconds: Option<u64>,
    /// So many mebibytes.
    pub memory: Option<u64>,
    /// So many whole schedules.
    pub schedules: Option<u64>,
    /// So many preemptions in one schedule, for loom.
    pub preemptions: Option<u64>,
}

/// What storms are made of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StormSection {
    /// How many storms.
    pub cases: Option<u32>,
    /// The most clients in one storm.
    pub clients: Option<u32>,
}

/// What is expected: every invariant that is not under `violates` holds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectSection {
    /// Invariants that the scenario is about and that hold.
    #[serde(default)]
    pub holds: Vec<String>,
    /// Invariants that can be violated.
    #[serde(default)]
    pub violates: Vec<String>,
    /// Warnings of a search that saw every schedule which are meant so: a kind (`never-true`), or a kind and a process (`never-true sign up`).
    #[serde(default)]
    pub warnings: Vec<String>,
    /// SQLSTATEs, or their names, of class 42 and 0A that a script's process may end in: no mistake of the file.
    #[serde(default)]
    pub errors: Vec<String>,
}

/// What one handler adds: its choices under `design`, its own parameters.
fn rule(handler: &dyn Handler) -> Value {
    let mut design = Map::new();
    for choice in handler.choices() {
        let options: Vec<&str> = choice.options.iter().map(|option| option.name).collect();
        design.insert(
            choice.name.to_owned(),
            json!({"description": choice.doc, "enum": options}),
        );
    }
    let mut properties = Map::new();
    properties.insert(
        "design".to_owned(),
        json!({"properties": design, "additionalProperties": false}),
    );
    for parameter in handler.parameters() {
        properties.insert(parameter.name.to_owned(), value_schema(parameter));
    }
    json!({
        "if": {"properties": {"handler": {"const": handler.name()}}},
        "then": {"properties": properties},
    })
}

fn value_schema(parameter: &Parameter) -> Value {
    let mut schema = match parameter.kind {
        Kind::Int { min, max, default } => {
            json!({"type": "integer", "minimum": min, "maximum": max, "default": default})
        }
        Kind::Text { default } => json!({"type": "string", "default": default}),
        Kind::Bool { default } => json!({"type": "boolean", "default": default}),
        Kind::OneOf(options) => json!({"enum": options.iter().map(|option| option.name).collect::<Vec<_>>()}),
    };
    schema["description"] = json!(parameter.doc);
    schema
}
