//! Unmodified async code over tokio-postgres is explored as it is.

mod client;

use client::connect;
use deadheat::live::{Race, World};
use tokio_postgres::Error;

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
fn a_bug_that_is_kept_is_expected_and_one_that_is_gone_is_missed() {
    vouchers().requests(2, redeem).expect_violation("redeemed once").check();
    let gone = vouchers()
        .requests(2, redeem_once)
        .expect_violation("redeemed once")
        .run();
    assert!(
        gone.failure()
            .expect("it is gone")
            .contains("is expected to be broken, and is kept")
    );
}

#[test]
fn the_code_runs_a_few_times_however_many_schedules_there_are() {
    let findings = vouchers().requests(3, redeem_once).crashes(1).lost_replies(1).run();
    assert_eq!(findings.failure(), None);
    let states = findings.finding().expect("explored").stats.states;
    // Each history is asked of two executions; a new pair is started only where none waits.
    assert!(findings.runs() <= 2 * findings.histories(), "{findings}");
    assert!(states > 10 * findings.histories(), "{findings}");
}

/// The registration of the design document: a key first, then the customer, the answer kept beside the key; tried again after a serialization failure.
async fn register(world: World) -> Result<(u16, String), Error> {
    let mut client = connect(&world).await;
    let transaction = client.transaction().await?;
    let key = transaction
        .execute("insert into keys (key) values ($1) on conflict do nothing", &[&"key-1"])
        .await?;
    if key == 0 {
        let answer = transaction
            .query_one("select answer from keys where key = $1", &[&"key-1"])
            .await?;
        transaction.commit().await?;
        return Ok(match answer.get::<_, Option<String>>(0) {
            Some(answer) => (201, answer),
            None => (409, "in progress".to_owned()),
        });
    }
    let known = transaction
        .query_opt("select 1 from customers where customer_id = $1", &[&"CUST_7890"])
        .await?;
    if known.is_none() {
        transaction
            .execute("insert into customers (customer_id) values ($1)", &[&"CUST_7890"])
            .await?;
    }
    transaction
        .execute("update keys set answer = 'created' where key = $1", &[&"key-1"])
        .await?;
    transaction.commit().await?;
    Ok((201, "created".to_owned()))
}

#[test]
fn a_registration_with_retries_and_every_fault_is_exhausted() {
    Race::new("create table customers (customer_id text); create table keys (key text primary key, answer text)")
        .requests(2, register)
        .retries(1)
        .crashes(1)
        .lost_replies(1)
        .timeouts(1)
        .always(
            "once",
            "select customer_id from customers group by customer_id having count(*) > 1",
        )
        .check();
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
