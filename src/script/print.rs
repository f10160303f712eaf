//! From the syntax tree back to text, in one form: what is read, printed and read again is the same.

use std::fmt::{self, Display, Formatter};

use super::ast::{Argument, Block, Duration, ErrorName, Fields, Kind, Name, Payload, Step};
use super::words::{Command, Part, UNITS};

impl Display for Block {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        print(self, 0, f)
    }
}

fn print(block: &Block, depth: usize, f: &mut Formatter<'_>) -> fmt::Result {
    for step in &block.0 {
        for comment in &step.comments {
            for line in comment.lines() {
                writeln!(f, "{}{}", indent(depth), line.trim())?;
            }
        }
        write!(f, "{}", indent(depth))?;
        step.print(depth, f)?;
        writeln!(f)?;
    }
    Ok(())
}

fn indent(depth: usize) -> String {
    "  ".repeat(depth)
}

fn braces(block: &Block, depth: usize, f: &mut Formatter<'_>) -> fmt::Result {
    if block.0.is_empty() {
        return f.write_str("{ }");
    }
    writeln!(f, "{{")?;
    print(block, depth + 1, f)?;
    write!(f, "{}}}", indent(depth))
}

impl Step {
    fn print(&self, depth: usize, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::If { arms, otherwise } => {
                for (place, (condition, block)) in arms.iter().enumerate() {
                    write!(f, "{}if {condition} ", if place == 0 { "" } else { " else " })?;
                    braces(block, depth, f)?;
                }
                if let Some(block) = otherwise {
                    f.write_str(" else ")?;
                    braces(block, depth, f)?;
                }
                Ok(())
            }
            Kind::Try { body, catches, finally } => {
                f.write_str("try ")?;
                braces(body, depth, f)?;
                for catch in catches {
                    write!(f, " catch {}", errors(&catch.names))?;
                    if let Some(alias) = &catch.alias {
                        write!(f, " as {}", alias.text)?;
                    }
                    f.write_str(" ")?;
                    braces(&catch.body, depth, f)?;
                }
                if let Some(block) = finally {
                    f.write_str(" finally ")?;
                    braces(block, depth, f)?;
                }
                Ok(())
            }
            _ => match self.blocks().first() {
                Some(block) => {
                    self.head(f)?;
                    f.write_str(" ")?;
                    braces(block, depth, f)
                }
                None => {
                    self.simple(f)?;
                    f.write_str(";")
                }
            },
        }
    }

    /// What stands before the one block of the step.
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::While { condition, most, .. } => match condition {
                Some(condition) => write!(f, "while {condition} at most {most}"),
                None => write!(f, "loop at most {most}"),
            },
            Kind::Each { row, rows, most, .. } => {
                write!(f, "for each {} in {}", row.text, rows.text)?;
                match most {
                    Some(most) => write!(f, " at most {most}"),
                    None => Ok(()),
                }
            }
            Kind::Count { name, from, to, .. } => write!(f, "for {} in {from}..{to}", name.text),
            Kind::Retry { times, on, pause, .. } => {
                write!(f, "retry {times}")?;
                if let Some(pause) = pause {
                    write!(f, " after {pause}")?;
                }
                write!(f, " on {}", errors(on))
            }
            Kind::Transaction { modes, .. } if modes.is_empty() => f.write_str("transaction"),
            Kind::Transaction { modes, .. } => write!(f, "transaction {modes}"),
            Kind::AfterCommit(_) => f.write_str("after commit"),
            Kind::Spawn { label, .. } => match label {
                Some(label) => write!(f, "spawn {}", label.text),
                None => f.write_str("spawn"),
            },
            Kind::Lock { key, .. } => write!(f, "lock {key}"),
            Kind::Atomic { bind, .. } => {
                bound(bind.as_ref(), f)?;
                f.write_str("atomic")
            }
            _ => Ok(()),
        }
    }

    fn simple(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Sql { bind, sql } => {
                bound(bind.as_ref(), f)?;
                write!(f, "{sql}")
            }
            Kind::Let { name, value } => write!(f, "{} := {value}", name.text),
            Kind::Break => f.write_str("break"),
            Kind::Continue => f.write_str("continue"),
            Kind::Return(None) => f.write_str("return"),
            Kind::Return(Some(value)) => write!(f, "return {value}"),
            Kind::Sleep(Some(duration)) => write!(f, "sleep {duration}"),
            Kind::Sleep(None) => f.write_str("sleep until idle"),
            Kind::Respond { status, body } => {
                write!(f, "respond {status}")?;
                match body {
                    Some(Payload::Value(value)) => write!(f, " {value}"),
                    Some(Payload::Fields(fields)) => write!(f, " {}", listed(fields)),
                    None => Ok(()),
                }
            }
            Kind::Raise { name, message } => {
                match name {
                    Some(name) => write!(f, "raise {}", name.text)?,
                    None => f.write_str("fail")?,
                }
                match message {
                    Some(message) => write!(f, " {message}"),
                    None => Ok(()),
                }
            }
            Kind::Assert(condition) => write!(f, "assert {condition}"),
            Kind::Command { bind, command, .. } => {
                bound(bind.as_ref(), f)?;
                self.command(command, f)
            }
            Kind::Send {
                bind,
                endpoint,
                fields,
                headers,
                retry,
            } => {
                bound(bind.as_ref(), f)?;
                write!(f, "send {}", endpoint.text)?;
                if let Some(fields) = fields {
                    write!(f, " {}", listed(fields))?;
                }
                if let Some(headers) = headers {
                    write!(f, " headers {}", listed(headers))?;
                }
                match retry {
                    Some((times, on)) => write!(f, " retry {times} on {}", errors(on)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn command(&self, command: &Command, f: &mut Formatter<'_>) -> fmt::Result {
        let Kind::Command {
            target,
            operation,
            arguments,
            fields,
            ..
        } = &self.kind
        else {
            return Ok(());
        };
        f.write_str(&command.words.join(" "))?;
        let given = |name: &str| {
            arguments
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, argument)| argument)
        };
        let mut values = 0;
        for part in command.parts {
            match part {
                Part::Value(name) => {
                    let comma = if values > 0 { "," } else { "" };
                    values += 1;
                    if let Some(Argument::Value(value)) = given(name) {
                        write!(f, "{comma} {value}")?;
                    }
                }
                Part::Name("operation") => {
                    if let Some(operation) = operation {
                        write!(f, " {}", operation.text)?;
                    }
                }
                Part::Name(name) => {
                    if let Some(Argument::Name(value)) = given(name) {
                        write!(f, " {}", value.text)?;
                    }
                }
                Part::Service | Part::Operation => {
                    if let Some(target) = target {
                        write!(f, " {}", target.text)?;
                    }
                    if let (Part::Operation, Some(operation)) = (part, operation) {
                        write!(f, ".{}", operation.text)?;
                    }
                }
                Part::Fields => {
                    if let Some(fields) = fields {
                        write!(f, " {}", listed(fields))?;
                    }
                }
                Part::Flag(name) => {
                    if given(name).is_some() {
                        write!(f, " {name}")?;
                    }
                }
                Part::With(word, name) | Part::Lasting(word, name) => match given(name) {
                    Some(Argument::Value(value)) => write!(f, " {word} {value}")?,
                    Some(Argument::Duration(duration)) => write!(f, " {word} {duration}")?,
                    _ => {}
                },
            }
        }
        Ok(())
    }
}

fn bound(bind: Option<&Name>, f: &mut Formatter<'_>) -> fmt::Result {
    match bind {
        Some(name) => write!(f, "{} := ", name.text),
        None => Ok(()),
    }
}

fn errors(names: &[ErrorName]) -> String {
    let names: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
    names.join(", ")
}

fn listed(fields: &Fields) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{}: {value}", name.text))
        .collect();
    format!("({})", fields.join(", "))
}

impl Display for Duration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, micros)| *micros == self.unit);
        match unit.and_then(|(names, _)| names.last()) {
            Some(name) => write!(f, "{} {name}", self.amount),
            None => write!(f, "{}", self.amount),
        }
    }
}
