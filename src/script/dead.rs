//! What of a script is dead: processes that never get on, steps that no schedule reaches, conditions that are never true.
//!
//! Found after a search that saw every schedule, from what the machines noted. Of a process that is told to be dead as a whole its parts are not
//! told one by one; of steps that follow each other only the first.

use std::sync::Arc;

use toml::Spanned;

use super::ast::{Block, Code as Text, Kind as Step, PieceKind};
use super::code::{Code, Mark, Op, Pc, Shared};
use super::load::Place;
use super::raised::is_from_outside;
use super::words;
use crate::machine::Notes;
use crate::system::{Vacuity, Warning, WarningKind};

/// The processes of a script, to be watched.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) processes: Vec<Watched>,
    /// The file has no invariant, and does not name those that every script has.
    pub(super) promises_nothing: bool,
}

/// A process.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) name: Arc<str>,
    /// The line of its name.
    pub(super) line: usize,
    pub(super) lines: Lines,
    pub(super) block: Block,
    pub(super) code: Shared,
}

/// The steps' text and its lines in the file.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    text: String,
    first: usize,
    /// The text stands in the file as it is.
    exact: bool,
}

impl Lines {
    pub(super) fn of(file: &str, steps: &Spanned<String>, place: &Place<'_>) -> Lines {
        let start = place.map(0..0).start;
        Lines {
            text: steps.get_ref().clone(),
            first: line_of(file, start),
            exact: place.is_exact(),
        }
    }

    /// The line of a place in the steps.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).filter(|_| self.exact).unwrap_or_default();
        self.first + before.matches('\n').count()
    }

    /// A piece of the steps in one line.
    fn shown(&self, span: std::ops::Range<usize>) -> String {
        let piece = self.text.get(span).unwrap_or_default();
        let words: Vec<&str> = piece.split_whitespace().collect();
        let text = words.join(" ");
        let text = text.trim_end_matches(';');
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text.to_owned(),
        }
    }
}

/// The longest piece of a script in a warning.
const LONGEST: usize = 70;

/// The line of a place in a text, from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

impl Vacuity for Dead {
    fn notes(&self) -> Notes {
        Notes::new(self.processes.iter().map(|process| process.code.0.marks()))
    }

    fn warnings(&self, notes: &Notes) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.promises_nothing {
            warnings.push(Warning {
                line: 0,
                kind: WarningKind::NoInvariants,
                process: "".into(),
                sentence: "the file has no invariant: nothing is promised but that no request is answered 500 and nothing deadlocks"
                    .to_owned(),
            });
        }
        for process in &self.processes {
            let view = Seen { process, notes };
            match view.whole() {
                Some(warning) => warnings.push(warning),
                None => view.parts(&mut warnings),
            }
        }
        warnings.sort();
        warnings.dedup();
        warnings
    }
}

/// A process with what was noted of it.
struct Seen<'a> {
    process: &'a Watched,
    notes: &'a Notes,
}

impl Seen<'_> {
    fn code(&self) -> &Code {
        &self.process.code.0
    }

    fn ops(&self) -> impl Iterator<Item = (Pc, &Op)> {
        (0..self.code().epilogue).zip(&self.code().ops)
    }

    fn has(&self, pc: Pc, mark: Mark) -> bool {
        self.notes.has_passed(self.code().number, Code::mark(pc, mark))
    }

    fn warn(&self, kind: WarningKind, line: usize, sentence: String) -> Warning {
        Warning {
            line,
            kind,
            process: self.process.name.clone(),
            sentence: format!("{}: {sentence}", self.process.name),
        }
    }

    /// Whether any operation that comes from there was reached.
    fn reached(&self, origin: usize) -> bool {
        self.ops()
            .any(|(pc, _)| self.code().origins.get(pc as usize) == Some(&origin) && self.has(pc, Mark::Reached))
    }

    /// Whether anything in the block was reached.
    fn is_alive(&self, block: &Block) -> bool {
        let mut alive = false;
        block.walk(&mut |step| alive |= self.reached(step.span.start));
        alive
    }

    /// The process as a whole is dead.
    fn whole(&self) -> Option<Warning> {
        let reached: Vec<Pc> = self
            .ops()
            .filter(|(pc, op)| op.is_effect() && self.has(*pc, Mark::Reached))
            .map(|(pc, _)| pc)
            .collect();
        let has_ended = self.notes.has_passed(self.code().number, self.code().end_mark());
        let failures = self.notes.failures(self.code().number);
        let line_of = |pc: Pc| self.code().lines.get(pc as usize).copied().unwrap_or(self.process.line);
        if !self.ops().any(|(pc, _)| self.has(pc, Mark::Reached)) {
            let sentence = "it never starts: no request reaches it".to_owned();
            return Some(self.warn(WarningKind::NeverStarts, self.process.line, sentence));
        }
        if has_ended {
            return None;
        }
        // An error that a fault brings says nothing of the steps.
        let own: Vec<&(Arc<str>, u32)> = failures.iter().filter(|(error, _)| !is_from_outside(error)).collect();
        let (first, last) = (own.first(), own.last());
        if let (Some((error, place)), Some((other, _))) = (first, last) {
            // A step that failed here and was answered there is no end of every schedule.
            let always = own.iter().any(|(_, pc)| !self.has(*pc, Mark::Answered)) && !self.waits_in_a_loop();
            if always {
                let name = |error: &str| match words::sqlstate_name(error) {
                    Some(name) => format!("{name} ({error})"),
                    None => error.to_owned(),
                };
                let sentence = match error == other {
                    true => format!("it ends in the same error in every schedule: {}", name(error)),
                    false => format!(
                        "it ends in an error in every schedule: {} or {}",
                        name(error),
                        name(other)
                    ),
                };
                return Some(self.warn(WarningKind::AlwaysFails, line_of(*place), sentence));
            }
        }
        if let [only] = reached.as_slice()
            && !self.has(*only, Mark::Answered)
            && failures.is_empty()
        {
            let what = self.code().ops.get(*only as usize).map(Op::text).unwrap_or_default();
            let sentence = format!("it never gets past its first effect in any schedule: `{what}`");
            return Some(self.warn(WarningKind::NeverStarts, line_of(*only), sentence));
        }
        None
    }

    /// Whether it waits for something inside a loop: then it may end by waiting where it does not fail.
    fn waits_in_a_loop(&self) -> bool {
        let mut depth = 0_usize;
        self.code().ops.iter().any(|op| {
            match op {
                Op::Loop { .. } | Op::Each { .. } | Op::Count { .. } => depth += 1,
                Op::Call { operation, .. } if depth > 0 => return matches!(&**operation, "take" | "wait" | "acquire"),
                _ => {}
            }
            false
        })
    }

    /// Parts of the process are dead.
    fn parts(&self, warnings: &mut Vec<Warning>) {
        let mut successes = Vec::new();
        self.process.block.walk(&mut |step| {
            if let Step::Respond { status, .. } = &step.kind
                && is_success(status)
            {
                successes.push(step.span.clone());
            }
        });
        let never = !successes.iter().any(|span| self.reached(span.start));
        if let Some(first) = successes.first().filter(|_| never) {
            let answer = self.process.lines.shown(first.clone());
            let sentence = format!("it never answers with success, although it has `{answer}`");
            let line = self.process.lines.line(first.start);
            warnings.push(self.warn(WarningKind::NeverSucceeds, line, sentence));
        }
        let told = if never { successes.as_slice() } else { &[] };
        self.block(&self.process.block, told, warnings);
    }

    /// The first step of a block that is never reached, and what is dead in the steps before it.
    fn block(&self, block: &Block, told: &[std::ops::Range<usize>], warnings: &mut Vec<Warning>) {
        let lines = &self.process.lines;
        for (place, step) in block.0.iter().enumerate() {
            let conditions: Vec<(&Text, &Block)> = match &step.kind {
                Step::If { arms, .. } => arms.iter().map(|(condition, block)| (condition, block)).collect(),
                Step::While {
                    condition: Some(condition),
                    body,
                    ..
                } => vec![(condition, body)],
                _ => Vec::new(),
            };
            let is_reached = self.reached(step.span.start)
                || conditions
                    .iter()
                    .any(|(condition, _)| self.reached(condition.span.start))
                || step.blocks().into_iter().any(|block| self.is_alive(block));
            if !is_reached {
                if !told.contains(&step.span) && !self.is_silent(step) {
                    let shown = lines.shown(head(step));
                    let (kind, only) = match refuses(&block.0[place..]) {
                        true => (WarningKind::NeverRefuses, ", which only refuses"),
                        false => (WarningKind::NeverReached, ""),
                    };
                    let sentence = format!("no schedule reaches `{shown}`{only}");
                    warnings.push(self.warn(kind, lines.line(step.span.start), sentence));
                }
                return;
            }
            let mut dead: Vec<&Block> = Vec::new();
            for (condition, body) in conditions {
                let evaluated = self.reached(condition.span.start);
                if evaluated && !self.was_true(condition.span.start) {
                    dead.push(body);
                    let shown = lines.shown(condition.span.clone());
                    let (kind, only) = match refuses(&body.0) {
                        true => (WarningKind::NeverRefuses, ", which only refuses,"),
                        false => (WarningKind::NeverTrue, ""),
                    };
                    let sentence = format!("the condition `{shown}`{only} is never true");
                    warnings.push(self.warn(kind, lines.line(condition.span.start), sentence));
                }
            }
            let caught: Vec<&Block> = match &step.kind {
                // To handle what does not happen is prudent, not dead.
                Step::Try { catches, .. } => catches.iter().map(|catch| &catch.body).collect(),
                // A hook that is registered goes with a savepoint or a transaction that is rolled back.
                Step::AfterCommit(body) => vec![body],
                _ => Vec::new(),
            };
            for inner in step.blocks() {
                let is_dead = dead.iter().any(|block| std::ptr::eq(*block, inner));
                let is_prudent = caught.iter().any(|block| std::ptr::eq(*block, inner)) && !self.is_alive(inner);
                if !is_dead && !is_prudent && !matches!(step.kind, Step::Atomic { .. }) {
                    self.block(inner, told, warnings);
                }
            }
        }
    }

    /// Whether the step leaves no operation behind that could be reached.
    fn is_silent(&self, step: &super::ast::Step) -> bool {
        let mut silent = true;
        Block(vec![step.clone()]).walk(&mut |step| {
            let conditions = match &step.kind {
                Step::If { arms, .. } => arms.iter().map(|(condition, _)| condition.span.start).collect(),
                _ => Vec::new(),
            };
            let origins = &self.code().origins;
            silent &= !origins.contains(&step.span.start) && !conditions.iter().any(|start| origins.contains(start));
        });
        silent
    }

    fn was_true(&self, origin: usize) -> bool {
        self.ops()
            .any(|(pc, _)| self.code().origins.get(pc as usize) == Some(&origin) && self.has(pc, Mark::True))
    }
}

/// The part of a step before its first block.
fn head(step: &super::ast::Step) -> std::ops::Range<usize> {
    let firsts = step.blocks().into_iter().filter_map(|block| block.0.first());
    let end = firsts.map(|first| first.span.start).min();
    step.span.start..end.unwrap_or(step.span.end).min(step.span.end)
}

/// Whether the steps do nothing but refuse and clean up.
fn refuses(steps: &[super::ast::Step]) -> bool {
    let is_refusal = |step: &super::ast::Step| match &step.kind {
        Step::Respond { status, .. } => is_status(status) && !is_success(status),
        Step::Return(None) | Step::Continue | Step::Raise { .. } => true,
        Step::Sql { bind: None, sql } => matches!(
            sql.to_string()
                .split_whitespace()
                .next()
                .map(str::to_ascii_lowercase)
                .as_deref(),
            Some("rollback" | "abort")
        ),
        Step::Command { command, .. } => matches!(command.operation, "fail" | "release"),
        Step::If { .. } => step.blocks().into_iter().all(|block| refuses(&block.0)),
        _ => false,
    };
    !steps.is_empty() && steps.iter().all(is_refusal)
}

/// A literal status.
fn is_status(status: &Text) -> bool {
    match status.pieces.as_slice() {
        [piece] => match &piece.kind {
            PieceKind::Text(text) | PieceKind::Word(text) => text.parse::<u16>().is_ok(),
            PieceKind::Param(_) => false,
        },
        _ => false,
    }
}

/// A literal status that says that it went well.
fn is_success(status: &Text) -> bool {
    match status.pieces.as_slice() {
        [piece] => match &piece.kind {
            PieceKind::Text(text) | PieceKind::Word(text) => text.len() == 3 && text.starts_with('2'),
            PieceKind::Param(_) => false,
        },
        _ => false,
    }
}
