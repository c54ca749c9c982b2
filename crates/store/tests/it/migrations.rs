//! Up, down and up again; fixtures; and what every table must have.

use std::error::Error as _;
use std::fs;

use store::ConnectError;
use testkit::TestDb;

use crate::scene::{eventually, fixture, migrations, tree, value};

/// Everything that a migration can leave behind, the ledger of migrations aside.
const LEFT: &str = "
    SELECT count(*) FROM (
        SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
           AND c.relname NOT LIKE '\\_\\_diesel\\_schema\\_migrations%'
        UNION ALL SELECT p.oid FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
        UNION ALL SELECT t.oid FROM pg_type t WHERE t.typnamespace = 'public'::regnamespace
           AND t.typname NOT LIKE '%\\_\\_diesel\\_schema\\_migrations'
    ) left_over";

const TABLES: &str = "
    SELECT c.relname FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
       AND c.relname <> '__diesel_schema_migrations' ORDER BY 1";

async fn step(db: &TestDb, migration: &str, file: &str) {
    let text = fs::read_to_string(tree("migrations").join(migration).join(file)).unwrap();
    db.sql(&text).await.unwrap_or_else(|error| panic!("{migration}/{file}: {error:#}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_accepts_its_fixture_and_goes_back_to_nothing() {
    let db = TestDb::empty().await;
    assert_eq!(value(&db, LEFT).await, "0");
    let names = migrations();
    let mut left = vec![value(&db, LEFT).await];
    for name in &names {
        step(&db, name, "up.sql").await;
        left.push(value(&db, LEFT).await);
        fixture(&db, name).await;
    }
    let tables = db.sql(TABLES).await.unwrap();
    assert!(tables.len() > names.len());
    for row in tables {
        let table = row[0].clone().unwrap();
        let statement = format!("SELECT count(*) > 0 FROM {table}");
        assert_eq!(value(&db, &statement).await, "t", "no fixture fills {table}");
    }
    for name in names.iter().rev() {
        left.pop();
        step(&db, name, "down.sql").await;
        assert_eq!(Some(&value(&db, LEFT).await), left.last(), "after {name}/down.sql");
    }
    for name in &names {
        step(&db, name, "up.sql").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_start_at_once_migrate_once() {
    let db = TestDb::empty().await;
    let (first, second) = tokio::join!(db.store(), db.store());
    first.unwrap().ping().await.unwrap();
    second.unwrap().ping().await.unwrap();
    let ran = value(&db, "SELECT count(*) FROM __diesel_schema_migrations").await;
    assert_eq!(ran, migrations().len().to_string());
    let locked = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory'";
    eventually(&db, locked, "0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_outlasts_a_database_that_goes_away_again_and_again() {
    let db = TestDb::empty().await;
    let (relay, url) = db.relayed().await.unwrap();
    // In the greeting, amid the migrations, behind them; and the connection that the keys are checked with.
    relay.cut_after([40, 8_000, u64::MAX, 40, u64::MAX, 500]);
    TestDb::store_at(&url).await.unwrap().ping().await.unwrap();
    assert_eq!(relay.cuts_left(), 0);
    let ran = value(&db, "SELECT count(*) FROM __diesel_schema_migrations").await;
    assert_eq!(ran, migrations().len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_holds_the_versions_of_the_folders() {
    let db = TestDb::new().await;
    let ledger = db.sql("SELECT version FROM __diesel_schema_migrations ORDER BY 1").await.unwrap();
    let ledger: Vec<String> = ledger.into_iter().map(|row| row[0].clone().unwrap()).collect();
    let folders: Vec<String> =
        migrations().iter().map(|name| name.split_once('_').unwrap().0.to_owned()).collect();
    assert_eq!(ledger, folders);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_program_is_refused_and_left_alone() {
    let db = TestDb::new().await;
    db.sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('999999')").await.unwrap();
    let error = db.store().await.unwrap_err();
    match error.downcast_ref::<ConnectError>() {
        Some(ConnectError::NewerSchema { version }) => assert_eq!(version, "999999"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_fails_says_so_and_leaves_what_was_there() {
    let db = TestDb::empty().await;
    db.sql("CREATE TABLE api_keys (mine int)").await.unwrap();
    let error = db.store().await.unwrap_err();
    let error = error.downcast_ref::<ConnectError>().unwrap();
    assert!(matches!(error, ConnectError::Migrate(_)), "{error:?}");
    assert!(stdx::chain(error).to_string().contains("api_keys"), "{}", stdx::chain(error));
    assert!(error.source().is_some());
    let names = "SELECT count(*) FROM pg_class WHERE relname IN ('users', 'site_configs')";
    assert_eq!(value(&db, names).await, "0", "the failed migration was not rolled back");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_has_an_index_and_a_decision_about_deletion() {
    let db = TestDb::new().await;
    let keys = db
        .sql(
            "SELECT f.conrelid::regclass || '.' || f.conname, f.confdeltype <> 'a',
                    EXISTS (
                        SELECT 1 FROM pg_index i
                         WHERE i.indrelid = f.conrelid AND i.indpred IS NULL
                           AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey)
               FROM pg_constraint f WHERE f.contype = 'f' AND f.conparentid = 0 ORDER BY 1",
        )
        .await
        .unwrap();
    assert!(keys.len() >= 9);
    for key in keys {
        let name = key[0].clone().unwrap();
        assert_eq!(key[1].as_deref(), Some("t"), "{name} says nothing ON DELETE");
        assert_eq!(key[2].as_deref(), Some("t"), "no index leads with the columns of {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_instant_has_a_zone() {
    let db = TestDb::new().await;
    let columns = db
        .sql(
            "SELECT table_name || '.' || column_name FROM information_schema.columns
              WHERE table_schema = 'public' AND data_type = 'timestamp without time zone'
                AND table_name <> '__diesel_schema_migrations'",
        )
        .await
        .unwrap();
    assert!(columns.is_empty(), "{columns:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_view_says_what_it_is_for() {
    let db = TestDb::new().await;
    let silent = db
        .sql(
            "SELECT c.relname FROM pg_class c
              WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
                AND c.relname <> '__diesel_schema_migrations' AND obj_description(c.oid, 'pg_class') IS NULL
              ORDER BY 1",
        )
        .await
        .unwrap();
    assert!(silent.is_empty(), "without COMMENT: {silent:?}");
}
