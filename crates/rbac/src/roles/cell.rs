//! One answer of a built-in role: what it grants on one kind of resource.

use std::sync::Arc;

use crate::action::ActionSet;
use crate::permission::{Grants, OrgGrants, Votes};
use crate::resource::Resource;
use crate::role::RoleTable;

/// What a built-in role grants on one kind, by level. Built by addition only.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    site: Votes,
    user: Votes,
    org: Votes,
    member: Votes,
}

impl Cell {
    pub(crate) const NOTHING: Self =
        Self { site: Votes::NONE, user: Votes::NONE, org: Votes::NONE, member: Votes::NONE };

    pub(crate) const fn site(actions: ActionSet) -> Self {
        Self::NOTHING.and_site(actions)
    }

    pub(crate) const fn user(actions: ActionSet) -> Self {
        let mut cell = Self::NOTHING;
        cell.user.allow = actions;
        cell
    }

    pub(crate) const fn org(actions: ActionSet) -> Self {
        let mut cell = Self::NOTHING;
        cell.org.allow = actions;
        cell
    }

    pub(crate) const fn member(actions: ActionSet) -> Self {
        Self::NOTHING.and_member(actions)
    }

    pub(crate) const fn and_site(mut self, actions: ActionSet) -> Self {
        self.site.allow = self.site.allow.union(actions);
        self
    }

    pub(crate) const fn and_member(mut self, actions: ActionSet) -> Self {
        self.member.allow = self.member.allow.union(actions);
        self
    }

    pub(crate) const fn deny_site(mut self, actions: ActionSet) -> Self {
        self.site.deny = self.site.deny.union(actions);
        self
    }

    pub(crate) const fn deny_org(mut self, actions: ActionSet) -> Self {
        self.org.deny = self.org.deny.union(actions);
        self
    }

    pub(crate) const fn deny_member(mut self, actions: ActionSet) -> Self {
        self.member.deny = self.member.deny.union(actions);
        self
    }

    /// Asks a role for every kind and packs the answers.
    pub(crate) fn table(answer: impl Fn(Resource) -> Self) -> Arc<RoleTable> {
        Arc::new(RoleTable {
            site: Grants::from_fn(|resource| answer(resource).site),
            user: Grants::from_fn(|resource| answer(resource).user),
            in_org: OrgGrants {
                org: Grants::from_fn(|resource| answer(resource).org),
                member: Grants::from_fn(|resource| answer(resource).member),
            },
        })
    }
}
