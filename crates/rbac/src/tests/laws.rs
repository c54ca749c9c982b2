//! Laws that hold for every subject and object, over a small world in which collisions are common.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use stdx::ids::{GroupId, OrganizationId, UserId};
use uuid::Uuid;

use super::model::{ModelObject, ModelRole, ModelSubject};
use crate::object::Place;
use crate::{
    Acl, Action, ActionSet, AllowEntry, AllowList, Object, Permission, Resource, SubjectKind,
};

const RESOURCES: &[Resource] = &[Resource::ApiKey, Resource::Template, Resource::Workspace];
const ACTIONS: &[Action] = &[Action::Read, Action::Update];
const ME: UserId = UserId::new(Uuid::from_u128(1));
const BOB: UserId = UserId::new(Uuid::from_u128(2));
const ORGS: &[OrganizationId] = &[
    OrganizationId::new(Uuid::from_u128(10)),
    OrganizationId::new(Uuid::from_u128(11)),
    OrganizationId::new(Uuid::from_u128(12)),
];
/// The last two are the groups of everyone in the first two organizations.
const GROUPS: &[GroupId] = &[
    GroupId::new(Uuid::from_u128(20)),
    GroupId::new(Uuid::from_u128(21)),
    GroupId::new(Uuid::from_u128(10)),
    GroupId::new(Uuid::from_u128(11)),
];

fn permission() -> impl Strategy<Value = Permission> {
    let resource = prop::option::weighted(0.8, select(RESOURCES));
    let action = prop::option::weighted(0.8, select(ACTIONS));
    (prop::bool::weighted(0.25), resource, action)
        .prop_map(|(negate, resource, action)| Permission { negate, resource, action })
}

fn permissions(most: usize) -> impl Strategy<Value = Vec<Permission>> {
    prop::collection::vec(permission(), 0..=most)
}

fn role() -> impl Strategy<Value = ModelRole> {
    let org = prop::option::weighted(0.7, select(ORGS));
    let site = prop_oneof![4 => Just(vec![]), 1 => permissions(1)];
    (org, site, permissions(2), permissions(2), permissions(3)).prop_map(
        |(org_id, site, user, org, member)| ModelRole {
            site,
            user,
            org: if org_id.is_some() { org } else { vec![] },
            member: if org_id.is_some() { member } else { vec![] },
            org_id,
        },
    )
}

fn full_scope() -> ModelRole {
    ModelRole { site: vec![Permission::EVERYTHING], ..ModelRole::default() }
}

fn entry() -> impl Strategy<Value = AllowEntry> {
    let id = (0_u128..3).prop_map(Uuid::from_u128);
    (prop::option::of(select(RESOURCES)), prop::option::of(id))
        .prop_map(|(resource, id)| AllowEntry { resource, id })
}

fn entries() -> impl Strategy<Value = Vec<AllowEntry>> {
    let everything = AllowEntry { resource: None, id: None };
    prop_oneof![
        2 => Just(vec![everything]),
        1 => prop::collection::vec(entry(), 0..4),
    ]
}

fn subject() -> impl Strategy<Value = ModelSubject> {
    let scope = prop_oneof![
        2 => Just(vec![full_scope()]),
        1 => prop::collection::vec(role(), 1..4),
    ];
    let groups = subsequence(&GROUPS[..3], 0..3);
    (prop::collection::vec(role(), 0..5), groups, scope, entries()).prop_map(
        |(roles, groups, scope, allow)| ModelSubject { id: ME, roles, groups, scope, allow },
    )
}

fn object() -> impl Strategy<Value = ModelObject> {
    let actions = || subsequence(ACTIONS, 0..=2).prop_map(|a| a.into_iter().collect::<ActionSet>());
    let acl = (
        prop::collection::vec((select(&[ME, BOB][..]), actions()), 0..2),
        prop::collection::vec((select(GROUPS), actions()), 0..3),
    )
        .prop_map(|(users, groups)| Acl::new(users, groups));
    let place = prop_oneof![
        1 => Just(Place::Outside),
        3 => select(ORGS).prop_map(Place::In),
        1 => Just(Place::Anywhere),
    ];
    let id = prop::option::of((0_u128..3).prop_map(Uuid::from_u128));
    let owner = prop::option::weighted(0.8, select(&[ME, ME, BOB][..]));
    (select(RESOURCES), id, owner, place, acl).prop_map(|(resource, id, owner, place, acl)| {
        ModelObject { resource, id, owner, place, acl }
    })
}

/// Adds a permission to some level of some role that has that level; the organizations stay the same.
fn grow(roles: &mut [ModelRole], role: Index, level: Index, permission: Permission) {
    if roles.is_empty() {
        return;
    }
    let position = role.index(roles.len());
    let role = &mut roles[position];
    let levels = if role.org_id.is_some() { 4 } else { 2 };
    role.levels_mut()[level.index(levels)].push(permission);
}

fn decides(subject: &ModelSubject, action: Action, object: &ModelObject) -> bool {
    subject.compile().authorize(action, &object.object()).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Laws 3 and 6: the compiled rule, its explanation and its row filter agree with the literal model.
    #[test]
    fn decision_explanation_filter_and_model_agree(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
    ) {
        let expected = model.allows(action, &object);
        let subject = model.compile();
        let asked = object.object();
        prop_assert_eq!(subject.authorize(action, &asked).is_ok(), expected);
        prop_assert_eq!(subject.authorize(action, &asked).is_ok(), expected, "pure");
        prop_assert_eq!(subject.explain(action, &asked).allowed, expected);
        if object.place != Place::Anywhere {
            let filter = subject.row_filter(action, object.resource);
            prop_assert_eq!(filter.matches(&asked), expected, "{:?}", filter);
            prop_assert!(!(filter.is_nothing() && expected));
            prop_assert!(!filter.is_everything() || expected);
        }
    }

    /// Law 1.
    #[test]
    fn a_positive_permission_never_takes_away(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
        added in permission(),
        (role, level, in_scope) in any::<(Index, Index, bool)>(),
    ) {
        let mut more = model.clone();
        let roles = if in_scope { &mut more.scope } else { &mut more.roles };
        grow(roles, role, level, Permission { negate: false, ..added });
        prop_assert!(!decides(&model, action, &object) || decides(&more, action, &object));
    }

    /// Law 1 for a whole new role of allowing permissions, which may bring membership.
    #[test]
    fn a_positive_role_never_takes_away(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
        mut added in role(),
    ) {
        for level in added.levels_mut() {
            for permission in level.iter_mut() {
                permission.negate = false;
            }
        }
        let mut more = model.clone();
        more.roles.push(added);
        prop_assert!(!decides(&model, action, &object) || decides(&more, action, &object));
    }

    /// Law 2.
    #[test]
    fn a_negative_permission_never_gives(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
        added in permission(),
        (role, level, in_scope) in any::<(Index, Index, bool)>(),
    ) {
        let mut less = model.clone();
        let roles = if in_scope { &mut less.scope } else { &mut less.roles };
        grow(roles, role, level, added.negated());
        prop_assert!(decides(&model, action, &object) || !decides(&less, action, &object));
    }

    /// Law 4.
    #[test]
    fn order_does_not_matter(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
    ) {
        let mut turned = model.clone();
        turned.roles.reverse();
        turned.groups.reverse();
        turned.allow.reverse();
        turned.scope.reverse();
        for role in turned.roles.iter_mut().chain(&mut turned.scope) {
            for level in role.levels_mut() {
                level.reverse();
            }
        }
        prop_assert_eq!(decides(&model, action, &object), decides(&turned, action, &object));
        if object.place != Place::Anywhere {
            prop_assert_eq!(
                model.compile().row_filter(action, object.resource),
                turned.compile().row_filter(action, object.resource)
            );
        }
    }

    /// Law 5.
    #[test]
    fn a_narrower_credential_never_allows_more(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
        list in entries(),
        dropped in any::<Index>(),
    ) {
        let narrow = AllowList::new(model.allow.iter().copied())
            .intersect(&AllowList::new(list));
        let mut less = model.clone();
        less.allow = narrow.entries().to_vec();
        // A scope narrows by losing allowing permissions; losing a forbidding one would widen it.
        let at = dropped.index(less.scope.len());
        for level in less.scope[at].levels_mut() {
            level.retain(|permission| permission.negate);
        }
        prop_assert!(decides(&model, action, &object) || !decides(&less, action, &object));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// One forbidding permission beats any number of allowing ones of its level, whatever roles they are in.
    #[test]
    fn a_negative_beats_every_positive_of_its_level(
        mut object in object(),
        action in select(ACTIONS),
        (negative_resource, negative_action) in any::<(bool, bool)>(),
        positives in 1_usize..4,
    ) {
        object.acl = Acl::default();
        prop_assume!(object.place != Place::Anywhere);
        let org_id = match object.place {
            Place::In(org) => Some(org),
            Place::Outside | Place::Anywhere => None,
        };
        let negative = Permission {
            negate: true,
            resource: negative_resource.then_some(object.resource),
            action: negative_action.then_some(action),
        };
        let owned = object.owner == Some(ME);
        let counts = [true, owned && org_id.is_none(), org_id.is_some(), owned && org_id.is_some()];
        for (level, counts) in counts.into_iter().enumerate() {
            if level >= 2 && org_id.is_none() {
                continue;
            }
            let with = |permission| {
                let mut role = ModelRole { org_id, ..ModelRole::default() };
                role.levels_mut()[level].push(permission);
                role
            };
            let mut model = ModelSubject {
                id: ME,
                roles: vec![with(Permission::EVERYTHING); positives],
                groups: vec![],
                scope: vec![full_scope()],
                allow: vec![AllowEntry { resource: None, id: None }],
            };
            prop_assert_eq!(decides(&model, action, &object), counts);
            model.roles.insert(0, with(negative));
            prop_assert!(!decides(&model, action, &object));
        }
    }

    /// A ceiling takes away: what is allowed under it is allowed without it.
    #[test]
    fn a_scope_and_its_list_never_give(
        model in subject(),
        action in select(ACTIONS),
        object in object(),
    ) {
        let mut whole = model.clone();
        whole.scope = vec![full_scope()];
        whole.allow = vec![AllowEntry { resource: None, id: None }];
        prop_assert!(decides(&whole, action, &object) || !decides(&model, action, &object));
    }

    /// Filtering keeps exactly what is allowed one by one, any organization included.
    #[test]
    fn filtering_is_deciding_one_by_one(
        model in subject(),
        action in select(ACTIONS),
        resource in select(RESOURCES),
        mut objects in prop::collection::vec(object(), 0..12),
    ) {
        for object in &mut objects {
            object.resource = resource;
        }
        let subject = model.compile();
        let all: Vec<&ModelObject> = objects.iter().collect();
        let kept = subject.filter(action, resource, all.clone(), |object| object.object()).unwrap();
        let wanted: Vec<&ModelObject> = all
            .iter()
            .copied()
            .filter(|object| subject.authorize(action, &object.object()).is_ok())
            .collect();
        prop_assert_eq!(kept.len(), wanted.len());
        prop_assert!(kept.iter().zip(&wanted).all(|(a, b)| std::ptr::eq(*a, *b)));
        if let Some(other) = RESOURCES.iter().find(|other| **other != resource) {
            let mixed = subject.filter(action, *other, all, |object| object.object());
            prop_assert_eq!(mixed.is_err(), !objects.is_empty());
        }
    }
}

/// Not even rows that name the nil id as their owner.
#[test]
fn a_subject_with_the_nil_id_owns_nothing() {
    let nobody = ModelSubject {
        id: UserId::nil(),
        roles: vec![ModelRole {
            org_id: Some(ORGS[0]),
            user: vec![Permission::EVERYTHING],
            member: vec![Permission::EVERYTHING],
            ..ModelRole::default()
        }],
        groups: vec![],
        scope: vec![full_scope()],
        allow: vec![AllowEntry { resource: None, id: None }],
    }
    .compile_as(SubjectKind::Autostart);
    for resource in RESOURCES {
        for object in [
            Object::new(*resource).owner(UserId::nil()),
            Object::new(*resource).owner(UserId::nil()).in_org(ORGS[0]),
        ] {
            let filter = nobody.row_filter(Action::Read, *resource);
            assert!(nobody.authorize(Action::Read, &object).is_err());
            assert!(!filter.matches(&object));
            assert!(!filter.own_outside_orgs() && filter.own_in_orgs().is_empty());
        }
    }
}
