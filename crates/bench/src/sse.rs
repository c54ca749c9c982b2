//! Streams in the format of Anthropic Messages whose frames tell when they were sent.

use memchr::memmem;

use crate::stamp::{LEN, now_ns, read_digits, write_digits};

/// What stands before a stamp in a frame.
const MARK: &[u8] = b"sent at ";
/// Digits of a frame's number.
const NUMBER_LEN: usize = 8;
/// A frame is much shorter; more without an end is none.
const FRAME_BYTES_MAX: usize = 64 * 1024;

const OPENING: &str = concat!(
    "event: message_start\n",
    r#"data: {"type":"message_start","message":{"id":"msg_bench_stream","type":"message","role":"assistant","#,
    r#""model":"claude-bench-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"#,
    r#""input_tokens":25,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}"#,
    "\n\nevent: content_block_start\n",
    r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    "\n\n"
);
const BEFORE: &str = concat!(
    "event: content_block_delta\n",
    r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"sent at "#
);
const AFTER: &str = " \"}}\n\n";
const CLOSING: &str = concat!(
    "event: content_block_stop\n",
    r#"data: {"type":"content_block_stop","index":0}"#,
    "\n\nevent: message_delta\n",
    r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"#,
    r#""usage":{"output_tokens":128}}"#,
    "\n\nevent: message_stop\n",
    r#"data: {"type":"message_stop"}"#,
    "\n\n"
);

/// Appends one HTTP chunk.
fn chunk(out: &mut Vec<u8>, parts: &[&[u8]]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let size: usize = parts.iter().map(|part| part.len()).sum();
    for shift in [12, 8, 4, 0] {
        out.extend(HEX.get(size >> shift & 15));
    }
    out.extend_from_slice(b"\r\n");
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of the answer and the frames that come before the text, as chunks.
pub fn open(out: &mut Vec<u8>) {
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
          Transfer-Encoding: chunked\r\nrequest-id: req_bench\r\n\r\n",
    );
    chunk(out, &[OPENING.as_bytes()]);
}

/// Appends the frame of text with that number, stamped with the present time.
pub fn text(out: &mut Vec<u8>, number: u32) {
    let (mut at, mut count) = ([0; LEN], [0; NUMBER_LEN]);
    write_digits(&mut at, now_ns());
    write_digits(&mut count, u64::from(number));
    chunk(out, &[BEFORE.as_bytes(), &at, b" ", &count, AFTER.as_bytes()]);
}

/// Appends the frames that end the stream, and the last chunk.
pub fn close(out: &mut Vec<u8>) {
    chunk(out, &[CLOSING.as_bytes()]);
    out.extend_from_slice(b"0\r\n\r\n");
}

/// A stamped frame as the client found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// When the upstream made it, in [`crate::stamp::now_ns`].
    pub sent_ns: u64,
    /// Its place in the stream, from 0 on.
    pub number: u64,
}

/// Finds stamped frames in a stream that comes in pieces.
#[derive(Debug, Default)]
pub struct Frames {
    carry: Vec<u8>,
    next: u64,
    lost: u64,
    stopped: bool,
}

impl Frames {
    /// How many stamped frames came.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.next
    }

    /// How many are missing between those that came.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether the stream's own last frame came.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes bytes and tells of each whole stamped frame in them.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(Stamped)) {
        if self.carry.is_empty() {
            let taken = self.scan(bytes, &mut found);
            self.carry.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(bytes);
            let taken = self.scan(&carry, &mut found);
            carry.drain(..taken.min(carry.len()));
            self.carry = carry;
        }
        if self.carry.len() > FRAME_BYTES_MAX {
            self.carry.clear();
            self.lost += 1;
        }
    }

    /// Reads whole frames and returns how many bytes they take.
    fn scan(&mut self, bytes: &[u8], found: &mut impl FnMut(Stamped)) -> usize {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..)
            && let Some(end) = memmem::find(rest, b"\n\n")
        {
            let frame = rest.get(..end).unwrap_or_default();
            taken += end + 2;
            if let Some(stamped) = stamped(frame) {
                self.lost += stamped.number.saturating_sub(self.next);
                self.next = stamped.number + 1;
                found(stamped);
            } else if memmem::find(frame, b"\"message_stop\"").is_some() {
                self.stopped = true;
            }
        }
        taken
    }
}

fn stamped(frame: &[u8]) -> Option<Stamped> {
    let at = memmem::find(frame, MARK)? + MARK.len();
    let sent_ns = frame.get(at..at + LEN).and_then(read_digits)?;
    let number = frame.get(at + LEN + 1..at + LEN + 1 + NUMBER_LEN).and_then(read_digits)?;
    Some(Stamped { sent_ns, number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http1::{Reader, Side};

    fn stream(numbers: &[u32]) -> Vec<u8> {
        let mut wire = Vec::new();
        open(&mut wire);
        for number in numbers {
            text(&mut wire, *number);
        }
        close(&mut wire);
        wire
    }

    fn read(wire: &[u8], size: usize) -> (Frames, Vec<u64>) {
        let (mut reader, mut frames) = (Reader::new(Side::Responses), Frames::default());
        let mut seen = Vec::new();
        for piece in wire.chunks(size) {
            let taken = reader.push(piece, |bytes| {
                frames.push(bytes, |stamped| {
                    assert!(stamped.sent_ns <= now_ns());
                    seen.push(stamped.number);
                });
            });
            assert_eq!(taken, Ok(piece.len()));
        }
        assert!(reader.is_done());
        (frames, seen)
    }

    #[test]
    fn every_frame_is_found_however_the_stream_is_cut() {
        let wire = stream(&[0, 1, 2]);
        for size in 1..wire.len() {
            let (frames, seen) = read(&wire, size);
            assert_eq!((seen.as_slice(), frames.lost()), ([0, 1, 2].as_slice(), 0), "by {size}");
            assert!(frames.stopped() && frames.count() == 3, "by {size}");
        }
    }

    #[test]
    fn a_missing_frame_is_counted() {
        let (frames, seen) = read(&stream(&[0, 3, 4]), 50);
        assert_eq!((seen.as_slice(), frames.lost()), ([0, 3, 4].as_slice(), 2));
    }

    #[test]
    fn each_frame_is_json_with_its_type() {
        let mut body = Vec::new();
        let mut reader = Reader::new(Side::Responses);
        reader.push(&stream(&[0]), |bytes| body.extend_from_slice(bytes)).unwrap();
        let body = String::from_utf8(body).unwrap();
        let mut types = Vec::new();
        for frame in body.split_terminator("\n\n") {
            let (event, data) = frame.split_once("\ndata: ").unwrap();
            let data: serde_json::Value = serde_json::from_str(data).unwrap();
            assert_eq!(event.strip_prefix("event: "), data["type"].as_str());
            types.push(data["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(types.first().map(String::as_str), Some("message_start"));
        assert_eq!(types.last().map(String::as_str), Some("message_stop"));
    }
}
