//! A cache with Redis' semantics: strings, counters and sorted sets with a time to live in virtual time.
//!
//! Every command is atomic, and so is a [script](Command::script): the commands of one `EVAL` or `MULTI`, which nothing comes between. Reached
//! under the service name `cache`; an outage is a fault of the scenario, a reply lost is another.
//!
//! **How it departs from Redis.** Commands that write tell the time (`at`), as a script with `TIME` can. A key whose time has come is gone at that very moment (Redis removes it when it is next looked at, which nobody can
//! tell). Eviction is not by itself: [`Command::evict`] is the memory pressure that a scenario wants. Persistence and replication are
//! left out: after a failover Redis may forget acknowledged writes, which `evict` also shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::service::{Answer, Call};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::{Service, VirtualTable};

/// The service's name.
pub const CACHE: &str = "cache";

/// The cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Cache {
    entries: BTreeMap<Arc<str>, Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Entry {
    data: Data,
    expires: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Data {
    Text(Arc<str>),
    /// Members with their scores.
    Sorted(BTreeMap<Arc<str>, i64>),
}

/// Commands, as calls. A time to live is in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Command;

impl Command {
    /// `GET`: answers `value` (null when there is none).
    pub fn get(key: &str) -> Call {
        Call::new(CACHE, "get").with("key", key)
    }

    /// `SET`: answers `set` true.
    pub fn set(key: &str, value: &str) -> Call {
        Call::new(CACHE, "set").with("key", key).with("value", value)
    }

    /// `SET NX PX`: answers `set`, false when the key is there.
    pub fn set_nx(key: &str, value: &str, ttl: i64) -> Call {
        Command::set(key, value).with("nx", true).with("px", ttl)
    }

    /// `INCR`: answers `value`.
    pub fn incr(key: &str) -> Call {
        Call::new(CACHE, "incr").with("key", key)
    }

    /// `PEXPIRE`: answers `set`, false when there is no such key.
    pub fn expire(key: &str, ttl: i64) -> Call {
        Call::new(CACHE, "expire").with("key", key).with("px", ttl)
    }

    /// `PTTL`: answers `px`: milliseconds, -1 without a time to live, -2 without the key.
    pub fn ttl(key: &str) -> Call {
        Call::new(CACHE, "ttl").with("key", key)
    }

    /// `DEL`: answers `deleted`.
    pub fn del(key: &str) -> Call {
        Call::new(CACHE, "del").with("key", key)
    }

    /// The script that releases a lock: deletes the key if its value is this one; answers `deleted`.
    pub fn del_if(key: &str, value: &str) -> Call {
        Call::new(CACHE, "del_if").with("key", key).with("value", value)
    }

    /// The script that counts in a fixed window: `INCR`, and `PEXPIRE` if that made it 1; answers `value`.
    pub fn incr_expire(key: &str, ttl: i64) -> Call {
        Call::new(CACHE, "incr_expire").with("key", key).with("px", ttl)
    }

    /// The script that counts in a sliding window over a sorted set: drops members older than `window` milliseconds and adds `member` unless
    /// `limit` are there; answers `allowed` and `count`. Adding a member again changes nothing and is allowed.
    pub fn slide(key: &str, member: &str, window: i64, limit: i64) -> Call {
        Call::new(CACHE, "slide")
            .with("key", key)
            .with("value", member)
            .with("px", window)
            .with("limit", limit)
    }

    /// Several commands that nothing comes between; answers what the last one answers.
    pub fn script(commands: &[Call]) -> Call {
        let mut script = Call::new(CACHE, "script");
        for command in commands {
            script = script.with("command", command.operation.to_string());
            script.arguments.0.extend(command.arguments.0.iter().cloned());
        }
        script
    }

    /// Memory pressure: the key is forgotten.
    pub fn evict(key: &str) -> Call {
        Call::new(CACHE, "evict").with("key", key)
    }
}

impl Cache {
    /// A cache that holds these keys, without a time to live.
    pub fn with(entries: impl IntoIterator<Item = (Arc<str>, Arc<str>)>) -> Self {
        let entry = |value| Entry {
            data: Data::Text(value),
            expires: None,
        };
        Cache {
            entries: entries.into_iter().map(|(key, value)| (key, entry(value))).collect(),
        }
    }

    /// The text under a key.
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        match &self.entries.get(key)?.data {
            Data::Text(text) => Some(text),
            Data::Sorted(_) => None,
        }
    }

    /// When the key goes by itself; `None` when it never does or is not there.
    pub fn expires(&self, key: &str) -> Option<i64> {
        self.entries.get(key)?.expires
    }

    /// Every key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.entries.keys()
    }

    fn run(&mut self, call: &Call, now: i64) -> Result<Answer, Refusal> {
        let key = text(call, "key").ok_or(Refusal("ERR a key is needed"))?;
        match &*call.operation {
            "get" => match self.entries.get(&key) {
                None => Ok(Answer::one("value", Value::Null)),
                Some(Entry {
                    data: Data::Text(text), ..
                }) => Ok(Answer::one("value", Value::Text(text.clone()))),
                Some(_) => Err(WRONG_TYPE),
            },
            "set" => {
                let known = self.entries.contains_key(&key);
                let refused = flag(call, "nx") && known || flag(call, "xx") && !known;
                if !refused {
                    self.put(key, text(call, "value").unwrap_or_default(), expiry(call, now));
                }
                Ok(timed("set", Value::Bool(!refused), now))
            }
            "incr" => {
                let by = number(call, "by").unwrap_or(1);
                self.incr(key, by, None).map(|value| Answer::one("value", value))
            }
            "decr" => {
                let by = number(call, "by").unwrap_or(1).saturating_neg();
                self.incr(key, by, None).map(|value| Answer::one("value", value))
            }
            "incr_expire" => self
                .incr(key, 1, expiry(call, now))
                .map(|value| Answer::one("value", value)),
            "expire" => {
                let entry = self.entries.get_mut(&key);
                let found = entry.is_some();
                if let Some(entry) = entry {
                    entry.expires = expiry(call, now);
                }
                Ok(Answer::one("set", found))
            }
            "ttl" => Ok(Answer::one(
                "px",
                match self.entries.get(&key) {
                    None => -2,
                    Some(Entry { expires: None, .. }) => -1,
                    Some(Entry { expires: Some(at), .. }) => (at - now) / 1000,
                },
            )),
            "del" | "evict" => Ok(Answer::one("deleted", self.entries.remove(&key).is_some())),
            "del_if" => {
                let matches = self.get(&key).cloned() == text(call, "value");
                if matches {
                    self.entries.remove(&key);
                }
                Ok(Answer::one("deleted", matches))
            }
            "slide" => self.slide(key, call, now),
            _ => Err(Refusal("ERR unknown command")),
        }
    }

    fn put(&mut self, key: Arc<str>, value: Arc<str>, expires: Option<i64>) {
        let data = Data::Text(value);
        self.entries.insert(key, Entry { data, expires });
    }

    /// Counts up by a number; a key that is new gets `expires`.
    fn incr(&mut self, key: Arc<str>, by: i64, expires: Option<i64>) -> Result<i64, Refusal> {
        let Some(entry) = self.entries.get_mut(&key) else {
            self.put(key, by.to_string().into(), expires);
            return Ok(by);
        };
        let Data::Text(text) = &mut entry.data else {
            return Err(WRONG_TYPE);
        };
        let Some(count) = text.parse::<i64>().ok().and_then(|count| count.checked_add(by)) else {
            return Err(Refusal("ERR value is not an integer or out of range"));
        };
        *text = count.to_string().into();
        Ok(count)
    }

    fn slide(&mut self, key: Arc<str>, call: &Call, now: i64) -> Result<Answer, Refusal> {
        let window = number(call, "px").unwrap_or(0).saturating_mul(1000);
        let limit = usize::try_from(number(call, "limit").unwrap_or(0)).unwrap_or(0);
        let member = text(call, "value").unwrap_or_default();
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            data: Data::Sorted(BTreeMap::new()),
            expires: None,
        });
        let Data::Sorted(members) = &mut entry.data else {
            return Err(WRONG_TYPE);
        };
        members.retain(|_, score| *score > now - window);
        let allowed = members.contains_key(&member) || members.len() < limit;
        if allowed {
            members.entry(member).or_insert(now);
        }
        let count = members.len() as i64;
        entry.expires = members.values().max().map(|newest| newest + window);
        Ok(Answer::Ok(vec![
            ("allowed".into(), Value::Bool(allowed)),
            ("count".into(), Value::Int(count)),
            ("at".into(), Value::Int(now.div_euclid(1000))),
        ]))
    }

    fn script(&mut self, call: &Call, now: i64) -> Result<Answer, Refusal> {
        let mut last = Ok(Answer::Ok(Vec::new()));
        for command in commands(call) {
            last = Ok(self.run(&command, now)?);
        }
        last
    }
}

/// The commands of a script, taken apart again.
fn commands(call: &Call) -> Vec<Call> {
    let mut commands: Vec<Call> = Vec::new();
    for (name, value) in &call.arguments.0 {
        match (&**name, value, commands.last_mut()) {
            ("command", Value::Text(operation), _) => commands.push(Call::new(CACHE, operation.clone())),
            (_, _, Some(command)) => command.arguments.0.push((name.clone(), value.clone())),
            (_, _, None) => {}
        }
    }
    commands
}

impl Service for Cache {
    fn call(&mut self, _caller: Pid, call: &Call, now: i64) -> Result<Answer, NoAnswer> {
        let done = match &*call.operation {
            "script" => self.script(call, now),
            _ => self.run(call, now),
        };
        Ok(done.unwrap_or_else(|Refusal(message)| Answer::refused(400, "cache_error", message)))
    }

    /// It knows nothing of who calls.
    fn rename(&mut self, _names: &Renaming) -> bool {
        true
    }

    fn next_deadline(&self, now: i64) -> Option<i64> {
        let ends = self.entries.values().filter_map(|entry| entry.expires);
        ends.filter(|moment| *moment > now).min()
    }

    fn advance(&mut self, now: i64) {
        self.entries
            .retain(|_, entry| entry.expires.is_none_or(|moment| moment > now));
    }

    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        match &*call.operation {
            "script" => commands(call)
                .iter()
                .flat_map(|command| self.touches(command))
                .collect(),
            operation => {
                let write = !matches!(operation, "get" | "ttl");
                text(call, "key").map(|key| (key, write)).into_iter().collect()
            }
        }
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let rows = self.entries.iter().map(|(key, entry)| {
            let value = match &entry.data {
                Data::Text(text) => text.clone(),
                Data::Sorted(members) => members
                    .keys()
                    .map(|member| &**member)
                    .collect::<Vec<_>>()
                    .join(" ")
                    .into(),
            };
            vec![
                Value::Text(key.clone()),
                Value::Text(value),
                Value::Bool(entry.expires.is_some()),
            ]
        });
        vec![VirtualTable {
            name: "cache_keys".into(),
            columns: vec![
                ("key".into(), "text".into()),
                ("value".into(), "text".into()),
                ("expires".into(), "boolean".into()),
            ],
            rows: rows.collect(),
        }]
    }
}

/// An answer with the time of the cache in milliseconds, as its `TIME` tells it.
fn timed(name: &str, value: Value, now: i64) -> Answer {
    Answer::Ok(vec![
        (name.into(), value),
        ("at".into(), Value::Int(now.div_euclid(1000))),
    ])
}

/// An error of the cache, as Redis words it.
struct Refusal(&'static str);

const WRONG_TYPE: Refusal = Refusal("WRONGTYPE Operation against a key holding the wrong kind of value");

fn text(call: &Call, name: &str) -> Option<Arc<str>> {
    match call.arguments.get(name)? {
        Value::Text(text) => Some(text.clone()),
        Value::Null => None,
        other => Some(other.to_string().into()),
    }
}

fn number(call: &Call, name: &str) -> Option<i64> {
    match call.arguments.get(name)? {
        Value::Int(number) => Some(*number),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn flag(call: &Call, name: &str) -> bool {
    call.arguments.get(name) == Some(&Value::Bool(true))
}

/// The moment that `px` (milliseconds) or `ex` (seconds) mean.
fn expiry(call: &Call, now: i64) -> Option<i64> {
    let millis = number(call, "px").or_else(|| Some(number(call, "ex")? * 1000))?;
    Some(now.saturating_add(millis.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use super::{Cache, Command};
    use crate::machine::Pid;
    use crate::machine::service::Call;
    use crate::value::Value;
    use crate::world::service::Service;

    fn ask(cache: &mut Cache, call: &Call, now: i64, name: &str) -> Value {
        let answer = cache.call(Pid::root(0), call, now);
        answer
            .ok()
            .and_then(|answer| answer.get(name).cloned())
            .unwrap_or_default()
    }

    #[test]
    fn a_lock_is_taken_once_until_its_time_ends() {
        let mut cache = Cache::default();
        let lock = Command::set_nx("lock", "a", 10);
        assert_eq!(ask(&mut cache, &lock, 0, "set"), Value::Bool(true));
        assert_eq!(ask(&mut cache, &lock, 9_999, "set"), Value::Bool(false));
        assert_eq!(cache.next_deadline(0), Some(10_000));
        cache.advance(10_000);
        assert_eq!(
            ask(&mut cache, &Command::set_nx("lock", "b", 10), 10_000, "set"),
            Value::Bool(true)
        );
        assert_eq!(
            ask(&mut cache, &Command::del_if("lock", "a"), 10_000, "deleted"),
            Value::Bool(false)
        );
        assert_eq!(
            ask(&mut cache, &Command::del_if("lock", "b"), 10_000, "deleted"),
            Value::Bool(true)
        );
    }

    #[test]
    fn a_counter_without_expire_never_ends_and_the_script_sets_it_once() {
        let mut cache = Cache::default();
        assert_eq!(ask(&mut cache, &Command::incr("n"), 0, "value"), Value::Int(1));
        assert_eq!(cache.next_deadline(0), None);
        assert_eq!(
            ask(&mut cache, &Command::incr_expire("m", 5), 0, "value"),
            Value::Int(1)
        );
        assert_eq!(
            ask(&mut cache, &Command::incr_expire("m", 5), 3_000, "value"),
            Value::Int(2)
        );
        assert_eq!(cache.next_deadline(3_000), Some(5_000));
    }

    #[test]
    fn a_sliding_window_lets_no_more_than_its_limit_through_in_any_window() {
        let mut cache = Cache::default();
        let hit =
            |cache: &mut Cache, member: &str, now| ask(cache, &Command::slide("k", member, 10, 2), now, "allowed");
        assert_eq!(hit(&mut cache, "a", 0), Value::Bool(true));
        assert_eq!(hit(&mut cache, "b", 9_000), Value::Bool(true));
        assert_eq!(hit(&mut cache, "c", 9_999), Value::Bool(false));
        assert_eq!(hit(&mut cache, "c", 10_000), Value::Bool(true));
        assert_eq!(hit(&mut cache, "d", 18_000), Value::Bool(false));
    }

    #[test]
    fn a_script_is_one_call() {
        let mut cache = Cache::default();
        let script = Command::script(&[Command::set("a", "1"), Command::incr("a"), Command::get("a")]);
        assert_eq!(ask(&mut cache, &script, 0, "value"), Value::text("2"));
    }

    #[test]
    fn a_key_that_is_set_again_lives_as_its_last_set_says() {
        let mut cache = Cache::default();
        let ttl = |cache: &mut Cache, now| ask(cache, &Command::ttl("k"), now, "px");
        assert_eq!(ttl(&mut cache, 0), Value::Int(-2));
        ask(&mut cache, &Command::set("k", "1").with("ex", 2), 0, "set");
        assert_eq!(ttl(&mut cache, 500_000), Value::Int(1_500));
        ask(&mut cache, &Command::set("k", "2"), 500_000, "set");
        assert_eq!(ttl(&mut cache, 500_000), Value::Int(-1));
        // XX sets only what is there.
        let only = |key: &str| Command::set(key, "3").with("xx", true);
        assert_eq!(ask(&mut cache, &only("k"), 0, "set"), Value::Bool(true));
        assert_eq!(ask(&mut cache, &only("other"), 0, "set"), Value::Bool(false));
        assert_eq!(cache.get("other"), None);
    }

    #[test]
    fn who_is_in_a_full_window_is_let_through_again() {
        let mut cache = Cache::default();
        for _ in 0..2 {
            let again = Command::slide("k", "a", 10, 1);
            assert_eq!(ask(&mut cache, &again, 0, "allowed"), Value::Bool(true));
        }
        assert_eq!(
            ask(&mut cache, &Command::slide("k", "b", 10, 1), 0, "count"),
            Value::Int(1)
        );
    }

    #[test]
    fn a_script_ends_with_its_first_error_and_touches_all_of_its_keys() {
        let mut cache = Cache::with([("word".into(), "a".into())]);
        let script = Command::script(&[Command::set("a", "1"), Command::incr("word"), Command::set("b", "1")]);
        let touched = cache.touches(&script);
        let names: Vec<(&str, bool)> = touched.iter().map(|(key, write)| (&**key, *write)).collect();
        assert_eq!(names, [("a", true), ("word", true), ("b", true)]);
        assert!(ask(&mut cache, &script, 0, "set").is_null(), "it is refused");
        assert_eq!((cache.get("a").is_some(), cache.get("b").is_some()), (true, false));
    }
}
