use serde_json::json;
use stdx::ids::{FactId, InterceptionId, UserId};
use store::Pk;
use store::interceptions::{Interception, Prompt, Thought};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;

const START: OffsetDateTime = datetime!(2026-01-02 03:00:00 UTC);

fn at(second: u8) -> OffsetDateTime {
    START + time::Duration::seconds(i64::from(second))
}

/// An interception of one second with 10 and 1 tokens.
fn record(id: u8, root: Option<u8>, metadata: Value) -> Record {
    let uuid = Uuid::from_u128(u128::from(id));
    let interception_id = Pk(InterceptionId::new(uuid));
    let tokens = Tokens {
        id: Pk(FactId::new(uuid)),
        interception_id,
        provider_response_id: "msg".to_owned(),
        input_tokens: 10,
        output_tokens: 1,
        cache_read_input_tokens: 2,
        cache_write_input_tokens: 3,
        metadata,
        created_at: at(id),
    };
    Record {
        row: Interception {
            id: interception_id,
            initiator_id: Pk(UserId::nil()),
            api_key_id: None,
            provider: "anthropic".to_owned(),
            provider_name: "main".to_owned(),
            model: format!("model-{id}"),
            client: String::new(),
            started_at: at(id),
            ended_at: Some(at(id + 1)),
            metadata: json!({}),
            client_session_id: None,
            thread_parent_id: root.map(|root| Uuid::from_u128(u128::from(root))),
            thread_root_id: root.map(|root| Uuid::from_u128(u128::from(root))),
            session_id: "s".to_owned(),
            credential_kind: "centralized".to_owned(),
            credential_hint: "sk-...1".to_owned(),
            error_type: None,
            error_message: None,
        },
        initiator: sdk::MinimalUser {
            id: Uuid::nil(),
            username: String::new(),
            name: String::new(),
            avatar_url: String::new(),
        },
        tokens: vec![tokens],
        prompts: Vec::new(),
        tools: Vec::new(),
        thoughts: Vec::new(),
    }
}

fn prompt(record: &mut Record, text: &str) {
    record.prompts.push(Prompt {
        id: Pk(FactId::new(Uuid::nil())),
        interception_id: record.row.id,
        provider_response_id: String::new(),
        prompt: text.to_owned(),
        metadata: json!({}),
        created_at: START,
    });
}

fn tool(record: &mut Record, name: &str) {
    record.tools.push(Tool {
        id: Pk(FactId::new(Uuid::nil())),
        interception_id: record.row.id,
        provider_response_id: String::new(),
        provider_tool_call_id: "call".to_owned(),
        provider_item_id: None,
        server_url: None,
        tool: name.to_owned(),
        input: "{}".to_owned(),
        injected: false,
        invocation_error: None,
        metadata: json!(null),
        created_at: START,
    });
}

fn thought(record: &mut Record, text: &str) {
    record.thoughts.push(Thought {
        id: Pk(FactId::new(Uuid::nil())),
        interception_id: record.row.id,
        content: text.to_owned(),
        metadata: json!({}),
        created_at: START,
    });
}

#[test]
fn nothing_makes_no_thread() {
    assert!(threads(Vec::new()).is_empty());
    assert_eq!(span(&[]), (None, None));
}

#[test]
fn interceptions_join_the_thread_of_their_root() {
    let records = vec![
        record(1, None, json!({})),
        record(2, None, json!({})),
        record(3, Some(1), json!({})),
        record(4, Some(2), json!({})),
        record(5, Some(1), json!({})),
    ];
    assert_eq!(span(&records), (Some(at(1).into()), Some(at(6).into())));
    let found = threads(records);
    let ids: Vec<u128> = found.iter().map(|thread| thread.id.as_u128()).collect();
    assert_eq!(ids, [1, 2]);
    assert_eq!(found[0].started_at, at(1).into());
    assert_eq!(found[0].ended_at, Some(at(6).into()));
    assert_eq!(found[0].model, "model-1");
    assert_eq!(found[0].token_usage.input_tokens, 30);
    assert_eq!(found[1].token_usage.input_tokens, 20);
    assert_eq!(found[1].ended_at, Some(at(5).into()));
}

#[test]
fn a_thread_is_named_by_the_first_prompt_of_its_root() {
    let mut root = record(1, None, json!({}));
    let mut child = record(2, Some(1), json!({}));
    prompt(&mut root, "first");
    prompt(&mut root, "second");
    prompt(&mut child, "third");
    let found = threads(vec![root, child]);
    assert_eq!(found[0].prompt.as_deref(), Some("first"));
    assert_eq!(threads(vec![record(1, None, json!({}))])[0].prompt, None);
}

#[test]
fn actions_are_the_interceptions_in_which_the_model_did_something() {
    let mut root = record(1, None, json!({}));
    thought(&mut root, "hmm");
    tool(&mut root, "Read");
    tool(&mut root, "Write");
    let talk = record(2, Some(1), json!({}));
    let mut child = record(3, Some(1), json!({}));
    tool(&mut child, "Bash");
    let found = threads(vec![root, talk, child]);
    let actions: Vec<(&str, Vec<&str>, usize)> = found[0]
        .agentic_actions
        .iter()
        .map(|action| {
            let tools = action.tool_calls.iter().map(|call| call.tool.as_str()).collect();
            (action.model.as_str(), tools, action.thinking.len())
        })
        .collect();
    assert_eq!(actions, [("model-1", vec!["Read", "Write"], 1), ("model-3", vec!["Bash"], 0)]);
    assert_eq!(found[0].agentic_actions[0].tool_calls[0].metadata, json!({}));
    assert_eq!(found[0].agentic_actions[0].token_usage.output_tokens, 1);
    assert_eq!(found[0].token_usage.output_tokens, 3);
}

#[test]
fn the_last_failure_of_a_thread_is_shown() {
    let failed = |id: u8, root: Option<u8>, message: &str| {
        let mut record = record(id, root, json!({}));
        record.row.error_type = Some("overloaded".to_owned());
        record.row.error_message = Some(message.to_owned());
        record
    };
    let found = threads(vec![
        failed(1, None, "one"),
        failed(2, Some(1), "two"),
        record(3, Some(1), json!({})),
        record(4, None, json!({})),
    ]);
    assert_eq!(found[0].error_type.as_deref(), Some("overloaded"));
    assert_eq!(found[0].error_message.as_deref(), Some("two"));
    assert_eq!((&found[1].error_type, &found[1].error_message), (&None, &None));
}

#[test]
fn numeric_details_are_summed_and_others_left_out() {
    let found = threads(vec![
        record(1, None, json!({ "search": 1, "cost": 0.5, "tier": "x", "big": i64::MAX })),
        record(2, Some(1), json!({ "search": 2, "cost": 1, "big": 1 })),
        record(3, Some(1), json!(null)),
    ]);
    let details = found[0].token_usage.metadata.clone().unwrap();
    assert_eq!(details["search"], json!(3));
    assert_eq!(details["cost"], json!(1.5));
    assert!(details["big"].as_f64().is_some_and(|sum| sum >= 9.2e18), "{details}");
    assert_eq!(details.get("tier"), None);
    assert_eq!(threads(vec![record(1, None, json!({}))])[0].token_usage.metadata, None);
}
