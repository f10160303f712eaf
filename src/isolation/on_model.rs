//! Isolation tests on the model of the database.
//!
//! On the server a timer ends a deadlock, while isolationtester waits for a step to finish. So it lasts here until a step is waited for to its
//! end: whoever is launched in between meets the locks as they are during the deadlock.

use std::sync::Arc;

use super::backend::{Backend, BackendError, Failure, Message, Notify, Patience, Progress, Reply, Table};
use super::files::Level;
use super::spec::Spec;
use crate::machine::{Pid, Rows, Sql, Usual};
use crate::value::Value;
use crate::world::database::sql::cast::{Context, cast};
use crate::world::database::sql::settings::Settings;
use crate::world::database::sql::types::Type;
use crate::world::database::{Database, DbEvent, Release, Severity};

/// The control connection; sessions are roots from 0.
const CONTROL: Pid = Pid::root(253);
/// 2026-07-01 00:00 UTC: where virtual time starts, a time like the present for those who compare with it.
const START: i64 = 1_782_864_000_000_000;
/// How much virtual time a message takes, so that two of them never see the same moment.
const TICK: i64 = 1_000;
/// The zone that expected outputs are printed in.
const ZONE: &str = "America/Los_Angeles";

/// A model of the server with a session for each of a spec file.
#[derive(Debug)]
pub struct OnModel {
    database: Database,
    now: i64,
    control: Session,
    sessions: Vec<Session>,
}

#[derive(Debug, Default)]
struct Session {
    /// The answer to its message.
    answer: Option<Result<Reply, BackendError>>,
    messages: Vec<Message>,
    /// How its results are printed, where not as usual: the place of a result and its settings.
    styles: Vec<(usize, Settings)>,
}

impl OnModel {
    /// An empty database.
    ///
    /// # Errors
    /// When the model does not know a setting.
    pub fn open(spec: &Spec, level: Level) -> Result<OnModel, BackendError> {
        OnModel::of_release(Release::default(), spec, level)
    }

    /// An empty database of a release of the server.
    ///
    /// # Errors
    /// When the model does not know a setting.
    pub fn of_release(release: Release, spec: &Spec, level: Level) -> Result<OnModel, BackendError> {
        let mut model = OnModel {
            database: Database::of(release),
            now: START,
            control: Session::default(),
            sessions: spec.sessions.iter().map(|_| Session::default()).collect(),
        };
        model.database.be_patient();
        let mut settings = vec![format!("SET TimeZone = '{ZONE}'")];
        if level != Level::ReadCommitted {
            settings.push(format!("SET default_transaction_isolation = '{}'", level.sql()));
        }
        for sql in &settings {
            model.control(sql)?;
            for session in 0..model.sessions.len() {
                model.launch(session, sql)?;
                model.poll(session, Patience::UntilDone)?;
                model.reply(session)?;
            }
        }
        Ok(model)
    }

    fn execute(&mut self, pid: Pid, sql: &str) {
        self.now += TICK;
        let events = self.database.execute(pid, &Sql::new(sql), self.now, &mut Usual);
        self.happen(events);
    }

    fn session(&mut self, pid: Pid) -> Option<&mut Session> {
        if pid == CONTROL {
            return Some(&mut self.control);
        }
        self.sessions.get_mut(usize::from(pid.top()))
    }

    fn happen(&mut self, events: Vec<DbEvent>) {
        events.into_iter().for_each(|event| self.note(event));
    }

    fn note(&mut self, event: DbEvent) {
        match event {
            // Statements of a spec are never stopped: nobody asks for it.
            DbEvent::Stopped { .. } => {}
            DbEvent::Notice {
                session,
                severity,
                text,
            } => {
                let severity = match severity {
                    Severity::Notice => "NOTICE",
                    Severity::Warning => "WARNING",
                    Severity::Info => "INFO",
                };
                if let Some(session) = self.session(session) {
                    session.messages.push(Message {
                        severity: severity.into(),
                        text,
                    });
                }
            }
            DbEvent::Blocked { .. } | DbEvent::Woken { .. } => {}
            DbEvent::Styled {
                session,
                result,
                settings,
            } => {
                if let Some(session) = self.session(session) {
                    session.styles.push((result, settings));
                }
            }
            DbEvent::Done { session, result } => {
                let (results, failure) = match result {
                    Ok(results) => (results, None),
                    Err(failure) => (failure.results, Some(failure.error)),
                };
                let styles = match self.session(session) {
                    Some(session) => std::mem::take(&mut session.styles),
                    None => Vec::new(),
                };
                let usual = Settings::default();
                let settings = |place: usize| {
                    let style = styles.iter().find(|(result, _)| *result == place);
                    style.map_or(&usual, |(_, settings)| settings)
                };
                let shown = results.iter().enumerate();
                let reply = Reply {
                    results: shown.map(|(place, rows)| table(rows, settings(place))).collect(),
                    failure: failure.map(|error| Failure {
                        severity: "ERROR".into(),
                        message: error.message,
                    }),
                };
                if let Some(session) = self.session(session) {
                    session.answer = Some(Ok(reply));
                }
            }
            DbEvent::Refused { session, refused } => {
                let error = BackendError::Unsupported {
                    construct: refused.construct,
                    line: refused.line,
                    column: refused.column,
                };
                if let Some(session) = self.session(session) {
                    session.answer = Some(Err(error));
                }
            }
        }
    }

    /// The timer of a deadlock fires.
    fn reveal(&mut self) -> bool {
        let events = self.database.check_deadlocks(self.now, &mut Usual);
        let some = !events.is_empty();
        self.happen(events);
        some
    }

    /// Moves the clock to the next sleep's or timeout's end.
    fn advance(&mut self) -> bool {
        let Some(moment) = self.database.next_wakeup() else {
            return false;
        };
        self.now = self.now.max(moment);
        let events = self.database.advance(self.now, &mut Usual);
        self.happen(events);
        true
    }

    /// Whether the session waits for another one, as far as the tester can know.
    fn seems_blocked(&self, session: usize) -> bool {
        !self.database.blockers(Pid::root(session as u8)).is_empty()
    }
}

impl Backend for OnModel {
    fn control(&mut self, sql: &str) -> Result<Reply, BackendError> {
        self.execute(CONTROL, sql);
        loop {
            self.control.messages.clear();
            match self.control.answer.take() {
                Some(answer) => return answer,
                None if self.reveal() || self.advance() => {}
                None => {
                    return Err(BackendError::Broken(
                        "the control connection waits for a session".to_owned(),
                    ));
                }
            }
        }
    }

    fn launch(&mut self, session: usize, sql: &str) -> Result<(), BackendError> {
        self.execute(Pid::root(session as u8), sql);
        Ok(())
    }

    fn poll(&mut self, session: usize, patience: Patience) -> Result<Progress, BackendError> {
        loop {
            match &self.sessions[session].answer {
                Some(Ok(_)) => return Ok(Progress::Done),
                Some(Err(error)) => return Err(error.clone()),
                None => {}
            }
            if patience == Patience::UntilBlocked && self.seems_blocked(session) {
                return Ok(Progress::Blocked);
            }
            let moved = (patience == Patience::UntilDone && self.reveal()) || self.advance();
            if !moved {
                return Err(BackendError::Stuck { session });
            }
        }
    }

    fn reply(&mut self, session: usize) -> Result<Reply, BackendError> {
        let answer = self.sessions[session].answer.take();
        answer.unwrap_or(Err(BackendError::Stuck { session }))
    }

    fn messages(&mut self, session: usize) -> Vec<Message> {
        std::mem::take(&mut self.sessions[session].messages)
    }

    /// Departure: LISTEN and NOTIFY are not modelled.
    fn notifications(&mut self, _session: usize) -> Vec<Notify> {
        Vec::new()
    }

    fn pass_time(&mut self) -> bool {
        self.reveal() || self.advance()
    }
}

/// A result as the server's text protocol shows it; `None` for a statement that returns no rows.
fn table(rows: &Rows, settings: &Settings) -> Option<Table> {
    if rows.columns.is_empty() {
        return None;
    }
    let types: Vec<Type> = rows
        .columns
        .iter()
        .map(|column| Type::from_name(&column.type_name).unwrap_or(Type::Text))
        .collect();
    let shown = rows.rows.iter().map(|row| {
        let cells = row.iter().zip(&types);
        cells.map(|(value, ty)| text(value, ty, settings)).collect()
    });
    Some(Table {
        columns: rows.columns.iter().map(|column| column.name.clone()).collect(),
        rows: shown.collect(),
    })
}

/// A value as its type's output function prints it; `None` for NULL.
pub fn text(value: &Value, ty: &Type, settings: &Settings) -> Option<Arc<str>> {
    match value {
        Value::Null => None,
        // Output functions differ from casts to text in these two: `t`, and the blanks of `char(n)`.
        Value::Bool(truth) => Some(if *truth { "t" } else { "f" }.into()),
        Value::Text(text) => Some(text.clone()),
        other => Some(
            match cast(other.clone(), ty, &Type::Text, Context::Explicit, settings) {
                Ok(Value::Text(text)) => text,
                _ => other.to_string().into(),
            },
        ),
    }
}
