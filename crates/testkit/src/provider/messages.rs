//! Anthropic Messages: `POST /v1/messages`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::identity::Ids;
use super::ledger::{ToolCall, Usage};
use super::refusal::Refusal;
use super::script::{Ask, Choice, Plan, Tool, pieces};
use super::server::Answer;
use super::stream::named;
use super::tree::{set, take};

/// Reads a request.
pub(super) fn read(body: &Value, bytes: usize) -> Result<Ask, Refusal> {
    let Some(model) = body["model"].as_str().filter(|m| !m.is_empty()) else {
        return Err(Refusal::bad("model: Field required"));
    };
    let Some(messages) = body["messages"].as_array() else {
        return Err(Refusal::bad("messages: Field required"));
    };
    // Claude Code puts a message of the role system behind the user's.
    let Some(last) = messages.iter().rev().find(|m| m["role"] != "system") else {
        return Err(Refusal::bad("messages: at least one message is required"));
    };
    let (mut prompt, mut results) = (Vec::new(), Vec::new());
    if last["role"] == "user" {
        match &last["content"] {
            Value::String(text) => prompt.push(text.as_str()),
            Value::Array(blocks) => {
                for block in blocks {
                    if block["type"] == "tool_result" {
                        results.push(result_text(&block["content"]));
                    } else if let Some(text) = block["text"].as_str()
                        && !text.starts_with("<system-reminder>")
                    {
                        prompt.push(text);
                    }
                }
            }
            _ => {
                return Err(Refusal::bad("messages: content must be a string or an array"));
            }
        }
    }
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Ask {
        model: model.to_owned(),
        stream: body["stream"] == true,
        prompt: prompt.join("\n"),
        results,
        tools: tools
            .iter()
            .filter_map(|tool| {
                Some(Tool {
                    name: tool["name"].as_str()?.to_owned(),
                    schema: tool["input_schema"].clone(),
                    custom: false,
                })
            })
            .collect(),
        choice: match body.pointer("/tool_choice/type").and_then(Value::as_str) {
            Some("none") => Choice::Forbidden,
            Some("any") => Choice::Any,
            Some("tool") => Choice::Named(
                body.pointer("/tool_choice/name")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            ),
            _ => Choice::Auto,
        },
        reason: matches!(
            body.pointer("/thinking/type").and_then(Value::as_str),
            Some("enabled" | "adaptive")
        ),
        schema: body
            .pointer("/output_config/format/schema")
            .or_else(|| body.pointer("/output_format/schema"))
            .cloned(),
        bytes,
    })
}

/// Checks what only `POST /v1/messages` demands, and not the counting of tokens.
pub(super) fn check_budget(body: &Value) -> Result<(), Refusal> {
    match body["max_tokens"].as_i64() {
        Some(1..) => Ok(()),
        Some(_) => Err(Refusal::bad("max_tokens: must be greater than or equal to 1")),
        None => Err(Refusal::bad("max_tokens: Field required")),
    }
}

fn result_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|b| b["text"].as_str()).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}

/// Puts the plan into the API's words.
pub(super) fn write(ask: &Ask, body: &Value, plan: Plan, ids: &Ids) -> Answer {
    let id = ids.anthropic("msg");
    let mut blocks = Vec::new();
    let mut thinking = plan.thinking;
    if body.pointer("/thinking/display") == Some(&json!("omitted")) {
        thinking = thinking.map(|_| String::new());
    }
    if let Some(thinking) = &thinking {
        let signature = ids.0.alphanumeric(64);
        blocks.push(json!({"type": "thinking", "thinking": thinking, "signature": signature}));
    }
    if let Some(text) = &plan.text {
        blocks.push(json!({"type": "text", "text": text}));
    }
    let mut calls = Vec::new();
    for call in plan.calls {
        let call_id = ids.anthropic("toolu");
        blocks.push(json!({
            "type": "tool_use", "id": call_id, "name": call.name, "input": call.arguments,
        }));
        calls.push(ToolCall { id: call_id, name: call.name, arguments: call.arguments });
    }
    let stop = match (plan.refused, calls.is_empty()) {
        (true, _) => "refusal",
        (false, true) => "end_turn",
        (false, false) => "tool_use",
    };
    let usage = plan.usage;
    let mut message = json!({
        "id": id, "type": "message", "role": "assistant", "model": ask.model,
        "content": blocks, "stop_reason": stop, "stop_sequence": null,
        "usage": usage_json(&usage, usage.output),
    });
    let frames = if ask.stream {
        frames(&mut message, &usage, stop)
    } else {
        vec![Bytes::from(message.to_string())]
    };
    Answer {
        id,
        usage,
        calls,
        text: plan.text.unwrap_or_default(),
        thinking: thinking.unwrap_or_default(),
        stream: ask.stream,
        frames,
    }
}

fn usage_json(usage: &Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning.min(output)},
        "service_tier": "standard",
    })
}

fn frames(message: &mut Value, usage: &Usage, stop: &str) -> Vec<Bytes> {
    let blocks = take(message, "/content", false);
    set(message, "content", json!([]));
    set(message, "stop_reason", Value::Null);
    set(message, "usage", usage_json(usage, 1));
    let mut frames = vec![named("message_start", &json!({"message": message}))];
    for (index, block) in blocks.as_array().into_iter().flatten().enumerate() {
        let empty = match block["type"].as_str() {
            Some("thinking") => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Some("text") => json!({"type": "text", "text": ""}),
            _ => json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
        };
        let start = json!({"index": index, "content_block": empty});
        frames.push(named("content_block_start", &start));
        if index == 0 {
            frames.push(named("ping", &json!({})));
        }
        for delta in deltas(block) {
            let delta = json!({"index": index, "delta": delta});
            frames.push(named("content_block_delta", &delta));
        }
        frames.push(named("content_block_stop", &json!({"index": index})));
    }
    let end = json!({
        "delta": {"stop_reason": stop, "stop_sequence": null},
        "usage": {
            "input_tokens": usage.input,
            "cache_creation_input_tokens": usage.cache_write,
            "cache_read_input_tokens": usage.cache_read,
            "output_tokens": usage.output,
            "output_tokens_details": {"thinking_tokens": usage.reasoning},
        },
    });
    frames.push(named("message_delta", &end));
    frames.push(named("message_stop", &json!({})));
    frames
}

fn deltas(block: &Value) -> Vec<Value> {
    if let Some(text) = block["text"].as_str() {
        return pieces(text).map(|piece| json!({"type": "text_delta", "text": piece})).collect();
    }
    if let Some(thinking) = block["thinking"].as_str() {
        let signature = json!({"type": "signature_delta", "signature": block["signature"]});
        return pieces(thinking)
            .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
            .chain([signature])
            .collect();
    }
    let input = block["input"].to_string();
    [""].into_iter()
        .chain(pieces(&input))
        .map(|piece| json!({"type": "input_json_delta", "partial_json": piece}))
        .collect()
}
