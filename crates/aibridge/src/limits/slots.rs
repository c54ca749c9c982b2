//! How many requests are under way.

use std::sync::Arc;

/// A bounded count of requests: the number of references to one token, which costs no more than handing out
/// a reference does.
#[derive(Debug)]
pub(crate) struct Slots {
    max: usize,
    token: Arc<()>,
}

impl Slots {
    /// Nothing when there is no limit.
    pub(super) fn new(max: u32) -> Option<Self> {
        (max > 0).then(|| Self { max: max as usize, token: Arc::default() })
    }

    /// Takes a place if one is free.
    pub(super) fn take(&self) -> Option<Slot> {
        let slot = Slot { _token: Arc::clone(&self.token) };
        (self.references() <= self.max).then_some(slot)
    }

    pub(super) fn taken(&self) -> usize {
        self.references().min(self.max)
    }

    /// Besides our own.
    fn references(&self) -> usize {
        Arc::strong_count(&self.token) - 1
    }
}

/// A place among the requests under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _token: Arc<()>,
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
