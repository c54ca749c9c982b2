use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::provider::{FakeProvider, Options};

use crate::app::{Session, TestApp};

pub(crate) async fn with_provider() -> (TestApp, Session, FakeProvider) {
    with(Options::default()).await
}

/// With a provider that behaves so.
pub(crate) async fn with(options: Options) -> (TestApp, Session, FakeProvider) {
    let (app, owner) = TestApp::new().await;
    let provider = FakeProvider::start(options).await.unwrap();
    for (kind, url) in [("anthropic", provider.url()), ("openai", provider.openai_url())] {
        let body = json!({ "type": kind, "name": kind, "base_url": url, "api_keys": ["sk-central-0123456789"] });
        let (status, answer) = owner.post("/ai/providers", &body).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
    serving(&app, &["anthropic", "openai"]).await;
    (app, owner, provider)
}

/// Waits until the gateway serves these providers: a change reaches it by notice.
async fn serving(app: &TestApp, names: &[&str]) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let statuses = app.app.gateway.statuses();
        let ready = names.iter().all(|name| {
            statuses.iter().any(|status| status.name == *name && status.state.as_str() == "enabled")
        });
        if ready {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the gateway serves {statuses:?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until so many interceptions are listed: they arrive from the ledger, moments after the answer.
pub(crate) async fn recorded(session: &Session, count: usize) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let (status, list) = session.get("/aibridge/interceptions").await;
        assert_eq!(status, StatusCode::OK, "{list}");
        if list["count"] == count {
            return list;
        }
        assert!(tokio::time::Instant::now() < deadline, "not {count}: {list}");
        tokio::task::yield_now().await;
    }
}

fn ask(stream: bool) -> Value {
    json!({
        "model": "claude-sonnet-4-5", "max_tokens": 64, "stream": stream,
        "messages": [{ "role": "user", "content": "What is two plus two?" }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_relayed_recorded_and_listed() {
    let (app, owner, provider) = with_provider().await;
    let token = owner.token("claude").await;
    for (prefix, stream) in [("/api/v2/aibridge", false), ("/api/v2/ai-gateway", true)] {
        let response = app
            .http
            .post(app.path(&format!("{prefix}/anthropic/v1/messages")))
            .header("x-api-key", &token.token)
            .header("user-agent", "claude-cli/2.0")
            .header("anthropic-version", "2023-06-01")
            .json(&ask(stream))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.headers().contains_key("x-coder-interception-id"));
        assert!(!response.text().await.unwrap().is_empty());
    }
    let served = provider.served();
    assert_eq!(served.len(), 2);
    for exchange in &served {
        assert!(!format!("{exchange:?}").contains(&token.token), "our token never goes upstream");
    }

    let list = recorded(&owner, 2).await;
    for (row, exchange) in list["results"].as_array().unwrap().iter().zip(served.iter().rev()) {
        assert_eq!(row["client"], "Claude Code");
        assert_eq!(row["provider"], "anthropic");
        assert_eq!(row["model"], "claude-sonnet-4-5");
        assert_eq!(row["initiator"]["username"], "owner");
        assert_eq!(row["user_prompts"][0]["prompt"], "What is two plus two?");
        let tokens = &row["token_usages"][0];
        assert_eq!(tokens["input_tokens"], json!(exchange.usage.input));
        assert_eq!(tokens["output_tokens"], json!(exchange.usage.output));
        assert_eq!(tokens["provider_response_id"], json!(exchange.response_id));
        assert_eq!(row["credential_kind"], "centralized");
        assert_eq!(row["credential_hint"], "sk-c...6789");
        assert_eq!(row["error_type"], Value::Null);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_token_must_be_good_and_wide_enough() {
    let (app, owner, provider) = with_provider().await;
    let call = async |token: &str| {
        let response = app
            .http
            .post(app.path("/api/v2/aibridge/anthropic/v1/messages"))
            .bearer_auth(token)
            .header("anthropic-version", "2023-06-01")
            .json(&ask(false))
            .send()
            .await
            .unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let (_, narrow) =
        owner.post("/users/me/keys/tokens", &json!({ "scopes": ["workspace:read"] })).await;
    for bad in ["nonsense", "abcdefghij-abcdefghijabcdefghijab", narrow["key"].as_str().unwrap()] {
        let (status, answer) = call(bad).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{answer}");
        assert_eq!(answer["type"], "error", "in the client's own dialect: {answer}");
    }
    let good = owner.token("good").await;
    assert_eq!(call(&good.token).await.0, StatusCode::OK);
    app.db.sql("UPDATE api_keys SET expires_at = now() WHERE token_name = 'good'").await.unwrap();
    app.db.sql("NOTIFY credentials_changed").await.unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while call(&good.token).await.0 != StatusCode::FORBIDDEN {
        assert!(tokio::time::Instant::now() < deadline, "an expired token is refused");
    }
    assert!(provider.served().iter().all(|exchange| exchange.status == 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_providers_every_path_is_unknown_and_nothing_breaks() {
    let (app, owner) = TestApp::new().await;
    let token = owner.token("t").await;
    let response = app
        .http
        .post(app.path("/api/v2/aibridge/anthropic/v1/messages"))
        .bearer_auth(&token.token)
        .header("anthropic-version", "2023-06-01")
        .json(&ask(false))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let text = response.text().await.unwrap();
    assert!(text.contains("route not supported: POST /anthropic/v1/messages"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_provider_is_503_and_comes_back() {
    let (app, owner, _provider) = with_provider().await;
    let token = owner.token("t").await;
    let call = async || {
        let response = app
            .http
            .post(app.path("/api/v2/aibridge/anthropic/v1/messages"))
            .bearer_auth(&token.token)
            .header("anthropic-version", "2023-06-01")
            .json(&ask(false))
            .send()
            .await
            .unwrap();
        (response.status(), response.text().await.unwrap())
    };
    for (enabled, status) in [(false, StatusCode::SERVICE_UNAVAILABLE), (true, StatusCode::OK)] {
        let (patched, answer) =
            owner.patch("/ai/providers/anthropic", &json!({ "enabled": enabled })).await;
        assert_eq!(patched, StatusCode::OK, "{answer}");
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let (seen, text) = call().await;
            if seen == status {
                if !enabled {
                    assert_eq!(text, "provider_disabled: AI provider \"anthropic\" is disabled");
                }
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{seen} {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_have_their_prompts_recorded_and_only_auditors_and_owners_read_them() {
    let (app, owner, _provider) = with_provider().await;
    let member = app.user("mia", &[]).await;
    let auditor = app.user("audrey", &["auditor"]).await;
    let response = app
        .http
        .post(app.path("/api/v2/aibridge/openai/v1/chat/completions"))
        .bearer_auth(&member.token)
        .json(&json!({ "model": "gpt-5", "messages": [{ "role": "user", "content": "hi" }] }))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap();
    recorded(&owner, 1).await;
    for (session, count) in [(&owner, 1), (&auditor, 1), (&member, 0)] {
        assert_eq!(session.get("/aibridge/interceptions").await.1["count"], count);
        assert_eq!(session.get("/ai-gateway/sessions").await.1["count"], count);
    }
    assert_eq!(app.anonymous().get("/aibridge/interceptions").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_be_opened_disables_its_own_provider_only() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into();
    let app = TestApp::with_keys(crypt::Keyring::from_base64(&[key]).unwrap()).await;
    let owner = app.first_user().await;
    for name in ["broken", "sound"] {
        let body = json!({ "type": "openai", "name": name, "base_url": "http://127.0.0.1:1/v1", "api_keys": ["sk-0123456789"] });
        assert_eq!(owner.post("/ai/providers", &body).await.0, StatusCode::CREATED);
    }
    serving(&app, &["broken", "sound"]).await;
    app.db
        .sql(
            "UPDATE ai_provider_keys SET api_key = 'v1:' || repeat('A', 80)
              WHERE provider_id = (SELECT id FROM ai_providers WHERE name = 'broken');
             NOTIFY ai_providers_changed",
        )
        .await
        .unwrap();
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    let state = |name: &str| {
        let statuses = app.app.gateway.statuses();
        statuses.into_iter().find(|status| status.name == name).map(|status| status.state)
    };
    while state("broken").is_none_or(|state| state.as_str() != "error") {
        assert!(tokio::time::Instant::now() < deadline, "the broken row is told");
        tokio::task::yield_now().await;
    }
    assert_eq!(state("sound").map(|state| state.as_str()), Some("enabled"));
}

/// One request with a token, answered by the provider or refused.
async fn call(app: &TestApp, token: &str) -> StatusCode {
    let response = app
        .http
        .post(app.path("/api/v2/ai-gateway/anthropic/v1/messages"))
        .bearer_auth(token)
        .header("anthropic-version", "2023-06-01")
        .json(&ask(false))
        .send()
        .await
        .unwrap();
    let status = response.status();
    response.bytes().await.unwrap();
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_user_and_a_deleted_token_are_refused_within_a_second() {
    let (app, owner, _provider) = with_provider().await;
    app.app.pubsub.connected().await;
    let suspended = app.user("mia", &[]).await.token("t").await.token;
    let deleted = owner.token("t").await.token;
    for (token, who) in [(&suspended, "mia"), (&deleted, "owner")] {
        assert_eq!(call(&app, token).await, StatusCode::OK, "{who}");
    }
    let (status, _) = owner.put("/users/mia/status/suspend", &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    let id = deleted.split_once('-').unwrap().0;
    let (status, _) = owner.delete(&format!("/users/me/keys/{id}")).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let changed = tokio::time::Instant::now();
    for (token, who) in [(&suspended, "mia"), (&deleted, "owner")] {
        while call(&app, token).await != StatusCode::FORBIDDEN {
            assert!(changed.elapsed() < std::time::Duration::from_secs(1), "{who}");
        }
    }
    let (status, _) = owner.put("/users/mia/status/activate", &Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(call(&app, &suspended).await, StatusCode::OK, "a refusal is not remembered");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_before_a_notice_is_not_remembered_after_it() {
    let (app, owner, _provider) = with_provider().await;
    app.app.pubsub.connected().await;
    let token = owner.token("raced").await.token;
    let id = token.split_once('-').unwrap().0;
    // A use that has to be noted reads the key first and then waits for the row.
    app.db
        .sql(
            "UPDATE api_keys SET last_used = now() - interval '2 hours' WHERE token_name = 'raced'",
        )
        .await
        .unwrap();
    let deletion = format!("DELETE FROM api_keys WHERE id = '{id}'; SELECT pg_sleep(1.5)");
    let is_waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let telling = async {
        let begun = tokio::time::Instant::now();
        while app.db.sql(is_waiting).await.unwrap().is_empty() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(10), "nobody waits");
        }
        app.db.sql(&format!("NOTIFY credentials_changed, '{id}'")).await.unwrap();
    };
    let reading = async {
        let is_deleting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        while app.db.sql(is_deleting).await.unwrap().is_empty() {}
        call(&app, &token).await
    };
    let (deleted, (), read) = tokio::join!(app.db.sql(&deletion), telling, reading);
    deleted.unwrap();
    assert_eq!(read, StatusCode::OK, "it was read while it was there");
    assert_eq!(call(&app, &token).await, StatusCode::FORBIDDEN);
}
