//! The words of a spec file.

use std::ops::Range;

use super::spec::Block;

/// A word with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) span: Range<usize>,
}

/// What kind of word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Keyword(Keyword),
    Name(String),
    Number(u64),
    Sql(Block),
    Open,
    Close,
    Comma,
    Star,
    End,
}

/// Words with a meaning; as names they must be quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Setup,
    Teardown,
    Session,
    Step,
    Permutation,
    Notices,
}

/// What is not a word of a spec file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// A character that starts no word.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// A brace that is not closed.
    #[error("this SQL block has no closing brace")]
    OpenBlock,
    /// A quote that is not closed on its line.
    #[error("this quoted name has no closing quote on its line")]
    OpenQuote,
    /// A number that is too large.
    #[error("this number is too large")]
    Number,
}

/// Splits a file into words; the last one is [`Kind::End`].
pub(super) fn scan(text: &str) -> Result<Vec<Token>, (ScanError, Range<usize>)> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b' ' | b'\t' | b'\r' | b'\n' | b'\x0c' => {
                at += 1;
                continue;
            }
            b'#' => {
                at += bytes[at..]
                    .iter()
                    .position(|byte| *byte == b'\n')
                    .unwrap_or(bytes.len() - at);
                continue;
            }
            b'(' => Kind::Open,
            b')' => Kind::Close,
            b',' => Kind::Comma,
            b'*' => Kind::Star,
            b'{' => {
                let Some(end) = text[at..].find('}') else {
                    return Err((ScanError::OpenBlock, at..at + 1));
                };
                at += end;
                Kind::Sql(block(text, start + 1..at))
            }
            b'"' => {
                let (name, end) = quoted(text, at).ok_or((ScanError::OpenQuote, at..at + 1))?;
                at = end - 1;
                Kind::Name(name)
            }
            b'0'..=b'9' => {
                at = end_of(bytes, at, |byte| byte.is_ascii_digit()) - 1;
                let digits = text[start..=at].parse();
                Kind::Number(digits.map_err(|_| (ScanError::Number, start..at + 1))?)
            }
            byte if starts_name(byte) => {
                at = end_of(bytes, at, |byte| {
                    starts_name(byte) || byte.is_ascii_digit() || byte == b'$'
                }) - 1;
                word(&text[start..=at])
            }
            _ => {
                let character = text[at..].chars().next().unwrap_or('\u{fffd}');
                return Err((ScanError::Character(character), at..at + character.len_utf8()));
            }
        };
        at += 1;
        tokens.push(Token { kind, span: start..at });
    }
    tokens.push(Token {
        kind: Kind::End,
        span: text.len()..text.len(),
    });
    Ok(tokens)
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn end_of(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    let length = bytes[from..].iter().take_while(|byte| belongs(**byte)).count();
    from + length
}

fn word(text: &str) -> Kind {
    Kind::Keyword(match text {
        "setup" => Keyword::Setup,
        "teardown" => Keyword::Teardown,
        "session" => Keyword::Session,
        "step" => Keyword::Step,
        "permutation" => Keyword::Permutation,
        "notices" => Keyword::Notices,
        _ => return Kind::Name(text.to_owned()),
    })
}

/// A quoted name that opens at `at`, and where it ends.
fn quoted(text: &str, at: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut characters = text[at + 1..].char_indices().peekable();
    while let Some((offset, character)) = characters.next() {
        match character {
            '\n' => return None,
            '"' if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                characters.next();
                name.push('"');
            }
            '"' => return Some((name, at + 1 + offset + 1)),
            _ => name.push(character),
        }
    }
    None
}

/// Blanks, but not newlines, right inside the braces are dropped.
fn block(text: &str, inside: Range<usize>) -> Block {
    let blank = |character: char| matches!(character, ' ' | '\t' | '\r' | '\x0c');
    let start = inside.end - text[inside.clone()].trim_start_matches(blank).len();
    let trimmed = text[start..inside.end].trim_end_matches(blank);
    Block {
        text: trimmed.into(),
        span: start..start + trimmed.len(),
    }
}
