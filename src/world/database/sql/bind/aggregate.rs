//! Calls of aggregates.

use sqlparser::ast::{self, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArgumentClause};

use crate::world::database::sql::aggregate::Aggregate;
use crate::world::database::sql::bind::coercion::{boolean, settled};
use crate::world::database::sql::bind::{Bound, bind_expr, call, coerce, sort_key};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{AggregateCall, Expr};
use crate::world::database::sql::known;
use crate::world::database::sql::overload::implicit;
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::{Binder, Scope};
use crate::world::database::sql::types::Type;

const UNSUPPORTED: &[&str] = &[
    "json_agg",
    "json_object_agg",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "variance",
    "var_pop",
    "var_samp",
    "corr",
    "mode",
    "percentile_cont",
    "percentile_disc",
    "xmlagg",
    "bit_xor",
    "range_agg",
    "any_value",
    "rank",
    "dense_rank",
];

/// Whether the name is one of an aggregate of Postgres.
pub(super) fn is_known(name: &str) -> bool {
    UNSUPPORTED.contains(&name)
        || matches!(
            name,
            "count"
                | "sum"
                | "avg"
                | "min"
                | "max"
                | "bool_and"
                | "bool_or"
                | "every"
                | "string_agg"
                | "array_agg"
                | "jsonb_agg"
                | "jsonb_object_agg"
                | "bit_and"
                | "bit_or"
        )
}

/// Binds a call and hands it to the binder.
pub(super) fn bind(
    name: &str,
    call: &ast::Function,
    list: &ast::FunctionArgumentList,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    if UNSUPPORTED.contains(&name) || !call.within_group.is_empty() {
        return Err(Refused::node(format!("aggregate {name}"), call).into());
    }
    let star = matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
    let mut args = Vec::new();
    if !star {
        for arg in &list.args {
            args.push(bind_expr(call::plain(arg)?, scope, binder)?);
        }
    }
    let nested = |args: &[Bound]| {
        let mut found = false;
        for (expr, _) in args {
            expr.walk(&mut |expr| found |= matches!(expr, Expr::Aggregate(_)));
        }
        found
    };
    if nested(&args) {
        return Err(BindError::sql(b"42803", "aggregate function calls cannot be nested"));
    }
    let order_by = order(list, call, scope, binder)?;
    let filter = match &call.filter {
        Some(filter) => {
            let (filter, ty) = bind_expr(filter, scope, binder)?;
            Some(boolean(filter, &ty, "FILTER", binder)?)
        }
        None => None,
    };
    let (aggregate, args, result) = resolve(name, star, args, call, binder)?;
    let (args, arg_types): (Vec<Expr>, Vec<Type>) = args.into_iter().unzip();
    let bound = AggregateCall {
        aggregate,
        distinct: list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
        args: args.into(),
        arg_types: arg_types.into(),
        order_by: order_by.into(),
        filter,
        result: result.clone(),
    };
    Ok((Expr::Aggregate(binder.aggregate(bound)?), result))
}

fn order(
    list: &ast::FunctionArgumentList,
    call: &ast::Function,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Vec<crate::world::database::sql::expr::SortKey>, BindError> {
    let mut keys = Vec::new();
    for clause in &list.clauses {
        let FunctionArgumentClause::OrderBy(items) = clause else {
            return Err(Refused::node("clause in an aggregate", call).into());
        };
        for item in items {
            let bound = bind_expr(&item.expr, scope, binder)?;
            keys.push(sort_key(bound, &item.options, binder)?);
        }
    }
    Ok(keys)
}

/// The aggregate, its converted arguments and its result type.
fn resolve(
    name: &str,
    star: bool,
    args: Vec<Bound>,
    call: &ast::Function,
    binder: &mut dyn Binder,
) -> Result<(Aggregate, Vec<Bound>, Type), BindError> {
    let types: Vec<String> = args.iter().map(|(_, ty)| ty.plain_name()).collect();
    let plain: Vec<Type> = args.iter().map(|(_, ty)| ty.clone()).collect();
    let missing = || {
        let spelled = format!("function {name}({})", types.join(", "));
        match known::may_be_function(name, &plain) {
            true => Refused::node(spelled, call).into(),
            false => BindError::sql(b"42883", format!("{spelled} does not exist")),
        }
    };
    if star {
        return match name {
            "count" => Ok((Aggregate::CountRows, Vec::new(), Type::Int8)),
            _ => Err(BindError::sql(b"42883", format!("function {name}() does not exist"))),
        };
    }
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Err(match name {
            "count" => BindError::sql(
                b"42809",
                "count(*) must be used to call a parameterless aggregate function",
            ),
            _ => missing(),
        });
    };
    let second = args.next();
    if args.next().is_some() || second.is_some() != matches!(name, "string_agg" | "jsonb_object_agg") {
        return Err(missing());
    }
    let ambiguous = || BindError::sql(b"42725", format!("function {name}(unknown) is not unique"));
    Ok(match name {
        "count" => (Aggregate::Count, vec![settled(first, binder)?], Type::Int8),
        "sum" | "avg" => {
            let ty = match &first.1 {
                Type::Unknown => return Err(ambiguous()),
                ty => total(ty, name == "avg").ok_or_else(missing)?,
            };
            let aggregate = if name == "sum" { Aggregate::Sum } else { Aggregate::Avg };
            (aggregate, vec![first], ty)
        }
        "min" | "max" => {
            let first = settled(first, binder)?;
            let ty = match first.1.base() {
                Type::Varchar(_) | Type::Name => Type::Text,
                Type::Bool
                | Type::Uuid
                | Type::Jsonb
                | Type::Json
                | Type::Void
                | Type::Xid
                | Type::Regclass
                | Type::Record(_) => {
                    return Err(missing());
                }
                other => other,
            };
            let aggregate = if name == "min" { Aggregate::Min } else { Aggregate::Max };
            (aggregate, vec![first], ty)
        }
        "bool_and" | "bool_or" | "every" => {
            if !matches!(first.1, Type::Bool | Type::Unknown) {
                return Err(missing());
            }
            let expr = coerce(first.0, &first.1, &Type::Bool, Context::Implicit, binder)?;
            let aggregate = if name == "bool_or" {
                Aggregate::BoolOr
            } else {
                Aggregate::BoolAnd
            };
            (aggregate, vec![(expr, Type::Bool)], Type::Bool)
        }
        "bit_and" | "bit_or" => {
            if !first.1.is_integer() {
                return Err(missing());
            }
            let ty = first.1.clone();
            let aggregate = if name == "bit_and" {
                Aggregate::BitAnd
            } else {
                Aggregate::BitOr
            };
            (aggregate, vec![first], ty)
        }
        "string_agg" => {
            let mut texts = Vec::new();
            for (expr, ty) in [Some(first), second].into_iter().flatten() {
                if !implicit(&ty, &Type::Text) {
                    return Err(missing());
                }
                texts.push((coerce(expr, &ty, &Type::Text, Context::Implicit, binder)?, Type::Text));
            }
            (Aggregate::StringAgg, texts, Type::Text)
        }
        "array_agg" => {
            let first = settled(first, binder)?;
            if first.1.element().is_some() {
                return Err(Refused::node("array of more than one dimension", call).into());
            }
            let ty = first.1.array();
            (Aggregate::ArrayAgg, vec![first], ty)
        }
        "jsonb_agg" => {
            let (expr, ty) = settled(first, binder)?;
            let expr = coerce(expr, &ty, &Type::Jsonb, Context::Json, binder)?;
            (Aggregate::JsonbAgg, vec![(expr, Type::Jsonb)], Type::Jsonb)
        }
        _ => {
            let (key, ty) = settled(first, binder)?;
            let key = coerce(key, &ty, &Type::Text, Context::Output, binder)?;
            let (value, ty) = settled(second.unwrap_or((Expr::NULL, Type::Unknown)), binder)?;
            let value = coerce(value, &ty, &Type::Jsonb, Context::Json, binder)?;
            let args = vec![(key, Type::Text), (value, Type::Jsonb)];
            (Aggregate::JsonbObjectAgg, args, Type::Jsonb)
        }
    })
}

/// The result type of `sum` and `avg`.
fn total(ty: &Type, average: bool) -> Option<Type> {
    Some(match (ty, average) {
        (Type::Int2 | Type::Int4, false) => Type::Int8,
        (Type::Int8, false) | (Type::Int2 | Type::Int4 | Type::Int8, true) | (Type::Numeric(_), _) => {
            Type::Numeric(None)
        }
        (Type::Float4, false) => Type::Float4,
        (Type::Float8, _) | (Type::Float4, true) => Type::Float8,
        (Type::Money, false) => Type::Money,
        (Type::Interval, _) => Type::Interval,
        _ => return None,
    })
}
