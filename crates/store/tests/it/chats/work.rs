//! Which server works on a chat.

use std::sync::Arc;

use rbac::{Subject, system};
use stdx::ids::{ChatId, ReplicaId};
use store::chats::{
    AcquireChats, Chat, GetChat, HeartbeatChats, InsertChat, InsertMessages, ReleaseStaleChats,
    UpdateStatus,
};
use store::{Call, Change, Constraint, Error, Full, Pk, Store as _, TxOptions};
use testkit::TestDb;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{MINUTE, chat_id, new_chat, scene};
use crate::meeting::{meet, refused};
use crate::scene::{NOW, member};

const fn worker(n: u32) -> ReplicaId {
    ReplicaId::new(Uuid::from_u128(0x9200 + n as u128))
}

fn acquire(n: u32, now: OffsetDateTime, limit: i64) -> AcquireChats {
    AcquireChats { worker_id: worker(n), now, limit }
}

fn release(silent_since: OffsetDateTime) -> ReleaseStaleChats {
    ReleaseStaleChats { silent_since, now: silent_since, limit: 100 }
}

fn status(n: u32, status: &'static str, by: Option<u32>) -> UpdateStatus {
    let worker_id = by.map(worker);
    UpdateStatus { id: chat_id(n), status, last_error: None, worker_id, now: NOW + MINUTE }
}

fn ids(changes: &[Change<Chat>]) -> Vec<ChatId> {
    changes.iter().map(|change| change.new.as_ref().unwrap().id.0).collect()
}

/// Chats of Alice that wait for a server, the first one longest.
async fn pending(count: u32) -> (TestDb, Full, Arc<Subject>) {
    let (db, store, alice, _bob) = scene().await;
    for n in 1..=count {
        let new = InsertChat { status: "pending", now: NOW + MINUTE * n, ..new_chat(n, 1) };
        store.run(Call::by(&alice), new).await.unwrap();
    }
    (db, store, alice)
}

async fn get(store: &Full, n: u32) -> Chat {
    store.run(Call::by(system::chatd()), GetChat { id: chat_id(n) }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_chat_is_taken_by_one_server() {
    let (_db, store, alice) = pending(4).await;
    let chatd = Call::by(system::chatd());
    store.run(Call::by(&alice), new_chat(9, 1)).await.unwrap();
    for other in [&alice, &member(1)] {
        refused!(store.run(Call::by(other), acquire(1, NOW, 9)).await, Error::Denied(_));
    }
    let at = NOW + MINUTE * 10;
    let at_once = store.tx(chatd, TxOptions::write("test"), async |tx| {
        let mine = tx.run(acquire(1, at, 2)).await?;
        assert_eq!(ids(&mine), [chat_id(1), chat_id(2)]);
        // What is being taken is not waited for.
        let theirs = store.run(chatd, acquire(2, at, 1)).await?;
        assert_eq!(ids(&theirs), [chat_id(3)]);
        Ok::<_, Error>(mine)
    });
    for (n, change) in (1..).zip(at_once.await.unwrap()) {
        assert_eq!(change.old.unwrap().status, "pending");
        let new = change.new.unwrap();
        assert_eq!((new.status.as_str(), new.worker_id), ("running", Some(Pk(worker(1)))));
        assert_eq!((new.started_at, new.heartbeat_at), (Some(at), Some(at)));
        assert_eq!(get(&store, n).await, new, "what is told is what is stored");
    }
    // Nor is one that somebody writes to.
    let busy = store.tx(Call::by(&alice), TxOptions::write("test"), async |tx| {
        let chat_id = chat_id(4);
        let nothing = InsertMessages { chat_id, api_key_id: None, messages: Vec::new(), now: NOW };
        tx.run(nothing).await?;
        store.run(chatd, acquire(1, at, 9)).await
    });
    assert_eq!(busy.await.unwrap(), []);
    assert_eq!(store.run(chatd, acquire(1, at, -1)).await.unwrap(), []);
    assert_eq!(ids(&store.run(chatd, acquire(1, at, 9)).await.unwrap()), [chat_id(4)]);
    assert_eq!(store.run(chatd, acquire(1, at, 9)).await.unwrap(), []);
    assert_eq!(get(&store, 9).await.status, "waiting");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_loses_its_chats() {
    let (db, store, alice) = pending(3).await;
    let chatd = Call::by(system::chatd());
    store.run(chatd, acquire(1, NOW, 2)).await.unwrap();
    store.run(chatd, acquire(2, NOW, 1)).await.unwrap();
    let beat =
        |n, now| HeartbeatChats { worker_id: worker(n), ids: (1..=4).map(chat_id).collect(), now };
    refused!(store.run(Call::by(&alice), beat(1, NOW)).await, Error::Denied(_));
    refused!(store.run(Call::by(&alice), release(NOW)).await, Error::Denied(_));
    assert_eq!(store.run(chatd, beat(2, NOW + MINUTE)).await.unwrap(), [chat_id(3)]);
    assert_eq!(store.run(chatd, release(NOW)).await.unwrap(), [], "not before the time is over");

    let limited = ReleaseStaleChats { limit: 1, ..release(NOW + MINUTE) };
    let released = store.run(chatd, limited).await.unwrap();
    assert_eq!(ids(&released), [chat_id(1)]);
    assert_eq!(released[0].old.as_ref().unwrap().worker_id, Some(Pk(worker(1))));
    let new = released[0].new.clone().unwrap();
    assert_eq!((new.status.as_str(), new.worker_id, new.heartbeat_at), ("pending", None, None));
    assert_eq!(get(&store, 1).await, new);
    assert_eq!(ids(&store.run(chatd, release(NOW + MINUTE)).await.unwrap()), [chat_id(2)]);
    assert_eq!(store.run(chatd, release(NOW + MINUTE)).await.unwrap(), []);
    assert_eq!(store.run(chatd, beat(1, NOW + MINUTE)).await.unwrap(), [], "it must stop");
    assert_eq!(get(&store, 3).await.status, "running");
    // One that is said to run, though nobody took it.
    db.sql("UPDATE chats SET status = 'running' WHERE title = 'Chat 2'").await.unwrap();
    assert_eq!(ids(&store.run(chatd, release(NOW + MINUTE * 2)).await.unwrap()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_works_on_a_chat_says_what_becomes_of_it() {
    let (_db, store, alice) = pending(1).await;
    let chatd = Call::by(system::chatd());
    store.run(chatd, acquire(1, NOW, 1)).await.unwrap();
    let taken = get(&store, 1).await;
    refused!(store.run(Call::by(&member(1)), status(1, "completed", None)).await, Error::Denied(_));
    refused!(store.run(chatd, status(9, "completed", None)).await, Error::NotFound);
    let unknown = store.run(chatd, status(1, "asleep", None)).await;
    refused!(unknown, Error::Check(Constraint::ChatsStatusKnown));
    assert_eq!(store.run(chatd, status(1, "completed", Some(2))).await.unwrap(), None);
    assert_eq!(get(&store, 1).await, taken);
    // As long as it runs it has its server.
    let failed =
        UpdateStatus { last_error: Some("slow".to_owned()), ..status(1, "running", Some(1)) };
    let change = store.run(chatd, failed).await.unwrap().unwrap();
    let new = change.new.unwrap();
    assert_eq!((new.worker_id, new.started_at), (taken.worker_id, taken.started_at));
    assert_eq!(new.last_error.as_deref(), Some("slow"));
    let change = store.run(chatd, status(1, "completed", Some(1))).await.unwrap().unwrap();
    let done = change.new.unwrap();
    assert_eq!(change.old, Some(new));
    assert_eq!((done.worker_id, done.started_at, done.heartbeat_at), (None, None, None));
    assert_eq!((done.status.as_str(), done.last_error.as_deref()), ("completed", None));
    assert_eq!(store.run(chatd, status(1, "error", Some(1))).await.unwrap(), None);
    // People may say so of their own.
    let change = store.run(Call::by(&alice), status(1, "pending", None)).await.unwrap().unwrap();
    assert_eq!(change.new.unwrap().status, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_that_is_given_back_is_not_finished_by_who_lost_it() {
    let (db, store, alice) = pending(2).await;
    let chatd = Call::by(system::chatd());
    store.run(chatd, acquire(1, NOW, 2)).await.unwrap();
    let done = status(1, "completed", Some(1));
    let (released, done) =
        meet((&db, &store), (chatd, || release(NOW + MINUTE)), (chatd, done)).await;
    assert_eq!(released.unwrap().len(), 2);
    assert_eq!(done.unwrap(), None);
    assert_eq!(get(&store, 1).await.status, "pending");

    store.run(chatd, acquire(2, NOW, 2)).await.unwrap();
    let finished = store.tx(chatd, TxOptions::write("test"), async |tx| {
        tx.run(status(1, "completed", Some(2))).await?;
        // Who is about to finish is not waited for.
        let released = store.run(chatd, release(NOW + MINUTE)).await?;
        assert_eq!(ids(&released), [chat_id(2)]);
        Ok::<_, Error>(())
    });
    finished.await.unwrap();
    assert_eq!(get(&store, 1).await.status, "completed");

    // Its owner stops it while it gives a sign of life.
    store.run(chatd, acquire(3, NOW, 2)).await.unwrap();
    let beat = HeartbeatChats { worker_id: worker(3), ids: vec![chat_id(2)], now: NOW };
    let by = Call::by(&alice);
    let (paused, beat) =
        meet((&db, &store), (by, || status(2, "paused", None)), (chatd, beat)).await;
    assert!(paused.unwrap().is_some());
    assert_eq!(beat.unwrap(), []);
}
