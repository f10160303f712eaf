//! One generated case: a schema, a few sessions, and schedules that the model says can be run.

use std::fmt::Write as _;

use super::gene::{Coverage, Gene};
use super::grammar;
use super::schema::Schema;
use crate::machine::{Branch, Pid, Sql, SqlState};
use crate::world::database::{Database, DbEvent, QueryError, Release};

/// The decisions behind a case: what proptest generates and shrinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genome {
    /// Decides the schema.
    pub schema: Vec<u8>,
    /// For each session, its statements' decisions; the first byte of each session decides how its transaction begins and ends.
    pub sessions: Vec<(u8, Vec<Vec<u8>>)>,
    /// Each decides one order of the sessions' steps.
    pub schedules: Vec<Vec<u8>>,
}

impl Genome {
    /// Genomes that are smaller in one respect, the most promising first.
    pub fn smaller(&self) -> Vec<Genome> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Genome)| {
            let mut smaller = self.clone();
            change(&mut smaller);
            if smaller != *self {
                all.push(smaller);
            }
        };
        for session in 0..self.sessions.len() {
            if self.sessions.len() > 2 {
                add(&|genome| drop(genome.sessions.remove(session)));
            }
        }
        for (session, (_, statements)) in self.sessions.iter().enumerate() {
            for statement in 0..statements.len() {
                if statements.len() > 1 {
                    add(&|genome| drop(genome.sessions[session].1.remove(statement)));
                }
                add(&|genome| genome.sessions[session].1[statement].clear());
            }
            add(&|genome| genome.sessions[session].0 = 0);
        }
        for place in 0..self.schema.len() {
            add(&|genome| genome.schema[place] = 0);
        }
        for (session, (_, statements)) in self.sessions.iter().enumerate() {
            for (statement, bytes) in statements.iter().enumerate() {
                for place in 0..bytes.len() {
                    add(&|genome| genome.sessions[session].1[statement][place] = 0);
                }
            }
        }
        for (schedule, bytes) in self.schedules.iter().enumerate() {
            for place in 0..bytes.len() {
                add(&|genome| genome.schedules[schedule][place] = 0);
            }
        }
        all
    }
}

/// A case: everything that a spec file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    create: Vec<String>,
    seed: Vec<String>,
    reset: Vec<String>,
    sessions: Vec<Vec<String>>,
    permutations: Vec<Vec<(usize, usize)>>,
    /// Which constructs it has.
    pub coverage: Coverage,
    /// Schedules left out because the real server races there (RULES I: the order is the server's own).
    pub races: usize,
}

impl Case {
    /// The case that the genome stands for, rehearsed on the model of a release.
    pub fn express(genome: &Genome, release: Release) -> Result<Case, QueryError> {
        let mut coverage = Coverage::default();
        let schema = Schema::generate(&mut Gene::new(&genome.schema, &mut coverage));
        let sessions = genome
            .sessions
            .iter()
            .map(|(frame, genes)| session(*frame, genes, &schema, &mut coverage))
            .collect();
        let Schema {
            create, seed, reset, ..
        } = schema;
        let mut case = Case {
            create,
            seed,
            reset,
            sessions,
            permutations: Vec::new(),
            coverage,
            races: 0,
        };
        let mut start = Database::of(release);
        for sql in case.create.iter().chain(&case.seed) {
            start.run_script(sql)?;
        }
        for order in &genome.schedules {
            match case.rehearse(&start, order) {
                Some(permutation) if case.permutations.contains(&permutation) => {}
                Some(permutation) => case.permutations.push(permutation),
                None => case.races += 1,
            }
        }
        Ok(case)
    }

    /// How many schedules the case runs.
    pub fn schedules(&self) -> usize {
        self.permutations.len()
    }

    /// The order that the decisions ask for, with blocked sessions passed over, as the model runs it; `None` where the server races.
    fn rehearse(&self, start: &Database, order: &[u8]) -> Option<Vec<(usize, usize)>> {
        let mut database = start.clone();
        for session in 0..self.sessions.len() {
            if !settings(session).is_empty() {
                database.execute(
                    Pid::root(session as u8),
                    &Sql::new(settings(session)),
                    0,
                    &mut Races(false),
                );
            }
        }
        let mut next = vec![0; self.sessions.len()];
        let mut done = Vec::new();
        let mut undone = false;
        let deadlocks = order.last().is_none_or(|byte| byte % DEADLOCKS == 0);
        let mut order = order.iter();
        loop {
            let free: Vec<usize> = (0..self.sessions.len())
                .filter(|session| next[*session] < self.sessions[*session].len())
                .filter(|session| !database.is_blocked(Pid::root(*session as u8)))
                .collect();
            if free.is_empty() {
                break;
            }
            let wanted = order.next().map_or(0, |byte| usize::from(*byte) % free.len());
            let session = free[wanted];
            let sql = Sql::new(self.sessions[session][next[session]].as_str());
            let mut races = Races(false);
            let was_doomed = database.is_doomed(Pid::root(session as u8));
            let events = database.execute(Pid::root(session as u8), &sql, 0, &mut races);
            if races.0 || wake_together(&events) || (events.iter().any(is_deadlock) && !deadlocks) {
                return None;
            }
            undone |= sql.text.starts_with("ROLLBACK") || events.iter().any(failed);
            // Where it is told hangs on versions that were rolled back and are not pruned.
            if undone && was_doomed && database.is_doomed(Pid::root(session as u8)) {
                return None;
            }
            // The server's quicksort moves rows with equal keys about.
            if events.iter().any(shows_ties) {
                return None;
            }
            // What is refused of a state, not of a statement: to generate it is no mistake.
            if events.iter().any(shows_twins) {
                return None;
            }
            done.push((session, next[session]));
            next[session] += 1;
        }
        let stuck = (0..self.sessions.len()).any(|session| database.is_blocked(Pid::root(session as u8)));
        (!stuck && !done.is_empty()).then_some(done)
    }

    /// The case as a file in Postgres' own isolation-test format.
    pub fn spec(&self) -> String {
        let mut spec = String::from("setup {\n");
        for sql in &self.create {
            let sql = ["TABLE", "UNIQUE INDEX", "INDEX", "SEQUENCE"]
                .iter()
                .fold(sql.clone(), |sql, kind| {
                    let plain = format!("CREATE {kind} ");
                    match sql.strip_prefix(&plain) {
                        Some(rest) => format!("{plain}IF NOT EXISTS {rest}"),
                        None => sql,
                    }
                });
            let _ = writeln!(spec, "  {sql};");
        }
        for sql in self.reset.iter().chain(&self.seed) {
            let _ = writeln!(spec, "  {sql};");
        }
        spec.push_str("}\n");
        for (session, steps) in self.sessions.iter().enumerate() {
            let _ = writeln!(
                spec,
                "\nsession s{session}\nsetup {{ SET deadlock_timeout = '100ms'; {} }}",
                settings(session)
            );
            for (step, sql) in steps.iter().enumerate() {
                let _ = writeln!(spec, "step s{session}_{step} {{ {sql}; }}");
            }
            spec.push_str("teardown { ROLLBACK; SELECT pg_advisory_unlock_all(); }\n");
        }
        spec.push_str(concat!(
            "\nsession final\n",
            "step rows { SELECT id, k, v, s FROM t ORDER BY id, k, v, s; }\n",
            "step children { SELECT * FROM c ORDER BY id; }\n",
        ));
        spec.push('\n');
        for permutation in &self.permutations {
            spec.push_str("permutation");
            for (session, step) in permutation {
                let _ = write!(spec, " s{session}_{step}");
            }
            spec.push_str(" rows children\n");
        }
        spec
    }
}

/// Every other session reads by bitmaps alone, which is what a server does that knows its tables to be large.
fn settings(session: usize) -> &'static str {
    match session % 2 {
        0 => "",
        _ => "SET enable_indexscan = off; SET enable_indexonlyscan = off;",
    }
}

fn session(frame: u8, genes: &[Vec<u8>], schema: &Schema, coverage: &mut Coverage) -> Vec<String> {
    let frame = [frame / 16, frame % 16];
    let mut gene = Gene::new(&frame, coverage);
    let autocommit = frame[0] == 15;
    let begin = grammar::begin(&mut gene);
    let end = grammar::end(&mut gene);
    let mut steps = Vec::new();
    if autocommit {
        coverage.count("autocommit");
    } else {
        steps.push(begin.to_owned());
    }
    for bytes in genes {
        let mut gene = Gene::new(bytes, coverage);
        let first = grammar::statement(&mut gene, schema);
        if gene.once_in(12) {
            gene.cover("several statements in a message");
            let second = grammar::statement(&mut gene, schema);
            steps.push(format!("{first}; {second}"));
        } else {
            steps.push(first);
        }
    }
    if !autocommit {
        steps.push(end.to_owned());
    }
    steps
}

/// Deadlocks are kept in one of so many schedules: the server takes its time to see one.
const DEADLOCKS: u8 = 8;

fn failed(event: &DbEvent) -> bool {
    matches!(event, DbEvent::Done { result: Err(_), .. })
}

fn shows_twins(event: &DbEvent) -> bool {
    matches!(event, DbEvent::Refused { refused, .. } if refused.construct.starts_with("a join of"))
}

/// Whether rows that are alike in their first column, by which they are sorted, are among so many that the server does not sort them by insertion.
fn shows_ties(event: &DbEvent) -> bool {
    let DbEvent::Done { result: Ok(all), .. } = event else {
        return false;
    };
    all.iter().any(|rows| {
        let mut pairs = rows.rows.windows(2);
        rows.rows.len() >= SORTED_BY_INSERTION && pairs.any(|pair| pair[0].first() == pair[1].first())
    })
}

/// Fewer rows than this are sorted by insertion (`sort_template.h`), which keeps the order of equal ones.
const SORTED_BY_INSERTION: usize = 7;

fn is_deadlock(event: &DbEvent) -> bool {
    matches!(event, DbEvent::Done { result: Err(failure), .. } if failure.error.code == SqlState::DEADLOCK_DETECTED)
}

/// Whether one step let several sessions go on: on the server they then run at the same time.
fn wake_together(events: &[DbEvent]) -> bool {
    let mut woken = events.iter().filter_map(|event| match event {
        DbEvent::Woken { session } => Some(*session),
        _ => None,
    });
    let first = woken.next();
    woken.any(|session| Some(session) != first)
}

/// Notes whether the world could have gone another way.
struct Races(bool);

impl Branch for Races {
    fn choose(&mut self, options: usize) -> usize {
        self.0 |= options > 1;
        0
    }
}
