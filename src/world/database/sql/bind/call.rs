//! Function calls.

use std::sync::Arc;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments};

use crate::value::Value;
use crate::world::database::sql::bind::coercion::settled;
use crate::world::database::sql::bind::{Bound, aggregate, bind_expr, castable, coerce, common_type, operator, unify};
use crate::world::database::sql::cast::Context;
use crate::world::database::sql::expr::{Comparison, Expr, SetCall, SubqueryKind};
use crate::world::database::sql::func::array::ArrayFunc;
use crate::world::database::sql::func::json::JsonFunc;
use crate::world::database::sql::func::text::Text;
use crate::world::database::sql::func::{self, Func, Special};
use crate::world::database::sql::known;
use crate::world::database::sql::overload::{Choice, P, Sig, choose, param};
use crate::world::database::sql::refuse::{BindError, Refused, not_modelled};
use crate::world::database::sql::scope::{Binder, Scope};
use crate::world::database::sql::setof;
use crate::world::database::sql::types::Type;

/// Binds a call.
pub(super) fn bind(call: &ast::Function, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    if call.over.is_some() {
        return binder.window(call);
    }
    if call.uses_odbc_syntax || call.null_treatment.is_some() || !matches!(call.parameters, FunctionArguments::None) {
        return Err(Refused::node("form of a call", call).into());
    }
    let mut parts = super::super::names(&call.name)?;
    let name = parts.pop().unwrap_or_default();
    if parts.iter().any(|schema| schema != "pg_catalog" && schema != "public") {
        return Err(Refused::node("function of another schema", call).into());
    }
    let list = match &call.args {
        FunctionArguments::None => return bare(&name, call),
        FunctionArguments::Subquery(query) if name == "array" => return array_subquery(query, scope, binder),
        FunctionArguments::Subquery(_) => return Err(Refused::node("sub-select as the argument", call).into()),
        FunctionArguments::List(list) => list,
    };
    if aggregate::is_known(&name) {
        return aggregate::bind(&name, call, list, scope, binder);
    }
    if list.duplicate_treatment.is_some()
        || call.filter.is_some()
        || !call.within_group.is_empty()
        || !list.clauses.is_empty()
    {
        return Err(Refused::node(format!("DISTINCT, FILTER or ORDER BY in a call of {name}"), call).into());
    }
    let mut args = Vec::with_capacity(list.args.len());
    for arg in &list.args {
        args.push(bind_expr(plain(arg)?, scope, binder)?);
    }
    match syntax(&name, args, binder)? {
        Ok(bound) => Ok(bound),
        Err(args) if setof::is_known(&name) => {
            let call = set_call(&name, args, binder)?;
            let ty = match &*call.columns {
                [(_, ty)] => ty.clone(),
                _ => Type::Record(call.columns.clone()),
            };
            Ok((Expr::SetResult(binder.set_returning(call)?), ty))
        }
        Err(args) => function(&name, args, call, binder),
    }
}

/// The expression of an argument without a name.
pub(super) fn plain(arg: &FunctionArg) -> Result<&ast::Expr, BindError> {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        other => Err(Refused::node("named argument or *", other).into()),
    }
}

/// `current_date` and its like, written without parentheses.
fn bare(name: &str, call: &ast::Function) -> Result<Bound, BindError> {
    match keyword_value(name)? {
        Some(bound) => Ok(bound),
        None => Err(Refused::node("call", call).into()),
    }
}

/// What a word means that is a call without parentheses; `None` when it is another word.
pub(super) fn keyword_value(name: &str) -> Result<Option<Bound>, BindError> {
    let now = || special(Special::Now);
    let cast = |to: Type| Expr::Cast {
        expr: Box::new(now()),
        from: Type::Timestamptz(None),
        to,
        context: Context::Explicit,
    };
    Ok(Some(match name {
        "current_timestamp" => (now(), Type::Timestamptz(None)),
        "localtimestamp" => (cast(Type::Timestamp(None)), Type::Timestamp(None)),
        "current_date" => (cast(Type::Date), Type::Date),
        "current_user" | "session_user" | "user" | "current_role" => (Expr::Const(Value::from("postgres")), Type::Name),
        "current_catalog" => (Expr::Const(Value::from("postgres")), Type::Name),
        "current_schema" => (Expr::Const(Value::from("public")), Type::Name),
        "current_time" | "localtime" => return Err(not_modelled(name).into()),
        _ => return Ok(None),
    }))
}

/// `current_timestamp(3)` and its like.
fn rounded(name: &str, digits: &Expr) -> Result<Bound, BindError> {
    let Expr::Const(Value::Int(digits)) = digits else {
        return Err(BindError::sql(b"42601", "syntax error at or near \"(\""));
    };
    // Like the server, which warns and takes the most that there is.
    let digits = Some((*digits).clamp(0, 6) as u8);
    let to = match name {
        "localtimestamp" => Type::Timestamp(digits),
        _ => Type::Timestamptz(digits),
    };
    let expr = Expr::Cast {
        expr: Box::new(special(Special::Now)),
        from: Type::Timestamptz(None),
        to: to.clone(),
        context: Context::Explicit,
    };
    Ok((expr, to.base()))
}

fn special(which: Special) -> Expr {
    Expr::Call {
        func: Func::Special(which),
        args: Box::new([]),
    }
}

fn array_subquery(query: &ast::Query, scope: &Scope<'_>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let (id, columns) = binder.subquery(query, scope)?;
    let [(_, ty)] = columns.as_slice() else {
        return Err(BindError::sql(b"42601", "subquery must return only one column"));
    };
    let kind = SubqueryKind::Array;
    Ok((Expr::Subquery { id, kind }, ty.array()))
}

/// Calls that have rules of their own; the arguments come back when it is none of them.
fn syntax(name: &str, args: Vec<Bound>, binder: &mut dyn Binder) -> Result<Result<Bound, Vec<Bound>>, BindError> {
    Ok(Ok(match (name, args.len()) {
        ("coalesce", 1..) => {
            let (args, ty) = unify(args, "COALESCE", binder)?;
            (Expr::Coalesce(args.into()), ty)
        }
        ("greatest" | "least", 1..) => {
            let greatest = name == "greatest";
            let what = if greatest { "GREATEST" } else { "LEAST" };
            let (args, ty) = unify(args, what, binder)?;
            operator::comparable(Comparison::Lt, &ty, &ty)?;
            let args = args.into();
            (Expr::Extreme { greatest, args }, ty)
        }
        ("nullif", 2) => nullif(args, binder)?,
        ("row", _) => row(args, binder)?,
        ("current_timestamp" | "localtimestamp", 1) => rounded(name, &args[0].0)?,
        ("pg_typeof", 1) => {
            // the server's type is regtype, which prints alike
            let ty = args[0].1.plain_name();
            (Expr::Const(Value::from(ty)), Type::Text)
        }
        ("current_database", 0) => (Expr::Const(Value::from("postgres")), Type::Name),
        ("current_schema", 0) => (Expr::Const(Value::from("public")), Type::Name),
        ("age", 1) => {
            let mut args = args;
            let today = special(Special::Now);
            let date = Expr::Cast {
                expr: Box::new(today),
                from: Type::Timestamptz(None),
                to: Type::Date,
                context: Context::Explicit,
            };
            let to = match &args[0].1 {
                Type::Timestamp(_) | Type::Date => Type::Timestamp(None),
                _ => Type::Timestamptz(None),
            };
            let midnight = coerce(date, &Type::Date, &to, Context::Implicit, binder)?;
            args.insert(0, (midnight, to));
            return Ok(Err(args));
        }
        _ => return Ok(Err(args)),
    }))
}

fn nullif(args: Vec<Bound>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let mut args = args.into_iter();
    let (Some(left), Some(right)) = (args.next(), args.next()) else {
        return Err(BindError::sql(b"42883", "function nullif() does not exist"));
    };
    let shared = operator::comparable(Comparison::Eq, &left.1, &right.1)?;
    // the result is the left side as the comparison takes it
    let (value, ty) = match (&left.1, &shared) {
        (from, _) if from.is_integer() && shared.is_integer() => left.clone(),
        (Type::Varchar(_) | Type::Char(_) | Type::Name, _) => left.clone(),
        (from, shared) => {
            let value = coerce(left.0.clone(), from, shared, Context::Implicit, binder)?;
            (value, shared.clone())
        }
    };
    let equal = operator::compare(Comparison::Eq, left, right, binder)?;
    let expr = Expr::NullIf {
        value: Box::new(value),
        equal: Box::new(equal),
    };
    Ok((expr, ty))
}

/// `ROW(...)`: fields are called f1, f2, ...
pub(super) fn row(args: Vec<Bound>, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let mut fields = Vec::new();
    let mut types: Vec<(Arc<str>, Type)> = Vec::new();
    for (place, (expr, ty)) in args.into_iter().enumerate() {
        let _ = &binder;
        fields.push(expr);
        types.push((format!("f{}", place + 1).into(), ty));
    }
    Ok((Expr::Row(fields.into()), Type::Record(types.into())))
}

/// A call that the tables or the schema know.
fn function(name: &str, args: Vec<Bound>, call: &ast::Function, binder: &mut dyn Binder) -> Result<Bound, BindError> {
    let types = super::types(&args);
    let sigs = func::functions(name);
    let spelled = || {
        let types: Vec<String> = types.iter().map(Type::plain_name).collect();
        format!("function {name}({})", types.join(", "))
    };
    match choose(&sigs, &types, false) {
        // The server would take another overload, which may do something else.
        Choice::One(sig)
            if !is_exact(sig, &types) && !BLANKS.contains(&name) && known::has_exact_function(name, &types) =>
        {
            return Err(Refused::node(spelled(), call).into());
        }
        Choice::One(sig) => return apply(sig, args, &mut || Refused::node(spelled(), call), binder),
        Choice::Ambiguous => return Err(BindError::sql(b"42725", format!("{} is not unique", spelled()))),
        Choice::None => {}
    }
    if let Some(user) = binder.function(name, &types) {
        let mut bound = Vec::new();
        for ((expr, from), to) in args.into_iter().zip(&user.args) {
            bound.push(coerce(expr, &from, to, Context::Implicit, binder)?);
        }
        let args = bound.into();
        return Ok((Expr::User { id: user.id, args }, user.result));
    }
    if let (Some(ty), [(expr, from)]) = (Type::named(name), args.as_slice())
        && (*from == Type::Unknown || castable(from, &ty, Context::Explicit))
    {
        let expr = coerce(expr.clone(), from, &ty.base(), Context::Explicit, binder)?;
        return Ok((expr, ty.base()));
    }
    Err(unknown(name, &types, call))
}

/// Functions that leave out the blanks at the end of a `char(n)`, as its conversion to text does.
const BLANKS: &[&str] = &["char_length", "character_length", "length"];

/// Whether every argument has the very type of its parameter.
fn is_exact(sig: &Sig, types: &[Type]) -> bool {
    let mut places = types.iter().enumerate();
    places.all(|(place, ty)| match param(sig, place).concrete() {
        Some(to) => to.same(ty),
        None => true,
    })
}

/// A call that the model has no overload for: refused if the server has one, or may have, and else the server's error.
fn unknown(name: &str, types: &[Type], call: &ast::Function) -> BindError {
    let spelled: Vec<String> = types.iter().map(Type::plain_name).collect();
    let spelled = format!("function {name}({})", spelled.join(", "));
    if known::is_extension_function(name) {
        return Refused::node(spelled, call)
            .help("it is one of an extension, and the model has none")
            .into();
    }
    if known::may_be_function(name, types) || is_type_name(name) {
        return Refused::node(spelled, call)
            .help("the server has it, the model does not")
            .into();
    }
    BindError::sql(b"42883", format!("{spelled} does not exist"))
}

/// A type's name can be written like a function: `date(x)`.
fn is_type_name(name: &str) -> bool {
    known::is_type(name) || Type::named(name).is_some()
}

/// Applies a chosen overload: converts the arguments and builds the node.
pub(super) fn apply(
    sig: &'static Sig,
    args: Vec<Bound>,
    refuse: &mut dyn FnMut() -> Refused,
    binder: &mut dyn Binder,
) -> Result<Bound, BindError> {
    let element = element_type(sig, &args)?;
    let result = match (sig.result, &element) {
        (P::Array, Some(element)) => element.array(),
        (P::Element, Some(element)) => element.clone(),
        (result, _) => result.concrete().unwrap_or(Type::Text),
    };
    let mut bound = Vec::with_capacity(args.len());
    for (place, (expr, from)) in args.into_iter().enumerate() {
        bound.push(argument(sig, place, expr, &from, element.as_ref(), binder)?);
    }
    let args: Box<[Expr]> = bound.into();
    let expr = match sig.func {
        Func::Special(Special::Volatile(call)) => Expr::Volatile { call, args },
        Func::Special(Special::ToJson) => args.into_iter().next().unwrap_or(Expr::NULL),
        Func::Special(Special::Unsupported) => return Err(refuse().into()),
        func => Expr::Call { func, args },
    };
    Ok((expr, result))
}

/// One argument, converted to what the function takes.
fn argument(
    sig: &Sig,
    place: usize,
    expr: Expr,
    from: &Type,
    element: Option<&Type>,
    binder: &mut dyn Binder,
) -> Result<Expr, BindError> {
    let to_json = |expr: Expr, to: Type, binder: &mut dyn Binder| {
        let (expr, from) = settled((expr, from.clone()), binder)?;
        coerce(expr, &from, &to, Context::Json, binder)
    };
    match (sig.func, param(sig, place)) {
        (Func::Special(Special::ToJson), _) if sig.result == P::Json && has_jsonb(from) => {
            // `json` keeps the text of what it is made of, blanks and all.
            Err(not_modelled(format!("{} of jsonb (use the jsonb form)", sig.name)).into())
        }
        (Func::Special(Special::ToJson), _) => {
            let to = if sig.result == P::Json { Type::Json } else { Type::Jsonb };
            to_json(expr, to, binder)
        }
        (Func::Json(JsonFunc::BuildArray), _) => to_json(expr, Type::Jsonb, binder),
        (Func::Json(JsonFunc::BuildObject), _) if place % 2 == 1 => to_json(expr, Type::Jsonb, binder),
        (Func::Json(JsonFunc::BuildObject) | Func::Text(Text::ConcatAll | Text::ConcatWs | Text::Format), P::Any) => {
            let (expr, from) = settled((expr, from.clone()), binder)?;
            coerce(expr, &from, &Type::Text, Context::Output, binder)
        }
        (Func::Array(ArrayFunc::ToString), P::Array) => {
            coerce(expr, from, &Type::Array(Arc::new(Type::Text)), Context::Output, binder)
        }
        (_, P::Any) => Ok(settled((expr, from.clone()), binder)?.0),
        (_, P::Record) => Ok(expr),
        (_, P::Element) => match element {
            Some(element) => coerce(expr, from, element, Context::Implicit, binder),
            None => Ok(expr),
        },
        (_, P::Array) => match element {
            Some(element) => coerce(expr, from, &element.array(), Context::Implicit, binder),
            None => Ok(expr),
        },
        (_, other) => match other.concrete() {
            Some(to) => coerce(expr, from, &to, Context::Implicit, binder),
            None => Ok(expr),
        },
    }
}

/// Whether there is jsonb in a type.
fn has_jsonb(ty: &Type) -> bool {
    match ty {
        Type::Jsonb => true,
        Type::Array(element) => has_jsonb(element),
        Type::Record(fields) => fields.iter().any(|(_, ty)| has_jsonb(ty)),
        _ => false,
    }
}

/// The common element type of the arrays and elements of a call.
fn element_type(sig: &Sig, args: &[Bound]) -> Result<Option<Type>, BindError> {
    let mut types = Vec::new();
    for (place, (_, ty)) in args.iter().enumerate() {
        match (param(sig, place), ty) {
            (P::Array | P::Element, Type::Unknown) => {}
            (P::Array, Type::Array(element)) => types.push((**element).clone()),
            (P::Element, ty) => types.push(ty.clone()),
            _ => {}
        }
    }
    match types.as_slice() {
        [] if sig.args.contains(&P::Array) => {
            let message = "could not determine polymorphic type because input has type unknown";
            Err(BindError::sql(b"42804", message))
        }
        [] => Ok(None),
        types => Ok(Some(common_type(types, "ARRAY")?.base())),
    }
}

/// A call of a set-returning function.
pub(super) fn set_call(name: &str, args: Vec<Bound>, binder: &mut dyn Binder) -> Result<SetCall, BindError> {
    let types = super::types(&args);
    let spelled = || {
        let types: Vec<String> = types.iter().map(Type::plain_name).collect();
        format!("function {name}({})", types.join(", "))
    };
    let sigs: Vec<&'static Sig> = setof::SIGNATURES.iter().filter(|sig| sig.name == name).collect();
    let sig = match choose(&sigs, &types, false) {
        Choice::One(sig) => sig,
        Choice::None if known::may_be_function(name, &types) => return Err(not_modelled(spelled()).into()),
        Choice::None => return Err(BindError::sql(b"42883", format!("{} does not exist", spelled()))),
        Choice::Ambiguous => return Err(BindError::sql(b"42725", format!("{} is not unique", spelled()))),
    };
    let element = element_type(sig, &args)?;
    let mut bound = Vec::new();
    for (place, (expr, from)) in args.into_iter().enumerate() {
        bound.push(argument(sig, place, expr, &from, element.as_ref(), binder)?);
    }
    let result = match (sig.result, element) {
        (P::Element, Some(element)) => element,
        (result, _) => result.concrete().unwrap_or(Type::Text),
    };
    let Some((function, columns)) = setof::describe(name, &result) else {
        return Err(BindError::sql(b"42883", format!("{} does not exist", spelled())));
    };
    Ok(SetCall {
        function,
        args: bound.into(),
        columns,
    })
}

/// `unnest(a, b)` in FROM: the arrays side by side, the shorter ones filled up with NULL.
pub(super) fn unnest_several(args: Vec<Bound>, binder: &mut dyn Binder) -> Result<SetCall, BindError> {
    let mut calls = Vec::with_capacity(args.len());
    for arg in args {
        calls.push(set_call("unnest", vec![arg], binder)?);
    }
    Ok(SetCall {
        function: setof::SetFunction::UnnestSeveral,
        columns: calls.iter().flat_map(|call| call.columns.iter().cloned()).collect(),
        args: calls.into_iter().flat_map(|call| call.args.into_vec()).collect(),
    })
}
