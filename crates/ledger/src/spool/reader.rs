//! Follows the records that may be shipped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::spool::Core;
use crate::spool::cursor::Cursor;
use crate::spool::position::Position;
use crate::spool::preface::{Checkpoint, PREFACE_BYTES};
use crate::spool::record::Kind;
use crate::spool::recover::set_aside;
use crate::spool::scan::{Found, Scan};
use crate::spool::segment::Segment;
use crate::spool::tail::Entry;

/// Something that a reader came to.
#[derive(Debug)]
pub(crate) struct Item<T> {
    /// Once it has been dealt with, this may be acknowledged.
    pub(crate) end: Cursor,
    pub(crate) at_micros: i64,
    /// Length of the record.
    pub(crate) bytes: u32,
    pub(crate) content: Unread<T>,
    /// Facts that were there and cannot be read.
    pub(crate) lost_facts: u64,
}

/// What an item holds.
#[derive(Debug)]
pub(crate) enum Unread<T> {
    /// As it was appended.
    Value(T),
    /// From the disk, without the keys.
    Payload(Vec<u8>),
    /// Nothing to ship: damage, or the end of a segment.
    Nothing,
}

/// Reads from a position on, each record once.
pub(crate) struct Reader<T> {
    core: Arc<Core<T>>,
    next: Cursor,
    open: Option<(Arc<Segment>, Scan)>,
    /// Number of the segment whose damage was logged last.
    told: u32,
}

impl<T> Reader<T> {
    /// Begins at the first record that is not acknowledged.
    pub(crate) fn new(core: Arc<Core<T>>) -> Self {
        let next = core.cursor();
        Self { core, next, open: None, told: 0 }
    }

    /// The next items that are in memory, at most so many. None if there is nothing to read.
    ///
    /// # Errors
    /// The next item has to be read from the disk.
    pub(crate) fn in_memory(&mut self, most: usize) -> Result<Vec<Item<T>>, FromDisk> {
        let horizon = self.core.horizon();
        if self.next.position >= horizon {
            return Ok(Vec::new());
        }
        let entries = self.core.state().tail.take(self.next.position, horizon, most);
        if entries.is_empty() {
            return Err(FromDisk);
        }
        self.open = None;
        Ok(entries.into_iter().map(|entry| self.pass(entry)).collect())
    }

    fn pass(&mut self, entry: Entry<T>) -> Item<T> {
        let expected = entry.end.totals.facts.saturating_sub(u64::from(entry.facts));
        let lost_facts = expected.saturating_sub(self.next.totals.facts);
        self.next = entry.end;
        Item {
            end: entry.end,
            at_micros: entry.at_micros,
            bytes: entry.bytes,
            content: Unread::Value(entry.value),
            lost_facts,
        }
    }

    /// The next item from the disk, if there is one. Blocks.
    ///
    /// # Errors
    /// The disk failed where it should be. Nothing is passed over: the next call tries the same place again.
    pub(crate) fn next_on_disk(&mut self) -> io::Result<Option<Item<T>>> {
        let horizon = self.core.horizon();
        while self.next.position < horizon {
            let Some((segment, limit)) = self.locate(horizon) else { return Ok(None) };
            if self.open.as_ref().is_none_or(|(open, _)| !Arc::ptr_eq(open, &segment)) {
                let here = self.next.position.segment() == segment.number;
                let from = if here { self.next.position.offset() } else { PREFACE_BYTES };
                let scan = Scan::from(Some(segment.number), from, segment.slot.bytes);
                self.open = Some((Arc::clone(&segment), scan));
            }
            match self.step(&segment, limit) {
                Ok(None) => {}
                Err(error) => {
                    // What was read of it is not to be relied on.
                    self.open = None;
                    return Err(error);
                }
                item => return item,
            }
        }
        Ok(None)
    }

    /// When the next record was appended, if it can be read at once.
    pub(crate) fn peek_micros(&self) -> Option<i64> {
        let (segment, limit) = self.locate(self.core.horizon())?;
        let here = self.next.position.segment() == segment.number;
        let from = if here { self.next.position.offset() } else { PREFACE_BYTES };
        let mut scan = Scan::from(Some(segment.number), from, segment.slot.bytes);
        // Before it there may be a checkpoint.
        for _ in 0..2 {
            match scan.next(&segment.slot.file, limit, true)? {
                Found::Record { header, .. } if header.kind == Kind::Facts => {
                    return Some(header.at_micros);
                }
                _ => {}
            }
        }
        None
    }

    /// The segment with the next record, and up to where it may be read.
    fn locate(&self, horizon: Position) -> Option<(Arc<Segment>, u32)> {
        let state = self.core.state();
        let active = state.active.as_ref().map(|active| &active.segment);
        let mut all = state.waiting.iter().chain(active);
        let next = self.next.position;
        let segment = all.find(|segment| segment.end_position() > next)?;
        let limit = segment.end_position().min(horizon);
        (limit.segment() == segment.number).then(|| (Arc::clone(segment), limit.offset()))
    }

    /// One step in a segment; nothing when it only brought us further.
    fn step(&mut self, segment: &Arc<Segment>, limit: u32) -> io::Result<Option<Item<T>>> {
        let Some((_, scan)) = self.open.as_mut() else { return Ok(None) };
        let file = &segment.slot.file;
        let found = scan.next(file, limit, segment.end_is_known);
        // What looks like damage, or like the end, may be what the disk did not read.
        let passed = match found {
            Some(Found::Record { .. }) => 0,
            Some(Found::Damage { end, .. }) => end,
            None => limit,
        };
        if let Some(error) = scan.take_error(passed) {
            return Err(error);
        }
        let Some(found) = found else { return Ok(Some(self.skip(segment, limit, 0))) };
        Ok(match found {
            Found::Record { header, end, .. } if header.kind == Kind::Facts => {
                let keys = header.key_bytes().unwrap_or(0);
                let payload = scan.payload(file, &header, end).get(keys..).unwrap_or_default();
                let content = Unread::Payload(payload.to_vec());
                self.next.totals.add(header.facts, header.record_bytes());
                self.next.position = Position::new(segment.number, end);
                Some(Item {
                    end: self.next,
                    at_micros: header.at_micros,
                    bytes: header.record_bytes(),
                    content,
                    lost_facts: 0,
                })
            }
            Found::Record { header, end, .. } => {
                let checkpoint = Checkpoint::decode(scan.payload(file, &header, end));
                let before = checkpoint.map_or(self.next.totals, |checkpoint| checkpoint.before);
                let lost = before.facts.saturating_sub(self.next.totals.facts);
                self.next.totals = before;
                Some(self.skip(segment, end, lost))
            }
            Found::Damage { bytes, end } => {
                self.core.counts.damaged_bytes.fetch_add(u64::from(bytes), Ordering::Relaxed);
                if std::mem::replace(&mut self.told, segment.number) != segment.number {
                    let position = Position::new(segment.number, end - bytes);
                    tracing::error!(%position, bytes, "the spool is damaged; what is left is shipped");
                    let folder = Arc::clone(&self.core.state().folder);
                    set_aside(&folder, &self.core.plan, &segment.slot, segment.number);
                }
                Some(self.skip(segment, end, 0))
            }
        })
    }

    fn skip(&mut self, segment: &Segment, end: u32, lost_facts: u64) -> Item<T> {
        self.next.position = Position::new(segment.number, end);
        Item { end: self.next, at_micros: 0, bytes: 0, content: Unread::Nothing, lost_facts }
    }
}

/// The next record is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FromDisk;
