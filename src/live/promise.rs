//! What a race promises: queries that find no rows, closures over final states, and what every race promises.

use std::fmt;
use std::sync::Arc;

use crate::machine::{Failure, Response};
use crate::system::{Breach, Invariant, View, When};
use crate::value::Value;

/// A final state, for a closure to look at.
#[derive(Debug)]
pub struct End<'a> {
    view: &'a View<'a>,
}

impl End<'_> {
    /// The rows of a query over what is committed, and over `responses` (process, status, body).
    ///
    /// # Panics
    /// When the query can't be answered: the test is wrong.
    pub fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        match self.view.query(sql) {
            Ok(rows) => rows.rows,
            Err(error) => panic!("`{sql}` can't be answered: {error}"),
        }
    }

    /// Everybody who has answered, by name, with the answer.
    pub fn responses(&self) -> Vec<(Arc<str>, Response)> {
        let all = self.view.exchanges();
        all.filter_map(|exchange| Some((exchange.label.clone(), exchange.response?.clone())))
            .collect()
    }
}

type Look = dyn Fn(&End<'_>) -> Result<(), String> + Send + Sync;

/// A closure over final states.
pub(super) struct Looked {
    pub(super) name: Arc<str>,
    pub(super) look: Box<Look>,
}

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Looked")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Invariant for Looked {
    fn name(&self) -> &str {
        &self.name
    }

    fn promise(&self) -> &str {
        &self.name
    }

    fn when(&self) -> When {
        When::Finally
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let end = End { view };
        (self.look)(&end).map_err(|sentence| Breach {
            invariant: self.name.clone(),
            sentence,
            rows: Vec::new(),
            is_error: false,
        })
    }
}

/// That the code can be followed: it is deterministic, and its SQL is known.
#[derive(Debug)]
pub(super) struct Followed;

impl Invariant for Followed {
    fn name(&self) -> &str {
        "the code can be followed"
    }

    fn promise(&self) -> &str {
        "the code does the same after the same replies, and the model knows its SQL"
    }

    fn when(&self) -> When {
        When::Always
    }

    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let mistake = view.failures().find_map(|(label, failure)| match failure {
            Failure::Mistake(why) => Some(format!("{label}: {why}")),
            Failure::DeadlockVictim | Failure::FromOutside => None,
        });
        match mistake {
            None => Ok(()),
            Some(sentence) => Err(Breach {
                invariant: self.name().into(),
                rows: vec![sentence.clone()],
                sentence,
                is_error: true,
            }),
        }
    }
}

/// The name of [`Unstuck`].
pub(super) const UNSTUCK: &str = "nobody waits for ever";

/// That everybody comes to an end.
#[derive(Debug)]
pub(super) struct Unstuck;

impl Invariant for Unstuck {
    fn name(&self) -> &str {
        UNSTUCK
    }

    fn promise(&self) -> &str {
        "when nothing more can happen, nobody waits in the database"
    }

    fn when(&self) -> When {
        When::Finally
    }

    fn tells_apart(&self, _label: &str) -> bool {
        false
    }

    fn check(&self, view: &View<'_>) -> Result<(), Breach> {
        let stuck = view.standings().filter(|standing| standing.status == "blocked");
        let rows: Vec<String> = stuck.map(|standing| standing.label.to_string()).collect();
        match rows.as_slice() {
            [] => Ok(()),
            [first, ..] => Err(Breach {
                invariant: self.name().into(),
                sentence: format!("{first} waits in the database, and nobody will let it go on"),
                rows,
                is_error: false,
            }),
        }
    }
}
