//! Where the real server decides, the run is followed: a race is no reason to leave a schedule out, and an order that SQL leaves open is no
//! difference. What must be alike still is: the number in a command tag too.

mod case;
mod server;

use std::sync::Arc;

use case::scenario;
use deadheat::drive::postgres::conductor::{Conducted, conduct};
use deadheat::drive::postgres::source::Server;
use deadheat::drive::postgres::stage::Stage;
use deadheat::drive::postgres::{Options, run, walks};
use deadheat::explore::{Finding, Verdict, classes, explore};
use deadheat::scenario::Scenario;
use deadheat::system::{Points, Schedule};

const CROSSWISE: &str = r#"title = "Two rows, locked in opposite order"
[world]
schema = "create table w (id int primary key, n int not null);"
seed = "insert into w values (1, 0), (2, 0);"
[[process]]
name = "p"
params = [{ a = 1, b = 2 }, { a = 2, b = 1 }]
steps = '''
begin;
update w set n = n + 1 where id = :a;
update w set n = n + 1 where id = :b;
commit;
respond 200;
'''
[[invariant]]
name = "no-server-error"
query = "select process, body from responses where status >= 500"
[expect]
violates = ["no-server-error"]
"#;

/// What the suite runs on the server: the counterexamples, a run to each outcome, and random runs.
fn on_server(scenario: &Scenario, server: &Server) -> Finding {
    let explored = explore(&scenario.system, &deadheat::explore::Options::default());
    let broken = explored
        .invariants
        .iter()
        .filter_map(|judged| judged.counterexample.as_ref());
    let reached = explored.outcomes.iter().filter_map(|reached| reached.witness.clone());
    let mut schedules: Vec<Schedule> = broken.map(|found| found.schedule.clone()).chain(reached).collect();
    schedules.extend(walks(&scenario.system.with_points(Points::None), 3).take(12));
    let options = Options {
        max_schedules: None,
        max_time: None,
        complete: false,
    };
    run(&scenario.system, server, &mut schedules.into_iter(), &options)
}

fn a_deadlock_is_violated_on_the_server_whoever_its_victim_is(server: &Server) {
    let scenario = scenario(CROSSWISE);
    let numbers = |finding: &Finding| {
        let stats = &finding.stats;
        let numbers = [stats.transitions, stats.schedules, stats.finals, stats.depth];
        (numbers, finding.verdict, finding.reason.clone())
    };
    let finding = on_server(&scenario, server);
    assert_eq!(finding.verdict, Verdict::Violated, "{:?}", finding.reason);
    let found = finding.counterexample().expect("a schedule");
    let (_, state) = scenario.system.replay(&found.schedule).expect("it replays");
    let breaches = scenario.system.breaches(&state, scenario.system.is_final(&state));
    assert_eq!(
        breaches.first().map(|breach| &*breach.invariant),
        Some("no-server-error")
    );
    let reason = finding.reason.as_deref().unwrap_or_default();
    assert!(reason.contains("pass a race that only the server decides"), "{reason}");
    assert_eq!(
        numbers(&finding),
        numbers(&on_server(&scenario, server)),
        "numbers of the server's mood"
    );
}

/// Both wait for the same key; when its owner takes it back they race for it.
const KEY: &str = r#"title = "Who gets a key that was given back"
[world]
schema = "create table t (id int primary key, who text not null);"
[[process]]
name = "owner"
steps = '''
begin;
insert into t values (1, 'owner');
rollback;
'''
[[process]]
name = "waiter"
params = [{ who = "one" }, { who = "two" }]
steps = '''
try { insert into t values (1, :who); } catch 23505 { respond 409; }
update t set who = :who || '!' where who = :who;
respond 200;
'''
[[invariant]]
name = "true"
query = "select 1 where false"
"#;

fn a_race_is_followed_whoever_wins_it(server: &Server) {
    let scenario = scenario(KEY);
    let all = classes(&scenario.system.with_points(Points::None), 500);
    let raced: Vec<&Schedule> = all
        .schedules
        .iter()
        .filter(|schedule| schedule.steps.iter().any(|step| !step.branch.is_empty()))
        .collect();
    assert!(!raced.is_empty(), "no schedule has a race that ends unusually");
    let mut stage = Stage::open(server, scenario.system.spec().world.database.scripts()).expect("a stage");
    let mut followed = 0;
    for schedule in &all.schedules {
        match conduct(&mut stage, &scenario.system, schedule).expect("it runs") {
            Conducted::Agreed => {}
            Conducted::Followed { place, schedules } => {
                followed += 1;
                for went in schedules {
                    assert_ne!(went, *schedule);
                    assert_eq!(
                        went.steps[..place - 1],
                        schedule.steps[..place - 1],
                        "{schedule} and {went}"
                    );
                    let (_, state) = scenario.system.replay(&went).expect("it replays");
                    assert!(scenario.system.is_final(&state), "{went} was not followed to its end");
                }
            }
            Conducted::Differs(divergence) => panic!("{schedule}: {divergence}"),
        }
    }
    eprintln!(
        "{} schedules, {} with an unusual end of a race, {followed} followed",
        all.schedules.len(),
        raced.len()
    );
}

fn an_order_that_sql_leaves_open_is_no_difference(server: &Server) {
    let scenario = scenario(
        r#"title = "RETURNING in the order of the server's plan, and equal sort keys"
[world]
schema = "create table t (id int primary key, k text, v int not null default 0);"
seed = "insert into t (id, k) values (3, 'b'); insert into t (id, k) values (2, 'a'); insert into t (id, k) values (1, 'b');"
[[process]]
name = "p"
steps = '''
b := with n as (select id, k from t order by id limit 3 for update skip locked),
  r as (select id, row_number() over (partition by id) as rn from n)
  update t set v = 1 from r where t.id = r.id and rn = 1 returning t.id;
update t set v = 2 where id = 2;
c := select id, v from t order by k;
delete from t where id = :b.id;
respond 200 c.count;
'''
[[invariant]]
name = "true"
query = "select 1 where false"
"#,
    );
    let finding = on_server(&scenario, server);
    assert_eq!((finding.verdict, finding.reason), (Verdict::Held, None));
}

fn a_row_count_that_is_not_the_models_is_told(server: &Server) {
    let scenario = scenario(
        r#"title = "An update that changes nothing"
[world]
schema = "create table t (id int primary key, n int not null);"
seed = "insert into t values (1, 0);"
[[process]]
name = "p"
steps = '''
update t set n = n where id = 1;
respond 200;
'''
[[invariant]]
name = "true"
query = "select 1 where false"
"#,
    );
    // The planted mistake: the server leaves such updates out, which shows in nothing but the count.
    let planted =
        "CREATE TRIGGER quiet BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()";
    let scripts = scenario.system.spec().world.database.scripts().iter().cloned();
    let planted: Vec<Arc<str>> = scripts.chain([planted.into()]).collect();
    let mut stage = Stage::open(server, &planted).expect("a stage");
    let schedule = walks(&scenario.system.with_points(Points::None), 1)
        .next()
        .expect("a run");
    match conduct(&mut stage, &scenario.system, &schedule).expect("it runs") {
        Conducted::Differs(divergence) => {
            let told = divergence.to_string();
            assert!(told.contains("count 1") && told.contains("count 0"), "{told}");
        }
        other => panic!("nothing was noticed: {other:?}"),
    }
}

/// One server for all of it: to start one takes longer than what is done there.
#[test]
fn the_run_follows_where_the_server_decides() {
    let Some(server) = server::server() else { return };
    a_deadlock_is_violated_on_the_server_whoever_its_victim_is(&server);
    a_race_is_followed_whoever_wins_it(&server);
    an_order_that_sql_leaves_open_is_no_difference(&server);
    a_row_count_that_is_not_the_models_is_told(&server);
}
