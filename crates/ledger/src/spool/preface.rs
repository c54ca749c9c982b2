//! What stands at the beginning of a segment: a header that says which file this is, and the first record,
//! a checkpoint that says where the spool stood when the segment was begun. All numbers are little-endian.
//!
//! The header, 64 bytes; 64 zeros are a file that was never used:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | `AIGWSPL` and a line feed |
//! | 8..12 | version of the format, 1 |
//! | 12..16 | number of the segment |
//! | 16..60 | zeros |
//! | 60..64 | CRC-32 of bytes 0..60 |
//!
//! The checkpoint is a record, see [`super::record`], of kind 2 at byte 64, with no facts and no keys in its
//! header. Its payload:
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..8 | facts appended to the spool before, since its beginning |
//! | 8..16 | bytes of the records of facts before, headers and padding included |
//! | 16..24 | where the records of the segment before end: offset, and its number in the upper half |
//! | 24..32 | how many keys are open |
//! | 32.. | these, 16 bytes each, big-endian, in no order |

use crate::spool::bytes::{put, u32_at, u64_at};
use crate::spool::position::Position;
use crate::spool::record::{ALIGN, Frame, HEADER_BYTES, Kind};

const MAGIC: &[u8; 8] = b"AIGWSPL\n";
/// Format of segments. Another one is refused, never overwritten.
const VERSION: u32 = 1;
/// Length of the header; the first record follows.
pub(crate) const PREFACE_BYTES: u32 = 64;
/// Length of a checkpoint's fixed part.
const CHECKPOINT_BYTES: usize = 32;

/// What a file's first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    /// In use, or used before, as the segment of this number.
    Numbered(u32),
    /// Prepared and never used.
    Blank,
    /// Of another format.
    Foreign(u32),
    /// None of these.
    Unreadable,
}

impl Preface {
    pub(crate) fn encode(number: u32) -> [u8; PREFACE_BYTES as usize] {
        let mut out = [0; PREFACE_BYTES as usize];
        put(&mut out, 0, MAGIC);
        put(&mut out, 8, &VERSION.to_le_bytes());
        put(&mut out, 12, &number.to_le_bytes());
        let crc = crc32fast::hash(out.get(..60).unwrap_or_default());
        put(&mut out, 60, &crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        let Some(bytes) = bytes.first_chunk::<{ PREFACE_BYTES as usize }>() else {
            return Self::Unreadable;
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        let sound = bytes.starts_with(MAGIC)
            && u32_at(bytes, 60) == crc32fast::hash(bytes.get(..60).unwrap_or_default());
        match (sound, u32_at(bytes, 8)) {
            (true, VERSION) => Self::Numbered(u32_at(bytes, 12)),
            (true, other) => Self::Foreign(other),
            (false, _) => Self::Unreadable,
        }
    }
}

/// How much has gone through the spool, since its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) facts: u64,
    /// Of whole records.
    pub(crate) bytes: u64,
}

impl Totals {
    /// With a record more. What the disk says may be as large as it likes.
    pub(crate) fn add(&mut self, facts: u32, bytes: u32) {
        self.facts = self.facts.saturating_add(facts.into());
        self.bytes = self.bytes.saturating_add(bytes.into());
    }
}

/// Where the spool stood when a segment was begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// Everything appended before.
    pub(crate) before: Totals,
    /// Where the records of the segment before end.
    pub(crate) previous: Position,
    /// Keys that were open.
    pub(crate) open: Vec<u128>,
}

impl Checkpoint {
    /// Bytes that header and checkpoint take with so many open keys.
    pub(crate) fn room(open: usize) -> u32 {
        let payload = (CHECKPOINT_BYTES + 16 * open).next_multiple_of(ALIGN as usize);
        PREFACE_BYTES + HEADER_BYTES + u32::try_from(payload).unwrap_or(u32::MAX / 2)
    }

    /// As a record.
    pub(crate) fn frame(&self, at_micros: i64) -> Frame {
        let mut frame = Frame::default();
        let out = frame.begin();
        out.extend_from_slice(&self.before.facts.to_le_bytes());
        out.extend_from_slice(&self.before.bytes.to_le_bytes());
        out.extend_from_slice(&self.previous.bits().to_le_bytes());
        out.extend_from_slice(&(self.open.len() as u64).to_le_bytes());
        for key in &self.open {
            out.extend_from_slice(&key.to_be_bytes());
        }
        frame.finish(Kind::Checkpoint, 0, at_micros);
        frame
    }

    pub(crate) fn decode(payload: &[u8]) -> Option<Self> {
        let keys = payload.get(CHECKPOINT_BYTES..)?;
        let count = u64_at(payload, 24);
        let (keys, rest) = keys.as_chunks::<16>();
        (keys.len() as u64 == count && rest.is_empty()).then(|| Self {
            before: Totals { facts: u64_at(payload, 0), bytes: u64_at(payload, 8) },
            previous: Position::from_bits(u64_at(payload, 16)),
            open: keys.iter().map(|key| u128::from_be_bytes(*key)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_a_file_is() {
        let good = Preface::encode(7);
        assert_eq!(Preface::decode(&good), Preface::Numbered(7));
        assert_eq!(Preface::decode(&[0; 64]), Preface::Blank);
        assert_eq!(Preface::decode(&good[..63]), Preface::Unreadable);
        for byte in 0..64 {
            let mut bad = good;
            bad[byte] ^= 0x10;
            assert_eq!(Preface::decode(&bad), Preface::Unreadable, "byte {byte}");
        }
        let mut newer = good;
        newer[8] = 2;
        let crc = crc32fast::hash(&newer[..60]);
        newer[60..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Preface::decode(&newer), Preface::Foreign(2));
    }

    #[test]
    fn a_checkpoint_reads_back_and_takes_the_stated_room() {
        for open in [vec![], vec![1, u128::MAX, 3]] {
            let checkpoint = Checkpoint {
                before: Totals { facts: 5, bytes: 900 },
                previous: Position::new(2, 4711),
                open: open.clone(),
            };
            let mut frame = checkpoint.frame(9);
            let header = frame.header().unwrap();
            assert_eq!(header.kind, Kind::Checkpoint);
            assert_eq!(PREFACE_BYTES + header.record_bytes(), Checkpoint::room(open.len()));
            let payload = frame.place(1, 64, 0)[32..][..header.payload_bytes as usize].to_vec();
            assert_eq!(Checkpoint::decode(&payload), Some(checkpoint));
            assert_eq!(Checkpoint::decode(&payload[..payload.len() - 1]), None);
        }
    }
}
