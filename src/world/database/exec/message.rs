//! A message as it was parsed, with the plans of its statements as far as they were needed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::world::database::sql::parse::{Kind, Statement, parse};
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::types::{Type, resolve};

use super::catalog::Catalog;
use super::plan::Plan;
use super::planner::{Assumption, Off, Virtual, plan_prepared, plan_statement};

/// A parsed message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its statements.
    pub(crate) statements: Vec<Planned>,
}

/// A statement and its plan.
#[derive(Debug)]
pub(crate) struct Planned {
    /// The statement.
    pub(crate) statement: Statement,
    plan: OnceLock<Made>,
    /// Plans of sessions that switched something off.
    others: Mutex<BTreeMap<Off, Made>>,
    /// Whether it ran, and whether it ran at SERIALIZABLE: what its plan takes for granted then belongs to the verdict.
    ran: [AtomicBool; 2],
}

/// A plan, or why there is none.
type Made = Result<Arc<Plan>, BindError>;

impl Message {
    /// Parses a text.
    pub(crate) fn parse(text: &str) -> Result<Message, Refused> {
        let statements = parse(text)?;
        Ok(Message {
            statements: statements.into_iter().map(Planned::new).collect(),
        })
    }
}

impl Planned {
    fn new(statement: Statement) -> Planned {
        Planned {
            statement,
            plan: OnceLock::new(),
            others: Mutex::default(),
            ran: [AtomicBool::new(false), AtomicBool::new(false)],
        }
    }

    /// The plan of a query or a data-modifying statement, also of the one inside PREPARE.
    pub(crate) fn plan(&self, catalog: &Catalog, off: Off) -> Result<Arc<Plan>, BindError> {
        self.plan_with(catalog, &[], off)
    }

    /// The same, with rows from outside under some names.
    pub(crate) fn plan_with(&self, catalog: &Catalog, extra: &[Virtual], off: Off) -> Result<Arc<Plan>, BindError> {
        let plan = if off == Off::default() {
            self.plan.get_or_init(|| self.make(catalog, extra, off)).clone()
        } else {
            let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
            let made = others.entry(off).or_insert_with(|| self.make(catalog, extra, off));
            made.clone()
        };
        plan.map_err(|error| self.placed(error))
    }

    fn make(&self, catalog: &Catalog, extra: &[Virtual], off: Off) -> Made {
        let statement = match &self.statement.kind {
            Kind::Sql(statement) => statement,
            Kind::Prepare { types, statement, .. } => {
                let declared = types
                    .iter()
                    .map(|ty| resolve(ty, &mut |_| None))
                    .collect::<Result<Vec<Type>, _>>()?;
                return match &statement.kind {
                    Kind::Sql(statement) => plan_prepared(catalog, statement, declared, off).map(Arc::new),
                    _ => Err(self.refuse("PREPARE of a utility statement").into()),
                };
            }
            _ => return Err(self.refuse("statement").into()),
        };
        plan_statement(catalog, statement, Vec::new(), extra, off).map(Arc::new)
    }

    /// It runs.
    pub(crate) fn note_run(&self, serializable: bool) {
        self.ran[usize::from(serializable)].store(true, Ordering::Relaxed);
    }

    /// How many parameters it has, once it is planned.
    pub(crate) fn parameters(&self) -> usize {
        self.plans().first().map_or(0, |plan| plan.params.len())
    }

    /// What its runs so far took for granted of the server's plan.
    pub(crate) fn assumed(&self) -> Vec<Assumption> {
        let [ran, serializable] = [0, 1].map(|place| self.ran[place].load(Ordering::Relaxed));
        let counts = |assumption: &&Assumption| match assumption {
            Assumption::Once(_) => ran || serializable,
            Assumption::Reads(..) => serializable,
        };
        let plans = self.plans();
        let all = plans
            .iter()
            .flat_map(|plan| plan.assumes.iter().filter(counts).cloned());
        all.collect()
    }

    fn plans(&self) -> Vec<Arc<Plan>> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let made = self.plan.get().into_iter().chain(others.values());
        made.filter_map(|made| made.as_ref().ok().map(Arc::clone)).collect()
    }

    /// Refuses the statement.
    pub(crate) fn refuse(&self, construct: &str) -> Refused {
        let (line, column) = self.statement.place;
        Refused {
            construct: construct.to_owned(),
            line,
            column,
            text: self.statement.text.to_string(),
            help: None,
        }
    }

    /// A refusal without a place gets the statement's.
    pub(crate) fn placed(&self, error: BindError) -> BindError {
        match error {
            BindError::Refused(refused) => BindError::Refused(self.located(refused)),
            other => other,
        }
    }

    /// The refusal, with the statement's place if it had none.
    pub(crate) fn located(&self, mut refused: Refused) -> Refused {
        if refused.line == 0 {
            (refused.line, refused.column) = self.statement.place;
        }
        refused
    }
}
