//! The provider as its clients see it.

use super::{Api, KEYS_LAST, Provider, Settings, Webhooks, keyed, payload, signature};
use crate::machine::Pid;
use crate::machine::service::{Answer, Call};
use crate::value::Value;
use crate::world::service::Service;

const US: Pid = Pid::root(0);

fn ask(provider: &mut Provider, call: Call, now: i64) -> Answer {
    match provider.call(US, &call, now) {
        Ok(answer) => answer,
        Err(error) => panic!("{error}"),
    }
}

fn status(answer: &Answer) -> String {
    match answer {
        Answer::Ok(_) => answer.get("status").map(Value::to_string).unwrap_or_default(),
        Answer::Refused { status, code, .. } => format!("{status} {code}"),
    }
}

fn kinds(provider: &Provider) -> Vec<String> {
    provider.events().map(|event| event.kind.to_string()).collect()
}

#[test]
fn each_operation_leads_from_state_to_state_with_its_events() {
    type Case<'a> = (&'a str, &'a [Call], &'a [&'a str], &'a [&'a str]);
    let cases: [Case<'_>; 5] = [
        (
            "approved",
            &[Api::create_intent("o", 5), Api::confirm("pi_0", "pm_card")],
            &["requires_payment_method", "succeeded"],
            &["payment_intent.created", "payment_intent.succeeded", "charge.succeeded"],
        ),
        (
            "declined, then approved: a failure is not the end",
            &[Api::pay("o", 5, "pm_declined"), Api::confirm("pi_0", "pm_card")],
            &["402 card_declined", "succeeded"],
            &[
                "payment_intent.created",
                "payment_intent.payment_failed",
                "payment_intent.succeeded",
                "charge.succeeded",
            ],
        ),
        (
            "authenticated",
            &[
                Api::pay("o", 5, "pm_3ds"),
                Api::resolve("pi_0", true),
                Api::cancel("pi_0"),
            ],
            &["requires_action", "succeeded", "400 payment_intent_unexpected_state"],
            &[
                "payment_intent.created",
                "payment_intent.requires_action",
                "payment_intent.succeeded",
                "charge.succeeded",
            ],
        ),
        (
            "authorised, captured, captured again",
            &[
                Api::pay("o", 5, "pm_card").with("capture_method", "manual"),
                Api::capture("pi_0"),
                Api::capture("pi_0"),
            ],
            &["requires_capture", "succeeded", "400 payment_intent_unexpected_state"],
            &[
                "payment_intent.created",
                "payment_intent.amount_capturable_updated",
                "payment_intent.succeeded",
                "charge.succeeded",
            ],
        ),
        (
            "slow, cancelled",
            &[
                Api::pay("o", 5, "pm_slow"),
                Api::cancel("pi_0"),
                Api::confirm("pi_0", "pm_card"),
            ],
            &["processing", "canceled", "400 payment_intent_unexpected_state"],
            &[
                "payment_intent.created",
                "payment_intent.processing",
                "payment_intent.canceled",
            ],
        ),
    ];
    for (name, calls, statuses, events) in cases {
        let mut provider = Provider::default();
        let got: Vec<String> = calls
            .iter()
            .map(|call| status(&ask(&mut provider, call.clone(), 0)))
            .collect();
        assert_eq!(got, statuses, "{name}");
        let mut expected: Vec<String> = events.iter().map(|event| (*event).to_owned()).collect();
        let mut logged = kinds(&provider);
        expected.sort();
        logged.sort();
        assert_eq!(logged, expected, "{name}");
    }
}

#[test]
fn a_key_gives_the_first_answer_again_until_it_is_a_day_old() {
    let mut provider = Provider::default();
    let pay = || keyed(Api::pay("o", 5, "pm_declined"), "k");
    let first = ask(&mut provider, pay(), 0);
    assert_eq!(ask(&mut provider, pay(), KEYS_LAST - 1), first);
    assert_eq!(provider.charges().count(), 1);
    let other = keyed(Api::pay("o", 6, "pm_card"), "k");
    assert_eq!(status(&ask(&mut provider, other, 1)), "400 idempotency_error");
    ask(&mut provider, pay(), KEYS_LAST);
    assert_eq!(provider.charges().count(), 2);
}

#[test]
fn a_key_is_in_use_while_its_request_is_executing() {
    let mut provider = Provider::new(Settings {
        latency: 10,
        ..Settings::default()
    });
    let pay = || keyed(Api::pay("o", 5, "pm_card"), "k");
    ask(&mut provider, pay(), 0);
    assert_eq!(status(&ask(&mut provider, pay(), 9)), "409 idempotency_key_in_use");
    assert_eq!(provider.next_deadline(9), Some(10));
    assert_eq!(status(&ask(&mut provider, pay(), 10)), "succeeded");
}

#[test]
fn without_a_key_two_creates_are_two_intents_and_names_do_not_depend_on_the_order() {
    let [mut one, mut other] = [Provider::default(), Provider::default()];
    let calls = [(Pid::root(0), "a"), (Pid::root(1), "b")];
    for (caller, reference) in calls {
        one.call(caller, &Api::pay(reference, 5, "pm_card"), 0).ok();
    }
    for (caller, reference) in calls.into_iter().rev() {
        other.call(caller, &Api::pay(reference, 5, "pm_card"), 0).ok();
    }
    assert_eq!(one.intents().count(), 2);
    assert_eq!(one, other);
}

#[test]
fn a_refund_is_given_once() {
    let mut provider = Provider::default();
    ask(&mut provider, Api::pay("o", 5, "pm_card"), 0);
    assert!(matches!(ask(&mut provider, Api::refund("pi_0"), 0), Answer::Ok(_)));
    assert_eq!(
        status(&ask(&mut provider, Api::refund("pi_0"), 0)),
        "400 charge_already_refunded"
    );
}

#[test]
fn webhooks_are_signed_over_their_body_and_sent_once_for_each_copy() {
    let mut provider = Provider::new(Settings {
        webhooks: Some(Webhooks {
            secrets: vec!["whsec_old".into(), "whsec_new".into()],
            copies: 2,
            attempts: 4,
            ..Webhooks::to("POST /webhook")
        }),
        ..Settings::default()
    });
    let now = 1_700_000_000;
    ask(&mut provider, Api::pay("o", 5, "pm_card"), now * 1_000_000);
    let deliveries = provider.deliveries();
    let labels: Vec<&str> = deliveries.iter().map(|delivery| &*delivery.label).collect();
    assert_eq!(labels, ["evt_0_2", "evt_0_2 copy 2"]);
    for delivery in &deliveries {
        assert_eq!(delivery.attempts, 4);
        let header = delivery
            .headers
            .get("stripe-signature")
            .map(|header| header.to_string());
        let body = payload(&delivery.body);
        for secret in ["whsec_old", "whsec_new"] {
            let verified = signature::verify(secret, header.as_deref().unwrap_or(""), body.as_bytes(), now, 300);
            assert_eq!(verified, Ok(()), "{secret}");
        }
    }
    assert!(provider.deliveries().is_empty());
}

#[test]
fn a_key_is_kept_for_what_was_executed_and_only_there() {
    let mut provider = Provider::default();
    let nothing = keyed(Api::pay("o", 0, "pm_card"), "k");
    assert_eq!(status(&ask(&mut provider, nothing, 0)), "400 parameter_missing");
    let mended = keyed(Api::pay("o", 5, "pm_card").with("capture_method", "manual"), "k");
    assert_eq!(status(&ask(&mut provider, mended, 0)), "requires_capture");
    // On a read it has no effect: the second answer is not the first one's.
    let read = || keyed(Api::retrieve("pi_k"), "r");
    assert_eq!(status(&ask(&mut provider, read(), 0)), "requires_capture");
    ask(&mut provider, keyed(Api::capture("pi_k"), "c"), 0);
    assert_eq!(status(&ask(&mut provider, read(), 0)), "succeeded");
    // The same arguments to another operation are another request.
    let cancel = keyed(Api::cancel("pi_k"), "c");
    assert_eq!(status(&ask(&mut provider, cancel, 0)), "400 idempotency_error");
}

#[test]
fn money_is_taken_by_a_capture_and_given_back_by_a_cancellation() {
    let charge = |calls: &[Call]| {
        let mut provider = Provider::default();
        ask(
            &mut provider,
            Api::pay("o", 5, "pm_card").with("capture_method", "manual"),
            0,
        );
        let said: Vec<String> = calls
            .iter()
            .map(|call| status(&ask(&mut provider, call.clone(), 0)))
            .collect();
        let (_, charge) = provider.charges().next().expect("a charge");
        (said, charge.captured, charge.refunded)
    };
    let refused = vec!["404 resource_missing".to_owned()];
    assert_eq!(charge(&[Api::refund("pi_0")]), (refused, false, 0));
    assert_eq!(charge(&[Api::cancel("pi_0")]), (vec!["canceled".to_owned()], false, 5));
    assert_eq!(charge(&[Api::capture("pi_0")]), (vec!["succeeded".to_owned()], true, 0));
    let (_, captured, refunded) = charge(&[Api::capture("pi_0"), Api::refund("pi_0")]);
    assert_eq!((captured, refunded), (true, 5));
}

#[test]
fn a_declined_charge_is_not_paid_and_the_tenth_decline_is_the_last() {
    let mut provider = Provider::default();
    ask(&mut provider, Api::create_intent("o", 5), 0);
    let told = |provider: &mut Provider| status(&ask(provider, Api::retrieve("pi_0"), 0));
    for _ in 0..9 {
        ask(&mut provider, Api::confirm("pi_0", "pm_declined"), 0);
    }
    assert_eq!(told(&mut provider), "requires_payment_method");
    ask(&mut provider, Api::confirm("pi_0", "pm_declined"), 0);
    assert_eq!(told(&mut provider), "canceled");
    assert!(provider.charges().all(|(_, charge)| !charge.paid && !charge.captured));
}

#[test]
fn the_newest_event_is_listed_first() {
    let mut provider = Provider::default();
    ask(&mut provider, Api::create_intent("o", 5), 0);
    ask(&mut provider, Api::confirm("pi_0", "pm_card"), 1_000_000);
    let listed = ask(&mut provider, Api::events(""), 2_000_000);
    let listed = listed.get("events").map(Value::to_string).unwrap_or_default();
    let place = |kind: &str| listed.find(kind).unwrap_or_else(|| panic!("{kind} is not in {listed}"));
    assert!(
        place("payment_intent.succeeded") < place("payment_intent.created"),
        "{listed}"
    );
}
