//! A message as it was parsed, with the plans of its statements as far as they were needed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::world::database::sql::parse::{Kind, Statement, parse};
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::types::{Type, resolve};

use super::catalog::Catalog;
use super::plan::Plan;
use super::planner::{Assumption, Virtual, plan_prepared, plan_statement};

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
    plan: OnceLock<Result<Arc<Plan>, BindError>>,
    /// Whether it ran, and whether it ran at SERIALIZABLE: what its plan takes for granted then belongs to the verdict.
    ran: [AtomicBool; 2],
}

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
            ran: [AtomicBool::new(false), AtomicBool::new(false)],
        }
    }

    /// The plan of a query or a data-modifying statement, also of the one inside PREPARE.
    pub(crate) fn plan(&self, catalog: &Catalog) -> Result<Arc<Plan>, BindError> {
        self.plan_with(catalog, &[])
    }

    /// The same, with rows from outside under some names.
    pub(crate) fn plan_with(&self, catalog: &Catalog, extra: &[Virtual]) -> Result<Arc<Plan>, BindError> {
        let plan = self.plan.get_or_init(|| {
            let statement = match &self.statement.kind {
                Kind::Sql(statement) => statement,
                Kind::Prepare { types, statement, .. } => {
                    let declared = types
                        .iter()
                        .map(|ty| resolve(ty, &mut |_| None))
                        .collect::<Result<Vec<Type>, _>>()?;
                    match &statement.kind {
                        Kind::Sql(statement) => {
                            return plan_prepared(catalog, statement, declared).map(Arc::new);
                        }
                        _ => return Err(self.refuse("PREPARE of a utility statement").into()),
                    }
                }
                _ => return Err(self.refuse("statement").into()),
            };
            plan_statement(catalog, statement, Vec::new(), extra).map(Arc::new)
        });
        plan.clone().map_err(|error| self.placed(error))
    }

    /// It runs.
    pub(crate) fn note_run(&self, serializable: bool) {
        self.ran[usize::from(serializable)].store(true, Ordering::Relaxed);
    }

    /// How many parameters it has, once it is planned.
    pub(crate) fn parameters(&self) -> usize {
        match self.plan.get() {
            Some(Ok(plan)) => plan.params.len(),
            _ => 0,
        }
    }

    /// What its runs so far took for granted of the server's plan.
    pub(crate) fn assumed(&self) -> Vec<Assumption> {
        let [ran, serializable] = [0, 1].map(|place| self.ran[place].load(Ordering::Relaxed));
        let Some(Ok(plan)) = self.plan.get() else {
            return Vec::new();
        };
        let counts = |assumption: &&Assumption| match assumption {
            Assumption::Once(_) => ran || serializable,
            Assumption::Reads(..) => serializable,
        };
        plan.assumes.iter().filter(counts).cloned().collect()
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
