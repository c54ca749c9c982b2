//! One pure state machine per wire API: bytes and events in, decisions and notes out. No sockets, no
//! clock, no identifiers of ours; the driver owns those.
//!
//! The driver's order for every frame of a stream is fixed: [`Interceptor::relay`] decides what the client
//! gets by looking at raw bytes, the bytes leave, and only then [`Interceptor::observe`] understands them.
//! [`Interceptor::is_last`] names the exception.

use std::collections::BTreeMap;

use bytes::Bytes;
use memchr::memmem;

use crate::dialect::Dialect;
use crate::facts::{ErrorType, Metadata};
use crate::json;
use crate::sse::Frame;

pub mod chat;
mod faults;
mod ledger;
pub mod messages;
mod request;
pub mod responses;

/// The model name recorded when the request names none that can be read.
pub const UNKNOWN_MODEL: &str = "coder-aibridge-unknown";

/// Which kind of answer a [`BadRequest`] deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequestKind {
    /// 400: the body is malformed.
    Malformed,
    /// 501 with code `501`: well-formed, but the gateway does not offer it.
    NotSupported,
}

/// Why a request is not sent upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// Decides the status.
    pub kind: BadRequestKind,
    /// For the client: names the field and the fix, quotes nothing of the body.
    pub message: String,
    /// The field at fault, for APIs that have a place for it.
    pub param: Option<&'static str>,
}

/// What the request says, read once from its raw bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Model as named by the client, [`UNKNOWN_MODEL`] when absent.
    pub model: String,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// What the person asked, wrappers of client programs removed; absent for tool results and the like.
    pub prompt: Option<String>,
    /// Identifier of the tool call whose result the request carries.
    pub correlating_tool_call_id: Option<String>,
}

/// What becomes of bytes that came from upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relay {
    /// The client gets them as they are.
    Forward,
    /// The client gets these instead.
    Replace(Bytes),
    /// The client gets nothing.
    Drop,
}

/// A fact in the making: everything but identifiers and times, which the driver adds.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// See [`crate::facts::Prompt`].
    Prompt {
        /// The provider's identifier of its answer, may be empty.
        response_id: String,
        /// The text.
        prompt: String,
    },
    /// See [`crate::facts::Tokens`].
    Tokens {
        /// The provider's identifier of its answer.
        response_id: String,
        /// Neither read from nor written to a cache.
        input: i64,
        /// Reasoning included.
        output: i64,
        /// Read from the provider's cache.
        cache_read: i64,
        /// Written to the provider's cache.
        cache_write: i64,
        /// Further counts.
        extra: BTreeMap<String, i64>,
        /// Details.
        metadata: Metadata,
    },
    /// See [`crate::facts::Tool`].
    Tool {
        /// The provider's identifier of its answer.
        response_id: String,
        /// The provider's identifier of the call.
        tool_call_id: String,
        /// The provider's identifier of the output item.
        item_id: Option<String>,
        /// Name.
        tool: String,
        /// Arguments as JSON text, or as given.
        input: String,
        /// Details.
        metadata: Metadata,
    },
    /// See [`crate::facts::Thought`].
    Thought {
        /// The text.
        content: String,
        /// `thinking`, `reasoning_summary` or `commentary`.
        source: &'static str,
    },
}

/// How the answer ended, as the driver saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Upstream closed its body in good order. Whether the answer is *complete* is for the interceptor to
    /// say: a stream without its terminator is not.
    Closed,
    /// The connection to upstream broke, or it sent something that cannot be relayed.
    UpstreamBroke,
    /// Upstream stopped sending; the driver gave up waiting.
    TimedOut,
    /// The client left; nothing more can be sent.
    ClientGone,
    /// The gateway is going down.
    ShuttingDown,
}

/// What is left to do at the end of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finish {
    /// Bytes for the client after the last frame: the API's own error event when a stream was cut short.
    /// Absent when nothing was relayed (the client then gets a plain HTTP error) and for blocking answers.
    /// It starts with a field: after a torn event ([`crate::sse::Splitter::is_torn`]) the driver sends
    /// two line feeds before it.
    pub trailer: Option<Bytes>,
    /// Why the answer is not a success. Absent when it is one.
    pub error: Option<(ErrorType, String)>,
    /// Whether the text of `error` is the provider's. It may repeat parts of the request, so it belongs
    /// into the record and into no log.
    pub quotes_provider: bool,
}

/// One exchange in one wire API.
pub trait Interceptor: Send {
    /// How this API words its errors.
    fn dialect(&self) -> Dialect;

    /// What the request says.
    fn asked(&self) -> &Asked;

    /// Takes the request body to send upstream: the client's own bytes, with single-path edits at most.
    /// Later calls find nothing, so that a body is not kept longer than it takes to send it.
    fn take_upstream_body(&mut self) -> Bytes;

    /// Decides, from raw bytes and cheaply, what the client gets of one stream frame.
    fn relay(&mut self, frame: &Frame) -> Relay;

    /// Whether clients take the answer for whole once they have this frame. Such a frame is released only
    /// when the records are durable. Called before [`Self::observe`].
    fn is_last(&self, frame: &Frame) -> bool;

    /// Understands one stream frame that has already been relayed.
    fn observe(&mut self, frame: &Frame);

    /// Whether a streamed answer is complete although its end is still to come, and perhaps what it costs. A client
    /// may leave with such an answer; the provider did not fail, and is not to be cancelled.
    fn is_answered(&self) -> bool {
        false
    }

    /// Understands the whole body of a blocking answer with a 2xx status. Called after it was relayed.
    fn observe_body(&mut self, body: &[u8]);

    /// Whether the body that was understood is no answer of this API at all. A failure in the provider's words
    /// is one.
    fn is_nonsense(&self) -> bool;

    /// The answer is over. `relayed` tells whether any byte of it has reached the client.
    fn finish(&mut self, ended: Ended, relayed: bool) -> Finish;

    /// Takes the notes made so far, in order.
    fn take_notes(&mut self) -> Vec<Note>;
}

/// Whether the object in a frame's data has one of these as its `type`. Nearly all frames are told by words
/// they do not have, unread. The event's name is not asked: some servers give all events the same.
fn has_type(frame: &Frame, types: &[&str]) -> bool {
    types.iter().any(|name| memmem::find(&frame.data, name.as_bytes()).is_some())
        && json::parse_text(&String::from_utf8_lossy(&frame.data)).is_ok_and(|event| {
            let kind = event.field("type").and_then(json::View::string);
            kind.is_some_and(|kind| types.contains(&&*kind))
        })
}
