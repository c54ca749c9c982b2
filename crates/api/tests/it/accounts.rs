//! Accounts from beginning to end, as administrators and their users have them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{OWNER_PASSWORD, Session, TestApp};

const NIL: &str = "00000000-0000-0000-0000-000000000000";
const PASSWORD: &str = "AnotherSecurePassword!";

fn body(name: &str) -> Value {
    json!({
        "email": format!("{name}@example.com"),
        "username": name,
        "password": PASSWORD,
        "organization_ids": [NIL],
    })
}

fn with(name: &str, changes: &Value) -> Value {
    let mut body = body(name);
    for (field, value) in changes.as_object().unwrap() {
        body[field] = value.clone();
    }
    body
}

async fn created(by: &Session, body: &Value) -> Value {
    let (status, user) = by.post("/users", body).await;
    assert_eq!(status, StatusCode::CREATED, "{user}");
    user
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_accounts_are_refused_with_all_their_fields() {
    let (app, owner) = TestApp::new().await;
    created(&owner, &body("taken")).await;
    let cases = [
        (
            json!({ "username": "a b", "email": "x", "password": "1" }),
            400,
            vec!["email", "password", "username"],
        ),
        (json!({ "organization_ids": [] }), 400, vec!["organization_ids"]),
        (json!({ "organization_ids": null }), 400, vec!["organization_ids"]),
        (json!({ "user_status": "asleep" }), 400, vec!["user_status"]),
        (json!({ "login_type": "oidc" }), 400, vec!["login_type", "password"]),
        (json!({ "login_type": "token", "password": "" }), 400, vec!["login_type"]),
        (json!({ "login_type": "none" }), 400, vec!["password"]),
        (json!({ "service_account": true }), 400, vec!["password", "email"]),
        (
            json!({ "service_account": true, "email": "", "password": "", "login_type": "oidc" }),
            400,
            vec!["login_type"],
        ),
        (json!({ "name": " padded " }), 400, vec!["name"]),
        (json!({ "username": "TAKEN" }), 409, vec!["username"]),
        (json!({ "email": "Taken@Example.com" }), 409, vec!["email"]),
        (json!({ "organization_ids": ["20000000-0000-4000-8000-0000000000ff"] }), 404, vec![]),
        (json!({ "roles": ["unicorn"] }), 400, vec!["roles"]),
        (json!({ "email": 7 }), 400, vec![]),
    ];
    for (changes, status, fields) in cases {
        let (found, answer) = owner.post("/users", &with("somebody", &changes)).await;
        assert_eq!(found.as_u16(), status, "{changes}: {answer}");
        let validations = answer["validations"].as_array().cloned().unwrap_or_default();
        let named: Vec<&str> = validations.iter().map(|v| v["field"].as_str().unwrap()).collect();
        assert_eq!(named, fields, "{changes}: {answer}");
    }
    let rows = app.db.sql("SELECT count(*) FROM users").await.unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("2"), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_create_whom() {
    let (app, owner) = TestApp::new().await;
    let (mia, uma) = (app.user("mia", &[]).await, app.user("uma", &["user-admin"]).await);
    assert_eq!(app.anonymous().post("/users", &body("x")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(mia.post("/users", &body("owner")).await.0, StatusCode::FORBIDDEN);
    created(&uma, &body("one")).await;
    let (status, answer) = uma.post("/users", &with("two", &json!({ "roles": ["owner"] }))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    assert_eq!(answer["validations"][0]["field"], "roles", "{answer}");
    let auditor = created(&owner, &with("three", &json!({ "roles": ["auditor", "member"] }))).await;
    assert_eq!(auditor["roles"][0]["name"], "auditor");
    assert_eq!(auditor["roles"].as_array().unwrap().len(), 1);
    let (_, log) = owner.get("/audit?q=resource_type:user%20action:create%20username:uma").await;
    assert_eq!(log["audit_logs"][0]["resource_target"], "one", "{log}");
    assert!(!log.to_string().contains("argon2id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lives_and_ends() {
    let (app, owner) = TestApp::new().await;
    let ann = created(&owner, &with("ann", &json!({ "name": "Ann Example" }))).await;
    assert_eq!((&ann["status"], &ann["login_type"]), (&json!("dormant"), &json!("password")));
    assert_eq!(ann["organization_ids"].as_array().unwrap().len(), 1);
    assert_eq!(ann["has_ai_seat"], false);
    let session = app.login("ann@example.com", PASSWORD).await;
    let (_, me) = session.get("/users/me").await;
    assert_eq!((&me["status"], &me["name"]), (&json!("active"), &json!("Ann Example")));
    assert_eq!(me["organization_ids"], ann["organization_ids"]);

    // Names: one's own, and the username for administrators only.
    let profile = |username: &str, name: &str| json!({ "username": username, "name": name });
    let (status, me) = session.put("/users/me/profile", &profile("ann", "Ann")).await;
    assert_eq!((status, &me["name"]), (StatusCode::OK, &json!("Ann")));
    let refused = session.put("/users/me/profile", &profile("anna", "Ann")).await.0;
    assert_eq!(refused, StatusCode::NOT_FOUND);
    let (status, answer) = owner.put("/users/ann/profile", &profile("owner", "Ann")).await;
    assert_eq!(
        (status, &answer["validations"][0]["field"]),
        (StatusCode::CONFLICT, &json!("username"))
    );
    let (status, anna) = owner.put("/users/ann/profile", &profile("anna", "Anna")).await;
    assert_eq!((status, &anna["username"]), (StatusCode::OK, &json!("anna")));
    assert_eq!(owner.put("/users/anna/profile", &profile("", "")).await.0, StatusCode::BAD_REQUEST);

    let (_, own) = session.get("/users/me/login-type").await;
    assert_eq!(own, json!({ "login_type": "password" }));
    assert_eq!(owner.get("/users/anna/login-type").await.0, StatusCode::FORBIDDEN);

    // Gone with all that gives a right; the name and the address are free again.
    assert_eq!(session.delete("/users/anna").await.0, StatusCode::FORBIDDEN);
    assert_eq!(owner.delete("/users/me").await.0, StatusCode::FORBIDDEN);
    let (status, answer) = owner.delete("/users/anna").await;
    assert_eq!((status, &answer["message"]), (StatusCode::OK, &json!("User has been deleted!")));
    assert_eq!(session.get("/users/me").await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(owner.get("/users/anna").await.0, StatusCode::BAD_REQUEST);
    let again = created(&owner, &body("anna")).await;
    assert_ne!(again["id"], anna["id"]);
    let (_, log) = owner.get("/audit?q=resource_type:user").await;
    let told: Vec<&str> = log["audit_logs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["create", "delete", "write", "write", "write", "create", "create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_workspaces_stays() {
    let (app, owner) = TestApp::new().await;
    created(&owner, &body("ann")).await;
    app.db
        .sql(
            "INSERT INTO templates (id, organization_id, created_at, updated_at, name, active_version_id, created_by)
             SELECT gen_random_uuid(), o.id, now(), now(), 'rust', gen_random_uuid(), u.id FROM organizations o, users u WHERE u.username = 'ann';
             INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name, last_used_at)
             SELECT gen_random_uuid(), now(), now(), u.id, t.organization_id, t.id, 'dev', now() FROM users u, templates t WHERE u.username = 'ann'",
        )
        .await
        .unwrap();
    assert_eq!(owner.delete("/users/ann").await.0, StatusCode::EXPECTATION_FAILED);
    app.db.sql("UPDATE workspaces SET deleted = true").await.unwrap();
    assert_eq!(owner.delete("/users/ann").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_whom_it_belongs_to_and_ends_every_session() {
    let (app, owner) = TestApp::new().await;
    created(&owner, &body("ann")).await;
    created(&owner, &with("bot", &json!({ "login_type": "none", "password": "" }))).await;
    let session = app.login("ann@example.com", PASSWORD).await;
    let token = session.token("ci").await;
    let change = |old: &str, new: &str| json!({ "old_password": old, "password": new });
    let fresh = "YetAnotherSecurePassword!";
    for (by, user, old, new, status, field) in [
        (&session, "me", "", fresh, 400, "old_password"),
        (&session, "me", "wrong", fresh, 400, "old_password"),
        (&session, "me", PASSWORD, "1234", 400, "password"),
        (&session, "me", PASSWORD, PASSWORD, 400, "password"),
        (&owner, "ann", "wrong", fresh, 400, "old_password"),
        (&owner, "bot", "", fresh, 400, ""),
        (&session, "owner", OWNER_PASSWORD, fresh, 400, ""),
    ] {
        let path = format!("/users/{user}/password");
        let (found, answer) = by.put(&path, &change(old, new)).await;
        assert_eq!(found.as_u16(), status, "{user}: {answer}");
        let named = answer["validations"][0]["field"].as_str().unwrap_or_default();
        assert_eq!(named, field, "{user}: {answer}");
    }
    assert_eq!(token.get("/users/me").await.0, StatusCode::OK, "nothing happened yet");
    assert_eq!(
        session.put("/users/me/password", &change(PASSWORD, fresh)).await.0,
        StatusCode::NO_CONTENT
    );
    for ended in [&session, &token] {
        assert_eq!(ended.get("/users/me").await.0, StatusCode::UNAUTHORIZED);
    }
    let session = app.login("ann@example.com", fresh).await;
    // An administrator needs no old one.
    assert_eq!(
        owner.put("/users/ann/password", &change("", PASSWORD)).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(session.get("/users/me").await.0, StatusCode::UNAUTHORIZED);
    app.login("ann@example.com", PASSWORD).await;
    // Nor does one who is no owner.
    let uma = app.user("uma", &["user-admin"]).await;
    assert_eq!(uma.put("/users/ann/password", &change("", fresh)).await.0, StatusCode::NO_CONTENT);
    app.login("ann@example.com", fresh).await;
    let (_, log) = owner.get("/audit?q=resource_type:user%20action:write%20username:owner").await;
    let hash = &log["audit_logs"][0]["diff"]["hashed_password"];
    assert_eq!(*hash, json!({ "old": "", "new": "", "secret": true }), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_searched_paged_and_counted() {
    let (app, owner) = TestApp::new().await;
    for (name, changes) in [
        ("ann", json!({ "name": "Ann Smith", "user_status": "active" })),
        ("ben", json!({ "roles": ["auditor"] })),
        ("cat", json!({ "login_type": "none", "password": "" })),
        ("dan", json!({ "user_status": "suspended" })),
        ("robot", json!({ "service_account": true, "email": "", "password": "" })),
    ] {
        created(&owner, &with(name, &changes)).await;
    }
    app.db
        .sql(
            "INSERT INTO aibridge_interceptions (id, initiator_id, provider, model, started_at, ended_at)
             SELECT gen_random_uuid(), id, 'p', 'm', now(), now() FROM users WHERE username = 'ben'",
        )
        .await
        .unwrap();
    let list = async |by: &Session, query: &[(&str, &str)]| {
        let request = by.request(Method::GET, "/users").query(query);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let users = answer["users"].as_array().unwrap_or_else(|| panic!("{query:?}: {answer}"));
        let names: Vec<String> =
            users.iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect();
        (names, answer)
    };
    for (q, wanted) in [
        ("", vec!["ann", "ben", "cat", "dan", "owner", "robot"]),
        ("AN", vec!["ann", "dan"]),
        ("search:smith", vec!["ann"]),
        ("name:smi", vec!["ann"]),
        ("status:active", vec!["ann", "owner"]),
        ("status:active,suspended", vec!["ann", "dan", "owner"]),
        ("role:auditor,owner", vec!["ben", "owner"]),
        ("login_type:none", vec!["cat", "robot"]),
        ("service_account:true", vec!["robot"]),
        ("service_account:false name:smith", vec!["ann"]),
        ("created_before:\"2020-01-01T00:00:00Z\"", vec![]),
        ("github_com_user_id:7", vec![]),
    ] {
        let (names, answer) = list(&owner, &[("q", q)]).await;
        assert_eq!(names, wanted, "{q}");
        assert_eq!(answer["count"], json!(wanted.len()), "{q}");
    }
    let (names, answer) = list(&owner, &[("limit", "2"), ("offset", "1")]).await;
    assert_eq!((names, &answer["count"]), (vec!["ben".to_owned(), "cat".to_owned()], &json!(6)));
    assert_eq!(answer["users"][0]["has_ai_seat"], true);
    assert_eq!(answer["users"][1]["has_ai_seat"], false);
    assert_eq!(answer["users"][0]["organization_ids"].as_array().unwrap().len(), 1);
    let cat = answer["users"][1]["id"].as_str().unwrap().to_owned();
    let (names, _) = list(&owner, &[("after_id", &cat), ("limit", "1")]).await;
    assert_eq!(names, ["dan"]);
    let ann = app.login("ann@example.com", PASSWORD).await;
    assert_eq!(list(&ann, &[]).await.0, ["ann"], "people see themselves");
    for (query, field) in [
        ("q=colour:red", "colour"),
        ("q=status:asleep", "status"),
        ("q=login_type:magic", "login_type"),
        ("q=created_after:yesterday", "created_after"),
        ("limit=x", "limit"),
        ("after_id=x", "after_id"),
    ] {
        let (status, answer) = owner.get(&format!("/users?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert_eq!(answer["validations"][0]["field"], field, "{query}: {answer}");
    }
    let unknown = owner.get("/users?after_id=10000000-0000-4000-8000-0000000000ff").await;
    assert_eq!(unknown.0, StatusCode::BAD_REQUEST);
    let both = owner.get(&format!("/users?after_id={cat}&offset=1")).await;
    assert_eq!(both.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_choose_how_pages_look_to_them() {
    let (app, owner) = TestApp::new().await;
    let mia = app.user("mia", &[]).await;
    let none = json!({ "theme_preference": "", "terminal_font": "" });
    assert_eq!(mia.get("/users/me/appearance").await, (StatusCode::OK, none));
    let chosen = json!({ "theme_preference": "dark", "terminal_font": "fira-code" });
    assert_eq!(mia.put("/users/me/appearance", &chosen).await, (StatusCode::OK, chosen.clone()));
    assert_eq!(mia.get("/users/mia/appearance").await.1, chosen);
    let (status, answer) =
        mia.put("/users/me/appearance", &json!({ "terminal_font": "comic-sans" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["validations"][0]["field"], "terminal_font");
    let other = mia.get("/users/owner/appearance").await.0;
    assert_eq!(other, StatusCode::BAD_REQUEST, "a user who may not be read does not exist");
    assert_eq!(owner.get("/users/mia/appearance").await.1, chosen);
}
