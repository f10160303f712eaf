//! The rules of this code base that a machine can check: which module may import which, how long a file may be, that each has a first line that
//! says what it is, and that nothing is put off.

use std::fs;
use std::path::{Path, PathBuf};

/// A module imports from those before it only (and from itself). `ARCHITECTURE.md` says why this order.
const ORDER: [&str; 16] = [
    "value",
    "machine",
    "world",
    "isolation",
    "system",
    "explore",
    "document",
    "domain",
    "script",
    "scenario",
    "drive",
    "suite",
    "report",
    "live",
    "harness",
    "cli",
];

/// The words of a rule stand apart here, so that this file keeps it.
const PUT_OFF: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
    concat!("#[ign", "ore"),
];

const LONGEST_FILE: usize = 800;

#[test]
fn a_module_imports_only_from_those_before_it() {
    let mut wrong = Vec::new();
    for path in sources("src") {
        let Some(own) = module(&path) else { continue };
        let Some(place) = ORDER.iter().position(|module| *module == own) else {
            wrong.push(format!(
                "{}: `{own}` has no place in the order of modules",
                path.display()
            ));
            continue;
        };
        let text = read(&path);
        for (number, line) in code(&text) {
            for imported in mentioned(line) {
                let theirs = ORDER.iter().position(|module| *module == imported);
                if theirs.is_some_and(|theirs| theirs > place) {
                    wrong.push(format!(
                        "{}:{number}: `{own}` comes before `{imported}`",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_starts_by_saying_what_it_is() {
    let silent: Vec<String> = all()
        .into_iter()
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(silent.is_empty(), "no module doc on line 1: {silent:?}");
}

#[test]
fn a_file_has_one_subject_and_so_a_bounded_length() {
    let long: Vec<String> = all()
        .into_iter()
        .filter_map(|path| {
            let lines = read(&path).lines().count();
            (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines", path.display()))
        })
        .collect();
    assert!(long.is_empty(), "longer than {LONGEST_FILE} lines: {long:?}");
}

#[test]
fn nothing_is_put_off() {
    let mut found = Vec::new();
    for path in all() {
        for (number, line) in read(&path).lines().enumerate() {
            if PUT_OFF.iter().any(|words| line.contains(words)) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_scenario_is_in_a_folder_and_says_where_it_comes_from() {
    let mut wrong = Vec::new();
    for path in files(&root().join("scenarios"), "toml") {
        let text = read(&path);
        if !text.contains("\nsource = ") || !text.contains("\nstory = ") {
            wrong.push(format!("{}: no source or no story", path.display()));
        }
        if path.parent() == Some(&root().join("scenarios")) {
            wrong.push(format!("{}: in no folder", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_snapshot_belongs_to_a_scenario() {
    let names: Vec<String> = files(&root().join("scenarios"), "toml")
        .iter()
        .filter_map(|path| {
            let below = path.strip_prefix(root().join("scenarios")).ok()?.with_extension("");
            Some(below.to_string_lossy().replace('/', "__"))
        })
        .collect();
    let orphans: Vec<String> = files(&root().join("snapshots"), "snap")
        .iter()
        .filter_map(|path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))
        .filter(|stem| stem != "guards" && !names.contains(stem))
        .collect();
    assert!(orphans.is_empty(), "snapshots without a scenario: {orphans:?}");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn all() -> Vec<PathBuf> {
    ["src", "tests", "benches", "examples"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    files(&root().join(folder), "rs")
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            // What was built of an example that is a crate of its own is nobody's text.
            if path.file_name().is_none_or(|name| name != "target") {
                found.extend(files(&path, extension));
            }
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The top module that a file belongs to; none for `lib.rs` and `main.rs`.
fn module(path: &Path) -> Option<String> {
    let below = path.strip_prefix(root().join("src")).ok()?;
    let first = below.components().next()?.as_os_str().to_string_lossy().into_owned();
    match first.as_str() {
        "lib.rs" | "main.rs" => None,
        name => Some(name.trim_end_matches(".rs").to_owned()),
    }
}

/// The lines that are no comments and no tests, which may look further down.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .map(|(number, line)| (number + 1, line.split("//").next().unwrap_or_default()))
}

/// The modules that a line names: `crate::report::...` or `crate::{report, ...}`.
fn mentioned(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in line.split("crate::").skip(1) {
        let name: String = rest
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect();
        found.push(name);
    }
    found
}

#[test]
fn every_rule_of_the_database_names_tests_that_are_there() {
    let docs = read(&root().join("src/world/database/mod.rs"));
    let tests: String = sources("src/world/database").iter().map(|path| read(path)).collect();
    let rows = docs
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .filter(|row| row.starts_with(|first: char| first.is_ascii_digit()));
    let mut rules = 0;
    for row in rows {
        rules += 1;
        let held = row.split(" | ").nth(2).unwrap_or_default();
        assert!(
            held.contains('`') || held.starts_with("(not modelled"),
            "no test holds: {row}"
        );
        for name in held.split('`').skip(1).step_by(2) {
            let there = match name.strip_suffix(".spec") {
                Some(_) => root().join("tests/regressions").join(name).is_file(),
                None => tests.contains(&format!("fn {name}()")),
            };
            assert!(there, "there is no test `{name}`, which is said to hold: {row}");
        }
    }
    assert_eq!(rules, 34);
}
