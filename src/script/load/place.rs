//! Places: from a piece of a string in the file to the file.

use std::ops::Range;

use toml::Spanned;

/// A string of the file: where its text stands.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    text: &'a str,
    /// Where the text begins; `None` when it has escapes, so that its pieces can't be found again.
    start: Option<usize>,
    whole: Range<usize>,
}

impl<'a> Place<'a> {
    /// The place of a string's text.
    pub(crate) fn of(file: &str, string: &'a Spanned<String>) -> Place<'a> {
        let whole = string.span();
        let raw = file.get(whole.clone()).unwrap_or_default();
        let long = raw.starts_with("'''") || raw.starts_with("\"\"\"");
        let mut start = whole.start + if long { 3 } else { 1 };
        if long {
            let rest = file.get(start..).unwrap_or_default();
            start += if rest.starts_with("\r\n") {
                2
            } else {
                usize::from(rest.starts_with('\n'))
            };
        }
        let text = string.get_ref();
        let there = file.get(start..start + text.len()) == Some(text);
        Place {
            text,
            start: there.then_some(start),
            whole,
        }
    }

    /// Whether the pieces of the text can be found in the file.
    pub(crate) fn is_exact(&self) -> bool {
        self.start.is_some()
    }

    /// The place in the file of a piece of the text.
    pub(crate) fn map(&self, span: Range<usize>) -> Range<usize> {
        match self.start {
            Some(start) => start + span.start..start + span.end,
            None => self.whole.clone(),
        }
    }

    /// The place in the file of a line and column of the text (from 1; 0 is unknown), up to the end of the word there.
    pub(crate) fn at(&self, line: u32, column: u32) -> Range<usize> {
        if line == 0 {
            return self.whole.clone();
        }
        let before: usize = self
            .text
            .split_inclusive('\n')
            .take(line as usize - 1)
            .map(str::len)
            .sum();
        let rest = self.text.get(before..).unwrap_or_default();
        let inside = rest
            .char_indices()
            .nth(column.saturating_sub(1) as usize)
            .map_or(rest.len(), |(at, _)| at);
        let start = before + inside;
        let word = self.text.get(start..).unwrap_or_default();
        let length = word
            .find(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .unwrap_or(word.len());
        self.map(start..start + length.max(1).min(word.len().max(1)))
    }
}
