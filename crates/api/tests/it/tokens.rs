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
    let unsupported = "invalid or unsupported API key scope: ";
    for (body, field, detail) in [
        (json!({ "lifetime": -1 }), "lifetime", "lifetime must be positive"),
        (json!({ "lifetime": 1 }), "lifetime", "nanoseconds"),
        (json!({ "lifetime": 169 * hour }), "lifetime", "less than 168 hours"),
        (json!({ "scopes": ["nonsense"] }), "scopes", &format!("{unsupported}\"nonsense\"")),
        (json!({ "scopes": [""] }), "scopes", &format!("{unsupported}\"\"")),
        (json!({ "scopes": ["all", "*:*"] }), "scopes", &format!("{unsupported}\"*:*\"")),
        (json!({ "scopes": ["no_user_data"] }), "scopes", "no_user_data"),
        (json!({ "scope": "audit_log:read" }), "scope", "audit_log:read"),
        (json!({ "scope": "x".repeat(1000) }), "scope", &format!("\"{}\"", "x".repeat(64))),
        (
            json!({ "allow_list": ["workspace"] }),
            "allow_list",
            "invalid allow_list entry \"workspace\": want <type>:<id>",
        ),
        (json!({ "allow_list": ["task:*"] }), "allow_list", "unknown resource type \"task\""),
        (
            json!({ "allow_list": ["workspace:w1"] }),
            "allow_list",
            "invalid workspace ID (must be UUID): \"w1\"",
        ),
        (
            json!({ "allow_list": vec!["*:*"; 129] }),
            "allow_list",
            "allow_list has 129 entries; max allowed is 128",
        ),
        (json!({ "token_name": "x".repeat(65) }), "token_name", "64 characters"),
    ] {
        let (seen, answer) = owner.post("/users/me/keys/tokens", &body).await;
        assert_eq!(seen, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{body}: {answer}");
        assert_eq!(answer["validations"][0]["field"], field, "{answer}");
        assert_eq!(answer["validations"][0]["detail"], answer["detail"]);
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

#[tokio::test(flavor = "multi_thread")]
async fn scopes_are_stored_by_their_canonical_names_and_lists_without_repetition() {
    let (_app, owner) = TestApp::new().await;
    let (a, b) = ("0a000000-0000-4000-8000-000000000001", "0b000000-0000-4000-8000-000000000002");
    for (position, (body, scopes, scope, allow_list)) in [
        (json!({}), json!(["coder:all"]), "all", json!(["*:*"])),
        (json!({ "scope": "all" }), json!(["coder:all"]), "all", json!(["*:*"])),
        (
            json!({ "scope": "application_connect", "allow_list": [] }),
            json!(["coder:application_connect"]),
            "application_connect",
            json!(["*:*"]),
        ),
        (
            json!({ "scope": "all", "scopes": ["coder:workspaces.access", "user:*", "user:*"] }),
            json!(["coder:workspaces.access", "user:*"]),
            "",
            json!(["*:*"]),
        ),
        (
            json!({ "scopes": ["all", "application_connect", "coder:all", "task:read"] }),
            json!(["coder:all", "coder:application_connect", "task:read"]),
            "application_connect",
            json!(["*:*"]),
        ),
        (
            json!({ "allow_list": [
                format!(" Workspace:{} ", b.to_uppercase()), format!("template:{a}"), "template:*",
                format!("*:{a}"), format!("workspace:{b}"),
            ] }),
            json!(["coder:all"]),
            "all",
            json!([format!("*:{a}"), "template:*", format!("workspace:{b}")]),
        ),
        (
            json!({ "allow_list": ["workspace:*", "*:*"] }),
            json!(["coder:all"]),
            "all",
            json!(["*:*"]),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut body = body;
        body["token_name"] = json!(format!("t{position}"));
        let (status, answer) = owner.post("/users/me/keys/tokens", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{body}: {answer}");
        let (_, key) = owner.get(&format!("/users/me/keys/tokens/t{position}")).await;
        assert_eq!(
            json!([key["scopes"], key["scope"], key["allow_list"]]),
            json!([scopes, scope, allow_list]),
            "{body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limited_key_makes_no_key_that_outlives_it() {
    let (app, owner) = TestApp::new().await;
    let hour = 3_600_000_000_000_i64;
    let body = json!({ "scopes": ["api_key:*"], "lifetime": 2 * hour });
    let (_, answer) = owner.post("/users/me/keys/tokens", &body).await;
    let narrow = app.session(answer["key"].as_str().unwrap());
    let ask = |lifetime: i64, name: &'static str| json!({ "scopes": ["api_key:read"], "lifetime": lifetime, "token_name": name });
    let (status, answer) = narrow.post("/users/me/keys/tokens", &ask(3 * hour, "long")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let told = "The new key would live longer than the key that asks for it.";
    assert_eq!(answer["detail"], told);
    for (lifetime, name, most) in [(hour, "short", 3_600), (0, "default", 7_200)] {
        let (status, answer) = narrow.post("/users/me/keys/tokens", &ask(lifetime, name)).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
        let (_, key) = owner.get(&format!("/users/me/keys/tokens/{name}")).await;
        let seconds = key["lifetime_seconds"].as_i64().unwrap();
        assert!(seconds <= most && seconds > most - 60, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_the_deployment_have_no_keys() {
    let (app, owner) = TestApp::new().await;
    app.user("robot", &[]).await;
    app.db.sql("UPDATE users SET is_system = true WHERE username = 'robot'").await.unwrap();
    for path in ["/users/robot/keys/tokens", "/users/robot/keys"] {
        let (status, answer) = owner.post(path, &json!({})).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_of_scopes_is_open_to_everybody() {
    let app = TestApp::empty().await;
    let (status, answer) = app.anonymous().get("/auth/scopes").await;
    assert_eq!(status, StatusCode::OK);
    let names: Vec<&str> =
        answer["external"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut wanted = vec![
        "coder:all coder:apikeys.manage_self coder:application_connect coder:templates.author",
        "coder:templates.build coder:workspaces.access coder:workspaces.create",
        "coder:workspaces.delete coder:workspaces.operate",
        "workspace:* workspace:application_connect workspace:create workspace:delete workspace:read",
        "workspace:ssh workspace:start workspace:stop workspace:update",
        "template:* template:create template:delete template:read template:update template:use",
        "api_key:* api_key:create api_key:delete api_key:read api_key:update",
        "file:* file:create file:read user:* user:read user:read_personal user:update_personal",
        "user_secret:* user_secret:create user_secret:delete user_secret:read user_secret:update",
        "user_skill:* user_skill:create user_skill:delete user_skill:read user_skill:update",
        "organization:* organization:delete organization:read organization:update",
        "task:* task:create task:delete task:read task:update",
    ]
    .into_iter()
    .flat_map(str::split_whitespace)
    .collect::<Vec<_>>();
    wanted.sort_unstable();
    assert_eq!(names, wanted);
    assert_eq!(answer.as_object().unwrap().len(), 1);
}
