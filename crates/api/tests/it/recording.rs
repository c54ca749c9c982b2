//! From the gateway to the rows, whatever happens in between.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use testkit::Outage;
use testkit::provider::Options;
use tokio::time::Instant;

use crate::app::TestApp;
use crate::gateway::{recorded, with, with_provider};

async fn ask(app: &TestApp, token: &str, words: u32, stream: bool) -> Response {
    let body = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 1000, "stream": stream,
        "messages": [{ "role": "user", "content": format!("words:{words}") }],
    });
    let request = app.http.post(app.path("/api/v2/aibridge/anthropic/v1/messages"));
    request
        .bearer_auth(token)
        .header("anthropic-version", "2023-06-01")
        .json(&body)
        .send()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_survives_that_its_provider_is_disabled_and_the_next_request_does_not() {
    let options = Options { frame_delay: Duration::from_millis(30), ..Options::default() };
    let (app, owner, provider) = with(options).await;
    let token = owner.token("claude").await.token;
    let mut stream = ask(&app, &token, 60, true).await;
    assert_eq!(stream.status(), StatusCode::OK);
    let mut text = stream.chunk().await.unwrap().unwrap().to_vec();

    let (status, answer) =
        owner.patch("/ai/providers/anthropic", &json!({ "enabled": false })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let disabled = Instant::now();
    let refused = loop {
        let answer = ask(&app, &token, 1, false).await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        assert!(disabled.elapsed() < Duration::from_secs(1), "still served");
    };
    assert!(disabled.elapsed() < Duration::from_secs(1), "{:?}", disabled.elapsed());
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);

    while let Some(chunk) = stream.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("event: message_stop"), "{text}");
    let served = provider.served();
    let whole = served.iter().find(|exchange| exchange.usage.output >= 60).unwrap();
    let list = recorded(&owner, served.len()).await;
    let rows = list["results"].as_array().unwrap();
    let row = rows.iter().find(|row| row["user_prompts"][0]["prompt"] == "words:60").unwrap();
    assert_eq!(row["error_type"], Value::Null, "{row}");
    assert_eq!(row["token_usages"][0]["output_tokens"], json!(whole.usage.output));
}

/// Nobody who is known has to wait for a database, and nothing is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_while_the_database_is_away_and_recorded_when_it_is_back() {
    let (app, owner, provider) = with_provider().await;
    let token = owner.token("claude").await.token;
    assert_eq!(ask(&app, &token, 1, false).await.status(), StatusCode::OK);
    let outage = Outage::begin(&app.db).await.unwrap();
    for n in 0..10 {
        let answer = ask(&app, &token, 2 + n, n % 2 == 0).await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.bytes().await.unwrap().is_empty());
    }
    outage.end().await.unwrap();
    let list = recorded(&owner, 11).await;
    let mut seen: Vec<(String, i64)> = Vec::new();
    for row in list["results"].as_array().unwrap() {
        assert_eq!(row["error_type"], Value::Null, "{row}");
        let usage = row["token_usages"].as_array().unwrap();
        assert_eq!(usage.len(), 1, "{row}");
        let id = usage[0]["provider_response_id"].as_str().unwrap().to_owned();
        seen.push((id, usage[0]["output_tokens"].as_i64().unwrap()));
    }
    let mut wanted: Vec<(String, i64)> = provider
        .served()
        .into_iter()
        .map(|exchange| (exchange.response_id, i64::try_from(exchange.usage.output).unwrap()))
        .collect();
    seen.sort();
    wanted.sort();
    assert_eq!(seen, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_at_a_time_sweeps_what_has_been_open_for_a_day() {
    let (app, _) = TestApp::new().await;
    let insert = "INSERT INTO aibridge_interceptions (id, initiator_id, provider, model, started_at)
        SELECT gen_random_uuid(), gen_random_uuid(), 'openai', 'gpt', now() - make_interval(hours => h)
          FROM generate_series(20, 27) h";
    app.db.sql(insert).await.unwrap();
    let open = "SELECT count(*) FROM aibridge_interceptions WHERE ended_at IS NULL";
    let other = app.db.sql("BEGIN; SELECT pg_advisory_xact_lock(16); SELECT pg_sleep(0.5); COMMIT");
    let busy = async {
        let held =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 16 AND granted";
        while app.db.sql(held).await.unwrap()[0][0].as_deref() != Some("1") {}
        app.app.records.sweep().await.unwrap()
    };
    let (other, swept) = tokio::join!(other, busy);
    other.unwrap();
    assert_eq!(swept, 0, "another one does");
    assert_eq!(app.app.records.sweep().await.unwrap(), 4);
    assert_eq!(app.db.sql(open).await.unwrap()[0][0].as_deref(), Some("4"));
    assert_eq!(app.app.records.sweep().await.unwrap(), 0);
    let metrics = app.app.measured();
    assert!(metrics.contains("coderd_ai_gateway_interceptions_swept_total 4"), "{metrics}");
}
