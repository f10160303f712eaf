//! The syntax tree of steps.

use std::ops::Range;

use super::words::Command;

/// Steps between braces, or a whole script.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Block(pub Vec<Step>);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub kind: Kind,
    /// Where it stands, in bytes of the steps' text.
    pub span: Range<usize>,
    /// The comments above it.
    pub comments: Vec<String>,
}

/// A name that steps give to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Range<usize>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A SQL statement.
    Sql {
        /// The name of its result.
        bind: Option<Name>,
        /// The statement.
        sql: Code,
    },
    /// `let x = EXPR`, `x = EXPR`.
    Let {
        /// The name.
        name: Name,
        /// The value.
        value: Code,
    },
    /// `if`.
    If {
        /// Conditions and what is done.
        arms: Vec<(Code, Block)>,
        /// `else`.
        otherwise: Option<Block>,
    },
    /// `while EXPR at most N` and `loop at most N`.
    While {
        /// The condition; `None` for `loop`.
        condition: Option<Code>,
        /// The bound.
        most: Code,
        /// The body.
        body: Block,
    },
    /// `for each ROW in RESULT`.
    Each {
        /// The row's name.
        row: Name,
        /// The result.
        rows: Name,
        /// The bound.
        most: Option<Code>,
        /// The body.
        body: Block,
    },
    /// `for i in A..B`.
    Count {
        /// The number's name.
        name: Name,
        /// The first number.
        from: Code,
        /// The last number.
        to: Code,
        /// The body.
        body: Block,
    },
    /// `break`.
    Break,
    /// `continue`.
    Continue,
    /// `return`; inside `atomic` with the value that the block gives.
    Return(Option<Code>),
    /// `try`.
    Try {
        /// What is tried.
        body: Block,
        /// The catches.
        catches: Vec<Catch>,
        /// `finally`.
        finally: Option<Block>,
    },
    /// `retry N on ...`.
    Retry {
        /// How often it is tried again.
        times: Code,
        /// On which errors.
        on: Vec<ErrorName>,
        /// The pause before it is tried again.
        pause: Option<Duration>,
        /// The body.
        body: Block,
    },
    /// `transaction`.
    Transaction {
        /// The modes after the word: `isolation level serializable`.
        modes: String,
        /// The body.
        body: Block,
    },
    /// `after commit`.
    AfterCommit(Block),
    /// `spawn`.
    Spawn {
        /// Its name in lanes.
        label: Option<Name>,
        /// What it does.
        body: Block,
    },
    /// `sleep`; `None` is `sleep until idle`.
    Sleep(Option<Duration>),
    /// `respond STATUS BODY`.
    Respond {
        /// The status.
        status: Code,
        /// The body.
        body: Option<Payload>,
    },
    /// `fail MESSAGE`, `raise NAME MESSAGE`.
    Raise {
        /// The error's name, `failed` for `fail`.
        name: Option<Name>,
        /// The message.
        message: Option<Code>,
    },
    /// `assert EXPR`.
    Assert(Code),
    /// `lock KEY { }`.
    Lock {
        /// The key.
        key: Code,
        /// The body.
        body: Block,
    },
    /// `atomic { }`: cache commands in one step.
    Atomic {
        /// The name of the value that `return` inside gives.
        bind: Option<Name>,
        /// The body.
        body: Block,
    },
    /// A command to a service.
    Command {
        /// The name of its answer.
        bind: Option<Name>,
        /// Which.
        command: &'static Command,
        /// The service, where the command leaves it open.
        target: Option<Name>,
        /// The operation, where the command leaves it open.
        operation: Option<Name>,
        /// The arguments that its form names, in the form's order.
        arguments: Vec<(&'static str, Argument)>,
        /// `(name: EXPR, ...)`.
        fields: Option<Fields>,
    },
    /// `send METHOD PATH`.
    Send {
        /// The name of the response.
        bind: Option<Name>,
        /// The endpoint.
        endpoint: Name,
        /// The body.
        fields: Option<Fields>,
        /// The headers.
        headers: Option<Fields>,
        /// `retry N on ...`.
        retry: Option<(Code, Vec<ErrorName>)>,
    },
}

/// An argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// An expression.
    Value(Code),
    /// A bare name.
    Name(Name),
    /// A span of time.
    Duration(Duration),
    /// A flag that is set.
    Flag,
}

/// `(name: EXPR, ...)`.
pub type Fields = Vec<(Name, Code)>;

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// One value.
    Value(Code),
    /// An object.
    Fields(Fields),
}

/// A span of time: an expression with a unit, or an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duration {
    /// How many units; the whole interval when there is no unit.
    pub amount: Code,
    /// Microseconds in a unit; 0 when there is none.
    pub unit: i64,
}

/// `catch NAMES as NAME { }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Catch {
    /// Which errors.
    pub names: Vec<ErrorName>,
    /// The error's name inside.
    pub alias: Option<Name>,
    /// What is done.
    pub body: Block,
}

/// The name or SQLSTATE of an error; `*` is any.
pub type ErrorName = Name;

/// SQL, or an expression: text in which values of the script are put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its pieces.
    pub pieces: Vec<Piece>,
    /// Where it stands.
    pub span: Range<usize>,
}

/// A piece of [`Code`], each with the place it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// What it is.
    pub kind: PieceKind,
    /// Where it stands.
    pub span: Range<usize>,
    /// There was white space or a comment before it.
    pub spaced: bool,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// Text, verbatim.
    Text(String),
    /// A bare word.
    Word(String),
    /// `:name`, `:name.column`, `:name.column[]`.
    Param(Param),
}

/// A value of the script inside SQL or an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Param {
    /// The name.
    pub name: String,
    /// The column.
    pub field: Option<String>,
    /// `[]`: the column of every row, as an array.
    pub all: bool,
}

impl std::fmt::Display for Param {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, ":{}", self.name)?;
        if let Some(field) = &self.field {
            write!(f, ".{field}")?;
        }
        if self.all { f.write_str("[]") } else { Ok(()) }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 && piece.spaced {
                f.write_str(" ")?;
            }
            match &piece.kind {
                PieceKind::Text(text) | PieceKind::Word(text) => f.write_str(text)?,
                PieceKind::Param(param) => write!(f, "{param}")?,
            }
        }
        Ok(())
    }
}

impl Block {
    /// Calls `visit` on every step, outer ones first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Step)) {
        for step in &self.0 {
            visit(step);
            for block in step.blocks() {
                block.walk(visit);
            }
        }
    }
}

impl Step {
    /// The blocks directly inside the step.
    pub fn blocks(&self) -> Vec<&Block> {
        match &self.kind {
            Kind::If { arms, otherwise } => arms.iter().map(|(_, block)| block).chain(otherwise).collect(),
            Kind::While { body, .. }
            | Kind::Each { body, .. }
            | Kind::Count { body, .. }
            | Kind::Retry { body, .. }
            | Kind::Transaction { body, .. }
            | Kind::Spawn { body, .. }
            | Kind::Lock { body, .. }
            | Kind::Atomic { body, .. }
            | Kind::AfterCommit(body) => vec![body],
            Kind::Try { body, catches, finally } => std::iter::once(body)
                .chain(catches.iter().map(|catch| &catch.body))
                .chain(finally)
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The SQL and expressions directly in the step.
    pub fn codes(&self) -> Vec<&Code> {
        match &self.kind {
            Kind::Sql { sql, .. } => vec![sql],
            Kind::Let { value, .. } | Kind::Assert(value) => vec![value],
            Kind::If { arms, .. } => arms.iter().map(|(condition, _)| condition).collect(),
            Kind::While { condition, most, .. } => condition.iter().chain([most]).collect(),
            Kind::Each { most, .. } => most.iter().collect(),
            Kind::Count { from, to, .. } => vec![from, to],
            Kind::Retry { times, pause, .. } => std::iter::once(times)
                .chain(pause.iter().map(|pause| &pause.amount))
                .collect(),
            Kind::Return(value) => value.iter().collect(),
            Kind::Sleep(duration) => duration.iter().map(|duration| &duration.amount).collect(),
            Kind::Respond { status, body } => {
                let body = match body {
                    Some(Payload::Value(value)) => vec![value],
                    Some(Payload::Fields(fields)) => fields.iter().map(|(_, value)| value).collect(),
                    None => Vec::new(),
                };
                std::iter::once(status).chain(body).collect()
            }
            Kind::Raise { message, .. } => message.iter().collect(),
            Kind::Lock { key, .. } => vec![key],
            Kind::Command { arguments, fields, .. } => {
                let named = arguments.iter().filter_map(|(_, argument)| match argument {
                    Argument::Value(value) => Some(value),
                    Argument::Duration(duration) => Some(&duration.amount),
                    Argument::Name(_) | Argument::Flag => None,
                });
                named.chain(fields.iter().flatten().map(|(_, value)| value)).collect()
            }
            Kind::Send {
                fields, headers, retry, ..
            } => {
                let fields = fields.iter().chain(headers).flatten().map(|(_, value)| value);
                fields.chain(retry.iter().map(|(times, _)| times)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The names that the step gives to values.
    pub fn binds(&self) -> Vec<&Name> {
        match &self.kind {
            Kind::Sql { bind, .. }
            | Kind::Command { bind, .. }
            | Kind::Send { bind, .. }
            | Kind::Atomic { bind, .. } => bind.iter().collect(),
            Kind::Let { name, .. } | Kind::Count { name, .. } => vec![name],
            Kind::Each { row, .. } => vec![row],
            Kind::Try { catches, .. } => catches.iter().filter_map(|catch| catch.alias.as_ref()).collect(),
            _ => Vec::new(),
        }
    }
}
