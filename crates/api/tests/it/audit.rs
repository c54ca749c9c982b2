use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::TestApp;

fn described(answer: &Value) -> Vec<&str> {
    let rows = answer["audit_logs"].as_array().unwrap();
    rows.iter().map(|row| row["description"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_refused_before_anything_is_read() {
    let (app, _) = TestApp::new().await;
    let mia = app.user("mia", &[]).await;
    for path in ["/audit", "/audit?limit=x", "/audit?q=colour:red"] {
        let (status, answer) = mia.get(path).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
        assert_eq!(app.anonymous().get(path).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_searches_name_what_is_wrong() {
    let (_app, owner) = TestApp::new().await;
    for (path, field) in [
        ("limit=x", "limit"),
        ("offset=-1", "offset"),
        ("limit=1&limit=2", "limit"),
        ("q=unicorn", "resource_type"),
        ("q=action:dance", "action"),
        ("q=date_from:2026-1-1", "date_from"),
        ("q=organization:nowhere", "organization"),
        ("q=organization:20000000-0000-4000-8000-0000000000ff", "organization"),
        ("q=colour:red", "colour"),
        ("q=one:two:three", "q"),
        ("q=username:a%00b", "q"),
    ] {
        let (status, answer) = owner.get(&format!("/audit?{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert_eq!(answer["validations"][0]["field"], field, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_told_newest_first() {
    let (_app, owner) = TestApp::new().await;
    let provider = json!({ "type": "openai", "name": "main", "base_url": "http://127.0.0.1:1/v1" });
    let (status, created) = owner.post("/ai/providers", &provider).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    let (status, log) = owner.get("/audit").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        described(&log),
        [
            "{user} created ai provider {target}",
            "{user} logged in",
            "{user} created user {target}",
            "{user} created organization {target}",
        ]
    );
    assert_eq!((&log["count"], &log["count_cap"]), (&json!(4), &json!(2000)));
    assert_eq!(log["audit_logs"][3]["user"], json!(null), "the deployment set itself up");
    let row = &log["audit_logs"][0];
    assert_eq!(row["resource_type"], "ai_provider");
    assert_eq!(row["resource_id"], created["id"]);
    assert_eq!(row["resource_target"], "main");
    assert_eq!(row["action"], "create");
    assert_eq!(row["status_code"], 201);
    assert_eq!(row["diff"]["name"], json!({ "old": "", "new": "main", "secret": false }));
    assert_eq!(row["user"]["username"], "owner");
    assert_eq!(row["user"]["organization_ids"], json!([]));
    assert_eq!(row["ip"], "127.0.0.1");
    assert_eq!(row["is_deleted"], false);
    assert!(row.get("organization").is_none());
    assert_eq!(log["audit_logs"][2]["resource_link"], "/users?filter=owner");

    assert_eq!(owner.delete("/ai/providers/main").await.0, StatusCode::NO_CONTENT);
    let (_, log) = owner.get("/audit?q=ai_provider").await;
    assert_eq!(
        described(&log),
        ["{user} deleted ai provider {target}", "{user} created ai provider {target}"]
    );
    assert!(log["audit_logs"].as_array().unwrap().iter().all(|row| row["is_deleted"] == true));
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_narrow_pages_end_and_counting_stops() {
    let (app, owner) = TestApp::new().await;
    app.db
        .sql(
            "INSERT INTO audit_logs (id, time, user_id, organization_id, resource_type, resource_id, resource_target,
                                     action, diff, status_code, additional_fields, request_id)
             SELECT gen_random_uuid(), '2020-01-01T23:59:59.5Z', '00000000-0000-0000-0000-000000000000',
                    CASE WHEN n = 1 THEN (SELECT id FROM organizations WHERE is_default) ELSE '00000000-0000-0000-0000-000000000000' END,
                    'template', gen_random_uuid(), 'Name ' || n, 'write', '{}', 200,
                    CASE WHEN n = 2 THEN '{\"build_reason\": \"autostart\"}' ELSE '{}' END::jsonb, '50000000-0000-4000-8000-000000000007'
               FROM generate_series(1, 2100) n",
        )
        .await
        .unwrap();
    let count = async |q: &str| {
        let request = owner.request(reqwest::Method::GET, "/audit");
        let answer: Value = request.query(&[("q", q)]).send().await.unwrap().json().await.unwrap();
        answer["count"].as_i64().unwrap_or_else(|| panic!("{q}: {answer}"))
    };
    for (q, expected) in [
        ("", 2001),
        ("resource_target:\"Name 7\"", 1),
        ("build_reason:autostart", 1),
        ("request_id:50000000-0000-4000-8000-000000000007 action:write", 2001),
        ("date_from:2020-01-01 date_to:2020-01-01", 2001),
        ("date_to:2019-12-31", 0),
        ("username:me", 2),
        ("username:OWNER action:login", 1),
        ("email:owner@example.com", 2),
        ("username:nobody", 0),
        ("organization:default", 2),
        ("template", 2001),
    ] {
        assert_eq!(count(q).await, expected, "{q}");
    }
    let rows = async |query: &str| {
        let (_, answer) = owner.get(&format!("/audit?{query}")).await;
        answer["audit_logs"].as_array().unwrap().len()
    };
    for (query, expected) in [
        ("", 100),
        ("limit=0", 100),
        ("limit=3", 3),
        ("limit=9999", 1000),
        ("offset=2102", 1),
        ("offset=2103", 0),
        ("q=username:nobody", 0),
    ] {
        assert_eq!(rows(query).await, expected, "{query}");
    }
    let (_, log) = owner.get("/audit?q=organization:default%20template").await;
    let row = &log["audit_logs"][0];
    assert_eq!(row["organization"]["id"], row["organization_id"]);
    assert_eq!(row["user"], json!(null));
    assert_eq!(row["resource_link"], "/templates/Name+1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_of_an_organization_sees_its_rows_only() {
    let (app, _) = TestApp::new().await;
    app.user("audrey", &[]).await;
    app.db
        .sql(
            "UPDATE organization_members SET roles = '{organization-auditor}'
              WHERE user_id = (SELECT id FROM users WHERE username = 'audrey');
             INSERT INTO audit_logs (id, time, user_id, organization_id, resource_type, resource_id, resource_target,
                                     action, diff, status_code, additional_fields, request_id)
             SELECT gen_random_uuid(), now(), u.id, o.id, 'user', u.id, 'owner', 'write', '{}', 200, '{}', gen_random_uuid()
               FROM organizations o, users u WHERE o.is_default AND u.username = 'owner'",
        )
        .await
        .unwrap();
    let audrey = app.login("audrey@example.com", crate::app::OWNER_PASSWORD).await;
    let (status, log) = audrey.get("/audit").await;
    assert_eq!(status, StatusCode::OK, "{log}");
    assert_eq!(
        described(&log),
        ["{user} updated user {target}", "{user} created organization {target}"]
    );
    assert_eq!(log["audit_logs"][0]["is_deleted"], false);
    assert_eq!(log["audit_logs"][0]["organization"]["id"], log["audit_logs"][0]["organization_id"]);
}
