//! Scenarios of the domain: `[domain]`, `[domain.design]` and `[[clients]]`, checked against what the handler declares.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Designed;
use crate::document::{Content, Fields, Node, Problem, Sink, Table};
use crate::domain::{Choice, Conflict, Handler, Kind, Named, Parameter, Settings, Setup, Value};
use crate::system::{FaultBudget, Invariant, QueryInvariant, Root, System, When};
use crate::world::database::QueryError;

/// What a scenario adds to the world of its handler: statements that run after the handler's own schema, and invariants.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras {
    schema: Option<Arc<str>>,
    invariants: Vec<Arc<dyn Invariant>>,
}

impl Designed {
    /// Builds the system.
    pub(super) fn system(&self, name: &Arc<str>) -> Result<System, Unbuilt> {
        let mut spec = self.handler.build(&self.setup)?;
        if let Some(schema) = &self.extras.schema {
            spec.world.database.run_script_at(schema, spec.world.now)?;
        }
        tell_apart(&mut spec.roots);
        spec.invariants.extend(self.extras.invariants.iter().cloned());
        spec.name = name.clone();
        spec.faults = self.setup.faults;
        let schema = self.extras.schema.as_deref().unwrap_or_default();
        spec.identity = format!("handler {}\n{}schema {schema:?}\n", self.handler.name(), self.setup).into();
        Ok(System::new(spec))
    }
}

/// Numbers processes that have the same name: the name in lanes is unique in a run.
fn tell_apart(roots: &mut [Root]) {
    let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    for root in roots {
        let count = counts.entry(root.label.clone()).or_default();
        *count += 1;
        if *count > 1 {
            root.label = format!("{} {count}", root.label).into();
        }
    }
}

/// Why a system can't be built.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Unbuilt {
    /// Values don't go together.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The scenario's own statements don't run.
    #[error(transparent)]
    Schema(#[from] QueryError),
}

impl From<Unbuilt> for Conflict {
    fn from(error: Unbuilt) -> Conflict {
        match error {
            Unbuilt::Conflict(conflict) => conflict,
            Unbuilt::Schema(error) => Conflict {
                key: vec!["domain".to_owned(), "schema".to_owned()],
                message: error.to_string(),
                help: None,
            },
        }
    }
}

/// Reads the handler and its setup. `None` when the handler is not known: nothing more can be said then.
pub(super) fn read(
    handlers: &[Arc<dyn Handler>],
    mut section: Fields<'_>,
    clients: Vec<Fields<'_>>,
    invariants: Vec<Fields<'_>>,
    faults: FaultBudget,
) -> Option<Designed> {
    let (name, span) = section.required_text("handler")?;
    let Some(handler) = handlers.iter().find(|handler| handler.name() == name) else {
        let known: Vec<&str> = handlers.iter().map(|handler| handler.name()).collect();
        section.sink().push(Problem::unknown(span, "handler", name, known));
        return None;
    };
    let mut setup = Setup::defaults(&**handler);
    setup.faults = faults;
    if let Some(mut fields) = section.fields("design") {
        for choice in handler.choices() {
            if let Some(option) = read_choice(&mut fields, choice) {
                setup.design.insert(choice.name, option);
            }
        }
        fields.finish();
    }
    setup.parameters = read_settings(&mut section, handler.parameters());
    let schema = section.text("schema").map(|(text, _)| Arc::from(text));
    section.finish();
    setup.clients = clients
        .into_iter()
        .flat_map(|fields| read_client(&**handler, fields))
        .collect();
    let invariants = invariants.into_iter().filter_map(read_invariant).collect();
    Some(Designed {
        handler: handler.clone(),
        setup,
        extras: Extras { schema, invariants },
    })
}

/// Points at the place of what keeps the system from being built.
pub(super) fn report(error: &Unbuilt, table: &Table, sink: &Sink) {
    match error {
        Unbuilt::Conflict(conflict) => {
            let span = table.span_at(&conflict.key).unwrap_or(0..0);
            let mut problem = Problem::new(span, conflict.message.clone(), "here");
            problem.help.clone_from(&conflict.help);
            sink.push(problem);
        }
        Unbuilt::Schema(error) => {
            let schema = table.get("domain").and_then(|section| section.table()?.get("schema"));
            if let Some(node) = schema {
                sink.push(sql_problem(error, node, sink));
            }
        }
    }
}

/// Reads one entry of `[[clients]]`: as many clients as its `count` says.
fn read_client(handler: &dyn Handler, mut fields: Fields<'_>) -> Vec<Settings> {
    let own = handler.clients().iter().any(|parameter| parameter.name == "count");
    let count = match own {
        true => 1,
        false => fields.int("count", 1..=64).unwrap_or(1),
    };
    let settings = read_settings(&mut fields, handler.clients());
    fields.finish();
    (0..count).map(|_| settings.clone()).collect()
}

fn read_choice(fields: &mut Fields<'_>, choice: &Choice) -> Option<&'static str> {
    pick(
        fields,
        choice.name,
        &format!("value of `{}`", choice.name),
        choice.options,
    )
}

fn pick(fields: &mut Fields<'_>, key: &str, what: &str, options: &'static [Named]) -> Option<&'static str> {
    let (word, span) = fields.text(key)?;
    let found = options.iter().find(|option| option.name == word);
    if found.is_none() {
        let known: Vec<&str> = options.iter().map(|option| option.name).collect();
        fields.sink().push(Problem::unknown(span, what, word, known));
    }
    found.map(|option| option.name)
}

fn read_settings(fields: &mut Fields<'_>, parameters: &[Parameter]) -> Settings {
    let mut settings = Settings::defaults(parameters);
    for parameter in parameters {
        let key = parameter.name;
        let value = match parameter.kind {
            Kind::Int { min, max, .. } => fields.int(key, min..=max).map(Value::Int),
            Kind::Text { .. } => fields.text(key).map(|(text, _)| Value::Text(text.into())),
            Kind::Bool { .. } => fields.truth(key).map(Value::Bool),
            Kind::OneOf(options) => {
                pick(fields, key, &format!("value of `{key}`"), options).map(|name| Value::Text(name.into()))
            }
        };
        if let Some(value) = value {
            settings.set(key, value);
        }
    }
    settings
}

fn read_invariant(mut fields: Fields<'_>) -> Option<Arc<dyn Invariant>> {
    let name = fields.required_text("name");
    let query = fields.required_text("query");
    let promise = fields.text("promise");
    let when = fields.word("when", "moment", &["always", "finally"]);
    fields.finish();
    let ((name, _), (query, _)) = (name?, query?);
    let promise = promise.map_or_else(|| format!("`{query}` returns no row"), |(text, _)| text.to_owned());
    Some(Arc::new(QueryInvariant {
        name: name.into(),
        promise: promise.into(),
        when: if when == Some("always") {
            When::Always
        } else {
            When::Finally
        },
        query: query.into(),
    }))
}

/// Checks the queries of a domain scenario's own invariants against the system's first state.
pub(super) fn check_queries(system: &System, nodes: &[Node], sink: &Sink) {
    let state = system.initial();
    let view = system.view(&state);
    for node in nodes {
        let Some(query) = node.table().and_then(|table| table.get("query")) else {
            continue;
        };
        let Content::Text(text) = &query.content else { continue };
        if let Err(error) = view.query(text) {
            sink.push(sql_problem(&error, query, sink));
        }
    }
}

/// What the model says about the SQL in a node, at its place.
fn sql_problem(error: &QueryError, node: &Node, sink: &Sink) -> Problem {
    match error {
        QueryError::Refused(refused) => {
            let span = node.place(sink.source(), refused.line as usize, refused.column as usize);
            let message = format!("{} is not supported in SQL", refused.construct);
            Problem::new(span, message, "the model does not know this").help(
                "SQL that the model does not know is refused, never guessed: write the statement with constructs it knows",
            )
        }
        QueryError::Sql(error) => Problem::new(node.span.clone(), error.to_string(), "in this SQL"),
    }
}
