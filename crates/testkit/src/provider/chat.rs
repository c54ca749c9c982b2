//! OpenAI Chat Completions: `POST /v1/chat/completions`.

use bytes::Bytes;
use serde_json::{Value, json};

use super::identity::Ids;
use super::ledger::{ToolCall, Usage};
use super::refusal::Refusal;
use super::script::{Ask, Choice, Plan, Tool, pieces};
use super::server::Answer;
use super::stream::plain;
use super::tree::{set, take};

/// Reads a request.
pub(super) fn read(body: &Value, bytes: usize) -> Result<Ask, Refusal> {
    let Some(model) = body["model"].as_str().filter(|m| !m.is_empty()) else {
        return Err(Refusal::bad("you must provide a model parameter"));
    };
    let Some(messages) = body["messages"].as_array().filter(|m| !m.is_empty()) else {
        return Err(Refusal::bad(
            "Missing required parameter: 'messages', an array of at least one message.",
        ));
    };
    // Instructions may stand behind the user's message.
    let spoken = || {
        let is_ours = |m: &&Value| m["role"] == "system" || m["role"] == "developer";
        messages.iter().rev().skip_while(is_ours)
    };
    let mut results: Vec<String> = spoken()
        .take_while(|message| message["role"] == "tool")
        .map(|message| text(&message["content"]))
        .collect();
    results.reverse();
    let prompt = spoken()
        .next()
        .filter(|last| last["role"] == "user")
        .map(|last| text(&last["content"]))
        .unwrap_or_default();
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Ask {
        model: model.to_owned(),
        stream: body["stream"] == true,
        prompt,
        results,
        tools: tools.iter().filter_map(tool).collect(),
        choice: match &body["tool_choice"] {
            Value::String(word) if word == "none" => Choice::Forbidden,
            Value::String(word) if word == "required" => Choice::Any,
            Value::Object(named) => Choice::Named(
                ["function", "custom"]
                    .iter()
                    .find_map(|kind| named.get(*kind)?["name"].as_str())
                    .unwrap_or_default()
                    .to_owned(),
            ),
            _ => Choice::Auto,
        },
        reason: body["reasoning_effort"].as_str().is_some_and(|effort| effort != "none"),
        schema: body.pointer("/response_format/json_schema/schema").cloned(),
        bytes,
    })
}

fn tool(tool: &Value) -> Option<Tool> {
    let custom = tool["type"] == "custom";
    let inner = &tool[if custom { "custom" } else { "function" }];
    Some(Tool {
        name: inner["name"].as_str()?.to_owned(),
        schema: inner["parameters"].clone(),
        custom,
    })
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|p| p["text"].as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// Puts the plan into the API's words.
pub(super) fn write(ask: &Ask, plan: Plan, ids: &Ids, created: i64, with_usage: bool) -> Answer {
    let id = ids.completion();
    let usage = plan.usage;
    let mut calls = Vec::new();
    let mut calls_json = Vec::new();
    for call in plan.calls {
        let call_id = ids.call();
        calls_json.push(if call.custom {
            json!({"id": call_id, "type": "custom",
                "custom": {"name": call.name, "input": call.arguments}})
        } else {
            json!({"id": call_id, "type": "function",
                "function": {"name": call.name, "arguments": call.arguments.to_string()}})
        });
        calls.push(ToolCall { id: call_id, name: call.name, arguments: call.arguments });
    }
    let finish = match (plan.refused, calls.is_empty()) {
        (true, _) => "content_filter",
        (false, true) => "stop",
        (false, false) => "tool_calls",
    };
    let head = json!({
        "id": id, "created": created, "model": ask.model,
        "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
    });
    let frames = if ask.stream {
        let chunks = Chunks { head, usage: with_usage.then(|| usage_json(&usage)) };
        chunks.all(plan.text.as_deref(), &calls_json, finish)
    } else {
        let mut message = json!({
            "role": "assistant", "content": plan.text, "refusal": null, "annotations": [],
        });
        if !calls_json.is_empty() {
            set(&mut message, "tool_calls", Value::Array(calls_json));
        }
        let mut body = head;
        set(&mut body, "object", json!("chat.completion"));
        set(
            &mut body,
            "choices",
            json!([{
                "index": 0, "message": message, "logprobs": null, "finish_reason": finish,
            }]),
        );
        set(&mut body, "usage", usage_json(&usage));
        vec![Bytes::from(body.to_string())]
    };
    Answer {
        id,
        usage,
        calls,
        text: plan.text.unwrap_or_default(),
        thinking: String::new(),
        stream: ask.stream,
        frames,
    }
}

fn usage_json(usage: &Usage) -> Value {
    let prompt = usage.input + usage.cache_read + usage.cache_write;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

struct Chunks {
    head: Value,
    /// The counts, if the client asked for them.
    usage: Option<Value>,
}

impl Chunks {
    fn chunk(&self, choices: Value, usage: Value) -> Bytes {
        let mut chunk = self.head.clone();
        set(&mut chunk, "object", json!("chat.completion.chunk"));
        set(&mut chunk, "choices", choices);
        if self.usage.is_some() {
            set(&mut chunk, "usage", usage);
        }
        plain(&chunk)
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> Bytes {
        let choice =
            json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        self.chunk(choice, Value::Null)
    }

    fn all(&self, text: Option<&str>, calls: &[Value], finish: &str) -> Vec<Bytes> {
        let first = text.map(|_| "");
        let first = json!({"role": "assistant", "content": first, "refusal": null});
        let mut frames = vec![self.delta(&first, None)];
        for piece in text.into_iter().flat_map(pieces) {
            frames.push(self.delta(&json!({"content": piece}), None));
        }
        for (index, call) in calls.iter().enumerate() {
            let kind = call["type"].as_str().unwrap_or("function");
            let field = if kind == "custom" { "input" } else { "arguments" };
            let mut opening = call.clone();
            set(&mut opening, "index", json!(index));
            let arguments = take(&mut opening, &format!("/{kind}/{field}"), true);
            frames.push(self.delta(&json!({"tool_calls": [opening]}), None));
            for piece in pieces(arguments.as_str().unwrap_or_default()) {
                let piece = json!({"index": index, kind: {field: piece}});
                frames.push(self.delta(&json!({"tool_calls": [piece]}), None));
            }
        }
        frames.push(self.delta(&json!({}), Some(finish)));
        if let Some(usage) = &self.usage {
            frames.push(self.chunk(json!([]), usage.clone()));
        }
        frames.push(Bytes::from_static(b"data: [DONE]\n\n"));
        frames
    }
}
