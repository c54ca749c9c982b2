//! What agents say of themselves.

use std::time::Duration;

use rbac::Subject;
use std::sync::Arc;
use store::workspace_agents::{
    BATCH_MAX, ListMetadata, Metadata, NewMetadata, TEXT_CHARS_MAX, UpdateMetadata,
};
use store::{Call, Error, Full, Store as _};
use testkit::TestDb;
use time::OffsetDateTime;

use super::{add_agent, add_build, agent_id, running, set_agent};
use crate::meeting::{meet, refused};
use crate::scene::{NOW, member, owner, user_id, value};
use crate::workspaces::{add_workspace, person, set, shared_with};

const WRITTEN: &str =
    "SELECT count(*) FROM workspace_agent_metadata WHERE collected_at IS NOT NULL";

async fn add_keys(db: &TestDb, agent: u32, keys: u32) {
    let agent = agent_id(agent);
    db.sql(&format!(
        "INSERT INTO workspace_agent_metadata (workspace_agent_id, key, display_name, script, timeout, \"interval\",
            display_order)
         SELECT '{agent}', 'key-' || n, 'Key ' || n, 'top', 1, 10, -n FROM generate_series(1, {keys}) n"
    ))
    .await
    .unwrap();
}

fn at(seconds: u64) -> OffsetDateTime {
    NOW + Duration::from_secs(seconds)
}

fn said(agent: u32, key: u32, value: &str, seconds: u64) -> NewMetadata {
    NewMetadata {
        agent_id: agent_id(agent),
        key: format!("key-{key}"),
        value: value.to_owned(),
        error: String::new(),
        collected_at: at(seconds),
    }
}

async fn metadata(store: &Full, by: &Arc<Subject>, agent: u32) -> Vec<Metadata> {
    let list = ListMetadata { agent_id: agent_id(agent) };
    store.run(Call::by(by), list).await.unwrap().metadata
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_say_much_at_once() {
    let (db, store) = running().await;
    add_agent(&db, 2, (1, 1), "other").await;
    for agent in [1, 2] {
        add_keys(&db, agent, 100).await;
    }
    let alice = person(1);
    let by = Call::by(&alice);
    let payload = "QUJD".repeat(3072 / 4);
    let batch: Vec<_> = (1..=100)
        .flat_map(|key| [1, 2].map(|agent| (agent, key)))
        .map(|(agent, key)| NewMetadata {
            error: if key == 7 { "late".to_owned() } else { String::new() },
            ..said(agent, key, &payload, u64::from(key))
        })
        .collect();
    assert_eq!(store.run(by, UpdateMetadata(batch)).await.unwrap(), 200);
    for agent in [1, 2] {
        let all = metadata(&store, &alice, agent).await;
        assert_eq!(all.len(), 100);
        for (key, one) in (1..=100).rev().zip(&all) {
            assert_eq!((one.key.clone(), one.display_order), (format!("key-{key}"), -key));
            assert_eq!(one.value, payload);
            assert_eq!(one.error, if key == 7 { "late" } else { "" });
            assert_eq!(one.collected_at, Some(at(u64::try_from(key).unwrap())));
            assert_eq!((one.script.as_str(), one.timeout, one.interval), ("top", 1, 10));
        }
    }
    // Of one key the last word counts; what came before what is known, what nobody asked for, and who is gone do not.
    let batch = vec![
        said(1, 1, "first", 200),
        said(1, 1, "last", 200),
        said(1, 50, "late", 49),
        said(1, 51, "same", 51),
        said(1, 101, "unknown", 200),
        said(9, 1, "nobody", 200),
    ];
    assert_eq!(store.run(by, UpdateMetadata(batch)).await.unwrap(), 2);
    let all = metadata(&store, &alice, 1).await;
    let of = |key: &str| all.iter().find(|one| one.key == key).unwrap().value.clone();
    assert_eq!((of("key-1"), of("key-51")), ("last".to_owned(), "same".to_owned()));
    assert_eq!(of("key-50"), payload);
    assert_eq!(store.run(by, UpdateMetadata(Vec::new())).await.unwrap(), 0);
    set_agent(&db, 1, "deleted = true").await;
    let gone = UpdateMetadata(vec![said(1, 1, "gone", 300)]);
    assert_eq!(store.run(by, gone).await.unwrap(), 0);
    refused!(store.run(by, ListMetadata { agent_id: agent_id(1) }).await, Error::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_as_a_whole() {
    let (db, store) = running().await;
    add_keys(&db, 1, 3).await;
    let alice = person(1);
    let by = Call::by(&alice);
    let (fits, long) = ("ä".repeat(TEXT_CHARS_MAX), "ä".repeat(TEXT_CHARS_MAX + 1));
    for wrong in [
        said(1, 2, &long, 1),
        said(1, 2, &" ".repeat(TEXT_CHARS_MAX + 1), 1),
        NewMetadata { error: long.clone(), ..said(1, 2, "", 1) },
        said(1, 2, "\0", 1),
    ] {
        let batch = UpdateMetadata(vec![said(1, 1, "fits", 1), wrong]);
        refused!(store.run(by, batch).await, Error::Unfit(_));
    }
    let many = |count| UpdateMetadata((0..count).map(|_| said(1, 1, "x", 1)).collect());
    refused!(store.run(by, many(BATCH_MAX + 1)).await, Error::Unfit(_));
    assert_eq!(value(&db, WRITTEN).await, "0");
    assert_eq!(store.run(by, many(BATCH_MAX)).await.unwrap(), 1);
    let new = NewMetadata { error: fits.clone(), ..said(1, 2, &fits, 1) };
    assert_eq!(store.run(by, UpdateMetadata(vec![new])).await.unwrap(), 1);
    assert_eq!(value(&db, WRITTEN).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_the_right_to_update_each_workspace() {
    let (db, store) = running().await;
    add_workspace(&db, 2, 2, "dev").await;
    add_build(&db, 2, (1, "start", "succeeded", 1)).await;
    add_agent(&db, 2, (2, 1), "main").await;
    for agent in [1, 2] {
        add_keys(&db, agent, 1).await;
    }
    let (alice, bob) = (person(1), person(2));
    let batch = |agents: &[u32]| {
        UpdateMetadata(agents.iter().map(|agent| said(*agent, 1, "x", 1)).collect())
    };
    for by in [&alice, &bob, &member(1)] {
        refused!(store.run(Call::by(by), batch(&[1, 2])).await, Error::Denied(_));
    }
    // To read is not to write.
    set(&db, 2, &format!("user_acl = '{}'", shared_with(&user_id(1), &["read"]))).await;
    refused!(store.run(Call::by(&alice), batch(&[1, 2])).await, Error::Denied(_));
    assert_eq!(metadata(&store, &alice, 2).await.len(), 1);
    let refused = store.run(Call::by(&bob), ListMetadata { agent_id: agent_id(1) }).await;
    refused!(refused, Error::Denied(_));
    assert_eq!(value(&db, WRITTEN).await, "0");
    set(&db, 2, &format!("user_acl = '{}'", shared_with(&user_id(1), &["update"]))).await;
    assert_eq!(store.run(Call::by(&alice), batch(&[1, 2])).await.unwrap(), 2);
    // What is deleted is nobody's any more.
    set(&db, 2, "deleted = true").await;
    assert_eq!(store.run(Call::by(&owner()), batch(&[2])).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_later_word_stays_whoever_comes_first() {
    let (db, store) = running().await;
    add_keys(&db, 1, 20).await;
    let alice = person(1);
    let by = Call::by(&alice);
    let batch = |value: &str, seconds, keys: Vec<u32>| {
        UpdateMetadata(keys.into_iter().map(|key| said(1, key, value, seconds)).collect())
    };
    let up = || (1..=20).collect::<Vec<u32>>();
    let down = || (1..=20).rev().collect::<Vec<u32>>();
    for (round, first, second) in [(10, 1, 2), (20, 2, 1)] {
        let one = || batch("one", round + first, up());
        let two = batch("two", round + second, down());
        let (one, two) = meet((&db, &store), (by, one), (by, two)).await;
        assert_eq!(one.unwrap(), 20);
        assert_eq!(two.unwrap(), if second > first { 20 } else { 0 });
        let wanted = if second > first { "two" } else { "one" };
        let all = metadata(&store, &alice, 1).await;
        assert!(all.iter().all(|one| one.value == wanted), "{wanted}: {all:?}");
    }
}
