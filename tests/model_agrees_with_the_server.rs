//! The model and the real server give the same answers, on generated schemas, transactions and schedules.
//!
//! `DEADHEAT_DIFFERENTIAL_SCHEDULES` sets how many schedules are compared (20,000 unless set), `DEADHEAT_DIFFERENTIAL_SEED` from
//! which seed, `DEADHEAT_DIFFERENTIAL_DIFFERENCES` after how many differences it stops (the first unless set). A difference is shrunk to a spec file; kept under `tests/regressions/` it is run for ever after.

mod server;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use deadheat::drive::postgres::conformance::{CONSTRUCTS, Campaign, Coverage, Difference, Plan, Size, campaign};
use deadheat::isolation::{self, Level, OnModel, Spec};

#[test]
fn generated_schedules_end_alike_on_the_model_and_on_the_server() {
    let Some(server) = server::server() else { return };
    let wanted = number("DEADHEAT_DIFFERENTIAL_SCHEDULES", 20_000);
    let seed = number("DEADHEAT_DIFFERENTIAL_SEED", 7_890);
    let differences = number("DEADHEAT_DIFFERENTIAL_DIFFERENCES", 1);
    // Few, so that the server is not kept waiting for a core: a rollback's read marks go after its waiters wake, and one that is quicker
    // than that goes another way than the model. So many whatever the machine, because each has cases of its own.
    let threads = 2;
    let stop = AtomicBool::new(false);
    let show = |difference: &Difference| eprintln!("{}\n\n{}", difference.lines, difference.spec);
    let parts: Vec<Campaign> = std::thread::scope(|scope| {
        let part = |part: u64| {
            let plan = Plan {
                seed: seed + part,
                schedules: wanted.div_ceil(threads),
                differences: differences as usize,
                size: Size::default(),
            };
            let (server, stop) = (&server, &stop);
            scope.spawn(move || campaign(server, plan, stop, &show))
        };
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts
            .into_iter()
            .map(|part| part.join().expect("a campaign panicked").expect("the server answers"))
            .collect()
    });
    let mut coverage = Coverage::default();
    let (mut compared, mut races) = (0, 0);
    let differences: usize = parts.iter().map(|part| part.differences.len()).sum();
    for part in parts {
        assert_eq!(
            part.refused.first(),
            None,
            "the generator wrote SQL that the model does not know"
        );
        coverage.merge(&part.coverage);
        compared += part.compared;
        races += part.races;
    }
    eprintln!(
        "{compared} schedules compared with {}, {races} left out as races of the server\n{coverage}",
        server.describe()
    );
    assert_eq!(
        differences,
        0,
        "the model differs from {}, see above",
        server.describe()
    );
    assert!(compared >= wanted);
    let missed: Vec<&str> = CONSTRUCTS
        .iter()
        .copied()
        .filter(|construct| coverage.hits(construct) == 0)
        .collect();
    assert!(missed.is_empty(), "never generated: {missed:?}");
}

#[test]
fn every_kept_difference_stays_mended() {
    let Some(server) = server::server() else { return };
    let release = server.release().expect("the server tells what it is like");
    for path in regressions() {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let spec = Spec::parse(&path.display().to_string(), &text).expect("a spec file");
        let mut ours = String::new();
        let mut model = OnModel::of_release(release, &spec, Level::ReadCommitted).expect("the model");
        isolation::run(&spec, &mut model, &mut ours).expect("the model runs it");
        let mut theirs = String::new();
        let mut real =
            deadheat::drive::postgres::isolation::OnPostgres::open(&server, "kept", &spec, Level::ReadCommitted)
                .expect("a connection");
        isolation::run(&spec, &mut real, &mut theirs).expect("the server runs it");
        assert_eq!(ours, theirs, "{} differs again", path.display());
    }
}

fn regressions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions");
    let entries = std::fs::read_dir(folder).expect("tests/regressions");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "spec"));
    paths.sort();
    paths
}

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number: {text}")),
        Err(_) => otherwise,
    }
}
