//! Ends that are not the usual one, and answers that are not what they should be.

use aibridge::facts::ErrorType;
use aibridge::sse::{Piece, Splitter};
use aibridge::wire::{Ended, Interceptor, Note};
use proptest::prelude::*;

use crate::exchange::{Outcome, open, play, play_body, written};

const REQUEST: &str =
    r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"input":"hi"}"#;

fn fresh(api: &str) -> Box<dyn Interceptor> {
    open(api, REQUEST.into()).unwrap()
}

fn stream(api: &str, text: &[u8], ended: Ended) -> Outcome {
    play(fresh(api).as_mut(), [text], ended)
}

/// The beginning of an answer, with usage where the API tells it early.
fn beginning(api: &str) -> &'static [u8] {
    match api {
        "messages" => {
            b"data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":5}}}\n\n"
        }
        "chat" => {
            b"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{}}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n"
        }
        _ => b"data: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":5}}}\n\n",
    }
}

#[test]
fn each_ending_has_its_error_and_tells_the_client_when_there_is_one() {
    for api in ["messages", "chat", "responses"] {
        for (ended, kind, tells) in [
            (Ended::Closed, ErrorType::ServerError, true),
            (Ended::UpstreamBroke, ErrorType::ServerError, true),
            (Ended::TimedOut, ErrorType::Timeout, true),
            (Ended::ShuttingDown, ErrorType::ServerError, true),
            (Ended::ClientGone, ErrorType::ClientGone, false),
        ] {
            let outcome = stream(api, beginning(api), ended);
            let error = outcome.finish.error.as_ref().map(|(kind, _)| *kind);
            assert_eq!(error, Some(kind), "{api} {ended:?}");
            assert_eq!(outcome.finish.trailer.is_some(), tells, "{api} {ended:?}");
            let partial = outcome.notes.iter().any(|note| {
                matches!(note, Note::Tokens { input, metadata, .. }
                    if *input >= 4 && metadata.get("partial") == Some(&true.into()))
            });
            assert!(partial, "{api} {ended:?}: {}", written(&outcome));
        }
    }
}

#[test]
fn nothing_relayed_means_no_trailer_but_the_prompt_is_kept() {
    for api in ["messages", "chat", "responses"] {
        let outcome = stream(api, b"", Ended::UpstreamBroke);
        assert_eq!(outcome.finish.trailer, None);
        assert_eq!(outcome.finish.error.as_ref().unwrap().0, ErrorType::ServerError);
        let prompt = Note::Prompt { response_id: String::new(), prompt: "hi".into() };
        assert_eq!(outcome.notes, [prompt]);
    }
}

#[test]
fn what_comes_after_the_end_does_not_matter() {
    for (api, end) in [
        ("messages", &b"data: {\"type\":\"message_stop\"}\n\n"[..]),
        (
            "chat",
            b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        ),
        ("chat", b"data: [DONE]\n\n"),
        ("responses", b"data: {\"type\":\"response.completed\",\"response\":{}}\n\n"),
    ] {
        for ended in [Ended::Closed, Ended::UpstreamBroke, Ended::TimedOut, Ended::ClientGone] {
            let text = [beginning(api), end].concat();
            let outcome = stream(api, &text, ended);
            assert_eq!(outcome.finish.error, None, "{api} {ended:?}");
            assert_eq!(outcome.finish.trailer, None, "{api} {ended:?}");
        }
    }
}

#[test]
fn a_choice_without_end_is_an_answer_without_end() {
    let text = b"data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"},{\"index\":1,\"delta\":{}}]}\n\n";
    let outcome = stream("chat", text, Ended::Closed);
    assert!(outcome.finish.error.is_some() && outcome.finish.trailer.is_some());
}

#[test]
fn finishing_twice_adds_nothing() {
    for api in ["messages", "chat", "responses"] {
        let mut exchange = fresh(api);
        let first = play(exchange.as_mut(), [beginning(api)], Ended::Closed);
        assert!(first.finish.error.is_some());
        assert_eq!(exchange.finish(Ended::Closed, true), aibridge::wire::Finish::default());
        assert_eq!(exchange.take_notes(), []);
    }
}

#[test]
fn a_complete_answer_without_usage_does_not_go_unseen() {
    let outcome = stream("messages", b"data: {\"type\":\"message_stop\"}\n\n", Ended::Closed);
    let want = "prompt  \"hi\"\ntokens  in=0 out=0 read=0 write=0 {} {\"usage_missing\":true}\n";
    assert_eq!(written(&outcome), want);
}

#[test]
fn odd_usage_is_passed_over() {
    for (usage, want) in [
        ("null", "in=3 out=9"),
        ("7", "in=3 out=9"),
        (r#"{"output_tokens":null,"input_tokens":"5"}"#, "in=3 out=9"),
        (r#"{"output_tokens":-4,"input_tokens":1.5}"#, "in=3 out=9"),
        (r#"{"output_tokens":12.0,"input_tokens":[]}"#, "in=3 out=12"),
        (r#"{"output_tokens":0,"input_tokens":0}"#, "in=3 out=9"),
        (r#"{"output_tokens":99999999999999999999}"#, "in=3 out=9"),
    ] {
        let text = format!(
            "data: {{\"type\":\"message_start\",\"message\":{{\"id\":\"m\",\"usage\":{{\"input_tokens\":3,\"output_tokens\":9}}}}}}\n\n\
             data: {{\"type\":\"message_delta\",\"usage\":{usage}}}\n\ndata: {{\"type\":\"message_stop\"}}\n\n"
        );
        let seen = written(&stream("messages", text.as_bytes(), Ended::Closed));
        assert!(seen.contains(&format!("tokens m {want} read=0")), "{usage}: {seen}");
    }
}

#[test]
fn the_last_frame_is_known_whatever_its_event_is_called_and_if_its_text_is_broken() {
    for (api, data, last) in [
        ("messages", &br#"{"type":"message_stop"}"#[..], true),
        ("messages", b"{\"type\":\"message_stop\",\"x\":\"\xff\"}", true),
        ("messages", br#"{"type":"content_block_delta","delta":{"text":"message_stop"}}"#, false),
        ("messages", br#"{"type":"message_stop""#, false),
        ("responses", br#"{"type":"response.completed","response":{}}"#, true),
        ("responses", b"{\"type\":\"response.failed\",\"x\":\"\xff\"}", true),
        ("responses", br#"{"type":"response.output_text.delta","delta":"response.failed"}"#, false),
        ("chat", b" [DONE] ", true),
        ("chat", br#"{"choices":[{"delta":{"content":"[DONE]"}}]}"#, false),
    ] {
        for name in ["", "event: message\n", "event: message_stop\n", "event: response.completed\n"]
        {
            let text = [name.as_bytes(), b"data: ", data, b"\n\n"].concat();
            let pieces = Splitter::new().push(text.into());
            let [Piece::Frame(frame)] = &pieces[..] else { panic!("{api} {name}: {pieces:?}") };
            let data = String::from_utf8_lossy(data);
            assert_eq!(fresh(api).is_last(frame), last, "{api} {name}{data}");
        }
    }
}

#[test]
fn blocks_that_share_a_number_and_never_end_are_all_recorded() {
    let start = |block: &str| {
        format!(
            "data: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{block}}}\n\n"
        )
    };
    let text = [
        start(r#"{"type":"thinking","thinking":"well"}"#),
        start(r#"{"type":"tool_use","id":"a","name":"f","input":{"x":1}}"#),
        start(r#"{"type":"tool_use","id":"b","name":"g"}"#),
        "data: {\"type\":\"message_stop\"}\n\n".to_owned(),
    ];
    let outcome = stream("messages", text.concat().as_bytes(), Ended::Closed);
    let seen = outcome.notes.iter().filter_map(|note| match note {
        Note::Tool { tool_call_id, tool, input, metadata, .. } => {
            assert!(metadata.is_empty(), "{metadata:?}");
            Some(format!("{tool_call_id} {tool} {input}"))
        }
        Note::Thought { content, .. } => Some(content.clone()),
        _ => None,
    });
    assert_eq!(seen.collect::<Vec<_>>(), ["well", "a f {\"x\":1}", "b g {}"]);
}

#[test]
fn broken_text_is_replaced_and_broken_json_remembered() {
    let mut text = b"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"a\xffb\"}}\n\n".to_vec();
    text.extend_from_slice(
        b"data: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {oops\n\n",
    );
    let outcome = stream("messages", &text, Ended::Closed);
    assert_eq!(outcome.relayed, text);
    let seen = written(&outcome);
    assert!(seen.contains("thought thinking \"a\u{fffd}b\"\n"), "{seen}");
    assert!(seen.contains("an event that is not JSON"), "{seen}");
}

#[test]
fn blocking_answers_that_are_not_answers_are_errors() {
    for (api, body, kind) in [
        ("messages", &b"<html>"[..], ErrorType::ServerError),
        ("chat", b"", ErrorType::ServerError),
        ("responses", b"[]", ErrorType::ServerError),
        (
            "messages",
            br#"{"type":"error","error":{"type":"authentication_error","message":"no"}}"#,
            ErrorType::Unauthorized,
        ),
        ("chat", br#"{"error":{"code":429,"message":"no"}}"#, ErrorType::RateLimited),
        (
            "responses",
            br#"{"status":"failed","error":{"code":"server_error"}}"#,
            ErrorType::ServerError,
        ),
        ("responses", br#"{"id":"r","status":"cancelled"}"#, ErrorType::Unknown),
    ] {
        let outcome = play_body(fresh(api).as_mut(), body);
        assert_eq!(outcome.finish.error.as_ref().map(|(kind, _)| *kind), Some(kind), "{api}");
        assert_eq!(outcome.finish.trailer, None);
    }
}

#[test]
fn tool_calls_are_bounded_and_the_rest_is_counted() {
    let items: Vec<String> = (0..1030)
        .map(|n| format!(r#"{{"type":"tool_use","id":"t{n}","name":"f","input":{{}}}}"#))
        .collect();
    let body = format!(
        r#"{{"type":"message","id":"m","usage":{{"input_tokens":1}},"content":[{}]}}"#,
        items.join(",")
    );
    let outcome = play_body(fresh("messages").as_mut(), body.as_bytes());
    let tools = outcome.notes.iter().filter(|note| matches!(note, Note::Tool { .. })).count();
    assert_eq!(tools, 1024);
    let Some(Note::Tokens { metadata, .. }) = outcome.notes.last() else { panic!("no usage") };
    assert_eq!(metadata.get("tools_omitted"), Some(&6.into()));
}

#[test]
fn tool_calls_that_never_end_are_bounded_and_the_rest_is_counted() {
    let blocks = (0..1030).map(|n| {
        format!(
            "data: {{\"type\":\"content_block_start\",\"index\":{n},\"content_block\":{{\"type\":\"tool_use\",\"id\":\"t\"}}}}\n\n"
        )
    });
    let calls = |choice: usize| {
        let calls =
            (0..515).map(|n| format!(r#"{{"index":{n},"id":"t{n}","function":{{"name":"f"}}}}"#));
        let calls = calls.collect::<Vec<_>>().join(",");
        format!(
            "data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{\"tool_calls\":[{calls}]}}}}]}}\n\n"
        )
    };
    for (api, text) in [("messages", blocks.collect()), ("chat", calls(0) + &calls(1))] {
        let text = String::from_utf8_lossy(beginning(api)).into_owned() + &text;
        let outcome = stream(api, text.as_bytes(), Ended::UpstreamBroke);
        let tools = outcome.notes.iter().filter(|note| matches!(note, Note::Tool { .. })).count();
        assert_eq!(tools, 1024, "{api}");
        let Some(Note::Tokens { metadata, .. }) = outcome.notes.last() else { panic!("no usage") };
        assert_eq!(metadata.get("tools_omitted"), Some(&6.into()), "{api}");
    }
}

#[test]
fn a_type_of_item_is_no_place_for_a_long_text() {
    let long = "x".repeat(600);
    for (kind, want) in [(format!("{long}_call"), 0), (format!("{}_call", &long[..507]), 1)] {
        let body = format!(r#"{{"id":"r","output":[{{"type":"{kind}"}}]}}"#);
        let outcome = play_body(fresh("responses").as_mut(), body.as_bytes());
        let tools = outcome.notes.iter().filter(|note| matches!(note, Note::Tool { .. })).count();
        assert_eq!(tools, want, "{} bytes", kind.len());
    }
}

#[test]
fn thoughts_are_bounded_and_the_rest_is_counted() {
    let thought = r#"{"type":"thinking","thinking":"a"}"#;
    let blocks = vec![thought; 1030].join(",");
    let body = format!(r#"{{"id":"m","usage":{{"input_tokens":1}},"content":[{blocks}]}}"#);
    let outcome = play_body(fresh("messages").as_mut(), body.as_bytes());
    let thoughts = outcome.notes.iter().filter(|note| matches!(note, Note::Thought { .. })).count();
    assert_eq!(thoughts, 1024);
    let Some(Note::Tokens { metadata, .. }) = outcome.notes.last() else { panic!("no usage") };
    assert_eq!(metadata.get("thoughts_omitted"), Some(&6.into()));
}

#[test]
fn only_the_providers_own_words_are_marked_as_such() {
    for (api, text) in [
        (
            "messages",
            &b"data: {\"type\":\"error\",\"error\":{\"message\":\"you wrote hi\"}}\n\n"[..],
        ),
        ("chat", b"data: {\"error\":{\"message\":\"you wrote hi\"}}\n\n"),
        ("responses", b"data: {\"type\":\"error\",\"message\":\"you wrote hi\"}\n\n"),
    ] {
        let theirs = stream(api, text, Ended::Closed).finish;
        assert_eq!(theirs.error.map(|(_, message)| message).as_deref(), Some("you wrote hi"));
        assert!(theirs.quotes_provider, "{api}");
        let ours = stream(api, beginning(api), Ended::TimedOut).finish;
        assert!(ours.error.is_some() && !ours.quotes_provider, "{api}");
    }
}

#[test]
fn long_arguments_are_cut_and_marked() {
    let long = "x".repeat(5 << 20);
    let body = format!(
        r#"{{"id":"r","output":[{{"type":"custom_tool_call","call_id":"c","name":"f","input":"{long}"}}]}}"#
    );
    let outcome = play_body(fresh("responses").as_mut(), body.as_bytes());
    let Some(Note::Tool { input, metadata, .. }) = outcome.notes.get(1) else { panic!("no tool") };
    assert_eq!((input.len(), metadata.get("truncated")), (4 << 20, Some(&true.into())));
}

#[test]
fn calls_without_numbers_or_with_equal_ones_stay_apart() {
    for (chunks, want) in [
        (
            &[
                r#"[{"id":"a","function":{"name":"f","arguments":"{}"}}]"#,
                r#"[{"id":"b","function":{"name":"g","arguments":"{}"}}]"#,
            ][..],
            "a:f:{} b:g:{}",
        ),
        (
            &[
                r#"[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"g","arguments":"{}"}}]"#,
            ],
            "a:f:{} b:g:{}",
        ),
        (
            &[
                r#"[{"index":3,"id":"a","function":{"name":"f","arguments":"{"}}]"#,
                r#"[{"index":3,"id":"a2","function":{"arguments":"}"}}]"#,
            ],
            "a:f:{}",
        ),
        (
            &[r#"[{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}}]"#],
            r#"a:f:{"x":1}"#,
        ),
        (&["null", "[null]", "7"], ""),
    ] {
        let chunk = |calls: &&str| {
            format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":{calls}}}}}]}}\n\n"
            )
        };
        let text = chunks.iter().map(chunk).chain(["data: [DONE]\n\n".to_owned()]);
        let text: String = text.collect();
        let outcome = stream("chat", text.as_bytes(), Ended::Closed);
        let calls = outcome.notes.iter().filter_map(|note| match note {
            Note::Tool { tool_call_id, tool, input, .. } => {
                Some(format!("{tool_call_id}:{tool}:{input}"))
            }
            _ => None,
        });
        assert_eq!(calls.collect::<Vec<_>>().join(" "), want);
    }
}

#[test]
fn only_the_chunk_that_was_not_asked_for_is_dropped() {
    for (chunk, dropped) in [
        (r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#, 1),
        (r#"{"usage":{"prompt_tokens":1,"completion_tokens":2}}"#, 1),
        (r#"{"choices":[],"usage":null}"#, 0),
        (r#"{"choices":[],"prompt_filter_results":[{"x":"usage"}]}"#, 0),
        (r#"{"choices":[{"index":0,"delta":{}}],"usage":{"prompt_tokens":1}}"#, 0),
        (r#"{"choices":[],"usage":{},"error":{"message":"x"}}"#, 0),
        (r#"{"usage":"#, 0),
    ] {
        let text = format!("data: {chunk}\n\n");
        assert_eq!(stream("chat", text.as_bytes(), Ended::Closed).dropped, dropped, "{chunk}");
        let asked = r#"{"stream":true,"stream_options":{"include_usage":true}}"#;
        let mut exchange = open("chat", asked.into()).unwrap();
        let outcome = play(exchange.as_mut(), [text.as_bytes()], Ended::Closed);
        assert_eq!(outcome.dropped, 0, "{chunk}");
    }
}

const PIECES: &str = r#"(data: |\{|\}|\[|\]|"type"|"index"|"delta"|"usage"|"choices"|"response"|"output"|"message"|"content"|"error"|"message_start"|"content_block_start"|"tool_use"|:|,|null|1|-1|"\\ud800"|"é"|
|

){0,60}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_stream_and_no_body_is_too_strange(text in PIECES, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for api in ["messages", "chat", "responses"] {
            for input in [text.as_bytes(), &bytes] {
                let outcome = stream(api, input, Ended::Closed);
                prop_assert!(outcome.dropped > 0 || input.starts_with(&outcome.relayed));
                play_body(fresh(api).as_mut(), input);
                if let Ok(exchange) = open(api, input.to_vec().into()) {
                    prop_assert!(!exchange.asked().model.is_empty());
                }
            }
        }
    }
}
