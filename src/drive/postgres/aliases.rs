//! What the server makes up (numbers of transactions and connections, random values) taken for what the model makes up: by where each comes up first, equal where
//! equal.
//!
//! A value that the model made up is learned to be the one that stands in its place in the server's rows, once and for all of a schedule. From then on the
//! server's rows are read with the model's values, and what a process sends is written with the server's.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::wire::TextRows;

type Cells = Vec<Option<Arc<str>>>;

/// Which of the server's values stands for which of the model's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Aliases {
    servers: BTreeMap<String, String>,
    models: BTreeMap<String, String>,
}

impl Aliases {
    /// Reads the server's rows as the model would have written them; `made_up` says of a value whether the model made it up.
    pub(super) fn read(&mut self, model: &[Cells], server: &mut TextRows, made_up: &dyn Fn(&str) -> bool) {
        // Nothing to learn or to read: almost every answer.
        let concerned = |cell: &Arc<str>| pieces(cell).any(|piece| may_be(piece) && made_up(piece));
        if !model.iter().flatten().flatten().any(concerned) {
            return;
        }
        // In an order that SQL leaves open, rows are taken for each other where they can be; those that are told apart by more come first.
        let mut taken = vec![false; server.rows.len()];
        let mut pairs = Vec::new();
        for ours in model {
            let fits =
                |(place, theirs): &(usize, &Cells)| !taken[*place] && self.learned(ours, theirs, made_up).is_some();
            let Some((place, theirs)) = server.rows.iter().enumerate().find(fits) else {
                continue;
            };
            let learned = self.learned(ours, theirs, made_up).unwrap_or_default();
            taken[place] = true;
            pairs.push((place, ours.clone()));
            for (model, server) in learned {
                self.models.insert(server.clone(), model.clone());
                self.servers.insert(model, server);
            }
        }
        for (place, ours) in pairs {
            server.rows[place] = ours;
        }
    }

    /// What has to be learned for the two rows to be one; `None` where they can't be.
    fn learned(
        &self,
        ours: &Cells,
        theirs: &Cells,
        made_up: &dyn Fn(&str) -> bool,
    ) -> Option<BTreeMap<String, String>> {
        let (mut to, mut from) = (BTreeMap::new(), BTreeMap::new());
        if ours.len() != theirs.len() {
            return None;
        }
        for (ours, theirs) in ours.iter().zip(theirs) {
            let (ours, theirs) = match (ours, theirs) {
                (None, None) => continue,
                (Some(ours), Some(theirs)) => (ours, theirs),
                _ => return None,
            };
            let (mut left, mut right) = (pieces(ours), pieces(theirs));
            loop {
                let (one, other) = match (left.next(), right.next()) {
                    (None, None) => break,
                    (Some(one), Some(other)) => (one, other),
                    _ => return None,
                };
                if !(may_be(one) && may_be(other) && made_up(one)) {
                    if one != other {
                        return None;
                    }
                    continue;
                }
                let known = self.servers.get(one).or_else(|| to.get(one));
                let claimed = self.models.get(other).or_else(|| from.get(other));
                match (known, claimed) {
                    (None, None) => {
                        to.insert(one.to_owned(), other.to_owned());
                        from.insert(other.to_owned(), one.to_owned());
                    }
                    (Some(known), Some(claimed)) if known == other && claimed == one => {}
                    _ => return None,
                }
            }
        }
        Some(to)
    }

    /// A message of a process, with the server's values for the model's.
    pub(super) fn write(&self, sql: String) -> String {
        if self.servers.iter().all(|(model, server)| model == server) {
            return sql;
        }
        let known = |piece| self.servers.get(piece).map_or(piece, String::as_str);
        pieces(&sql).map(known).collect()
    }
}

/// UUIDs and numbers are the kinds of values that are made up.
fn may_be(piece: &str) -> bool {
    piece.starts_with(|letter: char| letter.is_ascii_hexdigit()) && piece.len() > 3 || piece.parse::<f64>().is_ok()
}

/// A text cut into what may be a value (letters of numbers and UUIDs) and the rest.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let of_value = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let inside = of_value(first);
        let end = rest.find(|letter| of_value(letter) != inside).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::{Aliases, Cells};
    use crate::drive::postgres::wire::TextRows;

    fn rows(rows: &[&[&str]]) -> Vec<Cells> {
        let row = |row: &&[&str]| row.iter().map(|cell| Some((*cell).into())).collect();
        rows.iter().map(row).collect()
    }

    fn read(aliases: &mut Aliases, model: &[&[&str]], server: &[&[&str]]) -> bool {
        let model = rows(model);
        let mut told = TextRows {
            columns: None,
            rows: rows(server),
            affected: 0,
        };
        aliases.read(&model, &mut told, &|text| text.starts_with("1000"));
        let (mut ours, mut theirs) = (model, told.rows);
        ours.sort();
        theirs.sort();
        ours == theirs
    }

    #[test]
    fn values_are_compared_by_where_they_come_up_first() {
        let mut aliases = Aliases::default();
        assert!(read(&mut aliases, &[&["a", "1000001"]], &[&["a", "741"]]));
        assert!(read(
            &mut aliases,
            &[&["n:1000001"], &["n:1000002"]],
            &[&["n:742"], &["n:741"]]
        ));
        assert_eq!(
            aliases.write("select 1000002, '1000001', 7".to_owned()),
            "select 742, '741', 7"
        );
        // Another one than before, one for two, and something that is not made up.
        assert!(!read(&mut aliases, &[&["b", "1000001"]], &[&["b", "743"]]));
        assert!(!read(&mut aliases, &[&["b", "1000003"]], &[&["b", "741"]]));
        assert!(!read(&mut aliases, &[&["1000004", "5"]], &[&["750", "6"]]));
        assert!(!read(&mut aliases, &[&["1000005", "1000005"]], &[&["760", "761"]]));
        assert!(!read(&mut aliases, &[&["1000005", "1000006"]], &[&["760", "760"]]));
    }
}
