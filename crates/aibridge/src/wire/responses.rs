//! Responses.

use bytes::Bytes;

use super::{Asked, BadRequest, Ended, Finish, Interceptor, Note, Relay};
use crate::dialect::Dialect;
use crate::sse::Frame;

/// One exchange in this API.
#[derive(Debug)]
pub struct Responses {
    body: Bytes,
    asked: Asked,
    notes: Vec<Note>,
}

impl Responses {
    /// Reads the request.
    ///
    /// # Errors
    /// [`BadRequest`] when the body cannot be sent upstream.
    pub fn new(body: Bytes) -> Result<Self, BadRequest> {
        Ok(Self {
            body,
            asked: Asked::default(),
            notes: Vec::new(),
        })
    }
}

impl Interceptor for Responses {
    fn dialect(&self) -> Dialect {
        Dialect::OpenAiResponses
    }

    fn asked(&self) -> &Asked {
        &self.asked
    }

    fn upstream_body(&self) -> Bytes {
        self.body.clone()
    }

    fn relay(&mut self, _frame: &Frame) -> Relay {
        Relay::Forward
    }

    fn observe(&mut self, _frame: &Frame) {}

    fn observe_body(&mut self, _body: &[u8]) {}

    fn finish(&mut self, _ended: Ended, _relayed: bool) -> Finish {
        Finish::default()
    }

    fn take_notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }
}
