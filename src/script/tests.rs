//! Scripts that run: small scenarios without a database, explored in full.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Expected, Problem, ScriptSections, Severity, Source, load};
use crate::system::{Fault, FaultBudget, State, System, When};

/// Loads a scenario's script from the text of its file.
fn system(text: &str, faults: FaultBudget) -> System {
    match try_load(text, faults) {
        Ok((system, _)) => system,
        Err(problems) => {
            let shown: Vec<String> = problems
                .iter()
                .map(|problem| problem.show("test.toml", text).to_string())
                .collect();
            panic!("{}", shown.join("\n"))
        }
    }
}

fn try_load(text: &str, faults: FaultBudget) -> Result<(System, Vec<Problem>), Vec<Problem>> {
    let sections: ScriptSections = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let source = Source {
        name: "test",
        text,
        folder: Path::new("."),
        sections: &sections,
        faults,
        expect: Expected::default(),
    };
    load(&source).map(|loaded| (System::new(loaded.spec), loaded.warnings))
}

/// Every response that some run gives, as `process status body`, one set for each final state.
fn outcomes(system: &System) -> BTreeSet<Vec<String>> {
    finals(system, &|state| {
        let view = system.view(state);
        let answered = view.processes().filter_map(|(_, process)| {
            let response = process.response.as_ref()?;
            Some(format!("{}: {response}", process.label))
        });
        answered.collect()
    })
}

/// What `tell` says of every final state.
fn finals(system: &System, tell: &dyn Fn(&State) -> Vec<String>) -> BTreeSet<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut told = BTreeSet::new();
    let mut open = vec![system.initial()];
    while let Some(state) = open.pop() {
        if system.is_final(&state) {
            told.insert(tell(&state));
        }
        for (_, next, _) in system.successors(&state) {
            if seen.insert(format!("{next:?}")) {
                open.push(next);
            }
        }
    }
    told
}

fn one(steps: &str) -> BTreeSet<Vec<String>> {
    let text = format!("[[process]]\nname = 'p'\nsteps = '''\n{steps}\n'''\n");
    outcomes(&system(&text, FaultBudget::NONE))
}

fn only(outcome: &[&str]) -> BTreeSet<Vec<String>> {
    BTreeSet::from([outcome.iter().map(|line| (*line).to_owned()).collect()])
}

#[test]
fn control_flow_reaches_what_it_says() {
    assert_eq!(
        one(
            "try { raise sold_out 'none left'; } catch timed_out { respond 1; } catch sold_out as e { respond 409 e.message; }"
        ),
        only(&["p: 409 none left"])
    );
    assert_eq!(one("try { return; } finally { respond 200; }"), only(&["p: 200"]));
    assert_eq!(
        one(
            "try { try { fail 'a'; } finally { cache set 'k', 'v'; } } catch failed { v := cache get 'k'; respond 200 v; }"
        ),
        only(&["p: 200 v"])
    );
    assert_eq!(one("fail 'oops';"), only(&["p: 500 oops"]));
    assert_eq!(
        one("loop at most 5 { n := cache incr 'n'; if n { break; } } v := cache get 'n'; respond 200 v;"),
        only(&["p: 200 1"])
    );
    assert_eq!(
        one("for i in 1..3 { cache incr 'n'; } v := cache get 'n'; respond 200 v;"),
        only(&["p: 200 3"])
    );
    assert_eq!(
        one("n := cache incr 'n'; retry 2 on failed { n := cache incr 'n'; fail; } "),
        only(&["p: 500 failed"])
    );
    assert_eq!(
        one("retry 2 on again { n := cache incr 'n'; raise again; }"),
        only(&["p: 500 again"]),
        "three attempts, and the error goes on"
    );
    assert_eq!(
        one("cache set 'k', 'v'; after commit { respond 201; }"),
        only(&["p: 201"])
    );
}

#[test]
fn a_lock_with_a_ttl_lets_two_in_when_its_time_ends() {
    let text = "
[[process]]
name = 'job'
count = 2
steps = '''
token := fresh();
got := cache set 'lock', token nx ex 30;
if got.set {
  n := cache incr 'inside';
  sleep 40 seconds;
  cache decr 'inside';
  cache del 'lock' if token;
  respond 200 n;
} else {
  respond 409;
}
'''
";
    let seen = outcomes(&system(text, FaultBudget::NONE));
    let both = vec!["job 1: 200 1".to_owned(), "job 2: 200 2".to_owned()];
    assert!(seen.contains(&both), "{seen:?}");
    let held = outcomes(&system(&text.replace(" ex 30", ""), FaultBudget::NONE));
    assert!(!held.contains(&both), "{held:?}");
}

#[test]
fn an_atomic_block_is_one_step() {
    let count = |steps: &str| {
        let text = format!("[[process]]\nname = 'p'\ncount = 2\nparams = {{ limit = 1 }}\nsteps = '''\n{steps}\n'''\n");
        outcomes(&system(&text, FaultBudget::NONE))
    };
    let open = count(
        "v := cache get 'n'; if v is null { cache incr 'n'; respond 200; } else { respond 429; } assert :limit = :limit;",
    );
    assert!(
        open.contains(&vec!["p 1: 200".to_owned(), "p 2: 200".to_owned()]),
        "{open:?}"
    );
    let closed = count(
        "ok := atomic { v := cache get 'n'; if v is null { cache set 'n', :limit; return true; } return false; } \
         if ok { respond 200; } else { respond 429; }",
    );
    assert_eq!(closed.len(), 2, "{closed:?}");
    assert!(
        !closed.contains(&vec!["p 1: 200".to_owned(), "p 2: 200".to_owned()]),
        "{closed:?}"
    );
}

#[test]
fn requests_reach_their_handler_with_fields_and_headers() {
    let text = "
[[process]]
name = 'client'
role = 'courier'
steps = '''
r := send POST /orders (item: 7) headers (Idempotency-Key: 'k1') retry 1 on timed_out;
send POST /seen (status: r.status, note: r.note);
'''
[[process]]
name = 'orders'
on = 'POST /orders'
steps = '''respond 201 (note: :item || '/' || :headers.idempotency_key);'''
[[process]]
name = 'seen'
on = 'POST /seen'
steps = '''x := cache get 'none'; if x.value is null { respond request.status note; }'''
";
    let seen = outcomes(&system(text, FaultBudget::NONE));
    assert_eq!(seen.len(), 1, "{seen:?}");
    let twice = outcomes(&system(text, FaultBudget::NONE.with(Fault::Duplicate, 1)));
    assert!(
        twice.iter().any(|lines| lines.len() == 3),
        "a courier's request may arrive twice: {twice:?}"
    );
    let timed_out = outcomes(&system(text, FaultBudget::NONE.with(Fault::Timeout, 1)));
    assert!(
        timed_out.iter().any(|lines| lines.len() == 3),
        "the request is sent again: {timed_out:?}"
    );
}

#[test]
fn a_worker_takes_a_job_again_after_a_crash() {
    let text = "
[[process]]
name = 'web'
steps = '''enqueue mail (to: 'ann') unique 'm1'; respond 202;'''
[[process]]
name = 'worker'
role = 'worker'
steps = '''
loop at most 3 {
  job := take mail;
  call mailgun.send(to: job.to);
  ack job;
}
'''
";
    let calls = |system: &System| {
        finals(system, &|state| {
            let tables = state.world.services["mailgun"].get().tables();
            tables[0].rows.iter().map(|row| format!("{} times", row[3])).collect()
        })
    };
    assert_eq!(calls(&system(text, FaultBudget::NONE)), only(&["1 times"]));
    let crashing = calls(&system(text, FaultBudget::NONE.with(Fault::Crash, 1)));
    assert!(crashing.contains(&vec!["2 times".to_owned()]), "{crashing:?}");
}

#[test]
fn a_mutex_is_given_back_however_its_block_is_left() {
    let text = "
[[process]]
name = 'p'
count = 2
steps = '''
lock 'm' { n := cache incr 'inside'; assert n = 1; cache decr 'inside'; respond 200; return; }
'''
";
    assert_eq!(
        outcomes(&system(text, FaultBudget::NONE)),
        only(&["p 1: 200", "p 2: 200"])
    );
}

#[test]
fn an_external_service_can_fail_after_it_took_effect() {
    let text = "
[world.external.bank]
fails_after = [1]
idempotent = true
answer = { id = 'tr_:n' }
[[process]]
name = 'p'
steps = '''
retry 1 on timed_out { r := call bank.transfer(amount: 5) key 'k'; }
respond 200 r.id;
'''
";
    assert_eq!(outcomes(&system(text, FaultBudget::NONE)), only(&["p: 200 tr_1"]));
}

fn problems(steps: &str) -> Vec<String> {
    let text = format!("process = [{{ name = 'p', params = {{ user_id = 1 }}, steps = '''\n{steps}\n''' }}]");
    let found = match try_load(&text, FaultBudget::NONE) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    };
    let tell = |problem: &Problem| {
        let (line, column) = problem.place(&text);
        let severity = if problem.severity == Severity::Warning {
            "warning "
        } else {
            ""
        };
        let help = problem
            .help
            .as_ref()
            .map(|help| format!("; {help}"))
            .unwrap_or_default();
        format!("{severity}{}:{column} {}{help}", line - 1, problem.message)
    };
    found.iter().map(tell).collect()
}

#[test]
fn mistakes_are_told_with_their_place_in_the_file() {
    assert_eq!(
        problems("respond 200 :usr_id;\nrespond 200 :user_id;"),
        ["1:13 unknown name `usr_id`; did you mean `user_id`?"]
    );
    assert_eq!(
        problems("respond 200 usr_id || :user_id;"),
        ["1:13 unknown name `usr_id`; did you mean `user_id`?"]
    );
    assert_eq!(
        problems("x := cache get 'k';\nrespond :user_id;\nreturn;\nrespond 201;"),
        [
            "warning 1:1 `x` is never used; leave the name out, or call it `_x`",
            "warning 4:1 this step is never reached",
        ]
    );
    assert_eq!(
        problems("try { raise sold_out :user_id; } catch soldout { }"),
        ["1:40 unknown error `soldout`; did you mean `sold_out`?"]
    );
    assert_eq!(
        problems("send POST /x (id: :user_id);"),
        ["1:6 nothing handles `POST /x`"]
    );
    assert_eq!(
        problems("break; respond :user_id;"),
        [
            "1:1 `break` stands outside of a loop",
            "warning 1:8 this step is never reached"
        ]
    );
    assert_eq!(
        problems("respond 200 (:user_id + );"),
        ["1:13 this is not an expression: syntax (Expected: an expression, found: ))"]
    );
}

#[test]
fn a_query_with_a_moment_that_is_none_is_refused() {
    let text = "[[process]]\nname = 'p'\nsteps = 'respond 200;'\n[[invariant]]\nname = 'i'\nwhen = 'allways'\nquery = 'select 1'\n";
    let problems = try_load(text, FaultBudget::NONE).err().unwrap_or_default();
    assert_eq!(problems[0].help.as_deref(), Some("did you mean `always`?"));
    let system = system(&text.replace("allways", "always"), FaultBudget::NONE);
    assert_eq!(system.spec().invariants[0].when(), When::Always);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn no_steps_make_the_loader_or_the_machine_panic(
        steps in proptest::collection::vec(proptest::sample::select(PIECES.as_slice()), 0..24)
    ) {
        let text = format!("[[process]]\nname = 'p'\nparams = {{ n = 2 }}\nsteps = '''\n{}\n'''\n", steps.join(" "));
        if let Ok((system, _)) = try_load(&text, FaultBudget::NONE) {
            let mut state = system.initial();
            for _ in 0..50 {
                match system.successors(&state).pop() {
                    Some((_, next, _)) => state = next,
                    None => break,
                }
            }
        }
    }
}

/// Pieces that make steps when they meet in the right order, and mistakes when they do not.
const PIECES: [&str; 36] = [
    "x := cache get 'k';",
    "x := n + 1;",
    "if :n > 1 {",
    "}",
    "else {",
    "loop at most 2 {",
    "break;",
    "continue;",
    "return;",
    "try {",
    "} catch * as e {",
    "} finally {",
    "respond 200 x;",
    "respond n;",
    "raise oops x;",
    "retry 1 on oops {",
    "lock 'm' {",
    "after commit {",
    "spawn {",
    "transaction {",
    "cache set 'k', :n ex 5;",
    "sleep 1 ms;",
    "begin;",
    "commit;",
    "rollback;",
    "for i in 1..n {",
    "for each r in x {",
    "enqueue q (a: n);",
    "j := take q;",
    "ack j;",
    "call ext(a: :x.y);",
    "atomic {",
    "x := fresh();",
    "assert x is null;",
    "fail e.message;",
    "wait for x;",
];
