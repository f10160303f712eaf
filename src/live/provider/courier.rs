//! Webhooks on their way: signed at each attempt, retried a bounded number of times.

use std::sync::Arc;
use std::time::Duration;

use super::desk::Webhook;
use super::options::Told;
use crate::world::provider::signature::{self, SignatureError};

/// How long a receiver may take. The provider publishes no number; secondary sources say 10 to 30 s.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between attempts do not grow beyond this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// Where webhooks go, and how.
#[derive(Clone)]
pub struct Endpoint {
    /// An `http` URL.
    pub url: String,
    /// What they are signed with: several while a secret is rotated. The scheme of Standard Webhooks takes secrets in base64.
    pub secrets: Vec<String>,
    /// How they are signed.
    pub scheme: Scheme,
    /// The types of event that are sent; `*` for all.
    pub types: Vec<Arc<str>>,
    /// How often each is tried in all; at least once.
    pub attempts: u8,
    /// How long until the second attempt; each pause is twice the last.
    pub pause: Duration,
}

/// How webhooks are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The provider's own: header `Stripe-Signature`.
    Stripe,
    /// Standard Webhooks: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    Standard,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("url", &self.url)
            .field("secrets", &self.secrets.len())
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

/// Why webhooks can't be sent there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// No URL, or one of another protocol.
    #[error("webhooks go to an http URL, and `{0}` is none")]
    Url(String),
    /// A secret that the scheme can't use.
    #[error("Standard Webhooks take secrets of 24 to 64 bytes in base64, after the prefix whsec_: {0}")]
    Secret(SignatureError),
}

impl Endpoint {
    /// Headers and their values for an attempt at a moment, in seconds.
    fn headers(&self, id: &str, time: i64, body: &str) -> Result<Vec<(&'static str, String)>, SignatureError> {
        if self.secrets.is_empty() {
            return Ok(Vec::new());
        }
        match self.scheme {
            Scheme::Stripe => {
                let secrets: Vec<&str> = self.secrets.iter().map(String::as_str).collect();
                Ok(vec![(
                    "stripe-signature",
                    signature::sign(&secrets, time, body.as_bytes()),
                )])
            }
            Scheme::Standard => {
                let signed = self
                    .secrets
                    .iter()
                    .map(|secret| signature::sign_standard(secret, id, time, body.as_bytes()));
                Ok(vec![
                    ("webhook-id", id.to_owned()),
                    ("webhook-timestamp", time.to_string()),
                    ("webhook-signature", signed.collect::<Result<Vec<_>, _>>()?.join(" ")),
                ])
            }
        }
    }
}

/// Sends webhooks to one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Courier {
    endpoint: Arc<Endpoint>,
    client: reqwest::Client,
    told: Told,
}

impl Courier {
    pub(super) fn new(endpoint: Endpoint, told: Told) -> Result<Courier, BadEndpoint> {
        let bad = || BadEndpoint::Url(endpoint.url.clone());
        let url = reqwest::Url::parse(&endpoint.url).map_err(|_| bad())?;
        if url.scheme() != "http" || !url.has_host() {
            return Err(bad());
        }
        endpoint.headers("evt", 0, "").map_err(BadEndpoint::Secret)?;
        // A proxy of the environment has nothing to do with a receiver under test, and a redirection is a failure.
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|_| bad())?;
        Ok(Courier {
            endpoint: Arc::new(endpoint),
            client,
            told,
        })
    }

    /// Tries each once, one after the other; hands back those that were not taken.
    pub(super) async fn round(&self, webhooks: Vec<Webhook>, attempt: u8, seconds: impl Fn() -> i64) -> Vec<Webhook> {
        let mut left = Vec::new();
        for webhook in webhooks {
            let outcome = self.attempt(&webhook, seconds()).await;
            let ended = outcome
                .as_ref()
                .map_or_else(|reason| reason.clone(), |()| "taken".to_owned());
            self.told
                .say(|| format!("webhook {} {} attempt {attempt}: {ended}", webhook.id, webhook.kind));
            if outcome.is_err() {
                left.push(webhook);
            }
        }
        left
    }

    /// The attempts after the first. `seconds` is the clock.
    pub(super) async fn retry(&self, mut left: Vec<Webhook>, seconds: impl Fn() -> i64) {
        let mut pause = self.endpoint.pause;
        for attempt in 2..=self.endpoint.attempts {
            if left.is_empty() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            left = self.round(left, attempt, &seconds).await;
        }
        for webhook in left {
            self.told.say(|| {
                format!(
                    "webhook {} {} given up; the event is in the list",
                    webhook.id, webhook.kind
                )
            });
        }
    }

    async fn attempt(&self, webhook: &Webhook, time: i64) -> Result<(), String> {
        let headers = self.endpoint.headers(&webhook.id, time, &webhook.body);
        let headers = headers.map_err(|reason| reason.to_string())?;
        let request = self
            .client
            .post(&self.endpoint.url)
            .header("content-type", "application/json; charset=utf-8");
        let request = headers
            .into_iter()
            .fold(request, |request, (name, value)| request.header(name, value));
        let response =
            request
                .body(webhook.body.to_string())
                .send()
                .await
                .map_err(|reason| match reason.is_timeout() {
                    true => "no answer".to_owned(),
                    false => "no connection".to_owned(),
                })?;
        match response.status().is_success() {
            true => Ok(()),
            false => Err(format!("answered {}", response.status().as_u16())),
        }
    }
}
