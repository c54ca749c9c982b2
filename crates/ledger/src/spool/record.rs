//! One record on disk, all numbers little-endian:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | length of the payload |
//! | 4..8 | number of the segment |
//! | 8 | kind: 1 facts, 2 [checkpoint](super::preface) |
//! | 9..12 | facts in the payload |
//! | 12..14 | how many keys it opens |
//! | 14..16 | how many keys it closes |
//! | 16..24 | when it was appended, microseconds since 1970 |
//! | 24..28 | CRC-32 of the payload |
//! | 28..32 | CRC-32 of the record's offset and the 28 bytes before |
//! | 32.. | payload, then zeros up to a multiple of 8 |
//!
//! The payload begins with the keys that are opened and then those that are closed, 16 bytes each, big-endian:
//! identifiers of interceptions. What follows in a record of facts is the caller's: a JSON array of facts.
//! At most 256 MiB.
//!
//! The header's checksum covers number and offset: what an earlier use of the file left behind, or what was
//! copied to another place, is never taken for a record of this segment. It also makes looking for the next
//! record behind damage cheap: one comparison and one short checksum per place.

use crate::spool::bytes::{u16_at, u32_at, u64_at};

/// Records begin at multiples of this.
pub(crate) const ALIGN: u32 = 8;
/// Length of a record's header.
pub(crate) const HEADER_BYTES: u32 = 32;
/// Largest payload. The texts of one answer are at most 32 MiB, six times as long when every character has
/// to be escaped.
pub(crate) const PAYLOAD_BYTES_MAX: u32 = 256 * 1024 * 1024;
/// Most facts of one record, bounded by the counts of keys.
pub(crate) const FACTS_MAX: usize = 60_000;

/// What a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys, then what the caller wrote.
    Facts = 1,
    /// State at the beginning of a segment.
    Checkpoint = 2,
}

/// A record's header without what depends on its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) payload_bytes: u32,
    pub(crate) facts: u32,
    pub(crate) opens: u16,
    pub(crate) closes: u16,
    pub(crate) at_micros: i64,
    pub(crate) payload_crc: u32,
}

impl Header {
    /// Bytes that the record takes, padding included.
    pub(crate) const fn record_bytes(&self) -> u32 {
        HEADER_BYTES + self.payload_bytes.next_multiple_of(ALIGN)
    }

    pub(crate) fn encode(&self, number: u32, offset: u32) -> [u8; HEADER_BYTES as usize] {
        let mut out = [0; HEADER_BYTES as usize];
        let kind_and_facts = u32::from(self.kind as u8) | self.facts << 8;
        let parts: [&[u8]; 7] = [
            &self.payload_bytes.to_le_bytes(),
            &number.to_le_bytes(),
            &kind_and_facts.to_le_bytes(),
            &self.opens.to_le_bytes(),
            &self.closes.to_le_bytes(),
            &self.at_micros.to_le_bytes(),
            &self.payload_crc.to_le_bytes(),
        ];
        let bytes = parts.into_iter().flatten();
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = *from;
        }
        let crc = header_crc(offset, &out);
        for (to, from) in out.iter_mut().skip(28).zip(crc.to_le_bytes()) {
            *to = from;
        }
        out
    }

    /// The header at `offset` and the number it carries, if it is one.
    pub(crate) fn decode(bytes: &[u8], offset: u32) -> Option<(Self, u32)> {
        let bytes: &[u8; HEADER_BYTES as usize] = bytes.first_chunk()?;
        let payload_bytes = u32_at(bytes, 0);
        let kind_and_facts = u32_at(bytes, 8);
        let kind = match kind_and_facts & 0xFF {
            1 => Kind::Facts,
            2 => Kind::Checkpoint,
            _ => return None,
        };
        if payload_bytes > PAYLOAD_BYTES_MAX || u32_at(bytes, 28) != header_crc(offset, bytes) {
            return None;
        }
        let header = Self {
            kind,
            payload_bytes,
            facts: kind_and_facts >> 8,
            opens: u16_at(bytes, 12),
            closes: u16_at(bytes, 14),
            at_micros: u64_at(bytes, 16).cast_signed(),
            payload_crc: u32_at(bytes, 24),
        };
        Some((header, u32_at(bytes, 4)))
    }

    /// Length of the keys at the payload's beginning; `None` if they would not fit in.
    pub(crate) fn key_bytes(&self) -> Option<usize> {
        let bytes = 16 * (usize::from(self.opens) + usize::from(self.closes));
        (bytes <= self.payload_bytes as usize).then_some(bytes)
    }
}

fn header_crc(offset: u32, header: &[u8; HEADER_BYTES as usize]) -> u32 {
    let mut all = [0; HEADER_BYTES as usize];
    let covered = header.iter().take(28);
    for (to, from) in all.iter_mut().zip(offset.to_le_bytes().iter().chain(covered)) {
        *to = *from;
    }
    crc32fast::hash(&all)
}

/// A record in the making. Its buffer is used again and again.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    bytes: Vec<u8>,
    header: Option<Header>,
    pub(crate) opens: Vec<u128>,
    pub(crate) closes: Vec<u128>,
}

impl Frame {
    /// Begins a record that opens and closes the keys that have been set. What the caller writes into the
    /// returned buffer, behind what is there, is the rest of the payload.
    pub(crate) fn begin(&mut self) -> &mut Vec<u8> {
        self.header = None;
        self.bytes.clear();
        self.bytes.resize(HEADER_BYTES as usize, 0);
        for key in self.opens.iter().chain(&self.closes) {
            self.bytes.extend_from_slice(&key.to_be_bytes());
        }
        &mut self.bytes
    }

    /// Completes the record but for its place. False if it is too large to be one.
    pub(crate) fn finish(&mut self, kind: Kind, facts: usize, at_micros: i64) -> bool {
        let payload = self.bytes.get(HEADER_BYTES as usize..).unwrap_or_default();
        let lengths = (
            u32::try_from(payload.len()).ok().filter(|bytes| *bytes <= PAYLOAD_BYTES_MAX),
            u32::try_from(facts).ok().filter(|_| facts <= FACTS_MAX),
            u16::try_from(self.opens.len()),
            u16::try_from(self.closes.len()),
        );
        let (Some(payload_bytes), Some(facts), Ok(opens), Ok(closes)) = lengths else {
            return false;
        };
        let payload_crc = crc32fast::hash(payload);
        self.header =
            Some(Header { kind, payload_bytes, facts, opens, closes, at_micros, payload_crc });
        let padded = self.bytes.len().next_multiple_of(ALIGN as usize);
        self.bytes.resize(padded, 0);
        true
    }

    /// The header, once finished.
    pub(crate) const fn header(&self) -> Option<Header> {
        self.header
    }

    /// The record for a place in a segment, followed by zeros up to `padded_to` if that is further.
    pub(crate) fn place(&mut self, number: u32, offset: u32, padded_to: u32) -> &[u8] {
        let Some(header) = self.header else { return &[] };
        let bytes = header.record_bytes().max(padded_to.saturating_sub(offset));
        self.bytes.resize(bytes as usize, 0);
        for (to, from) in self.bytes.iter_mut().zip(header.encode(number, offset)) {
            *to = from;
        }
        &self.bytes
    }

    /// Gives memory back that a large record took.
    pub(crate) fn trim(&mut self, bytes_max: usize) {
        if self.bytes.capacity() > bytes_max {
            self.bytes = Vec::new();
        }
    }
}

/// Keys at the beginning of a payload: those opened, those closed.
pub(crate) fn keys<'a>(
    header: &Header,
    payload: &'a [u8],
) -> (impl Iterator<Item = u128> + 'a, impl Iterator<Item = u128> + 'a) {
    let opens = usize::from(header.opens);
    let closes = usize::from(header.closes);
    let all = payload.as_chunks::<16>().0.iter().map(|key| u128::from_be_bytes(*key));
    (all.clone().take(opens), all.skip(opens).take(closes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &[u8]) -> Frame {
        let mut frame = Frame { opens: vec![7], closes: vec![8, 9], ..Frame::default() };
        frame.begin().extend_from_slice(payload);
        assert!(frame.finish(Kind::Facts, 3, -5));
        frame
    }

    #[test]
    fn a_header_reads_back_at_its_own_place_only() {
        let mut frame = frame(b"hello");
        let header = frame.header().unwrap();
        let bytes = frame.place(4, 64, 0).to_vec();
        assert_eq!(bytes.len() % ALIGN as usize, 0);
        assert_eq!(Header::decode(&bytes, 64), Some((header, 4)));
        assert_eq!(Header::decode(&bytes, 72), None, "another offset");
        let (opens, closes) = keys(&header, &bytes[32..]);
        assert_eq!((opens.collect(), closes.collect()), (vec![7_u128], vec![8_u128, 9]));
        assert_eq!(header.key_bytes(), Some(48));
        assert_eq!(&bytes[32 + 48..][..5], b"hello");
    }

    #[test]
    fn no_flipped_bit_of_a_header_goes_unseen() {
        let mut frame = frame(b"x");
        let bytes = frame.place(1, 64, 0).to_vec();
        for bit in 0..HEADER_BYTES as usize * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad, 64), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_added_up_to_the_page_and_gone_in_the_next_use() {
        let mut frame = frame(b"x");
        assert_eq!(frame.place(1, 64, 4096).len(), 4096 - 64);
        assert_eq!(frame.place(1, 4096, 4096).len(), 32 + 48 + 8);
        frame.begin();
        assert!(frame.header().is_none());
        assert!(frame.place(1, 64, 0).is_empty(), "not finished");
    }
}
