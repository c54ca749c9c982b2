use reqwest::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use super::{Daemon, eventually, read};
use crate::app::TestApp;
use crate::gateway_keys::create;

/// A path that no route answers: behind the gate it is 404.
const NOWHERE: &str = "/nowhere";

#[tokio::test(flavor = "multi_thread")]
async fn every_path_of_the_protocol_needs_a_gateway_key() {
    let (app, owner) = TestApp::new().await;
    let (_, key) = create(&owner, "daemon").await;
    let token = owner.token("t").await.token;
    let wrong = format!("{}{}", &key[..42], if key.ends_with('a') { 'b' } else { 'a' });
    let cases = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {key}")),
        Some(format!("Bearer {token}")),
        Some(format!("Bearer {wrong}")),
        Some(format!("Bearer {key}x")),
        Some(format!("Bearer {}", "x".repeat(5_000))),
        Some(key.clone()),
    ];
    for given in cases {
        for path in [NOWHERE, "/resolve", "/providers", "/heartbeat", "/records", "/verify"] {
            let mut request = app.http.post(app.path(&format!("{}{path}", control::PREFIX)));
            if let Some(given) = &given {
                request = request.header(AUTHORIZATION, given);
            }
            let response = request.send().await.unwrap();
            assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer realm=\"coder-ai-gateway\"");
            let (status, body) = read(response).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {given:?}");
            assert_eq!(body["message"], "A valid gateway key is required.");
            assert!(body["detail"].is_string() && !body.to_string().contains(&wrong), "{body}");
        }
    }
    // The session of an owner is no gateway key either.
    let request = owner.request(Method::POST, "/ai-gateway/daemon/v1/resolve");
    assert_eq!(read(request.send().await.unwrap()).await.0, StatusCode::UNAUTHORIZED);

    for scheme in ["Bearer", "bearer"] {
        let request = app.http.get(app.path(&format!("{}{NOWHERE}", control::PREFIX)));
        let request = request.header(AUTHORIZATION, format!("{scheme} {key}"));
        let (status, body) = read(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "a good key is let through");
        assert_eq!(body["message"], "Route not found.");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_major_version_is_refused_by_both_names() {
    let (app, owner) = TestApp::new().await;
    let (_, key) = create(&owner, "daemon").await;
    for (version, status) in [
        (Some("2.0"), StatusCode::CONFLICT),
        (Some("0.9"), StatusCode::CONFLICT),
        (Some("1"), StatusCode::BAD_REQUEST),
        (Some("1.x"), StatusCode::BAD_REQUEST),
        (Some("newest"), StatusCode::BAD_REQUEST),
        (Some("1.0"), StatusCode::NOT_FOUND),
        (Some("1.7"), StatusCode::NOT_FOUND),
        (None, StatusCode::NOT_FOUND),
    ] {
        let url = app.path(&format!("{}{NOWHERE}", control::PREFIX));
        let mut request = app.http.get(url).bearer_auth(&key);
        if let Some(version) = version {
            request = request.header(control::VERSION_HEADER, version);
        }
        let (seen, body) = read(request.send().await.unwrap()).await;
        assert_eq!(seen, status, "{version:?}: {body}");
        let message = body["message"].as_str().unwrap();
        if status == StatusCode::CONFLICT {
            assert!(message.contains(version.unwrap()) && message.contains(control::VERSION));
        }
        if status == StatusCode::BAD_REQUEST {
            assert!(message.contains(control::VERSION_HEADER), "{message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_refused_at_once_and_its_use_was_noted() {
    let (app, owner) = TestApp::new().await;
    let (id, key) = create(&owner, "daemon").await;
    let (_, other) = create(&owner, "other").await;
    let (daemon, other) = (Daemon::new(&app, &key), Daemon::new(&app, &other));
    let ask = async |daemon: &Daemon| {
        let response = daemon.request(Method::GET, NOWHERE).send().await.unwrap();
        read(response).await.0
    };
    assert_eq!(ask(&daemon).await, StatusCode::NOT_FOUND);
    assert_eq!(ask(&other).await, StatusCode::NOT_FOUND);
    eventually("the use is noted", async || {
        let (_, list) = owner.get("/ai-gateway/keys").await;
        list.as_array().unwrap().iter().all(|key| key["last_used_at"].is_string())
    })
    .await;
    let path = format!("/ai-gateway/keys/{id}");
    assert_eq!(owner.delete(&path).await.0, StatusCode::NO_CONTENT);
    let deleted = tokio::time::Instant::now();
    eventually("the key is refused", async || ask(&daemon).await == StatusCode::UNAUTHORIZED).await;
    assert!(deleted.elapsed() < std::time::Duration::from_secs(1), "{:?}", deleted.elapsed());
    assert_eq!(ask(&other).await, StatusCode::NOT_FOUND, "another key goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_deleted_past_the_api_is_refused_within_seconds() {
    let (app, owner) = TestApp::new().await;
    let (_, key) = create(&owner, "daemon").await;
    let daemon = Daemon::new(&app, &key);
    let ask = async || read(daemon.request(Method::GET, NOWHERE).send().await.unwrap()).await.0;
    assert_eq!(ask().await, StatusCode::NOT_FOUND);
    app.db.sql("DELETE FROM ai_gateway_keys").await.unwrap();
    eventually("the key is refused", async || ask().await == StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_says_nothing_about_the_key() {
    let (app, owner) = TestApp::new().await;
    let (_, key) = create(&owner, "daemon").await;
    app.db.sql("ALTER TABLE ai_gateway_keys RENAME TO elsewhere").await.unwrap();
    let response = Daemon::new(&app, &key).request(Method::GET, NOWHERE).send().await.unwrap();
    assert!(response.headers().contains_key(RETRY_AFTER));
    let (status, body): (_, Value) = read(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(!body.to_string().contains("elsewhere"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_off_has_no_daemons() {
    let app = TestApp::without_gateway().await;
    let owner = app.first_user().await;
    let (_, key) = create(&owner, "daemon").await;
    let response = Daemon::new(&app, &key).request(Method::GET, NOWHERE).send().await.unwrap();
    let (status, body) = read(response).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body["message"].as_str().unwrap().contains("CODER_AI_GATEWAY_ENABLED"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_tries_keys_does_not_keep_others_out() {
    let (app, owner) = TestApp::new().await;
    let (_, key) = create(&owner, "daemon").await;
    let daemon = Daemon::new(&app, &key);
    let ask = async || read(daemon.request(Method::GET, NOWHERE).send().await.unwrap()).await.0;
    assert_eq!(ask().await, StatusCode::NOT_FOUND);
    let mut strangers = JoinSet::new();
    for n in 0..100 {
        let request = Daemon::new(&app, &format!("cgw_{n:039}")).request(Method::GET, NOWHERE);
        strangers.spawn(async move { read(request.send().await.unwrap()).await.0 });
    }
    for _ in 0..20 {
        assert_eq!(ask().await, StatusCode::NOT_FOUND);
    }
    while let Some(status) = strangers.join_next().await.transpose().unwrap() {
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::SERVICE_UNAVAILABLE];
        assert!(refused.contains(&status), "{status}");
    }
}
