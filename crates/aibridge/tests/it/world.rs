//! A gateway with everything around it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aibridge::{Body, Gateway, GatewaySettings, ProviderKind, ProviderSpec, ProviderStatus};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use stdx::ids::ProviderId;
use stdx::{Lifecycle, ManualClock, Secret, SeededRng};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::ports::{Book, People, TOKEN};

/// Waits, but not for ever: a test that hangs should say where.
pub(crate) async fn within<T>(work: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(Duration::from_secs(20), work).await;
    result.unwrap_or_else(|_| panic!("waited too long"))
}

pub(crate) struct World {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) book: Arc<Book>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) lifecycle: Lifecycle,
    registry: Registry,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    /// The same, byte for byte.
    pub(crate) bytes: Bytes,
    /// Whether the body ended in good order.
    pub(crate) whole: bool,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Seconds after which the client is to come back.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        self.header("retry-after").map(|seconds| seconds.parse().unwrap())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut GatewaySettings)) -> Self {
        let lifecycle = Lifecycle::new();
        let mut settings = GatewaySettings::new(lifecycle.clone());
        adjust(&mut settings);
        let clock = ManualClock::new(OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000));
        let book = Arc::new(Book::default());
        let mut registry = Registry::default();
        let gateway = Gateway::new(
            settings,
            Arc::new(People),
            Arc::clone(&book) as _,
            Arc::clone(&clock) as _,
            SeededRng::shared(1),
            &mut registry,
        );
        Self { gateway, book, clock, lifecycle, registry }
    }

    /// Installs providers and insists that all of them are in order.
    pub(crate) fn install(&self, rows: &[ProviderSpec]) -> Vec<ProviderStatus> {
        let statuses = self.gateway.install(rows);
        assert!(statuses.iter().all(|row| row.state.as_str() != "error"), "{statuses:?}");
        statuses
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        within(self.gateway.handle(request)).await
    }

    pub(crate) async fn ask(&self, request: Request<Full<Bytes>>) -> Answer {
        let response = self.send(request).await;
        within(read(response)).await
    }

    /// The value of one sample of the metrics page, 0 if absent.
    pub(crate) fn metric(&self, sample: &str) -> u64 {
        let page = self.page();
        let value = page.lines().find_map(|line| line.strip_prefix(sample));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// The same as it is written there; absent if it is not.
    pub(crate) fn sample(&self, sample: &str) -> Option<String> {
        let page = self.page();
        let value = page.lines().find_map(|line| line.strip_prefix(sample));
        value.map(|value| value.trim().to_owned())
    }

    /// Recorded requests that have not ended, of all kinds.
    pub(crate) fn in_flight(&self) -> u64 {
        let page = self.page();
        let rows = page
            .lines()
            .filter(|line| line.starts_with("coder_ai_gateway_interceptions_inflight{"));
        rows.map(|row| row.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }

    fn page(&self) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        page
    }

    /// Serves the gateway on a socket, as a daemon would.
    pub(crate) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (gateway, tasks) = (Arc::clone(&self.gateway), self.lifecycle.clone());
        self.lifecycle.spawn("gateway", async move {
            while let Ok((socket, _)) = listener.accept().await {
                let gateway = Arc::clone(&gateway);
                tasks.spawn("gateway-connection", async move {
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        let gateway = Arc::clone(&gateway);
                        async move { Ok::<_, std::convert::Infallible>(gateway.handle(request).await) }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    // Clients that leave are part of the play.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        address
    }
}

pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (head, mut body) = response.into_parts();
    let (mut text, mut whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            whole = false;
            break;
        };
        text.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8_lossy(&text).into_owned(),
        bytes: text.into(),
        whole,
    }
}

/// The next bytes of an answer.
pub(crate) async fn chunk(body: &mut Body) -> Option<Bytes> {
    within(body.frame()).await.map(|frame| frame.unwrap().into_data().unwrap())
}

/// A provider row with one key per `keys`.
pub(crate) fn row(kind: ProviderKind, name: &str, base_url: &str, keys: &[&str]) -> ProviderSpec {
    let number = name.bytes().fold(0, |sum: u128, byte| sum * 256 + u128::from(byte));
    ProviderSpec {
        id: ProviderId::new(Uuid::from_u128(number)),
        kind,
        name: name.to_owned(),
        enabled: true,
        base_url: base_url.to_owned(),
        keys: Ok(keys.iter().map(|&key| Secret::from(key)).collect()),
    }
}

/// A request with Alice's token.
pub(crate) fn post(path: &str, body: &str) -> Request<Full<Bytes>> {
    with(path, &[("authorization", &format!("Bearer {TOKEN}"))], body)
}

/// A request with these headers and no token.
pub(crate) fn with(path: &str, headers: &[(&str, &str)], body: &str) -> Request<Full<Bytes>> {
    request("POST", path, headers, body)
}

pub(crate) fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap()
}
