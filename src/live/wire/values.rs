//! Values on the wire: type numbers, and the text and binary forms of parameters and results.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};
use pgwire::messages::data::{FORMAT_CODE_BINARY, FORMAT_CODE_TEXT};
use uuid::Uuid;

use crate::value::{Float, Interval, Value};
use crate::world::database::sql::cast;
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;

/// A value that can't cross the wire as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ValueError {
    /// No form of the type is known.
    #[error("the binary form of {0} is not supported; ask for its text form, or cast it to text in the statement")]
    NoBinary(String),
    /// The bytes are not such a value.
    #[error("incorrect binary data format of {0}")]
    Malformed(String),
    /// The text is not such a value.
    #[error("{0}")]
    Text(String),
    /// A type that has no name here.
    #[error("the type with number {0} is not known")]
    UnknownType(u32),
    /// Neither text nor binary.
    #[error("there is no format {0}")]
    Format(i16),
}

/// Types with the numbers of themselves and their arrays, as `pg_type` has them.
const NUMBERS: &[(Type, u32, u32)] = &[
    (Type::Bool, 16, 1000),
    (Type::Int8, 20, 1016),
    (Type::Int2, 21, 1005),
    (Type::Int4, 23, 1007),
    (Type::Text, 25, 1009),
    (Type::Oid, 26, 1028),
    (Type::Json, 114, 199),
    (Type::Float4, 700, 1021),
    (Type::Float8, 701, 1022),
    (Type::Money, 790, 791),
    (Type::Char(None), 1042, 1014),
    (Type::Varchar(None), 1043, 1015),
    (Type::Date, 1082, 1182),
    (Type::Timestamp(None), 1114, 1115),
    (Type::Timestamptz(None), 1184, 1185),
    (Type::Interval, 1186, 1187),
    (Type::Numeric(None), 1700, 1231),
    (Type::Uuid, 2950, 2951),
    (Type::Jsonb, 3802, 3807),
    (Type::Void, 2278, 0),
    (Type::Name, 19, 1003),
    (Type::Xid, 28, 1011),
];

/// The first number of types of the schema, as on a server.
const FIRST_OWN: u32 = 16_384;

/// The number of a type; rows, and names of relations, are sent as text.
pub(crate) fn number(ty: &Type) -> u32 {
    let known = |wanted: &Type| NUMBERS.iter().find(|(ty, ..)| ty.same(wanted));
    match ty {
        // An enum is named by its name: no two of a schema have the same.
        Type::Enum(of) => {
            let mixed = of.name.bytes().fold(0x811c_9dc5_u32, |mixed, byte| {
                (mixed ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            FIRST_OWN + mixed % 1_000_000_000
        }
        Type::Array(element) => known(element).map_or(1009, |(.., array)| *array),
        ty => known(ty).map_or(25, |(_, own, _)| *own),
    }
}

/// The type of a number; [`Type::Unknown`] for 0, which leaves it to the server.
pub(crate) fn type_of(number: u32) -> Result<Type, ValueError> {
    if matches!(number, 0 | 705) {
        return Ok(Type::Unknown);
    }
    for (ty, own, array) in NUMBERS {
        if *own == number {
            return Ok(ty.clone());
        }
        if *array == number {
            return Ok(Type::Array(ty.clone().into()));
        }
    }
    match number {
        // An enum: what the statement says of the parameter decides.
        FIRST_OWN.. => Ok(Type::Unknown),
        _ => Err(ValueError::UnknownType(number)),
    }
}

/// The size of a type's values in bytes, -1 where it varies.
pub(crate) fn size(ty: &Type) -> i16 {
    match ty {
        Type::Bool => 1,
        Type::Int2 => 2,
        Type::Int4 | Type::Float4 | Type::Date | Type::Oid | Type::Xid => 4,
        Type::Int8 | Type::Float8 | Type::Timestamp(_) | Type::Timestamptz(_) | Type::Money => 8,
        Type::Interval | Type::Uuid => 16,
        _ => -1,
    }
}

/// Reads a parameter.
pub(crate) fn read(bytes: Option<&[u8]>, ty: &Type, format: i16, settings: &Settings) -> Result<Value, ValueError> {
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    match format {
        FORMAT_CODE_TEXT => {
            let text = std::str::from_utf8(bytes).map_err(|error| ValueError::Text(error.to_string()))?;
            cast::input(text, ty, settings).map_err(|error| ValueError::Text(error.message.to_string()))
        }
        FORMAT_CODE_BINARY => from_binary(bytes, ty),
        format => Err(ValueError::Format(format)),
    }
}

/// Writes a value of a result; `None` is NULL.
pub(crate) fn write(value: &Value, ty: &Type, format: i16, settings: &Settings) -> Result<Option<Vec<u8>>, ValueError> {
    if value.is_null() {
        return Ok(None);
    }
    match format {
        FORMAT_CODE_TEXT => Ok(Some(cast::render(value, ty, settings).into_bytes())),
        FORMAT_CODE_BINARY => to_binary(value, ty, settings).map(Some),
        format => Err(ValueError::Format(format)),
    }
}

/// Microseconds from 1970 to 2000, from where Postgres counts.
const EPOCH: i64 = 946_684_800_000_000;
/// Days from 1970 to 2000.
const EPOCH_DAYS: i32 = 10_957;

fn from_binary(bytes: &[u8], ty: &Type) -> Result<Value, ValueError> {
    let malformed = || ValueError::Malformed(ty.plain_name());
    let text = || std::str::from_utf8(bytes).map_err(|_| malformed());
    Ok(match ty {
        Type::Bool => Value::Bool(fixed::<1>(bytes, ty)? != [0]),
        Type::Int2 => Value::Int(i16::from_be_bytes(fixed(bytes, ty)?).into()),
        Type::Int4 => Value::Int(i32::from_be_bytes(fixed(bytes, ty)?).into()),
        Type::Int8 => Value::Int(i64::from_be_bytes(fixed(bytes, ty)?)),
        Type::Oid | Type::Xid => Value::Int(u32::from_be_bytes(fixed(bytes, ty)?).into()),
        Type::Float4 => Value::Float(Float(f32::from_be_bytes(fixed(bytes, ty)?).into())),
        Type::Float8 => Value::Float(Float(f64::from_be_bytes(fixed(bytes, ty)?))),
        Type::Timestamp(_) | Type::Timestamptz(_) => match i64::from_be_bytes(fixed(bytes, ty)?) {
            infinite @ (i64::MAX | i64::MIN) => Value::Timestamp(infinite),
            micros => Value::Timestamp(micros.checked_add(EPOCH).ok_or_else(malformed)?),
        },
        Type::Date => match i32::from_be_bytes(fixed(bytes, ty)?) {
            infinite @ (i32::MAX | i32::MIN) => Value::Date(infinite),
            days => Value::Date(days.checked_add(EPOCH_DAYS).ok_or_else(malformed)?),
        },
        Type::Interval => {
            let all: [u8; 16] = fixed(bytes, ty)?;
            let (micros, rest) = all.split_at(8);
            let (days, months) = rest.split_at(4);
            Value::Interval(Interval {
                micros: i64::from_be_bytes(fixed(micros, ty)?),
                days: i32::from_be_bytes(fixed(days, ty)?),
                months: i32::from_be_bytes(fixed(months, ty)?),
            })
        }
        Type::Uuid => Value::Uuid(Uuid::from_bytes(fixed(bytes, ty)?)),
        Type::Numeric(_) => Value::Numeric(numeric_from(bytes).ok_or_else(malformed)?),
        Type::Jsonb => {
            let json = text()?.strip_prefix('\u{1}').ok_or_else(malformed)?;
            let read = cast::input(json, ty, &Settings::reports());
            read.map_err(|error| ValueError::Text(error.message.to_string()))?
        }
        Type::Array(element) => array_from(bytes, element).ok_or_else(malformed)?,
        Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name | Type::Json | Type::Enum(_) | Type::Unknown => {
            Value::text(text()?)
        }
        other => return Err(ValueError::NoBinary(other.plain_name())),
    })
}

fn fixed<const N: usize>(bytes: &[u8], ty: &Type) -> Result<[u8; N], ValueError> {
    bytes.try_into().map_err(|_| ValueError::Malformed(ty.plain_name()))
}

fn to_binary(value: &Value, ty: &Type, settings: &Settings) -> Result<Vec<u8>, ValueError> {
    let no_binary = || ValueError::NoBinary(ty.plain_name());
    Ok(match (value, ty) {
        (Value::Bool(truth), _) => vec![u8::from(*truth)],
        (Value::Int(number), Type::Int2) => (*number as i16).to_be_bytes().to_vec(),
        (Value::Int(number), Type::Int4) => (*number as i32).to_be_bytes().to_vec(),
        (Value::Int(number), Type::Oid | Type::Xid) => (*number as u32).to_be_bytes().to_vec(),
        (Value::Int(number), _) => number.to_be_bytes().to_vec(),
        (Value::Float(number), Type::Float4) => (number.0 as f32).to_be_bytes().to_vec(),
        (Value::Float(number), _) => number.0.to_be_bytes().to_vec(),
        (Value::Timestamp(infinite @ (i64::MAX | i64::MIN)), _) => infinite.to_be_bytes().to_vec(),
        (Value::Timestamp(micros), _) => (micros - EPOCH).to_be_bytes().to_vec(),
        (Value::Date(infinite @ (i32::MAX | i32::MIN)), _) => infinite.to_be_bytes().to_vec(),
        (Value::Date(days), _) => (days - EPOCH_DAYS).to_be_bytes().to_vec(),
        (Value::Interval(interval), _) => {
            let mut bytes = interval.micros.to_be_bytes().to_vec();
            bytes.extend(interval.days.to_be_bytes());
            bytes.extend(interval.months.to_be_bytes());
            bytes
        }
        (Value::Uuid(uuid), _) => uuid.as_bytes().to_vec(),
        (Value::Numeric(_), Type::Money) => return Err(no_binary()),
        (Value::Numeric(number), _) => numeric_to(number).ok_or_else(no_binary)?,
        (Value::Json(_), Type::Jsonb) => {
            let mut bytes = vec![1];
            bytes.extend(cast::render(value, ty, settings).into_bytes());
            bytes
        }
        (Value::Text(text), Type::Void) if text.is_empty() => Vec::new(),
        (Value::Text(_) | Value::Json(_), _) => cast::render(value, ty, settings).into_bytes(),
        (Value::Array(items), Type::Array(element)) => array_to(items, element, settings)?,
        _ => return Err(no_binary()),
    })
}

fn array_to(items: &[Value], element: &Type, settings: &Settings) -> Result<Vec<u8>, ValueError> {
    let mut bytes = Vec::new();
    let dimensions = i32::from(!items.is_empty());
    bytes.extend(dimensions.to_be_bytes());
    bytes.extend(i32::from(items.iter().any(Value::is_null)).to_be_bytes());
    bytes.extend(number(element).to_be_bytes());
    if !items.is_empty() {
        bytes.extend((items.len() as i32).to_be_bytes());
        bytes.extend(1_i32.to_be_bytes());
    }
    for item in items {
        match item {
            Value::Null => bytes.extend((-1_i32).to_be_bytes()),
            item => {
                let written = to_binary(item, element, settings)?;
                bytes.extend((written.len() as i32).to_be_bytes());
                bytes.extend(written);
            }
        }
    }
    Ok(bytes)
}

fn array_from(bytes: &[u8], element: &Type) -> Option<Value> {
    let mut rest = bytes;
    let mut int = || -> Option<i32> {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    let dimensions = int()?;
    let (_nulls, _type) = (int()?, int()?);
    if dimensions == 0 {
        return Some(Value::Array([].into()));
    }
    let (count, _lower) = (int()?, int()?);
    if dimensions != 1 || count < 0 {
        return None;
    }
    let mut items = Vec::new();
    for _ in 0..count {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        items.push(match i32::from_be_bytes(*head) {
            -1 => Value::Null,
            length => {
                let (item, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = tail;
                from_binary(item, element).ok()?
            }
        });
    }
    Some(Value::Array(items.into()))
}

/// `numeric` in groups of four digits, as the server sends it.
fn numeric_to(number: &BigDecimal) -> Option<Vec<u8>> {
    let (digits, scale) = number.as_bigint_and_exponent();
    let (sign, digits) = (digits.sign(), digits.magnitude().to_string());
    let shown = scale.max(0) as usize;
    let (mut whole, mut part) = match scale {
        ..=0 => (
            format!("{digits}{}", "0".repeat(scale.unsigned_abs() as usize)),
            String::new(),
        ),
        _ if digits.len() > shown => {
            let (whole, part) = digits.split_at(digits.len() - shown);
            (whole.to_owned(), part.to_owned())
        }
        _ => (String::new(), format!("{digits:0>shown$}")),
    };
    whole = whole.trim_start_matches('0').to_owned();
    while whole.len() % 4 != 0 {
        whole.insert(0, '0');
    }
    while part.len() % 4 != 0 {
        part.push('0');
    }
    let text = format!("{whole}{part}");
    let groups = text
        .as_bytes()
        .chunks(4)
        .map(|group| std::str::from_utf8(group).ok()?.parse::<i16>().ok());
    let mut groups: Vec<i16> = groups.collect::<Option<_>>()?;
    let mut weight = (whole.len() / 4) as i16 - 1;
    while groups.last() == Some(&0) {
        groups.pop();
    }
    let leading = groups.iter().take_while(|group| **group == 0).count();
    groups.drain(..leading);
    weight -= leading as i16;
    if groups.is_empty() {
        weight = 0;
    }
    let mut bytes = Vec::new();
    bytes.extend((groups.len() as i16).to_be_bytes());
    bytes.extend(weight.to_be_bytes());
    bytes.extend(if sign == Sign::Minus { 0x4000_u16 } else { 0 }.to_be_bytes());
    bytes.extend((shown as u16).to_be_bytes());
    groups.iter().for_each(|group| bytes.extend(group.to_be_bytes()));
    Some(bytes)
}

fn numeric_from(bytes: &[u8]) -> Option<BigDecimal> {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (count, weight) = (words.next()?, words.next()? as i16);
    let (sign, scale) = (words.next()?, words.next()?);
    if !matches!(sign, 0 | 0x4000) || bytes.len() != 8 + usize::from(count) * 2 {
        return None;
    }
    let mut digits = BigInt::from(0);
    for group in words {
        digits = digits * 10_000 + BigInt::from(group);
    }
    if sign == 0x4000 {
        digits = -digits;
    }
    // The last group counts 10000^(weight - count + 1).
    let exponent = 4 * (i64::from(count) - 1 - i64::from(weight));
    Some(BigDecimal::new(digits, exponent).with_scale(scale.into()))
}

#[cfg(test)]
mod tests {
    use super::{FORMAT_CODE_BINARY, FORMAT_CODE_TEXT, Settings, Type, Value, number, read, type_of, write};
    use crate::value::Interval;

    #[test]
    fn what_is_written_reads_back_in_both_forms() {
        let numeric = |text: &str| Value::Numeric(text.parse().expect("a number"));
        let cases = [
            (Value::Bool(true), Type::Bool),
            (Value::Int(-7), Type::Int2),
            (Value::Int(1 << 40), Type::Int8),
            (numeric("0"), Type::Numeric(None)),
            (numeric("-1234567.8900"), Type::Numeric(None)),
            (numeric("0.00012"), Type::Numeric(None)),
            (numeric("10000"), Type::Numeric(None)),
            (Value::text("ü"), Type::Varchar(None)),
            (Value::Timestamp(1_700_000_000_123_456), Type::Timestamptz(None)),
            (Value::Date(-3), Type::Date),
            (
                Value::Interval(Interval {
                    months: 1,
                    days: -2,
                    micros: 3,
                }),
                Type::Interval,
            ),
            (Value::Uuid(uuid::Uuid::from_u128(7)), Type::Uuid),
            (
                Value::Array([Value::Int(1), Value::Null].into()),
                Type::Array(Type::Int4.into()),
            ),
            (Value::Null, Type::Text),
        ];
        for (value, ty) in cases {
            for format in [FORMAT_CODE_TEXT, FORMAT_CODE_BINARY] {
                let written = write(&value, &ty, format, &Settings::reports()).expect("written");
                let back = read(written.as_deref(), &ty, format, &Settings::reports());
                assert_eq!(back, Ok(value.clone()), "{ty:?} in format {format}");
            }
            assert_eq!(type_of(number(&ty)), Ok(ty));
        }
    }

    #[test]
    fn bytes_that_are_no_such_value_are_an_error() {
        let read = |bytes: &[u8], ty: Type| read(Some(bytes), &ty, FORMAT_CODE_BINARY, &Settings::reports());
        for ty in [
            Type::Int4,
            Type::Uuid,
            Type::Numeric(None),
            Type::Jsonb,
            Type::Array(Type::Int4.into()),
        ] {
            assert!(read(&[1, 2, 3], ty).is_err());
        }
        assert!(type_of(142).is_err(), "xml");
    }
}
