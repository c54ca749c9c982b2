//! Notices leave at commit, and a lost one shows as a resync.

use std::time::Duration;

use stdx::Lifecycle;
use store::pubsub::{Channel, Notice, Publish, Pubsub, Subscription};
use store::{Call, Error, Full, Store as _, TxOptions};
use testkit::TestDb;
use tokio::time::Instant;

use crate::scene::owner;

async fn listening() -> (TestDb, Full, Lifecycle, Pubsub) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let lifecycle = Lifecycle::new();
    let pubsub = Pubsub::start(db.url().clone(), &lifecycle);
    pubsub.connected().await;
    (db, store, lifecycle, pubsub)
}

fn publish(payload: &str) -> Publish {
    Publish { channel: Channel::AiProviders, payload: payload.to_owned() }
}

fn notice(payload: &str) -> Notice {
    Notice::Message(payload.to_owned())
}

/// The next notice; one that does not come fails the test instead of hanging it.
async fn next(subscription: &mut Subscription) -> Option<Notice> {
    tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_leaves_at_commit_and_never_after_a_rollback() {
    let (_db, store, _lifecycle, pubsub) = listening().await;
    let owner = owner();
    let mut ours = pubsub.subscribe(Channel::AiProviders);
    let mut others = pubsub.subscribe(Channel::Credentials);
    let rolled_back: Result<(), Error> = store
        .tx(Call::by(&owner), TxOptions::write("test"), async |tx| {
            tx.run(publish("rolled back")).await?;
            Err(Error::NotFound)
        })
        .await;
    assert!(matches!(rolled_back, Err(Error::NotFound)));
    let committed: Result<(), Error> = store
        .tx(Call::by(&owner), TxOptions::write("test"), async |tx| {
            tx.run(publish("committed")).await?;
            // Another connection's notice overtakes the one that waits for its commit.
            store.run(Call::by(&owner), publish("outside")).await
        })
        .await;
    committed.unwrap();
    assert_eq!(next(&mut ours).await, Some(notice("outside")));
    assert_eq!(next(&mut ours).await, Some(notice("committed")));
    let other = Publish { channel: Channel::Credentials, payload: "key".to_owned() };
    store.run(Call::by(&owner), other).await.unwrap();
    assert_eq!(next(&mut others).await, Some(notice("key")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_dialled_again_and_everyone_told_to_look() {
    let (db, store, _lifecycle, pubsub) = listening().await;
    let mut subscription = pubsub.subscribe(Channel::AiProviders);
    let killed = db
        .sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = current_database() AND query LIKE 'LISTEN %'",
        )
        .await
        .unwrap();
    assert_eq!(killed.len(), 1);
    assert_eq!(next(&mut subscription).await, Some(Notice::Resync));
    pubsub.connected().await;
    store.run(Call::by(&owner()), publish("after")).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(notice("after")));
}

/// No end of the connection ever comes; only the silence tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_dies_silently_is_noticed_within_seconds() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let (relay, url) = db.relayed().await.unwrap();
    let lifecycle = Lifecycle::new();
    let pubsub = Pubsub::start(url, &lifecycle);
    pubsub.connected().await;
    let mut subscription = pubsub.subscribe(Channel::AiProviders);
    // Longer than the pause between two probes: they succeed, and nobody is told anything.
    let quiet = tokio::time::timeout(Duration::from_millis(1_500), subscription.next()).await;
    assert!(quiet.is_err() && pubsub.is_connected(), "{quiet:?}");
    relay.fall_silent();
    let silent = Instant::now();
    store.run(Call::by(&owner()), publish("missed")).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), pubsub.disconnected()).await.unwrap();
    assert!(silent.elapsed() < Duration::from_secs(5), "{:?}", silent.elapsed());
    assert!(!pubsub.is_connected());
    relay.carry_again();
    tokio::time::timeout(Duration::from_secs(20), pubsub.connected()).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(Notice::Resync));
    store.run(Call::by(&owner()), publish("after")).await.unwrap();
    assert_eq!(next(&mut subscription).await, Some(notice("after")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_falls_behind_is_told_to_look_and_goes_on_with_the_newest() {
    let (db, _store, _lifecycle, pubsub) = listening().await;
    let mut slow = pubsub.subscribe(Channel::AiProviders);
    let mut quick = pubsub.subscribe(Channel::AiProviders);
    db.sql("SELECT pg_notify('ai_providers_changed', i::text) FROM generate_series(1, 5000) i")
        .await
        .unwrap();
    while next(&mut quick).await != Some(notice("5000")) {}
    assert_eq!(next(&mut slow).await, Some(Notice::Resync));
    let mut seen = 1;
    while next(&mut slow).await != Some(notice("5000")) {
        seen += 1;
    }
    assert!(seen < 5000, "{seen} notices were kept for a subscriber that did not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_end_with_the_process() {
    let (_db, _store, lifecycle, pubsub) = listening().await;
    let mut subscription = pubsub.subscribe(Channel::AiProviders);
    lifecycle.stop(Duration::from_secs(5)).await;
    assert_eq!(next(&mut subscription).await, None);
    assert_eq!(next(&mut pubsub.subscribe(Channel::AiProviders)).await, None);
}
