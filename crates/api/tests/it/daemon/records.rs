use std::collections::BTreeMap;
use std::time::Duration;

use aibridge::facts::{CredentialKind, End, ErrorType, Fact, Prompt, Start, Thought, Tokens, Tool};
use control::wire::{RECORDS_BYTES_MAX, RECORDS_MAX};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stdx::ids::{FactId, InterceptionId, UserId};
use testkit::Outage;
use time::macros::datetime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::{Daemon, daemon, read};
use crate::app::TestApp;
use crate::gateway_keys::create;

const MILLIS: u128 = 0x0190_0000_0000;

fn interception(n: u128) -> InterceptionId {
    InterceptionId::new(Uuid::from_u128((MILLIS + n) << 80 | 7 << 76 | 2 << 62 | n))
}

fn fact(n: u128, k: u128) -> FactId {
    FactId::new(Uuid::from_u128((MILLIS + n) << 80 | 7 << 76 | 2 << 62 | k << 32 | n))
}

/// All that is recorded of one exchange, in order.
fn exchange(n: u128) -> Vec<Fact> {
    let at = datetime!(2026-03-01 12:00 UTC) + Duration::from_secs(u64::try_from(n).unwrap());
    let id = interception(n);
    let metadata = BTreeMap::from([("note".to_owned(), json!("with \u{0} in it"))]);
    vec![
        Fact::Start(Start {
            id,
            initiator: UserId::new(Uuid::from_u128(7)),
            api_key_id: "abcdefghij".to_owned(),
            provider: "anthropic".to_owned(),
            provider_name: "main".to_owned(),
            model: "claude".to_owned(),
            client: "Claude Code".to_owned(),
            client_session_id: Some("session".to_owned()),
            correlating_tool_call_id: None,
            credential_kind: CredentialKind::Centralized,
            credential_hint: String::new(),
            started_at: at,
            metadata: metadata.clone(),
        }),
        Fact::Prompt(Prompt {
            id: fact(n, 1),
            interception: id,
            response_id: "msg".to_owned(),
            prompt: "who?\u{0}".to_owned(),
            created_at: at,
            metadata: metadata.clone(),
        }),
        Fact::Tokens(Tokens {
            id: fact(n, 2),
            interception: id,
            response_id: "msg".to_owned(),
            input: 1,
            output: 2,
            cache_read: 3,
            cache_write: 4,
            extra: BTreeMap::from([("reasoning".to_owned(), 5)]),
            created_at: at,
            metadata: metadata.clone(),
        }),
        Fact::Tool(Tool {
            id: fact(n, 3),
            interception: id,
            response_id: "msg".to_owned(),
            tool_call_id: format!("call_{n}"),
            item_id: None,
            tool: "Read".to_owned(),
            input: "{}".to_owned(),
            server_url: None,
            injected: false,
            invocation_error: None,
            created_at: at,
            metadata: metadata.clone(),
        }),
        Fact::Thought(Thought {
            id: fact(n, 4),
            interception: id,
            content: "hmm".to_owned(),
            created_at: at,
            metadata,
        }),
        Fact::End(End {
            id: fact(n, 5),
            interception: id,
            ended_at: at + Duration::from_secs(1),
            credential_hint: "sk-a...z".to_owned(),
            error_type: Some(ErrorType::Timeout),
            error_message: Some("late".to_owned()),
        }),
    ]
}

fn exchanges(range: std::ops::Range<u128>) -> Vec<Fact> {
    range.flat_map(exchange).collect()
}

fn ids(facts: &[Fact]) -> Value {
    let wire = serde_json::to_value(facts).unwrap();
    wire.as_array().unwrap().iter().map(|fact| fact["id"].clone()).collect()
}

async fn send(daemon: &Daemon, facts: &[Fact]) -> (StatusCode, Value) {
    post(daemon, "/records", &json!({ "batch_id": Uuid::nil(), "facts": facts })).await
}

async fn verify(daemon: &Daemon, facts: &[Fact]) -> Value {
    let (status, answer) = post(daemon, "/verify", &json!({ "facts": facts })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

async fn post(daemon: &Daemon, path: &str, body: &Value) -> (StatusCode, Value) {
    read(daemon.request(Method::POST, path).json(body).send().await.unwrap()).await
}

const COUNTS: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM aibridge_interceptions),
    (SELECT count(*) FROM aibridge_token_usages), (SELECT count(*) FROM aibridge_user_prompts),
    (SELECT count(*) FROM aibridge_tool_usages), (SELECT count(*) FROM aibridge_model_thoughts))";

async fn value(app: &TestApp, statement: &str) -> String {
    app.db.sql(statement).await.unwrap()[0][0].clone().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_batch_is_refused_with_the_place_and_without_its_content() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let good = || serde_json::to_value(exchange(1)).unwrap();
    let changed = |index: usize, field: &str, value: Value| {
        let mut facts = good();
        facts[index][field] = value;
        json!({ "batch_id": Uuid::nil(), "facts": facts })
    };
    let mut without = good();
    without[1].as_object_mut().unwrap().remove("prompt");
    let many: Vec<Value> = (0..=RECORDS_MAX).map(|_| good()[5].clone()).collect();
    let cases = [
        (json!({ "batch_id": "sk-secret", "facts": [] }), "batch_id"),
        (json!({ "batch_id": Uuid::nil() }), "missing field `facts`"),
        (json!({ "batch_id": Uuid::nil(), "facts": "sk-secret" }), "facts"),
        (json!({ "batch_id": Uuid::nil(), "facts": without }), "facts[1]: missing field `prompt`"),
        (changed(5, "ended_at", json!("sk-secret")), "facts[5]"),
        (changed(2, "input", json!("sk-secret")), "facts[2]"),
        (changed(0, "kind", json!("begin")), "facts[0].kind: unknown variant"),
        (changed(3, "id", json!("sk-secret")), "facts[3]"),
        (json!({ "batch_id": Uuid::nil(), "facts": many }), "must be <= 5000 facts, are 5001"),
    ];
    for (body, wanted) in cases {
        let (status, answer) = post(&daemon, "/records", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let text = answer.to_string();
        assert!(text.contains(wanted), "{wanted}: {text}");
        assert!(!text.contains("sk-secret"), "{text}");
    }
    let (status, answer) = post(&daemon, "/verify", &json!({ "facts": [{ "kind": "end" }] })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer.to_string().contains("facts[0]"), "{answer}");
    for path in ["/records", "/verify"] {
        let answer = daemon.request(Method::POST, path).body("").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let answer = daemon.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        let stranger = Daemon::new(&app, "cgw_nonsense");
        assert_eq!(post(&stranger, path, &json!({})).await.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(value(&app, COUNTS).await, "0 0 0 0 0");
    assert_eq!(
        send(&daemon, &[]).await,
        (StatusCode::OK, json!({ "accepted": [], "refused": [] }))
    );
}

/// The answer comes before any of the body.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_announces_too_much_is_not_read() {
    let (app, owner) = TestApp::new().await;
    let (_, key) = create(&owner, "daemon").await;
    let head = |length: usize| {
        format!(
            "POST {}/records HTTP/1.1\r\nHost: coderd\r\nAuthorization: Bearer {key}\r\nContent-Length: {length}\r\n\r\n",
            control::PREFIX
        )
    };
    let address = app.url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head(RECORDS_BYTES_MAX + 1).as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(String::from_utf8(answer).unwrap(), "HTTP/1.1 413");

    // One that takes all the room and sends nothing keeps others waiting, and they are told.
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(head(RECORDS_BYTES_MAX).as_bytes()).await.unwrap();
    silent.flush().await.unwrap();
    let daemon = Daemon::new(&app, &key);
    let refused = loop {
        let request = daemon.request(Method::POST, "/records");
        let body = json!({ "batch_id": Uuid::nil(), "facts": exchange(1) });
        let answer = request.json(&body).send().await.unwrap();
        // The silent one may not have been read yet.
        if answer.status() != StatusCode::OK {
            break answer;
        }
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    drop(silent);
    super::eventually("room is free again", async || {
        send(&daemon, &exchange(1)).await.0 == StatusCode::OK
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_stored_once_however_often_they_come() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let facts = exchanges(0..50);
    let wanted = (StatusCode::OK, json!({ "accepted": ids(&facts), "refused": [] }));
    let outcomes =
        tokio::join!(send(&daemon, &facts), send(&daemon, &facts), send(&daemon, &facts));
    assert_eq!([&outcomes.0, &outcomes.1, &outcomes.2], [&wanted; 3]);
    assert_eq!(send(&daemon, &facts).await, wanted);
    assert_eq!(value(&app, COUNTS).await, "50 50 50 50 50");
    let ends = "SELECT count(*) FROM aibridge_interceptions
        WHERE ended_at - started_at = '1s' AND error_type = 'timeout' AND credential_hint = 'sk-a...z'";
    assert_eq!(value(&app, ends).await, "50");
    let details = "SELECT string_agg(DISTINCT metadata::text, '') FROM aibridge_token_usages";
    let wanted = "{\"note\": \"with \u{FFFD} in it\", \"reasoning\": 5}";
    assert_eq!(value(&app, details).await, wanted);
    let metrics = app.app.measured();
    assert!(metrics.contains("coderd_ai_gateway_facts_stored_total 1200"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_that_can_never_be_stored_takes_no_other_with_it() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let mut facts = exchanges(0..20);
    // Longer than the column.
    let Fact::End(end) = &mut facts[5] else { unreachable!() };
    end.credential_hint = "h".repeat(16);
    // Against a rule of the table.
    let Fact::End(end) = &mut facts[59] else { unreachable!() };
    end.error_message = Some("m".repeat(1025));
    // Longer than its index takes, of noise that does not shrink.
    let noise: Vec<String> =
        (0..400_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string()).collect();
    let Fact::Tool(tool) = &mut facts[63] else { unreachable!() };
    tool.tool_call_id = noise.concat();
    // An end, and nobody began.
    facts.insert(70, exchange(99)[5].clone());
    let (status, answer) = send(&daemon, &facts).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let refused = answer["refused"].as_array().unwrap();
    let places: Vec<u64> = refused.iter().map(|fact| fact["index"].as_u64().unwrap()).collect();
    assert_eq!(places, [5, 59, 63, 70], "{answer}");
    for fact in refused {
        let reason = fact["reason"].as_str().unwrap();
        assert!(
            !reason.is_empty() && !reason.contains("hhh") && !reason.contains("mmm"),
            "{reason}"
        );
    }
    assert_eq!(refused[3]["reason"], "the start of its interception was never stored");
    assert_eq!(answer["accepted"].as_array().unwrap().len(), facts.len() - 4);
    assert_eq!(value(&app, COUNTS).await, "20 20 20 19 20");
    let open = "SELECT count(*) FROM aibridge_interceptions WHERE ended_at IS NULL";
    assert_eq!(value(&app, open).await, "2");
    // The same again is answered the same.
    assert_eq!(send(&daemon, &facts).await, (StatusCode::OK, answer));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_nothing_is_taken_and_a_time_is_named() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let facts = exchanges(0..5);
    assert_eq!(send(&daemon, &facts[..6]).await.0, StatusCode::OK);
    let outage = Outage::begin(&app.db).await.unwrap();
    for path in ["/records", "/verify"] {
        let body = json!({ "batch_id": Uuid::nil(), "facts": facts });
        let answer = daemon.request(Method::POST, path).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"));
    }
    outage.end().await.unwrap();
    super::eventually("the batch is taken", async || {
        send(&daemon, &facts).await.0 == StatusCode::OK
    })
    .await;
    assert_eq!(value(&app, COUNTS).await, "5 5 5 5 5");
}

const TABLES: [&str; 5] = [
    "aibridge_interceptions",
    "aibridge_token_usages",
    "aibridge_user_prompts",
    "aibridge_tool_usages",
    "aibridge_model_thoughts",
];

/// What may happen to a table and can be repaired, each with the repair.
const DAMAGES: [(&str, &str); 7] = [
    ("ALTER TABLE $t RENAME COLUMN metadata TO details", "ALTER TABLE $t RENAME COLUMN details TO metadata"),
    ("ALTER TABLE $t RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO $t"),
    // What no partition takes breaks a check, in the eyes of the server.
    ("ALTER TABLE $t DETACH PARTITION $t_other", "ALTER TABLE $t ATTACH PARTITION $t_other DEFAULT"),
    (
        "ALTER TABLE $t ADD CONSTRAINT rule_of_the_house CHECK (metadata ? 'cost center') NOT VALID",
        "ALTER TABLE $t DROP CONSTRAINT rule_of_the_house",
    ),
    (
        "CREATE TRIGGER damage BEFORE INSERT ON $t
            EXECUTE FUNCTION damage('53100', 'could not extend file: No space left on device')",
        "DROP TRIGGER damage ON $t",
    ),
    (
        "CREATE TRIGGER damage BEFORE INSERT ON $t
            EXECUTE FUNCTION damage('XX002', 'index \"i\" contains unexpected zero page at block 7')",
        "DROP TRIGGER damage ON $t",
    ),
    // Even where it is said of a value, in a language that nobody here understands.
    (
        "CREATE TRIGGER damage BEFORE INSERT ON $t
            EXECUTE FUNCTION damage('22001', 'Wert zu lang für Typ character varying(64)')",
        "DROP TRIGGER damage ON $t",
    ),
];

/// Whatever it is that a server has against a fact, if it is not known to be the fact's fault the fact waits.
#[tokio::test(flavor = "multi_thread")]
async fn facts_are_not_blamed_for_a_table_that_is_damaged() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let damage = "CREATE FUNCTION damage() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION USING ERRCODE = TG_ARGV[0], MESSAGE = TG_ARGV[1]; END $$";
    app.db.sql(damage).await.unwrap();
    let mut n = 0;
    for table in TABLES {
        for (damage, repair) in DAMAGES {
            let facts = exchanges(n..n + 2);
            n += 2;
            app.db.sql(&damage.replace("$t", table)).await.unwrap();
            let (status, answer) = send(&daemon, &facts).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{table} {damage}: {answer}");
            app.db.sql(&repair.replace("$t", table)).await.unwrap();
            let wanted = json!({ "accepted": ids(&facts), "refused": [] });
            assert_eq!(send(&daemon, &facts).await, (StatusCode::OK, wanted), "{table} {damage}");
        }
    }
    assert_eq!(value(&app, COUNTS).await, [n.to_string().as_str(); 5].join(" "));
    let metrics = app.app.measured();
    assert!(metrics.contains("coderd_ai_gateway_facts_refused_total 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_tells_what_is_missing_and_what_was_altered() {
    let (app, owner) = TestApp::new().await;
    let daemon = daemon(&app, &owner).await;
    let facts = exchanges(0..3);
    let all: Vec<usize> = (0..18).collect();
    assert_eq!(verify(&daemon, &facts).await, json!({ "missing": all, "different": [] }));
    assert_eq!(send(&daemon, &facts).await.0, StatusCode::OK);
    let fine = json!({ "missing": [], "different": [] });
    assert_eq!(verify(&daemon, &facts).await, fine);
    assert_eq!(verify(&daemon, &[]).await, fine);
    let alter = "
        UPDATE aibridge_token_usages SET output_tokens = output_tokens + 1 WHERE interception_id = $i1;
        DELETE FROM aibridge_user_prompts WHERE interception_id = $i2;
        UPDATE aibridge_interceptions SET model = 'cheaper' WHERE id = $i2;
        UPDATE aibridge_interceptions SET ended_at = NULL WHERE id = $i0;
        UPDATE aibridge_model_thoughts SET content = 'nice' WHERE interception_id = $i0";
    let alter = (0..3).fold(alter.to_owned(), |sql, n| {
        sql.replace(&format!("$i{n}"), &format!("'{}'", interception(n)))
    });
    app.db.sql(&alter).await.unwrap();
    let found = verify(&daemon, &facts).await;
    // Of each exchange: start, prompt, tokens, tool, thought, end.
    assert_eq!(found, json!({ "missing": [5, 13], "different": [4, 8, 12] }));
    // It changed nothing.
    assert_eq!(verify(&daemon, &facts).await, found);
    // What is stored again is whole again, except for what was altered.
    assert_eq!(send(&daemon, &facts).await.0, StatusCode::OK);
    assert_eq!(verify(&daemon, &facts).await, json!({ "missing": [], "different": [4, 8, 12] }));
}
