//! The code of one process inside of a runtime: its future, its desk, and what it waits for when everything rests.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use tempfile::TempDir;

use crate::live::World;
use crate::live::wire::{self, Asked, Desk};
use crate::machine::{Reply, Response};
use crate::world::database::Database;

/// The future of one execution.
pub(crate) type Task = Pin<Box<dyn Future<Output = Option<Response>>>>;

/// Makes the future of an execution; the world is that execution's own.
pub(crate) type Make = Arc<dyn Fn(World) -> Task + Send + Sync>;

/// How many turns of the driver have to go by without anything from the code: one finds what was written to it, one what it wrote then.
const TURNS: u32 = 4;

/// Deep futures of builds without optimisation need more than the usual.
pub(super) const STACK: usize = 8 << 20;

/// What the hook of the runtime and the conductor share.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    waker: Mutex<Option<Waker>>,
    turns: AtomicU32,
    /// The next sleep of the runtime is a real one, so that its clock moves on.
    pub(super) pass: AtomicBool,
}

impl Pulse {
    /// The runtime is about to sleep. Woken here, it only looks once whether there is something to do.
    pub(super) fn park(&self) {
        if self.pass.swap(false, Ordering::SeqCst) {
            return;
        }
        self.turns.fetch_add(1, Ordering::SeqCst);
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }

    /// Who is woken then.
    pub(super) fn wakes(&self, context: &Context<'_>) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.waker().clone());
    }

    /// Whether a turn went by since this was asked.
    pub(super) fn has_turned(&self) -> bool {
        self.turns.swap(0, Ordering::SeqCst) > 0
    }
}

/// Finds out that everything rests: so many turns went by without anything from the code.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    stirs: u64,
    turns: u32,
}

impl Quiet {
    /// Something moved.
    pub(super) fn end(&mut self) {
        self.turns = 0;
    }

    /// Whether everything rests, now that a turn went by and so much happened on the sockets.
    pub(super) fn is_rest(&mut self, stirs: u64) -> bool {
        self.turns = if stirs == self.stirs { self.turns + 1 } else { 0 };
        self.stirs = stirs;
        self.turns >= TURNS
    }
}

/// What the code waits for at a rest, as far as that can be seen without letting time pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// A statement waits, the first of so many.
    Statement(Asked, usize),
    /// It has come to its end, with an answer if it has one to give.
    Answer(Option<Response>),
    /// What it did can't be answered truthfully.
    Refused(String),
}

/// The code of one process.
pub(super) struct Member {
    task: Option<Task>,
    /// What it answered, until that is told.
    answer: Option<Option<Response>>,
    /// Whether its answer was told and taken.
    pub(super) answered: bool,
    desk: Arc<Desk>,
    _folder: TempDir,
}

impl Member {
    /// Starts the code, against an endpoint of its own. Needs the runtime's context.
    ///
    /// # Errors
    /// When there can be no socket.
    pub(super) fn start(make: &Make, database: Arc<Database>) -> std::io::Result<Member> {
        let folder = tempfile::Builder::new().prefix("deadheat").tempdir()?;
        let desk = Arc::new(Desk::default());
        wire::listen(folder.path(), database, desk.clone())?;
        let world = World::new(folder.path());
        let (task, answer) = match catch_unwind(AssertUnwindSafe(|| make(world))) {
            Ok(task) => (Some(task), None),
            Err(payload) => (None, Some(Some(panicked(&*payload)))),
        };
        Ok(Member {
            task,
            answer,
            answered: false,
            desk,
            _folder: folder,
        })
    }

    /// Lets it go on; true when it came to its end now.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> bool {
        let Some(task) = &mut self.task else { return false };
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        let answer = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(answer)) => answer,
            Err(payload) => Some(panicked(&*payload)),
        };
        self.answer = Some(answer);
        self.task = None;
        true
    }

    /// How much happened on its sockets so far.
    pub(super) fn stirs(&self) -> u64 {
        self.desk.stirs()
    }

    /// What it waits for, now that everything in it waits; `None` where that is its timers, or nothing that can be seen.
    pub(super) fn waits(&self) -> Option<Waits> {
        if let Some(reason) = self.desk.refusal() {
            return Some(Waits::Refused(reason));
        }
        if let Some(answer) = &self.answer {
            return Some(Waits::Answer(answer.clone()));
        }
        let (asked, waiting) = self.desk.first()?;
        Some(Waits::Statement(asked, waiting))
    }

    /// Hands it the reply to what it waits for.
    pub(super) fn reply(&mut self, to: Option<Waits>, reply: Reply) {
        match (to, reply) {
            (Some(Waits::Statement(asked, _)), Reply::Sql(reply)) => self.desk.answer(asked.session, reply),
            (Some(Waits::Answer(_)), _) => {
                self.answer = None;
                self.answered = true;
            }
            _ => {}
        }
    }
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
