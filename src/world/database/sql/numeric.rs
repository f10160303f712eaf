//! `numeric`: arithmetic with the scales that Postgres gives to results, reading and printing.

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, Signed, ToPrimitive, Zero};

use super::refuse::sql_error;
use crate::machine::sql::SqlError;

/// The digits and the display scale (never negative).
fn parts(number: &BigDecimal) -> (BigInt, i64) {
    let (digits, scale) = number.as_bigint_and_exponent();
    match scale < 0 {
        true => (digits * ten_to(scale.unsigned_abs()), 0),
        false => (digits, scale),
    }
}

fn ten_to(power: u64) -> BigInt {
    BigInt::from(10).pow(power.min(200_000) as u32)
}

/// The display scale.
pub(super) fn scale(number: &BigDecimal) -> i64 {
    number.fractional_digit_count().max(0)
}

fn aligned(left: &BigDecimal, right: &BigDecimal) -> (BigInt, BigInt, i64) {
    let ((left, left_scale), (right, right_scale)) = (parts(left), parts(right));
    let scale = left_scale.max(right_scale);
    let left = left * ten_to((scale - left_scale) as u64);
    let right = right * ten_to((scale - right_scale) as u64);
    (left, right, scale)
}

pub(super) fn add(left: &BigDecimal, right: &BigDecimal) -> BigDecimal {
    let (left, right, scale) = aligned(left, right);
    BigDecimal::new(left + right, scale)
}

pub(super) fn sub(left: &BigDecimal, right: &BigDecimal) -> BigDecimal {
    let (left, right, scale) = aligned(left, right);
    BigDecimal::new(left - right, scale)
}

pub(super) fn mul(left: &BigDecimal, right: &BigDecimal) -> BigDecimal {
    let ((left, left_scale), (right, right_scale)) = (parts(left), parts(right));
    BigDecimal::new(left * right, left_scale + right_scale)
}

/// Division with the scale of Postgres' `select_div_scale`: at least 16 significant digits.
pub(super) fn div(left: &BigDecimal, right: &BigDecimal) -> Result<BigDecimal, SqlError> {
    if right.is_zero() {
        return Err(sql_error(b"22012", "division by zero"));
    }
    let ((left_weight, left_first), (right_weight, right_first)) = (lead(left), lead(right));
    let mut weight = left_weight - right_weight;
    if left_first <= right_first {
        weight -= 1;
    }
    let result = (16 - weight * 4).max(scale(left)).max(scale(right)).clamp(0, 1000);
    let ((left, left_scale), (right, right_scale)) = (parts(left), parts(right));
    // left / 10^ls / (right / 10^rs), with `result` digits behind the point
    let shift = result + right_scale - left_scale;
    let (numerator, denominator) = match shift >= 0 {
        true => (left * ten_to(shift as u64), right),
        false => (left, right * ten_to(shift.unsigned_abs())),
    };
    Ok(BigDecimal::new(divide_rounding(numerator, denominator), result))
}

/// The weight of the first base-10000 digit and that digit, as Postgres stores them.
fn lead(number: &BigDecimal) -> (i64, i64) {
    let (digits, scale) = parts(number);
    if digits.is_zero() {
        return (0, 0);
    }
    let text = digits.magnitude().to_string();
    // decimal places before the point (may be negative)
    let before = text.len() as i64 - scale;
    let weight = (before - 1).div_euclid(4);
    let take = before - weight * 4;
    let padded: String = text.chars().chain(std::iter::repeat('0')).take(take as usize).collect();
    (weight, padded.parse().unwrap_or(0))
}

/// Integer division, halves away from zero.
fn divide_rounding(numerator: BigInt, denominator: BigInt) -> BigInt {
    let quotient = &numerator / &denominator;
    let remainder = &numerator % &denominator;
    let twice: BigInt = remainder.abs() * 2;
    if twice >= denominator.abs() {
        match numerator.sign() == denominator.sign() {
            true => quotient + 1,
            false => quotient - 1,
        }
    } else {
        quotient
    }
}

pub(super) fn rem(left: &BigDecimal, right: &BigDecimal) -> Result<BigDecimal, SqlError> {
    if right.is_zero() {
        return Err(sql_error(b"22012", "division by zero"));
    }
    let (left, right, scale) = aligned(left, right);
    Ok(BigDecimal::new(left % right, scale))
}

/// Integer division (`div`).
pub(super) fn quotient(left: &BigDecimal, right: &BigDecimal) -> Result<BigDecimal, SqlError> {
    if right.is_zero() {
        return Err(sql_error(b"22012", "division by zero"));
    }
    let (left, right, _) = aligned(left, right);
    Ok(BigDecimal::new(left / right, 0))
}

/// Rounds to `digits` behind the point (before it, when negative), halves away from zero.
pub(super) fn round(number: &BigDecimal, digits: i64) -> BigDecimal {
    let (value, scale) = parts(number);
    if digits >= scale {
        return BigDecimal::new(value * ten_to((digits - scale) as u64), digits);
    }
    let cut = divide_rounding(value, ten_to((scale - digits) as u64));
    match digits < 0 {
        true => BigDecimal::new(cut * ten_to(digits.unsigned_abs()), 0),
        false => BigDecimal::new(cut, digits),
    }
}

pub(super) fn trunc(number: &BigDecimal, digits: i64) -> BigDecimal {
    let (value, scale) = parts(number);
    if digits >= scale {
        return BigDecimal::new(value * ten_to((digits - scale) as u64), digits);
    }
    let cut = value / ten_to((scale - digits) as u64);
    match digits < 0 {
        true => BigDecimal::new(cut * ten_to(digits.unsigned_abs()), 0),
        false => BigDecimal::new(cut, digits),
    }
}

pub(super) fn floor(number: &BigDecimal) -> BigDecimal {
    let whole = trunc(number, 0);
    match whole.cmp(number) {
        Ordering::Greater => sub(&whole, &BigDecimal::from(1)),
        _ => whole,
    }
}

pub(super) fn ceil(number: &BigDecimal) -> BigDecimal {
    let whole = trunc(number, 0);
    match whole.cmp(number) {
        Ordering::Less => add(&whole, &BigDecimal::from(1)),
        _ => whole,
    }
}

/// Without zeros at the end of the fraction (`trim_scale`).
pub(super) fn trim_scale(number: &BigDecimal) -> BigDecimal {
    let (mut value, mut scale) = parts(number);
    while scale > 0 && (&value % 10u8).is_zero() {
        value /= 10;
        scale -= 1;
    }
    BigDecimal::new(value, scale)
}

/// The whole number it rounds to, if it fits 64 bits.
pub(super) fn to_i64(number: &BigDecimal) -> Option<i64> {
    parts(&round(number, 0)).0.to_i64()
}

/// Brings a number to `numeric(precision, scale)`; 22003 `numeric field overflow` when it does not fit.
pub(super) fn fit(number: &BigDecimal, precision: u16, scale: i16) -> Result<BigDecimal, SqlError> {
    let rounded = round(number, i64::from(scale));
    let (digits, own_scale) = parts(&rounded);
    let whole = digits.magnitude().to_string().len() as i64 - own_scale;
    if !digits.is_zero() && whole > i64::from(precision) - i64::from(scale) {
        return Err(sql_error(b"22003", "numeric field overflow"));
    }
    Ok(rounded)
}

pub(super) fn render(number: &BigDecimal) -> String {
    let (digits, scale) = parts(number);
    let mut text = digits.magnitude().to_string();
    let scale = scale as usize;
    if scale > 0 {
        if text.len() <= scale {
            text = format!("{}{text}", "0".repeat(scale + 1 - text.len()));
        }
        text.insert(text.len() - scale, '.');
    }
    match digits.sign() {
        Sign::Minus => format!("-{text}"),
        _ => text,
    }
}

/// Reads a number as `numeric_in` does. `NaN` and infinities are not modelled.
pub(super) fn parse(text: &str) -> Option<BigDecimal> {
    let text = text.trim_matches(|character: char| character.is_ascii_whitespace());
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i64>().ok()?),
        None => (text, 0),
    };
    let unsigned = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || exponent.abs() > 1000 {
        return None;
    }
    let mut value: BigInt = format!("{whole}{fraction}").parse().ok()?;
    if mantissa.starts_with('-') {
        value = -value;
    }
    let scale = fraction.len() as i64 - exponent;
    match scale < 0 {
        true => Some(BigDecimal::new(value * ten_to(scale.unsigned_abs()), 0)),
        false => Some(BigDecimal::new(value, scale)),
    }
}

/// A float as Postgres casts it to numeric: 15 significant digits.
pub(super) fn from_f64(number: f64) -> Option<BigDecimal> {
    let text = format!("{number:.14e}");
    let parsed = parse(&text)?;
    Some(trim_scale(&parsed))
}

pub(super) fn to_f64(number: &BigDecimal) -> f64 {
    render(number).parse().unwrap_or(f64::NAN)
}
