//! Tasks: whose they are, how they go, and how they end.

use std::time::Duration;

use rbac::{AllowList, Catalog, Scope, Sharing, SubjectBuilder};
use serde_json::json;
use std::sync::Arc;
use stdx::ids::{TaskId, TemplateVersionId};
use store::tasks::{DeleteTask, GetTask, GetTaskByOwnerAndName, InsertTask, ListTasks, Task};
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::people::ORG;
use crate::scene::{NOW, member, owner, user_id, value};
use crate::workspace_agents::{add_agent, add_build, agent_id};
use crate::workspaces::{
    OTHER_ORG, add_workspace, person, scene, set, shared_with, version_id, workspace_id,
};

const fn task_id(n: u32) -> TaskId {
    TaskId::new(Uuid::from_u128(0xa800 + n as u128))
}

/// A task of user `owner`, in no workspace yet.
fn new_task(n: u32, owner: u32, name: &str) -> InsertTask {
    InsertTask {
        id: task_id(n),
        organization_id: ORG,
        owner_id: user_id(owner),
        name: name.to_owned(),
        display_name: format!("Task {n}"),
        workspace_id: None,
        template_version_id: TemplateVersionId::new(version_id(1)),
        template_parameters: json!({ "region": "eu" }),
        prompt: "Fix the build".to_owned(),
        now: NOW + Duration::from_secs(n.into()),
    }
}

fn in_workspace(n: u32, owner: u32, name: &str, workspace: u32) -> InsertTask {
    InsertTask { workspace_id: Some(workspace_id(workspace)), ..new_task(n, owner, name) }
}

fn get(n: u32) -> GetTask {
    GetTask { id: task_id(n) }
}

fn list(owner: u32) -> ListTasks {
    ListTasks { owner_id: user_id(owner), dormant: false, offset: 0, limit: 0 }
}

async fn told() -> (TestDb, Full) {
    let (db, store) = scene().await;
    add_workspace(&db, 1, 1, "dev").await;
    add_workspace(&db, 2, 2, "dev").await;
    (db, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn members_tell_agents_what_to_do() {
    let (db, store) = told().await;
    let (alice, bob) = (person(1), person(2));
    let by = Call::by(&alice);
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), new_task(1, 1, "fix")).await, Error::Denied(_));
    }
    let elsewhere = InsertTask { organization_id: OTHER_ORG, ..new_task(1, 1, "fix") };
    refused!(store.run(by, elsewhere).await, Error::Denied(_));
    let task = store.run(by, in_workspace(1, 1, "Fix", 1)).await.unwrap().new.unwrap();
    let wanted = Task {
        id: Pk(task_id(1)),
        organization_id: Pk(ORG),
        owner_id: Pk(user_id(1)),
        name: "Fix".to_owned(),
        display_name: "Task 1".to_owned(),
        workspace_id: Some(Pk(workspace_id(1))),
        template_version_id: Pk(TemplateVersionId::new(version_id(1))),
        template_parameters: json!({ "region": "eu" }),
        prompt: "Fix the build".to_owned(),
        created_at: NOW + Duration::from_secs(1),
        deleted_at: None,
    };
    assert_eq!(task, wanted);
    let by_name = |owner, name: &str| GetTaskByOwnerAndName {
        owner_id: user_id(owner),
        name: name.to_owned(),
    };
    for found in [store.run(by, get(1)).await, store.run(by, by_name(1, "fIX")).await] {
        let found = found.unwrap();
        assert_eq!((found.task, found.workspace.unwrap().id.0), (wanted.clone(), workspace_id(1)));
        assert_eq!(found.status, "initializing");
    }
    for other in [&bob, &member(1)] {
        refused!(store.run(Call::by(other), get(1)).await, Error::Denied(_));
        refused!(store.run(Call::by(other), by_name(1, "fix")).await, Error::Denied(_));
    }
    refused!(store.run(by, get(9)).await, Error::NotFound);
    refused!(store.run(by, by_name(1, "fi")).await, Error::NotFound);
    refused!(store.run(by, by_name(2, "fix")).await, Error::NotFound);

    let taken = Error::Conflict(Constraint::TasksOwnerNameLowerKey);
    let again = store.run(by, new_task(2, 1, "FIX")).await.unwrap_err();
    assert_eq!(format!("{again:?}"), format!("{taken:?}"));
    refused!(store.run(by, new_task(1, 1, "new")).await, Error::Conflict(Constraint::TasksPkey));
    assert!(store.run(Call::by(&bob), new_task(2, 2, "fix")).await.is_ok(), "the name is Alice's");

    // A workspace of somebody else, of none, of another organization, that is gone or that sleeps.
    for (n, what) in [(3, "deleted = true"), (4, "dormant_at = now()")] {
        add_workspace(&db, n, 1, &format!("dev-{n}")).await;
        set(&db, n, what).await;
    }
    add_workspace(&db, 5, 1, "elsewhere").await;
    set(&db, 5, &format!("organization_id = '{OTHER_ORG}'")).await;
    for workspace in [2, 3, 4, 5, 9] {
        let outcome = store.run(by, in_workspace(7, 1, "new", workspace)).await;
        refused!(outcome, Error::Missing(Constraint::TasksWorkspaceFk));
    }
    for version in [3, 9] {
        let template_version_id = TemplateVersionId::new(version_id(version));
        let wrong = InsertTask { template_version_id, ..new_task(7, 1, "new") };
        refused!(store.run(by, wrong).await, Error::Missing(Constraint::TasksTemplateVersionFk));
    }
    let long = InsertTask { display_name: "x".repeat(128), ..new_task(7, 1, "new") };
    refused!(store.run(by, long).await, Error::Unfit(_));
    assert_eq!(value(&db, "SELECT count(*) FROM tasks").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_goes_as_its_workspace_does() {
    let (db, store) = told().await;
    let alice = person(1);
    let by = Call::by(&alice);
    let status = async |n| store.run(by, get(n)).await.unwrap().status;
    store.run(by, new_task(1, 1, "waits")).await.unwrap();
    assert_eq!(status(1).await, "pending", "no workspace");
    // Each in a workspace with a build, and an agent in this state.
    for (n, transition, job, agent, wanted) in [
        (11, "start", "pending", None, "pending"),
        (12, "start", "running", None, "initializing"),
        (13, "start", "succeeded", Some("created"), "initializing"),
        (14, "start", "succeeded", Some("ready"), "active"),
        (15, "start", "succeeded", Some("start_error"), "active"),
        (16, "start", "succeeded", Some("off"), "unknown"),
        (17, "start", "failed", None, "error"),
        (18, "start", "canceling", None, "error"),
        (19, "stop", "canceled", None, "error"),
        (20, "stop", "succeeded", None, "paused"),
        (21, "delete", "succeeded", None, "paused"),
        (22, "stop", "running", None, "unknown"),
    ] {
        add_workspace(&db, n, 1, &format!("dev-{n}")).await;
        add_build(&db, n, (1, "start", "failed", 1)).await;
        add_build(&db, n, (2, transition, job, 1)).await;
        if let Some(state) = agent {
            add_agent(&db, n, (n, 2), "main").await;
            let id = agent_id(n);
            db.sql(&format!(
                "UPDATE workspace_agents SET lifecycle_state = '{state}' WHERE id = '{id}'"
            ))
            .await
            .unwrap();
        }
        store.run(by, in_workspace(n, 1, &format!("t{n}"), n)).await.unwrap();
        assert_eq!(status(n).await, wanted, "{transition} {job} {agent:?}");
    }
    let listed = store.run(by, list(1)).await.unwrap();
    let statuses: Vec<&str> = listed.iter().map(|found| found.status.as_str()).collect();
    assert_eq!((statuses[0], statuses[12]), ("unknown", "pending"), "the newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_sees_the_tasks_of_workspaces_that_he_sees() {
    let (db, store) = told().await;
    let (alice, bob, owner) = (person(1), person(2), owner());
    for n in 3..=5 {
        add_workspace(&db, n, 1, &format!("dev-{n}")).await;
    }
    for (n, workspace) in [(1, 1), (3, 3), (4, 4), (5, 5)] {
        store.run(Call::by(&alice), in_workspace(n, 1, &format!("t{n}"), workspace)).await.unwrap();
    }
    store.run(Call::by(&alice), new_task(6, 1, "alone")).await.unwrap();
    store.run(Call::by(&bob), in_workspace(7, 2, "bobs", 2)).await.unwrap();
    set(&db, 3, &format!("user_acl = '{}'", shared_with(&user_id(2), &["read"]))).await;
    let suspended = shared_with(&user_id(2), &["read", "delete"]);
    set(&db, 4, &format!("dormant_at = now(), user_acl = '{suspended}'")).await;
    set(&db, 5, &format!("group_acl = '{}'", shared_with(&ORG, &["*"]))).await;
    let limited = SubjectBuilder::user(user_id(1)).site_role("member");
    let only = AllowList::parse(&[format!("workspace:{}", workspace_id(1))]).unwrap();
    let limited = limited
        .membership(ORG, Sharing::Everyone, false)
        .org_role(ORG, "organization-workspace-access")
        .scope(Scope::all().narrowed_to(&only));
    let limited = Arc::new(limited.compile(&Catalog::default()).unwrap());
    for (who, by, awake, dormant) in [
        ("alice", &alice, [6, 5, 3, 1].as_slice(), [4].as_slice()),
        ("alice, limited to one", &limited, &[1], &[]),
        ("bob", &bob, &[5, 3], &[]),
        ("owner", &owner, &[6, 5, 3, 1], &[4]),
        ("nobody", &member(1), &[], &[]),
    ] {
        for (dormant, wanted) in [(false, awake), (true, dormant)] {
            let found = store.run(Call::by(by), ListTasks { dormant, ..list(1) }).await.unwrap();
            let ids: Vec<TaskId> = found.iter().map(|found| found.task.id.0).collect();
            let wanted: Vec<TaskId> = wanted.iter().copied().map(task_id).collect();
            assert_eq!(ids, wanted, "{who}, dormant: {dormant}");
        }
        for n in [1, 3, 4, 5, 6] {
            let listed = awake.contains(&n) || dormant.contains(&n);
            match store.run(Call::by(by), get(n)).await {
                Ok(_) => assert!(listed, "{who}: {n}"),
                Err(error) => assert!(!listed && matches!(error, Error::Denied(_)), "{who}: {n}"),
            }
        }
    }
    let page = ListTasks { offset: 1, limit: 2, ..list(1) };
    let page = store.run(Call::by(&alice), page).await.unwrap();
    assert_eq!(page.iter().map(|found| found.task.id.0).collect::<Vec<_>>(), [5, 3].map(task_id));

    // Deleting takes more than reading, and a list counts as long as its workspace is awake.
    let delete = |n| DeleteTask { id: task_id(n), now: NOW };
    for n in [3, 4, 6] {
        refused!(store.run(Call::by(&bob), delete(n)).await, Error::Denied(_));
    }
    assert!(store.run(Call::by(&bob), delete(5)).await.is_ok());
    assert!(store.run(Call::by(&alice), delete(4)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_tasks_stay_for_history_and_free_their_name() {
    let (db, store) = told().await;
    let (alice, owner) = (person(1), owner());
    let (one, two) = (Call::by(&alice), Call::by(&owner));
    let delete = |n| DeleteTask { id: task_id(n), now: NOW };
    let insert = |n| new_task(n, 1, "fix");
    let task = store.run(one, insert(1)).await.unwrap().new.unwrap();
    refused!(store.run(one, delete(9)).await, Error::NotFound);
    let change = store.run(one, delete(1)).await.unwrap();
    assert_eq!((change.old, change.new), (Some(task), None));
    refused!(store.run(one, get(1)).await, Error::NotFound);
    refused!(store.run(one, delete(1)).await, Error::NotFound);
    assert!(store.run(one, list(1)).await.unwrap().is_empty());
    assert_eq!(value(&db, "SELECT count(*) FROM tasks WHERE deleted_at IS NOT NULL").await, "1");

    let at = (&db, &store);
    // Two of one name.
    let (first, second) = meet(at, (one, || insert(2)), (two, insert(3))).await;
    assert!(first.is_ok(), "{first:?}");
    refused!(second, Error::Conflict(Constraint::TasksOwnerNameLowerKey));
    // A name that is given up, and taken at the same time.
    let (gone, taken) = meet(at, (one, || delete(2)), (two, insert(3))).await;
    assert!(gone.is_ok() && taken.is_ok(), "{gone:?} {taken:?}");
    // Two who delete.
    let (first, second) = meet(at, (two, || delete(3)), (one, delete(3))).await;
    assert!(first.is_ok(), "{first:?}");
    refused!(second, Error::NotFound);
    assert_eq!(value(&db, "SELECT count(*) FROM tasks WHERE deleted_at IS NULL").await, "0");
    // Also in a workspace that is gone.
    store.run(one, in_workspace(4, 1, "last", 1)).await.unwrap();
    set(&db, 1, "deleted = true").await;
    assert!(store.run(one, delete(4)).await.is_ok());
}
