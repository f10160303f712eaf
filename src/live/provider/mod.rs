//! The payment provider as a server on the loopback interface, for unmodified clients: the pure [`Provider`](crate::world::provider::Provider) behind enough of
//! Stripe's API (v1).
//!
//! ```
//! use deadheat::live::provider::{Options, Server};
//!
//! let server = Server::start(Options::new("127.0.0.1:0".parse()?))?;
//! // A client of the API, with any key that begins with `sk_test_`:
//! println!("http://{}", server.address());
//! server.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Two layers. The inner one is pure: [`call_of`] makes a call of an HTTP request, [`response_of`] an HTTP response of an answer, and [`Desk`] has the provider, the fault
//! plan and nothing else between the two. The outer one, [`Server`], owns the socket, the clock and the way of the webhooks. Each call is a step and its answer
//! another: in between, the key is in use. Webhooks are requests of the environment, which go their own way.
//!
//! **Departures** from the provider beside those of the model: one account for all keys; a request without a known parameter's meaning is refused, never guessed; nothing
//! is kept when the server stops; the time limit for webhooks is 10 s and the pauses between attempts are chosen, since the provider publishes neither.

mod answer;
mod courier;
mod desk;
mod faults;
mod form;
mod options;
mod request;
mod routes;
mod server;

pub use answer::response_of;
pub use courier::{BadEndpoint, Endpoint, Scheme};
pub use desk::{Desk, Fate, Taken, Webhook};
pub use faults::{BadPlan, Fault, Plan, Planned};
pub use options::{Options, ServeError, Told};
pub use request::{Asked, call_of};
pub use server::{LONGEST_BODY, Server};

#[cfg(test)]
mod tests;
