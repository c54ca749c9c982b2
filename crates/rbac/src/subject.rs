//! Who acts, with everything a decision needs already compiled.

mod builder;
mod decide;
mod explain;
mod kind;

use std::fmt;
use std::sync::Arc;

use stdx::ids::{GroupId, OrganizationId, UserId};

use crate::action::Action;
use crate::assign;
use crate::permission::{Grants, OrgGrants, Vote};
use crate::resource::Resource;
use crate::role::Role;
use crate::role_name::RoleName;
use crate::scope::Scope;

pub use builder::{CompileError, SubjectBuilder};
pub use decide::Denied;
pub use explain::{Because, Explanation, Ground, Level};
pub use kind::SubjectKind;

/// Who acts: a user behind a credential, or a part of the deployment.
///
/// Immutable; made by [`SubjectBuilder`], which compiles role names and scope to bit tables, so that a
/// decision is a few loads and masks. Only the store and the login code build subjects of users; that is
/// a convention, not something this type can enforce.
pub struct Subject {
    id: UserId,
    kind: SubjectKind,
    name: String,
    email: String,
    roles: Vec<Role>,
    groups: Arc<[GroupId]>,
    scope: Scope,
    site: Grants,
    user: Grants,
    /// Sorted by organization.
    seats: Vec<Seat>,
    /// The distinct tables that seats point into: memberships with the same roles share one.
    role_tables: Vec<OrgGrants>,
    scope_tables: Vec<OrgGrants>,
    /// The best votes over all seats, for questions about any organization.
    anywhere: OrgGrants,
    scope_anywhere: OrgGrants,
}

/// Membership in one organization.
#[derive(Clone, Copy)]
struct Seat {
    org: OrganizationId,
    role_table: usize,
    scope_table: usize,
}

impl Subject {
    /// The user; nil for most parts of the deployment.
    #[must_use]
    pub const fn id(&self) -> UserId {
        self.id
    }

    /// What kind of actor it is. For logs and metrics; no permission depends on it.
    #[must_use]
    pub const fn kind(&self) -> SubjectKind {
        self.kind
    }

    /// The user name, or the name of the part of the deployment. For logs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user's email address, empty for parts of the deployment. For logs.
    #[must_use]
    pub fn email(&self) -> &str {
        &self.email
    }

    /// The names of the roles that are held, sorted, implied ones included.
    pub fn roles(&self) -> impl Iterator<Item = &RoleName> {
        self.roles.iter().map(Role::name)
    }

    /// Whether a role of the deployment is held.
    #[must_use]
    pub fn has_site_role(&self, name: &str) -> bool {
        self.roles().any(|role| role.org().is_none() && role.name() == name)
    }

    /// Whether a role of this organization is held.
    #[must_use]
    pub fn has_org_role(&self, org: OrganizationId, name: &str) -> bool {
        self.roles().any(|role| role.org() == Some(org) && role.name() == name)
    }

    /// The groups, sorted. The group of everyone in an organization need not be among them.
    #[must_use]
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// The organizations that the subject is a member of, sorted.
    pub fn organizations(&self) -> impl Iterator<Item = OrganizationId> {
        self.seats.iter().map(|seat| seat.org)
    }

    /// Whether the subject is a member of the organization.
    #[must_use]
    pub fn is_member_of(&self, org: OrganizationId) -> bool {
        self.seat(org).is_some()
    }

    /// The ceiling of the credential.
    #[must_use]
    pub const fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Whether the subject may give or take `role` by name; the action `assign` or `unassign` must be
    /// allowed as well.
    #[must_use]
    pub fn can_assign(&self, role: &RoleName) -> bool {
        assign::can_assign(self.roles(), role)
    }

    fn seat(&self, org: OrganizationId) -> Option<&Seat> {
        self.seats
            .binary_search_by_key(&org, |seat| seat.org)
            .ok()
            .and_then(|position| self.seats.get(position))
    }

    fn role_table(&self, seat: &Seat) -> &OrgGrants {
        self.role_tables.get(seat.role_table).unwrap_or(&OrgGrants::NONE)
    }

    fn scope_table(&self, seat: &Seat) -> &OrgGrants {
        self.scope_tables.get(seat.scope_table).unwrap_or(&OrgGrants::NONE)
    }

    /// What the roles together vote at one level; in an organization at its two levels.
    pub(crate) fn vote_at(
        &self,
        level: Level,
        org: OrganizationId,
        resource: Resource,
        action: Action,
    ) -> Vote {
        let in_org = self.seat(org).map(|seat| self.role_table(seat));
        match level {
            Level::Site => self.site.vote(resource, action),
            Level::User => self.user.vote(resource, action),
            Level::Org => in_org.map_or(Vote::Abstain, |table| table.org.vote(resource, action)),
            Level::Member => {
                in_org.map_or(Vote::Abstain, |table| table.member.vote(resource, action))
            }
        }
    }

    pub(crate) const fn levels(&self) -> (&Grants, &Grants) {
        (&self.site, &self.user)
    }

    pub(crate) fn shared_groups(&self) -> Arc<[GroupId]> {
        Arc::clone(&self.groups)
    }

    /// Every membership with what roles and scope grant in it.
    pub(crate) fn memberships(
        &self,
    ) -> impl Iterator<Item = (OrganizationId, &OrgGrants, &OrgGrants)> {
        self.seats.iter().map(|seat| (seat.org, self.role_table(seat), self.scope_table(seat)))
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("name", &self.name)
            .field("roles", &self.roles().map(ToString::to_string).collect::<Vec<_>>())
            .field("groups", &self.groups.len())
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
