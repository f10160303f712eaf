//! Interned components: a state as a few small integers.
//!
//! A state is a row of numbers: its database, its services, its clock, its fault budget, then one for each process that any
//! run has started so far (0 where this one has not). What a number stands for is kept once, shared by all threads.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::digest::{TakenState, digest, placed};
use crate::machine::{Effect, NoAnswer, Notebook, Pid, Reply};
use crate::system::{Fault, FaultBudget, Process, Role, State, Status, Step};
use crate::world::World;
use crate::world::database::Database;
use crate::world::service::Provided;

/// Places of the components in a row.
pub(super) const DATABASE: usize = 0;
pub(super) const SERVICES: usize = 1;
pub(super) const CLOCK: usize = 2;
pub(super) const FAULTS: usize = 3;
pub(super) const PROCESSES: usize = 4;

/// A state as numbers.
pub(super) type Row = smallvec::SmallVec<[u32; 24]>;

pub(super) type Services = BTreeMap<Arc<str>, Provided>;

/// Values with their digests, by number. Number 0 is nobody's.
#[derive(Debug)]
pub(super) struct Pool<T> {
    numbers: HashMap<u128, u32, TakenState>,
    values: Vec<T>,
    digests: Vec<u128>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool {
            numbers: HashMap::default(),
            values: Vec::new(),
            digests: vec![0],
        }
    }
}

impl<T: Clone> Pool<T> {
    fn intern(&mut self, digest: u128, value: impl FnOnce() -> T) -> u32 {
        if let Some(number) = self.numbers.get(&digest) {
            return *number;
        }
        self.values.push(value());
        self.digests.push(digest);
        let number = self.values.len() as u32;
        self.numbers.insert(digest, number);
        number
    }

    pub(super) fn get(&self, number: u32) -> &T {
        &self.values[number as usize - 1]
    }

    pub(super) fn digest(&self, number: u32) -> u128 {
        self.digests[number as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}

/// What is worth knowing of a process without looking at it again.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The process.
    pub(super) process: Arc<Process>,
    /// What it was asked and answered, as a digest.
    pub(super) exchange: u128,
    /// Its label, state and what it waits for, as a digest.
    pub(super) status: u128,
    /// Whether its next own step ends it.
    pub(super) run_ends: bool,
    /// Whether the fault ends it, by the fault's number.
    pub(super) fault_ends: u8,
    /// What its pending effect needs.
    pub(super) pending: Pending,
    /// Whether it sleeps until a moment.
    pub(super) sleeps: bool,
    /// Whether it sleeps until nothing else can happen.
    pub(super) idles: bool,
}

/// What an effect that is pending has to do with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    Nothing,
    Sql,
    Call,
    Sleep,
}

impl Known {
    fn of(process: Arc<Process>) -> Self {
        // What might be is not noted as what was.
        let ends = |reply: Reply| process.program.noting(&Notebook::default()).step(reply) == Effect::Done;
        let run_ends = match &process.status {
            Status::Ready(Effect::Respond(_) | Effect::Spawn { .. }) => ends(Reply::Went),
            Status::Ready(Effect::Sleep(span)) => *span <= 0 && ends(Reply::Went),
            Status::Ready(Effect::Done) => true,
            Status::Arriving { reply, .. } => ends(reply.clone()),
            Status::Awaiting {
                answer: Some(answer), ..
            } => ends(Reply::Response(answer.clone())),
            _ => false,
        };
        let mut fault_ends = 0;
        match &process.status {
            Status::Awaiting { .. } if ends(Reply::Response(Err(NoAnswer::TimedOut))) => {
                fault_ends |= 1 << Fault::Timeout as u8;
            }
            Status::Ready(Effect::Call(_)) if ends(Reply::Service(Err(NoAnswer::Unavailable))) => {
                fault_ends |= 1 << Fault::Outage as u8;
            }
            _ => {}
        }
        let pending = match process.pending() {
            Some(Effect::Sql(_)) => Pending::Sql,
            Some(Effect::Call(_)) => Pending::Call,
            Some(Effect::Sleep(_)) => Pending::Sleep,
            None if matches!(process.status, Status::Stopped { .. }) => Pending::Sql,
            _ => Pending::Nothing,
        };
        Known {
            exchange: digest(&(
                &process.label,
                &process.request,
                &process.response,
                &process.received,
                process.program.failure(),
            )),
            status: digest(&(
                &process.label,
                process.role,
                process.status.word(),
                process.program.state(),
            )),
            run_ends,
            fault_ends,
            pending,
            sleeps: matches!(process.status, Status::Sleeping(until) if until != Effect::IDLE),
            idles: process.status == Status::Sleeping(Effect::IDLE),
            process,
        }
    }

    /// Whether it could take part in anything at all: false for most processes of most states.
    pub(super) fn is_idle(&self) -> bool {
        let may_act = !matches!(
            self.process.status,
            Status::Finished | Status::Crashed | Status::Orphaned
        );
        let is_blocked = matches!(self.process.status, Status::Blocked { .. } | Status::Sleeping(_));
        !may_act || is_blocked && !matches!(self.process.role, Role::Handler | Role::Worker)
    }
}

/// Everything that is interned.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pub(super) databases: Pool<Database>,
    pub(super) services: Pool<Services>,
    pub(super) clocks: Pool<i64>,
    pub(super) faults: Pool<FaultBudget>,
    pub(super) processes: Pool<Known>,
    pub(super) steps: Pool<Step>,
    /// Which process has which place after [`PROCESSES`].
    pub(super) pids: Vec<Pid>,
}

/// [`Pools`], shared.
#[derive(Debug, Default)]
pub(super) struct Parts(RwLock<Pools>);

impl Parts {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Pools> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Pools) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn database(&self, value: &Database) -> u32 {
        let digest = digest(value);
        self.write(|pools| pools.databases.intern(digest, || value.clone()))
    }

    pub(super) fn services(&self, value: &Services) -> u32 {
        let digest = digest(value);
        self.write(|pools| pools.services.intern(digest, || value.clone()))
    }

    pub(super) fn clock(&self, value: i64) -> u32 {
        let digest = digest(&value);
        self.write(|pools| pools.clocks.intern(digest, || value))
    }

    pub(super) fn faults(&self, value: FaultBudget) -> u32 {
        let digest = digest(&value);
        self.write(|pools| pools.faults.intern(digest, || value))
    }

    pub(super) fn process(&self, value: &Arc<Process>) -> u32 {
        let digest = digest(value);
        let known = self.read().processes.numbers.get(&digest).copied();
        known.unwrap_or_else(|| {
            let known = Known::of(value.clone());
            self.write(|pools| pools.processes.intern(digest, || known))
        })
    }

    pub(super) fn step(&self, value: &Step) -> u32 {
        let digest = digest(value);
        self.write(|pools| pools.steps.intern(digest, || value.clone()))
    }

    /// The place of a process in a row.
    pub(super) fn place(&self, pid: Pid) -> usize {
        let known = self.read().pids.iter().position(|known| *known == pid);
        let place = known.unwrap_or_else(|| {
            self.write(|pools| match pools.pids.iter().position(|known| *known == pid) {
                Some(place) => place,
                None => {
                    pools.pids.push(pid);
                    pools.pids.len() - 1
                }
            })
        });
        PROCESSES + place
    }

    /// A state as numbers.
    pub(super) fn row(&self, state: &State) -> Row {
        let mut row = Row::from_slice(&[
            self.database(&state.world.database),
            self.services(&state.world.services),
            self.clock(state.world.now),
            self.faults(state.faults),
        ]);
        for (pid, process) in &state.processes {
            let place = self.place(*pid);
            if row.len() <= place {
                row.resize(place + 1, 0);
            }
            row[place] = self.process(process);
        }
        row
    }
}

impl Pools {
    /// The state that a row stands for.
    pub(super) fn state(&self, row: &[u32]) -> State {
        let processes = row[PROCESSES..].iter().zip(&self.pids);
        let processes = processes
            .filter(|(number, _)| **number != 0)
            .map(|(number, pid)| (*pid, self.processes.get(*number).process.clone()));
        State {
            world: World {
                database: self.databases.get(row[DATABASE]).clone(),
                services: self.services.get(row[SERVICES]).clone(),
                now: *self.clocks.get(row[CLOCK]),
            },
            processes: processes.collect(),
            faults: *self.faults.get(row[FAULTS]),
        }
    }

    /// What the component at a place adds to the digest of its state.
    pub(super) fn share(&self, place: usize, number: u32) -> u128 {
        if number == 0 {
            return 0;
        }
        match place {
            DATABASE => placed(0, self.databases.digest(number)),
            SERVICES => placed(1, self.services.digest(number)),
            CLOCK => placed(2, self.clocks.digest(number)),
            FAULTS => placed(3, self.faults.digest(number)),
            place => placed(
                4 + digest(&self.pids[place - PROCESSES]) as u64,
                self.processes.digest(number),
            ),
        }
    }

    /// The digest of the state that a row stands for.
    pub(super) fn digest(&self, row: &[u32]) -> u128 {
        let shares = row.iter().enumerate().map(|(place, number)| self.share(place, *number));
        shares.fold(0, u128::wrapping_add)
    }

    /// What all the values take, in bytes, roughly.
    pub(super) fn bytes(&self) -> u64 {
        (self.databases.len() * 2_000 + self.services.len() * 1_000 + self.processes.len() * 500) as u64
    }
}
