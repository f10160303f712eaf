//! A campaign: many generated cases on both sides, and the smallest spec file that shows a difference.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::{CONNECTIONS, Case, Coverage, Genome, Size, difference, genomes, observe};
use crate::drive::postgres::isolation::OnPostgres;
use crate::drive::postgres::source::Server;
use crate::isolation::{Backend, BackendError, Level, RunError, Spec, on_model::OnModel};
use crate::world::database::Release;

/// What a campaign found.
#[derive(Debug, Default)]
pub struct Campaign {
    /// Schedules that ran on both sides.
    pub compared: u64,
    /// Schedules left out because the server races there.
    pub races: u64,
    /// Cases with SQL that the model does not know, with the first reason: a mistake of the generator.
    pub refused: Vec<String>,
    /// What was generated and compared.
    pub coverage: Coverage,
    /// Differences, shrunk.
    pub differences: Vec<Difference>,
}

/// How long a step may take: one that the model says can go on, and cannot, is a difference.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a difference is shrunk.
const SHRINKING: Duration = Duration::from_secs(60);

/// How many smaller cases are tried when a difference is shrunk.
const ATTEMPTS: usize = 400;

/// What a campaign has to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Cases follow from this number.
    pub seed: u64,
    /// So many schedules are compared at least.
    pub schedules: u64,
    /// It stops when it has found so many differences.
    pub differences: usize,
    /// How large the cases are.
    pub size: Size,
}

/// A difference between the model and the server.
#[derive(Debug)]
pub struct Difference {
    /// A spec file that shows it.
    pub spec: String,
    /// The lines in which the outputs differ.
    pub lines: String,
}

/// Runs a plan; differences are shrunk as they are found.
///
/// `stop` ends it early, for campaigns side by side: each sets it when it has found enough. `report` hears of a difference at once.
///
/// # Errors
/// When the server can't be used.
pub fn campaign(
    server: &Server,
    plan: Plan,
    stop: &AtomicBool,
    report: &dyn Fn(&Difference),
) -> Result<Campaign, BackendError> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&plan.seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = genomes(plan.size);
    let mut sides = Sides::open(server)?;
    let mut found = Campaign::default();
    while found.compared < plan.schedules && !stop.load(Ordering::Relaxed) {
        let Ok(tree) = strategy.new_tree(&mut runner) else {
            return Err(BackendError::Broken("the generator gave up".to_owned()));
        };
        let genome = tree.current();
        match sides.compare(&genome)? {
            Comparison::Refused(reason) => found.refused.push(reason),
            Comparison::Same(case) => {
                found.compared += case.schedules() as u64;
                found.races += case.races as u64;
                found.coverage.merge(&case.coverage);
            }
            Comparison::Differs(first) => {
                let smallest = sides.shrink(genome, first)?;
                report(&smallest);
                found.differences.push(smallest);
                if found.differences.len() >= plan.differences {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        }
    }
    Ok(found)
}

enum Comparison {
    Same(Case),
    Differs(Difference),
    Refused(String),
}

/// The two sides, with connections that are kept from case to case.
struct Sides<'a> {
    server: &'a Server,
    release: Release,
    connections: OnPostgres,
}

impl<'a> Sides<'a> {
    fn open(server: &'a Server) -> Result<Sides<'a>, BackendError> {
        Ok(Sides {
            server,
            release: server
                .release()
                .map_err(|error| BackendError::Broken(error.to_string()))?,
            connections: Sides::connect(server)?,
        })
    }

    fn connect(server: &Server) -> Result<OnPostgres, BackendError> {
        let empty = (0..CONNECTIONS).map(|session| format!("session s{session}\nstep a{session} {{ SELECT 1 }}\n"));
        let shape = Spec::parse("connections", &empty.collect::<String>())
            .map_err(|error| BackendError::Broken(error.to_string()))?;
        let connections = OnPostgres::open(server, "conformance", &shape, Level::ReadCommitted)?;
        Ok(connections.with_patience(Duration::from_millis(1), PATIENCE))
    }

    fn compare(&mut self, genome: &Genome) -> Result<Comparison, BackendError> {
        let case = match Case::express(genome, self.release) {
            Ok(case) => case,
            Err(error) => return Ok(Comparison::Refused(error.to_string())),
        };
        if case.schedules() == 0 {
            return Ok(Comparison::Same(case));
        }
        let text = case.spec();
        let spec = Spec::parse("generated", &text).map_err(|error| BackendError::Broken(format!("{error}\n{text}")))?;
        let mut model = OnModel::of_release(self.release, &spec, Level::ReadCommitted)?;
        let ours = match observe(&spec, &mut model) {
            Ok(ours) => ours,
            Err(RunError::Backend {
                error: BackendError::Unsupported { construct, .. },
                ..
            }) => {
                return Ok(Comparison::Refused(format!("{construct}\n{text}")));
            }
            Err(error) => {
                return Ok(Comparison::Differs(Difference {
                    spec: text,
                    lines: format!("the model broke: {error}"),
                }));
            }
        };
        let theirs = self.on_server(&spec)?;
        Ok(match difference(&ours, &theirs) {
            None => Comparison::Same(case),
            Some(lines) => Comparison::Differs(Difference { spec: text, lines }),
        })
    }

    fn on_server(&mut self, spec: &Spec) -> Result<String, BackendError> {
        let result = observe(spec, &mut self.connections);
        match &result {
            // A message that never ends keeps its locks: start over with new connections in a new database.
            Err(RunError::Backend { .. }) => self.connections = Sides::connect(self.server)?,
            _ => drop(
                self.connections
                    .control("DROP TABLE IF EXISTS c, t; DROP SEQUENCE IF EXISTS q")?,
            ),
        }
        match result {
            Ok(printed) => Ok(printed),
            Err(RunError::Backend {
                error: BackendError::Broken(reason),
                ..
            }) => Err(BackendError::Broken(reason)),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// A smaller genome that still differs: one schedule, then as few sessions, statements and decisions as it takes.
    ///
    /// By hand instead of by proptest's own tree, because dropping fifteen of sixteen schedules first makes every later
    /// attempt sixteen times cheaper, and because most decisions change nothing: a text that was compared is not compared again.
    fn shrink(&mut self, genome: Genome, first: Difference) -> Result<Difference, BackendError> {
        let (mut best, mut smallest) = (genome, first);
        let mut seen = BTreeSet::new();
        let start = Instant::now();
        let single = best.schedules.iter().map(|schedule| Genome {
            schedules: vec![schedule.clone()],
            ..best.clone()
        });
        for candidate in single.collect::<Vec<_>>() {
            if let Some(found) = self.differs_anew(&candidate, &mut seen)? {
                (best, smallest) = (candidate, found);
                break;
            }
        }
        while seen.len() < ATTEMPTS
            && start.elapsed() < SHRINKING
            && let Some((candidate, found)) = self.first_smaller(&best, &mut seen)?
        {
            (best, smallest) = (candidate, found);
        }
        Ok(smallest)
    }

    fn first_smaller(
        &mut self,
        genome: &Genome,
        seen: &mut BTreeSet<String>,
    ) -> Result<Option<(Genome, Difference)>, BackendError> {
        for candidate in genome.smaller() {
            if seen.len() >= ATTEMPTS {
                break;
            }
            if let Some(found) = self.differs_anew(&candidate, seen)? {
                return Ok(Some((candidate, found)));
            }
        }
        Ok(None)
    }

    fn differs_anew(
        &mut self,
        genome: &Genome,
        seen: &mut BTreeSet<String>,
    ) -> Result<Option<Difference>, BackendError> {
        match Case::express(genome, self.release) {
            Ok(case) if case.schedules() > 0 && seen.insert(case.spec()) => {}
            _ => return Ok(None),
        }
        Ok(match self.compare(genome)? {
            Comparison::Differs(found) => Some(found),
            _ => None,
        })
    }
}
