//! What a shop over async-stripe does with deadheat's provider: pay once, whatever is lost, and believe its webhooks.

use deadheat::live::provider::{Endpoint, Options, Plan, Planned, Scheme, Server};
use stripe_client::pay;
use stripe_client::stripe::{Client, ClientBuilder, RequestStrategy, StripeError};
use stripe_client::stripe_core::PaymentIntentStatus;
use stripe_client::stripe_core::charge::ListCharge;
use stripe_client::stripe_core::customer::CreateCustomer;
use stripe_client::stripe_core::event::ListEvent;
use stripe_client::stripe_core::payment_intent::RetrievePaymentIntent;
use stripe_client::stripe_core::refund::CreateRefund;
use stripe_client::stripe_webhook::{EventObject, Webhook};
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

const SECRET: &str = "whsec_test_secret_1";

fn start(faults: &[&str], webhooks: Option<Endpoint>) -> (Server, Client) {
    let faults = faults.iter().map(|line| line.parse::<Planned>().expect("a fault"));
    let server = Server::start(Options {
        plan: Plan::of(faults).expect("a plan"),
        webhooks,
        ..Options::new("127.0.0.1:0".parse().expect("an address"))
    })
    .expect("a server");
    let client = ClientBuilder::new("sk_test_1").url(format!("http://{}/", server.address()));
    (
        server,
        client
            .request_strategy(RequestStrategy::Once)
            .build()
            .expect("a client"),
    )
}

#[tokio::test]
async fn a_shop_pays_once_whatever_is_lost() {
    let (_server, client) = start(&["create_intent#1: lost-reply"], None);
    let lost = pay(&client, "7", 500, "pm_card_visa").await;
    assert!(matches!(lost, Err(StripeError::ClientError(_))), "{lost:?}");
    let paid = pay(&client, "7", 500, "pm_card_visa").await.expect("paid");
    assert_eq!(paid.status, PaymentIntentStatus::Succeeded);
    assert_eq!(paid.metadata["order"], "7");
    assert_eq!(pay(&client, "7", 500, "pm_card_visa").await.expect("paid").id, paid.id);
    assert_eq!(ListCharge::new().send(&client).await.expect("charges").data.len(), 1);
    match pay(&client, "7", 501, "pm_card_visa").await {
        Err(StripeError::Stripe(error, 400)) => assert_eq!(error.type_.as_str(), "idempotency_error"),
        other => panic!("another payload under the same key: {other:?}"),
    }
}

#[tokio::test]
async fn customers_refunds_and_events_are_read() {
    let (_server, client) = start(&[], None);
    let customer = CreateCustomer::new()
        .email("ada@example.org")
        .send(&client)
        .await
        .expect("a customer");
    assert_eq!(customer.email.as_deref(), Some("ada@example.org"));
    let paid = pay(&client, "7", 500, "pm_card_visa").await.expect("paid");
    let refund = CreateRefund::new()
        .payment_intent(paid.id.to_string())
        .amount(200)
        .send(&client)
        .await;
    assert_eq!(refund.expect("a refund").amount, 200);
    let read = RetrievePaymentIntent::new(paid.id.clone())
        .send(&client)
        .await
        .expect("the intent");
    assert_eq!(
        read.latest_charge.map(|charge| charge.id().to_string()),
        Some("ch_order-7_1".to_owned())
    );
    let events = ListEvent::new().limit(100).send(&client).await.expect("events");
    let kinds: Vec<String> = events.data.iter().map(|event| event.type_.to_string()).collect();
    assert_eq!(
        kinds,
        [
            "charge.refunded",
            "refund.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "payment_intent.created",
            "customer.created"
        ]
    );
    match pay(&client, "8", 500, "pm_card_chargeDeclined").await {
        Err(StripeError::Stripe(error, 402)) => assert_eq!(error.decline_code.as_deref(), Some("generic_decline")),
        other => panic!("a declined card: {other:?}"),
    }
}

#[tokio::test]
async fn a_webhook_is_believed() {
    let (got, mut received) = mpsc::unbounded_channel();
    let receiver = MockServer::start().await;
    let answer = move |request: &Request| {
        got.send(request.clone()).expect("the test listens");
        ResponseTemplate::new(204)
    };
    Mock::given(wiremock::matchers::any())
        .respond_with(answer)
        .mount(&receiver)
        .await;
    let endpoint = Endpoint {
        url: receiver.uri(),
        secrets: vec![SECRET.to_owned()],
        scheme: Scheme::Stripe,
        types: vec!["payment_intent.succeeded".into()],
        attempts: 1,
        pause: std::time::Duration::ZERO,
    };
    let (_server, client) = start(&[], Some(endpoint));
    let paid = pay(&client, "7", 500, "pm_card_visa").await.expect("paid");
    let webhook = received.recv().await.expect("a webhook");
    let (body, signature) = (
        std::str::from_utf8(&webhook.body).expect("UTF-8"),
        &webhook.headers["stripe-signature"],
    );
    let signature = signature.to_str().expect("ASCII");
    let event = Webhook::construct_event(body, signature, SECRET).expect("signed");
    match event.data.object {
        EventObject::PaymentIntentSucceeded(intent) => assert_eq!(intent.id, paid.id),
        other => panic!("another event: {other:?}"),
    }
    assert!(Webhook::construct_event(body, signature, "whsec_other").is_err());
}
