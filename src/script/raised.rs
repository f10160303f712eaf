//! Errors on their way through a script.

use std::sync::Arc;

use super::bound::Bound;
use super::words;
use crate::machine::{NoAnswer, SqlError};
use crate::value::Value;

/// An error on its way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Raised {
    pub(crate) code: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) message: Arc<str>,
    pub(crate) constraint: Option<Arc<str>>,
    pub(crate) status: Option<u16>,
    pub(crate) class: &'static str,
}

impl Raised {
    /// Whether one of the names means it: a SQLSTATE or its name, a class, `*`.
    pub(crate) fn matches(&self, names: &[Arc<str>]) -> bool {
        names.iter().any(|name| {
            **name == *"*"
                || *name == self.code
                || *name == self.name
                || **name == *self.class
                || **name == *"connection_lost" && matches!(&*self.code, "08006" | "57P01")
        })
    }

    /// An error of SQL.
    pub(crate) fn sql(code: Arc<str>, message: Arc<str>, constraint: Option<Arc<str>>) -> Raised {
        Raised {
            name: words::sqlstate_name(&code).map_or(code.clone(), Arc::from),
            code,
            message,
            constraint,
            status: None,
            class: "sql_error",
        }
    }

    /// Whether it says that what was asked for is not understood: a mistake of the file, unless the file expects it.
    pub(crate) fn is_mistake(&self, expected: &[String]) -> bool {
        let is_expected = expected.iter().any(|name| *name == *self.code || *name == *self.name);
        let is_one = match self.class {
            "sql_error" => self.code.starts_with("42") || self.code.starts_with("0A"),
            "refused" => matches!(&*self.code, "unknown_operation" | "parameter_missing"),
            _ => false,
        };
        is_one && !is_expected
    }

    /// Whether a fault of the environment brings it, whatever the steps do.
    pub(crate) fn is_from_outside(&self) -> bool {
        is_from_outside(&self.code)
    }

    /// What `catch ... as e` gives a name to.
    pub(crate) fn bound(&self) -> Bound {
        let text = |text: &Arc<str>| Value::Text(text.clone());
        Bound::named([
            (Arc::from("name"), text(&self.name)),
            ("code".into(), text(&self.code)),
            ("message".into(), text(&self.message)),
            ("constraint".into(), self.constraint.as_ref().map_or(Value::Null, text)),
            (
                "status".into(),
                self.status.map_or(Value::Null, |status| Value::Int(status.into())),
            ),
        ])
    }
}

/// Whether a fault of the environment brings an error of that code.
pub(crate) fn is_from_outside(code: &str) -> bool {
    matches!(code, "timed_out" | "reset" | "unavailable" | "08006" | "57P01")
}

impl From<&SqlError> for Raised {
    fn from(error: &SqlError) -> Raised {
        Raised::sql(
            error.code.as_str().into(),
            error.message.clone(),
            error.constraint.clone(),
        )
    }
}

impl From<NoAnswer> for Raised {
    fn from(reason: NoAnswer) -> Raised {
        let name: Arc<str> = match reason {
            NoAnswer::TimedOut => "timed_out",
            NoAnswer::Reset => "reset",
            NoAnswer::Unavailable => "unavailable",
        }
        .into();
        Raised {
            code: name.clone(),
            name,
            message: reason.to_string().into(),
            constraint: None,
            status: None,
            class: "no_answer",
        }
    }
}
