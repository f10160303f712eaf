//! The real server that tests compare with.

#![allow(unreachable_pub, reason = "each test file compiles this anew")]

use deadheat::drive::postgres::source::{Options, Server};

/// A server from any of the sources. Without one the test says so and passes, unless `DEADHEAT_REQUIRE_POSTGRES` is set.
pub fn server() -> Option<Server> {
    match Options::from_env().and_then(|options| Server::find(&options)) {
        Ok(server) => Some(server),
        Err(reason) if std::env::var_os("DEADHEAT_REQUIRE_POSTGRES").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}
