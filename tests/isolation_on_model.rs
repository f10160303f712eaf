//! The model prints what PostgreSQL's own isolation tester prints on the real server.
//!
//! The files lie outside of the repository (`../shared/isolation`, which has their licence); where they are absent the
//! comparison is left out with a message.

use std::path::{Path, PathBuf};

use deadheat::isolation::{Level, On, OnModel, Options, Outcome, Report, run_files};

/// SQL that the model refuses, by file: functions in PL/pgSQL and partitioned tables are outside of it.
const UNSUPPORTED: &[&str] = &["eval-plan-qual", "merge-update", "format-sampler"];

fn specs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "spec"))
        .collect();
    paths.sort();
    paths
}

fn run(paths: &[PathBuf], level: Level) -> Report {
    let options = Options {
        on: vec![On::Model],
        level,
    };
    run_files(
        paths,
        &options,
        &mut |_, _, spec| Ok(Box::new(OnModel::open(spec, level)?)),
        &mut |_| (),
    )
}

#[test]
fn the_suite_prints_what_it_prints_on_the_real_server() {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/isolation");
    if !suite.join("FORMAT.md").is_file() {
        return eprintln!("skipped: the isolation suite is not beside the repository");
    }
    let mut paths = specs(&suite.join("specs"));
    paths.extend(specs(&suite.join("own")));
    let report = run(&paths, Level::ReadCommitted);
    let summary = report.summary();
    assert_eq!(report.failed(), 0, "{summary}");
    for file in &report.files {
        let name = file.path.file_stem().expect("a file").to_string_lossy().into_owned();
        let known = UNSUPPORTED.contains(&&*name);
        assert!(
            known || file.outcome == Outcome::Passed,
            "{name} used to pass:\n{summary}"
        );
    }
    for (level, folder) in [
        (Level::RepeatableRead, "expected-rr"),
        (Level::Serializable, "expected-ser"),
    ] {
        let there = |path: &PathBuf| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            suite.join(folder).join(format!("{name}.out")).is_file()
        };
        let paths: Vec<PathBuf> = specs(&suite.join("specs")).into_iter().filter(there).collect();
        let report = run(&paths, level);
        assert_eq!(report.passed(), paths.len(), "{}", report.summary());
        assert!(!paths.is_empty());
    }
}
