//! Keys come, rotate, go and are lost, under the rows of all tables.

use std::collections::BTreeMap;

use crypt::Keyring;
use rbac::system;
use stdx::{SystemClock, SystemRng};
use store::dbcrypt::{Maintenance, MaintenanceError, Step};
use store::sealed_columns::{ALL, Loss};
use store::{Call, ConnectError, Error, KeyCheckError, Store as _};
use testkit::TestDb;

use crate::scene::{fixture, migrations, value};
use crate::sealed::{digest, ring};
use crate::systems::{provider, provider_key};

async fn maintenance(db: &TestDb) -> Result<Maintenance, MaintenanceError> {
    Maintenance::open(db.url(), SystemRng::shared(), SystemClock::shared()).await
}

async fn reseal(db: &TestDb, keys: Keyring) -> Result<(u64, Vec<String>), MaintenanceError> {
    let mut maintenance = maintenance(db).await?;
    maintenance.check(&keys).await?;
    let mut steps = Vec::new();
    let done = maintenance.reseal(&keys, &mut |step: Step| steps.push(step.done)).await?;
    assert!(steps.is_sorted() && steps.last() == Some(&done), "{steps:?}");
    Ok((done, maintenance.retire(&keys).await?))
}

/// A database with a row for every table, none sealed; one of two providers is deleted.
async fn furnished() -> TestDb {
    let db = TestDb::new().await;
    for name in migrations() {
        fixture(&db, &name).await;
    }
    db.sql(
        "UPDATE ai_providers SET settings = '{\"region\": \"eu\"}', settings_key_id = NULL;
         UPDATE ai_provider_keys SET api_key = 'sk-1', api_key_key_id = NULL;
         DELETE FROM dbcrypt_keys;
         INSERT INTO ai_providers (id, type, name, base_url, settings, deleted, enabled, created_at, updated_at)
         VALUES ('40000000-0000-4000-8000-0000000000de', 'bedrock', 'gone', 'https://example.com', 'gone', true, false, now(), now());
         UPDATE mcp_server_configs SET oauth2_client_secret = 'client', custom_headers = '{}'",
    )
    .await
    .unwrap();
    db
}

/// Every value, by place, with the digest of its key.
async fn at_rest(db: &TestDb) -> BTreeMap<String, (String, Option<String>)> {
    let mut found = BTreeMap::new();
    for column in ALL {
        let (table, name, key) = (column.table, column.column, column.key_id);
        let select = format!("SELECT id, {name}, {key} FROM {table} WHERE {name} IS NOT NULL");
        for row in db.sql(&select).await.unwrap() {
            let place = format!("{table}.{name} {}", row[0].clone().unwrap());
            found.insert(place, (row[1].clone().unwrap(), row[2].clone()));
        }
    }
    found
}

async fn times(db: &TestDb) -> String {
    let mut all = Vec::new();
    for table in
        ["ai_providers", "ai_provider_keys", "user_ai_provider_keys", "gitsshkeys", "user_secrets"]
    {
        all.push(
            value(
                db,
                &format!("SELECT string_agg(updated_at::text, ',' ORDER BY id) FROM {table}"),
            )
            .await,
        );
    }
    all.join(";")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_of_sealed_columns_is_that_of_the_catalogue() {
    let db = TestDb::new().await;
    let listed = |name: fn(&store::SealedColumn) -> (&str, &str)| {
        let mut names: Vec<String> =
            ALL.iter().map(name).map(|(table, column)| format!("{table}.{column}")).collect();
        names.sort_unstable();
        names
    };
    let catalogue = async |select: &str| {
        let rows = db.sql(select).await.unwrap();
        let mut names: Vec<String> = rows.into_iter().map(|row| row[0].clone().unwrap()).collect();
        names.sort_unstable();
        names
    };
    let sealed = "SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE domain_name = 'sealed_text' AND table_name <> 'dbcrypt_keys'";
    assert_eq!(catalogue(sealed).await, listed(|column| (column.table, column.column)));
    let keys = "SELECT format('%s.%s', c.conrelid::regclass, a.attname) FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        WHERE c.confrelid = 'dbcrypt_keys'::regclass";
    assert_eq!(catalogue(keys).await, listed(|column| (column.table, column.key_id)));
    let cascades = "SELECT conname FROM pg_constraint
        WHERE confrelid = 'dbcrypt_keys'::regclass AND (confdeltype <> 'r' OR confupdtype <> 'a')";
    assert!(catalogue(cascades).await.is_empty());
    for column in ALL {
        let key = format!(
            "SELECT format_type(a.atttypid, NULL) || ' ' || a.attname FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
             WHERE i.indisprimary AND i.indrelid = '{}'::regclass",
            column.table
        );
        assert_eq!(value(&db, &key).await, "uuid id", "{}", column.table);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_values_are_sealed_rotated_and_opened_again_and_no_time_moves() {
    let db = furnished().await;
    let (plain, before) = (at_rest(&db).await, times(&db).await);
    for column in ALL {
        let place = format!("{}.{} ", column.table, column.column);
        assert!(plain.keys().any(|key| key.starts_with(&place)), "no row for {place}");
    }
    let sealed = |found: &BTreeMap<String, (String, Option<String>)>, key: u8| {
        assert!(found.keys().eq(plain.keys()));
        for (place, (text, by)) in found {
            assert!(
                text.starts_with("v1:") && by.as_ref() == Some(&digest(key)),
                "{place}: {by:?}"
            );
            assert!(!text.contains(&plain[place].0), "{place}");
        }
    };

    // Rows in the clear are sealed by the first rotation.
    let count = plain.len() as u64;
    assert_eq!(reseal(&db, ring(&[1])).await.unwrap(), (count, vec![]));
    sealed(&at_rest(&db).await, 1);
    assert_eq!(reseal(&db, ring(&[2, 1])).await.unwrap(), (count, vec![digest(1)]));
    let rotated = at_rest(&db).await;
    sealed(&rotated, 2);
    // Again: nothing is left to do.
    assert_eq!(reseal(&db, ring(&[2])).await.unwrap(), (0, vec![]));
    assert_eq!(at_rest(&db).await, rotated);
    assert_eq!(times(&db).await, before);

    // Who has the old key only is refused, and so is who puts it first.
    for (keys, why) in [(ring(&[1]), "not configured"), (ring(&[1, 2]), "has been revoked")] {
        let refused = db.store_with(keys).await.unwrap_err();
        match refused.downcast_ref::<ConnectError>() {
            Some(ConnectError::Keys(error)) => assert!(error.to_string().contains(why), "{error}"),
            other => panic!("{other:?}"),
        }
    }
    db.store_with(ring(&[2])).await.unwrap();

    let opened = reseal(&db, ring(&[2]).without_primary()).await.unwrap();
    assert_eq!(opened, (count, vec![digest(2)]));
    assert_eq!(at_rest(&db).await, plain);
    assert_eq!(times(&db).await, before);
    db.store().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_rows_than_a_batch_are_rotated_and_counted() {
    let db = furnished().await;
    db.sql(
        "INSERT INTO user_secrets (id, user_id, name, value, created_at, updated_at)
         SELECT gen_random_uuid(), '10000000-0000-4000-8000-000000000002', 's' || g, 'secret ' || g, now(), now()
           FROM generate_series(1, 1200) g",
    )
    .await
    .unwrap();
    let count = at_rest(&db).await.len() as u64;
    assert_eq!(reseal(&db, ring(&[1])).await.unwrap().0, count);
    let counts = maintenance(&db).await.unwrap().counts().await.unwrap();
    assert!(counts.iter().all(|count| count.key == Some(digest(1))), "{counts:?}");
    assert_eq!(counts.iter().map(|count| count.values).sum::<u64>(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_server_still_seals_by_is_not_retired_and_a_retired_one_seals_nothing() {
    let db = TestDb::new().await;
    let server = db.store_with(ring(&[1, 2])).await.unwrap();
    let seeder = Call::by(system::ai_provider_seeder());
    server.run(seeder, provider(1, "openai")).await.unwrap();
    server.run(seeder, provider_key(1, 1, "sk-1")).await.unwrap();
    let keys = ring(&[2, 1]);
    let mut maintenance = maintenance(&db).await.unwrap();
    maintenance.check(&keys).await.unwrap();
    assert_eq!(maintenance.reseal(&keys, &mut |_| {}).await.unwrap(), 1);
    server.run(seeder, provider_key(2, 1, "sk-2")).await.unwrap();
    match maintenance.retire(&keys).await.unwrap_err() {
        MaintenanceError::InUse { digest: key, columns } => {
            assert_eq!(key, digest(1));
            assert_eq!(columns, ["ai_provider_keys.api_key: 1"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(maintenance.reseal(&keys, &mut |_| {}).await.unwrap(), 1);
    assert_eq!(maintenance.retire(&keys).await.unwrap(), [digest(1)]);
    let refused = server.run(seeder, provider_key(3, 1, "sk-3")).await;
    assert!(matches!(refused, Err(Error::RetiredKey)), "{refused:?}");
    assert_eq!(value(&db, "SELECT count(*) FROM ai_provider_keys").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_open_is_named_and_keeps_its_key_from_being_retired() {
    let db = furnished().await;
    reseal(&db, ring(&[1])).await.unwrap();
    db.sql("UPDATE gitsshkeys SET private_key = overlay(private_key PLACING 'AAAA' FROM 20)")
        .await
        .unwrap();
    let refused = reseal(&db, ring(&[2, 1])).await.unwrap_err();
    match &refused {
        MaintenanceError::Unreadable { count: 1, rows } => {
            let row = "gitsshkeys.private_key 13000000-0000-4000-8000-000000000001: ";
            assert!(rows.len() == 1 && rows[0].starts_with(row), "{rows:?}");
        }
        other => panic!("{other:?}"),
    }
    let left: Vec<String> = at_rest(&db)
        .await
        .into_iter()
        .filter(|(_, (_, key))| *key == Some(digest(1)))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    let active = "SELECT count(*) FROM dbcrypt_keys WHERE active_key_digest IS NOT NULL";
    assert_eq!(value(&db, active).await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_keys_lost_what_was_sealed_is_given_up_and_nothing_else() {
    let db = furnished().await;
    reseal(&db, ring(&[1])).await.unwrap();
    db.sql(
        "INSERT INTO user_secrets (id, user_id, name, value, created_at, updated_at)
         VALUES (gen_random_uuid(), '10000000-0000-4000-8000-000000000002', 'plain', 'plain', now(), now())",
    )
    .await
    .unwrap();
    let rows = async |table: &str| value(&db, &format!("SELECT count(*) FROM {table}")).await;
    let mut before = BTreeMap::new();
    for column in ALL {
        before.insert(column.table, rows(column.table).await);
    }
    let given_up = maintenance(&db).await.unwrap().give_up().await.unwrap();
    assert_eq!(given_up.len(), ALL.len());
    let left = at_rest(&db).await;
    assert!(left.values().all(|(_, key)| key.is_none()), "{left:?}");
    for column in ALL {
        let after = rows(column.table).await;
        match (column.loss, column.table) {
            (Loss::Row, "user_secrets") => assert_eq!(after, "1", "the one in the clear"),
            (Loss::Row, table) => assert_eq!(after, "0", "{table}"),
            (Loss::Null | Loss::Blank, table) => assert_eq!(after, before[table], "{table}"),
        }
    }
    let active = "SELECT count(*) FROM dbcrypt_keys WHERE active_key_digest IS NOT NULL";
    assert_eq!(value(&db, active).await, "0");
    db.store().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn maintenance_is_refused_without_the_keys_the_schema_or_the_lock() {
    let db = furnished().await;
    reseal(&db, ring(&[1])).await.unwrap();
    match reseal(&db, ring(&[2])).await.unwrap_err() {
        MaintenanceError::Keys(KeyCheckError::NotHeld { digest: missing }) => {
            assert_eq!(missing, digest(1));
        }
        other => panic!("{other:?}"),
    }
    let first = maintenance(&db).await.unwrap();
    let second = maintenance(&db).await;
    assert!(matches!(second, Err(MaintenanceError::Running)), "{second:?}");
    drop(first);
    db.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('999999')").await.unwrap();
    let newer = maintenance(&db).await;
    assert!(matches!(newer, Err(MaintenanceError::Schema)), "{newer:?}");
    let empty = TestDb::empty().await;
    let none = maintenance(&empty).await;
    assert!(matches!(none, Err(MaintenanceError::Schema)), "{none:?}");
}
