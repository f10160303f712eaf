//! No verdict says more than was seen: what can't be prepared is refused, what is not understood at run time is an error, and what
//! holds for want of trying is told.

mod support;

use std::path::Path;

use deadheat::document::Source;
use deadheat::explore::{Finding, Options, Verdict, explore};
use deadheat::scenario::{Library, Scenario};
use serde_json::Value;
use support::Project;

const WORLD: &str = r#"
[world]
schema = """
create table accounts (id int primary key, balance int not null, owner text);
create table log (id bigint generated always as identity primary key, account int references accounts, note text);
create view rich as select id from accounts where balance > 100;
"""
seed = "insert into accounts values (1, 100, 'ann');"
"#;

const INVARIANT: &str = r#"
[[invariant]]
name = "no-overdraft"
query = "select id from accounts where balance < 0"
"#;

fn one(steps: &str) -> String {
    several(&[("pay", steps)])
}

fn several(processes: &[(&str, &str)]) -> String {
    let sections = processes
        .iter()
        .map(|(name, steps)| format!("[[process]]\nname = \"{name}\"\nsteps = '''\n{steps}\n'''\n"));
    let all: Vec<String> = sections.collect();
    format!(
        "title = \"t\"\ndrivers = [\"explore\", \"shuttle\", \"storm\"]\n{WORLD}\n{}\n{INVARIANT}",
        all.join("\n")
    )
}

/// The scenario, or everything that is said about it.
fn read(text: &str) -> Result<Scenario, String> {
    let source = Source::new("case.toml", text);
    match Library::default().read("case", Path::new("case.toml"), source) {
        Ok(scenarios) => Ok(scenarios.into_iter().next().expect("a scenario")),
        Err(problems) => Err(problems.render(false)),
    }
}

fn explored(text: &str) -> (Scenario, Finding) {
    let scenario = read(text).unwrap_or_else(|said| panic!("{said}\n{text}"));
    let finding = explore(&scenario.system, &Options::default());
    (scenario, finding)
}

/// The warnings of the exploration.
fn warnings(text: &str) -> Vec<String> {
    let (_, finding) = explored(text);
    finding.warnings.iter().map(ToString::to_string).collect()
}

/// What is written in a step, and what is said about it.
const WRONG: &[(&str, &[&str])] = &[
    (
        "a := select balanse from accounts; respond 200 a.balanse;",
        &["balanse", "did you mean `balance`?"],
    ),
    (
        "update acounts set balance = 1;",
        &["acounts", "did you mean `accounts`?"],
    ),
    (
        "update accounts set balanc = 1;",
        &["balanc", "did you mean `balance`?"],
    ),
    (
        "update accounts as a set balance = 1 where a.ownr = 'x';",
        &["ownr", "did you mean `owner`?"],
    ),
    (
        "insert into accounts (id, balanse) values (2, 5);",
        &["balanse", "did you mean `balance`?"],
    ),
    ("insert into accounts (id, balance) values (2);", &["42601"]),
    ("insert into accounts (id, balance) values (2, 3, 'x');", &["42601"]),
    (
        "insert into accounts (id, balance) values (2, 'much');",
        &["22P02", "much"],
    ),
    ("update accounts set balance = owner;", &["42804", "balance"]),
    ("select id from accounts where balance = owner;", &["42883"]),
    ("select id from accounts where id = 'one';", &["22P02"]),
    (
        "insert into accounts values (2, 0) on conflict (owner) do nothing;",
        &["42P10"],
    ),
    (
        "insert into accounts values (2, 0) on conflict (ownr) do nothing;",
        &["ownr", "did you mean `owner`?"],
    ),
    (
        "insert into accounts values (2, 0) on conflict on constraint nope do nothing;",
        &["nope"],
    ),
    ("select lowr(owner) from accounts;", &["lowr", "did you mean `lower`?"]),
    (
        "select id from accounts where id in (select account from lgo);",
        &["lgo", "did you mean `log`?"],
    ),
    (
        "select id from accounts where exists (select 1 from log where acount = 1);",
        &["acount", "did you mean `account`?"],
    ),
    (
        "with gone as (delete from logs returning id) select * from gone;",
        &["logs", "did you mean `log`?"],
    ),
    ("delete from accounts where log.id = 1;", &["42P01"]),
    ("select id, count(*) from accounts;", &["42803"]),
    ("truncate acounts;", &["acounts", "did you mean `accounts`?"]),
    (
        "begin; lock table acounts; commit;",
        &["acounts", "did you mean `accounts`?"],
    ),
    ("let x = lowr('A'); respond 200 x;", &["lowr", "did you mean `lower`?"]),
    ("if random() < 0.5 { respond 402; }", &["random"]),
    ("if exists_not('a') { respond 402; }", &["exists_not"]),
    (
        "provider charge_the_card (amount: 1000);",
        &["no operation `charge_the_card`", "create_intent"],
    ),
    (
        "provider create_intnt (amount: 1000);",
        &["create_intnt", "did you mean `create_intent`?"],
    ),
    (
        "provider create_intent (amout: 1000);",
        &["takes no `amout`", "did you mean `amount`?", "needs `amount`"],
    ),
    ("provider create_intent (reference: 'o');", &["needs `amount`"]),
    (
        "provider refund (charge: 'ch_1');",
        &["takes no `charge`", "needs `intent`"],
    ),
    ("search putt (id: '1', text: 'x');", &["did you mean `put`?"]),
    ("search put (id: '1', txt: 'x');", &["did you mean `text`?"]),
    ("mail (too: 'a@example.org');", &["did you mean `to`?", "needs `to`"]),
    ("call cache.gett(key: 'k');", &["did you mean `get`?"]),
];

#[test]
fn what_the_server_would_not_prepare_is_an_error_of_the_file() {
    let mut missed = Vec::new();
    for (steps, words) in WRONG {
        match read(&one(steps)) {
            Ok(_) => missed.push(format!("{steps}\n  nothing is said")),
            Err(said) => {
                let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                let said = flat(&said);
                for word in words.iter().filter(|word| !said.contains(&flat(word))) {
                    missed.push(format!("{steps}\n  no `{word}` in {said}"));
                }
                if !said.contains("case.toml:15:") {
                    missed.push(format!("{steps}\n  no line in {said}"));
                }
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_is_right_is_not_refused() {
    for steps in [
        "a := select balance from accounts where id = 1; update accounts set balance = :a.balance - 80 where id = 1;",
        "insert into log (account, note) values (1, :process) on conflict do nothing;",
        "insert into accounts values (1, 2) on conflict (id) do update set balance = excluded.balance;",
        "r := select id from rich; for each row in r at most 3 { insert into log (account) values (:row.id); }",
        "let from = 1; let more = from + 1; select :from + :more as sum;",
        "create table extra (id int); insert into extra (id) values (1); drop table extra;",
        "alter table accounts add column frozen boolean; update accounts set frozen = true;",
        "create table t (a int); insert into t (a) values (1);",
        "try { insert into nowhere values (1); } catch undefined_table { respond 404; }",
        "try { insert into nowhere values (1); } catch 42P01 { respond 404; }",
        "provider create_intent (amount: 1000, currency: 'eur') key 'k';",
        "mail (to: 'a@example.org', subject: 's', text: 't') key 'k';",
        "call anything.at_all(like: 'this');",
    ] {
        if let Err(said) = read(&one(steps)) {
            panic!("{steps}\n{said}");
        }
    }
}

#[test]
fn what_another_process_migrates_may_be_there() {
    let migration = "alter table accounts add column frozen boolean; create table journal (account int);";
    let frozen = "update accounts set frozen = true where id = 1; insert into journal (account) values (1);";
    assert!(read(&several(&[("migrate", migration), ("freeze", frozen)])).is_ok());
    let slip = "update accounts set frozn = true where id = 1;";
    let said = read(&several(&[("migrate", migration), ("freeze", slip)])).expect_err("a slip");
    assert!(
        said.contains("frozn") && said.contains("did you mean `frozen`?"),
        "{said}"
    );
}

#[test]
fn a_general_catch_is_warned_of_and_does_not_hide_the_slip() {
    let scenario = read(&one(
        "try { update acounts set balance = 1; respond 200; } catch * { respond 503; }",
    ));
    let scenario = scenario.expect("a warning only");
    assert!(
        scenario
            .warnings
            .iter()
            .any(|warning| warning.message.contains("acounts"))
    );
    let finding = explore(&scenario.system, &Options::default());
    assert!(scenario.expect.judge(&finding).is_err(), "{:?}", finding.warnings);
}

#[test]
fn what_is_not_understood_at_run_time_is_an_error_and_names_process_and_statement() {
    // Only the value shows that the operator has no meaning.
    let text = one(
        "a := select owner from accounts where id = 1; if a.owner < 5 * interval '1 day' { respond 402; } respond 200;",
    );
    let project = Project::with(&text);
    let told = project.deadheat(&["run", "--format", "json"]).exits(2);
    let run: Value = serde_json::from_str(&told.stdout).expect("JSON");
    for result in run["results"].as_array().expect("results") {
        let reason = result["reason"].as_str().unwrap_or_default();
        assert_eq!(result["verdict"], "error", "{result}");
        assert!(
            reason.contains("pay") && reason.contains("a.owner <") && reason.contains("line 15"),
            "{reason}"
        );
    }
    project.deadheat(&["run"]).exits(2).says("can't be judged");
}

#[test]
fn a_missing_parameter_at_run_time_is_an_error() {
    let text =
        one("a := select owner from accounts where id = 2; provider create_intent (amount: a.owner); respond 200;");
    let (scenario, finding) = explored(&text);
    assert_eq!(finding.verdict, Verdict::Error);
    let reason = scenario.expect.judge(&finding).expect_err("an error");
    assert!(
        reason.contains("provider create_intent") && reason.contains("parameter_missing"),
        "{reason}"
    );
}

#[test]
fn an_error_that_the_file_expects_is_an_answer_like_any_other() {
    let text = several(&[
        ("pay", "a := select note from log; respond 200 a.note;"),
        ("migrate", "drop table log;"),
    ]);
    let (_, finding) = explored(&text);
    assert_eq!(finding.verdict, Verdict::Error, "{:?}", finding.reason);
    let expected = format!("{text}\n[expect]\nerrors = [\"undefined_table\"]\nviolates = [\"no-server-error\"]\n");
    let (scenario, finding) = explored(&expected);
    assert_eq!(scenario.expect.judge(&finding), Ok(()));
    let wrong = read(&format!("{text}\n[expect]\nerrors = [\"undefined_tabl\"]\n")).expect_err("a slip");
    assert!(wrong.contains("did you mean `undefined_table`?"), "{wrong}");
}

#[test]
fn a_query_that_can_not_be_answered_is_no_violation() {
    let text = one("insert into log (account, note) values (1, 'id=7'); respond 200;")
        + "[[invariant]]\nname = \"no-lost-job\"\nquery = \"select id from log where note::jsonb ->> 'id' = '7'\"\n[expect]\nviolates = [\"no-lost-job\"]\n";
    let project = Project::with(&text);
    let told = project.deadheat(&["run", "--format", "json"]).exits(2);
    let run: Value = serde_json::from_str(&told.stdout).expect("JSON");
    for result in run["results"].as_array().expect("results") {
        assert_eq!(result["verdict"], "error", "{result}");
        assert_eq!(result["violated"].as_array().map(Vec::len), Some(0), "{result}");
        assert!(
            result["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("no-lost-job")),
            "{result}"
        );
    }
}

/// Replacements in a scenario that is alive, and the warnings that they bring.
type Dead<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// Processes, and the warnings that an exploration gives about them.
const DEAD: &[Dead<'_>] = &[
    (
        &[(
            "pay",
            "a := select balance from accounts where id = 1; if a.balance > 500 { update accounts set balance = 0; } respond 200;",
        )],
        &["never-true: pay: the condition `a.balance > 500` is never true (line 15)"],
    ),
    (
        &[(
            "pay",
            "none := select id from accounts where id = 2; for each row in none at most 2 { insert into log (account) values (:row.id); } respond 200;",
        )],
        &["never-reached: pay: no schedule reaches `insert into log (account) values (:row.id)` (line 15)"],
    ),
    (
        &[("pay", "respond 200;"), ("wait", "job := take mail; ack job;")],
        &["never-starts: wait: it never gets past its first effect in any schedule: `queue take` (line 21)"],
    ),
    (
        &[("pay", "insert into accounts values (1, 5); respond 200;")],
        &["always-fails: pay: it ends in the same error in every schedule: unique_violation (23505) (line 15)"],
    ),
    (
        &[(
            "pay",
            "try { insert into accounts values (1, 5); respond 201; } catch unique_violation { respond 409; }",
        )],
        &["never-succeeds: pay: it never answers with success, although it has `respond 201` (line 15)"],
    ),
    (
        &[(
            "pay",
            "n := select count(*) as n from accounts; while n.n > 3 at most 2 { n := select 1 as n; } respond 200;",
        )],
        &["never-true: pay: the condition `n.n > 3` is never true (line 15)"],
    ),
];

/// What is told and fails nothing: a refusal that never comes.
const PRUDENT: &[(&str, &str)] = &[
    (
        "a := select balance from accounts where id = 1; if a.balance > 500 { rollback; respond 402; return; } respond 200;",
        "never-refuses: pay: the condition `a.balance > 500`, which only refuses, is never true (line 15)",
    ),
    (
        "loop at most 2 { got := cache set 'k', 'v' nx; if got { respond 200; return; } } respond 503;",
        "never-refuses: pay: no schedule reaches `respond 503`, which only refuses (line 15)",
    ),
];

#[test]
fn what_no_schedule_shows_is_told_and_fails_the_run() {
    let mut missed = Vec::new();
    for (processes, expected) in DEAD {
        let (scenario, finding) = explored(&several(processes));
        let given: Vec<String> = finding.warnings.iter().map(ToString::to_string).collect();
        if given != *expected {
            missed.push(format!("{processes:?}\n  {given:?}\n  instead of {expected:?}"));
        }
        if scenario.expect.judge(&finding).is_ok() {
            missed.push(format!("{processes:?}\n  is as expected"));
        }
        let threads = Options {
            threads: 3,
            ..Options::default()
        };
        assert_eq!(explore(&scenario.system, &threads).warnings, finding.warnings);
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn a_refusal_that_never_comes_is_told_and_fails_nothing() {
    for (steps, expected) in PRUDENT {
        let (scenario, finding) = explored(&one(steps));
        let given: Vec<String> = finding.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(given, [*expected]);
        assert_eq!(scenario.expect.judge(&finding), Ok(()));
    }
}

#[test]
fn what_some_schedule_shows_is_not_told() {
    for processes in [
        &[
            (
                "pay",
                "a := select balance from accounts where id = 1; if a.balance < 80 { respond 402; return; } update accounts set balance = balance - 80 where id = 1; respond 200;",
            ),
            ("rival", "update accounts set balance = 0 where id = 1;"),
        ][..],
        &[(
            "pay",
            "try { insert into accounts values (2, 5); respond 201; } catch unique_violation { respond 409; }",
        )],
        &[
            (
                "work",
                "loop at most 3 { job := take mail; insert into log (note) values (:job.note); ack job; }",
            ),
            ("pay", "enqueue mail (note: 'x'); respond 200;"),
        ],
        &[(
            "pay",
            "lock 'k' { try { update accounts set balance = 1; } finally { insert into log (account) values (1); } } respond 200;",
        )],
        &[(
            "pay",
            "transaction { update accounts set balance = 1; after commit { mail (to: 'a@b'); } } spawn later { sleep 1 second; insert into log (account) values (1); } respond 200;",
        )],
    ] {
        let text = several(processes);
        assert_eq!(warnings(&text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_declared_warning_is_expected_as_long_as_it_is_given() {
    let steps = "a := select balance from accounts where id = 1; if a.balance > 500 { update accounts set balance = 0; } respond 200;";
    for (declared, is_expected) in [
        ("never-true", true),
        ("never-true pay", true),
        ("never-true somebody", false),
        ("never-reached", false),
    ] {
        let text = format!("{}\n[expect]\nwarnings = [\"{declared}\"]\n", one(steps));
        let (scenario, finding) = explored(&text);
        assert_eq!(scenario.expect.judge(&finding).is_ok(), is_expected, "{declared}");
    }
    let idle = format!("{}\n[expect]\nwarnings = [\"never-true\"]\n", one("respond 200;"));
    let (scenario, finding) = explored(&idle);
    let reason = scenario.expect.judge(&finding).expect_err("nothing is never true");
    assert!(reason.contains("`never-true` is declared"), "{reason}");
    let slip = read(&format!(
        "{}\n[expect]\nwarnings = [\"never-tru\"]\n",
        one("respond 200;")
    ))
    .expect_err("a slip");
    assert!(slip.contains("did you mean `never-true`?"), "{slip}");
}

#[test]
fn warnings_are_told_in_every_format_and_fail_the_run() {
    let project = Project::with(&DEAD.first().map(|(processes, _)| several(processes)).expect("a case"));
    let told = project.deadheat(&["run"]).exits(1);
    told.says("warning: never-true: pay");
    let told = project.deadheat(&["run", "--format", "json"]).exits(1);
    let run: Value = serde_json::from_str(&told.stdout).expect("JSON");
    let explore = &run["results"][0];
    assert_eq!(explore["verdict"], "held");
    assert_eq!(explore["as_expected"], false);
    assert!(
        explore["warnings"][0]
            .as_str()
            .is_some_and(|told| told.starts_with("never-true: pay")),
        "{explore}"
    );
    assert_eq!(
        run["results"][1]["warnings"].as_array().map(Vec::len),
        Some(0),
        "a sample says nothing"
    );
    project
        .deadheat(&["run", "--format", "junit"])
        .exits(1)
        .says("never-true: pay");
    project
        .deadheat(&["run", "--format", "github"])
        .exits(1)
        .says("never-true: pay");
}

#[test]
fn what_a_fault_ends_is_no_server_error_of_the_script() {
    let text = one("update accounts set balance = 1; respond 200;");
    let faults = format!("{text}\n[faults]\nlost_replies = 1\ndisconnects = 1\n");
    let (scenario, finding) = explored(&faults);
    assert_eq!(scenario.expect.judge(&finding), Ok(()));
    let own = faults.replace("respond 200;", "respond 500;");
    let names: Vec<String> = explored(&own).1.violated().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["no-server-error"]);
}

#[test]
fn a_scenario_that_promises_nothing_says_so() {
    let text = one("update accounts set balance = 1; respond 200;");
    let (bare, _) = text.split_once("[[invariant]]").expect("it has one");
    let told = warnings(bare);
    assert!(told.len() == 1 && told[0].starts_with("no-invariants: "), "{told:?}");
    let named = format!("{bare}\n[expect]\nholds = [\"no-deadlock\"]\n");
    assert_eq!(warnings(&named), Vec::<String>::new());
}

#[test]
fn a_script_promises_no_server_error_and_no_deadlock() {
    let crosswise = several(&[
        ("one", "begin; update accounts set balance = 1 where id = 1; update accounts set balance = 1 where id = 2; commit; respond 200;"),
        ("other", "begin; update accounts set balance = 2 where id = 2; update accounts set balance = 2 where id = 1; commit; respond 200;"),
    ])
    .replace("(1, 100, 'ann')", "(1, 100, 'ann'), (2, 100, 'bob')");
    let (scenario, finding) = explored(&crosswise);
    let names: Vec<String> = finding.violated().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["no-server-error", "no-deadlock"]);
    assert!(scenario.expect.judge(&finding).is_err());

    let declared = format!("{crosswise}\n[expect]\nviolates = [\"no-server-error\", \"no-deadlock\"]\n");
    let (scenario, finding) = explored(&declared);
    assert_eq!(scenario.expect.judge(&finding), Ok(()));

    let without = crosswise.replace("seed = ", "promises = [\"no-deadlock\"]\nseed = ");
    let names: Vec<String> = explored(&without)
        .1
        .violated()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["no-deadlock"]);

    let retried = crosswise
        .replace("begin;", "retry 2 on deadlock_detected { begin;")
        .replace("commit;", "commit; }");
    assert_eq!(explored(&retried).1.violated(), Vec::<std::sync::Arc<str>>::new());

    let own = format!(
        "{crosswise}\n[[invariant]]\nname = \"no-server-error\"\nquery = \"select status from responses where status > 599\"\n"
    );
    let (_, finding) = explored(&own);
    let count = finding
        .invariants
        .iter()
        .filter(|judged| &*judged.invariant == "no-server-error")
        .count();
    assert_eq!(count, 1, "the file's own takes its place");
    assert_eq!(finding.verdict, Verdict::Held, "it has said what it wants");
    let both = format!("{own}\n[expect]\nviolates = [\"no-deadlock\"]\n");
    let (scenario, finding) = explored(&both);
    assert_eq!(scenario.expect.judge(&finding), Ok(()), "it names the other one too");
}

/// Who waits for what never comes does not end in an error, whatever a fault does to it.
#[test]
fn what_a_fault_ends_is_no_end_of_every_schedule() {
    let text = several(&[("pay", "respond 200;"), ("wait", "job := take mail; ack job;")]);
    let given = warnings(&format!("{text}\n[faults]\nlost_replies = 1\ndisconnects = 1\n"));
    assert!(!given.iter().any(|told| told.starts_with("always-fails")), "{given:?}");
}

/// What was passed before a search was stopped was passed.
#[test]
fn a_search_that_goes_on_from_its_file_warns_as_one_that_was_not_stopped() {
    let steps = "a := select balance from accounts where id = 1; if a.balance > 500 { update accounts set balance = 0; } update accounts set balance = 1; respond 200;";
    let (scenario, _) = explored(&one(steps));
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keeper = kept.clone();
    let keep = move |reached: &deadheat::explore::Checkpoint| *keeper.lock().expect("no panic") = Some(reached.clone());
    let whole = |options: Options| explore(&scenario.system, &options);
    let stopped = whole(Options {
        max_states: Some(3),
        keep: Some(std::sync::Arc::new(keep)),
        ..Options::default()
    });
    assert_eq!((stopped.verdict, stopped.warnings.len()), (Verdict::Unknown, 0));
    let reached = kept.lock().expect("no panic").take().expect("it was kept");
    let gone_on = whole(Options {
        resume: Some(std::sync::Arc::new(reached)),
        ..Options::default()
    });
    let at_once = whole(Options {
        points: false,
        ..Options::default()
    });
    assert_eq!(gone_on.warnings, at_once.warnings);
    assert_eq!(gone_on.warnings.len(), 1);
    assert_eq!(gone_on.stats.states, at_once.stats.states);
}
