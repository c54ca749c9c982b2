//! What is set for an organization, who may do what in it, and whom that is given to.

mod members;
mod roles;
mod sharing;

use http::StatusCode;
use rbac::{Action, Object, RawPermission, Resource, Role, RoleName};
use store::custom_roles::CustomRole;
use store::organizations::{GetByName, GetDefault, GetOrganization, Organization};
use store::{Denial, Error};
use utoipa_axum::routes;
use uuid::Uuid;

use crate::cx::Cx;
use crate::error::{ApiError, ApiResult};
use crate::routes::Routes;

pub(crate) use members::told;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .routes(routes!(roles::list, roles::create, roles::update))
        .routes(routes!(roles::delete))
        .routes(routes!(members::update_roles))
        .routes(routes!(sharing::get, sharing::update))
}

impl Cx {
    /// The organization that a path names: a UUID, a name or `default`.
    pub(crate) async fn organization(&self, name: &str) -> ApiResult<Organization> {
        let found = match Uuid::parse_str(name) {
            _ if name == "default" => self.run(GetDefault).await,
            Ok(id) => self.run(GetOrganization { id: stdx::ids::OrganizationId::new(id) }).await,
            Err(_) => self.run(GetByName { name: name.to_owned() }).await,
        };
        Ok(found?)
    }

    /// The same for routes that say 403 of one that may not be read: they say it of one that does not exist as
    /// well, unless the caller may read all.
    pub(crate) async fn organization_or_forbidden(&self, name: &str) -> ApiResult<Organization> {
        match self.organization(name).await {
            Err(ApiError::Store(Error::NotFound))
                if !self.allows(Action::Read, &Object::new(Resource::Organization)) =>
            {
                let (action, resource) = (Action::Read, Resource::Organization);
                let denial = Denial { action, resource, readable: false };
                Err(ApiError::Forbidden(Error::Denied(denial)))
            }
            found => found.map_err(ApiError::forbidding),
        }
    }
}

/// A refusal of the rules for roles, in their own words.
pub(crate) fn refused(message: &str, why: &dyn std::error::Error) -> ApiError {
    ApiError::bad_request(message, why.to_string())
}

/// A refusal to somebody who may know that there are roles.
pub(crate) fn not_allowed(action: Action, resource: Resource) -> ApiError {
    Error::Denied(Denial { action, resource, readable: true }).into()
}

pub(crate) fn forbidden_by_self(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, message)
}

/// Permissions as they are asked for.
pub(crate) fn raw(permissions: &[sdk::Permission]) -> Vec<RawPermission<'_>> {
    let raw = permissions.iter().map(|permission| RawPermission {
        negate: permission.negate,
        resource_type: &permission.resource_type,
        action: &permission.action,
    });
    raw.collect()
}

fn shown(permissions: Vec<rbac::Permission>) -> Vec<sdk::Permission> {
    let shown = permissions.into_iter().map(|permission| sdk::Permission {
        negate: permission.negate,
        resource_type: permission.resource.map_or("*", rbac::Resource::as_str).to_owned(),
        action: permission.action.map_or("*", rbac::Action::as_str).to_owned(),
    });
    shown.collect()
}

/// A built-in role as the wire has it.
pub(crate) fn built_in(role: &Role, assignable: bool) -> sdk::AssignableRole {
    sdk::AssignableRole {
        role: sdk::Role {
            name: role.name().name().to_owned(),
            organization_id: role.name().org().map_or_else(String::new, |org| org.to_string()),
            display_name: role.display_name().to_owned(),
            site_permissions: shown(role.site_permissions()),
            user_permissions: shown(role.user_permissions()),
            organization_permissions: shown(role.org_permissions()),
            organization_member_permissions: shown(role.member_permissions()),
        },
        assignable,
        built_in: true,
    }
}

/// A role of people as the wire has it, as it was written.
pub(crate) fn custom(row: CustomRole) -> sdk::Role {
    let shown = |permissions: store::custom_roles::Permissions| {
        let shown = permissions.0.into_iter().map(|stored| sdk::Permission {
            negate: stored.negate,
            resource_type: stored.resource_type,
            action: stored.action,
        });
        shown.collect()
    };
    sdk::Role {
        name: row.name,
        organization_id: row.organization_id.0.to_string(),
        display_name: row.display_name,
        site_permissions: Vec::new(),
        user_permissions: Vec::new(),
        organization_permissions: shown(row.org_permissions),
        organization_member_permissions: shown(row.member_permissions),
    }
}

/// Roles of an organization as they are given.
pub(crate) fn names(roles: &[String], organization: stdx::ids::OrganizationId) -> Vec<RoleName> {
    roles.iter().map(|role| RoleName::in_org(role.clone(), organization)).collect()
}
