//! What changes about an account, and its end.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use rbac::Action;
use serde_json::{Map, Value};
use stdx::Secret;
use store::pubsub::{Publish, Voided};
use store::users::{DeleteUser, GetUser, UpdatePassword, UpdateProfile};
use store::{Constraint, Error, TxOptions};

use super::list::one;
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};
use crate::rules::{self, Rules};

/// Changes what a user is called. The username is for administrators to change, the display name also for its user.
#[utoipa::path(
    put, path = "/users/{user}/profile", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    request_body = sdk::UpdateUserProfileRequest,
    responses(
        (status = 200, body = sdk::User),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response),
        (status = 409, body = sdk::Response)
    )
)]
pub(super) async fn update_profile(
    cx: Cx,
    Path(user): Path<String>,
    Body(req): Body<sdk::UpdateUserProfileRequest>,
) -> ApiResult<Json<sdk::User>> {
    let mut broken = Rules::default();
    broken.check("username", rules::name(&req.username));
    broken.check("name", rules::real_name(&req.name));
    broken.finish()?;
    let id = cx.user(&user).await?.id.0;
    let user = cx
        .tx(TxOptions::write("update_user_profile"), async |tx| {
            let old = tx.run(GetUser { id }).await?;
            if old.username != req.username && !cx.allows(Action::Update, &old.object()) {
                return Err(Error::NotFound.into());
            }
            let change = tx
                .run(UpdateProfile {
                    id,
                    email: old.email,
                    username: req.username.clone(),
                    name: req.name.clone(),
                    avatar_url: old.avatar_url,
                    now: cx.now,
                })
                .await?;
            cx.audit(tx, StatusCode::OK, &change).await?;
            tx.run(Publish::from(Voided::User(id))).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await;
    let user = match user {
        Err(error) if error.constraint() == Some(Constraint::UsersUsernameLowerKey) => {
            return Err(ApiError::conflict(
                "A user with this username already exists.",
                "username",
                "this value is already in use and should be unique",
            ));
        }
        other => other?,
    };
    one(&cx, user).await.map(Json)
}

/// Sets a password. Who sets their own shows the old one. All sessions and tokens of the user end.
#[utoipa::path(
    put, path = "/users/{user}/password", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    request_body = sdk::UpdateUserPasswordRequest,
    responses(
        (status = 204),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update_password(
    cx: Cx,
    Path(user): Path<String>,
    Body(req): Body<sdk::UpdateUserPasswordRequest>,
) -> ApiResult<Response> {
    let user = cx.user(&user).await?;
    if !cx.allows(Action::UpdatePersonal, &user.object()) {
        return Err(Error::NotFound.into());
    }
    if user.login_type != "password" {
        let message = "Users without password login type cannot change their password.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    let strength = crypt::password::check_strength(req.password.expose());
    if let Err(detail) = strength {
        return Err(ApiError::bad_field("Invalid password.", "password", detail));
    }
    let own = user.id == cx.caller.user.id;
    if own && req.old_password.expose().is_empty() {
        let detail = "must be given to change one's own password";
        return Err(ApiError::bad_field("Old password is required.", "old_password", detail));
    }
    let holds = async |password: Secret<String>| {
        cx.app.passwords.verify(&cx.app.store, &user, password).await
    };
    if !req.old_password.expose().is_empty() && !holds(req.old_password.clone()).await? {
        let detail = "Old password is incorrect.";
        return Err(ApiError::bad_field(detail, "old_password", detail));
    }
    if holds(req.password.clone()).await? {
        let message = "New password cannot match old password.";
        return Err(ApiError::bad_field(message, "password", "is the password that is in use"));
    }
    let (id, now) = (user.id.0, cx.now);
    let hashed_password = cx.app.passwords.hash(req.password).await?;
    cx.tx(TxOptions::write("update_user_password"), async |tx| {
        let update = UpdatePassword { id, hashed_password: hashed_password.clone(), now };
        let change = tx.run(update).await?;
        cx.audit(tx, StatusCode::NO_CONTENT, &change).await?;
        tx.run(Publish::from(Voided::User(id))).await?;
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Deletes an account. It stays for history, under a name and address that are free again; what is secret, or gives a
/// right, goes with it.
#[utoipa::path(
    delete, path = "/users/{user}", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses(
        (status = 200, body = sdk::Response),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 417, body = sdk::Response)
    )
)]
pub(super) async fn delete(cx: Cx, Path(user): Path<String>) -> ApiResult<Json<sdk::Response>> {
    let id = cx.user(&user).await?.id.0;
    if id == cx.caller.user.id.0 {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "You cannot delete yourself!"));
    }
    let deleted = cx
        .tx(TxOptions::write("delete_user"), async |tx| {
            let change = tx.run(DeleteUser { id, now: cx.now }).await?;
            let (context, none) = (cx.context(StatusCode::OK), Value::Object(Map::new()));
            audit::write_with(tx, &context, &change, audit::Action::Delete, none).await?;
            tx.run(Publish::from(Voided::User(id))).await?;
            Ok(())
        })
        .await;
    match deleted {
        Err(error) if error.constraint() == Some(Constraint::WorkspacesOwnerFk) => {
            let message = "You cannot delete a user that has workspaces. Delete their workspaces and try again!";
            Err(ApiError::new(StatusCode::EXPECTATION_FAILED, message))
        }
        Err(error) if error.constraint() == Some(Constraint::UsersLastOwner) => {
            let detail = "The deployment must keep an owner who is not suspended.";
            Err(ApiError::bad_request("Failed to delete user.", detail))
        }
        other => {
            other.map_err(ApiError::forbidding)?;
            Ok(Json(sdk::Response::message("User has been deleted!")))
        }
    }
}

/// How one signs in oneself.
#[utoipa::path(
    get, path = "/users/{user}/login-type", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses(
        (status = 200, body = sdk::UserLoginType),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response)
    )
)]
pub(super) async fn login_type(
    cx: Cx,
    Path(user): Path<String>,
) -> ApiResult<Json<sdk::UserLoginType>> {
    let user = cx.user(&user).await?;
    if user.id != cx.caller.user.id {
        let message = "You are not authorized to view this user's login type.";
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    Ok(Json(sdk::UserLoginType { login_type: user.login_type }))
}
