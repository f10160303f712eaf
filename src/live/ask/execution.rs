//! One execution of the code, on a thread and a runtime of its own, that stops whenever everything in it waits for a reply.
//!
//! **Rest.** The runtime is `current_thread`, so nothing in it moves while this thread does something else, and it says each time that it is about to sleep because no
//! task can run. Whatever was written to a socket is readable at once, and one turn of the driver finds it. So when some turns in a row went by and nothing came
//! from the code, then everything in it waits: for a held statement, for the clock, or for what deadheat does not see.
//!
//! **Time** is virtual and passes only where the code waits for nothing else.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, Sleep, sleep};

use crate::live::World;
use crate::live::wire::{self, Asked, Desk};
use crate::machine::{Reply, Response};
use crate::world::database::Database;

/// The future of one execution.
pub(crate) type Task = Pin<Box<dyn Future<Output = Option<Response>>>>;

/// Makes the future of an execution; the world is that execution's own.
pub(crate) type Make = Arc<dyn Fn(World) -> Task + Send + Sync>;

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

/// How many turns of the driver have to go by without anything from the code: one finds what was written to it, one what it wrote then.
const TURNS: u32 = 4;

/// How long the code may wait in virtual time for nothing but its own timers.
const HORIZON: Duration = Duration::from_secs(3600);

/// No code computes for so long between two statements, by the clock on the wall.
const LIMIT: Duration = Duration::from_secs(60);

/// Deep futures of builds without optimisation need more than the usual.
const STACK: usize = 8 << 20;

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

/// What the hook of the runtime and the conductor share.
#[derive(Debug, Default)]
struct Pulse {
    waker: Mutex<Option<Waker>>,
    turns: AtomicU32,
    /// The next sleep of the runtime is a real one, so that its clock moves on.
    pass: AtomicBool,
}

impl Pulse {
    /// The runtime is about to sleep. Woken here, it only looks once whether there is something to do.
    fn park(&self) {
        if self.pass.swap(false, Ordering::SeqCst) {
            return;
        }
        self.turns.fetch_add(1, Ordering::SeqCst);
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}

fn run(make: &Make, database: Arc<Database>, orders: Receiver<Reply>, tell: Sender<Told>) -> std::io::Result<()> {
    let folder = tempfile::Builder::new().prefix("deadheat").tempdir()?;
    let pulse = Arc::new(Pulse::default());
    let hook = pulse.clone();
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .on_thread_park(move || hook.park())
        .build()?;
    let desk = Arc::new(Desk::default());
    runtime.block_on(async {
        wire::listen(folder.path(), database, desk.clone())?;
        let world = World::new(folder.path());
        let made = catch_unwind(AssertUnwindSafe(|| make(world)));
        let (task, answer) = match made {
            Ok(task) => (Some(task), None),
            Err(payload) => (None, Some(Some(panicked(&*payload)))),
        };
        let conductor = Conductor {
            task,
            answer,
            desk: desk.clone(),
            pulse,
            orders,
            tell,
            since: Instant::now(),
            seen: 0,
            quiet: 0,
            guard: None,
            expired: false,
            answered: false,
        };
        conductor.await;
        std::io::Result::Ok(())
    })?;
    // Threads of `spawn_blocking` may still wait for an answer that never comes.
    runtime.shutdown_background();
    Ok(())
}

fn panicked(payload: &(dyn Any + Send)) -> Response {
    let known = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Response::new(
        500,
        format!("panicked: {}", known.as_deref().unwrap_or("without a message")),
    )
}

/// Runs the code and stops it at each rest.
struct Conductor {
    task: Option<Task>,
    /// What it answered, until that is told.
    answer: Option<Option<Response>>,
    answered: bool,
    desk: Arc<Desk>,
    pulse: Arc<Pulse>,
    orders: Receiver<Reply>,
    tell: Sender<Told>,
    since: Instant,
    seen: u64,
    quiet: u32,
    guard: Option<Pin<Box<Sleep>>>,
    expired: bool,
}

impl Future for Conductor {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        *this.pulse.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
        if let Some(task) = &mut this.task {
            let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
            let answer = match polled {
                Ok(Poll::Pending) => None,
                Ok(Poll::Ready(answer)) => Some(answer),
                Err(payload) => Some(Some(panicked(&*payload))),
            };
            if answer.is_some() {
                this.answer = answer;
                this.task = None;
                this.quiet = 0;
            }
        }
        if let Some(guard) = &mut this.guard
            && guard.as_mut().poll(context).is_ready()
        {
            this.guard = None;
            this.expired = true;
        }
        if this.pulse.turns.swap(0, Ordering::SeqCst) == 0 {
            return Poll::Pending;
        }
        let stirs = this.desk.stirs();
        this.quiet = if stirs == this.seen { this.quiet + 1 } else { 0 };
        this.seen = stirs;
        if this.quiet < TURNS {
            return Poll::Pending;
        }
        this.quiet = 0;
        let Some((next, waiting)) = this.next() else {
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
        let told = Told {
            slept: match next {
                Next::End | Next::Broken(_) => 0,
                _ => this.since.elapsed().as_micros() as i64,
            },
            waiting,
            next: next.clone(),
        };
        let is_last = matches!(next, Next::End | Next::Broken(_));
        if this.tell.send(told).is_err() || is_last {
            return Poll::Ready(());
        }
        // Nothing else moves in this runtime meanwhile: this is its only thread.
        let Ok(reply) = this.orders.recv() else {
            return Poll::Ready(());
        };
        match (next, reply) {
            (Next::Sql(asked), Reply::Sql(reply)) => this.desk.answer(asked.session, reply),
            _ => this.answered = true,
        }
        this.since = Instant::now();
        this.guard = None;
        this.expired = false;
        Poll::Pending
    }
}

impl Conductor {
    /// What the code waits for, now that everything in it waits; `None` where time may pass.
    fn next(&mut self) -> Option<(Next, usize)> {
        if let Some(reason) = self.desk.refusal() {
            return Some((Next::Broken(reason), 0));
        }
        if let Some(answer) = self.answer.take() {
            return Some((Next::Answer(answer), 0));
        }
        if let Some((asked, waiting)) = self.desk.first() {
            return Some((Next::Sql(asked), waiting));
        }
        match (self.expired, self.answered) {
            (false, _) => None,
            (true, true) => Some((Next::End, 0)),
            (true, false) => {
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
