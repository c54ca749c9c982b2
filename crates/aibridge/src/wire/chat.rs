//! OpenAI Chat Completions (`POST .../chat/completions`).
//!
//! Streams are asked to report usage, which they do in a chunk of its own without choices; a client that
//! did not ask for that chunk does not get it. An answer is complete when every choice that began has a
//! `finish_reason`, or with `[DONE]`.

mod choices;
mod request;
mod usage;

use bytes::Bytes;
use memchr::memmem;
use serde_json::json;

use self::choices::Choices;
use self::usage::Usage;
use super::ledger::Ledger;
use super::{Asked, BadRequest, Ended, Finish, Interceptor, Note, Relay, faults};
use crate::dialect::Dialect;
use crate::facts::ErrorType;
use crate::json::{self, View};
use crate::sse::Frame;

/// One exchange in the Chat Completions API.
pub struct Chat {
    body: Bytes,
    asked: Asked,
    /// The client did not ask for the chunk with usage.
    hides_usage: bool,
    ledger: Ledger,
    usage: Usage,
    choices: Choices,
    done: bool,
    whole: bool,
}

impl Chat {
    /// Reads the request. Upstream gets it byte for byte, but for `stream_options.include_usage` in a
    /// stream.
    ///
    /// # Errors
    /// [`BadRequest`] when the body is not a JSON object or `model` or `stream` have the wrong type.
    pub fn new(body: Bytes) -> Result<Self, BadRequest> {
        let request::Read { asked, edited } = request::read(&body)?;
        Ok(Self {
            ledger: Ledger::new(asked.prompt.clone(), asked.stream),
            hides_usage: edited.is_some(),
            body: edited.map_or(body, Bytes::from),
            asked,
            usage: Usage::default(),
            choices: Choices::default(),
            done: false,
            whole: false,
        })
    }

    fn chunk(&mut self, chunk: View<'_>) {
        let [id, choices, usage, groq, error] =
            chunk.fields(["id", "choices", "usage", "x_groq", "error"]);
        if let Some(error) = error {
            self.ledger.fault = Some(faults::read(error));
            return;
        }
        self.ledger.answer(id);
        self.usage.merge(usage.or_else(|| groq?.field("usage")));
        for choice in choices.into_iter().flat_map(View::items) {
            self.choices.chunk(&mut self.ledger, choice);
        }
    }
}

/// Whether a chunk has usage and nothing else.
fn is_usage_only(data: &[u8]) -> bool {
    if memmem::find(data, b"\"usage\"").is_none() {
        return false;
    }
    let Ok(chunk) = json::parse(data) else { return false };
    let [choices, usage, error] = chunk.fields(["choices", "usage", "error"]);
    usage.is_some_and(View::is_object)
        && error.is_none()
        && choices.is_none_or(|list| list.is_array() && list.items().next().is_none())
}

impl Interceptor for Chat {
    fn dialect(&self) -> Dialect {
        Dialect::OpenAiChat
    }

    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn take_upstream_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    fn relay(&mut self, frame: &Frame) -> Relay {
        if self.hides_usage && is_usage_only(&frame.data) { Relay::Drop } else { Relay::Forward }
    }

    fn is_last(&self, frame: &Frame) -> bool {
        frame.data.trim_ascii() == b"[DONE]"
    }

    fn observe(&mut self, frame: &Frame) {
        if frame.data.is_empty() {
            return;
        }
        if self.is_last(frame) {
            self.done = true;
            return;
        }
        match json::parse_text(&String::from_utf8_lossy(&frame.data)) {
            Ok(chunk) => self.chunk(chunk),
            Err(_) => self.ledger.malformed = true,
        }
    }

    fn is_answered(&self) -> bool {
        self.choices.are_finished() && !self.done && self.ledger.fault.is_none()
    }

    fn observe_body(&mut self, body: &[u8]) {
        self.ledger.body_seen();
        let text = String::from_utf8_lossy(body);
        let Some(root) = json::parse_text(&text).ok().filter(|root| root.is_object()) else {
            self.ledger.malformed = true;
            return;
        };
        self.chunk(root);
        self.whole = self.ledger.fault.is_none();
    }

    fn is_nonsense(&self) -> bool {
        self.ledger.is_nonsense()
    }

    fn finish(&mut self, ended: Ended, relayed: bool) -> Finish {
        let complete =
            self.whole || self.ledger.fault.is_none() && (self.done || self.choices.are_finished());
        self.choices.flush(&mut self.ledger, complete);
        let verdict = self.ledger.close(complete, self.usage.counts(), ended, relayed);
        let trailer = verdict.error.as_ref().filter(|_| verdict.trailer_due);
        Finish {
            trailer: trailer.map(|(kind, message)| trailer_event(*kind, message)),
            quotes_provider: verdict.quotes_provider,
            error: verdict.error,
        }
    }

    fn take_notes(&mut self) -> Vec<Note> {
        self.ledger.take_notes()
    }
}

/// An error in the middle of a stream, and the stream's end.
fn trailer_event(kind: ErrorType, message: &str) -> Bytes {
    let code = if kind == ErrorType::Timeout { "timeout" } else { "stream_interrupted" };
    let error = json!({"message": message, "type": "server_error", "param": null, "code": code});
    format!("data: {}\n\ndata: [DONE]\n\n", json!({ "error": error })).into()
}
