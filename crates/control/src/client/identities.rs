//! Who callers are: remembered, confirmed behind their back, forgotten on notice.

mod asking;
mod known;

use std::sync::Arc;
use std::time::Duration;

use aibridge::ports::{Authenticator, BoxFuture, Identity, Refused};
use stdx::{Lifecycle, SharedClock};

use self::asking::Asking;
use self::known::{Known, Verdict};
use super::http::Coderd;
use super::link::Link;
use super::metrics::{Asked, ClientMetrics};
use crate::wire::Revocations;

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// SHA-256 of a token.
type Digest = [u8; 32];

/// How identities are remembered.
#[derive(Clone, Copy, Debug)]
pub struct IdentitySettings {
    /// Most identities that are remembered.
    pub known_max: u64,
    /// Most refusals that are remembered.
    pub refused_max: u64,
    /// How long a refusal is remembered. Short: what is refused may become good.
    pub refused: Duration,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self { known_max: 100_000, refused_max: 100_000, refused: Duration::from_secs(3) }
    }
}

/// The gateway's authenticator in a daemon. Answers of coderd are used for as long as coderd says; after
/// that they are still used while coderd is asked again. What happens while coderd is away follows from the
/// [`Link`]: within its grace, counted from an identity's last confirmation, it is served, but never after
/// the token has expired.
#[derive(Debug)]
pub struct Identities {
    known: Known,
    asking: Asking,
    link: Link,
    clock: SharedClock,
    metrics: ClientMetrics,
}

impl Identities {
    /// Nobody is known. Questions are asked from the runtime on which this is called, whichever thread wants
    /// to know.
    #[must_use]
    pub fn start(
        settings: IdentitySettings,
        coderd: Coderd,
        link: Link,
        clock: SharedClock,
        metrics: ClientMetrics,
        lifecycle: &Lifecycle,
    ) -> Arc<Self> {
        let (asking, questions) = Asking::new();
        let identities = Arc::new(Self {
            known: Known::new(settings, link.grace()),
            asking,
            link,
            clock,
            metrics,
        });
        asking::answer(questions, Arc::clone(&identities), coderd, lifecycle);
        identities
    }

    /// How many identities are remembered, about.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.known.count()
    }

    /// Forgets whom coderd says. After `all`, those who are known have to be confirmed before they are served
    /// again, unless coderd goes away once more.
    pub fn apply(&self, revocations: &Revocations) {
        if revocations.all || !revocations.revoked.is_empty() {
            self.metrics.revocations.inc_by((), revocations.revoked.len().max(1) as u64);
            self.known.revoke(revocations);
        }
    }

    /// What may be said without asking.
    fn judge(&self, digest: &Digest, token: &str) -> Option<Result<Identity, Refused>> {
        let now = self.clock.now();
        let Some(entry) = self.known.find(digest) else {
            return self.known.refusal(digest, now).map(Err);
        };
        match self.known.judge(&entry, now, self.link.is_connected()) {
            Verdict::Fresh => {}
            Verdict::Stale => {
                if entry.begin_refresh() && self.asking.ask(*digest, token).is_none() {
                    entry.end_refresh(now);
                }
            }
            Verdict::Unconfirmed => self.metrics.unconfirmed.inc(()),
            Verdict::Ask => return None,
        }
        Some(Ok(entry.identity.clone()))
    }

    /// What may be said when coderd could not be asked.
    fn without_coderd(&self, digest: &Digest) -> Result<Identity, Refused> {
        let entry = self.known.find(digest).ok_or(Refused::Unavailable)?;
        // A coderd that is there and cannot say is no reason to serve whom it may have revoked.
        let suspected = self.link.is_connected() && self.known.is_suspected(&entry);
        if suspected || !self.known.is_within_grace(&entry, self.clock.now()) {
            return Err(Refused::Unavailable);
        }
        self.metrics.unconfirmed.inc(());
        Ok(entry.identity.clone())
    }

    /// Takes in what came of a question that was asked at the given state of what is known.
    fn settle(
        &self,
        digest: &Digest,
        asked_at: known::Generation,
        outcome: Result<crate::wire::Resolved, ()>,
    ) -> Result<Identity, Refused> {
        let now = self.clock.now();
        let Ok(resolved) = outcome else {
            if let Some(entry) = self.known.find(digest) {
                entry.end_refresh(now);
            }
            self.metrics.asked.inc(Asked::Unavailable);
            return Err(Refused::Unavailable);
        };
        let settled = self.known.learn(*digest, resolved, asked_at, now);
        self.metrics.asked.inc(if settled.is_ok() { Asked::Identity } else { Asked::Refused });
        settled
    }
}

impl Authenticator for Identities {
    fn cached(&self, token: &str) -> Option<Result<Identity, Refused>> {
        if token.len() > TOKEN_BYTES_MAX {
            return Some(Err(Refused::Credential));
        }
        self.judge(&crypt::sha256(token.as_bytes()), token)
    }

    fn resolve<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Identity, Refused>> {
        Box::pin(async move {
            let digest = crypt::sha256(token.as_bytes());
            let answer = match self.asking.ask(digest, token) {
                Some(answer) => answer.await.unwrap_or(Err(Refused::Unavailable)),
                None => Err(Refused::Unavailable),
            };
            match answer {
                Err(Refused::Unavailable) => self.without_coderd(&digest),
                answer => answer,
            }
        })
    }
}
