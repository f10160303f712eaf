//! DDL: CREATE, ALTER and DROP of tables, indexes, sequences and views, and TRUNCATE.
//!
//! A transaction's first DDL remembers the catalog as it was; a rollback goes back to it.

mod alter;
mod table;

use std::sync::Arc;

use sqlparser::ast;

use crate::machine::{Rows, SqlError};
use crate::value::Value;
use crate::world::database::sql::fold;
use crate::world::database::sql::names;
use crate::world::database::sql::refuse::{BindError, Refused, sql_error};
use crate::world::database::sql::types::Type;
use crate::world::database::store::{Key, KeyCheck, Nulls, SessionId, Store, Strength, TableId, TableMode};

use super::catalog::{Catalog, Index, IndexKey, Method, Sequence, Table, UNDEFINED_TABLE, View, no_relation};
use super::engine::{Call, Halt};
use super::facade::Severity;
use super::journal::Entry;
use super::message::Planned;
use super::plan::{Body, Plan};
use super::session::Running;

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

/// Removes from the store what the catalog did not have before.
pub(super) fn drop_new(store: &mut Store, before: &Catalog, now: &Catalog) {
    for table in now.tables.values() {
        match before.table_by_id(table.id) {
            None => store.drop_table(table.id),
            Some(old) => {
                for index in &table.indexes {
                    if !old.indexes.iter().any(|known| known.id == index.id) {
                        store.drop_index(index.id);
                    }
                }
            }
        }
    }
    for sequence in now.sequences.values() {
        if !before.sequences.values().any(|known| known.id == sequence.id) {
            store.drop_sequence(sequence.id);
        }
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
            S::CreateView(create) => self.create_view(id, create)?,
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

    /// The catalog, to be changed. The transaction remembers what it was.
    fn change(&mut self, id: SessionId) -> &mut Catalog {
        let before = Arc::clone(&self.engine.catalog);
        self.session_mut(id).undo.get_or_insert(before);
        let mut changed = (*self.engine.catalog).clone();
        changed.plans = Default::default();
        self.engine.catalog = Arc::new(changed);
        Arc::make_mut(&mut self.engine.catalog)
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
    fn is_free(&mut self, id: SessionId, name: &str, if_not_exists: bool) -> Result<bool, SqlError> {
        if !self.engine.catalog.has_relation(name) {
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
        Err(sql_error(b"42P07", format!("relation \"{name}\" already exists")))
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

    fn create_view(&mut self, id: SessionId, create: &ast::CreateView) -> Result<(), Halt> {
        if create.materialized || create.temporary || create.secure {
            return Err(Halt::Refused(Refused::node("kind of view", create)));
        }
        let name = relation(&create.name)?;
        if !create.or_replace && !self.is_free(id, &name, create.if_not_exists)? {
            return Ok(());
        }
        // The query must be sound now, not when the view is read.
        let statement = ast::Statement::Query(create.query.clone());
        super::planner::plan_statement(&self.engine.catalog, &statement, Vec::new(), &[])?;
        let columns = create
            .columns
            .iter()
            .map(|column| crate::world::database::sql::fold(&column.name).into())
            .collect();
        let view = View {
            name: Arc::clone(&name),
            columns,
            query: create.query.clone(),
        };
        self.change(id).views.insert(name, Arc::new(view));
        Ok(())
    }

    /// CREATE INDEX.
    fn create_index(&mut self, id: SessionId, running: &mut Running, create: &ast::CreateIndex) -> Result<(), Halt> {
        let table = Arc::clone(self.engine.catalog.table(&relation(&create.table_name)?)?);
        let keys = table::index_keys(&self.engine.catalog, &table, &create.columns)?;
        let name = match &create.name {
            Some(name) => relation(name)?,
            None => {
                let base = format!("{}_{}_idx", table.name, table::key_names(&table, &keys).join("_"));
                self.engine.catalog.free_name(&base, &[])
            }
        };
        if !self.is_free(id, &name, create.if_not_exists)? {
            return Ok(());
        }
        self.lock_for_ddl(id, running, 0, table.id, TableMode::Share)?;
        if let Some(predicate) = &create.predicate {
            super::planner::condition_of(&self.engine.catalog, &table, predicate, "index predicates")?;
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

    /// Adds an index to a table and enters the rows that exist.
    fn add_index(&mut self, id: SessionId, table: &str, new: table::NewIndex) -> Result<(), Halt> {
        let table = Arc::clone(self.engine.catalog.table(table)?);
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
        let target = super::planner::target_of(&self.engine.catalog, table)?;
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

    fn drop(
        &mut self,
        id: SessionId,
        running: &mut Running,
        what: ast::ObjectType,
        if_exists: bool,
        list: &[ast::ObjectName],
        cascade: bool,
    ) -> Result<(), Halt> {
        let mut found = Vec::new();
        for name in list {
            let name = relation(name)?;
            let (exists, word) = match what {
                ast::ObjectType::Table => (self.engine.catalog.tables.contains_key(&name), "table"),
                ast::ObjectType::View => (self.engine.catalog.views.contains_key(&name), "view"),
                ast::ObjectType::Sequence => (self.engine.catalog.sequences.contains_key(&name), "sequence"),
                ast::ObjectType::Index => (self.engine.catalog.index(&name).is_some(), "index"),
                other => return Err(Halt::Refused(plain_refusal(&format!("DROP {other}")))),
            };
            if exists {
                found.push(name);
            } else if if_exists {
                self.notice(
                    id,
                    Severity::Notice,
                    format!("{word} \"{name}\" does not exist, skipping"),
                );
            } else {
                let code = if what == ast::ObjectType::Index {
                    b"42704"
                } else {
                    &UNDEFINED_TABLE.0
                };
                return Err(sql_error(code, format!("{word} \"{name}\" does not exist")).into());
            }
        }
        match what {
            ast::ObjectType::Table => self.drop_tables(id, running, &found, cascade),
            ast::ObjectType::View => {
                let catalog = self.change(id);
                found.iter().for_each(|name| drop(catalog.views.remove(name)));
                Ok(())
            }
            ast::ObjectType::Sequence => {
                let catalog = self.change(id);
                found.iter().for_each(|name| drop(catalog.sequences.remove(name)));
                Ok(())
            }
            _ => self.drop_indexes(id, running, &found),
        }
    }

    fn drop_tables(
        &mut self,
        id: SessionId,
        running: &mut Running,
        found: &[Arc<str>],
        cascade: bool,
    ) -> Result<(), Halt> {
        for (place, name) in found.iter().enumerate() {
            let table = self.engine.catalog.table(name)?.id;
            self.lock_for_ddl(id, running, place, table, TableMode::AccessExclusive)?;
        }
        for name in found {
            let outside = self
                .engine
                .catalog
                .references_to(name)
                .find(|(child, _)| !found.contains(&child.name));
            if outside.is_some() && !cascade {
                let message = format!("cannot drop table {name} because other objects depend on it");
                return Err(sql_error(b"2BP01", message).into());
            }
        }
        let catalog = self.change(id);
        for name in found {
            catalog.tables.remove(name);
            catalog
                .sequences
                .retain(|_, sequence| sequence.owner.as_ref().is_none_or(|(owner, _)| owner != name));
            for table in catalog.tables.values_mut() {
                if table.foreign_keys.iter().any(|key| key.parent == *name) {
                    Arc::make_mut(table).foreign_keys.retain(|key| key.parent != *name);
                }
            }
        }
        Ok(())
    }

    fn drop_indexes(&mut self, id: SessionId, running: &mut Running, found: &[Arc<str>]) -> Result<(), Halt> {
        for (place, name) in found.iter().enumerate() {
            let Some((table, index)) = self.engine.catalog.index(name) else {
                continue;
            };
            if index.constraint {
                let message = format!(
                    "cannot drop index {name} because constraint {name} on table {} requires it",
                    table.name
                );
                return Err(sql_error(b"2BP01", message).into());
            }
            let (table_name, number) = (Arc::clone(&table.name), table.id);
            self.lock_for_ddl(id, running, place, number, TableMode::AccessExclusive)?;
            let catalog = self.change(id);
            if let Some(table) = catalog.tables.get_mut(&table_name) {
                Arc::make_mut(table).indexes.retain(|index| index.name != *name);
            }
        }
        Ok(())
    }

    /// ANALYZE and VACUUM: from here on the planner knows how many rows there are, of the tables that are named, or of all.
    pub(super) fn count_rows(&mut self, id: SessionId, text: &str) {
        let words: Vec<String> = text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .map(str::to_lowercase)
            .collect();
        let all: Vec<Arc<Table>> = self.engine.catalog.tables.values().cloned().collect();
        let named = |table: &&Arc<Table>| words.iter().any(|word| **word == *table.name);
        let mut tables: Vec<Arc<Table>> = all.iter().filter(named).cloned().collect();
        if tables.is_empty() {
            tables = all;
        }
        let snapshot = self.engine.store.fresh_snapshot(id);
        for table in tables {
            let rows = self.engine.store.count(id, &snapshot, table.id);
            if table.counted != Some(rows) {
                let mut changed = (*table).clone();
                changed.counted = Some(rows);
                self.change(id)
                    .tables
                    .insert(Arc::clone(&table.name), Arc::new(changed));
            }
        }
    }

    /// TRUNCATE: the rows are deleted. Departure from Postgres: concurrent snapshots still see them.
    fn truncate(&mut self, id: SessionId, running: &mut Running, truncate: &ast::Truncate) -> Result<(), Halt> {
        let mut tables = Vec::new();
        for name in &truncate.table_names {
            let name = relation(&name.name)?;
            tables.push(Arc::clone(
                self.engine
                    .catalog
                    .tables
                    .get(&name)
                    .ok_or_else(|| no_relation(&name))?,
            ));
        }
        let cascade = matches!(truncate.cascade, Some(ast::CascadeOption::Cascade));
        let mut place = 0;
        while place < tables.len() {
            let parent = Arc::clone(&tables[place].name);
            for (child, _) in self.engine.catalog.references_to(&parent) {
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
        for table in tables.iter().filter(|table| table.counted.is_some()) {
            let mut changed = (**table).clone();
            changed.counted = None;
            self.change(id)
                .tables
                .insert(Arc::clone(&table.name), Arc::new(changed));
        }
        let snapshot = self.engine.store.fresh_snapshot(id);
        for table in &tables {
            for version in self.engine.store.scan(id, &snapshot, table.id)? {
                self.engine.store.delete(id, table.id, version)?;
            }
        }
        if matches!(truncate.identity, Some(ast::TruncateIdentityOption::Restart)) {
            let owned: Vec<_> = self
                .engine
                .catalog
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
fn plain_refusal(construct: &str) -> Refused {
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
