//! The world's clock and the world's draws in the text of a statement: what would ask the server's own is put in other words, and the rest stays as
//! it is, byte for byte.
//!
//! A schema of the stage's database has a function for each (see `world.sql`). They are found before the built-in ones by the search path, which a script may
//! change and which `CURRENT_TIMESTAMP` and its like, being grammar, do not look at; so they are named in full.

use std::borrow::Cow;

use super::literal::token;

/// Grammar that reads the clock.
const KEYWORDS: [&str; 5] = [
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
];

/// Functions that read the clock or draw.
const FUNCTIONS: [&str; 7] = [
    "now",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "gen_random_uuid",
    "uuid_generate_v4",
    "random",
];

/// Schemas in which these functions are the server's or an extension's.
const SCHEMAS: [&str; 3] = ["pg_catalog", "public", "extensions"];

/// The text with the world's clock and draws.
pub(super) fn translate(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    if !KEYWORDS.iter().chain(&FUNCTIONS).any(|name| lower.contains(name)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 32);
    // What came before: words and punctuation with where each starts in `out`.
    let mut before: Vec<(&str, usize)> = Vec::new();
    let mut has_body = false;
    let mut at = 0;
    while at < text.len() {
        let end = token(text, at);
        let word = &text[at..end];
        at = end;
        if word.starts_with("--") || word.starts_with("/*") || word.trim().is_empty() {
            out.push_str(word);
            continue;
        }
        let lower = word.to_ascii_lowercase();
        let start = out.len();
        let previous = |back: usize| {
            let place = before.len().checked_sub(back)?;
            before.get(place).copied()
        };
        let is = |back: usize, what: &str| previous(back).is_some_and(|(word, _)| word.eq_ignore_ascii_case(what));
        let called = rest_starts_with(&text[end..], '(');
        if KEYWORDS.contains(&&*lower) && !is(1, ".") && !is(1, "as") {
            out.push_str(&format!("deadheat.\"{lower}\""));
            if !called {
                out.push_str("()");
            }
        } else if FUNCTIONS.contains(&&*lower) && called && !is(1, "function") {
            let qualifier = previous(2).filter(|_| is(1, "."));
            let known =
                qualifier.filter(|(schema, _)| SCHEMAS.contains(&&*schema.trim_matches('"').to_ascii_lowercase()));
            match (is(1, "."), known) {
                (true, Some((_, from))) => {
                    out.truncate(from);
                    out.push_str(&format!("deadheat.{lower}"));
                }
                (true, None) => out.push_str(word),
                (false, _) => out.push_str(&format!("deadheat.{lower}")),
            }
        } else if has_body && let Some((tag, body)) = dollar_quoted(word) {
            out.push_str(tag);
            out.push_str(&translate(body));
            out.push_str(tag);
        } else {
            out.push_str(word);
        }
        match &*lower {
            ";" => has_body = false,
            "function" | "procedure" | "do" => has_body = true,
            _ => {}
        }
        before.push((word, start));
    }
    Cow::Owned(out)
}

fn rest_starts_with(rest: &str, wanted: char) -> bool {
    let mut at = 0;
    while at < rest.len() {
        let end = token(rest, at);
        let word = &rest[at..end];
        if !(word.starts_with("--") || word.starts_with("/*") || word.trim().is_empty()) {
            return word.starts_with(wanted);
        }
        at = end;
    }
    false
}

/// The tag and the inside of `$tag$ ... $tag$`.
fn dollar_quoted(token: &str) -> Option<(&str, &str)> {
    let length = token.strip_prefix('$')?.find('$')? + 2;
    let (tag, rest) = token.split_at_checked(length)?;
    Some((tag, rest.strip_suffix(tag)?))
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn only_what_asks_the_servers_clock_or_chance_is_put_in_other_words() {
        for (text, told) in [
            (
                "select 'now()', \"now\"() -- now()",
                "select 'now()', \"now\"() -- now()",
            ),
            (
                "SELECT now(), pg_catalog . now( ), t.now(), now",
                "SELECT deadheat.now(), deadheat.now( ), t.now(), now",
            ),
            (
                "select Current_Timestamp, current_timestamp (3), x.current_date, 1 as localtime",
                "select deadheat.\"current_timestamp\"(), deadheat.\"current_timestamp\" (3), x.current_date, 1 as localtime",
            ),
            (
                "id uuid default public.uuid_generate_v4(), b uuid default gen_random_uuid()",
                "id uuid default deadheat.uuid_generate_v4(), b uuid default deadheat.gen_random_uuid()",
            ),
            (
                "create function f() returns int as $x$ select now() $x$; select $$ now() $$",
                "create function f() returns int as $x$ select deadheat.now() $x$; select $$ now() $$",
            ),
            (
                "select 'é', localtimestamp",
                "select 'é', deadheat.\"localtimestamp\"()",
            ),
        ] {
            assert_eq!(translate(text), told);
        }
    }
}
