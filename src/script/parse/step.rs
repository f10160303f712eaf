//! Steps and blocks.

use super::{Parsed, Parser, Skip};
use crate::script::ast::{Block, Catch, ErrorName, Kind, Name, Payload, Step};
use crate::script::error::Problem;
use crate::script::lex;
use crate::script::words::{FAILURES, SQL_WORDS, SQLSTATES, sqlstate, starters};

impl Parser<'_> {
    /// All of the text.
    pub(super) fn script(&mut self) -> Block {
        let mut steps = Vec::new();
        loop {
            self.steps(&mut steps);
            match self.peek() {
                None => return Block(steps),
                Some(_) => {
                    self.expected("a step");
                    self.at += 1;
                }
            }
        }
    }

    /// `{ ... }`.
    fn block(&mut self, why: &str) -> Parsed<Block> {
        let open = self.here();
        self.expect('{', why)?;
        self.depth += 1;
        if self.depth > super::DEEPEST {
            self.depth -= 1;
            return Err(self.problem(Problem::new("blocks nest too deeply", open)));
        }
        let mut steps = Vec::new();
        self.steps(&mut steps);
        self.depth -= 1;
        match self.eat('}') {
            true => Ok(Block(steps)),
            false => Err(self.problem(Problem::new("a block has no `}`", open).label("opened here"))),
        }
    }

    /// Steps up to the end of the block, or of the text.
    fn steps(&mut self, steps: &mut Vec<Step>) {
        while self.peek().is_some() && !self.is('}') {
            if self.eat(';') {
                continue;
            }
            let start = self.here().start;
            let before = self.end();
            let comments = self
                .comments
                .iter()
                .filter(|comment| comment.span.start >= before && comment.span.end <= start)
                .map(|comment| self.slice(&comment.span).to_owned())
                .collect();
            let first = self.at;
            match self.step() {
                Ok(kind) => steps.push(Step {
                    kind,
                    span: start..self.end(),
                    comments,
                }),
                Err(Skip) => self.skip(first),
            }
        }
    }

    /// Goes on behind a step that could not be read.
    fn skip(&mut self, first: usize) {
        self.at = self.at.max(first + 1);
        let mut depth = 0_usize;
        while let Some(kind) = self.kind() {
            match kind {
                lex::Kind::Punct('{') => depth += 1,
                lex::Kind::Punct('}') if depth == 0 => return,
                lex::Kind::Punct('}') => {
                    depth -= 1;
                    if depth == 0 {
                        self.at += 1;
                        return;
                    }
                }
                lex::Kind::Punct(';') if depth == 0 => {
                    self.at += 1;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    fn step(&mut self) -> Parsed<Kind> {
        let kind = self.kind_of_step()?;
        if !self.at_block_end() && !matches!(self.kind(), None | Some(lex::Kind::Punct('}'))) && !self.eat(';') {
            return Err(self.expected("`;` after the step"));
        }
        Ok(kind)
    }

    /// Whether the step just read ended with `}`, after which no semicolon is needed.
    fn at_block_end(&self) -> bool {
        let last = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        last.is_some_and(|token| token.kind == lex::Kind::Punct('}'))
    }

    fn kind_of_step(&mut self) -> Parsed<Kind> {
        let Some(word) = self.word() else {
            return Err(self.expected("a step"));
        };
        if matches!(self.kind_after(1), Some(lex::Kind::Assign | lex::Kind::Punct('='))) {
            let name = self.name("a name")?;
            return self.binding(name);
        }
        match word.as_str() {
            "let" => {
                self.at += 1;
                let name = self.name("a name after `let`")?;
                self.binding(name)
            }
            "lock" if !self.block_follows() => Ok(Kind::Sql {
                bind: None,
                sql: self.sql()?,
            }),
            _ => match self.simple(&word, None)? {
                Some(kind) => Ok(kind),
                None => self.control(&word),
            },
        }
    }

    /// What may stand alone or behind `name :=`: SQL, commands, `send`, `atomic`.
    fn simple(&mut self, word: &str, bind: Option<Name>) -> Parsed<Option<Kind>> {
        if let Some(command) = self.command_here() {
            return self.command(command, bind).map(Some);
        }
        Ok(match word {
            "send" => Some(self.send(bind)?),
            "atomic" => {
                self.at += 1;
                let body = self.block("after `atomic`")?;
                Some(Kind::Atomic { bind, body })
            }
            _ if SQL_WORDS.contains(&word) => Some(Kind::Sql { bind, sql: self.sql()? }),
            _ => None,
        })
    }

    fn binding(&mut self, name: Name) -> Parsed<Kind> {
        match self.kind() {
            Some(lex::Kind::Assign | lex::Kind::Punct('=')) => self.at += 1,
            _ => return Err(self.expected("`=` or `:=` after the name")),
        }
        if let Some(word) = self.word()
            && let Some(kind) = self.simple(&word, Some(name.clone()))?
        {
            return Ok(kind);
        }
        let value = self.expr("a value", &[])?;
        Ok(Kind::Let { name, value })
    }

    fn control(&mut self, word: &str) -> Parsed<Kind> {
        let span = self.here();
        self.at += 1;
        Ok(match word {
            "if" => self.choice()?,
            "while" | "loop" | "for" => self.rounds(word)?,
            "break" => Kind::Break,
            "continue" => Kind::Continue,
            "return" => match self.ends_here() {
                true => Kind::Return(None),
                false => Kind::Return(Some(self.expr("a value", &[])?)),
            },
            "try" => self.attempt()?,
            "retry" => self.retry()?,
            "transaction" => {
                let mut modes = Vec::new();
                while let Some(word) = self.word() {
                    modes.push(word);
                    self.at += 1;
                }
                let body = self.block("after `transaction`")?;
                Kind::Transaction {
                    modes: modes.join(" "),
                    body,
                }
            }
            "after" => {
                self.expect_word("commit", "after `after`")?;
                Kind::AfterCommit(self.block("after `after commit`")?)
            }
            "spawn" => {
                let label = if self.is('{') {
                    None
                } else {
                    Some(self.name("a name or `{`")?)
                };
                let body = self.block("after `spawn`")?;
                Kind::Spawn { label, body }
            }
            "sleep" if self.is_word("until") && self.word_after(1).as_deref() == Some("idle") => {
                self.at += 2;
                Kind::Sleep(None)
            }
            "sleep" => Kind::Sleep(Some(self.duration(&[])?)),
            "respond" | "fail" | "raise" => self.answer(word)?,
            "assert" => Kind::Assert(self.expr("a condition", &[])?),
            "lock" => {
                let key = self.expr("the name of the mutex", &[])?;
                let body = self.block("after the mutex")?;
                Kind::Lock { key, body }
            }
            _ => {
                let problem = Problem::new(format!("unknown step `{}`", super::clip(self.slice(&span))), span)
                    .nearest(word, starters());
                return Err(self.problem(problem));
            }
        })
    }

    fn rounds(&mut self, word: &str) -> Parsed<Kind> {
        Ok(match word {
            "while" => {
                let condition = self.expr("a condition after `while`", &["at most"])?;
                let most = self.bound()?;
                let body = self.block("after the bound")?;
                Kind::While {
                    condition: Some(condition),
                    most,
                    body,
                }
            }
            "loop" => {
                let most = self.bound()?;
                let body = self.block("after the bound")?;
                Kind::While {
                    condition: None,
                    most,
                    body,
                }
            }
            _ => self.each()?,
        })
    }

    fn answer(&mut self, word: &str) -> Parsed<Kind> {
        Ok(match word {
            "respond" => {
                let status = self.primary("a status (`200`)")?;
                let body = match self.ends_here() {
                    true => None,
                    false if self.at_fields() => Some(Payload::Fields(self.fields()?)),
                    false => Some(Payload::Value(self.expr("a body", &[])?)),
                };
                Kind::Respond { status, body }
            }
            _ => {
                let name = if word == "raise" {
                    Some(self.name("the name of an error")?)
                } else {
                    None
                };
                let message = if self.ends_here() {
                    None
                } else {
                    Some(self.expr("a message", &[])?)
                };
                Kind::Raise { name, message }
            }
        })
    }

    fn choice(&mut self) -> Parsed<Kind> {
        let mut arms = Vec::new();
        let mut otherwise = None;
        loop {
            let condition = self.expr("a condition after `if`", &[])?;
            arms.push((condition, self.block("after the condition")?));
            if !self.eat_word("else") {
                break;
            }
            if !self.eat_word("if") {
                otherwise = Some(self.block("after `else`")?);
                break;
            }
        }
        Ok(Kind::If { arms, otherwise })
    }

    fn each(&mut self) -> Parsed<Kind> {
        if self.eat_word("each") {
            let row = self.name("a name for the row")?;
            self.expect_word("in", "after the row's name")?;
            let rows = self.name("the name of a result")?;
            let most = if self.is_word("at") { Some(self.bound()?) } else { None };
            let body = self.block("after the result")?;
            return Ok(Kind::Each { row, rows, most, body });
        }
        let name = self.name("`each` or a name")?;
        self.expect_word("in", "after the name")?;
        let from = self.expr("the first number", &[])?;
        if self.kind() != Some(lex::Kind::Range) {
            return Err(self.expected("`..` and the last number (for rows: `for each row in rows`)"));
        }
        self.at += 1;
        let to = self.expr("the last number", &[])?;
        let body = self.block("after the last number")?;
        Ok(Kind::Count { name, from, to, body })
    }

    fn attempt(&mut self) -> Parsed<Kind> {
        let body = self.block("after `try`")?;
        let mut catches = Vec::new();
        while self.eat_word("catch") {
            let names = self.error_names()?;
            let alias = if self.eat_word("as") {
                Some(self.name("a name for the error")?)
            } else {
                None
            };
            let body = self.block("after the errors")?;
            catches.push(Catch { names, alias, body });
        }
        let finally = if self.eat_word("finally") {
            Some(self.block("after `finally`")?)
        } else {
            None
        };
        if catches.is_empty() && finally.is_none() {
            return Err(self.expected("`catch` or `finally` after the block"));
        }
        Ok(Kind::Try { body, catches, finally })
    }

    fn retry(&mut self) -> Parsed<Kind> {
        let times = self.expr("how often", &["on", "after"])?;
        let pause = if self.eat_word("after") {
            Some(self.duration(&["on"])?)
        } else {
            None
        };
        self.expect_word("on", "and the errors on which to try again")?;
        let on = self.error_names()?;
        let body = self.block("after the errors")?;
        Ok(Kind::Retry { times, on, pause, body })
    }

    fn bound(&mut self) -> Parsed<crate::script::ast::Code> {
        if !(self.is_word("at") && self.word_after(1).as_deref() == Some("most")) {
            return Err(self.expected("`at most N`, the loop's bound"));
        }
        self.at += 2;
        self.expr("a number", &[])
    }

    /// Names of errors, separated by commas. Those that are neither SQLSTATEs nor failures must be raised somewhere, which is checked later.
    pub(super) fn error_names(&mut self) -> Parsed<Vec<ErrorName>> {
        let mut names = Vec::new();
        loop {
            let span = self.here();
            let text = self.slice(&span).to_owned();
            match self.kind() {
                Some(lex::Kind::Word | lex::Kind::Number | lex::Kind::Punct('*')) => self.at += 1,
                _ => return Err(self.expected("the name of an error (`unique_violation`)")),
            }
            let known = SQLSTATES.iter().chain(FAILURES).map(|(name, _)| *name);
            let exact = sqlstate(&text).is_some() || FAILURES.iter().any(|(name, _)| *name == text);
            let misspelt = super::super::error::nearest(&text, known.clone()).is_some();
            if !exact && text != "*" && misspelt {
                self.problem(Problem::new(format!("unknown error `{text}`"), span.clone()).nearest(&text, known));
            }
            names.push(Name { text, span });
            if !self.eat(',') {
                return Ok(names);
            }
        }
    }

    fn ends_here(&self) -> bool {
        matches!(self.kind(), None | Some(lex::Kind::Punct(';' | '}')))
    }

    /// Whether a block opens before the step ends.
    fn block_follows(&self) -> bool {
        self.tokens[self.at..]
            .iter()
            .find_map(|token| match token.kind {
                lex::Kind::Punct('{') => Some(true),
                lex::Kind::Punct(';' | '}') => Some(false),
                _ => None,
            })
            .unwrap_or(false)
    }
}
