//! A client: sends a request, and sends it again when it does not get a final answer.

use std::sync::Arc;

use super::flow::{Scene, Story, Told};
use crate::machine::{NoAnswer, Request, Response};

/// The body of a 409 that only says that the same request is still being worked on; every handler here uses it.
pub const IN_PROGRESS: &str = "request in progress";

/// A client that retries with the same request (and so the same Idempotency-Key) until it has a final answer or no attempts
/// left.
///
/// How long it waits is left to the schedule: a timeout is a fault that may come at any moment. So a client with backoff has no
/// schedule that an eager one does not have, and the eager one stands for both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// What it sends.
    pub request: Request,
    /// How often it sends it at most.
    pub attempts: u8,
    /// When each attempt is made, for the header `sent-at`: seconds of the day of the first, and between two.
    pub clock: Option<(u32, u32)>,
    /// Whether each attempt has its number in the header `attempt`.
    pub numbered: bool,
    /// The field of the body to change, and its new value, when the request is refused with 402: then it starts over.
    pub after_refusal: Option<(Arc<str>, Arc<str>)>,
    /// The pause before the second attempt, in microseconds; doubled for each further one. None when 0.
    pub backoff: i64,
    made: u8,
}

impl Client {
    /// A client that sends `request` at most `attempts` times.
    pub fn new(request: Request, attempts: u8) -> Self {
        Client {
            request,
            attempts,
            clock: None,
            numbered: false,
            after_refusal: None,
            backoff: 0,
            made: 0,
        }
    }

    fn attempt(&self) -> Request {
        let mut request = self.request.clone();
        if let Some((first, every)) = self.clock {
            let seconds = first + every * u32::from(self.made);
            request.headers.set("sent-at", time_of_day(seconds));
        }
        if self.numbered {
            request.headers.set("attempt", (self.made + 1).to_string());
        }
        request
    }
}

impl Client {
    /// Makes one attempt. A story that is more than a client goes on when it is over, and is told again otherwise.
    pub fn ask(&mut self, scene: &mut Scene<'_>) -> Told<Asked> {
        if self.made >= self.attempts {
            scene.at("gave up");
            return Ok(Asked::Over(None));
        }
        scene.at("waiting");
        let answer = scene.send(self.attempt())?;
        self.made += 1;
        if self.turns_elsewhere(&answer) {
            return Ok(Asked::Again);
        }
        if is_final(&answer) {
            scene.at("answered");
            return Ok(Asked::Over(answer.ok()));
        }
        if self.backoff > 0 {
            scene.at("backing off");
            scene.sleep(self.backoff.saturating_mul(1 << (self.made - 1).min(20)))?;
        }
        Ok(Asked::Again)
    }

    /// After a 402: whether there is something else to try.
    fn turns_elsewhere(&mut self, answer: &Result<Response, NoAnswer>) -> bool {
        let refused = matches!(answer, Ok(response) if response.status == 402);
        if let Some((field, value)) = self.after_refusal.take_if(|_| refused) {
            self.request.body.set(field, value);
            self.attempts += self.made;
            return true;
        }
        false
    }
}

impl Story for Client {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        match self.ask(scene)? {
            Asked::Over(_) => Ok(()),
            Asked::Again => scene.again(),
        }
    }
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The final answer, or none left to hope for.
    Over(Option<Response>),
    /// Another attempt is to be made.
    Again,
}

/// Whether an answer settles a request: a success, or a refusal that the same request would meet again.
///
/// A 5xx, a 429, a 409 "in progress" and no answer at all are reasons to ask again.
pub fn is_final(answer: &Result<Response, NoAnswer>) -> bool {
    match answer {
        Ok(response) if response.status == 429 || response.status >= 500 => false,
        Ok(response) => !is_in_progress(response),
        Err(_) => false,
    }
}

/// Whether a response only says that the same request is still being worked on.
pub fn is_in_progress(response: &Response) -> bool {
    response.status == 409 && &*response.body == IN_PROGRESS
}

/// A request to an endpoint.
pub fn request<'a>(
    endpoint: &str,
    headers: impl IntoIterator<Item = (&'a str, Arc<str>)>,
    body: impl IntoIterator<Item = (&'a str, Arc<str>)>,
) -> Request {
    Request {
        endpoint: endpoint.into(),
        headers: headers.into_iter().collect(),
        body: body.into_iter().collect(),
    }
}

/// Seconds of a day as `hh:mm:ss`.
fn time_of_day(seconds: u32) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `hh:mm:ss` as seconds of a day.
pub fn seconds_of_day(time: &str) -> Option<u32> {
    let mut parts = time.split(':').map(|part| part.parse::<u32>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let valid = hours < 24 && minutes < 60 && seconds < 60 && parts.next().is_none();
    valid.then_some((hours * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::{Client, request, seconds_of_day};
    use crate::domain::flow::Teller;
    use crate::machine::{Effect, Machine, NoAnswer, Reply, Response};

    fn sent(effect: Effect) -> Option<String> {
        match effect {
            Effect::Send(request) => request.headers.get("sent-at").map(|time| time.to_string()),
            _ => None,
        }
    }

    #[test]
    fn it_asks_again_at_17_and_19_and_then_gives_up() {
        let mut client = Client::new(request("POST /customers", [], []), 3);
        client.clock = seconds_of_day("10:30:15").map(|first| (first, 2));
        let mut teller = Teller::new(client);
        assert_eq!(sent(teller.step(Reply::Start)).as_deref(), Some("10:30:15"));
        let silence = || Reply::Response(Err(NoAnswer::TimedOut));
        assert_eq!(sent(teller.step(silence())).as_deref(), Some("10:30:17"));
        let busy = Reply::Response(Ok(Response::new(503, "try again")));
        assert_eq!(sent(teller.step(busy)).as_deref(), Some("10:30:19"));
        assert_eq!(teller.step(silence()), Effect::Done);
        assert_eq!(teller.state(), "gave up");
    }

    #[test]
    fn a_refusal_is_final() {
        let mut teller = Teller::new(Client::new(request("POST /customers", [], []), 3));
        teller.step(Reply::Start);
        let refused = Reply::Response(Ok(Response::new(422, "key used for another request")));
        assert_eq!(teller.step(refused), Effect::Done);
    }
}
