//! Drives an interceptor the way the gateway does, and writes down what came out.

use std::fmt::Write as _;

use aibridge::sse::{Piece, Splitter};
use aibridge::wire::chat::Chat;
use aibridge::wire::messages::Messages;
use aibridge::wire::responses::Responses;
use aibridge::wire::{BadRequest, Ended, Finish, Interceptor, Note, Relay};
use bytes::Bytes;

/// An interceptor by the name of its API.
pub(crate) fn open(api: &str, body: Bytes) -> Result<Box<dyn Interceptor>, BadRequest> {
    Ok(match api {
        "messages" => Box::new(Messages::new(body)?),
        "chat" => Box::new(Chat::new(body)?),
        "responses" => Box::new(Responses::new(body)?),
        other => panic!("no such API: {other}"),
    })
}

/// What came out of one exchange.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Bytes that the client got, without the trailer.
    pub(crate) relayed: Vec<u8>,
    /// Frames that it did not get.
    pub(crate) dropped: usize,
    pub(crate) notes: Vec<Note>,
    pub(crate) finish: Finish,
}

/// Plays a stream that arrives in these chunks.
pub(crate) fn play<'a>(
    exchange: &mut dyn Interceptor,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    ended: Ended,
) -> Outcome {
    play_through(Splitter::new(), exchange, chunks, ended)
}

/// The same through a splitter with limits of its own.
pub(crate) fn play_through<'a>(
    mut splitter: Splitter,
    exchange: &mut dyn Interceptor,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    ended: Ended,
) -> Outcome {
    let mut out = Outcome::default();
    for chunk in chunks {
        for piece in splitter.push(Bytes::copy_from_slice(chunk)) {
            match piece {
                Piece::Frame(frame) => {
                    match exchange.relay(&frame) {
                        Relay::Forward => out.relayed.extend_from_slice(&frame.raw),
                        Relay::Replace(bytes) => out.relayed.extend_from_slice(&bytes),
                        Relay::Drop => out.dropped += 1,
                    }
                    exchange.observe(&frame);
                }
                Piece::Raw(raw) => out.relayed.extend_from_slice(&raw),
                Piece::Late(frame) => exchange.observe(&frame),
            }
            out.notes.extend(exchange.take_notes());
        }
    }
    out.finish = exchange.finish(ended, !out.relayed.is_empty());
    out.notes.extend(exchange.take_notes());
    out
}

/// Plays a blocking answer.
pub(crate) fn play_body(exchange: &mut dyn Interceptor, body: &[u8]) -> Outcome {
    exchange.observe_body(body);
    let finish = exchange.finish(Ended::Closed, true);
    let notes = exchange.take_notes();
    Outcome { relayed: body.to_vec(), dropped: 0, notes, finish }
}

/// The outcome as in a `.notes` file.
pub(crate) fn written(outcome: &Outcome) -> String {
    let mut out = String::new();
    for note in &outcome.notes {
        match note {
            Note::Prompt { response_id, prompt } => {
                writeln!(out, "prompt {response_id} {prompt:?}")
            }
            Note::Thought { content, source } => writeln!(out, "thought {source} {content:?}"),
            Note::Tool { response_id, tool_call_id, item_id, tool, input, metadata } => {
                let item = item_id.as_deref().unwrap_or("-");
                let details = serde_json::to_string(metadata).unwrap();
                writeln!(out, "tool {response_id} {tool_call_id} {item} {tool} {input:?} {details}")
            }
            Note::Tokens {
                response_id,
                input,
                output,
                cache_read,
                cache_write,
                extra,
                metadata,
            } => {
                let extra = serde_json::to_string(extra).unwrap();
                let details = serde_json::to_string(metadata).unwrap();
                let main = format!("in={input} out={output} read={cache_read} write={cache_write}");
                writeln!(out, "tokens {response_id} {main} {extra} {details}")
            }
        }
        .unwrap();
    }
    if let Some((kind, message)) = &outcome.finish.error {
        writeln!(out, "error {kind:?} {message:?}").unwrap();
    }
    if let Some(trailer) = &outcome.finish.trailer {
        writeln!(out, "trailer {:?}", std::str::from_utf8(trailer).unwrap()).unwrap();
    }
    if outcome.dropped > 0 {
        writeln!(out, "dropped {}", outcome.dropped).unwrap();
    }
    out
}
