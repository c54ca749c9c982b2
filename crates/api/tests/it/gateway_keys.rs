use std::sync::atomic::{AtomicUsize, Ordering};

use crypt::Keyring;
use reqwest::StatusCode;
use serde_json::{Value, json};
use stdx::{Rng, SystemRng};

use crate::app::{Session, TestApp};

const PATH: &str = "/ai-gateway/keys";
const ALIASES: [&str; 4] =
    ["/ai-gateway/keys", "/ai-gateway/coderd-keys", "/aibridge/keys", "/aibridge/coderd-keys"];

/// Makes a key and returns its identifier and itself.
pub(crate) async fn create(owner: &Session, name: &str) -> (String, String) {
    let (status, body) = owner.post(PATH, &json!({ "name": name })).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let text = |field: &str| body[field].as_str().unwrap().to_owned();
    (text("id"), text("key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owners_have_to_do_with_gateway_keys() {
    let (app, owner) = TestApp::new().await;
    let (id, _) = create(&owner, "first").await;
    let unknown = "99999999-0000-4000-8000-000000000001";
    for (role, session, statuses) in [
        ("user-admin", app.user("una", &["user-admin"]).await, [403, 403, 403, 403]),
        ("auditor", app.user("audrey", &["auditor"]).await, [403, 403, 403, 403]),
        ("member", app.user("mia", &[]).await, [403, 403, 403, 403]),
        ("anonymous", app.anonymous(), [401, 401, 401, 401]),
        ("owner", owner.clone(), [201, 200, 204, 204]),
    ] {
        let seen = [
            session.post(PATH, &json!({ "name": "second" })).await,
            session.get(PATH).await,
            session.delete(&format!("{PATH}/{unknown}")).await,
            session.delete(&format!("{PATH}/{id}")).await,
        ];
        let found = seen.each_ref().map(|(status, _)| status.as_u16());
        assert_eq!(found, statuses, "{role}: {seen:?}");
    }
    // A narrow token of an owner is no owner.
    let narrow = json!({ "token_name": "narrow", "scopes": ["workspace:read"] });
    let (_, body) = owner.post("/users/me/keys/tokens", &narrow).await;
    let narrow = app.session(body["key"].as_str().unwrap());
    assert_eq!(narrow.post(PATH, &json!({ "name": "third" })).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_listed_by_its_prefix_and_deleted_twice() {
    let (app, owner) = TestApp::new().await;
    for (place, path) in ALIASES.into_iter().enumerate() {
        let name = format!("key-{place}");
        let (status, made) = owner.post(path, &json!({ "name": name })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
        assert_eq!((key.len(), &key[..4]), (43, "cgw_"));
        assert_eq!(made["token_prefix"], key[..11]);
        assert_eq!(made["key_prefix"], key[..11]);
        assert_eq!(made["name"], name);
        assert!(made["created_at"].is_string() && made.get("last_used_at").is_none(), "{made}");

        let (status, list) = owner.get(path).await;
        assert_eq!(status, StatusCode::OK);
        let mut shown = made.as_object().unwrap().clone();
        shown.remove("key");
        assert_eq!(list, json!([shown]));
        assert!(!list.to_string().contains(&key[11..]), "the secret is never returned");
        let stored = app
            .db
            .sql("SELECT encode(hashed_secret, 'hex'), secret_prefix FROM ai_gateway_keys")
            .await
            .unwrap();
        let hash = crypt::hex(&crypt::sha256(key.as_bytes()));
        assert_eq!(stored, [[Some(hash), Some(key[..11].to_owned())]]);

        for _ in 0..2 {
            let (status, body) = owner.delete(&format!("{path}/{id}")).await;
            assert_eq!((status, body), (StatusCode::NO_CONTENT, Value::String(String::new())));
        }
        assert_eq!(owner.get(path).await.1, json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn making_and_deleting_a_key_is_audited_without_its_hash() {
    let (app, owner) = TestApp::new().await;
    let (id, key) = create(&owner, "audited").await;
    for _ in 0..2 {
        owner.delete(&format!("{PATH}/{id}")).await;
    }
    let rows = app
        .db
        .sql(
            "SELECT action, resource_target, resource_id::text, status_code::text, diff::text FROM audit_logs
              WHERE resource_type = 'ai_gateway_key' ORDER BY time",
        )
        .await
        .unwrap();
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().map(Option::unwrap).collect()).collect();
    let heads: Vec<&[String]> = rows.iter().map(|row| &row[..4]).collect();
    assert_eq!(heads, [["create", "audited", &*id, "201"], ["delete", "audited", &*id, "204"]]);
    let tracked = |old: &str, new: &str| json!({ "old": old, "new": new, "secret": false });
    for (row, created) in rows.iter().zip([true, false]) {
        let side = |text: &str| if created { tracked("", text) } else { tracked(text, "") };
        let diff: Value = serde_json::from_str(&row[4]).unwrap();
        let expected = json!({
            "id": side(&id), "name": side("audited"), "secret_prefix": side(&key[..11]),
            "hashed_secret": { "old": "", "new": "", "secret": true },
        });
        assert_eq!(diff, expected);
    }
    let (_, logs) = owner.get("/audit?q=resource_type:ai_gateway_key&limit=10").await;
    assert_eq!(logs["audit_logs"][0]["description"], "{user} deleted ai gateway key {target}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_what_is_wrong() {
    let (_app, owner) = TestApp::new().await;
    create(&owner, "taken").await;
    for (body, message, detail) in [
        (json!({}), "Invalid key name.", "must be >= 1 character"),
        (json!({ "name": "" }), "Invalid key name.", "must be >= 1 character"),
        (json!({ "name": "Upper" }), "Invalid key name.", "must be lower-case letters"),
        (json!({ "name": "a--b" }), "Invalid key name.", "must be lower-case letters"),
        (json!({ "name": "a".repeat(65) }), "Invalid key name.", "must be <= 64 characters"),
        (json!({ "name": "taken" }), "Key name must be unique.", "another key has this name"),
    ] {
        let (status, answer) = owner.post(PATH, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        assert_eq!(answer["message"], message, "{body}");
        assert_eq!(answer["validations"][0]["field"], "name", "{body}");
        assert!(answer["validations"][0]["detail"].as_str().unwrap().starts_with(detail), "{body}");
    }
    let (status, answer) = owner.post(PATH, &json!({ "name": 7 })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    for id in ["7", "taken"] {
        let (status, answer) = owner.delete(&format!("{PATH}/{id}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(answer["message"], "Invalid key ID.");
    }
    assert_eq!(owner.get(PATH).await.1.as_array().unwrap().len(), 1);
}

/// Draws the same key some times before it draws another one.
#[derive(Debug)]
struct Stutters(AtomicUsize);

impl Rng for Stutters {
    fn fill(&self, out: &mut [u8]) {
        SystemRng.fill(out);
    }

    fn alphanumeric(&self, len: usize) -> String {
        let is_key = len == 39;
        let stutters = is_key
            && self
                .0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok();
        if stutters { "a".repeat(len) } else { SystemRng.alphanumeric(len) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_exists_is_drawn_again() {
    for (stutters, status) in [(7, StatusCode::CREATED), (8, StatusCode::CONFLICT)] {
        let rng = std::sync::Arc::new(Stutters(AtomicUsize::new(stutters)));
        let app = TestApp::start(Keyring::empty(), |base| base.rng = rng).await;
        let owner = app.first_user().await;
        let (_, first) = create(&owner, "first").await;
        assert_eq!(first, format!("cgw_{}", "a".repeat(39)));
        let (seen, body) = owner.post(PATH, &json!({ "name": "second" })).await;
        assert_eq!(seen, status, "{body}");
        let count = if status == StatusCode::CREATED { 2 } else { 1 };
        assert_eq!(owner.get(PATH).await.1.as_array().unwrap().len(), count);
    }
}
