//! OpenAI Responses (`POST .../responses`).
//!
//! Everything is relayed as it comes, identifiers included, because clients refer to them later. Output
//! items are recorded as they are done, and those that only the last event lists then. An answer is
//! complete with `response.completed`, `.incomplete`, `.failed` or `.cancelled`.

mod items;
mod request;
mod usage;

use bytes::Bytes;
use serde_json::json;

use self::items::Items;
use self::usage::Usage;
use super::ledger::Ledger;
use super::{Asked, BadRequest, Ended, Finish, Interceptor, Note, Relay, faults, has_type};
use crate::dialect::Dialect;
use crate::facts::ErrorType;
use crate::json::{self, View};
use crate::sse::Frame;

/// Types of the events with which an answer is complete.
const LAST: &[&str] =
    &["response.completed", "response.incomplete", "response.failed", "response.cancelled"];

/// One exchange in the Responses API.
pub struct Responses {
    body: Bytes,
    asked: Asked,
    ledger: Ledger,
    usage: Usage,
    items: Items,
    complete: bool,
    /// For our own event, which continues the numbering.
    last_sequence_number: Option<i64>,
}

impl Responses {
    /// Reads the request. Upstream gets it byte for byte.
    ///
    /// # Errors
    /// [`BadRequest`] when the body is not a JSON object, `model`, `stream` or `background` have the
    /// wrong type, or the request is to be answered in the background.
    pub fn new(body: Bytes) -> Result<Self, BadRequest> {
        let asked = request::read(&body)?;
        Ok(Self {
            ledger: Ledger::new(asked.prompt.clone(), asked.stream),
            body,
            asked,
            usage: Usage::default(),
            items: Items::default(),
            complete: false,
            last_sequence_number: None,
        })
    }

    fn event(&mut self, event: View<'_>) {
        let [kind, number, response, item, error] =
            event.fields(["type", "sequence_number", "response", "item", "error"]);
        self.last_sequence_number = number.and_then(View::count).or(self.last_sequence_number);
        let kind = kind.and_then(View::string).unwrap_or_default();
        match &*kind {
            "response.output_item.done" => {
                if let Some(item) = item {
                    self.items.done(&mut self.ledger, item);
                }
            }
            last if LAST.contains(&last) => {
                self.complete = true;
                self.response(response, kind.strip_prefix("response.").unwrap_or_default());
            }
            "error" => self.ledger.fault = Some(faults::read(error.unwrap_or(event))),
            _ => {
                if let Some(response) = response {
                    let [id, usage] = response.fields(["id", "usage"]);
                    self.ledger.answer(id);
                    self.usage.merge(usage);
                }
            }
        }
    }

    /// The response object in its final state.
    fn response(&mut self, response: Option<View<'_>>, state: &str) {
        let [id, usage, output, error] =
            response.map(|r| r.fields(["id", "usage", "output", "error"])).unwrap_or_default();
        self.ledger.answer(id);
        self.usage.merge(usage);
        if let Some(output) = output {
            self.items.list(&mut self.ledger, output);
        }
        let fault = match (state, error) {
            ("failed", Some(error)) => faults::read(error),
            ("failed", None) => {
                (ErrorType::ServerError, "the provider failed to answer".to_owned())
            }
            ("cancelled", _) => {
                (ErrorType::Unknown, "the provider cancelled its answer".to_owned())
            }
            _ => return,
        };
        self.ledger.fault = Some(fault);
    }
}

impl Interceptor for Responses {
    fn dialect(&self) -> Dialect {
        Dialect::OpenAiResponses
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
        has_type(frame, LAST)
    }

    fn observe(&mut self, frame: &Frame) {
        // Compatible servers end with the mark of Chat Completions; it says nothing here.
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
        let Some(root) = json::parse_text(&text).ok().filter(|root| root.is_object()) else {
            self.ledger.malformed = true;
            return;
        };
        let [status, error] = root.fields(["status", "error"]);
        let status = status.and_then(View::string).unwrap_or_default();
        let state = if error.is_some() { "failed" } else { &*status };
        self.response(Some(root), state);
        self.complete = true;
    }

    fn is_nonsense(&self) -> bool {
        self.ledger.is_nonsense()
    }

    fn finish(&mut self, ended: Ended, relayed: bool) -> Finish {
        let verdict = self.ledger.close(self.complete, self.usage.counts(), ended, relayed);
        let trailer = verdict.error.as_ref().filter(|_| verdict.trailer_due);
        Finish {
            trailer: trailer.map(|(kind, message)| self.trailer_event(*kind, message)),
            quotes_provider: verdict.quotes_provider,
            error: verdict.error,
        }
    }

    fn take_notes(&mut self) -> Vec<Note> {
        self.ledger.take_notes()
    }
}

impl Responses {
    /// The error event of the Responses API.
    fn trailer_event(&self, kind: ErrorType, message: &str) -> Bytes {
        let data = json!({
            "type": "error",
            "code": if kind == ErrorType::Timeout { "timeout" } else { "server_error" },
            "message": message,
            "param": null,
            "sequence_number": self.last_sequence_number.map_or(0, |number| number + 1),
        });
        format!("event: error\ndata: {data}\n\n").into()
    }
}
