//! Roles as values: a name and what it grants at each level.

mod custom;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use stdx::ids::OrganizationId;

use crate::action::Action;
use crate::permission::{Grants, OrgGrants, Permission};
use crate::resource::Resource;
use crate::role_name::RoleName;
use crate::roles;

pub use custom::{CustomRoleError, RawPermission, RawPermissions, Unknown, check_role_name};

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

    /// Every permission that names an action which its kind does not declare, with its level.
    pub(crate) fn undeclared(&self, org: Option<OrganizationId>) -> Vec<Undeclared> {
        let within = |level: &str| match org {
            Some(org) => format!("org=\"{org}\": {level}"),
            None => level.to_owned(),
        };
        [
            ("site".to_owned(), self.site),
            (within("org"), self.org),
            (within("member"), self.member),
            ("user".to_owned(), self.user),
        ]
        .into_iter()
        .flat_map(|(level, list)| {
            list.iter()
                .filter(|permission| !permission.is_declared())
                .map(move |permission| Undeclared { level: level.clone(), permission: *permission })
        })
        .collect()
    }

    /// Whether two sets of lists grant and forbid the same, order, duplicates and wildcards aside: whether
    /// a stored role has to be written anew.
    #[must_use]
    pub fn same_as(&self, other: &PermissionLists<'_>) -> bool {
        self.compile() == other.compile()
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
    /// A name that is empty, longer than 255 bytes, or has a colon.
    #[error("role name {name:?} must have 1 to 255 bytes and no colon")]
    Name {
        /// The name, cut to 64 bytes.
        name: String,
    },
    /// Actions that their kinds do not declare.
    #[error("invalid role: {}", joined(.0))]
    Undeclared(Vec<Undeclared>),
    /// Organization or member permissions in a role without organization.
    #[error("role {name}: organization permissions need a role of an organization")]
    NoOrganization {
        /// The role.
        name: RoleName,
    },
}

/// A permission that names an action which its kind does not declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeclared {
    /// Where it stands: `site`, `user`, `org="<id>": org` or `org="<id>": member`.
    pub level: String,
    /// The offending permission.
    pub permission: Permission,
}

impl fmt::Display for Undeclared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Permission { resource, action, .. } = self.permission;
        let action = action.map_or("*", Action::as_str);
        let resource = resource.map_or("*", Resource::as_str);
        write!(f, "{}: action {action:?} is not declared for {resource:?}", self.level)
    }
}

fn joined(faults: &[Undeclared]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Most bytes of a role's name that storage takes.
const NAME_BYTES_MAX: usize = 255;

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
        let text = name.name();
        if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains(':') {
            return Err(RoleError::Name { name: stdx::cut(text, 64).to_owned() });
        }
        if roles::is_reserved(text) {
            return Err(RoleError::Reserved { name: text.to_owned() });
        }
        let undeclared = permissions.undeclared(name.org());
        if !undeclared.is_empty() {
            return Err(RoleError::Undeclared(undeclared));
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

    pub(crate) const fn shared_table(&self) -> &Arc<RoleTable> {
        &self.table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            "Owner",
            "Organization-Admin",
        ] {
            for name in [RoleName::site(name), RoleName::in_org(name, org)] {
                let made = Role::custom(name.clone(), "", &PermissionLists::default());
                assert!(matches!(made, Err(RoleError::Reserved { .. })), "{name}");
            }
        }
    }

    #[test]
    fn names_that_storage_could_misread_are_refused() {
        let org = OrganizationId::new(Uuid::from_u128(1));
        for name in ["", "a:b", "organization-admin:00000000-0000-0000-0000-000000000001"]
            .map(str::to_owned)
            .into_iter()
            .chain(["x".repeat(256)])
        {
            for name in [RoleName::site(name.clone()), RoleName::in_org(name, org)] {
                let made = Role::custom(name.clone(), "", &PermissionLists::default());
                assert!(matches!(made, Err(RoleError::Name { .. })), "{name}");
            }
        }
    }

    #[test]
    fn every_fault_is_told_with_its_level() {
        let org = OrganizationId::new(Uuid::from_u128(1));
        let bad = [
            Permission::allow(Resource::File, Action::Ssh),
            Permission::allow(Resource::File, Action::Read),
            Permission::allow(Resource::Chat, Action::Use).negated(),
        ];
        let lists = PermissionLists { org: &bad, member: &bad[..1], ..PermissionLists::default() };
        let error = Role::custom(RoleName::in_org("x", org), "", &lists).unwrap_err();
        let at = format!("org=\"{org}\"");
        assert_eq!(
            error.to_string(),
            format!(
                "invalid role: {at}: org: action \"ssh\" is not declared for \"file\"; \
                 {at}: org: action \"use\" is not declared for \"chat\"; \
                 {at}: member: action \"ssh\" is not declared for \"file\""
            )
        );
    }

    fn at_org(org: &[Permission]) -> PermissionLists<'_> {
        PermissionLists { org, ..PermissionLists::default() }
    }

    #[test]
    fn lists_are_compared_by_what_they_grant() {
        let one = [Permission::allow_all(Resource::File)];
        let other = [
            Permission::allow(Resource::File, Action::Read),
            Permission::allow(Resource::File, Action::Create),
            Permission::allow(Resource::File, Action::Read),
        ];
        let negated = [one[0].negated()];
        assert!(at_org(&one).same_as(&at_org(&other)));
        assert!(!at_org(&one).same_as(&at_org(&other[..1])));
        assert!(!at_org(&one).same_as(&at_org(&negated)));
        let at_member = PermissionLists { member: &one, ..PermissionLists::default() };
        assert!(!at_org(&one).same_as(&at_member));
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
