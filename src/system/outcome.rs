//! Outcomes: final states as a user would tell them.

use std::fmt;
use std::sync::Arc;

use super::view::View;
use crate::machine::Rows;
use crate::value::Value;

/// What a run ended in: each observation of the scenario with its rows, in the scenario's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Outcome(pub Vec<(Arc<str>, Vec<String>)>);

/// What of a final state is told: a label and a query. The rows are sorted, so that their order does not count.
#[derive(Clone, Debug)]
pub struct Observation {
    /// What it is called in outcomes: `customers`.
    pub label: Arc<str>,
    /// A SELECT over the tables of the scenario and of the world.
    pub query: Arc<str>,
}

impl Outcome {
    /// The outcome of a state.
    pub fn of(view: &View<'_>) -> Outcome {
        let observed = view.spec().observations.iter().map(|observation| {
            let mut rows = match view.query(&observation.query) {
                Ok(rows) => render(&rows),
                Err(error) => vec![format!("can't be told: {error}")],
            };
            rows.sort();
            (observation.label.clone(), rows)
        });
        Outcome(observed.collect())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (label, rows)) in self.0.iter().enumerate() {
            let rows = if rows.is_empty() {
                "none".to_owned()
            } else {
                rows.join(", ")
            };
            write!(f, "{}{label}: {rows}", if place == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

/// The rows of a result as short text: one column bare, several in parentheses.
pub(crate) fn render(rows: &Rows) -> Vec<String> {
    rows.rows.iter().map(|row| row_text(row)).collect()
}

fn row_text(row: &[Value]) -> String {
    match row {
        [value] => value.to_string(),
        values => {
            let shown: Vec<String> = values.iter().map(Value::to_string).collect();
            format!("({})", shown.join(", "))
        }
    }
}
