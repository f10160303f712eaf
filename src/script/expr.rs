//! Expressions: SQL's own, over the values of the script, bound and evaluated with the code that the database model uses.

use std::sync::{Arc, Mutex, PoisonError};

use sqlparser::ast;

use super::bound::{Bound, Typed};
use super::load::unknown_function;
use crate::machine::sql::SqlError;
use crate::value::Value;
use crate::world::database::sql::bind::{bind_condition, bind_expr};
use crate::world::database::sql::cast::coerce_param;
use crate::world::database::sql::eval::{Env, eval};
use crate::world::database::sql::expr::{Expr as BoundExpr, SubqueryKind, Volatile};
use crate::world::database::sql::func::function_names;
use crate::world::database::sql::refuse::{BindError, Refused, sql_error};
use crate::world::database::sql::scope::{Binder, ParamPlace, ParamTypes, Scope};
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;
use crate::world::database::store::Stop;

/// A value of the script inside SQL or an expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Operand {
    /// Where the name's value is kept.
    pub(crate) slot: u16,
    /// The name, for messages.
    pub(crate) name: Arc<str>,
    /// The column.
    pub(crate) field: Option<Arc<str>>,
    /// The column of every row, as an array.
    pub(crate) all: bool,
}

impl Operand {
    /// Its value.
    pub(crate) fn read(&self, values: &[Option<Bound>]) -> Result<Typed, SqlError> {
        let Some(bound) = values.get(usize::from(self.slot)).and_then(Option::as_ref) else {
            return Ok(Typed::NULL);
        };
        let read = match (&self.field, self.all) {
            (field, true) => bound.column(field.as_deref()),
            (Some(field), false) => bound.field(field),
            (None, false) => Some(bound.scalar()),
        };
        read.ok_or_else(|| {
            let field = self.field.as_deref().unwrap_or_default();
            let columns = bound.columns().join(", ");
            let message = format!("`{}` has no column \"{field}\" (it has: {columns})", self.name);
            sql_error(b"42703", message)
        })
    }
}

/// An expression, compiled.
#[derive(Clone, Debug)]
pub(crate) enum Expr {
    /// A literal.
    Const(Typed),
    /// Nothing but a value of the script.
    Operand(Operand),
    /// Anything else.
    Sql(Arc<SqlExpr>),
}

/// An expression of SQL, with `$n` for the operands.
#[derive(Debug)]
pub(crate) struct SqlExpr {
    pub(crate) text: String,
    pub(crate) tree: ast::Expr,
    pub(crate) operands: Vec<Operand>,
    /// What binding made of it for the types that the operands had: a memory of a pure function, not state.
    pub(crate) bound: Mutex<Vec<Arc<Plan>>>,
}

/// Why an expression can't be evaluated.
#[derive(Debug)]
pub(crate) struct Mistake {
    /// What is wrong.
    pub(crate) message: String,
    /// The name that is meant.
    pub(crate) word: Option<String>,
    /// What to write instead.
    pub(crate) help: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Plan {
    types: Vec<Type>,
    condition: bool,
    settled: Vec<ParamPlace>,
    expr: BoundExpr,
    ty: Type,
}

impl Expr {
    /// Its value.
    pub(crate) fn value(&self, values: &[Option<Bound>]) -> Result<Typed, SqlError> {
        match self {
            Expr::Const(typed) => Ok(typed.clone()),
            Expr::Operand(operand) => operand.read(values),
            Expr::Sql(expr) => expr.value(values, false),
        }
    }

    /// Whether it holds: true, not false and not NULL. A bare result holds when it has rows and its first value is not false or NULL.
    pub(crate) fn holds(&self, values: &[Option<Bound>]) -> Result<bool, SqlError> {
        match self {
            Expr::Const(typed) => Ok(typed.holds()),
            Expr::Operand(operand) => Ok(operand.read(values)?.holds()),
            Expr::Sql(expr) => Ok(expr.value(values, true)?.value == Value::Bool(true)),
        }
    }

    /// Its value as a whole number.
    pub(crate) fn number(&self, values: &[Option<Bound>]) -> Result<i64, SqlError> {
        let typed = self.value(values)?;
        let number = match &typed.value {
            Value::Int(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Numeric(number) => number
                .to_string()
                .split('.')
                .next()
                .and_then(|whole| whole.parse().ok()),
            _ => None,
        };
        number.ok_or_else(|| sql_error(b"22P02", format!("a whole number is needed, not {}", typed.value)))
    }

    /// As text, with `$n` for operands where there are several.
    pub(crate) fn text(&self) -> String {
        match self {
            Expr::Const(typed) => typed.value.to_string(),
            Expr::Operand(operand) => match &operand.field {
                Some(field) => format!("{}.{field}", operand.name),
                None => operand.name.to_string(),
            },
            Expr::Sql(expr) => {
                let mut text = expr.text.clone();
                for (place, operand) in expr.operands.iter().enumerate().rev() {
                    let name = Expr::Operand(operand.clone()).text();
                    text = text.replace(&format!("${}", place + 1), &name);
                }
                text
            }
        }
    }

    /// The operands in it.
    pub(crate) fn operands(&self) -> &[Operand] {
        match self {
            Expr::Const(_) => &[],
            Expr::Operand(operand) => std::slice::from_ref(operand),
            Expr::Sql(expr) => &expr.operands,
        }
    }
}

impl SqlExpr {
    fn value(&self, values: &[Option<Bound>], condition: bool) -> Result<Typed, SqlError> {
        let read: Result<Vec<Typed>, SqlError> = self.operands.iter().map(|operand| operand.read(values)).collect();
        let (values, types): (Vec<Value>, Vec<Type>) = read?.into_iter().map(|typed| (typed.value, typed.ty)).unzip();
        let plan = self.plan(types, condition)?;
        let settings = Settings::default();
        let params: Result<Vec<Value>, SqlError> = plan
            .settled
            .iter()
            .map(|(number, ty)| {
                let value = values.get(usize::from(*number).wrapping_sub(1)).unwrap_or(&NOTHING);
                coerce_param(value, ty, &settings)
            })
            .collect();
        let mut env = Pure {
            params: params?,
            settings,
        };
        match eval(&plan.expr, &mut env) {
            Ok(value) => Ok(Typed {
                value,
                ty: plan.ty.clone(),
            }),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Wait | Stop::Between) => Err(sql_error(b"0A000", format!("`{}` would wait", self.text))),
        }
    }

    /// Why it can't be evaluated whatever the values of its operands are, if that is so.
    pub(crate) fn mistake(&self) -> Option<Mistake> {
        let types = vec![Type::Unknown; self.operands.len()];
        let expr = match bind(&self.tree, types, false) {
            Ok(plan) => plan.expr,
            Err(BindError::Refused(refused)) => {
                let word = unknown_function(&refused.construct);
                return Some(Mistake {
                    message: format!("{} is not supported in an expression", refused.construct),
                    word: word.map(str::to_owned),
                    help: refused.help.filter(|_| word.is_none()),
                });
            }
            // With values that have types it may be bound otherwise; a name that nothing has stays unknown.
            Err(BindError::Sql(error)) => {
                let word = error
                    .message
                    .strip_prefix("function ")
                    .and_then(|rest| rest.split('(').next());
                let word = word.filter(|word| !function_names().any(|known| known == *word));
                return (word.is_some() || self.operands.is_empty()).then(|| Mistake {
                    message: format!("{} ({})", error.message, error.code),
                    word: word.map(str::to_owned),
                    help: None,
                });
            }
        };
        let mut needs_a_statement = false;
        expr.walk(&mut |part| {
            needs_a_statement |= matches!(part, BoundExpr::Volatile { .. } | BoundExpr::User { .. });
        });
        needs_a_statement.then(|| Mistake {
            message: format!(
                "`{}` needs a statement: a function with effects can't stand in an expression",
                self.text
            ),
            word: None,
            help: Some("give its result a name first: `x := select f();`".to_owned()),
        })
    }

    fn plan(&self, types: Vec<Type>, condition: bool) -> Result<Arc<Plan>, SqlError> {
        let mut plans = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let known = plans
            .iter()
            .find(|plan| plan.condition == condition && plan.types == types);
        if let Some(plan) = known {
            return Ok(plan.clone());
        }
        let plan = Arc::new(bind(&self.tree, types, condition).map_err(|error| match error {
            BindError::Sql(error) => error,
            BindError::Refused(refused) => sql_error(
                b"0A000",
                format!("{} is not supported in `{}`", refused.construct, self.text),
            ),
        })?);
        plans.push(plan.clone());
        Ok(plan)
    }
}

fn bind(tree: &ast::Expr, types: Vec<Type>, condition: bool) -> Result<Plan, BindError> {
    let mut binder = Alone {
        params: ParamTypes::literals(types.clone()),
    };
    let scope = Scope::empty();
    let (expr, ty) = match condition {
        true => (bind_condition(tree, "IF", &scope, &mut binder)?, Type::Bool),
        false => bind_expr(tree, &scope, &mut binder)?,
    };
    let settled = binder.params.places();
    Ok(Plan {
        types,
        condition,
        settled,
        expr,
        ty,
    })
}

/// A binder without a schema: no tables, no functions of the schema.
struct Alone {
    params: ParamTypes,
}

impl Binder for Alone {
    fn params(&mut self) -> &mut ParamTypes {
        &mut self.params
    }

    fn subquery(&mut self, query: &ast::Query, _scope: &Scope<'_>) -> Result<(u32, Vec<(Arc<str>, Type)>), BindError> {
        Err(Refused::node("a sub-select in an expression", query).into())
    }
}

/// An environment without rows, transactions or effects.
struct Pure {
    params: Vec<Value>,
    settings: Settings,
}

const NOTHING: Value = Value::Null;

impl Env for Pure {
    fn column(&self, _depth: u16, _index: u16) -> &Value {
        &NOTHING
    }

    fn param(&self, number: u16) -> &Value {
        self.params.get(usize::from(number).wrapping_sub(1)).unwrap_or(&NOTHING)
    }

    fn aggregate(&self, _id: u32) -> &Value {
        &NOTHING
    }

    fn subquery(&mut self, _id: u32, _kind: &SubqueryKind) -> Result<Arc<[Arc<[Value]>]>, Stop> {
        Err(Stop::Error(sql_error(
            b"0A000",
            "a sub-select needs a statement: `x := select ...;`",
        )))
    }

    fn volatile(&mut self, _call: Volatile, _args: Vec<Value>) -> Result<Value, Stop> {
        Err(Stop::Error(sql_error(
            b"0A000",
            "a function with effects needs a statement: `x := select f();`",
        )))
    }

    fn user(&mut self, _id: u32, _args: Vec<Value>) -> Result<Value, Stop> {
        Err(Stop::Error(sql_error(
            b"0A000",
            "a function of the schema needs a statement: `x := select f();`",
        )))
    }

    fn transaction_time(&self) -> i64 {
        0
    }

    fn statement_time(&self) -> i64 {
        0
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }
}
