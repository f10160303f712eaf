//! "Refused, never guessed": whatever a server has by itself is known to the model, kept without effect, or refused; it is never told as an
//! error of the server's. And what no server has is the server's error.

use crate::machine::{Pid, Sql, Usual};
use crate::world::database::sql::known::{SettingKind, function_names, operator_names, settings};
use crate::world::database::{Database, DbEvent};

const SESSION: Pid = Pid::root(0);

/// What came of a statement in a database of its own: `None` for a refusal, else its error's code if there was one.
fn answer(database: &Database, sql: &str) -> Option<Option<String>> {
    let mut database = database.clone();
    let events = database.execute(SESSION, &Sql::new(sql), 0, &mut Usual);
    for event in events {
        match event {
            DbEvent::Refused { .. } => return None,
            DbEvent::Done { result, .. } => return Some(result.err().map(|failure| failure.error.code.to_string())),
            _ => {}
        }
    }
    Some(None)
}

/// The statements whose answer says that the server has no such thing.
fn denied(statements: impl Iterator<Item = String>, code: &str) -> Vec<String> {
    let database = Database::new();
    let denies = |sql: &String| answer(&database, sql).flatten().as_deref() == Some(code);
    statements.filter(denies).collect()
}

#[test]
fn no_function_of_the_server_is_denied() {
    // A literal fits any type, so there is an overload for one of these numbers of arguments, unless SQL can't call it at all.
    let callable = function_names().filter(|name| {
        name.chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    });
    let mut denied_by_all = Vec::new();
    let mut asked = 0;
    for name in callable {
        let args = |count: usize| vec!["'1'"; count].join(", ");
        let calls = (0..=9).map(|count| format!("SELECT pg_catalog.\"{name}\"({})", args(count)));
        let calls: Vec<String> = calls.collect();
        asked += 1;
        if denied(calls.iter().cloned(), "42883").len() == calls.len() {
            denied_by_all.push(name);
        }
    }
    assert!(asked > 2_500, "the list of functions has {asked} only");
    assert_eq!(denied_by_all, Vec::<&str>::new());
}

#[test]
fn no_operator_of_the_server_is_denied() {
    let statements = operator_names().flat_map(|name| {
        let both = format!("SELECT '1' {name} '1'");
        [both, format!("SELECT {name} '1'")]
    });
    let mut statements: Vec<String> = statements.collect();
    assert!(statements.len() > 140);
    let missing = denied(statements.iter().cloned(), "42883");
    // Each is either of one operand or of two.
    statements.retain(|sql| missing.contains(sql));
    let symbol = |sql: &str| {
        sql.trim_start_matches("SELECT ")
            .replace(['\'', '1'], "")
            .trim()
            .to_owned()
    };
    let wrong: Vec<&'static str> = operator_names()
        .filter(|name| statements.iter().filter(|sql| symbol(sql) == **name).count() == 2)
        .collect();
    assert_eq!(wrong, Vec::<&str>::new());
}

#[test]
fn every_setting_of_the_server_can_be_shown_and_set_to_what_it_is_or_is_refused() {
    let database = Database::new();
    let mut refused = 0;
    for (name, setting) in settings() {
        match answer(&database, &format!("SHOW {name}")) {
            None => refused += 1,
            Some(error) => assert_eq!(error, None, "SHOW {name}"),
        }
        let value = match setting.kind {
            SettingKind::Text if setting.default.is_empty() => "''".to_owned(),
            _ => format!("'{}'", setting.default),
        };
        let allowed = matches!(setting.context, "user" | "superuser");
        match answer(&database, &format!("SET {name} = {value}")) {
            None => {}
            Some(error) => assert_eq!(error.is_none(), allowed, "SET {name} = {value}: {error:?}"),
        }
        if allowed {
            let nonsense = answer(&database, &format!("SET {name} = 'x y z'"));
            let known = matches!(setting.kind, SettingKind::Text);
            assert!(
                known || nonsense.flatten().as_deref() == Some("22023"),
                "SET {name} = 'x y z'"
            );
        }
    }
    assert!(
        refused < settings().len() * 2 / 3,
        "{refused} of {} are refused",
        settings().len()
    );
}

#[test]
fn what_no_server_has_is_the_servers_error() {
    let code = |sql: &str| answer(&Database::new(), sql).flatten().unwrap_or_default();
    assert_eq!(code("SELECT no_such_thing(1)"), "42883");
    assert_eq!(code("SELECT abs(true)"), "42883");
    assert_eq!(code("SELECT 1 <-> true"), "42883");
    assert_eq!(code("SET no_such_thing = 1"), "42704");
    assert_eq!(code("SHOW no_such_thing"), "42704");
    assert_eq!(code("SELECT * FROM no_such_thing"), "42P01");
    assert_eq!(code("SELECT xmin"), "42703");
}

#[test]
fn what_the_model_has_not_is_refused_with_its_place() {
    let refused = |sql: &str| {
        let events = Database::new().execute(SESSION, &Sql::new(sql), 0, &mut Usual);
        events.into_iter().find_map(|event| match event {
            DbEvent::Refused { refused, .. } => Some(refused.to_string()),
            _ => None,
        })
    };
    let told = refused("SELECT 1;\n  SELECT pg_notify('a', 'b')").expect("it is refused");
    assert!(told.contains("line 2, column 10"), "{told}");
    for sql in [
        "SELECT 'now'::timestamptz",
        "SELECT 'NaN'::numeric",
        "SELECT count(*) FROM pg_class",
        "SELECT count(*) FROM pg_locks",
        "SELECT uuid_generate_v4()",
        "SELECT similarity('a', 'b')",
        "SELECT to_tsvector('a')",
        "SELECT host('127.0.0.1')",
        "SELECT 1 == 1",
        "SELECT 'a' 'b'",
        "CREATE TEMP TABLE t (a int)",
        "CREATE TABLE t (a int UNIQUE DEFERRABLE)",
        "CREATE TABLE t (a int); SELECT ctid FROM t",
        "CREATE TABLE t (a int); SELECT t.xmin FROM t",
        "CREATE TABLE t (a int); CREATE VIEW v AS SELECT * FROM t; UPDATE v SET a = 1",
        "CREATE TABLE t (a int); SET search_path = nowhere; SELECT * FROM t",
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1); ALTER TABLE t ADD b uuid DEFAULT gen_random_uuid()",
        "SET session_replication_role = replica",
        "SET idle_in_transaction_session_timeout = '1s'",
        "SET ROLE somebody",
        "SHOW data_directory",
        "SELECT octet_length('ab'::char(4))",
        "SELECT to_json('{}'::jsonb)",
    ] {
        assert!(refused(sql).is_some(), "{sql}");
    }
}
