//! A change of somebody's roles: both checks, for everything that is added or removed.

use stdx::ids::OrganizationId;

use crate::action::Action;
use crate::object::Object;
use crate::resource::Resource;
use crate::role_name::RoleName;
use crate::roles;
use crate::subject::{Denied, Subject};

/// What a change of roles amounts to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoleChange {
    /// Roles that are new, sorted.
    pub added: Vec<RoleName>,
    /// Roles that are no longer there, sorted; retired ones included.
    pub removed: Vec<RoleName>,
}

/// Why a change of roles is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RoleChangeError {
    /// A role of an organization among those of a user.
    #[error("Must only update site wide roles")]
    NotOfSite,
    /// A role of the deployment among those of a membership.
    #[error("Must only update org roles")]
    NotOfOrg,
    /// A role of another organization.
    #[error("attempted to assign role from a different org, role {role} to {org:?}", org = .org.to_string())]
    OtherOrg {
        /// The role.
        role: RoleName,
        /// The organization of the membership.
        org: OrganizationId,
    },
    /// A role that does not exist.
    #[error("{:?} is not a supported role", .0.to_string())]
    Unsupported(RoleName),
    /// The actor may not give or take roles at all.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The actor may not give or take this role.
    #[error("not authorized to assign role {:?}", .0.to_string())]
    NotAssignable(RoleName),
}

impl Subject {
    /// Checks that the subject may change somebody's roles from `old` to `new`: those of the deployment,
    /// or with `org` those of a membership. `exists` tells whether a custom role exists.
    ///
    /// Both checks are made: the action `assign` if something is added and `unassign` if something is
    /// removed, and the assignment table for each role. Retired names may go, and never come. Whether the
    /// roles are the subject's own is the caller's question.
    ///
    /// # Errors
    /// The first reason against it, see [`RoleChangeError`].
    pub fn check_role_change(
        &self,
        org: Option<OrganizationId>,
        old: &[RoleName],
        new: &[RoleName],
        exists: impl Fn(&RoleName) -> bool,
    ) -> Result<RoleChange, RoleChangeError> {
        let change = RoleChange { added: missing_from(new, old), removed: missing_from(old, new) };
        for role in change.added.iter().chain(&change.removed) {
            match (org, role.org()) {
                (None, Some(_)) => return Err(RoleChangeError::NotOfSite),
                (Some(_), None) => return Err(RoleChangeError::NotOfOrg),
                (Some(org), Some(of)) if org != of => {
                    return Err(RoleChangeError::OtherOrg { role: role.clone(), org });
                }
                _ => {}
            }
        }
        for role in &change.added {
            let known = roles::is_built_in(role.name())
                || (!roles::is_reserved(role.name()) && exists(role));
            if !known {
                return Err(RoleChangeError::Unsupported(role.clone()));
            }
        }
        let object = match org {
            None => Object::new(Resource::AssignRole),
            Some(org) => Object::new(Resource::AssignOrgRole).in_org(org),
        };
        if !change.added.is_empty() {
            self.authorize(Action::Assign, &object)?;
        }
        if !change.removed.is_empty() {
            self.authorize(Action::Unassign, &object)?;
        }
        let removed = change.removed.iter().filter(|role| !roles::is_retired(role.name()));
        match change.added.iter().chain(removed).find(|role| !self.can_assign(role)) {
            Some(role) => Err(RoleChangeError::NotAssignable(role.clone())),
            None => Ok(change),
        }
    }
}

/// The names that are not among the others, sorted, each once.
fn missing_from(names: &[RoleName], others: &[RoleName]) -> Vec<RoleName> {
    let mut missing: Vec<RoleName> =
        names.iter().filter(|role| !others.contains(role)).cloned().collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Catalog, Scope, SubjectBuilder};
    use stdx::ids::UserId;
    use uuid::Uuid;

    const A: OrganizationId = OrganizationId::new(Uuid::from_u128(10));
    const B: OrganizationId = OrganizationId::new(Uuid::from_u128(11));

    fn actor(role: &str, org: Option<OrganizationId>, scope: &str) -> Subject {
        let builder = SubjectBuilder::user(UserId::new(Uuid::from_u128(1)));
        match org {
            Some(org) => builder.org_role(org, role),
            None => builder.site_role(role),
        }
        .scope(Scope::parse_names(&[scope]).unwrap())
        .compile(&Catalog::default())
        .unwrap()
    }

    fn names(org: Option<OrganizationId>, texts: &[&'static str]) -> Vec<RoleName> {
        let name = |text: &&'static str| match org {
            Some(org) => RoleName::in_org(*text, org),
            None => RoleName::site(*text),
        };
        texts.iter().map(name).collect()
    }

    #[test]
    fn both_checks_must_pass_for_everything_that_changes() {
        let owner = actor("owner", None, "coder:all");
        let user_admin = actor("user-admin", None, "coder:all");
        let admin = actor("organization-admin", Some(A), "coder:all");
        let reader = actor("owner", None, "assign_role:read");
        let assigner = actor("owner", None, "assign_role:assign");
        let member = actor("member", None, "coder:all");
        for (actor, org, old, new, refused) in [
            (&owner, None, &["auditor"][..], &["user-admin", "mine"][..], None),
            (&owner, None, &[], &[], None),
            (&member, None, &["auditor"], &["auditor"], None),
            (&owner, None, &[], &["gone"], Some(r#""gone" is not a supported role"#)),
            (
                &owner,
                None,
                &[],
                &["agents-access"],
                Some(r#""agents-access" is not a supported role"#),
            ),
            (&owner, None, &["agents-access", "owner"], &["owner"], None),
            (&owner, None, &["gone"], &[], None),
            (
                &owner,
                None,
                &[],
                &["organization-admin"],
                Some(r#"not authorized to assign role "organization-admin""#),
            ),
            (&user_admin, None, &[], &["owner"], Some(r#"not authorized to assign role "owner""#)),
            (&user_admin, None, &["owner"], &[], Some(r#"not authorized to assign role "owner""#)),
            (&user_admin, None, &["owner"], &["owner", "member"], None),
            (&member, None, &[], &["auditor"], Some("not allowed to assign assign_role")),
            (&member, None, &["auditor"], &[], Some("not allowed to unassign assign_role")),
            (&reader, None, &[], &["auditor"], Some("not allowed to assign assign_role")),
            (&assigner, None, &[], &["auditor"], None),
            (&assigner, None, &["auditor"], &[], Some("not allowed to unassign assign_role")),
            (&admin, Some(A), &[], &["organization-auditor", "mine"], None),
            (
                &admin,
                Some(A),
                &[],
                &["owner"],
                Some(
                    r#"not authorized to assign role "owner:00000000-0000-0000-0000-00000000000a""#,
                ),
            ),
            (
                &admin,
                Some(A),
                &[],
                &["organization-service-account"],
                Some(
                    r#"not authorized to assign role "organization-service-account:00000000-0000-0000-0000-00000000000a""#,
                ),
            ),
            (
                &admin,
                Some(B),
                &[],
                &["organization-auditor"],
                Some("not allowed to assign assign_org_role"),
            ),
            (
                &user_admin,
                Some(B),
                &["organization-auditor"],
                &["organization-workspace-access"],
                Some(
                    r#"not authorized to assign role "organization-auditor:00000000-0000-0000-0000-00000000000b""#,
                ),
            ),
        ] {
            let exists = |role: &RoleName| role.name() == "mine";
            let (old, new) = (names(org, old), names(org, new));
            let seen = actor.check_role_change(org, &old, &new, exists);
            assert_eq!(seen.err().map(|e| e.to_string()).as_deref(), refused, "{old:?} {new:?}");
        }
    }

    #[test]
    fn roles_belong_where_they_are_given() {
        let owner = actor("owner", None, "coder:all");
        let (site, of_a) = (names(None, &["auditor"]), names(Some(A), &["organization-auditor"]));
        for (org, new, error) in [
            (None, &of_a, "Must only update site wide roles".to_owned()),
            (Some(A), &site, "Must only update org roles".to_owned()),
            (
                Some(B),
                &of_a,
                format!(
                    "attempted to assign role from a different org, role {} to \"{B}\"",
                    of_a[0]
                ),
            ),
        ] {
            let seen = owner.check_role_change(org, &[], new, |_| true).unwrap_err();
            assert_eq!(seen.to_string(), error);
        }
    }

    #[test]
    fn the_change_is_told_sorted_and_once() {
        let owner = actor("owner", None, "coder:all");
        let old = names(None, &["owner", "auditor", "auditor"]);
        let new = names(None, &["user-admin", "member", "member", "owner"]);
        let change = owner.check_role_change(None, &old, &new, |_| false).unwrap();
        assert_eq!(change.added, names(None, &["member", "user-admin"]));
        assert_eq!(change.removed, names(None, &["auditor"]));
    }
}
