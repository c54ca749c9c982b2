use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::app::TestApp;

/// A workspace of the owner, a terminal that was closed, one that is open, and two requests to an app.
const ROWS: &str = "
    WITH who AS (SELECT u.id AS owner, o.id AS org FROM users u, organizations o WHERE u.username = 'owner' AND o.is_default),
    template AS (
        INSERT INTO templates (id, organization_id, created_at, updated_at, name, active_version_id, created_by)
        SELECT 'a1000000-0000-4000-8000-000000000001', org, now(), now(), 'rust', gen_random_uuid(), owner FROM who),
    workspace AS (
        INSERT INTO workspaces (id, created_at, updated_at, owner_id, organization_id, template_id, name, last_used_at)
        SELECT 'a3000000-0000-4000-8000-000000000001', now(), now(), owner, org, 'a1000000-0000-4000-8000-000000000001', 'dev', now() FROM who)
    INSERT INTO connection_logs (id, connect_time, organization_id, workspace_owner_id, workspace_id, workspace_name, agent_name,
                                 type, ip, code, user_agent, user_id, slug_or_port, connection_id, disconnect_time, disconnect_reason)
    SELECT v.id::uuid, v.at::timestamptz, org, owner, 'a3000000-0000-4000-8000-000000000001', 'dev', 'main', v.type, v.ip::inet, v.code,
           v.agent, CASE WHEN v.mine THEN owner END, v.slug, v.connection::uuid, v.ended::timestamptz, v.reason
      FROM who, (VALUES
        ('b1000000-0000-4000-8000-000000000001', '2026-01-01 10:00Z', 'ssh', '192.0.2.1', 130, NULL, false, NULL, 'b2000000-0000-4000-8000-000000000001', '2026-01-01 11:00Z', 'gone'),
        ('b1000000-0000-4000-8000-000000000002', '2026-01-01 10:01Z', 'vscode', NULL, NULL, NULL, false, NULL, 'b2000000-0000-4000-8000-000000000002', NULL, NULL),
        ('b1000000-0000-4000-8000-000000000003', '2026-01-01 10:02Z', 'workspace_app', NULL, 200, 'Firefox', true, 'code', NULL, NULL, NULL),
        ('b1000000-0000-4000-8000-000000000004', '2026-01-01 10:03Z', 'port_forwarding', NULL, 404, 'curl', false, '8080', NULL, NULL, NULL)
      ) AS v (id, at, type, ip, code, agent, mine, slug, connection, ended, reason)";

#[tokio::test(flavor = "multi_thread")]
async fn members_are_refused_before_anything_is_read() {
    let (app, owner) = TestApp::new().await;
    let mia = app.user("mia", &[]).await;
    for path in ["/connectionlog", "/connectionlog?limit=x", "/connectionlog?q=colour:red"] {
        assert_eq!(mia.get(path).await.0, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(app.anonymous().get(path).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for (path, field) in [
        ("limit=x", "limit"),
        ("q=somebody", "q"),
        ("q=type:telnet", "type"),
        ("q=status:lost", "status"),
        ("q=organization:nowhere", "organization"),
        ("q=connected_after:2026-1-1", "connected_after"),
    ] {
        let (status, answer) = owner.get(&format!("/connectionlog?{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert_eq!(answer["validations"][0]["field"], field, "{path}: {answer}");
    }
    let none = json!({ "connection_logs": [], "count": 0, "count_cap": 2000 });
    assert_eq!(owner.get("/connectionlog").await, (StatusCode::OK, none));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_told_newest_first_and_searches_narrow() {
    let (app, owner) = TestApp::new().await;
    app.db.sql(ROWS).await.unwrap();
    let (status, answer) = owner.get("/connectionlog").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let rows = answer["connection_logs"].as_array().unwrap();
    assert_eq!((rows.len(), &answer["count"]), (4, &json!(4)));
    let me = owner.get("/users/me").await.1;
    assert_eq!(rows[0]["web_info"]["user"], json!(null));
    assert_eq!(rows[0]["web_info"]["status_code"], 404);
    assert_eq!(rows[1]["web_info"]["user"]["id"], me["id"]);
    assert_eq!(rows[1]["web_info"]["slug_or_port"], "code");
    assert!(rows[1].get("ssh_info").is_none() && rows[2].get("web_info").is_none());
    let open = json!({ "connection_id": "b2000000-0000-4000-8000-000000000002" });
    assert_eq!(rows[2]["ssh_info"], open, "what an end tells is left out before it");
    let organization = owner.get("/users/me").await.1["organization_ids"][0].clone();
    let expected = json!({
        "id": "b1000000-0000-4000-8000-000000000001",
        "connect_time": "2026-01-01T10:00:00Z",
        "organization": { "id": organization, "name": "coder", "display_name": "Coder", "icon": "" },
        "workspace_owner_id": me["id"],
        "workspace_owner_username": "owner",
        "workspace_id": "a3000000-0000-4000-8000-000000000001",
        "workspace_name": "dev",
        "agent_name": "main",
        "ip": "192.0.2.1",
        "type": "ssh",
        "ssh_info": {
            "connection_id": "b2000000-0000-4000-8000-000000000001",
            "disconnect_time": "2026-01-01T11:00:00Z",
            "disconnect_reason": "gone",
            "exit_code": 130,
        },
    });
    assert_eq!(rows[3], expected);

    let count = async |q: &str| {
        let request = owner.request(Method::GET, "/connectionlog");
        let answer: Value = request.query(&[("q", q)]).send().await.unwrap().json().await.unwrap();
        let rows = answer["connection_logs"].as_array().unwrap_or_else(|| panic!("{q}: {answer}"));
        assert_eq!(answer["count"], json!(rows.len()), "{q}");
        rows.len()
    };
    for (q, expected) in [
        ("", 4),
        ("organization:default", 4),
        ("workspace_owner:me", 4),
        ("workspace_owner:OWNER", 4),
        ("workspace_owner_email:owner@example.com", 4),
        ("workspace_owner:nobody", 0),
        ("type:ssh", 1),
        ("username:me", 1),
        ("username:owner", 1),
        ("user_email:owner@example.com", 1),
        ("connected_after:\"2026-01-01T10:01:00Z\" connected_before:\"2026-01-01T10:02:00Z\"", 2),
        ("workspace_id:a3000000-0000-4000-8000-000000000001", 4),
        ("connection_id:b2000000-0000-4000-8000-000000000001", 1),
        ("status:ongoing", 1),
        ("status:connected", 1),
        ("status:completed", 1),
        ("status:disconnected", 1),
    ] {
        assert_eq!(count(q).await, expected, "{q}");
    }
    let (_, page) = owner.get("/connectionlog?limit=1&offset=2").await;
    assert_eq!(page["connection_logs"][0]["type"], "vscode");
    assert_eq!(page["count"], 4);
}
