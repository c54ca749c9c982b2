//! Each API, blocking and streaming: the client gets the provider's bytes, the book gets the facts.

use aibridge::ProviderKind::{self, Anthropic, OpenAi};

use crate::upstream::{Reply, Upstream, send};
use crate::world::{World, post, row};

pub(crate) const MESSAGE: &str = concat!(
    r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":["#,
    r#"{"type":"thinking","thinking":"let me see","signature":"s"},"#,
    r#"{"type":"text","text":"Hello"},"#,
    r#"{"type":"tool_use","id":"toolu_1","name":"bash","input":{"cmd":"ls"}}],"stop_reason":"tool_use","#,
    r#""usage":{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":3,"output_tokens":7}}"#
);

pub(crate) const MESSAGE_STREAM: &[&str] = &[
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-x\",\"content\":[],\"usage\":{\"input_tokens\":10,\"cache_creation_input_tokens\":2,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
];

pub(crate) const CHAT_STREAM: &[&str] = &[
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hel\"}}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"model\":\"gpt-x\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":4,\"total_tokens\":16,\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n",
    "data: [DONE]\n\n",
];

pub(crate) const CHAT: &str = concat!(
    r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-x","choices":[{"index":0,"message":"#,
    r#"{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"#,
    r#""completion_tokens":4,"total_tokens":16,"prompt_tokens_details":{"cached_tokens":5}}}"#
);

pub(crate) const RESPONSE: &str = concat!(
    r#"{"id":"resp_1","object":"response","status":"completed","model":"gpt-x","output":[{"type":"message","#,
    r#""id":"m_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello"}]}],"#,
    r#""usage":{"input_tokens":12,"input_tokens_details":{"cached_tokens":5},"output_tokens":4,"#,
    r#""output_tokens_details":{"reasoning_tokens":1},"total_tokens":16}}"#
);

pub(crate) fn response_stream() -> Vec<String> {
    let event = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
    let completed = format!(
        "{{\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{RESPONSE}}}"
    );
    vec![
        event(
            "response.created",
            r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response","status":"in_progress","model":"gpt-x","output":[]}}"#,
        ),
        event(
            "response.output_text.delta",
            r#"{"type":"response.output_text.delta","sequence_number":1,"item_id":"m_1","output_index":0,"content_index":0,"delta":"Hello"}"#,
        ),
        event("response.completed", &completed),
    ]
}

pub(crate) fn owned(frames: &[&str]) -> Vec<String> {
    frames.iter().map(|&frame| frame.to_owned()).collect()
}

struct Case {
    kind: ProviderKind,
    path: &'static str,
    request: &'static str,
    /// One element: a blocking answer. More: a stream.
    answer: Vec<String>,
    want: &'static [&'static str],
}

fn cases() -> Vec<Case> {
    const MESSAGES: &str = "/p/v1/messages";
    vec![
        Case {
            kind: Anthropic,
            path: MESSAGES,
            request: r#"{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#,
            answer: owned(&[MESSAGE]),
            want: &[
                r#"start anthropic p claude-x "Unknown" centralized "" session=None result-of=None"#,
                r#"prompt "msg_1" "Hi""#,
                r#"thought "let me see" source="thinking""#,
                r#"tool "msg_1" "toolu_1" bash {"cmd":"ls"}"#,
                r#"tokens "msg_1" in=10 out=7 read=3 write=2 cache_creation_input=2 cache_read_input=3"#,
                r#"end "sk-p...0001" ok"#,
            ],
        },
        Case {
            kind: Anthropic,
            path: MESSAGES,
            request: r#"{"model":"claude-x","stream":true,"max_tokens":9,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_0","content":"x"}]}]}"#,
            answer: owned(MESSAGE_STREAM),
            want: &[
                r#"start anthropic p claude-x "Unknown" centralized "" session=None result-of=Some("toolu_0")"#,
                r#"tokens "msg_1" in=10 out=7 read=3 write=2 cache_creation_input=2 cache_read_input=3"#,
                r#"end "sk-p...0001" ok"#,
            ],
        },
        Case {
            kind: OpenAi,
            path: "/p/v1/chat/completions",
            request: r#"{"model":"gpt-x","messages":[{"role":"user","content":"Hi"}]}"#,
            answer: owned(&[CHAT]),
            want: &[
                r#"start openai p gpt-x "Unknown" centralized "" session=None result-of=None"#,
                r#"prompt "chatcmpl-1" "Hi""#,
                r#"tokens "chatcmpl-1" in=7 out=4 read=5 write=0 prompt_cached=5"#,
                r#"end "sk-p...0001" ok"#,
            ],
        },
        Case {
            kind: OpenAi,
            path: "/p/v1/chat/completions",
            request: r#"{"model":"gpt-x","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}"#,
            answer: owned(CHAT_STREAM),
            want: &[
                r#"start openai p gpt-x "Unknown" centralized "" session=None result-of=None"#,
                r#"prompt "chatcmpl-1" "Hi""#,
                r#"tokens "chatcmpl-1" in=7 out=4 read=5 write=0 prompt_cached=5"#,
                r#"end "sk-p...0001" ok"#,
            ],
        },
        Case {
            kind: OpenAi,
            path: "/p/v1/responses",
            request: r#"{"model":"gpt-x","input":"Hi"}"#,
            answer: owned(&[RESPONSE]),
            want: &[
                r#"start openai p gpt-x "Unknown" centralized "" session=None result-of=None"#,
                r#"prompt "resp_1" "Hi""#,
                r#"tokens "resp_1" in=7 out=4 read=5 write=0 input_cached=5 output_reasoning=1 total_tokens=16"#,
                r#"end "sk-p...0001" ok"#,
            ],
        },
        Case {
            kind: OpenAi,
            path: "/p/v1/responses",
            request: r#"{"model":"gpt-x","input":"Hi","stream":true}"#,
            answer: response_stream(),
            want: &[
                r#"start openai p gpt-x "Unknown" centralized "" session=None result-of=None"#,
                r#"prompt "resp_1" "Hi""#,
                r#"tokens "resp_1" in=7 out=4 read=5 write=0 input_cached=5 output_reasoning=1 total_tokens=16"#,
                r#"end "sk-p...0001" ok"#,
            ],
        },
    ]
}

#[tokio::test]
async fn every_api_is_relayed_byte_for_byte_and_recorded() {
    for case in cases() {
        let streamed = case.answer.len() > 1;
        let reply = if streamed {
            Reply::stream(case.answer.iter().map(|frame| send(frame)).collect())
        } else {
            Reply::json(200, &case.answer[0])
        };
        let world = World::new();
        let reply = reply.with("request-id", "req_1").with("set-cookie", "a=b");
        let provider = Upstream::always(&world.lifecycle, reply).await;
        let base = provider.url(if case.kind == OpenAi { "/v1/" } else { "" });
        world.install(&[row(case.kind, "p", &base, &["sk-provider-key-00000001"])]);

        let answer = world.ask(post(case.path, case.request)).await;
        let about = format!("{} streamed={streamed}: {answer:?}", case.path);
        assert_eq!(answer.status, 200, "{about}");
        assert_eq!(answer.body, case.answer.concat(), "{about}");
        assert!(answer.whole, "{about}");
        assert_eq!(answer.header("request-id"), Some("req_1"));
        assert_eq!(answer.header("set-cookie"), None);
        assert_eq!(answer.header("x-coder-interception-id").map(str::len), Some(36));
        let (content_type, cache) = if streamed {
            ("text/event-stream", Some("no-cache"))
        } else {
            ("application/json", None)
        };
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("cache-control"), cache);

        let seen = provider.only();
        assert_eq!(seen.body, case.request, "the request is not re-encoded");
        assert_eq!(seen.target, case.path.replacen("/p", "", 1));
        let auth = seen.header("x-api-key").or(seen.header("authorization")).unwrap();
        assert!(auth.ends_with("sk-provider-key-00000001"), "{auth}");

        let mut got = world.book.lines();
        // The order between the notes of one answer is the interceptor's own affair.
        let mut want: Vec<_> = case.want.iter().map(|&line| line.to_owned()).collect();
        assert_eq!((got.first(), got.last()), (want.first(), want.last()));
        got.sort();
        want.sort();
        assert_eq!(got, want, "{}", case.path);
    }
}

#[tokio::test]
async fn chunks_leave_as_they_come_not_at_the_end() {
    use crate::world::chunk;
    let world = World::new();
    let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let mut steps = vec![send(MESSAGE_STREAM[0])];
    steps.push(crate::upstream::Step::Wait(std::sync::Arc::clone(&gate)));
    steps.extend(MESSAGE_STREAM[1..].iter().map(|frame| send(frame)));
    let provider = Upstream::always(&world.lifecycle, Reply::stream(steps)).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);

    let request =
        r#"{"model":"claude-x","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let mut body = world.send(post("/p/v1/messages", request)).await.into_body();
    assert_eq!(chunk(&mut body).await.unwrap(), MESSAGE_STREAM[0]);
    gate.add_permits(1);
    let mut rest = String::new();
    while let Some(bytes) = chunk(&mut body).await {
        rest.push_str(std::str::from_utf8(&bytes).unwrap());
    }
    assert_eq!(rest, MESSAGE_STREAM[1..].concat());
}

#[tokio::test]
async fn metrics_count_what_was_recorded() {
    let world = World::new();
    let provider = Upstream::always(&world.lifecycle, Reply::json(200, MESSAGE)).await;
    world.install(&[row(Anthropic, "p", &provider.url(""), &["k"])]);
    let request = r#"{"model":"claude-x","messages":[{"role":"user","content":"Hi"}]}"#;
    world.ask(post("/p/v1/messages", request)).await;
    let labels = r#"provider="p",model="claude-x""#;
    for (sample, want) in [
        (format!(r#"coder_ai_gateway_tokens_total{{{labels},type="input",initiator_id="",client="Unknown"}}"#), 10),
        (format!(r#"coder_aibridged_prompts_total{{{labels},initiator_id="",client="Unknown"}}"#), 1),
        (format!(r#"coder_ai_gateway_non_injected_tool_selections_total{{{labels},name="bash"}}"#), 1),
        (
            format!(
                r#"coder_ai_gateway_interceptions_total{{{labels},status="completed",route="/v1/messages",method="POST",initiator_id="",client="Unknown"}}"#
            ),
            1,
        ),
        (format!(r#"coder_ai_gateway_interceptions_inflight{{{labels},route="/v1/messages"}}"#), 0),
        (
            r#"coder_aibridged_provider_info{provider_name="p",provider_type="anthropic",status="enabled"}"#.to_owned(),
            1,
        ),
        (r#"coder_ai_gateway_key_pool_state{provider="p",state="valid"}"#.to_owned(), 1),
    ] {
        assert_eq!(world.metric(&sample), want, "{sample}");
    }
}
