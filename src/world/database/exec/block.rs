//! `DO`: the little of PL/pgSQL that tests use to speak, `RAISE` and `NULL`, in a block without declarations.

use crate::machine::Rows;
use crate::value::Value;
use crate::world::database::sql::parse::parse_expr;
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::sql::types::Type;
use crate::world::database::store::SessionId;

use super::engine::{Call, Halt};
use super::facade::Severity;
use super::message::Planned;
use super::planner::constant_of;

impl Call<'_> {
    /// Runs a block, or refuses it.
    pub(super) fn do_block(
        &mut self,
        id: SessionId,
        planned: &Planned,
        language: &str,
        body: &str,
    ) -> Result<Rows, Halt> {
        let refused = || {
            Halt::Refused(
                planned
                    .refuse("DO")
                    .help("only BEGIN, RAISE, NULL and END are known in a DO block"),
            )
        };
        if language != "plpgsql" {
            return Err(refused());
        }
        let body = body.trim().trim_end_matches(';').trim_end();
        let inner = strip_word(body, "begin").and_then(|rest| {
            let end = rest.len().checked_sub(3)?;
            rest.get(end..)?.eq_ignore_ascii_case("end").then(|| &rest[..end])
        });
        let Some(inner) = inner else {
            return Err(refused());
        };
        for statement in split(inner, ';') {
            let statement = statement.trim();
            if statement.is_empty() || statement.eq_ignore_ascii_case("null") {
                continue;
            }
            let raise = strip_word(statement, "raise").ok_or_else(refused)?;
            self.raise(id, planned, raise.trim_start(), &refused)?;
        }
        Ok(Rows::default())
    }

    fn raise(&mut self, id: SessionId, planned: &Planned, raise: &str, refused: &dyn Fn() -> Halt) -> Result<(), Halt> {
        let levels = [
            ("notice", Some(Severity::Notice)),
            ("warning", Some(Severity::Warning)),
            ("info", Some(Severity::Info)),
            ("exception", None),
        ];
        let known = levels
            .iter()
            .find_map(|(word, severity)| Some((strip_word(raise, word)?, *severity)));
        let (rest, severity) = known.unwrap_or((raise, None));
        let mut parts = split(rest, ',').into_iter().map(str::trim);
        let format = parts
            .next()
            .and_then(|text| text.strip_prefix('\'')?.strip_suffix('\''));
        let format = format.ok_or_else(refused)?.replace("''", "'");
        let settings = self.session(id).settings.clone();
        let mut text = String::new();
        let mut letters = format.chars().peekable();
        while let Some(letter) = letters.next() {
            if letter != '%' {
                text.push(letter);
            } else if letters.next_if_eq(&'%').is_some() {
                text.push('%');
            } else {
                let expr = parse_expr(parts.next().ok_or_else(refused)?).map_err(|_| refused())?;
                let value = constant_of(self.catalog(id), &expr, &Type::Text, &settings, self.session(id).began);
                match value.map_err(|error| planned.placed(error))? {
                    Value::Null => text.push_str("<NULL>"),
                    Value::Text(value) => text.push_str(&value),
                    _ => return Err(refused()),
                }
            }
        }
        match severity {
            Some(severity) => {
                self.notice(id, severity, text);
                Ok(())
            }
            None => Err(sql_error(b"P0001", text).into()),
        }
    }
}

/// The text behind a word at its beginning.
fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let head = text.get(..word.len())?;
    let rest = &text[word.len()..];
    let ends = rest
        .chars()
        .next()
        .is_none_or(|next| !next.is_alphanumeric() && next != '_');
    (head.eq_ignore_ascii_case(word) && ends).then_some(rest)
}

/// The pieces between separators that are not in quotes or parentheses.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut pieces, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0_u32, false);
    for (at, letter) in text.char_indices() {
        match letter {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if letter == separator && !quoted && depth == 0 => {
                pieces.push(&text[start..at]);
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}
