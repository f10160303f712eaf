//! Deadlocks: the check that Postgres runs when a wait has lasted for `deadlock_timeout`.
//!
//! A waiter is held up by those who hold what it needs (hard) and by those ahead of it in a queue (soft). A cycle with a
//! soft edge is dissolved by letting the later request go first, if that makes no other cycle; otherwise the session whose
//! check found the cycle is the victim. Timers are not modelled: the checks run in the order in which they would fire when
//! all waits began close together, that is by timeout and then by the beginning of the wait.

use super::lock::LockTag;
use super::{SessionId, Store};

/// A queue in another order.
type Arrangement = Vec<(LockTag, Vec<SessionId>)>;

/// In the queue of an object, the first shall go before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Before {
    tag: LockTag,
    waiter: SessionId,
    blocker: SessionId,
}

/// What a search for a cycle found.
struct Cycle {
    members: Vec<SessionId>,
    soft: Vec<Before>,
}

impl Store {
    /// Runs the deadlock checks. `Some`: the members of a cycle, first the victim, then the others in the order in which
    /// their own checks would have found it. `None`: there is no deadlock, but a queue may have been rearranged, so that
    /// somebody can go on: ask [`Store::wakeable`] again.
    pub fn deadlock(&mut self) -> Option<Vec<SessionId>> {
        let mut waiters: Vec<SessionId> = self.waiters();
        // Stable: the beginning of the wait decides between equal timeouts.
        waiters.sort_by_key(|waiter| self.session(*waiter).map(|session| session.deadlock_timeout));
        for waiter in &waiters {
            match self.check(*waiter, &mut Vec::new()) {
                Ok(arrangement) if arrangement.is_empty() => {}
                Ok(arrangement) => {
                    self.apply(&arrangement);
                    return None;
                }
                Err(cycle) => {
                    let others = waiters.iter().filter(|other| *other != waiter && cycle.contains(other));
                    return Some(std::iter::once(waiter).chain(others).copied().collect());
                }
            }
        }
        None
    }

    /// `DeadLockCheckRecurse`: an arrangement of queues without a cycle through `start` (empty when there is none as it
    /// stands), or the cycle.
    fn check(&self, start: SessionId, constraints: &mut Vec<Before>) -> Result<Arrangement, Vec<SessionId>> {
        let Some(arrangement) = self.arrange(constraints) else {
            return Err(vec![start]);
        };
        let mut starts = vec![start];
        starts.extend(constraints.iter().flat_map(|one| [one.waiter, one.blocker]));
        let mut soft = Vec::new();
        let mut members = Vec::new();
        for from in starts {
            if let Some(cycle) = self.find_cycle(from, &arrangement) {
                if cycle.soft.is_empty() {
                    return Err(cycle.members);
                }
                soft = cycle.soft;
                members = cycle.members;
            }
        }
        if members.is_empty() {
            return Ok(arrangement);
        }
        // Postgres notes the edges on its way back from the end of the cycle and tries them in that order.
        for edge in soft.into_iter().rev() {
            constraints.push(edge);
            if let Ok(found) = self.check(start, constraints) {
                return Ok(found);
            }
            constraints.pop();
        }
        Err(members)
    }

    /// The queues that the constraints concern, in the order nearest to the present one; `None` when they contradict.
    fn arrange(&self, constraints: &[Before]) -> Option<Arrangement> {
        let mut arrangement = Arrangement::new();
        for tag in constraints.iter().map(|one| one.tag) {
            if arrangement.iter().any(|(done, _)| *done == tag) {
                continue;
            }
            let lock = self.find_lock(tag)?;
            let mut left: Vec<SessionId> = lock.queue.iter().map(|request| request.session).collect();
            let mut order = Vec::new();
            while !left.is_empty() {
                let must_wait = |who: &SessionId| {
                    constraints
                        .iter()
                        .any(|one| one.tag == tag && one.blocker == *who && left.contains(&one.waiter))
                };
                let next = left.iter().position(|who| !must_wait(who))?;
                order.push(left.remove(next));
            }
            arrangement.push((tag, order));
        }
        Some(arrangement)
    }

    /// A way from a session back to itself along who waits for whom.
    fn find_cycle(&self, start: SessionId, arrangement: &Arrangement) -> Option<Cycle> {
        let mut path = vec![start];
        let mut soft = Vec::new();
        let mut seen = vec![start];
        self.search(start, start, arrangement, &mut path, &mut soft, &mut seen)
            .then_some(Cycle { members: path, soft })
    }

    fn search(
        &self,
        at: SessionId,
        start: SessionId,
        arrangement: &Arrangement,
        path: &mut Vec<SessionId>,
        soft: &mut Vec<Before>,
        seen: &mut Vec<SessionId>,
    ) -> bool {
        for (next, edge) in self.edges(at, arrangement) {
            soft.extend(edge);
            if next == start {
                return true;
            }
            if !seen.contains(&next) {
                seen.push(next);
                path.push(next);
                if self.search(next, start, arrangement, path, soft, seen) {
                    return true;
                }
                path.pop();
            }
            if edge.is_some() {
                soft.pop();
            }
        }
        false
    }

    /// Who a session waits for: hard edges, then soft ones with the constraint that would reverse them.
    fn edges(&self, session: SessionId, arrangement: &Arrangement) -> Vec<(SessionId, Option<Before>)> {
        let (hard, ahead) = self.obstacles(session);
        let mut edges: Vec<_> = hard.into_iter().map(|holder| (holder, None)).collect();
        let Some((tag, mode)) = self.waiting(session).and_then(|wait| wait.on.tag()) else {
            return edges;
        };
        let ahead = match (arrangement.iter().find(|(of, _)| *of == tag), self.find_lock(tag)) {
            (Some((_, order)), Some(lock)) => order
                .iter()
                .take_while(|other| **other != session)
                .copied()
                .filter(|other| {
                    let asks = |request: &&super::lock::Request| request.session == *other;
                    lock.queue
                        .iter()
                        .find(asks)
                        .is_some_and(|request| request.mode.conflicts(mode))
                })
                .collect(),
            _ => ahead,
        };
        edges.extend(ahead.into_iter().map(|blocker| {
            let before = Before {
                tag,
                waiter: session,
                blocker,
            };
            (blocker, Some(before))
        }));
        edges
    }

    /// Puts queues into a new order and grants what that makes possible.
    fn apply(&mut self, arrangement: &Arrangement) {
        self.rearrange(|lock| {
            let Some((_, order)) = arrangement.iter().find(|(tag, _)| *tag == lock.tag) else {
                return false;
            };
            let place = |session| order.iter().position(|other| *other == session);
            lock.queue.sort_by_key(|request| place(request.session));
            true
        });
    }
}
