//! The protocol without a socket: what a client would read, message by message.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::conversation::Conversation;
use crate::machine::{Rows, SqlError, SqlState};
use crate::value::Value;
use crate::world::database::Database;

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend((body.len() as u32 + 4).to_be_bytes());
    bytes.extend(body);
    bytes
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// Binds a statement to the unnamed portal, everything as text.
fn bind(name: &str, values: &[&str]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_slice(format!("\0{name}\0").as_bytes());
    body.put_u16(0);
    body.put_u16(values.len() as u16);
    for value in values {
        body.put_u32(value.len() as u32);
        body.put_slice(value.as_bytes());
    }
    body.put_u16(0);
    message(b'B', &body)
}

fn execute(most: u32) -> Vec<u8> {
    message(b'E', &[&[0], &most.to_be_bytes()[..]].concat())
}

fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// A connection that is through its start.
fn started() -> Conversation {
    let mut database = Database::new();
    database
        .run_script("create table t (id int primary key, name text)")
        .expect("a schema");
    let mut talk = Conversation::new(Arc::new(database), 1);
    // SSLRequest, then the start-up message of protocol 3.0.
    talk.receive(&[&8_u32.to_be_bytes()[..], &80_877_103_u32.to_be_bytes()].concat());
    assert_eq!(talk.next(), Ok(None));
    assert_eq!(&talk.output()[..], b"N");
    let parameters = b"user\0ann\0\0";
    talk.receive(
        &[
            &(parameters.len() as u32 + 8).to_be_bytes()[..],
            &196_608_u32.to_be_bytes(),
            parameters,
        ]
        .concat(),
    );
    assert_eq!(talk.next(), Ok(None));
    let told = kinds(&talk.output());
    assert!(told.starts_with('R') && told.ends_with("KZ"), "{told}");
    talk
}

/// The kinds of the messages in what was sent.
fn kinds(mut bytes: &[u8]) -> String {
    let mut kinds = String::new();
    while let [kind, one, two, three, four, ..] = bytes {
        kinds.push(char::from(*kind));
        bytes = &bytes[1 + u32::from_be_bytes([*one, *two, *three, *four]) as usize..];
    }
    kinds
}

fn rows(rows: Vec<Vec<Value>>) -> Rows {
    Rows {
        affected: rows.len() as u64,
        rows,
        columns: Vec::new(),
    }
}

#[test]
fn only_an_execute_is_a_step() {
    let mut talk = started();
    talk.receive(
        &[
            parse("s", "select name from t where id = $1"),
            message(b'D', b"Ss\0"),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(talk.next(), Ok(None));
    assert_eq!(kinds(&talk.output()), "1tTZ");
    talk.receive(&[bind("s", &["7"]), execute(0), sync()].concat());
    let asked = talk.next().expect("served").expect("a step");
    assert_eq!(asked.params, [Value::Int(7)]);
    assert_eq!(kinds(&talk.output()), "2");
    assert_eq!(talk.next(), Ok(None), "nothing behind a held statement is looked at");
    talk.answer(Ok(rows(vec![vec![Value::text("ann")]]))).expect("answered");
    assert_eq!(talk.next(), Ok(None));
    assert_eq!(kinds(&talk.output()), "DCZ");
}

#[test]
fn pings_and_settings_without_effect_are_answered_at_once() {
    let mut talk = started();
    for (sql, told) in [
        ("", "IZ"),
        ("select 1", "TDCZ"),
        ("set application_name = 'x'", "CZ"),
        ("deallocate all", "CZ"),
    ] {
        talk.receive(&message(b'Q', format!("{sql}\0").as_bytes()));
        assert_eq!(talk.next(), Ok(None), "{sql}");
        assert_eq!(kinds(&talk.output()), told, "{sql}");
    }
    talk.receive(&message(b'Q', b"set lock_timeout = '1s'\0"));
    assert!(talk.next().expect("served").is_some(), "waits end otherwise then");
}

#[test]
fn after_an_error_everything_up_to_the_next_sync_is_passed_over() {
    let mut talk = started();
    talk.receive(
        &[
            parse("", "insert into t values (1)"),
            bind("", &[]),
            execute(0),
            execute(0),
            sync(),
        ]
        .concat(),
    );
    assert!(talk.next().expect("served").is_some());
    assert_eq!(kinds(&talk.output()), "12");
    talk.answer(Err(SqlError::new(SqlState::UNIQUE_VIOLATION, "duplicate")))
        .expect("answered");
    assert_eq!(kinds(&talk.output()), "E", "at once, and not at the Sync");
    assert_eq!(talk.next(), Ok(None));
    assert_eq!(kinds(&talk.output()), "Z");
}

#[test]
fn a_portal_hands_out_its_rows_by_and_by() {
    let mut talk = started();
    talk.receive(
        &[
            parse("", "select id from t"),
            bind("", &[]),
            execute(1),
            execute(1),
            execute(1),
            sync(),
        ]
        .concat(),
    );
    assert!(talk.next().expect("served").is_some());
    talk.answer(Ok(rows(vec![vec![Value::Int(1)], vec![Value::Int(2)]])))
        .expect("answered");
    assert_eq!(talk.next(), Ok(None), "it runs once");
    assert_eq!(kinds(&talk.output()), "12DsDsCZ");
}

#[test]
fn the_status_follows_the_transaction() {
    let mut talk = started();
    let mut ask = |sql: &str, reply: Result<Rows, SqlError>| {
        talk.receive(&message(b'Q', format!("{sql}\0").as_bytes()));
        assert!(talk.next().expect("served").is_some(), "{sql}");
        talk.answer(reply).expect("answered");
        talk.output().last().copied().map(char::from)
    };
    assert_eq!(ask("begin", Ok(rows(Vec::new()))), Some('T'));
    assert_eq!(
        ask(
            "insert into t values (1)",
            Err(SqlError::new(SqlState::UNIQUE_VIOLATION, "duplicate"))
        ),
        Some('E')
    );
    assert_eq!(ask("commit", Ok(rows(Vec::new()))), Some('I'));
}

#[test]
fn a_client_that_goes_away_in_a_transaction_leaves_a_rollback() {
    let mut talk = started();
    talk.receive(&message(b'Q', b"begin\0"));
    assert!(talk.next().expect("served").is_some());
    talk.answer(Ok(rows(Vec::new()))).expect("answered");
    talk.close();
    assert_eq!(
        talk.next().expect("served").map(|sql| sql.text),
        Some("ROLLBACK".into())
    );
}

#[test]
fn what_can_not_be_answered_truthfully_is_refused_by_name() {
    for (bytes, word) in [
        (
            message(b'Q', b"insert into t values (1); insert into t values (2)\0"),
            "insert into t values (1)",
        ),
        (parse("", "listen x; notify x"), "NOTIFY"),
        (message(b'Q', b"copy t from stdin\0"), "copy t"),
        (vec![0xff; 32], "can't be read"),
    ] {
        let mut talk = started();
        talk.receive(&bytes);
        let refusal = talk.next().expect_err("refused").to_string();
        assert!(refusal.contains(word), "{refusal}");
    }
    let mut talk = started();
    let twice = [
        parse("", "insert into t values (1)"),
        bind("", &[]),
        execute(0),
        bind("", &[]),
        execute(0),
        sync(),
    ];
    talk.receive(&twice.concat());
    assert!(talk.next().expect("served").is_some());
    talk.answer(Ok(rows(Vec::new()))).expect("answered");
    let refusal = talk.next().expect_err("they would commit together").to_string();
    assert!(refusal.contains("pipelined"), "{refusal}");
}
