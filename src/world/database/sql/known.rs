//! What a server knows by itself, whether the model knows it or not: functions, operators, catalogs, settings, reserved words.
//!
//! With these lists "the server has it, the model has not" is told apart from "nobody has it": the one is refused, the other is the
//! server's own error. The files are made by `known/made.sql`, whose head says how.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::overload::implicit;
use super::types::Type;

/// Signatures by name; `None` for one that SQL can't call like a function.
type Signatures = BTreeMap<&'static str, Vec<Vec<&'static str>>>;

fn functions() -> &'static Signatures {
    static KNOWN: OnceLock<Signatures> = OnceLock::new();
    KNOWN.get_or_init(|| signatures(include_str!("known/functions.txt")))
}

fn operators() -> &'static Signatures {
    static KNOWN: OnceLock<Signatures> = OnceLock::new();
    KNOWN.get_or_init(|| signatures(include_str!("known/operators.txt")))
}

fn signatures(text: &'static str) -> Signatures {
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let args = words.map(|args| {
            let args = args.trim_start_matches('(').trim_end_matches(')');
            args.split(',').filter(|arg| !arg.is_empty()).collect()
        });
        (name, args.collect())
    };
    text.lines().map(line).collect()
}

/// The names of all functions.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    functions().keys().copied()
}

/// The symbols of all operators.
pub fn operator_names() -> impl Iterator<Item = &'static str> {
    operators().keys().copied()
}

/// Whether the server has a function of this name that these arguments may mean, or an extension that comes with it has one of the name.
pub(super) fn may_be_function(name: &str, args: &[Type]) -> bool {
    match functions().get(name) {
        None => is_extension_function(name),
        Some(known) => known.is_empty() || known.iter().any(|takes| takes_args(takes, args)),
    }
}

/// Whether the server has an overload for exactly these types.
pub(super) fn has_exact_function(name: &str, args: &[Type]) -> bool {
    let exact = |takes: &Vec<&str>| {
        takes.len() == args.len()
            && takes.iter().zip(args).all(|(param, arg)| {
                let param = param.trim_end_matches('?');
                Type::from_name(param).is_some_and(|to| to.same(arg))
            })
    };
    functions().get(name).is_some_and(|known| known.iter().any(exact))
}

/// Whether an extension that comes with the server has a function of this name.
pub(super) fn is_extension_function(name: &str) -> bool {
    has(include_str!("known/extensions.txt"), name)
}

/// Whether the server has an operator of this name that these operands may mean.
pub(super) fn may_be_operator(symbol: &str, args: &[Type]) -> bool {
    operators().get(symbol).is_some_and(|known| {
        let same = |takes: &&Vec<&str>| takes.len() == args.len();
        known.iter().filter(same).any(|takes| takes_args(takes, args))
    })
}

/// Whether it is a table or a view of `pg_catalog`.
pub(crate) fn is_relation(name: &str) -> bool {
    has(include_str!("known/relations.txt"), name)
}

/// Whether it is a word that can't be a name without quotes.
pub(super) fn is_reserved(word: &str) -> bool {
    has(include_str!("known/keywords.txt"), word)
}

/// Whether it is a type of the server.
pub(super) fn is_type(name: &str) -> bool {
    has(include_str!("known/types.txt"), name)
}

/// The lines of the lists are sorted by their bytes.
fn has(list: &'static str, name: &str) -> bool {
    list.lines().any(|line| line == name)
}

fn takes_args(takes: &[&str], args: &[Type]) -> bool {
    let (fixed, repeated) = match takes.split_last() {
        Some((last, before)) if last.ends_with('*') => (before, Some(last.trim_end_matches('*'))),
        _ => (takes, None),
    };
    let needed = fixed.iter().filter(|arg| !arg.ends_with('?')).count();
    // A repeated parameter stands for one argument at least.
    let needed = needed + usize::from(repeated.is_some());
    if !agree(takes, args) || args.len() < needed || (repeated.is_none() && args.len() > fixed.len()) {
        return false;
    }
    args.iter().enumerate().all(|(place, arg)| match fixed.get(place) {
        Some(param) => accepts(param.trim_end_matches('?'), arg),
        None => repeated.is_some_and(|param| accepts(param.trim_end_matches("[]"), arg) || accepts(param, arg)),
    })
}

/// Arguments of polymorphic parameters are about one type, the compatible kind aside.
fn agree(takes: &[&str], args: &[Type]) -> bool {
    let mut elements = takes
        .iter()
        .zip(args)
        .filter_map(|(param, arg)| match param.trim_end_matches('?') {
            "anyarray" => arg.element(),
            "anyelement" | "anynonarray" | "anyenum" if *arg != Type::Unknown => Some(arg),
            _ => None,
        });
    match elements.next() {
        Some(first) => elements.all(|element| element.same(first)),
        None => true,
    }
}

/// Whether a parameter may take an argument; a type that the model does not have takes literals only.
fn accepts(param: &str, arg: &Type) -> bool {
    if *arg == Type::Unknown {
        return true;
    }
    match param {
        "any" | "anyelement" | "anynonarray" | "anycompatible" | "anycompatiblenonarray" => true,
        "anyarray" | "anycompatiblearray" | "any[]" | "anycompatible[]" => arg.element().is_some(),
        "anyenum" => matches!(arg, Type::Enum(_)),
        "record" => matches!(arg, Type::Record(_)),
        "record[]" => arg.element().is_some_and(|element| matches!(element, Type::Record(_))),
        name => match Type::from_name(name) {
            Some(to) => to.same(arg) || implicit(arg, &to),
            // bit strings, addresses, documents: no value of the model converts to one by itself, text aside (regclass and its like)
            None => name.starts_with("reg") && arg.is_string(),
        },
    }
}

/// A setting of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name, as SHOW spells it.
    pub name: &'static str,
    /// Who may change it, and when: `user`, `superuser`, `sighup`, `postmaster`, `internal`, ...
    pub context: &'static str,
    /// What its values are.
    pub kind: SettingKind,
    /// What it is without being set.
    pub default: &'static str,
}

/// The values of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// `on` and `off`.
    Bool,
    /// A whole number, with its unit if there is one, and its bounds.
    Integer {
        /// `ms`, `kB`, `8kB`, ...; empty for none.
        unit: &'static str,
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A number.
    Real,
    /// One of these words, separated by commas.
    Enum(&'static str),
    /// Any text.
    Text,
}

/// All settings, by name in lower case.
pub fn settings() -> &'static BTreeMap<String, Setting> {
    static KNOWN: OnceLock<BTreeMap<String, Setting>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let lines = include_str!("known/settings.txt").lines();
        lines
            .filter_map(setting)
            .map(|one| (one.name.to_ascii_lowercase(), one))
            .collect()
    })
}

fn setting(line: &'static str) -> Option<Setting> {
    let mut parts = line.split('|');
    let (name, context, kind, unit) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let default = parts.next().unwrap_or_default();
    let mut number = || parts.next().and_then(|number| number.parse().ok());
    let kind = match kind {
        "bool" => SettingKind::Bool,
        "integer" => SettingKind::Integer {
            unit,
            min: number()?,
            max: number()?,
        },
        "real" => SettingKind::Real,
        "enum" => SettingKind::Enum(parts.next()?),
        _ => SettingKind::Text,
    };
    Some(Setting {
        name,
        context,
        kind,
        default,
    })
}
