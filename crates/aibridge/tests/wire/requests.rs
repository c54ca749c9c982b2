//! What requests say, and what goes upstream.

use aibridge::wire::{BadRequestKind, UNKNOWN_MODEL};
use bytes::Bytes;

use crate::exchange::open;

#[test]
fn bad_requests_name_the_field_and_the_fix() {
    for api in ["messages", "chat", "responses"] {
        for (body, param, says) in [
            (&b""[..], None, "empty"),
            (b" \n", None, "empty"),
            (b"{\"model\":\n}", None, "line 2 column 1"),
            (b"{} {}", None, "line 1 column 4"),
            (b"{\"a\":\"\xff\"}", None, "UTF-8"),
            (b"[]", None, "object"),
            (b"{\"model\":7}", Some("model"), "string"),
            (b"{\"stream\":\"yes\"}", Some("stream"), "`true` or `false`"),
            (b"{\"stream\":1}", Some("stream"), "`true` or `false`"),
            (b"{\"model\":\"a\",\"model\":\"a\"}", Some("model"), "more than once"),
            (b"{\"mod\\u0065l\":null,\"model\":\"a\"}", Some("model"), "more than once"),
            (b"{\"stream\":true,\"x\":[],\"stream\":false}", Some("stream"), "more than once"),
        ] {
            let Err(bad) = open(api, Bytes::from_static(body)) else {
                panic!("{body:?} was taken")
            };
            assert_eq!((bad.kind, bad.param), (BadRequestKind::Malformed, param), "{bad}");
            assert!(bad.message.contains(says), "{bad}");
        }
    }
}

#[test]
fn background_answers_are_not_offered() {
    let Err(bad) = open("responses", "{\"background\":true}".into()) else { panic!("taken") };
    assert_eq!((bad.kind, bad.param), (BadRequestKind::NotSupported, Some("background")));
    let Err(bad) = open("responses", "{\"background\":\"x\"}".into()) else { panic!("taken") };
    assert_eq!(bad.kind, BadRequestKind::Malformed);
    assert!(open("responses", "{\"background\":false}".into()).is_ok());
    assert!(open("messages", "{\"background\":true}".into()).is_ok());
}

#[test]
fn model_and_stream_are_read() {
    for api in ["messages", "chat", "responses"] {
        for (body, model, stream) in [
            ("{}", UNKNOWN_MODEL, false),
            (r#"{"model":null,"stream":null}"#, UNKNOWN_MODEL, false),
            (r#"{"model":" "}"#, UNKNOWN_MODEL, false),
            (r#"{"model":"a","stream":true,"unknown":[{}]}"#, "a", true),
            (r#"{"mod\u0065l":"a\/b"}"#, "a/b", false),
        ] {
            let exchange = open(api, body.into()).unwrap();
            let asked = exchange.asked();
            assert_eq!((asked.model.as_str(), asked.stream), (model, stream), "{api}: {body}");
        }
    }
}

#[test]
fn bodies_go_upstream_byte_for_byte() {
    let odd =
        "\n { \"temperature\" : 1.0e0 ,\"model\":\"m\", \"x\":[1.50, -0],\"stream\" : true }\t";
    for api in ["messages", "responses"] {
        assert_eq!(open(api, odd.into()).unwrap().take_upstream_body(), odd);
    }
    let blocking = odd.replace("true", "false");
    assert_eq!(open("chat", blocking.clone().into()).unwrap().take_upstream_body(), blocking);
}

#[test]
fn chat_streams_ask_for_usage_and_change_nothing_else() {
    for (body, want) in [
        (
            "{ \"stream\" : true , \"n\": 2.0 }\n",
            "{ \"stream\" : true , \"n\": 2.0,\"stream_options\":{\"include_usage\":true} }\n",
        ),
        (
            r#"{"stream":true,"stream_options":null}"#,
            r#"{"stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"stream_options":{"include_usage":false, "x":1},"stream":true}"#,
            r#"{"stream_options":{"include_usage":true, "x":1},"stream":true}"#,
        ),
        (
            r#"{"stream_options":{"include_obfuscation":false},"stream":true}"#,
            r#"{"stream_options":{"include_obfuscation":false,"include_usage":true},"stream":true}"#,
        ),
        (
            r#"{"stream":true, "stream_options":{"include_usage": true}}"#,
            r#"{"stream":true, "stream_options":{"include_usage": true}}"#,
        ),
        (r#"{"stream":true,"stream_options":"x"}"#, r#"{"stream":true,"stream_options":"x"}"#),
        (r#"{"stream":false,"stream_options":null}"#, r#"{"stream":false,"stream_options":null}"#),
    ] {
        assert_eq!(open("chat", body.into()).unwrap().take_upstream_body(), want);
    }
}

#[test]
fn identifiers_of_calls_are_cut_as_those_in_answers_are() {
    let id = "c".repeat(600);
    for (api, body) in [
        (
            "messages",
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}"}}]}}]}}"#
            ),
        ),
        ("chat", format!(r#"{{"messages":[{{"role":"tool","tool_call_id":"{id}"}}]}}"#)),
        (
            "responses",
            format!(r#"{{"input":[{{"type":"function_call_output","call_id":"{id}"}}]}}"#),
        ),
    ] {
        let exchange = open(api, body.into()).unwrap();
        assert_eq!(exchange.asked().correlating_tool_call_id.as_deref(), Some(&id[..512]), "{api}");
    }
}

#[test]
fn prompts_and_correlations_are_found() {
    for (api, body, prompt, call) in [
        ("messages", r#"{"messages":[]}"#, None, None),
        ("messages", r#"{"messages":"x"}"#, None, None),
        ("messages", r#"{"messages":[{"role":"user","content":"a"}]}"#, Some("a"), None),
        ("messages", r#"{"messages":[{"role":"assistant","content":"a"}]}"#, None, None),
        ("messages", r#"{"messages":[{"role":"user","content":7}]}"#, None, None),
        (
            "messages",
            r#"{"messages":[{"role":"user","content":"cut \ud83d"}]}"#,
            Some("cut \u{fffd}\u{fffd}\u{fffd}"),
            None,
        ),
        (
            "messages",
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1"},{"type":"tool_result","tool_use_id":""},{"type":"text","text":"go on"}]}]}"#,
            Some("go on"),
            Some("t1"),
        ),
        (
            "messages",
            r#"{"messages":[{"role":"user","content":"real"},{"role":"user","content":"<system-reminder>x</system-reminder>"}]}"#,
            Some("real"),
            None,
        ),
        (
            "messages",
            r#"{"messages":[{"role":"user","content":"old"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1"},{"type":"tool_result","tool_use_id":"t2"}]}]}"#,
            None,
            Some("t2"),
        ),
        ("chat", r#"{"messages":[]}"#, None, None),
        (
            "chat",
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}"#,
            Some("b"),
            None,
        ),
        (
            "chat",
            r#"{"messages":[{"role":"user","content":"a"},{"role":"tool","tool_call_id":"c1"}]}"#,
            None,
            Some("c1"),
        ),
        (
            "chat",
            r#"{"messages":[{"role":"user","tool_call_id":"c1","content":"a"}]}"#,
            Some("a"),
            None,
        ),
        ("chat", r#"{"messages":[{"role":"tool","tool_call_id":7}]}"#, None, None),
        ("responses", r#"{"input":"a"}"#, Some("a"), None),
        ("responses", r#"{"input":"<environment_context>x</environment_context>"}"#, None, None),
        ("responses", r#"{"input":[{"role":"user","content":"a"}]}"#, Some("a"), None),
        (
            "responses",
            r#"{"input":[{"role":"user","content":[{"type":"output_text","text":"a"}]}]}"#,
            None,
            None,
        ),
        (
            "responses",
            r#"{"input":[{"type":"function_call_output","call_id":"c1"}]}"#,
            None,
            Some("c1"),
        ),
        (
            "responses",
            r#"{"input":[{"type":"custom_tool_call_output","call_id":"c2"}]}"#,
            None,
            Some("c2"),
        ),
        (
            "responses",
            r#"{"input":[{"type":"function_call_output","call_id":"c1"},{"role":"user","content":"b"}]}"#,
            Some("b"),
            None,
        ),
        ("responses", r#"{"input":{}}"#, None, None),
    ] {
        let exchange = open(api, body.into()).unwrap();
        let asked = exchange.asked();
        let seen = (asked.prompt.as_deref(), asked.correlating_tool_call_id.as_deref());
        assert_eq!(seen, (prompt, call), "{api}: {body}");
    }
}
