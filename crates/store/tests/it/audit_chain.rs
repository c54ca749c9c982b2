//! The chain of the audit log: places, checkpoints, removal, rows from before.

use std::time::Duration;

use crypt::signing::is_signed;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use rbac::system;
use serde_json::{Value, json};
use stdx::Secret;
use store::audit_chain::{
    Checkpoint, DeleteOldAuditLogs, Entry, Head, Kind, Link, MakeCheckpoint, Reader,
    RotateSigningKey, START,
};
use store::audit_logs::{AuditLog, InsertAuditLog};
use store::{Call, Error, Full, Isolation, Store as _, Tx, TxOptions};
use testkit::TestDb;
use time::OffsetDateTime;

use crate::scene::value;
use crate::systems::audit_log;

const NOW: OffsetDateTime = time::macros::datetime!(2026-03-01 0:00 UTC);

async fn fresh() -> (TestDb, Full) {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    (db, store)
}

fn auditor() -> Call<'static> {
    Call::by(system::auditor())
}

async fn write(store: &Full, numbers: impl IntoIterator<Item = u128>) {
    for n in numbers {
        store.run(auditor(), InsertAuditLog(audit_log(n))).await.unwrap();
    }
}

/// The whole chain, each row checked against the one before.
async fn chain(db: &TestDb) -> (Head, Vec<(Link, Entry)>) {
    let mut reader = Reader::open(db.url()).await.unwrap();
    let rows = reader.rows(0, 10_000).await.unwrap();
    (reader.head().await.unwrap(), rows)
}

fn assert_whole(head: &Head, rows: &[(Link, Entry)], mut sequence: i64, start: &[u8]) {
    let mut previous = start.to_vec();
    for (link, entry) in rows {
        sequence += 1;
        assert_eq!(link.sequence, sequence);
        assert_eq!(link.previous_hash, previous);
        assert_eq!(link.hash, entry.hash(sequence, &previous).unwrap());
        previous.clone_from(&link.hash);
    }
    assert_eq!((head.sequence, &head.hash), (sequence, &previous));
}

async fn checkpoint(store: &Full, now: OffsetDateTime) -> Option<Checkpoint> {
    store.run(auditor(), MakeCheckpoint { rows_min: 1, old: now, now }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_many_writers_are_one_chain_without_gaps() {
    let (db, store) = fresh().await;
    let writers: Vec<_> = (0..8_u128)
        .map(|writer| {
            let store = store.clone();
            async move {
                for n in 0..10 {
                    let (one, two) = (writer * 100 + n * 2, writer * 100 + n * 2 + 1);
                    let outcome: Result<(), Error> = store
                        .tx(auditor(), TxOptions::write("two"), async |tx: &mut Tx| {
                            tx.run(InsertAuditLog(audit_log(one))).await?;
                            tx.run(InsertAuditLog(audit_log(two))).await?;
                            if n == 3 { Err(Error::NotFound) } else { Ok(()) }
                        })
                        .await;
                    assert_eq!(outcome.is_err(), n == 3);
                }
            }
        })
        .collect();
    futures_util::future::join_all(writers).await;
    let (head, rows) = chain(&db).await;
    assert_eq!(rows.len(), 8 * 9 * 2);
    assert_whole(&head, &rows, 0, &START);
    // Both rows of a transaction stand side by side.
    for pair in rows.chunks(2) {
        assert_eq!(pair[0].1.id.as_u128() + 1, pair[1].1.id.as_u128());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_sees_one_state_gets_its_place_too() {
    let (db, store) = fresh().await;
    let busy = async {
        for n in 0..60 {
            write(&store, [n]).await;
        }
    };
    let slow = async {
        for n in 1_000..1_006 {
            let options =
                TxOptions { isolation: Isolation::Serializable, ..TxOptions::write("one") };
            let wrote: Result<(), Error> = store
                .tx(auditor(), options, async |tx: &mut Tx| {
                    tx.run(store::audit_logs::CountAuditLogs {
                        filter: store::audit_logs::Filter::default(),
                        cap: 1,
                    })
                    .await?;
                    tx.run(InsertAuditLog(audit_log(n))).await
                })
                .await;
            wrote.unwrap();
        }
    };
    tokio::join!(busy, slow);
    let (head, rows) = chain(&db).await;
    assert_eq!(rows.len(), 66);
    assert_whole(&head, &rows, 0, &START);
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_signed_and_made_when_there_is_something_new() {
    let (db, store) = fresh().await;
    assert_eq!(checkpoint(&store, NOW).await, None);
    write(&store, 1..=3).await;
    let first = checkpoint(&store, NOW).await.unwrap();
    assert_eq!((first.sequence, first.kind), (3, Kind::At));
    assert_eq!(checkpoint(&store, NOW).await, None);
    write(&store, 4..=5).await;
    // Neither enough rows nor old.
    let early = MakeCheckpoint { rows_min: 3, old: NOW - Duration::from_secs(1), now: NOW };
    assert_eq!(store.run(auditor(), early).await.unwrap(), None);
    store.run(auditor(), RotateSigningKey { now: NOW }).await.unwrap();
    let enough = MakeCheckpoint { rows_min: 2, old: NOW - Duration::from_secs(1), now: NOW };
    let second = store.run(auditor(), enough).await.unwrap().unwrap();
    assert_ne!(first.signing_key_id, second.signing_key_id);

    let mut reader = Reader::open(db.url()).await.unwrap();
    let (keys, rows) = (reader.public_keys().await.unwrap(), reader.rows(0, 10).await.unwrap());
    assert_eq!(keys.len(), 2);
    assert_eq!(reader.checkpoints(0, 10).await.unwrap(), [first.clone(), second.clone()]);
    for made in [first, second] {
        let key = keys.iter().find(|key| key.id == made.signing_key_id).unwrap();
        assert!(is_signed(&key.bytes, &made.message(), &made.signature));
        let row = rows.iter().find(|(link, _)| link.sequence == made.sequence).unwrap();
        assert_eq!(made.hash, row.0.hash);
        let said_of_another = Checkpoint { sequence: made.sequence + 1, ..made.clone() };
        assert!(!is_signed(&key.bytes, &said_of_another.message(), &made.signature));
        let start = Checkpoint { kind: Kind::Start, ..made.clone() };
        assert!(!is_signed(&key.bytes, &start.message(), &made.signature));
    }
    let kept = "SELECT count(*) FROM audit_signing_keys WHERE private_key IS NOT NULL";
    assert_eq!(value(&db, kept).await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn removal_takes_the_oldest_and_leaves_a_signed_start() {
    let (db, store) = fresh().await;
    write(&store, 1..=10).await;
    checkpoint(&store, NOW).await.unwrap();
    let whole = chain(&db).await.1;
    let purge = Call::by(system::dbpurge());
    let until = |n: usize, limit| DeleteOldAuditLogs { before: whole[n].1.time, limit, now: NOW };
    let refused = store.run(auditor(), until(4, 10)).await;
    assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    assert_eq!(store.run(purge, until(0, 10)).await.unwrap(), 0);
    assert_eq!(store.run(purge, until(6, 4)).await.unwrap(), 4);
    assert_eq!(store.run(purge, until(6, 4)).await.unwrap(), 2);
    assert_eq!(store.run(purge, until(6, 4)).await.unwrap(), 0);

    let (head, rows) = chain(&db).await;
    assert_whole(&head, &rows, 6, &whole[5].0.hash);
    assert_eq!(rows.len(), 4);
    let mut reader = Reader::open(db.url()).await.unwrap();
    let start = reader.start().await.unwrap().unwrap();
    assert_eq!((start.sequence, start.kind), (6, Kind::Start));
    assert_eq!(start.hash, whole[5].0.hash);
    let keys = reader.public_keys().await.unwrap();
    assert!(is_signed(&keys[0].bytes, &start.message(), &start.signature));
    // All of them may go; the chain goes on.
    let all =
        DeleteOldAuditLogs { before: NOW + Duration::from_secs(1 << 30), limit: 10, now: NOW };
    assert_eq!(store.run(purge, all).await.unwrap(), 4);
    write(&store, [11]).await;
    let (head, rows) = chain(&db).await;
    assert_whole(&head, &rows, 10, &whole[9].0.hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_from_before_the_chain_get_places_once() {
    let db = TestDb::new().await;
    db.sql(
        "UPDATE audit_chain SET adopted_at = NULL;
         INSERT INTO audit_logs (id, time, user_id, organization_id, resource_type, resource_id, resource_target,
                                 action, diff, status_code, additional_fields, request_id)
         SELECT md5(n::text)::uuid, '2020-01-01Z'::timestamptz + n % 700 * interval '1 minute', md5('u')::uuid,
                md5('o')::uuid, 'user', md5('r')::uuid, 'ann', 'write',
                jsonb_build_object('n', n * 1.50, 'b', 1e3, 'a', jsonb_build_array(n, null, 'é\"')), 200, '{}', md5('q')::uuid
           FROM generate_series(1, 2500) n",
    )
    .await
    .unwrap();
    let (one, two) = tokio::join!(db.store(), db.store());
    let (store, _) = (one.unwrap(), two.unwrap());
    let (head, rows) = chain(&db).await;
    assert_eq!(rows.len(), 2_500);
    assert_whole(&head, &rows, 0, &START);
    assert!(rows.is_sorted_by_key(|(_, entry)| entry.time));
    write(&store, [1]).await;
    // What came past the program afterwards gets none.
    let stray = "INSERT INTO audit_logs (id, time, user_id, organization_id, resource_type, resource_id,
                    resource_target, action, diff, status_code, additional_fields, request_id)
                 SELECT md5('stray')::uuid, time, user_id, organization_id, resource_type, resource_id, resource_target,
                    action, diff, status_code, additional_fields, request_id FROM audit_logs WHERE sequence = 1";
    db.sql(stray).await.unwrap();
    db.store().await.unwrap();
    let (head, rows) = chain(&db).await;
    assert_whole(&head, &rows, 0, &START);
    assert_eq!(rows.len(), 2_501);
    let mut reader = Reader::open(db.url()).await.unwrap();
    assert!(reader.stray().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_ours_is_told_so() {
    let db = TestDb::empty().await;
    let error = Reader::open(db.url()).await.unwrap_err();
    assert!(error.to_string().contains("schema"), "{error}");
    assert!(Reader::open(&Secret::from("postgres://%")).await.is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        "[^\u{0}]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[^\u{0}]{0,6}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// What is hashed before a row is written is hashed again when it is read: the database keeps every digit.
#[tokio::test(flavor = "multi_thread")]
async fn rows_come_back_as_they_were_hashed() {
    let (db, store) = fresh().await;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rows: Vec<AuditLog> = (0..200)
        .map(|n| {
            let (diff, fields, text, nanos) =
                (any_json(), any_json(), "[^\u{0}]{0,20}", 0..1_000_000_000_i64)
                    .new_tree(&mut runner)
                    .unwrap()
                    .current();
            let log = audit_log(n);
            let time = log.time + time::Duration::nanoseconds(nanos);
            AuditLog {
                diff,
                additional_fields: json!({ "any": fields }),
                resource_target: text,
                ip: (n % 3 != 0).then(|| "2001:db8::1/64".parse().unwrap()),
                user_agent: (n % 2 == 0).then(|| "ä".repeat(100)),
                time,
                ..log
            }
        })
        .collect();
    let wrote: Result<(), Error> = store
        .tx(auditor(), TxOptions::write("all"), async |tx: &mut Tx| {
            for row in &rows {
                tx.run(InsertAuditLog(row.clone())).await?;
            }
            Ok(())
        })
        .await;
    wrote.unwrap();
    let (head, rows) = chain(&db).await;
    assert_eq!(rows.len(), 200);
    assert_whole(&head, &rows, 0, &START);
}
