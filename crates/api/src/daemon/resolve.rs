//! Whose token is this?

use aibridge::ports::Refused;
use axum::extract::State;
use control::wire::{Identity, RefusedReason, ResolveRequest, Resolved};

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::gateway;
use crate::json::{Body, Json};

/// How long daemons may believe an answer. Revocations reach them earlier; this is for when they do not.
const CACHE_SECONDS: u32 = 30;

/// `POST resolve`. Always asks the database: the daemon remembers for itself, and what this process remembers may
/// be older than a revocation that the daemon has heard of from another one.
pub(super) async fn resolve(
    State(app): State<App>,
    Body(asked): Body<ResolveRequest>,
) -> ApiResult<Json<Resolved>> {
    let found = app.resolver.resolve_anew(asked.token.expose()).await;
    let resolved = match gateway::admit(found) {
        Ok(caller) => Resolved::Identity(Identity {
            user_id: caller.user.id.0,
            username: caller.user.username.clone(),
            api_key_id: caller.key.id.clone(),
            expires_at: caller.key.expires_at,
            cache_seconds: CACHE_SECONDS,
        }),
        Err(Refused::Credential) => Resolved::Refused { reason: RefusedReason::Credential },
        Err(Refused::Scope) => Resolved::Refused { reason: RefusedReason::Scope },
        Err(Refused::Unavailable) => {
            return Err(ApiError::Busy("The token could not be checked. Please try again."));
        }
    };
    Ok(Json(resolved))
}
