//! Values that the code draws itself, and its own clock: they differ between two executions of one history and are no other effect.
//!
//! Each history is run twice, side by side. Where the two differ in a value only, the value was drawn: it gets a number by its first appearance, and every process a
//! value of its own in its place. The clock is the world's start and what the code slept since.

use std::sync::Arc;
use std::time::SystemTime;

use uuid::Uuid;

use crate::machine::{Reply, Response, Rows, Sql};
use crate::value::Value;

/// What kind of value was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A UUID.
    Uuid,
    /// A text of so many characters.
    Text(usize),
    /// A number; whether it is one of four bytes.
    Int(bool),
}

/// The drawn values of one execution or one process, in the order of their first appearance.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub(super) struct Names(pub(super) Vec<Value>);

const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

/// Shorter texts are too likely to be there by chance.
const SHORTEST: usize = 8;
/// So are smaller numbers.
const SMALLEST: i64 = 1 << 20;

/// Stands for the drawn value of that number in what is known of all executions.
fn stand_in(number: usize, kind: Kind) -> Value {
    match kind {
        Kind::Uuid => Value::Uuid(Uuid::from_u128((0xffff_ffff_dead_4eea_8000 << 48) | number as u128)),
        Kind::Text(_) => Value::text(format!("\u{1}drawn {number}\u{1}")),
        Kind::Int(_) => Value::Int(i64::MIN + 1 + number as i64),
    }
}

/// The value that a process has in its place, made of a UUID that nobody else has.
pub(super) fn own(kind: Kind, fresh: &Value) -> Value {
    let bits = match fresh {
        Value::Uuid(uuid) => uuid.as_u128(),
        _ => 0,
    };
    match kind {
        Kind::Uuid => fresh.clone(),
        Kind::Text(length) => {
            // Who asks, in front, and how often, at the end: nobody else has both. The shortest text has just room for them.
            let name = ((bits >> 96) as u64) << 16 | (bits as u64 & 0xffff);
            let told = match length {
                ..12 => (0..8)
                    .map(|place| LETTERS[(name >> (place * 6)) as usize & 63])
                    .map(char::from)
                    .collect(),
                _ => format!("{name:012x}"),
            };
            Value::text(format!("{told:0<length$}"))
        }
        Kind::Int(small) => {
            let mixed = ((bits >> 96) as u64)
                .wrapping_mul(0x9e37_79b9)
                .wrapping_add(bits as u64 & 0xffff);
            let most = if small { 0x3fff_ffff } else { 0x3fff_ffff_ffff };
            Value::Int(SMALLEST + (mixed & most) as i64)
        }
    }
}

impl Names {
    /// The same with stand-ins for drawn values.
    pub(super) fn hide(&self, kinds: &[Kind], value: &Value) -> Value {
        let pairs: Vec<(Value, Value)> = kinds
            .iter()
            .enumerate()
            .zip(&self.0)
            .map(|((number, kind), own)| (own.clone(), stand_in(number, *kind)))
            .collect();
        replaced(value, &pairs)
    }

    /// The same with drawn values for stand-ins.
    pub(super) fn show(&self, kinds: &[Kind], value: &Value) -> Value {
        let pairs: Vec<(Value, Value)> = kinds
            .iter()
            .enumerate()
            .zip(&self.0)
            .map(|((number, kind), own)| (stand_in(number, *kind), own.clone()))
            .collect();
        replaced(value, &pairs)
    }

    /// Whether a value may stand where that one is known: it is the same, or the next one that was drawn.
    pub(super) fn accept(&mut self, kinds: &[Kind], value: Value, known: &Value) -> bool {
        let next = self.0.len();
        let is_next = kinds.get(next).is_some_and(|kind| stand_in(next, *kind) == *known);
        if value != *known && is_next {
            self.0.push(value);
            return true;
        }
        if let (Value::Text(text), Value::Text(wanted)) = (&value, known)
            && let Some((inside, stand_in)) = drawn_inside(text, wanted)
        {
            return self.accept(kinds, inside, &stand_in) && {
                let hidden = self.hide(kinds, &value);
                self.accept(kinds, hidden, known)
            };
        }
        value == *known
    }

    pub(super) fn hide_sql(&self, kinds: &[Kind], sql: &Sql) -> Sql {
        Sql {
            params: sql.params.iter().map(|value| self.hide(kinds, value)).collect(),
            ..sql.clone()
        }
    }

    pub(super) fn show_sql(&self, kinds: &[Kind], sql: &Sql) -> Sql {
        Sql {
            params: sql.params.iter().map(|value| self.show(kinds, value)).collect(),
            ..sql.clone()
        }
    }

    pub(super) fn hide_response(&self, kinds: &[Kind], response: &Response) -> Response {
        Response::new(
            response.status,
            text_of(&self.hide(kinds, &Value::Text(response.body.clone()))),
        )
    }

    pub(super) fn show_response(&self, kinds: &[Kind], response: &Response) -> Response {
        Response::new(
            response.status,
            text_of(&self.show(kinds, &Value::Text(response.body.clone()))),
        )
    }

    pub(super) fn hide_reply(&self, kinds: &[Kind], reply: &Reply) -> Reply {
        self.reply(reply, |value| self.hide(kinds, value))
    }

    pub(super) fn show_reply(&self, kinds: &[Kind], reply: &Reply) -> Reply {
        self.reply(reply, |value| self.show(kinds, value))
    }

    fn reply(&self, reply: &Reply, change: impl Fn(&Value) -> Value) -> Reply {
        match reply {
            Reply::Sql(Ok(rows)) if !self.0.is_empty() => Reply::Sql(Ok(Rows {
                columns: rows.columns.clone(),
                rows: rows.rows.iter().map(|row| row.iter().map(&change).collect()).collect(),
                affected: rows.affected,
            })),
            reply => reply.clone(),
        }
    }
}

fn text_of(value: &Value) -> Arc<str> {
    match value {
        Value::Text(text) => text.clone(),
        _ => "".into(),
    }
}

fn replaced(value: &Value, pairs: &[(Value, Value)]) -> Value {
    if let Some((_, to)) = pairs.iter().find(|(from, _)| from == value) {
        return to.clone();
    }
    match value {
        Value::Text(text) => {
            let mut text = text.to_string();
            for (from, to) in pairs.iter().filter(|(from, _)| !matches!(from, Value::Int(_))) {
                let from = from.to_string();
                if text.contains(&from) {
                    text = text.replace(&from, &to.to_string());
                }
            }
            Value::text(text)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| replaced(item, pairs)).collect()),
        Value::Record(items) => Value::Record(items.iter().map(|item| replaced(item, pairs)).collect()),
        other => other.clone(),
    }
}

/// What the two executions have in one place.
pub(super) enum Pair {
    /// The same.
    Same(Value),
    /// A value that was drawn, of this kind.
    Drawn(Kind),
    /// Texts that differ in a UUID in them.
    Inside(Value, Value),
    /// A moment of the code's own clock.
    Clock,
    /// Two things.
    Differ,
}

/// Compares a value of both executions, drawn ones of before already hidden.
pub(super) fn compare(one: &Value, other: &Value) -> Pair {
    match (one, other) {
        (one, other) if one == other => Pair::Same(one.clone()),
        (Value::Uuid(_), Value::Uuid(_)) => Pair::Drawn(Kind::Uuid),
        (Value::Timestamp(_), Value::Timestamp(_)) => Pair::Clock,
        (Value::Text(one), Value::Text(other)) => {
            if let Some((one, other)) = drawn_inside(one, other) {
                return Pair::Inside(one, other);
            }
            let (one, other) = (one.chars().count(), other.chars().count());
            match one == other && one >= SHORTEST {
                true => Pair::Drawn(Kind::Text(one)),
                false => Pair::Differ,
            }
        }
        (Value::Int(one), Value::Int(other)) => {
            let small = |number: i64| i32::try_from(number).is_ok();
            Pair::Drawn(Kind::Int(small(*one) && small(*other)))
        }
        _ => Pair::Differ,
    }
}

/// The first UUIDs that stand at one place of two texts and differ.
pub(super) fn drawn_inside(one: &str, other: &str) -> Option<(Value, Value)> {
    let found = |text: &str, at: usize| text.get(at..at + 36).and_then(|text| Uuid::parse_str(text).ok());
    // The text form of a value is in small letters with dashes.
    let is_plain = |text: &str, at: usize| {
        text.get(at..at + 36)
            .is_some_and(|text| text.as_bytes()[8] == b'-' && text.to_lowercase() == text)
    };
    (0..one.len().min(other.len()))
        .filter(|at| is_plain(one, *at) && is_plain(other, *at))
        .find_map(|at| {
            let (left, right) = (found(one, at)?, found(other, at)?);
            (left != right).then_some((Value::Uuid(left), Value::Uuid(right)))
        })
}

const SECOND: i64 = 1_000_000;

/// A moment of the code's clock as one of the world's: `started` is when the world's clock stood at `origin`. What the code adds to its clock is whole seconds.
pub(super) fn world_time(moment: i64, slept: i64, origin: i64) -> i64 {
    let now = micros(SystemTime::now());
    // The code has read its clock a moment ago: the least whole offset from now that is not behind it.
    let offset = (moment - now).div_euclid(SECOND) * SECOND
        + if (moment - now).rem_euclid(SECOND) == 0 {
            0
        } else {
            SECOND
        };
    origin + slept + offset
}

fn micros(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Names, Pair, SECOND, Value, compare, micros, own, world_time};
    use std::time::SystemTime;

    #[test]
    fn drawn_values_are_hidden_wherever_they_stand_and_shown_as_anothers() {
        let uuid = |number| Value::Uuid(uuid::Uuid::from_u128(number));
        let kinds = [Kind::Uuid];
        let (mine, theirs) = (Names(vec![uuid(7)]), Names(vec![uuid(9)]));
        let text = Value::text(format!("order {}", uuid(7)));
        assert_eq!(
            theirs.show(&kinds, &mine.hide(&kinds, &text)),
            Value::text(format!("order {}", uuid(9)))
        );
        let nested = Value::Array([uuid(7), uuid(8)].into());
        assert_eq!(
            theirs.show(&kinds, &mine.hide(&kinds, &nested)),
            Value::Array([uuid(9), uuid(8)].into())
        );
    }

    #[test]
    fn what_two_processes_draw_is_never_the_same() {
        for kind in [
            Kind::Uuid,
            Kind::Text(8),
            Kind::Text(12),
            Kind::Text(40),
            Kind::Int(true),
            Kind::Int(false),
        ] {
            // As the runtime's service names them: who asks in front, how often at the end.
            let fresh = |pid: u128, count: u128| Value::Uuid(uuid::Uuid::from_u128((pid << 96) | count));
            let all = [fresh(1, 1), fresh(1, 2), fresh(2, 1)].map(|fresh| own(kind, &fresh));
            assert!(
                all[0] != all[1] && all[0] != all[2] && all[1] != all[2],
                "{kind:?}: {all:?}"
            );
        }
    }

    #[test]
    fn the_clock_of_the_code_is_the_worlds() {
        let now = micros(SystemTime::now());
        assert_eq!(world_time(now, 5, 1_000), 1_005);
        assert_eq!(world_time(now + 3600 * SECOND, 0, 1_000), 1_000 + 3600 * SECOND);
        assert!(matches!(compare(&Value::text("a"), &Value::text("b")), Pair::Differ));
    }
}
