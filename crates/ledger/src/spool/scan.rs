use std::fs::File;
use std::io;

use crate::spool::preface::PREFACE_BYTES;
use crate::spool::record::{ALIGN, HEADER_BYTES, Header};
use crate::spool::window::Window;

/// Bytes that may be checksummed in vain, as multiples of the file's size: bounds the work on a file that
/// was made to look like records everywhere.
const VAIN_MAX: u64 = 4;

/// What a scan came upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A valid record; its payload can be asked for until the next step.
    Record {
        /// Its header.
        header: Header,
        /// Number of the segment that it was written for.
        number: u32,
        /// Where it begins.
        offset: u32,
        /// Where the next one may begin.
        end: u32,
    },
    /// Bytes that are no record, with records behind them or, in a segment whose end is known, before it.
    Damage {
        /// How many.
        bytes: u32,
        /// Where they end.
        end: u32,
    },
}

/// How the part of a file that was scanned ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// In zeros or in what an earlier use left behind a page of zeros, or at the limit.
    Clean,
    /// In bytes that are no whole record.
    Torn,
}

/// A place in a scan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    offset: u32,
    vain_left: u64,
    ahead: Option<Found>,
}

/// Walks over the records of one segment.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Only records of this segment count; any when it is not known.
    number: Option<u32>,
    offset: u32,
    window: Window,
    /// Bytes that may still be checksummed in vain.
    vain_left: u64,
    ahead: Option<Found>,
}

impl Scan {
    /// Begins at the first record of a file that is so long.
    pub(crate) fn new(number: Option<u32>, file_bytes: u32) -> Self {
        Self::from(number, PREFACE_BYTES, file_bytes)
    }

    /// Begins where a record begins. How much work is done in vain depends on the length of the file alone:
    /// who reads a part of it must not give up where recovery did not.
    pub(crate) fn from(number: Option<u32>, offset: u32, file_bytes: u32) -> Self {
        Self {
            number,
            offset: offset.max(PREFACE_BYTES).next_multiple_of(ALIGN),
            window: Window::default(),
            vain_left: u64::from(file_bytes) * VAIN_MAX,
            ahead: None,
        }
    }

    /// Where the last step ended.
    pub(crate) const fn offset(&self) -> u32 {
        self.offset
    }

    /// Where the scan is, for [`Self::look_again`].
    pub(crate) const fn mark(&self) -> Mark {
        Mark { offset: self.offset, vain_left: self.vain_left, ahead: self.ahead }
    }

    /// Goes back and forgets what was read.
    pub(crate) fn look_again(&mut self, mark: Mark) {
        self.offset = mark.offset;
        self.vain_left = mark.vain_left;
        self.ahead = mark.ahead;
        self.window = Window::default();
    }

    /// The next record or damage before `limit`. With `closed`, what comes before the limit ought to be
    /// records; otherwise the records end where no more is found.
    pub(crate) fn next(&mut self, file: &File, limit: u32, closed: bool) -> Option<Found> {
        if let Some(found) = self.ahead.take() {
            return Some(self.pass(found));
        }
        if self.offset >= limit {
            return None;
        }
        if let Some(found) = self.record_at(file, self.offset, limit) {
            return Some(self.pass(found));
        }
        let mut at = self.offset;
        while self.vain_left > 0 {
            at = at.saturating_add(ALIGN);
            if at.saturating_add(HEADER_BYTES) > limit {
                break;
            }
            if let Some(found) = self.record_at(file, at, limit) {
                self.ahead = Some(found);
                return Some(self.pass(Found::Damage { bytes: at - self.offset, end: at }));
            }
        }
        // Who gave up looking does not know that nothing follows, and must not have it overwritten.
        let closed = closed || self.vain_left == 0;
        let bytes = limit - self.offset;
        closed.then(|| self.pass(Found::Damage { bytes, end: limit }))
    }

    /// Why something before `end` could not be read, once. It was taken for zeros.
    pub(crate) fn take_error(&mut self, end: u32) -> Option<io::Error> {
        self.window.take_error(end.into())
    }

    /// The payload of the record that was found last.
    pub(crate) fn payload(&mut self, file: &File, header: &Header, end: u32) -> &[u8] {
        let start = end.saturating_sub(header.record_bytes()) + HEADER_BYTES;
        let len = header.payload_bytes as usize;
        self.window.read(file, u64::from(start), len, u64::from(end))
    }

    /// What is left behind the last record of a segment whose end is not known.
    pub(crate) fn tail(&mut self, file: &File, limit: u32) -> Tail {
        let next =
            self.window.read(file, u64::from(self.offset), HEADER_BYTES as usize, u64::from(limit));
        if next.iter().take(ALIGN as usize).all(|byte| *byte == 0) {
            Tail::Clean
        } else {
            Tail::Torn
        }
    }

    const fn pass(&mut self, found: Found) -> Found {
        match found {
            Found::Record { end, .. } | Found::Damage { end, .. } => self.offset = end,
        }
        found
    }

    fn record_at(&mut self, file: &File, offset: u32, limit: u32) -> Option<Found> {
        let limit = u64::from(limit);
        let bytes = self.window.read(file, u64::from(offset), HEADER_BYTES as usize, limit);
        if let Some(number) = self.number
            && bytes.get(4..8) != Some(&number.to_le_bytes()[..])
        {
            return None;
        }
        let (header, number) = Header::decode(bytes, offset)?;
        let start = u64::from(offset) + u64::from(HEADER_BYTES);
        let len = header.payload_bytes as usize;
        header.key_bytes()?;
        if start + u64::from(header.payload_bytes) > limit {
            return None;
        }
        let payload = self.window.read(file, start, len, limit);
        if payload.len() < len || crc32fast::hash(payload) != header.payload_crc {
            self.vain_left = self.vain_left.saturating_sub(header.record_bytes().into());
            return None;
        }
        let end = offset.saturating_add(header.record_bytes());
        Some(Found::Record { header, number, offset, end })
    }
}
