//! What a step does.

use std::sync::Arc;

use super::courier::Courier;
use super::footprint::{Footprint, Resource};
use super::own;
use super::points::Log;
use super::process::{Held, Process, Role, Status};
use super::step::{Action, Fault};
use super::trace::Event;
use super::{State, System};
use crate::machine::service::{Answer, Call};
use crate::machine::{
    Access, Branch, Effect, NoAnswer, Pid, Program, Reply, Request, Response, Sql, SqlError, SqlState,
};
use crate::value::Value;
use crate::world::database::DbEvent;
use crate::world::service::InUse;

/// What a step did and what it touched.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Taken {
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What it read and wrote.
    pub footprint: Footprint,
    /// What its statements touched, for those who want to know where to stop them.
    pub log: Log,
}

impl System {
    /// Takes an enabled action. `branch` decides what the world leaves open.
    ///
    /// # Panics
    /// If the action is not enabled in this state: a driver's mistake.
    pub fn take(&self, state: &mut State, action: Action, branch: &mut dyn Branch) -> Taken {
        assert!(
            self.is_enabled(state, action),
            "{action:?} is not enabled in this state"
        );
        let mut run = Run {
            system: self,
            state,
            branch,
            taken: Taken::default(),
        };
        match action {
            Action::Run(pid) => run.process(pid),
            Action::Fault(pid, fault) => run.fault(pid, fault),
            Action::Tick => run.tick(),
        }
        run.taken
    }
}

struct Run<'a> {
    system: &'a System,
    state: &'a mut State,
    branch: &'a mut dyn Branch,
    taken: Taken,
}

impl Run<'_> {
    fn process(&mut self, pid: Pid) {
        self.touch(Resource::Process(pid), true);
        self.forget_reads(pid);
        let process = self.edit(pid);
        match std::mem::replace(&mut process.status, Status::Finished) {
            Status::Ready(effect) => self.effect(pid, effect, Luck::Good),
            Status::Stopped { lose, orphaned } => self.go_on(pid, lose, orphaned),
            Status::Arriving { reply, holds } => {
                if let Some(Held { service, key }) = holds {
                    self.touch(Resource::Service(service, key), true);
                }
                self.receive(pid, reply);
            }
            Status::Awaiting {
                answer: Some(answer), ..
            } => self.receive(pid, Reply::Response(answer)),
            status => unreachable!("a process that can't run was run: {status:?}"),
        }
    }

    fn effect(&mut self, pid: Pid, effect: Effect, luck: Luck) {
        match effect {
            Effect::Sql(sql) => self.sql(pid, sql, luck),
            Effect::Call(call) => self.call(pid, call, luck),
            Effect::Send(request) => self.send(pid, request, luck),
            Effect::Respond(response) => self.respond(pid, response),
            Effect::Spawn { label, program } => {
                self.did(
                    pid,
                    Effect::Spawn {
                        label: label.clone(),
                        program: program.clone(),
                    },
                    Some(Reply::Went),
                );
                self.start(pid, label, program, Role::Handler, None);
                self.deliver(pid, Reply::Went);
            }
            Effect::Sleep(span) => {
                let until = self.state.world.now.saturating_add(span.max(0));
                self.touch(Resource::Clock, false);
                self.did(pid, Effect::Sleep(span), None);
                match span {
                    ..=0 => self.deliver(pid, Reply::Went),
                    _ => self.edit(pid).status = Status::Sleeping(until),
                }
            }
            Effect::Done => self.end(pid),
        }
    }

    fn sql(&mut self, pid: Pid, sql: Sql, luck: Luck) {
        self.did(pid, Effect::Sql(sql.clone()), None);
        let lose = luck == Luck::ReplyLost;
        self.edit(pid).status = Status::Blocked { lose };
        let Some(session) = pid.session(sql.session) else {
            let message = format!("a process has at most {} connections in the model", Pid::SESSIONS);
            self.statement_ended(pid, Err(SqlError::new(SqlState(*b"53300"), message)), true);
            return;
        };
        let now = self.state.world.now;
        let events = self.state.world.database.execute(session, &sql, now, self.branch);
        self.touch_database();
        self.database(events, Some(pid));
    }

    /// A statement that was stopped goes on.
    fn go_on(&mut self, pid: Pid, lose: bool, orphaned: bool) {
        self.taken.events.push(Event::WentOn { pid });
        self.edit(pid).status = match orphaned {
            true => Status::Orphaned,
            false => Status::Blocked { lose },
        };
        let now = self.state.world.now;
        let database = &self.state.world.database;
        let stopped = sessions(pid)
            .find(|session| database.is_stopped(*session))
            .unwrap_or(pid);
        let events = self.state.world.database.go_on(stopped, now, self.branch);
        self.touch_database();
        self.database(events, None);
    }

    /// What the database did, as replies to the processes. The statement of `own` was just sent; all others had waited.
    fn database(&mut self, events: Vec<DbEvent>, own: Option<Pid>) {
        for event in events {
            match event {
                DbEvent::Notice { session, text, .. } => {
                    let pid = session.owner();
                    self.taken.events.push(Event::Notice { pid, text });
                }
                DbEvent::Blocked { session, by } => {
                    let mut by: Vec<Pid> = by.into_iter().map(Pid::owner).collect();
                    by.dedup();
                    let pid = session.owner();
                    self.taken.events.push(Event::Blocked { pid, by });
                }
                DbEvent::Stopped { session, done, next } => self.stopped(session.owner(), done, next),
                DbEvent::Woken { .. } | DbEvent::Styled { .. } => {}
                DbEvent::Done { session, result } => {
                    let reply = match result {
                        Ok(mut results) => Ok(results.pop().unwrap_or_default()),
                        Err(failure) => Err(failure.error),
                    };
                    self.statement_ended(session, reply, own == Some(session.owner()));
                }
                DbEvent::Refused { session, refused } => {
                    let reason = refused.to_string();
                    self.taken.events.push(Event::Refused {
                        pid: session.owner(),
                        reason: reason.as_str().into(),
                    });
                    let error = SqlError::new(SqlState(*b"0A000"), reason);
                    self.statement_ended(session, Err(error), own == Some(session.owner()));
                }
            }
        }
    }

    fn stopped(&mut self, pid: Pid, done: Arc<[Access]>, next: Option<Access>) {
        self.touch(Resource::Process(pid), true);
        self.taken.events.push(Event::Stopped { pid, done, next });
        let (lose, orphaned) = match self.edit(pid).status {
            Status::Blocked { lose } => (lose, false),
            _ => (false, true),
        };
        self.edit(pid).status = Status::Stopped { lose, orphaned };
    }

    fn statement_ended(&mut self, session: Pid, result: Result<crate::machine::Rows, SqlError>, own: bool) {
        let pid = session.owner();
        self.touch(Resource::Process(pid), true);
        let status = self.state.processes.get(&pid).map(|process| process.status.clone());
        let mut is_orphan = false;
        let (reply, disconnect) = match status {
            Some(Status::Blocked { lose: false }) => (Some(Reply::Sql(result)), false),
            Some(Status::Blocked { lose: true }) => (Some(Reply::Sql(Err(connection_lost()))), true),
            Some(Status::Orphaned) => {
                self.edit(pid).status = Status::Crashed;
                is_orphan = true;
                (None, true)
            }
            _ => (None, false),
        };
        if let Some(reply) = &reply {
            match self.taken.events.first_mut() {
                Some(Event::Did {
                    pid: first,
                    reply: missing,
                    ..
                }) if own && *first == pid => *missing = Some(reply.clone()),
                Some(Event::Faulted { .. }) if own => {
                    if let Some(Event::Did { reply: missing, .. }) = self.taken.events.get_mut(1) {
                        *missing = Some(reply.clone());
                    }
                }
                _ => self.taken.events.push(Event::Woken {
                    pid,
                    reply: reply.clone(),
                }),
            }
        }
        match (disconnect, is_orphan) {
            (true, true) => self.disconnect(pid),
            (true, false) => self.break_off(session),
            (false, _) => {}
        }
        if is_orphan {
            self.restart(pid);
        }
        if let Some(reply) = reply {
            self.deliver(pid, reply);
        }
    }

    /// All of a process's connections are gone.
    fn disconnect(&mut self, pid: Pid) {
        for session in sessions(pid) {
            if session == pid || self.state.world.database.is_connected(session) {
                self.break_off(session);
            }
        }
    }

    /// A connection is gone.
    fn break_off(&mut self, session: Pid) {
        let now = self.state.world.now;
        let events = self.state.world.database.disconnect(session, now, self.branch);
        self.touch_database();
        self.database(events, None);
    }

    fn call(&mut self, pid: Pid, call: Call, luck: Luck) {
        let now = self.state.world.now;
        let Some(service) = self.state.world.services.get_mut(&call.service) else {
            let reply = Reply::Service(Err(NoAnswer::Unavailable));
            self.did(pid, Effect::Call(call), None);
            self.arriving(pid, reply, None);
            return;
        };
        let keys = service.get().touches(&call);
        let (first, busy) = match service.get().in_use(&call, now) {
            Some(InUse { by, key, answer }) => {
                let held = Held {
                    service: call.service.clone(),
                    key,
                };
                let first = self.state.processes.get(&by);
                let waits = first.is_some_and(|first| first.status.holds(&held));
                // That it may be told so is the rarer way: most answers are kept by the time somebody asks again.
                (Some(by), (waits && self.branch.choose(2) == 1).then_some(answer))
            }
            None => (None, None),
        };
        let (answer, deliveries) = match busy {
            Some(answer) => (Ok(answer), Vec::new()),
            None => service.change(|service| (service.call(pid, &call, now), service.deliveries())),
        };
        let holds = match service.get().in_use(&call, now) {
            Some(InUse { by, key, .. }) if by == pid => Some(Held {
                service: call.service.clone(),
                key,
            }),
            _ => None,
        };
        if let Some(first) = first {
            self.touch(Resource::Process(first), false);
        }
        for (key, write) in keys {
            self.touch(Resource::Service(call.service.clone(), key), write);
        }
        self.touch(Resource::Clock, false);
        self.did(pid, Effect::Call(call), None);
        for delivery in deliveries {
            let courier = Program::new(Courier::new(&delivery));
            self.start(pid, delivery.label, courier, Role::Courier, None);
        }
        let answer = if luck == Luck::ReplyLost {
            Err(NoAnswer::TimedOut)
        } else {
            answer
        };
        self.arriving(pid, Reply::Service(answer), holds);
    }

    fn arriving(&mut self, pid: Pid, reply: Reply, holds: Option<Held>) {
        self.edit(pid).status = Status::Arriving { reply, holds };
    }

    fn send(&mut self, pid: Pid, request: Request, luck: Luck) {
        self.did(pid, Effect::Send(request.clone()), None);
        if luck == Luck::RequestLost {
            self.arriving(pid, Reply::Response(Err(NoAnswer::TimedOut)), None);
            return;
        }
        let Some(endpoint) = self.system.spec.endpoints.get(&request.endpoint) else {
            let answer = Response::new(404, "no such endpoint");
            self.arriving(pid, Reply::Response(Ok(answer)), None);
            return;
        };
        let (program, role) = ((endpoint.open)(&request), endpoint.role);
        let request = Arc::new(request);
        let copies = if luck == Luck::SentTwice { 2 } else { 1 };
        let mut first = None;
        for _ in 0..copies {
            let number = self.edit(pid).starts + 1;
            let label = format!("{}/{number}", self.edit(pid).label);
            let child = self.start(pid, label.into(), program.clone(), role, Some(request.clone()));
            first = first.or(child);
        }
        self.edit(pid).status = match first {
            Some(child) => Status::Awaiting { child, answer: None },
            None => Status::Arriving {
                reply: Reply::Response(Err(NoAnswer::Unavailable)),
                holds: None,
            },
        };
    }

    fn respond(&mut self, pid: Pid, response: Response) {
        self.did(pid, Effect::Respond(response.clone()), Some(Reply::Went));
        if self.edit(pid).response.is_none() {
            self.edit(pid).response = Some(response.clone());
            self.answer(pid, Ok(response));
        }
        self.deliver(pid, Reply::Went);
    }

    /// Hands a handler's answer to whoever sent the request, if it still waits.
    fn answer(&mut self, pid: Pid, response: Result<Response, NoAnswer>) {
        let Some(parent) = pid.parent() else { return };
        self.touch(Resource::Process(parent), true);
        match self.state.processes.get(&parent).map(|parent| &parent.status) {
            Some(Status::Awaiting { child, answer: None }) if *child == pid => {
                self.edit(parent).status = Status::Awaiting {
                    child: pid,
                    answer: Some(response),
                };
            }
            _ if response.is_ok() => self.taken.events.push(Event::Dropped { pid: parent, response }),
            _ => {}
        }
    }

    fn receive(&mut self, pid: Pid, reply: Reply) {
        self.taken.events.push(Event::Received {
            pid,
            reply: reply.clone(),
        });
        if let Reply::Response(response) = &reply {
            self.edit(pid).received = Some(response.clone());
        }
        self.deliver(pid, reply);
    }

    /// Steps the machine: its next effect is pending from now on.
    fn deliver(&mut self, pid: Pid, reply: Reply) {
        let mut program = self.edit(pid).program.clone();
        let next = own::next(&mut self.state.world, pid, &mut program, reply);
        if !next.reads.is_empty() {
            self.touch(Resource::Clock, false);
        }
        let process = self.edit(pid);
        process.program = program;
        process.reads = next.reads;
        match next.effect {
            // Whether it ends may depend on what it read, so it ends in a step of its own.
            Effect::Done if process.reads.is_empty() => self.end(pid),
            effect => process.status = Status::Ready(effect),
        }
    }

    /// From now on it is settled what the process's own clock had said.
    fn forget_reads(&mut self, pid: Pid) {
        if !self.edit(pid).reads.is_empty() {
            self.touch(Resource::Clock, false);
            self.edit(pid).reads.clear();
        }
    }

    /// The clock has moved on: a process that read its own and did nothing since may have read it only now.
    fn reread(&mut self) {
        let processes = self.state.processes.iter();
        let readers = processes.filter(|(_, process)| !process.reads.is_empty());
        for pid in readers.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.touch(Resource::Process(pid), true);
            let reads = self.edit(pid).reads.len();
            let kept = reads - self.branch.choose(reads + 1);
            if kept == reads {
                continue;
            }
            let process = self.edit(pid);
            process.program = process.reads[kept].clone();
            let earlier = process.reads[..kept].to_vec();
            let now = self.state.world.now;
            let answer = Answer::one("now", Value::Timestamp(now));
            self.deliver(pid, Reply::Service(Ok(answer)));
            let process = self.edit(pid);
            if process.is_alive() {
                process.reads.splice(0..0, earlier);
            }
        }
    }

    fn end(&mut self, pid: Pid) {
        self.edit(pid).status = Status::Finished;
        self.taken.events.push(Event::Ended { pid });
        if self
            .state
            .processes
            .get(&pid)
            .is_some_and(|process| process.response.is_none() && process.request.is_some())
        {
            self.answer(pid, Err(NoAnswer::Reset));
        }
        self.disconnect(pid);
    }

    fn start(
        &mut self,
        by: Pid,
        label: Arc<str>,
        mut program: Program,
        role: Role,
        request: Option<Arc<Request>>,
    ) -> Option<Pid> {
        let number = self.edit(by).starts;
        let pid = by.child(number)?;
        self.edit(by).starts = number.checked_add(1).filter(|starts| *starts < 250)?;
        let next = own::next(&mut self.state.world, pid, &mut program, Reply::Start);
        if !next.reads.is_empty() {
            self.touch(Resource::Clock, false);
        }
        let mut process = Process::ready(program, next, role, label.clone());
        process.request = request;
        self.touch(Resource::Process(pid), true);
        self.state.processes.insert(pid, Arc::new(process));
        self.taken.events.push(Event::Started { pid, label });
        Some(pid)
    }

    fn fault(&mut self, pid: Pid, fault: Fault) {
        self.state.faults.spend(fault);
        self.touch(Resource::Budget(fault), true);
        self.touch(Resource::Process(pid), true);
        self.forget_reads(pid);
        self.taken.events.push(Event::Faulted { pid, fault });
        match fault {
            Fault::Timeout => self.give_up(pid),
            Fault::Crash => self.crash(pid),
            Fault::LostReply => self.unlucky(pid, Luck::ReplyLost),
            Fault::Duplicate => self.unlucky(pid, Luck::SentTwice),
            Fault::LostRequest => self.unlucky(pid, Luck::RequestLost),
            Fault::Disconnect => {
                let session = match self.edit(pid).pending() {
                    Some(Effect::Sql(sql)) => pid.session(sql.session),
                    _ => None,
                };
                self.break_off(session.unwrap_or(pid));
                self.deliver(pid, Reply::Sql(Err(connection_lost())));
            }
            Fault::Outage => self.deliver(pid, Reply::Service(Err(NoAnswer::Unavailable))),
        }
    }

    fn give_up(&mut self, pid: Pid) {
        let process = self.edit(pid);
        process.received = Some(Err(NoAnswer::TimedOut));
        self.deliver(pid, Reply::Response(Err(NoAnswer::TimedOut)));
    }

    fn unlucky(&mut self, pid: Pid, luck: Luck) {
        let process = self.edit(pid);
        if let Status::Ready(effect) = std::mem::replace(&mut process.status, Status::Finished) {
            self.effect(pid, effect, luck);
        }
    }

    fn crash(&mut self, pid: Pid) {
        let now = self.state.world.now;
        for (name, service) in &mut self.state.world.services {
            let before = service.clone();
            service.change(|service| service.disconnected(pid, now));
            let resource = Resource::Service(name.clone(), Resource::WHOLE.into());
            self.taken.footprint.touch(resource, *service != before);
        }
        let process = self.edit(pid);
        let stopped = matches!(process.status, Status::Stopped { .. });
        let waits = stopped || matches!(process.status, Status::Blocked { .. });
        process.status = match (stopped, waits) {
            (true, _) => Status::Stopped {
                lose: false,
                orphaned: true,
            },
            (false, true) => Status::Orphaned,
            (false, false) => Status::Crashed,
        };
        let unanswered = process.request.is_some() && process.response.is_none();
        if unanswered {
            self.answer(pid, Err(NoAnswer::Reset));
        }
        if !waits {
            self.disconnect(pid);
            self.restart(pid);
            return;
        }
        // The server notices at once that those connections are gone on which nothing is under way.
        for session in sessions(pid) {
            let database = &self.state.world.database;
            let is_busy = database.is_blocked(session) || database.is_stopped(session);
            if database.is_connected(session) && !is_busy {
                self.break_off(session);
            }
        }
    }

    /// A worker that has crashed begins again. One whose statement was under way does so when that has ended: a process has one connection.
    fn restart(&mut self, pid: Pid) {
        if self.edit(pid).role != Role::Worker || pid.parent().is_some() {
            return;
        }
        if let Some(root) = self.system.spec.roots.get(usize::from(pid.top())) {
            self.edit(pid).program = root.program.clone();
            self.deliver(pid, Reply::Start);
        }
    }

    fn tick(&mut self) {
        self.touch(Resource::Clock, true);
        // Whoever moves the clock is nobody of those who look at it.
        self.taken.log.noted.push((CLOCK, Access::Tick));
        let Some(now) = self.system.next_deadline(self.state) else {
            self.wake(Effect::IDLE);
            return;
        };
        self.state.world.now = now;
        self.taken.events.push(Event::Clock { now });
        for service in self.state.world.services.values_mut() {
            service.change(|service| service.advance(now));
        }
        self.reread();
        let events = self.state.world.database.advance(now, self.branch);
        self.touch_database();
        self.database(events, None);
        self.wake(now);
    }

    /// Ends every sleep that is due at this moment.
    fn wake(&mut self, now: i64) {
        let processes = self.state.processes.iter();
        let due = processes.filter(|(_, process)| matches!(process.status, Status::Sleeping(until) if until <= now));
        for pid in due.map(|(pid, _)| *pid).collect::<Vec<_>>() {
            self.touch(Resource::Process(pid), true);
            self.deliver(pid, Reply::Went);
        }
    }

    fn did(&mut self, pid: Pid, effect: Effect, reply: Option<Reply>) {
        self.taken.events.push(Event::Did { pid, effect, reply });
    }

    fn touch(&mut self, resource: Resource, write: bool) {
        self.taken.footprint.touch(resource, write);
    }

    fn touch_database(&mut self) {
        for (key, write) in self.state.world.database.footprint() {
            self.taken.footprint.touch(Resource::Database(key), write);
        }
    }

    fn edit(&mut self, pid: Pid) -> &mut Process {
        match self.state.processes.get_mut(&pid) {
            Some(process) => Arc::make_mut(process),
            None => unreachable!("process {pid} was never started"),
        }
    }
}

/// A process's connections, by name; most have only the first.
fn sessions(pid: Pid) -> impl Iterator<Item = Pid> {
    (0..Pid::SESSIONS).filter_map(move |number| pid.session(number))
}

/// Who moves the clock.
const CLOCK: Pid = Pid::root(251);

/// How an effect fares on its way.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Luck {
    Good,
    ReplyLost,
    SentTwice,
    RequestLost,
}

fn connection_lost() -> SqlError {
    SqlError::new(
        SqlState::CONNECTION_FAILURE,
        "server closed the connection unexpectedly",
    )
}
