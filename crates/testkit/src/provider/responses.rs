//! OpenAI Responses: `POST /v1/responses`.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::identity::Ids;
use super::ledger::{ToolCall, Usage};
use super::refusal::Refusal;
use super::script::{Ask, Choice, Plan, Tool, pieces};
use super::server::Answer;
use super::stream::named;
use super::tree::set;

/// Reads a request.
pub(super) fn read(body: &Value, bytes: usize) -> Result<Ask, Refusal> {
    let Some(model) = body["model"].as_str().filter(|m| !m.is_empty()) else {
        return Err(Refusal::bad("Missing required parameter: 'model'."));
    };
    let mut results = Vec::new();
    let prompt = match &body["input"] {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let is_result = |item: &&Value| {
                matches!(
                    item["type"].as_str(),
                    Some("function_call_output" | "custom_tool_call_output")
                )
            };
            // Instructions may stand behind the user's message.
            let spoken = || {
                let is_ours = |i: &&Value| i["role"] == "system" || i["role"] == "developer";
                items.iter().rev().skip_while(is_ours)
            };
            results = spoken().take_while(is_result).map(|i| text(&i["output"])).collect();
            results.reverse();
            spoken()
                .next()
                .filter(|item| item["role"] == "user")
                .map(|item| text(&item["content"]))
                .unwrap_or_default()
        }
        _ => return Err(Refusal::bad("Missing required parameter: 'input'.")),
    };
    let tools = body["tools"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Ask {
        model: model.to_owned(),
        stream: body["stream"] == true,
        prompt,
        results,
        tools: tools
            .iter()
            .filter(|tool| tool["type"] == "function" || tool["type"] == "custom")
            .filter_map(|tool| {
                Some(Tool {
                    name: tool["name"].as_str()?.to_owned(),
                    schema: tool["parameters"].clone(),
                    custom: tool["type"] == "custom",
                })
            })
            .collect(),
        choice: match &body["tool_choice"] {
            Value::String(word) if word == "none" => Choice::Forbidden,
            Value::String(word) if word == "required" => Choice::Any,
            Value::Object(named) => {
                Choice::Named(named.get("name").and_then(Value::as_str).unwrap_or_default().into())
            }
            _ => Choice::Auto,
        },
        reason: body["reasoning"].is_object()
            && body.pointer("/reasoning/effort") != Some(&json!("none")),
        schema: body.pointer("/text/format/schema").cloned(),
        bytes,
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
pub(super) fn write(ask: &Ask, body: &Value, plan: Plan, ids: &Ids, created: i64) -> Answer {
    let id = ids.response("resp");
    let usage = plan.usage;
    // Thoughts are shown as a summary, and only to those who ask for one.
    let shown = plan
        .thinking
        .clone()
        .filter(|_| body.pointer("/reasoning/summary").is_some_and(|s| !s.is_null()));
    let mut items = Vec::new();
    if plan.thinking.is_some() {
        items.push(reasoning_item(shown.as_deref(), body, ids));
    }
    if let Some(text) = &plan.text {
        let part = if plan.refused {
            json!({"type": "refusal", "refusal": text})
        } else {
            json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
        };
        items.push(json!({
            "id": ids.response("msg"), "type": "message", "status": "completed",
            "role": "assistant", "content": [part],
        }));
    }
    let mut calls = Vec::new();
    for call in plan.calls {
        let call_id = ids.call();
        items.push(if call.custom {
            json!({"id": ids.response("ctc"), "type": "custom_tool_call", "status": "completed",
                "call_id": call_id, "name": call.name, "input": call.arguments})
        } else {
            json!({"id": ids.response("fc"), "type": "function_call", "status": "completed",
                "call_id": call_id, "name": call.name, "arguments": call.arguments.to_string()})
        });
        calls.push(ToolCall { id: call_id, name: call.name, arguments: call.arguments });
    }
    let response = response_json(&id, &ask.model, created, body);
    let frames = if ask.stream {
        Events::default().all(response, items, &usage)
    } else {
        vec![Bytes::from(completed(response, items, &usage).to_string())]
    };
    Answer {
        id,
        usage,
        calls,
        text: plan.text.unwrap_or_default(),
        thinking: shown.unwrap_or_default(),
        stream: ask.stream,
        frames,
    }
}

/// A stream that says that the request failed.
pub(super) fn failed(
    ask: &Ask,
    body: &Value,
    refusal: &Refusal,
    ids: &Ids,
    created: i64,
) -> Answer {
    let id = ids.response("resp");
    let mut response = response_json(&id, &ask.model, created, body);
    let mut events = Events::default();
    events.push("created", json!({"response": response}));
    set(&mut response, "status", json!("failed"));
    set(&mut response, "error", json!({"code": refusal.code(), "message": refusal.message}));
    events.push("failed", json!({"response": response}));
    Answer {
        id,
        usage: Usage::default(),
        calls: Vec::new(),
        text: String::new(),
        thinking: String::new(),
        stream: true,
        frames: events.frames,
    }
}

fn reasoning_item(shown: Option<&str>, body: &Value, ids: &Ids) -> Value {
    let summary: Vec<Value> =
        shown.into_iter().map(|text| json!({"type": "summary_text", "text": text})).collect();
    let mut item = json!({"id": ids.response("rs"), "type": "reasoning", "summary": summary});
    let include = body["include"].as_array().map_or(&[][..], Vec::as_slice);
    if include.iter().any(|wanted| wanted == "reasoning.encrypted_content") {
        set(&mut item, "encrypted_content", json!(ids.0.alphanumeric(128)));
    }
    item
}

fn response_json(id: &str, model: &str, created: i64, body: &Value) -> Value {
    let or = |field: &str, default: Value| body.get(field).cloned().unwrap_or(default);
    json!({
        "id": id, "object": "response", "created_at": created, "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null, "model": model,
        "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "metadata": or("metadata", json!({})),
        "output": [],
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": or("previous_response_id", Value::Null),
        "reasoning": or("reasoning", json!({"effort": null, "summary": null})),
        "service_tier": "default",
        "store": or("store", json!(true)),
        "temperature": or("temperature", json!(1.0)),
        "text": or("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_p": or("top_p", json!(1.0)),
        "truncation": or("truncation", json!("disabled")),
        "usage": null, "user": null,
    })
}

fn completed(mut response: Value, items: Vec<Value>, usage: &Usage) -> Value {
    let input = usage.input + usage.cache_read + usage.cache_write;
    set(&mut response, "status", json!("completed"));
    set(&mut response, "output", Value::Array(items));
    set(
        &mut response,
        "usage",
        json!({
            "input_tokens": input,
            "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": input + usage.output,
        }),
    );
    response
}

/// The events of a stream, numbered as they are made.
#[derive(Default)]
struct Events {
    frames: Vec<Bytes>,
    /// The fields that say which item and which part of it an event is about.
    place: Map<String, Value>,
}

impl Events {
    fn push(&mut self, event: &str, payload: Value) {
        let mut fields = self.place.clone();
        if let Value::Object(payload) = payload {
            fields.extend(payload);
        }
        fields.insert("sequence_number".to_owned(), json!(self.frames.len()));
        self.frames.push(named(&format!("response.{event}"), &Value::Object(fields)));
    }

    fn all(mut self, response: Value, items: Vec<Value>, usage: &Usage) -> Vec<Bytes> {
        self.push("created", json!({"response": response}));
        self.push("in_progress", json!({"response": response}));
        for (index, item) in items.iter().enumerate() {
            self.item(index, item);
        }
        let response = completed(response, items, usage);
        self.push("completed", json!({"response": response}));
        self.frames
    }

    fn item(&mut self, index: usize, item: &Value) {
        let mut opening = item.clone();
        for (field, empty) in [
            ("status", json!("in_progress")),
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
            ("input", json!("")),
        ] {
            if let Some(value) = opening.get_mut(field) {
                *value = empty;
            }
        }
        self.place = Map::from_iter([("output_index".to_owned(), json!(index))]);
        self.push("output_item.added", json!({"item": opening}));
        self.place.insert("item_id".to_owned(), item["id"].clone());
        match item["type"].as_str() {
            Some("message") => self.message(item),
            Some("reasoning") => self.summary(item),
            Some("custom_tool_call") => {
                self.text("custom_tool_call_input", "input", &item["input"]);
            }
            _ => {
                self.place.insert("name".to_owned(), item["name"].clone());
                self.text("function_call_arguments", "arguments", &item["arguments"]);
                self.place.remove("name");
            }
        }
        self.place.remove("item_id");
        self.push("output_item.done", json!({"item": item}));
        self.place.clear();
    }

    fn message(&mut self, item: &Value) {
        for (index, part) in item["content"].as_array().into_iter().flatten().enumerate() {
            self.place.insert("content_index".to_owned(), json!(index));
            let mut empty = part.clone();
            let field = if part["type"] == "refusal" { "refusal" } else { "text" };
            set(&mut empty, field, "");
            self.push("content_part.added", json!({"part": empty}));
            if field == "refusal" {
                self.text("refusal", field, &part[field]);
            } else {
                self.place.insert("logprobs".to_owned(), json!([]));
                self.text("output_text", field, &part[field]);
                self.place.remove("logprobs");
            }
            self.push("content_part.done", json!({"part": part}));
            self.place.remove("content_index");
        }
    }

    fn summary(&mut self, item: &Value) {
        for (index, part) in item["summary"].as_array().into_iter().flatten().enumerate() {
            self.place.insert("summary_index".to_owned(), json!(index));
            let empty = json!({"type": "summary_text", "text": ""});
            self.push("reasoning_summary_part.added", json!({"part": empty}));
            self.text("reasoning_summary_text", "text", &part["text"]);
            self.push("reasoning_summary_part.done", json!({"part": part}));
            self.place.remove("summary_index");
        }
    }

    /// The deltas of a text and the event that repeats it whole.
    fn text(&mut self, event: &str, field: &str, whole: &Value) {
        for piece in pieces(whole.as_str().unwrap_or_default()) {
            self.push(&format!("{event}.delta"), json!({"delta": piece}));
        }
        self.push(&format!("{event}.done"), json!({field: whole}));
    }
}
