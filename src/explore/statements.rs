//! Random systems over SQL for tests: two or three processes with a few statements each, over rows, keys and locks that they share.
//!
//! What a statement touches depends on the state (a row that is locked, a key that is taken), which no toy over a shelf of numbers has.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;

use crate::machine::{Effect, Machine, Program, Reply, Sql};
use crate::system::{Fault, FaultBudget, Invariant, Observation, QueryInvariant, Role, Root, Spec, System, When};
use crate::world::World;

const SCHEMA: &str = "
create table a (id int primary key, n int not null, u int unique);
create table b (id int primary key, a int references a (id));
insert into a values (1, 0, 1), (2, 0, null);
create table c (id serial primary key, k int unique, a int references a (id) on delete cascade on update cascade);
insert into b values (1, 2);
insert into c (k, a) values (5, 1), (6, 1);";

/// A machine that sends statements one after the other; after an error it rolls back and ends.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    statements: Arc<[Sql]>,
    at: usize,
}

impl Machine for Session {
    fn step(&mut self, reply: Reply) -> Effect {
        if matches!(reply, Reply::Sql(Err(_))) && self.at < self.statements.len() {
            self.at = self.statements.len();
            return Effect::Sql(Sql::new("rollback"));
        }
        let statement = self.statements.get(self.at).cloned();
        self.at += 1;
        statement.map_or(Effect::Done, Effect::Sql)
    }
}

/// The statements of one process; `1` may be another row.
const STATEMENTS: [&str; 36] = [
    "select n from a where id = 1",
    "select count(*) from a",
    "select n from a where id = 1 for update",
    "select n from a where id = 1 for share",
    "select n from a where id = 1 for update skip locked",
    "select id from a order by id for update nowait",
    "update a set n = n + 1 where id = 1",
    "update a set n = n + 1 where n = 0",
    "update a set u = 7 where id = 1",
    "update a set id = 3 where id = 1",
    "delete from a where id = 1",
    "delete from b where id = 1",
    "insert into a values (3, 1, 7)",
    "insert into a values (3, 1, 1) on conflict do nothing",
    "insert into a values (1, 0, null) on conflict (id) do update set n = a.n + 1",
    "insert into b values (2, 1)",
    "select pg_advisory_xact_lock(1)",
    "select pg_try_advisory_lock(1)",
    "update a set n = n + 1",
    "update a set n = n + 1 where id in (select id from a where n = 0 order by id desc)",
    "insert into a values (1, 0, null), (2, 0, null) on conflict (id) do update set n = a.n + 1",
    "insert into a values (2, 0, null), (1, 0, null) on conflict (id) do update set n = a.n + 1",
    "insert into a values (3, 0, 7), (4, 0, 8)",
    "insert into a values (4, 0, 8), (3, 0, 7)",
    "insert into a select 3, 1, 7 where not exists (select 1 from a where n = 1)",
    "insert into b select 2, id from a where n = 0 order by id limit 1",
    "select id from a where n = 0 order by id limit 1 for update skip locked",
    "update a set n = 2 where id = (select id from a where n = 0 order by id limit 1 for update skip locked)",
    "select id, pg_try_advisory_xact_lock(id) from a where n = 0 order by id",
    "select id, pg_advisory_xact_lock(id) from a order by id desc",
    "insert into c (k) values (7)",
    "insert into c (k) values (8), (7)",
    "insert into c (k) values (7) on conflict do nothing",
    "with gone as (delete from b where id = 1 returning a) update a set n = 3 where id in (select a from gone)",
    "with seen as (select n from a where id = 1 for share) update a set n = 4 where id = 2 and exists (select 1 from seen)",
    "update c set k = k + 10 where a = 1",
];

/// Statements that change what there is, and some whose answer depends on that.
const DEFINITIONS: [&str; 15] = [
    "create unique index i on a (n)",
    "create index i on a (u)",
    "drop index if exists i",
    "create view v as select id from a",
    "drop view v",
    "select count(*) from v",
    "alter table a add column x int",
    "select x from a",
    "create sequence s",
    "select nextval('s')",
    "create table c (id int)",
    "insert into c values (1)",
    "drop table c",
    "update a set n = 5 where id = 1",
    "insert into a values (3, 1, 7)",
];

/// The statements of a process: alone, or in a transaction.
fn session(pool: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let statement = (select(pool), any::<bool>()).prop_map(|(text, other)| match other {
        true => text.replace("id = 1", "id = 2"),
        false => text.to_owned(),
    });
    let level = select(&["read committed", "repeatable read", "serializable"][..]);
    let transaction = (level, select(&["commit", "rollback"][..])).prop_map(Some);
    let around = prop_oneof![1 => Just(None), 2 => transaction];
    (vec(statement, 1..=2), around).prop_map(|(mut statements, around)| {
        if let Some((level, end)) = around {
            statements.insert(0, format!("begin isolation level {level}"));
            statements.push(end.to_owned());
        }
        statements
    })
}

/// Systems of SQL.
pub(super) fn systems() -> impl Strategy<Value = System> {
    systems_of(&STATEMENTS)
}

/// Systems that change their schema while others use it.
pub(super) fn migrations() -> impl Strategy<Value = System> {
    systems_of(&DEFINITIONS)
}

fn systems_of(pool: &'static [&'static str]) -> impl Strategy<Value = System> {
    let fault = prop_oneof![
        3 => Just(FaultBudget::NONE),
        1 => Just(FaultBudget::NONE.with(Fault::Crash, 1)),
        1 => Just(FaultBudget::NONE.with(Fault::LostReply, 1)),
    ];
    (vec(session(pool), 2..=3), any::<bool>(), fault).prop_map(|(mut sessions, alike, faults)| {
        if alike && let [first, second, ..] = &mut sessions[..] {
            second.clone_from(first);
        }
        system(&sessions, faults)
    })
}

/// Sessions that send these statements over the schema of all of them.
pub(crate) fn system(sessions: &[Vec<String>], faults: FaultBudget) -> System {
    let mut world = World::default();
    world.database.run_script(SCHEMA).expect("it is right");
    let roots = sessions.iter().enumerate().map(|(place, statements)| Root {
        label: format!("p{place}").into(),
        program: Program::new(Session {
            statements: statements.iter().map(|text| Sql::new(text.as_str())).collect(),
            at: 0,
        }),
        role: Role::Handler,
    });
    let promise = |name: &str, when: When, query: &str| {
        Arc::new(QueryInvariant {
            name: name.into(),
            promise: name.into(),
            when,
            query: query.into(),
        }) as Arc<dyn Invariant>
    };
    System::new(Spec {
        name: "statements".into(),
        roots: roots.collect(),
        endpoints: Default::default(),
        world,
        faults,
        invariants: vec![
            promise("counted-once", When::Always, "select id from a where n > 1"),
            promise("childless", When::Finally, "select id from b where a = 1"),
            promise(
                "two-rows",
                When::Finally,
                "select 1 where (select count(*) from a) <> 2",
            ),
        ],
        observations: vec![
            Observation {
                label: "a".into(),
                query: "select id, n, u from a".into(),
            },
            Observation {
                label: "b".into(),
                query: "select * from b".into(),
            },
            Observation {
                label: "c".into(),
                query: "select * from c".into(),
            },
        ],
        vacuity: None,
        identity: format!("{sessions:?} {faults:?}").into(),
    })
}
