//! One execution of the code, on a thread and a runtime of its own, that stops whenever everything in it waits for a reply.
//!
//! **Rest.** The runtime is `current_thread`, so nothing in it moves while this thread does something else, and it says each time that it is about to sleep because no
//! task can run. Whatever was written to a socket is readable at once, and one turn of the driver finds it. So when some turns in a row went by and nothing came
//! from the code, then everything in it waits: for a held statement, for the clock, or for what deadheat does not see.
//!
//! **Time** is virtual and passes only where the code waits for nothing else.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, Sleep, sleep};

use super::member::{Make, Member, Pulse, Quiet, STACK, Waits};
use crate::live::wire::Asked;
use crate::machine::{Reply, Response};
use crate::world::database::Database;

/// What the code does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It waits for a statement.
    Sql(Asked),
    /// It has slept, in microseconds; what it did then is known already.
    Sleep(i64),
    /// It has come to its end, with an answer if it has one to give; what it started may go on.
    Answer(Option<Response>),
    /// Nothing is left of it.
    End,
    /// It will never go on, or it can't be said how.
    Broken(String),
}

impl From<Waits> for Next {
    fn from(waits: Waits) -> Next {
        match waits {
            Waits::Statement(asked, _) => Next::Sql(asked),
            Waits::Answer(answer) => Next::Answer(answer),
            Waits::Refused(reason) => Next::Broken(reason),
        }
    }
}

/// What an execution tells when it has come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// How long it has slept before, in microseconds.
    pub(super) slept: i64,
    /// How many statements wait at once.
    pub(super) waiting: usize,
    /// What comes next.
    pub(super) next: Next,
}

/// A running execution. Dropped, it ends as a process that crashes: its tasks are dropped where they wait.
#[derive(Debug)]
pub(super) struct Execution {
    replies: Sender<Reply>,
    told: Receiver<Told>,
}

/// How long the code may wait in virtual time for nothing but its own timers.
const HORIZON: Duration = Duration::from_secs(3600);

/// No code computes for so long between two statements, by the clock on the wall.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

impl Execution {
    /// Starts the code.
    pub(super) fn start(make: Make, database: Arc<Database>) -> Execution {
        let (replies, orders) = channel();
        let (tell, told) = channel();
        let failed = tell.clone();
        let run = move || {
            if let Err(error) = run(&make, database, orders, tell.clone()) {
                broken(&tell, format!("the endpoint can't be opened: {error}"));
            }
        };
        if let Err(error) = thread::Builder::new()
            .name("live".to_owned())
            .stack_size(STACK)
            .spawn(run)
        {
            broken(&failed, format!("a thread can't be started: {error}"));
        }
        Execution { replies, told }
    }

    /// What it does at its next rest.
    pub(super) fn rest(&self) -> Told {
        let next = match self.told.recv_timeout(LIMIT) {
            Ok(told) => return told,
            Err(RecvTimeoutError::Timeout) => format!(
                "it does not come to rest within {} s: it computes, or a thread of its own does",
                LIMIT.as_secs()
            ),
            Err(RecvTimeoutError::Disconnected) => "its runtime ended before it did".to_owned(),
        };
        Told {
            slept: 0,
            waiting: 0,
            next: Next::Broken(next),
        }
    }

    /// Hands it the reply to what it waits for.
    pub(super) fn reply(&self, reply: Reply) {
        // One that has ended says so at its next rest.
        let _ = self.replies.send(reply);
    }
}

fn broken(tell: &Sender<Told>, reason: String) {
    // Nobody listens when the asker is gone.
    let _ = tell.send(Told {
        slept: 0,
        waiting: 0,
        next: Next::Broken(reason),
    });
}

fn run(make: &Make, database: Arc<Database>, orders: Receiver<Reply>, tell: Sender<Told>) -> std::io::Result<()> {
    let pulse = Arc::new(Pulse::default());
    let runtime = runtime(&pulse)?;
    runtime.block_on(async {
        let conductor = Conductor {
            member: Member::start(make, database)?,
            pulse,
            orders,
            tell,
            since: Instant::now(),
            quiet: Quiet::default(),
            guard: None,
            expired: false,
        };
        conductor.await;
        std::io::Result::Ok(())
    })?;
    // Threads of `spawn_blocking` may still wait for an answer that never comes.
    runtime.shutdown_background();
    Ok(())
}

/// A runtime whose clock stands still, and that tells when it is about to sleep.
pub(super) fn runtime(pulse: &Arc<Pulse>) -> std::io::Result<Runtime> {
    let hook = pulse.clone();
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(move || hook.park())
        .build()
}

/// Runs the code and stops it at each rest.
struct Conductor {
    member: Member,
    pulse: Arc<Pulse>,
    orders: Receiver<Reply>,
    tell: Sender<Told>,
    since: Instant,
    quiet: Quiet,
    guard: Option<Pin<Box<Sleep>>>,
    expired: bool,
}

impl Future for Conductor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.pulse.wakes(context);
        if this.member.poll(context) {
            this.quiet.end();
        }
        if let Some(guard) = &mut this.guard
            && guard.as_mut().poll(context).is_ready()
        {
            this.guard = None;
            this.expired = true;
        }
        if !this.pulse.has_turned() || !this.quiet.is_rest(this.member.stirs()) {
            return Poll::Pending;
        }
        this.quiet.end();
        let waits = this.member.waits();
        let Some((next, waiting)) = this.next(waits.clone()) else {
            // It waits for its timers, or for nothing.
            if this.guard.is_none() {
                let mut guard = Box::pin(sleep(HORIZON));
                // Registers it; it can't be over yet.
                let _ = guard.as_mut().poll(context);
                this.guard = Some(guard);
            }
            this.pulse.pass.store(true, Ordering::SeqCst);
            return Poll::Pending;
        };
        let is_last = matches!(next, Next::End | Next::Broken(_));
        let told = Told {
            slept: match is_last {
                true => 0,
                false => this.since.elapsed().as_micros() as i64,
            },
            waiting,
            next,
        };
        if this.tell.send(told).is_err() || is_last {
            return Poll::Ready(());
        }
        // Nothing else moves in this runtime meanwhile: this is its only thread.
        let Ok(reply) = this.orders.recv() else {
            return Poll::Ready(());
        };
        this.member.reply(waits, reply);
        this.since = Instant::now();
        this.guard = None;
        this.expired = false;
        Poll::Pending
    }
}

impl Conductor {
    /// What the code waits for, now that everything in it waits; `None` where time may pass.
    fn next(&self, waits: Option<Waits>) -> Option<(Next, usize)> {
        match (waits, self.expired, self.member.answered) {
            (Some(waits), ..) => {
                let waiting = if let Waits::Statement(_, waiting) = &waits {
                    *waiting
                } else {
                    0
                };
                Some((waits.into(), waiting))
            }
            (None, false, _) => None,
            (None, true, true) => Some((Next::End, 0)),
            (None, true, false) => {
                let reason = format!(
                    "it never answers: for {} s of its own time it waits for something that is no statement and no timer (a lock or a channel of its own, \
                     another service)",
                    HORIZON.as_secs()
                );
                Some((Next::Broken(reason), 0))
            }
        }
    }
}
