//! From an HTTP request to the provider's call. Pure: nothing is read but the request.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::{Problem, error};
use super::form::{Form, Param, read};
use super::routes::{ROUTES, Route, Takes};
use crate::machine::service::Call;
use crate::value::Value;
use crate::world::provider::{PROVIDER, keyed};

/// How long an idempotency key may be, in characters.
const LONGEST_KEY: usize = 255;
/// The largest amount, in the smallest unit of the currency.
const LARGEST_AMOUNT: i64 = 99_999_999;
/// How many metadata an object may have, and how long their names and values may be, in characters.
const METADATA: (usize, usize, usize) = (50, 40, 500);

/// A request that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What the provider is asked.
    pub call: Call,
    /// The path that it came on, which lists repeat.
    pub path: String,
    /// The idempotency key, where the method takes one.
    pub key: Option<String>,
}

/// Reads a request of the API.
///
/// # Errors
/// The response to give instead: 401 without a test key, 404 for an unknown path, 405 for another method, 400 for parameters that can't be read or are not known.
#[expect(
    clippy::result_large_err,
    reason = "the error is the response, made once for each request at most"
)]
pub fn call_of(request: &Request<Bytes>) -> Result<Asked, Response<String>> {
    authorize(request.headers())?;
    let path = request.uri().path();
    let unknown = || {
        let message = format!("Unrecognized request URL ({}: {path}).", request.method());
        error(StatusCode::NOT_FOUND, &Problem::of(&message))
    };
    let below = path.strip_prefix("/v1/").ok_or_else(unknown)?;
    let parts: Vec<&str> = below.trim_end_matches('/').split('/').collect();
    let fitting: Vec<(&'static Route, Vec<(&str, &str)>)> = ROUTES
        .iter()
        .filter_map(|route| Some((route, route.ids(&parts)?)))
        .collect();
    if fitting.is_empty() {
        return Err(unknown());
    }
    let Some((route, ids)) = fitting.iter().find(|(route, _)| route.method == *request.method()) else {
        let methods: Vec<&str> = fitting.iter().map(|(route, _)| route.method.as_str()).collect();
        return Err(not_allowed(request.method(), path, &methods.join(", ")));
    };
    let mut call = Call::new(PROVIDER, route.operation);
    for (name, id) in ids {
        let id = percent_decode_str(id).decode_utf8().map_err(|_| unknown())?;
        call = call.with(*name, &*id);
    }
    let form = form_of(request)?;
    let bad = |problem: Problem| error(StatusCode::BAD_REQUEST, &problem);
    call = arguments(call, route, &form).map_err(bad)?;
    let key = key_of(request).map_err(bad)?;
    if let Some(key) = &key {
        call = keyed(call, key);
    }
    Ok(Asked {
        call,
        path: format!("/v1/{}", parts.join("/")),
        key,
    })
}

/// A test key as the token or as the name of a basic authorization.
#[expect(clippy::result_large_err, reason = "the error is the response")]
fn authorize(headers: &HeaderMap) -> Result<(), Response<String>> {
    let refused = |message: &str| Err(error(StatusCode::UNAUTHORIZED, &Problem::of(message)));
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return refused(
            "You did not provide an API key. You need to provide it in the Authorization header, using Bearer auth (e.g. 'Authorization: Bearer sk_test_123').",
        );
    };
    let words = given.to_str().ok().and_then(|text| text.split_once(' '));
    let key = words.and_then(|(scheme, rest)| match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            decoded.split_once(':').map(|(name, _)| name.to_owned())
        }
        _ => None,
    });
    match key {
        Some(key)
            if ["sk_test_", "rk_test_", "pk_test_"]
                .iter()
                .any(|start| key.starts_with(start)) =>
        {
            Ok(())
        }
        Some(key) if key.starts_with("sk_live_") || key.starts_with("rk_live_") => refused(
            "A live key was sent to a provider for tests. Send any key that begins with sk_test_, and consider replacing the live one.",
        ),
        // The key itself is not repeated: it may be a real one, mistyped.
        _ => refused("Invalid API Key provided: it has to begin with sk_test_, rk_test_ or pk_test_."),
    }
}

fn not_allowed(method: &Method, path: &str, allowed: &str) -> Response<String> {
    let message = format!("{path} takes {allowed}, not {method}.");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &Problem::of(&message));
    if let Ok(allowed) = allowed.parse() {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
}

/// The parameters: of a POST its body, and else the query.
#[expect(clippy::result_large_err, reason = "the error is the response")]
fn form_of(request: &Request<Bytes>) -> Result<Form, Response<String>> {
    let bad = |message: &str| error(StatusCode::BAD_REQUEST, &Problem::of(message));
    let query = request.uri().query().unwrap_or_default().as_bytes();
    let bytes = match *request.method() {
        Method::POST if !request.body().is_empty() => request.body(),
        _ => query,
    };
    if !request.body().is_empty() {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !matches!(&*kind, "" | "application/x-www-form-urlencoded") {
            return Err(bad(&format!(
                "The body has to be application/x-www-form-urlencoded, not {kind:?}."
            )));
        }
    }
    read(bytes).map_err(|reason| bad(&reason.to_string()))
}

fn key_of(request: &Request<Bytes>) -> Result<Option<String>, Problem> {
    // On GET and DELETE a key has no effect.
    let Some(given) = request
        .headers()
        .get("idempotency-key")
        .filter(|_| request.method() == Method::POST)
    else {
        return Ok(None);
    };
    let key = given
        .to_str()
        .map_err(|_| Problem::of("The Idempotency-Key has to be visible ASCII."))?;
    match key.chars().count() {
        1..=LONGEST_KEY => Ok(Some(key.to_owned())),
        _ => Err(Problem::of(&format!(
            "An Idempotency-Key has 1 to {LONGEST_KEY} characters."
        ))),
    }
}

fn arguments(mut call: Call, route: &Route, form: &Form) -> Result<Call, Problem> {
    let mut details = Map::new();
    for (name, param) in form {
        let Some((_, takes)) = route.takes.iter().find(|(known, _)| known == name) else {
            let message =
                format!("Received unknown parameter: {name} (or one that deadheat's provider does not model).");
            return Err(Problem::of(&message).with("parameter_unknown", name));
        };
        let text = || param.text().ok_or_else(|| invalid(name, "a text"));
        match *takes {
            Takes::Argument(argument) => call = call.with(argument, text()?),
            Takes::Number(argument) => {
                let number = text()?
                    .parse()
                    .ok()
                    .filter(|number| (1..=LARGEST_AMOUNT).contains(number));
                let expected = format!("a whole number from 1 to {LARGEST_AMOUNT}");
                let number = number.ok_or_else(|| invalid(name, &expected).with("parameter_invalid_integer", name))?;
                call = call.with(argument, Value::Int(number));
            }
            Takes::Flag(argument) => call = call.with(argument, truth(name, text()?)?),
            Takes::List(argument) => {
                let list = param.list().ok_or_else(|| invalid(name, "a list"))?;
                call = call.with(argument, list.join(","));
            }
            Takes::Moments => call = moments(call, name, param)?,
            Takes::Detail => put(&mut details, name, text()?.into()),
            Takes::DetailMap => put(&mut details, name, map(name, param)?),
            Takes::DetailList => put(
                &mut details,
                name,
                param.list().ok_or_else(|| invalid(name, "a list"))?.into(),
            ),
            Takes::Currency => {
                let currency = text()?.to_ascii_lowercase();
                if currency.len() != 3 || !currency.bytes().all(|letter| letter.is_ascii_lowercase()) {
                    return Err(invalid(name, "three letters"));
                }
                put(&mut details, name, currency.into());
            }
            Takes::Metadata => put(&mut details, name, metadata(name, param)?),
            Takes::Only(values) => {
                if !values.contains(&text()?) {
                    return Err(invalid(name, values[0]));
                }
            }
            Takes::Nothing => {}
        }
    }
    let missing =
        |name: &str| Err(Problem::of(&format!("Missing required param: {name}.")).with("parameter_missing", name));
    match route.operation {
        "create_intent" if !form.contains_key("amount") => return missing("amount"),
        "create_intent" if !details.contains_key("currency") => return missing("currency"),
        "refund" if !form.contains_key("payment_intent") && !form.contains_key("charge") => {
            return missing("payment_intent");
        }
        "create_customer" | "create_intent" => call = call.with("reference", reference(&details)),
        _ => {}
    }
    if !details.is_empty() {
        call = call.with("details", Json::Object(details).to_string());
    }
    Ok(call)
}

/// What of the client's own an object is for: `metadata[reference]`, or the only value that its metadata have.
fn reference(details: &Map<String, Json>) -> String {
    let metadata = details.get("metadata").and_then(Json::as_object);
    let named = metadata.and_then(|metadata| match metadata.get("reference") {
        None if metadata.len() == 1 => metadata.values().next(),
        named => named,
    });
    named.and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn put(details: &mut Map<String, Json>, name: &str, value: Json) {
    details.insert(name.to_owned(), value);
}

fn invalid(name: &str, expected: &str) -> Problem {
    Problem::of(&format!("Invalid {name}: it has to be {expected}.")).with("parameter_invalid", name)
}

fn truth(name: &str, text: &str) -> Result<bool, Problem> {
    text.parse().map_err(|_| invalid(name, "true or false"))
}

fn map(name: &str, param: &Param) -> Result<Json, Problem> {
    let Param::Map(form) = param else {
        return Err(invalid(name, "a map"));
    };
    let mut json = Map::new();
    for (field, value) in form {
        let value = match (field.as_str(), value) {
            // The one truth among them.
            ("enabled", Param::Text(text)) => truth(name, text)?.into(),
            (_, value) => value.json(),
        };
        json.insert(field.clone(), value);
    }
    Ok(Json::Object(json))
}

fn metadata(name: &str, param: &Param) -> Result<Json, Problem> {
    let (most, longest_name, longest_value) = METADATA;
    let fits = |(field, value): (&String, &Param)| {
        let value = value.text().map(|value| value.chars().count());
        field.chars().count() <= longest_name && value.is_some_and(|length| length <= longest_value)
    };
    match param {
        Param::Map(form) if form.len() <= most && form.iter().all(fits) => Ok(param.json()),
        _ => {
            let expected = format!("at most {most} texts of {longest_value} characters, under names of {longest_name}");
            Err(invalid(name, &expected))
        }
    }
}

fn moments(mut call: Call, name: &str, param: &Param) -> Result<Call, Problem> {
    match param {
        Param::Text(moment) => call = call.with("created", moment.as_str()),
        Param::Map(form) => {
            for (relation, moment) in form {
                let known = matches!(&**relation, "gt" | "gte" | "lt" | "lte");
                let moment = moment.text().filter(|_| known);
                let moment = moment.ok_or_else(|| invalid(name, "a moment, or moments by gt, gte, lt, lte"))?;
                call = call.with(format!("created_{relation}"), moment);
            }
        }
    }
    Ok(call)
}
