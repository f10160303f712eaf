//! Commands to services, read by their table; and requests.

use super::{Parsed, Parser};
use crate::script::ast::{Argument, Kind, Name};
use crate::script::error::Problem;
use crate::script::lex;
use crate::script::words::{COMMANDS, Command, Part};

impl Parser<'_> {
    /// The command whose words stand here.
    pub(super) fn command_here(&self) -> Option<&'static Command> {
        COMMANDS.iter().find(|command| {
            command
                .words
                .iter()
                .enumerate()
                .all(|(ahead, word)| self.word_after(ahead).is_some_and(|found| found == *word))
        })
    }

    pub(super) fn command(&mut self, command: &'static Command, bind: Option<Name>) -> Parsed<Kind> {
        self.at += command.words.len();
        let stops: Vec<&str> = command
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Flag(word) | Part::With(word, _) | Part::Lasting(word, _) => Some(*word),
                _ => None,
            })
            .collect();
        let (mut target, mut operation, mut fields) = (None, None, None);
        let mut arguments = Vec::new();
        let mut values = 0;
        for part in command.parts {
            match *part {
                Part::Value(argument) => {
                    if values > 0 {
                        self.expect(',', &format!("between the values of `{}`", command.words.join(" ")))?;
                    }
                    values += 1;
                    let value = self.expr(&format!("the {argument}"), &stops)?;
                    arguments.push((argument, Argument::Value(value)));
                }
                Part::Name("operation") => operation = Some(self.name("an operation")?),
                Part::Name(argument) => {
                    arguments.push((argument, Argument::Name(self.name(&format!("the {argument}"))?)))
                }
                Part::Service => target = Some(self.name("the name of a service")?),
                Part::Operation => {
                    target = Some(self.name("the name of an external service")?);
                    if self.eat('.') {
                        operation = Some(self.name("an operation")?);
                    }
                }
                Part::Fields => {
                    if self.is('(') {
                        fields = Some(self.fields()?);
                    }
                }
                Part::Flag(_) | Part::With(..) | Part::Lasting(..) => {}
            }
        }
        self.options(command, &stops, &mut arguments)?;
        Ok(Kind::Command {
            bind,
            command,
            target,
            operation,
            arguments,
            fields,
        })
    }

    /// What may follow in any order: flags and words with a value.
    fn options(
        &mut self,
        command: &'static Command,
        stops: &[&str],
        arguments: &mut Vec<(&'static str, Argument)>,
    ) -> Parsed<()> {
        while let Some(word) = self.word() {
            let span = self.here();
            let part = command.parts.iter().find(|part| match part {
                Part::Flag(known) | Part::With(known, _) | Part::Lasting(known, _) => *known == word,
                _ => false,
            });
            let Some(part) = part else {
                let problem = Problem::new(format!("`{}` has no option `{word}`", command.words.join(" ")), span)
                    .nearest(&word, stops.iter().copied());
                return Err(self.problem(problem));
            };
            self.at += 1;
            let (name, argument) = match *part {
                Part::With(_, name) => (name, Argument::Value(self.expr("a value", stops)?)),
                Part::Lasting(_, name) => (name, Argument::Duration(self.duration(stops)?)),
                Part::Flag(name) | Part::Value(name) | Part::Name(name) => (name, Argument::Flag),
                Part::Service | Part::Operation | Part::Fields => continue,
            };
            if arguments.iter().any(|(known, _)| *known == name) {
                return Err(self.problem(Problem::new(format!("`{word}` is given twice"), span)));
            }
            arguments.push((name, argument));
        }
        // One order of options, so that two ways to write a step are one step.
        let place = |name: &str| {
            command.parts.iter().position(|part| match part {
                Part::Value(known) | Part::Name(known) | Part::Flag(known) => *known == name,
                Part::With(_, known) | Part::Lasting(_, known) => *known == name,
                Part::Service | Part::Operation | Part::Fields => false,
            })
        };
        arguments.sort_by_key(|(name, _)| place(name));
        Ok(())
    }

    /// `send METHOD /path (...) headers (...) retry N on ...`.
    pub(super) fn send(&mut self, bind: Option<Name>) -> Parsed<Kind> {
        self.at += 1;
        let endpoint = self.endpoint()?;
        let fields = if self.is('(') { Some(self.fields()?) } else { None };
        let headers = if self.eat_word("headers") {
            Some(self.fields()?)
        } else {
            None
        };
        let retry = if self.eat_word("retry") {
            let times = self.expr("how often", &["on"])?;
            self.expect_word("on", "and the errors on which to send again")?;
            Some((times, self.error_names()?))
        } else {
            None
        };
        Ok(Kind::Send {
            bind,
            endpoint,
            fields,
            headers,
            retry,
        })
    }

    /// `POST /orders/pay`: a method and everything up to white space or a bracket.
    fn endpoint(&mut self) -> Parsed<Name> {
        let method = self.name("a method (`POST`)")?;
        let start = self.here().start;
        let rest = self.text.get(start..).unwrap_or_default();
        let length = rest
            .find(|letter: char| letter.is_whitespace() || "(;{}'\"".contains(letter))
            .unwrap_or(rest.len());
        let path = &rest[..length];
        if !path.starts_with('/') {
            return Err(self.expected("a path (`/orders`) after the method"));
        }
        let end = start + length;
        while self
            .peek()
            .is_some_and(|token| token.span.start < end && token.kind != lex::Kind::Unterminated)
        {
            self.at += 1;
        }
        Ok(Name {
            text: format!("{} {path}", method.text.to_ascii_uppercase()),
            span: method.span.start..end,
        })
    }
}
