//! Rate limits: so many requests in a window, no more, and never for ever.
//!
//! Seed 003, issue 1 (INCR, then EXPIRE: a failure between the two locks the user out for ever, and the document's wrapper that throws leaves the key
//! behind just so) and seed 004, fix 2 (150 events let through where 100 were allowed: not enforced, a counter that is not atomic,
//! a burst at the edge of a fixed window).
//!
//! **How it departs from life.** A request that is let in tells the cache's time (`TIME` in a script), so that what was let in when is known to the
//! invariants. The numbers are small: what goes wrong with 150 against 100 goes wrong with 3 against 2.

use std::sync::Arc;

use super::client::{Asked, Client, request};
use super::flow::{self, Scene, Story, Told};
use super::parts::{choice, endpoint, field, int, named, root, small, spec, text, world};
use super::promise::{self, EVERYONE_IS_ANSWERED, NO_SERVER_ERROR, answers, everyone_is_answered, no_server_error};
use super::{Choice, Conflict, Handler, Parameter, Promise, Setup};
use crate::machine::service::Answer;
use crate::machine::{NoAnswer, Request};
use crate::system::{Role, Spec, View, When};
use crate::value::Value;
use crate::world::cache::{CACHE, Cache, Command};
use crate::world::service::Provided;

/// The limited endpoint.
pub const ENDPOINT: &str = "POST /payment-intents";
/// The window, in milliseconds.
const WINDOW: i64 = 60_000;

/// The handler `rate_limit`.
#[derive(Clone, Copy, Debug)]
pub struct RateLimit;

const CHOICES: &[Choice] = &[
    choice(
        "counting",
        "how requests are counted",
        &[
            named("sliding_script", "in a sorted set of their times, by one script"),
            named("fixed_script", "in a counter for each window, by one script"),
            named(
                "incr_then_expire",
                "by INCR, then EXPIRE if that made it 1; a failure of EXPIRE is ignored (as reported)",
            ),
            named(
                "incr_then_expire_or_throw",
                "by INCR, then EXPIRE; a failure of EXPIRE is an error (the document's fix)",
            ),
            named("get_then_set", "by GET, then SET with one more"),
            named(
                "not_enforced",
                "they are counted, and the count is not looked at (as reported)",
            ),
        ],
    ),
    choice(
        "on_outage",
        "what is done when the cache is not reached",
        &[
            named("refuse", "503: try again"),
            named("let_in", "the request is let in"),
        ],
    ),
];

const PARAMETERS: &[Parameter] = &[int(
    "limit",
    "how many requests a tenant may make in a minute",
    1,
    100,
    2,
)];

const CLIENT: &[Parameter] = &[
    text("client", "its name in lanes; numbered when empty", ""),
    text("tenant", "the tenant that is counted", "acme"),
    text(
        "times",
        "when it sends its requests, in seconds from the start, separated by blanks",
        "0",
    ),
    int("attempts", "how often it sends each request at most", 1, 5, 1),
];

const NOT_EXCEEDED: &str = "in no window of a minute more requests of a tenant are let in than its limit";
const NOT_FOR_EVER: &str = "in the end no tenant's counter stays for ever";

const PROMISES: &[Promise] = &[
    Promise {
        name: "limit-not-exceeded",
        promise: NOT_EXCEEDED,
    },
    Promise {
        name: "nobody-locked-out-for-ever",
        promise: NOT_FOR_EVER,
    },
    NO_SERVER_ERROR,
    EVERYONE_IS_ANSWERED,
];

impl Handler for RateLimit {
    fn name(&self) -> &str {
        "rate_limit"
    }

    fn doc(&self) -> &str {
        "lets a tenant make so many requests in a minute"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn parameters(&self) -> &[Parameter] {
        PARAMETERS
    }

    fn clients(&self) -> &[Parameter] {
        CLIENT
    }

    fn invariants(&self) -> &[Promise] {
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let limit = setup.parameters.int("limit");
        let design = Design {
            counting: match setup.choice("counting") {
                "fixed_script" => Counting::FixedScript,
                "incr_then_expire" => Counting::IncrThenExpire { throws: false },
                "incr_then_expire_or_throw" => Counting::IncrThenExpire { throws: true },
                "get_then_set" => Counting::GetThenSet,
                "not_enforced" => Counting::NotEnforced,
                _ => Counting::SlidingScript,
            },
            refuses: setup.is("on_outage", "refuse"),
            limit,
        };
        let count = setup.clients.len();
        let mut roots = Vec::new();
        for (place, client) in setup.clients.iter().enumerate() {
            let label = promise::label(&client.text("client"), "client", place, count);
            let caller = Caller {
                label: label.clone(),
                tenant: client.text("tenant"),
                waits: waits(&client.text("times")).ok_or_else(|| Conflict {
                    key: vec!["clients".to_owned(), place.to_string(), "times".to_owned()],
                    message: "these are not times that go up".to_owned(),
                    help: Some("write seconds, as in \"0 58 61\"".to_owned()),
                })?,
                attempts: small(client, "attempts"),
                current: None,
            };
            roots.push(root(label, Role::Client, flow::program(caller)));
        }
        let open = move |request: &Request| Limited {
            tenant: field(request, "tenant"),
            request: super::parts::header(request, "request"),
            design,
        };
        let allowed = usize::try_from(limit).unwrap_or(0);
        Ok(spec(
            world("", [(CACHE, Provided::new(Cache::default()))])?,
            roots,
            [(ENDPOINT, endpoint(open))],
            vec![
                promise::checked("limit-not-exceeded", NOT_EXCEEDED, When::Always, move |view| {
                    not_exceeded(view, allowed)
                }),
                promise::finally(
                    "nobody-locked-out-for-ever",
                    NOT_FOR_EVER,
                    "SELECT key, value FROM cache_keys WHERE expires = false",
                ),
                no_server_error(),
                everyone_is_answered(),
            ],
            [("answers", "SELECT sender, status FROM responses")],
        ))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Design {
    counting: Counting,
    refuses: bool,
    limit: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Counting {
    SlidingScript,
    FixedScript,
    IncrThenExpire { throws: bool },
    GetThenSet,
    NotEnforced,
}

/// The pauses before each request, in seconds; `None` unless the times go up.
fn waits(times: &str) -> Option<Vec<i64>> {
    let mut now = 0;
    let times = times.split_whitespace().map(|time| {
        let time: i64 = time.parse().ok()?;
        let wait = time - now;
        now = time;
        (wait >= 0).then_some(wait)
    });
    times.collect()
}

/// Sends one request after the other, each at its time or later.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Caller {
    label: Arc<str>,
    tenant: Arc<str>,
    waits: Vec<i64>,
    attempts: u8,
    current: Option<Client>,
}

impl Story for Caller {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        if let Some(client) = &mut self.current {
            if let Asked::Over(_) = client.ask(scene)? {
                self.current = None;
            }
            return scene.again();
        }
        if self.waits.is_empty() {
            return Ok(());
        }
        let wait = self.waits[0];
        if wait > 0 {
            scene.at("not there yet");
            scene.sleep(wait * 1_000_000)?;
        }
        self.waits.remove(0);
        let name: Arc<str> = format!("{} {}", self.label, self.waits.len()).into();
        let request = request(ENDPOINT, [("request", name)], [("tenant", self.tenant.clone())]);
        self.current = Some(Client::new(request, self.attempts));
        scene.again()
    }
}

/// A request being limited.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Limited {
    tenant: Arc<str>,
    request: Arc<str>,
    design: Design,
}

/// What the counter says.
enum Verdict {
    LetIn(Value),
    Refused,
    NotReached,
    Failed,
}

impl Story for Limited {
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
        scene.at("counting");
        let verdict = self.count(scene)?;
        scene.at("answering");
        match verdict {
            Verdict::LetIn(at) => scene.respond(200, format!("let in at {at}")),
            Verdict::Refused => scene.respond(429, "too many requests"),
            Verdict::NotReached if self.design.refuses => scene.respond(503, "try again"),
            Verdict::NotReached => scene.respond(200, "let in at 0"),
            Verdict::Failed => scene.respond(500, "rate limit failed"),
        }
    }
}

impl Limited {
    fn count(&self, scene: &mut Scene<'_>) -> Told<Verdict> {
        let key = format!("rate:{}", self.tenant);
        let limit = self.design.limit;
        match self.design.counting {
            Counting::SlidingScript => {
                let slid = scene.call(Command::slide(&key, &self.request, WINDOW, limit))?;
                Ok(judged(slid, |answer| answer.get("allowed") == Some(&Value::Bool(true))))
            }
            Counting::FixedScript => {
                let counted = scene.call(Command::incr_expire(&key, WINDOW))?;
                Ok(judged(counted, |answer| count(answer) <= limit))
            }
            Counting::IncrThenExpire { throws } => {
                let counted = scene.call(Command::incr(&key))?;
                if matches!(&counted, Ok(answer) if count(answer) == 1) {
                    scene.at("setting the expiry");
                    let set = scene.call(Command::expire(&key, WINDOW))?;
                    if set.is_err() && throws {
                        return Ok(Verdict::Failed);
                    }
                }
                Ok(judged(counted, |answer| count(answer) <= limit))
            }
            Counting::GetThenSet => {
                let got = scene.call(Command::get(&key))?;
                let Ok(answer) = &got else {
                    return Ok(Verdict::NotReached);
                };
                let seen = count(answer);
                if seen >= limit {
                    return Ok(Verdict::Refused);
                }
                scene.at("counting up");
                let set = Command::set(&key, &(seen + 1).to_string()).with("px", WINDOW);
                Ok(judged(scene.call(set)?, |_| true))
            }
            Counting::NotEnforced => {
                let counted = scene.call(Command::incr_expire(&key, WINDOW))?;
                Ok(judged(counted, |_| true))
            }
        }
    }
}

fn count(answer: &Answer) -> i64 {
    match answer.get("value") {
        Some(Value::Int(count)) => *count,
        Some(Value::Text(text)) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

fn judged(answer: Result<Answer, NoAnswer>, lets_in: impl Fn(&Answer) -> bool) -> Verdict {
    match answer {
        Ok(answer) if lets_in(&answer) => Verdict::LetIn(answer.get("at").cloned().unwrap_or(Value::Int(0))),
        Ok(_) => Verdict::Refused,
        Err(_) => Verdict::NotReached,
    }
}

fn not_exceeded(view: &View<'_>, limit: usize) -> promise::Verdict {
    let mut let_in: Vec<(Arc<str>, i64)> = answers(view, ENDPOINT)
        .filter_map(|(_, request, response)| {
            let at = response.body.strip_prefix("let in at ")?.parse().ok()?;
            Some((field(request, "tenant"), at))
        })
        .collect();
    let_in.sort();
    for first in 0..let_in.len() {
        let (tenant, from) = &let_in[first];
        let inside = let_in[first..]
            .iter()
            .take_while(|(of, at)| of == tenant && *at < from + WINDOW)
            .count();
        if inside > limit {
            let rows = let_in
                .iter()
                .map(|(tenant, at)| format!("({tenant}, {at} ms)"))
                .collect();
            return Err((
                format!("{inside} requests of {tenant} were let in within a minute, {limit} are allowed"),
                rows,
            ));
        }
    }
    Ok(())
}
