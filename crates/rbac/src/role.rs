//! Roles as values: a name and what it grants at each level.

use std::borrow::Cow;
use std::sync::Arc;

use crate::permission::{Grants, OrgGrants, Permission};
use crate::role_name::RoleName;
use crate::roles;

/// What a role grants, compiled. Shared by all subjects and organizations that hold the role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RoleTable {
    /// On every object.
    pub(crate) site: Grants,
    /// On objects of the subject outside organizations.
    pub(crate) user: Grants,
    /// In the organization of the role.
    pub(crate) in_org: OrgGrants,
}

/// Permission lists by level, as custom roles and scopes are stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct PermissionLists<'a> {
    /// On every object.
    pub site: &'a [Permission],
    /// On objects that the subject owns and that are in no organization.
    pub user: &'a [Permission],
    /// On every object of the organization.
    pub org: &'a [Permission],
    /// On objects of the organization that the subject owns.
    pub member: &'a [Permission],
}

impl PermissionLists<'_> {
    pub(crate) fn compile(&self) -> RoleTable {
        RoleTable {
            site: Grants::from_permissions(self.site),
            user: Grants::from_permissions(self.user),
            in_org: OrgGrants {
                org: Grants::from_permissions(self.org),
                member: Grants::from_permissions(self.member),
            },
        }
    }

    /// The first permission that names an action which its kind does not declare, with its level.
    pub(crate) fn undeclared(&self) -> Option<(&'static str, Permission)> {
        [("site", self.site), ("user", self.user), ("org", self.org), ("member", self.member)]
            .into_iter()
            .find_map(|(level, list)| {
                let bad = list.iter().find(|permission| !permission.is_declared())?;
                Some((level, *bad))
            })
    }
}

/// A role: built in (from a [`Catalog`](crate::Catalog)) or custom. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Role {
    name: RoleName,
    display_name: Cow<'static, str>,
    table: Arc<RoleTable>,
}

/// Why permission lists make no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleError {
    /// A built-in, retired or internal name.
    #[error("{name:?} is a reserved role name, and not allowed to be used")]
    Reserved {
        /// The name without organization.
        name: String,
    },
    /// An action that the kind does not declare.
    #[error("invalid role: {level}: action {:?} is not declared for {:?}", .permission.action.map_or("*", crate::Action::as_str), .permission.resource.map_or("*", crate::Resource::as_str))]
    Undeclared {
        /// `site`, `user`, `org` or `member`.
        level: &'static str,
        /// The offending permission.
        permission: Permission,
    },
    /// Organization or member permissions in a role without organization.
    #[error("role {name}: organization permissions need a role of an organization")]
    NoOrganization {
        /// The role.
        name: RoleName,
    },
}

impl Role {
    /// Makes a custom role. Holding a role of an organization makes the holder a member of it, even if
    /// the lists are empty.
    ///
    /// Who may write which permissions into a role is decided where roles are stored, not here.
    ///
    /// # Errors
    /// See [`RoleError`]; nothing is dropped or repaired.
    pub fn custom(
        name: RoleName,
        display_name: impl Into<Cow<'static, str>>,
        permissions: &PermissionLists<'_>,
    ) -> Result<Self, RoleError> {
        if roles::is_reserved(name.name()) {
            return Err(RoleError::Reserved { name: name.name().to_owned() });
        }
        if let Some((level, permission)) = permissions.undeclared() {
            return Err(RoleError::Undeclared { level, permission });
        }
        if name.org().is_none() && !(permissions.org.is_empty() && permissions.member.is_empty()) {
            return Err(RoleError::NoOrganization { name });
        }
        Ok(Self::from_table(name, display_name.into(), Arc::new(permissions.compile())))
    }

    pub(crate) const fn from_table(
        name: RoleName,
        display_name: Cow<'static, str>,
        table: Arc<RoleTable>,
    ) -> Self {
        Self { name, display_name, table }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &RoleName {
        &self.name
    }

    /// The name for people; empty for roles that are only implied.
    #[must_use]
    pub fn display_name(&self) -> &str {
        &self.display_name
    }

    /// The permissions on every object, sorted; all declared actions of a kind become one wildcard.
    #[must_use]
    pub fn site_permissions(&self) -> Vec<Permission> {
        self.table.site.permissions()
    }

    /// The permissions on the holder's objects outside organizations; sorted and folded alike.
    #[must_use]
    pub fn user_permissions(&self) -> Vec<Permission> {
        self.table.user.permissions()
    }

    /// The permissions on every object of the role's organization; sorted and folded alike.
    #[must_use]
    pub fn org_permissions(&self) -> Vec<Permission> {
        self.table.in_org.org.permissions()
    }

    /// The permissions on the holder's objects in the role's organization; sorted and folded alike.
    #[must_use]
    pub fn member_permissions(&self) -> Vec<Permission> {
        self.table.in_org.member.permissions()
    }

    pub(crate) fn table(&self) -> &RoleTable {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Resource};
    use stdx::ids::OrganizationId;
    use uuid::Uuid;

    #[test]
    fn a_custom_role_cannot_take_a_reserved_name() {
        let org = OrganizationId::new(Uuid::from_u128(1));
        for name in [
            "owner",
            "organization-admin",
            "organization-member",
            "agents-access",
            "custom-site-role",
            "system",
            "bootstrap",
        ] {
            for name in [RoleName::site(name), RoleName::in_org(name, org)] {
                let made = Role::custom(name.clone(), "", &PermissionLists::default());
                assert!(matches!(made, Err(RoleError::Reserved { .. })), "{name}");
            }
        }
    }

    #[test]
    fn undeclared_actions_and_homeless_organization_permissions_are_refused() {
        let ssh_a_file = [Permission::allow(Resource::File, Action::Ssh)];
        let lists = PermissionLists { user: &ssh_a_file, ..PermissionLists::default() };
        let error = Role::custom(RoleName::site("x"), "", &lists).unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"invalid role: user: action "ssh" is not declared for "file""#
        );

        let read = [Permission::allow(Resource::File, Action::Read)];
        for lists in [
            PermissionLists { org: &read, ..PermissionLists::default() },
            PermissionLists { member: &read, ..PermissionLists::default() },
        ] {
            let made = Role::custom(RoleName::site("x"), "", &lists);
            assert!(matches!(made, Err(RoleError::NoOrganization { .. })));
        }
    }

    #[test]
    fn permissions_come_back_sorted_and_folded() {
        let lists = PermissionLists {
            site: &[
                Permission::allow(Resource::File, Action::Read),
                Permission::allow(Resource::Chat, Action::Read),
                Permission::allow(Resource::File, Action::Create),
                Permission::allow_all(Resource::Group).negated(),
            ],
            ..PermissionLists::default()
        };
        let role = Role::custom(RoleName::site("x"), "X", &lists).unwrap();
        let shown: Vec<_> = role.site_permissions().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["chat:read", "file:*", "!group:*"]);
        assert!(role.user_permissions().is_empty() && role.org_permissions().is_empty());
    }
}
