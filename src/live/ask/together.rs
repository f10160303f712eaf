//! The code of several processes in one runtime, which therefore share what they keep in memory: a static, a cache, a mutex.
//!
//! Nothing is learned here: a schedule that was found with each process by itself is followed step by step, and what the code does each time is compared with what it did
//! by itself. Whatever it does otherwise it took from another process past the database.
//!
//! The clock of this runtime hardly moves, so code that sleeps between its statements is followed up to there.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::drawn::Names;
use super::execution::{LIMIT, Next, runtime};
use super::member::{Make, Member, Pulse, Quiet, STACK, Waits};
use super::{Does, Learned, Node, is_known, tell, told};
use crate::machine::{Effect, Failure, Machine, Reply};
use crate::world::database::Database;

/// How far the clock moves at most before it is said that somebody waits for nothing that can be seen.
const MOMENT: Duration = Duration::from_millis(1);

/// What is done before everything rests again.
enum Order {
    /// Another process starts.
    Start(Make, Arc<Database>),
    /// A process gets its reply.
    Reply(usize, Reply),
    /// A process is no more.
    Drop(usize),
}

/// What every process waits for at a rest; `None` for its timers, or for nothing that can be seen.
type Rest = Vec<Option<Waits>>;

/// Several executions in one runtime. Dropped, all of them end.
#[derive(Debug)]
struct Several {
    orders: Sender<Order>,
    rests: Receiver<std::io::Result<Rest>>,
}

impl Several {
    fn start() -> std::io::Result<Several> {
        let (orders, incoming) = channel();
        let (tell, rests) = channel();
        let run = move || {
            if let Err(error) = run(incoming, &tell) {
                // Nobody listens when the asker is gone.
                let _ = tell.send(Err(error));
            }
        };
        thread::Builder::new()
            .name("live together".to_owned())
            .stack_size(STACK)
            .spawn(run)?;
        Ok(Several { orders, rests })
    }

    /// Gives an order, and waits until everything rests again.
    fn order(&self, order: Order) -> Result<Rest, String> {
        // A runtime that has ended says so at its next rest.
        let _ = self.orders.send(order);
        match self.rests.recv_timeout(LIMIT) {
            Ok(Ok(rest)) => Ok(rest),
            Ok(Err(error)) => Err(format!("the endpoint can't be opened: {error}")),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = LIMIT.as_secs();
                Err(format!(
                    "it does not come to rest within {seconds} s: it computes, or waits for a lock that blocks its thread"
                ))
            }
            Err(RecvTimeoutError::Disconnected) => Err("its runtime ended before it did".to_owned()),
        }
    }
}

fn run(orders: Receiver<Order>, tell: &Sender<std::io::Result<Rest>>) -> std::io::Result<()> {
    let pulse = Arc::new(Pulse::default());
    let runtime = runtime(&pulse)?;
    let ended = runtime.block_on(Conductor {
        members: Vec::new(),
        pulse,
        orders,
        tell: tell.clone(),
        moved: None,
        quiet: Quiet::default(),
        guard: None,
    });
    runtime.shutdown_background();
    ended
}

/// Runs the code of all and stops it at each rest.
struct Conductor {
    members: Vec<Option<Member>>,
    pulse: Arc<Pulse>,
    orders: Receiver<Order>,
    tell: Sender<std::io::Result<Rest>>,
    /// Who was just started or answered.
    moved: Option<usize>,
    quiet: Quiet,
    guard: Option<Pin<Box<Sleep>>>,
}

impl Future for Conductor {
    type Output = std::io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.pulse.wakes(context);
        // Before the first order there is nothing that could come to rest.
        if !this.members.is_empty() {
            for member in this.members.iter_mut().flatten() {
                if member.poll(context) {
                    this.quiet.end();
                }
            }
            let stirs = || this.members.iter().flatten().map(Member::stirs).sum();
            if !this.pulse.has_turned() || !this.quiet.is_rest(stirs()) {
                return Poll::Pending;
            }
            let waits = |member: &Option<Member>| member.as_ref().and_then(Member::waits);
            let moved = this.moved.and_then(|place| this.members.get(place)?.as_ref());
            if moved.is_some_and(|member| member.waits().is_none()) {
                // It may wait for a thread of its own, which holds the clock up: a moment passes only when that is done.
                let guard = this.guard.get_or_insert_with(|| Box::pin(sleep(MOMENT)));
                if guard.as_mut().poll(context).is_pending() {
                    this.pulse.pass.store(true, Ordering::SeqCst);
                    return Poll::Pending;
                }
            }
            this.guard = None;
            if this.tell.send(Ok(this.members.iter().map(waits).collect())).is_err() {
                return Poll::Ready(Ok(()));
            }
        }
        this.quiet.end();
        match this.orders.recv() {
            Ok(Order::Start(make, database)) => match Member::start(&make, database) {
                Ok(member) => {
                    this.moved = Some(this.members.len());
                    this.members.push(Some(member));
                }
                Err(error) => return Poll::Ready(Err(error)),
            },
            Ok(Order::Reply(place, reply)) => {
                this.moved = Some(place);
                if let Some(Some(member)) = this.members.get_mut(place) {
                    let waits = member.waits();
                    member.reply(waits, reply);
                }
            }
            Ok(Order::Drop(place)) => {
                if let Some(member) = this.members.get_mut(place) {
                    *member = None;
                }
            }
            Err(_) => return Poll::Ready(Ok(())),
        }
        // Whoever was just started or answered is looked at before the runtime sleeps.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// One run of all processes together, along a schedule.
#[derive(Clone, Debug, Default)]
pub(crate) struct Together(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    several: Option<Several>,
    rest: Rest,
    labels: Vec<Arc<str>>,
    /// The step that is taken, from 1; 0 before the first.
    step: usize,
    over: Option<Over>,
}

/// Why a run together was not followed to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The code does something else than by itself.
    Parted(String),
    /// It can't be followed further, and that says nothing.
    LeftOut,
}

impl Together {
    /// The schedule comes to this step, counted from 1.
    pub(crate) fn step(&self, step: usize) {
        self.inner().step = step;
    }

    /// Why it was not followed to its end.
    pub(crate) fn over(&self) -> Option<Over> {
        self.inner().over.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process; its place among the members.
    fn start(&self, learned: &Learned) -> usize {
        let mut inner = self.inner();
        let place = inner.labels.len();
        inner.labels.push(learned.code.label.clone());
        let order = Order::Start(learned.code.make.clone(), learned.code.database.clone());
        inner.order(place, order);
        place
    }
}

impl Inner {
    /// Gives an order to one of the members. Nobody else may do anything because of it.
    fn order(&mut self, place: usize, order: Order) {
        if self.over.is_some() {
            return;
        }
        if self.several.is_none() {
            match Several::start() {
                Ok(several) => self.several = Some(several),
                Err(_) => return self.end(Over::LeftOut),
            }
        }
        let Some(several) = &self.several else { return };
        let rest = match several.order(order) {
            Ok(rest) => rest,
            Err(reason) => {
                let who = &self.labels[place];
                return self.end(Over::Parted(format!(
                    "in one process with the others, `{who}` is stuck: {reason}"
                )));
            }
        };
        let before = std::mem::replace(&mut self.rest, rest);
        let moved = before
            .iter()
            .zip(&self.rest)
            .enumerate()
            .find(|(other, (before, now))| *other != place && before.is_some() && before != now);
        if let Some((other, (_, now))) = moved {
            let (cause, other) = (&self.labels[place], &self.labels[other]);
            let does = now
                .clone()
                .map_or("nothing that can be seen".to_owned(), |now| told(&now.into()));
            let parted = format!(
                "in one process with the others, what `{cause}` does at step {} makes `{other}` do {does}",
                self.step
            );
            self.end(Over::Parted(parted));
        }
    }

    fn end(&mut self, over: Over) {
        self.several = None;
        self.over.get_or_insert(over);
    }

    /// Compares what a member does with what it does by itself.
    fn compare(&mut self, place: usize, names: &mut Names, node: &Node) {
        if self.over.is_some() {
            return;
        }
        let waits = self.rest.get(place).cloned().flatten();
        let parted = match (&node.does, waits) {
            // What it can't go on from was told where it is by itself, and its clock stands still here.
            (Does::Broken(_) | Does::Sleep(_), _) => return self.end(Over::LeftOut),
            (Does::End, None) => return,
            (_, None) => Some("nothing: it waits for something that another one holds".to_owned()),
            (_, Some(waits)) => {
                let next = Next::from(waits);
                (!is_known(&next, names, node)).then(|| told(&next))
            }
        };
        if let Some(does) = parted {
            let (who, alone) = (&self.labels[place], tell(&node.does));
            let parted = format!(
                "by itself, `{who}` does {alone}; in one process with the others, at step {}, it does {does}",
                self.step
            );
            self.end(Over::Parted(parted));
        }
    }
}

/// A machine that was learned, whose code also runs together with that of the others: for following one schedule, once.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    learned: Learned,
    together: Together,
    member: Option<Arc<Mine>>,
    /// What the code that runs has drawn.
    names: Names,
}

/// A member, for as long as the process is there.
#[derive(Debug)]
struct Mine {
    place: usize,
    together: Together,
}

impl Drop for Mine {
    fn drop(&mut self) {
        self.together.inner().order(self.place, Order::Drop(self.place));
    }
}

impl Followed {
    /// The machine before it starts.
    pub(crate) fn new(learned: Learned, together: Together) -> Followed {
        Followed {
            learned,
            together,
            member: None,
            names: Names::default(),
        }
    }

    /// Gives the code the replies that led from one history to another, and compares what it does after each.
    fn follow(&mut self, before: Option<usize>) {
        let known = self.learned.code.known();
        let mut path = Vec::new();
        let mut at = self.learned.node;
        while let Some(node) = at.filter(|node| Some(*node) != before) {
            path.push(node);
            at = (node != 0).then(|| known.nodes[node].parent);
        }
        for node in path.into_iter().rev() {
            let node_is = &known.nodes[node];
            let place = match &self.member {
                None => {
                    let place = self.together.start(&self.learned);
                    let together = self.together.clone();
                    self.member = Some(Arc::new(Mine { place, together }));
                    place
                }
                Some(mine) => {
                    let kinds = &known.nodes[node_is.parent].kinds;
                    let reply = self.names.show_reply(kinds, &node_is.reply);
                    self.together.inner().order(mine.place, Order::Reply(mine.place, reply));
                    mine.place
                }
            };
            self.together.inner().compare(place, &mut self.names, node_is);
        }
    }
}

impl PartialEq for Followed {
    fn eq(&self, other: &Self) -> bool {
        self.learned == other.learned
    }
}

impl Eq for Followed {}

impl std::hash::Hash for Followed {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.learned.hash(state);
    }
}

impl Machine for Followed {
    fn step(&mut self, reply: Reply) -> Effect {
        let before = self.learned.node;
        let effect = self.learned.step(reply);
        self.follow(before);
        effect
    }

    fn state(&self) -> &'static str {
        self.learned.state()
    }

    fn failure(&self) -> Option<Failure> {
        self.learned.failure()
    }

    fn name(&self) -> String {
        self.learned.name()
    }
}
