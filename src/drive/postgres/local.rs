//! A throw-away cluster made with the PostgreSQL binaries of this machine.
//!
//! It lives in a temporary directory and listens on a Unix socket there, so it needs no port and nobody else can reach it.
//! PostgreSQL refuses to run as root; then everything runs as `postgres`, else as `nobody`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};
use tempfile::TempDir;
use tokio_postgres::Config;

use super::keeper::Keeper;
use super::source::{SETTINGS, blocking, until_ready};

/// Debian keeps each major version's binaries here, outside of PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The `bin` directories of Debian's packages, newest version first.
pub(super) fn installed() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(DEBIAN) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.split('.').next()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, path)| path).collect()
}

/// A running cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    server: Child,
    keeper: Option<Keeper>,
    config: Config,
    binaries: PathBuf,
    // Last, so that the directory goes after the server.
    directory: TempDir,
}

impl Cluster {
    /// Initialises and starts one with the first of the directories that has both programs.
    pub(super) fn start(directories: &[PathBuf]) -> Result<Cluster, String> {
        let binaries = directories
            .iter()
            .find(|directory| directory.join("initdb").is_file() && directory.join("postgres").is_file())
            .ok_or_else(|| format!("no initdb and postgres on PATH or under {DEBIAN}/*/bin"))?;
        // A link on PATH leads to the directory that has all the programs.
        let binaries = fs::canonicalize(binaries.join("postgres"))
            .ok()
            .and_then(|program| program.parent().map(Path::to_path_buf))
            .unwrap_or_else(|| binaries.clone());
        let account = Account::choose()?;
        let directory = tempfile::Builder::new()
            .prefix("deadheat-postgres-")
            .tempdir()
            .map_err(|error| format!("no temporary directory: {error}"))?;
        account.own(directory.path())?;
        initialise(&binaries, directory.path(), &account)?;
        let server = launch(&binaries, directory.path(), &account)?;
        let mut cluster = Cluster {
            config: config(directory.path()),
            server,
            keeper: None,
            binaries,
            directory,
        };
        let script = "kill -QUIT \"$1\"; rm -rf \"$2\"; sleep 1; rm -rf \"$2\"";
        let pid = cluster.server.id().to_string();
        cluster.keeper = Some(
            Keeper::start(
                script,
                [pid.as_ref(), cluster.directory.path().as_os_str()],
                |command| {
                    account.apply(command);
                },
            )
            .map_err(|error| format!("cannot start sh: {error}"))?,
        );
        cluster.wait()?;
        Ok(cluster)
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn binaries(&self) -> &Path {
        &self.binaries
    }

    fn wait(&mut self) -> Result<(), String> {
        let config = self.config.clone();
        let log = self.directory.path().join("log");
        let pid = Pid::from_raw(self.server.id() as i32);
        let ready = blocking(async move || {
            until_ready(&config, async || match kill(pid, None) {
                Ok(()) if !has_failed(&log) => Ok(()),
                _ => Err(format!("postgres stopped: {}", last_lines(&log))),
            })
            .await
        });
        if ready.is_err() {
            // Reaped here; the destructor's attempt then finds it gone.
            let _ = self.server.try_wait();
        }
        ready
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGQUIT: no checkpoint; the directory is thrown away anyway.
        let _ = kill(Pid::from_raw(self.server.id() as i32), Signal::SIGQUIT);
        let limit = Instant::now() + Duration::from_secs(5);
        while matches!(self.server.try_wait(), Ok(None)) {
            if Instant::now() > limit {
                let _ = self.server.kill();
                let _ = self.server.wait();
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.dismiss();
        }
    }
}

/// Whom the server runs as.
#[derive(Debug)]
struct Account(Option<User>);

impl Account {
    fn choose() -> Result<Account, String> {
        if !Uid::effective().is_root() {
            return Ok(Account(None));
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = User::from_name(name) {
                return Ok(Account(Some(user)));
            }
        }
        Err("running as root, and there is no user postgres or nobody to run the server as".to_owned())
    }

    fn own(&self, directory: &Path) -> Result<(), String> {
        match &self.0 {
            None => Ok(()),
            Some(user) => std::os::unix::fs::chown(directory, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .map_err(|error| format!("cannot give {} to {}: {error}", directory.display(), user.name)),
        }
    }

    fn apply(&self, command: &mut Command) {
        if let Some(user) = &self.0 {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
    }
}

fn initialise(binaries: &Path, directory: &Path, account: &Account) -> Result<(), String> {
    let mut command = program(&binaries.join("initdb"), directory, account);
    command
        .args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
            "-D",
        ])
        .arg(directory.join("data"));
    let output = command
        .output()
        .map_err(|error| format!("cannot run initdb: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "initdb failed ({}): {}",
        output.status,
        complaint.trim().replace('\n', "; ")
    ))
}

fn launch(binaries: &Path, directory: &Path, account: &Account) -> Result<Child, String> {
    let log = File::create(directory.join("log")).map_err(|error| format!("cannot write a log: {error}"))?;
    let mut command = program(&binaries.join("postgres"), directory, account);
    command.arg("-D").arg(directory.join("data"));
    command.arg("-k").arg(directory).args(["-h", ""]);
    for (name, value) in SETTINGS {
        command.arg("-c").arg(format!("{name}={value}"));
    }
    command
        .stderr(log)
        .spawn()
        .map_err(|error| format!("cannot run postgres: {error}"))
}

/// A program of the cluster: with nothing of our environment that would change what it does, and its own process group,
/// so that Ctrl-C reaches us and not it.
fn program(path: &Path, directory: &Path, account: &Account) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0);
    account.apply(&mut command);
    command
}

fn config(directory: &Path) -> Config {
    let mut config = Config::new();
    config.host_path(directory).user("postgres").dbname("postgres");
    config
}

fn has_failed(log: &Path) -> bool {
    // A child that ended but was not waited for still answers to signal 0; its last words tell.
    let text = fs::read_to_string(log).unwrap_or_default();
    text.contains("database system is shut down") || (text.contains("FATAL:") && !text.contains("starting up"))
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("; ")
}
