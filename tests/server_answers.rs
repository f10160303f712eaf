//! What the server answers counts: values that it makes up, moments, orders and waits are compared with the model's, and what a limit cut short is not decided.

mod case;
mod server;

use std::sync::Arc;
use std::time::Duration;

use deadheat::drive::postgres::conductor::{Conducted, conduct};
use deadheat::drive::postgres::source::Server;
use deadheat::drive::postgres::stage::Stage;
use deadheat::drive::postgres::{Options, run, walks};
use deadheat::explore::{Evidence, Finding, Limit, Verdict, explore};
use deadheat::scenario::Scenario;
use deadheat::suite::{self, Drivers, Plan, Teller};
use deadheat::system::{Points, Schedule};

/// One process with these steps over a table with two rows.
fn scenario(steps: &str, query: &str) -> Scenario {
    let text = format!(
        r#"title = "Steps on a table"
drivers = ["postgres"]
[world]
schema = "create table t (id int primary key, n int not null); create table made (id uuid primary key, n int not null default 0, at timestamptz);"
seed = "insert into t values (1, 10), (2, 20);"
[[process]]
name = "p"
steps = '''
{steps}
respond 200;
'''
[[process]]
name = "other"
steps = '''
begin;
insert into t values (3, 30);
rollback;
respond 200;
'''
[[invariant]]
name = "kept"
when = "always"
query = "{query}"
"#
    );
    case::scenario(&text)
}

const NONE: &str = "select 1 where false";

fn on_server(scenario: &Scenario, server: &Server, options: &Options) -> Finding {
    let atoms = scenario.system.with_points(Points::None);
    run(&scenario.system, server, &mut walks(&atoms, 3).take(6), options)
}

const ALL: Options = Options {
    max_schedules: None,
    max_time: None,
    complete: false,
};

/// The number of a connection is another one on the server: what is sent back and what is left in the end are read through that.
fn what_the_server_made_up_is_sent_back_to_it(server: &Server) {
    let steps = "a := select pg_backend_pid() as me; \
                 insert into t values (9, :a.me); \
                 b := select id from t where n = pg_backend_pid(); \
                 if b.count <> 1 { respond 500; return; }";
    let finding = on_server(&scenario(steps, NONE), server, &ALL);
    assert_eq!((finding.verdict, finding.reason), (Verdict::Held, None));
}

/// now() is when the transaction began, on both sides.
fn a_transaction_has_one_moment(server: &Server) {
    let steps = "begin; insert into made values ('00000000-0000-4000-8000-000000000001', 1, now()); \
                 sleep 1 second; \
                 insert into made values ('00000000-0000-4000-8000-000000000002', 2, now()); commit;";
    let two = "select a.id from made a, made b where a.at <> b.at";
    let finding = on_server(&scenario(steps, two), server, &ALL);
    assert_eq!((finding.verdict, finding.reason), (Verdict::Held, None));
}

/// It was broken in between, and mended at the end.
fn every_state_on_the_way_is_judged(server: &Server) {
    let steps = "update t set n = 5 where id = 1; update t set n = 10 where id = 1;";
    let finding = on_server(&scenario(steps, "select id from t where n = 5"), server, &ALL);
    assert_eq!(finding.verdict, Verdict::Violated, "{:?}", finding.reason);
}

fn a_limit_is_told_and_what_the_time_cut_short_is_not_decided(server: &Server) {
    let scenario = scenario("update t set n = 5 where id = 1;", NONE);
    let two = Options {
        max_schedules: Some(2),
        ..ALL
    };
    let finding = on_server(&scenario, server, &two);
    assert_eq!((finding.verdict, finding.stats.schedules), (Verdict::Held, 2));
    let no_time = Options {
        max_time: Some(Duration::ZERO),
        ..ALL
    };
    let finding = on_server(&scenario, server, &no_time);
    let limit = Limit::Seconds(0);
    assert_eq!(finding.evidence, Evidence::Truncated { limit });
    assert_eq!(finding.verdict, Verdict::Unknown);
}

/// The order is inside a statement that no gate stops, and the clock moves in it, so that it can't be asked for either: that nothing was seen says nothing.
fn what_can_not_be_brought_about_is_told_by_the_promise_that_it_breaks(server: &Server) {
    let text = r#"title = "One of two, each after a while"
[world]
schema = "create table t (id int primary key);"
[[process]]
name = "p"
params = [{ me = 1 }, { me = 2 }]
steps = '''
sleep 1 second;
with free as (select :me::int as id where not exists (select 1 from t)) insert into t select id from free;
respond 200;
'''
[[invariant]]
name = "only-one"
query = "select 1 where (select count(*) from t) > 1"
[expect]
violates = ["only-one"]
"#;
    let scenario = case::scenario(text);
    let explored = explore(&scenario.system, &deadheat::explore::Options::default());
    let found = explored
        .counterexample()
        .expect("both can find nothing")
        .schedule
        .clone();
    let finding = run(&scenario.system, server, &mut std::iter::once(found), &ALL);
    assert_eq!((finding.verdict, finding.stats.schedules), (Verdict::Held, 0));
    assert_eq!(finding.unforced, ["only-one".into()]);
    let reason = finding.reason.unwrap_or_default();
    assert!(reason.starts_with("1 schedule stops a statement"), "{reason}");
}

/// A stage on which the server has been changed by a script that the model does not know.
fn planted(server: &Server, scenario: &Scenario, script: &str) -> Stage {
    let scripts = scenario.system.spec().world.database.scripts().iter().cloned();
    let scripts: Vec<Arc<str>> = scripts.chain([script.into()]).collect();
    Stage::open(server, &scripts).expect("a stage")
}

fn told(stage: &mut Stage, scenario: &Scenario, steps: &[&str]) -> Conducted {
    let fingerprint = scenario.system.spec().fingerprint();
    let token = format!("dh1.{fingerprint:08x}.{}", steps.join("."));
    let schedule: Schedule = token.parse().expect("a token");
    conduct(stage, &scenario.system, &schedule).expect("it runs")
}

/// The planted mistake: another order of the rows that ORDER BY gives, and the same rows.
fn an_order_that_sql_does_not_leave_open_is_compared(server: &Server) {
    let scenario = scenario("a := select id from t order by n;", NONE);
    let rows = "update t set id = 3 where id = 1; update t set id = 1, n = 10 where id = 2; update t set id = 2, n = 20 where id = 3";
    let swapped = "update t set n = 30 - n";
    let mut same = planted(server, &scenario, rows);
    assert_eq!(told(&mut same, &scenario, &["0"]), Conducted::Agreed);
    let mut other = planted(server, &scenario, swapped);
    match told(&mut other, &scenario, &["0"]) {
        Conducted::Differs(divergence) => assert!(divergence.step.is_some(), "not the step: {divergence}"),
        went => panic!("nothing was noticed: {went:?}"),
    }
}

/// The planted mistake: nobody waits for a twin. It shows in nothing else, because neither has committed.
fn who_does_not_wait_on_the_server_is_told(server: &Server) {
    let scenario = scenario("begin; insert into t values (3, 0); rollback;", NONE);
    let schedule = ["0", "1", "0", "1"];
    let mut right = planted(server, &scenario, "select 1");
    assert_eq!(told(&mut right, &scenario, &schedule), Conducted::Agreed);
    let mut wrong = planted(server, &scenario, "alter table t drop constraint t_pkey");
    match told(&mut wrong, &scenario, &schedule) {
        Conducted::Differs(divergence) => {
            let told = divergence.to_string();
            assert!(told.contains("the model says it waits"), "{told}");
        }
        went => panic!("nothing was noticed: {went:?}"),
    }
}

/// A run to each outcome that the explorer reached comes before forty random ones.
fn the_suite_shows_every_outcome_on_the_server() {
    let scenario = scenario("update t set n = 5 where id = 1;", NONE);
    let teller: Teller = Arc::new(|_| {});
    let results = suite::run(vec![scenario], &Plan::default(), &Drivers::default(), &teller);
    let finding = &results.records[0].finding;
    let wanted = 40 + finding.outcomes.len() as u64;
    assert_eq!((finding.verdict, finding.stats.schedules), (Verdict::Held, wanted));
}

/// One server for all but the last of it: to start one takes longer than what is done there.
#[test]
fn what_the_server_answers_is_compared() {
    let Some(server) = server::server() else { return };
    what_the_server_made_up_is_sent_back_to_it(&server);
    a_transaction_has_one_moment(&server);
    every_state_on_the_way_is_judged(&server);
    a_limit_is_told_and_what_the_time_cut_short_is_not_decided(&server);
    what_can_not_be_brought_about_is_told_by_the_promise_that_it_breaks(&server);
    an_order_that_sql_does_not_leave_open_is_compared(&server);
    who_does_not_wait_on_the_server_is_told(&server);
    the_suite_shows_every_outcome_on_the_server();
}
