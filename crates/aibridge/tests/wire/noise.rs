//! Any bytes in any chunks, through splitter and interceptor, to any end.

use aibridge::sse::{Piece, Splitter};
use aibridge::wire::{Ended, Interceptor, Note};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;

use crate::exchange::{Outcome, open, play_through};

const APIS: [&str; 3] = ["messages", "chat", "responses"];

const ENDS: [Ended; 5] =
    [Ended::Closed, Ended::UpstreamBroke, Ended::TimedOut, Ended::ClientGone, Ended::ShuttingDown];

/// Events that begin, continue and end things, of all APIs; noise makes nonsense of them.
const EVENTS: &[&str] = &[
    r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":5}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"t"}}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"é"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"message_delta","usage":{"output_tokens":7}}"#,
    r#"{"type":"message_stop"}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning":"r","tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
    r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]},"finish_reason":"tool_calls"}]}"#,
    r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}"#,
    "[DONE]",
    r#"{"type":"response.created","response":{"id":"r"}}"#,
    r#"{"type":"response.output_item.done","item":{"type":"function_call","id":"i","call_id":"k","name":"f","arguments":"{}"}}"#,
    r#"{"type":"response.completed","response":{"output":[{"type":"reasoning","summary":[{"text":"s"}]}],"usage":{"input_tokens":1}}}"#,
];

/// What lines are made of.
const LINE_ENDS: &[&[u8]] = &[b"\n", b"\r", b"\r\n", b"\n\n", b"data: ", b":", b"\xef\xbb\xbf"];

/// A piece of a stream.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let event = select(EVENTS).prop_map(|data| format!("data: {data}\n\n").into_bytes());
    let torn = (select(EVENTS), any::<prop::sample::Index>()).prop_map(|(data, at)| {
        let text = format!("event: x\r\ndata: {data}\r\n\r\n").into_bytes();
        text[..at.index(text.len())].to_vec()
    });
    let line_end = select(LINE_ENDS);
    prop_oneof![
        6 => event,
        2 => torn,
        2 => line_end.prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn fresh(api: &str) -> Box<dyn Interceptor> {
    let request =
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"input":"hi"}"#;
    open(api, request.into()).unwrap()
}

/// `text` in chunks cut at `cuts`.
fn chunks<'a>(text: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(text.len());
    let mut start = 0;
    ends.into_iter().map(|end| &text[std::mem::replace(&mut start, end)..end]).collect()
}

/// Bytes of text in all notes.
fn weight(outcome: &Outcome) -> usize {
    let weights = outcome.notes.iter().map(|note| match note {
        Note::Prompt { response_id, prompt } => response_id.len() + prompt.len(),
        Note::Tokens { response_id, extra, .. } => {
            response_id.len() + extra.keys().map(String::len).sum::<usize>()
        }
        Note::Tool { response_id, tool_call_id, item_id, tool, input, .. } => {
            let item = item_id.as_ref().map_or(0, String::len);
            response_id.len() + tool_call_id.len() + item + tool.len() + input.len()
        }
        Note::Thought { content, .. } => content.len(),
    });
    weights.sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_bytes_in_no_chunks_do_harm(
        pieces in prop::collection::vec(piece(), 0..24),
        cuts in prop::collection::vec(any::<usize>(), 0..24),
        limits in (0..300_usize, 0..600_usize),
    ) {
        let text = pieces.concat();
        for api in APIS {
            for ended in ENDS {
                let tight = Splitter::with_limits(limits.0, limits.1);
                let chopped = play_through(tight, fresh(api).as_mut(), chunks(&text, &cuts), ended);
                let whole = play_through(Splitter::new(), fresh(api).as_mut(), [&text[..]], ended);
                // Chunks that never fill a limit make no difference.
                let loose = Splitter::new();
                let same = play_through(loose, fresh(api).as_mut(), chunks(&text, &cuts), ended);
                prop_assert_eq!(&same, &whole);
                for outcome in [&chopped, &whole] {
                    // Nothing is invented, repeated or put out of order.
                    prop_assert!(outcome.dropped > 0 || text.starts_with(&outcome.relayed));
                    prop_assert!(outcome.relayed.len() <= text.len());
                    prop_assert!(outcome.dropped == 0 || api == "chat");
                    // What is kept is a small multiple of what came.
                    prop_assert!(weight(outcome) <= 8 * text.len() + 64, "{}", weight(outcome));
                    // An answer is good, or the client is told, or cannot be told any more.
                    let finish = &outcome.finish;
                    prop_assert!(finish.error.is_some() || finish.trailer.is_none());
                    prop_assert!(finish.trailer.is_none() || ended != Ended::ClientGone);
                    let tokens = outcome.notes.iter().filter(|n| matches!(n, Note::Tokens { .. }));
                    prop_assert!(tokens.count() <= 1);
                }
            }
        }
    }

    #[test]
    fn a_splitter_relays_every_byte_once_but_for_an_unfinished_end(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        cuts in prop::collection::vec(any::<usize>(), 0..24),
        limits in (0..100_usize, 0..200_usize),
    ) {
        let mut splitter = Splitter::with_limits(limits.0, limits.1);
        let mut seen = Vec::new();
        for chunk in chunks(&bytes, &cuts) {
            for piece in splitter.push(Bytes::copy_from_slice(chunk)) {
                match piece {
                    Piece::Frame(frame) => seen.extend_from_slice(&frame.raw),
                    Piece::Raw(raw) => seen.extend_from_slice(&raw),
                    Piece::Late(_) => {}
                }
            }
        }
        let withheld = splitter.finish().unwrap_or_default();
        prop_assert!(withheld.len() <= limits.0.max(1));
        seen.extend_from_slice(&withheld);
        prop_assert_eq!(seen, bytes);
    }
}
