//! Which release of the model a server is like, asked of its behaviour: version numbers say nothing of patches.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, SimpleQueryMessage};

use super::source::{blocking, connect, told};
use crate::world::database::Release;

/// One session asks itself what an INSERT that does nothing has marked. Not a temporary table: nothing marks those.
const CONFLICTING_ROW: [&str; 3] = [
    "CREATE TABLE probe (id int PRIMARY KEY); INSERT INTO probe VALUES (1)",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO probe VALUES (1) ON CONFLICT DO NOTHING",
    "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'probe'::regclass",
];

/// Two sessions read what the other one writes. The first has its number before its snapshot: it fails at its COMMIT if the second could
/// tell whose row it met. Number of the session, and what it says.
const EARLY_NUMBER: [(usize, &str); 4] = [
    (
        0,
        "CREATE TABLE locked (id int); CREATE TABLE skewed (id int); INSERT INTO skewed VALUES (1)",
    ),
    (
        0,
        "BEGIN ISOLATION LEVEL SERIALIZABLE; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE; SELECT count(*) FROM skewed; INSERT INTO skewed VALUES (2)",
    ),
    (
        1,
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(*) FROM skewed; INSERT INTO skewed VALUES (3)",
    ),
    (1, "COMMIT"),
];

/// Asks a server, in a database of the probe's own.
pub(super) fn probe(config: &Config) -> Result<Release, String> {
    let config = config.clone();
    blocking(async move || {
        Ok(Release {
            conflicting_row_is_read: conflicting_row_is_read(&config).await?,
            early_number_is_known: early_number_is_known(&config).await?,
        })
    })
}

async fn conflicting_row_is_read(config: &Config) -> Result<bool, String> {
    let client = connect(config).await?;
    let mut answer = None;
    for sql in CONFLICTING_ROW {
        let messages = client.simple_query(sql).await.map_err(|error| told(&error))?;
        answer = messages.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
    }
    match answer.as_deref() {
        Some("t") => Ok(true),
        Some("f") => Ok(false),
        other => Err(format!("the server does not tell what it has marked, but {other:?}")),
    }
}

async fn early_number_is_known(config: &Config) -> Result<bool, String> {
    let clients = [connect(config).await?, connect(config).await?];
    for (session, sql) in EARLY_NUMBER {
        clients[session]
            .batch_execute(sql)
            .await
            .map_err(|error| told(&error))?;
    }
    match clients[0].batch_execute("COMMIT").await {
        Ok(()) => Ok(false),
        Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => Ok(true),
        Err(error) => Err(told(&error)),
    }
}
