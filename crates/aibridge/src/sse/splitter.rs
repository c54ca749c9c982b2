//! The incremental splitter.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr2;

use super::{Frame, Piece};

/// An unfinished event longer than this is relayed before it is complete.
pub const HOLD_BYTES_MAX: usize = 1024 * 1024;

/// An event longer than this is relayed but never parsed.
pub const PARSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How the line before the current position ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Lf,
    Cr,
    CrLf,
}

/// What the scanner expects at the current position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Start of a line; the end of the line before, if there is one in this event.
    LineStart(Option<LineEnd>),
    /// Inside a line.
    Line,
    /// After a CR that ended a line: an LF belongs to it.
    AfterCr,
    /// After a CR that ended a blank line, and with it the event; an LF belongs to it.
    AfterBlankCr,
}

/// How bytes of the unfinished event are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Held back until the event is complete.
    Hold,
    /// Relayed already, kept for parsing.
    Keep,
    /// Relayed already, too long to parse.
    Skip,
}

/// Cuts a byte stream into events, however it is chopped up.
///
/// Line ends are LF, CR or CRLF, mixed at will; a byte order mark at the start is skipped. A blank line
/// that ends in CR completes its event at once when the line before ended in a bare CR too; otherwise
/// the next byte is awaited, as it may be the LF of a CRLF. Holds at most [`PARSE_BYTES_MAX`] plus one
/// chunk.
#[derive(Debug)]
pub struct Splitter {
    held: BytesMut,
    at: At,
    mode: Mode,
    first: bool,
    hold_bytes_max: usize,
    parse_bytes_max: usize,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// A splitter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(HOLD_BYTES_MAX, PARSE_BYTES_MAX)
    }

    /// A splitter that relays unfinished events beyond `hold_bytes_max` and parses none beyond
    /// `parse_bytes_max`.
    #[must_use]
    pub fn with_limits(hold_bytes_max: usize, parse_bytes_max: usize) -> Self {
        Self {
            held: BytesMut::new(),
            at: At::LineStart(None),
            mode: Mode::Hold,
            first: true,
            hold_bytes_max,
            parse_bytes_max: parse_bytes_max.max(hold_bytes_max),
        }
    }

    /// Takes the next chunk and returns what can be handed out, in order.
    pub fn push(&mut self, mut chunk: Bytes) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while let Some(end) = self.scan(&chunk) {
            let part = chunk.split_to(end);
            self.complete(part, &mut pieces);
        }
        self.keep(chunk, &mut pieces);
        pieces
    }

    /// Ends the stream. Returns the bytes of an event that was never completed, without what was
    /// already handed out as [`Piece::Raw`]; the client must not get them.
    pub fn finish(&mut self) -> Option<Bytes> {
        let rest = self.held.split().freeze();
        (self.mode == Mode::Hold && !rest.is_empty()).then_some(rest)
    }

    /// Whether the client has got the beginning of an event but not its end. Before anything of our own
    /// is sent after it, two line feeds must close it.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.mode != Mode::Hold
    }

    /// Looks for the end of the current event. Returns how many bytes of `chunk` belong to it.
    fn scan(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut pos = 0;
        while let Some(&byte) = chunk.get(pos) {
            match self.at {
                At::AfterBlankCr => {
                    self.at = At::LineStart(None);
                    return Some(if byte == b'\n' { pos + 1 } else { pos });
                }
                At::AfterCr => {
                    if byte == b'\n' {
                        self.at = At::LineStart(Some(LineEnd::CrLf));
                        pos += 1;
                    } else {
                        self.at = At::LineStart(Some(LineEnd::Cr));
                    }
                }
                At::LineStart(before) => match byte {
                    b'\n' => {
                        self.at = At::LineStart(None);
                        return Some(pos + 1);
                    }
                    b'\r' if before == Some(LineEnd::Cr) => {
                        // A stray LF after it starts the next event as an event of its own.
                        self.at = At::LineStart(None);
                        return Some(pos + 1);
                    }
                    b'\r' => {
                        self.at = At::AfterBlankCr;
                        pos += 1;
                    }
                    _ => self.at = At::Line,
                },
                At::Line => {
                    let rest = chunk.get(pos..).unwrap_or_default();
                    let found = memchr2(b'\n', b'\r', rest)?;
                    pos += found + 1;
                    self.at = if rest.get(found) == Some(&b'\r') {
                        At::AfterCr
                    } else {
                        At::LineStart(Some(LineEnd::Lf))
                    };
                }
            }
        }
        None
    }

    /// `part` completes the current event.
    fn complete(&mut self, part: Bytes, pieces: &mut Vec<Piece>) {
        match self.mode {
            Mode::Hold if self.held.is_empty() => {
                pieces.push(Piece::Frame(self.frame(part)));
            }
            Mode::Hold => {
                self.held.extend_from_slice(&part);
                let raw = self.held.split().freeze();
                pieces.push(Piece::Frame(self.frame(raw)));
            }
            Mode::Keep => {
                let fits = self.held.len().saturating_add(part.len()) <= self.parse_bytes_max;
                let late = fits.then(|| {
                    self.held.extend_from_slice(&part);
                    self.held.split().freeze()
                });
                if !part.is_empty() {
                    pieces.push(Piece::Raw(part));
                }
                if let Some(raw) = late {
                    pieces.push(Piece::Late(self.frame(raw)));
                }
                self.held = BytesMut::new();
            }
            Mode::Skip => {
                if !part.is_empty() {
                    pieces.push(Piece::Raw(part));
                }
            }
        }
        self.mode = Mode::Hold;
        self.first = false;
    }

    /// `part` belongs to the current event, which goes on in the next chunk.
    fn keep(&mut self, part: Bytes, pieces: &mut Vec<Piece>) {
        if part.is_empty() {
            return;
        }
        let total = self.held.len().saturating_add(part.len());
        match self.mode {
            Mode::Hold if total <= self.hold_bytes_max => self.held.extend_from_slice(&part),
            Mode::Hold => {
                if !self.held.is_empty() {
                    pieces.push(Piece::Raw(Bytes::copy_from_slice(&self.held)));
                }
                self.mode = Mode::Keep;
                self.keep(part, pieces);
            }
            Mode::Keep if total <= self.parse_bytes_max => {
                self.held.extend_from_slice(&part);
                pieces.push(Piece::Raw(part));
            }
            Mode::Keep => {
                self.held = BytesMut::new();
                self.mode = Mode::Skip;
                pieces.push(Piece::Raw(part));
            }
            Mode::Skip => pieces.push(Piece::Raw(part)),
        }
    }

    /// Takes a complete event apart.
    fn frame(&self, raw: Bytes) -> Frame {
        let mut rest = raw.clone();
        if self.first && rest.starts_with(b"\xEF\xBB\xBF") {
            rest.advance(3);
        }
        let mut event = None;
        let mut data = Bytes::new();
        let mut joined: Option<BytesMut> = None;
        let mut lines = 0_usize;
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', &rest).unwrap_or(rest.len());
            let line = rest.split_to(end);
            let crlf = rest.starts_with(b"\r\n");
            rest.advance(if crlf { 2 } else { rest.len().min(1) });
            let Some((name, value)) = field(&line) else {
                continue;
            };
            match name {
                b"data" => {
                    lines += 1;
                    if lines == 1 {
                        data = value;
                    } else {
                        let text = joined.get_or_insert_with(|| BytesMut::from(&data[..]));
                        text.extend_from_slice(b"\n");
                        text.extend_from_slice(&value);
                    }
                }
                b"event" => event = std::str::from_utf8(&value).ok().map(str::to_owned),
                _ => {}
            }
        }
        Frame {
            raw,
            event,
            data: joined.map_or(data, BytesMut::freeze),
        }
    }
}

/// Splits a line into field name and value; a comment or blank line has neither.
fn field(line: &Bytes) -> Option<(&[u8], Bytes)> {
    let colon = memchr::memchr(b':', line).unwrap_or(line.len());
    let name = line.get(..colon).filter(|name| !name.is_empty())?;
    let mut value = line.slice(colon..);
    if value.starts_with(b":") {
        value.advance(1);
    }
    if value.starts_with(b" ") {
        value.advance(1);
    }
    Some((name, value))
}
