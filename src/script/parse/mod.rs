//! From the text of steps to their syntax tree. Never stops at the first mistake, and never panics on any input.

mod code;
mod command;
mod step;

use std::ops::Range;

use super::ast::{Block, Name};
use super::error::Problem;
use super::lex::{self, Kind, Token};

/// Reads steps. The spans of the problems lie in `text`.
pub fn parse(text: &str) -> Result<Block, Vec<Problem>> {
    let mut parser = Parser::new(text);
    let block = parser.script();
    match parser.problems.is_empty() {
        true => Ok(block),
        false => Err(parser.problems),
    }
}

/// How deeply blocks and parentheses may nest: a bound for the stack.
const DEEPEST: usize = 40;

/// Marks that a problem was noted and the step is to be skipped.
#[derive(Debug)]
struct Skip;

type Parsed<T> = Result<T, Skip>;

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    comments: Vec<Token>,
    at: usize,
    depth: usize,
    problems: Vec<Problem>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let (comments, tokens): (Vec<Token>, Vec<Token>) = lex::tokens(text)
            .into_iter()
            .partition(|token| token.kind == Kind::Comment);
        let mut problems = Vec::new();
        if let Some(open) = tokens.iter().find(|token| token.kind == Kind::Unterminated) {
            let end = (open.span.start + 1).min(text.len());
            problems.push(
                Problem::new(
                    "a string or comment has no end",
                    open.span.start..end.max(open.span.start),
                )
                .label("it begins here"),
            );
        }
        Parser {
            text,
            tokens,
            comments,
            at: 0,
            depth: 0,
            problems,
        }
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn kind(&self) -> Option<Kind> {
        self.peek().map(|token| token.kind)
    }

    fn kind_after(&self, ahead: usize) -> Option<Kind> {
        self.tokens.get(self.at + ahead).map(|token| token.kind)
    }

    fn slice(&self, span: &Range<usize>) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// The word that stands here, in lower case.
    fn word(&self) -> Option<String> {
        self.word_after(0)
    }

    fn word_after(&self, ahead: usize) -> Option<String> {
        self.tokens
            .get(self.at + ahead)
            .filter(|token| token.kind == Kind::Word)
            .map(|token| self.slice(&token.span).to_ascii_lowercase())
    }

    fn is_word(&self, word: &str) -> bool {
        self.word().is_some_and(|found| found == word)
    }

    fn is(&self, punct: char) -> bool {
        self.kind() == Some(Kind::Punct(punct))
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += usize::from(token.is_some());
        token
    }

    fn eat(&mut self, punct: char) -> bool {
        let there = self.is(punct);
        self.at += usize::from(there);
        there
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let there = self.is_word(word);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, punct: char, why: &str) -> Parsed<()> {
        match self.eat(punct) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{punct}` {why}"))),
        }
    }

    fn expect_word(&mut self, word: &str, why: &str) -> Parsed<()> {
        match self.eat_word(word) {
            true => Ok(()),
            false => Err(self.expected(&format!("`{word}` {why}"))),
        }
    }

    fn name(&mut self, what: &str) -> Parsed<Name> {
        match self.peek() {
            Some(token) if token.kind == Kind::Word => {
                let span = token.span.clone();
                self.at += 1;
                Ok(Name {
                    text: self.slice(&span).to_owned(),
                    span,
                })
            }
            _ => Err(self.expected(what)),
        }
    }

    /// Notes that something else was expected here.
    fn expected(&mut self, what: &str) -> Skip {
        let span = self.here();
        let found = match self.peek() {
            Some(token) => format!("`{}`", clip(self.slice(&token.span))),
            None => "the end of the steps".to_owned(),
        };
        self.problem(Problem::new(format!("expected {what}, found {found}"), span))
    }

    fn problem(&mut self, problem: Problem) -> Skip {
        self.problems.push(problem);
        Skip
    }

    /// The place of the next token, or the end of the text.
    fn here(&self) -> Range<usize> {
        match self.peek() {
            Some(token) => token.span.clone(),
            None => {
                let end = self.text.trim_end().len();
                end..end
            }
        }
    }

    /// Where the last token ended.
    fn end(&self) -> usize {
        match self.at.checked_sub(1).and_then(|last| self.tokens.get(last)) {
            Some(token) => token.span.end,
            None => 0,
        }
    }
}

/// The first line of a token, shortened.
fn clip(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(30) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::parse;
    use crate::script::words::{COMMANDS, FORMS};

    fn problem(text: &str) -> String {
        let problems = parse(text).expect_err("a problem");
        let first = &problems[0];
        let help = first.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{:?} {}{help}", first.place(text), first.message)
    }

    #[test]
    fn the_example_of_every_form_and_command_is_read() {
        let forms = FORMS.iter().map(|form| (form.word, form.example));
        let commands = COMMANDS.iter().map(|command| (command.words[0], command.example));
        for (word, example) in forms.chain(commands) {
            if let Err(problems) = parse(example) {
                panic!("{word}: {}", problems[0].show("example", example));
            }
        }
    }

    #[test]
    fn a_mistake_is_told_with_its_place_and_the_nearest_word() {
        assert_eq!(
            problem("select 1;\nrespnd 200;"),
            "(2, 1) unknown step `respnd`; did you mean `respond`?"
        );
        assert_eq!(
            problem("if x > 1 respond 200;"),
            "(1, 21) expected `{` after the condition, found `;`"
        );
        assert_eq!(
            problem("try { select 1; }"),
            "(1, 18) expected `catch` or `finally` after the block, found the end of the steps"
        );
        assert_eq!(
            problem("try { select 1; } catch uniqe_violation { }"),
            "(1, 25) unknown error `uniqe_violation`; did you mean `unique_violation`?"
        );
        assert_eq!(problem("x := select 'open"), "(1, 13) a string or comment has no end");
    }

    #[test]
    fn several_mistakes_are_told_at_once() {
        let problems = parse("respnd 200;\nselect 1;\ncahce get 'k';").expect_err("two");
        assert_eq!(problems.len(), 2);
    }

    proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(text in "(select|if|[{};:().,=']|x|:x|try|catch|retry|3|[a-z]{1,4}|--|\\$\\$|send|/a|\n| |[^x]){0,40}") {
            if let Ok(block) = parse(&text) {
                let printed = block.to_string();
                let again = parse(&printed);
                prop_assert!(again.is_ok(), "{printed:?}: {again:?}");
                prop_assert_eq!(again.expect("parsed").to_string(), printed);
            }
        }
    }
}
