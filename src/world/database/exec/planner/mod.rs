//! From a statement's syntax tree to its [`Plan`].

mod access;
mod assume;
mod constant;
mod cost;
mod estimate;
mod extent;
mod from;
mod items;
mod merge;
mod modify;
mod paths;
mod reads;
mod select;
mod target;
mod view;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::catalog::Catalog;
use crate::world::database::sql::bind::coerce;
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{AggregateCall, Comparison, Expr, SetCall, Volatile};
use crate::world::database::sql::refuse::{BindError, Refused, not_modelled};
use crate::world::database::sql::scope::{Binder, ParamTypes, Scope};
use crate::world::database::sql::types::Type;
use crate::world::database::store::{Strength, TableId, TableMode};

pub(crate) use assume::Assumption;
pub(crate) use constant::{RowEnv, constant_of};
pub(crate) use cost::Off;
pub(crate) use reads::Reads;
pub(crate) use target::{condition_of, expression_of, target_of};
pub(crate) use view::{columns_of, tables_of_view, view_columns};

use super::plan::{Body, Columns, Cte, Distinct, From, InsertSource, MergeAction, Plan, Query, Source, Subquery};

/// A relation whose rows come from outside: its name and columns.
pub(crate) type Virtual = (Arc<str>, Columns);

/// Plans a query or a data-modifying statement whose parameters' values are sent with it.
pub(crate) fn plan_statement(
    catalog: &Catalog,
    statement: &ast::Statement,
    declared: Vec<Type>,
    extra: &[Virtual],
    off: Off,
) -> Result<Plan, BindError> {
    plan_with(catalog, statement, ParamTypes::literals(declared), extra, off)
}

/// Plans the statement inside PREPARE.
pub(crate) fn plan_prepared(
    catalog: &Catalog,
    statement: &ast::Statement,
    declared: Vec<Type>,
    off: Off,
) -> Result<Plan, BindError> {
    plan_with(catalog, statement, ParamTypes::declared(declared), &[], off)
}

fn plan_with(
    catalog: &Catalog,
    statement: &ast::Statement,
    params: ParamTypes,
    extra: &[Virtual],
    off: Off,
) -> Result<Plan, BindError> {
    let mut planner = Planner {
        extra,
        params,
        off,
        ..Planner::bare(catalog)
    };
    let scope = Scope::empty();
    let mut root = match statement {
        ast::Statement::Query(query) => planner.query(query, &scope)?,
        other => planner.modify(other, &scope)?,
    };
    planner.show_names(&mut root)?;
    let Planner {
        params,
        subqueries,
        ctes,
        locks,
        writes,
        row_lock,
        related,
        ..
    } = planner;
    let take = |slot: Option<_>| slot.ok_or_else(|| BindError::sql(b"XX000", "unfinished plan"));
    let ctes: Vec<Cte> = ctes.into_iter().map(|cte| take(cte.plan)).collect::<Result<_, _>>()?;
    let subqueries: Vec<Subquery> = subqueries
        .into_iter()
        .map(|plan| plan.ok_or_else(|| BindError::sql(b"XX000", "unfinished plan")))
        .collect::<Result<_, _>>()?;
    Ok(Plan {
        assumes: assume::assumptions(&root, &ctes, &subqueries),
        reads: reads::reads(&root, &ctes, &subqueries),
        root,
        ctes,
        subqueries,
        params: params.places(),
        locks: locks.into_iter().collect(),
        writes,
        row_lock,
        related,
    })
}

/// The planner of one statement.
pub(crate) struct Planner<'c> {
    catalog: &'c Catalog,
    extra: &'c [Virtual],
    params: ParamTypes,
    subqueries: Vec<Option<Subquery>>,
    ctes: Vec<PendingCte>,
    /// CTEs that names can find, innermost last.
    visible: Vec<(Arc<str>, usize)>,
    locks: BTreeMap<TableId, TableMode>,
    levels: Vec<Level>,
    writes: bool,
    row_lock: Option<Strength>,
    /// Tables that foreign keys may change.
    related: Vec<super::plan::Target>,
    /// Views being expanded, against recursion.
    views: Vec<Arc<str>>,
    /// The select list that comes next leaves untyped literals and parameters as they are: INSERT or a set operation gives them a type.
    untyped: bool,
    off: Off,
}

/// A CTE while it is planned.
struct PendingCte {
    columns: Columns,
    plan: Option<Cte>,
    /// Its recursive term is being planned: a reference means the last round's rows.
    recursing: bool,
}

/// What expressions of the clause that is bound at the moment may contain.
struct Level {
    clause: &'static str,
    aggregates: Option<Vec<AggregateCall>>,
    set_calls: Option<Vec<SetCall>>,
    windows: Option<(u16, Vec<ast::Function>)>,
}

impl Level {
    /// Neither aggregates nor set-returning or window functions.
    fn plain(clause: &'static str) -> Level {
        Level {
            clause,
            aggregates: None,
            set_calls: None,
            windows: None,
        }
    }
}

impl<'c> Planner<'c> {
    fn bare(catalog: &'c Catalog) -> Self {
        Planner {
            catalog,
            extra: &[],
            params: ParamTypes::default(),
            subqueries: Vec::new(),
            ctes: Vec::new(),
            visible: Vec::new(),
            locks: BTreeMap::new(),
            levels: Vec::new(),
            writes: false,
            row_lock: None,
            related: Vec::new(),
            views: Vec::new(),
            untyped: false,
            off: Off::default(),
        }
    }
}

impl Planner<'_> {
    /// Binds within a clause that allows no aggregates, set-returning or window functions.
    fn plain<T>(
        &mut self,
        clause: &'static str,
        bind: impl FnOnce(&mut Self) -> Result<T, BindError>,
    ) -> Result<T, BindError> {
        self.levels.push(Level::plain(clause));
        let result = bind(self);
        self.levels.pop();
        result
    }

    /// The client gets rows and `regclass` as text, with what the session says of their printing.
    fn show_names(&mut self, root: &mut Query) -> Result<(), BindError> {
        let columns = Arc::clone(&root.columns);
        let places = columns.iter().enumerate();
        let special = |ty: &Type| matches!(ty, Type::Regclass | Type::Record(_));
        for (place, (_, ty)) in places.filter(|(_, (_, ty))| special(ty)) {
            let output = match &mut root.body {
                Body::Select(select) if matches!(select.distinct, Distinct::All) => None,
                Body::Select(select) => select.output.get_mut(place),
                Body::Insert(insert) => insert.returning.as_mut().and_then(|list| list.get_mut(place)),
                Body::Update(update) => update.returning.as_mut().and_then(|list| list.get_mut(place)),
                Body::Delete(delete) => delete.returning.as_mut().and_then(|list| list.get_mut(place)),
                _ => None,
            };
            let Some(output) = output else {
                return Err(not_modelled(format!("{} in the result of this form of query", ty.plain_name())).into());
            };
            let expr = std::mem::replace(output, Expr::NULL);
            *output = match ty {
                Type::Regclass => Expr::Volatile {
                    call: Volatile::RegclassName,
                    args: [expr].into(),
                },
                _ => coerce(expr, ty, &Type::Text, Context::Output, self)?,
            };
        }
        Ok(())
    }

    fn lock(&mut self, table: TableId, mode: TableMode) {
        let held = self.locks.entry(table).or_insert(mode);
        *held = (*held).max(mode);
    }

    fn is_correlated(&self, id: u32) -> bool {
        self.subqueries
            .get(id as usize)
            .and_then(Option::as_ref)
            .is_none_or(|subquery| subquery.correlated)
    }

    /// How many levels out of `query` its expressions reach: 0 for none.
    fn reach(&self, query: &Query) -> u16 {
        let mut reach = 0;
        visit_query(query, 0, &mut |expr, level| {
            reach = reach.max(self.reach_of(expr).saturating_sub(level));
        });
        reach
    }

    /// How many levels out of its own an expression reaches.
    fn reach_of(&self, expr: &Expr) -> u16 {
        let mut reach = 0;
        expr.walk(&mut |part| match part {
            Expr::Column { depth, .. } => reach = reach.max(*depth),
            Expr::Subquery { id, .. } => {
                if let Some(Some(subquery)) = self.subqueries.get(*id as usize) {
                    reach = reach.max(self.reach(&subquery.query).saturating_sub(1));
                }
            }
            _ => {}
        });
        reach
    }
}

impl Binder for Planner<'_> {
    fn params(&mut self) -> &mut ParamTypes {
        &mut self.params
    }

    fn subquery(&mut self, query: &ast::Query, scope: &Scope<'_>) -> Result<(u32, Vec<(Arc<str>, Type)>), BindError> {
        let id = self.subqueries.len();
        self.subqueries.push(None);
        let query = self.query(query, scope)?;
        let columns = query.columns.to_vec();
        let correlated = self.reach(&query) > 0;
        self.subqueries[id] = Some(Subquery {
            query,
            correlated,
            joined: false,
            whole: false,
        });
        Ok((id as u32, columns))
    }

    fn aggregate(&mut self, call: AggregateCall) -> Result<u32, BindError> {
        let Some(level) = self.levels.last_mut() else {
            return Err(BindError::sql(b"42803", "aggregate functions are not allowed here"));
        };
        if level.clause == "window definitions" {
            let refused = not_modelled("aggregate in a window definition (compute it in a sub-select)");
            return Err(refused.into());
        }
        let Some(aggregates) = &mut level.aggregates else {
            let message = format!("aggregate functions are not allowed in {}", level.clause);
            return Err(BindError::sql(b"42803", message));
        };
        if let Some(known) = aggregates.iter().position(|known| *known == call) {
            return Ok(known as u32);
        }
        aggregates.push(call);
        Ok(aggregates.len() as u32 - 1)
    }

    fn set_returning(&mut self, call: SetCall) -> Result<u32, BindError> {
        let Some(level) = self.levels.last_mut() else {
            return Err(BindError::sql(b"0A000", "set-returning functions are not allowed here"));
        };
        let Some(calls) = &mut level.set_calls else {
            let message = format!("set-returning functions are not allowed in {}", level.clause);
            return Err(BindError::sql(b"0A000", message));
        };
        calls.push(call);
        Ok(calls.len() as u32 - 1)
    }

    fn relation_oid(&mut self, name: &str) -> Option<u32> {
        self.catalog.oid(name)
    }

    fn window(&mut self, call: &ast::Function) -> Result<(Expr, Type), BindError> {
        match self.levels.last_mut().and_then(|level| level.windows.as_mut()) {
            Some((base, windows)) => {
                windows.push(call.clone());
                let index = *base + windows.len() as u16 - 1;
                Ok((Expr::Column { depth: 0, index }, Type::Int8))
            }
            None => Err(Refused::node("window function", call).into()),
        }
    }
}

/// Calls `visit` on every expression of a query, with the number of levels that lie between the query and the expression
/// (sub-selects inside expressions aside).
fn visit_query(query: &Query, level: u16, visit: &mut dyn FnMut(&Expr, u16)) {
    for key in &query.order {
        visit(&key.expr, level);
    }
    query
        .limit
        .iter()
        .chain(&query.offset)
        .for_each(|expr| visit(expr, level));
    match &query.body {
        Body::Select(select) => {
            visit_from(&select.from, level, visit);
            let keys = select.group.iter().flatten().map(|(expr, _)| expr);
            let output = select.output.iter().chain(&select.gate).chain(&select.filter);
            keys.chain(output)
                .chain(&select.having)
                .for_each(|expr| visit(expr, level));
            for call in &select.aggregates {
                call.args.iter().chain(&call.filter).for_each(|expr| visit(expr, level));
                call.order_by.iter().for_each(|key| visit(&key.expr, level));
            }
            select
                .set_calls
                .iter()
                .flat_map(|call| call.args.iter())
                .for_each(|expr| visit(expr, level));
            for window in &select.windows {
                window.partition.iter().for_each(|(expr, _)| visit(expr, level));
                window.order.iter().for_each(|key| visit(&key.expr, level));
            }
        }
        Body::Values(rows) => rows.iter().flatten().for_each(|expr| visit(expr, level)),
        Body::Set { left, right, .. } => {
            visit_query(&left.query, level, visit);
            visit_query(&right.query, level, visit);
        }
        Body::Insert(insert) => {
            match &insert.source {
                InsertSource::Rows(rows) => rows.iter().flatten().for_each(|expr| visit(expr, level)),
                InsertSource::Query(query, map) => {
                    visit_query(query, level, visit);
                    map.iter().for_each(|expr| visit(expr, level));
                }
            }
            insert.returning.iter().flatten().for_each(|expr| visit(expr, level));
        }
        Body::Update(update) => {
            visit_from(&update.from, level, visit);
            let set = update.set.iter().map(|(_, expr)| expr);
            let rest = update
                .gate
                .iter()
                .chain(&update.filter)
                .chain(update.returning.iter().flatten());
            set.chain(rest).for_each(|expr| visit(expr, level));
        }
        Body::Delete(delete) => {
            visit_from(&delete.from, level, visit);
            let rest = delete
                .gate
                .iter()
                .chain(&delete.filter)
                .chain(delete.returning.iter().flatten());
            rest.for_each(|expr| visit(expr, level));
        }
        Body::Merge(merge) => {
            visit_from(&merge.from, level, visit);
            for clause in &merge.clauses {
                clause.condition.iter().for_each(|expr| visit(expr, level));
                match &clause.action {
                    MergeAction::Update(set) => set.iter().for_each(|(_, expr)| visit(expr, level)),
                    MergeAction::Insert(values) => values.iter().for_each(|expr| visit(expr, level)),
                    MergeAction::Delete | MergeAction::Nothing => {}
                }
            }
        }
    }
}

fn visit_from(from: &From, level: u16, visit: &mut dyn FnMut(&Expr, u16)) {
    match from {
        From::Nothing => {}
        From::Leaf(leaf) => {
            leaf.filter.iter().for_each(|expr| visit(expr, level));
            match &leaf.source {
                // Keys of an index look-up are parts of conditions that are in the filter as well.
                Source::Table { .. } | Source::Cte(_) | Source::Recursion(_) | Source::Rows(_) => {}
                Source::Query(query) => visit_query(query, level + 1, visit),
                Source::Function { call, .. } => call.args.iter().for_each(|expr| visit(expr, level)),
            }
        }
        From::Join {
            left,
            right,
            on,
            filter,
            ..
        } => {
            visit_from(left, level, visit);
            visit_from(right, level, visit);
            on.iter().chain(filter).for_each(|expr| visit(expr, level));
        }
    }
}

/// The parts of a condition that must all hold.
fn conjuncts(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::And(list) => list.into_vec().into_iter().for_each(|part| conjuncts(part, into)),
        // Rows are equal when their columns are.
        Expr::RowCompare {
            op: Comparison::Eq,
            left,
            right,
        } => into.extend(
            left.into_vec()
                .into_iter()
                .zip(right)
                .map(|(left, right)| Expr::Compare {
                    op: Comparison::Eq,
                    left: Box::new(left),
                    right: Box::new(right),
                }),
        ),
        other => into.push(other),
    }
}
