use std::collections::VecDeque;

use crate::spool::cursor::Cursor;
use crate::spool::position::Position;

/// Most bytes of records whose values stay in memory for the reader.
const BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A record that has been appended, not yet read.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    /// End of the record before.
    pub(crate) after: Position,
    /// Behind the record.
    pub(crate) end: Cursor,
    pub(crate) at_micros: i64,
    pub(crate) bytes: u32,
    pub(crate) facts: u32,
    pub(crate) value: T,
}

/// The newest records, so that a reader that keeps up needs no disk and no parser.
#[derive(Debug)]
pub(crate) struct Tail<T> {
    entries: VecDeque<Entry<T>>,
    bytes: u64,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0 }
    }
}

impl<T> Tail<T> {
    /// Adds the newest; the oldest make room.
    pub(crate) fn push(&mut self, entry: Entry<T>) {
        self.bytes += u64::from(entry.bytes);
        self.entries.push_back(entry);
        while self.bytes > BYTES_MAX && self.pop().is_some() {}
    }

    /// The records behind `after` that end at or before `horizon`, at most so many; none if the first of
    /// them is not here. Those before it are forgotten.
    pub(crate) fn take(
        &mut self,
        mut after: Position,
        horizon: Position,
        most: usize,
    ) -> Vec<Entry<T>> {
        while self.entries.front().is_some_and(|entry| entry.after < after) {
            self.pop();
        }
        let mut taken = Vec::new();
        while let Some(next) = self.entries.front()
            && next.after == after
            && next.end.position <= horizon
            && taken.len() < most
        {
            after = next.end.position;
            taken.extend(self.pop());
        }
        taken
    }

    /// When the record behind `after` was appended, if it is here.
    pub(crate) fn at(&self, after: Position) -> Option<i64> {
        let next = self.entries.front()?;
        (next.after == after).then_some(next.at_micros)
    }

    fn pop(&mut self) -> Option<Entry<T>> {
        let entry = self.entries.pop_front()?;
        self.bytes -= u64::from(entry.bytes);
        Some(entry)
    }
}
