//! Roles that people write: what may be in them, and who may grant it.

use stdx::ids::OrganizationId;

use super::{PermissionLists, Role, RoleError};
use crate::object::Object;
use crate::permission::{Permission, PermissionError};
use crate::role_name::RoleName;
use crate::roles;
use crate::subject::Subject;

/// A permission in text, as it is stored and sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RawPermission<'a> {
    /// Forbids instead of allowing.
    pub negate: bool,
    /// The kind of resource or `*`.
    pub resource_type: &'a str,
    /// The action or `*`.
    pub action: &'a str,
}

/// Lists of [`RawPermission`] by level.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawPermissions<'a> {
    /// On every object.
    pub site: &'a [RawPermission<'a>],
    /// On objects of the holder outside organizations.
    pub user: &'a [RawPermission<'a>],
    /// On every object of the organization.
    pub org: &'a [RawPermission<'a>],
    /// On objects of the organization that the holder owns.
    pub member: &'a [RawPermission<'a>],
}

/// What becomes of permissions that do not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unknown {
    /// They are an error: for new roles.
    Refuse,
    /// They are left out: for roles from before, which must stay editable.
    Drop,
}

/// Why somebody may not write this role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomRoleError {
    /// A built-in, retired or internal name.
    #[error("{name:?} is a reserved role name, and not allowed to be used")]
    Reserved {
        /// The name.
        name: String,
    },
    /// A name of another form.
    #[error("a role name is 1 to 32 letters and digits, with single hyphens between them")]
    Name,
    /// Site permissions in a role of an organization.
    #[error("organization scoped roles may not contain site wide permissions")]
    SitePermissions,
    /// User permissions in a role of an organization.
    #[error("organization scoped roles may not contain user permissions")]
    UserPermissions,
    /// Member permissions, which only implied roles have.
    #[error("organization scoped roles may not contain organization member permissions")]
    MemberPermissions,
    /// A kind or action that does not exist, or not together.
    #[error("invalid role: org=\"{org}\": org {reason}")]
    Invalid {
        /// The organization of the role.
        org: OrganizationId,
        /// What is wrong.
        reason: PermissionError,
    },
    /// A forbidding permission.
    #[error("{}, no negative permissions", invalid(*.0))]
    Negative(Permission),
    /// A wildcard, which would grow with the next release.
    #[error("{}, no wildcard symbols", invalid(*.0))]
    Wildcard(Permission),
    /// A permission that its writer does not hold throughout the organization.
    #[error("{}, not allowed to grant this permission", invalid(*.0))]
    Escalation(Permission),
    /// What remains a fault of the role itself.
    #[error(transparent)]
    Role(#[from] RoleError),
}

fn invalid(permission: Permission) -> String {
    let action = permission.action.map_or("*", crate::Action::as_str);
    let resource = permission.resource.map_or("*", crate::Resource::as_str);
    format!("invalid permission for action={action:?} type={resource:?}")
}

/// Checks a name that somebody chooses for a role.
///
/// # Errors
/// A reserved name, or one of another form than 1 to 32 ASCII letters and digits with single hyphens
/// between them.
pub fn check_role_name(name: &str) -> Result<(), CustomRoleError> {
    if roles::is_reserved(name) {
        return Err(CustomRoleError::Reserved { name: name.to_owned() });
    }
    let parts_are_fine = name
        .split('-')
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    if parts_are_fine && name.len() <= 32 { Ok(()) } else { Err(CustomRoleError::Name) }
}

impl Role {
    /// Makes the role that `actor` writes for an organization. Whether the actor may write roles there at
    /// all (`create`, `update` on [`AssignOrgRole`](crate::Resource::AssignOrgRole)) is asked separately.
    ///
    /// Such a role has permissions at the organization's level only, none of them forbidding or with a
    /// wildcard, and each held by the actor on every object of the organization.
    ///
    /// # Errors
    /// The first fault, see [`CustomRoleError`].
    pub fn written_by(
        actor: &Subject,
        org: OrganizationId,
        (name, display_name): (&str, &str),
        lists: &RawPermissions<'_>,
        unknown: Unknown,
    ) -> Result<Self, CustomRoleError> {
        check_role_name(name)?;
        if !lists.site.is_empty() {
            return Err(CustomRoleError::SitePermissions);
        }
        if !lists.user.is_empty() {
            return Err(CustomRoleError::UserPermissions);
        }
        if !lists.member.is_empty() {
            return Err(CustomRoleError::MemberPermissions);
        }
        let mut granted = Vec::with_capacity(lists.org.len());
        for raw in lists.org {
            match Permission::parse(raw.negate, raw.resource_type, raw.action) {
                Ok(permission) => {
                    check_grant(actor, org, permission)?;
                    granted.push(permission);
                }
                Err(_) if unknown == Unknown::Drop => {}
                Err(reason) => return Err(CustomRoleError::Invalid { org, reason }),
            }
        }
        let lists = PermissionLists { org: &granted, ..PermissionLists::default() };
        let name = RoleName::in_org(name.to_owned(), org);
        Ok(Self::custom(name, display_name.to_owned(), &lists)?)
    }

    /// Makes a role of what is stored. A permission that no longer exists grants nothing and is handed
    /// back, so that one odd line narrows its role instead of failing its holders. Report them once.
    ///
    /// # Errors
    /// As [`Self::custom`].
    pub fn from_stored(
        name: RoleName,
        display_name: &str,
        lists: &RawPermissions<'_>,
    ) -> Result<(Self, Vec<PermissionError>), RoleError> {
        let mut gone = Vec::new();
        let mut known = |list: &[RawPermission<'_>]| -> Vec<Permission> {
            list.iter()
                .filter_map(|raw| {
                    Permission::parse(raw.negate, raw.resource_type, raw.action)
                        .map_err(|error| gone.push(error))
                        .ok()
                })
                .collect()
        };
        let (site, user) = (known(lists.site), known(lists.user));
        let (org, member) = (known(lists.org), known(lists.member));
        let lists = PermissionLists { site: &site, user: &user, org: &org, member: &member };
        Ok((Self::custom(name, display_name.to_owned(), &lists)?, gone))
    }
}

fn check_grant(
    actor: &Subject,
    org: OrganizationId,
    permission: Permission,
) -> Result<(), CustomRoleError> {
    if permission.negate {
        return Err(CustomRoleError::Negative(permission));
    }
    let (Some(resource), Some(action)) = (permission.resource, permission.action) else {
        return Err(CustomRoleError::Wildcard(permission));
    };
    actor
        .authorize(action, &Object::new(resource).in_org(org))
        .map_err(|_| CustomRoleError::Escalation(permission))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, Scope, SubjectBuilder};
    use stdx::ids::UserId;
    use uuid::Uuid;

    const ORG: OrganizationId = OrganizationId::new(Uuid::from_u128(10));

    fn admin(scope: &str) -> Subject {
        SubjectBuilder::user(UserId::new(Uuid::from_u128(1)))
            .org_role(ORG, "organization-admin")
            .scope(Scope::parse_names(&[scope]).unwrap())
            .compile(&Catalog::default())
            .unwrap()
    }

    fn raw(text: &'static str) -> RawPermission<'static> {
        let (resource_type, action) = text.trim_start_matches('!').split_once(':').unwrap();
        RawPermission { negate: text.starts_with('!'), resource_type, action }
    }

    fn write(actor: &Subject, org: &[RawPermission<'_>]) -> Result<Role, CustomRoleError> {
        let lists = RawPermissions { org, ..RawPermissions::default() };
        Role::written_by(actor, ORG, ("mine", "Mine"), &lists, Unknown::Refuse)
    }

    #[test]
    fn names_have_one_form() {
        let long = "x".repeat(33);
        for bad in ["", "-", "a-", "-a", "a--b", "a_b", "a b", "ä", "a:b", long.as_str()] {
            assert_eq!(check_role_name(bad), Err(CustomRoleError::Name), "{bad:?}");
        }
        for taken in ["owner", "Owner", "organization-member", "agents-access", "system"] {
            let error = check_role_name(taken).unwrap_err().to_string();
            let told = format!("{taken:?} is a reserved role name, and not allowed to be used");
            assert_eq!(error, told);
        }
        for fine in ["a", "9", "My-Role-2", &long[..32]] {
            assert_eq!(check_role_name(fine), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn a_role_with_what_it_must_not_have_is_refused() {
        let admin = admin("coder:all");
        for (permission, message) in [
            (
                "!template:read",
                r#"invalid permission for action="read" type="template", no negative permissions"#,
            ),
            (
                "template:*",
                r#"invalid permission for action="*" type="template", no wildcard symbols"#,
            ),
            ("*:read", r#"invalid permission for action="read" type="*", no wildcard symbols"#),
            (
                "workspace:ssh",
                r#"invalid permission for action="ssh" type="workspace", not allowed to grant this permission"#,
            ),
            (
                "user_secret:read",
                r#"invalid permission for action="read" type="user_secret", not allowed to grant this permission"#,
            ),
            (
                "task:read",
                r#"invalid role: org="00000000-0000-0000-0000-00000000000a": org unknown resource type "task""#,
            ),
            (
                "file:fly",
                r#"invalid role: org="00000000-0000-0000-0000-00000000000a": org unknown action "fly""#,
            ),
            (
                "file:ssh",
                r#"invalid role: org="00000000-0000-0000-0000-00000000000a": org action "ssh" is not declared for "file""#,
            ),
        ] {
            let error = write(&admin, &[raw("file:read"), raw(permission)]).unwrap_err();
            assert_eq!(error.to_string(), message, "{permission}");
        }
        let one = [raw("file:read")];
        let lists = RawPermissions { org: &one, ..RawPermissions::default() };
        for (lists, error) in [
            (RawPermissions { site: &one, ..lists }, CustomRoleError::SitePermissions),
            (RawPermissions { user: &one, ..lists }, CustomRoleError::UserPermissions),
            (RawPermissions { member: &one, ..lists }, CustomRoleError::MemberPermissions),
        ] {
            let made = Role::written_by(&admin, ORG, ("mine", ""), &lists, Unknown::Refuse);
            assert_eq!(made.unwrap_err(), error);
        }
    }

    #[test]
    fn nobody_grants_more_than_the_credential_may() {
        let made = write(&admin("coder:all"), &[raw("template:update")]).unwrap();
        assert_eq!(made.org_permissions()[0].to_string(), "template:update");
        assert!(made.site_permissions().is_empty() && made.member_permissions().is_empty());
        let narrow = write(&admin("template:read"), &[raw("template:update")]);
        assert!(matches!(narrow, Err(CustomRoleError::Escalation(_))));
        let elsewhere = SubjectBuilder::user(UserId::new(Uuid::from_u128(1)))
            .org_role(OrganizationId::new(Uuid::from_u128(11)), "organization-admin")
            .scope(Scope::all())
            .compile(&Catalog::default())
            .unwrap();
        assert!(matches!(
            write(&elsewhere, &[raw("template:update")]),
            Err(CustomRoleError::Escalation(_))
        ));
    }

    #[test]
    fn what_is_gone_is_left_out_of_roles_from_before() {
        let org = [raw("task:read"), raw("file:read"), raw("file:ssh")];
        let lists = RawPermissions { org: &org, ..RawPermissions::default() };
        let admin = admin("coder:all");
        let edited = Role::written_by(&admin, ORG, ("mine", ""), &lists, Unknown::Drop).unwrap();
        assert_eq!(edited.org_permissions().len(), 1);
        let name = RoleName::in_org("mine", ORG);
        let (stored, gone) = Role::from_stored(name.clone(), "", &lists).unwrap();
        assert_eq!(stored.org_permissions().len(), 1);
        assert_eq!(gone.len(), 2);
        let reserved = RoleName::in_org("owner", ORG);
        assert!(Role::from_stored(reserved, "", &lists).is_err());
        let negative = [raw("!*:*")];
        let lists = RawPermissions { member: &negative, ..RawPermissions::default() };
        let (stored, gone) = Role::from_stored(name, "", &lists).unwrap();
        assert!(gone.is_empty() && !stored.member_permissions().is_empty());
    }
}
