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
    overlong: usize,
    /// Handed out next: one step of the splitter makes two pieces at most.
    second: Option<Piece>,
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
            overlong: 0,
            second: None,
        }
    }

    /// Takes the next chunk and returns what can be handed out, in order. That may be one piece per byte;
    /// whoever reads from strangers takes them one by one with [`Self::next_piece`].
    pub fn push(&mut self, mut chunk: Bytes) -> Vec<Piece> {
        std::iter::from_fn(|| self.next_piece(&mut chunk)).collect()
    }

    /// Takes the next piece from the front of `chunk`. Nothing when the chunk is used up: then it is time for
    /// the next one.
    pub fn next_piece(&mut self, chunk: &mut Bytes) -> Option<Piece> {
        loop {
            if let Some(piece) = self.second.take() {
                return Some(piece);
            }
            if chunk.is_empty() {
                return None;
            }
            let piece = match self.scan(chunk) {
                Some(end) => {
                    let part = chunk.split_to(end);
                    self.complete(part)
                }
                None => self.keep(std::mem::take(chunk)),
            };
            if piece.is_some() {
                return piece;
            }
        }
    }

    /// The [`Piece::Late`] that belongs to the [`Piece::Raw`] just handed out, if that was the end of its event.
    pub fn late(&mut self) -> Option<Frame> {
        match self.second.take() {
            Some(Piece::Late(frame)) => Some(frame),
            other => {
                self.second = other;
                None
            }
        }
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

    /// How many events were too long to be handed out as a [`Frame`].
    #[must_use]
    pub const fn overlong(&self) -> usize {
        self.overlong
    }

    /// How many bytes of the unfinished event are kept. Never more than the larger of the two limits.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.len()
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
    fn complete(&mut self, part: Bytes) -> Option<Piece> {
        let piece = match self.mode {
            Mode::Hold if self.held.is_empty() => Some(Piece::Frame(self.frame(part))),
            Mode::Hold => {
                self.held.extend_from_slice(&part);
                let raw = self.held.split().freeze();
                Some(Piece::Frame(self.frame(raw)))
            }
            Mode::Keep => {
                let fits = self.held.len().saturating_add(part.len()) <= self.parse_bytes_max;
                let late = fits.then(|| {
                    self.held.extend_from_slice(&part);
                    let raw = self.held.split().freeze();
                    Piece::Late(self.frame(raw))
                });
                self.overlong += usize::from(!fits);
                self.held = BytesMut::new();
                if part.is_empty() {
                    late
                } else {
                    self.second = late;
                    Some(Piece::Raw(part))
                }
            }
            Mode::Skip => (!part.is_empty()).then_some(Piece::Raw(part)),
        };
        self.mode = Mode::Hold;
        self.first = false;
        piece
    }

    /// `part` belongs to the current event, which goes on in the next chunk.
    fn keep(&mut self, part: Bytes) -> Option<Piece> {
        let total = self.held.len().saturating_add(part.len());
        match self.mode {
            Mode::Hold if total <= self.hold_bytes_max => {
                self.held.extend_from_slice(&part);
                None
            }
            Mode::Hold => {
                let before =
                    (!self.held.is_empty()).then(|| Piece::Raw(Bytes::copy_from_slice(&self.held)));
                self.mode = Mode::Keep;
                let now = self.keep(part);
                match before {
                    Some(_) => {
                        self.second = now;
                        before
                    }
                    None => now,
                }
            }
            Mode::Keep if total <= self.parse_bytes_max => {
                self.held.extend_from_slice(&part);
                Some(Piece::Raw(part))
            }
            Mode::Keep => {
                self.held = BytesMut::new();
                self.mode = Mode::Skip;
                self.overlong += 1;
                Some(Piece::Raw(part))
            }
            Mode::Skip => Some(Piece::Raw(part)),
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
        Frame { raw, event, data: joined.map_or(data, BytesMut::freeze) }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `text` in chunks cut at `cuts`.
    fn split(splitter: &mut Splitter, text: &[u8], cuts: &[usize]) -> Vec<Piece> {
        let text = Bytes::copy_from_slice(text);
        let mut pieces = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([text.len()]) {
            let end = end.clamp(start, text.len());
            pieces.extend(splitter.push(text.slice(start..end)));
            start = end;
        }
        pieces
    }

    fn frames(text: &[u8], cuts: &[usize]) -> (Vec<Frame>, Option<Bytes>) {
        let mut splitter = Splitter::new();
        let pieces = split(&mut splitter, text, cuts);
        let frame = |piece| match piece {
            Piece::Frame(frame) => frame,
            other => panic!("not a plain frame: {other:?}"),
        };
        (pieces.into_iter().map(frame).collect(), splitter.finish())
    }

    fn relayed(pieces: &[Piece]) -> Vec<u8> {
        let bytes = pieces.iter().flat_map(|piece| match piece {
            Piece::Frame(frame) => frame.raw.to_vec(),
            Piece::Raw(raw) => raw.to_vec(),
            Piece::Late(_) => Vec::new(),
        });
        bytes.collect()
    }

    #[test]
    fn pieces_are_made_when_they_are_asked_for() {
        let mut splitter = Splitter::new();
        let mut chunk = Bytes::from("\n".repeat(100_000));
        for left in (99_990..100_000).rev() {
            assert!(splitter.next_piece(&mut chunk).is_some());
            assert_eq!(chunk.len(), left);
        }
    }

    #[test]
    fn events_are_taken_apart() {
        for (text, want) in [
            ("data: a\n\n", &[(None, "a")][..]),
            ("data:a\r\n\r\n", &[(None, "a")]),
            ("data: a\r\rdata: b\r\r", &[(None, "a"), (None, "b")]),
            ("event: x\ndata: a\ndata:  b\ndata\n\n", &[(Some("x"), "a\n b\n")]),
            (": ping\n\n", &[(None, "")]),
            ("\n\ndata: a\n\n", &[(None, ""), (None, ""), (None, "a")]),
            ("id: 1\nretry: 3\nnonsense\ndata: a\n\n", &[(None, "a")]),
            ("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[(None, "a"), (None, "")]),
            ("event: a\nevent: b\ndata: {\"x\":\"y: z\"}\n\n", &[(Some("b"), "{\"x\":\"y: z\"}")]),
            ("data: a\r\r\ndata: b\n\n", &[(None, "a"), (None, ""), (None, "b")]),
        ] {
            let (frames, tail) = frames(text.as_bytes(), &[]);
            let seen: Vec<(Option<&str>, &str)> = frames
                .iter()
                .map(|f| (f.event.as_deref(), std::str::from_utf8(&f.data).unwrap()))
                .collect();
            assert_eq!(seen, want, "{text:?}");
            assert_eq!(tail, None, "{text:?}");
        }
    }

    #[test]
    fn event_names_that_are_not_text_are_left_out() {
        let (frames, _) = frames(b"event: \xff\ndata: \xff\n\n", &[]);
        assert_eq!((frames[0].event.as_deref(), &frames[0].data[..]), (None, &b"\xff"[..]));
    }

    #[test]
    fn an_unfinished_event_is_kept_back() {
        for (text, tail) in [
            ("data: a\n\ndata: b", "data: b"),
            ("data: a\n\ndata: b\n", "data: b\n"),
            ("data: a\n\ndata: b\r\n\r", "data: b\r\n\r"),
        ] {
            let (frames, rest) = frames(text.as_bytes(), &[]);
            assert_eq!((frames.len(), rest.as_deref()), (1, Some(tail.as_bytes())), "{text:?}");
        }
    }

    #[test]
    fn an_event_within_a_chunk_is_not_copied() {
        let chunk = Bytes::from_static(b"event: x\ndata: {\"a\":1}\n\n");
        let pieces = Splitter::new().push(chunk.clone());
        let [Piece::Frame(frame)] = &pieces[..] else { panic!("{pieces:?}") };
        assert_eq!(frame.raw.as_ptr(), chunk.as_ptr());
        assert_eq!(frame.data.as_ptr(), chunk[15..].as_ptr());
    }

    #[test]
    fn a_long_event_is_relayed_at_once_and_observed_when_complete() {
        let mut splitter = Splitter::with_limits(8, 64);
        assert_eq!(splitter.push("data: ".into()), []);
        assert!(!splitter.is_torn());
        assert_eq!(
            splitter.push("0123".into()),
            [Piece::Raw("data: ".into()), Piece::Raw("0123".into())]
        );
        assert!(splitter.is_torn());
        assert_eq!(splitter.push("45".into()), [Piece::Raw("45".into())]);
        let pieces = splitter.push("6\n\ndata: x\n\n".into());
        let [Piece::Raw(end), Piece::Late(late), Piece::Frame(next)] = &pieces[..] else {
            panic!("{pieces:?}")
        };
        assert_eq!(
            (&end[..], &late.data[..], &next.data[..]),
            (&b"6\n\n"[..], &b"0123456"[..], &b"x"[..])
        );
        assert_eq!(&late.raw[..], b"data: 0123456\n\n");
        assert!(!splitter.is_torn());
    }

    #[test]
    fn an_endless_event_is_relayed_and_not_kept() {
        let mut splitter = Splitter::with_limits(8, 64);
        let line = "x".repeat(50);
        for _ in 0..100 {
            let pieces = splitter.push(line.clone().into());
            assert_eq!(relayed(&pieces), line.as_bytes());
            assert!(splitter.held_bytes() <= 64);
        }
        assert!(splitter.is_torn());
        assert_eq!(splitter.finish(), None);
        let pieces = splitter.push("\n\ndata: x\n\n".into());
        assert!(matches!(&pieces[..], [Piece::Raw(_), Piece::Frame(next)] if next.data == "x"));
    }

    #[test]
    fn ten_megabytes_in_one_line_are_recorded() {
        let mut splitter = Splitter::new();
        let line = format!("data: \"{}\"\n\n", "y".repeat(10 << 20));
        let mut pieces = Vec::new();
        for chunk in line.as_bytes().chunks(64 << 10) {
            pieces.extend(splitter.push(Bytes::copy_from_slice(chunk)));
        }
        assert_eq!(relayed(&pieces), line.as_bytes());
        let late = pieces.iter().filter(|piece| matches!(piece, Piece::Late(_))).count();
        assert_eq!(late, 1);
    }

    const ALPHABET: &str =
        "(data: |data:|event: |: |a|é|:|\n|\r|\r\n|\n\n|\r\n\r\n|\u{feff}){0,40}";

    proptest! {
        #[test]
        fn chopping_changes_nothing(text in ALPHABET, cuts in prop::collection::vec(0..120_usize, 0..8)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let whole = frames(text.as_bytes(), &[]);
            prop_assert_eq!(&frames(text.as_bytes(), &cuts), &whole);
            let every: Vec<usize> = (1..text.len()).collect();
            prop_assert_eq!(&frames(text.as_bytes(), &every), &whole);
            let mut joined: Vec<u8> = whole.0.iter().flat_map(|f| f.raw.to_vec()).collect();
            joined.extend(whole.1.iter().flatten());
            prop_assert_eq!(joined, text.as_bytes());
        }

        #[test]
        fn tight_limits_lose_no_byte_and_hold_little(
            text in ALPHABET,
            cuts in prop::collection::vec(0..120_usize, 0..12),
            hold in 0..12_usize,
            parse in 0..24_usize,
        ) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut splitter = Splitter::with_limits(hold, parse);
            let pieces = split(&mut splitter, text.as_bytes(), &cuts);
            let held = splitter.held_bytes();
            prop_assert!(held <= hold.max(parse));
            let mut joined = relayed(&pieces);
            joined.extend(splitter.finish().into_iter().flatten());
            prop_assert_eq!(joined, text.as_bytes());
            // Every event that was observed is one that loose limits show too.
            let (all, _) = frames(text.as_bytes(), &[]);
            for piece in pieces {
                if let Piece::Frame(frame) | Piece::Late(frame) = piece {
                    prop_assert!(all.contains(&frame));
                }
            }
        }
    }
}
