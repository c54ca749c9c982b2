//! Roles that people write for their organization.

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use rbac::{CustomRoleError, Permission, RawPermissions, Role, RoleName, Unknown, check_role_name};
use stdx::ids::{CustomRoleId, OrganizationId};
use store::custom_roles::{
    DeleteCustomRole, Grant, InsertCustomRole, ListCustomRoles, ROLES_MAX, UpdateCustomRole,
};
use store::pubsub::{Publish, Voided};
use store::{Constraint, Error, Tx, TxOptions};

use super::{built_in, custom, raw};
use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::json::{Body, Json};

/// Longest name for people, in characters.
const DISPLAY_NAME_MAX: usize = 64;
const UPDATE_FAILED: &str = "Failed to update role permissions";

/// The roles that can be given in an organization: built-in ones and those that people wrote.
#[utoipa::path(
    get, path = "/organizations/{organization}/members/roles", tag = "Members",
    params(("organization" = String, Path, description = "UUID, name or `default`")),
    responses(
        (status = 200, body = Vec<sdk::AssignableRole>),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn list(
    cx: Cx,
    Path(organization): Path<String>,
) -> ApiResult<Json<Vec<sdk::AssignableRole>>> {
    let id = cx.organization(&organization).await?.id.0;
    let custom_roles = cx.run(ListCustomRoles { organization_id: id }).await;
    let custom_roles = custom_roles.map_err(|error| ApiError::from(error).forbidding())?;
    let mut roles: Vec<sdk::AssignableRole> = cx
        .app
        .catalog
        .org_roles(id)
        .map(|role| built_in(&role, cx.subject().can_assign(role.name())))
        .collect();
    roles.extend(custom_roles.into_iter().map(|row| {
        let assignable = cx.subject().can_assign(&RoleName::in_org(row.name.clone(), id));
        sdk::AssignableRole { role: custom(row), assignable, built_in: false }
    }));
    Ok(Json(roles))
}

/// Writes a role. Nobody grants what they do not hold throughout the organization.
#[utoipa::path(
    post, path = "/organizations/{organization}/members/roles", tag = "Members",
    params(("organization" = String, Path, description = "UUID, name or `default`")),
    request_body = sdk::CustomRoleRequest,
    responses(
        (status = 200, body = sdk::Role),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response),
        (status = 409, body = sdk::Response)
    )
)]
pub(super) async fn create(
    cx: Cx,
    Path(organization): Path<String>,
    Body(req): Body<sdk::CustomRoleRequest>,
) -> ApiResult<Json<sdk::Role>> {
    let organization_id = cx.organization(&organization).await?.id.0;
    may(&cx, rbac::Action::Create, organization_id)?;
    let grants = check(&cx, organization_id, &req, Unknown::Refuse)?;
    let id = CustomRoleId::new(cx.app.rng.uuid_v4());
    let made = cx
        .tx(TxOptions::write("create_custom_role"), async |tx| {
            if tx.run(ListCustomRoles { organization_id }).await?.len() >= ROLES_MAX {
                let detail =
                    format!("An organization may have {ROLES_MAX} custom roles; delete one first.");
                return Err(ApiError::bad_request(UPDATE_FAILED, detail));
            }
            let change = tx
                .run(InsertCustomRole {
                    id,
                    organization_id,
                    name: req.name.clone(),
                    display_name: req.display_name.clone(),
                    grants: grants.clone(),
                    now: cx.now,
                })
                .await?;
            cx.audit(tx, StatusCode::OK, &change).await?;
            publish(tx).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await;
    match made {
        Ok(row) => Ok(Json(custom(row))),
        Err(error) if error.constraint() == Some(Constraint::CustomRolesNameLowerKey) => {
            let detail = format!("A custom role with the name \"{}\" already exists.", req.name);
            Err(ApiError::conflict(detail.clone(), "name", &detail))
        }
        Err(error) => Err(error),
    }
}

/// Replaces what a role grants. Permissions that do not exist any more are left out, so that a role from before
/// stays editable.
#[utoipa::path(
    put, path = "/organizations/{organization}/members/roles", tag = "Members",
    params(("organization" = String, Path, description = "UUID, name or `default`")),
    request_body = sdk::CustomRoleRequest,
    responses(
        (status = 200, body = sdk::Role),
        (status = 400, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn update(
    cx: Cx,
    Path(organization): Path<String>,
    Body(req): Body<sdk::CustomRoleRequest>,
) -> ApiResult<Json<sdk::Role>> {
    let organization_id = cx.organization(&organization).await?.id.0;
    may(&cx, rbac::Action::Update, organization_id)?;
    let grants = check(&cx, organization_id, &req, Unknown::Drop)?;
    let row = cx
        .tx(TxOptions::write("update_custom_role"), async |tx| {
            let change = tx
                .run(UpdateCustomRole {
                    organization_id,
                    name: req.name.clone(),
                    display_name: req.display_name.clone(),
                    grants: grants.clone(),
                    now: cx.now,
                })
                .await?;
            cx.audit(tx, StatusCode::OK, &change).await?;
            publish(tx).await?;
            change.new.ok_or_else(|| Error::NotFound.into())
        })
        .await
        .map_err(|error| absent(error, &req.name))?;
    Ok(Json(custom(row)))
}

/// Deletes a role. Who holds it loses it.
#[utoipa::path(
    delete, path = "/organizations/{organization}/members/roles/{roleName}", tag = "Members",
    params(
        ("organization" = String, Path, description = "UUID, name or `default`"),
        ("roleName" = String, Path, description = "Name of a custom role")
    ),
    responses(
        (status = 204),
        (status = 400, body = sdk::Response),
        (status = 403, body = sdk::Response),
        (status = 404, body = sdk::Response)
    )
)]
pub(super) async fn delete(
    cx: Cx,
    Path((organization, name)): Path<(String, String)>,
) -> ApiResult<Response> {
    let organization_id = cx.organization(&organization).await?.id.0;
    let object = rbac::Object::new(rbac::Resource::AssignOrgRole).in_org(organization_id);
    let denied = !cx.allows(rbac::Action::Delete, &object);
    // One with a name that became a retired one can still be deleted.
    let retired = rbac::RETIRED_ROLES.contains(&name.as_str());
    if !denied
        && !retired
        && let Err(error @ CustomRoleError::Reserved { .. }) = check_role_name(&name)
    {
        return Err(ApiError::bad_request("Reserved role name", error.to_string()));
    }
    cx.tx(TxOptions::write("delete_custom_role"), async |tx| {
        let change = tx.run(DeleteCustomRole { organization_id, name: name.clone() }).await?;
        cx.audit(tx, StatusCode::NO_CONTENT, &change).await?;
        publish(tx).await?;
        Ok(())
    })
    .await
    .map_err(|error| absent(error.forbidding(), &name))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Who may not write roles is told so before anything about the role.
fn may(cx: &Cx, action: rbac::Action, organization: OrganizationId) -> ApiResult<()> {
    let object = rbac::Object::new(rbac::Resource::AssignOrgRole).in_org(organization);
    if cx.allows(action, &object) { Ok(()) } else { Err(Error::NotFound.into()) }
}

/// What the request grants, if its writer may.
fn check(
    cx: &Cx,
    organization: OrganizationId,
    req: &sdk::CustomRoleRequest,
    unknown: Unknown,
) -> ApiResult<Vec<Grant>> {
    if req.display_name.chars().count() > DISPLAY_NAME_MAX {
        let detail = format!("must have at most {DISPLAY_NAME_MAX} characters");
        let validation = sdk::Validation { field: "display_name".to_owned(), detail };
        return Err(ApiError::invalid(vec![validation]));
    }
    let (site, user) = (raw(&req.site_permissions), raw(&req.user_permissions));
    let (org, member) =
        (raw(&req.organization_permissions), raw(&req.organization_member_permissions));
    let lists = RawPermissions { site: &site, user: &user, org: &org, member: &member };
    let names = (req.name.as_str(), req.display_name.as_str());
    Role::written_by(cx.subject(), organization, names, &lists, unknown)
        .map_err(|error| worded(&error))?;
    // Checked above: each has a kind and an action.
    let grants = org.iter().filter_map(|raw| {
        let known = Permission::parse(raw.negate, raw.resource_type, raw.action).ok()?;
        Some((known.action?, known.resource?))
    });
    let mut grants: Vec<Grant> = grants.collect();
    grants.sort_unstable();
    grants.dedup();
    Ok(grants)
}

fn worded(error: &CustomRoleError) -> ApiError {
    let message = match error {
        CustomRoleError::Reserved { .. } => "Reserved role name",
        CustomRoleError::Name => "Invalid role name",
        CustomRoleError::SitePermissions => {
            "Invalid request, not allowed to assign site wide permissions for an organization role."
        }
        CustomRoleError::UserPermissions => {
            "Invalid request, not allowed to assign user permissions for an organization role."
        }
        CustomRoleError::MemberPermissions => {
            "Invalid request, not allowed to assign organization member permissions for an organization role."
        }
        _ => UPDATE_FAILED,
    };
    ApiError::bad_request(message, error.to_string())
}

fn absent(error: ApiError, name: &str) -> ApiError {
    match error {
        ApiError::Store(Error::NotFound) => ApiError::new(
            StatusCode::NOT_FOUND,
            format!("No custom role with the name {name} found"),
        ),
        other => other,
    }
}

/// What is remembered of everybody who might hold the role is void.
async fn publish(tx: &mut Tx) -> Result<(), Error> {
    tx.run(Publish::from(Voided::All)).await
}
