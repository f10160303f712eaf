//! LIKE and ILIKE.

use crate::machine::sql::SqlError;
use crate::world::database::sql::refuse::sql_error;

/// Whether a text matches a pattern: `%` any run, `_` any one character, the escape character takes the next one literally.
pub(super) fn matches(text: &str, pattern: &str, escape: Option<char>, insensitive: bool) -> Result<bool, SqlError> {
    let fold = |text: &str| -> Vec<char> {
        match insensitive {
            true => text.chars().flat_map(char::to_lowercase).collect(),
            false => text.chars().collect(),
        }
    };
    run(&fold(text), &compile(&fold(pattern), escape))
}

#[derive(Clone, Copy, PartialEq)]
enum Piece {
    Any,
    One,
    Char(char),
    /// An escape character with nothing behind it: an error if the text gets there.
    Dangling,
}

fn compile(pattern: &[char], escape: Option<char>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(pattern.len());
    let mut characters = pattern.iter();
    while let Some(&character) = characters.next() {
        pieces.push(match character {
            _ if Some(character) == escape => characters.next().map_or(Piece::Dangling, |next| Piece::Char(*next)),
            '%' => Piece::Any,
            '_' => Piece::One,
            other => Piece::Char(other),
        });
    }
    pieces
}

/// Greedy matching that remembers the last `%` only.
fn run(text: &[char], pattern: &[Piece]) -> Result<bool, SqlError> {
    let (mut at, mut place) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(place) {
            Some(Piece::Any) => {
                retry = Some((at, place));
                place += 1;
                continue;
            }
            Some(Piece::One) => {
                at += 1;
                place += 1;
                continue;
            }
            Some(Piece::Char(character)) if *character == text[at] => {
                at += 1;
                place += 1;
                continue;
            }
            Some(Piece::Dangling) => {
                return Err(sql_error(b"22025", "LIKE pattern must not end with escape character"));
            }
            _ => {}
        }
        let Some((from, any)) = retry else { return Ok(false) };
        retry = Some((from + 1, any));
        at = from + 1;
        place = any + 1;
    }
    Ok(pattern[place..].iter().all(|piece| *piece == Piece::Any))
}
