//! An axum service over sqlx, as a stranger would test it.

use axum::body::Body;
use axum::http::Request;
use deadheat::live::{Race, World};
use live_clients::over_sqlx::app;
use tower::ServiceExt;

fn redeem(path: &'static str) -> Race {
    Race::new("")
        .migrations("migrations")
        .seed("insert into vouchers values ('WELCOME', 1)")
        .requests(2, move |world: World| async move {
            let body = Body::from(r#"{"code": "WELCOME", "customer": "ann"}"#);
            let request = Request::post(path).header("content-type", "application/json").body(body).expect("a request");
            app(sqlx::PgPool::connect_lazy(world.database_url()).expect("a pool")).oneshot(request).await
        })
        .always("redeemed once", "select code from redemptions group by code having count(*) > 1")
}

#[test]
fn as_it_was_written_a_voucher_is_redeemed_twice() {
    redeem("/redeem").expect_violation("redeemed once").check();
}

#[test]
fn hardened_it_is_redeemed_once_whatever_crashes() {
    redeem("/v2/redeem").crashes(1).lost_replies(1).check();
}
