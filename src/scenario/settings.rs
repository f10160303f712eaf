//! `[limits]` and `[storm]`: what stops a search, and what a storm is made of.

use crate::document::Fields;

/// What stops a search. A search that a limit stopped proves nothing: its verdict is `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Limits {
    /// So many states.
    pub states: Option<u64>,
    /// So many seconds.
    pub seconds: Option<u64>,
    /// So many mebibytes.
    pub memory: Option<u64>,
    /// So many whole schedules, for drivers that run schedules one by one.
    pub schedules: Option<u64>,
    /// So many preemptions in one schedule, for loom.
    pub preemptions: Option<u64>,
}

/// What a storm is made of. Where a scenario says nothing, the driver's own values hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Storm {
    /// How many storms.
    pub cases: Option<u32>,
    /// The most clients in one storm.
    pub clients: Option<u32>,
}

const MANY: std::ops::RangeInclusive<i64> = 1..=1_000_000_000_000;

impl Limits {
    pub(super) fn read(fields: Option<Fields<'_>>) -> Limits {
        let Some(mut fields) = fields else {
            return Limits::default();
        };
        let mut count = |key| fields.int(key, MANY).map(i64::unsigned_abs);
        let limits = Limits {
            states: count("states"),
            seconds: count("seconds"),
            memory: count("memory"),
            schedules: count("schedules"),
            preemptions: count("preemptions"),
        };
        fields.finish();
        limits
    }
}

impl Storm {
    pub(super) fn read(fields: Option<Fields<'_>>) -> Storm {
        let Some(mut fields) = fields else {
            return Storm::default();
        };
        let storm = Storm {
            cases: fields.int("cases", 1..=1_000_000).map(|count| count as u32),
            clients: fields.int("clients", 1..=64).map(|count| count as u32),
        };
        fields.finish();
        storm
    }
}
