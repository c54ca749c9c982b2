//! Bounds request bodies, also those that do not announce their length.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::answer;
use crate::log_context::LogContext;
use crate::metrics::HttpMetrics;
use crate::step::{Around, Inner, Next, Step};

/// Bound of a request body where a route says nothing else, in bytes.
pub const BODY_BYTES_MAX: u64 = 1024 * 1024;

/// Sets another bound for the bodies of some routes, in bytes: higher or lower than the one of the whole
/// stack, within which it must stand.
///
/// The bound is checked when the body is first read, so a larger `Content-Length` is refused without
/// reading anything.
#[must_use]
pub fn body_limit(bytes_max: u64) -> Around<BodyLimit> {
    Around(BodyLimit { bytes_max })
}

/// See [`body_limit`].
#[derive(Clone, Copy, Debug)]
pub struct BodyLimit {
    bytes_max: u64,
}

impl Step for BodyLimit {
    async fn run<S: Inner>(self, request: Request, next: Next<S>) -> Response {
        if let Some(Bound(bound)) = request.extensions().get() {
            bound.bytes_max.store(self.bytes_max, Ordering::Relaxed);
            return next.run(request).await;
        }
        // Not inside the stack of this crate: bound the body here.
        bounded(self.bytes_max, None, request, next).await
    }
}

/// Bounds the bodies of all requests; [`body_limit`] inside of it moves the bound.
#[derive(Clone, Debug)]
pub(crate) struct DefaultLimit {
    pub(crate) bytes_max: u64,
    pub(crate) metrics: HttpMetrics,
}

impl Step for DefaultLimit {
    async fn run<S: Inner>(self, request: Request, next: Next<S>) -> Response {
        bounded(self.bytes_max, Some(&self.metrics), request, next).await
    }
}

/// The bound of one request. A request extension.
#[derive(Clone, Debug)]
struct Bound(Arc<State>);

#[derive(Debug)]
struct State {
    bytes_max: AtomicU64,
    is_exceeded: AtomicBool,
}

async fn bounded<S: Inner>(
    bytes_max: u64,
    metrics: Option<&HttpMetrics>,
    mut request: Request,
    next: Next<S>,
) -> Response {
    let state = Arc::new(State {
        bytes_max: AtomicU64::new(bytes_max),
        is_exceeded: AtomicBool::new(false),
    });
    let context = LogContext::of(request.extensions_mut());
    request.extensions_mut().insert(Bound(Arc::clone(&state)));
    // The framework's own limit would stand in the way of a higher one.
    DefaultBodyLimit::disable().apply(&mut request);
    let body_state = Arc::clone(&state);
    let request = request.map(|body| Body::new(Limited { body, read: 0, state: body_state }));
    let mut response = next.run(request).await;
    // Handlers see a body that broke off and answer in many ways; this is the one right way. An answer
    // that succeeded did not need the rest.
    let failed = response.status().is_client_error() || response.status().is_server_error();
    if !failed || !state.is_exceeded.load(Ordering::Relaxed) {
        return response;
    }
    let bytes_max = state.bytes_max.load(Ordering::Relaxed);
    context.set_body_limit(bytes_max);
    if let Some(metrics) = metrics {
        metrics.bodies_refused.inc(());
    }
    let refusal = answer::error(
        StatusCode::PAYLOAD_TOO_LARGE,
        "Request body is too large.",
        &format!("The limit is {bytes_max} bytes."),
    );
    let (head, body) = refusal.into_parts();
    *response.status_mut() = head.status;
    *response.body_mut() = body;
    // What the route says in headers of every answer stays, such as the version of its protocol.
    response.headers_mut().remove(CONTENT_LENGTH);
    response.headers_mut().extend(head.headers);
    response
}

/// The body is larger than its bound.
#[derive(Clone, Copy, Debug)]
struct TooLarge;

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request body is too large")
    }
}

impl std::error::Error for TooLarge {}

struct Limited {
    body: Body,
    read: u64,
    state: Arc<State>,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let bytes_max = self.state.bytes_max.load(Ordering::Relaxed);
        // What is announced counts before anything is read; what comes counts in any case.
        let announced = self.read.saturating_add(self.body.size_hint().lower());
        if announced <= bytes_max {
            let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
            if let Some(Ok(frame)) = &frame
                && let Some(data) = frame.data_ref()
            {
                self.read = self.read.saturating_add(data.len() as u64);
            }
            if self.read <= bytes_max {
                return Poll::Ready(frame);
            }
        }
        self.state.is_exceeded.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(axum::Error::new(TooLarge))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
