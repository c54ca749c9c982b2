//! What the HTTP layer counts.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::Method;
use telemetry::{Entered, LabelValue};

use crate::log_context::LogContext;
use crate::step::{Inner, Next, Step};
use crate::watched::{Watch, Watched};

telemetry::label! {
    /// Method of a request. Methods that a client invents share one value.
    pub enum MethodLabel {
        Get => "GET",
        Head => "HEAD",
        Post => "POST",
        Put => "PUT",
        Patch => "PATCH",
        Delete => "DELETE",
        Options => "OPTIONS",
        Connect => "CONNECT",
        Trace => "TRACE",
        Other => "OTHER",
    }
}

impl From<&Method> for MethodLabel {
    fn from(method: &Method) -> Self {
        Self::ALL
            .iter()
            .copied()
            .find(|label| label.as_str() == method.as_str())
            .unwrap_or(Self::Other)
    }
}

/// Template of the route that answered; `UNKNOWN` for all paths without one.
#[derive(Clone, Debug, Default)]
pub struct RouteLabel(Option<MatchedPath>);

impl RouteLabel {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("UNKNOWN", MatchedPath::as_str)
    }
}

impl PartialEq for RouteLabel {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RouteLabel {}

impl Hash for RouteLabel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl LabelValue for RouteLabel {
    const VALUES: Option<usize> = None;

    fn text(&self) -> Cow<'static, str> {
        Cow::Owned(self.as_str().to_owned())
    }
}

telemetry::metrics! {
    /// What the HTTP layer counts.
    pub struct HttpMetrics {
        /// Requests that were answered, counted when the response body has ended.
        pub processed: Counter["coderd_api_requests_processed_total"] {
            code: u16,
            method: MethodLabel,
            path: RouteLabel,
        },
        /// Requests being answered; a response that still streams counts.
        pub concurrent: Gauge["coderd_api_concurrent_requests"] {},
        /// Time from the request's head to the end of the response body.
        pub latency: Histogram["coderd_api_request_latencies_seconds"] {
            method: MethodLabel,
            path: RouteLabel,
        } buckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0],
        /// Requests that ended in a panic and were answered with 500.
        pub panics: Counter["coderd_api_panics_total"] {},
        /// Requests refused with 413 because their body was too large.
        pub bodies_refused: Counter["coderd_api_request_bodies_refused_total"] {},
        /// Requests refused with 503 because too many were being answered.
        pub shed: Counter["coderd_api_requests_shed_total"] {},
    }
}

/// Counts requests.
#[derive(Clone, Debug)]
pub(crate) struct Count(pub(crate) HttpMetrics);

impl Step for Count {
    async fn run<S: Inner>(self, mut request: Request, next: Next<S>) -> Response {
        let mut counted = Counted {
            began: Instant::now(),
            method: request.method().into(),
            context: LogContext::of(request.extensions_mut()),
            code: None,
            _entered: self.0.concurrent.enter(()),
            metrics: self.0,
        };
        let response = next.run(request).await;
        counted.code = Some(response.status().as_u16());
        response.map(|body| Watched::wrap(body, counted))
    }
}

/// Counts its request when it is dropped: with the body, or before if the client went away.
struct Counted {
    began: Instant,
    method: MethodLabel,
    context: LogContext,
    /// `None` until the handler has answered.
    code: Option<u16>,
    metrics: HttpMetrics,
    _entered: Entered,
}

/// Counted for a request whose client went away before there was an answer.
pub(crate) const CLIENT_GONE: u16 = 499;

impl Watch for Counted {}

impl Drop for Counted {
    fn drop(&mut self) {
        let route = RouteLabel(self.context.facts().route);
        let code = self.code.unwrap_or(CLIENT_GONE);
        self.metrics.latency.observe_duration((self.method, route.clone()), self.began.elapsed());
        self.metrics.processed.inc((code, self.method, route));
    }
}

/// Writes down the template of the route. Installed inside the router, where it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoteRoute;

impl Step for NoteRoute {
    async fn run<S: Inner>(self, mut request: Request, next: Next<S>) -> Response {
        if let Some(route) = request.extensions().get::<MatchedPath>().cloned() {
            LogContext::of(request.extensions_mut()).set_route(route);
        }
        next.run(request).await
    }
}
