//! SQL types with their modifiers, their names, and which converts to which by itself.

use std::cmp::Ordering;
use std::sync::Arc;

use sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use super::compare;
use super::refuse::{BindError, Refused};
use crate::value::Value;

/// A SQL type with its modifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// The type of a literal or parameter that the context has not settled yet.
    Unknown,
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `numeric(precision, scale)`
    Numeric(Option<(u16, i16)>),
    /// `money`: kept as a numeric with two digits, which the server's `lc_monetary = C` prints as dollars.
    Money,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `text`
    Text,
    /// `character varying(n)`
    Varchar(Option<u32>),
    /// `character(n)`
    Char(Option<u32>),
    /// `name`: as `text` here; the server's 63 byte limit is not modelled.
    Name,
    /// `timestamp(p) with time zone`
    Timestamptz(Option<u8>),
    /// `timestamp(p) without time zone`
    Timestamp(Option<u8>),
    /// `date`
    Date,
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `json`: kept as text, as in Postgres.
    Json,
    /// `jsonb`
    Jsonb,
    /// `oid`
    Oid,
    /// `xid`
    Xid,
    /// `tid`, kept as its text
    Tid,
    /// `regclass`, kept as the relation's OID
    Regclass,
    /// `void`: what `pg_advisory_lock` returns; its value prints empty and is not NULL.
    Void,
    /// An enum of the schema; values are kept as their label.
    Enum(Arc<EnumType>),
    /// A one-dimensional array.
    Array(Arc<Type>),
    /// A row; names of fields and their types.
    Record(Arc<[(Arc<str>, Type)]>),
}

/// `CREATE TYPE name AS ENUM (labels)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnumType {
    /// Its name.
    pub name: Arc<str>,
    /// Its labels, in order.
    pub labels: Vec<Arc<str>>,
}

impl Type {
    /// The plain types by every name Postgres knows them by.
    pub fn named(name: &str) -> Option<Type> {
        Some(match name {
            "bool" | "boolean" => Type::Bool,
            "int2" | "smallint" => Type::Int2,
            "int" | "int4" | "integer" => Type::Int4,
            "int8" | "bigint" => Type::Int8,
            "numeric" | "decimal" => Type::Numeric(None),
            "money" => Type::Money,
            "float4" | "real" => Type::Float4,
            "float8" | "double precision" => Type::Float8,
            "text" => Type::Text,
            "varchar" | "character varying" => Type::Varchar(None),
            "char" | "character" => Type::Char(Some(1)),
            "bpchar" => Type::Char(None),
            "name" => Type::Name,
            "timestamptz" | "timestamp with time zone" => Type::Timestamptz(None),
            "timestamp" | "timestamp without time zone" => Type::Timestamp(None),
            "date" => Type::Date,
            "interval" => Type::Interval,
            "uuid" => Type::Uuid,
            "json" => Type::Json,
            "jsonb" => Type::Jsonb,
            "oid" => Type::Oid,
            "xid" | "xid8" => Type::Xid,
            "tid" => Type::Tid,
            "regclass" => Type::Regclass,
            "void" => Type::Void,
            "unknown" => Type::Unknown,
            _ => return None,
        })
    }

    /// The type that [`Type::name`] printed; `None` for rows and enums.
    pub fn from_name(name: &str) -> Option<Type> {
        if let Some(element) = name.strip_suffix("[]") {
            return Some(Type::Array(Arc::new(Type::from_name(element)?)));
        }
        if let Some(ty) = Type::named(name) {
            return Some(ty);
        }
        let (head, rest) = name.split_once('(')?;
        let (modifier, tail) = rest.split_once(')')?;
        let mut numbers = modifier.split(',').map(str::trim);
        let first = numbers.next()?;
        Some(
            match (Type::named(&format!("{}{tail}", head.trim_end()))?, numbers.next()) {
                (Type::Numeric(_), Some(scale)) => Type::Numeric(Some((first.parse().ok()?, scale.parse().ok()?))),
                (Type::Varchar(_), None) => Type::Varchar(Some(first.parse().ok()?)),
                (Type::Char(_), None) => Type::Char(Some(first.parse().ok()?)),
                (Type::Timestamptz(_), None) => Type::Timestamptz(Some(first.parse().ok()?)),
                (Type::Timestamp(_), None) => Type::Timestamp(Some(first.parse().ok()?)),
                _ => return None,
            },
        )
    }

    /// The name as `format_type` prints it, with the modifier.
    pub fn name(&self) -> String {
        match self {
            Type::Numeric(Some((precision, scale))) => format!("numeric({precision},{scale})"),
            Type::Varchar(Some(length)) => format!("character varying({length})"),
            Type::Char(None) => "bpchar".to_owned(),
            Type::Char(Some(length)) => format!("character({length})"),
            Type::Timestamptz(Some(precision)) => format!("timestamp({precision}) with time zone"),
            Type::Timestamp(Some(precision)) => format!("timestamp({precision}) without time zone"),
            Type::Array(element) => format!("{}[]", element.name()),
            plain => plain.plain_name(),
        }
    }

    /// The name without the modifier, as error messages print it.
    pub fn plain_name(&self) -> String {
        let name = match self {
            Type::Unknown => "unknown",
            Type::Bool => "boolean",
            Type::Int2 => "smallint",
            Type::Int4 => "integer",
            Type::Int8 => "bigint",
            Type::Numeric(_) => "numeric",
            Type::Money => "money",
            Type::Float4 => "real",
            Type::Float8 => "double precision",
            Type::Text => "text",
            Type::Varchar(_) => "character varying",
            Type::Char(_) => "character",
            Type::Name => "name",
            Type::Timestamptz(_) => "timestamp with time zone",
            Type::Timestamp(_) => "timestamp without time zone",
            Type::Date => "date",
            Type::Interval => "interval",
            Type::Uuid => "uuid",
            Type::Json => "json",
            Type::Jsonb => "jsonb",
            Type::Oid => "oid",
            Type::Xid => "xid",
            Type::Tid => "tid",
            Type::Regclass => "regclass",
            Type::Void => "void",
            Type::Enum(of) => return of.name.to_string(),
            Type::Array(element) => return format!("{}[]", element.plain_name()),
            Type::Record(_) => "record",
        };
        name.to_owned()
    }

    /// The type without its modifier.
    pub fn base(&self) -> Type {
        match self {
            Type::Numeric(_) => Type::Numeric(None),
            Type::Varchar(_) => Type::Varchar(None),
            Type::Char(_) => Type::Char(None),
            Type::Timestamptz(_) => Type::Timestamptz(None),
            Type::Timestamp(_) => Type::Timestamp(None),
            Type::Array(element) => Type::Array(Arc::new(element.base())),
            other => other.clone(),
        }
    }

    /// Whether the two are the same type, whatever their modifiers.
    pub fn same(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Array(left), Type::Array(right)) => left.same(right),
            (Type::Record(_), Type::Record(_)) => true,
            (Type::Enum(left), Type::Enum(right)) => left.name == right.name,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// `smallint`, `integer` or `bigint`.
    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Int2 | Type::Int4 | Type::Int8)
    }

    /// A number of any kind.
    pub fn is_number(&self) -> bool {
        self.is_integer() || matches!(self, Type::Numeric(_) | Type::Float4 | Type::Float8)
    }

    /// `text` and its relatives.
    pub fn is_string(&self) -> bool {
        matches!(self, Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name)
    }

    /// The element type of an array.
    pub fn element(&self) -> Option<&Type> {
        match self {
            Type::Array(element) => Some(element),
            _ => None,
        }
    }

    /// An array of this type.
    pub fn array(&self) -> Type {
        Type::Array(Arc::new(self.base()))
    }

    /// How two values of this type, neither NULL, compare: the type's default B-tree order. Text compares by bytes (the `C` collation),
    /// whatever the server's locale is.
    pub fn compare(&self, left: &Value, right: &Value) -> Ordering {
        match self {
            Type::Enum(of) => of.position(left).cmp(&of.position(right)),
            Type::Char(_) => match (left, right) {
                (Value::Text(left), Value::Text(right)) => left.trim_end_matches(' ').cmp(right.trim_end_matches(' ')),
                _ => compare::values(left, right),
            },
            _ => compare::values(left, right),
        }
    }
}

impl EnumType {
    /// The place of a label among the labels.
    pub fn position(&self, value: &Value) -> Option<usize> {
        match value {
            Value::Text(label) => self.labels.iter().position(|known| known == label),
            _ => None,
        }
    }
}

/// The type that a type name of the syntax tree means; `user` answers for names that are not built in.
pub fn resolve(ty: &DataType, user: &mut dyn FnMut(&str) -> Option<Type>) -> Result<Type, BindError> {
    Ok(match ty {
        DataType::Bool | DataType::Boolean => Type::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => Type::Int2,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => Type::Int4,
        DataType::BigInt(None) | DataType::Int8(None) => Type::Int8,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info)?,
        DataType::Real | DataType::Float4 => Type::Float4,
        DataType::Float(ExactNumberInfo::Precision(1..=24)) => Type::Float4,
        DataType::Float8
        | DataType::DoublePrecision
        | DataType::Double(ExactNumberInfo::None)
        | DataType::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53)) => Type::Float8,
        DataType::Text => Type::Text,
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            Type::Varchar(characters(length, "varchar")?)
        }
        DataType::Char(length) | DataType::Character(length) => {
            Type::Char(Some(characters(length, "char")?.unwrap_or(1)))
        }
        DataType::Timestamp(precision, zone) => {
            let precision = precision.map(|digits| digits.min(6) as u8);
            match zone {
                TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => Type::Timestamp(precision),
                TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => Type::Timestamptz(precision),
            }
        }
        DataType::Date => Type::Date,
        DataType::Interval {
            fields: None,
            precision: None,
        } => Type::Interval,
        DataType::Uuid => Type::Uuid,
        DataType::JSON => Type::Json,
        DataType::JSONB => Type::Jsonb,
        DataType::Regclass => Type::Regclass,
        DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => {
            if matches!(**element, DataType::Array(_)) {
                return Err(unsupported(ty, "array of more than one dimension"));
            }
            Type::Array(Arc::new(resolve(element, user)?))
        }
        DataType::Custom(name, modifiers) => custom(ty, name, modifiers, user)?,
        _ => return Err(unsupported(ty, "type")),
    })
}

fn custom(
    ty: &DataType,
    name: &sqlparser::ast::ObjectName,
    modifiers: &[String],
    user: &mut dyn FnMut(&str) -> Option<Type>,
) -> Result<Type, BindError> {
    let mut parts: Vec<String> = super::names(name)?;
    if parts.len() == 2 && (parts[0] == "pg_catalog" || parts[0] == "public") {
        parts.remove(0);
    }
    let [plain] = parts.as_slice() else {
        return Err(unsupported(ty, "type"));
    };
    match plain.as_str() {
        "serial" | "serial4" => return Ok(Type::Int4),
        "bigserial" | "serial8" => return Ok(Type::Int8),
        "smallserial" | "serial2" => return Ok(Type::Int2),
        "char" | "time" | "timetz" | "bytea" | "inet" | "cidr" | "point" | "xml" | "tsvector" | "bit" | "varbit"
        | "int4range" | "int8range" | "tstzrange" | "tsrange" | "daterange" | "numrange" | "macaddr" => {
            return Err(unsupported(ty, "type"));
        }
        _ => {}
    }
    let found = Type::named(plain).or_else(|| user(plain));
    let Some(found) = found else {
        return Err(BindError::sql(b"42704", format!("type \"{plain}\" does not exist")));
    };
    match (found, modifiers) {
        (found, []) => Ok(found),
        (Type::Timestamptz(_), [digits]) => Ok(Type::Timestamptz(digits.parse().ok())),
        (Type::Char(_), [length]) => Ok(Type::Char(length.parse().ok())),
        _ => Err(unsupported(ty, "type modifier")),
    }
}

fn unsupported(ty: &DataType, what: &str) -> BindError {
    let place = sqlparser::tokenizer::Span::empty();
    let known = "boolean, smallint, integer, bigint, numeric, money, real, double precision, text, varchar, char, timestamptz, timestamp, \
                 date, interval, uuid, json, jsonb, enums and one-dimensional arrays of these";
    Refused::span(format!("{what} {ty}"), place, ty.to_string())
        .help(format!("the model knows {known}"))
        .into()
}

fn numeric(info: &ExactNumberInfo) -> Result<Type, BindError> {
    let (precision, scale) = match *info {
        ExactNumberInfo::None => return Ok(Type::Numeric(None)),
        ExactNumberInfo::Precision(precision) => (precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (precision, scale),
    };
    if !(1..=1000).contains(&precision) {
        let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
        return Err(BindError::sql(b"22023", message));
    }
    if !(-1000..=1000).contains(&scale) {
        let message = format!("NUMERIC scale {scale} must be between -1000 and 1000");
        return Err(BindError::sql(b"22023", message));
    }
    Ok(Type::Numeric(Some((precision as u16, scale as i16))))
}

fn characters(length: &Option<CharacterLength>, name: &str) -> Result<Option<u32>, BindError> {
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length: 0, .. }) => Err(BindError::sql(
            b"22023",
            format!("length for type {name} must be at least 1"),
        )),
        Some(CharacterLength::IntegerLength { length, .. }) if *length <= 10_485_760 => Ok(Some(*length as u32)),
        Some(_) => Err(BindError::sql(
            b"22023",
            format!("length for type {name} cannot exceed 10485760"),
        )),
    }
}
