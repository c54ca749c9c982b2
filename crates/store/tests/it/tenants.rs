//! Organizations, and the groups in them.

use std::sync::Arc;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::{GroupId, OrganizationId};
use store::groups::{
    CountGroupMembers, DeleteGroup, GetGroupByName, InsertGroup, InsertMissingGroups, JoinGroups,
    LeaveGroups, ListGroupMembers, ListGroups, UpdateGroup, UpdateGroupMembers, ValidateGroupIds,
};
use store::members::DeleteMember;
use store::organizations::{
    CountResources, DeleteOrganization, InsertOrganization, ListIdsOfMembers, ListOrganizations,
    Resources, UpdateOrganization,
};
use store::users::{Filter, Window};
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::people::{ORG, colleague, organization};
use crate::scene::{NOW, add_user, member, owner, user_id, value};

const EVERYONE: GroupId = GroupId::new(ORG.uuid());

const fn group_id(n: u32) -> GroupId {
    GroupId::new(Uuid::from_u128(0x3000 + n as u128))
}

/// Alice and Bob in one organization, Carol in none.
async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "alice"), (2, "bob"), (3, "carol")] {
        add_user(&store, n, name).await;
    }
    organization(&store, &[1, 2]).await;
    (db, store)
}

fn new_group(n: u32, name: &str) -> InsertGroup {
    InsertGroup {
        id: group_id(n),
        organization_id: ORG,
        name: name.to_owned(),
        display_name: String::new(),
        avatar_url: String::new(),
        quota_allowance: 3,
    }
}

/// A member of the organization, where members do not see all groups, who is in one.
fn in_group(n: u32, group: GroupId) -> Arc<Subject> {
    let subject = SubjectBuilder::user(user_id(n)).site_role("member").scope(Scope::all());
    let subject = subject.membership(ORG, Sharing::None, false).groups([group, EVERYONE]);
    Arc::new(subject.compile(&Catalog::default()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_are_listed_changed_and_deleted_when_empty() {
    let (db, store) = scene().await;
    let (owner, alice, carol) = (owner(), colleague(1, Sharing::None), member(3));
    let by = Call::by(&owner);
    let other = OrganizationId::new(Uuid::from_u128(0x21));
    let new = InsertOrganization {
        id: other,
        name: "Acme".to_owned(),
        display_name: String::new(),
        is_default: false,
        now: NOW,
    };
    store.run(by, new).await.unwrap();
    let listed = async |by: &Arc<Subject>, list: ListOrganizations| {
        let found = store.run(Call::by(by), list).await.unwrap();
        found.into_iter().map(|organization| organization.name).collect::<Vec<_>>()
    };
    let all = ListOrganizations::default;
    assert_eq!(listed(&owner, all()).await, ["Acme", "coder"]);
    assert_eq!(listed(&alice, all()).await, ["coder"]);
    assert!(listed(&carol, all()).await.is_empty());
    let named = ListOrganizations { name: Some("ACME".to_owned()), ..all() };
    assert_eq!(listed(&owner, named).await, ["Acme"]);
    let of = |n| ListOrganizations { of_user: Some(user_id(n)), ..all() };
    assert_eq!(listed(&owner, of(2)).await, ["coder"]);
    assert!(listed(&owner, of(3)).await.is_empty());
    let user_ids = || (1..=3).map(user_id).collect();
    let pairs = store.run(by, ListIdsOfMembers { user_ids: user_ids() }).await.unwrap();
    assert_eq!(pairs, [(Pk(user_id(1)), Pk(ORG)), (Pk(user_id(2)), Pk(ORG))]);
    let pairs = ListIdsOfMembers { user_ids: user_ids() };
    assert_eq!(store.run(Call::by(&carol), pairs).await.unwrap(), []);

    let update = |id, name: &str| UpdateOrganization {
        id,
        name: name.to_owned(),
        display_name: "D".to_owned(),
        description: "about".to_owned(),
        icon: "/i.svg".to_owned(),
        now: NOW,
    };
    let refused = store.run(Call::by(&alice), update(ORG, "mine")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let taken = store.run(by, update(other, "CODER")).await;
    assert!(
        matches!(taken, Err(Error::Conflict(Constraint::OrganizationsNameLowerKey))),
        "{taken:?}"
    );
    let wrong = store.run(by, update(other, "a b")).await;
    assert!(matches!(wrong, Err(Error::Check(Constraint::OrganizationsNameShape))), "{wrong:?}");
    let change = store.run(by, update(other, "acme2")).await.unwrap();
    assert_eq!(change.old.unwrap().name, "Acme");
    let new = change.new.unwrap();
    assert_eq!((new.name.as_str(), new.description.as_str()), ("acme2", "about"));

    let delete = |id| DeleteOrganization { id, now: NOW };
    let refused = store.run(Call::by(&alice), delete(ORG)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    store.run(by, new_group(1, "devs")).await.unwrap();
    let holds = |groups, members| Resources {
        workspaces: 0,
        templates: 0,
        provisioner_keys: 0,
        groups,
        members,
    };
    let count = || CountResources { id: ORG };
    assert_eq!(store.run(by, count()).await.unwrap(), holds(1, 2));
    let refused = store.run(Call::by(&carol), count()).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let full = store.run(by, delete(ORG)).await;
    assert!(matches!(full, Err(Error::Check(Constraint::OrganizationsHasGroups))), "{full:?}");
    store.run(by, DeleteGroup { id: group_id(1) }).await.unwrap();
    let full = store.run(by, delete(ORG)).await;
    assert!(matches!(full, Err(Error::Check(Constraint::OrganizationsHasMembers))), "{full:?}");
    let leave = DeleteMember { organization_id: ORG, user_id: user_id(2) };
    store.run(by, leave).await.unwrap();
    db.sql(&format!(
        "INSERT INTO provisioner_keys (id, created_at, organization_id, name, hashed_secret)
         VALUES (gen_random_uuid(), now(), '{ORG}', 'k', decode(repeat('00', 32), 'hex'))"
    ))
    .await
    .unwrap();
    let full = store.run(by, delete(ORG)).await;
    assert!(matches!(full, Err(Error::Check(Constraint::OrganizationsHasResources))), "{full:?}");
    db.sql("DELETE FROM provisioner_keys").await.unwrap();
    assert!(store.run(by, delete(ORG)).await.unwrap().new.unwrap().deleted);
    let again = store.run(by, delete(ORG)).await;
    assert!(matches!(again, Err(Error::NotFound)), "{again:?}");
    assert_eq!(listed(&owner, all()).await, ["acme2"]);
    let gone = ListOrganizations { deleted: true, ..all() };
    assert_eq!(listed(&owner, gone).await, ["coder"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_made_changed_and_deleted_by_those_who_may() {
    let (_db, store) = scene().await;
    let (owner, alice) = (owner(), colleague(1, Sharing::None));
    let by = Call::by(&owner);
    let refused = store.run(Call::by(&alice), new_group(1, "devs")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let made = store.run(by, new_group(1, "devs")).await.unwrap().new.unwrap();
    assert_eq!(
        (made.name.as_str(), made.source.as_str(), made.quota_allowance),
        ("devs", "user", 3)
    );
    let taken = store.run(by, new_group(2, "DEVS")).await;
    assert!(
        matches!(taken, Err(Error::Conflict(Constraint::GroupsOrganizationNameLowerKey))),
        "{taken:?}"
    );
    let nowhere = OrganizationId::new(Uuid::from_u128(0x99));
    let stray = InsertGroup { organization_id: nowhere, ..new_group(2, "stray") };
    let missing = store.run(by, stray).await;
    assert!(
        matches!(missing, Err(Error::Missing(Constraint::GroupsOrganizationFk))),
        "{missing:?}"
    );
    let update = |id, name: &str, quota_allowance| UpdateGroup {
        id,
        name: name.to_owned(),
        display_name: "Developers".to_owned(),
        avatar_url: String::new(),
        quota_allowance,
        chat_spend_limit_micros: Some(9),
    };
    let refused = store.run(Call::by(&alice), update(group_id(1), "x", 0)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let wrong = store.run(by, update(group_id(1), "devs", -1)).await;
    assert!(matches!(wrong, Err(Error::Check(Constraint::GroupsQuotaAllowanceCheck))), "{wrong:?}");
    let absent = store.run(by, update(group_id(9), "devs", 0)).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
    let change = store.run(by, update(group_id(1), "developers", 4)).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_eq!((old.quota_allowance, new.quota_allowance), (3, 4));
    assert_eq!((new.name.as_str(), new.chat_spend_limit_micros), ("developers", Some(9)));
    let everyone = store.run(by, update(EVERYONE, "nobody", 1)).await.unwrap().new.unwrap();
    assert_eq!((everyone.name.as_str(), everyone.quota_allowance), ("Everyone", 1));
    let by_name = |name: &str| GetGroupByName { organization_id: ORG, name: name.to_owned() };
    assert_eq!(store.run(by, by_name("DEVELOPERS")).await.unwrap(), new);
    let refused = store.run(Call::by(&alice), by_name("developers")).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let invalid = ValidateGroupIds { ids: vec![group_id(9), group_id(1)] };
    assert_eq!(store.run(by, invalid).await.unwrap(), [group_id(9)]);
    let kept = store.run(by, DeleteGroup { id: EVERYONE }).await;
    assert!(matches!(kept, Err(Error::NotFound)), "{kept:?}");
    let delete = || DeleteGroup { id: group_id(1) };
    let refused = store.run(Call::by(&alice), delete()).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    assert_eq!(store.run(by, delete()).await.unwrap().old.unwrap(), new);
    let absent = store.run(by, delete()).await;
    assert!(matches!(absent, Err(Error::NotFound)), "{absent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_have_members_of_their_organization_only() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    store.run(by, new_group(1, "devs")).await.unwrap();
    let update = |id, add: &[u32], remove: &[u32]| UpdateGroupMembers {
        id,
        add: add.iter().copied().map(user_id).collect(),
        remove: remove.iter().copied().map(user_id).collect(),
    };
    let devs = group_id(1);
    let alice = in_group(1, devs);
    let refused = store.run(Call::by(&alice), update(devs, &[1], &[])).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let change = store.run(by, update(devs, &[2, 1, 1], &[])).await.unwrap();
    assert_eq!(change.old.unwrap().members, []);
    assert_eq!(change.new.unwrap().members, [Pk(user_id(1)), Pk(user_id(2))]);
    let stranger = store.run(by, update(devs, &[3], &[1])).await;
    assert!(
        matches!(stranger, Err(Error::Missing(Constraint::GroupMembersUserFk))),
        "{stranger:?}"
    );
    assert_eq!(value(&db, "SELECT count(*) FROM group_members").await, "2", "all or nothing");
    let everyone = store.run(by, update(EVERYONE, &[1], &[])).await;
    assert!(matches!(everyone, Err(Error::NotFound)), "{everyone:?}");
    let change = store.run(by, update(devs, &[1], &[2, 3])).await.unwrap();
    assert_eq!(change.new.unwrap().members, [Pk(user_id(1))]);

    let listed = async |by: &Arc<Subject>, group_id| {
        let (filter, window) = (Filter::default(), Window::default());
        let list = ListGroupMembers { group_id, filter, window };
        let page = store.run(Call::by(by), list).await.unwrap().unwrap();
        page.into_iter().map(|user| user.username).collect::<Vec<_>>()
    };
    assert_eq!(listed(&owner, devs).await, ["alice"]);
    assert_eq!(listed(&owner, EVERYONE).await, ["alice", "bob"]);
    assert_eq!(listed(&alice, EVERYONE).await, ["alice"], "members know of themselves");
    assert!(listed(&member(3), EVERYONE).await.is_empty());
    let count = |group_id| CountGroupMembers { group_id, include_system: false };
    assert_eq!(store.run(Call::by(&alice), count(devs)).await.unwrap().1, 1);
    assert_eq!(store.run(Call::by(&alice), count(EVERYONE)).await.unwrap().1, 2);
    let refused = store.run(Call::by(&member(3)), count(devs)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");

    let groups = async |by: &Arc<Subject>, list: ListGroups| {
        let found = store.run(Call::by(by), list).await.unwrap();
        assert!(found.iter().all(|found| found.organization_name == "coder"));
        found.into_iter().map(|found| found.group.name).collect::<Vec<_>>()
    };
    store.run(by, new_group(2, "ops")).await.unwrap();
    let all = ListGroups::default;
    assert_eq!(groups(&owner, all()).await, ["devs", "Everyone", "ops"]);
    assert_eq!(groups(&alice, all()).await, ["devs", "Everyone"], "those that one is in");
    assert!(groups(&member(3), all()).await.is_empty());
    for (list, wanted) in [
        (ListGroups { member: Some(user_id(2)), ..all() }, vec!["Everyone"]),
        (ListGroups { names: Some(vec!["OPS".to_owned()]), ..all() }, vec!["ops"]),
        (ListGroups { ids: Some(vec![devs]), ..all() }, vec!["devs"]),
        (ListGroups { ids: Some(vec![]), ..all() }, vec![]),
        (
            ListGroups {
                organization_id: Some(OrganizationId::new(Uuid::from_u128(0x99))),
                ..all()
            },
            vec![],
        ),
    ] {
        assert_eq!(groups(&owner, list).await, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_provider_says_who_is_in_which_group() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    store.run(by, new_group(1, "Devs")).await.unwrap();
    let missing = |names: &[(u32, &str)]| InsertMissingGroups {
        organization_id: ORG,
        groups: names.iter().map(|(n, name)| (group_id(*n), (*name).to_owned())).collect(),
    };
    let refused = store.run(Call::by(&in_group(1, EVERYONE)), missing(&[(2, "ops")])).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let made = store.run(by, missing(&[(2, "ops"), (3, "DEVS"), (4, "qa")])).await.unwrap();
    let made: Vec<_> = made.into_iter().map(|change| change.new.unwrap()).collect();
    assert_eq!(made.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(), ["ops", "qa"]);
    assert!(made.iter().all(|group| group.source == "oidc"));
    assert!(store.run(by, missing(&[])).await.unwrap().is_empty());
    let join = |n, ids: &[GroupId], names: &[&str]| JoinGroups {
        organization_id: ORG,
        user_id: user_id(n),
        ids: ids.to_vec(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    let refused = store.run(Call::by(&in_group(1, EVERYONE)), join(1, &[], &["ops"])).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let ids = [group_id(4), EVERYONE, group_id(9)];
    let mut joined = store.run(by, join(1, &ids, &["DEVS", "none"])).await.unwrap();
    joined.sort_unstable();
    assert_eq!(joined, [group_id(1), group_id(4)]);
    let joined = store.run(by, join(1, &[group_id(4)], &["ops"])).await.unwrap();
    assert_eq!(joined, [group_id(2)], "only what is new");
    assert!(store.run(by, join(3, &[group_id(4)], &[])).await.unwrap().is_empty(), "no member");
    let leave = |n, ids| LeaveGroups { organization_id: ORG, user_id: user_id(n), ids };
    let refused = store.run(Call::by(&in_group(1, EVERYONE)), leave(1, None)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    let left = store.run(by, leave(1, Some(vec![group_id(2), group_id(9)]))).await.unwrap();
    assert_eq!(left, [group_id(2)]);
    let mut left = store.run(by, leave(1, None)).await.unwrap();
    left.sort_unstable();
    assert_eq!(left, [group_id(1), group_id(4)]);
    assert_eq!(value(&db, "SELECT count(*) FROM group_members").await, "0");
}
