//! A project in a folder of its own, and the real binary in it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file compiles this anew and uses its own part"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A scenario that holds, small enough to be explored at once.
pub const HARDENED: &str = r#"title = "One customer, one answer"
drivers = ["explore"]

[domain]
handler = "registration"

[domain.design]
idempotency_key = "claimed_first"
duplicate_check = "insert_first"
unique_index = "on"
answer = "after_commit"
duplicate_answer = "stored_response"

[[clients]]
attempts = 2
first_sent = "10:30:15"

[faults]
timeouts = 1

[expect]
holds = ["no-duplicate-customers"]
"#;

/// A folder with scenarios.
#[derive(Debug)]
pub struct Project {
    folder: TempDir,
}

impl Project {
    /// Nothing in it.
    pub fn empty() -> Self {
        Project {
            folder: TempDir::new().expect("a temporary folder"),
        }
    }

    /// One scenario, `scenarios/case.toml`.
    pub fn with(scenario: &str) -> Self {
        let project = Project::empty();
        project.write("scenarios/case.toml", scenario);
        project
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) {
        self.write_bytes(name, text.as_bytes());
    }

    /// Writes a file of any bytes.
    pub fn write_bytes(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder");
        }
        fs::write(path, bytes).expect("a file");
    }

    /// Runs the binary with an empty environment.
    pub fn deadheat(&self, arguments: &[&str]) -> Told {
        self.deadheat_with(arguments, &[])
    }

    /// Runs the binary with these variables only.
    pub fn deadheat_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Told {
        let ran = Command::new(env!("CARGO_BIN_EXE_deadheat"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(variables.iter().copied())
            .output()
            .expect("the binary runs");
        Told {
            command: format!("deadheat {}", arguments.join(" ")),
            status: ran.status.code(),
            stdout: String::from_utf8_lossy(&ran.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&ran.stderr).into_owned(),
        }
    }
}

/// What a run of the binary printed.
#[derive(Debug)]
pub struct Told {
    command: String,
    status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Told {
    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Told {
        assert_eq!(self.status, Some(status), "{self}");
        assert!(!self.stderr.contains("panicked"), "{self}");
        self
    }

    /// Asserts that stdout has these words.
    #[track_caller]
    pub fn says(&self, words: &str) -> &Told {
        assert!(self.stdout.contains(words), "no `{words}` on stdout\n{self}");
        self
    }

    /// Asserts that stderr has these words, wherever lines are broken.
    #[track_caller]
    pub fn complains(&self, words: &str) -> &Told {
        let flat = |text: &str| {
            text.split(['\n', ' ', '│'])
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert!(
            flat(&self.stderr).contains(&flat(words)),
            "no `{words}` on stderr\n{self}"
        );
        self
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Told {
            command,
            status,
            stdout,
            stderr,
        } = self;
        write!(f, "{command}: {status:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
