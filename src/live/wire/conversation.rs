//! One connection's side of the Postgres protocol as a pure state machine: bytes in, bytes out, and between them the statements that are steps.
//!
//! What is no step is answered at once: start-up, Parse, Describe, Bind, Close, pings, settings that no answer depends on. An Execute or a simple
//! query is handed out by [`Conversation::next`], and nothing after it is looked at until [`Conversation::answer`] tells what came of it.
//! An error is sent at once, and everything up to the next Sync is then passed over.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use pgwire::messages::data::{DataRow, NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse, ReadyForQuery, SslResponse, TransactionStatus};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireFrontendMessage, ProtocolVersion, SslNegotiationMetaMessage};

use super::told::{self, BytesMut};
use super::values::{self, ValueError};
use crate::machine::{Rows, Sql, SqlError, SqlState};
use crate::value::Value;
use crate::world::database::sql::settings::{DateStyle, Settings};
use crate::world::database::sql::types::Type;
use crate::world::database::{Database, Described, Does, QueryError};

/// Why a connection can't be served truthfully: an error of the test, which ends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The model does not know the statement.
    #[error("`{statement}`: {reason}; write it in SQL that the model knows (docs/reference.md)")]
    Unknown {
        /// The statement.
        statement: String,
        /// What is not known.
        reason: String,
    },
    /// The results of all but the last statement of a message are not known here.
    #[error("`{statement}` is followed by others in one message, so its result is not known; send it by itself")]
    Message {
        /// The statement.
        statement: String,
    },
    /// Statements that commit together at Sync.
    #[error("`{statement}` is pipelined with another one outside of a transaction; begin one, or send them one by one")]
    Pipelined {
        /// The statement.
        statement: String,
    },
    /// A value can't cross the wire.
    #[error("`{statement}`: {error}")]
    Value {
        /// The statement.
        statement: String,
        /// Why.
        error: ValueError,
    },
    /// The client broke the protocol.
    #[error("the client's message can't be read: {0}")]
    Protocol(String),
    /// What the model executes it would not prepare.
    #[error("`{0}` rests on a change of the schema that the code made itself; put it into the schema of the test")]
    Schema(String),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    database: Arc<Database>,
    number: i32,
    context: DecodeContext,
    inbox: BytesMut,
    out: BytesMut,
    statements: BTreeMap<String, Arc<Prepared>>,
    portals: BTreeMap<String, Portal>,
    status: TransactionStatus,
    discarding: bool,
    /// What the client asked for at its start and is a step: a connection that is never used has none.
    first: Vec<Sql>,
    held: VecDeque<(Sql, Then)>,
    asked: bool,
    /// Steps since the last Sync.
    executed: usize,
    settings: Settings,
    /// Whether the session may have something that outlives a transaction: settings, advisory locks.
    marked: bool,
    over: bool,
}

/// A prepared statement; `None` is an empty one.
#[derive(Debug)]
struct Prepared(Option<Described>);

#[derive(Debug)]
struct Portal {
    prepared: Arc<Prepared>,
    params: Vec<Value>,
    formats: Vec<i16>,
    /// What is left of its result, once it has run.
    rows: Option<VecDeque<Vec<Value>>>,
    affected: u64,
}

/// Who gets the answer.
#[derive(Debug)]
enum Then {
    /// Nobody: it sets what the client asked for at the start, or cleans up behind it.
    Nothing,
    /// A portal; and at most so many rows at a time, 0 for all.
    Portal(String, usize),
    /// A simple query.
    Query(Vec<Described>),
    /// A statement that can't be prepared.
    Unprepared(String),
}

impl Conversation {
    /// A connection that has just been made. Its number is what the client is told as its process id.
    pub(crate) fn new(database: Arc<Database>, number: i32) -> Self {
        Conversation {
            database,
            number,
            context: DecodeContext::new(ProtocolVersion::PROTOCOL3_0),
            inbox: BytesMut::new(),
            out: BytesMut::new(),
            statements: BTreeMap::new(),
            portals: BTreeMap::new(),
            status: TransactionStatus::Idle,
            discarding: false,
            first: Vec::new(),
            held: VecDeque::new(),
            asked: false,
            executed: 0,
            settings: Settings::reports(),
            marked: false,
            over: false,
        }
    }

    /// What the client sent.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// What is to be sent to the client.
    pub(crate) fn output(&mut self) -> BytesMut {
        self.out.split()
    }

    /// Whether the client has said goodbye, or is to be left.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// The client is gone without a goodbye, or with one. What its session holds is given back by the statements that come next.
    pub(crate) fn close(&mut self) {
        self.over = true;
        self.first.clear();
        // What was sent is done all the same, and nobody hears of it.
        self.held.truncate(usize::from(self.asked));
        self.held.iter_mut().for_each(|(_, then)| *then = Then::Nothing);
        if self.status != TransactionStatus::Idle {
            self.held.push_back((Sql::new("ROLLBACK"), Then::Nothing));
        }
        if std::mem::take(&mut self.marked) {
            self.held.push_back((Sql::new("DISCARD ALL"), Then::Nothing));
        }
        self.status = TransactionStatus::Idle;
    }

    /// Goes on until there is a statement to be asked, or nothing more to read.
    ///
    /// # Errors
    /// When the model can't tell what a server would answer.
    pub(crate) fn next(&mut self) -> Result<Option<Sql>, Refusal> {
        loop {
            if self.asked {
                return Ok(None);
            }
            if let Some((sql, _)) = self.held.front() {
                self.asked = true;
                return Ok(Some(sql.clone()));
            }
            if self.over {
                return Ok(None);
            }
            let message = PgWireFrontendMessage::decode(&mut self.inbox, &self.context);
            match message.map_err(|error| Refusal::Protocol(error.to_string()))? {
                None => return Ok(None),
                Some(message) => self.message(message)?,
            }
        }
    }

    /// What came of the statement that was asked.
    ///
    /// # Errors
    /// As [`Conversation::next`].
    pub(crate) fn answer(&mut self, reply: Result<Rows, SqlError>) -> Result<(), Refusal> {
        self.asked = false;
        let Some((sql, then)) = self.held.pop_front() else {
            return Ok(());
        };
        if let Err(error) = &reply
            && matches!(error.code, SqlState::CONNECTION_FAILURE | SqlState::ADMIN_SHUTDOWN)
        {
            // As in life, a broken connection says nothing.
            self.over = true;
            self.marked = false;
            self.held.clear();
            self.status = TransactionStatus::Idle;
            return Ok(());
        }
        match then {
            Then::Nothing => Ok(()),
            Then::Unprepared(text) => match reply {
                Ok(_) => Err(Refusal::Schema(text)),
                Err(error) => {
                    self.fail_transaction();
                    self.refuse(&error);
                    Ok(())
                }
            },
            Then::Portal(name, most) => self.executed(&name, most, &sql, reply),
            Then::Query(statements) => self.queried(&statements, reply),
        }
    }

    fn message(&mut self, message: PgWireFrontendMessage) -> Result<(), Refusal> {
        use PgWireFrontendMessage as Of;
        if self.discarding && !matches!(message, Of::Sync(_) | Of::Terminate(_)) {
            return Ok(());
        }
        match message {
            Of::SslNegotiation(SslNegotiationMetaMessage::None) => self.context.awaiting_frontend_ssl = false,
            Of::SslNegotiation(_) => self.put(&SslResponse::Refuse),
            Of::Startup(startup) => self.start(&startup),
            // A cancel comes too late for every statement: that is one of the things that can happen on a server.
            Of::CancelRequest(_) | Of::Terminate(_) => self.close(),
            Of::Query(query) => self.query(&query.query)?,
            Of::Parse(parse) => self.parse(parse)?,
            Of::Bind(bind) => self.bind(&bind)?,
            Of::Describe(describe) => self.describe(&describe),
            Of::Execute(execute) => self.execute(&execute)?,
            Of::Close(close) => {
                let name = close.name.unwrap_or_default();
                match close.target_type {
                    b'S' => drop(self.statements.remove(&name)),
                    _ => drop(self.portals.remove(&name)),
                }
                self.put(&CloseComplete::new());
            }
            Of::Sync(_) => {
                self.discarding = false;
                self.executed = 0;
                if self.status == TransactionStatus::Idle {
                    self.portals.clear();
                }
                self.ready();
            }
            Of::Flush(_) | Of::CopyData(_) | Of::CopyDone(_) | Of::CopyFail(_) | Of::PortalSuspended(_) => {}
            Of::PasswordMessageFamily(_) => {}
        }
        Ok(())
    }

    fn start(&mut self, startup: &Startup) {
        self.context.awaiting_frontend_startup = false;
        self.put(&Authentication::Ok);
        let options = startup
            .parameters
            .get("options")
            .map(String::as_str)
            .unwrap_or_default();
        let given = startup
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        for (name, value) in given.chain(told::options(options)) {
            let name = name.to_ascii_lowercase();
            if !matches!(name.as_str(), "user" | "database" | "options" | "replication")
                && !self.is_harmless(&name, &value)
            {
                self.marked = true;
                let quoted = value.replace('\'', "''");
                self.first.push(Sql::new(format!("SET {name} = '{quoted}'")));
            }
        }
        for (name, value) in told::PARAMETERS {
            self.put(&ParameterStatus::new((*name).to_owned(), (*value).to_owned()));
        }
        self.put(&BackendKeyData::new(self.number, SecretKey::I32(self.number)));
        self.ready();
    }

    /// Hands a statement out; before the first one of a connection what the client asked for at its start.
    fn hold(&mut self, sql: Sql, then: Then) {
        let first = std::mem::take(&mut self.first);
        self.held.extend(first.into_iter().map(|sql| (sql, Then::Nothing)));
        self.marked |= told::is_lasting(&sql.text);
        self.held.push_back((sql, then));
    }

    /// Whether no answer depends on the setting's having that value.
    fn is_harmless(&mut self, name: &str, value: &str) -> bool {
        let plain = value.to_ascii_lowercase();
        match name {
            "timezone" => {
                let is_default = matches!(plain.as_str(), "utc" | "etc/utc" | "gmt");
                if !is_default {
                    self.settings.time_zone = value.into();
                }
                is_default
            }
            "datestyle" if plain.starts_with("iso") => {
                self.settings.date_style = DateStyle::Iso;
                true
            }
            "client_encoding" => matches!(plain.replace(['-', '_'], "").as_str(), "utf8" | "unicode"),
            "search_path" => matches!(plain.as_str(), "public" | "\"$user\", public"),
            name => told::HARMLESS.contains(&name),
        }
    }

    fn look_at(&mut self, text: &str, declared: &[Type]) -> Result<Result<Vec<Described>, SqlError>, Refusal> {
        match self.database.describe(text, declared) {
            Ok(all) => Ok(Ok(all)),
            Err(QueryError::Sql(error)) => Ok(Err(error)),
            Err(QueryError::Refused(refused)) => Err(Refusal::Unknown {
                statement: told::short(text),
                reason: refused.to_string(),
            }),
        }
    }

    fn query(&mut self, text: &str) -> Result<(), Refusal> {
        let statements = match self.look_at(text, &[])? {
            Ok(statements) => statements,
            Err(_) => {
                self.hold(Sql::new(text), Then::Query(Vec::new()));
                return Ok(());
            }
        };
        let Some((last, before)) = statements.split_last() else {
            self.put(&EmptyQueryResponse::new());
            self.ready();
            return Ok(());
        };
        if let Some(counted) = before
            .iter()
            .find(|one| matches!(one.does, Does::Counts(_) | Does::Shows))
        {
            let statement = told::short(&counted.text);
            return Err(Refusal::Message { statement });
        }
        if self.status != TransactionStatus::Error {
            let at_once: Option<Vec<(String, Option<Value>)>> =
                statements.iter().map(|one| self.at_once(one)).collect();
            if let Some(answers) = at_once {
                for (described, (tag, value)) in statements.iter().zip(answers) {
                    if let Some(value) = value {
                        self.put(&told::row_description(&described.columns, &[]));
                        self.row(&described.clone(), &[value], &[])?;
                    }
                    self.put(&CommandComplete::new(tag));
                }
                self.ready();
                return Ok(());
            }
        }
        let text = match before.is_empty() {
            true => last.text.clone(),
            false => text.into(),
        };
        self.hold(Sql::new(text), Then::Query(statements));
        Ok(())
    }

    /// The tag, and the value of a ping, of what is no step.
    fn at_once(&mut self, described: &Described) -> Option<(String, Option<Value>)> {
        let tag = match &described.does {
            Does::Sets { name, value } => {
                let value = value.clone().unwrap_or_default();
                if !self.is_harmless(name, &value) {
                    return None;
                }
                "SET"
            }
            Does::Deallocates(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(&**name)),
                    None => self.statements.clear(),
                }
                "DEALLOCATE"
            }
            Does::Listens(tag) => tag,
            Does::Other(tag) if tag.starts_with("DISCARD") && !self.marked => tag,
            Does::Counts("SELECT") if described.params.is_empty() => {
                let number = told::ping(&described.text)?;
                return Some(("SELECT 1".to_owned(), Some(Value::Int(number))));
            }
            _ => return None,
        };
        Some((tag.to_owned(), None))
    }

    fn parse(&mut self, parse: Parse) -> Result<(), Refusal> {
        let name = parse.name.unwrap_or_default();
        let declared: Result<Vec<Type>, ValueError> = parse.type_oids.iter().map(|oid| values::type_of(*oid)).collect();
        let declared = declared.map_err(|error| Refusal::Value {
            statement: told::short(&parse.query),
            error,
        })?;
        if !name.is_empty() && self.statements.contains_key(&name) {
            let message = format!("prepared statement \"{name}\" already exists");
            self.refuse(&SqlError::new(SqlState(*b"42P05"), message));
            return Ok(());
        }
        let mut described = match self.look_at(&parse.query, &declared)? {
            Ok(described) => described,
            Err(_) => {
                self.hold(
                    Sql::new(parse.query.as_str()),
                    Then::Unprepared(told::short(&parse.query)),
                );
                return Ok(());
            }
        };
        if described.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            self.refuse(&SqlError::new(SqlState(*b"42601"), message));
            return Ok(());
        }
        self.statements.insert(name, Arc::new(Prepared(described.pop())));
        self.put(&ParseComplete::new());
        Ok(())
    }

    fn bind(&mut self, bind: &Bind) -> Result<(), Refusal> {
        let name = bind.statement_name.clone().unwrap_or_default();
        let Some(prepared) = self.statements.get(&name).cloned() else {
            let message = format!("prepared statement \"{name}\" does not exist");
            self.refuse(&SqlError::new(SqlState(*b"26000"), message));
            return Ok(());
        };
        let types = prepared
            .0
            .as_ref()
            .map(|described| described.params.as_slice())
            .unwrap_or_default();
        if types.len() != bind.parameters.len() {
            let message = format!(
                "bind message supplies {} parameters, but prepared statement \"{name}\" requires {}",
                bind.parameters.len(),
                types.len()
            );
            self.refuse(&SqlError::new(SqlState(*b"08P01"), message));
            return Ok(());
        }
        let mut params = Vec::new();
        for (place, (bytes, ty)) in bind.parameters.iter().zip(types).enumerate() {
            let format = told::format(&bind.parameter_format_codes, place);
            match values::read(bytes.as_deref(), ty, format, &self.settings) {
                Ok(value) => params.push(value),
                Err(error @ ValueError::NoBinary(_)) => {
                    let statement = told::short(prepared.0.as_ref().map(|one| &*one.text).unwrap_or_default());
                    return Err(Refusal::Value { statement, error });
                }
                Err(error) => {
                    self.refuse(&SqlError::new(SqlState(*b"22P03"), error.to_string()));
                    return Ok(());
                }
            }
        }
        let portal = Portal {
            prepared,
            params,
            formats: bind.result_column_format_codes.clone(),
            rows: None,
            affected: 0,
        };
        self.portals
            .insert(bind.portal_name.clone().unwrap_or_default(), portal);
        self.put(&BindComplete::new());
        Ok(())
    }

    fn describe(&mut self, describe: &Describe) {
        let name = describe.name.clone().unwrap_or_default();
        let (prepared, formats) = match describe.target_type {
            b'S' => (self.statements.get(&name).cloned(), Vec::new()),
            _ => match self.portals.get(&name) {
                Some(portal) => (Some(portal.prepared.clone()), portal.formats.clone()),
                None => (None, Vec::new()),
            },
        };
        let Some(prepared) = prepared else {
            let (code, what) = match describe.target_type {
                b'S' => (*b"26000", "prepared statement"),
                _ => (*b"34000", "portal"),
            };
            self.refuse(&SqlError::new(
                SqlState(code),
                format!("{what} \"{name}\" does not exist"),
            ));
            return;
        };
        let described = prepared.0.as_ref();
        if describe.target_type == b'S' {
            let types = described.map(|one| one.params.iter().map(values::number).collect());
            self.put(&ParameterDescription::new(types.unwrap_or_default()));
        }
        match described.filter(|one| !one.columns.is_empty()) {
            Some(one) => self.put(&told::row_description(&one.columns, &formats)),
            None => self.put(&NoData::new()),
        }
    }

    fn execute(&mut self, execute: &Execute) -> Result<(), Refusal> {
        let name = execute.name.clone().unwrap_or_default();
        let most = usize::try_from(execute.max_rows).unwrap_or(0);
        let Some(portal) = self.portals.get(&name) else {
            self.refuse(&SqlError::new(
                SqlState(*b"34000"),
                format!("portal \"{name}\" does not exist"),
            ));
            return Ok(());
        };
        if portal.rows.is_some() {
            return self.rows(&name, most);
        }
        let prepared = portal.prepared.clone();
        let Some(described) = &prepared.0 else {
            self.put(&EmptyQueryResponse::new());
            return Ok(());
        };
        let sql = Sql {
            text: described.text.clone(),
            params: portal.params.clone(),
            session: 0,
        };
        if self.status != TransactionStatus::Error
            && let Some((tag, value)) = self.at_once(described)
        {
            if let Some(value) = value {
                let formats = self.portals.get(&name).map(|portal| portal.formats.clone());
                self.row(described, &[value], &formats.unwrap_or_default())?;
            }
            self.put(&CommandComplete::new(tag));
            return Ok(());
        }
        if self.status == TransactionStatus::Idle && self.executed > 0 {
            let statement = told::short(&sql.text);
            return Err(Refusal::Pipelined { statement });
        }
        self.executed += 1;
        self.hold(sql, Then::Portal(name, most));
        Ok(())
    }

    fn executed(&mut self, name: &str, most: usize, sql: &Sql, reply: Result<Rows, SqlError>) -> Result<(), Refusal> {
        let Some(portal) = self.portals.get_mut(name) else {
            return Err(Refusal::Protocol(format!(
                "`{}` has lost its portal",
                told::short(&sql.text)
            )));
        };
        let prepared = portal.prepared.clone();
        match reply {
            Err(error) => {
                let ends = prepared
                    .0
                    .as_ref()
                    .is_some_and(|one| matches!(one.does, Does::Commits { .. }));
                match ends {
                    true => self.status = TransactionStatus::Idle,
                    false => self.fail_transaction(),
                }
                self.refuse(&error);
                Ok(())
            }
            Ok(rows) => {
                portal.rows = Some(rows.rows.into());
                portal.affected = rows.affected;
                self.rows(name, most)
            }
        }
    }

    /// Sends what is left of a portal's rows, or as many as the client wants.
    fn rows(&mut self, name: &str, most: usize) -> Result<(), Refusal> {
        let Some(portal) = self.portals.get_mut(name) else {
            return Ok(());
        };
        let (prepared, formats, affected) = (portal.prepared.clone(), portal.formats.clone(), portal.affected);
        let rows = portal.rows.get_or_insert_default();
        let count = match most {
            0 => rows.len(),
            most => rows.len().min(most),
        };
        let now: Vec<Vec<Value>> = rows.drain(..count).collect();
        let suspended = most > 0 && count == most;
        let Some(described) = &prepared.0 else { return Ok(()) };
        if !described.columns.is_empty() {
            for row in &now {
                self.row(described, row, &formats)?;
            }
        }
        if suspended {
            self.put(&PortalSuspended::new());
            return Ok(());
        }
        let tag = self.passed(described, affected);
        self.put(&CommandComplete::new(tag));
        Ok(())
    }

    fn queried(&mut self, statements: &[Described], reply: Result<Rows, SqlError>) -> Result<(), Refusal> {
        match reply {
            Err(error) => {
                let ends = statements.iter().any(|one| matches!(one.does, Does::Commits { .. }));
                match ends {
                    true => self.status = TransactionStatus::Idle,
                    false => self.fail_transaction(),
                }
                self.put(&told::error(&error));
            }
            Ok(rows) => {
                for (place, described) in statements.iter().enumerate() {
                    let is_last = place + 1 == statements.len();
                    if is_last && !described.columns.is_empty() {
                        self.put(&told::row_description(&described.columns, &[]));
                        for row in &rows.rows {
                            self.row(described, row, &[])?;
                        }
                    }
                    let tag = self.passed(described, if is_last { rows.affected } else { 0 });
                    self.put(&CommandComplete::new(tag));
                }
            }
        }
        self.ready();
        Ok(())
    }

    /// The statement succeeded: what that makes of the transaction, and its tag.
    fn passed(&mut self, described: &Described, affected: u64) -> String {
        use TransactionStatus::{Error, Idle, Transaction};
        let after = |chain: bool| if chain { Transaction } else { Idle };
        match &described.does {
            Does::Begins(tag) => {
                self.status = Transaction;
                (*tag).to_owned()
            }
            Does::Commits { chain } => {
                let failed = self.status == Error;
                self.status = after(*chain);
                if failed { "ROLLBACK" } else { "COMMIT" }.to_owned()
            }
            Does::RollsBack { chain } => {
                self.status = after(*chain);
                "ROLLBACK".to_owned()
            }
            Does::RollsBackTo => {
                self.status = Transaction;
                "ROLLBACK".to_owned()
            }
            Does::Counts(word) => format!("{word} {affected}"),
            Does::Sets { name, value } => {
                self.marked = true;
                if &**name == "timezone" {
                    self.settings.time_zone = value.as_deref().unwrap_or("UTC").into();
                }
                "SET".to_owned()
            }
            Does::Shows => "SHOW".to_owned(),
            Does::Deallocates(_) => "DEALLOCATE".to_owned(),
            Does::Listens(tag) => (*tag).to_owned(),
            Does::Other(tag) => {
                if tag.starts_with("DISCARD") {
                    self.marked = false;
                }
                tag.clone()
            }
        }
    }

    fn fail_transaction(&mut self) {
        if self.status == TransactionStatus::Transaction {
            self.status = TransactionStatus::Error;
        }
    }

    fn row(&mut self, described: &Described, row: &[Value], formats: &[i16]) -> Result<(), Refusal> {
        let mut data = BytesMut::new();
        for (place, (value, (_, ty))) in row.iter().zip(&described.columns).enumerate() {
            let written = values::write(value, ty, told::format(formats, place), &self.settings);
            let written = written.map_err(|error| Refusal::Value {
                statement: told::short(&described.text),
                error,
            })?;
            told::field(&mut data, written.as_deref());
        }
        self.put(&DataRow::new(data, row.len() as i16));
        Ok(())
    }

    /// An error inside of the extended protocol: nothing more is done up to the next Sync.
    fn refuse(&mut self, error: &SqlError) {
        self.put(&told::error(error));
        self.discarding = true;
    }

    fn ready(&mut self) {
        self.put(&ReadyForQuery::new(self.status));
    }

    fn put<M: Message>(&mut self, message: &M) {
        if message.encode(&mut self.out).is_err() {
            // A message longer than the protocol allows: there is nothing to say to that client any more.
            self.over = true;
        }
    }
}
