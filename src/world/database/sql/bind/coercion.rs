//! Which types convert to which, and the conversion of a bound expression.

use crate::value::Value;
use crate::world::database::sql::bind::Bound;
use crate::world::database::sql::cast::{self, Context};
use crate::world::database::sql::expr::Expr;
use crate::world::database::sql::overload::{category, implicit, preferred};
use crate::world::database::sql::refuse::BindError;
use crate::world::database::sql::scope::Binder;
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;

/// Whether a type converts to another under these rules.
pub fn castable(from: &Type, to: &Type, context: Context) -> bool {
    if implicit(from, to) {
        return true;
    }
    if context == Context::Implicit {
        return false;
    }
    if let (Type::Array(from), Type::Array(to)) = (from, to) {
        return castable(from, to, context);
    }
    let assignment = match (from, to) {
        (from, to) if from.is_number() && to.is_number() => true,
        (Type::Int4 | Type::Int8 | Type::Numeric(_), Type::Money) | (Type::Money, Type::Numeric(_)) => true,
        (Type::Oid | Type::Regclass, to) if to.is_integer() => true,
        (from, Type::Oid | Type::Regclass) if from.is_integer() => true,
        (Type::Timestamptz(_), Type::Timestamp(_) | Type::Date) | (Type::Timestamp(_), Type::Date) => true,
        (Type::Json, Type::Jsonb) | (Type::Jsonb, Type::Json) => true,
        (_, to) if to.is_string() => true,
        _ => false,
    };
    if assignment || context == Context::Assignment {
        return assignment;
    }
    match (from, to) {
        (Type::Int4, Type::Bool) | (Type::Bool, Type::Int4) => true,
        (Type::Jsonb, to) if to.is_number() || *to == Type::Bool => true,
        (from, _) if from.is_string() => true,
        _ => false,
    }
}

/// Converts a bound expression to a type; the error is `cannot cast type x to y` (42846). A conversion of a constant is done now.
pub fn coerce(
    expr: Expr,
    from: &Type,
    to: &Type,
    context: Context,
    binder: &mut dyn Binder,
) -> Result<Expr, BindError> {
    match (expr, from) {
        (Expr::Const(Value::Null), _) => Ok(Expr::NULL),
        (Expr::Const(Value::Text(text)), Type::Unknown) => literal(&text, to, context, binder),
        (Expr::Param(number), Type::Unknown) => {
            let settled = match to {
                Type::Unknown => Type::Text,
                to => to.base(),
            };
            let number = binder.params().settle(number, &settled)?;
            coerce(Expr::Param(number), &settled, to, context, binder)
        }
        (expr, Type::Unknown) => convert(expr, &Type::Text, to, Context::Explicit),
        (expr, from) if context >= Context::Output || castable(from, to, context) => convert(expr, from, to, context),
        _ => {
            let message = format!("cannot cast type {} to {}", from.plain_name(), to.plain_name());
            Err(BindError::sql(b"42846", message))
        }
    }
}

/// Converts an untyped literal: it is read by the target's input function, then fitted to the modifier.
fn literal(
    text: &std::sync::Arc<str>,
    to: &Type,
    context: Context,
    binder: &mut dyn Binder,
) -> Result<Expr, BindError> {
    let expr = Expr::Const(Value::Text(text.clone()));
    match to {
        Type::Unknown => return Ok(expr),
        Type::Regclass => return regclass(text, binder),
        _ if depends_on_zone(to) => {
            let read = |zone: &str| {
                let settings = Settings {
                    time_zone: zone.into(),
                    ..Settings::default()
                };
                cast::cast(Value::Text(text.clone()), &Type::Unknown, to, context, &settings)
            };
            let value = read("UTC")?;
            // a literal with its own zone means the same in every session
            return Ok(match read("Asia/Tokyo")? == value {
                true => Expr::Const(value),
                false => Expr::Cast {
                    expr: Box::new(expr),
                    from: Type::Unknown,
                    to: to.clone(),
                    context,
                },
            });
        }
        _ => {}
    }
    let value = cast::cast(
        Value::Text(text.clone()),
        &Type::Unknown,
        to,
        context,
        &Settings::default(),
    )?;
    Ok(Expr::Const(value))
}

fn regclass(text: &str, binder: &mut dyn Binder) -> Result<Expr, BindError> {
    if let Ok(oid) = text.parse::<u32>() {
        return Ok(Expr::Const(Value::Int(i64::from(oid))));
    }
    let name = text.trim_start_matches("public.").trim_start_matches("pg_catalog.");
    let folded = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.to_owned(),
        None => name.to_ascii_lowercase(),
    };
    match binder.relation_oid(&folded) {
        Some(oid) => Ok(Expr::Const(Value::Int(i64::from(oid)))),
        None => Err(BindError::sql(b"42P01", format!("relation \"{text}\" does not exist"))),
    }
}

fn depends_on_zone(ty: &Type) -> bool {
    match ty {
        Type::Timestamptz(_) => true,
        Type::Array(element) => depends_on_zone(element),
        _ => false,
    }
}

fn convert(expr: Expr, from: &Type, to: &Type, context: Context) -> Result<Expr, BindError> {
    if context < Context::Output && no_op(from, to) {
        return Ok(expr);
    }
    let temporal = |ty: &Type| {
        matches!(
            ty,
            Type::Timestamptz(_) | Type::Timestamp(_) | Type::Date | Type::Record(_)
        )
    };
    let fixed = !temporal(from) && !from.element().is_some_and(temporal) && !depends_on_zone(to);
    if let (Expr::Const(value), true) = (&expr, fixed) {
        // what fails now fails when it is evaluated, if it is
        if let Ok(value) = cast::cast(value.clone(), from, to, context, &Settings::default()) {
            return Ok(Expr::Const(value));
        }
    }
    Ok(Expr::Cast {
        expr: Box::new(expr),
        from: from.clone(),
        to: to.clone(),
        context,
    })
}

/// Whether values of the one type are values of the other as they are.
fn no_op(from: &Type, to: &Type) -> bool {
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.same(to) && *to == to.base() => true,
        (Type::Int2, Type::Int4 | Type::Int8) | (Type::Int4, Type::Int8) => true,
        (
            Type::Text | Type::Name | Type::Varchar(_),
            Type::Text | Type::Name | Type::Varchar(None) | Type::Char(None),
        ) => true,
        (Type::Oid | Type::Regclass, Type::Oid | Type::Regclass | Type::Int8) => true,
        (Type::Array(from), Type::Array(to)) => no_op(from, to),
        (Type::Record(_), Type::Record(_)) => true,
        _ => false,
    }
}

/// Converts a bound expression for assignment to a column:
/// `column "x" is of type integer but expression is of type text` (42804) when there is no assignment cast.
pub fn assign(expr: Expr, from: &Type, column: &str, to: &Type, binder: &mut dyn Binder) -> Result<Expr, BindError> {
    if *from == Type::Unknown || castable(from, to, Context::Assignment) {
        return coerce(expr, from, to, Context::Assignment, binder);
    }
    let (to, from) = (to.plain_name(), from.plain_name());
    let message = format!("column \"{column}\" is of type {to} but expression is of type {from}");
    Err(BindError::sql(b"42804", message))
}

/// The one type for the columns or branches of `what` (`CASE`, `UNION`, `VALUES`, ...): Postgres' select_common_type.
/// The error is `UNION types integer and text cannot be matched` (42804).
pub fn common_type(types: &[Type], what: &str) -> Result<Type, BindError> {
    let mut chosen = types.first().cloned().unwrap_or(Type::Unknown);
    if types.iter().all(|ty| *ty == chosen) && chosen != Type::Unknown {
        return Ok(chosen);
    }
    chosen = chosen.base();
    for ty in types.iter().skip(1).filter(|ty| **ty != Type::Unknown) {
        if chosen == Type::Unknown {
            chosen = ty.base();
        } else if ty.same(&chosen) {
        } else if category(ty) != category(&chosen) {
            let (left, right) = (chosen.plain_name(), ty.plain_name());
            return Err(BindError::sql(
                b"42804",
                format!("{what} types {left} and {right} cannot be matched"),
            ));
        } else if !preferred(&chosen) && implicit(&chosen, ty) && !implicit(ty, &chosen) {
            chosen = ty.base();
        }
    }
    Ok(match chosen {
        Type::Unknown => Type::Text,
        chosen => chosen,
    })
}

/// Brings expressions to their common type.
pub fn unify(bound: Vec<(Expr, Type)>, what: &str, binder: &mut dyn Binder) -> Result<(Vec<Expr>, Type), BindError> {
    let ty = common_type(&super::types(&bound), what)?;
    let mut exprs = Vec::with_capacity(bound.len());
    for (expr, from) in bound {
        if !castable(&from, &ty, Context::Implicit) {
            let (from, to) = (from.plain_name(), ty.plain_name());
            return Err(BindError::sql(
                b"42846",
                format!("{what} could not convert type {from} to {to}"),
            ));
        }
        exprs.push(coerce(expr, &from, &ty, Context::Implicit, binder)?);
    }
    Ok((exprs, ty))
}

/// An expression where a truth value is needed: `argument of NOT must be type boolean, not type integer`.
pub(super) fn boolean(expr: Expr, ty: &Type, clause: &str, binder: &mut dyn Binder) -> Result<Expr, BindError> {
    match ty {
        Type::Bool => Ok(expr),
        Type::Unknown => coerce(expr, ty, &Type::Bool, Context::Implicit, binder),
        other => {
            let message = format!(
                "argument of {clause} must be type boolean, not type {}",
                other.plain_name()
            );
            Err(BindError::sql(b"42804", message))
        }
    }
}

/// An unknown literal or parameter as text; anything else as it is.
pub fn settled((expr, ty): Bound, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    match ty {
        Type::Unknown => Ok((coerce(expr, &ty, &Type::Text, Context::Implicit, binder)?, Type::Text)),
        _ => Ok((expr, ty)),
    }
}
