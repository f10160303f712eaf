//! Differential testing: the model against the real server, on generated schemas, transactions and schedules.
//!
//! A [`Genome`] is a handful of bytes that proptest generates and shrinks; [`Case::express`] reads a schema, sessions and
//! schedules out of it, and [`Case::spec`] writes them as a file in Postgres' own isolation-test format. Both sides run that file; every reply,
//! wait, wake-up, error and the final tables are compared as text, byte for byte. A difference is therefore a file that anybody can give to the real
//! `isolationtester`.
//!
//! Schedules in which the real server itself races (several waiters for one changed row, RULES I) are left out and counted.
//!
//! What runs inside of statements is another matter: see [`overlap`].

mod campaign;
mod case;
mod gene;
mod grammar;
pub mod overlap;
mod schema;

pub use campaign::{Campaign, Difference, Plan, campaign};
pub use case::{Case, Genome};
pub use gene::Coverage;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any};

use crate::isolation::{Backend, RunError, Spec, run};

/// How large the cases are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// At most so many sessions, at least 2.
    pub sessions: usize,
    /// At most so many statements in a session, beside BEGIN and COMMIT.
    pub statements: usize,
    /// So many schedules of a case.
    pub schedules: usize,
}

impl Default for Size {
    fn default() -> Self {
        Size {
            sessions: 3,
            statements: 4,
            schedules: 16,
        }
    }
}

/// Every construct that generation must reach: a campaign that never hits one has proven nothing about it.
pub const CONSTRUCTS: &[&str] = &[
    "advisory in where",
    "advisory lock",
    "advisory shared",
    "advisory two keys",
    "advisory unlock",
    "advisory xact lock",
    "advisory xact shared",
    "aggregates",
    "any array",
    "arithmetic",
    "array column",
    "autocommit",
    "between",
    "bigint key",
    "boolean column",
    "case",
    "check",
    "coalesce",
    "commit",
    "composite unique index",
    "correlated sub-select",
    "count",
    "cross join",
    "cte",
    "cte delete",
    "cte insert",
    "cte update",
    "currval",
    "default",
    "delete child",
    "delete using",
    "distinct",
    "except",
    "exists",
    "expression unique index",
    "for key share",
    "for no key update",
    "for share",
    "for update",
    "foreign key",
    "generated column",
    "group by having",
    "identity",
    "in list",
    "in sub-select",
    "include index",
    "index nulls not distinct",
    "inner join",
    "insert child",
    "insert default",
    "insert null key",
    "insert select",
    "intersect",
    "interval column",
    "is null",
    "join for update",
    "join for update both",
    "jsonb column",
    "key change",
    "key share skip locked",
    "left join",
    "lock table access exclusive",
    "lock table exclusive",
    "lock table nowait",
    "lock table row exclusive",
    "lock table row share",
    "lock table share",
    "lock table share update exclusive",
    "locking sub-select",
    "merge",
    "multi-row insert",
    "nextval",
    "no key",
    "now",
    "nowait",
    "numeric column",
    "on conflict do nothing",
    "on conflict do update",
    "on conflict do update where",
    "on conflict target do nothing",
    "on delete cascade",
    "on delete restrict",
    "on delete set null",
    "on update cascade",
    "order by desc offset",
    "order by limit",
    "partial unique index",
    "pg_sleep",
    "plain index",
    "primary key",
    "primary key change",
    "read committed",
    "referenced key change",
    "release",
    "repeatable read",
    "returning",
    "rollback",
    "rollback to",
    "same key",
    "savepoint",
    "scalar sub-select",
    "serial",
    "serializable",
    "serializable read only",
    "set default",
    "setval",
    "several statements in a message",
    "share nowait",
    "skip locked",
    "string functions",
    "sub-select in set",
    "text column",
    "three-valued logic",
    "timestamptz column",
    "try advisory",
    "try advisory xact",
    "union",
    "unique constraint",
    "unique index",
    "unique nulls not distinct",
    "update by sub-select",
    "update child",
    "update from",
    "uuid column",
];

/// Sessions of every case, so that connections can be kept: those of the case, and the one that reads the final tables.
pub const CONNECTIONS: usize = 4;

/// Every genome of a size.
pub fn genomes(size: Size) -> impl Strategy<Value = Genome> {
    let statement = vec(any::<u8>(), 10);
    let session = (any::<u8>(), vec(statement, 1..=size.statements));
    let sessions = vec(session, 2..=size.sessions);
    let schedules = vec(vec(any::<u8>(), size.sessions * (size.statements + 2)), size.schedules);
    (vec(any::<u8>(), 8), sessions, schedules).prop_map(|(schema, sessions, schedules)| Genome {
        schema,
        sessions,
        schedules,
    })
}

/// What one side printed for a spec, or that it could not run it.
///
/// # Errors
/// When the backend does not know the SQL, or broke.
pub fn observe(spec: &Spec, backend: &mut dyn Backend) -> Result<String, RunError> {
    let mut out = String::new();
    run(spec, backend, &mut out)?;
    Ok(out)
}

/// The first line in which two outputs differ, with the step's permutation above it, for a person to read.
pub fn difference(model: &str, server: &str) -> Option<String> {
    if model == server {
        return None;
    }
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (model.lines().collect(), server.lines().collect());
    let place = ours.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
    let above = &ours[..place.min(ours.len())];
    let from = above
        .iter()
        .rposition(|line| line.starts_with("starting permutation"))
        .unwrap_or(0);
    let context = above[from..].join("\n");
    let line = |lines: &[&str]| {
        lines[place.min(lines.len())..]
            .iter()
            .take(6)
            .copied()
            .collect::<Vec<_>>()
            .join("\n  ")
    };
    Some(format!(
        "{context}\nmodel:\n  {}\nserver:\n  {}",
        line(&ours),
        line(&theirs)
    ))
}
