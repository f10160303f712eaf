//! What real code keeps in memory, requests share in life and not while each is learned by itself: that is noticed, and there is no verdict then.

mod client;

use std::sync::atomic::{AtomicBool, Ordering};

use client::connect;
use deadheat::live::{Findings, Race, World};
use tokio_postgres::{Client, Error};

const ROOMS: &str = "create table rooms (id int primary key, seats int not null);";

/// Takes a seat if there is one: correct by itself.
async fn take(client: &Client) -> Result<u16, Error> {
    let update = "update rooms set seats = seats - 1 where id = 1 and seats > 0";
    Ok(if client.execute(update, &[]).await? == 1 {
        201
    } else {
        409
    })
}

fn rooms() -> Race {
    Race::new(ROOMS)
        .seed("insert into rooms values (1, 1)")
        .always("no seat too many", "select from rooms where seats < 0")
}

#[test]
fn without_memory_schedules_are_followed_with_all_requests_in_one_process() {
    let findings: Findings = rooms()
        .requests(2, async |world: World| take(&connect(&world).await).await)
        .crashes(1)
        .retries(1)
        .lost_replies(1)
        .run();
    assert_eq!(findings.failure(), None);
    let told = findings.to_string();
    assert!(
        told.contains("followed again with all requests in one process"),
        "{told}"
    );
}

#[test]
fn a_flag_in_memory_that_one_request_sets_and_another_reads_leaves_no_verdict() {
    static CLOSING: AtomicBool = AtomicBool::new(false);
    let close = async |world: World| -> Result<u16, Error> {
        let client = connect(&world).await;
        client.query("select seats from rooms where id = 1", &[]).await?;
        CLOSING.store(true, Ordering::SeqCst);
        client.execute("update rooms set seats = 0 where id = 1", &[]).await?;
        CLOSING.store(false, Ordering::SeqCst);
        Ok(200)
    };
    let join = async |world: World| -> Result<u16, Error> {
        let client = connect(&world).await;
        client.query("select id from rooms where id = 1", &[]).await?;
        match CLOSING.load(Ordering::SeqCst) {
            true => Ok(423),
            false => take(&client).await,
        }
    };
    let failure = rooms()
        .request("close", close)
        .request("join", join)
        .run()
        .failure()
        .expect("no verdict");
    assert!(failure.starts_with("no verdict: by itself, `join` does "), "{failure}");
    assert!(failure.contains("keeps something outside of the database"), "{failure}");
}

#[test]
fn two_kinds_of_request_that_wait_for_each_other_in_memory_leave_no_verdict() {
    // A turnstile that is shut while a refund is under way. Two refunds pass through it together.
    static REFUNDING: AtomicBool = AtomicBool::new(false);
    static OPENED: tokio::sync::Notify = tokio::sync::Notify::const_new();
    let refund = async |world: World| -> Result<u16, Error> {
        let client = connect(&world).await;
        REFUNDING.store(true, Ordering::SeqCst);
        client
            .execute("update rooms set seats = seats + 1 where id = 1", &[])
            .await?;
        REFUNDING.store(false, Ordering::SeqCst);
        OPENED.notify_waiters();
        Ok(200)
    };
    let buy = async |world: World| -> Result<u16, Error> {
        let client = connect(&world).await;
        client.query("select id from rooms where id = 1", &[]).await?;
        while REFUNDING.load(Ordering::SeqCst) {
            OPENED.notified().await;
        }
        take(&client).await
    };
    let failure = rooms()
        .request("refund", refund)
        .request("buy", buy)
        .run()
        .failure()
        .expect("no verdict");
    let said = failure.starts_with("no verdict: ")
        || failure.contains("not deterministic")
        || failure.contains("never answers");
    assert!(said, "{failure}");
}
