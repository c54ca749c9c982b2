//! Signing in and out.

use audit::{Action, Target};
use authn::{COOKIE, Grant, IssuedKey, LoginFailure};
use axum::extract::State;
use axum::response::Response;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use rbac::{Subject, system};
use sdk::{AuthMethod, AuthMethods, GithubAuthMethod, LoginRequest, LoginResponse, OidcAuthMethod};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::sync::Arc;
use stdx::ids::OrganizationId;
use store::api_keys::DeleteApiKey;
use store::pubsub::{Publish, Voided};
use store::users::User;
use store::{Call, TxOptions};

use crate::app::App;
use crate::cx::{Cx, Origin};
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json, answer};

/// How one can sign in.
#[utoipa::path(get, path = "/users/authmethods", tag = "Users", responses((status = 200, body = AuthMethods)))]
pub(super) async fn auth_methods(State(app): State<App>) -> Json<AuthMethods> {
    Json(AuthMethods {
        terms_of_service_url: String::new(),
        password: AuthMethod { enabled: !app.settings.disable_password_auth },
        github: GithubAuthMethod { enabled: false, default_provider_configured: false },
        oidc: OidcAuthMethod {
            enabled: false,
            sign_in_text: String::new(),
            icon_url: String::new(),
        },
    })
}

/// Signs in with address and password; the token is shown once and set as a cookie.
#[utoipa::path(
    post, path = "/users/login", tag = "Users", request_body = LoginRequest,
    responses((status = 201, body = LoginResponse), (status = 401, body = sdk::Response), (status = 403, body = sdk::Response))
)]
pub(super) async fn login(
    State(app): State<App>,
    headers: HeaderMap,
    extensions: http::Extensions,
    Body(req): Body<LoginRequest>,
) -> ApiResult<Response> {
    // Before the password is looked at: a closed door must not tell whether it was right.
    if app.settings.disable_password_auth {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "Password authentication is disabled."));
    }
    let origin = Origin::of(&headers, &extensions);
    let user = match app.passwords.check(&app.store, &req.email, req.password).await {
        Ok(user) => user,
        Err(failure) => {
            note_refusal(&app, &origin, &failure).await?;
            return Err(failure.into());
        }
    };
    let now = app.clock.now();
    if user.status == "dormant" {
        app.authn.wake(user.id.0, now).await?;
    }
    let grant = Grant::session(user.id.0, app.settings.session_duration, origin.network());
    let issued = IssuedKey::new(grant, now, &*app.rng);
    let subject = session_subject(&app, &user)?;
    app.store
        .tx(Call::by(&subject), TxOptions::write("login"), async |tx| {
            let change = tx.run(issued.insert.clone()).await?;
            let context = origin.context(&app, user.id.0, StatusCode::CREATED, now);
            let none = Value::Object(Map::new());
            audit::write_with(tx, &context, &change, Action::Login, none).await?;
            Ok::<_, ApiError>(())
        })
        .await?;
    let body = LoginResponse { session_token: issued.token.expose().clone() };
    let mut response = answer(StatusCode::CREATED, &body);
    let headers = response.headers_mut();
    headers.insert(SET_COOKIE, cookie(&app, issued.token.expose(), None)?);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A user who has just proved who they are may create a session of their own, and nothing else yet.
fn session_subject(app: &App, user: &User) -> ApiResult<Arc<Subject>> {
    rbac::SubjectBuilder::user(user.id.0)
        .name(user.username.clone())
        .email(user.email.clone())
        .site_role("member")
        .scope(rbac::Scope::all())
        .compile(&app.catalog)
        .map(Arc::new)
        .map_err(ApiError::internal)
}

/// A known user failing to sign in is recorded; an unknown name is not, there is nobody to file it under.
async fn note_refusal(app: &App, origin: &Origin, failure: &LoginFailure) -> ApiResult<()> {
    let (user, status) = match failure {
        LoginFailure::Incorrect { user: Some(user) } | LoginFailure::Inactive { user, .. } => {
            (user, StatusCode::UNAUTHORIZED)
        }
        LoginFailure::OtherLoginType { user, .. } => (user, StatusCode::FORBIDDEN),
        _ => return Ok(()),
    };
    let now = app.clock.now();
    let by = Call::by(system::auditor());
    app.store
        .tx(by, TxOptions::write("login_refused"), async |tx| {
            let context = origin.context(app, user.id.0, status, now);
            let target = Target {
                resource_type: "api_key",
                resource_id: user.id.0.uuid(),
                name: String::new(),
                organization_id: OrganizationId::nil(),
            };
            audit::note(tx, &context, target, Action::Login).await?;
            Ok::<_, ApiError>(())
        })
        .await
}

/// Ends the session that was presented.
#[utoipa::path(
    post, path = "/users/logout", tag = "Users",
    responses((status = 200, body = sdk::Response), (status = 403, body = sdk::Response))
)]
pub(super) async fn logout(cx: Cx) -> ApiResult<Response> {
    let id = cx.caller.key.id.clone();
    cx.tx(TxOptions::write("logout"), async |tx| {
        let change = tx.run(DeleteApiKey { id: id.clone() }).await?;
        let none = Value::Object(Map::new());
        let context = cx.context(StatusCode::OK);
        audit::write_with(tx, &context, &change, Action::Logout, none).await?;
        tx.run(Publish::from(Voided::ApiKey(id.clone()))).await?;
        Ok(())
    })
    .await
    .map_err(ApiError::forbidding)?;
    let mut response = answer(StatusCode::OK, &sdk::Response::message("Logged out!"));
    response.headers_mut().insert(SET_COOKIE, cookie(&cx.app, "", Some(-1))?);
    Ok(response)
}

/// The session cookie: for the whole site, out of scripts' reach, gone with the browser's session.
fn cookie(app: &App, value: &str, max_age_secs: Option<i64>) -> ApiResult<HeaderValue> {
    let mut text = format!("{COOKIE}={value}; Path=/; HttpOnly");
    text.push_str(if app.settings.same_site == "none" {
        "; SameSite=None"
    } else {
        "; SameSite=Lax"
    });
    if app.settings.secure_cookies {
        text.push_str("; Secure");
    }
    if let Some(secs) = max_age_secs {
        let _ = write!(text, "; Max-Age={secs}");
    }
    HeaderValue::from_str(&text).map_err(ApiError::internal)
}
