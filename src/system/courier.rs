//! The courier: delivers one webhook, as its sender's machines do.

use crate::machine::service::Delivery;
use crate::machine::{Effect, Machine, Reply, Request};

/// Sends a webhook until it is answered with 2xx or its attempts are used up.
///
/// Departs from life: attempts follow each other without a pause in virtual time, because an untimed exploration already lets
/// anything happen between two of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Courier {
    request: Request,
    attempts: u8,
}

impl Courier {
    /// A courier for a delivery.
    pub fn new(delivery: &Delivery) -> Self {
        let request = Request {
            endpoint: delivery.endpoint.clone(),
            headers: delivery.headers.clone(),
            body: delivery.body.clone(),
        };
        Courier {
            request,
            attempts: delivery.attempts,
        }
    }
}

impl Machine for Courier {
    fn step(&mut self, reply: Reply) -> Effect {
        if let Reply::Response(Ok(response)) = &reply
            && response.is_success()
        {
            return Effect::Done;
        }
        match self.attempts.checked_sub(1) {
            Some(left) => {
                self.attempts = left;
                Effect::Send(self.request.clone())
            }
            None => Effect::Done,
        }
    }

    fn state(&self) -> &'static str {
        "delivering"
    }
}
