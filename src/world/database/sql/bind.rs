//! Binding: names, types and overloads of one expression.

mod aggregate;
mod call;
mod coercion;
mod literal;
mod name;
mod operator;
pub(super) mod special;
mod syntax;

use sqlparser::ast;

use super::cast::Context;
use super::expr::{Expr, SetCall, SortKey};
use super::refuse::{BindError, Refused};
use super::scope::{Binder, Scope};
use super::types::Type;

pub use self::coercion::{assign, castable, coerce, common_type, settled, unify};
pub use self::name::output_name;

/// A bound expression and its type.
pub(super) type Bound = (Expr, Type);

/// Binds an expression. An untyped literal or parameter comes back as [`Type::Unknown`]; [`coerce`] it to what is needed.
pub fn bind_expr(expr: &ast::Expr, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<(Expr, Type), BindError> {
    syntax::bind(expr, scope, binder)
}

/// Binds a select-list item: as [`bind_expr`], but an unknown literal becomes `text`.
pub fn bind_output(expr: &ast::Expr, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<(Expr, Type), BindError> {
    let bound = bind_expr(expr, scope, binder)?;
    settled(bound, binder)
}

/// Binds a condition; `clause` ("WHERE", "HAVING", "JOIN/ON", ...) is for the error
/// `argument of WHERE must be type boolean, not type integer`.
pub fn bind_condition(
    expr: &ast::Expr,
    clause: &str,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Expr, BindError> {
    let (expr, ty) = bind_expr(expr, scope, binder)?;
    coercion::boolean(expr, &ty, clause, binder)
}

/// Binds an expression of an integer clause (`LIMIT`, `OFFSET`).
pub fn bind_count(
    expr: &ast::Expr,
    clause: &str,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Expr, BindError> {
    let (bound, ty) = bind_expr(expr, scope, binder)?;
    match castable(&ty, &Type::Int8, Context::Assignment) {
        true => coerce(bound, &ty, &Type::Int8, Context::Assignment, binder),
        false => {
            let message = format!("argument of {clause} must be type bigint, not type {}", ty.plain_name());
            Err(BindError::sql(b"42804", message))
        }
    }
}

/// Binds one key of an ORDER BY whose expression is bound already.
pub fn sort_key(
    bound: (Expr, Type),
    options: &ast::OrderByOptions,
    binder: &mut dyn Binder,
) -> Result<SortKey, BindError> {
    let (expr, ty) = bound;
    let (expr, ty) = match ty {
        Type::Unknown => (coerce(expr, &ty, &Type::Text, Context::Implicit, binder)?, Type::Text),
        Type::Json => {
            return Err(BindError::sql(
                b"42883",
                "could not identify an ordering operator for type json",
            ));
        }
        _ => (expr, ty),
    };
    let descending = match &options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(other) => {
            let place = sqlparser::tokenizer::Span::empty();
            return Err(Refused::span("ORDER BY ... USING", place, format!("{other:?}")).into());
        }
    };
    Ok(SortKey {
        expr,
        ty,
        descending,
        nulls_first: options.nulls_first.unwrap_or(descending),
    })
}

/// A set-returning function in FROM; `None` when the name is not one of a built-in set-returning function.
pub fn bind_table_function(
    name: &ast::ObjectName,
    args: &[ast::FunctionArg],
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Option<SetCall>, BindError> {
    let parts = super::names(name)?;
    let Some(name) = parts.last().filter(|name| super::setof::is_known(name)) else {
        return Ok(None);
    };
    let mut bound = Vec::new();
    for arg in args {
        bound.push(bind_expr(call::plain(arg)?, scope, binder)?);
    }
    match &**name {
        "unnest" if bound.len() > 1 => call::unnest_several(bound, binder),
        name => call::set_call(name, bound, binder),
    }
    .map(Some)
}

/// The types of bound expressions.
fn types(bound: &[Bound]) -> Vec<Type> {
    bound.iter().map(|(_, ty)| ty.clone()).collect()
}
