//! Splits a byte stream into server-sent events (WHATWG HTML, section 9.2) without copying them.

use bytes::Bytes;

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
