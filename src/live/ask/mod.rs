//! Real code as a machine: its state is the list of the replies that it got, and what it does next is asked of the code itself, once for each such history.
//!
//! Between two replies the code is a function of the replies so far. So histories form a tree; each knows the effect that comes next, and where it is not
//! known yet, an execution of the code that stands at the history before is given one more reply. Executions are kept for that, up to a number;
//! where none stands there, a new one is led along the history, and everything that it does on its way is compared with what is known.

mod drawn;
mod execution;
mod member;
mod together;

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

pub(crate) use member::Make;
pub(crate) use together::{Followed, Over, Together};

use crate::explore::digest::digest;
use crate::live::wire::Asked;
use crate::machine::service::{Answer, Call};
use crate::machine::{Effect, Failure, Machine, Reply, Response};
use crate::value::Value;
use crate::world::database::Database;
use crate::world::runtime::RUNTIME;
use drawn::{Kind, Names, Pair};
use execution::{Execution, Next};

/// So many pairs of executions are kept where they wait.
const KEPT: usize = 48;

/// A piece of code under test: how to start it, and what is known of it.
pub(crate) struct Code {
    label: Arc<str>,
    make: Make,
    database: Arc<Database>,
    /// The world's clock at the start, in microseconds.
    origin: i64,
    known: Mutex<Known>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// How much was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How often the code was started.
    pub(crate) runs: u64,
    /// How many histories of replies there are.
    pub(crate) histories: u64,
    /// The most statements that the code had under way at once.
    pub(crate) at_once: usize,
}

#[derive(Default)]
struct Known {
    nodes: Vec<Node>,
    runs: Vec<Run>,
    tally: Tally,
}

/// A history and what comes after it.
struct Node {
    parent: usize,
    reply: Reply,
    digest: u128,
    does: Does,
    /// What was drawn so far.
    kinds: Vec<Kind>,
    /// Which parameters of its statement are moments of the code's clock.
    clocks: Vec<usize>,
    children: FxHashMap<Reply, usize>,
}

/// What the code does after a history, drawn values hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Does {
    Sql(Asked),
    Sleep(i64),
    Answer(Response),
    /// It has ended without anything to answer, and goes on with what it has started.
    Went,
    End,
    Broken(Arc<str>),
}

/// Two executions side by side, and the history at which they wait.
struct Run {
    at: usize,
    both: [Execution; 2],
    names: [Names; 2],
    /// What comes behind a sleep was told along with it.
    ahead: Option<[Next; 2]>,
    slept: i64,
}

impl Code {
    /// Code that is not started yet.
    pub(crate) fn new(label: Arc<str>, make: Make, database: Arc<Database>, origin: i64) -> Arc<Code> {
        Arc::new(Code {
            label,
            make,
            database,
            origin,
            known: Mutex::default(),
        })
    }

    /// Its name in lanes.
    pub(crate) fn label(&self) -> Arc<str> {
        self.label.clone()
    }

    /// How much was asked so far.
    pub(crate) fn tally(&self) -> Tally {
        self.known().tally
    }

    /// From here on nothing is kept that runs.
    pub(crate) fn rest(&self) {
        self.known().runs.clear();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The history that a reply makes of another one.
    fn follow(&self, node: Option<usize>, reply: &Reply) -> usize {
        let mut known = self.known();
        let Some(node) = node else {
            if known.nodes.is_empty() {
                let run = self.start(&mut known);
                self.learn(&mut known, run, 0, Reply::Start);
            }
            return 0;
        };
        if let Some(child) = known.nodes[node].children.get(reply) {
            return *child;
        }
        let standing = known.runs.iter().position(|run| run.at == node);
        let mut run = match standing {
            Some(place) => known.runs.remove(place),
            None => match self.lead(&mut known, node) {
                Ok(run) => run,
                Err(reason) => return known.add(node, reply.clone(), Does::Broken(reason), Vec::new(), Vec::new()),
            },
        };
        run.reply(&known.nodes[node], reply);
        self.learn(&mut known, run, node, reply.clone())
    }

    fn start(&self, known: &mut Known) -> Run {
        known.tally.runs += 2;
        let start = || Execution::start(self.make.clone(), self.database.clone());
        Run {
            at: 0,
            both: [start(), start()],
            names: [Names::default(), Names::default()],
            ahead: None,
            slept: 0,
        }
    }

    /// Asks what comes next, and keeps it as the history that the reply made.
    fn learn(&self, known: &mut Known, mut run: Run, parent: usize, reply: Reply) -> usize {
        let kinds = known
            .nodes
            .get(parent)
            .map(|node| node.kinds.clone())
            .unwrap_or_default();
        let next = run.next(known);
        let (does, kinds, clocks) = self.agree(&mut run, next, kinds);
        let node = known.add(parent, reply, does, kinds, clocks);
        run.at = node;
        if !matches!(known.nodes[node].does, Does::End | Does::Broken(_)) {
            if known.runs.len() >= KEPT {
                known.runs.remove(0);
            }
            known.runs.push(run);
        }
        node
    }

    /// A new run, led to a history; what it does on its way must be what is known.
    fn lead(&self, known: &mut Known, node: usize) -> Result<Run, Arc<str>> {
        let mut path = vec![node];
        while let Some(last) = path.last().filter(|last| **last != 0) {
            path.push(known.nodes[*last].parent);
        }
        let mut run = self.start(known);
        for (place, node) in path.iter().rev().enumerate() {
            if place > 0 {
                let parent = &known.nodes[known.nodes[*node].parent];
                run.reply(parent, &known.nodes[*node].reply);
            }
            let next = run.next(known);
            let expected = &known.nodes[*node];
            run.check(next, expected).map_err(|now| {
                let reason = format!(
                    "not deterministic: after the same replies it once did {} and then {now}. What the code does must follow from the replies that it gets: \
                     give it what it draws or keeps elsewhere through the test or the database",
                    tell(&expected.does)
                );
                Arc::from(reason)
            })?;
            run.at = *node;
        }
        Ok(run)
    }

    /// What the two executions do, as one.
    fn agree(&self, run: &mut Run, next: [Next; 2], mut kinds: Vec<Kind>) -> (Does, Vec<Kind>, Vec<usize>) {
        let differ = |next: &[Next; 2]| {
            let reason = format!(
                "not deterministic: two runs with the same replies do {} and {}. What the code does must follow from the replies that it gets: give it what it \
                 draws or keeps elsewhere through the test or the database",
                told(&next[0]),
                told(&next[1])
            );
            Does::Broken(reason.into())
        };
        let does = match &next {
            [Next::Sql(one), Next::Sql(other)] => {
                let [left, right] =
                    [(0, one), (1, other)].map(|(place, asked)| run.names[place].hide_sql(&kinds, &asked.sql));
                if left.text != right.text || left.params.len() != right.params.len() || one.session != other.session {
                    return (differ(&next), kinds, Vec::new());
                }
                let mut agreed = left.clone();
                let mut clocks = Vec::new();
                let mut place = 0;
                while place < left.params.len() {
                    // A value that was drawn in this very statement may stand in it twice.
                    let [now, then] =
                        [(0, &left), (1, &right)].map(|(side, sql)| run.names[side].hide(&kinds, &sql.params[place]));
                    agreed.params[place] = match drawn::compare(&now, &then) {
                        Pair::Same(value) => value,
                        Pair::Inside(now, then) => {
                            run.names[0].0.push(now);
                            run.names[1].0.push(then);
                            kinds.push(Kind::Uuid);
                            // Once more, with that one hidden.
                            continue;
                        }
                        Pair::Drawn(kind) => {
                            run.names[0].0.push(now.clone());
                            run.names[1].0.push(then);
                            kinds.push(kind);
                            run.names[0].hide(&kinds, &now)
                        }
                        Pair::Clock => {
                            clocks.push(place);
                            self.clock(&now, run.slept)
                        }
                        Pair::Differ => return (differ(&next), kinds, Vec::new()),
                    };
                    place += 1;
                }
                let does = Does::Sql(Asked {
                    session: one.session,
                    sql: agreed,
                });
                return (does, kinds, clocks);
            }
            [Next::Answer(Some(one)), Next::Answer(Some(other))] => loop {
                let [left, right] =
                    [(0, one), (1, other)].map(|(side, response)| run.names[side].hide_response(&kinds, response));
                if left == right {
                    break Does::Answer(left);
                }
                match drawn::drawn_inside(&left.body, &right.body) {
                    Some((one, other)) if left.status == right.status => {
                        run.names[0].0.push(one);
                        run.names[1].0.push(other);
                        kinds.push(Kind::Uuid);
                    }
                    _ => break differ(&next),
                }
            },
            [Next::Answer(None), Next::Answer(None)] => Does::Went,
            [Next::End, Next::End] => Does::End,
            [Next::Broken(reason), Next::Broken(_)] => Does::Broken(reason.as_str().into()),
            [Next::Sleep(one), Next::Sleep(other)] if one == other => Does::Sleep(*one),
            _ => differ(&next),
        };
        (does, kinds, Vec::new())
    }

    fn clock(&self, moment: &Value, slept: i64) -> Value {
        match moment {
            Value::Timestamp(micros) => Value::Timestamp(drawn::world_time(*micros, slept, self.origin)),
            other => other.clone(),
        }
    }
}

impl Known {
    fn add(&mut self, parent: usize, reply: Reply, does: Does, kinds: Vec<Kind>, clocks: Vec<usize>) -> usize {
        let node = self.nodes.len();
        let digest = match self.nodes.get_mut(parent) {
            Some(parent) => {
                let digest = digest(&(parent.digest, &reply));
                parent.children.insert(reply.clone(), node);
                digest
            }
            None => digest(&reply),
        };
        self.tally.histories += 1;
        self.nodes.push(Node {
            parent,
            reply,
            digest,
            does,
            kinds,
            clocks,
            children: FxHashMap::default(),
        });
        node
    }
}

impl Run {
    /// What both do at their next rest.
    fn next(&mut self, known: &mut Known) -> [Next; 2] {
        if let Some(ahead) = self.ahead.take() {
            return ahead;
        }
        let told = [self.both[0].rest(), self.both[1].rest()];
        known.tally.at_once = known.tally.at_once.max(told[0].waiting);
        let slept = [told[0].slept, told[1].slept];
        let next = told.map(|told| told.next);
        if slept == [0, 0] {
            return next;
        }
        self.slept += slept[0];
        self.ahead = Some(next);
        slept.map(Next::Sleep)
    }

    /// Hands both the reply to what the history's end does.
    fn reply(&mut self, node: &Node, reply: &Reply) {
        // A sleep is over before it is told.
        if !matches!(node.does, Does::Sleep(_)) {
            for (execution, names) in self.both.iter().zip(&self.names) {
                execution.reply(names.show_reply(&node.kinds, reply));
            }
        }
    }

    /// Whether both do what is known.
    ///
    /// # Errors
    /// What one of them does instead.
    fn check(&mut self, next: [Next; 2], node: &Node) -> Result<(), String> {
        for (next, names) in next.iter().zip(&mut self.names) {
            if !is_known(next, names, node) {
                return Err(told(next));
            }
        }
        Ok(())
    }
}

/// Whether an execution does what is known. What it has drawn for the first time is noted as its own.
fn is_known(next: &Next, names: &mut Names, node: &Node) -> bool {
    match (next, &node.does) {
        (Next::Sql(asked), Does::Sql(known)) => {
            asked.session == known.session
                && asked.sql.text == known.sql.text
                && asked.sql.params.len() == known.sql.params.len()
                && (0..asked.sql.params.len()).all(|place| {
                    let value = names.hide(&node.kinds, &asked.sql.params[place]);
                    node.clocks.contains(&place) || names.accept(&node.kinds, value, &known.sql.params[place])
                })
        }
        (Next::Answer(Some(response)), Does::Answer(known)) => loop {
            let response = names.hide_response(&node.kinds, response);
            if response == *known {
                break true;
            }
            match drawn::drawn_inside(&response.body, &known.body) {
                Some((value, stand_in)) if names.accept(&node.kinds, value.clone(), &stand_in) => {}
                _ => break false,
            }
        },
        (Next::Answer(None), Does::Went) | (Next::End, Does::End) => true,
        (Next::Sleep(span), Does::Sleep(known)) => span == known,
        _ => false,
    }
}

fn told(next: &Next) -> String {
    match next {
        Next::Sql(asked) => tell(&Does::Sql(asked.clone())),
        Next::Sleep(micros) => tell(&Does::Sleep(*micros)),
        Next::Answer(Some(response)) => tell(&Does::Answer(response.clone())),
        Next::Answer(None) => tell(&Does::Went),
        Next::End => tell(&Does::End),
        Next::Broken(reason) => reason.clone(),
    }
}

fn tell(does: &Does) -> String {
    match does {
        Does::Sql(asked) => {
            let text = asked.sql.text.split_whitespace().collect::<Vec<_>>().join(" ");
            let params: Vec<String> = asked.sql.params.iter().map(Value::to_string).collect();
            match params.is_empty() {
                true => format!("`{text}`"),
                false => format!("`{text}` with ({})", params.join(", ")),
            }
        }
        Does::Sleep(micros) => format!("a sleep of {micros} us"),
        Does::Answer(response) => format!("the answer `{response}`"),
        Does::Went => "its end".to_owned(),
        Does::End => "nothing".to_owned(),
        Does::Broken(reason) => reason.to_string(),
    }
}

/// The code as a machine.
#[derive(Clone, Debug)]
pub(crate) struct Learned {
    code: Arc<Code>,
    /// Its history, once it has begun.
    node: Option<usize>,
    /// The same as content: equal in every run, whatever was learned first.
    digest: u128,
    /// The values that this process has drawn.
    names: Names,
    /// It waits for a fresh value, and not for a reply of the world.
    owed: bool,
    failure: Option<Failure>,
}

impl Learned {
    /// The code before it starts.
    pub(crate) fn new(code: Arc<Code>) -> Learned {
        Learned {
            code,
            node: None,
            digest: 0,
            names: Names::default(),
            owed: false,
            failure: None,
        }
    }
}

impl PartialEq for Learned {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.code, &other.code)
            && (self.node, self.owed) == (other.node, other.owed)
            && self.names == other.names
    }
}

impl Eq for Learned {}

impl Hash for Learned {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.code.label.hash(state);
        (self.digest, self.owed, &self.names).hash(state);
    }
}

impl Machine for Learned {
    fn step(&mut self, reply: Reply) -> Effect {
        let at = |node: usize| {
            let known = self.code.known();
            let node = &known.nodes[node];
            (node.does.clone(), node.kinds.clone(), node.digest)
        };
        if std::mem::take(&mut self.owed) {
            let (_, kinds, _) = at(self.node.unwrap_or(0));
            let fresh = match &reply {
                Reply::Service(Ok(answer)) => Answer::get(answer, "value").cloned().unwrap_or_default(),
                _ => Value::Null,
            };
            self.names.0.push(drawn::own(kinds[self.names.0.len()], &fresh));
        } else {
            let kinds = self.node.map(|node| at(node).1).unwrap_or_default();
            let mut node = self.code.follow(self.node, &self.names.hide_reply(&kinds, &reply));
            while at(node).0 == Does::Went {
                node = self.code.follow(Some(node), &Reply::Went);
            }
            self.node = Some(node);
        }
        let (does, kinds, digest) = at(self.node.unwrap_or(0));
        self.digest = digest;
        if self.names.0.len() < kinds.len() {
            self.owed = true;
            return Effect::Call(Call::new(RUNTIME, "fresh_uuid"));
        }
        match does {
            Does::Sql(asked) => Effect::Sql(self.names.show_sql(&kinds, &asked.sql).on(asked.session)),
            Does::Sleep(micros) => Effect::Sleep(micros),
            Does::Answer(response) => Effect::Respond(self.names.show_response(&kinds, &response)),
            Does::Went | Does::End => Effect::Done,
            Does::Broken(reason) => {
                self.failure = Some(Failure::Mistake(reason));
                Effect::Done
            }
        }
    }

    fn state(&self) -> &'static str {
        "running"
    }

    fn failure(&self) -> Option<Failure> {
        self.failure.clone()
    }

    fn name(&self) -> String {
        self.code.label.to_string()
    }
}
