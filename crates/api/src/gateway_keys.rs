//! The keys by which gateway daemons prove who they are. Whoever holds one gets the keys of all providers.

use axum::extract::Path;
use axum::response::Response;
use crypt::gateway_key;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use stdx::Secret;
use stdx::ids::GatewayKeyId;
use store::gateway_keys::{
    DeleteGatewayKey, GatewayKey, HashedGatewayKey, InsertGatewayKey, ListGatewayKeys,
};
use store::pubsub::{Channel, Publish};
use store::{Constraint, Pk, TxOptions};
use utoipa_axum::routes;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json, answer};
use crate::routes::Routes;

const NAME_MAX: usize = 64;
/// How many keys are drawn when they turn out to exist already, which chance alone will not do twice.
const TRIES: usize = 7;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(create, list)).routes(routes!(delete))
}

/// Creates a key for gateway daemons; it is shown this once.
#[utoipa::path(
    post, path = "/", tag = "AI gateway", request_body = sdk::CreateGatewayKeyRequest,
    responses(
        (status = 201, body = sdk::CreateGatewayKeyResponse),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response)
    )
)]
async fn create(cx: Cx, Body(req): Body<sdk::CreateGatewayKeyRequest>) -> ApiResult<Response> {
    check_name(&req.name).map_err(|detail| broken_name("Invalid key name.", detail))?;
    let mut drawn = Drawn::new(&cx, &req.name);
    let mut tries = 1;
    while let Err(error) = insert(&cx, &drawn.row).await {
        match error.constraint() {
            Some(Constraint::AiGatewayKeysNameUnique) => {
                let detail = "another key has this name".to_owned();
                return Err(broken_name("Key name must be unique.", detail));
            }
            Some(Constraint::AiGatewayKeysPrefixUnique | Constraint::AiGatewayKeysHashUnique)
                if tries < TRIES =>
            {
                tries += 1;
                drawn = Drawn::new(&cx, &req.name);
            }
            _ => return Err(error.forbidding()),
        }
    }
    let Drawn { key, row } = drawn;
    let shown = GatewayKey {
        id: row.id,
        created_at: row.created_at,
        name: row.name,
        secret_prefix: row.secret_prefix,
        last_used_at: None,
    };
    let body =
        sdk::CreateGatewayKeyResponse { shown: to_wire(shown), key: key.expose().to_owned() };
    let mut response = answer(StatusCode::CREATED, &body);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// A key and the row that is stored of it.
struct Drawn {
    key: Secret<String>,
    row: HashedGatewayKey,
}

impl Drawn {
    fn new(cx: &Cx, name: &str) -> Self {
        let key = gateway_key::generate(&*cx.app.rng);
        let prefix = gateway_key::prefix(key.expose()).unwrap_or_default();
        let row = HashedGatewayKey {
            id: Pk(GatewayKeyId::new(cx.app.rng.uuid_v4())),
            created_at: cx.now,
            name: name.to_owned(),
            secret_prefix: prefix.to_owned(),
            hashed_secret: crypt::sha256(key.expose().as_bytes()).to_vec(),
            last_used_at: None,
        };
        Self { key, row }
    }
}

async fn insert(cx: &Cx, row: &HashedGatewayKey) -> ApiResult<()> {
    cx.tx(TxOptions::write("create_ai_gateway_key"), async |tx| {
        let change = tx.run(InsertGatewayKey(row.clone())).await?;
        cx.audit(tx, StatusCode::CREATED, &change).await?;
        Ok(())
    })
    .await
}

/// All keys of gateway daemons, oldest first, by their prefixes.
#[utoipa::path(
    get, path = "/", tag = "AI gateway",
    responses((status = 200, body = Vec<sdk::GatewayKey>), (status = 403, body = sdk::Response))
)]
async fn list(cx: Cx) -> ApiResult<Json<Vec<sdk::GatewayKey>>> {
    let keys = cx.run(ListGatewayKeys).await.map_err(|error| ApiError::from(error).forbidding())?;
    Ok(Json(keys.into_iter().map(to_wire).collect()))
}

/// Deletes a key. Daemons that use it end at once: their open answers are cut off with an error, and what they have
/// not shipped stays on their disks. A key that is gone already is no error.
#[utoipa::path(
    delete, path = "/{key}", tag = "AI gateway", params(("key" = uuid::Uuid, Path)),
    responses((status = 204), (status = 400, body = sdk::Response), (status = 403, body = sdk::Response))
)]
async fn delete(cx: Cx, Path(key): Path<String>) -> ApiResult<StatusCode> {
    const STATUS: StatusCode = StatusCode::NO_CONTENT;
    let id: GatewayKeyId = key.parse().map_err(|_| {
        ApiError::bad_request("Invalid key ID.", "The last part of the path must be a UUID.")
    })?;
    cx.tx(TxOptions::write("delete_ai_gateway_key"), async |tx| {
        let Some(change) = tx.run(DeleteGatewayKey { id }).await? else { return Ok(()) };
        cx.audit(tx, STATUS, &change).await?;
        tx.run(Publish { channel: Channel::GatewayKeys, payload: id.to_string() }).await?;
        Ok(())
    })
    .await
    .map_err(ApiError::forbidding)?;
    Ok(STATUS)
}

fn check_name(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("must be >= 1 character".to_owned());
    }
    if text.len() > NAME_MAX {
        return Err(format!("must be <= {NAME_MAX} characters"));
    }
    let shaped = text.split('-').all(|part| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    });
    if shaped {
        Ok(())
    } else {
        Err("must be lower-case letters and digits with single inner hyphens".to_owned())
    }
}

fn broken_name(message: &str, detail: String) -> ApiError {
    let broken = sdk::Validation { field: "name".to_owned(), detail };
    ApiError::invalid_as(message, vec![broken])
}

fn to_wire(key: GatewayKey) -> sdk::GatewayKey {
    sdk::GatewayKey {
        id: key.id.0.uuid(),
        name: key.name,
        key_prefix: key.secret_prefix.clone(),
        token_prefix: key.secret_prefix,
        created_at: key.created_at.into(),
        last_used_at: key.last_used_at.map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_words() {
        for (text, fine) in [
            ("zurich", true),
            ("zurich-1", true),
            ("1", true),
            (&"a".repeat(64), true),
            (&"a".repeat(65), false),
            ("", false),
            ("Zurich", false),
            ("-a", false),
            ("a-", false),
            ("a--b", false),
            ("a_b", false),
            ("a b", false),
            ("\u{e4}", false),
        ] {
            assert_eq!(check_name(text).is_ok(), fine, "{text}");
        }
    }
}
