//! What the executor needs to know of a table that a statement changes.

use std::sync::Arc;

use sqlparser::ast;

use crate::value::Value;
use crate::world::database::exec::catalog::{Action, Catalog, IndexKey, Source, Table};
use crate::world::database::exec::plan::{BoundIndex, Layout, Target};
use crate::world::database::sql::bind::{assign, bind_condition, bind_expr};
use crate::world::database::sql::expr::{Expr, Volatile};
use crate::world::database::sql::refuse::BindError;
use crate::world::database::sql::scope::Scope;
use crate::world::database::store::TableMode;

use super::Planner;

impl Planner<'_> {
    /// A table that is changed: its lock is noted, its constraints are bound.
    pub(super) fn target(&mut self, table: &Arc<Table>) -> Result<Target, BindError> {
        self.writes = true;
        self.lock(table.id, TableMode::RowExclusive);
        self.relate(table)?;
        bind_target(self, table)
    }

    /// Notes the tables that referential actions may change when rows of this one go.
    fn relate(&mut self, table: &Arc<Table>) -> Result<(), BindError> {
        let catalog = self.catalog;
        for (child, key) in catalog.references_to(&table.name) {
            let passive = |action| matches!(action, Action::Nothing | Action::Restrict);
            let known = self.related.iter().any(|target| target.table.id == child.id);
            if known || (passive(key.on_delete) && passive(key.on_update)) {
                continue;
            }
            let target = bind_target(self, child)?;
            self.related.push(target);
            self.relate(child)?;
        }
        Ok(())
    }

    /// The default of a column, as an expression over no columns.
    pub(super) fn default_of(&mut self, table: &Table, column: usize) -> Result<Expr, BindError> {
        let column = &table.columns[column];
        let empty = Scope::empty();
        match &column.source {
            Source::Nothing | Source::Generated(_) => Ok(Expr::Const(Value::Null)),
            Source::Default(expr) => self.plain("DEFAULT expressions", |planner| {
                let (expr, ty) = bind_expr(expr, &empty, planner)?;
                assign(expr, &ty, &column.name, &column.ty, planner)
            }),
            Source::Serial(sequence) | Source::Identity { sequence, .. } => Ok(Expr::Volatile {
                call: Volatile::Nextval,
                args: Box::new([Expr::Const(Value::text(Arc::clone(sequence)))]),
            }),
        }
    }
}

/// Binds a table's expressions, for DDL (which has no planner of its own).
pub(crate) fn target_of(catalog: &Catalog, table: &Arc<Table>) -> Result<Target, BindError> {
    let mut planner = Planner::bare(catalog);
    bind_target(&mut planner, table)
}

/// Binds one condition over a table's columns, for DDL.
pub(crate) fn condition_of(
    catalog: &Catalog,
    table: &Table,
    expr: &ast::Expr,
    clause: &'static str,
) -> Result<Expr, BindError> {
    let mut planner = Planner::bare(catalog);
    let scope = table_scope(table);
    planner.plain(clause, |planner| bind_condition(expr, clause, &scope, planner))
}

/// Binds one expression over a table's columns, for DDL.
pub(crate) fn expression_of(
    catalog: &Catalog,
    table: &Table,
    expr: &ast::Expr,
    clause: &'static str,
) -> Result<Expr, BindError> {
    let mut planner = Planner::bare(catalog);
    let scope = table_scope(table);
    planner.plain(clause, |planner| Ok(bind_expr(expr, &scope, planner)?.0))
}

/// The names of a table's columns.
pub(super) fn table_scope(table: &Table) -> Scope<'static> {
    let mut scope = Scope::empty();
    scope.push(
        Arc::clone(&table.name),
        table
            .columns
            .iter()
            .map(|column| (Arc::clone(&column.name), column.ty.clone())),
    );
    scope
}

fn bind_target(planner: &mut Planner<'_>, table: &Arc<Table>) -> Result<Target, BindError> {
    let scope = table_scope(table);
    let defaults = (0..table.columns.len())
        .map(|column| planner.default_of(table, column))
        .collect::<Result<_, _>>()?;
    let mut generated = Vec::new();
    for (place, column) in table.columns.iter().enumerate() {
        if let Source::Generated(expr) = &column.source {
            let expr = planner.plain("column generation expressions", |planner| {
                let (expr, ty) = bind_expr(expr, &scope, planner)?;
                assign(expr, &ty, &column.name, &column.ty, planner)
            })?;
            generated.push((place, expr));
        }
    }
    let mut checks = Vec::new();
    for check in &table.checks {
        let expr = planner.plain("check constraints", |planner| {
            bind_condition(&check.expr, "CHECK", &scope, planner)
        })?;
        checks.push((Arc::clone(&check.name), expr));
    }
    let mut indexes = Vec::new();
    for index in &table.indexes {
        let mut keys = Vec::new();
        for key in &index.keys {
            keys.push(match key {
                IndexKey::Column(column) => Expr::Column {
                    depth: 0,
                    index: *column as u16,
                },
                IndexKey::Expression(expr) => {
                    planner.plain("index expressions", |planner| Ok(bind_expr(expr, &scope, planner)?.0))?
                }
            });
        }
        let predicate = match &index.predicate {
            Some(expr) => Some(planner.plain("index predicates", |planner| {
                bind_condition(expr, "WHERE", &scope, planner)
            })?),
            None => None,
        };
        indexes.push(BoundIndex {
            id: index.id,
            name: Arc::clone(&index.name),
            keys,
            predicate,
            unique: index.unique,
            include: index.include.clone(),
        });
    }
    let referenced = planner.catalog.references_to(&table.name).next().is_some();
    Ok(Target {
        layout: Layout::single(table.columns.len()),
        defaults,
        generated,
        checks,
        indexes,
        key_columns: table.key_columns(),
        has_foreign_keys: referenced || !table.foreign_keys.is_empty(),
        table: Arc::clone(table),
    })
}
