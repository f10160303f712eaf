//! The example crate's scenarios as tests: what a crate with a handler of its own has under `tests/`.

#[path = "../examples/vouchers/handler.rs"]
mod handler;

use std::process::ExitCode;

use deadheat::harness::Harness;
use deadheat::scenario::Library;

fn main() -> ExitCode {
    let library = Library::default().with(handler::Vouchers);
    Harness::new("examples/vouchers/scenarios").library(library).main()
}
