//! The provider as a server on a socket: keys in flight, replies that are lost, webhooks that are signed and tried again.

use std::sync::Mutex;
use std::time::Duration;

use deadheat::live::provider::{Endpoint, LONGEST_BODY, Options, Plan, Planned, Scheme, ServeError, Server, Told};
use deadheat::world::provider::signature::{StandardHeaders, TOLERANCE, verify, verify_standard};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use wiremock::matchers::method;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const SECRET: &str = "whsec_test_secret_1";
const STANDARD_SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PAY: &str = "amount=500&currency=eur&payment_method=pm_card_visa&confirm=true";

fn options(faults: &[&str]) -> Options {
    let faults = faults.iter().map(|line| line.parse::<Planned>().expect("a fault"));
    Options {
        plan: Plan::of(faults).expect("a plan"),
        ..Options::new("127.0.0.1:0".parse().expect("an address"))
    }
}

fn start(options: Options) -> Server {
    Server::start(options).expect("a server on the loopback interface")
}

fn client() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}

fn pay(client: &Client, server: &Server, key: &str, form: &'static str) -> RequestBuilder {
    client
        .post(format!("http://{}/v1/payment_intents", server.address()))
        .bearer_auth("sk_test_1")
        .header("idempotency-key", key)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
}

async fn said(request: RequestBuilder) -> (u16, Json) {
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let text = response.text().await.expect("a body");
    (status, serde_json::from_str(&text).expect("JSON"))
}

/// A receiver that refuses so many webhooks and hands on all of them.
struct Receiver {
    refuses: Mutex<u32>,
    got: mpsc::UnboundedSender<Request>,
}

impl Respond for Receiver {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut left = self.refuses.lock().expect("nobody panicked");
        let status = if *left > 0 { 503 } else { 204 };
        *left = left.saturating_sub(1);
        // The test may have seen enough.
        let _ = self.got.send(request.clone());
        ResponseTemplate::new(status)
    }
}

/// A receiver that hands on a webhook and answers it when it is told to.
struct Slow {
    got: mpsc::UnboundedSender<Request>,
    goes_on: Mutex<std::sync::mpsc::Receiver<()>>,
}

impl Respond for Slow {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let _ = self.got.send(request.clone());
        // The receiver has a thread of its own. A test that failed is gone, and then it goes on.
        let _ = self.goes_on.lock().expect("nobody panicked").recv();
        ResponseTemplate::new(204)
    }
}

async fn slow_receiver() -> (
    MockServer,
    mpsc::UnboundedReceiver<Request>,
    std::sync::mpsc::Sender<()>,
) {
    let (got, received) = mpsc::unbounded_channel();
    let (tell, told) = std::sync::mpsc::channel();
    let server = MockServer::start().await;
    let slow = Slow {
        got,
        goes_on: Mutex::new(told),
    };
    Mock::given(method("POST")).respond_with(slow).mount(&server).await;
    (server, received, tell)
}

async fn receiver(refuses: u32) -> (MockServer, mpsc::UnboundedReceiver<Request>) {
    let (got, received) = mpsc::unbounded_channel();
    let server = MockServer::start().await;
    let receiver = Receiver {
        refuses: Mutex::new(refuses),
        got,
    };
    Mock::given(method("POST")).respond_with(receiver).mount(&server).await;
    (server, received)
}

fn endpoint(receiver: &MockServer, secret: &str, scheme: Scheme) -> Endpoint {
    Endpoint {
        url: format!("{}/webhook", receiver.uri()),
        secrets: vec![secret.to_owned()],
        scheme,
        types: vec!["payment_intent.succeeded".into()],
        attempts: 3,
        pause: Duration::ZERO,
    }
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    i64::try_from(since.as_secs()).expect("a time")
}

#[tokio::test]
async fn a_key_is_held_for_as_long_as_its_answer_takes() {
    let (receiver, mut received, goes_on) = slow_receiver().await;
    let server = start(Options {
        webhooks: Some(endpoint(&receiver, SECRET, Scheme::Stripe)),
        ..options(&["create_intent#1: webhook-first"])
    });
    let client = client();
    let first = tokio::spawn(said(pay(&client, &server, "k", PAY)));
    // Its webhook has arrived and is not answered yet, so neither is the request.
    received.recv().await.expect("a webhook");
    let (status, in_use) = said(pay(&client, &server, "k", PAY)).await;
    assert_eq!(
        (status, &in_use["error"]["code"]),
        (409, &"idempotency_key_in_use".into())
    );
    let (status, clash) = said(pay(&client, &server, "k", "amount=501&currency=eur")).await;
    assert_eq!((status, &clash["error"]["type"]), (400, &"idempotency_error".into()));
    goes_on.send(()).expect("the receiver waits");
    let first = first.await.expect("no panic");
    assert_eq!(first.0, 200);

    let again = pay(&client, &server, "k", PAY).send().await.expect("an answer");
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.json::<Json>().await.expect("JSON"), first.1);
    let (status, clash) = said(pay(&client, &server, "k", "amount=501&currency=eur")).await;
    assert_eq!((status, &clash["error"]["type"]), (400, &"idempotency_error".into()));
}

#[tokio::test]
async fn a_reply_that_is_lost_is_found_again_under_its_key() {
    let server = start(options(&["create_intent#1: lost-reply"]));
    // Without connections that are kept: a client sends again by itself what failed on one of those.
    let client = Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client");
    let lost = pay(&client, &server, "k", PAY).send().await;
    assert!(lost.is_err(), "{lost:?}");
    let (status, found) = said(pay(&client, &server, "k", PAY)).await;
    assert_eq!((status, &found["status"]), (200, &"succeeded".into()));
    let list = client.get(format!("http://{}/v1/charges", server.address()));
    let (_, charges) = said(list.basic_auth("sk_test_1", None::<&str>)).await;
    assert_eq!(charges["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_webhook_is_signed_anew_at_each_attempt_until_it_is_taken() {
    let (receiver, mut received) = receiver(2).await;
    let server = start(Options {
        webhooks: Some(endpoint(&receiver, SECRET, Scheme::Stripe)),
        ..options(&[])
    });
    let (_, intent) = said(pay(&client(), &server, "k", PAY)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let webhook = received.recv().await.expect("a webhook");
        let signature = header(&webhook, "stripe-signature");
        assert_eq!(verify(SECRET, signature, &webhook.body, now(), TOLERANCE), Ok(()));
        assert!(verify("whsec_other", signature, &webhook.body, now(), TOLERANCE).is_err());
        let event: Json = webhook.body_json().expect("JSON");
        assert_eq!(event["type"], "payment_intent.succeeded");
        assert_eq!(event["data"]["object"]["id"], intent["id"]);
        ids.push(event["id"].clone());
    }
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn standard_webhooks_keep_their_id_and_verify() {
    let (receiver, mut received) = receiver(0).await;
    let server = start(Options {
        webhooks: Some(endpoint(&receiver, STANDARD_SECRET, Scheme::Standard)),
        ..options(&["create_intent#1: duplicate-webhook"])
    });
    said(pay(&client(), &server, "k", PAY)).await;
    let twins = [received.recv().await, received.recv().await].map(|webhook| webhook.expect("a webhook"));
    for webhook in &twins {
        let headers = StandardHeaders {
            id: header(webhook, "webhook-id"),
            timestamp: header(webhook, "webhook-timestamp"),
            signature: header(webhook, "webhook-signature"),
        };
        assert_eq!(verify_standard(STANDARD_SECRET, headers, &webhook.body, now()), Ok(()));
    }
    assert_eq!(header(&twins[0], "webhook-id"), header(&twins[1], "webhook-id"));
}

#[tokio::test]
async fn a_webhook_overtakes_the_answer_that_caused_it() {
    let (receiver, mut received) = receiver(0).await;
    let server = start(Options {
        webhooks: Some(endpoint(&receiver, SECRET, Scheme::Stripe)),
        ..options(&["create_intent#1: webhook-first"])
    });
    said(pay(&client(), &server, "k", PAY)).await;
    assert!(received.try_recv().is_ok(), "the webhook was there before the answer");
}

#[tokio::test]
async fn a_silence_lasts_until_the_client_gives_up_and_ends_with_the_server() {
    let server = start(options(&["create_intent#1: timeout"]));
    let impatient = Client::builder()
        .no_proxy()
        .timeout(Duration::from_millis(50))
        .build()
        .expect("a client");
    let silent = pay(&impatient, &server, "k", PAY).send().await;
    assert!(silent.is_err_and(|reason| reason.is_timeout()));
    let (status, _) = said(pay(&client(), &server, "k", PAY)).await;
    assert_eq!(status, 200);
    server.stop();
}

#[tokio::test]
async fn what_is_too_large_is_answered_413_and_what_is_json_400() {
    let server = start(options(&[]));
    let post = |body: String| {
        let post = client().post(format!("http://{}/v1/customers", server.address()));
        post.bearer_auth("sk_test_1").body(body)
    };
    let (status, body) = said(post("x".repeat(LONGEST_BODY + 1))).await;
    assert_eq!((status, &body["error"]["type"]), (413, &"invalid_request_error".into()));
    let json = post("{}".to_owned()).header("content-type", "application/json");
    assert_eq!(said(json).await.0, StatusCode::BAD_REQUEST.as_u16());
}

#[test]
fn where_it_must_not_or_cannot_listen_is_said() {
    let beyond = Options::new("0.0.0.0:0".parse().expect("an address"));
    let refused = Server::start(beyond).expect_err("not without being asked");
    assert!(matches!(refused, ServeError::NotLoopback(_)));
    assert!(refused.to_string().contains("--beyond-loopback"), "{refused}");
    let server = start(options(&[]));
    let twin = Server::start(Options::new(server.address()));
    assert!(matches!(twin, Err(ServeError::InUse(address)) if address == server.address()));
    for (url, secret) in [
        ("https://localhost/", SECRET),
        ("localhost", SECRET),
        ("http://localhost/", "whsec_short"),
    ] {
        let webhooks = Endpoint {
            url: url.to_owned(),
            secrets: vec![secret.to_owned()],
            scheme: Scheme::Standard,
            types: vec!["*".into()],
            attempts: 1,
            pause: Duration::ZERO,
        };
        let started = Server::start(Options {
            webhooks: Some(webhooks),
            ..options(&[])
        });
        assert!(matches!(started, Err(ServeError::Endpoint(_))), "{url} {secret}");
    }
}

#[tokio::test]
async fn an_ending_server_lets_a_request_under_way_end() {
    let (receiver, mut received, goes_on) = slow_receiver().await;
    let (told, mut steps) = mpsc::unbounded_channel();
    let server = start(Options {
        webhooks: Some(endpoint(&receiver, SECRET, Scheme::Stripe)),
        told: Told::to(move |line| drop(told.send(line.to_owned()))),
        ..options(&["create_intent#1: webhook-first"])
    });
    let address = server.address();
    let under_way = tokio::spawn(said(pay(&client(), &server, "k", PAY)));
    received.recv().await.expect("a webhook");
    let stopping = tokio::task::spawn_blocking(move || server.stop());
    // It takes nobody on any more.
    while tokio::net::TcpStream::connect(address).await.is_ok() {}
    goes_on.send(()).expect("the receiver waits");
    assert_eq!(under_way.await.expect("no panic").0, 200);
    stopping.await.expect("no panic");
    let mut told = Vec::new();
    // It ends: nothing of the server is left that could tell anything more.
    while let Some(step) = steps.recv().await {
        told.push(step);
    }
    assert!(told.contains(&"create_intent#1 → 200".to_owned()), "{told:?}");
}
