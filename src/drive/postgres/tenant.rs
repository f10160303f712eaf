//! Roles that own one database and may do nothing else: what a scenario's SQL runs as.
//!
//! The administrator (whom the server was found with) makes the role and its database, and is not connected there when a scenario's SQL runs: what
//! somebody left in a schema must not run with an administrator's rights.
//!
//! On a server that others use as well, all of a run's databases and roles carry a remark with the run's number, and the run holds an advisory lock with it for as
//! long as it lives. So the next run knows what a killed one has left behind, and takes nothing away from one that is under way.

use rand::RngExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config};

use super::source::{connect, told};

/// The first half of a run's lock.
const LOCKS: i32 = 0x0dea_d4ea;

/// What the administrator may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Powers {
    superuser: bool,
    create_role: bool,
    create_database: bool,
    /// It may read or write the server's files, or run programs there.
    reaches_out: bool,
    /// Major version of the server.
    major: u32,
}

impl Powers {
    /// Asks the server.
    pub(super) async fn of(config: &Config) -> Result<Powers, String> {
        let client = connect(config).await?;
        let sql = "SELECT rolsuper, rolcreaterole, rolcreatedb, \
             EXISTS (SELECT FROM pg_catalog.pg_roles g WHERE g.rolname IN \
                 ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files') \
                 AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')), \
             current_setting('server_version_num')::integer / 10000 \
             FROM pg_catalog.pg_roles r WHERE rolname = current_user";
        let row = client.query_one(sql, &[]).await.map_err(|error| told(&error))?;
        let major: i32 = row.get(4);
        Ok(Powers {
            superuser: row.get(0),
            create_role: row.get(1),
            create_database: row.get(2),
            reaches_out: row.get(3),
            major: major.unsigned_abs(),
        })
    }

    /// Whether databases get a role of their own; an error says what is missing for that or for doing without.
    fn own_role(self) -> Result<bool, String> {
        let missing = match self {
            Powers { superuser: true, .. } => return Ok(true),
            Powers {
                create_database: false, ..
            } => "it may not create databases",
            Powers { create_role: true, .. } => return Ok(true),
            Powers { reaches_out: false, .. } => return Ok(false),
            _ => "it may reach the server's files or programs, and may not create a role that may not",
        };
        Err(format!(
            "{missing}; the role of DEADHEAT_DATABASE_URL needs CREATEDB and CREATEROLE (ALTER ROLE ... CREATEDB CREATEROLE)"
        ))
    }
}

/// This run, as a server that others use knows it.
#[derive(Debug)]
pub(super) struct Run {
    number: i32,
    // Its session holds the lock; it is never used again. The client first: its end needs the runtime.
    _client: Client,
    _runtime: Runtime,
}

impl Run {
    /// Takes a number and its lock, and clears away what killed runs have left behind.
    pub(super) fn begin(config: &Config) -> Result<Run, String> {
        let config = config.clone();
        let begin = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(|error| error.to_string())?;
            let number: i32 = rand::rng().random_range(1..i32::MAX);
            let client = runtime.block_on(async {
                let client = connect(&config).await?;
                // Older servers do not know the setting.
                let _ = client.batch_execute("SET idle_session_timeout = 0").await;
                let lock = format!("SELECT pg_catalog.pg_advisory_lock({LOCKS}, {number})");
                client.batch_execute(&lock).await.map_err(|error| told(&error))?;
                sweep(&client).await;
                Ok::<_, String>(client)
            })?;
            Ok(Run {
                number,
                _client: client,
                _runtime: runtime,
            })
        };
        // Runtimes may not be nested; a thread of its own never is.
        match std::thread::spawn(begin).join() {
            Ok(run) => run,
            Err(_) => Err("an internal error (see the panic above)".to_owned()),
        }
    }
}

/// Drops databases and roles of runs that are no more. Best effort: who may not drop them leaves them to somebody who may.
async fn sweep(client: &Client) {
    let dead = "remark ~ '^deadheat run [0-9]+$' AND NOT EXISTS (SELECT FROM pg_catalog.pg_locks \
         WHERE locktype = 'advisory' AND classid::bigint = $1::bigint \
             AND objid::bigint = pg_catalog.substr(remark, 14)::bigint)";
    let databases = format!(
        "SELECT name FROM (SELECT datname::text AS name, pg_catalog.shobj_description(oid, 'pg_database') AS remark \
         FROM pg_catalog.pg_database WHERE datname LIKE 'deadheat\\_%') d WHERE {dead}"
    );
    let roles = format!(
        "SELECT name FROM (SELECT rolname::text AS name, pg_catalog.shobj_description(oid, 'pg_authid') AS remark \
         FROM pg_catalog.pg_roles WHERE rolname LIKE 'deadheat\\_%') r WHERE {dead}"
    );
    for (list, role) in [(databases, false), (roles, true)] {
        let left = client.query(&list, &[&i64::from(LOCKS)]).await.unwrap_or_default();
        for row in left {
            let name: String = row.get(0);
            for sql in if role {
                drop_role(&name)
            } else {
                vec![drop_database(&name)]
            } {
                let _ = client.batch_execute(&sql).await;
            }
        }
    }
}

/// Who may set a parameter is one row for all roles: two who change it at once fail with "tuple concurrently updated". Before a statement in the same message,
/// so that both are one transaction. The runs' own numbers begin at 1.
const ONE_BY_ONE: &str = "SELECT pg_catalog.pg_advisory_xact_lock(1684365669, 0); ";

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn drop_database(name: &str) -> String {
    format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name))
}

fn drop_role(name: &str) -> Vec<String> {
    let role = quoted(name);
    vec![
        format!("{ONE_BY_ONE}DROP OWNED BY {role}"),
        format!("DROP ROLE IF EXISTS {role}"),
    ]
}

/// Makes an empty database, and the role that owns it; the configuration is how to connect as that role.
pub(super) async fn settle(
    admin: &Config,
    powers: Powers,
    run: Option<i32>,
    name: &str,
) -> Result<(Config, bool), String> {
    let client = connect(admin).await?;
    let database = quoted(name);
    let mut config = admin.clone();
    config.dbname(name);
    let own = powers.own_role()?;
    let mut owner = String::new();
    if own {
        let password = format!("{:032x}", rand::rng().random::<u128>());
        config.user(name).password(&password);
        let role = format!(
            "CREATE ROLE {database} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '{password}'"
        );
        client.batch_execute(&role).await.map_err(|error| told(&error))?;
        if let Some(run) = run {
            let remark = format!("COMMENT ON ROLE {database} IS 'deadheat run {run}'");
            client.batch_execute(&remark).await.map_err(|error| told(&error))?;
        }
        if !powers.superuser {
            let member = format!("GRANT {database} TO CURRENT_USER");
            client.batch_execute(&member).await.map_err(|error| told(&error))?;
        }
        // Who may not set it lets the server choose the victims of deadlocks.
        let timeout = format!("{ONE_BY_ONE}GRANT SET ON PARAMETER deadlock_timeout TO {database}");
        let _ = client.batch_execute(&timeout).await;
        // Messages are compared; a role may not choose their language for itself.
        let language = format!("ALTER ROLE {database} SET lc_messages = 'C'");
        let _ = client.batch_execute(&language).await;
        owner = format!(" OWNER {database}");
    }
    let create =
        format!("CREATE DATABASE {database}{owner} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
    client.batch_execute(&create).await.map_err(|error| told(&error))?;
    if let Some(run) = run {
        let remark = format!("COMMENT ON DATABASE {database} IS 'deadheat run {run}'");
        client.batch_execute(&remark).await.map_err(|error| told(&error))?;
    }
    let alone = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC");
    client.batch_execute(&alone).await.map_err(|error| told(&error))?;
    if own && powers.major < 15 {
        // Later releases give the schema to the database's owner by themselves.
        let mut inside = admin.clone();
        inside.dbname(name);
        let client = connect(&inside).await?;
        let schema = format!("ALTER SCHEMA public OWNER TO {database}");
        client.batch_execute(&schema).await.map_err(|error| told(&error))?;
    }
    if own && run.is_some() {
        connect(&config).await.map(drop).map_err(|reason| {
            format!(
                "a role of its own was made, and can't log in: {reason}\nlet roles that start with deadheat_ in by password \
                 (pg_hba.conf), or name a role without SUPERUSER and CREATEROLE, which then runs the scenarios itself"
            )
        })?;
    }
    Ok((config, own))
}

/// Takes a database and its role away again.
pub(super) async fn clear(admin: &Config, name: &str, own: bool) -> Result<(), String> {
    let client = connect(admin).await?;
    let mut all = vec![drop_database(name)];
    if own {
        all.extend(drop_role(name));
    }
    let mut failed = None;
    for sql in all {
        if let Err(error) = client.batch_execute(&sql).await {
            failed.get_or_insert(told(&error));
        }
    }
    failed.map_or(Ok(()), Err)
}

impl Run {
    /// Its number.
    pub(super) fn number(&self) -> i32 {
        self.number
    }
}
