//! What a server is told before it starts, and why it does not start.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::courier::{BadEndpoint, Endpoint};
use super::faults::Plan;

/// What a server does.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Whether it may listen where other machines reach it.
    pub beyond_loopback: bool,
    /// How long each answer takes. A key is in use for so long.
    pub latency: Duration,
    /// Where webhooks go.
    pub webhooks: Option<Endpoint>,
    /// What goes wrong.
    pub plan: Plan,
    /// The version that events say they are of.
    pub api_version: Option<String>,
    /// Whom it tells what happens.
    pub told: Told,
}

impl Options {
    /// A provider without faults, latency and webhooks.
    pub fn new(listen: SocketAddr) -> Options {
        Options {
            listen,
            beyond_loopback: false,
            latency: Duration::ZERO,
            webhooks: None,
            plan: Plan::default(),
            api_version: None,
            told: Told::default(),
        }
    }
}

/// Somebody who is told each step: a call, its answer, a webhook's attempt. Without keys of the API and secrets.
#[derive(Clone, Default)]
pub struct Told(Option<Arc<Teller>>);

type Teller = dyn Fn(&str) + Send + Sync;

impl Told {
    /// Hands each step to a function, as a line.
    pub fn to(tell: impl Fn(&str) + Send + Sync + 'static) -> Told {
        Told(Some(Arc::new(tell)))
    }

    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        if let Some(tell) = &self.0 {
            tell(&line());
        }
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Told" } else { "Told to nobody" })
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Other machines could reach it.
    #[error(
        "{0} is not a loopback address: other machines could reach this provider, which takes any test key; listen on 127.0.0.1, or say --beyond-loopback"
    )]
    NotLoopback(SocketAddr),
    /// Somebody else listens there.
    #[error("{0} is in use by another program; take another port, or 0 for any that is free")]
    InUse(SocketAddr),
    /// Webhooks can't be sent.
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    /// The socket or the runtime failed.
    #[error("{address}: {reason}")]
    Failed {
        /// Where it was to listen.
        address: SocketAddr,
        /// What the operating system says.
        reason: io::Error,
    },
}
