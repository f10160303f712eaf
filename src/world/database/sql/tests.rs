//! Expressions against the real server: `cases.tsv` holds an expression on each line with the name, the type and the text of its
//! result, or the SQLSTATE and message of its error, as PostgreSQL 15.18 gave them (TimeZone America/Los_Angeles, DateStyle
//! `Postgres, MDY`, C locale). Two names of types are not the server's: `regtype` is `text` here and `interval minute` is `interval`.

use std::sync::Arc;

use sqlparser::ast;

use super::aggregate::{Accumulator, Input};
use super::bind::{bind_output, output_name};
use super::cast::render;
use super::eval::{Env, eval};
use super::expr::{AggregateCall, SubqueryKind, Volatile};
use super::parse::{Kind, parse};
use super::refuse::BindError;
use super::scope::{Binder, ParamTypes, Scope};
use super::settings::{DateStyle, Settings};
use super::types::Type;
use crate::value::Value;
use crate::world::database::store::Stop;

#[test]
fn expressions_give_what_the_server_gives() {
    let mut wrong = Vec::new();
    for line in include_str!("cases.tsv").lines() {
        let (expr, wanted) = line.split_once('\t').expect("an expression and its result");
        let found = match outcome(expr) {
            Ok(found) => found,
            Err(BindError::Sql(error)) => format!("ERROR\t{}\t{}", error.code, error.message),
            Err(BindError::Refused(refused)) => format!("REFUSED {refused}"),
        };
        // what the model refuses is listed below; all else must be equal
        let refused = found.starts_with("REFUSED") && REFUSED.contains(&expr);
        if found != wanted && !refused {
            wrong.push(format!("{expr}\n    server {wanted}\n    model  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Expressions of `cases.tsv` that Postgres answers and the model refuses.
const REFUSED: &[&str] = &[
    "nosuch(1)",
    "@ 5",
    "'{\"a\":1}'::jsonb['a']",
    "date_trunc('minute', interval '1 hour 30 min 20 sec')",
    "'abc' similar to 'a%'",
    "'abc' ~ '^a'",
    "power(2.0, 3)",
    "'abc'::text COLLATE \"C\"",
    "oid '5' = 5",
    "5::\"char\"",
    "'a'::\"char\"",
    "1::money",
    "'x'::bytea",
    "'10:00'::time",
    "(-8) ^ 0.5",
    "|/ 25.0",
    "5 !",
];

fn outcome(text: &str) -> Result<String, BindError> {
    let statements = parse(&format!("SELECT {text}"))?;
    let Kind::Sql(statement) = &statements[0].kind else {
        panic!("{text} is not a query");
    };
    let ast::Statement::Query(query) = &**statement else {
        panic!("{text} is not a query");
    };
    let (name, ty, value) = query_value(query)?;
    let value = match value {
        Value::Null => "\\N".to_owned(),
        value => render(&value, &ty, &settings())
            .replace('\\', "\\\\")
            .replace('\n', "\\n"),
    };
    Ok(format!("{name}\t{}\t{value}", ty.name()))
}

fn query_value(query: &ast::Query) -> Result<(Arc<str>, Type, Value), BindError> {
    let ast::SetExpr::Select(select) = &*query.body else {
        panic!("not a select");
    };
    let ast::SelectItem::UnnamedExpr(item) = &select.projection[0] else {
        panic!("not one expression: {:?}", select.projection);
    };
    let mut planner = Planner::default();
    let (expr, ty) = bind_output(item, &Scope::empty(), &mut planner)?;
    let mut world = World {
        settings: settings(),
        planner: &planner,
        aggregates: Vec::new(),
    };
    for call in &planner.aggregates {
        let value = world.aggregate_of(call).map_err(stopped)?;
        world.aggregates.push(value);
    }
    let value = eval(&expr, &mut world).map_err(stopped)?;
    Ok((output_name(item), ty, value))
}

fn stopped(stop: Stop) -> BindError {
    match stop {
        Stop::Error(error) => error.into(),
        Stop::Wait | Stop::Between => panic!("nothing waits here"),
    }
}

fn settings() -> Settings {
    Settings {
        time_zone: "America/Los_Angeles".into(),
        date_style: DateStyle::Postgres,
    }
}

#[test]
fn a_parameter_takes_the_type_of_its_first_use() {
    let mut planner = Planner::default();
    let expr =
        super::parse::parse_expr("$1 + 1 = 2 AND $2 = 'x' AND $3 > now() AND $1 < 5::bigint").expect("an expression");
    bind_output(&expr, &Scope::empty(), &mut planner).expect("it binds");
    let types: Vec<String> = planner.params.types().iter().map(Type::name).collect();
    assert_eq!(types, ["integer", "text", "timestamp with time zone"]);
}

#[test]
fn names_are_found_from_the_inside_out() {
    let mut outer = Scope::empty();
    outer.push("a", [("id".into(), Type::Int4), ("n".into(), Type::Int8)]);
    let mut scope = outer.inner();
    scope.push("b", [("id".into(), Type::Int4)]);
    scope.push("c", [("id".into(), Type::Int4), ("v".into(), Type::Text)]);
    let show = |text: &str| {
        let expr = super::parse::parse_expr(text).expect("an expression");
        match bind_output(&expr, &scope, &mut Planner::default()) {
            Ok((expr, ty)) => format!("{expr:?} {}", ty.name()),
            Err(error) => error.to_string(),
        }
    };
    assert_eq!(show("v"), "Column { depth: 0, index: 2 } text");
    assert_eq!(show("C.ID"), "Column { depth: 0, index: 1 } integer");
    assert_eq!(show("n"), "Column { depth: 1, index: 1 } bigint");
    assert_eq!(show("id"), "column reference \"id\" is ambiguous (SQLSTATE 42702)");
    assert_eq!(show("x"), "column \"x\" does not exist (SQLSTATE 42703)");
    assert_eq!(show("c.x"), "column c.x does not exist (SQLSTATE 42703)");
    assert_eq!(
        show("d.x"),
        "missing FROM-clause entry for table \"d\" (SQLSTATE 42P01)"
    );
}

#[test]
fn aggregates_sort_and_deduplicate_their_input() {
    let result = |text: &str, inputs: &[i64]| {
        let mut scope = Scope::empty();
        scope.push("t", [("n".into(), Type::Int4)]);
        let mut planner = Planner::default();
        let expr = super::parse::parse_expr(text).expect("an expression");
        let (_, ty) = bind_output(&expr, &scope, &mut planner).expect("it binds");
        let mut accumulator = Accumulator::new(&planner.aggregates[0]);
        for input in inputs {
            let value = match planner.aggregates[0].arg_types.first() {
                Some(Type::Text) => Value::text(input.to_string()),
                _ => Value::Int(*input),
            };
            let args = vec![value; planner.aggregates[0].args.len()];
            let keys = vec![Value::Int(*input); planner.aggregates[0].order_by.len()];
            accumulator.add(Input { args, keys }).expect("it adds");
        }
        render(&accumulator.finish().expect("it ends"), &ty, &settings())
    };
    assert_eq!(result("array_agg(n ORDER BY n DESC)", &[2, 3, 1]), "{3,2,1}");
    assert_eq!(result("count(DISTINCT n)", &[2, 3, 2]), "2");
    assert_eq!(result("sum(DISTINCT n)", &[2, 3, 2]), "5");
    assert_eq!(result("avg(n)", &[1, 2, 2]), "1.6666666666666667");
    assert_eq!(result("max(n)", &[1, 5, 2]), "5");
    assert_eq!(result("count(*)", &[1, 5, 2]), "3");
    assert_eq!(result("sum(n)", &[]), "");
}

/// Plans sub-selects without FROM, and aggregates over one row.
#[derive(Default)]
struct Planner {
    params: ParamTypes,
    aggregates: Vec<AggregateCall>,
    subqueries: Vec<Value>,
}

impl Binder for Planner {
    fn params(&mut self) -> &mut ParamTypes {
        &mut self.params
    }

    fn subquery(&mut self, query: &ast::Query, _: &Scope<'_>) -> Result<(u32, Vec<(Arc<str>, Type)>), BindError> {
        let (name, ty, value) = query_value(query)?;
        self.subqueries.push(value);
        Ok((self.subqueries.len() as u32 - 1, vec![(name, ty)]))
    }

    fn aggregate(&mut self, call: AggregateCall) -> Result<u32, BindError> {
        self.aggregates.push(call);
        Ok(self.aggregates.len() as u32 - 1)
    }
}

struct World<'a> {
    settings: Settings,
    planner: &'a Planner,
    aggregates: Vec<Value>,
}

impl World<'_> {
    fn aggregate_of(&mut self, call: &AggregateCall) -> Result<Value, Stop> {
        let mut accumulator = Accumulator::new(call);
        let mut args = Vec::new();
        for arg in call.args.iter() {
            args.push(eval(arg, self)?);
        }
        accumulator.add(Input { args, keys: Vec::new() })?;
        Ok(accumulator.finish()?)
    }
}

impl Env for World<'_> {
    fn column(&self, _: u16, _: u16) -> &Value {
        &Value::Null
    }

    fn param(&self, _: u16) -> &Value {
        &Value::Null
    }

    fn aggregate(&self, id: u32) -> &Value {
        &self.aggregates[id as usize]
    }

    fn subquery(&mut self, id: u32, _: &SubqueryKind) -> Result<Arc<[Arc<[Value]>]>, Stop> {
        let value = self.planner.subqueries[id as usize].clone();
        Ok([Arc::from([value])].into())
    }

    fn volatile(&mut self, call: Volatile, _: Vec<Value>) -> Result<Value, Stop> {
        panic!("{call:?} in a case")
    }

    fn user(&mut self, id: u32, _: Vec<Value>) -> Result<Value, Stop> {
        panic!("function {id} in a case")
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
