use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aibridge::ports::{Identity, Refused};
use moka::sync::Cache;
use time::OffsetDateTime;

use super::{Digest, IdentitySettings};
use crate::wire::{RefusedReason, Resolved, Revocations, Revoked};

/// While revocations come through, an older answer than coderd asks for may be used this much longer, and is
/// confirmed meanwhile. Beyond, the request waits for the confirmation.
const STALE_MAX: Duration = Duration::from_mins(5);
/// When coderd could not say, it is not asked about the same identity again for this long.
const HOLD: Duration = Duration::from_secs(2);
/// What is of no more use leaves the memory this long after the end of the grace.
const KEEP_BEYOND_GRACE: Duration = Duration::from_hours(1);

/// What is remembered of tokens.
#[derive(Debug)]
pub(super) struct Known {
    identities: Cache<Digest, Arc<Entry>>,
    refusals: Cache<Digest, (Refused, OffsetDateTime)>,
    refused_for: Duration,
    grace: Duration,
    /// Held by whoever adds or revokes, so that nothing that was asked before a revocation is added after it.
    state: Mutex<Generation>,
    /// The generation up to which all identities have to be confirmed; the same for those without the lock.
    suspected: AtomicI64,
}

/// How many revocations there have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(i64);

/// One identity. Replaced when it is confirmed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) identity: Identity,
    expires_at: OffsetDateTime,
    confirmed_at: OffsetDateTime,
    generation: Generation,
    cache: Duration,
    refreshing: AtomicBool,
    /// Second up to which coderd is not asked again.
    hold: AtomicI64,
}

impl Entry {
    /// Whether this caller is to see to the confirmation.
    pub(super) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::Relaxed)
    }

    /// The confirmation did not come about.
    pub(super) fn end_refresh(&self, now: OffsetDateTime) {
        let hold = now.unix_timestamp().saturating_add_unsigned(HOLD.as_secs());
        self.hold.store(hold, Ordering::Relaxed);
        self.refreshing.store(false, Ordering::Relaxed);
    }

    fn is_held(&self, now: OffsetDateTime) -> bool {
        let left = self.hold.load(Ordering::Relaxed).saturating_sub(now.unix_timestamp());
        // After the clock went back, a hold could last for ever.
        (1..=HOLD.as_secs().cast_signed()).contains(&left)
    }
}

/// What to do about an identity that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Use it.
    Fresh,
    /// Use it, and have it confirmed.
    Stale,
    /// Use it, though coderd cannot confirm it now.
    Unconfirmed,
    /// Ask first.
    Ask,
}

impl Known {
    pub(super) fn new(settings: IdentitySettings, grace: Duration) -> Self {
        Self {
            identities: Cache::builder()
                .max_capacity(settings.known_max)
                .time_to_live(grace + KEEP_BEYOND_GRACE)
                .build(),
            refusals: Cache::builder()
                .max_capacity(settings.refused_max)
                .time_to_live(settings.refused)
                .build(),
            refused_for: settings.refused,
            grace,
            state: Mutex::default(),
            suspected: AtomicI64::new(0),
        }
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Arc<Entry>> {
        self.identities.get(digest)
    }

    pub(super) fn refusal(&self, digest: &Digest, now: OffsetDateTime) -> Option<Refused> {
        let (refused, at) = self.refusals.get(digest)?;
        let age = now - at;
        (!age.is_negative() && age < self.refused_for).then_some(refused)
    }

    pub(super) fn count(&self) -> u64 {
        self.identities.run_pending_tasks();
        self.identities.entry_count()
    }

    pub(super) fn judge(&self, entry: &Entry, now: OffsetDateTime, connected: bool) -> Verdict {
        if now >= entry.expires_at {
            return Verdict::Ask;
        }
        // Negative when the clock went back: then nothing is known of the answer's age.
        let age = now - entry.confirmed_at;
        let younger_than = |limit: Duration| !age.is_negative() && age < limit;
        let suspected = self.is_suspected(entry);
        // Without coderd the grace is the limit, also when coderd had allowed for more.
        let fresh = younger_than(entry.cache) && (connected || younger_than(self.grace));
        if !suspected && fresh {
            return Verdict::Fresh;
        }
        if !connected || (!suspected && entry.is_held(now)) {
            let graced = self.is_within_grace(entry, now);
            return if graced { Verdict::Unconfirmed } else { Verdict::Ask };
        }
        if !suspected && younger_than(entry.cache + STALE_MAX) {
            return Verdict::Stale;
        }
        Verdict::Ask
    }

    /// Whether it has to be confirmed before it is served while coderd is there.
    pub(super) fn is_suspected(&self, entry: &Entry) -> bool {
        entry.generation.0 < self.suspected.load(Ordering::Acquire)
    }

    /// Whether it may be served though coderd does not confirm it.
    pub(super) fn is_within_grace(&self, entry: &Entry, now: OffsetDateTime) -> bool {
        now < entry.expires_at && now - entry.confirmed_at < self.grace
    }

    /// To be taken before coderd is asked.
    pub(super) fn generation(&self) -> Generation {
        *self.lock()
    }

    /// Takes in an answer to what was asked at `asked_at`. It counts for the one who asked in any case, and is
    /// remembered unless something was revoked meanwhile.
    pub(super) fn learn(
        &self,
        digest: Digest,
        resolved: Resolved,
        asked_at: Generation,
        now: OffsetDateTime,
    ) -> Result<Identity, Refused> {
        let refused = match resolved {
            Resolved::Identity(found) if found.expires_at > now => {
                let identity = Identity {
                    user: found.user_id,
                    username: found.username.into(),
                    api_key_id: found.api_key_id.into(),
                };
                let entry = Entry {
                    identity: identity.clone(),
                    expires_at: found.expires_at,
                    confirmed_at: now,
                    generation: asked_at,
                    cache: Duration::from_secs(found.cache_seconds.into()),
                    refreshing: AtomicBool::new(false),
                    hold: AtomicI64::new(i64::MIN),
                };
                let generation = self.lock();
                if *generation == asked_at {
                    self.identities.insert(digest, Arc::new(entry));
                    self.refusals.invalidate(&digest);
                } else if let Some(entry) = self.identities.get(&digest) {
                    entry.refreshing.store(false, Ordering::Relaxed);
                }
                return Ok(identity);
            }
            Resolved::Identity(_) | Resolved::Refused { reason: RefusedReason::Credential } => {
                Refused::Credential
            }
            Resolved::Refused { reason: RefusedReason::Scope } => Refused::Scope,
        };
        let _order = self.lock();
        self.identities.invalidate(&digest);
        self.refusals.insert(digest, (refused, now));
        Err(refused)
    }

    /// Forgets, or marks as to be confirmed.
    pub(super) fn revoke(&self, revocations: &Revocations) {
        let mut generation = self.lock();
        generation.0 += 1;
        if revocations.all {
            self.suspected.store(generation.0, Ordering::Release);
            return;
        }
        let (mut keys, mut users) = (HashSet::new(), HashSet::new());
        for revoked in &revocations.revoked {
            match revoked {
                Revoked::ApiKey(id) => _ = keys.insert(id.as_str()),
                Revoked::User(id) => _ = users.insert(*id),
            }
        }
        for (digest, entry) in &self.identities {
            let Identity { user, api_key_id, .. } = &entry.identity;
            if keys.contains(&**api_key_id) || users.contains(user) {
                self.identities.invalidate(&*digest);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generation> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
