//! A cursor over tokens, and the rewriting of what `sqlparser` cannot hold.

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

use super::snippet;
use crate::world::database::sql::known;
use crate::world::database::sql::refuse::{BindError, Refused};

/// Starts an identifier that stands for something else; no SQL text that people write holds it.
pub(super) const MARK: char = '\u{1}';

/// The tokens of one statement, without white space.
pub(super) struct Cursor<'a> {
    tokens: Vec<&'a TokenWithSpan>,
    at: usize,
    text: &'a str,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(piece: &'a [TokenWithSpan], text: &'a str) -> Self {
        let blank = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
        Cursor {
            tokens: piece.iter().filter(blank).collect(),
            at: 0,
            text,
        }
    }

    pub(super) fn place(&self) -> Location {
        let token = self.tokens.get(self.at).or(self.tokens.last());
        token.map_or(Location::new(1, 1), |token| token.span.start)
    }

    pub(super) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at).map(|token| &token.token)
    }

    pub(super) fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    pub(super) fn done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// The place in the tokens, to come back to.
    pub(super) fn mark(&self) -> usize {
        self.at
    }

    /// Goes back to a place.
    pub(super) fn reset(&mut self, mark: usize) {
        self.at = mark;
    }

    /// The tokens that are left, for a parser of their own.
    pub(super) fn rest(&self) -> Vec<TokenWithSpan> {
        self.tokens[self.at.min(self.tokens.len())..]
            .iter()
            .map(|token| (*token).clone())
            .collect()
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Whether the next words are these (in upper case); steps over them if so.
    pub(super) fn words(&mut self, words: &str) -> bool {
        let count = words.split(' ').count();
        let matches = words.split(' ').enumerate().all(|(ahead, word)| {
            matches!(self.tokens.get(self.at + ahead).map(|token| &token.token),
                Some(Token::Word(found)) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        });
        if matches {
            self.at += count;
        }
        matches
    }

    pub(super) fn token(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.at += 1;
        }
        found
    }

    /// An identifier, folded.
    pub(super) fn name(&mut self) -> Result<String, Refused> {
        match self.peek() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(match word.quote_style {
                    Some(_) => word.value.clone(),
                    None => word.value.to_ascii_lowercase(),
                })
            }
            _ => Err(self.refuse("syntax (name expected)")),
        }
    }

    /// A name that is no reserved word, unless it is quoted.
    pub(super) fn open_name(&mut self) -> Result<String, Refused> {
        match self.peek() {
            Some(Token::Word(word))
                if word.quote_style.is_none() && known::is_reserved(&word.value.to_ascii_lowercase()) =>
            {
                Err(self.refuse(&format!("syntax (the reserved word {})", word.value)))
            }
            _ => self.name(),
        }
    }

    pub(super) fn refuse(&self, construct: &str) -> Refused {
        Refused::at(construct, self.place(), snippet(self.text, self.place()))
    }
}

/// Rewrites the row-lock clauses and arbiters that the parser has no place for.
pub(super) fn encode(piece: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let tokens: Vec<&TokenWithSpan> = piece
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)))
        .collect();
    let mut out = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if keyword(&tokens, at, &["TRIM"]) && tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen) {
            // trim(leading from x): the parser wants an expression before FROM
            let sides = [["LEADING", "FROM"], ["TRAILING", "FROM"], ["BOTH", "FROM"]];
            if sides.iter().any(|words| keyword(&tokens, at + 2, words)) {
                out.extend(tokens[at..at + 3].iter().map(|token| (*token).clone()));
                at += 4;
                continue;
            }
        }
        if let Some((end, mut rewritten)) = row_lock(&tokens, at).or_else(|| arbiter(&tokens, at)) {
            out.append(&mut rewritten);
            at = end;
        } else {
            out.push(tokens[at].clone());
            at += 1;
        }
    }
    out
}

/// The arguments of a `ROW(...)` call as expressions.
pub(super) fn plain_args(call: ast::Function) -> Result<Vec<ast::Expr>, BindError> {
    let ast::FunctionArguments::List(list) = call.args else {
        return Ok(Vec::new());
    };
    let args = list.args.into_iter().map(|arg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
        other => Err(Refused::node("argument", &other).into()),
    });
    args.collect()
}

fn keyword(tokens: &[&TokenWithSpan], at: usize, wanted: &[&str]) -> bool {
    wanted.iter().enumerate().all(|(ahead, wanted)| {
        matches!(tokens.get(at + ahead).map(|token| &token.token),
            Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
    })
}

/// `FOR <strength> [OF a, b]` from `at` on becomes `FOR UPDATE OF <mark>.a.b`.
fn row_lock(tokens: &[&TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    const STRENGTHS: [&[&str]; 4] = [
        &["FOR", "NO", "KEY", "UPDATE"],
        &["FOR", "KEY", "SHARE"],
        &["FOR", "UPDATE"],
        &["FOR", "SHARE"],
    ];
    let words = *STRENGTHS.iter().find(|words| keyword(tokens, at, words))?;
    let mut end = at + words.len();
    let span = tokens[at].span;
    let strength = words[1..].join(" ").to_ascii_lowercase();
    let mut names = vec![quoted(format!("{MARK}{strength}"), span)];
    if keyword(tokens, end, &["OF"]) {
        end += 1;
        loop {
            match tokens.get(end).map(|token| &token.token) {
                Some(Token::Word(_)) => names.push(tokens[end].clone()),
                _ => return None,
            }
            end += 1;
            match tokens.get(end).map(|token| &token.token) {
                Some(Token::Comma) => end += 1,
                Some(Token::Period) => return None,
                _ => break,
            }
        }
    }
    let mut out = vec![
        tokens[at].clone(),
        word("UPDATE", Keyword::UPDATE, span),
        word("OF", Keyword::OF, span),
    ];
    for (place, name) in names.into_iter().enumerate() {
        if place > 0 {
            out.push(TokenWithSpan::new(Token::Period, span));
        }
        out.push(name);
    }
    Some((end, out))
}

/// `ON CONFLICT (expressions) [WHERE predicate]` with more than columns becomes `ON CONFLICT (<mark>text)`.
fn arbiter(tokens: &[&TokenWithSpan], at: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    if !keyword(tokens, at, &["ON", "CONFLICT"]) || tokens.get(at + 2)?.token != Token::LParen {
        return None;
    }
    let close = closing(tokens, at + 2)?;
    let plain = tokens[at + 3..close]
        .iter()
        .all(|token| matches!(token.token, Token::Word(_) | Token::Comma));
    let mut end = close + 1;
    let mut encoded = format!("{MARK}{}", joined(&tokens[at + 3..close]));
    if keyword(tokens, end, &["WHERE"]) {
        let start = end + 1;
        while end < tokens.len() && !keyword(tokens, end, &["DO"]) {
            end += 1;
        }
        encoded.push(MARK);
        encoded.push_str(&joined(&tokens[start..end]));
    } else if plain {
        return None;
    }
    let mut out: Vec<TokenWithSpan> = tokens[at..at + 3].iter().map(|token| (*token).clone()).collect();
    out.push(quoted(encoded, tokens[at + 2].span));
    out.push(tokens[close].clone());
    Some((end, out))
}

fn closing(tokens: &[&TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn joined(tokens: &[&TokenWithSpan]) -> String {
    let words: Vec<String> = tokens.iter().map(|token| token.token.to_string()).collect();
    words.join(" ")
}

fn word(value: &str, keyword: Keyword, span: Span) -> TokenWithSpan {
    let word = Word {
        value: value.to_owned(),
        quote_style: None,
        keyword,
    };
    TokenWithSpan::new(Token::Word(word), span)
}

fn quoted(value: String, span: Span) -> TokenWithSpan {
    let word = Word {
        value,
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    };
    TokenWithSpan::new(Token::Word(word), span)
}

/// What the tokenizer takes and Postgres does not, with its place.
pub(super) fn foreign(tokens: &[TokenWithSpan]) -> Option<(&'static str, Location)> {
    let mut before: Option<&TokenWithSpan> = None;
    for token in tokens {
        let found = match &token.token {
            Token::Whitespace(_) => continue,
            Token::DoubleEq => Some("operator == (write =)"),
            Token::Spaceship => Some("operator <=>"),
            Token::Number(_, true) => Some("form of a number"),
            Token::SingleQuotedByteStringLiteral(_) => Some("bit string"),
            Token::NationalStringLiteral(_) => Some("national string"),
            Token::DollarQuotedString(quoted)
                if quoted
                    .tag
                    .as_ref()
                    .is_some_and(|tag| tag.starts_with(|first: char| first.is_ascii_digit())) =>
            {
                Some("dollar quote whose tag begins with a digit")
            }
            Token::SingleQuotedString(_) => match before {
                // Postgres joins strings only over the end of a line.
                Some(TokenWithSpan {
                    token: Token::SingleQuotedString(_),
                    span,
                }) if span.end.line == token.span.start.line => Some("two strings side by side"),
                _ => None,
            },
            Token::Word(word) if word.quote_style.is_some_and(|quote| quote != '"') => Some("quoting of a name"),
            _ => None,
        };
        if let Some(construct) = found {
            return Some((construct, token.span.start));
        }
        before = Some(token);
    }
    None
}
