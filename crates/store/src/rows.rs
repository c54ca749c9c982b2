//! The subject's row filter as bound parameters: never text, so identifiers stay identifiers and indexes
//! are used.

use rbac::RowFilter;
use stdx::ids::{OrganizationId, UserId};
use uuid::Uuid;

use crate::Pk;

/// What a list query adds to its conditions. `None` never narrows, an empty list yields nothing.
pub(crate) struct Rows(Option<RowFilter>);

impl Rows {
    /// Without a filter no row passes: a query that lists must have the rule for lists.
    pub(crate) const fn new(filter: Option<RowFilter>) -> Self {
        Self(filter)
    }

    /// For tables whose rows have an owner and belong to no organization.
    pub(crate) fn owners(&self) -> Option<Vec<Pk<UserId>>> {
        match &self.0 {
            Some(filter) if filter.is_unrestricted() => None,
            Some(filter) if filter.own_outside_orgs() => Some(vec![Pk(filter.user())]),
            Some(_) | None => Some(Vec::new()),
        }
    }

    /// For tables whose rows belong to an organization (nil = the site) and have no owner.
    pub(crate) fn organizations(&self) -> Option<Vec<Pk<OrganizationId>>> {
        match &self.0 {
            Some(filter) if filter.is_unrestricted() => None,
            Some(filter) => Some(filter.orgs().iter().copied().map(Pk).collect()),
            None => Some(Vec::new()),
        }
    }

    /// What the credential's allow list leaves, by identifier.
    pub(crate) fn ids(&self) -> Option<Vec<Uuid>> {
        self.0.as_ref().and_then(|filter| filter.allow_ids().map(<[Uuid]>::to_vec))
    }
}
