use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Daemon, daemon, read};
use crate::app::TestApp;

async fn resolve(daemon: &Daemon, token: &str) -> (StatusCode, Value) {
    let request = daemon.request(Method::POST, "/resolve").json(&json!({ "token": token }));
    read(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_told_apart_by_what_it_may_do() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let member = app.user("mia", &[]).await;
    let token = member.token("claude").await.token;
    let (_, narrow) =
        member.post("/users/me/keys/tokens", &json!({ "scopes": ["workspace:read"] })).await;
    let narrow = narrow["key"].as_str().unwrap();
    let expired = member.token("expired").await.token;
    app.db
        .sql("UPDATE api_keys SET expires_at = now() WHERE token_name = 'expired'")
        .await
        .unwrap();
    let gone = app.user("gus", &[]).await.token;
    app.db.sql("UPDATE users SET status = 'suspended' WHERE username = 'gus'").await.unwrap();
    let (id, secret) = token.split_once('-').unwrap();
    let wrong_secret = format!("{id}-{}", "x".repeat(secret.len()));

    let (status, found) = resolve(&daemon, &token).await;
    assert_eq!(status, StatusCode::OK);
    let (_, me) = member.get("/users/me").await;
    let (_, key) = member.get(&format!("/users/me/keys/{id}")).await;
    let expected = json!({
        "outcome": "identity", "user_id": me["id"], "username": "mia", "api_key_id": id,
        "expires_at": key["expires_at"], "cache_seconds": 30,
    });
    assert_eq!(found, expected);
    // Whatever the database keeps of it, a session may be used as well as a token.
    assert_eq!(resolve(&daemon, &member.token).await.1["outcome"], "identity");

    for (token, reason) in [
        (narrow, "scope"),
        ("", "credential"),
        ("nonsense", "credential"),
        (&*"x".repeat(20_000), "credential"),
        ("abcdefghij-abcdefghijabcdefghijab", "credential"),
        (&*wrong_secret, "credential"),
        (&*expired, "credential"),
        (&*gone, "credential"),
        ("\0", "credential"),
    ] {
        let (status, body) = resolve(&daemon, token).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(body, json!({ "outcome": "refused", "reason": reason }), "{token:.40}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_never_older_than_the_question() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let member = app.user("mia", &[]).await;
    for n in 0..5 {
        let token = member.token(&format!("t{n}")).await.token;
        assert_eq!(resolve(&daemon, &token).await.1["outcome"], "identity");
        // Also when this process has not heard of the change.
        app.db.sql("DELETE FROM api_keys WHERE login_type = 'token'").await.unwrap();
        assert_eq!(resolve(&daemon, &token).await.1["outcome"], "refused");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_names_the_field_and_not_the_token() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    for (body, detail) in [
        (String::new(), "EOF"),
        ("{".to_owned(), "EOF while parsing"),
        ("{}".to_owned(), "missing field `token`"),
        ("[7]".to_owned(), "[0]: a field has a value"),
        (json!({ "token": ["planted-secret"] }).to_string(), "token: a field has a value"),
        (json!({ "token": null }).to_string(), "token: a field has a value"),
        (format!("{}x", json!({ "token": "t" })), "trailing characters"),
    ] {
        let request = daemon.request(Method::POST, "/resolve").body(body.clone());
        let (status, answer) = read(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        assert_eq!(answer["message"], "Request body must be valid JSON.");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{body}: {answer}");
        assert!(!answer.to_string().contains("planted-secret"), "{answer}");
    }
    let large = json!({ "token": "x".repeat(64 * 1024) });
    let request = daemon.request(Method::POST, "/resolve").json(&large);
    assert_eq!(read(request.send().await.unwrap()).await.0, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_says_nothing_about_the_token() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let token = owner.token("t").await.token;
    assert_eq!(resolve(&daemon, &token).await.0, StatusCode::OK);
    app.db.sql("ALTER TABLE api_keys RENAME TO elsewhere").await.unwrap();
    let request = daemon.request(Method::POST, "/resolve").json(&json!({ "token": token }));
    let response = request.send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, body) = read(response).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body.get("outcome").is_none() && !body.to_string().contains("elsewhere"), "{body}");
}
