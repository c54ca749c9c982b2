//! Facts as rows, made to fit what PostgreSQL can hold. Storing and verifying go through the same translation.

use std::collections::BTreeMap;

use aibridge::facts::{ErrorType, Fact, Metadata, Tokens};
use serde_json::{Value, json};
use store::Pk;
use store::interceptions::{self as rows, Facts};

/// Facts sorted by kind, the order within a kind kept.
pub(super) fn of(facts: &[Fact]) -> Facts {
    let mut out = Facts::default();
    for fact in facts {
        add(&mut out, fact);
    }
    out
}

fn add(out: &mut Facts, fact: &Fact) {
    match fact {
        Fact::Start(f) => out.starts.push(rows::Start {
            id: f.id,
            initiator_id: f.initiator,
            api_key_id: storable(&f.api_key_id),
            provider: storable(&f.provider),
            provider_name: storable(&f.provider_name),
            model: storable(&f.model),
            client: storable(&f.client),
            started_at: f.started_at,
            metadata: storable_map(&f.metadata),
            client_session_id: f.client_session_id.as_deref().map(storable),
            correlating_tool_call_id: f.correlating_tool_call_id.as_deref().map(storable),
            credential_kind: f.credential_kind.as_str(),
            credential_hint: storable(&f.credential_hint),
        }),
        Fact::End(f) => out.ends.push(rows::End {
            id: f.interception,
            ended_at: f.ended_at,
            credential_hint: storable(&f.credential_hint),
            error_type: f.error_type.map(ErrorType::as_str),
            error_message: f.error_message.as_deref().map(storable),
        }),
        Fact::Prompt(f) => out.prompts.push(rows::Prompt {
            id: Pk(f.id),
            interception_id: Pk(f.interception),
            provider_response_id: storable(&f.response_id),
            prompt: storable(&f.prompt),
            metadata: storable_map(&f.metadata),
            created_at: f.created_at,
        }),
        Fact::Tokens(f) => out.tokens.push(rows::Tokens {
            id: Pk(f.id),
            interception_id: Pk(f.interception),
            provider_response_id: storable(&f.response_id),
            input_tokens: f.input,
            output_tokens: f.output,
            cache_read_input_tokens: f.cache_read,
            cache_write_input_tokens: f.cache_write,
            metadata: merged(f),
            created_at: f.created_at,
        }),
        Fact::Tool(f) => out.tools.push(rows::Tool {
            id: Pk(f.id),
            interception_id: Pk(f.interception),
            provider_response_id: storable(&f.response_id),
            provider_tool_call_id: storable(&f.tool_call_id),
            provider_item_id: f.item_id.as_deref().map(storable),
            server_url: f.server_url.as_deref().map(storable),
            tool: storable(&f.tool),
            input: storable(&f.input),
            injected: f.injected,
            invocation_error: f.invocation_error.as_deref().map(storable),
            metadata: storable_map(&f.metadata),
            created_at: f.created_at,
        }),
        Fact::Thought(f) => out.thoughts.push(rows::Thought {
            id: Pk(f.id),
            interception_id: Pk(f.interception),
            content: storable(&f.content),
            metadata: storable_map(&f.metadata),
            created_at: f.created_at,
        }),
    }
}

/// Extra counts share one map with the details, as clients know it; a count wins over a detail.
fn merged(fact: &Tokens) -> Value {
    if fact.extra.is_empty() {
        return storable_map(&fact.metadata);
    }
    let mut all: BTreeMap<String, Value> = fact.metadata.clone();
    all.extend(fact.extra.iter().map(|(name, count)| (name.clone(), json!(count))));
    storable_map(&all)
}

/// PostgreSQL cannot hold U+0000 in text.
fn storable(text: &str) -> String {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}") } else { text.to_owned() }
}

fn storable_map(map: &Metadata) -> Value {
    let fields = map.iter().map(|(name, value)| (storable(name), storable_json(value)));
    Value::Object(fields.collect())
}

/// The same for every text inside.
fn storable_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(storable(text)),
        Value::Array(items) => Value::Array(items.iter().map(storable_json).collect()),
        Value::Object(fields) => Value::Object(
            fields.iter().map(|(name, value)| (storable(name), storable_json(value))).collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_database_cannot_hold_is_replaced_everywhere() {
        let value = json!({ "a\u{0}": ["b\u{0}", { "c": "d\u{0}" }], "n": 1 });
        assert_eq!(
            storable_json(&value),
            json!({ "a\u{FFFD}": ["b\u{FFFD}", { "c": "d\u{FFFD}" }], "n": 1 })
        );
    }
}
