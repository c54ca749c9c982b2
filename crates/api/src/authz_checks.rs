//! The decisions that were taken for a request, in a header of its answer: for those who develop a client and
//! wonder which right is missing.
//!
//! Off unless the deployment is told otherwise, as the ids in it may be of objects that the caller cannot see.
//! Decisions about the caller are told, not those about parts of the deployment that work on the way.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::UPGRADE;
use http::{HeaderName, HeaderValue};
use store::Recorder;

/// Asks for it with the value `true`, and answers.
const HEADER: HeaderName = HeaderName::from_static("x-authz-checks");

/// Records for a request that asks for it. A socket that stays open is not recorded.
pub(crate) async fn record(mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let asked = headers.get(HEADER).is_some_and(|value| value == "true");
    if !asked || headers.contains_key(UPGRADE) {
        return next.run(request).await;
    }
    let recorder = Arc::new(Recorder::new());
    request.extensions_mut().insert(Arc::clone(&recorder));
    let mut response = next.run(request).await;
    if let Ok(text) = HeaderValue::try_from(recorder.text()) {
        response.headers_mut().insert(HEADER, text);
    }
    response
}
