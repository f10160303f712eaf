//! The session settings that the value of an expression can depend on.

use std::sync::Arc;

/// Settings of a session that evaluation and printing look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// `TimeZone`.
    pub time_zone: Arc<str>,
    /// `DateStyle`.
    pub date_style: DateStyle,
}

impl Settings {
    /// Times as people read them in a report: ISO 8601, UTC.
    pub fn reports() -> Settings {
        Settings {
            date_style: DateStyle::Iso,
            ..Settings::default()
        }
    }
}

impl Default for Settings {
    /// `TimeZone = 'UTC'`, `DateStyle = 'Postgres, MDY'`.
    fn default() -> Self {
        Settings {
            time_zone: "UTC".into(),
            date_style: DateStyle::Postgres,
        }
    }
}

/// The output form of dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum DateStyle {
    /// `Postgres, MDY`: `12-22-2008`, `Mon Dec 22 10:00:00 2008 PST`.
    #[default]
    Postgres,
    /// `ISO, MDY`: `2008-12-22`, `2008-12-22 10:00:00-08`.
    Iso,
}
