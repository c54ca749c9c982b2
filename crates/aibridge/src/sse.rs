//! Splits a byte stream into server-sent events (WHATWG HTML, section 9.2) without copying them.

use bytes::Bytes;

mod splitter;

pub use splitter::{HOLD_BYTES_MAX, PARSE_BYTES_MAX, Splitter};

/// One event, raw and taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Every byte of the event as it came in, its blank line included.
    pub raw: Bytes,
    /// The `event:` field, when it was given and is UTF-8.
    pub event: Option<String>,
    /// The `data:` lines joined by `\n`; a slice of `raw` when there is just one.
    pub data: Bytes,
}

/// What a [`Splitter`] hands out. Relaying every [`Piece::Raw`] and the `raw` of every [`Piece::Frame`]
/// in order reproduces the stream up to its unfinished end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A complete event: decide, relay, then observe. Comments and stray blank lines come as frames
    /// with empty data.
    Frame(Frame),
    /// Part of an event too long to hold back: relay as is, now.
    Raw(Bytes),
    /// The event whose bytes were relayed through [`Piece::Raw`] is complete: observe only. Its last
    /// bytes came in the [`Piece::Raw`] before it.
    Late(Frame),
}
