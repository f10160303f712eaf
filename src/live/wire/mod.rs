//! A Postgres server for unmodified clients whose statements are held until a schedule releases them.
//!
//! It listens on a Unix socket in a folder of its own, inside of the very runtime that runs the code under test. Bytes on such a socket are there for their
//! reader as soon as they are written, which is what makes it possible to know when everything has come to rest.

mod conversation;
mod desk;
#[cfg(test)]
mod tests;
mod told;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

pub(crate) use desk::{Asked, Desk};

use crate::world::database::Database;
use conversation::{Conversation, Refusal};
use told::BytesMut;

/// The port in the socket's name.
pub(crate) const PORT: u16 = 5432;

/// The path of the socket in its folder, as every client makes it from host and port.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join(format!(".s.PGSQL.{PORT}"))
}

/// Takes connections until it is dropped. Needs the runtime's context.
///
/// # Errors
/// When there can be no socket.
pub(crate) fn listen(folder: &Path, database: Arc<Database>, desk: Arc<Desk>) -> std::io::Result<()> {
    let listener = UnixListener::bind(socket(folder))?;
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            number += 1;
            desk.stir();
            let talk = Conversation::new(database.clone(), number);
            tokio::spawn(serve(stream, talk, number, desk.clone()));
        }
    });
    Ok(())
}

async fn serve(mut stream: UnixStream, mut talk: Conversation, number: i32, desk: Arc<Desk>) {
    if let Err(refusal) = converse(&mut stream, &mut talk, number, &desk).await {
        desk.refuse(refusal.to_string());
    }
    desk.forget(number);
}

async fn converse(stream: &mut UnixStream, talk: &mut Conversation, number: i32, desk: &Desk) -> Result<(), Refusal> {
    let mut open = true;
    let mut bytes = BytesMut::with_capacity(8192);
    loop {
        if let Some(sql) = talk.next()? {
            desk.ask(number, sql);
        }
        let output = talk.output();
        if open && !output.is_empty() && stream.write_all(&output).await.is_err() {
            open = false;
            talk.close();
        }
        desk.stir();
        let asking = desk.is_asking(number);
        if talk.is_over() && open {
            // The client sees the end of the connection now, not when its session is cleaned up.
            open = false;
            if stream.shutdown().await.is_err() {
                desk.stir();
            }
        }
        if !open && !asking {
            match talk.next()? {
                Some(sql) => desk.ask(number, sql),
                None => return Ok(()),
            }
        }
        bytes.clear();
        tokio::select! {
            biased;
            reply = desk.answer_for(number) => talk.answer(reply)?,
            read = stream.read_buf(&mut bytes), if open => match read {
                Ok(count) if count > 0 => talk.receive(&bytes),
                _ => {
                    open = false;
                    talk.close();
                }
            },
        }
    }
}
