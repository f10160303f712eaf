//! Where the server comes from: a URL, Docker, or binaries on this machine, in that order.
//!
//! 1. `DEADHEAT_DATABASE_URL`, when it is set. A server that was named and cannot be reached is an error, never a reason
//!    to quietly use another one. Its role needs CREATEDB, because every use of the server gets a database of its own, and
//!    CREATEROLE, because that database belongs to a role that may do nothing else; without CREATEROLE scenarios run as the
//!    role itself, unless it could reach the server's files. Other databases and roles stay as they are, and what a killed run
//!    has left behind is dropped by the next one.
//! 2. Docker, through testcontainers. The image is `DEADHEAT_POSTGRES_IMAGE`, when that is set; else the first of
//!    `postgres:17-alpine` and `deadheat-postgres:15` (what `ci/postgres-image.sh` builds) that is on this machine;
//!    else `postgres:17-alpine` is pulled. An image that is here beats a pull, because a pull may take minutes to fail.
//! 3. `initdb` and `postgres` from PATH, else from the newest `/usr/lib/postgresql/*/bin`, as a throw-away cluster.
//!
//! `DEADHEAT_POSTGRES_SOURCE=url|docker|local` allows one of them only. Servers of 2 and 3 are removed when [`Server`] is
//! dropped, and also when this process dies (see `keeper.rs`).

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};

use super::tenant::{self, Powers, Run};
use super::{docker, local, release};
use crate::world::database::Release;

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// `DEADHEAT_DATABASE_URL`.
    Url,
    /// A container.
    Docker,
    /// A cluster made with this machine's binaries.
    Local,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Url => "DEADHEAT_DATABASE_URL",
            Source::Docker => "Docker",
            Source::Local => "local binaries",
        })
    }
}

/// Where to look for a server.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A connection string or URL of a running server.
    pub url: Option<String>,
    /// The Docker image to use, instead of the usual ones.
    pub image: Option<String>,
    /// The one source that is allowed; all of them when `None`.
    pub only: Option<Source>,
    /// Directories to search for `initdb` and `postgres`, best first.
    pub binaries: Vec<PathBuf>,
}

impl Options {
    /// What the environment says: `DEADHEAT_DATABASE_URL`, `DEADHEAT_POSTGRES_IMAGE`, `DEADHEAT_POSTGRES_SOURCE`, `PATH`.
    ///
    /// # Errors
    /// When `DEADHEAT_POSTGRES_SOURCE` names no source, or names `url` and there is none.
    pub fn from_env() -> Result<Options, Unavailable> {
        Options::from_lookup(|name| std::env::var_os(name))
    }

    /// [`Options::from_env`] over any environment. An empty variable counts as unset.
    ///
    /// # Errors
    /// As [`Options::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Options, Unavailable> {
        let text = |name: &str| {
            lookup(name)
                .map(|value| value.to_string_lossy().into_owned())
                .filter(|value| !value.is_empty())
        };
        let url = text("DEADHEAT_DATABASE_URL");
        let only = match text("DEADHEAT_POSTGRES_SOURCE").as_deref() {
            None => None,
            Some("url") if url.is_none() => return Err(Unavailable::NoUrl),
            Some("url") => Some(Source::Url),
            Some("docker") => Some(Source::Docker),
            Some("local") => Some(Source::Local),
            Some(value) => {
                return Err(Unavailable::UnknownSource {
                    value: value.to_owned(),
                });
            }
        };
        let path = lookup("PATH").unwrap_or_default();
        let mut binaries: Vec<PathBuf> = std::env::split_paths(&path).collect();
        binaries.extend(local::installed());
        Ok(Options {
            url,
            image: text("DEADHEAT_POSTGRES_IMAGE"),
            only,
            binaries,
        })
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// A source that does not exist was asked for.
    #[error("DEADHEAT_POSTGRES_SOURCE is {value:?}; it can be url, docker or local")]
    UnknownSource {
        /// What it is set to.
        value: String,
    },
    /// The URL was asked for, and is not set.
    #[error("DEADHEAT_POSTGRES_SOURCE is url, but DEADHEAT_DATABASE_URL is not set")]
    NoUrl,
    /// The URL is not one.
    #[error(
        "DEADHEAT_DATABASE_URL is not a connection string; it should look like postgres://user:password@host:5432/database"
    )]
    BadUrl,
    /// The server that was named does not answer.
    #[error(
        "cannot use the server that DEADHEAT_DATABASE_URL names, {address}: {reason}\n\
         start that server, correct the variable, or unset it to let deadheat start a server of its own"
    )]
    Unreachable {
        /// `host:port/database`.
        address: String,
        /// What the client library says.
        reason: String,
    },
    /// Every source was tried.
    #[error(
        "no PostgreSQL server{}\nset DEADHEAT_DATABASE_URL, start Docker, or install PostgreSQL (Debian: apt-get install postgresql)",
        Tried(tried)
    )]
    Nowhere {
        /// Each source and why it has no server.
        tried: Vec<(Source, String)>,
    },
}

struct Tried<'a>(&'a [(Source, String)]);

impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (source, reason) in self.0 {
            write!(f, "\n  {source}: {reason}")?;
        }
        Ok(())
    }
}

/// Settings that a throw-away server runs with: nothing survives a crash, and nothing runs in the background that could
/// take a lock or change a plan (the model knows never-analysed tables only).
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("autovacuum", "off"),
    ("max_connections", "100"),
    ("jit", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("shared_buffers", "32MB"),
];

/// A running server, shared by a whole run. Dropping it removes what was started for it.
#[derive(Debug)]
pub struct Server {
    source: Source,
    description: String,
    version: String,
    config: Config,
    release: OnceLock<Result<Release, String>>,
    powers: OnceLock<Result<Powers, String>>,
    // Only where others use the server as well.
    run: Option<Run>,
    // Held for its destructor.
    _held: Option<Held>,
}

#[derive(Debug)]
enum Held {
    Container { _container: Box<docker::Container> },
    Cluster { _cluster: Box<local::Cluster> },
}

impl Server {
    /// Finds or starts one. Blocks; not to be called from asynchronous code.
    ///
    /// # Errors
    /// When no source has a server, or the one that was named does not answer.
    pub fn find(options: &Options) -> Result<Server, Unavailable> {
        let allowed = |source: Source| options.only.is_none_or(|only| only == source);
        if let Some(url) = &options.url
            && allowed(Source::Url)
        {
            return Server::named(url);
        }
        let mut tried = Vec::new();
        if options.only.is_none() {
            tried.push((Source::Url, "not set".to_owned()));
        }
        if allowed(Source::Docker) {
            match docker::Container::start(options.image.as_deref()).and_then(Server::contained) {
                Ok(server) => return Ok(server),
                Err(reason) => tried.push((Source::Docker, reason)),
            }
        }
        if allowed(Source::Local) {
            match local::Cluster::start(&options.binaries).and_then(Server::local) {
                Ok(server) => return Ok(server),
                Err(reason) => tried.push((Source::Local, reason)),
            }
        }
        Err(Unavailable::Nowhere { tried })
    }

    /// How to name it to a user: the source, and what it is exactly.
    pub fn describe(&self) -> &str {
        &self.description
    }

    /// Which kind of source it came from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// Its version, such as `15.18`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How to connect to its maintenance database, as the role that makes the others.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// As which release the model must behave to agree with it: the server is asked the first time, not its version number.
    ///
    /// # Errors
    /// When it refuses a database to ask in.
    pub fn release(&self) -> Result<Release, DatabaseError> {
        let asked = self.release.get_or_init(|| {
            let database = self.database("probe").map_err(|error| error.reason)?;
            release::probe(database.config())
        });
        asked.clone().map_err(|reason| DatabaseError {
            name: "probe".to_owned(),
            server: self.description.clone(),
            reason,
        })
    }

    /// Makes an empty database for one use, which is dropped with the value. `purpose` is a part of its name. It belongs to a role that
    /// owns it and may do nothing else.
    ///
    /// # Errors
    /// What the server says, and which privilege is missing.
    pub fn database(&self, purpose: &str) -> Result<Database, DatabaseError> {
        // Unique on the server, which others may use as well.
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let run = self.run.as_ref().map(|run| format!("{:x}_", run.number()));
        let run = run.unwrap_or_default();
        let name = format!("deadheat_{purpose}_{run}{}_{number}", std::process::id());
        let asked = self.powers.get_or_init(|| {
            let config = self.config.clone();
            blocking(async move || Powers::of(&config).await)
        });
        let run = self.run.as_ref().map(Run::number);
        let settled = asked.clone().and_then(|powers| {
            let (config, name) = (self.config.clone(), name.clone());
            blocking(async move || {
                let settled = tenant::settle(&config, powers, run, &name).await;
                if settled.is_err() {
                    // What was made before the failure. What was not is no failure of its own.
                    let _ = tenant::clear(&config, &name, true).await;
                }
                settled
            })
        });
        let (config, own) = settled.map_err(|reason| DatabaseError {
            name: name.clone(),
            server: self.description.clone(),
            reason,
        })?;
        Ok(Database {
            name,
            config,
            server: self.config.clone(),
            own,
            // A throw-away server takes its databases with it.
            left_behind: self.source == Source::Url,
        })
    }

    fn named(url: &str) -> Result<Server, Unavailable> {
        // The parser's own message may quote the text, and so the password.
        let mut config: Config = url.parse().map_err(|_| Unavailable::BadUrl)?;
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(10));
        }
        let address = address(&config);
        match blocking({
            let config = config.clone();
            move || version(config)
        }) {
            Ok(version) => Ok(Server {
                source: Source::Url,
                description: format!("DEADHEAT_DATABASE_URL ({address}, PostgreSQL {version})"),
                version,
                release: OnceLock::new(),
                powers: OnceLock::new(),
                run: Some(Run::begin(&config).map_err(|reason| Unavailable::Unreachable { address, reason })?),
                config,
                _held: None,
            }),
            Err(reason) => Err(Unavailable::Unreachable { address, reason }),
        }
    }

    fn contained(container: docker::Container) -> Result<Server, String> {
        let config = container.config().clone();
        shut(&config)?;
        let version = blocking(move || version(config.clone()))?;
        Ok(Server {
            source: Source::Docker,
            description: format!("testcontainers ({}, PostgreSQL {version})", container.image()),
            version,
            config: container.config().clone(),
            release: OnceLock::new(),
            powers: OnceLock::new(),
            run: None,
            _held: Some(Held::Container {
                _container: Box::new(container),
            }),
        })
    }

    fn local(cluster: local::Cluster) -> Result<Server, String> {
        let config = cluster.config().clone();
        shut(&config)?;
        let version = blocking(move || version(config.clone()))?;
        Ok(Server {
            source: Source::Local,
            description: format!("local PostgreSQL {version} ({})", cluster.binaries().display()),
            version,
            config: cluster.config().clone(),
            release: OnceLock::new(),
            powers: OnceLock::new(),
            run: None,
            _held: Some(Held::Cluster {
                _cluster: Box::new(cluster),
            }),
        })
    }
}

/// A database for one use.
#[derive(Debug)]
pub struct Database {
    name: String,
    config: Config,
    server: Config,
    own: bool,
    left_behind: bool,
}

impl Database {
    /// How to connect to it, as the role that owns it.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How to connect to it as the role that made it. Nothing that a stranger wrote may be sent or have been left there.
    pub fn administrator(&self) -> Config {
        let mut config = self.server.clone();
        config.dbname(&self.name);
        config
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.left_behind {
            // Best effort: the server may be gone, and there is nobody to tell.
            let (server, name, own) = (self.server.clone(), self.name.clone(), self.own);
            let _ = blocking(async move || tenant::clear(&server, &name, own).await);
        }
    }
}

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the database {name:?} on {server}: {reason}")]
pub struct DatabaseError {
    /// Its name.
    pub name: String,
    /// The server, as [`Server::describe`] names it.
    pub server: String,
    /// What the server said.
    pub reason: String,
}

/// Nobody but the administrator has business in the databases that a throw-away server starts with.
fn shut(config: &Config) -> Result<(), String> {
    execute(
        config,
        "REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC".to_owned(),
    )
}

fn execute(config: &Config, sql: String) -> Result<(), String> {
    let config = config.clone();
    blocking(async move || {
        let client = connect(&config).await?;
        client.batch_execute(&sql).await.map_err(|error| told(&error))
    })
}

/// Runs a future to its end on a thread of its own, so that it also works below somebody else's runtime.
pub(super) fn blocking<T: Send + 'static, F: Future<Output = Result<T, String>>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, String> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        runtime.block_on(work())
    };
    match std::thread::spawn(run).join() {
        Ok(result) => result,
        // Not raised again: this also runs in destructors.
        Err(_) => Err("an internal error (see the panic above)".to_owned()),
    }
}

/// Connects, with a task that drives the connection.
pub(super) async fn connect(config: &Config) -> Result<tokio_postgres::Client, String> {
    let (client, connection) = config.connect(NoTls).await.map_err(|error| told(&error))?;
    // It ends when the client is dropped; its error reaches the client's next call as well.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Connects again and again until the server, which is starting, lets us in.
pub(super) async fn until_ready(
    config: &Config,
    mut alive: impl AsyncFnMut() -> Result<(), String>,
) -> Result<(), String> {
    let limit = Duration::from_secs(60);
    let attempts = async {
        loop {
            let last = match connect(config).await {
                Ok(_) => return Ok(()),
                Err(reason) => reason,
            };
            alive().await.map_err(|reason| format!("{reason} ({last})"))?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, attempts)
        .await
        .unwrap_or_else(|_| Err(format!("it was not ready within {} seconds", limit.as_secs())))
}

/// An error with its causes: the client library's own Display leaves the cause out.
pub(super) fn told(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(server) => return format!("{}: {}", server.severity(), server.message()),
        None => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

async fn version(config: Config) -> Result<String, String> {
    let client = connect(&config).await?;
    let row = client
        .query_one("SELECT current_setting('server_version')", &[])
        .await
        .map_err(|error| told(&error))?;
    let full: String = row.get(0);
    // Debian appends its package's version in parentheses.
    Ok(full.split_whitespace().next().unwrap_or(&full).to_owned())
}

/// `host:port/database`, never with a password.
fn address(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_owned(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let database = config.get_dbname().or(config.get_user()).unwrap_or("postgres");
    format!("{host}:{port}/{database}")
}

#[cfg(test)]
mod tests {
    use super::{Options, Server, Source, Unavailable};

    fn options(variables: &[(&str, &str)]) -> Result<Options, Unavailable> {
        Options::from_lookup(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).into())
        })
    }

    #[test]
    fn a_server_that_was_named_but_does_not_answer_is_told_without_its_password() {
        // Port 1 is reserved and nothing listens there.
        let options = options(&[("DEADHEAT_DATABASE_URL", "postgres://me:secret@127.0.0.1:1/shop")]).expect("valid");
        let message = Server::find(&options).expect_err("nothing listens").to_string();
        assert!(message.contains("DEADHEAT_DATABASE_URL"), "{message}");
        assert!(message.contains("127.0.0.1:1/shop"), "{message}");
        assert!(message.contains("unset it"), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn a_malformed_url_is_not_quoted_back() {
        let options = options(&[("DEADHEAT_DATABASE_URL", "postgres://me:secret@[bad/")]).expect("valid");
        let message = Server::find(&options).expect_err("malformed").to_string();
        assert!(
            message.contains("DEADHEAT_DATABASE_URL is not a connection string"),
            "{message}"
        );
        assert!(!message.contains("secret"), "{message}");
    }

    #[test]
    fn without_docker_and_binaries_the_message_lists_what_was_tried() {
        let options = Options {
            only: Some(Source::Local),
            ..Options::default()
        };
        let message = Server::find(&options).expect_err("no directory was given").to_string();
        assert!(
            message.starts_with("no PostgreSQL server\n  local binaries: "),
            "{message}"
        );
        assert!(message.contains("apt-get install postgresql"), "{message}");
    }

    #[test]
    fn a_source_that_does_not_exist_is_refused() {
        let message = options(&[("DEADHEAT_POSTGRES_SOURCE", "cloud")])
            .expect_err("no such source")
            .to_string();
        assert_eq!(
            message,
            "DEADHEAT_POSTGRES_SOURCE is \"cloud\"; it can be url, docker or local"
        );
        assert!(matches!(
            options(&[("DEADHEAT_POSTGRES_SOURCE", "url")]),
            Err(Unavailable::NoUrl)
        ));
    }
}
