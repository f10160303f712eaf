//! The payments of a shop, over async-stripe. Nothing of it knows of deadheat.

use stripe::{Client, IdempotencyKey, RequestStrategy, StripeError, StripeRequest as _};
use stripe_core::PaymentIntent;
use stripe_core::payment_intent::CreatePaymentIntent;
use stripe_types::Currency;

pub use {stripe, stripe_core, stripe_webhook};

/// Takes a payment for an order. A retry of the same order is the same payment.
pub async fn pay(client: &Client, order: &str, cents: i64, method: &str) -> Result<PaymentIntent, StripeError> {
    let key = IdempotencyKey::new(format!("order-{order}")).expect("a short key");
    CreatePaymentIntent::new(cents, Currency::EUR)
        .payment_method(method)
        .confirm(true)
        .metadata([("order".to_owned(), order.to_owned())])
        .customize()
        .request_strategy(RequestStrategy::Idempotent(key))
        .send(client)
        .await
}
