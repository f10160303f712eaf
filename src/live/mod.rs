//! Your own code is the machine: unmodified async Rust, with the Postgres client that it has, run in every order in which its statements can happen.
//!
//! ```no_run
//! # async fn redeem(_url: &str) -> u16 { 200 }
//! deadheat::live::Race::new("create table redemptions (code text)")
//!     .requests(2, |world| async move { redeem(world.database_url()).await })
//!     .always("redeemed once", "select code from redemptions group by code having count(*) > 1")
//!     .crashes(1)
//!     .check();
//! ```
//!
//! Between two replies a handler is a function of the replies that it got. So it is asked once for each *history* of replies, on a runtime of its own against an endpoint that speaks
//! Postgres' protocol (`wire`), and what it does next is kept (`ask`). The explorer then sees a [`Machine`](crate::machine::Machine) like any other, over the
//! model of the database: thousands of schedules cost a few dozen runs of the code.
//!
//! **How it departs from life.** Each request is explored in a process of its own. What the code keeps in a static, a cache or a mutex is shared only when some of the schedules are
//! followed again with all requests in one process; where that makes a difference there is no verdict. Time passes for a
//! process only while it waits for nothing but its own timers, so a time-out of the client around a statement never strikes. Of statements that one process has under way
//! at once, the one that was sent first is done first. A cancel request comes too late. Cursors that fetch some rows at a time run to their end at once.

mod ask;
mod build;
mod check;
mod migrations;
mod outcome;
mod promise;
pub mod provider;
mod race;
mod together;
mod wire;

use std::path::Path;
use std::sync::Arc;

pub use check::Findings;
pub use migrations::MigrationsError;
pub use outcome::IntoOutcome;
pub use promise::End;
pub use race::Race;

/// What an execution of the code finds: a database, which nobody else seems to use.
#[derive(Clone, Debug)]
pub struct World {
    folder: Arc<Path>,
    url: Arc<str>,
}

impl World {
    fn new(folder: &Path) -> World {
        let escaped: String = folder
            .to_string_lossy()
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
                other => format!("%{other:02X}"),
            })
            .collect();
        World {
            folder: folder.into(),
            url: format!("postgres://deadheat:deadheat@{escaped}:{}/deadheat", wire::PORT).into(),
        }
    }

    /// The database as a URL that sqlx, tokio-postgres, diesel-async and sea-orm understand: `postgres://user:password@%2Ffolder:5432/name`.
    pub fn database_url(&self) -> &str {
        &self.url
    }

    /// The folder of the database's socket: what clients take as a host.
    pub fn host(&self) -> &Path {
        &self.folder
    }

    /// The port in the socket's name.
    pub fn port(&self) -> u16 {
        wire::PORT
    }
}
