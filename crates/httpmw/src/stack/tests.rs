use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::ConnectInfo;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures_util::stream;
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::Value;
use stdx::{ManualClock, SeededRng};
use telemetry::Registry;
use time::macros::datetime;
use tower::ServiceExt as _;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::{
    BODY_BYTES_MAX, ClientAddr, EffectiveHost, LogContext, MethodLabel, RequestId, SiteHeaders,
    body_limit, site_headers,
};

struct Stack {
    router: Router,
    metrics: HttpMetrics,
    registry: Registry,
}

fn stack(routes: Router, change: impl FnOnce(&mut Settings)) -> Stack {
    let mut registry = Registry::new();
    let metrics = HttpMetrics::register(&mut registry).unwrap();
    let mut settings = Settings {
        rng: SeededRng::shared(1),
        clock: ManualClock::new(datetime!(2026-01-02 03:04:05 UTC)),
        metrics: metrics.clone(),
        trusted_proxies: TrustedProxies::parse(&["10.0.0.0/8"], &["X-Forwarded-For"]).unwrap(),
        build_version: HeaderValue::from_static("v1.2.3"),
        hsts: None,
        body_bytes_max: BODY_BYTES_MAX,
        in_flight_max: 0,
    };
    change(&mut settings);
    Stack { router: apply(routes, settings), metrics, registry }
}

impl Stack {
    async fn send(&self, request: Request) -> Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(from(path, "10.0.0.1:9")).await
    }
}

fn from(path: &str, peer: &str) -> Request {
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Collects log lines as JSON.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Lines {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let lines = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::DEBUG)
            .with_writer(lines.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    fn raw(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn all(&self) -> Vec<Value> {
        self.raw().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn every_answer_carries_the_fixed_headers_and_an_id_of_ours() {
    let hsts = crate::Hsts::parse(60, &["preload"]).unwrap();
    let stack = stack(Router::new(), |settings| settings.hsts = hsts);
    let mut request = from("/nowhere", "10.0.0.1:9");
    request.headers_mut().insert("x-coder-request-id", HeaderValue::from_static("forged"));
    let response = stack.send(request).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let headers = response.headers();
    assert_eq!(headers["x-coder-build-version"], "v1.2.3");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(headers["strict-transport-security"], "max-age=60; preload");
    let id: uuid::Uuid = headers["x-coder-request-id"].to_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 4);
    assert_eq!(headers.get_all("x-coder-request-id").iter().count(), 1);
}

#[tokio::test]
async fn a_panic_becomes_a_counted_500_that_names_the_request_and_nothing_else() {
    async fn fall() -> Response {
        panic!("planted-in-panic");
    }
    let (lines, _guard) = Lines::start();
    let stack = stack(Router::new().route("/fall", get(fall)), |_| {});
    let response = stack.get("/fall").await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    let id = response.headers()["x-coder-request-id"].to_str().unwrap().to_owned();
    assert_eq!(
        text(response).await,
        format!(
            "{{\"message\":\"An internal server error occurred.\",\"detail\":\"The request id is {id}.\"}}\n"
        )
    );
    assert_eq!(stack.metrics.panics.get(&()), 1);
    assert_eq!(stack.metrics.concurrent.get(&()), 0);
    let exposed = stack.registry.encode();
    assert!(
        exposed.contains(
            "coderd_api_requests_processed_total{code=\"500\",method=\"GET\",path=\"/fall\"} 1"
        ),
        "{exposed}"
    );
    let lines = lines.all();
    assert_eq!(lines.len(), 2, "the panic and the request: {lines:?}");
    assert_eq!(
        (&lines[0]["level"], &lines[0]["panic"]),
        (&"ERROR".into(), &"planted-in-panic".into())
    );
    assert_eq!((&lines[1]["level"], &lines[1]["status_code"]), (&"WARN".into(), &500.into()));
    assert_eq!(lines[0]["request_id"], lines[1]["request_id"]);
}

#[tokio::test]
async fn a_request_is_logged_once_its_body_has_ended_with_its_key_and_without_its_query() {
    async fn show(Extension(log): Extension<LogContext>) -> &'static str {
        log.set_subject(&uuid::Uuid::from_u128(7), "alice");
        log.set_subject_kind("user", "alice@example.com");
        log.set_api_key(&"abcdefghij");
        "shown"
    }
    let (lines, _guard) = Lines::start();
    let stack = stack(Router::new().route("/users/{user}", get(show)), |_| {});
    let mut request =
        from("//users///me?coder_session_token=planted&limit=25&offset=x", "10.0.0.1:9");
    request.headers_mut().insert("host", HeaderValue::from_static("coder.example.com"));
    request.headers_mut().insert("x-forwarded-for", HeaderValue::from_static("203.0.113.7"));
    let response = stack.send(request).await;
    assert!(lines.all().is_empty(), "not before the body has ended");
    let id = response.headers()["x-coder-request-id"].to_str().unwrap().to_owned();
    assert_eq!(text(response).await, "shown");

    let logged = lines.all();
    assert_eq!(logged.len(), 1, "{logged:?}");
    for (field, want) in [
        ("message", "GET"),
        ("level", "DEBUG"),
        ("host", "coder.example.com"),
        ("path", "//users///me"),
        ("route", "/users/{user}"),
        ("proto", "HTTP/1.1"),
        ("remote_addr", "203.0.113.7"),
        ("start", "2026-01-02T03:04:05Z"),
        ("request_id", &id),
        ("requestor_id", "00000000-0000-0000-0000-000000000007"),
        ("requestor_name", "alice"),
        ("requestor_type", "user"),
        ("requestor_email", "alice@example.com"),
        ("api_key_id", "abcdefghij"),
    ] {
        assert_eq!(logged[0][field], want, "{field}");
    }
    assert_eq!(logged[0]["status_code"], 200);
    assert_eq!(logged[0]["limit"], 25);
    assert!(logged[0]["latency_ms"].is_u64() && logged[0]["took"].is_string());
    for absent in ["offset", "page", "aborted", "response_body", "max_request_body_bytes"] {
        assert_eq!(logged[0].get(absent), None, "{absent}");
    }
    assert!(!lines.raw().contains("planted"), "{}", lines.raw());
}

#[tokio::test]
async fn failures_are_warnings_with_the_beginning_of_the_answer_unless_it_is_not_ours() {
    async fn fail() -> Response {
        let kind = [("content-type", "text/plain")];
        (StatusCode::BAD_GATEWAY, kind, format!("began{}", "x".repeat(5_000))).into_response()
    }
    async fn relay(Extension(log): Extension<LogContext>) -> Response {
        log.hide_response();
        fail().await
    }
    let (lines, _guard) = Lines::start();
    let routes = Router::new().route("/fail", get(fail)).route("/relay", get(relay));
    let stack = stack(routes, |_| {});
    text(stack.get("/fail").await).await;
    text(stack.get("/relay").await).await;
    let logged = lines.all();
    assert_eq!(logged[0]["level"], "WARN");
    let shown = logged[0]["response_body"].as_str().unwrap();
    assert!(shown.starts_with("began") && shown.len() == 1024, "{}", shown.len());
    assert_eq!((&logged[1]["level"], logged[1].get("response_body")), (&"WARN".into(), None));
}

#[tokio::test]
async fn the_health_probe_is_not_logged_while_it_succeeds() {
    let (lines, _guard) = Lines::start();
    let up = stack(Router::new().route("/api/v2", get(|| async { "ok" })), |_| {});
    text(up.get("/api/v2").await).await;
    assert!(lines.all().is_empty());
    let down = stack(Router::new(), |_| {});
    text(down.get("/api/v2").await).await;
    assert_eq!(lines.all().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_is_logged_counted_and_gives_its_slot_back() {
    let (lines, _guard) = Lines::start();
    let routes = Router::new()
        .route("/never", get(std::future::pending::<()>))
        .route(
            "/stream",
            get(|| async { Body::from_stream(stream::pending::<Result<Bytes, io::Error>>()) }),
        )
        .route("/quick", get(|| async {}));
    let stack = stack(routes, |settings| settings.in_flight_max = 1);

    let mut waiting = Box::pin(stack.get("/never"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    assert_eq!(stack.metrics.concurrent.get(&()), 1);
    let refused = stack.get("/quick").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(refused.headers()["x-content-type-options"], "nosniff");
    drop(refused);
    drop(waiting);
    assert_eq!(stack.metrics.concurrent.get(&()), 0);

    let streaming = stack.get("/stream").await;
    assert_eq!(streaming.status(), StatusCode::OK);
    assert_eq!(
        stack.get("/quick").await.status(),
        StatusCode::SERVICE_UNAVAILABLE,
        "a stream holds its slot"
    );
    drop(streaming);
    assert_eq!(stack.get("/quick").await.status(), StatusCode::OK);

    assert_eq!(stack.metrics.shed.get(&()), 2);
    let find = |path: &str, status: u16| {
        lines
            .all()
            .into_iter()
            .find(|line| line["path"] == path && line["status_code"] == status)
            .unwrap_or_else(|| panic!("no line for {path} {status}: {}", lines.raw()))
    };
    assert_eq!(find("/never", 499)["aborted"], true);
    assert_eq!(find("/stream", 200)["aborted"], true);
    assert_eq!(find("/quick", 200).get("aborted"), None);
    assert_eq!(find("/quick", 503)["level"], "WARN");
}

#[tokio::test]
async fn metrics_know_route_templates_and_neither_paths_nor_invented_methods() {
    let inner = Router::new().route("/users/{user}", get(|| async { "x" }));
    let stack = stack(Router::new().nest("/api/v2", inner), |_| {});
    for path in ["/api/v2/users/a", "/api/v2/users/b", "/scan/1", "/api/v2/scan/2"] {
        text(stack.get(path).await).await;
    }
    let mut invented = from("/scan/3", "10.0.0.1:9");
    *invented.method_mut() = "BREW".parse().unwrap();
    text(stack.send(invented).await).await;
    let exposed = stack.registry.encode();
    for line in [
        "coderd_api_requests_processed_total{code=\"200\",method=\"GET\",path=\"/api/v2/users/{user}\"} 2\n",
        "coderd_api_requests_processed_total{code=\"404\",method=\"GET\",path=\"UNKNOWN\"} 2\n",
        "coderd_api_requests_processed_total{code=\"404\",method=\"OTHER\",path=\"UNKNOWN\"} 1\n",
        "coderd_api_request_latencies_seconds_count{method=\"GET\",path=\"/api/v2/users/{user}\"} 2\n",
        "coderd_api_concurrent_requests 0\n",
    ] {
        assert!(exposed.contains(line), "{line}{exposed}");
    }
    assert!(!exposed.contains("scan"), "{exposed}");
    assert_eq!(MethodLabel::ALL.len(), 10);
}

/// A body of `chunks` chunks of 1 KiB that does not announce its length.
fn chunked(path: &str, chunks: usize) -> Request {
    let chunks = (0..chunks).map(|_| Ok::<_, io::Error>(Bytes::from(vec![b'x'; 1024])));
    Request::post(path).body(Body::from_stream(stream::iter(chunks))).unwrap()
}

fn announced(path: &str, len: usize) -> Request {
    Request::post(path).header("content-length", len).body(Body::from(vec![b'x'; len])).unwrap()
}

#[tokio::test]
async fn bodies_beyond_their_bound_are_refused_however_they_come() {
    async fn read(body: Bytes) -> String {
        body.len().to_string()
    }
    let routes = Router::new()
        .route("/json", post(read))
        .route("/file", post(read).layer(body_limit(8 * 1024 * 1024)))
        .route("/small", post(read).layer(body_limit(1024)))
        .route("/unread", post(|| async { "not read" }));
    let (lines, _guard) = Lines::start();
    let stack = stack(routes, |_| {});
    let mib = 1024 * 1024;
    for (request, want) in [
        (announced("/json", mib), StatusCode::OK),
        (announced("/json", mib + 1), StatusCode::PAYLOAD_TOO_LARGE),
        (chunked("/json", 1024), StatusCode::OK),
        (chunked("/json", 1025), StatusCode::PAYLOAD_TOO_LARGE),
        (announced("/file", 5 * mib), StatusCode::OK),
        (chunked("/file", 8 * 1024 + 1), StatusCode::PAYLOAD_TOO_LARGE),
        (announced("/small", 1024), StatusCode::OK),
        (chunked("/small", 2), StatusCode::PAYLOAD_TOO_LARGE),
        (announced("/unread", 2 * mib), StatusCode::OK),
    ] {
        let path = request.uri().path().to_owned();
        let response = stack.send(request).await;
        assert_eq!(response.status(), want, "{path}");
        let is_refused = want == StatusCode::PAYLOAD_TOO_LARGE;
        let body = text(response).await;
        assert_eq!(
            body.contains("\"message\":\"Request body is too large.\""),
            is_refused,
            "{body}"
        );
    }
    assert_eq!(stack.metrics.bodies_refused.get(&()), 4);
    let bounds: Vec<_> = lines
        .all()
        .into_iter()
        .filter_map(|line| line.get("max_request_body_bytes").and_then(Value::as_u64))
        .collect();
    assert_eq!(bounds, [1_048_576, 1_048_576, 8_388_608, 1_024]);
}

#[tokio::test]
async fn a_body_limit_holds_without_the_stack() {
    let plain = Router::new().route("/", post(|body: Bytes| async move { body.len().to_string() }));
    let limited = plain.layer(body_limit(1024));
    let response = limited.clone().oneshot(chunked("/", 2)).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(text(limited.oneshot(chunked("/", 1)).await.unwrap()).await, "1024");
}

#[tokio::test]
async fn handlers_see_the_client_and_no_forwarding_header_of_a_stranger() {
    async fn show(request: Request) -> String {
        let client = request.extensions().get::<ClientAddr>().unwrap();
        let host = request.extensions().get::<EffectiveHost>().map(|host| host.0.to_string());
        let forwarded =
            request.headers().keys().filter(|name| name.as_str().starts_with("x-f")).count();
        assert!(request.extensions().get::<RequestId>().is_some());
        format!("{} {} {forwarded}", client.ip, host.unwrap_or_default())
    }
    let stack = stack(Router::new().route("/", get(show)), |_| {});
    for (peer, want) in [
        ("10.0.0.1:9", "203.0.113.7 outside.example 3"),
        ("[::ffff:10.0.0.1]:9", "203.0.113.7 outside.example 3"),
        ("198.51.100.9:9", "198.51.100.9 inside.example 0"),
    ] {
        let mut request = from("/", peer);
        for (name, value) in [
            ("host", "inside.example"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-host", "outside.example"),
            ("x-forwarded-proto", "https"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(text(stack.send(request).await).await, want, "{peer}");
    }
    let unknown = Request::get("/").body(Body::empty()).unwrap();
    assert_eq!(text(stack.send(unknown).await).await, "0.0.0.0  0");
}

#[tokio::test]
async fn pages_get_security_headers_and_may_be_stricter_themselves() {
    async fn consent() -> Response {
        let own =
            [("content-security-policy", "frame-ancestors 'none'"), ("x-frame-options", "DENY")];
        (own, "page").into_response()
    }
    let site = Router::new()
        .route("/page", get(|| async { "page" }))
        .route("/consent", get(consent))
        .layer(site_headers(SiteHeaders::default()));
    let routes = site.route("/api", get(|| async { "json" }));
    let stack = stack(routes, |_| {});
    let page = stack.get("/page").await;
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self'; ") && policy.contains("object-src 'none'"));
    assert_eq!(page.headers()["x-frame-options"], "SAMEORIGIN");
    assert_eq!(page.headers()["referrer-policy"], "same-origin");
    assert_eq!(page.headers()["cross-origin-opener-policy"], "same-origin");
    assert!(page.headers().contains_key("permissions-policy"));
    let consent = stack.get("/consent").await;
    assert_eq!(consent.headers()["content-security-policy"], "frame-ancestors 'none'");
    assert_eq!(consent.headers()["x-frame-options"], "DENY");
    assert!(!stack.get("/api").await.headers().contains_key("content-security-policy"));
}
