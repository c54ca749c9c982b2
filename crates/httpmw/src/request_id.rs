use axum::extract::Request;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use stdx::SharedRng;
use uuid::Uuid;

use crate::step::{Inner, Next, Step};

/// Response header that carries the request's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-coder-request-id");

/// Names one request in logs, errors and audit rows. A random UUID (version 4) that we make; what a
/// client sends is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub Uuid);

/// Gives each request its id.
#[derive(Clone, Debug)]
pub(crate) struct RequestIds(pub(crate) SharedRng);

impl Step for RequestIds {
    async fn run<S: Inner>(self, mut request: Request, next: Next<S>) -> Response {
        let id = self.0.uuid_v4();
        request.extensions_mut().insert(RequestId(id));
        let mut response = next.run(request).await;
        // A UUID is always a valid header value.
        if let Ok(value) = HeaderValue::try_from(id.to_string()) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        response
    }
}
