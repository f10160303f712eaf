//! What a scenario says about a handler, checked against what the handler declares.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Handler, Kind, Parameter};
use crate::system::FaultBudget;

/// Which system of a handler's family a scenario means. Everything that the handler declares is present.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Setup {
    /// The value chosen for each [`Choice`](super::Choice).
    pub design: BTreeMap<&'static str, &'static str>,
    /// The system's parameters.
    pub parameters: Settings,
    /// Each client's parameters, in the order of the file.
    pub clients: Vec<Settings>,
    /// The faults that a run may have: a system with crashes may need a worker that sweeps up, for example.
    pub faults: FaultBudget,
}

impl Setup {
    /// The setup that a scenario gets when it says nothing: first options, defaults, no clients, no faults.
    pub fn defaults(handler: &dyn Handler) -> Setup {
        let design = handler
            .choices()
            .iter()
            .filter_map(|choice| Some((choice.name, choice.options.first()?.name)));
        Setup {
            design: design.collect(),
            parameters: Settings::defaults(handler.parameters()),
            clients: Vec::new(),
            faults: FaultBudget::NONE,
        }
    }

    /// The value of a choice; empty for a choice that the handler does not declare.
    pub fn choice(&self, name: &str) -> &'static str {
        self.design.get(name).copied().unwrap_or_default()
    }

    /// Whether a choice has this value.
    pub fn is(&self, choice: &str, value: &str) -> bool {
        self.choice(choice) == value
    }
}

/// Canonical text: equal setups print equally, on every machine.
impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (choice, value) in &self.design {
            writeln!(f, "design {choice} = {value}")?;
        }
        write!(f, "{}", self.parameters)?;
        for client in &self.clients {
            write!(f, "client\n{client}")?;
        }
        writeln!(f, "faults {}", self.faults)
    }
}

/// Values of declared parameters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Settings(BTreeMap<&'static str, Value>);

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Of [`Kind::Int`].
    Int(i64),
    /// Of [`Kind::Text`] or [`Kind::OneOf`].
    Text(Arc<str>),
    /// Of [`Kind::Bool`].
    Bool(bool),
}

impl Settings {
    /// Every parameter with its default.
    pub fn defaults(parameters: &[Parameter]) -> Settings {
        let values = parameters.iter().map(|parameter| {
            let value = match parameter.kind {
                Kind::Int { default, .. } => Value::Int(default),
                Kind::Text { default } => Value::Text(default.into()),
                Kind::Bool { default } => Value::Bool(default),
                Kind::OneOf(options) => Value::Text(options.first().map_or("", |option| option.name).into()),
            };
            (parameter.name, value)
        });
        Settings(values.collect())
    }

    /// Sets a parameter.
    pub fn set(&mut self, name: &'static str, value: Value) {
        self.0.insert(name, value);
    }

    /// An integer; 0 for a parameter that is not declared as one.
    pub fn int(&self, name: &str) -> i64 {
        match self.0.get(name) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        }
    }

    /// A text or a named value; empty for a parameter that is not declared as one.
    pub fn text(&self, name: &str) -> Arc<str> {
        match self.0.get(name) {
            Some(Value::Text(text)) => text.clone(),
            _ => "".into(),
        }
    }

    /// `true` or `false`; false for a parameter that is not declared so.
    pub fn truth(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(Value::Bool(true)))
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.0 {
            match value {
                Value::Int(number) => writeln!(f, "{name} = {number}")?,
                Value::Text(text) => writeln!(f, "{name} = {text:?}")?,
                Value::Bool(truth) => writeln!(f, "{name} = {truth}")?,
            }
        }
        Ok(())
    }
}
