//! From each form of the syntax tree to its node.

use std::sync::Arc;

use sqlparser::ast;

use crate::value::Value;
use crate::world::database::sql::bind::coercion::{boolean, settled};
use crate::world::database::sql::bind::{Bound, call, castable, coerce, literal, operator, unify};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{Casts, Comparison, Expr, SubqueryKind, Volatile};
use crate::world::database::sql::fold;
use crate::world::database::sql::func::array::ArrayFunc;
use crate::world::database::sql::func::{self, Func};
use crate::world::database::sql::known;
use crate::world::database::sql::overload::{Choice, choose};
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::{Binder, Scope};
use crate::world::database::sql::types::{self, Type};

/// Binds any expression.
pub(super) fn bind(expr: &ast::Expr, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    use ast::Expr as E;
    match expr {
        E::Nested(inner) => bind(inner, scope, binder),
        E::Value(value) => literal::bind(value, binder),
        E::TypedString(typed) => literal::typed(typed, binder),
        E::Interval(interval) => literal::interval(expr, interval),
        E::Identifier(ident) => match ident.quote_style {
            None => match call::keyword_value(&fold(ident))? {
                Some(bound) => Ok(bound),
                None => scope.column(&fold(ident)),
            },
            Some(_) => scope.column(&fold(ident)),
        },
        E::CompoundIdentifier(idents) => compound(expr, idents, scope),
        E::CompoundFieldAccess { root, access_chain } => access(expr, root, access_chain, scope, binder),
        E::BinaryOp { left, op, right } => operator::binary(expr, left, op, right, scope, binder),
        E::UnaryOp { op, expr: inner } => operator::unary(expr, *op, inner, scope, binder),
        E::Cast {
            kind: ast::CastKind::Cast | ast::CastKind::DoubleColon,
            expr: inner,
            data_type,
            format: None,
        } => cast(inner, data_type, scope, binder),
        E::Function(call) => call::bind(call, scope, binder),
        E::Tuple(items) => {
            let items = all(items, scope, binder)?;
            call::row(items, binder)
        }
        E::Array(array) => array_of(array, scope, binder),
        E::Subquery(query) => scalar(query, scope, binder),
        E::Exists { subquery, negated } => {
            let (id, _) = binder.subquery(subquery, scope)?;
            let kind = SubqueryKind::Exists;
            Ok((negate(Expr::Subquery { id, kind }, *negated), Type::Bool))
        }
        E::Case {
            operand,
            conditions,
            else_result,
            ..
        } => case(operand.as_deref(), conditions, else_result.as_deref(), scope, binder),
        _ => predicate(expr, scope, binder),
    }
}

/// Tests: IS, IN, BETWEEN, LIKE, ANY, ALL.
fn predicate(expr: &ast::Expr, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    use ast::Expr as E;
    match expr {
        E::IsNull(inner) => null_test(inner, false, scope, binder),
        E::IsNotNull(inner) => null_test(inner, true, scope, binder),
        E::IsTrue(inner) => truth_test(inner, Some(true), false, "IS TRUE", scope, binder),
        E::IsNotTrue(inner) => truth_test(inner, Some(true), true, "IS NOT TRUE", scope, binder),
        E::IsFalse(inner) => truth_test(inner, Some(false), false, "IS FALSE", scope, binder),
        E::IsNotFalse(inner) => truth_test(inner, Some(false), true, "IS NOT FALSE", scope, binder),
        E::IsUnknown(inner) => truth_test(inner, None, false, "IS UNKNOWN", scope, binder),
        E::IsNotUnknown(inner) => truth_test(inner, None, true, "IS NOT UNKNOWN", scope, binder),
        E::IsDistinctFrom(left, right) => {
            let (left, right) = (bind(left, scope, binder)?, bind(right, scope, binder)?);
            operator::distinct(left, right, false, binder)
        }
        E::IsNotDistinctFrom(left, right) => {
            let (left, right) = (bind(left, scope, binder)?, bind(right, scope, binder)?);
            operator::distinct(left, right, true, binder)
        }
        E::InList { expr, list, negated } => in_list(expr, list, *negated, scope, binder),
        E::InSubquery {
            expr,
            subquery,
            negated,
        } => in_subquery(expr, subquery, *negated, scope, binder),
        E::Between {
            expr,
            negated,
            low,
            high,
        } => between(expr, low, high, *negated, scope, binder),
        E::Like {
            negated,
            any: false,
            expr: text,
            pattern,
            escape_char,
        } => like(
            expr,
            (text, pattern, escape_char.as_deref()),
            false,
            *negated,
            scope,
            binder,
        ),
        E::ILike {
            negated,
            any: false,
            expr: text,
            pattern,
            escape_char,
        } => like(
            expr,
            (text, pattern, escape_char.as_deref()),
            true,
            *negated,
            scope,
            binder,
        ),
        E::AnyOp {
            left,
            compare_op,
            right,
            ..
        } => quantified(expr, left, compare_op, right, false, scope, binder),
        E::AllOp {
            left,
            compare_op,
            right,
        } => quantified(expr, left, compare_op, right, true, scope, binder),
        _ => keyword_call(expr, scope, binder),
    }
}

/// Functions that SQL writes with keywords.
fn keyword_call(expr: &ast::Expr, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    use ast::Expr as E;
    let none: [&ast::Expr; 0] = [];
    match expr {
        E::Extract { field, expr: from, .. } => {
            let field = field.to_string().to_lowercase().trim_matches('\'').to_owned();
            let unit = (Expr::Const(Value::text(field)), Type::Text);
            let from = bind(from, scope, binder)?;
            builtin("extract", vec![unit, from], expr, binder)
        }
        E::AtTimeZone { timestamp, time_zone } => {
            let (timestamp, zone) = (bind(timestamp, scope, binder)?, bind(time_zone, scope, binder)?);
            builtin("timezone", vec![zone, timestamp], expr, binder)
        }
        E::Position { expr: what, r#in } => keyword("position", [&**r#in, &**what], expr, scope, binder),
        E::Substring {
            expr: text,
            substring_from,
            substring_for,
            special,
            shorthand,
        } => {
            let mut args = vec![bind(text, scope, binder)?];
            args.push(match substring_from {
                Some(from) => bind(from, scope, binder)?,
                None => (Expr::Const(Value::Int(1)), Type::Int4),
            });
            if let Some(length) = substring_for {
                args.push(bind(length, scope, binder)?);
            }
            match (shorthand, special) {
                (true, _) => spelled("substr", "substr", args, expr, binder),
                (false, true) => spelled("substring", "substring", args, expr, binder),
                (false, false) => builtin("substring", args, expr, binder),
            }
        }
        E::Trim {
            trim_where,
            trim_what,
            expr: text,
            trim_characters,
        } => {
            let name = match trim_where {
                None | Some(ast::TrimWhereField::Both) => "btrim",
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
            };
            let set = trim_what.as_deref().into_iter().chain(trim_characters.iter().flatten());
            let args = [&**text].into_iter().chain(set);
            keyword(name, args, expr, scope, binder)
        }
        E::Overlay {
            expr: text,
            overlay_what,
            overlay_from,
            overlay_for,
        } => {
            let args = [&**text, &**overlay_what, &**overlay_from]
                .into_iter()
                .chain(overlay_for.as_deref());
            keyword("overlay", args, expr, scope, binder)
        }
        E::Ceil {
            expr: number,
            field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime),
        } => keyword("ceil", none.into_iter().chain([&**number]), expr, scope, binder),
        E::Floor {
            expr: number,
            field: ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime),
        } => keyword("floor", none.into_iter().chain([&**number]), expr, scope, binder),
        E::Collate { expr: inner, collation } => match super::super::names(collation)?.last().map(String::as_str) {
            Some("C" | "POSIX" | "default") => bind(inner, scope, binder),
            _ => Err(Refused::node("collation", expr)
                .help("the model compares text by bytes, as COLLATE \"C\" does")
                .into()),
        },
        other => Err(Refused::node(form(other), other).into()),
    }
}

/// What a refused form is called.
fn form(expr: &ast::Expr) -> &'static str {
    match expr {
        ast::Expr::SimilarTo { .. } => "SIMILAR TO",
        ast::Expr::RLike { .. } => "RLIKE",
        ast::Expr::GroupingSets(_) | ast::Expr::Cube(_) | ast::Expr::Rollup(_) => "grouping sets",
        ast::Expr::IsJson { .. } => "IS JSON",
        ast::Expr::Cast { .. } | ast::Expr::Convert { .. } => "form of a cast",
        ast::Expr::Wildcard(_) | ast::Expr::QualifiedWildcard(..) => "* as an expression",
        _ => "expression",
    }
}

fn keyword<'e>(
    name: &str,
    args: impl IntoIterator<Item = &'e ast::Expr>,
    whole: &ast::Expr,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let mut bound = Vec::new();
    for arg in args {
        bound.push(bind(arg, scope, binder)?);
    }
    builtin(name, bound, whole, binder)
}

/// A built-in function that is written with keywords.
fn builtin(name: &str, args: Vec<Bound>, whole: &ast::Expr, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    spelled(name, &format!("pg_catalog.{name}"), args, whole, binder)
}

/// A built-in function by its name, and the name that errors show.
fn spelled(
    name: &str,
    shown: &str,
    args: Vec<Bound>,
    whole: &ast::Expr,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let types = super::types(&args);
    let spelled = || {
        let types: Vec<String> = types.iter().map(Type::plain_name).collect();
        format!("function {shown}({})", types.join(", "))
    };
    match choose(&func::functions(name), &types, false) {
        Choice::One(sig) => call::apply(sig, args, &mut || Refused::node(spelled(), whole), binder),
        Choice::None if known::may_be_function(name, &types) => Err(Refused::node(spelled(), whole).into()),
        Choice::None => Err(BindError::sql(b"42883", format!("{} does not exist", spelled()))),
        Choice::Ambiguous => Err(BindError::sql(b"42725", format!("{} is not unique", spelled()))),
    }
}

fn all(items: &[ast::Expr], scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Vec<Bound>, BindError> {
    let mut bound = Vec::with_capacity(items.len());
    for item in items {
        bound.push(bind(item, scope, binder)?);
    }
    Ok(bound)
}

fn negate(expr: Expr, negated: bool) -> Expr {
    match negated {
        true => Expr::Not(Box::new(expr)),
        false => expr,
    }
}

fn compound(expr: &ast::Expr, idents: &[ast::Ident], scope: &Scope<'_>) -> Result<Bound, BindError> {
    let parts: Vec<String> = idents.iter().map(fold).collect();
    match parts.as_slice() {
        [table, column] => scope.qualified(table, column),
        [schema, table, column] if schema == "public" => scope.qualified(table, column),
        _ => Err(Refused::node("qualified name", expr).into()),
    }
}

/// `(row).field`, `array[n]`, `array[n:m]`, `jsonb['key']`.
fn access(
    whole: &ast::Expr,
    root: &ast::Expr,
    chain: &[ast::AccessExpr],
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let (mut bound, rest) = match (root, chain) {
        // t.array[1] comes as t followed by .array and [1]
        (ast::Expr::Identifier(table), [ast::AccessExpr::Dot(ast::Expr::Identifier(column)), rest @ ..])
            if scope.relation(&fold(table)).is_some() =>
        {
            (scope.qualified(&fold(table), &fold(column))?, rest)
        }
        _ => (bind(root, scope, binder)?, chain),
    };
    for step in rest {
        bound = match step {
            ast::AccessExpr::Dot(ast::Expr::Identifier(name)) => field(bound, &fold(name))?,
            ast::AccessExpr::Subscript(ast::Subscript::Index { index }) => {
                let index = bind(index, scope, binder)?;
                subscript(bound, index, whole, binder)?
            }
            ast::AccessExpr::Subscript(ast::Subscript::Slice {
                lower_bound,
                upper_bound,
                stride: None,
            }) => slice(bound, lower_bound.as_ref(), upper_bound.as_ref(), scope, binder)?,
            _ => return Err(Refused::node("field access", whole).into()),
        };
    }
    Ok(bound)
}

fn field((expr, ty): Bound, name: &str) -> Result<Bound, BindError> {
    let Type::Record(fields) = &ty else {
        let message = format!(
            "column notation .{name} applied to type {}, which is not a composite type",
            ty.plain_name()
        );
        return Err(BindError::sql(b"42809", message));
    };
    let Some(index) = fields.iter().position(|(known, _)| &**known == name) else {
        return Err(BindError::sql(
            b"42703",
            format!("could not identify column \"{name}\" in record data type"),
        ));
    };
    let ty = fields[index].1.clone();
    let (expr, index) = (Box::new(expr), index as u16);
    Ok((Expr::Field { expr, index }, ty))
}

fn subscript(
    (array, ty): Bound,
    (index, from): Bound,
    whole: &ast::Expr,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    match &ty {
        Type::Array(element) => {
            let subscript = Box::new(coerce(index, &from, &Type::Int4, Context::Assignment, binder)?);
            let array = Box::new(array);
            Ok((Expr::Subscript { array, subscript }, (**element).clone()))
        }
        Type::Jsonb => operator::named("->", vec![(array, ty), (index, from)], whole, binder),
        _ => {
            let message = format!(
                "cannot subscript type {} because it does not support subscripting",
                ty.plain_name()
            );
            Err(BindError::sql(b"42804", message))
        }
    }
}

fn slice(
    (array, ty): Bound,
    low: Option<&ast::Expr>,
    high: Option<&ast::Expr>,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    if ty.element().is_none() {
        let message = format!(
            "cannot subscript type {} because it does not support subscripting",
            ty.plain_name()
        );
        return Err(BindError::sql(b"42804", message));
    }
    let mut args = vec![array];
    for (bound, default) in [(low, 1), (high, i64::from(i32::MAX))] {
        args.push(match bound {
            None => Expr::Const(Value::Int(default)),
            Some(expr) => {
                let (expr, from) = bind(expr, scope, binder)?;
                coerce(expr, &from, &Type::Int4, Context::Assignment, binder)?
            }
        });
    }
    let func = Func::Array(ArrayFunc::Slice);
    Ok((
        Expr::Call {
            func,
            args: args.into(),
        },
        ty,
    ))
}

fn cast(inner: &ast::Expr, to: &ast::DataType, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let to = types::resolve(to, &mut |name| binder.user_type(name)).map_err(|error| match error {
        BindError::Refused(refused) => BindError::Refused(refused.or_at(ast::Spanned::span(inner))),
        error => error,
    })?;
    // ARRAY[]::type[] takes its element type from the cast
    if let (ast::Expr::Array(array), Type::Array(element)) = (inner, &to) {
        let mut items = Vec::new();
        for (expr, from) in all(&array.elem, scope, binder)? {
            items.push(coerce(expr, &from, element, Context::Explicit, binder)?);
        }
        return Ok((array_node(items), to));
    }
    let (expr, from) = bind(inner, scope, binder)?;
    if from.is_string() && to == Type::Regclass && expr.constant().is_none() {
        let args = [expr].into();
        let call = Volatile::ToRegclass;
        return Ok((Expr::Volatile { call, args }, to));
    }
    if from == Type::Regclass && to.is_string() {
        let args = [expr].into();
        let call = Volatile::RegclassName;
        return Ok((Expr::Volatile { call, args }, to));
    }
    // text that is a constant of type text is read as a literal would be
    let from = match (&expr, &from, &to) {
        (Expr::Const(Value::Text(_)), Type::Text, Type::Regclass) => Type::Unknown,
        _ => from,
    };
    if from != Type::Unknown && !castable(&from, &to, Context::Explicit) {
        let message = format!("cannot cast type {} to {}", from.plain_name(), to.plain_name());
        return Err(BindError::sql(b"42846", message));
    }
    Ok((coerce(expr, &from, &to, Context::Explicit, binder)?, to))
}

fn array_node(items: Vec<Expr>) -> Expr {
    let constants: Option<Arc<[Value]>> = items.iter().map(|item| item.constant().cloned()).collect();
    match constants {
        Some(values) => Expr::Const(Value::Array(values)),
        None => Expr::Array(items.into()),
    }
}

fn array_of(array: &ast::Array, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let items = all(&array.elem, scope, binder)?;
    if items.is_empty() {
        return Err(BindError::sql(b"42P18", "cannot determine type of empty array"));
    }
    if items.iter().any(|(_, ty)| ty.element().is_some()) {
        return Err(Refused::node("array of more than one dimension", array).into());
    }
    let (items, ty) = unify(items, "ARRAY", binder)?;
    Ok((array_node(items), ty.array()))
}

fn scalar(query: &ast::Query, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let (id, columns) = binder.subquery(query, scope)?;
    let [(_, ty)] = columns.as_slice() else {
        return Err(BindError::sql(b"42601", "subquery must return only one column"));
    };
    let kind = SubqueryKind::Scalar;
    Ok((Expr::Subquery { id, kind }, ty.clone()))
}

fn case(
    operand: Option<&ast::Expr>,
    conditions: &[ast::CaseWhen],
    otherwise: Option<&ast::Expr>,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let operand = match operand {
        Some(operand) => Some(settled(bind(operand, scope, binder)?, binder)?),
        None => None,
    };
    let mut whens = Vec::new();
    // Postgres settles the type on ELSE first
    let mut results = vec![match otherwise {
        Some(otherwise) => bind(otherwise, scope, binder)?,
        None => (Expr::NULL, Type::Unknown),
    }];
    for arm in conditions {
        let (when, ty) = bind(&arm.condition, scope, binder)?;
        whens.push((when, ty));
        results.push(bind(&arm.result, scope, binder)?);
    }
    let (mut results, ty) = unify(results, "CASE", binder)?;
    let otherwise = otherwise.map(|_| Box::new(results[0].clone()));
    results.remove(0);
    let Some(operand) = operand else {
        let mut arms = Vec::new();
        for ((when, from), then) in whens.into_iter().zip(results) {
            arms.push((boolean(when, &from, "CASE/WHEN", binder)?, then));
        }
        let expr = Expr::Case {
            operand: None,
            arms: arms.into(),
            otherwise,
        };
        return Ok((expr, ty));
    };
    let types: Vec<Type> = std::iter::once(operand.1.clone()).chain(super::types(&whens)).collect();
    let mut shared = types[0].clone();
    for ty in &types[1..] {
        shared = operator::comparable(Comparison::Eq, &shared, ty)?;
    }
    let base = operator::comparand(Comparison::Eq, operand, &shared, binder)?;
    let mut arms = Vec::new();
    for (when, then) in whens.into_iter().zip(results) {
        arms.push((operator::comparand(Comparison::Eq, when, &shared, binder)?, then));
    }
    let expr = Expr::Case {
        operand: Some(Box::new(base)),
        arms: arms.into(),
        otherwise,
    };
    Ok((expr, ty))
}

fn null_test(inner: &ast::Expr, negated: bool, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let (expr, _) = settled(bind(inner, scope, binder)?, binder)?;
    let expr = Box::new(expr);
    Ok((Expr::IsNull { expr, negated }, Type::Bool))
}

fn truth_test(
    inner: &ast::Expr,
    truth: Option<bool>,
    negated: bool,
    clause: &str,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let (expr, ty) = bind(inner, scope, binder)?;
    let expr = Box::new(boolean(expr, &ty, clause, binder)?);
    Ok((Expr::Is { expr, truth, negated }, Type::Bool))
}

fn in_list(
    expr: &ast::Expr,
    list: &[ast::Expr],
    negated: bool,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let left = bind(expr, scope, binder)?;
    let items = all(list, scope, binder)?;
    let row = matches!(left.0, Expr::Row(_));
    // one type for the whole list, as Postgres tries first
    let types: Vec<Type> = std::iter::once(left.1.clone()).chain(super::types(&items)).collect();
    if let (false, Ok(ty)) = (row, super::common_type(&types, "IN")) {
        let ty = operator::comparable(Comparison::Eq, &ty, &ty)?;
        let mut bound = Vec::new();
        for item in items {
            bound.push(operator::comparand(Comparison::Eq, item, &ty, binder)?);
        }
        let expr = Box::new(operator::comparand(Comparison::Eq, left, &ty, binder)?);
        let list = bound.into();
        return Ok((Expr::In { expr, list, negated }, Type::Bool));
    }
    let mut tests = Vec::new();
    for item in items {
        tests.push(operator::compare(Comparison::Eq, left.clone(), item, binder)?);
    }
    Ok((negate(Expr::Or(tests.into()), negated), Type::Bool))
}

/// The left side and the conversions of the right side of a comparison with a sub-select's columns.
fn against_columns(
    op: Comparison,
    left: Vec<Bound>,
    columns: Vec<(Arc<str>, Type)>,
    binder: &mut dyn Binder,
) -> Result<(Vec<Expr>, Casts), BindError> {
    if left.len() < columns.len() {
        return Err(BindError::sql(b"42601", "subquery has too many columns"));
    }
    if left.len() > columns.len() {
        return Err(BindError::sql(b"42601", "subquery has too few columns"));
    }
    let mut exprs = Vec::new();
    let mut casts = Vec::new();
    for (left, (_, column)) in left.into_iter().zip(columns) {
        let ty = operator::comparable(op, &left.1, &column)?;
        exprs.push(operator::comparand(op, left, &ty, binder)?);
        let target = if matches!(ty, Type::Char(_)) { Type::Text } else { ty };
        let direct = column.same(&target) || (column.is_integer() && target.is_integer());
        casts.push((!direct).then_some((column, target)));
    }
    Ok((exprs, casts.into()))
}

fn in_subquery(
    expr: &ast::Expr,
    query: &ast::Query,
    negated: bool,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let left = operator::fields(&bind(expr, scope, binder)?);
    let (id, columns) = binder.subquery(query, scope)?;
    let (left, casts) = against_columns(Comparison::Eq, left, columns, binder)?;
    let left = left.into();
    let kind = SubqueryKind::In { left, casts, negated };
    Ok((Expr::Subquery { id, kind }, Type::Bool))
}

/// `expr BETWEEN low AND high`; a bound with effects is evaluated twice here, once in Postgres: it is refused.
fn between(
    expr: &ast::Expr,
    low: &ast::Expr,
    high: &ast::Expr,
    negated: bool,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let value = bind(expr, scope, binder)?;
    if value.0.is_volatile() {
        return Err(Refused::node("call with effects before BETWEEN", expr).into());
    }
    let (low, high) = (bind(low, scope, binder)?, bind(high, scope, binder)?);
    let (first, second) = match negated {
        false => (Comparison::Ge, Comparison::Le),
        true => (Comparison::Lt, Comparison::Gt),
    };
    let tests = [
        operator::compare(first, value.clone(), low, binder)?,
        operator::compare(second, value, high, binder)?,
    ];
    Ok((
        if negated {
            Expr::Or(tests.into())
        } else {
            Expr::And(tests.into())
        },
        Type::Bool,
    ))
}

fn like(
    whole: &ast::Expr,
    (text, pattern, escape): (&ast::Expr, &ast::Expr, Option<&ast::Expr>),
    insensitive: bool,
    negated: bool,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let (text, pattern) = (bind(text, scope, binder)?, bind(pattern, scope, binder)?);
    let escape = match escape {
        Some(escape) => Some(bind(escape, scope, binder)?),
        None => None,
    };
    operator::like((text, pattern), escape, insensitive, negated, whole, binder)
}

fn quantified(
    whole: &ast::Expr,
    left: &ast::Expr,
    op: &ast::BinaryOperator,
    right: &ast::Expr,
    every: bool,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let Some(op) = operator::comparison_of(op) else {
        return Err(Refused::node("operator before ANY or ALL", whole).into());
    };
    let left = bind(left, scope, binder)?;
    let mut inner = right;
    while let ast::Expr::Nested(nested) = inner {
        inner = nested;
    }
    if let ast::Expr::Subquery(query) = inner {
        let (id, columns) = binder.subquery(query, scope)?;
        let (mut left, casts) = against_columns(op, vec![left], columns, binder)?;
        let left = Box::new(left.remove(0));
        let kind = SubqueryKind::Quantified {
            left,
            casts,
            op,
            all: every,
        };
        return Ok((Expr::Subquery { id, kind }, Type::Bool));
    }
    let (array, ty) = bind(inner, scope, binder)?;
    let element = match (&ty, &left.1) {
        (Type::Array(element), _) => (**element).clone(),
        (Type::Unknown, Type::Unknown) => Type::Text,
        (Type::Unknown, left) => left.base(),
        _ => {
            return Err(BindError::sql(
                b"42809",
                "op ANY/ALL (array) requires array on right side",
            ));
        }
    };
    let shared = operator::comparable(op, &left.1, &element)?;
    let compared = match &shared {
        Type::Char(_) => Type::Text,
        shared => shared.clone(),
    };
    let direct = element.same(&compared) || (element.is_integer() && compared.is_integer());
    let array = match (direct, &ty) {
        (true, Type::Array(_)) => array,
        (true, _) => coerce(array, &ty, &element.array(), Context::Implicit, binder)?,
        (false, _) => coerce(array, &ty, &compared.array(), Context::Explicit, binder)?,
    };
    let left = Box::new(operator::comparand(Comparison::Eq, left, &shared, binder)?);
    let expr = Expr::Quantified {
        op,
        left,
        array: Box::new(array),
        all: every,
    };
    Ok((expr, Type::Bool))
}
