use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::app::{Session, TestApp};

const FIRST: &str = "019b76da-a800-7000-8000-000000000001";
const SECOND: &str = "019b76da-a801-7000-8000-000000000001";
const THIRD: &str = "019b76da-a802-7000-8000-000000000001";
const FOURTH: &str = "019b76da-a803-7000-8000-000000000001";
const IN_FLIGHT: &str = "019b76da-a804-7000-8000-000000000001";

/// Five interceptions: a session of the owner with a thread of two and a thread of one that failed, one of
/// mia's without a session key, and one that has not ended.
async fn recorded() -> (TestApp, Session, Session) {
    let (app, owner) = TestApp::new().await;
    let mia = app.user("mia", &[]).await;
    app.db.sql(&format!(
        "INSERT INTO aibridge_interceptions (id, initiator_id, api_key_id, provider, provider_name, model, client,
                    started_at, ended_at, client_session_id, thread_root_id, credential_hint, error_type, error_message)
         SELECT v.id::uuid, u.id, 'abcdefghij', v.provider, v.name, v.model, v.client, v.started::timestamptz,
                v.ended::timestamptz, v.session, v.root::uuid, 'sk-c...6789', v.error, v.message
           FROM (VALUES
             ('{FIRST}', 'owner', 'anthropic', 'main', 'claude-sonnet-4-5', 'Claude Code', '2026-01-01T00:00:00Z', '2026-01-01T00:00:05Z', 'work', NULL, NULL, NULL),
             ('{SECOND}', 'owner', 'anthropic', 'main', 'claude-haiku-4-5', 'Claude Code', '2026-01-01T00:00:10Z', '2026-01-01T00:00:15Z', 'work', '{FIRST}', NULL, NULL),
             ('{THIRD}', 'owner', 'openai', 'other', 'gpt-5', 'Codex', '2026-01-01T00:01:00Z', '2026-01-01T00:01:05Z', 'work', NULL, 'overloaded', 'busy'),
             ('{FOURTH}', 'mia', 'openai', 'other', 'gpt-5', 'Codex', '2026-01-02T00:00:00Z', '2026-01-02T00:00:05Z', NULL, NULL, NULL, NULL),
             ('{IN_FLIGHT}', 'mia', 'openai', 'other', 'gpt-5', 'Codex', '2026-01-03T00:00:00Z', NULL, NULL, NULL, NULL, NULL)
           ) AS v (id, who, provider, name, model, client, started, ended, session, root, error, message)
           JOIN users u ON u.username = v.who;
         INSERT INTO aibridge_token_usages (id, interception_id, provider_response_id, input_tokens, output_tokens,
                    cache_read_input_tokens, cache_write_input_tokens, metadata, created_at)
         SELECT i.id, i.id, 'msg', 10, 20, 30, 40, '{{\"searches\": 2, \"tier\": \"x\"}}', i.started_at FROM aibridge_interceptions i;
         INSERT INTO aibridge_user_prompts (id, interception_id, provider_response_id, prompt, created_at)
         VALUES ('{FIRST}', '{FIRST}', 'msg', 'what is <this>?', '2026-01-01T00:00:01Z'),
                ('{THIRD}', '{THIRD}', 'msg', 'and that?', '2026-01-01T00:01:01Z');
         INSERT INTO aibridge_tool_usages (id, interception_id, provider_response_id, provider_tool_call_id, tool, input, created_at)
         VALUES ('{FIRST}', '{FIRST}', 'msg', 'toolu_1', 'Read', '{{}}', '2026-01-01T00:00:02Z');
         INSERT INTO aibridge_model_thoughts (id, interception_id, content, created_at)
         VALUES ('{FIRST}', '{FIRST}', 'hmm', '2026-01-01T00:00:02Z')"
    )).await.unwrap();
    (app, owner, mia)
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_answered_with_what_is_wrong() {
    let (app, owner, _) = recorded().await;
    let unknown = "019b76da-a8ff-7000-8000-000000000001";
    for (path, message, detail) in [
        (
            "interceptions?limit=0",
            "Invalid pagination limit value.",
            "Pagination limit must be in range (0, 1000]",
        ),
        (
            "models?limit=1001",
            "Invalid pagination limit value.",
            "Pagination limit must be in range (0, 1000]",
        ),
        (
            "sessions/work?limit=201",
            "Invalid pagination limit value.",
            "Pagination limit must be in range (0, 200]",
        ),
        (
            &format!("interceptions?after_id={FIRST}&offset=1"),
            "Query parameters have invalid values.",
            "Cannot use both after_id and offset pagination in the same request.",
        ),
        (
            "sessions?after_session_id=work&offset=1",
            "Query parameters have invalid values.",
            "Cannot use both after_session_id and offset pagination in the same request.",
        ),
        (&format!("interceptions?after_id={unknown}"), "Invalid pagination cursor.", ""),
        (&format!("interceptions?after_id={IN_FLIGHT}"), "Invalid pagination cursor.", ""),
        ("sessions?after_session_id=unknown", "Invalid pagination cursor.", ""),
        ("sessions?q=model:gpt-6&after_session_id=work", "Invalid pagination cursor.", ""),
        (&format!("sessions/work?after_id={FOURTH}"), "Invalid pagination cursor.", ""),
        (&format!("sessions/work?after_id={SECOND}"), "Invalid pagination cursor.", ""),
    ] {
        let (status, answer) = owner.get(&format!("/aibridge/{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert_eq!(answer["message"], message, "{path}");
        assert_eq!(answer["detail"].as_str().unwrap_or(""), detail, "{path}");
    }
    for (path, field) in [
        ("interceptions?after_id=x", "after_id"),
        ("interceptions?q=initiator:nobody", "initiator"),
        ("interceptions?q=provider_name:nowhere", "provider_name"),
        // A name that only begins a name is none.
        ("interceptions?q=provider_name:mai", "provider_name"),
        ("interceptions?q=session_id:work", "session_id"),
        ("interceptions?q=model:", "q"),
        ("sessions?q=free", "q"),
        ("sessions?q=model:a%00b", "q"),
        ("clients?q=model:x", "model"),
    ] {
        let (status, answer) = owner.get(&format!("/aibridge/{path}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {answer}");
        assert_eq!(answer["validations"][0]["field"], field, "{path}: {answer}");
    }
    for path in ["sessions/unknown", "sessions/a%00b"] {
        let (status, answer) = owner.get(&format!("/ai-gateway/{path}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer, json!({ "message": "Session not found." }), "{path}");
    }
    for path in ["interceptions", "models", "clients", "providers", "sessions", "sessions/work"] {
        let (status, _) = app.anonymous().get(&format!("/aibridge/{path}")).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_finds_nothing() {
    let (app, _, mia) = recorded().await;
    for path in ["interceptions", "ai-gateway/interceptions"] {
        let path =
            if path.contains('/') { format!("/{path}") } else { format!("/aibridge/{path}") };
        assert_eq!(
            mia.get(&path).await.1,
            json!({ "count": 0, "count_cap": 2000, "results": [] }),
            "{path}"
        );
    }
    assert_eq!(
        mia.get("/aibridge/sessions").await.1,
        json!({ "count": 0, "count_cap": 2000, "sessions": [] })
    );
    for list in ["models", "clients", "providers"] {
        assert_eq!(
            mia.get(&format!("/aibridge/{list}")).await,
            (StatusCode::OK, json!([])),
            "{list}"
        );
    }
    assert_eq!(mia.get("/aibridge/sessions/work").await.0, StatusCode::NOT_FOUND);
    let cursor = mia.get(&format!("/aibridge/interceptions?after_id={FIRST}")).await;
    assert_eq!(cursor.0, StatusCode::BAD_REQUEST, "what may not be read does not exist");
    // Auditors may not read providers, and still search by them.
    let auditor = app.user("audrey", &["auditor"]).await;
    assert_eq!(auditor.get("/aibridge/interceptions?q=provider_name:main").await.1["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn interceptions_are_listed_newest_first_page_by_page() {
    let (_app, owner, _) = recorded().await;
    let (status, all) = owner.get("/aibridge/interceptions").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!((all["count"].as_i64(), ids(&all)), (Some(4), vec![FOURTH, THIRD, SECOND, FIRST]));
    let (_, page) = owner.get(&format!("/aibridge/interceptions?limit=2&after_id={FOURTH}")).await;
    assert_eq!((page["count"].as_i64(), ids(&page)), (Some(4), vec![THIRD, SECOND]));
    let (_, page) = owner.get("/aibridge/interceptions?limit=2&offset=3").await;
    assert_eq!((page["count"].as_i64(), ids(&page)), (Some(4), vec![FIRST]));

    let first = all["results"].as_array().unwrap().last().unwrap();
    assert_eq!(first["initiator"]["username"], "owner");
    assert_eq!(first["user_prompts"][0]["prompt"], "what is <this>?");
    assert_eq!(first["tool_usages"][0]["tool"], "Read");
    assert_eq!(first["tool_usages"][0]["server_url"], "");
    assert_eq!(first["token_usages"][0]["cache_write_input_tokens"], 40);
    assert_eq!(first["metadata"], json!({}));
    assert_eq!(first["started_at"], "2026-01-01T00:00:00Z");
    assert_eq!(all["results"][0]["user_prompts"], json!([]));
    assert_eq!(all["results"][1]["error_message"], "busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_narrow() {
    let (_app, owner, _) = recorded().await;
    let (_, me) = owner.get("/users/me").await;
    let mine = format!("initiator:{}", me["id"].as_str().unwrap());
    for (q, found) in [
        ("me", vec![THIRD, SECOND, FIRST]),
        ("Owner", vec![THIRD, SECOND, FIRST]),
        ("initiator:mia", vec![FOURTH]),
        (mine.as_str(), vec![THIRD, SECOND, FIRST]),
        ("provider:anthropic", vec![SECOND, FIRST]),
        ("provider_name:other", vec![FOURTH, THIRD]),
        ("model:gpt-5 me", vec![THIRD]),
        ("client:\"Claude Code\"", vec![SECOND, FIRST]),
        ("client:\"claude code\"", vec![]),
        (
            "started_after:\"2026-01-01T00:00:10Z\" started_before:\"2026-01-01T02:00:00+01:00\"",
            vec![THIRD, SECOND],
        ),
    ] {
        let request = owner.request(reqwest::Method::GET, "/aibridge/interceptions");
        let answer: Value = request.query(&[("q", q)]).send().await.unwrap().json().await.unwrap();
        assert_eq!(ids(&answer), found, "{q}");
        assert_eq!(answer["count"], found.len(), "{q}");
    }
    for (path, names) in [
        ("models", json!(["claude-haiku-4-5", "claude-sonnet-4-5", "gpt-5"])),
        ("models?q=claude", json!(["claude-haiku-4-5", "claude-sonnet-4-5"])),
        ("models?q=model:gpt&extra=1", json!(["gpt-5"])),
        ("models?limit=1&offset=1", json!(["claude-sonnet-4-5"])),
        ("models?q=%25", json!([])),
        ("clients", json!(["Claude Code", "Codex"])),
        ("clients?q=Claude+C", json!(["Claude Code"])),
        ("providers", json!(["main", "other"])),
        ("providers?q=o", json!(["other"])),
    ] {
        assert_eq!(owner.get(&format!("/aibridge/{path}")).await.1, names, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_sum_up_and_page() {
    let (_app, owner, _) = recorded().await;
    let (status, all) = owner.get("/aibridge/sessions").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(all["count"], 2);
    let (alone, work) = (&all["sessions"][0], &all["sessions"][1]);
    assert_eq!((&alone["id"], &alone["last_prompt"]), (&json!(FOURTH), &json!(null)));
    assert_eq!(work["id"], "work");
    assert_eq!(work["providers"], json!(["anthropic", "openai"]));
    assert_eq!(work["models"], json!(["claude-haiku-4-5", "claude-sonnet-4-5", "gpt-5"]));
    assert_eq!(work["client"], "Claude Code");
    assert_eq!(work["threads"], 2);
    assert_eq!(work["last_prompt"], "and that?");
    assert_eq!(work["started_at"], "2026-01-01T00:00:00Z");
    assert_eq!(work["ended_at"], "2026-01-01T00:01:05Z");
    assert_eq!(
        work["token_usage_summary"],
        json!({ "input_tokens": 30, "output_tokens": 60, "cache_read_input_tokens": 90, "cache_write_input_tokens": 120 })
    );
    let (_, next) = owner.get(&format!("/aibridge/sessions?after_session_id={FOURTH}")).await;
    assert_eq!((&next["count"], &next["sessions"][0]["id"]), (&json!(2), &json!("work")));
    let (_, none) = owner.get("/aibridge/sessions?after_session_id=work").await;
    assert_eq!(none, json!({ "count": 2, "count_cap": 2000, "sessions": [] }));
    let (_, narrowed) = owner.get("/aibridge/sessions?q=session_id:work+model:gpt-5").await;
    assert_eq!((&narrowed["count"], &narrowed["sessions"][0]["threads"]), (&json!(1), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_shows_its_threads_oldest_first() {
    let (_app, owner, _) = recorded().await;
    let (status, work) = owner.get("/ai-gateway/sessions/work").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(work["initiator"]["username"], "owner");
    assert_eq!(
        work["token_usage_summary"],
        json!({
            "input_tokens": 30, "output_tokens": 60, "cache_read_input_tokens": 90,
            "cache_write_input_tokens": 120, "metadata": { "searches": 6 },
        })
    );
    assert_eq!(work["page_started_at"], "2026-01-01T00:00:00Z");
    assert_eq!(work["page_ended_at"], "2026-01-01T00:01:05Z");
    let threads = work["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 2);
    assert_eq!(threads[0]["id"], FIRST);
    assert_eq!(threads[0]["prompt"], "what is <this>?");
    assert_eq!(threads[0]["model"], "claude-sonnet-4-5");
    assert_eq!(threads[0]["credential_hint"], "sk-c...6789");
    assert_eq!(threads[0]["ended_at"], "2026-01-01T00:00:15Z");
    assert_eq!(threads[0]["token_usage"]["input_tokens"], 20);
    assert_eq!(threads[0]["token_usage"]["metadata"], json!({ "searches": 4 }));
    let actions = threads[0]["agentic_actions"].as_array().unwrap();
    assert_eq!(actions.len(), 1);
    assert_eq!(actions[0]["tool_calls"][0]["tool"], "Read");
    assert_eq!(actions[0]["thinking"], json!([{ "text": "hmm" }]));
    assert_eq!(threads[0]["error_type"], json!(null));
    assert_eq!(threads[1]["error_type"], "overloaded");
    assert_eq!(threads[1]["error_message"], "busy");

    for (query, expected) in [
        ("limit=1".to_owned(), vec![FIRST]),
        (format!("after_id={FIRST}"), vec![THIRD]),
        (format!("before_id={THIRD}"), vec![FIRST]),
        (format!("after_id={THIRD}"), vec![]),
    ] {
        let (_, page) = owner.get(&format!("/aibridge/sessions/work?{query}")).await;
        let found: Vec<&str> = page["threads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|thread| thread["id"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{query}");
        assert_eq!(page["token_usage_summary"]["input_tokens"], 30, "{query}: of all threads");
        assert_eq!(page["page_started_at"].is_null(), expected.is_empty(), "{query}");
    }
}
