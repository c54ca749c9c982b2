use reqwest::StatusCode;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_listed_and_deleted() {
    let (app, owner) = TestApp::new().await;
    let ci = owner.token("ci").await;
    assert_eq!(ci.get("/users/me").await.0, StatusCode::OK);

    let (_, list) = owner.get("/users/me/keys/tokens").await;
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["token_name"], "ci");
    assert_eq!(list[0]["username"], "owner");
    assert_eq!(list[0]["scopes"], json!(["coder:all"]));
    assert_eq!(list[0]["scope"], "all");
    assert_eq!(list[0]["allow_list"], json!(["*:*"]));
    let secret = ci.token.split_once('-').unwrap().1;
    assert!(!list.to_string().contains(secret), "the secret is never returned");

    let id = list[0]["id"].as_str().unwrap();
    assert_eq!(owner.get("/users/me/keys/tokens/ci").await.1["id"], id);
    assert_eq!(owner.delete(&format!("/users/me/keys/{id}")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(owner.delete(&format!("/users/me/keys/{id}")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ci.get("/users/me").await.0, StatusCode::UNAUTHORIZED);
    let rows = app
        .db
        .sql("SELECT action FROM audit_logs WHERE resource_type = 'api_key' AND resource_target = 'ci' ORDER BY time")
        .await
        .unwrap();
    let actions: Vec<_> = rows.into_iter().flatten().flatten().collect();
    assert_eq!(actions, ["create", "delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_tokens_are_refused_with_the_reason() {
    let (_app, owner) = TestApp::new().await;
    let hour = 3_600_000_000_000_i64;
    for (body, status, detail) in [
        (json!({ "lifetime": -1 }), StatusCode::BAD_REQUEST, "lifetime must be positive"),
        (json!({ "lifetime": 1 }), StatusCode::BAD_REQUEST, "nanoseconds"),
        (json!({ "lifetime": 169 * hour }), StatusCode::BAD_REQUEST, "less than 168 hours"),
        (json!({ "scopes": ["nonsense"] }), StatusCode::BAD_REQUEST, "scope: \"nonsense\""),
        (json!({ "scope": "audit_log:read" }), StatusCode::BAD_REQUEST, "audit_log:read"),
        (json!({ "allow_list": ["workspace"] }), StatusCode::BAD_REQUEST, "want <type>:<id>"),
        (json!({ "token_name": "x".repeat(65) }), StatusCode::BAD_REQUEST, "64 characters"),
    ] {
        let (seen, answer) = owner.post("/users/me/keys/tokens", &body).await;
        assert_eq!(seen, status, "{body}");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{body}: {answer}");
    }
    owner.token("twice").await;
    let (status, answer) =
        owner.post("/users/me/keys/tokens", &json!({ "token_name": "twice" })).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(answer["validations"][0]["field"], "name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scoped_token_reaches_no_further_than_its_scope() {
    let (app, owner) = TestApp::new().await;
    let body = json!({ "token_name": "narrow", "scopes": ["user:read", "api_key:create"] });
    let (status, answer) = owner.post("/users/me/keys/tokens", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    let narrow = app.session(answer["key"].as_str().unwrap());
    assert_eq!(narrow.get("/users/owner").await.0, StatusCode::OK);
    let (status, _) = narrow.post("/users/me/keys/tokens", &json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "it must not make a wider token");
    let same = json!({ "scopes": ["user:read"] });
    assert_eq!(narrow.post("/users/me/keys/tokens", &same).await.0, StatusCode::CREATED);
    let (_, list) = narrow.get("/users/me/keys/tokens").await;
    assert_eq!(list, json!([]), "it may create keys but not read them");
    let (_, answer) =
        narrow.post("/users/me/keys/tokens", &json!({ "scopes": ["api_key:create"] })).await;
    let narrowest = app.session(answer["key"].as_str().unwrap());
    assert_eq!(narrowest.get("/users/me").await.0, StatusCode::NOT_FOUND, "not even oneself");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_touches_another_users_keys_without_the_right() {
    let (app, owner) = TestApp::new().await;
    let eve = app.user("eve", &[]).await;
    let admin = app.user("admin", &["user-admin"]).await;
    owner.token("mine").await;
    let (_, list) = owner.get("/users/me/keys/tokens").await;
    let id = list[0]["id"].as_str().unwrap().to_owned();
    for other in [&eve, &admin] {
        let (status, _) = other.get(&format!("/users/me/keys/{id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let (status, _) = other.delete(&format!("/users/me/keys/{id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let (status, _) = admin.post("/users/owner/keys/tokens", &json!({})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) =
        owner.post("/users/eve/keys/tokens", &json!({ "token_name": "for-eve" })).await;
    assert_eq!(status, StatusCode::CREATED, "an owner may create keys for others");
    let (_, all) = owner.get("/users/me/keys/tokens?include_all=true").await;
    assert_eq!(all.as_array().unwrap().len(), 2);
    let (_, own) = eve.get("/users/me/keys/tokens?include_all=true").await;
    assert_eq!(own.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_stays_listed_on_request() {
    let (_app, owner) = TestApp::new().await;
    let ci = owner.token("ci").await;
    let (_, list) = owner.get("/users/me/keys/tokens").await;
    let id = list[0]["id"].as_str().unwrap();
    let (status, _) = owner.put(&format!("/users/me/keys/{id}/expire"), &json!({})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(ci.get("/users/me").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(owner.get("/users/me/keys/tokens").await.1, json!([]));
    let (_, all) = owner.get("/users/me/keys/tokens?include_expired=true").await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    let (status, answer) = owner.get("/users/me/keys/tokens?include_expired=maybe").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["validations"][0]["field"], "include_expired");
}
