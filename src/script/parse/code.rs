//! SQL and expressions inside steps: text up to where the step goes on.

use super::{Parsed, Parser};
use crate::script::ast::{Code, Duration, Fields, Name, Param, Piece, PieceKind};
use crate::script::error::Problem;
use crate::script::lex::{Kind, Token};
use crate::script::words::UNITS;

impl Parser<'_> {
    /// A SQL statement, up to the semicolon or the end of the block.
    pub(super) fn sql(&mut self) -> Parsed<Code> {
        self.code("a SQL statement", &|parser| parser.is(';') || parser.is('}'))
    }

    /// An expression, up to punctuation that cannot belong to it or one of the words.
    pub(super) fn expr(&mut self, what: &str, stops: &[&str]) -> Parsed<Code> {
        self.code(what, &|parser| {
            let Some(kind) = parser.kind() else { return true };
            match kind {
                Kind::Punct(';' | '{' | '}' | ',' | ')') | Kind::Assign | Kind::Range => true,
                Kind::Word => parser.word().is_some_and(|word| {
                    stops.iter().any(|stop| match stop.split_once(' ') {
                        Some((first, second)) => word == first && parser.word_after(1).as_deref() == Some(second),
                        None => word == *stop,
                    })
                }),
                _ => false,
            }
        })
    }

    /// One number, name (also `x.column`), parameter, string or parenthesised expression.
    pub(super) fn primary(&mut self, what: &str) -> Parsed<Code> {
        if self.is('(') {
            let start = self.here().start;
            let mut pieces = Vec::new();
            self.group(&mut pieces)?;
            return Ok(Code {
                pieces,
                span: start..self.end(),
            });
        }
        match self.kind() {
            Some(Kind::Word | Kind::Number | Kind::Text | Kind::Param) => {
                let start = self.here().start;
                let column = self.kind_after(1) == Some(Kind::Punct('.')) && self.kind_after(2) == Some(Kind::Word);
                let count = if self.kind() == Some(Kind::Word) && column {
                    3
                } else {
                    1
                };
                let mut pieces = Vec::new();
                for _ in 0..count {
                    self.push(&mut pieces);
                }
                if let Some(first) = pieces.first_mut() {
                    first.spaced = false;
                }
                Ok(Code {
                    pieces,
                    span: start..self.end(),
                })
            }
            _ => Err(self.expected(what)),
        }
    }

    /// An expression with a unit of time, or an interval.
    pub(super) fn duration(&mut self, stops: &[&str]) -> Parsed<Duration> {
        let mut amount = self.expr("a span of time (`5 seconds`)", stops)?;
        let unit = match amount.pieces.as_slice() {
            [
                _,
                ..,
                Piece {
                    kind: PieceKind::Word(word),
                    ..
                },
            ] => unit_of(word),
            _ => None,
        };
        if unit.is_some() {
            amount.pieces.pop();
            amount.span.end = amount.pieces.last().map_or(amount.span.start, |piece| piece.span.end);
        }
        Ok(Duration {
            amount,
            unit: unit.unwrap_or(0),
        })
    }

    /// `(name: EXPR, ...)`.
    pub(super) fn fields(&mut self) -> Parsed<Fields> {
        self.expect('(', "before the fields")?;
        let mut fields = Vec::new();
        while !self.eat(')') {
            let name = self.field_name()?;
            let value = self.expr("a value", &[])?;
            fields.push((name, value));
            if !self.eat(',') && !self.is(')') {
                return Err(self.expected("`,` or `)` after the value"));
            }
        }
        Ok(fields)
    }

    /// Whether `(name:` stands here.
    pub(super) fn at_fields(&self) -> bool {
        self.is('(')
            && (self.kind_after(1) == Some(Kind::Punct(')'))
                || self.kind_after(1) == Some(Kind::Word)
                    && (matches!(self.kind_after(2), Some(Kind::Punct(':') | Kind::Param))
                        || self.kind_after(2) == Some(Kind::Punct('-'))
                            && self.kind_after(3) == Some(Kind::Word)
                            && matches!(self.kind_after(4), Some(Kind::Punct(':' | '-') | Kind::Param))))
    }

    /// `name:`, with hyphens in the name for headers. In `(id:x)` the lexer takes `:x` for a parameter: it is put right here.
    fn field_name(&mut self) -> Parsed<Name> {
        let mut name = self.name("the name of a field")?;
        while self.is('-') && self.kind_after(1) == Some(Kind::Word) {
            self.at += 2;
            name.span.end = self.end();
        }
        name.text = self.slice(&name.span).to_owned();
        match self.kind() {
            Some(Kind::Punct(':')) => self.at += 1,
            Some(Kind::Param) => {
                if let Some(token) = self.tokens.get_mut(self.at)
                    && token.span.start == name.span.end
                {
                    token.span.start += 1;
                    token.kind = Kind::Word;
                    // `:x.y` becomes the words x . y for what follows; a bare name means the same in an expression.
                    let span = token.span.clone();
                    if let Some(dot) = self.slice(&span).find('.') {
                        let middle = span.start + dot;
                        let pieces = [
                            (Kind::Word, span.start..middle),
                            (Kind::Punct('.'), middle..middle + 1),
                            (Kind::Word, middle + 1..span.end),
                        ];
                        let pieces = pieces.map(|(kind, span)| Token { kind, span });
                        self.tokens.splice(self.at..=self.at, pieces);
                    }
                } else {
                    return Err(self.expected("`:` after the field's name"));
                }
            }
            _ => return Err(self.expected("`:` after the field's name")),
        }
        Ok(name)
    }

    fn code(&mut self, what: &str, stop: &dyn Fn(&Self) -> bool) -> Parsed<Code> {
        let start = self.here().start;
        let mut pieces = Vec::new();
        while let Some(kind) = self.kind() {
            if stop(self) {
                break;
            }
            match kind {
                Kind::Punct('(' | '[') => self.group(&mut pieces)?,
                Kind::Punct(')' | ']') => return Err(self.expected("no closing bracket")),
                _ => self.push(&mut pieces),
            }
        }
        if pieces.is_empty() {
            return Err(self.expected(what));
        }
        if let Some(first) = pieces.first_mut() {
            first.spaced = false;
        }
        Ok(Code {
            pieces,
            span: start..self.end(),
        })
    }

    /// A bracket with everything up to its partner.
    fn group(&mut self, pieces: &mut Vec<Piece>) -> Parsed<()> {
        let open = self.here();
        let close = if self.is('(') { ')' } else { ']' };
        self.depth += 1;
        if self.depth > super::DEEPEST {
            self.depth -= 1;
            return Err(self.problem(Problem::new("brackets nest too deeply", open)));
        }
        self.push(pieces);
        loop {
            match self.kind() {
                Some(Kind::Punct(found)) if found == close => {
                    self.push(pieces);
                    self.depth -= 1;
                    return Ok(());
                }
                Some(Kind::Punct('(' | '[')) => {
                    if let Err(skip) = self.group(pieces) {
                        self.depth -= 1;
                        return Err(skip);
                    }
                }
                None | Some(Kind::Punct(';' | ')' | ']')) => {
                    self.depth -= 1;
                    let problem = Problem::new(format!("a bracket has no `{close}`"), open).label("opened here");
                    return Err(self.problem(problem));
                }
                Some(_) => self.push(pieces),
            }
        }
    }

    fn push(&mut self, pieces: &mut Vec<Piece>) {
        let before = self.end();
        if let Some(token) = self.next() {
            let spaced = token.span.start > before;
            pieces.push(self.piece(&token, spaced));
        }
    }

    fn piece(&self, token: &Token, spaced: bool) -> Piece {
        let text = self.slice(&token.span);
        let kind = match token.kind {
            Kind::Param => PieceKind::Param(param(text)),
            Kind::Word => PieceKind::Word(text.to_owned()),
            _ => PieceKind::Text(text.to_owned()),
        };
        Piece {
            kind,
            span: token.span.clone(),
            spaced,
        }
    }
}

/// Reads `:name.column[]`.
fn param(text: &str) -> Param {
    let text = text.strip_prefix(':').unwrap_or(text);
    let (text, all) = match text.strip_suffix("[]") {
        Some(text) => (text, true),
        None => (text, false),
    };
    match text.split_once('.') {
        Some((name, field)) => Param {
            name: name.to_owned(),
            field: Some(field.to_owned()),
            all,
        },
        None => Param {
            name: text.to_owned(),
            field: None,
            all,
        },
    }
}

fn unit_of(word: &str) -> Option<i64> {
    UNITS
        .iter()
        .find(|(names, _)| names.iter().any(|name| name.eq_ignore_ascii_case(word)))
        .map(|(_, micros)| *micros)
}
