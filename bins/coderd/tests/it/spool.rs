//! What the gateway answered is recorded, whatever is killed.

use std::fs;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use testkit::provider::FakeProvider;
use tokio::time::Instant;

use crate::OWNER;
use crate::daemon::{Daemon, Home};

const LIMIT: Duration = Duration::from_mins(1);

/// A deployment with a provider, and a token of its first user.
async fn deployment(home: &Home, url: &str) -> (Daemon, String) {
    let coderd = Daemon::start(home, &settings(url)).await;
    assert_eq!(coderd.post("/api/v2/users/first", OWNER).await.0, StatusCode::CREATED);
    let (_, session) = coderd.post("/api/v2/users/login", OWNER).await;
    (coderd, session["session_token"].as_str().unwrap().to_owned())
}

fn settings(url: &str) -> [(&str, &str); 2] {
    [
        ("CODER_AI_GATEWAY_OPENAI_KEY", "sk-openai-0123456789"),
        ("CODER_AI_GATEWAY_OPENAI_BASE_URL", url),
    ]
}

/// Asks once. Whoever is not known any more while the database is away is told to come again, and does.
async fn ask(coderd: &Daemon, token: &str, words: usize) {
    let ask = json!({
        "model": "gpt-5.1", "stream": words.is_multiple_of(2),
        "messages": [{ "role": "user", "content": format!("words:{words}") }],
    });
    let deadline = Instant::now() + LIMIT;
    loop {
        let request = coderd.http.post(coderd.path("/api/v2/aibridge/openai/v1/chat/completions"));
        let answer = request.bearer_auth(token).json(&ask).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        if status == StatusCode::OK {
            return;
        }
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{text}");
        assert!(Instant::now() < deadline, "{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until everything that the provider served is recorded, and checks that it is so once.
async fn all_recorded(coderd: &Daemon, token: &str, provider: &FakeProvider) {
    let mut wanted: Vec<(String, u64)> =
        provider.served().into_iter().map(|row| (row.response_id, row.usage.output)).collect();
    wanted.sort();
    let deadline = Instant::now() + LIMIT;
    loop {
        let list = coderd
            .http
            .get(coderd.path("/api/v2/aibridge/interceptions?limit=1000"))
            .header("Coder-Session-Token", token)
            .send()
            .await
            .unwrap();
        let status = list.status();
        let list: Value = list.json().await.unwrap();
        if status == StatusCode::OK && list["count"] == wanted.len() {
            let mut seen = Vec::new();
            for row in list["results"].as_array().unwrap() {
                assert_eq!(row["error_type"], Value::Null, "{row}");
                for usage in row["token_usages"].as_array().unwrap() {
                    let id = usage["provider_response_id"].as_str().unwrap().to_owned();
                    seen.push((id, usage["output_tokens"].as_u64().unwrap()));
                }
            }
            seen.sort();
            assert_eq!(seen, wanted);
            return;
        }
        assert!(Instant::now() < deadline, "{} are not recorded: {list}", wanted.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_while_postgres_was_down_is_recorded_by_whoever_starts_next() {
    let home = Home::new();
    let provider = FakeProvider::start_default().await.unwrap();
    let url = provider.openai_url();
    let (mut coderd, token) = deployment(&home, &url).await;
    ask(&coderd, &token, 1).await;
    // Nothing can be stored from here on, and then nobody is left to store it.
    home.kill_postgres();
    for words in 2..12 {
        ask(&coderd, &token, words).await;
    }
    coderd.kill();
    let mut coderd = Daemon::start(&home, &settings(&url)).await;
    assert_eq!(provider.served().len(), 11);
    all_recorded(&coderd, &token, &provider).await;

    // Postgres goes away again and again under traffic.
    for round in 0..3 {
        coderd.ready().await;
        home.kill_postgres();
        for words in 20..30 {
            ask(&coderd, &token, round * 10 + words).await;
        }
    }
    all_recorded(&coderd, &token, &provider).await;
    assert!(coderd.interrupt().await);
    assert!(home.path(".local/state/coder/spool/coderd").is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_cannot_be_used_is_told_and_nothing_serves() {
    let home = Home::new();
    fs::write(home.path("file"), "").unwrap();
    let file = home.path("file");
    let file = file.to_str().unwrap();
    let (success, said) = Daemon::fail(&home, &[("CODER_AI_GATEWAY_SPOOL_DIR", file)]).await;
    assert!(!success);
    assert!(said.contains("CODER_AI_GATEWAY_SPOOL_DIR") && said.contains(file), "{said}");
    assert!(!home.postgres_runs(), "what was begun is down again");

    // Who has no gateway needs no spool.
    let settings = [("CODER_AI_GATEWAY_SPOOL_DIR", file), ("CODER_AI_GATEWAY_ENABLED", "false")];
    let mut coderd = Daemon::start(&home, &settings).await;
    assert!(coderd.log().contains("stay on disk"), "{}", coderd.log());
    assert!(coderd.interrupt().await);

    // One spool, one process.
    let mut first = Daemon::start(&home, &[]).await;
    let other = Home::new();
    let spool = home.path(".local/state/coder/spool/coderd");
    let taken = [("CODER_AI_GATEWAY_SPOOL_DIR", spool.to_str().unwrap())];
    let (success, said) = Daemon::fail(&other, &taken).await;
    assert!(!success && said.contains("in use by another process"), "{said}");
    assert!(first.interrupt().await);
}
