//! Evaluation where no statement runs: constants of EXECUTE, and expressions of a table over one of its rows.

use std::sync::Arc;

use sqlparser::ast;

use crate::value::Value;
use crate::world::database::exec::catalog::Catalog;
use crate::world::database::sql::bind::{bind_expr, coerce};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::eval::{Env, eval};
use crate::world::database::sql::expr::{SubqueryKind, Volatile};
use crate::world::database::sql::refuse::{BindError, not_modelled};
use crate::world::database::sql::scope::Scope;
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;
use crate::world::database::store::Stop;

use super::Planner;

static NULL: Value = Value::Null;

/// The value of an expression without columns, as a parameter of some type.
pub(crate) fn constant_of(
    catalog: &Catalog,
    expr: &ast::Expr,
    ty: &Type,
    settings: &Settings,
    time: i64,
) -> Result<Value, BindError> {
    let mut planner = Planner::bare(catalog);
    let ty = if *ty == Type::Unknown { &Type::Text } else { ty };
    let bound = planner.plain("EXECUTE parameters", |planner| {
        let (expr, from) = bind_expr(expr, &Scope::empty(), planner)?;
        coerce(expr, &from, ty, Context::Assignment, planner)
    })?;
    let row: Arc<[Value]> = Arc::new([]);
    eval(&bound, &mut RowEnv::new(&row, settings).at(time)).map_err(|stop| match stop {
        Stop::Error(error) => error.into(),
        Stop::Wait | Stop::Between => BindError::sql(b"0A000", "a parameter cannot wait"),
    })
}

/// One row, and nothing that has effects.
pub(crate) struct RowEnv<'a> {
    row: &'a [Value],
    settings: &'a Settings,
    time: i64,
}

impl<'a> RowEnv<'a> {
    /// Evaluation over a row.
    pub(crate) fn new(row: &'a Arc<[Value]>, settings: &'a Settings) -> Self {
        RowEnv { row, settings, time: 0 }
    }

    /// The same, in a transaction that began then.
    pub(crate) fn at(mut self, time: i64) -> Self {
        self.time = time;
        self
    }

    fn forbidden<T>() -> Result<T, Stop> {
        Err(Stop::Error(not_modelled(
            "an expression here that looks at more than its row",
        )))
    }
}

impl Env for RowEnv<'_> {
    fn column(&self, _depth: u16, index: u16) -> &Value {
        self.row.get(usize::from(index)).unwrap_or(&NULL)
    }

    fn param(&self, _number: u16) -> &Value {
        &NULL
    }

    fn aggregate(&self, _id: u32) -> &Value {
        &NULL
    }

    fn subquery(&mut self, _id: u32, _kind: &SubqueryKind) -> Result<Arc<[Arc<[Value]>]>, Stop> {
        Self::forbidden()
    }

    fn volatile(&mut self, _call: Volatile, _args: Vec<Value>) -> Result<Value, Stop> {
        Self::forbidden()
    }

    fn user(&mut self, _id: u32, _args: Vec<Value>) -> Result<Value, Stop> {
        Self::forbidden()
    }

    fn transaction_time(&self) -> i64 {
        self.time
    }

    fn statement_time(&self) -> i64 {
        self.time
    }

    fn settings(&self) -> &Settings {
        self.settings
    }
}
