//! A scenario from a stranger's pull request is safe to run: what the model does not know never reaches the server, and the role that runs schedules owns its
//! database and nothing else.

mod server;

use std::sync::Arc;

use deadheat::drive::postgres::conductor::{ConductError, conduct};
use deadheat::drive::postgres::source::{Options, Server, Source};
use deadheat::drive::postgres::stage::Stage;
use deadheat::drive::postgres::walks;
use deadheat::drive::postgres::wire::Wires;
use deadheat::machine::{Effect, Machine, Program, Reply, Sql};
use deadheat::system::{FaultBudget, Role, Root, Spec, System};
use deadheat::world::World;
use deadheat::world::database::Database;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

fn wires(config: &Config) -> Wires {
    Wires::open(config.clone(), "a stranger", &[]).expect("a connection")
}

fn cell(wires: &mut Wires, sql: &str) -> Option<String> {
    let rows = wires.control(sql).rows("asking").expect("it answers");
    rows.first()?.first()?.as_deref().map(str::to_owned)
}

/// What reaches files, programs, other databases and other roles.
const OUTSIDE: [&str; 30] = [
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY own FROM PROGRAM 'echo 1'",
    "COPY own TO '/tmp/deadheat-stranger'",
    "COPY own FROM '/etc/passwd'",
    "DO $$ BEGIN COPY own FROM PROGRAM 'echo 1'; END $$",
    "DO $$ BEGIN EXECUTE 'COPY own FROM PROGRAM ''echo 1'''; END $$",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('PG_VERSION')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/deadheat-stranger')",
    "CREATE ROLE stranger",
    "CREATE ROLE stranger SUPERUSER",
    "ALTER ROLE CURRENT_USER SUPERUSER",
    "ALTER ROLE CURRENT_USER CREATEDB",
    "GRANT pg_execute_server_program TO CURRENT_USER",
    "CREATE DATABASE stranger",
    "DROP DATABASE template1",
    "ALTER SYSTEM SET archive_command = 'true'",
    "SET session_preload_libraries = 'auto_explain'",
    "LOAD 'auto_explain'",
    "CREATE EXTENSION dblink",
    "CREATE EXTENSION postgres_fdw",
    "CREATE EXTENSION file_fdw",
    "CREATE FOREIGN DATA WRAPPER stranger",
    "CREATE FUNCTION system(cstring) RETURNS int LANGUAGE c AS 'libc.so.6', 'system'",
    "CREATE TABLESPACE stranger LOCATION '/tmp'",
    "CREATE SUBSCRIPTION stranger CONNECTION 'dbname=postgres' PUBLICATION p",
    "SELECT pg_reload_conf()",
];

#[test]
fn the_role_of_schedules_owns_its_database_and_nothing_else() {
    let Some(server) = server::server() else { return };
    let database = server.database("stranger").expect("a database");
    let mut own = wires(database.config());
    assert_eq!(
        own.control("CREATE TABLE own (line text)").error,
        None,
        "its database is its own"
    );
    for sql in OUTSIDE {
        let error = own.control(sql).error;
        assert!(error.is_some(), "done: {sql}");
    }
    let admin = server.config().get_user().unwrap_or("postgres").to_owned();
    for sql in [
        format!("SET ROLE \"{admin}\""),
        format!("SET SESSION AUTHORIZATION \"{admin}\""),
    ] {
        let error = own.control(&sql).error.unwrap_or_else(|| panic!("done: {sql}"));
        assert_eq!(&*error.code, "42501", "{sql}: {error}");
    }
    let rights = "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls OR EXISTS (\
         SELECT FROM pg_auth_members WHERE member = r.oid) FROM pg_roles r WHERE rolname = current_user";
    assert_eq!(cell(&mut own, rights).as_deref(), Some("f"));
    assert_eq!(
        cell(&mut own, "SELECT count(*) FROM pg_extension WHERE extname <> 'plpgsql'").as_deref(),
        Some("0")
    );

    // Other databases: another run's, and those that a throw-away server starts with.
    let other = server.database("other").expect("a database");
    let mut closed: Vec<String> = vec![other.config().get_dbname().expect("it has a name").to_owned()];
    if server.source() != Source::Url {
        closed.extend(["postgres".to_owned(), "template1".to_owned()]);
    }
    for name in closed {
        let mut config = database.config().clone();
        config.dbname(&name);
        let refused = Wires::open(config, "a stranger", &[]).err();
        let told = refused.unwrap_or_else(|| panic!("connected to {name}")).to_string();
        assert!(told.contains("permission denied for database"), "{told}");
    }
}

/// Sends one message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stranger(Option<Arc<str>>);

impl Machine for Stranger {
    fn step(&mut self, _: Reply) -> Effect {
        match self.0.take() {
            Some(text) => Effect::Sql(Sql::new(text)),
            None => Effect::Done,
        }
    }
}

fn sends(messages: &[&str]) -> System {
    let mut database = Database::default();
    database.run_script("CREATE TABLE t (id int)").expect("it is right");
    let roots = messages.iter().map(|text| Root {
        label: "stranger".into(),
        program: Program::new(Stranger(Some((*text).into()))),
        role: Role::Handler,
    });
    System::new(Spec {
        name: "strangers".into(),
        roots: roots.collect(),
        vacuity: None,
        endpoints: Default::default(),
        world: World {
            database,
            ..World::default()
        },
        faults: FaultBudget::default(),
        invariants: Vec::new(),
        observations: Vec::new(),
        identity: "strangers".into(),
    })
}

/// Also what stands behind a statement that waits or fails first.
#[test]
fn what_the_model_does_not_know_is_never_sent() {
    let Some(server) = server::server() else { return };
    for text in [
        "DO $$ BEGIN CREATE TABLE reached (); END $$",
        "INSERT INTO t VALUES (1); DO $$ BEGIN CREATE TABLE reached (); END $$",
        "SELECT pg_advisory_lock(1); DO $$ BEGIN CREATE TABLE reached (); END $$",
        "CREATE TABLE reached () INHERITS (t)",
        "COPY t TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
    ] {
        let system = sends(&["SELECT pg_advisory_lock(1)", text]);
        let mut stage = Stage::of(&server, &system.spec().world.database).expect("a stage");
        let mut refused = 0;
        for schedule in walks(&system, 1).take(6) {
            match conduct(&mut stage, &system, &schedule) {
                Err(ConductError::Refused { label, reason, .. }) => {
                    assert_eq!(label, "stranger");
                    assert!(reason.contains("not supported"), "{reason}");
                    refused += 1;
                }
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(refused > 0);
        let reached = stage
            .wires()
            .control("SELECT 1 FROM pg_class WHERE relname = 'reached'");
        assert_eq!(reached.results[0].rows.len(), 0, "{text}");
    }
}

/// The URL of a server that was found in another way, for one of its roles.
fn url(server: &Server, role: Option<&str>) -> String {
    let config = server.config();
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let password = match (role, config.get_password()) {
        (Some(_), _) => "secret".to_owned(),
        (None, password) => String::from_utf8_lossy(password.unwrap_or(b"none")).into_owned(),
    };
    let user = role.unwrap_or(config.get_user().unwrap_or("postgres"));
    format!("host={host} port={port} user={user} password={password} dbname=postgres")
}

fn named(url: String) -> Server {
    let options = Options {
        url: Some(url),
        only: Some(Source::Url),
        ..Options::default()
    };
    Server::find(&options).expect("it answers")
}

#[test]
fn a_named_server_keeps_what_is_others_and_loses_what_a_killed_run_left() {
    let Some(server) = server::server() else { return };
    // Not on somebody's own server: this test makes roles of its own.
    if server.source() == Source::Url {
        return;
    }
    let mut admin = wires(server.config());
    for sql in [
        "CREATE ROLE deadheat_mine",
        "CREATE DATABASE deadheat_mine OWNER deadheat_mine",
        "COMMENT ON DATABASE deadheat_mine IS 'deadheat is what we call it'",
        "CREATE ROLE deadheat_dead",
        "CREATE DATABASE deadheat_dead OWNER deadheat_dead",
        "COMMENT ON DATABASE deadheat_dead IS 'deadheat run 5'",
        "COMMENT ON ROLE deadheat_dead IS 'deadheat run 5'",
        "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
    ] {
        assert_eq!(admin.control(sql).error, None, "{sql}");
    }
    let databases = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'deadheat%'";
    let roles = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname LIKE 'deadheat%'";
    let first = named(url(&server, None));
    let held = first.database("held").expect("a database");
    let name = held.config().get_dbname().expect("it has a name").to_owned();
    // A second run at the same time, which clears up as it starts.
    let second = named(url(&server, None));
    assert_eq!(cell(&mut admin, databases), Some(format!("{name} deadheat_mine")));
    assert_eq!(cell(&mut admin, roles), Some(format!("{name} deadheat_mine")));
    assert_eq!(cell(&mut wires(held.config()), "SELECT 1").as_deref(), Some("1"));
    drop(held);
    assert_eq!(cell(&mut admin, databases).as_deref(), Some("deadheat_mine"));
    assert_eq!(cell(&mut admin, roles).as_deref(), Some("deadheat_mine"));

    // A run that is gone without its destructors.
    let left = second.database("left").expect("a database");
    std::mem::forget(left);
    drop(second);
    let third = named(url(&server, None));
    assert_eq!(cell(&mut admin, databases).as_deref(), Some("deadheat_mine"));
    drop((first, third));
    assert_eq!(admin.control("DROP DATABASE deadheat_mine").error, None);
    assert_eq!(admin.control("DROP ROLE deadheat_mine").error, None);
}

#[test]
fn the_role_of_a_url_needs_no_superuser_and_is_told_what_it_lacks() {
    let Some(server) = server::server() else { return };
    if server.source() == Source::Url {
        return;
    }
    let mut admin = wires(server.config());
    for (name, rights) in [("maker", "CREATEDB CREATEROLE"), ("alone", "CREATEDB"), ("poor", "")] {
        let sql = format!("CREATE ROLE {name} LOGIN PASSWORD 'secret' {rights}");
        assert_eq!(admin.control(&sql).error, None, "{sql}");
    }
    let grants = "GRANT CONNECT ON DATABASE postgres TO PUBLIC";
    assert_eq!(admin.control(grants).error, None);
    let user = |name: &str| {
        let database = named(url(&server, Some(name))).database("stage");
        database.map(|database| cell(&mut wires(database.config()), "SELECT current_user").unwrap_or_default())
    };
    assert!(user("maker").expect("a database").starts_with("deadheat_stage_"));
    assert_eq!(user("alone").expect("a database"), "alone");
    let told = user("poor").expect_err("it may not").to_string();
    assert!(
        told.contains("may not create databases") && told.contains("CREATEDB and CREATEROLE"),
        "{told}"
    );
    // Who could run programs must not run scenarios itself.
    assert_eq!(admin.control("GRANT pg_execute_server_program TO alone").error, None);
    let told = user("alone").expect_err("it may not").to_string();
    assert!(told.contains("reach the server's files or programs"), "{told}");
    // A stage works for both kinds.
    let maker = named(url(&server, Some("maker")));
    let scripts = ["CREATE TABLE t (id int, at timestamptz DEFAULT now())".into()];
    let mut stage = Stage::open(&maker, &scripts).expect("a stage");
    stage.note(&"DROP TABLE t".into());
    stage.reset().expect("it is put back");
}
