//! Roles of members.

use std::collections::HashMap;

use audit::tables::NamedMember;
use axum::extract::Path;
use http::StatusCode;
use rbac::{Action, Resource, RoleName, system};
use stdx::ids::UserId;
use store::custom_roles::ListCustomRoles;
use store::members::{GetMember, Member, UpdateMemberRoles};
use store::pubsub::{Publish, Voided};
use store::users::{GetUser, GetUserByName, User};
use store::{Call, Change, Error, Store as _, TxOptions};
use uuid::Uuid;

use super::{forbidden_by_self, names, not_allowed, refused};
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};

/// Replaces the roles of a member.
#[utoipa::path(
    put, path = "/organizations/{organization}/members/{user}/roles", tag = "Members",
    params(
        ("organization" = String, Path, description = "UUID, name or `default`"),
        ("user" = String, Path, description = "UUID, username or `me`")
    ),
    request_body = sdk::UpdateRoles,
    responses(
        (status = 200, body = sdk::OrganizationMember),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update_roles(
    cx: Cx,
    Path((organization, user)): Path<(String, String)>,
    Body(req): Body<sdk::UpdateRoles>,
) -> ApiResult<Json<sdk::OrganizationMember>> {
    let organization_id = cx.organization(&organization).await?.id.0;
    let user = named(&cx, &user).await?;
    let user_id = user.id.0;
    if user_id == cx.caller.user.id.0 {
        return Err(forbidden_by_self("You cannot change your own organization roles."));
    }
    // Names are the organization's own business: whoever may give roles learns which there are.
    let by = Call::by(system::authenticator());
    let custom = cx.app.store.run(by, ListCustomRoles { organization_id }).await?;
    let custom: HashMap<String, String> =
        custom.into_iter().map(|role| (role.name, role.display_name)).collect();
    let mut roles = req.roles;
    roles.sort_unstable();
    roles.dedup();
    let wanted = names(&roles, organization_id);
    let member = cx
        .tx(TxOptions::write("update_member_roles"), async |tx| {
            let old = tx.run(GetMember { organization_id, user_id }).await?;
            let held = names(&old.roles, organization_id);
            let exists = |role: &RoleName| custom.contains_key(role.name());
            cx.subject()
                .check_role_change(Some(organization_id), &held, &wanted, exists)
                .map_err(told)?;
            let update =
                UpdateMemberRoles { organization_id, user_id, roles: roles.clone(), now: cx.now };
            let change = tx.run(update).await?;
            let named = |member: Member| NamedMember::new(member, &user.username);
            let shown = Change { old: change.old.map(named), new: change.new.clone().map(named) };
            cx.audit(tx, StatusCode::OK, &shown).await?;
            tx.run(Publish::from(Voided::User(user_id))).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await?;
    Ok(Json(to_wire(&cx, member, &custom)))
}

/// The user that a path names below an organization. Whether the caller may know of them is decided by the
/// membership, which comes next: an administrator of an organization need not see the users of others.
async fn named(cx: &Cx, name: &str) -> ApiResult<User> {
    if name == "me" {
        return Ok(cx.caller.user.as_ref().clone());
    }
    let by = Call::by(system::authenticator());
    let user = match Uuid::parse_str(name) {
        Ok(id) => cx.app.store.run(by, GetUser { id: UserId::new(id) }).await?,
        Err(_) => cx.app.store.run(by, GetUserByName { username: name.to_owned() }).await?,
    };
    if user.deleted { Err(Error::NotFound.into()) } else { Ok(user) }
}

/// Why roles are not changed, to somebody who may see them.
pub(crate) fn told(error: rbac::RoleChangeError) -> ApiError {
    match error {
        rbac::RoleChangeError::Denied(_) => not_allowed(Action::Assign, Resource::AssignRole),
        other => refused("Failed to update roles.", &other),
    }
}

fn to_wire(cx: &Cx, member: Member, custom: &HashMap<String, String>) -> sdk::OrganizationMember {
    let organization = member.organization_id.0;
    let shown = member.roles.into_iter().map(|name| {
        let role = cx.app.catalog.built_in(&RoleName::in_org(name.clone(), organization));
        let display_name = match role {
            Some(role) => role.display_name().to_owned(),
            None => custom.get(&name).cloned().unwrap_or_default(),
        };
        sdk::SlimRole { name, display_name, organization_id: organization.to_string() }
    });
    sdk::OrganizationMember {
        roles: shown.collect(),
        user_id: member.user_id.0.uuid(),
        organization_id: organization.uuid(),
        created_at: member.created_at.into(),
        updated_at: member.updated_at.into(),
    }
}
