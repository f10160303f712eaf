//! `jsonb` as text and as a value.

use std::sync::Arc;

use crate::machine::sql::SqlError;
use crate::value::Json;
use crate::world::database::sql::numeric;
use crate::world::database::sql::refuse::sql_error;

/// Reads JSON text.
pub(super) fn parse(text: &str) -> Result<Json, SqlError> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let value = reader.value();
    reader.blank();
    match value {
        Some(value) if reader.at == text.len() => Ok(value),
        _ => Err(sql_error(b"22P02", "invalid input syntax for type json")),
    }
}

/// An object from its pairs: sorted by the length of the key and then its bytes; the last of equal keys counts.
pub(super) fn object(pairs: Vec<(Arc<str>, Json)>) -> Json {
    let mut sorted: Vec<(Arc<str>, Json)> = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        match sorted.binary_search_by(|(known, _)| order(known, &key)) {
            Ok(place) => sorted[place].1 = value,
            Err(place) => sorted.insert(place, (key, value)),
        }
    }
    Json::Object(sorted.into())
}

fn order(left: &str, right: &str) -> std::cmp::Ordering {
    left.len()
        .cmp(&right.len())
        .then_with(|| left.as_bytes().cmp(right.as_bytes()))
}

/// A member of an object.
pub(super) fn member<'a>(json: &'a Json, key: &str) -> Option<&'a Json> {
    match json {
        Json::Object(pairs) => {
            let place = pairs.binary_search_by(|(known, _)| order(known, key)).ok()?;
            Some(&pairs[place].1)
        }
        _ => None,
    }
}

/// An element of an array; negative places count from the end.
pub(super) fn element(json: &Json, place: i64) -> Option<&Json> {
    match json {
        Json::Array(items) => {
            let place = if place < 0 { items.len() as i64 + place } else { place };
            items.get(usize::try_from(place).ok()?)
        }
        _ => None,
    }
}

/// The text of `jsonb`: a blank after each colon and comma.
pub(super) fn print(json: &Json) -> String {
    let mut out = String::new();
    write(json, &mut out);
    out
}

fn write(json: &Json, out: &mut String) {
    match json {
        Json::Null => out.push_str("null"),
        Json::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Json::Number(number) => out.push_str(&numeric::render(number)),
        Json::String(text) => quote(text, out),
        Json::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(pairs) => {
            out.push('{');
            for (place, (key, value)) in pairs.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                quote(key, out);
                out.push_str(": ");
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// A JSON string literal.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if (control as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

impl Reader<'_> {
    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Option<()> {
        self.blank();
        (self.peek() == Some(byte)).then(|| self.at += 1)
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())?;
        Some(value)
    }

    fn value(&mut self) -> Option<Json> {
        self.blank();
        match self.peek()? {
            b'n' => self.word("null", Json::Null),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'"' => Some(Json::String(self.string()?)),
            b'[' => self.array(),
            b'{' => self.object(),
            _ => self.number(),
        }
    }

    fn array(&mut self) -> Option<Json> {
        self.deeper()?;
        self.at += 1;
        let mut items = Vec::new();
        if self.eat(b']').is_none() {
            loop {
                items.push(self.value()?);
                if self.eat(b',').is_none() {
                    break;
                }
            }
            self.eat(b']')?;
        }
        self.depth -= 1;
        Some(Json::Array(items.into()))
    }

    fn object(&mut self) -> Option<Json> {
        self.deeper()?;
        self.at += 1;
        let mut pairs = Vec::new();
        if self.eat(b'}').is_none() {
            loop {
                self.blank();
                let key = self.string()?;
                self.eat(b':')?;
                pairs.push((key, self.value()?));
                if self.eat(b',').is_none() {
                    break;
                }
            }
            self.eat(b'}')?;
        }
        self.depth -= 1;
        Some(object(pairs))
    }

    fn deeper(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth < 500).then_some(())
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let whole = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let leading_zero = whole > 1 && unsigned.starts_with('0');
        let bare_point = unsigned[whole..].starts_with('.')
            && !unsigned[whole + 1..].starts_with(|next: char| next.is_ascii_digit());
        if whole == 0 || leading_zero || bare_point {
            return None;
        }
        Some(Json::Number(numeric::parse(text)?))
    }

    fn string(&mut self) -> Option<Arc<str>> {
        self.eat(b'"')?;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let character = rest.chars().next()?;
            self.at += character.len_utf8();
            match character {
                '"' => return Some(out.into()),
                '\\' => out.push(self.escape()?),
                control if (control as u32) < 0x20 => return None,
                other => out.push(other),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let kind = self.peek()?;
        self.at += 1;
        Some(match kind {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex()?;
                if (0xd800..0xdc00).contains(&first) {
                    self.text[self.at..].starts_with("\\u").then(|| self.at += 2)?;
                    let second = self.hex()?.checked_sub(0xdc00)?;
                    return char::from_u32(0x10000 + ((first - 0xd800) << 10) + second);
                }
                return char::from_u32(first).filter(|character| *character != '\0');
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }
}
