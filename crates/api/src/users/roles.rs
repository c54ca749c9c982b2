//! Roles of the deployment, and who holds them.

use std::collections::BTreeMap;

use axum::extract::Path;
use http::StatusCode;
use rbac::{Action, Object, Resource, RoleName};
use store::members::ListMemberships;
use store::pubsub::{Publish, Voided};
use store::users::{GetUser, UpdateRoles};
use store::{Constraint, Error, TxOptions};

use super::list::one;
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};
use crate::organizations::{built_in, forbidden_by_self, not_allowed, told};

/// The roles of the deployment that can be given.
#[utoipa::path(
    get, path = "/users/roles", tag = "Members",
    responses((status = 200, body = Vec<sdk::AssignableRole>), (status = 403, body = sdk::Response))
)]
pub(super) async fn list(cx: Cx) -> ApiResult<Json<Vec<sdk::AssignableRole>>> {
    if !cx.allows(Action::Read, &Object::new(Resource::AssignRole)) {
        return Err(not_allowed(Action::Read, Resource::AssignRole));
    }
    let roles = cx.app.catalog.site_roles().filter(|role| role.name().name() != "member");
    Ok(Json(roles.map(|role| built_in(&role, cx.subject().can_assign(role.name()))).collect()))
}

/// The roles that a user holds.
#[utoipa::path(
    get, path = "/users/{user}/roles", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    responses(
        (status = 200, body = sdk::UserRoles),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn get(cx: Cx, Path(user): Path<String>) -> ApiResult<Json<sdk::UserRoles>> {
    let user = cx.user(&user).await?;
    let memberships = cx.run(ListMemberships { user_id: user.id.0 }).await?;
    let by_organization =
        memberships.into_iter().map(|one| (one.organization_id.0.uuid(), one.roles));
    Ok(Json(sdk::UserRoles {
        roles: user.rbac_roles,
        organization_roles: by_organization.collect::<BTreeMap<_, _>>(),
    }))
}

/// Replaces the roles that a user holds in the deployment. Everybody is a `member`; it need not be named.
#[utoipa::path(
    put, path = "/users/{user}/roles", tag = "Users",
    params(("user" = String, Path, description = "UUID, username or `me`")),
    request_body = sdk::UpdateRoles,
    responses(
        (status = 200, body = sdk::User),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update(
    cx: Cx,
    Path(user): Path<String>,
    Body(req): Body<sdk::UpdateRoles>,
) -> ApiResult<Json<sdk::User>> {
    let id = cx.user(&user).await?.id.0;
    if id == cx.caller.user.id.0 {
        return Err(forbidden_by_self("You cannot change your own roles."));
    }
    let mut roles = req.roles;
    roles.retain(|role| role != "member");
    roles.sort_unstable();
    roles.dedup();
    let site = |roles: &[String]| -> Vec<RoleName> {
        roles.iter().map(|role| RoleName::site(role.clone())).collect()
    };
    let user = cx
        .tx(TxOptions::write("update_user_roles"), async |tx| {
            let old = tx.run(GetUser { id }).await?;
            // There are no custom roles of the deployment.
            cx.subject()
                .check_role_change(None, &site(&old.rbac_roles), &site(&roles), |_| false)
                .map_err(told)?;
            let change = tx.run(UpdateRoles { id, roles: roles.clone(), now: cx.now }).await?;
            cx.audit(tx, StatusCode::OK, &change).await?;
            tx.run(Publish::from(Voided::User(id))).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await;
    let user = match user {
        Err(error) if error.constraint() == Some(Constraint::UsersLastOwner) => {
            let detail = "The deployment must keep an owner who is not suspended.";
            return Err(ApiError::bad_request("Failed to update roles.", detail));
        }
        other => other?,
    };
    one(&cx, user).await.map(Json)
}
