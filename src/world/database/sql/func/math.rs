//! Arithmetic.

use bigdecimal::{BigDecimal, Signed, Zero};

use crate::machine::sql::SqlError;
use crate::value::{Float, Value};
use crate::world::database::hash;
use crate::world::database::sql::func::{Func, Special};
use crate::world::database::sql::numeric;
use crate::world::database::sql::overload::{Sig, sigs};
use crate::world::database::sql::refuse::sql_error;

/// An arithmetic function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Math {
    /// `+ - * / %` and unary minus on integers, bounded by the result's type.
    Int(Op, Width),
    /// The same on numeric.
    Num(Op),
    /// The same on floats.
    Float(Op),
    /// `abs` of an integer.
    AbsInt(Width),
    /// `abs(numeric)`
    AbsNum,
    /// `sign(numeric)`
    SignNum,
    /// A function of one float.
    Float1(Float1),
    /// `power(float8, float8)`, `^`
    PowerFloat,
    /// `round(numeric)`, `round(numeric, int)`
    RoundNum,
    /// `trunc(numeric)`, `trunc(numeric, int)`
    TruncNum,
    /// `ceil(numeric)`
    CeilNum,
    /// `floor(numeric)`
    FloorNum,
    /// `div(numeric, numeric)`
    DivNum,
    /// `scale(numeric)`
    Scale,
    /// `trim_scale(numeric)`
    TrimScale,
    /// `&`, `|`, `#`, `<<`, `>>`, `~`
    Bits(Bits, Width),
    /// `gcd`
    Gcd,
    /// `+x`
    Plus,
    /// `hashtext`, `hashtextextended`
    Hash,
}

/// The four operations, remainder and negation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// unary `-`
    Neg,
}

/// The width of an integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// `smallint`
    W2,
    /// `integer`
    W4,
    /// `bigint`
    W8,
}

/// Functions of one float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Float1 {
    /// `abs`
    Abs,
    /// `round`, halves to even
    Round,
    /// `trunc`
    Trunc,
    /// `ceil`
    Ceil,
    /// `floor`
    Floor,
    /// `sqrt`
    Sqrt,
    /// `sign`
    Sign,
}

/// Bit operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// `&`
    And,
    /// `|`
    Or,
    /// `#`
    Xor,
    /// `<<`
    Left,
    /// `>>`
    Right,
    /// `~`
    Not,
}

const fn int(op: Op, width: Width) -> Func {
    Func::Math(Math::Int(op, width))
}
const fn num(op: Op) -> Func {
    Func::Math(Math::Num(op))
}
const fn float(op: Op) -> Func {
    Func::Math(Math::Float(op))
}
const fn one(function: Float1) -> Func {
    Func::Math(Math::Float1(function))
}
const fn bits(op: Bits, width: Width) -> Func {
    Func::Math(Math::Bits(op, width))
}
const UNSUPPORTED: Func = Func::Special(Special::Unsupported);

macro_rules! arithmetic {
    ($($symbol:literal = $op:expr;)*) => {
        &[$(sigs! {
            $symbol(Int2, Int2) -> Int2 = int($op, Width::W2);
            $symbol(Int2, Int4) -> Int4 = int($op, Width::W4);
            $symbol(Int4, Int2) -> Int4 = int($op, Width::W4);
            $symbol(Int4, Int4) -> Int4 = int($op, Width::W4);
            $symbol(Int2, Int8) -> Int8 = int($op, Width::W8);
            $symbol(Int4, Int8) -> Int8 = int($op, Width::W8);
            $symbol(Int8, Int2) -> Int8 = int($op, Width::W8);
            $symbol(Int8, Int4) -> Int8 = int($op, Width::W8);
            $symbol(Int8, Int8) -> Int8 = int($op, Width::W8);
            $symbol(Num, Num) -> Num = num($op);
            $symbol(Float8, Float8) -> Float8 = float($op);
            $symbol(Float4, Float8) -> Float8 = float($op);
            $symbol(Float8, Float4) -> Float8 = float($op);
        }),*]
    };
}

const FOUR: &[&[Sig]] = arithmetic! {
    "+" = Op::Add;
    "-" = Op::Sub;
    "*" = Op::Mul;
    "/" = Op::Div;
};

const OTHERS: &[Sig] = sigs! {
    "%"(Int2, Int2) -> Int2 = int(Op::Rem, Width::W2);
    "%"(Int4, Int4) -> Int4 = int(Op::Rem, Width::W4);
    "%"(Int8, Int8) -> Int8 = int(Op::Rem, Width::W8);
    "%"(Num, Num) -> Num = num(Op::Rem);
    "+"(Money, Money) -> Money = num(Op::Add);
    "-"(Money, Money) -> Money = num(Op::Sub);
    "-"(Int2) -> Int2 = int(Op::Neg, Width::W2);
    "-"(Int4) -> Int4 = int(Op::Neg, Width::W4);
    "-"(Int8) -> Int8 = int(Op::Neg, Width::W8);
    "-"(Num) -> Num = num(Op::Neg);
    "-"(Float8) -> Float8 = float(Op::Neg);
    "+"(Int2) -> Int2 = Func::Math(Math::Plus);
    "+"(Int4) -> Int4 = Func::Math(Math::Plus);
    "+"(Int8) -> Int8 = Func::Math(Math::Plus);
    "+"(Num) -> Num = Func::Math(Math::Plus);
    "+"(Float8) -> Float8 = Func::Math(Math::Plus);
    "^"(Float8, Float8) -> Float8 = Func::Math(Math::PowerFloat);
    "^"(Num, Num) -> Num = UNSUPPORTED;
    "&"(Int2, Int2) -> Int2 = bits(Bits::And, Width::W2);
    "&"(Int4, Int4) -> Int4 = bits(Bits::And, Width::W4);
    "&"(Int8, Int8) -> Int8 = bits(Bits::And, Width::W8);
    "|"(Int2, Int2) -> Int2 = bits(Bits::Or, Width::W2);
    "|"(Int4, Int4) -> Int4 = bits(Bits::Or, Width::W4);
    "|"(Int8, Int8) -> Int8 = bits(Bits::Or, Width::W8);
    "#"(Int2, Int2) -> Int2 = bits(Bits::Xor, Width::W2);
    "#"(Int4, Int4) -> Int4 = bits(Bits::Xor, Width::W4);
    "#"(Int8, Int8) -> Int8 = bits(Bits::Xor, Width::W8);
    "<<"(Int2, Int4) -> Int2 = bits(Bits::Left, Width::W2);
    "<<"(Int4, Int4) -> Int4 = bits(Bits::Left, Width::W4);
    "<<"(Int8, Int4) -> Int8 = bits(Bits::Left, Width::W8);
    ">>"(Int2, Int4) -> Int2 = bits(Bits::Right, Width::W2);
    ">>"(Int4, Int4) -> Int4 = bits(Bits::Right, Width::W4);
    ">>"(Int8, Int4) -> Int8 = bits(Bits::Right, Width::W8);
    "~"(Int2) -> Int2 = bits(Bits::Not, Width::W2);
    "~"(Int4) -> Int4 = bits(Bits::Not, Width::W4);
    "~"(Int8) -> Int8 = bits(Bits::Not, Width::W8);
};

/// Operators.
pub(in crate::world::database::sql) const OPERATORS: &[&[Sig]] = &[FOUR[0], FOUR[1], FOUR[2], FOUR[3], OTHERS];

/// Functions.
pub(in crate::world::database::sql) const FUNCTIONS: &[Sig] = sigs! {
    "abs"(Int2) -> Int2 = Func::Math(Math::AbsInt(Width::W2));
    "abs"(Int4) -> Int4 = Func::Math(Math::AbsInt(Width::W4));
    "abs"(Int8) -> Int8 = Func::Math(Math::AbsInt(Width::W8));
    "abs"(Num) -> Num = Func::Math(Math::AbsNum);
    "abs"(Float8) -> Float8 = one(Float1::Abs);
    "mod"(Int2, Int2) -> Int2 = int(Op::Rem, Width::W2);
    "mod"(Int4, Int4) -> Int4 = int(Op::Rem, Width::W4);
    "mod"(Int8, Int8) -> Int8 = int(Op::Rem, Width::W8);
    "mod"(Num, Num) -> Num = num(Op::Rem);
    "div"(Num, Num) -> Num = Func::Math(Math::DivNum);
    "round"(Num) -> Num = Func::Math(Math::RoundNum);
    "round"(Num, Int4) -> Num = Func::Math(Math::RoundNum);
    "round"(Float8) -> Float8 = one(Float1::Round);
    "trunc"(Num) -> Num = Func::Math(Math::TruncNum);
    "trunc"(Num, Int4) -> Num = Func::Math(Math::TruncNum);
    "trunc"(Float8) -> Float8 = one(Float1::Trunc);
    "ceil"(Num) -> Num = Func::Math(Math::CeilNum);
    "ceil"(Float8) -> Float8 = one(Float1::Ceil);
    "ceiling"(Num) -> Num = Func::Math(Math::CeilNum);
    "ceiling"(Float8) -> Float8 = one(Float1::Ceil);
    "floor"(Num) -> Num = Func::Math(Math::FloorNum);
    "floor"(Float8) -> Float8 = one(Float1::Floor);
    "sqrt"(Float8) -> Float8 = one(Float1::Sqrt);
    "sqrt"(Num) -> Num = UNSUPPORTED;
    "sign"(Num) -> Num = Func::Math(Math::SignNum);
    "sign"(Float8) -> Float8 = one(Float1::Sign);
    "power"(Float8, Float8) -> Float8 = Func::Math(Math::PowerFloat);
    "power"(Num, Num) -> Num = UNSUPPORTED;
    "pow"(Float8, Float8) -> Float8 = Func::Math(Math::PowerFloat);
    "pow"(Num, Num) -> Num = UNSUPPORTED;
    "scale"(Num) -> Int4 = Func::Math(Math::Scale);
    "trim_scale"(Num) -> Num = Func::Math(Math::TrimScale);
    "gcd"(Int4, Int4) -> Int4 = Func::Math(Math::Gcd);
    "gcd"(Int8, Int8) -> Int8 = Func::Math(Math::Gcd);
    "hashtext"(Text) -> Int4 = Func::Math(Math::Hash);
    "hashtextextended"(Text, Int8) -> Int8 = Func::Math(Math::Hash);
};

/// Evaluates one; no argument is NULL.
pub(super) fn apply(function: Math, args: &[Value]) -> Result<Value, SqlError> {
    match function {
        Math::Int(op, width) => integer(op, width, args),
        Math::Num(op) => decimal(op, args),
        Math::Float(op) => floating(op, args),
        Math::AbsInt(width) => bounded(whole(args, 0).checked_abs(), width),
        Math::AbsNum => Ok(Value::Numeric(number(args, 0).abs())),
        Math::SignNum => Ok(Value::Numeric(BigDecimal::from(match &number(args, 0) {
            zero if zero.is_zero() => 0,
            number if number.is_negative() => -1,
            _ => 1,
        }))),
        Math::Float1(function) => float1(function, real(args, 0)),
        Math::PowerFloat => power(real(args, 0), real(args, 1)),
        Math::RoundNum => Ok(Value::Numeric(numeric::round(&number(args, 0), digits(args)))),
        Math::TruncNum => Ok(Value::Numeric(numeric::trunc(&number(args, 0), digits(args)))),
        Math::CeilNum => Ok(Value::Numeric(numeric::ceil(&number(args, 0)))),
        Math::FloorNum => Ok(Value::Numeric(numeric::floor(&number(args, 0)))),
        Math::DivNum => Ok(Value::Numeric(numeric::quotient(&number(args, 0), &number(args, 1))?)),
        Math::Scale => Ok(Value::Int(numeric::scale(&number(args, 0)))),
        Math::TrimScale => Ok(Value::Numeric(numeric::trim_scale(&number(args, 0)))),
        Math::Bits(op, width) => Ok(bitwise(op, width, args)),
        Math::Gcd => Ok(Value::Int(gcd(whole(args, 0), whole(args, 1)))),
        Math::Plus => Ok(args[0].clone()),
        Math::Hash => Ok(Value::Int(match (&args[0], args.get(1)) {
            (Value::Text(text), None) => i64::from(hash::text(text.as_bytes())),
            (Value::Text(text), Some(Value::Int(seed))) => hash::text_extended(text.as_bytes(), *seed),
            _ => 0,
        })),
    }
}

fn whole(args: &[Value], place: usize) -> i64 {
    match args.get(place) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}

fn number(args: &[Value], place: usize) -> BigDecimal {
    match args.get(place) {
        Some(Value::Numeric(number)) => number.clone(),
        Some(Value::Int(number)) => BigDecimal::from(*number),
        _ => BigDecimal::zero(),
    }
}

fn real(args: &[Value], place: usize) -> f64 {
    match args.get(place) {
        Some(Value::Float(Float(number))) => *number,
        _ => 0.0,
    }
}

fn digits(args: &[Value]) -> i64 {
    whole(args, 1).clamp(-2000, 2000)
}

fn by_zero() -> SqlError {
    sql_error(b"22012", "division by zero")
}

/// A result of integer arithmetic, or the overflow error of its type.
pub(in crate::world::database::sql) fn bounded(result: Option<i64>, width: Width) -> Result<Value, SqlError> {
    let fits = |number: &i64| match width {
        Width::W2 => i16::try_from(*number).is_ok(),
        Width::W4 => i32::try_from(*number).is_ok(),
        Width::W8 => true,
    };
    let name = match width {
        Width::W2 => "smallint",
        Width::W4 => "integer",
        Width::W8 => "bigint",
    };
    match result.filter(fits) {
        Some(number) => Ok(Value::Int(number)),
        None => Err(sql_error(b"22003", format!("{name} out of range"))),
    }
}

fn integer(op: Op, width: Width, args: &[Value]) -> Result<Value, SqlError> {
    let (left, right) = (whole(args, 0), whole(args, 1));
    let result = match op {
        Op::Add => left.checked_add(right),
        Op::Sub => left.checked_sub(right),
        Op::Mul => left.checked_mul(right),
        Op::Div | Op::Rem if right == 0 => return Err(by_zero()),
        Op::Div => left.checked_div(right),
        Op::Rem => Some(left.checked_rem(right).unwrap_or(0)),
        Op::Neg => left.checked_neg(),
    };
    bounded(result, width)
}

fn decimal(op: Op, args: &[Value]) -> Result<Value, SqlError> {
    let (left, right) = (number(args, 0), number(args, 1));
    Ok(Value::Numeric(match op {
        Op::Add => numeric::add(&left, &right),
        Op::Sub => numeric::sub(&left, &right),
        Op::Mul => numeric::mul(&left, &right),
        Op::Div => numeric::div(&left, &right)?,
        Op::Rem => numeric::rem(&left, &right)?,
        Op::Neg => -left,
    }))
}

fn floating(op: Op, args: &[Value]) -> Result<Value, SqlError> {
    let (left, right) = (real(args, 0), real(args, 1));
    let result = match op {
        Op::Add => left + right,
        Op::Sub => left - right,
        Op::Mul => left * right,
        Op::Div | Op::Rem if right == 0.0 => return Err(by_zero()),
        Op::Div => left / right,
        Op::Rem => left % right,
        Op::Neg => return Ok(Value::Float(Float(-left))),
    };
    if result.is_infinite() && left.is_finite() && right.is_finite() {
        return Err(sql_error(b"22003", "value out of range: overflow"));
    }
    if result == 0.0 && matches!(op, Op::Mul) && left != 0.0 && right != 0.0 {
        return Err(sql_error(b"22003", "value out of range: underflow"));
    }
    Ok(Value::Float(Float(result)))
}

fn float1(function: Float1, number: f64) -> Result<Value, SqlError> {
    Ok(Value::Float(Float(match function {
        Float1::Abs => number.abs(),
        Float1::Round => number.round_ties_even(),
        Float1::Trunc => number.trunc(),
        Float1::Ceil => number.ceil(),
        Float1::Floor => number.floor(),
        Float1::Sqrt if number < 0.0 => {
            return Err(sql_error(b"2201F", "cannot take square root of a negative number"));
        }
        Float1::Sqrt => number.sqrt(),
        Float1::Sign if number == 0.0 => 0.0,
        Float1::Sign => number.signum(),
    })))
}

fn power(base: f64, exponent: f64) -> Result<Value, SqlError> {
    if base == 0.0 && exponent < 0.0 {
        return Err(sql_error(b"2201F", "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(sql_error(b"2201F", message));
    }
    let result = base.powf(exponent);
    if result.is_infinite() && base.is_finite() && exponent.is_finite() {
        return Err(sql_error(b"22003", "value out of range: overflow"));
    }
    Ok(Value::Float(Float(result)))
}

fn bitwise(op: Bits, width: Width, args: &[Value]) -> Value {
    let (left, right) = (whole(args, 0), whole(args, 1));
    let (size, cut): (u32, fn(i64) -> i64) = match width {
        Width::W2 => (16, |number| i64::from(number as i16)),
        Width::W4 => (32, |number| i64::from(number as i32)),
        Width::W8 => (64, |number| number),
    };
    let shift = (right as u32) % size.max(32);
    Value::Int(cut(match op {
        Bits::And => left & right,
        Bits::Or => left | right,
        Bits::Xor => left ^ right,
        Bits::Left => left.wrapping_shl(shift),
        Bits::Right => left.wrapping_shr(shift),
        Bits::Not => !left,
    }))
}

fn gcd(left: i64, right: i64) -> i64 {
    let (mut left, mut right) = (left.unsigned_abs(), right.unsigned_abs());
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left as i64
}
