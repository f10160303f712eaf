//! Each guard of each hardened design is taken away once, and the suite notices.

use std::fmt::Write as _;
use std::path::Path;

use deadheat::explore::{Driver, Options, explore};
use deadheat::scenario::{Kind, Library, Scenario};

const FOLDERS: [&str; 5] = ["registration", "payment", "webhook", "ingestion", "guard"];

/// Options that another part of the hardened design makes up for, so that no promise is broken without them.
const MADE_UP_FOR: [(&str, &str, &str, &str); 5] = [
    (
        "payment",
        "admission",
        "none",
        "the provider's key for the order still admits one charge",
    ),
    (
        "payment_hub",
        "receive",
        "processed_at_once",
        "it answers later, and no schedule has a time limit",
    ),
    (
        "payment_hub",
        "receive",
        "acknowledged_first",
        "polling finds what was acknowledged and lost",
    ),
    ("payment_hub", "errors", "swallowed", "polling finds what was swallowed"),
    (
        "request_dedup",
        "on_outage",
        "fail_closed",
        "the database is asked before anybody is turned away",
    ),
];

/// The hardened scenarios that are explored, those with the fewest processes first.
fn hardened() -> Vec<Scenario> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let loaded = FOLDERS
        .into_iter()
        .flat_map(|folder| match Library::default().load(&root.join(folder)) {
            Ok(scenarios) => scenarios,
            Err(error) => panic!("{error}"),
        });
    let mut hardened: Vec<Scenario> = loaded
        .filter(|scenario| scenario.name.contains("hardened") && scenario.drivers.contains(&Driver::Explore))
        .collect();
    hardened.sort_by_key(|scenario| (scenario.system.spec().roots.len(), scenario.name.clone()));
    hardened
}

/// The choices of the hardened scenarios' handlers with each of their weaker values.
fn guards(hardened: &[Scenario]) -> Vec<(String, &'static str, &'static str)> {
    let mut guards = Vec::new();
    for scenario in hardened {
        let Kind::Domain(designed) = &scenario.kind else {
            continue;
        };
        for choice in designed.handler.choices() {
            for option in choice.options.iter().skip(1) {
                guards.push((designed.handler.name().to_owned(), choice.name, option.name));
            }
        }
    }
    guards.sort_unstable();
    guards.dedup();
    guards
}

/// The first hardened scenario of the handler that breaks a promise with this value, and the promises.
fn notices(hardened: &[Scenario], handler: &str, choice: &'static str, option: &'static str) -> Option<String> {
    let options = Options {
        stop_at_violation: true,
        decisive: false,
        threads: 2,
        ..Options::default()
    };
    hardened.iter().find_map(|scenario| {
        let Kind::Domain(designed) = &scenario.kind else {
            return None;
        };
        if designed.handler.name() != handler {
            return None;
        }
        let Some(Ok(weakened)) = scenario.with_choice(choice, option) else {
            panic!("{handler} can't be built with {choice} = {option}")
        };
        let violated = explore(&weakened.system, &options).violated();
        let names: Vec<String> = violated.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| format!("{} breaks {}", scenario.name, names.join(", ")))
    })
}

/// Each choice of a hardened design, set alone to each weaker value, breaks a promise of a hardened scenario of that handler.
/// The table of who notices what is a snapshot.
#[test]
fn every_guard_of_a_hardened_design_is_missed_when_it_is_gone() {
    let hardened = hardened();
    let mut table = String::new();
    let mut unnoticed = Vec::new();
    for (handler, choice, option) in guards(&hardened) {
        let excuse = MADE_UP_FOR
            .iter()
            .find(|(of, name, value, _)| (*of, *name, *value) == (&handler, choice, option));
        let told = match (notices(&hardened, &handler, choice, option), excuse) {
            (Some(_), Some(_)) => {
                "noticed, although it is on the list of those that something else makes up for".to_owned()
            }
            (Some(noticed), None) => noticed,
            (None, Some((.., why))) => format!("made up for: {why}"),
            (None, None) => {
                unnoticed.push(format!("{handler}: {choice} = {option}"));
                "not noticed".to_owned()
            }
        };
        let _ = writeln!(table, "{handler}: {choice} = {option}\n    {told}");
    }
    assert!(unnoticed.is_empty(), "nothing notices {}", unnoticed.join(", "));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("guards", table));
}
