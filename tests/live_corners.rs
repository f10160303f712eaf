//! What real code does beside the straight path: a second connection, timers, threads, panics, values of its own. Each is explored, or refused in clear words.

mod client;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use client::connect;
use deadheat::live::{Findings, Race, World};
use tokio_postgres::{Error, NoTls};

const TABLE: &str = "create table items (id int primary key, owner uuid, at timestamptz, note text)";

fn race() -> Race {
    Race::new(TABLE).seed("insert into items (id) values (1)").always(
        "no item is lost",
        "select 1 where not exists (select from items where id = 1)",
    )
}

fn failure(race: Race) -> String {
    race.run().failure().expect("it fails")
}

fn holds(race: Race) -> Findings {
    let findings = race.run();
    if let Some(failure) = findings.failure() {
        panic!("{failure}");
    }
    findings
}

#[test]
fn a_transaction_that_is_dropped_is_rolled_back() {
    let code = async |world: World| -> Result<(), Error> {
        let mut client = connect(&world).await;
        let transaction = client.transaction().await?;
        transaction
            .execute("update items set note = 'dropped' where id = 1", &[])
            .await?;
        drop(transaction);
        client
            .execute("update items set note = 'kept' where id = 1", &[])
            .await?;
        Ok(())
    };
    holds(
        race()
            .requests(2, code)
            .always("nothing uncommitted", "select from items where note = 'dropped'"),
    );
}

#[test]
fn a_connection_that_is_dropped_gives_its_locks_back() {
    let code = async |world: World| -> Result<(), Error> {
        let client = connect(&world).await;
        client.batch_execute("begin").await?;
        client
            .execute("update items set note = 'dropped' where id = 1", &[])
            .await?;
        drop(client);
        let client = connect(&world).await;
        client
            .execute("update items set note = 'kept' where id = 1", &[])
            .await?;
        Ok(())
    };
    holds(
        race()
            .requests(1, code)
            .always("nothing uncommitted", "select from items where note = 'dropped'"),
    );
}

#[test]
fn a_second_connection_inside_of_a_transaction_waits_for_the_first_for_ever() {
    let code = async |world: World| -> Result<(), Error> {
        let (mut one, other) = (connect(&world).await, connect(&world).await);
        let transaction = one.transaction().await?;
        transaction
            .execute("update items set note = 'a' where id = 1", &[])
            .await?;
        other.execute("update items set note = 'b' where id = 1", &[]).await?;
        transaction.commit().await
    };
    let told = failure(race().requests(1, code));
    assert!(told.contains("nobody waits for ever is violated"), "{told}");
    assert!(told.contains("(connection 2) update items set note = 'b'"), "{told}");
}

#[test]
fn a_second_connection_does_not_see_what_the_first_has_not_committed() {
    let code = async |world: World| -> Result<String, Error> {
        let (mut one, other) = (connect(&world).await, connect(&world).await);
        let transaction = one.transaction().await?;
        transaction
            .execute("update items set note = 'a' where id = 1", &[])
            .await?;
        let seen = other.query_one("select note from items where id = 1", &[]).await?;
        transaction.commit().await?;
        Ok(format!("{:?}", seen.get::<_, Option<String>>(0)))
    };
    holds(
        race()
            .requests(1, code)
            .finally("committed reads", "select from responses where body <> 'None'"),
    );
}

#[test]
fn a_lock_timeout_of_the_start_up_options_strikes() {
    let code = async |world: World| -> Result<(), Error> {
        let mut config: tokio_postgres::Config = world.database_url().parse()?;
        config.options("-c lock_timeout=100ms");
        let (mut client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        let transaction = client.transaction().await?;
        transaction
            .execute("update items set note = 'a' where id = 1", &[])
            .await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        transaction.commit().await
    };
    let race = race().requests(2, code);
    let told = failure(race.finally("both succeed", "select from responses where status = 500"));
    assert!(told.contains("55P03"), "{told}");
    assert!(told.contains("sleeps 1 s"), "{told}");
}

#[test]
fn uuids_that_the_code_draws_are_its_own_in_each_process() {
    let code = async |world: World| -> Result<String, Error> {
        let client = connect(&world).await;
        let owner = uuid_of_its_own();
        let sql = "insert into items (id, owner) select max(id) + 1, $1::text::uuid from items returning owner::text";
        let back: String = client.query_one(sql, &[&owner]).await?.get(0);
        assert_eq!(back, owner);
        Ok(back)
    };
    let twice = "select owner from items where owner is not null group by owner having count(*) > 1";
    let race = race().requests(2, code).always("owners differ", twice);
    holds(race.finally_that("everybody got its own", |end| {
        let mut bodies: Vec<_> = end
            .responses()
            .into_iter()
            .filter(|(_, response)| response.status == 200)
            .map(|(_, response)| response.body)
            .collect();
        let count = bodies.len();
        bodies.sort();
        bodies.dedup();
        if bodies.len() == count {
            Ok(())
        } else {
            Err("two have the same".to_owned())
        }
    }));
}

/// A random version 4 UUID, without a crate for it.
fn uuid_of_its_own() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let random = || RandomState::new().build_hasher().finish();
    let (one, other) = (random(), random());
    let (one, other) = (one & !0xf000 | 0x4000, other & !(0xc << 60) | (0x8 << 60));
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        one >> 32,
        (one >> 16) & 0xffff,
        one & 0xffff,
        other >> 48,
        other & 0xffff_ffff_ffff
    )
}

#[test]
fn the_clock_of_the_code_is_the_worlds() {
    let code = async |world: World| -> Result<(), Error> {
        let client = connect(&world).await;
        let later = SystemTime::now() + Duration::from_secs(3600);
        client
            .execute("update items set at = $1 where id = 1", &[&later])
            .await?;
        Ok(())
    };
    holds(race().requests(1, code).finally(
        "an hour later",
        "select at from items where at <> '2026-01-01 01:00:00+00'",
    ));
}

#[test]
fn code_that_does_something_else_after_the_same_replies_is_an_error_with_both() {
    static CACHE: AtomicU32 = AtomicU32::new(0);
    let code = async |world: World| -> Result<(), Error> {
        let client = connect(&world).await;
        match CACHE.fetch_add(1, Ordering::SeqCst) {
            0 => client.execute("update items set note = 'a' where id = 1", &[]).await?,
            _ => client.execute("update items set note = 'b' where id = 1", &[]).await?,
        };
        Ok(())
    };
    let told = failure(race().requests(2, code));
    assert!(told.contains("not deterministic"), "{told}");
    assert!(told.contains("note = 'a'") && told.contains("note = 'b'"), "{told}");
}

#[test]
fn a_panic_is_an_answer_with_its_message() {
    let code = async |world: World| -> Result<(), Error> {
        let client = connect(&world).await;
        client.execute("update items set note = 'a' where id = 1", &[]).await?;
        panic!("the cart is empty");
    };
    let told = failure(
        race()
            .requests(1, code)
            .finally("no panic", "select body from responses where status = 500"),
    );
    assert!(told.contains("panicked: the cart is empty"), "{told}");
}

#[test]
fn code_that_never_answers_ends_with_what_it_waits_for() {
    let code = async |world: World| {
        let client = connect(&world).await;
        let _ = client.execute("update items set note = 'a' where id = 1", &[]).await;
        std::future::pending::<()>().await;
    };
    let told = failure(race().requests(1, code));
    assert!(told.contains("it never answers"), "{told}");
}

#[test]
fn statements_at_once_are_explored_one_after_the_other_and_that_is_told() {
    let code = async |world: World| -> Result<(), Error> {
        let (one, other) = (connect(&world).await, connect(&world).await);
        let first = one.execute("update items set note = 'a' where id = 1", &[]);
        let second = other.execute("insert into items (id) values (2) on conflict do nothing", &[]);
        let (first, second) = tokio::join!(first, second);
        first.and(second).map(|_| ())
    };
    let findings = holds(race().requests(2, code));
    assert!(
        findings
            .to_string()
            .contains("up to 2 statements of one process at once"),
        "{findings}"
    );
}

#[test]
fn what_a_request_spawns_goes_on_after_its_answer() {
    let code = async |world: World| -> Result<(), Error> {
        let client = connect(&world).await;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            client
                .execute("update items set note = 'mailed' where id = 1", &[])
                .await
        });
        Ok(())
    };
    holds(race().requests(1, code).finally(
        "mailed",
        "select from items where id = 1 and note is distinct from 'mailed'",
    ));
    let told = failure(race().requests(1, code).crashes(1).finally(
        "mailed",
        "select from items where id = 1 and note is distinct from 'mailed'",
    ));
    assert!(told.contains("mailed is violated"), "{told}");
}

#[test]
fn work_on_other_threads_of_the_runtime_is_waited_for() {
    let code = async |world: World| -> Result<(), Error> {
        let client = connect(&world).await;
        let hash =
            tokio::task::spawn_blocking(|| (0..2_000_000_u64).fold(7_u64, |hash, next| hash.wrapping_mul(31) ^ next));
        let note = hash.await.expect("hashed").to_string();
        client
            .execute("update items set note = $1 where id = 1", &[&note])
            .await?;
        Ok(())
    };
    holds(race().requests(2, code));
}

#[test]
fn sql_that_the_model_does_not_know_is_an_error_that_names_it() {
    let code = async |world: World| -> Result<(), Error> {
        connect(&world).await.execute("copy items from stdin", &[]).await?;
        Ok(())
    };
    let told = failure(race().requests(1, code));
    assert!(told.contains("copy items from stdin"), "{told}");
    assert!(told.contains("can't be judged"), "{told}");
}

#[test]
fn a_race_that_nothing_could_break_is_no_test() {
    let code = async |world: World| -> Result<(), Error> {
        connect(&world)
            .await
            .execute("update nothing set note = 'a'", &[])
            .await?;
        Ok(())
    };
    assert!(failure(race().requests(1, code)).contains("ever succeeds"));
    assert!(failure(Race::new(TABLE).requests(1, code)).contains("nothing is promised"));
    assert!(failure(race()).contains("nobody races"));
    assert!(failure(race().requests(1, code).expect_violation("typo")).contains("promised nowhere"));
}
