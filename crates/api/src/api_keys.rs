//! Sessions and tokens of users.

use std::time::Duration;

use authn::{Grant, IssuedKey};
use axum::extract::{Path, RawQuery};
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use rbac::{AllowList, ScopeName};
use store::api_keys::{ApiKey, DeleteApiKey, ExpireApiKey, GetApiKey, GetTokenByName, ListTokens};
use store::pubsub::{Publish, Voided};
use store::users::User;
use store::{Constraint, Error, TxOptions};
use utoipa_axum::routes;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json, answer};
use crate::paging;
use crate::routes::Routes;

/// What a refused request for a credential is told.
const REFUSED: &str = "Failed to create API key.";
const TOKEN_NAME_MAX: usize = 64;
const NANOS_PER_SEC: i64 = 1_000_000_000;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(create_key))
        .routes(routes!(get_key, delete_key))
        .routes(routes!(expire_key))
        .routes(routes!(create_token, list_tokens))
        .routes(routes!(get_token))
        .routes(routes!(token_config))
}

/// Creates a session-like key for a command line, without setting a cookie.
#[utoipa::path(
    post, path = "/users/{user}/keys", tag = "Users", params(("user" = String, Path)),
    responses((status = 201, body = sdk::GenerateApiKeyResponse), (status = 403, body = sdk::Response))
)]
async fn create_key(cx: Cx, Path(user): Path<String>) -> ApiResult<Response> {
    let user = owner(&cx, &user).await?;
    let lifetime = lifetime(&cx, &user, 0)?;
    let grant = Grant {
        // A key can never reach further than the key that asks for it.
        scopes: cx.caller.key.scopes.clone(),
        allow_list: cx.caller.key.allow_list.clone(),
        ..Grant::session(user.id.0, lifetime, cx.origin.network())
    };
    issue(&cx, grant).await
}

/// Creates a token; it is shown this once.
#[utoipa::path(
    post, path = "/users/{user}/keys/tokens", tag = "Users", params(("user" = String, Path)),
    request_body = sdk::CreateTokenRequest,
    responses(
        (status = 201, body = sdk::GenerateApiKeyResponse),
        (status = 400, body = sdk::Response),
        (status = 409, body = sdk::Response)
    )
)]
async fn create_token(
    cx: Cx,
    Path(user): Path<String>,
    Body(req): Body<sdk::CreateTokenRequest>,
) -> ApiResult<Response> {
    let user = owner(&cx, &user).await?;
    let lifetime = lifetime(&cx, &user, req.lifetime)?;
    let scopes = scopes(&req)?;
    let allow_list = AllowList::from_request(&req.allow_list)
        .map_err(|error| refused("allow_list", error.to_string()))?;
    within_own_reach(&cx, &scopes, &allow_list)?;
    let token_name = match req.token_name.trim() {
        "" => format!("token-{}", cx.app.rng.alphanumeric(8).to_lowercase()),
        name if name.chars().count() > TOKEN_NAME_MAX => {
            let detail = format!("token_name must have at most {TOKEN_NAME_MAX} characters");
            return Err(refused("token_name", detail));
        }
        name => name.to_owned(),
    };
    let grant = Grant {
        user_id: user.id.0,
        login_type: "token",
        lifetime,
        scopes: scopes.iter().map(ToString::to_string).collect(),
        allow_list: allow_list.entries().iter().map(ToString::to_string).collect(),
        token_name,
        ip_address: cx.origin.network(),
    };
    issue(&cx, grant).await
}

async fn issue(cx: &Cx, grant: Grant) -> ApiResult<Response> {
    let token_name = grant.token_name.clone();
    let issued = IssuedKey::new(grant, cx.now, &*cx.app.rng);
    let stored = cx
        .tx(TxOptions::write("create_api_key"), async |tx| {
            let change = tx.run(issued.insert.clone()).await?;
            cx.audit(tx, StatusCode::CREATED, &change).await?;
            Ok(())
        })
        .await;
    match stored {
        Ok(()) => {}
        Err(error) if error.constraint() == Some(Constraint::ApiKeysTokenNameKey) => {
            let detail = format!("A token with name \"{token_name}\" already exists.");
            return Err(ApiError::conflict(detail.clone(), "name", &detail));
        }
        Err(error) => return Err(error.forbidding()),
    }
    let body = sdk::GenerateApiKeyResponse { key: issued.token.expose().clone() };
    let mut response = answer(StatusCode::CREATED, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// 400 that names the field.
fn refused(field: &str, detail: impl Into<String>) -> ApiError {
    ApiError::bad_field(REFUSED, field, detail)
}

/// Whose key is to be made. Users that are part of the deployment have none.
async fn owner(cx: &Cx, user: &str) -> ApiResult<User> {
    let user = cx.user(user).await?;
    if user.is_system {
        return Err(beyond("A user that is part of the deployment has no keys."));
    }
    Ok(user)
}

fn lifetime(cx: &Cx, user: &User, nanos: i64) -> ApiResult<Duration> {
    let refused = |detail: String| {
        let message = "Failed to validate create API key request.";
        Err(ApiError::bad_field(message, "lifetime", detail))
    };
    let max = max_lifetime(cx, user);
    // A key with limits must not live on in keys that it made.
    let left = (!is_unlimited(cx))
        .then(|| Duration::try_from(cx.caller.key.expires_at - cx.now).unwrap_or_default());
    let wanted = match nanos {
        0 => {
            let default = cx.app.settings.default_token_lifetime.min(max);
            return Ok(left.map_or(default, |left| default.min(left)));
        }
        ..0 => return refused("lifetime must be positive number greater than 0".to_owned()),
        nanos => Duration::from_nanos(nanos.unsigned_abs()),
    };
    if wanted < Duration::from_secs(1) {
        return refused("lifetime is in nanoseconds and must be at least one second".to_owned());
    }
    if wanted > max {
        return refused(format!("lifetime must be less than {} hours", max.as_secs() / 3600));
    }
    if left.is_some_and(|left| wanted > left) {
        return Err(beyond("The new key would live longer than the key that asks for it."));
    }
    Ok(wanted)
}

/// Whether the caller's key may do all that its user may.
fn is_unlimited(cx: &Cx) -> bool {
    let own = cx.subject().scope();
    own.names().contains(&ScopeName::All) && own.allow_list().is_everything()
}

fn max_lifetime(cx: &Cx, user: &User) -> Duration {
    if user.rbac_roles.iter().any(|role| role == "owner") {
        cx.app.settings.max_admin_token_lifetime
    } else {
        cx.app.settings.max_token_lifetime
    }
}

fn scopes(req: &sdk::CreateTokenRequest) -> ApiResult<Vec<ScopeName>> {
    let (field, named): (_, Vec<&str>) = if !req.scopes.is_empty() {
        ("scopes", req.scopes.iter().map(String::as_str).collect())
    } else if req.scope.is_empty() {
        ("scope", vec!["coder:all"])
    } else {
        ("scope", vec![&req.scope])
    };
    let mut scopes = Vec::with_capacity(named.len());
    for name in named {
        let scope =
            ScopeName::parse_public(name).map_err(|error| refused(field, error.to_string()))?;
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    Ok(scopes)
}

/// A scoped key makes no key that reaches further than itself.
fn within_own_reach(cx: &Cx, scopes: &[ScopeName], allow_list: &AllowList) -> ApiResult<()> {
    let own = cx.subject().scope();
    let covered = scopes.iter().all(|scope| rbac::Scope::covers(own.names(), *scope));
    if covered && own.allow_list().covers(allow_list) {
        return Ok(());
    }
    Err(beyond("The new key would reach further than the key that asks for it."))
}

/// 403 with the reason.
fn beyond(detail: &str) -> ApiError {
    ApiError::Answer {
        status: StatusCode::FORBIDDEN,
        body: sdk::Response {
            message: REFUSED.to_owned(),
            detail: detail.to_owned(),
            validations: Vec::new(),
        },
    }
}

/// Tokens of a user, or of everybody that the caller may read.
#[utoipa::path(
    get, path = "/users/{user}/keys/tokens", tag = "Users",
    params(("user" = String, Path), ("include_all" = Option<bool>, Query), ("include_expired" = Option<bool>, Query)),
    responses((status = 200, body = Vec<sdk::ApiKeyWithOwner>), (status = 400, body = sdk::Response))
)]
async fn list_tokens(
    cx: Cx,
    Path(user): Path<String>,
    RawQuery(query): RawQuery,
) -> ApiResult<impl IntoResponse> {
    let user = cx.user(&user).await?;
    let mut query = paging::params(query.as_deref());
    let (all, expired) = (query.flag("include_all"), query.flag("include_expired"));
    query.finish_lenient(paging::INVALID)?;
    let tokens = cx
        .run(ListTokens {
            user_id: (!all).then_some(user.id.0),
            live_at: (!expired).then_some(cx.now),
        })
        .await?;
    let tokens: Vec<sdk::ApiKeyWithOwner> = tokens
        .into_iter()
        .map(|(key, username)| sdk::ApiKeyWithOwner { key: to_wire(key), username })
        .collect();
    Ok(Json(tokens))
}

/// A token by its name.
#[utoipa::path(
    get, path = "/users/{user}/keys/tokens/{keyname}", tag = "Users",
    params(("user" = String, Path), ("keyname" = String, Path)),
    responses((status = 200, body = sdk::ApiKey), (status = 404, body = sdk::Response))
)]
async fn get_token(
    cx: Cx,
    Path((user, token_name)): Path<(String, String)>,
) -> ApiResult<impl IntoResponse> {
    let user = cx.user(&user).await?;
    Ok(Json(to_wire(cx.run(GetTokenByName { user_id: user.id.0, token_name }).await?)))
}

/// How long a token of this user may live.
#[utoipa::path(
    get, path = "/users/{user}/keys/tokens/tokenconfig", tag = "Users", params(("user" = String, Path)),
    responses((status = 200, body = sdk::TokenConfig))
)]
async fn token_config(cx: Cx, Path(user): Path<String>) -> ApiResult<impl IntoResponse> {
    let user = cx.user(&user).await?;
    let max = i64::try_from(max_lifetime(&cx, &user).as_secs()).unwrap_or(i64::MAX);
    Ok(Json(sdk::TokenConfig { max_token_lifetime: max.saturating_mul(NANOS_PER_SEC) }))
}

/// A key by its identifier.
#[utoipa::path(
    get, path = "/users/{user}/keys/{keyid}", tag = "Users",
    params(("user" = String, Path), ("keyid" = String, Path)),
    responses((status = 200, body = sdk::ApiKey), (status = 404, body = sdk::Response))
)]
async fn get_key(cx: Cx, Path((user, id)): Path<(String, String)>) -> ApiResult<impl IntoResponse> {
    Ok(Json(to_wire(key_of(&cx, &user, id).await?)))
}

/// Deletes a key.
#[utoipa::path(
    delete, path = "/users/{user}/keys/{keyid}", tag = "Users",
    params(("user" = String, Path), ("keyid" = String, Path)),
    responses((status = 204), (status = 404, body = sdk::Response))
)]
async fn delete_key(cx: Cx, Path((user, id)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let key = key_of(&cx, &user, id).await?;
    cx.tx(TxOptions::write("delete_api_key"), async |tx| {
        let change = tx.run(DeleteApiKey { id: key.id.clone() }).await?;
        cx.audit(tx, StatusCode::NO_CONTENT, &change).await?;
        tx.run(Publish::from(Voided::ApiKey(key.id.clone()))).await?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a key now and keeps its row for the record.
#[utoipa::path(
    put, path = "/users/{user}/keys/{keyid}/expire", tag = "Users",
    params(("user" = String, Path), ("keyid" = String, Path)),
    responses((status = 204), (status = 404, body = sdk::Response))
)]
async fn expire_key(cx: Cx, Path((user, id)): Path<(String, String)>) -> ApiResult<StatusCode> {
    let key = key_of(&cx, &user, id).await?;
    cx.tx(TxOptions::write("expire_api_key"), async |tx| {
        let change = tx.run(ExpireApiKey { id: key.id.clone(), now: cx.now }).await?;
        cx.audit(tx, StatusCode::NO_CONTENT, &change).await?;
        tx.run(Publish::from(Voided::ApiKey(key.id.clone()))).await?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A key that must belong to the user of the path.
async fn key_of(cx: &Cx, user: &str, id: String) -> ApiResult<ApiKey> {
    let user = cx.user(user).await?;
    let key = cx.run(GetApiKey { id }).await?;
    if key.user_id == user.id { Ok(key) } else { Err(Error::NotFound.into()) }
}

fn to_wire(key: ApiKey) -> sdk::ApiKey {
    let has = |name: &str| key.scopes.iter().any(|scope| scope == name);
    let scope = if has("coder:application_connect") {
        "application_connect"
    } else if has("coder:all") {
        "all"
    } else {
        ""
    };
    sdk::ApiKey {
        id: key.id,
        user_id: key.user_id.0.uuid(),
        last_used: key.last_used.into(),
        expires_at: key.expires_at.into(),
        created_at: key.created_at.into(),
        updated_at: key.updated_at.into(),
        login_type: key.login_type,
        scope: scope.to_owned(),
        scopes: key.scopes,
        token_name: key.token_name,
        lifetime_seconds: key.lifetime_seconds,
        allow_list: key.allow_list,
    }
}
