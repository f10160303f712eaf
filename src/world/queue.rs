//! Job queues that deliver at least once: attempts, backoff, visibility timeout, dead letters, delays, unique jobs.
//!
//! All queues are one service, `queue`; a call names the queue. A worker that takes from an empty queue waits until there is a job.
//!
//! **How it departs from life.** Jobs are handed out in the order of their names, not of their arrival: queues that deliver at least once promise no
//! order, and an order of arrival would tell apart states that nobody can tell apart. A job without a key is named after who added it. What
//! happens to the jobs of a worker that crashed is as in `RabbitMQ`: they are handed out again at once; with a visibility timeout it
//! is as in SQS: they come back when it ends, also if the worker still works.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::machine::http::Fields;
use crate::machine::service::{Answer, Call};
use crate::machine::{NoAnswer, Pid, Renaming};
use crate::value::Value;
use crate::world::service::{Service, VirtualTable};

/// The service's name.
pub const QUEUE: &str = "queue";

/// Every queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Queues {
    settings: BTreeMap<Arc<str>, Settings>,
    jobs: BTreeMap<(Arc<str>, Arc<str>), Job>,
    /// How many jobs without a key each process has added.
    added: BTreeMap<Pid, u8>,
}

/// How a queue treats its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Settings {
    /// How often a job is handed out before it is put aside as dead.
    pub attempts: u8,
    /// How long a job that was handed out stays hidden, in microseconds. `None`: until its worker fails it, crashes or loses its connection.
    pub visibility: Option<i64>,
    /// The pause before a failed job is handed out again, in microseconds; doubled with each attempt.
    pub backoff: i64,
}

impl Default for Settings {
    /// Three attempts, no visibility timeout, no pause.
    fn default() -> Self {
        Settings {
            attempts: 3,
            visibility: None,
            backoff: 0,
        }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// What it is about.
    pub payload: Fields,
    /// How often it was handed out.
    pub attempts: u8,
    /// Where it stands.
    pub status: JobStatus,
    /// Whether its name is a key: such a job is remembered when it is done, so that it can't be added again.
    pub keyed: bool,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JobStatus {
    /// To be handed out, not before this moment.
    Waiting(i64),
    /// Handed out to a process, hidden until this moment.
    Taken(Pid, Option<i64>),
    /// Acknowledged.
    Done,
    /// Put aside after too many attempts.
    Dead,
}

/// Commands, as calls.
#[derive(Clone, Copy, Debug)]
pub struct Jobs;

impl Jobs {
    /// Adds a job; every further argument is payload. Answers `job`, its name.
    pub fn add<'a>(queue: &str, payload: impl IntoIterator<Item = (&'a str, Arc<str>)>) -> Call {
        let mut call = Call::new(QUEUE, "add").with("queue", queue);
        for (name, value) in payload {
            call = call.with(name, Value::Text(value));
        }
        call
    }

    /// Adds a job unless one with this key was ever added. Answers `job`, and `added`.
    pub fn add_once<'a>(queue: &str, key: &str, payload: impl IntoIterator<Item = (&'a str, Arc<str>)>) -> Call {
        Jobs::add(queue, payload).with("key", key)
    }

    /// Takes a job, waiting for one. Answers `job`, `attempt` and the payload.
    pub fn take(queue: &str) -> Call {
        Call::new(QUEUE, "take").with("queue", queue)
    }

    /// The job is done. Answers `done`: false when the job was not this process's any more.
    pub fn ack(queue: &str, job: &str) -> Call {
        Call::new(QUEUE, "ack").with("queue", queue).with("job", job)
    }

    /// The job failed: it is handed out again after the backoff, or put aside.
    pub fn fail(queue: &str, job: &str) -> Call {
        Call::new(QUEUE, "fail").with("queue", queue).with("job", job)
    }
}

impl Queues {
    /// The queues, with settings for `queue`. Other queues have the default settings.
    #[must_use]
    pub fn with(mut self, queue: impl Into<Arc<str>>, settings: Settings) -> Self {
        self.settings.insert(queue.into(), settings);
        self
    }

    /// The jobs of a queue by name.
    pub fn jobs<'a>(&'a self, queue: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Job)> {
        self.jobs
            .iter()
            .filter(move |((of, _), _)| **of == *queue)
            .map(|((_, name), job)| (name, job))
    }

    fn settings(&self, queue: &str) -> Settings {
        self.settings.get(queue).copied().unwrap_or_default()
    }

    fn next(&self, queue: &str, now: i64) -> Option<(Arc<str>, Arc<str>)> {
        let due = |job: &Job| matches!(job.status, JobStatus::Waiting(at) if at <= now);
        let (name, _) = self.jobs(queue).find(|(_, job)| due(job))?;
        Some((queue.into(), name.clone()))
    }

    fn add(&mut self, caller: Pid, queue: Arc<str>, call: &Call, now: i64) -> Answer {
        let key = text(call, "key");
        let name = key.clone().unwrap_or_else(|| {
            let count = self.added.entry(caller).or_default();
            *count = count.saturating_add(1);
            format!("{caller}#{count}").into()
        });
        let place = (queue, name.clone());
        let new = !self.jobs.contains_key(&place);
        if new {
            let delay = number(call, "delay").unwrap_or(0);
            self.jobs.insert(
                place,
                Job {
                    payload: payload(call),
                    attempts: 0,
                    status: JobStatus::Waiting(if delay == 0 { 0 } else { now.saturating_add(delay) }),
                    keyed: key.is_some(),
                },
            );
        }
        Answer::Ok(vec![
            ("job".into(), Value::Text(name)),
            ("added".into(), Value::Bool(new)),
        ])
    }

    fn take(&mut self, caller: Pid, queue: Arc<str>, now: i64) -> Option<Answer> {
        let settings = self.settings(&queue);
        let place = self.next(&queue, now)?;
        let job = self.jobs.get_mut(&place)?;
        job.attempts = job.attempts.saturating_add(1);
        let hidden = settings.visibility.map(|span| now.saturating_add(span));
        job.status = JobStatus::Taken(caller, hidden);
        let mut values = vec![
            (Arc::from("job"), Value::Text(place.1)),
            ("attempt".into(), Value::Int(job.attempts.into())),
        ];
        let payload = job.payload.iter();
        values.extend(payload.map(|(name, value)| (name.clone(), Value::Text(value.clone()))));
        Some(Answer::Ok(values))
    }

    fn ack(&mut self, caller: Pid, place: &(Arc<str>, Arc<str>)) -> bool {
        let Some(job) = self.jobs.get_mut(place) else {
            return false;
        };
        match job.status {
            JobStatus::Taken(by, _) if by == caller => {
                match job.keyed {
                    true => job.status = JobStatus::Done,
                    false => drop(self.jobs.remove(place)),
                }
                true
            }
            _ => false,
        }
    }

    fn fail(&mut self, caller: Pid, place: &(Arc<str>, Arc<str>), now: i64) {
        let settings = self.settings(&place.0);
        if let Some(job) = self.jobs.get_mut(place)
            && matches!(job.status, JobStatus::Taken(by, _) if by == caller)
        {
            job.hand_back(settings, now);
        }
    }
}

impl Job {
    /// To be handed out again after the pause, or dead.
    fn hand_back(&mut self, settings: Settings, now: i64) {
        let pause = settings
            .backoff
            .saturating_mul(1 << self.attempts.saturating_sub(1).min(30));
        self.status = match self.attempts >= settings.attempts {
            true => JobStatus::Dead,
            false if pause == 0 => JobStatus::Waiting(0),
            false => JobStatus::Waiting(now.saturating_add(pause)),
        };
    }
}

impl Service for Queues {
    fn call(&mut self, caller: Pid, call: &Call, now: i64) -> Result<Answer, NoAnswer> {
        let queue = text(call, "queue").unwrap_or_default();
        let job = text(call, "job").unwrap_or_default();
        match &*call.operation {
            "add" => Ok(self.add(caller, queue, call, now)),
            "take" => self.take(caller, queue, now).ok_or(NoAnswer::TimedOut),
            "ack" => Ok(Answer::one("done", self.ack(caller, &(queue, job)))),
            "fail" => {
                self.fail(caller, &(queue, job), now);
                Ok(Answer::Ok(Vec::new()))
            }
            _ => Ok(Answer::refused(400, "unknown_operation", call.operation.clone())),
        }
    }

    fn ready(&self, call: &Call, now: i64) -> bool {
        &*call.operation != "take" || self.next(&text(call, "queue").unwrap_or_default(), now).is_some()
    }

    fn next_deadline(&self, now: i64) -> Option<i64> {
        let moments = self.jobs.values().filter_map(|job| match job.status {
            JobStatus::Waiting(at) => Some(at),
            JobStatus::Taken(_, until) => until,
            JobStatus::Done | JobStatus::Dead => None,
        });
        moments.filter(|moment| *moment > now).min()
    }

    fn advance(&mut self, now: i64) {
        for ((queue, _), job) in &mut self.jobs {
            let settings = self.settings.get(queue).copied().unwrap_or_default();
            match job.status {
                JobStatus::Taken(_, Some(until)) if until <= now => {
                    let at_once = Settings { backoff: 0, ..settings };
                    job.hand_back(at_once, now);
                }
                JobStatus::Waiting(at) if at <= now => job.status = JobStatus::Waiting(0),
                _ => {}
            }
        }
    }

    /// Not once a job was named after who added it.
    fn rename(&mut self, names: &Renaming) -> bool {
        for job in self.jobs.values_mut() {
            if let JobStatus::Taken(by, _) = &mut job.status {
                *by = names.pid(*by);
            }
        }
        self.added.is_empty()
    }

    fn disconnected(&mut self, caller: Pid, now: i64) {
        for ((queue, _), job) in &mut self.jobs {
            let settings = self.settings.get(queue).copied().unwrap_or_default();
            if settings.visibility.is_none() && matches!(job.status, JobStatus::Taken(by, _) if by == caller) {
                let at_once = Settings { backoff: 0, ..settings };
                job.hand_back(at_once, now);
            }
        }
    }

    fn touches(&self, call: &Call) -> Vec<(Arc<str>, bool)> {
        vec![(text(call, "queue").unwrap_or_default(), true)]
    }

    fn tables(&self) -> Vec<VirtualTable> {
        let rows = self.jobs.iter().map(|((queue, name), job)| {
            let status = match job.status {
                JobStatus::Waiting(_) => "waiting",
                JobStatus::Taken(..) => "taken",
                JobStatus::Done => "done",
                JobStatus::Dead => "dead",
            };
            let payload: Vec<String> = job
                .payload
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            vec![
                Value::Text(queue.clone()),
                Value::Text(name.clone()),
                Value::text(payload.join(" ")),
                Value::text(status),
                Value::Int(job.attempts.into()),
            ]
        });
        let columns = ["queue", "job", "payload", "status"].map(|name| (Arc::from(name), Arc::from("text")));
        vec![VirtualTable {
            name: "queue_jobs".into(),
            columns: columns
                .into_iter()
                .chain([("attempts".into(), "bigint".into())])
                .collect(),
            rows: rows.collect(),
        }]
    }
}

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
        _ => None,
    }
}

fn payload(call: &Call) -> Fields {
    let own = |name: &str| matches!(name, "queue" | "key" | "delay");
    let given = call.arguments.0.iter().filter(|(name, _)| !own(name));
    given.map(|(name, value)| (name.clone(), value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::{JobStatus, Jobs, Queues, Settings};
    use crate::machine::{Pid, Renaming};
    use crate::world::service::Service;

    const ADDER: Pid = Pid::root(0);
    const WORKER: Pid = Pid::root(1);

    fn queue(settings: Settings) -> Queues {
        let mut queues = Queues::default().with("mail", settings);
        queues.call(ADDER, &Jobs::add_once("mail", "a", []), 0).ok();
        queues
    }

    fn status(queues: &Queues) -> Option<JobStatus> {
        queues.jobs("mail").next().map(|(_, job)| job.status)
    }

    #[test]
    fn a_job_comes_back_after_a_crash_and_dies_after_its_attempts() {
        let mut queues = queue(Settings {
            attempts: 2,
            ..Settings::default()
        });
        for expected in [JobStatus::Waiting(0), JobStatus::Dead] {
            assert!(queues.ready(&Jobs::take("mail"), 0));
            queues.call(WORKER, &Jobs::take("mail"), 0).ok();
            assert!(!queues.ready(&Jobs::take("mail"), 0));
            queues.disconnected(WORKER, 0);
            assert_eq!(status(&queues), Some(expected));
        }
    }

    #[test]
    fn a_visibility_timeout_hands_a_job_out_while_its_worker_still_works() {
        let mut queues = queue(Settings {
            visibility: Some(30),
            ..Settings::default()
        });
        queues.call(WORKER, &Jobs::take("mail"), 0).ok();
        assert_eq!(queues.next_deadline(0), Some(30));
        queues.advance(30);
        queues.call(ADDER, &Jobs::take("mail"), 30).ok();
        queues.call(WORKER, &Jobs::ack("mail", "a"), 31).ok();
        assert_eq!(status(&queues), Some(JobStatus::Taken(ADDER, Some(60))));
        queues.call(ADDER, &Jobs::ack("mail", "a"), 32).ok();
        assert_eq!(status(&queues), Some(JobStatus::Done));
    }

    #[test]
    fn the_pause_after_a_failure_doubles_and_a_key_is_added_once() {
        let mut queues = queue(Settings {
            attempts: 5,
            backoff: 100,
            ..Settings::default()
        });
        let mut now = 0;
        for pause in [100, 200, 400] {
            queues.call(WORKER, &Jobs::take("mail"), now).ok();
            queues.call(WORKER, &Jobs::fail("mail", "a"), now).ok();
            assert_eq!(queues.next_deadline(now), Some(now + pause));
            now += pause;
            queues.advance(now);
        }
        queues.call(ADDER, &Jobs::add_once("mail", "a", []), now).ok();
        assert_eq!(queues.jobs("mail").count(), 1);
    }

    #[test]
    fn a_job_that_was_delayed_is_not_handed_out_before_its_time() {
        let mut queues = Queues::default();
        let delayed = Jobs::add("mail", []).with("delay", 50);
        queues.call(ADDER, &delayed, 100).ok();
        assert!(!queues.ready(&Jobs::take("mail"), 149));
        assert_eq!(queues.next_deadline(100), Some(150));
        assert!(queues.ready(&Jobs::take("mail"), 150));
    }

    #[test]
    fn whose_job_it_is_no_more_can_not_fail_it() {
        let mut queues = queue(Settings {
            attempts: 1,
            ..Settings::default()
        });
        queues.call(WORKER, &Jobs::take("mail"), 0).ok();
        queues.call(ADDER, &Jobs::fail("mail", "a"), 0).ok();
        assert_eq!(status(&queues), Some(JobStatus::Taken(WORKER, None)));
        queues.call(WORKER, &Jobs::fail("mail", "a"), 0).ok();
        assert_eq!(status(&queues), Some(JobStatus::Dead));
    }

    /// As in SQS: a crash is not noticed, the job comes back when its time ends, and then at once.
    #[test]
    fn with_a_visibility_timeout_a_crash_changes_nothing_and_there_is_no_pause() {
        let mut queues = queue(Settings {
            visibility: Some(30),
            backoff: 100,
            ..Settings::default()
        });
        queues.call(WORKER, &Jobs::take("mail"), 0).ok();
        queues.disconnected(WORKER, 10);
        assert_eq!(status(&queues), Some(JobStatus::Taken(WORKER, Some(30))));
        queues.advance(30);
        assert!(queues.ready(&Jobs::take("mail"), 30));
    }

    #[test]
    fn a_job_is_in_the_hands_of_who_is_called_so_now() {
        let mut queues = queue(Settings::default());
        queues.call(WORKER, &Jobs::take("mail"), 0).ok();
        assert!(queues.rename(&Renaming::of(&[1, 0])));
        assert_eq!(status(&queues), Some(JobStatus::Taken(ADDER, None)));
        // A job without a key is named after who added it, for good.
        queues.call(ADDER, &Jobs::add("mail", []), 0).ok();
        assert!(!queues.rename(&Renaming::of(&[1, 0])));
    }
}
