//! The decision.
//!
//! It allocates nothing by construction: every value on the way is `Copy` (votes, masks, the object, the
//! answer), tables and lists are borrowed from the subject, lookups are binary searches in slices, and no
//! function called from [`Subject::authorize`] returns a `Vec` or a `String`.

use stdx::ids::GroupId;

use super::Subject;
use crate::action::Action;
use crate::object::{Object, Place};
use crate::permission::{Grants, OrgGrants, Vote};
use crate::resource::Resource;

/// The refusal of one action on one kind of resource. Names no id: it may be shown to the refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[error("not allowed to {action} {resource}")]
pub struct Denied {
    /// What was asked for.
    pub action: Action,
    /// On what kind of thing.
    pub resource: Resource,
}

/// The votes of the four levels on one question, from roles or from a scope. A level that does not apply
/// to the object abstains.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ballot {
    pub(super) site: Vote,
    pub(super) user: Vote,
    pub(super) org: Vote,
    pub(super) member: Vote,
}

impl Ballot {
    pub(super) const fn allows(self) -> bool {
        match self.site {
            Vote::Allow => true,
            Vote::Deny => false,
            Vote::Abstain => {
                matches!(self.user, Vote::Allow)
                    || matches!(self.org, Vote::Allow)
                    || (!matches!(self.org, Vote::Deny) && matches!(self.member, Vote::Allow))
            }
        }
    }
}

/// Why an access control list allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shared {
    User,
    Group(GroupId),
    Everyone,
}

/// What the subject is to the place of an object.
#[derive(Clone, Copy)]
enum Standing<'s> {
    /// The object is in no organization.
    Outside,
    /// In one (or any) of the subject's: what its roles and its scope grant there.
    Member(&'s OrgGrants, &'s OrgGrants),
    /// In one that the subject is not a member of.
    Stranger,
}

impl Subject {
    /// Decides whether the subject may do `action` to `object`.
    ///
    /// Allowed if the roles or the object's access control list allow it, and the scope allows it too.
    /// An action that the kind does not declare is refused to everybody. Pure, allocates nothing.
    ///
    /// # Errors
    /// [`Denied`]; there is no other way to fail.
    pub fn authorize(&self, action: Action, object: &Object<'_>) -> Result<(), Denied> {
        let standing = self.standing(object.place);
        let allowed = self.scope_ballot(standing, action, object).allows()
            && self.scope.allow.contains(object.resource, object.id)
            && (self.role_ballot(standing, action, object).allows()
                || self.shared_at(standing, action, object).is_some());
        if allowed { Ok(()) } else { Err(Denied { action, resource: object.resource }) }
    }

    /// The votes of the roles and of the scope.
    pub(super) fn ballots(&self, action: Action, object: &Object<'_>) -> (Ballot, Ballot) {
        let standing = self.standing(object.place);
        (self.role_ballot(standing, action, object), self.scope_ballot(standing, action, object))
    }

    fn role_ballot(&self, at: Standing<'_>, action: Action, object: &Object<'_>) -> Ballot {
        let in_org = match at {
            Standing::Member(roles, _) => Some(roles),
            Standing::Outside | Standing::Stranger => None,
        };
        self.ballot(at, (&self.site, &self.user, in_org), action, object)
    }

    fn scope_ballot(&self, at: Standing<'_>, action: Action, object: &Object<'_>) -> Ballot {
        let in_org = match at {
            Standing::Member(_, scope) => Some(scope),
            Standing::Outside | Standing::Stranger => None,
        };
        self.ballot(at, (&self.scope.site, &self.scope.user, in_org), action, object)
    }

    fn ballot(
        &self,
        at: Standing<'_>,
        (site, user, in_org): (&Grants, &Grants, Option<&OrgGrants>),
        action: Action,
        object: &Object<'_>,
    ) -> Ballot {
        let resource = object.resource;
        let owns = object.owner == Some(self.id);
        Ballot {
            site: site.vote(resource, action),
            user: match at {
                Standing::Outside if owns => user.vote(resource, action),
                _ => Vote::Abstain,
            },
            org: in_org.map_or(Vote::Abstain, |table| table.org.vote(resource, action)),
            member: in_org
                .filter(|_| owns)
                .map_or(Vote::Abstain, |table| table.member.vote(resource, action)),
        }
    }

    fn standing(&self, place: Place) -> Standing<'_> {
        match place {
            Place::Outside => Standing::Outside,
            Place::Anywhere if self.seats.is_empty() => Standing::Stranger,
            Place::Anywhere => Standing::Member(&self.anywhere, &self.scope_anywhere),
            Place::In(org) => match self.seat(org) {
                Some(seat) => Standing::Member(self.role_table(seat), self.scope_table(seat)),
                None => Standing::Stranger,
            },
        }
    }

    /// Whether the object's access control list gives the action to the subject. Only members of the
    /// object's organization profit from it; forbidding permissions do not stop it.
    pub(super) fn shared(&self, action: Action, object: &Object<'_>) -> Option<Shared> {
        self.shared_at(self.standing(object.place), action, object)
    }

    fn shared_at(&self, at: Standing<'_>, action: Action, object: &Object<'_>) -> Option<Shared> {
        let acl = object.acl?;
        if !matches!(at, Standing::Member(..)) {
            return None;
        }
        if acl.lists_user(self.id, action) {
            return Some(Shared::User);
        }
        if let Some(group) = acl.first_group(&self.groups, action) {
            return Some(Shared::Group(group));
        }
        let org = object.organization()?;
        acl.lists_group(GroupId::new(org.uuid()), action).then_some(Shared::Everyone)
    }
}
