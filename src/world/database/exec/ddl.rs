//! DDL: CREATE, ALTER and DROP of tables, indexes, sequences and views, and TRUNCATE.
//!
//! A transaction's DDL changes a catalog of its own (`changes`), which others see when it commits.

mod alter;
mod drop;
mod table;

use std::sync::Arc;

use sqlparser::ast;

use crate::machine::Rows;
use crate::value::Value;
use crate::world::database::sql::fold;
use crate::world::database::sql::names;
use crate::world::database::sql::refuse::{BindError, Refused, sql_error};
use crate::world::database::sql::types::Type;
use crate::world::database::store::{Key, KeyCheck, Nulls, SessionId, Strength, TableId, TableMode, TxState};

use super::catalog::{Index, IndexKey, Method, Sequence, Table, View, no_relation};
use super::engine::{Call, Halt};
use super::facade::Severity;
use super::journal::Entry;
use super::message::Planned;
use super::plan::{Body, Plan};
use super::session::{Block, Running};

/// Whether a statement is planned and run by the executor.
pub(super) fn is_query(statement: &ast::Statement) -> bool {
    matches!(
        statement,
        ast::Statement::Query(_)
            | ast::Statement::Insert(_)
            | ast::Statement::Update(_)
            | ast::Statement::Delete(_)
            | ast::Statement::Merge(_)
    )
}

/// The verb of a statement, for `cannot execute ... in a read-only transaction`.
pub(super) fn verb(plan: &Plan) -> &'static str {
    match (&plan.root.body, plan.row_lock) {
        (Body::Insert(_), _) => "INSERT",
        (Body::Update(_), _) => "UPDATE",
        (Body::Delete(_), _) => "DELETE",
        (Body::Merge(_), _) => "MERGE",
        (_, None) => "SELECT",
        (_, Some(Strength::KeyShare)) => "SELECT FOR KEY SHARE",
        (_, Some(Strength::Share)) => "SELECT FOR SHARE",
        (_, Some(Strength::NoKeyUpdate)) => "SELECT FOR NO KEY UPDATE",
        (_, Some(Strength::Update)) => "SELECT FOR UPDATE",
    }
}

/// The last part of a relation's name.
fn relation(name: &ast::ObjectName) -> Result<Arc<str>, BindError> {
    let mut parts = names(name)?;
    let last = parts.pop().unwrap_or_default();
    match parts.as_slice() {
        [] => Ok(last.into()),
        [schema] if schema == "public" => Ok(last.into()),
        _ => Err(Refused::node("schema", name).into()),
    }
}

impl Call<'_> {
    /// DDL and other statements that `sqlparser` reads and the planner does not.
    pub(super) fn utility(
        &mut self,
        id: SessionId,
        running: &mut Running,
        planned: &Planned,
        statement: &ast::Statement,
    ) -> Result<Rows, Halt> {
        use ast::Statement as S;
        match statement {
            S::CreateTable(create) => return self.create_table(id, running, create),
            S::CreateIndex(create) => self.create_index(id, running, create)?,
            S::CreateSequence {
                name,
                if_not_exists,
                sequence_options,
                temporary: false,
                ..
            } => {
                self.create_sequence(id, name, *if_not_exists, sequence_options)?;
            }
            S::CreateView(create) => self.create_view(id, running, create)?,
            S::AlterTable(alter) => self.alter_table(id, running, alter)?,
            S::Drop {
                object_type,
                if_exists,
                names,
                cascade,
                ..
            } => {
                self.drop(id, running, *object_type, *if_exists, names, *cascade)
                    .map_err(|halt| located(planned, halt))?;
            }
            S::Truncate(truncate) => self.truncate(id, running, truncate)?,
            S::Comment { .. } => {}
            S::Explain { .. } | S::ExplainTable { .. } => {
                return Err(Halt::Refused(
                    planned.refuse("EXPLAIN").help("the model does not print plans"),
                ));
            }
            other => return Err(Halt::Refused(planned.refuse(&first_words(other)))),
        }
        Ok(Rows::default())
    }

    /// Takes a table lock, once for each statement and place.
    fn lock_for_ddl(
        &mut self,
        id: SessionId,
        running: &mut Running,
        place: usize,
        table: TableId,
        mode: TableMode,
    ) -> Result<(), Halt> {
        if running.journal.get(place).is_none() {
            self.engine.store.lock_table(id, table, mode, false)?;
            running.journal.push(Entry::Unit);
        }
        Ok(())
    }

    /// The name is free; with IF NOT EXISTS a taken one is skipped with a notice (`false`).
    fn is_free(&mut self, id: SessionId, name: &str, if_not_exists: bool) -> Result<bool, Halt> {
        if !self.catalog(id).has_relation(name) {
            self.refuse_contended_name(id, name)?;
            return Ok(true);
        }
        if if_not_exists {
            self.notice(
                id,
                Severity::Notice,
                format!("relation \"{name}\" already exists, skipping"),
            );
            return Ok(false);
        }
        Err(sql_error(b"42P07", format!("relation \"{name}\" already exists")).into())
    }

    fn create_sequence(
        &mut self,
        id: SessionId,
        name: &ast::ObjectName,
        if_not_exists: bool,
        options: &[ast::SequenceOptions],
    ) -> Result<(), Halt> {
        let name = relation(name)?;
        if !self.is_free(id, &name, if_not_exists)? {
            return Ok(());
        }
        let (first, increment) = sequence_options(options)?;
        let sequence = self.engine.store.create_sequence(first);
        self.change(id).sequences.insert(
            Arc::clone(&name),
            Arc::new(Sequence {
                id: sequence,
                name,
                increment,
                owner: None,
            }),
        );
        Ok(())
    }

    fn create_view(&mut self, id: SessionId, running: &mut Running, create: &ast::CreateView) -> Result<(), Halt> {
        if create.materialized || create.temporary || create.secure {
            return Err(Halt::Refused(Refused::node("kind of view", create)));
        }
        if create.options != ast::CreateTableOptions::None {
            return Err(Halt::Refused(Refused::node("option of a view", create)));
        }
        let name = relation(&create.name)?;
        let known = self.catalog(id).views.get(&name).filter(|_| create.or_replace).cloned();
        if known.is_none() && !self.is_free(id, &name, create.if_not_exists)? {
            return Ok(());
        }
        // The query must be sound now, not when the view is read.
        let columns = super::planner::view_columns(self.catalog(id), create)?;
        let number = match &known {
            None => self.engine.store.create_table(),
            Some(known) => {
                self.lock_for_ddl(id, running, 0, known.id, TableMode::AccessExclusive)?;
                let old = super::planner::columns_of(self.catalog(id), known)?;
                if !columns.starts_with(&old) {
                    return Err(Halt::Refused(Refused::node(
                        "CREATE OR REPLACE VIEW that changes the columns there were",
                        create,
                    )));
                }
                known.id
            }
        };
        let view = View {
            id: number,
            name: Arc::clone(&name),
            columns: create.columns.iter().map(|column| fold(&column.name).into()).collect(),
            query: create.query.clone(),
        };
        self.change(id).views.insert(name, Arc::new(view));
        if known.is_none() {
            self.engine
                .store
                .lock_table(id, number, TableMode::AccessExclusive, false)?;
        }
        Ok(())
    }

    /// CREATE INDEX.
    fn create_index(&mut self, id: SessionId, running: &mut Running, create: &ast::CreateIndex) -> Result<(), Halt> {
        self.refuse_concurrently(id, create.concurrently, &create.table_name)?;
        let table = Arc::clone(self.catalog(id).table(&relation(&create.table_name)?)?);
        let keys = table::index_keys(self.catalog(id), &table, &create.columns)?;
        let name = match &create.name {
            Some(name) => relation(name)?,
            None => {
                let base = format!("{}_{}_idx", table.name, table::key_names(&table, &keys).join("_"));
                self.catalog(id).free_name(&base, &[])
            }
        };
        if !self.is_free(id, &name, create.if_not_exists)? {
            return Ok(());
        }
        self.lock_for_ddl(id, running, 0, table.id, TableMode::Share)?;
        if let Some(predicate) = &create.predicate {
            super::planner::condition_of(self.catalog(id), &table, predicate, "index predicates")?;
        }
        let include = create.include.iter().map(|column| table.require_column(&fold(column)));
        let include = include.collect::<Result<Vec<usize>, _>>()?;
        let method = match &create.using {
            None | Some(ast::IndexType::BTree) => Method::Btree,
            Some(ast::IndexType::Hash) => Method::Hash,
            Some(ast::IndexType::GIN) => Method::Gin,
            Some(_) => Method::Other,
        };
        let off = |option: &ast::Expr| {
            let text = option.to_string().to_ascii_lowercase().replace([' ', '\''], "");
            matches!(&*text, "fastupdate=off" | "fastupdate=false" | "fastupdate=0")
        };
        let at_once = method == Method::Gin && keys.len() == 1 && create.with.iter().any(off);
        let index = table::NewIndex {
            name,
            method,
            at_once,
            keys,
            unique: create.unique,
            nulls_not_distinct: create.nulls_distinct == Some(false),
            primary: false,
            constraint: false,
            predicate: create.predicate.clone().map(Box::new),
            include,
        };
        self.add_index(id, &table.name, index)
    }

    /// CONCURRENTLY waits for everybody whose transaction is open, in steps of its own: without anybody it is like the plain form.
    fn refuse_concurrently(&self, id: SessionId, concurrently: bool, name: &ast::ObjectName) -> Result<(), Halt> {
        let others = || {
            self.engine
                .sessions
                .keys()
                .any(|other| *other != id && self.engine.store.tx_state(*other) != TxState::Idle)
        };
        match concurrently && (self.session(id).block == Block::Explicit || others()) {
            false => Ok(()),
            true => Err(Halt::Refused(
                Refused::node("CONCURRENTLY while a transaction is open", name)
                    .help("create the index before the processes start"),
            )),
        }
    }

    /// Adds an index to a table and enters the rows that exist.
    fn add_index(&mut self, id: SessionId, table: &str, new: table::NewIndex) -> Result<(), Halt> {
        let table = Arc::clone(self.catalog(id).table(table)?);
        let nulls = if new.nulls_not_distinct {
            Nulls::NotDistinct
        } else {
            Nulls::Distinct
        };
        let number = match self.hashed(&table, &new) {
            true => self.engine.store.create_hash_index(table.id),
            false if new.at_once => self.engine.store.create_parts_index(table.id),
            false => self.engine.store.create_index(table.id, new.unique.then_some(nulls)),
        };
        let index = Index {
            id: number,
            name: new.name,
            method: new.method,
            keys: new.keys,
            unique: new.unique,
            nulls_not_distinct: new.nulls_not_distinct,
            primary: new.primary,
            constraint: new.constraint,
            predicate: new.predicate,
            include: new.include,
        };
        let mut changed = (*table).clone();
        changed.indexes.push(index);
        // The server counts the rows while it enters them; of none it does not say that there are none.
        let snapshot = self.engine.store.fresh_snapshot(id);
        let rows = self.engine.store.count(id, &snapshot, table.id);
        if rows > 0 {
            changed.counted = Some(rows);
        }
        let changed = Arc::new(changed);
        self.change(id)
            .tables
            .insert(Arc::clone(&table.name), Arc::clone(&changed));
        self.fill_index(id, &changed, changed.indexes.len() - 1)
    }

    /// Whether the model knows in which half of a new hash index a key lies: of numbers and text it knows the server's hash.
    fn hashed(&self, table: &Table, new: &table::NewIndex) -> bool {
        let known = |key: &IndexKey| match key {
            IndexKey::Column(column) => matches!(
                table.columns[*column].ty,
                Type::Int2 | Type::Int4 | Type::Int8 | Type::Text | Type::Varchar(_)
            ),
            IndexKey::Expression(_) => false,
        };
        new.method == Method::Hash && new.keys.iter().all(known)
    }

    /// Enters every row of a table into a new index.
    fn fill_index(&mut self, id: SessionId, table: &Arc<Table>, place: usize) -> Result<(), Halt> {
        let target = super::planner::target_of(self.catalog(id), table)?;
        let snapshot = self.engine.store.fresh_snapshot(id);
        let versions = self.engine.store.scan(id, &snapshot, table.id)?;
        let Some(index) = target.indexes.get(place) else {
            return Ok(());
        };
        for version in versions {
            let row = Arc::clone(self.engine.store.row(table.id, version));
            let Some(key) = self.key_of(id, &target, index, &row)? else {
                continue;
            };
            let entered = self
                .engine
                .store
                .enter_key(id, index.id, key, version, KeyCheck::Enforce)?;
            if entered != crate::world::database::store::Entered::Done {
                let message = format!("could not create unique index \"{}\"", index.name);
                return Err(sql_error(b"23505", message).on(Arc::clone(&index.name)).into());
            }
        }
        Ok(())
    }

    fn key_of(
        &mut self,
        id: SessionId,
        target: &super::plan::Target,
        index: &super::plan::BoundIndex,
        row: &Arc<[Value]>,
    ) -> Result<Option<Key>, Halt> {
        let settings = self.session(id).settings.clone();
        let mut env = super::planner::RowEnv::new(row, &settings);
        let _ = target;
        if let Some(predicate) = &index.predicate
            && !crate::world::database::sql::eval::holds(predicate, &mut env)?
        {
            return Ok(None);
        }
        let mut values = Vec::new();
        for key in &index.keys {
            values.push(crate::world::database::sql::eval::eval(key, &mut env)?);
        }
        Ok(Some(Key::new(values)))
    }

    /// ANALYZE and VACUUM: from here on the planner knows how many rows there are, of the tables that are named, or of all.
    pub(super) fn count_rows(&mut self, id: SessionId, running: &mut Running, text: &str) -> Result<(), Halt> {
        let words: Vec<String> = text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .map(str::to_lowercase)
            .collect();
        let all: Vec<Arc<Table>> = self.catalog(id).tables.values().cloned().collect();
        let named = |table: &&Arc<Table>| words.iter().any(|word| **word == *table.name);
        let mut tables: Vec<Arc<Table>> = all.iter().filter(named).cloned().collect();
        if tables.is_empty() {
            tables = all;
        }
        // Who changes a definition meanwhile is waited for.
        for (place, table) in tables.iter().enumerate() {
            self.lock_for_ddl(id, running, place, table.id, TableMode::ShareUpdateExclusive)?;
        }
        let snapshot = self.engine.store.fresh_snapshot(id);
        for table in tables {
            // As it is now that the lock is there.
            let Some(table) = self.catalog(id).tables.get(&table.name).cloned() else {
                continue;
            };
            let rows = self.engine.store.count(id, &snapshot, table.id);
            if table.counted != Some(rows) {
                let mut changed = (*table).clone();
                changed.counted = Some(rows);
                self.change(id)
                    .tables
                    .insert(Arc::clone(&table.name), Arc::new(changed));
            }
        }
        Ok(())
    }

    /// TRUNCATE: the rows are deleted, and the table gets new, empty storage, which older snapshots see as well once it is committed.
    fn truncate(&mut self, id: SessionId, running: &mut Running, truncate: &ast::Truncate) -> Result<(), Halt> {
        let mut tables = Vec::new();
        for name in &truncate.table_names {
            let name = relation(&name.name)?;
            tables.push(Arc::clone(
                self.catalog(id).tables.get(&name).ok_or_else(|| no_relation(&name))?,
            ));
        }
        let cascade = matches!(truncate.cascade, Some(ast::CascadeOption::Cascade));
        let mut place = 0;
        while place < tables.len() {
            let parent = Arc::clone(&tables[place].name);
            for (child, _) in self.catalog(id).references_to(&parent) {
                if tables.iter().any(|table| table.id == child.id) {
                    continue;
                }
                if !cascade {
                    let message = "cannot truncate a table referenced in a foreign key constraint";
                    return Err(sql_error(b"0A000", message).into());
                }
                tables.push(Arc::clone(child));
            }
            place += 1;
        }
        for (place, table) in tables.iter().enumerate() {
            self.lock_for_ddl(id, running, place, table.id, TableMode::AccessExclusive)?;
        }
        let snapshot = self.engine.store.fresh_snapshot(id);
        for table in &tables {
            for version in self.engine.store.scan(id, &snapshot, table.id)? {
                self.engine.store.delete(id, table.id, version)?;
            }
            self.empty_storage(id, table)?;
        }
        if matches!(truncate.identity, Some(ast::TruncateIdentityOption::Restart)) {
            let owned: Vec<_> = self
                .catalog(id)
                .sequences
                .values()
                .filter(|sequence| {
                    sequence
                        .owner
                        .as_ref()
                        .is_some_and(|(owner, _)| tables.iter().any(|table| table.name == *owner))
                })
                .map(|sequence| sequence.id)
                .collect();
            for sequence in owned {
                self.engine.store.setval(sequence, 1, false);
            }
        }
        Ok(())
    }
}

impl Call<'_> {
    /// Gives a table new storage. The old one goes when the transaction commits.
    fn empty_storage(&mut self, id: SessionId, table: &Table) -> Result<(), Halt> {
        let mut changed = table.clone();
        changed.id = self.engine.store.create_table();
        changed.counted = None;
        for index in &mut changed.indexes {
            index.id = self.engine.store.create_index_like(index.id, changed.id);
        }
        let number = changed.id;
        self.change(id)
            .tables
            .insert(Arc::clone(&changed.name), Arc::new(changed));
        self.engine
            .store
            .lock_table(id, number, TableMode::AccessExclusive, false)?;
        Ok(())
    }
}

/// Where a sequence starts and how far its values are apart. Bounds, cycles and caches are not modelled.
fn sequence_options(options: &[ast::SequenceOptions]) -> Result<(i64, i64), BindError> {
    let number = |expr: &ast::Expr| {
        expr.to_string()
            .parse::<i64>()
            .map_err(|_| BindError::from(Refused::node("sequence option", expr)))
    };
    let (mut first, mut increment) = (None, 1);
    for option in options {
        match option {
            ast::SequenceOptions::IncrementBy(expr, _) => increment = number(expr)?,
            ast::SequenceOptions::StartWith(expr, _) => first = Some(number(expr)?),
            ast::SequenceOptions::MinValue(_)
            | ast::SequenceOptions::MaxValue(_)
            | ast::SequenceOptions::Cache(_)
            | ast::SequenceOptions::Cycle(false) => {}
            ast::SequenceOptions::Cycle(true) => return Err(plain_refusal("CYCLE of a sequence").into()),
        }
    }
    Ok((first.unwrap_or(if increment < 0 { -1 } else { 1 }), increment))
}

/// A refusal whose place the caller fills in.
pub(super) fn plain_refusal(construct: &str) -> Refused {
    Refused {
        construct: construct.to_owned(),
        line: 0,
        column: 0,
        text: String::new(),
        help: None,
    }
}

fn located(planned: &Planned, halt: Halt) -> Halt {
    match halt {
        Halt::Refused(refused) => match planned.placed(refused.into()) {
            BindError::Refused(refused) => Halt::Refused(refused),
            BindError::Sql(error) => Halt::Error(error),
        },
        other => other,
    }
}

fn first_words(statement: &ast::Statement) -> String {
    let text = statement.to_string();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
