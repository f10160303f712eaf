//! The nearest right word to a wrong one.

/// The candidate that was probably meant, if one is near enough. Case and the choice of `-` or `_` count for nothing.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(word);
    let reach = (wanted.len() / 3).clamp(1, 4);
    let distances = candidates
        .into_iter()
        .map(|candidate| (distance(&wanted, &plain(candidate)), candidate));
    distances
        .filter(|(distance, candidate)| *distance <= reach || is_part(&wanted, &plain(candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b` or `c` ``: words for a sentence that says what was expected.
pub fn or_list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
    }
}

fn plain(word: &str) -> Vec<char> {
    word.chars()
        .map(|letter| {
            if letter == '_' {
                '-'
            } else {
                letter.to_ascii_lowercase()
            }
        })
        .collect()
}

/// Whether somebody wrote a piece of the right word: `unique` for `unique-index`.
fn is_part(word: &[char], candidate: &[char]) -> bool {
    word.len() >= 4 && candidate.len() > word.len() && candidate.windows(word.len()).any(|piece| piece == word)
}

/// How many letters have to be put in, left out, changed or swapped with a neighbour (optimal string alignment).
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, theirs) in other.iter().enumerate() {
            let changed = last[column] + usize::from(letter != theirs);
            let mut best = changed.min(last[column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0 && column > 0 && *letter == other[column - 1] && one[row - 1] == *theirs;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            line.push(best);
        }
        before = std::mem::replace(&mut last, line);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::{nearest, or_list};

    const WORDS: [&str; 4] = ["registration", "payment", "webhook", "unique-index"];

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        for (wrong, right) in [
            ("registraton", "registration"),
            ("Webhooks", "webhook"),
            ("pyament", "payment"),
            ("unique_index", "unique-index"),
            ("unique", "unique-index"),
        ] {
            assert_eq!(nearest(wrong, WORDS), Some(right), "{wrong}");
        }
    }

    #[test]
    fn a_word_that_is_far_from_all_finds_none() {
        assert_eq!(nearest("kafka", WORDS), None);
        assert_eq!(nearest("", WORDS), None);
    }

    #[test]
    fn a_list_reads_as_in_a_sentence() {
        assert_eq!(or_list(["a", "b", "c"]), "`a`, `b` or `c`");
        assert_eq!(or_list(["a"]), "`a`");
        assert_eq!(or_list([]), "nothing");
    }
}
