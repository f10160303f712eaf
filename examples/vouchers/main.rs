//! A crate of your own in small: a handler that redeems vouchers, its scenarios, and its own `deadheat` command.
//!
//! ```sh
//! cargo run --example vouchers -- run examples/vouchers/scenarios
//! cargo run --example vouchers -- explain examples/vouchers/scenarios/voucher/read-then-write.toml
//! ```
//!
//! `tests/vouchers.rs` is the other half: with it, `cargo test` runs the same scenarios as tests.

mod handler;

use std::process::ExitCode;

use deadheat::scenario::Library;

fn main() -> ExitCode {
    deadheat::cli::main(Library::default().with(handler::Vouchers))
}
