//! Queries: WITH, SELECT, VALUES, set operations, ORDER BY, LIMIT and row locks.

use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::plan::{
    Body, Columns, Cte, Distinct, From, Layout, Lock, Query, Select, SetOp, Side, Source,
};
use crate::world::database::sql::bind::{
    bind_condition, bind_expr, bind_output, coerce, common_type, output_name, settled,
};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{Expr, SortKey};
use crate::world::database::sql::parse::{RowStrength, lock_clause};
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::Scope;
use crate::world::database::sql::types::Type;
use crate::world::database::sql::{fold, names};
use crate::world::database::store::{Strength, TableMode, WaitPolicy};

use super::from::Build;
use super::items::{
    by_name, by_position, check_grouped, distinct_order, for_each_leaf, has_set, known_select, lock_name, order_keys,
    sort_key, wildcard,
};
use super::merge::not_lockable;
use super::{Level, PendingCte, Planner};

/// One item of a select list, bound.
pub(super) struct Item {
    pub(super) name: Arc<str>,
    pub(super) expr: Expr,
    pub(super) ty: Type,
}

impl Planner<'_> {
    /// A query, with its WITH.
    pub(super) fn query(&mut self, query: &ast::Query, outer: &Scope<'_>) -> Result<Query, BindError> {
        if query
            .fetch
            .as_ref()
            .is_some_and(|fetch| fetch.with_ties || fetch.percent)
            || query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
        {
            return Err(Refused::node("query", query).into());
        }
        let mark = self.visible.len();
        let mut modifying = Vec::new();
        if let Some(with) = &query.with {
            self.with(with, outer, &mut modifying)?;
        }
        let planned = self.body(query, outer);
        self.visible.truncate(mark);
        let mut planned = planned?;
        modifying.append(&mut planned.modifying_ctes);
        planned.modifying_ctes = modifying;
        Ok(planned)
    }

    pub(super) fn with(
        &mut self,
        with: &ast::With,
        outer: &Scope<'_>,
        modifying: &mut Vec<usize>,
    ) -> Result<(), BindError> {
        for cte in &with.cte_tables {
            let name: Arc<str> = fold(&cte.alias.name).into();
            let number = self.ctes.len();
            self.ctes.push(PendingCte {
                columns: Arc::new([]),
                plan: None,
                recursing: false,
            });
            // A CTE may not see columns of the query that declares it, but those around it.
            let plan = match (&*cte.query.body, with.recursive) {
                (
                    ast::SetExpr::SetOperation {
                        op: ast::SetOperator::Union,
                        left,
                        right,
                        set_quantifier,
                    },
                    true,
                ) if cte.query.order_by.is_none() && cte.query.with.is_none() => {
                    self.recursive(number, &name, &cte.alias, left, right, *set_quantifier, outer)?
                }
                _ => {
                    let query = self.query(&cte.query, outer)?;
                    let modifies = matches!(
                        query.body,
                        Body::Insert(_) | Body::Update(_) | Body::Delete(_) | Body::Merge(_)
                    );
                    Cte {
                        query,
                        recursive: None,
                        modifies,
                    }
                }
            };
            if plan.modifies {
                modifying.push(number);
            }
            self.ctes[number].columns = renamed(&plan.query.columns, &cte.alias);
            self.ctes[number].plan = Some(plan);
            self.visible.push((name, number));
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one CTE")]
    fn recursive(
        &mut self,
        number: usize,
        name: &Arc<str>,
        alias: &ast::TableAlias,
        left: &ast::SetExpr,
        right: &ast::SetExpr,
        quantifier: ast::SetQuantifier,
        outer: &Scope<'_>,
    ) -> Result<Cte, BindError> {
        let query = self.set_expr(left, outer)?;
        self.ctes[number].columns = renamed(&query.columns, alias);
        self.ctes[number].recursing = true;
        self.visible.push((Arc::clone(name), number));
        let recursive = self.set_expr(right, outer);
        self.visible.pop();
        self.ctes[number].recursing = false;
        Ok(Cte {
            query,
            recursive: Some((recursive?, quantifier != ast::SetQuantifier::All)),
            modifies: false,
        })
    }

    fn body(&mut self, query: &ast::Query, outer: &Scope<'_>) -> Result<Query, BindError> {
        let mut planned = match &*query.body {
            ast::SetExpr::Select(select) => self.select(select, Some(query), outer)?,
            other => {
                let mut planned = self.set_expr(other, outer)?;
                if !query.locks.is_empty() && matches!(planned.body, Body::Set { .. } | Body::Values(_)) {
                    let what = lock_name(lock_clause(&query.locks[0])?.strength);
                    return Err(BindError::sql(
                        b"0A000",
                        format!("{what} is not allowed with UNION/INTERSECT/EXCEPT"),
                    ));
                }
                if let Some(order) = &query.order_by {
                    planned.order = self.output_order(order, &planned.columns)?;
                }
                planned
            }
        };
        let (limit, offset) = self.limits(query, outer)?;
        planned.limit = limit.or(planned.limit.take());
        planned.offset = offset.or(planned.offset.take());
        self.order_by_index(&mut planned);
        Ok(planned)
    }

    fn limits(&mut self, query: &ast::Query, outer: &Scope<'_>) -> Result<(Option<Expr>, Option<Expr>), BindError> {
        let (mut limit, mut offset) = (None, None);
        match &query.limit_clause {
            None => {}
            Some(ast::LimitClause::LimitOffset {
                limit: l,
                offset: o,
                limit_by,
            }) if limit_by.is_empty() => {
                limit = l.as_ref();
                offset = o.as_ref().map(|offset| &offset.value);
            }
            Some(_) => return Err(Refused::node("LIMIT", query).into()),
        }
        if let Some(fetch) = &query.fetch {
            limit = fetch.quantity.as_ref();
        }
        let inner = outer.inner();
        let mut bound = |expr: Option<&ast::Expr>, clause: &'static str| {
            expr.map(|expr| {
                self.plain(clause, |planner| {
                    let (expr, ty) = bind_expr(expr, &inner, planner)?;
                    coerce(expr, &ty, &Type::Int8, Context::Implicit, planner)
                })
            })
            .transpose()
        };
        Ok((bound(limit, "LIMIT")?, bound(offset, "OFFSET")?))
    }

    pub(super) fn set_expr(&mut self, body: &ast::SetExpr, outer: &Scope<'_>) -> Result<Query, BindError> {
        match body {
            ast::SetExpr::Select(select) => self.select(select, None, outer),
            ast::SetExpr::Query(query) => self.query(query, outer),
            ast::SetExpr::Values(values) => self.values(values, outer),
            ast::SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let all = match set_quantifier {
                    ast::SetQuantifier::All => true,
                    ast::SetQuantifier::None | ast::SetQuantifier::Distinct => false,
                    _ => {
                        return Err(Refused::span(
                            "set operation BY NAME",
                            sqlparser::tokenizer::Span::empty(),
                            body.to_string(),
                        )
                        .into());
                    }
                };
                self.set_operation(*op, all, left, right, outer)
            }
            ast::SetExpr::Insert(statement)
            | ast::SetExpr::Update(statement)
            | ast::SetExpr::Delete(statement)
            | ast::SetExpr::Merge(statement) => self.modify(statement, outer),
            ast::SetExpr::Table(table) => {
                let name = table.table_name.clone().unwrap_or_default();
                let mut build = Build::new(outer);
                let factor = ast::TableFactor::Table {
                    name: ast::ObjectName::from(vec![ast::Ident::new(name)]),
                    alias: None,
                    args: None,
                    with_hints: Vec::new(),
                    version: None,
                    with_ordinality: false,
                    partitions: Vec::new(),
                    json_path: None,
                    sample: None,
                    index_hints: Vec::new(),
                };
                let item = ast::TableWithJoins {
                    relation: factor,
                    joins: Vec::new(),
                };
                let from = self.list(&[item], &mut build, From::Nothing)?;
                let items = wildcard(&build.scope, None)?;
                Ok(finish(plain_select(from, build.layout), items))
            }
        }
    }

    fn set_operation(
        &mut self,
        op: ast::SetOperator,
        all: bool,
        left: &ast::SetExpr,
        right: &ast::SetExpr,
        outer: &Scope<'_>,
    ) -> Result<Query, BindError> {
        let (op, word) = match op {
            ast::SetOperator::Union => (SetOp::Union, "UNION"),
            ast::SetOperator::Intersect => (SetOp::Intersect, "INTERSECT"),
            ast::SetOperator::Except | ast::SetOperator::Minus => (SetOp::Except, "EXCEPT"),
        };
        let mut side = |body: &ast::SetExpr| {
            self.untyped = matches!(body, ast::SetExpr::Select(_));
            self.set_expr(body, outer)
        };
        let (mut left, mut right) = (side(left)?, side(right)?);
        if left.columns.len() != right.columns.len() {
            let message = format!("each {word} query must have the same number of columns");
            return Err(BindError::sql(b"42601", message));
        }
        let mut columns = Vec::new();
        for (left, right) in left.columns.iter().zip(right.columns.iter()) {
            columns.push((
                Arc::clone(&left.0),
                common_type(&[left.1.clone(), right.1.clone()], word)?,
            ));
        }
        for query in [&mut left, &mut right] {
            self.give_types(query, &columns)?;
        }
        let mut side = |query: Query| -> Result<Box<Side>, BindError> {
            let casts = query
                .columns
                .iter()
                .zip(&columns)
                .enumerate()
                .map(|(index, (from, to))| {
                    let column = Expr::Column {
                        depth: 0,
                        index: index as u16,
                    };
                    match from.1 == to.1 {
                        true => Ok(column),
                        false => coerce(column, &from.1, &to.1, Context::Implicit, self),
                    }
                });
            let casts = casts.collect::<Result<_, _>>()?;
            Ok(Box::new(Side { query, casts }))
        };
        let (left, right) = (side(left)?, side(right)?);
        Ok(Query {
            body: Body::Set { op, all, left, right },
            order: Vec::new(),
            limit: None,
            offset: None,
            columns: columns.into(),
            modifying_ctes: Vec::new(),
        })
    }

    /// Gives a select list's untyped literals and parameters the types of these columns.
    fn give_types(&mut self, query: &mut Query, columns: &[(Arc<str>, Type)]) -> Result<(), BindError> {
        let Body::Select(select) = &mut query.body else {
            return Ok(());
        };
        let mut types = query.columns.to_vec();
        for (place, (_, ty)) in types.iter_mut().enumerate() {
            if *ty == Type::Unknown
                && let (Some(expr), Some((_, to))) = (select.output.get_mut(place), columns.get(place))
            {
                *expr = coerce(expr.clone(), ty, to, Context::Implicit, self)?;
                *ty = to.base();
            }
        }
        query.columns = types.into();
        Ok(())
    }

    fn values(&mut self, values: &ast::Values, outer: &Scope<'_>) -> Result<Query, BindError> {
        let inner = outer.inner();
        let mut rows: Vec<Vec<(Expr, Type)>> = Vec::new();
        for row in &values.rows {
            let row: Result<Vec<_>, _> = self.plain("VALUES", |planner| {
                row.content
                    .iter()
                    .map(|expr| bind_expr(expr, &inner, planner))
                    .collect()
            });
            rows.push(row?);
        }
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(BindError::sql(b"42601", "VALUES lists must all be the same length"));
        }
        let mut columns = Vec::new();
        for column in 0..width {
            let types: Vec<Type> = rows.iter().map(|row| row[column].1.clone()).collect();
            let ty = match common_type(&types, "VALUES")? {
                Type::Unknown => Type::Text,
                ty => ty,
            };
            columns.push((Arc::from(format!("column{}", column + 1)), ty));
        }
        let rows = rows.into_iter().map(|row| {
            let cells = row.into_iter().zip(&columns);
            cells
                .map(|((expr, from), (_, to))| coerce(expr, &from, to, Context::Implicit, self))
                .collect::<Result<Vec<_>, _>>()
        });
        Ok(Query {
            body: Body::Values(rows.collect::<Result<_, _>>()?),
            order: Vec::new(),
            limit: None,
            offset: None,
            columns: columns.into(),
            modifying_ctes: Vec::new(),
        })
    }

    fn select(
        &mut self,
        select: &ast::Select,
        query: Option<&ast::Query>,
        outer: &Scope<'_>,
    ) -> Result<Query, BindError> {
        known_select(select)?;
        let untyped = std::mem::take(&mut self.untyped);
        let mut build = Build::new(outer);
        let mut from = self.list(&select.from, &mut build, From::Nothing)?;
        let condition = match &select.selection {
            Some(expr) => Some(self.plain("WHERE", |planner| bind_condition(expr, "WHERE", &build.scope, planner))?),
            None => None,
        };
        let (gate, filter) = self.place(&mut from, &build.layout, condition);
        self.levels.push(Level {
            clause: "SELECT",
            aggregates: Some(Vec::new()),
            set_calls: Some(Vec::new()),
            windows: Some((build.layout.places.len() as u16, Vec::new())),
        });
        let bound = self.select_list(select, query, &build.scope, untyped);
        let level = self.levels.pop().unwrap_or_else(|| Level::plain("SELECT"));
        let bound = bound?;
        let aggregates = level.aggregates.unwrap_or_default();
        let windows = self.windows(level.windows.map(|(_, calls)| calls).unwrap_or_default(), &build.scope)?;
        let grouped = bound.group.is_some() || !aggregates.is_empty() || bound.having.is_some();
        let group = grouped.then(|| bound.group.unwrap_or_default());
        if let Some(group) = &group {
            check_grouped(group, &bound.items, bound.having.as_ref(), &build.scope, &mut from)?;
        }
        let mut locks = Vec::new();
        for clause in query.iter().flat_map(|query| &query.locks) {
            let clause = lock_clause(clause)?;
            let what = lock_name(clause.strength);
            let forbidden = if !matches!(bound.distinct, Distinct::No) {
                Some("DISTINCT clause")
            } else if bound.grouped_by {
                Some("GROUP BY clause")
            } else if bound.having.is_some() {
                Some("HAVING clause")
            } else if !aggregates.is_empty() {
                Some("aggregate functions")
            } else if !windows.is_empty() {
                Some("window functions")
            } else if level.set_calls.as_ref().is_some_and(|calls| !calls.is_empty()) {
                Some("set-returning functions in the target list")
            } else {
                None
            };
            if let Some(forbidden) = forbidden {
                return Err(BindError::sql(
                    b"0A000",
                    format!("{what} is not allowed with {forbidden}"),
                ));
            }
            self.row_locks(&clause, &mut from, &build.scope, &mut locks)?;
        }
        if !windows.is_empty() {
            build.layout.push(windows.len());
        }
        let mut planned = plain_select(from, build.layout);
        planned.gate = gate;
        planned.filter = filter;
        planned.group = group;
        planned.aggregates = aggregates;
        planned.having = bound.having;
        planned.set_calls = level.set_calls.unwrap_or_default();
        planned.windows = windows;
        planned.distinct = bound.distinct;
        planned.locks = locks;
        let mut planned = finish(planned, bound.items);
        planned.order = bound.order;
        if let (Some(query), Body::Select(select)) = (query, &mut planned.body)
            && !query.locks.is_empty()
        {
            self.merge_locked(select, &mut planned.order, query)?;
        }
        Ok(planned)
    }

    fn row_locks(
        &mut self,
        clause: &crate::world::database::sql::parse::RowLock,
        from: &mut From,
        scope: &Scope<'_>,
        locks: &mut Vec<Lock>,
    ) -> Result<(), BindError> {
        let strength = match clause.strength {
            RowStrength::KeyShare => Strength::KeyShare,
            RowStrength::Share => Strength::Share,
            RowStrength::NoKeyUpdate => Strength::NoKeyUpdate,
            RowStrength::Update => Strength::Update,
        };
        let policy = match clause.nonblock {
            None => WaitPolicy::Block,
            Some(ast::NonBlock::Nowait) => WaitPolicy::NoWait,
            Some(ast::NonBlock::SkipLocked) => WaitPolicy::SkipLocked,
        };
        let what = lock_name(clause.strength);
        for name in &clause.of {
            if !scope
                .relations
                .iter()
                .any(|relation| relation.name.as_deref() == Some(name))
            {
                let message = format!("relation \"{name}\" in {what} clause not found in FROM clause");
                return Err(BindError::sql(b"42P01", message));
            }
        }
        let mut result = Ok(());
        for_each_leaf(from, &mut |leaf, nullable| {
            let name = scope
                .relations
                .get(leaf.slot)
                .and_then(|relation| relation.name.clone());
            let named = name.is_some_and(|name| clause.of.iter().any(|of| **of == *name));
            if result.is_err() || !(clause.of.is_empty() || named) {
                return;
            }
            if nullable && matches!(leaf.source, Source::Table { .. } | Source::Query(_)) {
                let message = format!("{what} cannot be applied to the nullable side of an outer join");
                result = Err(BindError::sql(b"0A000", message));
                return;
            }
            match &mut leaf.source {
                Source::Table { table, .. } => {
                    self.lock(table.id, TableMode::RowShare);
                    self.row_lock.get_or_insert(strength);
                    // Several clauses on one relation: the strongest holds.
                    if let Some(known) = locks.iter_mut().find(|known: &&mut Lock| known.slot == leaf.slot) {
                        known.strength = known.strength.max(strength);
                        if policy != WaitPolicy::Block {
                            known.policy = policy;
                        }
                    } else {
                        locks.push(Lock {
                            slot: leaf.slot,
                            table: Arc::clone(table),
                            strength,
                            policy,
                        });
                    }
                }
                Source::Query(query) => {
                    if let Some(forbidden) = not_lockable(query) {
                        result = Err(BindError::sql(
                            b"0A000",
                            format!("{what} is not allowed with {forbidden}"),
                        ));
                        return;
                    }
                    if let Body::Select(select) = &mut query.body {
                        let unnamed = crate::world::database::sql::parse::RowLock {
                            of: Vec::new(),
                            ..clause.clone()
                        };
                        let empty = Scope::empty();
                        let Select { from, locks, .. } = &mut **select;
                        result = self.row_locks(&unnamed, from, &empty, locks);
                    }
                }
                _ if !clause.of.is_empty() => {
                    let kind = match leaf.source {
                        Source::Function { .. } => "a function",
                        Source::Rows(_) => "VALUES",
                        _ => "a WITH query",
                    };
                    result = Err(BindError::sql(b"0A000", format!("{what} cannot be applied to {kind}")));
                }
                _ => {}
            }
        });
        locks.sort_by_key(|lock| lock.slot);
        result
    }

    /// The select list and the clauses that can refer to it.
    fn select_list(
        &mut self,
        select: &ast::Select,
        query: Option<&ast::Query>,
        scope: &Scope<'_>,
        untyped: bool,
    ) -> Result<Bound, BindError> {
        // What is sorted by or made distinct has a type of its own.
        let plain = select.distinct.is_none() && query.is_none_or(|query| query.order_by.is_none());
        let items = self.items_of(&select.projection, scope, untyped && plain)?;
        let mut group = None;
        let mut grouped_by = false;
        match &select.group_by {
            ast::GroupByExpr::Expressions(list, modifiers) if modifiers.is_empty() => {
                if !list.is_empty() {
                    grouped_by = true;
                    let keys = list.iter().map(|expr| self.group_key(expr, &items, scope));
                    let keys = keys.collect::<Result<Vec<_>, _>>()?;
                    if keys.iter().any(|(key, _)| has_set(key)) {
                        let refused = Refused::node("set-returning function in GROUP BY", select);
                        return Err(refused.help("put the call into FROM").into());
                    }
                    group = Some(keys);
                }
            }
            _ => return Err(Refused::node("GROUP BY", select).into()),
        }
        let having = match &select.having {
            Some(expr) => Some(bind_condition(expr, "HAVING", scope, self)?),
            None => None,
        };
        let mut order = match query.and_then(|query| query.order_by.as_ref()) {
            Some(order) => self.select_order(order, &items, scope)?,
            None => Vec::new(),
        };
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => Distinct::No,
            Some(ast::Distinct::Distinct) => {
                if order.iter().any(|key| !items.iter().any(|item| item.expr == key.expr)) {
                    let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    return Err(BindError::sql(b"42P10", message));
                }
                Distinct::All
            }
            Some(ast::Distinct::On(list)) => {
                let keys = list.iter().map(|expr| self.group_key(expr, &items, scope));
                let keys = keys.collect::<Result<Vec<_>, _>>()?;
                distinct_order(&keys, &mut order)?;
                Distinct::On(keys)
            }
        };
        Ok(Bound {
            items,
            group,
            grouped_by,
            having,
            order,
            distinct,
        })
    }

    /// A select list or RETURNING list, wildcards expanded.
    pub(super) fn items(&mut self, list: &[ast::SelectItem], scope: &Scope<'_>) -> Result<Vec<Item>, BindError> {
        self.items_of(list, scope, false)
    }

    /// The same; `untyped` literals and parameters stay [`Type::Unknown`].
    fn items_of(&mut self, list: &[ast::SelectItem], scope: &Scope<'_>, untyped: bool) -> Result<Vec<Item>, BindError> {
        let bind_output = |expr: &ast::Expr, scope: &Scope<'_>, planner: &mut Self| {
            let (bound, ty) = bind_expr(expr, scope, planner)?;
            let open = untyped && ty == Type::Unknown && matches!(bound, Expr::Const(_) | Expr::Param(_));
            match open {
                true => Ok((bound, ty)),
                false => Ok::<_, BindError>(settled((bound, ty), planner)?),
            }
        };
        let mut items = Vec::new();
        for item in list {
            match item {
                ast::SelectItem::UnnamedExpr(expr) => {
                    let (bound, ty) = bind_output(expr, scope, self)?;
                    items.push(Item {
                        name: output_name(expr),
                        expr: bound,
                        ty,
                    });
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    let (bound, ty) = bind_output(expr, scope, self)?;
                    items.push(Item {
                        name: fold(alias).into(),
                        expr: bound,
                        ty,
                    });
                }
                ast::SelectItem::Wildcard(_) => {
                    items.extend(wildcard(scope, None)?);
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let name = names(name)?.pop().unwrap_or_default();
                    items.extend(wildcard(scope, Some(&name))?);
                }
                other => return Err(Refused::node("select item", other).into()),
            }
        }
        Ok(items)
    }

    fn group_key(&mut self, expr: &ast::Expr, items: &[Item], scope: &Scope<'_>) -> Result<(Expr, Type), BindError> {
        if let Some(item) = by_position(expr, items, "GROUP BY")? {
            return Ok((item.expr.clone(), item.ty.clone()));
        }
        if let ast::Expr::Identifier(name) = expr {
            let name = fold(name);
            let input = scope
                .relations
                .iter()
                .any(|relation| relation.columns.iter().any(|column| *column.name == name));
            if !input && let Some(item) = by_name(&name, items, "GROUP BY")? {
                return Ok((item.expr.clone(), item.ty.clone()));
            }
        }
        bind_output(expr, scope, self)
    }

    fn select_order(
        &mut self,
        order: &ast::OrderBy,
        items: &[Item],
        scope: &Scope<'_>,
    ) -> Result<Vec<SortKey>, BindError> {
        let keys = order_keys(order)?;
        let mut sorted = Vec::new();
        for key in keys {
            let named = match &key.expr {
                ast::Expr::Identifier(name) => by_name(&fold(name), items, "ORDER BY")?,
                _ => None,
            };
            let (expr, ty) = match by_position(&key.expr, items, "ORDER BY")?.or(named) {
                Some(item) => (item.expr.clone(), item.ty.clone()),
                None => bind_output(&key.expr, scope, self)?,
            };
            sorted.push(sort_key(expr, ty, key)?);
        }
        Ok(sorted)
    }

    /// ORDER BY of VALUES and set operations: output columns only.
    fn output_order(&mut self, order: &ast::OrderBy, columns: &Columns) -> Result<Vec<SortKey>, BindError> {
        let items: Vec<Item> = columns
            .iter()
            .enumerate()
            .map(|(index, (name, ty))| Item {
                name: Arc::clone(name),
                expr: Expr::Column {
                    depth: 0,
                    index: index as u16,
                },
                ty: ty.clone(),
            })
            .collect();
        let mut scope = Scope::empty();
        scope.push("", columns.iter().cloned());
        self.levels.push(Level::plain("ORDER BY"));
        let keys = self.select_order(order, &items, &scope);
        self.levels.pop();
        keys
    }
}

/// A select list with the clauses that can refer to it, bound.
struct Bound {
    items: Vec<Item>,
    group: Option<Vec<(Expr, Type)>>,
    grouped_by: bool,
    having: Option<Expr>,
    order: Vec<SortKey>,
    distinct: Distinct,
}

fn plain_select(from: From, layout: Layout) -> Select {
    Select {
        from,
        layout,
        gate: Vec::new(),
        filter: Vec::new(),
        group: None,
        aggregates: Vec::new(),
        having: None,
        set_calls: Vec::new(),
        windows: Vec::new(),
        output: Vec::new(),
        distinct: Distinct::No,
        locks: Vec::new(),
        in_order: false,
        extremes: Vec::new(),
    }
}

fn finish(mut select: Select, items: Vec<Item>) -> Query {
    let columns = items
        .iter()
        .map(|item| (Arc::clone(&item.name), item.ty.clone()))
        .collect();
    select.output = items.into_iter().map(|item| item.expr).collect();
    Query {
        body: Body::Select(Box::new(select)),
        order: Vec::new(),
        limit: None,
        offset: None,
        columns,
        modifying_ctes: Vec::new(),
    }
}

fn renamed(columns: &Columns, alias: &ast::TableAlias) -> Columns {
    let mut columns = columns.to_vec();
    for (column, alias) in columns.iter_mut().zip(&alias.columns) {
        column.0 = fold(&alias.name).into();
    }
    columns.into()
}
