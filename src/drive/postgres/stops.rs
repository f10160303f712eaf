//! Schedules that stop a statement in the middle: which of them a server can be brought to by gates, and what is sent for the others.

use super::aliases::Aliases;
use super::compare::{Strictness, cells, difference};
use super::conductor::Rehearsal;
use super::ends::rows_differ;
use super::gates::{At, Deed, Gate};
use super::literal::substitute;
use super::provoke::{Provoked, Seen, Volley, fire};
use super::record::Record;
use super::stage::{Stage, StageError};
use super::translate::translate;

use crate::machine::{Access, Effect, Pid, Rows, SqlError};
use crate::system::{Action, Event, State, Status, System};

/// How a schedule is brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Step by step; gates stop what is stopped.
    Forced,
    /// Its statements are sent at once, many times.
    Provoked,
}

/// How the steps of a rehearsed schedule can be brought about.
pub(super) fn way(records: &[Record], tables: &[std::sync::Arc<str>]) -> Way {
    let is_forced = |(place, record): (usize, &Record)| {
        record.step.stops.is_empty() || gate(record, tables).is_some() && goes_on_at_once(&records[place..])
    };
    match records.iter().enumerate().all(is_forced) {
        true => Way::Forced,
        false => Way::Provoked,
    }
}

/// The gate that stops the step's own statement where the step stops it.
pub(super) fn gate(record: &Record, tables: &[std::sync::Arc<str>]) -> Option<(Pid, Gate)> {
    let (pid, sql) = record.sent()?;
    let [stop] = record.step.stops.as_slice() else {
        return None;
    };
    let stopped = record.events.iter().find_map(|event| match event {
        Event::Stopped { pid: who, done, next } if *who == pid => Some((done, next)),
        _ => None,
    });
    let (done, next) = stopped.filter(|_| stop.statement == 0)?;
    let (deed, table) = target(&sql.text, tables)?;
    let count = |is: fn(&Access) -> bool| done.iter().filter(|access| is(access)).count() as u32;
    let locked = count(|access| matches!(access, Access::Row { .. }));
    let written = count(|access| matches!(access, Access::Write { .. }));
    let is_in_row = matches!(done.last(), Some(Access::Write { .. } | Access::Key { .. }));
    let at = match (deed, next) {
        (_, None) if written > 0 => At::Commit,
        (_, None) => return None,
        // Before the row is written its keys are looked for again.
        (Deed::Insert, Some(Access::Write { .. } | Access::Row { .. })) => At::Row(written + 1),
        (Deed::Insert, Some(Access::Key { probed: true, .. })) => At::Row(written.max(1)),
        (Deed::Insert, Some(Access::Key { .. })) if matches!(done.last(), Some(Access::Write { .. })) => {
            At::Row(written)
        }
        // The row is written and some of its keys are entered. Nobody can meet those that were drawn, so they may as well not be.
        (Deed::Insert, Some(Access::Key { .. })) if matches!(done.last(), Some(Access::Key { .. })) => {
            let entered = done.iter().rev().map_while(|access| match access {
                Access::Key { drawn, .. } => Some(*drawn),
                _ => None,
            });
            match written > 0 && entered.into_iter().all(|drawn| drawn) {
                true => At::Row(written),
                false => return None,
            }
        }
        (Deed::Insert, Some(Access::Key { .. })) => At::Row(written + 1),
        (Deed::Update | Deed::Delete, Some(Access::Row { .. })) if locked == 0 => At::Start,
        // Who has written a row or only holds it is the same to everybody else.
        (Deed::Update | Deed::Delete, Some(Access::Row { .. })) if !is_in_row || written == locked => At::Row(locked),
        (Deed::Update | Deed::Delete, Some(Access::Write { .. })) if locked > 0 => At::Row(locked),
        _ => return None,
    };
    Some((pid, Gate { table, deed, at }))
}

/// What a statement does, and to which table: of one that begins with the word for it.
fn target(text: &str, tables: &[std::sync::Arc<str>]) -> Option<(Deed, String)> {
    let mut words = text
        .split(|letter: char| letter.is_whitespace() || letter == '(')
        .filter(|word| !word.is_empty());
    let first = words.next()?.to_ascii_lowercase();
    let deed = match first.as_str() {
        "insert" => Deed::Insert,
        "update" => Deed::Update,
        "delete" => Deed::Delete,
        _ => return None,
    };
    let small = |word: &&str| !["into", "from", "only"].contains(&word.to_ascii_lowercase().as_str());
    let named = words.find(small)?;
    let plain = named.strip_prefix("public.").unwrap_or(named);
    let known = tables.iter().find(|table| table.eq_ignore_ascii_case(plain))?;
    Some((deed, known.to_string()))
}

/// Whether the statement that the first of these steps stops goes on to where it ends or waits, and no fault meets its process before.
fn goes_on_at_once(records: &[Record]) -> bool {
    let Some((pid, _)) = records.first().and_then(Record::sent) else {
        return false;
    };
    for record in &records[1..] {
        match record.step.action {
            Action::Fault(who, _) if who == pid => return false,
            Action::Run(who) if who == pid => return record.step.stops.is_empty(),
            _ => {}
        }
    }
    true
}

/// Whether the process's statement goes on in this step after it was stopped.
pub(super) fn goes_on(record: &Record) -> Option<Pid> {
    record.events.iter().find_map(|event| match event {
        Event::WentOn { pid } => Some(*pid),
        _ => None,
    })
}

/// What is sent to provoke a schedule: everything before its first stop one after the other, then the rest of each process's statements at once. `None`
/// where something else than statements happens in it: a fault, the clock, a call, or a wait before the stop.
pub(super) fn volley(records: &[Record]) -> Option<Volley> {
    let first = records.iter().position(|record| !record.step.stops.is_empty())?;
    let mut volley = Volley::default();
    for (place, record) in records.iter().enumerate() {
        let Action::Run(_) = record.step.action else {
            return None;
        };
        let is_plain = record.events.iter().all(|event| match event {
            Event::Did { effect, .. } => matches!(effect, Effect::Sql(_) | Effect::Respond(_) | Effect::Done),
            Event::Faulted { .. } | Event::Clock { .. } => false,
            _ => true,
        });
        if !is_plain {
            return None;
        }
        let Some((pid, sql)) = record.sent() else { continue };
        // What the model does not know is never sent.
        if record.refusal(pid, sql).is_some() {
            return None;
        }
        let text = translate(&substitute(sql)).into_owned();
        if place < first {
            if matches!(record.status(pid), Some(Status::Blocked { .. })) {
                return None;
            }
            volley.before.push((pid, text));
            continue;
        }
        match volley.at_once.iter_mut().find(|(who, _)| *who == pid) {
            Some((_, texts)) => texts.push(text),
            None => volley.at_once.push((pid, vec![text])),
        }
        if !record.step.stops.is_empty() && !volley.slow.contains(&pid) {
            volley.slow.push(pid);
        }
    }
    Some(volley)
}

/// A run that is asked of the server by sending its statements at once.
pub(super) struct Wanted<'a> {
    volley: Volley,
    /// What the model says that each process gets back, from the first stop on.
    replies: Vec<(Pid, Vec<&'a Result<Rows, SqlError>>)>,
    end: &'a State,
}

impl<'a> Wanted<'a> {
    /// `None` where that can't be told by statements alone.
    pub(super) fn of(system: &System, rehearsal: &'a Rehearsal) -> Option<Self> {
        let records = rehearsal.records();
        let first = records.iter().position(|record| !record.step.stops.is_empty())?;
        let mut replies: Vec<(Pid, Vec<_>)> = Vec::new();
        for record in &records[first..] {
            for (pid, result) in record.ended() {
                let result = result?;
                match replies.iter_mut().find(|(who, _)| *who == pid) {
                    Some((_, results)) => results.push(result),
                    None => replies.push((pid, vec![result])),
                }
            }
        }
        Some(Wanted {
            volley: volley(records)?,
            replies,
            end: records
                .last()
                .map(|record| &record.after)
                .filter(|state| system.is_final(state))?,
        })
    }

    /// Asks until it was seen a few times, or often enough in vain.
    pub(super) fn provoke(&self, stage: &mut Stage) -> Result<Provoked, StageError> {
        let mut all = Provoked { seen: 0, tries: 0 };
        while all.tries < TRIES && all.seen < ENOUGH {
            let seen = fire(stage, &self.volley, all.tries)?;
            all.tries += 1;
            all.seen += u32::from(self.is_seen(&seen));
        }
        Ok(all)
    }

    fn is_seen(&self, seen: &Seen) -> bool {
        let strict = Strictness {
            messages: false,
            ties: Vec::new(),
        };
        // What the server made up stands for what the model made up, wherever it appears.
        let mut aliases = Aliases::default();
        let made_up = |text: &str| self.end.world.database.made_up(text);
        let mut said = |pid: &Pid, results: &[&Result<Rows, SqlError>]| {
            let answers = seen.answers.get(pid).map_or(&[][..], Vec::as_slice);
            let mut pairs = results.iter().zip(answers);
            answers.len() == results.len()
                && pairs.all(|(result, answer)| {
                    let mut answer = answer.clone();
                    if let (Ok(rows), Some(told)) = (result, answer.results.last_mut()) {
                        aliases.read(&cells(rows), told, &made_up);
                    }
                    difference(result, &answer, &strict).is_none()
                })
        };
        self.replies.iter().all(|(pid, results)| said(pid, results))
            && rows_differ(&seen.tables, self.end, &aliases).is_none()
    }
}

/// So often a schedule is asked for.
const TRIES: u32 = 200;
/// So many sightings are enough.
const ENOUGH: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_of_a_statement_is_read_off_its_first_words() {
        let tables = ["jobs".into(), "\"Odd\"".into()];
        let of = |text: &str| target(text, &tables);
        assert_eq!(
            of("insert into jobs(id) values (1)"),
            Some((Deed::Insert, "jobs".into()))
        );
        assert_eq!(
            of("UPDATE ONLY public.Jobs SET a = 1"),
            Some((Deed::Update, "jobs".into()))
        );
        assert_eq!(of("delete from \"Odd\""), Some((Deed::Delete, "\"Odd\"".into())));
        assert_eq!(of("select * from jobs for update"), None);
        assert_eq!(of("with gone as (delete from jobs) select 1"), None);
    }
}
