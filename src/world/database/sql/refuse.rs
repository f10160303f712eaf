//! What the model does not know, said with its place; and the errors that the server itself would raise while it binds.

use sqlparser::ast::Spanned;
use sqlparser::tokenizer::{Location, Span};

use crate::machine::sql::{SqlError, SqlState};

/// SQL that the model does not know. It is never guessed: the scenario is refused when it is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unsupported SQL at line {line}, column {column}: {construct}")]
pub struct Refused {
    /// What is not supported, in words (`window function`, `function to_tsvector(text)`).
    pub construct: String,
    /// The line in the SQL text, from 1; 0 when the parser kept no place.
    pub line: u32,
    /// The column in that line, from 1; 0 when the parser kept no place.
    pub column: u32,
    /// The piece of SQL that is meant.
    pub text: String,
    /// What to write instead, where there is an answer.
    pub help: Option<String>,
}

impl Refused {
    /// Refuses a piece of the syntax tree.
    pub fn node(construct: impl Into<String>, node: &(impl Spanned + ToString)) -> Refused {
        Refused::span(construct, node.span(), node.to_string())
    }

    /// Refuses the text at a span.
    pub fn span(construct: impl Into<String>, span: Span, text: impl Into<String>) -> Refused {
        Refused::at(construct, span.start, text)
    }

    /// Refuses the text at a place.
    pub fn at(construct: impl Into<String>, place: Location, text: impl Into<String>) -> Refused {
        Refused {
            construct: construct.into(),
            line: place.line.try_into().unwrap_or(u32::MAX),
            column: place.column.try_into().unwrap_or(u32::MAX),
            text: text.into(),
            help: None,
        }
    }

    /// The refusal behind an error of [`not_modelled`]; its place is still to be filled in.
    pub fn of_error(error: &SqlError) -> Option<Refused> {
        (error.code == NOT_MODELLED).then(|| Refused {
            construct: error.message.to_string(),
            line: 0,
            column: 0,
            text: String::new(),
            help: None,
        })
    }

    /// The same refusal; it has this place if it had none (types have no place in the syntax tree).
    #[must_use]
    pub fn or_at(mut self, span: Span) -> Refused {
        if self.line == 0 {
            self.line = span.start.line.try_into().unwrap_or(u32::MAX);
            self.column = span.start.column.try_into().unwrap_or(u32::MAX);
        }
        self
    }

    /// The same refusal, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Refused {
        self.help = Some(help.into());
        self
    }
}

/// Why an expression or a statement could not be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindError {
    /// The model does not know it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The server would refuse it too, with this error (`42703`, `42883`, ...).
    #[error(transparent)]
    Sql(SqlError),
}

impl From<SqlError> for BindError {
    fn from(error: SqlError) -> BindError {
        match Refused::of_error(&error) {
            Some(refused) => BindError::Refused(refused),
            None => BindError::Sql(error),
        }
    }
}

impl BindError {
    /// An error of the server.
    pub fn sql(code: &[u8; 5], message: impl Into<String>) -> BindError {
        BindError::Sql(sql_error(code, message))
    }
}

/// Marks what the model does not know and learns of only when it evaluates: no server has this state.
const NOT_MODELLED: SqlState = SqlState(*b"?????");

/// What the model does not know, told as an error because it comes up in the middle of a statement. [`Refused::of_error`] makes the refusal of
/// it before anybody sees it.
pub fn not_modelled(construct: impl Into<String>) -> SqlError {
    SqlError::new(NOT_MODELLED, construct.into())
}

/// An error of the server from its SQLSTATE and its message.
pub fn sql_error(code: &[u8; 5], message: impl Into<String>) -> SqlError {
    SqlError::new(SqlState(*code), message.into())
}
