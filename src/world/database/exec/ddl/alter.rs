//! ALTER TABLE.

use std::sync::Arc;

use sqlparser::ast;

use crate::value::Value;
use crate::world::database::exec::catalog::{Check, Column, ForeignKey, IndexKey, Method, Source, Table};
use crate::world::database::exec::engine::{Call, Halt};
use crate::world::database::exec::facade::Severity;
use crate::world::database::exec::planner::{RowEnv, condition_of, target_of};
use crate::world::database::exec::run::check_row;
use crate::world::database::exec::session::Running;
use crate::world::database::sql::eval::eval;
use crate::world::database::sql::fold;
use crate::world::database::sql::refuse::{Refused, sql_error};
use crate::world::database::store::{KeyCheck, SessionId, TableMode};

use super::table::{NewIndex, column_type, foreign_key, known_key};
use super::{plain_refusal, relation};

impl Call<'_> {
    pub(super) fn alter_table(
        &mut self,
        id: SessionId,
        running: &mut Running,
        alter: &ast::AlterTable,
    ) -> Result<(), Halt> {
        let name = relation(&alter.name)?;
        let Some(table) = self.catalog(id).tables.get(&name) else {
            if alter.if_exists {
                self.notice(
                    id,
                    Severity::Notice,
                    format!("relation \"{name}\" does not exist, skipping"),
                );
                return Ok(());
            }
            return Err(super::no_relation(&name).into());
        };
        let number = table.id;
        let mode = alter.operations.iter().map(lock_mode).max();
        self.lock_for_ddl(id, running, 0, number, mode.unwrap_or(TableMode::AccessExclusive))?;
        self.lock_parents(id, running, &name, alter)?;
        for operation in &alter.operations {
            self.alter(id, &name, operation)?;
        }
        Ok(())
    }

    /// A foreign key that is added or validated locks the referenced table, too.
    fn lock_parents(
        &mut self,
        id: SessionId,
        running: &mut Running,
        name: &Arc<str>,
        alter: &ast::AlterTable,
    ) -> Result<(), Halt> {
        use ast::AlterTableOperation as Op;
        let table = Arc::clone(self.catalog(id).table(name)?);
        let mut place = 0;
        for operation in &alter.operations {
            let (parent, mode) = match operation {
                Op::AddConstraint {
                    constraint: ast::TableConstraint::ForeignKey(key),
                    ..
                } => (relation(&key.foreign_table)?, TableMode::ShareRowExclusive),
                Op::ValidateConstraint { name } => {
                    let name = fold(name);
                    match table.foreign_keys.iter().find(|key| *key.name == *name) {
                        Some(key) => (Arc::clone(&key.parent), TableMode::RowShare),
                        None => continue,
                    }
                }
                // The key has a trigger at its other end.
                Op::DropConstraint { name, .. } => {
                    let name = fold(name);
                    match table.foreign_keys.iter().find(|key| *key.name == *name) {
                        Some(key) => (Arc::clone(&key.parent), TableMode::AccessExclusive),
                        None => continue,
                    }
                }
                _ => continue,
            };
            let parent = self.catalog(id).table(&parent)?.id;
            place += 1;
            self.lock_for_ddl(id, running, place, parent, mode)?;
        }
        Ok(())
    }

    fn alter(&mut self, id: SessionId, name: &Arc<str>, operation: &ast::AlterTableOperation) -> Result<(), Halt> {
        use ast::AlterTableOperation as Op;
        let table = Arc::clone(self.catalog(id).table(name)?);
        match operation {
            Op::AddConstraint { constraint, not_valid } => self.add_constraint(id, &table, constraint, *not_valid),
            Op::ValidateConstraint { name } => self.validate(id, &table, &fold(name)),
            Op::AddColumn {
                column_def,
                if_not_exists,
                ..
            } => self.add_column(id, &table, column_def, *if_not_exists),
            Op::DropConstraint {
                name: constraint,
                if_exists,
                ..
            } => self.drop_constraint(id, &table, &fold(constraint), *if_exists),
            Op::AlterColumn { column_name, op } => {
                let column = table.require_column(&fold(column_name))?;
                let mut changed = (*table).clone();
                match op {
                    ast::AlterColumnOperation::SetNotNull => changed.columns[column].not_null = true,
                    ast::AlterColumnOperation::DropNotNull => changed.columns[column].not_null = false,
                    ast::AlterColumnOperation::SetDefault { value } => {
                        changed.columns[column].source = Source::Default(Box::new(value.clone()));
                    }
                    ast::AlterColumnOperation::DropDefault => changed.columns[column].source = Source::Nothing,
                    other => return Err(Halt::Refused(plain_refusal(&format!("ALTER COLUMN {other}")))),
                }
                self.replace(id, changed);
                self.verify(id, name)
            }
            Op::RenameColumn {
                old_column_name,
                new_column_name,
            } => {
                self.refuse_under_views(id, table.id, "RENAME COLUMN")?;
                let column = table.require_column(&fold(old_column_name))?;
                let mut changed = (*table).clone();
                changed.columns[column].name = fold(new_column_name).into();
                self.replace(id, changed);
                Ok(())
            }
            Op::EnableRowLevelSecurity | Op::DisableRowLevelSecurity | Op::OwnerTo { .. } => Ok(()),
            other => Err(Halt::Refused(plain_refusal(&format!("ALTER TABLE {other}")))),
        }
    }

    fn replace(&mut self, id: SessionId, table: Table) {
        self.change(id).tables.insert(Arc::clone(&table.name), Arc::new(table));
    }

    /// Tests every row of a table against NOT NULL and CHECK.
    fn verify(&mut self, id: SessionId, name: &str) -> Result<(), Halt> {
        let table = Arc::clone(self.catalog(id).table(name)?);
        let target = target_of(self.catalog(id), &table)?;
        let settings = self.session(id).settings.clone();
        let began = self.session(id).began;
        for row in self.rows(id, &table)? {
            if let Err(error) = check_row(&target, &row) {
                let column = table
                    .columns
                    .iter()
                    .zip(row.iter())
                    .find(|(column, value)| column.not_null && value.is_null());
                return Err(match column {
                    Some((column, _)) => {
                        let message = format!("column \"{}\" of relation \"{name}\" contains null values", column.name);
                        sql_error(b"23502", message).into()
                    }
                    None => error.into(),
                });
            }
            for (check, expr) in &target.checks {
                if eval(expr, &mut RowEnv::new(&row, &settings).at(began))? == Value::Bool(false) {
                    let message =
                        format!("check constraint \"{check}\" of relation \"{name}\" is violated by some row");
                    return Err(sql_error(b"23514", message).into());
                }
            }
        }
        Ok(())
    }

    fn rows(&mut self, id: SessionId, table: &Table) -> Result<Vec<Arc<[Value]>>, Halt> {
        let snapshot = self.engine.store.fresh_snapshot(id);
        let versions = self.engine.store.scan(id, &snapshot, table.id)?;
        Ok(versions
            .into_iter()
            .map(|version| Arc::clone(self.engine.store.row(table.id, version)))
            .collect())
    }

    fn add_constraint(
        &mut self,
        id: SessionId,
        table: &Arc<Table>,
        constraint: &ast::TableConstraint,
        not_valid: bool,
    ) -> Result<(), Halt> {
        let given = |name: &Option<ast::Ident>| name.as_ref().map(|name| Arc::<str>::from(fold(name)));
        match constraint {
            ast::TableConstraint::PrimaryKey(key) => {
                known_key(key.characteristics.as_ref())?;
                let include = key.include.iter().map(|column| table.require_column(&fold(column)));
                let include = include.collect::<Result<Vec<usize>, _>>()?;
                if table.primary_key().is_some() {
                    let message = format!("multiple primary keys for table \"{}\" are not allowed", table.name);
                    return Err(sql_error(b"42P16", message).into());
                }
                let columns = named_columns(table, &key.columns)?;
                let mut changed = (**table).clone();
                for column in &columns {
                    changed.columns[*column].not_null = true;
                }
                self.replace(id, changed);
                self.verify(id, &table.name)?;
                self.add_unique(id, table, given(&key.name), (columns, include), true, false)
            }
            ast::TableConstraint::Unique(key) => {
                known_key(key.characteristics.as_ref())?;
                let include = key.include.iter().map(|column| table.require_column(&fold(column)));
                let include = include.collect::<Result<Vec<usize>, _>>()?;
                let columns = named_columns(table, &key.columns)?;
                let not_distinct = key.nulls_distinct == ast::NullsDistinctOption::NotDistinct;
                self.add_unique(id, table, given(&key.name), (columns, include), false, not_distinct)
            }
            ast::TableConstraint::Check(check) => {
                condition_of(self.catalog(id), table, &check.expr, "check constraints")?;
                let name = given(&check.name).unwrap_or_else(|| format!("{}_check", table.name).into());
                let mut changed = (**table).clone();
                changed.checks.push(Check {
                    name,
                    expr: check.expr.clone(),
                });
                changed.checks.sort_by(|left, right| left.name.cmp(&right.name));
                self.replace(id, changed);
                match not_valid {
                    true => Ok(()),
                    false => self.verify(id, &table.name),
                }
            }
            ast::TableConstraint::ForeignKey(key) => {
                let mut columns = Vec::new();
                for column in &key.columns {
                    columns.push(table.require_column(&fold(column))?);
                }
                let new = foreign_key(self.catalog(id), table, &[], given(&key.name), columns, key)?;
                if !not_valid {
                    self.check_references(id, table, &new)?;
                }
                let mut changed = (**table).clone();
                changed.foreign_keys.push(new);
                changed.foreign_keys.sort_by(|left, right| left.name.cmp(&right.name));
                self.replace(id, changed);
                Ok(())
            }
            other => Err(Halt::Refused(plain_refusal(&format!("table constraint {other}")))),
        }
    }

    /// VALIDATE CONSTRAINT: tests every row. Which constraints were validated before is not remembered: their rows pass again.
    fn validate(&mut self, id: SessionId, table: &Arc<Table>, name: &str) -> Result<(), Halt> {
        if let Some(key) = table.foreign_keys.iter().find(|key| *key.name == *name) {
            return self.check_references(id, table, key);
        }
        if table.checks.iter().any(|check| *check.name == *name) {
            return self.verify(id, &table.name);
        }
        let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name);
        Err(sql_error(b"42704", message).into())
    }

    /// Tests that every row of a table refers to a row that is there.
    fn check_references(&mut self, id: SessionId, table: &Arc<Table>, key: &ForeignKey) -> Result<(), Halt> {
        let parent = Arc::clone(self.catalog(id).table(&key.parent)?);
        let parents = self.rows(id, &parent)?;
        for row in self.rows(id, table)? {
            let wanted: Vec<&Value> = key.columns.iter().map(|column| &row[*column]).collect();
            let fits = |parent: &Arc<[Value]>| {
                key.parent_columns
                    .iter()
                    .zip(&wanted)
                    .all(|(column, value)| parent[*column] == **value)
            };
            if !wanted.iter().any(|value| value.is_null()) && !parents.iter().any(fits) {
                let message = format!(
                    "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
                    table.name, key.name
                );
                return Err(sql_error(b"23503", message).on(Arc::clone(&key.name)).into());
            }
        }
        Ok(())
    }

    fn add_unique(
        &mut self,
        id: SessionId,
        table: &Arc<Table>,
        name: Option<Arc<str>>,
        (columns, include): (Vec<usize>, Vec<usize>),
        primary: bool,
        nulls_not_distinct: bool,
    ) -> Result<(), Halt> {
        let name = name.unwrap_or_else(|| {
            let names: Vec<&str> = columns.iter().map(|column| &*table.columns[*column].name).collect();
            let base = match primary {
                true => format!("{}_pkey", table.name),
                false => format!("{}_{}_key", table.name, names.join("_")),
            };
            self.catalog(id).free_name(&base, &[])
        });
        let new = NewIndex {
            name,
            method: Method::Btree,
            at_once: false,
            keys: columns.into_iter().map(IndexKey::Column).collect(),
            unique: true,
            nulls_not_distinct,
            primary,
            constraint: true,
            predicate: None,
            include,
        };
        self.add_index(id, &table.name, new)
    }

    /// ADD COLUMN: every row is rewritten with the new column's default.
    fn add_column(
        &mut self,
        id: SessionId,
        table: &Arc<Table>,
        definition: &ast::ColumnDef,
        if_not_exists: bool,
    ) -> Result<(), Halt> {
        let name: Arc<str> = fold(&definition.name).into();
        if table.column(&name).is_some() {
            if if_not_exists {
                let message = format!(
                    "column \"{name}\" of relation \"{}\" already exists, skipping",
                    table.name
                );
                self.notice(id, Severity::Notice, message);
                return Ok(());
            }
            let message = format!("column \"{name}\" of relation \"{}\" already exists", table.name);
            return Err(sql_error(b"42701", message).into());
        }
        let (ty, serial) = column_type(&definition.data_type)?;
        if serial {
            return Err(Halt::Refused(plain_refusal("ADD COLUMN of a serial type")));
        }
        let mut column = Column {
            name: Arc::clone(&name),
            ty,
            not_null: false,
            source: Source::Nothing,
        };
        let mut constraints = Vec::new();
        for option in &definition.options {
            match &option.option {
                ast::ColumnOption::Null => {}
                ast::ColumnOption::NotNull => column.not_null = true,
                ast::ColumnOption::Default(expr) => column.source = Source::Default(Box::new(expr.clone())),
                ast::ColumnOption::Check(check) => {
                    constraints.push(ast::TableConstraint::Check(ast::CheckConstraint {
                        name: check
                            .name
                            .clone()
                            .or_else(|| Some(ast::Ident::new(format!("{}_{name}_check", table.name)))),
                        ..check.clone()
                    }))
                }
                ast::ColumnOption::Unique(key) => {
                    constraints.push(ast::TableConstraint::Unique(ast::UniqueConstraint {
                        columns: vec![index_column(&definition.name)],
                        ..key.clone()
                    }))
                }
                ast::ColumnOption::ForeignKey(key) => {
                    constraints.push(ast::TableConstraint::ForeignKey(ast::ForeignKeyConstraint {
                        columns: vec![definition.name.clone()],
                        ..key.clone()
                    }));
                }
                other => return Err(Halt::Refused(plain_refusal(&format!("ADD COLUMN ... {other}")))),
            }
        }
        let mut changed = (**table).clone();
        changed.columns.push(column);
        self.replace(id, changed);
        self.rewrite(id, &table.name)?;
        self.verify(id, &table.name)?;
        for constraint in constraints {
            let table = Arc::clone(self.catalog(id).table(&table.name)?);
            self.add_constraint(id, &table, &constraint, false)?;
        }
        Ok(())
    }

    /// Gives every row the columns that it does not have yet. Departure from Postgres: rows move to the end of the heap, in
    /// their old order, so that nobody can tell.
    fn rewrite(&mut self, id: SessionId, name: &str) -> Result<(), Halt> {
        let table = Arc::clone(self.catalog(id).table(name)?);
        let target = target_of(self.catalog(id), &table)?;
        let settings = self.session(id).settings.clone();
        let began = self.session(id).began;
        let snapshot = self.engine.store.fresh_snapshot(id);
        for version in self.engine.store.scan(id, &snapshot, table.id)? {
            let mut values = self.engine.store.row(table.id, version).to_vec();
            let empty: Arc<[Value]> = Arc::new([]);
            for default in &target.defaults[values.len()..] {
                values.push(eval(default, &mut RowEnv::new(&empty, &settings).at(began))?);
            }
            let row: Arc<[Value]> = values.into();
            let next = self
                .engine
                .store
                .update(id, table.id, version, Arc::clone(&row), false)?;
            for index in &target.indexes {
                if let Some(key) = self.key_of(id, &target, index, &row)? {
                    self.engine
                        .store
                        .enter_key(id, index.id, key, next, KeyCheck::HeapOnly)?;
                }
            }
        }
        Ok(())
    }

    fn drop_constraint(&mut self, id: SessionId, table: &Arc<Table>, name: &str, if_exists: bool) -> Result<(), Halt> {
        let mut changed = (**table).clone();
        let before = (changed.indexes.len(), changed.checks.len(), changed.foreign_keys.len());
        changed
            .indexes
            .retain(|index| !(index.constraint && &*index.name == name));
        changed.checks.retain(|check| &*check.name != name);
        changed.foreign_keys.retain(|key| &*key.name != name);
        if before == (changed.indexes.len(), changed.checks.len(), changed.foreign_keys.len()) {
            let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name);
            if if_exists {
                self.notice(id, Severity::Notice, format!("{message}, skipping"));
                return Ok(());
            }
            return Err(sql_error(b"42704", message).into());
        }
        self.replace(id, changed);
        Ok(())
    }
}

/// The lock that an operation takes on its table.
fn lock_mode(operation: &ast::AlterTableOperation) -> TableMode {
    use ast::AlterTableOperation as Op;
    match operation {
        Op::AddConstraint {
            constraint: ast::TableConstraint::ForeignKey(_),
            ..
        } => TableMode::ShareRowExclusive,
        Op::ValidateConstraint { .. } => TableMode::ShareUpdateExclusive,
        _ => TableMode::AccessExclusive,
    }
}

fn named_columns(table: &Table, columns: &[ast::IndexColumn]) -> Result<Vec<usize>, Halt> {
    let mut found = Vec::new();
    for column in columns {
        match &column.column.expr {
            ast::Expr::Identifier(name) => {
                let name = fold(name);
                let place = table.column(&name);
                let missing = || sql_error(b"42703", format!("column \"{name}\" named in key does not exist"));
                found.push(place.ok_or_else(missing)?);
            }
            other => return Err(Halt::Refused(Refused::node("expression in a constraint", other))),
        }
    }
    Ok(found)
}

fn index_column(name: &ast::Ident) -> ast::IndexColumn {
    ast::IndexColumn {
        column: ast::OrderByExpr {
            expr: ast::Expr::Identifier(name.clone()),
            options: ast::OrderByOptions {
                sort: None,
                nulls_first: None,
            },
            with_fill: None,
        },
        operator_class: None,
    }
}
