//! Workspaces: who sees which, and what they are called.

mod sharing;

use std::sync::Arc;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder};
use stdx::ids::{GroupId, OrganizationId, TaskId, TemplateId, WorkspaceId};
use store::organizations::InsertOrganization;
use store::workspaces::{CountWorkspaces, Filter, GetWorkspace, ListWorkspaces};
use store::{Call, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::refused;
use crate::people::{ORG, organization};
use crate::scene::{NOW, add_user, member, owner, user_id};

pub(crate) const OTHER_ORG: OrganizationId = OrganizationId::new(Uuid::from_u128(0x21));
pub(crate) const GROUP: GroupId = GroupId::new(Uuid::from_u128(0x30));

pub(crate) const fn workspace_id(n: u32) -> WorkspaceId {
    WorkspaceId::new(Uuid::from_u128(0xa300 + n as u128))
}

pub(crate) const fn template_id(n: u32) -> TemplateId {
    TemplateId::new(Uuid::from_u128(0xa100 + n as u128))
}

pub(crate) const fn version_id(n: u32) -> Uuid {
    Uuid::from_u128(0xa200 + n as u128)
}

/// Alice (1), Bob (2), Carol (3) and a service account (4) in an organization with a group and a template (1) of two
/// versions (1, 2); and another organization with one (2) of a version (3).
pub(crate) async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "alice"), (2, "bob"), (3, "carol"), (4, "robot")] {
        add_user(&store, n, name).await;
    }
    organization(&store, &[1, 2, 3, 4]).await;
    let new = InsertOrganization {
        id: OTHER_ORG,
        name: "other".to_owned(),
        display_name: "Other".to_owned(),
        is_default: false,
        now: NOW,
    };
    store.run(Call::by(&owner()), new).await.unwrap();
    db.sql(&format!(
        "UPDATE users SET email = '', login_type = 'none', is_service_account = true WHERE username = 'robot';
         UPDATE users SET name = 'Alice', avatar_url = '/alice.png' WHERE username = 'alice';
         INSERT INTO groups (id, organization_id, name, display_name) VALUES ('{GROUP}', '{ORG}', 'devs', 'Devs');"
    ))
    .await
    .unwrap();
    for (n, org) in [(1, ORG), (2, OTHER_ORG)] {
        let (template, version, by) = (template_id(n), version_id(1), user_id(1));
        db.sql(&format!(
            "INSERT INTO templates (id, organization_id, created_at, updated_at, name, active_version_id, created_by)
             VALUES ('{template}', '{org}', now(), now(), 'rust-{n}', '{version}', '{by}')"
        ))
        .await
        .unwrap();
    }
    for (n, template, org) in [(1, 1, ORG), (2, 1, ORG), (3, 2, OTHER_ORG)] {
        let (version, template, by) = (version_id(n), template_id(template), user_id(1));
        db.sql(&format!(
            "INSERT INTO provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, type)
             VALUES ('{version}', now(), now(), '{org}', '{by}', 'template_version_import');
             INSERT INTO template_versions (id, template_id, organization_id, created_at, job_id, created_by, name)
             VALUES ('{version}', '{template}', '{org}', now(), '{version}', '{by}', 'v{n}');"
        ))
        .await
        .unwrap();
    }
    (db, store)
}

/// A workspace of user `owner`.
pub(crate) async fn add_workspace(db: &TestDb, n: u32, owner: u32, name: &str) -> WorkspaceId {
    let (id, owner, template) = (workspace_id(n), user_id(owner), template_id(1));
    db.sql(&format!(
        "INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name, last_used_at)
         VALUES ('{id}', '2031-01-15 12:00Z', '2031-01-15 12:00Z', '{owner}', '{ORG}', '{template}', '{name}', now())"
    ))
    .await
    .unwrap();
    id
}

pub(crate) async fn set(db: &TestDb, n: u32, what: &str) {
    let id = workspace_id(n);
    db.sql(&format!("UPDATE workspaces SET {what} WHERE id = '{id}'")).await.unwrap();
}

/// A list that lets somebody do these things.
pub(crate) fn shared_with(who: &dyn ToString, actions: &[&str]) -> String {
    serde_json::json!({ who.to_string(): { "permissions": actions } }).to_string()
}

/// A member of [`ORG`] who may have workspaces there.
pub(crate) fn person(n: u32) -> Arc<Subject> {
    person_where(n, Sharing::Everyone, &[])
}

pub(crate) fn person_where(n: u32, sharing: Sharing, groups: &[GroupId]) -> Arc<Subject> {
    let person = SubjectBuilder::user(user_id(n)).site_role("member").scope(Scope::all());
    let person = person
        .membership(ORG, sharing, n == 4)
        .org_role(ORG, "organization-workspace-access")
        .groups(groups.iter().copied());
    Arc::new(person.compile(&Catalog::default()).unwrap())
}

fn list(filter: Filter) -> ListWorkspaces {
    ListWorkspaces { filter, offset: 0, limit: 0 }
}

async fn names(store: &Full, by: &Arc<Subject>, query: ListWorkspaces) -> Vec<String> {
    let page = store.run(Call::by(by), query).await.unwrap();
    page.into_iter().map(|(workspace, _)| workspace.name).collect()
}

/// Number, owner and name.
const WORKSPACES: [(u32, u32, &str); 10] = [
    (1, 1, "Alpha"),
    (2, 2, "beta"),
    (3, 2, "gam_ma"),
    (4, 2, "Delta"),
    (5, 2, "epsilon"),
    (6, 1, "zeta"),
    (7, 2, "eta"),
    (8, 1, "theta"),
    (9, 2, "iota"),
    (10, 1, "kappa"),
];

/// Workspaces of Alice and Bob, some shared with Alice.
async fn many() -> (TestDb, Full) {
    let (db, store) = scene().await;
    for (n, owner, name) in WORKSPACES {
        add_workspace(&db, n, owner, name).await;
    }
    let (alice, bob) = (user_id(1), user_id(2));
    let read = ["read"].as_slice();
    set(&db, 2, &format!("user_acl = '{}'", shared_with(&alice, read))).await;
    set(&db, 3, &format!("group_acl = '{}'", shared_with(&GROUP, &["*"]))).await;
    set(&db, 4, &format!("group_acl = '{}'", shared_with(&ORG, read))).await;
    // Not for reading.
    set(&db, 5, &format!("user_acl = '{}'", shared_with(&alice, &["ssh"]))).await;
    set(&db, 6, "deleted = true").await;
    set(&db, 7, &format!("dormant_at = now(), user_acl = '{}'", shared_with(&alice, read))).await;
    set(&db, 8, "dormant_at = now()").await;
    // A list that nobody could have written.
    set(&db, 9, &format!("user_acl = '{{\"{alice}\": [\"read\"], \"{bob}\": 7}}'")).await;
    let elsewhere = format!("organization_id = '{OTHER_ORG}', template_id = '{}'", template_id(2));
    set(&db, 10, &elsewhere).await;
    (db, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_what_is_his_and_what_is_shared() {
    let (_db, store) = many().await;
    let alice = person_where(1, Sharing::Everyone, &[GROUP]);
    let admin = SubjectBuilder::user(user_id(3)).site_role("member").scope(Scope::all());
    let admin = admin.membership(ORG, Sharing::None, false).org_role(ORG, "organization-admin");
    let admin = Arc::new(admin.compile(&Catalog::default()).unwrap());
    let all_there = ["Alpha", "beta", "Delta", "epsilon", "gam_ma", "iota"].as_slice();
    let everything = ["Alpha", "beta", "Delta", "epsilon", "gam_ma", "iota", "kappa"].as_slice();
    for (who, by, awake, dormant) in [
        ("alice", alice, ["Alpha", "beta", "Delta", "gam_ma"].as_slice(), ["theta"].as_slice()),
        ("alice, in no group", person(1), &["Alpha", "beta", "Delta"], &["theta"]),
        ("bob", person(2), &["beta", "Delta", "epsilon", "gam_ma", "iota"], &["eta"]),
        ("carol", person(3), &["Delta"], &[]),
        ("in no organization", member(1), &[], &[]),
        ("of the organization", admin, all_there, &["eta", "theta"]),
        ("owner", owner(), everything, &["eta", "theta"]),
    ] {
        for (dormant, wanted) in [(false, awake), (true, dormant)] {
            let filter = || Filter { dormant, ..Filter::default() };
            assert_eq!(names(&store, &by, list(filter())).await, wanted, "{who}");
            let count = CountWorkspaces { filter: filter(), cap: 100 };
            let count = store.run(Call::by(&by), count).await.unwrap();
            assert_eq!(count, i64::try_from(wanted.len()).unwrap(), "{who}");
        }
        // One by one the answers are the same; the one that is deleted is not listed.
        for (n, _, name) in WORKSPACES.into_iter().filter(|(_, _, name)| *name != "zeta") {
            let listed = awake.contains(&name) || dormant.contains(&name);
            match store.run(Call::by(&by), GetWorkspace { id: workspace_id(n) }).await {
                Ok((workspace, _)) => assert!(listed && workspace.name == name, "{who}: {name}"),
                Err(Error::Denied(_)) => assert!(!listed, "{who}: {name}"),
                Err(error) => panic!("{who}: {name}: {error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_windows_narrow() {
    let (_db, store) = many().await;
    let owner = owner();
    let none = Filter::default;
    let part = |text: &str| Filter { name: Some(text.to_owned()), ..none() };
    for (filter, wanted) in [
        (part("ET"), vec!["beta"]),
        (part("a"), vec!["Alpha", "beta", "Delta", "gam_ma", "iota", "kappa"]),
        (part("m_"), vec!["gam_ma"]),
        (part("%"), vec![]),
        (Filter { owner_id: Some(user_id(1)), ..none() }, vec!["Alpha", "kappa"]),
        (Filter { owner_id: Some(user_id(1)), dormant: true, ..none() }, vec!["theta"]),
        (Filter { organization_id: Some(OTHER_ORG), ..none() }, vec!["kappa"]),
        (Filter { template_id: Some(template_id(2)), ..none() }, vec!["kappa"]),
        (Filter { template_id: Some(template_id(2)), ..part("beta") }, vec![]),
    ] {
        assert_eq!(names(&store, &owner, list(filter.clone())).await, wanted, "{filter:?}");
        let count = store.run(Call::by(&owner), CountWorkspaces { filter, cap: 100 }).await;
        assert_eq!(count.unwrap(), i64::try_from(wanted.len()).unwrap());
    }
    for (offset, limit, wanted) in [
        (0, 2, vec!["Alpha", "beta"]),
        (1, 2, vec!["beta", "Delta"]),
        (-1, 1, vec!["Alpha"]),
        (9, 2, vec![]),
    ] {
        let page = ListWorkspaces { filter: none(), offset, limit };
        assert_eq!(names(&store, &owner, page).await, wanted, "{offset} {limit}");
    }
    for (cap, wanted) in [(3, 4), (0, 1), (-1, 1), (i64::MAX, 7)] {
        let count = CountWorkspaces { filter: none(), cap };
        assert_eq!(store.run(Call::by(&owner), count).await.unwrap(), wanted, "{cap}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_workspace_refers_to_has_names() {
    let (db, store) = scene().await;
    let id = add_workspace(&db, 1, 1, "dev").await;
    let (alice, version) = (user_id(1), version_id(1));
    for (n, told) in [(1, "2031-01-01Z"), (2, "2031-01-02Z"), (3, "2031-01-03Z")] {
        let task = Uuid::from_u128(0xa800 + n);
        let gone = if n == 3 { "now()" } else { "NULL" };
        db.sql(&format!(
            "INSERT INTO tasks (id, organization_id, owner_id, name, workspace_id, template_version_id, prompt,
                created_at, deleted_at)
             VALUES ('{task}', '{ORG}', '{alice}', 't{n}', '{id}', '{version}', '', '{told}', {gone})"
        ))
        .await
        .unwrap();
    }
    let by = owner();
    let (workspace, names) = store.run(Call::by(&by), GetWorkspace { id }).await.unwrap();
    assert_eq!((workspace.id, workspace.owner_id), (Pk(id), Pk(user_id(1))));
    assert_eq!((workspace.name.as_str(), workspace.created_at), ("dev", NOW));
    let of_owner = [&*names.owner_username, &*names.owner_name, &*names.owner_avatar_url];
    assert_eq!(of_owner, ["alice", "Alice", "/alice.png"]);
    let of_organization = [&*names.organization_name, &*names.organization_display_name];
    assert_eq!(of_organization, ["coder", "Coder"]);
    assert_eq!((&*names.template_name, &*names.template_display_name), ("rust-1", ""));
    assert_eq!(names.task_id, Some(Pk(TaskId::new(Uuid::from_u128(0xa802)))), "the last live one");
    let listed = store.run(Call::by(&by), list(Filter::default())).await.unwrap();
    assert_eq!(listed, [(workspace, names)]);
    set(&db, 1, "deleted = true").await;
    let (gone, _) = store.run(Call::by(&by), GetWorkspace { id }).await.unwrap();
    assert!(gone.deleted, "deleted ones stay for history");
    refused!(store.run(Call::by(&by), GetWorkspace { id: workspace_id(9) }).await, Error::NotFound);
}
