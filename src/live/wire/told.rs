//! Small pieces of the protocol: what a server says of itself, of columns and of errors.

use std::sync::Arc;

use bytes::BufMut;
pub(super) use bytes::BytesMut;
use pgwire::messages::data::{FieldDescription, RowDescription};
use pgwire::messages::response::ErrorResponse;

use super::values;
use crate::machine::SqlError;
use crate::world::database::sql::types::Type;

/// What a server tells each client at the start.
pub(super) const PARAMETERS: &[(&str, &str)] = &[
    ("server_version", "15.18"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("TimeZone", "UTC"),
    ("IntervalStyle", "postgres"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
    ("is_superuser", "off"),
];

/// Settings of which no answer of the model depends.
pub(super) const HARMLESS: &[&str] = &[
    "application_name",
    "extra_float_digits",
    "client_min_messages",
    "intervalstyle",
    "bytea_output",
    "standard_conforming_strings",
    "jit",
    "log_statement",
];

/// Whether a statement may leave something to its session that outlives the transaction.
pub(super) fn is_lasting(text: &str) -> bool {
    text.to_ascii_lowercase().contains("pg_advisory_lock") || text.to_ascii_lowercase().contains("pg_try_advisory_lock")
}

/// The number that a ping asks for: `SELECT 1`.
pub(super) fn ping(text: &str) -> Option<i64> {
    let (word, rest) = text.trim().split_once(char::is_whitespace)?;
    match word.eq_ignore_ascii_case("select") {
        true => rest.trim().parse::<i32>().ok().map(i64::from),
        false => None,
    }
}

/// `-c name=value` and `--name=value` of the start-up parameter `options`.
pub(super) fn options(text: &str) -> Vec<(String, String)> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            ' ' => words.push(std::mem::take(&mut word)),
            letter => word.push(letter),
        }
    }
    words.push(word);
    let set = words
        .iter()
        .filter(|word| !word.is_empty() && *word != "-c")
        .filter_map(|word| {
            let word = word
                .strip_prefix("--")
                .or_else(|| word.strip_prefix("-c"))
                .unwrap_or(word);
            let (name, value) = word.split_once('=')?;
            Some((name.replace('-', "_"), value.to_owned()))
        });
    set.collect()
}

/// The format of the field at a place: none is text, one is that of all.
pub(super) fn format(formats: &[i16], place: usize) -> i16 {
    match formats {
        [] => 0,
        [all] => *all,
        several => several.get(place).copied().unwrap_or(0),
    }
}

/// What columns a result has.
pub(super) fn row_description(columns: &[(Arc<str>, Type)], formats: &[i16]) -> RowDescription {
    let fields = columns.iter().enumerate().map(|(place, (name, ty))| {
        let (number, size) = (values::number(ty), values::size(ty));
        FieldDescription::new(name.to_string(), 0, 0, number, size, -1, format(formats, place))
    });
    RowDescription::new(fields.collect())
}

/// One field of a row.
pub(super) fn field(data: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => data.put_i32(-1),
        Some(bytes) => {
            data.put_i32(bytes.len() as i32);
            data.put_slice(bytes);
        }
    }
}

/// An error.
pub(super) fn error(error: &SqlError) -> ErrorResponse {
    let mut fields = vec![
        (b'S', "ERROR".to_owned()),
        (b'V', "ERROR".to_owned()),
        (b'C', error.code.to_string()),
        (b'M', error.message.to_string()),
    ];
    if let Some(constraint) = &error.constraint {
        fields.push((b'n', constraint.to_string()));
    }
    ErrorResponse::new(fields)
}

/// A statement on one line, for messages.
pub(super) fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn options_are_read_as_the_server_reads_them() {
        let read = super::options(r"-c statement_timeout=5s --lock-timeout=1\ s");
        let wanted = [("statement_timeout", "5s"), ("lock_timeout", "1 s")];
        assert_eq!(read, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
