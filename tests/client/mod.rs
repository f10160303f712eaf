//! Connects as code does that knows nothing of deadheat.

#![allow(unreachable_pub, reason = "each test file compiles this anew")]

use deadheat::live::World;
use tokio_postgres::{Client, NoTls};

/// A connection whose other half runs by itself.
pub async fn connect(world: &World) -> Client {
    let (client, connection) = tokio_postgres::connect(world.database_url(), NoTls)
        .await
        .expect("connected");
    tokio::spawn(connection);
    client
}
