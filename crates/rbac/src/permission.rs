//! Single permissions and the bit tables that they compile to.

use std::fmt;

use crate::UnknownName;
use crate::action::{Action, ActionSet};
use crate::resource::Resource;

/// Allows, or with `negate` forbids, an action on a kind of resource.
///
/// `None` is the wildcard `*`. It means what is declared today: wildcards are expanded against the
/// action table when a role is compiled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Permission {
    /// Forbids instead of allowing; beats every allowing permission of the same level.
    pub negate: bool,
    /// The kind of resource, `None` for every kind.
    pub resource: Option<Resource>,
    /// The action, `None` for every action that the kind declares.
    pub action: Option<Action>,
}

impl Permission {
    /// Everything on everything.
    pub const EVERYTHING: Self = Self { negate: false, resource: None, action: None };

    /// Allows one action on one kind.
    #[must_use]
    pub const fn allow(resource: Resource, action: Action) -> Self {
        Self { negate: false, resource: Some(resource), action: Some(action) }
    }

    /// Allows every declared action on one kind.
    #[must_use]
    pub const fn allow_all(resource: Resource) -> Self {
        Self { negate: false, resource: Some(resource), action: None }
    }

    /// The same permission, forbidding.
    #[must_use]
    pub const fn negated(mut self) -> Self {
        self.negate = true;
        self
    }

    /// Whether the action is declared for the kind; wildcards always are.
    #[must_use]
    pub const fn is_declared(self) -> bool {
        match (self.resource, self.action) {
            (Some(resource), Some(action)) => resource.actions().contains(action),
            _ => true,
        }
    }

    /// Whether everything that `other` names is named by this one, wildcards as wildcards: a list of
    /// all of today's actions does not subsume `*`. The sign is ignored.
    #[must_use]
    pub fn subsumes(self, other: Self) -> bool {
        (self.resource.is_none() || self.resource == other.resource)
            && (self.action.is_none() || self.action == other.action)
    }
}

/// Why names make no permission.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PermissionError {
    /// A kind or an action that does not exist.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// An action that exists, but not for the kind.
    #[error("action {:?} is not declared for {:?}", .action.as_str(), .resource.as_str())]
    Undeclared {
        /// The kind.
        resource: Resource,
        /// The action.
        action: Action,
    },
}

impl Permission {
    /// Reads a permission as it is stored and sent: names, either of which may be `*`.
    ///
    /// # Errors
    /// An unknown name, or an action that the kind does not declare.
    pub fn parse(negate: bool, resource: &str, action: &str) -> Result<Self, PermissionError> {
        let resource = match resource {
            "*" => None,
            name => Some(name.parse::<Resource>()?),
        };
        let action = match action {
            "*" => None,
            name => Some(name.parse::<Action>()?),
        };
        let permission = Self { negate, resource, action };
        match (resource, action) {
            (Some(resource), Some(action)) if !permission.is_declared() => {
                Err(PermissionError::Undeclared { resource, action })
            }
            _ => Ok(permission),
        }
    }
}

impl fmt::Display for Permission {
    /// `type:action` with `*` for wildcards and a leading `!` for a forbidding one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}:{}",
            if self.negate { "!" } else { "" },
            self.resource.map_or("*", Resource::as_str),
            self.action.map_or("*", Action::as_str),
        )
    }
}

/// What one level says about one question. Ordered: the greatest vote of several organizations counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Vote {
    Deny,
    Abstain,
    Allow,
}

/// Allowed and forbidden actions of one kind at one level. Both may name an action; forbidding wins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Votes {
    pub(crate) allow: ActionSet,
    pub(crate) deny: ActionSet,
}

impl Votes {
    pub(crate) const NONE: Self = Self { allow: ActionSet::EMPTY, deny: ActionSet::EMPTY };

    pub(crate) const fn on(self, action: Action) -> Vote {
        if self.deny.contains(action) {
            Vote::Deny
        } else if self.allow.contains(action) {
            Vote::Allow
        } else {
            Vote::Abstain
        }
    }

    const fn with(self, other: Self) -> Self {
        Self { allow: self.allow.union(other.allow), deny: self.deny.union(other.deny) }
    }
}

/// One level of a role, a subject or a scope: the votes for every kind, one cache line per question.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grants([Votes; Resource::COUNT]);

impl Grants {
    pub(crate) const NONE: Self = Self([Votes::NONE; Resource::COUNT]);

    /// Asks once for every kind.
    pub(crate) fn from_fn(votes: impl FnMut(Resource) -> Votes) -> Self {
        Self(Resource::ALL.map(votes))
    }

    pub(crate) fn from_permissions<'p>(
        permissions: impl IntoIterator<Item = &'p Permission>,
    ) -> Self {
        let mut grants = Self::NONE;
        for permission in permissions {
            grants.add(*permission);
        }
        grants
    }

    pub(crate) fn add(&mut self, permission: Permission) {
        for (resource, votes) in Resource::ALL.into_iter().zip(&mut self.0) {
            if permission.resource.is_some_and(|named| named != resource) {
                continue;
            }
            let declared = resource.actions();
            let actions =
                permission.action.map_or(declared, |action| declared.intersection(action.into()));
            if permission.negate {
                votes.deny = votes.deny.union(actions);
            } else {
                votes.allow = votes.allow.union(actions);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.with(*theirs);
        }
    }

    pub(crate) fn of(&self, resource: Resource) -> Votes {
        self.0.get(resource as usize).copied().unwrap_or(Votes::NONE)
    }

    pub(crate) fn vote(&self, resource: Resource, action: Action) -> Vote {
        self.of(resource).on(action)
    }

    /// The best vote of several tables for every question at once: allow if one allows, deny if all deny.
    pub(crate) fn best_of<'g>(tables: impl IntoIterator<Item = &'g Self>) -> Self {
        let mut tables = tables.into_iter();
        let Some(first) = tables.next() else {
            return Self::NONE;
        };
        let mut best = *first;
        for votes in &mut best.0 {
            votes.allow = votes.allow.difference(votes.deny);
        }
        for table in tables {
            for (votes, other) in best.0.iter_mut().zip(&table.0) {
                votes.allow = votes.allow.union(other.allow.difference(other.deny));
                votes.deny = votes.deny.intersection(other.deny);
            }
        }
        for votes in &mut best.0 {
            votes.deny = votes.deny.difference(votes.allow);
        }
        best
    }

    /// The permissions of the table, sorted; a kind of which every declared action is named becomes
    /// one wildcard.
    pub(crate) fn permissions(&self) -> Vec<Permission> {
        let mut list = Vec::new();
        for (resource, votes) in Resource::ALL.into_iter().zip(&self.0) {
            for (negate, actions) in [(false, votes.allow), (true, votes.deny)] {
                let named = |action| Permission { negate, resource: Some(resource), action };
                if actions == resource.actions() {
                    list.push(named(None));
                } else {
                    list.extend(actions.iter().map(|action| named(Some(action))));
                }
            }
        }
        list
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.permissions().iter().map(ToString::to_string)).finish()
    }
}

/// What a role or scope grants in one organization.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OrgGrants {
    /// On every object of the organization.
    pub(crate) org: Grants,
    /// On objects of the organization that the subject owns.
    pub(crate) member: Grants,
}

impl OrgGrants {
    pub(crate) const NONE: Self = Self { org: Grants::NONE, member: Grants::NONE };

    pub(crate) fn merge(&mut self, other: &Self) {
        self.org.merge(&other.org);
        self.member.merge(&other.member);
    }

    pub(crate) fn best_of(tables: &[Self]) -> Self {
        Self {
            org: Grants::best_of(tables.iter().map(|table| &table.org)),
            member: Grants::best_of(tables.iter().map(|table| &table.member)),
        }
    }
}
