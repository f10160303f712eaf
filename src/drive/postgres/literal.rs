//! A statement with its parameters written into the text, for the simple protocol.
//!
//! Parameters become quoted literals, which the server gives a type by their context just as it does with parameters.
//! **Departure:** where nothing settles the type, a parameter and a literal are both `text`.

use std::fmt::Write as _;

use crate::isolation::on_model::text;
use crate::machine::Sql;
use crate::value::Value;
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;

/// The text that the server gets for a statement.
pub fn substitute(sql: &Sql) -> String {
    if sql.params.is_empty() {
        return sql.text.to_string();
    }
    let text = &*sql.text;
    let mut out = String::with_capacity(text.len() + 16 * sql.params.len());
    let mut at = 0;
    while at < text.len() {
        let end = token(text, at);
        let word = &text[at..end];
        let number = word.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        match number.and_then(|number| sql.params.get(number.checked_sub(1)?)) {
            Some(value) => out.push_str(&literal(value)),
            None => out.push_str(word),
        }
        at = end;
    }
    out
}

/// A value as SQL.
pub fn literal(value: &Value) -> String {
    match plain(value) {
        None => "NULL".to_owned(),
        Some(text) if text.contains('\\') => format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        Some(text) => format!("'{}'", text.replace('\'', "''")),
    }
}

/// A value in a form that the server's input functions read, whatever its settings; `None` for NULL.
fn plain(value: &Value) -> Option<String> {
    let settings = Settings::default();
    Some(match value {
        Value::Null => return None,
        Value::Timestamp(micros) => match jiff::Timestamp::from_microsecond(*micros) {
            Ok(moment) => moment.to_string(),
            // Beyond the calendar library's years; the server has its own limits and will say so.
            Err(_) => micros.to_string(),
        },
        Value::Interval(interval) => {
            let (months, days, micros) = (interval.months, interval.days, interval.micros);
            format!("{months} mons {days} days {micros} microseconds")
        }
        Value::Array(elements) => {
            let elements: Vec<String> = elements.iter().map(element).collect();
            format!("{{{}}}", elements.join(","))
        }
        Value::Date(_) => text(value, &Type::Date, &settings)?.to_string(),
        Value::Json(_) => text(value, &Type::Jsonb, &settings)?.to_string(),
        Value::Numeric(_) => text(value, &Type::Numeric(None), &settings)?.to_string(),
        Value::Uuid(uuid) => uuid.to_string(),
        other => text(other, &Type::Unknown, &settings)?.to_string(),
    })
}

fn element(value: &Value) -> String {
    match plain(value) {
        None => "NULL".to_owned(),
        Some(text) => {
            let mut quoted = String::from("\"");
            for letter in text.chars() {
                if matches!(letter, '"' | '\\') {
                    quoted.push('\\');
                }
                quoted.push(letter);
            }
            let _ = quoted.write_char('"');
            quoted
        }
    }
}

/// Where the token that starts at `at` ends: a quoted thing, a comment, a word, a parameter, or one character.
pub(super) fn token(text: &str, at: usize) -> usize {
    let rest = &text[at..];
    let length = |found: Option<usize>, closing: usize| at + found.map_or(rest.len(), |end| end + closing);
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '\'' => at + quoted(rest, '\'', false),
        '"' => at + quoted(rest, '"', false),
        'E' | 'e' if rest[1..].starts_with('\'') => at + 1 + quoted(&rest[1..], '\'', true),
        '-' if rest.starts_with("--") => length(rest.find('\n'), 0),
        '/' if rest.starts_with("/*") => at + comment(rest),
        '$' => match rest[1..]
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(rest.len() - 1)
        {
            0 => dollar_quoted(rest).map_or(at + 1, |length| at + length),
            digits => at + 1 + digits,
        },
        letter if letter.is_alphabetic() || letter == '_' => {
            let word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
            length(rest.find(|letter: char| !word(letter)), 0)
        }
        other => at + other.len_utf8(),
    }
}

/// The length of a quoted token; a doubled quote (or one after a backslash, where those escape) is part of it.
fn quoted(text: &str, quote: char, backslashes: bool) -> usize {
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if backslashes && letter == '\\' {
            letters.next();
        } else if letter == quote {
            match letters.peek() {
                Some((_, next)) if *next == quote => {
                    letters.next();
                }
                _ => return at + quote.len_utf8(),
            }
        }
    }
    text.len()
}

/// The length of a comment, which may have others inside.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        let step = if rest.starts_with("/*") {
            depth += 1;
            2
        } else if rest.starts_with("*/") {
            depth -= 1;
            2
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of `$tag$ ... $tag$`.
fn dollar_quoted(text: &str) -> Option<usize> {
    let tag = &text[..text[1..].find('$')? + 2];
    let named = |letter: char| letter.is_alphanumeric() || letter == '_';
    if !tag[1..tag.len() - 1].chars().all(named) {
        return None;
    }
    let body = text[tag.len()..].find(tag)?;
    Some(tag.len() + body + tag.len())
}

#[cfg(test)]
mod tests {
    use super::substitute;
    use crate::machine::Sql;
    use crate::value::Value;

    #[test]
    fn only_parameters_are_replaced() {
        let sql = Sql::new(
            "SELECT $1, '$1', \"$1\", a$1, E'\\'$1', $$ $1 $$, $x$ '$1 $x$ /* $1 /* */ $1 */ -- $1\n, $2::bigint, ($10), $3",
        )
        .bind("it's")
        .bind(-5)
        .bind(Value::Null);
        assert_eq!(
            substitute(&sql),
            "SELECT 'it''s', '$1', \"$1\", a$1, E'\\'$1', $$ $1 $$, $x$ '$1 $x$ /* $1 /* */ $1 */ -- $1\n, '-5'::bigint, ($10), NULL"
        );
    }

    #[test]
    fn values_are_written_so_that_the_server_reads_them_back() {
        let literal = |value: Value| super::literal(&value);
        assert_eq!(literal(Value::text("a\\b'c")), " E'a\\\\b''c'");
        assert_eq!(literal(Value::Bool(true)), "'t'");
        assert_eq!(
            literal(Value::Timestamp(1_577_836_800_000_001)),
            "'2020-01-01T00:00:00.000001Z'"
        );
        let array = Value::Array([Value::text("a\"b"), Value::Null, Value::Int(1)].into());
        assert_eq!(literal(array), " E'{\"a\\\\\"b\",NULL,\"1\"}'");
    }
}
