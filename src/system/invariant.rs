//! Invariants: what must hold, always or in the end.

use std::fmt::Debug;
use std::sync::Arc;

use super::view::View;

/// A promise of the system under test.
pub trait Invariant: Debug + Send + Sync {
    /// Its name in scenario files and verdicts, in words joined by hyphens: `no-duplicate-customers`.
    fn name(&self) -> &str;

    /// One sentence that says what it promises.
    fn promise(&self) -> &str;

    /// When it is checked.
    fn when(&self) -> When;

    /// Whether it may treat the root process of this label, and what that one started, otherwise than another that starts alike. Where no
    /// invariant does, processes that start alike are taken for one another.
    fn tells_apart(&self, _label: &str) -> bool {
        true
    }

    /// Whether it holds in a state; otherwise how it is broken.
    fn check(&self, view: &View<'_>) -> Result<(), Breach>;
}

/// When an invariant is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum When {
    /// In every state.
    Always,
    /// In final states: when nothing more can happen.
    Finally,
}

/// How a state breaks an invariant, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Breach {
    /// The invariant's name.
    pub invariant: Arc<str>,
    /// One sentence, without a full stop: `2 rows in customers have customer_id CUST_7890`.
    pub sentence: String,
    /// The rows that break it, as text.
    pub rows: Vec<String>,
    /// It can't be said whether it holds: its query can't be answered, or what the processes ask for is not understood. An error of the scenario,
    /// never a violation.
    pub is_error: bool,
}

/// An invariant written as a query that must return no rows.
#[derive(Clone, Debug)]
pub struct QueryInvariant {
    /// See [`Invariant::name`].
    pub name: Arc<str>,
    /// See [`Invariant::promise`].
    pub promise: Arc<str>,
    /// See [`Invariant::when`].
    pub when: When,
    /// A SELECT over the tables of the scenario and of the world.
    pub query: Arc<str>,
}

impl Invariant for QueryInvariant {
    fn name(&self) -> &str {
        &self.name
    }

    fn promise(&self) -> &str {
        &self.promise
    }

    fn when(&self) -> When {
        self.when
    }

    /// When its query has the label in it.
    fn tells_apart(&self, label: &str) -> bool {
        self.query.contains(label)
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let rows = match view.query(&self.query) {
            Ok(rows) if rows.rows.is_empty() => return Ok(()),
            Ok(rows) => rows,
            Err(error) => {
                let sentence = format!("its query can't be answered: {error}");
                return Err(Breach {
                    invariant: self.name.clone(),
                    sentence,
                    rows: Vec::new(),
                    is_error: true,
                });
            }
        };
        let shown = super::outcome::render(&rows);
        let sentence = match shown.len() {
            1 => format!("a row breaks it: {}", shown[0]),
            count => format!("{count} rows break it: {}", shown.join("; ")),
        };
        Err(Breach {
            invariant: self.name.clone(),
            sentence,
            rows: shown,
            is_error: false,
        })
    }
}
