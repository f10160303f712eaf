//! Arguments.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::explore::Driver;
use crate::live::provider::Planned;
use crate::report::json::Part;

/// Deterministic concurrency tests for the backends that register customers, take payments and receive webhooks.
#[derive(Debug, Parser)]
#[command(
    name = "deadheat",
    version,
    propagate_version = true,
    after_help = "Exit status: 0 as expected; 1 not as expected; 2 wrong usage or a wrong file; 3 a part of the environment that was required is missing."
)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run every scenario with every driver that it names
    Run(Run),
    /// Replay one schedule, step by step
    Replay(Replay),
    /// Say which choices of a scenario's design break it and which mend it
    Explain(Explain),
    /// Read and check scenario files, run nothing
    Check(Check),
    /// List scenarios, handlers, invariants and drivers
    List(List),
    /// Write a scenario to start from
    New(New),
    /// Print the JSON schema of scenario files
    Schema,
    /// Join the results of shards into one
    Merge(Merge),
    /// Run PostgreSQL's own isolation tests
    Isolation(Isolation),
    /// Run the payment provider as an HTTP server, for unmodified Stripe clients
    Provider(Provider),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Run {
    /// Scenario files, or folders of them; `FILE#VARIANT` is one variant of a file; also PostgreSQL isolation-test files (`.spec`), of which
    /// every interleaving is run
    #[arg(default_value = "scenarios")]
    pub(super) paths: Vec<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(super) format: Format,
    /// Only these drivers: one, or several with commas between them; may be given more than once
    #[arg(long = "driver", value_enum, value_name = "DRIVER", value_delimiter = ',')]
    pub(super) drivers: Vec<DriverArg>,
    /// Fail when there is no Postgres, instead of skipping its driver
    #[arg(long)]
    pub(super) require_postgres: bool,
    /// Leave out the lanes of violations that were expected, and what each verdict rests on
    #[arg(long)]
    pub(super) brief: bool,
    /// Fail when a driver that samples misses a violation that another driver has found
    #[arg(long)]
    pub(super) strict: bool,
    /// How many scenarios to run at a time [default: the number of cores]
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<NonZero<usize>>,
    /// Run only this part of so many, to be joined by `deadheat merge`: every N-th scenario, or of a single scenario a part of its exploration
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<Part>,
    /// Stop each driver of each scenario after so many seconds; what it has not decided by then is `unknown`
    #[arg(long, value_name = "SECONDS")]
    pub(super) max_time: Option<NonZero<u64>>,
    /// Keep what the exploration of a single scenario has reached in this file, every two minutes and when a limit stops it, and go on from
    /// there if the file is there
    #[arg(long, value_name = "FILE")]
    pub(super) checkpoint: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Merge {
    /// What each `deadheat run --shard I/N --format json` printed
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t = MergeFormat::Human)]
    pub(super) format: MergeFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum MergeFormat {
    /// A table, for people
    Human,
    /// One JSON object, as a run without shards prints it
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Lanes and a table, for people
    Human,
    /// One JSON object
    Json,
    /// JUnit XML
    Junit,
    /// GitHub workflow annotations
    Github,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DriverArg {
    /// Every schedule within the bounds
    Explore,
    /// loom's threads and scheduler
    Loom,
    /// shuttle's random and PCT schedulers
    Shuttle,
    /// proptest storms in virtual time
    Storm,
    /// A real Postgres server
    Postgres,
}

impl From<DriverArg> for Driver {
    fn from(driver: DriverArg) -> Driver {
        match driver {
            DriverArg::Explore => Driver::Explore,
            DriverArg::Loom => Driver::Loom,
            DriverArg::Shuttle => Driver::Shuttle,
            DriverArg::Storm => Driver::Storm,
            DriverArg::Postgres => Driver::Postgres,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(super) struct Replay {
    /// The scenario file
    pub(super) file: PathBuf,
    /// The schedule, as a run printed it
    pub(super) schedule: String,
    /// Where to replay it
    #[arg(long, value_enum, default_value_t = On::Model)]
    pub(super) on: On,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum On {
    /// In the model
    Model,
    /// On a real Postgres server
    Postgres,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Explain {
    /// The scenario file
    pub(super) file: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Check {
    /// Scenario files, or folders of them
    #[arg(default_value = "scenarios")]
    pub(super) paths: Vec<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct List {
    /// Scenario files, or folders of them
    #[arg(default_value = "scenarios")]
    pub(super) paths: Vec<PathBuf>,
    /// List the world's own tables with their columns, which invariants can ask
    #[arg(long)]
    pub(super) tables: bool,
    /// Draw the machines of the scenarios' handlers as state diagrams, from the states that are reached
    #[arg(long, conflicts_with = "tables")]
    pub(super) machines: bool,
    /// How to draw machines
    #[arg(long, value_enum, default_value_t = Drawing::Mermaid, requires = "machines")]
    pub(super) format: Drawing,
}

/// A language for diagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Drawing {
    /// Markdown with mermaid diagrams, as code hosts show them
    Mermaid,
}

#[derive(Debug, ClapArgs)]
pub(super) struct New {
    /// Its name: a path below `scenarios/`, without the extension
    pub(super) name: String,
    /// What to start from
    #[arg(long, value_enum, default_value_t = StartFrom::Script)]
    pub(super) from: StartFrom,
}

/// What a new scenario starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum StartFrom {
    /// SQL of your own
    Script,
    /// A handler of the domain
    Domain,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Isolation {
    /// Isolation-test files (`.spec`), or folders of them; an expected output beside them, or in `../expected`, is compared
    #[arg(required = true)]
    pub(super) files: Vec<PathBuf>,
    /// Where to run them
    #[arg(long, value_enum, default_value_t = On::Model)]
    pub(super) on: On,
    /// Run them in the model and on a real server, and compare
    #[arg(long, conflicts_with = "on")]
    pub(super) compare: bool,
    /// The isolation level of transactions that do not say one
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = IsolationLevel::ReadCommitted)]
    pub(super) default_isolation: IsolationLevel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum IsolationLevel {
    /// The server's own default
    ReadCommitted,
    /// Snapshots for whole transactions
    RepeatableRead,
    /// As if transactions ran one after another
    Serializable,
}

/// The first line on stdout is `listening on http://ADDRESS:PORT`; each call, answer and webhook is a line on stderr. Any key that begins with `sk_test_` is taken.
/// Ctrl-C or SIGTERM stops it.
#[derive(Debug, ClapArgs)]
pub(super) struct Provider {
    /// Where to listen, on the loopback interface; port 0 for any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:12111")]
    pub(super) listen: SocketAddr,
    /// Listen also where other machines reach it: anybody there can use it and have it send requests to the webhook's address
    #[arg(long)]
    pub(super) beyond_loopback: bool,
    /// How long each answer takes; a second request with the same key is answered 409 for so long
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) latency: u32,
    /// Where to send webhooks: an http URL
    #[arg(long, value_name = "URL")]
    pub(super) webhook: Option<String>,
    /// What webhooks are signed with; may be given more than once, as while a secret is rotated
    #[arg(long = "webhook-secret", value_name = "whsec_...", requires = "webhook")]
    pub(super) secrets: Vec<String>,
    /// How webhooks are signed
    #[arg(long, value_enum, default_value_t = SchemeArg::Stripe, requires = "webhook")]
    pub(super) webhook_scheme: SchemeArg,
    /// Send only these types of event: one, or several with commas between them [default: all]
    #[arg(
        long = "webhook-types",
        value_name = "TYPE",
        value_delimiter = ',',
        requires = "webhook"
    )]
    pub(super) types: Vec<String>,
    /// How often each webhook is tried in all
    #[arg(long, value_name = "N", default_value = "4", requires = "webhook")]
    pub(super) webhook_attempts: NonZero<u8>,
    /// How long until a webhook's second attempt; each pause is twice the last
    #[arg(long, value_name = "MS", default_value_t = 500, requires = "webhook")]
    pub(super) webhook_pause: u32,
    /// Something that goes wrong: `create_intent#2: lost-reply` for the second request of that operation; may be given more than once. Of its answer:
    /// lost-request, lost-reply, timeout, outage, 500-before, 500-after. Of its webhooks: lost-webhook, duplicate-webhook, reorder-webhooks, webhook-first
    #[arg(long = "fault", value_name = "OPERATION#N: FAULT")]
    pub(super) faults: Vec<Planned>,
    /// A file of such faults, one on each line
    #[arg(long = "faults", value_name = "FILE")]
    pub(super) plan: Option<PathBuf>,
    /// The version of the API that events say they are of; clients of some languages refuse another than their own
    #[arg(long, value_name = "VERSION")]
    pub(super) api_version: Option<String>,
}

/// How webhooks are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemeArg {
    /// The provider's own scheme, header Stripe-Signature
    Stripe,
    /// Standard Webhooks, headers webhook-id, webhook-timestamp and webhook-signature
    Standard,
}
