//! Processes: their steps read and compiled, their parameters bound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use toml::Spanned;

use super::place::Place;
use super::world::{Start, value_of};
use crate::machine::{Program, Request};
use crate::script::Source;
use crate::script::ast::{Block, Kind, Payload};
use crate::script::bound::{Bound, Typed};
use crate::script::code::{Op, Shared};
use crate::script::compile::{Compiled, Setting, Statement, compile};
use crate::script::dead::{Dead, Lines, Watched, line_of};
use crate::script::error::Problem;
use crate::script::file::ProcessSection;
use crate::script::parse::parse;
use crate::script::promises;
use crate::script::run::Interpreter;
use crate::system::{Endpoint, Role, Root};
use crate::value::Value;

/// The processes of a scenario, compiled.
pub(super) struct Processes<'a>(Vec<Process<'a>>);

struct Process<'a> {
    section: &'a ProcessSection,
    steps: &'a Spanned<String>,
    block: Block,
    place: Place<'a>,
    role: Role,
    compiled: Compiled,
    /// The values of the parameters, for each instance.
    instances: Vec<Vec<(String, Value)>>,
}

/// Steps that were read, not compiled yet.
struct Draft<'a> {
    section: &'a ProcessSection,
    steps: &'a Spanned<String>,
    block: Block,
}

/// The roles in the file.
const ROLES: [(&str, Role); 5] = [
    ("client", Role::Client),
    ("handler", Role::Handler),
    ("worker", Role::Worker),
    ("scheduler", Role::Worker),
    ("courier", Role::Courier),
];

/// The fields of the provider's webhooks.
const PROVIDER_FIELDS: [&str; 7] = ["id", "type", "intent", "reference", "status", "amount", "created"];

/// Names that mean something else in every handler.
const OWN_NAMES: [&str; 4] = ["process", "instance", "headers", "request"];

/// The codes that the world's own services refuse with.
const REFUSALS: [&str; 12] = [
    "card_declined",
    "idempotency_error",
    "idempotency_key_in_use",
    "resource_missing",
    "parameter_missing",
    "parameter_invalid_integer",
    "charge_already_refunded",
    "payment_intent_unexpected_state",
    "cache_error",
    "invalid_recipient",
    "unknown_operation",
    "rate_limit",
];

impl<'a> Processes<'a> {
    pub(super) fn read(source: &Source<'a>, world: &Start, problems: &mut Vec<Problem>) -> Processes<'a> {
        let drafts = drafts(source, problems);
        let common = Common::of(source, &drafts, world);
        common.check_endpoints(source, &drafts, problems);
        let compiled = drafts
            .into_iter()
            .enumerate()
            .map(|(number, draft)| common.compile(source, number, draft, problems));
        Processes(compiled.collect())
    }

    /// What of the processes can be dead, for a search to tell.
    pub(super) fn dead(&self, source: &Source<'_>) -> Dead {
        let processes = self.0.iter().map(|process| Watched {
            name: process.section.name.get_ref().as_str().into(),
            line: line_of(source.text, process.section.name.span().start),
            lines: Lines::of(source.text, process.steps, &process.place),
            block: process.block.clone(),
            code: process.compiled.code.clone(),
        });
        let promised = |name: &String| promises::NAMES.contains(&name.as_str());
        Dead {
            processes: processes.collect(),
            promises_nothing: source.sections.invariants.is_empty() && !source.expect.invariants.iter().any(promised),
        }
    }

    /// The code of every process.
    pub(super) fn codes(&self) -> impl Iterator<Item = &Shared> {
        self.0.iter().map(|process| &process.compiled.code)
    }

    /// Every statement that goes to the database, with the place of its steps.
    pub(super) fn statements(&self) -> impl Iterator<Item = (&Place<'a>, &Statement)> {
        self.0.iter().flat_map(|process| {
            process
                .compiled
                .statements
                .iter()
                .map(|statement| (&process.place, statement))
        })
    }

    /// The same, process by process.
    pub(super) fn statements_by_process(&self) -> impl Iterator<Item = impl Iterator<Item = &Statement>> {
        self.0.iter().map(|process| process.compiled.statements.iter())
    }

    /// Every atomic block, by its text.
    pub(super) fn atomics(&self) -> BTreeMap<Arc<str>, Shared> {
        let blocks = self.0.iter().flat_map(|process| &process.compiled.atomics);
        blocks.map(|(text, code)| (text.clone(), code.clone())).collect()
    }

    /// Whether any process answers.
    pub(super) fn respond(&self) -> bool {
        let answers = |op: &Op| matches!(op, Op::Respond { .. });
        self.codes().any(|code| code.0.ops.iter().any(answers))
    }

    /// What a schedule depends on, a line or more for each process.
    pub(super) fn identity(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|process| {
            format!(
                "{} {:?} {:?} {:?}\n{}",
                process.section.name.get_ref(),
                process.role,
                process.section.on.as_ref().map(Spanned::get_ref),
                process.instances,
                process.compiled.code.0.identity
            )
        })
    }

    /// The processes that are there from the start.
    pub(super) fn roots(&self) -> Vec<Root> {
        let mut roots = Vec::new();
        for process in self.0.iter().filter(|process| process.section.on.is_none()) {
            let name = process.section.name.get_ref();
            for (number, params) in process.instances.iter().enumerate() {
                let label: Arc<str> = match process.instances.len() {
                    1 => name.as_str().into(),
                    _ => format!("{name} {}", number + 1).into(),
                };
                let code = &process.compiled.code;
                let mut values: Vec<(u16, Bound)> = Vec::new();
                let mut give = |name: &str, value: Value| {
                    if let Some(slot) = slot(code, name) {
                        values.push((slot, Bound::Scalar(Typed::plain(value))));
                    }
                };
                give("process", Value::Text(label.clone()));
                give("instance", Value::Int(number as i64 + 1));
                params.iter().for_each(|(name, value)| give(name, value.clone()));
                roots.push(Root {
                    label,
                    program: Program::new(Interpreter::new(code.clone(), values)),
                    role: process.role,
                });
            }
        }
        roots
    }

    /// What handles requests.
    pub(super) fn endpoints(&self) -> BTreeMap<Arc<str>, Endpoint> {
        let mut endpoints = BTreeMap::new();
        for process in &self.0 {
            let Some(on) = &process.section.on else { continue };
            let code = process.compiled.code.clone();
            let params = process.instances.first().cloned().unwrap_or_default();
            let open = move |request: &Request| {
                Program::new(Interpreter::new(code.clone(), received(&code, &params, request)))
            };
            endpoints.insert(
                endpoint_name(on.get_ref()).into(),
                Endpoint {
                    open: Arc::new(open),
                    role: process.role,
                },
            );
        }
        endpoints
    }
}

fn slot(code: &Shared, name: &str) -> Option<u16> {
    let place = code.0.names.iter().position(|known| **known == *name)?;
    Some(place as u16)
}

/// What a handler knows at its start: its parameters and the request.
fn received(code: &Shared, params: &[(String, Value)], request: &Request) -> Vec<(u16, Bound)> {
    let scalar = |value: Value| Bound::Scalar(Typed::plain(value));
    let values = code.0.names.iter().enumerate().filter_map(|(slot, name)| {
        let bound = match &**name {
            "headers" => Bound::fields(&request.headers),
            "request" => Bound::fields(&request.body),
            "process" => scalar(Value::Text(request.endpoint.clone())),
            "instance" => scalar(Value::Int(1)),
            name => match request.body.get(name) {
                Some(value) => scalar(Value::Text(value.clone())),
                None => scalar(params.iter().find(|(param, _)| param == name)?.1.clone()),
            },
        };
        Some((slot as u16, bound))
    });
    values.collect()
}

/// `POST  /orders` and `post /orders` are one endpoint.
fn endpoint_name(text: &str) -> String {
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(method), Some(path)) => format!("{} {path}", method.to_ascii_uppercase()),
        _ => text.trim().to_owned(),
    }
}

fn drafts<'a>(source: &Source<'a>, problems: &mut Vec<Problem>) -> Vec<Draft<'a>> {
    let mut drafts = Vec::new();
    let mut names: BTreeSet<&str> = BTreeSet::new();
    if source.sections.processes.is_empty() {
        problems.push(Problem::new("there is no process", 0..0).help("add a section `[[process]]`"));
    }
    for section in &source.sections.processes {
        let name = section.name.get_ref();
        if !names.insert(name) {
            problems.push(Problem::new(
                format!("there are two processes `{name}`"),
                section.name.span(),
            ));
        }
        let Some(steps) = &section.steps else {
            let problem = Problem::new(format!("process `{name}` has no `steps`"), section.name.span());
            problems.push(problem);
            continue;
        };
        match parse(steps.get_ref()) {
            Ok(block) => drafts.push(Draft { section, steps, block }),
            Err(found) => {
                let place = Place::of(source.text, steps);
                problems.extend(found.into_iter().map(|problem| moved(problem, &place)));
            }
        }
    }
    drafts
}

fn moved(mut problem: Problem, place: &Place<'_>) -> Problem {
    problem.span = place.map(problem.span);
    problem
}

/// What the processes of a scenario know of each other.
struct Common {
    /// For each endpoint the names of the fields that are sent there; `None` when they can't be known.
    sent: BTreeMap<String, Option<BTreeSet<String>>>,
    errors: Vec<String>,
    externals: Vec<String>,
    isolation: Option<Arc<str>>,
    /// For each endpoint the names of the fields that its handler answers with.
    replies: BTreeMap<String, BTreeSet<String>>,
}

impl Common {
    fn of(source: &Source<'_>, drafts: &[Draft<'_>], world: &Start) -> Common {
        let mut sent: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
        let mut errors: BTreeSet<String> = REFUSALS.iter().map(|code| (*code).to_owned()).collect();
        let mut add = |endpoint: String, fields: &mut dyn Iterator<Item = String>| {
            if let Some(known) = sent.entry(endpoint).or_insert_with(|| Some(BTreeSet::new())) {
                known.extend(fields);
            }
        };
        let mut replies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for draft in drafts {
            let endpoint = draft.section.on.as_ref().map(|on| endpoint_name(on.get_ref()));
            draft.block.walk(&mut |step| match &step.kind {
                Kind::Respond {
                    body: Some(Payload::Fields(fields)),
                    ..
                } => {
                    if let Some(endpoint) = &endpoint {
                        let names = fields.iter().map(|(name, _)| name.text.clone());
                        replies.entry(endpoint.clone()).or_default().extend(names);
                    }
                }
                Kind::Send { endpoint, fields, .. } => {
                    let fields = fields.iter().flatten();
                    add(endpoint.text.clone(), &mut fields.map(|(name, _)| name.text.clone()));
                }
                Kind::Raise { name: Some(name), .. } => drop(errors.insert(name.text.clone())),
                _ => {}
            });
        }
        if let Some(world) = &source.sections.world {
            for section in world.external.values() {
                errors.extend(section.refusal.clone());
                if let Some(webhook) = &section.webhook {
                    add(
                        endpoint_name(webhook.endpoint.get_ref()),
                        &mut webhook.body.keys().cloned(),
                    );
                }
            }
            if let Some(webhook) = world.provider.as_ref().and_then(|provider| provider.webhook.as_ref()) {
                let fields = PROVIDER_FIELDS.iter().map(|field| (*field).to_owned());
                add(endpoint_name(webhook.get_ref()), &mut fields.into_iter());
            }
        }
        Common {
            sent,
            errors: errors.into_iter().collect(),
            externals: world.externals.iter().map(|name| name.to_string()).collect(),
            isolation: world.isolation.clone(),
            replies,
        }
    }

    /// Every request must go to an endpoint that something handles.
    fn check_endpoints(&self, source: &Source<'_>, drafts: &[Draft<'_>], problems: &mut Vec<Problem>) {
        let handled: Vec<String> = source
            .sections
            .processes
            .iter()
            .filter_map(|section| Some(endpoint_name(section.on.as_ref()?.get_ref())))
            .collect();
        let mut hidden = Vec::new();
        let mut check = |endpoint: &str, span: std::ops::Range<usize>| {
            if !handled.iter().any(|known| known == endpoint) {
                let problem = Problem::new(format!("nothing handles `{endpoint}`"), span)
                    .label("no process has it as `on`")
                    .nearest(endpoint, handled.iter().map(String::as_str));
                problems.push(problem);
            }
        };
        for draft in drafts {
            let place = Place::of(source.text, draft.steps);
            draft.block.walk(&mut |step| {
                if let Kind::Send { endpoint, fields, .. } = &step.kind {
                    check(&endpoint.text, place.map(endpoint.span.clone()));
                    for (name, _) in fields.iter().flatten() {
                        if OWN_NAMES.contains(&name.text.as_str()) {
                            let message = format!("a handler's `:{}` is not this field", name.text);
                            let help = format!("it is read as `:request.{}`; or give it another name", name.text);
                            let problem = Problem::warning(message, place.map(name.span.clone())).help(help);
                            hidden.push(problem);
                        }
                    }
                }
            });
        }
        let world = source.sections.world.iter();
        for world in world {
            let external = world.external.values().filter_map(|section| section.webhook.as_ref());
            let provider = world.provider.iter().filter_map(|provider| provider.webhook.as_ref());
            for endpoint in external.map(|webhook| &webhook.endpoint).chain(provider) {
                check(&endpoint_name(endpoint.get_ref()), endpoint.span());
            }
        }
        problems.append(&mut hidden);
    }

    fn compile<'a>(
        &self,
        source: &Source<'a>,
        number: usize,
        draft: Draft<'a>,
        problems: &mut Vec<Problem>,
    ) -> Process<'a> {
        let section = draft.section;
        let place = Place::of(source.text, draft.steps);
        let role = role(section, problems);
        let instances = instances(section, problems);
        let params: BTreeSet<String> = instances.iter().flatten().map(|(name, _)| name.clone()).collect();
        let request = section.on.as_ref().map(|on| {
            let fields = self.sent.get(&endpoint_name(on.get_ref())).cloned();
            fields.unwrap_or(None).map(|fields| fields.into_iter().collect())
        });
        let setting = Setting {
            name: section.name.get_ref().clone(),
            params: params.iter().cloned().collect(),
            request,
            answers: role == Role::Handler,
            isolation: self.isolation.clone(),
            errors: self.errors.clone(),
            externals: self.externals.clone(),
            replies: self.replies.clone(),
            number,
            expected: source.expect.errors.clone(),
        };
        let mut found = Vec::new();
        let mut compiled = compile(&draft.block, &setting, &mut found);
        if let Some(code) = Arc::get_mut(&mut compiled.code.0) {
            let lines = Lines::of(source.text, draft.steps, &place);
            code.lines = code.origins.iter().map(|origin| lines.line(*origin)).collect();
        }
        for name in &params {
            if slot(&compiled.code, name).is_none() && !name.starts_with('_') {
                let span = section.params.as_ref().map(Spanned::span).unwrap_or_default();
                problems.push(Problem::warning(format!("parameter `{name}` is never used"), span));
            }
        }
        problems.extend(found.into_iter().map(|problem| moved(problem, &place)));
        Process {
            section,
            steps: draft.steps,
            block: draft.block,
            place,
            role,
            compiled,
            instances,
        }
    }
}

fn role(section: &ProcessSection, problems: &mut Vec<Problem>) -> Role {
    let Some(stated) = &section.role else {
        return Role::Handler;
    };
    match ROLES.iter().find(|(name, _)| name == stated.get_ref()) {
        Some((_, role)) => *role,
        None => {
            let known = ROLES.map(|(name, _)| name);
            let problem = Problem::new(format!("unknown role `{}`", stated.get_ref()), stated.span())
                .label(format!("expected {}", known.join(", ")))
                .nearest(stated.get_ref(), known);
            problems.push(problem);
            Role::Handler
        }
    }
}

/// The parameters of each instance.
fn instances(section: &ProcessSection, problems: &mut Vec<Problem>) -> Vec<Vec<(String, Value)>> {
    let count = usize::from(section.count.unwrap_or(1));
    let named = |table: &toml::Table| -> Vec<(String, Value)> {
        table
            .iter()
            .map(|(name, value)| (name.clone(), value_of(value)))
            .collect()
    };
    let Some(params) = &section.params else {
        return vec![Vec::new(); count];
    };
    match params.get_ref() {
        toml::Value::Table(table) => vec![named(table); count],
        toml::Value::Array(tables) => {
            let all: Option<Vec<_>> = tables.iter().map(|table| table.as_table().map(named)).collect();
            let Some(all) = all else {
                problems.push(Problem::new(
                    "`params` holds something that is not a table",
                    params.span(),
                ));
                return vec![Vec::new(); count];
            };
            if section.count.is_some() && all.len() != count {
                let problem = Problem::new(format!("{} tables for {count} processes", all.len()), params.span())
                    .help("leave `count` out: there is a process for each table");
                problems.push(problem);
            }
            all
        }
        _ => {
            let problem = Problem::new("`params` is neither a table nor an array of tables", params.span());
            problems.push(problem);
            vec![Vec::new(); count]
        }
    }
}
