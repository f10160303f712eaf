//! An axum service over sqlx.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// A request to redeem.
#[derive(Deserialize)]
pub struct Redeem {
    code: String,
    customer: String,
}

/// What was redeemed.
#[derive(Serialize)]
pub struct Redeemed {
    id: i64,
}

/// What goes wrong.
pub struct Failure(StatusCode, String);

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        (self.0, self.1).into_response()
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Failure {
        Failure(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

/// The service: as it was first written, and hardened.
pub fn app(pool: PgPool) -> Router {
    Router::new()
        .route("/redeem", post(redeem))
        .route("/v2/redeem", post(redeem_hardened))
        .with_state(pool)
}

async fn redeem(State(pool): State<PgPool>, Json(wish): Json<Redeem>) -> Result<Json<Redeemed>, Failure> {
    let mut transaction = pool.begin().await?;
    let left: Option<i32> = sqlx::query_scalar("select uses_left from vouchers where code = $1")
        .bind(&wish.code)
        .fetch_optional(&mut *transaction)
        .await?;
    match left {
        None => return Err(Failure(StatusCode::NOT_FOUND, "no such voucher".to_owned())),
        Some(0) => return Err(Failure(StatusCode::CONFLICT, "used up".to_owned())),
        Some(_) => {}
    }
    let id = sqlx::query_scalar("insert into redemptions (code, customer) values ($1, $2) returning id")
        .bind(&wish.code)
        .bind(&wish.customer)
        .fetch_one(&mut *transaction)
        .await?;
    sqlx::query("update vouchers set uses_left = uses_left - 1 where code = $1")
        .bind(&wish.code)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Json(Redeemed { id }))
}

async fn redeem_hardened(State(pool): State<PgPool>, Json(wish): Json<Redeem>) -> Result<Json<Redeemed>, Failure> {
    let mut transaction = pool.begin().await?;
    let taken = sqlx::query("update vouchers set uses_left = uses_left - 1 where code = $1 and uses_left > 0")
        .bind(&wish.code)
        .execute(&mut *transaction)
        .await?;
    if taken.rows_affected() == 0 {
        return Err(Failure(StatusCode::CONFLICT, "used up, or no such voucher".to_owned()));
    }
    let id = sqlx::query_scalar("insert into redemptions (code, customer) values ($1, $2) returning id")
        .bind(&wish.code)
        .bind(&wish.customer)
        .fetch_one(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Json(Redeemed { id }))
}
