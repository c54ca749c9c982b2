//! A database that is away, or only a copy: refusals that tell clients to come back, never that a credential is bad.

use reqwest::header::RETRY_AFTER;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::app::{Session, TestApp};

const CUT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()";

async fn statuses(session: &Session) -> (StatusCode, StatusCode) {
    let read = session.request(Method::GET, "/users").send().await.unwrap();
    let body = json!({ "type": "openai", "name": "main", "base_url": "http://127.0.0.1:1/v1" });
    let write = session.request(Method::POST, "/ai/providers").json(&body).send().await.unwrap();
    for answer in [&read, &write] {
        let unavailable = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(answer.headers().contains_key(RETRY_AFTER), unavailable);
    }
    (read.status(), write.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_copy_is_read_and_writes_are_told_to_come_back() {
    let (app, owner) = TestApp::new().await;
    let name = app.db.sql("SELECT current_database()").await.unwrap();
    let name = name[0][0].clone().unwrap();
    let only_reads = |on: &str| {
        format!(
            "BEGIN READ WRITE; ALTER DATABASE {name} SET default_transaction_read_only = {on}; COMMIT"
        )
    };
    app.db.sql(&only_reads("on")).await.unwrap();
    app.db.sql(CUT).await.unwrap();
    assert_eq!(statuses(&owner).await, (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    app.db.sql(&only_reads("off")).await.unwrap();
    app.db.sql(CUT).await.unwrap();
    assert_eq!(statuses(&owner).await, (StatusCode::OK, StatusCode::CREATED));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nobody_is_signed_out() {
    let (app, owner) = TestApp::new().await;
    let name = app.db.sql("SELECT current_database()").await.unwrap();
    let name = name[0][0].clone().unwrap();
    // Said from a connection of another database: this one lets nobody in.
    let rename = |from: &str, to: &str| format!("ALTER DATABASE {from} RENAME TO {to}");
    let elsewhere = testkit::TestDb::empty().await;
    let away = format!("{name}_away");
    let mut statement = rename(&name, &away);
    for attempt in 0.. {
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        );
        elsewhere.sql(&cut).await.unwrap();
        match elsewhere.sql(&statement).await {
            Ok(_) => break,
            Err(error) => assert!(attempt < 100, "{error:#}"),
        }
    }
    // That a credential cannot be checked says nothing about it: pages sign people out at any 401.
    let failure = StatusCode::INTERNAL_SERVER_ERROR;
    assert_eq!(statuses(&owner).await, (failure, failure));
    statement = rename(&away, &name);
    elsewhere.sql(&statement).await.unwrap();
    assert_eq!(statuses(&owner).await, (StatusCode::OK, StatusCode::CREATED));
}
