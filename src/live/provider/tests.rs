//! The pure layer: what a client reads, and that no bytes make it panic.

use bytes::Bytes;
use http::Request;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Desk, Fate, Plan, Planned, Taken};

const NOW: i64 = 1_700_000_000_000_000;

struct Client(Desk);

impl Client {
    fn new(faults: &[&str]) -> Client {
        let faults = faults.iter().map(|line| line.parse::<Planned>().expect("a fault"));
        let plan = Plan::of(faults).expect("a plan");
        Client(Desk::new(plan, &["*".into()], None))
    }

    fn send(&mut self, method: &str, path: &str, key: Option<&str>, form: &str, now: i64) -> Taken {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("authorization", "Bearer sk_test_1");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request
            .body(Bytes::copy_from_slice(form.as_bytes()))
            .expect("a request");
        self.0.take(&request, now)
    }

    /// Sends a request, and lets its answer go out.
    fn ask(&mut self, method: &str, path: &str, key: Option<&str>, form: &str, now: i64) -> Taken {
        let taken = self.send(method, path, key, form, now);
        if let Some(key) = &taken.holds {
            self.0.release(key);
        }
        taken
    }

    fn post(&mut self, path: &str, key: &str, form: &str, now: i64) -> (u16, Json) {
        said(&self.ask("POST", path, Some(key), form, now))
    }

    fn get(&mut self, path: &str) -> (u16, Json) {
        said(&self.ask("GET", path, None, "", NOW))
    }
}

fn said(taken: &Taken) -> (u16, Json) {
    let body = serde_json::from_str(taken.response.body()).expect("JSON");
    (taken.response.status().as_u16(), body)
}

const PAY: &str = "amount=500&currency=EUR&payment_method=pm_card_visa&confirm=true&metadata[order]=7";

#[test]
fn a_payment_is_told_with_the_fields_that_clients_read() {
    let mut client = Client::new(&[]);
    let (status, customer) = client.post("/v1/customers", "c", "email=a@b.c&metadata[user]=1", NOW);
    assert_eq!(
        (status, &customer["email"], &customer["id"]),
        (200, &"a@b.c".into(), &"cus_c".into())
    );
    let (status, intent) = client.post("/v1/payment_intents", "p", &format!("{PAY}&customer=cus_c"), NOW);
    assert_eq!(status, 200, "{intent}");
    for (field, expected) in [
        ("id", "pi_p".into()),
        ("object", "payment_intent".into()),
        ("status", "succeeded".into()),
        ("amount", 500.into()),
        ("amount_received", 500.into()),
        ("currency", "eur".into()),
        ("customer", "cus_c".into()),
        ("created", 1_700_000_000.into()),
        ("latest_charge", "ch_p_1".into()),
        ("livemode", false.into()),
        ("metadata", serde_json::json!({ "order": "7" })),
    ] {
        assert_eq!(intent[field], expected, "{field}");
    }
    let (_, expanded) = client.get("/v1/payment_intents/pi_p?expand[]=latest_charge");
    assert_eq!(expanded["latest_charge"]["paid"], true);
    let (_, refund) = client.post("/v1/refunds", "r", "charge=ch_p_1&amount=200", NOW);
    assert_eq!(
        (&refund["amount"], &refund["payment_intent"]),
        (&200.into(), &"pi_p".into())
    );
    let (status, rest) = client.post("/v1/refunds", "r2", "payment_intent=pi_p", NOW);
    assert_eq!((status, &rest["amount"]), (200, &300.into()));
    assert_eq!(
        client.post("/v1/refunds", "r3", "payment_intent=pi_p", NOW).1["error"]["code"],
        "charge_already_refunded"
    );
    let (_, charge) = client.get("/v1/charges/ch_p_1");
    assert_eq!(
        (&charge["refunded"], &charge["amount_refunded"]),
        (&true.into(), &500.into())
    );
}

#[test]
fn a_key_is_in_use_then_replays_and_clashes_with_another_payload() {
    let mut client = Client::new(&[]);
    let taken = client.send("POST", "/v1/payment_intents", Some("k"), PAY, NOW);
    let first = said(&taken);
    let (status, in_use) = client.post("/v1/payment_intents", "k", PAY, NOW);
    assert_eq!(
        (status, &in_use["error"]["code"]),
        (409, &"idempotency_key_in_use".into())
    );
    client.0.release(&taken.holds.expect("the key"));
    let again = client.send("POST", "/v1/payment_intents", Some("k"), PAY, NOW + 1_000);
    assert_eq!(said(&again), first);
    assert_eq!(again.response.headers()["idempotent-replayed"], "true");
    assert!(again.webhooks.is_empty());
    for (path, form) in [
        ("/v1/payment_intents", "amount=501&currency=eur"),
        ("/v1/customers", ""),
    ] {
        let clash = client.send("POST", path, Some("k"), form, NOW + 1_000);
        let (status, body) = said(&clash);
        assert_eq!(
            (status, &body["error"]["type"]),
            (400, &"idempotency_error".into()),
            "{path}"
        );
        assert!(!clash.response.headers().contains_key("idempotent-replayed"));
    }
    assert_eq!(
        client.get("/v1/payment_intents").1["data"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_declined_card_is_an_error_with_the_intent_in_it() {
    let mut client = Client::new(&[]);
    let form = "amount=500&currency=eur&payment_method=pm_card_chargeDeclined&confirm=true";
    let (status, body) = client.post("/v1/payment_intents", "d", form, NOW);
    let error = &body["error"];
    assert_eq!(
        (status, &error["type"], &error["code"]),
        (402, &"card_error".into(), &"card_declined".into())
    );
    assert_eq!(error["payment_intent"]["id"], "pi_d");
    assert_eq!(
        error["payment_intent"]["last_payment_error"]["decline_code"],
        "generic_decline"
    );
    let confirmed = client.post(
        "/v1/payment_intents/pi_d/confirm",
        "e",
        "payment_method=pm_card_visa",
        NOW,
    );
    assert_eq!((confirmed.0, &confirmed.1["status"]), (200, &"succeeded".into()));
    let (status, body) = client.post("/v1/payment_intents/pi_d/cancel", "f", "", NOW);
    assert_eq!(
        (status, &body["error"]["code"]),
        (400, &"payment_intent_unexpected_state".into())
    );
}

#[test]
fn events_are_listed_newest_first_in_pages_and_keep_what_was() {
    let mut client = Client::new(&[]);
    for order in 0..4 {
        client.post("/v1/payment_intents", &format!("p{order}"), PAY, NOW);
    }
    let (_, page) = client.get("/v1/events?limit=2&type=payment_intent.*");
    let ids = |page: &Json| -> Vec<String> {
        let data = page["data"].as_array().expect("a list").iter();
        data.map(|event| format!("{} {}", event["data"]["object"]["id"], event["type"]).replace('"', ""))
            .collect()
    };
    assert_eq!(
        ids(&page),
        ["pi_p3 payment_intent.succeeded", "pi_p3 payment_intent.created"]
    );
    assert_eq!((&page["has_more"], &page["url"]), (&true.into(), &"/v1/events".into()));
    let oldest = page["data"][1]["id"].as_str().expect("an id").to_owned();
    let (_, next) = client.get(&format!(
        "/v1/events?types[]=payment_intent.created&starting_after={oldest}"
    ));
    assert_eq!(ids(&next).len(), 3);
    assert_eq!(next["has_more"], false);
    let (_, back) = client.get(&format!(
        "/v1/events?type=payment_intent.succeeded&limit=1&ending_before={oldest}"
    ));
    assert_eq!(ids(&back), ["pi_p3 payment_intent.succeeded"]);
    let (_, created) = client.get(&format!("/v1/events/{oldest}"));
    assert_eq!(created["data"]["object"]["status"], "requires_confirmation");
    assert_eq!(created["request"]["idempotency_key"], "p3");
}

#[test]
fn faults_strike_the_request_that_they_name() {
    let mut client = Client::new(&[
        "create_intent#1: lost-request",
        "create_intent#2: lost-reply",
        "create_intent#4: 500-before",
        "create_intent#5: 500-after",
        "create_intent#7: duplicate-webhook",
        "create_intent#8: reorder-webhooks",
    ]);
    let mut pay = |key: &str, moment: i64| client.ask("POST", "/v1/payment_intents", Some(key), PAY, NOW + moment);
    let lost = pay("a", 0);
    assert_eq!((lost.fate, lost.webhooks.len()), (Fate::Lost, 0));
    let unheard = pay("a", 0);
    assert_eq!((unheard.fate, unheard.webhooks.len()), (Fate::Lost, 3));
    let retried = pay("a", 1_000);
    assert_eq!(
        (retried.fate, retried.response.body()),
        (Fate::Answered, unheard.response.body())
    );
    let before = pay("b", 0);
    assert_eq!((said(&before).0, before.webhooks.len()), (500, 0));
    let after = pay("b", 0);
    assert_eq!((said(&after).0, after.webhooks.len()), (500, 3));
    assert_eq!(after.response.headers()["stripe-should-retry"], "false");
    assert_eq!(said(&pay("b", 1_000)).0, 500, "the failure is what the key gives");
    let kinds = |taken: Taken| -> Vec<String> {
        taken
            .webhooks
            .into_iter()
            .map(|webhook| webhook.kind.replace("payment_intent.", ""))
            .collect()
    };
    assert_eq!(
        kinds(pay("c", 0)),
        [
            "created",
            "created",
            "succeeded",
            "succeeded",
            "charge.succeeded",
            "charge.succeeded"
        ]
    );
    assert_eq!(kinds(pay("d", 0)), ["charge.succeeded", "succeeded", "created"]);
    assert_eq!(client.get("/v1/charges").1["data"].as_array().map(Vec::len), Some(4));
}

#[test]
fn bad_input_is_answered_4xx_in_the_shape_of_the_api() {
    let cases: &[(&str, &str, &str, u16, &str)] = &[
        (
            "GET",
            "/v1/nothing",
            "",
            404,
            "Unrecognized request URL (GET: /v1/nothing).",
        ),
        ("GET", "/v2/customers", "", 404, "Unrecognized request URL"),
        ("GET", "/v1/customers/", "", 200, ""),
        ("PUT", "/v1/customers", "", 405, "takes POST, GET, not PUT"),
        ("DELETE", "/v1/events/evt_1", "", 405, "takes GET, not DELETE"),
        ("GET", "/v1/customers/cus_1", "", 404, "No such customer: 'cus_1'"),
        ("GET", "/v1/customers/pi_1", "", 404, "No such customer: 'pi_1'"),
        ("GET", "/v1/customers/%ff", "", 404, "Unrecognized request URL"),
        ("GET", "/v1/events?limit=0", "", 400, "limit must be from 1 to 100"),
        ("GET", "/v1/events?limit=x", "", 400, "limit must be a whole number"),
        (
            "GET",
            "/v1/events?starting_after=evt_1",
            "",
            400,
            "No such event: 'evt_1'",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "currency=eur",
            400,
            "Missing required param: amount.",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=5",
            400,
            "Missing required param: currency.",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=-5&currency=eur",
            400,
            "Invalid amount",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=5&currency=euro",
            400,
            "Invalid currency",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=5&currency=eur&confirm=yes",
            400,
            "Invalid confirm",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=5&currency=eur&customer=cus_1",
            400,
            "No such customer: 'cus_1'",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amout=5",
            400,
            "Received unknown parameter: amout",
        ),
        ("POST", "/v1/customers", "metadata=5", 400, "Invalid metadata"),
        (
            "POST",
            "/v1/customers",
            "email[x]=5",
            400,
            "Invalid email: it has to be a text",
        ),
        ("POST", "/v1/customers", "email=%ff", 400, "not UTF-8"),
        ("POST", "/v1/customers", "a[b=1", 400, "Invalid parameter name: a[b"),
    ];
    let mut client = Client::new(&[]);
    for (method, path, form, status, message) in cases {
        let taken = client.send(method, path, None, form, NOW);
        let (got, body) = said(&taken);
        let told = body["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(got, *status, "{method} {path} {form}: {body}");
        assert!(told.contains(message), "{method} {path} {form}: {told}");
    }
    for (given, message) in [
        (None, "You did not provide an API key"),
        (Some("Bearer sk_live_1"), "A live key was sent"),
        (Some("Bearer"), "Invalid API Key"),
        (Some("Digest sk_test_1"), "Invalid API Key"),
        (Some("Basic !"), "Invalid API Key"),
    ] {
        let mut request = Request::get("/v1/customers");
        if let Some(given) = given {
            request = request.header("authorization", given);
        }
        let taken = client.0.take(&request.body(Bytes::new()).expect("a request"), NOW);
        let (status, body) = said(&taken);
        assert_eq!(status, 401);
        assert!(
            body["error"]["message"].as_str().unwrap_or_default().contains(message),
            "{body}"
        );
    }
}

/// Paths and parameters that are nearly right, and any others.
fn request() -> impl Strategy<Value = Request<Bytes>> {
    let word = prop_oneof![
        Just("amount".to_owned()),
        Just("currency".to_owned()),
        Just("eur".to_owned()),
        Just("pi_k".to_owned()),
        Just("confirm".to_owned()),
        Just("true".to_owned()),
        Just("metadata[a]".to_owned()),
        Just("expand[]".to_owned()),
        Just("latest_charge".to_owned()),
        Just("payment_method".to_owned()),
        Just("500".to_owned()),
        Just("limit".to_owned()),
        Just("created[gte]".to_owned()),
        Just("starting_after".to_owned()),
        "[a-z%\\[\\]0-9]{0,6}",
    ];
    let pair = (word.clone(), word).prop_map(|(name, value)| format!("{name}={value}"));
    let form = proptest::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join("&").into_bytes());
    let body = prop_oneof![4 => form, 1 => proptest::collection::vec(any::<u8>(), 0..64)];
    let path = prop_oneof![
        4 => proptest::sample::select(vec![
            "/v1/customers", "/v1/customers/cus_k", "/v1/payment_intents", "/v1/payment_intents/pi_k", "/v1/payment_intents/pi_k/confirm",
            "/v1/payment_intents/pi_k/cancel", "/v1/refunds", "/v1/events", "/v1/charges", "/v1/test_helpers/payment_intents/pi_k/resolve",
        ]).prop_map(str::to_owned),
        1 => "/[a-z0-9/_%]{0,20}",
    ];
    let method = proptest::sample::select(vec!["GET", "POST", "DELETE", "PUT", "HEAD"]);
    let key = proptest::option::of(prop_oneof![
        Just(b"k".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..300)
    ]);
    let authorization =
        prop_oneof![9 => Just(b"Bearer sk_test_1".to_vec()), 1 => proptest::collection::vec(any::<u8>(), 0..40)];
    (method, path, key, authorization, body).prop_filter_map(
        "no request",
        |(method, path, key, authorization, body)| {
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", authorization);
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            request.body(Bytes::from(body)).ok()
        },
    )
}

proptest! {
    #[test]
    fn any_requests_get_an_answer_in_json_and_none_breaks_the_provider(requests in proptest::collection::vec(request(), 1..8)) {
        let mut client = Client::new(&[]);
        for (request, moment) in requests.iter().zip(NOW..) {
            let (status, body) = said(&client.0.take(request, moment));
            prop_assert!((200..500).contains(&status), "{request:?}: {body}");
            prop_assert_eq!(status == 200, body.get("error").is_none(), "{:?}: {}", request, body);
        }
    }
}
