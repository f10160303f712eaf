//! INSERT, UPDATE, DELETE and MERGE.

use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::catalog::{Index, Source, Table};
use crate::world::database::exec::plan::Source as Rows;
use crate::world::database::exec::plan::{
    Access, Body, Columns, Conflict, ConflictUpdate, Delete, From, Insert, InsertSource, JoinKind, Layout, Leaf, Merge,
    MergeAction, MergeClause, Query, Target, Update,
};
use crate::world::database::sql::bind::{assign, bind_condition, bind_expr};
use crate::world::database::sql::expr::Expr;
use crate::world::database::sql::parse::{Arbiter, conflict_target};
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::{Scope, ScopeColumn};
use crate::world::database::sql::types::Type;
use crate::world::database::sql::{fold, names};

use super::from::Build;
use super::select::Item;
use super::target::table_scope;
use super::{Planner, conjuncts};

impl Planner<'_> {
    /// A data-modifying statement.
    pub(super) fn modify(&mut self, statement: &ast::Statement, outer: &Scope<'_>) -> Result<Query, BindError> {
        match statement {
            ast::Statement::Query(query) => self.query(query, outer),
            ast::Statement::Insert(insert) => self.insert(insert, outer),
            ast::Statement::Update(update) => self.update(update, outer),
            ast::Statement::Delete(delete) => self.delete(delete, outer),
            ast::Statement::Merge(merge) => self.merge(merge, outer),
            other => Err(Refused::node("statement", other).into()),
        }
    }

    fn modified(&mut self, written: &ast::ObjectName) -> Result<Arc<Table>, BindError> {
        let mut parts = names(written)?;
        let name = parts.pop().unwrap_or_default();
        if parts.first().is_some_and(|schema| schema != "public") {
            return Err(Refused::node("relation of another schema", written).into());
        }
        match self.catalog.tables.get(name.as_str()) {
            Some(table) => Ok(Arc::clone(table)),
            None => Err(self.no_table(&name, written, "a write")),
        }
    }

    fn insert(&mut self, insert: &ast::Insert, outer: &Scope<'_>) -> Result<Query, BindError> {
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(BindError::sql(b"42601", "syntax error in INSERT"));
        };
        if insert.or.is_some()
            || !insert.into
            || insert.ignore
            || insert.overwrite
            || insert.replace_into
            || !insert.assignments.is_empty()
        {
            return Err(Refused::node("INSERT", name).into());
        }
        let table = self.modified(name)?;
        let target = self.target(&table)?;
        let columns = match insert.columns.is_empty() {
            true => None,
            false => {
                let mut columns = Vec::new();
                for name in &insert.columns {
                    let name = names(name)?.pop().unwrap_or_default();
                    let column = table.require_column(&name)?;
                    if columns.contains(&column) {
                        return Err(BindError::sql(
                            b"42701",
                            format!("column \"{name}\" specified more than once"),
                        ));
                    }
                    columns.push(column);
                }
                Some(columns)
            }
        };
        let mut modifying = Vec::new();
        let mark = self.visible.len();
        let source = self.insert_source(insert, &target, columns.as_deref(), outer, &mut modifying);
        self.visible.truncate(mark);
        let source = source?;
        let alias = insert.table_alias.as_ref().map(|alias| Arc::from(fold(&alias.alias)));
        let conflict = match &insert.on {
            None => None,
            Some(ast::OnInsert::OnConflict(clause)) => Some(self.conflict(clause, &target, alias.as_ref(), outer)?),
            Some(_) => return Err(Refused::node("ON DUPLICATE KEY", name).into()),
        };
        let mut build = Build::new(outer);
        build.add(
            Some(alias.unwrap_or_else(|| Arc::clone(&table.name))),
            &column_types(&table),
        );
        // Whether a row was inserted or, by ON CONFLICT, updated is seen in its xmax: 0, or the transaction's own number.
        if let Some(relation) = build.scope.relations.last_mut() {
            relation.columns.push(ScopeColumn {
                name: "xmax".into(),
                ty: Type::Xid,
                hidden: true,
            });
        }
        let (returning, columns) = self.returning(insert.returning.as_deref(), &build.scope)?;
        let place = table.columns.len();
        let mut asked = false;
        for expr in returning.iter().flatten() {
            expr.walk(&mut |part| {
                let is_it = |index: &u16| usize::from(*index) == place;
                asked |= match part {
                    Expr::Column { index, .. } => is_it(index),
                    Expr::Subquery { .. } => true,
                    _ => false,
                };
            });
        }
        let xmax = asked.then(|| Layout::single(place + 1));
        let mut query = modification(
            Body::Insert(Box::new(Insert {
                target,
                source,
                conflict,
                returning,
                xmax,
            })),
            columns,
        );
        query.modifying_ctes = modifying;
        Ok(query)
    }

    fn insert_source(
        &mut self,
        insert: &ast::Insert,
        target: &Target,
        columns: Option<&[usize]>,
        outer: &Scope<'_>,
        modifying: &mut Vec<usize>,
    ) -> Result<InsertSource, BindError> {
        let table = &target.table;
        let Some(source) = &insert.source else {
            return Ok(InsertSource::Rows(vec![target.defaults.clone()]));
        };
        if let ast::SetExpr::Values(values) = &*source.body
            && source.order_by.is_none()
            && source.limit_clause.is_none()
            && source.with.is_none()
        {
            let rows = values
                .rows
                .iter()
                .map(|row| self.insert_row(&row.content, target, columns, outer));
            return Ok(InsertSource::Rows(rows.collect::<Result<_, _>>()?));
        }
        self.untyped = source.with.is_none() && matches!(&*source.body, ast::SetExpr::Select(_));
        let mut query = self.query(source, outer)?;
        self.untyped = false;
        modifying.append(&mut query.modifying_ctes);
        let given: Vec<usize> = match columns {
            Some(columns) => columns.to_vec(),
            None => (0..query.columns.len().min(table.columns.len())).collect(),
        };
        check_width(query.columns.len(), given.len(), columns.is_some())?;
        let mut map = target.defaults.clone();
        for (place, column) in given.into_iter().enumerate() {
            let expr = Expr::Column {
                depth: 0,
                index: place as u16,
            };
            forbid_generated(table, column, false)?;
            let definition = &table.columns[column];
            let ty = query.columns[place].1.clone();
            // An untyped literal or parameter takes the column's type, and is the same for every row.
            let expr = match (&ty, &query.body) {
                (Type::Unknown, Body::Select(select)) => select.output.get(place).cloned().unwrap_or(expr),
                _ => expr,
            };
            map[column] = assign(expr, &ty, &definition.name, &definition.ty, self)?;
        }
        Ok(InsertSource::Query(Box::new(query), map))
    }

    fn insert_row(
        &mut self,
        row: &[ast::Expr],
        target: &Target,
        columns: Option<&[usize]>,
        outer: &Scope<'_>,
    ) -> Result<Vec<Expr>, BindError> {
        let table = &target.table;
        let given: Vec<usize> = match columns {
            Some(columns) => columns.to_vec(),
            None => (0..row.len().min(table.columns.len())).collect(),
        };
        check_width(row.len(), given.len(), columns.is_some())?;
        let inner = outer.inner();
        let mut values = target.defaults.clone();
        for (expr, column) in row.iter().zip(given) {
            if is_default(expr) {
                continue;
            }
            forbid_generated(table, column, false)?;
            values[column] = self.assigned(expr, table, column, &inner, "VALUES")?;
        }
        Ok(values)
    }

    fn assigned(
        &mut self,
        expr: &ast::Expr,
        table: &Table,
        column: usize,
        scope: &Scope<'_>,
        clause: &'static str,
    ) -> Result<Expr, BindError> {
        let definition = &table.columns[column];
        self.plain(clause, |planner| {
            let (expr, ty) = bind_expr(expr, scope, planner)?;
            assign(expr, &ty, &definition.name, &definition.ty, planner)
        })
    }

    fn conflict(
        &mut self,
        clause: &ast::OnConflict,
        target: &Target,
        alias: Option<&Arc<str>>,
        outer: &Scope<'_>,
    ) -> Result<Conflict, BindError> {
        let table = Arc::clone(&target.table);
        let arbiters = self.arbiters(clause, target)?;
        let ast::OnConflictAction::DoUpdate(update) = &clause.action else {
            return Ok(Conflict { arbiters, update: None });
        };
        if clause.conflict_target.is_none() {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(BindError::sql(b"42601", message));
        }
        let mut build = Build::new(outer);
        let columns = column_types(&table);
        build.add(
            Some(alias.cloned().unwrap_or_else(|| Arc::clone(&table.name))),
            &columns,
        );
        build.add(Some("excluded".into()), &columns);
        if let Some(excluded) = build.scope.relations.last_mut() {
            excluded.qualified_only = true;
        }
        let set = self.assignments(&update.assignments, target, &build.scope)?;
        let filter = match &update.selection {
            Some(expr) => Some(self.plain("WHERE", |planner| bind_condition(expr, "WHERE", &build.scope, planner))?),
            None => None,
        };
        Ok(Conflict {
            arbiters,
            update: Some(ConflictUpdate {
                layout: build.layout,
                set,
                filter,
            }),
        })
    }

    /// The unique indexes that ON CONFLICT means.
    fn arbiters(&mut self, clause: &ast::OnConflict, target: &Target) -> Result<Vec<usize>, BindError> {
        let table = Arc::clone(&target.table);
        let unique = |index: &Index| index.unique;
        let (keys, predicate) = match conflict_target(clause)? {
            Arbiter::Any => {
                return Ok((0..table.indexes.len())
                    .filter(|place| unique(&table.indexes[*place]))
                    .collect());
            }
            Arbiter::Constraint(name) => {
                let found = table
                    .indexes
                    .iter()
                    .position(|index| index.constraint && *index.name == name);
                return found.map(|place| vec![place]).ok_or_else(|| {
                    let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
                    BindError::sql(b"42704", message)
                });
            }
            Arbiter::Index { keys, predicate } => (keys, predicate),
        };
        let scope = table_scope(&table);
        let mut wanted = Vec::new();
        for key in &keys {
            wanted.push(self.plain("ON CONFLICT", |planner| Ok(bind_expr(key, &scope, planner)?.0))?);
        }
        let mut given = Vec::new();
        if let Some(predicate) = &predicate {
            let bound = self.plain("WHERE", |planner| bind_condition(predicate, "WHERE", &scope, planner))?;
            conjuncts(bound, &mut given);
        }
        let fits = |place: &usize| {
            let index = &target.indexes[*place];
            let same =
                index.keys.iter().all(|key| wanted.contains(key)) && wanted.iter().all(|key| index.keys.contains(key));
            let implied = index.predicate.as_ref().is_none_or(|predicate| {
                let mut parts = Vec::new();
                conjuncts(predicate.clone(), &mut parts);
                parts.iter().all(|part| given.contains(part))
            });
            index.unique && same && implied
        };
        let found: Vec<usize> = (0..target.indexes.len()).filter(fits).collect();
        if found.is_empty() {
            let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
            return Err(BindError::sql(b"42P10", message));
        }
        Ok(found)
    }

    fn update(&mut self, update: &ast::Update, outer: &Scope<'_>) -> Result<Query, BindError> {
        if update.or.is_some()
            || !update.order_by.is_empty()
            || update.limit.is_some()
            || !update.table.joins.is_empty()
        {
            return Err(Refused::node("UPDATE", update).into());
        }
        let (table, mut build, mut from) = self.target_leaf(&update.table.relation, outer)?;
        let target = self.target(&table)?;
        let sources = match &update.from {
            None => &[][..],
            Some(ast::UpdateTableFromKind::AfterSet(list)) => list,
            Some(ast::UpdateTableFromKind::BeforeSet(_)) => {
                return Err(Refused::node("UPDATE ... FROM before SET", update).into());
            }
        };
        from = self.list(sources, &mut build, from)?;
        let condition = match &update.selection {
            Some(expr) => Some(self.plain("WHERE", |planner| bind_condition(expr, "WHERE", &build.scope, planner))?),
            None => None,
        };
        let set = self.assignments(&update.assignments, &target, &build.scope)?;
        let (returning, columns) = self.returning(update.returning.as_deref(), &build.scope)?;
        let (gate, filter) = self.place(&mut from, &build.layout, condition);
        Ok(modification(
            Body::Update(Box::new(Update {
                target,
                from,
                layout: build.layout,
                gate,
                filter,
                set,
                returning,
            })),
            columns,
        ))
    }

    fn delete(&mut self, delete: &ast::Delete, outer: &Scope<'_>) -> Result<Query, BindError> {
        let ast::FromTable::WithFromKeyword(tables) = &delete.from else {
            return Err(Refused::node("DELETE without FROM", delete).into());
        };
        let [only] = tables.as_slice() else {
            return Err(Refused::node("DELETE", delete).into());
        };
        if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() || !only.joins.is_empty()
        {
            return Err(Refused::node("DELETE", delete).into());
        }
        let (table, mut build, mut from) = self.target_leaf(&only.relation, outer)?;
        let target = self.target(&table)?;
        from = self.list(delete.using.as_deref().unwrap_or(&[]), &mut build, from)?;
        let condition = match &delete.selection {
            Some(expr) => Some(self.plain("WHERE", |planner| bind_condition(expr, "WHERE", &build.scope, planner))?),
            None => None,
        };
        let (returning, columns) = self.returning(delete.returning.as_deref(), &build.scope)?;
        let (gate, filter) = self.place(&mut from, &build.layout, condition);
        Ok(modification(
            Body::Delete(Box::new(Delete {
                target,
                from,
                layout: build.layout,
                gate,
                filter,
                returning,
            })),
            columns,
        ))
    }

    fn merge(&mut self, merge: &ast::Merge, outer: &Scope<'_>) -> Result<Query, BindError> {
        let (table, mut build, target_from) = self.target_leaf(&merge.table, outer)?;
        let target = self.target(&table)?;
        let source = ast::TableWithJoins {
            relation: merge.source.clone(),
            joins: Vec::new(),
        };
        let mut left = self.list(&[source], &mut build, From::Nothing)?;
        let condition = self.plain("JOIN conditions", |planner| {
            bind_condition(&merge.on, "MERGE/ON", &build.scope, planner)
        })?;
        let mut right = target_from;
        let on = self.place_on(JoinKind::Left, &mut left, &mut right, &build.layout, Some(condition));
        let mut from = From::Join {
            kind: JoinKind::Left,
            left: Box::new(left),
            right: Box::new(right),
            on,
            filter: Vec::new(),
            independent: true,
        };
        self.place(&mut from, &build.layout, None);
        let mut clauses = Vec::new();
        for clause in &merge.clauses {
            clauses.push(self.merge_clause(clause, &target, &build.scope)?);
        }
        Ok(modification(
            Body::Merge(Box::new(Merge {
                target,
                from,
                layout: build.layout,
                clauses,
            })),
            Arc::new([]),
        ))
    }

    fn merge_clause(
        &mut self,
        clause: &ast::MergeClause,
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<MergeClause, BindError> {
        let matched = match clause.clause_kind {
            ast::MergeClauseKind::Matched => true,
            ast::MergeClauseKind::NotMatched => false,
            _ => return Err(Refused::node("MERGE WHEN NOT MATCHED BY", clause).into()),
        };
        let source_only;
        let visible = match matched {
            true => scope,
            false => {
                source_only = Scope {
                    relations: scope.relations[1..].to_vec(),
                    ..scope.clone()
                };
                &source_only
            }
        };
        let condition = match &clause.predicate {
            Some(expr) => Some(self.plain("MERGE WHEN conditions", |planner| {
                bind_condition(expr, "WHEN", visible, planner)
            })?),
            None => None,
        };
        let action = match &clause.action {
            ast::MergeAction::Update(update) => {
                let ast::MergeUpdateKind::Set(assignments) = &update.kind else {
                    return Err(Refused::node("MERGE UPDATE", clause).into());
                };
                MergeAction::Update(self.assignments(assignments, target, visible)?)
            }
            ast::MergeAction::Delete { .. } => MergeAction::Delete,
            ast::MergeAction::DoNothing { .. } => MergeAction::Nothing,
            ast::MergeAction::Insert(insert) => {
                let mut columns = Vec::new();
                for name in &insert.columns {
                    let name = names(name)?.pop().unwrap_or_default();
                    columns.push(target.table.require_column(&name)?);
                }
                match &insert.kind {
                    ast::MergeInsertKind::Values(values) if values.rows.len() == 1 => {
                        let row = &values.rows[0].content;
                        let given = match columns.is_empty() {
                            true => (0..row.len().min(target.table.columns.len())).collect(),
                            false => columns.clone(),
                        };
                        check_width(row.len(), given.len(), !columns.is_empty())?;
                        let mut full = target.defaults.clone();
                        for (expr, column) in row.iter().zip(given) {
                            if !is_default(expr) {
                                forbid_generated(&target.table, column, false)?;
                                full[column] = self.assigned(expr, &target.table, column, visible, "VALUES")?;
                            }
                        }
                        MergeAction::Insert(full)
                    }
                    _ => return Err(Refused::node("MERGE INSERT", clause).into()),
                }
            }
        };
        Ok(MergeClause {
            matched,
            condition,
            action,
        })
    }

    /// The changed table as the first relation of a FROM.
    fn target_leaf<'a>(
        &mut self,
        factor: &ast::TableFactor,
        outer: &'a Scope<'a>,
    ) -> Result<(Arc<Table>, Build<'a>, From), BindError> {
        let ast::TableFactor::Table {
            name,
            alias,
            args: None,
            ..
        } = factor
        else {
            return Err(Refused::node("changed relation", factor).into());
        };
        let table = self.modified(name)?;
        let mut build = Build::new(outer);
        let name = match alias {
            Some(alias) => Arc::from(fold(&alias.name)),
            None => Arc::clone(&table.name),
        };
        let slot = build.add(Some(name), &column_types(&table));
        let from = From::Leaf(Leaf {
            slot,
            source: Rows::Table {
                table: Arc::clone(&table),
                access: Access::SCAN,
            },
            filter: Vec::new(),
        });
        Ok((table, build, from))
    }

    /// `SET` clauses.
    fn assignments(
        &mut self,
        list: &[ast::Assignment],
        target: &Target,
        scope: &Scope<'_>,
    ) -> Result<Vec<(usize, Expr)>, BindError> {
        let table = Arc::clone(&target.table);
        let mut set: Vec<(usize, Expr)> = Vec::new();
        let add = |set: &mut Vec<(usize, Expr)>, column: usize, expr: Expr| {
            if set.iter().any(|(known, _)| *known == column) {
                let message = format!("multiple assignments to same column \"{}\"", table.columns[column].name);
                return Err(BindError::sql(b"42601", message));
            }
            set.push((column, expr));
            Ok(())
        };
        for assignment in list {
            match &assignment.target {
                ast::AssignmentTarget::ColumnName(name) => {
                    let column = assigned_column(&table, name)?;
                    let expr = self.new_value(&assignment.value, target, column, scope)?;
                    add(&mut set, column, expr)?;
                }
                ast::AssignmentTarget::Tuple(columns) => {
                    let values = match &assignment.value {
                        ast::Expr::Tuple(values) => values.as_slice(),
                        ast::Expr::Subquery(_) => {
                            return Err(Refused::node("SET (columns) = (sub-select)", assignment).into());
                        }
                        _ => return Err(Refused::node("SET (columns)", assignment).into()),
                    };
                    if values.len() != columns.len() {
                        return Err(BindError::sql(
                            b"42601",
                            "number of columns does not match number of values",
                        ));
                    }
                    for (name, value) in columns.iter().zip(values) {
                        let column = assigned_column(&table, name)?;
                        let expr = self.new_value(value, target, column, scope)?;
                        add(&mut set, column, expr)?;
                    }
                }
            }
        }
        Ok(set)
    }

    fn new_value(
        &mut self,
        expr: &ast::Expr,
        target: &Target,
        column: usize,
        scope: &Scope<'_>,
    ) -> Result<Expr, BindError> {
        if is_default(expr) {
            return Ok(target.defaults[column].clone());
        }
        forbid_generated(&target.table, column, true)?;
        self.assigned(expr, &target.table, column, scope, "UPDATE")
    }

    fn returning(
        &mut self,
        list: Option<&[ast::SelectItem]>,
        scope: &Scope<'_>,
    ) -> Result<(Option<Vec<Expr>>, Columns), BindError> {
        let Some(list) = list else {
            return Ok((None, Arc::new([])));
        };
        let items = self.plain("RETURNING", |planner| planner.items(list, scope))?;
        let columns = items
            .iter()
            .map(|Item { name, ty, .. }| (Arc::clone(name), ty.clone()))
            .collect();
        Ok((Some(items.into_iter().map(|item| item.expr).collect()), columns))
    }
}

fn modification(body: Body, columns: Columns) -> Query {
    Query {
        body,
        order: Vec::new(),
        limit: None,
        offset: None,
        columns,
        modifying_ctes: Vec::new(),
    }
}

fn column_types(table: &Table) -> Vec<(Arc<str>, Type)> {
    table
        .columns
        .iter()
        .map(|column| (Arc::clone(&column.name), column.ty.clone()))
        .collect()
}

fn assigned_column(table: &Table, name: &ast::ObjectName) -> Result<usize, BindError> {
    let parts = names(name)?;
    match parts.as_slice() {
        [name] => Ok(table.require_column(name)?),
        _ => Err(Refused::node("assignment to a part of a column", name).into()),
    }
}

fn check_width(given: usize, wanted: usize, named: bool) -> Result<(), BindError> {
    if given > wanted {
        return Err(BindError::sql(
            b"42601",
            "INSERT has more expressions than target columns",
        ));
    }
    if given < wanted && named {
        return Err(BindError::sql(
            b"42601",
            "INSERT has more target columns than expressions",
        ));
    }
    Ok(())
}

/// Generated columns take no value but DEFAULT.
fn forbid_generated(table: &Table, column: usize, update: bool) -> Result<(), BindError> {
    let definition = &table.columns[column];
    let generated = match &definition.source {
        Source::Generated(_) => true,
        Source::Identity { always, .. } => *always,
        _ => false,
    };
    if !generated {
        return Ok(());
    }
    let message = match update {
        true => format!("column \"{}\" can only be updated to DEFAULT", definition.name),
        false => format!("cannot insert a non-DEFAULT value into column \"{}\"", definition.name),
    };
    Err(BindError::sql(b"428C9", message))
}

/// `DEFAULT` where a value is expected.
fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}
