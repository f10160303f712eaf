//! The edge: a socket, a clock, and the desk behind one lock.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use super::answer::{Problem, error};
use super::courier::Courier;
use super::desk::{Desk, Fate, Taken};
use super::options::{Options, ServeError, Told};

/// How long a body may be, in bytes. The provider publishes no number.
pub const LONGEST_BODY: usize = 64 * 1024;
/// How long a client may take to send a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long requests that are under way when the server stops have, beside the latency.
const GRACE: Duration = Duration::from_secs(5);

/// A running provider. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a provider on a thread of its own.
    ///
    /// # Errors
    /// When the address can't be listened on or is none of the loopback interface, or webhooks can't be sent.
    pub fn start(options: Options) -> Result<Server, ServeError> {
        let asked = options.listen;
        if !asked.ip().is_loopback() && !options.beyond_loopback {
            return Err(ServeError::NotLoopback(asked));
        }
        let failed = |reason: io::Error| match reason.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse(asked),
            _ => ServeError::Failed { address: asked, reason },
        };
        let types = options.webhooks.as_ref().map(|endpoint| endpoint.types.clone());
        let courier = options
            .webhooks
            .map(|endpoint| Courier::new(endpoint, options.told.clone()));
        let courier = courier.transpose()?;
        let version = options.api_version.map(Arc::from);
        let desk = Desk::new(options.plan, &types.unwrap_or_default(), version);
        let listener = TcpListener::bind(asked).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            desk: Mutex::new(desk),
            clock: Clock::new(),
            latency: options.latency,
            courier,
            told: options.told,
            stopped: stopped.clone(),
        });
        let serving = move || {
            runtime.block_on(serve(listener, shared, stopped));
            // What is still under way (an answer that never comes, a webhook's next attempt) ends with the runtime.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new()
            .name("provider".to_owned())
            .spawn(serving)
            .map_err(failed)?;
        Ok(Server {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, lets requests that are under way end, and ends. Webhooks that are still to be tried are not.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    clock: Clock,
    latency: Duration,
    courier: Option<Courier>,
    told: Told,
    stopped: watch::Receiver<bool>,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time of day when the server started, and what went by since: it never goes back.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Duration,
    since: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock {
            began: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            since: Instant::now(),
        }
    }

    /// Microseconds since 1970.
    fn now(self) -> i64 {
        let now = self.began.saturating_add(self.since.elapsed());
        i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
    }

    fn seconds(self) -> i64 {
        self.now() / 1_000_000
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let grace = shared.latency.saturating_add(GRACE);
    let mut connections = tokio::task::JoinSet::new();
    let mut ending = stopped.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, Arc::clone(&shared), stopped.clone()));
                }
                // No descriptor is free, say: the connections that there are may end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            _ = ending.wait_for(|stopped| *stopped) => break,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    // Those that do not end in time are cut off with the runtime.
    let _ = tokio::time::timeout(grace, ended).await;
}

async fn converse(stream: TcpStream, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(LONGEST_BODY)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is its client's business: a lost reply is one of the ways.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// The response is lost: the connection closes.
#[derive(Debug, thiserror::Error)]
#[error("the reply is lost")]
struct LostReply;

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, LostReply> {
    let (parts, body) = request.into_parts();
    let line = format!("{} {}", parts.method, parts.uri.path());
    let collected = tokio::time::timeout(PATIENCE, Limited::new(body, LONGEST_BODY).collect()).await;
    let body = match collected {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(reason)) if reason.is::<LengthLimitError>() => {
            let message = format!("A body has at most {LONGEST_BODY} bytes.");
            return Ok(refused(StatusCode::PAYLOAD_TOO_LARGE, &message));
        }
        Ok(Err(_)) => return Err(LostReply),
        Err(_) => return Ok(refused(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.")),
    };
    let ends = tokio::time::Instant::now() + shared.latency;
    let taken = {
        let mut desk = shared.desk();
        // Inside of the lock, so that moments come in order.
        let now = shared.clock.now();
        desk.take(&Request::from_parts(parts, body), now)
    };
    let called = match &taken.call {
        Some((operation, number)) => format!("{operation}#{number}"),
        None => line,
    };
    shared.told.say(|| {
        let faults: Vec<&str> = taken.faults.iter().map(|fault| fault.name()).collect();
        match faults.is_empty() {
            true => called.clone(),
            false => format!("{called}: {}", faults.join(", ")),
        }
    });
    // It can't fail but with the server.
    let _ = go_on(&shared, &taken, ends).await;
    let status = taken.response.status().as_u16();
    match taken.fate {
        Fate::Answered => {
            shared.told.say(|| format!("{called} → {status}"));
            Ok(taken.response.map(|body| Full::new(Bytes::from(body))))
        }
        Fate::Lost => {
            shared.told.say(|| format!("{called} → (lost)"));
            Err(LostReply)
        }
        Fate::Silence => {
            let _ = shared.stopped.clone().wait_for(|stopped| *stopped).await;
            Err(LostReply)
        }
    }
}

/// What goes on whatever becomes of the request's connection: its key is in use until its answer goes out, and its webhooks are sent. Says when the answer goes out.
fn go_on(shared: &Arc<Shared>, taken: &Taken, ends: tokio::time::Instant) -> oneshot::Receiver<()> {
    let (goes_out, out) = oneshot::channel();
    let (webhooks, first, holds) = (taken.webhooks.clone(), taken.webhook_first, taken.holds.clone());
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let seconds = || shared.clock.seconds();
        let courier = shared.courier.as_ref().filter(|_| !webhooks.is_empty());
        let tried = match courier.filter(|_| first) {
            Some(courier) => Some(courier.round(webhooks.clone(), 1, seconds).await),
            None => None,
        };
        tokio::time::sleep_until(ends).await;
        if let Some(key) = &holds {
            shared.desk().release(key);
        }
        // Nobody waits for it if the client is gone.
        let _ = goes_out.send(());
        if let Some(courier) = courier {
            let left = match tried {
                Some(left) => left,
                None => courier.round(webhooks, 1, seconds).await,
            };
            courier.retry(left, seconds).await;
        }
    });
    out
}

fn refused(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    error(status, &Problem::of(message)).map(|body| Full::new(Bytes::from(body)))
}
