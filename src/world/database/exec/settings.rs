//! Settings: what SET takes, what SHOW prints, and which of them the model acts on.
//!
//! Every setting of the server is one of three: acted on, kept without effect (planner costs, logging, storage), or refused when it is set to
//! something that would change an answer. What SHOW can only know from the machine or the cluster is refused as well.

use crate::machine::SqlError;
use crate::world::database::sql::known::{Setting, SettingKind, settings};
use crate::world::database::sql::refuse::{not_modelled, sql_error};
use crate::world::database::sql::settings::DateStyle;

/// Settings of the server's start that do not depend on the machine.
const STABLE: &[&str] = &[
    "block_size",
    "integer_datetimes",
    "max_connections",
    "max_function_args",
    "max_identifier_length",
    "max_index_keys",
    "max_locks_per_transaction",
    "max_pred_locks_per_transaction",
    "wal_block_size",
];

/// Settings of a session whose default depends on the machine or the cluster.
const MACHINE: &[&str] = &[
    "default_text_search_config",
    "lc_messages",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "max_stack_depth",
    "synchronous_commit",
    "timezone_abbreviations",
];

/// Settings that would change an answer, with the one value under which they do not.
const FIXED: &[(&str, &str)] = &[
    ("allow_system_table_mods", "off"),
    ("array_nulls", "on"),
    ("default_table_access_method", "heap"),
    ("default_tablespace", ""),
    ("exit_on_error", "off"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("ignore_system_indexes", "off"),
    ("intervalstyle", "postgres"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("lc_time", "C"),
    ("role", "none"),
    ("session_replication_role", "origin"),
    ("standard_conforming_strings", "on"),
    ("temp_tablespaces", ""),
    ("timezone_abbreviations", "Default"),
    ("transform_null_equals", "off"),
    ("zero_damaged_pages", "off"),
];

/// A setting's default as SHOW prints it; `None` when the server has no such setting.
pub(super) fn default(name: &str) -> Result<Option<String>, SqlError> {
    let shown = match name {
        "client_encoding" | "server_encoding" => "UTF8",
        "is_superuser" => "on",
        "role" => "none",
        "seed" => "unavailable",
        "server_version" => "15.18",
        "server_version_num" => "150018",
        "transaction_deferrable" => "off",
        _ => {
            let Some(setting) = settings().get(name) else {
                return Ok(None);
            };
            let ours = matches!(setting.context, "user" | "superuser");
            if MACHINE.contains(&name) || !(ours || STABLE.contains(&name)) {
                return Err(not_modelled(format!("SHOW of {name}, which depends on the server")));
            }
            return Ok(Some(shown(setting)));
        }
    };
    Ok(Some(shown.to_owned()))
}

fn shown(setting: &Setting) -> String {
    match setting.kind {
        SettingKind::Integer { unit, .. } => match setting.default.parse() {
            Ok(number) => with_unit(number, unit),
            Err(_) => setting.default.to_owned(),
        },
        _ => setting.default.to_owned(),
    }
}

/// A setting's value in the form that SHOW prints.
///
/// # Errors
/// What the server says of a name or value that it does not take; and a refusal when the value would change what the model does not.
pub(super) fn normal(name: &str, value: &str) -> Result<String, SqlError> {
    let Some(setting) = settings().get(name) else {
        return unlisted(name, value);
    };
    match setting.context {
        "internal" => return Err(cannot(name, "cannot be changed")),
        "postmaster" => return Err(cannot(name, "cannot be changed without restarting the server")),
        "sighup" => return Err(cannot(name, "cannot be changed now")),
        "backend" | "superuser-backend" => return Err(cannot(name, "cannot be set after connection start")),
        _ => {}
    }
    let wrong = || {
        sql_error(
            b"22023",
            format!("invalid value for parameter \"{}\": \"{value}\"", setting.name),
        )
    };
    let shown = match setting.kind {
        SettingKind::Bool => match boolean(value) {
            Some(on) => if on { "on" } else { "off" }.to_owned(),
            None => {
                let message = format!("parameter \"{}\" requires a Boolean value", setting.name);
                return Err(sql_error(b"22023", message));
            }
        },
        SettingKind::Enum(words) => word(name, words, value).ok_or_else(wrong)?,
        SettingKind::Integer { unit, min, max } => {
            let number = integer(value, unit).ok_or_else(wrong)?;
            if number < min || number > max {
                let unit = if unit.is_empty() {
                    String::new()
                } else {
                    format!(" {unit}")
                };
                let message = format!(
                    "{number}{unit} is outside the valid range for parameter \"{}\" ({min} .. {max})",
                    setting.name
                );
                return Err(sql_error(b"22023", message));
            }
            with_unit(number, unit)
        }
        SettingKind::Real => {
            let number: f64 = value.trim().parse().map_err(|_| wrong())?;
            number.to_string()
        }
        SettingKind::Text => value.to_owned(),
    };
    effect(name, setting, shown)
}

/// The value, unless it would change what the model does not.
fn effect(name: &str, setting: &Setting, shown: String) -> Result<String, SqlError> {
    let refused = |help: &str| Err(not_modelled(format!("SET {name} = '{shown}' ({help})")));
    if let Some((_, only)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
        return match shown.eq_ignore_ascii_case(only) {
            true => Ok(shown),
            false => refused(&format!("only '{only}' is known")),
        };
    }
    match name {
        "client_encoding" => match shown.to_ascii_uppercase().replace(['-', '_'], "").as_str() {
            "UTF8" | "UNICODE" => Ok("UTF8".to_owned()),
            _ => refused("only UTF8 is known"),
        },
        "extra_float_digits" if shown.starts_with(['-', '0']) => refused("only 1 and above are known"),
        "client_min_messages" if shown.starts_with("debug") || shown == "log" => {
            refused("only notice and above are known")
        }
        "datestyle" => date_style(&shown).map(|style| match style {
            DateStyle::Iso => "ISO, MDY".to_owned(),
            DateStyle::Postgres => "Postgres, MDY".to_owned(),
        }),
        "search_path" => search_path(&shown).map(|_| shown.clone()),
        "wal_consistency_checking" if !shown.is_empty() => refused("only '' is known"),
        _ => match setting.name.starts_with("debug_") && setting.default != shown {
            true => refused("only the default is known"),
            false => Ok(shown),
        },
    }
}

/// Settings that the server's own list leaves out, and those of nobody (`app.user`).
fn unlisted(name: &str, value: &str) -> Result<String, SqlError> {
    match name {
        "role" => match value.eq_ignore_ascii_case("none") {
            true => Ok("none".to_owned()),
            false => Err(not_modelled("SET ROLE (the model has one user)")),
        },
        "session_authorization" => Err(not_modelled("SET SESSION AUTHORIZATION (the model has one user)")),
        "seed" => match value.trim().parse::<f64>() {
            Ok(_) => Ok("unavailable".to_owned()),
            Err(_) => Err(sql_error(
                b"22023",
                format!("invalid value for parameter \"seed\": \"{value}\""),
            )),
        },
        "is_superuser" => Err(cannot(name, "cannot be changed")),
        name if is_custom(name) => Ok(value.to_owned()),
        name if name.contains('.') => {
            let message = format!("invalid configuration parameter name \"{name}\"");
            Err(sql_error(b"42602", message))
        }
        _ => Err(unrecognized(name)),
    }
}

/// Whether a name is one of those that applications make up: several parts, each like an identifier.
pub(super) fn is_custom(name: &str) -> bool {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii();
        letters.next().is_some_and(first)
            && letters.all(|letter| first(letter) || letter.is_ascii_digit() || letter == '$')
    };
    name.contains('.') && name.split('.').all(part)
}

/// `unrecognized configuration parameter "x"`.
pub(super) fn unrecognized(name: &str) -> SqlError {
    sql_error(b"42704", format!("unrecognized configuration parameter \"{name}\""))
}

fn cannot(name: &str, why: &str) -> SqlError {
    sql_error(b"55P02", format!("parameter \"{name}\" {why}"))
}

/// The values of a SET as one text. Lists of names keep the quotes that they need.
pub(super) fn list(name: &str, values: &[String]) -> String {
    let names = [
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "temp_tablespaces",
    ];
    let quoted = |value: &String| {
        let mut letters = value.chars();
        let first = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        let plain = letters.next().is_some_and(first) && letters.all(|letter| first(letter) || letter.is_ascii_digit());
        match plain || !names.contains(&name) {
            true => value.clone(),
            false => format!("\"{}\"", value.replace('"', "\"\"")),
        }
    };
    values.iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// Whether unqualified names find what is in `public`.
///
/// # Errors
/// A refusal when the path names a schema of the server that the model does not have.
pub(super) fn search_path(path: &str) -> Result<bool, SqlError> {
    let mut schemas = path.split(',').map(|schema| schema.trim().trim_matches('"'));
    if schemas
        .clone()
        .any(|schema| schema.eq_ignore_ascii_case("information_schema"))
    {
        return Err(not_modelled("information_schema in search_path"));
    }
    Ok(schemas.any(|schema| schema == "public"))
}

/// The output form of dates; the order of input is month, day, year.
pub(super) fn date_style(value: &str) -> Result<DateStyle, SqlError> {
    let mut style = None;
    for word in value.split(',').map(|word| word.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "iso" => style = Some(DateStyle::Iso),
            "postgres" => style = Some(DateStyle::Postgres),
            "mdy" | "us" | "noneuro" | "noneuropean" => {}
            "sql" | "german" | "dmy" | "euro" | "european" | "ymd" => {
                return Err(not_modelled(format!(
                    "SET datestyle = '{value}' (only ISO, Postgres and MDY are known)"
                )));
            }
            _ => {
                let message = format!("invalid value for parameter \"DateStyle\": \"{value}\"");
                return Err(sql_error(b"22023", message));
            }
        }
    }
    style.ok_or_else(|| not_modelled(format!("SET datestyle = '{value}' (name ISO or Postgres)")))
}

fn boolean(value: &str) -> Option<bool> {
    let value = value.trim().to_ascii_lowercase();
    let short = |whole: &str, least: usize| value.len() >= least && whole.starts_with(&value);
    if value == "1" || short("on", 2) || short("true", 1) || short("yes", 1) {
        Some(true)
    } else if value == "0" || short("off", 2) || short("false", 1) || short("no", 1) {
        Some(false)
    } else {
        None
    }
}

/// A word of an enum. Some take a truth value as well.
fn word(name: &str, words: &str, value: &str) -> Option<String> {
    let value = value.trim();
    let known = |word: &str| words.split(',').any(|known| known == word);
    if let Some(found) = words.split(',').find(|known| known.eq_ignore_ascii_case(value)) {
        return Some(found.to_owned());
    }
    if name.ends_with("transaction_isolation") && value.eq_ignore_ascii_case("read uncommitted") {
        return Some("read uncommitted".to_owned());
    }
    match boolean(value)? {
        true if known("on") => Some("on".to_owned()),
        false if known("off") => Some("off".to_owned()),
        _ => None,
    }
}

const MEMORY: [(&str, i64); 5] = [
    ("TB", 1 << 40),
    ("GB", 1 << 30),
    ("MB", 1 << 20),
    ("kB", 1 << 10),
    ("B", 1),
];

const TIME: [(&str, i64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// The units of a setting's family and how much one of its own unit is.
fn family(unit: &str) -> Option<(&'static [(&'static str, i64)], i64)> {
    let digits = unit.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let name = &unit[digits.len()..];
    let many: i64 = if digits.is_empty() { 1 } else { digits.parse().ok()? };
    let of = |list: &'static [(&'static str, i64)]| {
        let found = list.iter().find(|(known, _)| *known == name);
        found.map(|(_, size)| (list, size * many))
    };
    of(&MEMORY).or_else(|| of(&TIME))
}

/// A whole number as SHOW prints it: in the largest unit that leaves no rest.
fn with_unit(number: i64, unit: &str) -> String {
    let Some((units, size)) = family(unit).filter(|_| number > 0) else {
        return number.to_string();
    };
    let Some(total) = number.checked_mul(size) else {
        return format!("{number}{unit}");
    };
    match units.iter().find(|(_, size)| total % size == 0) {
        Some((name, size)) => format!("{}{name}", total / size),
        None => format!("{number}{unit}"),
    }
}

/// A written number in a setting's own unit.
fn integer(value: &str, unit: &str) -> Option<i64> {
    let value = value.trim();
    let end = value
        .find(|letter: char| !matches!(letter, '0'..='9' | '.' | '-' | '+'))
        .unwrap_or(value.len());
    let number: f64 = value[..end].parse().ok()?;
    let written = value[end..].trim();
    let number = match (written, family(unit)) {
        ("", _) => number,
        (_, None) => return None,
        (written, Some((units, size))) => {
            let (_, factor) = units.iter().find(|(name, _)| *name == written)?;
            number * (*factor as f64) / (size as f64)
        }
    };
    let rounded = number.round_ties_even();
    (rounded.abs() < 9e18).then_some(rounded as i64)
}
