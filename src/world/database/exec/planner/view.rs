//! What DDL asks about views: their columns, and what they read.

use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::catalog::{Catalog, View};
use crate::world::database::sql::fold;
use crate::world::database::sql::refuse::BindError;
use crate::world::database::sql::types::Type;
use crate::world::database::store::TableId;

use super::plan_statement;

type Columns = Vec<(Arc<str>, Type)>;

/// The columns that a new view will have.
pub(crate) fn view_columns(catalog: &Catalog, create: &ast::CreateView) -> Result<Columns, BindError> {
    let names = create.columns.iter().map(|column| fold(&column.name).into());
    let names: Vec<Arc<str>> = names.collect();
    let columns = columns(catalog, &create.query, &names)?;
    if names.len() > columns.len() {
        let message = "CREATE VIEW specifies more column names than columns";
        return Err(BindError::sql(b"42601", message));
    }
    if columns.iter().any(|(_, ty)| *ty == Type::Unknown) {
        let columns = columns.into_iter().map(|(name, ty)| match ty {
            Type::Unknown => (name, Type::Text),
            ty => (name, ty),
        });
        return Ok(columns.collect());
    }
    Ok(columns)
}

/// The columns of a view.
pub(crate) fn columns_of(catalog: &Catalog, view: &View) -> Result<Columns, BindError> {
    columns(catalog, &view.query, &view.columns)
}

fn columns(catalog: &Catalog, query: &ast::Query, names: &[Arc<str>]) -> Result<Columns, BindError> {
    let statement = ast::Statement::Query(Box::new(query.clone()));
    let plan = plan_statement(catalog, &statement, Vec::new(), &[], super::Off::default())?;
    let mut columns = plan.root.columns.to_vec();
    for (column, name) in columns.iter_mut().zip(names) {
        column.0 = Arc::clone(name);
    }
    Ok(columns)
}

/// The tables and views that a view reads, also through other views.
pub(crate) fn tables_of_view(catalog: &Catalog, view: &View) -> Result<Vec<TableId>, BindError> {
    let statement = ast::Statement::Query(view.query.clone());
    let plan = plan_statement(catalog, &statement, Vec::new(), &[], super::Off::default())?;
    Ok(plan.locks.iter().map(|(table, _)| *table).collect())
}
