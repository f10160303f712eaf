//! The world at the start: schema and seed, services, the clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use sqlparser::ast;
use toml::Spanned;

use super::place::Place;
use super::process::Processes;
use crate::script::Source;
use crate::script::atomic::{self, Scripted};
use crate::script::error::Problem;
use crate::script::file::{ExternalSection, ProviderSection, WorldSection};
use crate::value::Value;
use crate::world::World;
use crate::world::cache::{CACHE, Cache};
use crate::world::database::sql::parse;
use crate::world::database::{Database, QueryError};
use crate::world::external::{Behaviour, External, Webhook};
use crate::world::locks::{LOCKS, Locks};
use crate::world::mail::{MAIL, Mailer};
use crate::world::provider::{self, PROVIDER, Provider, Webhooks};
use crate::world::queue::{QUEUE, Queues, Settings};
use crate::world::runtime::{RUNTIME, Runtime};
use crate::world::search::{Index, SEARCH};
use crate::world::service::Provided;

/// A world that is being built.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) database: Database,
    /// The tables of the schema, in order.
    pub(super) tables: Vec<String>,
    pub(super) isolation: Option<Arc<str>>,
    pub(super) externals: BTreeSet<Arc<str>>,
    services: BTreeMap<Arc<str>, Provided>,
    now: i64,
}

/// 2026-01-01 00:00:00 UTC.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

/// The levels of isolation.
const LEVELS: [&str; 4] = ["read committed", "repeatable read", "serializable", "read uncommitted"];

/// The database with its schema and rows, and what the world's section says beside.
pub(super) fn start(source: &Source<'_>, problems: &mut Vec<Problem>) -> Start {
    let mut start = Start {
        now: NEW_YEAR,
        ..Start::default()
    };
    let Some(world) = &source.sections.world else {
        return start;
    };
    // First, because the schema and the seed run at that moment.
    if let Some(now) = &world.now {
        match now.get_ref().trim().parse::<jiff::civil::DateTime>() {
            Ok(moment) => {
                let zoned = moment.to_zoned(jiff::tz::TimeZone::UTC);
                start.now = zoned.map_or(NEW_YEAR, |zoned| zoned.timestamp().as_microsecond());
            }
            Err(_) => problems.push(
                Problem::new(format!("`{}` is not a timestamp", now.get_ref()), now.span())
                    .help("as in `2026-01-01 00:00:00`"),
            ),
        }
    }
    if let Some(file) = &world.file {
        start.file(source, file, problems);
    }
    for script in [&world.schema, &world.add, &world.seed].into_iter().flatten() {
        start.script(source, script, problems);
    }
    if let Some(level) = &world.isolation {
        start.level(level, problems);
    }
    start.externals = world.external.keys().map(|name| Arc::from(name.as_str())).collect();
    start
}

impl Start {
    fn file(&mut self, source: &Source<'_>, file: &Spanned<String>, problems: &mut Vec<Problem>) {
        let path = source.folder.join(file.get_ref());
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                let problem = Problem::new(format!("{} can't be read: {error}", file.get_ref()), file.span())
                    .label("relative to the scenario file");
                problems.push(problem);
                return;
            }
        };
        self.note_tables(&text);
        if let Err(error) = self.database.run_script_at(&text, self.now) {
            let place = match &error {
                QueryError::Refused(refused) => format!("{}:{}:{}", file.get_ref(), refused.line, refused.column),
                QueryError::Sql(_) => file.get_ref().clone(),
            };
            problems.push(Problem::new(format!("{place}: {error}"), file.span()));
        }
    }

    fn script(&mut self, source: &Source<'_>, script: &Spanned<String>, problems: &mut Vec<Problem>) {
        self.note_tables(script.get_ref());
        if let Err(error) = self.database.run_script_at(script.get_ref(), self.now) {
            let place = Place::of(source.text, script);
            let problem = match &error {
                QueryError::Refused(refused) => Problem::new(
                    format!("{} is not supported", refused.construct),
                    place.at(refused.line, refused.column),
                ),
                QueryError::Sql(error) => Problem::new(error.to_string(), script.span()),
            };
            problems.push(problem);
        }
    }

    fn note_tables(&mut self, text: &str) {
        let Ok(statements) = parse::parse(text) else { return };
        for statement in statements {
            if let parse::Kind::Sql(statement) = statement.kind
                && let ast::Statement::CreateTable(table) = *statement
            {
                self.tables.push(table.name.to_string());
            }
        }
    }

    fn level(&mut self, level: &Spanned<String>, problems: &mut Vec<Problem>) {
        let name = level.get_ref().trim().to_ascii_lowercase();
        if !LEVELS.contains(&name.as_str()) {
            let problem =
                Problem::new(format!("unknown isolation level `{name}`"), level.span()).nearest(&name, LEVELS);
            problems.push(problem);
        }
        if name != "read committed" {
            self.isolation = Some(name.into());
        }
    }

    pub(super) fn into_world(self) -> World {
        World {
            database: self.database,
            services: self.services,
            now: self.now,
        }
    }
}

/// Adds the services that the steps call, the section states, or a query looks at.
pub(super) fn services(
    source: &Source<'_>,
    processes: &Processes<'_>,
    used: &BTreeSet<Arc<str>>,
    queries: &[&str],
    start: &mut Start,
) {
    let empty = WorldSection::default();
    let world = source.sections.world.as_ref().unwrap_or(&empty);
    let asked = |table: &str| queries.iter().any(|query| query.contains(table));
    let mut add = |name: &str, wanted: bool, service: &dyn Fn() -> Provided| {
        if wanted || used.contains(name) {
            start.services.insert(name.into(), service());
        }
    };
    add(RUNTIME, false, &|| Provided::new(Runtime::default()));
    add(LOCKS, asked("mutexes"), &|| Provided::new(Locks::default()));
    add(MAIL, asked("mails"), &|| Provided::new(Mailer::default()));
    add(SEARCH, asked("search_"), &|| Provided::new(Index::default()));
    add(CACHE, world.cache.is_some() || asked("cache_keys"), &|| {
        let keys = world.cache.iter().flat_map(|cache| &cache.keys);
        let cache = Cache::with(keys.map(|(key, value)| (Arc::from(key.as_str()), Arc::from(value.as_str()))));
        match processes.atomics() {
            blocks if blocks.is_empty() => Provided::new(cache),
            blocks => Provided::new(Scripted::new(Provided::new(cache), blocks)),
        }
    });
    add(QUEUE, !world.queue.is_empty() || asked("queue_jobs"), &|| {
        Provided::new(queues(world))
    });
    add(PROVIDER, world.provider.is_some() || asked("provider_"), &|| {
        Provided::new(payment(world.provider.as_ref()))
    });
    let known = [RUNTIME, LOCKS, MAIL, SEARCH, CACHE, QUEUE, PROVIDER, atomic::SERVICE];
    let called = used.iter().filter(|name| !known.contains(&&***name)).cloned();
    start.externals.extend(called);
    let plain = ExternalSection::default();
    for name in &start.externals {
        let section = world.external.get(&**name).unwrap_or(&plain);
        let service = Provided::new(External::new(name.clone(), behaviour(section)));
        start.services.insert(name.clone(), service);
    }
    if asked("external_calls") && start.externals.is_empty() {
        let service = Provided::new(External::new("external", Behaviour::default()));
        start.services.insert("external".into(), service);
    }
}

fn queues(world: &WorldSection) -> Queues {
    let mut queues = Queues::default();
    for (name, section) in &world.queue {
        let usual = Settings::default();
        let seconds = |count: u32| i64::from(count) * 1_000_000;
        queues = queues.with(
            name.as_str(),
            Settings {
                attempts: section.attempts.unwrap_or(usual.attempts),
                visibility: section.visibility_timeout.map(seconds).or(usual.visibility),
                backoff: section.backoff.map_or(usual.backoff, seconds),
            },
        );
    }
    queues
}

fn payment(section: Option<&ProviderSection>) -> Provider {
    let webhooks = section.and_then(|section| {
        let mut webhooks = Webhooks::to(section.webhook.as_ref()?.get_ref().as_str());
        webhooks.attempts = section.attempts.unwrap_or(webhooks.attempts);
        webhooks.copies = section.copies.unwrap_or(webhooks.copies);
        if !section.types.is_empty() {
            webhooks.types = section.types.iter().map(|kind| Arc::from(kind.as_str())).collect();
        }
        Some(webhooks)
    });
    Provider::new(provider::Settings {
        webhooks,
        ..provider::Settings::default()
    })
}

fn behaviour(section: &ExternalSection) -> Behaviour {
    let named = |values: &indexmap::IndexMap<String, toml::Value>| -> Vec<(Arc<str>, Value)> {
        let named = values
            .iter()
            .map(|(name, value)| (Arc::from(name.as_str()), value_of(value)));
        named.collect()
    };
    Behaviour {
        answer: named(&section.answer),
        idempotent: section.idempotent,
        fails_after: section.fails_after.clone(),
        fails_before: section.fails_before.clone(),
        refuses: section.refuses.clone(),
        refusal: section.refusal.as_deref().unwrap_or("refused").into(),
        webhook: section.webhook.as_ref().map(|webhook| Webhook {
            endpoint: webhook.endpoint.get_ref().as_str().into(),
            on: webhook
                .on
                .iter()
                .map(|operation| Arc::from(operation.as_str()))
                .collect(),
            body: named(&webhook.body),
            attempts: webhook.attempts.unwrap_or(1),
            copies: webhook.copies.unwrap_or(1),
        }),
    }
}

/// A value of the file as a value of SQL.
pub(super) fn value_of(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::text(text.as_str()),
        toml::Value::Integer(number) => Value::Int(*number),
        toml::Value::Float(number) => match number.to_string().parse() {
            Ok(number) => Value::Numeric(number),
            Err(_) => Value::text(number.to_string()),
        },
        toml::Value::Boolean(truth) => Value::Bool(*truth),
        toml::Value::Datetime(moment) => Value::text(moment.to_string()),
        toml::Value::Array(values) => Value::Array(values.iter().map(value_of).collect()),
        toml::Value::Table(table) => Value::text(serde_json::to_string(table).unwrap_or_default()),
    }
}
