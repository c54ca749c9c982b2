//! Any bytes in any chunks through the splitter of event streams.

use aibridge::sse::{Frame, Piece, Splitter};
use bytes::Bytes;

use crate::input::Input;

/// Splits a stream. Knobs: how much is held back (0: as much as the gateway does), how much is parsed, then
/// sizes of chunks.
///
/// Bytes come out as they went in; frames are those of [`events`] whatever the chunks; with tight limits they
/// are some of those, in order, the others are counted, and what is kept stays below the limit.
///
/// # Panics
/// When a check fails.
pub fn splitter(data: &[u8]) {
    let input = Input::new(data);
    let text = input.material;
    let (wanted, end) = events(text);

    for chunks in [vec![text], input.chunks(2, text), text.chunks(text.len() / 512 + 1).collect()] {
        let seen = Seen::of(Splitter::new(), &chunks, usize::MAX);
        assert_eq!(seen.frames, wanted, "frames depend on chunks or differ from the plain way");
        assert_eq!(seen.relayed, text.get(..end).unwrap_or_default(), "relayed bytes");
        assert_eq!(seen.withheld, text.get(end..).unwrap_or_default(), "withheld bytes");
        assert!(!seen.torn && seen.overlong == 0, "nothing was relayed early");
    }

    let (hold, parse) = limits(&input, 0);
    let seen =
        Seen::of(Splitter::with_limits(hold, parse), &input.chunks(2, text), hold.max(parse));
    let mut all = seen.relayed.clone();
    all.extend_from_slice(&seen.withheld);
    assert_eq!(all, text, "bytes were lost, repeated or put out of order");
    assert!(seen.withheld.len() <= hold, "too much was held back");
    assert_eq!(seen.torn, seen.relayed.len() > end, "torn or not");
    // The event that has not ended may be too long already.
    let unseen = wanted.len().saturating_sub(seen.frames.len());
    let unfinished = seen.overlong.checked_sub(unseen);
    assert!(
        unfinished == Some(0) || unfinished == Some(1) && seen.torn,
        "events that were too long"
    );
    let mut left = seen.frames.iter().peekable();
    for event in &wanted {
        if left.next_if(|frame| *frame == event).is_none() {
            assert!(event.raw.len() > parse, "an event within the limit was not shown");
        }
    }
    assert_eq!(left.next(), None, "a frame that is no event");
}

/// Limits of a splitter by two knobs from `from` on; those of the gateway when the first is zero.
pub(crate) fn limits(input: &Input<'_>, from: usize) -> (usize, usize) {
    match input.knob(from) {
        0 => (aibridge::sse::HOLD_BYTES_MAX, aibridge::sse::PARSE_BYTES_MAX),
        knob => {
            let hold = (knob - 1) * 8;
            (hold, hold + input.knob(from + 1) * 16)
        }
    }
}

/// What came out of a splitter.
struct Seen {
    frames: Vec<Frame>,
    relayed: Vec<u8>,
    withheld: Bytes,
    torn: bool,
    /// Events that were not shown, as counted.
    overlong: usize,
}

impl Seen {
    fn of(mut splitter: Splitter, chunks: &[&[u8]], held_max: usize) -> Self {
        let mut seen = Self {
            frames: Vec::new(),
            relayed: Vec::new(),
            withheld: Bytes::new(),
            torn: false,
            overlong: 0,
        };
        for chunk in chunks {
            let mut chunk = Bytes::copy_from_slice(chunk);
            // As the gateway takes them.
            while let Some(piece) = splitter.next_piece(&mut chunk) {
                let late = match piece {
                    Piece::Frame(frame) => {
                        seen.relayed.extend_from_slice(&frame.raw);
                        seen.frames.push(frame);
                        None
                    }
                    Piece::Raw(raw) => {
                        seen.relayed.extend_from_slice(&raw);
                        splitter.late()
                    }
                    Piece::Late(frame) => Some(frame),
                };
                if let Some(frame) = late {
                    assert!(seen.relayed.ends_with(&frame.raw), "understood before relayed");
                    seen.frames.push(frame);
                }
            }
            assert!(splitter.held_bytes() <= held_max, "too much is kept");
        }
        seen.torn = splitter.is_torn();
        seen.overlong = splitter.overlong();
        seen.withheld = splitter.finish().unwrap_or_default();
        seen
    }
}

/// How a line ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LineEnd {
    Lf,
    Cr,
    CrLf,
}

/// The complete events of a stream, found line by line in the whole of it, and where the last one ends.
pub(crate) fn events(text: &[u8]) -> (Vec<Frame>, usize) {
    let byte = |at: usize| text.get(at).copied();
    let mut frames = Vec::new();
    let (mut start, mut pos) = (0, 0);
    let mut before = None;
    while let Some(length) =
        text.get(pos..).and_then(|t| t.iter().position(|b| b"\r\n".contains(b)))
    {
        let at = pos + length;
        let blank = length == 0;
        let line_end = match (byte(at), byte(at + 1)) {
            (Some(b'\n'), _) => LineEnd::Lf,
            // After a bare CR a second one ends the event at once.
            _ if blank && before == Some(LineEnd::Cr) => LineEnd::Cr,
            (_, Some(b'\n')) => LineEnd::CrLf,
            // Whether an LF belongs to it is not known yet.
            (_, None) if blank => break,
            _ => LineEnd::Cr,
        };
        pos = at + if line_end == LineEnd::CrLf { 2 } else { 1 };
        before = Some(line_end);
        if blank {
            let raw = text.get(start..pos).unwrap_or_default();
            frames.push(frame(raw, frames.is_empty()));
            start = pos;
            before = None;
        }
    }
    (frames, start)
}

/// One event taken apart, by the letter of WHATWG HTML section 9.2.6.
fn frame(raw: &[u8], first: bool) -> Frame {
    let text = raw.strip_prefix(b"\xef\xbb\xbf").filter(|_| first).unwrap_or(raw);
    let mut data: Vec<&[u8]> = Vec::new();
    let mut event = None;
    // An empty line between CR and LF makes no difference.
    for line in text.split(|byte| b"\r\n".contains(byte)) {
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => data.push(value),
            b"event" => event = std::str::from_utf8(value).ok().map(str::to_owned),
            _ => {}
        }
    }
    Frame { raw: Bytes::copy_from_slice(raw), event, data: data.join(&b"\n"[..]).into() }
}
