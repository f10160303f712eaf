//! Operators: comparison, logic, and everything in the tables of overloads.

use std::sync::Arc;

use sqlparser::ast::{self, BinaryOperator, UnaryOperator};

use crate::value::Value;
use crate::world::database::sql::bind::coercion::{boolean, settled};
use crate::world::database::sql::bind::{Bound, call, coerce, literal, syntax};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{Comparison, Expr};
use crate::world::database::sql::func::array::ArrayFunc;
use crate::world::database::sql::func::{self, Func};
use crate::world::database::sql::known;
use crate::world::database::sql::overload::{Choice, choose};
use crate::world::database::sql::refuse::{BindError, Refused, not_modelled};
use crate::world::database::sql::scope::{Binder, Scope};
use crate::world::database::sql::types::Type;

/// A comparison operator of the syntax tree.
pub(super) fn comparison_of(op: &BinaryOperator) -> Option<Comparison> {
    Some(match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::Ne,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::Le,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::Ge,
        _ => return None,
    })
}

/// `left op right`.
pub(super) fn binary(
    whole: &ast::Expr,
    left: &ast::Expr,
    op: &BinaryOperator,
    right: &ast::Expr,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    if let BinaryOperator::And | BinaryOperator::Or = op {
        let word = if *op == BinaryOperator::And { "AND" } else { "OR" };
        let mut parts = Vec::new();
        flatten(whole, op, word, scope, binder, &mut parts)?;
        let parts = parts.into();
        let expr = if *op == BinaryOperator::And {
            Expr::And(parts)
        } else {
            Expr::Or(parts)
        };
        return Ok((expr, Type::Bool));
    }
    if let (Some(_), ast::Expr::BinaryOp { op: inner, .. }) = (comparison_of(op), left)
        && comparison_of(inner).is_some()
    {
        return Err(BindError::sql(b"42601", format!("syntax error at or near \"{op}\"")));
    }
    let left = syntax::bind(left, scope, binder)?;
    if let (Some(op), ast::Expr::Subquery(query), Expr::Row(_)) = (comparison_of(op), right, &left.0) {
        let construct = format!("row {} (SELECT ...)", op.symbol());
        return Err(Refused::node(construct, &**query)
            .help("write (a, b) IN (SELECT ...)")
            .into());
    }
    let right = syntax::bind(right, scope, binder)?;
    if let Some(op) = comparison_of(op) {
        return Ok((compare(op, left, right, binder)?, Type::Bool));
    }
    let symbol = match op {
        BinaryOperator::PGCustomBinaryOperator(parts) => parts.last().cloned().unwrap_or_default(),
        BinaryOperator::BitwiseXor | BinaryOperator::Spaceship | BinaryOperator::DuckIntegerDivide => {
            return Err(Refused::node("operator", whole).into());
        }
        other => other.to_string(),
    };
    if symbol == "||" {
        return concatenate(left, right, binder);
    }
    named(&symbol, vec![left, right], whole, binder)
}

fn flatten(
    expr: &ast::Expr,
    op: &BinaryOperator,
    word: &str,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
    parts: &mut Vec<Expr>,
) -> Result<(), BindError> {
    match expr {
        ast::Expr::BinaryOp { left, op: own, right } if own == op => {
            flatten(left, op, word, scope, binder, parts)?;
            flatten(right, op, word, scope, binder, parts)
        }
        other => {
            let (expr, ty) = syntax::bind(other, scope, binder)?;
            parts.push(boolean(expr, &ty, word, binder)?);
            Ok(())
        }
    }
}

/// `op expr`.
pub(super) fn unary(
    whole: &ast::Expr,
    op: UnaryOperator,
    expr: &ast::Expr,
    scope: &Scope<'_>,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    if let (UnaryOperator::Minus, Some((negative, digits))) = (op, signed_literal(expr)) {
        return literal::number(digits, !negative);
    }
    if let (
        UnaryOperator::Minus,
        ast::Expr::BinaryOp {
            left,
            op: BinaryOperator::PGExp,
            right,
        },
    ) = (op, expr)
    {
        // a sign binds tighter than ^ in Postgres
        let signed = ast::Expr::UnaryOp { op, expr: left.clone() };
        return binary(whole, &signed, &BinaryOperator::PGExp, right, scope, binder);
    }
    let (bound, ty) = syntax::bind(expr, scope, binder)?;
    let symbol = match op {
        UnaryOperator::Not => {
            let expr = Box::new(boolean(bound, &ty, "NOT", binder)?);
            return Ok((Expr::Not(expr), Type::Bool));
        }
        UnaryOperator::Minus => "-",
        UnaryOperator::Plus => "+",
        UnaryOperator::BitwiseNot => "~",
        _ => return Err(Refused::node("operator", whole).into()),
    };
    named(symbol, vec![(bound, ty)], whole, binder)
}

/// A number with its signs, which Postgres takes as one literal.
fn signed_literal(expr: &ast::Expr) -> Option<(bool, &str)> {
    match expr {
        ast::Expr::Nested(inner) => signed_literal(inner),
        ast::Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => signed_literal(expr).map(|(negative, digits)| (!negative, digits)),
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, _) => Some((false, digits)),
            _ => None,
        },
        _ => None,
    }
}

/// An operator of the tables.
pub(super) fn named(
    symbol: &str,
    args: Vec<Bound>,
    whole: &ast::Expr,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let types = super::types(&args);
    let sigs = func::operators(symbol);
    match choose(&sigs, &types, true) {
        Choice::One(sig) => call::apply(
            sig,
            args,
            &mut || Refused::node(format!("operator {symbol}"), whole),
            binder,
        ),
        Choice::None if known::may_be_operator(symbol, &types) => {
            let construct = format!("operator {}", spelled(symbol, &types));
            Err(Refused::node(construct, whole)
                .help("the server has it, the model does not")
                .into())
        }
        Choice::None => Err(missing(symbol, &types)),
        Choice::Ambiguous => Err(BindError::sql(
            b"42725",
            format!("operator is not unique: {}", spelled(symbol, &types)),
        )),
    }
}

fn spelled(symbol: &str, types: &[Type]) -> String {
    match types {
        [only] => format!("{symbol} {}", only.plain_name()),
        [left, right] => format!("{} {symbol} {}", left.plain_name(), right.plain_name()),
        _ => symbol.to_owned(),
    }
}

fn missing(symbol: &str, types: &[Type]) -> BindError {
    BindError::sql(b"42883", format!("operator does not exist: {}", spelled(symbol, types)))
}

/// `||`: arrays, jsonb, or text with anything that is not an array.
fn concatenate(left: Bound, right: Bound, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let types = [left.1.clone(), right.1.clone()];
    let text = |ty: &Type| ty.is_string() || *ty == Type::Unknown;
    let array = types.iter().any(|ty| ty.element().is_some());
    let json = types.iter().all(|ty| matches!(ty, Type::Jsonb | Type::Unknown)) && types.contains(&Type::Jsonb);
    if !array && !json {
        if !types.iter().any(text) {
            return Err(missing("||", &types));
        }
        let as_text =
            |(expr, ty): Bound, binder: &mut dyn Binder| coerce(expr, &ty, &Type::Text, Context::Explicit, binder);
        let args = [as_text(left, binder)?, as_text(right, binder)?];
        let func = Func::Text(func::text::Text::Concat);
        return Ok((
            Expr::Call {
                func,
                args: args.into(),
            },
            Type::Text,
        ));
    }
    match choose(&func::operators("||"), &types, true) {
        Choice::One(sig) => {
            let refuse = &mut || Refused::span("operator ||", sqlparser::tokenizer::Span::empty(), "||");
            call::apply(sig, vec![left, right], refuse, binder)
        }
        Choice::None if known::may_be_operator("||", &types) => {
            Err(not_modelled(format!("operator {}", spelled("||", &types))).into())
        }
        Choice::None | Choice::Ambiguous => Err(missing("||", &types)),
    }
}

/// A comparison of two bound operands.
pub(super) fn compare(op: Comparison, left: Bound, right: Bound, binder: &mut dyn Binder) -> Result<Expr, BindError> {
    if left.0.is_by_chance() || right.0.is_by_chance() {
        // The parser's place is not known here; the statement's will do.
        let refused = Refused::span(
            "a comparison with random()",
            sqlparser::tokenizer::Span::empty(),
            "random()",
        );
        return Err(refused.help("it would come out in one way only").into());
    }
    if let (Expr::Row(left_fields), Expr::Row(right_fields)) = (&left.0, &right.0) {
        if left_fields.len() != right_fields.len() {
            return Err(BindError::sql(b"42601", "unequal number of entries in row expressions"));
        }
        let pairs = fields(&left).into_iter().zip(fields(&right));
        let (mut lefts, mut rights) = (Vec::new(), Vec::new());
        for (left, right) in pairs {
            let (left, right, _) = operands(op, left, right, binder)?;
            lefts.push(left);
            rights.push(right);
        }
        return Ok(Expr::RowCompare {
            op,
            left: lefts.into(),
            right: rights.into(),
        });
    }
    let (left, right, _) = operands(op, left, right, binder)?;
    Ok(Expr::Compare {
        op,
        left: Box::new(left),
        right: Box::new(right),
    })
}

/// The fields of a row expression with their types.
pub(super) fn fields((expr, ty): &Bound) -> Vec<Bound> {
    match (expr, ty) {
        (Expr::Row(fields), Type::Record(types)) => {
            let pairs = fields.iter().zip(types.iter());
            pairs.map(|(field, (_, ty))| (field.clone(), ty.clone())).collect()
        }
        _ => vec![(expr.clone(), ty.clone())],
    }
}

/// The operands of a comparison, converted to values that compare directly, and their type.
pub(super) fn operands(
    op: Comparison,
    left: Bound,
    right: Bound,
    binder: &mut dyn Binder,
) -> Result<(Expr, Expr, Type), BindError> {
    let ty = comparable(op, &left.1, &right.1)?;
    let left = comparand(op, left, &ty, binder)?;
    let right = comparand(op, right, &ty, binder)?;
    Ok((left, right, ty))
}

/// One side of a comparison at the type that both sides compare at.
pub(super) fn comparand(
    op: Comparison,
    (expr, from): Bound,
    ty: &Type,
    binder: &mut dyn Binder,
) -> Result<Expr, BindError> {
    let expr = match (&from, ty) {
        (from, ty) if from.is_integer() && ty.is_integer() => expr,
        (Type::Oid | Type::Xid | Type::Regclass, Type::Oid | Type::Xid | Type::Regclass) => expr,
        (from, Type::Oid | Type::Xid) if from.is_integer() => expr,
        _ => coerce(expr, &from, ty, Context::Implicit, binder)?,
    };
    match ty {
        // the blanks at the end of a char(n) do not count
        Type::Char(_) => coerce(expr, &Type::Char(None), &Type::Text, Context::Implicit, binder),
        Type::Enum(of) if !matches!(op, Comparison::Eq | Comparison::Ne) => {
            let labels: Arc<[Value]> = of.labels.iter().cloned().map(Value::Text).collect();
            Ok(Expr::Call {
                func: Func::Array(ArrayFunc::EnumRank),
                args: [expr, Expr::Const(Value::Array(labels))].into(),
            })
        }
        _ => Ok(expr),
    }
}

/// The type at which two types compare.
pub(super) fn comparable(op: Comparison, left: &Type, right: &Type) -> Result<Type, BindError> {
    let none = || match known::may_be_operator(op.symbol(), &[left.clone(), right.clone()]) {
        true => not_modelled(format!(
            "operator {}",
            spelled(op.symbol(), &[left.clone(), right.clone()])
        ))
        .into(),
        false => missing(op.symbol(), &[left.clone(), right.clone()]),
    };
    let (left, right) = match (left, right) {
        (Type::Unknown, Type::Unknown) => return Ok(Type::Text),
        (Type::Unknown, known) | (known, Type::Unknown) => (known, known),
        pair => pair,
    };
    let text = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(_) | Type::Name);
    Ok(match (left, right) {
        (Type::Json | Type::Void, _) | (_, Type::Json | Type::Void) => return Err(none()),
        (Type::Xid, Type::Xid) if !matches!(op, Comparison::Eq | Comparison::Ne) => return Err(none()),
        (left, right) if text(left) && text(right) => Type::Text,
        (Type::Char(_), Type::Char(_)) => Type::Char(None),
        (left, right) if left.is_string() && right.is_string() => Type::Text,
        (Type::Array(inner), Type::Array(other)) if !inner.same(other) => return Err(none()),
        (left, right) if left.same(right) => left.base(),
        (left, right) if left.is_integer() && right.is_integer() => Type::Int8,
        (left, right) if left.is_number() && right.is_number() => {
            let float = |ty: &Type| matches!(ty, Type::Float4 | Type::Float8);
            if float(left) || float(right) {
                Type::Float8
            } else {
                Type::Numeric(None)
            }
        }
        (Type::Oid | Type::Regclass, other) | (other, Type::Oid | Type::Regclass)
            if other.is_integer() || matches!(other, Type::Oid | Type::Regclass) =>
        {
            Type::Oid
        }
        (Type::Xid, Type::Int4) => Type::Xid,
        (Type::Date, Type::Timestamp(_)) | (Type::Timestamp(_), Type::Date) => Type::Timestamp(None),
        (Type::Timestamptz(_), Type::Date | Type::Timestamp(_))
        | (Type::Date | Type::Timestamp(_), Type::Timestamptz(_)) => Type::Timestamptz(None),
        _ => return Err(none()),
    })
}

/// `IS [NOT] DISTINCT FROM`.
pub(super) fn distinct(left: Bound, right: Bound, negated: bool, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let (left, right, _) = operands(Comparison::Eq, left, right, binder)?;
    let (left, right) = (Box::new(left), Box::new(right));
    Ok((Expr::Distinct { left, right, negated }, Type::Bool))
}

/// `[NOT] LIKE`, `[NOT] ILIKE`.
pub(super) fn like(
    args: (Bound, Bound),
    escape: Option<Bound>,
    insensitive: bool,
    negated: bool,
    whole: &ast::Expr,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let symbol = match (insensitive, negated) {
        (false, false) => "~~",
        (false, true) => "!~~",
        (true, false) => "~~*",
        (true, true) => "!~~*",
    };
    let (mut expr, ty) = named(symbol, vec![args.0, args.1], whole, binder)?;
    if let (Some(escape), Expr::Call { args, .. }) = (escape, &mut expr) {
        let (escape, from) = settled(escape, binder)?;
        let escape = coerce(escape, &from, &Type::Text, Context::Implicit, binder)?;
        let mut all = args.to_vec();
        all.push(escape);
        *args = all.into();
    }
    Ok((expr, ty))
}
