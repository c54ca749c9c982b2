//! Anthropic Messages (`POST /v1/messages`).
//!
//! An answer is complete with `message_stop`. Its usage comes in two parts: `message_start` has the
//! input, `message_delta` cumulative counts, which replace what was known before.

mod blocks;
mod request;
mod usage;

use bytes::Bytes;
use serde_json::json;

use self::blocks::Blocks;
use self::usage::Usage;
use super::ledger::Ledger;
use super::request::is;
use super::{Asked, BadRequest, Ended, Finish, Interceptor, Note, Relay, faults, has_type};
use crate::dialect::Dialect;
use crate::facts::ErrorType;
use crate::json::{self, View};
use crate::sse::Frame;

/// One exchange in the Messages API.
pub struct Messages {
    body: Bytes,
    asked: Asked,
    ledger: Ledger,
    usage: Usage,
    blocks: Blocks,
    complete: bool,
}

impl Messages {
    /// Reads the request. Upstream gets it byte for byte.
    ///
    /// # Errors
    /// [`BadRequest`] when the body is not a JSON object or `model` or `stream` have the wrong type.
    pub fn new(body: Bytes) -> Result<Self, BadRequest> {
        let asked = request::read(&body)?;
        Ok(Self {
            ledger: Ledger::new(asked.prompt.clone(), asked.stream),
            body,
            asked,
            usage: Usage::default(),
            blocks: Blocks::default(),
            complete: false,
        })
    }

    fn event(&mut self, event: View<'_>) {
        let [kind, index, message, block, delta, usage, error] =
            event.fields(["type", "index", "message", "content_block", "delta", "usage", "error"]);
        let kind = kind.and_then(View::string).unwrap_or_default();
        let index = index.and_then(View::count).unwrap_or_default();
        match &*kind {
            "message_start" => {
                if let Some(message) = message {
                    let [id, usage] = message.fields(["id", "usage"]);
                    self.ledger.answer(id);
                    self.usage.merge(usage);
                }
            }
            "content_block_start" => {
                if let Some(block) = block {
                    self.blocks.start(&mut self.ledger, index, block);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = delta {
                    self.blocks.delta(&mut self.ledger, index, delta);
                }
            }
            "content_block_stop" => self.blocks.stop(&mut self.ledger, index),
            "message_delta" => self.usage.merge(usage),
            "message_stop" => self.complete = true,
            "error" => self.ledger.fault = Some(faults::read(error.unwrap_or(event))),
            _ => {}
        }
    }
}

impl Interceptor for Messages {
    fn dialect(&self) -> Dialect {
        Dialect::Anthropic
    }

    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn take_upstream_body(&mut self) -> Bytes {
        std::mem::take(&mut self.body)
    }

    fn relay(&mut self, _frame: &Frame) -> Relay {
        Relay::Forward
    }

    fn is_last(&self, frame: &Frame) -> bool {
        has_type(frame, &["message_stop"])
    }

    fn observe(&mut self, frame: &Frame) {
        // Some compatible servers end with the mark of Chat Completions; it says nothing here.
        if frame.data.is_empty() || frame.data.trim_ascii() == b"[DONE]" {
            return;
        }
        match json::parse_text(&String::from_utf8_lossy(&frame.data)) {
            Ok(event) => self.event(event),
            Err(_) => self.ledger.malformed = true,
        }
    }

    fn observe_body(&mut self, body: &[u8]) {
        self.ledger.body_seen();
        let text = String::from_utf8_lossy(body);
        let Some(message) = json::parse_text(&text).ok().filter(|root| root.is_object()) else {
            self.ledger.malformed = true;
            return;
        };
        let [kind, id, content, usage, error] =
            message.fields(["type", "id", "content", "usage", "error"]);
        if is(kind, "error") {
            self.ledger.fault = Some(faults::read(error.unwrap_or(message)));
            return;
        }
        self.ledger.answer(id);
        self.usage.merge(usage);
        for (index, block) in (0..).zip(content.into_iter().flat_map(View::items)) {
            self.blocks.start(&mut self.ledger, index, block);
            self.blocks.stop(&mut self.ledger, index);
        }
        self.complete = true;
    }

    fn is_nonsense(&self) -> bool {
        self.ledger.is_nonsense()
    }

    fn finish(&mut self, ended: Ended, relayed: bool) -> Finish {
        self.blocks.flush(&mut self.ledger, self.complete);
        let verdict = self.ledger.close(self.complete, self.usage.counts(), ended, relayed);
        let trailer = verdict.error.as_ref().filter(|_| verdict.trailer_due);
        Finish {
            trailer: trailer.map(|(kind, message)| trailer_event(*kind, ended, message)),
            quotes_provider: verdict.quotes_provider,
            error: verdict.error,
        }
    }

    fn take_notes(&mut self) -> Vec<Note> {
        self.ledger.take_notes()
    }
}

/// The error event of the Messages API.
fn trailer_event(kind: ErrorType, ended: Ended, message: &str) -> Bytes {
    let name = match (kind, ended) {
        (ErrorType::Timeout, _) => "timeout_error",
        (_, Ended::ShuttingDown) => "overloaded_error",
        _ => "api_error",
    };
    let data = json!({"type": "error", "error": {"type": name, "message": message}});
    format!("event: error\ndata: {data}\n\n").into()
}
