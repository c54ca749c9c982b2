//! The decision for many rows of one kind, as sets of ids.

use std::sync::Arc;

use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use crate::action::Action;
use crate::object::{Object, Place};
use crate::permission::Vote;
use crate::resource::Resource;
use crate::subject::Subject;

/// Which rows of one kind a subject may do one action to, in closed form.
///
/// A row passes if its id is among [`allow_ids`](Self::allow_ids) (when there are any) and one of these
/// holds: the filter is [`unrestricted`](Self::is_unrestricted); its organization is among
/// [`orgs`](Self::orgs); it is the user's and its organization is among
/// [`own_in_orgs`](Self::own_in_orgs); it is the user's, in no organization, and
/// [`own_outside_orgs`](Self::own_outside_orgs) is set; it is shared as [`AclFilter`] says.
///
/// Agrees with [`Subject::authorize`] on every object without `any_org`; questions about any
/// organization are asked one by one. Sets are sorted and disjoint where one would absorb another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFilter {
    action: Action,
    resource: Resource,
    user: UserId,
    everything: bool,
    orgs: Vec<OrganizationId>,
    own_in_orgs: Vec<OrganizationId>,
    own_outside_orgs: bool,
    allow_ids: Option<Vec<Uuid>>,
    acl: AclFilter,
}

/// Which shared rows pass: those in [`orgs`](Self::orgs), and the user's own in
/// [`own_in_orgs`](Self::own_in_orgs), whose access control list gives the action (or `*`) to the user, to
/// one of [`groups`](Self::groups), or to the group of everyone, whose id is the row's organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclFilter {
    orgs: Vec<OrganizationId>,
    own_in_orgs: Vec<OrganizationId>,
    groups: Arc<[GroupId]>,
}

impl AclFilter {
    /// Organizations in which a shared row passes, whoever owns it.
    #[must_use]
    pub fn orgs(&self) -> &[OrganizationId] {
        &self.orgs
    }

    /// Organizations in which a shared row passes if the user owns it; only scopes with member-level
    /// permissions lead to it.
    #[must_use]
    pub fn own_in_orgs(&self) -> &[OrganizationId] {
        &self.own_in_orgs
    }

    /// The user's groups, over all organizations.
    #[must_use]
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// Whether no shared row passes.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.orgs.is_empty() && self.own_in_orgs.is_empty()
    }
}

/// Which of the columns that a filter asks about a table has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one independent fact per column")]
pub struct Columns {
    /// The id that allow lists name. Without it, a credential limited to ids sees no row.
    pub id: bool,
    /// The organization. Without it, every row is outside organizations.
    pub org: bool,
    /// The owner. Without it, no row is the user's.
    pub owner: bool,
    /// The access control list. Without it, no row is shared.
    pub acl: bool,
}

impl Columns {
    /// A table with all of them.
    pub const ALL: Self = Self { id: true, org: true, owner: true, acl: true };
}

impl Subject {
    /// Prepares the decision for many rows: at most one pass over the subject's organizations.
    #[must_use]
    pub fn row_filter(&self, action: Action, resource: Resource) -> RowFilter {
        let (site, user) = self.levels();
        let roles = site.vote(resource, action);
        let scope = self.scope().site.vote(resource, action);
        let mut filter = RowFilter {
            action,
            resource,
            user: self.id(),
            everything: roles == Vote::Allow && scope == Vote::Allow,
            orgs: Vec::new(),
            own_in_orgs: Vec::new(),
            own_outside_orgs: false,
            allow_ids: self.scope().allow.ids_of(resource),
            acl: AclFilter {
                orgs: Vec::new(),
                own_in_orgs: Vec::new(),
                groups: self.shared_groups(),
            },
        };
        if filter.everything || scope == Vote::Deny {
            return filter;
        }
        // The nil id owns nothing, whatever a row says.
        let can_own = !self.id().is_nil();
        filter.own_outside_orgs = can_own
            && any(roles, user.vote(resource, action))
            && any(scope, self.scope().user.vote(resource, action));
        for (org, granted, ceiling) in self.memberships() {
            let (role_org, role_member) =
                (granted.org.vote(resource, action), granted.member.vote(resource, action));
            let (scope_org, scope_member) =
                (ceiling.org.vote(resource, action), ceiling.member.vote(resource, action));
            let in_scope = any(scope, scope_org);
            let own_in_scope = can_own && own(scope, scope_org, scope_member);
            if in_scope && any(roles, role_org) {
                filter.orgs.push(org);
                continue;
            }
            let owned = own_in_scope && own(roles, role_org, role_member);
            if owned {
                filter.own_in_orgs.push(org);
            }
            if in_scope {
                filter.acl.orgs.push(org);
            } else if own_in_scope && !owned {
                filter.acl.own_in_orgs.push(org);
            }
        }
        filter
    }
}

/// Objects of different kinds in one question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("all objects of a filter must be of one kind: {found} among {expected}")]
pub struct MixedKinds {
    /// The kind that was asked about.
    pub expected: Resource,
    /// The other one.
    pub found: Resource,
}

impl Subject {
    /// Keeps the items that the subject may do `action` to, in their order. `object` tells what an item
    /// is to this crate; all must be of the kind `resource`.
    ///
    /// # Errors
    /// [`MixedKinds`]; nothing is kept then.
    pub fn filter<T>(
        &self,
        action: Action,
        resource: Resource,
        mut items: Vec<T>,
        object: impl Fn(&T) -> Object<'_>,
    ) -> Result<Vec<T>, MixedKinds> {
        let filter = self.row_filter(action, resource);
        let mut other = None;
        items.retain(|item| {
            let object = object(item);
            if object.resource != resource {
                other = Some(object.resource);
            }
            // A prepared filter cannot answer for any organization.
            match object.place {
                Place::Anywhere => self.authorize(action, &object).is_ok(),
                Place::Outside | Place::In(_) => filter.matches(&object),
            }
        });
        match other {
            Some(found) => Err(MixedKinds { expected: resource, found }),
            None => Ok(items),
        }
    }
}

/// Whether a level below the site's allows, given the site's vote.
fn any(site: Vote, below: Vote) -> bool {
    site == Vote::Allow || (site == Vote::Abstain && below == Vote::Allow)
}

/// Whether the subject's own objects in an organization are allowed.
fn own(site: Vote, org: Vote, member: Vote) -> bool {
    any(site, org) || (site == Vote::Abstain && org != Vote::Deny && member == Vote::Allow)
}

impl RowFilter {
    /// The action that was asked about.
    #[must_use]
    pub const fn action(&self) -> Action {
        self.action
    }

    /// The kind of the rows.
    #[must_use]
    pub const fn resource(&self) -> Resource {
        self.resource
    }

    /// The user whose own rows are meant.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// Whether owner, organization and sharing do not matter; [`allow_ids`](Self::allow_ids) still may.
    #[must_use]
    pub const fn is_unrestricted(&self) -> bool {
        self.everything
    }

    /// Organizations of which every row passes.
    #[must_use]
    pub fn orgs(&self) -> &[OrganizationId] {
        &self.orgs
    }

    /// Further organizations of which the user's own rows pass.
    #[must_use]
    pub fn own_in_orgs(&self) -> &[OrganizationId] {
        &self.own_in_orgs
    }

    /// Whether the user's own rows outside organizations pass.
    #[must_use]
    pub const fn own_outside_orgs(&self) -> bool {
        self.own_outside_orgs
    }

    /// The only ids that pass, sorted; `None` if ids do not matter.
    #[must_use]
    pub fn allow_ids(&self) -> Option<&[Uuid]> {
        self.allow_ids.as_deref()
    }

    /// Which shared rows pass.
    #[must_use]
    pub const fn acl(&self) -> &AclFilter {
        &self.acl
    }

    /// Whether every row passes: no condition is needed.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.everything && self.allow_ids.is_none()
    }

    /// Whether no row can pass: answer the empty list without asking the database.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.allow_ids.as_ref().is_some_and(Vec::is_empty)
            || !(self.everything
                || self.own_outside_orgs
                || !self.orgs.is_empty()
                || !self.own_in_orgs.is_empty()
                || !self.acl.is_nothing())
    }

    /// Drops the terms that a table without these columns cannot satisfy.
    #[must_use]
    pub fn for_columns(mut self, columns: Columns) -> Self {
        if !columns.id && self.allow_ids.is_some() {
            self.allow_ids = Some(Vec::new());
        }
        if !columns.org {
            self.orgs.clear();
            self.own_in_orgs.clear();
        }
        if !columns.owner {
            self.own_in_orgs.clear();
            self.own_outside_orgs = false;
        }
        if !(columns.acl && columns.org) {
            self.acl.orgs.clear();
        }
        if !(columns.acl && columns.org && columns.owner) {
            self.acl.own_in_orgs.clear();
        }
        self
    }

    /// Whether the object passes; the same answer as [`Subject::authorize`] for objects without
    /// `any_org`, and false for those with it and for other kinds. Allocates nothing.
    #[must_use]
    pub fn matches(&self, object: &Object<'_>) -> bool {
        if object.resource != self.resource || object.place == Place::Anywhere {
            return false;
        }
        let listed = self
            .allow_ids
            .as_ref()
            .is_none_or(|ids| object.id.is_some_and(|id| ids.binary_search(&id).is_ok()));
        listed && (self.everything || self.matches_place(object))
    }

    fn matches_place(&self, object: &Object<'_>) -> bool {
        let owns = object.owner == Some(self.user);
        let Place::In(org) = object.place else {
            return owns && self.own_outside_orgs;
        };
        let among = |orgs: &[OrganizationId]| orgs.binary_search(&org).is_ok();
        among(&self.orgs)
            || (owns && among(&self.own_in_orgs))
            || ((among(&self.acl.orgs) || (owns && among(&self.acl.own_in_orgs)))
                && self.shares(org, object))
    }

    fn shares(&self, org: OrganizationId, object: &Object<'_>) -> bool {
        object.acl.is_some_and(|acl| {
            acl.lists_user(self.user, self.action)
                || acl.first_group(&self.acl.groups, self.action).is_some()
                || acl.lists_group(GroupId::new(org.uuid()), self.action)
        })
    }
}
