use std::time::Instant;

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode, Version};
use stdx::SharedClock;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::client_addr::{ClientAddr, EffectiveHost};
use crate::log_context::LogContext;
use crate::metrics::CLIENT_GONE;
use crate::request_id::RequestId;
use crate::step::{Inner, Next, Step};
use crate::watched::{Watch, Watched};

/// Most bytes of a failed response that are logged.
const RESPONSE_BYTES_MAX: usize = 1024;
/// Most bytes of a path or host that are logged.
const TEXT_BYTES_MAX: usize = 1024;
/// Health probe: not logged while it succeeds.
const PROBE: &str = "/api/v2";

/// Writes one line per request, when its response body has ended.
#[derive(Clone, Debug)]
pub(crate) struct RequestLog(pub(crate) SharedClock);

impl Step for RequestLog {
    async fn run<S: Inner>(self, mut request: Request, next: Next<S>) -> Response {
        let mut line = Line::of(&mut request, self.0.now());
        let response = next.run(request).await;
        line.status = Some(response.status());
        let is_text = response.headers().get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            kind.starts_with(b"application/json") || kind.starts_with(b"text/plain")
        });
        line.keeps_response = response.status().is_server_error() && is_text;
        response.map(|body| Watched::wrap(body, line))
    }
}

/// Writes itself when it is dropped: with the body, or before if the client went away.
struct Line {
    began: Instant,
    start: OffsetDateTime,
    method: Method,
    host: String,
    path: String,
    proto: &'static str,
    client: Option<ClientAddr>,
    request_id: Option<RequestId>,
    paging: [Option<u64>; 3],
    context: LogContext,
    status: Option<StatusCode>,
    is_complete: bool,
    keeps_response: bool,
    response: Vec<u8>,
}

impl Line {
    fn of(request: &mut Request, start: OffsetDateTime) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let number = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
        };
        let paging = ["limit", "offset", "page"].map(number);
        let host = request
            .extensions()
            .get::<EffectiveHost>()
            .map(|host| stdx::cut(&host.0, TEXT_BYTES_MAX).to_owned())
            .unwrap_or_default();
        Self {
            began: Instant::now(),
            start,
            method: request.method().clone(),
            host,
            path: stdx::cut(request.uri().path(), TEXT_BYTES_MAX).to_owned(),
            proto: proto(request.version()),
            client: request.extensions().get().copied(),
            request_id: request.extensions().get().copied(),
            paging,
            context: LogContext::of(request.extensions_mut()),
            status: None,
            is_complete: false,
            keeps_response: false,
            response: Vec::new(),
        }
    }
}

impl Watch for Line {
    fn data(&mut self, bytes: &Bytes) {
        if self.keeps_response {
            let room = RESPONSE_BYTES_MAX.saturating_sub(self.response.len());
            self.response.extend(bytes.iter().take(room));
        }
    }

    fn end(&mut self, complete: bool) {
        self.is_complete = complete;
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let status = self.status.map_or(CLIENT_GONE, |status| status.as_u16());
        if status == 200 && self.path.trim_end_matches('/') == PROBE {
            return;
        }
        let facts = self.context.facts();
        let took = self.began.elapsed();
        let [limit, offset, page] = self.paging;
        let response_body = (!self.response.is_empty() && !facts.hides_response)
            .then(|| String::from_utf8_lossy(&self.response).into_owned());
        // The level of an event is a constant, so there are two events; the list of fields is one.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    host = self.host,
                    path = self.path,
                    route = facts.route.as_ref().map(axum::extract::MatchedPath::as_str),
                    proto = self.proto,
                    remote_addr = self.client.map(|client| tracing::field::display(client.ip)),
                    start = self.start.format(&Rfc3339).ok(),
                    took = ?took,
                    status_code = status,
                    latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                    request_id = self.request_id.map(|id| tracing::field::display(id.0)),
                    requestor_id = facts.subject_id,
                    requestor_name = facts.subject_name,
                    requestor_type = facts.subject_type,
                    requestor_email = facts.subject_email,
                    api_key_id = facts.api_key_id,
                    limit,
                    offset,
                    page,
                    aborted = (!self.is_complete).then_some(true),
                    max_request_body_bytes = facts.body_bytes_max,
                    response_body,
                    "{}",
                    self.method
                )
            };
        }
        if status >= 500 {
            line!(warn);
        } else {
            line!(debug);
        }
    }
}

fn proto(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/0.9",
    }
}
