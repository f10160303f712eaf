//! The payment provider behind a socket: a real HTTP server around the same pure provider, for schedules that run on a real database.
//!
//! A call is a `POST /provider/OPERATION` with its arguments as JSON; the answer is 200 with the named values, or the refusal's own
//! status. The server holds a provider of its own, which starts as the scenario's and only learns what reaches it over the socket, so
//! that a call that the schedule loses, repeats or never makes shows as a difference at the end.
//!
//! **Departures:** virtual time, the caller (which names objects that no key names), that the first request of a key is still being executed, and the end of a
//! caller's connection are told to the server directly, since no request of a real client carries them; webhooks are delivered by the schedule and not by the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use wiremock::matchers::{method, path_regex};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use crate::isolation::on_model::text;
use crate::machine::service::{Answer, Arguments, Call};
use crate::machine::{NoAnswer, Pid};
use crate::value::Value;
use crate::world::database::sql::cast::{Context, cast};
use crate::world::database::sql::settings::Settings as SqlSettings;
use crate::world::database::sql::types::Type;
use crate::world::provider::PROVIDER;
use crate::world::service::Provided;

/// The provider could not be reached over its socket, or said something that is not its protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// The runtime or the connection failed.
    #[error("the provider's HTTP server: {0}")]
    Connection(String),
    /// A value that has no form in the protocol.
    #[error("the provider's HTTP server: a {operation} with the value {value}, which has no form in its protocol")]
    Unsendable {
        /// The operation.
        operation: Arc<str>,
        /// The value.
        value: String,
    },
    /// An answer that cannot be read.
    #[error("the provider's HTTP server: unreadable answer to {operation}: {reason}")]
    Unreadable {
        /// The operation.
        operation: Arc<str>,
        /// Why.
        reason: String,
    },
}

/// The HTTP server and a client for it.
#[derive(Debug)]
pub struct Gateway {
    behind: Arc<Mutex<Behind>>,
    client: reqwest::Client,
    server: MockServer,
    runtime: Runtime,
}

#[derive(Debug)]
struct Behind {
    provider: Provided,
    caller: Pid,
    /// Requests whose callers wait for their answers are still being executed.
    busy: bool,
    now: i64,
}

impl Gateway {
    /// Starts a server on a free port of the loopback interface, around a copy of `provider`.
    ///
    /// # Errors
    /// When there is no runtime or no client.
    pub fn open(provider: &Provided) -> Result<Gateway, GatewayError> {
        let failed = |error: &dyn std::fmt::Display| GatewayError::Connection(error.to_string());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        // A proxy of the environment has nothing to do with a server on this machine.
        let client = reqwest::Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| failed(&error))?;
        let behind = Arc::new(Mutex::new(Behind {
            provider: provider.clone(),
            caller: Pid::root(0),
            busy: false,
            now: 0,
        }));
        let desk = Mock::given(method("POST"))
            .and(path_regex(format!("^/{PROVIDER}/[a-z_]+$")))
            .respond_with(Desk(Arc::clone(&behind)));
        let server = runtime.block_on(async {
            let server = MockServer::builder().disable_request_recording().start().await;
            desk.mount(&server).await;
            server
        });
        Ok(Gateway {
            behind,
            client,
            server,
            runtime,
        })
    }

    /// Starts again with a copy of `provider`.
    pub fn reset(&self, provider: &Provided) {
        self.behind().provider = provider.clone();
    }

    /// Sends a call over the socket and awaits the answer. `busy` says that an earlier request with its key, if there is one, is still being executed.
    ///
    /// # Errors
    /// When the server is gone, or a value has no form in the protocol.
    pub fn call(
        &self,
        caller: Pid,
        call: &Call,
        busy: bool,
        now: i64,
    ) -> Result<Result<Answer, NoAnswer>, GatewayError> {
        let operation = &call.operation;
        let body = Body {
            arguments: named(&call.arguments.0, operation)?,
        };
        {
            let mut behind = self.behind();
            (behind.caller, behind.busy, behind.now) = (caller, busy, now);
        }
        let url = format!("{}/{PROVIDER}/{operation}", self.server.uri());
        let failed = |error: reqwest::Error| GatewayError::Connection(error.to_string());
        let (status, body) = self.runtime.block_on(async {
            let response = self.client.post(url).json(&body).send().await.map_err(failed)?;
            let status = response.status().as_u16();
            Ok((status, response.bytes().await.map_err(failed)?))
        })?;
        let said: Said = serde_json::from_slice(&body).map_err(|error| GatewayError::Unreadable {
            operation: operation.clone(),
            reason: error.to_string(),
        })?;
        Ok(said.answer(status))
    }

    /// Tells the provider that the clock moved.
    pub fn advance(&self, now: i64) {
        self.behind().provider.change(|provider| provider.advance(now));
    }

    /// Tells the provider that a caller is gone.
    pub fn disconnected(&self, caller: Pid, now: i64) {
        self.behind()
            .provider
            .change(|provider| provider.disconnected(caller, now));
    }

    /// The provider as it is behind the socket.
    pub fn provider(&self) -> Provided {
        self.behind().provider.clone()
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server's side of a call.
struct Desk(Arc<Mutex<Behind>>);

impl Respond for Desk {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let operation = request.url.path().rsplit('/').next().unwrap_or_default();
        let body: Body = match request.body_json() {
            Ok(body) => body,
            Err(error) => return said(400, &Said::refused("unreadable_request", &error.to_string())),
        };
        let mut call = Call::new(PROVIDER, operation);
        call.arguments = Arguments(body.arguments.into_iter().map(Named::take).collect());
        let mut behind = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, now) = (behind.caller, behind.now);
        let in_use = behind.provider.get().in_use(&call, now).filter(|_| behind.busy);
        // The schedule delivers the webhooks; here they only leave the outbox.
        let execute = |behind: &mut Behind| {
            behind.provider.change(|provider| {
                let answer = provider.call(caller, &call, now);
                provider.deliveries();
                answer
            })
        };
        let answer = match in_use {
            Some(in_use) => Ok(in_use.answer),
            None => execute(&mut behind),
        };
        match answer {
            Ok(Answer::Ok(values)) => match named(&values, operation) {
                Ok(values) => said(200, &Said::Values(values)),
                Err(error) => said(500, &Said::refused("unsendable", &error.to_string())),
            },
            Ok(Answer::Refused {
                status, code, message, ..
            }) => said(status, &Said::refused(&code, &message)),
            Err(none) => said(504, &Said::NoAnswer(none.into())),
        }
    }
}

fn said(status: u16, said: &Said) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(said)
}

/// A request's body.
#[derive(Debug, Serialize, Deserialize)]
struct Body {
    arguments: Vec<Named>,
}

/// A response's body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Values(Vec<Named>),
    Error { code: Arc<str>, message: Arc<str> },
    NoAnswer(Silence),
}

impl Said {
    fn refused(code: &str, message: &str) -> Said {
        Said::Error {
            code: code.into(),
            message: message.into(),
        }
    }

    fn answer(self, status: u16) -> Result<Answer, NoAnswer> {
        match self {
            Said::Values(values) => Ok(Answer::Ok(values.into_iter().map(Named::take).collect())),
            Said::Error { code, message } => Ok(Answer::refused(status, code, message)),
            Said::NoAnswer(silence) => Err(silence.into()),
        }
    }
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Silence {
    TimedOut,
    Reset,
    Unavailable,
}

impl From<NoAnswer> for Silence {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::TimedOut => Silence::TimedOut,
            NoAnswer::Reset => Silence::Reset,
            NoAnswer::Unavailable => Silence::Unavailable,
        }
    }
}

impl From<Silence> for NoAnswer {
    fn from(silence: Silence) -> Self {
        match silence {
            Silence::TimedOut => NoAnswer::TimedOut,
            Silence::Reset => NoAnswer::Reset,
            Silence::Unavailable => NoAnswer::Unavailable,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Named {
    name: Arc<str>,
    value: Sent,
}

impl Named {
    fn take(self) -> (Arc<str>, Value) {
        (self.name, self.value.into())
    }
}

/// A value in the protocol: JSON that keeps SQL's types apart.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    Null,
    Bool(bool),
    Int(i64),
    Text(Arc<str>),
    Timestamp(i64),
    /// A value of any other type in the form that SQL prints it in.
    Typed(Arc<str>, Arc<str>),
    List(Vec<Sent>),
    Row(Vec<Sent>),
}

fn named(values: &[(Arc<str>, Value)], operation: &str) -> Result<Vec<Named>, GatewayError> {
    let each = values.iter().map(|(name, value)| {
        let value = sent(value).ok_or_else(|| GatewayError::Unsendable {
            operation: operation.into(),
            value: value.to_string(),
        })?;
        Ok(Named {
            name: name.clone(),
            value,
        })
    });
    each.collect()
}

/// The type of a value whose form in JSON does not tell it.
fn type_of(value: &Value) -> Option<Type> {
    Some(match value {
        Value::Numeric(_) => Type::Numeric(None),
        Value::Float(_) => Type::Float8,
        Value::Date(_) => Type::Date,
        Value::Interval(_) => Type::Interval,
        Value::Uuid(_) => Type::Uuid,
        Value::Json(_) => Type::Jsonb,
        _ => return None,
    })
}

fn sent(value: &Value) -> Option<Sent> {
    let all = |values: &[Value]| values.iter().map(sent).collect::<Option<Vec<Sent>>>();
    Some(match value {
        Value::Null => Sent::Null,
        Value::Bool(truth) => Sent::Bool(*truth),
        Value::Int(number) => Sent::Int(*number),
        Value::Text(text) => Sent::Text(text.clone()),
        Value::Timestamp(moment) => Sent::Timestamp(*moment),
        Value::Array(values) => Sent::List(all(values)?),
        Value::Record(values) => Sent::Row(all(values)?),
        Value::Numeric(_) | Value::Float(_) | Value::Date(_) | Value::Interval(_) | Value::Uuid(_) | Value::Json(_) => {
            let ty = type_of(value)?;
            Sent::Typed(ty.name().into(), text(value, &ty, &SqlSettings::default())?)
        }
    })
}

impl From<Sent> for Value {
    fn from(sent: Sent) -> Self {
        let all = |values: Vec<Sent>| values.into_iter().map(Value::from).collect();
        match sent {
            Sent::Null => Value::Null,
            Sent::Bool(truth) => Value::Bool(truth),
            Sent::Int(number) => Value::Int(number),
            Sent::Text(text) => Value::Text(text),
            Sent::Timestamp(moment) => Value::Timestamp(moment),
            Sent::Typed(name, text) => {
                let read = Type::from_name(&name).map(|ty| {
                    let value = Value::Text(text.clone());
                    cast(value, &Type::Text, &ty, Context::Explicit, &SqlSettings::default())
                });
                // What cannot be read stays what was sent, and then shows as a difference.
                read.and_then(Result::ok).unwrap_or(Value::Text(text))
            }
            Sent::List(values) => Value::Array(all(values)),
            Sent::Row(values) => Value::Record(all(values)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Gateway;
    use crate::machine::Pid;
    use crate::machine::service::{Answer, Call};
    use crate::world::provider::{Api, KEY_IN_USE, PROVIDER, Provider, Settings, keyed};
    use crate::world::service::Provided;

    /// The same calls, told to a provider directly and sent over the socket.
    fn both(calls: &[Call]) {
        let mut model = Provided::new(Provider::new(Settings::default()));
        let gateway = Gateway::open(&model).expect("a server on the loopback interface");
        for (moment, call) in (1..).zip(calls) {
            let caller = Pid::root(moment as u8);
            let told = model.change(|provider| {
                let answer = provider.call(caller, call, moment);
                provider.deliveries();
                answer
            });
            assert_eq!(gateway.call(caller, call, false, moment), Ok(told), "{call:?}");
        }
        assert_eq!(gateway.provider(), model);
    }

    #[test]
    fn what_comes_over_the_socket_is_what_the_provider_says() {
        both(&[
            keyed(Api::pay("order 1", 1000, "pm_declined"), "key-1"),
            keyed(Api::pay("order 1", 1000, "pm_declined"), "key-1"),
            keyed(Api::pay("order 1", 2000, "pm_card"), "key-1"),
            Api::intents_of("order 1"),
            Api::events(""),
            Api::create_customer("ädä \"quoted\""),
            Api::retrieve("no such intent"),
            Call::new(PROVIDER, "no_such_operation"),
        ]);
    }

    #[test]
    fn a_key_is_in_use_while_the_first_request_is_being_executed_and_not_before() {
        let gateway = Gateway::open(&Provided::new(Provider::default())).expect("a server on the loopback interface");
        let ask = |number: u8| {
            let pay = keyed(Api::pay("order 1", 1000, "pm_card"), "key-1");
            gateway.call(Pid::root(number), &pay, true, 1)
        };
        assert!(matches!(ask(0), Ok(Ok(Answer::Ok(_)))));
        let refused = ask(1);
        let is_in_use =
            |answer: &Answer| matches!(answer, Answer::Refused { status: 409, code, .. } if &**code == KEY_IN_USE);
        assert!(matches!(&refused, Ok(Ok(answer)) if is_in_use(answer)), "{refused:?}");
    }

    #[test]
    fn a_call_that_is_never_sent_shows_in_the_state_behind_the_socket() {
        let mut model = Provided::new(Provider::new(Settings::default()));
        let gateway = Gateway::open(&model).expect("a server on the loopback interface");
        let answer = model.change(|provider| provider.call(Pid::root(0), &Api::create_customer("ada"), 1));
        assert!(matches!(answer, Ok(Answer::Ok(_))));
        assert_ne!(gateway.provider(), model);
        gateway.reset(&model);
        assert_eq!(gateway.provider(), model);
    }
}
