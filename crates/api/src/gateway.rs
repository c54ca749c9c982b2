//! The AI gateway in process: who may use it, where its records go, which providers it serves.

mod providers;
mod records;
mod rows;
mod sweeper;
mod verify;

use std::sync::Arc;

use aibridge::facts::Fact;
use aibridge::ports::{
    Authenticator, BoxFuture, Durable, Identity, RecordError, Recorder, Refused,
};
use authn::{Authenticated, Failure, Resolver};
use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::{StatusCode, Uri};
use httpmw::{ClientAddr, LogContext};
use ledger::{Ledger, OpenError};
use rbac::{Action, Object, Resource};
use stdx::Lifecycle;

pub use providers::{ProviderFeed, load_specs};
pub use records::StoreSink;
pub use sweeper::OPEN_MAX;

use crate::app::{App, StartError};
use crate::json::answer;

/// Where the gateway is mounted: its present name and its old one.
pub(crate) const PREFIXES: [&str; 2] = ["/api/v2/ai-gateway", "/api/v2/aibridge"];

/// What is said when the operator has turned the gateway off.
pub(crate) const DISABLED: &str =
    "The AI gateway is disabled. Set CODER_AI_GATEWAY_ENABLED=true to enable it.";

/// Above the gateway's own bound, so that it refuses in the client's dialect.
const BODY_BYTES_MAX: u64 = 2 * aibridge::REQUEST_BODY_MAX as u64;

/// The data plane. Its routes check credentials of their own, so no other check stands before them.
pub(crate) fn routes() -> Router<App> {
    PREFIXES
        .into_iter()
        .fold(Router::new(), |router, prefix| {
            router.route(&format!("{prefix}/{{*path}}"), any(serve))
        })
        .layer(httpmw::body_limit(BODY_BYTES_MAX))
}

async fn serve(State(app): State<App>, mut request: Request) -> Response {
    if !app.settings.gateway_enabled {
        return answer(StatusCode::NOT_FOUND, &sdk::Response::message(DISABLED));
    }
    let Some(uri) = strip_prefix(request.uri()) else {
        return answer(StatusCode::NOT_FOUND, &sdk::Response::message("Route not found."));
    };
    *request.uri_mut() = uri;
    let log = LogContext::of(request.extensions_mut());
    log.hide_response();
    if let Some(client) = request.extensions().get::<ClientAddr>() {
        let peer =
            aibridge::Peer { ip: client.ip, tls: app.settings.access_url.scheme() == "https" };
        request.extensions_mut().insert(peer);
    }
    let answer = app.gateway.handle(request).await;
    if let Some(caller) = answer.extensions().get::<Identity>() {
        // Operators must see which key floods them.
        log.set_subject(&caller.user, &caller.username);
        log.set_api_key(&caller.api_key_id);
    }
    answer.map(HttpBody::new).into_response()
}

/// The same address without what the gateway is mounted under.
fn strip_prefix(uri: &Uri) -> Option<Uri> {
    let target = uri.path_and_query()?.as_str();
    let rest = PREFIXES.into_iter().find_map(|prefix| target.strip_prefix(prefix))?;
    rest.parse().ok()
}

/// Where the gateway's facts go: on disk, and from there to the place of record. What an earlier process left is
/// sent first. A gateway that is disabled does without.
pub(crate) fn recorder(
    opened: Option<Result<Ledger, OpenError>>,
    records: &StoreSink,
    enabled: bool,
    lifecycle: &Lifecycle,
) -> Result<Arc<dyn Recorder>, StartError> {
    match opened {
        Some(Ok(ledger)) => {
            ledger.ship(records.clone(), lifecycle);
            return Ok(Arc::new(ledger));
        }
        Some(Err(error)) if enabled => return Err(error.into()),
        None if enabled => return Err(StartError::NoSpool),
        Some(Err(error)) => {
            let error = stdx::chain(&error);
            tracing::warn!(%error, "records of earlier AI requests, if there are any, stay on disk");
        }
        None => {}
    }
    Ok(Arc::new(NoRecorder))
}

/// For a gateway that is disabled and has no place for facts: nobody reaches it, and nobody could.
#[derive(Debug)]
struct NoRecorder;

impl Recorder for NoRecorder {
    fn append(&self, _: Vec<Fact>) -> Result<Durable, RecordError> {
        Err(RecordError::Closed)
    }
}

/// Identity for the gateway, from API keys.
#[derive(Debug)]
pub struct KeyAuthenticator(pub Resolver);

impl Authenticator for KeyAuthenticator {
    fn cached(&self, token: &str) -> Option<Result<Identity, Refused>> {
        self.0.remembered(token).map(|known| identify(Ok(known)))
    }

    fn resolve<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(async move { identify(self.0.resolve(token).await) })
    }
}

fn identify(found: Result<Arc<Authenticated>, Failure>) -> Result<Identity, Refused> {
    let caller = admit(found)?;
    Ok(Identity {
        user: caller.user.id.0,
        username: caller.user.username.as_str().into(),
        api_key_id: caller.key.id.as_str().into(),
    })
}

/// Whether who was found may use the gateway, in this process or in a daemon: it is for whoever may have a
/// conversation of their own recorded.
pub(crate) fn admit(
    found: Result<Arc<Authenticated>, Failure>,
) -> Result<Arc<Authenticated>, Refused> {
    let caller = found.map_err(|failure| refusal(&failure))?;
    let own = Object::new(Resource::Interception).owner(caller.user.id.0);
    match caller.subject.authorize(Action::Create, &own) {
        Ok(()) => Ok(caller),
        Err(_) => Err(Refused::Scope),
    }
}

fn refusal(failure: &Failure) -> Refused {
    if failure.is_about_credential() {
        return Refused::Credential;
    }
    tracing::error!(error = %stdx::chain(failure), "a gateway credential could not be checked");
    Refused::Unavailable
}

/// Gives the gateway its authenticator.
#[must_use]
pub fn authenticator(resolver: Resolver) -> Arc<dyn Authenticator> {
    Arc::new(KeyAuthenticator(resolver))
}
