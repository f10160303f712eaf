//! Lists of whole objects, newest first, in pages.

use std::sync::Arc;

use serde_json::Value as Json;

use super::object::{no_such, prefix};
use super::{Provider, number, refused, text};
use crate::machine::service::{Answer, Call};
use crate::value::Value;

/// How long a page is that says nothing of it, and the longest that may be asked for.
const USUAL: i64 = 10;
const LONGEST: i64 = 100;

/// What lists can be narrowed by, beside `type` and `types`: fields of the objects, as the client names them.
const FILTERS: [&str; 4] = ["customer", "payment_intent", "charge", "email"];

/// What lists can be narrowed by in time: an object's moment, and that of the argument, in seconds.
type Moment = (&'static str, fn(i64, i64) -> bool);
const MOMENTS: [Moment; 5] = [
    ("created", |own, moment| own == moment),
    ("created_gt", |own, moment| own > moment),
    ("created_gte", |own, moment| own >= moment),
    ("created_lt", |own, moment| own < moment),
    ("created_lte", |own, moment| own <= moment),
];

impl Provider {
    /// A page of a kind (`customers`, `intents`, `charges`, `refunds`, `events`): `objects` is an array of JSON texts, and `has_more` whether there are others in the
    /// direction of the cursor. With the cursor `ending_before` they are the nearest that are newer.
    pub(super) fn page(&self, kind: &str, call: &Call) -> Answer {
        let limit = match number(call, "limit") {
            Ok(limit) => limit.unwrap_or(USUAL),
            Err(answer) => return answer,
        };
        if !(1..=LONGEST).contains(&limit) {
            let message = format!("Invalid integer: limit must be from 1 to {LONGEST}, not {limit}.");
            return refused(400, "parameter_invalid_integer", &message);
        }
        if let Some(answer) = MOMENTS.iter().find_map(|(name, _)| number(call, name).err()) {
            return answer;
        }
        let limit = usize::try_from(limit).unwrap_or_default();
        let mut ids: Vec<(usize, &Arc<str>)> = self.listed(kind).collect();
        ids.sort_unstable_by(|one, other| other.cmp(one));
        let (after, before) = (text(call, "starting_after"), text(call, "ending_before"));
        let place_of = |cursor: &str| ids.iter().position(|(_, id)| ***id == *cursor);
        let window = match (after.is_empty(), before.is_empty()) {
            (true, true) => ids.as_slice(),
            (false, true) => match place_of(&after) {
                Some(place) => &ids[place + 1..],
                None => return unknown_cursor(kind, &after),
            },
            (true, false) => match place_of(&before) {
                Some(place) => &ids[..place],
                None => return unknown_cursor(kind, &before),
            },
            (false, false) => {
                let message = "You can only provide one of: starting_after, ending_before.";
                return refused(400, "parameter_invalid", message);
            }
        };
        let wanted = |id: &Arc<str>| self.tell(id).filter(|object| is_wanted(object, call));
        let mut found: Vec<Json> = match before.is_empty() {
            true => window.iter().filter_map(|(_, id)| wanted(id)).take(limit + 1).collect(),
            false => {
                let nearest_first = window.iter().rev().filter_map(|(_, id)| wanted(id));
                nearest_first.take(limit + 1).collect()
            }
        };
        let has_more = found.len() > limit;
        found.truncate(limit);
        if !before.is_empty() {
            found.reverse();
        }
        let expand = text(call, "expand");
        let objects = found.into_iter().map(|mut object| {
            self.expand(&mut object, &expand);
            Value::text(object.to_string())
        });
        Answer::Ok(vec![
            ("objects".into(), Value::Array(objects.collect())),
            ("has_more".into(), Value::Bool(has_more)),
        ])
    }

    fn listed<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (usize, &'a Arc<str>)> {
        let of_kind = self
            .objects
            .known
            .iter()
            .filter(move |(id, _)| id.starts_with(prefix(kind)));
        let there = of_kind.filter(move |(id, _)| kind != "customers" || self.customers.contains_key(*id));
        there.map(|(id, known)| (known.place, id))
    }
}

fn unknown_cursor(kind: &str, id: &str) -> Answer {
    match no_such(kind, id) {
        // It was no path that named it.
        Answer::Refused { code, message, .. } => refused(400, &code, &message),
        answer => answer,
    }
}

/// Whether an object passes what the call narrows the list by.
fn is_wanted(object: &Json, call: &Call) -> bool {
    let field = |name: &str| object.get(name).and_then(Json::as_str).unwrap_or_default();
    let narrow = FILTERS.iter().all(|name| {
        let wanted = text(call, name);
        wanted.is_empty() || *wanted == *field(name)
    });
    let created = object.get("created").and_then(Json::as_i64).unwrap_or_default();
    let in_time = MOMENTS.iter().all(|(name, fits)| match number(call, name) {
        Ok(Some(moment)) => fits(created, moment),
        _ => true,
    });
    let types = text(call, "type");
    let mut patterns = types.split(',').filter(|pattern| !pattern.is_empty()).peekable();
    narrow && in_time && (patterns.peek().is_none() || patterns.any(|pattern| fits(pattern, field("type"))))
}

/// Whether a type of event fits a pattern with at most one `*`.
fn fits(pattern: &str, kind: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == kind,
        Some((start, end)) => kind.len() >= start.len() + end.len() && kind.starts_with(start) && kind.ends_with(end),
    }
}
