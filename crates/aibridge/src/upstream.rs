//! The one outbound HTTP client: pooled connections, HTTP/1.1 and HTTP/2 by negotiation, TLS 1.2 or
//! later, no redirects, no proxy.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Either, Full, LengthLimitError};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::ring;
use tower::Service;

/// Any error that crosses threads.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A request body: held in memory, or streamed from the client.
pub(crate) type RequestBody = Either<Full<Bytes>, UnsyncBoxBody<Bytes, BoxError>>;

/// Idle connections are closed after this time.
const IDLE: Duration = Duration::from_secs(90);
/// Idle connections kept per provider.
const IDLE_MAX: usize = 100;
/// A silent HTTP/2 connection is probed this often, so that a dead one is noticed.
const PROBE: Duration = Duration::from_secs(30);

/// Why a provider gave no answer. Never holds a URL, a header or a body.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The connection was not made, or broke before an answer began.
    Unreachable(BoxError),
    /// Connecting took too long.
    TimedOut,
    /// The client's body failed, not the provider.
    Body(BoxError),
    /// The client's body is longer than allowed.
    BodyTooLarge,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable(_) => "the provider cannot be reached",
            Self::TimedOut => "connecting to the provider took too long",
            Self::Body(_) => "the request body broke off",
            Self::BodyTooLarge => "the request body is too large",
        })
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreachable(error) | Self::Body(error) => Some(error.as_ref()),
            Self::TimedOut | Self::BodyTooLarge => None,
        }
    }
}

/// Sends requests to providers.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    client: Client<Deadline<HttpsConnector<HttpConnector>>, RequestBody>,
    connect: Duration,
    tls: ClientConfig,
}

impl Upstream {
    /// `connect` bounds name resolution, TCP and TLS together.
    pub(crate) fn new(connect: Duration) -> Self {
        Self::with(connect, tls_config())
    }

    /// The same with connections of its own.
    pub(crate) fn separate(&self) -> Self {
        Self::with(self.connect, self.tls.clone())
    }

    fn with(connect: Duration, config: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_mins(1)));
        let tls = HttpsConnectorBuilder::new()
            .with_tls_config(config.clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_MAX)
            .http2_keep_alive_interval(PROBE)
            .http2_adaptive_window(true)
            // A pooled connection that the provider closed meanwhile costs one more connection, never a
            // request sent twice: this only covers requests of which no byte was sent.
            .retry_canceled_requests(true)
            .build(Deadline { inner: tls, limit: connect });
        Self { client, connect, tls: config }
    }

    /// Sends `request` and waits for the head of the answer, for however long it takes.
    ///
    /// # Errors
    /// See [`SendError`].
    pub(crate) async fn send(
        &self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, SendError> {
        self.client.request(request).await.map_err(|error| {
            if any_source(&error, <dyn Error>::is::<LengthLimitError>) {
                SendError::BodyTooLarge
            } else if any_source(&error, <dyn Error>::is::<ClientBodyError>) {
                SendError::Body(error.into())
            } else if any_source(&error, is_timeout) {
                SendError::TimedOut
            } else {
                SendError::Unreachable(error.into())
            }
        })
    }
}

/// Marks an error of the client's own body, so that it is not blamed on the provider.
#[derive(Debug)]
pub(crate) struct ClientBodyError(pub(crate) BoxError);

impl fmt::Display for ClientBodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client's body broke off")
    }
}

impl Error for ClientBodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

/// Whether `error` or anything that caused it fits.
fn any_source(
    error: &(dyn Error + 'static),
    fits: impl Fn(&(dyn Error + 'static)) -> bool,
) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if fits(error) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

fn tls_config() -> ClientConfig {
    let builder = || {
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
    };
    let platform = builder().and_then(ConfigBuilderExt::try_with_platform_verifier);
    match platform {
        Ok(config) => config.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(
                error = %error,
                "this machine has no usable certificate store; using the built-in list of public authorities"
            );
            let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
            match config.with_safe_default_protocol_versions() {
                Ok(builder) => builder.with_webpki_roots().with_no_client_auth(),
                // Not with ring's own provider, which has ciphers for both versions. Without roots every
                // TLS connection is refused, so nothing is weakened.
                Err(_) => ClientConfig::builder()
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth(),
            }
        }
    }
}

/// Bounds how long a connection may take to be made, TLS included.
#[derive(Clone, Debug)]
struct Deadline<C> {
    inner: C,
    limit: Duration,
}

impl<C> Service<Uri> for Deadline<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Response: Send,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let limit = self.limit;
        Box::pin(async move {
            match tokio::time::timeout(limit, connecting).await {
                Ok(result) => result,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            }
        })
    }
}
