//! Agents of workspaces: whose token counts, who sees them, and how those of agents go.

mod metadata;

use std::time::Duration;

use rbac::{Catalog, Scope, Sharing, SubjectBuilder};
use std::sync::Arc;
use stdx::Secret;
use stdx::ids::{TaskId, WorkspaceAgentId};
use store::workspace_agents::{
    AuthenticatedAgent, DeleteSubAgent, FindAuthenticatedAgent, GetAgentWithWorkspace,
    ListAgentsOfLatestBuild, ListSubAgents,
};
use store::{Call, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::people::ORG;
use crate::scene::{NOW, member, owner, user_id};
use crate::workspaces::{add_workspace, person, scene, set, shared_with, version_id, workspace_id};

pub(crate) const fn agent_id(n: u32) -> WorkspaceAgentId {
    WorkspaceAgentId::new(Uuid::from_u128(0xa600 + n as u128))
}

const fn token(n: u32) -> Uuid {
    Uuid::from_u128(0x5ec2_e700_0000_4000_8000_0000_0000_0000 + n as u128)
}

const fn build_id(workspace: u32, number: u32) -> Uuid {
    Uuid::from_u128(0xa400_0000 + 0x1000 * workspace as u128 + number as u128)
}

/// A build: its number, transition, the state of its job, and the version of the template.
type Build = (u32, &'static str, &'static str, u32);

pub(crate) async fn add_build(db: &TestDb, workspace: u32, (number, what, state, version): Build) {
    let (build, by) = (build_id(workspace, number), user_id(1));
    let (workspace, version) = (workspace_id(workspace), version_id(version));
    let times = match state {
        "pending" => "",
        "running" => "started_at = now()",
        "succeeded" => "started_at = now(), completed_at = now()",
        "failed" => "started_at = now(), completed_at = now(), error = 'no'",
        "canceling" => "started_at = now(), canceled_at = now()",
        "canceled" => "started_at = now(), canceled_at = now(), completed_at = now()",
        other => panic!("{other}"),
    };
    let sql = format!(
        "INSERT INTO provisioner_jobs (id, created_at, updated_at, organization_id, initiator_id, type)
         VALUES ('{build}', now(), now(), '{ORG}', '{by}', 'workspace_build');
         INSERT INTO workspace_builds (id, created_at, updated_at, workspace_id, template_version_id, build_number,
            transition, initiator_id, job_id)
         VALUES ('{build}', now(), now(), '{workspace}', '{version}', {number}, '{what}', '{by}', '{build}');
         INSERT INTO workspace_resources (id, created_at, job_id, transition, type, name)
         VALUES ('{build}', now(), '{build}', '{what}', 'docker_container', 'dev');"
    );
    let job = format!("UPDATE provisioner_jobs SET {times} WHERE id = '{build}'");
    let job = if times.is_empty() { "" } else { job.as_str() };
    db.sql(&[sql.as_str(), job].concat()).await.unwrap();
    let made = format!("SELECT job_status FROM provisioner_jobs WHERE id = '{build}'");
    assert_eq!(crate::scene::value(db, &made).await, state);
}

/// An agent of a build, with a token of its own.
pub(crate) async fn add_agent(db: &TestDb, n: u32, (workspace, number): (u32, u32), name: &str) {
    let (id, build, token) = (agent_id(n), build_id(workspace, number), token(n));
    db.sql(&format!(
        "INSERT INTO workspace_agents (id, created_at, updated_at, resource_id, name, auth_token)
         VALUES ('{id}', '2031-01-15 12:00Z', '2031-01-15 12:00Z', '{build}', '{name}', '{token}')"
    ))
    .await
    .unwrap();
}

async fn set_agent(db: &TestDb, n: u32, what: &str) {
    let id = agent_id(n);
    db.sql(&format!("UPDATE workspace_agents SET {what} WHERE id = '{id}'")).await.unwrap();
}

/// A workspace of Alice that runs, with an agent.
pub(crate) async fn running() -> (TestDb, Full) {
    let (db, store) = scene().await;
    add_workspace(&db, 1, 1, "dev").await;
    add_build(&db, 1, (1, "start", "succeeded", 1)).await;
    add_agent(&db, 1, (1, 1), "main").await;
    (db, store)
}

fn find(n: u32) -> FindAuthenticatedAgent {
    FindAuthenticatedAgent { auth_token: Secret::new(token(n).into_bytes()) }
}

async fn found(store: &Full, n: u32) -> Option<AuthenticatedAgent> {
    store.run(Call::by(&owner()), find(n)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_counts_while_its_build_runs_or_is_being_stopped() {
    const MADE: Build = (1, "start", "succeeded", 1);
    let (db, store) = scene().await;
    // Builds of a workspace, of which the first made the agent, and whether its token counts.
    let cases: &[(&[Build], bool)] = &[
        (&[MADE], true),
        (&[(1, "start", "running", 1)], true),
        (&[(1, "start", "pending", 1)], true),
        (&[(1, "start", "failed", 1)], true),
        (&[(1, "stop", "running", 1)], true),
        // It is being stopped.
        (&[MADE, (2, "stop", "pending", 1)], true),
        (&[MADE, (2, "stop", "running", 1)], true),
        // It was, or that failed.
        (&[MADE, (2, "stop", "succeeded", 1)], false),
        (&[MADE, (2, "stop", "failed", 1)], false),
        (&[MADE, (2, "stop", "canceling", 1)], false),
        (&[MADE, (2, "stop", "canceled", 1)], false),
        // It is not being stopped.
        (&[MADE, (2, "start", "pending", 1)], false),
        (&[MADE, (2, "start", "running", 1)], false),
        (&[MADE, (2, "delete", "running", 1)], false),
        // It was not running.
        (&[(1, "start", "pending", 1), (2, "stop", "running", 1)], false),
        (&[(1, "start", "running", 1), (2, "stop", "running", 1)], false),
        (&[(1, "start", "failed", 1), (2, "stop", "running", 1)], false),
        (&[(1, "start", "canceling", 1), (2, "stop", "running", 1)], false),
        (&[(1, "start", "canceled", 1), (2, "stop", "running", 1)], false),
        (&[(1, "stop", "succeeded", 1), (2, "stop", "running", 1)], false),
        (&[(1, "delete", "succeeded", 1), (2, "stop", "running", 1)], false),
        // Something came in between, or after.
        (&[MADE, (3, "stop", "running", 1)], false),
        (&[MADE, (2, "start", "succeeded", 1), (3, "stop", "running", 1)], false),
        (&[MADE, (2, "stop", "running", 1), (3, "start", "pending", 1)], false),
        (&[MADE, (2, "stop", "running", 1), (3, "stop", "pending", 1)], false),
        // What is stopped is another version.
        (&[MADE, (2, "stop", "pending", 2)], false),
        (&[(1, "start", "succeeded", 2), (2, "stop", "running", 2)], true),
        // Numbers count, not what was stored first.
        (&[(2, "start", "succeeded", 1), (1, "stop", "running", 1)], true),
    ];
    for (n, (builds, counts)) in (1..).zip(cases) {
        add_workspace(&db, n, 1, &format!("dev-{n}")).await;
        for build in *builds {
            add_build(&db, n, *build).await;
        }
        let number = builds[0].0;
        add_agent(&db, n, (n, number), "main").await;
        let one = found(&store, n).await;
        assert_eq!(one.is_some(), *counts, "{builds:?}");
        let Some(one) = one else { continue };
        // The agent's own build, whatever came after it.
        assert_eq!(one.agent.id.0, agent_id(n));
        assert_eq!(one.workspace.id.0, workspace_id(n));
        assert_eq!(one.build.id.0.uuid(), build_id(n, number));
        assert_eq!((one.build.workspace_id, one.task_id), (one.workspace.id, None));
        // And in each of these cases all that must live does.
        set_agent(&db, n, "deleted = true").await;
        assert_eq!(found(&store, n).await, None, "{builds:?}: the agent is deleted");
        set_agent(&db, n, "deleted = false").await;
        set(&db, n, "deleted = true").await;
        assert_eq!(found(&store, n).await, None, "{builds:?}: the workspace is deleted");
        set(&db, n, "deleted = false").await;
        assert!(found(&store, n).await.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_presents_it_or_nothing() {
    let (db, store) = running().await;
    assert_eq!(found(&store, 9).await, None, "nobody's");
    let (task, workspace, version) = (Uuid::from_u128(0xa801), workspace_id(1), version_id(1));
    db.sql(&format!(
        "INSERT INTO tasks (id, organization_id, owner_id, name, workspace_id, template_version_id, prompt, created_at)
         VALUES ('{task}', '{ORG}', '{}', 'fix', '{workspace}', '{version}', '', now())",
        user_id(1)
    ))
    .await
    .unwrap();
    assert_eq!(found(&store, 1).await.unwrap().task_id, Some(Pk(TaskId::new(task))));
    // Who may read some workspaces may not ask of which one a token is.
    let admin = SubjectBuilder::user(user_id(1)).site_role("member").scope(Scope::all());
    let admin = admin.membership(ORG, Sharing::None, false).org_role(ORG, "organization-admin");
    let admin = Arc::new(admin.compile(&Catalog::default()).unwrap());
    for by in [&admin, &person(1), &member(1)] {
        refused!(store.run(Call::by(by), find(1)).await, Error::Denied(_));
    }
    let shown = format!("{:?}", find(1));
    assert!(!shown.contains(&token(1).to_string()) && shown.contains("[secret]"), "{shown}");

    // Two with one token, in one workspace or in two.
    add_agent(&db, 2, (1, 1), "other").await;
    let same = format!("auth_token = '{}'", token(1));
    set_agent(&db, 2, &same).await;
    for what in ["", "workspace"] {
        let twice = store.run(Call::by(&owner()), find(1)).await;
        let Err(Error::Corrupt { table, column, row }) = twice else { panic!("{what}: {twice:?}") };
        assert_eq!((table, column), ("workspace_agents", "auth_token"));
        assert!(!row.contains(&token(1).to_string()), "{row}");
        set_agent(&db, 2, "deleted = true").await;
        assert_eq!(found(&store, 1).await.unwrap().agent.id.0, agent_id(1));
        if what.is_empty() {
            add_workspace(&db, 2, 2, "dev").await;
            add_build(&db, 2, (1, "start", "succeeded", 1)).await;
            let there = format!("deleted = false, resource_id = '{}'", build_id(2, 1));
            set_agent(&db, 2, &there).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_comes_with_its_workspace_and_the_owners_name() {
    let (db, store) = running().await;
    let get = |n| GetAgentWithWorkspace { id: agent_id(n) };
    let alice = person(1);
    let one = store.run(Call::by(&alice), get(1)).await.unwrap();
    assert_eq!((one.agent.id.0, one.agent.name.as_str()), (agent_id(1), "main"));
    assert_eq!((one.workspace.id.0, one.owner_username.as_str()), (workspace_id(1), "alice"));
    for by in [&person(2), &member(1)] {
        refused!(store.run(Call::by(by), get(1)).await, Error::Denied(_));
    }
    set(&db, 1, &format!("user_acl = '{}'", shared_with(&user_id(2), &["read"]))).await;
    assert_eq!(store.run(Call::by(&person(2)), get(1)).await.unwrap().agent, one.agent);
    set(&db, 1, "dormant_at = now()").await;
    refused!(store.run(Call::by(&person(2)), get(1)).await, Error::Denied(_));
    assert!(store.run(Call::by(&alice), get(1)).await.is_ok(), "dormant, and still his");
    refused!(store.run(Call::by(&alice), get(9)).await, Error::NotFound);
    for (gone, back) in [
        (
            "UPDATE workspace_agents SET deleted = true",
            "UPDATE workspace_agents SET deleted = false",
        ),
        ("UPDATE workspaces SET deleted = true", "UPDATE workspaces SET deleted = false"),
        (
            "UPDATE provisioner_jobs SET type = 'template_version_dry_run' WHERE type = 'workspace_build'",
            "UPDATE provisioner_jobs SET type = 'workspace_build' WHERE type = 'template_version_dry_run'",
        ),
        ("UPDATE users SET deleted = true WHERE username = 'alice'", "SELECT 1"),
    ] {
        assert!(store.run(Call::by(&owner()), get(1)).await.is_ok(), "{gone}");
        db.sql(gone).await.unwrap();
        refused!(store.run(Call::by(&owner()), get(1)).await, Error::NotFound);
        db.sql(back).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_the_last_build_are_listed() {
    let (db, store) = running().await;
    let alice = person(1);
    let list = |n| ListAgentsOfLatestBuild { workspace_id: workspace_id(n) };
    let names = async || {
        let found = store.run(Call::by(&alice), list(1)).await.unwrap();
        assert_eq!(found.workspace.id.0, workspace_id(1));
        found.agents.into_iter().map(|agent| agent.name).collect::<Vec<_>>()
    };
    add_agent(&db, 2, (1, 1), "second").await;
    add_agent(&db, 3, (1, 1), "gone").await;
    set_agent(&db, 2, "created_at = created_at - interval '1 s'").await;
    set_agent(&db, 3, "deleted = true").await;
    add_workspace(&db, 2, 1, "other").await;
    add_build(&db, 2, (1, "start", "succeeded", 1)).await;
    add_agent(&db, 4, (2, 1), "elsewhere").await;
    assert_eq!(names().await, ["second", "main"], "oldest first");
    add_build(&db, 1, (2, "stop", "running", 1)).await;
    assert!(names().await.is_empty(), "the build that stops it has none");
    add_build(&db, 1, (3, "start", "running", 1)).await;
    add_agent(&db, 5, (1, 3), "main").await;
    assert_eq!(names().await, ["main"]);
    for by in [&person(2), &member(1)] {
        refused!(store.run(Call::by(by), list(1)).await, Error::Denied(_));
    }
    refused!(store.run(Call::by(&alice), list(9)).await, Error::NotFound);
    set(&db, 1, "deleted = true").await;
    refused!(store.run(Call::by(&alice), list(1)).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_of_agents_are_listed_and_removed() {
    let (db, store) = running().await;
    let (alice, bob) = (person(1), person(2));
    let by = Call::by(&alice);
    for (n, name) in [(2, "a"), (3, "b")] {
        add_agent(&db, n, (1, 1), name).await;
        set_agent(&db, n, &format!("parent_id = '{}'", agent_id(1))).await;
    }
    let list = |n| ListSubAgents { parent_id: agent_id(n) };
    let ids = async |n| {
        let found = store.run(by, list(n)).await.unwrap();
        found.agents.into_iter().map(|agent| agent.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(1).await, [agent_id(2), agent_id(3)]);
    assert!(ids(2).await.is_empty());
    refused!(store.run(by, list(9)).await, Error::NotFound);
    refused!(store.run(Call::by(&bob), list(1)).await, Error::Denied(_));

    let later = NOW + Duration::from_secs(5);
    let delete = |n| DeleteSubAgent { id: agent_id(n), now: later };
    // To read it is not enough.
    set(&db, 1, &format!("user_acl = '{}'", shared_with(&user_id(2), &["read"]))).await;
    refused!(store.run(Call::by(&bob), delete(2)).await, Error::Denied(_));
    assert!(store.run(Call::by(&bob), list(1)).await.is_ok());
    refused!(store.run(by, delete(1)).await, Error::NotFound);
    refused!(store.run(by, delete(9)).await, Error::NotFound);
    let change = store.run(by, delete(2)).await.unwrap();
    let (old, new) = (change.old.unwrap(), change.new.unwrap());
    assert_eq!((old.deleted, new.deleted, new.updated_at), (false, true, later));
    assert_eq!(ids(1).await, [agent_id(3)]);
    refused!(store.run(by, delete(2)).await, Error::NotFound);
    // Its name is free again.
    add_agent(&db, 4, (1, 1), "a").await;
    // By a list that lets somebody.
    set(&db, 1, &format!("user_acl = '{}'", shared_with(&user_id(2), &["delete_agent"]))).await;
    let (one, two) = (Call::by(&bob), Call::by(&alice));
    let (first, second) = meet((&db, &store), (one, || delete(3)), (two, delete(3))).await;
    assert!(first.is_ok(), "{first:?}");
    refused!(second, Error::NotFound);
    set_agent(&db, 3, "deleted = false").await;
    set(&db, 1, "deleted = true").await;
    refused!(store.run(by, delete(3)).await, Error::NotFound);
    refused!(store.run(by, list(1)).await, Error::NotFound);
}
