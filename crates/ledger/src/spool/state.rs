use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use crate::spool::cursor::{self, Cursor, CursorFile};
use crate::spool::folder::{Fill, Folder, Slot};
use crate::spool::health::{Health, Refusal};
use crate::spool::keys::Keys;
use crate::spool::plan::{PAGE_BYTES, Plan};
use crate::spool::position::Position;
use crate::spool::preface::{Checkpoint, PREFACE_BYTES, Preface, Totals};
use crate::spool::record::{Frame, HEADER_BYTES, Header};
use crate::spool::segment::Segment;
use crate::spool::tail::{Entry, Tail};

/// What changes with every append and acknowledgement.
#[expect(clippy::struct_excessive_bools, reason = "each stands for itself")]
pub(crate) struct State<T> {
    pub(crate) plan: Plan,
    pub(crate) folder: Arc<Folder>,
    pub(crate) active: Option<Active>,
    /// Full segments that are not acknowledged, oldest first.
    pub(crate) waiting: VecDeque<Arc<Segment>>,
    /// Files of acknowledged segments with their numbers, oldest first. They are overwritten in that order,
    /// as late as possible, so that what they say can be compared with what was stored.
    pub(crate) kept: VecDeque<(u32, Arc<Slot>)>,
    /// Files of acknowledged segments that are of no further use, with their numbers. They are removed once
    /// the cursor that passed them is durable.
    pub(crate) spent: VecDeque<(u32, Arc<Slot>)>,
    /// Files that were never used.
    pub(crate) blank: VecDeque<Arc<Slot>>,
    pub(crate) next_number: u32,
    pub(crate) next_index: u32,
    /// Of all files of segments.
    pub(crate) disk_bytes: u64,
    pub(crate) totals: Totals,
    /// End of the last record of facts.
    pub(crate) last: Position,
    pub(crate) open: Keys,
    /// Full segments that have not been synced.
    pub(crate) unsynced: Vec<Arc<Segment>>,
    /// A file was made and its name is not durable.
    pub(crate) names_unsynced: bool,
    pub(crate) tail: Tail<T>,
    pub(crate) cursor: Cursor,
    pub(crate) cursor_file: CursorFile,
    /// Up to where the cursor is durable.
    pub(crate) cursor_synced: Position,
    /// Why no file could be made last time.
    pub(crate) disk: Option<Health>,
    /// The disk failed to write or sync; nothing is taken until a fresh file could be synced.
    pub(crate) poisoned: bool,
    /// The last record that was not urgent found no room.
    pub(crate) full: bool,
    pub(crate) closed: bool,
    /// What was logged last.
    pub(crate) told: Health,
}

/// The segment that is appended to.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) segment: Arc<Segment>,
    pub(crate) offset: u32,
    /// Up to here the file is known to hold zeros.
    pub(crate) padded_to: u32,
}

impl Active {
    fn left(&self) -> u32 {
        self.segment.slot.bytes.saturating_sub(self.offset)
    }
}

/// How much room a record leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// What is reserved for closing open keys stays free.
    Ordinary,
    /// This is what room was reserved for.
    Reserved,
}

impl<T> State<T> {
    /// Writes a finished frame behind the last record. Returns the segment and where the record ends in it.
    pub(crate) fn append(
        &mut self,
        frame: &mut Frame,
        header: Header,
        class: Class,
    ) -> Result<(Arc<Segment>, u32), Refusal> {
        if self.closed {
            return Err(Refusal::Closed);
        }
        self.make_room(frame, header, class)?;
        let bytes = header.record_bytes();
        if self.active.as_ref().is_none_or(|active| active.left() < bytes) {
            self.begin_segment(bytes, header.at_micros).map_err(Refusal::NoRoom)?;
        }
        let Some(active) = &mut self.active else {
            return Err(Refusal::NoRoom(Health::Failing));
        };
        let end = active.offset + bytes;
        let size = active.segment.slot.bytes;
        // Whole pages, so that the disk need not read what is overwritten, and so that zeros tell the end.
        let padded_to = if end.saturating_add(HEADER_BYTES) > active.padded_to {
            (end + HEADER_BYTES).next_multiple_of(PAGE_BYTES).min(size)
        } else {
            0
        };
        let number = active.segment.number;
        let record = frame.place(number, active.offset, padded_to);
        if let Err(error) = active.segment.slot.file.write_all_at(record, active.offset.into()) {
            let health = Health::of(&error);
            tracing::error!(error = %error, state = health.as_str(), "cannot write to the spool");
            self.abandon_active();
            return Err(Refusal::NoRoom(health));
        }
        active.padded_to = active.padded_to.max(padded_to);
        active.offset = end;
        active.segment.set_end(end);
        let segment = Arc::clone(&active.segment);
        self.count(frame, header);
        Ok((segment, end))
    }

    fn count(&mut self, frame: &Frame, header: Header) {
        self.totals.add(header.facts, header.record_bytes());
        self.open.extend(&frame.opens);
        for key in &frame.closes {
            self.open.remove(key);
        }
    }

    /// Hands the value of the record that was just written to the tail.
    pub(crate) fn remember(&mut self, header: Header, end: Position, value: T) {
        let cursor = Cursor { position: end, totals: self.totals };
        self.tail.push(Entry {
            after: self.last,
            end: cursor,
            at_micros: header.at_micros,
            bytes: header.record_bytes(),
            facts: header.facts,
            value,
        });
        self.last = end;
    }

    /// Whether a record fits and leaves the room it has to leave; tries for more.
    fn make_room(&mut self, frame: &Frame, header: Header, class: Class) -> Result<(), Refusal> {
        if self.poisoned {
            return Err(Refusal::NoRoom(self.health()));
        }
        let bytes = u64::from(header.record_bytes());
        let open = (self.open.len() + frame.opens.len()).saturating_sub(frame.closes.len());
        let mut spare = if class == Class::Reserved { 0 } else { self.plan.reserve(open) };
        if self.full && class == Class::Ordinary {
            // Who was full takes up again only when there is room for more than one record.
            spare += u64::from(self.plan.segment_bytes) / 2;
        }
        let capacity = self.plan.capacity(self.open.len());
        if bytes > capacity {
            return self.begin_large(header, spare);
        }
        loop {
            if self.room_after(bytes, capacity).is_some_and(|left| left >= spare) {
                if class == Class::Ordinary {
                    self.full = false;
                }
                return Ok(());
            }
            if !self.retire_active() && !self.grow() {
                if class == Class::Ordinary {
                    self.full = true;
                }
                return Err(Refusal::NoRoom(self.disk.unwrap_or(Health::Full)));
            }
        }
    }

    /// Takes records again once there is room, by the rule of [`Self::make_room`]: while everybody is refused
    /// elsewhere because of this, none comes to find out.
    pub(crate) fn reopen(&mut self) {
        if !self.full || self.poisoned {
            return;
        }
        let open = self.open.len();
        let capacity = self.plan.capacity(open);
        let spare = self.plan.reserve(open + 1) + u64::from(self.plan.segment_bytes) / 2;
        let fits = |state: &Self| state.room_after(u64::from(PAGE_BYTES), capacity);
        while fits(self).is_none_or(|left| left < spare) {
            if !self.retire_active() {
                return;
            }
        }
        self.full = false;
        self.tell();
    }

    /// Bytes that can be written behind a record of `bytes` without taking more of the disk.
    fn room_after(&self, bytes: u64, capacity: u64) -> Option<u64> {
        let free = (self.blank.len() + self.kept.len()) as u64 * capacity;
        let left = self.active.as_ref().map_or(0, |active| u64::from(active.left()));
        (left.checked_sub(bytes).map(|left| left + free)).or_else(|| free.checked_sub(bytes))
    }

    /// Makes one more file while somebody waits. The thread that prepares files is behind.
    fn grow(&mut self) -> bool {
        if self.disk.is_some() || !self.can_grow(self.plan.segment_bytes) {
            return false;
        }
        match self.folder.create(self.next_index, self.plan.segment_bytes, Fill::Reserved) {
            Ok(slot) => {
                self.names_unsynced = true;
                self.add_blank(slot);
                true
            }
            Err(error) => {
                self.disk = Some(Health::of(&error));
                false
            }
        }
    }

    pub(crate) fn may_grow(&self, bytes: u32) -> bool {
        self.disk_bytes + u64::from(bytes) <= self.plan.segments_bytes
    }

    /// The same, with the room of what is not needed any more.
    pub(crate) fn can_grow(&mut self, bytes: u32) -> bool {
        if !self.may_grow(bytes) {
            self.remove_spent();
        }
        self.may_grow(bytes)
    }

    pub(crate) fn add_blank(&mut self, slot: Slot) {
        self.next_index = self.next_index.max(slot.index.saturating_add(1));
        self.disk_bytes += u64::from(slot.bytes);
        self.disk = None;
        self.blank.push_back(Arc::new(slot));
    }

    /// With nothing unacknowledged, the file in use can be begun anew.
    fn retire_active(&mut self) -> bool {
        let all = self.waiting.is_empty() && self.cursor.position >= self.last;
        let used = self.active.as_ref().is_some_and(|active| {
            active.offset > Checkpoint::room(self.open.len()).next_multiple_of(PAGE_BYTES)
                && active.segment.slot.bytes == self.plan.segment_bytes
        });
        if !all || !used {
            return false;
        }
        self.seal_active();
        self.release();
        true
    }

    /// A record larger than a segment gets one of its own.
    fn begin_large(&mut self, header: Header, spare: u64) -> Result<(), Refusal> {
        let bytes = u64::from(Checkpoint::room(self.open.len()))
            + u64::from(header.record_bytes())
            + u64::from(PAGE_BYTES);
        let bytes = u32::try_from(bytes.next_multiple_of(u64::from(PAGE_BYTES)))
            .map_err(|_| Refusal::TooLarge)?;
        if u64::from(bytes) + spare > self.plan.segments_bytes {
            return Err(Refusal::TooLarge);
        }
        let capacity = self.plan.capacity(self.open.len());
        let left = |state: &Self| (state.blank.len() + state.kept.len()) as u64 * capacity;
        // The thread that prepares files may be behind.
        let both = bytes.saturating_add(self.plan.segment_bytes);
        while left(self) < spare && self.can_grow(both) && self.grow() {}
        while !self.can_grow(bytes) && left(self) >= spare + capacity && self.give_up_one() {}
        if !self.may_grow(bytes) || left(self) < spare {
            return Err(Refusal::NoRoom(Health::Full));
        }
        let slot = match self.folder.create(self.next_index, bytes, Fill::Reserved) {
            Ok(slot) => slot,
            Err(error) => return Err(Refusal::NoRoom(Health::of(&error))),
        };
        self.next_index = self.next_index.max(slot.index.saturating_add(1));
        self.disk_bytes += u64::from(bytes);
        self.names_unsynced = true;
        self.use_slot(Arc::new(slot), header.at_micros).map_err(Refusal::NoRoom)
    }

    /// Goes on in the next file.
    fn begin_segment(&mut self, bytes: u32, at_micros: i64) -> Result<(), Health> {
        let slot = if self.kept.len() > self.plan.kept { self.take_kept() } else { None };
        let slot = slot.or_else(|| self.blank.pop_front()).or_else(|| self.take_kept());
        let Some(slot) = slot else { return Err(Health::Full) };
        debug_assert!(slot.bytes >= bytes, "the room was counted");
        self.use_slot(slot, at_micros)
    }

    fn take_kept(&mut self) -> Option<Arc<Slot>> {
        let (number, _) = self.kept.front()?;
        if !self.pass_for_good(*number) {
            return None;
        }
        self.kept.pop_front().map(|(_, slot)| slot)
    }

    /// Whether the cursor on the disk, also after the machine has crashed, is behind this acknowledged segment.
    /// One that pointed to a segment that is gone would look like a loss.
    pub(crate) fn is_passed_for_good(&self, number: u32) -> bool {
        self.cursor_synced.segment() > number || self.cursor_synced >= self.cursor.position
    }

    /// Makes it so, if it can be done.
    fn pass_for_good(&mut self, number: u32) -> bool {
        self.is_passed_for_good(number) || self.sync_cursor().is_ok()
    }

    /// Removes a file that is not in use: an acknowledged one, or else one that was never used.
    pub(crate) fn give_up_one(&mut self) -> bool {
        let slot = self.take_kept().or_else(|| self.blank.pop_front());
        if let Some(slot) = &slot {
            self.discard(slot);
        }
        slot.is_some()
    }

    pub(crate) fn remove_spent(&mut self) {
        while let Some((number, _)) = self.spent.front()
            && self.pass_for_good(*number)
            && let Some((_, slot)) = self.spent.pop_front()
        {
            self.discard(&slot);
        }
    }

    fn use_slot(&mut self, slot: Arc<Slot>, at_micros: i64) -> Result<(), Health> {
        self.seal_active();
        let number = self.next_number;
        let Some(next) = number.checked_add(1) else { return Err(Health::Failing) };
        self.next_number = next;
        let checkpoint = Checkpoint {
            before: self.totals,
            previous: self.waiting.back().map_or(self.cursor.position, |s| s.end_position()),
            open: self.open.iter().copied().collect(),
        };
        let mut frame = checkpoint.frame(at_micros);
        let offset = Checkpoint::room(self.open.len());
        let padded_to = (offset + HEADER_BYTES).next_multiple_of(PAGE_BYTES).min(slot.bytes);
        let mut bytes = Preface::encode(number).to_vec();
        bytes.extend_from_slice(frame.place(number, PREFACE_BYTES, padded_to));
        if let Err(error) = slot.file.write_all_at(&bytes, 0) {
            let health = Health::of(&error);
            tracing::error!(error = %error, state = health.as_str(), "cannot write to the spool");
            self.discard(&slot);
            self.poisoned = true;
            return Err(health);
        }
        let segment = Segment::new(slot, number, self.totals, offset, 0);
        self.active = Some(Active { segment: Arc::new(segment), offset, padded_to });
        Ok(())
    }

    fn seal_active(&mut self) {
        if let Some(active) = self.active.take() {
            self.unsynced.push(Arc::clone(&active.segment));
            self.waiting.push_back(active.segment);
        }
    }

    /// The file in use cannot be trusted with more.
    pub(crate) fn abandon_active(&mut self) {
        if let Some(active) = &self.active {
            active.segment.spoil();
        }
        self.seal_active();
        self.poisoned = true;
    }

    /// Removes a file that holds nothing, or nothing that a durable cursor has not passed.
    pub(crate) fn discard(&mut self, slot: &Slot) {
        self.disk_bytes = self.disk_bytes.saturating_sub(u64::from(slot.bytes));
        if let Err(error) = self.folder.remove(slot.index) {
            tracing::warn!(error = %error, "cannot remove a file of the spool");
        }
    }

    /// Moves the cursor forward and lets go of the segments behind it.
    pub(crate) fn acknowledge(&mut self, cursor: Cursor) {
        if cursor.position <= self.cursor.position {
            return;
        }
        self.cursor = cursor;
        if let Err(error) = self.cursor_file.save(&self.cursor) {
            // Harmless: it lags, and what is shipped again counts once.
            tracing::debug!(error = %error, "cannot save the cursor of the spool");
        }
        self.release();
    }

    pub(crate) fn release(&mut self) {
        while let Some(segment) = self.waiting.front()
            && (segment.end_position() <= self.cursor.position
                || segment.end() <= PREFACE_BYTES
                || segment.number < self.cursor.position.segment())
        {
            let Some(segment) = self.waiting.pop_front() else { return };
            let slot = &segment.slot;
            let reusable =
                !segment.spoiled() && slot.bytes == self.plan.segment_bytes && !slot.read_only;
            if reusable {
                self.kept.push_back((segment.number, Arc::clone(slot)));
            } else {
                self.spent.push_back((segment.number, Arc::clone(slot)));
            }
        }
    }

    pub(crate) fn sync_cursor(&mut self) -> io::Result<()> {
        let position = self.cursor.position;
        if self.cursor_file.is_behind() {
            // It may have been opened when the directory could not be written.
            self.cursor_file.replace(self.folder.cursor()?);
            self.cursor_file.save(&self.cursor)?;
        }
        cursor::sync(&self.cursor_file.file())?;
        self.cursor_synced = position;
        Ok(())
    }

    /// What the outside sees.
    pub(crate) fn health(&self) -> Health {
        match () {
            () if self.closed => Health::Closed,
            () if self.poisoned => self.disk.unwrap_or(Health::Failing),
            () if self.full => self.disk.unwrap_or(Health::Full),
            () => Health::Writable,
        }
    }

    /// Logs a change, once.
    pub(crate) fn tell(&mut self) {
        let health = self.health();
        if std::mem::replace(&mut self.told, health) == health {
            return;
        }
        let dir = self.folder.path().display();
        match health {
            Health::Writable => tracing::info!(dir = %dir, "the spool takes facts again"),
            Health::Closed => tracing::info!(dir = %dir, "the spool is closed"),
            Health::Full => tracing::error!(
                dir = %dir,
                waiting_facts = self.totals.facts.saturating_sub(self.cursor.totals.facts),
                "the spool is full: facts are not shipped as fast as they come"
            ),
            Health::DiskFull | Health::ReadOnly | Health::Failing => {
                tracing::error!(dir = %dir, state = health.as_str(), "the spool cannot be written");
            }
        }
    }
}
