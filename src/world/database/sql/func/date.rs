//! Functions and operators on dates, times and intervals.

use bigdecimal::BigDecimal;

use crate::machine::sql::SqlError;
use crate::value::{Float, Interval, Value};
use crate::world::database::sql::calendar::{self, DAY, HOUR, MINUTE, MONTHS, SECOND, WEEKDAYS};
use crate::world::database::sql::compare::interval_span;
use crate::world::database::sql::func::{Func, Special};
use crate::world::database::sql::overload::{Sig, sigs};
use crate::world::database::sql::refuse::sql_error;
use crate::world::database::sql::settings::Settings;

/// A function on dates, times and intervals; `T` is timestamp with time zone, `L` timestamp (local).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the SQL function of its name; see the table below")]
pub enum DateFunc {
    AddT { minus: bool },
    AddL { minus: bool },
    AddDays { minus: bool },
    DaysBetween,
    Difference,
    AddIntervals { minus: bool },
    NegateInterval,
    ScaleInterval { divide: bool },
    PartT { float: bool },
    PartL { float: bool },
    PartDays { float: bool },
    PartInterval { float: bool },
    TruncT,
    TruncL,
    ZoneT,
    ZoneL,
    AgeL,
    AgeT,
    ToTimestamp,
    FromParts,
    MakeInterval,
    ToCharT,
    ToCharL,
    JustifyDays,
    JustifyHours,
    IsFinite,
}

const fn date(function: DateFunc) -> Func {
    Func::Date(function)
}
const UNSUPPORTED: Func = Func::Special(Special::Unsupported);
const PLUS_T: Func = date(DateFunc::AddT { minus: false });
const PLUS_L: Func = date(DateFunc::AddL { minus: false });

/// Operators.
pub(in crate::world::database::sql) const OPERATORS: &[&[Sig]] = &[sigs! {
    "+"(Tstz, Interval) -> Tstz = PLUS_T;
    "+"(Interval, Tstz) -> Tstz = PLUS_T;
    "-"(Tstz, Interval) -> Tstz = date(DateFunc::AddT { minus: true });
    "+"(Ts, Interval) -> Ts = PLUS_L;
    "+"(Interval, Ts) -> Ts = PLUS_L;
    "-"(Ts, Interval) -> Ts = date(DateFunc::AddL { minus: true });
    "+"(Date, Interval) -> Ts = PLUS_L;
    "+"(Interval, Date) -> Ts = PLUS_L;
    "-"(Date, Interval) -> Ts = date(DateFunc::AddL { minus: true });
    "+"(Date, Int4) -> Date = date(DateFunc::AddDays { minus: false });
    "+"(Int4, Date) -> Date = date(DateFunc::AddDays { minus: false });
    "-"(Date, Int4) -> Date = date(DateFunc::AddDays { minus: true });
    "-"(Date, Date) -> Int4 = date(DateFunc::DaysBetween);
    "-"(Tstz, Tstz) -> Interval = date(DateFunc::Difference);
    "-"(Ts, Ts) -> Interval = date(DateFunc::Difference);
    "+"(Interval, Interval) -> Interval = date(DateFunc::AddIntervals { minus: false });
    "-"(Interval, Interval) -> Interval = date(DateFunc::AddIntervals { minus: true });
    "-"(Interval) -> Interval = date(DateFunc::NegateInterval);
    "*"(Interval, Float8) -> Interval = date(DateFunc::ScaleInterval { divide: false });
    "*"(Float8, Interval) -> Interval = date(DateFunc::ScaleInterval { divide: false });
    "/"(Interval, Float8) -> Interval = date(DateFunc::ScaleInterval { divide: true });
}];

/// Functions; `extract(field from x)` is `extract(field, x)`.
pub(in crate::world::database::sql) const FUNCTIONS: &[Sig] = sigs! {
    "extract"(Text, Tstz) -> Num = date(DateFunc::PartT { float: false });
    "extract"(Text, Ts) -> Num = date(DateFunc::PartL { float: false });
    "extract"(Text, Date) -> Num = date(DateFunc::PartDays { float: false });
    "extract"(Text, Interval) -> Num = date(DateFunc::PartInterval { float: false });
    "date_part"(Text, Tstz) -> Float8 = date(DateFunc::PartT { float: true });
    "date_part"(Text, Ts) -> Float8 = date(DateFunc::PartL { float: true });
    "date_part"(Text, Date) -> Float8 = date(DateFunc::PartDays { float: true });
    "date_part"(Text, Interval) -> Float8 = date(DateFunc::PartInterval { float: true });
    "date_trunc"(Text, Tstz) -> Tstz = date(DateFunc::TruncT);
    "date_trunc"(Text, Ts) -> Ts = date(DateFunc::TruncL);
    "date_trunc"(Text, Interval) -> Interval = UNSUPPORTED;
    "timezone"(Text, Tstz) -> Ts = date(DateFunc::ZoneT);
    "timezone"(Text, Ts) -> Tstz = date(DateFunc::ZoneL);
    "age"(Tstz, Tstz) -> Interval = date(DateFunc::AgeT);
    "age"(Ts, Ts) -> Interval = date(DateFunc::AgeL);
    "to_timestamp"(Float8) -> Tstz = date(DateFunc::ToTimestamp);
    "make_date"(Int4, Int4, Int4) -> Date = date(DateFunc::FromParts);
    "make_interval"(Int4, Int4, Int4, Int4, Int4, Int4, Float8) -> Interval = date(DateFunc::MakeInterval);
    "to_char"(Tstz, Text) -> Text = date(DateFunc::ToCharT);
    "to_char"(Ts, Text) -> Text = date(DateFunc::ToCharL);
    "justify_days"(Interval) -> Interval = date(DateFunc::JustifyDays);
    "justify_hours"(Interval) -> Interval = date(DateFunc::JustifyHours);
    "isfinite"(Tstz) -> Bool = date(DateFunc::IsFinite);
    "isfinite"(Ts) -> Bool = date(DateFunc::IsFinite);
};

/// Evaluates one; no argument is NULL.
pub(super) fn apply(function: DateFunc, args: &[Value], settings: &Settings) -> Result<Value, SqlError> {
    let zone = &*settings.time_zone;
    match function {
        DateFunc::AddT { minus } => add(args, minus, Some(zone)),
        DateFunc::AddL { minus } => add(args, minus, None),
        DateFunc::AddDays { minus } => add_days(args, minus),
        DateFunc::DaysBetween => Ok(Value::Int(day(&args[0]) - day(&args[1]))),
        DateFunc::Difference => difference(moment(&args[0]), moment(&args[1])),
        DateFunc::AddIntervals { minus } => add_intervals(interval(&args[0]), interval(&args[1]), minus),
        DateFunc::NegateInterval => add_intervals(Interval::default(), interval(&args[0]), true),
        DateFunc::ScaleInterval { divide } => scale(args, divide),
        DateFunc::PartT { float } => part_of(args, Some(zone), false, float),
        DateFunc::PartL { float } => part_of(args, None, false, float),
        DateFunc::PartDays { float } => part_of(args, None, true, float),
        DateFunc::PartInterval { float } => part_of_interval(args, float),
        DateFunc::TruncT => {
            let local = truncate(
                text(&args[0]),
                calendar::to_local(zone, moment(&args[1])),
                "timestamp with time zone",
            )?;
            Ok(Value::Timestamp(calendar::to_utc(zone, local)))
        }
        DateFunc::TruncL => Ok(Value::Timestamp(truncate(
            text(&args[0]),
            moment(&args[1]),
            "timestamp without time zone",
        )?)),
        DateFunc::ZoneT => Ok(Value::Timestamp(calendar::to_local(
            known_zone(&args[0])?,
            moment(&args[1]),
        ))),
        DateFunc::ZoneL => Ok(Value::Timestamp(calendar::to_utc(
            known_zone(&args[0])?,
            moment(&args[1]),
        ))),
        DateFunc::AgeL => Ok(Value::Interval(age(moment(&args[0]), moment(&args[1])))),
        DateFunc::AgeT => {
            let (to, from) = (moment(&args[0]), moment(&args[1]));
            let local = |moment| calendar::to_local(zone, moment);
            Ok(Value::Interval(age(local(to), local(from))))
        }
        DateFunc::ToTimestamp => Ok(Value::Timestamp((float(&args[0]) * 1e6).round() as i64)),
        DateFunc::FromParts => make_date(args),
        DateFunc::MakeInterval => Ok(make_interval(args)),
        DateFunc::ToCharT => {
            let micros = moment(&args[0]);
            let (offset, name) = calendar::offset_at(zone, micros);
            Ok(Value::text(to_char(
                micros + offset * SECOND,
                text(&args[1]),
                offset,
                &name,
            )))
        }
        DateFunc::ToCharL => Ok(Value::text(to_char(moment(&args[0]), text(&args[1]), 0, ""))),
        DateFunc::JustifyDays => {
            let mut interval = interval(&args[0]);
            interval.months += interval.days / 30;
            interval.days %= 30;
            Ok(Value::Interval(interval))
        }
        DateFunc::JustifyHours => {
            let mut interval = interval(&args[0]);
            interval.days += (interval.micros / DAY) as i32;
            interval.micros %= DAY;
            Ok(Value::Interval(interval))
        }
        DateFunc::IsFinite => Ok(Value::Bool(calendar::infinite(moment(&args[0])).is_none())),
    }
}

fn moment(value: &Value) -> i64 {
    match value {
        Value::Timestamp(micros) => *micros,
        Value::Date(days) => i64::from(*days) * DAY,
        _ => 0,
    }
}

fn day(value: &Value) -> i64 {
    match value {
        Value::Date(days) => i64::from(*days),
        _ => 0,
    }
}

fn interval(value: &Value) -> Interval {
    match value {
        Value::Interval(interval) => *interval,
        _ => Interval::default(),
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Float(Float(number)) => *number,
        Value::Int(number) => *number as f64,
        _ => 0.0,
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(number) => *number,
        _ => 0,
    }
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

fn known_zone(value: &Value) -> Result<&str, SqlError> {
    let name = text(value);
    match calendar::zone(name) {
        Some(_) => Ok(name),
        None => Err(sql_error(b"22023", format!("time zone \"{name}\" not recognized"))),
    }
}

fn negate(interval: Interval) -> Option<Interval> {
    Some(Interval {
        months: interval.months.checked_neg()?,
        days: interval.days.checked_neg()?,
        micros: interval.micros.checked_neg()?,
    })
}

fn add(args: &[Value], minus: bool, zone: Option<&str>) -> Result<Value, SqlError> {
    let (base, by) = match (&args[0], &args[1]) {
        (Value::Interval(by), base) | (base, Value::Interval(by)) => (moment(base), *by),
        (base, _) => (moment(base), Interval::default()),
    };
    if calendar::infinite(base).is_some() {
        return Ok(Value::Timestamp(base));
    }
    let by = if minus { negate(by) } else { Some(by) };
    let result = by.and_then(|by| match zone {
        Some(zone) if by.months != 0 || by.days != 0 => {
            let local = calendar::shift_date(calendar::to_local(zone, base), by.months, by.days)?;
            calendar::to_utc(zone, local).checked_add(by.micros)
        }
        _ => calendar::shift(base, &by),
    });
    match result.filter(|micros| calendar::infinite(*micros).is_none()) {
        Some(micros) => Ok(Value::Timestamp(micros)),
        None => Err(sql_error(b"22008", "timestamp out of range")),
    }
}

fn add_days(args: &[Value], minus: bool) -> Result<Value, SqlError> {
    let (base, by) = match (&args[0], &args[1]) {
        (Value::Date(base), Value::Int(by)) | (Value::Int(by), Value::Date(base)) => (i64::from(*base), *by),
        _ => (0, 0),
    };
    let result = if minus { base - by } else { base + by };
    match i32::try_from(result) {
        Ok(days) => Ok(Value::Date(days)),
        Err(_) => Err(sql_error(b"22008", "date out of range")),
    }
}

fn difference(left: i64, right: i64) -> Result<Value, SqlError> {
    let micros = left
        .checked_sub(right)
        .filter(|_| calendar::infinite(left).is_none() && calendar::infinite(right).is_none());
    let Some(micros) = micros else {
        return Err(sql_error(b"22008", "cannot subtract infinite timestamps"));
    };
    Ok(Value::Interval(Interval {
        months: 0,
        days: (micros / DAY) as i32,
        micros: micros % DAY,
    }))
}

fn add_intervals(left: Interval, right: Interval, minus: bool) -> Result<Value, SqlError> {
    let right = if minus { negate(right) } else { Some(right) };
    let sum = right.and_then(|right| {
        Some(Interval {
            months: left.months.checked_add(right.months)?,
            days: left.days.checked_add(right.days)?,
            micros: left.micros.checked_add(right.micros)?,
        })
    });
    match sum {
        Some(sum) => Ok(Value::Interval(sum)),
        None => Err(sql_error(b"22008", "interval out of range")),
    }
}

/// Multiplies or divides; fractions of months go to days (30 each), of days to time.
fn scale(args: &[Value], divide: bool) -> Result<Value, SqlError> {
    let (base, factor) = match (&args[0], &args[1]) {
        (Value::Interval(base), factor) | (factor, Value::Interval(base)) => (*base, float(factor)),
        _ => (Interval::default(), 0.0),
    };
    if divide && factor == 0.0 {
        return Err(sql_error(b"22012", "division by zero"));
    }
    let by = |number: f64| if divide { number / factor } else { number * factor };
    let months = by(f64::from(base.months));
    let days = by(f64::from(base.days));
    let near = |number: f64| (number * 1e6).round() / 1e6;
    let month_days = near((months - months.trunc()) * 30.0);
    let mut seconds = near((days - days.trunc() + month_days - month_days.trunc()) * 86_400.0);
    let mut extra_days = 0.0;
    if seconds.abs() >= 86_400.0 {
        extra_days = (seconds / 86_400.0).trunc();
        seconds -= extra_days * 86_400.0;
    }
    let micros = (by(base.micros as f64) + seconds * 1e6).round();
    let all_days = days.trunc() + month_days.trunc() + extra_days;
    if months.abs() > f64::from(i32::MAX) || all_days.abs() > f64::from(i32::MAX) || micros.abs() > 9.2e18 {
        return Err(sql_error(b"22008", "interval out of range"));
    }
    Ok(Value::Interval(Interval {
        months: months.trunc() as i32,
        days: all_days as i32,
        micros: micros as i64,
    }))
}

/// A number with `digits` places, as EXTRACT returns it.
fn scaled(micros: i64, digits: i64) -> BigDecimal {
    BigDecimal::new(micros.into(), digits)
}

fn part_result(number: BigDecimal, float: bool) -> Result<Value, SqlError> {
    use crate::world::database::sql::numeric;
    Ok(match float {
        true => Value::Float(Float(numeric::to_f64(&number))),
        false => Value::Numeric(number),
    })
}

fn unknown_unit(unit: &str, kind: &str) -> SqlError {
    sql_error(b"22023", format!("unit \"{unit}\" not recognized for type {kind}"))
}

fn part_of(args: &[Value], zone: Option<&str>, date: bool, as_float: bool) -> Result<Value, SqlError> {
    let unit = text(&args[0]).to_ascii_lowercase();
    let moment = moment(&args[1]);
    let kind = match (zone, date) {
        (Some(_), _) => "timestamp with time zone",
        (None, true) => "date",
        (None, false) => "timestamp without time zone",
    };
    let local = zone.map_or(moment, |zone| calendar::to_local(zone, moment));
    let fields = calendar::split(local);
    let days = local.div_euclid(DAY);
    let whole = |number: i64| scaled(number, 0);
    let second = fields.micros % MINUTE;
    if date
        && matches!(
            unit.as_str(),
            "hour" | "minute" | "second" | "milliseconds" | "microseconds" | "timezone"
        )
    {
        return Err(sql_error(
            b"0A000",
            format!("unit \"{unit}\" not supported for type date"),
        ));
    }
    let iso = iso_week(days);
    let number = match unit.as_str() {
        "year" | "years" => whole(if fields.year > 0 { fields.year } else { fields.year - 1 }),
        "month" | "months" => whole(i64::from(fields.month)),
        "day" | "days" => whole(i64::from(fields.day)),
        "hour" | "hours" => whole(fields.micros / HOUR),
        "minute" | "minutes" => whole(fields.micros / MINUTE % 60),
        "second" | "seconds" => scaled(second, 6),
        "milliseconds" => scaled(second, 3),
        "microseconds" => whole(second),
        "quarter" => whole((i64::from(fields.month) - 1) / 3 + 1),
        "decade" => whole(fields.year.div_euclid(10)),
        "century" => whole((fields.year + 99).div_euclid(100)),
        "millennium" => whole((fields.year + 999).div_euclid(1000)),
        "dow" => whole(calendar::weekday(days) as i64),
        "isodow" => whole(match calendar::weekday(days) as i64 {
            0 => 7,
            other => other,
        }),
        "doy" => whole(days - calendar::days(fields.year, 1, 1) + 1),
        "week" => whole(iso.1),
        "isoyear" => whole(iso.0),
        "epoch" if date => whole(days * 86_400),
        "epoch" => scaled(moment, 6),
        "timezone" if zone.is_some() => whole((local - moment) / SECOND),
        _ => return Err(unknown_unit(&unit, kind)),
    };
    part_result(number, as_float)
}

/// The ISO year and week.
fn iso_week(days: i64) -> (i64, i64) {
    let monday_based = (calendar::weekday(days) as i64 + 6) % 7;
    let thursday = days - monday_based + 3;
    let (year, ..) = calendar::civil(thursday);
    (year, (thursday - calendar::days(year, 1, 1)) / 7 + 1)
}

fn part_of_interval(args: &[Value], as_float: bool) -> Result<Value, SqlError> {
    let unit = text(&args[0]).to_ascii_lowercase();
    let interval = interval(&args[1]);
    let whole = |number: i64| scaled(number, 0);
    let (months, second) = (i64::from(interval.months), interval.micros % MINUTE);
    let number = match unit.as_str() {
        "year" | "years" => whole(months / 12),
        "month" | "months" => whole(months % 12),
        "quarter" => whole(months % 12 / 3 + 1),
        "day" | "days" => whole(i64::from(interval.days)),
        "hour" | "hours" => whole(interval.micros / HOUR),
        "minute" | "minutes" => whole(interval.micros / MINUTE % 60),
        "second" | "seconds" => scaled(second, 6),
        "milliseconds" => scaled(second, 3),
        "microseconds" => whole(second),
        "epoch" => {
            // a year counts 365.25 days, a month of the rest 30
            let days = months / 12 * 1461 * DAY / 4 + (months % 12 * 30 + i64::from(interval.days)) * DAY;
            scaled(days + interval.micros, 6)
        }
        _ => return Err(unknown_unit(&unit, "interval")),
    };
    part_result(number, as_float)
}

fn truncate(unit: &str, local: i64, kind: &str) -> Result<i64, SqlError> {
    if calendar::infinite(local).is_some() {
        return Ok(local);
    }
    let mut fields = calendar::split(local);
    let days = local.div_euclid(DAY);
    let unit = unit.to_ascii_lowercase();
    let step = match unit.as_str() {
        "microseconds" => 1,
        "milliseconds" => 1000,
        "second" | "seconds" => SECOND,
        "minute" | "minutes" => MINUTE,
        "hour" | "hours" => HOUR,
        "day" | "days" => DAY,
        _ => 0,
    };
    if step > 0 {
        return Ok(local - local.rem_euclid(step));
    }
    fields.micros = 0;
    match unit.as_str() {
        "week" => return Ok((days - (calendar::weekday(days) as i64 + 6) % 7) * DAY),
        "month" | "months" => {}
        "quarter" => fields.month = (fields.month - 1) / 3 * 3 + 1,
        "year" | "years" => fields.month = 1,
        "decade" => (fields.year, fields.month) = (fields.year.div_euclid(10) * 10, 1),
        _ => return Err(unknown_unit(&unit, kind)),
    }
    fields.day = 1;
    Ok(fields.join())
}

/// The symbolic difference: years, months, days and time that lead from one to the other.
fn age(to: i64, from: i64) -> Interval {
    let (later, earlier, sign) = if to >= from { (to, from, 1) } else { (from, to, -1) };
    let (upper, lower) = (calendar::split(later), calendar::split(earlier));
    let mut months = (upper.year - lower.year) * 12 + i64::from(upper.month) - i64::from(lower.month);
    let mut days = i64::from(upper.day) - i64::from(lower.day);
    let mut micros = upper.micros - lower.micros;
    if micros < 0 {
        micros += DAY;
        days -= 1;
    }
    if days < 0 {
        // The server borrows from the month of the first argument when that is the earlier one.
        let (year, month) = (lower.year, lower.month);
        days += i64::from(calendar::month_length(year, month));
        months -= 1;
    }
    Interval {
        months: (months * sign) as i32,
        days: (days * sign) as i32,
        micros: micros * sign,
    }
}

fn make_date(args: &[Value]) -> Result<Value, SqlError> {
    let (year, month, day) = (int(&args[0]), int(&args[1]), int(&args[2]));
    let fields = (u8::try_from(month).ok()).zip(u8::try_from(day).ok());
    match fields {
        Some((month @ 1..=12, day)) if day >= 1 && day <= calendar::month_length(year, month) => {
            Ok(Value::Date(calendar::days(year, month, day) as i32))
        }
        _ => Err(sql_error(
            b"22008",
            format!("date field value out of range: {year}-{month:02}-{day:02}"),
        )),
    }
}

fn make_interval(args: &[Value]) -> Value {
    let field = |place: usize| int(&args[place]);
    Value::Interval(Interval {
        months: (field(0) * 12 + field(1)) as i32,
        days: (field(2) * 7 + field(3)) as i32,
        micros: field(4) * HOUR + field(5) * MINUTE + (float(&args[6]) * 1e6).round() as i64,
    })
}

/// `to_char` with the common patterns; other characters are copied.
fn to_char(local: i64, pattern: &str, offset: i64, zone: &str) -> String {
    let fields = calendar::split(local);
    let days = local.div_euclid(DAY);
    let hour = fields.micros / HOUR;
    let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    let month = MONTHS[usize::from(fields.month) - 1];
    let weekday = WEEKDAYS[calendar::weekday(days)];
    let half = if hour < 12 { "AM" } else { "PM" };
    let pieces: Vec<(&str, String)> = vec![
        ("YYYY", format!("{:04}", fields.year)),
        ("YY", format!("{:02}", fields.year.rem_euclid(100))),
        ("HH24", format!("{hour:02}")),
        ("HH12", format!("{twelve:02}")),
        ("HH", format!("{twelve:02}")),
        ("MI", format!("{:02}", fields.micros / MINUTE % 60)),
        ("SS", format!("{:02}", fields.micros / SECOND % 60)),
        ("MS", format!("{:03}", fields.micros % SECOND / 1000)),
        ("US", format!("{:06}", fields.micros % SECOND)),
        ("MM", format!("{:02}", fields.month)),
        ("MONTH", format!("{:<9}", month.to_uppercase())),
        ("Month", format!("{month:<9}")),
        ("month", format!("{:<9}", month.to_lowercase())),
        ("MON", month[..3].to_uppercase()),
        ("Mon", month[..3].to_owned()),
        ("mon", month[..3].to_lowercase()),
        ("DDD", format!("{:03}", days - calendar::days(fields.year, 1, 1) + 1)),
        ("DD", format!("{:02}", fields.day)),
        ("DAY", format!("{:<9}", weekday.to_uppercase())),
        ("Day", format!("{weekday:<9}")),
        ("DY", weekday[..3].to_uppercase()),
        ("Dy", weekday[..3].to_owned()),
        ("D", (calendar::weekday(days) + 1).to_string()),
        ("Q", ((fields.month - 1) / 3 + 1).to_string()),
        ("IYYY", format!("{:04}", iso_week(days).0)),
        ("IW", format!("{:02}", iso_week(days).1)),
        ("AM", half.to_owned()),
        ("PM", half.to_owned()),
        ("am", half.to_lowercase()),
        ("pm", half.to_lowercase()),
        ("TZ", zone.to_owned()),
        ("OF", calendar::iso_offset(offset)),
    ];
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            out.push_str(&quoted[..end]);
            rest = quoted.get(end + 1..).unwrap_or_default();
            continue;
        }
        let fill = rest.strip_prefix("FM");
        let body = fill.unwrap_or(rest);
        match pieces
            .iter()
            .filter(|(name, _)| body.starts_with(name))
            .max_by_key(|(name, _)| name.len())
        {
            Some((name, piece)) => {
                match fill {
                    Some(_) => out.push_str(piece.trim_end().trim_start_matches('0')),
                    None => out.push_str(piece),
                }
                rest = &body[name.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// The average of intervals, for `avg`.
pub(in crate::world::database::sql) fn divide(sum: Interval, count: i64) -> Result<Value, SqlError> {
    debug_assert!(interval_span(&sum).checked_abs().is_some());
    scale(&[Value::Interval(sum), Value::Float(Float(count as f64))], true)
}

/// The sum of two intervals, for `sum`.
pub(in crate::world::database::sql) fn sum(left: Interval, right: Interval) -> Result<Value, SqlError> {
    add_intervals(left, right, false)
}
