//! What the incident documents' own fixes still miss: the README's table is made from what exploration finds, and each finding happens on
//! a real server.

mod server;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use deadheat::drive::postgres::conductor::{Conducted, conduct};
use deadheat::drive::postgres::stage::Stage;
use deadheat::explore::{Finding, Options, explore};
use deadheat::scenario::{Library, Scenario};

/// Fixes that a document proposes, beside the scenarios that are called so.
const PROPOSED: [&str; 4] = [
    "registration/partnercrm-backoff",
    "registration/partnercrm-key-checked-then-stored",
    "registration/partnercrm-redis-lock",
    "registration/partnercrm-unique-only",
];

const BEGIN: &str = "<!-- fixes: made by tests/fixes.rs -->\n";
const END: &str = "<!-- end of fixes -->";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Each fix with what exploration finds, by name.
fn fixes() -> BTreeMap<String, (Scenario, Finding)> {
    let loaded = match Library::default().load(&root().join("scenarios")) {
        Ok(loaded) => loaded,
        Err(error) => panic!("{error}"),
    };
    let fixes = loaded
        .into_iter()
        .filter(|scenario| scenario.name.contains("as-fixed") || PROPOSED.contains(&&*scenario.name));
    let options = Options {
        decisive: false,
        threads: 2,
        ..Options::default()
    };
    fixes
        .map(|scenario| {
            let finding = explore(&scenario.system, &options);
            (scenario.name.to_string(), (scenario, finding))
        })
        .collect()
}

fn table(fixes: &BTreeMap<String, (Scenario, Finding)>) -> String {
    let mut table =
        "| scenario | what still goes wrong | broken promises | steps |\n| --- | --- | --- | --- |\n".to_owned();
    for (name, (scenario, finding)) in fixes {
        let broken: Vec<String> = finding
            .violated()
            .iter()
            .map(|promise| format!("`{promise}`"))
            .collect();
        let steps = finding.counterexample().map_or(0, |found| found.schedule.steps.len());
        let _ = writeln!(
            table,
            "| `{name}` | {} | {} | {steps} |",
            scenario.title,
            broken.join(", ")
        );
    }
    table
}

#[test]
fn the_readme_says_what_each_fix_still_misses() {
    let fixes = fixes();
    assert!(fixes.len() >= 19, "only {} fixes", fixes.len());
    for (name, (_, finding)) in &fixes {
        assert!(
            !finding.violated().is_empty(),
            "{name} misses nothing: it is no longer a row of this table"
        );
    }
    let path: &Path = &root().join("README.md");
    let readme = std::fs::read_to_string(path).expect("a README");
    let (before, rest) = readme.split_once(BEGIN).expect("the table's beginning is marked");
    let (told, after) = rest.split_once(END).expect("the table's end is marked");
    let table = format!("\n{}\n", table(&fixes));
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(path, format!("{before}{BEGIN}{table}{END}{after}")).expect("the README can be written");
    } else {
        assert_eq!(
            told, table,
            "INSTA_UPDATE=always cargo test --test fixes writes it anew"
        );
    }
}

#[test]
fn what_each_fix_misses_happens_on_the_real_server() {
    let Some(server) = server::server() else { return };
    let mut wrong = Vec::new();
    for (name, (scenario, finding)) in fixes() {
        let scripts = scenario.system.spec().world.database.scripts();
        let mut stage = Stage::open(&server, scripts).expect("a stage");
        for judged in &finding.invariants {
            let Some(found) = &judged.counterexample else { continue };
            let conducted = conduct(&mut stage, &scenario.system, &found.schedule).expect("it runs");
            if conducted != Conducted::Agreed {
                wrong.push(format!("{name}, {}: {conducted:?}", judged.invariant));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
