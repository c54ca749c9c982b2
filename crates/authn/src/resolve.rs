use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use stdx::{Lifecycle, Secret};
use store::pubsub::{Channel, Notice, Pubsub};

use crate::failure::Failure;
use crate::validate::{Authenticated, Authn};

/// How long a resolved token is believed without asking again, unless a notice voids it earlier.
const TTL: Duration = Duration::from_secs(5);
/// Most tokens remembered.
const ENTRIES_MAX: u64 = 50_000;

/// [`Authn`] with a short memory, for callers that resolve a token on every request of a hot path.
///
/// Only success is remembered, under the SHA-256 of the token. A notice on the credentials channel voids the
/// key it names; a resync voids everything.
#[derive(Clone, Debug)]
pub struct Resolver {
    authn: Authn,
    known: Cache<[u8; 32], Arc<Authenticated>>,
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
        let resolver = Self { authn, known };
        let (mut notices, stopping) =
            (pubsub.subscribe(Channel::Credentials), lifecycle.stopping());
        let known = resolver.known.clone();
        lifecycle.spawn("credential-notices", async move {
            loop {
                let notice = tokio::select! {
                    notice = notices.next() => notice,
                    () = stopping.wait() => return,
                };
                match notice {
                    Some(Notice::Message(key_id)) if !key_id.is_empty() => {
                        let void =
                            known.invalidate_entries_if(move |_, caller: &Arc<Authenticated>| {
                                caller.key.id == key_id
                            });
                        if void.is_err() {
                            known.invalidate_all();
                        }
                    }
                    Some(_) => known.invalidate_all(),
                    None => return,
                }
            }
        });
        resolver
    }

    /// Who presents `token`.
    ///
    /// # Errors
    /// As [`Authn::validate`]; failures are never remembered.
    pub async fn resolve(&self, token: &str) -> Result<Arc<Authenticated>, Failure> {
        let digest = crypt::sha256(token.as_bytes());
        if let Some(known) = self.known.get(&digest).await {
            if known.key.expires_at > self.authn.clock.now() {
                return Ok(known);
            }
            self.known.invalidate(&digest).await;
        }
        let caller = Arc::new(self.authn.validate(Some(&Secret::from(token)), None).await?);
        self.known.insert(digest, Arc::clone(&caller)).await;
        Ok(caller)
    }
}
