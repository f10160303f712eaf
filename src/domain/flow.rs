//! Stories: machines written as straight-line code, suspended at each effect.
//!
//! A [`Story`] asks for an effect through its [`Scene`] and gets the reply as the value of that very expression, as a handler in any
//! language does. Underneath, [`Told`] is an ordinary [`Machine`]: its state is the story's own data and the replies got so far. At
//! each step the story is told again from its beginning with those replies; what it asks for beyond them is the next
//! effect. A story is therefore as pure as any machine: with the same replies it asks for the same things.
//!
//! [`Scene::again`] keeps the story's data and forgets the replies, which keeps states few: a retry starts anew instead of
//! dragging the history of the failed attempt along.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use crate::machine::service::{Answer, Call};
use crate::machine::{Effect, Machine, NoAnswer, Program, Reply, Request, Response, Rows, Sql, SqlError, SqlState};

/// A machine's program as straight-line code.
pub trait Story: Clone + Eq + Hash + Debug + Send + Sync + 'static {
    /// Tells the story from its beginning. Its own data may change on the way: changes count once [`Scene::again`] is told.
    fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()>;
}

/// What a part of a story results in, unless it is suspended there: `?` passes the suspension on.
pub type Told<T> = Result<T, Pause>;

/// Why a story stops being told.
#[derive(Debug)]
pub struct Pause(Why);

#[derive(Debug)]
enum Why {
    Asks(Box<Effect>),
    Again,
}

/// Why a part of a story that uses the database ends early: `scene.sql(...)??` passes both on.
#[derive(Debug)]
pub enum Halt {
    /// The story is suspended.
    Pause(Pause),
    /// A statement failed.
    Sql(SqlError),
}

impl From<Pause> for Halt {
    fn from(pause: Pause) -> Self {
        Halt::Pause(pause)
    }
}

impl From<SqlError> for Halt {
    fn from(error: SqlError) -> Self {
        Halt::Sql(error)
    }
}

/// Separates a failed statement, which the story handles, from a suspension, which it passes on.
pub fn caught<T>(result: Result<T, Halt>) -> Told<Result<T, SqlError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Halt::Sql(error)) => Ok(Err(error)),
        Err(Halt::Pause(pause)) => Err(pause),
    }
}

/// Whether a statement failed because the connection broke: its outcome is unknown, and there is nothing left to roll back.
pub fn is_lost(error: &SqlError) -> bool {
    error.code == SqlState::CONNECTION_FAILURE || error.code == SqlState::ADMIN_SHUTDOWN
}

/// Whether the same work may succeed when it is tried again: the connection broke, or the server chose this transaction to
/// end.
pub fn is_transient(error: &SqlError) -> bool {
    is_lost(error)
        || matches!(
            error.code,
            SqlState::SERIALIZATION_FAILURE | SqlState::DEADLOCK_DETECTED | SqlState::LOCK_NOT_AVAILABLE
        )
}

/// The state shown in the moment after a process was chosen as a deadlock's victim.
pub const DEADLOCK_VICTIM: &str = "deadlock victim";

/// Where a story asks for effects.
#[derive(Debug)]
pub struct Scene<'a> {
    replies: &'a [Arc<Reply>],
    place: usize,
    state: &'static str,
}

impl Scene<'_> {
    /// Names the state that the story is in, for diagrams and traces.
    pub fn at(&mut self, state: &'static str) {
        self.state = state;
    }

    /// Sends a statement on the process's own connection.
    pub fn sql(&mut self, sql: Sql) -> Told<Result<Rows, SqlError>> {
        match self.ask(|| Effect::Sql(sql))? {
            Reply::Sql(result) => Ok(result),
            reply => unreachable!("{reply:?} is not the reply to a statement"),
        }
    }

    /// Sends a statement without parameters.
    pub fn run(&mut self, text: &str) -> Told<Result<Rows, SqlError>> {
        self.sql(Sql::new(text))
    }

    /// Calls a service.
    pub fn call(&mut self, call: Call) -> Told<Result<Answer, NoAnswer>> {
        match self.ask(|| Effect::Call(call))? {
            Reply::Service(result) => Ok(result),
            reply => unreachable!("{reply:?} is not the reply to a call"),
        }
    }

    /// Sends a request and waits for its response.
    pub fn send(&mut self, request: Request) -> Told<Result<Response, NoAnswer>> {
        match self.ask(|| Effect::Send(request))? {
            Reply::Response(result) => Ok(result),
            reply => unreachable!("{reply:?} is not the reply to a request"),
        }
    }

    /// Responds to the request that started the process.
    pub fn respond(&mut self, status: u16, body: impl Into<Arc<str>>) -> Told<()> {
        self.ask(|| Effect::Respond(Response::new(status, body))).map(drop)
    }

    /// Starts a process that outlives the request.
    pub fn spawn(&mut self, label: impl Into<Arc<str>>, program: Program) -> Told<()> {
        let label = label.into();
        self.ask(|| Effect::Spawn { label, program }).map(drop)
    }

    /// Waits in virtual time, in microseconds.
    pub fn sleep(&mut self, micros: i64) -> Told<()> {
        self.ask(|| Effect::Sleep(micros)).map(drop)
    }

    /// Tells the story again from its beginning, with its data as it is now and no replies: `return scene.again();`.
    pub fn again<T>(&self) -> Told<T> {
        Err(Pause(Why::Again))
    }

    /// Waits until nothing else can happen; see [`Effect::IDLE`].
    pub fn rest(&mut self) -> Told<()> {
        self.sleep(Effect::IDLE)
    }

    fn ask(&mut self, effect: impl FnOnce() -> Effect) -> Told<Reply> {
        match self.replies.get(self.place) {
            Some(reply) => {
                self.place += 1;
                Ok(Reply::clone(reply))
            }
            None => Err(Pause(Why::Asks(Box::new(effect())))),
        }
    }
}

/// A story as a [`Machine`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Teller<S> {
    story: S,
    replies: Vec<Arc<Reply>>,
    state: &'static str,
}

impl<S: Story> Teller<S> {
    /// The machine that tells `story`.
    pub fn new(story: S) -> Self {
        Teller {
            story,
            replies: Vec::new(),
            state: "start",
        }
    }

    /// The story, with its data as it was when it was last told again.
    pub fn story(&self) -> &S {
        &self.story
    }
}

/// A story as a program.
pub fn program<S: Story>(story: S) -> Program {
    Program::new(Teller::new(story))
}

impl<S: Story> Machine for Teller<S> {
    fn step(&mut self, reply: Reply) -> Effect {
        let victim = matches!(&reply, Reply::Sql(Err(error)) if error.code == SqlState::DEADLOCK_DETECTED);
        if reply != Reply::Start {
            self.replies.push(Arc::new(reply));
        }
        // A story that goes on forever without an effect is a mistake; the bound turns it into a message.
        for _ in 0..1000 {
            let mut story = self.story.clone();
            let mut scene = Scene {
                replies: &self.replies,
                place: 0,
                state: "start",
            };
            let told = story.tell(&mut scene);
            self.state = if victim { DEADLOCK_VICTIM } else { scene.state };
            match told {
                Err(Pause(Why::Asks(effect))) => return *effect,
                Err(Pause(Why::Again)) => {
                    self.story = story;
                    self.replies.clear();
                }
                Ok(()) => {
                    self.story = story;
                    self.replies.clear();
                    return Effect::Done;
                }
            }
        }
        unreachable!(
            "a story is told again and again without asking for anything: {:?}",
            self.story
        )
    }

    fn state(&self) -> &'static str {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::{Scene, Story, Teller, Told};
    use crate::machine::{Effect, Machine, Reply, Rows, Sql};

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct TwoRounds {
        round: u8,
    }

    impl Story for TwoRounds {
        fn tell(&mut self, scene: &mut Scene<'_>) -> Told<()> {
            if self.round < 2 {
                scene.run("SELECT 1")?.ok();
                scene.sleep(7)?;
                self.round += 1;
                return scene.again();
            }
            scene.respond(200, "done")
        }
    }

    #[test]
    fn a_story_asks_for_its_effects_in_order_and_forgets_finished_rounds() {
        let mut teller = Teller::new(TwoRounds { round: 0 });
        let mut effects = vec![teller.step(Reply::Start)];
        for _ in 0..2 {
            effects.push(teller.step(Reply::Sql(Ok(Rows::default()))));
            effects.push(teller.step(Reply::Went));
        }
        let select = || Effect::Sql(Sql::new("SELECT 1"));
        let nap = || Effect::Sleep(7);
        let answer = Effect::Respond(crate::machine::Response::new(200, "done"));
        assert_eq!(effects, [select(), nap(), select(), nap(), answer]);
        assert!(teller.replies.is_empty());
        assert_eq!(teller.step(Reply::Went), Effect::Done);
    }
}
