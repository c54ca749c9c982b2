//! How many requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A bounded count of requests.
#[derive(Debug)]
pub(crate) struct Slots {
    max: u32,
    taken: AtomicU32,
}

impl Slots {
    /// Nothing when there is no limit.
    pub(super) fn new(max: u32) -> Option<Arc<Self>> {
        (max > 0).then(|| Arc::new(Self { max, taken: AtomicU32::new(0) }))
    }

    /// Takes a place if one is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        // Dropped at once if it is one too many.
        let slot = Slot(Arc::clone(self));
        (before < self.max).then_some(slot)
    }

    pub(super) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed).min(self.max)
    }
}

/// A place among the requests under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Slots>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_its_holder_is_gone_and_a_refusal_takes_none() {
        let slots = Slots::new(2).unwrap();
        let (one, two) = (slots.take(), slots.take());
        assert!(one.is_some() && two.is_some());
        for _ in 0..3 {
            assert!(slots.take().is_none());
        }
        assert_eq!(slots.taken(), 2);
        drop(one);
        assert!(slots.take().is_some());
        drop(two);
        assert_eq!(slots.taken(), 0);
        assert!(Slots::new(0).is_none());
    }
}
