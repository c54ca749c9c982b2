use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::spool::folder::Slot;
use crate::spool::position::Position;
use crate::spool::preface::Totals;

/// One use of a file: a numbered part of the spool.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) slot: Arc<Slot>,
    pub(crate) number: u32,
    /// What was appended before it.
    pub(crate) before: Totals,
    /// Whether all before the end ought to be records. Otherwise the records end where no more is found.
    pub(crate) end_is_known: bool,
    end: AtomicU32,
    synced: AtomicU32,
    failed: AtomicBool,
    spoiled: AtomicBool,
}

impl Segment {
    /// A segment whose records end at `end`, and are durable so far.
    pub(crate) fn new(slot: Arc<Slot>, number: u32, before: Totals, end: u32, synced: u32) -> Self {
        Self {
            slot,
            number,
            before,
            end_is_known: true,
            end: AtomicU32::new(end),
            synced: AtomicU32::new(synced),
            failed: AtomicBool::new(false),
            spoiled: AtomicBool::new(false),
        }
    }

    /// A segment that could not be read to the end of its records.
    pub(crate) fn of_unknown_end(self) -> Self {
        Self { end_is_known: false, ..self }
    }

    /// Where its records end at present.
    pub(crate) fn end(&self) -> u32 {
        self.end.load(Ordering::Acquire)
    }

    pub(crate) fn end_position(&self) -> Position {
        Position::new(self.number, self.end())
    }

    /// Called by who appends.
    pub(crate) fn set_end(&self, end: u32) {
        self.end.store(end, Ordering::Release);
    }

    /// Whether what ends at `end` is durable: not yet, yes, or never.
    pub(crate) fn settled(&self, end: u32) -> Option<bool> {
        if self.synced.load(Ordering::Acquire) >= end {
            return Some(true);
        }
        self.failed.load(Ordering::Acquire).then_some(false)
    }

    /// Makes durable what ends at `end`. After a failure the file is never synced again: the system may have
    /// dropped what it could not write, and would report success.
    pub(crate) fn sync(&self, end: u32) -> io::Result<()> {
        if self.failed() {
            return Err(io::Error::other("an earlier sync of this file failed"));
        }
        let synced = self.slot.sync_data();
        if synced.is_ok() {
            self.synced.fetch_max(end, Ordering::AcqRel);
        } else {
            self.fail();
        }
        synced
    }

    /// What is not durable by now never will be known to be.
    pub(crate) fn fail(&self) {
        self.spoil();
        self.failed.store(true, Ordering::Release);
    }

    /// The file cannot be trusted with anything new.
    pub(crate) fn spoil(&self) {
        self.spoiled.store(true, Ordering::Release);
    }

    pub(crate) fn spoiled(&self) -> bool {
        self.spoiled.load(Ordering::Acquire)
    }

    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}
