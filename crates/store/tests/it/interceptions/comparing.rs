//! Whether facts are stored as they were recorded.

use rbac::system;
use serde_json::json;
use store::interceptions::{CompareFacts, Deviation, Deviations, End, Facts, Start, SweepOpen};
use store::{Call, Error, Full, Store as _};

use super::{end, fresh, ingest, prompt, sample_facts, start, thought, tokens, tool};
use crate::scene::{NOW, member};

async fn compare(store: &Full, facts: Facts) -> Deviations {
    store.run(Call::by(system::gateway()), CompareFacts(facts.into())).await.unwrap()
}

const fn missing(index: usize) -> Deviation {
    Deviation { index, missing: true }
}

const fn different(index: usize) -> Deviation {
    Deviation { index, missing: false }
}

/// Three interceptions with every column in use.
fn facts() -> Facts {
    let mut facts = Facts::default();
    for n in 1..=3 {
        let mut tool = tool(n, "call");
        tool.provider_item_id = Some("item".to_owned());
        tool.server_url = Some("https://mcp.example.com".to_owned());
        tool.invocation_error = Some("no route".to_owned());
        facts.tools.push(tool);
        let mut tokens = tokens(n, 10, 20);
        tokens.metadata = json!({"a": 1.0, "b": 1e3, "c": [null, "d"]});
        facts.tokens.push(tokens);
        facts.prompts.push(prompt(n, "who?"));
        facts.thoughts.push(thought(n));
        facts.starts.push(Start { client_session_id: Some("s".to_owned()), ..start(n, 1) });
        facts.ends.push(End {
            credential_hint: "sk-b...y".to_owned(),
            error_type: Some("timeout"),
            error_message: Some("late".to_owned()),
            ..end(n)
        });
    }
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_found_and_what_was_not_is_missed() {
    let (_db, store) = fresh().await;
    assert_eq!(compare(&store, Facts::default()).await, Deviations::default());
    let all = || vec![missing(0), missing(1), missing(2)];
    let nothing = Deviations {
        starts: all(),
        tokens: all(),
        prompts: all(),
        tools: all(),
        thoughts: all(),
        ends: all(),
    };
    assert_eq!(compare(&store, facts()).await, nothing);
    ingest(&store, facts()).await;
    assert_eq!(compare(&store, facts()).await, Deviations::default());
    // The hint of a start gives way to that of its end; an end without one leaves it.
    ingest(&store, sample_facts(7, 1)).await;
    assert_eq!(compare(&store, sample_facts(7, 1)).await, Deviations::default());
    // A fact belongs to its interception: under another one it is not stored.
    let mut moved = facts();
    moved.prompts[1].interception_id = moved.prompts[0].interception_id;
    let found = compare(&store, moved).await;
    assert_eq!(found, Deviations { prompts: vec![missing(1)], ..Deviations::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_never_came_is_missing_also_when_it_was_swept() {
    let (_db, store) = fresh().await;
    ingest(&store, Facts { starts: vec![start(1, 1), start(2, 1)], ..Facts::default() }).await;
    let ends = || Facts { ends: vec![end(1), end(2)], ..Facts::default() };
    let wanted = Deviations { ends: vec![missing(0), missing(1)], ..Deviations::default() };
    assert_eq!(compare(&store, ends()).await, wanted);
    let sweep = SweepOpen { started_before: NOW + std::time::Duration::from_secs(9), limit: 9 };
    assert_eq!(store.run(Call::by(system::gateway()), sweep).await.unwrap(), 2);
    assert_eq!(compare(&store, ends()).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_altered_column_is_found() {
    let (db, store) = fresh().await;
    ingest(&store, facts()).await;
    let cases = [
        ("aibridge_interceptions", "starts", "initiator_id = gen_random_uuid()"),
        ("aibridge_interceptions", "starts", "api_key_id = NULL"),
        ("aibridge_interceptions", "starts", "provider = 'x'"),
        ("aibridge_interceptions", "starts", "provider_name = 'x'"),
        ("aibridge_interceptions", "starts", "model = 'x'"),
        ("aibridge_interceptions", "starts", "client = 'x'"),
        ("aibridge_interceptions", "starts", "started_at = started_at + interval '1 microsecond'"),
        ("aibridge_interceptions", "starts", "metadata = '{\"x\": 1}'"),
        ("aibridge_interceptions", "starts", "client_session_id = NULL"),
        ("aibridge_interceptions", "starts", "credential_kind = 'byok'"),
        ("aibridge_interceptions", "ends", "ended_at = ended_at + interval '1 microsecond'"),
        ("aibridge_interceptions", "ends", "credential_hint = 'x'"),
        ("aibridge_interceptions", "ends", "error_type = NULL"),
        ("aibridge_interceptions", "ends", "error_message = 'x'"),
        ("aibridge_token_usages", "tokens", "provider_response_id = 'x'"),
        ("aibridge_token_usages", "tokens", "input_tokens = input_tokens + 1"),
        ("aibridge_token_usages", "tokens", "output_tokens = output_tokens + 1"),
        ("aibridge_token_usages", "tokens", "cache_read_input_tokens = 0"),
        ("aibridge_token_usages", "tokens", "cache_write_input_tokens = 0"),
        ("aibridge_token_usages", "tokens", "metadata = '{}'"),
        ("aibridge_token_usages", "tokens", "created_at = created_at + interval '1 microsecond'"),
        ("aibridge_user_prompts", "prompts", "prompt = 'who!'"),
        ("aibridge_user_prompts", "prompts", "provider_response_id = 'x'"),
        ("aibridge_user_prompts", "prompts", "metadata = '{\"x\": 1}'"),
        ("aibridge_tool_usages", "tools", "provider_response_id = 'x'"),
        ("aibridge_tool_usages", "tools", "provider_tool_call_id = 'x'"),
        ("aibridge_tool_usages", "tools", "provider_item_id = NULL"),
        ("aibridge_tool_usages", "tools", "server_url = NULL"),
        ("aibridge_tool_usages", "tools", "tool = 'x'"),
        ("aibridge_tool_usages", "tools", "input = 'x'"),
        ("aibridge_tool_usages", "tools", "injected = true"),
        ("aibridge_tool_usages", "tools", "invocation_error = NULL"),
        ("aibridge_model_thoughts", "thoughts", "content = 'x'"),
        (
            "aibridge_model_thoughts",
            "thoughts",
            "created_at = created_at - interval '1 microsecond'",
        ),
    ];
    for (table, kind, change) in cases {
        let second = format!("(SELECT id FROM {table} ORDER BY id OFFSET 1 LIMIT 1)");
        let save = format!("CREATE TABLE saved AS SELECT * FROM {table} WHERE id = {second}");
        db.sql(&save).await.unwrap();
        db.sql(&format!("UPDATE {table} SET {change} WHERE id = {second}")).await.unwrap();
        let found = compare(&store, facts()).await;
        let mut wanted = Deviations::default();
        let list = match kind {
            "starts" => &mut wanted.starts,
            "ends" => &mut wanted.ends,
            "tokens" => &mut wanted.tokens,
            "prompts" => &mut wanted.prompts,
            "tools" => &mut wanted.tools,
            _ => &mut wanted.thoughts,
        };
        list.push(different(1));
        assert_eq!(found, wanted, "{table}: {change}");
        let column = change.split(' ').next().unwrap();
        let restore = format!(
            "UPDATE {table} t SET {column} = s.{column} FROM saved s WHERE t.id = s.id; DROP TABLE saved"
        );
        db.sql(&restore).await.unwrap();
    }
    assert_eq!(compare(&store, facts()).await, Deviations::default());
    db.sql("DELETE FROM aibridge_model_thoughts").await.unwrap();
    let found = compare(&store, facts()).await;
    assert_eq!(found.thoughts, [missing(0), missing(1), missing(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_reads_interceptions_compares() {
    let (_db, store) = fresh().await;
    for by in [&member(1), system::dbpurge(), system::auditor()] {
        let refused = store.run(Call::by(by), CompareFacts(Facts::default().into())).await;
        assert!(matches!(refused, Err(Error::Denied(_))), "{refused:?}");
    }
}
