//! Why a decision came out as it did.

use std::fmt;

use stdx::ids::{GroupId, OrganizationId};

use super::Subject;
use super::decide::{Ballot, Shared};
use crate::action::Action;
use crate::object::{Object, Place};
use crate::permission::{Permission, Vote, Votes};
use crate::resource::Resource;
use crate::role::Role;
use crate::role_name::RoleName;

/// A decision with its reason. Names roles and groups by id: for the subject itself and for
/// administrators.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explanation {
    /// The decision, the same as [`Subject::authorize`] takes.
    pub allowed: bool,
    /// What was asked for.
    pub action: Action,
    /// On what kind of thing.
    pub resource: Resource,
    /// What decided.
    pub because: Because,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Because {
    /// Allowed: a permission of a role.
    Granted(Ground),
    /// Allowed: the object is shared with the subject.
    SharedWithUser,
    /// Allowed: the object is shared with a group of the subject.
    SharedWithGroup(GroupId),
    /// Allowed: the object is shared with everyone in its organization.
    SharedWithEveryone,
    /// Refused: the kind does not declare the action.
    Undeclared,
    /// Refused: a forbidding permission of a role.
    Forbidden(Ground),
    /// Refused: the object is in an organization that the subject is not a member of, and no role grants
    /// it everywhere.
    NotMember(OrganizationId),
    /// Refused: a role grants it to the owner of the object, which the subject is not.
    NotOwner(Ground),
    /// Refused: no role grants it and the object is not shared.
    NoGrant,
    /// Refused: roles or sharing allow it, the named scope of the credential does not.
    Scope(String),
    /// Refused: roles and scope allow it, but the credential is limited to other objects.
    AllowList,
}

/// The permission that decided, and where it comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ground {
    /// The level of the vote.
    pub level: Level,
    /// The role that holds the permission; the first by name if several do.
    pub role: RoleName,
    /// The permission, without wildcards.
    pub permission: Permission,
}

/// The four levels of permissions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// Every object.
    Site,
    /// Objects of the subject outside organizations.
    User,
    /// Objects of the organization.
    Org,
    /// Objects of the subject in the organization.
    Member,
}

impl Level {
    /// The name of the level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::User => "user",
            Self::Org => "org",
            Self::Member => "member",
        }
    }
}

impl Subject {
    /// Takes the same decision as [`authorize`](Self::authorize) and says why. Allocates; for people,
    /// not for every request.
    #[must_use]
    pub fn explain(&self, action: Action, object: &Object<'_>) -> Explanation {
        let because = self.because(action, object);
        Explanation {
            allowed: matches!(
                because,
                Because::Granted(_)
                    | Because::SharedWithUser
                    | Because::SharedWithGroup(_)
                    | Because::SharedWithEveryone
            ),
            action,
            resource: object.resource,
            because,
        }
    }

    fn because(&self, action: Action, object: &Object<'_>) -> Because {
        if !object.resource.actions().contains(action) {
            return Because::Undeclared;
        }
        let (roles, scope) = self.ballots(action, object);
        let granted = if roles.allows() {
            match self.ground(roles, Vote::Allow, action, object) {
                Some(ground) => Because::Granted(ground),
                None => Because::NoGrant,
            }
        } else {
            match self.shared(action, object) {
                Some(Shared::User) => Because::SharedWithUser,
                Some(Shared::Group(group)) => Because::SharedWithGroup(group),
                Some(Shared::Everyone) => Because::SharedWithEveryone,
                None => {
                    return self
                        .ground(roles, Vote::Deny, action, object)
                        .map_or_else(|| self.missing(action, object), Because::Forbidden);
                }
            }
        };
        if !scope.allows() {
            return Because::Scope(self.scope.to_string());
        }
        if !self.scope.allow.contains(object.resource, object.id) {
            return Because::AllowList;
        }
        granted
    }

    /// What it would have taken, where nothing grants and nothing forbids.
    fn missing(&self, action: Action, object: &Object<'_>) -> Because {
        if let Place::In(org) = object.place
            && !self.is_member_of(org)
        {
            return Because::NotMember(org);
        }
        if object.owner != Some(self.id) && !self.id.is_nil() {
            let own = object.owner(self.id);
            let (roles, _) = self.ballots(action, &own);
            if roles.allows()
                && let Some(ground) = self.ground(roles, Vote::Allow, action, &own)
            {
                return Because::NotOwner(ground);
            }
        }
        Because::NoGrant
    }

    /// The first level, in the order in which they decide, that voted so, and a role that made it.
    fn ground(
        &self,
        ballot: Ballot,
        vote: Vote,
        action: Action,
        object: &Object<'_>,
    ) -> Option<Ground> {
        let levels = [
            (Level::Site, ballot.site),
            (Level::User, ballot.user),
            (Level::Org, ballot.org),
            (Level::Member, ballot.member),
        ];
        levels.into_iter().filter(|(_, voted)| *voted == vote).find_map(|(level, _)| {
            let orgs = self.orgs_voting(level, vote, action, object);
            let role = self.roles.iter().find(|role| {
                let here = match level {
                    Level::Site | Level::User => true,
                    Level::Org | Level::Member => {
                        role.name().org().is_some_and(|org| orgs.contains(&org))
                    }
                };
                here && votes(role, level, object.resource).on(action) == vote
            })?;
            Some(Ground {
                level,
                role: role.name().clone(),
                permission: Permission {
                    negate: vote == Vote::Deny,
                    resource: Some(object.resource),
                    action: Some(action),
                },
            })
        })
    }

    /// The organizations of the question in which the roles of a level together vote so.
    fn orgs_voting(
        &self,
        level: Level,
        vote: Vote,
        action: Action,
        object: &Object<'_>,
    ) -> Vec<OrganizationId> {
        self.memberships()
            .filter(|(org, table, _)| {
                let asked = match object.place {
                    Place::Outside => false,
                    Place::In(place) => place == *org,
                    Place::Anywhere => true,
                };
                let grants = if level == Level::Org { &table.org } else { &table.member };
                asked && grants.vote(object.resource, action) == vote
            })
            .map(|(org, _, _)| org)
            .collect()
    }
}

fn votes(role: &Role, level: Level, resource: Resource) -> Votes {
    let table = role.table();
    let grants = match level {
        Level::Site => &table.site,
        Level::User => &table.user,
        Level::Org => &table.in_org.org,
        Level::Member => &table.in_org.member,
    };
    grants.of(resource)
}

impl fmt::Display for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = self.level.as_str();
        write!(f, "{} of role {} at {level} level", self.permission, self.role)
    }
}

impl fmt::Display for Explanation {
    /// One line: `workspace:read is allowed by workspace:read of role owner at site level`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "refused" };
        write!(f, "{}:{} is {verdict} ", self.resource, self.action)?;
        match &self.because {
            Because::Granted(ground) | Because::Forbidden(ground) => write!(f, "by {ground}"),
            Because::SharedWithUser => f.write_str("because it is shared with the subject"),
            Because::SharedWithGroup(group) => {
                write!(f, "because it is shared with the subject's group {group}")
            }
            Because::SharedWithEveryone => {
                f.write_str("because it is shared with everyone in its organization")
            }
            Because::NotMember(org) => {
                write!(f, "because the subject is not a member of organization {org}")
            }
            Because::NotOwner(ground) => {
                write!(f, "because the subject is not its owner, for whom there is {ground}")
            }
            Because::Undeclared => f.write_str("because the type does not know the action"),
            Because::NoGrant => f.write_str("because no role grants it and it is not shared"),
            Because::Scope(scope) => write!(f, "by the credential's scope {scope}"),
            Because::AllowList => f.write_str("by the credential's allow list"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Action, Catalog, Object, Resource, Scope, Sharing, SubjectBuilder};
    use stdx::ids::{OrganizationId, UserId};
    use uuid::Uuid;

    #[test]
    fn reasons_name_level_role_and_permission() {
        let org = OrganizationId::new(Uuid::from_u128(0xa));
        let me = UserId::new(Uuid::from_u128(1));
        let workspace = Object::new(Resource::Workspace).in_org(org);
        let build = |scope: &str| {
            SubjectBuilder::user(me)
                .site_role("member")
                .membership(org, Sharing::None, false)
                .org_role(org, "organization-workspace-access")
                .scope(Scope::parse_names(&[scope]).unwrap())
                .compile(&Catalog::default())
                .unwrap()
        };
        for (scope, action, object, line) in [
            (
                "coder:all",
                Action::Ssh,
                workspace.owner(me),
                "workspace:ssh is allowed by workspace:ssh of role \
                 organization-workspace-access:00000000-0000-0000-0000-00000000000a at member level",
            ),
            (
                "coder:all",
                Action::Ssh,
                workspace,
                "workspace:ssh is refused because the subject is not its owner, for whom there is \
                 workspace:ssh of role \
                 organization-workspace-access:00000000-0000-0000-0000-00000000000a at member level",
            ),
            (
                "coder:all",
                Action::Read,
                Object::new(Resource::Template).in_org(org).owner(me),
                "template:read is refused because no role grants it and it is not shared",
            ),
            (
                "coder:all",
                Action::Ssh,
                Object::new(Resource::Workspace)
                    .in_org(OrganizationId::new(Uuid::from_u128(0xb)))
                    .owner(me),
                "workspace:ssh is refused because the subject is not a member of organization \
                 00000000-0000-0000-0000-00000000000b",
            ),
            (
                "coder:all",
                Action::Share,
                workspace.owner(me),
                "workspace:share is refused by !workspace:share of role \
                 organization-member:00000000-0000-0000-0000-00000000000a at org level",
            ),
            (
                "file:read",
                Action::Ssh,
                workspace.owner(me),
                "workspace:ssh is refused by the credential's scope file:read",
            ),
            (
                "coder:all",
                Action::Use,
                workspace.owner(me),
                "workspace:use is refused because the type does not know the action",
            ),
            (
                "coder:all",
                Action::Read,
                Object::new(Resource::WorkspaceProxy),
                "workspace_proxy:read is allowed by workspace_proxy:read of role member at site level",
            ),
        ] {
            assert_eq!(build(scope).explain(action, &object).to_string(), line);
        }
    }
}
