//! The front of the database model: SQL text, types, values, bound expressions. No storage and no plans.
//!
//! The way of an expression: [`parse`](parse::parse) splits a message into statements; [`bind`](bind::bind_expr) resolves names, types and
//! overloads of one expression against a [`Scope`](scope::Scope) and asks a [`Binder`](scope::Binder) (the planner) about sub-selects and
//! aggregates; [`eval`](eval::eval) evaluates the bound tree with what an [`Env`](eval::Env) (the executor) supplies. What is not known is
//! [`Refused`] with its place, never guessed.

pub mod aggregate;
pub mod bind;
mod calendar;
pub mod cast;
pub mod compare;
pub mod eval;
pub mod expr;
pub mod func;
mod json;
pub mod known;
mod like;
pub(crate) mod md5;
mod numeric;
mod overload;
pub mod parse;
pub mod refuse;
pub mod scope;
pub mod setof;
pub mod settings;
pub mod types;

#[cfg(test)]
mod tests;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use self::refuse::{BindError, Refused};

/// An identifier as Postgres folds it: to lower case unless quoted.
pub fn fold(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

/// The folded parts of a qualified name.
pub fn names(name: &ObjectName) -> Result<Vec<String>, BindError> {
    let parts = name.0.iter().map(|part| match part {
        ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
        ObjectNamePart::Function(_) => Err(Refused::node("computed name", name).into()),
    });
    parts.collect()
}
