//! The language of scripts: what the examples, the guide and the reference promise.

use std::fs;
use std::path::{Path, PathBuf};

use deadheat::document::Source;
use deadheat::explore::{Options, explore};
use deadheat::scenario::Library;
use deadheat::script::parse::parse;
use deadheat::script::{ScriptSections, reference};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every example's file.
fn examples() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("scenarios/examples")).expect("the examples are there");
    let mut files: Vec<PathBuf> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    files.sort();
    files
}

/// The steps of every process and of every variant of a file.
fn steps(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("readable");
    let table: toml::Table = toml::from_str(&text).expect("TOML");
    let mut sections = vec![toml::Value::Table(table.clone())];
    sections.extend(
        table
            .get("variant")
            .and_then(toml::Value::as_array)
            .cloned()
            .unwrap_or_default(),
    );
    let processes = sections.iter().filter_map(|section| section.get("process")?.as_array());
    processes
        .flatten()
        .filter_map(|process| Some(process.get("steps")?.as_str()?.to_owned()))
        .collect()
}

#[test]
fn what_is_read_and_printed_is_read_and_printed_the_same() {
    let mut count = 0;
    for path in examples() {
        for steps in steps(&path) {
            let printed = parse(&steps)
                .unwrap_or_else(|problems| panic!("{path:?}: {problems:?}"))
                .to_string();
            let again = parse(&printed).unwrap_or_else(|problems| panic!("{path:?}: {problems:?}\n{printed}"));
            assert_eq!(again.to_string(), printed, "{path:?}");
            count += 1;
        }
    }
    assert!(count >= 40, "only {count} scripts were tried");
}

#[test]
fn every_example_has_its_bug_and_its_fix() {
    let library = Library::default();
    let mut files = 0;
    for path in examples() {
        let scenarios = library.load_file(&path).unwrap_or_else(|error| panic!("{error}"));
        files += 1;
        assert!(!scenarios[0].expect.violates.is_empty(), "{path:?} begins with the bug");
        let fixed = scenarios
            .iter()
            .any(|scenario| scenario.expect.violates.is_empty() && !scenario.expect.holds.is_empty());
        assert!(fixed, "{path:?} has a variant that holds");
        for scenario in &scenarios {
            assert!(
                scenario.warnings.is_empty(),
                "{}: {:?}",
                scenario.name,
                scenario.warnings
            );
        }
    }
    assert!(files >= 15, "{files} examples");
}

#[test]
fn the_scenario_of_the_guide_is_right() {
    let path = root().join("docs/guide/first-script.md");
    let guide = fs::read_to_string(&path).expect("the guide is there");
    let blocks: Vec<&str> = guide
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    let [scenario, fix, faults] = blocks.as_slice() else {
        panic!("the guide has three pieces of a scenario")
    };
    let bug = scenario.split("[expect]").next().unwrap_or_default();
    // As written first it hopes and is told better; then bug and fix are as expected, also with faults.
    let told = [
        ((*scenario).to_owned(), vec![false]),
        (format!("{bug}{fix}"), vec![true, true]),
        (format!("{bug}{faults}{fix}"), vec![true, true]),
    ];
    for (text, as_expected) in told {
        let source = Source::new("guide.toml", text.as_str());
        let scenarios = match Library::default().read("guide", Path::new("guide.toml"), source) {
            Ok(scenarios) => scenarios,
            Err(problems) => panic!("{problems:?}\n{text}"),
        };
        let found: Vec<bool> = scenarios
            .iter()
            .map(|scenario| {
                let finding = explore(&scenario.system, &Options::default());
                scenario.expect.judge(&finding).is_ok()
            })
            .collect();
        assert_eq!(found, as_expected, "{text}");
    }
}

/// Run with `DEADHEAT_UPDATE=1` to write the reference anew.
#[test]
fn the_reference_is_what_the_parser_reads_by() {
    let path = root().join("docs/reference.md");
    let expected = reference();
    if std::env::var_os("DEADHEAT_UPDATE").is_some() {
        fs::write(&path, &expected).expect("the reference can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == expected,
        "docs/reference.md is out of date: run this test with DEADHEAT_UPDATE=1"
    );
}

#[test]
fn the_sections_have_a_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(ScriptSections)).expect("a schema");
    for section in ["world", "process", "invariant", "observe"] {
        assert!(schema["properties"].get(section).is_some(), "{section}");
    }
}
