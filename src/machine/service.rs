//! Calls to the services beside the database: payment provider, cache, queue, mail, search index, anything external.

use std::fmt::{self, Debug, Display};
use std::sync::Arc;

use super::http::Fields;
use crate::value::Value;

/// A call to a service of the world, by the service's name.
///
/// The commands of a service are typed where the service is (`world::provider`, `world::cache`, ...), and reach the seam as an
/// operation name with named values: so a user's crate can add a service of its own, and a trace can show any call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// The service: `provider`, `cache`, `queue`, `mail`, `search`, or a name of the scenario's own.
    pub service: Arc<str>,
    /// The operation, for example `create_intent` or `set_nx`.
    pub operation: Arc<str>,
    /// The arguments.
    pub arguments: Arguments,
}

impl Call {
    /// A call without arguments.
    pub fn new(service: impl Into<Arc<str>>, operation: impl Into<Arc<str>>) -> Self {
        Call {
            service: service.into(),
            operation: operation.into(),
            arguments: Arguments::default(),
        }
    }

    /// The call with one more argument.
    #[must_use]
    pub fn with(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        self.arguments.0.push((name.into(), value.into()));
        self
    }
}

/// Named argument values, in the order given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Arguments(pub Vec<(Arc<str>, Value)>);

impl Arguments {
    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(argument, _)| &**argument == name)
            .map(|(_, value)| value)
    }
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// It did what was asked, with these values.
    Ok(Vec<(Arc<str>, Value)>),
    /// It refused: a status as an HTTP API has it, a machine-readable code, and a text.
    Refused {
        /// For example 402.
        status: u16,
        /// For example `card_declined`.
        code: Arc<str>,
        /// For people.
        message: Arc<str>,
        /// The object that it is about, as JSON, where the service tells whole objects.
        about: Option<Arc<str>>,
    },
}

impl Answer {
    /// The named value of an answer that is not a refusal.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Answer::Ok(values) => values
                .iter()
                .find(|(field, _)| &**field == name)
                .map(|(_, value)| value),
            Answer::Refused { .. } => None,
        }
    }

    /// A refusal, with nothing to tell beside its text.
    pub fn refused(status: u16, code: impl Into<Arc<str>>, message: impl Into<Arc<str>>) -> Self {
        Answer::Refused {
            status,
            code: code.into(),
            message: message.into(),
            about: None,
        }
    }

    /// An answer with one value.
    pub fn one(name: &str, value: impl Into<Value>) -> Self {
        Answer::Ok(vec![(name.into(), value.into())])
    }
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Ok(values) if values.is_empty() => f.write_str("ok"),
            Answer::Ok(values) => {
                for (place, (name, value)) in values.iter().enumerate() {
                    write!(f, "{}{name} {value}", if place == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Answer::Refused { status, code, .. } => write!(f, "{status} {code}"),
        }
    }
}

/// A webhook that a service wants delivered: becomes a process of the environment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// Short and unique within its cause, for lanes: `evt succeeded`.
    pub label: Arc<str>,
    /// The endpoint it goes to.
    pub endpoint: Arc<str>,
    /// Header values (signature, id, timestamp).
    pub headers: Fields,
    /// The payload.
    pub body: Fields,
    /// How many attempts the sender makes in all before it gives up.
    pub attempts: u8,
}
