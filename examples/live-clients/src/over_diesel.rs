//! The same over diesel-async.

use diesel::{ExpressionMethods, OptionalExtension, QueryDsl};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

diesel::table! {
    vouchers (code) {
        code -> Text,
        uses_left -> Int4,
    }
}

diesel::table! {
    redemptions (id) {
        id -> Int8,
        code -> Text,
        customer -> Text,
    }
}

/// Looks, and takes what it saw.
pub async fn redeem(url: &str, wish: &str) -> Result<u16, Box<dyn std::error::Error>> {
    let mut connection = AsyncPgConnection::establish(url).await?;
    let left: Option<i32> = vouchers::table
        .find(wish)
        .select(vouchers::uses_left)
        .first(&mut connection)
        .await
        .optional()?;
    if left.unwrap_or(0) == 0 {
        return Ok(409);
    }
    diesel::insert_into(redemptions::table)
        .values((redemptions::code.eq(wish), redemptions::customer.eq("ann")))
        .execute(&mut connection)
        .await?;
    diesel::update(vouchers::table.find(wish))
        .set(vouchers::uses_left.eq(vouchers::uses_left - 1))
        .execute(&mut connection)
        .await?;
    Ok(200)
}
