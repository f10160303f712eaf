//! The names of result columns.

use std::sync::Arc;

use sqlparser::ast::{self, DataType};

use crate::world::database::sql::{fold, names};

/// The name that Postgres gives to a select-list item without an alias.
pub fn output_name(expr: &ast::Expr) -> Arc<str> {
    match figure(expr) {
        Some((name, _)) => name.into(),
        None => "?column?".into(),
    }
}

/// A name and whether it is a strong one (a weak one yields to the name of a cast around it).
fn figure(expr: &ast::Expr) -> Option<(String, bool)> {
    use ast::Expr as E;
    let strong = |name: &str| Some((name.to_owned(), true));
    match expr {
        E::Identifier(ident) => Some((fold(ident), true)),
        E::CompoundIdentifier(idents) => idents.last().map(|ident| (fold(ident), true)),
        E::CompoundFieldAccess { root, access_chain } => {
            let fields = access_chain.iter().rev().filter_map(|step| match step {
                ast::AccessExpr::Dot(E::Identifier(ident)) => Some(fold(ident)),
                _ => None,
            });
            match fields.into_iter().next() {
                Some(name) => Some((name, true)),
                None => figure(root),
            }
        }
        E::Nested(inner) | E::Collate { expr: inner, .. } => figure(inner),
        E::Function(call) => {
            let name = names(&call.name).ok()?.pop()?;
            Some((name, true))
        }
        E::Cast { expr, data_type, .. } => match figure(expr) {
            Some((name, true)) => Some((name, true)),
            _ => type_name(data_type).map(|name| (name, false)),
        },
        E::TypedString(typed) => type_name(&typed.data_type).map(|name| (name, false)),
        E::Interval(_) => Some(("interval".to_owned(), false)),
        E::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        E::Array(_) => strong("array"),
        E::Tuple(_) => strong("row"),
        E::Exists { .. } => strong("exists"),
        E::Extract { .. } => strong("extract"),
        E::AtTimeZone { .. } => strong("timezone"),
        E::Position { .. } => strong("position"),
        E::Substring { shorthand: true, .. } => strong("substr"),
        E::Substring { .. } => strong("substring"),
        E::Overlay { .. } => strong("overlay"),
        E::Ceil { .. } => strong("ceil"),
        E::Floor { .. } => strong("floor"),
        E::Trim { trim_where, .. } => strong(match trim_where {
            None | Some(ast::TrimWhereField::Both) => "btrim",
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
        }),
        E::Subquery(query) => match &*query.body {
            ast::SetExpr::Select(select) => match select.projection.first()? {
                ast::SelectItem::UnnamedExpr(expr) => figure(expr),
                ast::SelectItem::ExprWithAlias { alias, .. } => Some((fold(alias), true)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

/// The catalog's name of a type.
fn type_name(ty: &DataType) -> Option<String> {
    let name = match ty {
        DataType::Bool | DataType::Boolean => "bool",
        DataType::SmallInt(_) | DataType::Int2(_) => "int2",
        DataType::Int(_) | DataType::Integer(_) | DataType::Int4(_) => "int4",
        DataType::BigInt(_) | DataType::Int8(_) => "int8",
        DataType::Numeric(_) | DataType::Decimal(_) | DataType::Dec(_) => "numeric",
        DataType::Real | DataType::Float4 => "float4",
        DataType::Float8 | DataType::DoublePrecision | DataType::Double(_) | DataType::Float(_) => "float8",
        DataType::Text => "text",
        DataType::Varchar(_) | DataType::CharacterVarying(_) | DataType::CharVarying(_) => "varchar",
        DataType::Char(_) | DataType::Character(_) => "bpchar",
        DataType::Timestamp(_, zone) => match zone {
            ast::TimezoneInfo::None | ast::TimezoneInfo::WithoutTimeZone => "timestamp",
            ast::TimezoneInfo::WithTimeZone | ast::TimezoneInfo::Tz => "timestamptz",
        },
        DataType::Date => "date",
        DataType::Interval { .. } => "interval",
        DataType::Uuid => "uuid",
        DataType::JSON => "json",
        DataType::JSONB => "jsonb",
        DataType::Regclass => "regclass",
        DataType::Array(ast::ArrayElemTypeDef::SquareBracket(element, _)) => return type_name(element),
        DataType::Custom(name, _) => return names(name).ok()?.pop(),
        _ => return None,
    };
    Some(name.to_owned())
}
