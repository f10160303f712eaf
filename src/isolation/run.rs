//! Running a file: setup, steps in the order of a permutation, teardown; and the report of who waits and who completes.
//!
//! The order of events is isolationtester's: after each launch the steps that wait are looked at once, in the order in
//! which they were launched, and again only when one that is left has markers and something happened.

use std::collections::BTreeMap;

use super::backend::{Backend, BackendError, Patience, Progress, Reply};
use super::print;
use super::spec::{Block, Marker, Permutation, Spec, StepRef};

/// Why a run ended early. What was printed before stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The backend gave up.
    #[error("{place}: {error}")]
    Backend {
        /// The step or block, as a user would name it.
        place: String,
        /// Where the SQL starts in the file, in bytes.
        offset: usize,
        /// Why.
        error: BackendError,
    },
    /// A setup block failed, which ends the whole file.
    #[error("{place} failed: {severity}:  {message}")]
    Setup {
        /// Which block.
        place: String,
        /// The error's severity.
        severity: String,
        /// The error's primary message.
        message: String,
    },
    /// Markers wait for each other.
    #[error("failed to complete permutation due to mutually-blocking steps")]
    MutuallyBlocking,
}

/// Runs all permutations of a file and appends what isolationtester prints.
///
/// # Errors
/// When a setup block fails, and when the backend gives up.
pub fn run(spec: &Spec, backend: &mut dyn Backend, out: &mut String) -> Result<(), RunError> {
    for name in spec.unused() {
        out.push_str(&format!("unused step name: {name}\n"));
    }
    out.push_str(&format!("Parsed test spec with {} sessions\n", spec.sessions.len()));
    for permutation in spec.permutations() {
        let mut runner = Runner {
            spec,
            permutation: &permutation,
            backend: &mut *backend,
            out: &mut *out,
            active: BTreeMap::new(),
            notices: vec![0; spec.sessions.len()],
            waiting: Vec::new(),
        };
        runner.run()?;
    }
    Ok(())
}

struct Runner<'a> {
    spec: &'a Spec,
    permutation: &'a Permutation,
    backend: &'a mut dyn Backend,
    out: &'a mut String,
    /// By session: the launched step whose completion was not reported yet.
    active: BTreeMap<usize, Launch>,
    /// By session: how many notices it has sent.
    notices: Vec<u64>,
    /// Sessions whose active step was reported as waiting, in the order of launch.
    waiting: Vec<usize>,
}

#[derive(Clone)]
struct Launch {
    step: StepRef,
    markers: Vec<Marker>,
    /// For each marker, the number of notices of its session that satisfies it.
    targets: Vec<u64>,
}

/// What became of a step when it was looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    Waiting,
    Completed,
}

impl Runner<'_> {
    fn run(&mut self) -> Result<(), RunError> {
        let names = self.permutation.entries.iter();
        let names = names.map(|entry| format!(" {}", self.spec.step(entry.step).name));
        self.out
            .push_str(&format!("\nstarting permutation:{}\n", names.collect::<String>()));
        self.set_up()?;
        for index in 0..self.permutation.entries.len() {
            self.entry(index)?;
        }
        self.look(Patience::UntilDone)?;
        if !self.waiting.is_empty() {
            return Err(RunError::MutuallyBlocking);
        }
        self.tear_down()
    }

    fn set_up(&mut self) -> Result<(), RunError> {
        let spec = self.spec;
        for block in &spec.setups {
            let reply = self.control(block, "setup")?;
            self.block_result("setup", reply)?;
        }
        for (session, found) in spec.sessions.iter().enumerate() {
            if let Some(block) = &found.setup {
                let place = format!("setup of session {}", found.name);
                let reply = self.message(session, block, &place)?;
                self.block_result(&place, reply)?;
            }
        }
        Ok(())
    }

    fn tear_down(&mut self) -> Result<(), RunError> {
        let spec = self.spec;
        for (session, found) in spec.sessions.iter().enumerate() {
            if let Some(block) = &found.teardown {
                let place = format!("teardown of session {}", found.name);
                let reply = self.message(session, block, &place)?;
                self.teardown_result(&place, reply);
            }
        }
        if let Some(block) = &spec.teardown {
            let reply = self.control(block, "teardown")?;
            self.teardown_result("teardown", reply);
        }
        Ok(())
    }

    /// Of a setup block only the last result is printed, and an error ends everything.
    fn block_result(&mut self, place: &str, reply: Reply) -> Result<(), RunError> {
        if let Some(failure) = reply.failure {
            self.out
                .push_str(&format!("{place} failed: {}:  {}\n", failure.severity, failure.message));
            return Err(RunError::Setup {
                place: place.to_owned(),
                severity: failure.severity.to_string(),
                message: failure.message.to_string(),
            });
        }
        if let Some(Some(table)) = reply.results.last() {
            print::table(self.out, table);
        }
        Ok(())
    }

    /// A failing teardown block is told and the run goes on.
    fn teardown_result(&mut self, place: &str, reply: Reply) {
        // The text is in the output already; nothing more to do about it.
        let _ = self.block_result(place, reply);
    }

    fn control(&mut self, block: &Block, place: &str) -> Result<Reply, RunError> {
        self.backend.control(&block.text).map_err(|error| RunError::Backend {
            place: place.to_owned(),
            offset: block.span.start,
            error,
        })
    }

    fn message(&mut self, session: usize, block: &Block, place: &str) -> Result<Reply, RunError> {
        let mut send = || {
            self.backend.launch(session, &block.text)?;
            self.backend.poll(session, Patience::UntilDone)?;
            self.backend.reply(session)
        };
        let reply = send().map_err(|error| RunError::Backend {
            place: place.to_owned(),
            offset: block.span.start,
            error,
        })?;
        self.receive(session);
        Ok(reply)
    }

    fn entry(&mut self, index: usize) -> Result<(), RunError> {
        let entry = &self.permutation.entries[index];
        let session = entry.step.session;
        while self.active.contains_key(&session) {
            let before = (self.waiting.len(), self.notices.clone());
            if self.look_at(session, Some(Patience::UntilDone), true)? == Seen::Completed {
                self.waiting.retain(|waiting| *waiting != session);
            }
            self.look(Patience::UntilBlocked)?;
            let unchanged = self.active.contains_key(&session) && before == (self.waiting.len(), self.notices.clone());
            // Only its markers hold it back: what they wait for may still come with time (a deadlock timeout, say).
            if unchanged && !self.backend.pass_time() {
                return Err(RunError::MutuallyBlocking);
            }
        }
        let step = entry.step;
        let sql = self.spec.step(step).sql.text.clone();
        let targets = entry.markers.iter().map(|marker| match marker {
            Marker::Notices(other, number) => self.notices[other.session] + number,
            _ => 0,
        });
        let launch = Launch {
            step,
            markers: entry.markers.clone(),
            targets: targets.collect(),
        };
        self.active.insert(session, launch);
        self.backend
            .launch(session, &sql)
            .map_err(|error| self.at(step, error))?;
        let forced = entry.markers.contains(&Marker::Once);
        let patience = (!forced).then_some(Patience::UntilBlocked);
        let seen = self.look_at(session, patience, false)?;
        self.look(Patience::UntilBlocked)?;
        if seen == Seen::Waiting {
            self.waiting.push(session);
        }
        Ok(())
    }

    /// Looks at the steps that wait, in the order of launch.
    fn look(&mut self, patience: Patience) -> Result<(), RunError> {
        loop {
            let mut marked = false;
            let mut completed = false;
            let notices = self.notices.clone();
            for session in self.waiting.clone() {
                if self.look_at(session, Some(patience), true)? == Seen::Completed {
                    self.waiting.retain(|waiting| *waiting != session);
                    completed = true;
                } else {
                    marked |= self
                        .active
                        .get(&session)
                        .is_some_and(|launch| !launch.markers.is_empty());
                }
            }
            if !(marked && (completed || notices != self.notices)) {
                return Ok(());
            }
        }
    }

    /// Looks at one session's active step and reports it. No patience: it is to be reported as waiting whatever happens.
    fn look_at(&mut self, session: usize, patience: Option<Patience>, again: bool) -> Result<Seen, RunError> {
        let Some(launch) = self.active.get(&session).cloned() else {
            return Ok(Seen::Completed);
        };
        let step = self.spec.step(launch.step);
        let (name, sql) = (&step.name, &step.sql.text);
        let progress = match patience {
            None => Progress::Blocked,
            Some(patience) => {
                let progress = self.backend.poll(session, patience);
                self.receive(session);
                progress.map_err(|error| self.at(launch.step, error))?
            }
        };
        if progress == Progress::Blocked || self.held_back(&launch) {
            if !again {
                self.out.push_str(&format!("step {name}: {sql} <waiting ...>\n"));
            }
            return Ok(Seen::Waiting);
        }
        if again {
            self.out.push_str(&format!("step {name}: <... completed>\n"));
        } else {
            self.out.push_str(&format!("step {name}: {sql}\n"));
        }
        let reply = self
            .backend
            .reply(session)
            .map_err(|error| self.at(launch.step, error))?;
        self.step_result(session, &reply);
        self.active.remove(&session);
        Ok(Seen::Completed)
    }

    fn step_result(&mut self, session: usize, reply: &Reply) {
        for table in reply.results.iter().flatten() {
            print::table(self.out, table);
        }
        if let Some(failure) = &reply.failure {
            self.out
                .push_str(&format!("{}:  {}\n", failure.severity, failure.message));
        }
        for notify in self.backend.notifications(session) {
            let sender = notify
                .sender
                .map_or("control connection", |sender| &*self.spec.sessions[sender].name);
            self.out.push_str(&format!(
                "{}: NOTIFY \"{}\" with payload \"{}\" from {sender}\n",
                self.spec.sessions[session].name, notify.channel, notify.payload
            ));
        }
    }

    /// Prints the notices of a session.
    fn receive(&mut self, session: usize) {
        for message in self.backend.messages(session) {
            self.notices[session] += 1;
            let name = &self.spec.sessions[session].name;
            self.out
                .push_str(&format!("{name}: {}:  {}\n", message.severity, message.text));
        }
    }

    fn held_back(&self, launch: &Launch) -> bool {
        let mut markers = launch.markers.iter().zip(&launch.targets);
        markers.any(|(marker, target)| match marker {
            Marker::Once => false,
            Marker::While(other) => self
                .active
                .get(&other.session)
                .is_some_and(|active| active.step == *other),
            Marker::Notices(other, _) => self.notices[other.session] < *target,
        })
    }

    fn at(&self, step: StepRef, error: BackendError) -> RunError {
        let step = self.spec.step(step);
        RunError::Backend {
            place: format!("step {}", step.name),
            offset: step.sql.span.start,
            error,
        }
    }
}
