//! `deadheat provider`: where it listens, how it ends, and what is wrong usage.

mod support;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use deadheat::live::provider::Fault;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::Project;

#[test]
fn it_says_where_it_listens_answers_there_and_ends_at_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut provider = Command::new(env!("CARGO_BIN_EXE_deadheat"))
            .args([
                "provider",
                "--listen",
                "127.0.0.1:0",
                "--fault",
                "create_customer#1: 500-before",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(provider.stdout.take().expect("its stdout"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a line");
        let url = first
            .trim()
            .strip_prefix("listening on ")
            .expect("where it listens")
            .to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let create = || async {
            let client = reqwest::Client::builder().no_proxy().build().expect("a client");
            let created = client
                .post(format!("{url}/v1/customers"))
                .basic_auth("sk_test_1", None::<&str>);
            created.send().await.expect("an answer").status().as_u16()
        };
        assert_eq!(runtime.block_on(create()), 500);
        assert_eq!(runtime.block_on(create()), 200);
        let id = Pid::from_raw(i32::try_from(provider.id()).expect("a process"));
        kill(id, signal).expect("it runs");
        assert_eq!(provider.wait().expect("it ends").code(), Some(0), "{signal}");
        let mut told = String::new();
        provider
            .stderr
            .take()
            .expect("its stderr")
            .read_to_string(&mut told)
            .expect("text");
        let steps: Vec<&str> = told.lines().collect();
        let expected = [
            "create_customer#1: 500-before",
            "create_customer#1 → 500",
            "create_customer#2",
            "create_customer#2 → 200",
            "stopped",
        ];
        assert_eq!(steps, expected);
    }
}

#[test]
fn a_port_in_use_is_a_missing_part_of_the_environment() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let told = Project::empty().deadheat(&["provider", "--listen", &address]).exits(3);
    told.complains(&format!("{address} is in use by another program; take another port"));
}

#[test]
fn wrong_usage_says_what_is_right() {
    let project = Project::empty();
    project.write(
        "plan",
        "# the first\ncreate_intent#1: lost-reply\n\ncreate_intent#2: lst-reply\n",
    );
    let wrong: [(&[&str], &str); 8] = [
        (&["--listen", "0.0.0.0:0"], "0.0.0.0:0 is not a loopback address"),
        (&["--listen", "0.0.0.0:0"], "say --beyond-loopback"),
        (&["--listen", "here"], "invalid socket address"),
        (&["--fault", "create_intent: timeout"], "expected OPERATION#N: FAULT"),
        (&["--fault", "charge#1: timeout"], "there is no operation `charge`"),
        (&["--faults", "plan"], "plan:4: there is no fault `lst-reply`"),
        (&["--webhook", "https://localhost/"], "webhooks go to an http URL"),
        (&["--webhook-secret", "whsec_1"], "--webhook <URL>"),
    ];
    for (arguments, complaint) in wrong {
        let told = project.deadheat(&[&["provider"], arguments].concat()).exits(2);
        told.complains(complaint);
    }
}

#[test]
fn the_guide_and_the_help_name_every_fault() {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide/provider.md")).expect("the guide");
    let help = Project::empty().deadheat(&["provider", "--help"]).exits(0);
    for fault in Fault::ALL {
        assert!(guide.contains(&format!("| `{fault}` |")), "{fault}");
        help.says(fault.name());
    }
}
