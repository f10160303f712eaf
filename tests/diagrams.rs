//! Machines are drawn from what they do, and the states that no scenario reaches are known by name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use deadheat::report::Diagrams;
use deadheat::scenario::Library;

const FOLDERS: [&str; 5] = ["registration", "payment", "webhook", "ingestion", "guard"];

/// How much of each scenario is looked at, those states first that are reached soonest.
const MOST_STATES: usize = 3_000;

/// What no scenario reaches within that: a failed payment that is applied, a transaction that is rolled back and not lost, and a worker that
/// meets one bad mail for ever. A state that is named here and reached, or reached by none and not named, fails the test.
const UNREACHED: [&str; 3] = ["failing", "rolling back", "stuck on one mail"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn diagrams(folders: &[&str]) -> Diagrams {
    let mut diagrams = Diagrams::default();
    for folder in folders {
        let loaded = match Library::default().load(&root().join("scenarios").join(folder)) {
            Ok(loaded) => loaded,
            Err(error) => panic!("{error}"),
        };
        for scenario in loaded {
            diagrams.look(&scenario.system, MOST_STATES);
        }
    }
    diagrams
}

/// The names that the domain's source gives to states.
fn named(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            named(&path, names);
        } else if path.file_name().is_some_and(|name| name != "flow.rs") {
            let text = std::fs::read_to_string(&path).expect("a source file");
            let calls = text.split(".at(\"").skip(1);
            names.extend(
                calls
                    .filter_map(|rest| rest.split_once('"'))
                    .map(|(name, _)| name.to_owned()),
            );
        }
    }
}

#[test]
fn every_other_state_that_a_machine_names_is_reached_by_a_scenario() {
    let mut names = BTreeSet::new();
    named(&root().join("src/domain"), &mut names);
    assert!(names.len() > 20, "only {} states have names", names.len());
    let reached: BTreeSet<&str> = diagrams(&FOLDERS).states().into_values().flatten().collect();
    let unreached: Vec<&String> = names.iter().filter(|name| !reached.contains(name.as_str())).collect();
    assert_eq!(unreached, UNREACHED, "what no scenario reaches has changed");
}

#[test]
fn a_machine_is_drawn_with_its_states_and_what_it_does() {
    let text = diagrams(&["registration"]).mermaid();
    for words in [
        "stateDiagram-v2",
        "## registration::",
        "INSERT INTO customers",
        "responds 409",
        "--> [*]",
    ] {
        assert!(text.contains(words), "no `{words}` in\n{text}");
    }
}
