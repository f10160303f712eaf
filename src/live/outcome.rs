//! What a request's future may return, told as a response.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::pin::pin;

use bytes::Buf;

use crate::machine::Response;

/// What can be told as a response: an HTTP response (of axum, tower or hyper), a status, a text, nothing, or a `Result` of such.
///
/// `Ok` and nothing are 200, an error is 500 with its text.
pub trait IntoOutcome {
    /// The response.
    fn into_outcome(self) -> impl Future<Output = Response>;
}

impl IntoOutcome for () {
    async fn into_outcome(self) -> Response {
        Response::new(200, "")
    }
}

impl IntoOutcome for u16 {
    async fn into_outcome(self) -> Response {
        Response::new(self, "")
    }
}

impl IntoOutcome for bool {
    async fn into_outcome(self) -> Response {
        Response::new(200, self.to_string())
    }
}

impl IntoOutcome for String {
    async fn into_outcome(self) -> Response {
        Response::new(200, self)
    }
}

impl IntoOutcome for &str {
    async fn into_outcome(self) -> Response {
        Response::new(200, self)
    }
}

impl<B: Display> IntoOutcome for (u16, B) {
    async fn into_outcome(self) -> Response {
        Response::new(self.0, self.1.to_string())
    }
}

impl IntoOutcome for Response {
    async fn into_outcome(self) -> Response {
        self
    }
}

impl<T: IntoOutcome, E: Display> IntoOutcome for Result<T, E> {
    async fn into_outcome(self) -> Response {
        match self {
            Ok(value) => value.into_outcome().await,
            Err(error) => Response::new(500, error.to_string()),
        }
    }
}

impl<B: http_body::Body> IntoOutcome for http::Response<B> {
    async fn into_outcome(self) -> Response {
        let status = self.status().as_u16();
        let mut body = pin!(self.into_body());
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
            if let Ok(mut data) = frame.into_data() {
                while data.has_remaining() {
                    let chunk = data.chunk();
                    bytes.extend_from_slice(chunk);
                    let length = chunk.len();
                    data.advance(length);
                }
            }
        }
        Response::new(status, String::from_utf8_lossy(&bytes).into_owned())
    }
}
