//! Functions and operators on text.

use std::fmt::Write as _;

use crate::machine::sql::SqlError;
use crate::value::Value;
use crate::world::database::sql::func::{Func, Special};
use crate::world::database::sql::overload::{Sig, sigs};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::sql::{like, md5};

/// A function on text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the SQL function of its name; see the table below")]
pub enum Text {
    Concat,
    ConcatAll,
    ConcatWs,
    Lower,
    Upper,
    Initcap,
    Length,
    OctetLength,
    Substring,
    Left,
    Right,
    Trim { left: bool, right: bool },
    Replace,
    Translate,
    Position,
    SplitPart,
    Repeat,
    Reverse,
    Pad { right: bool },
    StartsWith,
    Chr,
    Ascii,
    Md5,
    Format,
    QuoteIdent,
    QuoteLiteral,
    QuoteNullable,
    ToHex,
    Overlay,
    Like { insensitive: bool, negated: bool },
}

const fn text(function: Text) -> Func {
    Func::Text(function)
}
const BOTH: Func = text(Text::Trim {
    left: true,
    right: true,
});
const LEADING: Func = text(Text::Trim {
    left: true,
    right: false,
});
const TRAILING: Func = text(Text::Trim {
    left: false,
    right: true,
});
const UNSUPPORTED: Func = Func::Special(Special::Unsupported);

const fn matching(insensitive: bool, negated: bool) -> Func {
    text(Text::Like { insensitive, negated })
}

/// Operators.
pub(in crate::world::database::sql) const OPERATORS: &[&[Sig]] = &[sigs! {
    "||"(Text, Text) -> Text = text(Text::Concat);
    "^@"(Text, Text) -> Bool = text(Text::StartsWith);
    "~~"(Text, Text) -> Bool = matching(false, false);
    "!~~"(Text, Text) -> Bool = matching(false, true);
    "~~*"(Text, Text) -> Bool = matching(true, false);
    "!~~*"(Text, Text) -> Bool = matching(true, true);
    "~"(Text, Text) -> Bool = UNSUPPORTED;
    "!~"(Text, Text) -> Bool = UNSUPPORTED;
    "~*"(Text, Text) -> Bool = UNSUPPORTED;
    "!~*"(Text, Text) -> Bool = UNSUPPORTED;
}];

/// Functions. Arguments of `concat`, `concat_ws` and `format` arrive as their output text.
pub(in crate::world::database::sql) const FUNCTIONS: &[Sig] = sigs! {
    "lower"(Text) -> Text = text(Text::Lower);
    "upper"(Text) -> Text = text(Text::Upper);
    "initcap"(Text) -> Text = text(Text::Initcap);
    "length"(Text) -> Int4 = text(Text::Length);
    "char_length"(Text) -> Int4 = text(Text::Length);
    "character_length"(Text) -> Int4 = text(Text::Length);
    "octet_length"(Text) -> Int4 = text(Text::OctetLength);
    "substr"(Text, Int4) -> Text = text(Text::Substring);
    "substr"(Text, Int4, Int4) -> Text = text(Text::Substring);
    "substring"(Text, Int4) -> Text = text(Text::Substring);
    "substring"(Text, Int4, Int4) -> Text = text(Text::Substring);
    "substring"(Text, Text) -> Text = UNSUPPORTED;
    "left"(Text, Int4) -> Text = text(Text::Left);
    "right"(Text, Int4) -> Text = text(Text::Right);
    "btrim"(Text) -> Text = BOTH;
    "btrim"(Text, Text) -> Text = BOTH;
    "ltrim"(Text) -> Text = LEADING;
    "ltrim"(Text, Text) -> Text = LEADING;
    "rtrim"(Text) -> Text = TRAILING;
    "rtrim"(Text, Text) -> Text = TRAILING;
    "replace"(Text, Text, Text) -> Text = text(Text::Replace);
    "translate"(Text, Text, Text) -> Text = text(Text::Translate);
    "position"(Text, Text) -> Int4 = text(Text::Position);
    "strpos"(Text, Text) -> Int4 = text(Text::Position);
    "split_part"(Text, Text, Int4) -> Text = text(Text::SplitPart);
    "repeat"(Text, Int4) -> Text = text(Text::Repeat);
    "reverse"(Text) -> Text = text(Text::Reverse);
    "lpad"(Text, Int4) -> Text = text(Text::Pad { right: false });
    "lpad"(Text, Int4, Text) -> Text = text(Text::Pad { right: false });
    "rpad"(Text, Int4) -> Text = text(Text::Pad { right: true });
    "rpad"(Text, Int4, Text) -> Text = text(Text::Pad { right: true });
    "starts_with"(Text, Text) -> Bool = text(Text::StartsWith);
    "chr"(Int4) -> Text = text(Text::Chr);
    "ascii"(Text) -> Int4 = text(Text::Ascii);
    "md5"(Text) -> Text = text(Text::Md5);
    "concat"(Any) "..." -> Text = text(Text::ConcatAll);
    "concat_ws"(Text, Any) "..." -> Text = text(Text::ConcatWs);
    "format"(Text) -> Text = text(Text::Format);
    "format"(Text, Any) "..." -> Text = text(Text::Format);
    "quote_ident"(Text) -> Text = text(Text::QuoteIdent);
    "quote_literal"(Text) -> Text = text(Text::QuoteLiteral);
    "quote_nullable"(Text) -> Text = text(Text::QuoteNullable);
    "to_hex"(Int4) -> Text = text(Text::ToHex);
    "to_hex"(Int8) -> Text = text(Text::ToHex);
    "overlay"(Text, Text, Int4) -> Text = text(Text::Overlay);
    "overlay"(Text, Text, Int4, Int4) -> Text = text(Text::Overlay);
    "regexp_replace"(Text, Text, Text) -> Text = UNSUPPORTED;
    "regexp_match"(Text, Text) -> TextArray = UNSUPPORTED;
    "to_char"(Num, Text) -> Text = UNSUPPORTED;
    "to_char"(Int4, Text) -> Text = UNSUPPORTED;
    "to_char"(Int8, Text) -> Text = UNSUPPORTED;
    "to_char"(Float8, Text) -> Text = UNSUPPORTED;
    "to_number"(Text, Text) -> Num = UNSUPPORTED;
};

impl Text {
    pub(super) fn strict(self) -> bool {
        !matches!(
            self,
            Text::ConcatAll | Text::ConcatWs | Text::Format | Text::QuoteNullable
        )
    }
}

/// Evaluates one.
pub(super) fn apply(function: Text, args: &[Value]) -> Result<Value, SqlError> {
    let first = string(args, 0);
    Ok(match function {
        Text::Concat => Value::text(format!("{first}{}", string(args, 1))),
        Text::ConcatAll => Value::text(args.iter().map(plain).collect::<String>()),
        Text::ConcatWs if args[0].is_null() => Value::Null,
        Text::ConcatWs => {
            let words: Vec<&str> = args[1..].iter().filter(|arg| !arg.is_null()).map(plain).collect();
            Value::text(words.join(first))
        }
        Text::Lower => Value::text(first.to_lowercase()),
        Text::Upper => Value::text(first.to_uppercase()),
        Text::Initcap => Value::text(initcap(first)),
        Text::Length => Value::Int(first.chars().count() as i64),
        Text::OctetLength => Value::Int(first.len() as i64),
        Text::Substring => substring(args)?,
        Text::Left => Value::text(side(first, int(args, 1), false)),
        Text::Right => Value::text(side(first, int(args, 1), true)),
        Text::Trim { left, right } => Value::text(trim(args, left, right)),
        Text::Replace if string(args, 1).is_empty() => args[0].clone(),
        Text::Replace => Value::text(first.replace(string(args, 1), string(args, 2))),
        Text::Translate => Value::text(translate(first, string(args, 1), string(args, 2))),
        Text::Position => Value::Int(match first.find(string(args, 1)) {
            Some(at) => first[..at].chars().count() as i64 + 1,
            None => 0,
        }),
        Text::SplitPart => split_part(args)?,
        Text::Repeat => Value::text(first.repeat(int(args, 1).clamp(0, 1_000_000) as usize)),
        Text::Reverse => Value::text(first.chars().rev().collect::<String>()),
        Text::Pad { right } => Value::text(pad(args, right)),
        Text::StartsWith => Value::Bool(first.starts_with(string(args, 1))),
        Text::Chr => chr(int(args, 0))?,
        Text::Ascii => Value::Int(
            first
                .chars()
                .next()
                .map_or(0, |character| i64::from(u32::from(character))),
        ),
        Text::Md5 => Value::text(md5::hex(first.as_bytes())),
        Text::Format => return format(args),
        Text::QuoteIdent => Value::text(quote_ident(first)),
        Text::QuoteLiteral => Value::text(quote_literal(first)),
        Text::QuoteNullable if args[0].is_null() => Value::text("NULL"),
        Text::QuoteNullable => Value::text(quote_literal(first)),
        Text::ToHex => Value::text(format!("{:x}", int(args, 0))),
        Text::Overlay => overlay(args)?,
        Text::Like { insensitive, negated } => {
            let escape = args.get(2).map_or(Some('\\'), |escape| plain(escape).chars().next());
            Value::Bool(like::matches(first, string(args, 1), escape, insensitive)? != negated)
        }
    })
}

fn plain(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

fn string(args: &[Value], place: usize) -> &str {
    args.get(place).map_or("", plain)
}

fn int(args: &[Value], place: usize) -> i64 {
    match args.get(place) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    }
}

fn initcap(text: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match inside {
            true => out.extend(character.to_lowercase()),
            false => out.extend(character.to_uppercase()),
        }
        inside = character.is_alphanumeric();
    }
    out
}

fn substring(args: &[Value]) -> Result<Value, SqlError> {
    let start = int(args, 1);
    let end = match args.len() {
        3 if int(args, 2) < 0 => return Err(sql_error(b"22011", "negative substring length not allowed")),
        3 => start.saturating_add(int(args, 2)),
        _ => i64::MAX,
    };
    let skip = (start.max(1) - 1) as usize;
    let take = (end.max(1) - 1) as usize;
    let text: String = string(args, 0).chars().take(take).skip(skip).collect();
    Ok(Value::text(text))
}

fn side(text: &str, count: i64, right: bool) -> String {
    let length = text.chars().count() as i64;
    let count = if count < 0 {
        (length + count).max(0)
    } else {
        count.min(length)
    };
    match right {
        true => text.chars().skip((length - count) as usize).collect(),
        false => text.chars().take(count as usize).collect(),
    }
}

fn trim(args: &[Value], left: bool, right: bool) -> String {
    let set = if args.len() > 1 { string(args, 1) } else { " " };
    let mut text = string(args, 0);
    if left {
        text = text.trim_start_matches(|character| set.contains(character));
    }
    if right {
        text = text.trim_end_matches(|character| set.contains(character));
    }
    text.to_owned()
}

fn translate(text: &str, from: &str, to: &str) -> String {
    let to: Vec<char> = to.chars().collect();
    let replace = |character: char| match from.chars().position(|known| known == character) {
        Some(place) => to.get(place).copied(),
        None => Some(character),
    };
    text.chars().filter_map(replace).collect()
}

fn split_part(args: &[Value]) -> Result<Value, SqlError> {
    let (text, separator, field) = (string(args, 0), string(args, 1), int(args, 2));
    let parts: Vec<&str> = match separator {
        "" => vec![text],
        _ => text.split(separator).collect(),
    };
    let place = match field {
        0 => return Err(sql_error(b"22023", "field position must not be zero")),
        1.. => field - 1,
        _ => parts.len() as i64 + field,
    };
    let part = usize::try_from(place).ok().and_then(|place| parts.get(place));
    Ok(Value::text(part.copied().unwrap_or("")))
}

fn pad(args: &[Value], right: bool) -> String {
    let text = string(args, 0);
    let wanted = int(args, 1).clamp(0, 1_000_000) as usize;
    let fill = if args.len() > 2 { string(args, 2) } else { " " };
    let length = text.chars().count();
    if wanted <= length || fill.is_empty() {
        return text.chars().take(wanted).collect();
    }
    let padding: String = fill.chars().cycle().take(wanted - length).collect();
    match right {
        true => format!("{text}{padding}"),
        false => format!("{padding}{text}"),
    }
}

fn chr(code: i64) -> Result<Value, SqlError> {
    if code == 0 {
        return Err(sql_error(b"54000", "null character not permitted"));
    }
    match u32::try_from(code).ok().and_then(char::from_u32) {
        Some(character) => Ok(Value::text(character.to_string())),
        None => Err(sql_error(
            b"54000",
            format!("requested character too large for encoding: {code}"),
        )),
    }
}

fn overlay(args: &[Value]) -> Result<Value, SqlError> {
    let (text, with, from) = (string(args, 0), string(args, 1), int(args, 2));
    let length = if args.len() > 3 {
        int(args, 3)
    } else {
        with.chars().count() as i64
    };
    if from <= 0 {
        return Err(sql_error(b"22011", "negative substring length not allowed"));
    }
    let head: String = text.chars().take((from - 1) as usize).collect();
    let tail: String = text.chars().skip((from - 1 + length).max(0) as usize).collect();
    Ok(Value::text(format!("{head}{with}{tail}")))
}

/// `format`: `%s`, `%I`, `%L`, `%%`, with positions and widths.
fn format(args: &[Value]) -> Result<Value, SqlError> {
    if args[0].is_null() {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    let mut rest = string(args, 0);
    let mut next = 1;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let number = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let mut width = number(rest);
        if rest[width..].starts_with('$') && width > 0 {
            next = rest[..width].parse().unwrap_or(0);
            if next == 0 {
                return Err(sql_error(
                    b"22023",
                    "format specifies argument 0, but arguments are numbered from 1",
                ));
            }
            rest = &rest[width + 1..];
        }
        let left = rest.starts_with('-');
        rest = rest.trim_start_matches('-');
        width = number(rest);
        let wanted: usize = rest[..width].parse().unwrap_or(0);
        rest = &rest[width..];
        let Some(kind) = rest.chars().next() else {
            return Err(sql_error(b"22023", "unterminated format() type specifier"));
        };
        rest = &rest[kind.len_utf8()..];
        if !matches!(kind, 's' | 'I' | 'L') {
            return Err(sql_error(
                b"22023",
                format!("unrecognized format() type specifier \"{kind}\""),
            ));
        }
        let Some(arg) = args.get(next) else {
            return Err(sql_error(b"22023", "too few arguments for format()"));
        };
        next += 1;
        let piece = match kind {
            'I' if arg.is_null() => {
                return Err(sql_error(
                    b"22004",
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            'I' => quote_ident(plain(arg)),
            'L' if arg.is_null() => "NULL".to_owned(),
            'L' => quote_literal(plain(arg)),
            _ => plain(arg).to_owned(),
        };
        let _ = match left {
            true => write!(out, "{piece:<wanted$}"),
            false => write!(out, "{piece:>wanted$}"),
        };
    }
    out.push_str(rest);
    Ok(Value::text(out))
}

/// Keywords that quote_ident quotes.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "bigint",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "column",
    "constraint",
    "create",
    "cross",
    "current_date",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "natural",
    "not",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "position",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "when",
    "where",
    "window",
    "with",
];

/// An identifier, quoted when it must be. Keywords that need quotes are the reserved ones of Postgres.
pub(in crate::world::database::sql) fn quote_ident(name: &str) -> String {
    let mut bytes = name.bytes();
    let plain = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !RESERVED.contains(&name);
    match plain {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!(" E'{}'", quoted.replace('\\', "\\\\")).trim_start().to_owned(),
        false => format!("'{quoted}'"),
    }
}
