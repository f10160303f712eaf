//! The parts of a SELECT that only look at names and shapes: wildcards, positions, sort keys, grouping.

use std::sync::Arc;

use sqlparser::ast;

use crate::world::database::exec::catalog::Index;
use crate::world::database::exec::plan::{From, JoinKind, Leaf, Source};
use crate::world::database::sql::expr::{Expr, SortKey};
use crate::world::database::sql::parse::RowStrength;
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::{Relation, Scope, is_system};
use crate::world::database::sql::types::Type;

use super::select::Item;

/// `*` or `relation.*`.
pub(super) fn wildcard(scope: &Scope<'_>, relation: Option<&str>) -> Result<Vec<Item>, BindError> {
    let column = |relation: &Relation, place: usize| Item {
        name: Arc::clone(&relation.columns[place].name),
        expr: Expr::Column {
            depth: 0,
            index: relation.offset + place as u16,
        },
        ty: relation.columns[place].ty.clone(),
    };
    let Some(wanted) = relation else {
        if scope.relations.is_empty() {
            return Err(BindError::sql(
                b"42601",
                "SELECT * with no tables specified is not valid",
            ));
        }
        let merged = scope.merged.iter().map(|(name, expr, ty)| Item {
            name: Arc::clone(name),
            expr: expr.clone(),
            ty: ty.clone(),
        });
        let mut items: Vec<Item> = merged.collect();
        for relation in scope.relations.iter().filter(|relation| !relation.qualified_only) {
            let visible = (0..relation.columns.len()).filter(|place| !relation.columns[*place].hidden);
            items.extend(visible.map(|place| column(relation, place)));
        }
        return Ok(items);
    };
    let Some((relation, depth)) = scope.relation(wanted) else {
        let message = format!("missing FROM-clause entry for table \"{wanted}\"");
        return Err(BindError::sql(b"42P01", message));
    };
    let own = (0..relation.columns.len()).filter(|place| !is_system(&relation.columns[*place].name));
    let items = own.map(|place| {
        let mut item = column(relation, place);
        if let Expr::Column { depth: own, .. } = &mut item.expr {
            *own = depth;
        }
        item
    });
    Ok(items.collect())
}

pub(super) fn known_select(select: &ast::Select) -> Result<(), BindError> {
    let known = select.top.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.prewhere.is_none()
        && select.connect_by.is_empty()
        && select.cluster_by.is_empty()
        && select.distribute_by.is_empty()
        && select.sort_by.is_empty()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.value_table_mode.is_none()
        && select.exclude.is_none();
    match known {
        true => Ok(()),
        false => Err(Refused::node("SELECT clause", select).into()),
    }
}

pub(super) fn order_keys(order: &ast::OrderBy) -> Result<&[ast::OrderByExpr], BindError> {
    match &order.kind {
        ast::OrderByKind::Expressions(keys) if order.interpolate.is_none() => Ok(keys),
        _ => Err(Refused::node("ORDER BY", order).into()),
    }
}

pub(super) fn sort_key(expr: Expr, ty: Type, key: &ast::OrderByExpr) -> Result<SortKey, BindError> {
    if key.with_fill.is_some() {
        return Err(Refused::node("ORDER BY", key).into());
    }
    if expr.is_by_chance() {
        let help = "one order of many would be looked at: order by what the rows have in them";
        return Err(Refused::node("ORDER BY random()", key).help(help).into());
    }
    let descending = match &key.options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(_) => return Err(Refused::node("ORDER BY USING", key).into()),
    };
    Ok(SortKey {
        expr,
        ty,
        descending,
        nulls_first: key.options.nulls_first.unwrap_or(descending),
    })
}

pub(super) fn by_position<'i>(
    expr: &ast::Expr,
    items: &'i [Item],
    clause: &str,
) -> Result<Option<&'i Item>, BindError> {
    let ast::Expr::Value(value) = expr else {
        return Ok(None);
    };
    let ast::Value::Number(number, _) = &value.value else {
        return Ok(None);
    };
    let Ok(position) = number.to_string().parse::<usize>() else {
        return Err(BindError::sql(b"42601", format!("non-integer constant in {clause}")));
    };
    match position.checked_sub(1).and_then(|place| items.get(place)) {
        Some(item) => Ok(Some(item)),
        None => Err(BindError::sql(
            b"42P10",
            format!("{clause} position {position} is not in select list"),
        )),
    }
}

/// The output column of a name; two of the same name must be the same expression.
pub(super) fn by_name<'i>(name: &str, items: &'i [Item], clause: &str) -> Result<Option<&'i Item>, BindError> {
    let mut named = items.iter().filter(|item| &*item.name == name);
    let first = named.next();
    match first.filter(|first| named.any(|other| other.expr != first.expr)) {
        Some(_) => Err(BindError::sql(b"42702", format!("{clause} \"{name}\" is ambiguous"))),
        None => Ok(first),
    }
}

pub(super) fn lock_name(strength: RowStrength) -> &'static str {
    match strength {
        RowStrength::KeyShare => "FOR KEY SHARE",
        RowStrength::Share => "FOR SHARE",
        RowStrength::NoKeyUpdate => "FOR NO KEY UPDATE",
        RowStrength::Update => "FOR UPDATE",
    }
}

pub(super) fn for_each_leaf(from: &mut From, visit: &mut dyn FnMut(&mut Leaf, bool)) {
    fn go(from: &mut From, nullable: bool, visit: &mut dyn FnMut(&mut Leaf, bool)) {
        match from {
            From::Nothing => {}
            From::Leaf(leaf) => visit(leaf, nullable),
            From::Join { kind, left, right, .. } => {
                go(left, nullable || *kind == JoinKind::Full, visit);
                go(right, nullable || *kind != JoinKind::Inner, visit);
            }
        }
    }
    go(from, false, visit);
}

/// `column "t.x" must appear in the GROUP BY clause or be used in an aggregate function`. Columns of a table whose primary key stands
/// in GROUP BY are fine.
pub(super) fn check_grouped(
    group: &[(Expr, Type)],
    items: &[Item],
    having: Option<&Expr>,
    scope: &Scope<'_>,
    from: &mut From,
) -> Result<(), BindError> {
    let mut wrong = Vec::new();
    for expr in items.iter().map(|item| &item.expr).chain(having) {
        ungrouped(expr, group, &mut wrong);
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mut determined = Vec::new();
    for_each_leaf(from, &mut |leaf, _| {
        let Some(relation) = scope.relations.get(leaf.slot) else {
            return;
        };
        if let Source::Table { table, .. } = &leaf.source
            && let Some(columns) = table.primary_key().and_then(Index::plain_columns)
        {
            let grouped = |column: &usize| {
                let index = relation.offset + *column as u16;
                group.iter().any(|(key, _)| *key == Expr::Column { depth: 0, index })
            };
            if columns.iter().all(grouped) {
                determined.push(relation.offset);
            }
        }
    });
    for index in wrong {
        let owns =
            |relation: &&Relation| (relation.offset..relation.offset + relation.columns.len() as u16).contains(&index);
        let Some(owner) = scope.relations.iter().find(owns) else {
            continue;
        };
        if determined.contains(&owner.offset) {
            continue;
        }
        let column = &owner.columns[usize::from(index - owner.offset)].name;
        let name = match &owner.name {
            Some(relation) => format!("{relation}.{column}"),
            None => column.to_string(),
        };
        let message =
            format!("column \"{name}\" must appear in the GROUP BY clause or be used in an aggregate function");
        return Err(BindError::sql(b"42803", message));
    }
    Ok(())
}

fn ungrouped(expr: &Expr, group: &[(Expr, Type)], wrong: &mut Vec<u16>) {
    if group.iter().any(|(key, _)| key == expr) {
        return;
    }
    match expr {
        Expr::Column { depth: 0, index } => {
            wrong.push(*index);
        }
        Expr::Aggregate(_) => {}
        other => other.for_each_child(&mut |child| ungrouped(child, group, wrong)),
    }
}

/// Whether an expression has the result of a set-returning function.
pub(super) fn has_set(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| found |= matches!(part, Expr::SetResult(_)));
    found
}

/// DISTINCT ON sorts by its keys: first as ORDER BY says, then by those that it does not name.
pub(super) fn distinct_order(keys: &[(Expr, Type)], order: &mut Vec<SortKey>) -> Result<(), BindError> {
    let mismatch = || {
        let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
        Err(BindError::sql(b"42P10", message))
    };
    let is_key = |key: &SortKey| keys.iter().any(|(expr, _)| *expr == key.expr);
    let initial = order.iter().take_while(|key| is_key(key)).count();
    if order[initial..].iter().any(is_key) {
        return mismatch();
    }
    let missing: Vec<SortKey> = keys
        .iter()
        .filter(|(expr, _)| !order[..initial].iter().any(|key| key.expr == *expr))
        .map(|(expr, ty)| SortKey {
            expr: expr.clone(),
            ty: ty.clone(),
            descending: false,
            nulls_first: false,
        })
        .collect();
    if !missing.is_empty() && initial < order.len() {
        return mismatch();
    }
    order.extend(missing);
    Ok(())
}
