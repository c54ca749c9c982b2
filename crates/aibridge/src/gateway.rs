//! The gateway itself: takes a request, decides what it is, and answers it.
//!
//! The order of checks: room for one more, token, identity, rate, provider, route, body, credential,
//! record; only then anything goes upstream. Each check is a step of [`Gateway::handle`] that either passes
//! or answers.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use prometheus_client::registry::Registry;
use stdx::{SharedClock, SharedRng, cut};
use tokio::time::timeout;

use crate::breaker::Breakers;
use crate::dialect::{Dialect, Fault};
use crate::driver::{Books, Failure, Terms};
use crate::headers::{GOVERNANCE_REQUEST_ID, GOVERNANCE_TOKEN};
use crate::limits::{Limits, LimitsCollector};
use crate::metrics::{Metrics, ProviderCollector};
use crate::passthrough;
use crate::ports::{Authenticator, Identity, Recorder, Refused};
use crate::provider::{Found, ProviderSpec, ProviderState, ProviderStatus, Route, Snapshot};
use crate::settings::GatewaySettings;
use crate::token::{self, Credentials, TokenError};
use crate::upstream::{BoxError, Upstream};

mod body;
mod intake;
mod intercept;

pub use body::{Body, BodyError};
pub use intake::REQUEST_BODY_MAX;
pub(crate) use intake::{content_length, discard, no_room, too_large};

/// Most bytes of a path repeated in an error.
const PATH_BYTES_MAX: usize = 256;

/// Who is at the other end of the client's connection. The server puts it into the request's extensions;
/// without it, passthrough requests carry no `X-Forwarded-For`.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Address of the client.
    pub ip: IpAddr,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
}

/// A request body of unknown origin.
type ClientBody = UnsyncBoxBody<Bytes, BoxError>;

/// The AI gateway. See the crate's documentation.
pub struct Gateway {
    settings: GatewaySettings,
    limits: Arc<Limits>,
    breakers: Option<Arc<Breakers>>,
    authenticator: Arc<dyn Authenticator>,
    books: Arc<Books>,
    upstream: Upstream,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Held while a new snapshot is built, so that two installs cannot overtake each other.
    installing: Arc<Mutex<()>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Gateway {
    /// A gateway without providers. It serves at once; every request is told to come back until the first
    /// [`Self::install`].
    #[must_use]
    pub fn new(
        settings: GatewaySettings,
        authenticator: Arc<dyn Authenticator>,
        recorder: Arc<dyn Recorder>,
        clock: SharedClock,
        rng: SharedRng,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let metrics = Arc::new(Metrics::register(registry, settings.metrics_by_initiator));
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        registry.register_collector(Box::new(ProviderCollector {
            snapshot: Arc::clone(&snapshot),
            clock: Arc::clone(&clock),
        }));
        let limits = Arc::new(Limits::new(settings.limits, Arc::clone(&rng)));
        registry.register_collector(Box::new(LimitsCollector(Arc::clone(&limits))));
        let books = Arc::new(Books {
            recorder,
            clock,
            rng,
            lifecycle: settings.lifecycle.clone(),
            metrics,
            wait: settings.timeouts.record,
        });
        Arc::new(Self {
            upstream: Upstream::new(settings.timeouts.connect),
            breakers: settings
                .breaker
                .map(|breaker| Breakers::new(breaker, Arc::clone(&books.metrics))),
            settings,
            limits,
            authenticator,
            books,
            snapshot,
            installing: Arc::default(),
        })
    }

    /// The same gateway with upstream connections of its own, for one thread of a server that keeps each
    /// connection on the thread that accepted it. Providers, records, limits and identities are shared: an
    /// [`Self::install`] on either is seen by both.
    #[must_use]
    pub fn local(&self) -> Arc<Self> {
        Arc::new(Self {
            settings: self.settings.clone(),
            limits: Arc::clone(&self.limits),
            breakers: self.breakers.clone(),
            authenticator: Arc::clone(&self.authenticator),
            books: Arc::clone(&self.books),
            upstream: self.upstream.separate(),
            snapshot: Arc::clone(&self.snapshot),
            installing: Arc::clone(&self.installing),
        })
    }

    /// Replaces all providers at once. Requests under way keep the ones they began with. A bad row
    /// disables only itself; the statuses say why.
    pub fn install(&self, specs: &[ProviderSpec]) -> Vec<ProviderStatus> {
        let _one_at_a_time = self.installing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.snapshot.load();
        let snapshot = Snapshot::build(specs, &before, self.settings.allow_byok);
        let statuses = snapshot.statuses().to_vec();
        let mut clean = true;
        for row in &statuses {
            if let ProviderState::Error(error) = &row.state {
                clean = false;
                tracing::warn!(
                    provider = row.name,
                    r#type = row.kind.as_str(),
                    error,
                    "skipping misconfigured ai provider"
                );
            }
        }
        self.snapshot.store(Arc::new(snapshot));
        self.books.metrics.reloaded(self.books.clock.now().unix_timestamp(), clean);
        statuses
    }

    /// What became of each row of the last [`Self::install`].
    #[must_use]
    pub fn statuses(&self) -> Vec<ProviderStatus> {
        self.snapshot.load().statuses().to_vec()
    }

    /// Answers one request. Its path is `/{provider}/...`: whatever the gateway is mounted under has been
    /// removed. Dropping the future or the answer's body cancels everything that goes on upstream. The
    /// answer's extensions hold the caller's [`Identity`] once it is known, for the server's log.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        // Boxed, so that neither the caller's future nor this one grows with the body's type.
        let body = UnsyncBoxBody::new(body.map_err(Into::into));
        Box::pin(self.serve(parts, body)).await
    }

    async fn serve(&self, mut parts: Parts, body: ClientBody) -> Response<Body> {
        let snapshot = self.snapshot.load_full();
        let path = parts.uri.path().to_owned();
        let found = snapshot.find(&parts.method, &path);
        let dialect = found.dialect();
        if let Some(id) = parts.headers.remove(GOVERNANCE_REQUEST_ID) {
            let path = cut(&path, PATH_BYTES_MAX);
            tracing::debug!(aibridgeproxy_id = ?id, path, "request came through the proxy");
        }
        let slot = match &found {
            Found::Route(..) => self.limits.enter(),
            _ => Ok(None),
        };
        let slot = match slot {
            Ok(slot) => slot,
            Err(failure) => return self.shed(&failure, dialect, body).await,
        };
        let (identity, credentials) = match self.admit(&parts, dialect).await {
            Ok(admitted) => admitted,
            Err(answer) => return answer,
        };
        let caller = identity.clone();
        let mut answer = match found {
            Found::Route(_, Route::Intercept(..), _)
                if let Err(failure) = self.limits.count(identity.user) =>
            {
                self.shed(&failure, dialect, body).await
            }
            Found::NotLoaded(_) => {
                let message = "the gateway does not know its providers yet; try again shortly";
                self.refuse(&Failure::new(Fault::NotLoaded, message), dialect)
            }
            Found::Nothing | Found::NoRoute(_) => {
                let (method, path) = (&parts.method, cut(&path, PATH_BYTES_MAX));
                let message = format!("route not supported: {method} {path}");
                self.refuse(&Failure::new(Fault::NoRoute, message), dialect)
            }
            Found::Disabled(name, _) => {
                self.books.metrics.refused("provider_disabled");
                disabled(name)
            }
            Found::Route(provider, Route::Intercept(api, route), rest) => {
                let call = intercept::Call { provider, api, route, rest, identity, credentials };
                self.intercept(call, parts, body)
                    .await
                    .unwrap_or_else(|failure| self.refuse(&failure, dialect))
            }
            Found::Route(provider, Route::Passthrough(route), rest) => {
                let call = passthrough::Call {
                    provider: &provider,
                    route,
                    rest,
                    credentials: &credentials,
                    upstream: &self.upstream,
                    books: &self.books,
                    terms: self.terms(provider.name.as_str().into()),
                };
                passthrough::relay(call, parts, body)
                    .await
                    .unwrap_or_else(|failure| self.refuse(&failure, dialect))
            }
        };
        answer.extensions_mut().insert(caller);
        answer.body_mut().hold(slot);
        answer
    }

    /// Finds out who is calling.
    async fn admit(
        &self,
        parts: &Parts,
        dialect: Option<Dialect>,
    ) -> Result<(Identity, Credentials), Response<Body>> {
        if self.settings.lifecycle.stopping().begun() {
            let message = "the gateway is shutting down; try again shortly";
            return Err(self.refuse(&Failure::new(Fault::Stopping, message), dialect));
        }
        let brought = parts.headers.get(GOVERNANCE_TOKEN);
        let byok = brought.is_some_and(|value| !value.as_bytes().trim_ascii().is_empty());
        if byok && !self.settings.allow_byok {
            self.books.metrics.refused(Fault::ByokDisabled.reason());
            return Err(byok_disabled());
        }
        let credentials = token::read(&parts.headers).map_err(|error| {
            let fault = match &error {
                TokenError::Missing => Fault::NoToken,
                TokenError::Clash(_) => Fault::AmbiguousToken,
            };
            let path = cut(parts.uri.path(), PATH_BYTES_MAX);
            // Claude Code asks with a bare HEAD whether anybody is there.
            if parts.method == Method::HEAD {
                tracing::debug!(path, error = %error, "request without a token");
            } else {
                tracing::warn!(path, error = %error, "request refused");
            }
            self.refuse(&Failure::new(fault, error.to_string()), dialect)
        })?;
        let token = credentials.token.expose();
        let identity = match self.authenticator.cached(token) {
            Some(known) => known,
            None => timeout(self.settings.timeouts.identity, self.authenticator.resolve(token))
                .await
                .unwrap_or(Err(Refused::Unavailable)),
        };
        match identity {
            Ok(identity) => Ok((identity, credentials)),
            Err(Refused::Credential | Refused::Scope) => {
                let failure = Failure::new(Fault::TokenRefused, "unauthorized");
                Err(self.refuse(&failure, dialect))
            }
            Err(Refused::Unavailable) => {
                let text = "the gateway cannot check credentials at the moment; try again shortly";
                Err(self.refuse(&Failure::new(Fault::IdentityUnknown, text), dialect))
            }
        }
    }

    /// Answers and counts a failure of which there is no record.
    fn refuse(&self, failure: &Failure, dialect: Option<Dialect>) -> Response<Body> {
        self.books.metrics.refused(failure.fault.reason());
        failure.answer(dialect, &*self.limits.rng)
    }

    /// Refuses a request before its body was read. The client may finish sending first: else it would see
    /// a broken connection instead of an answer that tells it when to come back.
    async fn shed(
        &self,
        failure: &Failure,
        dialect: Option<Dialect>,
        body: ClientBody,
    ) -> Response<Body> {
        intake::discard(body, 0).await;
        self.refuse(failure, dialect)
    }

    fn terms(&self, provider: Arc<str>) -> Terms {
        Terms {
            provider,
            timeouts: self.settings.timeouts,
            lifecycle: self.settings.lifecycle.clone(),
            limits: Arc::clone(&self.limits),
        }
    }
}

/// Clients look for the code at the start of the text.
fn disabled(name: &str) -> Response<Body> {
    let text = format!("provider_disabled: AI provider \"{name}\" is disabled");
    let mut answer = Response::new(Body::from(Bytes::from(text)));
    *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// The same body in every dialect: it is the management API's.
fn byok_disabled() -> Response<Body> {
    const TEXT: &str = concat!(
        r#"{"message":"Bring Your Own Key (BYOK) mode is not enabled.","#,
        r#""detail":"Contact your administrator to enable it with --ai-gateway-allow-byok."}"#
    );
    let mut answer = Response::new(Body::from(Bytes::from_static(TEXT.as_bytes())));
    *answer.status_mut() = Fault::ByokDisabled.status();
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}
