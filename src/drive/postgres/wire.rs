//! Connections to the server, one for each process, that are driven step by step.
//!
//! A message is launched on one connection and answered later; in between, the server's own view tells whether it is
//! blocked. Everything is one thread: nothing moves except while a method of [`Wires`] runs, so what is observed depends
//! on the server alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::poll_fn, pin_mut};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage, SimpleQueryStream};

use super::source::told;

/// A session's place: the order in which it was connected.
pub type Place = usize;

/// A control connection and the sessions.
#[derive(Debug)]
pub struct Wires {
    // Lines first: their clients end the connections' tasks while the runtime is still there.
    lines: Vec<Line>,
    control: Line,
    config: Config,
    runtime: Runtime,
}

/// What the server sent between answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A notice or warning: severity and primary message.
    Notice {
        /// `NOTICE`, `WARNING`, ...
        severity: Arc<str>,
        /// The primary message.
        text: Arc<str>,
    },
    /// A notification.
    Notification {
        /// The process id of the sending backend.
        sender: i32,
        /// The channel.
        channel: Arc<str>,
        /// The payload.
        payload: Arc<str>,
    },
}

/// The answer to one message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Answer {
    /// One entry for each statement that finished, and for one that failed while it returned rows.
    pub results: Vec<TextRows>,
    /// The error that ended it.
    pub error: Option<WireError>,
}

/// What one statement returned, as text.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TextRows {
    /// Column names; `None` for a statement that returns no result set.
    pub columns: Option<Vec<Arc<str>>>,
    /// Rows; `None` for NULL.
    pub rows: Vec<Vec<Option<Arc<str>>>>,
    /// The number in the command tag.
    pub affected: u64,
}

/// An error of the server or of the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{severity}:  {message} (SQLSTATE {code})")]
pub struct WireError {
    /// `ERROR`, `FATAL`; `FATAL` as well when the connection was lost.
    pub severity: Arc<str>,
    /// The SQLSTATE; 08006 when the connection was lost.
    pub code: Arc<str>,
    /// The primary message.
    pub message: Arc<str>,
    /// The constraint or index, where the server names one.
    pub constraint: Option<Arc<str>>,
}

/// The connections themselves failed; not an answer to a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WiresError {
    /// No connection.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// A statement of our own failed.
    #[error("{purpose}: {reason}")]
    Control {
        /// What it was for.
        purpose: &'static str,
        /// What the server said.
        reason: String,
    },
    /// A message did not finish in time.
    #[error("session {place} did not finish within {seconds} seconds")]
    TooLong {
        /// Whose.
        place: Place,
        /// The limit.
        seconds: u64,
    },
    /// Nothing was launched there.
    #[error("session {place} has no message under way")]
    Idle {
        /// Whose.
        place: Place,
    },
    /// Its last message is still under way.
    #[error("session {place} is still busy with its last message")]
    Busy {
        /// Whose.
        place: Place,
    },
    /// The runtime could not be made.
    #[error("no runtime: {0}")]
    Runtime(String),
}

#[derive(Debug)]
struct Line {
    client: Client,
    pid: i32,
    news: Arc<Mutex<Vec<News>>>,
    under_way: Option<UnderWay>,
}

#[derive(Debug)]
enum UnderWay {
    Running(oneshot::Receiver<Answer>),
    Finished(Answer),
}

/// No statement of any test or scenario takes as long.
const LIMIT: Duration = Duration::from_secs(300);

/// How often it is looked whether all wait who a starter lets go on.
const LOOKS: u32 = 60;

impl Wires {
    /// Connects the control connection. `settings` are sent to the server as it connects, here and for each session.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn open(mut config: Config, name: &str, settings: &[(&str, &str)]) -> Result<Wires, WiresError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| WiresError::Runtime(error.to_string()))?;
        let options: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("-c {name}={}", value.replace('\\', "\\\\").replace(' ', "\\ ")))
            .collect();
        config.options(options.join(" ")).application_name(name);
        let control = Line::connect(&runtime, &config)?;
        Ok(Wires {
            lines: Vec::new(),
            control,
            config,
            runtime,
        })
    }

    /// Connects one more session.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn connect(&mut self, name: &str) -> Result<Place, WiresError> {
        let mut config = self.config.clone();
        config.application_name(name);
        self.lines.push(Line::connect(&self.runtime, &config)?);
        Ok(self.lines.len() - 1)
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The server's process id of a session.
    pub fn pid(&self, place: Place) -> i32 {
        self.lines[place].pid
    }

    /// The session of a process id.
    pub fn place(&self, pid: i32) -> Option<Place> {
        self.lines.iter().position(|line| line.pid == pid)
    }

    /// Runs a message on the control connection to its end.
    pub fn control(&mut self, sql: &str) -> Answer {
        let stream = self.runtime.block_on(self.control.client.simple_query_raw(sql));
        self.runtime.block_on(async {
            match stream {
                Ok(stream) => collect(stream).await,
                Err(error) => Answer::lost(&error),
            }
        })
    }

    /// Sends a message of an idle session.
    pub fn launch(&mut self, place: Place, sql: &str) {
        let line = &mut self.lines[place];
        line.under_way = Some(match self.runtime.block_on(line.client.simple_query_raw(sql)) {
            Ok(stream) => {
                let (send, receive) = oneshot::channel();
                self.runtime.spawn(async move {
                    // The receiver is gone only when the session is.
                    let _ = send.send(collect(stream).await);
                });
                UnderWay::Running(receive)
            }
            Err(error) => UnderWay::Finished(Answer::lost(&error)),
        });
        // Lets the connection's task write it now: a message launched first should reach the server first.
        self.runtime.block_on(async {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Sends messages of several idle sessions at once: each session's one after the other without waiting for answers, and between a
    /// session and the next so many round trips of the control connection. The answers of each session, in the order of `messages`; `None` where
    /// they took longer than `limit`. A `starter` is in a transaction that they may wait for: it commits once all of them wait, or a moment later.
    ///
    /// # Errors
    /// When a session has a message under way.
    pub fn volley(
        &mut self,
        messages: &[(Place, Vec<String>)],
        gap: u32,
        starter: Option<Place>,
        limit: Duration,
    ) -> Result<Vec<Option<Vec<Answer>>>, WiresError> {
        if let Some((place, _)) = messages.iter().find(|(place, _)| self.busy(*place)) {
            return Err(WiresError::Busy { place: *place });
        }
        let free = self.who_is_free(messages.iter().map(|(place, _)| *place));
        let (lines, control) = (&self.lines, &self.control);
        Ok(self.runtime.block_on(async {
            let mut sessions = Vec::new();
            for (number, (place, statements)) in messages.iter().enumerate() {
                for _ in 0..if number == 0 { 0 } else { gap } {
                    // What it answers does not matter, only that it takes its time.
                    let _ = control.client.simple_query("").await;
                }
                let mut streams = Vec::new();
                for sql in statements {
                    streams.push(lines[*place].client.simple_query_raw(sql).await);
                }
                let answers = async {
                    let mut answers = Vec::new();
                    for stream in streams {
                        answers.push(match stream {
                            Ok(stream) => collect(stream).await,
                            Err(error) => Answer::lost(&error),
                        });
                    }
                    answers
                };
                sessions.push(tokio::time::timeout(limit, answers));
            }
            if let Some(starter) = starter {
                for _ in 0..LOOKS {
                    let wait = match control.client.simple_query_raw(&free).await {
                        Ok(stream) => collect(stream).await,
                        Err(error) => Answer::lost(&error),
                    };
                    if wait.results.iter().all(|result| result.rows.is_empty()) {
                        break;
                    }
                }
                // If the session is gone, so are its locks.
                let _ = lines[starter].client.simple_query("COMMIT").await;
            }
            let answers = futures_util::future::join_all(sessions).await;
            answers.into_iter().map(Result::ok).collect()
        }))
    }

    /// Whether a session has a message under way (finished or not) whose answer was not taken.
    pub fn busy(&self, place: Place) -> bool {
        self.lines[place].under_way.is_some()
    }

    /// Whether the session's message finishes within that time.
    ///
    /// # Errors
    /// When nothing was launched.
    pub fn finishes_within(&mut self, place: Place, limit: Duration) -> Result<bool, WiresError> {
        let line = &mut self.lines[place];
        let answer = match &mut line.under_way {
            None => return Err(WiresError::Idle { place }),
            Some(UnderWay::Finished(_)) => return Ok(true),
            Some(UnderWay::Running(receive)) => {
                // The timer needs the runtime's context when it is made, hence the block.
                match self
                    .runtime
                    .block_on(async { tokio::time::timeout(limit, receive).await })
                {
                    Err(_) => return Ok(false),
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Answer::failed("FATAL", "08006", "the connection was closed"),
                }
            }
        };
        line.under_way = Some(UnderWay::Finished(answer));
        Ok(true)
    }

    /// Waits for the session's message and takes its answer.
    ///
    /// # Errors
    /// When nothing was launched, or it takes longer than any statement should.
    pub fn answer(&mut self, place: Place) -> Result<Answer, WiresError> {
        if !self.finishes_within(place, LIMIT)? {
            let seconds = LIMIT.as_secs();
            return Err(WiresError::TooLong { place, seconds });
        }
        match self.lines[place].under_way.take() {
            Some(UnderWay::Finished(answer)) => Ok(answer),
            _ => Err(WiresError::Idle { place }),
        }
    }

    /// Waits until the session's message is finished, or the server says that it is blocked; the latter is its blockers.
    ///
    /// # Errors
    /// As [`Wires::answer`], and when the server cannot be asked.
    pub fn finished_or_blocked(&mut self, place: Place) -> Result<Option<Vec<Place>>, WiresError> {
        let start = Instant::now();
        loop {
            if self.finishes_within(place, Duration::ZERO)? {
                return Ok(None);
            }
            let blockers = self.blockers(place)?;
            // It may have finished while the server was asked.
            if !blockers.is_empty() && !self.finishes_within(place, Duration::ZERO)? {
                return Ok(Some(blockers));
            }
            if start.elapsed() > LIMIT {
                let seconds = LIMIT.as_secs();
                return Err(WiresError::TooLong { place, seconds });
            }
        }
    }

    /// Which sessions block that one, as `pg_blocking_pids` says.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn blockers(&mut self, place: Place) -> Result<Vec<Place>, WiresError> {
        let answer = self.control(&format!(
            "SELECT unnest(pg_catalog.pg_blocking_pids({}))",
            self.pid(place)
        ));
        let purpose = "asking who blocks a session";
        let rows = answer.rows(purpose)?;
        let pids = rows.iter().filter_map(|row| row.first()?.as_deref()?.parse().ok());
        let mut places: Vec<Place> = pids.filter_map(|pid| self.place(pid)).collect();
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Whether every one of these sessions is blocked. The server looks at one after the other.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn all_blocked(&mut self, places: &[Place]) -> Result<bool, WiresError> {
        for place in places {
            if self.busy(*place) && self.finishes_within(*place, Duration::ZERO)? {
                return Ok(false);
            }
        }
        let free = self.who_is_free(places.iter().copied());
        Ok(self.control(&free).rows("asking who blocks the sessions")?.is_empty())
    }

    /// The query for those of the sessions that nobody blocks.
    fn who_is_free(&self, places: impl Iterator<Item = Place>) -> String {
        let pids: Vec<String> = places.map(|place| self.pid(place).to_string()).collect();
        format!(
            "SELECT pid FROM unnest('{{{}}}'::int[]) AS pid WHERE cardinality(pg_catalog.pg_blocking_pids(pid)) = 0",
            pids.join(",")
        )
    }

    /// Terminates a session's backend and waits until it has let go of everything.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub fn kill(&mut self, place: Place) -> Result<(), WiresError> {
        let pid = self.pid(place);
        let purpose = "terminating a session";
        self.control(&format!("SELECT pg_catalog.pg_terminate_backend({pid})"))
            .rows(purpose)?;
        let start = Instant::now();
        // A backend leaves this view after it has released its locks.
        let gone = format!("SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = {pid}");
        while !self.control(&gone).rows(purpose)?.is_empty() {
            if start.elapsed() > LIMIT {
                let seconds = LIMIT.as_secs();
                return Err(WiresError::TooLong { place, seconds });
            }
        }
        Ok(())
    }

    /// Connects a session anew at the same place; its old connection is dropped.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn reconnect(&mut self, place: Place) -> Result<(), WiresError> {
        self.lines[place] = Line::connect(&self.runtime, &self.config)?;
        Ok(())
    }

    /// Takes what the server sent to a session between answers.
    pub fn news(&mut self, place: Place) -> Vec<News> {
        std::mem::take(&mut *locked(&self.lines[place].news))
    }
}

impl Line {
    fn connect(runtime: &Runtime, config: &Config) -> Result<Line, WiresError> {
        let failed = |error: tokio_postgres::Error| WiresError::Connect(told(&error));
        runtime.block_on(async {
            let (client, mut connection) = config.connect(NoTls).await.map_err(failed)?;
            let news = Arc::new(Mutex::new(Vec::new()));
            let inbox = Arc::clone(&news);
            tokio::spawn(async move {
                while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                    locked(&inbox).extend(news_of(message));
                }
            });
            let row = client.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await;
            Ok(Line {
                pid: row.map_err(failed)?.get(0),
                client,
                news,
                under_way: None,
            })
        })
    }
}

impl Answer {
    /// The rows of a statement of our own.
    ///
    /// # Errors
    /// When it failed.
    pub fn rows(self, purpose: &'static str) -> Result<Vec<Vec<Option<Arc<str>>>>, WiresError> {
        match self.error {
            Some(error) => Err(WiresError::Control {
                purpose,
                reason: error.to_string(),
            }),
            None => Ok(self.results.into_iter().next_back().unwrap_or_default().rows),
        }
    }

    fn failed(severity: &str, code: &str, message: &str) -> Answer {
        Answer {
            results: Vec::new(),
            error: Some(WireError {
                severity: severity.into(),
                code: code.into(),
                message: message.into(),
                constraint: None,
            }),
        }
    }

    fn lost(error: &tokio_postgres::Error) -> Answer {
        Answer {
            results: Vec::new(),
            error: Some(WireError::from(error)),
        }
    }
}

impl From<&tokio_postgres::Error> for WireError {
    fn from(error: &tokio_postgres::Error) -> WireError {
        match error.as_db_error() {
            Some(server) => WireError {
                severity: server.severity().into(),
                code: server.code().code().into(),
                message: server.message().into(),
                constraint: server.constraint().map(Into::into),
            },
            None => WireError {
                severity: "FATAL".into(),
                code: "08006".into(),
                message: told(error).into(),
                constraint: None,
            },
        }
    }
}

/// Reads an answer up to the server's "ready for query": an error is sent before the locks are released, this after.
async fn collect(stream: SimpleQueryStream) -> Answer {
    pin_mut!(stream);
    let mut answer = Answer::default();
    let mut current = TextRows::default();
    while let Some(message) = stream.next().await {
        match message {
            Ok(SimpleQueryMessage::RowDescription(columns)) => {
                current.columns = Some(columns.iter().map(|column| column.name().into()).collect());
            }
            Ok(SimpleQueryMessage::Row(row)) => {
                let values = (0..row.len()).map(|index| row.get(index).map(Arc::from));
                current.rows.push(values.collect());
            }
            Ok(SimpleQueryMessage::CommandComplete(affected)) => {
                current.affected = affected;
                answer.results.push(std::mem::take(&mut current));
            }
            Ok(_) => {}
            Err(error) => {
                // A connection that is lost ends the stream with an error again and again.
                if answer.error.is_some() {
                    break;
                }
                answer.error = Some(WireError::from(&error));
            }
        }
    }
    answer
}

fn news_of(message: AsyncMessage) -> Option<News> {
    match message {
        AsyncMessage::Notice(notice) => Some(News::Notice {
            severity: notice.severity().into(),
            text: notice.message().into(),
        }),
        AsyncMessage::Notification(notification) => Some(News::Notification {
            sender: notification.process_id(),
            channel: notification.channel().into(),
            payload: notification.payload().into(),
        }),
        _ => None,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
