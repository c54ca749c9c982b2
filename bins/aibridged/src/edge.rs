//! What stands between a connection and the gateway. It is on the way of every request, so it does little:
//! a name for the request, the client's address, the path without its prefix, and a net for panics.

use std::convert::Infallible;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use aibridge::ports::Identity;
use aibridge::{Body, Gateway, Peer};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONTENT_TYPE, STRICT_TRANSPORT_SECURITY};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};
use httpmw::{Hsts, REQUEST_ID, TrustedProxies};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serve::{Client, Make};
use stdx::SharedRng;

use crate::readiness::Ready;

/// Where the gateway is mounted besides the root: as in coderd, by its present name and its old one.
const PREFIXES: [&str; 2] = ["/api/v2/ai-gateway", "/api/v2/aibridge"];
/// Most bytes of a path that are logged.
const PATH_BYTES_MAX: usize = 256;

telemetry::metrics! {
    /// What the edge counts.
    pub(crate) struct EdgeMetrics {
        /// Requests that ended in a panic and were answered with 500.
        pub panics: Counter["coder_ai_gateway_panics_total"] {},
    }
}

/// What all requests share.
pub(crate) struct Edge {
    pub(crate) proxies: TrustedProxies,
    pub(crate) hsts: Option<Hsts>,
    pub(crate) rng: SharedRng,
    pub(crate) metrics: EdgeMetrics,
    pub(crate) ready: Ready,
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge").finish_non_exhaustive()
    }
}

/// The services of one thread, over a gateway of its own.
pub(crate) fn make(edge: Arc<Edge>, gateway: Arc<Gateway>) -> impl Make + Send + Sync + 'static {
    move |client: Client| {
        let (edge, gateway) = (Arc::clone(&edge), Arc::clone(&gateway));
        service_fn(move |request: Request<Incoming>| {
            let (edge, gateway) = (Arc::clone(&edge), Arc::clone(&gateway));
            async move { Ok::<_, Infallible>(edge.answer(&gateway, client, request).await) }
        })
    }
}

impl Edge {
    async fn answer(
        &self,
        gateway: &Gateway,
        client: Client,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let mut buffer = [0; 36];
        let id: &str = self.rng.uuid_v4().hyphenated().encode_lower(&mut buffer);
        let mut response = match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "text/plain; charset=utf-8", "OK".to_owned()),
            "/readyz" => self.readiness(),
            _ => self.pass(gateway, client, request, id).await,
        };
        let headers = response.headers_mut();
        // A UUID is always a valid header value.
        if let Ok(value) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, value);
        }
        if let Some(hsts) = &self.hsts {
            headers.insert(STRICT_TRANSPORT_SECURITY, hsts.value().clone());
        }
        response
    }

    fn readiness(&self) -> Response<Body> {
        let report = self.ready.report();
        let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body = serde_json::to_string(&report).unwrap_or_default();
        text(status, "application/json; charset=utf-8", body)
    }

    async fn pass(
        &self,
        gateway: &Gateway,
        client: Client,
        mut request: Request<Incoming>,
        id: &str,
    ) -> Response<Body> {
        // Only while somebody looks: building it costs more than the rest of this function.
        let line = tracing::enabled!(tracing::Level::DEBUG).then(|| Line::of(&request));
        let found = self.proxies.settle(client.address.ip(), request.headers_mut());
        request.extensions_mut().insert(Peer { ip: found.ip, tls: client.tls });
        if let Some(uri) = without_prefix(request.uri()) {
            *request.uri_mut() = uri;
        }
        // Nothing of the request is used after a panic, so nothing half-changed can be seen.
        let answered = AssertUnwindSafe(gateway.handle(request)).catch_unwind().await;
        let response = answered.unwrap_or_else(|_| {
            self.metrics.panics.inc(());
            tracing::error!(request_id = id, "a request handler panicked");
            let body = serde_json::json!({
                "message": "An internal server error occurred.",
                "detail": format!("The request id is {id}."),
            });
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            text(status, "application/json; charset=utf-8", body.to_string())
        });
        if let Some(line) = line {
            line.write(&response, id);
        }
        response
    }
}

/// The log line of a request, written when its answer begins. What was served is counted, and recorded with
/// its end; so there is no line above the level `debug`.
struct Line {
    began: Instant,
    method: Method,
    path: String,
}

impl Line {
    fn of(request: &Request<Incoming>) -> Self {
        let path = stdx::cut(request.uri().path(), PATH_BYTES_MAX).to_owned();
        Self { began: Instant::now(), method: request.method().clone(), path }
    }

    fn write(&self, response: &Response<Body>, id: &str) {
        let caller = response.extensions().get::<Identity>();
        tracing::debug!(
            path = self.path,
            status_code = response.status().as_u16(),
            took = ?self.began.elapsed(),
            request_id = id,
            requestor_id = caller.map(|caller| tracing::field::display(caller.user)),
            requestor_name = caller.map(|caller| &*caller.username),
            api_key_id = caller.map(|caller| &*caller.api_key_id),
            "{}",
            self.method
        );
    }
}

/// The same address without what the gateway is mounted under, if it is.
fn without_prefix(uri: &Uri) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str();
    let below = |prefix| target.strip_prefix(prefix).filter(|rest| rest.starts_with('/'));
    let rest = PREFIXES.into_iter().find_map(below)?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(rest).ok()?);
    Uri::from_parts(parts).ok()
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_at_the_root_and_below_both_prefixes() {
        for (given, want) in [
            ("/anthropic/v1/messages", None),
            ("/api/v2/ai-gateway/anthropic/v1/messages?a=b", Some("/anthropic/v1/messages?a=b")),
            ("/api/v2/aibridge/openai/v1/models", Some("/openai/v1/models")),
            ("/api/v2/aibridge/", Some("/")),
            ("/api/v2/aibridge", None),
            ("/api/v2/aibridges/openai", None),
            ("/api/v2/ai-gateway/api/v2/aibridge/x", Some("/api/v2/aibridge/x")),
            ("http://host:1/api/v2/aibridge/x", Some("http://host:1/x")),
        ] {
            let uri = given.parse().unwrap();
            let found = without_prefix(&uri).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), want, "{given}");
        }
    }
}
