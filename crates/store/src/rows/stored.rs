use std::collections::BTreeMap;

use rbac::{Acl, Action, ActionSet, Resource};
use serde_json::{Map, Value, json};
use stdx::ids::Id;
use uuid::Uuid;

use super::AclShape;
use crate::Error;

/// Most users, and most groups, that an access control list names.
pub const ENTRIES_MAX: usize = 1_000;

/// What stands for every action, those that are yet to come included.
const ALL: &str = "*";

impl AclShape {
    /// The access control list that is in two columns. As for [`Sharing::by`](super::Sharing::by), what is not of this
    /// shape gives nothing to anybody.
    pub(crate) fn read(self, users: &Value, groups: &Value) -> Acl {
        Acl::new(self.entries(users), self.entries(groups))
    }

    fn entries<K: Id>(self, column: &Value) -> impl Iterator<Item = (K, ActionSet)> {
        let entries = column.as_object().into_iter().flatten();
        entries.filter_map(move |(key, entry)| {
            // Keys are compared as text by the condition of lists, so another spelling is another key.
            let id = Uuid::parse_str(key).ok().filter(|id| id.to_string() == *key)?;
            let actions = match self {
                Self::Actions => entry,
                Self::Permissions => entry.get("permissions")?,
            };
            let actions = actions.as_array()?.iter().filter_map(Value::as_str).map(known);
            Some((K::from_uuid(id), actions.fold(ActionSet::EMPTY, ActionSet::union)))
        })
    }

    /// What becomes of a column: these entries replace those of the same users or groups, or remove them where no
    /// action is left; the others stay. [`Error::Unfit`] if there are more than [`ENTRIES_MAX`] then, or for an action
    /// that the resource does not know.
    pub(crate) fn merge<K: Id>(
        self,
        resource: Resource,
        column: &Value,
        entries: &BTreeMap<K, ActionSet>,
    ) -> Result<Value, Error> {
        let mut merged = column.as_object().cloned().unwrap_or_default();
        for (id, actions) in entries {
            let key = id.to_uuid().to_string();
            if actions.is_empty() {
                merged.remove(&key);
                continue;
            }
            if *actions != ActionSet::ALL && !resource.actions().contains_all(*actions) {
                return Err(Error::Unfit("the list has an action that is none of these".into()));
            }
            merged.insert(key, self.entry(*actions));
        }
        if merged.len() > ENTRIES_MAX {
            return Err(Error::Unfit("the list has too many entries".into()));
        }
        Ok(Value::Object(merged))
    }

    fn entry(self, actions: ActionSet) -> Value {
        let names: Vec<&str> = if actions == ActionSet::ALL {
            vec![ALL]
        } else {
            actions.iter().map(Action::as_str).collect()
        };
        match self {
            Self::Actions => json!(names),
            Self::Permissions => json!({ "permissions": names }),
        }
    }
}

/// A column that shares nothing.
pub(crate) fn nobody() -> Value {
    Value::Object(Map::new())
}

/// A name that is not known, of a version to come or gone, gives nothing.
fn known(name: &str) -> ActionSet {
    match name {
        ALL => ActionSet::ALL,
        name => name.parse::<Action>().map_or(ActionSet::EMPTY, ActionSet::from),
    }
}

#[cfg(test)]
mod tests {
    use stdx::ids::{GroupId, UserId};

    use super::*;

    const ID: &str = "0000000a-0000-4000-8000-00000000000a";

    fn user(n: u128) -> UserId {
        UserId::new(Uuid::from_u128(n))
    }

    #[test]
    fn what_is_written_is_read_again() {
        for shape in [AclShape::Actions, AclShape::Permissions] {
            let some = ActionSet::of(&[Action::Read, Action::Update]);
            let users = BTreeMap::from([(user(1), some), (user(2), ActionSet::EMPTY)]);
            let groups = BTreeMap::from([(GroupId::new(Uuid::from_u128(3)), ActionSet::ALL)]);
            let users = shape.merge(Resource::Template, &nobody(), &users).unwrap();
            let groups = shape.merge(Resource::Template, &nobody(), &groups).unwrap();
            let wanted =
                Acl::new([(user(1), some)], [(GroupId::new(Uuid::from_u128(3)), ActionSet::ALL)]);
            assert_eq!(shape.read(&users, &groups), wanted, "{shape:?}");
        }
        let read = BTreeMap::from([(ID.parse::<UserId>().unwrap(), Action::Read.into())]);
        let stored = |shape: AclShape| shape.merge(Resource::Template, &nobody(), &read).unwrap();
        assert_eq!(stored(AclShape::Actions), json!({ ID: ["read"] }));
        assert_eq!(stored(AclShape::Permissions), json!({ ID: { "permissions": ["read"] } }));
    }

    #[test]
    fn other_entries_stay_and_those_without_actions_go() {
        let shape = AclShape::Actions;
        let (one, two, three) = (user(1).to_string(), user(2).to_string(), user(3).to_string());
        let column = json!({ &one: ["read"], &two: ["read"] });
        let changes = BTreeMap::from([
            (user(2), ActionSet::EMPTY),
            (user(3), Action::Use.into()),
            (user(4), ActionSet::EMPTY),
        ]);
        let merged = shape.merge(Resource::Template, &column, &changes).unwrap();
        assert_eq!(merged, json!({ one: ["read"], three: ["use"] }));
    }

    #[test]
    fn what_is_not_of_the_shape_gives_nothing() {
        let upper = ID.to_uppercase();
        for (column, gives) in [
            (json!({ ID: ["read"] }), true),
            (json!({ ID: ["fly", 7, "read"] }), true),
            (json!({ ID: ["*"] }), true),
            (json!({ ID: ["fly"] }), false),
            (json!({ ID: { "permissions": ["read"] } }), false),
            (json!({ ID: "read" }), false),
            (json!({ ID: [] }), false),
            (json!({ "alice": ["read"] }), false),
            (json!({ upper: ["read"] }), false),
            (json!([ID]), false),
            (Value::Null, false),
        ] {
            assert_eq!(!AclShape::Actions.read(&column, &nobody()).is_empty(), gives, "{column}");
            let nested = json!({ ID: { "permissions": column.get(ID) } });
            let given = AclShape::Permissions.read(&nested, &nobody());
            assert_eq!(!given.is_empty(), gives, "{nested}");
        }
    }

    #[test]
    fn strange_actions_and_endless_lists_are_refused() {
        let merge = |actions: ActionSet, of: Resource| {
            AclShape::Actions.merge(of, &nobody(), &BTreeMap::from([(user(1), actions)]))
        };
        assert!(matches!(merge(Action::Use.into(), Resource::Workspace), Err(Error::Unfit(_))));
        assert!(merge(Action::Use.into(), Resource::Template).is_ok());
        let many = |count: u128| (0..count).map(|n| (user(n), Action::Read.into())).collect();
        let most = u128::try_from(ENTRIES_MAX).unwrap();
        let all = AclShape::Actions.merge(Resource::Template, &nobody(), &many(most)).unwrap();
        let more = BTreeMap::from([(user(most), Action::Read.into())]);
        let refused = AclShape::Actions.merge(Resource::Template, &all, &more);
        assert!(matches!(refused, Err(Error::Unfit(_))), "{refused:?}");
    }
}
