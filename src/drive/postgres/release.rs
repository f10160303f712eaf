//! Which release of the model a server is like, asked of its behaviour: version numbers say nothing of patches.

use tokio_postgres::{Config, SimpleQueryMessage};

use super::source::{blocking, connect, told};
use crate::world::database::Release;

/// One session asks itself what an INSERT that does nothing has marked. Not a temporary table: nothing marks those.
const CONFLICTING_ROW: [&str; 3] = [
    "CREATE TABLE probe (id int PRIMARY KEY); INSERT INTO probe VALUES (1)",
    "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO probe VALUES (1) ON CONFLICT DO NOTHING",
    "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'SIReadLock' AND relation = 'probe'::regclass",
];

/// Asks a server, in a database of the probe's own.
pub(super) fn probe(config: &Config) -> Result<Release, String> {
    let config = config.clone();
    blocking(async move || {
        let client = connect(&config).await?;
        let mut answer = None;
        for sql in CONFLICTING_ROW {
            let messages = client.simple_query(sql).await.map_err(|error| told(&error))?;
            answer = messages.into_iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
        }
        match answer.as_deref() {
            Some("t") => Ok(Release {
                conflicting_row_is_read: true,
            }),
            Some("f") => Ok(Release {
                conflicting_row_is_read: false,
            }),
            other => Err(format!("the server does not tell what it has marked, but {other:?}")),
        }
    })
}
