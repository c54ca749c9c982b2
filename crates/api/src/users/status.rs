//! Suspending an account, and taking that back.

use axum::extract::Path;
use axum::response::IntoResponse;
use http::StatusCode;
use store::pubsub::{Publish, Voided};
use store::users::UpdateStatus;
use store::{Error, TxOptions};

use super::list::one;
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::Json;

/// Suspends a user: nothing of theirs is accepted from now on, by no process of the deployment. What they asked
/// the AI gateway before is still answered to its end; gateway daemons that cannot reach coderd go on serving
/// them for as long as their identity grace allows.
#[utoipa::path(
    put, path = "/users/{user}/status/suspend", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses(
        (status = 200, body = sdk::User),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response)
    )
)]
pub(super) async fn suspend(cx: Cx, Path(user): Path<String>) -> ApiResult<impl IntoResponse> {
    set(&cx, &user, "suspended").await
}

/// Makes a suspended or dormant user active.
#[utoipa::path(
    put, path = "/users/{user}/status/activate", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses(
        (status = 200, body = sdk::User),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response)
    )
)]
pub(super) async fn activate(cx: Cx, Path(user): Path<String>) -> ApiResult<impl IntoResponse> {
    set(&cx, &user, "active").await
}

async fn set(cx: &Cx, user: &str, status: &'static str) -> ApiResult<Json<sdk::User>> {
    let id = cx.user(user).await?.id;
    let suspends = status == "suspended";
    if suspends && id == cx.caller.user.id {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "You cannot suspend yourself."));
    }
    let user = cx
        .tx(TxOptions::write("update_user_status"), async |tx| {
            let change = tx.run(UpdateStatus { id: id.0, status, now: cx.now }).await?;
            let Some(old) = change.old.as_ref().filter(|old| !old.deleted && !old.is_system) else {
                return Err(Error::NotFound.into());
            };
            // Looked at under the row's lock: a role given meanwhile counts. An error undoes the update.
            if suspends && old.rbac_roles.iter().any(|role| role == "owner") {
                let message = "You cannot suspend a user with the \"owner\" role. You must remove the role first.";
                return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
            }
            cx.audit(tx, StatusCode::OK, &change).await?;
            tx.run(Publish::from(Voided::User(id.0))).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await
        .map_err(ApiError::forbidding)?;
    one(cx, user).await.map(Json)
}
