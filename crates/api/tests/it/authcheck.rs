use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::{Session, TestApp};

const NOBODY: &str = "0b000000-0000-4000-8000-00000000000b";

async fn default_org(app: &TestApp) -> String {
    let rows = app.db.sql("SELECT id FROM organizations WHERE is_default").await.unwrap();
    rows[0][0].clone().unwrap()
}

async fn id_of(app: &TestApp, name: &str) -> String {
    let rows = app.db.sql(&format!("SELECT id FROM users WHERE username = '{name}'")).await;
    rows.unwrap()[0][0].clone().unwrap()
}

/// A group of the default organization with these members.
async fn group(app: &TestApp, name: &str, members: &[&str]) -> String {
    let members = members.join("','");
    let rows = app
        .db
        .sql(&format!(
            "INSERT INTO groups (id, organization_id, name)
             SELECT gen_random_uuid(), id, '{name}' FROM organizations WHERE is_default;
             INSERT INTO group_members (group_id, user_id)
             SELECT g.id, u.id FROM groups g, users u WHERE g.name = '{name}' AND u.username IN ('{members}');
             SELECT id FROM groups WHERE name = '{name}'"
        ))
        .await
        .unwrap();
    rows.last().unwrap()[0].clone().unwrap()
}

fn check(object: &Value, action: &str) -> Value {
    json!({ "object": object, "action": action })
}

async fn ask(session: &Session, checks: &Value) -> Value {
    let (status, answer) = session.post("/authcheck", &json!({ "checks": checks })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// One question, whose answer is the same with and without reason.
async fn explain(session: &Session, object: &Value, action: &str) -> Value {
    let checks = json!({ "checks": { "it": check(object, action) } });
    let (status, explained) = session.post("/authcheck?explain=true", &checks).await;
    assert_eq!(status, StatusCode::OK, "{explained}");
    let (_, plain) = session.post("/authcheck", &checks).await;
    assert_eq!(plain["it"], explained["it"]["allowed"]);
    explained["it"].clone()
}

async fn scoped(owner: &Session, app: &TestApp, body: &Value) -> Session {
    let (status, answer) = owner.post("/users/me/keys/tokens", body).await;
    assert_eq!(status, StatusCode::CREATED, "{answer}");
    app.session(answer["key"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_booleans_by_the_names_of_the_questions() {
    let (app, owner) = TestApp::new().await;
    let alice = app.user("alice", &[]).await;
    let org = default_org(&app).await;
    let checks = json!({
        "read own keys": check(&json!({ "resource_type": "api_key", "owner_id": "me" }), "read"),
        "read others' keys":
            check(&json!({ "resource_type": "api_key", "owner_id": NOBODY }), "read"),
        "read audit log": check(&json!({ "resource_type": "audit_log" }), "read"),
        "create template": check(&json!({ "resource_type": "template", "any_org": true }), "create"),
        "own workspace": check(
            &json!({ "resource_type": "workspace", "owner_id": "me", "organization_id": org }),
            "ssh"
        ),
        "not an action of it": check(&json!({ "resource_type": "file" }), "ssh"),
    });
    assert_eq!(
        ask(&alice, &checks).await,
        json!({
            "read own keys": true, "read others' keys": false, "read audit log": false,
            "create template": false, "own workspace": true, "not an action of it": false,
        })
    );
    assert_eq!(
        ask(&owner, &checks).await,
        json!({
            "read own keys": true, "read others' keys": true, "read audit log": true,
            "create template": true, "own workspace": true, "not an action of it": false,
        }),
    );
    assert_eq!(ask(&alice, &json!({})).await, json!({}));
    let (status, answer) = alice.post("/authcheck", &json!({})).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({})));
    let (status, _) = app.anonymous().post("/authcheck", &json!({ "checks": checks })).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scope_and_allow_list_of_the_key_count() {
    let (app, owner) = TestApp::new().await;
    let alice = id_of(&app, "owner").await;
    let checks = json!({
        "read": check(&json!({ "resource_type": "user", "resource_id": alice }), "read"),
        "update": check(&json!({ "resource_type": "user", "resource_id": alice }), "update"),
        "any user": check(&json!({ "resource_type": "user" }), "read"),
        "log": check(&json!({ "resource_type": "audit_log" }), "read"),
    });
    let answers = |read: bool, update: bool, any: bool, log: bool| json!({ "read": read, "update": update, "any user": any, "log": log });
    assert_eq!(ask(&owner, &checks).await, answers(true, true, true, true));
    let narrow = scoped(&owner, &app, &json!({ "scopes": ["user:read"] })).await;
    assert_eq!(ask(&narrow, &checks).await, answers(true, false, true, false));
    let one = json!({ "scopes": ["all"], "allow_list": [format!("user:{alice}")] });
    let one = scoped(&owner, &app, &one).await;
    assert_eq!(ask(&one, &checks).await, answers(true, true, false, false));
    let other = json!({ "allow_list": [format!("user:{NOBODY}")] });
    let other = scoped(&owner, &app, &other).await;
    assert_eq!(ask(&other, &checks).await, answers(false, false, false, false));

    let log = json!({ "resource_type": "audit_log" });
    let reason = explain(&narrow, &log, "read").await["reason"].clone();
    assert_eq!(reason, "audit_log:read is refused by the credential's scope user:read");
    let reason = explain(&one, &log, "read").await["reason"].clone();
    assert_eq!(reason, "audit_log:read is refused by the credential's allow list");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_objects_are_judged_by_what_is_stored() {
    let (app, owner) = TestApp::new().await;
    let alice = app.user("alice", &[]).await;
    app.user("bob", &[]).await;
    let (bob, org) = (id_of(&app, "bob").await, default_org(&app).await);
    let with = group(&app, "with", &["alice"]).await;
    let without = group(&app, "without", &["bob"]).await;
    let me = id_of(&app, "alice").await;
    // Mode none: members do not see the groups of their organization, but those that they are in.
    app.db.sql("UPDATE organizations SET shareable_workspace_owners = 'none'").await.unwrap();
    let row = |kind: &str, id: &str| json!({ "resource_type": kind, "resource_id": id });
    for (session, object, action, allowed) in [
        (&alice, row("user", &me), "read", true),
        (&alice, row("user", &me), "delete", false),
        (&alice, row("user", &bob), "read", false),
        (&owner, row("user", &bob), "delete", true),
        (&owner, row("user", NOBODY), "read", false),
        (&alice, row("group", &with), "read", true),
        (&alice, row("group", &with), "update", false),
        (&alice, row("group", &without), "read", false),
        (&owner, row("group", &without), "update", true),
        (&owner, row("group", NOBODY), "read", false),
        (&alice, row("group", &org), "read", true),
        (&owner, row("workspace", NOBODY), "read", false),
        (&owner, row("template", NOBODY), "read", false),
    ] {
        let answer = explain(session, &object, action).await;
        assert_eq!(answer["allowed"], allowed, "{object} {action}: {answer}");
    }
    // What is said in the question does not count beside what is stored.
    let claimed = json!({ "resource_type": "user", "resource_id": bob, "owner_id": "me" });
    assert_eq!(explain(&alice, &claimed, "read").await["allowed"], false);
    app.db.sql("UPDATE users SET deleted = true WHERE username = 'bob'").await.unwrap();
    assert_eq!(explain(&owner, &row("user", &bob), "read").await["allowed"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_tell_what_decided_and_nothing_of_what_is_not_seen() {
    let (app, owner) = TestApp::new().await;
    let alice = app.user("alice", &[]).await;
    let org = default_org(&app).await;
    let hidden = group(&app, "hidden", &[]).await;
    app.db.sql("UPDATE organizations SET shareable_workspace_owners = 'none'").await.unwrap();
    let workspace =
        json!({ "resource_type": "workspace", "organization_id": org, "owner_id": "me" });
    assert_eq!(
        explain(&alice, &workspace, "ssh").await,
        json!({
            "allowed": true,
            "level": "member",
            "role": format!("organization-workspace-access:{org}"),
            "permission": "workspace:ssh",
            "reason": format!(
                "workspace:ssh is allowed by workspace:ssh of role \
                 organization-workspace-access:{org} at member level"
            ),
        })
    );
    assert_eq!(
        explain(&alice, &workspace, "share").await,
        json!({
            "allowed": false,
            "level": "org",
            "role": format!("organization-member:{org}"),
            "permission": "!workspace:share",
            "reason": format!(
                "workspace:share is refused by !workspace:share of role \
                 organization-member:{org} at org level"
            ),
        })
    );
    let log = json!({ "resource_type": "audit_log" });
    assert_eq!(explain(&owner, &log, "read").await["level"], "site");
    let elsewhere = json!({ "resource_type": "template", "organization_id": NOBODY });
    assert_eq!(
        explain(&alice, &elsewhere, "read").await["reason"],
        format!(
            "template:read is refused because the subject is not a member of organization {NOBODY}"
        )
    );

    // Word for word alike: an object that is hidden, one that does not exist, one of a kind without any.
    let row = |kind: &str, id: &str| json!({ "resource_type": kind, "resource_id": id });
    let of_hidden = explain(&alice, &row("group", &hidden), "read").await;
    assert_eq!(
        of_hidden,
        json!({
            "allowed": false, "level": "", "role": "", "permission": "",
            "reason": "there is no such object, or the caller has no access to it",
        })
    );
    let owner_id = id_of(&app, "owner").await;
    for (object, action) in [
        (row("group", &hidden), "update"),
        (row("group", NOBODY), "read"),
        (row("user", &owner_id), "read"),
        (row("user", NOBODY), "read"),
        (row("workspace", NOBODY), "read"),
        (row("template", &hidden), "read"),
    ] {
        assert_eq!(explain(&alice, &object, action).await, of_hidden, "{object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_refused_and_faults_are_ours() {
    let (app, owner) = TestApp::new().await;
    let one = |check: Value| json!({ "checks": { "k": check } });
    let file = json!({ "resource_type": "file" });
    for (body, message) in [
        (json!("checks"), "Request body must be valid JSON."),
        (json!({ "checks": { "k": {} } }), "Request body must be valid JSON."),
        (one(json!({ "object": file })), "Request body must be valid JSON."),
        (
            one(check(&json!({}), "read")),
            "Object's \"resource_type\" field must be defined for key \"k\".",
        ),
        (
            one(check(&json!({ "resource_type": "file", "resource_id": NOBODY }), "read")),
            "Object type \"file\" does not support \"resource_id\" field.",
        ),
        (one(check(&file, "fly")), "unknown action \"fly\", for key \"k\"."),
    ] {
        let (status, answer) = owner.post("/authcheck", &body).await;
        assert_eq!((status, &answer["message"]), (StatusCode::BAD_REQUEST, &json!(message)));
    }
    let (status, answer) =
        owner.post("/authcheck?explain=perhaps", &one(check(&file, "read"))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["validations"][0]["field"], "explain");

    app.db.sql("ALTER TABLE groups RENAME TO away").await.unwrap();
    let row = json!({ "resource_type": "group", "resource_id": NOBODY });
    let (status, answer) = owner.post("/authcheck", &one(check(&row, "read"))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_told_to_who_asks_where_that_is_on() {
    let app = TestApp::start(crypt::Keyring::empty(), |base| {
        base.settings.record_authz_checks = true;
    });
    let app = app.await;
    let owner = app.first_user().await;
    let id = id_of(&app, "owner").await;
    let told = |session: Session, path: &'static str, asked: Option<&'static str>| async move {
        let mut request = session.request(Method::GET, path);
        if let Some(asked) = asked {
            request = request.header("x-authz-checks", asked);
        }
        let response = request.send().await.unwrap();
        response.headers().get("x-authz-checks").map(|text| text.to_str().unwrap().to_owned())
    };
    let me = format!("owner:{id}::id:{id}::user.read=true");
    assert_eq!(
        told(owner.clone(), "/users/me", Some("true")).await.unwrap(),
        format!("{me}; organization_member.read=true; {me}"),
        "of the handler, of the organizations and of the seat"
    );
    assert_eq!(told(owner.clone(), "/buildinfo", Some("true")).await.as_deref(), Some("nil"));
    assert_eq!(
        told(owner.clone(), "/users/me/keys/tokens", Some("true")).await.as_deref(),
        Some("api_key.read=true")
    );
    let alice = app.user("alice", &[]).await;
    assert_eq!(
        told(alice, "/audit", Some("true")).await.as_deref(),
        Some("audit_log.read=false; organization:any::audit_log.read=false")
    );
    assert_eq!(told(owner.clone(), "/users/me", None).await, None);
    assert_eq!(told(owner.clone(), "/users/me", Some("yes")).await, None);

    let mut request = owner.request(Method::POST, "/authcheck").header("x-authz-checks", "true");
    let many = check(&json!({ "resource_type": "user", "owner_id": "me" }), "read");
    let many: serde_json::Map<String, Value> =
        (0..100).map(|n| (n.to_string(), many.clone())).collect();
    request = request.json(&json!({ "checks": many }));
    let response = request.send().await.unwrap();
    let text = response.headers()["x-authz-checks"].to_str().unwrap().to_owned();
    assert_eq!(text.len(), 2_000 + "<truncated>".len());
    assert!(text.ends_with("<truncated>"));
    assert!(response.json::<Value>().await.unwrap().as_object().unwrap().len() == 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_told_to_nobody_where_that_is_off() {
    let (_app, owner) = TestApp::new().await;
    let request = owner.request(Method::GET, "/users/me").header("x-authz-checks", "true");
    assert!(!request.send().await.unwrap().headers().contains_key("x-authz-checks"));
}
