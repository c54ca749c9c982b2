//! What the deployment keeps about itself: its servers, settings, usage and reports.

use std::time::Duration;

use rbac::system;
use serde_json::json;
use stdx::ids::ReplicaId;
use store::replicas::{GetReplica, InsertReplica, ListReplicas, Replica, UpdateReplica};
use store::site_configs::{
    DEPLOYMENT_ID, DeleteSetting, GetOrInsert, GetSetting, Setting, UpsertSetting,
};
use store::telemetry::{GetItem, TakePeriod, UpsertItem};
use store::usage_events::{
    ClaimUsageEvents, InsertUsageEvent, MarkFailed, MarkPublished, SumDaily,
};
use store::{Call, Constraint, Error, Full, Pk, Store as _, TxOptions};
use testkit::TestDb;
use time::OffsetDateTime;
use time::macros::date;
use uuid::Uuid;

use crate::meeting::{meet, refused};
use crate::scene::{NOW, member, owner, value};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    (db, store)
}

fn replica(n: u32, updated_at: OffsetDateTime) -> Replica {
    Replica {
        id: Pk(ReplicaId::new(Uuid::from_u128(0x9200 + u128::from(n)))),
        created_at: NOW,
        started_at: NOW + MINUTE * n,
        stopped_at: None,
        updated_at,
        hostname: format!("host-{n}"),
        region_id: 1,
        relay_address: String::new(),
        database_latency: 300,
        version: "v2.0.0".to_owned(),
        error: String::new(),
        primary: true,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_entered_give_signs_of_life_and_stop() {
    let (_db, store) = fresh().await;
    let (owner, member) = (owner(), member(1));
    let by = Call::by(&owner);
    let insert = |n| InsertReplica(replica(n, NOW));
    refused!(store.run(Call::by(&member), insert(1)).await, Error::Denied(_));
    for n in [2, 1, 3] {
        let change = store.run(by, insert(n)).await.unwrap();
        assert_eq!((change.old, change.new), (None, Some(replica(n, NOW))));
    }
    refused!(store.run(by, insert(1)).await, Error::Conflict(Constraint::ReplicasPkey));

    let beat = |n| Replica {
        created_at: NOW + HOUR,
        database_latency: 500,
        error: "no relay".to_owned(),
        ..replica(n, NOW + MINUTE)
    };
    let known = |n| Replica { created_at: NOW, ..beat(n) };
    refused!(store.run(Call::by(&member), UpdateReplica(beat(1))).await, Error::Denied(_));
    let change = store.run(by, UpdateReplica(beat(1))).await.unwrap();
    assert_eq!((change.old, change.new), (Some(replica(1, NOW)), Some(known(1))));
    let late = store.run(by, UpdateReplica(replica(1, NOW))).await.unwrap();
    assert_eq!((late.old, late.new), (Some(known(1)), Some(known(1))), "an older one came late");
    refused!(store.run(by, UpdateReplica(beat(9))).await, Error::NotFound);

    let get = |n| GetReplica { id: replica(n, NOW).id.0 };
    assert_eq!(store.run(by, get(1)).await.unwrap(), known(1));
    refused!(store.run(by, get(9)).await, Error::NotFound);
    refused!(store.run(Call::by(&member), get(1)).await, Error::Denied(_));

    let list = async |after| {
        let list = ListReplicas { updated_after: after };
        let listed = store.run(by, list).await.unwrap();
        listed.into_iter().map(|replica| replica.hostname).collect::<Vec<_>>()
    };
    assert_eq!(list(NOW - MINUTE).await, ["host-1", "host-2", "host-3"]);
    assert_eq!(list(NOW).await, ["host-1"]);
    let stopped = Replica { stopped_at: Some(NOW + MINUTE), ..beat(1) };
    store.run(by, UpdateReplica(stopped)).await.unwrap();
    assert_eq!(list(NOW - MINUTE).await, ["host-2", "host-3"], "one that stopped");
    let again = Replica { updated_at: NOW + HOUR, ..beat(1) };
    let again = store.run(by, UpdateReplica(again)).await.unwrap();
    assert_eq!(again.new.unwrap().stopped_at, None);
    let refused = store.run(Call::by(&member), ListReplicas { updated_after: NOW }).await;
    refused!(refused, Error::Denied(_));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_signs_of_life_at_once_the_newer_one_counts() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    for (n, first, second) in [(1, MINUTE, HOUR), (2, HOUR, MINUTE)] {
        store.run(by, InsertReplica(replica(n, NOW))).await.unwrap();
        let beat = |after| UpdateReplica(replica(n, NOW + after));
        let (one, two) = meet((&db, &store), (by, || beat(first)), (by, beat(second))).await;
        assert!(one.is_ok() && two.is_ok());
        let known = store.run(by, GetReplica { id: replica(n, NOW).id.0 }).await.unwrap();
        assert_eq!(known.updated_at, NOW + HOUR);
    }
}

fn set(key: &str, value: &str) -> UpsertSetting {
    UpsertSetting { key: key.to_owned(), value: value.to_owned() }
}

fn get(key: &str) -> GetSetting {
    GetSetting { key: key.to_owned() }
}

fn unset(key: &str) -> DeleteSetting {
    DeleteSetting { key: key.to_owned() }
}

fn setting(value: &str) -> Setting {
    Setting { key: "sync".to_owned(), value: value.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_set_read_and_forgotten() {
    let (db, store) = fresh().await;
    let (owner, member) = (owner(), member(1));
    let by = Call::by(&owner);
    let reader = Call::by(system::oauth2());
    for other in [Call::by(&member), reader] {
        refused!(store.run(other, set("sync", "{}")).await, Error::Denied(_));
        refused!(store.run(other, unset("sync")).await, Error::Denied(_));
    }
    refused!(store.run(by, get("sync")).await, Error::NotFound);
    refused!(store.run(by, unset("sync")).await, Error::NotFound);
    let change = store.run(by, set("sync", "one")).await.unwrap();
    assert_eq!((change.old, change.new), (None, Some(setting("one"))));
    let change = store.run(by, set("sync", "two")).await.unwrap();
    assert_eq!((change.old, change.new), (Some(setting("one")), Some(setting("two"))));
    assert_eq!(store.run(reader, get("sync")).await.unwrap().value, "two");
    refused!(store.run(Call::by(&member), get("sync")).await, Error::Denied(_));
    let change = store.run(by, unset("sync")).await.unwrap();
    assert_eq!((change.old, change.new), (Some(setting("two")), None));

    // What is not a setting is not read, changed or taken away like one.
    let id = GetOrInsert { key: DEPLOYMENT_ID, value: "me".to_owned() };
    store.run(by, id).await.unwrap();
    for key in [DEPLOYMENT_ID, "", &"k".repeat(257), &"ö".repeat(129)] {
        refused!(store.run(by, get(key)).await, Error::Unfit(_));
        refused!(store.run(by, set(key, "x")).await, Error::Unfit(_));
        refused!(store.run(by, unset(key)).await, Error::Unfit(_));
    }
    store.run(by, set(&"ö".repeat(128), "x")).await.unwrap();
    let stored = "SELECT string_agg(value, ' ' ORDER BY value) FROM site_configs";
    assert_eq!(value(&db, stored).await, "me x");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_set_or_forget_a_setting_at_once_each_tells_what_it_replaced() {
    let (db, store) = fresh().await;
    let owner = owner();
    let by = Call::by(&owner);
    let scene = (&db, &store);
    let (one, two) = meet(scene, (by, || set("sync", "one")), (by, set("sync", "two"))).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.old, one.new), (None, Some(setting("one"))));
    assert_eq!((two.old, two.new), (Some(setting("one")), Some(setting("two"))));
    let (one, two) = meet(scene, (by, || set("sync", "three")), (by, set("sync", "four"))).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.old, two.old), (Some(setting("two")), Some(setting("three"))));
    let (one, two) = meet(scene, (by, || unset("sync")), (by, set("sync", "five"))).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.old, two.old, two.new), (Some(setting("four")), None, Some(setting("five"))));
    let (one, two) = meet(scene, (by, || set("sync", "six")), (by, unset("sync"))).await;
    assert_eq!((one.unwrap().new, two.unwrap().old), (Some(setting("six")), Some(setting("six"))));
    assert_eq!(value(&db, "SELECT count(*) FROM site_configs").await, "0");
}

const AGENTS: &str = "dc_managed_agents_v1";
const SEATS: &str = "hb_ai_seats_v1";

fn event(id: &str, event_type: &'static str, count: i64, now: OffsetDateTime) -> InsertUsageEvent {
    InsertUsageEvent { id: id.to_owned(), event_type, event_data: json!({ "count": count }), now }
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_counted_once_and_added_up_by_day() {
    let (db, store) = fresh().await;
    let publisher = Call::by(system::usage_publisher());
    let day = HOUR * 24;
    for (id, event_type, count, at) in [
        ("a", AGENTS, 1, NOW),
        ("b", AGENTS, 2, NOW),
        ("c", AGENTS, 4, NOW + day),
        ("d", AGENTS, 8, NOW + day * 2),
        ("e", SEATS, 7, NOW),
        ("f", SEATS, 5, NOW),
    ] {
        let new = || event(id, event_type, count, at);
        assert!(store.run(publisher, new()).await.unwrap());
        assert!(!store.run(publisher, new()).await.unwrap(), "{id} again");
    }
    let sum = |event_type, from, to| SumDaily { event_type, from, to };
    let (first, last) = (date!(2031 - 01 - 15), date!(2031 - 01 - 17));
    for (event_type, from, to, wanted) in [
        (AGENTS, first, last, 15),
        (AGENTS, first, first, 3),
        (AGENTS, date!(2031 - 01 - 16), date!(2031 - 01 - 16), 4),
        (AGENTS, last, first, 0),
        (SEATS, first, last, 7),
        ("unheard of", first, last, 0),
    ] {
        let added = store.run(publisher, sum(event_type, from, to)).await.unwrap();
        assert_eq!(added, wanted, "{event_type} {from} {to}");
    }
    let unknown = store.run(publisher, event("x", "unheard of", 1, NOW)).await;
    refused!(unknown, Error::Check(Constraint::UsageEventsEventTypeCheck));
    let shape = InsertUsageEvent { event_data: json!([]), ..event("x", AGENTS, 1, NOW) };
    refused!(
        store.run(publisher, shape).await,
        Error::Check(Constraint::UsageEventsEventDataObject)
    );

    // Not even for owners; a workspace that is built for a task counts.
    let owner = owner();
    refused!(store.run(Call::by(&owner), event("y", AGENTS, 1, NOW)).await, Error::Denied(_));
    refused!(store.run(Call::by(&owner), sum(AGENTS, first, last)).await, Error::Denied(_));
    let builder = Call::by(system::provisionerd());
    assert!(store.run(builder, event("z", AGENTS, 16, NOW)).await.unwrap());
    refused!(store.run(builder, sum(AGENTS, first, last)).await, Error::Denied(_));

    let new = |count| event("at once", AGENTS, count, NOW);
    let (one, two) = meet((&db, &store), (publisher, || new(32)), (publisher, new(64))).await;
    assert_eq!((one.unwrap(), two.unwrap()), (true, false));
    assert_eq!(store.run(publisher, sum(AGENTS, first, first)).await.unwrap(), 3 + 16 + 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_published_by_who_claimed_them_last() {
    let (db, store) = fresh().await;
    let publisher = Call::by(system::usage_publisher());
    for (n, id) in (0..).zip(["c", "b", "a"]) {
        store.run(publisher, event(id, AGENTS, 1, NOW + MINUTE * n)).await.unwrap();
    }
    let claim = |now, limit| ClaimUsageEvents { now, limit };
    let claimed = async |now, limit| {
        let events = store.run(publisher, claim(now, limit)).await.unwrap();
        assert!(events.iter().all(|event| event.publish_started_at == Some(now)));
        events.into_iter().map(|event| event.id).collect::<Vec<_>>()
    };
    refused!(store.run(Call::by(&owner()), claim(NOW, 9)).await, Error::Denied(_));
    // Of two that claim at once neither waits for the other.
    let at_once = store.tx(publisher, TxOptions::write("test"), async |tx| {
        let mine = tx.run(claim(NOW, 2)).await?;
        assert_eq!(mine.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!(claimed(NOW + MINUTE, 9).await, ["a"]);
        Ok::<_, Error>(())
    });
    at_once.await.unwrap();
    assert_eq!(claimed(NOW + MINUTE, -1).await, [""; 0]);
    assert_eq!(claimed(NOW + HOUR, 9).await, [""; 0], "an hour is not over");
    let late = NOW + HOUR + Duration::from_secs(1);
    assert_eq!(claimed(late, 1).await, ["c"]);

    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let done = |some: &[&str], claimed_at| MarkPublished { ids: ids(some), claimed_at, now: late };
    let failed = |some: &[&str], claimed_at, final_at| MarkFailed {
        ids: ids(some),
        message: "no licence".to_owned(),
        final_at,
        claimed_at,
    };
    refused!(store.run(Call::by(&member(1)), done(&["c"], late)).await, Error::Denied(_));
    refused!(store.run(Call::by(&member(1)), failed(&["c"], late, None)).await, Error::Denied(_));
    // Whose claim ran out has nothing to say any more.
    assert_eq!(store.run(publisher, done(&["c", "b"], NOW)).await.unwrap(), 1);
    assert_eq!(store.run(publisher, failed(&["c", "b"], NOW, None)).await.unwrap(), 0);
    assert_eq!(store.run(publisher, failed(&["c"], late, None)).await.unwrap(), 1);
    let state =
        "SELECT string_agg(concat_ws(' ', id, publish_started_at IS NULL, published_at IS NULL,
        failure_message), ', ' ORDER BY id) FROM usage_events";
    assert_eq!(value(&db, state).await, "a f t, b t f, c t t no licence");
    assert_eq!(claimed(late, 9).await, ["c"], "one that failed is tried again");
    assert_eq!(store.run(publisher, failed(&["c"], late, Some(late))).await.unwrap(), 1);
    assert_eq!(store.run(publisher, done(&["c"], late)).await.unwrap(), 0);
    let never = late + HOUR * 48;
    assert_eq!(claimed(never, 9).await, ["a"], "one that failed for good is not");
    assert_eq!(store.run(publisher, done(&["a", "absent"], never)).await.unwrap(), 1);
    assert_eq!(value(&db, state).await, "a t f, b t f, c t f no licence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_period_is_reported_by_one_server() {
    let (db, store) = fresh().await;
    let (owner, member) = (owner(), member(1));
    let by = Call::by(&owner);
    let take = |event_type, period_ending_at| TakePeriod { event_type, period_ending_at };
    let (ours, theirs) = ("aibridge_interceptions_summary", "boundary_usage_summary");
    refused!(store.run(Call::by(&member), take(ours, NOW)).await, Error::Denied(_));
    let (one, two) = meet((&db, &store), (by, || take(ours, NOW)), (by, take(ours, NOW))).await;
    assert_eq!((one.unwrap(), two.unwrap()), (true, false));
    for (event_type, at, wanted) in
        [(ours, NOW, false), (theirs, NOW, true), (ours, NOW + HOUR, true)]
    {
        assert_eq!(store.run(by, take(event_type, at)).await.unwrap(), wanted);
    }
    let unknown = store.run(by, take("unheard of", NOW)).await;
    refused!(unknown, Error::Check(Constraint::TelemetryLocksEventTypeKnown));

    let upsert =
        |value: &str, now| UpsertItem { key: "enabled".to_owned(), value: value.to_owned(), now };
    let get = || GetItem { key: "enabled".to_owned() };
    refused!(store.run(by, get()).await, Error::NotFound);
    refused!(store.run(Call::by(&member), upsert("true", NOW)).await, Error::Denied(_));
    let (one, two) =
        meet((&db, &store), (by, || upsert("true", NOW)), (by, upsert("false", NOW + HOUR))).await;
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((&one.old, &two.old), (&None, &one.new));
    let item = store.run(by, get()).await.unwrap();
    assert_eq!((item.value.as_str(), item.created_at, item.updated_at), ("false", NOW, NOW + HOUR));
    assert_eq!(two.new, Some(item));
    refused!(store.run(Call::by(&member), get()).await, Error::Denied(_));
}
