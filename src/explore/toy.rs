//! Toy systems for tests: small programs over a shelf of numbers, without a database.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::service::{Answer, Call};
use crate::machine::{Effect, Machine, NoAnswer, Pid, Program, Renaming, Reply, Request, Response};
use crate::system::{Breach, Endpoint, FaultBudget, Invariant, Role, Root, Spec, System, View, When};
use crate::value::Value;
use crate::world::World;
use crate::world::service::{Provided, Service};

/// Numbers by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Shelf(pub(crate) BTreeMap<Arc<str>, i64>);

impl Shelf {
    pub(crate) fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

fn name_of(call: &Call) -> Arc<str> {
    match call.arguments.get("name") {
        Some(Value::Text(name)) => name.clone(),
        _ => "?".into(),
    }
}

impl Service for Shelf {
    fn call(&mut self, _caller: Pid, call: &Call, _now: i64) -> Result<Answer, NoAnswer> {
        let name = name_of(call);
        let number = match call.arguments.get("number") {
            Some(Value::Int(number)) => *number,
            _ => 0,
        };
        let now = self.get(&name);
        match &*call.operation {
            "put" => {
                self.0.insert(name, number);
            }
            "add" => {
                self.0.insert(name, now + number);
            }
            "put_absent" if now == 0 => {
                self.0.insert(name, number);
            }
            "take" => {
                self.0.insert(name, now - 1);
            }
            _ => {}
        }
        Ok(Answer::one("number", now))
    }

    fn rename(&mut self, _names: &Renaming) -> bool {
        true
    }

    /// `take` waits until there is something to take.
    fn ready(&self, call: &Call, _now: i64) -> bool {
        &*call.operation != "take" || self.get(&name_of(call)) > 0
    }

    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        vec![(name_of(call), &*call.operation != "get")]
    }
}

/// An instruction of a toy program.
#[allow(dead_code, reason = "not every test uses every instruction")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Reads a number into the register.
    Get(&'static str),
    /// Writes the register plus so much.
    PutNext(&'static str, i64),
    /// Adds to a number, atomically.
    Add(&'static str, i64),
    /// Writes a number if there is none; the register is what was there before.
    PutAbsent(&'static str, i64),
    /// Takes one, waiting for it.
    Take(&'static str),
    /// Skips so many instructions if the register is not zero.
    SkipUnlessZero(usize),
    /// Sends a request to the endpoint `toy`.
    Send,
    /// Answers the request that started it with the register.
    Respond,
    /// Sleeps so many microseconds.
    Sleep(i64),
    /// Sleeps until nothing else can happen.
    Idle,
}

/// A machine that runs a toy program.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Toy {
    ops: Arc<[Op]>,
    at: usize,
    register: i64,
}

impl Toy {
    pub(crate) fn program(ops: &[Op]) -> Program {
        Program::new(Toy {
            ops: ops.into(),
            at: 0,
            register: 0,
        })
    }
}

impl Machine for Toy {
    fn step(&mut self, reply: Reply) -> Effect {
        match reply {
            Reply::Service(Ok(answer)) => {
                if let Some(Value::Int(number)) = answer.get("number") {
                    self.register = *number;
                }
            }
            Reply::Service(Err(_)) | Reply::Response(Err(_)) => self.register = -1,
            Reply::Response(Ok(response)) => self.register = i64::from(response.status),
            _ => {}
        }
        let call = |operation: &str, name: &str, number: i64| {
            Effect::Call(Call::new("shelf", operation).with("name", name).with("number", number))
        };
        while let Some(op) = self.ops.get(self.at).copied() {
            self.at += 1;
            return match op {
                Op::Get(name) => call("get", name, 0),
                Op::PutNext(name, by) => call("put", name, self.register + by),
                Op::Add(name, by) => call("add", name, by),
                Op::PutAbsent(name, number) => call("put_absent", name, number),
                Op::Take(name) => call("take", name, 0),
                Op::SkipUnlessZero(count) => {
                    if self.register != 0 {
                        self.at += count;
                    }
                    continue;
                }
                Op::Send => Effect::Send(Request {
                    endpoint: "toy".into(),
                    headers: Default::default(),
                    body: Default::default(),
                }),
                Op::Respond => Effect::Respond(Response::new(200, self.register.to_string())),
                Op::Sleep(span) => Effect::Sleep(span),
                Op::Idle => Effect::Sleep(Effect::IDLE),
            };
        }
        Effect::Done
    }
}

/// Promises that a number is not this one.
#[derive(Debug)]
pub(crate) struct Never {
    name: String,
    shelf: &'static str,
    number: i64,
    when: When,
}

impl Invariant for Never {
    fn name(&self) -> &str {
        &self.name
    }

    fn promise(&self) -> &str {
        "a number is never this one"
    }

    fn when(&self) -> When {
        self.when
    }

    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let number = view.service::<Shelf>("shelf").map_or(0, |shelf| shelf.get(self.shelf));
        if number != self.number {
            return Ok(());
        }
        Err(Breach {
            invariant: self.name.as_str().into(),
            sentence: format!("{} is {number}", self.shelf),
            rows: Vec::new(),
            is_error: false,
        })
    }
}

/// A system of toy programs, with an invariant for each number that `watched` might end in, broken if it can.
pub(crate) struct ToySpec {
    pub(crate) roots: Vec<Vec<Op>>,
    pub(crate) handler: Vec<Op>,
    pub(crate) faults: FaultBudget,
    pub(crate) watched: Vec<&'static str>,
    pub(crate) role: Role,
}

impl Default for ToySpec {
    fn default() -> Self {
        ToySpec {
            roots: Vec::new(),
            handler: Vec::new(),
            faults: FaultBudget::NONE,
            watched: vec!["a"],
            role: Role::Handler,
        }
    }
}

impl ToySpec {
    pub(crate) fn system(self) -> System {
        let mut world = World::default();
        world.services.insert("shelf".into(), Provided::new(Shelf::default()));
        let handler = self.handler.clone();
        let endpoint = Endpoint {
            open: Arc::new(move |_| Toy::program(&handler)),
            role: Role::Handler,
        };
        let mut invariants: Vec<Arc<dyn Invariant>> = Vec::new();
        for shelf in &self.watched {
            for number in -1..8 {
                for when in [When::Always, When::Finally] {
                    invariants.push(Arc::new(Never {
                        name: format!("{shelf}-{when:?}-not-{number}"),
                        shelf,
                        number,
                        when,
                    }));
                }
            }
        }
        let roots = self.roots.iter().enumerate().map(|(place, ops)| Root {
            label: format!("p{place}").into(),
            program: Toy::program(ops),
            role: self.role,
        });
        System::new(Spec {
            name: "toy".into(),
            roots: roots.collect(),
            endpoints: BTreeMap::from([("toy".into(), endpoint)]),
            world,
            faults: self.faults,
            invariants,
            observations: Vec::new(),
            vacuity: None,
            identity: format!("{:?} {:?} {:?}", self.roots, self.handler, self.faults).into(),
        })
    }
}

/// Processes that each read, then write one more: the lost update.
pub(crate) fn lost_update(processes: usize) -> System {
    ToySpec {
        roots: vec![vec![Op::Get("a"), Op::PutNext("a", 1)]; processes],
        ..ToySpec::default()
    }
    .system()
}
