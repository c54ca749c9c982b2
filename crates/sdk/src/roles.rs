use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{SlimRole, Timestamp};

/// What a role allows or forbids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Permission {
    /// Forbids instead of allowing.
    #[serde(default)]
    pub negate: bool,
    /// A kind of resource, or `*`.
    #[serde(default)]
    pub resource_type: String,
    /// An action, or `*`.
    #[serde(default)]
    pub action: String,
}

/// A role with all that it grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Role {
    /// Name, unique in its organization.
    pub name: String,
    /// Left out for roles of the deployment.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub organization_id: String,
    /// Name for people.
    pub display_name: String,
    /// On every object.
    pub site_permissions: Vec<Permission>,
    /// On the holder's objects outside organizations.
    pub user_permissions: Vec<Permission>,
    /// On every object of the organization.
    pub organization_permissions: Vec<Permission>,
    /// On the holder's objects in the organization.
    pub organization_member_permissions: Vec<Permission>,
}

/// A role, and what the caller may do with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AssignableRole {
    /// The role.
    #[serde(flatten)]
    pub role: Role,
    /// Whether the caller may give and take it.
    pub assignable: bool,
    /// Whether it comes with the product.
    pub built_in: bool,
}

/// `POST` and `PUT /api/v2/organizations/{organization}/members/roles`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CustomRoleRequest {
    /// 1 to 32 letters and digits, with single hyphens between them.
    pub name: String,
    /// At most 64 characters.
    #[serde(default)]
    pub display_name: String,
    /// Must be empty.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub site_permissions: Vec<Permission>,
    /// What holders may do in the organization; the caller has to hold each.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub organization_permissions: Vec<Permission>,
    /// Must be empty.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub user_permissions: Vec<Permission>,
    /// Must be empty.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub organization_member_permissions: Vec<Permission>,
}

/// `PUT /api/v2/users/{user}/roles` and `PUT /api/v2/organizations/{organization}/members/{user}/roles`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpdateRoles {
    /// All that are held from now on.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub roles: Vec<String>,
}

/// `GET /api/v2/users/{user}/roles`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserRoles {
    /// Of the deployment, the implied `member` left out.
    pub roles: Vec<String>,
    /// By organization.
    pub organization_roles: BTreeMap<Uuid, Vec<String>>,
}

/// A membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "named by the wire")]
pub struct OrganizationMember {
    pub user_id: Uuid,
    pub organization_id: Uuid,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub roles: Vec<SlimRole>,
}

/// Whose workspaces may be shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceSharingSettings {
    /// Sharing is off for the whole deployment, whatever the organization says.
    pub sharing_globally_disabled: bool,
    /// Deprecated: whether nobody's may.
    pub sharing_disabled: bool,
    /// `none`, `everyone` or `service_accounts`.
    pub shareable_workspace_owners: String,
}

/// `PATCH /api/v2/organizations/{organization}/settings/workspace-sharing`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UpdateWorkspaceSharingSettings {
    /// Deprecated: counts only without the other field; `true` means `none`, `false` means `everyone`.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub sharing_disabled: bool,
    /// `none`, `everyone` or `service_accounts`.
    #[serde(default, deserialize_with = "crate::null_is_default")]
    pub shareable_workspace_owners: String,
}
