//! The subject's row filter as a condition of a statement: every id is a bound parameter and never text, so
//! that indexes are used.

mod joined;
mod shared;
mod stored;
#[cfg(test)]
mod tests;

use diesel::BoxableExpression;
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::sql_types::Bool;
use joined::Joined;
use rbac::{Columns, RowFilter};
use stdx::ids::{OrganizationId, UserId};
use uuid::Uuid;

use crate::Pk;

pub use shared::{AclShape, Sharing};
pub use stored::ENTRIES_MAX;
pub(crate) use stored::nobody;

/// A condition on rows of `T`.
pub type Condition<T> = Box<dyn BoxableExpression<T, Pg, SqlType = Bool>>;

/// What a list query adds to its conditions. `None` never narrows, an empty list yields nothing.
#[derive(Debug)]
pub struct Rows(Option<RowFilter>);

/// How the columns of one table are compared. A table leaves out what it has no column for: then no row has
/// that owner, is in that organization, is shared, or can be named by an allow list.
///
/// Write it as a constant beside the queries, so that all lists and counts of a table agree:
///
/// ```text
/// const TERMS: Terms<files::table> = Terms {
///     id: Some(|ids| Box::new(files::id.eq_any(ids))),
///     owner: Some(|user| Box::new(files::created_by.eq(user))),
///     ..Terms::NONE
/// };
/// ```
#[expect(missing_debug_implementations, reason = "functions only")]
pub struct Terms<T> {
    /// The id is one of these.
    pub id: Option<fn(Vec<Uuid>) -> Condition<T>>,
    /// It is in one of these organizations.
    pub org: Option<fn(Vec<Pk<OrganizationId>>) -> Condition<T>>,
    /// It is in no organization. `None` with `org`: every row is in one; `None` without: none is.
    pub outside: Option<fn() -> Condition<T>>,
    /// It belongs to this user.
    pub owner: Option<fn(Pk<UserId>) -> Condition<T>>,
    /// Its access control list names the subject.
    pub acl: Option<fn(Sharing) -> Condition<T>>,
}

impl<T: 'static> Terms<T> {
    /// A table of which nothing is known: only who may see all rows sees any.
    pub const NONE: Self = Self { id: None, org: None, outside: None, owner: None, acl: None };

    const fn columns(&self) -> Columns {
        Columns {
            id: self.id.is_some(),
            org: self.org.is_some(),
            owner: self.owner.is_some(),
            acl: self.acl.is_some(),
        }
    }
}

impl Rows {
    /// Without a filter no row passes: a query that lists must have the rule for lists.
    pub(crate) const fn new(filter: Option<RowFilter>) -> Self {
        Self(filter)
    }

    /// What rows of a table must satisfy, `None` if all pass: what [`RowFilter::matches`] says of each row's
    /// object.
    #[must_use]
    pub fn condition<T: 'static>(&self, terms: &Terms<T>) -> Option<Condition<T>> {
        let Some(filter) = &self.0 else { return Some(never()) };
        let filter = filter.clone().for_columns(terms.columns());
        if filter.is_everything() {
            return None;
        }
        if filter.is_nothing() {
            return Some(never());
        }
        let mut all = Vec::new();
        if let (Some(ids), Some(id)) = (filter.allow_ids(), terms.id) {
            all.push(id(ids.to_vec()));
        }
        if !filter.is_unrestricted() {
            all.push(Joined::any(terms.places(&filter)).unwrap_or_else(never));
        }
        Some(Joined::all(all).unwrap_or_else(never))
    }

    /// For statements in text, on tables whose rows have an owner and belong to no organization.
    pub(crate) fn owners(&self) -> Option<Vec<Pk<UserId>>> {
        match &self.0 {
            Some(filter) if filter.is_unrestricted() => None,
            Some(filter) if filter.own_outside_orgs() => Some(vec![Pk(filter.user())]),
            Some(_) | None => Some(Vec::new()),
        }
    }

    /// For statements in text: what the credential's allow list leaves, by identifier.
    pub(crate) fn ids(&self) -> Option<Vec<Uuid>> {
        self.0.as_ref().and_then(|filter| filter.allow_ids().map(<[Uuid]>::to_vec))
    }
}

impl<T: 'static> Terms<T> {
    /// Where a row may be and whose, one condition for each way in which it may pass.
    fn places(&self, filter: &RowFilter) -> Vec<Condition<T>> {
        let org = |orgs: &[OrganizationId]| {
            let among = self.org.filter(|_| !orgs.is_empty())?;
            Some(among(orgs.iter().copied().map(Pk).collect()))
        };
        let mine = || self.owner.map(|owner| owner(Pk(filter.user())));
        let own_among = |orgs: &[OrganizationId]| Some(both(mine()?, org(orgs)?));
        let acl = filter.acl();
        let shared = || {
            let places = [org(acl.orgs()), own_among(acl.own_in_orgs())];
            let place = Joined::any(places.into_iter().flatten().collect())?;
            Some(both(place, self.acl?(Sharing::of(filter))))
        };
        let own_outside = || {
            let own = mine().filter(|_| filter.own_outside_orgs())?;
            match (self.outside, self.org) {
                (Some(outside), _) => Some(both(own, outside())),
                (None, None) => Some(own),
                (None, Some(_)) => None,
            }
        };
        [org(filter.orgs()), own_among(filter.own_in_orgs()), own_outside(), shared()]
            .into_iter()
            .flatten()
            .collect()
    }
}

fn both<T: 'static>(one: Condition<T>, other: Condition<T>) -> Condition<T> {
    Joined::all(vec![one, other]).unwrap_or_else(never)
}

fn never<T: 'static>() -> Condition<T> {
    Box::new(sql::<Bool>("FALSE"))
}
