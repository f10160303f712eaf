//! From text to tokens. One lexer for everything: steps, SQL inside them, expressions; so a brace inside a string never ends a block.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name or keyword.
    Word,
    /// A number.
    Number,
    /// `'...'`, `E'...'` or `$$...$$`.
    Text,
    /// `"..."`.
    Quoted,
    /// `:name`, `:name.column`, `:name.column[]`.
    Param,
    /// `:=`.
    Assign,
    /// `::`.
    Cast,
    /// `..`.
    Range,
    /// Any other character.
    Punct(char),
    /// A comment, without its line end.
    Comment,
    /// A string, quoted name or comment without its end.
    Unterminated,
}

/// A token with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) span: Range<usize>,
}

/// Splits a text into tokens. Every byte that is not white space belongs to one.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0 };
    let mut all = Vec::new();
    while let Some(token) = lexer.next() {
        all.push(token);
    }
    all
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<Token> {
        let rest = &self.text[self.at..];
        let blank = rest.len() - rest.trim_start().len();
        let line_start = self.at == 0 || rest[..blank].contains('\n');
        self.at += blank;
        let start = self.at;
        let first = self.peek(0)?;
        let kind = match first {
            '-' if self.peek(1) == Some('-') => self.line_comment(),
            '#' if line_start => self.line_comment(),
            '/' if self.peek(1) == Some('*') => self.until("*/", 2, Kind::Comment),
            '\'' => self.quoted('\'', Kind::Text),
            '"' => self.quoted('"', Kind::Quoted),
            '$' => self.dollar(),
            ':' => self.colon(),
            '.' if self.peek(1) == Some('.') => self.take(2, Kind::Range),
            'e' | 'E' if self.peek(1) == Some('\'') => {
                self.at += 1;
                self.quoted('\'', Kind::Text)
            }
            letter if is_word_start(letter) => {
                self.skip(is_word);
                Kind::Word
            }
            digit if digit.is_ascii_digit() => self.number(),
            other => self.take(other.len_utf8(), Kind::Punct(other)),
        };
        Some(Token {
            kind,
            span: start..self.at,
        })
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.text[self.at..].chars().nth(ahead)
    }

    fn take(&mut self, bytes: usize, kind: Kind) -> Kind {
        self.at += bytes;
        kind
    }

    fn skip(&mut self, wanted: fn(char) -> bool) {
        let rest = &self.text[self.at..];
        self.at += rest.find(|letter| !wanted(letter)).unwrap_or(rest.len());
    }

    fn line_comment(&mut self) -> Kind {
        let rest = &self.text[self.at..];
        self.at += rest.find('\n').unwrap_or(rest.len());
        Kind::Comment
    }

    fn until(&mut self, end: &str, skip: usize, kind: Kind) -> Kind {
        match self.text[self.at + skip..].find(end) {
            Some(found) => self.take(skip + found + end.len(), kind),
            None => {
                self.at = self.text.len();
                Kind::Unterminated
            }
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind) -> Kind {
        self.at += 1;
        loop {
            match self.text[self.at..].find(quote) {
                None => {
                    self.at = self.text.len();
                    return Kind::Unterminated;
                }
                Some(found) => self.at += found + 1,
            }
            match self.peek(0) {
                Some(next) if next == quote => self.at += 1,
                _ => return kind,
            }
        }
    }

    fn dollar(&mut self) -> Kind {
        let rest = &self.text[self.at..];
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
        match tag {
            Some(tag)
                if tag[1..tag.len() - 1].chars().all(is_word)
                    && !tag[1..].starts_with(|c: char| c.is_ascii_digit()) =>
            {
                self.until(tag, tag.len(), Kind::Text)
            }
            _ => self.take(1, Kind::Punct('$')),
        }
    }

    fn colon(&mut self) -> Kind {
        match self.peek(1) {
            Some(':') => self.take(2, Kind::Cast),
            Some('=') => self.take(2, Kind::Assign),
            Some(letter) if is_word_start(letter) => {
                self.at += 1;
                self.skip(is_word);
                if self.peek(0) == Some('.') && self.peek(1).is_some_and(is_word_start) {
                    self.at += 1;
                    self.skip(is_word);
                }
                if self.text[self.at..].starts_with("[]") {
                    self.at += 2;
                }
                Kind::Param
            }
            _ => self.take(1, Kind::Punct(':')),
        }
    }

    fn number(&mut self) -> Kind {
        self.skip(|letter| letter.is_ascii_digit());
        if self.peek(0) == Some('.') && self.peek(1).is_some_and(|digit| digit.is_ascii_digit()) {
            self.at += 1;
            self.skip(|letter| letter.is_ascii_digit());
        }
        // A SQLSTATE such as 40P01 is one token.
        if self.peek(0).is_some_and(is_word_start)
            && self.text[self.at..].chars().take_while(|c| is_word(*c)).count() <= 4
        {
            let word = self.at;
            self.skip(is_word);
            let whole = &self.text[word..self.at];
            if !whole
                .chars()
                .all(|letter| letter.is_ascii_digit() || letter.is_ascii_uppercase())
            {
                self.at = word;
            }
        }
        Kind::Number
    }
}

fn is_word_start(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::{Kind, tokens};

    fn kinds(text: &str) -> Vec<(Kind, &str)> {
        tokens(text)
            .into_iter()
            .map(|token| (token.kind, &text[token.span]))
            .collect()
    }

    #[test]
    fn parameters_casts_and_assignments_are_told_apart() {
        assert_eq!(
            kinds("x := :a.b::int"),
            [
                (Kind::Word, "x"),
                (Kind::Assign, ":="),
                (Kind::Param, ":a.b"),
                (Kind::Cast, "::"),
                (Kind::Word, "int"),
            ]
        );
        assert_eq!(kinds(":ids.id[]"), [(Kind::Param, ":ids.id[]")]);
    }

    #[test]
    fn braces_and_semicolons_in_strings_are_text() {
        assert_eq!(
            kinds("'a;}''b' $$ } $$"),
            [(Kind::Text, "'a;}''b'"), (Kind::Text, "$$ } $$")]
        );
        assert_eq!(kinds("'open")[0].0, Kind::Unterminated);
    }

    #[test]
    fn a_hash_is_a_comment_only_where_a_line_begins() {
        assert_eq!(kinds("# note\na #> b")[0], (Kind::Comment, "# note"));
        assert_eq!(kinds("# note\na #> b")[2], (Kind::Punct('#'), "#"));
        assert_eq!(
            kinds("40P01 5s"),
            [(Kind::Number, "40P01"), (Kind::Number, "5"), (Kind::Word, "s")]
        );
    }
}
