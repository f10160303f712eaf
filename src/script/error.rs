//! What is wrong with a script, and where.

use std::fmt;
use std::ops::Range;

/// How serious a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The scenario cannot run.
    Error,
    /// It can, but something in it is probably not meant.
    Warning,
}

/// Something wrong in a scenario file, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// How serious it is.
    pub severity: Severity,
    /// What is wrong, as a lower-case fragment: `unknown word "selct"`.
    pub message: String,
    /// Where, in bytes of the whole file.
    pub span: Range<usize>,
    /// What was expected there, or what is meant by the place.
    pub label: Option<String>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    /// An error at a place.
    pub fn new(message: impl Into<String>, span: Range<usize>) -> Self {
        Problem {
            severity: Severity::Error,
            message: message.into(),
            span,
            label: None,
            help: None,
        }
    }

    /// A warning at a place.
    pub fn warning(message: impl Into<String>, span: Range<usize>) -> Self {
        Problem {
            severity: Severity::Warning,
            ..Problem::new(message, span)
        }
    }

    /// The same problem, with a label under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same problem, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same problem, with the nearest of `known` as advice when one is near.
    #[must_use]
    pub fn nearest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self,
        }
    }

    /// Line and column of the place in `text`, both from 1, the column in characters.
    pub fn place(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// The problem as a compiler shows it: message, file and line, the line with a caret, advice.
    pub fn show<'a>(&'a self, file: &'a str, text: &'a str) -> impl fmt::Display + 'a {
        Shown {
            problem: self,
            file,
            text,
        }
    }
}

struct Shown<'a> {
    problem: &'a Problem,
    file: &'a str,
    text: &'a str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.problem.place(self.text);
        let severity = match self.problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(f, "{severity}: {}", self.problem.message)?;
        writeln!(f, "  --> {}:{line}:{column}", self.file)?;
        let shown = self.text.lines().nth(line - 1).unwrap_or_default();
        let meant = self.text.get(self.problem.span.clone()).unwrap_or_default();
        let width = meant.lines().next().unwrap_or_default().chars().count().max(1);
        let gutter = line.to_string();
        let blank = " ".repeat(gutter.len());
        writeln!(f, "{gutter} | {shown}")?;
        write!(f, "{blank} | {}{}", " ".repeat(column - 1), "^".repeat(width))?;
        if let Some(label) = &self.problem.label {
            write!(f, " {label}")?;
        }
        writeln!(f)?;
        match &self.problem.help {
            Some(help) => writeln!(f, "{blank} = help: {help}"),
            None => Ok(()),
        }
    }
}

/// The known word that is nearest to `word`, if one is near enough to be what was meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edit distance, with a swap of neighbours as one edit.
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for (i, a) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in right.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b))
                .min(rows[i][j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Problem, nearest};

    #[test]
    fn the_nearest_word_is_found_and_a_far_one_is_not() {
        let known = ["select", "respond", "retry", "unique_violation"];
        assert_eq!(nearest("slect", known), Some("select"));
        assert_eq!(nearest("unqiue_violation", known), Some("unique_violation"));
        assert_eq!(nearest("banana", known), None);
    }

    #[test]
    fn a_problem_points_with_a_caret() {
        let text = "steps = '''\nselect 1;\nrespnd 200;\n'''\n";
        let at = text.find("respnd").expect("there");
        let problem = Problem::new("unknown word", at..at + 6).nearest("respnd", ["respond"]);
        let shown = problem.show("a.toml", text).to_string();
        assert_eq!(
            shown,
            "error: unknown word\n  --> a.toml:3:1\n3 | respnd 200;\n  | ^^^^^^\n  = help: did you mean `respond`?\n"
        );
    }
}
