use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::response::Response;
use futures_util::FutureExt as _;
use http::StatusCode;

use crate::answer;
use crate::metrics::HttpMetrics;
use crate::request_id::RequestId;
use crate::step::{Inner, Next, Step};

/// Most bytes of a panic's message that are logged.
const MESSAGE_BYTES_MAX: usize = 500;

/// Turns a panic into a 500, so that it ends one request and not the connection or the process.
#[derive(Clone, Debug)]
pub(crate) struct Recover(pub(crate) HttpMetrics);

impl Step for Recover {
    async fn run<S: Inner>(self, request: Request, next: Next<S>) -> Response {
        let id = request.extensions().get::<RequestId>().map(|id| id.0.to_string());
        // Nothing of the request is used after the panic, so nothing half-changed can be seen.
        match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                self.0.panics.inc(());
                let id = id.unwrap_or_default();
                let message = stdx::cut(message(&*panic), MESSAGE_BYTES_MAX);
                tracing::error!(request_id = %id, panic = message, "a request handler panicked");
                answer::error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "An internal server error occurred.",
                    &format!("The request id is {id}."),
                )
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
