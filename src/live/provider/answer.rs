//! From the provider's answer to an HTTP response, in the shapes of the API. Pure.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Value as Json, json};

use super::request::Asked;
use crate::machine::service::Answer;
use crate::value::Value;

/// What an error says.
#[derive(Clone, Debug, Default)]
pub(super) struct Problem {
    message: String,
    code: Option<String>,
    param: Option<String>,
    intent: Option<Json>,
}

impl Problem {
    pub(super) fn of(message: &str) -> Problem {
        Problem {
            message: message.to_owned(),
            ..Problem::default()
        }
    }

    /// With a code, and the parameter that is wrong.
    pub(super) fn with(mut self, code: &str, param: &str) -> Problem {
        self.code = Some(code.to_owned());
        self.param = Some(param.to_owned());
        self
    }
}

/// The response to a request that the provider answered. `answer` is that of a provider with [`Settings::objects`](crate::world::provider::Settings::objects).
pub fn response_of(asked: &Asked, answer: &Answer) -> Response<String> {
    match answer {
        Answer::Refused {
            status,
            code,
            message,
            about,
        } => {
            let problem = Problem {
                message: message.to_string(),
                code: Some(code.to_string()),
                param: named_in(message),
                intent: about.as_deref().and_then(|object| serde_json::from_str(object).ok()),
            };
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            error(status, &problem)
        }
        Answer::Ok(_) => match (answer.get("object"), answer.get("objects")) {
            (Some(Value::Text(object)), _) => json_response(StatusCode::OK, object.to_string()),
            (_, Some(Value::Array(objects))) => json_response(StatusCode::OK, list(asked, answer, objects)),
            _ => json_response(StatusCode::OK, "{}".to_owned()),
        },
    }
}

fn list(asked: &Asked, answer: &Answer, objects: &Arc<[Value]>) -> String {
    let objects = objects.iter().filter_map(|object| match object {
        Value::Text(object) => serde_json::from_str(object).ok(),
        _ => None,
    });
    let objects: Vec<Json> = objects.collect();
    let more = matches!(answer.get("has_more"), Some(Value::Bool(true)));
    json!({ "object": "list", "url": asked.path, "has_more": more, "data": objects }).to_string()
}

/// The parameter that the provider's own words name, where they do.
fn named_in(message: &str) -> Option<String> {
    if message.starts_with("No such customer: ") {
        return Some("customer".to_owned());
    }
    let named = message.strip_prefix("Missing required param: ")?;
    Some(named.trim_end_matches('.').to_owned())
}

/// An error in the provider's shape.
pub(super) fn error(status: StatusCode, problem: &Problem) -> Response<String> {
    let code = problem.code.as_deref();
    let kind = match (status.as_u16(), code) {
        (402, _) => "card_error",
        (_, Some("idempotency_error" | "idempotency_key_in_use")) => "idempotency_error",
        (500.., _) => "api_error",
        _ => "invalid_request_error",
    };
    let mut fields = json!({ "type": kind, "message": problem.message });
    // The type says it already.
    if let Some(code) = code.filter(|code| !matches!(*code, "idempotency_error" | "api_error")) {
        fields["code"] = code.into();
    }
    if let Some(param) = &problem.param {
        fields["param"] = param.as_str().into();
    }
    if kind == "card_error" {
        fields["decline_code"] = "generic_decline".into();
        if let Some(charge) = problem.intent.as_ref().and_then(|intent| intent.get("latest_charge")) {
            fields["charge"] = charge.clone();
        }
    }
    if let Some(intent) = &problem.intent {
        fields["payment_intent"] = intent.clone();
    }
    json_response(status, json!({ "error": fields }).to_string())
}

fn json_response(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
