//! Clocks and values that a server makes up are the world's: the model and the real server agree on them, from the seed to the last row.

mod case;
mod server;

use std::path::Path;

use case::untitled;
use deadheat::document::Source;
use deadheat::drive::postgres::source::Server;
use deadheat::drive::postgres::{self, walks};
use deadheat::explore::{self, Verdict, explore};
use deadheat::scenario::Library;

/// Schedules of each scenario on the server.
const RUNS: usize = 12;

/// Every promise of the scenario holds in every order of the model, and schedules go alike on the server.
fn holds_on_both(server: Option<&Server>, text: &str) {
    let scenario = untitled(text);
    let found = explore(&scenario.system, &explore::Options::default());
    assert_eq!(found.verdict, Verdict::Held, "{:?}\n{text}", found.invariants);
    let Some(server) = server else { return };
    let options = postgres::Options {
        max_schedules: None,
        max_time: None,
        complete: false,
    };
    let mut schedules = walks(&scenario.system, 1).take(RUNS);
    let found = postgres::run(&scenario.system, server, &mut schedules, &options);
    assert_eq!(found.verdict, Verdict::Held, "{:?}\n{text}", found.reason);
    assert!(found.stats.schedules > 0);
}

#[test]
fn the_seed_is_of_the_worlds_start() {
    let server = server::server();
    holds_on_both(
        server.as_ref(),
        r#"
        [world]
        now = "2024-02-29 23:59:58.123456"
        schema = "create table t (id int primary key, born timestamptz default now(), dies timestamp not null);"
        seed = "insert into t (id, dies) values (1, now() + interval '30 minutes');"
        [[process]]
        name = "p"
        steps = '''
        t := select born = timestamptz '2024-02-29 23:59:58.123456Z' as same, dies > now() as lives, born from t;
        if t.same and t.lives { respond 200; } else { respond 500; }
        '''
        [[invariant]]
        name = "young"
        query = "select status from responses where status <> 200"
        "#,
    );
}

/// `now()` is of BEGIN, also after a savepoint was rolled back; a statement's moment is its own, and the clock's goes on while a statement waits.
#[test]
fn every_clock_is_the_worlds_in_transactions_and_after_waits() {
    let server = server::server();
    holds_on_both(
        server.as_ref(),
        r#"
        [world]
        now = "2024-02-29 23:59:58.123456"
        schema = """
        create table t (id int primary key, a timestamptz not null default current_timestamp, b timestamp default localtimestamp(2),
            c timestamptz default clock_timestamp(), d date default current_date, e timestamptz default statement_timestamp(),
            f timestamptz default pg_catalog.transaction_timestamp(), g timestamptz default CURRENT_TIMESTAMP (3));
        create view young as select id from t where a > now() - interval '3 seconds';
        """
        seed = "insert into t (id) values (1); insert into t (id, a) values (2, now() - interval '10 seconds');"
        [[process]]
        name = "p"
        steps = '''
        begin;
        insert into t (id) values (10);
        sleep 2s;
        x := select now() = current_timestamp and clock_timestamp() > now() and statement_timestamp() > now() as sane,
            current_date, current_timestamp(3), localtimestamp(0), localtimestamp, age(timestamptz '2024-01-01');
        insert into t (id) values (11);
        savepoint s;
        sleep 1s;
        select statement_timestamp(), now();
        rollback to savepoint s;
        select statement_timestamp(), clock_timestamp();
        commit;
        select now(), statement_timestamp(), (select count(*) from young);
        if x.sane { respond 200; } else { respond 500; }
        '''
        [[process]]
        name = "q"
        steps = '''
        begin;
        update t set c = clock_timestamp(), e = statement_timestamp(), f = now() where id = 1;
        sleep 3s;
        commit;
        respond 200;
        '''
        [[process]]
        name = "r"
        steps = '''
        update t set c = clock_timestamp(), e = statement_timestamp(), f = now() where id = 1;
        respond 200;
        '''
        [[invariant]]
        name = "sane"
        query = "select status from responses where status <> 200"
        "#,
    );
}

/// Compared by where each comes up first; a process that sends one back names the server's row.
#[test]
fn what_the_server_makes_up_is_fresh_and_means_the_same_row_on_both_sides() {
    let server = server::server();
    holds_on_both(
        server.as_ref(),
        r#"
        [world]
        schema = """
        create table t (id uuid primary key default gen_random_uuid(), tx bigint default txid_current(),
            x xid8 default pg_current_xact_id(), pid int default pg_backend_pid(), r double precision default random(),
            code text default md5(random()::text));
        """
        seed = "insert into t default values; insert into t default values;"
        [[process]]
        name = "p"
        count = 2
        steps = '''
        begin;
        a := insert into t default values returning id, tx, x, pid, r, code;
        b := insert into t default values returning id, tx, pid;
        mine := select count(*) as n, count(distinct id) as ids from t where tx = :a.tx and pid = :b.pid;
        commit;
        next := select txid_current() = :a.tx as same, (random() * 100)::int as r;
        gone := delete from t where tx = :b.tx and id = :a.id returning id;
        lowest := select id from t order by id limit 1;
        if mine.n = 2 and mine.ids = 2 and gone.count = 1 and not next.same { respond 200; } else { respond 500; }
        '''
        [[invariant]]
        name = "own"
        query = "select status from responses where status <> 200"
        "#,
    );
}

#[test]
fn nothing_turns_on_chance() {
    for statement in [
        "select id from t where random() < 0.5",
        "select id from t order by random()",
    ] {
        let text = format!(
            "title = \"a case\"\n[world]\nschema = \"create table t (id int)\"\n[[process]]\nname = \"p\"\nsteps = '''\n{statement};\n'''\n\
             [[invariant]]\nname = \"none\"\nquery = \"select 1 where false\"\n"
        );
        let source = Source::new("case.toml", text);
        let read = Library::default().read("case", Path::new("case.toml"), source);
        let told = read.err().map(|problems| format!("{problems:?}")).unwrap_or_default();
        assert!(
            told.contains("random() (one") || told.contains("random() (it would"),
            "{statement}: {told}"
        );
    }
}

/// The guide's own pattern: each schedule starts with the schema as it was.
#[test]
fn a_migration_runs_in_every_schedule_anew() {
    let server = server::server();
    holds_on_both(
        server.as_ref(),
        r#"
        [world]
        schema = """
        create table t (id serial primary key, v int not null default 0);
        create table u (id int references t);
        create table old (a int);
        """
        seed = "insert into t (v) values (1), (2); insert into u values (1);"
        [[process]]
        name = "code"
        steps = '''
        insert into t default values;
        insert into u values (2);
        respond 200;
        '''
        [[process]]
        name = "migration"
        steps = '''
        begin;
        create table n (id int primary key, at timestamptz default now());
        insert into n values (1);
        drop table old;
        alter table t add column w int not null default 1;
        commit;
        create index on t (w);
        respond 200;
        '''
        [[invariant]]
        name = "fine"
        query = "select status from responses where status <> 200"
        "#,
    );
}

#[test]
fn any_value_can_be_an_argument_of_the_provider() {
    let server = server::server();
    holds_on_both(
        server.as_ref(),
        r#"
        [world]
        schema = "create table t (id uuid primary key, n numeric, d date, j jsonb, i interval, f double precision);"
        seed = """insert into t values ('00000000-0000-0000-0000-00000000000a', 1.50, '2024-02-29', '{"a": [1]}', '1 month 2 days', 0.1);"""
        [[process]]
        name = "p"
        steps = '''
        t := select * from t;
        a := provider create_intent (amount: 100, reference: t.id);
        b := provider create_intent (amount: 100, reference: t.n);
        c := provider create_intent (amount: 100, reference: t.d);
        d := provider create_intent (amount: 100, reference: t.j);
        e := provider create_intent (amount: 100, reference: t.i);
        f := provider create_intent (amount: 100, reference: t.f);
        respond 200;
        '''
        [[invariant]]
        name = "answered"
        query = "select process from processes where state = 'failed'"
        "#,
    );
}
