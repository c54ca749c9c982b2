//! How many bytes of requests and answers are in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bounded count of bytes. Counts also without a bound, so that it can be watched.
#[derive(Debug)]
pub(crate) struct Memory {
    max: u64,
    held: AtomicU64,
}

impl Memory {
    /// `max` of 0 means no bound.
    pub(super) fn new(max: u64) -> Arc<Self> {
        let max = if max == 0 { u64::MAX } else { max };
        Arc::new(Self { max, held: AtomicU64::new(0) })
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A guard that holds nothing yet.
    pub(crate) fn guard(self: &Arc<Self>) -> Held {
        Held { memory: Arc::clone(self), bytes: 0 }
    }
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

/// Bytes that somebody holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Arc<Memory>,
    bytes: u64,
}

impl Held {
    /// Holds `bytes` in all from now on, if there is room for what is more than before.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = bytes as u64;
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            let before = self.memory.held.fetch_add(more, Ordering::Relaxed);
            if before.saturating_add(more) > self.memory.max {
                self.memory.held.fetch_sub(more, Ordering::Relaxed);
                return Err(NoRoom);
            }
        } else {
            self.memory.held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Holds `more` bytes besides, whether there is room or not: an answer under way is not given up for
    /// requests that are yet to come; those are refused instead.
    pub(crate) fn add(&mut self, more: usize) {
        self.bytes += more as u64;
        self.memory.held.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Holds `bytes` in all from now on, as [`Self::add`] does.
    pub(crate) fn set(&mut self, bytes: usize) {
        self.release();
        self.add(bytes);
    }

    /// Holds nothing any more.
    pub(crate) fn release(&mut self) {
        self.memory.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_no_trace() {
        let memory = Memory::new(100);
        let (mut one, mut two) = (memory.guard(), memory.guard());
        assert_eq!(one.resize(60), Ok(()));
        assert_eq!(two.resize(41), Err(NoRoom));
        assert_eq!(two.resize(40), Ok(()));
        assert_eq!(one.resize(61), Err(NoRoom));
        assert_eq!(one.resize(10), Ok(()));
        assert_eq!(memory.held(), 50);
        two.add(1000);
        assert_eq!(one.resize(11), Err(NoRoom), "answers count, too");
        two.set(2000);
        assert_eq!(memory.held(), 2010);
        two.set(0);
        assert_eq!(memory.held(), 10);
        drop(two);
        assert_eq!((one.resize(100), memory.held()), (Ok(()), 100));
        drop(one);
        assert_eq!(memory.held(), 0);
    }

    #[test]
    fn without_a_bound_bytes_are_only_counted() {
        let memory = Memory::new(0);
        let mut held = memory.guard();
        assert_eq!(held.resize(usize::MAX), Ok(()));
        held.release();
        assert_eq!(memory.held(), 0);
    }
}
