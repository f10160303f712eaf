//! Stories about a store: each line is one step of one session and what comes of it.
//!
//! The table has columns `id` (unique) and `v`, and rows 1, 2 and 3 with `v` 10, 20, 30. A line is `SESSION COMMAND -> RESULT`; without
//! a result, `ok` is meant. After `;` follow the sessions that the step woke, in the order in which they went on. The store
//! is brought into canonical form after every step, so that no story can depend on a number that is not kept.

mod canonical;
mod locks;
mod rows;
mod serializable;
mod transactions;
mod unique;

use std::ops::Bound;

use super::*;
use crate::value::Value;

/// Plays a story and compares every result.
fn check(story: &str) {
    check_on(Release::default(), story);
}

/// Plays a story on a release of the server.
fn check_on(release: Release, story: &str) {
    let mut play = Play::new();
    play.store.set_release(release);
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        play.line(line, story);
    }
    assert_eq!(play.choice, None, "nobody raced in {story}");
}

/// Plays a story and returns the store.
fn after(story: &str) -> Store {
    let mut play = Play::new();
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        play.line(line, story);
    }
    play.store
}

fn session(number: u8) -> SessionId {
    Pid::root(number)
}

fn number(session: SessionId) -> String {
    session.top().to_string()
}

struct Play {
    store: Store,
    table: TableId,
    key: IndexId,
    sequence: SequenceId,
    running: Vec<Running>,
    /// Who wins the next race.
    choice: Option<u8>,
}

/// A statement under way.
#[derive(Clone)]
struct Running {
    session: SessionId,
    words: Vec<String>,
    alone: bool,
    snapshot: Option<Snapshot>,
    /// What it found: what a statement has read it does not read again when it goes on.
    found: Option<Vec<VersionId>>,
    /// What it wrote before it had to wait.
    made: Option<VersionId>,
}

impl Play {
    fn new() -> Self {
        let mut store = Store::new();
        let table = store.create_table();
        let key = store.create_index(table, Some(Nulls::Distinct));
        let sequence = store.create_sequence(1);
        let mut play = Play {
            store,
            table,
            key,
            sequence,
            running: Vec::new(),
            choice: None,
        };
        for id in 1..=3 {
            assert_eq!(play.command(&format!("0 insert {id} {}", id * 10)), "ok");
        }
        play
    }

    fn line(&mut self, line: &str, story: &str) {
        let (command, expected) = line.split_once("->").unwrap_or((line, "ok"));
        let result = self.command(command.trim());
        assert_eq!(result, expected.trim(), "at `{command}` in {story}");
    }

    fn command(&mut self, command: &str) -> String {
        let mut words = command.split_whitespace().map(str::to_owned);
        let who = words.next().expect("a session");
        let words: Vec<String> = words.collect();
        if who == "choose" {
            self.choice = Some(words[0].parse().expect("a session"));
            return "ok".into();
        }
        let who = session(who.parse().expect("a session"));
        let mut results = vec![self.start(who, words)];
        self.settle(&mut results);
        self.renumber();
        results.retain(|result| !result.is_empty());
        results.join("; ")
    }

    fn start(&mut self, who: SessionId, words: Vec<String>) -> String {
        let free = words[0] == "disconnect" || self.running.iter().all(|one| one.session != who);
        assert!(free, "{words:?} while waiting");
        let alone = self.store.tx_state(who) == TxState::Idle && !is_control(&words[0]);
        if alone {
            self.store.begin(who, Level::ReadCommitted, false, false);
        }
        let running = Running {
            session: who,
            words,
            alone,
            snapshot: None,
            found: None,
            made: None,
        };
        self.go_on(running)
    }

    /// Runs a statement until it is done or waits.
    fn go_on(&mut self, mut running: Running) -> String {
        let who = running.session;
        let mut result = self.perform(&mut running);
        match &result {
            Err(Stop::Wait) => {
                self.running.push(running);
                let blockers: Vec<String> = self.store.blockers(who).into_iter().map(number).collect();
                return format!("waits {}", blockers.join(","));
            }
            Err(Stop::Error(_)) if running.alone => self.store.rollback(who),
            Err(Stop::Error(_)) if running.words[0] != "commit" => self.store.fail(who),
            _ => {}
        }
        self.store.finish_statement(who);
        if running.alone && result.is_ok() {
            result = match self.store.commit(who) {
                Ok(()) => result,
                Err(error) => Err(error.into()),
            };
        }
        match result {
            Ok(text) => text,
            Err(Stop::Error(error)) => tell(&error),
            Err(Stop::Wait | Stop::Between) => unreachable!("handled above"),
        }
    }

    /// Lets everybody go on who can.
    fn settle(&mut self, results: &mut Vec<String>) {
        loop {
            let next = match self.store.wakeable() {
                Wakeups::InTurn(ready) => ready[0],
                Wakeups::Race(racers) => match self.choice.take() {
                    Some(choice) => {
                        assert!(racers.contains(&session(choice)), "{racers:?}");
                        session(choice)
                    }
                    None => racers[0],
                },
                Wakeups::Nobody => match self.store.deadlock() {
                    Some(cycle) => {
                        results.push(self.kill(cycle[0]));
                        continue;
                    }
                    None if self.store.wakeable() == Wakeups::Nobody => return,
                    None => continue,
                },
            };
            let place = self.running.iter().position(|one| one.session == next);
            let running = self.running.remove(place.expect("a waiting statement"));
            let result = self.go_on(running);
            results.push(format!("{} {result}", number(next)));
        }
    }

    fn kill(&mut self, victim: SessionId) -> String {
        let place = self.running.iter().position(|one| one.session == victim);
        let running = self.running.remove(place.expect("a waiting statement"));
        match running.alone {
            true => self.store.rollback(victim),
            false => self.store.fail(victim),
        }
        format!("{} 40P01", number(victim))
    }

    fn renumber(&mut self) {
        let held: Vec<_> = self
            .running
            .iter()
            .flat_map(|one| one.made.iter().chain(one.found.iter().flatten()))
            .map(|version| (self.table, *version))
            .collect();
        let numbers = self.store.canonicalize(&held);
        for one in &mut self.running {
            for version in one.made.iter_mut().chain(one.found.iter_mut().flatten()) {
                *version = numbers.version(self.table, *version);
            }
        }
    }

    /// One attempt at a statement.
    fn perform(&mut self, running: &mut Running) -> Result<String, Stop> {
        let words = running.words.clone();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let who = running.session;
        if let Some(done) = self.control(who, &words)? {
            return Ok(done);
        }
        if self.store.tx_state(who) == TxState::Failed {
            return Ok("25P02".into());
        }
        let store = &mut self.store;
        match words[..] {
            ["nextval"] => return Ok(store.nextval(self.sequence, 1).to_string()),
            ["table", mode] => {
                return store
                    .lock_table(who, self.table, table_mode(mode), false)
                    .map(|()| "ok".into());
            }
            ["table", mode, "nowait"] => {
                return store
                    .lock_table(who, self.table, table_mode(mode), true)
                    .map(|()| "ok".into());
            }
            ["advisory", key, ref how @ ..] => {
                let (try_only, shared) = (how.contains(&"try"), how.contains(&"shared"));
                let scope = match how.contains(&"session") {
                    true => Scope::Session,
                    false => Scope::Transaction,
                };
                let granted = store.advisory_lock(who, advisory_key(key), shared, scope, try_only)?;
                return Ok(if granted { "ok" } else { "no" }.into());
            }
            ["unlock", key, ref how @ ..] => {
                let unlocked = store.advisory_unlock(who, advisory_key(key), how.contains(&"shared"));
                return Ok(if unlocked { "ok" } else { "no" }.into());
            }
            ["unlock-all"] => {
                store.advisory_unlock_all(who);
                return Ok("ok".into());
            }
            _ => {}
        }
        let mode = match words[0] {
            "scan" | "get" | "range" => TableMode::AccessShare,
            "lock" => TableMode::RowShare,
            _ => TableMode::RowExclusive,
        };
        self.store.lock_table(who, self.table, mode, false)?;
        let snapshot = match running.snapshot {
            Some(snapshot) => snapshot,
            None => *running.snapshot.insert(self.store.start_statement(who)?),
        };
        self.statement(running, &words, &snapshot)
    }

    /// Transaction control, which also a failed transaction accepts.
    fn control(&mut self, who: SessionId, words: &[&str]) -> Result<Option<String>, Stop> {
        let store = &mut self.store;
        match words {
            ["begin", how @ ..] => {
                let level = match how.first() {
                    Some(&"rr") => Level::RepeatableRead,
                    Some(&"ser") => Level::Serializable,
                    _ => Level::ReadCommitted,
                };
                store.begin(who, level, how.contains(&"ro"), how.contains(&"deferrable"));
            }
            ["commit"] => store.commit(who)?,
            ["rollback"] => store.rollback(who),
            ["rollback", name] => store.rollback_to(who, name)?,
            ["savepoint", name] if store.tx_state(who) == TxState::Active => store.savepoint(who, name),
            ["release", name] if store.tx_state(who) == TxState::Active => store.release(who, name)?,
            ["disconnect"] => {
                self.running.retain(|one| one.session != who);
                store.disconnect(who);
            }
            ["timeout", millis] => store.set_deadlock_timeout(who, millis.parse::<i64>().expect("a number") * 1000),
            _ => return Ok(None),
        }
        Ok(Some("ok".into()))
    }

    fn statement(&mut self, running: &mut Running, words: &[&str], snapshot: &Snapshot) -> Result<String, Stop> {
        let who = running.session;
        match *words {
            ["scan"] => {
                let found = self.store.scan(who, snapshot, self.table)?;
                Ok(self.show(&found))
            }
            ["get", id] => {
                let found = self.find(who, snapshot, id)?;
                Ok(self.show(&found))
            }
            ["range", low, high] => {
                let range = KeyRange {
                    prefix: Vec::new(),
                    low: Bound::Included(value(low)),
                    high: Bound::Included(value(high)),
                    parts: Vec::new(),
                };
                let found = self.store.index_scan(who, snapshot, self.key, &range)?;
                Ok(self.show(&found))
            }
            ["lock", id, strength, ref policy @ ..] => {
                let wait = match policy.first() {
                    Some(&"nowait") => WaitPolicy::NoWait,
                    Some(&"skip") => WaitPolicy::SkipLocked,
                    _ => WaitPolicy::Block,
                };
                let strength = match strength {
                    "key-share" => Strength::KeyShare,
                    "share" => Strength::Share,
                    "no-key-update" => Strength::NoKeyUpdate,
                    _ => Strength::Update,
                };
                let locked = self.lock(running, snapshot, id, strength, wait, Purpose::Select)?;
                Ok(self.show(&locked))
            }
            ["update", id, v] => self.update(running, snapshot, id, id, v),
            ["rekey", id, new] => self.update(running, snapshot, id, new, "="),
            ["delete", id] => {
                let found = self.lock(
                    running,
                    snapshot,
                    id,
                    Strength::Update,
                    WaitPolicy::Block,
                    Purpose::Write,
                )?;
                for version in &found {
                    self.store.delete(who, self.table, *version)?;
                }
                Ok(if found.is_empty() { "none" } else { "ok" }.into())
            }
            ["insert", id, v] => self.insert(running, id, v),
            ["nothing", id, v] => match self.store.probe_key(who, self.key, &Key::new([value(id)]), None)? {
                None => self.insert(running, id, v),
                Some(twin) => {
                    self.store.read_conflicting(who, snapshot, self.table, twin)?;
                    Ok("none".into())
                }
            },
            ["upsert", id, v] => self.upsert(running, snapshot, id, v),
            _ => panic!("no such command: {words:?}"),
        }
    }

    fn insert(&mut self, running: &mut Running, id: &str, v: &str) -> Result<String, Stop> {
        let who = running.session;
        let made = match running.made {
            Some(made) => made,
            None => *running
                .made
                .insert(self.store.insert(who, self.table, [value(id), value(v)].into())?),
        };
        let key = Key::new([value(id)]);
        match self.store.enter_key(who, self.key, key, made, KeyCheck::Enforce)? {
            Entered::Done => Ok("ok".into()),
            Entered::Conflict(_) => Err(duplicate()),
        }
    }

    fn upsert(&mut self, running: &mut Running, snapshot: &Snapshot, id: &str, v: &str) -> Result<String, Stop> {
        let who = running.session;
        loop {
            let key = Key::new([value(id)]);
            let twin = match running.found.as_ref().and_then(|found| found.first()) {
                Some(twin) => *twin,
                None => match self.store.probe_key(who, self.key, &key, None)? {
                    Some(twin) => running.found.insert(vec![twin])[0],
                    None => return self.insert(running, id, v),
                },
            };
            let request = RowRequest {
                strength: Strength::NoKeyUpdate,
                wait: WaitPolicy::Block,
                purpose: Purpose::Upsert,
            };
            match self.store.lock_row(who, self.table, twin, &request, snapshot)? {
                Locked::Same => {
                    let row = [value(id), value(v)].into();
                    let made = self.store.update(who, self.table, twin, row, false)?;
                    self.store.enter_key(who, self.key, key, made, KeyCheck::HeapOnly)?;
                    return Ok("updated".into());
                }
                Locked::Gone => running.found = None,
                other => return Ok(format!("{other:?}")),
            }
        }
    }

    fn update(
        &mut self,
        running: &mut Running,
        snapshot: &Snapshot,
        id: &str,
        new: &str,
        v: &str,
    ) -> Result<String, Stop> {
        let who = running.session;
        let moves = new != id;
        let strength = if moves { Strength::Update } else { Strength::NoKeyUpdate };
        let made = match running.made {
            Some(made) => made,
            None => {
                let found = self.lock(running, snapshot, id, strength, WaitPolicy::Block, Purpose::Write)?;
                let Some(version) = found.first() else {
                    return Ok("none".into());
                };
                let old = self.store.row(self.table, *version)[1].clone();
                let v = match (v.strip_prefix('+'), old) {
                    (_, old) if v == "=" => old,
                    (Some(more), Value::Int(old)) => Value::Int(old + more.parse::<i64>().expect("a number")),
                    _ => value(v),
                };
                let row = [value(new), v].into();
                *running
                    .made
                    .insert(self.store.update(who, self.table, *version, row, moves)?)
            }
        };
        let check = if moves { KeyCheck::Enforce } else { KeyCheck::HeapOnly };
        match self
            .store
            .enter_key(who, self.key, Key::new([value(new)]), made, check)?
        {
            Entered::Done => Ok("ok".into()),
            Entered::Conflict(_) => Err(duplicate()),
        }
    }

    fn find(&mut self, who: SessionId, snapshot: &Snapshot, id: &str) -> Result<Vec<VersionId>, SqlError> {
        let range = KeyRange::equal([value(id)]);
        self.store.index_scan(who, snapshot, self.key, &range)
    }

    /// Locks the row that has an id, and tests the condition again when it moved.
    fn lock(
        &mut self,
        running: &mut Running,
        snapshot: &Snapshot,
        id: &str,
        strength: Strength,
        wait: WaitPolicy,
        purpose: Purpose,
    ) -> Result<Vec<VersionId>, Stop> {
        let request = RowRequest {
            strength,
            wait,
            purpose,
        };
        let who = running.session;
        let found = match &running.found {
            Some(found) => found.clone(),
            None => running.found.insert(self.find(who, snapshot, id)?).clone(),
        };
        let mut locked = Vec::new();
        for version in found {
            match self.store.lock_row(who, self.table, version, &request, snapshot)? {
                Locked::Same => locked.push(version),
                Locked::Moved(newest) if self.store.row(self.table, newest)[0] == value(id) => locked.push(newest),
                _ => {}
            }
        }
        Ok(locked)
    }

    fn show(&self, versions: &[VersionId]) -> String {
        let values = versions
            .iter()
            .map(|version| match &self.store.row(self.table, *version)[1] {
                Value::Int(v) => v.to_string(),
                other => format!("{other:?}"),
            });
        match versions.is_empty() {
            true => "none".into(),
            false => values.collect::<Vec<_>>().join(","),
        }
    }
}

fn is_control(word: &str) -> bool {
    ["begin", "commit", "rollback", "disconnect", "timeout"].contains(&word)
}

fn value(text: &str) -> Value {
    text.parse().map_or(Value::Null, Value::Int)
}

fn advisory_key(text: &str) -> AdvisoryKey {
    match text.split_once(',') {
        Some((one, two)) => AdvisoryKey::Pair(one.parse().expect("a number"), two.parse().expect("a number")),
        None => AdvisoryKey::Big(text.parse().expect("a number")),
    }
}

fn table_mode(text: &str) -> TableMode {
    match text {
        "access-share" => TableMode::AccessShare,
        "row-exclusive" => TableMode::RowExclusive,
        "share" => TableMode::Share,
        "share-row-exclusive" => TableMode::ShareRowExclusive,
        "exclusive" => TableMode::Exclusive,
        _ => TableMode::AccessExclusive,
    }
}

fn duplicate() -> Stop {
    Stop::Error(SqlError::new(SqlState::UNIQUE_VIOLATION, "duplicate key"))
}

/// The SQLSTATE, and for 40001 which of its texts.
fn tell(error: &SqlError) -> String {
    match error.message.rsplit(' ').next() {
        Some("update") => "40001 update".into(),
        Some("delete") => "40001 delete".into(),
        Some("transactions") => "40001 dependencies".into(),
        _ => error.code.to_string(),
    }
}
