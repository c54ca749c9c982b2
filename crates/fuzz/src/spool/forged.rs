//! Segments that say anything, with checksums that are right.

use super::place::File;
use super::scene::SEGMENT_BYTES;

/// Of all segments of one input.
const SEGMENTS_MAX: usize = 4;
/// Records of one segment.
const RECORDS_MAX: usize = 32;
/// Zeros that a record may ask for behind its payload.
const FILL: usize = 8 * 1024;

/// Reads an input from its beginning to its end; zeros follow.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(self.slice(N)) {
            *to = *from;
        }
        out
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.take();
        byte
    }

    /// Small numbers as they are, and those at the borders.
    fn number(&mut self) -> u64 {
        match self.byte() {
            250 => u64::from(u16::MAX),
            251 => u64::from(u32::MAX),
            252 => u64::MAX,
            253 => 1 << 63,
            254 => u64::from_le_bytes(self.take()),
            small => u64::from(small),
        }
    }

    fn slice(&mut self, length: usize) -> &'a [u8] {
        let (slice, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        slice
    }
}

/// What an input describes.
pub(super) struct Forged {
    pub(super) files: Vec<File>,
    /// How often a process opens them and ends before one ships them.
    pub(super) waits: usize,
}

/// Files of a spool as an input describes them, in order: a byte (1: there is a cursor; 2 and 4: processes that
/// open the spool before it is shipped), the cursor if there is one (position, facts, bytes), then segments: number, format, whether the first 64 bytes are sound, records. A record: what it is (0:
/// the segment is over, 1 facts, 2 a checkpoint, others as they are), facts, keys opened, keys closed, time,
/// whether a checksum is wrong, length of the payload (two bytes), the payload. The payload of a checkpoint is
/// made of numbers: facts, bytes, position, count of keys, then keys as far as the length goes.
pub(super) fn files(data: &[u8]) -> Forged {
    let mut input = Bytes(data);
    let mut files = Vec::new();
    let first = input.byte();
    if first % 2 == 1 {
        files.push(File { name: "cursor".to_owned(), bytes: cursor(&mut input) });
    }
    for index in 0..SEGMENTS_MAX {
        if input.0.is_empty() {
            break;
        }
        let bytes = segment(&mut input);
        files.push(File { name: format!("segment-{index:04}.spool"), bytes });
    }
    Forged { files, waits: usize::from(first >> 1 & 3) }
}

fn low(number: u64) -> [u8; 4] {
    let [a, b, c, d, ..] = number.to_le_bytes();
    [a, b, c, d]
}

/// A position from two numbers, or from one.
fn position(input: &mut Bytes<'_>) -> u64 {
    let (segment, offset) = (input.number(), input.number());
    segment << 32 | offset & u64::from(u32::MAX)
}

fn cursor(input: &mut Bytes<'_>) -> Vec<u8> {
    let mut out = b"AIGWCUR\n".to_vec();
    out.extend(1_u64.to_le_bytes());
    out.extend(position(input).to_le_bytes());
    out.extend(input.number().to_le_bytes());
    out.extend(input.number().to_le_bytes());
    out.resize(60, 0);
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_le_bytes());
    // The other of the two places; this one is where the first save goes.
    [vec![0; 4096], out].concat()
}

fn segment(input: &mut Bytes<'_>) -> Vec<u8> {
    let number = input.number();
    let mut out = b"AIGWSPL\n".to_vec();
    out.extend(u32::from(input.byte()).wrapping_add(1).to_le_bytes());
    out.extend(low(number));
    out.resize(60, 0);
    let crc = crc32fast::hash(&out) ^ u32::from(input.byte());
    out.extend(crc.to_le_bytes());
    for _ in 0..RECORDS_MAX {
        match input.byte() {
            0 => break,
            kind => record(input, kind, number, &mut out),
        }
    }
    if out.len() < SEGMENT_BYTES {
        out.resize(SEGMENT_BYTES, 0);
    }
    out
}

fn record(input: &mut Bytes<'_>, kind: u8, number: u64, out: &mut Vec<u8>) {
    let (facts, opens, closes) = (input.number(), input.number(), input.number());
    let (at, wrong) = (input.number(), input.byte());
    let length = usize::from(u16::from_le_bytes(input.take()));
    let payload = if kind == 2 {
        let mut payload = Vec::new();
        payload.extend(input.number().to_le_bytes());
        payload.extend(input.number().to_le_bytes());
        payload.extend(position(input).to_le_bytes());
        payload.extend(input.number().to_le_bytes());
        payload.extend(input.slice(length));
        payload
    } else {
        let mut payload = input.slice(length).to_vec();
        // Zeros behind what there is, so that long records take short inputs.
        payload.resize(length.min(payload.len() + FILL), 0);
        payload
    };
    let mut header = Vec::new();
    let claimed = if wrong & 4 == 0 { payload.len() as u64 } else { facts };
    header.extend(low(claimed));
    header.extend(low(if wrong & 8 == 0 { number } else { at }));
    header.push(kind);
    header.extend(low(facts).iter().take(3));
    header.extend(low(opens).iter().take(2));
    header.extend(low(closes).iter().take(2));
    header.extend(at.to_le_bytes());
    let crc = crc32fast::hash(&payload) ^ u32::from(wrong & 1);
    header.extend(crc.to_le_bytes());
    let offset = low(out.len() as u64);
    let crc = crc32fast::hash(&[&offset[..], &header].concat()) ^ u32::from(wrong >> 1 & 1);
    header.extend(crc.to_le_bytes());
    out.extend(header);
    out.extend(payload);
    out.resize(out.len().next_multiple_of(8), 0);
}
