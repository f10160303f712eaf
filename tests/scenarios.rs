//! Every scenario with every driver that it names, as a test of its own; and the snapshot of each scenario file.
//!
//! A changed snapshot is reviewed with `cargo insta review`, or taken over with `INSTA_UPDATE=always cargo test --test scenarios`.

use std::process::ExitCode;

use deadheat::harness::Harness;

fn main() -> ExitCode {
    Harness::new("scenarios").snapshots(assert_snapshot).main()
}

fn assert_snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
