//! PostgreSQL's own isolation tests, run by deadheat on a real server, print what PostgreSQL's own tester prints.
//!
//! The files lie outside of the repository (`../shared/isolation`, which has their licence); where they are absent the
//! comparison is left out with a message.

mod server;

use std::path::{Path, PathBuf};

use deadheat::drive::postgres::isolation::OnPostgres;
use deadheat::drive::postgres::source::Server;
use deadheat::isolation::{Backend, BackendError, Level, On, Options, Spec, run_files};

fn suite() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/isolation");
    path.join("FORMAT.md").is_file().then_some(path)
}

fn specs(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "spec"))
        .collect();
    paths.sort();
    paths
}

fn passes(server: &Server, paths: &[PathBuf], level: Level) {
    let options = Options {
        on: vec![On::Postgres],
        level,
    };
    let mut open = |_: On, name: &str, spec: &Spec| -> Result<Box<dyn Backend>, BackendError> {
        // The only one that needs more than its own database: it writes to the system's tables.
        let open = match name {
            "eval-plan-qual" => OnPostgres::trusting,
            _ => OnPostgres::open,
        };
        Ok(Box::new(open(server, name, spec, level)?))
    };
    let report = run_files(paths, &options, &mut open, &mut |_| ());
    let summary = report.summary();
    assert_eq!(
        summary,
        format!("{} passed, 0 failed, 0 unsupported\n", paths.len()),
        "{}",
        summary
    );
}

#[test]
fn the_suite_prints_what_it_prints_on_the_real_tester() {
    let Some(server) = server::server() else { return };
    eprintln!("on {}", server.describe());
    let Some(suite) = suite() else {
        return eprintln!("skipped: the isolation suite is not beside the repository");
    };
    let mut paths = specs(&suite.join("specs"));
    paths.extend(specs(&suite.join("own")));
    passes(&server, &paths, Level::ReadCommitted);
    for (level, folder) in [
        (Level::RepeatableRead, "expected-rr"),
        (Level::Serializable, "expected-ser"),
    ] {
        let there = |path: &PathBuf| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            suite.join(folder).join(format!("{name}.out")).is_file()
        };
        let paths: Vec<PathBuf> = specs(&suite.join("specs")).into_iter().filter(there).collect();
        assert!(!paths.is_empty());
        passes(&server, &paths, level);
    }
}
