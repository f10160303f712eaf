//! The language reference, made from the parser's own tables.

use std::fmt::Write;

use super::words::{COMMANDS, Command, FAILURES, FORMS, FUNCTIONS, GIVEN, Part, SQL_WORDS, SQLSTATES, UNITS};
use super::world_tables;

/// The reference as markdown.
pub fn reference() -> String {
    let mut text = String::from(HEAD);
    text.push_str("\n## Steps\n");
    for form in FORMS {
        let _ = write!(
            text,
            "\n### `{}`\n\n```text\n{}\n```\n\n{}\n\n```text\n{}\n```\n",
            form.word,
            form.syntax.replace("   ", "\n"),
            form.doc,
            form.example
        );
    }
    text.push_str("\n## Commands to services\n\nEach may begin with `NAME :=`, which gives its answer a name.\n");
    for command in COMMANDS {
        let _ = write!(
            text,
            "\n### `{}`\n\n```text\n{}\n```\n\n{}\n",
            command.words.join(" "),
            syntax(command),
            command.doc
        );
        if !command.answer.is_empty() {
            let columns: Vec<String> = command.answer.iter().map(|column| format!("`{column}`")).collect();
            let _ = write!(text, "\nAnswers {}.\n", columns.join(", "));
        }
        let _ = write!(text, "\n```text\n{}\n```\n", command.example);
    }
    text.push_str(PREPARED);
    text.push_str(EXPRESSIONS);
    text.push_str("\n| function | gives |\n| --- | --- |\n");
    for function in FUNCTIONS {
        let _ = writeln!(text, "| `{}()` | {} |", function.name, function.doc);
    }
    text.push_str("\n| name | is |\n| --- | --- |\n");
    for (name, doc) in GIVEN {
        let _ = writeln!(text, "| `:{name}` | {doc} |");
    }
    text.push_str("\n## Errors\n\n| name | when |\n| --- | --- |\n");
    for (name, doc) in FAILURES {
        let _ = writeln!(text, "| `{name}` | {doc} |");
    }
    for (name, code) in SQLSTATES {
        let _ = writeln!(text, "| `{name}` | SQLSTATE `{code}` |");
    }
    let units: Vec<String> = UNITS
        .iter()
        .map(|(names, _)| format!("`{}`", names.join("`, `")))
        .collect();
    let _ = write!(text, "\n## Units of time\n\n{}.\n", units.join("; "));
    let words: Vec<String> = SQL_WORDS.iter().map(|word| format!("`{word}`")).collect();
    let _ = write!(text, "\n## Words that begin a SQL statement\n\n{}.\n", words.join(", "));
    text.push_str("\n## The world's own tables\n\nInvariants and observations see them beside the scenario's.\n\n| table | columns |\n| --- | --- |\n");
    for (name, columns) in world_tables() {
        let columns: Vec<String> = columns.iter().map(|(name, kind)| format!("`{name}` {kind}")).collect();
        let _ = writeln!(text, "| `{name}` | {} |", columns.join(", "));
    }
    text
}

fn syntax(command: &Command) -> String {
    let mut text = command.words.join(" ");
    let mut values = 0;
    for part in command.parts {
        let _ = match part {
            Part::Value(name) => {
                values += 1;
                write!(text, "{} {}", if values > 1 { "," } else { "" }, name.to_uppercase())
            }
            Part::Name(name) => write!(text, " {}", name.to_uppercase()),
            Part::Service => write!(text, " SERVICE"),
            Part::Operation => write!(text, " SERVICE[.OPERATION]"),
            Part::Fields => write!(text, " [(NAME: EXPR, ...)]"),
            Part::Flag(word) => write!(text, " [{word}]"),
            Part::With(word, _) => write!(text, " [{word} EXPR]"),
            Part::Lasting(word, _) => write!(text, " [{word} DURATION]"),
        };
    }
    text
}

const HEAD: &str = "\
# Language reference

Made from the parser's own tables by `deadheat`'s tests; do not edit it by hand.

Steps stand one after the other, each ended by `;` (not needed after `}`). `--` begins a comment, and so does `#` at the start of a line. Any SQL
statement is a step; `NAME := select ...;` gives its result a name. In SQL `:name`, `:name.column` and `:name.column[]` (the column of every row, as an
array) stand for values and become `$1`, `$2`, ... in what the server gets. A result has, beside its columns (those of its first
row), `found`, `count` (its rows, or the rows that a statement without RETURNING changed), `rows` and `affected`; a column of that name comes first.
";

const PREPARED: &str = "
## What is checked, and what every script promises

Every statement of every step is prepared against the schema at that point, as the server would: names, types, the number of values, conflict targets,
functions; and every call of one of the world's services is looked up: its operation and its arguments. What is wrong is an error of the
file. A statement is meant to fail where a `catch` around it names the error (`catch undefined_table`; under `catch *` it is a warning), or where
`[expect] errors = [\"undefined_table\"]` names it: then it is an error like any other at run time too. What turns out at run time (SQLSTATEs of class 42 and 0A, an
unknown operation, a missing parameter) and is caught by nothing is an error of the scenario, with exit status 2.

A script promises `no-server-error` (no request is answered 500, unless a fault of the environment ended its process) and `no-deadlock` (a deadlock that a `catch` or `retry` names is handled) beside its
invariants. `[world] promises = [...]` names those that it wants. A file with an invariant of one of these names has said what it wants, and gets the
other one only when `[expect]` or `promises` names it.

A search that saw every schedule warns of what no schedule showed. Each warning fails the run unless `[expect] warnings = [...]` declares it, by its kind or
by kind and process: `warnings = [\"never-true sign up\"]`. To catch an error that does not come is prudent, and not warned of; a refusal that never comes
is told and fails nothing.

| warning | when |
| --- | --- |
| `no-invariants` | the file has no invariant, and does not name the promises that every script has |
| `never-starts` | a process never starts, or never gets past its first effect |
| `always-fails` | a process ends in an error in every schedule |
| `never-succeeds` | a process never answers with success, although it has a success answer |
| `never-reached` | no schedule reaches a step; of steps that follow each other the first is told |
| `never-true` | the condition of an `if` or `while` is evaluated and never true |
| `never-refuses` | the same where the steps only refuse: an answer that is no success, `return`, `raise`, `rollback`, `nack`, `unlock` |
";

const EXPRESSIONS: &str = "
## Expressions

Expressions are SQL's own, with its three-valued logic, over values that have a name: `:x` or plainly `x`, `x.column`. They are evaluated by the code that
evaluates SQL in the model of the database. They read no tables: give the result of a statement a name first. Text that came with
a request or from the file is like a literal in quotes: its use settles its type. A bare result as a condition holds when it has rows and its first
value is neither false nor NULL.
";
