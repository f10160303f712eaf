//! Statements that overlap: the set of outcomes that the server shows, beside the set that the model allows.
//!
//! A [`Meeting`] is two or three sessions with a few statements each, most of them outside of a transaction: several rows at once, try and skip
//! locks, parts that modify data, reads that decide what is written. The model explores every order of it. The server gets each session's
//! statements at once, many times. What it shows there must be among what the model allows; an outcome that the model lacks is a point
//! inside a statement where others can go on and the model does not let them.
//!
//! The other direction proves nothing: an outcome that the server was not seen to show may only be rare. It is counted, so that a campaign
//! whose sessions never met is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::gene::{Coverage, Gene};
use crate::drive::postgres::compare::{cells, tell_row};
use crate::drive::postgres::provoke::{Seen, Volley, fire};
use crate::drive::postgres::source::Server;
use crate::drive::postgres::stage::{Stage, StageError};
use crate::drive::postgres::wire::{Answer, WiresError};
use crate::explore::{Evidence, Options, explore};
use crate::machine::{Effect, Machine, Pid, Program, Reply, Response, Rows, Sql};
use crate::system::{FaultBudget, Observation, Outcome, Role, Root, Spec, System};
use crate::world::World;
use crate::world::database::QueryError;

/// Every construct that generation must reach.
pub const OVERLAPS: &[&str] = &[
    "advisory lock",
    "advisory unlock",
    "alone",
    "claim with skip locked",
    "count into a row",
    "cte delete into insert",
    "delete",
    "in a transaction",
    "insert child",
    "insert do nothing",
    "insert where not exists",
    "locked in order",
    "multi-row insert",
    "multi-row update",
    "multi-row upsert",
    "skip locked",
    "three sessions",
    "try advisory in a where",
    "try advisory lock",
    "update of a range",
];

/// The tables of every meeting: one with keys, one without, and a child.
pub const SCHEMA: &str = "
CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL UNIQUE, n int NOT NULL);
CREATE TABLE u (k int NOT NULL, n int NOT NULL);
CREATE TABLE c (id int PRIMARY KEY, t int NOT NULL REFERENCES t);
INSERT INTO t VALUES (1, 1, 0), (2, 2, 0);
INSERT INTO u VALUES (9, 0);";

/// What of the end is compared, on both sides: each session's answers, and the rows.
const TABLES: [&str; 3] = ["t", "u", "c"];

/// Sessions whose statements are sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Each session's statements.
    pub sessions: Vec<Vec<String>>,
    /// What it has.
    pub coverage: Coverage,
}

impl Meeting {
    /// The meeting that these decisions stand for, one list for each session.
    pub fn express(genes: &[Vec<u8>]) -> Meeting {
        let mut coverage = Coverage::default();
        let sessions: Vec<Vec<String>> = genes
            .iter()
            .map(|bytes| {
                let mut statements = session(&mut Gene::new(bytes, &mut coverage));
                // The model's sessions end and give back their locks; the server's stay connected.
                statements.push("SELECT pg_advisory_unlock_all()".to_owned());
                statements
            })
            .collect();
        if sessions.len() > 2 {
            coverage.count("three sessions");
        }
        Meeting { sessions, coverage }
    }

    /// The meeting as a system, which ends in the outcomes that the model allows.
    ///
    /// # Errors
    /// When the model does not know the SQL of the schema.
    pub fn system(&self) -> Result<System, QueryError> {
        let mut world = World::default();
        world.database.run_script(SCHEMA)?;
        let roots = self.sessions.iter().enumerate().map(|(place, statements)| Root {
            label: format!("s{place}").into(),
            program: Program::new(Speaker {
                statements: statements.iter().map(|text| Sql::new(text.as_str())).collect(),
                next: 0,
                heard: Vec::new(),
            }),
            role: Role::Client,
        });
        let rows = TABLES.iter().map(|table| Observation {
            label: (*table).into(),
            query: format!("SELECT * FROM {table}").into(),
        });
        let answers = Observation {
            label: ANSWERS.into(),
            query: "SELECT process, body FROM responses".into(),
        };
        Ok(System::new(Spec {
            name: "meeting".into(),
            roots: roots.collect(),
            endpoints: BTreeMap::new(),
            world,
            faults: FaultBudget::NONE,
            invariants: Vec::new(),
            observations: std::iter::once(answers).chain(rows).collect(),
            vacuity: None,
            identity: format!("{:?}", self.sessions).into(),
        }))
    }

    /// What is sent to the server in one try; `number` decides who is slowed.
    fn volley(&self, number: u32) -> Volley {
        let pids = (0..self.sessions.len()).map(|place| Pid::root(place as u8));
        // Nobody, or one in turn, or all.
        let slow = number as usize % (self.sessions.len() + 2);
        let is_slow = |pid: &Pid| slow > self.sessions.len() || slow == usize::from(pid.top()) + 1;
        Volley {
            before: Vec::new(),
            slow: pids.clone().filter(is_slow).collect(),
            at_once: pids.zip(self.sessions.iter().cloned()).collect(),
        }
    }
}

const ANSWERS: &str = "answers";

/// Sends its statements whatever comes back, and responds with all that it heard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Speaker {
    statements: Arc<[Sql]>,
    next: usize,
    heard: Vec<String>,
}

impl Machine for Speaker {
    fn step(&mut self, reply: Reply) -> Effect {
        match reply {
            Reply::Sql(Ok(rows)) => self.heard.push(tell(cells(&rows), rows.affected)),
            Reply::Sql(Err(error)) => self.heard.push(error.code.to_string()),
            _ => {}
        }
        let place = self.next;
        self.next += 1;
        match self.statements.get(place) {
            Some(sql) => Effect::Sql(sql.clone()),
            None if place == self.statements.len() => Effect::Respond(Response::new(200, self.heard.join("; "))),
            None => Effect::Done,
        }
    }
}

/// A result as both sides tell it: rows in no order.
fn tell(mut rows: Vec<Vec<Option<Arc<str>>>>, affected: u64) -> String {
    rows.sort();
    let rows: Vec<String> = rows.iter().map(|row| tell_row(row)).collect();
    format!("{affected} {}", rows.join(" ")).trim_end().to_owned()
}

fn tell_answer(answer: &Answer) -> String {
    match (&answer.error, answer.results.last()) {
        (Some(error), _) => error.code.to_string(),
        (None, Some(rows)) => tell(rows.rows.clone(), rows.affected),
        (None, None) => tell(Vec::new(), Rows::default().affected),
    }
}

/// What a try showed, as the model tells its outcomes.
fn outcome(seen: &Seen) -> Outcome {
    let answers = seen.answers.iter().map(|(pid, answers)| {
        let told: Vec<String> = answers.iter().map(tell_answer).collect();
        format!("(s{}, {})", pid.top(), told.join("; "))
    });
    let mut told: Vec<String> = answers.collect();
    told.sort();
    let mut all = vec![(ANSWERS.into(), told)];
    for table in TABLES {
        let rows = seen
            .tables
            .iter()
            .find(|(name, _)| **name == *table)
            .and_then(|(_, rows)| rows.as_ref());
        let mut rows: Vec<String> =
            rows.map_or_else(Vec::new, |rows| rows.rows.iter().map(|row| tell_row(row)).collect());
        rows.sort();
        all.push((table.into(), rows));
    }
    Outcome(all)
}

/// What a campaign has to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Meetings follow from this number.
    pub seed: u64,
    /// So many of them.
    pub meetings: u32,
    /// How often each is sent to the server.
    pub tries: u32,
}

/// What a campaign found.
#[derive(Clone, Debug, Default)]
pub struct Overlaps {
    /// What was generated and compared.
    pub coverage: Coverage,
    /// Volleys that were fired.
    pub tries: u64,
    /// Outcomes that the model allows, over all meetings.
    pub allowed: u64,
    /// How many of them the server showed.
    pub shown: u64,
    /// Meetings that the model could not explore to the end.
    pub unexplored: u64,
    /// Outcomes of the server that the model lacks.
    pub lacking: Vec<Lacking>,
}

/// An outcome of the server that the model lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The sessions.
    pub meeting: Meeting,
    /// What the server showed.
    pub outcome: Outcome,
    /// How often, of how many tries.
    pub times: (u32, u32),
    /// What the model allows.
    pub allowed: BTreeSet<Outcome>,
}

impl std::fmt::Display for Lacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, statements) in self.meeting.sessions.iter().enumerate() {
            writeln!(f, "s{place}: {}", statements.join("; "))?;
        }
        writeln!(
            f,
            "the server, in {} of {} tries:\n  {}",
            self.times.0, self.times.1, self.outcome
        )?;
        writeln!(f, "the model allows:")?;
        for allowed in &self.allowed {
            writeln!(f, "  {allowed}")?;
        }
        Ok(())
    }
}

/// A campaign could not be run.
#[derive(Debug, thiserror::Error)]
pub enum OverlapError {
    /// The stage could not be set up.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The connections failed.
    #[error(transparent)]
    Wires(#[from] WiresError),
    /// The model does not know the schema.
    #[error("the model does not take the schema: {0}")]
    Schema(#[from] QueryError),
    /// The generator gave up.
    #[error("the generator gave up: {0}")]
    Generator(String),
}

/// Runs a plan.
///
/// # Errors
/// When the server can't be used.
pub fn overlaps(server: &Server, plan: Plan) -> Result<Overlaps, OverlapError> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&plan.seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = vec(vec(any::<u8>(), 12), 2..=3);
    let mut stage = Stage::open(server, &[SCHEMA.into()])?;
    let mut found = Overlaps::default();
    for _ in 0..plan.meetings {
        let tree = strategy.new_tree(&mut runner);
        let genes = tree
            .map_err(|reason| OverlapError::Generator(reason.to_string()))?
            .current();
        meet(&mut stage, Meeting::express(&genes), plan.tries, &mut found)?;
    }
    Ok(found)
}

/// Compares one meeting on both sides and adds what was found.
///
/// # Errors
/// When the server can't be used.
pub fn meet(stage: &mut Stage, meeting: Meeting, tries: u32, found: &mut Overlaps) -> Result<(), OverlapError> {
    let system = meeting.system()?.on_release(stage.release);
    let options = Options {
        decisive: false,
        threads: 1,
        ..Options::default()
    };
    let explored = explore(&system, &options);
    if explored.evidence != Evidence::Exhausted {
        found.unexplored += 1;
        return Ok(());
    }
    let allowed: BTreeSet<Outcome> = explored.outcomes.into_iter().map(|reached| reached.outcome).collect();
    let mut shown: BTreeMap<Outcome, u32> = BTreeMap::new();
    for number in 0..tries {
        let seen = fire(stage, &meeting.volley(number), number)?;
        *shown.entry(outcome(&seen)).or_default() += 1;
    }
    found.tries += u64::from(tries);
    found.allowed += allowed.len() as u64;
    found.coverage.merge(&meeting.coverage);
    for (outcome, times) in shown {
        if allowed.contains(&outcome) {
            found.shown += 1;
        } else {
            found.lacking.push(Lacking {
                meeting: meeting.clone(),
                outcome,
                times: (times, tries),
                allowed: allowed.clone(),
            });
        }
    }
    Ok(())
}

/// The statements of a session: one or two alone, or in a transaction.
fn session(gene: &mut Gene<'_>) -> Vec<String> {
    let count = 1 + gene.below(2);
    let transaction = gene.once_in(4);
    let mut statements: Vec<String> = (0..count).map(|_| statement(gene)).collect();
    match transaction {
        true => {
            gene.cover("in a transaction");
            statements.insert(0, "BEGIN".to_owned());
            statements.push("COMMIT".to_owned());
        }
        false => gene.cover("alone"),
    }
    statements
}

/// One statement; `$a` and `$b` are the two keys in either order.
fn statement(gene: &mut Gene<'_>) -> String {
    let text = gene.construct(&[
        (
            "insert where not exists",
            "INSERT INTO u SELECT $a, 1 WHERE NOT EXISTS (SELECT 1 FROM u WHERE k = $a)",
        ),
        (
            "multi-row upsert",
            "INSERT INTO t VALUES ($a, $a, 1), ($b, $b, 1) ON CONFLICT (id) DO UPDATE SET n = t.n + 1",
        ),
        ("multi-row update", "UPDATE t SET n = n + 1 RETURNING id, n"),
        ("multi-row insert", "INSERT INTO t VALUES ($a + 2, $a + 2, 0), ($b + 2, $b + 2, 0)"),
        (
            "insert do nothing",
            "INSERT INTO t VALUES (3, 3, 0), ($a, 4, 0) ON CONFLICT DO NOTHING RETURNING id",
        ),
        ("update of a range", "UPDATE t SET n = n + 10 WHERE n < 10 RETURNING id"),
        ("try advisory lock", "SELECT id, pg_try_advisory_lock(id) FROM t WHERE id = $a"),
        ("advisory unlock", "SELECT pg_advisory_unlock($a)"),
        ("advisory lock", "SELECT n, pg_advisory_xact_lock(1) IS NULL FROM t WHERE id = $a"),
        (
            "try advisory in a where",
            "UPDATE t SET n = n + 1 WHERE id = $a AND pg_try_advisory_xact_lock(1) RETURNING n",
        ),
        ("skip locked", "SELECT id, n FROM t ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"),
        (
            "claim with skip locked",
            "UPDATE t SET n = 5 WHERE id = (SELECT id FROM t WHERE n < 5 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
        ),
        ("locked in order", "SELECT id, n FROM t ORDER BY id FOR UPDATE"),
        ("delete", "DELETE FROM t WHERE id = $a"),
        ("count into a row", "UPDATE t SET n = (SELECT count(*) FROM u) WHERE id = $a"),
        (
            "cte delete into insert",
            "WITH x AS (DELETE FROM t WHERE id = $a RETURNING id, n) INSERT INTO u SELECT id, n FROM x",
        ),
        ("insert child", "INSERT INTO c VALUES ($b, $a)"),
    ]);
    let (a, b) = gene.pick(&[("1", "2"), ("2", "1")]);
    text.replace("$a", a).replace("$b", b)
}
