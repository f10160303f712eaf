//! The catalog: what tables, indexes, constraints, sequences and views there are.
//!
//! A catalog is immutable behind an `Arc`; DDL makes a changed copy. Plans are cached in the catalog that they were made
//! for, so a plan can never outlive the definitions it relies on. A transaction's DDL has a catalog of its own (`changes`). Departure
//! from Postgres: there is one schema (`public`).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};
use sqlparser::ast;

use crate::machine::{SqlError, SqlState};
use crate::world::database::sql::types::Type;
use crate::world::database::store::{IndexId, TableId};

use super::plan_cache::PlanCache;

/// `undefined_table`.
pub(crate) const UNDEFINED_TABLE: SqlState = SqlState(*b"42P01");
/// `undefined_column`.
pub(crate) const UNDEFINED_COLUMN: SqlState = SqlState(*b"42703");

/// Everything that has a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    /// Tables by name.
    pub(crate) tables: BTreeMap<Arc<str>, Arc<Table>>,
    /// Sequences by name.
    pub(crate) sequences: BTreeMap<Arc<str>, Arc<Sequence>>,
    /// Views by name.
    pub(crate) views: BTreeMap<Arc<str>, Arc<View>>,
    /// Plans of this catalog; no part of its identity.
    pub(crate) plans: PlanCache,
    /// What it hashes to, computed once.
    fingerprint: Fingerprint,
}

impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
            || (self.tables == other.tables && self.sequences == other.sequences && self.views == other.views)
    }
}

impl Eq for Catalog {}

impl Hash for Catalog {
    /// All of it: the explorer takes states of equal digests for one, so catalogs that differ anywhere must not meet here.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let known = self.fingerprint.0.get_or_init(|| {
            let mut whole = Whole(Sha256::new());
            self.tables.hash(&mut whole);
            self.sequences.hash(&mut whole);
            self.views.hash(&mut whole);
            let mut half = [0; 16];
            half.copy_from_slice(&whole.0.finalize()[..16]);
            half
        });
        known.hash(state);
    }
}

/// 128 bits of a digest of a whole catalog. A copy of a catalog is made to be changed, so it starts without one.
#[derive(Debug, Default)]
struct Fingerprint(OnceLock<[u8; 16]>);

impl Clone for Fingerprint {
    fn clone(&self) -> Self {
        Fingerprint::default()
    }
}

/// A digest as a hasher. Numbers go in as little-endian bytes, so that it comes out the same on every machine.
struct Whole(Sha256);

impl Hasher for Whole {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn write_u16(&mut self, word: u16) {
        self.0.update(word.to_le_bytes());
    }

    fn write_u32(&mut self, word: u32) {
        self.0.update(word.to_le_bytes());
    }

    fn write_u64(&mut self, word: u64) {
        self.0.update(word.to_le_bytes());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    /// Not asked for: the digest is taken whole.
    fn finish(&self) -> u64 {
        0
    }
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Table {
    /// Where its rows are.
    pub(crate) id: TableId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its columns, in order.
    pub(crate) columns: Vec<Column>,
    /// Its indexes in the order of their creation, which is the order in which uniqueness is checked.
    pub(crate) indexes: Vec<Index>,
    /// Its CHECK constraints, by name (the order in which Postgres tests them).
    pub(crate) checks: Vec<Check>,
    /// Its foreign keys.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// How many rows it had when they were last counted, by CREATE INDEX or ANALYZE: what the planner goes by.
    pub(crate) counted: Option<u32>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its type.
    pub(crate) ty: Type,
    /// Whether NULL is refused.
    pub(crate) not_null: bool,
    /// How its value comes about when a statement gives none.
    pub(crate) source: Source,
}

/// Where a column's value comes from when a statement gives none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// NULL.
    Nothing,
    /// `DEFAULT expr`.
    Default(Box<ast::Expr>),
    /// `serial`: the next value of a sequence.
    Serial(Arc<str>),
    /// `GENERATED ... AS IDENTITY`.
    Identity {
        /// The sequence behind it.
        sequence: Arc<str>,
        /// `ALWAYS`, not `BY DEFAULT`.
        always: bool,
    },
    /// `GENERATED ALWAYS AS (expr) STORED`.
    Generated(Box<ast::Expr>),
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Index {
    /// Where its entries are.
    pub(crate) id: IndexId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// How it is built.
    pub(crate) method: Method,
    /// Its key columns.
    pub(crate) keys: Vec<IndexKey>,
    /// Whether it is unique.
    pub(crate) unique: bool,
    /// Whether NULLs are equal to each other.
    pub(crate) nulls_not_distinct: bool,
    /// Whether it is the primary key.
    pub(crate) primary: bool,
    /// Whether a constraint owns it (`ON CONFLICT ON CONSTRAINT` finds only those).
    pub(crate) constraint: bool,
    /// `WHERE` of a partial index.
    pub(crate) predicate: Option<Box<ast::Expr>>,
    /// `INCLUDE`: columns that are no part of the key. A change of one makes new entries all the same.
    pub(crate) include: Vec<usize>,
}

impl Index {
    /// The columns, when all keys are plain columns.
    pub(crate) fn plain_columns(&self) -> Option<Vec<usize>> {
        self.keys
            .iter()
            .map(|key| match key {
                IndexKey::Column(column) => Some(*column),
                IndexKey::Expression(_) => None,
            })
            .collect()
    }

    /// Whether a change of one of its columns is a key change for row locks (RULES 7).
    pub(crate) fn guards_key(&self) -> bool {
        self.unique && self.predicate.is_none() && self.keys.iter().all(|key| matches!(key, IndexKey::Column(_)))
    }
}

/// How an index is built (`USING`): what it can look up, and what it marks for a serializable transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    /// Sorted: equalities, ranges, and the order.
    Btree,
    /// Hashed: equality.
    Hash,
    /// The parts of arrays and JSON.
    Gin,
    /// One that the model's planner does not use.
    Other,
}

/// One key of an index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum IndexKey {
    /// A column.
    Column(usize),
    /// An expression over the table's columns.
    Expression(Box<ast::Expr>),
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The condition.
    pub(crate) expr: Box<ast::Expr>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ForeignKey {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The referencing columns.
    pub(crate) columns: Vec<usize>,
    /// The referenced table.
    pub(crate) parent: Arc<str>,
    /// The referenced columns, in the order of `columns`.
    pub(crate) parent_columns: Vec<usize>,
    /// What a delete of the parent does.
    pub(crate) on_delete: Action,
    /// What a change of the parent's key does.
    pub(crate) on_update: Action,
}

/// A referential action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// `NO ACTION`: an error at the end of the statement, if the reference is still there.
    Nothing,
    /// `RESTRICT`: an error.
    Restrict,
    /// `CASCADE`.
    Cascade,
    /// `SET NULL`.
    SetNull,
    /// `SET DEFAULT`.
    SetDefault,
}

/// A sequence. Its state is in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sequence {
    /// Its number in the store.
    pub(crate) id: crate::world::database::store::SequenceId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The distance of its values.
    pub(crate) increment: i64,
    /// The table and column that own it: it is dropped with them.
    pub(crate) owner: Option<(Arc<str>, Arc<str>)>,
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View {
    /// A number of the store under which it is locked; no rows are there.
    pub(crate) id: TableId,
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Names for its columns, where given.
    pub(crate) columns: Vec<Arc<str>>,
    /// Its query.
    pub(crate) query: Box<ast::Query>,
}

impl Catalog {
    /// The table of that name.
    pub(crate) fn table(&self, name: &str) -> Result<&Arc<Table>, SqlError> {
        self.tables.get(name).ok_or_else(|| no_relation(name))
    }

    /// The table with that number.
    pub(crate) fn table_by_id(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.values().find(|table| table.id == id)
    }

    /// Whether a relation (table, index, sequence, view) of that name exists.
    pub(crate) fn has_relation(&self, name: &str) -> bool {
        self.tables.contains_key(name)
            || self.sequences.contains_key(name)
            || self.views.contains_key(name)
            || self.index(name).is_some()
    }

    /// The index of that name and its table.
    pub(crate) fn index(&self, name: &str) -> Option<(&Arc<Table>, &Index)> {
        self.tables
            .values()
            .find_map(|table| Some((table, table.indexes.iter().find(|index| &*index.name == name)?)))
    }

    /// The OID of a relation, as `regclass` has it. Departure from Postgres: OIDs are made of the numbers of the store, so that
    /// equal states have equal ones.
    pub(crate) fn oid(&self, name: &str) -> Option<u32> {
        let name = name.strip_prefix("public.").unwrap_or(name);
        let table = self.tables.get(name).map(|table| 16_384 + u32::from(table.id.0));
        let sequence = || {
            self.sequences
                .get(name)
                .map(|sequence| 100_000 + u32::from(sequence.id.0))
        };
        let index = || self.index(name).map(|(_, index)| 200_000 + u32::from(index.id.0));
        table.or_else(sequence).or_else(index)
    }

    /// The relation with an OID.
    pub(crate) fn name_of_oid(&self, oid: u32) -> Option<Arc<str>> {
        let names = self.tables.keys().chain(self.sequences.keys());
        let indexes = self
            .tables
            .values()
            .flat_map(|table| table.indexes.iter().map(|index| &index.name));
        names.chain(indexes).find(|name| self.oid(name) == Some(oid)).cloned()
    }

    /// The foreign keys that reference a table, with the tables that have them, in the order of their names.
    pub(crate) fn references_to<'a>(
        &'a self,
        parent: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<Table>, &'a ForeignKey)> {
        self.tables
            .values()
            .flat_map(|table| table.foreign_keys.iter().map(move |key| (table, key)))
            .filter(move |(_, key)| &*key.parent == parent)
    }

    /// A name that no relation has: `base`, or `base` with a number, as Postgres chooses names for constraints and indexes.
    pub(crate) fn free_name(&self, base: &str, taken: &[Arc<str>]) -> Arc<str> {
        let used = |name: &str| self.has_relation(name) || taken.iter().any(|other| &**other == name);
        if !used(base) {
            return base.into();
        }
        (1..)
            .map(|number| format!("{base}{number}"))
            .find(|name| !used(name))
            .unwrap_or_default()
            .into()
    }
}

impl Table {
    /// The number of a column.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// The number of a column, or the error that DDL and DML give.
    pub(crate) fn require_column(&self, name: &str) -> Result<usize, SqlError> {
        self.column(name).ok_or_else(|| {
            SqlError::new(
                UNDEFINED_COLUMN,
                format!("column \"{name}\" of relation \"{}\" does not exist", self.name),
            )
        })
    }

    /// The primary key.
    pub(crate) fn primary_key(&self) -> Option<&Index> {
        self.indexes.iter().find(|index| index.primary)
    }

    /// The columns whose change is a key change for row locks (RULES 7).
    pub(crate) fn key_columns(&self) -> Vec<usize> {
        let mut columns: Vec<usize> = self
            .indexes
            .iter()
            .filter(|index| index.guards_key())
            .flat_map(|index| index.plain_columns().unwrap_or_default())
            .collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

/// `relation "x" does not exist`.
pub(crate) fn no_relation(name: &str) -> SqlError {
    SqlError::new(UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}
