//! Answers as a scripted server gives them, byte by byte: what no real server does on demand.

use tokio_postgres::{Config, NoTls};
use tokio_test::io::Builder;

use super::{Answer, collect};

/// A message of the protocol: its letter, its length, its body.
fn message(letter: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short message");
    [&[letter], length.to_be_bytes().as_slice(), body].concat()
}

/// Sends `SELECT 1` to a server that lets anybody in, answers with `reply`, and then closes the connection.
fn answered(reply: &[u8]) -> Answer {
    let startup = b"\0\x03\0\0client_encoding\0UTF8\0user\0ada\0\0";
    let startup = [(startup.len() as u32 + 4).to_be_bytes().as_slice(), startup].concat();
    let (welcome, ready) = (message(b'R', &[0; 4]), message(b'Z', b"I"));
    let server = Builder::new()
        .write(&startup)
        .read(&[welcome, ready].concat())
        .write(&message(b'Q', b"SELECT 1\0"))
        .read(reply)
        .build();
    tokio_test::block_on(async {
        let connected = Config::new().user("ada").connect_raw(server, NoTls).await;
        let (client, connection) = connected.expect("it lets anybody in");
        tokio::spawn(connection);
        collect(client.simple_query_raw("SELECT 1").await.expect("it is sent")).await
    })
}

/// One column of type `integer`, and one row with 1.
fn one_row() -> Vec<u8> {
    let column = b"\0\x01one\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0";
    [message(b'T', column), message(b'D', b"\0\x01\0\0\0\x011")].concat()
}

#[test]
fn an_answer_has_its_rows_and_its_count() {
    let reply = [one_row(), message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
    let answer = answered(&reply);
    assert_eq!(answer.error, None);
    let rows = answer.rows("a test").expect("rows");
    assert_eq!(rows, [[Some("1".into())]]);
}

#[test]
fn an_error_is_told_with_its_code() {
    let body = b"SERROR\0VERROR\0C23505\0Mduplicate key\0ncustomers_pkey\0\0";
    let error = answered(&[message(b'E', body), message(b'Z', b"E")].concat())
        .error
        .expect("an error");
    assert_eq!((&*error.code, &*error.message), ("23505", "duplicate key"));
    assert_eq!(error.constraint.as_deref(), Some("customers_pkey"));
}

#[test]
fn a_connection_that_breaks_in_the_middle_of_an_answer_is_lost_and_no_success() {
    let whole = [one_row(), message(b'C', b"SELECT 1\0")].concat();
    for cut in [0, 1, one_row().len(), whole.len() - 3] {
        let answer = answered(&whole[..cut]);
        let error = answer
            .error
            .unwrap_or_else(|| panic!("cut after {cut} bytes it is a success"));
        assert_eq!((&*error.severity, &*error.code), ("FATAL", "08006"), "{error}");
        assert!(answer.results.is_empty(), "cut after {cut} bytes it has a result");
    }
}
