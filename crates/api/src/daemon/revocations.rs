//! Whom daemons shall forget, as the notices about credentials tell it.

mod ring;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use control::wire::{Mark, Revocations as Answer, Revoked};
use rbac::system;
use stdx::{Lifecycle, SharedRng, Stopping};
use store::pubsub::{Channel, Notice, Publish, Pubsub, Subscription, Voided};
use store::{Call, Full, Store as _};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use ring::Ring;

/// How long a daemon that has heard more than this process waits for it to hear the same.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Pause before a place is told again that could not be told.
const RETRY: Duration = Duration::from_secs(1);

/// Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Revocations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Full,
    rng: SharedRng,
    ring: Mutex<Ring>,
    /// Counts changes of the ring, for those who wait.
    changes: watch::Sender<u64>,
    /// The ring began anew, and no other process understands its marks yet.
    alone: Notify,
}

impl Revocations {
    /// Listens from now on.
    pub(super) fn start(
        store: Full,
        rng: SharedRng,
        pubsub: &Pubsub,
        lifecycle: &Lifecycle,
    ) -> Self {
        let revocations = Self(Arc::new(Shared {
            ring: Mutex::new(Ring::new(rng.uuid_v4())),
            changes: watch::Sender::new(0),
            alone: Notify::new(),
            store,
            rng,
        }));
        let notices = pubsub.subscribe(Channel::Credentials);
        // When the server is listened to already, this is all it takes; otherwise a resync follows.
        revocations.0.alone.notify_one();
        let (shared, stopping) = (Arc::clone(&revocations.0), lifecycle.stopping());
        lifecycle.spawn("gateway-revocations", async move {
            shared.follow(notices, &stopping).await;
        });
        let (shared, stopping) = (Arc::clone(&revocations.0), lifecycle.stopping());
        lifecycle.spawn("gateway-revocation-places", async move {
            tokio::select! {
                () = shared.tell_places() => {}
                () = stopping.wait() => {}
            }
        });
        revocations
    }

    /// What came after the mark, so far.
    pub(super) fn since(&self, mark: Option<Mark>) -> Answer {
        self.0.lock().since(mark)
    }

    /// Resolves once there is something to tell to who has that mark.
    pub(super) async fn news(&self, mark: Option<Mark>) {
        let Some(mark) = mark else { return };
        let mut changes = self.0.changes.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let caught_up = changes.wait_for(|_| !self.0.lock().is_behind(mark));
        if timeout(CATCH_UP, caught_up).await.is_ok() {
            let _ = changes.wait_for(|_| self.0.lock().mark() != mark).await;
        }
    }
}

impl Shared {
    async fn follow(&self, mut notices: Subscription, stopping: &Stopping) {
        loop {
            let notice = tokio::select! {
                notice = notices.next() => notice,
                () = stopping.wait() => return,
            };
            match notice {
                Some(notice) => self.note(notice),
                None => return,
            }
        }
    }

    fn note(&self, notice: Notice) {
        {
            let mut ring = self.lock();
            if notice == Notice::Resync {
                ring.restart(self.rng.uuid_v4());
                self.alone.notify_one();
            } else {
                match Voided::read(notice) {
                    Voided::ApiKey(id) => ring.push(Revoked::ApiKey(id)),
                    Voided::User(id) => ring.push(Revoked::User(id)),
                    Voided::Nothing(place) => ring.begin(place),
                    Voided::All => ring.forget_all(),
                }
            }
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Gives all processes a place in common whenever this one begins to listen. Until that is heard back, a
    /// daemon that asks another process is told to forget everybody.
    async fn tell_places(&self) {
        loop {
            self.alone.notified().await;
            let place = Publish::from(Voided::Nothing(self.rng.uuid_v4()));
            if let Err(error) = self.store.run(Call::by(system::authenticator()), place).await {
                tracing::warn!(error = %stdx::chain(&error), "a place among revocations was not told");
                sleep(RETRY).await;
                self.alone.notify_one();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
