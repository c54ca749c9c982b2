//! A bounded queue of records on disk. It knows bytes, keys that records open and close, and positions;
//! what the bytes say is its users' business.
//!
//! Records are appended to numbered segments of fixed size. Their files are made and filled with zeros ahead
//! and used again once acknowledged, so that an append is one write into an existing file and a sync changes
//! no metadata. One thread syncs for everybody ([`commit`]), another prepares files ([`keeper`]). A reader
//! ([`reader`]) follows up to the horizon: what may be shown to others. What it has dealt with is
//! acknowledged; the cursor that says so may lag behind the truth and never leads.
//!
//! # Files
//!
//! The directory has mode 0700, its files 0600. Numbers on disk are little-endian, checksums CRC-32 (IEEE),
//! lengths and places `u32`, times `i64` microseconds since 1970.
//!
//! | name | what |
//! | --- | --- |
//! | `lock` | empty; who uses the spool holds an exclusive `flock` on it. Readers from outside take none |
//! | `cursor` | up to where everything is acknowledged, see [`cursor`] |
//! | `segment-IIII.spool` | a segment, or room for one. `IIII` is the file's index, at least four decimal digits. It says nothing about the order: a file is used again for later segments |
//! | `segment-NNNNNNNNNN.damaged` | copy of a segment with damage, by its number, for people |
//! | `file-IIII-K.damaged` | a file whose beginning and records could all not be read, moved out of the way |
//! | `refused.jsonl` | facts that can never be stored; written by the ledger, not by the spool |
//!
//! # A segment
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..64 | preface: magic, version and the segment's number, see [`preface`] |
//! | 64.. | a checkpoint: where the spool stood and which keys were open, see [`preface`] |
//! | after it | records of facts, each at a multiple of 8, without gaps, see [`record`] |
//! | behind the last | zeros up to the end of the page (4 KiB), then zeros or what an earlier use left |
//!
//! Numbers begin at 1 and grow by 1 with each segment, whichever file it is in; they order the records. A
//! record lies in one segment. Ordinary segments have a 64th of the spool's bound, between 64 KiB and 16 MiB;
//! a record that does not fit gets a segment of its own size. A preface of 64 zeros is a file that was never
//! used. One of another version makes the spool refuse to open.
//!
//! Where a segment ends is said by the checkpoint of the next one. The last one ends where no valid record
//! follows. A valid record has checksums that cover the segment's number and the record's place in it, so
//! nothing that an earlier use left behind is one. Bytes before the end that are no record are damage: they are
//! counted, passed over, and cost no other record. Bytes that the disk does not give back are not damage; they
//! are read again later.
//!
//! # What is synced when
//!
//! - An append is one `pwrite` of the record, with zeros to the end of the page when it reaches into a new one.
//!   One thread then calls `fdatasync` on all segments written to, the full ones first ([`syncer`]). With [`SyncPolicy::Strict`] that is
//!   what the appender waits for; it happens within 5 ms even if nobody waits. With [`SyncPolicy::Os`] it
//!   happens every second, and nobody waits.
//! - A file that could not be synced is never synced or written again. Nothing more is taken until a fresh
//!   file could be filled and synced.
//! - A file is filled with zeros and synced with `fsync`, and then the directory, before it is used. One that is
//!   needed at once is only reserved; then the directory is synced before the first record in it counts as
//!   durable.
//! - The cursor is written at every acknowledgement and synced about every second, and at the end. It is synced
//!   before any file that it has passed is overwritten or removed: a crash never leaves a cursor that points to
//!   a segment that is gone.
//! - At the start the last two segments are synced before anything is appended, because the process before may
//!   have ended before it did so.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::Notify;

use crate::settings::{OpenError, SyncPolicy};

mod bytes;
mod claims;
mod commit;
mod cursor;
mod folder;
mod health;
mod keeper;
mod keys;
mod outside;
mod plan;
mod position;
mod preface;
mod reader;
mod record;
mod recover;
mod scan;
mod segment;
mod state;
mod syncer;
mod tail;
mod window;

pub(crate) use commit::Synced;
pub(crate) use cursor::Cursor;
pub use health::Health;
pub(crate) use health::Refusal;
pub(crate) use outside::Outside;
pub(crate) use plan::Plan;
pub use position::Position;
pub(crate) use reader::{FromDisk, Item, Reader, Unread};
pub(crate) use record::{Frame, Kind};
pub(crate) use recover::Findings;
pub(crate) use state::Class;

#[cfg(test)]
pub(crate) use window::faults;

use commit::Commit;
use folder::Folder;
use keeper::Keeper;
use state::State;

/// What all who use one spool share.
pub(crate) struct Core<T> {
    pub(crate) plan: Plan,
    pub(crate) sync: SyncPolicy,
    commit: Arc<Commit>,
    keeper: Keeper,
    state: Mutex<State<T>>,
    /// Bits of the position up to which records may be shipped.
    horizon: AtomicU64,
    /// Told when the horizon has moved.
    pub(crate) arrived: Notify,
    /// Told when the cursor has moved.
    pub(crate) acknowledged: Notify,
    pub(crate) counts: Counts,
}

/// Counted as it happens, for whoever publishes it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) appends: AtomicU64,
    pub(crate) damaged_bytes: AtomicU64,
}

/// A figure of everything at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) health: Health,
    pub(crate) waiting_facts: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) open: usize,
    pub(crate) active: bool,
    pub(crate) waiting_segments: usize,
    pub(crate) kept_segments: usize,
    pub(crate) blank_segments: usize,
}

/// Told of what happens on the spool's own threads.
pub(crate) trait Observer: Send + Sync + 'static {
    /// A sync took so long and made so many waiters happy.
    fn synced(&self, took: std::time::Duration, failed: bool);
    /// About every second.
    fn tick(&self);
}

/// A spool that is open. Its threads end when this is dropped.
pub(crate) struct Spool<T: Send + 'static> {
    core: Arc<Core<T>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<T: Send + 'static> Spool<T> {
    /// Opens the spool in `dir` and finds out what is in it. Blocks on the disk. Nothing runs before
    /// [`Self::start`].
    pub(crate) fn open(
        dir: &Path,
        plan: Plan,
        sync: SyncPolicy,
    ) -> Result<(Self, Findings), OpenError> {
        let folder = Arc::new(Folder::open(dir)?);
        let (mut state, findings) = recover::recover(&folder, plan)?;
        // The cursor may have been moved; see there.
        let cursor = state.cursor;
        if let Err(error) = state.cursor_file.save(&cursor).and_then(|()| state.sync_cursor()) {
            tracing::warn!(error = %error, "cannot save the cursor of the spool");
            if state.active.is_some() {
                state.abandon_active();
            }
        }
        let commit = Arc::new(Commit::default());
        commit.appended(state.last);
        let core = Core {
            plan,
            sync,
            commit,
            keeper: Keeper::default(),
            horizon: AtomicU64::new(state.last.bits()),
            state: Mutex::new(state),
            arrived: Notify::new(),
            acknowledged: Notify::new(),
            counts: Counts::default(),
        };
        Ok((Self { core: Arc::new(core), threads: Mutex::default() }, findings))
    }

    /// Starts the threads.
    pub(crate) fn start(&self, observer: Arc<dyn Observer>) -> Result<(), OpenError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let (core, other) = (Arc::clone(&self.core), Arc::clone(&observer));
        let work = move || syncer::run(&core, &*other);
        threads.push(spawn("spool-sync", work)?);
        let core = Arc::clone(&self.core);
        threads.push(spawn("spool-keeper", move || keeper::run(&core, &*observer))?);
        Ok(())
    }

    pub(crate) const fn core(&self) -> &Arc<Core<T>> {
        &self.core
    }

    /// Takes no more, makes everything durable and ends the threads. Blocks.
    pub(crate) fn close(&self) {
        self.core.close();
        self.core.commit.stop();
        self.core.keeper.stop();
        let threads = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *threads)
        };
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the spool panicked");
            }
        }
        let mut state = self.core.state();
        if let Err(error) = state.sync_cursor() {
            tracing::warn!(error = %error, "cannot save the cursor of the spool");
        }
        state.remove_spent();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(OpenError::Thread)
}

impl<T: Send + 'static> Drop for Spool<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// A record that was taken.
pub(crate) struct Taken {
    /// Resolves when it is durable; absent when it is already.
    pub(crate) synced: Option<Synced>,
}

impl<T> Core<T> {
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a finished frame. When this returns the system has it. Gives `value` back with the refusal.
    pub(crate) fn append(
        &self,
        frame: &mut Frame,
        class: Class,
        value: T,
    ) -> Result<Taken, (Refusal, T)> {
        let Some(header) = frame.header() else { return Err((Refusal::TooLarge, value)) };
        let (segment, end) = {
            let mut state = self.state();
            match state.append(frame, header, class) {
                Ok((segment, end)) => {
                    let position = Position::new(segment.number, end);
                    state.remember(header, position, value);
                    self.commit.appended(position);
                    if self.sync == SyncPolicy::Os {
                        self.horizon.store(position.bits(), Ordering::Release);
                    }
                    if state.told != Health::Writable {
                        state.tell();
                    }
                    if state.should_nudge() {
                        self.keeper.nudge();
                    }
                    (segment, end)
                }
                Err(refusal) => {
                    state.tell();
                    if state.should_nudge() {
                        self.keeper.nudge();
                    }
                    return Err((refusal, value));
                }
            }
        };
        self.counts.appends.fetch_add(1, Ordering::Relaxed);
        let synced = match self.sync {
            SyncPolicy::Strict => {
                self.commit.nudge();
                Some(Synced::new(Arc::clone(&self.commit), segment, end))
            }
            SyncPolicy::Os => {
                self.arrived.notify_one();
                None
            }
        };
        Ok(Taken { synced })
    }

    /// Whether a key is open.
    pub(crate) fn is_open(&self, key: u128) -> bool {
        self.state().open.contains(&key)
    }

    /// All keys that are open, in order.
    pub(crate) fn open_keys(&self) -> Vec<u128> {
        let mut keys: Vec<_> = self.state().open.iter().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Everything up to `cursor` has been dealt with for good.
    pub(crate) fn acknowledge(&self, cursor: Cursor) {
        self.state().acknowledge(cursor);
        self.acknowledged.notify_waiters();
    }

    pub(crate) fn cursor(&self) -> Cursor {
        self.state().cursor
    }

    pub(crate) fn horizon(&self) -> Position {
        Position::from_bits(self.horizon.load(Ordering::Acquire))
    }

    /// Takes no more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.tell();
    }

    /// When the oldest record that is not acknowledged was appended, as far as that can be read.
    pub(crate) fn oldest_micros(self: &Arc<Self>) -> Option<i64> {
        let cursor = self.cursor();
        let near = self.state().tail.at(cursor.position);
        near.or_else(|| Reader::new(Arc::clone(self)).peek_micros())
    }

    pub(crate) fn figures(&self) -> Figures {
        let state = self.state();
        let (all, done) = (state.totals, state.cursor.totals);
        Figures {
            health: state.health(),
            waiting_facts: all.facts.saturating_sub(done.facts),
            waiting_bytes: all.bytes.saturating_sub(done.bytes),
            disk_bytes: state.disk_bytes,
            open: state.open.len(),
            active: state.active.is_some(),
            waiting_segments: state.waiting.len(),
            kept_segments: state.kept.len(),
            blank_segments: state.blank.len(),
        }
    }
}

#[cfg(test)]
mod tests;
