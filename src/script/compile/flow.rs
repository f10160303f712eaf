//! Control flow: blocks as jumps, and what leaving a block has to do on the way.

use std::sync::Arc;

use super::{Compiler, Label};
use crate::script::ast::{Block, Catch, Code, ErrorName, Kind, Name, Step};
use crate::script::code::{Control, Op, Pc};
use crate::script::error::Problem;
use crate::script::words::{FAILURES, sqlstate};

/// A block that is open while its steps are compiled.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    /// A loop, with a frame.
    Loop { next: Label, exit: Label },
    /// A try or retry, with a frame.
    Frame,
    /// A `finally` that has to run on the way out.
    Finally(Block),
    /// A transaction that is committed on the way out.
    Transaction,
    /// A mutex that is given back on the way out.
    Mutex(u16),
    /// A hook or a spawned process: nothing leaves it but its own end.
    Wall { hook: bool },
}

impl Compiler<'_> {
    pub(super) fn control(&mut self, step: &Step) {
        match &step.kind {
            Kind::If { arms, otherwise } => self.choice(arms, otherwise.as_ref()),
            Kind::While { condition, most, body } => self.repeat(condition.as_ref(), most, body),
            Kind::Each { row, rows, most, body } => self.each(row, rows, most.as_ref(), body),
            Kind::Count { name, from, to, body } => {
                let (from, to) = (self.expr(from), self.expr(to));
                let slot = self.slot(name);
                self.emit(Op::Count { from, to });
                self.rounds(|exit| Op::NextNumber { slot, exit }, body);
            }
            Kind::Break | Kind::Continue => self.leave_loop(step),
            Kind::Return(value) => self.leave(value.as_ref()),
            Kind::Try { body, catches, finally } => self.attempt(body, catches, finally.as_ref()),
            Kind::Retry { times, on, pause, body } => {
                let times = self.expr(times);
                let on = self.errors(on);
                let (again, start) = (self.label(), self.label());
                self.emit(Op::Retry {
                    times,
                    on,
                    again: again.0,
                });
                self.scopes.push(Scope::Frame);
                self.active.push(again);
                self.emit(Op::Jump(start.0));
                self.place(again);
                self.emit(Op::RollbackIfOpen);
                if let Some(pause) = pause {
                    let amount = self.expr(&pause.amount);
                    self.emit(Op::Sleep {
                        amount,
                        unit: pause.unit,
                    });
                }
                self.place(start);
                self.block(body);
                self.active.pop();
                self.scopes.pop();
                self.emit(Op::Pop);
            }
            Kind::Transaction { modes, body } => self.transaction(modes, body),
            Kind::Lock { key, body } => self.mutex(key, body, &step.span),
            Kind::AfterCommit(body) => self.apart(body, None, true),
            Kind::Spawn { label, body } => self.apart(body, label.as_ref(), false),
            _ => {}
        }
    }

    fn choice(&mut self, arms: &[(Code, Block)], otherwise: Option<&Block>) {
        let end = self.label();
        for (condition, block) in arms {
            let next = self.label();
            self.condition(condition, next);
            self.block(block);
            self.emit(Op::Jump(end.0));
            self.place(next);
        }
        if let Some(block) = otherwise {
            self.block(block);
        }
        self.place(end);
    }

    /// Goes on elsewhere unless the condition holds.
    fn condition(&mut self, condition: &Code, otherwise: Label) {
        let around = std::mem::replace(&mut self.at, condition.span.start);
        let condition = self.expr(condition);
        self.emit(Op::Unless {
            condition,
            target: otherwise.0,
        });
        self.at = around;
    }

    fn repeat(&mut self, condition: Option<&Code>, most: &Code, body: &Block) {
        let most = self.expr(most);
        let (next, exit) = (self.label(), self.label());
        self.emit(Op::Loop { most: Some(most) });
        self.scopes.push(Scope::Loop { next, exit });
        self.place(next);
        self.emit(Op::Next { exit: exit.0 });
        if let Some(condition) = condition {
            self.condition(condition, exit);
        }
        self.block(body);
        self.scopes.pop();
        self.emit(Op::Jump(next.0));
        self.place(exit);
        self.emit(Op::Pop);
    }

    fn each(&mut self, row: &Name, rows: &Name, most: Option<&Code>, body: &Block) {
        let param = crate::script::ast::Param {
            name: rows.text.clone(),
            field: None,
            all: false,
        };
        let source = self.operand(&param, &rows.span).slot;
        if let Some(columns) = self.names.columns.get(&rows.text).cloned() {
            self.names.columns.insert(row.text.clone(), columns);
        }
        let most = most.map(|most| self.expr(most));
        let hides = self.names.origin(&row.text, &self.setting.params);
        self.names.rebind(&row.text, false, hides);
        let slot = self.slot(row);
        self.emit(Op::Each { rows: source, most });
        self.rounds(|exit| Op::NextRow { row: slot, exit }, body);
    }

    fn rounds(&mut self, op: impl FnOnce(Pc) -> Op, body: &Block) {
        let (next, exit) = (self.label(), self.label());
        self.scopes.push(Scope::Loop { next, exit });
        self.place(next);
        self.emit(op(exit.0));
        self.block(body);
        self.scopes.pop();
        self.emit(Op::Jump(next.0));
        self.place(exit);
        self.emit(Op::Pop);
    }

    fn attempt(&mut self, body: &Block, catches: &[Catch], finally: Option<&Block>) {
        let Some(finally) = finally else {
            return self.catching(body, catches);
        };
        self.guarded(
            Scope::Finally(finally.clone()),
            |compiler| compiler.catching(body, catches),
            |compiler| compiler.block(finally),
        );
    }

    fn catching(&mut self, body: &Block, catches: &[Catch]) {
        let (landing, end) = (self.label(), self.label());
        self.emit(Op::Try { target: landing.0 });
        self.scopes.push(Scope::Frame);
        self.active.push(landing);
        let caught = self.caught.len();
        self.caught.extend(catches.iter().flat_map(|catch| codes(&catch.names)));
        self.block(body);
        self.caught.truncate(caught);
        self.active.pop();
        self.scopes.pop();
        self.emit(Op::Pop);
        self.emit(Op::Jump(end.0));
        self.place(landing);
        for catch in catches {
            let next = self.label();
            let names = self.errors(&catch.names);
            let slot = self.bound(&catch.alias);
            self.emit(Op::Catch {
                names,
                slot,
                next: next.0,
            });
            self.block(&catch.body);
            self.emit(Op::Jump(end.0));
            self.place(next);
        }
        self.emit(Op::Rethrow);
        self.place(end);
    }

    /// A body after which, however it is left, something is done: after an error too, which then goes on.
    fn guarded(&mut self, scope: Scope, body: impl FnOnce(&mut Self), after: impl Fn(&mut Self)) {
        let (landing, end) = (self.label(), self.label());
        self.emit(Op::Try { target: landing.0 });
        self.scopes.push(scope);
        self.scopes.push(Scope::Frame);
        self.active.push(landing);
        body(self);
        self.active.pop();
        self.scopes.pop();
        self.scopes.pop();
        self.emit(Op::Pop);
        let warnings = self.problems.len();
        after(self);
        self.emit(Op::Jump(end.0));
        self.place(landing);
        after(self);
        // The same steps, compiled twice: their problems are told once.
        let mut told = self.problems.split_off(warnings);
        told.dedup();
        for problem in told {
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        self.emit(Op::Rethrow);
        self.place(end);
    }

    fn transaction(&mut self, modes: &str, body: &Block) {
        let level = match &self.setting.isolation {
            Some(level) if !modes.contains("isolation") => format!(" isolation level {level}"),
            _ => String::new(),
        };
        let modes = if modes.is_empty() {
            String::new()
        } else {
            format!(" {modes}")
        };
        let (landing, end) = (self.label(), self.label());
        self.statement(&format!("begin{modes}{level}"), Control::Begin);
        self.emit(Op::Try { target: landing.0 });
        self.scopes.push(Scope::Transaction);
        self.scopes.push(Scope::Frame);
        self.active.push(landing);
        self.block(body);
        self.active.pop();
        self.scopes.pop();
        self.scopes.pop();
        self.emit(Op::Pop);
        self.statement("commit", Control::Commit);
        self.emit(Op::Jump(end.0));
        self.place(landing);
        self.emit(Op::RollbackIfOpen);
        self.emit(Op::Rethrow);
        self.place(end);
    }

    pub(super) fn statement(&mut self, text: &str, control: Control) {
        self.emit(Op::Sql {
            text: text.into(),
            params: Vec::new(),
            casts: Vec::new(),
            bind: None,
            control,
        });
    }

    fn mutex(&mut self, key: &Code, body: &Block, span: &std::ops::Range<usize>) {
        let key = self.expr(key);
        let slot = self.names.slot(&format!("mutex at {}", span.start));
        self.emit(Op::Let { slot, value: key });
        self.mutex_command("acquire", slot);
        self.guarded(
            Scope::Mutex(slot),
            |compiler| compiler.block(body),
            |compiler| compiler.mutex_command("release", slot),
        );
    }

    fn mutex_command(&mut self, operation: &str, slot: u16) {
        let key = crate::script::expr::Expr::Operand(crate::script::expr::Operand {
            slot,
            name: "the mutex".into(),
            field: None,
            all: false,
        });
        self.emit(Op::Call {
            service: "locks".into(),
            operation: operation.into(),
            arguments: vec![("key".into(), key)],
            bind: None,
        });
    }

    /// Steps that run apart from those around them: a hook, a spawned process.
    fn apart(&mut self, body: &Block, label: Option<&Name>, hook: bool) {
        let (entry, end) = (self.label(), self.label());
        let process = label.map_or_else(|| format!("{} task", self.setting.name), |label| label.text.clone());
        self.emit(match hook {
            true => Op::Hook { entry: entry.0 },
            false => Op::Spawn {
                label: process.into(),
                entry: entry.0,
            },
        });
        self.emit(Op::Jump(end.0));
        self.place(entry);
        let active = std::mem::take(&mut self.active);
        let caught = std::mem::take(&mut self.caught);
        self.scopes.push(Scope::Wall { hook });
        self.block(body);
        self.scopes.pop();
        self.active = active;
        self.caught = caught;
        self.emit(if hook { Op::HookEnd } else { Op::End });
        self.place(end);
    }

    /// Whether what is compiled here may be done more than once.
    pub(super) fn in_a_loop(&self) -> bool {
        self.scopes.iter().any(|scope| matches!(scope, Scope::Loop { .. }))
    }

    fn leave_loop(&mut self, step: &Step) {
        let depth = self
            .scopes
            .iter()
            .rposition(|scope| matches!(scope, Scope::Loop { .. } | Scope::Wall { .. }));
        let target = match depth.and_then(|depth| Some((depth, self.scopes.get(depth)?))) {
            Some((depth, Scope::Loop { next, exit })) => Some((depth, *next, *exit)),
            _ => None,
        };
        let Some((depth, next, exit)) = target else {
            let word = if step.kind == Kind::Break { "break" } else { "continue" };
            let problem = Problem::new(format!("`{word}` stands outside of a loop"), step.span.clone());
            self.problems.push(problem);
            return;
        };
        self.unwind(depth + 1);
        self.emit(Op::Jump(if step.kind == Kind::Break { exit.0 } else { next.0 }));
    }

    fn leave(&mut self, value: Option<&Code>) {
        if self.atomic {
            let value = value.map(|value| self.expr(value));
            self.emit(Op::Give(value));
            return;
        }
        if let Some(value) = value {
            let problem = Problem::new("`return` gives a value only inside `atomic`", value.span.clone())
                .help("to answer a request, `respond` it first");
            self.problems.push(problem);
        }
        let wall = self
            .scopes
            .iter()
            .rposition(|scope| matches!(scope, Scope::Wall { .. }));
        self.unwind(wall.map_or(0, |wall| wall + 1));
        let hook = matches!(
            wall.and_then(|wall| self.scopes.get(wall)),
            Some(Scope::Wall { hook: true })
        );
        self.emit(if hook { Op::HookEnd } else { Op::End });
    }

    /// What has to be done to leave every block from `depth` on, the innermost first.
    fn unwind(&mut self, depth: usize) {
        let open = self.scopes.clone();
        while self.scopes.len() > depth {
            match self.scopes.pop() {
                Some(Scope::Loop { .. } | Scope::Frame) => self.emit(Op::Pop),
                Some(Scope::Finally(block)) => {
                    let warnings = self.problems.len();
                    self.block(&block);
                    self.problems.truncate(warnings);
                }
                Some(Scope::Transaction) => self.statement("commit", Control::Commit),
                Some(Scope::Mutex(slot)) => self.mutex_command("release", slot),
                Some(Scope::Wall { .. }) | None => {}
            }
        }
        self.scopes = open;
    }

    /// Names of errors as codes. A name must be a SQLSTATE, a failure, a refusal of a service, or raised somewhere.
    pub(super) fn errors(&mut self, names: &[ErrorName]) -> Vec<Arc<str>> {
        names
            .iter()
            .map(|name| {
                if let Some(code) = sqlstate(&name.text) {
                    return code.into();
                }
                let own = self.setting.errors.contains(&name.text);
                let known = name.text == "*" || own || FAILURES.iter().any(|(failure, _)| *failure == name.text);
                if !known {
                    let candidates = self.setting.errors.iter().map(String::as_str);
                    let problem = Problem::new(format!("unknown error `{}`", name.text), name.span.clone())
                        .label("no SQLSTATE, no failure, nothing raises it")
                        .nearest(&name.text, candidates);
                    self.problems.push(problem);
                }
                name.text.as_str().into()
            })
            .collect()
    }
}

/// Names of errors, those of SQLSTATEs as codes.
fn codes(names: &[ErrorName]) -> impl Iterator<Item = String> + '_ {
    let code = |name: &ErrorName| sqlstate(&name.text).map_or_else(|| name.text.clone(), str::to_owned);
    names.iter().map(code)
}
