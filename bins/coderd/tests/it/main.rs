//! The daemon as a process, with the PostgreSQL server that it runs itself.
#![cfg(test)]

mod audit_log;
mod daemon;
mod dbcrypt;
mod spool;

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::TestDb;
use testkit::provider::FakeProvider;

use crate::daemon::{Daemon, Home};

const OWNER: &str =
    r#"{"email":"owner@example.com","username":"owner","password":"SomeSecurePassword!"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_back_by_itself_after_any_kill_with_all_data() {
    let home = Home::new();
    let mut coderd = Daemon::start(&home, &[]).await;
    assert_eq!(coderd.post("/api/v2/users/first", OWNER).await.0, StatusCode::CREATED);

    // PostgreSQL dies: its supervisor starts it again, the address stays.
    home.kill_postgres();
    coderd.signs_in(OWNER).await;

    // The daemon dies and leaves PostgreSQL behind.
    coderd.kill();
    let mut coderd = Daemon::start(&home, &[]).await;
    assert_eq!(coderd.post("/api/v2/users/login", OWNER).await.0, StatusCode::CREATED);

    // Both die.
    coderd.kill();
    home.kill_postgres();
    let mut coderd = Daemon::start(&home, &[]).await;
    assert_eq!(coderd.post("/api/v2/users/login", OWNER).await.0, StatusCode::CREATED);

    assert!(coderd.interrupt().await, "a signal ends it in good order");
    assert!(!home.postgres_runs(), "nothing is left running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_amid_its_migrations_goes_on_with_them_at_the_next_start() {
    const DONE: &str = "SELECT count(*) FROM __diesel_schema_migrations";
    let mut killed_amid = false;
    for _ in 0..10 {
        let (home, db) = (Home::new(), TestDb::empty().await);
        let settings = [("CODER_PG_CONNECTION_URL", db.url().expose().as_str())];
        let done = async || {
            let rows = db.sql(DONE).await.unwrap_or_default();
            rows.first().and_then(|row| row[0].clone()?.parse::<u32>().ok()).unwrap_or_default()
        };
        let mut program = Daemon::begin(&home, &settings);
        program.until("some migrations are done", async || done().await > 2).await;
        program.kill();
        let before = done().await;
        let mut coderd = Daemon::start(&home, &settings).await;
        let all = done().await;
        assert!(before <= all);
        killed_amid |= before < all;
        assert_eq!(coderd.post("/api/v2/users/first", OWNER).await.0, StatusCode::CREATED);
        assert!(coderd.interrupt().await);
        if killed_amid {
            break;
        }
    }
    assert!(killed_amid, "no kill came in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_on_one_data_directory_the_second_says_so_and_exits() {
    let home = Home::new();
    let mut first = Daemon::start(&home, &[]).await;
    let (success, said) = Daemon::fail(&home, &[]).await;
    assert!(!success);
    assert!(said.contains("is in use by process"), "{said}");
    assert!(said.contains("CODER_PG_DATA_DIR"), "the way out is named: {said}");
    first.ready().await;
    assert!(first.interrupt().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_from_the_environment_are_sealed_at_the_first_start_and_serve() {
    let home = Home::new();
    let provider = FakeProvider::start_default().await.unwrap();
    let (canary, url) = ("sk-ant-canary-0123456789", provider.url());
    let settings = [
        ("CODER_AI_GATEWAY_ANTHROPIC_KEY", canary),
        ("CODER_AI_GATEWAY_ANTHROPIC_BASE_URL", url.as_str()),
        ("CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("CODER_VERBOSE", "true"),
        ("CODER_PROMETHEUS_ENABLE", "true"),
        ("CODER_PROMETHEUS_ADDRESS", home.prometheus()),
    ];
    let mut coderd = Daemon::start(&home, &settings).await;
    coderd.post("/api/v2/users/first", OWNER).await;
    let (_, session) = coderd.post("/api/v2/users/login", OWNER).await;
    let token = session["session_token"].as_str().unwrap().to_owned();

    let ask = json!({
        "model": "claude-sonnet-5", "max_tokens": 20,
        "messages": [{ "role": "user", "content": "hello" }],
    });
    let answer = coderd
        .http
        .post(coderd.path("/api/v2/ai-gateway/anthropic/v1/messages"))
        .header("x-api-key", &token)
        .header("anthropic-version", "2023-06-01")
        .json(&ask)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.bytes().await.unwrap();
    let served = provider.served();
    assert_eq!(served[0].header("x-api-key"), [canary], "upstream gets the key itself");

    let list = coderd
        .http
        .get(coderd.path("/api/v2/ai/providers"))
        .header("Coder-Session-Token", &token)
        .send()
        .await
        .unwrap();
    let list = list.text().await.unwrap();
    let metrics = coderd.http.get(format!("http://{}/", home.prometheus())).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for metric in [
        "coder_ai_gateway_interceptions_total",
        "coderd_api_requests_processed_total",
        "coderd_db_query_latencies_seconds",
    ] {
        assert!(metrics.contains(metric), "{metric} is missing");
    }
    assert!(coderd.interrupt().await);
    let (log, key_id) = (coderd.log(), token.split('-').next().unwrap());
    let line = log.lines().find(|line| line.contains("path=/api/v2/ai-gateway/")).unwrap();
    assert!(line.contains(&format!("api_key_id={key_id}")), "{line}");
    for (place, text) in [("list", list), ("metrics", metrics), ("log", coderd.log())] {
        assert!(!text.contains(canary), "the key shows in the {place}");
        assert!(!text.contains(&token), "the token shows in the {place}");
    }
    assert!(!home.contains(canary.as_bytes()), "the key lies in the clear on the disk");

    // Without the keys the database is refused; with them it opens again.
    let (success, said) = Daemon::fail(&home, &[]).await;
    assert!(!success && said.contains("CODER_EXTERNAL_TOKEN_ENCRYPTION_KEYS"), "{said}");
    let mut coderd = Daemon::start(&home, &settings).await;
    let (_, ready) = coderd.get("/readyz").await;
    assert_eq!(ready["checks"][1]["detail"], "1 enabled, 0 disabled, 0 misconfigured");
    assert!(coderd.interrupt().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_option_is_told_with_its_source_and_nothing_starts() {
    let home = Home::new();
    let (success, said) = Daemon::fail(&home, &[("CODER_SESSION_DURATION", "soon")]).await;
    assert!(!success);
    assert!(said.contains("CODER_SESSION_DURATION = \"soon\""), "{said}");
    let (success, said) = Daemon::fail(&home, &[("CODER_TLS_ENABLE", "true")]).await;
    assert!(!success);
    assert!(said.contains("set CODER_TLS_CERT_FILE and CODER_TLS_KEY_FILE"), "{said}");
    assert!(!home.postgres_runs());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_is_finished_before_the_process_ends() {
    let home = Home::new();
    let options = testkit::provider::Options {
        frame_delay: std::time::Duration::from_millis(40),
        ..testkit::provider::Options::default()
    };
    let provider = FakeProvider::start(options).await.unwrap();
    let url = provider.openai_url();
    let settings = [
        ("CODER_AI_GATEWAY_OPENAI_KEY", "sk-openai-0123456789"),
        ("CODER_AI_GATEWAY_OPENAI_BASE_URL", url.as_str()),
    ];
    let mut coderd = Daemon::start(&home, &settings).await;
    coderd.post("/api/v2/users/first", OWNER).await;
    let (_, session) = coderd.post("/api/v2/users/login", OWNER).await;
    let token = session["session_token"].as_str().unwrap().to_owned();
    let ask = json!({
        "model": "gpt-5.1", "stream": true,
        "messages": [{ "role": "user", "content": "words:30" }],
    });
    let request = coderd.http.post(coderd.path("/api/v2/aibridge/openai/v1/chat/completions"));
    let mut answer = request.bearer_auth(&token).json(&ask).send().await.unwrap();
    let mut text = answer.chunk().await.unwrap().unwrap().to_vec();
    // Now the first frame is here and most are still to come.
    coderd.signal();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    assert!(String::from_utf8(text).unwrap().ends_with("data: [DONE]\n\n"));
    assert!(coderd.ended().await);

    let mut coderd = Daemon::start(&home, &settings).await;
    let list = coderd
        .http
        .get(coderd.path("/api/v2/aibridge/interceptions"))
        .header("Coder-Session-Token", &token)
        .send()
        .await
        .unwrap();
    let list: Value = list.json().await.unwrap();
    let row = &list["results"][0];
    assert_eq!(row["error_type"], Value::Null, "{row}");
    assert_eq!(row["user_prompts"][0]["prompt"], "words:30");
    assert!(row["token_usages"][0]["output_tokens"].as_i64().unwrap() > 0);
    assert!(coderd.interrupt().await);
}
