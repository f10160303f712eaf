//! Unmodified async code over tokio-postgres is explored as it is.

use deadheat::live::{Race, World};
use tokio_postgres::{Client, Error, NoTls};

/// As code connects that knows nothing of deadheat.
async fn connect(world: &World) -> Client {
    let (client, connection) = tokio_postgres::connect(world.database_url(), NoTls)
        .await
        .expect("connected");
    tokio::spawn(connection);
    client
}

const VOUCHERS: &str = "create table vouchers (code text primary key, left_over int not null); create table redemptions (id bigint generated always as identity primary key, code text not null)";
const ONCE: &str = "select code from redemptions group by code having count(*) > 1";

/// Looks first and takes then.
async fn redeem(world: World) -> Result<u16, Error> {
    let client = connect(&world).await;
    let row = client
        .query_one("select left_over from vouchers where code = $1", &[&"WELCOME"])
        .await?;
    if row.get::<_, i32>(0) == 0 {
        return Ok(409);
    }
    client
        .execute("insert into redemptions (code) values ($1)", &[&"WELCOME"])
        .await?;
    client
        .execute(
            "update vouchers set left_over = left_over - 1 where code = $1",
            &[&"WELCOME"],
        )
        .await?;
    Ok(200)
}

/// Locks what it looks at.
async fn redeem_once(world: World) -> Result<u16, Error> {
    let mut client = connect(&world).await;
    let transaction = client.transaction().await?;
    let row = transaction
        .query_one(
            "select left_over from vouchers where code = $1 for update",
            &[&"WELCOME"],
        )
        .await?;
    if row.get::<_, i32>(0) == 0 {
        return Ok(409);
    }
    transaction
        .execute("insert into redemptions (code) values ($1)", &[&"WELCOME"])
        .await?;
    transaction
        .execute(
            "update vouchers set left_over = left_over - 1 where code = $1",
            &[&"WELCOME"],
        )
        .await?;
    transaction.commit().await?;
    Ok(200)
}

fn vouchers() -> Race {
    Race::new(VOUCHERS)
        .seed("insert into vouchers values ('WELCOME', 1)")
        .always("redeemed once", ONCE)
}

#[test]
fn a_race_is_found_and_told_with_the_codes_own_sql() {
    let findings = vouchers().requests(2, redeem).run();
    let failure = findings.failure().expect("a race");
    assert!(failure.contains("redeemed once is violated"), "{failure}");
    assert!(failure.contains("select left_over from vouchers"), "{failure}");
    assert!(failure.contains("DEADHEAT_REPLAY='"), "{failure}");
}

#[test]
fn hardened_code_holds_with_crashes_lost_replies_and_retries() {
    vouchers()
        .requests(2, redeem_once)
        .crashes(1)
        .lost_replies(1)
        .retries(1)
        .check();
}
