//! Window functions of a select list.

use sqlparser::ast;

use crate::world::database::sql::bind::bind_output;
use crate::world::database::sql::names;
use crate::world::database::sql::refuse::{BindError, Refused};
use crate::world::database::sql::scope::Scope;

use super::Planner;
use super::items::sort_key;
use crate::world::database::exec::plan::{Window, WindowFunction};

impl Planner<'_> {
    pub(super) fn windows(&mut self, calls: Vec<ast::Function>, scope: &Scope<'_>) -> Result<Vec<Window>, BindError> {
        calls
            .iter()
            .map(|call| self.plain("window definitions", |planner| planner.window_call(call, scope)))
            .collect()
    }

    pub(super) fn window_call(&mut self, call: &ast::Function, scope: &Scope<'_>) -> Result<Window, BindError> {
        let function = match names(&call.name)?.last().map(String::as_str) {
            Some("row_number") => WindowFunction::RowNumber,
            Some("rank") => WindowFunction::Rank,
            Some("dense_rank") => WindowFunction::DenseRank,
            _ => return Err(Refused::node("window function", call).into()),
        };
        let Some(ast::WindowType::WindowSpec(spec)) = &call.over else {
            return Err(Refused::node("named window", call).into());
        };
        if spec.window_frame.is_some() || spec.window_name.is_some() {
            return Err(Refused::node("window frame", call).into());
        }
        let partition = spec
            .partition_by
            .iter()
            .map(|expr| bind_output(expr, scope, self))
            .collect::<Result<_, _>>()?;
        let order = spec.order_by.iter().map(|key| {
            let (expr, ty) = bind_output(&key.expr, scope, self)?;
            sort_key(expr, ty, key)
        });
        Ok(Window {
            function,
            partition,
            order: order.collect::<Result<_, _>>()?,
        })
    }
}
