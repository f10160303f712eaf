//! Reading dates, timestamps and intervals.

use super::{DAY, HOUR, INFINITY, MINUS_INFINITY, MINUTE, MONTHS, SECOND, WEEKDAYS, days, month_length, to_utc, zone};
use crate::machine::sql::SqlError;
use crate::value::Interval;
use crate::world::database::sql::refuse::{not_modelled, sql_error};

/// What a text of a date or a timestamp says.
#[derive(Clone, Debug, Default)]
struct Parts {
    year: Option<i64>,
    month: Option<u8>,
    day: Option<u8>,
    micros: Option<i64>,
    /// A fixed offset in seconds, or a zone's name.
    offset: Option<i64>,
    zone: Option<String>,
    special: Option<i64>,
    afternoon: Option<bool>,
    before_christ: bool,
}

/// Reads a `timestamptz`: UTC microseconds.
pub(in super::super) fn timestamptz(text: &str, zone_name: &str) -> Result<i64, SqlError> {
    let parts = parts(text, "timestamp with time zone")?;
    if let Some(special) = parts.special {
        return Ok(special);
    }
    let local = local(&parts, text, "timestamp with time zone")?;
    Ok(match (&parts.offset, &parts.zone) {
        (Some(offset), _) => local - offset * SECOND,
        (None, Some(name)) => to_utc(name, local),
        (None, None) => to_utc(zone_name, local),
    })
}

/// Reads a `timestamp`: a zone in the text is ignored, as in Postgres.
pub(in super::super) fn timestamp(text: &str) -> Result<i64, SqlError> {
    let parts = parts(text, "timestamp")?;
    match parts.special {
        Some(special) => Ok(special),
        None => local(&parts, text, "timestamp"),
    }
}

/// Reads a `date`.
pub(in super::super) fn date(text: &str) -> Result<i32, SqlError> {
    let parts = parts(text, "date")?;
    match parts.special {
        Some(INFINITY) => Ok(i32::MAX),
        Some(MINUS_INFINITY) => Ok(i32::MIN),
        Some(other) => Ok((other / DAY) as i32),
        None => Ok(local(&parts, text, "date")?.div_euclid(DAY) as i32),
    }
}

fn invalid(text: &str, kind: &str) -> SqlError {
    sql_error(b"22007", format!("invalid input syntax for type {kind}: \"{text}\""))
}

fn out_of_range(text: &str) -> SqlError {
    sql_error(b"22008", format!("date/time field value out of range: \"{text}\""))
}

fn local(parts: &Parts, text: &str, kind: &str) -> Result<i64, SqlError> {
    let (Some(mut year), Some(month), Some(day)) = (parts.year, parts.month, parts.day) else {
        return Err(invalid(text, kind));
    };
    if parts.before_christ {
        year = 1 - year;
    }
    if !(1..=12).contains(&month) || day == 0 || day > month_length(year, month) {
        return Err(out_of_range(text));
    }
    let mut micros = parts.micros.unwrap_or(0);
    match parts.afternoon {
        Some(true) if micros < 12 * HOUR => micros += 12 * HOUR,
        Some(false) if micros >= 12 * HOUR => micros -= 12 * HOUR,
        _ => {}
    }
    if micros > DAY {
        return Err(out_of_range(text));
    }
    if !(-4713..=294_276).contains(&year) {
        return Err(sql_error(b"22008", format!("{kind} out of range: \"{text}\"")));
    }
    Ok(days(year, month, day) * DAY + micros)
}

fn parts(text: &str, kind: &str) -> Result<Parts, SqlError> {
    let mut parts = Parts::default();
    let trimmed = text.trim();
    match trimmed.to_ascii_lowercase().as_str() {
        "infinity" | "+infinity" => parts.special = Some(INFINITY),
        "-infinity" => parts.special = Some(MINUS_INFINITY),
        "epoch" => parts.special = Some(0),
        "now" | "today" | "tomorrow" | "yesterday" => {
            let what = format!("the special value \"{trimmed}\" (write now() or current_date)");
            return Err(not_modelled(what));
        }
        _ => {}
    }
    if parts.special.is_some() {
        return Ok(parts);
    }
    let mut words = split_words(trimmed);
    words.retain(|word| !word.is_empty());
    for word in &words {
        if !take(word, &mut parts, text)? {
            return Err(invalid(text, kind));
        }
    }
    Ok(parts)
}

/// Splits at blanks and commas, and a `T` or a sign between date and time.
fn split_words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split([' ', ',', '\t']) {
        let bytes = word.as_bytes();
        let t = bytes.iter().position(|byte| matches!(byte, b'T' | b't'));
        match t {
            Some(at)
                if at > 0 && bytes[at - 1].is_ascii_digit() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit) =>
            {
                words.push(word[..at].to_owned());
                words.extend(split_zone(&word[at + 1..]));
            }
            _ => words.extend(split_zone(word)),
        }
    }
    words
}

/// Splits `10:00:00+02`, `10:00Z`, `10:00PM` into time and the rest.
fn split_zone(word: &str) -> Vec<String> {
    if !word.contains(':') || word.starts_with(['+', '-']) {
        return vec![word.to_owned()];
    }
    match word.find(|character: char| !(character.is_ascii_digit() || matches!(character, ':' | '.'))) {
        Some(at) => vec![word[..at].to_owned(), word[at..].to_owned()],
        None => vec![word.to_owned()],
    }
}

fn take(word: &str, parts: &mut Parts, text: &str) -> Result<bool, SqlError> {
    let first = word.as_bytes()[0];
    if word.contains(':') && first.is_ascii_digit() {
        let Some(micros) = time(word) else { return Ok(false) };
        let micros = micros.ok_or_else(|| out_of_range(text))?;
        return Ok(parts.micros.replace(micros).is_none());
    }
    if matches!(first, b'+' | b'-') && parts.micros.is_some() {
        parts.offset = offset(word);
        return Ok(parts.offset.is_some());
    }
    if first.is_ascii_digit() {
        return numbers(word, parts, text);
    }
    let lower = word.to_ascii_lowercase();
    if let Some(month) = named(&lower, &MONTHS) {
        return Ok(parts.month.replace(month as u8 + 1).is_none());
    }
    if named(&lower, &WEEKDAYS).is_some() {
        return Ok(true);
    }
    match lower.as_str() {
        "am" => parts.afternoon = Some(false),
        "pm" => parts.afternoon = Some(true),
        "bc" => parts.before_christ = true,
        "ad" => {}
        "z" | "utc" | "gmt" | "zulu" => parts.offset = Some(0),
        "pst" => parts.offset = Some(-8 * 3600),
        "pdt" | "mst" => parts.offset = Some(-7 * 3600),
        "mdt" | "cst" => parts.offset = Some(-6 * 3600),
        "cdt" | "est" => parts.offset = Some(-5 * 3600),
        "edt" => parts.offset = Some(-4 * 3600),
        "cet" => parts.offset = Some(3600),
        "cest" => parts.offset = Some(7200),
        _ if zone(word).is_some() => parts.zone = Some(word.to_owned()),
        _ if word.contains('/') => {
            return Err(sql_error(b"22023", format!("time zone \"{word}\" not recognized")));
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn named(lower: &str, names: &[&str]) -> Option<usize> {
    let matches = |name: &&str| {
        let name = name.to_ascii_lowercase();
        lower.len() >= 3 && (lower == name || lower == &name[..3])
    };
    names.iter().position(matches)
}

/// A date of numbers, `20240229`, or a single day or year beside a month's name.
fn numbers(word: &str, parts: &mut Parts, text: &str) -> Result<bool, SqlError> {
    let pieces: Vec<&str> = word.split(['-', '/', '.']).collect();
    let number = |piece: &str| piece.parse::<i64>().ok();
    let small = |piece: i64| u8::try_from(piece).map_err(|_| out_of_range(text));
    match pieces.as_slice() {
        [year, month, day] => {
            if let Some(month) = named(&month.to_ascii_lowercase(), &MONTHS) {
                let (Some(first), Some(last)) = (number(year), number(day)) else {
                    return Ok(false);
                };
                parts.month = Some(month as u8 + 1);
                let (year, day) = if year.len() > 2 { (first, last) } else { (last, first) };
                parts.year = Some(year);
                parts.day = Some(small(day)?);
                return Ok(true);
            }
            let (Some(first), Some(second), Some(third)) = (number(year), number(month), number(day)) else {
                return Ok(false);
            };
            let (of_year, of_month, of_day) = match year.len() > 2 {
                true => (first, second, third),
                false => (century(third, day.len()), first, second),
            };
            parts.year = Some(of_year);
            parts.month = Some(small(of_month)?);
            parts.day = Some(small(of_day)?);
        }
        [only] if only.len() == 8 && parts.year.is_none() => {
            let (Some(year), Some(month), Some(day)) = (number(&only[..4]), number(&only[4..6]), number(&only[6..]))
            else {
                return Ok(false);
            };
            parts.year = Some(year);
            parts.month = Some(small(month)?);
            parts.day = Some(small(day)?);
        }
        [only] => match number(only) {
            Some(day) if parts.day.is_none() && only.len() <= 2 => parts.day = Some(small(day)?),
            Some(year) if parts.year.is_none() => parts.year = Some(century(year, only.len())),
            _ => return Ok(false),
        },
        _ => return Ok(false),
    }
    Ok(true)
}

fn century(year: i64, digits: usize) -> i64 {
    match (digits, year) {
        (..=2, 0..70) => year + 2000,
        (..=2, 70..100) => year + 1900,
        _ => year,
    }
}

/// `hh:mm[:ss[.f]]`; `Some(None)` when a field is out of range.
fn time(word: &str) -> Option<Option<i64>> {
    let mut fields = word.split(':');
    let hour: i64 = fields.next()?.parse().ok()?;
    let minute: i64 = fields.next()?.parse().ok()?;
    let seconds = match fields.next() {
        Some(text) => fraction(text)?,
        None => 0,
    };
    if fields.next().is_some() {
        return None;
    }
    if hour > 24 || minute > 59 || seconds > 60 * SECOND {
        return Some(None);
    }
    Some(Some(hour * HOUR + minute * MINUTE + seconds))
}

/// Seconds with a fraction, in microseconds (rounded).
fn fraction(text: &str) -> Option<i64> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    if !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = rest.chars().chain(std::iter::repeat('0')).take(7).collect();
    let tenths: i64 = digits.parse().ok()?;
    Some(whole * SECOND + (tenths + 5) / 10)
}

/// `+02`, `-0530`, `+05:30` in seconds.
fn offset(word: &str) -> Option<i64> {
    let sign = if word.starts_with('-') { -1 } else { 1 };
    let digits = &word[1..];
    let fields: Vec<i64> = match digits.contains(':') {
        true => digits
            .split(':')
            .map(|field| field.parse().ok())
            .collect::<Option<_>>()?,
        false if digits.len() > 2 => vec![
            digits[..digits.len() - 2].parse().ok()?,
            digits[digits.len() - 2..].parse().ok()?,
        ],
        false => vec![digits.parse().ok()?],
    };
    let units = [3600, 60, 1];
    let total: i64 = fields.iter().zip(units).map(|(field, unit)| field * unit).sum();
    (total < 16 * 3600).then_some(sign * total)
}

/// Reads an `interval`: units, `hh:mm:ss`, `y-m`, ISO 8601 (`P1DT2H`) and `ago`.
pub(in super::super) fn interval(text: &str) -> Result<Interval, SqlError> {
    let invalid = || sql_error(b"22007", format!("invalid input syntax for type interval: \"{text}\""));
    let trimmed = text.trim();
    let mut total = Total::default();
    if let Some(iso) = trimmed.strip_prefix('P') {
        iso_interval(iso, &mut total).ok_or_else(invalid)?;
        return total.finish(text);
    }
    let lower = trimmed.trim_start_matches('@').to_ascii_lowercase();
    let pieces = interval_pieces(&lower);
    if pieces.is_empty() {
        return Err(invalid());
    }
    let mut at = 0;
    while at < pieces.len() {
        let piece = pieces[at].as_str();
        at += 1;
        if piece == "ago" {
            total.negate();
            continue;
        }
        if piece.contains(':') {
            total.micros += signed_time(piece)
                .ok_or_else(invalid)?
                .ok_or_else(|| sql_error(b"22015", format!("interval field value out of range: \"{text}\"")))?;
            continue;
        }
        if let Some((years, months)) = piece.trim_start_matches(['+', '-']).split_once('-') {
            let sign = if piece.starts_with('-') { -1.0 } else { 1.0 };
            let (years, months): (f64, f64) = (
                years.parse().map_err(|_| invalid())?,
                months.parse().map_err(|_| invalid())?,
            );
            total.add(sign * years, "year").ok_or_else(invalid)?;
            total.add(sign * months, "month").ok_or_else(invalid)?;
            continue;
        }
        let number: f64 = piece.parse().map_err(|_| invalid())?;
        let unit = match pieces.get(at) {
            Some(unit) if unit.starts_with(|first: char| first.is_ascii_alphabetic()) && unit != "ago" => {
                at += 1;
                unit.as_str()
            }
            // a number before a time counts days
            Some(next) if next.contains(':') => "day",
            _ => "second",
        };
        total.add(number, unit).ok_or_else(invalid)?;
    }
    total.finish(text)
}

/// Reads the value of `INTERVAL '...' unit`.
pub(in super::super) fn interval_in(text: &str, unit: &str) -> Result<Interval, SqlError> {
    match text.trim().parse::<f64>() {
        Ok(number) => {
            let mut total = Total::default();
            total.add(number, unit);
            total.finish(text)
        }
        Err(_) => interval(text),
    }
}

/// Words and numbers, also where they touch (`1day`).
fn interval_pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    for word in text.split_whitespace() {
        let letters = word.find(|character: char| character.is_ascii_alphabetic());
        match letters {
            Some(at) if at > 0 => {
                pieces.push(word[..at].to_owned());
                pieces.push(word[at..].to_owned());
            }
            _ => pieces.push(word.to_owned()),
        }
    }
    pieces
}

/// `[-]hh:mm[:ss]`; `Some(None)` when a field is out of range.
fn signed_time(piece: &str) -> Option<Option<i64>> {
    let negative = piece.starts_with('-');
    let plain = piece.trim_start_matches(['+', '-']);
    let mut fields = plain.split(':');
    let hour: i64 = fields.next()?.parse().ok()?;
    let minute: i64 = fields.next()?.parse().ok()?;
    let seconds = match fields.next() {
        Some(text) => fraction(text)?,
        None => 0,
    };
    if fields.next().is_some() {
        return None;
    }
    if minute > 59 || seconds > 60 * SECOND {
        return Some(None);
    }
    let micros = hour.checked_mul(HOUR).map(|hours| hours + minute * MINUTE + seconds);
    Some(micros.map(|micros| if negative { -micros } else { micros }))
}

fn iso_interval(text: &str, total: &mut Total) -> Option<()> {
    let mut time = false;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('T') {
            time = true;
            rest = after;
            continue;
        }
        let end = rest.find(|character: char| character.is_ascii_alphabetic())?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit = match (&rest[end..=end], time) {
            ("Y", false) => "year",
            ("M", false) => "month",
            ("W", false) => "week",
            ("D", false) => "day",
            ("H", true) => "hour",
            ("M", true) => "minute",
            ("S", true) => "second",
            _ => return None,
        };
        total.add(number, unit)?;
        rest = &rest[end + 1..];
    }
    Some(())
}

/// The sum of an interval's parts; fractions go down to the next smaller field.
#[derive(Default)]
struct Total {
    months: f64,
    days: f64,
    micros: i64,
}

impl Total {
    fn add(&mut self, number: f64, unit: &str) -> Option<()> {
        let whole = number.trunc();
        let part = number - whole;
        match unit.trim_end_matches('s') {
            "year" | "yr" | "y" => self.months += (number * 12.0).round(),
            "decade" | "dec" => self.months += (number * 120.0).round(),
            "century" | "centurie" | "cent" | "c" => self.months += (number * 1200.0).round(),
            "month" | "mon" => {
                self.months += whole;
                self.add_days(part * 30.0);
            }
            "week" | "w" => {
                self.days += whole * 7.0;
                self.add_days(part * 7.0);
            }
            "day" | "d" => self.add_days(number),
            "hour" | "hr" | "h" => self.add_micros(number, HOUR),
            "minute" | "min" | "m" => self.add_micros(number, MINUTE),
            "second" | "sec" | "" => self.add_micros(number, SECOND),
            "millisecond" | "msec" | "m_" => self.add_micros(number, 1000),
            "microsecond" | "usec" | "u" => self.add_micros(number, 1),
            _ => return None,
        }
        Some(())
    }

    fn add_days(&mut self, number: f64) {
        self.days += number.trunc();
        self.add_micros(number.fract(), DAY);
    }

    fn add_micros(&mut self, number: f64, unit: i64) {
        let whole = (number.trunc() as i64).saturating_mul(unit);
        let part = (number.fract() * unit as f64).round() as i64;
        self.micros = self.micros.saturating_add(whole).saturating_add(part);
    }

    fn negate(&mut self) {
        self.months = -self.months;
        self.days = -self.days;
        self.micros = -self.micros;
    }

    fn finish(&self, text: &str) -> Result<Interval, SqlError> {
        let limit = f64::from(i32::MAX);
        if self.months.abs() > limit || self.days.abs() > limit {
            return Err(sql_error(
                b"22008",
                format!("interval field value out of range: \"{text}\""),
            ));
        }
        Ok(Interval {
            months: self.months as i32,
            days: self.days as i32,
            micros: self.micros,
        })
    }
}
