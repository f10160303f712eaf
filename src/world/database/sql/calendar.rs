//! Dates, times and intervals: the calendar, time zones and printing. Reading is in [`read`].
//!
//! Infinity is kept as the extreme values of the microsecond and day counts, as in Postgres.

pub(super) mod read;

use std::fmt::Write as _;

use jiff::tz::{AmbiguousOffset, TimeZone};

use super::settings::{DateStyle, Settings};
use crate::value::Interval;

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;
/// `infinity`.
pub(super) const INFINITY: i64 = i64::MAX;
/// `-infinity`.
pub(super) const MINUS_INFINITY: i64 = i64::MIN;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A moment split into its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) year: i64,
    pub(super) month: u8,
    pub(super) day: u8,
    /// Microseconds since midnight.
    pub(super) micros: i64,
}

/// Days since 1970-01-01 of a date (proleptic Gregorian calendar; year 0 is 1 BC).
pub(super) fn days(year: i64, month: u8, day: u8) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = (i64::from(month) + 9) % 12;
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month, day of a day count.
pub(super) fn civil(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

pub(super) fn month_length(year: i64, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

pub(super) fn weekday(days: i64) -> usize {
    (days + 4).rem_euclid(7) as usize
}

/// Splits local microseconds.
pub(super) fn split(local: i64) -> Fields {
    let (year, month, day) = civil(local.div_euclid(DAY));
    Fields {
        year,
        month,
        day,
        micros: local.rem_euclid(DAY),
    }
}

impl Fields {
    /// Local microseconds since 1970.
    pub(super) fn join(self) -> i64 {
        days(self.year, self.month, self.day) * DAY + self.micros
    }
}

/// A time zone by its name in a setting or a literal: IANA names, `UTC`, and fixed offsets.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    match name.to_ascii_uppercase().as_str() {
        "UTC" | "Z" | "ZULU" | "GMT" | "UT" => return Some(TimeZone::UTC),
        _ => {}
    }
    TimeZone::get(name).ok()
}

/// The offset from UTC in seconds at a moment, and the zone's abbreviation then.
pub(super) fn offset_at(zone: &str, micros: i64) -> (i64, String) {
    if zone == "UTC" {
        return (0, "UTC".to_owned());
    }
    let found = self::zone(zone).and_then(|zone| {
        let moment = jiff::Timestamp::from_microsecond(micros).ok()?;
        let info = zone.to_offset_info(moment);
        Some((i64::from(info.offset().seconds()), info.abbreviation().to_owned()))
    });
    found.unwrap_or_else(|| (0, "UTC".to_owned()))
}

/// UTC microseconds of a local time in a zone. In a gap the earlier offset counts, when the hour is repeated the later one.
pub(super) fn to_utc(zone: &str, local: i64) -> i64 {
    if zone == "UTC" || local == INFINITY || local == MINUS_INFINITY {
        return local;
    }
    let found = self::zone(zone).and_then(|zone| {
        let fields = split(local);
        let second = fields.micros / SECOND;
        let civil = jiff::civil::DateTime::new(
            i16::try_from(fields.year).ok()?,
            fields.month as i8,
            fields.day as i8,
            (second / 3600) as i8,
            (second / 60 % 60) as i8,
            (second % 60) as i8,
            0,
        )
        .ok()?;
        let offset = match zone.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Gap { before, .. } => before,
            AmbiguousOffset::Fold { after, .. } => after,
        };
        Some(local - i64::from(offset.seconds()) * SECOND)
    });
    found.unwrap_or(local)
}

/// Local microseconds of a moment in a zone.
pub(super) fn to_local(zone: &str, micros: i64) -> i64 {
    match micros {
        INFINITY | MINUS_INFINITY => micros,
        _ => micros + offset_at(zone, micros).0 * SECOND,
    }
}

pub(super) fn infinite(micros: i64) -> Option<&'static str> {
    match micros {
        INFINITY => Some("infinity"),
        MINUS_INFINITY => Some("-infinity"),
        _ => None,
    }
}

pub(super) fn print_date(day: i32, style: DateStyle) -> String {
    match day {
        i32::MAX => return "infinity".to_owned(),
        i32::MIN => return "-infinity".to_owned(),
        _ => {}
    }
    let (year, month, day) = civil(i64::from(day));
    let (year, era) = era(year);
    match style {
        DateStyle::Postgres => format!("{month:02}-{day:02}-{year:04}{era}"),
        DateStyle::Iso => format!("{year:04}-{month:02}-{day:02}{era}"),
    }
}

fn era(year: i64) -> (i64, &'static str) {
    match year {
        1.. => (year, ""),
        _ => (1 - year, " BC"),
    }
}

pub(super) fn print_timestamp(local: i64, style: DateStyle) -> String {
    print(local, None, style)
}

pub(super) fn print_timestamptz(micros: i64, settings: &Settings) -> String {
    if let Some(name) = infinite(micros) {
        return name.to_owned();
    }
    let (offset, name) = offset_at(&settings.time_zone, micros);
    print(micros + offset * SECOND, Some((offset, &name)), settings.date_style)
}

fn print(local: i64, zone: Option<(i64, &str)>, style: DateStyle) -> String {
    if let Some(name) = infinite(local) {
        return name.to_owned();
    }
    let fields = split(local);
    let (year, era) = era(fields.year);
    let time = clock(fields.micros);
    match style {
        DateStyle::Iso => {
            let zone = zone.map(|(offset, _)| iso_offset(offset)).unwrap_or_default();
            format!("{year:04}-{:02}-{:02} {time}{zone}{era}", fields.month, fields.day)
        }
        DateStyle::Postgres => {
            let weekday = &WEEKDAYS[weekday(local.div_euclid(DAY))][..3];
            let month = &MONTHS[usize::from(fields.month) - 1][..3];
            let zone = match zone {
                None => String::new(),
                Some((_, name)) if name.starts_with(|first: char| first.is_ascii_alphabetic()) => format!(" {name}"),
                Some((offset, _)) => format!(" {}", iso_offset(offset)),
            };
            format!("{weekday} {month} {:02} {time} {year:04}{zone}{era}", fields.day)
        }
    }
}

/// `hh:mm:ss` with a fraction as long as it needs.
pub(super) fn clock(micros: i64) -> String {
    let seconds = micros / SECOND;
    let mut out = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = micros % SECOND;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    out
}

pub(super) fn iso_offset(offset: i64) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let offset = offset.abs();
    let mut out = format!("{sign}{:02}", offset / 3600);
    if offset % 3600 != 0 {
        let _ = write!(out, ":{:02}", offset / 60 % 60);
    }
    if offset % 60 != 0 {
        let _ = write!(out, ":{:02}", offset % 60);
    }
    out
}

/// An interval in the `postgres` style.
pub(super) fn print_interval(interval: &Interval) -> String {
    let mut out = String::new();
    let mut negative = false;
    let mut part = |number: i64, unit: &str, negative: &mut bool| {
        if number == 0 {
            return;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        let plus = if *negative && number > 0 { "+" } else { "" };
        let plural = if number == 1 { "" } else { "s" };
        let _ = write!(out, "{plus}{number} {unit}{plural}");
        *negative = number < 0;
    };
    part(i64::from(interval.months / 12), "year", &mut negative);
    part(i64::from(interval.months % 12), "mon", &mut negative);
    part(i64::from(interval.days), "day", &mut negative);
    if interval.micros != 0 || out.is_empty() {
        if !out.is_empty() {
            out.push(' ');
        }
        if interval.micros < 0 {
            out.push('-');
        } else if negative {
            out.push('+');
        }
        out.push_str(&clock_wide(interval.micros.unsigned_abs()));
    }
    out
}

fn clock_wide(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let mut out = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    out
}

/// Adds an interval to local microseconds: months (clamped to the month's length), then days, then the rest.
pub(super) fn shift(local: i64, interval: &Interval) -> Option<i64> {
    shift_date(local, interval.months, interval.days)?.checked_add(interval.micros)
}

/// Adds months and days to local microseconds.
pub(super) fn shift_date(local: i64, months: i32, day_count: i32) -> Option<i64> {
    let mut fields = split(local);
    if months != 0 {
        let total = fields.year * 12 + i64::from(fields.month) - 1 + i64::from(months);
        fields.year = total.div_euclid(12);
        fields.month = total.rem_euclid(12) as u8 + 1;
        fields.day = fields.day.min(month_length(fields.year, fields.month));
        if !(-4713..=294_276).contains(&fields.year) {
            return None;
        }
    }
    fields.join().checked_add(i64::from(day_count).checked_mul(DAY)?)
}

/// Rounds to `digits` places of a second.
pub(super) fn round_to(micros: i64, digits: Option<u8>) -> i64 {
    let Some(digits) = digits.filter(|digits| *digits < 6) else {
        return micros;
    };
    if infinite(micros).is_some() {
        return micros;
    }
    let unit = 10_i64.pow(u32::from(6 - digits));
    let rest = micros.rem_euclid(unit);
    let down = micros - rest;
    if rest * 2 >= unit { down + unit } else { down }
}
