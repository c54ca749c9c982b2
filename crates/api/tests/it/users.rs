use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{OWNER_PASSWORD, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_deployment_says_so_until_its_first_user_exists() {
    let app = TestApp::empty().await;
    let anyone = app.anonymous();
    assert_eq!(anyone.get("/users/first").await.0, StatusCode::NOT_FOUND);
    app.first_user().await;
    assert_eq!(anyone.get("/users/first").await.0, StatusCode::OK);
    let again = json!({ "email": "b@example.com", "username": "b", "password": OWNER_PASSWORD });
    assert_eq!(anyone.post("/users/first", &again).await.0, StatusCode::CONFLICT);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_first_users_one_wins() {
    let app = TestApp::empty().await;
    let anyone = app.anonymous();
    let body = |name: &str| json!({ "email": format!("{name}@example.com"), "username": name, "password": OWNER_PASSWORD });
    let (a, b) = (body("a"), body("b"));
    let (first, second) =
        tokio::join!(anyone.post("/users/first", &a), anyone.post("/users/first", &b));
    let mut statuses = [first.0, second.0];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT]);
    let users = app.db.sql("SELECT count(*) FROM users").await.unwrap();
    assert_eq!(users, [[Some("1".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_user_is_validated_field_by_field() {
    let app = TestApp::empty().await;
    let body = json!({ "email": "nobody", "username": "a_b", "name": " x", "password": "short" });
    let (status, answer) = app.anonymous().post("/users/first", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let fields: Vec<&str> = answer["validations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|broken| broken["field"].as_str().unwrap())
        .collect();
    assert_eq!(fields, ["email", "username", "name", "password"]);
    assert!(!answer.to_string().contains("short"), "a password is never echoed: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_are_refused_in_words() {
    let app = TestApp::empty().await;
    for (body, detail) in [
        ("", "EOF"),
        ("{", "EOF while parsing"),
        ("{} trailing", "trailing characters"),
        ("{\"email\":", "EOF while parsing"),
    ] {
        let response =
            app.anonymous().request(Method::POST, "/users/login").body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{body}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["message"], "Request body must be valid JSON.");
        assert!(answer["detail"].as_str().unwrap().contains(detail), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_one_mebibyte_is_413() {
    let app = TestApp::empty().await;
    let body = format!("{{\"email\":\"{}\"}}", "x".repeat(1024 * 1024));
    let response =
        app.anonymous().request(Method::POST, "/users/login").body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(response.json::<Value>().await.unwrap()["message"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_alike() {
    let (app, _) = TestApp::new().await;
    let anyone = app.anonymous();
    let mut answers = Vec::new();
    for (email, password) in
        [("owner@example.com", "wrong"), ("nobody@example.com", "wrong"), ("", "wrong")]
    {
        let body = json!({ "email": email, "password": password });
        let (status, answer) = anyone.post("/users/login", &body).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        answers.push(answer);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[1], answers[2]);
    let rows = app
        .db
        .sql("SELECT status_code FROM audit_logs WHERE action = 'login' ORDER BY time")
        .await
        .unwrap();
    let statuses: Vec<_> = rows.into_iter().flatten().flatten().collect();
    assert_eq!(
        statuses,
        ["201", "401"],
        "a known user's failure is recorded, an unknown name is not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_logout() {
    let (app, owner) = TestApp::new().await;
    let (status, me) = owner.get("/users/me").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(me["username"], "owner");
    assert_eq!(me["roles"], json!([{ "name": "owner", "display_name": "Owner" }]));
    assert_eq!(me["organization_ids"].as_array().unwrap().len(), 1);
    assert_eq!(owner.post("/users/logout", &json!({})).await.0, StatusCode::OK);
    let (status, answer) = owner.get("/users/me").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer["detail"], "API key is invalid.");
    let (status, answer) = app.anonymous().get("/users/me").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(answer["detail"].as_str().unwrap().contains("coder_session_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_accepted_wherever_clients_put_it() {
    let (app, owner) = TestApp::new().await;
    let path = app.path("/api/v2/users/me");
    let token = &owner.token;
    let requests = [
        app.http.get(&path).header("Coder-Session-Token", token),
        app.http.get(&path).header("Authorization", format!("Bearer {token}")),
        app.http.get(&path).header("Cookie", format!("coder_session_token={token}")),
        app.http.get(format!("{path}?coder_session_token={token}")),
        app.http.get(format!("{path}?access_token={token}")),
    ];
    for request in requests {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    }
    for (bad, detail) in [
        ("nonsense", "Invalid API key format"),
        ("abcdefghij-abcdefghijabcdefghijab", "API key is invalid."),
        (&format!("{}-abcdefghijabcdefghijab", &token[..10]), "API key secret is invalid."),
    ] {
        let (status, answer) = app.session(bad).get("/users/me").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(answer["detail"].as_str().unwrap().starts_with(detail), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_key_and_a_suspended_user_are_401_and_a_broken_database_is_not() {
    let (app, owner) = TestApp::new().await;
    app.user("sam", &[]).await;
    let sam = app.login("sam@example.com", OWNER_PASSWORD).await;
    app.db.sql("UPDATE users SET status = 'suspended' WHERE username = 'sam'").await.unwrap();
    let (status, answer) = sam.get("/users/me").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer["message"],
        "User is not active (status = \"suspended\"). Contact an admin to reactivate your account."
    );
    app.db.sql("UPDATE api_keys SET expires_at = now() - interval '1 minute'").await.unwrap();
    let (status, answer) = owner.get("/users/me").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(answer["detail"].as_str().unwrap().starts_with("API key expired at \""));
    app.db.sql("ALTER TABLE api_keys RENAME TO gone").await.unwrap();
    let (status, answer) = owner.get("/users/me").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dormant_user_wakes_on_use() {
    let (app, _) = TestApp::new().await;
    let dora = app.user("dora", &[]).await;
    app.db.sql("UPDATE users SET status = 'dormant' WHERE username = 'dora'").await.unwrap();
    assert_eq!(dora.get("/users/me").await.1["status"], "active");
    let rows = app
        .db
        .sql("SELECT additional_fields->>'automatic_subsystem' FROM audit_logs WHERE resource_target = 'dora' AND action = 'write'")
        .await
        .unwrap();
    assert_eq!(rows, [[Some("dormancy".to_owned())]]);
    app.db.sql("UPDATE users SET status = 'suspended' WHERE username = 'dora'").await.unwrap();
    let ids = app.db.sql("SELECT id FROM users WHERE username = 'dora'").await.unwrap();
    let id = stdx::ids::UserId::new(ids[0][0].as_deref().unwrap().parse().unwrap());
    let woken = app.app.authn.wake(id, app.app.clock.now()).await;
    assert!(matches!(woken, Err(store::Error::NotFound)), "{woken:?}");
    let status = app.db.sql("SELECT status FROM users WHERE username = 'dora'").await.unwrap();
    assert_eq!(status, [[Some("suspended".to_owned())]], "suspended since it was read: stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_is_read_by_those_who_may() {
    let (app, owner) = TestApp::new().await;
    let eve = app.user("eve", &[]).await;
    assert_eq!(owner.get("/users/EVE").await.1["username"], "eve");
    for name in ["owner", "nobody", "00000000-0000-4000-8000-000000000000"] {
        let (status, answer) = eve.get(&format!("/users/{name}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(answer["message"], "\"user\" must be an existing uuid or username.");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_carries_its_request_id_and_unknown_routes_are_404() {
    let app = TestApp::empty().await;
    let response = app.http.get(app.path("/api/v2//buildinfo")).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.headers().contains_key("x-coder-request-id"));
    assert_eq!(response.headers()["x-coder-build-version"], "v0.0.0-test");
    assert_eq!(response.headers()["content-type"], "application/json; charset=utf-8");
    for path in ["/api/v2/nothing", "/api/v2/users/me/nothing", "/nothing"] {
        let response = app.http.get(app.path(path)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(response.json::<Value>().await.unwrap()["message"], "Route not found.");
    }
    let ready = app.http.get(app.path("/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::OK);
    assert_eq!(
        app.http.get(app.path("/healthz")).send().await.unwrap().text().await.unwrap(),
        "OK"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_changes_nothing_with_the_cookie() {
    let (app, owner) = TestApp::new().await;
    let path = app.path("/api/v2/users/me/keys");
    let cookie = format!("coder_session_token={}", owner.token);
    let forged = |name: &'static str, value: &str| {
        app.http.post(&path).header("Cookie", &cookie).header(name, value)
    };
    for request in [
        forged("Sec-Fetch-Site", "cross-site"),
        forged("Sec-Fetch-Site", "same-site"),
        forged("Origin", "https://evil.example"),
        forged("Origin", "null"),
        forged("Origin", "https://evil.example").header("Coder-Session-Token", "another"),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert!(response.text().await.unwrap().contains("comes from another site"));
    }
    let keys = app.db.sql("SELECT count(*) FROM api_keys").await.unwrap();
    assert_eq!(keys, [[Some("1".to_owned())]], "the session alone");
    for request in [
        forged("Sec-Fetch-Site", "same-origin"),
        forged("Origin", &app.url),
        forged("Origin", "https://evil.example").header("Coder-Session-Token", &owner.token),
        app.http.post(&path).header("Cookie", &cookie),
        owner.request(Method::POST, "/users/me/keys").header("Origin", "https://evil.example"),
    ] {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    }
    let read = app.http.get(app.path("/api/v2/users/me")).header("Cookie", &cookie);
    let read = read.header("Sec-Fetch-Site", "cross-site").send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK, "reading changes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_that_the_database_cannot_hold_is_no_fault_of_ours() {
    let (app, owner) = TestApp::new().await;
    let body = json!({ "email": "owner\u{0}@example.com", "password": OWNER_PASSWORD });
    assert_eq!(app.anonymous().post("/users/login", &body).await.0, StatusCode::UNAUTHORIZED);
    for path in ["/users/a%00b", "/users/me/keys/a%00b", "/users/me/keys/tokens/a%00b"] {
        let (status, answer) = owner.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_user_is_out_until_activated() {
    let (app, owner) = TestApp::new().await;
    let member = app.user("mia", &[]).await;
    for (status, done) in
        [("suspend", "suspended"), ("suspend", "suspended"), ("activate", "active")]
    {
        let (code, user) = owner.put(&format!("/users/mia/status/{status}"), &Value::Null).await;
        assert_eq!(code, StatusCode::OK, "{user}");
        assert_eq!((&user["status"], &user["username"]), (&json!(done), &json!("mia")));
        let expected = if done == "active" { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(member.get("/users/me").await.0, expected);
    }
    let rows = app
        .db
        .sql(
            "SELECT diff->'status'->>'old', diff->'status'->>'new', resource_target FROM audit_logs
              WHERE resource_type = 'user' AND action = 'write' ORDER BY time",
        )
        .await
        .unwrap();
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().map(Option::unwrap).collect()).collect();
    assert_eq!(rows, [["active", "suspended", "mia"], ["suspended", "active", "mia"]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_suspend_whom() {
    let (app, owner) = TestApp::new().await;
    app.user("mia", &[]).await;
    app.user("olga", &["owner"]).await;
    let admin = app.user("una", &["user-admin"]).await;
    let member = app.user("max", &[]).await;
    let auditor = app.user("audrey", &["auditor"]).await;
    for (who, session, target, status, message) in [
        ("anonymous", app.anonymous(), "mia", 401, "signed out"),
        ("member", member.clone(), "mia", 400, "must be an existing uuid or username"),
        ("auditor", auditor, "mia", 403, "Forbidden."),
        ("member", member, "max", 400, "You cannot suspend yourself."),
        ("user admin", admin.clone(), "una", 400, "You cannot suspend yourself."),
        ("user admin", admin.clone(), "olga", 400, "with the \"owner\" role"),
        ("user admin", admin.clone(), "nobody", 400, "must be an existing uuid or username"),
        ("owner", owner.clone(), "olga", 400, "with the \"owner\" role"),
        ("owner", owner, "me", 400, "You cannot suspend yourself."),
        ("user admin", admin, "mia", 200, ""),
    ] {
        let (seen, body) =
            session.put(&format!("/users/{target}/status/suspend"), &Value::Null).await;
        assert_eq!(seen.as_u16(), status, "{who} {target}: {body}");
        let told = body["message"].as_str().unwrap_or_default();
        assert!(told.contains(message), "{who} {target}: {body}");
    }
    let suspended =
        app.db.sql("SELECT username FROM users WHERE status = 'suspended'").await.unwrap();
    assert_eq!(suspended, [[Some("mia".to_owned())]]);
}

/// Of the owner's password, in the form of imported accounts.
const OLDER_HASH: &str = "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$h2SoHfujawIGsoxWrVZytsDs2QV3jXd27O6vlFJekn8fmzaryuA6vVvwfhfMRdsWeK8bKD+Jn7AtHhxcGSok4w";

#[tokio::test(flavor = "multi_thread")]
async fn a_password_hash_of_an_older_form_is_replaced_by_a_login_and_by_nothing_else() {
    let (app, _) = TestApp::new().await;
    let hash = async || {
        let rows = app.db.sql("SELECT hashed_password FROM users WHERE email <> ''").await.unwrap();
        rows[0][0].clone().unwrap()
    };
    app.db.sql(&format!("UPDATE users SET hashed_password = '{OLDER_HASH}'")).await.unwrap();
    let login = async |password: &str| {
        let body = json!({ "email": "owner@example.com", "password": password });
        app.anonymous().post("/users/login", &body).await.0
    };
    assert_eq!(login("SomeSecurePassword?").await, StatusCode::UNAUTHORIZED);
    assert_eq!(hash().await, OLDER_HASH);
    assert_eq!(login(OWNER_PASSWORD).await, StatusCode::CREATED);
    let replaced = hash().await;
    assert!(replaced.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{replaced}");
    assert_eq!(login(OWNER_PASSWORD).await, StatusCode::CREATED);
    assert_eq!(hash().await, replaced, "what is current stays");
}
