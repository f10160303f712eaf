//! The real binary, in a folder of its own and an empty environment: what it prints and how it exits.

mod support;

use support::{HARDENED, Project};

#[test]
fn help_is_a_result_and_no_command_is_wrong_usage() {
    let project = Project::empty();
    let help = project.deadheat(&["--help"]);
    help.exits(0).says("Exit status: 0 as expected");
    project.deadheat(&[]).exits(2).complains("Usage: deadheat");
    project.deadheat(&["run", "--format", "jsn"]).exits(2).complains("json");
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let project = Project::empty();
    project
        .deadheat(&["run"])
        .exits(2)
        .complains("there is no file or folder `scenarios`");
    project
        .deadheat(&["check", "nope.toml"])
        .exits(2)
        .complains("there is no file or folder `nope.toml`");
    project.write("notes.md", "# notes\n");
    project
        .deadheat(&["check", "notes.md"])
        .exits(2)
        .complains("`notes.md` is not a scenario file");
    project.write("empty/readme.md", "");
    project
        .deadheat(&["run", "empty"])
        .exits(2)
        .complains("there is no scenario");
}

#[test]
fn what_is_not_toml_is_shown_with_its_line() {
    let project = Project::with("title = \"x\"\n[domain\n");
    let told = project.deadheat(&["check"]).exits(2);
    told.complains("not valid TOML").complains("scenarios/case.toml:2:");
}

#[test]
fn bytes_that_are_not_text_are_no_panic() {
    let project = Project::empty();
    project.write_bytes("scenarios/case.toml", b"title = \"\xff\xfe\"\n");
    project.deadheat(&["check"]).exits(2).complains("not UTF-8");
}

/// What is written wrong, what it becomes, and what is said about it.
const SLIPS: &[(&str, &str, &[&str])] = &[
    (
        "title =",
        "titel =",
        &["unknown key in the file `titel`", "did you mean `title`?"],
    ),
    (
        "[faults]",
        "[fault]",
        &["unknown key in the file `fault`", "did you mean `faults`?"],
    ),
    (
        "handler = \"registration\"",
        "handler = \"registraton\"",
        &["unknown handler `registraton`", "did you mean `registration`?"],
    ),
    (
        "handler = \"registration\"",
        "handler = \"kafka\"",
        &["unknown handler `kafka`", "not a known handler", "expected"],
    ),
    (
        "unique_index = \"on\"",
        "unique_indx = \"on\"",
        &[
            "unknown key in `[design]` `unique_indx`",
            "did you mean `unique_index`?",
        ],
    ),
    (
        "answer = \"after_commit\"",
        "answer = \"after_comit\"",
        &[
            "unknown value of `answer` `after_comit`",
            "did you mean `after_commit`?",
        ],
    ),
    (
        "\"no-duplicate-customers\"",
        "\"no-duplicate-customer\"",
        &[
            "unknown invariant `no-duplicate-customer`",
            "did you mean `no-duplicate-customers`?",
        ],
    ),
    (
        "timeouts = 1",
        "timeout = 1",
        &["unknown key in `[faults]` `timeout`", "did you mean `timeouts`?"],
    ),
    (
        "timeouts = 1",
        "timeouts = -1",
        &["`timeouts` is -1", "expected an integer from 0 to 100"],
    ),
    (
        "timeouts = 1",
        "timeouts = \"1\"",
        &["`timeouts` is a string", "expected an integer"],
    ),
    (
        "drivers = [\"explore\"]",
        "drivers = [\"explorer\"]",
        &["unknown driver `explorer`", "did you mean `explore`?"],
    ),
    (
        "attempts = 2",
        "attemps = 2",
        &["unknown key in `[[clients]]` `attemps`", "did you mean `attempts`?"],
    ),
    (
        "attempts = 2",
        "attempts = 99",
        &["`attempts` is 99", "expected an integer from 1 to 10"],
    ),
    (
        "first_sent = \"10:30:15\"",
        "first_sent = \"later\"",
        &["\"later\" is not a time of day", "write it as \"10:30:15\""],
    ),
    ("[domain]\n", "[world]\n", &["case.toml"]),
];

#[test]
fn a_slip_is_shown_at_its_place_with_the_nearest_right_word() {
    for (right, wrong, said) in SLIPS {
        assert!(HARDENED.contains(right), "{right}");
        let project = Project::with(&HARDENED.replace(right, wrong));
        let told = project.deadheat(&["run"]).exits(2);
        for words in *said {
            told.complains(words);
        }
        let line = HARDENED
            .lines()
            .position(|line| line.contains(right.trim_end()))
            .unwrap_or(0)
            + 1;
        if !said.contains(&"case.toml") {
            told.complains(&format!("scenarios/case.toml:{line}:"));
        }
    }
}

#[test]
fn everything_that_is_wrong_with_a_file_is_said_at_once() {
    let text = HARDENED
        .replace("unique_index", "unique_indx")
        .replace("timeouts", "timeout")
        .replace("title =", "titel =");
    let project = Project::with(&text);
    let told = project.deadheat(&["check"]).exits(2);
    told.complains("unique_indx").complains("`timeout`").complains("titel");
}

#[test]
fn sql_that_the_model_does_not_know_is_refused_with_its_place() {
    let schema =
        "schema = '''\nCREATE INDEX ON customers (details);\nCREATE EVENT TRIGGER t ON x EXECUTE FUNCTION f();\n'''\n";
    let text = HARDENED.replace(
        "handler = \"registration\"\n",
        &format!("handler = \"registration\"\n{schema}"),
    );
    let line = text
        .lines()
        .position(|line| line.contains("EVENT TRIGGER"))
        .unwrap_or(0)
        + 1;
    let project = Project::with(&text);
    let told = project.deadheat(&["check"]).exits(2);
    told.complains(&format!("scenarios/case.toml:{line}:"));
}

#[test]
fn two_scenarios_of_one_name_are_refused() {
    let project = Project::with(HARDENED);
    project.write("old/scenarios/case.toml", HARDENED);
    project
        .deadheat(&["run", "scenarios", "old/scenarios"])
        .exits(2)
        .complains("are both called `case`");
}

#[test]
fn a_schedule_that_does_not_fit_says_why() {
    let project = Project::with(HARDENED);
    let replay = |schedule: &str| project.deadheat(&["replay", "scenarios/case.toml", schedule]);
    replay("dh1.00000000.0")
        .exits(2)
        .complains("was recorded for scenario 00000000");
    replay("dh0.00000000.0").exits(2).complains("has format `dh0`");
    replay("nonsense").exits(2).complains("has format `nonsense`");
    replay("dh1.00000000.0.?")
        .exits(2)
        .complains("part 2, `?`, is not a step");
    project
        .deadheat(&["replay", "scenarios/none.toml", "dh1.00000000.0"])
        .exits(2)
        .complains("scenarios/none.toml");
}

#[test]
fn a_server_that_was_named_and_does_not_answer_is_a_missing_environment() {
    let project = Project::with(&HARDENED.replace("[\"explore\"]", "[\"postgres\"]"));
    let url = ("DEADHEAT_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    let told = project.deadheat_with(&["run"], &[url]).exits(3);
    told.says("cannot use the server that DEADHEAT_DATABASE_URL names, 127.0.0.1:1/none");
    let url = ("DEADHEAT_DATABASE_URL", "what is this");
    let told = project.deadheat_with(&["run", "--format", "json"], &[url]).exits(3);
    told.complains("DEADHEAT_DATABASE_URL is not a connection string");
}

/// Docker is the only source allowed, and there is none.
const NO_SERVER: &[(&str, &str)] = &[
    ("DEADHEAT_POSTGRES_SOURCE", "docker"),
    ("DOCKER_HOST", "unix:///nonexistent/docker.sock"),
];

#[test]
fn without_any_server_the_driver_is_skipped_with_the_reason() {
    let project = Project::with(&HARDENED.replace("[\"explore\"]", "[\"postgres\"]"));
    let told = project.deadheat_with(&["run"], NO_SERVER).exits(0);
    told.says("skipped")
        .says("no PostgreSQL server")
        .says("set DEADHEAT_DATABASE_URL");
}

#[test]
fn without_any_server_it_is_an_error_when_one_is_required() {
    let project = Project::with(&HARDENED.replace("[\"explore\"]", "[\"postgres\"]"));
    let told = project
        .deadheat_with(&["run", "--require-postgres"], NO_SERVER)
        .exits(3);
    told.says("error: no PostgreSQL server");
    project
        .deadheat_with(
            &["replay", "scenarios/case.toml", "--on", "postgres", "dh1.00000000.0"],
            NO_SERVER,
        )
        .exits(2);
}

#[test]
fn a_new_scenario_from_the_domain_is_right_as_it_is() {
    let project = Project::empty();
    project
        .deadheat(&["new", "registration/mine", "--from", "domain"])
        .exits(0)
        .says("deadheat run scenarios/registration/mine.toml");
    project.deadheat(&["check"]).exits(0).says("registration/mine is right");
    project
        .deadheat(&["new", "registration/mine", "--from", "domain"])
        .exits(2)
        .complains("is there already");
    project
        .deadheat(&["new", "../outside"])
        .exits(2)
        .complains("can't be a scenario's name");
}

#[test]
fn the_schema_knows_the_handlers_and_their_choices() {
    let project = Project::empty();
    let told = project.deadheat(&["schema"]).exits(0);
    let schema: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    let handlers = schema.pointer("/$defs/DomainSection/properties/handler/enum");
    assert!(
        handlers.is_some_and(|handlers| handlers.to_string().contains("registration")),
        "{handlers:?}"
    );
    told.says("claimed_first");
}

#[test]
fn the_list_names_what_can_be_written_in_a_scenario() {
    let project = Project::with(HARDENED);
    let told = project.deadheat(&["list"]).exits(0);
    told.says("case")
        .says("idempotency_key")
        .says("no-duplicate-customers")
        .says("postgres");
    assert!(!told.stdout.contains('\u{1b}'), "no colour into a pipe");
}

#[test]
fn every_wrong_file_is_shown_and_not_only_the_first() {
    let project = Project::empty();
    for name in ["one", "other"] {
        project.write(&format!("scenarios/{name}.toml"), "titel = \"a slip\"\n");
    }
    let told = project.deadheat(&["run"]).exits(2);
    told.complains("one.toml").complains("other.toml");
}

/// Whoever still has the old file open reads the old file: it is never half of the new one.
#[test]
fn a_checkpoint_is_replaced_and_not_written_over() {
    let project = Project::with(&format!("{HARDENED}\n[limits]\nstates = 20\n"));
    let run = ["run", "--checkpoint", "reached", "--driver", "explore"];
    project.deadheat(&run).exits(1);
    let (now, before) = (project.path().join("reached"), project.path().join("before"));
    std::fs::hard_link(&now, &before).expect("a second name");
    let kept = std::fs::read(&before).expect("it was written");
    project.write("scenarios/case.toml", &format!("{HARDENED}\n[limits]\nstates = 40\n"));
    project.deadheat(&run).exits(1);
    assert_ne!(std::fs::read(&now).expect("it was written again"), kept);
    assert_eq!(std::fs::read(&before).expect("it is there"), kept);
}

/// A violation that the scenario expects is as expected in a replay too; one that it does not is not.
#[test]
fn a_replay_ends_as_the_run_does() {
    let broken = HARDENED
        .replace("unique_index = \"on\"", "unique_index = \"off\"")
        .replace("\"claimed_first\"", "\"ignored\"")
        .replace("\"insert_first\"", "\"select_then_insert\"");
    let expected = broken.replace("holds = ", "violates = ");
    let project = Project::with(&expected);
    let told = project.deadheat(&["run"]).exits(0);
    let (_, after) = told.stdout.split_once(" 'dh1.").expect("a line to paste");
    let schedule = format!("dh1.{}", after.split('\'').next().unwrap_or_default());
    let replay = ["replay", "scenarios/case.toml", &schedule];
    project
        .deadheat(&replay)
        .exits(0)
        .says("no-duplicate-customers is violated");
    project.write("scenarios/case.toml", &broken);
    project
        .deadheat(&replay)
        .exits(1)
        .says("no-duplicate-customers is violated");
}

#[test]
fn in_brief_what_was_expected_is_not_drawn() {
    let project = Project::with(HARDENED);
    let told = |arguments: &[&str]| project.deadheat(arguments).exits(0).stdout;
    assert!(told(&["run"]).contains("One customer, one answer"));
    assert!(!told(&["run", "--brief"]).contains("One customer, one answer"));
}

/// What is not as expected is so whatever the environment; a missing part of it is told where nothing else is wrong.
#[test]
fn a_mismatch_weighs_more_than_a_missing_server() {
    let both = HARDENED.replace("[\"explore\"]", "[\"explore\", \"postgres\"]");
    let project = Project::with(&both.replace("holds = ", "violates = "));
    let run = ["run", "--require-postgres"];
    project.deadheat_with(&run, NO_SERVER).exits(1);
    project.write("scenarios/case.toml", &both);
    project.deadheat_with(&run, NO_SERVER).exits(3);
}

#[test]
fn a_suite_of_which_a_part_is_missing_ends_as_a_failure() {
    let project = Project::empty();
    project.write(
        "1.json",
        r#"{"version": 1, "ok": true, "shard": {"part": 1, "of": 2}, "results": []}"#,
    );
    let told = project.deadheat(&["merge", "1.json"]).exits(1);
    told.says("a shard is missing");
}
