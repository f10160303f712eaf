//! Choosing among overloads: Postgres' rules for functions and operators (documentation, chapter 10).

use std::sync::Arc;

use super::func::Func;
use super::types::Type;

/// The type of a parameter or of a result in a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum P {
    Bool,
    Int2,
    Int4,
    Int8,
    Num,
    Money,
    Float4,
    Float8,
    Text,
    Tstz,
    Ts,
    Date,
    Interval,
    Uuid,
    Json,
    Jsonb,
    Xid,
    Regclass,
    Void,
    TextArray,
    Int4Array,
    /// Any type at all; an unknown literal becomes text.
    Any,
    /// The element type of the call's arrays.
    Element,
    /// An array of the call's element type.
    Array,
    /// A row.
    Record,
}

/// One overload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sig {
    pub(super) name: &'static str,
    pub(super) args: &'static [P],
    /// The last parameter may be repeated.
    pub(super) variadic: bool,
    pub(super) result: P,
    pub(super) func: Func,
}

/// Writes a table of signatures.
macro_rules! sigs {
    ($($name:literal ( $($arg:ident),* ) $($dots:literal)? -> $result:ident = $func:expr;)*) => {
        &[$($crate::world::database::sql::overload::Sig {
            name: $name,
            args: &[$($crate::world::database::sql::overload::P::$arg),*],
            variadic: $crate::world::database::sql::overload::sigs!(@variadic $($dots)?),
            result: $crate::world::database::sql::overload::P::$result,
            func: $func,
        }),*]
    };
    (@variadic $dots:literal) => { true };
    (@variadic) => { false };
}
pub(super) use sigs;

impl P {
    /// The type it stands for; `None` for the polymorphic ones.
    pub(super) fn concrete(self) -> Option<Type> {
        Some(match self {
            P::Bool => Type::Bool,
            P::Int2 => Type::Int2,
            P::Int4 => Type::Int4,
            P::Int8 => Type::Int8,
            P::Num => Type::Numeric(None),
            P::Money => Type::Money,
            P::Float4 => Type::Float4,
            P::Float8 => Type::Float8,
            P::Text => Type::Text,
            P::Tstz => Type::Timestamptz(None),
            P::Ts => Type::Timestamp(None),
            P::Date => Type::Date,
            P::Interval => Type::Interval,
            P::Uuid => Type::Uuid,
            P::Json => Type::Json,
            P::Jsonb => Type::Jsonb,
            P::Xid => Type::Xid,
            P::Regclass => Type::Regclass,
            P::Void => Type::Void,
            P::TextArray => Type::Array(Arc::new(Type::Text)),
            P::Int4Array => Type::Array(Arc::new(Type::Int4)),
            P::Any | P::Element | P::Array | P::Record => return None,
        })
    }

    fn accepts(self, ty: &Type) -> bool {
        if *ty == Type::Unknown {
            return true;
        }
        match self {
            P::Any | P::Element => true,
            P::Array => ty.element().is_some(),
            P::Record => matches!(ty, Type::Record(_)),
            _ => self.concrete().is_some_and(|to| to.same(ty) || implicit(ty, &to)),
        }
    }

    fn exactly(self, ty: &Type) -> bool {
        match self {
            P::Array => ty.element().is_some(),
            P::Record => matches!(ty, Type::Record(_)),
            P::Any | P::Element => false,
            _ => self.concrete().is_some_and(|to| to.same(ty)),
        }
    }

    fn category(self) -> char {
        match self {
            P::Any | P::Element | P::Record => 'P',
            P::Array => 'A',
            _ => self.concrete().map_or('P', |ty| category(&ty)),
        }
    }

    fn preferred(self) -> bool {
        matches!(self, P::Bool | P::Float8 | P::Text | P::Tstz | P::Interval)
    }
}

/// Postgres' type category.
pub(super) fn category(ty: &Type) -> char {
    match ty {
        Type::Bool => 'B',
        Type::Int2
        | Type::Int4
        | Type::Int8
        | Type::Numeric(_)
        | Type::Money
        | Type::Float4
        | Type::Float8
        | Type::Oid
        | Type::Regclass => 'N',
        Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name => 'S',
        Type::Timestamptz(_) | Type::Timestamp(_) | Type::Date => 'D',
        Type::Interval => 'T',
        Type::Array(_) => 'A',
        Type::Enum(_) => 'E',
        Type::Unknown => 'X',
        Type::Record(_) | Type::Void => 'P',
        Type::Uuid | Type::Json | Type::Jsonb | Type::Xid | Type::Tid => 'U',
    }
}

/// Whether a type is the preferred one of its category.
pub(super) fn preferred(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Bool | Type::Float8 | Type::Oid | Type::Text | Type::Timestamptz(_) | Type::Interval
    )
}

/// Whether an expression of one type converts to another by itself.
pub(super) fn implicit(from: &Type, to: &Type) -> bool {
    use Type::{
        Char, Date, Float4, Float8, Int2, Int4, Int8, Name, Numeric, Oid, Regclass, Text, Timestamp, Timestamptz,
        Varchar,
    };
    match (from, to) {
        (Type::Unknown, _) => true,
        (Int2, Int4 | Int8 | Numeric(_) | Float4 | Float8 | Oid | Regclass)
        | (Int4, Int8 | Numeric(_) | Float4 | Float8 | Oid | Regclass)
        | (Int8, Numeric(_) | Float4 | Float8 | Oid | Regclass)
        | (Numeric(_), Float4 | Float8)
        | (Float4, Float8)
        | (Oid, Regclass)
        | (Regclass, Oid)
        | (Text | Varchar(_), Char(_) | Name | Regclass)
        | (Text, Varchar(_))
        | (Varchar(_) | Char(_) | Name, Text)
        | (Char(_), Varchar(_) | Name)
        | (Date, Timestamp(_) | Timestamptz(_))
        | (Timestamp(_), Timestamptz(_)) => true,
        (Type::Array(from), Type::Array(to)) => from.same(to) || implicit(from, to),
        _ => from.same(to),
    }
}

/// The outcome of a choice.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<T> {
    /// This one.
    One(T),
    /// None takes these arguments.
    None,
    /// Several do and no rule prefers one.
    Ambiguous,
}

/// Chooses the overload for these argument types. For operators an unknown literal first takes the other side's type.
pub(super) fn choose(sigs: &[&'static Sig], args: &[Type], operator: bool) -> Choice<&'static Sig> {
    if let Some(exact) = exact(sigs, args, operator) {
        return Choice::One(exact);
    }
    let fitting: Vec<&'static Sig> = sigs
        .iter()
        .copied()
        .filter(|sig| {
            arity(sig, args.len())
                && args
                    .iter()
                    .enumerate()
                    .all(|(place, arg)| param(sig, place).accepts(arg))
        })
        .collect();
    narrow(fitting, args)
}

/// The parameter at a place, the last one repeated.
pub(super) fn param(sig: &Sig, place: usize) -> P {
    match sig.args.get(place) {
        Some(param) => *param,
        None => sig.args.last().copied().unwrap_or(P::Any),
    }
}

fn arity(sig: &Sig, args: usize) -> bool {
    match sig.variadic {
        true => args >= sig.args.len(),
        false => args == sig.args.len(),
    }
}

fn exact(sigs: &[&'static Sig], args: &[Type], operator: bool) -> Option<&'static Sig> {
    let mut args = args.to_vec();
    if operator && args.len() == 2 {
        match (args[0] == Type::Unknown, args[1] == Type::Unknown) {
            (true, false) => args[0] = args[1].clone(),
            (false, true) => args[1] = args[0].clone(),
            _ => {}
        }
    }
    let matches = |sig: &&&'static Sig| {
        !sig.variadic
            && sig.args.len() == args.len()
            && sig.args.iter().zip(&args).all(|(param, arg)| param.exactly(arg))
    };
    sigs.iter().find(matches).copied()
}

fn narrow(fitting: Vec<&'static Sig>, args: &[Type]) -> Choice<&'static Sig> {
    let known = |place: &usize| args[*place] != Type::Unknown;
    let exact = |sig: &Sig| {
        let places = (0..args.len()).filter(known);
        places.filter(|place| param(sig, *place).exactly(&args[*place])).count()
    };
    let fitting = best(fitting, exact);
    if fitting.len() < 2 {
        return only(&fitting);
    }
    let preferred = |sig: &Sig| {
        let places = (0..args.len()).filter(known);
        places
            .filter(|place| {
                let param = param(sig, *place);
                param.exactly(&args[*place]) || (param.preferred() && param.category() == category(&args[*place]))
            })
            .count()
    };
    let mut fitting = best(fitting, preferred);
    if fitting.len() < 2 {
        return only(&fitting);
    }
    let unknown: Vec<usize> = (0..args.len()).filter(|place| !known(place)).collect();
    if unknown.is_empty() {
        return Choice::Ambiguous;
    }
    let mut settled = true;
    for place in &unknown {
        let strings = fitting.iter().any(|sig| param(sig, *place).category() == 'S');
        let first = param(fitting[0], *place).category();
        let wanted = match strings {
            true => 'S',
            false if fitting.iter().all(|sig| param(sig, *place).category() == first) => first,
            false => {
                settled = false;
                break;
            }
        };
        fitting.retain(|sig| param(sig, *place).category() == wanted);
        if fitting.iter().any(|sig| param(sig, *place).preferred()) {
            fitting.retain(|sig| param(sig, *place).preferred());
        }
    }
    if settled && fitting.len() < 2 {
        return only(&fitting);
    }
    let mut kinds = (0..args.len()).filter(known).map(|place| &args[place]);
    if let Some(first) = kinds.next().filter(|first| kinds.all(|kind| kind.same(first))) {
        fitting.retain(|sig| unknown.iter().all(|place| param(sig, *place).accepts(first)));
        if let [one] = fitting.as_slice() {
            return Choice::One(one);
        }
    }
    Choice::Ambiguous
}

fn best(fitting: Vec<&'static Sig>, score: impl Fn(&Sig) -> usize) -> Vec<&'static Sig> {
    let most = fitting.iter().map(|sig| score(sig)).max().unwrap_or(0);
    fitting.into_iter().filter(|sig| score(sig) == most).collect()
}

fn only(fitting: &[&'static Sig]) -> Choice<&'static Sig> {
    match fitting {
        [] => Choice::None,
        [one] => Choice::One(one),
        _ => Choice::Ambiguous,
    }
}
