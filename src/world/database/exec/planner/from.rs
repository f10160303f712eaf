//! FROM: relations, joins and the names they bring into scope.

use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::catalog::no_relation;
use crate::world::database::exec::plan::{Access, Columns, From, JoinKind, Layout, Leaf, Source};
use crate::world::database::sql::bind::{bind_condition, bind_table_function, coerce, common_type};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{Comparison, Expr};
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::{Relation, Scope};
use crate::world::database::sql::types::Type;
use crate::world::database::sql::{fold, known, names};
use crate::world::database::store::TableMode;

use super::Planner;

/// A FROM clause while it is planned: what names see, and where columns lie.
pub(super) struct Build<'a> {
    /// The names.
    pub(super) scope: Scope<'a>,
    /// The columns.
    pub(super) layout: Layout,
}

impl<'a> Build<'a> {
    pub(super) fn new(outer: &'a Scope<'a>) -> Self {
        Build {
            scope: outer.inner(),
            layout: Layout::default(),
        }
    }

    /// Adds a relation; returns its slot.
    pub(super) fn add(&mut self, name: Option<Arc<str>>, columns: &[(Arc<str>, Type)]) -> usize {
        let offset = self.layout.places.len() as u16;
        let mut relation = Relation::new("", columns.iter().cloned(), offset);
        relation.name = name;
        self.scope.relations.push(relation);
        self.layout.push(columns.len())
    }
}

impl Planner<'_> {
    /// The items of a FROM list, joined.
    pub(super) fn list(
        &mut self,
        items: &[ast::TableWithJoins],
        build: &mut Build<'_>,
        mut from: From,
    ) -> Result<From, BindError> {
        for item in items {
            let first = build.scope.relations.len();
            let right = self.item(item, build)?;
            self.unique_names(build, first)?;
            from = match from {
                From::Nothing => right,
                left => cross(left, right),
            };
        }
        Ok(from)
    }

    fn unique_names(&self, build: &Build<'_>, first: usize) -> Result<(), BindError> {
        let named = |relation: &Relation| relation.name.clone();
        for (place, relation) in build.scope.relations.iter().enumerate().skip(first) {
            let Some(name) = named(relation) else { continue };
            if build.scope.relations[..place]
                .iter()
                .any(|other| other.name.as_ref() == Some(&name))
            {
                let message = format!("table name \"{name}\" specified more than once");
                return Err(BindError::sql(b"42712", message));
            }
        }
        Ok(())
    }

    fn item(&mut self, item: &ast::TableWithJoins, build: &mut Build<'_>) -> Result<From, BindError> {
        let first = build.scope.relations.len();
        let mut from = self.factor(&item.relation, build)?;
        for join in &item.joins {
            let middle = build.scope.relations.len();
            let right = self.factor(&join.relation, build)?;
            from = self.join(from, right, &join.join_operator, build, first, middle)?;
        }
        Ok(from)
    }

    fn join(
        &mut self,
        mut left: From,
        mut right: From,
        operator: &ast::JoinOperator,
        build: &mut Build<'_>,
        first: usize,
        middle: usize,
    ) -> Result<From, BindError> {
        use ast::JoinOperator as Op;
        let (kind, swap, constraint) = match operator {
            Op::Join(on) | Op::Inner(on) | Op::CrossJoin(on) => (JoinKind::Inner, false, on),
            Op::Left(on) | Op::LeftOuter(on) => (JoinKind::Left, false, on),
            Op::Right(on) | Op::RightOuter(on) => (JoinKind::Left, true, on),
            Op::FullOuter(on) => (JoinKind::Full, false, on),
            other => {
                return Err(Refused::span(format!("join {other:?}"), sqlparser::tokenizer::Span::empty(), "").into());
            }
        };
        let condition = match constraint {
            ast::JoinConstraint::None => None,
            ast::JoinConstraint::On(expr) => {
                let condition = self.plain("JOIN conditions", |planner| {
                    bind_condition(expr, "JOIN/ON", &build.scope, planner)
                })?;
                Some(condition)
            }
            ast::JoinConstraint::Using(columns) => {
                let columns: Result<Vec<String>, BindError> = columns
                    .iter()
                    .map(|name| Ok(names(name)?.pop().unwrap_or_default()))
                    .collect();
                Some(self.using(&columns?, build, first, middle, kind, swap)?)
            }
            ast::JoinConstraint::Natural => {
                let common = common_columns(build, first, middle);
                match common.is_empty() {
                    true => None,
                    false => Some(self.using(&common, build, first, middle, kind, swap)?),
                }
            }
        };
        if swap {
            std::mem::swap(&mut left, &mut right);
        }
        let on = self.place_on(kind, &mut left, &mut right, &build.layout, condition);
        let independent = is_independent(&right);
        Ok(From::Join {
            kind,
            left: Box::new(left),
            right: Box::new(right),
            on,
            filter: Vec::new(),
            independent,
        })
    }

    /// `USING (columns)`: the condition; the columns of both sides are merged into one.
    fn using(
        &mut self,
        columns: &[String],
        build: &mut Build<'_>,
        first: usize,
        middle: usize,
        kind: JoinKind,
        swap: bool,
    ) -> Result<Expr, BindError> {
        let mut parts = Vec::new();
        for name in columns {
            let left = side_column(&build.scope, first..middle, name, "left")?;
            let right = side_column(&build.scope, middle..build.scope.relations.len(), name, "right")?;
            let ty = common_type(&[left.1.clone(), right.1.clone()], "JOIN/USING")?;
            let cast =
                |planner: &mut Self, (expr, from): (Expr, Type)| coerce(expr, &from, &ty, Context::Implicit, planner);
            let (left, right) = (cast(self, left)?, cast(self, right)?);
            let merged = match (kind, swap) {
                (JoinKind::Full, _) => Expr::Coalesce(Box::new([left.clone(), right.clone()])),
                (_, true) => right.clone(),
                _ => left.clone(),
            };
            parts.push(Expr::Compare {
                op: Comparison::Eq,
                left: Box::new(left),
                right: Box::new(right),
            });
            let name: Arc<str> = name.as_str().into();
            build.scope.merged.retain(|(known, ..)| *known != name);
            build.scope.merged.push((Arc::clone(&name), merged, ty));
            for relation in &mut build.scope.relations[first..] {
                for column in relation.columns.iter_mut().filter(|column| column.name == name) {
                    column.hidden = true;
                }
            }
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expr::And(parts.into()),
        })
    }

    fn factor(&mut self, factor: &ast::TableFactor, build: &mut Build<'_>) -> Result<From, BindError> {
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args: None,
                with_ordinality: false,
                sample: None,
                ..
            } => self.named(name, alias.as_ref(), build),
            ast::TableFactor::Table {
                name,
                alias,
                args: Some(args),
                with_ordinality,
                ..
            } => self.function(name, &args.args, *with_ordinality, alias.as_ref(), build, factor),
            ast::TableFactor::Function {
                name,
                args,
                with_ordinality,
                alias,
                ..
            } => self.function(name, args, *with_ordinality, alias.as_ref(), build, factor),
            ast::TableFactor::UNNEST {
                alias,
                array_exprs,
                with_ordinality,
                with_offset: false,
                ..
            } => {
                let args: Vec<ast::FunctionArg> = array_exprs
                    .iter()
                    .map(|expr| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr.clone())))
                    .collect();
                let name = ast::ObjectName::from(vec![ast::Ident::new("unnest")]);
                self.function(&name, &args, *with_ordinality, alias.as_ref(), build, factor)
            }
            ast::TableFactor::Derived {
                lateral,
                subquery,
                alias,
                ..
            } => self.derived(*lateral, subquery, alias.as_ref(), build),
            ast::TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.item(table_with_joins, build),
            other => Err(Refused::node("FROM item", other).into()),
        }
    }

    fn derived(
        &mut self,
        lateral: bool,
        subquery: &ast::Query,
        alias: Option<&ast::TableAlias>,
        build: &mut Build<'_>,
    ) -> Result<From, BindError> {
        let query = if lateral {
            self.query(subquery, &build.scope)?
        } else {
            let blind = Scope {
                parent: build.scope.parent,
                ..Scope::default()
            };
            self.query(subquery, &blind)?
        };
        let columns = Arc::clone(&query.columns);
        self.leaf(Source::Query(Box::new(query)), alias, None, &columns, build)
    }

    fn named(
        &mut self,
        written: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        build: &mut Build<'_>,
    ) -> Result<From, BindError> {
        let mut parts = names(written)?;
        let name = parts.pop().unwrap_or_default();
        if !matches!(parts.as_slice(), [] | [_]) || parts.first().is_some_and(|schema| schema != "public") {
            return Err(Refused::node(format!("relation {}.{name}", parts.join(".")), written).into());
        }
        if parts.is_empty() {
            if let Some((_, cte)) = self.visible.iter().rev().find(|(known, _)| **known == *name) {
                let cte = *cte;
                let columns = Arc::clone(&self.ctes[cte].columns);
                let source = match self.ctes[cte].recursing {
                    true => Source::Recursion(cte),
                    false => Source::Cte(cte),
                };
                return self.leaf(source, alias, Some(&name), &columns, build);
            }
            if let Some(place) = self.extra.iter().position(|(known, _)| **known == *name) {
                let columns = Arc::clone(&self.extra[place].1);
                return self.leaf(Source::Rows(place), alias, Some(&name), &columns, build);
            }
        }
        if let Some(table) = self.catalog.tables.get(name.as_str()) {
            let table = Arc::clone(table);
            self.lock(table.id, TableMode::AccessShare);
            let columns: Columns = table
                .columns
                .iter()
                .map(|column| (Arc::clone(&column.name), column.ty.clone()))
                .collect();
            let source = Source::Table {
                table,
                access: Access::SCAN,
            };
            return self.leaf(source, alias, Some(&name), &columns, build);
        }
        if let Some(view) = self.catalog.views.get(name.as_str()) {
            let view = Arc::clone(view);
            if self.views.contains(&view.name) {
                return Err(BindError::sql(
                    b"42P17",
                    format!("infinite recursion detected in rules for relation \"{name}\""),
                ));
            }
            self.lock(view.id, TableMode::AccessShare);
            self.views.push(Arc::clone(&view.name));
            let empty = Scope::empty();
            let hidden = std::mem::take(&mut self.visible);
            let query = self.query(&view.query, &empty);
            self.visible = hidden;
            self.views.pop();
            let query = query?;
            let mut columns = query.columns.to_vec();
            for (column, name) in columns.iter_mut().zip(&view.columns) {
                column.0 = Arc::clone(name);
            }
            return self.leaf(Source::Query(Box::new(query)), alias, Some(&name), &columns, build);
        }
        Err(self.no_table(&name, written, "reading"))
    }

    /// What is not a table: unknown to the server as well, or known to it and not to the model.
    pub(super) fn no_table(&self, name: &str, written: &ast::ObjectName, what: &str) -> BindError {
        let refused = |kind: &str, help: &str| {
            Refused::node(format!("{what} of {kind} {name}"), written)
                .help(help)
                .into()
        };
        if self.catalog.views.contains_key(name) {
            return refused("the view", "name the table behind it");
        }
        if self.catalog.has_relation(name) {
            return refused("the sequence or index", "use nextval, setval and currval");
        }
        if known::is_relation(name) {
            return refused("the system catalog", "read tables of the schema");
        }
        no_relation(name).into()
    }

    fn function(
        &mut self,
        name: &ast::ObjectName,
        args: &[ast::FunctionArg],
        ordinality: bool,
        alias: Option<&ast::TableAlias>,
        build: &mut Build<'_>,
        factor: &ast::TableFactor,
    ) -> Result<From, BindError> {
        let scope = &build.scope;
        let call = self.plain("FROM", |planner| bind_table_function(name, args, scope, planner))?;
        let Some(call) = call else {
            return Err(Refused::node("function in FROM", factor).into());
        };
        let function_name = names(name)?.pop().unwrap_or_default();
        let mut columns = call.columns.to_vec();
        // A function with one column gives it the alias of the relation, unless the function names its result.
        let scalar = columns.len() == 1 && !ordinality;
        if let (Some(alias), [only]) = (alias, columns.as_mut_slice())
            && *only.0 == *function_name
        {
            only.0 = fold(&alias.name).into();
        }
        if ordinality {
            columns.push(("ordinality".into(), Type::Int8));
        }
        let source = Source::Function { call, ordinality };
        let leaf = self.leaf(source, alias, Some(&function_name), &columns, build)?;
        if let Some(relation) = build.scope.relations.last_mut() {
            relation.scalar = scalar;
        }
        Ok(leaf)
    }

    fn leaf(
        &mut self,
        source: Source,
        alias: Option<&ast::TableAlias>,
        name: Option<&str>,
        columns: &[(Arc<str>, Type)],
        build: &mut Build<'_>,
    ) -> Result<From, BindError> {
        let mut columns = columns.to_vec();
        let mut name: Option<Arc<str>> = name.map(Into::into);
        if let Some(alias) = alias {
            name = Some(fold(&alias.name).into());
            if alias.columns.len() > columns.len() {
                let message = format!(
                    "table \"{}\" has {} columns available but {} columns specified",
                    fold(&alias.name),
                    columns.len(),
                    alias.columns.len()
                );
                return Err(BindError::sql(b"42P10", message));
            }
            for (column, alias) in columns.iter_mut().zip(&alias.columns) {
                column.0 = fold(&alias.name).into();
            }
        }
        let slot = build.add(name, &columns);
        Ok(From::Leaf(Leaf {
            slot,
            source,
            filter: Vec::new(),
        }))
    }
}

/// Two relations side by side.
pub(super) fn cross(left: From, right: From) -> From {
    let independent = is_independent(&right);
    From::Join {
        kind: JoinKind::Inner,
        left: Box::new(left),
        right: Box::new(right),
        on: Vec::new(),
        filter: Vec::new(),
        independent,
    }
}

/// Whether a side of a join can be read without the other.
fn is_independent(from: &From) -> bool {
    match from {
        From::Nothing => true,
        From::Leaf(leaf) => match &leaf.source {
            Source::Table { .. } | Source::Cte(_) | Source::Recursion(_) | Source::Rows(_) => true,
            Source::Query(query) => {
                let mut reach = 0;
                super::visit_query(query, 0, &mut |expr, level| {
                    expr.walk(&mut |part| match part {
                        Expr::Column { depth, .. } => reach = reach.max(depth.saturating_sub(level)),
                        // A sub-select inside may reach out too; it is then read again for each row.
                        Expr::Subquery { .. } => reach = reach.max(1),
                        _ => {}
                    });
                });
                reach == 0
            }
            Source::Function { call, .. } => call.args.iter().all(|arg| arg.constant().is_some()),
        },
        From::Join { left, right, .. } => is_independent(left) && is_independent(right),
    }
}

fn common_columns(build: &Build<'_>, first: usize, middle: usize) -> Vec<String> {
    let relations = &build.scope.relations;
    let visible = |relation: &Relation| -> Vec<Arc<str>> {
        relation
            .columns
            .iter()
            .filter(|column| !column.hidden)
            .map(|column| Arc::clone(&column.name))
            .collect()
    };
    let left: Vec<Arc<str>> = relations[first..middle].iter().flat_map(visible).collect();
    let right: Vec<Arc<str>> = relations[middle..].iter().flat_map(visible).collect();
    left.into_iter()
        .filter(|name| right.contains(name))
        .map(|name| name.to_string())
        .collect()
}

fn side_column(
    scope: &Scope<'_>,
    relations: std::ops::Range<usize>,
    name: &str,
    side: &str,
) -> Result<(Expr, Type), BindError> {
    if side == "left"
        && let Some((_, expr, ty)) = scope.merged.iter().find(|(merged, ..)| &**merged == name)
    {
        return Ok((expr.clone(), ty.clone()));
    }
    for relation in &scope.relations[relations] {
        if let Some(place) = relation.columns.iter().position(|column| &*column.name == name) {
            let index = relation.offset + place as u16;
            return Ok((Expr::Column { depth: 0, index }, relation.columns[place].ty.clone()));
        }
    }
    let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
    Err(BindError::sql(b"42703", message))
}
