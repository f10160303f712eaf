//! The handler `vouchers`: customers redeem a voucher that is good for one use.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadheat::domain::{Choice, Conflict, Handler, Kind, Named, Parameter, Promise, Setup};
use deadheat::machine::http::Fields;
use deadheat::machine::{Effect, Machine, Program, Reply, Request, Response, Rows, Sql, SqlError};
use deadheat::system::{Endpoint, FaultBudget, Observation, QueryInvariant, Role, Root, Spec, When};
use deadheat::value::Value;
use deadheat::world::World;
use deadheat::world::database::Database;

/// Customers redeem a voucher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vouchers;

const ENDPOINT: &str = "POST /redeem";

const CHOICES: &[Choice] = &[Choice {
    name: "use",
    doc: "how the handler takes the use of a voucher",
    options: &[
        Named {
            name: "conditional_update",
            doc: "UPDATE ... WHERE uses_left > 0, and looks whether it did",
        },
        Named {
            name: "locked_read",
            doc: "SELECT ... FOR UPDATE, then UPDATE",
        },
        Named {
            name: "read_then_write",
            doc: "SELECT, then UPDATE",
        },
    ],
}];

const CLIENTS: &[Parameter] = &[Parameter {
    name: "code",
    doc: "the voucher that the customer redeems",
    kind: Kind::Text { default: "WELCOME" },
}];

const PROMISES: &[Promise] = &[Promise {
    name: "redeemed-once",
    promise: "a voucher that is good for one use is redeemed at most once",
}];

impl Handler for Vouchers {
    fn name(&self) -> &str {
        "vouchers"
    }

    fn doc(&self) -> &str {
        "redeems vouchers that are good for one use"
    }

    fn choices(&self) -> &[Choice] {
        CHOICES
    }

    fn clients(&self) -> &[Parameter] {
        CLIENTS
    }

    fn invariants(&self) -> &[Promise] {
        PROMISES
    }

    fn build(&self, setup: &Setup) -> Result<Spec, Conflict> {
        let way = match setup.choice("use") {
            "read_then_write" => Way::ReadThenWrite,
            "locked_read" => Way::LockedRead,
            _ => Way::ConditionalUpdate,
        };
        let open = move |request: &Request| {
            let code = request.body.get("code").cloned().unwrap_or_default();
            Program::new(Redeem {
                way,
                code,
                state: State::Start,
            })
        };
        let endpoint = Endpoint {
            open: Arc::new(open),
            role: Role::Handler,
        };
        let customers = setup.clients.iter().enumerate().map(|(place, client)| Root {
            label: format!("customer {}", place + 1).into(),
            program: Program::new(Customer {
                code: client.text("code"),
            }),
            role: Role::Client,
        });
        Ok(Spec {
            name: "vouchers".into(),
            roots: customers.collect(),
            endpoints: BTreeMap::from([(ENDPOINT.into(), endpoint)]),
            world: world()?,
            faults: FaultBudget::NONE,
            invariants: vec![Arc::new(QueryInvariant {
                name: "redeemed-once".into(),
                promise: PROMISES[0].promise.into(),
                when: When::Always,
                query: "SELECT code, count(*) FROM redemptions GROUP BY code HAVING count(*) > 1".into(),
            })],
            observations: vec![Observation {
                label: "answers".into(),
                query: "SELECT status FROM responses".into(),
            }],
            identity: "".into(),
            vacuity: None,
        })
    }
}

fn world() -> Result<World, Conflict> {
    let mut database = Database::new();
    let schema = "CREATE TABLE vouchers (code text PRIMARY KEY, uses_left bigint NOT NULL);
                  CREATE TABLE redemptions (code text NOT NULL);
                  INSERT INTO vouchers VALUES ('WELCOME', 1);";
    database.run_script(schema).map_err(|error| Conflict {
        key: vec!["domain".to_owned()],
        message: error.to_string(),
        help: None,
    })?;
    Ok(World {
        database,
        ..World::default()
    })
}

/// Redeems once and looks at nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Customer {
    code: Arc<str>,
}

impl Machine for Customer {
    fn step(&mut self, reply: Reply) -> Effect {
        match reply {
            Reply::Start => Effect::Send(Request {
                endpoint: ENDPOINT.into(),
                headers: Fields::default(),
                body: [("code", self.code.clone())].into_iter().collect(),
            }),
            _ => Effect::Done,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    ConditionalUpdate,
    LockedRead,
    ReadThenWrite,
}

/// The handler of one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Redeem {
    way: Way,
    code: Arc<str>,
    state: State,
}

/// What the handler waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    Start,
    Begin,
    Read,
    Update,
    Insert,
    Commit,
    Rollback,
    Answered,
}

impl Machine for Redeem {
    fn step(&mut self, reply: Reply) -> Effect {
        match (&self.state, reply) {
            (State::Start, _) => self.then(State::Begin, Sql::new("BEGIN")),
            (State::Begin, Reply::Sql(Ok(_))) => self.take_use(),
            (State::Read, Reply::Sql(Ok(rows))) if is_left(&rows) => self.then(
                State::Update,
                Sql::new("UPDATE vouchers SET uses_left = 0 WHERE code = $1").bind(self.code.to_string()),
            ),
            (State::Update, Reply::Sql(Ok(rows))) if rows.affected == 1 => self.then(
                State::Insert,
                Sql::new("INSERT INTO redemptions VALUES ($1)").bind(self.code.to_string()),
            ),
            (State::Insert, Reply::Sql(Ok(_))) => self.then(State::Commit, Sql::new("COMMIT")),
            (State::Commit, Reply::Sql(Ok(_))) => self.answer(200, "redeemed"),
            (State::Read | State::Update, Reply::Sql(Ok(_))) => self.then(State::Rollback, Sql::new("ROLLBACK")),
            (State::Rollback, _) => self.answer(409, "used"),
            (State::Answered, _) => Effect::Done,
            (_, Reply::Sql(Err(error))) => self.failed(&error),
            (_, _) => Effect::Done,
        }
    }

    fn state(&self) -> &'static str {
        match self.state {
            State::Answered => "answered",
            _ => "redeeming",
        }
    }
}

impl Redeem {
    fn take_use(&mut self) -> Effect {
        let code = self.code.to_string();
        match self.way {
            Way::ConditionalUpdate => self.then(
                State::Update,
                Sql::new("UPDATE vouchers SET uses_left = uses_left - 1 WHERE code = $1 AND uses_left > 0").bind(code),
            ),
            Way::LockedRead => self.then(
                State::Read,
                Sql::new("SELECT uses_left FROM vouchers WHERE code = $1 FOR UPDATE").bind(code),
            ),
            Way::ReadThenWrite => self.then(
                State::Read,
                Sql::new("SELECT uses_left FROM vouchers WHERE code = $1").bind(code),
            ),
        }
    }

    fn then(&mut self, state: State, sql: Sql) -> Effect {
        self.state = state;
        Effect::Sql(sql)
    }

    fn answer(&mut self, status: u16, body: &str) -> Effect {
        self.state = State::Answered;
        Effect::Respond(Response::new(status, body))
    }

    fn failed(&mut self, error: &SqlError) -> Effect {
        self.answer(500, &error.to_string())
    }
}

fn is_left(rows: &Rows) -> bool {
    matches!(rows.first(), Some(Value::Int(uses)) if *uses > 0)
}
