//! Provisioner daemons: which are the same, whom they work for, and what they do.

use std::sync::Arc;
use std::time::Duration;

use rbac::{Catalog, Scope, Sharing, Subject, SubjectBuilder, system};
use serde_json::{Value, json};
use stdx::ids::{OrganizationId, ProvisionerDaemonId, ProvisionerKeyId};
use store::provisioner_daemons::{
    Filter, ListProvisionerDaemons, ListWithStatus, ProvisionerDaemon, Status,
    TouchProvisionerDaemon, UpsertProvisionerDaemon,
};
use store::provisioner_keys::{DeleteProvisionerKey, InsertProvisionerKey, ProvisionerKey};
use store::{Call, Constraint, Error, Full, Pk, Store as _};
use testkit::TestDb;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::people::{ORG, colleague, organization};
use crate::scene::{NOW, add_user, member, owner, user_id, value};

const KEY: ProvisionerKeyId = ProvisionerKeyId::new(Uuid::from_u128(0x9301));
const LATER: Duration = Duration::from_mins(5);

const fn daemon_id(n: u32) -> ProvisionerDaemonId {
    ProvisionerDaemonId::new(Uuid::from_u128(0x9400 + n as u128))
}

fn daemon(n: u32, name: &str, tags: Value) -> ProvisionerDaemon {
    ProvisionerDaemon {
        id: Pk(daemon_id(n)),
        created_at: NOW,
        name: name.to_owned(),
        provisioners: vec!["terraform".to_owned()],
        replica_id: None,
        tags,
        last_seen_at: Some(NOW),
        version: "v2.0.0".to_owned(),
        api_version: "1.0".to_owned(),
        organization_id: Pk(ORG),
        key_id: Pk(KEY),
    }
}

fn of_all() -> Value {
    json!({ "scope": "organization", "owner": "" })
}

fn of_user(n: u32) -> Value {
    json!({ "scope": "user", "owner": user_id(n) })
}

fn with_role(n: u32, org: OrganizationId, role: &str) -> Arc<Subject> {
    let subject = SubjectBuilder::user(user_id(n)).site_role("member").scope(Scope::all());
    let subject = subject.membership(org, Sharing::None, false).org_role(org, role);
    Arc::new(subject.compile(&Catalog::default()).unwrap())
}

async fn scene() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    for (n, name) in [(1, "alice"), (2, "bob")] {
        add_user(&store, n, name).await;
    }
    organization(&store, &[1, 2]).await;
    let key = ProvisionerKey {
        id: Pk(KEY),
        created_at: NOW,
        organization_id: Pk(ORG),
        name: "builders".to_owned(),
        hashed_secret: vec![1; 32],
        tags: json!({}),
    };
    store.run(Call::by(&owner()), InsertProvisionerKey(key)).await.unwrap();
    (db, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_registers_again_is_the_same() {
    let (db, store) = scene().await;
    let admin = with_role(1, ORG, "organization-admin");
    let by = Call::by(&admin);
    let upsert = async |daemon| store.run(by, UpsertProvisionerDaemon(daemon)).await;
    let first = daemon(1, "builder", of_all());
    assert_eq!(upsert(first.clone()).await.unwrap(), first);
    let again = ProvisionerDaemon {
        created_at: NOW + LATER,
        last_seen_at: Some(NOW - LATER),
        version: "v2.1.0".to_owned(),
        provisioners: vec!["echo".to_owned(), "terraform".to_owned()],
        ..daemon(2, "builder", json!({ "scope": "organization", "owner": "", "site": "zurich" }))
    };
    let known = ProvisionerDaemon {
        id: first.id,
        created_at: NOW,
        last_seen_at: Some(NOW),
        ..again.clone()
    };
    assert_eq!(upsert(again).await.unwrap(), known, "its last sign of life is not taken back");
    let never = ProvisionerDaemon { last_seen_at: None, ..known.clone() };
    assert_eq!(upsert(never).await.unwrap(), known);

    // Another name, or another owner, is another daemon; the case of an owner does not matter.
    upsert(daemon(3, "Builder", of_all())).await.unwrap();
    let owned = upsert(daemon(4, "builder", json!({ "owner": "ABC" }))).await.unwrap();
    let same = upsert(daemon(5, "builder", json!({ "owner": "abc" }))).await.unwrap();
    assert_eq!(owned.id, same.id);
    assert_eq!(value(&db, "SELECT count(*) FROM provisioner_daemons").await, "3");

    let taken = upsert(daemon(1, "other", of_all())).await;
    refused!(taken, Error::Conflict(Constraint::ProvisionerDaemonsPkey));
    let no_key = Pk(ProvisionerKeyId::new(Uuid::from_u128(9)));
    let keyless = ProvisionerDaemon { key_id: no_key, ..daemon(6, "keyless", of_all()) };
    refused!(upsert(keyless).await, Error::Missing(Constraint::ProvisionerDaemonsKeyFk));
    let tags = upsert(daemon(6, "tags", json!([]))).await;
    refused!(tags, Error::Check(Constraint::ProvisionerDaemonsTagsObject));
    let kind = vec!["bash".to_owned()];
    let kind = ProvisionerDaemon { provisioners: kind, ..daemon(6, "kind", of_all()) };
    refused!(upsert(kind).await, Error::Check(Constraint::ProvisionerDaemonsProvisionersKnown));
    let gone = store.run(by, DeleteProvisionerKey { id: KEY }).await.unwrap();
    assert!(gone.new.is_none());
    assert_eq!(value(&db, "SELECT count(*) FROM provisioner_daemons").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_may_have_daemons_that_work_for_the_member_alone() {
    let (_db, store) = scene().await;
    let alice = with_role(1, ORG, "organization-workspace-access");
    let admin = with_role(2, ORG, "organization-admin");
    let elsewhere = OrganizationId::new(Uuid::from_u128(0x21));
    let stranger = with_role(1, elsewhere, "organization-admin");
    let cases = [
        (of_user(1), true),
        (of_user(2), false),
        (of_all(), false),
        (json!({}), false),
        (json!({ "scope": "organization", "owner": user_id(1) }), false),
        (json!({ "scope": "user", "owner": "nobody" }), false),
        (json!({ "scope": "user" }), false),
    ];
    for (n, (tags, allowed)) in (1..).zip(cases) {
        let new = || UpsertProvisionerDaemon(daemon(n, &format!("builder-{n}"), tags.clone()));
        refused!(store.run(Call::by(&stranger), new()).await, Error::Denied(_));
        refused!(store.run(Call::by(&colleague(1, Sharing::None)), new()).await, Error::Denied(_));
        match store.run(Call::by(&alice), new()).await {
            Ok(_) => assert!(allowed, "{tags}"),
            Err(error) => assert!(!allowed && matches!(error, Error::Denied(_)), "{tags}: {error}"),
        }
        store.run(Call::by(&admin), new()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_are_listed_with_what_they_do() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    let east = json!({ "scope": "organization", "owner": "", "site": "east" });
    for (n, tags, seen) in [
        (1, of_all(), Some(NOW)),
        (2, east.clone(), Some(NOW - LATER)),
        (3, east, None),
        (4, of_all(), Some(NOW)),
    ] {
        let daemon =
            ProvisionerDaemon { last_seen_at: seen, ..daemon(n, &format!("builder-{n}"), tags) };
        store.run(by, UpsertProvisionerDaemon(daemon)).await.unwrap();
    }
    for (n, worker, times) in [(1, 4, "NULL"), (2, 1, "now()"), (3, 2, "NULL")] {
        let worker = daemon_id(worker);
        db.sql(&format!(
            "INSERT INTO provisioner_jobs (id, created_at, updated_at, started_at, completed_at, organization_id,
                    initiator_id, type, worker_id)
             VALUES ('{}', now(), now(), now(), {times}, '{ORG}', '{}', 'workspace_build', '{worker}')",
            Uuid::from_u128(n),
            user_id(1),
        ))
        .await
        .unwrap();
    }
    let all = Filter::default;
    let here = || Filter { organization_id: Some(ORG), ..all() };
    let with = |tags| Filter { tags: Some(tags), ..all() };
    let cases = [
        (all(), vec![1, 2, 3, 4]),
        (here(), vec![1, 2, 3, 4]),
        (Filter { organization_id: Some(OrganizationId::nil()), ..all() }, vec![]),
        (with(json!({})), vec![1, 2, 3, 4]),
        (with(json!({ "site": "east" })), vec![2, 3]),
        (with(json!({ "site": "east", "scope": "user" })), vec![]),
        (Filter { ids: Some(vec![daemon_id(4), daemon_id(9)]), ..here() }, vec![4]),
    ];
    for (filter, wanted) in cases {
        let wanted: Vec<_> = wanted.into_iter().map(daemon_id).collect();
        for (who, reads) in
            [(&owner, true), (&colleague(2, Sharing::None), true), (&member(2), false)]
        {
            let list = ListProvisionerDaemons { filter: filter.clone() };
            let listed = store.run(Call::by(who), list).await.unwrap();
            let listed: Vec<_> = listed.iter().map(|daemon| daemon.id.0).collect();
            assert_eq!(listed, if reads { wanted.clone() } else { vec![] }, "{filter:?}");
            let list = ListWithStatus { filter: filter.clone(), seen_since: NOW };
            let listed = store.run(Call::by(who), list).await.unwrap();
            assert_eq!(listed.len(), if reads { wanted.len() } else { 0 }, "{filter:?}");
        }
    }
    let reader = Call::by(system::provisioner_daemon_reader());
    let list = ListWithStatus { filter: here(), seen_since: NOW };
    let listed = store.run(reader, list).await.unwrap();
    let listed: Vec<_> =
        listed.iter().map(|found| (found.status.as_str(), found.current_job)).collect();
    let job = |n| Some(Uuid::from_u128(n));
    assert_eq!(
        listed,
        [("idle", None), ("offline", job(3)), ("offline", None), ("busy", job(1))],
        "a job that is over keeps nobody busy"
    );
    let list = ListWithStatus { filter: all(), seen_since: NOW - LATER };
    assert_eq!(store.run(reader, list).await.unwrap()[1].status, Status::Busy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_of_life_is_noted_and_never_taken_back() {
    let (db, store) = scene().await;
    let admin = with_role(1, ORG, "organization-admin");
    let by = Call::by(&admin);
    let first = UpsertProvisionerDaemon(daemon(1, "builder", of_all()));
    store.run(by, first).await.unwrap();
    let touch = |n, now| TouchProvisionerDaemon { id: daemon_id(n), now };
    let seen = "SELECT last_seen_at = '2031-01-15 12:05Z' FROM provisioner_daemons";
    for other in [colleague(2, Sharing::None), member(1)] {
        refused!(store.run(Call::by(&other), touch(1, NOW + LATER)).await, Error::Denied(_));
    }
    assert_eq!(value(&db, seen).await, "f");
    for at in [NOW + LATER, NOW] {
        store.run(by, touch(1, at)).await.unwrap();
        assert_eq!(value(&db, seen).await, "t");
    }
    refused!(store.run(by, touch(9, NOW)).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_register_at_once_one_daemon_is_left() {
    let (db, store) = scene().await;
    let owner = owner();
    let by = Call::by(&owner);
    for (n, name, seen) in [(1, "up", [NOW, NOW + LATER]), (3, "down", [NOW + LATER, NOW])] {
        let new = |n, seen| {
            let known = daemon(n, name, of_all());
            UpsertProvisionerDaemon(ProvisionerDaemon { last_seen_at: Some(seen), ..known })
        };
        let (first, second) = ((by, || new(n, seen[0])), (by, new(n + 1, seen[1])));
        let (one, two) = meet((&db, &store), first, second).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.id, two.id);
        assert_eq!(two.last_seen_at, Some(NOW + LATER), "{name}");
    }
    assert_eq!(value(&db, "SELECT count(*) FROM provisioner_daemons").await, "2");
}
