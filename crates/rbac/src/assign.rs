//! Who may give which role to whom, by role name.
//!
//! One of two checks that both must pass; the other is the action `assign` or `unassign`.

mod change;

use crate::role_name::RoleName;
use crate::roles::{
    CUSTOM_ORG_ROLE, CUSTOM_SITE_ROLE, MembershipKind, OrgRole, RETIRED_ROLES, SiteRole,
};

pub use change::{RoleChange, RoleChangeError};

/// One row of the assignment table.
#[derive(Clone, Copy, Debug)]
pub struct Assigner {
    /// The role that the actor holds.
    pub holder: &'static str,
    /// Whether `holder` is a role of an organization; it then counts only within that organization.
    pub of_org: bool,
    /// Roles of the deployment that it may give and take.
    pub site: &'static [&'static str],
    /// Roles of an organization that it may give and take.
    pub org: &'static [&'static str],
}

const ALL_SITE: &[&str] =
    &["owner", "member", "auditor", "template-admin", "user-admin", CUSTOM_SITE_ROLE];

const ALL_ORG: &[&str] = &[
    "organization-admin",
    "organization-member",
    "organization-auditor",
    "organization-user-admin",
    "organization-template-admin",
    "organization-workspace-creation-ban",
    "organization-workspace-access",
    CUSTOM_ORG_ROLE,
];

const PLAIN_ORG: &[&str] = &["organization-member", "organization-workspace-access"];

/// The assignment table. `organization-service-account` is in nobody's list: it is only implied.
pub const ASSIGNERS: &[Assigner] = &[
    Assigner { holder: "owner", of_org: false, site: ALL_SITE, org: ALL_ORG },
    Assigner { holder: "system", of_org: false, site: ALL_SITE, org: ALL_ORG },
    // Makes the first user, who is an owner and belongs to the first organization.
    Assigner { holder: "bootstrap", of_org: false, site: &["owner", "member"], org: PLAIN_ORG },
    // What a user that an identity provider names starts with.
    Assigner { holder: "scim", of_org: false, site: &["member"], org: PLAIN_ORG },
    Assigner { holder: "user-admin", of_org: false, site: &["member"], org: PLAIN_ORG },
    Assigner { holder: "organization-admin", of_org: true, site: &[], org: ALL_ORG },
    Assigner { holder: "organization-user-admin", of_org: true, site: &[], org: PLAIN_ORG },
];

/// Whether a holder of `actor` may give or take `target`. Names that are not built in are taken for
/// custom roles; whether such a role exists is the caller's question.
#[must_use]
pub fn can_assign<'r>(actor: impl IntoIterator<Item = &'r RoleName>, target: &RoleName) -> bool {
    let Some(looked_up) = table_name(target) else {
        return false;
    };
    actor.into_iter().any(|held| {
        ASSIGNERS
            .iter()
            .filter(|row| row.holder == held.name() && row.of_org == held.org().is_some())
            .any(|row| match target.org() {
                None => row.site.contains(&looked_up),
                Some(_) => {
                    (held.org().is_none() || held.org() == target.org())
                        && row.org.contains(&looked_up)
                }
            })
    })
}

/// Under which name the table knows the role; none for a name in the wrong place or a retired one.
fn table_name(target: &RoleName) -> Option<&'static str> {
    let name = target.name();
    if RETIRED_ROLES.contains(&name) {
        return None;
    }
    let site = SiteRole::named(name).map(SiteRole::as_str);
    let org = OrgRole::named(name)
        .map(OrgRole::as_str)
        .or_else(|| MembershipKind::named(name).map(MembershipKind::as_str));
    match (target.org(), site, org) {
        (None, Some(name), _) | (Some(_), None, Some(name)) => Some(name),
        (None, None, Some(_)) | (Some(_), Some(_), _) => None,
        (None, None, None) => Some(CUSTOM_SITE_ROLE),
        (Some(_), None, None) => Some(CUSTOM_ORG_ROLE),
    }
}

pub(crate) fn is_assigner(name: &str) -> bool {
    ASSIGNERS.iter().any(|row| row.holder == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use stdx::ids::OrganizationId;
    use uuid::Uuid;

    fn role(text: &str) -> RoleName {
        let org = |n| OrganizationId::new(Uuid::from_u128(n));
        match text.split_once(' ') {
            Some((name, "A")) => RoleName::in_org(name.to_owned(), org(1)),
            Some((name, "B")) => RoleName::in_org(name.to_owned(), org(2)),
            _ => RoleName::site(text.to_owned()),
        }
    }

    #[test]
    fn only_the_table_may_assign() {
        for (actor, target, allowed) in [
            ("member", "member", false),
            ("auditor", "member", false),
            ("template-admin", "organization-member A", false),
            ("aibridged", "member", false),
            ("user-admin", "owner", false),
            ("user-admin", "user-admin", false),
            ("user-admin", "member", true),
            ("user-admin", "organization-workspace-access B", true),
            ("user-admin", "organization-admin A", false),
            ("user-admin", "my-role A", false),
            ("organization-admin A", "organization-admin A", true),
            ("organization-admin A", "organization-admin B", false),
            ("organization-admin A", "my-role A", true),
            ("organization-admin A", "my-role B", false),
            ("organization-admin A", "member", false),
            ("organization-admin", "organization-admin A", false),
            ("organization-user-admin A", "organization-member A", true),
            ("organization-user-admin A", "organization-admin A", false),
            ("owner", "owner", true),
            ("owner", "my-role", true),
            ("owner", "my-role B", true),
            ("owner", "organization-service-account A", false),
            ("owner", "organization-admin", false),
            ("owner", "agents-access", false),
            ("owner", "agents-access A", false),
            // An organization's custom role named like a deployment role has no power.
            ("owner", "owner A", false),
            ("owner A", "owner", false),
            ("owner A", "organization-member A", false),
            ("bootstrap", "owner", true),
            ("bootstrap", "user-admin", false),
            ("system", "owner", true),
            ("scim", "member", true),
            ("scim", "owner", false),
            ("scim", "organization-member A", true),
            ("scim", "organization-admin A", false),
        ] {
            let seen = can_assign([&role(actor)], &role(target));
            assert_eq!(seen, allowed, "{actor} assigns {target}");
        }
        assert!(!can_assign([], &role("member")));
    }
}
