//! Whom daemons shall forget: a bounded sequence, fed by the notices about credentials.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use control::wire::{Mark, Revocations as Answer, Revoked};
use stdx::Lifecycle;
use store::pubsub::{Channel, Pubsub, Voided};
use tokio::sync::watch;
use uuid::Uuid;

/// Revocations that are remembered. Who is further behind is told to forget everybody.
const REMEMBERED: usize = 10_000;

/// The revocations of this process's life. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Revocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Names this process: another one counts for itself.
    epoch: Uuid,
    ring: Mutex<Ring>,
    /// The sequence's end, for those who wait.
    end: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// The last ones, oldest first.
    last: VecDeque<Revoked>,
    /// Number of the newest; they are counted without gaps.
    end: u64,
}

impl Ring {
    fn push(&mut self, revoked: Revoked) {
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(revoked);
        self.end += 1;
    }

    /// Everybody before now is to be forgotten.
    fn forget_all(&mut self) {
        self.last.clear();
        self.end += 1;
    }

    /// What came after `seen`; nothing if that is not remembered.
    fn after(&self, seen: u64) -> Option<Vec<Revoked>> {
        let count = usize::try_from(self.end.checked_sub(seen)?).ok()?;
        let skipped = self.last.len().checked_sub(count)?;
        Some(self.last.iter().skip(skipped).cloned().collect())
    }
}

impl Revocations {
    /// Listens from now on.
    pub(super) fn start(epoch: Uuid, pubsub: &Pubsub, lifecycle: &Lifecycle) -> Self {
        let revocations = Self::new(epoch);
        let mut notices = pubsub.subscribe(Channel::Credentials);
        let (ours, stopping) = (revocations.clone(), lifecycle.stopping());
        lifecycle.spawn("gateway-revocations", async move {
            loop {
                let notice = tokio::select! {
                    notice = notices.next() => notice,
                    () = stopping.wait() => return,
                };
                let Some(notice) = notice else { return };
                ours.note(Voided::read(notice));
            }
        });
        revocations
    }

    fn new(epoch: Uuid) -> Self {
        let (ring, end) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared { epoch, ring, end }))
    }

    fn note(&self, voided: Voided) {
        let end = {
            let mut ring = self.lock();
            match voided {
                Voided::ApiKey(id) => ring.push(Revoked::ApiKey(id)),
                Voided::User(id) => ring.push(Revoked::User(id)),
                Voided::All => ring.forget_all(),
            }
            ring.end
        };
        self.0.end.send_replace(end);
    }

    /// What came after the mark, so far.
    pub(super) fn since(&self, mark: Option<Mark>) -> Answer {
        let ring = self.lock();
        let seen = mark.filter(|mark| mark.epoch == self.0.epoch).map(|mark| mark.seq);
        let revoked = seen.and_then(|seen| ring.after(seen));
        Answer {
            mark: Mark { epoch: self.0.epoch, seq: ring.end },
            all: revoked.is_none(),
            revoked: revoked.unwrap_or_default(),
        }
    }

    /// Resolves once there is something after the mark.
    pub(super) async fn news(&self, mark: Option<Mark>) {
        let known = |end: u64| mark == Some(Mark { epoch: self.0.epoch, seq: end });
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.0.end.subscribe().wait_for(|end| !known(*end)).await;
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use stdx::ids::UserId;

    use super::*;

    const EPOCH: Uuid = Uuid::from_u128(1);

    fn key(n: usize) -> Revoked {
        Revoked::ApiKey(format!("key{n}"))
    }

    fn mark(seq: u64) -> Mark {
        Mark { epoch: EPOCH, seq }
    }

    fn with(count: usize) -> Revocations {
        let revocations = Revocations::new(EPOCH);
        for n in 1..=count {
            revocations.note(Voided::ApiKey(format!("key{n}")));
        }
        revocations
    }

    #[test]
    fn what_came_after_the_mark_is_told_once_and_in_order() {
        let revocations = with(3);
        for (seen, told) in [(0, vec![key(1), key(2), key(3)]), (2, vec![key(3)]), (3, vec![])] {
            let answer = revocations.since(Some(mark(seen)));
            assert_eq!((answer.all, answer.revoked), (false, told), "{seen}");
            assert_eq!(answer.mark, mark(3));
        }
        let user = UserId::new(Uuid::from_u128(7));
        revocations.note(Voided::User(user));
        assert_eq!(revocations.since(Some(mark(3))).revoked, [Revoked::User(user)]);
    }

    #[test]
    fn a_mark_that_means_nothing_here_forgets_everybody() {
        let revocations = with(3);
        let foreign = Some(Mark { epoch: Uuid::from_u128(2), seq: 3 });
        for seen in [None, foreign, Some(mark(4)), Some(mark(u64::MAX))] {
            let answer = revocations.since(seen);
            assert!(answer.all && answer.revoked.is_empty(), "{seen:?}");
            assert_eq!(answer.mark, mark(3));
        }
    }

    #[test]
    fn who_is_too_far_behind_or_may_have_missed_something_forgets_everybody() {
        let revocations = with(REMEMBERED + 2);
        assert!(revocations.since(Some(mark(1))).all);
        let all = revocations.since(Some(mark(2)));
        assert_eq!((all.all, all.revoked.len()), (false, REMEMBERED));

        revocations.note(Voided::All);
        let end = u64::try_from(REMEMBERED).unwrap() + 3;
        assert!(revocations.since(Some(mark(end - 1))).all);
        let answer = revocations.since(Some(mark(end)));
        assert_eq!((answer.all, answer.revoked.len(), answer.mark), (false, 0, mark(end)));
        revocations.note(Voided::ApiKey("key1".to_owned()));
        assert_eq!(revocations.since(Some(mark(end))).revoked, [key(1)]);
        assert!(revocations.since(Some(mark(end - 1))).all);
    }
}
