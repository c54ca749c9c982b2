use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::provider::{Ending, FakeProvider, Options, Served, Usage};

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }

    /// The payloads of the stream's frames, and the event names beside them.
    fn events(&self) -> Vec<(String, Value)> {
        let mut events = Vec::new();
        for frame in self.body.split("\n\n").filter(|frame| !frame.is_empty()) {
            let (mut name, mut data) = (String::new(), String::new());
            for line in frame.lines() {
                if let Some(rest) = line.strip_prefix("event: ") {
                    rest.clone_into(&mut name);
                } else if let Some(rest) = line.strip_prefix("data: ") {
                    rest.clone_into(&mut data);
                } else {
                    panic!("neither event nor data: {line}");
                }
            }
            let data = match data.as_str() {
                "[DONE]" => json!("[DONE]"),
                data => serde_json::from_str(data).unwrap(),
            };
            events.push((name, data));
        }
        events
    }
}

/// One request on a connection of its own. The chunked coding is taken off.
async fn send(
    provider: &FakeProvider,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Reply {
    let addr = provider.url().replace("http://", "");
    let mut text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.push_str(body);
    let raw = tokio::task::spawn_blocking(move || {
        let mut socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.write_all(text.as_bytes()).unwrap();
        let mut raw = String::new();
        socket.read_to_string(&mut raw).unwrap();
        raw
    })
    .await
    .unwrap();
    let (head, body) = raw.split_once("\r\n\r\n").unwrap();
    let head = head.to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let body =
        if head.contains("transfer-encoding: chunked") { unchunk(body) } else { body.to_owned() };
    Reply { status, head, body }
}

fn unchunk(mut rest: &str) -> String {
    let mut whole = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return whole;
        }
        whole.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
}

const ANTHROPIC: [(&str, &str); 2] = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
const OPENAI: [(&str, &str); 1] = [("authorization", "Bearer k")];

async fn only(provider: &FakeProvider) -> Served {
    let rows = provider
        .eventually(|rows| {
            rows.iter().all(|row| row.ending == Ending::Complete) && !rows.is_empty()
        })
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    rows.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_request_that_the_real_api_refuses_is_refused_in_its_shape() {
    let provider =
        FakeProvider::start(Options { keys: vec!["right".into()], ..Options::default() })
            .await
            .unwrap();
    let version = ("anthropic-version", "2023-06-01");
    let right = [("x-api-key", "right"), version];
    let bearer = [("authorization", "Bearer right")];
    let messages = "/v1/messages";
    let cases: &[(&str, &str, &[(&str, &str)], &str, u16, &str)] = &[
        ("POST", messages, &[version], "{}", 401, "authentication_error"),
        ("POST", messages, &[("x-api-key", "wrong"), version], "{}", 401, "authentication_error"),
        ("POST", messages, &[("x-api-key", "right")], "{}", 400, "invalid_request_error"),
        ("POST", messages, &right, "", 400, "invalid_request_error"),
        ("POST", messages, &right, "[1]", 400, "invalid_request_error"),
        ("POST", messages, &right, r#"{"model":"m"}"#, 400, "invalid_request_error"),
        ("POST", messages, &right, r#"{"model":"m","messages":[]}"#, 400, "invalid_request_error"),
        (
            "POST",
            messages,
            &right,
            r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#,
            400,
            "invalid_request_error",
        ),
        ("POST", "/v1/complete", &right, "{}", 404, "not_found_error"),
        ("POST", "/v1/chat/completions", &[], "{}", 401, "invalid_request_error"),
        (
            "POST",
            "/v1/chat/completions",
            &[("authorization", "Basic right")],
            "{}",
            401,
            "invalid_request_error",
        ),
        ("POST", "/v1/chat/completions", &bearer, "{}", 400, "invalid_request_error"),
        ("POST", "/v1/chat/completions", &bearer, "{\"model", 400, "invalid_request_error"),
        ("POST", "/v1/responses", &bearer, r#"{"model":"m"}"#, 400, "invalid_request_error"),
        ("GET", "/v1/responses", &bearer, "", 404, "invalid_request_error"),
    ];
    for (method, path, headers, body, status, kind) in cases {
        let reply = send(&provider, method, path, headers, body).await;
        assert_eq!(reply.status, *status, "{path} {body}");
        assert_eq!(reply.json().pointer("/error/type"), Some(&json!(kind)), "{path} {body}");
    }
    let statuses: Vec<u16> = provider.served().iter().map(|row| row.status).collect();
    let wanted: Vec<u16> = cases.iter().map(|case| case.4).collect();
    assert_eq!(statuses, wanted, "every refusal is kept as well");
}

#[tokio::test]
async fn listening_beyond_loopback_is_refused() {
    let options = Options { listen: "0.0.0.0:0".parse().unwrap(), ..Options::default() };
    let error = FakeProvider::start(options).await.unwrap_err();
    assert!(error.to_string().contains("not a loopback address"), "{error}");
}

#[tokio::test]
async fn messages_blocking_and_streaming_say_the_same() {
    let ask = json!({
        "model": "claude-sonnet-4-5", "max_tokens": 100, "thinking": {"type": "enabled"},
        "tools": [{"name": "get", "input_schema": {"type": "object"}}, {"name": "put", "input_schema": {}}],
        "messages": [{"role": "user", "content": "words:3 cache:7/9 use-tool:get {\"a\": 1} use-tool:put"}],
    });
    let provider = FakeProvider::start_default().await.unwrap();
    let whole = send(&provider, "POST", "/v1/messages", &ANTHROPIC, &ask.to_string()).await;
    let row = only(&provider).await;
    let body = whole.json();
    assert!(whole.head.contains("request-id: req_"), "{}", whole.head);
    assert!(whole.head.contains("content-length: "), "{}", whole.head);
    assert_eq!(body["id"], row.response_id);
    assert!(row.response_id.starts_with("msg_01"));
    assert_eq!(body["stop_reason"], "tool_use");
    assert_eq!(
        body.pointer("/content/3/input"),
        Some(&json!({})),
        "thinking, text and two calls: {body}"
    );
    assert_eq!(body.pointer("/usage/cache_read_input_tokens"), Some(&json!(7)));
    assert_eq!(body.pointer("/usage/cache_creation_input_tokens"), Some(&json!(9)));
    assert_eq!(row.usage.output, body.pointer("/usage/output_tokens").unwrap().as_u64().unwrap());

    provider.clear();
    let mut ask = ask;
    ask["stream"] = json!(true);
    let stream = send(&provider, "POST", "/v1/messages", &ANTHROPIC, &ask.to_string()).await;
    let row = only(&provider).await;
    assert!(stream.head.contains("text/event-stream"));
    let events = stream.events();
    assert_eq!(row.frames, events.len() as u64);
    let mut blocks: Vec<Value> = Vec::new();
    let mut partial = String::new();
    for (name, data) in &events {
        assert_eq!(data["type"], *name);
        match name.as_str() {
            "content_block_start" => blocks.push(data["content_block"].clone()),
            "content_block_delta" => {
                let block = blocks.last_mut().unwrap();
                assert_eq!(data["index"], row_index(&events, data));
                let delta = &data["delta"];
                for field in ["text", "thinking", "signature"] {
                    if let Some(more) = delta[field].as_str() {
                        block[field] = json!(format!("{}{more}", block[field].as_str().unwrap()));
                    }
                }
                partial.push_str(delta["partial_json"].as_str().unwrap_or_default());
            }
            "content_block_stop" if !partial.is_empty() => {
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&partial).unwrap();
                partial.clear();
            }
            _ => {}
        }
    }
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(names[names.len() - 2..], ["message_delta", "message_stop"]);
    assert_eq!(events[0].1.pointer("/message/id"), Some(&json!(row.response_id)));
    let last = &events[events.len() - 2].1;
    assert_eq!(last.pointer("/usage/output_tokens"), Some(&json!(row.usage.output)));
    assert_eq!(blocks.len(), 4);
    for (index, field) in [(0, "thinking"), (1, "text"), (2, "input"), (3, "input")] {
        assert_eq!(blocks[index][field], body["content"][index][field], "block {index}");
    }
    let calls: Vec<Value> =
        row.tool_calls.iter().map(|c| json!([c.id, c.name, c.arguments])).collect();
    for (call, block) in calls.iter().zip(&blocks[2..]) {
        assert_eq!(*call, json!([block["id"], block["name"], block["input"]]));
    }
}

/// The index that a delta must carry: the number of blocks opened before it, less one.
fn row_index(events: &[(String, Value)], delta: &Value) -> usize {
    let at = events.iter().position(|(_, data)| std::ptr::eq(data, delta)).unwrap();
    let opened = events[..at].iter().filter(|(name, _)| name == "content_block_start");
    opened.count() - 1
}

#[tokio::test]
async fn chat_tells_usage_in_a_stream_only_if_asked() {
    let provider = FakeProvider::start_default().await.unwrap();
    for (options, told) in [(json!(null), false), (json!({"include_usage": true}), true)] {
        provider.clear();
        let ask = json!({
            "model": "gpt-5.1", "stream": true, "stream_options": options, "reasoning_effort": "low",
            "tools": [{"type": "function", "function": {"name": "get", "parameters": {}}}],
            "messages": [{"role": "user", "content": "cache:7/9 use-tool:get {\"a\": [1, 2]} use-tool:get"}],
        });
        let reply =
            send(&provider, "POST", "/v1/chat/completions", &OPENAI, &ask.to_string()).await;
        let row = only(&provider).await;
        let events = reply.events();
        assert_eq!(events.last().unwrap().1, "[DONE]");
        let chunks: Vec<&Value> =
            events.iter().map(|(_, data)| data).take(events.len() - 1).collect();
        assert!(chunks.iter().all(|chunk| chunk["id"] == row.response_id.as_str()));
        let usages: Vec<&&Value> =
            chunks.iter().filter(|chunk| chunk["usage"].is_object()).collect();
        assert_eq!(usages.len(), usize::from(told));
        assert_eq!(chunks[0].get("usage").is_some(), told);
        if told {
            let usage = &usages[0]["usage"];
            assert_eq!(usages[0]["choices"], json!([]));
            assert_eq!(usage["prompt_tokens"], row.usage.input + 7 + 9);
            assert_eq!(usage.pointer("/prompt_tokens_details/cached_tokens"), Some(&json!(7)));
            let reasoning = usage.pointer("/completion_tokens_details/reasoning_tokens");
            assert_eq!(reasoning, Some(&json!(row.usage.reasoning)));
            assert!(row.usage.reasoning > 0);
        }
        let mut arguments = [String::new(), String::new()];
        for chunk in &chunks {
            if let Some(call) = chunk.pointer("/choices/0/delta/tool_calls/0") {
                let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                arguments[index]
                    .push_str(call.pointer("/function/arguments").unwrap().as_str().unwrap());
            }
        }
        assert_eq!(arguments, ["{\"a\":[1,2]}", "{}"]);
        assert_eq!(row.tool_calls.len(), 2);
        let finish = chunks.iter().filter_map(|c| c.pointer("/choices/0/finish_reason")?.as_str());
        assert_eq!(finish.collect::<Vec<_>>(), ["tool_calls"]);
    }
}

#[tokio::test]
async fn responses_number_their_events_and_end_with_the_whole() {
    let provider = FakeProvider::start_default().await.unwrap();
    let ask = json!({
        "model": "gpt-5.1", "stream": true, "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "tools": [{"type": "function", "name": "get", "parameters": {}}, {"type": "custom", "name": "patch"}],
        "input": [{"role": "user", "content": [
            {"type": "input_text", "text": "words:2 cache:5 use-tool:get {\"a\": 1} use-tool:patch"}]}],
    });
    let reply = send(&provider, "POST", "/v1/responses", &OPENAI, &ask.to_string()).await;
    let row = only(&provider).await;
    let events = reply.events();
    for (at, (name, data)) in events.iter().enumerate() {
        assert_eq!(data["sequence_number"], at);
        assert_eq!(data["type"], *name);
    }
    assert_eq!(events[0].0, "response.created");
    let (name, last) = events.last().unwrap();
    assert_eq!(name, "response.completed");
    let output = last.pointer("/response/output").unwrap().as_array().unwrap();
    let kinds: Vec<&str> = output.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "custom_tool_call"]);
    let done: Vec<&Value> = events
        .iter()
        .filter(|(name, _)| name == "response.output_item.done")
        .map(|(_, data)| &data["item"])
        .collect();
    assert_eq!(done, output.iter().collect::<Vec<_>>());
    assert!(output[0]["encrypted_content"].is_string());
    assert_eq!(row.thinking, output[0].pointer("/summary/0/text").unwrap().as_str().unwrap());
    let usage = last.pointer("/response/usage").unwrap();
    assert_eq!(usage["input_tokens"], row.usage.input + 5 + 32);
    assert_eq!(
        usage.pointer("/output_tokens_details/reasoning_tokens"),
        Some(&json!(row.usage.reasoning))
    );
    assert_eq!(row.tool_calls[1].arguments, json!("input"));
}

#[tokio::test]
async fn instructions_behind_the_last_message_do_not_hide_the_prompt() {
    let provider = FakeProvider::start_default().await.unwrap();
    let user = json!({"role": "user", "content": "words:2"});
    let ours = |role: &str| json!({"role": role, "content": "be kind"});
    let cases: [(&str, &[(&str, &str)], Value); 3] = [
        (
            "/v1/messages",
            &ANTHROPIC,
            json!({"model": "m", "max_tokens": 9, "messages": [
                {"role": "user", "content": [
                    {"type": "text", "text": "<system-reminder>words:9</system-reminder>"},
                    {"type": "text", "text": "words:2"}]},
                ours("system")]}),
        ),
        (
            "/v1/chat/completions",
            &OPENAI,
            json!({"model": "m", "messages": [user, ours("system"), ours("developer")]}),
        ),
        ("/v1/responses", &OPENAI, json!({"model": "m", "input": [user, ours("developer")]})),
    ];
    for (path, headers, ask) in cases {
        provider.clear();
        send(&provider, "POST", path, headers, &ask.to_string()).await;
        assert_eq!(only(&provider).await.text, "word1 word2", "{path}");
    }
}

#[tokio::test]
async fn a_result_of_a_tool_is_answered_in_text_by_each_api() {
    let provider = FakeProvider::start_default().await.unwrap();
    let cases: [(&str, &[(&str, &str)], Value); 3] = [
        (
            "/v1/messages",
            &ANTHROPIC,
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "cold"}]}]}]}),
        ),
        (
            "/v1/chat/completions",
            &OPENAI,
            json!({"model": "m", "messages": [{"role": "tool", "tool_call_id": "t", "content": "cold"}]}),
        ),
        (
            "/v1/responses",
            &OPENAI,
            json!({"model": "m", "input": [{"type": "function_call_output", "call_id": "t", "output": "cold"}]}),
        ),
    ];
    for (path, headers, ask) in cases {
        provider.clear();
        let reply = send(&provider, "POST", path, headers, &ask.to_string()).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        let row = only(&provider).await;
        assert_eq!(row.text, "The tool answered: cold", "{path}");
        assert_ne!(row.usage, Usage::default());
    }
}

#[tokio::test]
async fn headers_are_kept_as_they_came_and_the_list_is_served() {
    let provider = FakeProvider::start_default().await.unwrap();
    let mut headers = OPENAI.to_vec();
    headers.push(("X-Twice", "one"));
    headers.push(("X-Twice", "two"));
    let ask = json!({"model": "m", "input": "hello"}).to_string();
    send(&provider, "POST", "/v1/responses?beta=true", &headers, &ask).await;
    let row = only(&provider).await;
    assert_eq!(row.header("x-twice"), ["one", "two"]);
    assert_eq!(row.path, "/v1/responses?beta=true");
    assert_eq!(row.body["input"], "hello");
    let list = send(&provider, "GET", "/__served", &[], "").await.json();
    assert_eq!(list.pointer("/0/response_id"), Some(&json!(row.response_id)));
    assert_eq!(list.pointer("/0/ending"), Some(&json!("complete")));
    send(&provider, "POST", "/v1/responses", &OPENAI, &ask).await;
    let later = send(&provider, "GET", "/__served?after=1", &[], "").await.json();
    assert_eq!(later.pointer("/0/seq"), Some(&json!(2)));
    assert_eq!(later.as_array().map(Vec::len), Some(1));
    assert_eq!(send(&provider, "GET", "/__served?after=x", &[], "").await.status, 400);
    assert_eq!(send(&provider, "DELETE", "/__served", &[], "").await.status, 204);
    assert!(provider.served().is_empty());
    assert_eq!(send(&provider, "HEAD", "/", &[], "").await.status, 200);
}

#[tokio::test]
async fn a_client_that_goes_away_in_mid_stream_is_noticed() {
    let provider = FakeProvider::start(Options {
        frame_delay: Duration::from_millis(2),
        ..Options::default()
    })
    .await
    .unwrap();
    let ask = json!({"model": "m", "input": "words:100000", "stream": true}).to_string();
    let addr = provider.url().replace("http://", "");
    let mut socket = TcpStream::connect(&addr).unwrap();
    let head = format!(
        "POST /v1/responses HTTP/1.1\r\nhost: {addr}\r\nauthorization: Bearer k\r\ncontent-length: {}\r\n\r\n{ask}",
        ask.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    provider.eventually(|rows| rows.len() == 1).await.unwrap();
    drop(socket);
    let rows =
        provider.eventually(|rows| rows.iter().all(|r| r.ending == Ending::Cut)).await.unwrap();
    assert_eq!(rows.len(), 1);
    provider.stop().await;
}
