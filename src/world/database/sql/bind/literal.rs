//! Literals.

use sqlparser::ast;

use crate::value::Value;
use crate::world::database::sql::bind::Bound;
use crate::world::database::sql::calendar::read;
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::Expr;
use crate::world::database::sql::numeric;
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::Binder;
use crate::world::database::sql::types::{self, Type};

/// A literal of the syntax tree.
pub(super) fn bind(value: &ast::ValueWithSpan, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let span = value.span;
    Ok(match &value.value {
        ast::Value::Null => (Expr::NULL, Type::Unknown),
        ast::Value::Boolean(truth) => (Expr::Const(Value::Bool(*truth)), Type::Bool),
        ast::Value::Number(digits, _) => return number(digits, false),
        ast::Value::SingleQuotedString(text)
        | ast::Value::EscapedStringLiteral(text)
        | ast::Value::UnicodeStringLiteral(text) => (Expr::Const(Value::from(text.as_str())), Type::Unknown),
        ast::Value::DollarQuotedString(text) => (Expr::Const(Value::from(text.value.as_str())), Type::Unknown),
        ast::Value::Placeholder(name) => {
            let number = name.strip_prefix('$').and_then(|digits| digits.parse::<u16>().ok());
            match number.filter(|number| *number > 0) {
                Some(number) => {
                    let (number, ty) = binder.params().bind(number);
                    (Expr::Param(number), ty)
                }
                None => return Err(Refused::span("placeholder", span, name.clone()).into()),
            }
        }
        ast::Value::HexStringLiteral(digits) if !digits.is_empty() => return Err(junk(&format!("0x{digits}"))),
        other => return Err(Refused::span("literal", span, other.to_string()).into()),
    })
}

/// A number: integer, bigint or numeric, whichever holds it first.
pub(super) fn number(digits: &str, negative: bool) -> Result<Bound, BindError> {
    let signed = if negative {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    if let Ok(number) = signed.parse::<i64>() {
        let ty = match i32::try_from(number) {
            Ok(_) => Type::Int4,
            Err(_) => Type::Int8,
        };
        return Ok((Expr::Const(Value::Int(number)), ty));
    }
    match numeric::parse(&signed) {
        Some(number) => Ok((Expr::Const(Value::Numeric(number)), Type::Numeric(None))),
        None => Err(junk(digits)),
    }
}

fn junk(digits: &str) -> BindError {
    let message = format!("trailing junk after numeric literal at or near \"{digits}\"");
    BindError::sql(b"42601", message)
}

/// `type 'text'`.
pub(super) fn typed(literal: &ast::TypedString, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let ty = types::resolve(&literal.data_type, &mut |name| binder.user_type(name))?;
    let (expr, from) = bind(&literal.value, binder)?;
    let expr = super::coerce(expr, &from, &ty, Context::Explicit, binder)?;
    Ok((expr, ty))
}

/// `INTERVAL 'text' [unit]`.
pub(super) fn interval(whole: &ast::Expr, interval: &ast::Interval) -> Result<Bound, BindError> {
    let refuse = || BindError::from(Refused::node("interval literal", whole));
    if interval.last_field.is_some()
        || interval.leading_precision.is_some()
        || interval.fractional_seconds_precision.is_some()
    {
        return Err(refuse());
    }
    let ast::Expr::Value(value) = &*interval.value else {
        return Err(refuse());
    };
    let text = match &value.value {
        ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => text.clone(),
        _ => return Err(refuse()),
    };
    let read = match &interval.leading_field {
        None => read::interval(&text)?,
        Some(field) => read::interval_in(&text, &field.to_string().to_ascii_lowercase())?,
    };
    Ok((Expr::Const(Value::Interval(read)), Type::Interval))
}
