use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::Value;

/// An answer in the form of all errors of the API: a message for people and a technical detail.
pub(crate) fn error(status: StatusCode, message: &str, detail: &str) -> Response {
    // Written by hand to keep the message first; a JSON value prints itself escaped.
    let mut body = format!("{{\"message\":{}", Value::from(message));
    if !detail.is_empty() {
        body = format!("{body},\"detail\":{}", Value::from(detail));
    }
    let mut response = Response::new(Body::from(body + "}\n"));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    response
}
