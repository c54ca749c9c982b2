//! A request whose credential holds: who, when, which request.

use std::net::IpAddr;
use std::sync::Arc;

use audit::{Auditable, Context};
use authn::{Authenticated, Failure};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::USER_AGENT;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use httpmw::{ClientAddr, LogContext, RequestId};
use ipnet::IpNet;
use rbac::{Action, Object, Subject};
use stdx::ids;
use store::users::{GetUser, GetUserByName, User};
use store::{Call, Change, Error, Query, Recorder, Store as _, Tx, TxBody, TxOptions};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::app::App;
use crate::error::{ApiError, ApiResult};

/// What the credential check at the root found. A request extension.
#[derive(Clone)]
struct Checked(Arc<Result<Authenticated, Failure>>);

/// Checks the credential once, at the root, and never rejects: what to do about it is for the route.
pub(crate) async fn precheck(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let token = authn::session_token(request.headers(), request.uri());
    let from = client_ip(request.extensions());
    let outcome = app.authn.validate(token.as_ref(), from.map(IpNet::from)).await;
    if let Ok(caller) = &outcome {
        let log = LogContext::of(request.extensions_mut());
        log.set_subject(&caller.user.id.0, &caller.user.username);
        log.set_subject_kind(caller.subject.kind().as_str(), &caller.user.email);
        log.set_api_key(&caller.key.id);
    }
    request.extensions_mut().insert(Checked(Arc::new(outcome)));
    next.run(request).await
}

fn client_ip(extensions: &http::Extensions) -> Option<IpAddr> {
    extensions.get::<ClientAddr>().map(|client| client.ip).filter(|ip| !ip.is_unspecified())
}

/// What an audit row tells of a request beside the change.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    request_id: ids::RequestId,
    ip: Option<IpAddr>,
    user_agent: Option<String>,
}

impl Origin {
    /// Reads it from a request.
    pub(crate) fn of(headers: &HeaderMap, extensions: &http::Extensions) -> Self {
        let request_id = extensions.get::<RequestId>().map_or_else(Uuid::nil, |id| id.0);
        Self {
            request_id: ids::RequestId::new(request_id),
            ip: client_ip(extensions),
            user_agent: headers
                .get(USER_AGENT)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        }
    }

    /// The caller's address as a network of one.
    pub(crate) fn network(&self) -> Option<IpNet> {
        self.ip.map(IpNet::from)
    }

    /// The context of an audit row.
    pub(crate) fn context<'a>(
        &'a self,
        app: &'a App,
        user_id: ids::UserId,
        status: StatusCode,
        time: OffsetDateTime,
    ) -> Context<'a> {
        Context {
            user_id,
            request_id: self.request_id,
            ip: self.network(),
            user_agent: self.user_agent.as_deref(),
            status_code: status.as_u16(),
            time,
            rng: &*app.rng,
        }
    }
}

/// A request by an authenticated caller. Taking one as an argument is what makes a route require it.
#[derive(Clone)]
pub(crate) struct Cx {
    pub(crate) app: App,
    pub(crate) caller: Authenticated,
    pub(crate) origin: Origin,
    /// The instant of the request: everything in it happens at once.
    pub(crate) now: OffsetDateTime,
    route: Option<MatchedPath>,
    recorder: Option<Arc<Recorder>>,
}

impl FromRequestParts<App> for Cx {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let checked = parts.extensions.remove::<Checked>();
        let outcome = checked.and_then(|checked| Arc::into_inner(checked.0));
        let caller = outcome.unwrap_or(Err(Failure::Absent))?;
        Ok(Self {
            origin: Origin::of(&parts.headers, &parts.extensions),
            now: app.clock.now(),
            route: parts.extensions.get().cloned(),
            recorder: parts.extensions.get().cloned(),
            app: app.clone(),
            caller,
        })
    }
}

impl Cx {
    pub(crate) const fn subject(&self) -> &Arc<Subject> {
        &self.caller.subject
    }

    pub(crate) const fn call(&self) -> Call<'_> {
        Call::by(&self.caller.subject).noted_by(self.recorder.as_ref())
    }

    /// Whether the caller may do `action` to `object`; a refusal is logged. For what no query decides.
    pub(crate) fn allows(&self, action: Action, object: &Object<'_>) -> bool {
        let allowed = self.app.store.allows(self.call(), action, object);
        if !allowed {
            let subject = self.subject();
            let roles: Vec<String> = subject.roles().map(ToString::to_string).collect();
            tracing::warn!(
                roles = roles.join(" "),
                user_id = %subject.id(),
                username = subject.name(),
                scope = %subject.scope(),
                route = self.route.as_ref().map(MatchedPath::as_str),
                action = action.as_str(),
                object_type = object.resource().as_str(),
                object_id = object.object_id().map(tracing::field::display),
                "unauthorized"
            );
        }
        allowed
    }

    /// Runs one query on behalf of the caller.
    pub(crate) async fn run<Q: Query>(&self, query: Q) -> Result<Q::Out, Error> {
        self.app.store.run(self.call(), query).await
    }

    /// Runs several queries in one transaction on behalf of the caller. Audit rows are the body's business.
    pub(crate) async fn tx<T, F>(&self, options: TxOptions, body: F) -> ApiResult<T>
    where
        for<'t> F: TxBody<&'t mut Tx, ApiResult<T>, Fut: Send> + Send + Sync,
        T: Send,
    {
        self.app.store.tx(self.call(), options, body).await
    }

    /// Writes the audit row of a change, in the change's own transaction.
    pub(crate) async fn audit<R: Auditable>(
        &self,
        tx: &mut Tx,
        status: StatusCode,
        change: &Change<R>,
    ) -> Result<(), Error> {
        audit::write(tx, &self.context(status), change).await
    }

    /// The context of an audit row of this request.
    pub(crate) fn context(&self, status: StatusCode) -> Context<'_> {
        self.origin.context(&self.app, self.caller.user.id.0, status, self.now)
    }

    /// The user that a path names: `me`, a UUID or a username.
    ///
    /// An unknown and an unreadable user are answered alike, with 400 as clients know it.
    pub(crate) async fn user(&self, name: &str) -> ApiResult<User> {
        if name == "me" {
            return Ok(self.caller.user.as_ref().clone());
        }
        let found = match Uuid::parse_str(name) {
            Ok(id) => self.run(GetUser { id: ids::UserId::new(id) }).await,
            Err(_) => self.run(GetUserByName { username: name.to_owned() }).await,
        };
        match found {
            Ok(user) if !user.deleted => Ok(user),
            Ok(_) | Err(Error::NotFound | Error::Denied(_)) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "\"user\" must be an existing uuid or username.",
            )),
            Err(error) => Err(error.into()),
        }
    }
}
