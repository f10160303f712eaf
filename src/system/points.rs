//! Where a statement may be stopped: every point inside of it, or those at which somebody could notice.
//!
//! **The argument.** A statement is a row of accesses; between two of them is a point. Say that others come between at a point, and nothing that they do conflicts with
//! what comes next: then that could as well have come before them. If nothing that they do conflicts with what the statement did so far, they could as well have come before the
//! whole statement. So a stop matters only where some chain of steps of others begins at something that the statement did and ends at what it does next. Such chains
//! are of two kinds:
//!
//! - One that begins softly: another process meets what the statement did and *goes on* (it publishes what the snapshot did not see, draws from the same
//!   sequence, tries a lock and fails, moves the clock). From there on anything may follow, so any access of others to what comes next counts.
//! - One that begins hard: another process meets a lock that the statement holds, and waits. It does nothing any more before the statement's transaction ends (unless it becomes the victim of a
//!   deadlock: where one was seen, all waits count as soft), so all that can matter is
//!   that it holds what the statement asks for next: a circle. Then each of those in the circle took, within one statement, first what the one before it asks for and then what the next one holds
//!   (where that was in two statements, others can come between anyway). One of a circle's statements being stopped is enough, and each circle has a place
//!   where the order of accesses goes down; so only there a statement is stopped.
//!
//! A wait replaces a stop: who holds a lock at the moment of the snapshot makes the statement wait, with its snapshot taken, until he commits. A single row that is looked for by its key
//! needs no stop before its lock ([`Reads::of_one_row`](crate::world::database)), and the end of a statement without BEGIN is a step of its own only where somebody
//! looks at what it publishes, or tries what it holds without waiting.
//!
//! What others may touch is not known ahead, because machines are opaque. It is learned: a search begins with no points, notes who touched what ([`Seen`]) and
//! each point that a statement came to. When what was learned by then tells of one where it was not stopped that somebody could notice, it begins again with
//! all that it knows. What is learned only grows, so that comes to an end.
//!
//! The tests compare this with stopping at every point, on random systems of SQL.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;

use crate::machine::{Access, Next, Pid, Point};

/// At which points statements may be stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Points {
    /// Nowhere: statements are atoms. For comparisons.
    None,
    /// Everywhere.
    #[default]
    All,
    /// Where somebody could notice, as far as this is known.
    Seen(Seen),
}

impl Points {
    /// Whether a statement may be stopped here.
    pub fn allow(&self, session: Pid, point: Point<'_>) -> bool {
        match self {
            Points::None => false,
            Points::All => true,
            Points::Seen(seen) => seen.matters(session, point),
        }
    }
}

/// Who touched what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    accesses: BTreeMap<Access, Owners>,
    /// What was taken after what within one statement.
    orders: BTreeMap<(Access, Access), Owners>,
}

/// By whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owners {
    first: Pid,
    others: bool,
}

/// What a step showed of its statements: every access, and every point that they came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Accesses at no point.
    pub(super) noted: Vec<(Pid, Access)>,
    /// Points.
    pub(super) passed: Vec<Passed>,
}

/// A statement came to a point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Passed {
    session: Pid,
    before: Vec<Access>,
    next: Vec<Access>,
    commits: bool,
}

impl Passed {
    pub(super) fn at(session: Pid, point: Point<'_>) -> Self {
        let (next, commits) = match point.next {
            Next::Take(access) => (vec![access], false),
            Next::Commit(published) => (published.to_vec(), true),
        };
        Passed {
            session,
            before: point.before.to_vec(),
            next,
            commits,
        }
    }
}

/// What a search has learned from the steps that it took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    /// Who touched what.
    pub(crate) seen: Seen,
    passed: FxHashSet<Passed>,
    /// Whether a statement waited for another process.
    pub(crate) waits: bool,
}

impl Seen {
    /// Adds an access.
    fn touch(&mut self, session: Pid, access: Access) {
        note(&mut self.accesses, access, session);
    }

    fn lacks(&self, session: Pid, access: Access) -> bool {
        self.accesses
            .get(&access)
            .is_none_or(|owners| !owners.others && owners.first != session)
    }

    /// Adds that one thing was taken after others.
    fn follow(&mut self, session: Pid, before: &[Access], next: Access) {
        for earlier in before {
            note(&mut self.orders, (*earlier, next), session);
        }
    }

    /// Adds all that another one knows.
    pub(crate) fn merge(&mut self, other: &Seen) {
        merge(&mut self.accesses, &other.accesses);
        merge(&mut self.orders, &other.orders);
    }

    /// Takes those for which `many` says so for several processes: who stands for others that start alike.
    pub(crate) fn widen(&mut self, many: impl Fn(Pid) -> bool) {
        let all = self.accesses.values_mut().chain(self.orders.values_mut());
        for owners in all {
            owners.others |= many(owners.first);
        }
    }

    /// Whether somebody else could notice that the statement is stopped here.
    pub fn matters(&self, session: Pid, point: Point<'_>) -> bool {
        match point.next {
            Next::Take(access) => self.is_noticed(session, point.before, &[access], false),
            Next::Commit(published) => self.is_noticed(session, point.before, published, true),
        }
    }

    /// The same of a point that was passed.
    fn mattered(&self, passed: &Passed) -> bool {
        self.is_noticed(passed.session, &passed.before, &passed.next, passed.commits)
    }

    fn is_noticed(&self, session: Pid, before: &[Access], next: &[Access], commits: bool) -> bool {
        let meets_next = |theirs: Access| {
            next.iter().any(|access| access.conflicts(theirs))
                // Who waits for a lock that the commit releases gets it as if it had come later.
                || commits && !theirs.waits() && before.iter().any(|held| held.is_lock() && held.conflicts(theirs))
        };
        // Where there are deadlocks, who waits may be the victim of one and go on.
        let in_vain = !self.accesses.contains_key(&Access::Deadlock);
        let softly = |theirs: Access| {
            before
                .iter()
                .any(|done| done.conflicts(theirs) && !(in_vain && done.waits() && theirs.waits()))
        };
        self.of_others(session).any(meets_next) && self.of_others(session).any(softly)
            || !commits && next.iter().any(|next| self.closes_circle(session, before, *next))
    }

    fn of_others(&self, session: Pid) -> impl Iterator<Item = Access> + '_ {
        let foreign = self.accesses.iter().filter(move |(_, owners)| owners.besides(session));
        foreign.map(|(access, _)| *access)
    }

    /// Whether others can hold what comes next while they wait for what the statement holds.
    fn closes_circle(&self, session: Pid, before: &[Access], next: Access) -> bool {
        let held: Vec<Access> = before
            .iter()
            .copied()
            .filter(|held| held.is_lock() && *held >= next)
            .collect();
        if held.is_empty() || !next.is_lock() {
            return false;
        }
        let mut reached: Vec<Access> = vec![next];
        let mut at = 0;
        while let Some(wanted) = reached.get(at).copied() {
            at += 1;
            for ((first, then), owners) in &self.orders {
                if !owners.besides(session) || !first.conflicts(wanted) || !then.is_lock() {
                    continue;
                }
                if held.iter().any(|held| held.conflicts(*then)) {
                    return true;
                }
                if !reached.contains(then) {
                    reached.push(*then);
                }
            }
        }
        false
    }
}

impl Owners {
    fn besides(self, session: Pid) -> bool {
        self.others || self.first != session
    }
}

fn note<K: Ord>(known: &mut BTreeMap<K, Owners>, key: K, by: Pid) {
    let owners = known.entry(key).or_insert(Owners {
        first: by,
        others: false,
    });
    owners.others |= owners.first != by;
}

fn merge<K: Ord + Copy>(into: &mut BTreeMap<K, Owners>, from: &BTreeMap<K, Owners>) {
    for (key, theirs) in from {
        let owners = into.entry(*key).or_insert(*theirs);
        if owners.first != theirs.first {
            owners.first = owners.first.min(theirs.first);
            owners.others = true;
        }
        owners.others |= theirs.others;
    }
}

impl Learned {
    /// Adds what a step showed; true when that was new.
    pub(crate) fn add(&mut self, log: &Log) -> bool {
        let mut is_new = false;
        for (session, access) in &log.noted {
            is_new |= self.seen.lacks(*session, *access);
            self.seen.touch(*session, *access);
        }
        for passed in &log.passed {
            if !self.passed.contains(passed) {
                is_new = true;
                self.teach(passed);
                self.passed.insert(passed.clone());
            }
        }
        is_new
    }

    fn teach(&mut self, passed: &Passed) {
        if !passed.commits {
            for access in &passed.next {
                self.seen.touch(passed.session, *access);
                self.seen.follow(passed.session, &passed.before, *access);
            }
        }
    }

    /// Adds all that another one has learned.
    pub(crate) fn merge(&mut self, other: &Learned) {
        self.seen.merge(&other.seen);
        self.passed.extend(other.passed.iter().cloned());
        self.waits |= other.waits;
    }

    /// At how many points statements were stopped, whoever's they were.
    pub(crate) fn stops(&self, known: &Seen) -> u64 {
        let stopped = self.passed.iter().filter(|passed| known.mattered(passed));
        let points: BTreeSet<_> = stopped
            .map(|passed| (&passed.before, &passed.next, passed.commits))
            .collect();
        points.len() as u64
    }

    /// Whether a statement was not stopped, where the search knew only `known`, at a point that is known to matter now.
    pub(crate) fn has_missed(&self, known: &Seen) -> bool {
        self.passed
            .iter()
            .any(|passed| self.seen.mattered(passed) && !known.mattered(passed))
    }
}

#[cfg(test)]
mod tests;
