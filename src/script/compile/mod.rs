//! From the syntax tree to operations: names become slots, blocks become jumps, expressions are read.

mod effect;
mod flow;
mod names;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use self::flow::Scope;
use self::names::Names;
use super::ast::{Block, Kind, Name, Step};
use super::code::{Code, Op, Pc, Shared, liveness};
use super::error::Problem;
use super::expr::Expr;
use super::words::Function;
use crate::machine::Effect;

/// What a process's steps are compiled in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    /// The process's name.
    pub(crate) name: String,
    /// Parameters: names that have a value from the start.
    pub(crate) params: Vec<String>,
    /// Names that a request may bring, when it is a handler; `None` inside is any.
    pub(crate) request: Option<Option<Vec<String>>>,
    /// It answers requests.
    pub(crate) answers: bool,
    /// The isolation level of transactions that name none, unless it is the server's own.
    pub(crate) isolation: Option<Arc<str>>,
    /// Names of errors that services of the scenario refuse with, and that other steps raise.
    pub(crate) errors: Vec<String>,
    /// Names of external services.
    pub(crate) externals: Vec<String>,
    /// For each endpoint the names of the fields that its handler answers with.
    pub(crate) replies: BTreeMap<String, BTreeSet<String>>,
    /// Which of the scenario's processes it is.
    pub(crate) number: usize,
    /// SQLSTATEs and names of errors that the scenario expects although nothing catches them.
    pub(crate) expected: Vec<String>,
}

/// Steps, compiled.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    /// The code.
    pub(crate) code: Shared,
    /// The atomic blocks in it, by their text.
    pub(crate) atomics: BTreeMap<Arc<str>, Shared>,
    /// SQL statements as they go out, with their places.
    pub(crate) statements: Vec<Statement>,
}

/// A SQL statement as it goes out.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) text: Arc<str>,
    /// Where the statement stands in the steps.
    pub(crate) span: Range<usize>,
    /// Offsets of the text with the places in the steps that they came from, ascending.
    pub(crate) origins: Vec<(usize, usize)>,
    /// Codes and names of the errors that something around the statement catches.
    pub(crate) caught: Vec<String>,
    /// Some of its operators get their types from the values of the script.
    pub(crate) is_cast: bool,
}

/// Compiles steps; problems, also warnings, have places in the steps.
pub(crate) fn compile(block: &Block, setting: &Setting, problems: &mut Vec<Problem>) -> Compiled {
    let mut compiler = Compiler::new(setting, Names::of(block, setting), problems);
    compiler.block(block);
    compiler.finish(block)
}

struct Compiler<'a> {
    setting: &'a Setting,
    names: Names,
    problems: &'a mut Vec<Problem>,
    ops: Vec<Op>,
    handlers: Vec<Vec<Pc>>,
    /// The places where an error that is raised here may go on.
    active: Vec<Label>,
    labels: Vec<Option<Pc>>,
    pending: Vec<Vec<Label>>,
    scopes: Vec<Scope>,
    atomics: BTreeMap<Arc<str>, Shared>,
    statements: Vec<Statement>,
    /// Inside an atomic block.
    atomic: bool,
    /// The script's own functions in an atomic block, by the names that their values have.
    asked: Vec<(String, &'static Function)>,
    /// Where the step or the condition begins that is being compiled.
    at: usize,
    /// The same for each operation.
    origins: Vec<usize>,
    /// Codes and names of the errors that something around the present step catches.
    caught: Vec<String>,
}

/// A place in the operations that may not be known yet. Jumps hold labels until the end, when they are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Label(u32);

impl<'a> Compiler<'a> {
    fn new(setting: &'a Setting, names: Names, problems: &'a mut Vec<Problem>) -> Self {
        Compiler {
            setting,
            names,
            problems,
            ops: Vec::new(),
            handlers: Vec::new(),
            active: Vec::new(),
            labels: Vec::new(),
            pending: Vec::new(),
            scopes: Vec::new(),
            atomics: BTreeMap::new(),
            statements: Vec::new(),
            atomic: false,
            asked: Vec::new(),
            at: 0,
            origins: Vec::new(),
            caught: Vec::new(),
        }
    }

    fn block(&mut self, block: &Block) {
        let mut ended: Option<&'static str> = None;
        for step in &block.0 {
            if let Some(by) = ended.take() {
                let problem =
                    Problem::warning("this step is never reached", step.span.clone()).label(format!("after `{by}`"));
                self.problems.push(problem);
            }
            self.step(step);
            ended = leaves(step);
        }
    }

    fn emit(&mut self, op: Op) {
        self.origins.push(self.at);
        self.ops.push(op);
        self.pending.push(self.active.clone());
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    fn place(&mut self, label: Label) {
        if let Some(place) = self.labels.get_mut(label.0 as usize) {
            *place = Some(self.ops.len() as Pc);
        }
    }

    fn slot(&mut self, name: &Name) -> u16 {
        self.names.slot(&name.text)
    }

    /// The slot of a result's name.
    fn bound(&mut self, name: &Option<Name>) -> Option<u16> {
        let name = name.as_ref()?;
        let hides = self.names.origin(&name.text, &self.setting.params);
        // Inside an atomic block the names outside are meant, which it may well use again.
        self.names.rebind(&name.text, false, hides.filter(|_| !self.atomic));
        Some(self.slot(name))
    }

    fn step(&mut self, step: &Step) {
        if self.atomic && !allowed_in_atomic(&step.kind) {
            let problem = Problem::new(
                "an atomic block holds cache commands, `let`, `if` and `return` only",
                step.span.clone(),
            );
            self.problems.push(problem);
            return;
        }
        let around = std::mem::replace(&mut self.at, step.span.start);
        self.compile_step(step);
        self.at = around;
    }

    fn compile_step(&mut self, step: &Step) {
        match &step.kind {
            Kind::Sql { bind, sql } => self.sql(bind, sql),
            Kind::Let { name, value } => {
                let value = self.expr(value);
                let is_text = matches!(&value, Expr::Operand(operand) if self.names.is_text(&operand.name));
                self.names.rebind(&name.text, is_text, None);
                let slot = self.slot(name);
                self.emit(Op::Let { slot, value });
            }
            Kind::Sleep(None) => {
                let amount = Self::constant(Effect::IDLE);
                self.emit(Op::Sleep { amount, unit: 1 });
            }
            Kind::Sleep(Some(duration)) => {
                let amount = self.expr(&duration.amount);
                let unit = duration.unit;
                self.emit(Op::Sleep { amount, unit });
            }
            Kind::Respond { status, body } => self.respond(status, body.as_ref()),
            Kind::Raise { name, message } => {
                let message = message.as_ref().map(|message| self.expr(message));
                let name = name.as_ref().map_or("failed", |name| &name.text).into();
                self.emit(Op::Raise { name, message });
            }
            Kind::Assert(condition) => self.assert(condition),
            Kind::Command { .. } => self.command(step),
            Kind::Send { .. } => self.send(step),
            Kind::Atomic { bind, body } => self.atomic_block(bind, body),
            _ => self.control(step),
        }
    }

    fn finish(mut self, block: &Block) -> Compiled {
        self.emit(Op::End);
        let epilogue = self.ops.len() as Pc;
        self.active.clear();
        self.emit(Op::RollbackIfOpen);
        self.emit(Op::RespondFailure);
        self.emit(Op::End);
        self.names.unused(self.problems);
        let labels: Vec<Pc> = self.labels.iter().map(|place| place.unwrap_or(epilogue)).collect();
        let resolve = |pc: &mut Pc| *pc = labels.get(*pc as usize).copied().unwrap_or(epilogue);
        for op in &mut self.ops {
            match op {
                Op::Jump(target)
                | Op::Unless { target, .. }
                | Op::Next { exit: target }
                | Op::NextRow { exit: target, .. }
                | Op::NextNumber { exit: target, .. }
                | Op::Try { target }
                | Op::Retry { again: target, .. }
                | Op::Spawn { entry: target, .. }
                | Op::Hook { entry: target }
                | Op::Catch { next: target, .. } => resolve(target),
                _ => {}
            }
        }
        for active in self.pending {
            let places = active
                .iter()
                .map(|label| labels.get(label.0 as usize).copied().unwrap_or(epilogue));
            self.handlers.push(places.collect());
        }
        let names: Vec<Arc<str>> = self.names.all();
        let live = liveness(&self.ops, &self.handlers, names.len());
        let setting = self.setting;
        let identity = format!("{}\n{:?}\n{names:?}\n{block}", setting.name, setting.isolation);
        let hooks = self.ops.iter().any(|op| matches!(op, Op::Hook { .. }));
        let code = Code {
            hooks,
            identity: identity.into(),
            ops: self.ops,
            names,
            live,
            epilogue,
            isolation: setting.isolation.clone(),
            answers: setting.answers && !self.atomic,
            number: setting.number,
            origins: self.origins,
            lines: Vec::new(),
            expected: setting.expected.clone(),
        };
        Compiled {
            code: Shared(Arc::new(code)),
            atomics: self.atomics,
            statements: self.statements,
        }
    }
}

/// How a step always leaves its block, if it does.
fn leaves(step: &Step) -> Option<&'static str> {
    match &step.kind {
        Kind::Return(_) => Some("return"),
        Kind::Break => Some("break"),
        Kind::Continue => Some("continue"),
        Kind::Raise { name: None, .. } => Some("fail"),
        Kind::Raise { name: Some(_), .. } => Some("raise"),
        Kind::If {
            arms,
            otherwise: Some(otherwise),
        } => {
            let blocks = arms.iter().map(|(_, block)| block).chain([otherwise]);
            let all: Option<Vec<&str>> = blocks.map(|block| block.0.last().and_then(leaves)).collect();
            all.map(|_| "an `if` that leaves on every branch")
        }
        Kind::Transaction { body, .. } | Kind::Lock { body, .. } => body.0.last().and_then(leaves),
        _ => None,
    }
}

fn allowed_in_atomic(kind: &Kind) -> bool {
    match kind {
        Kind::Let { .. }
        | Kind::If { .. }
        | Kind::Return(_)
        | Kind::While { .. }
        | Kind::Count { .. }
        | Kind::Break
        | Kind::Continue => true,
        Kind::Command { command, .. } => command.service == super::atomic::SERVICE,
        _ => false,
    }
}
