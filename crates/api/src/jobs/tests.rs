use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rbac::system;
use stdx::{Lifecycle, ManualClock, SharedClock, SystemClock, SystemRng};
use store::crypto_keys::ListCryptoKeys;
use store::{Call, Error, Full, Store as _};
use telemetry::Registry;
use testkit::TestDb;
use time::macros::datetime;

use super::purge::{Purge, PurgeMetrics};
use super::runner::{Job, JobMetrics, Runner};
use super::{Retention, clients, crypto_keys};

const DAY: Duration = Duration::from_hours(24);

async fn count(db: &TestDb, from: &str) -> u64 {
    let rows = db.sql(&format!("SELECT count(*) FROM {from}")).await.unwrap();
    rows[0][0].as_ref().unwrap().parse().unwrap()
}

/// Old rows and young ones of every table that is purged.
async fn furnish(db: &TestDb) {
    db.sql(
        "INSERT INTO users (id, email, username, created_at, updated_at)
         VALUES ('10000000-0000-4000-8000-000000000001', 'a@example.com', 'a', now(), now());
         INSERT INTO api_keys (id, hashed_secret, user_id, last_used, expires_at, created_at, updated_at, login_type,
                               lifetime_seconds, scopes, allow_list)
         SELECT 'key' || g, 'x', '10000000-0000-4000-8000-000000000001', now(), now() - g * interval '1 day', now(),
                now(), 'password', 1, '{coder:all}', '{*:*}' FROM generate_series(-2, 10) g;
         INSERT INTO telemetry_locks SELECT 'boundary_usage_summary', now() - g * interval '10 hours' FROM generate_series(0, 5) g;
         INSERT INTO replicas (id, created_at, started_at, updated_at, hostname, version)
         SELECT gen_random_uuid(), now(), now(), now() - g * interval '5 days', 'h', 'v' FROM generate_series(0, 3) g;
         SELECT aibridge_ensure_partitions(now() - interval '5 months');
         SELECT aibridge_ensure_partitions(now() - interval '2 months')",
    )
    .await
    .unwrap();
    // Of a version 4 identifier, as imported records have, and of version 7.
    for (age, id) in [("100 days", "gen_random_uuid()"), ("1 day", "gen_random_uuid()")] {
        records(db, age, id).await;
    }
    for age in ["150 days", "61 days", "59 days", "1 hour"] {
        let millis = format!("extract(epoch FROM now() - interval '{age}') * 1000");
        let id = format!(
            "(lpad(to_hex(({millis})::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3) || '8000' || substr(md5(random()::text), 1, 12))::uuid"
        );
        records(db, age, &id).await;
    }
}

async fn records(db: &TestDb, age: &str, id: &str) {
    db.sql(&format!(
        "WITH i AS (
            INSERT INTO aibridge_interceptions (id, initiator_id, provider, model, started_at, ended_at)
            SELECT {id}, '10000000-0000-4000-8000-000000000001', 'p', 'm', now() - interval '{age}', now()
            RETURNING id
         ), t AS (
            INSERT INTO aibridge_token_usages (id, interception_id, provider_response_id, input_tokens, output_tokens, created_at)
            SELECT gen_random_uuid(), id, 'r', 1, 1, now() FROM i
         ), p AS (
            INSERT INTO aibridge_user_prompts (id, interception_id, provider_response_id, prompt, created_at)
            SELECT gen_random_uuid(), id, 'r', 'p', now() FROM i
         ), c AS (
            INSERT INTO aibridge_tool_usages (id, interception_id, provider_response_id, tool, input, created_at)
            SELECT gen_random_uuid(), id, 'r', 't', 'i', now() FROM i
         )
         INSERT INTO aibridge_model_thoughts (id, interception_id, content, created_at)
         SELECT gen_random_uuid(), id, 'c', now() FROM i"
    ))
    .await
    .unwrap();
}

fn purge(store: &Full, retention: Retention) -> (Purge, Registry) {
    let mut registry = Registry::new();
    let metrics = PurgeMetrics::register(&mut registry).unwrap();
    (Purge::new(store.clone(), SystemClock::shared(), retention, metrics), registry)
}

const TABLES: [&str; 5] = [
    "aibridge_interceptions",
    "aibridge_token_usages",
    "aibridge_user_prompts",
    "aibridge_tool_usages",
    "aibridge_model_thoughts",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_with_all_that_belongs_to_it_and_the_rest_stays() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    furnish(&db).await;
    let retention =
        Retention { ai_gateway: Some(60 * DAY), api_keys: Some(7 * DAY), ..Retention::default() };
    let (job, registry) = purge(&store, retention);
    let months = "pg_class WHERE relname ~ '^aibridge_interceptions_[0-9]{6}$'";
    let before = count(&db, months).await;
    let removed = job.run().await.unwrap();
    for table in TABLES {
        assert_eq!(count(&db, table).await, 3, "{table}: 59 days, 1 day, 1 hour");
    }
    assert!(count(&db, months).await < before, "no month was dropped");
    let orphans = "aibridge_token_usages t WHERE NOT EXISTS (SELECT 1 FROM aibridge_interceptions i WHERE i.id = t.interception_id)";
    assert_eq!(count(&db, orphans).await, 0);
    // Expired up to seven days ago, or not yet.
    assert_eq!(count(&db, "api_keys").await, 9);
    assert_eq!(count(&db, "telemetry_locks").await, 3);
    assert_eq!(count(&db, "replicas").await, 2);
    assert_eq!(removed, 3 + 4 + 3 + 2);
    let told = registry.encode();
    for sample in [
        "coderd_dbpurge_records_purged_total{record_type=\"aibridge_records\"} 3",
        "coderd_dbpurge_records_purged_total{record_type=\"expired_api_keys\"} 4",
        "coderd_dbpurge_retention_seconds{record_type=\"expired_api_keys\"} 604800",
        "coderd_dbpurge_retention_seconds{record_type=\"audit_logs\"} 0",
        "coderd_dbpurge_iteration_duration_seconds_count{success=\"true\"} 1",
    ] {
        assert!(told.contains(sample), "{sample} is not in\n{told}");
    }
    // Again: nothing is left to do, and nothing more goes.
    assert_eq!(job.run().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_retention_everything_is_kept() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    furnish(&db).await;
    let (job, _registry) = purge(&store, Retention::default());
    job.run().await.unwrap();
    for table in TABLES {
        assert_eq!(count(&db, table).await, 6, "{table}");
    }
    assert_eq!(count(&db, "api_keys").await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_fails_keeps_no_other_from_being_purged_and_one_server_works_at_a_time() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    furnish(&db).await;
    let retention = Retention { api_keys: Some(7 * DAY), ..Retention::default() };
    let (job, registry) = purge(&store, retention);
    let others = store
        .tx(
            Call::by(system::dbpurge()),
            store::TxOptions::write("elsewhere"),
            async |tx: &mut store::Tx| {
                assert!(tx.run(store::locks::TryAcquire(store::locks::Lock::Purge)).await?);
                Ok::<_, Error>(job.run().await)
            },
        )
        .await;
    assert_eq!(others.unwrap().unwrap(), 0, "another server is at it");

    db.sql("ALTER TABLE api_keys RENAME TO api_keys_away").await.unwrap();
    assert!(job.run().await.is_err());
    assert_eq!(count(&db, "replicas").await, 2);
    let told = registry.encode();
    assert!(
        told.contains("coderd_dbpurge_iteration_duration_seconds_count{success=\"false\"} 1"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_nobody_wanted_go_and_it_is_told() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    db.sql(
        "INSERT INTO oauth2_provider_apps (id, created_at, updated_at, name, callback_url, dynamically_registered, last_used_at)
         SELECT gen_random_uuid(), now() - interval '31 days', now(), name, 'http://127.0.0.1', registered, used::timestamptz
           FROM (VALUES ('old', true, NULL), ('used', true, now()::text), ('made', false, NULL)) AS v (name, registered, used);
         INSERT INTO oauth2_provider_apps (id, created_at, updated_at, name, callback_url, dynamically_registered)
         VALUES (gen_random_uuid(), now(), now(), 'new', 'http://127.0.0.1', true)",
    )
    .await
    .unwrap();
    let (clock, rng) = (SystemClock::shared(), SystemRng::shared());
    let remove = async || clients::remove(&store, &clock, &rng).await.unwrap();
    assert_eq!((remove().await, remove().await), (1, 0));
    assert_eq!(count(&db, "oauth2_provider_apps WHERE name = 'old'").await, 0);
    assert_eq!(count(&db, "oauth2_provider_apps").await, 3);
    let told = "audit_logs WHERE action = 'delete' AND resource_target = 'old'
        AND additional_fields ->> 'automatic_subsystem' = 'oauth2_clients'";
    assert_eq!(count(&db, told).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_follow_each_other_month_by_month_and_old_ones_lose_their_secret() {
    let db = TestDb::new().await;
    let store = db.store().await.unwrap();
    let start = datetime!(2031-01-01 00:00 UTC);
    let clock = Arc::new(ManualClock::new(start));
    let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
    let rng = SystemRng::shared();
    let rotate = async || crypto_keys::rotate(&store, &shared, &rng).await.unwrap();
    let series = async || {
        let list = ListCryptoKeys { feature: "tailnet_resume" };
        store.run(Call::by(system::key_reader()), list).await.unwrap()
    };
    assert_eq!(rotate().await, 4, "one for each feature");
    assert_eq!(rotate().await, 0);
    let first = series().await.remove(0);
    assert_eq!((first.sequence, first.starts_at, first.deletes_at), (1, start, None));
    assert_eq!(first.secret.as_ref().unwrap().expose().len(), 128);

    clock.set(start + 30 * DAY - Duration::from_mins(30));
    assert_eq!(rotate().await, 4);
    let keys = series().await;
    let month = start + 30 * DAY;
    assert_eq!((keys[0].sequence, keys[0].starts_at, keys[0].deletes_at), (2, month, None));
    assert_ne!(keys[0].secret.as_ref().unwrap().expose(), first.secret.as_ref().unwrap().expose());
    let gone = month + DAY + Duration::from_hours(1);
    assert_eq!((keys[1].deletes_at, keys[1].secret.is_some()), (Some(gone), true));

    clock.set(gone);
    assert_eq!(rotate().await, 4, "the old key of each feature loses its secret");
    let keys = series().await;
    assert!(keys[1].secret.is_none() && keys[0].secret.is_some());
    assert_eq!(keys[1].sequence, 1, "the row stays");
}

#[tokio::test]
async fn a_job_that_fails_is_run_again_and_told_by_metrics() {
    let mut registry = Registry::new();
    let metrics = JobMetrics::register(&mut registry).unwrap();
    let lifecycle = Lifecycle::new();
    let runner = Runner::new(metrics, SystemClock::shared(), SystemRng::shared());
    let job = |name| Job {
        name,
        first: Duration::ZERO,
        every: Duration::from_millis(1),
        deadline: Duration::from_millis(50),
    };
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    runner.start(job("fails_first"), &lifecycle, move || {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move { if run == 0 { Err(Error::NotFound) } else { Ok(7) } }
    });
    runner.start(job("hangs"), &lifecycle, std::future::pending);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    let told = loop {
        let told = registry.encode();
        let hung = "coderd_jobs_duration_seconds_count{job=\"hangs\",success=\"false\"}";
        if runs.load(Ordering::SeqCst) > 2 && told.contains(hung) {
            break told;
        }
        assert!(tokio::time::Instant::now() < deadline, "{told}");
        tokio::task::yield_now().await;
    };
    for sample in [
        "coderd_jobs_duration_seconds_count{job=\"fails_first\",success=\"false\"} 1",
        "coderd_jobs_last_success_timestamp_seconds{job=\"hangs\"} 0",
    ] {
        assert!(told.contains(sample), "{sample} is not in\n{told}");
    }
    assert!(
        !told.contains("coderd_jobs_last_success_timestamp_seconds{job=\"fails_first\"} 0"),
        "{told}"
    );
    lifecycle.stop(Duration::from_secs(1)).await;
}
