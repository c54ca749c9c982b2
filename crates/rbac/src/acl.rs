//! Access control lists: who else may do what to one object.

mod sharing;

use stdx::ids::{GroupId, UserId};

use crate::action::{Action, ActionSet};

pub use sharing::{sharing_actions, sharing_role};

/// Who else may do what to one object.
///
/// A stored `*` is [`ActionSet::ALL`]. The group of everyone in an organization has the
/// organization's id as its key. Lookups are binary searches and never allocate.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Acl {
    users: Vec<(UserId, ActionSet)>,
    groups: Vec<(GroupId, ActionSet)>,
}

impl Acl {
    /// Builds a list; several entries of one user or group are united, empty ones dropped.
    #[must_use]
    pub fn new(
        users: impl IntoIterator<Item = (UserId, ActionSet)>,
        groups: impl IntoIterator<Item = (GroupId, ActionSet)>,
    ) -> Self {
        Self { users: sorted(users), groups: sorted(groups) }
    }

    /// Whether nobody is listed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.users.is_empty() && self.groups.is_empty()
    }

    /// The entries of users, sorted by id.
    #[must_use]
    pub fn users(&self) -> &[(UserId, ActionSet)] {
        &self.users
    }

    /// The entries of groups, sorted by id.
    #[must_use]
    pub fn groups(&self) -> &[(GroupId, ActionSet)] {
        &self.groups
    }

    pub(crate) fn lists_user(&self, user: UserId, action: Action) -> bool {
        listed(&self.users, &user, action)
    }

    pub(crate) fn lists_group(&self, group: GroupId, action: Action) -> bool {
        listed(&self.groups, &group, action)
    }

    /// The first of `groups` (sorted) that is listed with `action`. Walks the shorter of the two lists
    /// and searches in the longer one.
    pub(crate) fn first_group(&self, groups: &[GroupId], action: Action) -> Option<GroupId> {
        if groups.len() <= self.groups.len() {
            groups.iter().copied().find(|group| self.lists_group(*group, action))
        } else {
            self.groups
                .iter()
                .find(|(group, actions)| {
                    actions.contains(action) && groups.binary_search(group).is_ok()
                })
                .map(|(group, _)| *group)
        }
    }
}

fn sorted<K: Ord>(entries: impl IntoIterator<Item = (K, ActionSet)>) -> Vec<(K, ActionSet)> {
    let mut entries: Vec<_> =
        entries.into_iter().filter(|(_, actions)| !actions.is_empty()).collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries.dedup_by(|(key, actions), (kept, united)| {
        let same = key == kept;
        if same {
            *united = united.union(*actions);
        }
        same
    });
    entries
}

fn listed<K: Ord>(entries: &[(K, ActionSet)], key: &K, action: Action) -> bool {
    entries
        .binary_search_by(|(listed, _)| listed.cmp(key))
        .ok()
        .and_then(|position| entries.get(position))
        .is_some_and(|(_, actions)| actions.contains(action))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn group(n: u128) -> GroupId {
        GroupId::new(Uuid::from_u128(n))
    }

    #[test]
    fn entries_of_one_key_are_united_and_empty_ones_dropped() {
        let acl = Acl::new(
            [(UserId::new(Uuid::from_u128(9)), ActionSet::EMPTY)],
            [
                (group(2), Action::Use.into()),
                (group(1), Action::Read.into()),
                (group(2), Action::Read.into()),
            ],
        );
        assert!(acl.users().is_empty() && !acl.is_empty());
        assert_eq!(acl.groups().len(), 2);
        assert!(acl.lists_group(group(2), Action::Use) && acl.lists_group(group(2), Action::Read));
        assert!(!acl.lists_group(group(1), Action::Use) && !acl.lists_group(group(3), Action::Use));
    }

    #[test]
    fn the_shorter_list_is_walked_with_the_same_answer() {
        let acl = Acl::new([], [(group(2), Action::Use.into()), (group(4), Action::Read.into())]);
        for mine in [vec![group(4)], (3..20).map(group).collect::<Vec<_>>()] {
            assert_eq!(acl.first_group(&mine, Action::Read), Some(group(4)));
            assert_eq!(acl.first_group(&mine, Action::Use), None);
        }
        assert_eq!(acl.first_group(&[], Action::Read), None);
    }
}
