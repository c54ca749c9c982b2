use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use stdx::{Lifecycle, Secret};
use store::pubsub::{Channel, Pubsub, Voided};

use crate::failure::Failure;
use crate::validate::{Authenticated, Authn};

/// How long a resolved token is believed without asking again, unless a notice voids it earlier.
const TTL: Duration = Duration::from_secs(5);
/// Most tokens remembered.
const ENTRIES_MAX: u64 = 50_000;

/// [`Authn`] with a short memory, for callers that resolve a token on every request of a hot path.
///
/// Only success is remembered, under the SHA-256 of the token. A notice on the credentials channel voids the
/// key or the user that it names; a resync voids everything. What was read before a notice is not remembered
/// after it.
#[derive(Clone, Debug)]
pub struct Resolver {
    authn: Authn,
    known: Cache<[u8; 32], Arc<Authenticated>>,
    /// How many notices came so far. Counted before what they name is removed.
    notices: Arc<AtomicU64>,
}

impl Resolver {
    /// Remembers for `authn`, voided by the notices of `pubsub`.
    #[must_use]
    pub fn start(authn: Authn, pubsub: &Pubsub, lifecycle: &Lifecycle) -> Self {
        let known = Cache::builder()
            .max_capacity(ENTRIES_MAX)
            .time_to_live(TTL)
            .support_invalidation_closures()
            .build();
        let resolver = Self { authn, known, notices: Arc::default() };
        let (mut notices, stopping) =
            (pubsub.subscribe(Channel::Credentials), lifecycle.stopping());
        let ours = resolver.clone();
        lifecycle.spawn("credential-notices", async move {
            loop {
                let notice = tokio::select! {
                    notice = notices.next() => notice,
                    () = stopping.wait() => return,
                };
                let Some(notice) = notice else { return };
                ours.forget(Voided::read(notice));
            }
        });
        resolver
    }

    fn forget(&self, voided: Voided) {
        self.notices.fetch_add(1, Ordering::SeqCst);
        let begun = match voided {
            Voided::ApiKey(id) => self.known.invalidate_entries_if(move |_, it| it.key.id == id),
            Voided::User(id) => self.known.invalidate_entries_if(move |_, it| it.user.id.0 == id),
            Voided::Nothing(_) => return,
            Voided::All => {
                self.known.invalidate_all();
                return;
            }
        };
        if begun.is_err() {
            self.known.invalidate_all();
        }
    }

    /// Who presents `token`, if that is remembered. Neither waits nor asks anybody.
    #[must_use]
    pub fn remembered(&self, token: &str) -> Option<Arc<Authenticated>> {
        let known = self.known.get(&crypt::sha256(token.as_bytes()))?;
        (known.key.expires_at > self.authn.clock.now()).then_some(known)
    }

    /// Who presents `token`.
    ///
    /// # Errors
    /// As [`Authn::validate`]; failures are never remembered.
    pub async fn resolve(&self, token: &str) -> Result<Arc<Authenticated>, Failure> {
        match self.remembered(token) {
            Some(known) => Ok(known),
            None => self.resolve_anew(token).await,
        }
    }

    /// The same without believing what is remembered, for callers who remember for themselves and may have heard
    /// of a change before this process did.
    ///
    /// # Errors
    /// As [`Authn::validate`].
    pub async fn resolve_anew(&self, token: &str) -> Result<Arc<Authenticated>, Failure> {
        let before = self.notices.load(Ordering::SeqCst);
        let caller = Arc::new(self.authn.validate(Some(&Secret::from(token)), None).await?);
        let digest = crypt::sha256(token.as_bytes());
        self.known.insert(digest, Arc::clone(&caller));
        // A notice that came while we read may speak of what we read. One that comes after this look finds the
        // entry and removes it.
        if self.notices.load(Ordering::SeqCst) != before {
            self.known.invalidate(&digest);
        }
        Ok(caller)
    }
}
