//! Bodies in and out.

use axum::body::Body as HttpBody;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, ApiResult};

/// Longest path to a field that is repeated to the client.
const FIELD_BYTES_MAX: usize = 128;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A JSON answer: HTML characters escaped, a newline at the end, as clients know it.
pub(crate) fn answer<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut text = match serde_json::to_string(value) {
        Ok(text) => escape_html(&text),
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    text.push('\n');
    let mut response = Response::new(HttpBody::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// `<`, `>` and `&` occur in JSON inside strings only, where an escape means the same.
fn escape_html(text: &str) -> String {
    if !text.contains(['<', '>', '&']) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            other => out.push(other),
        }
    }
    out
}

/// What a handler returns: 200 and a body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        answer(StatusCode::OK, &self.0)
    }
}

/// The same with 201.
#[derive(Debug)]
pub(crate) struct Created<T>(pub T);

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        answer(StatusCode::CREATED, &self.0)
    }
}

/// A request body: one JSON value and nothing behind it. Unknown fields are ignored.
#[derive(Debug)]
pub(crate) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        parse(&bytes(request).await?).map(Self)
    }
}

/// The whole body of a request.
pub(crate) async fn bytes(request: Request) -> ApiResult<Bytes> {
    match request.into_body().collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(unreadable(&error)),
    }
}

/// A body as one JSON value. A refusal names the field, never what is in it.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> ApiResult<T> {
    if bytes.is_empty() {
        return Err(ApiError::bad_request("Request body must be valid JSON.", "EOF"));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let detail = match field::<T>(bytes) {
            Some(field) => format!("{field}: {}", why(&error)),
            None => why(&error),
        };
        ApiError::bad_request("Request body must be valid JSON.", detail)
    })
}

/// Which field is wrong, such as `facts[3].model`. Only asked once it is known that one is: to keep track of it
/// costs time.
fn field<T: DeserializeOwned>(bytes: &[u8]) -> Option<String> {
    let parser = &mut serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, T>(parser).err()?;
    let path = error.path().to_string();
    // Long ones are made of what the client sent in place of names.
    let tells = error.inner().is_data() && path != "." && path.len() <= FIELD_BYTES_MAX;
    tells.then_some(path)
}

/// What the parser says, unless it would repeat a value: a password of the wrong type must not come back.
pub(crate) fn why(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return error.to_string();
    }
    let text = error.to_string();
    if text.starts_with("missing field") || text.starts_with("unknown variant") {
        return text;
    }
    format!(
        "a field has a value of the wrong type at line {} column {}",
        error.line(),
        error.column()
    )
}

fn unreadable(error: &axum::Error) -> ApiError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if found.is::<LengthLimitError>() {
            return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "Request body too large.");
        }
        cause = found.source();
    }
    ApiError::bad_request("Request body could not be read.", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_escaped_inside_strings() {
        assert_eq!(escape_html(r#"{"a":"<b>&"}"#), r#"{"a":"\u003cb\u003e\u0026"}"#);
    }
}
