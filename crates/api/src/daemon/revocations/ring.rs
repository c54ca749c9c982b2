use std::collections::VecDeque;

use control::wire::{Mark, Revocations as Answer, Revoked};
use uuid::Uuid;

/// Revocations that are remembered. Who is further behind is told to forget everybody.
pub(super) const REMEMBERED: usize = 10_000;
/// Places that are remembered. Each process of the deployment makes one when it begins to listen.
const PLACES: usize = 256;

/// The last revocations, and names for places among them.
///
/// Every process hears the same notices in the same order, so that "the third after this place" means the same to
/// all who have heard of the place: a daemon may ask any of them.
#[derive(Debug)]
pub(super) struct Ring {
    /// The last ones, oldest first.
    last: VecDeque<Revoked>,
    /// How many there were, ever, in this process.
    end: u64,
    /// Older names of places, each with how many there were before it; the oldest first.
    places: VecDeque<(Uuid, u64)>,
    /// The newest of them.
    place: (Uuid, u64),
}

impl Ring {
    /// Nothing has happened since `place`, which only this process knows.
    pub(super) fn new(place: Uuid) -> Self {
        Self { last: VecDeque::new(), end: 0, places: VecDeque::new(), place: (place, 0) }
    }

    pub(super) fn push(&mut self, revoked: Revoked) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(revoked);
        self.end += 1;
    }

    /// Everybody before now is to be forgotten, and all processes know.
    pub(super) fn forget_all(&mut self) {
        self.last.clear();
        self.end += 1;
    }

    /// This process may have missed something: it counts anew from a place of its own.
    pub(super) fn restart(&mut self, place: Uuid) {
        *self = Self::new(place);
    }

    /// Names the present.
    pub(super) fn begin(&mut self, place: Uuid) {
        if self.places.len() == PLACES {
            self.places.pop_front();
        }
        self.places.push_back(std::mem::replace(&mut self.place, (place, self.end)));
    }

    /// The present.
    pub(super) fn mark(&self) -> Mark {
        let (epoch, start) = self.place;
        Mark { epoch, seq: self.end - start }
    }

    /// How many there were at a mark; nothing if its place is not known. May lie ahead of the end: others may
    /// have heard more than this process so far.
    fn position(&self, mark: Mark) -> Option<u64> {
        let is_named = |place: &&(Uuid, u64)| place.0 == mark.epoch;
        let (_, start) = self.places.iter().chain([&self.place]).rfind(is_named)?;
        start.checked_add(mark.seq)
    }

    /// Whether a mark is one of a process that has heard more than this one so far.
    pub(super) fn is_behind(&self, mark: Mark) -> bool {
        self.position(mark).is_some_and(|position| position > self.end)
    }

    /// What came after the mark.
    pub(super) fn since(&self, mark: Option<Mark>) -> Answer {
        let revoked = mark.and_then(|mark| self.position(mark)).and_then(|seen| self.after(seen));
        Answer { mark: self.mark(), all: revoked.is_none(), revoked: revoked.unwrap_or_default() }
    }

    fn after(&self, seen: u64) -> Option<Vec<Revoked>> {
        let count = usize::try_from(self.end.checked_sub(seen)?).ok()?;
        let skipped = self.last.len().checked_sub(count)?;
        Some(self.last.iter().skip(skipped).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: Uuid = Uuid::from_u128(1);

    fn key(n: usize) -> Revoked {
        Revoked::ApiKey(format!("key{n}"))
    }

    fn mark(place: Uuid, seq: u64) -> Mark {
        Mark { epoch: place, seq }
    }

    fn with(count: usize) -> Ring {
        let mut ring = Ring::new(OWN);
        (1..=count).for_each(|n| ring.push(key(n)));
        ring
    }

    #[test]
    fn what_came_after_the_mark_is_told_once_and_in_order() {
        let ring = with(3);
        for (seen, told) in [(0, vec![key(1), key(2), key(3)]), (2, vec![key(3)]), (3, vec![])] {
            let answer = ring.since(Some(mark(OWN, seen)));
            assert_eq!((answer.all, answer.revoked), (false, told), "{seen}");
            assert_eq!(answer.mark, mark(OWN, 3));
        }
    }

    #[test]
    fn a_mark_that_means_nothing_here_forgets_everybody() {
        let ring = with(3);
        let foreign = mark(Uuid::from_u128(2), 3);
        for seen in
            [None, Some(foreign), Some(mark(OWN, 4)), Some(mark(OWN, u64::MAX)), Some(mark(OWN, 5))]
        {
            let answer = ring.since(seen);
            assert!(answer.all && answer.revoked.is_empty(), "{seen:?}");
            assert_eq!(answer.mark, mark(OWN, 3));
        }
        assert!(ring.is_behind(mark(OWN, 4)));
        assert!(!ring.is_behind(mark(OWN, 3)) && !ring.is_behind(foreign));
    }

    #[test]
    fn who_is_too_far_behind_or_may_have_missed_something_forgets_everybody() {
        let mut ring = with(REMEMBERED + 2);
        assert!(ring.since(Some(mark(OWN, 1))).all);
        let all = ring.since(Some(mark(OWN, 2)));
        assert_eq!((all.all, all.revoked.len()), (false, REMEMBERED));

        let before = ring.mark();
        ring.forget_all();
        assert!(ring.since(Some(before)).all);
        let now = ring.mark();
        assert_eq!(now.seq, before.seq + 1);
        assert!(!ring.since(Some(now)).all);
        ring.push(key(1));
        assert_eq!(ring.since(Some(now)).revoked, [key(1)]);

        ring.restart(Uuid::from_u128(2));
        assert!(ring.since(Some(now)).all);
    }

    #[test]
    fn places_that_are_forgotten_forget_everybody_and_no_sooner() {
        let mut ring = Ring::new(OWN);
        let place = |n: usize| Uuid::from_u128(n as u128 + 10);
        for n in 0..PLACES {
            ring.begin(place(n));
        }
        assert!(!ring.since(Some(mark(OWN, 0))).all);
        ring.begin(place(PLACES));
        assert!(ring.since(Some(mark(OWN, 0))).all);
        assert!(!ring.since(Some(mark(place(0), 0))).all);
    }

    /// What processes hear of each other.
    #[derive(Clone, Debug)]
    enum Heard {
        Revoked(u8),
        All,
        Place,
    }

    fn heard() -> impl Strategy<Value = Heard> {
        prop_oneof![
            6 => any::<u8>().prop_map(Heard::Revoked),
            1 => Just(Heard::All),
            2 => Just(Heard::Place),
        ]
    }

    proptest! {
        /// A daemon asks two processes by turns, one of which began to listen later: it is told all that
        /// happened since it last asked, once and in order, or to forget everybody.
        #[test]
        fn two_processes_tell_together_what_happened(
            heard in prop::collection::vec((heard(), any::<bool>(), 0..2_usize), 1..60),
            late in 0..30_usize,
        ) {
            let mut rings = [Ring::new(OWN), Ring::new(Uuid::from_u128(2))];
            let (mut after, mut untold) = (None, Some(Vec::new()));
            for (time, (heard, asks, which)) in heard.into_iter().enumerate() {
                let listening = if time < late { 1 } else { 2 };
                for ring in &mut rings[..listening] {
                    match &heard {
                        Heard::Revoked(n) => ring.push(key((*n).into())),
                        Heard::All => ring.forget_all(),
                        Heard::Place => ring.begin(Uuid::from_u128(100 + time as u128)),
                    }
                }
                match heard {
                    Heard::Revoked(n) => untold.iter_mut().for_each(|it: &mut Vec<_>| it.push(key(n.into()))),
                    Heard::All => untold = None,
                    Heard::Place => {}
                }
                if !asks || which >= listening {
                    continue;
                }
                let answer = rings[which].since(after);
                after = Some(answer.mark);
                match untold.replace(Vec::new()) {
                    Some(untold) if !answer.all => prop_assert_eq!(answer.revoked, untold),
                    // To forget everybody is always right.
                    _ => prop_assert!(answer.all && answer.revoked.is_empty()),
                }
            }
        }

        /// Once both have heard of a place, it does not matter which of them is asked.
        #[test]
        fn processes_with_a_place_in_common_say_the_same(
            before in 0..5_usize,
            after in prop::collection::vec(heard(), 0..20),
        ) {
            let mut rings = [with(before), Ring::new(Uuid::from_u128(2))];
            for ring in &mut rings {
                ring.begin(Uuid::from_u128(3));
            }
            let first = rings[0].mark();
            prop_assert_eq!(first, rings[1].mark());
            for (time, heard) in after.into_iter().enumerate() {
                for ring in &mut rings {
                    match &heard {
                        Heard::Revoked(n) => ring.push(key((*n).into())),
                        Heard::All => ring.forget_all(),
                        Heard::Place => ring.begin(Uuid::from_u128(100 + time as u128)),
                    }
                }
                prop_assert_eq!(rings[0].mark(), rings[1].mark());
                prop_assert_eq!(rings[0].since(Some(first)), rings[1].since(Some(first)));
            }
        }
    }
}
