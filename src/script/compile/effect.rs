//! Effects: commands to services, requests, responses, atomic blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::Names;
use super::{Compiler, Setting};
use crate::script::ast::{Argument, Block, Code, Duration, Fields, Kind, Name, Param, Payload, Step};
use crate::script::code::{Body, Op};
use crate::script::error::Problem;
use crate::script::expr::{Expr, Operand};
use crate::script::operations::{KEYS, operations};
use crate::value::Value;

impl Compiler<'_> {
    pub(super) fn respond(&mut self, status: &Code, body: Option<&Payload>) {
        let status = self.expr(status);
        let body = match body {
            None => Body::Empty,
            Some(Payload::Value(value)) => Body::Value(self.expr(value)),
            Some(Payload::Fields(fields)) => Body::Fields(self.fields(fields)),
        };
        self.emit(Op::Respond { status, body });
    }

    pub(super) fn assert(&mut self, condition: &Code) {
        let (fails, end) = (self.label(), self.label());
        let text = condition.to_string();
        let condition = self.expr(condition);
        self.emit(Op::Unless {
            condition,
            target: fails.0,
        });
        self.emit(Op::Jump(end.0));
        self.place(fails);
        self.emit(Op::Raise {
            name: "assertion_failed".into(),
            message: Some(Self::constant(Value::text(text))),
        });
        self.place(end);
    }

    fn fields(&mut self, fields: &Fields) -> Vec<(Arc<str>, Expr)> {
        fields
            .iter()
            .map(|(name, value)| (Arc::from(name.text.as_str()), self.expr(value)))
            .collect()
    }

    pub(super) fn command(&mut self, step: &Step) {
        let Kind::Command {
            bind,
            command,
            target,
            operation,
            arguments,
            fields,
        } = &step.kind
        else {
            return;
        };
        let mut named = Vec::new();
        for (name, argument) in arguments {
            self.argument(command.service, name, argument, &mut named);
        }
        if let Some(fields) = fields {
            named.extend(self.fields(fields));
        }
        let service = match target {
            Some(target) => {
                self.external(target);
                target.text.as_str()
            }
            None => command.service,
        };
        let operation_name = operation.as_ref();
        let operation = match operation {
            Some(operation) => operation.text.as_str(),
            // `cache del KEY if VALUE` is the cache's compare-and-delete.
            None if command.operation == "del" && named.len() > 1 => "del_if",
            None if command.operation.is_empty() => "call",
            None => command.operation,
        };
        self.understood(step, service, operation_name, operation);
        if let Some(name) = bind {
            let columns = match command.answer {
                // What an external service or a job brings is not known here.
                [] => None,
                _ if matches!(command.operation, "take") => None,
                answer => Some(answer.iter().map(|column| (*column).to_owned()).collect()),
            };
            self.names.columns.insert(name.text.clone(), columns);
        }
        let named_by = bind.as_ref().map(|name| name.text.clone());
        let bind = self.bound(bind);
        if let Some(name) = named_by
            && command.service == "cache"
            && command.operation == "get"
        {
            self.names.texts(name);
        }
        self.emit(Op::Call {
            service: service.into(),
            operation: operation.into(),
            arguments: named,
            bind,
        });
    }

    /// Whether the service knows the operation and its arguments.
    fn understood(&mut self, step: &Step, service: &str, name: Option<&Name>, operation: &str) {
        let (Some(known), Kind::Command { arguments, fields, .. }) = (operations(service), &step.kind) else {
            return;
        };
        let span = name.map_or(step.span.clone(), |name| name.span.clone());
        let Some(found) = known.iter().find(|known| known.name == operation) else {
            let problem = Problem::new(format!("{service} has no operation `{operation}`"), span)
                .nearest(operation, known.iter().map(|known| known.name));
            let names: Vec<&str> = known.iter().map(|known| known.name).collect();
            self.problems
                .push(problem.label(format!("it has {}", names.join(", "))));
            return;
        };
        let mut given: Vec<&str> = arguments.iter().map(|(name, _)| *name).collect();
        for (field, _) in fields.iter().flatten() {
            let argument = field.text.as_str();
            let mut all = found.needs.iter().chain(found.takes).chain(&KEYS);
            if !all.any(|known| *known == argument) {
                let known = found.needs.iter().chain(found.takes).copied();
                let names: Vec<&str> = known.clone().collect();
                let problem = Problem::new(format!("`{operation}` takes no `{argument}`"), field.span.clone())
                    .label(format!("it takes {}", names.join(", ")))
                    .nearest(argument, known);
                self.problems.push(problem);
            }
            given.push(argument);
        }
        let missing: Vec<&str> = found
            .needs
            .iter()
            .copied()
            .filter(|needed| !given.contains(needed))
            .collect();
        if !missing.is_empty() {
            let problem = Problem::new(format!("`{operation}` needs `{}`", missing.join("` and `")), span);
            self.problems.push(problem.label("an argument is missing"));
        }
    }

    fn argument(&mut self, service: &str, name: &str, argument: &Argument, named: &mut Vec<(Arc<str>, Expr)>) {
        match argument {
            Argument::Value(value) => {
                let value = self.expr(value);
                named.push((name.into(), value));
            }
            Argument::Flag => named.push((name.into(), Self::constant(true))),
            Argument::Duration(duration) => {
                let value = self.micros(duration);
                named.push((name.into(), value));
            }
            Argument::Name(job) if service == "queue" && name == "job" => self.job(job, named),
            Argument::Name(value) => named.push((name.into(), Self::constant(Value::text(value.text.as_str())))),
        }
    }

    /// A job that `take` gave a name to: its queue and its own name.
    fn job(&mut self, job: &Name, named: &mut Vec<(Arc<str>, Expr)>) {
        match self.names.jobs.get(&job.text) {
            Some(Some(queue)) => named.push(("queue".into(), Self::constant(Value::text(queue.as_str())))),
            Some(None) => {
                let problem = Problem::new(format!("`{}` is taken from several queues", job.text), job.span.clone())
                    .help("give the jobs of each queue a name of their own");
                self.problems.push(problem);
            }
            None => {
                let known: Vec<String> = self.names.jobs.keys().cloned().collect();
                let problem = Problem::new(format!("`{}` is not a job", job.text), job.span.clone())
                    .label("no `take` gives it")
                    .nearest(&job.text, known.iter().map(String::as_str));
                self.problems.push(problem);
            }
        }
        let param = Param {
            name: job.text.clone(),
            field: Some("job".to_owned()),
            all: false,
        };
        let operand = self.operand(&param, &job.span);
        named.push(("job".into(), Expr::Operand(operand)));
    }

    /// A span of time in microseconds. One with an amount that is not a literal is computed by the expression itself.
    fn micros(&mut self, duration: &Duration) -> Expr {
        let unit = if duration.unit == 0 { 1_000_000 } else { duration.unit };
        match self.expr(&duration.amount) {
            Expr::Const(typed) => match typed.value {
                Value::Int(number) => Self::constant(number.saturating_mul(unit)),
                _ => {
                    let problem = Problem::new("a number and a unit are needed here", duration.amount.span.clone());
                    self.problems.push(problem);
                    Self::constant(0_i64)
                }
            },
            _ => {
                let mut code = duration.amount.clone();
                let around = |text: String, code: &mut Code, place: usize| {
                    code.pieces.insert(
                        place,
                        crate::script::ast::Piece {
                            kind: crate::script::ast::PieceKind::Text(text),
                            span: code.span.clone(),
                            spaced: true,
                        },
                    );
                };
                around("(".to_owned(), &mut code, 0);
                let end = code.pieces.len();
                around(format!(") * {unit}"), &mut code, end);
                self.expr(&code)
            }
        }
    }

    fn external(&mut self, target: &Name) {
        let known = &self.setting.externals;
        if !known.is_empty() && !known.contains(&target.text) {
            let near = super::super::error::nearest(&target.text, known.iter().map(String::as_str));
            if near.is_some() {
                let problem = Problem::new(format!("unknown service `{}`", target.text), target.span.clone())
                    .nearest(&target.text, known.iter().map(String::as_str));
                self.problems.push(problem);
            }
        }
    }

    pub(super) fn send(&mut self, step: &Step) {
        let Kind::Send {
            bind,
            endpoint,
            fields,
            headers,
            retry,
        } = &step.kind
        else {
            return;
        };
        let body = fields.as_ref().map(|fields| self.fields(fields)).unwrap_or_default();
        let headers = headers.as_ref().map(|headers| self.fields(headers)).unwrap_or_default();
        let headers = headers
            .into_iter()
            .map(|(name, value)| (Arc::from(name.to_ascii_lowercase().replace('_', "-")), value))
            .collect();
        let named_by = bind.as_ref().map(|name| name.text.clone());
        let bind = self.bound(bind);
        if let Some(name) = named_by {
            self.names.responses.insert(name, endpoint.text.clone());
        }
        let op = Op::Send {
            endpoint: endpoint.text.as_str().into(),
            fields: body,
            headers,
            bind,
        };
        let Some((times, on)) = retry else {
            return self.emit(op);
        };
        let times = self.expr(times);
        let on = self.errors(on);
        let again = self.label();
        self.emit(Op::Retry {
            times,
            on,
            again: again.0,
        });
        self.active.push(again);
        self.place(again);
        self.emit(op);
        self.active.pop();
        self.emit(Op::Pop);
    }

    pub(super) fn atomic_block(&mut self, bind: &Option<Name>, body: &Block) {
        let text: Arc<str> = body.to_string().split_whitespace().collect::<Vec<_>>().join(" ").into();
        let mut setting = Setting {
            name: "atomic".to_owned(),
            errors: self.setting.errors.clone(),
            ..Setting::default()
        };
        // Bare words that mean something outside mean it inside too.
        setting.params = self.names.candidates();
        let names = Names::inside(body, &self.names);
        let mut inner = Compiler::new(&setting, names, self.problems);
        inner.atomic = true;
        inner.block(body);
        let outer = inner.names.outer.clone().unwrap_or_default();
        let asked = std::mem::take(&mut inner.asked);
        let compiled = inner.finish(body);
        // The application's own clock and fresh values are asked for before the block begins, and come along.
        for (name, function) in asked {
            self.ask(&name, function);
        }
        let operands: Vec<(Arc<str>, Operand)> = outer
            .into_iter()
            .map(|(name, param, span)| (name, self.operand(&param, &span)))
            .collect();
        self.atomics.insert(text.clone(), compiled.code);
        if let Some(name) = bind {
            self.names
                .columns
                .insert(name.text.clone(), Some(vec!["value".to_owned()]));
        }
        let bind = self.bound(bind);
        self.emit(Op::Atomic {
            script: text,
            operands,
            bind,
        });
    }
}

/// The queue of each name that `take` gives; `None` when there are several.
pub(super) fn jobs(block: &Block) -> BTreeMap<String, Option<String>> {
    let mut jobs: BTreeMap<String, Option<String>> = BTreeMap::new();
    block.walk(&mut |step| {
        if let Kind::Command {
            bind: Some(name),
            command,
            arguments,
            ..
        } = &step.kind
            && command.service == "queue"
            && command.operation == "take"
            && let Some((_, Argument::Name(queue))) = arguments.first()
        {
            let known = jobs
                .entry(name.text.clone())
                .or_insert_with(|| Some(queue.text.clone()));
            if known.as_ref() != Some(&queue.text) {
                *known = None;
            }
        }
    });
    jobs
}
